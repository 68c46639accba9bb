"""Every story in tests/cases replays to the alarms that it expects, byte for byte, in one go and from a restart."""

from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from agent import checkpoint, config, journal
from agent.core.alarm import Alarm
from agent.core.core import Ack, open_alarms

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/site.toml"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_case_replays_to_its_alarms(case):
    site = config.load(case / "site.toml")
    core = site.core()
    told = journal.replay(core, journal.read(case / "frames.jsonl", site.layouts))
    assert [msgspec.json.encode(alarm) for alarm in told] == (case / "alarms.jsonl").read_bytes().splitlines()


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_case_with_a_restart_after_every_alarm_tells_the_same(case):
    """Also where delays run and windows fill: what was known is kept beside the open alarms."""
    site = config.load(case / "site.toml")
    core = site.core()
    expected = [msgspec.json.decode(line, type=Alarm) for line in (case / "alarms.jsonl").read_bytes().splitlines()]
    point_of = {alarm.id: alarm.point for alarm in expected}
    memory, told = None, []
    for event in journal.read(case / "frames.jsonl", site.layouts):
        if isinstance(event, journal.Start):
            memory = core.start(event.boot, event.at)
            continue
        if isinstance(event, Ack):  # it names an alarm of the one boot of the recording
            known = {alarm.point: alarm.id for alarm in open_alarms(memory)}
            event = structs.replace(event, id=known.get(point_of[event.id], event.id))
        memory, verdict = core.step(memory, event)
        if verdict.alarms:
            told += verdict.alarms
            data = checkpoint.pack(core, memory, event.at, "kernel")
            fresh = core.start(f"boot{len(told)}", event.at)
            fresh = checkpoint.unpack(core, fresh, data, event.at, "kernel")
            memory, again = core.adopt(fresh, open_alarms(memory), event.at)
            assert again.alarms == ()
    assert [(a.channel, a.rule, a.event, a.at.mono) for a in told] == [
        (e.channel, e.rule, e.event, e.at.mono) for e in expected
    ]


def test_every_case_tells_its_story():
    assert len(CASES) >= 10
    for case in CASES:
        story = (case / "README.md").read_text().splitlines()
        assert story[0].startswith("# ")
        assert len(story) == 3
        assert (case / "alarms.jsonl").stat().st_size > 0
