"""A drawn road as a stream and as files: what a scenario and the command line make of it."""

import asyncio
import csv
import socket

import pytest

cv2 = pytest.importorskip("cv2")

from agent import cli  # noqa: E402
from agent.core.errors import ConfigFault  # noqa: E402
from simulators import road, video  # noqa: E402
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
[[road]]
name = "ahead"
story = "brake"
plant = "car"
width = 320
"""


def written(tmp_path, text=STORY):
    path = tmp_path / "story.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_shipped_road_scenario_is_sound():
    scenario = load(SHIPPED / "scenarios" / "road.toml")
    assert scenario.roads[0].story == "brake"


@pytest.mark.parametrize(
    ("was", "is_", "says"),
    [
        ('story = "brake"', 'story = "brakes"', "did you mean `brake`"),
        ('plant = "car"\nwidth', 'plant = "bike"\nwidth', "no plant is called `bike`"),
        ("width = 320", 'weather = ["nihgt"]', "did you mean `night`"),
        ('kind = "vehicle"', 'kind = "sump"', "`car` is no vehicle"),
    ],
)
def test_what_is_wrong_with_a_road_is_told(tmp_path, was, is_, says):
    with pytest.raises(ConfigFault) as told:
        load(written(tmp_path, STORY.replace(was, is_)))
    assert says in str(told.value)


def test_the_vehicle_does_what_the_story_of_its_road_says(tmp_path):
    """Ours brakes 4 s after the begin, and the story begins again after 7 s."""
    now = [0.0]
    stage = Stage(load(written(tmp_path)), clock=lambda: now[0])
    stage.begin()
    said = {}
    for tick in range(1, 81):
        now[0] = tick * TICK
        stage.tick()
        said[tick] = dict(stage.devices["car"].values)
    assert said[10]["speed_kmh"] == pytest.approx(72, abs=0.4)
    assert (said[10]["brake"], said[45]["brake"]) == (0, 1)
    assert said[50]["speed_kmh"] < 45
    assert said[68]["speed_kmh"] == pytest.approx(0, abs=0.4)
    assert said[75]["speed_kmh"] == pytest.approx(72, abs=0.4)
    assert said[40]["way_m"] == pytest.approx(80, abs=3)


def test_the_stream_shows_the_picture_of_the_story_s_time(tmp_path):
    """Both languages give, after JPEG, what the drive shows at that time; later pictures are left out, not queued."""

    async def seen(language):
        now = [3.0]
        stage = Stage(load(written(tmp_path)), clock=lambda: now[0])
        await stage.start(anywhere=True)
        try:
            stage.begin()
            now[0] = 5.0
            camera = stage.cameras["ahead"]
            return await asyncio.to_thread(read, camera.url if language == "http" else camera.rtsp_url)
        finally:
            await stage.stop()

    def read(url):
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 8000])
        try:
            return capture.read()
        finally:
            capture.release()

    drawn = road.told("brake", 1, (), 320, 10.0).picture(20)
    for language in ("http", "rtsp"):
        ok, image = asyncio.run(seen(language))
        assert ok
        assert image.shape == (176, 320, 3) == drawn.shape
        assert abs(image.astype(int) - drawn).mean() < 6, "JPEG takes a little"


def test_faults_of_cameras_befall_a_road_too():
    drive = road.told("opening", 1, (), 320, 10.0)
    well = drive.picture(5, "")
    assert drive.picture(5, "black").mean() < 5
    assert (drive.picture(9, "frozen") == drive.picture(5, "frozen")).all()
    assert cv2.Laplacian(drive.picture(5, "blurred"), cv2.CV_64F).var() < cv2.Laplacian(well, cv2.CV_64F).var() / 3
    assert abs(drive.picture(5, "shifted").astype(int) - well).mean() > 5
    assert set(video.FAULTS) >= {"black", "frozen", "blurred", "shifted", "turned"}


def test_the_command_writes_a_film_and_its_truth(tmp_path, capsys, monkeypatch):
    short = road.STORIES["standing"]._replace(seconds=0.3)
    monkeypatch.setitem(road.STORIES, "standing", short)
    film, truth, boxes = (tmp_path / name for name in ("a.mp4", "a.csv", "b.csv"))
    command = ["simulate", "--road", "standing", "--out", str(film), "--truth", str(truth), "--boxes", str(boxes)]
    assert cli.main([*command, "--width", "320", "--weather", "night"]) == 0
    rows = list(csv.DictReader(truth.open()))
    assert [float(row["range_m"]) for row in rows] == pytest.approx([92 - 0.8 * n for n in range(6)])
    assert film.stat().st_size > 1000
    assert list(csv.DictReader(boxes.open()))
    assert ", 6 pictures: " in capsys.readouterr().out


def test_the_command_tells_stories_and_mistakes(capsys):
    assert cli.main(["simulate", "--road", "list"]) == 0
    assert all(name in capsys.readouterr().out for name in [*road.STORIES][:1])
    assert cli.main(["simulate", "--road", "standin", "--out", "x.mp4"]) != 0
    assert "did you mean `standing`" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(tmp_path):
    async def start(port):
        stage = Stage(load(written(tmp_path, STORY + f"port = {port}\n")))
        try:
            await stage.start()
        finally:
            await stage.stop()

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Exception, match=r"serve road `ahead` on port \d+"):
            asyncio.run(start(taken.getsockname()[1]))
