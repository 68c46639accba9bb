"""Every story in tests/cases replays to the alarms that it expects, byte for byte, in one go and from a restart."""

from pathlib import Path

import msgspec
import pytest

from agent import config, journal
from agent.core.core import Ack, open_alarms
from agent.core.rules import Deviation, Frozen, Rate

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/site.toml"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_case_replays_to_its_alarms(case):
    site = config.load(case / "site.toml")
    core = site.core()
    told = journal.replay(core, journal.read(case / "frames.jsonl", site.layouts))
    assert [msgspec.json.encode(alarm) for alarm in told] == (case / "alarms.jsonl").read_bytes().splitlines()


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_case_with_a_restart_after_every_alarm_tells_the_same(case):
    site = config.load(case / "site.toml")
    if any(isinstance(rule, Rate | Frozen | Deviation) or rule.delay or rule.clear_delay for rule in site.rules):
        pytest.skip("measures and running delays begin anew after a restart")
    core = site.core()
    events = list(journal.read(case / "frames.jsonl", site.layouts))
    if any(isinstance(event, Ack) for event in events):
        pytest.skip("the recorded acknowledgements name the alarms of one boot")
    memory, told = None, []
    for event in events:
        if isinstance(event, journal.Start):
            memory = core.start(event.boot, event.at)
            continue
        memory, verdict = core.step(memory, event)
        if verdict.alarms:
            told += verdict.alarms
            memory, again = core.recall(open_alarms(memory), f"boot{len(told)}", event.at)
            assert again.alarms == ()
    expected = [msgspec.json.decode(line) for line in (case / "alarms.jsonl").read_bytes().splitlines()]
    assert [(a.channel, a.event, a.at.mono) for a in told] == [
        (e["channel"], e["event"], e["at"]["mono"]) for e in expected
    ]


def test_every_case_tells_its_story():
    assert len(CASES) >= 10
    for case in CASES:
        story = (case / "README.md").read_text().splitlines()
        assert story[0].startswith("# ")
        assert len(story) == 3
        assert (case / "alarms.jsonl").stat().st_size > 0
