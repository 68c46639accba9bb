"""T20: what a day costs the card. Bytes that reach a block device, as the kernel counts them.

The outbox runs in virtual time, its seconds back to back, with telemetry that does not compress, an uplink that
confirms at once, and a history that is full, so that old rows make room for new ones. What the kernel would write down
by itself as time goes by is no part of the marks; the full size measures it in a second run, which has it every
`WRITE_BACK` virtual seconds. The card's own amplification comes on top of all figures.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any

from agent import hand
from agent.core.ports import Item
from agent.feed import Feed
from agent.outbox import Outbox, Store
from tests.rigs import cargo
from tests.rigs.disk import Disk
from tests.rigs.sabotage import on_the_loop
from tests.rigs.trial import Case, Trial
from tests.tools.virtual import LoopClock, run

SOURCES, CHANNELS = 10, 100  # devices, read a tenth of a second apart; readings a second of each
WRITE_BACK = 5.0  # virtual s: ext4's `commit`, linux/Documentation/admin-guide/ext4.rst
SHAPE = cargo.channels(CHANNELS)
DAY = 86_400.0  # s


async def confirm(feed: Feed, seconds: float) -> None:
    """A platform that confirms all it gets, until the time is over."""
    clock = asyncio.get_running_loop()
    end = clock.time() + seconds
    feed.online(True)
    while clock.time() < end:
        flying: list[Item] = []
        while (item := feed.take()) is not None:
            flying.append(item)
        await asyncio.sleep(0.25)
        for item in flying:
            feed.done(item)


async def poll(outbox: Outbox, n: int, seconds: float) -> None:
    """A device that is read once a second, in its own tenth of it."""
    await asyncio.sleep(n / SOURCES)
    for second in range(int(seconds)):
        outbox.put_frame(cargo.reading(second * SOURCES + n, outbox.clock.now(), SHAPE, f"d{n}"))
        await asyncio.sleep(1.0)


async def alarm(outbox: Outbox, count: int, period: float) -> None:
    """Alarms that are raised and, half a period later, cleared."""
    for n in range(count):
        for up in (True, False):
            outbox.put_alarms([cargo.edge(cargo.POINTS * n, up, outbox.clock.now())])
            await asyncio.sleep(period / 2)


async def write_back(disk: Disk, seconds: float) -> None:
    for _ in range(int(seconds / WRITE_BACK)):
        await asyncio.sleep(WRITE_BACK)
        disk.sync()


async def spend(
    disk: Disk, stages: list[tuple[float, int]], devices: int, kernel: bool, ring: float = 1.0
) -> list[int]:
    """Bytes that each stage, so many seconds with so many alarms, cost. What closing costs is the last one's."""
    settings = Store(path=str(disk.home / "state"), history_mb=ring)
    outbox = await Outbox.open(settings, ["p"], LoopClock())
    disk.sync()
    marks = [disk.written()]
    for seconds, alarms in stages:
        tasks: list[Coroutine[Any, Any, None]] = [poll(outbox, n, seconds) for n in range(devices)]
        tasks += [alarm(outbox, alarms, seconds / alarms)] if alarms else []
        tasks += [write_back(disk, seconds)] if kernel else []
        await asyncio.gather(*tasks, confirm(outbox.feed("p"), seconds + 2))
        disk.sync()
        marks.append(disk.written())
    await outbox.close()
    disk.unmount()
    return [b - a for a, b in itertools.pairwise([*marks[:-1], disk.written()])]


def measure(case: Case) -> None:
    do = hand.Hand.do
    hand.Hand.do = on_the_loop(do)  # type: ignore[method-assign]  # virtual time waits for no thread
    minutes, alarms, ring = case.n(2, 15), case.n(60, 500), case.n(1, 8)
    filling = 1.1 * ring * 2**20 / (SOURCES * CHANNELS * 4)  # s
    try:
        for kernel in (False, True)[: case.n(1, 2)]:
            with Disk(case.folder / f"day-{kernel}", 64) as disk:
                stages = [(filling, 0), (60.0 * minutes, minutes)]
                day = run(spend(disk, stages, SOURCES, kernel, ring))[1] * DAY / 60 / minutes
            with Disk(case.folder / f"alarms-{kernel}", 64) as disk:
                edge = run(spend(disk, [(20.0 * alarms, alarms)], 0, kernel))[0] / alarms / 2
            if kernel:
                case.figure("GB/day with what the kernel writes back every 5 s", day / 1e9)
                case.figure("kB per edge with that, and nothing else on the card", edge / 1000)
            else:
                case.at_most("written at 1000 readings/s", day / 1e9, 3.0, "GB/day")
                case.figure("times the payload", day / (SOURCES * CHANNELS * 4 * DAY))
                case.at_most("written per edge of an alarm, its delivery included", edge / 1000, 20.0, "kB")
    finally:
        hand.Hand.do = do  # type: ignore[method-assign]
    case.note("Seconds run back to back; an alarm that is raised and cleared is two edges.")


TRIAL = Trial(
    id="T20",
    title="wear: bytes that reach the card",
    run=measure,
    sabotage="ten-commits",
    red=("written at 1000 readings/s",),
    alone=False,
)
