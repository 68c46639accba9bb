"""T7: links that are dead without a word, narrow, lossy, that swallow a confirmation, that come and go.

The whole agent with three uplinks in three languages, in a network namespace of its own; broker, ears and a JT/T 808
platform in another. HJ 212 and the files of a mine have a scene of their own beside it: a second agent, and a cable for
themselves. What the kernel shows of an agent's connections says when it gave them up; the ledger of readings and the
hazard's turns say what was lost.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulators.jt808 import Jt808Platform
from tests.rigs.depot import Depot
from tests.rigs.namespace import ASIDE, FAR, Link, connections
from tests.rigs.others import PASSWORD, Count, FarBureau, FarPlatform, bound, bureau, mine, unfiled, untold, uplinks
from tests.rigs.proxy import Proxy, mqtt, swallow
from tests.rigs.pulse import Pulse, patient, quantile
from tests.rigs.stage import Streams, owing, running, stage, until, verdict
from tests.rigs.trial import Case, Trial
from tests.tools.mosquitto import PATIENT, Mosquitto
from tests.tools.subscriber import Heard, Subscriber

PORT = 1883
CHANNELS, PERIOD = 50, 0.2
LONG = 15.0  # s for an answer in HJ 212, longer than the kernel takes to find that a link is dead
SILENT = 18.0  # s until a dead SFTP connection is seen: where it waits for a reply, it asks after 10 s
HOPELESS = 19.0  # s after which nobody waits any more for a dead link to be given up
TICKS = os.sysconf("SC_CLK_TCK")


class FarBroker(Mosquitto):
    """A broker on the far side of a link; the loopback there is for ears."""

    def __init__(self, folder: Path, link: Link) -> None:
        super().__init__(folder, more=f"{PATIENT}\nlistener {PORT} {FAR}")
        self.link = link

    def start(self) -> Mosquitto:
        return self.link.far(super().start)


def spoken(messages: Sequence[Heard], since: float) -> float | None:
    """When the agent itself was first heard after `since`; its will does not count."""
    for message in messages:
        if message.mono > since and message.payload and not message.retained and b'"offline"' not in message.payload:
            return message.mono
    return None


async def back(ear: Subscriber, healed: float) -> float:
    """s from the healing to the first word of the agent; infinity after 30."""
    try:
        await until(lambda: spoken(ear.messages[-200:], healed), 30, "the agent is back")
    except AssertionError:
        return float("inf")
    return (spoken(ear.messages[-200:], healed) or 0.0) - healed


def cpu(pid: int) -> float:
    """s of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def given_up(dropped: float, *ports: int) -> float:
    """s from the drop until the agent has none of its connections to these ports any more; `HOPELESS` at most."""

    def standing() -> set[str]:
        return set().union(*map(connections, ports))

    before = standing()
    while before & standing() and time.monotonic() - dropped < HOPELESS:
        await asyncio.sleep(0.1)  # each look costs two milliseconds
    return time.monotonic() - dropped


class Tally:
    """What the parts have found."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.back: list[float] = []
        self.narrow: list[float] = []  # s from turn to platform at 64 kbit/s
        self.cpu = 0.0  # % of one core
        self.readings = self.alarms = self.unmarked = self.holes = 0
        self.others = Count()
        self.seen_by: dict[str, list[float]] = {"hj212": [], "minefiles": []}

    async def settle(self, ear: Subscriber, pulse: Pulse, device: Any, path: Path) -> None:
        """Wait until the agent owes nothing, and count."""
        await until(lambda: owing(path) <= 1, 60, "all is delivered")  # a batch may always be on its way
        await until(lambda: not pulse.lost(ear.messages), 10, "all alarms")
        end = time.monotonic() + 15
        while True:
            lost, _, _ = verdict(ear.messages, device)
            streams = Streams(ear.messages)
            if not (lost or streams.holes()) or time.monotonic() > end:
                break
            await asyncio.sleep(0.3)  # what it owed last may be an old one
        self.readings += lost
        self.unmarked += streams.unmarked
        self.holes += len(streams.holes())
        self.alarms += pulse.lost(ear.messages)


async def on_a_cable(case: Case, link: Link, tally: Tally) -> None:
    """Half-open, narrow, lossy: what the kernel can do."""
    pulse, rng = Pulse(), case.rng()
    broker = FarBroker(case.folder / "far", link)
    url = f"mqtt://{FAR}:{PORT}"
    listener = link.far(lambda: bound(FAR))
    platform = FarPlatform()
    await platform.listen(listener)
    second = uplinks(url, f"tcp://{FAR}:{platform.port}")  # on the same line

    async with stage(case.folder, CHANNELS, PERIOD, pulse.levels, broker, mqtt=url, uplink=second) as (
        device,
        _,
        _,
        path,
    ):
        ear = link.far(lambda: Subscriber(broker.port, "vedette/#"))
        host = link.far(lambda: Subscriber(broker.port, "spBv1.0/#"))
        async with running(patient(path), case.sabotage):
            await until(lambda: ear.on("telemetry/plant"), 60, "first telemetry")
            for _ in range(case.n(1, 3)):
                await pulse.beat(0.5, 0.5, rng)
                await until(lambda: len(connections(PORT) | connections(platform.port)) == 3, 15, "all uplinks")
                link.drop(0)
                dropped = time.monotonic()
                pulse.turn()
                tally.seen.append(await given_up(dropped, PORT, platform.port))
                pulse.turn()
                await asyncio.sleep(0.7 + case.n(1, 3) * rng.random() * (not case.sabotage))
                if not case.sabotage:
                    link.narrow(64, 0)  # it comes back as a narrow one, with a backlog to carry
                link.loss(0, 0)
                tally.back.append(await back(ear, time.monotonic()))
            if not case.sabotage:
                first = len(pulse.turns)
                await pulse.beat(case.n(5, 30), 0.6, rng)
                await until(lambda: not pulse.lost(ear.messages), 20, "all alarms at 64 kbit/s")
                tally.narrow = pulse.late(ear.messages)[first:]
                link.heal(0)
                link.loss(30, 0)
                await pulse.beat(case.n(2, 30), 0.6, rng)
                link.heal(0)
                tally.back.append(await back(ear, time.monotonic()))
            await tally.settle(ear, pulse, device, path)
            await tally.others.settle(len(pulse.turns), host.messages, platform)
        ear.close()
        host.close()
    await platform.stop()


async def through_a_proxy(case: Case, tally: Tally) -> None:
    """Confirmations that get lost, and a link that comes and goes: what only a proxy can do."""
    pulse, rng = Pulse(), case.rng(2)
    broker = Mosquitto(case.folder / "near", more=PATIENT)
    proxy = Proxy(("127.0.0.1", broker.port), down=[mqtt(swallow(6))])
    platform = Jt808Platform()
    await platform.start()
    others = [Proxy(("127.0.0.1", broker.port)), Proxy(("127.0.0.1", platform.port))]
    for one in (proxy, *others):
        await one.start()
    deadline = f"puback_deadline = {case.n(1, 10)}\n"
    deadline += uplinks(*(f"{kind}://127.0.0.1:{one.port}" for kind, one in zip(("mqtt", "tcp"), others, strict=True)))
    folder = case.folder / "flapping"
    folder.mkdir()
    async with stage(
        folder, CHANNELS, PERIOD, pulse.levels, broker, mqtt=f"mqtt://127.0.0.1:{proxy.port}", uplink=deadline
    ) as (device, _, _, path):
        with Subscriber(broker.port, "vedette/#") as ear, Subscriber(broker.port, "spBv1.0/#") as host:
            async with running(patient(path), case.sabotage) as agent:
                await until(lambda: ear.on("telemetry/plant"), 60, "first telemetry")
                begun, used = time.monotonic(), cpu(agent.pid)
                beating = asyncio.create_task(pulse.beat(case.n(3, 30), 0.6, rng))
                await until(lambda: proxy.accepted >= 2, 60, "the lost confirmation is missed")
                await beating
                proxy.down.clear()
                proxy.reset()
                up, down = (1.0, 0.5) if case.size == "quick" else (5.0, 2.0)
                beating = asyncio.create_task(pulse.beat(case.n(4, 170), 0.6, rng))
                for _ in range(case.n(2, 25)):
                    for one in (proxy, *others):
                        await one.cut()
                    await asyncio.sleep(down)
                    for one in (proxy, *others):
                        await one.heal()
                    tally.back.append(await back(ear, time.monotonic()))
                    await asyncio.sleep(max(0.0, up - tally.back[-1]))
                await beating
                tally.cpu = 100 * (cpu(agent.pid) - used) / (time.monotonic() - begun)
                await tally.settle(ear, pulse, device, path)
                await tally.others.settle(len(pulse.turns), host.messages, platform)
    for one in (proxy, *others):
        await one.stop()
    await platform.stop()


async def without_keys(case: Case, link: Link, tally: Tally) -> None:
    """HJ 212 and the files of a mine on the second cable: half-open, narrow, lossy, broken off. They are judged by
    count; the native language, on a line that is good, tells what there was to tell."""
    pulse, rng = Pulse(), case.rng(3)
    folder = case.folder / "aside"
    folder.mkdir()
    bureaus, depot = FarBureau(), Depot(folder / "depot")
    await bureaus.listen(link.far(lambda: bound(ASIDE)))
    await depot.start(link.far(lambda: bound(ASIDE)))
    more = bureau(f"tcp://{ASIDE}:{bureaus.port}", LONG) + mine(depot.url, depot.fingerprint)
    async with stage(folder, 1, PERIOD, pulse.levels, uplink=more, name="aside") as (_, _, broker, path):
        with Subscriber(broker.port, "vedette/+/+/alarm/#") as ear:
            async with running(patient(path), case.sabotage, PASSWORD):
                mended = 0.0
                for _ in range(case.n(1, 3)):
                    await until(
                        lambda mended=mended: depot.filed > mended and connections(bureaus.port), 60, "both uplinks"
                    )
                    await pulse.beat(0.5, 0.5, rng)
                    link.drop(1)
                    dropped = time.monotonic()
                    pulse.turn()
                    seen = await asyncio.gather(*(given_up(dropped, port) for port in (bureaus.port, depot.port)))
                    for times, after in zip(tally.seen_by.values(), seen, strict=True):
                        times.append(after)
                    pulse.turn()
                    link.narrow(64, 1)  # it comes back as a narrow one
                    link.loss(0, 1)
                    if case.sabotage:
                        break
                    await pulse.beat(case.n(3, 20), 0.6, rng)
                    link.heal(1)
                    link.loss(30, 1)
                    await pulse.beat(case.n(2, 15), 0.6, rng)
                    link.heal(1)
                    bureaus.drop()
                    depot.drop()
                    mended = time.monotonic()
                    await pulse.beat(case.n(1, 5), 0.6, rng)
                await count_without_keys(ear, bureaus, depot, tally, 0.0 if case.sabotage else 40.0)
    await bureaus.stop()
    await depot.stop()


async def count_without_keys(ear: Subscriber, bureaus: FarBureau, depot: Depot, tally: Tally, seconds: float) -> None:
    """Wait a while until nothing is missing, and count: an edge is known by its time, and whether it begins or ends."""
    end = time.monotonic() + seconds
    while True:
        rows, partly = depot.rows()
        missing, strange = unfiled(ear.messages, rows)
        lost = {"hj212": untold(ear.messages, bureaus), "minefiles": missing}
        unmarked = {"hj212": len(bureaus.wrong), "minefiles": strange + len(partly)}
        if not any((*lost.values(), *unmarked.values())) or time.monotonic() > end:
            break
        await asyncio.sleep(0.5)
    tally.others.lost |= lost
    tally.others.unmarked |= unmarked


def run(case: Case) -> None:
    tally = Tally()

    async def all_of_them(link: Link) -> None:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(on_a_cable(case, link, tally))
            parts.create_task(without_keys(case, link, tally))
            if not case.sabotage:
                parts.create_task(through_a_proxy(case, tally))

    with Link(cables=2) as link:
        asyncio.run(all_of_them(link))
    case.at_most("dead link seen", max(tally.seen), 8.0, "s")
    for (name, seen), limit in zip(tally.seen_by.items(), (8.0, SILENT), strict=True):
        case.at_most(f"dead link seen, {name}", max(seen), limit, "s")
    case.at_most("back after heal", max(tally.back), 3.0, "s")
    case.exactly("readings lost", tally.readings, 0)
    case.exactly("alarms lost", tally.alarms, 0)
    case.exactly("holes", tally.holes, 0)
    case.exactly("unmarked repetitions", tally.unmarked, 0)
    for name, lost in tally.others.lost.items():
        case.exactly(f"alarms lost, {name}", lost, 0)
        case.exactly(f"unmarked repetitions, {name}", tally.others.unmarked[name], 0)
    if not case.sabotage:
        case.at_most("alarm p95 at 64 kbit/s", quantile(tally.narrow, 0.95), 3.0, "s")
        case.at_most("processor", tally.cpu, 10.0, "%")
        case.figure("links lost and healed", len(tally.back))


TRIAL = Trial(
    "T7",
    "bad links",
    run,
    "user-timeout-off",
    red=("dead link seen", "dead link seen, hj212", "dead link seen, minefiles"),
    every=True,
)
