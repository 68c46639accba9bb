"""Somebody between the agent and pymodbus: a serial cable or a socket on which things go wrong, in real time.

The faults have the names and the meaning of `tests/tools/wires.py`. Each request draws one; it befalls the reply that
comes next. The devices show `dial` in all registers.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
import time
import tty
from collections.abc import Sequence
from pathlib import Path

from simulators.modbus import Device, PtyLine, Register, TcpLine
from tests.tools.slaves import request_length, sealed
from tests.tools.wires import Draw, Labels, adu, dial

PAIRS = 220


class Dials(Device):
    """A device of the plant simulator whose registers tell who they are."""

    def __init__(self, unit: int) -> None:
        layout = [Register(f"p{pair}", "holding", 2 * pair, "uint32") for pair in range(PAIRS)]
        super().__init__(f"d{unit}", unit, layout)

    def shown(self) -> dict[str, float]:
        now = time.monotonic()
        return {f"p{pair}": dial(self.unit, pair, now) for pair in range(PAIRS)}


class SerialMeddler:
    """A pseudo-terminal for the agent at `path`, pymodbus on another one behind it."""

    def __init__(self, devices: Sequence[Device], fault: Draw, path: Path, echo: bool = False) -> None:
        self.far, self.fault, self.path, self.echo = PtyLine(devices), fault, path, echo
        self.requests = 0
        self.chance = random.Random(5)
        self._name, self._lasts = "", 0.0  # of the fault that befalls the next reply
        self._asked, self._reply = b"", b""
        self._until = 0.0  # the loop's time at which the last reply leaves: a serial device answers in order

    @property
    def url(self) -> str:
        return f"rtu://{self.path}"

    async def start(self) -> None:
        await self.far.start()
        self._near, self._held = os.openpty()
        self._far = os.open(self.far.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        for fd in (self._near, self._held, self._far):
            tty.setraw(fd)
        os.set_blocking(self._near, False)
        self.path.symlink_to(os.ttyname(self._held))
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self._near, self._hear)
        self.loop.add_reader(self._far, self._answer)

    async def stop(self) -> None:
        for fd in (self._near, self._far):
            self.loop.remove_reader(fd)
        for fd in (self._near, self._held, self._far):
            os.close(fd)
        self._near = -1
        self.path.unlink()
        await self.far.stop()

    def _say(self, data: bytes, after: float = 0.0) -> None:
        if after > 0.0:
            self.loop.call_later(after, self._say, data)
        elif self._near >= 0 and data:
            os.write(self._near, data)

    def _hear(self) -> None:
        data = os.read(self._near, 4096)
        if self.echo:
            self._say(data)
        self._asked += data
        while (size := request_length(self._asked)) and len(self._asked) >= size:
            request, self._asked = self._asked[:size], self._asked[size:]
            self.requests += 1
            self._name, self._lasts = self.fault(request[0])
            if self._name != "deaf":
                os.write(self._far, request)

    def _answer(self) -> None:
        self._reply += os.read(self._far, 4096)
        while len(self._reply) >= 5:
            size = 5 if self._reply[1] & 0x80 else 5 + self._reply[2]
            if len(self._reply) < size:
                return
            reply, self._reply = self._reply[:size], self._reply[size:]
            self._spoil(reply)

    def _spoil(self, reply: bytes) -> None:
        name, lasts = self._name, self._lasts
        match name:
            case "foreign":
                self._say(sealed(reply[0] + 50, bytes([3, 2, 0xDE, 0xAD])))
            case "noise":
                self._say(self.chance.randbytes(7))
            case "cut":
                reply = reply[: self.chance.randrange(1, len(reply))]
        now = self.loop.time()
        self._until = max(self._until, now + (lasts if name == "late" else 0.0))
        self._say(reply, self._until - now)
        if name == "twin":
            self._until += max(0.001, lasts)
            self._say(reply, self._until - now)


class TcpMeddler:
    """A socket for the agent, pymodbus on another one behind it. Each connection is spoilt by itself."""

    def __init__(self, devices: Sequence[Device], fault: Draw) -> None:
        self.far, self.fault = TcpLine(devices), fault
        self.requests = self.port = 0
        self.chance = random.Random(5)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    async def start(self) -> None:
        await self.far.start()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.far.stop()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._between(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far = await asyncio.open_connection("127.0.0.1", self.far.port)
        try:
            async with asyncio.TaskGroup() as both:
                spoiler = Spoiler(self, writer)
                both.create_task(self._ask(reader, far, spoiler))
                both.create_task(spoiler.pass_on(far_reader))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            far.close()

    async def _ask(self, reader: asyncio.StreamReader, far: asyncio.StreamWriter, spoiler: Spoiler) -> None:
        while True:
            head = await reader.readexactly(7)
            spoiler.last, _, length, unit = struct.unpack(">HHHB", head)
            request = head + await reader.readexactly(length - 1)
            self.requests += 1
            name, lasts = self.fault(unit)
            if name != "deaf":
                spoiler.drawn[spoiler.last] = name, lasts
                far.write(request)


class Spoiler:
    """What befalls the replies on one connection."""

    def __init__(self, meddler: TcpMeddler, writer: asyncio.StreamWriter) -> None:
        self.chance, self.writer = meddler.chance, writer
        self.loop = asyncio.get_running_loop()
        self.drawn: dict[int, tuple[str, float]] = {}  # transaction -> its fault
        self.last = 0  # transaction asked last
        self.labels = Labels(meddler.chance)

    def say(self, data: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(data)

    async def pass_on(self, far: asyncio.StreamReader) -> None:
        while True:
            transaction, _, length, unit = struct.unpack(">HHHB", await far.readexactly(7))
            pdu = await far.readexactly(length - 1)
            name, lasts = self.drawn.pop(transaction, ("", 0.0))
            label = self.labels.of(transaction, name)
            if name == "foreign":
                self.say(adu(transaction, unit + 50, pdu))
            if name == "relabelled":
                await asyncio.sleep(lasts)  # what is behind such a gateway answers in order
                self.say(adu(self.last, unit, pdu))
                continue
            whole = adu(label, unit, pdu)
            if name == "cut":
                whole = whole[: self.chance.randrange(1, len(whole))]
            self.loop.call_later(lasts if name == "late" else 0.0, self.say, whole)
            if name == "twin":
                self.loop.call_later(lasts, self.say, whole)
