"""What a net says, as boxes: one pure function for each family of nets, in numpy.

A function gets the outputs in the net's order, the size (height, width) of what the net was shown, and the least score;
it returns what reaches that, in pixels of what was shown, overlaps and all. It raises `ValueError` in words where the
outputs do not have the shape of its family. Edges lie between pixels: a box over the whole of w pixels is from 0 to w.

    yolox      (1, N, 5 + K): x, y, log w, log h in strides from the cell's corner; object; K classes; strides 8, 16, 32
               and, where the rows are as many, 64. As exported with its raw grid. Ge et al. 2021, arXiv 2107.08430.
    nanodet    for each stride classes (1, N, K) and four distributions of 8 bins (1, N, 32) of the distances left, top,
               right, bottom in strides; or all of it as one (1, N, K + 32). With strides 8, 16, 32 from the middle of
               the cell, with 64 too (NanoDet-Plus) from its corner. Li et al. 2020, arXiv 2006.04388.
    yunet      for each of the strides 8, 16, 32 class (1, N, 1), object (1, N, 1), box (1, N, 4) as in yolox and five
               points (1, N, 10) in strides from the cell's corner. Wu et al. 2023, Machine Intelligence Research 20.
    fastestdet (1, 5 + K, H, W): object; tanh of the offset from the cell's corner in cells; logit of width and height
               as shares of the whole; K classes. The score is object^0.6 x class^0.4.
    centre     (1, K + 4, H, W): K scores 0 to 1, then the logarithm of the distances from the middle of the cell to
               left, top, right, bottom, in strides. Only a score that none of its eight neighbours exceeds is told.
               After Zhou et al. 2019, arXiv 1904.07850, with distances as in Tian et al. 2019, arXiv 1904.01355.
    face       (1, 13, H, W): score 0 to 1; logarithm of the side of a square about the face, by 40 px; five points x, y
               from the middle of the cell, in 40 px, where 0 is the middle of the first pixel; one more, which is not
               read. Peaks are told as in centre.

What a net says of a crop, which is no box, is read in `answer.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from agent.core.frame import Array

STRIDES = ((8, 16, 32), (8, 16, 32, 64))
BINS = 8  # of a distribution
FAR = 20.0  # a logarithm beyond which a size is one of nothing that is seen; keeps numbers finite
FACE = 40.0  # px, unit of a net of faces
MOST = 400  # things that are compared with one another, best first


class Raw(NamedTuple):
    """What was found before overlaps are sorted out."""

    score: Array  # (n,) 0 to 1
    label: Array  # (n,) number of the class
    box: Array  # (n, 4) x1, y1, x2, y2 px of what was shown
    points: Array  # (n, p, 2) px


Size = tuple[int, int]  # height, width
Decode = Callable[[Sequence[Array], Size, float], Raw]


def yolox(outputs: Sequence[Array], size: Size, least: float) -> Raw:
    rows = _rows(_alone(outputs), "yolox", 6)
    x, y, stride = grid(size, strides(len(rows), size))
    keep = np.flatnonzero(rows[:, 4] >= least)  # no class can make it more
    rows = rows[keep]
    label = rows[:, 5:].argmax(axis=1)
    score = rows[:, 4] * rows[np.arange(len(rows)), 5 + label]
    good = score >= least
    rows, keep = rows[good], keep[good]
    return Raw(score[good], label[good], _cornered(rows[:, :4], x[keep], y[keep], stride[keep]), _none(len(keep)))


def nanodet(outputs: Sequence[Array], size: Size, least: float) -> Raw:
    width = 4 * BINS
    if len(outputs) == 1:
        rows = _rows(outputs[0], "nanodet", width + 1)
        classes, bins = rows[:, :-width], rows[:, -width:]
    else:
        levels = _levels(outputs, "nanodet", 2)
        for one in levels:
            one.sort(key=lambda rows: rows.shape[1] == width)  # stable: distances come last where all are as wide
            if one[1].shape[1] != width:
                raise ValueError(f"a nanodet gives distances in {width} columns, not {one[1].shape[1]}")
        classes, bins = (np.concatenate([one[i] for one in levels]) for i in (0, 1))
    steps = strides(len(classes), size)
    x, y, stride = grid(size, steps)
    middle = 0.5 if len(steps) == 3 else 0.0
    best = classes.max(axis=1)
    keep = np.flatnonzero(best >= least)
    odds = bins[keep].reshape(-1, 4, BINS)
    odds = np.exp(odds - odds.max(axis=2, keepdims=True))
    away = (odds @ np.arange(BINS)) / odds.sum(axis=2)
    x, y, stride = x[keep] + middle, y[keep] + middle, stride[keep]
    return Raw(best[keep], classes[keep].argmax(axis=1), _around(away, x, y, stride), _none(len(keep)))


def yunet(outputs: Sequence[Array], size: Size, least: float) -> Raw:
    levels = _levels(outputs, "yunet", 4)
    for one in levels:
        one.sort(key=lambda rows: rows.shape[1])  # class and object may change places: they are multiplied
        if [rows.shape[1] for rows in one] != [1, 1, 4, 10]:
            raise ValueError("a yunet gives 1, 1, 4 and 10 columns at each stride")
    sure, thing, boxes, points = (np.concatenate([one[i] for one in levels]) for i in range(4))
    x, y, stride = grid(size, strides(len(sure), size))
    score = np.sqrt(np.clip(sure[:, 0], 0, 1) * np.clip(thing[:, 0], 0, 1))
    keep = np.flatnonzero(score >= least)
    x, y, stride = x[keep], y[keep], stride[keep]
    spots = points[keep].reshape(-1, 5, 2)
    spots = (spots + np.stack([x, y], axis=1)[:, None]) * stride[:, None, None]
    return Raw(score[keep], np.zeros(len(keep), np.intp), _cornered(boxes[keep], x, y, stride), spots)


def fastestdet(outputs: Sequence[Array], size: Size, least: float) -> Raw:
    maps = _maps(_alone(outputs), "fastestdet", 6)
    h, w = maps.shape[1:]
    rows = maps.reshape(len(maps), -1)
    label = rows[5:].argmax(axis=0)
    sure = np.clip(rows[5 + label, np.arange(h * w)], 0, 1)
    score = np.clip(rows[0], 0, 1) ** 0.6 * sure**0.4
    keep = np.flatnonzero(score >= least)
    part = rows[1:5, keep]
    x = (keep % w + np.tanh(part[0])) / w * size[1]
    y = (keep // w + np.tanh(part[1])) / h * size[0]
    wide, high = (side / (1 + np.exp(-np.clip(v, -FAR, FAR))) / 2 for v, side in zip(part[2:], size[::-1], strict=True))
    return Raw(score[keep], label[keep], np.stack([x - wide, y - high, x + wide, y + high], axis=1), _none(len(keep)))


def centre(outputs: Sequence[Array], size: Size, least: float) -> Raw:
    maps = _maps(_alone(outputs), "centre", 5)
    h, w = maps.shape[1:]
    heat, away = maps[:-4], maps[-4:]
    score, label, row, column = _peaks(heat, least)
    left, above, right, below = np.exp(np.clip(away[:, row, column], -FAR, FAR))
    sx, sy = size[1] / w, size[0] / h
    x, y = column + 0.5, row + 0.5
    box = np.stack([(x - left) * sx, (y - above) * sy, (x + right) * sx, (y + below) * sy], axis=1)
    return Raw(score, label, box, _none(len(score)))


def face(outputs: Sequence[Array], size: Size, least: float) -> Raw:
    maps = _maps(_alone(outputs), "face", 13)
    if len(maps) != 13:
        raise ValueError(f"a net of faces gives 13 maps, not {len(maps)}")
    h, w = maps.shape[1:]
    score, label, row, column = _peaks(maps[:1], least)
    middle = np.stack([(column + 0.5) * (size[1] / w), (row + 0.5) * (size[0] / h)], axis=1)
    points = middle[:, None] + 0.5 + FACE * maps[2:12, row, column].T.reshape(-1, 5, 2)
    half = FACE / 2 * np.exp(np.clip(maps[1, row, column], -FAR, FAR))[:, None]
    about = (points[:, :2].mean(axis=1) + points[:, 3:].mean(axis=1)) / 2  # between eyes and mouth
    return Raw(score, label, np.concatenate([about - half, about + half], axis=1), points)


FAMILIES: dict[str, Decode] = {
    "yolox": yolox,
    "nanodet": nanodet,
    "yunet": yunet,
    "fastestdet": fastestdet,
    "centre": centre,
    "face": face,
}


def best(raw: Raw, kinds: Sequence[str], overlap: float) -> Array:
    """(k,) numbers of the rows to be told, best first: those of a kind, one for each thing, with real numbers.

    kinds: of the classes; two of one kind that overlap by more than `overlap` are one thing, the better one.
    """
    names = [kind for kind in dict.fromkeys(kinds) if kind]
    of = np.array([names.index(kind) if kind else -1 for kind in kinds])
    label = raw.label.astype(np.intp)
    kind = np.where(label < len(of), of[np.minimum(label, len(of) - 1)], -1)
    wide, high = raw.box[:, 2] - raw.box[:, 0], raw.box[:, 3] - raw.box[:, 1]
    real = np.isfinite(raw.box).all(axis=1) & np.isfinite(raw.points).all(axis=(1, 2)) & (wide > 0) & (high > 0)
    rows = np.flatnonzero((kind >= 0) & real)
    rows = rows[np.argsort(-raw.score[rows], kind="stable")][:MOST]
    box, kind, area = raw.box[rows], kind[rows], (wide * high)[rows]
    told = []
    left = np.arange(len(rows))
    while len(left):
        i, left = left[0], left[1:]
        told.append(rows[i])
        x = np.minimum(box[i, 2], box[left, 2]) - np.maximum(box[i, 0], box[left, 0])
        y = np.minimum(box[i, 3], box[left, 3]) - np.maximum(box[i, 1], box[left, 1])
        both = np.maximum(x, 0) * np.maximum(y, 0)
        left = left[(both <= overlap * (area[i] + area[left] - both)) | (kind[left] != kind[i])]
    return np.array(told, np.intp)


def strides(rows: int, size: Size) -> tuple[int, ...]:
    """Of the grids that have so many cells together.

    >>> strides(3549, (416, 416))
    (8, 16, 32)
    """
    for one in STRIDES:
        if sum(-(-size[0] // s) * -(-size[1] // s) for s in one) == rows:
            return one
    raise ValueError(f"{rows} rows are not the cells of strides 8, 16, 32 (and 64) over {size[1]} x {size[0]} pixels")


@lru_cache(maxsize=8)
def grid(size: Size, steps: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """(n,) column, row and stride of each cell, stride after stride, row after row."""
    parts = []
    for s in steps:
        h, w = -(-size[0] // s), -(-size[1] // s)
        y, x = np.mgrid[:h, :w].astype(np.float32)
        parts.append((x.ravel(), y.ravel(), np.full(h * w, s, np.float32)))
    x, y, stride = (np.concatenate(column) for column in zip(*parts, strict=True))
    return x, y, stride


def _cornered(rows: Array, x: Array, y: Array, stride: Array) -> Array:
    """(n, 4) boxes out of offsets from the cell's corner and logarithms of the sides."""
    middle_x, middle_y = (rows[:, 0] + x) * stride, (rows[:, 1] + y) * stride
    wide, high = (np.exp(np.minimum(rows[:, 2:4], FAR)) * (stride / 2)[:, None]).T
    return np.stack([middle_x - wide, middle_y - high, middle_x + wide, middle_y + high], axis=1)


def _around(away: Array, x: Array, y: Array, stride: Array) -> Array:
    """(n, 4) boxes out of the distances to left, top, right, bottom; all in strides."""
    sides = np.stack([x - away[:, 0], y - away[:, 1], x + away[:, 2], y + away[:, 3]], axis=1)
    boxes: Array = sides * stride[:, None]
    return boxes


def _peaks(heat: Array, least: float) -> tuple[Array, Array, Array, Array]:
    """Score, label, row and column of what reaches `least` in (K, h, w), and none of its eight neighbours exceeds."""
    label, row, column = np.nonzero(heat >= least)
    edged = np.pad(heat, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    score = heat[label, row, column]
    around = [edged[label, row + 1 + i, column + 1 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    top = score >= np.max(around, axis=0)
    return score[top], label[top], row[top], column[top]


def _none(n: int) -> Array:
    return np.empty((n, 0, 2), np.float32)


def _alone(outputs: Sequence[Array]) -> Array:
    if len(outputs) != 1:
        raise ValueError(f"{len(outputs)} outputs instead of one")
    return outputs[0]


def _rows(output: Array, family: str, least: int) -> Array:
    if output.ndim != 3 or output.shape[0] != 1 or output.shape[2] < least:
        raise ValueError(f"a {family} gives (1, cells, {least} or more), not {output.shape}")
    rows: Array = output[0]
    return rows


def _maps(output: Array, family: str, least: int) -> Array:
    if output.ndim != 4 or output.shape[0] != 1 or output.shape[1] < least:
        raise ValueError(f"a {family} gives (1, {least} or more, rows, columns), not {output.shape}")
    maps: Array = output[0]
    return maps


def _levels(outputs: Sequence[Array], family: str, each: int) -> list[list[Array]]:
    """The outputs of each stride together, finest first, in the net's order."""
    by: dict[int, list[Array]] = {}
    for output in outputs:
        rows = _rows(output, family, 1)
        by.setdefault(len(rows), []).append(rows)
    if any(len(one) != each for one in by.values()):
        raise ValueError(f"a {family} gives {each} outputs at each stride, not {[list(o.shape) for o in outputs]}")
    return [by[n] for n in sorted(by, reverse=True)]
