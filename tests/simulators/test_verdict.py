"""What arrived against what was true: the arithmetic, and each way in which a demo must fail."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from simulators.platform import Edge, Ink, Platform, Reading, alarm_line, count
from simulators.verdict import Episode, Hazard, Quantity, Signs, follow, judge, report, signs

GAS = Hazard(name="gas", truth=Quantity(plant="p", quantity="ch4", above=1.0), channel="heading/ch4", rule="ch4.alarm")
WET = Hazard(name="wet", truth=Quantity(plant="p", quantity="level", above=3.0), channel="sump/level", rule="flood")
OFFSET = 1_000_000.0  # s, wall minus monotonic


def edge(at, id="b-1", event="raised", channel="heading/ch4", rule="ch4.alarm", arrived=None, **more):
    return Edge(
        id=id,
        edge=1 if event == "raised" else 2,
        event=event,
        level="red",
        channel=channel,
        rule=rule,
        value=1.1,
        limit=1.0,
        unit="%",
        text="",
        at=OFFSET + at,
        arrived=at + 0.1 if arrived is None else arrived,
        **more,
    )


def reading(number, **marks):
    return Reading(number, 0.0, **{"historical": False, "resent": False, **marks})


ALL_THERE = [count("heading", [1, 2], [reading(1), reading(2)])]
TRUE = Episode(GAS, near=9.8, began=10.0, over=20.0, left=21.0)


def verdict(episodes, edges, counts=ALL_THERE, end=100.0):
    return judge(episodes, edges, counts, end, slack=3.0, linger=10.0, offset=OFFSET)


def test_a_told_hazard_is_good_and_its_line_is_exact():
    v = verdict([TRUE], [edge(10.2), edge(22.0, event="cleared")])
    assert v.good
    assert v.line() == "demo: hazards 1, alarmed 1, missed 0, false 0, readings lost 0, duplicated 0"
    assert v.outcomes[0].alarm.arrived - 10.0 == pytest.approx(0.3)


def test_a_hazard_without_its_alarm_is_missed():
    v = verdict([TRUE, Episode(WET, 30.0, 30.0)], [edge(10.2), edge(22.0, event="cleared")])
    assert (v.hazards, v.alarmed, v.missed, v.good) == (2, 1, 1, False)
    assert "MISSED" in "\n".join(report(v, 0.0, OFFSET))


@pytest.mark.parametrize(
    "stray",
    [
        edge(5.0),  # before anything was near
        edge(24.5),  # long after
        edge(10.2, rule="ch4.cut"),  # another rule
        edge(10.2, channel="heading/ch4_t2"),  # another channel
    ],
)
def test_an_alarm_that_no_hazard_explains_is_false(stray):
    v = verdict([TRUE], [edge(10.2, id="b-9"), edge(22.0, id="b-9", event="cleared"), stray])
    assert (v.missed, len(v.false), v.good) == (0, 1, False)


def test_an_alarm_that_stands_long_after_its_hazard_is_false():
    assert verdict([TRUE], [edge(10.2)], end=30.0).good  # it may still clear
    assert len(verdict([TRUE], [edge(10.2)], end=32.0).false) == 1


def test_a_near_miss_excuses_an_alarm_and_asks_for_none():
    near = Episode(GAS, near=9.0, left=11.0)
    assert verdict([near, TRUE], [edge(10.2), edge(22.0, event="cleared")]).hazards == 1
    assert verdict([near], [edge(10.0), edge(11.0, event="cleared")]).false == ()
    assert not verdict([near], []).good  # nothing happened: nothing was shown


def test_an_alarm_held_back_by_an_outage_is_told_late_not_missed():
    v = verdict([TRUE], [edge(10.2, arrived=31.0, resent=True), edge(22.0, event="cleared", arrived=31.1)])
    assert v.good
    text = "\n".join(report(v, 0.0, OFFSET, [(9.0, 30.5)]))
    assert "+21.0 s" in text
    assert "+0.2 s" in text
    assert "uplink cut until 00:30.5" in text


def test_what_the_agent_says_of_itself_is_neither_hazard_nor_false():
    v = verdict([TRUE], [edge(10.2), edge(22.0, event="cleared"), edge(50.0, id="b-7", channel="agent/disk_free")])
    assert (len(v.aside), v.good) == (1, True)


@pytest.mark.parametrize(
    "came",
    [
        [1],  # one lost
        [1, 2, 2],  # one twice, unmarked
        [1, 2, 3],  # one that was never served
        [],
    ],
)
def test_a_reading_too_few_or_too_many_fails(came):
    counts = [count("heading", [1, 2], [reading(n) for n in came])]
    assert not verdict([TRUE], [edge(10.2), edge(22.0, event="cleared")], counts).good


def test_a_device_that_was_never_read_fails():
    assert not verdict([TRUE], [edge(10.2)], [count("heading", [], [])], end=30.0).good


@given(st.sets(st.integers(1, 60)), st.lists(st.tuples(st.integers(1, 60), st.booleans())))
def test_counting_is_set_arithmetic(served, came):
    c = count("d", sorted(served), [reading(n, resent=mark) for n, mark in came])
    assert c.received + c.lost == len(served) == c.served
    assert c.received + c.invented == len({n for n, _ in came})
    assert c.received + c.invented + c.duplicated + c.resent == len(came)
    if not any(mark for _, mark in came):
        assert c.resent == 0


# -- the truth ------------------------------------------------------------------------------------


def watch(values, truth=GAS.truth, accuracy=0.05):
    """Episodes of a hazard whose value takes `values`, one per second."""
    hazard = Hazard(name="h", truth=truth, channel="c", rule="r")
    open_, done = None, []
    for now, value in enumerate(values):
        running = open_ is not None and open_.began is not None and open_.over is None
        open_ = follow(open_, hazard, signs(truth, value, accuracy, running), float(now))
        if open_ is not None and open_.left is not None:
            done.append(open_)
            open_ = None
    return [(e.near, e.began, e.over, e.left) for e in [*done, *([open_] if open_ else [])]]


def test_a_hazard_comes_near_becomes_true_ends_and_leaves():
    assert watch([0.5, 0.97, 1.0, 1.4, 0.98, 0.5]) == [(1.0, 2.0, 4.0, 5.0)]
    assert watch([0.5, 0.97, 0.5]) == [(1.0, None, None, 2.0)]
    assert watch([0.5, 1.2, 0.5, 1.2]) == [(1.0, 1.0, 2.0, 2.0), (3.0, 3.0, None, None)]


def test_a_low_limit_and_a_restore_limit():
    low = Quantity(plant="p", quantity="q", below=0.25)
    assert watch([0.8, 0.2, 0.2, 0.8], low) == [(1.0, 1.0, 3.0, 3.0)]
    cut = Quantity(plant="p", quantity="q", above=1.5, until=1.0)
    assert watch([1.2, 1.6, 1.2, 1.01, 0.9], cut) == [(1.0, 1.0, 4.0, 4.0)]


def test_signs_of_a_condition_open_and_close_at_once():
    hazard = Hazard(name="h", truth=GAS.truth, channel="c", rule="r")
    opened = follow(None, hazard, Signs(True, True), 1.0)
    closed = follow(opened, hazard, Signs(False, False), 5.0)
    assert (closed.near, closed.began, closed.over, closed.left) == (1.0, 1.0, 5.0, 5.0)


# -- the platform's record --------------------------------------------------------------------------


def telemetry(seq, values, **marks):
    message = {
        "schema": 1,
        "boot": "b1",
        "stream": "telemetry/sump",
        "seq": seq,
        "t": [0] * len(values),
        "key": ["level", "served"],
        "unit": ["m", ""],
        "value": [[1.5, v] for v in values],
        "quality": [0] * len(values),
        "synced": True,
        **marks,
    }
    return json.dumps(message).encode()


def test_rows_of_telemetry_are_counted_once_and_marked_repetitions_dropped():
    platform = Platform()
    topic = "vedette/demo/gw1/telemetry/sump"
    platform.take(topic, telemetry(1, [1, 2, None]), 0.0)
    platform.take(topic, telemetry(1, [1, 2, None], resent=True), 1.0)
    platform.take("vedette/demo/gw1/backfill/sump", telemetry(3, [4], historical=True), 2.0)
    assert [r.number for r in platform.readings["sump"]] == [1, 2, 4]
    assert (platform.repeated, platform.twice, platform.missing()) == (1, 0, 1)
    platform.take(topic, telemetry(3, [4]), 3.0)
    assert [r.number for r in platform.readings["sump"]] == [1, 2, 4, 4]
    assert platform.twice == 1


def test_word_that_a_source_is_offline_is_no_reading_of_it():
    """Else a demo would begin whose plants were never heard."""
    platform = Platform()
    platform.take("vedette/demo/gw1/telemetry/sump", telemetry(1, [None, None]), 0.0)
    assert (platform.messages, platform.strange, platform.readings) == (1, 0, {})


JSON = st.recursive(st.none() | st.text() | st.integers(), st.lists)


@given(
    st.one_of(st.binary(), JSON.map(json.dumps).map(str.encode)),
    st.sampled_from(["vedette", "vedette/a/b/alarm/red/s/k/r", "vedette/a/b/telemetry/s", "vedette/a/b/state"]),
)
def test_the_platform_survives_whatever_arrives(payload, topic):
    platform = Platform()
    platform.take(topic, payload, 0.0)
    assert not platform.edges
    assert not platform.readings


def test_an_alarm_becomes_a_line_in_colour_or_plain():
    told = structs.replace(edge(10.0), text="heading/ch4 at 1.1 %")
    assert alarm_line(told, Ink(False)) == "RED     raised   heading/ch4 at 1.1 %"
    assert alarm_line(told, Ink(False), held=17.2) == "RED     raised   [17 s ago] heading/ch4 at 1.1 %"
    assert "\x1b[" in alarm_line(told, Ink(True))


def test_an_unknown_kind_of_message_is_strange_not_silent():
    platform = Platform()
    platform.take("vedette/demo/gw1/telegrams/sump", telemetry(1, [1]), 0.0)
    assert platform.strange == 1
