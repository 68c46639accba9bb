"""In the cab, whole: what an eye says of the driver -> agent in a process of its own -> a buzzer's coil and a voice.

The eye is a register map of somebody else's stack (pymodbus), so that no picture is needed: the same columns, judged
and obeyed by the same program. The voice is a real program that notes when it was begun.
"""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import pairwise

from agent.cli import main as cli
from agent.core import words
from agent.sights import CABIN
from simulators.modbus import Device, Register, TcpLine
from tests.models.test_fatigue import SHUT, seen
from tests.rigs.stage import running, until

LATEST = 3.0  # s from the decision to the buzzer, on a machine as busy as it likes; 0.3 is the promise, see T19
PERIOD = 0.05  # s
NOTE = "import sys, time; open(sys.argv[1], 'a').write(f'{time.monotonic()} {sys.argv[2]}' + chr(10))"
SITE = """
[site]
name = "coach"
language = "zh"
builtin = false
[store]
path = "state"
[[bus]]
name = "net"
url = "{url}"
[[bus.device]]
name = "cab"
period = {period}
points = "points.csv"
[[bus.output]]
name = "buzzer"
device = "cab"
at = "coil:0"
armed = true
[[bus]]
name = "voice"
driver = "speaker"
language = "zh"
speak = ["{python}", "-c", "{note}", "{said}", "{{text}}"]
[[bus.output]]
name = "say.wake"
say = "wake"
armed = true
[[detector]]
kind = "fatigue"
name = "driver"
channel = [{channels}]
speed = "cab/speed"
[[rule]]
name = "eyes_closed"
channel = "cab/driver.closure"
profile = "vehicle/eyes-closed/fast"
start_when = ["cab/driver.grade >= 2"]
drive = ["buzzer", "say.wake"]
"""


def test_who_shuts_the_eyes_hears_of_it_at_once(tmp_path, capsys):
    keys = [key for key, *_ in CABIN]
    layout = [Register(key, "holding", 2 * i, "float32") for i, key in enumerate([*keys, "speed"])]
    device = Device("cab", 1, [*layout, Register("buzzer", "coil", 0, "bool")])
    said, path = tmp_path / "said", tmp_path / "site.toml"
    rows = [f"{one.key},holding:{one.address},float32,{'km/h' if one.key == 'speed' else ''}" for one in layout]
    (tmp_path / "points.csv").write_text("\n".join(["key,at,type,unit", *rows]))

    def show(**told):
        row = seen(**told)
        device.values |= {key: row[key] for key in keys} | {"speed": row["v/speed"]}

    async def main():
        line = TcpLine([device])
        await line.start()
        channels = ", ".join(f'"cab/{key}"' for key in keys)
        facts = {"url": line.url, "period": PERIOD, "python": sys.executable, "note": NOTE, "said": said}
        path.write_text(SITE.format(channels=channels, **facts))
        show()
        try:
            async with running(path):
                await until(lambda: len(device.writes) > 0, what="buzzer released at the start")
                for _ in range(3):
                    show(**SHUT)
                    await until(lambda: device.values["buzzer"] == 1.0, what="buzzer on")
                    show()
                    await until(lambda: device.values["buzzer"] == 0.0, what="buzzer off")
        finally:
            await line.stop()

    asyncio.run(main())
    assert cli(["audit", "-c", str(path), "--last", "1000"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    proofs = [r["event"]["facts"] for r in records if r["kind"] == "event" and r["event"]["kind"] == "trip-proof"]
    for output in ("buzzer", "say.wake"):
        took = [one["mono"]["written"] - one["mono"]["decided"] for one in proofs if one["output"] == output]
        assert len(took) == 3
        assert max(took) <= LATEST
    assert [(a, b) for (_, _, a), (_, _, b) in pairwise(device.writes)].count((0.0, 1.0)) == 3
    begun = [line.split(" ", 1) for line in said.read_text().splitlines()]
    assert {text for _, text in begun} == {words.VOICE["zh"]["wake"]}
    decided = [one["mono"]["decided"] for one in proofs if one["output"] == "say.wake"]
    heard = [min(float(at) for at, _ in begun if float(at) >= when) for when in decided]
    assert max(at - when for at, when in zip(heard, decided, strict=True)) <= 2 * LATEST, "a program takes time to load"
