"""T12: whatever the line does, a value is of the register that it stands for.

Every register tells its unit, its address and the time, so that a value from anywhere else shows. Three parts:
RTU and TCP in virtual time (`tests/tools/wires.py`), where one fault follows the other; the same with single faults,
to see how soon the line is usable again; and real pseudo-terminals and sockets, with pymodbus as the devices and
somebody in between (`tests/rigs/meddler.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from agent.clock import SystemClock
from agent.core.errors import WorldFault
from agent.core.frame import Frame
from agent.supervise import Pauses, keep
from drivers.bus import Bus
from drivers.link import RtuLink, TcpLink
from drivers.modbus import Modbus
from tests.rigs.meddler import Dials, SerialMeddler, TcpMeddler
from tests.rigs.trial import Case, Trial
from tests.tools.slaves import Mailbox
from tests.tools.virtual import LoopClock, run
from tests.tools.wires import Dial, Draw, Faults, Reading, RtuWire, TcpWire, channels

TIMEOUT = 0.2  # s, of the drivers here
PERIOD = 0.5  # s between polls in virtual time
SHARE = 0.15  # of all requests with a fault
SERIAL = ("late", "twin", "foreign", "cut", "noise", "deaf")
SOCKET = ("late", "twin", "foreign", "deaf", "stray", "swapped", "relabelled")
DOUBT = "where the late reply meets the question that is asked in doubt, the doubt lasts one poll longer: 1 in 100"
PIPELINED = ("late", "twin", "foreign", "deaf", "stray")  # see `run_trial`


def driver(
    url: str, units: Sequence[int], blocks: int = 4, period: float = PERIOD, size: int = 3, **more: Any
) -> Modbus:
    """`blocks` of `size` values of each unit: blocks of one shape, so that a reply fits more than one request."""
    gap = more.pop("gap", 8)
    device = [
        {
            "name": f"d{unit}",
            "unit": unit,
            "period": period,
            "gap": gap,
            "channel": channels(50 * block + i for block in range(blocks) for i in range(size)),
        }
        for unit in units
    ]
    raw = {"name": "bus", "url": url, "baud": 19200, "timeout": TIMEOUT, "device": device, **more}
    return msgspec.convert(raw, Modbus)


# -- in virtual time ------------------------------------------------------------------------------


Wire = RtuWire | TcpWire
Stretch = tuple[Reading, list[Wire], list[tuple[float, int]]]  # and when which unit gave a whole frame


async def live(made: Modbus, string: Callable[[], Wire], enough: Callable[[list[Wire], float], bool]) -> Stretch:
    """A bus on a virtual wire until `enough`; a connection that broke is made again, as the agent does."""
    clock, reading = LoopClock(), Reading()
    wires: list[Wire] = []
    whole: list[tuple[float, int]] = []
    while not wires or not enough(wires, clock.now().mono):
        wires.append(string())
        bus = Bus(made, wires[-1].link, clock, Mailbox())
        with contextlib.suppress(WorldFault):
            while not enough(wires, clock.now().mono):
                for item in await bus.turn():
                    if isinstance(item, Frame):
                        now, unit = clock.now().mono, int(item.source[1:])
                        if reading.take(item, unit, now):
                            whole.append((now, unit))
        bus.close()
        await clock.sleep(0.1)
    return reading, wires, whole


def rtu(units: Sequence[int], made: Modbus, fault: Draw, **more: Any) -> Callable[[], RtuWire]:
    def string() -> RtuWire:
        link = RtuLink(made.form.char)
        now = asyncio.get_running_loop().time
        wire = RtuWire(link, {unit: Dial(unit, now) for unit in units}, fault, **more)
        link.write = wire.write
        return wire

    return string


def tcp(units: Sequence[int], made: Modbus, fault: Draw) -> Callable[[], TcpWire]:
    def string() -> TcpWire:
        now = asyncio.get_running_loop().time
        return TcpWire(TcpLink(made.pipeline, "virtual"), {unit: Dial(unit, now) for unit in units}, fault)

    return string


def asked(wires: Sequence[Wire]) -> int:
    return sum(len(wire.requests) for wire in wires)


RTU_SITES: tuple[dict[str, Any], ...] = (  # gap 0: no register more than needed is read, so all replies look alike
    {"units": (1,), "blocks": 1},
    {"units": (1,), "overrun": True},
    {"units": (1, 2, 3)},
    {"units": (1, 2), "blocks": 3, "echo": True, "overrun": True},
    {"units": (1, 2, 3), "gap": 0, "overrun": True},
)
TCP_SITES: tuple[dict[str, Any], ...] = (
    {"units": (1,)},
    {"units": (1, 2, 3)},
    {"units": (1, 2), "gap": 0},
    {"units": (1, 2, 3), "pipeline": 4, "faults": PIPELINED},
    {"units": (1, 2), "faults": ("cut",)},  # TCP itself loses nothing: a device that does, does nothing else here
)


def on_rtu(site: dict[str, Any], transactions: int, seed: int) -> tuple[Reading, int]:
    site = dict(site)
    units, line = site.pop("units"), {key: site.pop(key) for key in ("echo", "overrun") if key in site}
    made = driver("rtu:///dev/none", units, **site)
    string = rtu(units, made, Faults(seed, SHARE, 2.5 * TIMEOUT, SERIAL), **line)
    reading, wires, _ = run(live(made, string, lambda wires, now: asked(wires) >= transactions))
    return reading, asked(wires)


def on_tcp(site: dict[str, Any], transactions: int, seed: int) -> tuple[Reading, int]:
    site = dict(site)
    units, names = site.pop("units"), site.pop("faults", SOCKET)
    made = driver("tcp://10.0.0.1:502", units, **site)
    string = tcp(units, made, Faults(seed, SHARE, 2.5 * TIMEOUT, names))
    reading, wires, _ = run(live(made, string, lambda wires, now: asked(wires) >= transactions))
    return reading, asked(wires)


def polls_until_usable(serial: bool, faults: int) -> list[float]:
    """One fault at a time, 10 s apart: polls of each unit that began after its end, up to the first whole one."""
    units = (1, 2)
    names = itertools.cycle(SERIAL if serial else SOCKET)
    chance = Faults(3, 1.0, 2.5 * TIMEOUT, ("late",))
    due = 5.0

    def fault(unit: int) -> tuple[str, float]:
        nonlocal due
        if asyncio.get_running_loop().time() < due:
            return "", 0.0
        due += 10.0 + PERIOD * chance.chance.random()
        return next(names), chance(unit)[1]

    made = driver("rtu:///dev/none" if serial else "tcp://10.0.0.1:502", units)
    string = rtu(units, made, fault) if serial else tcp(units, made, fault)
    _, wires, whole = run(live(made, string, lambda wires, now: now > 5.0 + 10.5 * faults + 10.0))
    found = []
    for wire in wires:
        for end, _, _ in wire.faults:
            for unit in units:
                moments = [at for at, of in whole if of == unit and at > end]
                found.append(moments[0] // PERIOD - end // PERIOD if moments else math.inf)
    return found


# -- on pseudo-terminals and sockets --------------------------------------------------------------


async def meddled(meddler: SerialMeddler | TcpMeddler, dials: Sequence[Dials], seconds: float, **more: Any) -> Reading:
    """The driver as it is, kept alive as the agent does, against pymodbus with somebody in between."""
    await meddler.start()
    clock, reading = SystemClock(), Reading()
    made = driver(meddler.url, [dial.unit for dial in dials], period=0.05, timeout=0.1, **more)

    async def poll() -> None:
        async for item in made.frames(clock, Mailbox()):
            if isinstance(item, Frame):
                reading.take(item, int(item.source[1:]), clock.now().mono)

    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await keep("bus", poll, clock, lambda *words: None, Pauses(0.5))
    finally:
        await meddler.stop()
    return reading


async def real(case: Case, seconds: float) -> tuple[list[Reading], int]:
    """Three serial lines and one socket side by side; what was read, and how many requests went over them."""
    lines: list[tuple[SerialMeddler | TcpMeddler, list[Dials]]] = []
    for number, units in enumerate(((1,), (1, 2), (1, 2, 3))):
        dials = [Dials(unit) for unit in units]
        draw = Faults(number, SHARE / 2, 0.25, SERIAL)
        lines.append((SerialMeddler(dials, draw, case.folder / f"line{number}", echo=number == 1), dials))
    dials = [Dials(1), Dials(2)]
    lines.append((TcpMeddler(dials, Faults(9, SHARE / 2, 0.25, SOCKET)), dials))
    readings = await asyncio.gather(*(meddled(meddler, dials, seconds) for meddler, dials in lines))
    return list(readings), sum(meddler.requests for meddler, _ in lines)


# -- the trial ------------------------------------------------------------------------------------


def run_trial(case: Case) -> None:
    transactions = 2000 if case.sabotage else case.n(5000, 100_000)
    readings: dict[str, list[tuple[Reading, int]]] = {
        "RTU": [on_rtu(site, transactions // len(RTU_SITES), 11 + i) for i, site in enumerate(RTU_SITES)],
        "TCP": [on_tcp(site, transactions // len(TCP_SITES), 21 + i) for i, site in enumerate(TCP_SITES)],
    }
    for kind, found in readings.items():
        case.at_least(f"{kind} transactions", sum(n for _, n in found), transactions)
        case.exactly(f"{kind} values of a wrong tag", sum(len(r.wrong) for r, _ in found), 0)
        case.at_least(f"{kind} whole frames", sum(r.whole for r, _ in found) / sum(r.frames for r, _ in found), 0.5)
        case.figure(f"{kind} value older than its age says, s", max(r.oldest for r, _ in found))
        case.notes += [f"{kind}: {wrong}" for r, _ in found for wrong in r.wrong[:3]]
    faults = case.n(40, 600)
    for kind, serial in (("RTU", True), ("TCP", False)):
        case.at_most(f"{kind} usable again", max(polls_until_usable(serial, faults)), 2.0, "polls", DOUBT)
    seconds = case.n(4, 100)
    found, requests = asyncio.run(real(case, seconds))
    case.at_least("real line time", seconds * 3.0, case.n(10, 300), "s")
    case.figure("real transactions", requests)
    case.at_least("real values", sum(r.values for r in found), 100 * seconds)
    case.exactly("real values of a wrong tag", sum(len(r.wrong) for r in found), 0)
    case.notes += [f"real: {wrong}" for r in found for wrong in r.wrong[:3]]
    case.note(
        "with more than one request in flight TCP ids are not swapped: nothing in the protocol could tell then "
        "which of two replies of one shape was meant"
    )


TRIAL = Trial(
    "T12",
    "no value of a wrong tag, RTU and TCP",
    run_trial,
    "dirty-line",
    ("RTU values of a wrong tag", "TCP values of a wrong tag", "real values of a wrong tag"),
    alone=False,
)
