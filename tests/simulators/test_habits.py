"""Stories of drivers: acts, what is true of them, and what a good eye would say."""

from __future__ import annotations

import numpy as np
import pytest

from agent.sights import CABIN
from simulators.habits import CHANNELS, DEEDS, KEYS, STORIES, Act, acts, columns, events, track

RATE = 15.0
FOR = {  # events: what is true of each in the middle of it
    "eyes_closed": lambda of: 1 - of["shut"] < 0.2,
    "yawn": lambda of: of["mouth"] > 0.7,
    "distracted": lambda of: abs(of["yaw"]) > 30 or of["pitch"] > 18,
    "absent": lambda of: of["gone"] > 0.9,
    "covered": lambda of: max(of["covered"], of["smeared"]) > 0.9,
    "frozen": lambda of: of["frozen"] == 1,
    "phone": lambda of: of["phone"] > 0.9,
    "smoking": lambda of: of["cigarette"] > 0.9,
}


@pytest.fixture(scope="module")
def hour():
    return track(STORIES["awake"], seed=3, rate=RATE)


def spans(flag) -> np.ndarray:
    """s that each stretch of True lasts."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flag.astype(int), [0]])))
    return (edges[1::2] - edges[::2]) / RATE


def test_the_same_seed_gives_the_same_acts_at_any_rate_and_another_seed_others():
    a, b = track(STORIES["glance"], 4, 15), track(STORIES["glance"], 4, 30)
    for key in CHANNELS:
        assert b.of[key][::2] == pytest.approx(a.of[key], abs=1e-9), key
    assert acts(STORIES["awake"], 1) == acts(STORIES["awake"], 1) != acts(STORIES["awake"], 2)


@pytest.mark.parametrize("name", [name for name in STORIES if name not in ("awake", "glance", "parked")])
def test_what_should_be_told_is_true_in_the_middle_of_it(name):
    story = STORIES[name]
    if story.seconds > 100:
        story = story._replace(seconds=600)
    told, true = events(story, 2), track(story, 2, RATE)
    assert told
    for one in told:
        if not one.event.startswith("ignore:"):
            i = int((one.t_start + one.t_end) / 2 * RATE)
            assert FOR[one.event]({key: row[i] for key, row in true.of.items()}), one


def test_an_hour_of_normal_driving_is_that_of_somebody_awake(hour):
    story = STORIES["awake"]
    assert events(story, 3) == ()
    done = [act.deed for act in acts(story, 3)]
    assert 10 < done.count("blink") / 60 < 20
    assert done.count("mirror") + done.count("left mirror") > 100
    assert sum(act.seconds for act in acts(story, 3) if act.deed in ("talk", "sing")) > 300
    closed, away = spans(hour.lid < 0.2), spans(np.abs(hour.of["yaw"]) > 20)
    assert len(closed) > 400, "short blinks fall between two pictures"
    assert closed.max() < 0.5
    assert away.max() < 2.5, "a look over the shoulder"
    assert (hour.lid < 0.2).mean() < 0.05


def test_deeds_do_not_overlap_and_blinks_come_in_between():
    done = [act for act in acts(STORIES["many"], 5) if DEEDS[act.deed].to.keys() != {"shut"} or act.deed == "half shut"]
    for one, after in zip(done, done[1:], strict=False):
        assert one.at + one.seconds <= after.at, (one, after)


def test_who_tires_has_eyes_shut_for_more_and_more_of_the_time():
    shares = np.mean(
        [[part.mean() for part in np.array_split(track(STORIES["tired"], s, RATE).lid < 0.2, 3)] for s in (1, 2, 3)], 0
    )
    assert shares[0] < 0.09
    assert shares[1] > shares[0] + 0.015
    assert shares[2] > shares[1] + 0.005


def test_the_parked_driver_sleeps_and_nobody_need_be_told():
    told = events(STORIES["parked"])
    assert {one.event for one in told} == {"ignore:eyes_closed"}
    assert columns("parked").speed.max() == 0


@pytest.mark.parametrize("name", [name for name, story in STORIES.items() if story.seconds < 100])
def test_columns_keep_to_their_ranges(name):
    said = columns(name, things=True)
    assert said.columns.shape == (int(STORIES[name].seconds * RATE), len(CABIN))
    for key, _, low, high in CABIN:
        value = said.column(key)
        value = value[~np.isnan(value)]
        assert not (value < low).any(), key
        assert not (value > high).any(), key


def test_a_good_eye_is_nearly_always_right_and_knows_how_wrong_it_is():
    said = columns("drowsy hour", seed=2, seconds=1800)
    closed, lid = said.column("closed"), said.truth.lid
    sure = ~np.isnan(closed) & ((lid < 0.2) | (lid > 0.8)) & (said.column("closed.error") < 0.1)
    assert ((closed > 0.5) == (lid < 0.2))[sure].mean() > 0.995
    doubt = ~np.isnan(closed) & (said.column("closed.error") > 0.15)
    assert ((closed > 0.5) == (lid < 0.34))[doubt].mean() < 0.9, "where it doubts it is often wrong"
    found = said.column("face") > 0
    wrong = said.column("yaw") - said.truth.of["yaw"]
    assert found.mean() > 0.98
    assert 0.5 < np.std(wrong[found] / said.column("yaw.error")[found]) < 1.5
    mouth = said.column("mouth")
    wide = ~np.isnan(mouth) & (said.truth.of["mouth"] > 0.95)
    assert mouth[wide].min() > 0.7


def test_behind_dark_glasses_nothing_is_said_of_eyes():
    for name in ("sunglasses", "mirrored"):
        said = columns(name)
        seen = said.column("face") > 0
        assert np.isnan(said.column("closed"))[seen].mean() > 0.9
        assert np.nanmedian(said.column("hidden")[seen]) > 0.9
        assert np.nanmax(said.column("mouth")) > 0.8, "a yawn is seen all the same"
    assert not [one for one in events(STORIES["sunglasses"]) if one.event == "eyes_closed"]


def test_a_face_that_turns_away_loses_its_far_eye_then_itself():
    said = columns("distracted hour", seed=1, seconds=1200)
    yaw = said.truth.of["yaw"]
    right, left = np.isnan(said.column("right")), np.isnan(said.column("left"))
    far = (yaw > 46) & (yaw < 56) & (said.column("face") > 0)
    assert left[far].mean() > 0.9, "the nose is to the picture's right: the left eye is hidden"
    assert right[far].mean() < 0.1
    profile = STORIES["glance"]._replace(acts=(Act(2.0, "aside", 20.0, 85),))
    assert (columns(profile).column("face")[45:300] == 0).mean() > 0.9


def test_what_is_frozen_repeats_itself_and_says_so_after_a_second():
    said = columns("frozen")
    still = slice(int(6.2 * RATE), int(11.8 * RATE))
    assert (np.diff(said.column("yaw")[still]) == 0).all()
    assert said.column("frozen")[int(6.5 * RATE)] == 0
    assert said.column("frozen")[int(7.5 * RATE)] == 1
    assert said.column("frozen")[int(12.5 * RATE)] == 0


def test_nobody_can_be_told_from_a_covered_lens_and_an_empty_seat_is_empty():
    lens, seat = columns("covered"), columns("absent")
    i = int(7.5 * RATE)
    assert lens.column("covered")[i] > 0.9
    assert np.isnan(lens.column("present")[i])
    assert seat.column("present")[int(10 * RATE)] < 0.1
    assert seat.column("present")[int(29 * RATE)] > 0.9
    assert seat.truth.of["who"][[0, -1]].tolist() == [0, 1]


def test_columns_are_in_the_order_of_the_task():
    assert [key for key, *_ in CABIN] == sorted(KEYS, key=KEYS.__getitem__)
