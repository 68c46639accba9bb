"""A fleet that was lost in one moment is not back in one moment, and an alarm does not wait for that."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from agent.clock import ManualClock, SystemClock
from agent.comeback import BOOTED, SOON, Comeback
from agent.core.errors import LineLost
from agent.core.ports import Event
from agent.outbox import Outbox, Store
from agent.supervise import keep
from tests.tools.station import alarm, run


class Owing:
    """A feed that says whether a red or orange alarm waits."""

    def __init__(self, urgent: Callable[[], bool] = lambda: False) -> None:
        self.is_urgent = urgent


def link(kind: str, clock: ManualClock) -> Event:
    return Event(kind, "platform", clock.now(), "")


@pytest.mark.parametrize(
    ("spread", "outage", "longest"),
    [(15, 1, 1.5), (15, 60, 6.0), (15, 3600, 15.0), (300, 1, 30.0), (300, 600, 60.0), (0, 3600, 1.5)],
)
def test_who_was_away_for_long_comes_a_tenth_of_that_later(spread: float, outage: float, longest: float):
    clock = ManualClock(1000.0)
    comeback = Comeback(spread, Owing(), clock)
    comeback.hear(link("link-up", clock))
    assert comeback.longest() == comeback.shortest()
    comeback.hear(link("link-down", clock))
    clock.advance(outage)
    assert comeback.longest() == pytest.approx(longest)
    assert comeback.start() == 0.0
    comeback.feed = Owing(lambda: True)
    assert comeback.longest() == SOON


def test_a_pause_before_the_second_try_is_short_for_one_and_longer_for_a_fleet():
    clock = ManualClock(1000.0)
    assert Comeback(15.0, Owing(), clock).first() == 0.5
    assert Comeback(300.0, Owing(), clock).first() == 29.0


def test_a_try_that_nobody_answered_has_been_a_pause_where_an_alarm_waits():
    clock = ManualClock(1000.0)
    comeback = Comeback(15.0, Owing(lambda: True), clock)
    comeback.hear(link("link-up", clock))
    comeback.hear(link("link-down", clock))
    assert comeback.spent(5.0) == 0.0  # a link that was up
    clock.advance(10.0)
    assert comeback.spent(2.0) == 2.0
    comeback.feed = Owing()
    assert comeback.spent(2.0) == 0.0  # a fleet without alarms takes its time


def tries(spread: float, until: float, seed: int, mono: float, back: float, urgent=lambda now: False) -> list[float]:
    """When one node tries to connect to a broker that is back at `back`, where it stays."""
    clock, found = ManualClock(mono), []
    comeback = Comeback(spread, Owing(lambda: urgent(clock.mono)), clock)

    async def leaf() -> None:
        found.append(clock.mono)
        if clock.mono < back:
            comeback.hear(link("link-down", clock)) if len(found) == 1 else None
            raise LineLost("nobody listens there")
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(keep("n", leaf, clock, lambda *_: None, comeback, random.Random(seed)))
        while clock.mono < until and not (found and found[-1] >= back):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    return found


def test_power_that_is_back_in_one_second_brings_no_storm():
    first = [tries(15.0, 60.0, seed, mono=20.0, back=0.0)[0] - 20.0 for seed in range(200)]
    assert 0.0 <= min(first) < 0.5
    assert 14.0 < max(first) <= 15.0
    in_a_second = [sum(k <= at < k + 1 for at in first) for k in range(15)]
    assert max(in_a_second) < 3 * 200 / 15


def test_a_process_that_is_started_again_does_not_wait():
    assert tries(15.0, BOOTED + 60, 1, mono=BOOTED + 1, back=0.0) == [BOOTED + 1]


def test_after_an_outage_of_minutes_the_last_tries_are_spread():
    last = [tries(15.0, 2000.0, seed, mono=1000.0, back=1160.0)[-1] - 1160.0 for seed in range(100)]
    assert max(last) <= 15.0
    assert max(sum(k <= at < k + 1 for at in last) for k in range(15)) <= 100 * 1.6 / 15 * 2


def test_an_alarm_in_the_middle_of_a_pause_ends_it():
    at = tries(600.0, 2000.0, 5, mono=1000.0, back=1300.0, urgent=lambda now: now >= 1310.0)[-1]
    calm = tries(600.0, 2000.0, 5, mono=1000.0, back=1300.0)[-1]
    assert calm > 1312.0
    assert 1310.0 <= at <= 1310.0 + SOON + 1.0


def test_only_red_and_orange_alarms_that_wait_are_urgent(tmp_path: Path):
    async def main() -> None:
        outbox = await Outbox.open(Store(path=str(tmp_path), ballast_mb=0), ["platform"], SystemClock())
        feed = outbox.feed("platform")
        try:
            await outbox.put_alarms([structs.replace(alarm(n=1), level="yellow")])
            assert not feed.is_urgent()
            await outbox.put_alarms([structs.replace(alarm(n=2), level="orange")])
            assert feed.is_urgent()
            feed.online(True)
            while (item := feed.take("event")) is not None:
                feed.done(item)
            assert not feed.is_urgent()
        finally:
            await outbox.close()

    run(main())
