"""The eye on the driver with the nets that ship, on drawn drivers of whom everything is known.

One drive is watched once, ten pictures a second, and asked many things. How well real faces are read is measured by
`make bench-vision`.
"""

from __future__ import annotations

import math
import pickle
from typing import NamedTuple

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")
from agent.sights import CABIN, Cabin  # noqa: E402
from agent.vision import CabinEye  # noqa: E402
from models.vision import answer, face, head, net, seat  # noqa: E402
from simulators import cabin, faces  # noqa: E402
from simulators.habits import Act, Story  # noqa: E402

KEYS = [key for key, *_ in CABIN]
FPS = 10.0
PLAIN = (("glasses", ""), ("mask", ""), ("hat", ""))
LEAVES = 30.5  # s
DRIVE = Story(
    "",
    35,
    (
        Act(5.0, "closure", 2.0),
        Act(8.0, "aside", 2.0, 35.0),
        Act(11.0, "aside", 2.0, -35.0),
        Act(14.0, "yawn", 2.8),
        Act(18.0, "freeze", 2.5),
        Act(22.5, "hand", 2.0),
        Act(26.0, "nod", 3.5, 3.0),
        Act(LEAVES, "leave", 4.5),
    ),
    looks=PLAIN,
)


class Seen(NamedTuple):
    """One picture: what was told, and what is true."""

    at: float  # s
    row: dict[str, float]
    sight: face.Sight
    truth: dict
    of: dict[str, float]  # how far the acts have gone
    spots: faces.Spots | None
    memory: int  # bytes


def driven(story: Story, seed: int, width: int = 320) -> cabin.Trip:
    return cabin.Trip(story, seed, cabin.sized(width, seed), FPS)


def watched(trip: cabin.Trip) -> list[Seen]:
    eye, seen = CabinEye(Cabin()), []
    assert eye.why == ""
    for n in range(trip.frames):
        row = dict(zip(KEYS, eye.look(n / FPS, trip.picture(n)), strict=True))
        truth = trip.truth(n)
        spots = trip.spots(n) if truth["present"] else None
        seen.append(Seen(n / FPS, row, eye.sight, truth, trip.moment(n).of, spots, len(pickle.dumps(eye._memory))))
    return seen


@pytest.fixture(scope="module")
def drive():
    return watched(driven(DRIVE, 3))


@pytest.fixture(scope="module")
def nets():
    return CabinEye(Cabin())._nets


def plain(drive: list[Seen]) -> list[Seen]:
    """Where the face is to be seen in a picture that moves."""
    return [
        one
        for one in drive
        if max(one.of["covered"], one.of["gone"], one.of["lens"]) == 0
        and not one.truth["frozen"]
        and abs(float(one.truth["pitch_deg"])) < 20
    ]


def mean(seen: list[Seen], key: str) -> float:
    return float(np.mean([one.row[key] for one in seen]))


# -- the face -----------------------------------------------------------------------------------------------------


def test_the_face_is_found_and_its_eyes_are_where_they_are(drive):
    for one in plain(drive):
        assert one.sight.face is not None, one.at
        wide = np.linalg.norm(one.spots.left - one.spots.right) / math.cos(math.radians(float(one.truth["yaw_deg"])))
        for told, true in zip(one.sight.face.five[:2], (one.spots.right, one.spots.left), strict=True):
            assert math.dist(told, true) < 0.25 * wide, one.at
        assert one.row["present"] == 1.0
        assert one.row["covered"] == 0.0


def test_shut_and_open_eyes_are_told(drive):
    shut = [one for one in plain(drive) if float(one.truth["eye_open"]) < 0.05]
    wide = [one for one in plain(drive) if float(one.truth["eye_open"]) > 0.95]
    assert len(shut) > 12
    assert len(wide) > 100
    assert all(one.row[key] > 0.8 for one in shut for key in ("left", "right", "closed"))
    assert sum(one.row["closed"] > 0.5 for one in wide) <= 0.01 * len(wide)
    assert mean(shut, "lid") < 0.2 < 0.7 < mean(wide, "lid")


def test_a_yawn_opens_the_mouth(drive):
    yawn = [one for one in plain(drive) if float(one.truth["mouth_open"]) > 0.9]
    rest = [one for one in plain(drive) if float(one.truth["mouth_open"]) < 0.05]
    assert mean(yawn, "mouth") > 0.6
    assert max(one.row["mouth"] for one in rest) < 0.3


def test_the_head_turns_to_the_side_that_is_told_and_about_as_far(drive):
    """The nets, taught on real faces, see drawn ones turned less than they are: by half at most."""
    ahead = mean([one for one in plain(drive) if one.at < 4], "yaw")
    assert abs(ahead) < 8
    for sign in (1, -1):
        aside = [one for one in plain(drive) if sign * float(one.truth["yaw_deg"]) > 31]
        true = np.mean([float(one.truth["yaw_deg"]) for one in aside])
        assert 0.5 < (mean(aside, "yaw") - ahead) / true < 1.2, sign
        assert 2 < mean(aside, "yaw.error") < 20


# -- none of it ---------------------------------------------------------------------------------------------------


def test_a_covered_lens_is_no_empty_seat(drive):
    hand = [one for one in drive if one.of["covered"] > 0.98]
    assert len(hand) > 10
    assert all(one.row["covered"] > 0.5 and math.isnan(one.row["present"]) for one in hand)
    assert all(one.row["face"] == 0 and math.isnan(one.row["closed"]) for one in hand)


def test_a_frozen_picture_is_told_while_it_stands_and_not_else(drive):
    stood = [one.at for one in drive if one.truth["frozen"]]
    begin, end = stood[0], stood[-1]
    assert all(one.row["frozen"] == 1 for one in drive if begin + seat.STILL < one.at <= end)
    assert all(one.row["frozen"] == 0 for one in drive if not begin < one.at < end + seat.STILL)


def test_an_empty_seat_is_neither_a_covered_lens_nor_somebody_asleep(drive):
    """Who nods off with his chin on his chest is there, whether or not a face is found; who left is not."""
    asleep = [one for one in drive if float(one.truth["pitch_deg"]) > 50]
    empty = [one for one in drive if one.of["gone"] > 0.98]
    assert len(asleep) > 8
    assert len(empty) > 12
    assert all(one.row["present"] > 0.5 and one.row["covered"] < 0.5 for one in asleep)
    assert all(one.row["present"] < 0.5 and one.row["covered"] < 0.5 for one in empty)


def test_who_climbs_out_leaves_an_empty_seat_in_a_cab_that_he_fills():
    """He is followed on his way out, which must not be taken for his place."""
    seen = watched(driven(Story("", 12, (Act(6.0, "leave", 5.0),), looks=PLAIN), 4))
    empty = [one for one in seen if one.of["gone"] > 0.98]
    assert len(empty) > 10
    assert all(one.row["present"] < 0.5 and one.row["covered"] < 0.5 for one in empty)


def test_eyes_behind_dark_glasses_are_hidden_and_never_shut():
    seen = watched(driven(Story("", 5, (Act(2.0, "closure", 2.0),), looks=(*PLAIN, ("glasses", "dark"))), 3))
    assert sum(one.row["face"] > 0.5 for one in seen) > 0.9 * len(seen)
    assert sum(one.row["hidden"] > 0.5 for one in seen) > 0.9 * len(seen)
    assert not [one.at for one in seen if one.row["closed"] > 0.5]


def test_a_passenger_behind_is_not_the_driver():
    """A face half as large in the corner: not taken while the driver is there, nor when he left."""
    trip, eye = driven(Story("", 10, (Act(5.0, "leave", 5.0),), looks=PLAIN), 3), CabinEye(Cabin())
    behind = driven(Story("", 1, looks=PLAIN), 5)
    x1, y1, x2, y2 = (int(side) for side in behind.spots(0).box)
    crop = behind.picture(0)[max(0, y1 - 10) : y2 + 10, max(0, x1 - 10) : x2 + 10]
    small = cv2.resize(crop, None, fx=0.55, fy=0.55, interpolation=cv2.INTER_AREA)
    others = 0
    for n in range(trip.frames):
        picture = trip.picture(n)
        picture[4 : 4 + small.shape[0], 4 : 4 + small.shape[1]] = small
        row = dict(zip(KEYS, eye.look(n / FPS, picture), strict=True))
        gone = trip.moment(n).of["gone"]
        if gone == 0:
            spots = trip.spots(n)
            assert math.dist(eye.sight.face.five[0], spots.right) < 20, n
        elif gone > 0.98:
            others += len([one for one in eye._nets.find(head.Levels(picture)) if one.place.x < 80])
            assert eye.sight.face is None, n
            assert row["present"] < 0.5
    assert others > 5, "he is there to be mistaken"


# -- the eye ------------------------------------------------------------------------------------------------------


def test_a_net_that_breaks_is_a_reason_and_nan(nets):
    """It gives less than its family does, on the fifth picture only."""
    trip, broken = driven(DRIVE, 3), []
    whole = net.load("face")

    def run(pixels):
        outputs = whole.run(pixels)
        return [one[:, :3] for one in outputs] if broken else outputs

    eye = CabinEye(Cabin(), nets._replace(find=face.finding(whole._replace(run=run))))
    for n in range(12):
        broken[:] = [1] if n in (4, 5, 6, 7) else []
        row = dict(zip(KEYS, eye.look(n / FPS, trip.picture(n)), strict=True))
        if eye.why:
            assert "does not speak as a face" in eye.why
            assert all(math.isnan(row[key]) for key in ("face", "present", "hidden", "closed", "yaw"))
        else:
            assert row["face"] > 0.5
        assert not (eye.why and not broken), n
        if n == 6:
            assert eye.why, "after 0.3 s at most the finder looks again"


def test_what_is_kept_does_not_grow(drive):
    early, late = (max(one.memory for one in drive if begin < one.at < begin + 3) for begin in (2.0, 28.0))
    assert late < 1.02 * early < 60_000


@pytest.mark.parametrize("lid", [0.0, 1.0], ids=["shut", "open"])
@pytest.mark.parametrize("turn", [0, 2], ids=["upright", "upside down"])
def test_a_single_picture_may_hang_upside_down(nets, lid, turn):
    trip = driven(DRIVE, 3)
    n = 60 if lid == 0 else 20
    assert float(trip.truth(n)["eye_open"]) == lid
    x1, y1, x2, y2 = (int(side) for side in trip.spots(n).box)
    picture = np.ascontiguousarray(np.rot90(trip.picture(n)[y1 - 20 : y2 + 20, x1 - 20 : x2 + 20], turn))
    seen = face.still(nets, picture)
    assert seen.face is not None
    assert (seen.closed > 0.5) == (lid == 0)


def test_a_single_picture_of_nobody_tells_nothing(nets):
    seen = face.still(nets, np.full((120, 160, 3), 90, np.uint8))
    assert seen.face is None
    assert seen.score == 0
    assert math.isnan(seen.closed)


# -- geometry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (30, 0, 10), (-35, 10, 0), (15, -20, -25)])
def test_five_points_give_the_pose_that_they_were_made_of(yaw, pitch, roll):
    one = np.radians([[yaw, pitch, roll, 0.0]])
    five = [(160 + 40 * x, 120 + 40 * y) for x, y in head._shown(one)[0].tolist()]
    told = head.pose(five)
    assert told[:3] == pytest.approx((yaw, pitch, roll), abs=4)
    assert told.yaw_error < 10


@pytest.mark.parametrize("side", [40.0, 150.0, 400.0])
@pytest.mark.parametrize("roll", [-30.0, 0.0, 75.0])
def test_a_point_of_a_crop_is_that_point_of_the_picture(side, roll):
    """Whatever it is enlarged, shrunk or turned: to 2 % of the crop."""
    y, x = np.mgrid[:480, :640]
    true = head.spots(300.0, 250.0, side, roll, np.array([[0.3, 0.65]]))[0]
    dot = 255 * np.exp(-((x + 0.5 - true[0]) ** 2 + (y + 0.5 - true[1]) ** 2) / (2 * (side / 25) ** 2))
    seen = head.Levels(np.repeat(dot.astype(np.uint8)[..., None], 3, axis=2)).crop(300.0, 250.0, side, roll, 64)
    row, column = np.unravel_index(int(cv2.GaussianBlur(seen, (0, 0), 1).argmax()), seen.shape)
    assert ((column + 0.5) / 64, (row + 0.5) / 64) == pytest.approx((0.3, 0.65), abs=0.02)


def test_a_face_that_turns_does_not_shrink():
    ahead, aside = (
        head.place([(x, y) for x, y in (40 * head._shown(np.array([[yaw, 0, 0, 0]]))[0]).tolist()])
        for yaw in (0.0, math.radians(40))
    )
    assert aside.u == pytest.approx(ahead.u, rel=0.12)


# -- what nets say ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", sorted(answer.ANSWERS))
def test_what_is_not_of_a_family_is_a_reason(family):
    with pytest.raises(ValueError, match=r"wanted|gives"):
        answer.ANSWERS[family]([np.zeros((1, 7), np.float32)])


def test_what_is_no_number_is_none():
    with pytest.raises(ValueError, match="no number"):
        answer.eye([np.array([[0.0, math.nan, 0.0]])])


def test_odds_of_closed_and_open_are_a_logit():
    (told,) = answer.open_closed([np.array([[0.8, 0.2]]).reshape(1, 2, 1, 1)])
    assert answer.sigmoid(told.closed) == pytest.approx(0.8)
    assert math.isnan(told.opening)


def test_a_seat_that_nobody_was_seen_in_is_not_judged():
    low = np.full((seat.HIGH, seat.WIDE), 80.0, np.float32)

    class Clear(NamedTuple):
        black: float = 0.0
        white: float = 0.0
        texture: float = 50.0

    class Limits(NamedTuple):
        black: float = 0.98
        overexposed: float = 0.98
        covered: float = 5.0

    assert seat.shows(seat.View(), low, low, Clear(), Limits()) == (0.0, 0.0)
    dark = seat.shows(seat.View(), low, low, Clear(black=0.99), Limits())
    assert dark.covered == 1.0
    assert math.isnan(dark.present)
