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
[[rule]]
name = "gas"
kind = "high"
channel = {hazards}
limit = 1.0
level = "red"
drive = ["siren"]
[[uplink]]
name = "platform"
url = "{mqtt}"
{uplink}
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
) -> Path:
    """A site file for this plant; the first `hazards` channels are watched for more than 1.0.

    `store` and `uplink` are further lines of those tables. The state lies in `folder/state`.
    """
    rows = [f"{r.key},{r.table}:{r.address},{r.type}" for r in device.layout if r.table == "holding"]
    (folder / "points.csv").write_text("\n".join(["key,at,type", *rows]))
    path = folder / "site.toml"
    channels = "[" + ", ".join(f'"plant/c{i}"' for i in range(hazards)) + "]"
    fields = {"name": name, "modbus": modbus, "mqtt": mqtt, "period": period, "hazards": channels}
    path.write_text(SITE.format(**fields, store=store, uplink=uplink))
    return path


@contextlib.asynccontextmanager
async def running(
    path: Path, sabotage: str = "", env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`vedette run` in a process of its own, sabotaged or not; ends by SIGTERM. `env` is added; `prefix` goes before."""
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
