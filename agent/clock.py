"""The only module that reads a clock.

`SystemClock` is the real one. It asks the kernel whether the wall clock is disciplined; nothing in the
program decides by the wall clock, so a wrong answer costs a label and no alarm.
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import struct
import time
from pathlib import Path

from .core.frame import Instant

TIME_ERROR = 5  # adjtimex(2): clock not synchronised
STA_NANO = 0x2000  # adjtimex(2): the offset is in ns, not in us


def synced() -> bool:
    """Whether the kernel says that the wall clock is synchronised (adjtimex(2), read only)."""
    try:
        buffer = ctypes.create_string_buffer(512)  # struct timex is 208 bytes; all zero asks and sets nothing
        return bool(0 <= _LIBC.adjtimex(buffer) != TIME_ERROR)
    except (OSError, AttributeError):
        return False


def offset() -> float:
    """s that the kernel still has to make up by its own account (adjtimex(2), read only); NaN: not synchronised.

    Of `struct timex` the first members: modes, offset, freq, maxerror, esterror, status.
    """
    try:
        buffer = ctypes.create_string_buffer(512)
        if _LIBC.adjtimex(buffer) in (-1, TIME_ERROR):
            return math.nan
        members = struct.unpack_from("@Illlli", buffer)
    except (OSError, AttributeError, struct.error):
        return math.nan
    return abs(float(members[1])) * (1e-9 if members[5] & STA_NANO else 1e-6)


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
