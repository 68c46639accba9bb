"""A hazard that comes and goes, and remembers when: the ledger of alarms."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

from tests.tools.subscriber import Heard

HIGH, LOW = 1.5, 0.5  # the rule's limit is 1.0


class Pulse:
    """Levels for the first channel of a stage's plant. Each turn of the hazard must bring one alarm edge."""

    def __init__(self) -> None:
        self.turns: list[float] = []  # monotonic s; up, down, up ...

    def levels(self) -> Sequence[float]:
        return [HIGH if len(self.turns) % 2 else LOW]

    def turn(self) -> None:
        self.turns.append(time.monotonic())

    async def beat(self, seconds: float, pause: float, rng: random.Random) -> None:
        """Turn again and again for so long, `pause` s apart or a little more; ends low."""
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(self.turns) % 2:
            self.turn()
            await asyncio.sleep(pause * (1 + 0.3 * rng.random()))

    def late(self, messages: Sequence[Heard]) -> list[float]:
        """s from each turn to its edge at the platform, as far as they came."""
        return [came - at for at, came in zip(self.turns, edges(messages), strict=False)]

    def lost(self, messages: Sequence[Heard]) -> int:
        """How many turns nobody was told of, and how many were told that were none."""
        return abs(len(self.turns) - len(edges(messages)))


def patient(path: Path) -> Path:
    """The site file, with a bus that waits longer: a reply that comes late on a busy machine is no fault of a link."""
    path.write_text(path.read_text().replace("timeout = 0.3", "timeout = 2.0"))
    return path


def edges(messages: Sequence[Heard]) -> list[float]:
    """When each edge of the rule `gas` was first heard, in the order of their numbers, monotonic s."""
    found: dict[tuple[str, int], float] = {}
    for message in messages:
        if "/alarm/" in message.topic and message.payload and message.topic.endswith("/gas"):
            body = message.body
            if body["event"] in ("raised", "cleared"):
                found.setdefault((body["boot"], body["seq"]), message.mono)
    return [found[key] for key in sorted(found)]


def quantile(values: Sequence[float], q: float) -> float:
    """The value that the part `q` of all does not exceed; NaN of nothing."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(q * len(ranked)))] if ranked else float("nan")
