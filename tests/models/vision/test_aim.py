"""Whether what grows is hit or passes, what boxes tell where texture tells nothing, and the examples in the docs."""

from __future__ import annotations

import doctest
import importlib
import math

import numpy as np
import pytest

from models.vision import road
from models.vision.approach import Closing, Memory, aim, seen
from models.vision.camera import Lens, Place
from models.vision.road import Target
from models.vision.track import BRIEFLY, KNOWS, fused, grown

SIZE = 240, 640  # px
RATE = 20.0  # pictures/s
rng = np.random.default_rng(3)
WAVES = rng.uniform(-9, 9, (24, 2)), rng.uniform(0, 7, 24), rng.uniform(5, 14, 24)


@pytest.mark.parametrize("name", ["approach", "camera", "flow", "lanes", "looming", "road", "scale", "track"])
def test_the_examples_are_true(name):
    assert doctest.testmod(importlib.import_module(f"models.vision.{name}")).failed == 0


def picture(cx, half):
    """A thing with texture, `half` px from its middle at `cx` to its sides."""
    a, b = (np.arange(SIZE[1]) - cx) / half, (np.arange(SIZE[0]) - 120) / half
    columns, rows = np.abs(a) <= 1, np.abs(b) <= 1
    k, phase, size = WAVES
    light = sum(s * np.sin(i * a[columns] + j * b[rows, None] + p) for (i, j), p, s in zip(k, phase, size, strict=True))
    frame = np.full(SIZE, 90.0, np.float32)
    frame[np.ix_(rows, columns)] = 120 + light
    return frame, (cx - half, 120 - half, cx + half, 120 + half)


def aimed(across, turning=0.0, ahead=320.0):
    """Where a thing `across` m beside a camera that drives to `ahead` is aimed at, 2 s before it is there; 20 m/s."""
    memory = Memory()
    for i in range(12):
        z = 40.0 - 20.0 * i / RATE
        frame, box = picture(ahead + 500 * across / z - turning * i / RATE, 600 / z)
        memory, _ = seen(memory, i / RATE, frame, box)
    return aim(memory, turning), memory.views[-1].box


@pytest.mark.parametrize("across", [-4.0, 0.0, 3.0])
def test_what_is_beside_the_way_grows_away_from_where_the_camera_drives(across):
    (x, error), box = aimed(across)
    assert x == pytest.approx(320.0, abs=12.0)
    assert error < 10.0
    assert (box[0] < x < box[2]) == (across == 0.0), "it is hit if the column lies in its box"


def test_a_camera_that_turns_is_allowed_for():
    """At 20 px/s, as in a bend of 400 m."""
    (x, _), _ = aimed(0.0, turning=20.0)
    assert x == pytest.approx(320.0 - 20.0 * 11 / RATE, abs=12.0)


def test_what_does_not_grow_is_aimed_at_nothing():
    memory = Memory()
    for i in range(12):
        memory, _ = seen(memory, i / RATE, *picture(320, 20))
    assert aim(memory, 0.0) is None
    assert aim(Memory(), 0.0) is None


def sizes(ttc, jitter=0.0, n=14):
    """Of the boxes of a thing that is reached `ttc` s after the last of them."""
    noise = np.random.default_rng(1).normal(0, jitter, n)
    return [(-(n - 1 - i) / RATE, 100 / (ttc + (n - 1 - i) / RATE) * math.exp(noise[i])) for i in range(n)]


@pytest.mark.parametrize(("jitter", "off"), [(0.0, 0.01), (0.03, 0.25)])
def test_boxes_tell_roughly_how_a_thing_grows(jitter, off):
    told = grown(sizes(3.0, jitter), 0.0)
    assert 1 / told.per_second == pytest.approx(3.0, rel=off)
    assert told.error > 0.03


def test_few_or_old_boxes_tell_nothing():
    assert grown(sizes(3.0)[-4:], 0.0) is None
    assert grown(sizes(3.0), BRIEFLY + 0.1) is None


def test_a_texture_that_knows_needs_no_boxes_and_one_that_does_not_is_helped():
    boxes = Closing(0.3, 0.05)
    sharp, rough = Closing(0.4, KNOWS / 2, 0.1), Closing(0.9, 0.5)
    assert fused(sharp, boxes) == sharp
    assert fused(None, boxes) == boxes
    assert fused(sharp, None) == sharp
    assert fused(None, None) is None
    assert fused(rough, boxes).per_second == pytest.approx(0.306, abs=0.002)
    assert fused(rough, boxes).error < 0.05


def test_the_camera_s_height_is_told_by_the_width_of_cars_once_the_horizon_is_known():
    """2.2 m above the road; nothing is told before, nor by lorries, nor by what the picture's edge cuts."""
    known = Lens(1000.0, 640.0, 324.0, 1.5, 0.002, 0.002)

    def at(z, wide=1.8, high=1.4, x=640.0):
        foot, half = 324.0 + 1000.0 * 2.2 / z, 500.0 * wide / z
        box = (x - half, foot - 1000.0 * high / z, x + half, foot)
        return Target(1, "vehicle", box, Place(z, 0.1, 0.0, wide), True, 0.0, 0.1, 0.0, 0.9, 0.0)

    def told(memory, *targets):
        for one in targets:
            memory = road._measured(memory, [one], 1280)
        return math.exp(memory.height) if memory.heights else math.nan

    cars = [at(float(z)) for z in range(10, 50)]
    assert told(road.Memory(known), *cars) == pytest.approx(2.2, rel=0.001)
    assert math.isnan(told(road.Memory(known._replace(doubt_y=0.05)), *cars))
    assert math.isnan(told(road.Memory(known), *(at(float(z), 2.5, 3.6) for z in range(10, 50))))
    assert math.isnan(told(road.Memory(known), at(10.0, x=1279.0)))
