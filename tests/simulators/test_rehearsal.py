"""The vehicle that ships, before drawn roads and a drawn driver: working eyes from a clean clone, nothing fetched."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from agent import config, watch
from agent.sights import Mount
from simulators.demo import STORY, Show
from simulators.rehearsal import DRIVERS, DRIVES, Driven, Sat, driven, line, read, sat
from simulators.scenario import load


def test_a_car_that_stands_in_the_way_is_warned_of_in_time():
    one = driven("standing", width=320, fps=10.0)
    assert one.good, line(one)
    assert one.due


def test_a_gap_that_opens_warns_nobody():
    one = driven("opening", width=192, fps=5.0)
    assert one.good, line(one)
    assert not one.due
    assert "no warning" in line(one)


def test_a_driver_is_told_of_as_he_closes_his_eyes_yawns_and_looks_aside():
    one = sat("brief", width=256, fps=7.0)
    assert one.good, line(one)
    assert one.events == 3
    assert 1.0 < one.late < 4.0
    assert "3 of 3 told" in line(one)


@pytest.mark.parametrize(("told", "false", "good"), [(3, 0, True), (2, 0, False), (3, 1, False), (0, 0, False)])
def test_a_driver_of_whom_too_little_or_too_much_is_told_was_not_watched_well(told, false, good):
    one = Sat(DRIVERS[0], "It goes on", 10, 3, told, 1.5 if told else math.nan, false, 1.0)
    assert one.good == good
    assert ("NOT" in line(one)) == (not good)


@pytest.mark.parametrize(
    "one",
    [
        Driven("opening", "It goes on", 10, False, math.nan, 0, 1.0),
        Sat(DRIVERS[0], "It goes on", 9, 3, 0, math.nan, 0, 1.0),
    ],
)
def test_what_a_rehearsal_says_is_read_again_as_it_was(one):
    again = read(msgspec.json.decode(msgspec.json.encode(one._asdict())))
    assert (type(again), line(again)) == (type(one), line(one))


@pytest.mark.parametrize(("told", "code"), [((3,), 0), ((2,), 1), ((), 1)])
def test_the_demonstration_is_good_only_if_every_drive_and_the_driver_were(told, code):
    drives = [Driven(story, "It goes on", 9, False, math.nan, 0, 1.0)._asdict() for story in DRIVES]
    drivers = [Sat(DRIVERS[0], "It goes on", 9, 3, n, 1.5, 0, 1.0)._asdict() for n in told]
    said: list[str] = []
    assert Show(load(STORY), said.append, False).drove([*drives, *drivers]) == code
    assert said[-1] == ("eyes: NOT as they should be" if code else "eyes: as they should be")


@pytest.mark.parametrize(
    ("due", "warned", "false", "good"),
    [(True, 2.4, 0, True), (True, 1.9, 0, False), (True, math.nan, 0, False), (False, math.nan, 1, False)],
)
def test_who_is_warned_late_never_or_of_nothing_was_not_warned_well(due, warned, false, good):
    one = Driven("x", "It goes on", 10, due, warned, false, 1.0)
    assert one.good == good
    assert ("NOT" in line(one)) == (not good)


def test_without_its_eye_nobody_is_warned():
    """The same drive with nothing to see: the warning comes from the pictures and from nowhere else."""
    seen = watch.Watch(config.load(watch.SHIPPED), Mount())
    blank = np.full((270, 480, 3), 90, np.uint8)
    edges = [edge for i in range(20) for edge in seen.look(watch.Picture(str(i), i / 10, blank), math.nan).edges]
    assert edges == []
