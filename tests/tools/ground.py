"""A flat road of random texture as a camera over it sees it, to a fraction of a pixel: walls that stand on it, marks on
it, and hills far away. All of it follows from a few numbers, so that a test knows what should be told.

m: x to the right of the lane's middle, y up, z ahead; rad: yaw to the right, pitch down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

HIGH, WIDE, FOCAL, X, Y, UP = 360, 640, 500.0, 320.0, 162.0, 1.5  # px and, last, m
FINE = 60.0  # texels a metre


class Wall(NamedTuple):
    """Upright, across the road."""

    x1: float
    x2: float
    y1: float  # its foot; 0 is the road
    y2: float
    z: float
    rough: float = 45.0  # grey levels of its texture
    light: float = 120.0


class Mark(NamedTuple):
    """Paint along the road."""

    x: float
    wide: float = 0.15
    on: float = 0.0  # m of paint, and after how many it comes again; 0: without a gap
    every: float = 0.0
    bright: float = 90.0  # grey levels above the road


def _clouds(seed: int) -> np.ndarray:
    rng, size = np.random.default_rng(seed), 1024
    tile = np.zeros((size, size), np.float32)
    for cells, share in ((512, 0.5), (256, 0.7), (128, 1.0), (64, 1.0), (32, 0.8)):
        small = rng.normal(0, share, (cells, cells)).astype(np.float32)
        tile += cv2.resize(np.tile(small, (2, 2)), (2 * size, 2 * size), interpolation=cv2.INTER_CUBIC)[
            size // 2 : size // 2 + size, size // 2 : size // 2 + size
        ]
    return tile / tile.std()


TILES = [_clouds(seed) for seed in (1, 2)]
FINER = [[tile] for tile in TILES]
for levels in FINER:
    for _ in range(6):
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def _texture(which: int, a: np.ndarray, b: np.ndarray, metre: np.ndarray) -> np.ndarray:
    """(h, w) at a, b m, which spread to that; metre: (h, 1) or (1, 1) how many a pixel covers."""
    level = np.minimum(np.maximum(np.log2(np.maximum(metre * np.float32(FINE), 1e-3)), 0), 6).astype(np.float32)
    a, b = a.astype(np.float32, copy=False), b.astype(np.float32, copy=False)
    out = np.zeros(np.broadcast_shapes(a.shape, b.shape), np.float32)
    for i in range(int(level.min()), int(np.ceil(level.max())) + 1) if level.size else ():
        tile, rows = FINER[which][i], slice(None)
        if len(level) > 1:
            here = np.flatnonzero(np.abs(level[:, 0] - i) < 1)
            if not len(here):
                continue
            rows = slice(here[0], here[-1] + 1)
        near = np.maximum(1 - np.abs(level[rows] - i), 0)
        by, size = np.float32(FINE / 2**i), np.float32(tile.shape[0])
        at = [by * (one[rows] if len(one) > 1 else one) - np.float32(0.5) for one in (a, b)]
        at = [np.broadcast_to(one - size * np.floor(one / size), out[rows].shape) for one in at]
        out[rows] += near * cv2.remap(tile, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return out


def seen(
    z: float = 0.0,
    x: float = 0.0,
    yaw: float = 0.0,
    pitch: float = 0.0,
    walls: Sequence[Wall] = (),
    marks: Sequence[Mark] = (),
    noise: float = 1.5,
    rough: float = 6.0,
    road: float = 90.0,
    sky: float = 170.0,
    seed: int = 0,
) -> np.ndarray:
    """(h, w) uint8. rough: grey levels of the road's texture; seed: of the noise."""
    out = np.full((HIGH, WIDE), sky, np.float32)
    horizon = Y - FOCAL * np.tan(pitch)
    rows = slice(max(0, int(horizon - 45)), min(HIGH, max(1, int(horizon + 3))))
    right, down, ahead = _rays(rows, slice(0, WIDE), yaw, pitch)
    share = np.clip(1 - np.abs(down + 0.04) / 0.05, 0, 1)
    out[rows] += share * 25.0 * _texture(1, 30 * right, 30 * down, ROUGH)
    rows = slice(max(0, int(horizon)), HIGH)
    right, down, ahead = _rays(rows, slice(0, WIDE), yaw, pitch)
    far = UP / np.maximum(down, 1e-4)
    across, along = x + far * right, z + far * ahead
    ground = road + rough * _texture(0, across, along, far * far / UP / FOCAL) * np.exp(-far / 60)
    for mark in marks:
        cover = np.clip((mark.wide / 2 - np.abs(across - mark.x)) * FOCAL / far + 0.5, 0, 1)
        cover *= np.minimum(1.0, mark.wide * FOCAL / far)
        if mark.every:
            cover *= np.mod(along, mark.every) < mark.on
        ground += cover * mark.bright
    out[rows] = np.where(down > 1e-4, np.where(far < 400, ground, road), out[rows])
    for wall in sorted(walls, key=lambda one: -one.z):
        if wall.z - z < 0.5:
            continue
        metre = (wall.z - z) / FOCAL
        left, foot = X + (wall.x1 - x) / metre - FOCAL * yaw, horizon + (UP - wall.y1) / metre
        rows = slice(max(0, int(foot - (wall.y2 - wall.y1) / metre) - 6), max(0, min(HIGH, int(foot) + 7)))
        columns = slice(max(0, int(left) - 12), max(0, min(WIDE, int(left + (wall.x2 - wall.x1) / metre) + 13)))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        right, down, ahead = _rays(rows, columns, yaw, pitch)
        off = (wall.z - z) / ahead
        there, up = x + off * right, UP - off * down
        cover = _covered(there, wall.x1, wall.x2, metre) * _covered(up, wall.y1, wall.y2, metre)
        texture = _texture(1, there - wall.x1, up + np.float32(wall.light), np.full((1, 1), metre, np.float32))
        paint = wall.light + wall.rough * 0.7 * texture
        out[rows, columns] += cover * (paint - out[rows, columns])
    grain = NOISE[seed % 97 :][:HIGH, seed % 89 :][:, :WIDE]
    return np.clip(out + np.float32(noise) * grain, 0, 255).astype(np.uint8)


NOISE = np.random.default_rng(0).normal(0, 1, (HIGH + 97, WIDE + 89)).astype(np.float32)


ROUGH = np.full((1, 1), 0.06, np.float32)  # m that a pixel covers, of hills


def _covered(at: np.ndarray, begin: float, end: float, metre: float) -> np.ndarray:
    """How much of the pixel lies between; metre: that it covers."""
    return np.minimum(np.maximum(np.minimum(at - begin, end - at) / metre + 0.5, 0), 1)


def _rays(rows: slice, columns: slice, yaw: float, pitch: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(h, w) right, (h, 1) down and (h, w) ahead of these pixels, 1 ahead of the camera's own axis."""
    u = np.arange(columns.start, columns.stop, dtype=np.float32)
    v = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    a, b = (u - np.float32(X)) / np.float32(FOCAL), (v - np.float32(Y)) / np.float32(FOCAL)
    c, s = np.float32(np.cos(pitch)), np.float32(np.sin(pitch))
    down, ahead = c * b + s, c - s * b
    c, s = np.float32(np.cos(yaw)), np.float32(np.sin(yaw))
    return c * a + s * ahead, down, c * ahead - s * a
