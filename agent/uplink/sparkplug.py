"""Sparkplug B 3.0, as an edge node. The payload's bytes are `sparkplug_wire.py`, the window and the wire are shared.

    NBIRTH   bdSeq, Node Control/Rebirth, Node Control/Next Server, Node Control/Receipt, Node Control/Range,
             Node Control/Command, Properties/Version, Properties/Configuration, Properties/Boot, Event, Drill,
             Alarms/<source>/<key>/<rule>   one for each point: its value is the alarm's state, a word
    NDATA    one edge of one alarm, or one event (`Event`: its value is its text, `kind`, `source`, `facts` beside it)
    DBIRTH   each source is a device (with `devices = false`: all are metrics of the node, <source>/<key>)
    DDATA    what changed, by exception: Double, null where it is not known; the property `Quality` is 192, 0 or 500
             where it is not 192 or was not just now, and `Cause` says in a word why. A poll in which nothing changed
             and that is reported all the same, once a minute, is told whole.
    DDEATH   the source is silent for `OFFLINE_AFTER` times the age at which its values are stale

An alarm's properties are `level`, `event`, `id`, `edge`, `text`, `value`, `limit`, `unit`, `since` and so on; `key` is
the platform's key (`<boot>/alarm/<seq>`, where `seq` counts from 1 without a gap); `resent` marks what may have been
sent before. Of an alarm the last edge is told as it stands; an older one, and telemetry that is not news or that may
have been sent before, has is_historical with the original time. The `uuid` of a DDATA is its platform's key; what does
not fit into one message comes in several, `<key>#1`, `<key>#2`.

Sparkplug sends with QoS 0, which nothing confirms. Here each message has a fence behind it (`Wire.publish`), so that
what the broker has not got is sent again. That the host got it is known only where it says so: with `receipts` an alarm
is done when the host has written its `key` to Node Control/Receipt (several, a line each). With a primary host and
without receipts, what was sent less than `linger` seconds before the host is told to be gone is sent again. With
`ranges` a host may write {"boot", "stream", "from", "to"}, in JSON, to Node Control/Range, to get those numbers again.
With `commands` it may write an envelope (`agent/commands.py`) to Node Control/Command; what becomes of it comes as
`Event`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote

import msgspec
import numpy as np
from msgspec import Meta, structs

from .. import durable
from ..commands import LARGEST
from ..core.alarm import STATE_NAMES, Alarm, State
from ..core.errors import LineLost, Refused
from ..core.frame import OFFLINE_AFTER, Array, Instant, Quality
from ..core.ports import Batch, Brief, Event, Item, Latest
from ..hand import Hand
from ..wire import COMMAND_BYTES, Broker, Message, Said, Wire, size
from .session import Leaving, Session, serve, token_of
from .sparkplug_wire import (
    BAD,
    GOOD,
    STALE,
    Malformed,
    Metric,
    Property,
    Type,
    beside,
    decode,
    doubles,
    framed,
    head,
    metric,
)

NAMESPACE = "spBv1.0"
REBIRTH, NEXT, RECEIPT, RANGE = (f"Node Control/{name}" for name in ("Rebirth", "Next Server", "Receipt", "Range"))
COMMAND = "Node Control/Command"
CONTROLS = {REBIRTH, NEXT, RECEIPT, RANGE, COMMAND}
EVENT, DRILL = "Event", "Drill"
NORMAL = STATE_NAMES[State.NORMAL]

PART = 4 * 1024  # bytes of metrics in one message, about: 0.5 s at 64 kbit/s, for which an alarm may wait behind it
CALM = 1.0  # s between two births that somebody asked for; project
QUIET = 1.0  # s without a message of a device before it may be told dead; project
PATIENCE = 10.0  # s of the same while its last word is not told yet; project
HELD = 1024  # batches that linger at most: beyond, the oldest counts as delivered; project

QUALITY = {Quality.GOOD: GOOD, Quality.STALE: STALE, Quality.OFFLINE: STALE}  # every other: BAD


class Sparkplug(Broker, tag="sparkplug", frozen=True, kw_only=True):
    """An edge node of Sparkplug B 3.0."""

    group: str = ""  # group id; empty: the site's name
    node: str = ""  # edge node id, in its group the only one; empty: the node's name
    servers: tuple[str, ...] = ()  # more of them, like `url`; one after the other is tried, never two at once
    host: str = ""  # id of the primary host application that is waited for; empty: none
    patience: Annotated[float, Meta(gt=0)] = 30.0  # s without a word of that host, on one server of several
    linger: Annotated[float, Meta(ge=0)] = 60.0  # s in which it may be gone unnoticed: 1.5 times its keep-alive
    devices: bool = True  # each source is a device; else all metrics are the node's
    aliases: bool = False  # numbers instead of names in data
    datatypes: bool = True  # also in data, where the text wants none and many a host loses the value without

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("group", self.group), ("node", self.node), ("host", self.host)):
            if set("+/#\0") & set(value):
                raise ValueError(f"{name} must not contain +, / or #")
        for url in self.servers:
            Broker(name=self.name, url=url)

    async def send(self, brief: Brief) -> None:
        """Connect to one server and deliver until cancelled, then say goodbye. Raises `LineLost` or `Refused`."""
        servers = [self.url, *self.servers]
        who, notes = brief.who, brief.feed.notes
        turn = notes.get("server", 0)
        here = structs.replace(self, url=servers[turn % len(servers)])
        topics = Topics(identifier(self.group or who.site), identifier(self.node or who.node))
        deaths = Deaths(Path(who.home) / f"bdseq-{quote(self.name, safe='')}" if who.home else None, notes)

        async def will() -> Message:
            return topics.death(await deaths.next())

        def begin(wire: Wire) -> Edge:
            return Edge(here, wire, topics, deaths.number, brief)

        try:
            await serve(here, f"sparkplug-{topics.group}-{topics.node}-{self.name}", will, begin, brief)
        except (LineLost, Refused):
            notes["server"] = turn + 1
            raise


def identifier(name: str) -> str:
    """A name as a group, node or device id, which may not hold `+`, `/` and `#`.

    >>> identifier("pump #2")
    'pump %232'
    """
    for odd in "%+/#\0":
        name = name.replace(odd, f"%{ord(odd):02X}")
    return name


class Topics(NamedTuple):
    """Where this node speaks and listens."""

    group: str
    node: str

    def of(self, verb: str, device: str = "") -> str:
        """The topic of one kind of message; `device` is an id."""
        return "/".join((NAMESPACE, self.group, verb, self.node, *([device] if device else [])))

    def death(self, number: int) -> Message:
        """NDEATH: the will, and what is said before leaving."""
        return Message(self.of("NDEATH"), framed([metric(bdseq(number, None))]), False)


def bdseq(number: int, at: int | None) -> Metric:
    """By which number a death belongs to its birth."""
    return Metric("bdSeq", Type.INT64, number, at)


class Deaths:
    """The bdSeq of each CONNECT, one more than that of the last: counted across restarts, where there is a file."""

    def __init__(self, path: Path | None, notes: dict[str, Any]) -> None:
        self.path, self.notes = path, notes

    @property
    def number(self) -> int:
        """Of the connection that is there."""
        number: int = self.notes["bdseq"]
        return number

    async def next(self) -> int:
        """Of the next CONNECT; the same again where the last one never went out. On the disk before it is used."""
        if self.notes.get("knocked") is False and "bdseq" in self.notes:
            return self.number
        hand = Hand("bdseq")
        try:
            last: int = self.notes.get("bdseq", -1)
            if last < 0 and self.path is not None:
                last = await hand.do(_count, self.path)
            self.notes["bdseq"] = (last + 1) % 256
            if self.path is not None:
                try:
                    await hand.do(durable.replace, self.path, b"%d\n" % self.number)
                except OSError:
                    pass  # it goes on from memory; the store tells of a disk in trouble
            return self.number
        finally:
            hand.end()


def _count(path: Path) -> int:
    try:
        return int(path.read_text()) % 256
    except (OSError, ValueError):
        return -1


# -- values ---------------------------------------------------------------------------------------------


def code(quality: int) -> int:
    """Sparkplug's word for a `Quality`.

    >>> code(Quality.GOOD), code(Quality.CALIBRATING), code(Quality.OFFLINE)
    (192, 0, 500)
    """
    return QUALITY.get(Quality(quality), BAD)


def worth(quality: int) -> dict[str, Property]:
    """The properties that say what a value is worth."""
    told: dict[str, Property] = {"Quality": (Type.INT32, code(quality))}
    return told if quality == Quality.GOOD else told | {"Cause": (Type.STRING, Quality(quality).name)}


WORTH = {quality: worth(quality) for quality in Quality}
DOUBT: dict[str, Property] = {"synced": (Type.BOOLEAN, False)}  # the wall clock could not be trusted
TOLD = {  # the same as bytes: quality, is it to be said, could the clock be trusted
    (int(quality), said, synced): beside((WORTH[quality] if said else {}) | ({} if synced else DOUBT))
    for quality in Quality
    for said in (True, False)
    for synced in (True, False)
}


def number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def ms(at: Instant) -> int:
    """Milliseconds UTC, never before 1970."""
    return max(0, round(at.wall * 1000))


def plain(value: Any) -> Property | None:
    """A property of any plain value, None where there is nothing to say."""
    match value:
        case None | "" | () | []:
            return None
        case bool():
            return Type.BOOLEAN, value
        case int():
            return Type.INT64, value
        case float():
            return Type.DOUBLE, value
        case str():
            return Type.STRING, value
        case Instant():
            return Type.DATETIME, ms(value)
    return Type.STRING, msgspec.json.encode(value, enc_hook=str).decode()


def about(alarm: Alarm) -> dict[str, Property]:
    """What is to be known of one edge beside the state that it led to."""
    fields = structs.asdict(alarm)
    for name in ("state", "at", "rule", "channel"):
        del fields[name]
    told = {name: known for name, value in fields.items() if (known := plain(value)) is not None and value is not False}
    return {**WORTH[Quality.GOOD], **told, **({} if alarm.at.synced else DOUBT)}


class Names:
    """What each metric is called on the wire: by name, or (`aliases`) by a number that a birth gives it."""

    def __init__(self, aliases: bool) -> None:
        self.aliases = aliases
        self._numbers: dict[tuple[str, str], int] = {}
        self._heads: dict[tuple[str, str, tuple[str, ...]], list[bytes]] = {}

    def alias(self, device: str, name: str) -> int | None:
        """The number of a metric, None where it has none; `device` is empty for the node."""
        if not self.aliases or (not device and name in CONTROLS):
            return None
        return self._numbers.setdefault((device, name), len(self._numbers) + 1)

    def born(self, device: str, one: Metric) -> Metric:
        """The metric as a birth says it: with its name, and its number."""
        return one._replace(alias=self.alias(device, one.name))

    def data(self, device: str, one: Metric) -> Metric:
        """The metric as data says it: with its number instead of its name."""
        alias = self.alias(device, one.name)
        return one if alias is None else one._replace(name="", alias=alias)

    def heads(self, device: str, prefix: str, key: tuple[str, ...]) -> list[bytes]:
        """How the metrics `prefix` + key begin in data, as bytes."""
        found = self._heads.get((device, prefix, key))
        if found is None:
            aliases = [self.alias(device, prefix + name) for name in key]
            found = [
                head(prefix + name if alias is None else "", alias) for name, alias in zip(key, aliases, strict=True)
            ]
            self._heads[device, prefix, key] = found
        return found

    def meant(self, one: Metric) -> str:
        """The name of a metric of the node that somebody else speaks of."""
        if one.name or one.alias is None:
            return one.name
        return next((n for (device, n), number in self._numbers.items() if number == one.alias and not device), "")


class Device:
    """What was told of one source: n channels as columns."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.key: tuple[str, ...] = ()
        self.unit: tuple[str, ...] = ()
        self.value: Array = np.zeros(0)  # (n,) last told as news
        self.quality: Array = np.zeros(0, np.uint8)
        self.at: Array = np.zeros(0, np.int64)  # (n,) ms UTC
        self.mono = float("-inf")  # s, of the newest row that was told as news
        self.born = False
        self.spoke = float("-inf")  # s of the loop, when something of it was last shipped

    def learn(self, key: Sequence[str], unit: Sequence[str]) -> bool:
        """Know these channels from now on. Whether any was new."""
        known = set(self.key)
        new = [i for i, name in enumerate(key) if name not in known]
        if new:
            self.key += tuple(key[i] for i in new)
            self.unit += tuple(unit[i] for i in new)
            self.value = np.append(self.value, np.full(len(new), np.nan))
            self.quality = np.append(self.quality, np.full(len(new), int(Quality.STALE), np.uint8))
            self.at = np.append(self.at, np.zeros(len(new), np.int64))
        return bool(new)

    def loses(self, left: Collection[str]) -> None:
        """Only these channels are there any longer."""
        gone = [i for i, name in enumerate(self.key) if name not in left]
        self.value[gone], self.quality[gone] = np.nan, Quality.OFFLINE

    def places(self, key: Sequence[str]) -> Array:
        """(len(key),) the column of each."""
        if key is self.key or tuple(key) == self.key:
            return np.arange(len(key))
        where = {name: i for i, name in enumerate(self.key)}
        return np.array([where[name] for name in key], int)

    def stands(self, latest: Latest) -> None:
        """News of all channels that a frame has."""
        frame = latest.frame
        self.learn(frame.layout.key, frame.layout.unit)
        at = self.places(frame.layout.key)
        self.value[at], self.quality[at], self.at[at] = frame.value, frame.quality, ms(frame.at)
        self.mono = max(self.mono, frame.at.mono)


def is_alive(latest: Latest | None, now: float) -> bool:
    """Whether a source still answers at `now`, s monotonic."""
    if latest is None:
        return False
    frame = latest.frame
    patience = OFFLINE_AFTER * float(frame.layout.stale.max()) if len(frame.layout) else 0.0
    return now - latest.seen <= patience and not (frame.quality == Quality.OFFLINE).all()


# -- the session ----------------------------------------------------------------------------------------


class Told(NamedTuple):
    """What the host knows of one alarm point."""

    id: str
    edge: int
    mono: float  # s, when that was decided


class Edge(Session):
    """A session in this language: births, deaths, sequence, the primary host, and what is commanded."""

    will_after = True  # a DISCONNECT of MQTT 5 keeps the will, whose number no birth has any more
    receipts = RECEIPT

    def __init__(self, settings: Sparkplug, wire: Wire, topics: Topics, bdseq: int, brief: Brief) -> None:
        super().__init__(settings, wire, brief)
        self.mine = settings
        self.topics, self.bdseq = topics, bdseq
        self.names = Names(settings.aliases)
        self.seq = 0
        self.devices: dict[str, Device] = {}
        self.points = self._unsaid()  # metric of each alarm point -> what the host knows of it
        self.config = self.who.config  # of these points
        self.few = False  # the births name no point before there is something to say of it
        self.asked = False  # somebody wants births
        self.bore = float("-inf")  # s of the loop, when they were last said
        self.began = self.loop.time()
        self.host = settings.host and f"{NAMESPACE}/STATE/{settings.host}"
        self.doubtful: deque[tuple[float, Item]] = deque()  # sent, but who knows whether the host was still there
        self.doubtful_bulk: deque[tuple[float, Item]] = deque()
        self.partings: list[str] = []  # why to leave this server

    # -- births and deaths --------------------------------------------------------------------------

    def greet(self) -> None:
        self.wire.hear(self.topics.of("NCMD"), LARGEST if self.mine.commands else COMMAND_BYTES)
        if self.mine.devices:
            self.wire.hear(self.topics.of("DCMD", "+"))
        if self.host:
            self.wire.hear(self.host)
        else:
            self._be_born()

    def goodbye(self, at: Instant) -> Message:
        return self.topics.death(self.bdseq)

    def _unsaid(self) -> dict[tuple[str, str], Told]:
        """Every alarm point, before anything was said of it."""
        known, wants = self.who.points, self.settings.wants_point
        return {point: Told("", 0, float("-inf")) for point, level in known.items() if wants(point, level)}

    def _be_born(self) -> None:
        births = [self.say(message) for message in self._births()]
        if self.births is None:
            self.births = births

    def _births(self) -> list[Message]:
        """NBIRTH and the DBIRTH of every device that is there. From now on the host knows what they say."""
        now = self.clock.now()
        latest = {source: one for source, one in self.feed.latest().items() if self.settings.wants_source(source)}
        for source, layout in self.who.layouts.items():
            if self.settings.wants_source(source):
                self._device(source).learn(layout.key, layout.unit)
        for source, one in latest.items():
            self._device(source).stands(one)
        self.bore, self.asked = self.loop.time(), False
        birth = self._node_birth(now)
        if (self.curt or size(birth) > self.largest) and not self.few:
            self.few, self.points = True, {}
            birth = self._node_birth(now)
        births = [birth]
        for device in self.devices.values():
            device.born = device.born or is_alive(latest.get(device.source), now.mono)
            if device.born and self.mine.devices:
                births.append(self._device_birth(device, now))
        return births

    def _device(self, source: str) -> Device:
        return self.devices.setdefault(source, Device(source))

    def _node_birth(self, now: Instant) -> Message:
        at = ms(now)
        metrics = [
            bdseq(self.bdseq, at),
            Metric(REBIRTH, Type.BOOLEAN, False, at),
            Metric("Properties/Version", Type.STRING, self.who.version, at),
            Metric("Properties/Configuration", Type.STRING, self.who.config, at),
            Metric("Properties/Boot", Type.STRING, self.who.boot, at),
            Metric(EVENT, Type.STRING, None, at),
            Metric(DRILL, Type.STRING, None, at),
        ]
        if self.mine.servers:
            metrics.append(Metric(NEXT, Type.BOOLEAN, False, at))
        if self.settings.ranges:
            metrics.append(Metric(RANGE, Type.STRING, None, at))
        if self.settings.receipts:
            metrics.append(Metric(RECEIPT, Type.STRING, None, at))
        if self.settings.commands:
            metrics.append(Metric(COMMAND, Type.STRING, None, at))
        standing = {} if self.curt else {alarm.point: alarm for alarm in self.open_alarms()}
        for point in self.points:
            if point not in standing:
                metrics.append(Metric(alarm_name(*point), Type.STRING, NORMAL, at, properties=self._level(point)))
                self.points[point] = Told("", 0, now.mono)
        for point, alarm in standing.items():
            metrics.append(Metric(alarm_name(*point), Type.STRING, alarm.state, ms(alarm.at), properties=about(alarm)))
            self.points[point] = Told(alarm.id, alarm.edge, now.mono)
        if not self.mine.devices:
            for device in self.devices.values():
                metrics += self._standing(device, at)
        metrics.sort(key=lambda one: one.at or 0)
        told = [metric(self.names.born("", one)) for one in metrics]
        return Message(self.topics.of("NBIRTH"), framed(told, at), False, 0)

    def _level(self, point: tuple[str, str]) -> dict[str, Property]:
        level = self.who.points.get(point)
        return WORTH[Quality.GOOD] | ({"level": (Type.STRING, level)} if level else {})

    def _device_birth(self, device: Device, now: Instant) -> Message:
        device.born, device.spoke = True, self.loop.time()
        told = [metric(self.names.born(device.source, one)) for one in self._standing(device, ms(now))]
        return Message(self.topics.of("DBIRTH", identifier(device.source)), framed(told, ms(now)), False, 0)

    def _standing(self, device: Device, at: int) -> list[Metric]:
        """All of a device as it was last told; what never was, is null and stale `at` that time."""
        prefix = "" if self.mine.devices else f"{device.source}/"
        found = []
        for i, key in enumerate(device.key):
            quality, unit = int(device.quality[i]), device.unit[i]
            known = WORTH[Quality(quality)] | ({"engUnit": (Type.STRING, unit)} if unit else {})
            since = int(device.at[i]) or at
            found.append(Metric(prefix + key, Type.DOUBLE, number(device.value[i]), since, properties=known))
        return sorted(found, key=lambda one: one.at or 0)

    def _bury(self) -> None:
        """Tell of devices that do not answer any more; what was owed of them went before."""
        now = self.clock.now()
        latest = self.feed.latest()
        for device in self.devices.values():
            if not device.born or is_alive(latest.get(device.source), now.mono):
                continue
            last = latest.get(device.source)
            owes = (
                last is not None and device.mono < last.frame.at.mono
            )  # its last word is on its way, be it as backlog
            if self.loop.time() - device.spoke < (PATIENCE if owes else QUIET):
                continue
            device.born = False
            at = ms(now)
            if self.mine.devices:
                self.say(Message(self.topics.of("DDEATH", identifier(device.source)), framed([], at), False, 0))
                continue
            device.quality[:] = Quality.OFFLINE
            device.at[:] = at
            told = [self._encoded("", one) for one in self._standing(device, at)]
            self.say(Message(self.topics.of("NDATA"), framed(told, at), False, 0))

    def sealed(self, message: Message) -> Message:
        """With its sequence number, which counts what goes over the wire and nothing else."""
        if message.qos:
            return message  # NDEATH has none
        if message.topic == self.topics.of("NBIRTH"):
            self.seq = 0
        payload = message.payload + framed([], seq=self.seq)
        self.seq = (self.seq + 1) % 256
        return message._replace(payload=payload)

    # -- items --------------------------------------------------------------------------------------

    def words(self, item: Item, times: int) -> list[Message]:
        body = item.body
        if isinstance(body, Batch):
            return self._telemetry(item, body)
        if isinstance(body, Event):
            return [self._node_data([self._event(item, body)])]
        if body.drill:
            told = Metric(DRILL, Type.STRING, body.text, ms(body.at), properties=about(body) | _key(item))
            return [self._node_data([told._replace(historical=item.boot != self.who.boot)])]
        return self._alarm(item, body)

    def _event(self, item: Item, event: Event) -> Metric:
        told = {"kind": plain(event.kind), "source": plain(event.source), "facts": plain(event.facts or None)}
        known = {name: value for name, value in told.items() if value is not None} | _key(item)
        return Metric(EVENT, Type.STRING, event.text, ms(event.at), None, item.resent, properties=known)

    def _alarm(self, item: Item, alarm: Alarm) -> list[Message]:
        births = []
        if alarm.point not in self.points:
            self.points[alarm.point] = Told("", 0, float("-inf"))
            births = self._births()
        known = self.points[alarm.point]
        last = (known.id, known.edge) == (alarm.id, alarm.edge)
        late = not last and (item.boot != self.who.boot or alarm.at.mono < known.mono)
        if not late:
            self.points[alarm.point] = Told(alarm.id, alarm.edge, max(known.mono, alarm.at.mono))
        told = Metric(alarm_name(*alarm.point), Type.STRING, alarm.state, ms(alarm.at), None, late)
        return [*births, self._node_data([told._replace(properties=about(alarm) | _key(item))])]

    def _node_data(self, metrics: Iterable[Metric]) -> Message:
        told = [self._encoded("", one) for one in metrics]
        return Message(self.topics.of("NDATA"), framed(told, ms(self.clock.now())), False, 0)

    def _encoded(self, device: str, one: Metric) -> bytes:
        return metric(self.names.data(device, one), self.mine.datatypes)

    def _telemetry(self, item: Item, batch: Batch) -> list[Message]:
        device = self._device(batch.source)
        births: list[Message] = []
        new = device.learn(batch.key, batch.unit)
        if new and (device.born or not self.mine.devices):
            births = self._births()
        if not device.born:
            if (latest := self.feed.latest().get(batch.source)) is not None:
                device.stands(latest)
            device.born = True
            births += [self._device_birth(device, self.clock.now())] if self.mine.devices else []
        device.spoke = self.loop.time()
        metrics = list(self._changes(item, batch, device))
        if not metrics:
            return births
        topic = self.topics.of("DDATA", identifier(batch.source)) if self.mine.devices else self.topics.of("NDATA")
        at, key = ms(self.clock.now()), token_of(item).decode()
        parts = _parts(metrics, min(PART, max(1, self.largest - len(topic) - 256)))
        return births + [
            Message(topic, framed(part, at, uuid=f"{key}#{n}" if n else key), False, 0) for n, part in enumerate(parts)
        ]

    def _changes(self, item: Item, batch: Batch, device: Device) -> Iterator[bytes]:
        """What the rows of a batch change, in their order; of rows that are no news, against the row before."""
        at = device.places(batch.key)
        prefix = "" if self.mine.devices else f"{device.source}/"
        owner = device.source if self.mine.devices else ""
        heads = self.names.heads(owner, prefix, batch.key)
        old = item.historical or item.resent or item.boot != self.who.boot
        stamps = np.maximum(0, np.rint(batch.wall * 1000)).astype(np.int64)
        value: Array | None = None
        quality: Array | None = None
        for t in range(len(batch.mono)):
            late = old or batch.mono[t] < device.mono
            if not late:
                value, quality = device.value[at], device.quality[at]
            mine, worths = batch.value[t], batch.quality[t]
            if value is None or quality is None:
                moved = np.ones(len(mine), bool)
            else:
                same = (mine == value) | (np.isnan(mine) & np.isnan(value))
                moved = ~(same & (worths == quality))
            if not moved.any():
                moved[:] = True  # it is reported that nothing moved
            said = worths != Quality.GOOD  # or it just was: where nothing is said, a host takes it for good
            said |= True if quality is None else quality != Quality.GOOD
            which = np.flatnonzero(moved).tolist()
            told = [TOLD[int(worths[i]), bool(said[i]), batch.synced] for i in which]
            row = [heads[i] for i in which], int(stamps[t]), mine[which].tolist(), told
            yield from doubles(*row, bool(late), self.mine.datatypes)
            value, quality = mine, worths
            if not late:
                device.value[at], device.quality[at], device.at[at] = mine, worths, stamps[t]
                device.mono = float(batch.mono[t])

    # -- what the host says -------------------------------------------------------------------------

    def hear(self) -> None:
        while self.wire.denied:
            self._tell(
                "refused", f"{self.wire.where}: may not listen to {self.wire.denied.popleft()}: check rights (ACL)"
            )
        while self.wire.said:
            said = self.wire.said.popleft()
            if said.topic == self.host:
                self._state(said.payload)
            elif not said.retained:  # a command is for now
                self._command(said.topic, said.payload)
        if self.asked and self.births is not None and self.loop.time() - self.bore >= CALM:
            self._be_born()
        if self.partings:
            raise Leaving(f"{self.wire.where}: {self.partings[0]}")

    def _state(self, payload: bytes) -> None:
        """The primary host came or went. Of two words the one with the later stamp counts."""
        try:
            state = msgspec.json.decode(payload, type=HostState)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return
        stamps = self.feed.notes.setdefault("hosts", {})  # each server has its own word
        if state.timestamp < stamps.get(self.settings.url, 0):
            return
        stamps[self.settings.url] = state.timestamp
        if state.online and self.births is None:
            self._be_born()
        elif not state.online and (self.births is not None or self.mine.servers):
            self.partings.append(f"primary host {self.mine.host} is offline")

    def _command(self, topic: str, payload: bytes) -> None:
        try:
            metrics = decode(payload).metrics
        except Malformed as fault:
            self._tell("command-refused", f"{self.wire.where}: {topic}: {fault}")
            return
        for one in metrics:
            name = self.names.meant(one) if topic == self.topics.of("NCMD") else one.name
            if topic != self.topics.of("NCMD"):
                self._tell("command-refused", f"{topic}: {name}: nothing is written by Sparkplug", metric=name)
            elif name == REBIRTH and one.value is True:
                self.asked = True
            elif name == NEXT and one.value is True and self.mine.servers:
                self.partings.append("the next server was asked for")
            elif name == RECEIPT and isinstance(one.value, str):
                self.receive(one.value.encode("utf-8", "replace").split(b"\n"))
            elif name == RANGE and isinstance(one.value, str) and self.settings.ranges:
                self.asked_for(one.value.encode("utf-8", "replace"))
            elif name == COMMAND and isinstance(one.value, str) and self.settings.commands:
                self.commanded(Said("", one.value.encode("utf-8", "replace"), False))
            elif name not in (REBIRTH, NEXT):
                self._tell("command-refused", f"{topic}: {name or one.alias} cannot be written", metric=name)

    # -- looks --------------------------------------------------------------------------------------

    def look(self) -> None:
        super().look()
        now = self.loop.time()
        if self.births is None:
            if self.mine.servers and now - self.began > self.mine.patience:
                raise Leaving(
                    f"{self.wire.where}: no word of primary host {self.mine.host} in {self.mine.patience:g} s"
                )
            return
        if self.config != self.who.config:  # other names are in force
            self.config, self.asked = self.who.config, True
            self.points = {} if self.few else {p: self.points.get(p, told) for p, told in self._unsaid().items()}
            for device in self.devices.values():
                device.loses(self.who.layouts[device.source].key if device.source in self.who.layouts else ())
        self._bury()
        for held in (self.doubtful, self.doubtful_bulk):
            while held and (held[0][0] <= now or (held is self.doubtful_bulk and len(held) > HELD)):
                self.feed.done(held.popleft()[1])

    def done(self, item: Item) -> None:
        """The broker has it. With a primary host, only time tells whether that was still there."""
        if not self.host or not self.mine.linger:
            self.feed.done(item)
            return
        held = self.doubtful if item.lane in ("alarm", "event") else self.doubtful_bulk
        held.append((self.loop.time() + self.mine.linger, item))


class HostState(msgspec.Struct, frozen=True):
    """STATE of a host application."""

    online: bool
    timestamp: int  # ms UTC


def alarm_name(rule: str, channel: str) -> str:
    """The metric of an alarm point.

    >>> alarm_name("high", "tank/level")
    'Alarms/tank/level/high'
    """
    return f"Alarms/{channel}/{rule}"


def _key(item: Item) -> dict[str, Property]:
    told: dict[str, Property] = {"key": (Type.STRING, token_of(item).decode())}
    if item.original is not None and not isinstance(item.original, Batch):
        told["at_original"] = Type.DATETIME, ms(item.original.at)
    return told | ({"resent": (Type.BOOLEAN, True)} if item.resent else {})


def _parts(metrics: Sequence[bytes], most: int) -> list[list[bytes]]:
    """The metrics in as many heaps as are needed, each of `most` bytes about."""
    parts: list[list[bytes]] = [[]]
    room = most
    for one in metrics:
        if parts[-1] and len(one) + 4 > room:
            parts.append([])
            room = most
        parts[-1].append(one)
        room -= len(one) + 4
    return parts
