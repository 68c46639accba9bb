"""When a limit is reached: against lines whose end is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent import checks
from agent.core.frame import Instant, Quality, frame, layout
from models.reach import HOUR, Reach, line

MINUTE = 60.0


def run(rows, limit=3.0, direction="up", step=MINUTE, window=HOUR, times=None, quality=Quality.GOOD):
    """(t, 4, n) rate, time to the limit, the soonest, the latest; after every frame."""
    rows = np.asarray(rows, float)
    rows = rows[:, None] if rows.ndim == 1 else rows
    one, n = Reach(name="r", channel=["*"], limit=limit, direction=direction, window=window), rows.shape[1]
    seen = layout([f"c{i}" for i in range(n)], ["m"] * n, stale=1e9)
    memory, out = one.start(seen), []
    for i, row in enumerate(rows):
        at = Instant(times[i] if times is not None else i * step, 0.0)
        memory, value, _ = one.step(memory, frame("s", at, seen, row, np.where(np.isnan(row), Quality.FAULT, quality)))
        out.append(value.reshape(4, -1))
    return np.array(out)


def test_the_laws_of_a_detector_hold():
    assert checks.detector(Reach(name="r", channel=["s/*"], limit=1e3, window=120.0)) == []


@pytest.mark.parametrize(("limit", "rate", "direction"), [(3.0, 0.5, "up"), (-3.0, -0.5, "down")])
def test_a_line_arrives_when_it_does(limit, rate, direction):
    """0.5 m/h from 0.5 m: 3 m after five hours; the same downwards."""
    hours = np.arange(4 * 60) / 60
    out = run(0.5 * np.sign(rate) + rate * hours, limit=limit, direction=direction)
    left = (limit - 0.5 * np.sign(rate)) / rate - hours
    known = np.isfinite(out[:, 1, 0])
    assert known.argmax() <= 40
    assert out[known][:, 0, 0] == pytest.approx(rate, rel=1e-6)
    assert out[known][:, 1, 0] == pytest.approx(left[known], abs=1e-6)


def test_nine_of_ten_lie_in_the_interval():
    """400 rising lines with noise: the true time lies between soonest and latest about as often as it says."""
    rng = np.random.default_rng(1)
    rates = rng.uniform(0.2, 1.0, 400)
    hours = np.arange(90)[:, None] / 60
    out = run(rates * hours + rng.normal(0, 0.05, (90, 400)), limit=3.0)[-1]
    left, told = 3.0 / rates - hours[-1], np.isfinite(out[1])
    assert told.mean() > 0.95
    inside = ((out[2] <= left) & (left <= out[3]))[told].mean()
    assert 0.80 <= inside <= 0.97


def test_what_stands_still_arrives_nowhere():
    out = run(1.0 + np.random.default_rng(2).normal(0, 0.05, (3000, 20)))
    assert np.isfinite(out[:, 1]).mean() < 0.03


def test_spikes_and_a_pump_that_starts_for_a_moment_change_little():
    x = 0.5 + 0.5 * np.arange(120) / 60
    x[[70, 85]] += 20.0
    x[100:102] -= 0.4
    out = run(x)
    assert out[-1, 0, 0] == pytest.approx(0.5, rel=0.05)


def test_once_it_is_there_the_time_is_nought():
    out = run(np.minimum(0.5 + np.arange(400) / 60, 3.5))
    assert out[220, 1, 0] == 0.0
    assert (out[220:400, 1, 0] == 0.0).all()
    assert not (out[:140, 1, 0] == 0.0).any()


def test_what_goes_the_other_way_does_not_arrive():
    hours = np.arange(120) / 60
    assert np.isnan(run(2.0 - 0.5 * hours)[:, 1, 0]).all()
    assert np.isnan(run(4.0 + 0.5 * hours, direction="down")[:, 1, 0]).all()


def test_between_two_means_the_time_runs_down():
    out = run(0.5 + 0.5 * np.arange(120) / 60)[:, 1, 0]
    assert np.diff(out[60:]) == pytest.approx(-1 / 60, abs=1e-6)


def test_what_is_not_seen_is_not_known():
    x = 0.5 + 0.5 * np.arange(300) / 60
    x[120:] = np.nan
    out = run(x)
    assert np.isfinite(out[125, 1, 0])
    assert np.isnan(out[260:, :, 0]).all()
    assert np.isnan(run(x[:120], quality=Quality.CALIBRATING)).all()


def test_after_a_long_gap_it_begins_anew():
    x = np.r_[0.5 + 0.5 * np.arange(120) / 60, np.full(120, 1.0)]
    times = np.r_[np.arange(120), 1200 + np.arange(120)] * MINUTE
    out = run(x, times=times)
    assert np.isnan(out[121:140, 1, 0]).all()
    assert np.isnan(out[-1, 1, 0])
    assert out[-1, 0, 0] == pytest.approx(0.0, abs=1e-9)


def test_channels_of_different_units_have_no_limit_in_common():
    one = Reach(name="r", channel=["s/*"], limit=1.0)
    with pytest.raises(ValueError, match=r"a in m, b in no unit"):
        one.columns(layout(["a", "b"], ["m", ""]))
    with pytest.raises(ValueError, match="finite"):
        Reach(name="r", channel=["s/*"], limit=math.inf)


def test_a_median_slope_by_hand():
    at = np.arange(-12.0, 0.0)
    value = np.stack([3 * at + 1, np.where(at < -8, np.nan, -at)], 1)
    value[3, 0] = 500.0
    one = line(at, value)
    assert one.rate.tolist() == [3.0, -1.0]
    assert one.middle.tolist() == [-6.5, -4.5]
    assert one.level.tolist() == [-18.5, 4.5]
    assert (one.error >= 0).all()
    assert np.isnan(line(at, np.where(at[:, None] < -5, np.nan, value))).all()
