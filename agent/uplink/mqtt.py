"""MQTT, in the native language of this program (`design.md` 6). The only module that knows paho.

Under `vedette/<site>/<node>/`, QoS 1, JSON in UTF-8, times in ms UTC:

    state                              retained, and the will: `state` is "online" (with the open `alarms`) or "offline"
    alarm/<level>/<channel>/<rule>     one edge; retained while the alarm is active, then an empty message clears it
    event                              anything else that happened
    telemetry/<source>                 columns: `t` [r], `key` [n], `unit` [n], `value` [r][n], `quality` [r][n]
    backfill/<source>                  the same with `historical`: it was measured while the link was down or slow

A channel is `source/key`, so it makes two levels of the topic; `#`, `+` and `%` in names are written %23, %2B,
%25. Every message but `state` carries `boot`, `stream` and `seq`: together the platform's key; `seq` counts
from 1 without a gap. `resent` marks a message that may have been sent before. `synced` says whether the wall
clock could be trusted. A `quality` row that is the same for all keys is one number in a list of one. A value
that is not known is null; one that float32 holds exactly is written with the digits that float32 needs.

The `alarms` of `state` are sorted by level, red first, and the newest of a level first. Where they would make the
message larger than the broker takes, or than 64 kB, the end of the list is left out and `more` says how many.

paho is a bare wire: one client per connection, no thread, no queue of its own; it holds what is in flight
and nothing else (reliability.md 1.2 lists what its own queue loses). An item is done when its PUBACK says so.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec
import numpy as np
import paho.mqtt.client as paho
from msgspec import Meta
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from ..core.alarm import LEVELS, Alarm
from ..core.errors import LineLost, Refused
from ..core.frame import Array, Instant
from ..core.ports import Batch, Clock, Event, Feed, Identity, Item, Uplink
from ..hand import Hand

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
VERSIONS = {"auto": (V5, V311), "5": (V5,), "3.1.1": (V311,)}
SCHEMES = {"mqtt": 1883, "mqtts": 8883}

WINDOW_BYTES = 256 * 1024  # of bulk in flight at most
FIRST_BYTES = 32 * 1024  # of bulk in flight at first: 4 s at 64 kbit/s
SLUGGISH = 1.0  # s for a PUBACK of bulk, above which less is put in flight: an alarm must not wait behind it
SLOWEST = 4096  # bytes/s; the PUBACK deadline grows by what is in flight at this speed
CONNECT = 10.0  # s for name, TCP, TLS; and again for the CONNACK
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
FOR_EVER = {0x87, 0x90, 0x95, 0x99}  # the same message will be refused again


class Mqtt(Uplink, tag="mqtt", frozen=True, kw_only=True):
    """One broker."""

    url: str  # mqtt://host[:1883] or mqtts://host[:8883]
    user: str = ""
    password: str = ""  # where it is kept, never itself: env:NAME, file:/path or credential:NAME (systemd)
    ca: str = ""  # file of the authority that signed the broker's certificate; empty: those of the system
    cert: str = ""  # file of the client's certificate
    key: str = ""  # file of its key
    window: Annotated[int, Meta(ge=1, le=1000)] = 8  # messages of telemetry in flight
    keepalive: Annotated[int, Meta(ge=1, le=60)] = 10  # s
    prefix: str = "vedette"  # first level of the topics
    version: Literal["auto", "5", "3.1.1"] = "auto"  # auto: 5, and 3.1.1 where the broker cannot
    puback_deadline: Annotated[float, Meta(gt=0)] = 10.0  # s

    def __post_init__(self) -> None:
        place = _split(self.url)
        if place.username or place.password:
            raise ValueError("user and password do not belong into url; use user and password")
        if self.password and self.password.partition(":")[0] not in ("env", "file", "credential"):
            raise ValueError("password must say where it is kept: env:NAME, file:/path or credential:NAME")
        if self.password and not self.user:
            raise ValueError("password without user")
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
        session = Session(self, wire, feed, language, open_alarms)
        spoken = "5" if wire.version == V5 else "3.1.1"
        reason = "stopped"
        feed.watch(wake.set)
        session.say(language.birth(open_alarms(), clock.now(), session.largest))
        feed.online(True)
        tell(Event("link-up", self.name, clock.now(), f"connected to {self.url} by MQTT {spoken}", {"mqtt": spoken}))
        try:
            await session.run(clock, tell)
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
            tell(Event("link-down", self.name, clock.now(), reason))

    def place(self) -> tuple[str, int]:
        """Host and port."""
        place = _split(self.url)
        return place.hostname or "", place.port or SCHEMES[place.scheme]

    def secret(self) -> str:
        """The password, from where it is kept. Raises `LineLost` where it is not there."""
        kind, _, where = self.password.partition(":")
        try:
            if kind == "env":
                return os.environ[where]
            folder = os.environ["CREDENTIALS_DIRECTORY"] if kind == "credential" else "/"
            return (Path(folder) / where).read_text("utf-8").rstrip("\r\n")
        except (KeyError, OSError, UnicodeDecodeError) as error:
            raise LineLost(f"connect uplink {self.name!r}: password {self.password} cannot be read: {error}") from error

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


ENCODER = msgspec.json.Encoder(enc_hook=str)
HEAD = 16  # bytes of an MQTT packet around topic and payload, at most


def size(message: Message) -> int:
    """Bytes of the packet, at most."""
    return len(message.payload) + len(message.topic.encode()) + HEAD


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
    return fields | {"since": ms(alarm.since), "at": ms(alarm.at)}


class Language:
    """Items as messages. Keeps only encoded lists of channels, by source."""

    def __init__(self, root: str, who: Identity) -> None:
        self.root, self.who = root, who
        self._lists: dict[str, tuple[Any, Any, msgspec.Raw, msgspec.Raw]] = {}

    @property
    def alarms(self) -> str:
        """Filter of all alarm topics of this node."""
        return f"{self.root}/alarm/#"

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
        if isinstance(body, Batch):
            return [self._telemetry(item, body, head)]
        head["synced"] = body.at.synced
        if isinstance(body, Event):
            fields = {"at": ms(body.at), "kind": body.kind, "source": body.source, "text": body.text}
            text = ENCODER.encode({"schema": "vedette.event/1", **head, **fields, "facts": body.facts})
            return [Message(f"{self.root}/event", text, False)]
        topic = self.topic(body)
        text = ENCODER.encode({"schema": "vedette.alarm/1", **head, **_alarm(body)})
        if body.state.startswith("active"):
            return [Message(topic, text, is_open(body))]  # else it is over already: nothing stale is retained
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
            "t": np.rint(batch.wall * 1000).astype(np.int64).tolist(),
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


# -- the wire -------------------------------------------------------------------------------------------


class Unsupported(LineLost):
    """The broker does not speak this version, or closed without a word."""


class Wire:
    """One connection. paho's callbacks only note; everything happens when the owner calls."""

    def __init__(self, settings: Mqtt, version: MQTTProtocolVersion, id: str, will: Message, wake: asyncio.Event):
        self.settings, self.version, self.wake = settings, version, wake
        self.acks: deque[tuple[int, int]] = deque()  # packet id, reason code
        self.retained: dict[str, bytes] = {}  # what the broker kept of an earlier connection, by topic
        self.lost = ""  # why the connection is gone
        self.answer: tuple[int, Any] | None = None  # reason code and properties of the CONNACK
        self.where = f"uplink {settings.name!r} at {settings.url}"
        self._ready = {"read": False, "write": False}
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
        client.connect_timeout = CONNECT
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
        start: dict[str, Any] = {"clean_start": True} if self.version == V5 else {}
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
        return self.client.publish(message.topic, message.payload, 1, message.retain).mid

    def listen(self, topic: str) -> None:
        """Ask for what the broker keeps below `topic`: it arrives in `retained`, if the broker allows."""
        self.client.subscribe(topic, 0)

    def unlisten(self, topic: str) -> None:
        self.client.unsubscribe(topic)

    def pump(self) -> None:
        """Read and write what the socket allows."""
        if self._ready["read"]:
            self._ready["read"] = False
            self._failed(self.client.loop_read())
            pending = getattr(self._socket, "pending", None)  # TLS keeps decrypted bytes that no select shows
            while pending is not None and not self.lost and self.client.socket() is not None and pending():
                self._failed(self.client.loop_read())
        if self._ready["write"]:
            self._ready["write"] = False
            self._failed(self.client.loop_write())
        self.arm()

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
        self.lost = self.lost or "connection lost"
        self.wake.set()

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        self.acks.append((mid, reason.value))

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        if message.retain and message.payload:
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


class Flight(NamedTuple):
    parcel: Parcel
    sent: float  # s, the loop's clock
    deadline: float


class Session:
    """What is under way on one connection: takes from the feed as the window allows, and reads every PUBACK."""

    def __init__(
        self, settings: Mqtt, wire: Wire, feed: Feed, language: Language, open_alarms: Callable[[], Iterable[Alarm]]
    ) -> None:
        self.settings, self.wire, self.feed, self.language = settings, wire, feed, language
        self.open_alarms = open_alarms
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
        self.active: set[str] | None = None  # ids of the active open alarms, once known in this turn
        self.told: set[str] = set()  # alarm topics of this connection, until what was retained is swept
        self.loop = asyncio.get_running_loop()
        self.ticked = False
        self.swept = self.loop.time() + SWEEP

    async def run(self, clock: Clock, tell: Callable[[Event], None]) -> None:
        """Deliver for ever. Raises `LineLost`."""
        tick = self._tick()
        self.wire.listen(self.language.alarms)
        try:
            while True:
                self.wire.pump()
                for refused in self._collect():
                    tell(Event("refused", self.settings.name, clock.now(), refused))
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
        finally:
            tick()

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
        self.active = None
        self._send_waiting()
        now = self.loop.time()
        while self.later and self.later[0][0] <= now:
            due, row, item = heapq.heappop(self.later)
            if (point := _point(item)) is None:
                self._ship(item, counted=True)
            elif self.due.get(point) == due:  # else an older edge came in between
                del self.due[point]
                heapq.heappop(self.queues[point])
                self.trying[point] = row
                self._ship(item)
        for _ in range(TURN):
            if self.waiting or self.wire.lost:
                return False
            room = self.bulk < self.window and (self.bulk_bytes < self.limit or not self.bulk)
            item_or_none = self.feed.take(room)
            if item_or_none is None:
                return False
            if _point(item_or_none) in self.queues:
                self._wait(item_or_none, 0.0)
            else:
                self._ship(item_or_none)
        return True

    def _wait(self, item: Item, pause: float) -> None:
        """Try again in `pause` seconds; an alarm not before the older edges of its point.

        A clear that overtook its raise would leave a hazard on the platform that is over.
        """
        point = _point(item)
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
        point = _point(item)
        if point is None or self.trying.get(point) != item.row:
            return
        del self.trying[point]
        if self.queues[point]:
            self._schedule(point, 0.0)
        else:
            del self.queues[point]

    def _ship(self, item: Item, counted: bool = False) -> None:
        messages = self.language.messages(item, self._is_open)
        parcel = Parcel(item, messages)
        if parcel.bulk:
            self.bulk += not counted
            self.bulk_bytes += parcel.size
        if max(map(size, messages)) > self.largest:
            self._let_go(parcel)
            self._settled(item)
            self.feed.refused(item, f"{hint(0x95, self.settings.name)}: {parcel.size} bytes, allowed {self.largest}")
            return
        if item.lane == "alarm" and self.swept < float("inf"):
            self.told.update(message.topic for message in messages)
        self.waiting.extend((parcel, message) for message in messages)
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self.waiting and len(self.flights) < self.inflight and not self.wire.lost:
            parcel, message = self.waiting.popleft()
            now = self.loop.time()
            deadline = now + self.settings.puback_deadline + (self.bulk_bytes + parcel.size) / SLOWEST
            self.flights[self.wire.publish(message)] = Flight(parcel, now, deadline)

    def _is_open(self, alarm: Alarm) -> bool:
        if self.active is None:  # once per turn: thousands may be open, and thousands may be told
            self.active = {other.id for other in self._active_alarms()}
        return alarm.id in self.active

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
                self.feed.done(parcel.item)
                self.refusals.pop((parcel.bulk, parcel.item.row), None)
            elif text := self._refused(parcel, parcel.item):
                told.append(text)
        return told

    def _adapt(self, flight: Flight) -> None:
        """Less bulk in flight on a slow link, so that an alarm finds little in front of it."""
        now = self.loop.time()
        if now - flight.sent <= SLUGGISH:
            self.limit = min(WINDOW_BYTES, self.limit + flight.parcel.size)
        elif flight.sent > self.shrunk:
            self.limit, self.shrunk = max(1, self.limit // 2), now

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
            self.feed.refused(item, f"refused {times} times: {reason}")
            return ""
        if parcel.bulk:
            self.bulk_bytes -= parcel.size  # its place in the window stays taken: refusals do not pile up
        pause = AGAIN if hopeless else min(LONGEST, AGAIN * 2 ** (times - 1))
        self._wait(msgspec.structs.replace(item, resent=True), pause)
        if times > 1:
            return ""
        return f"{item.stream} {item.boot}/{item.seq} is refused by {self.wire.where}: {reason}; trying again"

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


Point = tuple[str, str]  # rule, channel


def _point(item: Item) -> Point | None:
    """What an alarm is about; None for anything else."""
    return (item.body.rule, item.body.channel) if isinstance(item.body, Alarm) else None
