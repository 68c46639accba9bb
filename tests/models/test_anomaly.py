"""What nobody foresaw, on made-up series whose truth is known: found once, in time, and nothing else told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent import checks
from agent.core.frame import Instant, Quality, frame, layout
from models import tail
from models.anomaly import MANY, Anomaly

HOUR, DAY = 3600.0, 86400.0


def run(rows, step=60.0, one=None, keys=None, memory=None, begin=0.0, quality=Quality.GOOD):
    """(t, c) columns over the rows (t, n), and the memory after them."""
    rows = np.asarray(rows, float)
    rows = rows[:, None] if rows.ndim == 1 else rows
    one = one or Anomaly(name="a", channel=["*"])
    seen = layout(keys or [f"c{i}" for i in range(rows.shape[1])], ["mm"] * rows.shape[1], stale=1e12)
    memory, out = memory or one.start(seen), []
    for i, row in enumerate(rows):
        at = Instant(begin + i * step, begin + i * step)
        memory, value, _ = one.step(memory, frame("s", at, seen, row, np.where(np.isnan(row), Quality.FAULT, quality)))
        out.append(value)
    return np.array(out), memory, one, seen


def starts(column):
    """Rows at which it begins to be told."""
    return np.flatnonzero(np.diff((column >= 0).astype(int), prepend=0) > 0).tolist()


def noise(n, seed=1, size=1.0):
    return np.random.default_rng(seed).normal(0.0, size, n)


def day(n, step=600.0, size=10.0):
    return size * np.sin(2 * np.pi * np.arange(n) * step / DAY)


@pytest.mark.parametrize("seen", [1, 3])
def test_the_laws_of_a_detector_hold(seen):
    assert checks.detector(Anomaly(name="a", channel=["s/*"])) == []
    assert checks.detector(Anomaly(name="a", channel=["s/*"], every=30.0 * seen)) == []


def test_it_says_nothing_before_it_has_seen_enough_and_something_after():
    out, *_ = run(noise(400))
    first = int(np.flatnonzero(np.isfinite(out[:, 0]))[0])
    assert tail.LEARN <= first <= tail.LEARN + 30
    assert np.isfinite(out[first:, 0]).all()


CHANGES = {
    "a step": lambda x: x + np.where(np.arange(len(x)) >= 3000, 8.0, 0.0),
    "a drift": lambda x: x + np.maximum(0, np.arange(len(x)) - 3000) * 0.05,
    "unrest": lambda x: np.where(np.arange(len(x)) >= 3000, 6 * x, x),
    "a calm": lambda x: np.where(np.arange(len(x)) >= 3000, 0.02 * x, x),
}


@pytest.mark.parametrize("step", [21600.0, 0.5])
def test_a_change_is_told_whatever_the_unit_and_the_step(step):
    """It learns size and pace by itself: the same series in nanometres, or every six hours, gives the same answer."""
    made = {(name, size): change for name, change in CHANGES.items() for size in (1e-6, 1e6)}
    rows = [size * (change(noise(3300)) + 50.0) for (_, size), change in made.items()]
    out, *_ = run(np.stack(rows, 1), step)
    for which, column in zip(made, out.T, strict=False):
        found = starts(column)
        assert found, f"never told: {which}"
        assert 3000 <= found[0] <= 3250, which


def test_white_noise_spends_less_than_its_budget():
    """40 channels that go on for 21 days at 10 min: by the budget of one a month 28 tellings, and nothing is there."""
    out, *_ = run(noise(3000 * 40).reshape(-1, 40), 600.0)
    told = sum(len(starts(out[:, i])) for i in range(40))
    assert told <= 28
    assert len(starts(out[:, 40])) <= 3


@pytest.mark.parametrize("n", [3, 40])
def test_what_is_usual_of_every_view_is_known_when_it_begins_to_judge(n):
    """A bar that begins far too high is deaf for weeks."""
    rows = noise(3000 * n).reshape(-1, n)
    _, early, one, _ = run(rows[:400])
    _, late, *_ = run(rows[400:], one=one, memory=early, begin=400 * 60.0)
    views = len(early.tail.bar) - 1  # of these the day needs days
    judged = [i for i in range(views + 1) if i == views or i // n != 2]
    assert np.abs(early.tail.bar - late.tail.bar)[judged].max() < 0.6


def test_heavy_tails_are_learnt():
    """A channel that spikes every few hours, by a factor of ten and more, is not told for spiking."""
    x = np.random.default_rng(3).standard_t(2, (3000, 4))
    out, *_ = run(x, 300.0)
    assert sum(len(starts(column)) for column in out[1500:, :4].T) <= 4


def test_the_hour_of_the_day_is_known_after_some_days():
    x = day(27 * 144) + noise(27 * 144)
    x[25 * 144 + 36 : 25 * 144 + 60] -= 11.0  # the peak of one day is missing: nothing that was not seen at night
    out, *_ = run(x, 600.0)
    found = [row for row in starts(out[:, 0]) if row > 20 * 144]
    assert found
    assert 25 * 144 + 36 <= found[0] <= 25 * 144 + 66
    assert len(found) <= 2


def test_a_plant_that_rests_on_sundays_is_told_for_a_rest_on_a_wednesday():
    week, step = 7 * 48, 1800.0
    x = np.tile(np.where(np.arange(week) >= 6 * 48, 0.0, 10.0), 14) + noise(14 * week)
    x[13 * week + 2 * 48 : 13 * week + 3 * 48] -= 10.0
    out, *_ = run(x, step)
    found = [row / week for row in starts(out[:, 0]) if row >= 10 * week]
    assert len(found) == 1
    assert 13 + 2 / 7 <= found[0] <= 13 + 3 / 7


def test_channels_that_part_are_told_though_each_of_them_is_as_it_was():
    rng = np.random.default_rng(5)
    common = np.convolve(rng.normal(size=5000 + 19), np.ones(20) / 4, "valid")
    x = np.stack([common + rng.normal(0, 0.05, 5000), 2 * common + rng.normal(0, 0.1, 5000)], 1)
    x[4000:, 1] = -x[4000:, 1]
    out, memory, one, seen = run(x)
    alone, both = starts(out[:4200, 0]) + starts(out[:4200, 1]), starts(out[:, 2])
    assert next(row for row in both if row >= 4000) <= 4150
    assert len([row for row in both if row < 4000]) <= 1
    assert len([row for row in alone if row >= 4000]) == 0
    [(view, facts), *_] = one.why(memory, seen, 2)
    assert (view, set(facts["most"].split(", "))) == ("together", {"c0", "c1"})


def test_it_is_told_for_a_while_and_then_it_is_the_new_normal():
    one = Anomaly(name="a", channel=["*"], stands=1800.0)
    out, *_ = run(np.concatenate([noise(3000), 30.0 + noise(3000, 2), 60.0 + noise(200, 4)]), one=one)
    found, told = starts(out[:, 0]), out[:, 0] >= 0
    assert 3000 <= found[0] <= 3010
    assert told[found[0] : found[0] + 30].all()
    assert not told[found[0] + 30]
    assert len([row for row in found if row < 6000]) <= 2, "the same change is not told again and again"
    assert [row for row in found if row >= 6000], "the next change is told"


def test_what_cannot_be_used_is_no_news():
    x = noise(1500)
    x[500:520] = np.nan
    out, *_ = run(x)
    assert starts(out[:, 0]) == starts(run(noise(1500))[0][:, 0]) == []
    assert np.isfinite(out[505, 0]) == False  # noqa: E712  nobody can say
    calibrating, *_ = run(1000 * noise(500), quality=Quality.CALIBRATING)
    assert np.isnan(calibrating).all(), "calibration gas teaches nothing"


def test_gaps_and_irregular_steps_do_no_harm():
    rng = np.random.default_rng(7)
    one, seen = Anomaly(name="a", channel=["*"]), layout(["x"], stale=1e12)
    memory, told, now = one.start(seen), 0, 0.0
    for i, x in enumerate(day(4500) + noise(4500)):
        now += 600.0 * rng.choice([0.5, 1.0, 1.0, 2.0]) if i % 1000 else 5 * DAY
        memory, value, _ = one.step(memory, frame("s", Instant(now, now), seen, x))
        told += bool(value[0] >= 0)
    assert told <= 4


def test_values_at_the_same_instant_and_channels_without_any_are_taken():
    out, *_ = run(np.stack([noise(500), np.full(500, np.nan), np.full(500, 3.0)], 1), step=0.0)
    assert np.isnan(out[:, 1]).all()
    assert not (out >= 0).any()


def test_a_constant_channel_that_moves_is_told():
    out, *_ = run(np.concatenate([np.full(2000, 3.0), np.full(50, 4.0)]))
    assert starts(out[:, 0])
    assert 2000 <= starts(out[:, 0])[0] <= 2005


def test_looks_can_be_rarer_than_frames():
    """Ten frames to a look: the mean of the ten is looked at, and the answer stands until the next."""
    rows = noise(1000 * 10, 3).reshape(-1, 10)
    rows[800:] += 10
    one = Anomaly(name="a", channel=["*"], every=60.0)
    often, *_ = run(rows.ravel(), 6.0, one)
    seldom, *_ = run(rows.mean(1), 60.0)
    told = starts(often[:, 0])
    assert 8000 <= told[0] <= 8100
    assert abs(told[0] / 10 - starts(seldom[:, 0])[0]) <= 2


def test_a_memory_does_not_grow_and_a_thousand_channels_go_together():
    one, n = Anomaly(name="a", channel=["*"]), 20 * MANY
    rows = noise(200 * n).reshape(-1, n)
    _, early, *_ = run(rows[:20], one=one)
    out, late, *_ = run(rows, one=one)

    def size(x):
        return x.nbytes if isinstance(x, np.ndarray) else sum(map(size, x)) if isinstance(x, tuple) else 8

    assert size(early) == size(late)
    assert late.together.spread.shape == (n,)
    assert out.shape == (200, n + 1)


def test_it_says_why_with_the_numbers_that_it_was_judged_by():
    out, memory, one, seen = run(np.concatenate([50 + noise(1500), 59 + noise(4, 2)]), keys=["tilt"])
    assert out[-1, 0] >= 0
    (view, facts), (_, rarity), (_, past) = one.why(memory, seen, 0)
    assert view in ("level", "drift")
    assert 51 < float(facts["now"].removesuffix(" mm")) < 59
    assert rarity["rare"] > rarity["budget"] > 0
    assert out[-1, 0] == pytest.approx(math.log10(rarity["rare"] / rarity["budget"]), abs=0.1)
    assert 1400 < past["looks"] <= 1504


def test_whatever_tail_a_score_has_its_budget_is_kept():
    """Independent scores with exponential tails, that is power laws before the logarithm, of three weights.

    The heaviest has no mean: a third more than its budget is spent on it, which is known and is not to grow.
    """
    many, n, budget = 20, 15_000, 500.0
    size = np.repeat([0.1, 0.3, 1.0], many)
    rng = np.random.default_rng(11)
    memory, told = tail.start(len(size)), np.zeros(len(size))
    one, prior, good = np.ones(len(size)), np.full(len(size), 0.22), np.ones(len(size), bool)
    for score in rng.exponential(size, (n, len(size))):
        told += tail.look(memory, score, good, prior, budget) >= 0
        memory = tail.learn(memory, score, good, one, prior, budget, one)
    spent = told.reshape(3, many).mean(1) / (n / budget)
    assert (spent <= [1.0, 1.0, 1.6]).all(), spent
    far = memory.bar + 30 * size
    assert (tail.look(memory, far, good, prior, budget) > 0).all(), "and what is far beyond it is told"
