"""Stories of drivers, as a good eye would tell them, through the site file that ships."""

from __future__ import annotations

import pytest

from agent import config
from simulators import habits
from tests.bench.cab import SITE, event, scored, watched

LATEST = 0.3  # s after the rule's own duration
DURATION = {"eyes_closed": 1.0, "yawn": 1.5, "distracted": 3.0, "absent": 3.0, "covered": 2.0, "frozen": 2.5}
SOFT = 0.4  # s that lids, a mouth or a head take to be where the story begins to count


@pytest.fixture(scope="module")
def site():
    return config.load(SITE)


@pytest.mark.parametrize(
    "story", ["drowsy", "distracted", "absent", "covered", "frozen", "infrared", "off axis", "wheel"]
)
def test_every_event_is_told_in_time_and_nothing_else(site, story):
    said = habits.columns(story, seed=4)
    told = watched(site, said.t, said.columns, said.speed)
    true = [one for one in said.events if one.event in DURATION]
    got = [one for one in told if event(one) in DURATION]
    assert [event(one) for one in got] == [one.event for one in true]
    for one, truth in zip(got, true, strict=True):
        assert one.begin <= truth.t_end, truth
        assert one.begin - truth.t_start <= DURATION[truth.event] + SOFT + LATEST, truth


@pytest.mark.parametrize("story", ["glance", "parked"])
def test_who_is_awake_or_parked_is_told_nothing(site, story):
    said = habits.columns(story, seed=4)
    assert watched(site, said.t, said.columns, said.speed) == []


@pytest.mark.parametrize("story", ["sunglasses", "mirrored"])
def test_behind_glasses_nobody_is_said_to_sleep(site, story):
    one = scored(site, story, seed=4)
    assert (one.missed, one.false) == ([], [])
    assert [got.rule for got in one.others] == ["unseen.told"]


def test_five_minutes_of_normal_driving_are_quiet(site):
    """Hours of it: `python -m tests.bench.cab`."""
    one = scored(site, "awake", seed=5, seconds=300)
    assert (one.false, one.others) == ([], [])
