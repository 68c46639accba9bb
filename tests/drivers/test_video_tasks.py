"""A camera with several tasks: each is a source of its own, and a camera that shows nothing is never believed."""

from __future__ import annotations

import asyncio
import contextlib
import math

import msgspec
import pytest

from agent import checks, sights
from agent.clock import ManualClock, SystemClock
from agent.core.frame import Frame, Quality
from agent.core.ports import Event
from drivers import video
from drivers.video import Camera, Video
from drivers.video_child import picture
from tests.tools.slaves import Mailbox

cv2 = pytest.importorskip("cv2")
from simulators.beach import Beach  # noqa: E402
from simulators.video import CameraServer  # noqa: E402

LIMIT = 40.0  # s, generous: this machine may be busy
ZONE = {"name": "gate", "polygon": [(0.1, 0.5), (0.5, 0.5), (0.5, 1.0)]}
BEACH = {"points": Beach(width=320, height=180).points(), "crest": (0.0, 0.0), "far": (0.0, 160.0)}


def camera(url: str, **more) -> Video:
    limits = {"hold": 0.5, "learn": 60.0}
    return msgspec.convert({"name": "cam", "url": url, "period": 0.5, "limits": limits, **more}, Video)


def test_each_task_is_a_source_with_columns_of_its_own():
    made = camera("rtsp://h/x", zones={"zone": [ZONE], "net": "coats"}, beach=BEACH, road={})
    layouts = made.layouts()
    assert checks.driver(made) == []
    assert list(layouts) == ["cam", "cam.road", "cam.zones", "cam.beach"]
    assert layouts["cam.zones"].key == ("gate.count", "gate.dwell", "gate.score")
    assert layouts["cam.zones"].stale.tolist() == [2.0, sights.BESIDE, sights.BESIDE]
    assert layouts["cam.road"].key == tuple(key for key, *_ in sights.ROAD)
    assert "3 channels of who is in which zone, net coats" in "\n".join(made.wiring())
    assert list(camera("rtsp://h/x").layouts()) == ["cam"]


@pytest.mark.parametrize("task", [{"beach": BEACH}, {}], ids=["of a place", "of none"])
def test_a_scene_that_a_camera_was_turned_to_becomes_usual_only_where_no_place_matters(task):
    """Six seconds of the one, twenty of the other, five pictures a second."""
    made, scene = Camera(camera("rtsp://h/x", **task), ManualClock()), Beach(width=320, height=180)
    pictures = [scene.picture(0, ""), scene.picture(0, "turned")]
    for i in range(130):
        made._look(picture(cv2, pictures[i > 30], i / 5, i / 5, i + 1))
        if i == 40:
            assert made.memory.moved.on
    assert made.memory.moved.on == bool(task)


def test_a_turned_camera_and_a_missing_net_are_faults_until_they_are_put_right():
    news: list[Event | Frame] = []

    async def story():
        far = CameraServer(scene=Beach(width=320, height=180, fps=12.0))
        await far.start()
        made = camera(far.url, zones={"zone": [ZONE], "net": "nothing"}, beach={**BEACH, "rate": 10.0, "every": 1.0})
        bell = asyncio.Event()

        async def run():
            async with contextlib.aclosing(made.frames(SystemClock(), Mailbox())) as items:
                async for item in items:
                    news.append(item)
                    bell.set()

        def last(source):
            return next((one for one in reversed(news) if isinstance(one, Frame) and one.source == source), None)

        async def until(what):
            async with asyncio.timeout(LIMIT):
                while not what():
                    bell.clear()
                    await bell.wait()

        def beach():
            return int(last("cam.beach").quality[0]) if last("cam.beach") else None

        task = asyncio.create_task(run())
        try:
            await until(lambda: beach() == Quality.GOOD)
            assert last("cam.beach").value[0] == pytest.approx(70.0, abs=2.5)
            await until(lambda: last("cam.zones") is not None)
            assert last("cam.zones").quality.tolist() == [Quality.FAULT, Quality.UNCERTAIN, Quality.UNCERTAIN]
            await until(lambda: last("cam").value[video.KEYS.index("moved")] == 0.0)
            await far.fail("turned")
            await until(lambda: beach() == Quality.FAULT)
            assert math.isnan(last("cam.beach").value[0])
            await far.heal()
            await until(lambda: beach() in (Quality.GOOD, Quality.UNCERTAIN))
        finally:
            task.cancel()
            await asyncio.wait([task])
            await far.stop()

    asyncio.run(story())
    dim = [one.text for one in news if isinstance(one, Event) and one.kind == "eye-dim"]
    assert any(text.startswith("cam.zones: no net `nothing`") for text in dim)
    assert "cam.beach: the camera is moved" in dim
