"""The daemon goes on by another site file: what did not change is not touched, and a wrong file changes nothing.

The devices are pymodbus's own servers, which count connections; the platform listens at mosquitto.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent import config, daemon
from agent.cli import main as cli
from agent.core.core import open_alarms
from agent.reload import compared
from agent.uplink.sparkplug_wire import decode
from simulators.modbus import Device, Register, TcpLine
from tests.rigs.stage import Streams, heard, running, told, until
from tests.tools.mosquitto import Mosquitto, free_port, needs_mosquitto
from tests.tools.subscriber import Subscriber

pytestmark = needs_mosquitto

SITE = """
[site]
name = "change"
node = "{node}"
[store]
path = "state"
{lines}
{rules}
[[uplink]]
name = "platform"
url = "mqtt://127.0.0.1:{broker}"
spread = 0
[[uplink]]
name = "scada"
kind = "sparkplug"
url = "mqtt://127.0.0.1:{broker}"
spread = 0
{uplinks}
"""
LINE = """
[[bus]]
name = "{name}"
url = "tcp://127.0.0.1:{port}"
[[bus.device]]
name = "{name}-head"
unit = 1
period = 0.1
channel = [{{ key = "level", at = "holding:0", type = "uint16", stale = 2.0 }}]
"""
RULE = """
[[rule]]
name = "{name}"
kind = "high"
channel = "{channel}"
limit = {limit}
level = "red"
"""


class Head:
    """A device with one register, and how often somebody connected and asked."""

    def __init__(self, level: int) -> None:
        self.port, self.connected, self.asked, self.here = free_port(), 0, 0, 0
        registers = SimData(0, values=[level] * 10, datatype=DataType.REGISTERS)
        self.server = ModbusTcpServer(
            SimDevice(1, simdata=[registers]),
            address=("127.0.0.1", self.port),
            trace_connect=self._connect,
            trace_pdu=self._ask,
        )

    def _connect(self, on: bool) -> None:
        self.connected += on
        self.here += 1 if on else -1

    def _ask(self, sending: bool, pdu):
        self.asked += not sending
        return pdu


@contextlib.asynccontextmanager
async def heads(*levels: int) -> AsyncIterator[list[Head]]:
    found = [Head(level) for level in levels]
    for head in found:
        await head.server.serve_forever(background=True)
    try:
        yield found
    finally:
        for head in found:
            await head.server.shutdown()


@contextlib.asynccontextmanager
async def stopped(broker: Mosquitto) -> AsyncIterator[Mosquitto]:
    with broker:
        yield broker


async def reloaded(path: Path, capsys, *more: str) -> tuple[int, str]:
    """`vedette reload`: its exit code, and what it said."""
    capsys.readouterr()
    code = await asyncio.to_thread(cli, ["reload", "-c", str(path), "--by", "Li", *more])
    out, errors = capsys.readouterr()
    return code, out + errors


def events(ms, kind):
    return [event for event in told(ms, "event") if event.get("kind") == kind]


def births(ms) -> list[tuple[str, int, set[str]]]:
    """Of each NBIRTH: the configuration in force, the number of the session, and the alarm points that it names."""
    found = []
    for payload in [decode(m.payload) for m in ms if "/NBIRTH/" in m.topic]:
        metrics = {one.name: one.value for one in payload.metrics}
        points = {name for name in metrics if name.startswith("Alarms/") and name.count("/") == 3}
        found.append((metrics["Properties/Configuration"], metrics["bdSeq"], {p.rpartition("/")[2] for p in points}))
    return found


def test_what_did_not_change_is_not_touched_and_a_wrong_file_changes_nothing(tmp_path, capsys):
    async def main():
        path = tmp_path / "site.toml"
        async with heads(15, 15, 15) as (alpha, beta, gamma), stopped(Mosquitto(tmp_path / "broker")) as broker:

            def write(lines, rules, node="gw1", uplinks="") -> None:
                lines = "".join(LINE.format(name=name, port=head.port) for name, head in lines.items())
                rules = "".join(
                    RULE.format(name=name, channel=f"{line}-head/level", limit=limit) for name, line, limit in rules
                )
                path.write_text(SITE.format(node=node, lines=lines, rules=rules, broker=broker.port, uplinks=uplinks))

            both = [("gas", "alpha", 10.0), ("dust", "alpha", 10.0), ("water", "beta", 10.0)]
            write({"alpha": alpha, "beta": beta}, both)
            with Subscriber(broker.port, "vedette/#") as ear, Subscriber(broker.port, "spBv1.0/#") as host:
                async with running(path) as agent:
                    ms = await heard(ear, lambda ms: len(told(ms, "alarm/")) == 3)
                    raised = {alarm["rule"]: alarm["id"] for alarm in told(ms, "alarm/")}
                    assert (alpha.connected, beta.connected) == (1, 1)
                    await heard(host, births)

                    write({"alpha": alpha, "beta": beta}, [*both, ("typo", "gama", 1.0)])
                    code, said = await reloaded(path, capsys)
                    assert code == 78
                    for part in ("site.toml:", "no channel is called `gama-head/level`", "nothing was changed"):
                        assert part in said
                    ms = await heard(ear, lambda ms: events(ms, "configuration-refused"))
                    assert events(ms, "configuration-refused")[0]["facts"]["by"] == "Li"

                    (tmp_path / "other.toml").write_text(path.read_text())
                    code, said = await reloaded(tmp_path / "other.toml", capsys)
                    assert (code, f"runs by {path}, not by" in said) == (69, True)
                    _, said = await reloaded(tmp_path / "other.toml", capsys, "--lang", "zh")
                    assert f"本代理按 {path} 运行,而不是" in said
                    path.write_text("[site\n")
                    assert (await reloaded(path, capsys))[0] == 78
                    assert (alpha.connected, beta.connected, beta.here) == (1, 1, 1)
                    assert events(ear.messages, "configuration-changed") == []

                    # Now right: `gas` gets another limit, `dust` stays, `water` goes with its line, another line comes.
                    write({"alpha": alpha, "gamma": gamma}, [("gas", "alpha", 20.0), both[1], ("air", "gamma", 10.0)])
                    code, said = await reloaded(path, capsys)
                    assert code == 0, said
                    assert "没有不同" in (await reloaded(path, capsys, "--lang", "zh"))[1]
                    for part in ("1 line gone (beta)", "1 line new (gamma)", "1 rule changed (gas)"):
                        assert part in said
                    ms = await heard(
                        ear, lambda ms: [a["rule"] for a in told(ms, "alarm/") if a["rule"] == "air"] and ms
                    )
                    ms = await heard(ear, lambda ms: len(told(ms, "alarm/")) == 6)
                    ended = {a["rule"]: a for a in told(ms, "alarm/") if a["event"] == "cleared"}
                    assert {rule: a["id"] for rule, a in ended.items()} == {r: raised[r] for r in ("gas", "water")}
                    assert "no longer configured" in ended["water"]["text"]
                    assert ended["gas"]["value"] == 15
                    await until(lambda: beta.here == 0, what="the line that is gone is let go")
                    await heard(ear, lambda ms: len(told(ms, "state")) == 2)
                    assert (alpha.connected, alpha.here, gamma.here) == (1, 1, 1)

                    # SIGHUP does the same; an uplink comes, one line is read by another name.
                    more = f'[[uplink]]\nname = "second"\nurl = "mqtt://127.0.0.1:{broker.port}"\nprefix = "other"\n'
                    write({"alpha": alpha, "delta": gamma}, [both[0], both[1]], uplinks=more + "spread = 0\n")
                    with Subscriber(broker.port, "other/#") as second:
                        agent.send_signal(signal.SIGHUP)
                        await heard(second, lambda ms: told(ms, "telemetry/delta-head") and told(ms, "state"))
                    asked = alpha.asked
                    await until(lambda: alpha.asked > asked + 5, what="it goes on")
                    assert (alpha.connected, alpha.here, gamma.connected) == (1, 1, 2)
                    ms = list(ear.messages)
                    scada = await heard(host, lambda ms: len({config for config, _, _ in births(ms)}) == 3)
                    assert not [m for m in scada if "/NDEATH/" in m.topic]

                # One session, no hole, nothing twice; the births say which configuration is in force.
                states = told(ms, "state")
                assert [state["state"] for state in states] == ["online"] * 3
                assert len({state["boot"] for state in states}) == 1
                assert len({state["config"] for state in states}) == 3
                names = {config: points for config, _, points in births(scada)}
                assert len({number for _, number, _ in births(scada)}) == 1
                assert names.keys() == {state["config"] for state in states}
                # A point that is gone may be named once more: its last edge, too, has to be of a metric that was born.
                points = (({"gas", "water"}, set()), ({"gas", "air"}, {"water"}), ({"gas"}, {"air"}))
                for state, (expected, gone) in zip(states, points, strict=True):
                    assert expected <= names[state["config"]] & {"gas", "water", "air"} <= expected | gone
                streams = Streams(ms)
                assert (streams.holes(), streams.unmarked) == ([], 0)
                # `dust` was raised once, and nothing else was ever said of it.
                assert [a["event"] for a in told(ms, "alarm/") if a["rule"] == "dust"] == ["raised"]
                assert not [e for e in told(ms, "event") if e["kind"] == "line-lost" and "alpha" in e["source"]]

    asyncio.run(main())


DRIVEN = """
[site]
name = "change"
[store]
path = "state"
[web]
listen = "127.0.0.1:0"
{web}
[[bus]]
name = "net"
url = "{url}"
timeout = {timeout}
[[bus.device]]
name = "plant"
period = 0.1
channel = [{{ key = "c", at = "holding:0", type = "float32", stale = 2.0 }}]
[[bus.output]]
name = "siren"
device = "plant"
at = "coil:0"
armed = true
[[rule]]
name = "{name}"
kind = "high"
channel = "plant/c"
limit = 1.0
drive = ["siren"]
"""


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("site", {"node": "gw2"}, "[site] node is 'gw2', not 'gw1': that needs a restart"),
        ("store", {"journal_mb": 5}, "[store] journal_mb is 5"),
        ("evidence", {"mb": 100}, "[evidence] mb is 100"),
        ("web", {"listen": "127.0.0.1:9"}, "[web] listen is '127.0.0.1:9'"),
        ("web", None, "[web] goes: that needs a restart"),
    ],
)
def test_what_cannot_be_changed_under_way_is_said(tmp_path, field, value, why):
    path = tmp_path / "site.toml"
    path.write_text(DRIVEN.format(url="tcp://h", timeout=0.5, name="gas", web=""))
    old = config.load(path)
    assert not compared(old, config.load(path)).moves
    changed = structs.replace(getattr(old, field), **value) if value is not None else None
    (said,) = compared(old, structs.replace(old, **{field: changed})).restart
    assert said.startswith(why)


def test_what_an_alarm_holds_stays_held_when_its_line_begins_anew(tmp_path, monkeypatch):
    """And systemd hears that it reloads; an alarm whose rule has another name now is another alarm, which holds it."""

    async def main():
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        heard.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        said: list[str] = []
        loop = asyncio.get_running_loop()
        loop.add_reader(heard, lambda: said.append(heard.recv(200).decode().split("\n")[0]))
        path = tmp_path / "site.toml"
        device = Device("plant", 1, [Register("c", "holding", 0, "float32"), Register("siren", "coil", 0, "bool")])
        device.values["c"] = 2.0
        line = TcpLine([device])
        await line.start()

        def write(timeout, name, web="") -> None:
            path.write_text(DRIVEN.format(url=line.url, timeout=timeout, name=name, web=web))

        write(0.5, "gas")
        agent = daemon.Agent(config.load(path))
        life = asyncio.create_task(agent.run())
        await until(lambda: device.values["siren"] == 1.0, what="siren on")
        await until(lambda: "READY=1" in said, what="all have begun")
        device.writes.clear()
        write(0.7, "gas", 'language = "zh"')
        told = await agent.reload("Li")
        assert told["changes"]["lines"]["changed"] == ["net"]
        assert "web" in told["changes"]["other"]
        await until(lambda: device.writes, what="it is written once more")
        assert all(value == 1.0 for _, _, value in device.writes)
        assert [alarm.edge for alarm in open_alarms(agent.memory)] == [1]

        device.writes.clear()
        write(0.7, "methane", 'language = "zh"')
        told = await agent.reload("Li")
        assert told["changes"]["other"] == []
        assert (told["changes"]["lines"], told["changes"]["rules"]["gone"]) == ({"kept": 1}, ["gas"])
        await until(lambda: [a.rule for a in open_alarms(agent.memory)] == ["methane"], what="the other alarm")
        assert all(value == 1.0 for _, _, value in device.writes)  # the hazard stands, under another name

        path.write_text(path.read_text().replace('drive = ["siren"]', ""))
        await agent.reload("Li")
        await until(lambda: device.values["siren"] == 0.0, what="siren off: nothing holds it any longer")
        agent.stop()
        await life
        await line.stop()
        loop.remove_reader(heard)
        heard.close()
        told = [one for one in said if one in ("READY=1", "RELOADING=1")]
        assert told == ["READY=1", *["RELOADING=1", "READY=1"] * 3]

    asyncio.run(main())
