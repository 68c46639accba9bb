"""Stamps of a box that wakes up in the wrong year: told right as soon as that is known, and never else."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from msgspec import structs

from agent.clock import ManualClock
from agent.core.alarm import Alarm
from agent.core.frame import Instant
from agent.core.ports import Batch, Event, Item
from agent.eras import KEPT, Era, Eras
from agent.outbox import Outbox, Store

NOW = 1_790_000_000.0  # s, what the wall clock says at monotonic 0 when it is right


def wrong(mono: float) -> Instant:
    return Instant(mono, 10.0 + mono, False)


def right(mono: float) -> Instant:
    return Instant(mono, NOW + mono, True)


def alarm(at: Instant, boot: str, since: Instant | None = None, state: str = "active-unacked") -> Alarm:
    return Alarm(f"{boot}-1", 1, "raised", state, "r", "s/c", "red", 1.0, 1.0, "%", since or at, at, "")


def item(body: Alarm | Event | Batch, boot: str) -> Item:
    return Item("alarm", 1, boot, "alarm", 1, body)


def batch(*at: Instant) -> Batch:
    mono, wall = np.array([i.mono for i in at]), np.array([i.wall for i in at])
    return Batch(
        "s",
        ("c",),
        ("",),
        mono,
        wall,
        all(i.synced for i in at),
        np.zeros((len(at), 1)),
        np.zeros((len(at), 1), np.uint8),
    )


def awake(start: int = 1, kernel: str = "k") -> Eras:
    eras = Eras()
    eras.begin(start, kernel)
    return eras


def learnt(eras: Eras, mono: float) -> Eras:
    assert [eras.learn(i) for i in (wrong(mono - 2), right(mono - 1), right(mono))] == [False, False, True]
    return eras


def test_what_was_stamped_before_the_first_trusted_instant_is_told_right_with_its_original():
    eras = learnt(awake(), 60.0)
    for body in (alarm(wrong(5), "000001-a"), Event("started", "agent", wrong(5), "")):
        told = eras.mend(item(body, "000001-a"))
        assert told.body.at == right(5)
        assert told.original is body
    told = eras.mend(item(batch(wrong(5), wrong(6)), "000001-a"))
    assert told.body.wall.tolist() == [NOW + 5, NOW + 6]
    assert told.body.synced
    assert told.original.wall.tolist() == [15.0, 16.0]
    assert told.original.synced is False


def test_what_was_trusted_or_came_later_stays_as_it_is():
    eras = learnt(awake(), 60.0)
    for at in (right(5), wrong(61)):
        for body in (alarm(at, "000001-a"), batch(at)):
            same = item(body, "000001-a")
            assert eras.mend(same) is same


def test_nothing_is_mended_before_something_is_known():
    same = item(alarm(wrong(5), "000001-a"), "000001-a")
    assert awake().mend(same) is same


def test_starts_of_one_run_of_the_kernel_share_what_is_learnt_and_others_do_not():
    eras = Eras()
    eras.recall([Era(1, "old"), Era(4, "k")])
    eras.begin(6, "k")
    learnt(eras, 60.0)
    assert eras.mend(item(alarm(wrong(5), "000004-a"), "000004-a")).original is not None
    assert eras.mend(item(alarm(wrong(5), "000003-a"), "000003-a")).original is None
    assert eras.known == [Era(1, "old"), Era(4, "k", 60.0, NOW)]


def test_an_era_that_is_over_keeps_what_it_knew():
    eras = Eras()
    eras.recall(learnt(awake(), 60.0).known)
    eras.begin(2, "next")
    assert eras.mend(item(alarm(wrong(5), "000001-a"), "000001-a")).body.at == right(5)


def test_a_file_that_is_read_late_comes_before_what_is_known():
    eras = awake(7, "k")
    eras.recall([Era(1, "old"), Era(4, "k", 3.0, NOW)])
    assert eras.known == [Era(1, "old"), Era(4, "k", 3.0, NOW)]


def test_since_of_another_era_is_not_touched():
    """An acknowledgement keeps when the condition began, and that may be in another run of the kernel."""
    eras = Eras()
    eras.recall([Era(1, "old")])
    eras.begin(2, "k")
    learnt(eras, 60.0)
    told = eras.mend(item(alarm(wrong(5), "000001-a", since=wrong(7)), "000002-b"))
    assert (told.body.at, told.body.since) == (right(5), wrong(7))


def test_open_alarms_are_told_right_in_a_birth_message_too():
    eras = learnt(awake(), 60.0)
    assert eras.mend_open(alarm(wrong(5), "000001-a")).at == right(5)
    assert eras.mend_open(alarm(wrong(61), "000001-a")).at == wrong(61)
    eras.begin(2, "next")
    assert eras.mend_open(alarm(wrong(5), "000001-a")).at == wrong(5)


def test_one_look_is_not_enough_and_two_must_agree():
    eras = awake()
    moved = structs.replace(right(2), wall=NOW + 3602)
    assert [eras.learn(i) for i in (right(1), moved, structs.replace(right(3), wall=NOW + 3603))] == [
        False,
        False,
        True,
    ]


def test_a_clock_that_was_lost_and_found_is_learnt_anew():
    eras = learnt(awake(), 60.0)
    assert not eras.learn(right(61))
    learnt(eras, 90.0)
    assert eras.mend(item(alarm(wrong(80), "000001-a"), "000001-a")).body.at == right(80)


@pytest.mark.parametrize("boot", ["b1", "", "-"])
def test_a_boot_without_a_number_has_no_era(boot):
    assert learnt(awake(), 60.0).of(boot) is None


def test_what_was_learnt_outlives_a_restart(tmp_path):
    """An alarm put in the wrong year, delivered by a later start."""

    async def main():
        store = Store(path=str(tmp_path), ballast_mb=0)
        told = []
        first = await Outbox.open(store, ["p"], ManualClock(), told.append)
        await first.put_alarms([alarm(wrong(5), first.boot)])
        for at in (wrong(58), right(59), right(60)):
            first.look(at)
        await first.close()
        assert [event.kind for event in told] == ["clock-trusted"]
        second = await Outbox.open(store, ["p"], ManualClock())
        feed = second.feed("p")
        feed.online(True)
        item = feed.take()
        await second.close()
        assert (item.body.at, item.original.at) == (right(5), wrong(5))

    asyncio.run(main())


def test_eras_are_forgotten_at_last():
    eras = Eras()
    for n in range(3 * KEPT):
        eras.begin(n + 1, f"k{n}")
    assert len(eras.known) == KEPT


def test_where_nobody_knows_the_run_of_the_kernel_each_start_is_one_of_its_own():
    """Else stamps of before a reboot would be mended by the clock after it."""
    eras = awake(1, "")
    eras.begin(2, "")
    for mono in (100.0, 101.0):
        eras.learn(Instant(mono, 1.7e9 + mono, True))
    assert eras.of("000001-a").trusted is None
    assert eras.of("000002-b").trusted == 101.0
