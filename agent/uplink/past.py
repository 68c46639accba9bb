"""Items that wait for periods, and what the store knows of a period, over restarts of the agent.

For languages that tell periods (`periods.py`): `Dues` is what was taken from the feed and which periods must be told
before it counts as delivered; `Archive` asks the store for a source's past in the time of the wall clock.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from msgspec import Struct

from ..core.frame import Instant
from ..core.ports import Batch, Feed, Item
from .periods import ANY, FIT, HOLD, Block, Summary, held, joined, series, stacked, summary

LOOKUP = 5.0  # s that the store may take to answer
CHUNK = 1800.0  # s of history asked for at once, and held in memory
LIVES = 8  # starts of the agent whose telemetry is looked for, beside those of which something waits
SLACK = 600.0  # s by which the times of a start are known
BEFORE = 86400.0  # s that it may have run before an uplink came up, as long as nothing is known of that

P = TypeVar("P", bound=Hashable)
TOGETHER = 600.0  # s of history that is asked for of all sources at once
BATCHES = 3600.0  # that the store gives at once, of one a second each
SHORT = 60.0  # s that are asked for at least
SOME = 16  # channels after which others have their turn


class Account(NamedTuple):
    """What a channel was over some time."""

    fit: Summary = Summary()  # of what is fit to be counted
    all: Summary = Summary()  # of everything that is a number
    held: Mapping[int, float] = {}  # never written to: quality -> s


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
        self._batches: dict[str, dict[int, Item]] = {}  # of these, telemetry by source and row

    def add(self, item: Item, things: Iterable[P]) -> Entry:
        """One that waits for these; delivered at once where there are none."""
        entry = Entry(item)
        for thing in things:
            self.due.setdefault(thing, []).append(entry)
            entry.left += 1
        if not entry.left:
            self._feed.done(item)
            return entry
        self.waiting += 1
        if isinstance(item.body, Batch):
            self._batches.setdefault(item.body.source, {})[item.row] = item
        return entry

    def told(self, thing: P) -> None:
        """It was told: whatever waited for it alone is delivered."""
        for entry in self.due.pop(thing, []):
            entry.left -= 1
            if entry.left:
                continue
            self.waiting -= 1
            if isinstance(entry.item.body, Batch):
                self._batches[entry.item.body.source].pop(entry.item.row, None)
            self._feed.done(entry.item)

    def boots(self) -> set[str]:
        """Starts of the agent of whose telemetry something waits."""
        return {item.boot for items in self._batches.values() for item in items.values()}

    def batches(self, source: str) -> list[Item]:
        """Telemetry of a source that waits."""
        return list(self._batches.get(source, {}).values())


class Life(Struct):
    """A start of the agent."""

    offset: float  # s that its monotonic clock lacks to the wall clock
    first: float  # s UTC of what it read, as far as is known
    last: float


class Archive(Generic[P]):
    """What the store and the items that wait know of sources. `lives`, by boot, is kept by whoever has a memo."""

    def __init__(self, feed: Feed, dues: Dues[P], lives: dict[str, Life], boot: str, sources: Collection[str]) -> None:
        self.lives = lives
        self._feed, self._dues, self._boot, self._sources = feed, dues, boot, set(sources)
        self._asked: dict[str, tuple[float, float, list[Block]]] = {}  # source -> since when, until when, what

    def live(self, now: Instant) -> None:
        """This start goes on."""
        life = self.lives.pop(self._boot, None) or Life(0.0, now.wall - BEFORE, now.wall)
        life.offset, life.last = now.wall - now.mono, now.wall
        self.lives[self._boot] = life  # the newest is the last
        if len(self.lives) > LIVES:
            needed = self._dues.boots()
            for boot in list(self.lives)[:-LIVES]:
                if boot not in needed:
                    del self.lives[boot]

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

    async def of(self, source: str, begin: float, end: float) -> list[Block]:
        """What is known of a source from a little before `begin` until `end`, s UTC, `CHUNK` apart at most; asked once
        until `forget`."""
        known = self._asked.get(source)
        if known is not None and known[0] <= begin and end <= known[1]:
            return known[2]
        together = self._sources if end - begin <= TOGETHER else {source}  # the store looks for the place only once
        found: dict[str, list[tuple[Batch, float]]] = {one: [] for one in {source, *together}}
        since, step = begin - HOLD, max(SHORT, BATCHES / len(found))
        for boot, life in list(self.lives.items()):
            if life.first - SLACK > end or life.last + SLACK < since:
                continue
            at = since
            while at <= end:
                until = min(end, at + step)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOKUP):
                        for batch in await self._feed.past(boot, found.keys(), until - life.offset, until - at):
                            found[batch.source].append((batch, life.offset))
                if until == end:
                    break
                at = until
        for one, batches in found.items():
            for item in self._dues.batches(one):
                body = item.body
                assert isinstance(body, Batch)
                if item.boot in self.lives and since <= body.wall[-1] and body.wall[0] < end:
                    batches.append((body, self.lives[item.boot].offset))
            self._asked[one] = begin, end, stacked(batches)
        return self._asked[source][2]

    async def account(self, source: str, keys: Collection[str], begin: float, end: float) -> dict[str, Account]:
        """What channels of a source were from `begin` until before `end`, however long that is."""
        accounts = dict.fromkeys(keys, Account())
        while begin < end:
            until = min(end, begin + CHUNK)
            blocks = await self.of(source, begin, until)
            for n, key in enumerate(accounts, 1):
                one, before = series(blocks, key), accounts[key]
                now = held(one, begin, until)
                fit = summary(one, begin, until)
                everything = fit if now.keys() <= {*FIT} else summary(one, begin, until, ANY)
                lasted = {q: before.held.get(q, 0.0) + now.get(q, 0.0) for q in {*before.held, *now}}
                accounts[key] = Account(joined(before.fit, fit), joined(before.all, everything), lasted)
                if n % SOME == 0:
                    await asyncio.sleep(0)
            begin = until
        return accounts
