"""How buses answer, in the words of the local page (`web/coach.py`): by the tallies of the running agent, or by asking.

Asked are devices only where somebody wants it and no agent runs; nothing is written, be it an output or a heartbeat.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress

from msgspec import structs

from drivers.modbus import Modbus

from ..clock import SystemClock
from ..core.alarm import Order
from ..core.errors import WorldFault
from ..core.ports import Tally
from ..web import coach
from .finding import Finding, found

KNOCK = 2.0  # s for a TCP connection
EAGER = 1.0  # s between two polls of a device that is asked, at most


def bus(one: Tally) -> Iterator[Finding]:
    """How each device of a line fares; the likeliest cause first."""
    for device in one.devices:
        what = f"{one.line}/{device.device} (unit {device.unit})"
        n = max(device.asked, 1)
        facts = {
            "asked": device.asked,
            "silent": coach.share(device.silent, n),
            "garbled": coach.share(device.garbled, n),
            "refused": coach.share(device.refused, n),
            "ms": "?" if math.isnan(device.mean) else f"{1000 * device.mean:.0f}",
        }
        hints = coach.hints(one, device)
        for hint in hints:
            key = "bus lost" if device.lost else "bus bad" if hint.bad else "bus late"
            yield found(key, what, hint=hint.key, **facts)
        if not hints:
            key = "bus young" if device.asked < coach.FEW else "bus fine"
            yield found(key, what, **facts)


def closed(lost: Mapping[str, str]) -> Iterator[Finding]:
    """Lines that the running agent cannot open."""
    for line, why in lost.items():
        yield found("bus closed", line, why=why)


def reach(places: Sequence[tuple[str, str, int]], asleep: bool) -> Iterator[Finding]:
    """Whether somebody listens where a bus behind TCP is (name, host, port). Many a serial server takes one client
    only: while the agent runs nobody knocks."""
    for name, host, port in places:
        where = f"{name} {host}:{port}"
        if not asleep:
            yield found("bus untried", where)
            continue
        try:
            socket.create_connection((host, port), KNOCK).close()
            yield found("bus reached", where)
        except socket.gaierror as error:
            yield found("bus nameless", where, why=error.strerror or str(error))
        except OSError as error:
            yield found("bus away", where, why=error.strerror or str(error) or "no answer")


class _NoOrders:
    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def take(self) -> Order | None:
        return None


async def ask(driver: Modbus, seconds: float) -> AsyncIterator[Finding]:
    """Poll the devices of a line for so long, and say how they answered. Outputs are left out: nothing is written."""
    devices = tuple(structs.replace(one, period=min(one.period, EAGER)) for one in driver.device)
    mute = structs.replace(driver, device=devices, output=())
    last = None
    try:
        with suppress(TimeoutError):
            said = mute.frames(SystemClock(), _NoOrders())
            async with asyncio.timeout(seconds), aclosing(said):  # type: ignore[type-var]
                async for item in said:
                    last = item if isinstance(item, Tally) else last
    except WorldFault as fault:
        yield found("bus closed", driver.name, why=str(fault))
        return
    for row in bus(last) if last is not None else ():
        yield row
