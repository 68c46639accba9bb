"""T3: a disk that fails: the n-th sync or write, once and for ever; hangs of three seconds; read-only.

The whole agent with a preloaded shim, a plant and a broker. For small n (and some of all writes) an agent is started
with the fault waiting for it: that meets it while it makes its files. For the rest one agent meets fault after fault,
each a few calls after it was armed. Hazards come and go all the while. What is on the disk is read from copies of the
files; lag is seen by the plant, which is polled late, and by who asks the control socket.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from agent.control import ask
from agent.core.errors import LineLost
from simulators.modbus import Device, TcpLine
from tests.rigs.shim import Faults, Kind, Mode, Shim
from tests.rigs.stage import running, site, stage
from tests.rigs.trial import Case, Trial
from tests.tools.mosquitto import Mosquitto
from tests.tools.subscriber import Heard, Subscriber

PERIOD = 0.1  # s between polls
LATE = 1.0  # s from the plant's register to the broker
TOLD, DURABLE = 5.0, 10.0  # s: the fault is told; what is open is on the disk again
STALL, LAG = 3.0, 0.2  # s
HURRIED = "batch = 0.1\nretry = 0.3\nalarms_mb = 0.5\nhistory_mb = 1\nballast_mb = 0.25"  # for the sweep
LANES = 6  # agents side by side in the sweep


class Fault(NamedTuple):
    """One thing that happens to a disk."""

    mode: Mode
    kinds: tuple[Kind, ...]
    nth: int = 1
    ever: bool = False


class Tally:
    """What is counted over all lanes."""

    def __init__(self) -> None:
        self.faults = 0
        self.exits = 0
        self.unhit = 0  # faults that nothing ran into
        self.lost = 0  # open alarms that a start did not know
        self.live: list[float] = []  # s from register to broker, inf where never
        self.told: list[float] = []  # s from the first failed call to the platform
        self.durable: list[float] = []  # s from the heal until what was raised is in the files
        self.silent: list[str] = []  # files of single faults that cost nothing, and that nobody was told of
        self.lag: list[float] = []


class Lane:
    """One plant, one broker, one ear, one agent at a time."""

    def __init__(self, case: Case, shim: Shim, tally: Tally, folder: Path) -> None:
        self.case, self.shim, self.tally, self.folder = case, shim, tally, folder
        self.levels = [0.5, 0.5]  # hazards A and B
        self.device: Device
        self.line: TcpLine
        self.broker: Mosquitto
        self.ear: Subscriber
        self.agent: asyncio.subprocess.Process
        self.faults: Faults
        self.name, self.path = "", folder
        self._n = 0

    @asynccontextmanager
    async def staged(self, period: float = PERIOD) -> AsyncIterator[Lane]:
        self.period = period
        self.folder.mkdir()
        async with stage(self.folder, 3, period, lambda: self.levels) as (self.device, self.line, self.broker, _):
            with Subscriber(self.broker.port, "vedette/#") as self.ear:
                yield self

    @asynccontextmanager
    async def life(self, store: str, fault: Fault | None = None) -> AsyncIterator[None]:
        """A new state and an agent on it; `fault` waits for its first calls."""
        self._n += 1
        self.name = f"life{self._n}"
        home = self.folder / self.name
        home.mkdir()
        self.path = site(home, self.device, self.line.url, self.broker.url, self.period, 2, store=store, name=self.name)
        self.faults = Faults(home / "faults", home / "state")
        self.levels[:] = [0.5, 0.5]
        if fault is not None:
            self.faults.arm(fault.mode, *fault.kinds, nth=fault.nth, ever=fault.ever)
        async with self.born():
            yield
        shutil.rmtree(home, ignore_errors=True)

    @asynccontextmanager
    async def born(self) -> AsyncIterator[None]:
        """An agent on the state as it is; returns when the platform knows it."""
        since = time.monotonic()
        async with running(self.path, self.case.sabotage, env=self.shim.env(self.faults)) as agent:
            self.agent = agent
            await self.within(10, lambda: self.births(since))
            yield
            self.tally.exits += agent.returncode not in (None, -signal.SIGKILL)

    def births(self, since: float) -> list[dict[str, Any]]:
        """What the platform heard of starts since then."""
        states = [m.body for m in self.news(since) if m.topic.endswith("/state")]
        return [state for state in states if state["state"] == "online"]

    def news(self, since: float) -> Iterator[Heard]:
        """What the platform heard of this agent since then, newest first."""
        topic = f"vedette/{self.name}/"
        for message in reversed(self.ear.messages):
            if message.mono < since:
                return
            if message.topic.startswith(topic) and message.payload:
                yield message

    async def within(self, seconds: float, true: Callable[[], Any]) -> float:
        """Seconds until it was true, inf where it did not become so; an agent that is gone is not waited for."""
        began, pause = time.monotonic(), 0.005
        while not true():
            if time.monotonic() - began > seconds or self.agent.returncode is not None:
                return float("inf")
            await asyncio.sleep(pause)
            pause = min(0.05, 1.1 * pause)
        return time.monotonic() - began

    async def edge(self, i: int, up: bool) -> bool:
        """Hazard `i` comes or goes, and the platform hears of it."""
        event, channel, since = "raised" if up else "cleared", f"plant/c{i}", time.monotonic()
        self.levels[i] = self.device.values[f"c{i}"] = 1.5 if up else 0.5

        def arrived() -> bool:
            bodies = (m.body for m in self.news(since) if "/alarm/" in m.topic)
            return any(b["event"] == event and b["channel"] == channel for b in bodies)

        took = await self.within(5, arrived)
        self.tally.live.append(took)
        return took < float("inf")

    def complaint(self, since: float) -> float:
        """When the platform first heard after `since` that the storage is in trouble; inf where it did not."""
        first = float("inf")
        for m in self.news(since):
            body = m.body
            if body.get("kind", "").startswith("store-") or body.get("rule") == "agent.store":
                first = m.mono
        return first

    async def suffer(self, fault: Fault, since: float, seconds: float = 30.0) -> None:
        """The fault is armed since then: meet it, be told of it, live with it, be healed of it."""
        tally, up = self.tally, False
        tally.faults += 1
        end = time.monotonic() + seconds
        while not self.faults.met and time.monotonic() < end and self.agent.returncode is None:
            up = not up
            await self.edge(0, up)
        if not self.faults.met:
            tally.unhit += 1
        if up:
            await self.edge(0, False)
        await self.edge(0, True)
        patience = TOLD + 1 if fault.ever else 2.5
        took = await self.within(patience, lambda: self.complaint(since) < float("inf"))
        victim = self.faults.victim
        of_log = victim.endswith(("-wal", "-journal"))
        if took == float("inf") and not fault.ever and (not of_log or fault.kinds == ("sync",)):
            # SQLite does it once more, or later, or can do without. The sync of the log that its own checkpoint begins
            # with is of what a commit has synced; a commit whose sync failed is told.
            tally.silent.append(victim)
        else:
            tally.told.append(max(0.0, self.complaint(since) - self.faults.met))
            if took == float("inf"):
                self.case.note(f"not told: {fault} at {victim}")
        await self.recover()

    async def recover(self) -> None:
        """Healed: what is open and what is raised now must be in the files, and telemetry too."""
        self.faults.heal()
        healed, syncs = time.monotonic(), self.faults.count("sync")
        last = max((m.body["seq"] for m in self.news(healed - 5) if "/telemetry/plant" in m.topic), default=0)
        await self.edge(1, True)

        def written() -> bool:
            return self.faults.count("sync") > syncs and stored(self.path.parent) >= {"plant/c0", "plant/c1"}

        def kept() -> bool:
            return newest(self.path.parent) > last

        for true in (written, kept):
            await self.within(DURABLE + 2, true)
        self.tally.durable.append(time.monotonic() - healed if written() and kept() else float("inf"))

    async def calm(self) -> None:
        """Both hazards gone."""
        await self.edge(0, False)
        await self.edge(1, False)

    async def killed(self) -> None:
        """SIGKILL; a new start must know what is open."""
        if self.agent.returncode is not None:
            return
        self.agent.kill()
        await self.agent.wait()
        since = time.monotonic()
        async with self.born():
            open_ = {alarm["channel"] for birth in self.births(since) for alarm in birth["alarms"]}
            self.tally.lost += len({"plant/c0", "plant/c1"} - open_)


def copied(file: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of a copy of a file that somebody is writing; none where the copy caught it in the middle."""
    copy = file.parent.with_name(f"copy-of-{file.name}")
    try:
        for end in ("", "-wal"):
            shutil.copyfile(f"{file}{end}", f"{copy}{end}")
        db = sqlite3.connect(copy)
        try:
            return db.execute(query).fetchall()
        finally:
            db.close()
    except (sqlite3.Error, OSError):
        return []
    finally:
        for end in ("", "-wal", "-shm"):
            Path(f"{copy}{end}").unlink(missing_ok=True)


def stored(home: Path) -> set[str]:
    """Channels whose alarm is open according to the disk."""
    return {channel for (channel,) in copied(home / "state" / "alarms.db", "SELECT channel FROM open")}


def newest(home: Path) -> int:
    """Number of the newest batch of the plant's telemetry according to the disk."""
    query = "SELECT seq FROM batch JOIN layout ON layout = id WHERE source = 'plant' ORDER BY row DESC LIMIT 1"
    return int(next(iter(copied(home / "state" / "history.db", query)), (0,))[0])


# -- the parts of the trial ---------------------------------------------------------------------------


def sweep(case: Case) -> tuple[list[Fault], list[Fault]]:
    """Faults for agents that start with them, and faults for agents that run: all n of the row, each in one of both."""
    early: list[Fault] = []
    later: list[Fault] = []
    for n, kind, ever in product(range(1, 201), ("sync", "write"), (False, True)):
        if n <= 32 or (kind == "write" and n % 8 == 0):
            early.append(Fault("EIO", (kind,), n, ever))
        else:
            later.append(Fault("EIO", (kind,), 1 + n % 10, ever))
    rng = case.rng(3)
    early, later = rng.sample(early, len(early)), rng.sample(later, len(later))
    return early[: case.n(3, len(early))], later[: case.n(4, len(later))]


async def lives(lane: Lane, faults: Sequence[Fault]) -> None:
    """A new agent for each fault, which waits for it."""
    async with lane.staged():
        for fault in faults:
            since = time.monotonic()
            async with lane.life(HURRIED, fault):
                await lane.suffer(fault, since)


async def blows(lane: Lane, faults: Sequence[Fault]) -> None:
    """One agent for all faults, one after the other."""
    async with lane.staged(), lane.life(HURRIED):
        for fault in faults:
            since = time.monotonic()
            lane.faults.arm(fault.mode, *fault.kinds, nth=fault.nth, ever=fault.ever)
            if fault is not faults[0]:
                await lane.calm()
            await lane.suffer(fault, since)
        await lane.killed()


async def shipped(lane: Lane, fault: Fault) -> None:
    """With the settings as they ship: a fault while it runs, a kill, a start while the fault stands."""
    async with lane.staged():
        since = time.monotonic()
        async with lane.life(""):
            lane.faults.arm(fault.mode, *fault.kinds, nth=fault.nth, ever=fault.ever)
            await lane.suffer(fault, since)
            await lane.killed()


async def stalls(lane: Lane, times: int) -> None:
    """The disk hangs, all of it; the loop must not."""
    async with lane.staged(0.05), lane.life(""):
        await lane.edge(0, True)
        await lane.edge(0, False)
        for _ in range(times):
            await stall(lane)
            await lane.calm()


async def stall(lane: Lane) -> None:
    """One hang, watched from the plant and from the control socket."""
    lane.tally.faults += 1
    since = time.monotonic()
    lane.faults.arm("stall", "sync", "write", "change", ever=True, seconds=STALL)
    asking = asyncio.create_task(asyncio.to_thread(slowest, lane.path.parent / "state", since + STALL))
    await asyncio.sleep(0.2)
    await lane.edge(0, True)
    await lane.within(TOLD + 1, lambda: lane.complaint(since) < float("inf"))
    lane.tally.told.append(lane.complaint(since) - since)
    answered = await asking
    polls = [at for at in list(lane.device.served.values()) if since - 1 < at < since + STALL]
    gap = max((b - a for a, b in zip(polls, polls[1:], strict=False)), default=float("inf"))
    lane.tally.lag += [gap - lane.period, answered]
    await lane.recover()


def slowest(state: Path, until: float) -> float:
    """The longest time that the control socket took for an answer."""
    worst = 0.0
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            ask(state, {"verb": "status"})
        except LineLost:
            return float("inf")
        worst = max(worst, time.monotonic() - began)
        time.sleep(0.02)
    return worst


async def trial(case: Case) -> Tally:
    tally, shim = Tally(), Shim(case.folder)
    lanes = (Lane(case, shim, tally, case.folder / f"lane{n}") for n in range(1000))
    every: tuple[Kind, ...] = ("sync", "write", "change")
    await stalls(next(lanes), case.n(1, 5))  # alone: it measures lag
    if case.sabotage:  # what it breaks is seen there
        return tally
    early, later = sweep(case)
    wide = case.n(2, LANES)
    async with asyncio.TaskGroup() as group:
        group.create_task(shipped(next(lanes), Fault("EROFS", every, ever=True)))
        group.create_task(shipped(next(lanes), Fault("EIO", ("sync", "write"), ever=True)))
        for i in range(wide):
            group.create_task(lives(next(lanes), early[i::wide]))
            group.create_task(blows(next(lanes), later[i::wide]))
    return tally


def worst(seconds: Sequence[float]) -> float:
    """The longest; 999 for what never came."""
    return min(999.0, max(seconds))


def run(case: Case) -> None:
    tally = asyncio.run(trial(case))
    case.figure("faults", tally.faults)
    case.exactly("exits", tally.exits, 0)
    case.at_most("register to broker, worst", worst(tally.live), LATE, "s")
    case.at_most("fault told, worst", worst(tally.told), TOLD, "s")
    case.at_most("durable after the heal, worst", worst(tally.durable), DURABLE, "s")
    case.exactly("open alarms lost", tally.lost, 0)
    case.at_most("loop lag in a stall", worst(tally.lag), LAG, "s")
    case.exactly("faults that nothing met", tally.unhit, 0)
    case.note("n = 1 to 32, and each eighth write, from the start of an agent; the others while one runs")
    if tally.silent:
        files = ", ".join(sorted(set(tally.silent)))
        case.note(f"{len(tally.silent)} single faults that cost nothing were not told: {files}")


TRIAL = Trial(
    "T3",
    "I/O faults: n-th sync or write, stall, read-only",
    run,
    "store-on-the-loop",
    ("loop lag in a stall", "register to broker, worst"),
)
