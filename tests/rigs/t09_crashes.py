"""T9: throw in every task and callback of the running agent, hang each, stop it whatever hangs.

The agent runs under `systemd.Service`, which keeps its word as the real one does, and `injector` strikes by name. Two
lines are polled, a hazard comes and goes on one of them all the time, and what is measured is what the plants, the
platform and a person at the control socket saw. A name that `HEALS` does not know fails the trial: whoever adds a
task or a callback says here what heals it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import itertools
import json
import math
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent import daemon, supervise
from agent.control import ask
from agent.core.errors import LineLost
from simulators.modbus import Device, TcpLine
from tests.rigs.injector import strike
from tests.rigs.stage import plant, told, until
from tests.rigs.systemd import Service, setting
from tests.rigs.trial import Case, Trial
from tests.tools.mosquitto import PATIENT, Mosquitto
from tests.tools.subscriber import Heard, Subscriber

PERIOD = 0.5  # s between polls of each line
LEASE = {"line": daemon.LINE_LEASE, "uplink": daemon.LINK_LEASE, "control": daemon.CONTROL_LEASE}  # s
LEASE |= {"judge": daemon.JUDGE_LEASE, "tick": daemon.TICK_LEASE, "watch": setting("WatchdogSec")}
LEASE |= {
    "thread connect: <lambda>": daemon.CONNECT_LEASE,
    "outbox alarms": daemon.STORE_LEASE,
    "thread alarms: commit": daemon.STORE_LEASE,
}
NEVER = 999.0  # s
TOLD = 2 * daemon.CONNECT_LEASE  # s after which an alarm counts as lost: longer than any outage that is made here
STOPPED = 5.0  # s from SIGTERM to the end
GIVEN_UP = 8.0  # s after which a throw counts as not recovered

# Who heals what: the part that is started again, or the process. First match counts. A leaf: nobody else notices it.
HEALS = {
    # tasks
    "run()": "process",
    "judge": "process",
    "tick": "process",
    "store": "process",
    "journal": "process",
    "watch": "process",
    "stopping": "process",
    "keep *": "process",
    "outbox alarms": "process",
    "outbox history": "process",
    "journal write": "process",
    "bus *": "line",
    "uplink *": "uplink",
    "control": "control",
    "commands": "leaf",
    "record": "leaf",
    "serve.<locals>.speak()": "control",
    "BaseSelectorEventLoop._accept_connection2()": "passing",  # of asyncio: one connection to the control socket
    "Outbox._commit_alarms()": "process",
    "Outbox._write_history()": "process",
    "Event.wait()": "passing",  # of asyncio: within `wait_for`
    "Feed.read_ahead()": "passing",
    "Outbox.read_ahead()": "passing",
    "date": "passing",  # how old the backlog is; looked up again a minute later
    # callbacks
    "Session.*": "uplink",
    "Wire.*": "uplink",
    "_look": "uplink",  # of a connection's other end
    "protocol Wire.*": "uplink",
    "protocol TcpLink.*": "line",
    "TcpLink.*": "line",
    "thread connect: *": "uplink",
    "Outbox._flush": "process",
    "Hand.do.<locals>.settle": "process",
    "Agent.*": "process",
    "Event.set": "passing",  # of whoever set an alarm clock: the uplink, or the outbox
    "thread alarms: commit": "process",
    "thread history: commit": "process",
    "thread journal: *": "process",
    "thread record: *": "leaf",
    "thread *: booted": "passing",  # told by the first commit
    "thread *: load": "process",
    "thread *: read": "process",
    "thread *: close": "passing",
}

# What cannot be made to come by in a healthy run: at the start only, or of a line that died.
RARE = (
    "thread *: load",
    "thread *: booted",
    "thread *: close",
    "TcpLink.connection_made",
    "TcpLink.connection_lost",
    "Wire._give_up",
)
RARE += (
    "thread record: *",
    "TcpLink._expire",
    "Feed.*",
    "Outbox.read_ahead()",
    "date",
    "thread history: read",
    "Event.wait()",
    "Agent.*",
)

# What comes by only after something else failed.
BECKON = {
    "thread connect: *": "uplink platform",
    "protocol Wire._on_*": "uplink platform",
    "protocol TcpLink.connection_made": "bus net",
    "protocol TcpLink.connection_lost": "bus net",
}

SITE = """
[site]
name = "rig"
[store]
path = "state"
batch = 0.7
[[bus]]
name = "net"
url = "{net}"
timeout = 0.3
[[bus.device]]
name = "plant"
period = {period}
points = "points.csv"
[[bus]]
name = "side"
url = "{side}"
timeout = 0.3
[[bus.device]]
name = "other"
period = {period}
points = "points.csv"
[[rule]]
name = "gas"
kind = "high"
channel = {hazards}
limit = 1.0
level = "red"
[[uplink]]
name = "platform"
url = "{mqtt}"
"""


def heals(name: str) -> str:
    """Who heals what happens to `name`; "" for a name that the trial does not know."""
    return next((who for pattern, who in HEALS.items() if fnmatch.fnmatchcase(name, pattern)), "")


def is_rare(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in RARE)


class World:
    """Two plants, a broker, an ear, the agent under systemd, and who strikes it."""

    def __init__(self, folder: Path, devices: Sequence[Device], ear: Subscriber, service: Service) -> None:
        self.folder, self.devices, self.ear, self.service = folder, devices, ear, service
        self.lost = self.hazards = 0  # hazards that were not told; that there were
        self._over = asyncio.Event()

    async def strike(self, verb: str, name: str = "") -> float:
        """What the injector answers: when it hit. NaN if the victim did not come by."""
        await until(lambda: self.service.life.ready, 20, "ready")
        answer = await asyncio.to_thread(strike, self.folder / "inject", verb, name)
        return float(answer.get("at", math.nan))

    async def seen(self) -> list[str]:
        return list((await asyncio.to_thread(strike, self.folder / "inject", "seen"))["seen"])

    # -- what was seen from outside -----------------------------------------------------------------

    def polls(self, i: int) -> list[float]:
        """When line `i` was polled, monotonic s."""
        return list(self.devices[i].served.values())

    def arrivals(self, i: int, since: float) -> list[float]:
        """When what line `i` served after `since` arrived at the platform."""
        name, served = self.devices[i].name, self.devices[i].served
        column = len([r for r in self.devices[i].layout if r.table == "holding"]) - 1
        found = [m for m in self.ear.messages if m.mono > since and m.payload and m.topic.endswith(f"/{name}")]
        return [m.mono for m in found if any(served.get(int(row[column] or 0), 0.0) > since for row in m.body["value"])]

    def births(self, since: float) -> list[float]:
        heard = [m for m in self.ear.messages if m.mono > since and m.topic.endswith("/state") and m.payload]
        return [m.mono for m in heard if m.body["state"] == "online"]

    def events(self, since: float, kind: str) -> list[Heard]:
        return [m for m in self.ear.on("event") if m.mono > since and m.body["kind"] == kind]

    def answers(self) -> bool:
        """Whether a person at the control socket is answered."""
        try:
            return "waiting" in ask(self.folder / "state", {"verb": "status"}, 0.5)
        except LineLost:
            return False

    async def recovered(self, who: str, hit: float, patience: float, hung: bool = False) -> float:
        """s from `hit` until the part that heals it was started again and everything flows; NEVER where it did not."""
        proof: dict[str, Callable[[], Iterable[float]]] = {
            "process": lambda: [life.ready for life in self.service.lives if life.ready > hit],
            "uplink": lambda: self.births(hit),
            "line": lambda: [m.mono for m in self.events(hit, "line-recovered")],
            "control": lambda: [m.mono for m in self.events(hit, "hung" if hung else "crashed")],
            "leaf": lambda: [m.mono for m in self.events(hit, "hung" if hung else "crashed")],
        }
        since = hit
        while time.monotonic() < hit + patience:
            if hung and who == "line":  # the line stands still; the first poll after that
                proofs = [b for a, b in pairs(self.polls(0)) if b > hit and b - a > 2.0]
            else:
                proofs = sorted(proof.get(who, lambda: [hit])())
            if proofs:
                since = max(since, proofs[0]) if who in ("process", "uplink", "line") else hit
                firsts = [min((t for t in self.polls(i) if t > hit + 0.02), default=math.inf) for i in (0, 1)]
                firsts += [min(self.arrivals(i, max(hit, since - PERIOD)), default=math.inf) for i in (0, 1)]
                end = max(firsts + proofs[:1])
                if who == "control":
                    end = time.monotonic() if end < math.inf and await asyncio.to_thread(self.answers) else math.inf
                if end < math.inf:
                    return end - hit
            await asyncio.sleep(0.05)
        return NEVER

    def jitter(self, i: int, since: float, until_: float) -> float:
        """The worst deviation of the pace of line `i`, as part of the period."""
        times = [t for t in self.polls(i) if since <= t <= until_]
        return max((abs(b - a - PERIOD) / PERIOD for a, b in pairs(times)), default=0.0)

    # -- hazards ------------------------------------------------------------------------------------

    async def weather(self) -> None:
        """A hazard comes, and stays until the platform was told; goes, and stays away until it was told of that."""
        device = self.devices[1]
        while not self._over.is_set():
            for event, level in (("raised", 1.5), ("cleared", 0.5)):
                device.values["c0"] = level
                began = time.monotonic()
                while not any(m.mono > began and self._tells(m, event) for m in self.ear.messages[-400:]):
                    if time.monotonic() > began + TOLD:
                        self.lost += 1
                        break
                    await asyncio.sleep(0.05)
            self.hazards += 1

    @staticmethod
    def _tells(message: Heard, event: str) -> bool:
        if "/alarm/" not in message.topic or not message.topic.endswith("other/c0/gas"):
            return False
        return message.body["event"] == event if message.payload else event == "cleared"

    def over(self) -> None:
        self._over.set()


def pairs(times: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(times, times[1:], strict=False))


@contextlib.asynccontextmanager
async def world(folder: Path, case: Case, hazards: int = 1, mute: Mute | None = None) -> AsyncIterator[World]:
    """A world whose agent is ready and told its first readings."""
    folder.mkdir()
    devices = [plant(max(2, hazards)), plant(max(2, hazards))]
    devices[1].name = "other"
    lines = [TcpLine([device]) for device in devices]
    for device, line in zip(devices, lines, strict=True):
        device.values |= {key: 0.5 for key in device.values if key.startswith("c")}
        await line.start()
    rows = [f"{r.key},{r.table}:{r.address},{r.type},30" for r in devices[0].layout if r.table == "holding"]
    (folder / "points.csv").write_text("\n".join(["key,at,type,stale", *rows]))
    channels = json.dumps([f"other/c{i}" for i in range(hazards)])
    with Mosquitto(folder / "broker", more=PATIENT) as broker, Subscriber(broker.port, "vedette/#") as ear:
        url = await mute.start(broker.port) if mute else broker.url
        period = 0.2 if mute else PERIOD
        fields = {"net": lines[0].url, "side": lines[1].url, "mqtt": url, "period": period, "hazards": channels}
        path = folder / "site.toml"
        path.write_text(SITE.format(**fields))
        command = [sys.executable, "-m", "tests.rigs.injector", case.sabotage, "run", "-c", str(path)]
        async with Service(
            command, folder, {"VEDETTE_INJECT": str(folder / "inject")}, folder / "agent.log"
        ) as service:
            here = World(folder, devices, ear, service)
            await until(lambda: service.lives and service.life.ready, 30, "ready")
            began = time.monotonic()
            await until(lambda: all(here.arrivals(i, began) for i in (0, 1)), 15, "first readings")
            weather = asyncio.create_task(here.weather()) if not mute else None
            try:
                yield here
            finally:
                here.over()
                if weather is not None:
                    await weather
                if mute:
                    await mute.stop()
    for line in lines:
        await line.stop()


class Mute:
    """Between the agent and the broker: from `hush` on, nothing that the broker says comes through."""

    def __init__(self) -> None:
        self.hush = False
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self, port: int) -> str:
        self._port = port
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        return f"mqtt://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        await asyncio.gather(self._pass(reader, back, False), self._pass(there, writer, True))

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, broker: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if not (broker and self.hush):
                    target.write(data)
                    await target.drain()
        target.close()

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()


class Cue:
    """Who waits for whom: all worlds are there; the pace of the polls has been measured."""

    def __init__(self, worlds: int) -> None:
        self.missing = worlds
        self.all, self.calm = asyncio.Event(), asyncio.Event()

    async def wait(self) -> None:
        """Until all worlds are there."""
        self.missing -= 1
        if self.missing <= 0:
            self.all.set()
        await self.all.wait()


class Score:
    """What all episodes together showed."""

    def __init__(self) -> None:
        self.cue = Cue(1)
        self.throws: dict[str, float] = {}  # victim -> s to recover, of what a part heals
        self.deaths: dict[str, float] = {}  # the same, of what a new process heals
        self.hangs: dict[str, float] = {}  # victim -> s to recover beyond its lease
        self.standstills: dict[str, float] = {}  # the same, of what a new process heals
        self.stops: dict[str, float] = {}  # what hung -> s from SIGTERM to the end
        self.calm = 0.0  # jitter while nothing is struck, parts of the period
        self.jitter = 0.0  # of lines that were not struck, parts of the period
        self.unknown: set[str] = set()
        self.missed: set[str] = set()  # victims that did not come by
        self.lost = 0  # alarms
        self.hazards = 0
        self.alarm = NEVER  # s from the first failure of a flood to its alarm

    def leave(self, here: World) -> None:
        self.lost += here.lost
        self.hazards += here.hazards


async def struck(here: World, verb: str, name: str) -> float:
    """`World.strike` for a victim that may have to be beckoned: it comes by only when something begins anew."""
    beckon = next((who for pattern, who in BECKON.items() if fnmatch.fnmatchcase(name, pattern)), "")
    strike = asyncio.create_task(here.strike(verb, name))
    if beckon:
        await asyncio.sleep(0.3)
        await here.strike("throw", beckon)
    return await strike


async def throw(case: Case, here: World, score: Score, name: str) -> None:
    """Let `name` raise once, and see who heals it and how soon."""
    who = heals(name)
    (here.folder / "state" / "mishap").unlink(missing_ok=True)  # as if the last one was long ago
    hit = await struck(here, "throw", name)
    if hit != hit:
        score.missed.add(name)
        return
    took = await here.recovered(who, hit, GIVEN_UP / 2 if case.sabotage else GIVEN_UP)
    if who == "process":
        score.deaths[name] = took
        await asyncio.sleep(3 * PERIOD)  # a new process polls at once, and falls into step with the grid only then
        return
    score.throws[name] = took
    others = (0, 1) if who != "line" else (1,) if name == "bus net" else (0,) if name == "bus side" else ()
    await until(lambda: all(max(here.polls(i)) > hit + 2 * PERIOD for i in others), 5, "polls")
    for i in others:
        score.jitter = max(score.jitter, here.jitter(i, hit - PERIOD, hit + 3 * PERIOD))


def alternating(names: Sequence[str]) -> list[str]:
    """Parts and processes in turn: a new process has forgotten the pauses that grew with the failures of its parts."""
    parts = [name for name in names if heals(name) != "process"]
    processes = [name for name in names if heals(name) == "process"]
    return [name for pair in itertools.zip_longest(parts, processes) for name in pair if name is not None]


async def throws(case: Case, score: Score, folder: Path, victims: Sequence[str]) -> None:
    """One after the other; without `victims` everything that is there."""
    async with world(folder, case) as here:
        await score.cue.wait()
        began = time.monotonic()
        await asyncio.sleep(4 * PERIOD)
        score.calm = max(here.jitter(i, began, time.monotonic()) for i in (0, 1))
        seen = await here.seen()
        for name in victims or alternating([n for n in seen if not is_rare(n)]):
            if case.sabotage:
                name = "bus net"  # its leaf is not started again
            if name == SICK:
                hit = await here.strike("sick", SICK)
            else:
                await throw(case, here, score, name)
            if case.sabotage:
                break
        score.cue.calm.set()
        score.unknown |= {name for name in [*seen, *await here.seen()] if not heals(name)}
        if SICK in victims and not case.sabotage:
            await alarmed(here, score, hit)
    score.leave(here)


async def alarmed(here: World, score: Score, hit: float) -> None:
    """Until the platform was told that a part is degraded."""
    with contextlib.suppress(AssertionError):
        await until(lambda: _alarm(here.ear.messages, "raised"), 30, "agent.degraded")
        score.alarm = min(m.mono for m in here.ear.messages if _alarm([m], "raised")) - hit


async def flood(case: Case, score: Score, folder: Path) -> None:
    """A line that fails each time: degraded, an alarm at the platform; and over again when it runs."""
    async with world(folder, case) as here:
        await alarmed(here, score, await here.strike("sick", "bus net"))
        await here.strike("well", "bus net")
        await until(lambda: _alarm(here.ear.messages, "cleared"), supervise.HEALTHY + 20, "agent.degraded over")
    score.leave(here)


def _alarm(messages: Sequence[Heard], event: str) -> bool:
    return any(a["rule"] == "agent.degraded" and a["event"] == event for a in told(messages, "alarm/"))


async def hang(case: Case, score: Score, folder: Path, victims: Sequence[str]) -> None:
    """Let each wait for ever for nothing."""
    async with world(folder, case) as here:
        await score.cue.wait()
        for name in victims:
            who = heals(name)
            hit = await struck(here, "hang", name)
            lease = LEASE.get(name) or LEASE[who]
            took = await here.recovered(who, hit, lease + 12, hung=True) - lease
            (score.standstills if who == "process" else score.hangs)[name] = took
    score.leave(here)


Blow = tuple[str, str]  # verb, victim

STOPS: dict[str, tuple[Blow, ...]] = {
    "an uplink that swallows cancellations": (("deaf", "uplink platform"),),
    "a line that swallows cancellations, and a second SIGTERM": (("deaf", "bus net"),),
    "a disk that stalls for ever": (("hang", "thread alarms: commit"), ("hang", "thread history: commit")),
    "the loop itself": (("block", ""),),
}


async def stops(
    case: Case, score: Score, folder: Path, blows: Sequence[Blow], what: str, more: Sequence[float] = ()
) -> None:
    """SIGTERM while something hangs; then a start, and nothing is lost."""
    async with world(folder, case) as here:
        await score.cue.wait()
        await score.cue.calm.wait()
        for verb, name in blows:
            await here.strike(verb, name)
        score.stops[what] = await here.service.stop(*more)
        here.over()
        await here.service.again()
        await until(lambda: here.service.life.ready, 20, "ready again")
    score.leave(here)


async def unacknowledged(case: Case, score: Score, folder: Path, edges: int) -> None:
    """The broker takes everything and confirms nothing; then SIGTERM; then a start with a broker that confirms."""
    channels = 500
    mute = Mute()
    async with world(folder, case, channels, mute) as here:
        await score.cue.wait()
        await score.cue.calm.wait()
        mute.hush = True
        device, rounds = here.devices[1], edges // channels
        for i in range(rounds):
            device.values |= {f"c{k}": 1.5 - i % 2 for k in range(channels)}
            began = time.monotonic()
            await until(lambda: sum(t > began for t in here.polls(1)[-4:]) >= 2, 30, "a whole poll")  # noqa: B023
        await asyncio.sleep(0.5)
        waiting = await asyncio.to_thread(ask, here.folder / "state", {"verb": "status"})
        score.stops[f"{waiting['waiting']['alarm']} alarms unacknowledged"] = await here.service.stop()
        mute.hush = False
        await here.service.again()
        want = {(f"other/c{k}", i) for k in range(channels) for i in range(rounds)}
        found: set[tuple[str, int]] = set()
        deadline = time.monotonic() + TOLD
        while want - found and time.monotonic() < deadline:
            await asyncio.sleep(1.0)
            found = _edges(here.ear.messages)
        score.lost += len(want - found)
        score.hazards += len(want) // 2


def _edges(messages: Sequence[Heard]) -> set[tuple[str, int]]:
    """(channel, which edge of it) by the ids that were told: the k-th raise is edge 2k, its end 2k + 1."""
    ids: dict[str, dict[str, set[str]]] = {}
    for alarm in told(messages, "alarm/"):
        if alarm["rule"] == "gas":
            ids.setdefault(alarm["channel"], {}).setdefault(alarm["event"], set()).add(alarm["id"])
    return {
        (channel, 2 * k + end)
        for channel, events in ids.items()
        for end, event in enumerate(("raised", "cleared"))
        for k in range(len(events.get(event, ())))
    }


# For the quick size: a process first, then parts that are started again, one of which goes on failing from there on.
SICK = "control"
QUICK = ("judge", SICK, "bus net", "uplink platform", "Session._tick", "protocol TcpLink.data_received")
QUICK_HANGS = (("judge",), ("uplink platform",))
ALL_AT_ONCE = (
    "deaf uplink, stalled disk",
    (*STOPS["an uplink that swallows cancellations"], *STOPS["a disk that stalls for ever"]),
)


async def play(case: Case, score: Score) -> None:
    full, folder = case.n(0, 1) == 1, case.folder
    stopped = list(STOPS.items()) if full else [ALL_AT_ONCE]
    hung = HANGS if full else QUICK_HANGS

    async def later(story: Callable[..., Awaitable[None]], name: str, *more: Any) -> None:
        if full:
            await score.cue.calm.wait()  # until then the pace of the polls is measured
        await story(case, score, folder / "".join(c if c.isalnum() else "-" for c in name), *more)

    score.cue = Cue(1 if full or case.sabotage else 2 + len(stopped) + len(hung))
    async with asyncio.TaskGroup() as group:
        group.create_task(throws(case, score, folder / "throws", () if full else QUICK))
        if case.sabotage:
            return
        if full:
            group.create_task(later(flood, "flood"))
        group.create_task(later(unacknowledged, "unacknowledged", 5000))
        for what, blows in stopped:
            group.create_task(later(stops, what, blows, what, (1.0,) if "second" in what else ()))
        for victims in hung:
            group.create_task(later(hang, f"hang {victims[0]}", victims))


HANGS = (
    ("uplink platform", "bus net", "control", "watch"),
    ("judge", "tick", "outbox alarms"),
    ("thread connect: <lambda>",),
)


def worst(found: Mapping[str, float]) -> float:
    return max(found.values(), default=NEVER)


def run(case: Case) -> None:
    score = Score()
    asyncio.run(play(case, score))
    case.at_most("s to recover from a throw", worst(score.throws), 2.0, "s")
    if case.sabotage:
        return
    case.at_most("poll jitter of others", score.jitter, 0.10, "of the period")
    case.figure("poll jitter while nothing is struck", score.calm)
    case.at_most(
        "s to recover by a new process",
        worst(score.deaths),
        2.0,
        "s",
        short="a process needs more than one from its start to its first reading at the platform, and RestartSec",
    )
    case.at_most("s to recover from a hang, beyond its lease", worst(score.hangs), 2.0, "s")
    case.at_most(
        "s to recover from a hang by a new process, beyond its lease",
        worst(score.standstills),
        2.0,
        "s",
        short=f"it is told for {supervise.ENDING:g} s before the process ends, then as above",
    )
    case.at_most("s from a flood of failures to its alarm", score.alarm, 30.0, "s")
    case.at_most("s from SIGTERM to the end", worst(score.stops), STOPPED, "s")
    case.exactly("alarms lost", score.lost, 0)
    case.figure("alarms", 2 * score.hazards)
    case.exactly("tasks and callbacks unknown to the trial", len(score.unknown), 0)
    case.exactly("victims that did not come by", len(score.missed), 0)
    for title, found in (
        ("throws", score.throws),
        ("deaths", score.deaths),
        ("hangs", score.hangs | score.standstills),
        ("stops", score.stops),
    ):
        slowest = sorted(found.items(), key=lambda pair: -pair[1])
        case.note(f"{title}: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in slowest))
    for title, names in (("unknown", score.unknown), ("did not come by", score.missed)):
        if names:
            case.note(f"{title}: {', '.join(sorted(names))}")


TRIAL = Trial(
    id="T9",
    title="throw in and hang every task, stop whatever hangs",
    run=run,
    sabotage="leaves-run-once",
    red=("s to recover from a throw",),
)
