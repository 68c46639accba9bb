"""Items that wait for periods, and what the store knows of a period, over restarts of the agent.

For languages that tell periods (`periods.py`): `Dues` is what was taken from the feed and which periods must be told
before it counts as delivered; `Archive` asks the store for a source's past in the time of the wall clock.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from msgspec import Struct

from ..core.frame import Instant
from ..core.ports import Batch, Feed, Item
from .periods import HOLD

LOOKUP = 5.0  # s that the store may take to answer
CHUNK = 1800.0  # s of history asked for at once
LIVES = 8  # starts of the agent whose telemetry is looked for
SLACK = 600.0  # s by which the times of a start are known
BEFORE = 86400.0  # s that it may have run before an uplink came up, as long as nothing is known of that

P = TypeVar("P", bound=Hashable)
Past = list[tuple[Batch, float]]  # batches, each with what its monotonic time lacks to the wall clock


class Entry:
    """An item that waits."""

    __slots__ = ("item", "left")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.left = 0  # things that must be told first


class Dues(Generic[P]):
    """Items taken from a feed, and what must be told before each is delivered."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.due: dict[P, list[Entry]] = {}
        self.waiting = 0  # items

    def add(self, item: Item, things: Iterable[P]) -> Entry:
        """One that waits for these; delivered at once where there are none."""
        entry = Entry(item)
        for thing in things:
            self.due.setdefault(thing, []).append(entry)
            entry.left += 1
        if entry.left:
            self.waiting += 1
        else:
            self._feed.done(item)
        return entry

    def told(self, thing: P) -> None:
        """It was told: whatever waited for it alone is delivered."""
        for entry in self.due.pop(thing, []):
            entry.left -= 1
            if not entry.left:
                self.waiting -= 1
                self._feed.done(entry.item)

    def batches(self, source: str) -> list[tuple[str, Batch]]:
        """Telemetry of a source that waits, each with its boot."""
        found = {id(entry): entry.item for entries in self.due.values() for entry in entries}
        return [
            (one.boot, one.body) for one in found.values() if isinstance(one.body, Batch) and one.body.source == source
        ]


class Life(Struct):
    """A start of the agent."""

    offset: float  # s that its monotonic clock lacks to the wall clock
    first: float  # s UTC of what it read, as far as is known
    last: float


class Archive(Generic[P]):
    """What the store and the items that wait know of sources. `lives`, by boot, is kept by whoever has a memo."""

    def __init__(self, feed: Feed, dues: Dues[P], lives: dict[str, Life], boot: str) -> None:
        self.lives = lives
        self._feed, self._dues, self._boot = feed, dues, boot
        self._asked: dict[str, tuple[float, float, Past]] = {}  # source -> since when, until when, what

    def live(self, now: Instant) -> None:
        """This start goes on."""
        life = self.lives.pop(self._boot, None) or Life(0.0, now.wall - BEFORE, now.wall)
        life.offset, life.last = now.wall - now.mono, now.wall
        self.lives[self._boot] = life  # the newest is the last
        while len(self.lives) > LIVES:
            del self.lives[next(iter(self.lives))]

    def heard(self, boot: str, batch: Batch) -> None:
        """There is telemetry of a start, perhaps an earlier one."""
        begin, end = float(batch.wall[0]), float(batch.wall[-1])
        life = self.lives.get(boot)
        if life is None:
            older = {known: one for known, one in self.lives.items() if known != self._boot}
            newest = {known: one for known, one in self.lives.items() if known == self._boot}
            life = Life(0.0, begin, end)
            self.lives.clear()
            self.lives.update({**older, boot: life, **newest})
        if boot != self._boot:
            life.offset = end - float(batch.mono[-1])
        life.first, life.last = min(life.first, begin), max(life.last, end)

    def forget(self) -> None:
        """What was asked for is asked again."""
        self._asked.clear()

    async def of(self, source: str, begin: float, end: float) -> Past:
        """What is known of a source from a little before `begin` until `end`, s UTC; asked once until `forget`."""
        known = self._asked.get(source)
        if known is not None and known[0] <= begin and end <= known[1]:
            return known[2]
        found: Past = []
        for boot, life in list(self.lives.items()):
            if life.first - SLACK > end or life.last + SLACK < begin - HOLD:
                continue
            since = begin - HOLD
            while since < end:
                until = min(end, since + CHUNK)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOKUP):
                        past = await self._feed.past(boot, {source}, until - life.offset, until - since)
                        found += [(batch, life.offset) for batch in past]
                since = until
        for boot, batch in self._dues.batches(source):
            if boot in self.lives and begin - HOLD <= batch.wall[-1] and batch.wall[0] < end:
                found.append((batch, self.lives[boot].offset))
        self._asked[source] = begin, end, found
        return found
