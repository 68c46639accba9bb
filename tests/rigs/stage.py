"""The world around an agent: a plant on Modbus TCP (pymodbus), a broker, an ear, a site file; the agent in a process.

The process that holds the stage is the ledger: it knows every reading that was served and every hazard that stood.
Nothing here asks the agent what it believes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.control import ask
from agent.core.errors import LineLost
from simulators.modbus import Device, Register, TcpLine
from tests.tools.mosquitto import Mosquitto
from tests.tools.subscriber import Heard, Subscriber

SITE = """
[site]
name = "{name}"
[store]
path = "state"
{store}
[[bus]]
name = "net"
url = "{modbus}"
timeout = 0.3
[[bus.device]]
name = "plant"
unit = 1
period = {period}
points = "points.csv"
[[bus.output]]
name = "siren"
device = "plant"
at = "coil:0"
armed = true
{rules}
[[uplink]]
name = "platform"
url = "{mqtt}"
{uplink}
"""


GAS = """
[[rule]]
name = "gas"
kind = "high"
channel = {hazards}
limit = 1.0
level = "red"
drive = ["siren"]
"""


def plant(channels: int) -> Device:
    """`channels` float32 that move, the ledger `served`, and a siren's coil."""
    registers = [Register(f"c{i}", "holding", 2 * i, "float32") for i in range(channels)]
    registers += [Register("served", "holding", 2 * channels, "uint32"), Register("siren", "coil", 0, "bool")]
    return Device("plant", 1, registers)


def site(
    folder: Path,
    device: Device,
    modbus: str,
    mqtt: str,
    period: float,
    hazards: int = 1,
    store: str = "",
    uplink: str = "",
    name: str = "spine",
    rules: str = GAS,
    stale: float = 10.0,
) -> Path:
    """A site file for this plant; the first `hazards` channels are watched for more than 1.0, if not by other `rules`.

    `store` and `uplink` are further lines of those tables. `stale`: s after which a silent plant is an alarm: longer
    than a busy machine stands still, if not given. The state lies in `folder/state`.
    """
    rows = [f"{r.key},{r.table}:{r.address},{r.type},{stale}" for r in device.layout if r.table == "holding"]
    (folder / "points.csv").write_text("\n".join(["key,at,type,stale", *rows]))
    path = folder / "site.toml"
    channels = "[" + ", ".join(f'"plant/c{i}"' for i in range(hazards)) + "]"
    fields = {"name": name, "modbus": modbus, "mqtt": mqtt, "period": period}
    path.write_text(SITE.format(**fields, store=store, uplink=uplink, rules=rules.format(hazards=channels)))
    return path


@contextlib.asynccontextmanager
async def running(
    path: Path, sabotage: str = "", env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`vedette run` in a process of its own, sabotaged or not; ends by SIGTERM. `prefix` goes before the command."""
    program = ["tests.rigs.sabotage", sabotage] if sabotage else ["agent.cli"]
    command = [*prefix, sys.executable, "-m", *program, "run", "-c", str(path)]
    with (path.parent / "agent.log").open("ab") as log:
        agent = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=os.environ | (env or {}))
    try:
        yield agent
    finally:
        if agent.returncode is None:
            agent.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                await agent.wait()


async def heard(ear: Subscriber, enough: Callable[..., Any], seconds: float = 30.0, *more: Any) -> list[Heard]:
    """All that the ear heard, as soon as `enough` says so."""
    return await asyncio.to_thread(ear.wait, lambda messages: enough(messages, *more), seconds)


async def until(true: Callable[[], Any], seconds: float = 15.0, what: str = "condition") -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        await asyncio.sleep(0.01)


def told(messages: Sequence[Heard], part: str) -> list[dict[str, Any]]:
    """Bodies of what was heard on topics with `part`."""
    return [m.body for m in messages if f"/{part}" in m.topic and m.payload]


def verdict(messages: Sequence[Heard], device: Device) -> tuple[int, int, int]:
    """Set arithmetic between the plant's ledger and what arrived: (lost, unmarked duplicates, out of order)."""
    seen: Counter[tuple[str, str, int]] = Counter()
    readings: Counter[int] = Counter()
    last: dict[tuple[str, bool], int] = {}
    unmarked = disorder = 0
    for m in messages:
        if not m.payload or not ("/telemetry/plant" in m.topic or "/backfill/plant" in m.topic):
            continue
        body = m.body
        key = (body["boot"], body["stream"], body["seq"])
        if seen[key]:
            unmarked += not body.get("resent", False)
            continue
        seen[key] += 1
        lane = (body["boot"], "/backfill/" in m.topic)
        disorder += body["seq"] <= last.get(lane, 0)
        last[lane] = body["seq"]
        column = body["key"].index("served")
        for row in body["value"]:
            if row[column] is not None:
                readings[int(row[column])] += 1
    if not readings:
        return -1, unmarked, disorder
    span = [n for n in device.served if min(readings) <= n <= max(readings)]
    lost = [n for n in span if n not in readings]
    unmarked += sum(count - 1 for count in readings.values())
    return len(lost), unmarked, disorder


def readings(messages: Sequence[Heard]) -> set[int]:
    """The ledger's numbers that arrived, live or as backlog."""
    rows = (b["value"] for lane in ("telemetry/plant", "backfill/plant") for b in told(messages, lane))
    return {int(row[-1]) for row in itertools.chain.from_iterable(rows) if row[-1] is not None}


class Streams:
    """The platform's bookkeeping: which numbers of which stream of which boot came, and how."""

    def __init__(self, messages: Sequence[Heard]) -> None:
        self.keys: dict[tuple[str, str], dict[int, float]] = {}  # (boot, stream) -> seq -> monotonic s when first heard
        self.again: list[tuple[float, float]] = []  # of each repetition: when first heard, and when again
        self.unmarked = 0  # repetitions that do not say that they may be one
        self.disorder = 0  # live and new, but behind a later one
        for message in messages:
            if not message.payload or message.topic.endswith("/state"):
                continue
            body = message.body
            seqs, seq = self.keys.setdefault((body["boot"], body["stream"]), {}), body["seq"]
            if seq in seqs:
                self.again.append((seqs[seq], message.mono))
                self.unmarked += not body.get("resent", False)
                continue
            late = body.get("resent") or body.get("historical")
            self.disorder += not late and seq < max(seqs, default=0)
            seqs[seq] = message.mono

    def holes(self) -> list[tuple[str, str, int]]:
        """Boot, stream and number of what is missing below the last that came."""
        lost = [(*key, set(range(1, max(seqs))) - set(seqs)) for key, seqs in self.keys.items()]
        return [(boot, stream, seq) for boot, stream, missing in lost for seq in sorted(missing)]


class Platform:
    """What a platform believes of the alarms: edges by their key, once each; the birth message counts as a list.

    Call `look` now and then; it is cheap.
    """

    def __init__(self, ear: Subscriber) -> None:
        self.ear = ear
        self.active: dict[str, set[str]] = {}  # channel -> ids of the alarms that stand
        self.edges: list[tuple[float, dict[str, Any]]] = []  # monotonic s, the alarm's body; new ones only
        self.births: list[float] = []  # monotonic s
        self._read = 0
        self._known: set[tuple[str, int]] = set()

    def look(self) -> None:
        """Take in what came since the last look."""
        while self._read < len(self.ear.messages):
            message = self.ear.messages[self._read]
            self._read += 1
            if "/alarm/" in message.topic:
                self._edge(message)
            elif message.topic.endswith("/state") and message.payload:
                self._state(message)

    def _edge(self, message: Heard) -> None:
        if not message.payload:  # nothing is retained here any more
            self.active[message.topic.split("/alarm/")[1].split("/", 1)[1].rsplit("/", 1)[0]] = set()
            return
        body = message.body
        if (key := (body["boot"], body["seq"])) in self._known:
            return
        self._known.add(key)
        self.edges.append((message.mono, body))
        ids = self.active.setdefault(body["channel"], set())
        (ids.add if body["state"].startswith("active") else ids.discard)(body["id"])

    def _state(self, message: Heard) -> None:
        body = message.body
        if body["state"] == "online":
            self.births.append(message.mono)
            self.active = {}
            for alarm in body["alarms"]:
                if alarm["state"].startswith("active"):
                    self.active.setdefault(alarm["channel"], set()).add(alarm["id"])


def owing(path: Path) -> int:
    """How many items the agent says that it still owes; more than anybody's where it does not answer."""
    try:
        return sum(ask(path.parent / "state", {"verb": "status"})["waiting"].values())
    except LineLost:
        return 1 << 30


async def move(device: Device, channels: int, stop: asyncio.Event, hazards: Callable[[], Sequence[float]]) -> None:
    """Values that move every 50 ms; the first ones as `hazards` says, with a little noise."""
    rng = random.Random(1)
    while not stop.is_set():
        levels = hazards()
        for i in range(channels):
            device.values[f"c{i}"] = levels[i] + rng.random() / 100 if i < len(levels) else rng.random()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await stop.wait()


@contextlib.asynccontextmanager
async def stage(
    folder: Path,
    channels: int,
    period: float,
    hazards: Callable[[], Sequence[float]] = lambda: [0.5],
    broker: Mosquitto | None = None,
    mqtt: str = "",
    **more: Any,
) -> AsyncIterator[tuple[Device, TcpLine, Mosquitto, Path]]:
    """A plant that moves, a broker, and a site file that joins them.

    `hazards()` gives the levels of the first channels, those that the rule watches. `mqtt` is where the agent finds the
    broker, if not there: the address of a proxy, say. `more` goes to `site`.
    """
    device = plant(channels)
    line = TcpLine([device])
    await line.start()
    stop = asyncio.Event()
    mover = asyncio.create_task(move(device, channels, stop, hazards))
    broker = broker or Mosquitto(folder / "broker")
    broker.start()
    try:
        yield device, line, broker, site(folder, device, line.url, mqtt or broker.url, period, len(hazards()), **more)
    finally:
        stop.set()
        await mover
        broker.stop()
        await line.stop()
