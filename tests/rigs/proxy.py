"""A TCP proxy that does to a connection what bad links and middleboxes do.

    proxy = Proxy(("127.0.0.1", 1883), up=[bandwidth(8000)], down=[mqtt(swallow(3))])
    await proxy.start()                     clients connect to proxy.port
    proxy.freeze(); proxy.thaw(); await proxy.cut(); await proxy.heal()

Each direction is a row of stages; a stage turns chunks of bytes into chunks of bytes, made anew for each connection.
The verbs of toxiproxy: `latency` (with jitter), `bandwidth`, `slicer`, `limit_data`, `timeout`, `reset`, `slow_close`.
Those that know a protocol work on whole packets: `mqtt(...)` and `modbus(...)` with `swallow`, `duplicate`, `delay`,
`swap`, `retag`.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable

Chunks = AsyncIterator[bytes]
Stage = Callable[[Chunks], Chunks]
PUBLISH, PUBACK = 3, 4


class Closed(Exception):
    """A stage ends the connection; `harshly` with a RST."""

    def __init__(self, harshly: bool) -> None:
        super().__init__(harshly)
        self.harshly = harshly


class Proxy:
    """Between clients and `far`. `up` is what clients send, `down` what they get."""

    def __init__(self, far: tuple[str, int], up: Iterable[Stage] = (), down: Iterable[Stage] = ()) -> None:
        self.far, self.up, self.down = far, list(up), list(down)
        self.port = 0
        self._holder = socket.socket()
        self.accepted = 0  # connections so far
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()

    async def start(self) -> None:
        """Listen, on the same port each time. Raises `OSError`."""
        if self.port == 0:  # held while nobody listens: a client that tries for long would else connect to itself
            self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._holder.bind(("127.0.0.1", 0))
            self.port = self._holder.getsockname()[1]
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)  # a slow link holds little
        listener.bind(("127.0.0.1", self.port))
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=8192)

    def freeze(self) -> None:
        """Connections stay open and no byte moves, in either direction."""
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def reset(self) -> None:
        """Every connection ends with a RST; new ones are welcome."""
        for task in self._tasks:
            task.cancel()

    async def cut(self) -> None:
        """Every connection ends with a RST, and new ones are refused until `heal`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def heal(self) -> None:
        self.thaw()
        if self._server is None:
            await self.start()

    async def stop(self) -> None:
        await self.cut()
        self._holder.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._join(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers, harshly = [writer], True
        try:
            far_reader, far = await asyncio.open_connection(*self.far, limit=8192)
            writers.append(far)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far, self.up))
                both.create_task(self._pump(far_reader, writer, self.down))
        except* Closed as closed:
            harshly = any(error.harshly for error in closed.exceptions if isinstance(error, Closed))
        except* OSError:
            pass
        finally:
            for end in writers:
                if harshly:
                    linger = struct.pack("ii", 1, 0)
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    end.transport.abort()
                else:
                    end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stages: list[Stage]) -> None:
        chunks = _chunks(reader)
        for stage in stages:
            chunks = stage(chunks)
        async for chunk in chunks:
            await self._flows.wait()
            writer.write(chunk)
            await writer.drain()
        raise Closed(harshly=False)


async def _chunks(reader: asyncio.StreamReader) -> Chunks:
    while chunk := await reader.read(8192):
        yield chunk


# -- any bytes ----------------------------------------------------------------------------------------


def latency(seconds: float, jitter: float = 0.0, rng: random.Random | None = None) -> Stage:
    """Everything arrives `seconds` later, give or take `jitter`, in order."""
    rng = rng or random.Random(1)

    async def stage(chunks: Chunks) -> Chunks:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)

        async def fill() -> None:
            async for chunk in chunks:
                await queue.put((loop.time() + seconds + rng.uniform(-jitter, jitter), chunk))
            await queue.put((0.0, b""))

        filling = asyncio.create_task(fill())
        try:
            while (item := await queue.get())[1]:
                await asyncio.sleep(item[0] - loop.time())
                yield item[1]
        finally:
            filling.cancel()

    return stage


def bandwidth(rate: float) -> Stage:
    """At most `rate` bytes per second."""

    async def stage(chunks: Chunks) -> Chunks:
        loop = asyncio.get_running_loop()
        free = 0.0  # when the line is free again
        async for chunk in chunks:
            free = max(free, loop.time()) + len(chunk) / rate
            await asyncio.sleep(free - loop.time())
            yield chunk

    return stage


def slicer(size: int, pause: float = 0.0) -> Stage:
    """Pieces of at most `size` bytes, `pause` seconds apart."""

    async def stage(chunks: Chunks) -> Chunks:
        async for chunk in chunks:
            for i in range(0, len(chunk), size):
                yield chunk[i : i + size]
                await asyncio.sleep(pause)

    return stage


def limit_data(n: int) -> Stage:
    """The connection ends after `n` bytes."""

    async def stage(chunks: Chunks) -> Chunks:
        left = n
        async for chunk in chunks:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                raise Closed(harshly=False)

    return stage


def timeout(seconds: float) -> Stage:
    """Nothing passes, and after `seconds` the connection ends."""

    async def stage(chunks: Chunks) -> Chunks:
        await asyncio.sleep(seconds)
        raise Closed(harshly=False)
        yield b""

    return stage


def reset(seconds: float) -> Stage:
    """All is well, and after `seconds` there is a RST, at the next byte."""

    async def stage(chunks: Chunks) -> Chunks:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        async for chunk in chunks:
            if loop.time() > end:
                raise Closed(harshly=True)
            yield chunk

    return stage


def slow_close(seconds: float) -> Stage:
    """The end of the connection comes `seconds` late."""

    async def stage(chunks: Chunks) -> Chunks:
        async for chunk in chunks:
            yield chunk
        await asyncio.sleep(seconds)

    return stage


# -- whole packets ------------------------------------------------------------------------------------

Packets = AsyncIterator[bytes]
Edit = Callable[[Packets], Packets]


def mqtt(*edits: Edit, kind: int = PUBACK) -> Stage:
    """`edits` see the MQTT packets of one kind, whole; the others pass by.

    Edits that hold a packet back hold only packets of this kind.
    """
    return _stage(_mqtt_length, lambda packet: packet[0] >> 4 == kind, edits)


def modbus(*edits: Edit) -> Stage:
    """`edits` see Modbus TCP frames, whole."""
    return _stage(lambda data: 6 + int.from_bytes(data[4:6], "big") if len(data) >= 6 else 0, lambda _: True, edits)


def _mqtt_length(data: bytes) -> int:
    """Bytes of the packet that `data` begins with; 0 while that is not known."""
    length = 0
    for i, byte in enumerate(data[1:5]):
        length |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return 2 + i + length
    return 0


def _stage(length: Callable[[bytes], int], wanted: Callable[[bytes], bool], edits: Iterable[Edit]) -> Stage:
    edits = list(edits)

    async def stage(chunks: Chunks) -> Chunks:
        edited: asyncio.Queue[bytes] = asyncio.Queue()

        async def feed() -> Packets:
            while True:
                yield await edited.get()

        out: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def edit() -> None:
            packets = feed()
            for one in edits:
                packets = one(packets)
            async for packet in packets:
                out.put_nowait(packet)

        async def sort() -> None:
            data = b""
            async for chunk in chunks:
                data += chunk
                while 0 < (n := length(data)) <= len(data):
                    packet, data = data[:n], data[n:]
                    (edited if wanted(packet) else out).put_nowait(packet)
            out.put_nowait(None)

        tasks = [asyncio.create_task(edit()), asyncio.create_task(sort())]
        try:
            while (packet := await out.get()) is not None:
                yield packet
        finally:
            for task in tasks:
                task.cancel()

    return stage


def swallow(*which: int) -> Edit:
    """The packets with these numbers, from 1, never arrive."""
    return _each(lambda n, packet: [] if n in which else [packet])


def duplicate(*which: int) -> Edit:
    """The packets with these numbers, from 1, arrive twice."""
    return _each(lambda n, packet: [packet] * (1 + (n in which)))


def retag(*which: int, by: int = 1) -> Edit:
    """The transaction id (the first two bytes) of these packets, from 1, is wrong by so much."""

    def change(n: int, packet: bytes) -> list[bytes]:
        if n not in which:
            return [packet]
        return [((int.from_bytes(packet[:2], "big") + by) & 0xFFFF).to_bytes(2, "big") + packet[2:]]

    return _each(change)


def delay(seconds: float, *which: int) -> Edit:
    """These packets, from 1, come so much later; those behind them too."""

    async def edit(packets: Packets) -> Packets:
        n = 0
        async for packet in packets:
            n += 1
            if n in which:
                await asyncio.sleep(seconds)
            yield packet

    return edit


def swap(*which: int, patience: float = 0.2) -> Edit:
    """Each of these packets, from 1, comes behind its successor, if there is one within `patience` seconds."""

    async def edit(packets: Packets) -> Packets:
        n = 0
        nexts = packets.__aiter__()
        pending: asyncio.Future[bytes] | None = None
        while True:
            packet = await (pending or nexts.__anext__())
            pending = None
            n += 1
            if n in which:
                pending = asyncio.ensure_future(nexts.__anext__())  # type: ignore[arg-type]
                done, _ = await asyncio.wait([pending], timeout=patience)
                if done:
                    n += 1
                    yield pending.result()
                    pending = None
            yield packet

    return edit


def _each(change: Callable[[int, bytes], list[bytes]]) -> Edit:
    async def edit(packets: Packets) -> Packets:
        n = 0
        async for packet in packets:
            n += 1
            for one in change(n, packet):
                yield one

    return edit
