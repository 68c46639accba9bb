"""The only module that reads a clock.

`SystemClock` is the real one. It asks the kernel whether the wall clock is disciplined; nothing in the
program decides by the wall clock, so a wrong answer costs a label and no alarm.
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import time
from pathlib import Path
from typing import NamedTuple

from .core.frame import Instant

TIME_ERROR = 5  # adjtimex(2): clock not synchronised
STA_NANO = 0x2000  # adjtimex(2): the offset is in ns, not in us
TIMESYNCD = Path("/run/systemd/timesync/synchronized")  # touched with each answer of a server, systemd-timesyncd(8)
FRESH = 32000.0  # s without any, after which the kernel takes a clock for not synchronised: 16 s at 500 ppm


class Discipline(NamedTuple):
    """What the kernel knows of the wall clock."""

    synced: bool
    offset: float  # s that it still has to make up, by its own account
    error: float  # s that it may be off, at most, as far as it knows
    ppm: float  # by which the crystal is corrected


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as it is wanted."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 400),
    ]


def discipline() -> Discipline | None:
    """How the wall clock is kept (adjtimex(2), read only); None where that is not told."""
    told = _Timex()
    try:
        state = _LIBC.adjtimex(ctypes.byref(told))
    except AttributeError:
        return None
    if state < 0:
        return None
    offset = abs(told.offset) * (1e-9 if told.status & STA_NANO else 1e-6)
    return Discipline(state != TIME_ERROR, offset, told.maxerror / 1e6, told.freq / 65536)


def synced(mark: Path = TIMESYNCD) -> bool:
    """Whether the wall clock is synchronised: by the kernel, or where it may not be asked (`ProtectClock=`) by what
    systemd-timesyncd leaves behind."""
    if (told := discipline()) is not None:
        return told.synced
    try:
        return abs(time.time() - mark.stat().st_mtime) < FRESH
    except OSError:
        return False


def offset() -> float:
    """s that the kernel still has to make up; NaN where the clock is not synchronised."""
    told = discipline()
    return told.offset if told is not None and told.synced else math.nan


def kernel() -> str:
    """Which run of the kernel this is, and so of its monotonic clock; empty where nobody knows.

    A service that sees nothing of /proc but processes (`ProcSubset=pid`) is told by its unit: `VEDETTE_KERNEL=%b`.
    """
    try:
        told = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        told = os.environ.get("VEDETTE_KERNEL", "")
    return told.strip().replace("-", "")


_LIBC = ctypes.CDLL(None, use_errno=True)


class SystemClock:
    """This machine's clocks. The sync state is asked at most once a second."""

    def __init__(self) -> None:
        self._asked = float("-inf")
        self._synced = False

    def now(self) -> Instant:
        mono = time.monotonic()
        if mono - self._asked >= 1.0:
            self._asked, self._synced = mono, synced()
        return Instant(mono, time.time(), self._synced)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ManualClock:
    """A clock for tests: an hour passes in a blink. Sleeping moves it; nothing waits."""

    def __init__(self, mono: float = 0.0, wall: float = 1_700_000_000.0, synced: bool = True) -> None:
        self.mono, self.wall, self.synced = mono, wall, synced

    def now(self) -> Instant:
        return Instant(self.mono, self.wall, self.synced)

    def advance(self, seconds: float) -> Instant:
        self.mono += seconds
        self.wall += seconds
        return self.now()

    async def sleep(self, seconds: float) -> None:
        self.advance(max(0.0, seconds))
        await asyncio.sleep(0)


class Steps:
    """Notices when the wall clock jumps against the monotonic one."""

    TOLERANCE = 0.5  # s; NTP slews below this, project

    def __init__(self, at: Instant) -> None:
        self.offset = at.wall - at.mono

    def step(self, at: Instant) -> float | None:
        """Seconds by which the wall clock jumped since last asked, or None."""
        offset = at.wall - at.mono
        jump = offset - self.offset
        if abs(jump) > self.TOLERANCE:
            self.offset = offset
            return jump
        self.offset += 0.01 * jump  # follow slow drift
        return None
