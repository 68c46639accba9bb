"""The other side of the wire: Modbus slaves for tests, in three make.

`Memory` answers requests (its CRC is pymodbus', so that ours is not checked against itself);
`TcpSlave` and `PtySlave` serve memories with scripted misbehaviour; `pymodbus_server` and
`libmodbus_server` are other people's servers.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import tty
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path

import pytest
from pymodbus.framer.rtu import FramerRTU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.core.alarm import Order
from agent.core.frame import Instant

HERE = Path(__file__).parent


class Memory:
    """A device: one table of words for holding and input registers, one of bits. Register n holds n if not told."""

    def __init__(self, words: Mapping[int, int] | None = None, size: int = 65536) -> None:
        self.words = dict(words or {})
        self.bits: dict[int, bool] = {}
        self.absent: set[int] = set()
        self.size = size
        self.asked: list[tuple[int, int, int]] = []  # (function, start, count)
        self.stuck = False  # takes writes and forgets them

    def answer(self, pdu: bytes) -> bytes:
        code, start, count = struct.unpack_from(">BHH", pdu)
        self.asked.append((code, start, count))
        if code in (1, 2, 3, 4):
            span = range(start, start + count)
            if start + count > self.size or not self.absent.isdisjoint(span):
                return bytes([code | 0x80, 2])
            if code <= 2:
                number = sum(1 << i for i, a in enumerate(span) if self.bits.get(a, False))
                data = number.to_bytes((count + 7) // 8, "little")
            else:
                data = b"".join(struct.pack(">H", self.words.get(a, a)) for a in span)
            return bytes([code, len(data)]) + data
        if code == 5 and not self.stuck:
            self.bits[start] = count == 0xFF00
        elif code == 6 and not self.stuck:
            self.words[start] = count
        elif code == 15 and not self.stuck:
            for i in range(count):
                self.bits[start + i] = bool(pdu[6 + i // 8] >> i % 8 & 1)
        elif code == 16 and not self.stuck:
            for i in range(count):
                self.words[start + i] = struct.unpack_from(">H", pdu, 6 + 2 * i)[0]
        elif code not in (5, 6, 15, 16):
            return bytes([code | 0x80, 1])
        return pdu[:5]


def sealed(unit: int, pdu: bytes) -> bytes:
    """An RTU frame with somebody else's CRC."""
    body = bytes([unit]) + pdu
    return body + struct.pack(">H", FramerRTU.compute_CRC(body))


def request_length(buffer: bytes) -> int:
    """Bytes of the RTU request at the head of `buffer`, 0 while unknown."""
    if len(buffer) < 7:
        return 0
    return 9 + buffer[6] if buffer[1] in (15, 16) else 8


Script = Callable[[int, bytes], "list[tuple[float, bytes]]"]  # unit, request PDU -> [(delay, reply PDU)]


def obedient(units: Mapping[int, Memory], delay: float = 0.0) -> Script:
    """Every unit that exists answers after `delay`; the others are mute."""
    return lambda unit, pdu: [(delay, units[unit].answer(pdu))] if unit in units else []


class TcpSlave:
    """A Modbus/TCP server that does what its script says. Can be stopped and started on the same port.

    `listen(port)` makes the socket, by default one of the loopback.
    """

    def __init__(self, script: Script, listen: Callable[[int], socket.socket] | None = None) -> None:
        self.script = script
        self.listen = listen or (lambda port: socket.create_server(("127.0.0.1", port)))
        self.port = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> TcpSlave:
        self._server = await asyncio.start_server(self._serve, sock=self.listen(self.port))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        loop = asyncio.get_running_loop()
        try:
            while True:
                head = await reader.readexactly(7)
                transaction, _, length, unit = struct.unpack(">HHHB", head)
                pdu = await reader.readexactly(length - 1)
                for delay, reply in self.script(unit, pdu):
                    adu = struct.pack(">HHHB", transaction, 0, 1 + len(reply), unit) + reply
                    if delay:
                        loop.call_later(delay, writer.write, adu)
                    else:
                        writer.write(adu)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


class PtySlave:
    """RTU slaves on a pseudo-terminal. `path` is a link that survives unplugging and plugging in again."""

    def __init__(self, path: Path, script: Script) -> None:
        self.path, self.script = path, script
        self._fds: list[int] = []
        self._buffer = b""

    def plug(self) -> PtySlave:
        master, slave = os.openpty()
        tty.setraw(master)
        tty.setraw(slave)
        os.set_blocking(master, False)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(slave))
        os.close(slave)  # so that nobody but the master side holds it up
        self._fds = [master]
        self._slave = os.open(self.path, os.O_RDWR | os.O_NOCTTY)  # until the driver opens it
        self._fds.append(self._slave)
        asyncio.get_running_loop().add_reader(master, self._readable)
        return self

    def unplug(self) -> None:
        if self._fds:
            asyncio.get_running_loop().remove_reader(self._fds[0])
            for fd in self._fds:
                os.close(fd)
            self._fds = []
            self.path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        if self._fds:
            os.write(self._fds[0], data)

    def _readable(self) -> None:
        try:
            self._buffer += os.read(self._fds[0], 4096)
        except OSError:
            return
        while (size := request_length(self._buffer)) and len(self._buffer) >= size:
            request, self._buffer = self._buffer[:size], self._buffer[size:]
            for delay, reply in self.script(request[0], request[1:-2]):
                asyncio.get_running_loop().call_later(delay, self.write, sealed(request[0], reply))


# -- other people's servers -----------------------------------------------------------------------


@asynccontextmanager
async def pymodbus_server(unit: int, words: Sequence[int]) -> AsyncIterator[int]:
    """pymodbus with `words` in both register tables and their lowest bits in both bit tables. Gives the port."""
    bits = [bool(word & 1) for word in words]
    bits += [False] * (-len(bits) % 16)
    tables = (
        [SimData(0, values=bits, datatype=DataType.BITS)],
        [SimData(0, values=bits, datatype=DataType.BITS)],
        [SimData(0, values=list(words), datatype=DataType.REGISTERS)],
        [SimData(0, values=list(words), datatype=DataType.REGISTERS)],
    )
    server = ModbusTcpServer(SimDevice(unit, tables), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


@lru_cache(maxsize=1)
def _compiled() -> Path | str:
    """The libmodbus server, or why there is none."""
    if shutil.which("gcc") is None:
        return "gcc is not installed"
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"vedette-libmodbus-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    target = folder / "server"
    source = HERE.parent / "drivers" / "libmodbus_server.c"
    command = ["gcc", "-O1", "-I/usr/include/modbus", str(source), "-o", str(target), "-lmodbus"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        shutil.rmtree(folder)
        return f"libmodbus-dev is not installed: {made.stderr.strip().splitlines()[0]}"
    return target


def forget_compiled() -> None:
    made = _compiled() if _compiled.cache_info().currsize else None
    if isinstance(made, Path):
        shutil.rmtree(made.parent, ignore_errors=True)


@asynccontextmanager
async def libmodbus_server(mode: str, where: str, unit: int, words: Sequence[int], folder: Path) -> AsyncIterator[int]:
    """libmodbus with `words` in all tables; `mode` tcp or rtu. Gives the port (0 for rtu). Skips where it cannot be."""
    program = _compiled()
    if isinstance(program, str):
        pytest.skip(program)
    listing = folder / "words"
    listing.write_text("".join(f"{word:x}\n" for word in words))
    process = await asyncio.create_subprocess_exec(
        program, mode, where, str(unit), listing, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield int(await asyncio.wait_for(process.stdout.readline(), 10))
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


# -- orders ---------------------------------------------------------------------------------------


class Mailbox:
    """The port `Orders`, filled by a test."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self._there = asyncio.Event()

    def put(self, output: str, on: bool, at: Instant) -> None:
        self.orders.append(Order(output, on, "alarm-1", at))
        self._there.set()

    async def wait(self, seconds: float) -> None:
        if self.orders:
            return
        self._there.clear()
        try:
            await asyncio.wait_for(self._there.wait(), seconds)
        except TimeoutError:
            pass

    def take(self) -> Order | None:
        return self.orders.pop(0) if self.orders else None
