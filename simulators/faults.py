"""Everything that goes wrong with sensors, devices and lines, as values.

A fault on a value changes what the instrument says; a fault on the answer changes how the device replies;
a fault on the line damages the bytes. The server applies them; nothing here keeps memory or reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from msgspec import Struct

# -- on a value -----------------------------------------------------------------------------------


class Freeze(Struct, frozen=True):
    """The register keeps the value that it had."""

    channel: str
    held: float


class Drift(Struct, frozen=True):
    """The value wanders away from the truth."""

    channel: str
    per_s: float  # unit of the channel per s
    since: float  # monotonic s


class Spike(Struct, frozen=True):
    """Interference adds `height` for `width` seconds."""

    channel: str
    height: float
    since: float  # monotonic s
    width: float = 0.3  # s


class Break(Struct, frozen=True):
    """The wire is broken: the device writes `says`, often a number out of any range, or NaN."""

    channel: str
    says: float = float("nan")


# -- on the answer --------------------------------------------------------------------------------


class Dead(Struct, frozen=True):
    """No answer at all."""


class Slow(Struct, frozen=True):
    """The answer comes late."""

    seconds: float


class Refuse(Struct, frozen=True):
    """Every request is answered by Modbus exception `code`."""

    code: int = 4


# -- on the line ----------------------------------------------------------------------------------


class Flip(Struct, frozen=True):
    """One bit of each reply arrives wrong."""

    bit: int = 12


class Truncate(Struct, frozen=True):
    """Each reply ends after `keep` bytes."""

    keep: int = 4


class Echo(Struct, frozen=True):
    """The adapter hears itself: the request comes back before the reply."""


Fault: TypeAlias = Freeze | Drift | Spike | Break | Dead | Slow | Refuse | Flip | Truncate | Echo


class Manner(Struct, frozen=True):
    """How a device answers under its faults."""

    answers: bool = True
    wait: float = 0.0  # s
    code: int = 0  # Modbus exception, 0: none


def distort(values: Mapping[str, float], faults: Iterable[Fault], now: float) -> dict[str, float]:
    """The values as the registers show them at monotonic `now`.

    >>> distort({"co": 5.0}, [Freeze("co", 4.0)], now=0.0)
    {'co': 4.0}
    """
    said = dict(values)
    for fault in faults:
        match fault:
            case Freeze(channel, held):
                said[channel] = held
            case Drift(channel, per_s, since):
                said[channel] += per_s * max(0.0, now - since)
            case Spike(channel, height, since, width) if since <= now < since + width:
                said[channel] += height
            case Break(channel, says):
                said[channel] = says
    return said


def manner(faults: Iterable[Fault]) -> Manner:
    """How the device answers now.

    >>> manner([Slow(0.2), Slow(0.1)])
    Manner(answers=True, wait=0.30000000000000004, code=0)
    """
    answers, wait, code = True, 0.0, 0
    for fault in faults:
        match fault:
            case Dead():
                answers = False
            case Slow(seconds):
                wait += seconds
            case Refuse(given):
                code = given
    return Manner(answers, wait, code)


def damage(request: bytes, reply: bytes, faults: Iterable[Fault]) -> bytes:
    """The reply as it leaves the wire.

    >>> damage(b"ask", b"answer", [Truncate(3)])
    b'ans'
    """
    for fault in faults:
        match fault:
            case Flip(bit) if reply:
                i = (bit // 8) % len(reply)
                reply = reply[:i] + bytes([reply[i] ^ (1 << (bit % 8))]) + reply[i + 1 :]
            case Truncate(keep):
                reply = reply[:keep]
            case Echo():
                reply = request + reply
    return reply
