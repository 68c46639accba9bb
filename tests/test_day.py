"""A day at a site where nothing is wrong but one thing: no false red, and the one thing is cut within its bound."""

from __future__ import annotations

import math

import pytest

from tests.tools import day
from tests.tools.day import BEGIN, HOUR, Day


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return day.site(tmp_path_factory.mktemp("day"), 300, 60.0, 30.0)


@pytest.fixture(scope="module")
def diary(made):
    return day.live(made, Day(made))


def test_a_day_of_noise_raises_nothing_that_is_not_true_and_the_real_event_cuts_within_its_bound(made, diary):
    found = day.find(made, Day(made), diary)
    assert found.false_red == []
    assert not found.others
    assert found.raised["red"] == 3  # the face, the mine, the site
    told, there = zip(found.silences, found.faults, strict=True)
    assert told == there
    assert min(there) > 0
    assert -day.ERROR / day.RISE <= found.delay <= found.bound


def test_what_was_cut_is_restored_and_what_was_red_is_let_go(diary):
    switched = [(order.output, order.on) for order in diary.orders]
    assert switched == [("siren0", True), ("cut0", True), ("siren0", False), ("cut0", False)]
    last = {alarm.point: alarm.state for alarm in diary.alarms}
    assert {state for point, state in last.items() if point[1].startswith(("colour/", "heading"))} == {"normal"}


def test_a_restart_in_the_middle_of_the_event_tells_the_same_to_the_letter(made):
    once, again = (day.live(made, Day(made, begin=13 * HOUR, end=18 * HOUR), at) for at in (None, BEGIN + 60.0))
    assert {alarm.id.partition("-")[0] for alarm in again.alarms} == {"first", "second"}
    assert day.digest(again.alarms) == day.digest(once.alarms)


def test_the_check_turns_red_for_outliers_that_no_healthy_instrument_has(made):
    wild = Day(made, outliers=math.inf, end=4 * HOUR)
    assert day.find(made, wild, day.live(made, wild)).false_red


def test_the_check_misses_an_event_that_does_not_reach_its_limit(made):
    mild = Day(made, peak=1.4, begin=13 * HOUR, end=15 * HOUR)
    found = day.find(made, mild, day.live(made, mild))
    assert math.isnan(found.delay)
    assert found.raised["red"] == 0
