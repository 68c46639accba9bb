"""Plants served as Modbus slaves, over TCP and over a pseudo-terminal pair, by somebody else's stack.

pymodbus decodes the requests and encodes the replies (framer and PDU classes); what stands in the
registers, the faults, the pace of the wire and the ledger are ours. Its own servers are not used: they
cannot be told to stay silent, to be late, or to send bytes as slowly as a wire does.

Each device has a ledger: the channel called `served` counts its own readings, and each answer that
left is noted with its time. What a platform received can so be checked against what was really served.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import struct
import time
import tomllib
import tty
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.framer.base import FramerBase
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU

from .faults import Dead, Fault, damage, distort, manner
from .port import Port

logging.getLogger("pymodbus").addHandler(logging.NullHandler())  # it warns of each garbled frame

LEDGER = "served"  # key of the channel that counts its own readings

KINDS = ("coil", "discrete", "input", "holding")
TABLE = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}  # Modbus function code -> table
WRITES = {5: "coil", 6: "holding", 15: "coil", 16: "holding", 22: "holding", 23: "holding"}

FORMATS = {  # type -> struct format, big-endian
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}


class Register(Struct, frozen=True):
    """One channel of a device profile, as the device sees it."""

    key: str
    table: str  # one of KINDS
    address: int  # 0-based, as on the wire
    type: str
    order: str = "ABCD"
    scale: float = 1.0
    offset: float = 0.0

    @property
    def words(self) -> int:
        return struct.calcsize(FORMATS[self.type]) // 2 if self.type in FORMATS else 1


def registers(path: str | Path) -> tuple[Register, ...]:
    """The channels of a device profile. Raises `ValueError` for what this server cannot encode."""
    with open(path, "rb") as file:
        rows = tomllib.load(file).get("channel", [])
    return tuple(_register(row, f"{path}: channel {row.get('key', '?')}") for row in rows)


def _register(row: Mapping[str, Any], what: str) -> Register:
    table, _, address = str(row["at"]).partition(":")
    if table not in KINDS:
        raise ValueError(f"{what}: no table is called {table!r}")
    bit = table in ("coil", "discrete")
    type_ = str(row.get("type", "bool" if bit else "uint16"))
    if not bit and type_ not in FORMATS:
        raise ValueError(f"{what}: the simulator does not encode {type_!r}")
    return Register(
        key=str(row["key"]),
        table=table,
        address=int(address, 0),
        type=type_,
        order=str(row.get("order", "ABCD")),
        scale=float(row.get("scale", 1.0)),
        offset=float(row.get("offset", 0.0)),
    )


def encode(register: Register, value: float) -> list[int]:
    """Words (or one bit) that stand for `value`: raw = (value - offset) / scale, clipped to the type.

    The four orders name the bytes of a 32-bit number as they follow each other on the wire; in a
    64-bit number BADC swaps the bytes of each word and CDAB reverses the words, DCBA does both.

    >>> [hex(w) for w in encode(Register("x", "holding", 0, "float32", "CDAB"), 1.0)]
    ['0x0', '0x3f80']
    """
    if register.type not in FORMATS:
        return [int(bool(value))]
    form = FORMATS[register.type]
    raw = (value - register.offset) / register.scale
    if "f" in form or "d" in form:
        data = struct.pack(form, raw)
    else:
        bits = 8 * struct.calcsize(form)
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if form[1].islower() else (0, (1 << bits) - 1)
        data = struct.pack(form, high if math.isnan(raw) else min(max(round(raw), low), high))
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    if register.order in ("BADC", "DCBA"):
        words = [w[::-1] for w in words]
    if register.order in ("CDAB", "DCBA"):
        words.reverse()
    return [int.from_bytes(w, "big") for w in words]


class Device:
    """One slave: registers, the values that stand in them, faults, ledger and what was written.

    `values` are engineering values by key and may be changed at any time; `on_write(key, value)` is
    called for each coil or register that a client writes.
    """

    def __init__(
        self,
        name: str,
        unit: int,
        layout: Sequence[Register],
        clock: Callable[[], float] = time.monotonic,
        on_write: Callable[[str, float], None] | None = None,
    ) -> None:
        self.name, self.unit, self.clock, self.on_write = name, unit, clock, on_write
        self.layout = tuple(layout)
        self.values: dict[str, float] = {register.key: 0.0 for register in layout}
        self.faults: list[Fault] = []
        self.served: dict[int, float] = {}  # reading -> monotonic s at which its answer had left, undamaged
        self.writes: list[tuple[float, str, float]] = []  # monotonic s, key, value
        self._reading = 0  # the last number that was put into an answer
        self._fresh: int | None = None  # the number in the answer that is being made
        self._at: dict[tuple[str, int], tuple[Register, int]] = {
            (register.table, register.address + i): (register, i) for register in layout for i in range(register.words)
        }
        self._ledger = next((register for register in layout if register.key == LEDGER), None)

    @property
    def dead(self) -> bool:
        return any(isinstance(fault, Dead) for fault in self.faults)

    def shown(self) -> dict[str, float]:
        """The values as the registers show them now, faults included."""
        return distort(self.values, self.faults, self.clock())

    # -- what pymodbus asks of a data store ---------------------------------------------------------

    async def async_getValues(self, unit: int, code: int, address: int, count: int = 1) -> list[int] | ExcCodes:
        """Words or bits for one request; an address without a channel is illegal."""
        table = TABLE.get(code) or WRITES.get(code, "holding")
        places = [self._at.get((table, address + i)) for i in range(count)]
        if None in places:
            return ExcCodes.ILLEGAL_ADDRESS
        ledger = self._ledger
        if (
            code in TABLE
            and ledger is not None
            and ledger.table == table
            and address <= ledger.address
            and ledger.address + ledger.words <= address + count
        ):
            self._reading += 1
            self._fresh = self._reading
            self.values[LEDGER] = float(self._reading)
        shown = self.shown()
        words: dict[str, list[int]] = {}
        out = []
        for register, i in (place for place in places if place is not None):
            if register.key not in words:
                words[register.key] = encode(register, shown[register.key])
            out.append(words[register.key][i])
        return [bool(bit) for bit in out] if table in ("coil", "discrete") else out

    async def async_setValues(
        self, unit: int, code: int, address: int, values: Sequence[int] | Sequence[bool]
    ) -> ExcCodes | None:
        """Write coils or one-word registers; a write of anything longer is illegal here."""
        table = WRITES.get(code, "")
        places = [self._at.get((table, address + i)) for i in range(len(values))]
        if any(place is None or place[0].words > 1 for place in places):
            return ExcCodes.ILLEGAL_ADDRESS
        for place, value in zip(places, values, strict=True):
            if place is None:
                continue
            register = place[0]
            new = float(value) * register.scale + register.offset
            self.values[register.key] = new
            self.writes.append((self.clock(), register.key, new))
            if self.on_write is not None:
                self.on_write(register.key, new)
        return None

    def take_reading(self) -> int | None:
        """The ledger's number in the answer just made, or None; asked once."""
        fresh, self._fresh = self._fresh, None
        return fresh

    def note_served(self, reading: int | None) -> None:
        """The answer with this number has left whole."""
        if reading is not None:
            self.served[reading] = self.clock()


class Answer(Struct, frozen=True):
    """The bytes of a reply, and whose they are; no device and no bytes where nobody answers."""

    device: Device | None = None
    sent: bytes = b""
    reading: int | None = None  # None also where the reply is damaged: nobody can have received it


class Line:
    """The devices on one wire, by unit. Answers one request at a time."""

    def __init__(self, devices: Sequence[Device], framer: type[FramerBase], silent_units: bool) -> None:
        self.devices = {device.unit: device for device in devices}
        self.framer = framer(DecodePDU(True))
        self.silent_units = silent_units  # a missing unit says nothing (serial) or the gateway complains (TCP)

    def take(self, buffer: bytes) -> tuple[int, ModbusPDU | None]:
        """Bytes used and the request found, as pymodbus sees it; garbage is used up without a request."""
        try:
            return self.framer.handleFrame(buffer, 0, 0)
        except ModbusException as error:
            unit, code = getattr(error, "dev_id", 0), getattr(error, "fcode", None) or 0
            refusal = ExceptionResponse(code, ExcCodes.ILLEGAL_FUNCTION, device_id=unit)
            return len(buffer), refusal
        except (ValueError, IndexError, struct.error, NotImplementedError):
            return len(buffer), None

    async def answer(self, request: ModbusPDU, asked: bytes) -> Answer:
        """What comes back for `request` (`asked` in bytes), late if the device is slow."""
        device = self.devices.get(request.dev_id)
        if device is None:
            if self.silent_units:
                return Answer()
            refusal = ExceptionResponse(request.function_code, ExcCodes.GATEWAY_NO_RESPONSE)
            return Answer(None, self._frame(request, refusal))
        how = manner(device.faults)
        if not how.answers:
            return Answer(device)
        if how.wait:
            await asyncio.sleep(how.wait)
        if isinstance(request, ExceptionResponse):
            return Answer(device, self._frame(request, request))
        if how.code:
            return Answer(device, self._frame(request, ExceptionResponse(request.function_code, how.code)))
        store: Any = device
        try:
            reply = await request.datastore_update(store, request.dev_id)
        except ModbusException:
            reply = ExceptionResponse(request.function_code, ExcCodes.ILLEGAL_FUNCTION)
        whole, reading = self._frame(request, reply), device.take_reading()
        sent = damage(asked, whole, device.faults)
        return Answer(device, sent, reading if sent.endswith(whole) else None)

    def _frame(self, request: ModbusPDU, reply: ModbusPDU) -> bytes:
        reply.dev_id, reply.transaction_id = request.dev_id, request.transaction_id
        return self.framer.buildFrame(reply)


class TcpLine(Port):
    """A line behind a TCP port. Each connection is served in order; a client may pipeline."""

    def __init__(self, devices: Sequence[Device], host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(host, port)
        self.devices = tuple(devices)

    @property
    def url(self) -> str:
        return f"tcp://{self.host}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(self.devices, FramerSocket, silent_units=False)
        buffer = b""
        try:
            while more := await reader.read(4096):
                buffer += more
                while len(buffer) >= 8:
                    if buffer[2:4] != b"\0\0":
                        return  # not Modbus: no way to find the next frame
                    used, request = line.take(buffer)
                    if not used:
                        break
                    asked, buffer = buffer[:used], buffer[used:]
                    if request is None:
                        continue
                    answer = await line.answer(request, asked)
                    writer.write(answer.sent)
                    await writer.drain()
                    if answer.device is not None:
                        answer.device.note_served(answer.reading)
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()


class PtyLine:
    """A serial line as a pseudo-terminal pair: `path` is the end that a client opens.

    With `baud` the bytes take their time on the wire (11 bits each: start, 8 data, parity or stop,
    stop), request and reply alike, and the slave keeps 3.5 characters of silence before it answers.
    """

    BITS = 11.0  # per character, Modbus over serial line V1.02, 2.5.1
    GAP = 0.1  # s of silence after which an unfinished request is forgotten

    def __init__(self, devices: Sequence[Device], baud: float | None = None, link: str | None = None) -> None:
        self.devices, self.baud, self.link = tuple(devices), baud, link
        self.path = ""
        self._master = self._slave = -1
        self._heard = asyncio.Queue[bytes]()
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"rtu://{self.link or self.path}"

    async def start(self) -> None:
        """Open the pair; `link`, if given, becomes a symbolic link to the client's end."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)  # our own hold on the far end: without it the line hangs up between clients
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        if self.link:
            _unlink(self.link)
            os.symlink(self.path, self.link)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._master, self._hear)
        self._task = loop.create_task(self._serve())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = self._slave = -1
        if self.link:
            _unlink(self.link)

    def _hear(self) -> None:
        try:
            self._heard.put_nowait(os.read(self._master, 4096))
        except (BlockingIOError, OSError):
            pass

    async def _serve(self) -> None:
        line = Line(self.devices, FramerRTU, silent_units=True)
        character = self.BITS / self.baud if self.baud else 0.0  # s
        buffer = b""
        while True:
            try:
                buffer += await asyncio.wait_for(self._heard.get(), self.GAP if buffer else None)
            except TimeoutError:
                buffer = b""
                continue
            came = time.monotonic()
            used, request = line.take(buffer)
            if not used:
                continue
            asked, buffer = buffer[:used], buffer[used:]
            if request is None:
                continue
            answer = await line.answer(request, asked)
            # The request came at once where a wire would have needed len(asked) characters for it.
            whole = await self._send(answer.sent, came + (len(asked) + 3.5) * character, character)
            if whole and answer.device is not None:
                answer.device.note_served(answer.reading)

    async def _send(self, reply: bytes, begin: float, character: float) -> bool:
        """Write `reply` so that each byte comes out when a wire would have delivered it; whether all did."""
        piece = max(1, round(0.004 / character)) if character else max(1, len(reply))
        for i in range(0, len(reply), piece):
            part = reply[i : i + piece]
            due = begin + (i + len(part)) * character
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            try:
                os.write(self._master, part)
            except BlockingIOError:
                return False  # nobody reads: a wire would not wait either
        return True


def _unlink(link: str) -> None:
    if os.path.islink(link):
        os.unlink(link)
