"""The only queue: what was judged and read goes to the disk and to the uplinks at once, and stays until
every platform has it.

    put_alarms, put_event --> lanes in memory --> uplinks             alarms.db holds the same rows; a row is
                          \\-> alarms.db, one transaction at once      deleted when committed and acknowledged
                              (what ends or changes an alarm waits for it, a raise does not)
    put_frame --> batches --> live lane in memory --> uplinks
                          \\-> history.db, one transaction a second --> backlog, read back in chunks

What makes it exact after SIGKILL: telemetry becomes backlog only once it is committed, and a row is
handed out unmarked only if the last commit did not say that its sending may have begun. So nothing is
missing between what was sent live and what is on the disk, and whatever comes twice comes marked.

The event loop never touches SQLite: `agent/store.py` does, in its own threads. A fault of the disk costs
durability, not delivery: alarms go on from memory, the store is tried again every `retry` seconds.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Container, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct, structs

from .clock import kernel
from .core.alarm import LEVELS, STATE_NAMES, Alarm, Point, State
from .core.errors import StoreFault
from .core.frame import Frame, Instant
from .core.ports import LANES, Batch, Clock, Event, Item, Lane, Latest, Uplink
from .eras import Eras, mended
from .feed import Feed, rank
from .gather import Gather
from .hand import Hand
from .room import Room
from .rows import Owed, Span
from .store import (
    Alarms,
    AlarmsFound,
    AlarmWork,
    Busy,
    Committed,
    Corrupt,
    Full,
    Gone,
    History,
    HistoryFound,
    Kept,
    Lost,
    Standing,
)

T = TypeVar("T")

Told = Callable[[Event], None]


class Store(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how much is kept."""

    path: str = "/var/lib/vedette"  # directory of the state
    alarms_mb: Annotated[float, Meta(ge=0.25)] = 20  # MB; also caps alarms and events at 512 per MB
    history_mb: Annotated[float, Meta(ge=0.25)] = 512  # MB; a day of 1000 channels a second needs about 350
    journal_mb: Annotated[float, Meta(ge=1)] = 64  # MB of the journal; about 150,000 decisions
    journal_key: str = ""  # PEM of the Ed25519 key that signs it; empty: gateway.key beside it, made at the first start
    batch: Annotated[float, Meta(gt=0)] = 1.0  # s that telemetry of one source is gathered, at most
    heartbeat: Annotated[float, Meta(gt=0)] = 60.0  # s after which an unmoved source is reported all the same
    ballast_mb: Annotated[float, Meta(ge=0)] = 6  # MB given up when the disk is full; above WAL limit + 1 (1.4.5)
    retry: Annotated[float, Meta(gt=0)] = 5.0  # s between attempts on a disk in trouble; twice in the 10 of T3 and T4

    @property
    def key_file(self) -> Path:
        """Where the key of this gateway is."""
        return Path(self.journal_key) if self.journal_key else Path(self.path) / "gateway.key"


ROWS_PER_MB = 512  # an alarm is below 1 kB; the rest is room for SQLite
OPEN_PER_MB = 256  # open alarms that are remembered on the disk
CALM = 0.9  # of the places for open alarms: below, all is well again
ASIDES = 1000  # refused alarms that wait to be set aside, newest; as many as the file keeps
UNKNOWN = 1 << 52  # rows are numbered from here while the file's own rows are not known
MEMORY_CELLS = 2_000_000  # values kept in memory (18 MB) while the disk does not take them; then the oldest go
BATCH_CELLS = 128  # what a batch costs besides its values: five arrays and four objects are about 1.2 kB
SPARED = 0.9  # of `MEMORY_CELLS` stay when it is exceeded: in one bite, for it costs a look at all; project
URGENT = (LEVELS.index("red"), LEVELS.index("orange"))
WORSE = ("raised", "level-up")  # what a person must hear at once, disk or no disk
PATIENCE = 2.0  # s after which a commit counts as slow and nobody waits for it any longer
PAUSE = 10  # batches' time between two events of one gap that grows
CHUNK = 512 * 1024  # bytes of packed backlog read at once
ASKED = 1000  # batches that a platform gets again for one question; project
MISSING = 100  # stretches that it is told not to get; project
CLOSING = 2.0  # s that each file may take to close


class Entry:
    """One alarm or event that is not yet delivered everywhere."""

    __slots__ = ("body", "item", "owed", "saved")

    def __init__(self, item: Item, body: bytes, owed: dict[str, int], saved: bool) -> None:
        self.item, self.body, self.saved = item, body, saved
        self.owed = owed  # uplink -> its number there: an uplink that is not told everything counts what it is told

    def kept(self) -> Kept:
        item = self.item
        return Kept(item.row, item.lane, item.boot, item.seq, owed_text(self.owed, item.seq), self.body)

    def for_(self, uplink: str) -> Item:
        """The item as that uplink counts it."""
        seq = self.owed[uplink]
        return self.item if seq == self.item.seq else structs.replace(self.item, seq=seq)


def owed_text(owed: Mapping[str, int], seq: int) -> str:
    """Who owes it, for the disk; with its number where that is not `seq`.

    >>> owed_text({"b": 7, "a": 3}, 7)
    'a\\t3\\nb'
    """
    return "\n".join(name if number == seq else f"{name}\t{number}" for name, number in sorted(owed.items()))


def owed_by(text: str, seq: int) -> dict[str, int]:
    """
    >>> owed_by("a\\t3\\nb", 7)
    {'a': 3, 'b': 7}
    """
    found: dict[str, int] = {}
    for line in text.split("\n"):
        name, tab, number = line.rpartition("\t")
        if tab and number.isdigit():
            found[name] = int(number)
        else:
            found[line] = seq
    return found


class Gap(NamedTuple):
    """A stretch of one stream that nobody will get."""

    uplink: str
    boot: str
    stream: str
    reason: str


class Outbox:
    """The queue of one site. Made by `open`; everything but `open` and `close` returns at once."""

    def __init__(
        self,
        settings: Store,
        uplinks: Iterable[str],
        clock: Clock,
        told: Told | None,
        choices: Mapping[str, Uplink],
    ) -> None:
        self.settings = settings
        self._choices = dict(choices)
        self._shown: dict[str, set[str]] = {name: set() for name in choices}  # ids of open alarms that it was told of
        self.clock = clock
        self.boot = ""
        self.eras = Eras()
        self.entries: dict[int, Entry] = {}  # alarms and events by row
        self.feeds = {name: Feed(name, self, choices.get(name)) for name in uplinks}
        self.bad_rows = 0  # rows that failed their checksum since boot
        self.trouble: dict[str, str] = {}  # file -> what is wrong with it now
        self.failures = 0  # writes that the disk did not take, since the start
        self._took: dict[str, float] = {}  # file -> s of its slowest commit since somebody asked
        self._committing: dict[str, float] = {}  # file -> monotonic s at which the commit under way began
        self._slow: set[str] = set()  # files whose last commit took longer than `PATIENCE`
        self._told: Callable[[Event], object] = told or self.put_event
        self._early: list[Event] | None = []  # told before `open` returned
        self._unread = {"alarms", "history"}  # files that could not be opened yet
        home = Path(settings.path)
        self._alarms = Alarms(home / "alarms.db", int(settings.alarms_mb * 2**20))
        self._history = History(home / "history.db", int(settings.history_mb * 2**20), int(settings.ballast_mb * 2**20))
        self._hands = {"alarms": Hand("alarms"), "history": Hand("history")}
        self._cap = int(settings.alarms_mb * ROWS_PER_MB)
        self._ranks: dict[int, dict[int, Entry]] = {}  # the same entries by importance, 0 is red
        self._row = 1  # next in alarms.db
        self._batch_row = 1  # next in history.db
        self._committed = 0  # last row of history.db that is on the disk
        self._thinned = 0  # of those before this one some were let go, for want of room
        self._seq: dict[str, int] = {}
        self._fresh: dict[int, Entry] = {}  # not on the disk
        self._held: dict[int, Entry] = {}  # of these, what no uplink may see before it is on the disk
        self._changed: dict[int, Entry] = {}  # on the disk with an `owed` that is out of date
        self._held_points: Counter[Point | None] = Counter()
        self._open: dict[Point, Standing] = {}  # alarms that are not normal
        self._room = Room(int(settings.alarms_mb * OPEN_PER_MB))  # which of them the disk remembers
        self._moved: set[Point] = set()  # whose row in the table `open` is out of date
        self._deletes: set[int] = set()
        self._sweep = False  # too many to name: every row that is not in memory is to be deleted
        self._asides: dict[int, str] = {}
        self._stored: asyncio.Future[bool] | None = None  # of what the next commit takes
        self._hanging: set[str] = set()  # files whose commit runs longer than `PATIENCE`
        self._unnoted = {"alarms", "history"}  # files that do not know of this start
        self._count = 0  # of starts
        self._later: asyncio.TimerHandle | None = None
        self._gathers: dict[str, Gather] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}  # by source: when its batch is due
        self._pending: list[Item] = []  # batches not yet on the disk
        self._cells = 0  # values in them
        self._states: dict[str, bytes] = {}  # what the disk says that each uplink owes
        self._gaps: dict[Gap, tuple[int, int, int]] = {}  # first seq, last seq, count
        self._gaps_due = 0.0  # when they are told, not before; s of the loop
        self._untold: list[Lost] = []  # what makes them up, for a start after a kill
        self._told_gaps: list[Lost] = []  # the same of gaps that were told: their events may not be on the disk yet
        self._writing = False  # a commit of alarms is under way
        self._alarm_news, self._history_news, self._closing = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._begun: dict[int, tuple[str, Instant]] = {}  # row of the oldest backlog of some uplink -> its begin
        self._opened = clock.now().mono
        self._lock = asyncio.Lock()  # one user of history.db at a time, with its bookkeeping
        self._tasks: list[asyncio.Task[None]] = []

    # -- opening and closing ----------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        settings: Store,
        uplinks: Iterable[str],
        clock: Clock,
        told: Told | None = None,
        choices: Mapping[str, Uplink] | None = None,
    ) -> Outbox:
        """The queue as it was left. Rows owed to uplinks that are no longer named are let go.

        `choices` has the uplinks, by name, that are not told everything.

        `told` hears what happens to the store (`store-corrupt`, `store-full`, `store-down`, `store-slow`,
        `store-recovered`, `gap`, `set-aside`), never before `open` has returned; it should `put_event`
        what it hears, which is also the default. Raises `StoreFault` when another process has the files;
        any other fault of the disk is told, and the queue works from memory.
        """
        outbox = cls(settings, uplinks, clock, told, choices or {})
        await outbox._load()
        outbox._tasks = [
            asyncio.create_task(outbox._keep_alarms(), name="outbox alarms"),
            asyncio.create_task(outbox._keep_history(), name="outbox history"),
            *outbox._tasks,
        ]
        early, outbox._early = outbox._early or [], None
        for event in early:
            asyncio.get_running_loop().call_soon(outbox._told, event)
        return outbox

    async def _load(self) -> None:
        alarms, history = await asyncio.gather(
            self._hands["alarms"].do(self._alarms.load),
            self._hands["history"].do(self._history.load, list(self.feeds)),
            return_exceptions=True,
        )
        count = 0
        unknown = UNKNOWN + (secrets.randbits(20) << 32)  # two such starts in a row must not write one row twice
        if isinstance(alarms, BaseException):
            self._cannot_open("alarms", alarms)
            self._row = unknown
        else:
            count, self._row = alarms.boots, alarms.last + 1
            self._read_alarms(alarms)
        if isinstance(history, BaseException):
            self._cannot_open("history", history)
            self._batch_row = unknown
        else:
            count, self._batch_row = max(count, history.boots), history.last + 1
            self._read_history(history)
        count = count + (len(self._unread) < len(self._hands))  # nothing is known of it where no file can be read
        # Rows are numbered from the boot's own thousand millions: unique although old ones were deleted.
        self._row = max(self._row, count << 32)
        self._batch_row = max(self._batch_row, count << 32)
        self.boot = f"{count:06d}-{secrets.token_hex(2)}"
        self._count = count
        self.eras.begin(count, kernel())
        for file in self._hands:
            try:
                await self._note_start(file)
            except StoreFault as error:
                self._troubled(file, error)
        self._alarm_news.set()
        self._history_news.set()

    async def _note_start(self, file: str) -> None:
        """Have the file know of this start and of the clock. Raises `StoreFault`; then the next commit tries again."""
        if file not in self._unnoted or file in self._unread:
            return
        self._unnoted.discard(file)
        try:
            if file == "alarms":
                await self._hands[file].do(self._alarms.booted, self._count, self.eras.known)
            else:
                await self._hands[file].do(self._history.booted, self._count)
        except StoreFault:
            self._unnoted.add(file)
            raise

    def _read_alarms(self, found: AlarmsFound) -> None:
        """Take over what `alarms.db` held. All of it may have been sent before."""
        self._unread.discard("alarms")
        self.eras.recall(found.eras)
        for standing in found.open:
            point = (standing.alarm.rule, standing.alarm.channel)
            if point in self._moved:  # read late: what came since is news
                continue
            self._open[point] = standing
            for name, choice in self._choices.items():
                if choice.wants_point(point, standing.alarm.level):
                    self._shown[name].add(standing.alarm.id)
            moved = self._room.put(point, LEVELS.index(standing.alarm.level))
            self._moved |= moved - {point} if point in self._room else moved
        self._crowded()
        if found.damage is not None:
            self._moved |= set(self._open)
        if found.damage is not None:
            self._corrupt("alarms", found.damage, f"{len(found.rows)} alarms and events saved from it")
        elif found.bad:
            self._bad_rows("alarms", found.bad)
        for kept, body in found.rows:
            lane: Lane = "alarm" if kept.lane == "alarm" else "event"
            item = Item(lane, kept.row, kept.boot, lane, kept.seq, body, resent=True)
            owed = {name: seq for name, seq in owed_by(kept.owed, kept.seq).items() if name in self.feeds}
            if owed:
                self._enter(Entry(item, kept.body, owed, saved=found.damage is None))
            else:
                self._deletes.add(kept.row)

    def _read_history(self, found: HistoryFound) -> None:
        """Take over what `history.db` held."""
        self._unread.discard("history")
        self._committed, self._thinned = found.last, found.thinned
        for name, spans in found.owed.items():
            for lo, hi, tried in spans:
                self.feeds[name].owed.add(lo, hi, tried)
        for lost in found.lost:
            if lost.uplink in self.feeds and self.feeds[lost.uplink].wants(lost.stream):
                self._untold.append(lost)
                self._gap(lost.uplink, lost.boot, lost.stream, lost.first, lost.reason, lost.last, lost.n)
        if found.damage is not None:
            self._history_corrupt(found.damage, {})

    def _cannot_open(self, file: str, error: BaseException) -> None:
        if not isinstance(error, StoreFault) or isinstance(error, Busy):
            raise error
        self._troubled(file, error)

    async def serve(self) -> None:
        """Ends only when one of the store's own tasks has ended: with its error, which is a mistake of ours."""
        ended, _ = await asyncio.wait(self._tasks[:2], return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()

    def _beside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Have it done beside everything else, and forget it then."""

        def forget(done: asyncio.Task[None]) -> None:
            if not done.cancelled() and done.exception() is None:
                self._tasks.remove(done)

        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(forget)

    async def close(self) -> None:
        """Flush what was gathered, write what is owed, let the files go. Bounded by `CLOSING` per file."""
        for source in list(self._gathers):
            self._flush(source)
        self._closing.set()
        self._alarm_news.set()
        self._history_news.set()
        _, late = await asyncio.wait(self._tasks, timeout=2 * CLOSING)
        for task in late:
            task.cancel()
        for name, hand in self._hands.items():
            closed = hand.do(self._alarms.close if name == "alarms" else self._history.close)
            await asyncio.wait([closed], timeout=CLOSING)
            hand.end()

    # -- alarms and events ------------------------------------------------------------------------------

    def put_alarms(self, alarms: Iterable[Alarm]) -> asyncio.Future[bool]:
        """Alarm edges and which alarms are open after them, in one transaction; the uplinks have them at once.

        The future says whether they are on the disk: False means that the disk is slow or in trouble,
        and they are kept in memory and tried again. It need not be awaited. It is one for all that goes into one
        commit, so that a disk that hangs gathers none: who may be cancelled shields it.
        """
        for alarm in self._as_they_go(alarms):
            if not alarm.drill:  # it ends nothing that stands at its point
                self._stand(alarm)
            self._new("alarm", alarm)
        self._crowded()
        return self._promise()

    def _as_they_go(self, alarms: Iterable[Alarm]) -> list[Alarm]:
        """The edges of one moment in the order in which the uplinks have them: what does not wait for the disk, by
        importance, then the rest. Numbered like that, a kill before they are on the disk leaves no hole below what a
        platform was told. Those of one point keep their order."""
        at_once: list[Alarm] = []
        rest: list[Alarm] = []
        worst: dict[Point, int] = {}
        late = set(self._held_points)
        for alarm in alarms:
            if self._must_wait(alarm, late):
                late.add(alarm.point)
                rest.append(alarm)
            else:
                at_once.append(alarm)
                level = LEVELS.index(alarm.level)
                worst[alarm.point] = min(worst.get(alarm.point, level), level)
        return sorted(at_once, key=lambda alarm: worst[alarm.point]) + rest

    def put_event(self, event: Event) -> asyncio.Future[bool]:
        """One event, for every platform. The future as in `put_alarms`."""
        self._new("event", event)
        return self._promise()

    def recall(self) -> tuple[Alarm, ...]:
        """The latest edge of every alarm that is not normal, oldest alarm first: what the core starts from.

        Where the file could be read only after `open`, `recalled-late` is told: then there are more.
        """
        return tuple(standing.alarm for standing in sorted(self._open.values(), key=lambda s: s.n))

    def _stand(self, alarm: Alarm) -> None:
        point = (alarm.rule, alarm.channel)
        last = self._open.pop(point, None)
        if alarm.state != STATE_NAMES[State.NORMAL]:
            known = last is not None and last.alarm.id == alarm.id
            self._open[point] = Standing(last.n if last and known else self._row, alarm)
            self._moved |= self._room.put(point, LEVELS.index(alarm.level))
        else:
            self._moved |= self._room.remove(point)

    def _crowded(self) -> None:
        """Say once that more alarms are open than the disk remembers: a restart would have to find the others anew."""
        if self._room.outside and "open alarms" not in self.trouble:
            text = f"store alarms: more than {self._room.cap} are open; the least important are kept in memory only"
            self._troubled("open alarms", Full(f"{text}; give alarms_mb more"))
        elif not self._room.outside and len(self._room) <= CALM * self._room.cap:
            self._recovered("open alarms")

    def _promise(self) -> asyncio.Future[bool]:
        if self._stored is None or self._stored.done():
            self._stored = asyncio.get_running_loop().create_future()
            if "alarms" in self._hanging:
                self._stored.set_result(False)
        self._alarm_news.set()
        return self._stored

    def _new(self, lane: Lane, body: Alarm | Event) -> None:
        text = msgspec.json.encode(body, enc_hook=str)
        item = Item(lane, self._row, self.boot, lane, self._next(lane), body)
        self._row += 1
        owed = {name: item.seq for name in self.feeds if name not in self._choices}
        for name, choice in self._choices.items():
            if self._is_told(name, choice, body):
                owed[name] = self._next(f"{lane}\n{name}")
        if owed or not self.feeds:
            self._enter(Entry(item, text, owed, saved=False))

    def _is_told(self, name: str, choice: Uplink, body: Alarm | Event) -> bool:
        """Whether an uplink that is not told everything is told of this.

        Who was told of an alarm is told how it goes on, whatever its level is by then: else it would stand there for
        ever.
        """
        if isinstance(body, Event):
            return choice.wants_lane("event")
        shown = self._shown[name]
        levels = [body.level] if body.before is None else [body.level, body.before]
        told = body.id in shown or any(choice.wants_point(body.point, level) for level in levels)
        if body.drill or body.state == STATE_NAMES[State.NORMAL]:
            shown.discard(body.id)
        elif told:
            shown.add(body.id)
        return told

    def _enter(self, entry: Entry) -> None:
        item = entry.item
        self.entries[item.row] = entry
        self._ranks.setdefault(rank(item), {})[item.row] = entry
        if not entry.saved:
            self._fresh[item.row] = entry
        if not entry.saved and self._must_wait(item.body, self._held_points):
            self._held[item.row] = entry
            self._held_points[entry.item.point] += 1
        else:
            self._hand_over([entry])
        while len(self.entries) > self._cap:
            self._drop("cap")

    def _must_wait(self, body: Alarm | Event | Batch, late: Container[Point | None]) -> bool:
        """Whether the platforms may hear of it only after the disk; `late`: points of which something does.

        A raise never waits, nor a colour that gets worse. But a platform that saw an alarm end, while a crash kept the
        end from the disk, would believe a hazard gone that the next start still knows. What follows on the same point
        keeps its order.
        """
        if not isinstance(body, Alarm) or "alarms" in self.trouble or "alarms" in self._slow:
            return False
        return body.event not in WORSE or body.point in late

    def _hand_over(self, entries: Iterable[Entry]) -> None:
        """Let the uplinks have them."""
        for entry in entries:
            self._release(entry)
            for name in entry.owed:
                self.feeds[name].put(entry.for_(name))

    def _release(self, entry: Entry) -> None:
        if self._held.pop(entry.item.row, None) is not None:
            self._held_points[entry.item.point] -= 1
            if not self._held_points[entry.item.point]:
                del self._held_points[entry.item.point]

    def _drop(self, reason: str) -> None:
        """Let the oldest of the least important go, undelivered: an event, else an alarm of the lowest level."""
        entry = next(iter(self._ranks[max(self._ranks)].values()))
        for name in entry.owed:
            self._gap(name, entry.item.boot, entry.item.stream, entry.owed[name], reason)
        self._remove(entry)

    def _remove(self, entry: Entry) -> None:
        row = entry.item.row
        del self.entries[row]
        self._fresh.pop(row, None)
        self._release(entry)
        self._changed.pop(row, None)
        importance = rank(entry.item)
        del self._ranks[importance][row]
        if not self._ranks[importance]:
            del self._ranks[importance]
        self._delete([row])
        self._soon()

    def _delete(self, rows: Iterable[int]) -> None:
        """Rows that the disk may have and nobody needs. Beyond a few it is told what to keep instead."""
        self._deletes.update(rows)
        if len(self._deletes) > self._cap:
            self._sweep = True
        if self._sweep:
            self._deletes.clear()

    def delivered(self, row: int, uplink: str) -> None:
        """The platform of `uplink` has alarm or event `row`."""
        entry = self.entries.get(row)
        if entry is None:
            return
        entry.owed.pop(uplink, None)
        if entry.owed:
            self._changed[row] = entry
            self._soon()
        elif entry.saved or "alarms" in self.trouble:  # a disk in trouble need not hear of it any more
            self._remove(entry)

    def set_aside(self, row: int, why: str) -> None:
        """Alarm or event `row` is refused for good: it stays on the disk for somebody to look at."""
        entry = self.entries.get(row)
        if entry is not None and len(entry.owed) == 1:
            self._asides[row] = why
            if len(self._asides) > ASIDES:
                del self._asides[next(iter(self._asides))]

    def _soon(self) -> None:
        """Deletions are not urgent: they wait for company, to spare the card."""
        if self._closing.is_set():
            self._alarm_news.set()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(1.0, self._alarm_news.set)

    async def _keep_alarms(self) -> None:
        """Write alarms and events: everything new in one transaction, as soon as the last one ended."""
        retry = 0.0
        loop = asyncio.get_running_loop()
        while not self._closing.is_set() or self._alarm_news.is_set():
            await self._alarm_news.wait()
            self._alarm_news.clear()
            if self._later is not None:
                self._later.cancel()
                self._later = None
            waiting, self._stored = self._stored, None
            if self.trouble.get("alarms") and loop.time() < retry and not self._closing.is_set():
                _answer(waiting, False)
                continue
            if "alarms" in self._unread:
                await self._read_late("alarms")
            work, written = self._alarm_work()
            if any(work) or {"alarms"} & (self._unread | self._unnoted):
                try:
                    if "alarms" in self._unread:  # what it holds must not be mixed with what would be written now
                        raise StoreFault("store alarms: cannot be opened")
                    await self._patiently("alarms", self._commit_alarms(work), waiting)
                except StoreFault as error:
                    self._not_written(work, written, error)
                    self._hand_over(list(self._held.values()))  # delivery goes on from memory
                    _answer(waiting, False)
                    if isinstance(error, Corrupt):
                        self._alarm_news.set()  # a new file is ready: everything is written again at once
                    else:
                        retry = loop.time() + self.settings.retry
                        loop.call_later(self.settings.retry, self._alarm_news.set)
                    continue
                self._recovered("alarms")
                self._hand_over([entry for entry in written if entry.item.row in self._held])
                for entry in written:
                    entry.saved = True
                    if not entry.owed and entry.item.row in self.entries:
                        self._remove(entry)
            _answer(waiting, True)

    async def _commit_alarms(self, work: AlarmWork) -> None:
        self._writing = True
        try:
            await self._note_start("alarms")
            await self._hands["alarms"].do(self._alarms.commit, work)
        finally:
            self._writing = False

    def _alarm_work(self) -> tuple[AlarmWork, list[Entry]]:
        fresh, self._fresh = list(self._fresh.values()), {}
        changed, self._changed = self._changed, {}
        deletes, self._deletes = self._deletes, set()
        only, self._sweep = sorted(self.entries) if self._sweep else None, False
        asides, self._asides = self._asides, {}
        moved, self._moved = self._moved, set()
        stand = [self._open[point] for point in moved if point in self._room]
        fall = [point for point in moved if point not in self._room]
        put = [entry.kept() for entry in fresh]
        owe = [(row, entry.kept().owed) for row, entry in changed.items() if entry.saved]
        return AlarmWork(put, owe, sorted(deletes), sorted(asides.items()), stand, fall, only), fresh

    def _not_written(self, work: AlarmWork, written: Sequence[Entry], error: StoreFault) -> None:
        """Take the work back, to be tried again."""
        self._moved.update((alarm.rule, alarm.channel) for _, alarm in work.stand)
        self._moved.update(work.fall)
        self._fresh = {entry.item.row: entry for entry in written if entry.item.row in self.entries} | self._fresh
        if isinstance(error, Corrupt):  # everything that the old file held is in memory
            self._moved = set(self._open)
            for entry in self.entries.values():
                entry.saved = False
            self._fresh = dict(self.entries)
            self._corrupt("alarms", error, f"{len(self.entries)} undelivered alarms and events are written again")
            return
        self._sweep |= work.only is not None
        self._delete(work.delete)
        self._asides.update(work.aside)
        self._changed = {row: self.entries[row] for row, _ in work.owe if row in self.entries} | self._changed
        self._troubled("alarms", error)
        for entry in written:
            if not entry.owed and entry.item.row in self.entries:
                self._remove(entry)  # delivered meanwhile

    async def _read_late(self, file: str) -> None:
        """A file that could not be opened at the start: take over what it holds, if it can be opened now."""
        try:
            if file == "alarms":
                self._read_alarms(found := await self._hands["alarms"].do(self._alarms.load))
                self._count = max(self._count, found.boots + 1)
                if found.open:
                    text = f"{len(found.open)} open alarms of an earlier start were read only now"
                    self.tell("recalled-late", text, alarms=len(found.open))
            else:
                self._read_history(late := await self._hands["history"].do(self._history.load, list(self.feeds)))
                self._count = max(self._count, late.boots + 1)
        except StoreFault:
            pass  # told already; the commit that follows fails and is tried again

    # -- telemetry --------------------------------------------------------------------------------------

    def put_frame(self, frame: Frame) -> None:
        """One poll. Skipped where nothing moved out of its dead band, unless the heartbeat is due."""
        source = frame.source
        gather = self._gathers.get(source)
        if gather is None or gather.layout is not frame.layout:
            if gather is not None:
                self._flush(source)
            gather = Gather(source, frame.layout, self.settings.batch, self.settings.heartbeat)
            self._gathers[source] = gather
        wait = gather.add(frame)
        if wait == 0.0:
            self._flush(source)
        elif wait is not None:
            self._timers[source] = asyncio.get_running_loop().call_later(wait, self._flush, source)

    def _flush(self, source: str) -> None:
        """The rows gathered become one batch: live for the uplinks, pending for the disk."""
        if (timer := self._timers.pop(source, None)) is not None:
            timer.cancel()
        batch = self._gathers[source].flush()
        if batch is None:
            return
        stream = f"telemetry/{source}"
        item = Item("telemetry", self._batch_row, self.boot, stream, self._next(stream), batch)
        self._batch_row += 1
        self._pending.append(item)
        self._cells += batch.value.size + BATCH_CELLS
        for feed in self.feeds.values():
            feed.put(item)
        if self._cells > MEMORY_CELLS:  # a commit that hangs raises nothing
            self._cap_memory()
        self._history_news.set()

    def is_thinned(self, row: int) -> bool:
        """Whether a row of telemetry may have been let go for want of room; that was told then."""
        return row < self._thinned

    def ask(self, feed: Feed, boot: str, stream: str, first: int, last: int) -> None:
        """The platform of `feed` wants numbers `first` to `last` of a stream once more; what comes of it is told.

        What is owed is on its way. Telemetry that the store still has is owed again, and goes as backlog.
        """
        self._beside(self._again(feed, boot, stream, first, last), "outbox range")

    async def _again(self, feed: Feed, boot: str, stream: str, first: int, last: int) -> None:
        end = min(last, first + ASKED - 1)
        found: set[int] = set()
        reason = "delivered before, and not kept any longer"
        if stream in ("alarm", "event"):
            owing = [entry for entry in self.entries.values() if feed.name in entry.owed]
            mine = [e.owed[feed.name] for e in owing if (e.item.boot, e.item.stream) == (boot, stream)]
            found = {seq for seq in mine if first <= seq <= end}
            if boot != self.boot:  # a number is given at once; a kill within the commit may leave it unused
                reason += ", or lost with the power before the disk had it"
        else:
            reason = "not kept any longer"
            try:
                async with self._lock:
                    source = stream.partition("/")[2]
                    rows = await self._hands["history"].do(self._history.find, boot, source, first, end)
                    found = {seq for _, seq in rows} if feed.wants(stream) else set()
                    feed.owe([row for row, seq in rows if seq in found])
            except StoreFault as error:
                self._history_failed(error)
                reason = "the store cannot be read now"
            found |= {item.seq for item in feed.in_memory() if (item.boot, item.stream) == (boot, stream)}
            if not feed.wants(stream):
                reason = "the uplink is not told this stream"
        given = self._seq.get(stream if feed.name not in self._choices else f"{stream}\n{feed.name}", 0)
        missing = []
        for lo, hi in runs(seq for seq in range(first, end + 1) if seq not in found):
            late = boot == self.boot and lo > given and stream in ("alarm", "event")
            missing.append([lo, hi, "not given yet" if late else reason])
        if end < last:
            missing.append([end + 1, last, f"more than {ASKED} at once"])
        self._history_news.set()
        text = f"{stream} {boot}/{first} to {last}: uplink {feed.name} asked for it again; {len(found)} come"
        facts = {"stream": stream, "boot": boot, "from": first, "to": last, "again": len(found)}
        text += "".join(f"; {lo} to {hi} cannot: {why}" for lo, hi, why in missing[:3])
        self.tell("range", text, uplink=feed.name, missing=missing[:MISSING], **facts)

    def latest(self) -> dict[str, Latest]:
        """Where each source stands now."""
        return {source: gather.latest for source, gather in self._gathers.items() if gather.latest is not None}

    def hurry(self) -> None:
        """What each source says next is told whole and at once, whether or not it moved."""
        for gather in self._gathers.values():
            gather.hurry()

    def changed(self) -> None:
        """What some uplink owes has changed; it is written with the next batch of batches."""
        self._history_news.set()

    async def _keep_history(self) -> None:
        """Write telemetry and what is owed of it: one transaction per `batch` seconds."""
        loop = asyncio.get_running_loop()
        due = 0.0
        while not self._closing.is_set():
            await self._history_news.wait()
            await self._sleep(due - loop.time())
            self._history_news.clear()
            due = loop.time() + self.settings.batch
            for source in list(self._gathers):
                self._flush(source)  # what was read until now goes along: a power cut costs one batch, not two
            async with self._lock:
                if not await self._commit_history():
                    due = loop.time() + self.settings.retry
            self._tell_gaps()
        async with self._lock:
            await self._commit_history()

    async def _commit_history(self) -> bool:
        """One transaction. False where the disk is in trouble; then everything stays in memory."""
        if "history" in self._unread:
            await self._read_late("history")
        items, self._pending, self._cells = self._pending, [], 0
        for item in items:
            if item.historical:  # salvaged
                for feed in self.feeds.values():
                    feed.owed.add(item.row, item.row, True)
        states = {name: feed.settle(self._committed) for name, feed in self.feeds.items()}
        news = {name: state for name, state in states.items() if state != self._states.get(name)}
        told = bool(self._told_gaps) and not (self._fresh or self._writing or "alarms" in self.trouble)
        if told:
            self._told_gaps = []
        if not items and not news and not told:
            return True
        owed_from = min((feed.owed.spans[0][0] for feed in self.feeds.values() if feed.owed.spans), default=2**62)
        try:
            if "history" in self._unread:
                raise StoreFault("store history: cannot be opened")
            result = await self._patiently("history", self._write_history(items, news, owed_from), None)
        except StoreFault as error:
            self._pending = items + self._pending
            for feed in self.feeds.values():
                feed.settled(items)
            self._history_failed(error)
            self._cap_memory()
            self._history_news.set()
            return isinstance(error, Corrupt)
        self._states.update(news)
        self._committed = max([self._committed, *(item.row for item in items)])
        for feed in self.feeds.values():
            feed.settled()
        self._after_commit(result)
        return True

    async def _write_history(self, items: Sequence[Item], news: dict[str, bytes], owed_from: int) -> Committed:
        await self._note_start("history")
        untold = [*self._told_gaps, *self._untold]
        return await self._hands["history"].do(self._history.commit, items, news, owed_from, untold)

    def _after_commit(self, result: Committed) -> None:
        self._thinned = max(self._thinned, result.thinned)
        self._evicted(result.evicted, result.lost, result.dropped)
        if result.full:
            self._troubled("history", Full("store history: the disk is full; the oldest telemetry makes room"))
        else:
            self._recovered("history")

    def _evicted(self, gone: Sequence[Gone], lost: Sequence[Lost], dropped: int) -> None:
        """Rows left the store, all of them up to `dropped`; whoever owed them never delivers them.

        What was thinned out stays owed by name, so that the spans stay few, and is passed over when it is read.
        """
        for row, boot, stream, seq, reason in gone:
            for name, feed in self.feeds.items():
                if row in feed.owed and not feed.is_flying(row) and feed.wants(stream):
                    self._gap(name, boot, stream, seq, reason)
        for feed in self.feeds.values():
            feed.owed.cut(0, dropped)
            feed.forget({one.row for one in gone})
        self._untold = _joined([*self._untold, *lost])

    def _history_failed(self, error: StoreFault) -> None:
        if not isinstance(error, Corrupt):
            self._troubled("history", error)
            return
        owed = {name: Owed(feed.owed.spans) for name, feed in self.feeds.items()}
        for feed in self.feeds.values():
            feed.forget_backlog()
        self._states, self._committed = {}, 0
        pending = {item.row: item for feed in self.feeds.values() for item in feed.in_memory()}
        pending |= {item.row: item for item in self._pending}
        self._pending = [pending[row] for row in sorted(pending)]
        self._history_corrupt(error, owed)

    def _history_corrupt(self, error: Corrupt, owed: dict[str, Owed]) -> None:
        self._corrupt("history", error, "what can be read of it comes back as backlog")
        if error.moved is not None:
            self._beside(self._salvage(error.moved, owed), "outbox salvage")

    def _cap_memory(self) -> None:
        """While the disk does not take them, the oldest batches go when memory runs out."""
        sizes = [item.body.value.size + BATCH_CELLS for item in self._pending if isinstance(item.body, Batch)]
        self._cells = sum(sizes)
        if self._cells <= MEMORY_CELLS:
            return
        n = 0
        while self._cells > SPARED * MEMORY_CELLS:
            self._cells -= sizes[n]
            n += 1
        gone, self._pending = {item.row: item for item in self._pending[:n]}, self._pending[n:]
        for name, feed in self.feeds.items():
            for row in feed.drop_live(gone):
                self._gap(name, gone[row].boot, gone[row].stream, gone[row].seq, "disk")

    async def read_ahead(self, feed: Feed, turn: int) -> None:
        """Read the next chunk of backlog for `feed`; the disk hears that it is tried before it is handed out."""
        try:
            async with self._lock:
                span = feed.next_span()
                if span is None or "history" in self._unread:
                    return
                lo, hi, _ = span
                items, reached, bad = await self._hands["history"].do(self._history.read, lo, hi, CHUNK)
                if bad:
                    self._bad_rows("history", bad)
                if feed.reach(lo, hi, reached) and not await self._commit_history():
                    return
                feed.read(items, lo, reached, turn)
        except StoreFault as error:
            self._history_failed(error)
        finally:
            if "history" in self.trouble:
                await self._sleep(self.settings.retry)
            feed.reading_ended()

    async def past(self, boot: str, sources: Collection[str], until: float, span: float) -> list[Batch]:
        """What these sources said in the `span` s before a moment of a boot, oldest first; nothing where the disk is in
        trouble."""
        begin = until - span
        found: list[Batch] = []
        async with self._lock:
            if "history" not in self._unread and "history" not in self.trouble:
                try:
                    found = await self._hands["history"].do(self._history.past, boot, sources, begin, until)
                except StoreFault as error:
                    self._history_failed(error)
            fresh = [item.body for item in self._pending if item.boot == boot and isinstance(item.body, Batch)]
        return found + [one for one in fresh if one.source in sources and begin <= one.mono[0] <= until]

    async def _salvage(self, path: Path, owed: dict[str, Owed]) -> None:
        """Batches that can still be read from a damaged file come back as backlog, marked.

        `owed` is what was known of the uplinks in memory; else the file's own notes count, else all is owed.
        """
        hand = Hand("salvage")
        source = self._history.salvage(path, list(self.feeds))
        count = 0
        try:
            while not self._closing.is_set() and (group := await hand.do(_some, source, 64)):
                for item in group:
                    if isinstance(item, dict):
                        spans = {name: msgspec.json.decode(text, type=list[Span]) for name, text in item.items()}
                        owed = {name: Owed(spans[name]) for name in spans} | owed
                    elif any(name not in owed or item.row in owed[name] for name in self.feeds):
                        count += 1
                        self._pending.append(structs.replace(item, row=self._batch_row, resent=True))
                        self._batch_row += 1
                async with self._lock:
                    await self._commit_history()
            self.tell("store-salvaged", f"{count} batches saved from {path.name}", batches=count)
        finally:
            hand.end()

    # -- the clock --------------------------------------------------------------------------------------

    def look(self, at: Instant) -> None:
        """The time, about once a second: as soon as it can be trusted, the stamps that wait are told right."""
        if not self.eras.learn(at):
            return
        self._unnoted.add("alarms")
        self._alarm_news.set()
        if self.eras.doubted:
            self.tell("clock-trusted", "the wall clock can be trusted now; what waits is told with its right time")

    def mend(self, item: Item) -> Item:
        """The item as it is to be told: its stamps right, if they were not and that is known by now."""
        return self.eras.mend(item)

    # -- another configuration --------------------------------------------------------------------------

    def admit(self, name: str, choice: Uplink | None) -> None:
        """An uplink that is new, or is told other things from now on; `choice` where that is not everything.

        It goes on counting what it is told from where it was, so that its platform sees neither gap nor repetition.
        Whoever joins under way has numbers of its own, and they begin at 1.
        """
        feed = self.feeds.get(name)
        if feed is not None and choice is None and name not in self._choices:
            return  # all as before
        if feed is None:
            feed, shown = Feed(name, self), set[str]()
        else:
            shown = self._shown.get(name, {one.alarm.id for one in self._open.values()})
            self._numbers_of_its_own(name)
        self.feeds[name], self._shown[name] = feed, shown
        self._choices[name] = choice = choice or Uplink(name=name)
        feed.choose(choice)
        self._history_news.set()

    def _numbers_of_its_own(self, name: str) -> None:
        """It was told everything until now, and counted with all the others: its own numbers follow those."""
        if name not in self._choices:
            self._seq |= {f"{lane}\n{name}": self._seq.get(lane, 0) for lane in ("alarm", "event")}

    def dismiss(self, name: str) -> int:
        """An uplink that is no more: what it owes is let go. How many that are."""
        self._numbers_of_its_own(name)  # it may come back
        owed = self.feeds[name].waiting()
        for row in [row for row, entry in self.entries.items() if name in entry.owed]:
            self.delivered(row, name)
        del self.feeds[name]
        self._choices.pop(name, None)
        self._shown.pop(name, None)
        self._states.pop(name, None)
        self._gaps = {gap: row for gap, row in self._gaps.items() if gap.uplink != name}
        self._untold = [lost for lost in self._untold if lost.uplink != name]
        self._told_gaps = [lost for lost in self._told_gaps if lost.uplink != name]
        self._history_news.set()
        return sum(owed.values())

    def let_go(self, source: str) -> None:
        """A source that is no more, or has other channels from now on: what was gathered of it goes as it is."""
        if source in self._gathers:
            self._flush(source)
            del self._gathers[source]

    # -- counting and telling ---------------------------------------------------------------------------

    def feed(self, uplink: str) -> Feed:
        """What the uplink of this name sees."""
        return self.feeds[uplink]

    def owing(self, uplink: str) -> dict[Lane, int]:
        """How many alarms and events the uplink owes."""
        lanes = [entry.item.lane for entry in self.entries.values() if uplink in entry.owed]
        return {"alarm": lanes.count("alarm"), "event": lanes.count("event")}

    def oldest(self, uplink: str, but: Collection[str] = ()) -> dict[Lane, float]:
        """Age in s of the oldest that the uplink owes of each lane, where something waits and its time is known.

        but: sources whose alarms do not count.
        """
        now, found = self.clock.now(), dict[Lane, float]()
        for entry in self.entries.values():
            lane = entry.item.lane
            if but and (at := entry.item.point) is not None and at[1].partition("/")[0] in but:
                continue
            if uplink in entry.owed and lane not in found:  # the first of its lane is the oldest
                found[lane] = self._age(entry.item.boot, entry.item.body.at, now)  # type: ignore[union-attr]
        feed = self.feeds[uplink]
        if (live := feed.oldest_live()) is not None:
            found["telemetry"] = now.mono - live
        if feed.owed.spans and (since := self._begun.get(feed.owed.spans[0][0])) is not None:
            found["backfill"] = self._age(*since, now)
        return found

    def _age(self, boot: str, at: Instant, now: Instant) -> float:
        """s since a moment of that boot: by the monotonic clock within one run of the kernel, else by the wall clock
        where both moments can be trusted; else since this start, for it has waited at least so long."""
        era = self.eras.of(boot)
        if boot == self.boot or (era is not None and era is self.eras.known[-1]):
            return now.mono - at.mono
        at = at if era is None else mended(at, era)
        return max(0.0, now.wall - at.wall) if now.synced and at.synced else now.mono - self._opened

    async def date(self) -> None:
        """Look up since when the oldest backlog of each uplink waits, for `oldest`. Costs one row of history each."""
        first = {feed.owed.spans[0][0] for feed in self.feeds.values() if feed.owed.spans}
        known = {row: since for row, since in self._begun.items() if row in first}
        for row in first - known.keys():
            try:
                async with self._lock:
                    if "history" in self._unread or "history" in self.trouble:
                        return
                    items, _, _ = await self._hands["history"].do(self._history.read, row, row, CHUNK)
            except StoreFault as error:
                self._history_failed(error)
                return
            for item in items:
                if isinstance(item.body, Batch):
                    begun = Instant(float(item.body.mono[0]), float(item.body.wall[0]), item.body.synced)
                    known[row] = item.boot, begun
        self._begun = known

    def is_urgent(self, uplink: str) -> bool:
        """Whether the uplink owes a red or orange alarm."""
        return any(uplink in entry.owed for level in URGENT for entry in self._ranks.get(level, {}).values())

    def depth(self) -> dict[Lane, int]:
        """How many items of each lane wait to be delivered, for the uplink that is furthest behind."""
        waiting = [feed.waiting() for feed in self.feeds.values()]
        return {lane: max((w[lane] for w in waiting), default=0) for lane in LANES}

    def lost(self) -> dict[Lane, int]:
        """How many items of each lane were dropped undelivered since boot, over all uplinks."""
        return {lane: sum(feed.dropped[lane] for feed in self.feeds.values()) for lane in LANES}

    def tell(self, kind: str, text: str, **facts: object) -> None:
        """Say an event of the store, after the caller is done."""
        event = Event(kind, "store", self.clock.now(), text, facts)
        if self._early is not None:
            self._early.append(event)
        else:
            asyncio.get_running_loop().call_soon(self._told, event)

    def _next(self, stream: str) -> int:
        self._seq[stream] = seq = self._seq.get(stream, 0) + 1
        return seq

    def _gap(
        self, uplink: str, boot: str, stream: str, seq: int, reason: str, last: int | None = None, count: int = 1
    ) -> None:
        """Count one lost item, or `count` from `seq` to `last`; neighbours become one event."""
        lane: Lane = "alarm" if stream == "alarm" else "event" if stream == "event" else "backfill"
        self.feeds[uplink].dropped[lane] += count
        gap = Gap(uplink, boot, stream, reason)
        lo, hi, n = self._gaps.get(gap, (seq, seq, 0))
        self._gaps[gap] = min(lo, seq), max(hi, seq if last is None else last), n + count
        self._history_news.set()

    def _tell_gaps(self) -> None:
        loop = asyncio.get_running_loop()
        now, pause = loop.time(), PAUSE * self.settings.batch
        if not self._gaps or now < self._gaps_due:
            return
        self._gaps_due = now + pause
        loop.call_later(pause, self._history_news.set)  # nobody may write until then
        if len(self.entries) > 0.9 * self._cap:
            return  # the event would push out the next one
        gaps, self._gaps = self._gaps, {}
        self._told_gaps, self._untold = _joined([*self._told_gaps, *self._untold]), []
        for gap, (lo, hi, n) in gaps.items():
            text = (
                f"{gap.stream} {gap.boot}/{lo} to {hi}: {n} dropped before uplink {gap.uplink} had them ({gap.reason})"
            )
            facts = {"stream": gap.stream, "boot": gap.boot, "from": lo, "to": hi, "count": n}
            self.tell("gap", text, uplink=gap.uplink, reason=gap.reason, **facts)

    def _troubled(self, file: str, error: StoreFault) -> None:
        """Say once that a file does not take what it should."""
        self.failures += 1
        kind = "store-full" if isinstance(error, Full) else "store-down"
        if self.trouble.get(file) != kind:
            self.trouble[file] = kind
            self.tell(kind, str(error), file=file)

    def _recovered(self, file: str) -> None:
        if self.trouble.pop(file, None) is not None:
            self.tell("store-recovered", f"store {file}: written again", file=file)

    def _corrupt(self, file: str, error: Corrupt, more: str) -> None:
        moved = error.moved.name if error.moved else "not moved"
        self.tell("store-corrupt", f"{error}; set aside as {moved}; {more}", file=file, moved=moved)

    def _bad_rows(self, file: str, n: int) -> None:
        self.bad_rows += n
        self.tell("store-corrupt", f"store {file}: {n} damaged rows set aside, not sent", file=file, rows=n)

    async def _patiently(self, file: str, job: Awaitable[T], waiting: asyncio.Future[bool] | None) -> T:
        """The job's result. When it is slow that is said, and nobody waits for it any longer."""
        began = self._committing[file] = self.clock.now().mono
        try:
            return await self._timed(file, job, waiting)
        finally:
            self._took[file] = max(self._took.get(file, 0.0), self.clock.now().mono - began)
            self._committing.pop(file, None)  # a salvage may commit beside it

    async def _timed(self, file: str, job: Awaitable[T], waiting: asyncio.Future[bool] | None) -> T:
        task = asyncio.ensure_future(job)
        done, _ = await asyncio.wait([task], timeout=PATIENCE)
        if done:
            if file in self._slow:
                self._slow.discard(file)
                self.tell("store-recovered", f"store {file}: no longer slow", file=file)
            return task.result()
        self._hanging.add(file)
        if file not in self._slow:  # said once: the event itself has to be written too
            self._slow.add(file)
            if file == "alarms":
                self._hand_over(list(self._held.values()))
            self.tell("store-slow", f"store {file}: a commit takes longer than {PATIENCE:g} s", file=file)
        _answer(waiting, False)
        if file == "alarms":
            _answer(self._stored, False)
        try:
            return await task
        finally:
            self._hanging.discard(file)

    def slowest(self, file: str) -> float:
        """s of the slowest commit of a file since the last call, or of the one that is under way."""
        began = self._committing.get(file)
        so_far = 0.0 if began is None else self.clock.now().mono - began
        return max(self._took.pop(file, 0.0), so_far)

    def is_slow(self) -> bool:
        """Whether a commit of alarms takes longer than `PATIENCE`, or the last one did."""
        return "alarms" in self._slow

    async def _sleep(self, seconds: float) -> None:
        """Wait, but not longer than until closing."""
        if seconds > 0 and not self._closing.is_set():
            try:
                await asyncio.wait_for(self._closing.wait(), seconds)
            except TimeoutError:
                pass


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as stretches, first and last.

    >>> runs([1, 2, 3, 7])
    [(1, 3), (7, 7)]
    """
    found: list[tuple[int, int]] = []
    for n in numbers:
        if found and found[-1][1] == n - 1:
            found[-1] = found[-1][0], n
        else:
            found.append((n, n))
    return found


def _answer(waiting: asyncio.Future[bool] | None, stored: bool) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(stored)


def _joined(lost: Iterable[Lost]) -> list[Lost]:
    """One for each uplink, stream and reason."""
    found: dict[tuple[str, ...], Lost] = {}
    for new in lost:
        place = (*new[:3], new.reason)
        old = found.get(place, new._replace(n=0))
        found[place] = new._replace(first=min(old.first, new.first), last=max(old.last, new.last), n=old.n + new.n)
    return list(found.values())


def _some(source: Iterator[T], n: int) -> list[T]:
    """The next `n` of an iterator, fewer at its end."""
    found = []
    for item in source:
        found.append(item)
        if len(found) == n:
            break
    return found
