"""How soon a thing is reached: drawn at any size from a texture that is known everywhere, on a ground of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.vision.approach import AGES, Memory, seen
from models.vision.scale import LEAST, aligned, halved, inner

SIZE = 240, 320  # px
rng = np.random.default_rng(1)
WAVES = rng.uniform(-9, 9, (24, 2)), rng.uniform(0, 7, 24), rng.uniform(5, 14, 24)


def thing(x, y):
    """What is to be seen of it, -1 to 1 being its sides."""
    (k, phase, size) = WAVES
    light = sum(s * np.sin(a * x + b * y + p) for (a, b), p, s in zip(k, phase, size, strict=True))
    return 120.0 + light - 70.0 * np.exp(-(((np.abs(x) - 0.5) / 0.12) ** 2))


def drawn(half, cx=160.0, cy=120.0, light=1.0, noise=1.0, seed=0, ground=0.0):
    """A picture of it, `half` px from its middle to its sides, and its box."""
    y, x = np.arange(SIZE[0], dtype=float)[:, None], np.arange(SIZE[1], dtype=float)
    picture = 90 + 30 * np.sin(0.21 * (x + ground)) * np.cos(0.17 * y + 0.4)
    rows, columns = np.abs(y[:, 0] - cy) <= half, np.abs(x - cx) <= half
    picture[np.ix_(rows, columns)] = light * thing((x[columns] - cx) / half, (y[rows] - cy) / half)
    picture += np.random.default_rng(seed).normal(0, noise, SIZE)
    return picture.astype(np.float32), (cx - half, cy - half, cx + half, cy + half)


def drive(ranges, rate=20.0, width=800.0, jitter=0.0, **more):
    """What is told after each picture of a thing at these ranges (m)."""
    memory, told, jumps = Memory(), [], np.random.default_rng(7)
    for i, z in enumerate(ranges):
        picture, box = drawn(width / z, 160 + 0.2 * i, 120 - 0.1 * i, seed=i, ground=3.0 * i, **more)
        box = tuple(side + jumps.normal(0, jitter) for side in box)
        memory, closing = seen(memory, i / rate, picture, box)
        told.append(closing)
    return told


@pytest.mark.parametrize("by", [0.9, 1.0, 1.005, 1.08])
@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (5.3, -3.6)])
def test_a_patch_is_found_again_to_a_fraction_of_a_pixel(by, dx, dy):
    before, box = drawn(40.0)
    now, _ = drawn(40.0 * by, 160 + dx, 120 + dy, light=0.8, seed=1)
    found = aligned(before, inner(box, 0.2), now)
    assert found.grown == pytest.approx(math.log(by), abs=2e-3)
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.1)
    assert found.alike > 0.95


def test_something_else_is_not_found():
    before, box = drawn(40.0)
    other = np.random.default_rng(3).uniform(0, 255, SIZE).astype(np.float32)
    assert aligned(before, box, other) is None
    assert aligned(before, box, np.full(SIZE, 80.0, np.float32)) is None
    assert aligned(np.full(SIZE, 80.0, np.float32), box, before) is None, "nothing to hold on to"
    assert aligned(before, (10.0, 10.0, 10.0 + LEAST - 1, 60.0), before) is None, "too small"


def test_half_a_picture_has_the_means_of_its_pixels():
    assert halved(np.arange(12, dtype=np.float32).reshape(2, 6)).tolist() == [[3.5, 5.5, 7.5]]
    assert halved(np.ones((5, 7), np.float32)).shape == (2, 3)


@pytest.mark.parametrize("jitter", [0.0, 2.0])
@pytest.mark.parametrize(("ttc", "rate"), [(2.0, 20.0), (4.0, 10.0), (8.0, 25.0)])
def test_the_time_to_collision_is_told_though_the_boxes_jump(ttc, rate, jitter):
    """At 20 m when the last picture is taken."""
    before = np.arange(int(1.5 * rate), -1, -1) / rate  # s
    told = drive(20.0 * (ttc + before) / ttc, rate, jitter=jitter)
    last = told[-1]
    assert 1 / last.per_second == pytest.approx(ttc, rel=0.06)
    assert abs(last.per_second - 1 / ttc) < 3 * last.error


def test_a_car_that_brakes_is_followed():
    """At 25 m with 6 m/s2: a second later the closing speed is told as it is, not as it was."""
    t = np.arange(40) / 20.0
    braking = np.maximum(t - 1.0, 0.0)
    told = drive(25.0 - 3.0 * braking**2)
    true = 6.0 * braking[-1] / (25.0 - 3.0 * braking[-1] ** 2)
    assert told[-1].per_second == pytest.approx(true, rel=0.15)
    assert abs(told[19].per_second) < 0.01


def test_what_keeps_its_distance_or_goes_away_is_no_approach():
    assert max(abs(one.per_second) for one in drive([20.0] * 30)[10:]) < 0.01
    assert drive(20.0 + 0.15 * np.arange(30))[-1].per_second < -0.08


def test_nothing_is_told_before_something_was_seen_and_after_it_was_lost():
    told = drive([20.0] * 12)
    assert told[0] is None
    assert told[-1] is not None
    memory, _ = seen(Memory(), 0.0, *drawn(40.0))
    memory, closing = seen(memory, 5.0, *drawn(50.0))
    assert closing is None
    assert len(memory.views) == 1, "it is another"


def test_what_is_remembered_does_not_grow():
    memory, most = Memory(), 0
    for i in range(60):
        memory, _ = seen(memory, i / 20.0, *drawn(40.0, seed=i))
        most = max(most, len(memory.views))
    assert most <= 20 * max(AGES) * 1.15 + 2
    assert len(memory.growths) <= 60
