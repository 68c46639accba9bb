"""What a net says of one square crop, as numbers: one pure function for each family of such nets, in numpy.

A function gets the outputs in the net's order, for n crops in one run, and returns an answer for each; it raises
`ValueError` in words where the outputs do not have the shape of its family. `SIDES` says how large a crop each wants.

    marks       (n, 2 K + 49): x, y of K = 20 landmarks as shares of the crop; yaw, pitch, roll of the head in deg / 45
                against the level crop; log(true side / side of the crop); the logarithms of the standard errors of all
                these; logit of a face. The order of the landmarks stands at `MARKS`.
    landmarks   478 landmarks (n, ..., 1434) in px of the crop, x, y, z, and logit of a face (n, ..., 1), as MediaPipe's
                `face_landmarks_detector` gives them: the 20 above are taken out of it. Kartynnik et al. 2019,
                arXiv 1907.06724. It tells no errors, so that they are `project`.
    eye         (n, 3): logit that it is closed, opening (0 shut, 1 as usual), logit that it cannot be judged
    open_closed (n, 2, ...): odds of closed and open, as `open-closed-eye-0001` of the Open Model Zoo gives them
    mouth       (n, 2): opening (0 shut, 1 the widest yawn), logit that it cannot be judged
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from agent.core.frame import Array

MARKS = (
    "right eye, outer corner",
    "right eye, inner corner",
    "right upper lid",
    "right lower lid",
    "right pupil",
    "left eye, inner corner",
    "left eye, outer corner",
    "left upper lid",
    "left lower lid",
    "left pupil",
    "tip of the nose",
    "mouth, right corner",
    "mouth, left corner",
    "upper lip, inner",
    "lower lip, inner",
    "chin",
    "right brow, outer end",
    "right brow, inner end",
    "left brow, inner end",
    "left brow, outer end",
)
MESH = (33, 133, 159, 145, 468, 362, 263, 386, 374, 473, 1, 61, 291, 13, 14, 152, 70, 107, 336, 300)  # of 478, the same
TOP = 10  # of 478: the middle of the hair's edge
MESHED = 256.0  # px of a crop of MediaPipe
MESH_ERROR = 0.012  # of the crop's side; project
MESH_POSE = 5.0  # deg; project
LEANS = 8.0  # deg, by which the line from forehead to chin leans back in a face that looks straight ahead; project
MIDDLE = 0.5 / 64  # of a pixel, as a share of the crop: a net of marks counts from the middle of the first one
FAR = 20.0  # logits and logarithms beyond which nothing changes

Outputs = Sequence[Array]


class Marks(NamedTuple):
    """Landmarks and pose of a face in a crop."""

    points: Array  # (20, 2) shares of the crop, in the order of `MARKS`
    error: Array  # (20,) standard errors of these
    pose: tuple[float, float, float]  # deg: yaw, pitch, roll against the crop
    doubt: tuple[float, float, float]  # deg, standard errors
    grow: float  # what the crop's side should be multiplied by
    face: float  # 0 to 1


class Lid(NamedTuple):
    """One eye."""

    closed: float  # logit
    opening: float  # 0 shut, 1 as usual; NaN: not told
    hidden: float  # logit; -inf: this net knows nothing of it


class Mouth(NamedTuple):
    """One mouth."""

    opening: float  # 0 shut, 1 the widest yawn
    hidden: float  # logit


Answer = Marks | Lid | Mouth
Read = Callable[[Outputs], Sequence[Answer]]


def marks(outputs: Outputs) -> list[Marks]:
    rows = _rows(outputs, "marks", 89)
    told = []
    for row in rows:
        error = np.exp(np.clip(row[44:88], -FAR, FAR))
        yaw, pitch, roll = (45.0 * row[40:43]).tolist()
        wrong = (45.0 * error[40:43]).tolist()
        told.append(
            Marks(
                row[:40].reshape(20, 2) + MIDDLE,
                np.sqrt((error[:40].reshape(20, 2) ** 2).mean(axis=1)),
                (yaw, pitch, roll),
                (wrong[0], wrong[1], wrong[2]),
                math.exp(min(max(float(row[43]), -2.0), 2.0)),
                sigmoid(float(row[88])),
            )
        )
    return told


def landmarks(outputs: Outputs) -> list[Marks]:
    if len(outputs) < 2 or outputs[0].size == 0 or outputs[0].size % 1434 or outputs[1].size * 1434 != outputs[0].size:
        raise ValueError(f"478 landmarks and a score are wanted, not {[list(one.shape) for one in outputs]}")
    told = []
    for mesh, flag in zip(outputs[0].reshape(-1, 478, 3) / MESHED, outputs[1].ravel(), strict=True):
        points = mesh[list(MESH), :2]
        across = mesh[263] - mesh[33]  # z grows away from who looks
        down = mesh[152] - mesh[TOP]
        across, down = across / (np.linalg.norm(across) + 1e-9), down / (np.linalg.norm(down) + 1e-9)
        ahead = np.cross(down, across)  # towards who looks: z below 0
        yaw = math.degrees(math.atan2(ahead[0], -ahead[2]))
        pitch = math.degrees(math.asin(float(np.clip(ahead[1], -1, 1)))) - LEANS
        roll = math.degrees(math.atan2(-across[1], across[0]))
        side = _frontal(mesh) * 3.5
        told.append(
            Marks(
                points,
                np.full(20, MESH_ERROR),
                (yaw, pitch, roll),
                (MESH_POSE, MESH_POSE, MESH_POSE),
                float(np.clip(side, 0.2, 5.0)),
                sigmoid(float(flag)),
            )
        )
    return told


def _frontal(mesh: Array) -> float:
    """The distance of the eyes' middles, depth and all, as a share of the crop."""
    right, left = (mesh[33] + mesh[133]) / 2, (mesh[362] + mesh[263]) / 2
    return float(np.linalg.norm(left - right))


def eye(outputs: Outputs) -> list[Lid]:
    return [Lid(*(float(one) for one in row)) for row in _rows(outputs, "eye", 3)]


def open_closed(outputs: Outputs) -> list[Lid]:
    if len(outputs) != 1 or outputs[0].ndim < 2 or outputs[0].shape[1] != 2 or outputs[0].size % 2:
        raise ValueError(f"odds of closed and open are wanted, not {[list(one.shape) for one in outputs]}")
    odds = np.clip(outputs[0].reshape(-1, 2), 1e-6, 1.0)
    return [Lid(math.log(closed / opened), math.nan, -math.inf) for closed, opened in odds.tolist()]


def mouth(outputs: Outputs) -> list[Mouth]:
    return [Mouth(*(float(one) for one in row)) for row in _rows(outputs, "mouth", 2)]


ANSWERS: dict[str, Read] = {
    "marks": marks,
    "landmarks": landmarks,
    "eye": eye,
    "open_closed": open_closed,
    "mouth": mouth,
}
SIDES = {  # of the square that is shown, in `u` of `head.py`
    "marks": 3.5,
    "landmarks": 3.8,
    "eye": 0.78,
    "open_closed": 0.78,
    "mouth": 1.5,
}


def sigmoid(x: float) -> float:
    """
    >>> sigmoid(0.0)
    0.5
    """
    return 1 / (1 + math.exp(-min(max(x, -FAR), FAR)))


def _rows(outputs: Outputs, family: str, wide: int) -> Array:
    if len(outputs) != 1 or outputs[0].ndim != 2 or outputs[0].shape[1] != wide:
        raise ValueError(f"a net of {family} gives (n, {wide}), not {[list(one.shape) for one in outputs]}")
    if not np.isfinite(outputs[0]).all():
        raise ValueError("it gives what is no number")
    rows: Array = outputs[0]
    return rows
