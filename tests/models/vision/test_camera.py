"""From boxes to metres and back: a drawn thing at a known place is told to be there."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("cv2")

from agent.sights import Mount
from models.vision.camera import DOUBT, KNOWN, LORRY, WIDE, Lens, lens, placed

EXACT = Lens(1000.0, 640.0, 324.0, 1.5, 0.002, 0.002)
LOST = EXACT._replace(doubt_x=DOUBT, doubt_y=DOUBT)


def box(ahead, across, wide, tall, by=EXACT):
    """Of a thing that stands on the road."""
    foot, middle, px = by.y + by.focal * by.height / ahead, by.x + by.focal * across / ahead, by.focal / ahead
    return middle - wide * px / 2, foot - tall * px, middle + wide * px / 2, foot


@pytest.mark.parametrize("ahead", [6.0, 20.0, 50.0, 90.0])
@pytest.mark.parametrize("across", [-3.7, 0.0, 1.2])
@pytest.mark.parametrize(
    ("kind", "wide", "tall"), [("vehicle", 1.8, 1.5), ("person", 0.55, 1.7), ("two-wheeler", 0.7, 1.7)]
)
def test_a_thing_of_usual_width_is_where_it_stands(ahead, across, kind, wide, tall):
    told = placed(EXACT, box(ahead, across, wide, tall), kind)
    assert told.ahead == pytest.approx(ahead, rel=0.01)
    assert told.across == pytest.approx(across, abs=0.05)
    assert told.wide == pytest.approx(wide, rel=0.02)


@pytest.mark.parametrize("wide", [1.5, 2.1])
def test_near_things_of_unusual_width_are_placed_by_their_foot(wide):
    told = placed(EXACT, box(15.0, 0.0, wide, 1.5), "vehicle")
    assert told.ahead == pytest.approx(15.0, rel=0.05)


def test_a_lorry_is_taken_for_one_by_its_shape():
    for tall in (3.2, 4.0):
        assert placed(EXACT, box(60.0, 0.0, LORRY, tall), "vehicle").ahead == pytest.approx(60.0, rel=0.02)
    tall_as_a_car = placed(EXACT, box(60.0, 0.0, WIDE["vehicle"], 1.5), "vehicle")
    assert tall_as_a_car.ahead == pytest.approx(60.0, rel=0.02)


@pytest.mark.parametrize("dip", [-0.02, 0.02])
def test_where_the_horizon_is_not_known_the_width_tells_and_the_error_is_wider(dip):
    """One degree off at 60 m: the foot would say 33 m, or several hundred."""
    off = [side + (EXACT.focal * dip if i % 2 else 0.0) for i, side in enumerate(box(60.0, 0.0, 1.8, 1.5))]
    told = placed(LOST, tuple(off), "vehicle")
    assert told.ahead == pytest.approx(60.0, rel=0.15)
    assert told.error > placed(EXACT, box(60.0, 0.0, 1.8, 1.5), "vehicle").error
    assert abs(math.log(told.ahead / 60.0)) < 2 * told.error


def test_what_has_no_usual_width_is_placed_by_its_foot_alone_and_above_the_horizon_nowhere():
    assert placed(EXACT, box(25.0, -0.5, 3.1, 0.8), "obstacle").ahead == pytest.approx(25.0, rel=0.01)
    nowhere = placed(EXACT, (600.0, 200.0, 680.0, 300.0), "obstacle")
    assert (nowhere.ahead, nowhere.error) == (math.inf, 1.0)
    assert not math.isnan(nowhere.across)


def test_a_thing_round_the_bend_is_where_the_way_goes():
    """In a bend of 300 m to the right the middle of the lane 40 m ahead is 2.7 m to the right of straight on."""
    shift = EXACT.focal * (40.0**2 / 600.0) / 40.0
    assert placed(EXACT, box(40.0, 40.0**2 / 600.0, 1.8, 1.5), "vehicle", shift).across == pytest.approx(0.0, abs=0.05)


def test_pictures_of_another_size_mean_the_same():
    half = tuple(side / 2 for side in box(30.0, 1.0, 1.8, 1.5))
    assert placed(EXACT.times(0.5), half, "vehicle") == pytest.approx(
        placed(EXACT, box(30.0, 1.0, 1.8, 1.5), "vehicle")
    )


def test_what_the_mount_says_is_scaled_to_the_picture_and_what_it_does_not_is_usual():
    known = lens(Mount(width=1280, focal=1000.0, x=600.0, y=300.0, height=2.4), 640, 360)
    assert known == (500.0, 300.0, 150.0, 2.4, KNOWN, KNOWN)
    usual = lens(Mount(), 1920, 1080)
    assert (usual.focal, usual.x, usual.doubt_x, usual.doubt_y) == (0.8 * 1920, 960.0, DOUBT, DOUBT)
    part = lens(Mount(y=300.0), 1280, 720)
    assert (part.doubt_x, part.doubt_y) == (DOUBT, KNOWN)


@pytest.mark.parametrize("flat", [(10.0, 10.0, 10.0, 10.0), (640.0, 324.0, 640.0, 324.0), (5.0, 9.0, 3.0, 7.0)])
def test_boxes_without_a_size_are_no_error(flat):
    for kind in ("vehicle", "obstacle"):
        told = placed(EXACT, flat, kind)
        assert told.ahead > 0
        assert not any(map(math.isnan, told))
