"""Another judge takes over at any moment, and what did not change goes on as if nothing had been."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from agent import config, journal
from agent.carry import carried
from agent.core.core import Core, Tick, open_alarms
from agent.core.frame import frame, layout
from agent.core.rules import High
from tests.agent.test_checkpoint import CORE, DETECTORS, RULES, SOURCES, STEP, event_of, moment, run

CASES = sorted(path.parent for path in (Path(__file__).parents[1] / "cases").glob("*/site.toml"))
EXTRA = High(name="extra", channel=["*/z", "u/v"], limit=1e9)
OTHER = Core({"u": layout(["v"]), **SOURCES}, [EXTRA, *RULES], "en", DETECTORS)  # the same, among more


def told(verdict):
    alarms = [(a.rule, a.channel, a.edge, a.event, a.state, a.value, a.level) for a in verdict.alarms]
    return sorted(map(str, alarms)), sorted((o.output, o.on) for o in verdict.orders)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=60), st.integers(0, 59))
def test_what_did_not_change_goes_on_as_if_nothing_had_been(steps, cut):
    whole = parted = CORE.start("b", moment(0.0))
    now, judge = 0.0, CORE
    for n, (seconds, what) in enumerate(steps):
        if n == min(cut, len(steps) - 1):
            parted, verdict = carried(judge, parted, OTHER, moment(now))
            assert verdict.alarms == verdict.orders == ()
            judge = OTHER
        now += seconds
        whole, one = CORE.step(whole, event_of(whole, moment(now), what, n))
        parted, other = judge.step(parted, event_of(parted, moment(now), what, n))
        assert told(one) == told(other)
    assert {a.point: a.id for a in open_alarms(whole)}.keys() == {a.point: a.id for a in open_alarms(parted)}.keys()
    assert {k for k, v in whole.held.items() if v} == {k for k, v in parted.held.items() if v}


@pytest.mark.parametrize("case", CASES[::2], ids=lambda path: path.name)
def test_a_case_in_which_judges_take_turns_is_told_as_by_one(case):
    site = config.load(case / "site.toml")
    judge, next_ = site.core(), site.core()
    memory, heard = None, []
    for n, event in enumerate(journal.read(case / "frames.jsonl", site.layouts)):
        if isinstance(event, journal.Start):
            memory = judge.start(event.boot, event.at)
            continue
        memory = memory or judge.start("replay", event.at)
        if n % 29 == 0:
            memory, verdict = carried(judge, memory, next_, event.at)
            assert verdict.alarms == verdict.orders == ()
            judge, next_ = next_, judge
        memory, verdict = judge.step(memory, event)
        heard += verdict.alarms
    assert [msgspec.json.encode(alarm) for alarm in heard] == (case / "alarms.jsonl").read_bytes().splitlines()


def changed(name, **fields):
    """A judge with another word on one rule; without fields: without it."""
    rules = [structs.replace(rule, **fields) if rule.name == name else rule for rule in RULES]
    return Core(SOURCES, [rule for rule in rules if fields or rule.name != name], "en", DETECTORS)


def test_an_alarm_whose_limit_is_moved_stays_the_same_alarm():
    memory, _ = run(CORE.start("b", moment(0.0)), 1, 13, 5.5)
    (before,) = (a for a in open_alarms(memory) if a.rule == "high")
    judge = changed("high", limit=7.0, restore=6.0)
    memory, verdict = carried(CORE, memory, judge, moment(13.0))
    assert (verdict.alarms, verdict.orders) == ((), ())
    memory, heard = run(memory, 13, 30, 5.5, judge)
    assert heard == [(23, "high", "cleared")]  # ten seconds below what clears it now
    (after,) = (a for a in open_alarms(memory) if a.rule == "high")
    assert (after.id, after.edge, after.state) == (before.id, 2, "returned-unacked")


def test_a_delay_under_way_goes_on_when_the_limit_is_moved():
    memory, _ = run(CORE.start("b", moment(0.0)), 1, 6, 5.5)
    judge = changed("high", limit=5.2)
    memory, _ = carried(CORE, memory, judge, moment(6.0))
    assert run(memory, 6, 20, 5.5, judge)[1] == [(11, "high", "raised")]


def test_an_alarm_of_a_rule_that_goes_ends_and_lets_go_of_what_it_held():
    memory, _ = run(CORE.start("b", moment(0.0)), 1, 13, 5.5)
    assert memory.held["siren"]
    (before,) = (a for a in open_alarms(memory) if a.rule == "high")
    memory, verdict = carried(CORE, memory, changed("high"), moment(13.0))
    (end,) = verdict.alarms
    assert (end.id, end.edge, end.state) == (before.id, before.edge + 1, "normal")
    assert "no longer configured" in end.text
    assert [(order.output, order.on) for order in verdict.orders] == [("siren", False)]
    assert not memory.held.get("siren")


def test_an_alarm_that_drives_something_else_lets_go_of_one_and_holds_the_other():
    memory, _ = run(CORE.start("b", moment(0.0)), 1, 13, 5.5)
    memory, verdict = carried(CORE, memory, changed("high", drive=["cut"]), moment(13.0))
    assert {(order.output, order.on) for order in verdict.orders} >= {("siren", False), ("cut", True)}
    assert verdict.alarms == ()


def test_a_channel_that_is_new_begins_and_the_others_stay():
    memory, _ = run(CORE.start("b", moment(0.0)), 1, 6, 5.5)
    sources = {"s": layout(("new", *SOURCES["s"].key), stale=30.0), "t": SOURCES["t"]}
    judge = Core(sources, RULES, "en", DETECTORS)
    memory, _ = carried(CORE, memory, judge, moment(6.0))
    seen = memory.watches["s"].seen
    assert seen.value[:4].tolist()[1:] == [5.5, 4.0, 4.0]
    assert seen.fresh[:2].tolist() == [False, True]
    memory, verdict = judge.step(memory, Tick(moment(7.0)))
    event = frame("s", moment(12.0), sources["s"], [1.0, 5.5, 4.0, 4.0])
    memory, verdict = judge.step(memory, event)
    assert [a.rule for a in verdict.alarms if a.rule == "high"] == ["high"]  # the delay ran on
