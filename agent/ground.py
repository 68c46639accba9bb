"""A flat piece of ground before a camera that does not move: from shares of its picture to metres, and back.

A technician gives points whose place is known in both; four are enough if no three of them lie on a line. Pure, numpy
only, so that a site file is checked without anything that looks at pictures. What is not flat, or lies beside the plane
of the points, is told wrong; a lens that bends straight lines costs some per cent at the edges of its picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from .core.frame import Array

LEAST = 4  # points
THIN = 0.02  # of their extent squared: what three points span at least, else they lie on a line. project
OFF = 0.02  # of the extent of all points, by which one may lie elsewhere than the others say. project


def ground(shares: Sequence[Sequence[float]], metres: Sequence[Sequence[float]]) -> Array:
    """The homography (3, 3) from shares (n, 2) of the picture to metres (n, 2).

    Direct linear transform on points of usual size. Raises `ValueError` in words where the points tell no plane.
    Source: R. Hartley, IEEE Trans. PAMI 19 (1997) 580-593.

    >>> square = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    >>> placed(ground(square, [(0, 0), (10, 0), (10, 20), (0, 20)]), np.array([[0.5, 0.5]])).round(6).tolist()
    [[5.0, 10.0]]
    """
    a, b = np.asarray(shares, float).reshape(-1, 2), np.asarray(metres, float).reshape(-1, 2)
    if len(a) < LEAST:
        raise ValueError(f"{LEAST} points or more are needed, not {len(a)}")
    for points, where in ((a, "in the picture"), (b, "on the ground")):
        if fault := _thin(points):
            raise ValueError(f"{fault} {where}: they tell no plane; take points that are well apart in both directions")
    whole = _solved(a, b)
    if whole is None:
        raise ValueError("points: they tell no plane; take points that are well apart in both directions")
    if len(a) > LEAST:
        fits = []
        for i in range(len(a)):
            rest = np.arange(len(a)) != i
            other = _solved(a[rest], b[rest])
            if other is not None:
                off = np.nan_to_num(np.hypot(*(placed(other, a) - b).T), nan=np.inf)
                fits.append((float(off[rest].max()) if len(a) > LEAST + 1 else -float(off[i]), float(off[i]), i))
        _, off_, worst = min(fits, default=(0.0, 0.0, 0))
        if off_ > OFF * _extent(b):
            text = f"they would have it {off_:.2g} m elsewhere" if np.isfinite(off_) else "they see it in the sky"
            raise ValueError(f"points: number {worst + 1} does not go with the others: {text}")
    depth = np.c_[a, np.ones(len(a))] @ whole[2]
    if not (depth > 0).all():
        raise ValueError("points: some lie beyond the horizon that the others tell: check their order")
    return whole


def _solved(a: Array, b: Array) -> Array | None:
    """The homography from a to b (n, 2), positive before the camera at the first point; None where none is told."""
    (ta, sa), (tb, sb) = _usual(a), _usual(b)
    (u, v), (x, y) = ((a - ta) * sa).T, ((b - tb) * sb).T
    one, nought = np.ones(len(u)), np.zeros(len(u))
    rows = np.concatenate(
        [
            np.stack([u, v, one, nought, nought, nought, -x * u, -x * v, -x], 1),
            np.stack([nought, nought, nought, u, v, one, -y * u, -y * v, -y], 1),
        ]
    )
    _, size, turned = np.linalg.svd(rows)
    if size[7] < 1e-6 * size[0]:
        return None
    before = np.array([[sa, 0, -sa * ta[0]], [0, sa, -sa * ta[1]], [0, 0, 1]])
    after = np.array([[1 / sb, 0, tb[0]], [0, 1 / sb, tb[1]], [0, 0, 1]])
    whole: Array = after @ turned[-1].reshape(3, 3) @ before
    return whole * (np.sign(whole[2] @ [*a[0], 1.0]) or 1.0) / np.linalg.norm(whole)


def placed(plane: Array, points: Array) -> Array:
    """Where points (n, 2) are on the other side; NaN beyond the horizon."""
    there = np.c_[points, np.ones(len(points))] @ plane.T
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = np.where(there[:, 2:] > 1e-9, there[:, :2] / there[:, 2:], np.nan)
    return found


def back(plane: Array) -> Array:
    """The way from metres to shares."""
    inverse: Array = np.linalg.inv(plane)
    return inverse


def _usual(points: Array) -> tuple[Array, float]:
    """Their middle, and the factor that makes them about 1 apart from it."""
    middle = points.mean(0)
    return middle, float(np.sqrt(2) / np.maximum(np.hypot(*(points - middle).T).mean(), 1e-12))


def _extent(points: Array) -> float:
    return float(np.hypot(*np.ptp(points, axis=0)))


def _thin(points: Array) -> str:
    """Why these points span nothing, in words; empty where they do."""
    size = _extent(points) ** 2
    for i, j in combinations(range(len(points)), 2):
        if np.hypot(*(points[i] - points[j])) ** 2 < 1e-6 * size or size == 0:
            return f"points: numbers {i + 1} and {j + 1} are one"
    spans = {}
    for three in combinations(range(len(points)), 3):
        first, second = points[three[1]] - points[three[0]], points[three[2]] - points[three[0]]
        spans[three] = abs(float(first[0] * second[1] - first[1] * second[0]))
    if len(points) == LEAST and min(spans.values()) < THIN * size:
        which = ", ".join(str(i + 1) for i in min(spans, key=lambda one: spans[one]))
        return f"points: numbers {which} of {LEAST} lie on a line"
    return "points: all of them lie on a line" if max(spans.values()) < THIN * size else ""
