"""By how much a thing has grown from one picture to another, to a fraction of a pixel.

The edges of a box jump by pixels; the texture inside does not. So the patch of the earlier picture is laid onto the
later one by direct alignment (Lucas and Kanade 1981, inverse compositional after Baker and Matthews 2004): size, place,
contrast and brightness are found together, by least squares in which pixels that do not fit count less. It begins on
halved pictures, so that it may start some pixels off.

Pictures are (h, w) grey, float32 or uint8. Boxes are (x1, y1, x2, y2) in pixels; the middle of the first pixel is at
0, 0.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from agent.core.frame import Array

PIXELS = 48 * 48  # of a patch that are looked at, at most
SMALLEST = 12.0  # px of the longer side on the coarsest picture
LEAST = 8  # px of a side, below which nothing is said
PLAIN = 0.5  # of the scatter, that a residual may be: where most of a thing is plain its few edges tell the size
SPARE = 5  # of so many pixels one tells the usual residual
TURNS = 20
STILL = 3e-4  # change of the logarithm of the size, and of the place by the patch's size, at which it has settled
ROUGH = 2.5  # usual residuals beyond which a pixel counts less
ALIKE = 0.8  # correlation of what was laid onto the later picture with what is there, below which it is something else

Box = tuple[float, float, float, float]


class Aligned(NamedTuple):
    """Where a patch is found again."""

    grown: float  # log of its size now by its size then
    dx: float  # px that its middle moved
    dy: float
    error: float  # standard error of `grown`, as the scatter of the pixels tells it
    alike: float  # correlation, -1 to 1


Start = tuple[float, float, float]  # grown, dx, dy


def inner(box: Box, margin: float) -> Box:
    """The box without a share of its sides at each edge: background does not grow like the thing.

    >>> inner((0.0, 0.0, 10.0, 20.0), 0.1)
    (1.0, 2.0, 9.0, 18.0)
    """
    x1, y1, x2, y2 = box
    w, h = margin * (x2 - x1), margin * (y2 - y1)
    return x1 + w, y1 + h, x2 - w, y2 - h


def aligned(before: Array, box: Box, now: Array, start: Start = (0.0, 0.0, 0.0), rough: bool = True) -> Aligned | None:
    """Where the patch `box` of the picture `before` is in `now`; None where it is not found again.

    start: what is expected; rough: that may be some pixels off, else it is nearly right.
    """
    size = max(box[2] - box[0], box[3] - box[1])
    if min(box[2] - box[0], box[3] - box[1]) < LEAST:
        return None
    levels = max(0, int(np.log2(size / SMALLEST))) if rough else 0
    pictures = [(before, now)]
    for _ in range(levels):
        pictures.append((halved(pictures[-1][0]), halved(pictures[-1][1])))
    found: Aligned | None = None
    for level in reversed(range(levels + 1)):
        by = 2.0**level
        x1, y1, x2, y2 = ((side + 0.5) / by - 0.5 for side in box)
        grown, dx, dy = start
        found = _laid(*pictures[level], (x1, y1, x2, y2), (grown, dx / by, dy / by))
        if found is None:
            return None
        start = found.grown, found.dx * by, found.dy * by
    return found if found is not None and found.alike >= ALIKE else None


def halved(picture: Array) -> Array:
    """Means of two by two pixels, float32."""
    h, w = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
    half: Array = cv2.resize(np.float32(picture[:h, :w]), (w // 2, h // 2), interpolation=cv2.INTER_AREA)
    return half


def seen_at(picture: Array, x: Array, y: Array) -> Array:
    """What is seen between pixels, to 1/32 of them; beyond the edge what is seen at the edge. x, y (h, w) float32."""
    there: Array = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return there


def _laid(before: Array, now: Array, box: Box, start: Start) -> Aligned | None:
    """The same on one size of pictures."""
    x1, y1, x2, y2 = map(float, box)
    w, h, cx, cy = x2 - x1, y2 - y1, (x1 + x2) / 2, (y1 + y2) / 2
    dense = min(1.0, float(np.sqrt(PIXELS / (w * h))))
    gx, gy = (np.linspace(-side / 2, side / 2, max(LEAST, int(side * dense)), dtype=np.float32) for side in (w, h))
    gx, gy = np.meshgrid(gx, gy)
    x, y, e = cx + gx, cy + gy, 0.5 / dense
    patch = seen_at(before, x, y)
    tx = (seen_at(before, x + e, y) - seen_at(before, x - e, y)) / (2 * e)
    ty = (seen_at(before, x, y + e) - seen_at(before, x, y - e)) / (2 * e)
    ones = np.ones_like(patch)
    steep = np.stack([one.ravel() for one in (tx * gx + ty * gy, tx, ty, patch, ones)])  # size, place, contrast, light
    (grown, dx, dy), gain, shift, size = start, 1.0, 0.0, max(w, h)
    for _ in range(TURNS):
        by = np.float32(np.exp(grown))
        there = seen_at(now, np.float32(cx + dx) + by * gx, np.float32(cy + dy) + by * gy)
        off = (there - np.float32(gain) * patch - np.float32(shift)).ravel()
        some = off[::SPARE]
        usual = max(1.4826 * float(np.median(np.abs(some))), PLAIN * float(some.std())) + 1e-3
        weighed = steep / (1 + (off / np.float32(ROUGH * usual)) ** 2)
        square = (weighed @ steep.T).astype(float)
        try:
            step = np.linalg.solve(square, (weighed @ off).astype(float))
        except np.linalg.LinAlgError:
            return None  # nothing to hold on to
        grown, dx, dy = grown - float(step[0]), dx - float(by * step[1]), dy - float(by * step[2])
        gain, shift = gain + float(step[3]), shift + float(step[4])
        if not abs(grown - start[0]) < 1.0 or not max(abs(dx - start[1]), abs(dy - start[2])) < size:
            return None  # it ran away
        if abs(step[0]) < STILL and max(abs(step[1]), abs(step[2])) < STILL * size:
            break
    error = usual * float(np.sqrt(max(np.linalg.inv(square)[0, 0], 0.0)))
    spread = float(patch.std() * there.std())
    alike = float(((patch - patch.mean()) * (there - there.mean())).mean()) / spread if spread > 0 else 0.0
    return Aligned(grown, dx, dy, error, alike)
