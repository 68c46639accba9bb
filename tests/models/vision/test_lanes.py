"""Marks of the lane on a drawn road: where they lie across, where they meet, and when nothing is to be told."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("cv2")

from models.vision import lanes
from models.vision.camera import Lens
from tests.tools.ground import FOCAL, HIGH, UP, WIDE, Mark, Wall, X, Y, seen

LENS = Lens(FOCAL, X, Y, UP, 0.01, 0.01)
SOLID = [Mark(-1.8), Mark(1.7)]
ROADS = {
    "solid on both sides": SOLID,
    "dashed on the left": [Mark(-1.8, on=6, every=12), Mark(1.7)],
    "worn": [Mark(-1.8, bright=40.0), Mark(1.7, bright=40.0)],
    "with a strip beside": [*SOLID, Mark(2.75)],
    "of three lanes": [Mark(-5.4, on=6, every=12), *SOLID, Mark(5.3)],
}


def found(picture, lens=LENS):
    lines = lanes.lines(*lanes.pixels(picture, lens), lens)
    return lanes.ahead(lines, lens), lanes.marks(lines, lens)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("x", [0.0, 0.3])
def test_marks_are_told_to_a_tenth_of_a_metre_and_where_they_meet_to_two_pixels(road, x):
    spot, told = found(seen(x=x, marks=ROADS[road]))
    assert spot == pytest.approx((X, Y), abs=2.0)
    assert told == pytest.approx((-1.8 - x, 1.7 - x), abs=0.1)


@pytest.mark.parametrize(("yaw", "pitch"), [(0.04, 0.0), (-0.05, 0.0), (0.02, 0.02), (0.0, -0.02)])
def test_a_camera_that_looks_aside_is_told_so(yaw, pitch):
    spot, _ = found(seen(yaw=yaw, pitch=pitch, marks=SOLID))
    assert spot == pytest.approx((X - FOCAL * math.tan(yaw), Y - FOCAL * math.tan(pitch)), abs=2.0)


@pytest.mark.parametrize(("side", "x"), [(0, -1.8), (1, 1.7)])
def test_a_mark_on_one_side_only_is_told_and_tells_no_spot(side, x):
    spot, told = found(seen(marks=[Mark(x)]))
    assert spot is None
    assert told[side] == pytest.approx(x, abs=0.1)
    assert math.isnan(told[1 - side])


@pytest.mark.xfail(strict=True, reason="two marks side by side are no line")
def test_a_double_line_is_a_mark():
    """As on most country roads."""
    spot, told = found(seen(marks=[Mark(-1.8), Mark(-2.1), Mark(1.7)]))
    assert told == pytest.approx((-1.8, 1.7), abs=0.1)
    assert spot == pytest.approx((X, Y), abs=2.0)


def test_a_patched_road_does_not_hide_its_marks():
    _, told = found(seen(x=0.6, marks=SOLID, rough=14.0))
    assert told == pytest.approx((-2.4, 1.1), abs=0.1)


@pytest.mark.parametrize("rough", [0.0, 8.0, 25.0])
def test_a_road_without_marks_tells_nothing(rough):
    spot, told = found(seen(rough=rough))
    assert spot is None
    assert all(map(math.isnan, told))


def test_marks_are_seen_in_the_own_headlights():
    """Light falls off from 40 m to nothing; grain is that of a night."""
    row = np.arange(HIGH)[:, None]
    light = np.clip((row - Y) / 60, 0.05, 1) * np.exp(-(((np.arange(WIDE) - X) / 260) ** 2))
    picture = np.clip(0.6 * seen(marks=SOLID, sky=20.0) * light + NOISE * 5, 0, 255).astype(np.uint8)
    spot, told = found(picture)
    assert told == pytest.approx((-1.8, 1.7), abs=0.1)
    assert spot is None or spot == pytest.approx((X, Y), abs=3.0)


NOISE = np.random.default_rng(4).normal(0, 1, (HIGH, WIDE))


def test_shadows_of_trees_across_the_road_do_not_move_the_marks():
    picture = seen(marks=SOLID).astype(float)
    for top, high in ((190, 8), (214, 12), (250, 25), (310, 18)):
        picture[top : top + high] *= 0.45
    spot, told = found(picture.astype(np.uint8))
    assert told == pytest.approx((-1.8, 1.7), abs=0.1)
    assert spot is None or spot == pytest.approx((X, Y), abs=2.0)


def test_light_between_the_shadows_of_a_fence_tells_nothing():
    """Bright bars across the road, some wide and some narrow, none along it."""
    picture = seen().astype(float)
    for top in range(175, 350, 9):
        picture[top : top + 4] *= 1.5
    spot, told = found(np.clip(picture, 0, 255).astype(np.uint8))
    assert spot is None
    assert all(map(math.isnan, told))


def test_kerbs_posts_and_people_beside_the_road_tell_nothing():
    """Steps of light along the road are as bright as marks but have one side only; posts and people do not meet."""
    picture = seen(marks=[Mark(4.0, wide=3.0), Mark(-4.2, wide=3.2)])
    posts = [Wall(x, x + 0.12, 0, 1.2, z, 20, 220) for z in (6, 9, 13, 18) for x in (-2.6, 2.5)]
    for one in (picture, seen(walls=posts), np.minimum(picture, seen(walls=posts))):
        spot, told = found(one)
        assert spot is None
        assert all(math.isnan(side) or abs(side) > 2.3 for side in told), "what is told is the kerb, not a lane"


@pytest.mark.parametrize("z", [7.0, 9.0, 12.0])
def test_a_car_ahead_has_no_marks_on_it(z):
    """White corners of its bodywork stand upright where marks would be: nothing nearer than the real marks is told."""
    body = Wall(-0.9, 0.9, 0.3, 1.4, z, 5, 70)
    white = [Wall(x, x + 0.12, 0.3, 1.4, z - 0.01, 0, 210) for x in (-0.9, 0.78)]
    _, told = found(seen(marks=SOLID, walls=[body, *white]))
    for side, true in zip(told, (-1.8, 1.7), strict=True):
        assert math.isnan(side) or side == pytest.approx(true, abs=0.15)


def test_what_stands_on_the_road_hides_its_marks():
    """A white van over the left mark: asked to, nobody looks there."""
    picture = seen(
        marks=SOLID, walls=[Wall(-2.6, -0.7, 0.0, 2.2, 9.0, 10, 90), Wall(-1.35, -1.2, 0, 2.2, 8.99, 0, 230)]
    )
    body = X - 2.6 / 9 * FOCAL, Y - 0.7 / 9 * FOCAL, X - 0.7 / 9 * FOCAL, Y + 1.5 / 9 * FOCAL
    x, y = lanes.pixels(picture, LENS, [body])
    assert not ((x > body[0]) & (x < body[2]) & (y > body[1]) & (y < body[3])).any()
    assert len(x) > 100


def test_dark_tracks_of_tyres_are_no_marks():
    """What is between them is as bright as the road."""
    ruts = [Mark(x, 0.35, bright=-35.0) for x in (-0.8, 0.8)]
    for marks in (ruts, [*ruts, *SOLID]):
        _, told = found(seen(marks=marks))
        for side, true in zip(told, (-1.8, 1.7), strict=True):
            assert math.isnan(side) or side == pytest.approx(true, abs=0.15)


def test_small_and_empty_pictures_tell_nothing():
    for h, w in ((1, 1), (4, 6), (36, 64)):
        lens = Lens(0.8 * w, w / 2, 0.45 * h, UP, 0.07, 0.07)
        spot, told = found(np.full((h, w), 90, np.uint8), lens)
        assert spot is None
        assert all(map(math.isnan, told))
