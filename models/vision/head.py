"""Where a face is and how it is turned, from few points of it; and square crops of a picture that stand level with it.

Points are px in the picture, edges lying between pixels. A face is measured by `u`, the distance of the middles of
its eyes as it would be seen from the front, so that a face that turns does not shrink. Pure but for what `Levels` keeps
of one picture: its halves, each made once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from agent.core.frame import Array

# A mean face in units of u: right eye, left eye, tip of the nose, right and left corner of the mouth; x to the driver's
# left, y down, z to who looks. After the landmarks that textbooks on `solvePnP` give for adults; project.
MEAN = np.array([(-0.5, 0.0, 0.0), (0.5, 0.0, 0.0), (0.0, 0.53, 0.43), (-0.42, 1.0, 0.04), (0.42, 1.0, 0.04)])
OFF = 0.05  # u, standard error of a point that a finder tells, and of a person's face from the mean one. project
LIKELY = (40.0, 25.0, 30.0)  # deg, how far heads turn (yaw, pitch, roll). project
ROUNDS = 4  # of Gauss-Newton; it is there after three

Points = Sequence[tuple[float, float]]


class Place(NamedTuple):
    """Where a face is in the picture."""

    x: float  # px, between the middles of eyes and mouth
    y: float
    u: float  # px
    roll: float  # deg, counter-clockwise above 0


class Pose(NamedTuple):
    """How a head is turned towards the camera, and standard errors; signs as in `agent/sights.py`."""

    yaw: float  # deg
    pitch: float
    roll: float
    yaw_error: float
    pitch_error: float


def place(five: Points) -> Place:
    """Where the face with these five points is: right eye, left eye, nose, right and left corner of the mouth.

    >>> place([(100, 100), (160, 100), (130, 135), (105, 160), (155, 160)])
    Place(x=130.0, y=130.0, u=60.0, roll=0.0)
    """
    (rx, ry), (lx, ly), _, (mrx, mry), (mlx, mly) = five
    ex, ey, mx, my = (rx + lx) / 2, (ry + ly) / 2, (mrx + mlx) / 2, (mry + mly) / 2
    across, down = math.hypot(lx - rx, ly - ry), math.hypot(mx - ex, my - ey)
    u = max(across, min(0.9 * down, 1.3 * across), 1e-3)
    return Place((ex + mx) / 2, (ey + my) / 2, u, level(ex - mx, ey - my, lx - rx, ly - ry))


def level(ax: float, ay: float, rx: float, ry: float) -> float:
    """Roll (deg) of a face, by the way from its mouth to its eyes and the way from its right eye to the left one.

    In profile the second is short, of a head that nods the first: their sum is sane in both.
    """
    ux, uy = ax + ry, ay - rx
    return math.degrees(math.atan2(-ux, -uy)) if ux or uy else 0.0


@lru_cache(maxsize=1)
def _model() -> Array:
    return np.asarray(MEAN - MEAN.mean(axis=0))


def pose(five: Points, error: float = OFF) -> Pose:
    """How the head with these five points is turned: a rigid mean face, seen from afar, that fits them best.

    error: of a point, in u. Weak at: faces unlike the mean one (pitch most of all), which `error` stands for only
    roughly, and profiles, where the far eye is a guess of the finder.
    """
    seen = np.asarray(five, float)
    start = place(five)
    seen = (seen - seen.mean(axis=0)) / start.u
    spread = np.radians(LIKELY)
    prior = np.concatenate([1 / spread**2, [1 / 0.2**2]]) * error**2
    now = np.array([0.0, 0.0, math.radians(start.roll), 0.0])  # yaw, pitch, roll, logarithm of the scale
    usual = now.copy()
    step = 1e-4
    for _ in range(ROUNDS):
        at = _shown(np.vstack([now, now + step * np.eye(4)]))
        slope = (at[1:] - at[0]).reshape(4, -1) / step
        off = (seen - at[0]).ravel()
        weight = slope @ slope.T + np.diag(prior)
        now = now + np.linalg.solve(weight, slope @ off + prior * (usual - now))
    left = float(np.mean((seen - _shown(now[None])[0]) ** 2)) * 10 / 6
    doubt = np.degrees(np.sqrt(np.diag(np.linalg.inv(weight)) * max(error**2, left)))
    yaw, pitch, roll = np.degrees(now[:3])
    return Pose(
        float(np.clip(yaw, -180, 180)), float(np.clip(pitch, -90, 90)), float(roll), float(doubt[0]), float(doubt[1])
    )


def _shown(many: Array) -> Array:
    """(n, 5, 2) the mean face as n rows of yaw, pitch, roll (rad) and log scale show it."""
    turned = turn(many[:, 0], many[:, 1], many[:, 2])
    seen: Array = np.exp(many[:, 3])[:, None, None] * (_model() @ turned.transpose(0, 2, 1))[:, :, :2]
    return seen


def turn(yaw: Array, pitch: Array, roll: Array) -> Array:
    """(n, 3, 3) rotations, roll outermost; angles in rad, x right, y down, z to who looks."""
    a, b, c = np.cos(yaw), np.cos(pitch), np.cos(roll)
    d, e, f = np.sin(yaw), np.sin(pitch), np.sin(roll)
    rows = [
        [c * a, f * b - c * d * e, f * e + c * d * b],
        [-f * a, c * b + f * d * e, c * e - f * d * b],
        [-d, -a * e, a * b],
    ]
    turned: Array = np.moveaxis(np.array(rows, float), 2, 0)
    return turned


# -- crops ------------------------------------------------------------------------------------------------------------


class Levels:
    """One picture (h, w, 3) uint8 BGR, grey and in colour, and their halves by means."""

    def __init__(self, picture: Array) -> None:
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        self._grey, self._colour = [grey], [picture]
        self.size = picture.shape[0], picture.shape[1]

    def grey(self, by: int = 0) -> Array:
        """(h, w), halved so many times."""
        return _halved(self._grey, by)

    def colour(self, by: int = 0) -> Array:
        return _halved(self._colour, by)

    def under(self, width: int) -> int:
        """How often it is halved to be as small as it goes without being narrower than that, in px."""
        by = 0
        while self.size[1] >> (by + 1) >= max(width, 1) and self.size[0] >> (by + 1) > 0:
            by += 1
        return by

    def crop(self, x: float, y: float, side: float, roll: float, n: int, colour: bool = False) -> Array:
        """(n, n) grey or (n, n, 3) BGR uint8: the square of that side (px) about a point, as if `roll` (deg) were 0.

        What lies outside the picture is its edge, drawn out.
        """
        by = 0
        while side / n >= 2 << by and min(self.size) >> (by + 1) >= 2:
            by += 1
        levels = self.colour(by) if colour else self.grey(by)
        scale = 1 / (1 << by)
        c, s = math.cos(math.radians(roll)) * side * scale, math.sin(math.radians(roll)) * side * scale
        middle = 0.5 / n - 0.5
        move = np.array(
            [
                [c / n, s / n, x * scale + (c + s) * middle - 0.5],
                [-s / n, c / n, y * scale + (c - s) * middle - 0.5],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen: Array = cv2.warpAffine(levels, move, (n, n), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return seen


def _halved(levels: list[Array], by: int) -> Array:
    while len(levels) <= by:
        h, w = (side // 2 for side in levels[-1].shape[:2])
        levels.append(cv2.resize(levels[-1][: 2 * h, : 2 * w], (w, h), interpolation=cv2.INTER_AREA))
    return levels[by]


def spots(x: float, y: float, side: float, roll: float, shares: Array) -> Array:
    """(k, 2) px in the picture, of points that are shares (k, 2) of such a crop."""
    c, s = math.cos(math.radians(roll)) * side, math.sin(math.radians(roll)) * side
    across, down = shares[:, 0] - 0.5, shares[:, 1] - 0.5
    return np.stack([x + c * across + s * down, y - s * across + c * down], axis=1)
