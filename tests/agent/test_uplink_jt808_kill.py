"""SIGKILL at any instant: every alarm that was accepted reaches the JT/T 808 platform; what comes twice is marked."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from agent.uplink.jt808_alarms import number_of
from agent.uplink.jt808_words import moment
from simulators.jt808 import Jt808Platform
from tests.tools.nursery import Nursery

KILLS = 8


def test_eight_kills_at_load_lose_no_alarm_and_mark_what_comes_twice(tmp_path: Path):
    async def main() -> None:
        platform = Jt808Platform()
        await platform.start()
        url = f"tcp://127.0.0.1:{platform.port}"

        def kill() -> list[str]:
            with Nursery(tmp_path / "state", url) as nursery:
                nursery.kill(KILLS, random.Random(3))
                nursery.drain()
                assert nursery.told == []
                return nursery.accepted

        accepted = await asyncio.to_thread(kill)
        await platform.stop()
        assert accepted
        told = {value.alarm for _, value in platform.alarms()}
        assert {number_of(id) for id in accepted} - told == set()
        assert (platform.twice, platform.strange) == (0, 0)
        assert [id for _, id, _ in platform.said].count(0x0100) <= 2  # the first may be killed before it is kept
        times = [moment(location.time) for location in platform.locations()]
        assert all(times)

    asyncio.run(asyncio.wait_for(main(), 120))
