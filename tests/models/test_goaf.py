"""Graham's ratio by hand, and what it will not say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent.core.frame import Instant, Quality, frame, layout
from models.goaf import Graham

GRAHAM = Graham(name="goaf", channel=["s/co", "s/o2", "s/n2"])
SEEN = layout(["co", "o2", "n2"], ["ppm", "%", "%"])


def ratio(co, oxygen, nitrogen, quality=Quality.GOOD, seen=SEEN):
    _, value, kind = GRAHAM.step(None, frame("s", Instant(0.0, 0.0), seen, [co, oxygen, nitrogen], quality))
    return value[0], kind[0]


@pytest.mark.parametrize(
    ("co", "oxygen", "nitrogen", "expected"),
    [
        (50.0, 19.0, 79.5, 100 * 0.005 / (0.265 * 79.5 - 19.0)),  # 0.24: normal
        (200.0, 18.0, 80.0, 100 * 0.02 / 3.2),  # 0.625: watch
        (1000.0, 15.0, 81.0, 100 * 0.1 / 6.465),  # 1.55: heating
    ],
)
def test_the_ratio_as_reckoned_by_hand(co, oxygen, nitrogen, expected):
    value, quality = ratio(co, oxygen, nitrogen)
    assert (value, quality) == (pytest.approx(expected), Quality.GOOD)
    value, _ = ratio(co / 1e4, oxygen, nitrogen, seen=layout(["co", "o2", "n2"], ["%", "%", "%"]))
    assert value == pytest.approx(expected)


def test_fresh_air_has_no_ratio_and_clears_nothing():
    value, quality = ratio(5.0, 20.9, 78.1)
    assert math.isnan(value)
    assert quality == Quality.UNCERTAIN


def test_the_ratio_is_as_good_as_the_worst_of_the_three():
    _, kind = ratio(200.0, 18.0, 80.0, np.array([0, 3, 0]))
    assert kind == Quality.CALIBRATING
    value, _ = ratio(200.0, math.nan, 80.0, np.array([0, 5, 0]))
    assert math.isnan(value)


@pytest.mark.parametrize("units", [["ppm", "%", "mg/m3"], ["mg/m3", "%", "%"], ["ppm", "%"]])
def test_other_units_are_refused_in_words(units):
    with pytest.raises(ValueError, match="CO in ppm or %, O2 in %, N2 in %"):
        GRAHAM.columns(layout(["co", "o2", "n2"][: len(units)], units))
