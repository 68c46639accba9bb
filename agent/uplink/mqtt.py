"""MQTT, in the native language of this program (`design.md` 6). The only module that knows paho.

Under `vedette/<site>/<node>/`, QoS 1, JSON in UTF-8, times in ms UTC:

    state                              retained, and the will: `state` is "online" (with the open `alarms`) or "offline"
    alarm/<level>/<channel>/<rule>     one edge; retained while the alarm is active, then an empty message clears it;
                                       so one does where the level moved away from (`before`)
    event                              anything else that happened
    evidence/<alarm id>                what a camera kept of an alarm: an event, of the same stream, whose `facts` are
                                       the manifest, with `sha256` of its file
    telemetry/<source>                 columns: `t` [r], `key` [n], `unit` [n], `value` [r][n], `quality` [r][n]
    backfill/<source>                  the same with `historical`: it was measured while the link was down or slow
    receipt                            to this node, with `receipts`: {"boot", "stream", "seq"} of an alarm edge

A channel is `source/key`, so it makes two levels of the topic; `#`, `+` and `%` in names are written %23, %2B,
%25. Every message but `state` carries `boot`, `stream` and `seq`: together the platform's key; `seq` counts
from 1 without a gap. `resent` marks a message that may have been sent before. `synced` says whether the wall
clock could be trusted, at the time or since: stamps that were put right later are told with what stood there at
first, `t_original`, `at_original`, `since_original`. A `quality` row that is the same for all keys is one number in a
list of one. A value that is not known is null; one that float32 holds exactly is written with the digits that float32
needs.

An alarm with `"drill": true` is none: somebody proves the way to the platform, which should show it as a drill and
acknowledge it like any other message. It is `raised` and `normal` at once, its text begins with DRILL (or its Chinese
word), it is never retained, never among the open ones, and no other edge follows.

The `alarms` of `state` are sorted by level, red first, and the newest of a level first. Where they would make the
message larger than the broker takes, or than 64 kB, the end of the list is left out and `more` says how many.

With `receipts` an alarm edge is done when the platform says that it has it, not when the broker does. The platform
says so on `receipt`, not retained, each time that it hears the edge. In MQTT 5 the alarm names this topic as its
response topic; its correlation data, sent back with any payload, will do. An edge without a receipt is sent again
with `resent`, in growing pauses, for ever. Nobody but the platform should have the right to publish there.

paho is a bare wire: one client per connection, no thread, no queue of its own; it holds what is in flight
and nothing else (reliability.md 1.2 lists what its own queue loses). An item is done when its PUBACK says so.
"""

from __future__ import annotations

import asyncio
import errno
import heapq
import os
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec
import numpy as np
import paho.mqtt.client as paho
from msgspec import Meta
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from .. import secret
from ..core.alarm import LEVELS, Alarm, Point
from ..core.errors import LineLost, Refused
from ..core.frame import Array, Instant
from ..core.ports import Batch, Clock, Event, Feed, Identity, Item, Uplink
from ..hand import Hand

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
VERSIONS = {"auto": (V5, V311), "5": (V5,), "3.1.1": (V311,)}
SCHEMES = {"mqtt": 1883, "mqtts": 8883}

WINDOW_BYTES = 256 * 1024  # of bulk in flight at most
FIRST_BYTES = 8 * 1024  # of bulk in flight at first: 1 s at 64 kbit/s; doubles with each round trip
SLUGGISH = 1.0  # s for a PUBACK of bulk, above which less is put in flight: an alarm must not wait behind it
SLOWEST = 4096  # bytes/s; the PUBACK deadline grows by what is in flight at this speed
CONNECT = 10.0  # s for the CONNACK
KNOCK = 2.0  # s for TCP; the kernel's own repetitions grow, so a new attempt finds a link that is back sooner
USER_TIMEOUT = 5000  # ms of unacknowledged TCP data; noticed a half-open link in 5.6 s (reliability.md 1.2)
TURN = 32  # messages handed to the wire before the loop serves others
INFLIGHT = 1000  # messages in flight at most, whatever the broker allows
STATE_BYTES = 64 * 1024  # of a state message at most, whatever the broker allows
TICK = 0.5  # s between looks at deadlines
SWEEP = 1.0  # s after which what the broker kept of this node has arrived
STOP = 0.9  # s for a farewell
AGAIN = 1.0  # s before a refused message is tried again; doubles for alarms up to LONGEST
LONGEST = 30.0  # s
TRIES = 5  # refusals that will never change, after which a message is set aside; reliability rule 1.4.8
BIRTHS = 5  # connections in a row that broke over the birth, after which it is told without the open alarms
REMIND = 300.0  # s between repetitions of an alarm that has no receipt, at most
RECEIPT_BYTES = 1024  # of a receipt; what is larger is none
HEARD = 4096  # receipts that wait to be looked at; where more come the oldest go, and their alarms are sent again
LARGEST = 1 << 20  # bytes of a packet that this node takes

# MQTT 5 reason codes, section 2.4: what they mean for somebody who has to mend it.
HINTS = {
    0x80: "the broker does not say why",
    0x82: "protocol error: is this an MQTT broker?",
    0x83: "the broker has its own reason; see its log",
    0x84: "the broker does not speak this MQTT version; set version",
    0x85: "the broker does not accept the client's name; check site and node",
    0x86: "wrong user or password: check user and password of uplink {name!r}",
    0x87: "not authorised: check user, password and rights (ACL) of uplink {name!r}",
    0x88: "the broker is not available",
    0x89: "the broker is busy",
    0x8A: "banned by the broker",
    0x8B: "the broker is shutting down",
    0x8E: "somebody else connected with the same name: is a second node called the same?",
    0x90: "the broker does not allow this topic",
    0x95: "larger than the broker allows",
    0x97: "quota exceeded: the broker or the account is full",
    0x99: "the broker does not like the payload's format",
    0x9C: "use another server",
    0x9D: "the server has moved",
    0x9F: "too many connections in a short time",
}
# Of an alarm: left out where empty.
OPTIONAL = {"advice", "reason", "until", "group", "first", "fold", "before", "drill"}
FOR_EVER = {0x87, 0x90, 0x95, 0x99}  # the same message will be refused again
# Why a connection ended: what has nothing to do with what was sent. The codes are of DISCONNECT.
INNOCENT = {0x88, 0x89, 0x8B, 0x8D, 0x8E, 0x98, 0x9C, 0x9D, 0x9F}
DEAD = {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}


class Mqtt(Uplink, tag="mqtt", frozen=True, kw_only=True):
    """One broker."""

    url: str  # mqtt://host[:1883] or mqtts://host[:8883]
    user: str = ""
    password: str = ""  # where it is kept, never itself: env:NAME, file:/path or credential:NAME (systemd)
    ca: str = ""  # file of the authority that signed the broker's certificate; empty: those of the system
    cert: str = ""  # file of the client's certificate
    key: str = ""  # file of its key
    window: Annotated[int, Meta(ge=1, le=1000)] = 8  # messages of telemetry in flight
    keepalive: Annotated[int, Meta(ge=1, le=10)] = 10  # s; a dead link is noticed after twice as long (1.2)
    prefix: str = "vedette"  # first level of the topics
    version: Literal["auto", "5", "3.1.1"] = "auto"  # auto: 5, and 3.1.1 where the broker cannot
    puback_deadline: Annotated[float, Meta(gt=0)] = 10.0  # s
    receipts: bool = False  # an alarm is delivered when the platform says so, not when the broker does
    receipt_deadline: Annotated[float, Meta(gt=0)] = 10.0  # s until an alarm is sent again; doubles each time

    def __post_init__(self) -> None:
        place = _split(self.url)
        if place.username or place.password:
            raise ValueError("user and password do not belong into url; use user and password")
        if wrong := secret.fault(self.password, self.user):
            raise ValueError(wrong)
        if (self.ca or self.cert or self.key) and place.scheme != "mqtts":
            raise ValueError("ca, cert and key need mqtts:// in url")
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key go together")
        if not self.prefix or set("#+") & set(self.prefix):
            raise ValueError("prefix must not be empty nor contain # or +")

    async def send(
        self,
        feed: Feed,
        who: Identity,
        open_alarms: Callable[[], Iterable[Alarm]],
        clock: Clock,
        tell: Callable[[Event], None],
    ) -> None:
        """Connect and deliver until cancelled, then say goodbye. Raises `LineLost` or `Refused`."""
        language = Language(f"{self.prefix}/{_level(who.site)}/{_level(who.node)}", who)
        wake = asyncio.Event()
        fallback = ""
        for version in VERSIONS[self.version]:
            wire = Wire(self, version, f"{self.prefix}-{who.site}-{who.node}-{self.name}", language.will(), wake)
            try:
                await wire.open()
                break
            except Unsupported as fault:
                if version == VERSIONS[self.version][-1]:
                    raise
                fallback = f"{fault}; it is spoken to in MQTT 3.1.1, where a refused message looks like a delivered one"
        if fallback:
            tell(Event("protocol-fallback", self.name, clock.now(), fallback))
        session = Session(self, wire, feed, language, open_alarms, clock, tell)
        reason = "stopped"
        feed.watch(wake.set)
        try:
            await session.run()
        except asyncio.CancelledError:
            said = await session.farewell(language.offline(clock.now()))
            wire.close(politely=said)
            raise
        except (LineLost, Refused) as fault:
            reason = str(fault)
            raise
        finally:
            feed.watch(_nothing)
            feed.online(False)
            wire.close()
            if session.up:
                tell(Event("link-down", self.name, clock.now(), reason))

    def place(self) -> tuple[str, int]:
        """Host and port."""
        place = _split(self.url)
        return place.hostname or "", place.port or SCHEMES[place.scheme]

    def secret(self) -> str:
        """The password, from where it is kept. Raises `LineLost` where it is not there."""
        return secret.read(self.password, f"connect uplink {self.name!r}")

    def context(self) -> ssl.SSLContext | None:
        """TLS as configured, None without. Raises `LineLost` where a file is missing or damaged."""
        if _split(self.url).scheme != "mqtts":
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            raise LineLost(f"connect uplink {self.name!r}: ca, cert or key: {error}") from error
        return context


def _split(url: str) -> SplitResult:
    place = urlsplit(url)
    if place.scheme not in SCHEMES or not place.hostname or place.path.strip("/") or place.query or place.fragment:
        raise ValueError(f"url must be mqtt://host:port or mqtts://host:port, not {url!r}")
    _ = place.port  # raises ValueError where it is no port
    return place


def _nothing() -> None:
    pass


# -- what is said ---------------------------------------------------------------------------------------


class Message(NamedTuple):
    topic: str
    payload: bytes
    retain: bool
    answer: str = ""  # topic on which a receipt is wanted
    token: bytes = b""  # what the receipt is to bring back


ENCODER = msgspec.json.Encoder(enc_hook=str)
HEAD = 16  # bytes of an MQTT packet around topic and payload, at most


def size(message: Message) -> int:
    """Bytes of the packet, at most."""
    asked = len(message.answer.encode()) + len(message.token) + HEAD if message.answer else 0
    return len(message.payload) + len(message.topic.encode()) + HEAD + asked


def ms(at: Instant) -> int:
    """Milliseconds UTC."""
    return round(at.wall * 1000)


def _level(name: str) -> str:
    """A name as part of a topic: `#` and `+` are not allowed there, and `%` keeps it reversible.

    >>> _level("pump #2")
    'pump %232'
    """
    return name.replace("%", "%25").replace("#", "%23").replace("+", "%2B").replace("\0", "%00")


def _alarm(alarm: Alarm) -> dict[str, Any]:
    fields = msgspec.structs.asdict(alarm)
    fields |= {"since": ms(alarm.since), "at": ms(alarm.at), "until": alarm.until and ms(alarm.until)}
    return {name: value for name, value in fields.items() if value or name not in OPTIONAL}


def _stamps(batch: Batch) -> list[int]:
    """Milliseconds UTC of each row."""
    return np.rint(batch.wall * 1000).astype(np.int64).tolist()  # type: ignore[no-any-return]


def _originally(body: Alarm | Event | Batch) -> dict[str, Any]:
    """What the stamps said before they were put right."""
    if isinstance(body, Batch):
        return {"t_original": _stamps(body)}
    since = {"since_original": ms(body.since)} if isinstance(body, Alarm) else {}
    return {"at_original": ms(body.at)} | since


class Language:
    """Items as messages. Keeps only encoded lists of channels, by source."""

    def __init__(self, root: str, who: Identity) -> None:
        self.root, self.who = root, who
        self._lists: dict[str, tuple[Any, Any, msgspec.Raw, msgspec.Raw]] = {}

    @property
    def alarms(self) -> str:
        """Filter of all alarm topics of this node."""
        return f"{self.root}/alarm/#"

    @property
    def receipts(self) -> str:
        """Where the platform says what it has."""
        return f"{self.root}/receipt"

    def birth(self, alarms: Iterable[Alarm], at: Instant, largest: int = STATE_BYTES) -> Message:
        """The retained word that this node is there, and what is not normal: the platform reconciles by it.

        As many alarms as fit into a packet of `largest` bytes and into `STATE_BYTES`, the most important first.
        """
        who = {"site": self.who.site, "node": self.who.node, "version": self.who.version, "config": self.who.config}
        rest = sorted(alarms, key=lambda alarm: (LEVELS.index(alarm.level), -alarm.at.wall))

        def message(listed: list[msgspec.Raw]) -> Message:
            more = {"more": len(rest) - len(listed)} if len(listed) < len(rest) else {}
            return self._state("online", **who, since=ms(at), synced=at.synced, alarms=listed, **more)

        room = min(STATE_BYTES, largest) - size(message([]))
        listed = []
        for alarm in rest:
            text = msgspec.Raw(ENCODER.encode(_alarm(alarm)))
            room -= len(text) + 1
            if room < 0:
                break
            listed.append(text)
        return message(listed)

    def will(self) -> Message:
        """What the broker says when the link is lost; it has no time, since nobody knows when that will be."""
        return self._state("offline")

    def offline(self, at: Instant) -> Message:
        """What this node says before it leaves."""
        return self._state("offline", since=ms(at), synced=at.synced)

    def _state(self, state: str, **fields: Any) -> Message:
        body = {"schema": "vedette.state/1", "state": state, "boot": self.who.boot, **fields}
        return Message(f"{self.root}/state", ENCODER.encode(body), True)

    def topic(self, alarm: Alarm) -> str:
        """Where the edges of an alarm are told, and where it is retained."""
        return f"{self.root}/alarm/{alarm.level}/{_level(alarm.channel)}/{_level(alarm.rule)}"

    def messages(self, item: Item, is_open: Callable[[Alarm], bool]) -> list[Message]:
        """What to send for one item, in this order. An alarm is retained only while it is active and `is_open`."""
        body = item.body
        head = {"boot": item.boot, "stream": item.stream, "seq": item.seq}
        if item.resent:
            head["resent"] = True
        if item.original is not None:
            head |= _originally(item.original)
        if isinstance(body, Batch):
            return [self._telemetry(item, body, head)]
        head["synced"] = body.at.synced
        if isinstance(body, Event):
            fields = {"at": ms(body.at), "kind": body.kind, "source": body.source, "text": body.text}
            text = ENCODER.encode({"schema": "vedette.event/1", **head, **fields, "facts": body.facts})
            kept = f"evidence/{_level(str(body.facts.get('alarm')))}" if body.kind == "evidence" else "event"
            return [Message(f"{self.root}/{kept}", text, False)]
        topic = self.topic(body)
        text = ENCODER.encode({"schema": "vedette.alarm/1", **head, **_alarm(body)})
        if body.state.startswith("active"):
            told = Message(topic, text, is_open(body))  # else it is over already: nothing stale is retained
            if body.before is None:
                return [told]
            return [told, Message(self.topic(msgspec.structs.replace(body, level=body.before)), b"", True)]
        return [Message(topic, text, False), Message(topic, b"", True)]

    def _telemetry(self, item: Item, batch: Batch, head: dict[str, Any]) -> Message:
        key, unit = self._channels(batch)
        uniform = (batch.quality == batch.quality[:, :1]).all(axis=1) if batch.quality.size else np.array([], bool)
        body = {
            "schema": "vedette.telemetry/1",
            **head,
            "synced": batch.synced,
            **({"historical": True} if item.historical else {}),
            "source": batch.source,
            "t": _stamps(batch),
            "key": key,
            "unit": unit,
            "value": short(batch.value).tolist(),
            "quality": [
                row[:1].tolist() if same else row.tolist() for row, same in zip(batch.quality, uniform, strict=True)
            ],
        }
        lane = "backfill" if item.historical else "telemetry"
        return Message(f"{self.root}/{lane}/{_level(batch.source)}", ENCODER.encode(body), False)

    def _channels(self, batch: Batch) -> tuple[msgspec.Raw, msgspec.Raw]:
        """Channels and units, encoded once for as long as they stay the same objects."""
        known = self._lists.get(batch.source)
        if known is None or known[0] is not batch.key or known[1] is not batch.unit:
            raw = msgspec.Raw(ENCODER.encode(batch.key)), msgspec.Raw(ENCODER.encode(batch.unit))
            known = self._lists[batch.source] = (batch.key, batch.unit, *raw)
        return known[2], known[3]


TEN: Array = 10.0 ** np.arange(23)  # powers of ten that float64 holds exactly


def short(value: Array) -> Array:
    """Numbers that float32 holds exactly, as the float64 that prints with 7 or 9 digits and means the same float32.

    Measured: halves the message. Anything else comes back as it is.

    >>> short(np.array([20.1], np.float32).astype(float))
    array([20.1])
    """
    with np.errstate(all="ignore"):
        single = value.astype(np.float32)
        exact = single == value
        if not (exact | np.isnan(value)).all():
            return value
        magnitude = np.floor(np.log10(np.abs(value)))
        power = np.where(np.isfinite(magnitude), 8 - magnitude, 0).astype(int)
        nine = TEN[np.clip(power, 0, 22)]
        seven = TEN[np.clip(power - 2, 0, 22)]
        few = np.rint(value * seven) / seven
        most = np.where(few.astype(np.float32) == single, few, np.rint(value * nine) / nine)
        return np.where(most.astype(np.float32) == single, most, value)


class Receipt(msgspec.Struct, frozen=True):
    """What a platform says of an alarm edge that it has."""

    boot: str
    stream: str
    seq: int

    @property
    def token(self) -> bytes:
        return _token(self)


def _token(one: Item | Receipt) -> bytes:
    return f"{one.boot}/{one.stream}/{one.seq}".encode()


def acknowledged(payload: bytes, correlation: bytes) -> list[bytes]:
    """The tokens that a message on the topic of receipts may stand for; anybody's bytes.

    >>> acknowledged(b'{"boot": "1-a", "stream": "alarm", "seq": 7}', b"")
    [b'1-a/alarm/7']
    >>> acknowledged(b"nonsense", b"1-a/alarm/7")
    [b'1-a/alarm/7']
    """
    tokens = [correlation] if correlation else []
    try:
        return [*tokens, msgspec.json.decode(payload, type=Receipt).token]
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return tokens


# -- the wire -------------------------------------------------------------------------------------------


class Unsupported(LineLost):
    """The broker does not speak this version, or closed without a word."""


class Wire:
    """One connection. paho's callbacks only note; everything happens when the owner calls."""

    def __init__(self, settings: Mqtt, version: MQTTProtocolVersion, id: str, will: Message, wake: asyncio.Event):
        self.settings, self.version, self.wake = settings, version, wake
        self.acks: deque[tuple[int, int]] = deque()  # packet id, reason code
        self.retained: dict[str, bytes] = {}  # what the broker kept of an earlier connection, by topic
        self.inbox = ""  # topic of receipts
        self.receipts: deque[tuple[bytes, bytes]] = deque(maxlen=HEARD)  # payload, correlation data
        self.lost = ""  # why the connection is gone
        self.innocent = False  # that has nothing to do with what was sent
        self.answer: tuple[int, Any] | None = None  # reason code and properties of the CONNACK
        self.where = f"uplink {settings.name!r} at {settings.url}"
        self._ready = {"read": False, "write": False}
        self._errno = 0  # of the socket
        self._socket: Any = None
        self._writing = False
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=id,
            protocol=version,
            clean_session=None if version == V5 else True,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(0)  # we own the window
        client.connect_timeout = KNOCK
        client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_socket_open = _tune
        client.on_socket_close = self._on_socket_close
        self.client = client

    async def open(self) -> None:
        """Connect and wait for the broker's answer. Raises `LineLost`, `Refused` or `Unsupported`."""
        settings = self.settings
        host, port = settings.place()
        if settings.user:
            self.client.username_pw_set(settings.user, settings.secret() if settings.password else None)
        if (context := settings.context()) is not None:
            self.client.tls_set_context(context)
        start: dict[str, Any] = {}
        if self.version == V5:
            takes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            takes.MaximumPacketSize = LARGEST
            start = {"clean_start": True, "properties": takes}
        hand = Hand("connect")  # names and handshakes block
        try:
            await hand.do(lambda: self.client.connect(host, port, settings.keepalive, **start))
        except (OSError, ValueError) as error:  # ValueError: a certificate for somebody else
            raise LineLost(f"connect {self.where}: {_why(error)}") from error
        finally:
            hand.end()
        self._socket = self.client.socket()
        loop = asyncio.get_running_loop()
        if self._socket is not None:
            loop.add_reader(self._socket, self._note, "read")
        deadline = loop.call_later(CONNECT, self._give_up)
        try:
            while self.answer is None and not self.lost:
                self.pump()
                if self.answer is None and not self.lost:
                    await self.wake.wait()
                    self.wake.clear()
            self._judge()
        except BaseException:
            self.close()
            raise
        finally:
            deadline.cancel()

    def _judge(self) -> None:
        if self.answer is None:
            asked = "is this an MQTT broker?"
            if self.settings.url.startswith("mqtts"):
                asked = "does it ask for a client certificate?"
            kind = Unsupported if self.version == V5 and "no answer" not in self.lost else LineLost
            raise kind(f"connect {self.where}: closed without an answer ({self.lost}); {asked}")
        code = self.answer[0]
        if code == 0x84:
            raise Unsupported(f"connect {self.where}: {HINTS[code]}")
        if code >= 0x80:
            raise Refused(f"connect {self.where}: {hint(code, self.settings.name)}", code)

    def limit(self, name: str, default: int) -> int:
        """A limit that the broker named in its answer."""
        return int(getattr(self.answer[1] if self.answer else None, name, default))

    def publish(self, message: Message) -> int:
        """Hand one message to the wire. Returns its packet id; a lost connection shows in `lost`."""
        wanted = None
        if message.answer and self.version == V5:
            wanted = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            wanted.ResponseTopic, wanted.CorrelationData = message.answer, message.token
        return self.client.publish(message.topic, message.payload, 1, message.retain, wanted).mid

    def listen(self, topic: str) -> None:
        """Ask for what the broker keeps below `topic`: it arrives in `retained`, if the broker allows."""
        self.client.subscribe(topic, 0)

    def receive(self, topic: str) -> None:
        """Ask for what is said on `topic` from now on: it arrives in `receipts`, if the broker allows."""
        self.inbox = topic
        self.client.subscribe(topic, 1)

    def unlisten(self, topic: str) -> None:
        self.client.unsubscribe(topic)

    def pump(self) -> None:
        """Read and write what the socket allows."""
        if any(self._ready.values()) and self.client.socket() is not None:  # paho tells no number
            self._errno = self._errno or self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if self._ready["read"]:
            self._ready["read"] = False
            self._read()
            pending = getattr(self._socket, "pending", None)  # TLS keeps decrypted bytes that no select shows
            while pending is not None and not self.lost and self.client.socket() is not None and pending():
                self._read()
        if self._ready["write"]:
            self._ready["write"] = False
            self._failed(self.client.loop_write())
        self.arm()

    def _read(self) -> None:
        try:
            self._failed(self.client.loop_read())
        except (ValueError, LookupError, TypeError, struct.error, MQTTException) as error:
            self.lost = f"what came is not MQTT ({type(error).__name__})"  # paho takes much for granted

    def arm(self) -> None:
        """Ask to be woken for writing when something waits to be written."""
        wanted = self.client.socket() is not None and self.client.want_write()
        if wanted != self._writing:
            self._writing = wanted
            loop = asyncio.get_running_loop()
            if wanted:
                loop.add_writer(self._socket, self._note, "write")
            else:
                loop.remove_writer(self._socket)

    def tend(self) -> None:
        """Pings and their answers."""
        self._failed(self.client.loop_misc())

    def close(self, politely: bool = False) -> None:
        """Leave: politely, and the broker forgets the will; else the will tells that this node is gone."""
        if self._socket is not None:
            if politely:
                self.client.disconnect()
            if self.client.socket() is not None:
                self._on_socket_close(self.client, None, self._socket)
                self._socket.close()
        self._socket = None

    def _failed(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS and not self.lost:
            self.lost = paho.error_string(code).rstrip(".").lower()

    def _note(self, what: str) -> None:
        self._ready[what] = True
        self.wake.set()

    def _give_up(self) -> None:
        self.lost = self.lost or f"no answer in {CONNECT:g} s"
        self.wake.set()

    # paho's callbacks: note and return

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.answer = (reason.value, properties)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self.lost = hint(reason.value, self.settings.name)
            self.innocent = reason.value in INNOCENT
        elif self._errno:
            self.lost = self.lost or os.strerror(self._errno).lower()
            self.innocent = self._errno in DEAD
        self.lost = self.lost or "connection lost"
        self.wake.set()

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        self.acks.append((mid, reason.value))

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        if message.topic == self.inbox:
            if not message.retain and len(message.payload) <= RECEIPT_BYTES:
                correlation = getattr(message.properties, "CorrelationData", b"")
                self.receipts.append((bytes(message.payload), correlation))
        elif message.retain and message.payload:
            self.retained[message.topic] = bytes(message.payload)

    def _on_socket_close(self, client: Any, userdata: Any, sock: Any) -> None:
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(sock)
            loop.remove_writer(sock)
            self._writing = False


def hint(code: int, name: str) -> str:
    """What a reason code means, with its number."""
    return f"{HINTS.get(code, 'refused').format(name=name)} (0x{code:02x})"


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted: {error.verify_message}; check ca, the host's name, the clock"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}; is the port right, does the broker ask for a client certificate?"
    if isinstance(error, socket.gaierror):
        return f"the host's name cannot be resolved: {error.strerror}"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there; check host and port, and that the broker runs"
    return str(error) or type(error).__name__


def _tune(client: Any, userdata: Any, sock: Any) -> None:
    """Notice a dead link early, and do not gather small packets."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


# -- the session ----------------------------------------------------------------------------------------


class Parcel:
    """One item under way: its messages, and how many of them are not confirmed yet."""

    __slots__ = ("bulk", "code", "item", "left", "size")

    def __init__(self, item: Item | None, messages: list[Message]) -> None:
        self.item = item  # None: the state message, which nobody waits for
        self.left = len(messages)
        self.size = sum(len(message.payload) for message in messages)
        self.bulk = item is not None and item.lane not in ("alarm", "event")
        self.code = 0  # worst reason code


class Awaited:
    """An alarm edge whose receipt has not come."""

    __slots__ = ("item", "times")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.times = 0  # it was sent again


class Flight(NamedTuple):
    parcel: Parcel
    sent: float  # s, the loop's clock
    deadline: float
    ahead: int  # bytes of bulk in flight then, with this one


class Session:
    """What is under way on one connection: takes from the feed as the window allows, and reads every PUBACK."""

    def __init__(
        self,
        settings: Mqtt,
        wire: Wire,
        feed: Feed,
        language: Language,
        open_alarms: Callable[[], Iterable[Alarm]],
        clock: Clock,
        tell: Callable[[Event], None],
    ) -> None:
        self.settings, self.wire, self.feed, self.language = settings, wire, feed, language
        self.open_alarms, self.clock, self.tell = open_alarms, clock, tell
        self.up = False  # the birth was confirmed
        self.confirmed = False  # and an item, too
        self.overdue = False  # a PUBACK did not come in time
        self.inflight = min(INFLIGHT, wire.limit("ReceiveMaximum", 65535))
        self.largest = wire.limit("MaximumPacketSize", 2**28)
        self.window = min(settings.window, max(1, self.inflight - 1))  # one place stays free for an alarm
        self.flights: dict[int, Flight] = {}
        self.waiting: deque[tuple[Parcel, Message]] = deque()  # no place in flight yet
        self.bulk = self.bulk_bytes = 0  # in flight, or refused and waiting to be tried again
        self.limit = FIRST_BYTES
        self.shrunk = 0.0  # when the limit was last lowered
        self.refusals: dict[tuple[bool, int], int] = {}
        self.later: list[tuple[float, int, Item]] = []  # heap: refused, to be tried again
        self.queues: dict[Point, list[tuple[int, Item]]] = {}  # heaps: edges of a point of which one was refused
        self.due: dict[Point, float] = {}  # when the first of such a queue is tried again
        self.trying: dict[Point, int] = {}  # row that is being tried again; the queue waits for its PUBACK
        self.held: tuple[Item, bool] | None = None  # a suspect that waits until nothing is under way; is it counted
        self.alone: Parcel | None = None  # a suspect under way
        self.awaited: dict[bytes, Awaited] = {}  # alarms without a receipt, by token; they take no place in flight
        self.late: set[bytes] = set()  # of these, what was sent again
        self.reminders: list[tuple[float, bytes]] = []  # heap: when one without a receipt is sent again
        self.many = TURN  # awaited, above which it is looked at which of them a cap has dropped
        self.active: dict[str, int] | None = None  # ids of the active open alarms, their edges, once known in this turn
        self.topics: set[str] | None = None  # topics of the same, once known in this turn
        self.told: set[str] = set()  # alarm topics of this connection, until what was retained is swept
        self.loop = asyncio.get_running_loop()
        self.ticked = False
        self.swept = self.loop.time() + SWEEP

    async def run(self) -> None:
        """Deliver for ever, once the birth is confirmed. Raises `LineLost`."""
        tick = self._tick()
        self.wire.listen(self.language.alarms)
        if self.settings.receipts:
            self.wire.receive(self.language.receipts)
        curt = self.feed.notes.get("births", 0) >= BIRTHS  # 0 bytes have room for no alarm
        birth = self.say(self.language.birth(self.open_alarms(), self.clock.now(), 0 if curt else self.largest))
        try:
            while True:
                self.wire.pump()
                for refused in self._collect():
                    self._tell("refused", refused)
                self._hear()
                if not self.up and not birth.left:
                    self._come_up(curt)
                if self.wire.lost:
                    raise LineLost(f"{self.wire.where}: {self.wire.lost}")
                if self.ticked:
                    self.ticked = False
                    self._look()
                more = self._fill()
                self.wire.arm()
                if more:
                    await asyncio.sleep(0)
                else:
                    await self.wire.wake.wait()
                    self.wire.wake.clear()
        except LineLost as fault:
            self._accuse(birth, str(fault))
            raise
        finally:
            tick()

    def _come_up(self, curt: bool) -> None:
        """The birth got through: now the stream may.

        Before, nobody could tell whether the broker closes the connection for what the birth says or for an item.
        """
        self.up = True
        self.feed.notes["births"] = BIRTHS - 1 if curt else 0  # the next one is told in full, once
        self.feed.online(True)
        spoken = "5" if self.wire.version == V5 else "3.1.1"
        text = f"connected to {self.settings.url} by MQTT {spoken}"
        if curt:
            text += f"; the connection broke {BIRTHS} times over the list of open alarms, which was left out"
        self._tell("link-up", text, mqtt=spoken)

    def _accuse(self, birth: Parcel, why: str) -> None:
        """The connection broke: the oldest message under way may be the reason."""
        if self.wire.innocent or not self.flights:
            return
        if self.overdue and not self.confirmed:
            return  # a broker that confirms nothing at all is ill itself
        parcel = next(iter(self.flights.values())).parcel
        if parcel is birth:
            self.feed.notes["births"] = self.feed.notes.get("births", 0) + 1
        elif parcel.item is not None:
            self.feed.blame(parcel.item, why)

    def _tell(self, kind: str, text: str, **facts: Any) -> None:
        self.tell(Event(kind, self.settings.name, self.clock.now(), text, facts))

    def _tick(self) -> Callable[[], None]:
        """Wake the session every `TICK` seconds, until the function returned is called."""
        handle = self.loop.call_later(TICK, _nothing)

        def tick() -> None:
            nonlocal handle
            self.ticked = True
            self.wire.wake.set()
            handle = self.loop.call_later(TICK, tick)

        tick()
        return lambda: handle.cancel()

    def say(self, message: Message) -> Parcel:
        """Send a message that is no item."""
        parcel = Parcel(None, [message])
        self.waiting.append((parcel, message))
        self._send_waiting()
        return parcel

    async def farewell(self, message: Message) -> bool:
        """Say goodbye, and hear the confirmations that come meanwhile. At most `STOP` seconds; whether it was heard."""
        end = self.loop.time() + STOP
        handle = self.loop.call_later(STOP, self.wire.wake.set)
        parcel = self.say(message)
        while parcel.left and not self.wire.lost and self.loop.time() < end:
            self.wire.arm()
            await self.wire.wake.wait()
            self.wire.wake.clear()
            self.wire.pump()
            self._collect()
            self._send_waiting()
        handle.cancel()
        return not parcel.left and parcel.code < 0x80

    # -- sending ------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Take what the window allows, but let others have their turn. Whether there may be more."""
        self.active = self.topics = None
        self._send_waiting()
        now = self.loop.time()
        while self.later and self.later[0][0] <= now and not self._is_guarded():
            due, row, item = heapq.heappop(self.later)
            if (point := item.point) is None:
                self._go(item, counted=True)
            elif self.due.get(point) == due:  # else an older edge came in between
                del self.due[point]
                heapq.heappop(self.queues[point])
                self.trying[point] = row
                self._go(item)
        for _ in range(TURN):
            if self.waiting or self.wire.lost or self._is_guarded():
                return False
            if self.reminders and self.reminders[0][0] <= now:
                self._remind()
                continue
            room = self.bulk < self.window and (self.bulk_bytes < self.limit or not self.bulk)
            item_or_none = self.feed.take(room)
            if item_or_none is None:
                return False
            if item_or_none.point in self.queues:
                self._wait(item_or_none, 0.0)
            else:
                self._go(item_or_none)
        return True

    def _go(self, item: Item, counted: bool = False) -> None:
        """Send it now, or a suspect as soon as nothing else is under way."""
        if self.feed.is_suspect(item):
            self.held = item, counted
        else:
            self._ship(item, counted)

    def _is_guarded(self) -> bool:
        """Whether nothing else may go: a suspect is under way, or waits for it."""
        if self.alone is not None and self.alone.left:
            return True
        self.alone = None
        if self.held is None:
            return False
        if not self.flights and not self.waiting:
            item, counted = self.held
            self.held = None
            self.alone = self._ship(item, counted)
        return True

    def _wait(self, item: Item, pause: float) -> None:
        """Try again in `pause` seconds; an alarm not before the older edges of its point.

        A clear that overtook its raise would leave a hazard on the platform that is over.
        """
        point = item.point
        if point is None:
            heapq.heappush(self.later, (self.loop.time() + pause, item.row, item))
            return
        if self.trying.get(point) == item.row:
            del self.trying[point]
        queue = self.queues.setdefault(point, [])
        heapq.heappush(queue, (item.row, item))
        if point not in self.trying and (point not in self.due or queue[0][0] == item.row):
            self._schedule(point, pause)

    def _schedule(self, point: Point, pause: float) -> None:
        row, item = self.queues[point][0]
        self.due[point] = due = self.loop.time() + pause
        heapq.heappush(self.later, (due, row, item))

    def _settled(self, item: Item) -> None:
        """The platform has it or never will: whatever waited behind it may go."""
        point = item.point
        if point is None or self.trying.get(point) != item.row:
            return
        del self.trying[point]
        if self.queues[point]:
            self._schedule(point, 0.0)
        else:
            del self.queues[point]

    def _ship(self, item: Item, counted: bool = False) -> Parcel:
        messages = self._messages(item)
        parcel = Parcel(item, messages)
        if parcel.bulk:
            self.bulk += not counted
            self.bulk_bytes += parcel.size
        if max(map(size, messages)) > self.largest:
            self._let_go(parcel)
            self._settled(item)
            parcel.left = 0
            self.feed.refused(item, f"{hint(0x95, self.settings.name)}: {parcel.size} bytes, allowed {self.largest}")
            return parcel
        if item.lane == "alarm" and self.swept < float("inf"):
            self.told.update(message.topic for message in messages)
        self.waiting.extend((parcel, message) for message in messages)
        self._send_waiting()
        return parcel

    def _messages(self, item: Item) -> list[Message]:
        if not self.settings.receipts or item.lane != "alarm":
            return self.language.messages(item, self._is_open)
        token = _token(item)
        awaited = self._await(token, item)
        messages = self.language.messages(item, self._is_open)
        if awaited.times:  # what followed may be there already: what is retained now must stay
            messages = [m for m in messages if m.payload or m.topic not in self._topics()]
            messages[0] = messages[0]._replace(retain=messages[0].retain and self._is_latest(item))
        return [messages[0]._replace(answer=self.language.receipts, token=token), *messages[1:]]

    def _send_waiting(self) -> None:
        while self.waiting and len(self.flights) < self.inflight and not self.wire.lost:
            parcel, message = self.waiting.popleft()
            now = self.loop.time()
            deadline = now + self.settings.puback_deadline + (self.bulk_bytes + parcel.size) / SLOWEST
            self.flights[self.wire.publish(message)] = Flight(parcel, now, deadline, self.bulk_bytes)

    def _is_open(self, alarm: Alarm) -> bool:
        if self.active is None:  # once per turn: thousands may be open, and thousands may be told
            self.active = {other.id: other.edge for other in self._active_alarms()}
        return alarm.id in self.active

    def _is_latest(self, item: Item) -> bool:
        alarm = item.body
        return isinstance(alarm, Alarm) and self._is_open(alarm) and (self.active or {})[alarm.id] == alarm.edge

    def _topics(self) -> set[str]:
        """Where active alarms are retained."""
        if self.topics is None:
            self.topics = {self.language.topic(alarm) for alarm in self._active_alarms()}
        return self.topics

    def _active_alarms(self) -> Iterable[Alarm]:
        return (alarm for alarm in self.open_alarms() if alarm.state.startswith("active"))

    def _let_go(self, parcel: Parcel) -> None:
        if parcel.bulk:
            self.bulk -= 1
            self.bulk_bytes -= parcel.size

    # -- confirmations ------------------------------------------------------------------------------

    def _collect(self) -> list[str]:
        """Read every PUBACK that came. Returns what to tell of first refusals."""
        told = []
        while self.wire.acks:
            mid, code = self.wire.acks.popleft()
            flight = self.flights.pop(mid, None)
            if flight is None:
                continue
            parcel = flight.parcel
            parcel.left -= 1
            parcel.code = max(parcel.code, code)
            if parcel.bulk:
                self._adapt(flight)
            if parcel.left or parcel.item is None:
                continue
            if parcel.code < 0x80:
                self._let_go(parcel)
                self._settled(parcel.item)
                self.refusals.pop((parcel.bulk, parcel.item.row), None)
                self.confirmed = True
                if not self._is_awaited(parcel.item):
                    self.feed.done(parcel.item)
            elif text := self._refused(parcel, parcel.item):
                told.append(text)
        return told

    def _adapt(self, flight: Flight) -> None:
        """Less bulk in flight on a slow link, so that an alarm finds little in front of it."""
        now = self.loop.time()
        waited = now - flight.sent
        if waited <= SLUGGISH:
            self.limit = min(WINDOW_BYTES, self.limit + flight.parcel.size)
        elif flight.sent > self.shrunk:  # as much as the link was seen to carry in that time, at most half
            carried = int(flight.ahead * SLUGGISH / waited)
            self.limit, self.shrunk = max(1, min(self.limit // 2, carried)), now

    def _refused(self, parcel: Parcel, item: Item) -> str:
        """Try again later, or set aside. Returns what to tell, empty if it was told before.

        An alarm that lacks a right is never set aside: rights are mended by people, in their time.
        """
        key = (parcel.bulk, item.row)
        times = self.refusals[key] = self.refusals.get(key, 0) + 1
        reason = hint(parcel.code, self.settings.name)
        hopeless = parcel.code in FOR_EVER and not (item.lane == "alarm" and parcel.code == 0x87)
        if hopeless and times >= TRIES:
            self._let_go(parcel)
            del self.refusals[key]
            self._settled(item)
            self._forget(_token(item))
            self.feed.refused(item, f"refused {times} times: {reason}")
            return ""
        if parcel.bulk:
            self.bulk_bytes -= parcel.size  # its place in the window stays taken: refusals do not pile up
        pause = AGAIN if hopeless else min(LONGEST, AGAIN * 2 ** (times - 1))
        self._wait(msgspec.structs.replace(item, resent=True), pause)
        if times > 1:
            return ""
        return f"{item.stream} {item.boot}/{item.seq} is refused by {self.wire.where}: {reason}; trying again"

    # -- receipts -----------------------------------------------------------------------------------

    def _await(self, token: bytes, item: Item) -> Awaited:
        if len(self.awaited) > self.many:
            for other in [t for t, awaited in self.awaited.items() if not self.feed.owes(awaited.item)]:
                self._forget(other)
            self.many = max(TURN, 2 * len(self.awaited))
        return self.awaited.setdefault(token, Awaited(item))

    def _is_awaited(self, item: Item) -> bool:
        """Whether a confirmed item still lacks its receipt: then it is sent again in time."""
        token = _token(item)
        if (awaited := self.awaited.get(token)) is None:
            return False
        pause = min(REMIND, self.settings.receipt_deadline * 2**awaited.times)
        heapq.heappush(self.reminders, (self.loop.time() + pause, token))
        return True

    def _forget(self, token: bytes) -> Awaited | None:
        self.late.discard(token)
        return self.awaited.pop(token, None)

    def _hear(self) -> None:
        """Read every receipt that came."""
        heard = False
        while self.wire.receipts:
            for token in acknowledged(*self.wire.receipts.popleft()):
                if (awaited := self._forget(token)) is not None:
                    self.feed.done(awaited.item)
                    heard = True
        if heard and not self.late and self.feed.notes.pop("receipts missing", False):
            self._tell("receipt-recovered", f"{self.wire.where}: the platform gives receipts again")

    def _remind(self) -> None:
        """Send again the alarm that waits longest for its receipt."""
        _, token = heapq.heappop(self.reminders)
        if (awaited := self.awaited.get(token)) is None:
            return
        if not self.feed.owes(awaited.item):
            self._forget(token)
            return
        awaited.times += 1
        self.late.add(token)
        self._go(msgspec.structs.replace(awaited.item, resent=True))
        if not self.feed.notes.get("receipts missing"):
            self.feed.notes["receipts missing"] = True
            text = f"{self.wire.where}: no receipt for {token.decode()} in {self.settings.receipt_deadline:g} s"
            self._tell("receipt-missing", f"{text}: sent again; does the platform answer on {self.language.receipts}?")

    # -- deadlines ----------------------------------------------------------------------------------

    def _look(self) -> None:
        """Deadlines. Raises `LineLost` where a confirmation is overdue."""
        self.wire.tend()
        if self.loop.time() > self.swept:
            self._sweep()
        if not self.flights:
            return
        oldest = next(iter(self.flights.values()))
        if self.loop.time() > oldest.deadline:
            waited = self.loop.time() - oldest.sent
            self.overdue = True
            raise LineLost(f"{self.wire.where}: no PUBACK for {waited:.1f} s; the link or the broker hangs")

    def _sweep(self) -> None:
        """Once: clear the retained alarms of an earlier connection that are not active any more.

        A raise is published while it is committed; a crash in between leaves it retained, and no later edge of it
        will ever come. A late subscriber must not find it. A topic of an alarm that is active now, or that was told
        on this connection, holds its own word or soon will.
        """
        self.swept = float("inf")
        self.wire.unlisten(self.language.alarms)
        mine = self.told | {self.language.topic(alarm) for alarm in self._active_alarms()}
        for topic in self.wire.retained:
            if topic not in mine:
                self.say(Message(topic, b"", True))
        self.wire.retained.clear()
        self.told.clear()
