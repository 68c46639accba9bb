"""Keeps leaves alive: a driver or an uplink that fails is started again, with growing pauses.

Also the leases by which the watchdog knows that work is being done. This module has the only broad
`except` of the program: whatever a leaf raises costs that leaf and nothing else, and is said aloud.
"""

from __future__ import annotations

import os
import random
import socket
import traceback
from collections.abc import Awaitable, Callable

from .core.errors import WorldFault
from .core.ports import Clock

FIRST, LONGEST = 0.5, 30.0  # s; reliability rule 2.1 d
HEALTHY = 60.0  # s a leaf must run before its pauses start again from FIRST
CRASHES = 5  # failures within HEALTHY that make a leaf "degraded"

Told = Callable[[str, str, str], None]  # kind, leaf, text


async def keep(
    name: str,
    leaf: Callable[[], Awaitable[None]],
    clock: Clock,
    told: Told,
    longest: float = LONGEST,
    rng: random.Random | None = None,
) -> None:
    """Run `leaf` for ever. Ends only by cancellation.

    Pauses double from `FIRST` to `longest` with full jitter above a quarter, on the monotonic clock. The
    first failure and the first failure after a healthy stretch are told as `lost`; `told` also hears
    `degraded` once when failures come thick, and `crashed` with a traceback when the fault is our own.
    """
    rng = rng or random.Random()
    pause, recent, last = FIRST, 0, ""
    while True:
        started = clock.now().mono
        try:
            await leaf()
            text = "ended by itself"
        except WorldFault as fault:
            text = str(fault)
        except Exception as error:  # the one broad except: a sick part makes nobody else ill
            text = f"{type(error).__name__}: {error}"
            if text != last:
                told("crashed", name, f"{text} {traceback.format_exc(limit=-4)}")
        if clock.now().mono - started >= HEALTHY:
            pause, recent, last = FIRST, 0, ""
        recent += 1
        if text != last:
            told("lost", name, text)
            last = text
        if recent == CRASHES:
            told("degraded", name, f"failed {recent} times in a row; still trying")
        await clock.sleep(pause * (0.25 + 0.75 * rng.random()))
        pause = min(longest, 2 * pause)


class Leases:
    """Who must make progress, how often, and since when they have not. Monotonic time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._limit: dict[str, float] = {}
        self._renewed: dict[str, float] = {}

    def grant(self, name: str, limit: float) -> Callable[[], None]:
        """A function that `name` calls after useful work, at least every `limit` seconds."""
        self._limit[name] = limit

        def renew() -> None:
            self._renewed[name] = self.clock.now().mono

        renew()
        return renew

    def overdue(self) -> list[str]:
        """Names whose lease has run out."""
        now = self.clock.now().mono
        return [name for name, limit in self._limit.items() if now - self._renewed[name] > limit]


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


async def watch(leases: Leases, watchdog: Watchdog, clock: Clock, told: Told, period: float = 1.0) -> None:
    """Feed the watchdog only while every lease is fresh and the loop itself is on time."""
    late_since: list[str] = []
    while True:
        before = clock.now().mono
        await clock.sleep(period)
        lag = clock.now().mono - before - period
        overdue = leases.overdue()
        if overdue != late_since:
            told("watch-late" if overdue else "watch-fresh", ",".join(overdue or late_since), "no progress")
            late_since = overdue
        if not overdue and lag < 1.0:
            watchdog.notify("WATCHDOG=1")
