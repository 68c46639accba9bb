"""T4: somebody else's file fills the disk to the last byte, and goes on eating whatever is set free.

The whole agent keeps its state on a small ext4 of its own. One platform hears it all the time, an archive is away: so
all alarms and all telemetry are owed, and history must be dropped while alarms must not. While the disk is full the
agent is killed, and starts on the full disk. Then the stranger's file goes, the archive comes, and what it got is
compared with what the platform has, what the plant served and what was told to be dropped.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from simulators.modbus import Device
from tests.rigs.disk import Disk
from tests.rigs.proxy import Proxy
from tests.rigs.stage import owing, running, stage
from tests.rigs.t03_io import copied, newest, worst
from tests.rigs.trial import Case, Trial
from tests.tools.mosquitto import PATIENT, Mosquitto
from tests.tools.subscriber import Heard, Subscriber

MB = 24  # of the disk
CHANNELS, PERIOD, HAZARDS = 100, 0.1, 4
STORE = "alarms_mb = 2\nhistory_mb = 6\njournal_mb = 2"
ARCHIVE = '[[uplink]]\nname = "archive"\nprefix = "archive"\nurl = "mqtt://127.0.0.1:{port}"\n'
LIVE, ARCHIVED = "vedette/", "archive/"
WINDOW = 8  # batches in flight at most: the default of the uplink
LATE, RECOVERED = 1.0, 10.0  # s
LAST = 2.5  # s of readings that a kill may cost: the batch that is gathered, and the transaction of that second


class Stranger:
    """Somebody else's file, which takes every byte that there is until it is removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._task: asyncio.Task[None] | None = None

    def fill(self) -> None:
        self._task = asyncio.create_task(self._eat())

    async def _eat(self) -> None:
        with self.path.open("wb", buffering=0) as file:
            while True:
                for size in (1 << 16, 1024, 1):
                    try:
                        while file.write(bytes(size)) == size:
                            pass
                    except OSError:
                        pass
                await asyncio.sleep(0.05)

    async def remove(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self.path.unlink()
            self._task = None


class Story:
    """Hazards that come and go, and how long the platform took to hear of each edge."""

    def __init__(self, device: Device, levels: list[float], ear: Subscriber) -> None:
        self.device, self.levels, self.ear = device, levels, ear
        self.took: list[float] = []  # s, inf where never
        self.edges: list[tuple[str, int]] = []  # id, edge

    async def edge(self) -> str:
        """The next edge: each hazard in turn comes, then each in turn goes. Returns the channel."""
        n = len(self.took)
        i, up = n % HAZARDS, n // HAZARDS % 2 == 0
        event, channel, since = "raised" if up else "cleared", f"plant/c{i}", time.monotonic()
        self.levels[i] = self.device.values[f"c{i}"] = 1.5 if up else 0.5
        while time.monotonic() - since < 5:
            for m in bodies(self.ear.messages, LIVE, "/alarm/", since):
                if m["event"] == event and m["channel"] == channel:
                    self.took.append(time.monotonic() - since)
                    self.edges.append((m["id"], m["edge"]))
                    return channel
            await asyncio.sleep(0.005)
        self.took.append(float("inf"))
        return channel

    async def tell(self, n: int, seconds: float) -> None:
        """`n` edges, evenly over so many seconds."""
        began = time.monotonic()
        for k in range(n):
            await asyncio.sleep(began + seconds * k / n - time.monotonic())
            await self.edge()
        await asyncio.sleep(began + seconds - time.monotonic())


def bodies(messages: list[Heard], prefix: str, part: str, since: float = 0.0) -> Iterator[dict[str, Any]]:
    """Bodies of what was heard since then on such topics, newest first."""
    for m in reversed(messages):
        if m.mono < since:
            return
        if m.topic.startswith(prefix) and part in m.topic and m.payload:
            yield m.body


def batches(messages: list[Heard], prefix: str) -> dict[tuple[str, int], set[int]]:
    """(boot, seq) of each batch of the plant -> the plant's numbers of the readings in it."""
    found: dict[tuple[str, int], set[int]] = {}
    for part in ("/telemetry/plant", "/backfill/plant"):
        for body in bodies(messages, prefix, part):
            found[body["boot"], body["seq"]] = {int(row[-1]) for row in body["value"] if row[-1] is not None}
    return found


@asynccontextmanager
async def staged(case: Case, disk: Disk, levels: list[float]) -> AsyncIterator[tuple[Device, Path, Subscriber, Proxy]]:
    """Plant, broker and ear on the big disk, the agent's state on the small one; the archive cannot be reached."""
    folder = case.folder / "stage"
    folder.mkdir()
    (disk.home / "state").mkdir()
    (folder / "state").symlink_to(disk.home / "state")
    broker = Mosquitto(folder / "broker", more=PATIENT)
    proxy = Proxy(("127.0.0.1", broker.port))
    await proxy.start()
    await proxy.cut()
    more = {"store": STORE, "uplink": ARCHIVE.format(port=proxy.port)}
    try:
        async with stage(folder, CHANNELS, PERIOD, lambda: levels, broker, **more) as (device, _, _, path):
            with Subscriber(broker.port, "#") as ear:
                yield device, path, ear, proxy
    finally:
        await proxy.cut()


def online(ear: Subscriber, since: float) -> bool:
    return any(body["state"] == "online" for body in bodies(ear.messages, LIVE, "/state", since))


async def within(seconds: float, true: Callable[[], Any]) -> float:
    """Seconds until it was true, inf where it did not become so."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            return float("inf")
        await asyncio.sleep(0.05)
    return time.monotonic() - began


class Seen(NamedTuple):
    """What the trial saw besides what the ear heard."""

    stored: set[tuple[str, int]]  # id and edge of the alarms in the file while the disk was full
    killed: float  # monotonic s
    back: float  # monotonic s at which the next start was heard
    free: int  # bytes, when the disk had been full for all the time
    recovery: float  # s
    exits: int


async def trial(case: Case, disk: Disk) -> None:
    seconds, count = case.n(7, 60), case.n(20, 100)
    levels = [0.5] * HAZARDS
    async with staged(case, disk, levels) as (device, path, ear, proxy):
        story, stranger = Story(device, levels, ear), Stranger(disk.home / "stranger")
        home = path.parent
        try:
            async with running(path, case.sabotage) as agent:
                await within(15, lambda: len(batches(ear.messages, LIVE)) >= 4)
                stranger.fill()
                await within(5, lambda: disk.free() == 0)
                await story.tell(count, seconds)
                free = disk.free()
                rows = copied(home / "state" / "alarms.db", "SELECT body FROM item WHERE lane = 'alarm'")
                exits = int(agent.returncode is not None)
                killed = time.monotonic()
                agent.kill()
                await agent.wait()
            async with running(path, case.sabotage) as agent:
                await within(15, lambda: online(ear, killed))
                back = time.monotonic()
                await story.tell(2 * HAZARDS, 2.0)  # everything comes and goes once more, on the full disk
                await stranger.remove()
                recovery = await recovered(story, home, killed)
                await proxy.heal()
                last = max(device.served)
                await within(10, lambda: any(last in new for new in batches(ear.messages, ARCHIVED).values()))
                await within(20, lambda: owing(path) < 5)
                await within(7, lambda: counted(ear.messages) > 0)  # the agent reports on itself every 5 s
                exits += agent.returncode is not None
        finally:
            await stranger.remove()
    bodies_ = [json.loads(body) for (body,) in rows]
    stored = {(body["id"], body["edge"]) for body in bodies_}
    verdict(case, device, ear.messages, story, Seen(stored, killed, back, free, recovery, exits), count)


async def recovered(story: Story, home: Path, since: float) -> float:
    """Seconds from now until what comes is on the disk, the ballast too, and the platform knows that all is well."""
    began, last = time.monotonic(), newest(home)
    channel = await story.edge()

    def well() -> bool:
        trouble: dict[str, str] = {}
        for event in reversed(list(bodies(story.ear.messages, LIVE, "/event", since))):
            if event["source"] == "store" and event["kind"] in ("store-full", "store-down", "store-recovered"):
                trouble[event["facts"]["file"]] = event["kind"]
        whole = (home / "state" / "ballast").exists() and (home / "state" / "ballast").stat().st_size > 5 << 20
        return whole and set(trouble.values()) <= {"store-recovered"}

    def written() -> bool:
        found = copied(home / "state" / "alarms.db", "SELECT channel FROM open")
        return (channel,) in found and newest(home) > last

    await within(RECOVERED + 2, lambda: well() and written())
    return time.monotonic() - began if well() and written() else float("inf")


def verdict(case: Case, device: Device, heard: list[Heard], story: Story, seen: Seen, count: int) -> None:
    """The plant's ledger, the platform and the archive, compared."""
    live, archive = batches(heard, LIVE), batches(heard, ARCHIVED)
    told: set[tuple[str, int]] = set()
    number = off = 0
    for event in bodies(heard, LIVE, "/event"):
        facts = event["facts"]
        if event["kind"] == "gap" and facts["uplink"] == "archive" and facts.get("stream") == "telemetry/plant":
            told |= {(facts["boot"], seq) for seq in range(facts["from"], facts["to"] + 1)}
            number += facts["count"]
            off += abs(facts["count"] - (facts["to"] - facts["from"] + 1))
    first = min(min(new) for new in live.values() if new)
    got = set().union(*archive.values())
    lost = {n for n in device.served if first <= n <= max(got, default=first)} - got
    dropped = set().union(*(live.get(key, set()) for key in told))
    excused = {n for n in lost if seen.killed - LAST <= device.served[n] <= seen.back}
    survivors = [n for n in got if device.served[n] < seen.killed]
    case.figure("edges of alarms", len(story.took))
    case.at_most("register to broker, worst", worst(story.took), LATE, "s")
    first_edges = story.edges[:count]
    case.exactly("alarms not stored", count - len(seen.stored & set(first_edges)), 0)
    case.exactly("alarms that the archive did not get", len(set(story.edges) - edges(heard)), 0)
    case.at_least("batches dropped", len(told), 1)
    case.exactly("readings lost and not told", len(lost - dropped - excused), 0)
    missing = {key for key in live if key not in archive and not live[key] <= excused}
    known = told & live.keys()  # what the kill kept from the one that was up can be told, and not be checked
    case.exactly("drop count off by", len(missing - known) + off, 0)
    # What was on its way when the archive went away may have arrived, and was never confirmed.
    case.at_most("drops told of what had arrived unconfirmed", len(known - missing), WINDOW)
    case.at_most("drops told that nobody can check", len(told - known), 2)
    case.at_least("drop counter that the platform has", counted(heard), 1)
    case.exactly("dropped before older ones", sum(n > min(survivors, default=n) for n in dropped), 0)
    case.at_most("recovery", min(999.0, seen.recovery), RECOVERED, "s")
    case.exactly("exits", seen.exits, 0)
    case.figure("bytes free while it was full", seen.free)
    case.figure("batches told once more after the kill", number - len(told))
    case.figure("readings that the kill cost", len(excused - dropped))


def counted(heard: list[Heard]) -> float:
    """The most that the agent's own counter of drops said, as telemetry."""
    sent = bodies(heard, LIVE, "/telemetry/agent")
    return max((row[body["key"].index("dropped")] or 0.0 for body in sent for row in body["value"]), default=0.0)


def edges(heard: list[Heard]) -> set[tuple[str, int]]:
    """Id and edge of what the archive got."""
    return {(body["id"], body["edge"]) for body in bodies(heard, ARCHIVED, "/alarm/")}


def run(case: Case) -> None:
    with Disk(case.folder, mb=MB) as disk:
        asyncio.run(trial(case, disk))


TRIAL = Trial(
    "T4",
    "disk filled by a foreign file",
    run,
    "quota-off",
    ("readings lost and not told", "alarms not stored", "recovery"),
)
