"""A drawn driver as a stream and as files: what a scenario and the command line make of it."""

import asyncio
import csv

import pytest

cv2 = pytest.importorskip("cv2")

from agent import cli  # noqa: E402
from agent.core.errors import ConfigFault  # noqa: E402
from simulators import cabin  # noqa: E402
from simulators.scenario import SHIPPED, TICK, Stage, load  # noqa: E402

STORY = """
[[plant]]
name = "car"
kind = "vehicle"
[[line]]
name = "gateway"
url = "tcp://127.0.0.1:0"
[[device]]
name = "car"
line = "gateway"
unit = 1
plant = "car"
profile = "vedette-sim-vehicle"
[[cabin]]
name = "driver"
story = "parked"
plant = "car"
width = 160
fps = 10.0
"""


def written(tmp_path, text=STORY):
    path = tmp_path / "story.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_shipped_cabin_scenario_is_sound():
    scenario = load(SHIPPED / "scenarios" / "cabin.toml")
    assert scenario.cabins[0].story == "drowsy"


@pytest.mark.parametrize(
    ("was", "is_", "says"),
    [
        ('story = "parked"', 'story = "parkd"', "did you mean `parked`"),
        ('plant = "car"\nwidth', 'plant = "bike"\nwidth', "no plant is called `bike`"),
        ("width = 160", 'light = "infared"', "did you mean `infrared`"),
        ('kind = "vehicle"', 'kind = "sump"', "`car` is no vehicle"),
    ],
)
def test_what_is_wrong_with_a_cabin_is_told(tmp_path, was, is_, says):
    with pytest.raises(ConfigFault) as told:
        load(written(tmp_path, STORY.replace(was, is_)))
    assert says in str(told.value)


def test_the_vehicle_is_as_fast_as_its_driver_s_story(tmp_path):
    for story, speed in (("parked", 0.0), ("drowsy", 79.2)):
        now = [0.0]
        stage = Stage(load(written(tmp_path, STORY.replace("parked", story))), clock=lambda now=now: now[0])
        stage.begin()
        for tick in range(1, 11):
            now[0] = tick * TICK
            stage.tick()
        assert stage.devices["car"].values["speed_kmh"] == pytest.approx(speed, abs=0.4)


def test_the_stream_shows_the_picture_of_the_story_s_time(tmp_path):
    async def seen():
        now = [3.0]
        stage = Stage(load(written(tmp_path)), clock=lambda: now[0])
        await stage.start(anywhere=True)
        try:
            stage.begin()
            now[0] = 5.0
            return await asyncio.to_thread(read, stage.cameras["driver"].url)
        finally:
            await stage.stop()

    def read(url):
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 8000])
        try:
            return capture.read()
        finally:
            capture.release()

    ok, image = asyncio.run(seen())
    drawn = cabin.told("parked", 1, "", 160, 10.0).picture(20)
    assert ok
    assert image.shape == (120, 160, 3) == drawn.shape
    assert abs(image.astype(int) - drawn).mean() < 6, "JPEG takes a little"


def test_the_command_writes_a_film_its_truth_and_its_events(tmp_path, capsys):
    film, truth, told = (tmp_path / name for name in ("a.mp4", "a.csv", "a_events.csv"))
    command = ["simulate", "--cabin", "drowsy", "--out", str(film), "--truth", str(truth), "--events", str(told)]
    assert cli.main([*command, "--width", "160", "--seconds", "0.4", "--light", "infrared", "--style", "flat"]) == 0
    assert len(list(csv.DictReader(truth.open()))) == 6
    assert film.stat().st_size > 1000
    assert told.read_text() == "event,t_start,t_end\n"
    assert ", 6 pictures: " in capsys.readouterr().out


def test_the_command_tells_stories_and_mistakes(capsys):
    assert cli.main(["simulate", "--cabin", "list"]) == 0
    assert "microsleeps" in capsys.readouterr().out
    assert cli.main(["simulate", "--cabin", "drowsi", "--out", "x.mp4", "--light", "nigth"]) != 0
    said = capsys.readouterr().err
    assert "did you mean `drowsy`" in said
    assert "did you mean `night`" in said
