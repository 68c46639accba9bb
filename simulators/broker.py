"""A small MQTT broker for the demonstration: 3.1.1 and 5.0, QoS 0 and 1, retain, will, wildcards.

No persistence, no authentication, no QoS 2, no shared subscriptions: it says so where the protocol has
words for it, and a real site uses a real broker. It believes nothing: a packet that does not parse costs
its own connection. `cut` closes every connection and refuses new ones until `heal`.

Source: MQTT 3.1.1 (OASIS 2014), MQTT 5.0 (OASIS 2019); clauses in brackets are of 5.0.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque

from msgspec import Struct

CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 8, 9, 10, 11
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14

LARGEST = 4 << 20  # bytes of a packet that is still read
QUEUE = 50_000  # messages that wait for one slow subscriber; more are dropped and counted

# Properties by their identifier, with how their value is written [2.2.2.2].
PROPERTIES = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), "byte"),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), "short"),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), "long"),
    0x0B: "varint",
    **dict.fromkeys((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F), "text"),
    0x26: "pair",
}
RECEIVE_MAXIMUM, TOPIC_ALIAS = 0x21, 0x23
FORWARDED = (0x01, 0x02, 0x03, 0x08, 0x09, 0x26)  # properties that travel with a message [3.3.2.3]


class Malformed(Exception):
    """The bytes are not MQTT as this broker speaks it. `reason` is the code of 5.0."""

    def __init__(self, text: str, reason: int = 0x81) -> None:
        super().__init__(text)
        self.reason = reason


class Message(Struct, frozen=True):
    """One published message. `properties` are the bytes that travel with it (5.0)."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: bytes = b""


class Subscription(Struct, frozen=True):
    """What a client asked for with one filter."""

    qos: int
    no_local: bool = False
    retain_as_published: bool = False


class Reader:
    """Takes a packet apart; reading beyond its end is `Malformed`."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        if self.at + n > len(self.data):
            raise Malformed("packet too short")
        self.at += n
        return self.data[self.at - n : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def short(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def binary(self) -> bytes:
        return self.take(self.short())

    def text(self) -> str:
        try:
            text = self.binary().decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("not UTF-8") from None
        if "\0" in text:
            raise Malformed("a NUL in a text")
        return text

    def varint(self) -> int:
        value = 0
        for shift in range(0, 28, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise Malformed("variable byte integer too long")

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def properties(self) -> tuple[dict[int, int], bytes]:
        """Numbers by identifier, and the bytes of those that travel with a message."""
        end = self.varint() + self.at
        if end > len(self.data):
            raise Malformed("properties too long")
        numbers, travel = {}, b""
        while self.at < end:
            begin, name = self.at, self.varint()
            match PROPERTIES.get(name):
                case "byte":
                    numbers[name] = self.byte()
                case "short":
                    numbers[name] = self.short()
                case "long":
                    numbers[name] = int.from_bytes(self.take(4), "big")
                case "varint":
                    numbers[name] = self.varint()
                case "text":
                    self.binary()
                case "pair":
                    self.binary(), self.binary()
                case _:
                    raise Malformed(f"property {name:#x} is unknown")
            if name in FORWARDED:
                travel += self.data[begin : self.at]
        if self.at != end:
            raise Malformed("properties overlap what follows")
        return numbers, travel


def varint(value: int) -> bytes:
    """Variable byte integer [1.5.5].

    >>> varint(321).hex()
    'c102'
    """
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def packet(kind: int, flags: int, body: bytes) -> bytes:
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic filter takes a topic [4.7].

    >>> [matches("a/+/#", t) for t in ("a/b", "a/b/c/d", "a", "b/b")]
    [True, True, False, False]
    """
    if topic.startswith("$") and pattern[:1] in "#+":
        return False
    want, have = pattern.split("/"), topic.split("/")
    for i, level in enumerate(want):
        if level == "#":
            return True
        if i >= len(have) or level not in ("+", have[i]):
            return False
    return len(want) == len(have)


def is_filter(pattern: str) -> bool:
    """Whether this is a legal topic filter [4.7.1]."""
    levels = pattern.split("/")
    return bool(pattern) and all(
        (level == "#" and i == len(levels) - 1) or level == "+" or not set(level) & {"#", "+"}
        for i, level in enumerate(levels)
    )


class Client:
    """One connection, from CONNECT on. Owned by its broker's loop."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.name = ""
        self.version = 4
        self.keep_alive = 0.0  # s, 0: none
        self.window = 65535  # its receive maximum
        self.will: Message | None = None
        self.wants: dict[str, Subscription] = {}
        self.unconfirmed: dict[int, Message] = {}
        self.waiting: deque[tuple[Message, int]] = deque()
        self.dropped = 0
        self._last = 0

    def send(self, kind: int, flags: int = 0, body: bytes = b"") -> None:
        if not self.writer.is_closing():
            self.writer.write(packet(kind, flags, body))

    def refuse(self, reason: int) -> None:
        """Say why before closing, where the version has words for it."""
        if self.version == 5 and self.name:
            self.send(DISCONNECT, 0, bytes([reason, 0]))

    def deliver(self, message: Message, qos: int) -> None:
        """Send now, or queue behind what is not yet confirmed."""
        if qos and (self.waiting or len(self.unconfirmed) >= self.window):
            if len(self.waiting) >= QUEUE:
                self.dropped += 1
                return
            self.waiting.append((message, qos))
            return
        self._publish(message, qos)

    def confirmed(self, number: int) -> None:
        self.unconfirmed.pop(number, None)
        while self.waiting and len(self.unconfirmed) < self.window:
            self._publish(*self.waiting.popleft())

    def _publish(self, message: Message, qos: int) -> None:
        body = text(message.topic)
        if qos:
            number = self._number()
            self.unconfirmed[number] = message
            body += struct.pack(">H", number)
        if self.version == 5:
            body += varint(len(message.properties)) + message.properties
        self.send(PUBLISH, qos << 1 | message.retain, body + message.payload)

    def _number(self) -> int:
        while True:
            self._last = self._last % 65535 + 1
            if self._last not in self.unconfirmed:
                return self._last


class Broker:
    """The broker. `receive_maximum` is what it grants to 5.0 clients (QoS 1 messages in flight)."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, receive_maximum: int = 100) -> None:
        self.host, self.port, self.receive_maximum = host, port, receive_maximum
        self.clients: dict[str, Client] = {}
        self.retained: dict[str, Message] = {}
        self.published = 0
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], Client] = {}
        self._nameless = 0

    @property
    def url(self) -> str:
        return f"mqtt://{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen; with port 0 at any free port, which `port` then names. Raises `OSError`."""
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        await self.cut()
        self.retained.clear()

    async def cut(self) -> None:
        """The link is gone: connections break, new ones are refused. Retained messages stay."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, client in list(self._tasks.items()):
            client.writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def heal(self) -> None:
        """Listen again at the same port."""
        if self._server is None:
            await self.start()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(writer)
        task = asyncio.get_running_loop().create_task(self._serve(reader, client))
        self._tasks[task] = client
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _serve(self, reader: asyncio.StreamReader, client: Client) -> None:
        try:
            async with asyncio.timeout(10.0):
                kind, flags, body = await read_packet(reader)
            if kind != CONNECT or flags:
                raise Malformed("the first packet is not CONNECT")
            self._connect(client, Reader(body))
            patience = client.keep_alive * 1.5 or None  # [3.1.2.10]
            while True:
                async with asyncio.timeout(patience):
                    kind, flags, body = await read_packet(reader)
                    if kind == DISCONNECT:
                        if client.version == 4 or not body or body[0] != 0x04:  # 4: disconnect with will
                            client.will = None
                        return
                    self._take(client, kind, flags, Reader(body))
                    await client.writer.drain()
        except Malformed as fault:
            client.refuse(fault.reason)
        except TimeoutError:
            client.refuse(0x8D)  # keep alive
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            if self.clients.get(client.name) is client:
                del self.clients[client.name]
            if client.will is not None:
                self._route(client.will, client)
            client.writer.close()

    def _connect(self, client: Client, body: Reader) -> None:
        protocol, version = body.text(), body.byte()
        if protocol != "MQTT" or version not in (4, 5):
            client.send(CONNACK, 0, b"\0\x01" if version < 5 else b"\0\x84\0")
            raise Malformed("protocol version")
        client.version = version
        flags = body.byte()
        if flags & 1:
            raise Malformed("reserved flag")
        client.keep_alive = float(body.short())
        if version == 5:
            numbers, _ = body.properties()
            client.window = numbers.get(RECEIVE_MAXIMUM, 65535)
            if not client.window:
                raise Malformed("receive maximum is 0", 0x82)
        name = body.text()
        will = None
        if flags & 0x04:
            travel = body.properties()[1] if version == 5 else b""
            topic, payload, qos = body.text(), body.binary(), flags >> 3 & 3
            if qos > 1 or not topic or set(topic) & {"#", "+"}:
                raise Malformed("will")
            will = Message(topic, payload, qos, bool(flags & 0x20), travel)
        if flags & 0x80:
            body.text()
        if flags & 0x40:
            body.binary()
        assigned = b""
        if not name:
            self._nameless += 1
            name = f"nameless-{self._nameless}"
            assigned = b"\x12" + text(name)
        if (other := self.clients.get(name)) is not None:
            other.refuse(0x8E)  # session taken over
            other.writer.close()
        client.name, client.will = name, will
        self.clients[name] = client
        # Receive maximum; QoS 1 at most; no topic alias; no subscription identifiers; no shared subscriptions.
        said = struct.pack(">BH", RECEIVE_MAXIMUM, self.receive_maximum) + b"\x24\x01\x29\x00\x2a\x00" + assigned
        client.send(CONNACK, 0, b"\0\0" + (varint(len(said)) + said if version == 5 else b""))

    def _take(self, client: Client, kind: int, flags: int, body: Reader) -> None:
        if kind == PUBLISH:
            self._publish(client, flags, body)
        elif kind == PUBACK and not flags:
            client.confirmed(body.short())
        elif kind == SUBSCRIBE and flags == 2:
            self._subscribe(client, body)
        elif kind == UNSUBSCRIBE and flags == 2:
            self._unsubscribe(client, body)
        elif kind == PINGREQ and not flags:
            client.send(PINGRESP)
        else:
            raise Malformed(f"packet type {kind}, flags {flags}", 0x82)

    def _publish(self, client: Client, flags: int, body: Reader) -> None:
        qos, retain = flags >> 1 & 3, bool(flags & 1)
        if qos > 1:
            raise Malformed("QoS 2", 0x9B)
        topic = body.text()
        number = body.short() if qos else 0
        travel = b""
        if client.version == 5:
            numbers, travel = body.properties()
            if TOPIC_ALIAS in numbers:
                raise Malformed("topic alias", 0x94)
        if not topic or set(topic) & {"#", "+"} or (qos and not number):
            raise Malformed("topic name", 0x90)
        self.published += 1
        self._route(Message(topic, body.rest(), qos, retain, travel), client)
        if qos:
            client.send(PUBACK, 0, struct.pack(">H", number))

    def _route(self, message: Message, sender: Client) -> None:
        """To everyone who asked for it; once each, with the best QoS of the filters that match [3.3.4]."""
        if message.retain:
            if message.payload:
                self.retained[message.topic] = message
            else:
                self.retained.pop(message.topic, None)
        for client in list(self.clients.values()):
            wants = [
                want
                for pattern, want in client.wants.items()
                if matches(pattern, message.topic) and not (want.no_local and client is sender)
            ]
            if not wants:
                continue
            kept = message.retain and any(want.retain_as_published for want in wants)
            qos = min(message.qos, max(want.qos for want in wants))
            client.deliver(Message(message.topic, message.payload, qos, kept, message.properties), qos)

    def _subscribe(self, client: Client, body: Reader) -> None:
        number = body.short()
        if client.version == 5:
            body.properties()
        answers, news = b"", []
        while body.at < len(body.data):
            pattern, options = body.text(), body.byte()
            if options & 3 > 2 or options & 0xC0:
                raise Malformed("subscription options")
            if not is_filter(pattern) or pattern.startswith("$share/"):
                answers += b"\x8f" if client.version == 5 else b"\x80"
                continue
            qos, handling = min(options & 3, 1), options >> 4 & 3
            if handling == 0 or (handling == 1 and pattern not in client.wants):
                news.append((pattern, qos))
            client.wants[pattern] = Subscription(qos, bool(options & 4), bool(options & 8))
            answers += bytes([qos])
        if not answers:
            raise Malformed("an empty SUBSCRIBE", 0x82)
        client.send(SUBACK, 0, struct.pack(">H", number) + (b"\0" if client.version == 5 else b"") + answers)
        for pattern, qos in news:
            for message in [kept for topic, kept in self.retained.items() if matches(pattern, topic)]:
                client.deliver(message, min(qos, message.qos))

    def _unsubscribe(self, client: Client, body: Reader) -> None:
        number = body.short()
        if client.version == 5:
            body.properties()
        answers = b""
        while body.at < len(body.data):
            answers += b"\0" if client.wants.pop(body.text(), None) else b"\x11"
        client.send(UNSUBACK, 0, struct.pack(">H", number) + (b"\0" + answers if client.version == 5 else b""))


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """Type, flags and body of the next packet. Raises `Malformed`, `IncompleteReadError`."""
    head = (await reader.readexactly(1))[0]
    length = 0
    for shift in range(0, 28, 7):
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    else:
        raise Malformed("remaining length")
    if length > LARGEST:
        raise Malformed("packet too large", 0x95)
    return head >> 4, head & 15, await reader.readexactly(length)
