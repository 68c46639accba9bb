"""The marks of the own lane: where they run, and so where the road goes.

A mark is brighter than the road on both of its sides, and as wide as marks are at its row. On a flat straight road all
of its pixels lie as far across; so a histogram of that has a peak for each mark, and the spot ahead is where the peaks
are sharpest. Works where marks are to be seen: by day, or in the own headlights; a worn or snowed road has none, and
then nothing is told. Pictures are (h, w) uint8 grey.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from agent.core.frame import Array

from .camera import Lens

MARK = 0.15  # m, width of a mark
ROWS = 90  # of the picture that are looked at, at most
FIRST = 25.0  # m ahead, where the looking begins
BRIGHTER = 14.0  # grey levels than the road beside it
UNLIKE = 4.0  # usual differences in that row, that it is brighter
STRONG = 0.2  # of the pixels of the best mark, that one has at least
SIDES = 5.0  # m across, to either side
CELL = 0.025  # m, of the road as it is looked at
BIN = 0.1  # m
FEWEST = 25  # pixels of marks, to tell anything
LEAST = 0.12  # of the looked-at rows that show a mark
NEAR, WIDEST = 0.4, 3.0  # m across, where the marks of the own lane lie, from the camera
REACH = 40  # px of a picture of 640, by which the spot is looked for
FINE = 4.0  # px between two spots that are tried
LINES = 4  # marks, at most
STRAIGHT = 1.2  # px that a mark's pixels scatter about its line
MEET = 4.0  # px that a mark misses the spot by
SHADOW = 0.15  # of a thing's size, around it and below
CROSS = 0.6  # by which the slopes of marks differ at least, px a row
ALL = 0.4  # of all pixels that look like marks, that lie on the lines
SURE = 0.006  # rad, of a spot that marks tell: curves, ruts. project


class Marks(NamedTuple):
    """Of the own lane, m to the right of the camera; NaN where none is seen."""

    left: float
    right: float


class Line(NamedTuple):
    """A mark: the line x = a + b y through its pixels."""

    a: float  # px
    b: float
    many: float  # pixels on it
    error: float  # px that they scatter about it


def pixels(grey: Array, lens: Lens, things: Sequence[Sequence[float]] = ()) -> tuple[Array, Array]:
    """Where pixels of marks are: columns and rows, px. things: boxes, px, of what stands on the road and hides it."""
    h, w = grey.shape
    first = lens.y + lens.focal * lens.height / FIRST
    rows = np.unique(np.linspace(first, h - 2, ROWS).astype(int))
    rows = rows[(rows > lens.y + 2) & (rows < h)]
    if not len(rows):
        return np.zeros(0), np.zeros(0)
    metres = np.arange(-SIDES, SIDES, CELL, dtype=np.float32)
    px = np.float32(lens.x) + metres * ((rows - lens.y) / lens.height).astype(np.float32)[:, None]
    py = np.broadcast_to(rows.astype(np.float32)[:, None], px.shape).copy()
    flat = cv2.remap(grey, px, py, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    wide, step = round(MARK / CELL), round(2 * MARK / CELL)
    smooth = cv2.blur(flat.astype(np.float32), (wide, 1))
    over = smooth[:, step:-step] - np.maximum(smooth[:, : -2 * step], smooth[:, 2 * step :])
    usual = 1.4826 * np.median(np.abs(over[:, ::3] - np.median(over[:, ::3], axis=1, keepdims=True)), axis=1)
    least = np.maximum(BRIGHTER, UNLIKE * usual)[:, None]
    middle = over[:, 1:-1]
    peak = (middle > least) & (middle >= over[:, :-2]) & (middle > over[:, 2:])
    inside = px[:, step + 1 : -step - 1]
    peak &= (inside > 1) & (inside < w - 2)
    i, j = np.nonzero(peak)
    x, y = inside[i, j].astype(float), rows[i].astype(float)
    free = np.ones(len(x), bool)
    for x1, y1, x2, y2 in things:  # with its shadow
        aside, below = SHADOW * (x2 - x1), SHADOW * (y2 - y1)
        free &= ~((x > x1 - aside) & (x < x2 + aside) & (y > y1) & (y < y2 + below))
    return x[free], y[free]


def across(x: Array, y: Array, lens: Lens) -> Array:
    """m to the right of the camera, of pixels on the road."""
    metres: Array = (x - lens.x) * lens.height / np.maximum(y - lens.y, 1.0)
    return metres


def lines(x: Array, y: Array, lens: Lens) -> list[Line]:
    """The marks in these pixels; nothing where most of the pixels are no marks.

    First roughly where they meet, where the histogram is sharpest; then lines through the pixels of its peaks.
    """
    if len(x) < FEWEST:
        return []
    best, spot = 0.0, lens
    for dy in _about(lens.focal * lens.doubt_y, 0.4 * REACH * lens.x / 320.0):
        for dx in _about(lens.focal * lens.doubt_x, REACH * lens.x / 320.0):
            moved = lens._replace(x=lens.x + dx, y=lens.y + dy)
            sharp = float(np.sort(_histogram(across(x, y, moved)))[-4:].sum()) - 1e-3 * (abs(dx) + abs(dy))
            if sharp > best:
                best, spot = sharp, moved
    where, found = across(x, y, spot), list[Line]()
    counts = _histogram(where)
    rows = len(np.unique(y))
    for _ in range(LINES):
        i = int(np.argmax(counts))
        if counts[i] < LEAST * rows / 2:
            break
        counts[max(0, i - 5) : i + 6] = 0
        line = _line(x, y, np.abs(where + SIDES - (i + 0.5) * BIN) < 2.5 * BIN, LEAST * rows)
        if line is not None and line.error < STRAIGHT:
            found.append(line)
    return found if sum(line.many for line in found) >= ALL * len(x) else []


def ahead(found: Sequence[Line], lens: Lens) -> tuple[float, float] | None:
    """Where the marks meet, px; None where two good ones are not to be seen."""
    if len(found) < 2 or np.ptp([line.b for line in found]) < CROSS:
        return None
    a, b, many, _ = (np.array(column) for column in zip(*found, strict=True))
    heavy = many[:, None] * np.stack([np.ones(len(b)), -b], 1)
    x, y = np.linalg.lstsq(heavy, many * a, rcond=None)[0]
    reach = REACH * lens.x / 320.0
    if abs(x - lens.x) > 2 * reach or abs(y - lens.y) > reach or np.max(np.abs(a + b * y - x)) > MEET:
        return None
    return float(x), float(y)


def marks(found: Sequence[Line], lens: Lens) -> Marks:
    """The nearest marks on both sides of the camera, of those that lead to where it drives."""
    least = STRONG * max((line.many for line in found), default=0.0)
    lead = [line for line in found if line.many >= least and abs(line.a + line.b * lens.y - lens.x) < 2 * MEET]
    there = [line.b * lens.height for line in lead]
    left = [one for one in there if -WIDEST < one < -NEAR]
    right = [one for one in there if NEAR < one < WIDEST]
    return Marks(max(left, default=math.nan), min(right, default=math.nan))


def _about(doubt: float, most: float) -> Array:
    """Where to look, px from where it is thought to be."""
    reach = min(most, 3 * doubt + FINE)
    n = math.ceil(reach / FINE)
    return np.linspace(-reach, reach, 2 * n + 1)


def _histogram(where: Array) -> Array:
    """How many pixels lie in each BIN across."""
    bins = ((where[np.abs(where) < SIDES] + SIDES) / BIN).astype(np.intp)
    return np.bincount(bins, minlength=round(2 * SIDES / BIN))


def _line(x: Array, y: Array, use: Array, least: float) -> Line | None:
    """The line through most of these pixels."""
    x, y = x[use], y[use]
    if len(x) < max(least, 8) or np.ptp(y) < 10:
        return None
    heavy = np.ones(len(x))
    rows = np.stack([np.ones(len(y)), y], 1)
    for _ in range(6):
        (a, b), *_ = np.linalg.lstsq(rows * heavy[:, None], x * heavy, rcond=None)
        off = x - a - b * y
        heavy = 1 / (1 + (off / (1.5 * STRAIGHT)) ** 2)
    fits = np.abs(off) < 2 * STRAIGHT
    if fits.sum() < max(least, 8):
        return None
    return Line(float(a), float(b), float(fits.sum()), float(np.sqrt(np.mean(off[fits] ** 2))))
