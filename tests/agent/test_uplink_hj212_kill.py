"""SIGKILL at any instant: every alarm that was accepted comes, and the mean of every minute that the disk has."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from simulators.hj212 import Hj212Platform
from tests.rigs.others import Outlet
from tests.tools.nursery import Nursery

KILLS = 6
ROUNDS = 8  # in one of them at least a kill strikes where it hurts a mistaken agent


def found(home: Path, moments: random.Random, sabotage: str = "") -> Outlet:
    """What the platform has after some kills and a drain, held against what was accepted."""

    async def main() -> Outlet:
        platform = Hj212Platform()
        await platform.start()
        nursery = await asyncio.to_thread(brood, platform.port)
        await platform.stop()
        assert nursery.accepted
        assert platform.wrong == []
        return Outlet(platform, nursery, home)

    def brood(port: int) -> Nursery:
        with Nursery(home, f"hj212+tcp://127.0.0.1:{port}", sabotage) as nursery:
            nursery.kill(KILLS, moments)
            nursery.drain()
            assert nursery.told == []
        return nursery

    return asyncio.run(asyncio.wait_for(main(), 60))


def test_six_kills_at_load_lose_no_alarm_and_no_minute_and_what_comes_twice_has_its_time(tmp_path: Path):
    outlet = found(tmp_path / "state", random.Random(5))
    assert outlet.minutes
    assert outlet.minutes <= outlet.told
    assert (outlet.lost, outlet.unmarked) == (set(), 0)


def test_an_agent_that_waits_for_no_answer_is_found_out(tmp_path: Path):
    moments = random.Random(5)
    assert any(found(tmp_path / f"{n}", moments, "hj212-answered-when-sent").lost for n in range(ROUNDS))
