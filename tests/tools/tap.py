"""A TCP proxy between a client and its broker that notes every packet that the client sends."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from simulators import broker as mqtt
from simulators.broker import Reader, read_packet
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
        copy = asyncio.StreamReader()
        for work in (self._pump(reader, back, copy), self._pump(there, writer, None), self._note(copy)):
            task = asyncio.create_task(work)
            self._tasks.add(task)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, copy: asyncio.StreamReader | None
    ) -> None:
        try:
            while data := await source.read(65536):
                if copy is not None:
                    copy.feed_data(data)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()
            if copy is not None:
                copy.feed_eof()

    async def _note(self, copy: asyncio.StreamReader) -> None:
        number, version = self.connections, 5
        try:
            while True:
                kind, flags, body = await read_packet(copy)
                if kind == mqtt.CONNECT:
                    version = body[6]
                self.sent.append(parsed(number, kind, flags, body, version))
        except asyncio.IncompleteReadError:
            self.open.discard(number)

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
