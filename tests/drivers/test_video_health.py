"""What pictures say about their camera: from made-up numbers, without a decoder."""

from __future__ import annotations

import math

import numpy as np
import pytest
from msgspec.structs import replace

from drivers.video_health import CLASSES, HIGH, WIDE, Limits, Memory, Picture, look, shifted, states

LIMITS = Limits(hold=3.0)
STEP = 0.25  # s between pictures


def scene(seed=1, right=0, down=0):
    """Edges of a place, of which the camera sees a part."""
    wide = np.random.default_rng(seed).integers(0, 60, (HIGH + 40, WIDE + 40)) ** 2 / 20
    smooth = (wide[1:-1, 1:-1] + wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]) / 5
    return smooth[15 + down : 15 + down + HIGH, 15 + right : 15 + right + WIDE].astype(np.uint8).copy()


USUAL = Picture(
    at=0.0, pts=0.0, count=1, content=1, mean=120.0, black=0.0, white=0.0, texture=40.0, sharp=0.2,
    scene=scene().tobytes(),
)  # fmt: skip


def watched(*acts, limits=LIMITS):
    """The memory after acts of (seconds, changes to the usual picture), and when it is then. Content and time go on."""
    memory, n = Memory(), 0
    for seconds, changes in acts:
        for _ in range(round(seconds / STEP)):
            n += 1
            seen = replace(USUAL, at=n * STEP, pts=n * STEP, count=n, content=n)
            memory = look(memory, replace(seen, **changes), limits)
    return memory, n * STEP


def shown(*acts, later=0.0, limits=LIMITS):
    memory, now = watched(*acts, limits=limits)
    return states(memory, now + later, limits)


def test_a_camera_that_is_well_says_so_once_it_knows_what_is_usual():
    early, later = shown((2, {})), shown((20, {}))
    assert (early.defocused, early.moved) == (None, None)
    assert math.isnan(early.sharpness)
    assert (later.stalled, later.frozen, later.black, later.covered) == (False, False, False, False)
    assert (later.defocused, later.overexposed, later.moved) == (False, False, False)
    assert later.fps == pytest.approx(4.0)
    assert later.brightness == pytest.approx(100 * 120 / 255)
    assert later.sharpness == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        ("black", {"black": 1.0, "mean": 1.0, "texture": 1.0}),
        ("overexposed", {"white": 0.9, "mean": 250.0, "texture": 3.0}),
        ("covered", {"texture": 2.0, "sharp": 0.001}),
        ("defocused", {"sharp": 0.05}),
        ("moved", {"scene": scene(right=10).tobytes()}),
        ("moved", {"scene": scene(down=6).tobytes()}),
        ("moved", {"scene": scene(seed=2).tobytes()}),
    ],
)
def test_a_state_begins_after_its_condition_stood_and_ends_after_the_contrary_did(state, changes):
    def on(*acts):
        return getattr(shown((20, {}), *acts), state)

    assert not on((2.5, changes))
    assert on((4, changes)) is True
    assert on((4, changes), (2.5, {})) is True
    assert on((4, changes), (2.0, {}), (1.0, changes), (2.0, {})) is True
    assert on((4, changes), (4, {})) is False


def test_states_do_not_contradict_each_other():
    said = shown((20, {}), (20, {"black": 1.0, "mean": 0.0, "texture": 0.0, "sharp": 0.0, "content": 7}))
    assert said.black is True
    assert said.covered is False
    assert (said.frozen, said.defocused, said.moved) == (None, None, None)


def test_between_the_limits_of_a_condition_nothing_moves():
    assert shown((20, {}), (60, {"white": 0.45})).overexposed is False
    assert shown((20, {}), (5, {"white": 0.6}), (60, {"white": 0.45})).overexposed is True


def test_a_picture_whose_content_stands_is_frozen_and_one_that_does_not_come_is_stalled():
    assert shown((20, {}), (9.5, {"content": 5})).frozen is False
    assert shown((20, {}), (11, {"content": 5})).frozen is True
    assert shown((20, {}), (11, {"content": 5}), (STEP, {})).frozen is False
    assert shown((20, {}), later=2.0).stalled is False
    late = shown((20, {}), later=3.0)
    assert (late.stalled, late.fps) == (True, 0.0)


def test_a_decoder_that_repeats_its_last_picture_gives_none():
    memory, now = watched((20, {}))
    repeated = memory.newest
    for i in range(1, 20):
        memory = look(memory, replace(repeated, at=now + i * STEP, count=repeated.count + i), LIMITS)
    assert states(memory, now + 19 * STEP, LIMITS).stalled is True


def test_a_camera_that_is_frozen_stays_so_over_a_new_connection():
    memory, now = watched((20, {}), (11, {"content": 5}))
    memory = look(memory, replace(USUAL, at=now + 6, pts=0.0, count=1, content=5), LIMITS)
    assert states(memory, now + 6, LIMITS).frozen is True


def test_a_night_is_not_out_of_focus_but_has_a_sharpness_of_its_own():
    night = {"mean": 30.0, "sharp": 0.06}
    assert shown((20, {}), (60, night)).defocused is False
    assert shown((20, {}), (60, night)).sharpness == pytest.approx(100.0)
    assert shown((20, {}), (60, night), (5, {**night, "sharp": 0.01})).defocused is True


def test_what_is_out_of_focus_does_not_become_usual_and_a_camera_turned_on_purpose_does():
    limits = Limits(hold=1.0, learn=60.0)
    assert shown((60, {}), (600, {"sharp": 0.05}), limits=limits).defocused is True
    turned = {"scene": scene(seed=2).tobytes()}
    assert shown((60, {}), (10, turned), limits=limits).moved is True
    assert shown((60, {}), (300, turned), limits=limits).moved is False


def test_a_shift_is_measured_and_what_shows_nothing_says_nothing():
    here = scene().astype(float)
    assert shifted(here, here) == 0.0
    assert shifted(here, scene(right=8).astype(float)) == pytest.approx(8 / WIDE)
    assert shifted(here, scene(right=-3, down=4).astype(float)) == pytest.approx(5 / WIDE)
    assert shifted(here, scene(seed=3).astype(float)) == math.inf
    assert math.isnan(shifted(here, np.zeros((HIGH, WIDE))))


def test_something_that_passes_is_no_movement_of_the_camera():
    passing = scene()
    passing[8:26, 20:40] = 200
    assert shown((20, {}), (20, {"scene": passing.tobytes()})).moved is False


def test_memory_is_a_value_and_does_not_grow():
    memory, now = watched((20, {}))
    usual = memory.scene.copy()
    after = look(memory, replace(USUAL, at=now + STEP, count=99, content=99, scene=scene(seed=2).tobytes()), LIMITS)
    assert (memory.scene == usual).all()
    assert memory.newest.count == 80
    assert after.scene.shape == usual.shape
    assert len(after.sharp) == CLASSES
