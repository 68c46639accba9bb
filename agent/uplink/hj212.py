"""HJ 212-2017 over TCP: pollutant values to a platform of environmental supervision, each message answered.

    2081   once after a start of the agent: since when it runs
    2011   real time, every so many seconds, and at once when an alarm begins or ends
    2051   minutes, 2061 hours, 2031 days: lowest, mean, highest of each, under the time of their begin

Every message asks for an answer (9014, or 9013 to 2081) with its own QN; without one it is sent again after 5 s, three
times, then the link counts as lost. A batch of telemetry is delivered when the minutes in which its rows lie are
answered, and, while the link is up and real time is wanted, its period of that too. Real time of the past is not sent
afterwards: minutes are, from the store, under their own time, and so are alarms. Hours and days are made from the store
when they end, back to `BACK`. This language has no mark for a repetition: a receiver knows it by MN, CN and DataTime.

It has no word for an alarm either. A 2011 that does not wait says the value at that time; its flag is that of the
instrument, for T means "beyond its range" and nothing else, unless a row of `alarm` says what was agreed.

What a platform may ask stands in `Session.DEEDS`. It may not set the clock or the password.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct, structs

from .. import secret, tls
from ..core.alarm import Alarm
from ..core.errors import LineLost
from ..core.frame import BLIND, OFFLINE_AFTER, Quality
from ..core.ports import Batch, Brief, Event, Item, Lane
from ..tls import Keyring, Renewed, Secured, keyring_of
from . import tcp
from .hj212_wire import ANSWER, EDITION, Message, Stream, pack, split
from .memo import Memo
from .past import Account, Archive, Dues, Life
from .periods import Spans, Value, series, touched, value_at

ALIVE = 30  # s of silence before TCP asks whether the platform is there
GRACE = 2.5  # s after a period until what was read in it is in the store, at the latest; it gathers for 1 s
UNSET = 1_704_067_200.0  # s UTC, 2024: a clock that shows less was never set
TURN = 256  # items taken before the loop serves others
ROOM = 4096  # batches that wait for their minutes; beyond, the feed keeps them
URGENT = 4  # messages under way beyond that, for alarms
ASKING = 4  # questions for the past that wait
KNOWN = 256  # alarms whose end was told and is told once
BACK = {"2061": 7 * 86400.0, "2031": 31 * 86400.0}  # s of hours and days that are made up for
LONGEST = 31 * 86400.0  # s of history that a platform may ask for at once
ENOUGH = 0.75  # of a period that must be fit for its mean to be normal; else the flag says what was wrong. project
ENDS = ("cleared", "shelved", "suppressed", "taken-out", "reset")
DECIDED = ("raised", "cleared")  # whose value is that which decided
HOUR, DAY = 3600.0, 86400.0
PORTS = {"tcp": 9015, "tls": 9016}

Flag = Literal["N", "F", "M", "S", "D", "C", "T", "B"]
FLAGS: dict[int, Flag] = {
    Quality.GOOD: "N", Quality.UNCERTAIN: "N", Quality.OVER_RANGE: "T", Quality.CALIBRATING: "C", Quality.STALE: "B",
    Quality.FAULT: "D", Quality.OFFLINE: "B",
}  # fmt: skip

READY, REJECTED, BAD_PW, BAD_MN, BAD_ST, BAD_QN, BAD_CN = 1, 2, 3, 4, 5, 7, 8  # QnRtn
DONE, FAILED, BAD_CONDITION, NO_DATA = 1, 2, 3, 100  # ExeRtn


class Factor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pollutant, as the platform knows it."""

    channel: str  # `source/key`
    code: Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{2,12}$")]  # HJ 524, HJ 525: w01018, a21026
    digits: Annotated[int, Meta(ge=0, le=6)] = 2  # behind the point
    st: str = ""  # system, empty: that of the uplink
    mn: str = ""  # device, the same
    manual: bool = False  # its value is entered by people
    stopped: str = ""  # channel that is 1 while its plant stands still
    maintenance: str = ""  # channel that is 1 during maintenance

    @property
    def source(self) -> str:
        return self.channel.partition("/")[0]

    @property
    def key(self) -> str:
        return self.channel.partition("/")[2]


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which alarms are told by a 2011 of their own, and with which flag."""

    rule: str  # name, wildcards allowed
    channel: str = "*"  # `source/key`, wildcards allowed
    tell: bool = True
    flag: Literal["", "T", "D", "B"] = ""  # at its begin; empty: that of the instrument


Setting = Literal["interval", "timeout", "real-time"]


class Hj212(Secured, tag="hj212", frozen=True, kw_only=True):
    """One platform."""

    url: str  # tcp://host:port; tls:// where somebody unwraps it before the platform
    mn: Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,40}$")]  # of the device, 24 characters for most
    st: Annotated[str, Meta(pattern=r"^\d{2}$")] = (
        "32"  # system: 21 surface water, 22 air, 27 VOC, 31 smoke, 32 waste water
    )
    password: str  # PW, six characters: env:NAME, file:/path, credential:NAME
    real: Annotated[int, Meta(ge=0, le=3600)] = 30  # s between real-time messages, until the platform sets it; 0: none
    minutes: Literal[1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60] = 10  # the same
    hours: bool = True
    days: bool = True
    started: bool = True  # 2081 after a start of the agent
    timeout: Annotated[float, Meta(ge=1, le=60)] = 5.0  # s for an answer, until the platform sets it
    tries: Annotated[int, Meta(ge=0, le=10)] = 3  # times that a message is sent again
    window: Annotated[int, Meta(ge=1, le=16)] = 4  # messages under way; 1 for a platform that hears one at a time
    zone: Annotated[float, Meta(ge=-12, le=14)] = 8.0  # h east of Greenwich
    factor: Annotated[tuple[Factor, ...], Meta(min_length=1)]
    alarm: tuple[Row, ...] = ()  # the first that fits; what none fits is told too
    allow: tuple[Setting, ...] = ("interval", "timeout", "real-time")  # what the platform may set
    home: str = ""  # folder of the state; set by the configuration

    def __post_init__(self) -> None:
        super().__post_init__()
        tcp.parted(self.url, PORTS)
        if wrong := secret.fault(self.password, "user"):
            raise ValueError(wrong)
        if not self.password:
            raise ValueError("password must say where PW is kept: env:NAME, file:/path or credential:NAME")
        self.complain("tls")

    @property
    def secured(self) -> bool:
        return tcp.parted(self.url, PORTS).scheme == "tls"

    def at_home(self, home: str, shelf: str) -> Hj212:
        return structs.replace(self, home=home)

    def faults(self, channels: Collection[str]) -> list[str]:
        """Channels that the site has not, codes that come twice."""
        told, seen = [], set[tuple[str, str, str]]()
        for one in self.factor:
            if not self.wants_source(one.source):
                told.append(f"factor {one.code}: `sources` leaves out {one.source}")
            for name in filter(None, (one.channel, one.stopped, one.maintenance)):
                if name not in channels:
                    told.append(f"factor {one.code}: no channel is called `{name}`")
            key = (one.st or self.st, one.mn or self.mn, one.code)
            told += [f"factor {one.code}: that code is given twice for {key[1]}"] if key in seen else []
            seen.add(key)
        return told

    async def send(self, brief: Brief) -> None:
        """Connect and deliver until cancelled. Raises `LineLost`."""
        brief.feed.notes.setdefault("since", brief.clock.now().mono)
        keyring = keyring_of(self, self._place(), brief) if self.secured else None
        while True:
            try:
                await self._serve(brief, keyring)
            except Renewed:
                continue  # at once

    async def _serve(self, brief: Brief, keyring: Keyring | None) -> None:
        """One connection. Raises `Renewed` where the next one is to follow at once."""
        password = secret.read(self.password, f"connect uplink {self.name!r} at {self.url}")
        wake = asyncio.Event()
        memo = Memo(self.home, "hj212", self.name, Pages())
        line = Line(wake)
        session = None
        reason = "stopped"
        try:
            await memo.load()
            if memo.trouble:
                text = f"uplink {self.name}: what the platform set and was told is not known: {memo.trouble}"
                brief.tell(Event("notebook-lost", self.name, brief.clock.now(), text))
            await self._connect(line, keyring)
            session = Session(self, password, line, memo, wake, brief)
            session.keyring = keyring
            brief.feed.watch(wake.set)
            try:
                await session.run()
            finally:
                await session.end()
        except LineLost as fault:
            reason = str(fault)
            raise
        finally:
            if session is not None:
                brief.feed.watch(_nothing)
                brief.feed.online(False)
                brief.tell(Event("link-down", self.name, brief.clock.now(), reason))
            line.close()
            memo.close()

    def _place(self) -> tuple[str, int]:
        """Host and port."""
        return tcp.endpoint(self.url, PORTS)

    async def _connect(self, line: Line, keyring: Keyring | None) -> None:
        await tcp.connect(line, self._place(), keyring, f"uplink {self.name!r} at {self.url}", ALIVE)


def _nothing() -> None:
    pass


class Line(asyncio.Protocol):
    """One connection: what came over it, and why it is gone."""

    INBOX = 256  # messages that wait; then the platform is not read from

    def __init__(self, wake: asyncio.Event) -> None:
        self.wake = wake
        self.stream = Stream()
        self.inbox: deque[Message] = deque()
        self.lost = ""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.inbox.extend(self.stream.feed(data))
        if len(self.inbox) > self.INBOX and self.transport is not None:
            self.transport.pause_reading()
        self.wake.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.lost or (str(exc) if exc is not None else "the platform closed the connection")
        self.wake.set()

    def take(self) -> Message | None:
        one = self.inbox.popleft() if self.inbox else None
        if one is None and self.transport is not None and not self.lost and not self.transport.is_reading():
            self.transport.resume_reading()
        return one

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.lost:
            self.transport.write(data)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


# -- what is known again after a restart ------------------------------------------------------------


class Pages(Struct):
    """What stands in the memo."""

    told: dict[str, list[tuple[int, int]]] = {}  # "CN/seconds" -> periods
    lives: dict[str, Life] = {}  # by boot
    over: list[str] = []  # ids of alarms whose end was told
    boot: str = ""  # the last start that was told
    real: int | None = None  # s, that the platform set
    minutes: int | None = None
    timeout: float | None = None
    tries: int | None = None
    stopped: bool = False  # the platform wants no real time


class Thing(NamedTuple):
    """One thing to be told: a period, or an alarm's begin or end."""

    cn: str
    every: float  # s; 0 of an alarm
    number: int  # of the period; row of the alarm's item


class Flight:
    """A message, or its parts, that wait for an answer."""

    __slots__ = ("answer", "data", "due", "thing", "tries")

    def __init__(self, data: bytes, answer: str, due: float, thing: Thing | None) -> None:
        self.data, self.answer, self.due, self.thing = data, answer, due, thing
        self.tries = 0


class Asked(NamedTuple):
    """History that a platform asked for."""

    request: Message
    cn: str
    every: float
    periods: deque[int]
    found: list[int]  # how many there were; one number


class Session:
    """One connection."""

    def __init__(
        self,
        settings: Hj212,
        password: str,
        line: Line,
        memo: Memo[Pages],
        wake: asyncio.Event,
        brief: Brief,
    ) -> None:
        self.settings, self.password, self.line, self.memo, self.wake = settings, password, line, memo, wake
        self.feed, self.who, _, self.clock, self.tell = brief
        self.pages = memo.pages
        self.told: dict[str, Spans] = {}
        self.groups: dict[tuple[str, str], list[Factor]] = {}  # ST and MN
        for one in settings.factor:
            self.groups.setdefault((one.st or settings.st, one.mn or settings.mn), []).append(one)
        named = (name for one in settings.factor for name in (one.channel, one.stopped, one.maintenance) if name)
        self.sources = {name.partition("/")[0] for name in named}
        self.dues: Dues[Thing] = Dues(self.feed)
        self.archive = Archive(self.feed, self.dues, self.pages.lives, self.who.boot, self.sources)
        self.alarms: deque[Item] = deque()  # begins and ends that are to be told
        self.flights: dict[str, Flight] = {}  # by QN
        self.partial: dict[Thing, int] = {}  # messages of a thing that are not answered
        self.settled: list[Thing] = []  # answered, and the memo does not have it yet
        self.asked: deque[Asked] = deque()
        self.ending: dict[int, str] = {}  # row of an end that is to be told -> id of its alarm
        self.start_told = False
        self.work: asyncio.Task[None] | None = None  # what asks the store for much; alarms do not wait for it
        self.last_qn = 0
        self.began = self.clock.now().wall
        self.trouble = ""
        self.bad = 0  # messages with a wrong check that were told
        self.keyring: Keyring | None = None  # where TLS is spoken
        self.renewal: asyncio.Task[None] | None = None  # done: there are other certificates, and they are good
        self.leaving = 0.0  # s of the loop, when answers are not waited for any more; 0: it stays

    # -- what is in force -------------------------------------------------------------------------------

    @property
    def real(self) -> float:
        """s between real-time messages; 0: none."""
        if self.pages.stopped:
            return 0.0
        return float(self.settings.real if self.pages.real is None else self.pages.real)

    @property
    def minutes(self) -> float:
        """s of the shortest means."""
        return 60.0 * (self.settings.minutes if self.pages.minutes is None else self.pages.minutes)

    def _was_told(self, cn: str, every: float) -> Spans:
        key = f"{cn}/{every:g}"
        if key not in self.told:
            self.told[key] = Spans(self.pages.told.get(key, []))
        return self.told[key]

    def _wall(self) -> float:
        return self.clock.now().wall

    def _stamp(self, wall: float, form: str = "%Y%m%d%H%M%S") -> str:
        return (datetime.fromtimestamp(wall, UTC) + timedelta(hours=self.settings.zone)).strftime(form)

    def _moment(self, text: str) -> float:
        """s UTC of a time as the platform writes it. Raises `ValueError`."""
        if len(text) != 14 or not text.isdigit():
            raise ValueError(f"{text!r} is no time")
        there = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return there.timestamp() - self.settings.zone * HOUR

    def _say(self, kind: str, text: str) -> None:
        self.tell(Event(kind, self.settings.name, self.clock.now(), text))

    # -- the whole of it ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver for ever. Raises `LineLost`."""
        self.feed.online(True)
        self._say("link-up", f"connected to {self.settings.url} by HJ 212-2017")
        sure = asyncio.get_running_loop().time() + tls.ALERT
        while True:
            while (one := self.line.take()) is not None:
                await self._heed(one)
                sure = 0.0
            await self._settle()
            if self.line.lost:
                raise LineLost(f"uplink {self.settings.name!r} at {self.settings.url}: {self.line.lost}")
            self._renew(sure)
            self._look()
            if self.work is not None and self.work.done():
                work, self.work = self.work, None
                work.result()
            more = False
            if self._wall() >= UNSET and not self.leaving:
                self.archive.live(self.clock.now())
                more = self._take()
                more = await self._fill() or more
            if more:
                await asyncio.sleep(0)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self.wake.wait()
            self.wake.clear()

    def _renew(self, sure: float) -> None:
        """Look at the certificates, once the other side has taken those that it was shown: at `sure`, s of the loop.

        Raises `Renewed` where others are to be shown.
        """
        now = asyncio.get_running_loop().time()
        if self.keyring is None or self.line.transport is None or now < sure:
            return
        if self.renewal is None:
            self.keyring.made(self.line.transport.get_extra_info("ssl_object"))
            watching = self.keyring.watch(self.wake.set)
            self.renewal = asyncio.create_task(watching, name=f"certificates {self.settings.name}")
        elif self.renewal.done():
            self.renewal.result()
            self.leaving = self.leaving or now + tls.PARTING
            if not self.flights or now > self.leaving:
                raise Renewed(f"uplink {self.settings.name!r} at {self.settings.url}: other certificates")

    async def end(self) -> None:
        """Nothing goes on."""
        if self.renewal is not None:
            self.renewal.cancel()
        if self.work is not None:
            self.work.cancel()
            await asyncio.gather(self.work, return_exceptions=True)

    def _look(self) -> None:
        """Answers that are late. Raises `LineLost` where there is no hope."""
        now = self.clock.now().mono
        timeout = self.settings.timeout if self.pages.timeout is None else self.pages.timeout
        tries = self.settings.tries if self.pages.tries is None else self.pages.tries
        for qn, flight in self.flights.items():
            if now < flight.due:
                continue
            if flight.tries >= tries:
                times = f"sent {flight.tries + 1} times"
                raise LineLost(f"uplink {self.settings.name!r} at {self.settings.url}: no answer to {qn}, {times}")
            flight.tries += 1
            flight.due = now + timeout
            self.line.write(flight.data)
        if self.line.stream.bad and not self.bad:
            self._say("bad-messages", f"{self.settings.url} sends messages with a wrong check; they are not heeded")
        self.bad = self.line.stream.bad

    # -- taking ---------------------------------------------------------------------------------------

    def _take(self) -> bool:
        """Take what there is room for. Whether there may be more."""
        lanes: tuple[Lane, ...] = ("event", "backfill")
        for least in lanes:
            for _ in range(TURN):
                if least == "backfill" and self.dues.waiting >= ROOM:
                    return False
                one = self.feed.take(least)
                if one is None:
                    break
                if isinstance(one.body, Alarm):
                    self._take_alarm(one, one.body)
                elif isinstance(one.body, Batch):
                    self._take_batch(one, one.body)
                else:
                    self.feed.done(one)  # no words for it
            else:
                return True
        return False

    def _take_batch(self, one: Item, batch: Batch) -> None:
        if batch.source not in self.sources or not len(batch.wall):
            self.feed.done(one)
            return
        self.archive.heard(one.boot, batch)
        things = [
            Thing("2051", self.minutes, k)
            for k in touched(batch, self.minutes)
            if k not in self._was_told("2051", self.minutes)
        ]
        if self.real:
            things += [
                Thing("2011", self.real, k)
                for k in touched(batch, self.real)
                if k not in self._was_told("2011", self.real)
                and k >= self._newest("2011", self.real)
                and (k + 1) * self.real > self.began
            ]
        self.dues.add(one, things)

    def _newest(self, cn: str, every: float) -> int:
        """The number of the last period that can be told. Real time waits for no store."""
        return math.floor((self._wall() - (0.0 if cn == "2011" else GRACE)) / every) - 1

    def _row(self, alarm: Alarm) -> Row | None:
        for row in self.settings.alarm:
            if fnmatchcase(alarm.rule, row.rule) and fnmatchcase(alarm.channel, row.channel):
                return row
        return Row(rule="*")

    def _about(self, alarm: Alarm) -> list[Factor]:
        return [one for one in self.settings.factor if alarm.channel in (one.channel, one.source)]

    def _take_alarm(self, one: Item, alarm: Alarm) -> None:
        row = self._row(alarm)
        ends = alarm.event in ENDS
        over = ends and (
            alarm.id in self.pages.over or alarm.id in self.ending.values()
        )  # a begin may be answered last
        told = alarm.drill or row is None or not row.tell or not self._about(alarm) or over
        if told or not (ends or alarm.event == "raised"):
            self.feed.done(one)
            return
        if ends:
            self.ending[one.row] = alarm.id
        self.dues.add(one, [Thing("2011", 0.0, one.row)])
        self.alarms.append(one)

    # -- sending --------------------------------------------------------------------------------------

    async def _fill(self) -> bool:
        """Send the most urgent thing that is due, where there is room. Whether there may be more."""
        more = URGENT if self.alarms and self.settings.window > 1 else 0
        if len(self.flights) >= self.settings.window + more or self.line.lost:
            return False
        self.archive.forget()
        if self.alarms:
            await self._tell_alarm(self.alarms.popleft())
            return True
        if self.settings.started and self.pages.boot != self.who.boot and not self.start_told:
            self._tell_start()
            return True
        thing = self._due()
        if thing is not None:
            await self._tell_period(thing)
            return True
        return self._start_work()

    def _due(self) -> Thing | None:
        """The period that is to be told next: what is news first, then the oldest."""
        news = []
        kinds = [("2011", self.real), ("2051", self.minutes)]
        for cn, every in kinds:
            k = self._newest(cn, every) if every else 0
            fresh = every and (k + 1) * every > self.began and k not in self._was_told(cn, every)
            if fresh and Thing(cn, every, k) not in self.partial:
                news.append(Thing(cn, every, k))
        if news:
            return news[0]
        for thing in [one for one in self.dues.due if one.cn == "2011" and one.every and one not in self.partial]:
            if thing.every != self.real or thing.number < self._newest("2011", self.real):
                self.dues.told(thing)  # it is no real time any more; minutes tell of it
        now = self._wall()
        over = [one for one in self.dues.due if one.every and one not in self.partial and _is_over(one, now)]
        return min(over, key=lambda one: (one.number * one.every, one.cn), default=None)

    def _start_work(self) -> bool:
        """Begin what asks the store for much, where that is due. Whether it was."""
        if self.work is not None:
            return False
        for cn, every, wanted in (("2061", HOUR, self.settings.hours), ("2031", DAY, self.settings.days)):
            if wanted and (found := self._long(cn, every)) is not None:
                self.work = asyncio.create_task(self._tell_period(found), name=f"{cn} {self.settings.name}")
                return True
        if self.asked:
            self.work = asyncio.create_task(self._tell_asked(), name=f"history {self.settings.name}")
            return True
        return False

    def _long(self, cn: str, every: float) -> Thing | None:
        """An hour or a day that is over and was not told. The first start begins with its own."""
        told, zone = self._was_told(cn, every), self.settings.zone * HOUR
        newest = math.floor((self._wall() - GRACE + zone) / every) - 1
        if not told.spans:
            told.add(math.floor((self.began + zone) / every) - 1)
            self.pages.told[f"{cn}/{every:g}"] = told.spans
        oldest = max(told.spans[0][0], newest - math.floor(BACK[cn] / every))
        for k in range(oldest, newest + 1):
            if k not in told and Thing(cn, every, k) not in self.partial:
                return Thing(cn, every, k)
        return None

    def _begin(self, thing: Thing) -> float:
        """s UTC when a period begins; hours and days are those of the platform's zone."""
        shift = self.settings.zone * HOUR if thing.cn in BACK else 0.0
        return thing.number * thing.every - shift

    def _qn(self) -> str:
        """A time in ms that no message of this uplink had before."""
        self.last_qn = max(self.last_qn + 1, math.floor(self._wall() * 1000))
        seconds, ms = divmod(self.last_qn, 1000)
        return f"{self._stamp(seconds)}{ms:03d}"

    def _fly(self, message: Message, head: str, groups: list[str], thing: Thing | None, answer: str = "9014") -> None:
        """A message that is answered."""
        qn = self._qn()
        message = message._replace(qn=qn, pw=self.password, flag=EDITION | ANSWER)
        data = b"".join(map(pack, split(message, head, groups)))
        timeout = self.settings.timeout if self.pages.timeout is None else self.pages.timeout
        self.flights[qn] = Flight(data, answer, self.clock.now().mono + timeout, thing)
        if thing is not None:
            self.partial[thing] = self.partial.get(thing, 0) + 1
        self.line.write(data)

    async def _tell_period(self, thing: Thing) -> None:
        begin = self._begin(thing)
        sent = False
        for (st, mn), factors in self.groups.items():
            if thing.cn == "2011":
                groups = [self._now(one, begin + thing.every) for one in factors]
                at = begin + thing.every
            else:
                seen = begin + thing.every > self.began  # and a factor that said nothing is told as such
                groups, at = await self._means(factors, begin, begin + thing.every, seen), begin
            if any(groups):
                self._fly(Message(thing.cn, st, mn), f"DataTime={self._stamp(at)}", list(filter(None, groups)), thing)
                sent = True
        if not sent:  # nobody knows anything of that time
            self._told(thing)

    def _told(self, thing: Thing) -> None:
        """The platform has it; what a restart must know, `_settle` has the disk know first."""
        if thing.every:
            told = self._was_told(thing.cn, thing.every)
            told.add(thing.number)
            if thing.cn == "2011":  # a restart need not know: it tells no old real time
                self.dues.told(thing)
                return
            self.pages.told[f"{thing.cn}/{thing.every:g}"] = told.spans
        elif (id := self.ending.pop(thing.number, None)) is not None:
            self.pages.over = [*self.pages.over, id][-KNOWN:]
        self.settled.append(thing)

    async def _settle(self) -> None:
        """Deliver what waited for answers that came, however many, by one writing of the memo."""
        if not self.settled:
            return
        things, self.settled = self.settled, []
        await self._kept()
        for thing in things:
            self.dues.told(thing)

    async def _kept(self) -> None:
        await self.memo.keep()
        if self.memo.trouble and not self.trouble:
            self._say("notebook-lost", f"what was told cannot be noted: {self.memo.trouble}")
        self.trouble = self.memo.trouble

    def _tell_start(self) -> None:
        now = self.clock.now()
        since = now.wall - (now.mono - self.feed.notes["since"])  # the uplink was begun with the agent
        head = f"DataTime={self._stamp(self._wall())}"
        self.start_told = True
        for st, mn in self.groups:
            self._fly(Message("2081", st, mn), head, [f"RestartTime={self._stamp(since)}"], None, "9013")

    async def _tell_alarm(self, one: Item) -> None:
        alarm = one.body
        assert isinstance(alarm, Alarm)
        row, at = self._row(alarm), alarm.at.wall
        raised = alarm.event == "raised"
        thing = Thing("2011", 0.0, one.row)
        for (st, mn), factors in self.groups.items():
            groups = []
            for factor in factors:
                if alarm.channel not in (factor.channel, factor.source):
                    continue
                past = series(await self.archive.of(factor.source, at, at + 1.0), factor.key)
                value = value_at(past, at + 0.001)
                same = alarm.channel == factor.channel and alarm.unit == self._unit(
                    factor
                )  # else it is a rate, or an age
                if same and alarm.value is not None and alarm.event in DECIDED:
                    # The store gathers for a second: what it has may be older than what decided.
                    known = value.quality if raised and value.quality <= Quality.OVER_RANGE else Quality.GOOD
                    value = Value(alarm.value, int(known), at)
                flag = (row.flag if raised and row is not None else "") or await self._flag_at(factor, value, at)
                groups.append(self._rtd(factor, value, flag))
            if groups:
                self._fly(Message("2011", st, mn), f"DataTime={self._stamp(at)}", groups, thing)

    # -- values ---------------------------------------------------------------------------------------

    def _unit(self, factor: Factor) -> str:
        layout = self.who.layouts.get(factor.source)
        return layout.unit[layout.key.index(factor.key)] if layout is not None and factor.key in layout.key else ""

    def _rtd(self, factor: Factor, value: Value, flag: str) -> str:
        known = [f"{factor.code}-Rtd={value.value:.{factor.digits}f}"] if math.isfinite(value.value) else []
        return ",".join([*known, f"{factor.code}-Flag={flag}"])

    def _now(self, factor: Factor, end: float) -> str:
        """Real time of one factor."""
        value = self._newest_of(factor.channel)
        flag: str = FLAGS[value.quality]
        if factor.stopped and self._newest_of(factor.stopped).value >= 0.5:
            flag = "F"
        elif factor.maintenance and self._newest_of(factor.maintenance).value >= 0.5:
            flag = "M"
        elif factor.manual and flag == "N":
            flag = "S"
        return self._rtd(factor, value, flag)

    def _newest_of(self, channel: str) -> Value:
        """What a channel says now, as old as it allows."""
        source, _, key = channel.partition("/")
        latest, now = self.feed.latest().get(source), self.clock.now()
        if latest is None or key not in latest.frame.layout.key:
            return Value(math.nan, int(Quality.OFFLINE), math.nan)
        i = latest.frame.layout.key.index(key)
        age = now.mono - latest.seen + float(latest.frame.age[i])
        patience = max(float(latest.frame.layout.stale[i]), 5.0)
        quality = int(latest.frame.quality[i])
        if age > patience:
            quality = int(Quality.OFFLINE if age > patience * OFFLINE_AFTER else max(quality, int(BLIND)))
        return Value(math.nan if quality >= BLIND else float(latest.frame.value[i]), quality, now.wall - age)

    async def _flag_at(self, factor: Factor, value: Value, at: float) -> str:
        """The flag of a moment."""
        for channel, flag in ((factor.stopped, "F"), (factor.maintenance, "M")):
            source, _, key = channel.partition("/")
            if channel and value_at(series(await self.archive.of(source, at, at + 1.0), key), at).value >= 0.5:
                return flag
        flag = FLAGS[value.quality]
        return "S" if factor.manual and flag == "N" else flag

    async def _means(self, factors: list[Factor], begin: float, end: float, silence: bool = False) -> list[str]:
        """Lowest, mean and highest of each factor; of what nobody knows anything of nothing, or with `silence` that."""
        wanted: dict[str, set[str]] = {}
        for channel in (name for one in factors for name in (one.channel, one.stopped, one.maintenance) if name):
            source, _, key = channel.partition("/")
            wanted.setdefault(source, set()).add(key)
        known: dict[str, Account] = {}
        for source, keys in wanted.items():
            accounts = await self.archive.account(source, sorted(keys), begin, end)
            known |= {f"{source}/{key}": one for key, one in accounts.items()}
        groups = []
        for factor in factors:
            one = known[factor.channel]
            if not one.held:
                groups += [f"{factor.code}-Flag=B"] if silence else []
                continue
            figures = one.fit if one.fit.seconds else one.all  # all is of calibration, or wrong: the flag says so
            named = {"Min": figures.low, "Avg": figures.mean, "Max": figures.high} if figures.seconds else {}
            words = [f"{factor.code}-{name}={value:.{factor.digits}f}" for name, value in named.items()]
            groups.append(",".join([*words, f"{factor.code}-Flag={_flag_over(factor, known, end - begin)}"]))
        return groups

    # -- what the platform says -------------------------------------------------------------------------

    async def _heed(self, one: Message) -> None:
        if one.cn in ("9013", "9014", "9011", "9012"):
            await self._answered(one)
            return
        deed = self.DEEDS.get(one.cn)
        code = self._fault(one) or (READY if deed is not None else BAD_CN)
        if one.cn == "2012":  # a notice: it has one answer
            if code == READY and "real-time" in self.settings.allow:
                self.pages.stopped = True
                await self._kept()
                self._say("real-time", "the platform wants no real time any more")
                self._answer(one, "9013", "")
            else:
                self._say("command-refused", "the platform asked for the end of real time, which is refused")
            return
        why = self.REFUSED.get(one.cn, "")
        if code == READY and (why or self._forbids(one.cn)):
            code = REJECTED
            text = why or "the setting `allow` does not name it"
            self._say("command-refused", f"the platform asked for {one.cn}, which is refused: {text}")
        if one.wants_answer:
            self._answer(one, "9011", f"QnRtn={code}")
        if code != READY or deed is None:
            return
        try:
            result = await deed(self, one)
        except ValueError as fault:
            self._say("command-refused", f"the platform asked for {one.cn}: {fault}")
            result = BAD_CONDITION
        if result is not None:
            self._answer(one, "9012", f"ExeRtn={result}")

    async def _answered(self, one: Message) -> None:
        flight = self.flights.get(one.qn)
        if flight is None or flight.answer != one.cn:
            return
        del self.flights[one.qn]
        thing = flight.thing
        if thing is None:
            self.pages.boot = self.who.boot
            await self._kept()
            return
        self.partial[thing] -= 1
        if not self.partial[thing]:
            del self.partial[thing]
            self._told(thing)

    def _fault(self, one: Message) -> int:
        """What is wrong with a request, as QnRtn; 0: nothing."""
        if one.pw != self.password:
            return BAD_PW
        systems = {st for st, mn in self.groups if mn == one.mn}
        if not systems:
            return BAD_MN
        if one.st not in systems | {"91"}:
            return BAD_ST
        return 0 if len(one.qn) == 17 and one.qn.isdigit() else BAD_QN

    FOR = {"1062": "interval", "1064": "interval", "1000": "timeout", "2011": "real-time"}  # noqa: RUF012 (a table)
    REFUSED = {  # noqa: RUF012 (a table)
        "1012": "the clock of this machine is kept by NTP; a platform that sets it would falsify alarms",
        "1072": "the password is kept where people put it, and is not written by the agent",
    }

    def _forbids(self, cn: str) -> bool:
        return cn in self.FOR and self.FOR[cn] not in self.settings.allow

    def _answer(self, request: Message, cn: str, cp: str) -> None:
        self.line.write(pack(Message(cn, "91", request.mn, request.qn, self.password, EDITION, cp)))

    def _upload(self, request: Message, cn: str, cp: str) -> None:
        """What was asked for: under the number of the request, and nobody answers it."""
        self.line.write(pack(Message(cn, request.st, request.mn, request.qn, self.password, EDITION, cp)))

    async def _set_patience(self, one: Message) -> int:
        """1000"""
        fields = one.fields()
        timeout, tries = _number(fields, "OverTime", 1, 60), _number(fields, "ReCount", 0, 10)
        self.pages.timeout, self.pages.tries = float(timeout), tries
        await self._kept()
        self._say("setting", f"the platform set a time-out of {timeout} s and {tries} repetitions")
        return DONE

    async def _tell_time(self, one: Message) -> int:
        """1011"""
        which = one.fields().get("PolId", "")
        self._upload(one, "1011", (f"PolId={which}," if which else "") + f"SystemTime={self._stamp(self._wall())}")
        return DONE

    async def _refused(self, one: Message) -> int:
        """Never reached: these are refused before."""
        return FAILED

    async def _tell_interval(self, one: Message) -> int:
        """1061"""
        every = self.settings.real if self.pages.real is None else self.pages.real
        self._upload(one, "1061", f"RtdInterval={every}")
        return DONE

    async def _set_interval(self, one: Message) -> int:
        """1062"""
        self.pages.real = _number(one.fields(), "RtdInterval", 1, 3600)
        await self._kept()
        self._say("setting", f"the platform wants real time every {self.pages.real} s")
        return DONE

    async def _tell_minutes(self, one: Message) -> int:
        """1063"""
        self._upload(one, "1063", f"MinInterval={self.minutes / 60:g}")
        return DONE

    async def _set_minutes(self, one: Message) -> int:
        """1064"""
        minutes = _number(one.fields(), "MinInterval", 1, 60)
        if 60 % minutes:
            raise ValueError(f"MinInterval={minutes} does not divide an hour")
        self.pages.minutes = minutes
        await self._kept()
        self._say("setting", f"the platform wants means of {minutes} min")
        return DONE

    async def _start_real(self, one: Message) -> int:
        """2011"""
        self.pages.stopped = False
        await self._kept()
        self._say("real-time", "the platform wants real time")
        for (st, mn), factors in self.groups.items():
            if mn == one.mn:
                groups = [self._now(factor, self._wall()) for factor in factors]
                for part in split(
                    Message("2011", st, mn, one.qn, self.password), f"DataTime={self._stamp(self._wall())}", groups
                ):
                    self.line.write(pack(part))
        return DONE

    async def _ask(self, one: Message) -> int | None:
        """2031, 2051, 2061"""
        every = {"2051": self.minutes, "2061": HOUR, "2031": DAY}[one.cn]
        fields = one.fields()
        begin, end = self._moment(fields.get("BeginTime", "")), self._moment(fields.get("EndTime", ""))
        if end < begin or end - begin > LONGEST:
            raise ValueError(
                f"from {fields['BeginTime']} to {fields['EndTime']} is more than 31 days, or less than none"
            )
        shift = self.settings.zone * HOUR if one.cn in BACK else 0.0
        first, last = math.ceil((begin + shift) / every), math.floor((end + shift) / every)
        last = min(last, math.floor((self._wall() - GRACE + shift) / every) - 1)
        if len(self.asked) >= ASKING:
            return FAILED
        self.asked.append(Asked(one, one.cn, every, deque(range(first, last + 1)), [0]))
        return None

    async def _tell_asked(self) -> None:
        """One period of the history that a platform asked for; at its end, that it is the end."""
        asked = self.asked[0]
        if not asked.periods:
            self.asked.popleft()
            self._answer(asked.request, "9012", f"ExeRtn={DONE if asked.found[0] else NO_DATA}")
            return
        thing = Thing(asked.cn, asked.every, asked.periods.popleft())
        begin = self._begin(thing)
        for (st, mn), factors in self.groups.items():
            if mn != asked.request.mn or asked.request.st not in (st, "91"):
                continue
            if groups := await self._means(factors, begin, begin + thing.every):
                message = Message(asked.cn, st, mn, asked.request.qn, self.password)
                for part in split(message, f"DataTime={self._stamp(begin)}", groups):
                    self.line.write(pack(part))
                asked.found[0] += 1

    DEEDS: dict[str, Callable[[Session, Message], Awaitable[int | None]]] = {  # noqa: RUF012 (never written to)
        "1000": _set_patience,
        "1011": _tell_time,
        "1012": _refused,
        "1061": _tell_interval,
        "1062": _set_interval,
        "1063": _tell_minutes,
        "1064": _set_minutes,
        "1072": _refused,
        "2011": _start_real,
        "2012": _refused,
        "2031": _ask,
        "2051": _ask,
        "2061": _ask,
    }


def _flag_over(factor: Factor, known: Mapping[str, Account], seconds: float) -> str:
    """The flag of a period: normal where enough of it was, else what was wrong for longest."""
    for channel, flag in ((factor.stopped, "F"), (factor.maintenance, "M")):
        if channel and known[channel].fit.seconds and known[channel].fit.mean >= 0.5:
            return flag
    lasted: dict[str, float] = {}
    for quality, held in known[factor.channel].held.items():
        lasted[FLAGS[quality]] = lasted.get(FLAGS[quality], 0.0) + held
    lasted["B"] = lasted.get("B", 0.0) + max(0.0, seconds - sum(lasted.values()))
    if lasted.get("N", 0.0) >= ENOUGH * seconds:
        return "S" if factor.manual else "N"
    return max((flag for flag in lasted if flag != "N"), key=lambda flag: lasted[flag])


def _is_over(thing: Thing, now: float) -> bool:
    """Whether a period is complete; one that lies far ahead is of a clock that was wrong, and will not grow."""
    return (thing.number + 1) * thing.every + GRACE <= now or thing.number * thing.every > now + thing.every


def _number(fields: dict[str, str], name: str, low: int, high: int) -> int:
    """Raises `ValueError` in words."""
    text = fields.get(name, "")
    if not text.isdigit() or len(text) > 6 or not low <= int(text) <= high:
        raise ValueError(f"{name}={text} is not from {low} to {high}")
    return int(text)
