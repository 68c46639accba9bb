"""What made the nets for eyes and mouths that ship: whether an eye is closed, how far a mouth is open.

    python -m models.training.eyes --data ../shared/data/vision --cache /tmp/eyes --more DIR --makehuman DIR
    python -m models.training.eyes ... --net eye --start /tmp/eyes/eye-stage1.pt --stage 2

Needs beside this program: torch (CPU), onnx; for the heads numba. Fixed seeds: the same data gives about the same
nets; torch does not promise the same bits on another processor. Several may draw at once: `--draw --first N`.

Data: eyes and mouths drawn here, one by one, in every light, through many cameras (colour and near infrared), with and
without glasses; and heads rendered by `models/training/heads.py` out of MakeHuman's characters (CC0). What mirrors in
glasses, what is behind, and what is no eye is cut out of real pictures without faces near: driver_gopro (CC BY 4.0),
the motorway of udacity/CarND-LaneLines-P1 @ ce5681b (MIT), and the folder `--more`; for what ships china, flower of
scikit-learn 1.9.1 (CC BY 2.0) and brick, grass, gravel, coffee, chelsea, camera, rocket of scikit-image 0.26.0 (CC0,
public domain). No picture of a real eye or mouth is trained on. How much of what, at which rate and for how long is
`STAGES`. The drawing grew with the stages of what ships: `eye-drawn` has no folds close above shut lids and counts
reflections as hiding less, `eye-lashes` has the folds in its second half only, and the first two stages asked also of
narrow gaps whether they are closed. One go with all of it from the start has not been tried.

The nets: grey 0 to 255, (n, 1, 32, 32) float32 `crop`; they take out brightness and contrast themselves, and tell the
mean of a crop and its mirror image. `u` is the distance of the eyes' middles as it is from the front.

    eye    square of 0.78 u about the middle of an eye, level -> (n, 3): logit that it is closed (opening up to 0.2),
           opening (0 shut, 1 as usual), logit that it cannot be judged (dark or mirroring glass, hair, a hand, no eye)
    mouth  square of 1.5 u, level, its middle 0.15 u below the middle between the mouth's corners -> (n, 2): opening
           (0 shut, 1 the widest yawn: 0.62 u between the lips), logit that it cannot be judged
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models import runtime

Array = NDArray[Any]
Rng = np.random.Generator

SIDE = 32  # px of what a net is shown
WIDTH = 0.4727  # eye distances, of an eye from corner to corner
EYE = 1.65  # eye widths, side of an eye's crop
MOUTH = 1.5  # eye distances, side of a mouth's crop
BELOW = 0.15  # eye distances from between the mouth's corners down to the middle of the crop
YAWN = 0.62  # eye distances between the lips at the widest yawn
SHUT = 0.2  # opening up to which an eye is closed: P80
NEAR = 0.03  # opening, over which closed becomes open in what is taught
NARROW = 0.08  # opening about it, over which only the opening is asked for, not whether it is closed
DOUBT = 0.015  # share of labels that may be wrong
FLAT = 1.5  # grey levels, added to the contrast that is taken out: noise is not blown up
CANVAS = 128  # px of what is drawn
WIDE = 2.8  # units across it: eye widths, of a mouth eye distances
GAPS = (0.12, 0.6)  # openings of rendered eyes between which a look does not tell how open they are
LOOKS = 4  # at everything that is drawn or rendered
EACH = 500  # drawings a file
PERSONS, MOODS = 25, 6  # a file
FILES = {  # that are trained on; the one after is for figures
    "eye": {"drawn": 26, "heads": 8, "glass": 16, "lashes": 15},
    "mouth": {"drawn": 16, "heads": 8},
}
BATCH = 192
KEEP = 0.998  # share of itself that the mean of the weights keeps at a step

Y, X = (((np.mgrid[:CANVAS, :CANVAS] + 0.5) / CANVAS - 0.5) * WIDE).astype(np.float32)
PX = WIDE / CANVAS
ROW = X[0]


class Stage(NamedTuple):
    """A part of the training: the rate falls along a cosine."""

    steps: int
    rate: float  # of AdamW, at its height
    seed: int
    heads: float = 0.0  # share of rendered heads
    glass: float = 0.0  # of drawn eyes behind glasses of every kind
    lashes: float = 0.0  # of drawn eyes with long lashes, most of them shut; the rest is what is drawn as it comes
    mean: bool = False  # whether it goes on from the mean of the weights of all stages before, not from the last


STAGES = {  # what is drawn is the more various, what is rendered the more real; then what was weak
    "eye": (
        Stage(4000, 3e-3, 1),
        Stage(4000, 1.5e-3, 2, 0.15, 0.25),
        Stage(4000, 1.2e-3, 3, 0.1, 0.3, 0.25),
        Stage(5000, 8e-4, 4, 0.12, 0.25, 0.2, mean=True),
        Stage(4000, 1e-3, 5, 0.1, 0.2, 0.35, mean=True),
    ),
    "mouth": (Stage(2500, 3e-3, 1), Stage(1500, 1.5e-3, 2, 0.35)),
}


class Drawn(NamedTuple):
    """One eye or mouth as it was drawn."""

    image: Array  # (CANVAS, CANVAS) float32, 0 black to 1 white, may exceed it
    opening: float
    seen: float  # 0 to 1, how much of it is to be seen


# -- strokes and light ----------------------------------------------------------------------------


def step(x: Array, soft: float) -> Array:
    """0 below, 1 above zero, over `soft`."""
    out: Array = np.clip(0.5 + x / max(soft, PX), 0, 1)
    return out


def bump(x: Array, width: float) -> Array:
    out: Array = np.exp(-((x / width) ** 2))
    return out


def cloud(rng: Rng, size: float, n: int = CANVAS) -> Array:
    """(n, n) smooth noise, mean 0 and deviation 1, of blots about `size` px wide."""
    k = max(2, round(n / size) + 2)
    blots = cv2.resize(rng.normal(0, 1, (k, k)).astype(np.float32), (n, n), interpolation=cv2.INTER_CUBIC)
    out: Array = (blots - blots.mean()) / (blots.std() + 1e-6)
    return out


def light(rng: Rng, hard: float = 0.35) -> Array:
    """Light over the face: a slope, blots, sometimes the edge of a shadow. Mean about 1."""
    slope = rng.normal(0, hard, 2)
    field = slope[0] * X + slope[1] * Y + rng.uniform(0, 0.18) * cloud(rng, 60) + rng.uniform(0, 0.08) * cloud(rng, 25)
    if rng.random() < 0.22:
        angle, at = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.6)
        edge = np.cos(angle) * X + np.sin(angle) * Y - at + rng.uniform(0, 0.2) * bump(X - rng.normal(0, 0.7), 0.4)
        field = field - rng.uniform(0.2, 1.4) * step(edge, rng.uniform(0.03, 0.7))
        if rng.random() < 0.3:  # a band of it
            field = field + rng.uniform(0.2, 1.0) * step(edge - rng.uniform(0.3, 1.0), rng.uniform(0.03, 0.4))
    out: Array = np.exp(np.clip(field, -2.2, 1.2))
    return out


def strokes(rng: Rng, rows: list[tuple[float, float, float, float, float]], thick: float) -> Array:
    """(CANVAS, CANVAS) 0 to 1: hairs, each from x, y by dx, dy with a bend; in eye widths."""
    page = np.zeros((CANVAS, CANVAS), np.uint8)
    t = np.linspace(0, 1, 4)
    for x, y, dx, dy, bend in rows:
        px = x + dx * t - bend * dy * t * (1 - t) * 2
        py = y + dy * t + bend * dx * t * (1 - t) * 2
        points = np.stack([px, py], 1) / PX + CANVAS / 2
        cv2.polylines(page, [np.round(points * 16).astype(np.int32)], False, 255, 1, cv2.LINE_AA, 4)
    out: Array = page.astype(np.float32) / 255
    if thick > 1:
        out = np.minimum(1, cv2.GaussianBlur(out, (0, 0), 0.35 * thick) * thick)
    return out


# -- an eye ---------------------------------------------------------------------------------------


def eye(rng: Rng, opening: float, infrared: bool = False, lens: str = "", lashes: bool = False) -> Drawn:
    """An eye with its surroundings, the nose at the left.

    opening: 0 shut to 1.3 staring; lens: "" none, "clear", "glare" (its reflections may hide the eye), "dark",
    "mirror"; lashes: whether they are long, dense and painted.
    """
    t = 2 * ROW
    # the shape of the lids: corner line, how high they arch, how skew
    tilt, bend = rng.normal(0.06, 0.09), rng.normal(0.0, 0.07)
    high, low = rng.uniform(0.15, 0.36), rng.uniform(0.04, 0.17)
    if opening < 0.3 and rng.random() < 0.4:  # the lash line of a shut eye sags
        low = rng.uniform(0.1, 0.28)
    skew, skew_low = rng.normal(-0.05, 0.16), rng.normal(0.1, 0.16)
    power, power_low = rng.uniform(1.6, 2.8), rng.uniform(1.6, 3.0)
    base = -tilt * ROW - bend * (1 - np.clip(t, -1.6, 1.6) ** 2)
    arch = np.clip(1 - np.abs(np.clip(t - skew * (1 - t**2), -1, 1)) ** power, 0, 1)
    arch_low = np.clip(1 - np.abs(np.clip(t - skew_low * (1 - t**2), -1, 1)) ** power_low, 0, 1)
    whole_up, whole_low = base - high * arch, base + low * arch_low
    squeezed = abs(rng.normal(0, 0.12)) if rng.random() < 0.75 else rng.uniform(0.2, 0.6)
    meet = whole_low + (whole_up - whole_low) * squeezed * 0.8
    meet = meet + rng.normal(0, 0.02) * arch_low
    upper, lower = meet + (whole_up - meet) * opening, meet + (whole_low - meet) * opening
    gap = Y - upper, lower - Y
    soft = PX * rng.uniform(1, 2.5)
    ball = step(gap[0], soft) * step(gap[1], soft) * (np.abs(X) < 0.5) if opening > 0.02 else np.zeros_like(X)
    # skin
    tone = float(np.exp(rng.uniform(np.log(0.1), np.log(0.8)))) if not infrared else rng.uniform(0.35, 0.8)
    lit = light(rng, 0.2 if infrared else 0.35)
    skin = np.full_like(X, 1.0)
    skin *= 1 + rng.uniform(0, 0.05) * cloud(rng, 5) + rng.uniform(0, 0.05) * cloud(rng, 10)
    deep = rng.uniform(-0.05, 0.45)
    skin *= 1 - deep * bump(Y + rng.uniform(0.1, 0.3), 0.33) * bump(X + rng.uniform(0, 0.3), rng.uniform(0.5, 0.9))
    skin *= 1 - rng.uniform(-0.1, 0.45) * bump(X + rng.uniform(0.55, 0.75), 0.22) * bump(Y + 0.05, 0.35)  # by the nose
    nose = rng.uniform(0.75, 1.05)
    skin *= 1 + rng.uniform(-0.5, 0.5) * step(-X - nose + rng.normal(0, 0.2) * Y, rng.uniform(0.1, 0.5))
    # the ball under the lids
    away = np.stack([rng.normal(0, 0.5), rng.normal(-0.5, 0.4)])
    away /= max(1.0, float(np.hypot(*away)))
    bx, by = (X - 0.0) / 0.46, (Y + 0.06 + bend) / 0.42
    round_ = np.clip(1 - bx**2 - by**2, 0, 1)
    lids = np.clip(round_, 0, 1) ** 0.5
    bulge = bx * away[0] + by * away[1]
    skin *= 1 + rng.uniform(0.0, 0.45) * bulge * (lids > 0) * lids
    if rng.random() < 0.35:  # oily lids shine
        spot = bump(X - rng.normal(0, 0.15), rng.uniform(0.05, 0.2)) * bump(
            Y + rng.uniform(0.08, 0.28), rng.uniform(0.03, 0.1)
        )
        skin += rng.uniform(0.1, 0.7) * spot
    if rng.random() < 0.2:  # painted
        skin *= 1 - rng.uniform(0.1, 0.65) * bump(Y + 0.15, rng.uniform(0.08, 0.2)) * bump(X - 0.05, 0.5)
    # creases of the upper lid: they stay where they are when it falls
    if rng.random() < 0.75:
        for i in range(1 + (rng.random() < 0.25) + (rng.random() < 0.1)):
            rise = rng.uniform(0.02, 0.16) + 0.05 * i
            fold = np.minimum(whole_up, upper) - rise * (0.35 + arch) + rng.normal(0, 0.02)
            fold = fold + (1 - min(opening, 1.0)) * rng.uniform(-0.02, 0.06)
            reach = step(0.5 + rng.uniform(-0.1, 0.15) - np.abs(X), 0.25)
            line = bump(Y - fold, rng.uniform(0.013, 0.085))
            skin *= 1 - rng.uniform(0.05, 0.55) * line * reach
            skin *= 1 + rng.uniform(0, 0.2) * bump(Y - fold + 0.06, 0.04) * reach
    if (
        opening < 0.15 and rng.random() < 0.5
    ):  # the fold close above a shut lid; what bulges between shines as a ball would
        rise = rng.uniform(0.06, 0.24)
        fold = upper - rise * (0.4 + 0.6 * np.clip(1 - t**2, 0, 1)) * rng.uniform(0.7, 1.2)
        reach = step(rng.uniform(0.4, 0.6) - np.abs(X), 0.2)
        skin *= 1 - rng.uniform(0.15, 0.7) * bump(Y - fold, rng.uniform(0.012, 0.06)) * reach
        skin *= 1 + rng.uniform(0, 0.6) * bump(Y - (fold + upper) / 2, 0.4 * rise) * reach
    # bags, the groove from the inner corner, lines at the outer one
    for _ in range(rng.integers(0, 4)):
        fall = rng.uniform(0.08, 0.42)
        groove = base + low * arch_low + fall * (0.6 + 0.4 * np.clip(1 - t**2, -1, 1)) + rng.normal(0, 0.12) * ROW
        reach = step(rng.uniform(0.3, 0.75) - np.abs(X - rng.normal(0, 0.2)), 0.3)
        skin *= 1 - rng.uniform(-0.12, 0.3) * bump(Y - groove, rng.uniform(0.012, 0.09)) * reach
    for _ in range(rng.integers(0, 5) if rng.random() < 0.35 else 0):
        slope = rng.normal(0, 0.5)
        line = bump(Y + tilt * X - slope * (X - 0.5) - rng.normal(0, 0.03), rng.uniform(0.008, 0.025))
        near = step(X - rng.uniform(0.5, 0.65), 0.1) * step(rng.uniform(0.7, 1.0) - X, 0.15)
        skin *= 1 - rng.uniform(0.05, 0.35) * line * near
    if rng.random() < 0.35:  # crumpled skin
        waves = cv2.GaussianBlur(cloud(rng, 3), (0, 0), sigmaX=rng.uniform(2, 8), sigmaY=0.6)
        skin *= 1 + rng.uniform(0.01, 0.08) * waves / (waves.std() + 1e-6)
    image = skin * tone
    # brow
    image = _brow(rng, image, tone, tilt, bend, infrared)
    # the ball itself
    if opening > 0.02:
        image = image * (1 - ball) + _ball(rng, tone, opening, upper, lower, whole_up, whole_low, infrared) * ball
    # lash lines and lashes
    image = _lashes(rng, image, opening, upper, lower, lashes)
    image = image * lit
    plain = float(np.median(image))
    if rng.random() < 0.25:  # beyond the face: sky, seat, window
        edge = rng.uniform(0.62, 1.3) + rng.normal(0, 0.15) * Y + 0.15 * Y**2
        beyond = plain * np.exp(rng.uniform(-2, 1)) * (1 + 0.2 * cloud(rng, 30))
        mask = step(X - edge, rng.uniform(0.02, 0.1))
        image = image * (1 - mask) + beyond * mask
    seen = 1.0
    if rng.random() < 0.12:  # hair over the brow, sometimes over the eye
        image, seen = _fringe(rng, image, rng.uniform(-1.3, -0.3))
    if lens:
        image, clear = _glasses(rng, image, lens)
        seen = min(seen, clear)
    return Drawn(np.clip(image, 0, 3).astype(np.float32), opening, seen)


def _brow(rng: Rng, image: Array, tone: float, tilt: float, bend: float, infrared: bool) -> Array:
    if rng.random() < 0.06:
        return image
    far, arch = rng.uniform(0.4, 0.9), rng.uniform(0.0, 0.2)
    start, end = rng.uniform(-0.75, -0.45), rng.uniform(0.55, 0.95)
    u = (ROW - start) / (end - start)
    line = (
        -far - arch * np.clip(1 - ((u - 0.6) / 0.6) ** 2, -1, 1) - tilt * ROW - bend + rng.normal(0, 0.12) * (u - 0.5)
    )
    thick = rng.uniform(0.06, 0.22) * np.clip(1.15 - 0.8 * np.clip(u, 0, 1), 0.1, 1)
    band = step(thick - np.abs(Y - line), rng.uniform(0.04, 0.16)) * step(np.minimum(u, 1 - u), 0.12)
    rows = []
    for _ in range(int(rng.uniform(20, 110))):
        v = rng.random()
        x = start + v * (end - start)
        i = int(np.clip((x / WIDE + 0.5) * CANVAS, 0, CANVAS - 1))
        y = line[i] + rng.normal(0, 0.6) * thick[i]
        length = rng.uniform(0.05, 0.16)
        angle = -1.2 + 1.6 * v + rng.normal(0, 0.25)
        rows.append((x, y, length * np.cos(angle), length * np.sin(angle), rng.normal(0, 0.3)))
    hairs = strokes(rng, rows, rng.uniform(1, 2))
    dark = rng.uniform(0.3, 0.97) * (0.8 if infrared else 1.0)
    mask = np.clip(band * rng.uniform(0.3, 1.0) + hairs * rng.uniform(0.1, 0.6), 0, 1) * dark
    out: Array = image * (1 - mask) + mask * min(tone * 0.5, rng.uniform(0.01, 0.2))
    return out


def _ball(
    rng: Rng,
    tone: float,
    opening: float,
    upper: Array,
    lower: Array,
    whole_up: Array,
    whole_low: Array,
    infrared: bool,
) -> Array:
    """The white, the iris, the pupil and what shines on them; where the lids are does not matter."""
    white = rng.uniform(0.55, 0.95) * (0.45 + 0.55 * tone) if not infrared else tone * rng.uniform(0.6, 1.25)
    if not infrared and rng.random() < 0.3:
        white = tone * rng.uniform(0.85, 1.3)
    page = np.full_like(X, white)
    page *= 1 - rng.uniform(0.1, 0.6) * np.abs(2 * X) ** rng.uniform(1.5, 4)
    middle = CANVAS // 2
    centre = (whole_up[middle] + whole_low[middle]) / 2
    r = rng.uniform(0.17, 0.23)
    gx = float(np.clip(rng.normal(0, 0.11), -0.27, 0.27)) if rng.random() < 0.85 else rng.uniform(-0.3, 0.3)
    down = rng.normal(0.0, 0.04) + 0.16 * max(0.0, 0.8 - opening) * rng.uniform(-0.1, 1.3)
    if opening > 0.8 and rng.random() < 0.15:
        down = -rng.uniform(0.03, 0.15)
    gy = centre + down
    squeeze = np.sqrt(max(0.5, 1 - (gx / 0.42) ** 2))
    d = np.hypot((X - gx) / squeeze, Y - gy) / r
    dark = float(np.exp(rng.uniform(np.log(0.03), np.log(0.45)))) if not infrared else rng.uniform(0.12, 0.6)
    dark = min(dark, white * 0.85)
    iris = dark * (1 + rng.uniform(0, 0.6) * np.clip((Y - gy) / r, -1, 1)) * (1 + 0.15 * cloud(rng, 4))
    iris *= 1 - rng.uniform(0, 0.7) * bump(d - 1, rng.uniform(0.08, 0.3))
    pupil = rng.uniform(0.25, 0.62)
    inner = rng.uniform(0.0, 0.06) if not (infrared and rng.random() < 0.4) else rng.uniform(0.6, 1.6)
    iris = iris + (inner - iris) * step(pupil - d, 0.15)
    edge = step(1 - d, rng.uniform(0.08, 0.35))
    page = page * (1 - edge) + iris * edge
    corner = bump(2 * X + 0.97, rng.uniform(0.06, 0.16))
    page *= 1 - rng.uniform(0, 0.5) * corner
    page *= 1 - rng.uniform(0.15, 0.75) * np.exp(-np.clip(Y - upper, 0, None) / rng.uniform(0.02, 0.1))
    page *= 1 - rng.uniform(0.0, 0.3) * np.exp(-np.clip(lower - Y, 0, None) / 0.03)
    for _ in range(rng.integers(0, 3) if not infrared else rng.integers(0, 4)):  # lamps and windows
        sx, sy = gx + rng.normal(0, 0.09), gy + rng.normal(-0.04, 0.07)
        size = np.exp(rng.uniform(np.log(0.012), np.log(0.07)))
        if rng.random() < 0.5:
            spot = bump(np.hypot(X - sx, Y - sy), size)
        else:
            spot = step(size - np.abs(X - sx + 0.2 * Y), 0.02) * step(
                size * rng.uniform(0.6, 1.6) - np.abs(Y - sy), 0.02
            )
        page += rng.uniform(0.2, 1.0) * spot
    out: Array = page
    return out


def _lashes(rng: Rng, image: Array, opening: float, upper: Array, lower: Array, full: bool) -> Array:
    reach = step(0.5 + rng.uniform(-0.04, 0.06) - np.abs(X), 0.06)
    thick, dark = rng.uniform(0.008, 0.045), rng.uniform(0.15, 0.95)
    if opening < 0.25 and rng.random() < 0.3:  # heavy, and what they throw
        thick, dark = rng.uniform(0.03, 0.085), rng.uniform(0.5, 0.97)
    elif opening < 0.25 and rng.random() < 0.3:  # nearly without lashes: only the line where the lids meet
        thick, dark = rng.uniform(0.006, 0.02), rng.uniform(0.1, 0.5)
    if full:
        thick, dark = rng.uniform(0.02, 0.08), rng.uniform(0.5, 0.97)
    taper = 0.6 + 0.4 * np.clip(1 - (2 * ROW - 0.3) ** 2, 0, 1)
    line = bump(Y - upper, thick) + 0.7 * bump(Y - upper - thick * 0.8, thick * 1.2) * (opening < 0.1)
    image = image * (1 - dark * np.clip(line, 0, 1) * reach * taper)
    low = bump(Y - lower - 0.01, rng.uniform(0.006, 0.025))
    image = image * (1 - rng.uniform(0, 0.6) * low * reach * (opening > 0.05))
    if rng.random() < 0.4 and opening > 0.15:  # the wet edge
        image = image + rng.uniform(0, 0.25) * bump(Y - lower + 0.015, 0.012) * reach
    if full or rng.random() < 0.85:  # from the upper lid: outwards when open, down when shut
        rows, longest = [], rng.uniform(0.1, 0.36) if full else rng.uniform(0.04, 0.2)
        lift = float(np.clip(opening + rng.normal(0, 0.12), 0, 1.1))
        for _ in range(int(rng.uniform(30, 130) if full else rng.uniform(8, 45))):
            x = rng.uniform(-0.42, 0.52)
            i = int((x / WIDE + 0.5) * CANVAS)
            y = upper[min(max(i, 0), CANVAS - 1)] if abs(x) < 0.5 else upper[int(0.99 / WIDE * CANVAS / 2 + CANVAS / 2)]
            away = (0.75 - 1.75 * lift) * (1 if lift < 0.5 else 0.9)  # sine of down
            length = longest * rng.uniform(0.5, 1) * (0.5 + 0.5 * abs(away))
            dx = (x + 0.08) * rng.uniform(0.6, 1.8) * longest
            rows.append((x, y, dx, length * away, (1.0 if x > 0 else -1.0) * rng.uniform(-0.2, 0.9)))
        black = rng.uniform(0.5, 0.97) if full else rng.uniform(0.15, 0.85)
        image = image * (1 - black * strokes(rng, rows, rng.uniform(1.0, 2.2)))
    if rng.random() < 0.3:
        rows = []
        for _ in range(int(rng.uniform(6, 22))):
            x = rng.uniform(-0.35, 0.5)
            i = min(int((x / WIDE + 0.5) * CANVAS), CANVAS - 1)
            rows.append((x, lower[i], x * 0.08, rng.uniform(0.02, 0.08), 0.0))
        image = image * (1 - rng.uniform(0.1, 0.5) * strokes(rng, rows, 1.0))
    if rng.random() < 0.5:  # shadow that lashes and lid throw
        image = image * (1 - rng.uniform(0, 0.35) * bump(Y - lower - 0.05, 0.05) * reach)
    return image


def _fringe(rng: Rng, image: Array, to: float) -> tuple[Array, float]:
    """Hair from above, down to `to`; how much of the eye is left."""
    rows = []
    slant = rng.normal(0, 0.5)
    for _ in range(int(rng.uniform(40, 160))):
        x = rng.uniform(-1.6, 1.6)
        rows.append((x, -1.5, slant + rng.normal(0, 0.15), to + 1.5 + rng.normal(0, 0.12), rng.normal(0, 0.2)))
    hair = strokes(rng, rows, rng.uniform(1.5, 5))
    shade = rng.uniform(0.01, 0.5)
    image = image * (1 - hair) + shade * hair * (1 + 0.3 * cloud(rng, 4))
    eye_ = (np.abs(X) < 0.4) & (np.abs(Y) < 0.2)
    return image, float(1 - hair[eye_].mean())


TEXTURES: list[Array] = []  # pieces of real pictures (h, w) uint8, for what mirrors and for what is no eye


def texture(rng: Rng) -> Array:
    """(CANVAS, CANVAS) float32 about 0 to 1: a piece of a real picture, or blots, bars and edges."""
    if TEXTURES and rng.random() < 0.7:
        whole = TEXTURES[int(rng.integers(len(TEXTURES)))]
        h, w = whole.shape
        side = int(np.exp(rng.uniform(np.log(min(24, h, w)), np.log(min(h, w)))))
        y, x = rng.integers(0, h - side + 1), rng.integers(0, w - side + 1)
        part = cv2.resize(whole[y : y + side, x : x + side], (CANVAS, CANVAS), interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            part = part[:, ::-1]
        real: Array = part.astype(np.float32) / 255
        return real
    page = rng.uniform(0, 1) + rng.uniform(0, 0.4) * cloud(rng, np.exp(rng.uniform(1, 4.5)))
    if rng.random() < 0.4:  # windows and lamps on dark
        page = page * 0.15
        for _ in range(rng.integers(1, 8)):
            x, y = rng.normal(0, 0.35, 2)
            wide, high = np.exp(rng.uniform(np.log(0.03), np.log(0.35), 2))
            spot = step(wide - np.abs(X - x + rng.normal(0, 0.3) * Y), 0.03) * step(high - np.abs(Y - y), 0.03)
            page = page + rng.uniform(0.2, 1.0) * spot
    for _ in range(rng.integers(0, 7)):
        angle, at = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.6)
        d = np.cos(angle) * X + np.sin(angle) * Y - at
        mask = step(d, rng.uniform(0.02, 0.4))
        if rng.random() < 0.6:
            mask = mask * step(rng.uniform(0.02, 0.6) - d, 0.04)
        page = page + rng.normal(0, 0.5) * mask
    made: Array = np.clip(page, 0, 1.3).astype(np.float32)
    return made


def _glasses(rng: Rng, image: Array, lens: str) -> tuple[Array, float]:
    """Glasses before an eye; how much of the eye comes through."""
    a, b = rng.uniform(0.7, 1.2), rng.uniform(0.34, 0.85)
    cx, cy = rng.normal(0.03, 0.1), 0.08 + rng.normal(0, 0.3) * (b - 0.2)
    power = rng.uniform(2, 5)
    slope = rng.normal(0, 0.08)
    reach = (np.abs((X - cx) / a) ** power + np.abs((Y - cy - slope * X) / b) ** power) ** (1 / power)
    within = step((1 - reach) * b, 0.03)
    rim = rng.uniform(0.02, 0.15)
    kind = rng.choice(["full", "half", "none"], p=[0.65, 0.2, 0.15])
    if rng.random() < 0.4:  # its shadow
        image = image * (1 - rng.uniform(0, 0.4) * bump((reach - 1) * b - rng.uniform(0.02, 0.12), 0.06) * (Y > -0.9))
    if lens in ("dark", "mirror"):
        tint = rng.uniform(0.0, 0.12) if lens == "dark" or rng.random() < 0.6 else rng.uniform(0.1, 0.5)
    else:
        tint = rng.uniform(0.75, 1.0) if rng.random() < 0.8 else rng.uniform(0.35, 0.75)
    glass = image * tint
    eye_ = (np.abs(X) < 0.42) & (np.abs(Y) < 0.18)
    bright = float(image[eye_].mean())  # what shines on the glass hides the more, the darker is what is behind
    weight = np.zeros_like(X)
    if lens == "mirror" or (lens == "dark" and rng.random() < 0.75):
        strong = rng.uniform(0.35, 1.1) if lens == "mirror" else rng.uniform(0.03, 0.25)
        glass = glass + strong * texture(rng) * (0.6 + 0.4 * step(-Y + rng.normal(0, 0.4), rng.uniform(0.05, 0.8)))
        weight += strong
    if lens == "glare" or (lens == "clear" and rng.random() < 0.5):
        for _ in range(rng.integers(1, 4)):
            if rng.random() < 0.5:
                angle = rng.uniform(0, 2 * np.pi)
                d = np.cos(angle) * X + np.sin(angle) * Y - rng.normal(0, 0.5)
                patch = step(d, rng.uniform(0.02, 0.3)) * step(rng.uniform(0.05, 0.9) - d, rng.uniform(0.02, 0.3))
            else:
                patch = bump(X - rng.normal(0, 0.5), rng.uniform(0.05, 0.5)) * bump(
                    Y - rng.normal(0, 0.35), rng.uniform(0.03, 0.3)
                )
            if rng.random() < 0.6:
                patch = patch * np.clip(texture(rng) * rng.uniform(0.8, 1.8), 0, 1.2)
            strong = rng.uniform(0.2, 1.3) if lens == "glare" else rng.uniform(0.03, 0.2)
            glass = glass + strong * patch
            weight += strong * patch
    image = image * (1 - within) + glass * within
    through = tint / (tint + 0.9 * weight / (bright + 0.05) + 0.04)
    if kind != "none":
        band = step(rim / 2 - np.abs((reach - 1) * b), 0.025)
        if kind == "half":
            band = band * step(cy - Y, 0.1)
        shade = rng.uniform(0.0, 0.25) if rng.random() < 0.75 else rng.uniform(0.4, 1.2)
        image = image * (1 - band) + band * shade
        if rng.random() < 0.4:
            image = image + rng.uniform(0, 0.5) * bump((reach - 1) * b + rim * 0.2, 0.015) * bump(Y + 0.5, 0.3)
        temple = step(rim / 2 - np.abs(Y - cy + rng.uniform(0, 0.4)), 0.03) * step(X - cx - a, 0.03)
        bridge = step(rim / 2 - np.abs(Y - cy + rng.uniform(-0.1, 0.3) + 0.2 * (X + 1)), 0.03) * step(-X + cx - a, 0.03)
        bars = np.maximum(temple, bridge)
        image = image * (1 - bars) + bars * shade
        return image, float(through[eye_].mean() * (1 - band[eye_].mean()))
    return image, float(through[eye_].mean())


def no_eye(rng: Rng) -> Drawn:
    """What a finder may take for an eye, or what covers one: skin, hair, a hand, an ear, a seat, anything."""
    kind = rng.choice(["texture", "skin", "hand", "hair", "cap"], p=[0.4, 0.25, 0.2, 0.1, 0.05])
    if kind == "texture":
        image = texture(rng) * light(rng)
        if rng.random() < 0.3:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 12))
        return Drawn(image.astype(np.float32), 0.0, 0.0)
    if kind == "cap":
        return Drawn((rng.uniform(0, 0.6) * light(rng) * (1 + 0.05 * cloud(rng, 3))).astype(np.float32), 0.0, 0.0)
    if kind == "hair":
        below = eye(rng, 1.0)
        image, _ = _fringe(rng, below.image, rng.uniform(0.3, 1.3))
        image, seen = _fringe(rng, image, rng.uniform(0.3, 1.3))
        return Drawn(image, 1.0, seen)
    tone = float(np.exp(rng.uniform(np.log(0.1), np.log(0.8))))
    image = tone * (1 + rng.uniform(0, 0.06) * cloud(rng, 5)) * light(rng)
    for _ in range(rng.integers(0, 6)):  # wrinkles, folds, a contour
        angle, at = rng.uniform(0, np.pi), rng.normal(0, 0.8)
        d = (
            np.cos(angle) * X
            + np.sin(angle) * Y
            - at
            + rng.normal(0, 0.2) * (np.sin(angle) * X - np.cos(angle) * Y) ** 2
        )
        image = image * (1 - rng.uniform(-0.2, 0.4) * bump(d, rng.uniform(0.02, 0.25)))
    if kind == "skin":
        if rng.random() < 0.35:
            image = _brow(rng, image, tone, rng.normal(0, 0.3), rng.normal(0.0, 0.3) + rng.uniform(-1.2, 0.2), False)
        if rng.random() < 0.3:  # a nostril, a mole
            spot = bump((X - rng.normal(0, 0.6)) / rng.uniform(0.8, 2), 0.12) * bump(Y - rng.normal(0, 0.6), 0.1)
            image = image * (1 - rng.uniform(0.3, 0.9) * spot)
        return Drawn(image.astype(np.float32), 0.0, 0.0)
    angle = rng.normal(0, 0.8)
    across = np.cos(angle) * X + np.sin(angle) * Y + 0.1 * cloud(rng, 60)
    along = np.sin(angle) * X - np.cos(angle) * Y
    wide = rng.uniform(0.45, 0.9)
    phase = (across / wide + rng.random()) % 1
    image = image * (1 - rng.uniform(0.2, 0.8) * bump(np.minimum(phase, 1 - phase), rng.uniform(0.03, 0.15)))
    image = image * (1 + rng.uniform(0, 0.3) * np.sin(np.pi * phase))
    tip = rng.uniform(0.45, 1.6)
    mask = step(tip - along + 0.3 * np.abs(phase - 0.5) ** 2, 0.05)
    beneath = eye(rng, rng.uniform(0, 1.1)).image if rng.random() < 0.7 else texture(rng)
    image = image * mask + beneath * (1 - mask)
    return Drawn(image.astype(np.float32), 0.0, float(1 - mask[(np.abs(X) < 0.4) & (np.abs(Y) < 0.2)].mean()))


# -- the camera -----------------------------------------------------------------------------------


class Frame(NamedTuple):
    """How a crop lies about what is drawn."""

    side: float  # of the crop, in units of the canvas
    x: float
    y: float
    roll: float  # rad
    squeeze: float  # width of what is drawn by what it is from the front
    lean: float  # shear


def shot(rng: Rng, image: Array, frame: Frame, infrared: bool = False, sharp: float = 1.0) -> Array:
    """(SIDE, SIDE) uint8: a crop as a camera sees it."""
    px = int(np.exp(rng.uniform(np.log(15), np.log(72))) * sharp)  # of the crop in the picture
    px = max(px, 13)
    f = frame.side / px / PX
    c, s = np.cos(frame.roll) * f, np.sin(frame.roll) * f
    turn = np.array([[c / frame.squeeze, -s + frame.lean * f], [s / frame.squeeze, c]])
    if rng.random() < 0.5:
        turn[:, 0] *= -1
    centre = np.array([frame.x, frame.y]) / PX + CANVAS / 2 - 0.5
    away = centre - turn @ np.array([(px - 1) / 2, (px - 1) / 2])
    soft = 0.45 * max(1.0, f)  # no finer than the pixels
    source = cv2.GaussianBlur(image, (0, 0), soft) if f > 1 else image
    part = cv2.warpAffine(
        source,
        np.column_stack([turn, away]).astype(np.float32),
        (px, px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return developed(rng, part, infrared)


def developed(rng: Rng, part: Array, infrared: bool) -> Array:
    """Lens, sensor and coding of a crop (n, n) float32; out (SIDE, SIDE) uint8."""
    n = len(part)
    blur = abs(rng.normal(0, 0.02 * n if rng.random() < 0.35 else 0.35))
    if blur > 0.25:
        part = cv2.GaussianBlur(part, (0, 0), min(blur, 0.042 * n))
    if rng.random() < 0.12:  # it moves
        k = int(rng.integers(2, max(3, n // 10) + 1))
        kernel = np.zeros((k, k), np.float32)
        angle = rng.uniform(0, np.pi)
        end = (k - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
        m = (k - 1) / 2
        cv2.line(
            kernel, tuple(np.round(m - end).astype(int).tolist()), tuple(np.round(m + end).astype(int).tolist()), 1
        )
        part = cv2.filter2D(part, -1, kernel / kernel.sum())
    if rng.random() < 0.3:  # sharpened in the camera
        part = part + rng.uniform(0.2, 1.2) * (part - cv2.GaussianBlur(part, (0, 0), rng.uniform(0.8, 2.0)))
    part = np.clip(part, 0, None) ** rng.uniform(0.55, 1.5)
    within = part[n // 4 : n - n // 4, n // 6 : n - n // 6]
    spread = 0.75 * float(within.std()) + 0.25 * float(part.std()) + 1e-4
    mean = 0.5 * float(within.mean()) + 0.5 * float(part.mean())
    style = rng.random()
    if infrared or style < 0.12:  # low contrast, dark
        aim, std = rng.uniform(25, 150), np.exp(rng.uniform(np.log(4), np.log(30)))
    elif style < 0.2:  # burnt out
        aim, std = rng.uniform(150, 235), rng.uniform(25, 80)
    elif style < 0.35:
        aim, std = rng.uniform(15, 70), rng.uniform(5, 25)
    else:
        aim, std = rng.uniform(60, 190), rng.uniform(15, 62)
    fine = float((within - cv2.GaussianBlur(within, (0, 0), n / 12)).std()) / spread  # without what is only light
    std = max(std, 1.2 / (fine + 0.01))
    part = aim + (part - mean) / spread * std
    if infrared and rng.random() < 0.5:
        grid = np.linspace(-1, 1, n)
        part = part * (
            1
            - rng.uniform(0, 0.45)
            * np.clip((grid[:, None] - rng.normal(0, 0.4)) ** 2 + (grid - rng.normal(0, 0.4)) ** 2, 0, 2)
            / 2
        )
    noise = np.exp(rng.uniform(np.log(0.2), np.log(7)))
    noise = min(noise, 0.2 * std + 0.3, 0.8 * fine * std + 0.3)
    grain = rng.normal(0, noise, part.shape)
    if rng.random() < 0.4 and n > 20:  # smeared by the camera
        grain = cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.4, 1.0)) * 1.5
    grey: Any = np.clip(np.round(part + grain), 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        quality = int(rng.integers(30, 96))
        grey = cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
    coarse = n > 2 * SIDE or (n > SIDE and rng.random() < 0.5)  # the finder of crops halves, then goes between pixels
    how = cv2.INTER_AREA if coarse else cv2.INTER_LINEAR if rng.random() < 0.85 else cv2.INTER_CUBIC
    out: Array = cv2.resize(grey, (SIDE, SIDE), interpolation=how)
    return out


def about_eye(rng: Rng) -> Frame:
    """A crop as finders give it."""
    side = EYE * np.exp(float(np.clip(rng.normal(-0.05, 0.21), -0.45, 0.45)))
    x, y = np.clip(rng.normal(0, (0.09, 0.1)), -0.3, 0.3)
    squeeze = rng.uniform(0.68, 1.0) if rng.random() < 0.4 else float(np.exp(rng.normal(0, 0.1)))
    return Frame(side, float(x), float(y) - 0.05, rng.normal(0, 0.14), squeeze, rng.normal(0, 0.08))


def about_mouth(rng: Rng) -> Frame:
    side = MOUTH * np.exp(float(np.clip(rng.normal(0, 0.14), -0.3, 0.35)))
    squeeze = rng.uniform(0.62, 1.0) if rng.random() < 0.45 else float(np.exp(rng.normal(0, 0.07)))
    x, y = rng.normal(0, 0.09, 2)
    return Frame(side, x, BELOW + y, rng.normal(0, 0.12), squeeze, rng.normal(0, 0.1))


def hidden(seen: float) -> float:
    """Whether it cannot be judged, by how much of it is seen; between 0 and 1 nobody would quarrel."""
    return float(np.clip((0.42 - seen) / 0.24, 0, 1))


class Crop(NamedTuple):
    """What a net is taught with."""

    image: Array  # (SIDE, SIDE) uint8
    opening: float
    hidden: float  # 0 to 1; between: not sure
    counts: float  # 1 where the opening is known, 0 where it is not asked


def openings(rng: Rng) -> float:
    """Of drawn eyes: shut, nearly, drowsy, normal, staring."""
    kind = rng.random()
    if kind < 0.36:
        return 0.0 if rng.random() < 0.75 else float(rng.uniform(0, 0.16))
    if kind < 0.56:
        return float(rng.uniform(0.16, 0.6))
    if kind < 0.92:
        return float(np.clip(rng.normal(0.95, 0.15), 0.5, 1.3))
    return float(rng.uniform(1.0, 1.3))


def eye_crops(rng: Rng, n: int) -> list[Crop]:
    """One eye is drawn, or what is none, and looked at n times."""
    kind, infrared = rng.random(), bool(rng.random() < 0.22)
    beside = False
    if kind < 0.1:
        one = no_eye(rng)
    elif kind < 0.17:
        one, beside = eye(rng, openings(rng), infrared, "clear" if rng.random() < 0.2 else ""), True
    else:
        odds = (("", 0.66), ("clear", 0.76), ("glare", 0.84), ("dark", 0.9), ("mirror", 1.0))
        one = eye(rng, openings(rng), infrared, next(lens for lens, most in odds if kind < most))
    out = []
    for _ in range(n):
        frame, seen = about_eye(rng), one.seen
        if beside:
            angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.15)
            frame = frame._replace(x=away * np.cos(angle), y=away * np.sin(angle), side=EYE * rng.uniform(0.5, 0.85))
            seen = 0.0
        elif kind < 0.1:
            frame = frame._replace(side=EYE * np.exp(rng.uniform(-0.7, 0.45)))
        image = shot(rng, one.image, frame, infrared)
        out.append(Crop(image, one.opening, hidden(seen), float(seen > 0.3)))
    return out


def glass_crops(rng: Rng, n: int) -> list[Crop]:
    """As `eye_crops`, all behind glasses, which sit high and low; where glass hides an eye, finders guess its place."""
    lens = str(rng.choice(["clear", "glare", "dark", "mirror"], p=[0.25, 0.25, 0.15, 0.35]))
    infrared = bool(rng.random() < 0.15)
    one = eye(rng, openings(rng), infrared, lens)
    out = []
    for _ in range(n):
        frame = about_eye(rng)
        if hidden(one.seen) > 0.5:
            frame = frame._replace(x=frame.x + rng.normal(0, 0.15), y=frame.y + rng.normal(-0.08, 0.25))
        image = shot(rng, one.image, frame, infrared)
        out.append(Crop(image, one.opening, hidden(one.seen), float(one.seen > 0.3)))
    return out


def lash_crops(rng: Rng, n: int) -> list[Crop]:
    """As `eye_crops`, with long or painted lashes, most of them shut, heads leaning: a fringe is no slit."""
    opening = float(rng.uniform(0, 0.06) if rng.random() < 0.6 else rng.uniform(0.45, 1.2))
    infrared = bool(rng.random() < 0.1)
    one = eye(rng, opening, infrared, "clear" if rng.random() < 0.1 else "", lashes=rng.random() < 0.75)
    out = []
    for _ in range(n):
        frame = about_eye(rng)
        frame = frame._replace(roll=frame.roll + rng.normal(0, 0.2), side=frame.side * rng.uniform(0.75, 1.05))
        image = shot(rng, one.image, frame, infrared)
        out.append(Crop(image, one.opening, hidden(one.seen), float(one.seen > 0.3)))
    return out


# -- a mouth --------------------------------------------------------------------------------------


def mouth(rng: Rng, opening: float, smile: float, infrared: bool = False) -> Drawn:
    """A mouth with nose and chin, in eye distances about the middle between its corners.

    opening: 0 shut to 1 the widest yawn; smile: 0 to 1, wide, corners up, teeth.
    """
    gap = opening * YAWN
    half = rng.uniform(0.3, 0.44) * (1 + 0.3 * smile) * (1 - rng.uniform(0, 0.35) * min(opening, 1) * (1 - smile))
    above = rng.uniform(0.15, 0.5)
    v = np.clip(np.abs(ROW) / half, 0, 1)
    shape = np.clip(1 - v ** rng.uniform(1.6, 3.2), 0, 1) ** rng.uniform(0.6, 1.0)
    tilt = rng.normal(0, 0.05)
    rest = (rng.normal(0.0, 0.015) + 0.1 * smile * rng.uniform(0.3, 1)) * np.clip(1 - v**2, 0, 1) + tilt * ROW
    wave = rng.uniform(0, 0.012) * np.cos(3 * np.pi * v) * (1 - min(1, opening * 4))
    inner_up = rest + wave - gap * above * shape
    inner_low = rest + wave + gap * (1 - above) * shape
    full = 1 - 0.35 * min(opening, 1.0)
    thick_up, thick_low = rng.uniform(0.03, 0.13) * full, rng.uniform(0.05, 0.17) * full
    bow = 1 - rng.uniform(0, 0.35) * bump(ROW, 0.06) + rng.uniform(0, 0.2) * bump(np.abs(ROW) - 0.1, 0.08)
    outer = np.clip(1 - v**2.2, 0, 1) ** 0.7
    outer_up = inner_up - thick_up * outer * bow
    outer_low = inner_low + thick_low * outer
    soft = rng.uniform(0.015, 0.05)
    wide = np.abs(X) < half
    lips = step(Y - outer_up, soft) * step(outer_low - Y, soft) * wide
    hole = step(Y - inner_up, 0.02) * step(inner_low - Y, 0.02) * wide if gap > 0.004 else np.zeros_like(X)
    # skin
    tone = float(np.exp(rng.uniform(np.log(0.1), np.log(0.8)))) if not infrared else rng.uniform(0.35, 0.8)
    skin = tone * (1 + rng.uniform(0, 0.04) * cloud(rng, 4) + rng.uniform(0, 0.05) * cloud(rng, 12))
    base = -rng.uniform(0.36, 0.56) - 0.12 * min(opening, 1)  # of the nose
    chin = rng.uniform(0.55, 0.85) + 0.75 * gap * (1 - above)
    skin = skin * (1 + rng.uniform(-0.1, 0.4) * bump(X, 0.22) * step(base - Y, 0.1))
    for side in (-1, 1):
        spread = rng.uniform(0.07, 0.13)
        hollow = bump((X - side * spread) / rng.uniform(1.2, 2.0), 0.045) * bump(Y - base + rng.uniform(0, 0.05), 0.04)
        skin = skin * (1 - rng.uniform(0.2, 0.9) * hollow)
        wing = bump(np.hypot((X - side * 0.17) / 0.09, (Y - base + 0.09) / 0.12) - 1, 0.3) * (side * X > 0.13)
        skin = skin * (1 - rng.uniform(0, 0.4) * wing)
        fold = side * (0.27 + rng.uniform(0.3, 0.55) * np.clip(Y - base + 0.1, 0, 1.2))
        reach = step(Y - base + 0.1, 0.1) * step(rng.uniform(0.0, 0.4) - Y, 0.3)
        skin = skin * (1 - rng.uniform(-0.05, 0.2 + 0.3 * smile) * bump(X - fold, rng.uniform(0.02, 0.08)) * reach)
        corner = bump(X - side * half * 1.04, 0.05) * bump(Y - rest[0 if side < 0 else -1], 0.06)
        skin = skin * (1 - rng.uniform(0, 0.5) * corner)
    skin = skin * (1 - rng.uniform(0, 0.35) * bump(Y - base - 0.05, 0.06) * bump(X, 0.3))  # under the nose
    skin = skin * (1 - rng.uniform(-0.1, 0.2) * bump(X, 0.04) * step(Y - base, 0.1) * step(outer_up - Y, 0.05))
    skin = skin * (1 - rng.uniform(0, 0.4) * bump(Y - outer_low - rng.uniform(0.04, 0.14), 0.05) * bump(X, 0.3))
    skin = skin * (1 + rng.uniform(0, 0.3) * bump(Y - chin + 0.25, 0.18) * bump(X, 0.3))
    if rng.random() < 0.35:
        skin = _beard(rng, skin, base, half, outer_up, outer_low)
    shade = tone * rng.uniform(0.5, 1.1)
    lip = shade * (1 + 0.08 * cloud(rng, 4)) * np.where((inner_up + inner_low) / 2 > Y, rng.uniform(0.65, 1.0), 1.0)
    lip = lip * (1 + rng.uniform(0, 0.45) * bump(Y - inner_low - thick_low * 0.45, thick_low * 0.35) * bump(X, 0.2))
    image = skin * (1 - lips) + lip * lips
    line = bump(Y - (inner_up + inner_low) / 2, rng.uniform(0.01, 0.03)) * step(half * 1.03 - np.abs(X), 0.04)
    image = image * (1 - rng.uniform(0.15, 0.85) * line * (gap < 0.03))
    if gap > 0.004:
        image = image * (1 - hole) + _inside(rng, tone, gap, smile, inner_up, inner_low, half) * hole
    image = image * light(rng, 0.2 if infrared else 0.35)
    # the outline of the jaw, neck and what is beyond
    jaw = rng.uniform(0.75, 1.15)
    out = np.hypot(X / jaw, np.clip(Y + 0.3, 0, None) / (chin + 0.3)) - 1
    if rng.random() < 0.75:
        neck = image.mean() * rng.uniform(0.3, 1.0) * (1 + 0.1 * cloud(rng, 20))
        mask = step(out, rng.uniform(0.03, 0.3)) * rng.uniform(0.5, 1)
        image = image * (1 - mask) + neck * mask
    for side in (-1, 1):
        if rng.random() < 0.45:
            lean = rng.uniform(0, 0.5)
            edge = rng.uniform(0.6, 1.3) - lean * np.clip(Y, 0, 2)
            mask = step(side * X - edge, rng.uniform(0.02, 0.1))
            image = image * (1 - mask) + mask * texture(rng) * rng.uniform(0.3, 1.2)
    return Drawn(np.clip(image, 0, 3).astype(np.float32), opening, 1.0)


def _inside(rng: Rng, tone: float, gap: float, smile: float, up: Array, low: Array, half: float) -> Array:
    """Teeth, tongue and dark."""
    page = np.full_like(X, rng.uniform(0.01, 0.2) * max(tone, 0.3))
    page = page * (1 + rng.uniform(0, 1.0) * np.clip((Y - up) / max(gap, 0.02), 0, 1))
    middle = float(low[CANVAS // 2])
    if rng.random() < 0.7:
        rise = rng.uniform(0.15, 0.9) * gap
        tongue = np.hypot(X / (half * rng.uniform(0.5, 0.95)), (Y - middle - 0.05) / (rise + 0.05))
        shade = tone * rng.uniform(0.3, 1.0)
        mask = step(1 - tongue, rng.uniform(0.1, 0.4))
        page = page * (1 - mask) + mask * shade * (1 - rng.uniform(0, 0.3) * bump(X, 0.03))
    white = rng.uniform(0.45, 0.95) * (0.5 + 0.5 * tone)
    for edge, sign, odds in ((up, 1, 0.75), (low, -1, 0.4)):
        if rng.random() < max(odds, 0.95 * smile * (sign > 0)):
            high = rng.uniform(0.03, 0.13) if smile < 0.5 else rng.uniform(0.07, 0.15)
            d = sign * (Y - edge)
            mask = step(high * np.clip(1 - (X / half) ** 4, 0, 1) - d, 0.03)
            tooth = white * (1 - rng.uniform(0, 0.35) * bump((X / rng.uniform(0.07, 0.1) + 0.5) % 1 - 0.5, 0.12))
            tooth = tooth * (1 - rng.uniform(0, 0.6) * (X / half) ** 2)
            page = page * (1 - mask) + tooth * mask
    out: Array = page * (1 - rng.uniform(0, 0.6) * np.exp(-np.clip(Y - up, 0, None) / 0.05))
    return out


def _beard(rng: Rng, skin: Array, base: float, half: float, up: Array, low: Array) -> Array:
    grain = np.clip(0.7 + rng.uniform(0.05, 0.3) * cloud(rng, 2.2), 0, 1)
    lip = step(Y - base - 0.04, 0.08) * step(up - Y, 0.06) * step(half * rng.uniform(0.9, 1.4) - np.abs(X), 0.15)
    under = step(Y - low - rng.uniform(-0.02, 0.15), 0.1)
    cheek = step(np.abs(X) - half * rng.uniform(1.0, 1.6), 0.2) * step(Y - base - rng.uniform(0.0, 0.5), 0.3)
    mask = np.zeros_like(X)
    for part, odds in ((lip, 0.75), (under, 0.7), (cheek, 0.5)):
        if rng.random() < odds:
            mask = np.maximum(mask, part)
    dark = rng.uniform(0.1, 0.85)
    out: Array = skin * (1 - mask * grain * dark)
    return out


def no_mouth(rng: Rng) -> Drawn:
    """A mouth that is covered, or something else."""
    kind = rng.choice(["texture", "skin", "hand", "mask", "thing"], p=[0.3, 0.1, 0.25, 0.2, 0.15])
    if kind in ("texture", "skin"):
        return Drawn(no_eye(rng).image, 0.0, 0.0)
    below = mouth(rng, rng.uniform(0, 1), 0.0).image
    if kind == "hand":
        over, reach = (
            no_eye(rng).image,
            np.hypot(X - rng.normal(0, 0.2), Y - rng.normal(0.05, 0.15)) - rng.uniform(0.5, 0.9),
        )
        mask = step(-reach + 0.1 * cloud(rng, 30), 0.06)
    elif kind == "mask":
        over = rng.uniform(0.1, 0.9) * light(rng) * (1 + rng.uniform(0, 0.06) * cloud(rng, 6))
        for _ in range(rng.integers(0, 5)):
            over = over * (1 - rng.uniform(-0.2, 0.3) * bump(Y - rng.normal(0, 0.4) - rng.normal(0, 0.2) * X**2, 0.04))
        mask = step(Y + rng.uniform(0.35, 0.9) + rng.normal(0, 0.3) * X**2, 0.05)
    else:
        over = texture(rng)
        mask = step(rng.uniform(0.3, 0.6) - np.hypot(X - rng.normal(0, 0.1), (Y - 0.1) * rng.uniform(0.3, 1.2)), 0.04)
    inner = (np.abs(X) < 0.35) & (np.abs(Y - 0.05) < 0.15)
    return Drawn((below * (1 - mask) + over * mask).astype(np.float32), 0.0, float(1 - mask[inner].mean()))


def mouth_crops(rng: Rng, n: int) -> list[Crop]:
    """One mouth is drawn, or what is none, and looked at n times."""
    infrared, kind = bool(rng.random() < 0.2), rng.random()
    if kind < 0.15:
        one = no_mouth(rng)
    else:
        kind = rng.random()
        smile = rng.uniform(0.3, 1) if kind < 0.3 else 0.0
        if kind < 0.08 or 0.3 < kind < 0.58:
            opening = 0.0
        elif kind < 0.3:
            opening = rng.uniform(0.02, 0.3)
        elif kind < 0.75:
            opening = rng.uniform(0.0, 0.45)
        else:
            opening = rng.uniform(0.4, 1.1)
        one = mouth(rng, float(opening), float(smile), infrared)
    out = []
    for _ in range(n):
        frame, image = about_mouth(rng), one.image
        if rng.random() < 0.12:  # of a picture of the lips alone, whose edge goes on
            image = _alone(rng, image, one.opening)
        out.append(Crop(shot(rng, image, frame, infrared), one.opening, hidden(one.seen), float(one.seen > 0.3)))
    return out


def _alone(rng: Rng, image: Array, opening: float) -> Array:
    """Cut close about the lips; the rest repeats the edge."""
    high, wide = 0.12 + 0.4 * opening * YAWN, rng.uniform(0.4, 0.55)
    box = np.array([-wide, wide, -high * rng.uniform(0.8, 1.5), high * rng.uniform(1.0, 1.8) + 0.2 * opening])
    x1, x2, y1, y2 = np.clip(np.round(box / PX + CANVAS / 2).astype(int), 0, CANVAS)
    part = image[y1:y2, x1:x2]
    out: Array = cv2.copyMakeBorder(part, y1, CANVAS - y2, x1, CANVAS - x2, cv2.BORDER_REPLICATE)
    return out


# -- heads ----------------------------------------------------------------------------------------


def of_head(rng: Rng, head: Any) -> tuple[list[Drawn], Drawn]:
    """Both eyes and the mouth of a rendered head (`models/training/heads.py`) before anything, each as if drawn."""
    n = len(head.grey)
    behind = cv2.resize(texture(rng), (n, n)) * rng.uniform(0.2, 1.2)
    picture = head.grey.astype(np.float32) / 255 + (1 - head.cover.astype(np.float32) / 255) * behind
    right, left = head.marks[0:2].mean(0), head.marks[5:7].mean(0)
    lips = head.marks[11:13].mean(0)
    unit = head.size / 3.5  # the distance of the eyes
    up, across = (right + left) / 2 - lips, left - right
    up = up + np.array([across[1], -across[0]])
    up = up / np.hypot(*up)

    def part(centre: Array, unit: float) -> Array:
        by = unit * PX
        turn = by * np.array([[-up[1], -up[0]], [up[0], -up[1]]])
        away = centre - turn @ np.full(2, (CANVAS - 1) / 2)
        soft = cv2.GaussianBlur(picture, (0, 0), 0.4 * by) if by > 1.3 else picture
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        move = np.column_stack([turn, away]).astype(np.float32)
        seen: Array = cv2.warpAffine(soft, move, (CANVAS, CANVAS), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return seen

    eyes = [
        Drawn(part(centre, WIDTH * unit), float(head.open[i]), float(head.seen[i]))
        for i, centre in enumerate((right, left))
    ]
    return eyes, Drawn(part(lips, unit), float(head.mouth), float(head.seen[2]))


def head_crops(rng: Rng, head: Any, n: int) -> tuple[list[Crop], list[Crop]]:
    """Its eyes and its mouth, each looked at n times. Its own turning squeezes them already."""
    eyes, lips = of_head(rng, head)
    crops: tuple[list[Crop], list[Crop]] = [], []
    for kind, one in ((0, eyes[0]), (0, eyes[1]), (1, lips)):
        for _ in range(n):
            frame = about_mouth(rng) if kind else about_eye(rng)
            frame = frame._replace(squeeze=float(np.exp(rng.normal(0, 0.08))))
            image = shot(rng, one.image, frame, bool(rng.random() < 0.2))
            crops[kind].append(Crop(image, one.opening, hidden(one.seen), float(one.seen > 0.3)))
    return crops


# -- what is taught -------------------------------------------------------------------------------


def pieces(data: Path, more: Path | None) -> list[Array]:
    """Real pictures without faces near: (h, w) uint8."""
    out: list[Any] = []
    for path in sorted(more.iterdir()) if more is not None else []:
        if path.suffix in (".png", ".jpg") and path.stem != "astronaut":  # that one is a face
            out.append(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    for path in sorted((data / "driver_gopro").glob("*.jpg"))[::3]:  # beside the driver
        image: Any = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        out += [image[95:315, :110], image[95:315, 300:]]
    film = cv2.VideoCapture(str(data / "dashcam" / "solidWhiteRight.mp4"))
    for i in range(0, 220, 40):
        film.set(cv2.CAP_PROP_POS_FRAMES, i)
        read, image = film.read()
        if read:
            out.append(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    return out


DRAWS = {  # with seeds
    "eye-drawn": (3, eye_crops),
    "eye-glass": (5, glass_crops),
    "eye-lashes": (6, lash_crops),
    "mouth-drawn": (5, mouth_crops),
}


def draw(cache: Path, name: str, n: int, first: int = 0) -> None:
    """Draws files first to n into the cache, EACH drawings a file; what is there stays."""
    cache.mkdir(parents=True, exist_ok=True)
    seed, crops = DRAWS[name]
    for i in range(first, n):
        path = cache / f"{name}-{i:03d}.npz"
        if not path.exists():
            rng = np.random.default_rng((31, seed, i))
            keep(path, [crop for _ in range(EACH) for crop in crops(rng, LOOKS)])


def render(cache: Path, makehuman: Path, n: int, first: int = 0) -> None:
    """The same of rendered heads: PERSONS persons a file, MOODS heads of each, eyes and mouths."""
    heads = importlib.import_module("models.training.heads")  # wants numba
    stock = None
    cache.mkdir(parents=True, exist_ok=True)
    for i in range(first, n):
        paths = [cache / f"{kind}-heads-{i:03d}.npz" for kind in ("eye", "mouth")]
        if all(path.exists() for path in paths):
            continue
        stock = heads.stock(makehuman) if stock is None else stock
        rows: tuple[list[Crop], list[Crop]] = [], []
        for person in range(PERSONS * i, PERSONS * (i + 1)):
            for head in heads.crowd(stock, 100_000 + person, MOODS, side=352, size=220):
                rng = np.random.default_rng((person, len(rows[0])))
                for some, told in zip(rows, head_crops(rng, head, LOOKS), strict=True):
                    some += told
        for path, some in zip(paths, rows, strict=True):
            keep(path, some)


def keep(path: Path, crops: list[Crop]) -> None:
    told = np.array([crop[1:] for crop in crops], np.float32)
    new = path.with_suffix(".new.npz")
    np.savez(new, images=np.stack([crop.image for crop in crops]), told=told)
    new.replace(path)


class Pool(NamedTuple):
    """Crops of a sort."""

    images: Array  # (n, SIDE, SIDE) uint8
    told: Array  # (n, 3) float32: opening, hidden, counts

    @classmethod
    def read(cls, cache: Path, name: str, n: int) -> Pool:
        """Of the first n files of that name."""
        files = [np.load(cache / f"{name}-{i:03d}.npz") for i in range(n)]
        told = np.concatenate([f["told"] for f in files])
        if name == "eye-heads":  # a narrow gap is out of sight from above and below: it is not asked for
            told[:, 2] *= (told[:, 0] < GAPS[0]) | (told[:, 0] > GAPS[1])
        return cls(np.concatenate([f["images"] for f in files]), told)

    def some(self, rng: Rng, n: int) -> tuple[Array, Array]:
        rows = rng.integers(0, len(self.images), n)
        return self.images[rows], self.told[rows]


# -- the net --------------------------------------------------------------------------------------


def net(numbers: int) -> Any:
    """About 34 thousand numbers. What goes in is made free of brightness and contrast before anything else."""
    import torch
    from torch import nn

    def full(a: int, b: int, step: int = 1, side: int = 3) -> Any:
        return nn.Sequential(nn.Conv2d(a, b, side, step, side // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU())

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            a, b, c = 24, 40, 44
            whole = nn.Conv2d(c, c, 4, groups=c, bias=False)  # each map looked at as a whole
            self.body = nn.Sequential(
                *(full(1, a, 2, 5), full(a, a), full(a, b, 2), full(b, c, 2)),
                *(whole, nn.BatchNorm2d(c), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1)),
                *(nn.Linear(c, 48), nn.ReLU(), nn.Linear(48, numbers)),
            )

        def forward(self, x: Any) -> Any:
            x = x - x.mean((2, 3), keepdim=True)
            return self.body(x / ((x * x).mean((2, 3), keepdim=True).sqrt() + FLAT))

    class Both(nn.Module):  # type: ignore[misc]
        """The mean of a crop and its mirror image: a face has two sides."""

        def __init__(self, one: Any) -> None:
            super().__init__()
            self.one = one

        def forward(self, x: Any) -> Any:
            told: Any = (self.one(x) + self.one(torch.flip(x, [3]))) / 2
            return told

    model: Any = Net()
    model.both = lambda: Both(model)
    return model


def eye_loss(out: Any, told: Any) -> Any:
    """Of (n, 3): logit closed, opening, logit hidden."""
    import torch
    from torch.nn import functional as f

    opening, hidden_, counts = told.unbind(1)
    closed = torch.sigmoid((SHUT - opening) / NEAR) * (1 - 2 * DOUBT) + DOUBT
    n = counts.sum().clamp(min=1)
    off = f.binary_cross_entropy_with_logits(out[:, 0], closed, reduction="none")
    clear = counts * ((opening - SHUT).abs() > NARROW)
    sides = [clear * shut for shut in (opening < SHUT, opening >= SHUT)]  # shut and open weigh the same
    right = sum((off * side).sum() / side.sum().clamp(min=1) for side in sides) / 2
    lid = (f.smooth_l1_loss(out[:, 1], opening, beta=0.1, reduction="none") * counts).sum() / n
    seen = f.binary_cross_entropy_with_logits(out[:, 2], hidden_ * 0.98 + 0.01)
    return right + 2 * lid + seen


def mouth_loss(out: Any, told: Any) -> Any:
    """Of (n, 2): opening, logit hidden."""
    from torch.nn import functional as f

    opening, hidden_, counts = told.unbind(1)
    gap = (f.smooth_l1_loss(out[:, 0], opening, beta=0.1, reduction="none") * counts).sum() / counts.sum().clamp(min=1)
    return 4 * gap + 0.5 * f.binary_cross_entropy_with_logits(out[:, 1], hidden_ * 0.98 + 0.01)


def train(stage: Stage, kind: str, pools: dict[str, Pool], start: Path | None = None) -> Any:
    """The net after a stage; its weights are a mean that follows them exponentially."""
    import torch

    torch.manual_seed(stage.seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(stage.seed)
    numbers, loss = {"eye": (3, eye_loss), "mouth": (2, mouth_loss)}[kind]
    model = net(numbers).train().to(memory_format=torch.channels_last)
    if start is not None:
        model.load_state_dict(torch.load(start))
    slow = net(numbers)
    slow.load_state_dict(model.state_dict())
    shares = [(sort, getattr(stage, sort)) for sort in ("heads", "glass", "lashes")]
    shares.append(("drawn", 1 - sum(share for _, share in shares)))
    best = torch.optim.AdamW(model.parameters(), stage.rate, weight_decay=1e-2)
    begin, shown = time.time(), 0.0
    for step in range(stage.steps):
        done = step / stage.steps
        for group in best.param_groups:
            group["lr"] = stage.rate * min(1.0, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * done)))
        parts = [pools[sort].some(rng, round(BATCH * share)) for sort, share in shares if share]
        images, told = (np.concatenate(column) for column in zip(*parts, strict=True))
        x = torch.from_numpy(images.astype(np.float32))[:, None]
        x = x.flip(3) if rng.random() < 0.5 else x
        if rng.random() < 0.3:  # a little aside
            x = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
            dx, dy = rng.integers(0, 5, 2)
            x = x[:, :, dy : dy + SIDE, dx : dx + SIDE]
        off = loss(model(x), torch.from_numpy(told))
        best.zero_grad()
        off.backward()
        best.step()
        share = min(KEEP, (step + 1) / (step + 20))
        with torch.no_grad():
            for m, v in zip(slow.state_dict().values(), model.state_dict().values(), strict=True):
                m.copy_(share * m + (1 - share) * v if m.is_floating_point() else v)
        shown = 0.99 * shown + 0.01 * off.item() if step > 50 else off.item()
        if (step + 1) % 500 == 0:
            print(
                f"{kind}: step {step + 1}, loss {shown:.3f}, {(time.time() - begin) / (step + 1):.2f} s a step",
                flush=True,
            )
    return slow.eval()


def mean(several: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the weights of nets that come of one another."""
    last = several[-1]
    return {
        name: sum(one[name] for one in several) / len(several) if value.is_floating_point() else value
        for name, value in last.items()
    }


def exported(model: Any, kind: str, path: Path) -> None:
    """As ONNX; any number of crops at once."""
    import torch

    torch.onnx.export(
        model.both().eval(),
        (torch.zeros(2, 1, SIDE, SIDE),),
        str(path),
        input_names=["crop"],
        output_names=[kind],
        dynamic_axes={"crop": {0: "n"}, kind: {0: "n"}},
        opset_version=17,
        dynamo=False,
    )


# -- what came out --------------------------------------------------------------------------------


def figures(path: Path, kind: str, pool: Pool) -> dict[str, float]:
    """On crops that were kept back, drawn or rendered."""
    session = runtime.onnxruntime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    out = session.run(None, {given: pool.images[:, None].astype(np.float32)})[0]
    opening, covered, counts = pool.told.T
    clear = (counts > 0) & (covered < 0.3)
    found = {"n": float(len(out)), "hidden_auc": auc(covered > 0.5, out[:, -1])}
    if kind == "mouth":
        return {**found, "gap_mean_error": float(np.abs(out[clear, 0] - opening[clear]).mean())}
    odds = 1 / (1 + np.exp(-out[:, 0].astype(float)))
    sure = clear & (np.abs(opening - SHUT) > 0.08)
    shut = opening < SHUT
    return {
        **found,
        "closed_auc": auc(shut[sure], odds[sure]),
        "closed_accuracy": float(((odds > 0.5) == shut)[sure].mean()),
        "calibration_error": miss(shut[clear], odds[clear]),
        "opening_mean_error": float(np.abs(out[clear, 1] - opening[clear]).mean()),
    }


def auc(yes: Array, score: Array) -> float:
    """How often something that is so has a higher score than something that is not."""
    order = np.argsort(np.argsort(score))
    n, m = int(yes.sum()), int((~yes).sum())
    return float((order[yes].sum() - n * (n - 1) / 2) / max(n * m, 1))


def miss(yes: Array, odds: Array, bins: int = 10) -> float:
    """How far probabilities are off on average, over so many bins (expected calibration error)."""
    at = np.minimum((odds * bins).astype(int), bins - 1)
    parts = [
        (abs(odds[at == i].mean() - yes[at == i].mean()), (at == i).mean()) for i in range(bins) if (at == i).any()
    ]
    return float(sum(off * share for off, share in parts))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder of crops")
    parser.add_argument("--makehuman", type=Path, help="folder with the archives that models/training/heads.py names")
    parser.add_argument("--more", type=Path, help="folder of further pictures without faces")
    parser.add_argument("--net", choices=["eye", "mouth"], action="append", help="only this one")
    parser.add_argument("--first", type=int, default=0, help="draw and render from this file on (several may at once)")
    parser.add_argument("--draw", action="store_true", help="draw and render only")
    parser.add_argument("--start", type=Path, help="go on from these weights")
    parser.add_argument("--stage", type=int, default=1, help="the first stage that is done, from 1 on; with --start")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "weights", help="folder")
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    TEXTURES.extend(pieces(args.data, args.more))
    kinds = args.net or ["eye", "mouth"]
    for kind in kinds:
        for sort, n in FILES[kind].items():
            if sort != "heads":
                draw(args.cache, f"{kind}-{sort}", n + 1, args.first)
    if args.makehuman is not None:
        render(args.cache, args.makehuman, FILES["eye"]["heads"] + 1, args.first)
    if args.draw:
        return 0
    import torch

    for kind in kinds:
        pools = {sort: Pool.read(args.cache, f"{kind}-{sort}", n) for sort, n in FILES[kind].items()}
        print(f"{kind}: {', '.join(f'{len(pool.images)} crops {sort}' for sort, pool in pools.items())}", flush=True)
        start, model = args.start, None
        for i, stage in enumerate(STAGES[kind][args.stage - 1 :], args.stage):
            if stage.mean:
                start = args.cache / f"{kind}-mean{i - 1}.pt"
                torch.save(mean([torch.load(args.cache / f"{kind}-stage{k}.pt") for k in range(1, i)]), start)
            model = train(stage, kind, pools, start)
            start = args.cache / f"{kind}-stage{i}.pt"
            torch.save(model.state_dict(), start)
        path = args.out / f"{kind}.onnx"
        exported(model, kind, path)
        whole = path.read_bytes()
        print(f"{path}: {len(whole)} bytes, sha256 {hashlib.sha256(whole).hexdigest()}")
        for sort, n in FILES[kind].items():
            with np.load(args.cache / f"{kind}-{sort}-{n:03d}.npz") as kept:
                print(json.dumps({sort: figures(path, kind, Pool(kept["images"], kept["told"]))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
