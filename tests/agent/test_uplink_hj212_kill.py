"""SIGKILL at any instant: every alarm that was accepted comes, and the mean of every minute that the disk has."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from simulators.hj212 import Hj212Platform
from tests.rigs.others import Outlet
from tests.tools.nursery import Nursery

KILLS = 6


def brood(home: Path, port: int, sabotage: str) -> Nursery:
    """A nursery after its kills and a drain."""
    with Nursery(home, f"hj212+tcp://127.0.0.1:{port}", sabotage) as nursery:
        nursery.kill(KILLS, random.Random(5))
        nursery.drain()
        assert nursery.told == []
    return nursery


@pytest.mark.parametrize("sabotage", ["", "hj212-answered-when-sent"])
def test_six_kills_at_load_lose_no_alarm_and_no_minute_and_what_comes_twice_has_its_time(tmp_path: Path, sabotage: str):
    async def main() -> None:
        platform = Hj212Platform()
        await platform.start()
        nursery = await asyncio.to_thread(brood, tmp_path / "state", platform.port, sabotage)
        await platform.stop()
        found = Outlet(platform, nursery, tmp_path / "state")
        assert nursery.accepted
        assert found.minutes
        assert bool(found.lost) == bool(sabotage)
        assert found.unmarked == 0
        assert platform.wrong == []
        if not sabotage:
            assert found.minutes <= found.told

    asyncio.run(asyncio.wait_for(main(), 60))
