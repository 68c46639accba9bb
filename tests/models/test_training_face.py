"""What the nets for a driver's face are taught: geometry that keeps marks true, targets that decode to their faces."""

from __future__ import annotations

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from models.training import face as lesson  # noqa: E402

SIDE, SIZE = 208, 112.0


def dotted(points) -> np.ndarray:
    """A picture with a soft bright dot at each point."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8) for px, py in points)
    return np.clip(40 + 200 * image, 0, 255).astype(np.uint8)


def upright() -> lesson.Face:
    """A face whose eyes are 32 px apart."""
    marks = np.zeros((20, 2), np.float32)
    marks[[0, 1]], marks[[5, 6]] = (88, 90), (120, 90)
    marks[10], marks[11], marks[12] = (104, 108), (92, 124), (116, 124)
    return lesson.Face(marks, np.zeros(3, np.float32), SIZE)


@pytest.mark.parametrize("lean", [-35, 0, 20])
def test_the_square_of_a_face_shows_it_level(lean):
    """A face that leans 20 deg lies level in its square, its eyes 18.3 px apart, its middle in the middle."""
    tilt = lesson.square(np.array([104.0, 104.0]), SIDE, -lean, SIDE)
    leaning = lesson.moved(upright(), tilt)
    assert lesson.level(leaning.marks) == pytest.approx(lean, abs=1e-3)
    assert leaning.pose[2] == pytest.approx(lean, abs=1e-3)
    matrix = lesson.square(lesson.middle(leaning.marks), leaning.size, lesson.level(leaning.marks))
    right, left, *_ = lesson.five(lesson.put(matrix, leaning.marks))
    assert right[1] == pytest.approx(left[1], abs=1e-3)
    assert left[0] - right[0] == pytest.approx(64 / 3.5, abs=0.01)
    assert lesson.middle(lesson.put(matrix, leaning.marks)) == pytest.approx([32, 32], abs=1e-3)


@pytest.mark.parametrize("size", [40.0, 112.0, 330.0])
def test_pixels_go_where_their_marks_go(size):
    """Enlarged or shrunk five times: a dot on the left eye stays on it to within a pixel."""
    face = upright()
    matrix = lesson.square(lesson.middle(face.marks), size, 11)
    image = lesson.cut(dotted([face.marks[5]]), matrix)
    row, column = np.unravel_index(int(cv2.GaussianBlur(image, (0, 0), 1).argmax()), image.shape)
    assert np.hypot(*(lesson.put(matrix, face.marks[5]) - (column, row))) < 1.0


def test_a_mirror_swaps_the_eyes_and_turns_the_nose():
    face = lesson.mirrored(upright()._replace(pose=np.array([30, 10, -5], np.float32)), SIDE)
    right, left, *_ = lesson.five(face.marks)
    assert right[0] < left[0]
    assert face.pose.tolist() == [-30, 10, 5]
    assert lesson.mirrored(face, SIDE).marks == pytest.approx(upright().marks)


def test_a_drawn_face_is_the_same_again_and_its_eyes_are_its_own():
    """A hundred faces: all inside their cover, right eye left of the left one, no further apart than from the front."""
    (grey, _, face), (again, _, _) = (lesson.drawn(np.random.default_rng(4)) for _ in range(2))
    assert (grey == again).all()
    assert grey.shape == (SIDE, SIDE)
    for seed in range(100):
        grey, cover, face = lesson.drawn(np.random.default_rng(seed))
        right, left, _, a, b = lesson.five(face.marks)
        c, s = np.cos(np.radians(face.pose[2])), np.sin(np.radians(face.pose[2]))
        assert (left - right) @ (c, -s) > 0
        assert (b - a) @ (c, -s) > 0
        assert np.linalg.norm(left - right) < 1.25 * face.size / 3.5
        x, y = lesson.middle(face.marks).astype(int)
        assert cover[y, x] > 250


def test_targets_decode_to_the_face_they_were_made_of():
    """The best cell says size and points; a face beside the picture is neither asked for nor punished."""
    near = lesson.moved(upright(), np.array([[0.5, 0, 20], [0, 0.5, 5]]))
    away = lesson.moved(upright(), np.array([[0.5, 0, 118], [0, 0.5, 5]]))
    heat, matter, want, weight = lesson.cells([near, away], *lesson.FINDER)
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    assert heat.max() == 1
    assert weight[row, column] == 1
    cell = np.array([column + 0.5, row + 0.5]) * lesson.STRIDE
    assert np.exp(want[0, row, column]) * lesson.UNIT == pytest.approx(SIZE / 2, rel=1e-5)
    points = want[1:, row, column].reshape(5, 2) * lesson.UNIT + cell
    assert points == pytest.approx(lesson.five(near.marks), abs=1e-3)
    assert (matter == 0).any()
    assert heat[matter == 0].max() < 0.5


def test_what_a_camera_does_leaves_a_picture_a_picture():
    image = dotted(upright().marks[[0, 5, 10]])
    rng = np.random.default_rng(1)
    for _ in range(50):
        out = lesson.seen(image, rng)
        assert out.shape == image.shape
        assert out.dtype == np.uint8
