"""A camera that looks at the road: its states and what it sees come side by side, and its eye may die or hang."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from functools import cache

import numpy as np
import pytest

from agent.core.frame import Frame
from agent.sights import FAR, ROAD
from drivers import video

pytest.importorskip("cv2")
from tests.drivers.test_video import Watch, camera, server
from tests.tools.ground import Mark, seen

RATE = 8.0  # pictures a second that the eye wants


@cache
def film():
    """The drive, and it begins again."""
    shown = [seen(0.6 * i, marks=[Mark(-1.8), Mark(1.8)], rough=12.0, seed=i) for i in range(48)]
    return [np.repeat(one[..., None], 3, axis=2) for one in shown]


class Street:
    """What the camera is shown."""

    def picture(self, n, fault):
        return film()[0 if fault == "frozen" else n % len(film())]


def made(url, **more):
    return camera(url, road={"net": "", "rate": RATE, **more})


def sights(watch):
    return [item for item in watch.said if isinstance(item, Frame) and item.source == "cam.road"]


def states(watch):
    return [item for item in watch.said if isinstance(item, Frame) and item.source == "cam"]


def eyes():
    """Processes of this one's that decode and look."""
    found = []
    for place in os.listdir("/proc"):
        if place.isdigit():
            try:
                with open(f"/proc/{place}/stat") as stat, open(f"/proc/{place}/cmdline", "rb") as line:
                    if int(stat.read().rpartition(")")[2].split()[1]) == os.getpid() and b"agent.vision" in line.read():
                        found.append(int(place))
            except (OSError, ValueError):
                pass
    return found


def test_what_it_sees_comes_as_a_source_of_its_own_young_and_at_its_pace():
    async def story():
        async with server(scene=Street(), fps=24.0) as network, Watch(made(network.url)) as watch:
            await watch.until(lambda: len(sights(watch)) >= 4)
            begun, before, told = time.monotonic(), len(sights(watch)), len(states(watch))
            await watch.until(lambda: len(sights(watch)) >= before + 12)
            took = time.monotonic() - begun
            ages = [float(one.age.max()) for one in sights(watch)]
            assert np.median(ages) < 0.25, "s from the picture to the agent"
            assert max(ages[2:]) < 0.5
            assert took < 3 * 12 / RATE, "not much slower than it was asked to"
            assert took > 0.8 * 12 / RATE, "nor faster"
            assert len(states(watch)) - told >= took / watch.made.period / 3, "states go on"
            last = sights(watch)[-1]
            assert list(last.layout.key) == [row[0] for row in ROAD]
            value = dict(zip(last.layout.key, last.value.tolist(), strict=True))
            assert value["vehicle.range"] == value["obstacle.range"] == FAR
            assert value["rate"] == pytest.approx(RATE, rel=0.5)
            assert eyes()
        assert eyes() == []

    asyncio.run(story())


def test_an_eye_that_is_killed_comes_back():
    async def story():
        async with server(scene=Street(), fps=24.0) as network, Watch(made(network.url)) as watch:
            await watch.until(lambda: len(sights(watch)) >= 2)
            (victim,) = eyes()
            os.kill(victim, signal.SIGKILL)
            await watch.until(lambda: watch.events("camera-lost"))
            before = len(sights(watch))
            back = await watch.until(lambda: len(sights(watch)) > before)
            assert back < 15.0
            assert eyes() != [victim]

    asyncio.run(story())


def test_an_eye_that_hangs_with_its_decoder_is_killed_and_comes_back(monkeypatch):
    """Stopped from outside, as by a broken driver: nothing is said any more, not even of the states."""

    async def story():
        monkeypatch.setattr(video, "SILENT", 1.5)
        async with server(scene=Street(), fps=24.0) as network, Watch(made(network.url, rate=20.0)) as watch:
            await watch.until(lambda: len(sights(watch)) >= 2)
            (victim,) = eyes()
            os.kill(victim, signal.SIGSTOP)
            await watch.until(lambda: victim not in eyes())
            before = len(sights(watch))
            await watch.until(lambda: len(sights(watch)) > before)
            assert watch.events("camera-lost")

    asyncio.run(story())


def test_a_net_that_is_not_there_is_told_once_and_the_rest_is_seen():
    async def story():
        async with server(scene=Street(), fps=24.0) as network, Watch(made(network.url, net="no-such-net")) as watch:
            await watch.until(lambda: len(sights(watch)) >= 4 and watch.events("eye-dim"))
            (why,) = watch.events("eye-dim")
            assert "no-such-net" in why

    asyncio.run(story())
