"""The spine, whole: register -> agent in a process of its own -> mosquitto -> an independent ear.

The plants are the simulators' (pymodbus on the wire); their ledger counts the readings outside the agent.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from agent import config, daemon
from agent.cli import main as cli
from tests.rigs.proxy import Proxy
from tests.rigs.stage import heard, plant, readings, running, site, stage, told, until, verdict
from tests.tools.mosquitto import Mosquitto, free_port, needs_mosquitto
from tests.tools.subscriber import Subscriber

pytestmark = needs_mosquitto


def test_a_hazard_at_a_register_becomes_an_alarm_at_a_broker_and_an_order_at_a_coil(tmp_path):
    async def main():
        level = 0.5
        async with stage(tmp_path, 3, 0.1, lambda: [level]) as (device, _, broker, path):
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


def test_a_broker_that_is_away_for_seconds_loses_nothing(tmp_path):
    """200 channels, four times a second; the backlog is marked and comes behind what is live."""

    async def main():
        broker = Mosquitto(tmp_path / "broker")
        proxy = Proxy(("127.0.0.1", broker.port))
        await proxy.start()
        where = f"mqtt://127.0.0.1:{proxy.port}"
        async with stage(tmp_path, 200, 0.25, broker=broker, mqtt=where) as (device, _, _, path):
            with Subscriber(broker.port, "vedette/#") as ear:
                async with running(path):
                    await heard(ear, lambda ms: len(told(ms, "telemetry/plant")) >= 3)
                    await proxy.cut()
                    await asyncio.sleep(5)  # the outage itself
                    await proxy.heal()
                    await heard(ear, lambda ms: len(told(ms, "backfill/plant")) >= 4)
                    served = set(device.served)
                    messages = await heard(ear, lambda ms: {n for n in served if n > min(readings(ms))} <= readings(ms))
        await proxy.stop()
        backfill = told(messages, "backfill/plant")
        assert all(b["historical"] for b in backfill)
        assert not any(b.get("historical") for b in told(messages, "telemetry/plant"))
        assert verdict(messages, device) == (0, 0, 0)

    asyncio.run(main())


def test_an_output_follows_the_alarms_through_loss_of_the_line_and_restarts(tmp_path):
    level = 0.5

    async def main():
        nonlocal level
        async with stage(tmp_path, 2, 0.1, lambda: [level]) as (device, line, broker, path):
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


def test_a_person_takes_a_point_out_of_service_and_back_and_the_journal_has_it_all(tmp_path, capsys):
    """By the command line, through the socket; the siren and the platform follow, and a restart forgets nothing."""

    async def main():
        async with stage(tmp_path, 2, 0.1, lambda: [1.5]) as (device, _, broker, path):

            async def type_(*words):
                return await asyncio.to_thread(cli, ["alarms", "-c", str(path), *words])

            def edges(messages):
                return [a["event"] for a in told(messages, "alarm/")]

            with Subscriber(broker.port, "vedette/#") as ear:
                async with running(path):
                    await until(lambda: device.values["siren"] == 1.0, what="siren on")
                    assert (
                        await type_("--shelve", "gas@plant/c0", "--by", "Li", "--reason", "test", "--hours", "1") == 69
                    )
                    assert "never shelved" in capsys.readouterr().err
                    assert await type_("--take-out", "gas@plant/c0", "--by", "Li", "--reason", "permit 7") == 0
                    await until(lambda: device.values["siren"] == 0.0, what="siren off")
                    await heard(ear, lambda ms: edges(ms) == ["raised", "taken-out"])
                async with running(path):
                    await heard(ear, lambda ms: [s["state"] for s in told(ms, "state")].count("online") == 2)
                    assert await type_() == 0
                    assert "out-of-service" in capsys.readouterr().out
                    assert await type_("--restore", "gas@plant/c0", "--by", "Li") == 0
                    await until(lambda: device.values["siren"] == 1.0, what="siren on again")
                    await heard(ear, lambda ms: edges(ms)[-2:] == ["restored", "raised"])
            return path

    path = asyncio.run(main())
    assert cli(["audit", "-c", str(path)]) == 0
    assert cli(["audit", "-c", str(path), "--last", "1000"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [r["alarm"]["event"] for r in records if r["kind"] == "alarm"] == [
        "raised",
        "taken-out",
        "restored",
        "raised",
    ]
    assert [r["order"]["on"] for r in records if r["kind"] == "order"][-3:] == [True, False, True]
    (out,) = (r["alarm"] for r in records if r["kind"] == "alarm" and r["alarm"]["event"] == "taken-out")
    assert (out["by"], out["reason"]) == ("Li", "permit 7")


def test_a_recording_writes_no_output_and_replays_as_it_was(tmp_path):
    """The release of what no alarm holds comes 1.3 s after a start here; a recording must not have it.

    It judges as the daemon would, though: a feed check by the order that it does not give.
    """
    feed = '[[rule]]\nname = "feed"\nkind = "feedback"\nchannel = "plant/c0"\noutput = "siren"\ndelay = 0.5\n'

    async def main():
        async with stage(tmp_path, 2, 0.1, lambda: [1.5]) as (device, _, _, path):
            device.values["siren"] = 1.0  # somebody else's
            path.write_text(path.read_text() + feed)
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
    assert '"rule":"feed"' in (tmp_path / "out" / "alarms.jsonl").read_text()
    assert cli(["replay", str(tmp_path / "out"), "--compare"]) == 0


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


def test_json_of_check_is_for_programs(tmp_path, capsys):
    from agent.cli import main

    path = site(tmp_path, plant(2), "tcp://127.0.0.1:502", "mqtt://127.0.0.1:1883", 1.0)
    assert main(["check", "-c", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["rules"][0]["channels"] == ["plant/c0"]


def test_what_the_core_knew_outlives_a_restart(tmp_path):
    """A mean of 8 h goes on where it was: the coverage of a new process begins with that of the old one."""
    detector = '[[detector]]\nname = "shift"\nkind = "exposure"\nchannel = "plant/c1"\n'

    async def main():
        async with stage(tmp_path, 2, 0.1, rules=detector) as (_, _, broker, path):
            with Subscriber(broker.port, "vedette/#") as ear:

                def covered(messages):
                    found = [b for b in told(messages, "telemetry/plant") if "c1.coverage" in b["key"]]
                    return [(b["boot"], row[b["key"].index("c1.coverage")]) for b in found for row in b["value"]]

                async with running(path):
                    messages = await heard(ear, lambda ms: len(covered(ms)) > 20)
                async with running(path):
                    boot = covered(messages)[0][0]
                    messages = await heard(ear, lambda ms: any(b != boot and c for b, c in covered(ms)))
                (tmp_path / "state" / "memory.bin").write_bytes(b"vdm1 damaged")
                async with running(path):
                    await heard(ear, lambda ms: any(e["kind"] == "memory-lost" for e in told(ms, "event")))
        before = max(c for b, c in covered(messages) if b == boot and c is not None)
        after = min(c for b, c in covered(messages) if b != boot and c is not None)
        assert after >= before > 0

    asyncio.run(main())
