"""Stamps that were made before the wall clock could be trusted, and what they should have said.

A box without a battery clock wakes up in the wrong year, and what it measures waits with that year on it. But every
stamp carries the monotonic clock too, and that one runs on, over restarts of this program, until the kernel starts
anew: that stretch is an era. The first instant of an era that can be trusted tells what to add to all monotonic
stamps before it. It is written down, so that what was queued is told right, also by a later start and in a later
era; the store keeps what was said at first, and an uplink tells both.

An era that ended without a trusted instant cannot be mended: its stamps stay as they are, `synced` false.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, structs

from .core.alarm import Alarm
from .core.frame import Instant
from .core.ports import Batch, Event, Item

KEPT = 64  # eras remembered; project
AGREE = 0.5  # s by which two looks at a trusted clock may differ: more is a clock on the move; project


class Era(Struct, frozen=True, array_like=True):
    """One run of the monotonic clock, from start number `first` of this program on."""

    first: int
    kernel: str  # the kernel's own name for the run
    trusted: float | None = None  # monotonic s at which the wall clock was last found to be trusted anew
    offset: float = 0.0  # s, wall minus monotonic, then


class Eras:
    """What is known of the eras, oldest first; the last one is now."""

    def __init__(self) -> None:
        self.known: list[Era] = []
        self._due = True  # the next trusted instant is the first after some that were not
        self._doubted = False  # some instant since the start could not be trusted
        self._last: float | None = None  # offset at the last look, if it was trusted

    def recall(self, older: Sequence[Era]) -> None:
        """Put what an earlier start wrote down before what is known already."""
        now = self.known
        self.known = list(older[-KEPT:])
        for era in now:
            self.begin(era.first, era.kernel)

    def begin(self, start: int, kernel: str) -> None:
        """Start number `start` of this program, in this run of the kernel; empty: perhaps in another."""
        if not self.known or not kernel or self.known[-1].kernel != kernel:
            self.known = [*self.known, Era(start, kernel)][-KEPT:]

    def learn(self, at: Instant) -> bool:
        """Look at the clocks, about once a second. Whether the wall clock was just found to be trusted.

        Two looks must agree: the state of the clock is asked apart from the clock, which may move in between.
        """
        offset, before = at.wall - at.mono, self._last
        self._last = offset if at.synced else None
        self._doubted |= not at.synced
        self._due |= not at.synced
        if not self._due or not at.synced or before is None or abs(offset - before) > AGREE or not self.known:
            return False
        self._due = False
        self.known[-1] = structs.replace(self.known[-1], trusted=at.mono, offset=offset)
        return True

    @property
    def doubted(self) -> bool:
        """Whether this start has made stamps that could not be trusted."""
        return self._doubted

    def of(self, boot: str) -> Era | None:
        """The era of a boot, by the number that its name begins with."""
        number = boot.partition("-")[0]
        if not number.isdigit():
            return None
        return next((era for era in reversed(self.known) if era.first <= int(number)), None)

    def mend(self, item: Item) -> Item:
        """The item with trusted stamps, where that is possible; then it has its `original`, too."""
        body, era = item.body, self.of(item.boot)
        if era is None or era.trusted is None:
            return item
        if isinstance(body, Batch):
            if body.synced or body.mono[0] > era.trusted:
                return item
            return structs.replace(
                item, body=structs.replace(body, wall=body.mono + era.offset, synced=True), original=body
            )
        if (at := mended(body.at, era)) is body.at:
            return item
        if isinstance(body, Event):
            return structs.replace(item, body=structs.replace(body, at=at), original=body)
        since = mended(body.since, era) if self.of(_born(body)) is era else body.since
        return structs.replace(item, body=structs.replace(body, at=at, since=since), original=body)

    def mend_open(self, alarm: Alarm) -> Alarm:
        """The same for an alarm of which nobody knows in which boot its last edge was: if it can only be this era."""
        era = None if alarm.at.synced else self.of(_born(alarm))
        if era is None or era is not self.known[-1]:
            return alarm
        return structs.replace(alarm, at=mended(alarm.at, era), since=mended(alarm.since, era))


def _born(alarm: Alarm) -> str:
    """The boot in which it was raised: its id begins so (`agent.core.core`)."""
    return alarm.id.rpartition("-")[0]


def mended(at: Instant, era: Era) -> Instant:
    """The instant as the wall clock should have labelled it; itself, where it was trusted or nothing is known.

    >>> mended(Instant(5.0, 12.0), Era(1, "k", 60.0, 1.7e9))
    Instant(mono=5.0, wall=1700000005.0, synced=True)
    """
    if at.synced or era.trusted is None or at.mono > era.trusted:
        return at
    return Instant(at.mono, at.mono + era.offset, True)
