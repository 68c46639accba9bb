"""JT/T 808 on the wire: bytes in, packets out, and the other way round. Terminal and platform speak with it alike.

Pure: no socket, no clock; where time matters it is an argument. Arbitrary bytes raise nothing but `BadReply`, and
buffers are bounded. What packets carry stands in `jt808_words.py`.

    7E | head | body | check | 7E      big endian; check: XOR of head and body; in between 7E is 7D 02, and 7D is 7D 01

    head  id 2, attr 2, phone BCD 6, serial 2, [total 2, index 2]                       2011 and 2013
          id 2, attr 2, version 1, phone BCD 10, serial 2, [total 2, index 2]           2019
    attr  bits 0-9 length of the body, 10-12 encryption, 13 is a part of several, 14 has a version, 15 reserved

Some set bit 14 before a head of 2013, some leave it away before one of 2019: the length of the frame tells which it is.
A phone is twelve or twenty digits; what is none (an IMEI, letters) is kept as it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct as Format
from typing import Literal, NamedTuple

from agent.core.errors import BadReply

FLAG, ESCAPE = b"\x7e", b"\x7d"
LONGEST = 1023  # bytes of a body
LONGEST_FRAME = 2 * (21 + LONGEST + 1)  # bytes between two flags: everything escaped
PART, VERSIONED = 0x2000, 0x4000  # bits of attr
LENGTH = 0x03FF
KEPT = 0xDC00  # bits of attr that say neither the length nor whether there are parts

Layout = Literal[2013, 2019]  # of the head; 2011 has that of 2013

_OLD, _NEW, _PARTS = Format(">HH6sH"), Format(">HHB10sH"), Format(">HH")


class Packet(NamedTuple):
    """One frame: a message, or a part of one."""

    id: int
    phone: str  # 12 digits, or 20 in a head of 2019
    serial: int
    body: bytes = b""
    layout: Layout = 2013
    version: int = 1  # of the protocol, in a head of 2019
    bits: int | None = None  # those of attr that `KEPT` names; None: as the layout has them
    parts: int = 0  # of the message; 0: it is whole
    part: int = 0  # which this is, from 1

    @property
    def encryption(self) -> int:
        """0 none, 1 RSA; the others are reserved."""
        return (self.bits or 0) >> 10 & 7


def check(data: bytes) -> int:
    """XOR of all bytes.

    >>> hex(check(bytes.fromhex("0002000004304832546500b7")))
    '0xca'
    """
    number, bits = int.from_bytes(data, "big"), 8
    while bits < 8 * len(data):
        bits *= 2
    while bits > 8:
        bits //= 2
        number = number >> bits ^ number & (1 << bits) - 1
    return number


def escape(data: bytes) -> bytes:
    """
    >>> escape(bytes.fromhex("307e087d55")).hex()
    '307d02087d0155'
    """
    return data.replace(ESCAPE, b"\x7d\x01").replace(FLAG, b"\x7d\x02")


def unescape(data: bytes) -> bytes:
    """Raises `BadReply` where 7D is followed by anything but 01 and 02."""
    if ESCAPE not in data:
        return data
    pieces = data.split(ESCAPE)
    for piece in pieces[1:]:
        if piece[:1] not in (b"\x01", b"\x02"):
            raise BadReply("7D is followed by neither 01 nor 02")
    return pieces[0] + b"".join((b"\x7d" if piece[0] == 1 else b"\x7e") + piece[1:] for piece in pieces[1:])


def pack(packet: Packet) -> bytes:
    """The frame, flags and all. Raises `ValueError` where it is too long for one, or its phone for the head.

    >>> pack(Packet(0x0002, "043048325465", 183)).hex()
    '7e0002000004304832546500b7ca7e'
    """
    if len(packet.body) > LONGEST:
        raise ValueError(f"a body has {LONGEST} bytes at most, not {len(packet.body)}: split it")
    usual = VERSIONED if packet.layout == 2019 else 0
    attr = (usual if packet.bits is None else packet.bits & KEPT) | len(packet.body) | (PART if packet.parts else 0)
    if packet.layout == 2019:
        head = _NEW.pack(packet.id, attr, packet.version, _digits(packet.phone, 10), packet.serial)
    else:
        head = _OLD.pack(packet.id, attr, _digits(packet.phone, 6), packet.serial)
    data = head + (_PARTS.pack(packet.parts, packet.part) if packet.parts else b"") + packet.body
    return FLAG + escape(data + bytes([check(data)])) + FLAG


def unpack(data: bytes) -> Packet:
    """What stood between two flags. Raises `BadReply` where it is no frame.

    >>> unpack(bytes.fromhex("0002000004304832546500b7ca"))[:3]
    (2, '043048325465', 183)
    """
    data = unescape(data)
    size = len(data) - 1
    if size < _OLD.size:
        raise BadReply(f"a frame of {size + 1} bytes is shorter than any head")
    if check(data[:-1]) != data[-1]:
        raise BadReply(f"the check is {data[-1]:02x}, should be {check(data[:-1]):02x}")
    attr = int.from_bytes(data[2:4], "big")
    rest = (attr & LENGTH) + (_PARTS.size if attr & PART else 0)
    likely: tuple[Layout, ...] = (2019, 2013) if attr & VERSIONED else (2013, 2019)
    for layout in likely:
        if (_NEW.size if layout == 2019 else _OLD.size) + rest == size:
            break
    else:
        raise BadReply(f"the head says {attr & LENGTH} bytes of body, which the frame of {size + 1} does not have")
    version = 0
    if layout == 2019:
        id, _, version, phone, serial = _NEW.unpack_from(data)
        at = _NEW.size
    else:
        id, _, phone, serial = _OLD.unpack_from(data)
        at = _OLD.size
    parts = part = 0
    if attr & PART:
        parts, part = _PARTS.unpack_from(data, at)
        at += _PARTS.size
        if not 1 <= part <= parts:
            raise BadReply(f"part {part} of {parts}")
    return Packet(id, phone.hex(), serial, data[at:-1], layout, version, attr & KEPT, parts, part)


def _digits(phone: str, size: int) -> bytes:
    """A phone as BCD, zeros before it. Raises `ValueError`."""
    try:
        return bytes.fromhex(phone.zfill(2 * size)[-2 * size :] if len(phone.lstrip("0")) <= 2 * size else "x")
    except ValueError:
        raise ValueError(f"a phone has {2 * size} digits at most, not {phone!r}") from None


class Stream:
    """Cuts a byte stream into packets. What is no frame is counted and skipped: the next flag begins anew.

    Memory: less than one frame.
    """

    def __init__(self) -> None:
        self.rest = b""
        self.bad = 0  # pieces between flags that were no frame

    def feed(self, data: bytes) -> list[Packet]:
        """Every packet that is complete now."""
        pieces = (self.rest + data).split(FLAG)
        self.rest = pieces.pop()
        if len(self.rest) > LONGEST_FRAME:
            self.rest = b""
            self.bad += 1
        packets = []
        for piece in pieces:
            if not piece:
                continue  # two flags together are one border
            try:
                packets.append(unpack(piece) if len(piece) <= LONGEST_FRAME else _too_long())
            except BadReply:
                self.bad += 1
        return packets


def _too_long() -> Packet:
    raise BadReply("longer than any frame")


# -- parts --------------------------------------------------------------------------------------------


def split(packet: Packet, size: int = LONGEST) -> list[Packet]:
    """The message as packets of `size` bytes of body at most, with consecutive serials from its own.

    >>> [(p.serial, p.parts, p.part, p.body) for p in split(Packet(0x0801, "1", 65535, b"abcde"), 2)]
    [(65535, 3, 1, b'ab'), (0, 3, 2, b'cd'), (1, 3, 3, b'e')]
    """
    if len(packet.body) <= size:
        return [packet]
    bodies = [packet.body[at : at + size] for at in range(0, len(packet.body), size)]
    return [
        packet._replace(serial=packet.serial + i & 0xFFFF, body=body, parts=len(bodies), part=i + 1)
        for i, body in enumerate(bodies)
    ]


class Gathered:
    """The parts of one message that came."""

    __slots__ = ("asked", "heard", "packet", "parts")

    def __init__(self, packet: Packet, now: float) -> None:
        self.packet = packet  # the first that came
        self.parts: dict[int, bytes] = {}
        self.heard = now  # s, when the last part came, or was asked for
        self.asked = 0  # times

    @property
    def serial(self) -> int:
        """Of the first part."""
        return self.packet.serial - self.packet.part + 1 & 0xFFFF

    def missing(self) -> tuple[int, ...]:
        """Which parts have not come."""
        return tuple(i for i in range(1, self.packet.parts + 1) if i not in self.parts)


class Joiner:
    """Puts parts together, in whatever order they come, however often. Times are s of one clock.

    Memory: at most `MESSAGES` messages that are not complete, of `PARTS` parts each; the oldest makes room.
    """

    MESSAGES = 8
    PARTS = 1024  # of one message: 1 MB

    def __init__(self) -> None:
        self._open: dict[tuple[str, int, int, int], Gathered] = {}

    def put(self, packet: Packet, now: float) -> Packet | None:
        """The whole message once nothing of it is missing, with the serial of its first part; whole ones as they are.

        Raises `BadReply` where it has too many parts.
        """
        if not packet.parts:
            return packet
        if packet.parts > self.PARTS:
            raise BadReply(f"a message of {packet.parts} parts is too long")
        key = (packet.phone, packet.id, packet.parts, packet.serial - packet.part + 1 & 0xFFFF)
        gathered = self._open.get(key)
        if gathered is None:
            while len(self._open) >= self.MESSAGES:
                del self._open[min(self._open, key=lambda key: self._open[key].heard)]
            gathered = self._open[key] = Gathered(packet, now)
        gathered.parts[packet.part] = packet.body
        gathered.heard = now
        if len(gathered.parts) < packet.parts:
            return None
        del self._open[key]
        body = b"".join(gathered.parts[i] for i in range(1, packet.parts + 1))
        return packet._replace(serial=gathered.serial, body=body, parts=0, part=0)

    def late(self, now: float, patience: float, times: int) -> list[Gathered]:
        """Messages of which nothing came for `patience` s: to be asked for. After so many times they are forgotten."""
        found = []
        for key, gathered in list(self._open.items()):
            if now - gathered.heard < patience:
                continue
            if gathered.asked >= times:
                del self._open[key]
                continue
            gathered.asked += 1
            gathered.heard = now
            found.append(gathered)
        return found


# -- files --------------------------------------------------------------------------------------------

MAGIC = b"\x30\x31\x63\x64"
_CHUNK = Format(">4s50sII")
CHUNK = 65536  # bytes of a file in one frame, at most


class Chunk(NamedTuple):
    """A piece of a file: neither escaped nor answered."""

    name: str
    offset: int  # bytes
    data: bytes


def pack_chunk(chunk: Chunk) -> bytes:
    """Raises `ValueError` where it is too long.

    >>> pack_chunk(Chunk("a.jpg", 0, b"xyz"))[54:].hex()
    '000000000000000378797a'
    """
    name = chunk.name.encode("gbk", "replace")
    if len(name) > 50 or len(chunk.data) > CHUNK:
        raise ValueError("a name has 50 bytes at most, and a piece 65536")
    return _CHUNK.pack(MAGIC, name, chunk.offset, len(chunk.data)) + chunk.data


class FileStream:
    """Cuts the byte stream of an attachment connection into packets and pieces of files. Memory: one piece at most."""

    def __init__(self) -> None:
        self.rest = b""
        self.bad = 0  # stretches that were neither

    def feed(self, data: bytes) -> list[Packet | Chunk]:
        """Everything that is complete now."""
        self.rest += data
        found: list[Packet | Chunk] = []
        at = 0
        while at < len(self.rest):
            if self.rest.startswith(MAGIC, at):
                if len(self.rest) - at < _CHUNK.size:
                    break
                _, name, offset, size = _CHUNK.unpack_from(self.rest, at)
                if size > CHUNK:
                    self.bad += 1
                    at += 1
                    continue
                if len(self.rest) - at < _CHUNK.size + size:
                    break
                at += _CHUNK.size
                found.append(Chunk(name.rstrip(b"\0").decode("gbk", "replace"), offset, self.rest[at : at + size]))
                at += size
            elif self.rest.startswith(FLAG, at):
                end = self.rest.find(FLAG, at + 1)
                if end < 0:
                    if len(self.rest) - at <= LONGEST_FRAME:
                        break
                    end = at
                piece = self.rest[at + 1 : end]
                at = max(end, at + 1)
                if not piece:
                    continue  # the first of two flags was the end of another frame
                try:
                    found.append(unpack(piece))
                    at += 1
                except BadReply:
                    self.bad += 1  # that flag may begin the next
            else:
                starts = [i for i in (self.rest.find(MAGIC, at), self.rest.find(FLAG, at)) if i >= 0]
                if not starts and MAGIC.startswith(self.rest[at:]):
                    break
                self.bad += 1
                at = min(starts, default=max(at + 1, len(self.rest) - len(MAGIC) + 1))
        self.rest = self.rest[at:]
        return found


def holes(size: int, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What is missing of `size` bytes: (offset, length) where none of the (offset, length) lie.

    >>> holes(10, [(0, 2), (6, 3)])
    [(2, 4), (9, 1)]
    """
    missing, reached = [], 0
    for offset, length in sorted(spans):
        if offset > reached:
            missing.append((reached, min(offset, size) - reached))
        reached = max(reached, offset + length)
    if reached < size:
        missing.append((reached, size - reached))
    return [(offset, length) for offset, length in missing if length > 0]
