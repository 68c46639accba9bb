"""A pond, its beach, its rain, and what follows what."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent import checks
from agent.checkpoint import Part, _encoded, _memory_of, _taken
from agent.core.frame import Frame, Instant, Quality, frame, layout
from models.dam import HOUR, Dam, Lag, Rain

POND = Dam(name="pond", channel=["dam/level"], crest=110.0, beach_slope=0.01, measured="cam/beach")
LEVEL = layout(["level", "cam/beach"], ["m", "m"], stale=60.0)


@pytest.mark.parametrize(
    "one",
    [
        Dam(name="d", channel=["s/*"], crest=9.0, beach_slope=0.5),
        Dam(name="d", channel=["s/*"], crest=9.0, beach_slope=0.5, measured="w/x"),
        Rain(name="r", channel=["s/*"]),
        Rain(name="r", channel=["s/*"], gauge="intensity"),
        Lag(name="l", channel=["s/*"], cause="w/x", bin=10.0, most=5, span=2),
    ],
)
def test_the_laws_of_a_detector_hold(one):
    assert checks.detector(one) == []


def beach(level, measured, age=0.0, quality=(Quality.GOOD, Quality.GOOD)):
    values = np.array([level, measured])
    seen = Frame("dam", Instant(0.0, 0.0), LEVEL, values, values, np.array(quality, np.uint8), np.array([0.0, age]))
    return POND.step(None, seen)[1:]


def test_a_level_tells_the_freeboard_and_the_beach():
    value, quality = beach(108.8, 120.0)
    assert value == pytest.approx([1.2, 120.0, 0.0])
    assert quality.tolist() == [0, 0, 0]
    assert beach(110.5, 3.0)[0] == pytest.approx([-0.5, 0.0, math.nan], nan_ok=True)


def test_two_instruments_that_disagree_say_by_how_much():
    assert beach(108.8, 90.0)[0][2] == pytest.approx(25.0)
    assert math.isnan(beach(108.8, 90.0, age=90.0)[0][2])
    assert beach(108.8, 90.0, quality=(Quality.GOOD, Quality.FAULT))[1].tolist() == [0, 0, Quality.FAULT]
    assert beach(math.nan, 90.0, quality=(Quality.STALE, Quality.GOOD))[1].tolist() == [Quality.STALE] * 3


def test_a_beach_that_is_its_own_witness_is_refused():
    with pytest.raises(ValueError, match="measured must name one channel"):
        POND.columns(layout(["level"], ["m"]))
    assert POND.columns(LEVEL) == [("level.freeboard", "m"), ("level.beach", "m"), ("level.disagreement", "%")]


def rained(hours, values, gauge="count"):
    """(t, 3) sums and their quality at each reading."""
    one, seen = Rain(name="r", channel=["met/rain"], gauge=gauge), layout(["rain"], ["mm"], stale=1e9)
    memory, out, kinds = one.start(seen), [], []
    for hour, value in zip(hours, values, strict=True):
        memory, told, quality = one.step(memory, frame("met", Instant(hour * HOUR, 0.0), seen, [value]))
        out.append(told)
        kinds.append(quality)
    return np.array(out), np.array(kinds)


@pytest.mark.parametrize("gauge", ["count", "intensity"])
def test_rain_of_a_day_is_summed_and_forgotten(gauge):
    """2 mm/h for 10 hours, then dry: 20 mm in all windows, then in ever fewer."""
    hours = np.arange(0, 120, 0.1)
    fallen = np.interp(hours, [20, 30], [0, 20])
    values = fallen if gauge == "count" else np.where((hours >= 20) & (hours < 30), 2.0, 0.0)
    out, kinds = rained(hours, values, gauge)
    assert out[305] == pytest.approx([20.0] * 3, abs=0.3)
    assert out[430] == pytest.approx([0.0, 20.0, 20.0], abs=0.5)
    assert out[-1] == pytest.approx([0.0, 0.0, 0.0], abs=0.3)
    assert kinds[50, 1] == Quality.UNCERTAIN
    assert (kinds[-1] == Quality.GOOD).all()


def test_a_count_that_begins_anew_or_trembles_is_no_rain():
    out, _ = rained(np.arange(6), [100.0, 103.0, 102.9, 103.0, 0.0, 2.0])
    assert out[-1] == pytest.approx([5.1] * 3)


def test_rain_during_a_gap_is_known_by_the_count():
    out, _ = rained([0.0, 1.0, 31.0], [0.0, 0.0, 30.0])
    assert out[-1] == pytest.approx([12.0, 24.0, 30.0], abs=0.7)


def follow(cause, effect, hours, one=None, memory=None):
    """The last of what is told, and the memory."""
    one = one or Lag(name="l", channel=["dam/p"], cause="pond/level")
    seen = layout(["p", "pond/level"], ["m", "m"], stale=1e9)
    memory, told = memory if memory is not None else one.start(seen), None
    for hour, x, y in zip(hours, cause, effect, strict=True):
        memory, told, _ = one.step(memory, frame("dam", Instant(hour * HOUR, 0.0), seen, [y, x]))
    return told, memory


def levels(hours, seed):
    """A pond that wanders as ponds do."""
    return np.cumsum(np.random.default_rng(seed).normal(0, 0.02, len(hours)))


@pytest.mark.parametrize(("late", "sign"), [(0, 1.0), (17, 1.0), (30, -1.0)])
def test_a_line_that_follows_the_pond_says_how_late(late, sign):
    """Depths fall as levels rise: the correlation bears the sign."""
    hours = np.arange(60 * 24)
    pond = levels(hours, 1)
    line = (
        5.0 + sign * 0.4 * np.interp(hours - late, hours, pond) + np.random.default_rng(2).normal(0, 0.01, len(hours))
    )
    told, _ = follow(pond, line, hours)
    assert told[0] == pytest.approx(late, abs=2.0)
    assert sign * told[1] > 0.8


def test_what_does_not_follow_has_no_lag():
    hours = np.arange(60 * 24)
    told = [follow(levels(hours, 2 * i), levels(hours, 2 * i + 1), hours)[0] for i in range(10)]
    assert np.isnan(np.array(told)[:, 0]).mean() >= 0.7
    assert np.nanmax(np.abs(np.array(told)[:, 1])) < 0.6


def test_before_enough_was_seen_nothing_is_told():
    hours = np.arange(100)
    assert np.isnan(follow(levels(hours, 1), levels(hours, 1), hours)[0]).all()


def test_a_gap_costs_only_itself_and_a_restart_nothing():
    hours = np.r_[np.arange(0, 700), np.arange(760, 1400)]
    pond = levels(np.arange(1400), 5)
    line = 0.5 * np.interp(hours - 9, np.arange(1400), pond)
    one = Lag(name="l", channel=["dam/p"], cause="pond/level")
    whole, _ = follow(pond[hours], line, hours, one)
    assert whole == pytest.approx([9.0, 1.0], abs=0.01)
    _, memory = follow(pond[hours][:900], line[:900], hours[:900], one)
    again = _taken(Part("l", _encoded(memory)), "l", _memory_of(one), memory)
    assert again is not None
    assert follow(pond[hours][900:], line[900:], hours[900:], one, again)[0].tobytes() == whole.tobytes()


def test_a_lag_needs_one_cause():
    with pytest.raises(ValueError, match="cause must name one channel"):
        Lag(name="l", channel=["dam/p"], cause="dam/p").columns(layout(["p"], ["m"]))
