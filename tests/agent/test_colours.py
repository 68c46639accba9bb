"""Four colours, told in minutes: points are piezometers with a limit for each colour, at 1, 2, 3 and 4."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import config, console
from agent.core.alarm import ITEM, LEVELS, NEXT, Event, State
from agent.core.colours import RELEASE, in_order, reckoned, shown
from agent.core.core import Ack, Action, Core, Tick, open_alarms
from agent.core.errors import ConfigFault
from agent.core.frame import Instant, Quality, frame, layout
from agent.core.ports import Identity
from agent.core.ports import Item as Message
from agent.core.rules import Bad, Frozen, High, Item, Silence
from agent.said import Said
from agent.terminal import Ink
from agent.uplink import mqtt

COUNTS = {"blue": 4, "yellow": 3, "orange": 2}
NAMES = ("none", *LEVELS[::-1])
HALF_HOUR = 1800.0
LIMITS = [High(name=level, channel=["s/*"], limit=float(i), level=level) for i, level in enumerate(NAMES) if i]


def at(minutes):
    return Instant(60.0 * minutes, 1.7e9 + 60.0 * minutes, True)


def item(name="pond", channel=(), parts=(), **more):
    more = {"counts": COUNTS, "clear_delay": HALF_HOUR, "carries": bool(parts)} | more
    return Item(name=name, channel=list(channel), item=list(parts), **more)


class Pond:
    """Some channels of one source, the four limits of each, and items."""

    def __init__(self, *rules, keys="abcdefghijkl", limits=LIMITS, language="en"):
        self.made = layout(tuple(keys), stale=1e9)
        self.core = Core({"s": self.made}, [*limits, *rules], language)
        self.memory = self.core.start("t", at(0))
        self.frame = None
        self.last = []

    def _step(self, event):
        self.memory, verdict = self.core.step(self.memory, event)
        self.last = [a for a in verdict.alarms if a.channel.startswith("colour/")]
        self.frame = next((f for f in verdict.frames if f.source == "colour"), self.frame)
        return [(a.channel.removeprefix("colour/"), a.event, a.level) for a in self.last]

    def at(self, minutes, values="", quality=0):
        """What is told of items when the points stand like this: one digit each, the rest 0; `_` is not measured."""
        row = [float("nan") if v == "_" else float(v) for v in values.ljust(len(self.made), "0")]
        return self._step(frame("s", at(minutes), self.made, row, quality))

    def tick(self, minutes):
        return self._step(Tick(at(minutes)))

    def reset(self, minutes, name="pond", by="Li", verb="reset", reason=""):
        action = Action(verb, name, f"colour/{name}", by, at(minutes), reason)
        self.why = self.core.refusal(self.memory, action)
        return self._step(action)

    def ack(self, minutes, name="pond"):
        return self._step(Ack(self.open(name).id, "Wang", at(minutes)))

    def open(self, name="pond"):
        return next(a for a in open_alarms(self.memory) if a.channel == f"colour/{name}")

    def colour(self, name="pond"):
        watch = self.memory.watches["colour"]
        i = next(i for i, p in enumerate(self.core.benches["colour"].points) if p.rule.name == name)
        return NAMES[shown(int(watch.state[i]), watch.open.get(i))]

    def restart(self, minutes):
        memory, verdict = self.core.recall(open_alarms(self.memory), f"boot{minutes}", at(minutes))
        self.memory = memory
        return verdict


# -- counting -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "makes"),
    [
        ("", "none"),
        ("1", "blue"),
        ("111", "blue"),
        ("1111", "yellow"),
        ("11111", "yellow"),
        ("111111111111", "yellow"),  # twelve blue points are no three yellow ones
        ("2", "yellow"),
        ("22", "yellow"),
        ("222", "orange"),
        ("2222", "orange"),
        ("221111", "yellow"),  # points do not carry
        ("3", "orange"),
        ("33", "red"),
        ("333", "red"),
        ("3222", "orange"),
        ("4", "red"),
        ("1234", "red"),
    ],
)
def test_points_make_the_colour_of_their_item(points, makes):
    pond = Pond(item(channel=["s/*"]))
    told = pond.at(1, points)
    assert told == ([] if makes == "none" else [("pond", "raised", makes)])
    assert pond.frame is None or pond.frame.value.tolist() == [NAMES.index(makes)]


@pytest.mark.parametrize(
    ("items", "makes"),
    [
        ([0, 0, 0], 0),
        ([3, 0, 0], 1),
        ([4, 0, 0], 2),
        ([12, 0, 0], 2),  # however many: one yellow
        ([0, 2, 0], 2),
        ([0, 3, 0], 3),
        ([3, 2, 0], 2),
        ([4, 2, 0], 3),  # four blue count as the third yellow
        ([0, 0, 1], 3),
        ([0, 0, 2], 4),
        ([0, 3, 1], 4),
        ([4, 2, 1], 4),
        ([4, 1, 1], 3),
    ],
)
def test_items_of_one_colour_count_as_one_of_the_next(items, makes):
    assert reckoned([0, *items, 0], COUNTS, carries=True) == makes
    assert reckoned([0, *items, 1], COUNTS, carries=True) == 4  # any red item


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.data(), st.booleans())
def test_what_gets_worse_never_makes_a_better_colour(members, data, carries):
    i = data.draw(st.integers(0, len(members) - 1))
    worse = [*members]
    worse[i] = min(4, worse[i] + 1 + data.draw(st.integers(0, 3)))

    def made(row):
        return reckoned([row.count(c) for c in range(5)], COUNTS, carries)

    assert max(members) <= made(members) <= made(worse)


def test_without_counts_an_item_is_as_bad_as_its_worst_point():
    pond = Pond(item(channel=["s/*"], counts={}))
    assert pond.at(1, "222222") == [("pond", "raised", "yellow")]


def test_a_point_that_latched_still_counts_and_one_that_is_shelved_does_not():
    latching = [msgspec.structs.replace(rule, latch=True) for rule in LIMITS]
    pond = Pond(item(channel=["s/*"], clear_delay=0.0), limits=latching)
    assert pond.at(1, "1111") == [("pond", "raised", "yellow")]
    assert pond.at(2, "") == []
    pond = Pond(item(channel=["s/*"], clear_delay=0.0))
    pond.at(1, "1111")
    told = pond._step(Action("shelve", "blue", "s/a", "Li", at(2), "repair", 3600.0))
    assert told == [("pond", "level-down", "blue")]
    assert pond.frame.quality.tolist() == [Quality.UNCERTAIN]  # what a person put away is not seen
    assert "3 blue, 1 unseen" in pond.last[0].text


# -- up and down --------------------------------------------------------------------------------------


def test_up_at_once_under_one_id_and_with_the_colour_before():
    pond = Pond(item(channel=["s/*"]))
    assert pond.at(1, "1") == [("pond", "raised", "blue")]
    first = pond.last[0]
    assert pond.at(2, "1111") == [("pond", "level-up", "yellow")]
    assert pond.at(3, "2221") == [("pond", "level-up", "orange")]
    assert pond.at(4, "33") == [("pond", "level-up", "red")]
    assert (pond.last[0].id, pond.last[0].edge, pond.last[0].before) == (first.id, 4, "orange")
    assert pond.last[0].text == "colour/pond from orange up to red: 2 orange (project)"
    assert pond.at(5, "33") == pond.tick(6) == []


@pytest.mark.parametrize("colour", ["1", "2"])
def test_blue_and_yellow_fall_by_themselves_once_the_lower_state_has_held(colour):
    pond = Pond(item(channel=["s/*"]))
    pond.at(1, colour)
    assert pond.at(2, "") == pond.tick(31.9) == []
    assert pond.tick(32) == [("pond", "cleared", NAMES[int(colour)])]
    assert pond.last[0].since == at(2)
    assert pond.colour() == "none"


def test_a_relapse_begins_the_wait_anew_and_a_step_down_waits_only_for_its_own_state():
    pond = Pond(item(channel=["s/*"]))
    pond.at(1, "2")
    pond.at(10, "1")
    pond.at(20, "")
    pond.at(25, "1")
    assert pond.tick(39.9) == []
    assert pond.tick(40) == [("pond", "level-down", "blue")]  # blue or less since minute 10
    pond.at(41, "")
    assert pond.tick(70.9) == []
    assert pond.tick(71) == [("pond", "cleared", "blue")]


def test_orange_and_red_fall_only_by_a_named_person_and_not_before_the_lower_state_has_held():
    pond = Pond(item(channel=["s/*"]))
    pond.at(1, "4")
    assert pond.reset(2) == []
    assert "still red: its points must get better first" in pond.why
    pond.at(3, "2")
    assert pond.reset(10) == []
    assert "must hold for 30 min, 23.0 more" in pond.why
    assert pond.tick(400) == []
    assert pond.reset(401, by=" ") == []
    assert "a name is needed" in pond.why
    assert pond.reset(402, reason="walked the dam") == [("pond", "level-down", "yellow")]
    edge = pond.last[0]
    assert (edge.by, edge.reason, edge.before, edge.state) == ("Li", "walked the dam", "red", "active-acked")
    assert "released by Li from red to yellow: 1 yellow" in edge.text
    assert pond.reset(403) == []
    assert "falls by itself" in pond.why
    pond.at(404, "")
    assert pond.tick(434) == [("pond", "cleared", "yellow")]
    assert pond.last[0].by == ""


def test_a_release_may_end_it():
    pond = Pond(item(channel=["s/*"]))
    pond.at(1, "3")
    pond.at(2, "")
    assert pond.tick(90) == []
    assert pond.reset(91) == [("pond", "reset", "orange")]
    assert pond.last[0].state == "normal"
    assert pond.colour() == "none"
    assert pond.reset(92) == []
    assert "nothing to reset" in pond.why


def test_who_had_seen_orange_is_told_of_red_and_not_of_less():
    pond = Pond(item(channel=["s/*"]))
    pond.at(1, "2")
    pond.ack(2)
    pond.at(3, "1")
    assert pond.tick(33) == [("pond", "level-down", "blue")]
    assert pond.open().state == "active-acked"
    pond.at(34, "3")
    assert pond.open().state == "active-unacked"


def test_an_unseen_orange_that_was_yellow_again_comes_back_under_a_new_id():
    pond = Pond(item(channel=["s/*"]))
    pond.at(1, "2")
    first = pond.open()
    pond.at(2, "")
    pond.tick(40)
    assert pond.open().state == "returned-unacked"
    assert pond.at(41, "2") == [("pond", "raised", "yellow")]
    assert pond.open().id != first.id


@pytest.mark.parametrize("verb", ["shelve", "take-out", "restore"])
def test_an_item_is_never_hidden(verb):
    pond = Pond(item(channel=["s/*"]))
    pond.at(1, "1")
    assert pond.reset(2, verb=verb, reason="noise") == []
    assert "neither shelved nor taken out" in pond.why


def test_an_acknowledged_item_is_told_again():
    pond = Pond(item(channel=["s/*"], realarm=600.0))
    pond.at(1, "2")
    pond.ack(2)
    assert pond.tick(11.9) == []
    assert pond.tick(12) == [("pond", "re-alarmed", "yellow")]
    pond.ack(13)
    pond.at(14, "3")
    assert pond.open().until is None
    assert pond.tick(30) == []  # it is not acknowledged: nothing to tell again
    pond.at(31, "1")
    assert pond.reset(62) == [("pond", "level-down", "blue")]
    assert pond.tick(71.9) == []
    assert pond.tick(72) == [("pond", "re-alarmed", "blue")]


TABLE = """
    from        raise   clear     ack     reset   remind  level_up  level_down  shelve  suppress  take_out  restore
    NORMAL      ACTIVE  .         .       .       .       .         .           .       .         .         .
    ACTIVE      .       RETURNED  ACKED   NORMAL  .       .         .           .       .         .         .
    ACKED       .       NORMAL    .       NORMAL  ACTIVE  ACTIVE    .           .       .         .         .
    RETURNED    ACTIVE  .         NORMAL  .       .       .         .           .       .         .         .
"""


def test_the_life_of_an_item():
    head, *rows = (line.split() for line in TABLE.strip().splitlines())
    for start, *ends in rows:
        for event, end in zip(head[1:], ends, strict=True):
            assert NEXT[ITEM, State[start], Event[event.upper()]] == State[start if end == "." else end]
    assert len(head) - 1 == len(Event)


# -- items of items -----------------------------------------------------------------------------------


def dam():
    """Two items of four points each, and the site over both and four points more."""
    return Pond(item("site", ["s/[i-l]"], ["north", "south"]), item("north", ["s/[a-d]"]), item("south", ["s/[e-h]"]))


def test_items_colour_their_site_in_the_same_step():
    pond = dam()
    assert pond.at(1, "1111") == [("north", "raised", "yellow"), ("site", "raised", "yellow")]
    assert pond.at(2, "11111111") == [("south", "raised", "yellow")]
    assert pond.at(3, "111111112") == [("site", "level-up", "orange")]  # two yellow items and a yellow point
    assert pond.at(4, "33") == [("north", "level-up", "red"), ("site", "level-up", "red")]
    assert pond.frame.value.tolist() == [4, 4, 2]


def test_the_parts_are_released_before_the_whole_and_nobody_waits_twice():
    pond = dam()
    pond.at(1, "3")
    pond.at(2, "")
    pond.tick(40)
    assert pond.reset(41, "site") == []
    assert "still orange: release north first" in pond.why
    assert pond.reset(42, "north") == [("north", "reset", "orange")]
    assert pond.reset(43, "site") == [("site", "reset", "orange")]


def test_parts_and_whole_fall_together():
    pond = dam()
    pond.at(1, "2")
    pond.at(2, "")
    assert pond.tick(32) == [("north", "cleared", "yellow"), ("site", "cleared", "yellow")]


def test_an_orange_item_that_nobody_released_counts_although_its_points_are_better():
    pond = dam()
    pond.at(1, "3")
    pond.at(2, "00003")
    assert pond.colour("site") == "red"


def test_an_item_cannot_be_part_of_itself():
    assert in_order([[1], [2], []]) == [2, 1, 0]
    with pytest.raises(ValueError, match="part of itself"):
        in_order([[1], [0]])


# -- what is not seen ---------------------------------------------------------------------------------


def test_bad_data_colours_nothing_but_makes_the_item_doubtful():
    doubt = [Bad(name="unfit", channel=["s/*"], level="red"), Frozen(name="still", channel=["s/*"], limit=60.0)]
    pond = Pond(item(channel=["s/*"]), *doubt, keys="abc")
    pond.at(1, "000")
    assert pond.at(2, "00_", [0, 0, Quality.FAULT]) == []
    assert pond.frame.quality.tolist() == [Quality.UNCERTAIN]
    assert pond.at(3, "100", 0) == [("pond", "raised", "blue")]
    assert "1 blue, 2 unseen" in pond.last[0].text


def test_a_coloured_point_that_goes_blind_keeps_its_colour_and_so_its_item():
    pond = Pond(item(channel=["s/*"]), Bad(name="unfit", channel=["s/*"]), keys="ab")
    pond.at(1, "2")
    assert pond.at(2, "_0", [Quality.FAULT, 0]) == []
    assert pond.tick(300) == []
    assert (pond.colour(), pond.frame.quality.tolist()) == ("yellow", [Quality.UNCERTAIN])
    pond.at(301, "00")
    assert pond.tick(331) == [("pond", "cleared", "yellow")]
    assert pond.frame.quality.tolist() == [Quality.GOOD]


def test_a_silent_source_is_wholly_unseen():
    made = layout(("a", "b"), stale=60.0)
    core = Core({"s": made, "t": made}, [Silence(name="silent", channel=["s"]), item(channel=["*/a"]), *LIMITS])
    memory, verdict = core.step(core.start("t", at(0)), Tick(at(5)))
    colours = next(f for f in verdict.frames if f.source == "colour")
    assert colours.quality.tolist() == [Quality.UNCERTAIN]
    assert memory.colours.blind.tolist() == [1]


def test_the_agents_own_alarms_colour_nothing():
    made = layout(("late",), stale=1e9)
    rules = [High(name="late", channel=["agent/late"], limit=1.0, level="red"), item(channel=["*/*"])]
    core = Core({"agent": made}, rules)
    _, verdict = core.step(core.start("t", at(0)), frame("agent", at(1), made, [2.0]))
    assert [a.rule for a in verdict.alarms] == ["late"]


# -- an item is a channel -----------------------------------------------------------------------------


def test_a_rule_sees_the_colour_in_the_same_step_and_drives_an_output():
    siren = High(name="siren", channel=["colour/pond"], limit=3.0, level="red", drive=["siren"])
    pond = Pond(item(channel=["s/*"]), siren)
    pond.at(1, "2")
    pond.memory, verdict = pond.core.step(pond.memory, frame("s", at(2), pond.made, [3.0] + [0.0] * 11))
    assert [(a.rule, a.event) for a in verdict.alarms] == [
        ("orange", "raised"),
        ("pond", "level-up"),
        ("siren", "raised"),
    ]
    assert [(o.output, o.on) for o in verdict.orders] == [("siren", True)]
    assert pond.colour() == "orange"  # an alarm on the colour colours nothing


def test_a_rule_asks_for_the_colour_of_an_item():
    when = High(name="crest", channel=["s/l"], limit=0.5, level="blue", when=["colour/pond >= 3"])
    pond = Pond(item(channel=["s/a"]), when)

    def crest():
        return [a.event for a in open_alarms(pond.memory) if a.rule == "crest"]

    pond.tick(0)
    pond.at(1, "000000000001")
    assert crest() == []
    pond.at(2, "300000000001")
    pond.at(3, "300000000001")
    assert crest() == ["raised"]


# -- random walks -------------------------------------------------------------------------------------

WALK = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 4), st.integers(1, 40), st.booleans()), max_size=40)


def ends(event):
    return event in ("cleared", "reset")


@settings(max_examples=60, deadline=None)
@given(WALK)
def test_one_message_for_each_change_and_none_without(walk):
    pond, points, minute = dam(), [0] * 12, 0
    before = dict.fromkeys(("site", "north", "south"), "none")
    for i, value, minutes, releases in walk:
        minute += minutes
        points[i] = value
        steps = [pond.at(minute, "".join(map(str, points))), pond.tick(minute + 0.5)]
        if releases:
            steps.append(pond.reset(minute + 0.7, "north"))
        told = [edge for step in steps for edge in step]
        for name, was in before.items():
            mine = [(event, level) for other, event, level in told if other == name]
            path = [was, *("none" if ends(event) else level for event, level in mine)]
            assert all(a != b for a, b in zip(path, path[1:], strict=False)), path  # each edge is a change
            assert path[-1] == pond.colour(name)  # and each change an edge
            before[name] = path[-1]
        parts = [NAMES.index(before[name]) for name in ("north", "south")]
        assert NAMES.index(before["site"]) >= max(parts)
        assert NAMES.index(before["north"]) >= max(points[:4])


@settings(max_examples=60, deadline=None)
@given(WALK, st.integers(0, 39))
def test_a_restart_in_the_middle_equals_none_for_the_colour(walk, cut):
    """Points rise and fall within the half hour that must hold, so that the wait that begins anew shows nowhere."""
    whole, broken = dam(), dam()
    points = [0] * 12
    for n, (i, value, _, _) in enumerate(walk):
        points[i] = value
        row = "".join(map(str, points))
        if n == cut:
            assert broken.restart(n / 10).alarms == ()
        assert whole.at(n / 10, row) == broken.at(n / 10, row)
        assert whole.tick(n / 10) == broken.tick(n / 10)
    assert [whole.colour(n) for n in ("site", "north", "south")] == [
        broken.colour(n) for n in ("site", "north", "south")
    ]


def test_after_a_restart_the_wait_begins_anew_and_the_release_is_still_needed():
    pond = Pond(item(channel=["s/*"]))
    pond.at(1, "3")
    pond.at(2, "")
    verdict = pond.restart(20)
    assert verdict.alarms == ()
    assert pond.reset(21) == []
    assert "30 min, 30.0 more" in pond.why
    pond.tick(22)
    assert pond.tick(51.9) == []
    assert pond.reset(51.9) == []
    assert pond.tick(52) == []
    assert pond.reset(52) == [("pond", "reset", "orange")]


def two_dams():
    made = layout(("a", "b"), stale=1e9)
    return made, Core({"s": made, "t": made}, [item(channel=["*/*"]), *[r for r in BOTH if r.level == "blue"]])


BOTH = [msgspec.structs.replace(rule, channel=["*/*"]) for rule in LIMITS]


def test_what_was_open_before_a_restart_counts_with_what_comes_after():
    made, core = two_dams()
    memory, verdict = core.step(core.start("t", at(0)), frame("s", at(1), made, [1.0, 1.0]))
    memory, _ = core.recall(open_alarms(memory), "next", at(2))
    memory, verdict = core.step(memory, frame("t", at(3), made, [1.0, 1.0]))
    assert [(a.event, a.level) for a in verdict.alarms if a.rule == "pond"] == [("level-up", "yellow")]


def test_what_is_recalled_late_colours_its_item():
    made, core = two_dams()
    memory, _ = core.step(core.start("t", at(0)), frame("s", at(1), made, [1.0, 1.0]))
    points = [alarm for alarm in open_alarms(memory) if alarm.rule != "pond"]
    memory, _ = core.step(core.start("next", at(2)), Tick(at(2)))
    memory, _ = core.adopt(memory, points, at(3))
    memory, verdict = core.step(memory, Tick(at(4)))
    assert [(a.event, a.level) for a in verdict.alarms] == [("raised", "blue")]


def test_an_item_that_left_the_configuration_is_cleared():
    pond = Pond(item(channel=["s/*"]))
    pond.at(1, "4")
    core = Core({"s": pond.made}, LIMITS)
    _, verdict = core.recall(open_alarms(pond.memory), "next", at(2))
    assert [(a.rule, a.event) for a in verdict.alarms] == [("pond", "cleared")]


def test_it_is_told_in_chinese():
    pond = Pond(item(channel=["s/*"]), language="zh")
    pond.at(1, "1")
    pond.at(2, "1111")
    assert pond.last[0].text == "colour/pond 由蓝色预警升为黄色预警:蓝色 4 个 (project)"
    assert pond.last[0].advice == "按整体情况研判,执行该预警级别的应急预案。"


# -- what people and platforms see --------------------------------------------------------------------


def test_the_tree_says_what_is_missing_for_a_lower_colour():
    pond = dam()
    pond.at(1, "31001000")
    pond.at(2, "11001000")
    (site,) = pond.core.tree(pond.memory, at(12))
    north, south = site.items
    assert (site.name, site.colour, site.counts, site.missing) == (
        "site",
        "orange",
        {"orange": 1, "blue": 1},
        "release north first",
    )
    assert (north.colour, north.since, north.state) == ("orange", at(1), "active-unacked")
    assert north.missing == "the lower state must hold for 30 min, 20.0 more"
    assert north.points == {"s/a": "blue", "s/b": "blue", "s/c": "none", "s/d": "none"}
    assert (south.colour, south.missing) == ("blue", "its points must get better first")
    pond.tick(32)
    north = pond.core.tree(pond.memory, at(32))[0].items[0]
    assert north.missing == "a named person resets it, to blue"
    assert pond.core.tree(pond.memory, at(32), "zh")[0].items[0].missing == "须由具名人员解除,解除后为蓝色"
    lines = list(console._branch(msgspec.to_builtins(pond.core.tree(pond.memory, at(32))[0]), "", Said("en"), Ink()))
    assert [line.split(" since")[0] for line in lines] == [
        "orange site",
        "  orange north",
        "    blue   s/a",
        "    blue   s/b",
        "    none   2 points",
        "  blue   south",
        "    blue   s/e",
        "    none   3 points",
        "  none   4 points",
    ]


def test_without_items_there_is_no_tree_and_no_channel():
    pond = Pond()
    assert pond.core.tree(pond.memory, at(0)) == []
    assert pond.at(1, "4") == []
    assert pond.frame is None


def test_a_platform_that_keeps_retained_alarms_is_rid_of_the_colour_before():
    pond = Pond(item(channel=["s/*"]))
    told = []
    language = mqtt.Language("v/pond/gw1", Identity("pond", "gw1", "t", "0", ""))
    for minute, row in enumerate(["1", "1111", "33"]):
        pond.at(minute, row)
        messages = language.messages(Message("alarm", 1, "t", "alarm", 1, pond.last[0]), lambda alarm: True)
        told.append([(m.topic.removeprefix("v/pond/gw1/alarm/"), bool(m.payload), m.retain) for m in messages])
    assert told == [
        [("blue/colour/pond/pond", True, True)],
        [("yellow/colour/pond/pond", True, True), ("blue/colour/pond/pond", False, True)],
        [("red/colour/pond/pond", True, True), ("yellow/colour/pond/pond", False, True)],
    ]
    pond.ack(4)
    assert pond.last[0].before is None


# -- the site file ------------------------------------------------------------------------------------

SITE = """
[site]
name = "pond"
builtin = false

[[bus]]
name = "line"
url = "tcp://127.0.0.1:502"

  [[bus.device]]
  name = "dam"
  unit = 1
  channel = [
    { key = "d1", at = "holding:0", type = "float32", unit = "mm" },
    { key = "d2", at = "holding:2", type = "float32", unit = "mm" },
    { key = "rain", at = "holding:4", type = "float32", unit = "mm" },
  ]

"""


def load(folder, items):
    path = folder / "site.toml"
    path.write_text(SITE + items)
    return config.load(path)


def items_of(site):
    return {rule.name: rule for rule in site.rules if isinstance(rule, Item)}


def test_an_item_takes_its_numbers_from_the_profile_and_the_site_holds_the_rest(tmp_path):
    site = load(tmp_path, '[[item]]\nname = "moves"\nchannel = "dam/d*"\n')
    moves, whole = items_of(site).values()
    assert (moves.counts, moves.carries, moves.clear_delay) == (COUNTS, False, HALF_HOUR)
    assert (moves.basis.standard, moves.basis.clause, moves.basis.verify) == ("GB 39496-2020", "5.5.4", False)
    assert (whole.name, whole.channel, whole.item, whole.carries) == ("site", ["dam/rain"], ["moves"], True)
    assert whole.basis.verify
    nested = '[[item]]\nname = "all"\nitem = "moves"\n[[item]]\nname = "moves"\nchannel = "dam/d*"\n'
    assert items_of(load(tmp_path, nested))["site"].item == ["all"]
    assert site.overrides == ()
    assert items_of(load(tmp_path, "")) == {}


def test_counts_of_its_own_are_an_override_that_is_told(tmp_path):
    site = load(tmp_path, '[[item]]\nname = "moves"\nchannel = "dam/d*"\ncounts = {}\nclear_delay = 60.0\n')
    assert items_of(site)["moves"].counts == {}
    assert items_of(site)["moves"].basis.standard == "site, for GB 39496-2020"
    assert [text.partition(",")[0] for text in site.overrides] == [
        "item `moves`: counts is {}",
        "item `moves`: clear_delay is 60.0",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[item]]\nname = "a"\nchannel = "dam/x*"\n', "no channel is called `dam/x*`"),
        ('[[item]]\nname = "a"\nchannel = "agent/memory"\n', "no channel is called `agent/memory`"),
        ('[[item]]\nname = "a"\n', "nothing is watched"),
        ('[[item]]\nname = "a"\nchannel = "dam/d1"\nlevel = "red"\n', "item has no `level`"),
        ('[[item]]\nname = "a"\nitem = "b"\n', "no item is called `b`"),
        (
            '[[item]]\nname = "a"\nitem = "b"\n[[item]]\nname = "b"\nitem = "a"\n',
            "items a, b: an item is part of itself",
        ),
        ('[[item]]\nname = "a"\nchannel = "dam/d1"\ncounts = { red = 2 }\n', "red"),
        ('[[item]]\nname = "a"\nchannel = "dam/d1"\n[[item]]\nname = "a"\nchannel = "dam/d2"\n', "a second rule"),
        ('[[rule]]\nname = "a"\nkind = "item"\nchannel = "dam/d1"\n', "no kind is called `item`"),
    ],
)
def test_a_wrong_item_is_told(tmp_path, text, says):
    with pytest.raises(ConfigFault) as fault:
        load(tmp_path, text)
    assert says in "\n".join(fault.value.complaints)


def test_a_rule_may_watch_the_colour_of_an_item_and_of_nothing_else(tmp_path):
    items = '[[item]]\nname = "moves"\nchannel = "dam/d*"\n'
    rule = '[[rule]]\nname = "siren"\nkind = "high"\nchannel = "colour/moves"\nlimit = 3.0\n'
    load(tmp_path, items + rule)
    load(tmp_path, items + rule.replace("moves", "site"))
    with pytest.raises(ConfigFault, match="colour/moved"):
        load(tmp_path, items + rule.replace("moves", "moved"))


def test_release_is_needed_from_orange():
    assert NAMES[RELEASE] == "orange"
