"""Files of a mine and HJ 212 on this machine: what an outage costs, and how long alarms wait while it is made up for.

    python -m tests.bench.periods [hours, 2 at least]

Telemetry of so many hours (5 sources of 20 channels, a row each 5 s) waits when the link comes up. While it is told, an
alarm is raised each second. CPU is that of this process, store and uplink; the platform of HJ 212 is another process.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.frame import Instant, frame, layout
from agent.core.ports import Brief, Identity, Uplink
from agent.outbox import Outbox, Store
from agent.uplink.hj212 import Hj212
from agent.uplink.minefiles import Minefiles
from simulators.hj212 import Hj212Platform

OUT = Path(__file__).resolve().parents[2] / "build" / "bench"
SOURCES = {f"s{i}": layout([f"c{k}" for k in range(20)], ["%"] * 20) for i in range(5)}
STEP = 5.0  # s


def _platform(tube: Connection) -> None:
    async def main() -> None:
        server = Hj212Platform()
        await server.start()
        tube.send(server.port)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, tube.recv) == "count":
            values = {v: one.arrived for one in server.of("2011") for k, v in one.values.items() if k == "w00-Rtd"}
            tube.send((len(server.got), values))
        await server.stop()

    asyncio.run(main())


async def caught_up(uplink: Uplink, hours: float, seen: Callable[[], tuple[int, dict[str, float]]]) -> dict[str, Any]:
    """How long it takes, what it costs, and how long alarms wait. `seen`: things told; alarms by value, s monotonic."""
    with tempfile.TemporaryDirectory() as folder:
        clock = SystemClock()
        outbox = await Outbox.open(Store(path=folder, batch=1.0, ballast_mb=0), ["u"], clock)
        now, chance = clock.now(), np.random.default_rng(1)
        for n in range(round(hours * 3600 / STEP), 0, -1):
            at = Instant(now.mono - n * STEP, now.wall - n * STEP)
            for source, channels in SOURCES.items():
                outbox.put_frame(frame(source, at, channels, chance.normal(1.0, 0.1, 20)))
                outbox._flush(source)
            if n % 200 == 0:
                await asyncio.sleep(0.05)
        await asyncio.sleep(2.0)
        feed, who = outbox.feed("u"), Identity("mine", "n", outbox.boot, "0", "0", layouts=SOURCES)
        waiting = sum(feed.waiting().values())
        began, used, raised = time.monotonic(), time.process_time(), dict[str, float]()
        brief = Brief(feed, who, list, clock, lambda event: None)
        link = asyncio.create_task(uplink.at_home(folder, "").send(brief))
        newest = len(SOURCES) * 600.0 / STEP  # of the periods that are not over
        while feed.waiting()["backfill"] + feed.waiting()["telemetry"] > newest:
            await asyncio.sleep(1.0)
            at, n = clock.now(), len(raised) + 1
            value = round(2.0 + n / 100, 2)
            alarm = Alarm(
                f"{outbox.boot}-{n}", 1, "raised", "active-unacked", "r", "s0/c0", "red", value, 1.0, "%", at, at, ""
            )
            outbox.put_alarms([alarm])
            raised[f"{value:.2f}"] = at.mono
        took, cpu = time.monotonic() - began, time.process_time() - used
        await asyncio.sleep(3.0)
        told, alarms = seen()
        link.cancel()
        await asyncio.gather(link, return_exceptions=True)
        await outbox.close()
    waits = [alarms[value] - at for value, at in raised.items() if value in alarms]
    return {"hours": hours, "batches": waiting, "told": told, "s": round(took, 1), "told/s": round(told / took, 1),
            "cpu_ms_each": round(1000 * cpu / max(1, told), 2), "alarms": len(raised), "alarms_told": len(waits),
            "alarm_wait_max_s": round(max(waits, default=0.0), 2)}  # fmt: skip


async def files(hours: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        points = [{"channel": f"{s}/c{k}", "code": f"{s}c{k}", "type": "0001"} for s in SOURCES for k in range(20)]
        table = {"name": "u", "url": f"file://{place}", "mine": "1", "mine_name": "m", "point": points}
        offset = time.time() - time.monotonic()

        def seen() -> tuple[int, dict[str, float]]:
            alarms: dict[str, float] = {}
            paths = sorted(Path(place).glob("*.txt"), key=lambda path: path.stat().st_mtime)
            for path in paths:
                if "_YCBJ_" in path.name:
                    for record in path.read_text("utf-8").split("~")[1:-1]:
                        alarms.setdefault(record.split(";")[7], os.stat(path).st_mtime - offset)
            return len(paths), alarms

        return await caught_up(msgspec.convert(table, Minefiles), hours, seen)


async def messages(hours: float) -> dict[str, Any]:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_platform, args=(theirs,), daemon=True)
    child.start()
    port = ours.recv()
    os.environ["BENCH_PW"] = "123456"
    factors = [{"channel": f"{s}/c{k}", "code": f"w{i}{k}"} for i, s in enumerate(SOURCES) for k in range(20)]
    table = {
        "name": "u",
        "url": f"tcp://127.0.0.1:{port}",
        "mn": "1",
        "password": "env:BENCH_PW",
        "factor": factors,
        "minutes": 1,
    }

    def seen() -> tuple[int, dict[str, float]]:
        ours.send("count")
        count, values = ours.recv()
        return count, values

    try:
        return await caught_up(msgspec.convert(table, Hj212), hours, seen)
    finally:
        ours.send("stop")
        child.join(10)


if __name__ == "__main__":
    hours = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    found = {"files": asyncio.run(files(hours)), "hj212": asyncio.run(messages(hours))}
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "periods.json").write_text(json.dumps(found, indent=1))
    print(json.dumps(found, indent=1))
