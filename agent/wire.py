"""MQTT as a bare wire: one connection to one broker, whatever is said over it. The only module that knows paho.

One client per connection, no thread, no queue of its own: paho holds what is in flight and nothing else (reliability.md
1.2 lists what its own queue loses). What is handed over is confirmed by its PUBACK, with the broker's reason; what goes
with QoS 0 by a fence behind it. When to hand over what is the business of `session.py`, what it says that of a
language.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import struct
from collections import deque
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

import paho.mqtt.client as paho
from msgspec import Meta
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from . import secret
from .core.errors import LineLost, Refused
from .hand import Hand
from .peer import tune, watch
from .tls import Secured

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
VERSIONS = {"auto": (V5, V311), "5": (V5,), "3.1.1": (V311,)}
SCHEMES = {"mqtt": 1883, "mqtts": 8883}

CONNECT = 10.0  # s for the CONNACK
KNOCK = 2.0  # s for TCP; the kernel's own repetitions grow, so a new attempt finds a link that is back sooner
RECEIPT_BYTES = 1024  # of a receipt; what is larger is none
COMMAND_BYTES = 16 * 1024  # of anything else that is said to this node; what is larger is not read; project
FENCE = "-"  # a filter that nobody asked for
WITH_WILL = 0x04  # reason code of a DISCONNECT after which the broker says the will all the same
HEARD = (
    4096  # messages that wait to be looked at; where more come the oldest go: an alarm without receipt is sent again
)
LARGEST = 1 << 20  # bytes of a packet that this node takes

# MQTT 5 reason codes, section 2.4: what they mean for somebody who has to mend it.
HINTS = {
    0x80: "the broker does not say why",
    0x82: "protocol error: is this an MQTT broker?",
    0x83: "the broker has its own reason; see its log",
    0x84: "the broker does not speak this MQTT version; set version",
    0x85: "the broker does not accept the client's name; check site and node",
    0x86: "wrong user or password: check user and password of {name!r}",
    0x87: "not authorised: check user, password and rights (ACL) of {name!r}",
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
# Why a connection ended: what has nothing to do with what was sent. The codes are of DISCONNECT.
INNOCENT = {0x88, 0x89, 0x8B, 0x8D, 0x8E, 0x98, 0x9C, 0x9D, 0x9F}
DEAD = {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}


class Broker(Secured, frozen=True, kw_only=True):
    """Settings of whoever speaks to a broker."""

    url: str  # mqtt://host[:1883] or mqtts://host[:8883]
    user: str = ""
    password: str = ""  # where it is kept, never itself: env:NAME, file:/path or credential:NAME (systemd)
    window: Annotated[int, Meta(ge=1, le=1000)] = 8  # messages of telemetry in flight
    keepalive: Annotated[int, Meta(ge=1, le=10)] = 10  # s; a dead link is noticed after twice as long (1.2)
    version: Literal["auto", "5", "3.1.1"] = "auto"  # auto: 5, and 3.1.1 where the broker cannot
    puback_deadline: Annotated[float, Meta(gt=0)] = 10.0  # s
    receipts: bool = False  # an alarm is delivered when the platform says so, not when the broker does
    receipt_deadline: Annotated[float, Meta(gt=0)] = 10.0  # s until an alarm is sent again; doubles each time
    ranges: bool = False  # the platform may ask for stretches of a stream once more
    commands: bool = False  # what an [[issuer]] signed is heard here, and done
    rate: Annotated[float, Meta(ge=0)] = 0.0  # kbit/s of telemetry at most, on average; 0: as much as there is

    def __post_init__(self) -> None:
        super().__post_init__()
        place = _split(self.url)
        if place.username or place.password:
            raise ValueError("user and password do not belong into url; use user and password")
        if wrong := secret.fault(self.password, self.user):
            raise ValueError(wrong)
        if self.commands and not self.wants_lane("event"):
            raise ValueError("commands: what becomes of them is told as events; lanes must name these")
        self.complain("mqtts")

    @property
    def secured(self) -> bool:
        return _split(self.url).scheme == "mqtts"

    def place(self) -> tuple[str, int]:
        """Host and port."""
        place = _split(self.url)
        return place.hostname or "", place.port or SCHEMES[place.scheme]

    def secret(self) -> str:
        """The password, from where it is kept. Raises `LineLost` where it is not there."""
        return secret.read(self.password, f"connect uplink {self.name!r}")


def _split(url: str) -> SplitResult:
    place = urlsplit(url)
    if place.scheme not in SCHEMES or not place.hostname or place.path.strip("/") or place.query or place.fragment:
        raise ValueError(f"url must be mqtt://host:port or mqtts://host:port, not {secret.masked(url)!r}")
    _ = place.port  # raises ValueError where it is no port
    return place


class Message(NamedTuple):
    """What is published."""

    topic: str
    payload: bytes
    retain: bool
    qos: int = 1  # 0: it is confirmed by the fence behind it
    answer: str = ""  # topic on which a receipt is wanted
    token: bytes = b""  # what the receipt is to bring back


HEAD = 16  # bytes of an MQTT packet around topic and payload, at most


def size(message: Message) -> int:
    """Bytes of the packet, at most."""
    asked = len(message.answer.encode()) + len(message.token) + HEAD if message.answer or message.token else 0
    return len(message.payload) + len(message.topic.encode()) + HEAD + asked


class Said(NamedTuple):
    """What somebody published for this node."""

    topic: str
    payload: bytes
    retained: bool  # it was there before
    answer: str = ""  # where an answer is wanted
    token: bytes = b""  # what the answer is to bring back


class Unsupported(LineLost):
    """The broker does not speak this version, or closed without a word."""


class Wire:
    """One connection. paho's callbacks only note; everything happens when the owner calls."""

    def __init__(
        self, settings: Broker, version: MQTTProtocolVersion, id: str, will: Message | None, wake: asyncio.Event
    ) -> None:
        self.settings, self.version, self.wake = settings, version, wake
        self.acks: deque[tuple[int, int]] = deque()  # packet id, reason code
        self.retained: dict[str, bytes] = {}  # what the broker kept of an earlier connection, by topic
        self.inbox = ""  # topic of receipts
        self.receipts: deque[tuple[bytes, bytes]] = deque(maxlen=HEARD)  # payload, correlation data
        self.said: deque[Said] = deque(maxlen=HEARD)  # what else is said to this node
        self.denied: deque[str] = deque()  # what the broker does not let it listen to
        self.sent = False  # the CONNECT went out
        self.lost = ""  # why the connection is gone
        self.innocent = False  # that has nothing to do with what was sent
        self.answer: tuple[int, Any] | None = None  # reason code and properties of the CONNACK
        self.where = f"uplink {settings.name!r} at {settings.url}"
        self._ready = {"read": False, "write": False}
        self._errno = 0  # of the socket
        self._socket: Any = None
        self._writing = False
        self._asked: dict[int, str] = {}  # SUBSCRIBE under way, by packet id
        self._heeded: dict[str, int] = {}  # filters of what arrives in `said` -> bytes of it, at most
        self._void = 0  # packet ids of what a lost connection did not take, below 0
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=id,
            protocol=version,
            clean_session=None if version == V5 else True,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(0)  # we own the window
        client.connect_timeout = KNOCK
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_message = self._on_message
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        self.client = client

    async def open(self, context: ssl.SSLContext | None = None) -> None:
        """Connect, by TLS with a context, and wait for the broker's answer.

        Raises `LineLost`, `Refused` or `Unsupported`.
        """
        settings = self.settings
        host, port = settings.place()
        if settings.user:
            self.client.username_pw_set(settings.user, settings.secret() if settings.password else None)
        if context is not None:
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
            self.close()
            raise LineLost(f"connect {self.where}: {_why(error)}") from error
        finally:
            hand.end()
        self.sent = True
        self._socket = self.client.socket()
        loop = asyncio.get_running_loop()
        if self._socket is not None:
            watch(self._socket, self._time_out)
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

    @property
    def socket(self) -> Any:
        """What it speaks over; with TLS an `ssl.SSLSocket`."""
        return self._socket

    def limit(self, name: str, default: int) -> int:
        """A limit that the broker named in its answer."""
        return int(getattr(self.answer[1] if self.answer else None, name, default))

    def publish(self, message: Message) -> int:
        """Hand one message to the wire. Returns the packet id that will confirm it; a lost connection shows in `lost`.

        Nothing confirms a message of QoS 0. But a broker takes what comes on one connection in its order, so that it
        has what stood before an UNSUBSCRIBE when it answers that; there is nothing behind this filter.
        """
        if message.qos == 0:
            self.client.publish(message.topic, message.payload, 0, message.retain)
            _, fence = self.client.unsubscribe(FENCE)
            if fence is None:
                self._void -= 1
            return self._void if fence is None else fence
        wanted = None
        if (message.answer or message.token) and self.version == V5:
            wanted = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            if message.answer:
                wanted.ResponseTopic = message.answer
            wanted.CorrelationData = message.token
        return self.client.publish(message.topic, message.payload, 1, message.retain, wanted).mid

    def listen(self, topic: str) -> None:
        """Ask for what the broker keeps below `topic`: it arrives in `retained`, if the broker allows."""
        self.client.subscribe(topic, 0)

    def receive(self, topic: str) -> None:
        """Ask for what is said on `topic` from now on: it arrives in `receipts`, if the broker allows."""
        self.inbox = topic
        self.client.subscribe(topic, 1)

    def hear(self, topic: str, most: int = COMMAND_BYTES, flagged: bool = False) -> None:
        """Ask for what is said on `topic`, a filter: it arrives in `said`; where the broker denies it, in `denied`.

        What is larger than `most` bytes is not read. `flagged`, in MQTT 5: what is said is `retained` there, too, if
        whoever says it wants it kept.
        """
        self._heeded[topic] = most
        if flagged and self.version == V5:
            _, mid = self.client.subscribe(topic, options=SubscribeOptions(1, retainAsPublished=True))
        else:
            _, mid = self.client.subscribe(topic, 1)
        if mid is not None:
            self._asked[mid] = topic

    @property
    def asked(self) -> bool:
        """Whether the broker has not yet answered all that was asked for by `hear`."""
        return bool(self._asked)

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

    def close(self, politely: bool = False, will: bool = False) -> None:
        """Leave: politely, and the broker forgets the will; else the will tells that this node is gone.

        With `will` it is said all the same after a polite end, if the MQTT version knows that.
        """
        if self._socket is not None:
            if politely and will and self.version == V5:
                self.client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=WITH_WILL))
            elif politely:
                self.client.disconnect()
            if self.client.socket() is not None:
                self._on_socket_close(self.client, None, self._socket)
                self._socket.close()
        self._socket = None
        self._fall_silent()

    def _fall_silent(self) -> None:
        """Paho calls back no more. So a closed wire goes with all that hung on it as soon as its owner lets go, and not
        when the collector comes: outages are many, and each would wait with some hundred kB."""
        client = self.client
        client.on_connect = client.on_disconnect = client.on_publish = client.on_message = None
        client.on_subscribe = client.on_unsubscribe = client.on_socket_open = client.on_socket_close = None

    def _failed(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS and not self.lost:
            self.lost = paho.error_string(code).rstrip(".").lower()

    def _note(self, what: str) -> None:
        self._ready[what] = True
        self.wake.set()

    def _give_up(self) -> None:
        self.lost = self.lost or f"no answer in {CONNECT:g} s"
        self.wake.set()

    def _time_out(self) -> None:
        """The broker's machine answers no more."""
        self._errno = self._errno or errno.ETIMEDOUT
        self._lose()

    def _lose(self) -> None:
        """The connection is gone: for what the socket said, if nobody knows better."""
        if not self.lost:
            self.lost = os.strerror(self._errno).lower() if self._errno else "connection lost"
            self.innocent = self._errno in DEAD
        self.wake.set()

    # paho's callbacks: note and return

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.answer = (reason.value, properties)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self.lost = hint(reason.value, self.settings.name)
            self.innocent = reason.value in INNOCENT
        self._lose()

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        self.acks.append((mid, reason.value))

    def _on_subscribe(self, client: Any, userdata: Any, mid: int, reasons: Any, properties: Any) -> None:
        topic = self._asked.pop(mid, "")
        if topic and any(reason.value >= 0x80 for reason in reasons):
            self.denied.append(topic)

    def _on_unsubscribe(self, client: Any, userdata: Any, mid: int, reasons: Any, properties: Any) -> None:
        self.acks.append((mid, 0))

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        if message.topic == self.inbox:
            if not message.retain and len(message.payload) <= RECEIPT_BYTES:
                correlation = getattr(message.properties, "CorrelationData", b"")
                self.receipts.append((bytes(message.payload), correlation))
        elif bounds := [most for wanted, most in self._heeded.items() if paho.topic_matches_sub(wanted, message.topic)]:
            if len(message.payload) <= max(bounds):
                answer = getattr(message.properties, "ResponseTopic", "")
                token = getattr(message.properties, "CorrelationData", b"")
                self.said.append(Said(message.topic, bytes(message.payload), message.retain, answer, token))
        elif message.retain and message.payload:
            self.retained[message.topic] = bytes(message.payload)

    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:
        tune(sock)

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
