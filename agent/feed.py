"""What the store shows one uplink: what it still owes its platform, most urgent first.

    alarms, events     from memory, the moment they are put; of the alarms red first, then orange, yellow, blue
    live telemetry     from memory, while the link is up and keeps pace
    backlog            committed telemetry that was not live: spans of rows, read back in chunks, oldest first

Telemetry becomes backlog only when it is committed, and the disk is told what is tried before it is tried.
That, and nothing else, is why a kill leaves no hole and no unmarked repetition.

A broker may close the connection whenever it sees one certain message, and gives no reason. Whatever was the oldest
under way when a connection broke is a suspect: it goes alone, until it is confirmed. Five breaks in a row convict it:
telemetry is set aside, an alarm or event is deferred, with what follows on the same point, and tried again later.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import structs

from .core.alarm import LEVELS, Alarm, Point
from .core.ports import LANES, Batch, Clock, Event, Item, Lane, Latest, Uplink
from .rows import Owed, Span

LATE = 10.0  # s; what is older when handed out is history, not news
BEHIND = 64  # live batches that may wait for a slow platform before the oldest become backlog
AHEAD = 32  # backlog in memory below which the next chunk is read
HORIZON = 1024  # rows marked as tried at once: one commit per so many rows of backlog
STALE = 64  # rows that a cap dropped and a lane still remembers, beyond as many as there are; project
BREAKS = 5  # connections in a row that broke over one item, after which it is isolated; reliability rule 1.4.8
SUSPECTS = 64  # items that are remembered as suspects at most; project
DEFER, DEFER_MOST = 60.0, 900.0  # s until an isolated alarm is tried again; doubles each time; project


def rank(item: Item) -> int:
    """How little an alarm matters: 0 is red. An event matters least."""
    return LEVELS.index(item.body.level) if isinstance(item.body, Alarm) else len(LEVELS)


def point(item: Item) -> Point:
    """What keeps its order: the edges of one point; an event by its row alone, for none waits for another."""
    return item.point or ("", str(item.row))


def is_bulk(item: Item) -> bool:
    """Whether it is telemetry, live or not."""
    return item.lane not in ("alarm", "event")


class Suspect:
    """An item over which connections broke."""

    __slots__ = ("breaks", "due", "item")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.breaks = 0  # in a row
        self.due: float | None = None  # s, monotonic: when a deferred one is tried again


class Urgent:
    """Alarms and events that wait, by rank, then row; but the edges of one point keep their order.

    The level of a point changes with the configuration, and that of an item with its colour: then the older edge goes
    first, as soon as the newer one would be due.
    """

    def __init__(self) -> None:
        self._order: list[tuple[int, int, Point]] = []  # heap of rank, row, point
        self._edges: dict[Point, list[tuple[int, Item]]] = {}  # heaps of row, item

    def put(self, item: Item, wanted: Collection[int]) -> None:
        """One more; `wanted` are the rows that are still to be delivered at all."""
        self._add(item)
        if len(self._order) > 2 * len(wanted) + STALE:  # the link is down and a cap drops: forget those
            edges, self._order, self._edges = self._edges, [], {}
            for heap in edges.values():
                for row, item in heap:
                    if row in wanted:
                        self._add(item)

    def _add(self, item: Item) -> None:
        heapq.heappush(self._order, (rank(item), item.row, point(item)))
        heapq.heappush(self._edges.setdefault(point(item), []), (item.row, item))

    def pull(self, at: Point) -> list[Item]:
        """All of one point, which wait here no longer."""
        return [item for _, item in self._edges.pop(at, [])]

    def take(self, wanted: Container[int], events: bool = True) -> Item | None:
        """The next one, or None; without `events` alarms alone."""
        while self._order and (events or self._order[0][0] < len(LEVELS)):
            _, row, at = self._order[0]
            edges = self._edges.get(at, [])
            while edges and edges[0][0] not in wanted:
                heapq.heappop(edges)
            older = bool(edges) and edges[0][0] < row  # its own place in the order is further back, and will be skipped
            if not older:
                heapq.heappop(self._order)
            item = heapq.heappop(edges)[1] if edges and (older or edges[0][0] == row) else None
            if not edges:  # an event is a point of its own: nobody would ever come for what is left of it
                self._edges.pop(at, None)
            if item is not None:
                return item
        return None


class Queue(Protocol):
    """What a feed asks of the outbox."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def entries(self) -> Collection[int]:
        """Rows of alarms and events that are still to be delivered."""

    def owing(self, uplink: str) -> dict[Lane, int]:
        """How many alarms and events the uplink owes."""

    def is_urgent(self, uplink: str) -> bool:
        """Whether the uplink owes a red or orange alarm."""

    def delivered(self, row: int, uplink: str) -> None:
        """The platform of `uplink` has alarm or event `row`."""

    def set_aside(self, row: int, why: str) -> None:
        """Alarm or event `row` is refused for good."""

    def changed(self) -> None:
        """What some uplink owes has changed."""

    def latest(self) -> Mapping[str, Latest]:
        """Where each source stands now."""

    async def read_ahead(self, feed: Feed, turn: int) -> None:
        """Read the next chunk of backlog and give it to `feed.read`."""

    async def past(self, boot: str, sources: Collection[str], until: float, span: float) -> list[Batch]:
        """What these sources said before a moment."""

    def mend(self, item: Item) -> Item:
        """The item as it is to be told, its stamps right."""

    def tell(self, kind: str, text: str, **facts: Any) -> None:
        """Say an event of the store."""

    def is_thinned(self, row: int) -> bool:
        """Whether a row of telemetry may have been let go for want of room, which was told."""

    def ask(self, feed: Feed, boot: str, stream: str, first: int, last: int) -> None:
        """A platform wants a stretch of a stream once more."""


Heed = Callable[[bytes, str, str, Callable[[dict[str, Any]], None]], None]  # envelope, uplink, topic, reply


class Feed:
    """What the store shows one uplink (`agent.core.ports.Feed`)."""

    def __init__(self, name: str, queue: Queue, choice: Uplink | None = None) -> None:
        self.name = name
        self.choose(choice)
        self._foreign: list[int] = []  # rows since the last commit that it is not told
        self.up = False
        self.dropped: dict[str, int] = dict.fromkeys(LANES, 0)
        self.owed = Owed()  # committed telemetry that became backlog
        self.live: list[tuple[int, Item]] = []  # heap; telemetry from memory
        self._queue = queue
        self._urgent = Urgent()
        self._flying: dict[tuple[bool, int], Item] = {}  # handed out; (is telemetry, row)
        self._chunk: deque[Item] = deque()  # backlog read ahead
        self._cursor = 0  # backlog before this row was read ahead or handed out
        self._horizon = 0  # backlog up to here stands on the disk as tried
        self._turn = 0  # counts how often the link went down: a chunk read for an earlier one is not for this
        self._held = False  # uncommitted batches just became backlog; nothing newer may overtake them
        self._reading: asyncio.Task[None] | None = None
        self._wake: Callable[[], None] = lambda: None
        self._suspects: dict[tuple[bool, int], Suspect] = {}
        self._deferred: dict[Point, tuple[bool, int]] = {}  # points that wait with a suspect, and which it is
        self._parked = Urgent()  # what waits there
        self.notes: dict[str, Any] = {}
        self.heed: Heed = lambda *heard: None  # who hears commands

    def choose(self, choice: Uplink | None) -> None:
        """What it is told from now on, where that is not all."""
        self._choice = choice
        self._keeps = choice is None or choice.wants_lane("backfill")  # telemetry that cannot go at once

    # -- the port ---------------------------------------------------------------------------------------

    def watch(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def take(self, least: Lane = "backfill") -> Item | None:
        if not self.up:
            return None
        self._try_deferred()
        while (urgent := self._urgent.take(self._queue.entries, least != "alarm")) is not None:
            if point(urgent) not in self._deferred:
                return self._hand_out(urgent)
            self._parked.put(urgent, self._queue.entries)
        if least in ("alarm", "event") or self._held:
            return None
        while self.live:
            item = heapq.heappop(self.live)[1]
            assert isinstance(item.body, Batch)
            late = self._queue.clock.now().mono - item.body.mono[-1] > LATE
            if late and not self._keeps:
                continue
            if late:
                item = structs.replace(item, lane="backfill", historical=True)
            return self._hand_out(item)
        if least == "telemetry":
            return None
        item_or_none = None
        while self._chunk and item_or_none is None:
            item = self._chunk.popleft()
            item_or_none = item if item.row in self.owed else None  # else it left the store, and that was told
        if len(self._chunk) < AHEAD and self._reading is None and self.owed.after(self._cursor):
            self._reading = asyncio.create_task(self._queue.read_ahead(self, self._turn))
        return self._hand_out(item_or_none) if item_or_none else None

    def done(self, item: Item) -> None:
        self._flying.pop(_key(item), None)
        self._clear(item)
        if is_bulk(item):
            self.owed.remove(item.row)
            self._queue.changed()
        else:
            self._queue.delivered(item.row, self.name)

    def again(self, item: Item) -> None:
        if self._flying.pop(_key(item), None) is None:
            return
        item = structs.replace(item, resent=True)
        if item.lane == "alarm" or item.lane == "event":
            self.put(item)
        elif item.row in self.owed:
            self.owed.tried(item.row, item.row)
            self._cursor = min(self._cursor, item.row)
        else:
            heapq.heappush(self.live, (item.row, item))
        self._wake()

    def refused(self, item: Item, why: str) -> None:
        self.dropped[item.lane] += 1
        if item.lane in ("alarm", "event"):
            self._queue.set_aside(item.row, why)
        self._clear(item, delivered=False)
        self.done(item)
        if not (isinstance(item.body, Event) and item.body.kind == "set-aside"):  # else one refusal begets the next
            self._tell("set-aside", f"{_name(item)} is set aside: uplink {self.name}: {why}", item)

    def online(self, up: bool) -> None:
        self.up = up
        if not up:
            self._chunk.clear()
            self._turn += 1
            for item in list(self._flying.values()):
                self.again(item)
            self._cursor = self._horizon = 0
            self._queue.changed()
        self._wake()

    def owes(self, item: Item) -> bool:
        if is_bulk(item) or item.row in self._queue.entries:
            return True
        self._flying.pop(_key(item), None)
        self._clear(item, delivered=False)
        return False

    def is_flying(self, row: int) -> bool:
        """Whether telemetry of this row is handed out: it is delivered from memory, wherever else it is gone."""
        return (True, row) in self._flying

    def is_suspect(self, item: Item) -> bool:
        return _key(item) in self._suspects

    def blame(self, item: Item, why: str) -> None:
        key = _key(item)
        if key not in self._flying or not self.owes(item):
            return
        while len(self._suspects) >= SUSPECTS and key not in self._suspects:
            idle = [k for k, suspect in self._suspects.items() if suspect.due is None]
            if not idle:
                return  # too many to watch; those that wait are known to be bad
            del self._suspects[idle[0]]
        suspect = self._suspects.setdefault(key, Suspect(item))
        suspect.breaks += 1
        if suspect.breaks < BREAKS:
            return
        if is_bulk(item):
            self.refused(item, f"the connection broke {BREAKS} times over it: {why}")
            return
        pause = min(DEFER_MOST, DEFER * 2 ** (suspect.breaks - BREAKS))
        suspect.due = self._queue.clock.now().mono + pause
        self._deferred[point(item)] = key
        if suspect.breaks == BREAKS:
            text = f"{_name(item)} is deferred: uplink {self.name}: the connection broke {BREAKS} times over it: {why}"
            self._tell("deferred", f"{text}; it is tried again alone, now and then", item)

    def is_urgent(self) -> bool:
        """Whether a red or orange alarm waits for its platform."""
        return self._queue.is_urgent(self.name)

    def lost(self) -> Mapping[str, int]:
        return dict(self.dropped)

    def latest(self) -> Mapping[str, Latest]:
        return self._queue.latest()

    def ask(self, boot: str, stream: str, first: int, last: int) -> None:
        self._queue.ask(self, boot, stream, first, last)

    def command(self, envelope: bytes, topic: str, reply: Callable[[dict[str, Any]], None]) -> None:
        self.heed(envelope, self.name, topic, reply)

    async def past(self, boot: str, sources: Collection[str], until: float, span: float) -> list[Batch]:
        return await self._queue.past(boot, sources, until, span)

    # -- the store's side -------------------------------------------------------------------------------

    def put(self, item: Item) -> None:
        """Something new, or something again."""
        if item.lane == "alarm" or item.lane == "event":
            self._urgent.put(item, self._queue.entries)
        elif self.wants(item.stream):
            heapq.heappush(self.live, (item.row, item))
        else:
            self._foreign.append(item.row)
            return
        self._wake()

    def wants(self, stream: str) -> bool:
        """Whether it is told this stream of telemetry."""
        choice = self._choice
        return choice is None or (choice.wants_lane("telemetry") and choice.wants_source(stream.partition("/")[2]))

    def settle(self, committed: int) -> bytes:
        """What is owed, for the disk, as of a commit that is about to begin; `committed` is the last row before it.

        Live batches of a link that is down become backlog here; of a slow one, those beyond `BEHIND`.
        """
        waiting = [row for row, _ in self.live if row <= committed or not self.up]
        excess = set(waiting if not self.up else sorted(waiting)[: max(0, len(self.live) - BEHIND)])
        if excess:
            for row, item in self.live:
                if row in excess and self._keeps:
                    self.owed.add(row, row, item.resent)
                    self._cursor = min(self._cursor, row)
            if self._keeps:
                self._bridge()
            self.live = [pair for pair in self.live if pair[0] not in excess]
            heapq.heapify(self.live)
            self._held = max(excess) > committed
        self._foreign.clear()
        spans = Owed(self.owed.spans)
        if self._horizon:
            spans.tried(0, self._horizon)
        for row in sorted(row for row, _ in self.live):
            spans.add(row, row, True)  # may be sent before the next commit
        for telemetry, row in self._flying:
            if telemetry:
                spans.add(row, row, True)
        return msgspec.json.encode(spans.spans)

    def _bridge(self) -> None:
        """Owe with the others what it is not told, so that there are few spans; it is let go when it is read."""
        for row in self._foreign:
            if row - 1 in self.owed:
                self.owed.add(row, row, self.owed.is_tried(row - 1))

    def settled(self, failed: Sequence[Item] = ()) -> None:
        """The commit ended. Where it failed its batches are not on the disk and must go from memory."""
        for item in failed:
            if item.row in self.owed and not item.historical:
                resent = item.resent or self.owed.is_tried(item.row)
                self.owed.remove(item.row)
                self.put(structs.replace(item, resent=resent))
        if self._held:
            self._held = False
            self._wake()

    def next_span(self) -> Span | None:
        """The next backlog to read ahead."""
        return self.owed.after(self._cursor)

    def reach(self, lo: int, hi: int, reached: int) -> bool:
        """Backlog of the span `lo` to `hi` is to be handed out up to `reached`: must the disk know first?"""
        if reached <= self._horizon:
            return False
        self._horizon = max(reached, min(hi, lo + HORIZON))
        return True

    def read(self, items: Sequence[Item], lo: int, reached: int, turn: int) -> None:
        """A chunk of backlog arrived: all there is of rows `lo` to `reached`. What is missing there is lost."""
        for item in items:
            if not self.wants(item.stream):
                self.owed.remove(item.row)
        found = {item.row for item in items}
        missing = [row for a, b, _ in self.owed.spans for row in range(max(a, lo), min(b, reached) + 1)]
        missing = [row for row in missing if row not in found]
        for row in missing:
            self.owed.remove(row)
        missing = [row for row in missing if not self._queue.is_thinned(row)]  # else it was told and counted
        self.dropped["backfill"] += len(missing)
        if missing:
            text = f"{len(missing)} batches of the backlog of uplink {self.name} are not in the store any more"
            self._queue.tell("gap", text, uplink=self.name, count=len(missing), reason="damaged")
        if turn != self._turn:
            return
        self._cursor = reached + 1
        for item in items:
            if item.row in self.owed and (True, item.row) not in self._flying:
                tried = self.owed.is_tried(item.row)
                self._chunk.append(structs.replace(item, resent=True) if tried else item)

    def forget(self, rows: Container[int]) -> None:
        """These rows left the store, and that was told: what was read ahead of them does not go."""
        self._chunk = deque(item for item in self._chunk if item.row not in rows)

    def owe(self, rows: Iterable[int]) -> None:
        """Owe these rows of the store once more; they may have been sent."""
        for row in rows:
            if row not in self.owed and (True, row) not in self._flying and all(row != live for live, _ in self.live):
                self.owed.add(row, row, True)
                self._cursor = min(self._cursor, row)
        self._wake()

    def reading_ended(self) -> None:
        self._reading = None
        self._wake()

    def waiting(self) -> dict[Lane, int]:
        """How many items of each lane are owed, handed out or not."""
        live = sum(telemetry and row not in self.owed for telemetry, row in self._flying) + len(self.live)
        return {**self._queue.owing(self.name), "telemetry": live, "backfill": len(self.owed)}

    def oldest_live(self) -> float | None:
        """Monotonic s of the oldest telemetry that waits in memory."""
        waiting = self.in_memory()
        return min((float(item.body.mono[0]) for item in waiting), default=None)  # type: ignore[union-attr]

    def drop_live(self, rows: Container[int]) -> list[int]:
        """Batches were dropped from memory. Which of them were still to be sent."""
        gone = [row for row, _ in self.live if row in rows]
        self.live = [pair for pair in self.live if pair[0] not in rows]
        heapq.heapify(self.live)
        return sorted(gone)

    def forget_backlog(self) -> int:
        """The history is gone. How many batches of it were owed."""
        n = len(self.owed)
        self.owed, self._cursor, self._horizon = Owed(), 0, 0
        self._chunk.clear()
        self._turn += 1
        return n

    def in_memory(self) -> list[Item]:
        """Telemetry that is still to be delivered and need not be read."""
        flying = [item for (telemetry, row), item in self._flying.items() if telemetry and row not in self.owed]
        return [item for _, item in self.live] + flying

    def _hand_out(self, item: Item) -> Item:
        item = self._queue.mend(item)
        self._flying[_key(item)] = item
        return item

    def _try_deferred(self) -> None:
        """Deferred alarms that are due, and those that a cap dropped, wait with the others again."""
        if not self._deferred:
            return
        now = self._queue.clock.now().mono
        for at, key in list(self._deferred.items()):
            suspect = self._suspects[key]
            if not self.owes(suspect.item):
                continue  # it went, and what waited behind it with it
            if suspect.due is not None and suspect.due <= now:
                self._free(at)

    def _free(self, at: Point) -> None:
        del self._deferred[at]
        for item in self._parked.pull(at):
            self._urgent.put(item, self._queue.entries)

    def _clear(self, item: Item, delivered: bool = True) -> None:
        """It is no suspect any more."""
        suspect = self._suspects.pop(_key(item), None)
        if suspect is None or is_bulk(item):
            return
        if self._deferred.get(point(item)) == _key(item):
            self._free(point(item))
        if delivered and suspect.breaks >= BREAKS:
            self._tell("deferred-delivered", f"{_name(item)} went through at last: uplink {self.name}", item)

    def _tell(self, kind: str, text: str, item: Item) -> None:
        self._queue.tell(kind, text, uplink=self.name, stream=item.stream, boot=item.boot, seq=item.seq)


def _key(item: Item) -> tuple[bool, int]:
    return is_bulk(item), item.row


def _name(item: Item) -> str:
    return f"{item.stream} {item.boot}/{item.seq}"
