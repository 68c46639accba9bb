"""What is left of a trip: which output, why, how long each step took, and how it is known."""

from __future__ import annotations

from itertools import pairwise

import pytest
from msgspec import structs

from agent.core.alarm import Basis, Order
from agent.core.core import Ack, Action, Core, Tick, Verdict, open_alarms
from agent.core.frame import Instant, Quality, frame, layout
from agent.core.ports import Event
from agent.core.rules import High, Manual, Vote
from agent.proof import DEADLINE, Proofs, record, trips

LAYOUT = layout(["t1", "t2"], ["%", "%"], stale=3.0)
CUT = {"level": "red", "drive": ["cut"], "basis": Basis("AQ 6201", "5.5", "2006"), "group": "zone"}
GAS = High(name="gas", channel=["z/t1"], limit=1.5, restore=1.0, **CUT)


def at(seconds):
    return Instant(float(seconds), 1.7e9 + seconds, True)


class Judge:
    """A core and its memory; each step gives the trips that it began, `late` s after the event."""

    def __init__(self, *rules, language="en"):
        self.core = Core({"z": LAYOUT}, rules, language)
        self.memory = self.core.start("b", at(0))

    def step(self, event, late=0.0):
        self.memory, verdict = self.core.step(self.memory, event)
        return trips(self.core, self.memory, verdict, at(event.at.mono + late))

    def see(self, seconds, t1=0.4, t2=0.4, quality=Quality.GOOD, age=0.0, late=0.0):
        return self.step(frame("z", at(seconds), LAYOUT, [t1, t2], [quality, Quality.GOOD], [age, 0.0]), late)


def done(trip, kind="order-done", text="", **facts):
    order = trip.order
    facts = {"output": order.output, "on": order.on, "reason": order.reason, **facts}
    return Event(kind, "plc", at(30), text, facts)


# -- the judge's half -----------------------------------------------------------------------------


def test_a_trip_has_the_edge_that_decided_and_when_its_value_was_measured():
    judge = Judge(GAS)
    assert judge.see(9) == []
    (trip,) = judge.see(10, t1=2.0, age=0.25, late=0.01)
    assert (trip.order.output, trip.order.on, trip.order.reason) == ("cut", True, trip.alarm.id)
    assert (trip.alarm.event, trip.alarm.value, trip.restore) == ("raised", 2.0, 1.0)
    assert (trip.measured, trip.decided, trip.recalled) == (9.75, 10.01, False)
    assert judge.see(11, t1=2.1) == []  # it is held: nothing is switched
    (let_go,) = judge.see(12, t1=0.9)
    assert (let_go.order.on, let_go.alarm.event, let_go.alarm.id) == (False, "cleared", trip.alarm.id)
    assert let_go.measured == 12.0


def test_a_trip_of_a_delay_was_measured_before_the_tick_that_decided():
    judge = Judge(High(name="gas", channel=["z/t1"], limit=1.5, delay=2.0, **CUT))
    judge.see(10, t1=2.0)
    judge.see(11.5, t1=2.0)
    (trip,) = judge.step(Tick(at(12)))
    assert (trip.measured, trip.decided) == (11.5, 12.0)


def test_a_trip_of_a_vote_was_measured_when_the_last_of_its_members_was():
    judge = Judge(Vote(name="both", channel=["z/t1", "z/t2"], limit=1.5, need=2, **CUT))
    judge.see(10, t1=2.0)
    (trip,) = judge.see(11, t1=2.0, t2=2.0, age=0.5)
    assert trip.measured == 11.0


def test_what_nobody_saw_was_not_measured():
    blind = Judge(High(name="gas", channel=["z/t1"], limit=1.5, fail_safe=True, **CUT))
    (trip,) = blind.see(10, t1=float("nan"), quality=Quality.FAULT)
    assert (trip.alarm.value, trip.measured) == (None, None)
    by_hand = Judge(Manual(name="remote", channel=["z/t1"], **CUT))
    (trip,) = by_hand.step(Action("demand", "remote", "z/t1", "Li", at(10), "fire next door"))
    assert (trip.alarm.by, trip.measured) == ("Li", None)
    (let_go,) = by_hand.step(Action("withdraw", "remote", "z/t1", "Wang", at(20), "fire is out"))
    assert (let_go.order.on, let_go.alarm.by) == (False, "Wang")


def test_what_two_alarms_hold_is_switched_by_the_first_and_let_go_by_the_last():
    judge = Judge(GAS, High(name="gas2", channel=["z/t2"], limit=1.5, **CUT))
    (trip,) = judge.see(10, t1=2.0)
    assert judge.see(11, t1=2.0, t2=2.0) == []
    assert judge.see(12, t1=0.4, t2=2.0) == []
    (let_go,) = judge.see(13)
    assert (trip.alarm.rule, let_go.alarm.rule) == ("gas", "gas2")


def test_what_is_ordered_anew_after_a_restart_is_recalled():
    judge = Judge(GAS)
    judge.see(10, t1=2.0)
    (open_,) = open_alarms(judge.memory)
    judge.step(Ack(open_.id, "Li", at(11)))
    memory, verdict = judge.core.recall(open_alarms(judge.memory), "b2", at(20))
    (trip,) = trips(judge.core, memory, verdict, at(20))
    assert (trip.alarm.id, trip.alarm.event) == (open_.id, "acknowledged")
    assert (trip.recalled, trip.measured, trip.decided, trip.restore) == (True, None, 20.0, 1.0)


def test_what_no_alarm_held_is_no_trip():
    judge = Judge(GAS)
    judge.see(10)
    assert trips(judge.core, judge.memory, Verdict(orders=(Order("cut", False, "start", at(11)),)), at(11)) == []


# -- the record -----------------------------------------------------------------------------------


def tripped(on=True, language="en"):
    """A trip of gas that was measured at 9.75, or the end of one that was measured at 10; decided at 10.01."""
    judge = Judge(GAS, language=language)
    if on:
        return judge.see(10, t1=2.0, age=0.25, late=0.01)[0]
    judge.see(9, t1=2.0)
    return judge.see(10, t1=0.5, late=0.01)[0]


VERIFIED, WRITTEN = {"written": 10.02, "read_back": 10.035}, {"written": 10.02}
TEXTS = [
    (True, VERIFIED, "en", "cut is on, read back after 0.285 s: {}"),
    (True, WRITTEN, "en", "cut is on, confirmed by its device after 0.27 s, not read back: {}"),
    (True, {}, "en", "cut is NOT known to be on (nothing was heard of it): {}"),
    (False, VERIFIED, "en", "cut is off, read back after 0.035 s: {}"),
    (False, WRITTEN, "en", "cut is off, confirmed by its device after 0.02 s, not read back: {}"),
    (False, {}, "en", "cut is not known to be off (nothing was heard of it): {}"),
    (True, VERIFIED, "zh", "cut 已动作,0.285 秒后回读确认:{}"),
    (True, WRITTEN, "zh", "cut 已动作,0.27 秒后设备应答,未回读:{}"),
    (True, {}, "zh", "cut 未能确认动作(无应答):{}"),
    (False, VERIFIED, "zh", "cut 已释放,0.035 秒后回读确认:{}"),
    (False, WRITTEN, "zh", "cut 已释放,0.02 秒后设备应答,未回读:{}"),
    (False, {}, "zh", "cut 未能确认释放(无应答):{}"),
]


@pytest.mark.parametrize(("on", "facts", "language", "text"), TEXTS)
def test_what_is_told_of_a_trip(on, facts, language, text):
    trip = tripped(on, language)
    told = record(trip, at(30), done(trip, **facts) if facts else None, language)
    assert told.kind == ("trip-proof" if on else "trip-released")
    assert (told.source, told.at) == ("cut", at(30))
    assert told.text == text.format(trip.alarm.text)
    assert told.facts["result"] == ("verified" if "read_back" in facts else "written" if facts else "failed")
    assert told.facts["on"] is on


def test_a_record_has_everything_that_somebody_asks_afterwards():
    trip = tripped()
    told = record(trip, at(30), done(trip, **VERIFIED), "en")
    assert told.facts == {
        "alarm": "b-1",
        "edge": 1,
        "event": "raised",
        "rule": "gas",
        "channel": "z/t1",
        "level": "red",
        "value": 2.0,
        "limit": 1.5,
        "restore": 1.0,
        "unit": "%",
        "basis": {"standard": "AQ 6201", "clause": "5.5", "edition": "2006"},
        "output": "cut",
        "on": True,
        "result": "verified",
        "mono": {"measured": 9.75, "decided": 10.01, "written": 10.02, "verified": 10.035},
        "seconds": {"measured-decided": 0.26, "decided-written": 0.01, "written-verified": 0.015},
        "group": "zone",
    }


@pytest.mark.parametrize("measured", [9.0, None])
@pytest.mark.parametrize("facts", [VERIFIED, WRITTEN, {}])
def test_the_steps_are_in_order_and_join(measured, facts):
    trip = structs.replace(tripped(), measured=measured)
    told = record(trip, at(30), done(trip, **facts) if facts else None, "en").facts
    times = list(told["mono"].values())
    assert times == sorted(times)
    assert list(told["seconds"]) == [f"{a}-{b}" for a, b in pairwise(told["mono"])]
    assert all(seconds >= 0.0 for seconds in told["seconds"].values())


def test_who_demanded_it_and_that_it_was_recalled_stands_in_the_record():
    judge = Judge(Manual(name="remote", channel=["z/t1"], **CUT))
    (trip,) = judge.step(Action("demand", "remote", "z/t1", "Li", at(10), "fire next door"))
    told = record(structs.replace(trip, recalled=True), at(30), done(trip, **VERIFIED), "en").facts
    assert (told["by"], told["reason"], told["recalled"], told["value"]) == ("Li", "fire next door", True, None)
    assert "measured" not in told["mono"]


# -- both halves ----------------------------------------------------------------------------------


def test_a_trip_is_proven_once_by_what_the_driver_tells_of_that_very_order():
    proofs, trip = Proofs("en"), tripped()
    assert proofs.begin(trip, at(10)) == []
    for other in ({"output": "siren"}, {"reason": "b-2"}, {"on": False}, {"reason": "heartbeat"}):
        assert proofs.settle(done(trip, **{**VERIFIED, **other})) == []
    (told,) = proofs.settle(done(trip, **VERIFIED))
    assert (told.kind, told.facts["result"]) == ("trip-proof", "verified")
    assert proofs.settle(done(trip, **VERIFIED)) == []  # it is held, and written again now and then
    assert proofs.overdue(at(1000)) == []


def test_an_order_that_fails_is_waited_for_and_its_trouble_is_told_if_it_stays():
    proofs, trip = Proofs("en"), tripped()
    proofs.begin(trip, at(10))
    assert proofs.settle(done(trip, "order-failed", "cut on: no reply in 0.5 s")) == []
    assert proofs.overdue(at(10.01 + DEADLINE)) == []
    (told,) = proofs.overdue(at(10.02 + DEADLINE))
    assert told.text.startswith("cut is NOT known to be on (cut on: no reply in 0.5 s): ")
    assert (told.facts["result"], told.facts["trouble"]) == ("failed", "cut on: no reply in 0.5 s")
    assert proofs.overdue(at(1000)) == []


def test_an_order_that_failed_and_then_was_done_is_proven_and_has_no_trouble():
    proofs, trip = Proofs("en"), tripped()
    proofs.begin(trip, at(10))
    proofs.settle(done(trip, "order-failed", "cut on: no reply in 0.5 s"))
    (told,) = proofs.settle(done(trip, **VERIFIED))
    assert told.facts["result"] == "verified"
    assert "trouble" not in told.facts


def test_an_output_that_is_not_armed_is_told_at_once():
    proofs, trip = Proofs("en"), tripped()
    proofs.begin(trip, at(10))
    (told,) = proofs.settle(done(trip, "order-refused", "cut on: not armed"))
    assert (told.facts["result"], told.facts["trouble"]) == ("failed", "cut on: not armed")


def test_a_newer_order_tells_what_is_known_of_the_one_before():
    proofs, on, off = Proofs("en"), tripped(), tripped(on=False)
    proofs.begin(on, at(10))
    (told,) = proofs.begin(off, at(12))
    assert (told.kind, told.facts["result"], told.at) == ("trip-proof", "failed", at(12))
    assert proofs.settle(done(on, **VERIFIED)) == []  # too late
    (told,) = proofs.settle(done(off, **VERIFIED))
    assert told.kind == "trip-released"
