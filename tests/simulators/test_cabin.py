"""A drawn driver: what the truth says is what is in the picture."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from simulators import cabin, faces, interior  # noqa: E402
from simulators.faces import Head, Lens, Light, Look  # noqa: E402
from simulators.habits import STORIES, Act, Story  # noqa: E402

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "vision"
HERE = np.zeros(3)
LENS = Lens()


@pytest.fixture(scope="module")
def head():
    return Head(faces.person(6, glasses="", style="short", hat="", mask="", beard=""))


@pytest.fixture(scope="module")
def trip():
    return cabin.told("glance", 3, width=320)


@pytest.fixture(scope="module")
def eventful():
    """A picture that stands, a hand before the lens, grease, another driver."""
    acts = (Act(1.0, "freeze", 2.0), Act(4.0, "hand", 2.0), Act(7.0, "smear", 2.4), Act(10.0, "hand over", 5.0))
    return cabin.Trip(Story("", 16, acts), 3, cabin.sized(160, 3))


def seen(head: Head, light: Light | None = None, **look: float) -> np.ndarray:
    picture = np.full((480, 640, 3), 110, np.uint8)
    head.draw(picture, LENS, Look(**look), HERE, light or Light())
    return picture


def middle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """px about which two pictures differ."""
    weight = np.abs(a.astype(float) - b).sum(-1)
    y, x = np.mgrid[: a.shape[0], : a.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (25, 0, 0), (-30, 10, 0), (0, 22, -8), (12, -12, 10)])
def test_eyes_are_where_the_truth_says(head, yaw, pitch, roll):
    pose = {"yaw": yaw, "pitch": pitch, "roll": roll}
    spots = head.spots(LENS, Look(**pose), HERE)
    wide = np.linalg.norm(spots.left - spots.right)
    for side in ("left", "right"):
        at = middle(seen(head, **pose), seen(head, **pose, **{side: 0.0}))
        assert np.linalg.norm(at - getattr(spots, side)) < 0.12 * wide, side


def test_the_mouth_opens_where_the_truth_says_and_the_chin_goes_down(head):
    shut, wide = (head.spots(LENS, Look(mouth=m), HERE) for m in (0, 1))
    corners = (shut.mouth_left + shut.mouth_right) / 2
    at = middle(seen(head, mouth=0.2), seen(head))
    assert abs(at[0] - corners[0]) < 3
    assert 0 < at[1] - corners[1] < 25, "and what is below it follows"
    assert wide.box[3] - shut.box[3] > 15
    assert wide.mouth_left[1] > shut.mouth_left[1] + 8


def test_signs_of_the_pose_are_those_of_the_columns(head):
    ahead, right, down = (head.spots(LENS, Look(**p), HERE) for p in ({}, {"yaw": 20}, {"pitch": 20}))
    assert right.nose[0] - (right.left + right.right)[0] / 2 > 8
    assert down.nose[1] - (down.left + down.right)[1] / 2 > (ahead.nose - ahead.left)[1] + 2
    tilted = head.spots(LENS, Look(roll=15), HERE)
    assert tilted.left[1] < tilted.right[1] - 8, "counter-clockwise: the picture's right side goes up"
    assert ahead.right[0] < ahead.left[0], "the driver's own right eye is at the picture's left"


def test_a_far_eye_turns_out_of_sight_before_the_near_one(head):
    whole = np.abs(seen(head).astype(float) - seen(head, left=0)).sum()
    turned = {
        side: np.abs(seen(head, yaw=72).astype(float) - seen(head, yaw=72, **{side: 0})).sum()
        for side in ("left", "right")
    }
    assert turned["left"] < 0.02 * whole
    assert turned["right"] > 0.15 * whole


def test_lids_come_down_gradually(head):
    eyes = [seen(head, left=o, right=o)[215:265, 250:390].astype(float) for o in (1, 0.75, 0.5, 0.25, 0)]
    away = [np.abs(one - eyes[0]).mean() for one in eyes]
    assert away == sorted(away)
    assert away[2] > 0.3 * away[-1]


def test_in_infrared_there_are_no_colours_and_pupils_shine(trip):
    dark = cabin.told("glance", 3, "infrared", 320)
    image = dark.picture(4).astype(int)
    assert np.abs(image[..., 0] - image[..., 2]).max() == 0
    x1, y1, x2, y2 = dark.spots(4).box.astype(int)
    assert image[y1:y2, x1:x2].mean() > 1.8 * image[: image.shape[0] // 4].mean(), (
        "the lamp lights the face, not the cab"
    )


def test_the_same_seed_gives_the_same_pixels_and_another_seed_another_person(trip):
    one, again, other = (cabin.told("glance", seed, width=160) for seed in (3, 3, 4))
    assert (one.picture(8) == again.picture(8)).all()
    assert np.abs(one.picture(8).astype(int) - other.picture(8)).mean() > 5
    assert one.person(0) == again.person(0) != other.person(0)
    assert (trip.picture(8) == trip.picture(8 + trip.frames)).all(), "after its end the story begins again"


def test_a_frozen_picture_stands_and_life_goes_on(eventful):
    a, b = eventful.picture(16), eventful.picture(44)
    assert (a == b).all()
    assert (b != eventful.picture(46)).any()
    assert [eventful.truth(n)["frozen"] for n in (14, 16, 44, 46)] == [0, 1, 1, 0]
    assert (eventful.picture(50, "frozen") == eventful.picture(53, "frozen")).all()


def test_a_covered_lens_shows_nothing_of_the_driver_and_grease_nothing_sharp(eventful):
    def sharp(image: np.ndarray) -> float:
        return float(cv2.Laplacian(cv2.GaussianBlur(image, (0, 0), 1.2), cv2.CV_64F).var())

    well = sharp(eventful.picture(8))
    for how in (0, 1, 2):
        assert sharp(interior.covered(eventful.picture(8), how, 1.0, 3, 0.0)) < 0.15 * well, how
    assert sharp(eventful.picture(75)) < 0.25 * well
    assert sharp(eventful.picture(123)) < 0.25 * well
    assert [eventful.truth(n)["covered"] for n in (8, 75, 123)] == [0, 1, 0]
    assert [eventful.truth(n)["smeared"] for n in (8, 75, 123)] == [0, 0, 1]


def test_who_leaves_is_gone_and_another_one_comes(eventful):
    row = eventful.truth(187)
    assert (row["present"], row["eye_r_x"]) == (0, "")
    x1, y1, x2, y2 = (int(v) for v in eventful.spots(8).box)
    assert np.abs(eventful.picture(8).astype(int) - eventful.picture(187))[y1:y2, x1:x2].mean() > 15
    assert (eventful.moment(8).who, eventful.moment(eventful.frames - 1).who) == (0, 1)
    assert eventful.person(0) != eventful.person(1)


def test_dark_glasses_hide_eyes_and_clear_ones_do_not():
    changed = {}
    for glasses in ("clear", "dark"):
        one = Head(faces.person(6, glasses=glasses, style="short", hat="", mask=""))
        pictures = []
        for lid in (0.0, 1.0):
            picture = seen(one, left=lid, right=lid)
            faces.wear(picture, one, LENS, Look(), HERE, Light(), None)
            pictures.append(picture.astype(float))
        changed[glasses] = np.abs(pictures[0] - pictures[1]).sum()
    assert changed["dark"] < 0.1 * changed["clear"]


def test_a_story_becomes_a_film_with_truth_and_events(tmp_path):
    trip = cabin.told("drowsy", 3, width=320, seconds=1.0)
    film, truth, told = (tmp_path / name for name in ("a.mp4", "a.csv", "a_events.csv"))
    assert list(cabin.written(trip, film, truth, told)) == list(range(15))
    rows = list(csv.DictReader(truth.open()))
    assert ",".join(rows[0]) == cabin.COLUMNS
    assert len(rows) == 15
    reader = cv2.VideoCapture(str(film))
    assert [reader.read()[0] for _ in range(16)] == [True] * 15 + [False]
    long = cabin.told("drowsy", 3, width=320)
    list(cabin.written(long, None, None, told))
    assert next(csv.DictReader(told.open())) == {"event": "eyes_closed", "t_start": "6.12", "t_end": "7.50"}


@pytest.mark.parametrize("style", ["", "flat"])
def test_a_net_that_knows_real_faces_finds_the_drawn_ones(style):
    net = SHARED / "models" / "yunet_s_640.onnx"
    if not net.is_file():
        pytest.skip("no yunet_s_640.onnx in ../shared/data/vision/models: nothing to compare with")
    finder = cv2.FaceDetectorYN.create(str(net), "", (320, 240), 0.6)
    trip = cabin.told("glance", 3, width=320, style=style)
    for n in (15, 60, 100, 160, 280, 320):
        _, found = finder.detect(trip.picture(n))
        assert found is not None, n
        spots = trip.spots(n)
        wide = np.linalg.norm(spots.left - spots.right)
        eyes = found[found[:, 14].argmax(), 4:8].reshape(2, 2)
        assert np.linalg.norm(eyes - [spots.right, spots.left], axis=1).max() < 0.3 * wide, n


def test_lights_and_what_hands_hold_are_seen(head):
    def drawn(name: str, light: str = "") -> np.ndarray:
        one = cabin.Trip(STORIES[name], 3, cabin.sized(160, 3), light=light, who=head.who)
        return one.picture(120).astype(int)

    well = {light: drawn("glance", light) for light in ("day", "night")}
    assert well["night"].mean() < 0.6 * well["day"].mean()
    for name in ("phone", "wheel"):
        assert np.abs(drawn(name) - well["day"]).mean() > 2, name
