"""The daemon goes on by another site file: what did not change is not touched, and a wrong file changes nothing.

The devices are pymodbus's own servers, which count connections; the platform listens at mosquitto.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.cli import main as cli
from agent.uplink.sparkplug_wire import decode
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


async def reloaded(path: Path, capsys) -> tuple[int, str]:
    """`vedette reload`: its exit code, and what it said."""
    capsys.readouterr()
    code = await asyncio.to_thread(cli, ["reload", "-c", str(path), "--by", "Li"])
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

                    write({"alpha": alpha, "beta": beta}, [*both, ("typo", "gama", 1.0)])
                    code, said = await reloaded(path, capsys)
                    assert code == 78
                    for part in ("site.toml:", "no channel is called `gama-head/level`", "nothing was changed"):
                        assert part in said
                    ms = await heard(ear, lambda ms: events(ms, "configuration-refused"))
                    assert events(ms, "configuration-refused")[0]["facts"]["by"] == "Li"

                    write({"alpha": alpha}, both[:1], node="gw2")
                    code, said = await reloaded(path, capsys)
                    assert (code, "node is 'gw2', not 'gw1': that needs a restart" in said) == (78, True)
                    path.write_text("[site\n")
                    assert (await reloaded(path, capsys))[0] == 78
                    assert (alpha.connected, beta.connected, beta.here) == (1, 1, 1)
                    assert events(ear.messages, "configuration-changed") == []

                    # Now right: `gas` gets another limit, `dust` stays, `water` goes with its line, another line comes.
                    write({"alpha": alpha, "gamma": gamma}, [("gas", "alpha", 20.0), both[1], ("air", "gamma", 10.0)])
                    code, said = await reloaded(path, capsys)
                    assert code == 0, said
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
                    scada = await heard(host, lambda ms: len(births(ms)) >= 3)
                    assert not [m for m in scada if "/NDEATH/" in m.topic]

                # One session, no hole, nothing twice; the births say which configuration is in force.
                states = told(ms, "state")
                assert [state["state"] for state in states] == ["online"] * 3
                assert len({state["boot"] for state in states}) == 1
                assert len({state["config"] for state in states}) == 3
                names = {config: points for config, _, points in births(scada)}
                assert len({number for _, number, _ in births(scada)}) == 1
                assert names.keys() == {state["config"] for state in states}
                for state, expected in zip(states, ({"gas", "water"}, {"gas", "air"}, {"gas"}), strict=True):
                    assert names[state["config"]] & {"gas", "water", "air"} == expected
                streams = Streams(ms)
                assert (streams.holes(), streams.unmarked) == ([], 0)
                # `dust` was raised once, and nothing else was ever said of it.
                assert [a["event"] for a in told(ms, "alarm/") if a["rule"] == "dust"] == ["raised"]
                assert not [e for e in told(ms, "event") if e["kind"] == "line-lost" and "alpha" in e["source"]]

    asyncio.run(main())
