"""A serial port as bytes in and out of the event loop. Opens, reads, writes, says when it is gone.

Knows nothing of Modbus. An unplugged adapter shows as EIO, as a read of nothing, or as a vanished
device node; each ends in `lost`. It never reopens: `keep` does.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Any

import serial as pyserial
from msgspec import Struct

from agent.core.errors import LineLost

from .modbus_wire import Parity, char_time


class Format(Struct, frozen=True):
    """How characters travel on a serial line."""

    baud: int = 9600  # bit/s
    bytesize: int = 8
    parity: Parity = "N"
    stopbits: int = 1
    rs485: bool = False  # drive RTS as the transmitter's enable; kernel driver permitting

    @property
    def char(self) -> float:
        """Seconds per character."""
        return char_time(self.baud, self.bytesize, self.parity, self.stopbits)


class Port:
    """An open port. `received(bytes)` and `lost(LineLost)` are called from the event loop."""

    CHUNK = 4096  # bytes of one read

    def __init__(self, path: str, port: Any) -> None:
        self.path = path
        self._port = port
        self._fd: int = port.fileno()
        self._loop = asyncio.get_running_loop()
        self._lost: Callable[[LineLost], None] | None = None

    def listen(self, received: Callable[[bytes], None], lost: Callable[[LineLost], None]) -> None:
        self._received, self._lost = received, lost
        self._loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes) -> None:
        """Send all of `data` (one frame). Raises LineLost if the port does not take it."""
        try:
            sent = os.write(self._fd, data)
        except OSError as error:
            raise self._gone(f"write: {error.strerror}") from error
        if sent < len(data):  # the kernel keeps 4096 bytes; a frame has 256
            raise self._gone("the port takes no more bytes")

    def check(self) -> None:
        """Raises LineLost if the device node is gone: some adapters vanish without an error."""
        if not os.path.exists(self.path):
            raise self._gone("the device node vanished")

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._fd = -1
            try:
                self._port.close()
            except OSError:
                pass  # an adapter that is gone cannot be closed politely

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, self.CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(self._gone(f"read: {error.strerror}"))
            return
        if data:
            self._received(data)
        else:  # ready to read but nothing there: unplugged, or a second reader
            self._end(self._gone("the port returns nothing"))

    def _gone(self, why: str) -> LineLost:
        return LineLost(f"serial port {self.path}: {why}; check the adapter and its plug")

    def _end(self, fault: LineLost) -> None:
        self._loop.remove_reader(self._fd)
        if self._lost is not None:
            self._lost(fault)


async def open_port(path: str, form: Format) -> Port:
    """Open `path` for this process alone. Raises LineLost. The blocking open runs in a thread."""

    def blocking() -> Any:
        port = pyserial.Serial(
            path,
            baudrate=form.baud,
            bytesize=form.bytesize,
            parity=form.parity,
            stopbits=form.stopbits,
            timeout=0,
            exclusive=True,
        )
        if form.rs485:
            port.rs485_mode = pyserial.rs485.RS485Settings()
        port.reset_input_buffer()
        return port

    try:
        return Port(path, await asyncio.to_thread(blocking))
    except (OSError, ValueError) as error:  # SerialException is an OSError
        number = error.errno if isinstance(error, OSError) else None
        why = os.strerror(number).lower() if number else str(error)
        if number == errno.EWOULDBLOCK:
            why = "another program has it"
        raise LineLost(f"open serial port {path}: {why}; check the path, the rights and who else uses it") from error
