"""The judge, told in minutes and per cent."""

import cProfile
import pstats

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.alarm import LATCHING, LOCK, NEXT, PLAIN, Event, State, is_active
from agent.core.core import Ack, Action, Core, Kept, Tick, open_alarms
from agent.core.frame import Instant, Quality, frame, layout
from agent.core.rules import Bad, Deviation, Feedback, Frozen, High, Low, Manual, Rate, Silence, Vote

NAN = float("nan")


def at(seconds):
    return Instant(float(seconds), 1.7e9 + seconds, True)


def run(rules, columns, step=60.0, quality=None, unit="%", stale=1e9, boot="t"):
    """Judge equally spaced frames of one source `s`; `columns` is {key: values}."""
    keys = list(columns)
    made = layout(keys, [unit] * len(keys), stale=stale)
    core = Core({"s": made}, rules)
    memory = core.start(boot, at(0))
    alarms = []
    for i, row in enumerate(zip(*columns.values(), strict=True)):
        q = Quality.GOOD if quality is None else quality[i]
        memory, verdict = core.step(memory, frame("s", at(i * step), made, row, q))
        alarms += verdict.alarms
    return alarms


def edges(alarms, step=60.0):
    return [(a.event, a.at.mono / step) for a in alarms]


GAS = High(name="gas", channel=["s/*"], limit=1.0, restore=0.8, level="red")


def test_methane_that_creeps_over_the_limit_raises_once_and_clears_late():
    alarms = run([GAS], {"ch4": [0.3, 0.9, 1.0, 1.2, 0.9, 0.7]})
    assert edges(alarms) == [("raised", 2), ("cleared", 5)]
    assert alarms[0].id == alarms[1].id
    assert [a.state for a in alarms] == ["active-unacked", "returned-unacked"]
    assert "1 %" in alarms[0].text


def test_the_limit_itself_raises_and_the_restore_limit_itself_does_not_clear():
    same = High(name="gas", channel=["s/*"], limit=1.0, restore=1.0)
    assert edges(run([same], {"ch4": [0.99, 1.0, 1.0, 0.9999]})) == [("raised", 1), ("cleared", 3)]


def test_a_low_limit_is_the_mirror_of_a_high_one():
    beach = Low(name="beach", channel=["s/*"], limit=70.0, restore=75.0)
    assert edges(run([beach], {"beach": [80, 71, 70, 74, 75, 75.1]})) == [("raised", 2), ("cleared", 5)]


def test_on_delay_needs_the_condition_without_a_break():
    slow = High(name="level", channel=["s/*"], limit=3.0, delay=120.0)
    assert edges(run([slow], {"level": [3, 3, 2, 3, 3, 3, 3]})) == [("raised", 5)]
    assert run([slow], {"level": [3, 3, 2, 3, 3, 3, 3]})[0].since.mono == 180.0


def test_off_delay_needs_the_return_without_a_break():
    slow = High(name="level", channel=["s/*"], limit=3.0, clear_delay=120.0)
    assert edges(run([slow], {"level": [3, 2, 2, 3, 2, 2, 2]})) == [("raised", 0), ("cleared", 6)]


@pytest.mark.parametrize(
    ("quality", "raises"),
    [
        (Quality.GOOD, True),
        (Quality.UNCERTAIN, True),
        (Quality.OVER_RANGE, True),
        (Quality.CALIBRATING, False),
        (Quality.STALE, False),
        (Quality.FAULT, False),
        (Quality.OFFLINE, False),
    ],
)
def test_up_to_over_range_a_value_may_raise(quality, raises):
    assert bool(run([GAS], {"ch4": [2.0]}, quality=[quality])) is raises


@pytest.mark.parametrize("quality", [q for q in Quality if q is not Quality.GOOD])
def test_only_good_may_clear(quality):
    alarms = run([GAS], {"ch4": [2.0, 0.1, 0.1]}, quality=[Quality.GOOD, quality, Quality.GOOD])
    assert edges(alarms) == [("raised", 0), ("cleared", 2)]


def test_a_missed_sample_neither_raises_nor_clears_nor_restarts_a_delay():
    slow = High(name="gas", channel=["s/*"], limit=1.0, delay=120.0)
    assert edges(run([slow], {"ch4": [1.0, NAN, 1.0]}, quality=[0, 1, 0])) == [("raised", 2)]
    assert edges(run([GAS], {"ch4": [1.0, NAN, 0.1]}, quality=[0, 1, 0])) == [("raised", 0), ("cleared", 2)]


@pytest.mark.parametrize("quality", [Quality.STALE, Quality.FAULT, Quality.OFFLINE])
def test_a_blind_sensor_of_an_interlock_counts_as_exceeded(quality):
    safe = High(name="cut", channel=["s/*"], limit=1.5, fail_safe=True)
    alarms = run([safe], {"ch4": [0.1, NAN, 0.1]}, quality=[Quality.GOOD, quality, Quality.GOOD])
    assert edges(alarms) == [("raised", 1), ("cleared", 2)]
    assert alarms[0].value is None


def test_rate_is_a_slope_and_not_a_difference_of_two_points():
    rise = Rate(name="rise", channel=["s/*"], limit=1.0, per=60.0, window=300.0)
    ramp = [0.5 * i for i in range(8)] + [3.5 + 1.5 * i for i in range(1, 10)]
    raised = run([rise], {"level": ramp})
    assert raised
    assert 8 <= raised[0].at.mono / 60 <= 13
    assert not run([rise], {"level": [0, 0, 0, 0, 0, 0, 2.4, 0, 0, 0, 0, 0]})  # one spike is no rise
    assert not run([rise], {"level": [0.0, 5.0]})  # too little seen


def test_rate_downwards_and_both_ways():
    fall = Rate(name="fall", channel=["s/*"], limit=1.0, window=180.0, direction="down")
    both = Rate(name="both", channel=["s/*"], limit=1.0, window=180.0, direction="both")
    down, up = [-2.0 * i for i in range(6)], [2.0 * i for i in range(6)]
    assert run([fall], {"x": down})
    assert not run([fall], {"x": up})
    assert run([both], {"x": down})
    assert run([both], {"x": up})


def test_deviation_is_measured_from_the_median_of_the_others():
    rule = Deviation(name="odd", channel=["s/*"], limit=0.5)
    alarms = run([rule], {"a": [1.0, 1.0], "b": [1.1, 1.1], "c": [0.9, 2.0]})
    assert [(a.channel, a.event) for a in alarms] == [("s/c", "raised")]


def test_siblings_may_stand_in_other_sources_and_blind_ones_do_not_count():
    one = layout(["x"])
    core = Core(dict.fromkeys("abc", one), [Deviation(name="odd", channel=["*/x"], limit=0.5)])
    memory = core.start("t", at(0))
    alarms = []
    for source, value, quality in [("a", 1.0, 0), ("b", 9.0, Quality.FAULT), ("c", 1.0, 0), ("a", 3.0, 0)]:
        memory, verdict = core.step(memory, frame(source, at(1), one, [value], quality))
        alarms += verdict.alarms
    assert [a.channel for a in alarms] == ["a/x"]


def test_a_frozen_sensor_is_found_and_noise_within_the_band_does_not_hide_it():
    rule = Frozen(name="stuck", channel=["s/*"], limit=180.0, band=0.01)
    assert edges(run([rule], {"x": [1.0, 2.0, 2.005, 2.0, 2.001, 2.002, 2.5]})) == [("raised", 4), ("cleared", 6)]


def frozen_run(samples, restart=None):
    """Edges for samples of (value, quality), one a minute; with a restart before sample number `restart`."""
    made = layout(["x"], stale=1e9)
    core = Core({"s": made}, [Frozen(name="stuck", channel=["s/*"], limit=180.0, band=0.01)])
    memory, told = core.start("t", at(0)), []
    for i, (value, quality) in enumerate(samples):
        if i == restart:
            memory, _ = core.recall(open_alarms(memory), "u", at(60 * i))
        memory, verdict = core.step(memory, frame("s", at(60 * i), made, [value], quality))
        told += [(a.event, i) for a in verdict.alarms]
    return told


def test_neither_a_missed_poll_nor_a_restart_makes_a_frozen_sensor_alive():
    still = [(1.0, 0), (2.0, 0), (2.0, 0), (2.0, 0), (2.0, 0)]
    assert frozen_run([*still, (NAN, 1), (2.0, 0), (2.0, 0), (3.0, 0)]) == [("raised", 4), ("cleared", 8)]
    assert frozen_run([*still, (2.0, 0), (2.0, 0), (3.0, 0)], restart=5) == [("raised", 4), ("cleared", 7)]
    # missed polls stop the clock, they do not set it back
    assert frozen_run([(1.0, 0), (2.0, 0), (NAN, 1), (2.0, 0), (NAN, 1), (2.0, 0), (2.0, 0), (2.0, 0)]) == [
        ("raised", 6)
    ]


def test_a_rate_counts_each_reading_once_however_often_time_is_told():
    made = layout(["x"], stale=1e9)
    rise = Rate(name="rise", channel=["s/*"], limit=5.5, per=60.0, window=30.0, delay=20.0)
    for ticks in (False, True):
        core = Core({"s": made}, [rise])
        memory, told = core.start("t", at(0)), []
        for second in range(0, 120):
            if second % 10 == 0:
                memory, verdict = core.step(memory, frame("s", at(second), made, [0.1 * second]))
                told += [(a.event, second) for a in verdict.alarms]
            if ticks:
                memory, verdict = core.step(memory, Tick(at(second)))
                told += [(a.event, second) for a in verdict.alarms]
        assert [event for event, _ in told] == ["raised"], (ticks, told)
        assert 30 <= told[0][1] <= 50


def test_time_alone_clears_nothing():
    made = layout(["x"], stale=1e9)
    core = Core({"s": made}, [High(name="gas", channel=["s/*"], limit=1.0, clear_delay=5.0)])
    memory, _ = core.step(core.start("t", at(0)), frame("s", at(0), made, [2.0]))
    memory, _ = core.step(memory, frame("s", at(10), made, [0.5]))
    for second in range(11, 40):
        memory, verdict = core.step(memory, Tick(at(second)))
        assert verdict.alarms == ()
    _, verdict = core.step(memory, frame("s", at(40), made, [0.5]))
    assert [a.event for a in verdict.alarms] == ["cleared"]


def test_what_a_new_connection_does_not_know_is_as_old_as_the_core_knows():
    made = layout(["x", "y"], stale=10.0)
    core = Core({"s": made}, [High(name="trip", channel=["s/y"], limit=1.0, fail_safe=True)])
    memory, _ = core.step(core.start("t", at(0)), frame("s", at(1), made, [0.0, 0.0]))
    memory, verdict = core.step(memory, frame("s", at(2), made, [0.0, NAN], [0, Quality.UNCERTAIN], [0.0, 1e9]))
    assert verdict.alarms == ()
    assert verdict.frames[0].age.tolist() == [0.0, 1.0]
    memory, verdict = core.step(memory, frame("s", at(13), made, [0.0, NAN], [0, Quality.UNCERTAIN], [0.0, 0.0]))
    assert [a.rule for a in verdict.alarms] == ["trip"]
    assert verdict.frames[0].quality.tolist() == [Quality.GOOD, Quality.STALE]


def test_silence_of_a_source_is_known_within_its_limit_and_by_time_alone():
    made = layout(["x", "y"], stale=3.0)
    core = Core({"s": made}, [Silence(name="silent", channel=["s"])])
    memory = core.start("t", at(0))
    memory, verdict = core.step(memory, frame("s", at(1), made, [1.0, 2.0]))
    seen = []
    for second in range(2, 12):
        memory, verdict = core.step(memory, Tick(at(second)))
        seen += [(a.event, second) for a in verdict.alarms]
        for f in verdict.frames:
            seen.append((Quality(int(f.quality[0])).name, second))
            assert np.isnan(f.value).all()  # the last number is never shown again as if it were new
    assert seen == [("raised", 4), ("STALE", 5), ("OFFLINE", 11)]
    memory, verdict = core.step(memory, frame("s", at(12), made, [1.0, 2.0]))
    assert [a.event for a in verdict.alarms] == ["cleared"]


def test_a_restart_does_not_make_a_dead_source_look_alive():
    made = layout(["x"], stale=3.0)
    core = Core({"s": made}, [Silence(name="silent", channel=["s"])])
    memory, raised = core.step(core.start("t", at(0)), Tick(at(4)))
    memory, _ = core.recall(open_alarms(memory), "u", at(5))
    memory, verdict = core.step(memory, Tick(at(6)))
    assert verdict.alarms == ()
    memory, verdict = core.step(memory, frame("s", at(7), made, [1.0]))
    assert [(a.id, a.event) for a in verdict.alarms] == [(raised.alarms[0].id, "cleared")]


def test_a_source_that_never_spoke_is_silent_too():
    core = Core({"s": layout(["x"], stale=3.0)}, [Silence(name="silent", channel=["s"])])
    _, verdict = core.step(core.start("t", at(0)), Tick(at(4)))
    assert [a.channel for a in verdict.alarms] == ["s"]


def test_an_old_value_in_a_living_frame_goes_stale_and_is_an_alarm_of_its_own():
    made = layout(["x", "y"], stale=3.0)
    core = Core({"s": made}, [Bad(name="unfit", channel=["s/*"])])
    memory = core.start("t", at(0))
    memory, _ = core.step(memory, frame("s", at(1), made, [1.0, 2.0]))
    memory, verdict = core.step(memory, frame("s", at(5), made, [1.0, NAN], [0, 1], [0.0, 4.0]))
    assert [(a.channel, a.rule) for a in verdict.alarms] == [("s/y", "unfit")]
    memory, verdict = core.step(memory, frame("s", at(6), made, [1.0, 2.0]))
    assert [a.event for a in verdict.alarms] == ["cleared"]


def test_a_dead_source_is_one_alarm_and_not_one_for_each_channel():
    made = layout(["a", "b", "c"], stale=3.0)
    core = Core({"s": made}, [Bad(name="unfit", channel=["s/*"]), Silence(name="silent", channel=["s"])])
    memory, _ = core.step(core.start("t", at(0)), frame("s", at(1), made, [1, 2, 3]))
    alarms = []
    for second in range(2, 30):
        memory, verdict = core.step(memory, Tick(at(second)))
        alarms += verdict.alarms
    assert [a.rule for a in alarms] == ["silent"]


def test_a_dead_source_with_a_broken_channel_and_unequal_limits_is_still_one_alarm():
    made = layout(["a", "b", "c"], stale=[3.0, 3.0, 9.0])
    core = Core({"s": made}, [Bad(name="unfit", channel=["s/*"]), Silence(name="silent", channel=["s"])])
    memory, verdict = core.step(core.start("t", at(0)), frame("s", at(1), made, [1, NAN, 3], [0, Quality.FAULT, 0]))
    assert [a.channel for a in verdict.alarms] == ["s/b"]
    alarms = []
    for second in range(2, 60):
        memory, verdict = core.step(memory, Tick(at(second)))
        alarms += verdict.alarms
    assert [(a.rule, a.event) for a in alarms] == [("silent", "raised")]


def test_a_source_of_several_requests_that_dies_is_one_alarm_and_a_part_of_it_that_dies_is_its_own():
    """Of a hundred floats the first 62 come with one reply and the others with the next, some ms later: when the device
    dies between two polls, or between two replies, no channel is told by itself."""
    made = layout(["x", "y"], stale=3.0)
    core = Core({"s": made}, [Bad(name="unfit", channel=["s/*"]), Silence(name="silent", channel=["s"])])

    def told(last_x, last_y, until):
        memory, edges = core.start("b", at(0)), []
        for now in range(1, 10 * until):  # tenths of a second; polled each second, x 0.1 s before y is
            polled = now % 10 == 0 and now <= 10 * max(last_x, last_y)
            good = now <= 10 * last_x, now <= 10 * last_y
            value, quality = [1.0 if g else NAN for g in good], [0 if g else Quality.UNCERTAIN for g in good]
            seen = frame("s", at(now / 10), made, value, quality, [0.1, 0.0]) if polled else Tick(at(now / 10))
            memory, verdict = core.step(memory, seen)
            edges += [(a.rule, a.channel, a.event) for a in verdict.alarms]
        return edges

    assert told(5.0, 5.0, 60) == [("silent", "s", "raised")]
    assert told(4.0, 5.0, 60) == [("silent", "s", "raised")]  # between two replies
    assert told(5.0, 30.0, 30) == [("unfit", "s/x", "raised")]  # one block is mute, the other goes on


def test_a_saturated_sensor_is_unfit():
    alarms = run([Bad(name="unfit", channel=["s/*"])], {"x": [4.0, 1.0]}, quality=[Quality.OVER_RANGE, Quality.GOOD])
    assert edges(alarms) == [("raised", 0), ("cleared", 1)]


# -- life ---------------------------------------------------------------------------------------------


TABLE = """
    from        raise   clear     ack     reset   shelve   suppress    take_out  restore  remind
    NORMAL      ACTIVE  .         .       .       SHELVED  SUPPRESSED  OUT       .        .
    ACTIVE      .       RETURNED  ACKED   .       SHELVED  SUPPRESSED  OUT       .        .
    ACKED       .       NORMAL    .       .       SHELVED  SUPPRESSED  OUT       .        ACTIVE
    RETURNED    ACTIVE  .         NORMAL  .       SHELVED  SUPPRESSED  OUT       .        .
    LATCHED     ACTIVE  .         HELD    .       SHELVED  SUPPRESSED  OUT       .        .
    HELD        ACTIVE  .         .       NORMAL  SHELVED  SUPPRESSED  OUT       .        .
    SHELVED     .       .         .       .       .        .           OUT       NORMAL   .
    SUPPRESSED  .       .         .       .       SHELVED  .           OUT       NORMAL   .
    OUT         .       .         .       .       .        .           .         NORMAL   .
"""
LATCHES = {("ACTIVE", "CLEAR"): "LATCHED", ("ACKED", "CLEAR"): "HELD"}
LOCKS = {("OUT", "CLEAR"): "NORMAL"} | {(s.name, "TAKE_OUT"): s.name for s in State if not is_active(s)}


def test_the_table_of_states():
    head, *rows = (line.split() for line in TABLE.strip().splitlines())
    told = {
        (row[0], e.upper()): row[0] if s == "." else s for row in rows for e, s in zip(head[1:], row[1:], strict=True)
    }
    lives = {PLAIN: told, LATCHING: told | LATCHES, LOCK: told | LOCKS}
    for life, table in lives.items():
        assert {(s, e): State(int(NEXT[life, State[s], Event[e]])).name for s, e in table} == table


class Site:
    """One source of some channels under some rules, told in seconds."""

    def __init__(self, *rules, keys=("x",), boot="b"):
        self.made = layout(list(keys))
        self.core = Core({"s": self.made}, rules)
        self.memory = self.core.start(boot, at(0))

    def step(self, event):
        self.memory, verdict = self.core.step(self.memory, event)
        return [(a.event, a.state) for a in verdict.alarms], [(o.output, o.on) for o in verdict.orders]

    def read(self, second, *values):
        return self.step(frame("s", at(second), self.made, values))

    def do(self, verb, second, by="Li", reason="calibration", seconds=0.0, channel="s/x", rule="gas"):
        action = Action(verb, rule, channel, by, at(second), reason, seconds)
        return self.core.refusal(self.memory, action) or self.step(action)

    def restart(self, second):
        self.memory, verdict = self.core.recall(open_alarms(self.memory), f"after-{second}", at(second))
        return [(a.event, a.state) for a in verdict.alarms], [(o.output, o.on) for o in verdict.orders]


def high(**more):
    return High(name="gas", channel=["s/x"], limit=1.0, **{"level": "orange", **more})


def test_what_latches_holds_its_output_until_a_person_who_has_seen_it_resets_it():
    site = Site(high(latch=True, drive=["siren"], level="red"))
    assert site.read(1, 2.0) == ([("raised", "active-unacked")], [("siren", True)])
    assert site.read(2, 0.1) == ([("cleared", "latched-unacked")], [])
    assert site.do("reset", 3) == "it is latched-unacked: there is nothing to reset"
    assert site.restart(4) == ([], [("siren", True)])
    id = open_alarms(site.memory)[0].id
    assert site.step(Ack(id, "Li", at(5))) == ([("acknowledged", "latched-acked")], [])
    assert site.do("reset", 6) == ([("reset", "normal")], [("siren", False)])
    assert open_alarms(site.memory) == []


def test_a_new_hazard_under_a_latch_is_a_new_alarm_and_the_output_never_falls():
    site = Site(high(latch=True, drive=["siren"]))
    site.read(1, 2.0)
    site.read(2, 0.1)
    assert site.read(3, 2.0) == ([("raised", "active-unacked")], [])
    site.step(Ack(open_alarms(site.memory)[0].id, "Li", at(4)))
    assert site.read(5, 0.1) == ([("cleared", "latched-acked")], [])
    assert site.do("reset", 6) == ([("reset", "normal")], [("siren", False)])


def test_shelving_silences_for_its_time_and_what_stands_then_is_raised_anew():
    site = Site(high(drive=["siren"]))
    site.read(1, 2.0)
    assert site.do("shelve", 2, seconds=60.0) == ([("shelved", "shelved")], [("siren", False)])
    assert site.read(60, 5.0) == ([], [])
    assert site.step(Tick(at(61))) == ([], [])
    told, orders = site.step(Tick(at(62)))
    assert told == [("restored", "normal"), ("raised", "active-unacked")]
    assert orders == [("siren", True)]


def lock(**more):
    return high(restore=0.5, start_when=["s/fan < 0.5"], lock=True, drive=["lock"], level="red", **more)


@pytest.mark.parametrize("fan", [0.0, float("nan")])
def test_a_lock_begins_only_while_its_condition_holds_or_nobody_can_see(fan):
    site = Site(lock(), keys=("x", "fan"))
    assert site.read(1, 2.0, 1.0) == ([], [])
    assert site.read(2, 2.0, fan) == ([("raised", "active-unacked")], [("lock", True)])
    assert site.read(3, 2.0, 1.0) == ([], [])  # once it stands, the fan does not matter
    assert site.read(4, 0.6, 1.0) == ([], [])
    assert site.read(5, 0.4, 0.0) == ([("cleared", "returned-unacked")], [("lock", False)])


def test_an_on_delay_begins_when_the_conditions_for_being_raised_hold():
    site = Site(lock(delay=3.0), keys=("x", "fan"))
    site.read(1, 2.0, 1.0)
    assert site.read(10, 2.0, 0.0) == ([], [])
    assert site.read(12, 2.0, 0.0) == ([], [])
    assert site.read(13, 2.0, 0.0)[0] == [("raised", "active-unacked")]


def test_a_lock_that_a_person_lets_go_is_in_force_again_once_its_condition_is_over():
    site = Site(lock(), keys=("x", "fan"))
    assert site.do("take-out", 1) == "it is normal: there is nothing to take-out"
    site.read(2, 2.0, 0.0)
    assert site.do("take-out", 3, reason="") == "why? a reason is needed, or the number of the permit"
    assert site.do("take-out", 4, reason="permit 7") == ([("taken-out", "out-of-service")], [("lock", False)])
    assert site.read(5, 3.0, 0.0) == ([], [])
    assert site.restart(6) == ([], [])
    assert site.read(7, 0.6, 0.0) == ([], [])
    assert site.read(8, 0.4, 0.0) == ([("cleared", "normal")], [])
    assert site.read(9, 2.0, 0.0) == ([("raised", "active-unacked")], [("lock", True)])


@pytest.mark.parametrize(("gas", "clears"), [(0.4, True), (1.0, False), (float("nan"), False)])
def test_what_is_cleared_under_a_condition_stands_while_that_fails_or_nobody_can_see(gas, clears):
    fan = Low(name="fan", channel=["s/fan"], limit=0.5, clear_when=["s/x < 1"], drive=["cut"])
    site = Site(fan, keys=("x", "fan"))
    assert site.read(1, 0.4, 0.0) == ([("raised", "active-unacked")], [("cut", True)])
    told = ([("cleared", "returned-unacked")], [("cut", False)]) if clears else ([], [])
    assert site.read(2, gas, 1.0) == told
    assert site.read(3, 0.4, 1.0) == (([], []) if clears else ([("cleared", "returned-unacked")], [("cut", False)]))


def test_a_condition_in_another_source_is_looked_at_when_that_is_read():
    made = layout(["x"])
    rule = High(name="gas", channel=["a/x"], limit=1.0, start_when=["b/x >= 1"])
    core = Core({"a": made, "b": made}, [rule])
    memory, verdict = core.step(core.start("b", at(0)), frame("b", at(0.5), made, [0.0]))
    for event, told in (
        (frame("a", at(1), made, [2.0]), []),
        (frame("b", at(1.1), made, [1.0]), ["raised"]),
        (frame("b", at(1.2), made, [0.0]), []),
    ):
        memory, verdict = core.step(memory, event)
        assert [a.event for a in verdict.alarms] == told


def test_what_a_person_demands_is_done_at_once_and_taken_back_only_when_nothing_else_demands_it():
    site = Site(Manual(name="remote", channel=["s/x"], drive=["cut"], level="orange"), high(drive=["cut"]))
    assert site.do("demand", 1, reason="", rule="remote") == "why? a reason is needed, or the number of the permit"
    assert site.do("demand", 2, by=" ", rule="remote") == "who does it? a name is needed"
    assert site.do("withdraw", 3, rule="remote") == "it is normal: there is nothing to withdraw"
    assert site.do("demand", 4, rule="gas") == "gas is not manual: demand does not apply"
    assert site.do("demand", 5, reason="blast", rule="remote") == ([("raised", "active-unacked")], [("cut", True)])
    (open_,) = open_alarms(site.memory)
    assert (open_.by, open_.reason, open_.text) == ("Li", "blast", "cut on by Li: blast")
    assert site.do("demand", 6, rule="remote") == "it is active-unacked: there is nothing to demand"
    assert site.do("shelve", 6, seconds=60.0, rule="remote") == "remote is manual: shelve does not apply"
    assert site.read(7, 2.0) == ([("raised", "active-unacked")], [])
    (gas,) = (a.id for a in open_alarms(site.memory) if a.rule == "gas")
    assert site.do("withdraw", 8, rule="remote") == f"cut is demanded by others: {gas}"
    assert site.restart(9) == ([], [("cut", True)])
    assert site.read(10, 0.0) == ([("cleared", "returned-unacked")], [])
    assert site.do("withdraw", 11, rule="remote") == ([("cleared", "returned-unacked")], [("cut", False)])
    assert site.do("demand", 12, rule="remote")[0] == [("raised", "active-unacked")]
    assert len({a.id for a in open_alarms(site.memory)}) == 2  # a new demand is a new alarm


def test_what_protects_lives_is_calibrated_under_a_permit():
    site = Site(Bad(name="gas", channel=["s/x"], calibrating=True, level="red", drive=["cut"]))

    def calibrate(second):
        return site.step(frame("s", at(second), site.made, [2.0], Quality.CALIBRATING))

    assert site.read(1, 0.1) == ([], [])
    assert calibrate(2) == ([("raised", "active-unacked")], [("cut", True)])
    assert site.read(3, 0.1) == ([("cleared", "returned-unacked")], [("cut", False)])
    site.do("take-out", 4, reason="permit 12")
    assert calibrate(5) == ([], [])
    site.do("restore", 6)
    assert calibrate(7)[0] == [("raised", "active-unacked")]


def test_what_was_normal_can_be_shelved_and_comes_back_in_silence_of_hazard():
    site = Site(high())
    assert site.do("shelve", 1, seconds=60.0) == ([("shelved", "shelved")], [])
    assert site.read(2, 5.0) == ([], [])
    assert site.read(3, 0.0) == ([], [])
    assert site.do("restore", 4) == ([("restored", "normal")], [])
    assert site.read(5, 0.0) == ([], [])


def test_shelving_survives_a_restart_and_ends_when_it_should():
    site = Site(high())
    site.read(1, 2.0)
    site.do("shelve", 2, seconds=60.0)
    assert site.restart(30) == ([], [])
    assert site.read(31, 2.0) == ([], [])
    assert site.step(Tick(at(61))) == ([], [])
    assert site.step(Tick(at(62)))[0][0] == ("restored", "normal")


@pytest.mark.parametrize(
    ("rule", "verb", "more", "says"),
    [
        (high(level="red"), "shelve", {"seconds": 60.0}, "never shelved"),
        (high(fail_safe=True), "shelve", {"seconds": 60.0}, "never shelved"),
        (high(), "shelve", {"seconds": 60.0, "by": " "}, "a name is needed"),
        (high(), "shelve", {"seconds": 60.0, "reason": ""}, "a reason is needed"),
        (high(), "shelve", {"seconds": 0.0}, "within a shift"),
        (high(), "shelve", {"seconds": 9 * 3600.0}, "at most 8 h"),
        (high(), "take-out", {"reason": ""}, "permit"),
        (high(), "restore", {}, "nothing to restore"),
        (high(), "restore", {"rule": "gsa"}, "no rule gsa watches s/x"),
    ],
)
def test_what_may_not_be_done_is_refused_in_words_and_changes_nothing(rule, verb, more, says):
    site = Site(rule)
    assert says in site.do(verb, 1, **more)
    action = Action(verb, more.get("rule", "gas"), "s/x", more.get("by", "Li"), at(1), more.get("reason", "r"), 0.0)
    if site.core.refusal(site.memory, action):
        assert site.step(action) == ([], [])


def test_a_red_alarm_is_taken_out_of_service_and_stays_out_until_it_is_restored():
    site = Site(high(level="red", drive=["siren"]))
    site.read(1, 2.0)
    assert site.do("take-out", 2, reason="permit 17") == ([("taken-out", "out-of-service")], [("siren", False)])
    assert open_alarms(site.memory)[0].reason == "permit 17"
    assert site.restart(3) == ([], [])
    assert site.step(Tick(at(100_000))) == ([], [])
    assert site.do("shelve", 100_001, seconds=60.0) != ([("shelved", "shelved")], [])
    assert site.do("restore", 100_002) == ([("restored", "normal")], [])
    assert site.read(100_003, 2.0)[0] == [("raised", "active-unacked")]


def test_a_condition_on_another_channel_suppresses_by_design():
    site = Site(high(when=["s/run >= 1"], delay=2.0, drive=["siren"]), keys=("x", "run"))
    assert site.read(1, 2.0, 0.0) == ([], [])
    assert site.read(2, 2.0, 1.0) == ([], [])  # in force now: the delay begins here
    assert site.read(3, 2.0, 1.0) == ([], [])
    assert site.read(4, 2.0, 1.0) == ([("raised", "active-unacked")], [("siren", True)])
    assert site.read(5, 2.0, 0.0) == ([("suppressed", "suppressed")], [("siren", False)])
    assert site.read(6, 2.0, 0.0) == ([], [])
    assert site.read(7, 0.1, 1.0) == ([("restored", "normal")], [])


def test_a_condition_that_nobody_can_see_suppresses_nothing():
    site = Site(high(when=["s/run >= 1"]), keys=("x", "run"))
    site.step(frame("s", at(1), site.made, [0.0, float("nan")], [Quality.GOOD, Quality.FAULT]))
    assert site.step(frame("s", at(2), site.made, [2.0, float("nan")], [Quality.GOOD, Quality.FAULT]))[0]


def test_what_was_kept_of_an_alarm_stands_in_every_later_edge_and_moves_nothing():
    made = layout(["x"])
    core = Core({"s": made}, [GAS])
    memory, first = core.step(core.start("b", at(0)), frame("s", at(1), made, [2.0]))
    id = first.alarms[0].id
    memory, _ = core.step(memory, Ack(id, "Li", at(2)))
    memory, verdict = core.step(memory, Kept(id, "e sha256:1", at(3)))
    assert [(a.event, a.state, a.edge, a.by) for a in verdict.alarms] == [("evidence", "active-acked", 3, "")]
    memory, verdict = core.step(memory, Kept(id, "e sha256:1", at(3)))
    assert verdict.alarms == verdict.orders == ()
    memory, verdict = core.step(memory, Kept(id, "f sha256:2", at(4)))
    memory, verdict = core.step(memory, frame("s", at(5), made, [0.1]))
    assert [(a.event, a.edge, a.evidence) for a in verdict.alarms] == [("cleared", 5, ("e sha256:1", "f sha256:2"))]
    memory, verdict = core.step(memory, Kept(id, "g sha256:3", at(6)))
    assert verdict.alarms == ()
    memory, verdict = core.step(memory, frame("s", at(7), made, [2.0]))
    assert verdict.alarms[0].evidence == ()


def test_acknowledged_before_and_after_the_return():
    made = layout(["x"])
    core = Core({"s": made}, [GAS])
    memory, first = core.step(core.start("b", at(0)), frame("s", at(1), made, [2.0]))
    id = first.alarms[0].id
    memory, verdict = core.step(memory, Ack(id, "Li", at(2)))
    assert [(a.state, a.by, a.edge) for a in verdict.alarms] == [("active-acked", "Li", 2)]
    memory, verdict = core.step(memory, Ack(id, "Li", at(2)))
    assert verdict.alarms == ()
    memory, verdict = core.step(memory, frame("s", at(3), made, [0.1]))
    assert [a.state for a in verdict.alarms] == ["normal"]
    assert open_alarms(memory) == []
    memory, verdict = core.step(memory, frame("s", at(4), made, [2.0]))
    assert verdict.alarms[0].id != id
    memory, verdict = core.step(memory, frame("s", at(5), made, [0.1]))
    memory, verdict = core.step(memory, Ack(verdict.alarms[0].id, "Li", at(6)))
    assert [a.state for a in verdict.alarms] == ["normal"]
    assert core.step(memory, Ack("nobody", "Li", at(7)))[1].alarms == ()


def test_an_output_is_on_while_any_of_its_alarms_is_active():
    made = layout(["x", "y"])
    core = Core({"s": made}, [High(name="gas", channel=["s/*"], limit=1.0, drive=["siren"])])
    memory = core.start("b", at(0))
    orders = []
    for second, row in enumerate([(2, 0), (2, 2), (0, 2), (0, 0)]):
        memory, verdict = core.step(memory, frame("s", at(second), made, row))
        orders += [(o.output, o.on, second) for o in verdict.orders]
    assert orders == [("siren", True, 0), ("siren", False, 3)]


def test_a_feed_that_contradicts_the_order_is_an_alarm_after_two_seconds():
    feed = Feedback(name="feed", channel=["s/feed"], output="cut", level="red")
    site = Site(high(drive=["cut"]), feed, keys=("x", "feed"))
    rows = [
        (0.1, 1, []),  # energised, not cut
        (2.0, 1, ["gas raised"]),  # the cut is ordered
        (2.0, 1, []),  # the first reading since then
        (2.0, 1, []),
        (2.0, 1, ["feed raised"]),  # and after 2 s it is still energised
        (2.0, 0, ["feed cleared"]),
        (0.1, 0, ["gas cleared"]),  # restored
        (0.1, 0, []),
        (0.1, 0, []),
        (0.1, 0, ["feed raised"]),  # and it is not energised again
        (0.1, 1, ["feed cleared"]),
    ]
    for second, (gas, energised, told) in enumerate(rows):
        site.memory, verdict = site.core.step(site.memory, frame("s", at(second), site.made, [gas, energised]))
        assert [f"{a.rule} {a.event}" for a in verdict.alarms] == told, second


# -- votes --------------------------------------------------------------------------------------------

LOST = float("nan")


@pytest.mark.parametrize(
    ("bad", "rows", "told"),
    [
        ("votes", [(2, 0, 0), (2, 2, 0), (2, 0, 0)], [(1, "raised"), (2, "cleared")]),
        ("votes", [(2, 0, 0), (2, 0, LOST), (2, 0, 0)], [(1, "raised"), (2, "cleared")]),  # 1 of 2
        ("abstains", [(2, 0, 0), (2, 0, LOST), (2, 2, LOST)], [(2, "raised")]),  # 2 of 2
        ("votes", [(2, 2, 0), (0.9, 0.9, 0), (0.7, 0.9, 0)], [(0, "raised"), (2, "cleared")]),  # restore 0.8
        ("abstains", [(2, 2, 0), (LOST, LOST, 0), (0, LOST, 0)], [(0, "raised"), (2, "cleared")]),
        ("votes", [(0, LOST, LOST)], [(0, "raised")]),
    ],
)
def test_two_out_of_three(bad, rows, told):
    site = Site(Vote(name="gas", channel=["s/*"], limit=1.0, restore=0.8, bad=bad), keys=("x", "y", "z"))
    heard = []
    for second, row in enumerate(rows):
        quality = [Quality.FAULT if value != value else Quality.GOOD for value in row]
        edges, _ = site.step(frame("s", at(second), site.made, row, quality))
        heard += [(second, event) for event, _ in edges]
    assert heard == told


def test_a_vote_between_its_limits_after_a_restart_neither_raises_nor_clears():
    site = Site(Vote(name="gas", channel=["s/*"], limit=1.0, restore=0.8), keys=("x", "y", "z"))
    site.read(1, 2.0, 2.0, 0.0)
    site.restart(2)
    assert site.read(3, 0.9, 0.9, 0.0) == ([], [])
    assert site.read(4, 0.9, 0.1, 0.0)[0] == [("cleared", "returned-unacked")]


def test_members_of_a_vote_may_stand_in_other_sources():
    made = layout(["x"])
    rule = Vote(name="gas", channel=["a/x", "b/x"], limit=1.0, need=2)
    core = Core({"a": made, "b": made}, [rule])
    memory = core.start("b", at(0))
    for event, told in (
        (frame("a", at(1), made, [2.0]), []),
        (frame("b", at(1.1), made, [2.0]), ["raised"]),  # by the very sample that decides
        (frame("a", at(2), made, [2.0]), []),
        (frame("b", at(2.1), made, [0.0]), ["cleared"]),
    ):
        memory, verdict = core.step(memory, event)
        assert [a.event for a in verdict.alarms] == told


# -- restart ------------------------------------------------------------------------------------------

VALUES = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 0.9, 1.0, 2.0]), st.sampled_from([0, 0, 0, 1, 4])), max_size=30)


@given(VALUES, st.integers(0, 29))
def test_restart_at_any_moment_equals_no_restart(samples, cut):
    made = layout(["x"], stale=1e9)
    core = Core({"s": made}, [GAS])

    def judge(memory, numbered):
        told = []
        for i, (value, quality) in numbered:
            memory, verdict = core.step(memory, frame("s", at(i), made, [value], quality))
            told += [(a.event, a.state, a.at.mono, a.edge) for a in verdict.alarms]
        return memory, told

    numbered = list(enumerate(samples))
    _, whole = judge(core.start("b", at(0)), numbered)
    memory, before = judge(core.start("b", at(0)), numbered[:cut])
    memory, verdict = core.recall(open_alarms(memory), "c", at(cut))
    _, after = judge(memory, numbered[cut:])
    assert before + after == whole
    assert verdict.alarms == ()


def test_a_restart_orders_again_what_was_on_and_clears_what_lost_its_rule():
    made = layout(["x"])
    siren = High(name="gas", channel=["s/*"], limit=1.0, drive=["siren"])
    core = Core({"s": made}, [siren])
    memory, _ = core.step(core.start("b", at(0)), frame("s", at(1), made, [2.0]))
    saved = open_alarms(memory)
    _, again = core.recall(saved, "c", at(9))
    assert [(o.output, o.on, o.at.mono) for o in again.orders] == [("siren", True, 9)]
    _, orphans = Core({"s": made}, []).recall(saved, "c", at(9))
    assert [(a.id, a.event, a.state) for a in orphans.alarms] == [("b-1", "cleared", "normal")]
    redder = Core({"s": made}, [High(name="gas", channel=["s/*"], limit=1.0, level="red")])
    memory, orphans = redder.recall(saved, "c", at(9))
    assert [a.event for a in orphans.alarms] == ["cleared"]  # of the old colour
    assert [a.level for a in redder.step(memory, frame("s", at(9), made, [2.0]))[1].alarms] == ["red"]


def test_alarms_that_are_recalled_late_join_what_is_known_by_then():
    made = layout(["x", "y"])
    core = Core({"s": made}, [GAS])
    memory, _ = core.step(core.start("b", at(0)), frame("s", at(1), made, [2.0, 2.0]))
    late = core.start("c", at(5))
    late, _ = core.step(late, frame("s", at(6), made, [2.0, 0.9]))
    late, verdict = core.adopt(late, open_alarms(memory), at(7))
    assert [(a.id, a.event) for a in verdict.alarms] == [("b-1", "cleared")]  # raised anew as c-1 meanwhile
    assert [a.id for a in open_alarms(late)] == ["c-1", "b-2"]
    _, verdict = core.step(late, frame("s", at(8), made, [2.0, 0.1]))
    assert [(a.id, a.event) for a in verdict.alarms] == [("b-2", "cleared")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": NAN},
        {"limit": float("inf")},
        {"limit": 1.0, "delay": float("inf")},
        {"limit": 1.0, "restore": 1.5},
        {"limit": 1.0, "name": "a/b"},
        {"limit": 1.0, "name": ""},
    ],
)
def test_a_rule_that_could_never_work_is_refused(wrong):
    with pytest.raises((ValueError, msgspec.ValidationError)):
        msgspec.convert({"kind": "high", "name": "r", "channel": ["*"], **wrong}, High)


def test_a_flood_of_alarms_is_not_quadratic():
    """Twenty times the alarms may cost about twenty times the work; counted in function calls, not in seconds."""

    def calls(n):
        made = layout([f"c{i}" for i in range(n)])
        core = Core({"s": made}, [High(name="gas", channel=["s/*"], limit=1.0, drive=["siren"])])
        memory = core.start("b", at(0))
        profile = cProfile.Profile()
        profile.enable()
        memory, verdict = core.step(memory, frame("s", at(1), made, np.full(n, 2.0)))
        memory, _ = core.step(memory, frame("s", at(2), made, np.zeros(n)))
        profile.disable()
        assert len(verdict.alarms) == n
        assert len(verdict.orders) == 1
        return pstats.Stats(profile).total_calls, sum(len(m) for m in memory.held.values())

    few, many = calls(50), calls(1000)
    assert many[0] < 25 * few[0]


# -- laws ---------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.sampled_from([0.0, 0.85, 1.0, 1.3, NAN]), min_size=3, max_size=3), max_size=20))
def test_one_step_on_n_channels_equals_n_steps_on_one(rows):
    rules = [
        GAS,
        Frozen(name="stuck", channel=["s/*"], limit=120.0),
        Rate(name="r", channel=["s/*"], limit=0.1, window=180.0),
    ]
    columns = {k: [row[i] for row in rows] for i, k in enumerate("abc")}
    together = sorted((a.channel, a.rule, a.event, a.at.mono) for a in run(rules, columns))
    apart = sorted(
        (a.channel, a.rule, a.event, a.at.mono) for k, column in columns.items() for a in run(rules, {k: column})
    )
    assert together == apart


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), max_size=20), st.floats(-3e8, 3e8))
def test_a_step_of_the_wall_clock_changes_no_decision(values, jump):
    made = layout(["x"], stale=5.0)
    rules = [
        High(name="gas", channel=["s/*"], limit=1.0, delay=2.0, clear_delay=1.0),
        Silence(name="quiet", channel=["s"]),
    ]

    def told(moved):
        core = Core({"s": made}, rules)
        memory = core.start("b", at(0))
        out = []
        for i, value in enumerate(values):
            now = Instant(float(i), at(i).wall + (jump if moved and i > 5 else 0), True)
            memory, verdict = core.step(memory, frame("s", now, made, [value]))
            out += [(a.id, a.event, a.at.mono, a.since.mono) for a in verdict.alarms]
            memory, verdict = core.step(memory, Tick(now))
            out += [(a.id, a.event, a.at.mono, a.since.mono) for a in verdict.alarms]
        return out

    assert told(True) == told(False)


def test_a_step_leaves_the_old_memory_as_it_was():
    made = layout(["x"])
    core = Core({"s": made}, [GAS])
    memory = core.start("b", at(0))
    first = core.step(memory, frame("s", at(1), made, [2.0]))[1]
    again = core.step(memory, frame("s", at(1), made, [2.0]))[1]
    assert (first.alarms, first.orders) == (again.alarms, again.orders)


def test_frames_of_strangers_change_nothing():
    core = Core({"s": layout(["x"])}, [GAS])
    memory = core.start("b", at(0))
    assert core.step(memory, frame("other", at(1), layout(["x"]), [9.0])) == (
        memory,
        core.step(memory, Ack("", "", at(1)))[1],
    )
