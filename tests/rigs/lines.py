"""Eight Modbus lines that can be sick: mute, unplugged, black-holed. In virtual time; and what a device notes itself.

`Lines` stands under `drivers.link.connect`: it opens ports and connections for drivers that run on a `LinesLoop`. A
black hole takes SYNs and bytes and says nothing, as a firewall that drops does; the kernel's part (SYN again after 1,
3 and 7 s, TCP_USER_TIMEOUT) is played here.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from agent.core.errors import LineLost
from drivers.link import RtuLink
from tests.tools.slaves import Memory
from tests.tools.virtual import VirtualLoop
from tests.tools.wires import RtuWire, TcpWire

Sickness = Literal["", "mute", "unplugged", "hole"]
WHOLE = 4  # registers of a whole poll; a probe asks for fewer


class Watched(Memory):
    """A device that notes when it was polled."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self.now = now
        self.polls: list[float] = []  # s, whole polls that were answered

    def answer(self, pdu: bytes) -> bytes:
        if struct.unpack_from(">H", pdu, 3)[0] >= WHOLE:
            self.polls.append(self.now())
        return super().answer(pdu)


class Plug:
    """One line with one device: how it is, and what hangs on it now."""

    def __init__(self, device: Watched) -> None:
        self.device = device
        self.state: Sickness = ""
        self.units: dict[int, Memory] = {1: device}
        self.lose: Callable[[], None] = lambda: None

    def become(self, state: Sickness) -> None:
        self.state = state
        self.units.clear()
        if state == "":
            self.units[1] = self.device
        if state == "unplugged":
            self.lose()


class Port:
    """A serial port on a plug: the part of `drivers.serial.Port` that a link needs."""

    def __init__(self, plug: Plug) -> None:
        self.plug = plug

    def listen(self, received: Any, lost: Callable[[LineLost], None]) -> None:
        link: RtuLink = received.__self__
        self.wire = RtuWire(link, self.plug.units, latency=0.01)
        self.plug.lose = lambda: lost(LineLost("serial port: unplugged"))

    def write(self, data: bytes) -> None:
        self.wire.write(data)

    def check(self) -> None:
        if self.plug.state == "unplugged":
            raise LineLost("serial port: the device node vanished")

    def close(self) -> None:
        self.plug.lose = lambda: None


class Connection(TcpWire):
    """A TCP connection on a plug; it is its own socket, as far as options go."""

    def __init__(self, link: Any, plug: Plug) -> None:
        super().__init__(link, plug.units, latency=0.01)
        self.plug = plug
        self.patience = 900.0  # s, TCP_USER_TIMEOUT; the kernel's own is about a quarter of an hour
        self.doomed: asyncio.TimerHandle | None = None
        plug.lose = lambda: self.link.connection_lost(ConnectionResetError("reset"))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if option == socket.TCP_USER_TIMEOUT:
            self.patience = value / 1000

    def write(self, data: Any) -> None:
        if self.plug.state != "hole":
            super().write(data)
        elif self.doomed is None:
            self.doomed = self.loop.call_later(self.patience, self.link.connection_lost, TimeoutError("timed out"))

    def abort(self) -> None:
        super().abort()
        self.plug.lose = lambda: None
        if self.doomed is not None:
            self.doomed.cancel()


class LinesLoop(VirtualLoop):
    """A virtual loop whose connections lead to the plugs of `Lines`."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self.lines = lines

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        plug = self.lines.plugs[port]
        for pause in (1.0, 2.0, 4.0, 8.0):
            if plug.state != "hole":
                break
            await asyncio.sleep(pause)
        if plug.state in ("unplugged", "hole"):
            raise ConnectionRefusedError(111, "Connection refused")
        protocol = factory()
        return Connection(protocol, plug), protocol


class Lines:
    """Plugs by number. A driver finds number n at `rtu:///n` or `tcp://lines:n`."""

    def __init__(self, count: int) -> None:
        self.loop = LinesLoop(self)
        self.plugs = {n: Plug(Watched(self.loop.time)) for n in range(1, count + 1)}

    async def open_port(self, path: str, form: Any) -> Port:
        plug = self.plugs[int(path[1:])]
        if plug.state == "unplugged":
            raise LineLost(f"open serial port {path}: no such file or directory")
        return Port(plug)

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self.loop.run_until_complete(story)
        finally:
            self.loop.close()
