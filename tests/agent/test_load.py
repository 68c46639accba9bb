"""What many alarms become: the first of a group, folds, floods, figures."""

from agent.core.alarm import LEVELS
from agent.core.core import Ack, Action, Core, Tick, open_alarms
from agent.core.frame import Instant, frame, layout
from agent.core.load import figures
from agent.core.rules import High

NORMAL, OVER = 0.0, 2.0


def at(seconds):
    return Instant(float(seconds), 1.7e9 + seconds, True)


def limit(name="gas", channel="*/*", **more):
    return High(name=name, channel=[channel], limit=1.0, **{"level": "yellow", **more})


class Site:
    """Sources of some channels each; told in seconds."""

    def __init__(self, *rules, sources=("s",), keys=("x",)):
        self.made = layout(list(keys), stale=1e9)
        self.core = Core(dict.fromkeys(sources, self.made), rules)
        self.memory = self.core.start("b", at(0))
        self.told = []

    def step(self, event):
        self.memory, verdict = self.core.step(self.memory, event)
        self.told += verdict.alarms
        return verdict.alarms

    def read(self, second, *values, source="s"):
        return self.step(frame(source, at(second), self.made, values))

    def figures(self, second):
        return figures(self.memory.load, open_alarms(self.memory), at(second))


def test_the_first_alarm_of_a_group_is_named_by_those_that_follow():
    rules = [limit(channel="s/*", group="heading 5"), limit("alone", "t/*")]
    site = Site(*rules, sources=("s", "t"), keys=("a", "b"))
    (first,) = site.read(1, OVER, NORMAL)
    (second,) = site.read(2, OVER, OVER)
    (other, _) = site.read(3, OVER, OVER, source="t")
    assert (first.first, second.first, other.first) == (first.id, first.id, "")
    site.read(4, NORMAL, OVER)  # the first is over, the second stands: still the same trouble
    (third,) = site.read(5, OVER, OVER)
    assert third.first == first.id
    site.read(6, NORMAL, NORMAL)
    (anew,) = site.read(7, NORMAL, OVER)
    assert anew.first == anew.id


def test_of_several_in_one_frame_the_first_channel_counts_as_first():
    site = Site(limit(group="g"), keys=("a", "b", "c"))
    alarms = site.read(1, NORMAL, OVER, OVER)
    assert [a.first for a in alarms] == [alarms[0].id] * 2


def test_the_third_raise_within_a_minute_is_shown_under_the_first():
    site = Site(limit())
    folds = []
    for second in (0, 10, 20, 30, 95, 200):
        (raised,) = site.read(second, OVER)
        folds.append((second, raised.fold))
        site.read(second + 5, NORMAL)
    raises = [a for a in site.told if a.event == "raised"]
    head = raises[0].id
    assert folds == [(0, ""), (10, ""), (20, head), (30, head), (95, ""), (200, "")]
    assert len({a.id for a in raises}) == 6  # folded, not dropped
    assert [a.fold for a in site.told if a.event == "cleared"] == [fold for _, fold in folds]


def test_a_raise_a_minute_after_the_last_but_one_does_not_chatter():
    site = Site(limit())
    for second in (0, 30, 60):
        (raised,) = site.read(second, OVER)
        site.read(second + 1, NORMAL)
    assert raised.fold == ""


def test_in_a_flood_the_first_of_each_zone_and_every_worse_colour_stand_for_themselves():
    keys = [f"c{n}" for n in range(12)]
    colours = [limit(level, f"zone/{level}", level=level) for level in LEVELS]
    made, zone = layout(keys, stale=1e9), layout([*LEVELS, "late"], stale=1e9)
    core = Core({"noise": made, "zone": zone}, [limit(channel="noise/*"), limit("late", "zone/late"), *colours])
    memory, verdict = core.step(core.start("b", at(0)), frame("noise", at(1), made, [OVER] * 12))
    assert [bool(a.fold) for a in verdict.alarms] == [False] * 11 + [True]  # the eleventh begins the flood: it is first
    told = {}
    for second, level in enumerate(["blue", "late", "orange", "yellow", "red"], 2):
        values = [OVER if key == level else None for key in zone.key]
        memory, verdict = core.step(memory, frame("zone", at(second), zone, [v or float("nan") for v in values]))
        (told[level],) = verdict.alarms
    assert {level: a.fold for level, a in told.items()} == {
        "blue": "",  # first of its zone
        "late": "",  # yellow: worse than blue
        "orange": "",
        "yellow": told["blue"].id,
        "red": "",
    }


def test_a_flood_begins_above_ten_in_ten_minutes_and_ends_below_five():
    keys = [f"c{n}" for n in range(11)]
    site = Site(limit(), keys=keys)
    for n in range(11):
        site.read(60 * n, *([OVER] * (n + 1) + [NORMAL] * (10 - n)))
    assert not site.figures(600).flood  # the first left the ten minutes when the eleventh came
    site.read(601, *[NORMAL] * 11)
    site.read(602, *[OVER] * 11)
    assert site.figures(602).flood
    assert site.figures(602).in_10_min == 21
    site.step(Tick(at(1195)))
    assert site.figures(1195).flood
    site.step(Tick(at(1210)))
    assert not site.figures(1210).flood
    assert site.figures(1210).in_10_min == 0


def test_figures_of_a_day():
    site = Site(limit(), keys=("a", "b"))
    for n in range(5):
        site.read(3600 * n, OVER, NORMAL)
        site.read(3600 * n + 60, NORMAL, NORMAL)
    site.read(5 * 3600, NORMAL, OVER)
    seen = site.figures(5 * 3600)
    assert seen.top == [(("gas", "s/a"), 5), (("gas", "s/b"), 1)]
    assert (seen.standing, seen.stale, seen.chattering, seen.top_share) == (1, 0, 0, 100.0)
    assert site.figures(29 * 3600).stale == 1
    assert site.figures(28.5 * 3600).top == [(("gas", "s/b"), 1)]  # the others were more than a day ago


def test_what_chatters_is_counted_until_it_is_calm():
    site = Site(limit())
    for second in (0, 10, 20):
        site.read(second, OVER)
        site.read(second + 5, NORMAL)
    assert (site.figures(30).chattering, site.figures(81).chattering) == (1, 0)


def test_what_was_acknowledged_and_still_stands_is_annunciated_again():
    site = Site(limit(realarm=600.0))
    (raised,) = site.read(0, OVER)
    (acked,) = site.step(Ack(raised.id, "Li", at(10)))
    assert acked.until == at(610)
    assert site.step(Tick(at(609))) == ()
    (again,) = site.step(Tick(at(610)))
    assert (again.event, again.state, again.id, again.until) == ("re-alarmed", "active-unacked", raised.id, None)
    assert site.step(Tick(at(5000))) == ()  # nobody has seen it: it need not be said again
    site.step(Ack(raised.id, "Li", at(5000)))
    (cleared,) = site.read(5001, NORMAL)
    assert (cleared.state, cleared.until) == ("normal", None)
    assert site.step(Tick(at(9999))) == ()


def test_a_restart_does_not_forget_when_to_annunciate_again():
    site = Site(limit(realarm=600.0))
    (raised,) = site.read(0, OVER)
    site.step(Ack(raised.id, "Li", at(10)))
    site.memory, _ = site.core.recall(open_alarms(site.memory), "b2", at(300))
    assert site.step(Tick(at(609))) == ()
    assert [a.event for a in site.step(Tick(at(610)))] == ["re-alarmed"]


def test_what_is_shelved_meanwhile_is_not_annunciated_again():
    site = Site(limit(realarm=600.0))
    (raised,) = site.read(0, OVER)
    site.step(Ack(raised.id, "Li", at(10)))
    site.step(Action("shelve", "gas", "s/x", "Li", at(20), "test", 3600.0))
    assert site.step(Tick(at(700))) == ()
    assert [a.event for a in site.step(Tick(at(3620)))] == ["restored", "raised"]
