"""What detectors see and add: their own channels, witnesses of other sources, and what they find to be lies."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from agent import checkpoint, config
from agent.core.core import Core, Tick
from agent.core.derive import derivations
from agent.core.errors import ConfigFault
from agent.core.frame import Array, Frame, Instant, Layout, frame, layout
from agent.core.ports import Detector, witnesses
from agent.core.rules import Doubt, Frozen, High
from models.anomaly import Anomaly
from models.reach import Reach
from models.water import Inflow


class Above(Detector, tag="above", frozen=True, kw_only=True):
    """1 where a channel is above the mean of the witnesses."""

    looks_beside: ClassVar[bool] = True
    lies: ClassVar[tuple[str, ...]] = ("above",)

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        return [(f"{key}.above", "") for key in seen.key if "/" not in key]

    def start(self, seen: Layout) -> None:
        return None

    def step(self, memory: None, seen: Frame) -> tuple[Any, Array, Array]:
        n = len(seen.layout) - witnesses(seen.layout)
        others = seen.value[n:]
        known = others[np.isfinite(others)]
        value = (seen.value[:n] > known.mean()).astype(float) if known.size else np.full(n, np.nan)
        return None, value, np.zeros(n, np.uint8)


def at(second: float) -> Instant:
    return Instant(second, 1.7e9 + second)


A, B = layout(["x", "y"], stale=10.0), layout(["z"], stale=10.0)
ABOVE = Above(name="a", channel=["a/*"], beside=["b/z", "a/y"])
DOUBT = Doubt(name="lie.above", channel=["a/x"], lie="above")


def test_a_detector_sees_its_own_channels_and_the_witnesses_as_they_were_read_last():
    (one,) = derivations([ABOVE], {"a": A, "b": B})["a"]
    assert one.seen.key == ("x", "y", "b/z")  # a/y is its own already
    assert one.given == [("x.above", ""), ("y.above", "")]
    core = Core({"a": A, "b": B}, [DOUBT], detectors=[ABOVE])
    memory = core.start("boot", at(0))
    memory, verdict = core.step(memory, frame("a", at(1), A, [5.0, 1.0]))
    assert verdict.alarms == ()  # nothing is known of b/z: it cannot say
    assert np.isnan(verdict.frames[0].value[2])
    memory, _ = core.step(memory, frame("b", at(2), B, [3.0]))
    memory, verdict = core.step(memory, frame("a", at(3), A, [5.0, 1.0]))
    (raised,) = verdict.alarms
    assert (raised.channel, raised.rule, raised.event) == ("a/x", "lie.above", "raised")
    assert raised.text == "a/x is not to be believed: above"  # somebody's own word stands for itself
    assert verdict.frames[0].value.tolist() == [5.0, 1.0, 1.0, 0.0]
    memory, verdict = core.step(memory, frame("a", at(4), A, [2.0, 1.0]))
    assert [a.event for a in verdict.alarms] == ["cleared"]


def test_a_detector_sees_its_channels_in_the_order_in_which_it_names_them():
    for channel, key in ((["a/y", "a/x"], ("y", "x")), (["a/y", "a/*"], ("y", "x")), (["a/*"], ("x", "y"))):
        (one,) = derivations([Above(name="a", channel=channel)], {"a": A, "b": B})["a"]
        assert one.seen.key == key
        assert one.own.tolist() == [A.key.index(k) for k in key]


def test_a_witness_that_went_stale_is_none():
    core = Core({"a": A, "b": B}, [DOUBT], detectors=[ABOVE])
    memory, _ = core.step(core.start("boot", at(0)), frame("b", at(1), B, [3.0]))
    memory, _ = core.step(memory, Tick(at(12)))
    memory, verdict = core.step(memory, frame("a", at(13), A, [5.0, 1.0]))
    assert np.isnan(verdict.frames[0].value[2:]).all()


def test_a_pattern_without_a_dot_does_not_mean_what_detectors_add():
    core = Core({"a": A, "b": B}, [Frozen(name="f", channel=["a/*"], limit=5.0)], detectors=[ABOVE])
    assert [p.channel for p in core.benches["a"].points] == ["a/x", "a/y"]
    core = Core({"a": A, "b": B}, [High(name="h", channel=["a/*.above"], limit=1.0)], detectors=[ABOVE])
    assert [p.channel for p in core.benches["a"].points] == ["a/x.above", "a/y.above"]


SITE = """
[site]
name = "shop"
[[bus]]
name = "net"
url = "tcp://127.0.0.1:502"
[[bus.device]]
name = "a"
unit = 1
channel = [{ key = "x", at = "holding:0" }, { key = "y", at = "holding:1" }]
[[bus.device]]
name = "b"
unit = 2
channel = [{ key = "z", at = "holding:0" }]
[[detector]]
name = "a"
kind = "test_derive:Above"
channel = "a/*"
beside = "b/z"
"""


def load(tmp_path, monkeypatch, text):
    import sys

    monkeypatch.setitem(sys.modules, "test_derive", sys.modules[__name__])
    path = tmp_path / "site.toml"
    path.write_text(text)
    return config.load(path)


def test_what_a_detector_finds_is_an_alarm_without_being_asked(tmp_path, monkeypatch):
    site = load(tmp_path, monkeypatch, SITE)
    assert [r for r in site.rules if isinstance(r, Doubt)] == [
        Doubt(name="lie.above", channel=["a/x", "a/y"], lie="above")
    ]
    mine = '\n[[rule]]\nname = "mine"\nkind = "doubt"\nlie = "above"\nchannel = "a/x"\nlevel = "red"\n'
    site = load(tmp_path, monkeypatch, SITE + mine)
    rules = {r.name: r.channel for r in site.rules if isinstance(r, Doubt)}
    assert rules == {"mine": ["a/x"], "lie.above": ["a/y"]}
    site = load(tmp_path, monkeypatch, SITE.replace('name = "shop"', 'name = "shop"\nbuiltin = false'))
    assert not [r for r in site.rules if isinstance(r, Doubt)]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('[[rule]]\nname = "m"\nkind = "doubt"\nlie = "below"\nchannel = "a/x"', "no detector gives `below` of a/x"),
        ('[[rule]]\nname = "m"\nkind = "doubt"\nlie = "above"\nchannel = "b/z"', "no detector gives `above` of b/z"),
        ('[[detector]]\nname = "t"\nkind = "exposure"\nchannel = "a/x"\nbeside = "b/z"', "no use for channels beside"),
        (
            '[[detector]]\nname = "t"\nkind = "test_derive:Above"\nchannel = "a/x"\nbeside = "b/q"',
            "no channel is .* b/q",
        ),
        ('[[rule]]\nname = "lie.x"\nkind = "high"\nlimit = 1.0\nchannel = "a/x"', "name of a built-in rule"),
    ],
)
def test_what_cannot_be_is_refused_in_words(tmp_path, monkeypatch, more, says):
    with pytest.raises(ConfigFault, match=says):
        load(tmp_path, monkeypatch, f"{SITE}\n{more}\n")


class Twice(Detector, tag="twice", frozen=True, kw_only=True):
    """Two times what it sees, and a count of frames."""

    looks_beside: ClassVar[bool] = True

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        return [(f"{key}.{self.name}", "") for key in seen.key if "/" not in key]

    def start(self, seen: Layout) -> None:
        return None

    def step(self, memory: None, seen: Frame) -> tuple[Any, Array, Array]:
        n = len(seen.layout) - witnesses(seen.layout)
        return None, 2 * seen.value[:n] + np.nansum(seen.value[n:]), np.zeros(n, np.uint8)


def test_a_detector_may_see_what_another_gives_wherever_that_stands_in_the_file():
    first = Twice(name="two", channel=["a/x"])
    second = Twice(name="four", channel=["a/*.two"])
    third = Twice(name="beside", channel=["b/z"], beside=["a/x.two.four"])
    for order in ([first, second, third], [third, second, first]):
        core = Core({"a": A, "b": B}, [High(name="h", channel=["a/x.two.four"], limit=11.0)], detectors=order)
        memory, verdict = core.step(core.start("boot", at(0)), frame("a", at(1), A, [3.0, 1.0]))
        assert verdict.frames[0].layout.key == ("x", "y", "x.two", "x.two.four")
        assert verdict.frames[0].value.tolist() == [3.0, 1.0, 6.0, 12.0]
        assert [alarm.channel for alarm in verdict.alarms] == ["a/x.two.four"]
        _, verdict = core.step(memory, frame("b", at(2), B, [1.0]))
        assert verdict.frames[0].value.tolist() == [1.0, 14.0]


def test_a_wildcard_waits_for_all_that_it_may_mean():
    given = [
        Twice(name="all", channel=["a/*.r*"]),
        Twice(name="r", channel=["a/x"]),
        Twice(name="in", channel=["a/y"]),
        Twice(name="r2", channel=["a/*.in"]),
    ]
    for order in (given, given[::-1]):
        rows = {d.detector.name: d.seen.key for d in derivations(order, {"a": A, "b": B})["a"]}
        assert rows["all"] == ("x.r", "y.in.r2")


def test_two_wildcards_that_mean_each_other_are_reckoned_once():
    both = [Twice(name="p", channel=["a/*.*"]), Twice(name="q", channel=["a/*.*"]), Twice(name="r", channel=["a/x"])]
    rows = {d.detector.name: d.seen.key for d in derivations(both, {"a": A})["a"]}
    assert rows == {"r": ("x",), "p": ("x.r",), "q": ("x.r",)}


def test_a_circle_and_what_waits_for_it_are_told_each_with_who_is_waited_for():
    told = {}
    circle = [
        Twice(name="p", channel=["a/x"], beside=["a/y.q"]),
        Twice(name="q", channel=["a/y"], beside=["a/x.p"]),
        Twice(name="self", channel=["b/z"], beside=["b/z.self"]),
        Twice(name="nix", channel=["a/nix"]),
        Twice(name="after", channel=["a/nix.nix"]),
    ]
    assert derivations(circle, {"a": A, "b": B}, lambda one, error: told.update({one.name: str(error)})) == {}
    assert told["p"] == "detector `p`: no channel is called a/y.q; detector `q` would give a/y.q, but waits itself"
    assert "detector `p` would give a/x.p" in told["q"]
    assert "detector `self` would give b/z.self" in told["self"]
    assert told["nix"].endswith("no channel is called a/nix"), "a name that is nowhere is no circle"
    assert "detector `nix` would give a/nix.nix" in told["after"]


def test_a_chain_of_detectors_goes_on_after_a_restart_as_if_nothing_had_been():
    seen = layout(["level", "pump"], ["m", ""], stale=60.0)
    chain = [
        Anomaly(name="odd", channel=["s/level.inflow"]),
        Reach(name="more", channel=["s/level.inflow"], limit=500.0),
        Inflow(name="in", channel=["s/level"], area=20.0, pump=("s/pump",), window=600.0),
    ]
    core = Core({"s": seen}, [High(name="h", channel=["s/level.inflow"], limit=10.0)], detectors=chain)

    def run(cut=None, shift=0.0):
        memory, out = core.start("boot", at(0)), []
        for i in range(1500):
            hour, by = i / 180, shift if cut is not None and i >= cut else 0.0
            now = Instant(20.0 * i + by, 1.7e9 + 20.0 * i)
            if i == cut:  # the machine starts again: its clock begins anew
                before = Instant(20.0 * (i - 1), 1.7e9 + 20.0 * (i - 1), synced=True)
                data = checkpoint.pack(core, memory, before, "k1")
                again = Instant(before.mono + shift, before.wall, synced=True)
                memory = checkpoint.unpack(core, core.start("boot", again), data, again, "k2")
            level = 1.0 + 0.3 * (hour % 1) + 0.002 * ((i * 7919) % 13 - 6) + 0.1 * max(hour - 6, 0) ** 2
            memory, verdict = core.step(memory, frame("s", now, seen, [level, float(i % 180 > 170)]))
            out.append((verdict.frames[0].value, [(a.rule, a.event) for a in verdict.alarms]))
        return np.array([v for v, _ in out]), [edge for _, edges in out for edge in edges]

    whole, edges = run()
    assert edges, "the chain raises something at all"
    assert np.isfinite(whole[-1, 2:4]).any()
    for cut in (400, 1000):
        values, again = run(cut, -5e3)
        assert np.allclose(values, whole, equal_nan=True)
        assert again == edges


def test_a_channel_that_goes_stale_slowly_makes_what_is_reckoned_from_it_stale_as_slowly():
    slow = layout(["x", "y"], stale=[10.0, 300.0])
    core = Core({"a": slow}, [], detectors=[Twice(name="d", channel=["a/y.c"]), Twice(name="c", channel=["a/y"])])
    assert core.benches["a"].layout.stale.tolist() == [10.0, 300.0, 300.0, 300.0]
    assert core.benches["a"].layout.measured == 2


@pytest.mark.parametrize(
    ("detectors", "says"),
    [
        ([Twice(name="p", channel=["a/x.q"]), Twice(name="q", channel=["a/x.p"])], "no channel is called a/x.q"),
        ([Twice(name="p", channel=["a/x", "a/nix"])], "no channel is called a/nix"),
        ([Twice(name="p", channel=["a/x"], beside=["c/*"])], r"no channel is called c/\*"),
        ([Twice(name="p", channel=[])], "`channel` is empty"),
    ],
    ids=["a circle", "one of two", "a witness", "none"],
)
def test_what_is_nowhere_is_named(detectors, says):
    with pytest.raises(ValueError, match=says):
        derivations(detectors, {"a": A, "b": B})
