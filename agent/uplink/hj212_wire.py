"""HJ 212-2017 on the wire: messages to bytes and back. Pure.

    ## 0101 QN=...;ST=32;CN=1062;PW=...;MN=...;Flag=5;CP=&&RtdInterval=30&& 1C80 CR LF
       ^ length of the data segment in characters                        ^ its check, hexadecimal

The check is the standard's own: it looks like that of Modbus and is none, for each byte goes into the high half of the
register, shifted down, and not into the register as it stands.

What does not begin with `##`, or has a wrong check, is passed over; a stream holds one message at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

LONGEST = 9999  # characters of a data segment that are read; the standard sends 1024 at most
SENT = 1024  # characters of one that is sent, at most
ROOM = 950  # characters of CP, at most
HEAD, TAIL = b"##", b"\r\n"
ANSWER, PARTS = 1, 2  # bits of Flag
EDITION = 1 << 2  # bits 2 to 7: 1 is 2017

FIELDS = ("QN", "ST", "CN", "PW", "MN", "Flag", "PNUM", "PNO")


def check(data: bytes) -> int:
    """Of a data segment.

    >>> hex(check(b"QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;"
    ...           b"CP=&&RtdInterval=30&&"))
    '0x1c80'
    """
    crc = 0xFFFF
    for byte in data:
        crc = TABLE[(crc >> 8) ^ byte]
    return crc


def _entry(low: int) -> int:
    for _ in range(8):
        low = low >> 1 ^ (0xA001 if low & 1 else 0)
    return low


TABLE = tuple(_entry(low) for low in range(256))


class Message(NamedTuple):
    """One message. What is not there is empty or 0."""

    cn: str
    st: str = ""
    mn: str = ""
    qn: str = ""
    pw: str = ""
    flag: int = EDITION
    cp: str = ""  # between && and &&
    pnum: int = 0  # of parts
    pno: int = 0

    @property
    def wants_answer(self) -> bool:
        return bool(self.flag & ANSWER)

    def fields(self) -> dict[str, str]:
        """Names and values of CP; of a name that comes twice the first."""
        found: dict[str, str] = {}
        for pair in re.split("[;,]", self.cp):
            name, sign, value = pair.partition("=")
            if sign:
                found.setdefault(name.strip(), value.strip())
        return found


def segment(one: Message) -> str:
    """The data segment."""
    head = [f"QN={one.qn}"] if one.qn else []
    head += [f"ST={one.st}", f"CN={one.cn}", f"PW={one.pw}", f"MN={one.mn}", f"Flag={one.flag}"]
    if one.flag & PARTS:
        head += [f"PNUM={one.pnum}", f"PNO={one.pno}"]
    return ";".join([*head, f"CP=&&{one.cp}&&"])


def pack(one: Message) -> bytes:
    """The bytes of a message. Raises `ValueError` where it is too long or not ASCII."""
    data = segment(one).encode("ascii")
    if len(data) > LONGEST:
        raise ValueError(f"a data segment of {len(data)} characters; {LONGEST} are allowed")
    return HEAD + b"%04d" % len(data) + data + b"%04X" % check(data) + TAIL


def split(one: Message, head: str, groups: Iterable[str]) -> list[Message]:
    """A message in as many parts as its groups need; each begins with `head`, and only the last asks for an answer.

    TCP keeps the order, so whoever answers the last has all of them.

    >>> parts = split(Message("2051", flag=EDITION | ANSWER), "T=1", ["a=1", "b=2"])
    >>> [(part.cp, part.flag, part.pnum) for part in parts]
    [('T=1;a=1;b=2', 5, 0)]
    """
    bare = len(segment(one._replace(flag=one.flag | PARTS, cp="", pnum=99, pno=99)))
    room = min(ROOM, SENT - bare)
    bodies = [head]
    for group in groups:
        if len(bodies[-1]) + 1 + len(group) > room and bodies[-1] != head:
            bodies.append(head)
        bodies[-1] += f";{group}" if bodies[-1] else group
    if len(bodies) == 1:
        return [one._replace(cp=bodies[0])]
    last = len(bodies)
    return [
        one._replace(cp=cp, flag=one.flag & (~0 if no == last else ~ANSWER) | PARTS, pnum=last, pno=no)
        for no, cp in enumerate(bodies, 1)
    ]


def read(data: bytes) -> Message | None:
    """A data segment taken to pieces; None where it is none."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        return None
    head, mark, cp = text.partition("CP=&&")
    if not mark or not cp.endswith("&&"):
        return None
    found: dict[str, str] = {}
    for pair in head.split(";"):
        name, sign, value = pair.partition("=")
        if sign and name in FIELDS:
            found.setdefault(name, value.strip())
    numbers = {name: found.get(name, "") for name in ("Flag", "PNUM", "PNO")}
    if any(value and not (value.isdigit() and len(value) <= 4) for value in numbers.values()) or "CN" not in found:
        return None
    number: Mapping[str, int] = {name: int(value or 0) for name, value in numbers.items()}
    return Message(
        found["CN"], found.get("ST", ""), found.get("MN", ""), found.get("QN", ""), found.get("PW", ""),
        number["Flag"], cp[:-2], number["PNUM"], number["PNO"],
    )  # fmt: skip


class Stream:
    """Bytes as they come to messages."""

    def __init__(self) -> None:
        self.rest = b""
        self.bad = 0  # messages with a wrong check, or that are none

    def feed(self, data: bytes) -> list[Message]:
        """All messages that are whole now."""
        self.rest += data
        found: list[Message] = []
        while True:
            start = self.rest.find(HEAD)
            if start < 0:
                self.rest = self.rest[-1:] if self.rest.endswith(b"#") else b""
                return found
            self.rest = self.rest[start:]
            if len(self.rest) < 6:
                if not self.rest[2:].isdigit() and len(self.rest) > 2:
                    self._skip()
                    continue
                return found
            if not self.rest[2:6].isdigit():
                self._skip()
                continue
            end = 6 + int(self.rest[2:6])
            if len(self.rest) < end + 4:
                return found
            segment, sum = self.rest[6:end], self.rest[end : end + 4]
            one = None
            if segment.endswith(b"&&") and re.fullmatch(rb"[0-9A-Fa-f]{4}", sum) and int(sum, 16) == check(segment):
                one = read(segment)
            if one is None:
                self.bad += 1
                self._skip()
                continue
            found.append(one)
            self.rest = self.rest[end + 4 :]

    def _skip(self) -> None:
        """What stands here begins no message; the next may begin at the next sign."""
        self.rest = self.rest[1:]
