"""A TCP proxy between a client and its broker that notes every packet that the client sends."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from simulators import broker as mqtt
from simulators.broker import Reader
from tests.tools.mosquitto import free_port


class Sent(NamedTuple):
    """One packet of a client. What its kind does not have is empty."""

    connection: int  # counts from 1
    kind: int
    mono: float  # s
    topic: str = ""
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    clean: bool = False  # of CONNECT
    version: int = 0  # of CONNECT
    properties: bytes = b""  # of CONNECT
    reason: int = 0  # of DISCONNECT


class Notes:
    """The packets of one connection, taken apart as soon as they are whole."""

    def __init__(self, connection: int, sent: list[Sent]) -> None:
        self.connection, self.sent = connection, sent
        self.rest = bytearray()
        self.version = 5

    def take(self, data: bytes) -> None:
        self.rest += data
        while (whole := self._next()) is not None:
            head, body = whole
            if head >> 4 == mqtt.CONNECT:
                self.version = body[6]
            self.sent.append(parsed(self.connection, head >> 4, head & 15, body, self.version))

    def _next(self) -> tuple[int, bytes] | None:
        length = 0
        for n, byte in enumerate(self.rest[1:5]):
            length |= (byte & 0x7F) << 7 * n
            if byte < 0x80:
                end = n + 2 + length
                if len(self.rest) < end:
                    return None
                head, body = self.rest[0], bytes(self.rest[n + 2 : end])
                del self.rest[:end]
                return head, body
        return None


class Tap:
    """Client -> broker. A CONNECT has its will as topic, payload, qos and retain. Closed, it refuses."""

    def __init__(self, to: int) -> None:
        self.to, self.port = to, free_port()
        self.sent: list[Sent] = []
        self.open: set[int] = set()  # connections
        self.connections = 0
        self.most = 0  # open at the same time
        self._tasks: set[asyncio.Task[None]] = set()
        self._sinks: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.to)
        self.connections += 1
        self.open.add(self.connections)
        self.most = max(self.most, len(self.open))
        self._sinks += [writer, back]
        note = Notes(self.connections, self.sent)
        for work in (self._pump(reader, back, note), self._pump(there, writer, None)):
            task = asyncio.create_task(work)
            self._tasks.add(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, note: Notes | None) -> None:
        try:
            while data := await source.read(65536):
                if note is not None:
                    note.take(data)  # before anybody can answer it
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()
            if note is not None:
                self.open.discard(note.connection)

    def cut(self) -> None:
        for sink in self._sinks:
            sink.transport.abort()

    async def close(self) -> None:
        self.server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _properties(body: Reader, version: int) -> bytes:
    return body.take(body.varint()) if version == 5 else b""


def parsed(connection: int, kind: int, flags: int, data: bytes, version: int) -> Sent:
    """What a packet says."""
    body = Reader(data)
    here = Sent(connection, kind, time.monotonic())
    if kind == mqtt.CONNECT:
        body.text()
        told = body.byte()
        marks = body.byte()
        body.short()
        properties = _properties(body, told)
        body.text()
        here = here._replace(clean=bool(marks & 2), version=told, properties=properties)
        if marks & 4:
            _properties(body, told)
            here = here._replace(
                topic=body.text(), payload=body.binary(), qos=marks >> 3 & 3, retain=bool(marks & 0x20)
            )
        return here
    if kind == mqtt.PUBLISH:
        qos = flags >> 1 & 3
        topic = body.text()
        if qos:
            body.short()
        _properties(body, version)
        return here._replace(topic=topic, payload=body.rest(), qos=qos, retain=bool(flags & 1))
    if kind == mqtt.SUBSCRIBE:
        body.short()
        _properties(body, version)
        return here._replace(topic=body.text(), qos=body.byte() & 3)
    if kind == mqtt.DISCONNECT:
        return here._replace(reason=data[0] if data else 0)
    return here
