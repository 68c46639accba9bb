"""A drawn driver: what the truth says is what is in the picture."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from simulators import cabin, faces  # noqa: E402
from simulators.faces import Head, Lens, Light, Look  # noqa: E402
from simulators.habits import STORIES  # noqa: E402

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "vision"
HERE = np.zeros(3)
LENS = Lens()


@pytest.fixture(scope="module")
def head():
    return Head(faces.person(6, glasses="", style="short", hat="", mask="", beard=""))


@pytest.fixture(scope="module")
def trip():
    return cabin.told("glance", 3, width=320)


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
    again, other = cabin.told("glance", 3, width=320), cabin.told("glance", 4, width=320)
    assert (trip.picture(8) == again.picture(8)).all()
    assert np.abs(trip.picture(8).astype(int) - other.picture(8)).mean() > 5
    assert trip.person(0) == again.person(0) != other.person(0)
    assert (trip.picture(8) == trip.picture(8 + trip.frames)).all(), "after its end the story begins again"


def test_a_frozen_picture_stands_and_life_goes_on():
    still = cabin.told("frozen", 3, width=320)
    a, b = still.picture(105), still.picture(165)
    assert (a == b).all()
    assert (b != still.picture(int(12.2 * 15))).any()
    assert still.truth(105)["frozen"] == 1
    assert (still.picture(20, "frozen") == still.picture(9, "frozen")).all()


def test_a_covered_lens_shows_nothing_of_the_driver_and_grease_nothing_sharp():
    lens = cabin.told("covered", 3, width=320)
    well = lens.picture(15)

    def sharp(image: np.ndarray) -> float:
        return float(cv2.Laplacian(cv2.GaussianBlur(image, (0, 0), 1.5), cv2.CV_64F).var())

    for t in (7.5, 17.5, 27.5, 38.0):
        n = int(t * 15)
        assert sharp(lens.picture(n)) < 0.25 * sharp(well), t
        assert lens.truth(n)["covered"] + lens.truth(n)["smeared"] == 1


def test_who_leaves_is_gone_and_another_one_comes():
    seat = cabin.told("absent", 3, width=320)
    row = seat.truth(135)
    assert (row["present"], row["eye_r_x"]) == (0, "")
    empty = seat.picture(135)
    x1, y1, x2, y2 = (int(v) for v in seat.spots(15).box)
    assert np.abs(seat.picture(15).astype(int) - empty)[y1:y2, x1:x2].mean() > 15
    assert seat.moment(15).who == 0
    assert seat.moment(seat.frames - 1).who == 1
    assert seat.person(0) != seat.person(1)


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


def test_a_picture_costs_little(trip):
    trip.picture(0)
    took = []
    for n in range(1, 31):
        began = time.process_time()
        trip.picture(n)
        took.append(time.process_time() - began)
    assert sorted(took)[len(took) // 2] < 0.03, "4 ms at 320 px, 9 ms at 640, on a core of a small server"


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


def test_lights_and_what_hands_hold_are_seen():
    mean = {}
    for light in ("day", "dusk", "night"):
        mean[light] = cabin.told("glance", 3, light, 160, seconds=0.5).picture(2).mean()
    assert mean["night"] < 0.6 * mean["day"]
    assert mean["night"] < mean["dusk"] < mean["day"]
    shown = {}
    for name in ("phone", "smoking", "wheel"):
        story = STORIES[name]._replace(looks=(("glasses", "mirror"),))
        shown[name] = cabin.Trip(story, 3, cabin.sized(160, 3)).picture(120)
    assert all(np.abs(shown[a].astype(int) - shown[b]).mean() > 1 for a in shown for b in shown if a < b)
