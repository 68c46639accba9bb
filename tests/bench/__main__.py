"""`make bench`: figures of this machine beside floors of the same minute; also in build/bench/*.json.

    python -m tests.bench [SECTION ...]      cpu throughput latency rtu interlock day journal languages start

The agent runs as its users run it: `vedette run` in a process of its own against a Modbus server in
another, with mosquitto as the broker where it is installed (else the demo's broker, and the table says so).
CPU is all threads of the agent's process, from the scheduler's own accounting (/proc/PID/task/*/schedstat).
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.bench.stage import PYTHON, ROOT, agent, broker, cpu_seconds, resident_mb, running, wait_for, world
from tests.bench.stage import percentile_ms as _ms

OUT = ROOT / "build" / "bench"


# -- a site and who listens to it --------------------------------------------------------------------


def site(folder: Path, ports: list[int], channels: int, mqtt: int, period: float, pipeline: int = 1) -> Path:
    """A site with two limits on every channel."""
    lines = ['[site]\nname = "bench"\n[store]\npath = "state"\n']
    for i, port in enumerate(ports):
        lines.append(
            f'[[bus]]\nname = "b{i}"\nurl = "tcp://127.0.0.1:{port}"\npipeline = {pipeline}\nturnaround = 0.0001\n'
        )
        lines.append(f'[[bus.device]]\nname = "d{i}"\nunit = 1\nperiod = {period}\npoints = "points.csv"\n')
    rows = ["key,at,type,unit", *(f"c{k},holding:{2 * k},float32,%" for k in range(channels))]
    (folder / "points.csv").write_text("\n".join(rows))
    lines.append('[[rule]]\nname = "high"\nkind = "high"\nchannel = "*/c*"\nlimit = 90.0\nlevel = "red"\n')
    lines.append('[[rule]]\nname = "low"\nkind = "low"\nchannel = "*/c*"\nlimit = -90.0\nlevel = "red"\n')
    lines.append(f'[[uplink]]\nname = "platform"\nurl = "mqtt://127.0.0.1:{mqtt}"\n')
    path = folder / "site.toml"
    path.write_text("\n".join(lines))
    return path


class Ear:
    """A subscriber that hands over each message as it comes and keeps none."""

    def __init__(self, port: int, topic: str, heard: Callable[[str, bytes, bool], None]) -> None:
        self.port, self.ready = port, threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_connect = lambda *_: self.client.subscribe(topic, 1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = lambda client, data, m: heard(m.topic, m.payload, m.retain)

    def __enter__(self) -> Ear:
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()
        assert self.ready.wait(10), "no SUBACK"
        return self

    def __exit__(self, *error: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class _Telemetry(msgspec.Struct):
    t: list[int]
    seq: int
    boot: str = ""
    stream: str = ""


_READ = msgspec.json.Decoder(_Telemetry)


class Counter:
    """Counts telemetry rows by source as they arrive; the values themselves are not looked at."""

    def __init__(self, port: int, topic: str = "vedette/+/+/telemetry/#") -> None:
        self.rows: dict[str, int] = {}
        self.first = 0.0
        self.delays: list[float] = []
        self.subscriber = Ear(port, topic, self.message)

    def message(self, topic: str, payload: bytes, retain: bool) -> None:
        now = time.time()
        if topic.endswith("/agent"):
            return
        self.first = self.first or time.monotonic()
        read = _READ.decode(payload)
        source = topic.rsplit("/", 1)[1]
        self.rows[source] = self.rows.get(source, 0) + len(read.t)
        self.delays.append(now - read.t[-1] / 1000)

    def total(self) -> int:
        return sum(self.rows.values())


# -- sections -----------------------------------------------------------------------------------------


def bench_cpu() -> list[dict[str, Any]]:
    """CPU-milliseconds per 1,000 channels read, judged, stored and published, once a second."""
    rows = []
    seconds = 10.0
    cases = ((100, 1, 1), (100, 10, 1), (1000, 1, 1), (1000, 10, 1), (10_000, 1, 1), (10_000, 10, 1), (10_000, 10, 16))
    for channels, devices, pipeline in cases:
        each = channels // devices
        with tempfile.TemporaryDirectory() as folder, broker() as port, world(devices, each) as (ports, _):
            row: dict[str, Any] = {"channels": channels, "devices": devices, "pipeline": pipeline}
            for kind in ("asyncio", "pymodbus"):
                command = (PYTHON, "-m", "tests.bench.floors", kind, str(each), "30", *map(str, ports))
                with running(*command) as child:
                    time.sleep(2.5 if kind == "pymodbus" else 1.5)
                    row[kind] = _per_thousand(child.pid, channels, seconds / 2)
            counter = Counter(port)
            with counter.subscriber, agent(site(Path(folder), ports, each, port, 1.0, pipeline)) as child:
                wait_for(lambda counter=counter, devices=devices: len(counter.rows) == devices, 30, "first telemetry")
                time.sleep(2.0)
                before = counter.total()
                row["vedette"] = _per_thousand(child.pid, channels, seconds)
                row["rows received"] = counter.total() - before
                row["resident MB"] = resident_mb(child.pid)
            row["x asyncio"] = row["vedette"] / row["asyncio"]
            row["x pymodbus"] = row["vedette"] / row["pymodbus"]
            rows.append(row)
    return rows


def _per_thousand(pid: int, channels: int, seconds: float) -> float:
    """CPU ms per 1,000 channels of a process that reads `channels` once a second."""
    start, before = time.monotonic(), cpu_seconds(pid)
    time.sleep(seconds)
    spent, took = cpu_seconds(pid) - before, time.monotonic() - start
    return 1000 * spent / (channels / 1000 * took)


def bench_throughput() -> list[dict[str, Any]]:
    """Channels per second on one connection, judged, stored and published; the highest that is sustained."""
    rows = []
    for channels, period, pipeline in ((2000, 0.02, 1), (3000, 0.02, 8), (4000, 0.01, 16), (10_000, 0.02, 32)):
        with tempfile.TemporaryDirectory() as folder, broker() as port, world(1, channels) as (ports, _):
            counter = Counter(port)
            with counter.subscriber, agent(site(Path(folder), ports, channels, port, period, pipeline)) as child:
                wait_for(lambda counter=counter: bool(counter.rows), 30, "first telemetry")
                time.sleep(3.0)
                start, before, cpu = time.monotonic(), counter.total(), cpu_seconds(child.pid)
                time.sleep(8.0)
                took = time.monotonic() - start
                got = counter.total() - before
                rows.append(
                    {
                        "channels": channels,
                        "period s": period,
                        "pipeline": pipeline,
                        "asked channels/s": channels / period,
                        "received channels/s": got * channels / took,
                        "share of polls": got / (took / period),
                        "cpu ms/1000": 1000 * (cpu_seconds(child.pid) - cpu) / max(got * channels / 1000, 1e-9),
                        "resident MB": resident_mb(child.pid),
                    }
                )
    return rows


def bench_latency() -> list[dict[str, Any]]:
    """From the poll that saw it, and from the register's change, to the alarm at a subscriber."""
    rows = []
    for period, flip, seconds in ((0.1, 0.25, 40.0), (1.0, 2.2, 60.0)):
        with tempfile.TemporaryDirectory() as folder, broker() as port, world(1, 100, flip) as (ports, said):
            arrived: list[tuple[str, float]] = []

            def heard(topic: str, payload: bytes, retain: bool, arrived: list[tuple[str, float]] = arrived) -> None:
                if payload and not retain:
                    arrived.append((json.loads(payload)["event"], time.monotonic()))

            counter = Counter(port)
            subscriber = Ear(port, "vedette/+/+/alarm/#", heard)
            with counter.subscriber, subscriber, agent(site(Path(folder), ports, 100, port, period)):
                time.sleep(seconds)
            changes = [s["at"] for s in said if s.get("flip") is True]
            polls = [s["at"] for s in said if s.get("served") is True]
            raised = [at for event, at in arrived if event == "raised"]
            from_poll = _delays(polls, raised)
            from_change = _delays(changes, raised)
            rows.append(
                {
                    "period s": period,
                    "alarms": len(raised),
                    "poll to alarm p50 ms": _ms(from_poll, 50),
                    "poll to alarm p99 ms": _ms(from_poll, 99),
                    "change to alarm p50 ms": _ms(from_change, 50),
                    "change to alarm p99 ms": _ms(from_change, 99),
                    "wait of polling p50 ms": 500 * period,
                    "wait of polling p99 ms": 990 * period,
                    "poll to telemetry p50 ms": _ms(counter.delays, 50),
                    "poll to telemetry p99 ms": _ms(counter.delays, 99),
                }
            )
    return rows


def _delays(causes: list[float], effects: list[float]) -> list[float]:
    """For each cause the time to the first effect after it, if that came before the next cause."""
    found = []
    for cause, following in zip(causes, [*causes[1:], float("inf")], strict=True):
        after = [at for at in effects if cause <= at < following]
        if after:
            found.append(after[0] - cause)
    return found


def bench_rtu() -> list[dict[str, Any]]:
    """Share of the wire limit that one RTU bus reaches, over a pseudo-terminal paced like the wire."""
    from tests.bench import rtu

    return [rtu.measure(baud) for baud in (9600, 19200)]


def bench_interlock() -> list[dict[str, Any]]:
    """From the register that crosses the limit to the coil that is written, whatever else is broken."""
    from tests.bench import interlock

    return interlock.measure()


def bench_day() -> list[dict[str, Any]]:
    """A day of 10,000 channels in a breath: noise, faults, and one real event."""
    from tests.bench import day

    return day.measure()


def bench_start() -> list[dict[str, Any]]:
    """From exec to the first value at a subscriber, and resident memory after ten seconds."""
    rows = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder, broker() as port, world(1, 100) as (ports, _said):
            counter = Counter(port)
            with counter.subscriber:
                start = time.monotonic()
                with agent(site(Path(folder), ports, 100, port, 1.0)) as child:
                    wait_for(lambda counter=counter: counter.first > 0, 20, "first value")
                    first = counter.first - start
                    time.sleep(2.0)
                    rows.append({"first value s": first, "resident MB": resident_mb(child.pid)})
    return [
        {
            "starts": len(rows),
            "first value p50 s": statistics.median(r["first value s"] for r in rows),
            "first value worst s": max(r["first value s"] for r in rows),
            "resident MB": max(r["resident MB"] for r in rows),
        }
    ]


def bench_journal() -> list[dict[str, Any]]:
    """A million records verified, beside bare hashlib; bytes of the journal by channel and hour."""
    from tests.bench import journal

    return journal.measure()


def bench_languages() -> list[dict[str, Any]]:
    """Messages and their CPU in each language, store included, beside a bare loop that sends the same bytes."""
    from tests.bench import languages

    return languages.measure()


SECTIONS: dict[str, tuple[Callable[[], list[dict[str, Any]]], str]] = {
    "cpu": (bench_cpu, "goal: vedette <= 3.0 ms per 1,000 channels"),
    "throughput": (bench_throughput, "goal: >= 300,000 channels/s received"),
    "latency": (bench_latency, "goal: poll to alarm p99 <= 10 ms"),
    "rtu": (bench_rtu, "goal: >= 0.90 of the wire limit"),
    "interlock": (bench_interlock, "goal: p99 <= 1 poll period + 50 ms, and <= 1 s in every case"),
    "day": (bench_day, "goal: no false red, the real event within its bound, replay identical (first row)"),
    "journal": (bench_journal, "goal: 10^6 records <= 15 s; bytes per channel-hour flat (one alarm per 100 channels)"),
    "languages": (bench_languages, "no goal: the ratio to a bare paho loop, or a bare TCP stream"),
    "start": (bench_start, "goal: first value <= 1.5 s, resident <= 60 MB"),
}


def table(rows: list[dict[str, Any]]) -> str:
    heads = list(dict.fromkeys(head for row in rows for head in row))
    cells = [[_cell(row.get(head, "")) for head in heads] for row in rows]
    widths = [max(len(head), *(len(row[i]) for row in cells)) for i, head in enumerate(heads)]
    lines = ["  ".join(head.rjust(w) for head, w in zip(heads, widths, strict=True))]
    lines += ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        print(f"no section {', '.join(unknown)}; known: {', '.join(SECTIONS)}", file=sys.stderr)
        return 64
    if not shutil.which("mosquitto") and not Path("/usr/sbin/mosquitto").exists():
        print("mosquitto is not installed: the bench needs it as the broker (Debian: mosquitto)", file=sys.stderr)
        return 69
    OUT.mkdir(parents=True, exist_ok=True)
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, Linux {platform.release()}"
    )
    print(f"machine: {machine}")
    for name in names or SECTIONS:
        measure, goal = SECTIONS[name]
        rows = measure()
        (OUT / f"{name}.json").write_text(
            json.dumps({"section": name, "machine": machine, "goal": goal, "rows": rows}, indent=2) + "\n"
        )
        title = (measure.__doc__ or "").splitlines()[0]
        print(f"\n{name}: {title}\n{goal}\n{table(rows)}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
