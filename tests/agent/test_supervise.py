"""keep, leases, watchdog and the box of orders."""

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from agent import daemon, orders
from agent.clock import ManualClock, Steps, SystemClock
from agent.core.alarm import Order
from agent.core.errors import LineLost
from agent.core.frame import Instant
from agent.core.ports import Event
from agent.orders import OrderBox
from agent.supervise import Leases, Record, Watchdog, culprit, keep, turning, watch


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
    assert [t[0] for t in told] == ["lost"]  # a dead line has alarms of its own


def test_a_crash_of_ours_costs_the_leaf_only_and_is_told_with_its_place():
    clock, starts = ManualClock(), []

    async def leaf():
        starts.append(1)
        raise ZeroDivisionError("oops")

    told = kept(leaf, clock, 100)
    assert len(starts) > 6
    assert [kind for kind, _, _ in told] == ["crashed", "lost", "degraded"]
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


@contextlib.contextmanager
def systemd(tmp_path, monkeypatch):
    """What systemd would hear: a function that gives all states told since it was last called."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(path)
        ear.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", path)

        def heard():
            states = []
            while True:
                try:
                    states.append(ear.recv(100).decode())
                except BlockingIOError:
                    return states

        yield heard


async def watched(leases, clock, told, heard, seconds, each=lambda: None):
    """Let `watch` run for so long; what systemd heard."""
    states = []
    task = asyncio.create_task(watch(leases, Watchdog(), clock, lambda *t: told.append(t)))
    until = clock.mono + seconds
    while clock.mono < until and not task.done():
        each()
        await asyncio.sleep(0)
        states += heard()  # the kernel queues only a few datagrams
    if not task.done():
        task.cancel()
    await asyncio.wait([task])
    return states, None if task.cancelled() else task.exception()


def test_a_critical_lease_that_runs_out_stops_the_feeding_and_then_the_process(tmp_path, monkeypatch):
    clock, told = ManualClock(), []
    leases = Leases(clock)
    judge = leases.grant("judge", 10.0)
    with systemd(tmp_path, monkeypatch) as heard:

        async def main():
            fresh, _ = await watched(leases, clock, told, heard, 30, judge.renew)
            late, error = await watched(leases, clock, told, heard, 30)
            return fresh, late, error

        fresh, late, error = asyncio.run(main())
    assert fresh.count("WATCHDOG=1") >= 50
    assert 18 <= late.count("WATCHDOG=1") <= 22  # every half second until the lease ran out
    assert [t[:2] for t in told] == [("watch-late", "judge")]
    assert "judge" in str(error)


def test_ready_is_said_once_and_only_when_everybody_has_done_something(tmp_path, monkeypatch):
    clock, told = ManualClock(), []
    leases = Leases(clock)
    judge, bus = leases.grant("judge", 100.0), leases.grant("bus n3", 100.0, leaf=True)
    with systemd(tmp_path, monkeypatch) as heard:

        async def main():
            judge.renew()
            before, _ = await watched(leases, clock, told, heard, 5)
            bus.renew()
            after, _ = await watched(leases, clock, told, heard, 5)
            return before, after

        before, after = asyncio.run(main())
    assert "READY=1" not in before
    assert after.count("READY=1") == 1


def test_a_loop_that_stood_still_blames_nobody_and_feeds_nobody(tmp_path, monkeypatch):
    clock, told = ManualClock(), []
    leases = Leases(clock)
    leases.grant("judge", 10.0).renew()
    stalls = iter([20.0])

    class Stalled(ManualClock):
        async def sleep(self, seconds):
            await clock.sleep(seconds)
            clock.advance(next(stalls, 0.0))

        def now(self):
            return clock.now()

    with systemd(tmp_path, monkeypatch) as heard:

        async def main():
            task = asyncio.create_task(watch(leases, Watchdog(), Stalled(), lambda *t: told.append(t)))
            for _ in range(2):
                await asyncio.sleep(0)
            first = heard()
            for _ in range(12):
                await asyncio.sleep(0)
            task.cancel()
            return first, heard()

        first, later = asyncio.run(main())
    assert "WATCHDOG=1" not in first
    assert "WATCHDOG=1" in later
    assert told == []


def supervised(leaf, seconds, limit=10.0):
    """A leaf with a lease under `keep` and `watch`, until the manual clock has passed `seconds`; what was told."""
    clock, told, record = ManualClock(), [], Record()

    async def main():
        leases = Leases(clock)
        lease = leases.grant("bus n3", limit, leaf=True)
        lease.renew()

        def tell(*t):
            told.append(t)

        kept = asyncio.create_task(keep("n3", lambda: leaf(clock, lease), clock, tell, lease=lease, record=record))
        watching = asyncio.create_task(watch(leases, Watchdog(), clock, tell))
        while clock.mono < seconds and not watching.done():
            await asyncio.sleep(0)
        error = watching.exception() if watching.done() else None
        for task in (watching, kept, *(t for t in asyncio.all_tasks() if t.get_name() == "n3")):
            task.cancel()
            await asyncio.wait([task], timeout=0.01)
        return error

    error = asyncio.run(main())
    return told, record, error


def test_a_leaf_that_hangs_is_cancelled_and_started_again():
    starts = []

    async def leaf(clock, lease):
        starts.append(clock.mono)
        if len(starts) == 1:
            await asyncio.Event().wait()
        while True:
            lease.renew()
            await clock.sleep(1.0)

    told, record, error = supervised(leaf, 200)
    assert error is None
    assert len(starts) == 2
    assert 10.0 <= starts[1] - starts[0] <= 15.0  # both tasks move this clock
    assert [t[0] for t in told] == ["hung", "lost"]
    assert record.failures == 1


def test_a_leaf_that_does_not_end_when_cancelled_ends_the_process():
    async def leaf(clock, lease):
        end = clock.mono + 50
        while clock.mono < end:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
            if len(asyncio.all_tasks()) < 4:  # the test is over
                return

    told, _, error = supervised(leaf, 100)
    assert "bus n3" in str(error)
    assert ("watch-late", "bus n3", "no progress") in told


def test_a_flood_of_failures_is_degraded_until_the_leaf_ran_for_a_minute():
    record = Record()
    for now in range(5):
        record.begin(now)
        assert not record.fail(now)
    record.begin(6.0)
    assert record.fail(6.5)
    record.begin(7.0)
    assert record.is_degraded(66.0)
    assert not record.is_degraded(67.0)
    assert not record.fail(68.0)  # it is forgotten
    assert record.failures == 7


def test_a_coroutine_that_comes_round_renews_and_keeps_its_results_errors_and_cancellations():
    renewed = []

    async def work(fail):
        for _ in range(3):
            await asyncio.sleep(0)
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        except TimeoutError:
            pass
        if fail:
            raise LineLost("gone")
        return 7

    async def main():
        assert await turning(work(False), lambda: renewed.append(1)) == 7
        with pytest.raises(LineLost):
            await turning(work(True), lambda: None)
        task = asyncio.ensure_future(asyncio.wait_for(turning(asyncio.Event().wait(), lambda: None), 5))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert len(renewed) >= 5


def test_a_callback_that_fails_is_traced_to_its_leaf():
    found = []

    async def leaf():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.Event().wait()

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: found.append(culprit(context)))
        task = asyncio.create_task(keep("n3", leaf, SystemClock(), lambda *_: None))
        loop.call_soon(lambda: 1 / 0)
        while len(found) < 2:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    assert found == ["", "n3"]


def test_a_mishap_ends_the_process_once_and_not_again_within_a_minute(tmp_path):
    agent = SimpleNamespace(config=SimpleNamespace(store=SimpleNamespace(path=str(tmp_path))))
    assert [daemon.Agent._may_end(agent, Instant(mono, 0.0)) for mono in (100.0, 101.0, 130.0, 189.0, 250.0)] == [
        True,
        False,  # the start was of no help
        False,
        False,
        True,  # a minute without
    ]
    (tmp_path / "mishap").write_text("another-kernel 249.0")
    assert daemon.Agent._may_end(agent, Instant(251.0, 0.0))


def test_a_process_in_which_something_hangs_ends_all_the_same():
    code = (
        "import asyncio, time\n"
        "from agent.supervise import end_within\n"
        "async def main():\n"
        "    end_within(0.2, asyncio.get_running_loop(), lambda tasks: print(tasks, flush=True))\n"
        "    await asyncio.sleep(0)\n"
        "    time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False)
    assert done.returncode == os.EX_SOFTWARE
    assert b"Task-1" in done.stdout


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
