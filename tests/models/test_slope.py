"""Slopes that creep, are measured badly, surge, and fail: told against slopes whose end is known."""

from __future__ import annotations

from functools import cache

import msgspec
import numpy as np
import pytest

from agent import checks
from agent.checkpoint import Part, _encoded, _memory_of, _taken
from agent.core.frame import Instant, Quality, frame, layout
from models.slope import DAY, HOUR, LEARN, Slope, Steps, stepped, stories

SIX_HOURS = 0.25  # d
VELOCITY, NOISE, RATIO, ONSET, FAILS, SOONEST, LATEST, RESET = range(8)  # columns


def seen_of(n, unit="mm"):
    return layout([f"p{i}" for i in range(n)], [unit] * n, stale=1e9)


def run(days, rows, one=None, memory=None):
    """(t, 8, n) what is told after every frame; days: (t,) d; rows: (t,) or (t, n) mm."""
    rows = np.asarray(rows, float)
    rows = rows[:, None] if rows.ndim == 1 else rows
    one, seen, out = one or Slope(name="s", channel=["*"]), seen_of(rows.shape[1]), []
    memory = memory if memory is not None else one.start(seen)
    for day, row in zip(days, rows, strict=True):
        quality = np.where(np.isnan(row), Quality.FAULT, Quality.GOOD).astype(np.uint8)
        memory, value, _ = one.step(memory, frame("s", Instant(day * DAY, 0.0), seen, row, quality))
        out.append(value.reshape(8, -1))
    return np.array(out)


def failing(days, end, onset, creep, alpha=2.0):
    """mm: creep of `creep` mm/d until the onset, then dv/dt = A v^alpha until the end."""
    p, life = 1 / (alpha - 1), end - onset
    rest = np.log1p(-np.maximum(days - onset, 0.0) / life)
    return creep * (np.minimum(days, onset) + life * (-rest if p == 1 else np.expm1((1 - p) * rest) / (p - 1)))


CUT = 215  # the step after which the memory of `mirrored` is kept


@cache
def mirrored():
    """d, mm (t, 2) and (t, 8, 2) told of a slope that fails on day 60 and of one that does so upwards; the memory at
    `CUT`. Made once, for it is dear."""
    days = np.arange(0, 60, SIX_HOURS)
    x = failing(days, 60.0, 35.0, 0.5) + np.random.default_rng(8).normal(0, 0.1, len(days))
    rows, one, seen = np.stack([x, -x], 1), Slope(name="s", channel=["*"]), seen_of(2)
    memory, told, kept = one.start(seen), [], None
    for i, (day, row) in enumerate(zip(days, rows, strict=True)):
        kept = Part("s", msgspec.Raw(_encoded(memory))) if i == CUT else kept
        memory, value, _ = one.step(memory, frame("s", Instant(day * DAY, 0.0), seen, row))
        told.append(value.reshape(8, -1))
    return days, rows, np.array(told), kept


def test_the_laws_of_a_detector_hold():
    assert checks.detector(Slope(name="s", channel=["s/*"], short=60.0, long=600.0)) == []


def test_steady_creep_is_a_velocity_and_no_forecast():
    """50 points creep 90 days with 0.1 to 1 mm/d under noise of 0.5 mm."""
    rng, days = np.random.default_rng(1), np.arange(0, 90, SIX_HOURS)
    creep = np.linspace(0.1, 1.0, 50)
    out = run(days, days[:, None] * creep + rng.normal(0, 0.5, (len(days), 50)))
    assert np.isnan(out[:, FAILS]).all()
    assert (out[200:, ONSET] == 1).mean() < 0.01
    fast = out[200:, VELOCITY, -10:]
    assert np.median(fast[fast > 0]) == pytest.approx(0.95, rel=0.2)


def test_a_velocity_below_its_noise_is_told_as_nought():
    rng, days = np.random.default_rng(2), np.arange(0, 30, SIX_HOURS)
    out = run(days, rng.normal(0, 1.0, (len(days), 40)))[20:]
    assert (out[:, VELOCITY] == 0).mean() > 0.95
    assert (np.abs(out[:, VELOCITY]) >= out[:, NOISE])[out[:, VELOCITY] != 0].all()


@pytest.mark.parametrize("sizes", [(30.0,), (-164.0,), (12.0, -45.0)])
def test_an_instrument_that_is_set_anew_is_no_movement(sizes):
    rng, days = np.random.default_rng(3), np.arange(0, 60, SIX_HOURS)
    x = 0.3 * days + rng.normal(0, 0.3, len(days))
    for i, size in enumerate(sizes):
        x[160 + 30 * i :] += size
    out = run(days, x)
    assert out[-1, RESET, 0] == pytest.approx(sum(sizes), abs=3.0)
    assert np.abs(out[100:, VELOCITY]).max() < 1.0
    assert not (out[:, ONSET] == 1).any()


def test_spikes_and_gaps_change_nothing():
    rng, days = np.random.default_rng(4), np.arange(0, 60, SIX_HOURS)
    x = 1.0 * days + rng.normal(0, 0.3, len(days))
    x[[100, 130, 131, 180]] += [35.0, -20.0, 16.0, -40.0]
    x[200:206] = np.nan
    keep = np.r_[0:60, 75 : len(days)]
    out = run(days[keep], x[keep])
    assert out[-1, RESET, 0] == 0.0
    assert np.median(out[60:, VELOCITY, 0]) == pytest.approx(1.0, abs=0.1)
    assert out[60:, VELOCITY, 0].max() < 1.6
    assert np.isnan(out[:, FAILS]).all()


def test_a_register_that_holds_its_value_hides_no_movement():
    """Read each half hour, measured each 6 hours: between two measurements nothing stays, however big the step was."""
    days = np.arange(0, 40, 1 / 48)
    at = np.floor(days / SIX_HOURS) * SIX_HOURS
    slow = 0.3 * at + np.random.default_rng(5).normal(0, 0.05, 4000)[(at / SIX_HOURS).astype(int)]
    out = run(days, slow + np.where(at > 30, 8.0 * (at - 30), 0.0))
    assert out[-1, VELOCITY, 0] == pytest.approx(8.3, rel=0.1)
    assert abs(out[-1, RESET, 0]) < 3.0


def test_what_goes_on_after_a_jump_is_movement():
    steps = Steps(*np.array([[0.0], [0.0], [1.0], [1.0], [LEARN], [np.nan], [0.0]]))
    told = []
    for now, value in enumerate([1.0, 30.0, 55.0, 90.0, 130.0], 1):
        steps, believed = stepped(steps, float(now), np.array([value]))
        told.append(believed[0])
    assert told == pytest.approx([1.0, np.nan, 55.0, 90.0, 130.0], nan_ok=True)
    assert steps.reset[0] == 0.0


def test_a_failure_is_forecast_and_the_truth_lies_within():
    """20 slopes of any alpha from 1.5 to 2.2 end on day 70, after 10 to 30 days of acceleration. No end is told for
    slopes that hide in the noise; of what is told at least 80 % holds the end."""
    rng, days, n = np.random.default_rng(6), np.arange(30, 70, SIX_HOURS), 20
    x = np.stack(
        [
            failing(days, 70.0, 70.0 - rng.uniform(10, 30), rng.uniform(0.2, 1.5), rng.uniform(1.5, 2.2))
            for _ in range(n)
        ],
        1,
    )
    out = run(days, x + rng.normal(0, 0.2, x.shape))
    left, told = (70.0 - days[:, None]) * 24, np.isfinite(out[:, FAILS])
    inside = (out[:, SOONEST] <= left) & (left <= out[:, LATEST])
    assert (out[:, ONSET] == 1).any(0).mean() > 0.95
    assert told.any(0).mean() > 0.5
    assert inside[told].mean() > 0.8
    assert np.median(np.abs(out[:, FAILS] / left - 1)[told & (left > 12)]) < 0.35


def test_a_surge_that_decays_gives_at_most_a_forecast_that_is_withdrawn():
    """12 surges of 3 to 20 mm/d over a creep, as after rain: none is ever said to fail within a day."""
    rng, days, n = np.random.default_rng(7), np.arange(0, 70, SIX_HOURS), 12
    wide, top, most = rng.uniform(2, 12, n), rng.uniform(40, 50, n), np.exp(rng.uniform(np.log(3), np.log(20), n))
    v = 0.2 + most * np.exp(-0.5 * ((days[:, None] - top) / wide) ** 2)
    out = run(days, np.cumsum(v, 0) * SIX_HOURS + rng.normal(0, 0.5, v.shape))
    assert (out[:, ONSET] == 1).any(0).mean() > 0.9
    assert np.isfinite(out[:, FAILS]).any(0).mean() < 0.4
    assert not (out[:, FAILS] <= 24).any()
    assert np.isnan(out[-1, FAILS]).all()


def test_minutes_of_a_radar_are_judged_like_days_of_a_benchmark():
    """One slope, told in another unit of time: the same forecast in it."""
    days, rows, slow, _ = mirrored()
    fast = run(days / 48, rows[:, 0], Slope(name="s", channel=["*"], short=3 * DAY / 48, long=30 * DAY / 48))
    assert np.isfinite(slow[:, FAILS]).any()
    assert fast[:, FAILS, 0] * 48 == pytest.approx(slow[:, FAILS, 0], rel=1e-6, nan_ok=True)


def test_steps_of_an_hour_and_of_a_day():
    """With an hour's steps the end is told; with a day's the acceleration is, and no end that does not hold."""
    for step in (1 / 24, 1.0):
        days = np.arange(0, 90, step)
        x = failing(days, 90.2, 60.0, 0.5) + np.random.default_rng(9).normal(0, 0.1, len(days))
        out = run(days, x)
        left, told = (90.2 - days) * 24, np.isfinite(out[:, FAILS, 0])
        assert out[-1, ONSET, 0] == 1
        assert told.any() or step == 1.0
        assert ((out[:, SOONEST, 0] <= left) & (left <= out[:, LATEST, 0]))[told].all()


def test_between_two_means_the_time_runs_down():
    days = np.arange(0, 58, 1 / 24)
    out = run(days, failing(days, 60.0, 35.0, 0.5))[:, FAILS, 0]
    told = np.isfinite(out[:-1]) & np.isfinite(out[1:])
    assert told.sum() > 20
    assert np.median(np.diff(out)[told]) == pytest.approx(-1.0)


def test_the_direction_of_movement_does_not_matter():
    _, _, told, _ = mirrored()
    up, down = told[..., 0], told[..., 1]
    assert np.isfinite(up[:, FAILS]).any()
    assert down[:, FAILS] == pytest.approx(up[:, FAILS], nan_ok=True)
    assert down[:, VELOCITY] == pytest.approx(-up[:, VELOCITY], nan_ok=True)


def test_a_restart_goes_on_as_if_nothing_had_been():
    days, rows, whole, kept = mirrored()
    one = Slope(name="s", channel=["*"])
    again = _taken(kept, "s", _memory_of(one), one.start(seen_of(2)))
    assert again is not None
    assert _encoded(again) == bytes(kept.memory)
    assert run(days[CUT:], rows[CUT:], one, again).tobytes() == whole[CUT:].tobytes()
    later = run(days[CUT:] + 64.0, rows[CUT:], one, one.moved(again, 64.0 * DAY))
    assert later == pytest.approx(whole[CUT:], rel=1e-6, abs=1e-6, nan_ok=True)


def test_after_long_silence_nothing_is_known():
    days = np.r_[np.arange(0, 40, SIX_HOURS), np.arange(140, 141, SIX_HOURS)]
    out = run(days, failing(days, 1e4, 20.0, 0.5))
    assert np.isnan(out[-1, [VELOCITY, ONSET, FAILS]]).all()


def test_settings_that_cannot_be_are_refused_in_words():
    with pytest.raises(ValueError, match="3 to 20 times short"):
        Slope(name="s", channel=["*"], short=DAY, long=2 * DAY)
    with pytest.raises(ValueError, match=r"p0 in mm, q in m"):
        Slope(name="s", channel=["*"]).columns(layout(["p0", "q"], ["mm", "m"]))


def test_stories_are_still_before_their_onset_and_end_at_their_end():
    at = np.arange(-100.0, 1.0)
    drawn, end, onset = stories(at, 1.0, 400.0)
    failures = drawn[:, : 6 * len(end) * len(onset)].reshape(len(at), 6, len(end), len(onset))
    for i in (0, 7, len(onset) - 1):
        assert np.abs(failures[at <= -onset[i], :, :, i]).max(initial=0.0) < 1e-9
    assert (np.diff(failures, 2, axis=0) >= -1e-9).all()
    assert (failures[-1, :, 0] > failures[-1, :, -1]).all()
    assert HOUR * 24 == DAY
