"""What made the nets that ship for a driver's face: `face` finds it, `marks` says where eyes, nose and mouth are.

    python -m models.training.heads --makehuman DIR --out /tmp/heads --count 12480
    python -m models.training.face --data ../shared/data/vision --heads /tmp/heads --more DIR --net face --out face.onnx
    python -m models.training.face ... --net marks --out marks.onnx --finder face.onnx
    python -m models.training.face --data ../shared/data/vision --figures face.onnx marks.onnx

Needs beside this program: torch (CPU), onnx, numba for the heads. Fixed seeds: the same data gives about the same nets;
torch does not promise the same bits on another processor.

Data: heads rendered by `models/training/heads.py` out of MakeHuman's characters (CC0), in cabins put together here;
faces drawn here, in two dimensions; real drivers of driver_gopro and a turning head of head_pose (CC BY 4.0), labelled
by YuNet and MediaPipe's landmarks (Apache-2.0) as teachers; portraits and pictures without faces of the folder
`--more`: for what ships obama of face_recognition 1.3.0, grace_hopper of matplotlib 3.11.2 and astronaut of
scikit-image 0.26.0 (official portraits, public domain), its brick, grass, gravel, coffee, chelsea and rocket (CC0,
public domain), china and flower of scikit-learn 1.9.1 (CC BY 2.0). driver_yawdd, faces_eyes and sim_driver are only
reported on; nothing of them is trained on.

How large a face is told by its size: 3.5 eye distances as seen from the front. Its middle lies between the middle of
the eyes and the middle of the mouth; it is level when its up is up: see `level`.

`face`: grey 0 to 255, (1, 1, h, w) float32, h and w multiples of 8. Out (1, 13, h / 8, w / 8): score 0 to 1; logarithm
of size / 40 px; right eye, left eye, nose, right and left corner of the mouth as x, y from the cell's middle in units
of 40 px; logarithm of the standard error of those points in sizes.
`marks`: grey 0 to 255, (1, 1, 64, 64), the level square of a face. Out (1, 89): x, y of 20 marks (`heads.NAMES`) in
sides of the square; yaw, pitch, roll in 45 deg; logarithm of size / side; the logarithms of the standard errors of
these 44; the logit of "this is a face". Likelihood after Laplace, as in Kendall and Gal 2017, arXiv 1703.04977; targets
of the finder after CenterNet (Zhou et al. 2019, arXiv 1904.07850).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models import runtime

Array = NDArray[Any]
STRIDE = 8
FINDER = (120, 160)  # px, height and width of a picture that the finder is trained on
UNIT = 40.0  # px, a middling size in it
SQUARE = 64  # px, side of what `marks` looks at
NEAR = 44.0, 60.0  # px, size in a picture of the finder below which a face is looked at again; as large as this
POINTS = 20
FIVE = ((0, 1), (5, 6), (10,), (11,), (12,))  # of the marks: right eye, left eye, nose, mouth right, left
SWAP = np.array([6, 5, 7, 8, 9, 1, 0, 2, 3, 4, 10, 12, 11, 13, 14, 15, 19, 18, 17, 16])  # in a mirror
LEAST = 0.35  # score of a face
KEEP = 0.998  # share of itself that the mean of the weights keeps at a step


class Face(NamedTuple):
    """What is known about one face in a picture; px."""

    marks: Array  # (20, 2) float32
    pose: Array  # (3,) yaw, pitch, roll deg
    size: float
    sure: bool = True  # False: only about where it is and how large, as of a head that hangs down


class Labelled(NamedTuple):
    image: Array  # (h, w) uint8
    faces: list[Face]


class Stage(NamedTuple):
    """A part of the training: the rate falls along a cosine."""

    steps: int
    rate: float  # of AdamW, at its height
    seed: int
    batch: int
    real: float  # share of real pictures
    drawn: float  # share of drawn faces
    none: float  # share without a face
    wide: float = 0.0  # share of squares that are far off the face
    fallen: float = 1.0  # how much of the cosine the stage goes through; 1: down to a hundredth


STAGES = {  # of what ships; heads were still being rendered meanwhile, hard ones came to the later stages
    "face": (
        Stage(2193, 2.5e-3, 1, 16, 0.2, 0.13, 0.08),
        Stage(1000, 2.0e-3, 3, 16, 0.2, 0.15, 0.08, fallen=0.15),  # broken off: it saw faces in headrests
        Stage(7000, 2.0e-3, 3, 16, 0.2, 0.15, 0.15),
        Stage(1200, 5.0e-4, 5, 16, 0.3, 0.15, 0.15),  # with drivers of whom only a box is known
    ),
    "marks": (
        Stage(4142, 2.0e-3, 2, 48, 0.15, 0.12, 0.18),
        Stage(7000, 1.6e-3, 4, 48, 0.15, 0.15, 0.2, 0.3),
        Stage(1800, 8.0e-4, 6, 48, 0.15, 0.15, 0.22, 0.3),  # with the mistakes of the third finder
    ),
}


def xy(x: Any, y: Any) -> Array:
    """A vector of a picture."""
    return np.array([x, y], float)


def five(marks: Array) -> Array:
    """(5, 2): right eye, left eye, nose, mouth right and left, of 20 marks."""
    return np.stack([marks[list(some)].mean(0) for some in FIVE])


def middle(marks: Array) -> Array:
    """(2,) between eyes and mouth."""
    right, left, _, a, b = five(marks)
    spot: Array = ((right + left) / 2 + (a + b) / 2) / 2
    return spot


def _between(points: Array) -> Array:
    """The middle of a face by its five points."""
    return np.asarray((points[0] + points[1] + points[3] + points[4]) / 4)


def level(marks: Array) -> float:
    """Angle of a face, deg counter-clockwise: from the line of the eyes and the line from mouth to eyes together.

    >>> upright = np.zeros((20, 2)); upright[[0, 1], 0] = -1; upright[[5, 6], 0] = 1; upright[[11, 12], 1] = 2
    >>> level(upright)
    -0.0
    """
    right, left, _, a, b = five(marks)
    x, y = left - right
    up = (right + left) / 2 - (a + b) / 2 + np.array([y, -x])
    return float(np.degrees(np.arctan2(-up[0], -up[1])))


def square(centre: Array, size: float, angle: float, side: int = SQUARE) -> Array:
    """(2, 3) matrix from px of a picture to px of the level square of `side` px."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[c, -s], [s, c]]) * (side / size)
    out: Array = np.column_stack([turn, side / 2 - turn @ centre])
    return out


def put(matrix: Array, points: Array) -> Array:
    moved: Array = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def cut(image: Array, matrix: Array, side: tuple[int, int] = (SQUARE, SQUARE), fill: Any = None) -> Array:
    """The part of a picture that a matrix brings into `side` (height, width), without aliases."""
    shrink = 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if shrink > 1.6:  # averages before it picks
        n = int(np.clip(round(shrink), 2, 12))
        big = matrix * n
        big[:, 2] += (n - 1) / 2
        part = cv2.warpAffine(
            image,
            big,
            (side[1] * n, side[0] * n),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT if fill is not None else cv2.BORDER_REPLICATE,
            borderValue=0 if fill is None else fill,
        )
        return np.asarray(cv2.resize(part, side[::-1], interpolation=cv2.INTER_AREA))
    return np.asarray(
        cv2.warpAffine(
            image,
            matrix,
            side[::-1],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT if fill is not None else cv2.BORDER_REPLICATE,
            borderValue=0 if fill is None else fill,
        )
    )


# -- real pictures --------------------------------------------------------------------------------


class Teacher:
    """YuNet finds, MediaPipe's landmarks say where everything is."""

    PROFILE = 50.0  # deg; of heads turned further the landmarks are wrong
    OF = (33, 133, 159, 145, 468, 362, 263, 386, 374, 473, 1, 61, 291, 13, 14, 152, 70, 107, 336, 300)

    def __init__(self, models: Path) -> None:
        onnxruntime = runtime.onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        given = ["CPUExecutionProvider"]
        self.finder = cv2.FaceDetectorYN.create(str(models / "yunet_s_640.onnx"), "", (320, 320), 0.6, 0.3)
        self.marker = onnxruntime.InferenceSession(str(models / "mp_face_landmarks_detector.onnx"), options, given)

    def find(self, image: Array, least: float = 0.6) -> Array:
        """(n, 15) box x, y, w, h, five points, score; BGR."""
        h, w = image.shape[:2]
        by = min(1.0, 640 / max(h, w))
        small = cv2.resize(image, None, fx=by, fy=by, interpolation=cv2.INTER_AREA) if by < 1 else image
        self.finder.setInputSize(small.shape[1::-1])
        self.finder.setScoreThreshold(least)
        found = self.finder.detect(small)[1]
        if found is None:
            return np.zeros((0, 15), np.float32)
        found = np.asarray(found, np.float32)
        found[:, :14] /= by
        return found

    def mark(self, image: Array, box: Array) -> tuple[Face, float] | None:
        """The face of a row of `find`, and how sure the landmarks are of it."""
        right, left = box[4:6], box[6:8]
        x, y = left - right
        centre, side, angle = box[:2] + box[2:4] / 2, float(max(box[2:4])) * 1.5, float(np.degrees(np.arctan2(-y, x)))
        sure, spots = 0.0, np.zeros((478, 3))
        for _ in range(2):
            matrix = square(centre, side, angle, 256)
            part = cv2.cvtColor(cut(image, matrix, (256, 256)), cv2.COLOR_BGR2RGB).astype(np.float32)[None] / 255
            out = self.marker.run(None, {self.marker.get_inputs()[0].name: part})
            flat = next(o for o in out if o.size == 1434).reshape(478, 3)
            sure = max(float(o.reshape(-1)[0]) for o in out if o.size == 1)
            back = cv2.invertAffineTransform(matrix)
            spots = np.column_stack([put(back, flat[:, :2]), flat[:, 2] * side / 256])
            low, high = spots[:, :2].min(0), spots[:, :2].max(0)
            centre, side = (low + high) / 2, float((high - low).max()) * 1.5
            x, y = (spots[263] - spots[33])[:2]
            angle = float(np.degrees(np.arctan2(-y, x)))
        marks = spots[list(self.OF)]
        eyes = (marks[5] + marks[6] - marks[0] - marks[1]) / 2
        across = (spots[263] - spots[33]) * (1, -1, -1)
        up = (spots[10] - spots[152]) * (1, -1, -1)
        ex = across / np.linalg.norm(across)
        ez = np.cross(ex, up)
        ez /= np.linalg.norm(ez)
        turn = np.stack([ex, np.cross(ez, ex), ez], 1)
        pose = np.degrees(
            [
                np.arcsin(np.clip(-turn[2, 0], -1, 1)),
                np.arctan2(turn[2, 1], turn[2, 2]),
                np.arctan2(turn[1, 0], turn[0, 0]),
            ]
        )
        face = Face(marks[:, :2].astype(np.float32), pose.astype(np.float32), 3.5 * float(np.linalg.norm(eyes)))
        sure = 1 / (1 + np.exp(-sure)) if not 0 <= sure <= 1 else sure
        return face, sure


def frames(path: Path, every: int = 1) -> Iterator[tuple[int, Array]]:
    film = cv2.VideoCapture(str(path))
    n = 0
    while True:
        ok, image = film.read()
        if not ok:
            break
        if n % every == 0:
            yield n, image
        n += 1


def pictures(data: Path, more: Path | None) -> Iterator[tuple[str, Array]]:
    """What may be trained on: name and BGR picture."""
    for path in sorted((data / "driver_gopro").glob("*.jpg")):
        image: Any = cv2.imread(str(path))
        yield path.name, image
    for n, image in frames(data / "head_pose" / "female.gif"):
        yield f"female_{n}", image
    for path in sorted(more.glob("*")) if more else []:
        image = cv2.imread(str(path))
        if image is not None:
            yield path.stem, image


def taught(data: Path, more: Path | None) -> tuple[list[Labelled], list[Array]]:
    """Real pictures with faces that the teachers are sure of, and pictures without any (faces painted over)."""
    teacher = Teacher(data / "models")
    known, empty = [], []
    with (data / "driver_gopro" / "labels.csv").open() as lines:
        drivers = {row["file"]: row for row in csv.DictReader(lines)}
    for name, image in pictures(data, more):
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        boxes = teacher.find(image, 0.35)
        faces = []
        for box in boxes[boxes[:, 14] > 0.6]:
            got = teacher.mark(image, box)
            if got is not None and got[1] > 0.5 and abs(got[0].pose[0]) < teacher.PROFILE:
                faces.append(got[0])
        if faces and len(faces) == len(boxes):
            known.append(Labelled(grey, faces))
        elif name in drivers:  # whom the teachers do not see, or not well
            known.append(Labelled(grey, [about(drivers[name], *image.shape[:2])]))
        if not len(boxes) and not name[:3].isdigit():  # a driver who is not found is still there
            empty.append(grey)
        elif faces:
            empty.append(_painted_over(grey, boxes))
    return known, empty


def about(row: dict[str, str], h: int, w: int) -> Face:
    """A face of which only the box is known; as such boxes lie about faces of which more is known."""
    x, y, tall = float(row["cx"]) * w, float(row["cy"]) * h, float(row["h"]) * h
    marks = np.tile(xy(x, y + 0.127 * tall), (POINTS, 1))
    return Face(marks.astype(np.float32), np.zeros(3, np.float32), 0.9 * tall, False)


def _painted_over(grey: Array, boxes: Array) -> Array:
    """The picture with its faces hidden under what is beside them."""
    out: Array = grey.copy()
    for x, y, w, h in boxes[:, :4]:
        c, r = (int(x + w / 2), int(y + h / 2)), (int(w * 0.85), int(h * 0.85))
        hole = np.zeros_like(grey)
        cv2.ellipse(hole, c, r, 0, 0, 360, 255, -1)
        beside = out[(cv2.dilate(hole, np.ones((9, 9), np.uint8)) > 0) & (hole == 0)]
        if len(beside):
            soft = cv2.GaussianBlur(hole.astype(np.float32) / 255, (0, 0), max(2.0, w * 0.06))
            out = (out * (1 - soft) + float(np.median(beside)) * soft).astype(np.uint8)
    return out


# -- drawn faces ----------------------------------------------------------------------------------


def drawn(rng: np.random.Generator, side: int = 208, size: float = 112.0) -> tuple[Array, Array, Face]:
    """A face out of ellipses and lines: grey (covered parts only), cover, and what is known about it."""
    k = 2
    n, e = side * k, size * k / 3.5  # px; e: eye distance from the front
    grey, cover = np.zeros((n, n), np.uint8), np.zeros((n, n), np.uint8)
    yaw, pitch = np.clip(rng.normal(0, 18), -45, 45), np.clip(rng.normal(2, 12), -30, 35)
    roll = float(np.clip(rng.normal(0, 7), -22, 22))
    wide, high, deep = e * rng.uniform(1.05, 1.4), e * rng.uniform(1.4, 1.75), e * rng.uniform(0.9, 1.3)
    flat = rng.random() < 0.5  # the features only slide
    cy, sy, cp, sp = (f(np.radians(v)) for v in (yaw, pitch) for f in (np.cos, np.sin))
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    eye_up, mouth_down = rng.uniform(0.1, 0.3) * e, rng.uniform(0.65, 1.05) * e
    heart = np.array([n / 2, n / 2])

    def at(x: Any, y: Any) -> Array:
        """A spot on the head, units of px to the left of the person and up, as seen."""
        z = deep * np.sqrt(max(0.05, 1 - (x / wide) ** 2 - (y / high) ** 2))
        if flat:
            u, v = x * (0.6 + 0.4 * cy) + deep * 0.75 * sy, y - deep * 0.6 * sp
        else:
            y2, z2 = y * cp - z * sp, y * sp + z * cp
            u, v = x * cy + z2 * sy, y2
        return heart + xy(u * c - v * s, -(u * s + v * c))

    lid = [float(np.clip(v, 0, 1.2)) for v in (rng.choice([0, 0.3, 1.0], p=[0.25, 0.15, 0.6]) + rng.normal(0, 0.05, 2))]
    mouth = float(rng.choice([0, rng.uniform(0, 0.4), rng.uniform(0.4, 1)], p=[0.6, 0.2, 0.2]))
    skin = float(rng.choice([rng.uniform(50, 110), rng.uniform(110, 225)], p=[0.4, 0.6]))
    hair, shirt = float(np.clip(rng.exponential(60), 5, 220)), float(rng.uniform(15, 230))

    def blob(centre: Any, axes: Any, angle: float, tone: float, start: float = 0, end: float = 360) -> None:
        for sheet, value in ((grey, np.clip(tone, 0, 255)), (cover, 255)):
            cv2.ellipse(
                sheet,
                tuple(int(v) for v in centre),
                tuple(max(1, int(v)) for v in axes),
                angle,
                start,
                end,
                float(value),
                -1,
                cv2.LINE_AA,
            )

    def line(points: Any, tone: float, thick: float, shut: bool = False) -> None:
        cv2.polylines(
            grey, [np.array(points, np.int32)], shut, float(np.clip(tone, 0, 255)), max(1, int(thick)), cv2.LINE_AA
        )

    if rng.random() < 0.6:  # a headrest
        blob(
            heart + xy(rng.normal(0, 0.1) * e, -0.3 * e),
            (rng.uniform(1.1, 1.7) * e, rng.uniform(0.8, 1.8) * e),
            0,
            rng.uniform(20, 170),
        )
    if rng.random() < 0.35:
        blob(at(0, 0.2 * high), (wide * rng.uniform(1.1, 1.4), high * rng.uniform(1.1, 1.6)), -roll, hair)  # long hair
    blob(heart + xy(0, 1.6 * e), (0.55 * e, 0.9 * e), 0, skin * 0.85)
    blob(heart + xy(rng.normal(0, 0.1) * e, 3.5 * e), (2.2 * e, 1.7 * e), 0, shirt)
    for side_ in (-1, 1):
        blob(at(0, -0.05 * e) + np.array([side_ * wide * 0.98 * c, 0]), (0.17 * e, 0.3 * e), -roll, skin * 0.9)
    blob(heart, (wide, high), -roll, skin)
    if rng.random() < 0.6:  # round by light
        x, y = np.meshgrid(np.arange(n), np.arange(n))
        way = rng.uniform(0, 2 * np.pi)
        slope = ((x - n / 2) * np.cos(way) + (y - n / 2) * np.sin(way)) / e
        grey[:] = np.clip(grey * (1 + rng.uniform(0.03, 0.22) * slope), 0, 255).astype(np.uint8)
    if rng.random() < 0.85:
        blob(
            heart - xy(0, high * 0.55),
            (wide * 1.02, high * rng.uniform(0.4, 0.62)),
            -roll,
            hair,
            180 - rng.uniform(0, 12),
            360 + rng.uniform(0, 12),
        )
    if rng.random() < 0.15:
        blob(at(0, -mouth_down), (wide * 0.9, high * 0.45), -roll, hair, 0, 180)  # a beard
    marks = np.zeros((POINTS, 2))
    iris, white = float(rng.uniform(10, 110)), float(rng.choice([rng.uniform(170, 255), skin + 20], p=[0.8, 0.2]))
    across, tall = rng.uniform(0.17, 0.28) * e, rng.uniform(0.08, 0.17) * e
    for eye, sign in ((0, -1), (1, 1)):
        aside = sign * e / 2
        spot = at(aside, eye_up)
        shrink = np.linalg.norm(at(aside + 0.1 * e, eye_up) - at(aside - 0.1 * e, eye_up)) / (0.2 * e)
        ends = [at(aside + sign * across, eye_up), at(aside - sign * across, eye_up)]  # outer, inner
        up, low = spot - xy(0, tall * lid[eye]), spot + xy(0, tall * min(1, lid[eye]))
        if lid[eye] > 0.12:
            blob(spot, (across * shrink, tall * lid[eye]), -roll, white)
            hole = np.zeros_like(grey)
            cv2.ellipse(
                hole,
                tuple(spot.astype(int)),
                (max(1, int(across * shrink)), max(1, int(tall * lid[eye]))),
                -roll,
                0,
                360,
                255,
                -1,
            )
            ball = spot + rng.normal(0, 0.1, 2) * across
            dot = grey.copy()
            cv2.circle(dot, tuple(ball.astype(int)), max(1, int(tall * rng.uniform(0.8, 1.1))), iris, -1, cv2.LINE_AA)
            if rng.random() < 0.7:
                cv2.circle(dot, tuple(ball.astype(int)), max(1, int(tall * 0.45)), 8.0, -1, cv2.LINE_AA)
            grey[hole > 0] = dot[hole > 0]
            if rng.random() < 0.8:
                cv2.ellipse(
                    grey,
                    tuple(spot.astype(int)),
                    (max(1, int(across * shrink)), max(1, int(tall * lid[eye]))),
                    -roll,
                    180,
                    360,
                    skin * 0.3,
                    max(1, int(0.03 * e)),
                    cv2.LINE_AA,
                )
        else:
            ball = up = low = spot
            bow = rng.uniform(0, 0.6) * tall
            line(
                [
                    ends[0],
                    (ends[0] + spot) / 2 + xy(0, bow),
                    spot + xy(0, bow),
                    (ends[1] + spot) / 2 + xy(0, bow),
                    ends[1],
                ],
                skin * 0.35,
                0.05 * e,
            )
        marks[5 * eye : 5 * eye + 5] = ends[0] if eye == 0 else ends[1], ends[1] if eye == 0 else ends[0], up, low, ball
        brow = [
            at(aside + sign * across * 1.2, eye_up + rng.uniform(0.2, 0.3) * e),
            at(aside, eye_up + 0.34 * e),
            at(aside - sign * across, eye_up + 0.27 * e),
        ]
        line(brow, hair * 0.7, rng.uniform(0.04, 0.12) * e)
        marks[16 if eye == 0 else 19], marks[17 if eye == 0 else 18] = brow[0], brow[2]
    tip = at(0, -rng.uniform(0.25, 0.45) * e)
    line(
        [at(0.05 * e, eye_up), tip + xy(0.12 * e, 0), tip + xy(-0.1 * e, 0.02 * e)],
        skin * rng.uniform(0.6, 0.9),
        0.05 * e,
    )
    half, gape = rng.uniform(0.25, 0.45) * e, mouth * rng.uniform(0.3, 0.5) * e
    low = at(0, -mouth_down)
    ends = [at(-half, -mouth_down), at(half, -mouth_down)]
    if gape > 0.04 * e:
        blob(low + xy(0, gape / 2), (half * 0.9, gape * 0.75), -roll, skin * 0.55)
        blob(low + xy(0, gape / 2), (half * 0.75, gape * 0.55), -roll, rng.uniform(5, 60))
    else:
        line(
            [ends[0], low + xy(0, rng.uniform(-0.05, 0.08) * e), ends[1]],
            skin * rng.uniform(0.3, 0.7),
            rng.uniform(0.04, 0.13) * e,
        )
    marks[10], marks[11], marks[12], marks[13], marks[14] = tip, ends[0], ends[1], low, low + xy(0, gape)
    marks[15] = at(0, -high * 0.95)
    if rng.random() < 0.3:
        dark = rng.random() < 0.4
        tone, thick = float(rng.uniform(5, 60)), rng.uniform(0.03, 0.1) * e
        for eye in (0, 1):
            spot = marks[5 * eye : 5 * eye + 2].mean(0)
            size_ = tuple(int(v) for v in (rng.uniform(0.33, 0.45) * e, rng.uniform(0.2, 0.38) * e))
            if dark:
                cv2.ellipse(grey, tuple(spot.astype(int)), size_, -roll, 0, 360, tone, -1, cv2.LINE_AA)
            cv2.ellipse(grey, tuple(spot.astype(int)), size_, -roll, 0, 360, tone, max(1, int(thick)), cv2.LINE_AA)
        line([marks[[0, 1]].mean(0) + xy(0.35 * e, 0), marks[[5, 6]].mean(0) - xy(0.35 * e, 0)], tone, thick)
    grey = np.where(cover > 0, grey, 0).astype(np.uint8)
    small, cover = (cv2.resize(v, (side, side), interpolation=cv2.INTER_AREA) for v in (grey, cover))
    return small, cover, Face((marks / k).astype(np.float32), np.array([yaw, pitch, roll], np.float32), size)


# -- cabins ---------------------------------------------------------------------------------------


def cabin(rng: np.random.Generator, h: int, w: int, empty: list[Array]) -> Array:
    """(h, w) uint8: something that a face may be in front of, or that may be taken for one."""
    kind = rng.choice(3, p=[0.5, 0.4, 0.1])
    if kind == 0 and empty:
        one = empty[int(rng.integers(len(empty)))]
        by = np.exp(rng.uniform(0, np.log(4))) * max(h / one.shape[0], w / one.shape[1])
        big = cv2.resize(
            one, None, fx=by * 1.01, fy=by * 1.01, interpolation=cv2.INTER_AREA if by < 1 else cv2.INTER_LINEAR
        )
        y, x = int(rng.integers(big.shape[0] - h + 1)), int(rng.integers(big.shape[1] - w + 1))
        image = big[y : y + h, x : x + w].copy()
        if rng.random() < 0.5:
            image = image[:, ::-1].copy()
    elif kind == 2:
        image = np.full((h, w), rng.uniform(0, 255), np.float32)
        for grain in (4, 15, 60):
            small = rng.normal(0, rng.uniform(2, 35), (h // grain + 2, w // grain + 2)).astype(np.float32)
            image += cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)
        image = np.clip(image, 0, 255).astype(np.uint8)
    else:
        a, b = rng.uniform(5, 150, 2)
        ramp = np.linspace(0, 1, h)[:, None] if rng.random() < 0.5 else np.linspace(0, 1, w)[None]
        image = (a + (b - a) * np.broadcast_to(ramp, (h, w))).astype(np.uint8).copy()
        for _ in range(int(rng.integers(1, 5))):  # windows, pillars
            c = rng.uniform(-0.1, 1.1, 2) * (w, h)
            shape = rng.uniform(-0.5, 0.5, (int(rng.integers(3, 6)), 2)) * rng.uniform(0.3, 1.0) * w
            hull = cv2.convexHull((c + shape).astype(np.int32).reshape(-1, 1, 2))
            cv2.fillConvexPoly(image, hull, float(rng.choice([rng.uniform(0, 70), rng.uniform(150, 255)])), cv2.LINE_AA)
    if rng.random() < 0.35:
        _seat(image, rng)
    for _ in range(int(rng.poisson(0.8))):  # whatever is round
        across, down, r = (float(v) for v in rng.uniform((0, 0.1 * h, 0.06 * h), (w, h, 0.3 * h)))
        tone = float(rng.uniform(0, 200))
        cv2.ellipse(
            image,
            (int(across), int(down)),
            (int(r * rng.uniform(0.6, 1.3)), int(r)),
            float(rng.normal(0, 10)),
            0,
            360,
            tone,
            -1,
            cv2.LINE_AA,
        )
        if rng.random() < 0.5:
            cv2.rectangle(
                image,
                (int(across - 1.5 * r), int(down + 1.1 * r)),
                (int(across + 1.5 * r), h),
                float(np.clip(tone + rng.normal(0, 15), 0, 255)),
                -1,
            )
    return np.asarray(image)


def _seat(image: Array, rng: np.random.Generator) -> None:
    """A headrest on the back of a seat, in which nobody sits."""
    h, w = image.shape
    x, y, r = (float(v) for v in rng.uniform((0.1 * w, 0.15 * h, 0.06 * h), (0.9 * w, 0.8 * h, 0.3 * h)))
    tone, power = float(rng.uniform(5, 190)), rng.uniform(2, 6)
    turn = np.linspace(0, 2 * np.pi, 40)
    ring = np.stack([np.cos(turn), np.sin(turn)], 1)
    ring = np.sign(ring) * np.abs(ring) ** (2 / power)
    back = ring * (r * rng.uniform(1.4, 2.6), r * 2.5) + (x + rng.normal(0, 0.1) * r, y + r * rng.uniform(3.2, 3.8))
    rest = ring * (r * rng.uniform(0.75, 1.5), r * rng.uniform(0.7, 1.1)) + (x, y)
    for side in (-1, 1) if rng.random() < 0.7 else ():
        foot = (int(x + side * 0.4 * r), int(y + 1.6 * r))
        cv2.line(image, (int(x + side * 0.4 * r), int(y)), foot, float(rng.uniform(0, 200)), max(1, int(0.1 * r)))
    cv2.fillPoly(image, [back.astype(np.int32)], tone, cv2.LINE_AA)
    cv2.fillPoly(image, [rest.astype(np.int32)], float(np.clip(tone + rng.normal(0, 15), 0, 255)), cv2.LINE_AA)
    for _ in range(int(rng.poisson(1.5))):  # seams, creases, holes
        a, b = (tuple(int(v) for v in (x, y) + rng.normal(0, 0.5, 2) * r) for _ in "ab")
        cv2.line(image, a, b, float(np.clip(tone + rng.normal(0, 40), 0, 255)), max(1, int(0.08 * r)), cv2.LINE_AA)
    if rng.random() < 0.6:
        soft = cv2.GaussianBlur(image, (0, 0), max(0.6, 0.06 * r))
        image[:] = np.clip(soft * (1 + 0.004 * rng.normal(0, 30) * np.linspace(-1, 1, w)[None]), 0, 255).astype(
            np.uint8
        )


def hidden(image: Array, faces: list[Face], rng: np.random.Generator) -> Array:
    """A wheel, a hand, a telephone before a face, at times."""
    for face in faces:
        chance = rng.random()
        s, m = face.size, middle(face.marks)
        if chance < 0.07:  # the rim of a wheel from below
            r = s * rng.uniform(1, 3)
            c = m + xy(rng.normal(0, 0.6) * s, r + s * rng.uniform(0.1, 0.9))
            cv2.circle(
                image,
                tuple(c.astype(int)),
                int(r),
                float(rng.uniform(0, 90)),
                max(2, int(s * rng.uniform(0.08, 0.16))),
                cv2.LINE_AA,
            )
        elif chance < 0.14:  # a hand
            spot = m + rng.normal(0, 0.4, 2) * s
            turn, tone = rng.uniform(0, 360), float(rng.uniform(40, 230))
            cv2.ellipse(
                image, tuple(spot.astype(int)), (int(0.3 * s), int(0.22 * s)), turn, 0, 360, tone, -1, cv2.LINE_AA
            )
            way = np.array([np.cos(np.radians(turn)), np.sin(np.radians(turn))])
            for i in range(4):
                a = spot + np.array([-way[1], way[0]]) * (i - 1.5) * 0.1 * s
                b = a + way * s * rng.uniform(0.3, 0.55)
                cv2.line(
                    image,
                    tuple(a.astype(int)),
                    tuple(b.astype(int)),
                    tone * rng.uniform(0.85, 1.0),
                    max(1, int(0.085 * s)),
                    cv2.LINE_AA,
                )
        elif chance < 0.17:  # a telephone at the ear, or anything with corners
            spot = m + xy(rng.choice([-1, 1]) * rng.uniform(0.35, 0.55) * s, rng.normal(0, 0.15) * s)
            box = cv2.boxPoints((tuple(float(v) for v in spot), (0.16 * s, 0.34 * s), float(rng.normal(0, 20))))
            cv2.fillConvexPoly(image, box.astype(np.int32), float(rng.uniform(0, 120)), cv2.LINE_AA)
    return image


def seen(image: Array, rng: np.random.Generator, rough: float = 1.0) -> Array:
    """As a camera sees it: contrast, light from a side, blur, noise, JPEG."""
    out: Any = image.astype(np.float32)
    if rng.random() < 0.6:
        out = 255 * (np.clip(out, 0, 255) / 255) ** np.exp(rng.normal(0, 0.3))
    if rng.random() < 0.7:
        mean = float(out.mean())
        out = (out - mean) * np.exp(rng.normal(0, 0.3)) + np.clip(mean + rng.normal(0, 25), 5, 250)
    if rng.random() < 0.3:
        h, w = out.shape
        way = rng.uniform(0, 2 * np.pi)
        x, y = np.meshgrid(np.linspace(-0.5, 0.5, w, dtype=np.float32), np.linspace(-0.5, 0.5, h, dtype=np.float32))
        out *= np.exp(rng.uniform(0, 1.2) * (x * np.cos(way) + y * np.sin(way)))
    if rng.random() < 0.4:
        out = cv2.GaussianBlur(out, (0, 0), float(np.clip(rng.exponential(0.6) * rough, 0.25, 2.5)))
    if rng.random() < 0.12:
        n = int(rng.integers(2, 6))
        kernel = np.zeros((n, n), np.float32)
        cv2.line(kernel, (0, int(rng.integers(n))), (n - 1, int(rng.integers(n))), 1.0)
        kernel = kernel if rng.random() < 0.5 else kernel.T
        out = cv2.filter2D(out, -1, kernel / kernel.sum())
    if rng.random() < 0.6:
        out = out + rng.standard_normal(out.shape, np.float32) * float(np.clip(rng.exponential(5), 0, 22))
    out = np.clip(out, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        out = cv2.imdecode(
            cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])[1], cv2.IMREAD_GRAYSCALE
        )
    return np.asarray(out, np.uint8)


class Bank:
    """Rendered heads, read as they get ready."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self.columns: list[dict[str, Array]] = []

    def look(self) -> int:
        """Reads files that are new; how many heads there are."""
        for path in sorted(self.folder.glob("*.npz")):
            if path in self.files:
                continue
            try:
                with np.load(path) as stored:
                    self.columns.append(
                        {name: stored[name] for name in ("grey", "cover", "marks", "seen", "pose", "size")}
                    )
            except (ValueError, OSError, EOFError, KeyError):  # still being written
                continue
            self.files.append(path)
        return sum(len(c["size"]) for c in self.columns)

    def any(self, rng: np.random.Generator) -> tuple[Array, Array, Face]:
        some = self.columns[int(rng.integers(len(self.columns)))]
        i = int(rng.integers(len(some["size"])))
        return some["grey"][i], some["cover"][i], Face(some["marks"][i] - 0.5, some["pose"][i], float(some["size"][i]))


def mirrored(face: Face, width: int) -> Face:
    marks = face.marks[SWAP] * (-1, 1) + (width, 0)
    return face._replace(marks=marks.astype(np.float32), pose=face.pose * np.array([-1, 1, -1], np.float32))


def one(bank: Bank, stage: Stage, rng: np.random.Generator) -> tuple[Array, Array, Face]:
    """A head to paste, rendered or drawn, at times in a mirror."""
    share = stage.drawn / max(1 - stage.real - stage.none, 1e-6)
    grey, cover, face = drawn(rng) if rng.random() < share else bank.any(rng)
    if rng.random() < 0.5:
        grey, cover, face = grey[:, ::-1], cover[:, ::-1], mirrored(face, grey.shape[1])
    return np.ascontiguousarray(grey), np.ascontiguousarray(cover), face


def pasted(image: Array, head: tuple[Array, Array, Face], matrix: Array) -> Face:
    """Puts a head into a picture by a matrix from its px; what is then known about the face."""
    grey, cover, face = head
    h, w = image.shape
    body = cut(grey, matrix, (h, w), 0).astype(np.float32)
    over = cut(cover, matrix, (h, w), 0).astype(np.float32) / 255
    image[:] = np.clip(body + (1 - over) * image, 0, 255).astype(np.uint8)
    return moved(face, matrix)


def moved(face: Face, matrix: Array) -> Face:
    by = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    turn = np.degrees(np.arctan2(-matrix[1, 0], matrix[0, 0]))
    pose = face.pose + np.array([0, 0, turn], np.float32)
    return face._replace(marks=put(matrix, face.marks).astype(np.float32), pose=pose, size=face.size * by)


# -- batches --------------------------------------------------------------------------------------


class Sources(NamedTuple):
    bank: Bank
    real: list[Labelled]
    empty: list[Array]
    mistaken: Sequence[Array] = ()  # (96, 96) about what a finder took for a face

    @property
    def sure(self) -> list[Labelled]:
        return [one for one in self.real if one.faces[0].sure]


def scene(of: Sources, stage: Stage, rng: np.random.Generator) -> Labelled:
    """A picture for the finder, its size `FINDER`."""
    h, w = FINDER
    size = float(np.exp(rng.uniform(np.log(13), np.log(112)))) if rng.random() < 0.93 else rng.uniform(100, 190)
    pick = rng.random()
    if pick < stage.real and of.real:
        source = of.real[int(rng.integers(len(of.real)))]
        face = source.faces[int(rng.integers(len(source.faces)))]
        size = max(size, 14.0)
        lean = float(rng.normal(0, 7))
        matrix = square(middle(face.marks), face.size, lean, 1)
        matrix *= size
        matrix[:, 2] += _spot(rng, size, h, w) - size / 2
        image, faces = source.image, source.faces
        if rng.random() < 0.5:
            image, faces = image[:, ::-1], [mirrored(f, image.shape[1]) for f in faces]
            matrix = square(middle(mirrored(face, image.shape[1]).marks), face.size, lean, 1) * size
            matrix[:, 2] += _spot(rng, size, h, w) - size / 2
        border = float(np.median(image[::8, ::8])) if rng.random() < 0.7 else float(rng.uniform(0, 255))
        canvas = cut(np.ascontiguousarray(image), matrix, (h, w), border)
        if rng.random() < 0.25:
            canvas = cut(np.ascontiguousarray(image), matrix, (h, w))
        here = [moved(f, matrix) for f in faces]
    else:
        k = 2 if size < 60 else 1
        canvas = cabin(rng, h * k, w * k, of.empty)
        here = []
        count = 0 if pick > 1 - stage.none else 2 if rng.random() < 0.1 else 1
        for i in range(count):
            big = size * k * (1 if i == 0 else rng.uniform(0.4, 0.9))
            head = one(of.bank, stage, rng)
            grey, cover, face = head
            below = ((0, 2 * len(grey)), (0, 0))  # the body goes on below
            head = np.pad(grey, below, "edge"), np.pad(cover, below, "edge"), face
            matrix = square(middle(face.marks), face.size, float(rng.normal(0, 5)), 1) * big
            spot = _spot(rng, big, h * k, w * k)
            matrix[:, 2] += spot - big / 2
            if here and np.linalg.norm(middle(here[0].marks) - spot) < 1.1 * here[0].size:
                continue
            here.append(pasted(canvas, head, matrix))
        canvas = hidden(canvas, here, rng)
        if k > 1:
            canvas = cv2.resize(
                canvas, (w, h), interpolation=cv2.INTER_AREA if rng.random() < 0.7 else cv2.INTER_LINEAR
            )
            here = [f._replace(marks=(f.marks + 0.5) / k - 0.5, size=f.size / k) for f in here]
        if rng.random() < 0.12:  # bars of a letter box
            bar = int(rng.integers(4, 24))
            tone = float(rng.choice([0, 114, canvas.mean(), 255]))
            if rng.random() < 0.5:
                canvas[:bar], canvas[h - bar :] = tone, tone
            else:
                canvas[:, :bar], canvas[:, w - bar :] = tone, tone
    return Labelled(seen(canvas, rng), here)


def _spot(rng: np.random.Generator, size: float, h: int, w: int) -> Array:
    """Where the middle of a face comes to lie: all of it is in the picture where there is room."""
    room = 0.33 * size
    x = rng.uniform(room, w - room) if w > 2 * room else w / 2 + rng.normal(0, 0.05) * w
    y = rng.uniform(room, h - room) if h > 2 * room else h / 2 + rng.normal(0, 0.05) * h
    return np.array([x, y])


def cells(faces: list[Face], h: int, w: int) -> tuple[Array, Array, Array, Array]:
    """Targets of the finder: heat (r, c), what matters (r, c), numbers (11, r, c), their weight (r, c)."""
    rows, columns = h // STRIDE, w // STRIDE
    heat, matter = np.zeros((rows, columns), np.float32), np.ones((rows, columns), np.float32)
    want, weight = np.zeros((11, rows, columns), np.float32), np.zeros((rows, columns), np.float32)
    y, x = np.mgrid[:rows, :columns] * STRIDE + STRIDE / 2
    for face in sorted(faces, key=lambda f: f.size):
        spot = middle(face.marks)
        if not (0 <= spot[0] < w and 0 <= spot[1] < h) or face.size < 11:
            matter[np.hypot(x - spot[0], y - spot[1]) < 0.5 * face.size + STRIDE] = 0
            continue
        sigma = max(0.09 * face.size, 0.6 * STRIDE)
        near = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * sigma**2)).astype(np.float32)
        heat = np.maximum(heat, near)
        r, c = (int(np.clip(v // STRIDE, 0, n - 1)) for v, n in ((spot[1], rows), (spot[0], columns)))
        heat[r, c] = 1
        about = np.hypot(x - spot[0], y - spot[1]) < max(0.15 * face.size, 1.3 * STRIDE)
        points = five(face.marks)
        want[0][about] = np.log(face.size / UNIT)
        for i in range(5):
            want[1 + 2 * i][about] = ((points[i, 0] - x) / UNIT)[about]
            want[2 + 2 * i][about] = ((points[i, 1] - y) / UNIT)[about]
        weight[about] = np.maximum(near, 0.3)[about] if face.sure else 0
        weight[r, c] = float(face.sure)
    return heat, matter, want, weight


def mistaken(finder: Path, of: Sources, count: int, rng: np.random.Generator) -> list[Array]:
    """Squares of 1.5 sizes about what a finder sees in pictures without a face."""
    eye, out = Eye(finder, None), []
    for _ in range(count):
        image = cabin(rng, 240, 320, of.empty)
        score, points, size = eye.find(seen(image, rng))
        if score > 0.15 and 20 < size < 300:
            marks = np.zeros((POINTS, 2))
            marks[[0, 1]], marks[[5, 6]], marks[10], marks[11], marks[12] = points
            out.append(cut(image, square(middle(marks), 1.5 * size, level(marks), 96), (96, 96)))
    return out


def finder_batch(of: Sources, stage: Stage, rng: np.random.Generator) -> tuple[Array, ...]:
    rows = []
    for _ in range(stage.batch):
        one_ = scene(of, stage, rng)
        rows.append((one_.image[None].astype(np.float32), *cells(one_.faces, *FINDER)))
    return tuple(np.stack(column) for column in zip(*rows, strict=True))


def crop(of: Sources, stage: Stage, rng: np.random.Generator) -> tuple[Array, Array, float]:
    """A picture for `marks`, (64, 64); its 44 numbers; 1 where there is a face in it."""
    pick = rng.random()
    wide = 1.9 if rng.random() < stage.wide else 1.0  # how far the finder may be off
    shift = np.clip(rng.normal(0, 0.07 * wide, 2), -0.3, 0.3)
    zoom = float(np.exp(np.clip(rng.normal(0, 0.1 * wide), -0.35, 0.35)))
    lean = float(np.clip(rng.normal(0, 7 * wide), -30, 30))
    there = 1.0
    if pick > 1 - stage.none:  # no face, or one that is not where it is said to be
        there = 0.0
        image = cabin(rng, 96, 96, of.empty)
        if of.mistaken and rng.random() < 0.5:
            image = of.mistaken[int(rng.integers(len(of.mistaken)))]
            image = cut(image[:, ::-1] if rng.random() < 0.5 else image, _about(shift, zoom, lean))
        elif rng.random() < 0.55:
            head = one(of.bank, stage, rng)
            far = rng.random()
            big = 96 * (
                rng.uniform(0.2, 0.45) if far < 0.5 else rng.uniform(0.8, 1.3) if far < 0.8 else rng.uniform(2.2, 3.5)
            )
            matrix = square(middle(head[2].marks), head[2].size, lean, 1) * big
            way = rng.uniform(0, 2 * np.pi)
            matrix[:, 2] += 48 - big / 2 + np.array([np.cos(way), np.sin(way)]) * max(big, 60) * rng.uniform(0.5, 0.9)
            pasted(image, head, matrix)
        part = cv2.resize(image, (SQUARE, SQUARE), interpolation=cv2.INTER_AREA)
        face = Face(np.zeros((POINTS, 2), np.float32), np.zeros(3, np.float32), float(SQUARE))
    else:
        if pick < stage.real and of.real:
            source = of.sure[int(rng.integers(len(of.sure)))]
            image, face = source.image, source.faces[int(rng.integers(len(source.faces)))]
            if rng.random() < 0.5:
                image, face = np.ascontiguousarray(image[:, ::-1]), mirrored(face, image.shape[1])
            matrix = _jittered(face, shift, zoom, lean, SQUARE)
            part, face = cut(image, matrix), moved(face, matrix)
        else:
            head = one(of.bank, stage, rng)
            k = float(rng.choice([1.0, rng.uniform(0.3, 1.0)], p=[0.7, 0.3]))  # few px, enlarged
            side = max(18, round(SQUARE * k))
            part = cabin(rng, side, side, of.empty)
            face = pasted(part, head, _jittered(head[2], shift, zoom, lean, side))
            part = hidden(part, [face], rng)
            if side != SQUARE:
                part = cv2.resize(part, (SQUARE, SQUARE), interpolation=cv2.INTER_LINEAR)
                face = Face((face.marks + 0.5) * SQUARE / side - 0.5, face.pose, face.size * SQUARE / side)
    roll = (face.pose[2] + 180) % 360 - 180
    numbers = [
        *(face.marks / SQUARE).ravel(),
        face.pose[0] / 45,
        face.pose[1] / 45,
        roll / 45,
        np.log(face.size / SQUARE),
    ]
    return seen(part, rng, 1.3), np.array(numbers, np.float32), there


def _about(shift: Array, zoom: float, lean: float) -> Array:
    """From a square of 1.5 sizes and 96 px to one of a size, not quite in the middle."""
    matrix = square(xy(48, 48), 64 * zoom, lean)
    matrix[:, 2] += shift * SQUARE
    return matrix


def _jittered(face: Face, shift: Array, zoom: float, lean: float, side: int) -> Array:
    """The square of a face, not quite where it should be."""
    matrix = square(middle(face.marks), face.size * zoom, level(face.marks) + lean, side)
    matrix[:, 2] += shift * side
    return matrix


def marks_batch(of: Sources, stage: Stage, rng: np.random.Generator) -> tuple[Array, ...]:
    rows = [crop(of, stage, rng) for _ in range(stage.batch)]
    x, y, there = zip(*rows, strict=True)
    return np.stack(x)[:, None].astype(np.float32), np.stack(y), np.array(there, np.float32)


# -- the nets -------------------------------------------------------------------------------------


def net(name: str) -> Any:
    import torch
    from torch import nn

    def full(a: int, b: int, step: int = 1) -> Any:
        return nn.Sequential(nn.Conv2d(a, b, 3, step, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))

    def thin(a: int, b: int, step: int = 1, side: int = 3) -> Any:
        return nn.Sequential(
            nn.Conv2d(a, a, side, step, side // 2, groups=a, bias=False),
            nn.BatchNorm2d(a),
            nn.ReLU(inplace=True),
            nn.Conv2d(a, b, 1, bias=False),
            nn.BatchNorm2d(b),
            nn.ReLU(inplace=True),
        )

    class Again(nn.Module):  # type: ignore[misc]
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return x + self.inner(x)

    class Finder(nn.Module):  # type: ignore[misc]
        """About 140 thousand numbers."""

        def __init__(self) -> None:
            super().__init__()
            a, b, c, d = 12, 24, 64, 96
            self.s8 = nn.Sequential(
                full(1, a, 2), full(a, b, 2), Again(full(b, b)), thin(b, c, 2), Again(thin(c, c)), Again(thin(c, c))
            )
            self.s16 = nn.Sequential(thin(c, d, 2), Again(thin(d, d)), Again(thin(d, d, 1, 5)))
            self.s32 = nn.Sequential(thin(d, d, 2), Again(thin(d, d, 1, 5)), Again(thin(d, d, 1, 5)))
            self.side = nn.ModuleList(
                [nn.Sequential(nn.Conv2d(n, c, 1, bias=False), nn.BatchNorm2d(c)) for n in (c, d, d)]
            )
            self.mix = nn.ModuleList([thin(c, c) for _ in range(2)])
            self.last = nn.Sequential(Again(thin(c, c)), Again(thin(c, c)))
            self.heat = nn.Sequential(thin(c, 32), nn.Conv2d(32, 1, 1))
            self.rest = nn.Sequential(thin(c, c), nn.Conv2d(c, 12, 1))
            nn.init.constant_(self.heat[-1].bias, -4.0)

        def raw(self, x: Any) -> Any:
            x = (x - 110.0) * (1 / 60.0)
            s8 = self.s8(x)
            s16 = self.s16(s8)
            s32 = self.s32(s16)
            p = self.side[2](s32)
            for i, s in ((1, s16), (0, s8)):
                up = nn.functional.interpolate(p, scale_factor=2.0, mode="nearest")
                p = self.mix[i](self.side[i](s) + up[:, :, : s.shape[2], : s.shape[3]])
            p = self.last(p)
            return self.heat(p), self.rest(p)

        def forward(self, x: Any) -> Any:
            heat, rest = self.raw(x)
            return torch.cat([torch.sigmoid(heat), rest], 1)

    class Marks(nn.Module):  # type: ignore[misc]
        """About 230 thousand numbers."""

        def __init__(self) -> None:
            super().__init__()
            a, b, c, d = 16, 32, 64, 96
            self.body = nn.Sequential(
                full(1, a, 2),
                Again(full(a, a)),
                full(a, b, 2),
                Again(full(b, b)),
                thin(b, c, 2),
                Again(thin(c, c)),
                Again(thin(c, c)),
                Again(thin(c, c)),
                thin(c, d, 2),
                Again(thin(d, d)),
                Again(thin(d, d)),
                nn.Conv2d(d, 40, 1, bias=False),
                nn.BatchNorm2d(40),
                nn.ReLU(inplace=True),
                nn.Flatten(),
                nn.Linear(40 * 16, 160),
                nn.ReLU(inplace=True),
            )
            self.out = nn.Linear(160, 2 * (2 * POINTS + 4) + 1)

        def forward(self, x: Any) -> Any:
            x = (x - 110.0) * (1 / 60.0)
            return self.out(self.body(x))

    return Finder() if name == "face" else Marks()


def finder_loss(model: Any, x: Any, heat: Any, matter: Any, want: Any, weight: Any) -> Any:
    """Focal loss of the score; how far the size is off; likelihood of the points."""
    import torch

    score, rest = model.raw(x)
    p = torch.sigmoid(score[:, 0]).clamp(1e-4, 1 - 1e-4)
    hit = (heat > 0.999).float()
    found = torch.log(p) * (1 - p) ** 2 * hit
    nothing = torch.log(1 - p) * p**2 * (1 - heat) ** 4 * (1 - hit)
    scores = -((found + nothing) * matter).sum() / hit.sum().clamp(min=1)
    size = (rest[:, 0] - want[:, 0]).abs()
    off = (rest[:, 1:11] - want[:, 1:]).abs() / want[:, :1].exp()  # in sizes
    error = rest[:, 11:12].clamp(-6, 2)
    points = (off * torch.exp(-error) + error).mean(1)
    n = weight.sum().clamp(min=1)
    return scores + ((size + 0.5 * points + 3 * off.mean(1)) * weight).sum() / n


def marks_loss(model: Any, x: Any, want: Any, there: Any) -> Any:
    """Likelihood after Laplace of the 44 numbers where there is a face, and of the face."""
    import torch

    k = want.shape[1]
    out = model(x)
    error = out[:, k : 2 * k].clamp(-6, 2)
    off = (out[:, :k] - want).abs()
    heavy = torch.ones(k)
    heavy[:20] = 2.0  # eyes first
    each = ((off * torch.exp(-error) + error) + 4 * off) * heavy
    face = torch.nn.functional.binary_cross_entropy_with_logits(out[:, 2 * k], there)
    return (each.mean(1) * there).sum() / there.sum().clamp(min=1) + face


def train(name: str, stage: Stage, of: Sources, save: Path, start: Path | None, minutes: float) -> Any:
    """The net after a stage, or sooner where time is up; its weights are a mean that follows them exponentially."""
    import torch

    torch.manual_seed(stage.seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(stage.seed)
    model, mean = (net(name).train().to(memory_format=torch.channels_last) for _ in range(2))
    if start is not None:
        model.load_state_dict(torch.load(start))
    mean.load_state_dict(model.state_dict())
    best = torch.optim.AdamW(model.parameters(), stage.rate, weight_decay=1e-3)
    batch, loss = (finder_batch, finder_loss) if name == "face" else (marks_batch, marks_loss)
    begin, shown, step, done = time.time(), 0.0, 0, 0.0
    while done < 1:
        for group in best.param_groups:
            warm = min(1.0, (step + 1) / (300 if start is None else 60))
            group["lr"] = stage.rate * warm * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * done * stage.fallen)))
        if step % 500 == 0:
            of.bank.look()
        x, *y = (torch.from_numpy(c) for c in batch(of, stage, rng))
        off = loss(model, x.to(memory_format=torch.channels_last), *y)
        best.zero_grad()
        off.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        best.step()
        keep = min(KEEP, (step + 1) / (step + 20))
        with torch.no_grad():
            for m, v in zip(mean.state_dict().values(), model.state_dict().values(), strict=True):
                m.copy_(keep * m + (1 - keep) * v if m.is_floating_point() else v)
        shown = 0.99 * shown + 0.01 * off.item() if step > 50 else off.item()
        step += 1
        spent = time.time() - begin
        done = max(step / stage.steps, spent / 60 / minutes)
        if step % 100 == 0 or done >= 1:
            print(f"step {step}, {done:.0%}, loss {shown:.3f}, {spent / step:.2f} s a step", flush=True)
        if step % 250 == 0:
            torch.save(mean.state_dict(), save)
    torch.save(mean.state_dict(), save)
    return mean.eval()


def exported(name: str, model: Any, path: Path) -> None:
    """As ONNX, opset 17; of the finder any height and width."""
    import torch

    finder = name == "face"
    axes = {"picture": {2: "height", 3: "width"}, "cells": {2: "rows", 3: "columns"}} if finder else {}
    torch.onnx.export(
        model.eval(),
        torch.zeros(1, 1, *(FINDER if finder else (SQUARE, SQUARE))),
        str(path),
        input_names=["picture"],
        output_names=["cells" if finder else "numbers"],
        opset_version=17,
        dynamic_axes=axes,
        dynamo=False,
    )


# -- figures --------------------------------------------------------------------------------------


class Eye:
    """Both nets as they are used: the best face, looked at again twice."""

    def __init__(self, face: Path, marks: Path | None, size: tuple[int, int] = FINDER) -> None:
        onnxruntime = runtime.onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        given = ["CPUExecutionProvider"]
        self.face = onnxruntime.InferenceSession(str(face), options, providers=given)
        self.marks = onnxruntime.InferenceSession(str(marks), options, providers=given) if marks else None
        self.size = size

    def find(self, grey: Array) -> tuple[float, Array, float]:
        """Score, five points px, size px of the best face. A small one is looked at again, enlarged."""
        (h, w), (tall, wide) = grey.shape, self.size
        by = min(tall / h, wide / w)
        whole = np.array([[by, 0, (wide - w * by + by - 1) / 2], [0, by, (tall - h * by + by - 1) / 2]])
        score, points, size = self._best(grey, whole, self.size, float(grey.mean()))
        if size * by < NEAR[0]:
            by = NEAR[1] / size
            about = np.column_stack([np.eye(2) * by, xy(FINDER[1] / 2, FINDER[0] / 2) - by * _between(points)])
            again = self._best(grey, about, FINDER, float(grey.mean()))
            if again[0] > 0.5 * score:
                return float(np.sqrt(score * again[0])), *again[1:]
        return score, points, size

    def _best(self, grey: Array, matrix: Array, shape: tuple[int, int], fill: float) -> tuple[float, Array, float]:
        part = cut(grey, matrix, shape, fill).astype(np.float32)
        out = self.face.run(None, {"picture": part[None, None]})[0][0]
        r, c = np.unravel_index(int(out[0].argmax()), out[0].shape)
        points = out[2:12, r, c].reshape(5, 2) * UNIT + (STRIDE * (c + 0.5), STRIDE * (r + 0.5))
        by = matrix[0, 0]
        return (
            float(out[0, r, c]),
            put(cv2.invertAffineTransform(matrix), points),
            float(np.exp(out[1, r, c]) * UNIT / by),
        )

    def look(self, grey: Array, points: Array, size: float, rounds: int = 2) -> tuple[Array, Array]:
        """20 marks px and the net's 89 numbers of a face with five points."""
        marks, numbers = np.zeros((POINTS, 2)), np.zeros(89)
        marks[[0, 1]], marks[[5, 6]], marks[10], marks[11], marks[12] = points
        assert self.marks is not None
        for _ in range(rounds):
            matrix = square(middle(marks), size, level(marks))
            part = cut(grey, matrix).astype(np.float32)
            numbers = self.marks.run(None, {"picture": part[None, None]})[0][0]
            marks = put(cv2.invertAffineTransform(matrix), numbers[:40].reshape(POINTS, 2) * SQUARE)
            size *= float(np.exp(np.clip(numbers[43], -0.4, 0.4)))
        return marks, numbers


def off(points: Array, truth: Array) -> float:
    """The worse eye's distance from the truth, in eye distances; (2, 2) each."""
    return float(np.linalg.norm(points - truth, axis=1).max() / max(np.linalg.norm(truth[0] - truth[1]), 1e-6))


class Known(NamedTuple):
    """A picture to be measured on."""

    image: Array  # BGR
    eyes: Array | None  # (2, 2) right, left; None: nobody can say
    box: Array | None = None  # x1, y1, x2, y2 of the face, where it is known


def references(data: Path) -> Iterator[tuple[str, list[Known]]]:
    """Clip by clip what is measured on; real eyes are where the teachers say. Nothing of `empty` shows a face."""
    teacher = Teacher(data / "models")

    def told(image: Array) -> Any:
        boxes = teacher.find(image, 0.6)
        if not len(boxes):
            return None
        got = teacher.mark(image, max(boxes, key=lambda b: b[2] * b[3]))
        return five(got[0].marks)[:2] if got is not None and got[1] > 0.5 else None

    for path in sorted((data / "driver_yawdd").glob("*.avi")):
        yield path.stem, [Known(image, told(image)) for _, image in frames(path, 10)]
    some = []
    with (data / "driver_gopro" / "labels.csv").open() as lines:
        for row in csv.DictReader(lines):
            image: Any = cv2.imread(str(data / "driver_gopro" / row["file"]))
            x, y, w, h = (float(row[c]) for c in ("cx", "cy", "w", "h"))
            box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * np.tile(image.shape[1::-1], 2)
            some.append(Known(image, told(image), box))
    yield "gopro", some
    empty = [Known(image, None) for _, image in frames(data / "dashcam" / "solidWhiteRight.mp4", 5)]
    for path in sorted((data / "sim_driver").glob("*.mp4")):
        with path.with_suffix(".csv").open() as lines:
            rows = list(csv.DictReader(lines))
        some = []
        for n, image in frames(path, 7):
            eyes = np.array([[float(rows[n][f"eye_{s}_{c}"] or "nan") for c in "xy"] for s in "rl"])
            if all(rows[n][c] == "0" for c in ("covered", "smeared", "frozen")) and rows[n]["present"] == "1":
                some.append(Known(image, eyes))
            elif rows[n]["frozen"] == "0":
                empty.append(Known(image, None))
        yield path.stem, some
    yield "cabin", list(_played())
    pictures = [cv2.imread(str(path)) for path in sorted((data / "faces_eyes").glob("*.jpg"))]
    yield "faces_eyes", [Known(image, told(image)) for image in pictures if image is not None]
    yield "empty", empty


def _played() -> Iterator[Known]:
    """Drivers of our own simulator, which the nets were not taught by."""
    from simulators.cabin import told

    stories = ("distracted", "drowsy", "glance", "sunglasses", "infrared", "off axis", "wheel")
    for seed in range(11, 17):
        for k, story in enumerate(stories):
            play, n = told(story, seed), 37 * (seed + k) % 200 + 20
            spots = play.spots(n)
            if spots is not None:
                yield Known(play.picture(n).copy(), np.array([spots.right, spots.left]))


def figures(eye: Eye, known: list[Known], least: float) -> dict[str, float]:
    """Share found; share with both eyes within 0.25 eye distances, by the finder and by the marks after it.

    Of pictures without a face: share in which the finder sees one, and in which the marks agree.
    """
    found, first, second, sure = [], [], [], []
    for image, truth, box in known:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        score, points, size = eye.find(grey)
        hit = score > least
        marks, numbers = eye.look(grey, points, size)
        sure.append(hit and numbers[-1] > 0)
        if box is not None:
            x, y = _between(points)
            found.append(hit and box[0] < x < box[2] and box[1] < y < box[3])
        if truth is not None:
            if box is None:
                found.append(hit and np.linalg.norm(points[:2].mean(0) - truth.mean(0)) < 0.3 * size)
            first.append(hit and off(points[:2], truth) < 0.25)
            second.append(hit and off(five(marks)[:2], truth) < 0.25)
        elif box is None:
            found.append(hit)
    shares = {"found": found, "eyes": first, "eyes_marks": second, "both_say_face": sure}
    return {"n": len(known)} | {name: round(float(np.mean(some)), 3) for name, some in shares.items() if some}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--heads", type=Path, help="folder of rendered heads")
    parser.add_argument("--more", type=Path, help="folder of further pictures, portraits and such without faces")
    parser.add_argument("--net", choices=sorted(STAGES))
    parser.add_argument("--out", type=Path, help="ONNX file; its weights for torch beside it")
    parser.add_argument("--finder", type=Path, help="a finder, of whose mistakes `marks` learns what is no face")
    parser.add_argument("--start", type=Path, help="go on from these weights")
    parser.add_argument("--stage", type=int, default=1, help="the first stage that is done")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="a stage ends by then, its rate falls in time"
    )
    parser.add_argument("--figures", type=Path, nargs=2, metavar="NET", help="only measure: `face` and `marks`")
    asked = parser.parse_args(argv)
    if asked.figures:
        eye = Eye(*asked.figures)
        for clip, known in references(asked.data):
            print(clip, json.dumps(figures(eye, known, LEAST)), flush=True)
        return 0
    if not (asked.net and asked.out and asked.heads):
        parser.error("--net, --out and --heads, or --figures")
    real, empty = taught(asked.data, asked.more)
    of = Sources(Bank(asked.heads), real, empty)
    print(f"{of.bank.look()} heads, {len(real)} real pictures with faces, {len(empty)} without", flush=True)
    if asked.finder:
        of = of._replace(mistaken=mistaken(asked.finder, of, 3000, np.random.default_rng(6)))
        print(f"{len(of.mistaken)} squares that the finder took for a face", flush=True)
    start, model = asked.start, None
    for stage in STAGES[asked.net][asked.stage - 1 :]:
        start_at = asked.out.with_suffix(".pt")
        model = train(asked.net, stage, of, start_at, start, asked.minutes)
        start = start_at
    exported(asked.net, model, asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
