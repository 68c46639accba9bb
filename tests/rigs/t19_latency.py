"""T19: from the register to the broker, and from the register to the coil, on a machine that is busy with pictures.

A process that never rests on each core stands in for vision, as nice as vision will be; the card hangs for half a
second again and again. Crossing: the moment at which the plant's register goes over the limit. The local output is
timed from the reply that completed the poll with the crossing to the write at the coil, both in the plant's ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from simulators.modbus import Device
from tests.rigs.shim import Faults, Shim
from tests.rigs.stage import Platform, heard, running, stage, told
from tests.rigs.trial import Case, Trial
from tests.tools.subscriber import Subscriber

CHANNELS, PERIOD = 250, 0.25  # 1000 readings a second
HAZARDS = 10  # channels that come and go; one more has the siren
NICE = 10  # of vision: alarms go first, pictures may be late
STALL = 0.5  # s of every sync that begins in that time
REST = 0.1  # s in which the card works
PATIENCE = 5.0  # s for one edge
RULES = """
[[rule]]
name = "siren"
kind = "high"
channel = "plant/c0"
limit = 1.0
level = "red"
drive = ["siren"]
[[rule]]
name = "gas"
kind = "high"
channel = "plant/c[1-9]*"
limit = 1.0
level = "red"
"""


@contextlib.contextmanager
def vision() -> Iterator[None]:
    """A process that never rests on each core."""
    command = ["nice", "-n", str(NICE), sys.executable, "-c", "while True: pass"]
    burners = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


class Watched:
    """What was read of the siren's channel, beside the plant's own ledger."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.crossings: list[tuple[float, bool]] = []  # monotonic s, over the limit or not
        self.reads: list[tuple[float, bool]] = []  # the same, as told to a reader
        self._get = device.async_getValues
        device.async_getValues = self.get  # type: ignore[method-assign]

    async def get(self, unit: int, code: int, address: int, count: int = 1) -> object:
        if (code, address) == (3, 0):
            self.reads.append((time.monotonic(), self.device.values["c0"] > 1.0))
        return await self._get(unit, code, address, count)

    def reactions(self) -> list[float]:
        """Seconds from the end of the poll that told a crossing to the write at the coil; infinite where none came."""
        changes = [(at, over) for (_, before), (at, over) in pairwise(self.reads) if over != before]
        polled = np.array(sorted(self.device.served.values()))
        found = []
        for (at, over), (end, _) in pairwise(changes):
            done = float(polled[polled >= at][0])
            writes = [mono for mono, _, value in self.device.writes if at <= mono < end and (value == 1.0) == over]
            found.append(writes[0] - done if writes else float("inf"))
        return found


class Hazards:
    """Channels that come and go, and how long the platform took to hear of it."""

    def __init__(self, case: Case, device: Device, platform: Platform) -> None:
        self.device, self.platform = device, platform
        self.levels = [0.5] * (1 + HAZARDS)
        self.stop = asyncio.Event()
        self.took: dict[str, list[float]] = {"raised": [], "cleared": []}  # s
        self._rng = case.rng(19)

    def put(self, i: int, level: float) -> float:
        """The register changes now; the monotonic time of that."""
        self.levels[i] = self.device.values[f"c{i}"] = level
        return time.monotonic()

    async def siren(self) -> None:
        while not self.stop.is_set():
            for level in (1.5, 0.5):
                self.put(0, level)
                await asyncio.sleep(self._rng.uniform(0.5, 0.9))

    async def live(self, i: int) -> None:
        while not self.stop.is_set():
            for level, event in ((1.5, "raised"), (0.5, "cleared")):
                await asyncio.sleep(self._rng.uniform(0.0, 0.4))
                begun = self.put(i, level)
                end = begun + PATIENCE
                while (came := self.heard(f"plant/c{i}", event, begun)) is None and time.monotonic() < end:
                    await asyncio.sleep(0.01)
                self.took[event].append((came or float("inf")) - begun)

    def heard(self, channel: str, event: str, since: float) -> float | None:
        """When the platform heard this edge, None if not since then."""
        self.platform.look()
        for mono, body in reversed(self.platform.edges):
            if mono < since:
                return None
            if (body["channel"], body["event"]) == (channel, event):
                return mono
        return None


def run(case: Case) -> None:
    asyncio.run(main(case))


async def stalling(faults: Faults, stop: asyncio.Event) -> int:
    """A card that hangs, works, hangs. How often somebody had to wait for it."""
    met = 0
    while not stop.is_set():
        faults.arm("stall", "sync", ever=True, seconds=STALL)
        await asyncio.sleep(STALL + REST)
        met += faults.met > 0.0
    faults.heal()
    return met


async def main(case: Case) -> None:
    shim = Shim(case.folder)
    faults = Faults(case.folder / "faults", case.folder / "state")
    levels: list[float] = [0.5] * (1 + HAZARDS)
    async with stage(case.folder, CHANNELS, PERIOD, lambda: levels, rules=RULES) as (device, _, broker, path):
        with Subscriber(broker.port, "vedette/#") as ear:
            watched, hazards = Watched(device), Hazards(case, device, Platform(ear))
            levels = hazards.levels
            async with running(path, case.sabotage, shim.env(faults)):
                await heard(ear, lambda ms: told(ms, "telemetry/plant"))
                with vision():
                    card = asyncio.create_task(stalling(faults, hazards.stop))
                    stories = [asyncio.create_task(hazards.live(i)) for i in range(1, 1 + HAZARDS)]
                    stories.append(asyncio.create_task(hazards.siren()))
                    before, began = len(device.served), time.monotonic()
                    await asyncio.sleep(case.n(6, 120))  # the measurement itself
                    rate = (len(device.served) - before) * CHANNELS / (time.monotonic() - began)
                    hazards.stop.set()
                    await asyncio.gather(*stories)
                    stalls = await card
    raised, cleared, reactions = hazards.took["raised"], hazards.took["cleared"], watched.reactions()
    case.figure("crossings", len(raised))
    case.at_least("readings", rate, 0.95 * CHANNELS / PERIOD, "1/s")
    case.at_least("syncs that hung", stalls, 1)
    case.at_most("crossing to broker, p99", float(np.percentile(raised, 99)), 0.25 + PERIOD, "s")
    case.at_most("crossing to broker, max", max(raised), 1.0, "s")
    case.at_most("local output, max", max(reactions), 0.1, "s")
    case.figure("crossing to broker, p50", float(np.percentile(raised, 50)))
    case.figure("end of an alarm to broker, p99 (it waits for the disk)", float(np.percentile(cleared, 99)))
    case.note(f"poll {PERIOD:g} s; {os.cpu_count()} burners at nice {NICE} stand in for vision; syncs hang {STALL:g} s")


TRIAL = Trial(
    id="T19",
    title="latency under load",
    run=run,
    sabotage="publish-after-commit",
    red=("crossing to broker, p99", "crossing to broker, max"),
)
