"""T1: SIGKILL at any moment, start-up included, at 1000 readings and about 5 edges of alarms a second.

Two plants of kills. The whole agent: hazards come and go, and each stands until the platform believes in it, each
calm until the platform believes in that; a story that stops is an alarm lost. The outbox alone, forked so fast that
a thousand kills take minutes: what its store accepted must arrive, in each language. Everything else is arithmetic
with the numbers that the plant served and the keys that the platform saw.
"""

from __future__ import annotations

import asyncio
import bisect
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agent.uplink.jt808_alarms import number_of
from simulators.hj212 import Hj212Platform
from simulators.jt808 import Jt808Platform
from tests.rigs.others import Outlet, keys
from tests.rigs.stage import Platform, Streams, heard, owing, readings, running, stage, until
from tests.rigs.trial import Case, Trial
from tests.tools.mosquitto import PATIENT, Mosquitto
from tests.tools.nursery import Nursery
from tests.tools.subscriber import Heard, Subscriber

CHANNELS, PERIOD = 250, 0.25  # 1000 readings a second
HAZARDS = 6  # channels that come and go, about an edge a second each while the agent lives
PATIENCE = 20.0  # s for which a hazard waits to be told, lives and deaths of agents included
BATCH = 1.0  # s of readings that a kill may cost
KNOWN = 1.0  # s after which the disk knows what was confirmed: a kill repeats what was told since, or is in flight
WINDOW = 8  # messages of bulk in flight


class Weather:
    """Hazards that come and go; the ledger of what the platform had to believe, and did not in time."""

    def __init__(self, case: Case, platform: Platform) -> None:
        self.platform = platform
        self.levels = [0.5] * HAZARDS
        self.told = self.lost = 0
        self.stop = asyncio.Event()
        self._rng = case.rng(7)

    async def watch(self) -> None:
        while True:
            self.platform.look()
            await asyncio.sleep(0.01)

    async def live(self, i: int) -> None:
        """One hazard: it stands until it is told, then it is gone until that is told."""
        while not self.stop.is_set():
            for level, wanted in ((1.5, True), (0.5, False)):
                await asyncio.sleep(self._rng.uniform(0.0, 1.2))
                self.levels[i] = level
                end = time.monotonic() + PATIENCE
                while bool(self.platform.active.get(f"plant/c{i}")) != wanted:
                    if time.monotonic() > end:
                        self.lost += 1
                        break
                    await asyncio.sleep(0.01)
                else:
                    self.told += 1


class Outboxes(NamedTuple):
    """What became of the outboxes."""

    kills: int
    accepted: set[str]  # ids of alarms
    lost: int
    holes: int  # of telemetry, where a language has keys; of HJ 212 means of minutes
    unmarked: int


def run(case: Case) -> None:
    asyncio.run(main(case))


async def main(case: Case) -> None:
    others = asyncio.create_task(asyncio.to_thread(outboxes, case))
    await agents(case, case.n(4 if case.sabotage else 10, 200))
    for name, found in (await others).items():
        case.figure(f"outboxes killed, {name}", found.kills)
        case.figure(f"alarms accepted, {name}", len(found.accepted))
        case.exactly(f"alarms lost, {name}", found.lost, 0)
        case.exactly(f"holes, {name}", found.holes, 0)
        case.exactly(f"duplicates unmarked, {name}", found.unmarked, 0)


async def agents(case: Case, kills: int) -> None:
    """The whole agent, killed again and again."""
    rng = case.rng(1)
    killed: list[float] = []
    starts: list[float] = []  # s from a start to its first word, of lives that were let speak
    folder = case.folder / "agent"
    folder.mkdir()
    levels: list[float] = [0.5] * HAZARDS
    broker = Mosquitto(case.folder / "broker", more=PATIENT)
    async with stage(folder, CHANNELS, PERIOD, lambda: levels, broker) as (device, _, broker, path):
        with Subscriber(broker.port, "vedette/#") as ear:
            platform = Platform(ear)
            weather = Weather(case, platform)
            levels = weather.levels
            watch = asyncio.create_task(weather.watch())
            stories = [asyncio.create_task(weather.live(i)) for i in range(HAZARDS)]
            for n in range(kills):
                began, births = time.monotonic(), len(platform.births)
                async with running(path, case.sabotage) as agent:
                    if n % 3 == 0:
                        await until(lambda: len(platform.births) > births, 30, "a birth")  # noqa: B023
                        starts.append(platform.births[births] - began)
                        await asyncio.sleep(rng.uniform(0.0, 1.2))
                    else:
                        await asyncio.sleep(rng.uniform(0.02, 1.8))  # any moment, start-up included
                    agent.kill()
                    killed.append(time.monotonic())
            weather.stop.set()
            async with running(path, case.sabotage):
                await asyncio.gather(*stories)
                last = max(device.served)
                await heard(ear, lambda ms: max(readings(ms[-200:]), default=0) > last)
                await until(lambda: owing(path) <= 2, 30, "an empty queue")
            watch.cancel()
            messages = list(ear.messages)
    streams = Streams(messages)
    lost = missing(readings(messages), device.served, killed)
    again = between(streams.again, killed)
    copies = Counter(
        (a["id"], a["edge"]) for m in messages if "/alarm/" in m.topic and m.payload and not (a := m.body).get("resent")
    )
    case.figure("agents killed", len(killed))
    case.figure("edges told", weather.told)
    case.exactly("alarms lost", weather.lost, 0)
    case.at_most("readings lost by a kill", max(lost.values(), default=0) * PERIOD, BATCH, "s")
    for boot, stream, seq in (holes := streams.holes()):
        case.note(f"a hole: {stream} {seq} of boot {boot}, of {max(streams.keys[boot, stream])}")
    case.exactly("holes", len(holes), 0)
    case.exactly("duplicates unmarked", streams.unmarked + sum(n > 1 for n in copies.values()), 0)
    case.at_most("duplicates by a kill, told more than 1 s before", max(again.values(), default=0), WINDOW)
    case.at_most("restart to first publish, p95", float(np.percentile(starts, 95)), 3.0, "s")


def missing(got: set[int], served: dict[int, float], killed: Sequence[float]) -> Counter[int]:
    """How many of the readings that were served never came, by the number of the kill that followed them."""
    gone = [n for n in served if min(got) < n < max(got) and n not in got]
    return Counter(bisect.bisect_left(killed, served[n]) for n in gone)


def between(again: Sequence[tuple[float, float]], killed: Sequence[float]) -> Counter[int]:
    """How many messages were repeated though they were heard `KNOWN` s before a kill, by the number of that kill, the
    first one afterwards. A message that several kills brought back counts once."""
    kills = [(first, bisect.bisect_left(killed, first)) for first in {first for first, _ in again}]
    return Counter(n for first, n in kills if n < len(killed) and killed[n] - first > KNOWN)


def outboxes(case: Case) -> dict[str, Outboxes]:
    """The outbox and its uplink alone, in each language."""
    with Mosquitto(case.folder / "broker-2", more=PATIENT) as broker:
        with Subscriber(broker.port) as ear:
            nursery = killed(case, "mqtt", broker.url, case.n(24, 400))
            messages = settled(ear)
        streams = Streams(messages)
        ids = {m.body["id"] for m in messages if "/alarm/" in m.topic and m.payload}
        accepted = set(nursery.accepted)
        native = Outboxes(nursery.kills, accepted, len(accepted - ids), len(streams.holes()), streams.unmarked)
        with Subscriber(broker.port, "spBv1.0/#") as ear:
            nursery = killed(case, "sparkplug", f"sparkplug+{broker.url}", case.n(18, 400))
            host = keys(settled(ear))
    accepted = set(nursery.accepted)
    lost = len(accepted - {id for id, _ in host.edges})
    node = Outboxes(nursery.kills, accepted, lost, len(host.holes()), len(host.unmarked))
    terminal = asyncio.run(terminals(case, case.n(18, 400)))
    outlet = asyncio.run(outlets(case, case.n(12, 200)))
    return {"mqtt": native, "sparkplug": node, "jt808": terminal, "hj212": outlet}


def killed(case: Case, name: str, url: str, kills: int) -> Nursery:
    """The nursery after so many kills and a drain."""
    with Nursery(case.folder / f"state-{name}", url, case.sabotage) as nursery:
        nursery.kill(kills, case.rng(2))
        nursery.drain()
    return nursery


async def terminals(case: Case, kills: int) -> Outboxes:
    """JT/T 808 has no keys: an alarm has a number, and what is no news comes as 0x0704."""
    platform = Jt808Platform()
    await platform.start()
    nursery = await asyncio.to_thread(killed, case, "jt808", f"tcp://127.0.0.1:{platform.port}", kills)
    await platform.stop()
    accepted = set(nursery.accepted)
    told = {item.alarm for _, item in platform.alarms()}
    return Outboxes(kills, accepted, len({number_of(id) for id in accepted} - told), 0, platform.twice)


async def outlets(case: Case, kills: int) -> Outboxes:
    """HJ 212 has no keys: an alarm has a value and a time, telemetry is told as means of minutes."""
    platform = Hj212Platform()
    await platform.start()
    nursery = await asyncio.to_thread(killed, case, "hj212", f"hj212+tcp://127.0.0.1:{platform.port}", kills)
    await platform.stop()
    found = Outlet(platform, nursery, case.folder / "state-hj212")
    for text in platform.wrong[:3]:
        case.note(f"not as HJ 212 has it: {text}")
    holes = len(found.minutes - found.told) + len(platform.wrong)
    return Outboxes(kills, set(nursery.accepted), len(found.lost), holes, found.unmarked)


def settled(ear: Subscriber) -> list[Heard]:
    """Everything, once nothing new has come for half a second: the broker had it all when the drain ended."""
    n = -1
    while n != len(ear.messages):
        n = len(ear.messages)
        time.sleep(0.5)
    return list(ear.messages)


TRIAL = Trial(
    id="T1",
    title="SIGKILL at any moment",
    run=run,
    sabotage="acknowledge-before-commit",
    red=tuple(f"alarms lost, {name}" for name in ("mqtt", "sparkplug", "jt808", "hj212")),
    every=True,
)
