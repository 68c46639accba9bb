"""The spine, whole: register -> agent in a process of its own -> mosquitto -> an independent ear.

The plants are the simulators' (pymodbus on the wire); their ledger counts the readings outside the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from agent import config, daemon
from agent.control import ask
from agent.core.errors import LineLost
from simulators.modbus import Device, Register, TcpLine
from tests.tools.mosquitto import Mosquitto, free_port, needs_mosquitto
from tests.tools.subscriber import Subscriber

pytestmark = needs_mosquitto

SITE = """
[site]
name = "spine"
[store]
path = "state"
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
channel = "plant/c0"
limit = 1.0
level = "red"
drive = ["siren"]
[[uplink]]
name = "platform"
url = "{mqtt}"
"""


def plant(channels: int) -> Device:
    """`channels` float32 that move, the ledger `served`, and a siren's coil."""
    registers = [Register(f"c{i}", "holding", 2 * i, "float32") for i in range(channels)]
    registers += [Register("served", "holding", 2 * channels, "uint32"), Register("siren", "coil", 0, "bool")]
    return Device("plant", 1, registers)


def site(folder: Path, device: Device, modbus: str, mqtt: str, period: float) -> Path:
    rows = [f"{r.key},{r.table}:{r.address},{r.type}" for r in device.layout if r.table == "holding"]
    (folder / "points.csv").write_text("\n".join(["key,at,type", *rows]))
    path = folder / "site.toml"
    path.write_text(SITE.format(modbus=modbus, mqtt=mqtt, period=period))
    return path


@contextlib.asynccontextmanager
async def running(path: Path):
    """`vedette run` in a process of its own; ends by SIGTERM."""
    with (path.parent / "agent.log").open("ab") as log:
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent.cli", "run", "-c", str(path), stdout=log, stderr=log, env=os.environ
        )
    try:
        yield agent
    finally:
        if agent.returncode is None:
            agent.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                await agent.wait()


async def heard(ear: Subscriber, enough, seconds=30.0, *more):
    return await asyncio.to_thread(ear.wait, lambda messages: enough(messages, *more), seconds)


async def until(true, seconds=15.0, what="condition"):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        await asyncio.sleep(0.01)


def told(messages, part):
    return [m.body for m in messages if f"/{part}" in m.topic and m.payload]


def verdict(messages, device):
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


async def move(device: Device, channels: int, stop: asyncio.Event, gas=lambda: 0.5):
    rng = random.Random(1)
    while not stop.is_set():
        for i in range(1, channels):
            device.values[f"c{i}"] = rng.random()
        device.values["c0"] = gas() + rng.random() / 100
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await stop.wait()


@contextlib.asynccontextmanager
async def stage(tmp_path, channels, period, gas=lambda: 0.5):
    """A plant that moves, a broker, an ear, and a site file that joins them."""
    device = plant(channels)
    line = TcpLine([device])
    await line.start()
    stop = asyncio.Event()
    mover = asyncio.create_task(move(device, channels, stop, gas))
    broker = Mosquitto(tmp_path / "broker").start()
    try:
        yield device, line, broker, site(tmp_path, device, line.url, broker.url, period)
    finally:
        stop.set()
        await mover
        broker.stop()
        await line.stop()


def test_a_hazard_at_a_register_becomes_an_alarm_at_a_broker_and_an_order_at_a_coil(tmp_path):
    async def main():
        level = 0.5
        async with stage(tmp_path, 3, 0.1, lambda: level) as (device, _, broker, path):
            with Subscriber(broker.port, "vedette/#") as ear:
                async with running(path) as agent:
                    await heard(ear, lambda ms: told(ms, "telemetry/plant"))
                    level = 1.5
                    await heard(ear, lambda ms: any(a["event"] == "raised" for a in told(ms, "alarm/")))
                    await until(lambda: device.values["siren"] == 1.0, what="siren on")
                    level = 0.5
                    await heard(ear, lambda ms: any(a["event"] == "cleared" for a in told(ms, "alarm/")))
                    await until(lambda: device.values["siren"] == 0.0, what="siren off")
                    await heard(ear, lambda ms: sum(e.get("kind") == "order-done" for e in told(ms, "event")) >= 2)
                    agent.send_signal(signal.SIGTERM)
                    async with asyncio.timeout(10):
                        assert await agent.wait() == 0
                messages = await heard(
                    ear, lambda ms: told(ms, "state") and told(ms, "state")[-1]["state"] == "offline"
                )
        raised, cleared = (a for a in told(messages, "alarm/"))
        assert raised["id"] == cleared["id"]
        assert (raised["level"], raised["channel"], raised["limit"]) == ("red", "plant/c0", 1.0)
        assert raised["value"] > 1.0
        topics = {m.topic for m in messages if "/alarm/" in m.topic}
        assert topics == {"vedette/spine/gw1/alarm/red/plant/c0/gas"}
        assert messages[-1].topic.endswith("/state")
        assert verdict(messages, device)[0] == 0

    asyncio.run(main())


def test_a_broker_that_is_down_for_a_minute_loses_nothing(tmp_path):
    """200 channels once a second; the backlog is marked and comes behind what is live."""

    async def main():
        async with stage(tmp_path, 200, 1.0) as (device, _, broker, path):
            with Subscriber(broker.port, "vedette/#") as ear:
                async with running(path):
                    await heard(ear, lambda ms: len(told(ms, "telemetry/plant")) >= 3)
                    broker.stop(kill=True)
                    await asyncio.sleep(60)  # the outage itself
                    broker.start()
                    first = await heard(ear, lambda ms: len(told(ms, "telemetry/plant")) >= 6, 30)
                    missed = 55
                    await heard(ear, lambda ms: len(told(ms, "backfill/plant")) >= missed, 60)
                    served = max(device.served)
                    messages = await heard(
                        ear,
                        lambda ms: any(r[-1] == served for b in told(ms, "telemetry/plant") for r in b["value"]),
                        30,
                    )
        assert first
        backfill = told(messages, "backfill/plant")
        assert all(b["historical"] for b in backfill)
        assert not any(b.get("historical") for b in told(messages, "telemetry/plant"))
        assert verdict(messages, device) == (0, 0, 0)

    asyncio.run(main())


KILLS = 50


def test_fifty_kills_lose_no_alarm_and_no_reading_older_than_the_last_batch(tmp_path):
    """Hazards come and go while the agent is killed again and again, with SIGKILL at any moment.

    Each hazard stands until the platform was told of it, each return until the platform was told of that: an alarm
    that got lost would stop the story. What comes twice must say so. A reading may be missing only if it was among
    the last before a kill: in the batch that was gathered, or in the transaction of that second.
    """
    rng = random.Random(7)
    level, hazards, killed = 0.5, 0, []

    async def weather(ear, stop):
        nonlocal level, hazards
        while not stop.is_set():
            for event, level in (("raised", 1.5), ("cleared", 0.5)):  # noqa: B007
                began = time.monotonic()
                await heard(ear, saw, 30, event, began)
            hazards += 1

    def saw(messages, event, since):
        # The end may also be told by an empty message alone: a raise that was published, and killed before its
        # commit, with its hazard over by the next start, is known to nobody but the broker that retained it.
        late = [m for m in messages if m.mono >= since and "/alarm/" in m.topic]
        return any(m.body["event"] == event if m.payload else event == "cleared" for m in late)

    async def main():
        async with stage(tmp_path, 20, 0.05, lambda: level) as (device, _, broker, path):
            with Subscriber(broker.port, "vedette/#") as ear:
                stop = asyncio.Event()
                story = asyncio.create_task(weather(ear, stop))
                for _ in range(KILLS):
                    async with running(path) as agent:
                        await asyncio.sleep(rng.uniform(0.05, 1.6))  # any moment, start-up included
                        agent.kill()
                        killed.append(time.monotonic())
                stop.set()
                async with running(path):
                    await story
                    last = max(device.served)
                    await heard(ear, lambda ms: max(readings(ms), default=0) > last, 30)
                    await until(lambda: not waiting(path), 30, "an empty queue")
                    return device, list(ear.messages)

    device, messages = asyncio.run(main())
    assert hazards >= 5
    copies = Counter()
    for alarm in told(messages, "alarm/"):
        copies[alarm["id"], alarm["edge"]] += not alarm.get("resent", False)
    assert max(copies.values()) == 1  # of all copies of one edge at most one does not say that it is one
    _, unmarked, disorder = verdict(messages, device)
    assert (unmarked, disorder) == (0, 0)
    got = readings(messages)
    missing = [n for n in device.served if min(got) < n < max(got) and n not in got]
    old = [n for n in missing if not any(0 <= kill - device.served[n] <= 2.5 for kill in killed)]
    assert old == [], f"{len(missing)} missing"


def readings(messages):
    """The ledger's numbers that arrived, live or as backlog."""
    rows = (b["value"] for lane in ("telemetry/plant", "backfill/plant") for b in told(messages, lane))
    return {int(row[-1]) for row in itertools.chain.from_iterable(rows) if row[-1] is not None}


def waiting(path):
    """How much the agent still owes, beyond what each second brings."""
    try:
        return sum(ask(path.parent / "state", {"verb": "status"})["waiting"].values()) > 2
    except LineLost:
        return True


def test_an_output_follows_the_alarms_through_loss_of_the_line_and_restarts(tmp_path):
    level = 0.5

    async def main():
        nonlocal level
        async with stage(tmp_path, 2, 0.1, lambda: level) as (device, line, broker, path):
            device.values["siren"] = 1.0  # an earlier life left it on
            with Subscriber(broker.port, "vedette/#") as ear:
                async with running(path) as agent:
                    await until(lambda: device.values["siren"] == 0.0, what="released at the start")
                    level = 1.5
                    await until(lambda: device.values["siren"] == 1.0, what="siren on")
                    await line.stop()  # the relay module loses its power, and with it its coil
                    device.values["siren"] = 0.0
                    await heard(ear, lambda ms: any(e["kind"] == "line-lost" for e in told(ms, "event")))
                    await line.start()
                    await until(lambda: device.values["siren"] == 1.0, what="siren on again")
                    await heard(ear, lambda ms: any(e["kind"] == "line-recovered" for e in told(ms, "event")))
                    agent.kill()
                device.values["siren"] = 0.0
                async with running(path):
                    await until(lambda: device.values["siren"] == 1.0, what="siren on after a restart")
                    path.write_text(path.read_text().replace('name = "gas"', 'name = "gas2"'))
                async with running(path):  # the rule has another name: the alarm is new, the siren goes on
                    await heard(ear, lambda ms: any(a["rule"] == "gas2" for a in told(ms, "alarm/")))
                    assert device.values["siren"] == 1.0
                    level = 0.5
                    await until(lambda: device.values["siren"] == 0.0, what="siren off")

    asyncio.run(main())


def test_a_recording_writes_no_output(tmp_path):
    """The release of what no alarm holds comes 1.3 s after a start here; a recording must not have it."""

    async def main():
        async with stage(tmp_path, 2, 0.1, lambda: 1.5) as (device, _, _, path):
            device.values["siren"] = 1.0  # somebody else's
            command = [
                sys.executable,
                "-m",
                "agent.cli",
                "record",
                "-c",
                str(path),
                str(tmp_path / "out"),
                "--seconds",
                "3",
            ]
            recorder = await asyncio.create_subprocess_exec(*command)
            async with asyncio.timeout(20):
                assert await recorder.wait() == 0
            assert len(device.served) > 10
            assert device.writes == []

    asyncio.run(main())


def test_a_line_that_is_dead_for_ever_starves_no_watchdog(tmp_path, monkeypatch):
    """The bus lease is renewed by trying; here it runs out after a second."""
    monkeypatch.setattr(daemon, "LINE_LEASE", 1.0)
    path = site(tmp_path, plant(2), f"tcp://127.0.0.1:{free_port()}", "mqtt://127.0.0.1:1", 0.1)

    async def main():
        agent = daemon.Agent(config.load(path))
        task = asyncio.create_task(agent.run())
        await until(lambda: "net" in getattr(agent, "boxes", {}), what="start")
        overdue = []
        for _ in range(40):
            await asyncio.sleep(0.1)
            overdue += agent.leases.overdue()
        agent.stop()
        await task
        return overdue

    assert asyncio.run(main()).count("bus net") <= 15  # between two tries it may be late, never for good


def test_a_second_agent_on_the_same_state_is_refused(tmp_path):
    async def main():
        async with stage(tmp_path, 2, 0.5) as (_, _, broker, path):
            with Subscriber(broker.port, "vedette/#") as ear:
                async with running(path) as first:
                    await heard(ear, lambda ms: told(ms, "telemetry/plant"))
                    async with running(path) as second, asyncio.timeout(20):
                        assert await second.wait() not in (0, 78)
                    assert first.returncode is None
                    n = len(told(ear.messages, "telemetry/plant"))
                    await heard(ear, lambda ms: len(told(ms, "telemetry/plant")) > n)

    asyncio.run(main())


def test_the_wall_clock_may_jump_ten_years_and_nothing_is_judged_otherwise(tmp_path):
    """libfaketime moves the wall clock of the running agent; an on-delay is running meanwhile."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("libfaketime is not installed")

    async def main():
        level = 0.5
        async with stage(tmp_path, 2, 0.1, lambda: level) as (device, _, broker, path):
            path.write_text(path.read_text().replace("limit = 1.0", "limit = 1.0\ndelay = 2.0"))
            stamp = tmp_path / "faketime"
            stamp.write_text("+0")
            env = {
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(stamp),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
            old = dict(os.environ)
            os.environ.update(env)
            try:
                with Subscriber(broker.port, "vedette/#") as ear:
                    async with running(path):
                        os.environ.clear()
                        os.environ.update(old)
                        await heard(ear, lambda ms: told(ms, "telemetry/plant"))
                        level = 1.5
                        begun = time.monotonic()
                        stamp.write_text("+3650d")
                        await heard(ear, lambda ms: any(e["kind"] == "clock-step" for e in told(ms, "event")))
                        stamp.write_text("-3650d")
                        messages = await heard(ear, lambda ms: told(ms, "alarm/"))
                        raised = next(m for m in messages if "/alarm/" in m.topic and m.payload)
                        assert raised.mono - begun >= 1.9
                        await heard(ear, lambda ms: sum(e["kind"] == "clock-step" for e in told(ms, "event")) >= 2)
                        n = len(told(ear.messages, "telemetry/plant"))
                        messages = await heard(ear, lambda ms: len(told(ms, "telemetry/plant")) >= n + 3)
            finally:
                os.environ.clear()
                os.environ.update(old)
        assert verdict(messages, device) == (0, 0, 0)
        assert sum(a["event"] == "raised" for a in told(messages, "alarm/")) == 1
        assert not [a for a in told(messages, "alarm/") if a["rule"] == "silent"]

    asyncio.run(main())


def test_json_of_check_is_for_programs(tmp_path, capsys):
    from agent.cli import main

    path = site(tmp_path, plant(2), "tcp://127.0.0.1:502", "mqtt://127.0.0.1:1883", 1.0)
    assert main(["check", "-c", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["rules"][0]["channels"] == ["plant/c0"]
