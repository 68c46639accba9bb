"""The vehicle that ships, before drawn roads: working eyes from a clean clone, with nothing fetched."""

from __future__ import annotations

import math

import pytest

from agent import config, watch
from agent.sights import Mount
from simulators.rehearsal import Driven, driven, line


def test_a_car_that_stands_in_the_way_is_warned_of_in_time():
    one = driven("standing", width=480, fps=10.0)
    assert one.good, line(one)
    assert one.due


def test_a_gap_that_opens_warns_nobody():
    one = driven("opening", width=256, fps=6.0)
    assert one.good, line(one)
    assert not one.due
    assert "no warning" in line(one)


@pytest.mark.parametrize(
    ("due", "warned", "false", "good"),
    [(True, 2.4, 0, True), (True, 1.9, 0, False), (True, math.nan, 0, False), (False, math.nan, 1, False)],
)
def test_who_is_warned_late_never_or_of_nothing_was_not_warned_well(due, warned, false, good):
    one = Driven("x", "It goes on.", 10, due, warned, false, 1.0)
    assert one.good == good
    assert ("NOT" in line(one)) == (not good)


def test_without_its_eye_nobody_is_warned():
    """The same drive with nothing to see: the warning comes from the pictures and from nowhere else."""
    seen = watch.Watch(config.load(watch.SHIPPED), Mount())
    import numpy as np

    blank = np.full((270, 480, 3), 90, np.uint8)
    edges = [edge for i in range(20) for edge in seen.look(watch.Picture(str(i), i / 10, blank), math.nan).edges]
    assert edges == []
