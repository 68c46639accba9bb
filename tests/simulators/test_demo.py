"""The demonstration itself, shortened: a real agent, a real cut, the verdict; and that it cannot flatter."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from simulators.demo import demo

SITE = """
[site]
name = "short"
[store]
path = "state"
[[bus]]
name = "net"
url = "tcp://127.0.0.1:5020"
[[bus.device]]
name = "heading"
period = 0.2
profile = "vedette-sim-heading"
[[bus.output]]
name = "siren"
device = "heading"
at = "coil:0"
armed = true
[[rule]]
name = "ch4"
channel = "heading/ch4_t1"
profile = "coal/ch4/T1"
drive = { alarm = ["siren"] }
[[uplink]]
name = "platform"
url = "mqtt://127.0.0.1:1883"
"""

STORY = """
[scene]
seconds = 7.0
linger = 30.0
[[plant]]
name = "heading"
kind = "heading"
[[line]]
name = "net"
url = "tcp://127.0.0.1:5020"
[[device]]
name = "heading"
line = "net"
unit = 1
plant = "heading"
profile = "vedette-sim-heading"
[[beat]]
at = 0.3
do = "cut-uplink"
say = "The cable is cut."
[[beat]]
at = 0.5
do = "set"
plant = "heading"
to = { gas_inflow = 0.5 }
[[beat]]
after = "heading/siren"
do = "set"
plant = "heading"
to = { gas_inflow = 0.045 }
say = "The siren was heard."
[[beat]]
at = 2.5
do = "heal-uplink"
[[hazard]]
name = "methane, 1.0 %"
truth = { plant = "heading", quantity = "ch4_t1", above = 1.0 }
channel = "heading/ch4_t1"
rule = "ch4.alarm"
"""


def run(tmp_path, site=SITE, story=STORY):
    (tmp_path / "site.toml").write_text(site)
    (tmp_path / "story.toml").write_text(story)
    said = []
    code = asyncio.run(demo(site=tmp_path / "site.toml", story=tmp_path / "story.toml", say=said.append, drives=False))
    return code, said


def test_a_short_story_with_a_cut_ends_well(tmp_path):
    code, said = run(tmp_path)
    text = "\n".join(said)
    assert code == 0, text
    assert said[-1] == "demo: hazards 1, alarmed 1, missed 0, false 0, readings lost 0, duplicated 0"
    assert "the relay `siren` goes ON" in text
    assert "The siren was heard." in text
    assert "uplink cut until" in text


def test_an_agent_that_watches_the_wrong_limit_is_found_out(tmp_path):
    """The alarm at 0.2 % is one that no hazard explains, and the one at 1.0 % never comes."""
    rules = SITE.index("[[rule]]"), SITE.index("[[uplink]]")
    wrong = '[[rule]]\nname = "low"\nkind = "high"\nchannel = "heading/ch4_t1"\nlimit = 0.2\ndrive = ["siren"]\n'
    story = STORY.replace('after = "heading/siren"', "at = 2.0").replace("seconds = 7.0", "seconds = 5.0")
    story = story.replace('do = "cut-uplink"', 'do = "say"').replace('do = "heal-uplink"', 'do = "say"')
    code, said = run(tmp_path, SITE[: rules[0]] + wrong + SITE[rules[1] :], story)
    assert code == 1
    assert said[-1] == "demo: hazards 1, alarmed 0, missed 1, false 1, readings lost 0, duplicated 0"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_ends_everything(tmp_path, number, code):
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators.demo"], stdout=subprocess.PIPE, env=environment, text=True
    )
    try:
        for line in process.stdout:
            if "All is calm" in line:
                break
        children = _children(process.pid)
        assert children  # the agent
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(15) == code
        assert "Traceback" not in rest
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert list(tmp_path.iterdir()) == []
    deadline = time.monotonic() + 5
    while any(map(_is_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_is_alive, children))


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def _is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except OSError:
        return False
