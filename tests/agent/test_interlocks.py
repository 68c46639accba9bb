"""Every row of the interlock: what trips, what holds, what lets go; and what a site may not say."""

from __future__ import annotations

import math

import pytest

from agent import config
from agent.core.core import Ack, Action, Tick, open_alarms
from agent.core.errors import ConfigFault
from agent.core.frame import Instant, Quality, frame
from agent.core.rules import High

SITE = """
[site]
name = "mine"
[[bus]]
name = "net"
url = "tcp://127.0.0.1:502"
output = [
  { name = "siren", device = "heading", at = "coil:0", armed = true },
  { name = "cut", device = "heading", at = "coil:1", armed = true },
  { name = "lock", device = "heading", at = "coil:2", armed = true },
  { name = "alive", device = "heading", at = "coil:3", armed = true, heartbeat = 1.0 },
]
[[bus.device]]
name = "heading"
unit = 1
period = 1.0
channel = [
  { key = "t1", at = "holding:0", type = "float32", unit = "%", low = 0.0, high = 10.0 },
  { key = "t2", at = "holding:2", type = "float32", unit = "%", low = 0.0, high = 10.0 },
  { key = "fan", at = "discrete:0" },
  { key = "air", at = "holding:4", type = "float32", unit = "m/s" },
  { key = "feed", at = "discrete:1" },
  { key = "ups", at = "discrete:2" },
]
"""
METHANE = """
[[interlock]]
name = "zone"
kind = "methane"
ch4 = { "coal/ch4/T1" = "heading/t1", "coal/ch4/T2" = "heading/t2" }
fan = "heading/fan >= 1"
air = "heading/air >= 0.25"
feed = "heading/feed"
chain = ["heading/ups >= 1"]
alarm = ["siren"]
trip = ["cut"]
lock = ["lock"]
heartbeat = "alive"
"""
CALM = {"t1": 0.4, "t2": 0.4, "fan": 1.0, "air": 0.8, "feed": 1.0, "ups": 1.0}


def load(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(text)
    return config.load(path)


class Zone:
    """The heading, read once a second; the feed follows the cut unless it is told otherwise."""

    def __init__(self, site):
        self.site, self.core, self.now = site, site.core(), 0.0
        self.memory = self.core.start("b", self.at)
        self.shown, self.quality = dict(CALM), {}
        self.told = []

    @property
    def at(self):
        return Instant(self.now, 1.7e9 + self.now, True)

    def run(self, seconds, quality=None, **values):
        """These values from now on for so many seconds; then which outputs are held."""
        self.shown |= values
        self.quality |= quality or {}
        made = self.site.layouts["heading"]
        for _ in range(round(seconds)):
            self.now += 1.0
            if "feed" not in values:
                self.shown["feed"] = float("cut" not in self.held)
            given = [self.shown[key] for key in made.key]
            kinds = [self.quality.get(key, Quality.GOOD) for key in made.key]
            self.step(frame("heading", self.at, made, given, kinds))
            self.step(Tick(self.at))
        return self.held

    def silent(self, seconds):
        for _ in range(round(seconds)):
            self.now += 1.0
            self.step(Tick(self.at))
        return self.held

    def step(self, event):
        self.memory, verdict = self.core.step(self.memory, event)
        self.told += [(a.rule, a.event) for a in verdict.alarms if not a.rule.startswith("agent.")]

    def do(self, verb, rule, channel="heading/t1", reason="permit 7"):
        action = Action(verb, rule, channel, "Li", self.at, reason)
        why = self.core.refusal(self.memory, action)
        self.step(action)
        return why

    @property
    def held(self):
        return {output for output, ids in self.memory.held.items() if ids}


@pytest.fixture
def zone(tmp_path):
    zone = Zone(load(tmp_path, SITE + METHANE))
    assert zone.run(5) == set()
    assert zone.told == []
    return zone


NAN = float("nan")
BLIND = {"t1": Quality.FAULT}
ROWS = [  # what is shown, for how long; what is then held. Numbers: domain, section 2.3
    ("alarm at 1.0, sound and light only", [({"t1": 1.0}, 1, {"siren"})]),
    ("just below the alarm", [({"t1": 0.99}, 60, set())]),
    ("cut at 1.5, at once", [({"t1": 1.5}, 1, {"siren", "cut"})]),
    ("between restore and cut it stays", [({"t1": 1.5}, 1, {"siren", "cut"}), ({"t1": 1.2}, 600, {"siren", "cut"})]),
    ("at the restore limit it stays", [({"t1": 1.5}, 1, {"siren", "cut"}), ({"t1": 1.0}, 600, {"siren", "cut"})]),
    ("below restore power comes back by itself", [({"t1": 1.5}, 1, {"siren", "cut"}), ({"t1": 0.99}, 1, set())]),
    ("from below it needs the cut limit", [({"t1": 1.4}, 600, {"siren"})]),
    ("the return cuts at 1.0", [({"t2": 1.0}, 1, {"siren", "cut"}), ({"t2": 0.99}, 1, set())]),
    ("one of two lets nothing go", [({"t1": 2.0, "t2": 1.1}, 1, {"siren", "cut"}), ({"t1": 0.2}, 9, {"siren", "cut"})]),
    ("the fan stands", [({"fan": 0.0}, 1, {"cut"}), ({"fan": 1.0}, 1, set())]),
    ("the duct flow is low", [({"air": 0.2}, 1, {"cut"}), ({"air": 0.25}, 1, set())]),
    (
        "the fan is back, the gas is not gone",
        [
            ({"fan": 0.0, "air": 0.1}, 1, {"cut"}),
            ({"t1": 1.2}, 60, {"cut", "siren"}),
            ({"fan": 1.0, "air": 0.8}, 60, {"cut", "siren"}),  # below the cut limit, but not below restore
            ({"t1": 0.9}, 1, set()),
        ],
    ),
    ("3 % in moving air locks no fan", [({"t1": 3.5}, 9, {"siren", "cut"})]),
    (
        "3 % at a standing fan locks it, until below 1.5",
        [
            ({"fan": 0.0, "air": 0.0, "t1": 2.99}, 5, {"siren", "cut"}),
            ({"t1": 3.0}, 1, {"siren", "cut", "lock"}),
            ({"t1": 1.5}, 60, {"siren", "cut", "lock"}),
            ({"t1": 1.49}, 1, {"siren", "cut"}),
        ],
    ),
    ("3 % in the return locks it too", [({"fan": 0.0, "air": 0.0, "t2": 3.0}, 1, {"siren", "cut", "lock"})]),
    ("a link of the chain is not well", [({"ups": 0.0}, 1, {"cut"})]),
    ("it is well again, but not long enough", [({"ups": 0.0}, 1, {"cut"}), ({"ups": 1.0}, 60, {"cut"})]),
    ("it was well for a minute", [({"ups": 0.0}, 1, {"cut"}), ({"ups": 1.0}, 61, set())]),
    (
        "well, ill, well: the minute begins anew",
        [
            ({"ups": 0.0}, 1, {"cut"}),
            ({"ups": 1.0}, 50, {"cut"}),
            ({"ups": 0.0}, 1, {"cut"}),
            ({"ups": 1.0}, 50, {"cut"}),
        ],
    ),
]


@pytest.mark.parametrize(("what", "steps"), ROWS, ids=[row[0] for row in ROWS])
def test_a_row_of_the_methane_interlock(zone, what, steps):
    for values, seconds, held in steps:
        assert zone.run(seconds, **values) == held, (values, zone.told)


@pytest.mark.parametrize("quality", [Quality.STALE, Quality.FAULT, Quality.OFFLINE])
@pytest.mark.parametrize("key", list(CALM))
def test_a_blind_channel_of_the_chain_cuts_until_it_was_well_for_a_minute(zone, key, quality):
    assert "cut" in zone.run(1, {key: quality}, **{key: NAN})
    assert "cut" in zone.run(60, {key: Quality.GOOD}, **{key: CALM[key]})
    assert zone.run(1) == set()


def test_a_blind_sensor_counts_as_exceeded_and_power_comes_back_only_below_restore(zone):
    assert zone.run(1, BLIND, t1=NAN) == {"cut"}
    assert zone.run(90, {"t1": Quality.GOOD}, t1=1.2) == {"cut", "siren"}  # well for long, but not below 1.0
    assert zone.run(1, t1=0.9) == set()


def test_a_silent_station_cuts_its_zone(zone):
    assert zone.silent(2) == set()
    assert "cut" in zone.silent(2)
    assert "cut" in zone.run(60)
    assert zone.run(1) == set()


def test_what_was_never_read_cuts_its_zone(tmp_path):
    zone = Zone(load(tmp_path, SITE + METHANE))
    assert "cut" in zone.silent(5)


def test_the_feed_must_follow_the_order_within_two_seconds(zone):
    zone.run(1, t1=2.0, feed=1.0)
    zone.run(1, feed=1.0)
    assert ("zone.feed", "raised") not in zone.told
    zone.run(1, feed=1.0)
    assert ("zone.feed", "raised") in zone.told
    zone.run(1)
    assert ("zone.feed", "cleared") in zone.told
    zone.run(2, t1=0.2)
    zone.run(3, feed=0.0)  # nothing demands a cut, and yet there is no power
    assert zone.told.count(("zone.feed", "raised")) == 2


def test_calibration_trips_unless_the_rule_is_out_of_service_under_a_permit(zone):
    calibrating = {"t1": Quality.CALIBRATING}
    assert zone.run(1, calibrating, t1=2.0) == {"cut"}  # the gas itself raises nothing
    assert [rule for rule, event in zone.told if event == "raised"] == ["zone.permit"]
    assert zone.run(1, {"t1": Quality.GOOD}, t1=0.3) == set()
    assert zone.do("take-out", "zone.permit") == ""
    assert zone.run(60, calibrating, t1=2.0) == set()
    assert zone.run(1, {"t1": Quality.GOOD}, t1=1.6) == {"siren", "cut"}
    assert zone.do("restore", "zone.permit") == ""


def test_a_remote_cut_is_always_obeyed_and_a_remote_restore_only_where_nothing_demands_a_cut(zone):
    assert zone.do("demand", "zone.remote", reason="fire next door") == ""
    assert zone.held == {"cut"}
    assert zone.run(1, t1=1.6) == {"cut", "siren"}
    (gas,) = (a.id for a in open_alarms(zone.memory) if a.rule == "zone.T1.cut")
    assert zone.do("withdraw", "zone.remote") == f"cut is demanded by others: {gas}"
    assert zone.run(1, t1=0.3) == {"cut"}
    assert zone.do("withdraw", "zone.remote") == ""
    assert zone.held == set()


def test_a_locked_fan_is_let_go_by_permit_and_locks_again_for_the_next_gas(zone):
    zone.run(1, fan=0.0, air=0.0, t1=4.0)
    assert zone.do("take-out", "zone.fan.lock", reason="") == "why? a reason is needed, or the number of the permit"
    assert zone.do("take-out", "zone.fan.lock") == ""
    assert zone.run(60, fan=1.0, air=0.2) == {"siren", "cut"}  # vented by the special measure
    assert zone.run(60, air=0.8, t1=0.5) == set()
    assert "lock" in zone.run(1, fan=0.0, t1=3.0)


@pytest.mark.parametrize("rule", ["zone.T1.cut", "zone.fan", "zone.air", "zone.fan.lock", "zone.chain", "zone.permit"])
def test_no_rule_of_an_interlock_can_be_shelved(zone, rule):
    channel = {"zone.fan": "heading/fan", "zone.air": "heading/air"}.get(rule, "heading/t1")
    action = Action("shelve", rule, channel, "Li", zone.at, "noise", 60.0)
    assert "never shelved" in zone.core.refusal(zone.memory, action)


def test_the_first_of_a_zone_is_told_with_every_other(zone):
    zone.run(1, fan=0.0)
    zone.run(1, air=0.0)
    zone.run(1, t1=1.6)
    first = {a.rule: a.first for a in open_alarms(zone.memory)}
    assert set(first.values()) == {next(a.id for a in open_alarms(zone.memory) if a.rule == "zone.fan")}
    assert first.keys() == {"zone.fan", "zone.air", "zone.T1.alarm", "zone.T1.cut"}


def test_a_restart_in_a_trip_changes_nothing_that_is_held(zone):
    zone.run(1, fan=0.0, air=0.0, t1=4.0)
    before = zone.held
    zone.memory, verdict = zone.core.recall(open_alarms(zone.memory), "b2", zone.at)
    assert (zone.held, {o.output for o in verdict.orders if o.on}) == (before, before)
    assert zone.run(60) == before
    assert zone.run(1, t1=1.49) == {"siren", "cut"}


def test_a_sensor_in_ppm_gets_the_same_limits(tmp_path):
    text = SITE.replace('type = "float32", unit = "%", low = 0.0, high = 10.0 }', 'type = "float32", unit = "ppm" }')
    zone = Zone(load(tmp_path, text + METHANE))
    calm = {"t1": 4000.0, "t2": 4000.0}
    assert zone.run(1, **calm) == set()
    assert zone.run(1, t1=14_999.0) == {"siren"}
    assert zone.run(1, t1=15_000.0) == {"siren", "cut"}
    assert zone.run(1, t1=10_000.0, fan=0.0) == {"siren", "cut"}
    assert zone.run(1, t1=9_999.0, fan=1.0) == set()  # restore, and what the fan waits for, in ppm too
    assert zone.run(1, t1=30_000.0, fan=0.0) == {"siren", "cut", "lock"}


def test_a_limit_of_the_sites_own_is_an_override_and_what_the_fan_waits_for_follows_it(tmp_path):
    site = load(tmp_path, SITE + METHANE + 'limits = { "coal/ch4/T1" = { cut = 0.8 } }\n')
    assert any("0.8 %, not 1.5 %" in told for told in site.overrides)
    zone = Zone(site)
    assert zone.run(1, t1=0.8) == {"cut"}
    assert zone.run(1, fan=0.0) == {"cut"}
    assert zone.run(9, fan=1.0) == {"cut"}
    assert zone.run(1, t1=0.79) == set()


def test_an_intake_in_series_cuts_the_local_fan_at_its_second_limit(tmp_path):
    zone = Zone(load(tmp_path, SITE + METHANE.replace("coal/ch4/T2", "coal/ch4/T3-series")))
    assert zone.run(1, t2=0.5) == {"siren", "cut"}
    assert zone.run(1, t2=1.5) == {"siren", "cut", "lock"}
    assert zone.run(1, t2=0.49) == set()


GENERAL = """
[[interlock]]
name = "tank"
kind = "general"
cause = ["heading/t1", "heading/t2", "heading/air"]
limit = 4.0
restore = 3.5
need = 2
trip = ["cut"]
unguarded = "the valve closes by its own spring"
"""


def test_two_of_three_trip_and_a_person_resets(tmp_path):
    zone = Zone(load(tmp_path, SITE + GENERAL))
    assert zone.run(9, t1=5.0) == set()
    assert zone.run(1, t2=4.0) == {"cut"}
    assert zone.run(1, t2=3.4) == {"cut"}
    (trip,) = (a for a in open_alarms(zone.memory) if a.rule == "tank.cause")
    assert zone.do("reset", "tank.cause") == "it is latched-unacked: there is nothing to reset"
    zone.step(Ack(trip.id, "Li", zone.at))
    assert zone.do("reset", "tank.cause") == ""
    assert zone.held == set()


@pytest.mark.parametrize(("bad", "trips"), [("votes", True), ("abstains", False)])
def test_a_blind_cause_votes_or_abstains_but_its_fault_trips_anyway(tmp_path, bad, trips):
    zone = Zone(load(tmp_path, SITE + GENERAL + f'bad = "{bad}"\nreset = "itself"\n'))
    zone.run(1, BLIND, t1=NAN, t2=4.0)
    assert (("tank.cause", "raised") in zone.told) == trips
    assert zone.held == {"cut"}
    assert ("tank.chain", "raised") in zone.told


def test_a_general_interlock_applies_only_while_its_conditions_hold(tmp_path):
    zone = Zone(load(tmp_path, SITE + GENERAL + 'when = ["heading/fan >= 1"]\nreset = "itself"\n'))
    assert zone.run(9, fan=0.0, t1=5.0, t2=5.0) == set()
    assert zone.run(1, fan=1.0) == {"cut"}


def test_what_an_interlock_is_not_stands_in_its_label(tmp_path):
    site = load(tmp_path, SITE.replace('"coil:1", armed = true', '"coil:1"') + METHANE + GENERAL)
    armed = [output for driver in site.drivers for output in driver.armed()]
    assert [one.label("en", armed) for one in site.interlocks] == [
        "interlock zone: 2 causes, may switch siren, cut, lock; heartbeat alive; not armed, only advises: cut; "
        "a supplement to the certified trip, never the trip itself",
        "interlock tank: 3 causes, may switch cut; NO heartbeat (the valve closes by its own spring): it dies with "
        "this program; not armed, only advises: cut; a supplement to the certified trip, never the trip itself",
    ]
    assert "不得作为主断电手段" in site.interlocks[0].label("zh", armed)


def test_its_rules_are_one_group_and_each_cites_its_source(tmp_path):
    site = load(tmp_path, SITE + METHANE)
    mine = [rule for rule in site.rules if rule.group == "zone"]
    assert {rule.name.removeprefix("zone.") for rule in mine} == {
        *("T1.alarm", "T1.cut", "T2.alarm", "T2.cut", "fan", "air", "fan.lock"),
        *("chain", "chain.1", "silent", "permit", "feed", "remote"),
    }
    assert all(rule.basis.standard for rule in mine)
    assert not [rule for rule in site.rules if rule.name == "unfit" and "heading/t1" in rule.channel]
    for rule in mine:
        if isinstance(rule, High) and rule.name.endswith("cut"):
            assert rule.fail_safe
            assert math.isclose(rule.bounds[1], 1.0)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('heartbeat = "alive"\n', "", "when this program dies, it trips nothing"),
        ('heartbeat = "alive"\n', 'heartbeat = "alife"\n', "has no heartbeat `alife`; did you mean `alive`"),
        ('trip = ["cut"]', 'trip = ["cutt"]', "no output is called `cutt`; did you mean `cut`"),
        ('trip = ["cut"]', "trip = []", "trip"),
        ('trip = ["cut"]\n', "", "trip"),
        ('"heading/t1"', '"heading/t9"', "no channel is called `heading/t9`"),
        ("coal/ch4/T1", "coal/ch4/T11", "no profile `coal/ch4/T11`"),
        ('fan = "heading/fan >= 1"\n', "", "to lock the fan, `fan` must say when it runs"),
        ('fan = "heading/fan >= 1"', 'fan = "heading/fan"', "is no condition"),
        ('["heading/ups >= 1"]', '["heading/upps >= 1"]', "no channel is called `heading/upps`"),
        ('feed = "heading/feed"', 'feed = "heading/food"', "no channel is called `heading/food`"),
        ('kind = "methane"', 'kind = "methan"', "did you mean `methane`"),
        ('name = "zone"', 'name = "zone.1"', "name"),
        ('alarm = ["siren"]', 'alarms = ["siren"]', "alarms"),
    ],
)
def test_what_cannot_protect_is_refused_with_its_line(tmp_path, old, new, says):
    assert old in METHANE
    with pytest.raises(ConfigFault, match=says) as refused:
        load(tmp_path, SITE + METHANE.replace(old, new))
    line = next(i for i, text in enumerate((SITE + METHANE).splitlines(), 1) if text == "[[interlock]]")
    numbers = [int(complaint.split(":")[1]) for complaint in str(refused.value).splitlines() if says in complaint]
    assert all(n >= line for n in numbers)


def test_a_feed_that_is_read_too_seldom_to_follow_the_trip_is_refused(tmp_path):
    with pytest.raises(
        ConfigFault, match=r"`zone.feed`: delay = 2 s is too short for channels that are read so seldom"
    ):
        load(tmp_path, SITE.replace("period = 1.0", "period = 10.0") + METHANE)


def test_a_heartbeat_on_another_line_guards_nothing(tmp_path):
    other = """
[[bus]]
name = "far"
url = "tcp://127.0.0.1:503"
[[bus.device]]
name = "far"
unit = 1
channel = [{ key = "x", at = "holding:0" }]
[[bus.output]]
name = "pulse"
device = "far"
at = "coil:0"
heartbeat = 1.0
"""
    with pytest.raises(ConfigFault, match="it is on another line"):
        load(tmp_path, SITE + other + METHANE.replace('"alive"', '"pulse"'))
