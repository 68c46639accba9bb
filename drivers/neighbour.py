"""What the sites next door say: their alarms, heard at a broker, as a source of this one. Joint defence.

Each neighbour speaks the native MQTT language (`agent/uplink/mqtt.py`) under `<prefix>/<site>/<node>/`. Of that are
heard `state` (who is there, and which alarms stand), `alarm/#` (each edge) and `telemetry/agent`, which comes once a
minute and says that somebody lives. A neighbour is a source:

    level     the highest colour of its alarms that stand: 4 red, 3 orange, 2 yellow, 1 blue, 0 none
    count     how many stand
    colour    the colour of its item `site`, where it has items
    <watch>   the highest colour of the alarms that a `watch` names
    online    1 while it is there
    age       s since its last word

Rules on these channels raise what this site raises: siren, interlock, evidence, like for any other channel. What cannot
be believed is OFFLINE: while the neighbour says that it is, or says nothing for `silent` s, and while the broker is
away. Then nothing is raised, and nothing that stands is cleared.

What a neighbour has from a neighbour (`origin`) is not taken over: whoever wants that lists him, too. So no alarm ever
comes back to where it began, and none goes round. A drill is no alarm. What stands is a state, not news: that the
broker keeps an alarm, and says it again with each connection, changes nothing.

Who may speak for a neighbour is settled by the broker alone. So the address must have TLS, or be this machine's; and
with `trust = "proved"` this node tries, at each connection, to speak in the name of each neighbour, on a topic that
nobody reads: a broker that lets it would let anybody, and is not believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct, structs

from agent.core.alarm import Level, colour
from agent.core.errors import LineLost
from agent.core.frame import Frame, Instant, Layout, Quality, frame, layout
from agent.core.ports import Clock, Driver, Event, Orders
from agent.core.words import WIRING, Language
from agent.tls import Keyring, days
from agent.wire import HEARD, V5, VERSIONS, Broker, Message, Said, Unsupported, Wire

PERIOD = 1.0  # s between two frames of a neighbour from whom nothing is news
STALE = 5.0  # s; OFFLINE after three times that, where this node itself hears nobody
SETTLE = 1.0  # s without a word that the broker kept, after which all of them have come
PATIENCE = 15.0  # s for a broker's first words
ANSWER = 5.0  # s for the answer to a trial
KNOWN = 4096  # alarms that are over whose last edge is remembered: an old one that comes late changes nothing
LARGEST = 256 * 1024  # bytes of what a neighbour says at once; its state has 64 kB at most
MEASURED: tuple[tuple[str, str], ...] = (
    ("level", ""),
    ("count", ""),
    ("colour", ""),
    ("online", ""),
    ("age", "s"),
)
CERTIFICATE = ("certificate", "d")  # of the connection: how long the first of its certificates is still valid
SURE = {"online", "age", "certificate"}  # what this node knows by itself
STEADY = {"age", "certificate"}  # what always moves, and is no news
OF_ITSELF = ("agent", "tls")  # sources whose alarms are about the neighbour's program
SITE_COLOUR = "colour/site"


class Watch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel of its own for some alarms of a neighbour."""

    key: Annotated[str, Meta(pattern=r"^[\w-]+$", max_length=64)]  # of the channel
    channels: tuple[str, ...] = ("*",)  # of the neighbour, wildcards allowed
    rules: tuple[str, ...] = ("*",)  # names of its rules, wildcards allowed


class Next(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One neighbour. Its source has its name."""

    name: Annotated[str, Meta(pattern=r"^[\w.-]+$", min_length=1, max_length=64)]
    site: Annotated[str, Meta(min_length=1)]  # as it stands in its topics
    node: Annotated[str, Meta(min_length=1)] = "gw1"
    prefix: Annotated[str, Meta(min_length=1)] = "vedette"
    channels: tuple[str, ...] = ("*",)  # of the neighbour, whose alarms count; wildcards allowed
    rules: tuple[str, ...] = ("*",)  # names of its rules whose alarms count
    watch: tuple[Watch, ...] = ()
    silent: Annotated[float, Meta(ge=1)] = 180.0  # s without a word after which it counts as gone; its own come each 60

    def __post_init__(self) -> None:
        for name in ("site", "node", "prefix"):
            if set("+#") & set(getattr(self, name)):
                raise ValueError(f"{name} must not contain + or #: each neighbour is named by itself")
        taken = {key for key, _ in (*MEASURED, CERTIFICATE)}
        keys = [one.key for one in self.watch]
        if wrong := [key for i, key in enumerate(keys) if key in taken or key in keys[:i]]:
            raise ValueError(f"watch: `{wrong[0]}` is a channel already")

    @property
    def root(self) -> str:
        """What its topics begin with."""
        return f"{self.prefix}/{self.site}/{self.node}"

    @property
    def origin(self) -> str:
        """Whose word it is."""
        return f"{self.site}/{self.node}"

    def layout(self, secured: bool) -> Layout:
        """Its channels; `secured`: heard over TLS."""
        own = [(one.key, "") for one in self.watch]
        key, unit = zip(*MEASURED, *([CERTIFICATE] if secured else []), *own, strict=True)
        return layout(key, unit, stale=STALE, deadband=[30.0 if k == "age" else 0.0 for k in key], origin=self.origin)


class Neighbour(Driver, tag="neighbour", frozen=True, kw_only=True):
    """A broker at which neighbours are heard. The settings of the connection are those of an `[[uplink]]`."""

    url: str  # mqtts://host[:8883], or mqtt:// on this machine
    user: str = ""
    password: str = ""  # where it is kept, never itself: env:NAME, file:/path or credential:NAME (systemd)
    ca: str = ""
    cert: str = ""
    key: str = ""
    pkcs12: str = ""
    passphrase: str = ""
    crl: str = ""
    tls: Literal["1.2", "1.3"] = "1.2"
    version: Literal["auto", "5", "3.1.1"] = "auto"
    keepalive: Annotated[int, Meta(ge=1, le=10)] = 10  # s
    client: Annotated[str, Meta(pattern=r"^[\w.-]*$", max_length=64)] = ""  # client id; empty: one of its own each time
    trust: Literal["proved", "given"] = "proved"  # that only a neighbour speaks for it; given: nobody tries
    neighbour: Annotated[tuple[Next, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        broker = self.broker()
        if not broker.secured and not _is_here(broker.place()[0]):
            raise ValueError("url: who speaks at a broker far away is only known by TLS: use mqtts://")
        if self.trust == "proved" and self.version == "3.1.1":
            raise ValueError('trust: in MQTT 3.1.1 a broker cannot say no; use version 5, or trust = "given"')
        names = [one.name for one in self.neighbour]
        if twice := [name for i, name in enumerate(names) if name in names[:i]]:
            raise ValueError(f"a second neighbour is called `{twice[0]}`")

    def broker(self) -> Broker:
        """The connection, as an uplink has it. Raises `ValueError`."""
        own = {field.name for field in structs.fields(Broker)}
        given = {field.name: getattr(self, field.name) for field in structs.fields(self) if field.name in own}
        return Broker(**given)

    def layouts(self) -> Mapping[str, Layout]:
        secured = self.broker().secured
        return {one.name: one.layout(secured) for one in self.neighbour}

    def certificates(self) -> tuple[str, ...]:
        secured = self.broker().secured
        return tuple(f"{one.name}/{CERTIFICATE[0]}" for one in self.neighbour if secured)

    def periods(self) -> Mapping[str, float]:
        return {one.name: PERIOD for one in self.neighbour}

    def worst(self) -> float:
        return PATIENCE

    def wiring(self, language: Language = "en") -> list[str]:
        w = WIRING[language]
        return [
            w["neighbours"].format(url=self.url, trust=w["proved" if self.trust == "proved" else "believed"]),
            *(w["neighbour"].format(name=n.name, root=n.root, silent=f"{n.silent:g}") for n in self.neighbour),
        ]

    async def frames(self, clock: Clock, orders: Orders) -> AsyncIterator[Frame | Event]:
        """What they say, until the broker is gone. Raises `LineLost` or `Refused`."""
        ear = Ear(self, clock)
        try:
            await ear.open(orders)
            for item in ear.news(clock.now()):
                yield item
            while True:
                await ear.listen(PERIOD / 2)
                await orders.wait(0.0)  # a neighbour has no outputs; who is asked for orders lives
                for item in ear.news(clock.now()):
                    yield item
        finally:
            ear.close()

    async def once(self, clock: Clock) -> list[Frame | Event]:
        ear = Ear(self, clock)
        try:
            await ear.open(_NoOrders())
            return ear.news(clock.now())
        finally:
            ear.close()


def _is_here(host: str) -> bool:
    """Whether this is an address of this machine.

    >>> _is_here("127.0.0.1"), _is_here("localhost"), _is_here("10.0.0.1"), _is_here("broker")
    (True, True, False, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _NoOrders:
    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def take(self) -> None:
        return None


# -- what one of them said ------------------------------------------------------------------------------


class Heard(Struct, frozen=True):
    """What is used of an alarm of the native language; the rest is for people and platforms."""

    id: str
    edge: int
    state: str
    rule: str
    channel: str
    level: Level
    text: str = ""
    origin: str = ""
    drill: bool = False


class State(Struct, frozen=True):
    """What a neighbour says of itself."""

    state: Literal["online", "offline"]
    alarms: tuple[Heard, ...] = ()
    more: int = 0  # that had no room
    unkept: frozenset[str] = frozenset()  # ids of those that the broker does not keep on their topics


class Page:
    """What is known of one neighbour. Nothing here asks a clock, or the broker."""

    def __init__(self, who: Next, began: float, secured: bool = False) -> None:
        self.who, self.layout, self.began = who, who.layout(secured), began
        self.online = False
        self.told = False  # it said whether it is there
        self.heard = -np.inf  # s, monotonic: its last word
        self.exact = True  # what is told late can be told from what stands (MQTT 5)
        self.standing: dict[str, tuple[str, Heard]] = {}  # by id: topic, and the last edge
        self.over: OrderedDict[str, int] = OrderedDict()  # id of what is over -> its last edge
        self.unread = 0  # words that are none
        self.events: list[tuple[str, str, dict[str, Any]]] = []  # kind, text, facts: to be told

    def hear(self, said: Said, now: float, settled: bool) -> None:
        """One message below its root. `settled`: it is news, and not what the broker kept."""
        part = said.topic.removeprefix(f"{self.who.root}/")
        if part == "state":
            self._state(said, now)
        elif part.startswith("alarm/"):
            self._alarm(said, now, settled)
        elif not said.retained:
            self.heard = now

    def _state(self, said: Said, now: float) -> None:
        try:
            state = msgspec.json.decode(said.payload, type=State)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            self.unread += 1
            return
        self.heard, self.told = now, True
        if self.online != (state.state == "online"):
            self.online = not self.online
            kind = "neighbour-up" if self.online else "neighbour-down"
            self.events.append((kind, f"{self.who.origin} is {state.state}", {}))
        if not self.online:
            return
        listed = {alarm.id: alarm for alarm in state.alarms}
        if said.retained:  # it may be old: of what stands the broker keeps the last word on its topic, or it is unkept
            listed = {id: alarm for id, alarm in listed.items() if id in state.unkept}
        elif not state.more:
            for id in [id for id in self.standing if id not in listed]:
                self._end(id, self.standing[id][1].edge)
        for alarm in listed.values():
            self._take("", alarm, news=False)

    def _alarm(self, said: Said, now: float, settled: bool) -> None:
        if not said.payload:  # nothing stands there any more
            for id in [id for id, (topic, _) in self.standing.items() if topic == said.topic]:
                self._end(id, self.standing[id][1].edge)
            return
        try:
            alarm = msgspec.json.decode(said.payload, type=Heard)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            self.unread += 1
            return
        if settled:
            self.heard = now
        if alarm.state.startswith("active") and self.exact and not said.retained:
            return  # told late: it is over, or else it would be kept; no clock says that as surely
        self._take(said.topic, alarm, settled)

    def _take(self, topic: str, alarm: Heard, news: bool) -> None:
        known = self.standing.get(alarm.id)
        last = known[1].edge if known is not None else self.over.get(alarm.id, 0)
        if alarm.edge < last or alarm.drill or alarm.origin or not self._counts(alarm):
            return
        if not alarm.state.startswith("active"):
            self._end(alarm.id, alarm.edge)
            return
        if known is None and alarm.edge == last:
            return  # it is over, and this comes late
        self.standing[alarm.id] = topic or (known[0] if known is not None else ""), alarm
        if known is None and news:
            facts = {"id": alarm.id, "level": alarm.level, "channel": alarm.channel, "rule": alarm.rule}
            self.events.append(("neighbour-alarm", f"{self.who.origin}: {alarm.text}", facts))

    def _end(self, id: str, edge: int) -> None:
        known = self.standing.pop(id, None)
        self.over[id] = edge
        self.over.move_to_end(id)
        while len(self.over) > KNOWN:
            self.over.popitem(last=False)
        if known is not None:
            facts = {"id": id, "level": known[1].level, "channel": known[1].channel, "rule": known[1].rule}
            self.events.append(("neighbour-alarm-over", f"{self.who.origin}: {known[1].channel} is over", facts))

    def _counts(self, alarm: Heard) -> bool:
        own = alarm.channel.partition("/")[0] in OF_ITSELF and self.who.channels == ("*",)
        return not own and _fits(alarm, self.who.channels, self.who.rules)

    def is_there(self, now: float) -> bool:
        """Whether what it said last can still be believed."""
        return self.online and now - self.heard <= self.who.silent

    def columns(self, now: float, certificate: float = np.nan) -> tuple[list[float], list[Quality]]:
        """Value and quality of each of its channels; `certificate`: d."""
        alarms = [alarm for _, alarm in self.standing.values()]
        counted = [alarm for alarm in alarms if alarm.channel != SITE_COLOUR]
        site = [alarm for alarm in alarms if alarm.channel == SITE_COLOUR]
        there = self.is_there(now)
        value = {
            "level": _highest(counted),
            "count": float(len(counted)),
            "colour": _highest(site),
            "online": float(there),
            "age": now - max(self.heard, self.began),
            "certificate": certificate,
            **{one.key: _highest(a for a in alarms if _fits(a, one.channels, one.rules)) for one in self.who.watch},
        }
        sure = [key in SURE for key in self.layout.key]
        seen = [value[key] if key in SURE or there else np.nan for key in self.layout.key]
        quality = [
            Quality.OFFLINE if not mine and not there else Quality.UNCERTAIN if number != number else Quality.GOOD
            for mine, number in zip(sure, seen, strict=True)
        ]
        return seen, quality


def _fits(alarm: Heard, channels: Iterable[str], rules: Iterable[str]) -> bool:
    return any(fnmatchcase(alarm.channel, one) for one in channels) and any(fnmatchcase(alarm.rule, r) for r in rules)


def _highest(alarms: Iterable[Heard]) -> float:
    return float(max((colour(alarm.level) for alarm in alarms), default=0))


@lru_cache
def keyring(broker: Broker) -> Keyring:
    """What is shown and believed there, kept from one connection to the next."""
    return Keyring(broker, broker.place(), f"TLS of bus {broker.name!r}", lambda *told: None)


# -- the connection -------------------------------------------------------------------------------------


class Ear:
    """One connection to the broker, and what was heard on it."""

    def __init__(self, settings: Neighbour, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self.broker = settings.broker()
        began = clock.now().mono
        self.pages = [Page(one, began, self.broker.secured) for one in settings.neighbour]
        self.wake = asyncio.Event()
        self.wire: Wire | None = None
        self.settled = False
        self.due = 0.0  # s, monotonic: the next frames, though nothing is news
        self.shown: dict[str, str] = {}  # what was yielded last of each
        self.last = 0.0  # s of the loop, when something came
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.keyring: Keyring | None = None
        self.watching: asyncio.Task[None] | None = None

    async def open(self, orders: Orders) -> None:
        """Connect, ask for everything, and wait until what the broker kept has come. Raises `LineLost`, `Refused`."""
        settings, loop = self.settings, asyncio.get_running_loop()
        context = None
        if self.broker.secured:
            self.keyring = keyring(self.broker)
            self.keyring.tell = lambda *told: self.told.append(told)
            context = await self.keyring.context()
        name = settings.client or f"vedette-ear-{secrets.token_hex(8)}"
        for version in VERSIONS[settings.version]:
            wire = self.wire = Wire(self.broker, version, name, None, self.wake)
            wire.where = f"bus {settings.name!r} at {settings.url}"
            try:
                await wire.open(context)
                break
            except Unsupported:
                if version == VERSIONS[settings.version][-1]:
                    raise
        if self.keyring is not None:
            self.keyring.made(wire.socket)
            self.watching = asyncio.create_task(self.keyring.watch(self.wake.set), name=f"certificates {settings.name}")
        if settings.trust == "proved":
            await self._prove(wire)
        for page in self.pages:
            page.exact = wire.version == V5
            for part in ("state", "alarm/#", "telemetry/agent"):
                wire.hear(f"{page.who.root}/{part}", LARGEST, flagged=part == "alarm/#")
        end, self.last = loop.time() + PATIENCE, loop.time()
        while wire.asked or loop.time() < self.last + SETTLE:
            await self.listen(0.1)
            await orders.wait(0.0)
            if loop.time() > end:
                raise LineLost(f"{wire.where}: the broker is not done with what it kept after {PATIENCE:g} s")
        self.settled = True

    async def _prove(self, wire: Wire) -> None:
        """Try to speak for each neighbour. Raises `LineLost` where the broker lets it."""
        if wire.version != V5:
            raise LineLost(
                f'{wire.where}: it speaks MQTT 3.1.1, where it cannot say no: nothing is proved; trust = "given"?'
            )
        loop = asyncio.get_running_loop()
        asked = {wire.publish(Message(f"{page.who.root}/trial", b"", False)): page for page in self.pages}
        end = loop.time() + ANSWER
        while asked:
            await self.listen(0.1)
            while wire.acks:
                mid, code = wire.acks.popleft()
                if (page := asked.pop(mid, None)) is not None and code < 0x80:
                    text = f"the broker lets this node speak for {page.who.origin}, so it may let anybody"
                    raise LineLost(f'{wire.where}: {text}; give it rights (configs/brokers), or trust = "given"')
            if loop.time() > end:
                raise LineLost(f"{wire.where}: no answer to whether this node may speak for others")

    async def listen(self, seconds: float) -> None:
        """Take what came, or wait for it so long. Raises `LineLost`."""
        wire = self.wire
        assert wire is not None
        wire.arm()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        self.wake.clear()
        wire.pump()
        wire.tend()
        if wire.denied:
            raise LineLost(f"{wire.where}: the broker does not let it hear {wire.denied[0]}; check its rights (ACL)")
        if len(wire.said) == HEARD:
            raise LineLost(f"{wire.where}: more was said at once than can be heard")
        now = self.clock.now().mono
        while wire.said:
            said = wire.said.popleft()
            self.last = asyncio.get_running_loop().time()
            for page in self.pages:
                if said.topic.startswith(f"{page.who.root}/"):
                    page.hear(said, now, self.settled)
        if wire.lost:
            raise LineLost(f"{wire.where}: {wire.lost}")
        if self.watching is not None and self.watching.done():
            self.watching.result()
            raise LineLost(f"{wire.where}: other certificates; it connects again")

    def news(self, at: Instant) -> list[Frame | Event]:
        """What is to be told now: events, and a frame of each neighbour that has news, or whose turn it is."""
        expires = self.keyring.expires if self.keyring is not None else {}
        least = min(days(expires, expires, at.wall), default=np.nan)
        found: list[Frame | Event] = []
        turn = at.mono >= self.due
        self.due = at.mono + PERIOD if turn else self.due
        for kind, text, facts in self.told:
            found.append(Event(kind, self.settings.name, at, text, facts))
        self.told.clear()
        for page in self.pages:
            found += [Event(kind, page.who.name, at, text, facts) for kind, text, facts in page.events]
            page.events.clear()
            value, quality = page.columns(at.mono, least)
            columns = page.layout
            moves = [number for number, key in zip(value, columns.key, strict=True) if key not in STEADY]
            shown = repr((moves, quality))
            if turn or shown != self.shown.get(page.who.name):
                self.shown[page.who.name] = shown
                found.append(frame(page.who.name, at, columns, value, quality))
        return found

    def close(self) -> None:
        if self.watching is not None:
            self.watching.cancel()
        if self.wire is not None:
            self.wire.close(politely=True)
