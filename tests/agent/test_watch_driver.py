"""`vedette watch --role driver` as its users run it, and the eye behind it: drawn films against their truth."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import math

import msgspec
import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")
from agent import cli  # noqa: E402
from agent.clock import SystemClock  # noqa: E402
from agent.core.frame import Frame, Quality  # noqa: E402
from agent.core.ports import Event  # noqa: E402
from agent.sights import CABIN, Cabin  # noqa: E402
from agent.vision import CabinEye  # noqa: E402
from drivers.video import Video  # noqa: E402
from simulators import cabin  # noqa: E402
from simulators.video import CameraServer  # noqa: E402
from tests.tools.slaves import Mailbox  # noqa: E402

KEYS = [key for key, *_ in CABIN]
FPS = 10.0
USAGE = 64
LIMIT = 40.0  # s, generous: this machine may be busy


@pytest.fixture(scope="module")
def trip():
    return cabin.told("brief", 3, width=320, fps=FPS)


@pytest.fixture(scope="module")
def place(tmp_path_factory, trip):
    """A folder with the film, its truth, and two pictures that have nothing to do with one another."""
    folder = tmp_path_factory.mktemp("driver")
    for _ in cabin.written(trip, folder / "brief.mp4", folder / "truth.csv", folder / "true_events.csv"):
        pass
    (folder / "single").mkdir()
    for name, n in (("a_shut", 80), ("b_open", 40)):
        assert cv2.imwrite(str(folder / "single" / f"{name}.png"), trip.picture(n))
    cv2.imwrite(str(folder / "single" / "c_nobody.png"), np.full((120, 160, 3), 90, np.uint8))
    return folder


@pytest.fixture
def watch(capfd):
    def run(*words):
        try:
            code = cli.main(["watch", "--role", "driver", *map(str, words)])
        except SystemExit as stop:
            code = stop.code
        return code, *capfd.readouterr()

    return run


def table(path):
    with open(path, newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def told(place):
    words = [str(place / "brief.mp4"), "--out", str(place / "out.csv"), "--events", str(place / "events.csv")]
    assert cli.main(["watch", "--role", "driver", *words]) == 0
    return table(place / "out.csv"), table(place / "events.csv")


def test_each_picture_has_a_row_in_the_form_that_is_scored(told, trip):
    rows, _ = told
    wanted = "frame,t_s,present,covered,eye_open,p_closed,mouth_open,yaw_deg,pitch_deg"
    assert list(rows[0])[:9] == wanted.split(",")
    assert [int(row["frame"]) for row in rows] == list(range(trip.frames))
    assert [float(row["t_s"]) for row in rows] == pytest.approx(np.arange(trip.frames) / FPS, abs=1e-3)


def test_rows_tell_what_is_true(told, place):
    rows, truth = told[0], table(place / "truth.csv")
    pairs = list(zip(rows, truth, strict=True))
    assert all(float(row["present"]) > 0.5 and float(row["covered"]) < 0.5 for row in rows)
    shut = [row for row, true in pairs if float(true["eye_open"]) < 0.05]
    wide = [row for row, true in pairs if float(true["eye_open"]) > 0.95 and abs(float(true["yaw_deg"])) < 20]
    assert sum(float(row["p_closed"] or "nan") > 0.5 for row in shut) > 0.9 * len(shut) > 9
    assert sum(float(row["p_closed"] or "nan") < 0.5 for row in wide) > 0.98 * len(wide) > 98
    yawns = [float(row["mouth_open"]) for row, true in pairs if float(true["mouth_open"]) > 0.9]
    assert np.mean(yawns) > 0.6
    aside = [float(row["yaw_deg"]) for row, true in pairs if float(true["yaw_deg"]) > 40 and row["yaw_deg"]]
    assert np.mean(aside) > 15


def test_events_are_those_of_the_story_when_they_happen(told, place):
    """Each begins at most 2.5 s after its begin in truth (a look aside is one only after a while), and overlaps it."""
    _, events = told
    assert list(events[0])[:3] == ["event", "t_start", "t_end"]
    truth = [one for one in table(place / "true_events.csv") if not one["event"].startswith("ignore")]
    assert [one["event"] for one in truth] == ["eyes_closed", "yawn", "distracted"]
    assert sorted(one["event"] for one in events) == sorted(one["event"] for one in truth)
    for true in truth:
        one = next(one for one in events if one["event"] == true["event"])
        start, begin, end = float(one["t_start"]), float(true["t_start"]), float(true["t_end"])
        assert begin - 0.5 < start < min(begin + 4.0, end), true
        assert float(one["t_end"]) > start


def test_a_folder_of_single_pictures_tells_which_eyes_are_closed(watch, place):
    code, _, complaint = watch(place / "single", "--out", place / "single.csv")
    assert code == 0, complaint
    rows = table(place / "single.csv")
    assert list(rows[0]) == ["file", "p_closed"]
    assert [row["file"] for row in rows] == ["a_shut.png", "b_open.png", "c_nobody.png"]
    assert float(rows[0]["p_closed"]) > 0.5 > float(rows[1]["p_closed"])
    assert rows[2]["p_closed"] == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing.mp4"], "no such film or folder"),
        (["single", "--events", "e.csv"], "have --out only"),
        (["brief.mp4", "--fps", "-1"], "--fps"),
        (["brief.mp4", "--show", "a.gif"], "it should end in"),
        (["brief.mp4", "--out", "none/o.csv"], "no such folder"),
    ],
)
def test_what_is_wrong_is_said(watch, place, monkeypatch, words, says):
    monkeypatch.chdir(place)
    code, _, complaint = watch(*words)
    assert code == USAGE
    assert says in complaint
    assert "Traceback" not in complaint


@pytest.mark.parametrize("wrong", ["nothing", "mouth"], ids=["missing", "of another kind"])
def test_a_net_that_is_not_there_blinds_only_what_it_tells(trip, wrong):
    eye = CabinEye(Cabin(eyes=wrong))
    row = dict(zip(KEYS, eye.look(0.0, trip.picture(40)), strict=True))
    assert f"net `{wrong}`" in eye.why
    assert row["face"] > 0.5
    assert row["mouth"] < 0.3
    assert all(math.isnan(row[key]) for key in ("closed", "left", "right", "lid", "hidden"))


def test_a_net_that_is_not_there_is_a_fault_of_its_source(trip):
    """Through the camera's own child: the face is told, that eyes cannot be is a FAULT and a sentence."""
    news = []

    def seen():
        frames = [one for one in news if isinstance(one, Frame) and one.source == "cam.cabin"]
        return [one for one in frames if one.value[KEYS.index("face")] > 0.5]

    def said():
        return [one.text for one in news if isinstance(one, Event) and one.kind == "eye-dim"]

    async def story():
        far = CameraServer(scene=trip)
        await far.start()
        table = {"name": "cam", "url": far.url, "period": 0.5, "cabin": {"eyes": "nothing", "rate": FPS}}
        made = msgspec.convert(table, Video)
        try:
            async with asyncio.timeout(LIMIT), contextlib.aclosing(made.frames(SystemClock(), Mailbox())) as items:
                async for item in items:
                    news.append(item)
                    if seen() and said():
                        return
        finally:
            await far.stop()

    asyncio.run(story())
    last = dict(zip(KEYS, seen()[-1].quality.tolist(), strict=False))
    assert last["face"] in (Quality.GOOD, Quality.UNCERTAIN)
    assert last["hidden"] == Quality.FAULT
    assert math.isnan(seen()[-1].value[KEYS.index("closed")])
    assert any("no net `nothing`" in text for text in said())
