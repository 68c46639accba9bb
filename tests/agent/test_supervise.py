"""keep, leases, watchdog and the box of orders."""

import asyncio
import os
import random
import socket
import subprocess
import sys

import pytest

from agent import orders
from agent.clock import ManualClock, Steps, SystemClock
from agent.core.alarm import Order
from agent.core.errors import LineLost
from agent.core.frame import Instant
from agent.core.ports import Event
from agent.orders import OrderBox
from agent.supervise import Leases, Watchdog, keep, watch


def kept(leaf, clock, seconds):
    """Run `keep` until the manual clock has passed `seconds`; what was told."""
    told = []

    async def main():
        task = asyncio.create_task(keep("n3", leaf, clock, lambda *t: told.append(t), rng=random.Random(1)))
        while clock.mono < seconds and not task.done():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    return told


def test_a_leaf_that_fails_is_started_again_with_growing_pauses_and_said_once():
    clock, starts = ManualClock(), []

    async def leaf():
        starts.append(clock.mono)
        raise LineLost("connect tcp://x: refused")

    told = kept(leaf, clock, 300)
    pauses = [b - a for a, b in zip(starts, starts[1:], strict=False)]
    assert pauses[0] <= 0.5
    assert max(pauses) <= 30.0
    assert max(pauses[-5:]) > 5 * pauses[0]
    assert [t[0] for t in told] == ["lost", "degraded"]


def test_a_crash_of_ours_costs_the_leaf_only_and_is_told_with_its_place():
    clock, starts = ManualClock(), []

    async def leaf():
        starts.append(1)
        raise ZeroDivisionError("oops")

    told = kept(leaf, clock, 10)
    assert len(starts) > 2
    assert told[0][0] == "crashed"
    assert "test_supervise" in told[0][2]


def test_after_a_healthy_stretch_pauses_start_small_and_the_loss_is_told_again():
    clock, runs = ManualClock(), []

    async def leaf():
        runs.append(clock.mono)
        if len(runs) % 3 == 0:
            await clock.sleep(100.0)
        raise LineLost("gone")

    told = kept(leaf, clock, 400)
    assert [t[0] for t in told].count("lost") >= 2
    after = [b - a - 100.0 for i, (a, b) in enumerate(zip(runs, runs[1:], strict=False), 1) if i % 3 == 0]
    assert max(after) <= 0.5


def test_a_lease_that_is_not_renewed_stops_the_feeding_of_the_watchdog(tmp_path, monkeypatch):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        clock, told = ManualClock(), []
        leases = Leases(clock)
        renew = leases.grant("judge", 10.0)

        def fed():
            count = 0
            while True:
                try:
                    count += systemd.recv(100) == b"WATCHDOG=1"
                except BlockingIOError:
                    return count

        async def main():
            task = asyncio.create_task(watch(leases, Watchdog(), clock, lambda *t: told.append(t)))
            counts = []
            for renewing in (True, False, True):
                until, count = clock.mono + 30, 0
                while clock.mono < until:
                    if renewing:
                        renew()
                    await asyncio.sleep(0)
                    count += fed()  # the kernel queues only a few datagrams
                counts.append(count)
            task.cancel()
            return counts

        counts = asyncio.run(main())
    assert counts[0] >= 25
    assert 8 <= counts[1] <= 12  # until the lease ran out
    assert counts[2] >= 25
    assert [t[:2] for t in told] == [("watch-late", "judge"), ("watch-fresh", "judge")]


def test_a_watchdog_without_systemd_is_silent(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Watchdog().notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", os.devnull)
    Watchdog().notify("READY=1")


def test_steps_of_the_wall_clock_are_seen_and_drift_is_not():
    steps = Steps(Instant(0.0, 1000.0))
    assert steps.step(Instant(1.0, 1001.1)) is None
    assert steps.step(Instant(2.0, 3.15e8)) == pytest.approx(3.15e8, rel=1e-3)
    assert steps.step(Instant(3.0, 3.15e8 + 1)) is None


def test_the_system_clock_goes_forward_and_says_whether_it_is_synced():
    clock = SystemClock()
    a, b = clock.now(), clock.now()
    assert b.mono >= a.mono
    assert isinstance(a.synced, bool)


# -- orders -------------------------------------------------------------------------------------------

AT = Instant(0.0, 0.0)


def order(output, on, reason="a-1"):
    return Order(output, on, reason, AT)


def outcome(kind, one):
    return Event(kind, "dev", AT, "", {"output": one.output, "on": one.on, "reason": one.reason})


def test_a_newer_order_replaces_an_older_one_for_the_same_output():
    async def main():
        box = OrderBox()
        box.put(order("siren", True))
        box.put(order("fan", True))
        box.put(order("siren", False))
        return [box.take(), box.take(), box.take()]

    first, second, third = asyncio.run(main())
    assert first.output == "fan"
    assert (second.output, second.on) == ("siren", False)
    assert third is None


def test_every_wanted_state_is_written_again_after_the_line_or_a_device_was_lost():
    async def main():
        box = OrderBox()
        siren, fan = order("siren", True), order("fan", False)
        box.put(siren)
        box.put(fan)
        box.take(), box.take()
        assert box.settle(outcome("order-done", fan))
        assert box.unmet() == 1
        box.again()
        assert [box.take(), box.take(), box.take()] == [siren, fan, None]
        assert box.settle(outcome("order-done", siren))
        assert not box.settle(outcome("order-done", fan))  # no news
        assert box.unmet() == 0
        box.settle(Event("device-recovered", "dev", AT, ""))
        assert box.unmet() == 2
        return [box.take(), box.take()]

    assert len(asyncio.run(main())) == 2


def test_a_failed_order_is_tried_again_until_it_works_and_told_once(monkeypatch):
    monkeypatch.setattr(orders, "RETRY", 0.01)

    async def main():
        box = OrderBox()
        siren = order("siren", True)
        box.put(siren)
        told = []
        for _ in range(3):
            async with asyncio.timeout(5):
                while box.take() is None:
                    await box.wait(1.0)
            told.append(box.settle(outcome("order-failed", siren)))
            assert box.unmet() == 1
        told.append(box.settle(outcome("order-done", siren)))
        return told, box.unmet()

    assert asyncio.run(main()) == ([True, False, False, True], 0)


def test_an_output_that_is_not_armed_is_asked_once():
    async def main():
        box = OrderBox()
        siren = order("siren", True)
        box.put(siren)
        box.take()
        box.settle(outcome("order-refused", siren))
        box.again()
        return box.take(), box.unmet()

    assert asyncio.run(main()) == (None, 0)


def test_the_outcome_of_a_replaced_order_settles_nothing():
    async def main():
        box = OrderBox()
        old, new = order("siren", True), order("siren", False)
        box.put(old)
        box.take()
        box.put(new)
        box.settle(outcome("order-done", old))
        return box.take(), box.unmet()

    taken, unmet = asyncio.run(main())
    assert not taken.on
    assert unmet == 1


def test_a_waiting_driver_wakes_at_once_for_an_order_and_shows_that_it_lives():
    async def main():
        renewed = []
        box = OrderBox(lambda: renewed.append(1))
        waiting = asyncio.create_task(box.wait(3600.0))
        await asyncio.sleep(0)
        box.put(order("siren", True))
        async with asyncio.timeout(5):
            await waiting
        await box.wait(0.0)
        return renewed, box.take()

    renewed, taken = asyncio.run(main())
    assert len(renewed) >= 2
    assert taken.output == "siren"


# -- the log ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["/dev/full", "pipe"])
def test_a_log_that_cannot_be_written_stops_nobody(out):
    code = "import os; from agent.log import say\nfor i in range(5000): say('x', n=i)\nos.write(2, b'alive')"
    read, write = os.pipe()  # nobody reads
    stdout = write if out == "pipe" else os.open(out, os.O_WRONLY)
    done = subprocess.run([sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, timeout=30, check=False)
    for descriptor in {read, write, stdout}:
        os.close(descriptor)
    assert done.stderr.startswith(b"alive")
