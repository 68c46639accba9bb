"""How the picture flows from one moment to another, and what of it is the camera's own turning.

Corners of an earlier picture are found again in a later one (Lucas and Kanade 1981, pyramids after Bouguet 2000), there
and back; what does not come back to where it was is left out. A camera that moves straight ahead sees everything flow
away from one spot, the focus of expansion, each thing at the rate at which it is neared (1/s); a camera that turns
besides shifts all of it alike. `turning` takes the two apart; `focus` finds the spot of a camera that does not turn.

Pictures are (h, w) uint8 grey. Source: Longuet-Higgins and Prazdny, Proc. R. Soc. B 208 (1980) 385-397.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

from agent.core.frame import Array

CORNERS = 280  # at most
QUALITY = 0.004  # of the best corner's, below which there is none
APART = 7  # px between two corners
WAY = 0.17  # of the picture's width to either side of the spot ahead, below which the way is
WINDOW = (13, 13)  # px that are compared
LEVELS = 3  # of halved pictures
Parts = tuple[tuple[float, float], tuple[float, float]]  # shares of the corners: above the horizon, and below it;
ALL: Parts = ((0.25, 0.05), (0.4, 0.125))  # of each the middle, and either side
WAY_ONLY: Parts = ((0.0, 0.0), (0.4, 0.0))
BACK = 0.35  # px that a corner may miss its place by after there and back
NOISE = 0.15  # px, standard error of a corner's place
FEWEST = 12  # corners that tell of the camera's turning
TURNS = 8
STILL = 3.0  # times the error of a place, that a corner must have moved to tell a direction


class Flow(NamedTuple):
    """Corners and where they went."""

    x: Array  # (n,) px in the later picture
    y: Array
    dx: Array  # (n,) px that they moved since the earlier one
    dy: Array
    span: float  # s between the two
    noise: float = NOISE  # px, standard error of a place


class Turning(NamedTuple):
    """What all of the picture did alike, between the two."""

    dx: float  # px; to the right: the camera turned to the left
    dy: float


def flow(
    then: Array, now: Array, span: float, ahead: tuple[float, float] | None = None, parts: Parts | None = None
) -> Flow:
    """Where the corners of the earlier picture went. ahead: px, where the camera drives to; the middle if None."""
    corners = _corners(then, ahead or (then.shape[1] / 2, then.shape[0] / 2), ALL if parts is None else parts)
    if len(corners) == 0:
        nothing = np.zeros(0)
        return Flow(nothing, nothing, nothing, nothing, span)
    search: Any = {"nextPts": None, "winSize": WINDOW, "maxLevel": LEVELS}
    there, found, _ = cv2.calcOpticalFlowPyrLK(then, now, corners, **search)
    back, again, _ = cv2.calcOpticalFlowPyrLK(now, then, there, **search)
    a, b, c = (points.reshape(-1, 2).astype(float) for points in (corners, there, back))
    good = (found.ravel() == 1) & (again.ravel() == 1) & (np.hypot(*(a - c).T) < BACK)
    a, b = a[good], b[good]
    return Flow(b[:, 0], b[:, 1], b[:, 0] - a[:, 0], b[:, 1] - a[:, 1], span)


def _corners(picture: Array, ahead: tuple[float, float], parts: Parts) -> Array:
    """Corners (n, 1, 2) float32, as good as each part of the picture has them: the sky's trees would else take all."""
    h, w = picture.shape
    row, left, right = (
        int(np.clip(x, 0, m)) for x, m in ((ahead[1], h), (ahead[0] - WAY * w, w), (ahead[0] + WAY * w, w))
    )
    found = []
    for top, bottom, middle, beside in ((0, row, *parts[0]), (row, h, *parts[1])):
        for x1, x2, share in ((left, right, middle), (0, left, beside), (right, w, beside)):
            if share > 0 and min(bottom - top, x2 - x1) > 2 * APART:
                part = picture[top:bottom, x1:x2]
                some = cv2.goodFeaturesToTrack(part, int(share * CORNERS), QUALITY, APART)
                if some is not None:
                    found.append(some + np.array([x1, top], np.float32))
    return np.concatenate(found) if found else np.zeros((0, 1, 2), np.float32)


def focus(seen: Flow) -> tuple[float, float, float] | None:
    """Where everything flows away from, if the camera did not turn: x, y and its standard error, all in px.

    None where the flow does not tell. Each corner moves along the line through it and the focus.
    """
    return _solved(seen.dy, -seen.dx, seen.dy * seen.x - seen.dx * seen.y, np.hypot(seen.dx, seen.dy), seen.noise)


def turning(seen: Flow, x: float, y: float) -> Turning | None:
    """What the camera's turning did, if it moves towards the spot x, y; None where the flow does not tell."""
    rx, ry = seen.x - x, seen.y - y
    found = _solved(ry, -rx, seen.dx * ry - seen.dy * rx, np.hypot(rx, ry), seen.noise)
    return None if found is None else Turning(found[0], found[1])


def rates(seen: Flow, x: float, y: float, turned: Turning) -> tuple[Array, Array]:
    """How fast each corner is neared, 1/s, and its standard error."""
    rx, ry = seen.x - x, seen.y - y
    r2 = np.maximum(rx * rx + ry * ry, 1e-6)
    grown = ((seen.dx - turned.dx) * rx + (seen.dy - turned.dy) * ry) / r2  # of its distance now, since then
    return -np.log1p(-np.clip(grown, -5.0, 0.95)) / seen.span, seen.noise / np.sqrt(r2) / seen.span


def _solved(a: Array, b: Array, c: Array, scale: Array, noise: float) -> tuple[float, float, float] | None:
    """The p, q of a p + b q = c for most of the rows, whose error is px times scale; and their standard error."""
    use = scale > STILL * noise
    if use.sum() < FEWEST:
        return None
    rows = np.stack([a, b], 1)[use] / scale[use, None]
    side = c[use] / scale[use]
    heavy = np.ones(len(side))
    for _ in range(TURNS):
        square = (rows * heavy[:, None]).T @ rows
        try:
            found = np.linalg.solve(square, (rows * heavy[:, None]).T @ side)
        except np.linalg.LinAlgError:
            return None
        off = side - rows @ found
        usual = 1.4826 * float(np.median(np.abs(off))) + 0.1 * noise
        heavy = 1 / (1 + (off / (2 * usual)) ** 2)
    error = usual * float(np.sqrt(np.max(np.diag(np.linalg.inv(square)))))
    return float(found[0]), float(found[1]), error
