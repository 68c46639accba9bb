"""A JT/T 808 terminal (2011, 2013, 2019) with the alarms and evidence of T/JSATL12: for coaches and dangerous goods.

    connect -> 0x0100 once, the code is kept -> 0x0102 on each connection -> then this, each answered by 0x8001:

    0x0200   a location that is due, or an alarm that begins or ends, at once
    0x0704   kind 1: what waited in a blind area, and what may have been sent before: alarms first, the newest of them
             foremost, then locations, the oldest first
    0x0002   when nothing else was said for a while

The store is the blind-area store. While the link is down telemetry becomes backlog there; read back it goes through the
same rules of time and distance as live telemetry (`jt808_track.py`), so that nothing is stored twice and a kill at any
moment loses nothing. A batch is delivered when all reports that were due within it are answered, in the order of the
batches. This language has no mark for a repetition but two: a message that is not answered is sent again with the same
serial, and what a new connection sends again comes as kind 1.

What is not answered in time is sent again, after T, 2T, 6T, ... (T(n+1) = T(n) * (n+1)); after so many times as a
parameter says the link counts as lost. Events have no words here. What a platform may ask of this terminal stands in
`Session.DEEDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta, Struct, structs

from .. import secret
from ..core.alarm import Alarm
from ..core.errors import BadReply, LineLost, Refused
from ..core.ports import Batch, Brief, Event, Feed, Item
from ..tls import PARTING, Keyring, Renewed, Secured, keyring_of
from . import jt808_words as words
from . import tcp
from .jt808_alarms import BEGINS, ENDS, Occasion, Row, bits, flag_of, item, number_of, number_of_type, row_of
from .jt808_files import Terms, Uploads
from .jt808_notebook import ORDERS, Known, Notebook, Order
from .jt808_parameters import NUMBERS, Values, described
from .jt808_track import Channels, Driven, Report, Track, alarm_bits, follow, location, passing, recalled, rules
from .jt808_wire import LONGEST, Joiner, Layout, Packet, Stream, pack, split
from .jt808_words import BAD, DIALECTS, FAILED, HANDLED, OK, ONCE, UNSUPPORTED, Edition, Form, Location, Mark, encode

BLIND_AREA = 1  # kind of 0x0704
TICK = 0.5  # s between looks at deadlines
TURN = 64  # items taken before the loop serves others
NEWS = 10.0  # s; an alarm that is older when handed out is no news
HISTORY = 3  # messages of backlog in flight: 3 kB, 0.4 s at 64 kbit/s; an alarm waits for no more
LIVE = 64  # live locations in flight; then the platform is too slow, and they become backlog
ALARMS = 32  # messages of alarms in flight
ROOM = LONGEST - 3  # bytes of locations in one 0x0704
LOOKUP = 1.0  # s that the store may take to say where an alarm was
SPAN = 130.0  # s before an alarm in which what was said is looked for: the store repeats each 60 s
AGAIN, LONGEST_PAUSE = 1.0, 30.0  # s before a message that failed is sent again; doubles
TRIES = 3  # refusals as bad or not supported, after which it is set aside
INBOX = 1000  # packets that wait; then the platform is not read from
EDGES = 4096  # edges of alarms under way whose words are remembered
SAVE = 60.0  # s between notes of how long somebody has driven
ASK_PARTS, ASK_TIMES = 5.0, 3  # s without a part of a message, after which it is asked for; so often
COMMANDS = {1: "update", 2: "connect", 3: "off", 4: "reset", 5: "factory", 6: "silence", 7: "silence-all"}
REGISTERED = {
    1: "the platform has this vehicle already, with another terminal",
    2: "the platform does not know this vehicle; check plate and colour of uplink {name!r}",
    3: "the platform has this terminal already, in another vehicle",
    4: "the platform does not know this terminal; check terminal, maker and model of uplink {name!r}",
}
SCHEMES = {"tcp": 6808, "tls": 6808}
Command = Literal["reset", "factory"]


class Jt808(Secured, tag="jt808", frozen=True, kw_only=True):
    """One platform."""

    url: str  # tcp://host:port or tls://host:port
    phone: Annotated[str, Meta(pattern=r"^\d{1,20}$")]  # of the SIM, or what the platform has in its place
    terminal: str  # id, 7 characters; up to 30 in 2019
    version: Literal["2011", "2013", "2019"] = "2019"
    dialect: Literal["jiangsu", "hunan", "heilongjiang", "sichuan", "guangdong"] = "jiangsu"  # of T/JSATL12
    maker: str = ""  # 5 characters, 11 in 2019
    model: str = ""  # 20 characters, 30 in 2019
    plate: str = ""  # or the VIN, where colour is 0
    colour: Annotated[int, Meta(ge=0, le=255)] = 0  # of the plate, JT/T 415: 1 blue, 2 yellow, 3 black, 4 white
    province: Annotated[int, Meta(ge=0, le=65535)] = 0  # GB/T 2260, the first two digits
    city: Annotated[int, Meta(ge=0, le=65535)] = 0  # the four that follow
    imei: Annotated[str, Meta(pattern=r"^\d{0,15}$")] = ""  # 2019
    iccid: Annotated[str, Meta(pattern=r"^\d{0,20}$")] = ""
    code: str = ""  # where a known code is kept, env:NAME, file:/path, credential:NAME; empty: it registers
    channels: Channels = Channels()  # which say where and how the vehicle is
    alarm: tuple[Row, ...] = ()  # what alarms are called there; the first that fits
    parameters: dict[str, int] = {}  # noqa: RUF012 defaults of the site, by the names of `jt808_parameters.NUMBERS`
    control: tuple[Command, ...] = ()  # commands of 0x8105 that are obeyed
    upload: bool = True  # send evidence that the platform asks for
    upload_to: tuple[str, ...] = ()  # hosts that it may be sent to, wildcards allowed; empty: only that of url
    upload_rate: Annotated[float, Meta(gt=0)] = 32.0  # kB/s
    home: str = ""  # folder of the state; set by the configuration
    shelf: str = ""  # folder of the evidence; set by the configuration

    def __post_init__(self) -> None:
        super().__post_init__()
        tcp.parted(self.url, SCHEMES)
        if wrong := secret.fault(self.code, "code", "code"):
            raise ValueError(wrong)
        self.complain("tls")
        digits = 20 if self.version == "2019" else 12
        if len(self.phone) > digits:
            raise ValueError(f"phone has {digits} digits at most in {self.version}")
        for row in self.alarm:
            if row.item:
                number_of_type(row, self.dialect)
        known = {one.name: one for one in NUMBERS.values()}
        for name, value in self.parameters.items():
            if name not in known:
                raise ValueError(f"no parameter is called {name!r}; known are {', '.join(known)}")
            if not known[name].low <= value <= known[name].high:
                raise ValueError(f"parameter {name} is from {known[name].low} to {known[name].high}")

    @property
    def secured(self) -> bool:
        return tcp.parted(self.url, SCHEMES).scheme == "tls"

    @property
    def form(self) -> Form:
        """How bodies are laid out."""
        edition: dict[str, Edition] = {"2011": 2011, "2013": 2013, "2019": 2019}
        return Form(edition[self.version], DIALECTS[self.dialect].mark)

    @property
    def layout(self) -> Layout:
        return 2019 if self.version == "2019" else 2013

    def at_home(self, home: str, shelf: str) -> Jt808:
        return structs.replace(self, home=home, shelf=shelf)

    def named(self) -> dict[str, tuple[str, ...]]:
        """What each channel that is wanted says."""
        wanted = self.channels.named()
        for row in self.alarm:
            wanted |= row.channels()
        names: dict[str, tuple[str, ...]] = {}
        for name, channel in wanted.items():
            names[channel] = (*names.get(channel, ()), name)
        return names

    def may_send_to(self, host: str) -> bool:
        """Whether evidence, which may show people, may go there."""
        return any(
            fnmatchcase(host, allowed) for allowed in self.upload_to or (tcp.parted(self.url, SCHEMES).hostname or "",)
        )

    def faults(self, channels: Collection[str]) -> list[str]:
        """Channels that it names and the site has not; of GNSS the place is enough."""
        places = {f"{self.channels.gnss}/{name}" for name in ("latitude", "longitude")} if self.channels.gnss else set()
        optional = {f"{self.channels.gnss}/{name}" for name in ("altitude", "speed", "course", "satellites", "fix")}
        optional.add(f"{self.channels.gnss}/systems")
        wanted = (set(self.named()) - optional) | places
        return [f"no channel is called `{name}`; see `channels` and `alarm`" for name in sorted(wanted - set(channels))]

    async def send(self, brief: Brief) -> None:
        """Connect, register where it must, and deliver until cancelled. Raises `LineLost` or `Refused`."""
        notebook = Notebook(self.home, self.name)
        await notebook.load()
        if notebook.trouble:
            text = f"uplink {self.name}: {notebook.trouble}"
            brief.tell(Event("notebook-lost", self.name, brief.clock.now(), text))
        keyring = keyring_of(self, self._place(), brief) if self.secured else None
        try:
            while True:
                try:
                    await self._serve(brief, notebook, keyring)
                except Renewed:
                    continue  # at once
        finally:
            notebook.close()

    async def _serve(self, brief: Brief, notebook: Notebook, keyring: Keyring | None) -> None:
        """One connection. Raises `Renewed` where the next one is to follow at once."""
        wake = asyncio.Event()
        line = Line(wake)
        await self._connect(line, keyring)
        session = Session(self, line, wake, notebook, brief)
        session.keyring = keyring
        brief.feed.watch(wake.set)
        reason = "stopped"
        try:
            await session.run()
        except Renewed as fault:
            reason = str(fault)
            raise
        except (LineLost, Refused) as fault:
            reason = str(fault)
            session.accuse(reason)
            raise
        finally:
            if session.renewal is not None:
                session.renewal.cancel()
            session.leave()
            brief.feed.watch(_nothing)
            brief.feed.online(False)
            line.close()
            if session.up:
                brief.tell(Event("link-down", self.name, brief.clock.now(), reason))

    def _place(self) -> tuple[str, int]:
        """Host and port."""
        return tcp.endpoint(self.url, SCHEMES)

    async def _connect(self, line: Line, keyring: Keyring | None) -> None:
        await tcp.connect(line, self._place(), keyring, f"uplink {self.name!r} at {self.url}")


def _nothing() -> None:
    pass


class Line(asyncio.Protocol):
    """One connection: what came over it, and why it is gone."""

    def __init__(self, wake: asyncio.Event) -> None:
        self.wake = wake
        self.stream = Stream()
        self.inbox: deque[Packet] = deque()
        self.lost = ""
        self.closed = False  # by the other side, perhaps because of what was sent
        self.transport: asyncio.Transport | None = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.inbox.extend(self.stream.feed(data))
        if len(self.inbox) > INBOX and self.transport is not None:
            self.transport.pause_reading()
            self._paused = True
        self.wake.set()

    def connection_lost(self, exc: Exception | None) -> None:
        number = exc.errno if isinstance(exc, OSError) else None
        self.closed = exc is None or number in (errno.ECONNRESET, errno.EPIPE)
        self.lost = self.lost or (str(exc) if exc is not None else "the platform closed the connection")
        self.wake.set()

    def take(self) -> Iterator[Packet]:
        """What came, one by one."""
        while self.inbox:
            yield self.inbox.popleft()
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.lost:
            self.transport.write(data)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


# -- what is under way --------------------------------------------------------------------------------


BACK = 5.0  # s by which batches of the backlog are out of order at most; beyond, it is another life


class Entry:
    """A batch of telemetry that was taken."""

    __slots__ = ("before", "item", "left", "refused")

    def __init__(self, item: Item, before: Track) -> None:
        self.item, self.before = item, before  # the track as it was before this batch
        self.left = 0  # reports of it that are not answered
        self.refused = ""  # why the platform will never take it


class Ledger:
    """Batches in the order in which they were taken; each is delivered once all before it are."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._entries: deque[Entry] = deque()

    def add(self, item: Item, before: Track) -> Entry:
        entry = Entry(item, before)
        self._entries.append(entry)
        return entry

    def settle(self) -> None:
        while self._entries and not self._entries[0].left:
            entry = self._entries.popleft()
            if entry.refused:
                self._feed.refused(entry.item, entry.refused)
            else:
                self._feed.done(entry.item)

    def undone(self) -> Track | None:
        """The track before the oldest that is not delivered."""
        return self._entries[0].before if self._entries else None


class Part:
    """One location under way, and what is delivered with it."""

    __slots__ = ("data", "entry", "item", "location", "refusals")

    def __init__(self, location: Location, form: Form, item: Item | None = None, entry: Entry | None = None) -> None:
        self.location = location
        self.data = encode(location, form)
        self.item = item  # an alarm
        self.entry = entry  # a batch
        self.refusals = 0  # of it alone
        if entry is not None:
            entry.left += 1

    @property
    def source(self) -> Item | None:
        """What it was made of."""
        return self.item or (self.entry.item if self.entry is not None else None)

    def settle(self, feed: Feed, refused: str = "") -> None:
        """The platform has it, or never will."""
        if self.entry is not None:
            self.entry.left -= 1
            self.entry.refused = self.entry.refused or refused
        elif self.item is not None and refused:
            feed.refused(self.item, refused)
        elif self.item is not None:
            feed.done(self.item)


Kind = Literal["talk", "alarm", "live", "late"]


class Flight:
    """One message that waits for its answer."""

    __slots__ = ("bits", "data", "due", "id", "kind", "parts", "serial", "tries", "wait")

    def __init__(
        self, kind: Kind, id: int, serial: int, data: bytes, parts: list[Part], wait: float, now: float
    ) -> None:
        self.kind, self.id, self.serial, self.data, self.parts = kind, id, serial, data, parts
        self.bits = 0  # of alarms, that an answer may end
        self.tries = 0  # it was sent again
        self.wait = wait  # s for the answer
        self.due = now + wait


class Later(NamedTuple):
    """What the platform did not take, until it is sent again."""

    due: float  # s of the loop
    part: Part
    kind: Kind


class Session:
    """One connection from its registration to its end."""

    def __init__(self, settings: Jt808, line: Line, wake: asyncio.Event, notebook: Notebook, brief: Brief) -> None:
        self.settings, self.line, self.wake, self.notebook = settings, line, wake, notebook
        self.feed, self.who, self.open_alarms, self.clock, self.tell = brief
        self.form, self.names = settings.form, settings.named()
        self.sources = {channel.partition("/")[0] for channel in self.names}
        self.phone = settings.phone.zfill(20 if settings.layout == 2019 else 12)
        self.loop = asyncio.get_running_loop()
        self.known = False  # the platform took the authentication
        self.up = False
        self.values = Values(
            {int(id, 16): bytes.fromhex(value) for id, value in notebook.pages.parameters.items()}, settings.parameters
        )
        self.followed = (0.0, 0.0)  # s between reports that the platform asked for, until when, monotonic
        self.rules = rules(self.values)
        self.serial = 0
        self.flights: dict[int, Flight] = {}
        self.said = self.loop.time()  # when something was last sent
        self.heard: deque[tuple[int, int, bytes]] = deque(maxlen=64)  # commands: id, serial, body
        self.answers: dict[tuple[int, int, bytes], int] = {}  # what they were answered
        self.split: deque[list[Packet]] = deque(maxlen=4)  # messages in parts, lately sent
        self.joiner = Joiner()
        self.verdict: int | None = None  # of registration or authentication
        self.track = self._start_track()
        self.past: Track = self.feed.notes.get("past", Track())  # the same of the backlog
        self.live, self.history = Ledger(self.feed), Ledger(self.feed)
        self.gathered: list[Part] = []  # reports of the backlog that wait for their message
        self.size = 0  # bytes of these
        self.edges: dict[int, Location] = self.feed.notes.setdefault("edges", {})  # of alarms under way, by row
        self.late: list[Item] = []  # alarms that are no news, or of which the store knows better where they were
        self.fresh = False  # a live place came on this connection
        self.since = self.loop.time()  # when it came up
        self.later: list[Later] = []
        self.held: Item | None = None  # a suspect that waits until nothing is under way
        self.single = False  # the platform does not know 0x0704
        self.alone = False  # what is under way is a suspect
        self.latched = 0  # alarm bits that stand until the platform has answered them
        self.noted = self.loop.time()
        self.ticked = False
        self.keyring: Keyring | None = None  # where TLS is spoken
        self.renewal: asyncio.Task[None] | None = None  # done: there are other certificates, and they are good
        self.leaving = 0.0  # s of the loop, when what is under way is not waited for any more; 0: it stays
        self.uploads = self._uploads()
        self._tasks: list[asyncio.Task[None]] = []
        self._timer = self.loop.call_later(TICK, self._tick)

    def _start_track(self) -> Track:
        kept = self.feed.notes.get("track")
        if isinstance(kept, Track):
            return kept
        pages = self.notebook.pages
        off = self.clock.now().wall - pages.wall
        return Track(driven=recalled(pages.driven, pages.still, off, self.rules.rest) if pages.wall else Driven())

    def _uploads(self) -> Uploads:
        settings = self.settings
        phone, rate = self.phone, settings.upload_rate * 1024
        terms = Terms(
            settings.name, phone, settings.terminal, self.form, settings.shelf, rate, self.values.number("timeout")
        )
        return Uploads(terms, self.notebook, self.clock, self.tell, lambda: self._count("alarm") > 0)

    # -- the whole of it ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver for ever. Raises `LineLost` or `Refused`."""
        try:
            await self._enter()
            self._come_up()
            while True:
                await self._turn()
        finally:
            self._timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _tick(self) -> None:
        self.ticked = True
        self.wake.set()
        self._timer = self.loop.call_later(TICK, self._tick)

    async def _enter(self) -> None:
        """Register where no code is known, and authenticate. Raises `Refused`."""
        settings, pages, name = self.settings, self.notebook.pages, self.settings.name
        where = f"uplink {name!r} at {settings.url}"
        code = secret.read(settings.code, f"connect {where}") if settings.code else pages.code
        if not code:
            body = words.Registration(
                settings.province, settings.city, settings.maker, settings.model, settings.terminal, settings.colour,
                settings.plate,
            )  # fmt: skip
            result = await self._asked(0x0100, body)
            if result != OK:
                hint = REGISTERED.get(result, "the platform does not say why").format(name=name)
                raise Refused(f"register {where}: refused, result {result}: {hint}", result)
            code = pages.code
            self._told("registered", f"registered at {settings.url}")
            if not await self.notebook.kept():
                self._told("notebook-lost", f"the code of the registration is not on the disk: {self.notebook.trouble}")
        result = await self._asked(0x0102, words.Authentication(code, settings.imei, self.who.version))
        if result != OK:
            pages.code = ""  # the next connection registers anew
            self.notebook.note()
            raise Refused(f"authenticate {where}: refused, result {result}", result)

    async def _asked(self, id: int, body: Struct) -> int:
        """The result of a message before the link is up."""
        self.verdict = None
        self._fly("talk", id, encode(body, self.form))
        while self.verdict is None:
            await self._turn()
        return self.verdict

    def _come_up(self) -> None:
        self.up = True
        self.since = self.loop.time()
        if self.keyring is not None and self.line.transport is not None:
            self.keyring.made(self.line.transport.get_extra_info("ssl_object"))
            watching = self.keyring.watch(self.wake.set)
            self.renewal = asyncio.create_task(watching, name=f"certificates {self.settings.name}")
        self.feed.online(True)
        self._told("link-up", f"connected to {self.settings.url} by JT/T 808-{self.settings.version}")
        if self.settings.upload and self.settings.shelf:
            self._tasks.append(asyncio.create_task(self.uploads.run(), name=f"evidence {self.settings.name}"))

    async def _turn(self) -> None:
        """Hear, look at deadlines, send; then wait for something to happen. Raises `LineLost`."""
        await self._hear()
        if self.line.lost:
            raise LineLost(f"uplink {self.settings.name!r} at {self.settings.url}: {self.line.lost}")
        for task in self._tasks:
            if task.done():
                task.result()  # a mistake of ours: let it be told
        if self.renewal is not None and self.renewal.done() and self.up:
            self.renewal.result()
            self.leaving = self.leaving or self.loop.time() + PARTING
            if not self.flights or self.loop.time() > self.leaving:
                raise Renewed(f"uplink {self.settings.name!r} at {self.settings.url}: other certificates")
        if self.ticked:
            self.ticked = False
            self._look()
        if self.up and not self.leaving and await self._fill():
            await asyncio.sleep(0)
        else:
            await self.wake.wait()
            self.wake.clear()

    def accuse(self, why: str) -> None:
        """The platform closed the connection: the oldest message under way may be the reason."""
        if not self.line.closed:
            return
        for flight in self.flights.values():
            for part in flight.parts:
                if part.source is not None:
                    self.feed.blame(part.source, why)
                    return

    def leave(self) -> None:
        """Remember for the next connection where the tracks stood before what was not delivered."""
        self.feed.notes["track"] = self.track._replace(told=None)
        self.feed.notes["past"] = self.history.undone() or self.live.undone() or self.track
        self._note_driven()

    def _note_driven(self) -> None:
        pages, driven = self.notebook.pages, self.track.driven
        pages.driven, pages.still, pages.wall = round(driven.seconds), round(driven.still), self.clock.now().wall

    def _told(self, kind: str, text: str, **facts: Any) -> None:
        self.tell(Event(kind, self.settings.name, self.clock.now(), text, facts))

    # -- sending --------------------------------------------------------------------------------------

    def _next(self, n: int = 1) -> int:
        """The serial of a message of `n` parts."""
        serial, self.serial = self.serial, self.serial + n & 0xFFFF
        return serial

    def _say(self, id: int, body: Struct) -> None:
        """A message that is not answered."""
        data = encode(body, self.form)
        packets = split(Packet(id, self.phone, self.serial, data, self.settings.layout))
        self._next(len(packets))
        if len(packets) > 1:
            self.split.append(packets)
        self.line.write(b"".join(map(pack, packets)))
        self.said = self.loop.time()

    def _fly(self, kind: Kind, id: int, data: bytes, parts: list[Part] | None = None) -> Flight:
        """A message that is. Every one of them fits into one packet."""
        serial = self._next()
        while serial in self.flights:  # 65536 later, and it is still not answered
            serial = self._next()
        frame = pack(Packet(id, self.phone, serial, data, self.settings.layout))
        now, wait = self.loop.time(), float(self.values.number("timeout"))
        flight = self.flights[serial] = Flight(kind, id, serial, frame, parts or [], wait, now)
        for part in flight.parts:
            flight.bits |= part.location.alarm & ONCE
        self.line.write(frame)
        self.said = now
        return flight

    def _count(self, kind: Kind) -> int:
        return sum(flight.kind == kind for flight in self.flights.values())

    def _tell_one(self, part: Part, kind: Kind) -> None:
        """0x0200: it is news."""
        self._fly(kind, 0x0200, part.data, [part])

    def _tell_old(self, parts: list[Part]) -> None:
        """0x0704: they waited, or may have been told before. 0x0200 where the platform does not know that."""
        if self.single:
            for part in parts:
                self._tell_one(part, "late")
            return
        self._fly("late", 0x0704, words.joined([part.data for part in parts], BLIND_AREA), parts)

    def _look(self) -> None:
        """Deadlines, heartbeat, a location that is due although nothing changed."""
        now, at = self.loop.time(), self.clock.now()
        repeats = self.values.number("repeats")
        for flight in list(self.flights.values()):
            if now < flight.due:
                continue
            if flight.tries >= repeats:
                times = f"{flight.tries + 1} times"
                raise LineLost(f"uplink {self.settings.name!r}: no answer to 0x{flight.id:04x}, sent {times}")
            flight.tries += 1
            flight.wait *= flight.tries + 1
            flight.due = now + flight.wait
            self.line.write(flight.data)
            self.said = now
        if not self.up:
            return
        if self.followed[0] and at.mono > self.followed[1]:
            self.followed = (0.0, 0.0)
            self.rules = rules(self.values)
        if now - self.said >= self.values.number("heartbeat"):
            self._fly("talk", 0x0002, b"")
        if self._count("live") < LIVE and (self.fresh or now - self.since > NEWS):
            self.track, report = passing(self.track, at.mono, at.wall, self.rules)
            if report is not None:
                self._tell_one(self._report(report), "live")
        if now - self.noted >= SAVE:
            self.noted = now
            self._note_driven()
        self.notebook.note()
        for late in self.joiner.late(now, ASK_PARTS, ASK_TIMES):
            if self.form.edition == 2019:
                self._say(0x0005, words.Missing(late.serial, late.missing()[:255]))

    def _report(self, report: Report, entry: Entry | None = None) -> Part:
        """A live location, with the bits of all that stands."""
        found = alarm_bits(report.track, self.rules) | self._standing()
        self.latched |= found & ONCE
        return Part(location(report.track, report.wall, found | self.latched), self.form, entry=entry)

    def _standing(self) -> int:
        """Alarm bits of what is active, but for those that stand only until they are answered."""
        found = 0
        for alarm in self.open_alarms():
            row = row_of(self.settings.alarm, alarm) if alarm.state.startswith("active") else None
            found |= bits(row, BEGINS) if row is not None else 0
        return found & ~ONCE

    async def _fill(self) -> bool:
        """Take what there is room for, but let others have their turn. Whether there may be more."""
        self._send_again()
        self.alone = self.alone and bool(self.flights)
        if self.held is not None:
            await self._send_held()
        for _ in range(TURN):
            if self.line.lost or self._is_guarded() or self._count("alarm") >= ALARMS:
                return False
            one = self.feed.take("event")
            if one is None:
                break
            self._admit(one)
        await self._send_late()
        for _ in range(TURN):
            if self.line.lost or self._is_guarded() or self.late or self.size >= ROOM:
                return False
            if self._count("live") >= LIVE or self._count("late") >= HISTORY:
                return False
            one = self.feed.take()
            if one is None:
                self._send_gathered()
                return False
            self._admit(one)
        return True

    def _admit(self, one: Item) -> None:
        """A suspect has to wait until nothing is under way."""
        if self.feed.is_suspect(one):
            self.held = one
        else:
            self._take(one)

    def _is_guarded(self) -> bool:
        """Whether nothing else may go: a suspect waits until nothing is under way, or is under way itself."""
        return self.held is not None or (bool(self.flights) and self.alone)

    async def _send_held(self) -> None:
        """The suspect, alone."""
        self._send_gathered()
        if self.held is None or self.flights:
            return
        one, self.held, self.alone = self.held, None, True
        if isinstance(one.body, Batch):
            self._take_old(one, one.body)
            self._send_gathered()
        elif (part := await self._late_edge(one)) is None:
            self.feed.done(one)
        else:
            self._tell_old([part])

    async def _late_edge(self, one: Item) -> Part | None:
        """What is told of an item that waited; None where that is nothing."""
        alarm = one.body
        if not isinstance(alarm, Alarm) or row_of(self.settings.alarm, alarm) is None or flag_of(alarm) is None:
            return None
        if one.row in self.edges:  # it was sent before: in the same words
            return Part(self.edges[one.row], self.form, item=one)
        return self._edge(one, alarm, await self._track_at(one.boot, alarm.at.mono), 0)

    def _take(self, one: Item) -> None:
        if isinstance(one.body, Event):
            self.feed.done(one)  # no words for it
        elif isinstance(one.body, Alarm):
            self._take_alarm(one, one.body)
        elif one.historical or one.resent:
            self._take_old(one, one.body)
        else:
            entry = self.live.add(one, self.track)
            self.track, reports = follow(self.track, one.body, self.names, self.rules)
            self.fresh = self.fresh or one.body.source == self.settings.channels.gnss
            for report in reports:
                self._tell_one(self._report(report, entry), "live")
            self.live.settle()

    def _take_old(self, one: Item, batch: Batch) -> None:
        if len(batch.mono) and batch.mono[0] < self.past.at - BACK:
            self.past = Track()
        entry = self.history.add(one, self.past)
        self.past, reports = follow(self.past, batch, self.names, self.rules)
        for report in reports:
            told = location(report.track, report.wall, alarm_bits(report.track, self.rules))
            part = Part(told, self.form, entry=entry)
            size = 2 + len(part.data)
            if self.size + size > ROOM:
                self._send_gathered()
            self.gathered.append(part)
            self.size += size
        self.history.settle()

    def _send_gathered(self) -> None:
        parts, self.gathered, self.size = self.gathered, [], 0
        if parts:
            self._tell_old(parts)

    # -- alarms ---------------------------------------------------------------------------------------

    def _take_alarm(self, one: Item, alarm: Alarm) -> None:
        row, flag = row_of(self.settings.alarm, alarm), flag_of(alarm)
        if row is None or flag is None or (row.moment and flag == ENDS):
            self.feed.done(one)
        elif self._is_news(one) and self.fresh and all(_id(other) != alarm.id for other in self.late):
            self._tell_alarm(one, self._edge(one, alarm, self.track, self._standing()))
        else:
            self.late.append(one)

    def _is_news(self, one: Item) -> bool:
        recent = isinstance(one.body, Alarm) and self.clock.now().mono - one.body.at.mono <= NEWS
        return recent and not one.resent and one.boot == self.who.boot

    def _tell_alarm(self, one: Item, part: Part | None) -> None:
        if part is None:
            self.feed.done(one)
        else:
            self.latched |= part.location.alarm & ONCE
            self._tell_one(part, "alarm")

    def _edge(self, one: Item, alarm: Alarm, track: Track, standing: int) -> Part | None:
        """What is told of an edge; None where the platform does not want it."""
        row, flag, dialect = row_of(self.settings.alarm, alarm), flag_of(alarm), self.settings.dialect
        assert row is not None
        assert flag is not None
        marks = self.notebook.pages.marks
        known = marks.get(alarm.id)
        if flag == ENDS and (known is None or known.over not in (0, alarm.edge)) and alarm.event != "cleared":
            return None  # it ended before, or never began here
        if known is None:
            id, type = (words.ITEM_IDS[ITEMS[row.item]], number_of_type(row, dialect)) if row.item else (0, 0)
            known = Known(words.stamp(alarm.at.wall), number_of(alarm.id) & 0xFF, id, type)
        elif not known.time:
            return None  # its beginning was not wanted
        mark = Mark(self.settings.terminal, known.time, known.sequence, row.files)
        made = item(Occasion(alarm, row, flag, track, mark), self.values, dialect)
        if row.item and made is None and not row.bit:
            marks[alarm.id] = Known("", known.sequence)
            return None
        marks[alarm.id] = structs.replace(known, over=alarm.edge) if flag == ENDS else known
        found = bits(row, flag) | alarm_bits(track, self.rules) | standing
        if flag == ENDS and row.bit:
            found &= ~bits(row, BEGINS)
        told = location(track, alarm.at.wall, found, (made,) if made else ())
        self.edges[one.row] = told
        while len(self.edges) > EDGES:  # a cap dropped them, or another connection will ask the store again
            del self.edges[next(iter(self.edges))]
        return Part(told, self.form, item=one)

    async def _send_late(self) -> None:
        """Alarms that waited: the newest foremost, but the end of each behind its beginning."""
        edges: dict[str, list[Item]] = {}
        for one in sorted(self.late, key=lambda one: one.row):
            edges.setdefault(_id(one), []).append(one)
        parts: list[Part] = []
        size = 0
        for one in (one for group in sorted(edges.values(), key=_newest, reverse=True) for one in group):
            if self._count("late") >= HISTORY or self.line.lost:
                break
            self.late.remove(one)
            if not self.feed.owes(one):
                continue
            part = await self._late_edge(one)
            if part is None or self._is_news(one):
                self._tell_alarm(one, part)
                continue
            more = 2 + len(part.data)
            if parts and size + more > ROOM:
                self._tell_old(parts)
                parts, size = [], 0
            parts.append(part)
            size += more
        if parts:
            self._tell_old(parts)

    async def _track_at(self, boot: str, mono: float) -> Track:
        """Where the vehicle was, as the store knows it."""
        batches: list[Batch] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOKUP):
                batches = await self.feed.past(boot, self.sources, mono, SPAN)
        track = Track()
        for batch in batches:
            rows = batch.mono <= mono
            cut = Batch(
                batch.source, batch.key, batch.unit, batch.mono[rows], batch.wall[rows], batch.synced,
                batch.value[rows], batch.quality[rows],
            )  # fmt: skip
            track, _ = follow(track, cut, self.names, self.rules)
        if track.place is None and self.track.place is not None:  # the last that is known, and not fixed
            track = track._replace(place=self.track.place, at=mono if math.isnan(track.at) else track.at)
        return track

    # -- answers --------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        """Everything that came."""
        for packet in self.line.take():
            if packet.encryption:
                self._answer(packet, UNSUPPORTED)
                continue
            try:
                whole = self.joiner.put(packet, self.loop.time())
            except BadReply:
                self._answer(packet, UNSUPPORTED)
                continue
            if whole is not None:
                await self._heed(whole)

    async def _heed(self, packet: Packet) -> None:
        body = words.read(packet, self.form)
        if packet.id in (0x8001, 0x8100):
            if isinstance(body, words.Answer):
                self._answered(body)
            elif isinstance(body, words.Registered):
                self._registered(body)
            return
        if packet.id == 0x8003:
            if isinstance(body, words.Missing):
                self._repeat(body)
            return
        if isinstance(body, words.Raw):
            self._answer(packet, BAD if body.why else UNSUPPORTED)
            return
        deed = self.DEEDS.get(packet.id)
        if deed is None or not self.known:
            self._answer(packet, UNSUPPORTED if deed is None else FAILED)
            return
        key = (packet.id, packet.serial, packet.body)
        if key in self.heard and key in self.answers:  # the platform did not get the answer
            self._answer(packet, self.answers[key])
            return
        result = await deed(self, packet, body)
        if result is not None:
            if len(self.heard) == self.heard.maxlen:
                self.answers.pop(self.heard[0], None)
            self.heard.append(key)
            self.answers[key] = result
            self._answer(packet, result)

    def _answer(self, packet: Packet, result: int) -> None:
        self._say(0x0001, words.Answer(packet.serial, packet.id, result))

    def _registered(self, body: words.Registered) -> None:
        flight = self.flights.get(body.serial)
        if flight is None or flight.id != 0x0100:
            return
        del self.flights[body.serial]
        self.notebook.pages.code = body.code if body.result == OK else ""
        self.verdict = body.result

    def _answered(self, body: words.Answer) -> None:
        flight = self.flights.get(body.serial)
        if flight is None or flight.id != body.id:
            return
        del self.flights[body.serial]
        if flight.id == 0x0102:
            self.verdict = body.result
            self.known = body.result == OK  # a command may come with this answer
            return
        if body.result in (OK, HANDLED):
            self.latched &= ~flight.bits
            for part in flight.parts:
                self._settle(part)
        else:
            self._refused(flight, body.result)
        self.live.settle()
        self.history.settle()

    def _settle(self, part: Part, refused: str = "") -> None:
        part.settle(self.feed, refused)
        if part.item is not None:
            self.edges.pop(part.item.row, None)

    def _refused(self, flight: Flight, result: int) -> None:
        """What came with others is tried alone; alone it is tried again, and what is bad set aside some day."""
        now = self.loop.time()
        if flight.id == 0x0704 and result == UNSUPPORTED and not self.single:
            self.single = True
            self._told("refused", f"{self.settings.url} does not know 0x0704; what waited is sent as 0x0200, unmarked")
            self.later += [Later(now, part, flight.kind) for part in flight.parts]
            return
        for part in flight.parts:
            if len(flight.parts) > 1:
                self.later.append(Later(now, part, flight.kind))
                continue
            part.refusals += 1
            if result in (BAD, UNSUPPORTED) and part.refusals >= TRIES:
                self._settle(part, f"refused {part.refusals} times by {self.settings.url}, result {result}")
                continue
            if part.refusals == 1:
                text = f"a location of {part.location.time} is refused by {self.settings.url}, result {result}"
                self._told("refused", f"{text}; it is tried again")
            pause = min(LONGEST_PAUSE, AGAIN * 2 ** (part.refusals - 1))
            self.later.append(Later(now + pause, part, flight.kind))

    def _send_again(self) -> None:
        now = self.loop.time()
        for one in [one for one in self.later if one.due <= now]:
            if self._count("late") >= HISTORY:
                return
            self.later.remove(one)
            if one.part.item is None or self.feed.owes(one.part.item):
                self._tell_old([one.part])

    def _repeat(self, body: words.Missing) -> None:
        """Parts of a message that the platform lacks."""
        for packets in self.split:
            if packets[0].serial == body.serial:
                self.line.write(b"".join(pack(packet) for packet in packets if packet.part in body.parts))

    # -- what the platform asks for -------------------------------------------------------------------

    async def _set(self, packet: Packet, body: Any) -> int:
        """0x8103"""
        try:
            changed = self.values.changed(body.parameters)
        except LookupError as fault:
            self._told("parameters-refused", f"the platform sets parameter {fault}, which this terminal has not")
            return UNSUPPORTED
        except ValueError as fault:
            self._told("parameters-refused", f"the platform sets what is not allowed: {fault}")
            return BAD
        return await self._take_over(changed, f"the platform set {described(body.parameters)}")

    async def _take_over(self, changed: Values, text: str) -> int:
        before = self.notebook.pages.parameters
        self.notebook.pages.parameters = {f"{id:04x}": value.hex() for id, value in changed.stored.items()}
        if not await self.notebook.kept():
            self.notebook.pages.parameters = before
            return FAILED
        self.values, self.rules = changed, rules(changed)
        self._told("parameters-set", text)
        return OK

    async def _tell_parameters(self, packet: Packet, body: Any) -> int | None:
        """0x8104, 0x8106"""
        told = self.values.tell(body.ids) if isinstance(body, words.ParametersAsked) else self.values.tell()
        self._say(0x0104, words.ParametersTold(packet.serial, told))
        return None

    async def _tell_attributes(self, packet: Packet, body: Any) -> int | None:
        """0x8107"""
        settings, kinds = self.settings, 0b11  # coaches and dangerous goods
        self._say(0x0107, words.Attributes(kinds, settings.maker, settings.model, settings.terminal, settings.iccid,
                                           "", self.who.version, 0b1111, 0))  # fmt: skip
        return None

    async def _control(self, packet: Packet, body: Any) -> int:
        """0x8105"""
        name = COMMANDS.get(body.command, str(body.command))
        if name not in self.settings.control:
            self._told("control-refused", f"the platform asked for {name!r}, which `control` does not allow")
            return UNSUPPORTED
        self._told("control", f"the platform asked for {name!r}")
        if name == "factory":
            return await self._take_over(Values(None, self.settings.parameters), "parameters are as the site file says")
        self._answer(packet, OK)
        raise LineLost(f"uplink {self.settings.name!r}: the platform asked for a new start of this uplink")

    async def _locate_now(self, packet: Packet, body: Any) -> int | None:
        """0x8201"""
        at = self.clock.now()
        track = self.track if self.fresh else await self._track_at(self.who.boot, at.mono)
        track, _ = passing(track, at.mono, at.wall, self.rules)
        part = self._report(Report(at.wall, track))
        self._say(0x0201, words.Located(packet.serial, part.location))
        return None

    async def _follow(self, packet: Packet, body: Any) -> int:
        """0x8202"""
        self.followed = (float(body.period), self.clock.now().mono + body.seconds) if body.period else (0.0, 0.0)
        self.rules = rules(self.values, self.followed[0])
        return OK

    async def _confirm(self, packet: Packet, body: Any) -> int:
        """0x8203"""
        self.latched &= ~(body.alarms or ONCE)
        self._told("alarms-confirmed", f"the platform confirmed alarms, bits {body.alarms:#010x}")
        return OK

    async def _text(self, packet: Packet, body: Any) -> int:
        """0x8300"""
        self._told("text", body.text, flag=body.flag, service=body.kind)
        return OK

    async def _upload(self, packet: Packet, body: Any) -> int:
        """0x9208"""
        if not (self.settings.upload and self.settings.shelf):
            return UNSUPPORTED
        if not self.settings.may_send_to(body.server):
            text = f"evidence is wanted at {body.server}, which is not among upload_to of uplink {self.settings.name!r}"
            self._told("upload-refused", text)
            return FAILED
        marks = self.notebook.pages.marks
        wanted = (body.mark.time, body.mark.sequence)
        alarm = next((id for id, known in marks.items() if (known.time, known.sequence) == wanted), None)
        orders = self.notebook.pages.orders
        if alarm is None or len(orders) >= ORDERS:
            return FAILED
        order = Order(body.server, body.tcp, alarm, body.number, body.mark.attachments, self.clock.now().wall)
        if all((one.alarm, one.number) != (alarm, body.number) for one in orders):
            orders.append(order)
            if not await self.notebook.kept():
                orders.remove(order)
                return FAILED
            self.uploads.news.set()
        return OK

    DEEDS: dict[int, Callable[[Session, Packet, Any], Awaitable[int | None]]] = {  # noqa: RUF012 (never written to)
        0x8103: _set,
        0x8104: _tell_parameters,
        0x8105: _control,
        0x8106: _tell_parameters,
        0x8107: _tell_attributes,
        0x8201: _locate_now,
        0x8202: _follow,
        0x8203: _confirm,
        0x8300: _text,
        0x9208: _upload,
    }


ITEMS: dict[str, type[Struct]] = {
    "adas": words.Adas,
    "driver": words.Driver,
    "tyre": words.Tyre,
    "blind": words.Blind,
    "harsh": words.Harsh,
}


def _id(one: Item) -> str:
    """Of the alarm that it is about."""
    return one.body.id if isinstance(one.body, Alarm) else ""


def _newest(group: list[Item]) -> int:
    return group[-1].row
