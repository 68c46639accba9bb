"""SIGKILL between any two statements of the outbox, of the store and of an uplink: enumerated, not sampled.

One life is played in virtual time with a tracer on every line of `FILES`. What survives a SIGKILL is what lies on the
disk and what the kernel has to send; beside it counts what was promised. Between two statements that change none of
these it makes no difference where the kill falls, so every stretch of such statements is one *moment*, and of each
there is a picture: a copy of the files, a fork of the platform. From every picture the story goes on, once with all
that was under way arrived and once with nothing of it: the next life starts on these files and drains, and the ledger
says whether an alarm that was accepted is lost, whether anything came twice unmarked, whether a row that lay on the
disk is missing, whether a platform was told of an end that the next life does not know. Some of the next lives are
killed at a moment of their own.

That nothing changes between the moments is not taken for granted: every `STRIDE`-th statement the files are compared.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
import random
import shutil
import sys
import zlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import agent.durable
import agent.feed
import agent.gather
import agent.outbox
import agent.rows
import agent.store
import agent.uplink.jt808
import agent.uplink.jt808_alarms
import agent.uplink.jt808_notebook
import agent.uplink.jt808_track
import agent.uplink.mqtt
import agent.uplink.session
import agent.uplink.sparkplug
from agent.core.alarm import Alarm
from agent.core.errors import WorldFault
from agent.core.frame import frame, layout
from agent.core.ports import Identity, Uplink
from agent.outbox import Outbox, Store
from agent.uplink.jt808 import Jt808
from agent.uplink.jt808_alarms import ENDS, Row, number_of
from agent.uplink.jt808_words import Location
from agent.uplink.mqtt import Mqtt
from agent.uplink.sparkplug import Sparkplug
from agent.wire import Message
from simulators.jt808 import ACTIVE

from .ether import LATENCY, Cable, Wire, connect
from .hosts import Edge, Keys, Terminals, native, sparkplug, told_as
from .platter import Disk, Hand, Key, Loop, copied, lying, replaced
from .shelf import LoopTime

FILES = {
    module.__file__
    for module in (
        agent.durable, agent.feed, agent.gather, agent.outbox, agent.rows, agent.store, agent.uplink.jt808,
        agent.uplink.jt808_alarms, agent.uplink.jt808_notebook, agent.uplink.jt808_track, agent.uplink.mqtt,
        agent.uplink.session, agent.uplink.sparkplug,
    )
}  # fmt: skip
WRITES = ("COMMIT", "PRAGMA", "CREATE", "DROP")  # statements of SQL after which the files may be others
STRIDE = 997  # statements between two looks at the files
DRAIN = 60.0  # s in which a new life delivers everything
PLANT, GNSS = layout(["c0", "c1"]), layout(["latitude", "longitude", "speed", "fix"])
POINTS = {("r", f"s/c{i}"): "red" for i in range(3)}


class Fault(NamedTuple):
    """Something that must not be."""

    kind: str  # lost, twice, missing, forgotten, late, unnoticed
    text: str
    where: str = ""  # of the kill


# -- the other side ---------------------------------------------------------------------------------------


class Far:
    """The line and the platform, whatever becomes of the processes before them."""

    def __init__(self, now: float = 0.0) -> None:
        self.now, self.life = now, 0
        self.cut, self.broker_up = False, True
        self.lag, self.bandwidth = 0.0, 1e6
        self.limits: dict[str, int] = {}
        self.retained: dict[str, bytes] = {}
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.flying: list[tuple[Any, Message | bytes]] = []  # in their order
        self.sent = 0
        self.links: list[Any] = []
        self._count = itertools.count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.heap, (when, next(self._count), do))

    def advance(self, now: float, until: float) -> float:
        """The `world` of a `Loop`."""
        self.now = until
        if self.heap and self.heap[0][0] <= until:
            self.now = max(now, self.heap[0][0])
            while self.heap and self.heap[0][0] <= self.now:
                heapq.heappop(self.heap)[2]()
        return self.now

    def departed(self, link: Any, what: Message | bytes) -> None:
        self.flying.append((link, what))
        self.sent += 1

    def landed(self, link: Any, what: Message | bytes) -> None:
        at = next(i for i, (other, flying) in enumerate(self.flying) if other is link and flying is what)
        del self.flying[at]

    def breaks(self) -> None:
        """Every connection ends; what was under way is gone."""
        for link in self.links:
            link.fail("connection reset by peer")
        self.links.clear()

    def ended(self, alarm: Alarm) -> bool:
        """Whether the platform was told that this alarm is over."""
        raise NotImplementedError

    def fork(self, all_arrives: bool) -> Far:
        """What the platform is once the process is dead; it has what was under way, or nothing of it."""
        raise NotImplementedError

    def wrong(self, accepted: Sequence[Alarm], kept: set[Key], places: dict[Key, float]) -> Iterator[Fault]:
        """What is not as it should be, once all is delivered. `kept`: rows that lay on the disk."""
        raise NotImplementedError


class Host(Far):
    """A broker with a platform behind it."""

    def __init__(self, words: Callable[[str, bytes], list[dict[str, Any]]], now: float = 0.0) -> None:
        super().__init__(now)
        self.words = words
        self.heard: list[dict[str, Any]] = []

    def attach(self, wire: Wire) -> None:
        wire.open_there = True
        self.links.append(wire)

    def detach(self, wire: Wire, politely: bool) -> None:
        wire.open_there = False
        if wire in self.links:
            self.links.remove(wire)

    def breaks(self) -> None:
        for wire in self.links:
            wire.open_there = False
        super().breaks()

    def ended(self, alarm: Alarm) -> bool:
        return any(body.get("id") == alarm.id and body.get("state") == "normal" for body in self.heard)

    def arrived(self, wire: Wire, mid: int, message: Message) -> None:
        self.landed(wire, message)
        if wire.open_there and not self.cut:
            self._take(message)
            self.at(self.now + LATENCY, lambda: wire.confirm(mid, 0))

    def _take(self, message: Message) -> None:
        if message.retain:
            self.retained[message.topic] = message.payload
        self.heard += self.words(message.topic, message.payload)

    def fork(self, all_arrives: bool) -> Host:
        new = Host(self.words, self.now)
        new.heard, new.retained, new.life = list(self.heard), dict(self.retained), self.life
        for link, message in self.flying if all_arrives and not self.cut else ():
            if link.open_there:
                new._take(message)  # type: ignore[arg-type]
        return new

    def wrong(self, accepted: Sequence[Alarm], kept: set[Key], places: dict[Key, float]) -> Iterator[Fault]:
        keys = Keys()
        for body in self.heard:
            keys.hear(body)
        for alarm in accepted:
            if (alarm.id, alarm.edge) not in keys.edges:
                yield Fault("lost", f"{alarm.event} of {alarm.id}")
        for key in keys.unmarked:
            yield Fault("twice", f"{key}, unmarked")
        for boot, stream, seq in keys.holes():
            if stream.startswith("telemetry"):  # an edge that never was on the disk is judged anew, as another
                yield Fault("missing", f"{stream} {boot}/{seq}, below the last that came")
        for boot, stream, seq in sorted(kept):
            if seq not in keys.seen.get((boot, stream), ()):
                yield Fault("missing", f"{stream} {boot}/{seq}, which lay on the disk")


class Station(Far):
    """A JT/T 808 platform."""

    def __init__(self, now: float = 0.0, platform: Terminals | None = None) -> None:
        super().__init__(now)
        self.platform = platform or Terminals()

    def plug(self, cable: Cable) -> None:
        self.platform.plug(cable)
        self.links.append(cable)

    def unplug(self, cable: Cable) -> None:
        self.platform.unplug(cable)
        if cable in self.links:
            self.links.remove(cable)

    def breaks(self) -> None:
        for cable in self.links:
            self.platform.unplug(cable)
        super().breaks()

    def ended(self, alarm: Alarm) -> bool:
        return Edge(number_of(alarm.id), ENDS) in self.platform.edges()

    def brought(self, cable: Cable, data: bytes) -> None:
        self.landed(cable, data)
        if not self.cut and not self.platform.brought(cable, data):
            cable.fail("the platform closed the connection")

    def fork(self, all_arrives: bool) -> Station:
        new = Station(self.now, self.platform.fork())
        new.life = self.life
        for cable, data in self.flying if all_arrives and not self.cut else ():
            new.platform.brought(cable, data)  # type: ignore[arg-type]
        new.platform.ends.clear()
        return new

    def wrong(self, accepted: Sequence[Alarm], kept: set[Key], places: dict[Key, float]) -> Iterator[Fault]:
        platform = self.platform
        edges = platform.edges()
        told = {location.latitude for location in platform.locations() if not has_alarm(location)}
        for alarm in accepted:
            if told_as(alarm) not in edges:
                yield Fault("lost", f"{alarm.event} of {alarm.id}")
        if platform.twice or platform.strange:
            yield Fault("twice", f"{platform.twice} unmarked; {platform.strange} not understood")
        for key in sorted(kept):
            if key[1] == "telemetry/gnss" and round(1e6 * places[key]) not in told:
                yield Fault("missing", f"the location of {key}, which lay on the disk")


def has_alarm(location: Location) -> bool:
    return any(isinstance(item.value, ACTIVE) for item in location.items)


# -- the languages ----------------------------------------------------------------------------------------


class Language(NamedTuple):
    """One uplink and its other side."""

    uplink: Callable[[str], Uplink]  # by the folder of the state
    far: Callable[[], Far]


def terminal(home: str) -> Jt808:
    rows = (Row(rule="r", item="adas", type="forward", level=2),)
    often = {"strategy": 1, "distance": 10, "timeout": 2}  # each reading is further than that from the last
    return Jt808(
        name="platform", url="tcp://far:1", phone="13800138000", terminal="VED0001", alarm=rows, parameters=often,
        home=home,
    )  # fmt: skip


LANGUAGES: dict[str, Language] = {
    "mqtt": Language(lambda home: Mqtt(name="platform", url="mqtt://far"), lambda: Host(native)),
    "sparkplug": Language(lambda home: Sparkplug(name="platform", url="mqtt://far"), lambda: Host(sparkplug)),
    "jt808": Language(terminal, Station),
}


# -- one life ---------------------------------------------------------------------------------------------


class Picture(NamedTuple):
    """What a SIGKILL at one moment leaves."""

    home: Path
    far: tuple[Far, Far]  # all that was under way arrives, or nothing
    accepted: tuple[Alarm, ...]
    statement: int
    where: str


class Told(NamedTuple):
    """What one tale was."""

    statements: int
    moments: int
    lives: int
    wrong: list[Fault]


class Tale:
    """One language, its files and its lives."""

    def __init__(self, name: str, folder: Path) -> None:
        self.language, self.folder = LANGUAGES[name], folder
        self.disk = Disk(random.Random(1))
        self.statements = self.moments = self.lives = 0
        self.wrong: list[Fault] = []
        self.places: dict[Key, float] = {}
        self._names = itertools.count()

    def place(self) -> Path:
        return self.folder / f"state{next(self._names)}"

    @contextmanager
    def stands(self) -> Iterator[None]:
        """The product reaches this tale's disk and line instead of the machine's."""
        hand = lambda name: Hand(self.disk)  # noqa: E731
        modules = (agent.uplink.sparkplug, agent.uplink.jt808_notebook)
        seams = [(module, "Hand", hand) for module in modules]
        seams += [(agent.uplink.session, "Wire", Wire), (Jt808, "_connect", connect)]
        with self.disk.mounted(), replaced(seams):
            yield


class Life:
    """One process: it starts on what lies in `home`, and lives what `story` says."""

    def __init__(self, tale: Tale, home: Path, far: Far, accepted: Sequence[Alarm], pictures: bool) -> None:
        self.tale, self.home, self.far, self.pictures = tale, home, far, pictures
        self.accepted = list(accepted)
        self.taken: list[Picture] = []
        self.dirty = True
        self.count = 0
        self._last: tuple[Any, ...] = ()
        self._sent = self._files = 0

    def live(self, story: Callable[[Life], Coroutine[Any, Any, None]]) -> list[Picture]:
        """The moments at which it could have been killed, where `pictures` are wanted."""
        tale = self.tale
        tale.lives += 1
        self.far.life += 1
        Wire.net = Cable.net = self.far  # type: ignore[assignment]
        loop = Loop(self.far.now, self.far.advance)
        with self._traced() if self.pictures else _untraced(), tale.stands():
            try:
                loop.run_until_complete(story(self))
            finally:
                sys.settrace(None)
                loop.bury()
                tale.disk.end()
        return self.taken

    async def begin(self) -> Outbox:
        settings = Store(path=str(self.home), batch=0.5, ballast_mb=0)
        self.outbox = await Outbox.open(settings, ["platform"], LoopTime(), lambda event: None)
        self.sending = asyncio.create_task(self._send())
        return self.outbox

    async def _send(self) -> None:
        outbox = self.outbox
        who = Identity("s", "n", outbox.boot, "0", "0", str(self.home), {"s": PLANT, "gnss": GNSS}, POINTS)
        uplink = self.tale.language.uplink(str(self.home))
        while True:
            try:
                await uplink.send(outbox.feed("platform"), who, outbox.recall, LoopTime(), lambda event: None)
            except WorldFault:
                await asyncio.sleep(0.2)

    def raises(self, i: int) -> None:
        self._edge("raised", "active-unacked", i, 1)

    def clears(self, i: int) -> None:
        self._edge("cleared", "normal", i, 2)

    def _edge(self, event: str, state: str, i: int, edge: int) -> None:
        at = LoopTime().now()
        made = Alarm(
            f"{self.outbox.boot}-{i}", edge, event, state, "r", f"s/c{i % 3}", "red", float(i), 1.0, "m", at, at, "t"
        )
        promise = self.outbox.put_alarms([made])
        promise.add_done_callback(functools.partial(self._stored, made))

    def _stored(self, alarm: Alarm, promise: asyncio.Future[bool]) -> None:
        if not promise.cancelled() and promise.result() and alarm not in self.accepted:
            self.accepted.append(alarm)
            self.dirty = True

    def reads(self, n: int) -> None:
        """A frame of each source, which is a batch of its own."""
        at = LoopTime().now()
        place = [30.0 + n * 1e-4, 120.0, 50.0, 3.0]
        for source, shape, values in (("s", PLANT, [float(n), n / 8]), ("gnss", GNSS, place)):
            self.outbox.put_frame(frame(source, at, shape, values))
            self.outbox._flush(source)
        self.tale.places[self.outbox.boot, "telemetry/gnss", self.outbox._seq["telemetry/gnss"]] = place[0]

    # -- moments --------------------------------------------------------------------------------------------

    @contextmanager
    def _traced(self) -> Iterator[None]:
        tell = sqlite_told(self.tale.disk, self._changes)

        def line(code: FrameType, event: str, arg: Any) -> Any:
            self._statement(code)
            return line

        def call(code: FrameType, event: str, arg: Any) -> Any:
            return line if code.f_code.co_filename in FILES else None

        with tell:
            sys.settrace(call)
            try:
                yield
            finally:
                sys.settrace(None)

    def _changes(self) -> None:
        self.dirty = True

    def _statement(self, code: FrameType) -> None:
        """Somewhere between two statements."""
        self.count += 1
        if self.far.sent != self._sent or code.f_code.co_filename == agent.durable.__file__:
            self.dirty = True
        if self.dirty:
            self.dirty, self._sent, self._files = False, self.far.sent, fingerprint(self.home)
            if (now := (self._sent, len(self.accepted), self._files)) != self._last:
                self._last = now
                self._take(f"{Path(code.f_code.co_filename).name}:{code.f_lineno}")
        elif self.count % STRIDE == 0 and fingerprint(self.home) != self._files:
            self.tale.wrong.append(Fault("unnoticed", "the files changed", f"{code.f_code.co_name}:{code.f_lineno}"))

    def _take(self, where: str) -> None:
        home = copied(self.home, self.tale.place()) if self.home.exists() else self.tale.place()
        far = self.far.fork(True), self.far.fork(False)
        self.taken.append(Picture(home, far, tuple(self.accepted), self.count, where))


@contextmanager
def _untraced() -> Iterator[None]:
    yield


@contextmanager
def sqlite_told(disk: Disk, changes: Callable[[], None]) -> Iterator[None]:
    """`changes` hears of every statement after which the files may be others."""
    connected = disk.connect

    def connect(path: Path | str, **more: Any) -> Any:
        db = connected(path, **more)
        kind = type(db)

        class Watched(kind):  # type: ignore[misc, valid-type]
            def execute(self, sql: str, *values: Any) -> Any:
                cursor = super().execute(sql, *values)
                if sql.lstrip().upper().startswith(WRITES):
                    changes()
                return cursor

            def executescript(self, sql: str) -> Any:
                cursor = super().executescript(sql)
                changes()
                return cursor

        db.__class__ = Watched
        changes()
        return db

    disk.connect = connect  # type: ignore[method-assign]
    try:
        yield
    finally:
        disk.connect = connected  # type: ignore[method-assign]


def fingerprint(home: Path) -> int:
    """Of all files, but for what only a running process needs."""
    crc = 0
    for path in sorted(home.iterdir()) if home.exists() else ():
        if path.name != "ballast" and not path.name.endswith("-shm"):
            crc = zlib.crc32(path.read_bytes(), zlib.crc32(path.name.encode(), crc))
    return crc


# -- stories ----------------------------------------------------------------------------------------------


async def works(life: Life, seed: int) -> None:
    """Alarms and readings on a line that is good, slow, breaks, is cut, is good again. `seed`: of the pauses."""
    far, rng = life.far, random.Random(seed)
    await life.begin()
    numbers = itertools.count(1)

    async def some(reads: int) -> None:
        for _ in range(reads):
            life.reads(next(numbers))
            await asyncio.sleep(1.0)

    async def pause() -> None:
        await asyncio.sleep(rng.choice((0.0, 0.0011, 0.004, 0.012, 0.3)))

    await asyncio.sleep(0.1)
    await some(1)
    for do in (lambda: life.raises(1), lambda: life.raises(2), lambda: life.clears(1), lambda: life.raises(3)):
        do()
        await pause()
    await some(1)
    far.lag = 1.2  # commits while much is under way
    life.clears(2)
    await some(2)
    life.raises(4)
    await pause()
    await some(1)
    far.lag = 0.0
    await some(1)
    life.raises(5)
    life.reads(next(numbers))
    await asyncio.sleep(1.5 * LATENCY)  # it has arrived, and nobody says so
    far.breaks()
    await pause()
    life.clears(3)
    await some(2)
    far.cut = True
    life.raises(6)
    await some(4)
    life.clears(4)
    await some(4)
    far.cut = False
    await pause()
    await some(2)
    life.clears(5)
    life.raises(7)
    await some(2)


async def drains(life: Life) -> None:
    """Only delivers what is left."""
    outbox = await life.begin()
    for alarm in outbox.recall():
        if life.far.ended(alarm):
            life.tale.wrong.append(
                Fault("forgotten", f"the platform was told that {alarm.id} is over, and the disk was not")
            )
    end = asyncio.get_running_loop().time() + DRAIN
    while any(outbox.depth().values()) and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.05)
    await asyncio.sleep(1.5)  # what is delivered is noted
    if left := {lane: n for lane, n in outbox.depth().items() if n}:
        life.tale.wrong.append(Fault("late", f"not drained: {left}"))


def tell(name: str, folder: Path, seed: int = 0, every: int = 1, again: int = 0) -> Told:
    """Every `every`-th moment of one language; every `again`-th of the lives that follow is killed too (0: none)."""
    tale = Tale(name, folder)
    first = Life(tale, tale.place(), tale.language.far(), (), True)
    pictures = first.live(lambda life: works(life, seed))
    tale.statements, tale.moments = first.count, len(pictures)
    chosen = pictures[seed % every :: every]
    for n, picture in enumerate(chosen):
        for which, far in enumerate(picture.far):
            killed = bool(again) and n % again == 0 and which == 0
            _goes_on(tale, picture, far, n if killed else -1)
    for picture in pictures:
        shutil.rmtree(picture.home, ignore_errors=True)
    return Told(tale.statements, tale.moments, tale.lives, tale.wrong)


def _goes_on(tale: Tale, picture: Picture, far: Far, second: int) -> None:
    """The life after a kill, itself killed at a moment that `second` chooses (below 0: not)."""
    home = tale.place()
    if picture.home.exists():
        shutil.copytree(picture.home, home)
    kept, _ = lying(home, "platform") if home.exists() else (set(), set())
    before = len(tale.wrong)
    if second < 0:
        Life(tale, home, far, picture.accepted, False).live(drains)
    else:
        pictures = Life(tale, home, far, picture.accepted, True).live(drains)
        if pictures:
            chosen = pictures[second % len(pictures)]
            far = chosen.far[second % 2]
            again = tale.place()
            if chosen.home.exists():
                shutil.copytree(chosen.home, again)
            Life(tale, again, far, chosen.accepted, False).live(drains)
            shutil.rmtree(again, ignore_errors=True)
        for one in pictures:
            shutil.rmtree(one.home, ignore_errors=True)
    faults = [*tale.wrong[before:], *far.wrong(picture.accepted, kept, tale.places)]
    tale.wrong[before:] = [fault._replace(where=f"statement {picture.statement}, {picture.where}") for fault in faults]
    shutil.rmtree(home, ignore_errors=True)
