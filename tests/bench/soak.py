"""An hour at a thousand channels with everything going wrong: what of the agent grows, and whether it comes to rest.

    python -m tests.bench.soak [--minutes 60] [--cycle 300] [--sabotage leak-memory|leak-descriptors]

The world, in this process: ten devices of a hundred channels (pymodbus' codec), nine on TCP and one on a serial line;
mosquitto with TLS, two languages of the agent; people at the local page; trends of a week. In each cycle, one after
the other: a slave dies; the serial line garbles and cuts its replies; the broker is cut and comes back; it stands still
(SIGSTOP); the disk is full; the wall clock jumps an hour and back; a certificate is renewed; a device's port closes and
opens; then all is well for a while. Meanwhile hazards come, go and are acknowledged; visitors open live pages and
leave.

Every five seconds, from the kernel: RSS, what of it is its own, descriptors, threads, children, CPU, and the files of
the store. Judged is the calm at the end of each cycle, from the sixth on: the slope by Theil and Sen with its 95 %
interval (Sen 1968). Two sabotaged agents show that this judge can say no. Root gives it a disk of its own to fill;
without root or gcc the run says what is left out. No camera, no second process of the agent. Figures and the agent's
log: build/bench.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent import migrate
from agent.clock import SystemClock
from agent.control import ask
from agent.core.errors import LineLost
from agent.core.frame import Instant, frame, layout
from agent.trend import SIZE, SPANS, Trends, write
from simulators.faults import Dead, Flip, Truncate
from simulators.modbus import Device, PtyLine, Register, TcpLine
from tests.bench.stage import MEMORY
from tests.rigs.disk import own_mounts
from tests.rigs.faketime import Offset
from tests.rigs.stage import running
from tests.rigs.trial import Skip
from tests.tools.authority import Authority
from tests.tools.mosquitto import KEEPS, Mosquitto, free_port
from tests.tools.subscriber import Subscriber

ROOT = Path(__file__).parent.parent.parent
DEVICES, CHANNELS = 10, 100
EVERY = 5.0  # s between samples; a thirtieth of the cycle where that is shorter
WARM = 5  # cycles that do not count, 25 min of an hour: SQLite's pages, traces and heaps fill; then RSS stands still
REST = 0.86  # of a cycle: from here on all is well again and has come to rest: what is judged
DISK_MB = 64

SITE = """
[site]
name = "soak"
[store]
path = "{store}"
alarms_mb = 4
history_mb = 2
journal_mb = 2
{buses}
[[rule]]
name = "gas"
kind = "high"
channel = "d*/c*"
limit = 1.0
restore = 0.95
level = "red"
[[uplink]]
name = "platform"
url = "{mqtt}"
ca = "{ca}"
cert = "{cert}"
key = "{key}"
spread = 2
[[uplink]]
name = "scada"
kind = "sparkplug"
url = "{mqtt}"
ca = "{ca}"
spread = 2
[web]
listen = "127.0.0.1:{web}"
"""
BUS = """
[[bus]]
name = "n{i}"
url = "{url}"
timeout = 0.3
[[bus.device]]
name = "d{i}"
unit = 1
period = 1.0
points = "points.csv"
"""


# -- the judge ----------------------------------------------------------------------------------------


class Drift(NamedTuple):
    """How something grows, per h, with the 95 % interval; infinite where too little is known."""

    slope: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.slope:+.2f}/h, 95 % {self.low:+.2f} to {self.high:+.2f}"


def drift(points: Sequence[tuple[float, float]]) -> Drift:
    """Theil's slope with Sen's interval of points (h, value).

    Source: P. K. Sen, J. Am. Stat. Assoc. 63 (1968) 1379-1389, 5.2: ranks by the normal approximation of Kendall's S.

    >>> drift([(i / 10, 100 + 7 * i / 10) for i in range(10)]).slope.__round__(6)
    7.0
    """
    n = len(points)
    slopes = sorted((b - a) / (t - s) for i, (s, a) in enumerate(points) for t, b in points[i + 1 :])
    if not slopes:
        return Drift(math.nan, -math.inf, math.inf)
    wide = 1.96 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    first, last = math.floor((len(slopes) - wide) / 2) - 1, math.ceil((len(slopes) + wide) / 2)
    return Drift(
        statistics.median(slopes),
        slopes[first] if first >= 0 else -math.inf,
        slopes[last] if last < len(slopes) else math.inf,
    )


class Goal(NamedTuple):
    """What counts as flat: the slope, and where its interval may end."""

    unit: str
    slope: float  # per h
    high: float  # per h


GOALS = {  # reliability.md, T17
    "rss": Goal("MB", 1.0, 3.0),
    "own": Goal("MB", 1.0, 3.0),
    "descriptors": Goal("", 0.5, 2.0),
    "threads": Goal("", 0.5, 2.0),
    "children": Goal("", 0.5, 2.0),
}


def is_flat(found: Drift, goal: Goal) -> bool:
    """Whether it does not grow, and it is known."""
    return found.slope <= goal.slope and found.high <= goal.high


class Sample(NamedTuple):
    """One look at the process."""

    seconds: float  # since the begin
    cycle: int
    phase: float  # 0 to 1
    rss: float  # MB
    own: float  # MB of it that is nobody's file
    pss: float  # MB; moves with whoever else on the machine runs Python, and is not judged
    descriptors: int
    threads: int
    children: int
    cpu: float  # s of CPU
    disk: float  # MB of the state
    heap: float = 0.0  # MB of `own`: malloc's blocks below 128 kB, and what it keeps; else Python's small objects


def rests(samples: Sequence[Sample], what: str, warm: int = WARM) -> list[tuple[float, float]]:
    """Each whole cycle after the warm-up as one point: h, and the median of its rest; of counts the least, for people
    come and go."""
    found: dict[int, list[Sample]] = {}
    for one in samples:
        if one.cycle >= warm and one.phase >= REST:
            found.setdefault(one.cycle, []).append(one)
    middle = min if what in ("descriptors", "threads", "children") else statistics.median
    return [
        (statistics.mean(one.seconds for one in row) / 3600, float(middle(getattr(one, what) for one in row)))
        for _, row in sorted(found.items())
    ]


# -- the process --------------------------------------------------------------------------------------


def look(pid: int, state: Path, seconds: float, cycle: int, phase: float) -> Sample:
    """What the kernel says of a process now."""
    proc = Path(f"/proc/{pid}")
    sums, heap, is_heap = Counter[str](), 0.0, False
    for line in (proc / "smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_heap = words[-1] == "[heap]"
        elif words[-1] == "kB":
            sums[words[0].rstrip(":")] += int(words[1]) / 1e3
            heap += int(words[1]) / 1e3 if is_heap and words[0] == "Rss:" else 0.0
    tasks = list((proc / "task").iterdir())
    children = 0
    for task in tasks:
        with contextlib.suppress(OSError):
            children += len((task / "children").read_text().split())
    stat = (proc / "stat").read_text().rpartition(")")[2].split()
    cpu = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    disk = 0.0
    for place in state.rglob("*"):
        with contextlib.suppress(OSError):
            disk += place.stat().st_size / 1e6
    opened = len(os.listdir(proc / "fd"))
    return Sample(
        seconds,
        cycle,
        phase,
        sums["Rss"],
        sums["Anonymous"],
        sums["Pss"],
        opened,
        len(tasks),
        children,
        cpu,
        disk,
        heap,
    )


# -- the world ----------------------------------------------------------------------------------------


def registers() -> list[Register]:
    return [Register(f"c{i}", "holding", 2 * i, "float32") for i in range(CHANNELS)]


class World:
    """Everything around the agent, and what goes wrong with it."""

    def __init__(self, folder: Path, leave: Callable[[str], None]) -> None:
        self.folder, self.leave = folder, leave
        self.devices = [Device(f"d{i}", 1, registers()) for i in range(DEVICES)]
        self.lines: list[Any] = [TcpLine([one]) for one in self.devices[:-1]]
        self.lines.append(PtyLine([self.devices[-1]], baud=115200))
        self.authority = Authority(folder / "authority")
        self.cert, self.key = folder / "gw.pem", folder / "gw.key"
        self.broker = Mosquitto(folder / "broker", tls=self.authority.server(), more=f"{KEEPS}\nmax_queued_messages 0")
        self.disk = folder / "disk"
        self.page = free_port()
        self.rng = random.Random(1)
        self.clock: Offset | None = None
        self.own_disk = False
        self.done: dict[str, int] = {}
        self.hazards: list[str] = []  # channels, one after the other
        self.late = 0.0  # s that this rig itself stood still, at most: then all devices did

    def renew(self) -> None:
        """Another certificate in the place of the gateway's."""
        self.authority.issue("gw").put(self.cert, self.key)

    def remember(self, state: Path) -> None:
        """The last hour, day and week of all channels, as an agent has them that has been running: what people are
        shown of them, and hold open, grows until then."""
        trends, now = Trends(1e9), SystemClock().now()
        seen = layout([f"c{i}" for i in range(CHANNELS)])
        for ago in sorted((n * span / SIZE for span in SPANS.values() for n in range(1, SIZE)), reverse=True):
            at = Instant(now.mono - ago, now.wall - ago)
            for device in self.devices:
                trends.add(frame(device.name, at, seen, [self.rng.uniform(0.3, 0.8) for _ in range(CHANNELS)]))
        migrate.prepare(state)
        write(state, trends.kept(now))

    async def begin(self) -> Path:
        """Start it. The site file."""
        self.disk.mkdir()
        try:
            own_mounts()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "soak", str(self.disk)], check=True)
            self.own_disk = True
        except (OSError, subprocess.CalledProcessError):
            self.leave("no disk of its own (root): it is never full")
        try:
            self.clock = Offset(self.folder)
        except Skip as why:
            self.leave(f"the clock stays: {why}")
        self.renew()
        for line in self.lines:
            await line.start()
        self.broker.start()
        rows = [f"c{i},holding:{2 * i},float32" for i in range(CHANNELS)]
        (self.folder / "points.csv").write_text("\n".join(["key,at,type", *rows]))
        self.remember(self.disk / "state")
        site = self.folder / "site.toml"
        buses = "".join(BUS.format(i=i, url=line.url) for i, line in enumerate(self.lines))
        files = {"ca": self.authority.ca, "cert": self.cert, "key": self.key}
        site.write_text(
            SITE.format(store=self.disk / "state", buses=buses, mqtt=self.broker.url, web=self.page, **files)
        )
        return site

    @property
    def env(self) -> dict[str, str]:
        """Of the agent: as its unit sets it, and the clock that this rig moves."""
        found = dict(MEMORY)
        if self.clock is not None:
            found |= self.clock.env
        return found

    def listen(self) -> Subscriber:
        """An ear for all alarms. Call it before there are any: a broker that was killed comes back with this session
        and nothing else. Without it the agent may be back before the ear, and an alarm that was raised and cleared in
        the outage is confirmed, told to nobody, and gone."""
        trust = self.authority.context()
        ear = Subscriber(self.broker.port, "vedette/+/+/alarm/#", tls=trust, session="ear")
        self.broker.keep()
        return ear

    async def end(self) -> None:
        with contextlib.suppress(Exception):
            self.broker.stop(kill=True)
        for line in self.lines:
            await line.stop()
        if self.own_disk:
            subprocess.run(["umount", "--lazy", str(self.disk)], check=False)

    # -- what goes on -------------------------------------------------------------------------------

    async def move(self) -> None:
        """Values move; every 20 s somewhere on the first device there is a hazard for ten."""
        begun, n = time.monotonic(), 0
        danger = ""
        while True:
            await asyncio.sleep(max(0.0, begun + n - time.monotonic()))
            self.late = max(self.late, time.monotonic() - begun - n)
            n += 1
            for device in self.devices:
                device.served.clear()
                for key in self.rng.sample(sorted(device.values), 30):
                    device.values[key] = self.rng.uniform(0.3, 0.8)
            if n % 20 == 10:
                danger = f"c{len(self.hazards) % CHANNELS}"
                self.hazards.append(f"{self.devices[0].name}/{danger}")
            if n % 20 == 0:
                danger = ""
            for key in self.devices[0].values:
                if self.devices[0].values[key] > 1 and key != danger:
                    self.devices[0].values[key] = 0.5
            if danger:
                self.devices[0].values[danger] = 2.0

    async def harm(self, cycle: float) -> None:
        """All faults, one after the other, for ever."""
        serial = self.devices[-1].faults
        story: tuple[tuple[float, float, str, Callable[[], Any], Callable[[], Any]], ...] = (
            (0.03, 0.11, "a slave dies", lambda: self._fault(3, Dead()), lambda: self._fault(3)),
            (0.12, 0.17, "noise", lambda: serial.append(Flip(12)), serial.clear),
            (0.18, 0.22, "cut replies", lambda: serial.append(Truncate(4)), serial.clear),
            (0.24, 0.31, "broker gone", lambda: self.broker.stop(kill=True), self.broker.start),
            (0.36, 0.43, "broker stands still", self._stop, self._continue),
            (0.48, 0.53, "disk full", self._fill, self._free),
            (0.58, 0.62, "clock an hour off", lambda: self._wall(3600.0), lambda: self._wall(0.0)),
            (0.66, 0.67, "certificate renewed", self.renew, lambda: None),
            (0.71, 0.77, "port closed", self.lines[5].stop, self.lines[5].start),
        )
        begun = time.monotonic()
        for n in range(10**6):
            for begin, end, name, do, undo in story:
                for share, act in ((begin, do), (end, undo)):
                    await asyncio.sleep(max(0.0, begun + (n + share) * cycle - time.monotonic()))
                    result = act()
                    if isinstance(result, Awaitable):
                        await result
                self.done[name] = self.done.get(name, 0) + 1

    def _fault(self, device: int, *faults: Any) -> None:
        self.devices[device].faults[:] = faults

    def _stop(self) -> None:
        assert self.broker.process is not None
        self.broker.process.send_signal(signal.SIGSTOP)

    def _continue(self) -> None:
        assert self.broker.process is not None
        self.broker.process.send_signal(signal.SIGCONT)

    def _fill(self) -> None:
        if self.own_disk:
            with contextlib.suppress(OSError), (self.disk / "hog").open("wb", buffering=0) as hog:
                while True:
                    hog.write(bytes(65536))

    def _free(self) -> None:
        (self.disk / "hog").unlink(missing_ok=True)

    def _wall(self, offset: float) -> None:
        if self.clock is not None:
            self.clock.move(offset)

    async def see(self, state: Path) -> None:
        """Somebody acknowledges what stands, now and then: else each point that ever had an alarm keeps it."""
        while True:
            await asyncio.sleep(20.0)
            with contextlib.suppress(LineLost):
                known = await asyncio.to_thread(ask, str(state), {"verb": "alarms"})
                for one in known.get("alarms", []):
                    if one["state"].endswith("unacked"):
                        await asyncio.to_thread(ask, str(state), {"verb": "ack", "id": one["id"], "by": "soak"})

    # -- people -------------------------------------------------------------------------------------

    async def visit(self, path: str, seconds: float = math.inf) -> int:
        """Look at a page, live if it is; for so long, or until it ends. Bytes that came."""
        got = 0
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.page)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                    while more := await reader.read(65536):
                        got += len(more)
            finally:
                writer.close()
        return got

    async def stay(self, path: str) -> None:
        """A page that stays open, and is opened again."""
        while True:
            await self.visit(path)
            await asyncio.sleep(1.0)

    async def stroll(self) -> None:
        """People who come and go, and a monitoring system."""
        pages = ("/", "/channels", "/alarms", "/history", "/system", "/uplinks", "/metrics", "/healthz")
        for n in range(10**9):
            await self.visit(pages[n % len(pages)], 10.0)
            await self.visit("/live?page=/channels", 2.0)
            await asyncio.sleep(3.0)


def unheard(hazards: Sequence[str], raised: Counter[str], heard: Counter[str]) -> list[str]:
    """The channels whose hazards nobody heard of, and whose fault it is. The last may have come too late.

    >>> unheard(["d0/c0", "d0/c1", "d0/c0", "d0/c2"], Counter({"d0/c0": 2}), Counter({"d0/c0": 1}))
    ['d0/c0 (raised, not heard)', 'd0/c1 (not raised)']
    """
    missing = Counter(hazards) - heard - Counter(hazards[-1:])
    return [
        f"{channel} ({'raised, not heard' if raised[channel] > heard[channel] else 'not raised'})"
        for channel in sorted(missing)
    ]


# -- the run ------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def busy(*work: Awaitable[Any]) -> AsyncIterator[list[asyncio.Future[Any]]]:
    """What goes on within the block."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def told(state: Path, seconds: float = 30.0) -> dict[str, Any]:
    """What the agent says of itself, as soon as it does."""
    until = time.monotonic() + seconds
    while True:
        try:
            return await asyncio.to_thread(ask, str(state), {"verb": "status"})
        except LineLost:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.5)


async def soak(folder: Path, minutes: float, cycle: float, sabotage: str, say: Callable[[str], None]) -> dict[str, Any]:
    """One run; its figures."""
    left_out: list[str] = []
    world = World(folder, left_out.append)
    site = await world.begin()
    state = world.disk / "state"
    samples: list[Sample] = []
    wrong: list[str] = []
    ear = await asyncio.to_thread(world.listen)
    for text in left_out:
        say(f"left out: {text}")
    try:
        async with running(site, sabotage, world.env) as agent:
            begun = time.monotonic()
            boot = ""
            pages = (world.stay("/live?page=/"), world.stay("/live?page=/system"), world.stroll())
            async with busy(world.move(), world.harm(cycle), world.see(state), *pages) as tasks:
                while (seconds := time.monotonic() - begun) < 60 * minutes and agent.returncode is None:
                    n = int(seconds / cycle)
                    samples.append(look(agent.pid, state, seconds, n, seconds / cycle - n))
                    one, last = samples[-1], samples[-2] if len(samples) > 1 else None
                    if last is not None and one.cycle != last.cycle:
                        say(
                            f"cycle {last.cycle + 1:3}: RSS {last.rss:.2f}, own {last.own:.2f}, heap {last.heap:.2f}, "
                            f"PSS {last.pss:.2f} MB, "
                            f"{last.descriptors} descriptors, {last.threads} threads, {last.children} children, "
                            f"disk {last.disk:5.2f} MB, CPU {100 * last.cpu / last.seconds:.1f} %"
                        )
                    if not boot and seconds > 5:
                        boot = (await told(state))["boot"]
                    for task in tasks:
                        if task.done():
                            wrong.append(f"the rig: {task.exception()!r}")
                            raise RuntimeError(wrong[-1]) from task.exception()
                    await asyncio.sleep(min(EVERY, cycle / 30))
            if agent.returncode is not None:
                wrong.append(f"the agent ended with {agent.returncode}")
                status: dict[str, Any] = {}
            else:
                status = await _drained(state)
                if status["boot"] != boot:
                    wrong.append("the agent was started again")
                if status["waiting"]["alarm"]:
                    wrong.append(f"{status['waiting']} wait a minute after the last fault")
                if any(status["dropped"].values()):
                    wrong.append(f"dropped: {status['dropped']}")
    finally:
        ear.close()
        await world.end()
    bodies = (one.body for one in ear.messages if one.payload)
    ids = {one["id"]: one["channel"] for one in bodies if one["rule"] == "gas" and one["event"] == "raised"}
    heard = Counter(ids.values())
    log = (folder / "agent.log").read_text(errors="replace")
    edges = [
        dict(word.partition("=")[::2] for word in line.split())
        for line in log.splitlines()
        if line.startswith("alarm-raised")
    ]
    raised = Counter(edge["channel"] for edge in edges if edge["rule"] == "gas")
    wrong += [f"{log.count(f' {kind} ')} times {kind}" for kind in ("crashed", "degraded") if f" {kind} " in log]
    if missing := unheard(world.hazards, raised, heard):
        wrong.append(f"hazards that nobody heard of: {', '.join(missing)}")
    return {
        "minutes": minutes,
        "cycle_s": cycle,
        "sabotage": sabotage,
        "left_out": left_out,
        "faults": world.done,
        "hazards": len(world.hazards),
        "heard": len(ids),
        "raised": Counter(edge["rule"] for edge in edges).most_common(),
        "rig_late_s": world.late,
        "wrong": wrong,
        "status": status,
        "drift": {what: drift(rests(samples, what))._asdict() for what in GOALS},
        "flat": {what: is_flat(drift(rests(samples, what)), goal) for what, goal in GOALS.items()},
        "cpu_percent": 100 * samples[-1].cpu / max(1.0, samples[-1].seconds),
        "rests": {what: rests(samples, what, 0) for what in (*GOALS, "pss", "heap", "disk")},
        "samples": [one._asdict() for one in samples],
    }


async def _drained(state: Path, seconds: float = 60.0) -> dict[str, Any]:
    """What the agent says once no alarm waits any more, or in the end."""
    until = time.monotonic() + seconds
    while True:
        status = await told(state)
        if not status["waiting"]["alarm"] or time.monotonic() > until:
            return status
        await asyncio.sleep(1.0)


def report(found: dict[str, Any]) -> list[str]:
    """The figures, for people."""
    lines = [
        f"soak of {found['minutes']:g} min, {DEVICES * CHANNELS} channels each second, "
        f"cycles of {found['cycle_s']:g} s{', sabotaged: ' + found['sabotage'] if found['sabotage'] else ''}",
        "faults: " + ", ".join(f"{n} x {name}" for name, n in found["faults"].items()),
        f"hazards: {found['hazards']}, heard of {found['heard']}; CPU {found['cpu_percent']:.1f} % of a core; "
        f"the rig itself stood still for {found['rig_late_s']:.2f} s at most",
        "alarms raised: " + ", ".join(f"{n} x {rule}" for rule, n in found["raised"]),
    ]
    for what, goal in GOALS.items():
        grows = Drift(**found["drift"][what])
        row = [value for _, value in found["rests"][what]]
        verdict = "flat" if found["flat"][what] else "NOT FLAT"
        kb = f" ({1000 * grows.slope:+.0f} kB/h)" if goal.unit == "MB" else ""
        lines.append(
            f"{what:12} {verdict:8} {grows}{kb}; goal <= {goal.slope:g}, bound <= {goal.high:g} {goal.unit}/h; "
            f"at rest {' '.join(f'{value:g}' if not goal.unit else f'{value:.2f}' for value in row)}"
        )
    heap, own, rss = ([value for _, value in found["rests"][what]][WARM:] for what in ("heap", "own", "rss"))
    if heap:
        lines.append(
            f"of RSS, first and last of these: files {rss[0] - own[0]:.2f} {rss[-1] - own[-1]:.2f}, heap {heap[0]:.2f} "
            f"{heap[-1]:.2f}, other memory of its own {own[0] - heap[0]:.2f} {own[-1] - heap[-1]:.2f} MB"
        )
    lines += [f"left out: {text}" for text in found["left_out"]]
    lines += [f"WRONG: {text}" for text in found["wrong"]]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--cycle", type=float, default=0.0, help="s; 300, or what gives twelve cycles")
    parser.add_argument("--sabotage", default="", choices=["", "leak-memory", "leak-descriptors"])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "soak.json")
    args = parser.parse_args()
    cycle = args.cycle or min(300.0, 60 * args.minutes / 12)
    with tempfile.TemporaryDirectory(prefix="soak", ignore_cleanup_errors=True) as folder:
        found = asyncio.run(
            soak(Path(folder), args.minutes, cycle, args.sabotage, lambda text: print(text, flush=True))
        )
        args.out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(folder) / "agent.log", args.out.with_suffix(".log"))
    args.out.write_text(json.dumps(found))
    print("\n".join(report(found)), f"\nfigures: {args.out}", flush=True)
    return 0 if all(found["flat"].values()) and not found["wrong"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
