"""A drawn road: what the truth says is what is in the picture."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from simulators import bodies, lens, road  # noqa: E402
from simulators.lens import Camera, Face  # noqa: E402
from simulators.stories import STORIES, WEATHER, Actor, Story  # noqa: E402

SMALL = Camera(320, 180, 250.0, 160.0, 81.0)


@pytest.fixture(scope="module")
def standing():
    return road.Drive(STORIES["standing"], seed=3)


def rows(name: str) -> list[dict]:
    """The truth of a story, numbers where there are any."""
    drive = road.Drive(STORIES[name], seed=2, camera=SMALL)
    table = [drive.truth(n) for n in range(drive.frames)]
    return [{k: float(v) if v != "" else math.nan for k, v in row.items()} for row in table]


def test_a_car_straight_ahead_is_as_wide_as_its_width_by_its_range(standing):
    for n in (0, 40, 80, 105):
        row = standing.truth(n)
        wide = standing.camera.focal * standing.bodies[0].width / float(row["range_m"])
        assert float(row["x2"]) - float(row["x1"]) == pytest.approx(wide, rel=0.005, abs=0.15)
        assert float(row["y2"]) == pytest.approx(324 + 1000 * 1.5 / float(row["range_m"]), abs=1.0)


def test_the_box_is_where_the_pixels_are():
    """Its silhouette, drawn alone, ends within half a pixel of what the truth says."""
    eye = lens.eye(Camera())
    for what in ("hatchback", "van", "box lorry", "coach"):
        body = bodies.body(what, np.random.default_rng(5))
        faces = [Face(f.corners + np.array((1.0, 0, 30.0)), f.texture, f.both) for f in body.faces]
        layer = lens.drawn(eye, faces)
        assert layer is not None
        ys, xs = np.nonzero(layer.pixels[..., 3] > 127)
        x1, y1, x2, y2 = lens.box(eye, body.hull + np.array((1.0, 0, 30.0)))
        seen = xs.min() + layer.x, ys.min() + layer.y, xs.max() + 1 + layer.x, ys.max() + 1 + layer.y
        assert seen == pytest.approx((x1, y1, x2, y2), abs=1.1), what


@pytest.mark.parametrize("far", [20.0, 45.0, 70.0])
def test_what_comes_five_per_cent_nearer_grows_by_that_to_a_fifth_of_a_per_cent(far):
    """Measured on the pixels by direct alignment of the flat back of a lorry."""
    body = bodies.body("box lorry", np.random.default_rng(4))
    eye = lens.eye(Camera())
    views = []
    for z in (far, far / 1.05):
        picture = np.full((720, 1280, 3), 118, np.float32)
        lens.lay(
            picture, lens.drawn(eye, [Face(f.corners + np.array((0, 0, z)), f.texture, f.both) for f in body.faces])
        )
        views.append(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    x1, y1, x2, y2 = (int(v) for v in lens.box(eye, body.hull + np.array((0, 0, far))))
    before = views[0][y1 - 4 : y2 + 4, x1 - 4 : x2 + 4]
    found = np.array([[1.05, 0, x1 - 4 - 0.05 * (640 - x1)], [0, 1.05, y1 - 4 - 0.05 * (324 - y1)]], np.float32)
    _, found = cv2.findTransformECC(
        before, views[1], found, cv2.MOTION_AFFINE, (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 300, 1e-8)
    )
    grown = math.sqrt(abs(np.linalg.det(found[:, :2])))
    assert grown == pytest.approx(1.05, rel=0.002)


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(standing):
    small = [road.Drive(STORIES["tanker"], seed=s, camera=SMALL) for s in (7, 7, 8)]
    a, b, c = (drive.picture(31) for drive in small)
    assert (a == b).all()
    assert np.abs(a.astype(int) - c).mean() > 5
    again = small[0].picture(31 + small[0].frames)
    assert (a == again).all(), "after its end the story begins again"


def test_a_standing_car_comes_nearer_at_our_speed(standing):
    for n in (0, 50, 100):
        row = standing.truth(n)
        assert float(row["range_m"]) == pytest.approx(92 - 16 * n / 20, abs=0.01)
        assert float(row["ttc_s"]) == pytest.approx((92 - 16 * n / 20) / 16, abs=0.01)


def test_who_brakes_ahead_becomes_a_danger_and_we_stop_behind():
    story = rows("brake")
    assert all(math.isinf(r["ttc_s"]) for r in story if r["t_s"] < 1.95)
    assert any(r["ttc_s"] < 2.7 for r in story)
    assert min(r["range_m"] for r in story) > 0.5
    assert story[-1]["ego_mps"] == 0 == story[-1]["lead_mps"]


def test_a_cut_in_enters_our_path_once_and_is_slower():
    story = rows("cut-in")
    inside = [r["in_path"] for r in story]
    assert inside[0] == 0
    assert sorted(inside) == inside
    assert 1.5 < story[inside.index(1)]["t_s"] < 3.5
    assert any(r["ttc_s"] < 2.7 and r["in_path"] for r in story)


def test_a_cut_out_reveals_a_car_that_stands_far_ahead():
    story = rows("cut-out")
    jump = next(i for i in range(1, len(story)) if story[i]["range_m"] > story[i - 1]["range_m"] + 10)
    assert 1.6 < story[jump]["t_s"] < 3.2
    assert math.isinf(story[jump - 1]["ttc_s"])
    assert story[jump]["lead_mps"] == 0
    assert story[-1]["ttc_s"] < 0.5


@pytest.mark.parametrize("name", ["free", "opening", "passing", "bend", "pulling out"])
def test_where_no_danger_is_no_warning_is_due(name):
    assert not any(r["ttc_s"] < 4 and r["in_path"] for r in rows(name))


def test_others_pass_close_by_without_ever_being_in_our_path():
    drive = road.Drive(STORIES["passing"], seed=2, camera=SMALL)
    gaps = np.array([[track.z[drive.at(n)] - drive.own.z[drive.at(n)] for track in drive.tracks] for n in range(140)])
    assert (gaps[:, 1] > 0).any()
    assert (gaps[:, 1] < -8).any(), "the lorry was passed"
    assert (gaps[:, 2] < 0).any()
    assert (gaps[:, 2] > 30).any(), "a car overtook"
    assert {r["in_path"] for r in rows("passing")} == {1}, "of the one ahead"


def test_somebody_on_foot_crosses_our_lane_before_us():
    story = rows("crossing")
    first = next(r for r in story if r["in_path"])
    assert first["ttc_s"] > 1.5
    assert first["lateral_m"] > 0
    assert min(r["lateral_m"] for r in story) < -1
    assert min(r["range_m"] for r in story) > 1


@pytest.mark.parametrize("name", ["night lorry", "queue", "tanker", "cyclist"])
def test_what_is_in_the_way_is_in_the_way(name):
    assert any(r["ttc_s"] < 2.7 and r["in_path"] for r in rows(name))


def test_our_signals_go_with_what_we_do():
    out = road.Drive(STORIES["pulling out"], seed=1, camera=SMALL)
    assert [out.signals(n)["left"] for n in (0, 40, 100)] == [0, 1, 0]
    stop = road.Drive(STORIES["brake"], seed=1, camera=SMALL)
    assert [stop.signals(n)["brake"] for n in (0, 90)] == [0, 1]
    assert stop.signals(0)["speed"] == 20


def test_a_car_behind_a_lorry_is_told_to_be_hidden():
    story = Story("", 1, 15, (Actor("box lorry", 0, 15, 15), Actor("saloon", 0, 40, 15)))
    _, boxes = road.Drive(story, 1, camera=SMALL).look(0)
    hidden = {b.actor: b.hidden for b in boxes if b.actor >= 0}
    assert hidden[0] < 0.05
    assert hidden[1] > 0.85


def test_night_is_dark_fog_is_pale_and_every_weather_can_be_drawn():
    mean = {}
    story = STORIES["opening"]._replace(seconds=0.2)
    for weather in WEATHER:
        mean[weather] = road.Drive(story, 1, (weather,), SMALL).picture(1).mean()
    assert mean["night"] < 0.35 * mean["day"]
    assert mean["night"] < mean["dusk"] < mean["day"]


def test_a_story_becomes_a_film_with_its_truth(tmp_path):
    drive = road.Drive(STORIES["standing"]._replace(seconds=0.5), 1, camera=SMALL)
    film, truth, boxes = (tmp_path / name for name in ("a.mp4", "a.csv", "b.csv"))
    assert list(road.written(drive, film, truth, boxes)) == list(range(10))
    with truth.open() as lines:
        table = list(csv.DictReader(lines))
    assert ",".join(table[0]) == road.COLUMNS
    reader = cv2.VideoCapture(str(film))
    read = [reader.read()[0] for _ in range(11)]
    assert read == [True] * 10 + [False]
    with boxes.open() as lines:
        assert any(row["actor"] == "0" and row["kind"] == "vehicle" for row in csv.DictReader(lines))
