"""Modbus on the wire: request bytes, reply bytes, and the rules by which a reply is believed.

Pure: no socket, no clock; where time matters it is an argument. A reply is accepted only if unit,
function and byte count (and on TCP the transaction id) fit the open request. Whatever else comes is
thrown away; arbitrary bytes raise nothing but `agent.core.errors`, and buffers are bounded.

RTU has no transaction id, so one late reply makes a careless master read the previous register for
ever (pymodbus 3.16 does). `Line` therefore keeps the discipline of a half-duplex line, as states:

    quiet     no request open; no byte for `pause` seconds, so the next request may go out
    open      a request is out; bytes are searched for the one frame that fits it
    settling  it came; if anything follows within the silence that ends a frame, or, for a reply that
              came suspiciously early, within the time that this unit usually takes, nobody knows which
              of the two was meant: neither is believed
    dirty     a time-out, a wrong or a surplus reply: silent for 3 x the latency of that unit, or 3.5
              characters, before the line is used again; what comes meanwhile is discarded
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct as Format
from typing import Literal

from msgspec import Struct

from agent.core.errors import BadReply, NoReply, Refused, WorldFault

from .registers import Kind, size_of

READ: dict[Kind, int] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}  # function codes
READ_KIND = {code: kind for kind, code in READ.items()}
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS = 5, 6, 15, 16
WRITE_KIND: dict[int, Kind] = {5: "coil", 15: "coil", 6: "holding", 16: "holding"}

MBAP = Format(">HHHB")  # transaction, protocol 0, bytes that follow (unit and PDU), unit
_FHH = Format(">BHH")
MAX_PDU = 253  # bytes
MAX_NOISE = 1024  # bytes kept of what has not made sense; an RTU frame has at most 256

ABSENT = (1, 2, 3)  # codes that mean "this can never be read like that"
UNREACHED = (10, 11)  # codes of a gateway whose device did not answer
HINTS = {
    1: "illegal function: the device does not know this kind of register",
    2: "illegal data address: some of these registers do not exist; compare with the manual (counted from 0 or 1?)",
    3: "illegal data value: too many registers at once, or a value that the device does not take",
    4: "device failure: the device could not do it",
    5: "acknowledge: the device needs longer",
    6: "busy: ask again later",
    7: "negative acknowledge",
    8: "memory parity error in the device",
    10: "gateway path unavailable: the gateway knows no way to this unit",
    11: "gateway target did not respond: check the unit's power, wiring and address behind the gateway",
}


# -- requests -------------------------------------------------------------------------------------


class Ask(Struct, frozen=True):
    """One request to one unit and the shape of the reply that fits it."""

    unit: int
    pdu: bytes  # function code and data
    length: int  # bytes of the reply's PDU

    @property
    def shape(self) -> tuple[int, int]:
        """(function, bytes of the reply): two requests of one shape cannot be told apart by their replies."""
        return self.pdu[0], self.length


def read(unit: int, kind: Kind, start: int, count: int) -> Ask:
    """Read `count` registers or bits from `start`.

    >>> read(17, "holding", 0x6B, 3).pdu.hex()
    '03006b0003'
    """
    return Ask(unit, _FHH.pack(READ[kind], start, count), 2 + size_of(kind, count))


def write_coil(unit: int, start: int, on: bool) -> Ask:
    return Ask(unit, _FHH.pack(WRITE_COIL, start, 0xFF00 if on else 0), 5)


def write_register(unit: int, start: int, word: int) -> Ask:
    return Ask(unit, _FHH.pack(WRITE_REGISTER, start, word & 0xFFFF), 5)


def write_coils(unit: int, start: int, on: list[bool]) -> Ask:
    packed = sum(1 << i for i, bit in enumerate(on) if bit).to_bytes((len(on) + 7) // 8, "little")
    return Ask(unit, _FHH.pack(WRITE_COILS, start, len(on)) + bytes([len(packed)]) + packed, 5)


def write_registers(unit: int, start: int, words: list[int]) -> Ask:
    packed = b"".join((word & 0xFFFF).to_bytes(2, "big") for word in words)
    return Ask(unit, _FHH.pack(WRITE_REGISTERS, start, len(words)) + bytes([len(packed)]) + packed, 5)


def describe(ask: Ask) -> str:
    """The request as people read it.

    >>> describe(read(17, "holding", 0x1F40, 2))
    'read holding 0x1f40+2 from unit 17'
    """
    code, start, count = _FHH.unpack_from(ask.pdu)
    if code in READ_KIND:
        return f"read {READ_KIND[code]} {start:#x}+{count} from unit {ask.unit}"
    return f"write {WRITE_KIND[code]} {start:#x} of unit {ask.unit}"


def payload(ask: Ask, pdu: bytes) -> bytes:
    """The data of a reply's PDU: register or coil bytes for a read, empty for a write.

    Raises Refused for an exception reply, BadReply if it does not fit the request.
    """
    code = ask.pdu[0]
    if len(pdu) == ask.length and pdu[0] == code:
        if code <= 4:
            if pdu[1] == len(pdu) - 2:
                return pdu[2:]
        elif pdu == ask.pdu[:5]:
            return b""
    elif len(pdu) == 2 and pdu[0] == code | 0x80:
        raise Refused(f"{describe(ask)}: refused, code {pdu[1]}, {HINTS.get(pdu[1], 'not a standard code')}", pdu[1])
    raise BadReply(
        f"{describe(ask)}: the reply {pdu[:8].hex()} ({len(pdu)} bytes) does not fit; check for a second unit"
    )


# -- TCP ------------------------------------------------------------------------------------------


def tcp_adu(ask: Ask, transaction: int) -> bytes:
    """
    >>> tcp_adu(read(17, "holding", 0x6B, 3), 1).hex()
    '0001000000061103006b0003'
    """
    return MBAP.pack(transaction, 0, 1 + len(ask.pdu), ask.unit) + ask.pdu


class TcpStream:
    """Cuts a TCP byte stream into (transaction, unit, PDU). Keeps less than one frame between calls."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Every frame that is complete now.

        Raises BadReply if this is not Modbus/TCP. The stream has then no frame borders any more: the
        caller closes the connection.
        """
        if self.rest:
            data = self.rest + data
        frames = []
        at, end = 0, len(data)
        while end - at >= 8:
            transaction, protocol, length, unit = MBAP.unpack_from(data, at)
            if protocol or not 2 <= length <= MAX_PDU + 1:
                self.rest = b""
                raise BadReply(
                    f"bytes {data[at : at + 8].hex()} are not a Modbus/TCP header; is this another protocol?"
                )
            after = at + 6 + length
            if after > end:
                break
            frames.append((transaction, unit, data[at + 7 : after]))
            at = after
        self.rest = data[at:]
        return frames


# -- RTU ------------------------------------------------------------------------------------------


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0xA001 if byte & 1 else byte >> 1
    return byte


_CRC = tuple(_crc_of_byte(byte) for byte in range(256))


def crc(data: bytes | bytearray | memoryview) -> int:
    """CRC-16 of Modbus over serial line V1.02, 6.2.2; sent low byte first.

    >>> hex(crc(bytes.fromhex("1103006b0003")))
    '0x8776'
    """
    sum_ = 0xFFFF
    for byte in data:
        sum_ = sum_ >> 8 ^ _CRC[(sum_ ^ byte) & 0xFF]
    return sum_


def rtu_adu(ask: Ask) -> bytes:
    """
    >>> rtu_adu(read(17, "holding", 0x6B, 3)).hex()
    '1103006b00037687'
    """
    body = bytes([ask.unit]) + ask.pdu
    return body + crc(body).to_bytes(2, "little")


def find(ask: Ask, buffer: bytes | bytearray, start: int = 0) -> tuple[int, bytes] | None:
    """(end, PDU) of the first frame in `buffer` that fits `ask` and whose CRC holds, or None.

    Slides over whatever stands before it: noise, frames of other units, the tail of a cut frame.
    """
    code = ask.pdu[0]
    head, refusal = bytes([ask.unit, code]), bytes([ask.unit, code | 0x80])
    size = len(buffer)
    while start < size - 4:
        normal, refused = buffer.find(head, start), buffer.find(refusal, start)
        if normal < 0 and refused < 0:
            return None
        at = min(i for i in (normal, refused) if i >= 0)
        end = at + (ask.length if at == normal else 2) + 3
        fits = at == refused or code > 4 or (size > at + 2 and buffer[at + 2] == ask.length - 2)
        if end <= size and fits and crc(buffer[at : end - 2]) == int.from_bytes(buffer[end - 2 : end], "little"):
            return end, bytes(buffer[at + 1 : end - 2])
        start = at + 1
    return None


class Doubtful(bytes):
    """A payload read right after the line was dirty: believed, but UNCERTAIN."""


Outcome = bytes | WorldFault  # a payload, or why there is none


class State(IntEnum):
    QUIET = 0
    OPEN = 1
    SETTLING = 2


class Line:
    """The discipline of one half-duplex RTU line; see the table at the top. Every method gets `now`.

    `char`: seconds per character. `echo`: whether the line returns what is sent (two-wire adapters do);
    None: found out by itself. Memory: latency per unit, learned; a restart forgets it.
    """

    MIN_SILENCE = 0.00175  # s; above 19200 baud 3.5 characters are fixed at this (serial line V1.02, 2.5.1.1)
    SETTLE = 3.0  # times the latency that a dirty line must stay silent; reliability.md 2.4
    TWIN = 3.0  # times the latency within which a second copy of a reply is expected; the same rule
    EARLY = 0.5  # a reply faster than this part of the fastest ever is waited out

    def __init__(self, char: float, now: float, echo: bool | None = None) -> None:
        self.char = char
        self.silence = max(3.5 * char, self.MIN_SILENCE)
        self.echo = echo
        self.state = State.QUIET
        self.heard = now  # when the last byte came or went
        self.quiet = self.silence  # s that must pass since `heard` before the next request
        self.dirty = False
        self.late: int | None = None  # the unit that made the line dirty
        self.noisy = False  # bytes were discarded since the last accepted reply
        self.slowest: dict[int, float] = {}  # s from the end of a request to its reply, by unit, slowly forgotten
        self.fastest: dict[int, float] = {}
        self.buffer = bytearray()
        self.deadline = now
        self._sent = now  # when the last request had left
        self._patience = 0.0
        self._last: int | None = None  # the unit asked last ...
        self._ask_was: Ask | None = None  # ... and what it was asked
        self._adu = b""
        self._ask: Ask | None = None
        self._reply: Outcome | None = None
        self._settled = 0.0
        self._surplus = False

    # -- quiet ------------------------------------------------------------------------------------

    def pause(self, now: float, ask: Ask | None = None) -> float:
        """Seconds until `ask` may go out; 0: now. Clears the dirt when the silence was long enough.

        A request of the same shape to the same unit as the last one waits until a second copy of the last
        reply, if somebody sends one, would have come: it could not be told from the answer. Not so the very same
        request: there the copy would be a reading of the same registers, one poll old.

        An order does not wait for the dirt to settle, unless it goes to the very unit that is late: the reply to a
        write repeats it, so that nothing else can be taken for it. The line stays dirty for what follows.
        """
        quiet, last = self.quiet, self._ask_was
        if ask is not None and last is not None and ask.unit == self._last and ask.shape == last.shape and ask != last:
            quiet = max(quiet, self.TWIN * self.slowest.get(ask.unit, 0.0))
        left = self.heard + quiet - now
        if left > 0:
            if ask is not None and ask.pdu[0] > 4 and ask.unit != self.late:
                return max(0.0, self.heard + self.silence - now)
            return left
        self.dirty = False
        self.quiet = self.silence
        return 0.0

    def wire_time(self, count: int) -> float:
        """Seconds that `count` bytes need."""
        return count * self.char

    def open(self, ask: Ask, now: float, timeout: float) -> bytes:
        """The bytes to send. `timeout`: s from their end to the first byte of the reply."""
        self._ask, self._adu = ask, rtu_adu(ask)
        self._last, self._ask_was = ask.unit, ask
        self._sent = now + self.wire_time(len(self._adu))
        self._patience = timeout
        self.deadline = self._sent + timeout + self.wire_time(ask.length + 3) + self.silence
        self._reply, self._surplus = None, False
        self.buffer.clear()
        self.state = State.OPEN
        self.heard = now
        return self._adu

    # -- bytes ------------------------------------------------------------------------------------

    def feed(self, data: bytes, now: float) -> None:
        """Bytes came."""
        self.heard = now
        if self.state is State.QUIET or self._ask is None:
            self.noisy = True
            if self.dirty and self.late is not None:  # this is how late that unit was: remember it
                self._learn(self.late, now - self._sent)
            self._soil(self._last)
            return
        if self.state is State.SETTLING:
            self._surplus = True
            self.noisy = True
            return
        self.buffer += data
        if len(self.buffer) > MAX_NOISE:
            self.noisy = True
            del self.buffer[:-MAX_NOISE]
        self._search(self._ask, now)

    def _search(self, ask: Ask, now: float) -> None:
        start, sent = 0, len(self._adu)
        is_read = ask.pdu[0] <= 4  # the reply to a single write is the request once more: no sign of an echo
        if self.echo or (self.echo is None and is_read):
            if self.buffer.startswith(self._adu):
                self.echo, start = True, sent
            elif len(self.buffer) < sent and self._adu.startswith(self.buffer):
                return  # an echo on its way, or noise
        if len(self.buffer) - start < 5:
            return
        found = find(ask, self.buffer, start)
        if found is None:
            return
        end, pdu = found
        if is_read and self.echo is None and end == len(pdu) + 3:
            self.echo = False
        doubt = self.noisy or self.late == ask.unit
        took = max(0.0, now - self._sent - self.wire_time(len(pdu) + 3))
        usual, fastest = self.slowest.get(ask.unit, 0.0), self.fastest.get(ask.unit, 0.0)
        # A second reply would follow within the frame silence, or when the unit usually answers.
        early = took < self.EARLY * fastest or self.late == ask.unit
        self._settled = now + (max(self.silence, 1.5 * usual - took) if early else self.silence)
        self._surplus = len(self.buffer) > end
        try:
            data = payload(ask, pdu)
            self._reply = Doubtful(data) if doubt else data
        except WorldFault as fault:
            self._reply = fault
        if not early:
            self._learn(ask.unit, took)
        self.state = State.SETTLING

    # -- outcome ----------------------------------------------------------------------------------

    def due(self) -> float:
        """When `outcome` should be asked again if no byte comes before."""
        return self._settled if self.state is State.SETTLING else self.deadline

    def outcome(self, now: float) -> Outcome | None:
        """How the open request ended, or None while it is open."""
        ask = self._ask
        if ask is None:
            return None
        if self.state is State.SETTLING:
            if self._surplus:
                return self._fail(ask, now, BadReply(f"{describe(ask)}: two replies to one request; both dropped"))
            if now < self._settled:
                return None
            reply = self._reply
            self.state, self._ask = State.QUIET, None
            if not self.dirty:  # else it was a write in between: what is late is late still
                self.late, self.noisy = None, False
            return reply
        if now < self.deadline:
            return None
        if self.buffer and not (self.echo and bytes(self.buffer) == self._adu):
            self.noisy = True
            got = f"{len(self.buffer)} bytes came that do not fit ({bytes(self.buffer[:8]).hex()})"
            hint = "check baud rate, parity, termination and for a second unit with this address"
            return self._fail(ask, now, BadReply(f"{describe(ask)}: {got}; {hint}"))
        text = f"{describe(ask)}: no reply in {self._patience:g} s; check power, termination and address"
        return self._fail(ask, now, NoReply(text))

    def _fail(self, ask: Ask, now: float, fault: WorldFault) -> WorldFault:
        self.state, self._ask = State.QUIET, None
        self.heard = now  # the silence counts from here
        self._soil(ask.unit)
        return fault

    def _soil(self, unit: int | None) -> None:
        """From now on nothing that comes belongs to anything, until it was silent for long enough."""
        self.dirty, self.late = True, unit
        known = self.slowest.get(unit) if unit is not None else None
        self.quiet = max(self.silence, self._patience if known is None else self.SETTLE * known)

    def _learn(self, unit: int, took: float) -> None:
        self.slowest[unit] = max(took, 0.98 * self.slowest.get(unit, 0.0))
        self.fastest[unit] = min(took, 1.02 * self.fastest.get(unit, took))


Parity = Literal["N", "E", "O"]


def char_time(baud: int, bytesize: int = 8, parity: Parity = "N", stopbits: float = 1) -> float:
    """Seconds per character: start bit, data, parity, stop.

    >>> round(char_time(9600) * 1000, 3)
    1.042
    """
    return (1 + bytesize + (parity != "N") + stopbits) / baud
