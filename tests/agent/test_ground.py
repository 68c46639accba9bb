"""The ground before a fixed camera: metres from shares of its picture, and what technicians get wrong."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from agent import ground
from agent.ground import back, placed

POINTS = np.array([[0.2, 0.9], [0.8, 0.92], [0.3, 0.4], [0.72, 0.42], [0.5, 0.6], [0.4, 0.8]])
METRES = placed(np.array([[30.0, 2.0, -16.0], [0.3, -9.0, 26.0], [0.1, 2.4, -0.4]]), POINTS)


def test_the_examples_run():
    assert doctest.testmod(ground).failed == 0


@pytest.mark.parametrize("n", [4, 5, 6])
def test_points_on_a_plane_are_placed_and_found_again(n):
    plane = ground.ground(POINTS[:n], METRES[:n])
    assert placed(plane, POINTS) == pytest.approx(METRES, abs=1e-6)
    assert placed(back(plane), METRES) == pytest.approx(POINTS, abs=1e-9)


def test_beyond_the_horizon_nothing_is_placed():
    plane = ground.ground(POINTS, METRES)
    assert np.isnan(placed(plane, np.array([[0.5, 0.05]]))).all()


@pytest.mark.parametrize(
    ("shares", "metres", "says"),
    [
        (POINTS[:3], METRES[:3], "4 points or more"),
        (POINTS[[0, 1, 2, 0]], METRES[:4], "numbers 1 and 4 are one in the picture"),
        (POINTS[:4], METRES[[0, 1, 2, 1]], "numbers 2 and 4 are one on the ground"),
        ([[0, 0], [0.5, 0.5], [1, 1], [0, 1]], METRES[:4], "numbers 1, 2, 3 of 4 lie on a line in the picture"),
        (np.linspace(0, 1, 12).reshape(6, 2), METRES, "all of them lie on a line in the picture"),
        (POINTS[:4], METRES[[1, 0, 2, 3]], "check their order"),
        (POINTS, METRES + np.outer(np.arange(6) == 2, [3.0, 0.0]), "number 3 does not go with the others"),
    ],
)
def test_what_tells_no_plane_is_refused_in_words(shares, metres, says):
    with pytest.raises(ValueError, match=says):
        ground.ground(shares, metres)
