"""An interlock, whole: gas at a register -> trip at a coil -> proof at a broker; a drill; a cut from far away.

The other sides are somebody else's: pymodbus on the wire, mosquitto, and a person at the command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re

from agent.cli import UNAVAILABLE
from agent.cli import main as cli
from simulators.modbus import Device, Register, TcpLine
from tests.rigs.stage import heard, running, told, until
from tests.tools.mosquitto import Mosquitto, needs_mosquitto
from tests.tools.subscriber import Subscriber

pytestmark = needs_mosquitto

SITE = """
[site]
name = "mine"
[store]
path = "state"
ballast_mb = 0
[[bus]]
name = "net"
url = "{bus}"
timeout = 0.3
output = [
  {{ name = "siren", device = "heading", at = "coil:0", armed = true }},
  {{ name = "cut", device = "heading", at = "coil:1", armed = {armed} }},
  {{ name = "alive", device = "heading", at = "coil:2", armed = true, heartbeat = 1.0 }},
]
[[bus.device]]
name = "heading"
period = 0.1
channel = [
  {{ key = "t1", at = "input:0", type = "float32", unit = "%", low = 0.0, high = 10.0, stale = 1.0 }},
  {{ key = "fan", at = "discrete:0", stale = 1.0 }},
  {{ key = "feed", at = "discrete:1", stale = 1.0 }},
]
[[interlock]]
name = "zone"
kind = "methane"
ch4 = {{ "coal/ch4/T1" = "heading/t1" }}
fan = "heading/fan >= 1"
feed = "heading/feed"
alarm = ["siren"]
trip = ["cut"]
heartbeat = "alive"
[[uplink]]
name = "platform"
url = "{broker}"
"""
LAYOUT = [
    Register("t1", "input", 0, "float32"),
    *(Register(key, "discrete", i, "bool") for i, key in enumerate(("fan", "feed"))),
    *(Register(key, "coil", i, "bool") for i, key in enumerate(("siren", "cut", "alive"))),
]


class Heading:
    """The heading, its power cut by a coil, the agent, an ear at the broker, and a person."""

    def __init__(self, path, port, ear):
        self.path, self.port, self.ear = path, port, ear
        self.device = Device("heading", 1, LAYOUT, on_write=self.feed)
        self.device.values |= {"t1": 0.4, "fan": 1.0, "feed": 1.0}

    def feed(self, key, value):
        if key == "cut":
            self.device.values["feed"] = 1.0 - value

    async def gas(self, percent, cut):
        self.device.values["t1"] = percent
        await self.switched(cut)

    async def switched(self, cut):
        await until(lambda: self.device.values["cut"] == cut, what=f"cut {cut}")

    async def event(self, kind, **facts):
        """The facts of the first event of this kind, with these among them, when it came to the broker."""

        def found(messages):
            told_ = (e["facts"] for e in told(messages, "event") if e["kind"] == kind)
            return next((one for one in told_ if facts.items() <= one.items()), None)

        return found(await heard(self.ear, found))

    async def type(self, verb, *words):
        return await asyncio.to_thread(cli, [verb, "-c", str(self.path), *words])


@contextlib.asynccontextmanager
async def heading(folder, armed="true"):
    """A heading in which all is well, and everybody knows."""
    with Mosquitto(folder / "broker") as broker, Subscriber(broker.port, "vedette/#") as ear:
        here = Heading(folder / "site.toml", broker.port, ear)
        line = TcpLine([here.device])
        await line.start()
        here.path.write_text(SITE.format(bus=line.url, broker=broker.url, armed=armed))
        try:
            async with running(here.path):
                await until(lambda: ("siren", 0.0) in [w[1:] for w in here.device.writes], what="what no alarm holds")
                await until(lambda: "alive" in [w[1] for w in here.device.writes], what="a heartbeat")
                yield here
        finally:
            await line.stop()


def test_gas_trips_with_proof_a_drill_changes_nothing_and_a_person_cuts_from_far_away(tmp_path, capsys):
    async def main():
        async with heading(tmp_path) as here:
            await here.gas(2.0, cut=1.0)
            proof = await here.event("trip-proof", output="cut")
            assert (proof["on"], proof["result"]) == (True, "verified")
            assert (proof["rule"], proof["value"], proof["limit"], proof["restore"]) == ("zone.T1.cut", 2.0, 1.5, 1.0)
            assert list(proof["seconds"]) == ["measured-decided", "decided-written", "written-verified"]
            assert all(0.0 <= seconds < 5.0 for seconds in proof["seconds"].values())
            assert await here.type("drill", "zone", "--by", "Li") != 0
            assert "stands now: the chain is being proven for real" in capsys.readouterr().err
            await here.gas(0.4, cut=0.0)
            let_go = await here.event("trip-released", output="cut")
            assert (let_go["on"], let_go["result"], let_go["alarm"]) == (False, "verified", proof["alarm"])

            before = len(here.device.writes)
            assert await here.type("drill", "zone", "--by", "Li") == 0
            said = capsys.readouterr().out
            assert said.splitlines()[-1] == "drill of zone: every link is proven"
            assert {line.split()[0] for line in said.splitlines()[:-1]} == {
                *("sensor", "judgement", "output", "heartbeat", "delivery")
            }
            assert (await here.event("drill"))["proven"] is True
            writes = [(key, value) for _, key, value in here.device.writes[before:] if key != "alive"]
            assert sorted(writes) == [("cut", 0.0), ("siren", 0.0)]  # what stood there, once more
            messages = await heard(here.ear, lambda ms: any(a.get("drill") for a in told(ms, "alarm/")))
            (drilled,) = (m for m in messages if "/alarm/" in m.topic and m.payload and m.body.get("drill"))
            assert (drilled.body["event"], drilled.body["state"]) == ("raised", "normal")
            assert drilled.body["text"].startswith("DRILL by Li: ")
            with Subscriber(here.port, "vedette/#") as late:
                late.client.publish("vedette/end")  # what is retained comes before it
                kept = late.wait(lambda ms: any(m.topic == "vedette/end" for m in ms))
            assert {m.topic for m in kept if m.retained} == {"vedette/mine/gw1/state"}
            assert await here.type("alarms") == 0
            assert "drill" not in capsys.readouterr().out

            point = "zone.remote@heading/t1"
            assert await here.type("alarms", "--demand", point, "--by", "Li", "--reason", "fire next door") == 0
            await here.switched(1.0)
            proof = await here.event("trip-proof", rule="zone.remote")
            assert (proof["by"], proof["reason"], proof["result"]) == ("Li", "fire next door", "verified")
            assert await here.type("alarms", "--withdraw", point, "--by", "Wang", "--reason", "it is out") == 0
            await here.switched(0.0)
            assert (await here.event("trip-released", rule="zone.remote"))["by"] == "Wang"
            return here.path

    path = asyncio.run(main())
    capsys.readouterr()
    assert cli(["audit", "-c", str(path), "--last", "1000"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [r["alarm"]["by"] for r in records if r["kind"] == "alarm" and r["alarm"].get("drill")] == ["Li"]
    events = [r["event"] for r in records if r["kind"] == "event"]
    assert [e["facts"]["proven"] for e in events if e["kind"] == "drill"] == [True]
    assert [e["facts"]["output"] for e in events if e["kind"] == "trip-proof"] == ["siren", "cut", "cut"]


def test_what_is_not_armed_only_advises_and_a_drill_says_that_it_is_not_proven(tmp_path, capsys):
    async def main():
        async with heading(tmp_path, armed="false") as here:
            assert await here.type("drill", "zone.T1.cut@heading/t1", "--by", "Li") == UNAVAILABLE
            said = capsys.readouterr().out
            assert re.search(r"^output +cut +not proven ", said, re.MULTILINE)
            assert said.splitlines()[-1] == "drill of zone.T1.cut@heading/t1: NOT proven"
            drilled = await here.event("drill")
            assert [link["of"] for link in drilled["links"] if link["result"] != "ok"] == ["cut"]
            here.device.values["t1"] = 2.0
            assert (await here.event("trip-proof", output="cut"))["result"] == "failed"
            assert "cut" not in [key for _, key, _ in here.device.writes]

    asyncio.run(main())
