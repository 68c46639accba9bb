"""A vehicle, whole: receiver -> agent in a process of its own -> JT/T 808 platform; the link breaks, a kill comes."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from agent.uplink import jt808_words as words
from agent.uplink.jt808_words import Blind, moment
from simulators.gnss import GnssServer
from simulators.jt808 import Jt808Platform
from tests.rigs.proxy import Proxy
from tests.rigs.stage import running, until

pytest.importorskip("pynmeagps")

SITE = """
[site]
name = "coach-4711"
node = "cab"

[store]
path = "state"
batch = 0.2
ballast_mb = 0

[[bus]]
name = "gnss"
driver = "gnss"
url = "tcp://127.0.0.1:{gnss}"

[[rule]]
name = "too-fast"
kind = "high"
channel = "gnss/speed"
limit = 100.0
level = "orange"

[[uplink]]
kind = "jt808"
name = "regulator"
url = "tcp://127.0.0.1:{platform}"
phone = "13800138000"
terminal = "VED0001"
version = "2013"
plate = "粤A12345"
colour = 2
parameters = {{ period = 1, timeout = 2, speed_limit = 100, speed_hold = 0 }}

[[uplink.alarm]]
rule = "too-fast"
bit = "danger"
item = "blind"               # any item will do to tell edges apart
type = "left"
"""


def edges(platform: Jt808Platform) -> list[tuple[int, int]]:
    return [(value.alarm & 0xFFFF, value.flag) for _, value in platform.alarms() if isinstance(value, Blind)]


def edge_of(location: words.Location) -> bool:
    return any(isinstance(item.value, Blind) for item in location.items)


def late(platform: Jt808Platform) -> list[Any]:
    return [got for got in platform.got if got.id == 0x0704]


def test_what_a_vehicle_tells_survives_a_link_that_breaks_and_a_kill(tmp_path: Path):
    async def main() -> None:
        vehicle, platform = GnssServer(period=0.25), Jt808Platform()
        await vehicle.start()
        await platform.start()
        proxy = Proxy(("127.0.0.1", platform.port))
        await proxy.start()
        vehicle.kmh = 72.0
        site = tmp_path / "site.toml"
        site.write_text(SITE.format(gnss=vehicle.port, platform=proxy.port), "utf-8")
        async with running(site) as agent:
            await until(lambda: len(platform.locations()) >= 3, what="locations")
            here = platform.locations()[-1]
            assert here.speed == 720
            assert abs(here.longitude - 120_000_000) <= 1
            assert here.status >> words.STATUSES["beidou"] & here.status >> words.STATUSES["gps"] & 1
            vehicle.kmh = 130.0
            await until(lambda: edges(platform) == [(1, 1)], what="an alarm")
            await until(lambda: platform.locations()[-1].alarm >> 1 & 1, what="over-speed")
            await proxy.cut()
            vehicle.kmh = 72.0  # it ends where nobody hears it
            await asyncio.sleep(1.5)
            vehicle.kmh = 130.0
            await asyncio.sleep(1.5)
            agent.send_signal(signal.SIGKILL)
            await agent.wait()
            killed = time.time()
        async with running(site):
            await asyncio.sleep(1.0)
            await proxy.heal()
            await until(lambda: (2, 1) in edges(platform), what="the second alarm")
            vehicle.kmh = 60.0
            await until(lambda: len(edges(platform)) == 4, what="both ends")
            await until(lambda: len(late(platform)) > 4, what="the way in the blind area")
            await asyncio.sleep(1.2)
        await proxy.stop()
        await platform.stop()
        await vehicle.stop()
        assert sorted(edges(platform)) == [(1, 1), (1, 2), (2, 1), (2, 2)]
        marks = {value.alarm: set() for _, value in platform.alarms()}  # type: dict[int, set[Any]]
        for _, value in platform.alarms():
            marks[value.alarm].add(value.scene.mark)
        assert [len(found) for found in marks.values()] == [1, 1]  # begin and end have one mark, kill or no kill
        times = sorted(moment(location.time) or 0.0 for location in platform.locations())
        gaps = [(a, b) for a, b in zip(times, times[1:], strict=False) if b - a > 3.0]
        assert all(a - 1 <= killed <= b for a, b in gaps), gaps  # only while there was no agent
        plain = [location for location in platform.locations() if not edge_of(location)]
        way = [place for _, place in sorted((location.time, location.latitude) for location in plain)]
        assert way == sorted(way)  # it only drives north
        assert {got.kind for got in late(platform)} == {1}
        assert (platform.twice, platform.strange) == (0, 0)
        assert [id for _, id, _ in platform.said].count(0x0100) == 1

    asyncio.run(asyncio.wait_for(main(), 90))
