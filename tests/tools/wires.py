"""Lines on which things go wrong, in virtual time: slaves behind a wire that delays, doubles, cuts and invents.

`RtuWire` and `TcpWire` stand where a serial port or a socket would: what a link writes goes in, bytes come out when
a real line would deliver them. Each request draws one fault. A `Dial` is a device whose registers tell who they are.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from agent.core.frame import Frame, Quality
from drivers.link import RtuLink, TcpLink

from .slaves import Memory, sealed

TICK = 0.1  # s; the unit of time that a dial shows

Draw = Callable[[int], tuple[str, float]]  # unit -> name of the fault or "", and how many s it lasts


def no_fault(unit: int) -> tuple[str, float]:
    return "", 0.0


class Faults:
    """Draws a fault with probability `share`; `late` replies come up to `latest` s too late."""

    def __init__(self, seed: int, share: float, latest: float, names: tuple[str, ...]) -> None:
        self.chance, self.share, self.latest, self.names = random.Random(seed), share, latest, names

    def __call__(self, unit: int) -> tuple[str, float]:
        if self.chance.random() > self.share:
            return "", 0.0
        name = self.chance.choice(self.names)
        return name, self.chance.uniform(0.0, 0.06 if name == "twin" else self.latest)


# -- devices that tell who they are ---------------------------------------------------------------


def dial(unit: int, pair: int, now: float) -> int:
    """What the two registers from 2 x `pair` of a unit (1 to 31) hold at `now`, as uint32: unit, pair, time."""
    return (unit << 11 | pair) << 16 | int(now / TICK) & 0xFFFF


class _Words:
    def __init__(self, unit: int, now: Callable[[], float]) -> None:
        self.unit, self.now = unit, now

    def get(self, address: int, default: int) -> int:
        whole = dial(self.unit, address >> 1, self.now())
        return whole & 0xFFFF if address & 1 else whole >> 16


class Dial(Memory):
    """A device that shows `dial` in all its registers."""

    def __init__(self, unit: int, now: Callable[[], float], size: int = 4096) -> None:
        super().__init__(size=size)
        self.words: Any = _Words(unit, now)


def channels(pairs: Iterable[int]) -> list[dict[str, Any]]:
    """The channels of a dial in the words of a site file."""
    return [{"key": f"p{pair}", "at": f"holding:{2 * pair}", "type": "uint32"} for pair in pairs]


class Reading:
    """What was read of dials, and how much of it was wrong."""

    def __init__(self) -> None:
        self.frames = self.whole = self.values = 0
        self.wrong: list[tuple[str, str, str]] = []  # source, key, the value in hex
        self.oldest = 0.0  # s that a value was older than its frame said

    def take(self, frame: Frame, unit: int, now: float) -> bool:
        """Add a frame, read at `now` of the dials' clock; whether it is whole: every value there, and GOOD."""
        pairs = np.array([int(key[1:]) for key in frame.layout.key])
        there = ~np.isnan(frame.value)
        value = np.where(there, frame.value, 0.0).astype(np.int64)
        foreign = there & (value >> 16 != (unit << 11 | pairs))
        since = (int(now / TICK) - (value & 0xFFFF)) % 0x10000 * TICK  # s
        older = np.where(there & ~foreign, since - frame.age - TICK, 0.0)
        self.wrong += [(frame.source, frame.layout.key[i], hex(value[i])) for i in np.flatnonzero(foreign)]
        self.values += int(there.sum())
        self.frames += 1
        self.oldest = max(self.oldest, float(older.max()))
        whole = bool((frame.quality == Quality.GOOD).all())
        self.whole += whole
        return whole


# -- wires ----------------------------------------------------------------------------------------


class RtuWire:
    """A bus of slaves. Each answers in order, `latency` after it began.

    Faults: late (the reply takes s longer), twin (it comes again after s), foreign (a frame of another unit comes
    first), cut, noise, deaf (no reply). `echo`: the line returns what is sent. `overrun`: a slave that is still busy
    misses the next request.
    """

    def __init__(
        self,
        link: RtuLink,
        units: Mapping[int, Memory],
        fault: Draw = no_fault,
        latency: float = 0.02,
        echo: bool = False,
        overrun: bool = False,
    ) -> None:
        self.link, self.units, self.fault = link, units, fault
        self.latency, self.echo, self.overrun = latency, echo, overrun
        self.busy: dict[int, float] = {}
        self.requests: list[tuple[float, int]] = []
        self.faults: list[tuple[float, int, str]] = []  # when its last byte came, unit, name
        self.chance = random.Random(5)
        self.loop = asyncio.get_running_loop()

    def say(self, at: float, data: bytes) -> None:
        self.loop.call_at(at, self.link.received, data)

    def write(self, adu: bytes) -> None:
        link, now = self.link, self.loop.time()
        sent = now + link.line.wire_time(len(adu))
        unit = adu[0]
        self.requests.append((now, unit))
        if self.echo:
            self.say(sent, adu)
        if unit not in self.units:
            return
        begun = max(sent, self.busy.get(unit, 0.0))
        if self.overrun and begun > sent:
            return
        name, extra = self.fault(unit)
        reply = sealed(unit, self.units[unit].answer(adu[1:-2]))
        done = begun + self.latency * self.chance.uniform(0.5, 1.5) + (extra if name == "late" else 0.0)
        self.busy[unit] = done
        at = done + link.line.wire_time(len(reply))
        if name:
            again = extra + link.line.wire_time(len(reply)) if name == "twin" else 0.0
            self.faults.append((at + again, unit, name))
        if name == "deaf":
            return
        if name == "foreign":
            other = sealed(unit + 50, bytes([3, 2, 0xDE, 0xAD]))
            self.say(done - self.latency / 4, other)
        if name == "noise":
            self.say(done, self.chance.randbytes(7))
        if name == "cut":
            reply = reply[: self.chance.randrange(1, len(reply))]
        half = len(reply) // 2
        self.say(at - link.line.wire_time(len(reply) - half), reply[:half])
        self.say(at, reply[half:])
        if name == "twin":
            self.say(at + extra + link.line.wire_time(len(reply)), reply)


class Labels:
    """The transaction id that each reply of one connection bears."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.held: int | None = None  # transaction whose id the next reply gets

    def of(self, transaction: int, fault: str) -> int:
        if self.held is not None:
            label, self.held = self.held, None
            return label
        if fault == "swapped":
            self.held = transaction
            return transaction + 1 & 0xFFFF
        return self.chance.randrange(0x10000) if fault == "stray" else transaction


class TcpWire(asyncio.Transport):
    """A Modbus/TCP device, or a gateway with some, at the other end of one connection. It answers in order.

    Faults: late, twin, deaf as on a serial line; stray (the reply has a transaction id out of the air); swapped (this
    reply and the next one have each other's id); relabelled (late, and under the id of whatever was asked last, as a
    gateway does that remembers one id); foreign (another unit's reply first); cut (a part is missing).
    """

    def __init__(self, link: TcpLink, units: Mapping[int, Memory], fault: Draw = no_fault, latency: float = 0.02):
        super().__init__()
        self.link, self.units, self.fault, self.latency = link, units, fault, latency
        self.requests: list[tuple[float, int]] = []
        self.faults: list[tuple[float, int, str]] = []
        self.chance = random.Random(5)
        self.loop = asyncio.get_running_loop()
        self.busy = 0.0
        self.last = 0  # transaction asked last
        self.labels = Labels(self.chance)
        self.gone = False
        link.connection_made(self)

    def abort(self) -> None:
        self.gone = True

    def say(self, at: float, make: Callable[[], bytes]) -> None:
        """Let bytes come at `at`, in two pieces."""

        def come() -> None:
            if not self.gone:
                data = make()
                half = self.chance.randrange(len(data))
                self.link.data_received(data[:half])
                self.link.data_received(data[half:])

        self.loop.call_at(at, come)

    def write(self, data: Any) -> None:
        while len(data) >= 8:
            transaction, _, length, unit = struct.unpack_from(">HHHB", data)
            pdu, data = bytes(data[7 : 6 + length]), data[6 + length :]
            self._take(transaction, unit, pdu)

    def _take(self, transaction: int, unit: int, pdu: bytes) -> None:
        now = self.loop.time()
        self.requests.append((now, unit))
        self.last = transaction
        if unit not in self.units:
            return
        name, extra = self.fault(unit)
        reply = self.units[unit].answer(pdu)
        at = self.busy = max(now, self.busy) + self.latency * self.chance.uniform(0.5, 1.5)
        if name == "relabelled":  # what is behind such a gateway answers in order
            at = self.busy = at + extra
        elif name == "late":
            at += extra
        if name:
            self.faults.append((at + (extra if name == "twin" else 0.0), unit, name))
        if name == "deaf":
            return
        label = self.labels.of(transaction, name)
        if name == "foreign":
            self.say(at - self.latency / 8, lambda: adu(transaction, unit + 50, reply))
        if name == "relabelled":
            self.say(at, lambda: adu(self.last, unit, reply))
            return
        whole = adu(label, unit, reply)
        if name == "cut":
            whole = whole[: self.chance.randrange(1, len(whole))]
        self.say(at, lambda: whole)
        if name == "twin":
            self.say(at + extra, lambda: whole)


def adu(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, 1 + len(pdu), unit) + pdu
