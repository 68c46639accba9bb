"""Modbus devices as sources: the settings of a line, its driver, and what the line can bear.

One `Modbus` is one line: a serial bus or a TCP connection, with its devices and outputs. It connects by
`link`, polls by `bus`, and yields frames and events. What it does not do: reconnect (`keep` does), judge,
remember across a connection.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from agent.core.alarm import Order
from agent.core.frame import Frame, Layout
from agent.core.ports import Clock, Driver, Event, Orders, Tally
from agent.core.words import WIRING, Language

from . import modbus_wire as wire
from . import registers
from .bus import Bus
from .link import connect, url_of
from .registers import Block, Channel
from .serial import Format

WEEK = 7 * 86400.0  # s; a longer period is a slip of the pen
RTU_UNITS = range(1, 248)  # Modbus over serial line V1.02, 2.2: 0 is a broadcast, 248 to 255 are reserved
RTU_TURNAROUND = 0.010  # s a unit thinks before it answers; typical data sheets, project
TCP_TURNAROUND = 0.003  # s on a local network, project
FRAMES = 8 + 5  # characters of an RTU read and its reply, without the data
VALUE = 8  # bytes of data of the largest single value
WRITE = 8 + 8  # characters of an RTU write and its reply


# -- settings -------------------------------------------------------------------------------------


class Device(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One unit on the line: one source."""

    name: Annotated[str, Meta(min_length=1, pattern=r"^[^\s/]+$")]  # the source's name
    unit: Annotated[int, Meta(ge=0, le=255)] = 1  # 1 to 247; many TCP devices want 0, 1 or 255
    period: Annotated[float, Meta(gt=0, le=WEEK)] = 1.0  # s between polls
    max_registers: Annotated[int, Meta(ge=1, le=registers.MAX_REGISTERS)] = registers.MAX_REGISTERS  # of one read
    max_bits: Annotated[int, Meta(ge=1, le=registers.MAX_BITS)] = registers.MAX_BITS  # of one read
    gap: Annotated[int, Meta(ge=0)] = 8  # unused registers that may be read to join two blocks
    retries: Annotated[int, Meta(ge=0, le=5)] = 1  # of a poll cut short, behind the other devices that are due
    channel: tuple[Channel, ...] = ()  # at least one, for a relay the coil that it switches: else nobody sees it die

    def __post_init__(self) -> None:
        found = registers.infinite(self)
        if not self.channel:
            found.append(
                f"device {self.name!r} has no channel, so nobody would see it die; "
                "read something of it, for a relay the coil that it switches"
            )
        found += [f"key {key!r} is used twice" for key in _doubles(c.key for c in self.channel)]
        found += [
            f"channel {c.key!r} needs {registers.registers_of(c)} registers, max_registers is {self.max_registers}"
            for c in self.channel
            if registers.registers_of(c) > self.max_registers
        ]
        found += [
            f"channel {c.key!r} would be stale between two polls: stale is {c.stale:g} s, period {self.period:g} s"
            for c in self.channel
            if c.stale is not None and c.stale <= self.period
        ]
        if found:
            raise ValueError("; ".join(found))


class Output(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that may be switched: a relay, a siren."""

    name: Annotated[str, Meta(min_length=1)]  # as rules drive it
    device: str  # name of the device it belongs to
    at: str | int  # a coil ("coil:0", "00001") or a holding register ("holding:0x10", 40017)
    on: Annotated[int, Meta(ge=0, le=0xFFFF)] = 1  # register value for on; a coil knows on and off by itself
    off: Annotated[int, Meta(ge=0, le=0xFFFF)] = 0
    armed: bool = False  # not armed: every order is refused with an event. A person arms it
    verify: bool = True  # read back after writing
    write: Literal["single", "multiple"] = "single"  # function 5/6, or 15/16 for devices that want those
    heartbeat: Annotated[float, Meta(ge=1, le=60)] | None = None  # s: no output for rules, but a sign of life
    # for a relay with a timer of its own, switched over each time while the agent judges and can write, never read back

    def __post_init__(self) -> None:
        where = registers.place(self.at)
        if where.kind not in ("coil", "holding") or where.bits:
            raise ValueError(f"at {self.at!r}: only coils and whole holding registers can be written")
        if where.kind == "holding" and self.on == self.off:
            raise ValueError("on and off are the same value")


class Modbus(Driver, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Modbus line with its devices and outputs."""

    tag: ClassVar[str] = "modbus"

    url: str  # "tcp://host:502", "rtu:///dev/serial/by-id/...", "rtu+tcp://host:port"
    baud: Annotated[int, Meta(ge=300, le=4_000_000)] = 9600  # bit/s; rtu+tcp: of the bus behind the gateway
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    bytesize: Literal[7, 8] = 8
    rs485: bool = False  # the kernel driver switches the transmitter by RTS
    timeout: Annotated[float, Meta(gt=0, le=60)] = 0.5  # s to the first byte of a reply, wire time not counted;
    # answers the slowest unit that we met at 9600 baud and any device on a local network; more for radio links
    pipeline: Annotated[int, Meta(ge=1, le=64)] = 1  # requests in flight on TCP; 1 suits every device
    turnaround: Annotated[float, Meta(ge=0)] | None = None  # s a device thinks, for the check of periods alone;
    # None: 10 ms on RTU, 3 ms on a local network
    device: tuple[Device, ...] = ()
    output: tuple[Output, ...] = ()

    def __post_init__(self) -> None:
        found = registers.infinite(self)
        try:
            if self.is_rtu:
                found += [
                    f"device {d.name!r}: on an RTU line unit goes from 1 to 247, is {d.unit}"
                    for d in self.device
                    if d.unit not in RTU_UNITS
                ]
            if self.is_rtu and self.pipeline != 1:
                found.append("pipeline is for tcp only: an RTU line has one request at a time")
        except ValueError as error:
            found.append(str(error))
        if not self.device:
            found.append("no [[bus.device]]: there is nothing to read")
        names = {d.name for d in self.device}
        found += [f"device {name!r} is there twice" for name in _doubles(d.name for d in self.device)]
        found += [f"output {name!r} is there twice" for name in _doubles(o.name for o in self.output)]
        found += [f"output {o.name}: no device {o.device!r} here" for o in self.output if o.device not in names]
        found += self._rivals()
        if found:
            raise ValueError("; ".join(found))

    def _rivals(self) -> list[str]:
        """Outputs that switch what another one switches already: who wins would be chance."""
        units = {d.name: d.unit for d in self.device}
        first: dict[tuple[int, str, int], Output] = {}
        found = []
        for output in self.output:
            if output.device in units:
                where = registers.place(output.at)
                other = first.setdefault((units[output.device], where.kind, where.start), output)
                if other is not output and other.name != output.name:
                    found.append(f"output {output.name!r} switches the same {where.kind} as output {other.name}")
        return found

    @property
    def is_rtu(self) -> bool:
        """Whether RTU frames travel on a half-duplex line, be it behind a TCP gateway."""
        return url_of(self.url).scheme != "tcp"

    @property
    def form(self) -> Format:
        return Format(self.baud, self.bytesize, self.parity, self.stopbits, self.rs485)

    def layouts(self) -> Mapping[str, Layout]:
        return {d.name: registers.shared_layout(d.channel, d.period) for d in self.device}

    def periods(self) -> Mapping[str, float]:
        return {d.name: d.period for d in self.device}

    def outputs(self) -> tuple[str, ...]:
        return tuple(o.name for o in self.output if o.heartbeat is None)

    def armed(self) -> tuple[str, ...]:
        return tuple(o.name for o in self.output if o.armed)

    def heartbeats(self) -> Mapping[str, float]:
        return {o.name: o.heartbeat for o in self.output if o.heartbeat is not None}

    def faults(self) -> list[str]:
        """Why the periods or the limits of silence cannot be kept, see `worst_scan`."""
        return list(worst_scan(self).complaints)

    def worst(self) -> float:
        return worst_scan(self).worst

    def wiring(self, language: Language = "en") -> list[str]:
        """The line, its scan times, and each device with its requests."""
        scan, w = worst_scan(self), WIRING[language]
        form = f"{self.bytesize}{self.parity}{self.stopbits}"
        url = w["serial"].format(url=self.url, baud=self.baud, form=form) if self.is_rtu else self.url
        figures = {"healthy": f"{scan.healthy:.3g}", "worst": f"{scan.worst:.3g}", "load": f"{100 * scan.load:.2g}"}
        lines = [w["line"].format(url=url, blocks=scan.blocks, **figures)]
        for device in self.device:
            plan = registers.plan(device.channel, device.max_registers, device.max_bits, device.gap)
            spans = ", ".join(f"{b.kind}:{b.start:#x}+{b.count}" for b in plan.blocks[:4])
            spans += w["more"].format(n=len(plan.blocks) - 4) if len(plan.blocks) > 4 else ""
            asked = {"unit": device.unit, "period": f"{device.period:g}", "channels": len(device.channel)}
            lines.append(w["device"].format(name=device.name, spans=spans, **asked))
        for o in self.output:
            if o.heartbeat is None:
                what, state = "output", "armed" if o.armed else "not armed"
            else:
                what, state = "heartbeat", "beats" if o.armed else "never"
            at = w[what].format(name=o.name, at=f"{o.device} {o.at}")
            lines.append(at + w[state].format(every=f"{o.heartbeat or 0:g}"))
        return lines

    async def frames(self, clock: Clock, orders: Orders) -> AsyncIterator[Frame | Event | Tally]:
        """Poll until cancelled. Raises LineLost when the port or the connection is gone."""
        link = await connect(self)
        bus = Bus(self, link, clock, orders)
        try:
            while True:
                for item in await bus.turn():
                    yield item
                if (told := bus.told()) is not None:
                    yield told
        finally:
            bus.close()

    async def once(self, clock: Clock) -> list[Frame | Event]:
        """Every device polled once: what `vedette test` shows. A device that is mute gives an event.

        Raises LineLost when the port or the connection cannot be had.
        """
        bus = Bus(self, await connect(self), clock, _NoOrders())
        try:
            return [item for unit in bus.units for item in await bus.visit(unit)]
        finally:
            bus.close()


def _doubles(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


class _NoOrders:
    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def take(self) -> Order | None:
        return None


# -- what a bus can bear --------------------------------------------------------------------------


class Scan(Struct, frozen=True):
    """How long a line needs for its devices; times in s."""

    blocks: int  # requests of one round
    healthy: float  # one round, everybody answers
    worst: float  # one round with a visit to a device that does not answer: how late a turn may come
    load: float  # part of the line's time that regular polls take; above 1 no period can be kept
    complaints: tuple[str, ...]  # why it cannot work; empty if it can


def worst_scan(driver: Modbus) -> Scan:
    """What the periods and the limits of silence ask of the line, from baud rate, blocks and time-outs. Pure.

    Assumes `turnaround` before each reply; a bus that is full with it is refused.
    One device dies at a time. Orders and the search for missing registers are not counted.
    """
    plans = [registers.plan(d.channel, d.max_registers, d.max_bits, d.gap) for d in driver.device]
    polls = [_poll_time(driver, plan.blocks) for plan in plans]
    dead = [_dead_time(driver, plan.blocks) for plan in plans]
    healthy = sum(polls)
    load = sum(poll / device.period for device, poll in zip(driver.device, polls, strict=True))
    load += sum(_write_time(driver) / period for name, period in driver.heartbeats().items() if name in driver.armed())
    complaints = [
        f"device {device.name}: one poll takes {poll:.3g} s ({len(plan.blocks)} requests), "
        f"its period is {device.period:g} s"
        for device, plan, poll in zip(driver.device, plans, polls, strict=True)
        if poll > device.period
    ]
    if load > 1.0 and not complaints:
        complaints.append(
            f"the devices need {100 * load:.0f} % of the line's time; "
            "lengthen periods, raise the baud rate or split the bus"
        )
    layouts = driver.layouts()
    for device in driver.device:
        others = [(wait, d.name) for wait, d in zip(dead, driver.device, strict=True) if d is not device]
        wait, culprit = max(others, default=(0.0, ""))
        oldest, stale = device.period + healthy + wait, float(min(layouts[device.name].stale, default=math.inf))
        if wait and oldest > stale:
            complaints.append(
                f"device {device.name}: when {culprit} dies, its values grow {oldest:.3g} s old (period "
                f"{device.period:g} s, {wait:.3g} s behind the dead device, {healthy:.2g} s a round) and are stale "
                f"after {stale:.3g} s: choose a shorter timeout (now {driver.timeout:g} s) or a longer stale "
                "(3 periods where not set), or split the bus"
            )
    blocks = sum(len(plan.blocks) for plan in plans)
    return Scan(blocks, healthy, healthy + max(dead, default=0.0), load, tuple(complaints))


def _silence(driver: Modbus) -> float:
    """s without a character between two RTU frames."""
    return max(3.5 * driver.form.char, wire.Line.MIN_SILENCE)


def _poll_time(driver: Modbus, blocks: Sequence[Block]) -> float:
    """s of the line for one poll of a device that answers."""
    thinks = _turnaround(driver)
    if not driver.is_rtu:
        return thinks * math.ceil(len(blocks) / driver.pipeline)
    char, silence = driver.form.char, _silence(driver)
    return sum((FRAMES + b.size) * char + 2 * silence + thinks for b in blocks)


def _write_time(driver: Modbus) -> float:
    """s of the line for one short write."""
    if not driver.is_rtu:
        return _turnaround(driver)
    return WRITE * driver.form.char + 2 * _silence(driver) + _turnaround(driver)


def _turnaround(driver: Modbus) -> float:
    if driver.turnaround is not None:
        return driver.turnaround
    return RTU_TURNAROUND if driver.is_rtu else TCP_TURNAROUND


def _dead_time(driver: Modbus, blocks: Sequence[Block]) -> float:
    """s that the others may wait for one visit to this device when it does not answer.

    A visit ends with the first request that stays without reply, and a retry, the next poll or a probe is
    queued behind whoever is due: however many there are, nobody waits for more than one. On RTU a dirty
    line is silent for as long as the time-out (that of a device which never answered; others less),
    before the visit, if it is a retry and nobody else was due, and again after it. Before a retry another
    device is asked for one value.
    """
    if not blocks or not driver.is_rtu:
        return driver.timeout if blocks else 0.0
    char, silence = driver.form.char, _silence(driver)
    dirty = max(silence, driver.timeout)
    another = (FRAMES + VALUE) * char + 2 * silence + _turnaround(driver)
    visit = (FRAMES + max(b.size for b in blocks)) * char + driver.timeout + silence
    return dirty + another + visit + dirty
