"""Gas above what the place always gives: releases that come often, and states in which more is normal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent import checks
from agent.core.frame import Instant, Quality, frame, layout
from models.gas import Gas

MINUTE, HOUR = 60.0, 3600.0


def run(one, rows, keys, memory=None, begin=0.0, step=MINUTE):
    """(t, 2) baseline and excess of the first channel, and the memory after them."""
    seen = layout(keys, ["%"] + [""] * (len(keys) - 1), stale=180.0)
    memory, out = memory or one.start(seen), []
    for i, row in enumerate(np.asarray(rows, float).reshape(len(rows), -1)):
        fit = np.where(np.isnan(row), Quality.FAULT, Quality.GOOD)
        memory, value, _ = one.step(memory, frame("s", Instant(begin + i * step, 0.0), seen, row, fit))
        out.append(value)
    return np.array(out), memory


def noise(n, size=0.02, seed=1):
    return np.random.default_rng(seed).normal(0.0, size, n)


def test_the_laws_of_a_detector_hold():
    assert checks.detector(Gas(name="g", channel=["s/*"], state=("w/x",), young=0.0)) == []


def test_releases_that_fill_a_third_of_the_time_do_not_lift_the_baseline():
    minutes = np.arange(5 * 1440)
    release = np.where(minutes % 360 < 120, 3.0, 0.0)
    out, _ = run(Gas(name="g", channel=["s/ch4"]), 2.0 + release + noise(len(minutes)), ["ch4"])
    late = minutes > 1440
    assert np.abs(out[late, 0] - 2.0).max() < 0.15
    assert out[late & (release > 0), 1].min() > 2.7
    assert out[late & (release == 0), 1].max() < 0.3


def test_a_place_that_becomes_worse_for_good_is_followed_within_days():
    x = np.concatenate([2.0 + noise(3 * 1440), 2.5 + noise(12 * 1440, seed=2)])
    out, _ = run(Gas(name="g", channel=["s/ch4"]), x, ["ch4"])
    assert out[3 * 1440 + 60, 1] > 0.3
    assert abs(out[-1, 0] - 2.5) < 0.1


CUTTING = Gas(name="g", channel=["s/ch4"], state=("s/cutter",))


def test_what_is_normal_in_production_is_strange_while_the_cutter_stands():
    minutes = np.arange(4 * 1440)
    cuts = (minutes % 480 < 240).astype(float)
    x = 0.3 + 0.5 * cuts + noise(len(minutes))
    x[-10:], cuts[-10:] = 0.8, 0.0
    out, _ = run(CUTTING, np.stack([x, cuts], 1), ["ch4", "s/cutter"])
    late = (minutes > 1440) & (minutes < len(minutes) - 10)
    assert out[late, 1].max() < 0.15
    assert out[-10:, 1].min() > 0.4
    assert np.abs(out[late & (cuts > 0), 0] - 0.8).max() < 0.1


def test_without_the_switch_nothing_is_said_and_nothing_learnt():
    x, cuts = 0.3 + noise(600), np.zeros(600)
    x[300:400], cuts[300:400] = 5.0, np.nan
    out, _ = run(CUTTING, np.stack([x, cuts], 1), ["ch4", "s/cutter"])
    assert np.isnan(out[300:400]).all()
    assert out[450, 0] == pytest.approx(0.3, abs=0.05)


def test_a_state_is_known_after_an_hour_in_it():
    out, _ = run(CUTTING, np.stack([0.3 + noise(200), np.repeat([0.0, 1.0], 100)], 1), ["ch4", "s/cutter"])
    known = np.isfinite(out[:, 1])
    assert not known[:59].any()
    assert known[62:100].all()
    assert not known[101:155].any()
    assert known[-1]


def test_a_restart_goes_on_as_if_nothing_had_been():
    rows = np.stack([0.3 + noise(600), (np.arange(600) % 200 < 100).astype(float)], 1)
    whole, _ = run(CUTTING, rows, ["ch4", "s/cutter"])
    first, memory = run(CUTTING, rows[:250], ["ch4", "s/cutter"])
    second, _ = run(CUTTING, rows[250:], ["ch4", "s/cutter"], CUTTING.moved(memory, 7e5), 7e5 + 250 * MINUTE)
    assert np.allclose(np.vstack([first, second]), whole, equal_nan=True)


def test_more_switches_than_states_can_be_seen_are_refused():
    with pytest.raises(ValueError, match="at most 3 switches"):
        Gas(name="g", channel=["s/ch4"], state=("a/1", "a/2", "a/3", "a/4"))
    with pytest.raises(ValueError, match="at most 3 switches"):
        Gas(name="g", channel=["s/x"], state=("w/*",)).columns(
            layout(["x", "w/a", "w/b", "w/c", "w/d"], stale=math.inf)
        )
