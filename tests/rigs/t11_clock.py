"""T11: the wall clock jumps by years, and nothing is judged, lost or ordered otherwise.

The agent wakes up in 1970, measures without a platform, starts anew, and only then learns the time. Then the clock
jumps with an alarm open and with an on-delay and an off-delay on their way; jumps while the platform is away; and
walks at random. The ledger is the plant: when each level was first served, by the monotonic clock that all share.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from simulators.modbus import Device
from tests.rigs.faketime import YEAR, Faketime
from tests.rigs.proxy import Proxy
from tests.rigs.stage import Platform, Streams, readings, running, stage, told, verdict
from tests.rigs.trial import Case, Trial
from tests.tools.mosquitto import Mosquitto
from tests.tools.subscriber import Heard, Subscriber

PERIOD = 0.05  # s
DELAY = 0.6  # s
STALE = 5.0  # s; three polls, the default, are over too soon on a busy machine
RULES = f"""
[[rule]]
name = "gas"
kind = "high"
channel = "plant/c0"
limit = 1.0
level = "red"
drive = ["siren"]
[[rule]]
name = "late"
kind = "high"
channel = "plant/c1"
limit = 1.0
delay = {DELAY}
level = "red"
[[rule]]
name = "slow"
kind = "high"
channel = "plant/c2"
limit = 1.0
clear_delay = {DELAY}
level = "red"
"""
JUMPS = {  # what the wall clock is wrong by, s
    "10 years on": 10 * YEAR,
    "10 years back": -10 * YEAR,
    "1024 weeks back": -1024 * 7 * 86400.0,
    "back to 1970": 60.0 - time.time(),
    "an hour on": 3600.0,
}
# What the agent complains of by right: this machine, the platform that is away, the clock, and edges by the dozen.
OWN = {"agent/loop_lag", "agent/degraded", "agent/clock_back", "agent/clock_steps", "agent/alarms_flood"}
PATIENCE = 10.0  # s for one edge to be told; a busy machine is no miss
MISSES = 2  # edges not told, after which the story ends


class Missed(Exception):
    """So many edges were not told that the rest need not be tried."""


class Story:
    """What the plant did, what had to be told of it, and what was told."""

    def __init__(self, device: Device, platform: Platform, levels: list[float]) -> None:
        self.device, self.platform, self.levels = device, platform, levels
        self.wanted: Counter[tuple[str, str]] = Counter()  # (channel, event)
        self.errors: list[float] = []  # s by which edges came too early or too late
        self.misses = 0
        self.patience = PATIENCE
        self.queued: list[tuple[int, int]] = []  # first and last reading of a stretch that waited for the right time
        self.stopped: set[int] = set()  # readings that the plant told while the agent was already leaving
        self.waited: list[tuple[float, tuple[str, str]]] = []  # edges that did: monotonic s, and which

    def put(self, i: int, level: float) -> tuple[str, str]:
        """Channel i goes there now; the edge that has to be told of it."""
        self.levels[i] = self.device.values[f"c{i}"] = level
        edge = (f"plant/c{i}", "raised" if level > 1.0 else "cleared")
        self.wanted[edge] += 1
        return edge

    def heard(self) -> Counter[tuple[str, str]]:
        self.platform.look()
        return Counter((body["channel"], body["event"]) for _, body in self.platform.edges)

    async def told(self, edge: tuple[str, str], begun: float, delay: float = 0.0) -> None:
        """Wait until the platform heard the edge; it was due `delay` after `begun` was served."""
        if not await within(lambda: self.heard()[edge] >= self.wanted[edge], self.patience):
            self.misses += 1
            if self.misses >= MISSES:
                raise Missed
            return
        came = [mono for mono, body in self.platform.edges if (body["channel"], body["event"]) == edge][-1]
        self.errors.append(abs(came - self.served(begun) - delay))

    async def polled(self, times: int) -> None:
        """The plant was read so often from now."""
        wanted = len(self.device.served) + times
        await within(lambda: len(self.device.served) >= wanted, 10)

    def served(self, begun: float) -> float:
        """When the plant first told a reader what stood there at `begun`."""
        return min((mono for mono in self.device.served.values() if mono >= begun), default=begun)


async def within(true: Callable[[], Any], seconds: float) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.01)
    return True


def run(case: Case) -> None:
    asyncio.run(main(case))


async def main(case: Case) -> None:
    clock = Faketime(case.folder)
    broker = Mosquitto(case.folder / "broker")
    proxy = Proxy(("127.0.0.1", broker.port))
    await proxy.start()
    levels = [0.5, 0.5, 0.5]
    mqtt = f"mqtt://127.0.0.1:{proxy.port}"
    async with stage(case.folder, 4, PERIOD, lambda: levels, broker, mqtt, rules=RULES, stale=STALE) as (
        device,
        _,
        _,
        path,
    ):
        with Subscriber(broker.port, "vedette/#") as ear:
            story = Story(device, Platform(ear), levels)
            if case.sabotage:  # it is to miss edges
                story.patience = PATIENCE / 3
            await proxy.cut()
            try:
                await in_the_wrong_year(case, story, clock, path)
                async with running(path, case.sabotage, clock.env):
                    await learned(story, clock, path)
                    await back(story, proxy)
                    await jumps(case, story, clock)
                    if not case.sabotage:
                        await without_a_platform(case, story, clock, path, proxy)
                        await steps(case, story, clock)
                    served = set(device.served)
                    await within(lambda: served - story.stopped <= readings(ear.messages), 10)
            except Missed:
                case.note("the story ended early: too many edges were not told")
            finally:
                await proxy.stop()
            messages = list(ear.messages)
    told = story.heard()
    heard = Counter({edge: n for edge, n in told.items() if edge[0] not in OWN})
    for what, edges in (("false", heard - story.wanted), ("missed", story.wanted - heard)):
        if edges:
            case.note(f"{what}: " + ", ".join(" ".join(edge) for edge in edges))
    _, unmarked, disorder = verdict(messages, device)
    got = readings(messages)
    lost = [n for n in device.served if n < max(got, default=0) and n not in got and n not in story.stopped]
    stamps = told_stamps(messages, story)
    case.figure("edges told", sum(story.wanted.values()))
    case.exactly("false alarms", (heard - story.wanted).total(), 0)
    case.exactly("missed alarms", (story.wanted - heard).total(), 0)
    case.at_least("clock told to be set back", told["agent/clock_back", "raised"], 1)
    case.at_most("delay error, worst", max(story.errors, default=float("nan")), 0.2, "s")
    case.exactly("readings lost", len(lost), 0)
    case.exactly("readings out of order", disorder, 0)
    case.exactly("holes", len(Streams(messages).holes()), 0)
    case.exactly("duplicates unmarked", unmarked, 0)
    case.at_least("stamps corrected after sync", len(stamps), 50)
    case.at_most("corrected stamps off by, worst", max(stamps, default=float("nan")), 1.0, "s")


def told_stamps(messages: Sequence[Heard], story: Story) -> list[float]:
    """By how much the stamps of what waited for the clock are wrong; infinite where they are not called trusted."""
    offset = time.time() - time.monotonic()  # of this process, whose clock stands right
    wrong = []
    for body in told(messages, "backfill/plant"):
        for t, row in zip(body["t"], body["value"], strict=True):
            n = row[body["key"].index("served")] or -1
            if any(first <= n <= last for first, last in story.queued):
                error = abs(t / 1000 - offset - story.device.served[n])
                wrong.append(error if body["synced"] and "t_original" in body else float("inf"))
    for (mono, edge), body in zip(story.waited, (b for _, b in story.platform.edges), strict=False):
        error = abs(body["at"] / 1000 - offset - story.served(mono))
        right = (body["channel"], body["event"]) == edge and body["synced"] and "at_original" in body
        wrong.append(error if right else float("inf"))
    return wrong


async def in_the_wrong_year(case: Case, story: Story, clock: Faketime, path: Path) -> None:
    """Without a battery clock and without a platform: measure, raise, clear, and start anew."""
    clock.at(10.0)
    device = story.device
    first = max(device.served, default=0) + 1
    async with running(path, case.sabotage, clock.env):
        await story.polled(10)
        for level in (1.5, 0.5):
            story.waited.append((time.monotonic(), story.put(0, level)))
            await story.polled(5)
        left = set(device.served)  # what follows may come too late
    story.stopped |= set(device.served) - left
    if case.sabotage:
        return
    async with running(path, case.sabotage, clock.env):
        await story.polled(10)
        left = set(device.served)
    story.stopped |= set(device.served) - left
    story.queued.append((first, max(story.device.served)))


async def learned(story: Story, clock: Faketime, path: Path) -> None:
    """The clock is right, and the kernel says so: wait until the agent has understood."""
    log = path.parent / "agent.log"
    before = log.read_text().count("clock-trusted")
    await story.polled(5)  # it runs, and does not know the time
    clock.move(0.0)
    clock.trust(True)
    await within(lambda: log.read_text().count("clock-trusted") > before, 5)


async def jumps(case: Case, story: Story, clock: Faketime) -> None:
    """Each jump with an alarm open, an on-delay and an off-delay on their way, and what comes of them."""
    clock.trust(False)
    for offset in list(JUMPS.values())[: 2 if case.sabotage else None]:
        for i in (0, 2):
            await story.told(story.put(i, 1.5), time.monotonic())
        begun = time.monotonic()
        late, slow = story.put(1, 1.5), story.put(2, 0.5)
        await asyncio.sleep(DELAY / 2)
        clock.move(offset)
        await story.told(late, begun, DELAY)
        await story.told(slow, begun, DELAY)
        for i in (0, 1):
            await story.told(story.put(i, 0.5), time.monotonic())


async def without_a_platform(case: Case, story: Story, clock: Faketime, path: Path, proxy: Proxy) -> None:
    """The backlog outlives the years, and is told with its right time once that is known."""
    await proxy.cut()
    first = max(story.device.served) + 1
    for offset in JUMPS.values():
        clock.move(offset)
        await story.polled(8)
    story.queued.append((first, max(story.device.served)))
    await learned(story, clock, path)
    await back(story, proxy)


async def back(story: Story, proxy: Proxy) -> None:
    """The platform can be reached again, and the agent has come."""
    births = len(story.platform.births)
    await proxy.heal()

    def here() -> bool:
        story.platform.look()
        return len(story.platform.births) > births

    await within(here, 10)


async def steps(case: Case, story: Story, clock: Faketime) -> None:
    """A clock that knows no rest, while alarms come and go after their delays."""
    rng = case.rng(3)
    clock.trust(False)
    walking = asyncio.create_task(walk(case, clock))
    while not walking.done():
        begun = time.monotonic()
        await story.told(story.put(1, 1.5), begun, DELAY)
        await story.told(story.put(2, 1.5), time.monotonic())
        begun = time.monotonic()
        await story.told(story.put(2, 0.5), begun, DELAY)
        await story.told(story.put(1, 0.5), time.monotonic())
        await asyncio.sleep(rng.uniform(0.0, 0.1))
    await walking


async def walk(case: Case, clock: Faketime) -> None:
    rng = case.rng(4)
    for _ in range(case.n(30, 200)):
        clock.move(rng.choice([1.0, 3600.0, YEAR, 10 * YEAR]) * rng.uniform(-1.0, 1.0))
        await asyncio.sleep(rng.uniform(0.05, 0.15))
    clock.move(0.0)


TRIAL = Trial(
    id="T11",
    title="the wall clock jumps",
    run=run,
    sabotage="wall-clock-decides",
    memory=True,
    red=("false alarms", "missed alarms", "delay error, worst"),
    jealous=True,
)
