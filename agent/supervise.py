"""Keeps leaves alive, and sees to it that nothing stands still unnoticed.

A leaf is a part that may fail alone: a line, an uplink, the control socket. One that fails is started again,
with growing pauses; one that hangs is cancelled and started again; one that fails again and again is
degraded, which is an alarm. A critical task (judge, tick, store) has nobody beside it: when it hangs, the
watchdog is fed no longer and the process ends, to be started again.

This module has the only broad catch of the program: whatever a leaf raises costs that leaf and nothing
else, and is said aloud.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import socket
import threading
import time
import traceback
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, TypeVar

from .core.errors import WorldFault
from .core.ports import Clock

FIRST, LONGEST = 0.5, 30.0  # s; reliability rule 2.1 d
HEALTHY = 60.0  # s a leaf must run before its pauses start again from FIRST
FLOOD = 5  # failures without a healthy stretch between them; one more, and the leaf is degraded
GRACE = 3.0  # s that a leaf may take to end once it was cancelled; a farewell takes 0.9
ENDING = 1.0  # s from saying that something critical hangs to ending the process: the word has to get out
LAG = 1.0  # s of lateness of the loop above which the watchdog is not fed; reliability rule 2.1 b
LOOK = 0.5  # s between looks at the leases
TINY = 1e-6  # s that no clock tells from none
STEP = 1.0  # s of a pause, after which it is asked whether it may be shorter
SOON = 0.05  # s between looks until everything has begun to work

T = TypeVar("T")
Told = Callable[[str, str, str], None]  # kind, leaf, text

LEAF: ContextVar[str] = ContextVar("leaf", default="")  # whose lease these callbacks and tasks live on; empty: none


# -- leases -------------------------------------------------------------------------------------------


class Lease:
    """One duty: since when it has done no useful work, and how long it may. Monotonic time.

    A leaf's lease counts only while its task runs: a pause between two tries is no hang.
    """

    def __init__(self, name: str, limit: float, clock: Clock, leaf: bool) -> None:
        self.name, self.limit, self.clock, self.leaf = name, limit, clock, leaf
        self.worked = False  # ever
        self.since = clock.now().mono
        self.verdict = ""  # why the leaf's task was cancelled
        self._task: asyncio.Task[None] | None = None
        self._cancelled = 0.0  # when

    def renew(self) -> None:
        """Useful work was done."""
        self.since = self.clock.now().mono
        self.worked = True

    def hold(self, task: asyncio.Task[None] | None) -> None:
        """The leaf's task begins, or has ended (None)."""
        self._task, self.verdict = task, ""
        self.since = self.clock.now().mono

    def idle(self) -> float:
        """Seconds since the last useful work; 0 for a leaf that pauses."""
        return self.clock.now().mono - self.since if self._task is not None or not self.leaf else 0.0

    def condemn(self, why: str) -> None:
        """Cancel the leaf's task; `keep` starts it again."""
        if self._task is not None and not self.verdict:
            self.verdict, self._cancelled = why, self.clock.now().mono
            self._task.cancel()

    def is_late(self) -> bool:
        """Whether the lease has run out."""
        return self.idle() > self.limit

    def is_stuck(self) -> bool:
        """Whether only a new process helps: a critical task hangs, or a leaf that does not end, or is not started."""
        if not self.leaf:
            return self.is_late()
        now = self.clock.now().mono
        if self._task is None:
            return now - self.since > 2 * LONGEST
        return bool(self.verdict) and now - self._cancelled > GRACE


class Leases:
    """Who must make progress."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._leases: dict[str, Lease] = {}

    def grant(self, name: str, limit: float, leaf: bool = False) -> Lease:
        """A lease to be renewed at least every `limit` seconds; critical unless it is a leaf's."""
        lease = self._leases[name] = Lease(name, limit, self.clock, leaf)
        return lease

    def withdraw(self, name: str) -> None:
        """The leaf of this name is no more."""
        self._leases.pop(name, None)

    def overdue(self) -> list[str]:
        """Names whose lease has run out."""
        return [lease.name for lease in self._leases.values() if lease.is_late()]

    def beginners(self) -> list[str]:
        """Names that have not done anything yet."""
        return [lease.name for lease in self._leases.values() if not lease.worked]

    def stuck(self) -> list[str]:
        """Cancel the leaves whose lease has run out. Names of those that only a new process helps."""
        for lease in self._leases.values():
            if lease.leaf and lease.is_late():
                lease.condemn(f"hangs: no progress for {lease.idle():.1f} s")
        return [lease.name for lease in self._leases.values() if lease.is_stuck()]

    def condemn(self, name: str, why: str) -> bool:
        """Start the leaf of this name again. Whether there is one."""
        lease = self._leases.get(name)
        if lease is None or not lease.leaf:
            return False
        lease.condemn(why)
        return True

    def excuse(self, seconds: float) -> None:
        """The loop stood still for so long: nobody could have renewed anything."""
        for lease in self._leases.values():
            lease.since += seconds


@types.coroutine
def turning(inner: Coroutine[Any, Any, T], renew: Callable[[], None]) -> Generator[Any, Any, T]:
    """`inner`, which renews a lease each time that it comes round: who waits for ever for one thing does not.

    What failed knows the frames that it came through: this one forgets what it has in hand, or each error of an outage
    waits for the collector, and a socket with it.
    """
    step: Callable[[], Any] = partial(inner.send, None)
    while True:
        renew()
        try:
            awaited = step()
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            del step
        try:
            step = partial(inner.send, (yield awaited))
        except BaseException as error:  # it is for `inner`, a cancellation too
            step = partial(inner.throw, error)
        finally:
            del awaited


# -- leaves -------------------------------------------------------------------------------------------


class Record:
    """How a leaf fared: its failures since the start, and those since it last ran healthily."""

    def __init__(self) -> None:
        self.failures = 0
        self._recent = 0
        self._began = math.inf  # monotonic; inf: it pauses

    def begin(self, now: float) -> None:
        self._began = now

    def fail(self, now: float, ours: bool = True) -> bool:
        """It ended. Whether it became degraded by that.

        What the world does to it (a line lost, a broker away) is no sickness and has alarms of its own.
        """
        if self.is_healthy(now):
            self._recent = 0
        self._recent += ours
        self.failures += 1
        self._began = math.inf
        return ours and self._recent == FLOOD + 1

    def is_healthy(self, now: float) -> bool:
        """Whether it has been running for long enough to forget what was."""
        return now - self._began >= HEALTHY

    def is_degraded(self, now: float) -> bool:
        """Whether it failed again and again, and has not run healthily since."""
        return self._recent > FLOOD and not self.is_healthy(now)


class Pauses:
    """How long `keep` waits between two tries: the first one, doubled each time up to the longest. All in s."""

    def __init__(self, longest: float = LONGEST) -> None:
        self._longest = longest

    def first(self) -> float:
        """Before the second try, at most."""
        return FIRST

    def longest(self) -> float:
        """Between two tries, at most; asked again while it waits, for what is urgent may change."""
        return self._longest

    def start(self) -> float:
        """Before the very first try, at most."""
        return 0.0

    def spent(self, took: float) -> float:
        """How much of the pause a try that took so long has been already."""
        return 0.0


async def keep(
    name: str,
    leaf: Callable[[], Coroutine[Any, Any, None]],
    clock: Clock,
    told: Told,
    pauses: Pauses | None = None,
    rng: random.Random | None = None,
    lease: Lease | None = None,
    record: Record | None = None,
) -> None:
    """Run `leaf` for ever. Ends only by cancellation.

    Pauses double as `pauses` says, with full jitter above a quarter, on the monotonic clock. The
    first failure and the first failure after a healthy stretch are told as `lost`; before it `told` hears
    `hung` when its lease ran out, and `crashed` with a traceback when the fault is our own. `degraded` is
    told once when failures come thick.
    """
    rng = rng or random.Random()
    lease = lease or Lease(name, math.inf, clock, leaf=True)
    record = record or Record()
    pauses = pauses or Pauses()
    await _pause(rng.random(), pauses.start(), pauses, clock, lease)
    pause, last = pauses.first(), ""
    while True:
        began = clock.now().mono
        record.begin(began)
        kind, text, place, ours = await _ended(leaf, lease)
        now = clock.now().mono
        if record.is_healthy(now):
            pause, last = pauses.first(), ""
        if text != last:
            if kind != "lost":
                told(kind, name, f"{text} {place}".rstrip())
            told("lost", name, text)
            last = text
        if record.fail(now, ours):
            told("degraded", name, f"failed {FLOOD + 1} times without {HEALTHY:g} s of work between; still trying")
        await _pause(0.25 + 0.75 * rng.random(), pause, pauses, clock, lease, pauses.spent(now - began))
        pause = min(pauses.longest(), 2 * pause)


async def _pause(share: float, pause: float, pauses: Pauses, clock: Clock, lease: Lease, spent: float = 0.0) -> None:
    """Wait for this share of a pause, of which so much is `spent`; it may become shorter meanwhile."""
    began = clock.now().mono - spent
    while (left := share * min(pause, pauses.longest()) - (clock.now().mono - began)) > TINY:
        await clock.sleep(min(left, STEP))
        lease.renew()


async def _ended(leaf: Callable[[], Coroutine[Any, Any, None]], lease: Lease) -> tuple[str, str, str, bool]:
    """Run the leaf once, in a task and a context of its own. How it ended, why, where, and whether by us."""
    context = copy_context()
    context.run(LEAF.set, lease.name)
    task = asyncio.create_task(leaf(), name=lease.name, context=context)
    lease.hold(task)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])  # a farewell; how long that may take is for the caller to say
        raise
    finally:
        verdict = lease.verdict
        lease.hold(None)
    error = None if task.cancelled() else task.exception()
    if verdict:
        return ("hung" if verdict.startswith("hangs") else "lost"), verdict, "", True
    if isinstance(error, WorldFault):
        return "lost", str(error), "", False
    if error is None:
        return "lost", "was cancelled" if task.cancelled() else "ended by itself", "", True
    return "crashed", *described(error), True  # the one broad catch: a sick part makes nobody else ill


def described(error: BaseException) -> tuple[str, str]:
    """A mistake of ours in words, and where it happened."""
    place = "".join(traceback.format_exception(error, limit=-4))
    return f"{type(error).__name__}: {error}", place


def culprit(context: dict[str, Any]) -> str:
    """Of what a loop's exception handler hears: the lease that the callback or task lives on, empty if on none."""
    handle = context.get("handle") or context.get("task") or context.get("future")
    inner = getattr(handle, "_context", None)  # `get_context()` from Python 3.12 on
    return LEAF.get() if inner is None else str(inner.get(LEAF, ""))  # a transport tells within the callback


# -- the process --------------------------------------------------------------------------------------


class Watchdog:
    """Speaks to systemd by sd_notify(3); silent where there is none."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def notify(self, state: str) -> None:
        """Send one state, for example `READY=1`. Errors are ignored: a watchdog must not bite by itself."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(state.encode(), self._address)
        except OSError:
            pass


async def watch(leases: Leases, watchdog: Watchdog, clock: Clock, told: Told, period: float = LOOK) -> None:
    """Start again what hangs; feed the watchdog only while all that is critical makes progress and the loop is on time.

    Says `READY=1` once everybody has done something. Raises `RuntimeError` when something critical hangs for good.
    """
    ready, late, since = False, [""] * 0, 0.0
    while True:
        before, pause = clock.now().mono, period if ready else SOON
        await clock.sleep(pause)
        now = clock.now().mono
        lag = now - before - pause
        if lag > period:
            leases.excuse(lag)
        stuck = leases.stuck()
        if stuck != late:
            told("watch-late" if stuck else "watch-fresh", ",".join(stuck or late), "no progress" if stuck else "")
            since, late = since if late and stuck else now, stuck
        if stuck and now - since > ENDING:
            raise RuntimeError(f"no progress of {', '.join(stuck)}; only a new start helps")
        if not ready and not leases.beginners():
            ready = True
            watchdog.notify("READY=1")
        if not stuck and lag < LAG:
            watchdog.notify("WATCHDOG=1")


def end_within(seconds: float, loop: asyncio.AbstractEventLoop, said: Callable[[str], None]) -> None:
    """The process ends within `seconds`, whatever hangs: a thread sees to it, unless the loop was closed by then.

    What is on the disk stays there, as after a SIGKILL; what hangs is said.
    """

    def wait() -> None:
        time.sleep(seconds)
        if not loop.is_closed():
            try:
                said(", ".join(sorted(task.get_name() for task in asyncio.all_tasks(loop))))
                time.sleep(SAYING)
            finally:
                os._exit(os.EX_SOFTWARE)

    threading.Thread(target=wait, name="last resort", daemon=True).start()


SAYING = 0.1  # s for the last word
