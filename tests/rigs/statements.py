"""SIGKILL between any two statements of the outbox, of the store and of an uplink: enumerated, not sampled.

One life is played in virtual time with a tracer on every line of `FILES`. What survives a SIGKILL is what lies on the
disk and what the kernel has to send; beside it counts what was promised. Between two statements that change none of
these it makes no difference where the kill falls, so every stretch of such statements is one *moment*, and of each
there is a picture: a copy of the files, a fork of the platform. From every picture the story goes on, once with all
that was under way arrived and once with nothing of it: the next life starts on these files and drains, and the ledger
says whether an alarm that was accepted is lost, whether anything came twice unmarked, whether a row that lay on the
disk is missing, whether a platform was told of an end that the next life does not know. Some of the next lives are
killed at a moment of their own.

Of a mine's files the platform is a folder: it lies with the state, and while the line is cut it is not there.

That nothing changes between the moments is not taken for granted: every `STRIDE`-th statement the files are compared.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
import os
import random
import shutil
import sys
import time
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
import agent.uplink.hj212
import agent.uplink.jt808
import agent.uplink.jt808_alarms
import agent.uplink.jt808_notebook
import agent.uplink.jt808_track
import agent.uplink.memo
import agent.uplink.minefiles
import agent.uplink.minefiles_places
import agent.uplink.mqtt
import agent.uplink.past
import agent.uplink.session
import agent.uplink.sparkplug
from agent.core.alarm import Alarm
from agent.core.errors import WorldFault
from agent.core.frame import Instant, frame, layout
from agent.core.ports import Brief, Identity, Uplink
from agent.outbox import Outbox, Store
from agent.uplink import hj212
from agent.uplink.hj212 import Factor, Hj212
from agent.uplink.jt808 import Jt808
from agent.uplink.jt808_alarms import ENDS, Row, number_of
from agent.uplink.jt808_words import Location
from agent.uplink.minefiles import Gauge, Minefiles
from agent.uplink.mqtt import Mqtt
from agent.uplink.sparkplug import Sparkplug
from agent.wire import Message
from simulators.jt808 import ACTIVE

from .ether import LATENCY, Cable, Wire, connect
from .hosts import Edge, Keys, Outlets, Sign, Terminals, collected, native, sparkplug, told_as
from .platter import Disk, Hand, Key, Loop, copied, lying, replaced
from .shelf import LoopTime

FILES = {
    module.__file__
    for module in (
        agent.durable, agent.feed, agent.gather, agent.outbox, agent.rows, agent.store, agent.uplink.hj212,
        agent.uplink.jt808, agent.uplink.jt808_alarms, agent.uplink.jt808_notebook, agent.uplink.jt808_track,
        agent.uplink.memo, agent.uplink.minefiles, agent.uplink.minefiles_places, agent.uplink.mqtt, agent.uplink.past,
        agent.uplink.session, agent.uplink.sparkplug,
    )
}  # fmt: skip
WRITES = ("COMMIT", "PRAGMA", "CREATE", "DROP")  # statements of SQL after which the files may be others
RESTART = 1.5  # s from a kill to the next life
STRIDE = 997  # statements between two looks at the files
DRAIN = 90.0  # s in which a new life delivers everything; a minute has to end before its mean is told
TODAY = 1.8e9  # s UTC, of 0 of the loop: a full minute
PLANT, GNSS = layout(["c0", "c1"]), layout(["latitude", "longitude", "speed", "fix"])
POINTS = {("r", f"s/c{i}"): "red" for i in range(3)}


class Fault(NamedTuple):
    """Something that must not be."""

    kind: str  # lost, twice, missing, forgotten, late, unnoticed
    text: str
    where: str = ""  # of the kill


class Reading(NamedTuple):
    """A row of telemetry: of `s` and of `gnss` the n-th."""

    n: int
    wall: float  # s UTC

    @property
    def latitude(self) -> float:
        return 30.0 + self.n * 1e-4


class Today(LoopTime):
    """A clock that somebody has set: files and messages that bear a time wait for one."""

    def now(self) -> Instant:
        at = super().now()
        return Instant(at.mono, TODAY + at.mono, at.synced)


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

    def settle(self, home: Path) -> None:
        """A life begins, with its state there."""

    def cuts(self, cut: bool) -> None:
        """From now on nothing passes, or it does again."""
        self.cut = cut

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

    def worlds(self) -> tuple[Far, ...]:
        """How it may go on after a kill now, each way once."""
        return (self.fork(True), self.fork(False)) if self.flying and not self.cut else (self.fork(False),)

    def wrong(self, accepted: Sequence[Alarm], kept: set[Key], read: dict[Key, Reading]) -> Iterator[Fault]:
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

    def wrong(self, accepted: Sequence[Alarm], kept: set[Key], read: dict[Key, Reading]) -> Iterator[Fault]:
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
    """A platform at the end of cables."""

    platform: Terminals | Outlets

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

    def brought(self, cable: Cable, data: bytes) -> None:
        self.landed(cable, data)
        if not self.cut and not self.platform.brought(cable, data):
            cable.fail("the platform closed the connection")

    def fork(self, all_arrives: bool) -> Station:
        new = type(self)(self.now)
        new.platform, new.life = self.platform.fork(), self.life
        for cable, data in self.flying if all_arrives and not self.cut else ():
            new.platform.brought(cable, data)  # type: ignore[arg-type]
        new.platform.ends.clear()
        return new


class Operator(Station):
    """Of JT/T 808."""

    platform: Terminals

    def __init__(self, now: float = 0.0) -> None:
        super().__init__(now)
        self.platform = Terminals()

    def ended(self, alarm: Alarm) -> bool:
        return Edge(number_of(alarm.id), ENDS) in self.platform.edges()

    def wrong(self, accepted: Sequence[Alarm], kept: set[Key], read: dict[Key, Reading]) -> Iterator[Fault]:
        platform = self.platform
        edges = platform.edges()
        told = {location.latitude for location in platform.locations() if not has_alarm(location)}
        for alarm in accepted:
            if told_as(alarm) not in edges:
                yield Fault("lost", f"{alarm.event} of {alarm.id}")
        if platform.twice or platform.strange:
            yield Fault("twice", f"{platform.twice} unmarked; {platform.strange} not understood")
        for key in sorted(kept):
            if key[1] == "telemetry/gnss" and round(1e6 * read[key].latitude) not in told:
                yield Fault("missing", f"the location of {key}, which lay on the disk")


class Bureau(Station):
    """Of HJ 212. What comes again has the same factor, time and flag, or nobody could know it again."""

    platform: Outlets

    def __init__(self, now: float = 56.0) -> None:  # a minute ends in the middle of the story
        super().__init__(now)
        self.platform = Outlets()

    def ended(self, alarm: Alarm) -> bool:
        began = sign(alarm)
        signs = [one for one, _ in self.platform.signs(FACTORS)]
        return any(one.code == began.code and not one.begins and one.time >= began.time for one in signs)

    def wrong(self, accepted: Sequence[Alarm], kept: set[Key], read: dict[Key, Reading]) -> Iterator[Fault]:
        signs = self.platform.signs(FACTORS)
        known = {one for one, _ in signs}
        for alarm in accepted:
            if sign(alarm) not in known:
                yield Fault("lost", f"{alarm.event} of {alarm.id}")
        times: dict[float, set[str]] = {}  # of a begin the value is the alarm's number
        for one, value in signs:
            if one.begins:
                times.setdefault(value, set()).add(one.time)
        for value, under in times.items():
            if len(under) > 1:
                yield Fault("twice", f"alarm {value:g} at {sorted(under)}")
        if self.platform.wrong or self.platform.strange:
            yield Fault("twice", f"{self.platform.wrong[:3]}; {self.platform.strange} not understood")
        highest: dict[str, float] = {}
        for told in self.platform.of("2051"):
            high = float(told.values.get("c0-Max", "nan"))
            highest[told.time] = max(high, highest.get(told.time, high))
        for key in sorted(kept):
            if key[1] == "telemetry/s" and not highest.get(stamp(read[key].wall // 60 * 60), -1.0) >= read[key].n:
                yield Fault("missing", f"{key}, which lay on the disk, in the mean of its minute")


class Collector(Far):
    """A folder of a mine's files, which lies with the state, so that a picture of that has it too. Who collects knows a
    row again by its alarm's text and start."""

    folder: Path

    def settle(self, home: Path) -> None:
        self.folder = home / SHELF
        if (away := home / AWAY).exists():
            away.rename(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def cuts(self, cut: bool) -> None:
        super().cuts(cut)
        away = self.folder.parent / AWAY
        if cut:
            self.folder.rename(away)
        else:
            away.rename(self.folder)

    def rows(self) -> list[list[str]]:
        """Of alarms."""
        return collected(self.folder)[0].get("YCBJ", [])

    def ended(self, alarm: Alarm) -> bool:
        return any(row[13] == alarm.id and row[6] for row in self.rows())

    def fork(self, all_arrives: bool) -> Collector:
        new = Collector(self.now)
        new.life = self.life
        return new

    def wrong(self, accepted: Sequence[Alarm], kept: set[Key], read: dict[Key, Reading]) -> Iterator[Fault]:
        rows, partly = collected(self.folder)
        starts: dict[str, set[str]] = {}
        ends: dict[str, set[str]] = {}
        for row in rows.get("YCBJ", []):
            starts.setdefault(row[13], set()).add(row[5])
            ends.setdefault(row[13], set()).add(row[6])
        for alarm in accepted:
            if alarm.id not in starts or (alarm.event == "cleared" and ends[alarm.id] <= {""}):
                yield Fault("lost", f"{alarm.event} of {alarm.id}")
        for id, under in starts.items():
            if len(under) > 1 or len(ends[id] - {""}) > 1:
                yield Fault("twice", f"{id} from {sorted(under)} to {sorted(ends[id])}")
        for text in partly:
            yield Fault("partly", text)
        highest: dict[str, float] = {}
        for row in rows.get("TJSJ", []):
            if row[0] == "c0" and row[4]:
                highest[row[9]] = max(float(row[4]), highest.get(row[9], 0.0))
        for key in sorted(kept):
            if key[1] == "telemetry/s":
                end = stamp(read[key].wall // PERIOD * PERIOD + PERIOD, "%Y-%m-%d %H:%M:%S")
                if not highest.get(end, -1.0) >= read[key].n:
                    yield Fault("missing", f"{key}, which lay on the disk, in the file of its period")


SHELF, AWAY = "shelf", "shelf.away"  # in the folder of the state
PERIOD = 10  # s of a file of a mine
FACTORS = 3  # of HJ 212: c0, c1, c2


def stamp(wall: float, form: str = "%Y%m%d%H%M%S") -> str:
    """A moment, s UTC, as China writes it."""
    return time.strftime(form, time.gmtime(wall + 8 * 3600))


def sign(alarm: Alarm) -> Sign:
    return Sign(alarm.channel.partition("/")[2], stamp(alarm.at.wall), alarm.event == "raised")


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


def outlet(home: str) -> Hj212:
    factors = tuple(Factor(channel=f"s/c{i}", code=f"c{i}") for i in range(FACTORS))
    rows = (hj212.Row(rule="r", flag="T"),)
    return Hj212(
        name="platform", url="tcp://far:1", mn="1", password="env:PW", factor=factors, alarm=rows, home=home, real=7,
        minutes=1, timeout=2.0,
    )  # fmt: skip


def mine(home: str) -> Minefiles:
    points = tuple(Gauge(channel=f"s/c{i}", code=f"c{i}", type="0001") for i in range(3))
    often = {"file": {"CDSS": {"every": PERIOD // 2}, "TJSJ": {"every": PERIOD}, "YCBJ": {"every": PERIOD}}}
    place = (Path(home) / SHELF).resolve().as_uri()
    return Minefiles(name="platform", url=place, mine="1", mine_name="m", point=points, change=often, home=home)


LANGUAGES: dict[str, Language] = {
    "mqtt": Language(lambda home: Mqtt(name="platform", url="mqtt://far"), lambda: Host(native)),
    "sparkplug": Language(lambda home: Sparkplug(name="platform", url="mqtt://far"), lambda: Host(sparkplug)),
    "jt808": Language(terminal, Operator),
    "hj212": Language(outlet, Bureau),
    "minefiles": Language(mine, Collector),
}


# -- one life ---------------------------------------------------------------------------------------------


class Picture(NamedTuple):
    """What a SIGKILL at one moment leaves."""

    home: Path
    far: tuple[Far, ...]  # all that was under way arrives, or nothing; one where nothing was
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
        self.read: dict[Key, Reading] = {}
        self._names = itertools.count()

    def place(self) -> Path:
        return self.folder / f"state{next(self._names)}"

    @contextmanager
    def stands(self) -> Iterator[None]:
        """The product reaches this tale's disk and line instead of the machine's."""
        hand = lambda name: Hand(self.disk)  # noqa: E731
        modules = (
            agent.uplink.sparkplug, agent.uplink.jt808_notebook, agent.uplink.memo, agent.uplink.minefiles_places,
        )  # fmt: skip
        seams = [(module, "Hand", hand) for module in modules]
        seams += [(agent.uplink.session, "Wire", Wire), (Jt808, "_connect", connect), (Hj212, "_connect", connect)]
        os.environ["PW"] = "123456"
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
        self.far.now += RESTART if self.far.life > 1 else 0.0
        self.far.settle(self.home)
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
        self.outbox = await Outbox.open(settings, ["platform"], Today(), lambda event: None)
        self.sending = asyncio.create_task(self._send())
        return self.outbox

    async def _send(self) -> None:
        outbox = self.outbox
        who = Identity("s", "n", outbox.boot, "0", "0", str(self.home), {"s": PLANT, "gnss": GNSS}, POINTS)
        uplink = self.tale.language.uplink(str(self.home))
        while True:
            try:
                await uplink.send(Brief(outbox.feed("platform"), who, outbox.recall, Today(), lambda event: None))
            except WorldFault:
                await asyncio.sleep(0.2)

    def raises(self, i: int) -> None:
        self._edge("raised", "active-unacked", i, 1)

    def clears(self, i: int) -> None:
        self._edge("cleared", "normal", i, 2)

    def _edge(self, event: str, state: str, i: int, edge: int) -> None:
        at, id = Today().now(), f"{self.outbox.boot}-{i}"
        made = Alarm(id, edge, event, state, "r", f"s/c{i % 3}", "red", float(i), 1.0, "m", at, at, id)
        promise = self.outbox.put_alarms([made])
        promise.add_done_callback(functools.partial(self._stored, made))

    def _stored(self, alarm: Alarm, promise: asyncio.Future[bool]) -> None:
        if not promise.cancelled() and promise.result() and alarm not in self.accepted:
            self.accepted.append(alarm)
            self.dirty = True

    def reads(self, n: int) -> None:
        """A frame of each source, which is a batch of its own."""
        at = Today().now()
        one = Reading(n, at.wall)
        place = [one.latitude, 120.0, 50.0, 3.0]
        for source, shape, values in (("s", PLANT, [float(n), n / 8]), ("gnss", GNSS, place)):
            self.outbox.put_frame(frame(source, at, shape, values))
            self.outbox._flush(source)
            self.tale.read[self.outbox.boot, f"telemetry/{source}", self.outbox._seq[f"telemetry/{source}"]] = one

    # -- moments --------------------------------------------------------------------------------------------

    @contextmanager
    def _traced(self) -> Iterator[None]:
        tell = sqlite_told(self.tale.disk, self._changes)

        def line(code: FrameType, event: str, arg: Any) -> Any:
            self._statement(code)
            return line

        def call(code: FrameType, event: str, arg: Any) -> Any:
            return line if code.f_code.co_filename in FILES else None

        disk = self.tale.disk
        with tell, replaced([(disk, "moment", lambda when: self._changes())]):  # a hand may have changed files
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
        self.taken.append(Picture(home, self.far.worlds(), tuple(self.accepted), self.count, where))


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
    paths = [Path(folder, name) for folder, _, names in os.walk(home) for name in names]
    for path in sorted(paths, key=lambda path: path.name):
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
    far.cuts(True)
    life.raises(6)
    await some(4)
    life.clears(4)
    await some(4)
    far.cuts(False)
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
    home, again = tale.place(), tale.place()
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
            far = chosen.far[second % len(chosen.far)]
            if chosen.home.exists():
                shutil.copytree(chosen.home, again)
            Life(tale, again, far, chosen.accepted, False).live(drains)
        for one in pictures:
            shutil.rmtree(one.home, ignore_errors=True)
    faults = [*tale.wrong[before:], *far.wrong(picture.accepted, kept, tale.read)]
    tale.wrong[before:] = [fault._replace(where=f"statement {picture.statement}, {picture.where}") for fault in faults]
    for place in (home, again):
        shutil.rmtree(place, ignore_errors=True)
