"""A drill proves every link of the chain and trips nothing: each kind of rule, and each way to be unproven."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from agent import drill as drills
from agent.clock import SystemClock
from agent.core.alarm import Alarm, Basis, Order
from agent.core.core import Ack, Action, Core, Tick, open_alarms
from agent.core.frame import Array, Frame, Instant, Layout, Quality, frame, layout
from agent.core.ports import Detector, Event, Touch
from agent.core.rules import Bad, Deviation, Doubt, Expect, Feedback, Frozen, High, Low, Manual, Rate, Silence, Vote
from agent.drill import Drill, Link, Site, drill, judgement, lines, named, refusal, sensor
from agent.orders import OrderBox
from agent.outbox import Outbox, Store

NAN = float("nan")
Z = layout(["t1", "t2", "t3", "fan", "feed"], ["%", "%", "%", "", ""], stale=3.0)
Y = layout(["gas"], ["%"], stale=3.0)
CALM = {"t1": 0.4, "t2": 0.5, "t3": 0.7, "fan": 1.0, "feed": 1.0}


class Liar(Detector, tag="liar", frozen=True, kw_only=True):
    """Believes everybody."""

    lies: ClassVar[tuple[str, ...]] = ("flat",)

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        return [(f"{key}.flat", "") for key in seen.key]

    def start(self, seen: Layout) -> int:
        return 0

    def step(self, memory: int, seen: Frame) -> tuple[Any, Array, Array]:
        n = len(seen.layout)
        return memory + 1, np.zeros(n), np.zeros(n, np.uint8)


def at(seconds: float) -> Instant:
    return Instant(float(seconds), 1.7e9 + seconds, True)


class Zone:
    """A judge that has watched a calm zone for some seconds."""

    def __init__(self, *rules, begin=1000.0):
        self.core = Core({"z": Z, "y": Y}, rules, detectors=[Liar(name="liar", channel=["z/t1"])])
        self.now = begin
        self.memory = self.core.start("b", at(begin))
        self.told: list[Alarm] = []
        self.run(5)

    def run(self, seconds, **shown):
        for _ in range(seconds):
            self.now += 1.0
            self.see("y", Y, {"gas": 0.2})
            self.see("z", Z, CALM | shown)
            self.step(Tick(at(self.now)))

    def see(self, source, made, values):
        self.step(frame(source, at(self.now), made, [values[key] for key in made.key]))

    def step(self, event):
        self.memory, verdict = self.core.step(self.memory, event)
        self.told += verdict.alarms

    def judged(self, name, late=0.2):
        """What a drill says of the judgement of a point, so long after its last reading."""
        ((source, i),) = named(self.core, name)
        return judgement(self.core, self.memory, source, i, at(self.now + late))

    def sensed(self, name, late=0.2):
        ((source, i),) = named(self.core, name)
        return sensor(self.core, self.memory, source, i, at(self.now + late))


# -- the judgement: pure --------------------------------------------------------------------------

CUT = {"drive": ["cut"], "level": "red", "basis": Basis("AQ 6201"), "group": "zone"}
T1 = {"name": "r", "channel": ["z/t1"], **CUT}
FAN = {"name": "r", "channel": ["z/fan"], **CUT}
THREE = {"name": "r", "channel": ["z/t1", "z/t2", "y/gas"], **CUT}
KINDS = {
    "high": High(limit=1.5, restore=1.0, **T1),
    "high, a blind channel counts as exceeded": High(limit=1.5, fail_safe=True, **T1),
    "high, latching": High(limit=1.5, latch=True, **T1),
    "high, for a while": High(limit=1.5, delay=5.0, **T1),
    "high, only while": High(limit=1.5, when=["z/fan >= 1"], **T1),
    "high, only while nobody sees it": High(limit=1.5, when=["y/gas >= 0"], **T1),
    "high, if it were so": High(limit=1.5, start_when=["z/fan < 1", "y/gas > 0.3"], **T1),
    "high, cleared only if": High(limit=1.5, clear_when=["z/fan >= 1"], **T1),
    "high, at nought": High(limit=0.0, name="r", channel=["z/t1.flat"], start_when=["z/fan < 1"], **CUT),
    "low": Low(limit=0.2, **T1),
    "low, below nought": Low(limit=-5.0, **T1),
    "rate": Rate(limit=0.5, window=60.0, **T1),
    "rate, down": Rate(limit=0.5, window=10.0, per=1.0, direction="down", **T1),
    "rate, both ways": Rate(limit=0.5, window=600.0, direction="both", **T1),
    "rate, for a while": Rate(limit=0.5, window=60.0, delay=30.0, **T1),
    "rate, for longer than its window": Rate(limit=0.5, window=10.0, delay=60.0, **T1),
    "deviation": Deviation(limit=0.3, **{**T1, "channel": ["z/t?"]}),  # the neighbours are 0.2 apart
    "deviation, of two": Deviation(limit=0.3, **{**T1, "channel": ["z/t1", "z/t2"]}),
    "frozen": Frozen(limit=600.0, **T1),
    "frozen, for a while": Frozen(limit=600.0, delay=10.0, band=0.1, **T1),
    "silence of a channel": Silence(limit=10.0, **T1),
    "silence, as long as the channel says": Silence(delay=2.0, **T1),
    "silence of a source": Silence(**{**T1, "channel": ["z"]}),
    "fault": Bad(**T1),
    "calibration": Bad(calibrating=True, **T1),
    "vote": Vote(limit=1.5, need=2, **THREE),
    "vote, of all, below": Vote(limit=0.1, compare="<=", need=3, **THREE),
    "expect, at least": Expect(expect=">= 1", **FAN),
    "expect, more": Expect(expect="> 0", **FAN),
    "expect, equal": Expect(expect="== 1", delay=3.0, **FAN),
    "expect, not equal": Expect(expect="!= 3", **FAN),
    "feedback": Feedback(output="siren", **{**T1, "channel": ["z/feed"]}),
    "feedback, high while on": Feedback(output="siren", on="high", **{**T1, "channel": ["z/t1"]}),
    "manual": Manual(**T1),
    "doubt": Doubt(lie="flat", **T1),
}


@pytest.mark.parametrize("rule", KINDS.values(), ids=KINDS)
def test_every_kind_of_rule_is_rehearsed_to_its_raise_and_the_judge_knows_nothing_of_it(rule):
    zone, twin = Zone(rule), Zone(rule)
    assert zone.told == []
    for source, i in named(zone.core, "r"):
        before = pickle.dumps(zone.memory)
        link, raised = judgement(zone.core, zone.memory, source, i, at(zone.now + 0.2))
        assert (link.name, link.result) == ("judgement", "ok"), link.text
        assert link.text.endswith("-> cut")
        assert (raised.event, raised.rule, raised.state) == ("raised", "r", "active-unacked")
        assert pickle.dumps(zone.memory) == before
    for one in (zone, twin):  # and what happens afterwards is what would have happened
        one.run(3, t1=2.0, fan=0.0)
        one.run(3)
    assert zone.told == twin.told
    assert pickle.dumps(zone.memory) == pickle.dumps(twin.memory)


@pytest.mark.parametrize("delay", [0.1, 0.3, 0.7, 2.0, 3.3])
def test_a_delay_is_over_in_the_rehearsal_however_instants_are_rounded(delay):
    rules = [High(limit=1.5, delay=delay, **T1), Frozen(limit=60 + delay, delay=delay, **{**T1, "name": "f"})]
    for k in range(40):
        zone = Zone(*rules, begin=1000.0 + 0.137 * k)
        assert [zone.judged(f"{name}@z/t1", late=0.01 * k)[0].result for name in "rf"] == ["ok", "ok"]


def test_what_was_never_seen_is_rehearsed_as_well():
    core = Core({"z": Z, "y": Y}, [High(limit=1.5, **T1), Frozen(limit=0.3, **{**T1, "name": "f"})])
    for k in range(40):
        memory = core.start("b", at(100.0 + 0.137 * k))
        for name in ("r@z/t1", "f@z/t1"):
            ((source, i),) = named(core, name)
            assert judgement(core, memory, source, i, at(100.5 + 0.137 * k))[0].result == "ok"


def test_the_value_of_the_rehearsal_is_just_beyond_the_limit():
    link, raised = Zone(High(limit=1.5, delay=5.0, **T1)).judged("r@z/t1")
    assert (raised.value, raised.limit) == (pytest.approx(1.515), 1.5)
    assert (link.of, link.seconds, link.text) == ("r@z/t1", 5.0, "1.515 % -> cut")


def test_an_output_that_is_held_already_is_not_ordered_and_yet_proven():
    zone = Zone(High(limit=1.5, **T1), High(limit=0.6, name="other", channel=["z/t2"], drive=["cut"]))
    zone.run(1, t2=0.7)
    link, _ = zone.judged("r@z/t1")
    assert (link.result, link.text) == ("ok", "1.515 % ->")


@pytest.mark.parametrize(("verb", "says"), [("shelve", "shelved"), ("take-out", "out-of-service")])
def test_a_rule_that_somebody_put_away_is_not_proven(verb, says):
    zone = Zone(High(limit=1.5, **{**T1, "level": "yellow"}))
    zone.step(Action(verb, "r", "z/t1", "Li", at(zone.now), "permit 7", 3600.0))
    link, raised = zone.judged("r@z/t1")
    assert (link.result, link.text, raised) == ("not proven", says, None)


def test_a_rule_that_does_not_apply_now_is_not_proven():
    zone = Zone(High(limit=1.5, when=["z/fan >= 1"], **T1))
    zone.run(1, fan=0.0)
    assert zone.judged("r@z/t1")[0].text == "suppressed"


def test_a_slope_that_must_last_for_too_long_is_not_proven():
    link, _ = Zone(Rate(limit=0.5, window=1.0, delay=3600.0, **T1)).judged("r@z/t1")
    assert (link.result, link.text) == ("not proven", "r waits for 3600 s, too long beside its window to be rehearsed")


def test_what_would_not_be_raised_has_failed():
    zone = Zone(Deviation(limit=0.3, **{**T1, "channel": ["z/t1", "z/t2"]}))
    zone.step(frame("z", at(zone.now + 1), Z, [0.4, NAN, 0.7, 1.0, 1.0], [0, Quality.FAULT, 0, 0, 0]))
    link, _ = zone.judged("r@z/t1")  # its only neighbour is blind
    assert (link.result, link.text) == ("failed", "not raised")


def test_points_are_named_by_rule_and_channel_or_by_what_drives_something():
    drives = High(name="a", channel=["z/t?"], limit=1.5, drive=["cut"], group="zone")
    shows = High(name="b", channel=["z/t1"], limit=1.0, group="zone")
    core = Zone(drives, shows).core
    assert len(named(core, "zone")) == len(named(core, "a")) == 3
    assert named(core, "b") == named(core, "a@z/fan") == named(core, "zzz") == []
    assert len(named(core, "b@z/t1")) == 1


# -- the sensor -----------------------------------------------------------------------------------


def test_a_sensor_is_good_and_young_or_says_what_it_is():
    zone = Zone(High(limit=1.5, **T1))
    assert zone.sensed("r@z/t1") == Link("sensor", "z/t1", "ok", 0.2)
    assert zone.sensed("r@z/t1", late=3.5) == Link("sensor", "z/t1", "failed", 3.5, "stale")
    zone.step(frame("z", at(zone.now + 1), Z, [NAN, 0.5, 0.7, 1.0, 1.0], [Quality.FAULT, 0, 0, 0, 0]))
    assert zone.sensed("r@z/t1", late=1.5) == Link("sensor", "z/t1", "failed", 0.5, "faulty")


def test_of_a_vote_every_member_counts():
    zone = Zone(Vote(limit=1.5, need=2, **THREE))
    for k in range(1, 5):
        zone.step(frame("z", at(zone.now + k), Z, list(CALM.values())))  # `y` is silent
    assert zone.sensed("r@z/t1", late=4.1) == Link("sensor", "z/t1", "failed", 4.1, "stale")


def test_of_a_source_its_youngest_channel_counts():
    zone = Zone(Silence(**{**T1, "channel": ["z"]}))
    zone.step(frame("z", at(zone.now + 1), Z, list(CALM.values()), age=[9.0, 0.0, 9.0, 9.0, 9.0]))
    assert zone.sensed("r@z", late=1.5) == Link("sensor", "z", "ok", 0.5)


# -- the whole of it ------------------------------------------------------------------------------


class World:
    """A zone, a line that obeys, platforms that confirm; what is not so is said by the test."""

    def __init__(self, zone: Zone, outbox: Outbox) -> None:
        self.zone, self.outbox, self.clock = zone, outbox, SystemClock()
        self.box = OrderBox(hearts={"alive": 0.05})
        self.coil = False
        self.obeys = self.beats = True
        self.writes: list[Order] = []
        self.journal: list[Alarm] = []
        self.got: list[Alarm] = []
        self.refused: set[str] = set()  # platforms that refuse
        self.silent: set[str] = set()  # platforms that do not confirm
        self.site = Site(
            zone.core,
            lambda: zone.memory,
            outbox,
            {"cut": self.box},
            {"alive": self.box},
            self.clock,
            self.journal.append,
        )
        zone.now = self.clock.now().mono - 5.0
        zone.run(5)

    async def live(self) -> None:
        """A driver, a judge and some platforms, all at once."""
        for feed in self.outbox.feeds.values():
            feed.online(True)
        self.box.put(Order("cut", False, "start", self.clock.now()))
        while True:
            if self.beats:
                self.box.beat(self.clock.now())
            while self.obeys and (order := self.box.take()) is not None:
                self.box.settle(self.obey(order))
            for name, feed in self.outbox.feeds.items():
                while name not in self.silent and (item := feed.take()) is not None:
                    self.got += [item.body] if isinstance(item.body, Alarm) else []
                    if name in self.refused:
                        feed.refused(item, "0x87")
                    else:
                        feed.done(item)
            await asyncio.sleep(0.005)

    def refuse(self) -> None:
        """The output is not armed, and its driver told so."""
        facts = {"output": "cut", "on": False, "reason": "start"}
        self.box.settle(Event("order-refused", "plc", self.clock.now(), "cut off: not armed", facts))

    def obey(self, order: Order) -> Event:
        facts = {"output": order.output, "on": order.on, "reason": order.reason}
        if order.output == "cut":
            if isinstance(order, Touch) and self.coil != order.on:
                return Event("order-failed", "plc", self.clock.now(), "coil:0 should be 0 and reads back 1", facts)
            self.coil = order.on
            self.writes.append(order)
        return Event("order-done", "plc", self.clock.now(), f"{order.output} is written", facts)


def drilled(
    tmp_path: Path,
    change: Callable[[World], None] = lambda world: None,
    name: str = "zone",
    uplinks: Sequence[str] = ("p", "q"),
    rules: Sequence[Any] = (High(limit=1.5, **T1),),
) -> tuple[Drill, World]:
    """A drill in a world in which something is otherwise."""

    async def story() -> tuple[Drill, World]:
        store = Store(path=str(tmp_path), batch=0.02, ballast_mb=0)
        outbox = await Outbox.open(store, uplinks, SystemClock())
        world = World(Zone(*rules), outbox)
        life = asyncio.create_task(world.live())
        try:
            while not world.writes:
                await asyncio.sleep(0.005)
            change(world)
            before = pickle.dumps(world.zone.memory)
            done = await drill(world.site, name, "Li", "b-drill-1")
            assert pickle.dumps(world.zone.memory) == before
        finally:
            life.cancel()
            await asyncio.wait([life])
            await outbox.close()
        return done, world

    return asyncio.run(story())


def results(done: Drill) -> dict[str, str]:
    return {f"{link.name} {link.of}": link.result for link in done.links}


OK = {
    "sensor z/t1": "ok",
    "judgement r@z/t1": "ok",
    "output cut": "ok",
    "heartbeat alive": "ok",
    "delivery p": "ok",
    "delivery q": "ok",
}


def test_every_link_is_proven_and_nothing_is_tripped(tmp_path):
    done, world = drilled(tmp_path)
    assert results(done) == OK
    assert done.proven
    assert [(order.on, order.reason) for order in world.writes] == [(False, "start"), (False, "b-drill-1-cut")]
    assert world.zone.memory.held == {}
    assert world.box.wanted("cut") is False
    assert all(link.seconds >= 0.0 for link in done.links)
    assert [line.split()[:3] for line in lines(msgspec.to_builtins(done))] == [
        [*name.split(), result] for name, result in OK.items()
    ]


def test_the_alarm_of_a_drill_is_marked_complete_and_never_open(tmp_path):
    _, world = drilled(tmp_path)
    assert world.got == [*world.journal, *world.journal]  # each platform had it, and the journal
    (told,) = world.journal
    assert (told.drill, told.event, told.state, told.edge) == (True, "raised", "normal", 1)
    assert (told.id, told.rule, told.channel, told.by, told.group) == ("b-drill-1", "r", "z/t1", "Li", "zone")
    assert (told.value, told.limit, told.unit, told.level) == (pytest.approx(1.515), 1.5, "%", "red")
    assert told.text == "DRILL by Li: z/t1 at 1.515 %, limit 1.5 % (AQ 6201)"
    assert told.advice == "A drill: confirm that it was seen, do nothing else."
    assert open_alarms(world.zone.memory) == []
    assert world.outbox.recall() == ()


def test_what_nobody_has_acknowledged_yet_outlives_a_drill_of_its_point(tmp_path):
    def over(world):
        world.zone.run(1, t1=2.0)
        world.zone.run(1)
        for alarm in world.zone.told:
            world.outbox.put_alarms((alarm,))

    done, world = drilled(tmp_path, over)
    assert done.links[1].result == "ok"
    (returned,) = world.outbox.recall()
    assert returned.state == "returned-unacked"


def test_what_comes_of_a_drill_is_told_in_both_languages(tmp_path):
    done, world = drilled(tmp_path, lambda world: world.refused.add("q"))
    told = done.event(world.clock.now(), "en")
    assert (told.kind, told.source, told.text) == ("drill", "zone", "DRILL of zone by Li: not proven: delivery q")
    assert told.facts["proven"] is False
    assert told.facts["links"][0]["name"] == "sensor"
    assert done.event(world.clock.now(), "zh").text == "演练 zone(Li):未验证环节:delivery q"
    proven = msgspec.structs.replace(done, links=done.links[:-1])
    assert proven.event(world.clock.now(), "zh").text == "演练 zone(Li):各环节均已验证"


UNKNOWN = "not armed, or nobody knows yet what it should be"
NO_HEART = {name: result for name, result in OK.items() if name != "heartbeat alive"}  # it is on no line of the drill
MUTE = {"output cut": "failed", "heartbeat alive": "failed"}
WRONG: dict[str, tuple[Callable[[World], Any], dict[str, str], str]] = {  # what is otherwise, the links, the words
    "not armed": (lambda w: w.refuse(), OK | {"output cut": "not proven"}, UNKNOWN),
    "of no line": (lambda w: w.site.owner.clear(), NO_HEART | {"output cut": "not proven"}, UNKNOWN),
    "switched by hand": (lambda w: setattr(w, "coil", True), OK | {"output cut": "failed"}, "coil:0 should be 0"),
    "line mute": (lambda w: setattr(w, "obeys", False), OK | MUTE, "its line does not answer"),
    "judge hangs": (lambda w: setattr(w, "beats", False), OK | {"heartbeat alive": "failed"}, "nothing was written"),
    "heart not armed": (lambda w: w.box.hearts.clear(), OK | {"heartbeat alive": "not proven"}, "not armed"),
    "platform mute": (lambda w: w.silent.add("q"), OK | {"delivery q": "failed"}, "it goes on being tried"),
    "platform refuses": (lambda w: w.refused.add("q"), OK | {"delivery q": "failed"}, "refused"),
}


@pytest.mark.parametrize(("change", "links", "says"), WRONG.values(), ids=WRONG)
def test_what_is_not_as_it_should_be_is_not_proven_and_the_rest_is(tmp_path, monkeypatch, change, links, says):
    monkeypatch.setattr(drills, "PATIENCE", 0.5)
    done, _ = drilled(tmp_path, change)
    assert results(done) == links
    assert not done.proven
    assert says in " ".join(link.text for link in done.links if link.result != "ok")


def test_without_a_platform_nothing_is_proven(tmp_path):
    done, _ = drilled(tmp_path, uplinks=())
    assert results(done)["delivery "] == "not proven"
    assert not done.proven


def test_a_group_is_drilled_with_all_that_it_drives(tmp_path):
    blind = High(limit=1.5, name="s", channel=["z/t2"], **{**CUT, "level": "yellow"})

    def shelve(world):
        world.zone.step(Action("shelve", "s", "z/t2", "Li", world.clock.now(), "noise", 60.0))

    done, world = drilled(tmp_path, shelve, rules=(High(limit=1.5, **T1), blind))
    assert results(done) == OK | {"sensor z/t2": "ok", "judgement s@z/t2": "not proven"}
    assert [order.reason for order in world.writes] == ["start", "b-drill-1-cut"]  # once, however many drive it
    assert len(world.journal) == 1


def test_what_may_not_be_drilled_is_refused_in_words(tmp_path):
    def asked(name, by="Li", **shown):
        zone = Zone(High(limit=1.5, latch=True, **T1), High(limit=1.0, name="shows", channel=["z/t1"]))
        zone.run(1, **shown) if shown else None
        site = Site(zone.core, lambda: zone.memory, None, {}, {}, SystemClock(), print)
        return refusal(site, name, by), zone, site

    assert asked("zone")[0] == asked("r")[0] == asked("r@z/t1")[0] == asked("shows@z/t1")[0] == ""
    assert asked("zone", by=" ")[0] == "who drills? give --by NAME"
    unknown = "no rule watches {}: give RULE@CHANNEL, or the name of a rule or group that drives something"
    for name in ("shows", "r@z/t2", "nothing", ""):
        assert asked(name)[0] == unknown.format(name)
    stands = "r@z/t1 stands now: the chain is being proven for real"
    why, zone, site = asked("zone", t1=2.0)
    assert why == stands
    zone.run(1)
    assert refusal(site, "zone", "Li") == stands  # it latched, and holds the cut
    (trip,) = (a for a in open_alarms(zone.memory) if a.rule == "r")
    zone.step(Ack(trip.id, "Li", at(zone.now)))
    zone.step(Action("reset", "r", "z/t1", "Li", at(zone.now)))
    assert refusal(site, "zone", "Li") == ""


def test_what_is_over_and_not_yet_seen_by_anybody_may_be_drilled():
    zone = Zone(High(limit=1.5, **T1))
    zone.run(1, t1=2.0)
    zone.run(1)
    assert zone.memory.watches["z"].open != {}
    assert zone.judged("r@z/t1")[0].result == "ok"
