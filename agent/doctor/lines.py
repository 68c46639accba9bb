"""How buses answer: the tallies of the running agent, in the words of the local page (`web/coach.py`)."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator, Mapping, Sequence

from ..core.ports import Tally
from ..web import coach
from .finding import Finding, found

KNOCK = 2.0  # s for a TCP connection


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
