"""What is met on a road, painted: cars, vans, lorries, coaches, tankers, two-wheelers, people, houses, trees.

A body stands in its own axes: x right, y up, z ahead, in m; its rear is at z = 0 and it looks ahead. A car is the
outline of its side drawn out to its width; what is painted on it (paint, glass, lamps, plates, doors, dirt) comes from
a random number generator, and the same generator paints the same body again. Nothing here knows of time or cameras.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np

from .lens import Array, Face, Texture, texture

PPM = 90  # texels a metre
Colour = tuple[float, float, float]  # BGR, 0 to 255
PAINTS: tuple[tuple[Colour, float], ...] = (  # and how often they are met
    ((228, 230, 230), 0.24),
    ((176, 176, 172), 0.16),
    ((105, 104, 100), 0.16),
    ((32, 31, 30), 0.20),
    ((112, 62, 28), 0.08),
    ((32, 26, 150), 0.08),
    ((60, 88, 40), 0.03),
    ((120, 160, 175), 0.03),
    ((40, 150, 205), 0.02),
)
SHAPES: dict[str, tuple[tuple[float, float], ...]] = {  # outline of a side from the rear: share of length, of height
    "saloon": (
        (0, 0.20), (0, 0.5), (0.01, 0.66), (0.11, 0.70), (0.25, 0.95), (0.31, 1),
        (0.52, 1), (0.57, 0.96), (0.75, 0.66), (0.96, 0.54), (1, 0.4), (1, 0.2),
    ),
    "hatchback": (
        (0, 0.2), (0, 0.5), (0.02, 0.63), (0.09, 0.93), (0.13, 1), (0.50, 1),
        (0.56, 0.96), (0.75, 0.67), (0.96, 0.54), (1, 0.4), (1, 0.2),
    ),
    "estate": (
        (0, 0.2), (0, 0.5), (0.015, 0.65), (0.06, 0.94), (0.10, 1), (0.54, 1),
        (0.59, 0.96), (0.76, 0.66), (0.96, 0.54), (1, 0.4), (1, 0.2),
    ),
    "suv": (
        (0, 0.22), (0, 0.52), (0.01, 0.64), (0.05, 0.94), (0.09, 1), (0.54, 1),
        (0.59, 0.96), (0.73, 0.67), (0.97, 0.60), (1, 0.44), (1, 0.22),
    ),
    "van": (
        (0, 0.15), (0, 0.5), (0.005, 0.62), (0.012, 0.95), (0.03, 1), (0.64, 1),
        (0.69, 0.97), (0.84, 0.60), (0.97, 0.48), (1, 0.36), (1, 0.15),
    ),
    "pickup": (
        (0, 0.22), (0, 0.54), (0.005, 0.58), (0.34, 0.58), (0.37, 0.95), (0.41, 1),
        (0.58, 1), (0.62, 0.96), (0.74, 0.64), (0.97, 0.58), (1, 0.44), (1, 0.22),
    ),
}  # fmt: skip
SIZES: dict[str, tuple[float, float, float, float]] = {  # length, width, height m, and how much narrower the roof is
    "saloon": (4.6, 1.80, 1.45, 0.76),
    "hatchback": (4.1, 1.75, 1.48, 0.80),
    "estate": (4.7, 1.82, 1.50, 0.80),
    "suv": (4.6, 1.88, 1.70, 0.83),
    "van": (5.4, 1.95, 2.15, 0.92),
    "pickup": (5.2, 1.88, 1.80, 0.80),
    "box lorry": (8.5, 2.5, 3.6, 1.0),
    "curtain lorry": (13.6, 2.55, 4.0, 1.0),
    "tipper": (8.0, 2.5, 3.1, 1.0),
    "tanker": (11.0, 2.5, 3.4, 1.0),
    "coach": (12.0, 2.55, 3.5, 1.0),
}
CARS = tuple(SHAPES)
HEAVY = tuple(kind for kind in SIZES if kind not in SHAPES)
LIGHT_PARTS = ("motorcycle", "scooter", "bicycle")


class Lamp(NamedTuple):
    """A light on a body."""

    at: Array  # (3,) m
    kind: str  # tail, brake, head, left, right
    rear: bool


class Body(NamedTuple):
    """Something that stands on the road."""

    kind: str  # vehicle, two-wheeler, person, or "" for what is no target
    what: str
    length: float  # m
    width: float
    height: float
    faces: tuple[Face, ...]
    hull: Array  # (n, 3) m: its outermost points
    lamps: tuple[Lamp, ...] = ()
    turns: bool = True  # a flat one does not: it always shows its face


# -- paint ----------------------------------------------------------------------------------------


def noise(h: int, w: int, cell: float, rng: np.random.Generator, octaves: int = 3) -> Array:
    """(h, w) float32 about 0, of spread 1: clouds of `cell` px and finer."""
    out = np.zeros((h, w), np.float32)
    for i in range(octaves):
        size = max(1.0, cell / 2**i)
        small = rng.normal(0, 1, (int(h / size) + 2, int(w / size) + 2)).astype(np.float32)
        out += cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC) * 0.6**i
    return np.asarray((out - out.mean()) / (out.std() + 1e-6))


def paint(rng: np.random.Generator) -> Colour:
    """Of a car."""
    share = np.array([s for _, s in PAINTS])
    base = np.array(PAINTS[int(rng.choice(len(PAINTS), p=share / share.sum()))][0])
    b, g, r = np.clip(base * rng.uniform(0.8, 1.15) + rng.normal(0, 7, 3), 8, 250)
    return float(b), float(g), float(r)


_TURN = np.linspace(0, 2 * np.pi, 28, endpoint=False)
CIRCLE: Array = np.stack([np.cos(_TURN), np.sin(_TURN)], -1)  # (28, 2) of radius 1


class Sheet:
    """A drawing in metres: x to the right from the middle, y up from the ground."""

    def __init__(self, width: float, height: float, ppm: float = PPM) -> None:
        self.width, self.height, self.ppm = width, height, ppm
        shape = max(4, round(height * ppm)), max(4, round(width * ppm))
        self.image = np.zeros((*shape, 3), np.uint8)
        self.alpha = np.zeros(shape, np.uint8)

    def at(self, points: Any) -> Array:
        p = np.asarray(points, float)
        xy = np.empty(p.shape)
        xy[..., 0] = (p[..., 0] + self.width / 2) * self.ppm
        xy[..., 1] = (self.height - p[..., 1]) * self.ppm
        return np.rint(xy * 16 - 8).astype(np.int32)

    def fill(self, points: Any, colour: Any, opacity: int = 255) -> None:
        """opacity 0 cuts a hole."""
        px = self.at(points)
        if opacity:
            cv2.fillPoly(self.image, [px], _bgr(colour), cv2.LINE_AA, 4)
        cv2.fillPoly(self.alpha, [px], opacity, cv2.LINE_AA, 4)

    def rect(self, x1: float, y1: float, x2: float, y2: float, colour: Any) -> None:
        self.fill([(x1, y1), (x1, y2), (x2, y2), (x2, y1)], colour)

    def disc(self, x: float, y: float, r: float, colour: Any) -> None:
        self.fill((x, y) + r * CIRCLE, colour)

    def line(self, a: Any, b: Any, wide: float, colour: Any) -> None:
        a, b = np.asarray(a, float), np.asarray(b, float)
        along = (b - a) / (np.linalg.norm(b - a) + 1e-9)
        off = np.array([-along[1], along[0]]) * wide / 2
        self.fill([a + off, b + off, b - off, a - off], colour)

    def shade(self, gain: Array) -> None:
        self.image = np.clip(self.image * gain[..., None], 0, 255).astype(np.uint8)

    def light(self, rng: np.random.Generator, top: float = 1.12, bottom: float = 0.72) -> None:
        """From above, with the unevenness of dirt and what is mirrored in the paint."""
        h, w = self.alpha.shape
        fall = np.linspace(top, bottom, h, dtype=np.float32)[:, None]
        self.shade(fall * (1 + 0.02 * noise(h, w, 0.9 * self.ppm, rng) + 0.012 * noise(h, w, 4, rng, 1)))

    def part(self, y1: float, y2: float) -> Texture:
        """Between two heights."""
        top, bottom = (round((self.height - y) * self.ppm) for y in (y2, y1))
        whole = np.dstack([self.image, self.alpha])[max(0, top) : max(bottom, top + 4)]
        return texture(whole)

    def whole(self) -> Texture:
        return texture(np.dstack([self.image, self.alpha]))


def _bgr(colour: Any) -> tuple[int, int, int]:
    b, g, r = (int(min(max(c, 0), 255)) for c in colour)
    return b, g, r


def dim(colour: Colour, by: float) -> Colour:
    return colour[0] * by, colour[1] * by, colour[2] * by


def _plate(sheet: Sheet, x: float, y: float, rng: np.random.Generator, wide: float = 0.5) -> None:
    ground = [(225, 228, 228), (60, 190, 225), (150, 70, 30), (110, 190, 90)][
        int(rng.choice(4, p=[0.5, 0.1, 0.3, 0.1]))
    ]
    ink = (235, 235, 235) if ground[0] == 150 else (25, 25, 25)
    sheet.rect(x - wide / 2, y - 0.055, x + wide / 2, y + 0.06, (40, 40, 40))
    sheet.rect(x - wide / 2 + 0.01, y - 0.045, x + wide / 2 - 0.01, y + 0.05, ground)
    for i in range(7):
        left = x - wide * 0.42 + i * wide * 0.12
        for _ in range(2):
            a, b = rng.uniform(0, 0.045, 2)
            sheet.line((left + a, y - 0.03), (left + b, y + 0.035), 0.012, ink)


def _glass(sheet: Sheet, points: Any, rng: np.random.Generator, seats: bool = True) -> None:
    """A window: dark, the sky mirrored at its top, something of the inside."""
    points = np.asarray(points, float)
    dark = rng.uniform(18, 55)
    sheet.fill(points, (dark * 1.05, dark, dark * 0.95))
    (x1, y1), (x2, y2) = points.min(0), points.max(0)
    mask = np.zeros_like(sheet.alpha)
    cv2.fillPoly(mask, [sheet.at(points)], 255, cv2.LINE_AA, 4)
    over = sheet.image.astype(np.float32)
    h, w = mask.shape
    v = (sheet.height - (np.arange(h) + 0.5) / sheet.ppm - y1) / (y2 - y1 + 1e-6)
    sky = np.clip(v - rng.uniform(0.2, 0.7), 0, 1)[:, None] * rng.uniform(20, 190)
    sky = sky + np.clip(noise(h, w, 0.25 * sheet.ppm, rng), 0, 2) * rng.uniform(0, 22)
    over += sky[..., None] * np.array((1.1, 1.0, 0.9), np.float32)
    if seats:
        for x in np.linspace(x1, x2, 5)[1:-1:2]:
            cx, cy = sheet.at([(x, y1 + 0.42 * (y2 - y1))])[0] / 16
            cv2.circle(over, (int(cx), int(cy)), int(0.12 * sheet.ppm), (dark * 0.5,) * 3, -1, cv2.LINE_AA)
    if rng.random() < 0.3:  # the sun in it
        x, y = rng.uniform(x1, x2), rng.uniform((y1 + y2) / 2, y2)
        cx, cy = sheet.at([(x, y)])[0] / 16
        yy, xx = np.mgrid[0:h, 0:w]
        over += (rng.uniform(60, 230) * np.exp(-(((xx - cx) / 14) ** 2 + ((yy - cy) / 9) ** 2)))[..., None]
    m = (mask / 255.0)[..., None]
    sheet.image = np.clip(sheet.image * (1 - m) + over * m, 0, 255).astype(np.uint8)
    for a, b in zip(points, np.roll(points, -1, 0), strict=True):
        sheet.line(a, b, 0.025, (22, 22, 22))


def _wheel(sheet: Sheet, x: float, r: float, rng: np.random.Generator) -> None:
    sheet.disc(x, r + 0.03, r * 1.2, (16, 16, 16))
    sheet.disc(x, r, r, (28, 28, 29))
    rim = rng.uniform(70, 190)
    sheet.disc(x, r, r * 0.66, (rim, rim, rim))
    for a in np.linspace(0, 2 * np.pi, int(rng.integers(5, 9)), endpoint=False) + rng.uniform(0, 1):
        end = (x + r * 0.6 * np.cos(a), r + r * 0.6 * np.sin(a))
        sheet.line((x, r), end, 0.05, (rim * 0.35,) * 3)
    sheet.disc(x, r, r * 0.16, (rim * 0.6,) * 3)


# -- cars -----------------------------------------------------------------------------------------


def _behind(kind: str, w: float, h: float, colour: Colour, rng: np.random.Generator) -> Sheet:
    """The rear of a car, seen straight on."""
    s, belt, low = Sheet(w, h), 0.66 * h, 0.2 * h
    s.rect(-w / 2, 0.11 * h, w / 2, h, (20, 20, 20))
    s.rect(-w / 2, low, w / 2, h, colour)
    s.fill([(-w / 2, 0.11 * h), (-w / 2, low), (w / 2, low), (w / 2, 0.11 * h)], (18, 18, 18))
    if kind == "van":
        s.line((0, 0.25 * h), (0, h), 0.02, dim(colour, 0.4))
        if rng.random() < 0.6:
            for side in (-1, 1):
                _glass(
                    s,
                    np.array([(0.08, 0.58 * h), (0.08, 0.9 * h), (0.40 * w, 0.9 * h), (0.42 * w, 0.58 * h)])
                    * (side, 1),
                    rng,
                    False,
                )
        s.rect(0.02, 0.46 * h, 0.06, 0.49 * h, (30, 30, 30))
    else:
        inset = rng.uniform(0.06, 0.13)
        top = h - 0.09
        _glass(
            s,
            [
                (-w / 2 + inset, belt + 0.03),
                (-w / 2 + inset + 0.05, top),
                (w / 2 - inset - 0.05, top),
                (w / 2 - inset, belt + 0.03),
            ],
            rng,
        )
        if kind == "pickup":
            s.rect(-w / 2 + 0.05, 0.58 * h, w / 2 - 0.05, 0.6 * h, dim(colour, 0.45))
        if rng.random() < 0.7:
            s.line((-0.05, belt + 0.05), (0.3, belt + 0.09), 0.025, (15, 15, 15))
    # boot, bumper, sill
    y_plate = rng.choice([0.47, 0.36]) * h
    s.line((-w / 2 + 0.08, 0.40 * h), (w / 2 - 0.08, 0.40 * h), 0.016, dim(colour, 0.45))
    s.line((-w / 2, 0.62 * h), (w / 2, 0.62 * h), 0.014, dim(colour, 1.2))
    if rng.random() < 0.55:
        s.rect(-w / 2, 0.2 * h, w / 2, rng.uniform(0.25, 0.36) * h, (34, 34, 35))
    s.rect(-0.34 * w, 0.17 * h, -0.22 * w, 0.205 * h, (70, 70, 72))
    # lamps
    if kind in ("van", "estate", "suv", "hatchback") and rng.random() < 0.55:
        y1, y2, wide = 0.44 * h, rng.uniform(0.62, 0.8) * h, rng.uniform(0.12, 0.18)
    else:
        y1, y2, wide = 0.49 * h, rng.uniform(0.58, 0.64) * h, rng.uniform(0.25, 0.45)
    lean = rng.uniform(0, 0.6) * wide
    for side in (-1, 1):
        red = (30, 22, rng.uniform(120, 190))
        edge = np.array([(w / 2 - 0.02, y1), (w / 2 - 0.03, y2), (w / 2 - wide + lean, y2), (w / 2 - wide, y1)]) * (
            side,
            1,
        )
        s.fill(edge, red)
        mid = edge.mean(0)
        s.fill(mid + (edge - mid) * (0.5, 0.35) + (0, 0.02), (70, 60, 230))
        s.fill(mid + (edge - mid) * (0.45, 0.2) - (0, 0.3 * (y2 - y1)), (205, 205, 210))
    if rng.random() < 0.3:
        s.rect(-w / 2 + wide, y2 - 0.05, w / 2 - wide, y2 - 0.01, dim((190, 190, 195), rng.uniform(0.4, 1.1)))
    s.disc(0, 0.58 * h, 0.05, (175, 175, 175))
    _plate(s, 0, float(y_plate), rng)
    # tyres, under all of it
    for side in (-1, 1):
        s.rect(side * (w / 2 - 0.03), 0, side * (w / 2 - 0.24), 0.17 * h, (24, 24, 25))
    s.light(rng)
    return s


def _front(kind: str, w: float, h: float, colour: Colour, rng: np.random.Generator) -> Sheet:
    """The front of a car, seen straight on."""
    s, low = Sheet(w, h), 0.2 * h
    s.rect(-w / 2, 0.11 * h, w / 2, low, (18, 18, 18))
    s.rect(-w / 2, low, w / 2, h, colour)
    base = (0.62 if kind == "van" else 0.67) * h
    _glass(s, [(-w / 2 + 0.07, base), (-w / 2 + 0.14, 0.965 * h), (w / 2 - 0.14, 0.965 * h), (w / 2 - 0.07, base)], rng)
    s.rect(-0.28 * w, 0.2 * h, 0.28 * w, rng.uniform(0.27, 0.33) * h, (25, 25, 26))
    gw, g1, g2 = rng.uniform(0.22, 0.36) * w, 0.40 * h, rng.uniform(0.47, 0.54) * h
    s.rect(-gw, g1, gw, g2, (28, 28, 30))
    for y in np.linspace(g1, g2, int(rng.integers(3, 6)))[1:-1]:
        s.line((-gw, y), (gw, y), 0.014, (150, 150, 152))
    for x in (-gw, gw):
        s.line((x, g1), (x, g2), 0.012, (160, 160, 162))
    s.disc(0, (g1 + g2) / 2, 0.055, (190, 190, 192))
    tall, wide = rng.uniform(0.08, 0.13) * h, rng.uniform(0.3, 0.45)
    y = rng.uniform(0.44, 0.5) * h
    for side in (-1, 1):
        lamp = np.array(
            [(w / 2 - 0.02, y), (w / 2 - 0.05, y + tall), (w / 2 - wide, y + 0.7 * tall), (w / 2 - wide, y)]
        ) * (side, 1)
        s.fill(lamp, (150, 150, 152))
        mid = lamp.mean(0)
        s.fill(mid + (lamp - mid) * 0.75, (205, 206, 205))
        s.disc(float(mid[0]), float(mid[1]), 0.045, (250, 250, 250))
        s.disc(side * (w / 2 - 0.25), 0.29 * h, 0.05, (120, 120, 120))
        s.line((side * (w / 2 - 0.06), 0.2 * h), (side * (w / 2 - 0.12), 0.42 * h), 0.012, dim(colour, 0.6))
    s.line((-w / 2 + 0.1, 0.40 * h), (w / 2 - 0.1, 0.40 * h), 0.014, dim(colour, 0.5))
    _plate(s, 0, 0.34 * h, rng)
    for side in (-1, 1):
        a, b = sorted((side * (w / 2 - 0.03), side * (w / 2 - 0.24)))
        s.rect(a, 0, b, 0.17 * h, (24, 24, 25))
    s.light(rng)
    return s


def _side(kind: str, length: float, h: float, colour: Colour, rng: np.random.Generator) -> Sheet:
    """The right side of a car: its rear is at the left."""
    s = Sheet(length, h)
    shape = np.array(SHAPES[kind]) * (length, h) - (length / 2, 0)
    r = 0.31 if kind not in ("suv", "van", "pickup") else 0.36
    s.fill(shape, colour)
    belt, top = 0.66 * h, 0.94 * h
    upper = shape[(shape[:, 1] > 0.6 * h)]
    back, front = float(upper[0][0]), float(upper[-2][0])
    roof = shape[shape[:, 1] > 0.9 * h]
    x1, x2 = float(roof[0][0]), float(roof[-1][0])
    if kind == "van":
        back = x1 = x2 - rng.uniform(0.2, 1.0)
    pillar = np.linspace(0, 1, 4 if kind in ("saloon", "estate", "suv", "hatchback") else 2)
    for a, b in pairwise(pillar):
        lo = [back + 0.13 + (front - back - 0.34) * k for k in (a, b)]
        hi = [x1 + 0.05 + (x2 - x1 - 0.08) * k for k in (a, b)]
        _glass(
            s,
            [(lo[0] + 0.04, belt + 0.02), (hi[0] + 0.04, top), (hi[1] - 0.03, top), (lo[1] - 0.03, belt + 0.02)],
            rng,
            False,
        )
        s.line((lo[1], belt), (lo[1] + 0.02, 0.26 * h), 0.014, dim(colour, 0.45))
        s.rect(lo[1] - 0.28, 0.60 * h, lo[1] - 0.10, 0.62 * h, dim(colour, 0.6))
    s.line((-length / 2 + 0.06, 0.59 * h), (length / 2 - 0.3, 0.57 * h), 0.02, dim(colour, 1.18))
    s.line((-length / 2 + 0.2, 0.38 * h), (length / 2 - 0.2, 0.37 * h), 0.03, dim(colour, 0.8))
    s.line((-length / 2 + 0.05, 0.22 * h), (length / 2 - 0.05, 0.22 * h), 0.09, (25, 25, 26))
    s.rect(-length / 2, 0.5 * h, -length / 2 + 0.2, 0.62 * h, (30, 24, 150))
    s.rect(length / 2 - 0.32, 0.46 * h, length / 2 - 0.02, 0.54 * h, (190, 192, 192))
    s.rect(length / 2 - 1.45, 0.66 * h, length / 2 - 1.28, 0.73 * h, dim(colour, 0.7))
    for x in (-length / 2 + 0.19 * length, length / 2 - 0.19 * length):
        _wheel(s, float(x), r, rng)
    s.light(rng, 1.1, 0.62)
    return s


def _narrow(y: float, h: float, roof: float) -> float:
    """How wide the body is at a height, 1 at the belt."""
    return float(1 - (1 - roof) * np.clip((y / h - 0.62) / 0.38, 0, 1) - 0.04 * np.clip(0.3 - y / h, 0, 1))


def car(kind: str, rng: np.random.Generator, colour: Colour | None = None) -> Body:
    """A car or van."""
    length, w, h, roof = (SIZES[kind][i] * (rng.uniform(0.96, 1.04) if i < 3 else 1) for i in range(4))
    colour = colour or ((225, 226, 226) if kind == "van" and rng.random() < 0.6 else paint(rng))
    back, front, flank = (f(kind, w if f is not _side else length, h, colour, rng) for f in (_behind, _front, _side))
    shape = np.array(SHAPES[kind]) * (length, h)
    peak = int(np.argmax(shape[:, 1]))
    faces: list[Face] = []
    plain = Sheet(1.0, 1.0, 32)
    plain.rect(-0.5, 0, 0.5, 1, dim(colour, 1.12))
    plain.light(rng, 1.0, 1.05)
    for i, ((z1, y1), (z2, y2)) in enumerate(pairwise(shape)):
        low, high = ((z1, y1), (z2, y2)) if i < peak else ((z2, y2), (z1, y1))
        half = [w / 2 * _narrow(y, h, roof) for y in (y1, y2)]
        if abs(y1 - y2) < 0.012 * h:
            strip = plain.whole()
            corners = [(-half[1], y2, z2), (half[1], y2, z2), (half[0], y1, z1), (-half[0], y1, z1)]
        elif i < peak:
            strip = back.part(low[1] if i else 0.0, high[1])
            y0 = low[1] if i else 0.0
            corners = [(-half[1], y2, z2), (half[1], y2, z2), (half[0], y0, z1), (-half[0], y0, z1)]
        else:
            last = i == len(shape) - 2
            y0 = 0.0 if last else low[1]
            strip = front.part(y0, high[1])
            corners = [(half[0], y1, z1), (-half[0], y1, z1), (-half[1], y0, z2), (half[1], y0, z2)]
        faces.append(Face(np.array(corners, float), strip))
    belt = 0.62 * h
    for side in (1, -1):
        sheet = Sheet(length, h)
        sheet.image, sheet.alpha = flank.image, flank.alpha
        if side < 0:
            sheet.image, sheet.alpha = flank.image[:, ::-1], flank.alpha[:, ::-1]
        ends = (0.0, length) if side > 0 else (length, 0.0)
        x1, x2 = side * w / 2, side * w / 2 * roof
        faces.append(
            Face(
                np.array([(x1, belt, ends[0]), (x1, belt, ends[1]), (x1, 0, ends[1]), (x1, 0, ends[0])]),
                sheet.part(0, belt),
            )
        )
        faces.append(
            Face(
                np.array([(x2, h, ends[0]), (x2, h, ends[1]), (x1, belt, ends[1]), (x1, belt, ends[0])]),
                sheet.part(belt, h),
            )
        )
    hull = [(s * w / 2 * _narrow(y, h, roof), y, z) for z, y in shape for s in (-1, 1)]
    hull += [(s * w / 2, 0, z) for s in (-1, 1) for z in (0.03 * length, 0.97 * length)]
    hull += [(s * w / 2, 0.11 * h, z) for s in (-1, 1) for z in (0, length)]
    # the tyres of the rear are painted on its plane
    hull += [(s * (w / 2 - 0.03), 0, z) for s in (-1, 1) for z in (0, length)]
    return Body("vehicle", kind, length, w, h, tuple(faces), np.array(hull), _lamps(w, length, 0.55 * h, 0.47 * h))


def _lamps(w: float, length: float, tail: float, head: float) -> tuple[Lamp, ...]:
    out = []
    for side, turn in ((-1, "left"), (1, "right")):
        x = side * (w / 2 - 0.17)
        out += [
            Lamp(np.array([x, tail, -0.02]), "tail", True),
            Lamp(np.array([x, tail + 0.02, -0.02]), "brake", True),
            Lamp(np.array([x, tail, -0.02]), turn, True),
            Lamp(np.array([side * (w / 2 - 0.3), head, length + 0.02]), "head", False),
        ]
    return tuple(out)


# -- lorries and coaches --------------------------------------------------------------------------


def _chassis(s: Sheet, w: float, rng: np.random.Generator) -> None:
    """Under the rear of a lorry: beam with lamps, plate, tyres, flaps."""
    s.rect(-w / 2 + 0.05, 0.55, w / 2 - 0.05, 1.05, (26, 26, 27))
    for side in (-1, 1):
        a, b = sorted((side * (w / 2 - 0.05), side * (w / 2 - 0.62)))
        s.rect(a, 0, b, 0.62, (20, 20, 20))
        s.rect(a + 0.02, 0.2, b - 0.02, 0.66, (34, 34, 35))
        a, b = sorted((side * (w / 2 - 0.08), side * (w / 2 - 0.5)))
        s.rect(a, 0.78, b, 0.93, (30, 24, 140))
        m = (a + b) / 2
        s.rect(m - 0.06, 0.8, m + 0.06, 0.91, (60, 140, 220))
    bar = rng.uniform(120, 200)
    s.rect(-w / 2 + 0.05, 0.45, w / 2 - 0.05, 0.58, (bar, bar, bar))
    for x in np.arange(-w / 2 + 0.1, w / 2 - 0.15, 0.3):
        s.rect(x, 0.46, x + 0.14, 0.57, (40, 40, 190))
    _plate(s, 0.0, 0.84, rng, 0.5)


def _lorry_back(kind: str, w: float, h: float, colour: Colour, rng: np.random.Generator) -> Sheet:
    s = Sheet(w, h, 70)
    _chassis(s, w, rng)
    if kind == "tanker":
        a = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        mid, ry = (h + 1.0) / 2, (h - 1.0) / 2
        steel = rng.uniform(150, 215)
        s.fill(np.stack([w / 2 * np.cos(a), mid + ry * np.sin(a)], -1), (steel, steel, steel * 0.98))
        s.fill(np.stack([0.42 * w * np.cos(a), mid + 0.84 * ry * np.sin(a)], -1), (steel * 0.86,) * 3)
        h_px, w_px = s.alpha.shape
        sweep = 1 + 0.32 * np.sin(np.linspace(0.3, 3.0, w_px))[None] - 0.25 * np.linspace(0, 1, h_px)[:, None]
        s.shade((sweep * (1 + 0.03 * noise(h_px, w_px, 30, rng))).astype(np.float32))
        for x in (0.25, 0.6):
            s.line((x, 1.05), (x, h - 0.35), 0.035, (70, 70, 70))
        for y in np.arange(1.15, h - 0.4, 0.3):
            s.line((0.25, y), (0.6, y), 0.03, (75, 75, 75))
        s.rect(-0.65, mid - 0.55, -0.25, mid - 0.25, (15, 15, 15))
        s.rect(-0.63, mid - 0.53, -0.27, mid - 0.27, (20, 120, 245))
        for y in (mid - 0.46, mid - 0.33):
            for x in np.arange(-0.58, -0.32, 0.08):
                s.line((x, y - 0.04), (x + 0.03, y + 0.04), 0.02, (15, 15, 15))
        s.line((-0.63, mid - 0.4), (-0.27, mid - 0.4), 0.02, (15, 15, 15))
        s.fill([(-0.9, mid + 0.1), (-0.65, mid + 0.35), (-0.4, mid + 0.1), (-0.65, mid - 0.15)], (60, 40, 210))
        return s
    s.rect(-w / 2, 1.0, w / 2, h, colour)
    if kind == "tipper":
        for x in np.linspace(-w / 2 + 0.12, w / 2 - 0.12, 5):
            s.line((x, 1.05), (x, h - 0.1), 0.1, dim(colour, 0.82))
        s.rect(-w / 2, h - 0.16, w / 2, h - 0.04, dim(colour, 0.7))
    elif kind == "box lorry" or rng.random() < 0.6:
        frame = dim((185, 185, 188), rng.uniform(0.6, 1.1))
        for x in (-w / 2 + 0.05, w / 2 - 0.05):
            s.line((x, 1.0), (x, h), 0.1, frame)
        s.line((-w / 2, h - 0.06), (w / 2, h - 0.06), 0.12, frame)
        s.line((0, 1.0), (0, h - 0.1), 0.025, dim(colour, 0.4))
        for x in (-0.55, -0.22, 0.22, 0.55):
            s.line((x, 1.02), (x, h - 0.12), 0.032, (165, 166, 168))
            s.rect(x - 0.02, 1.55, x + 0.14 * np.sign(-x), 1.62, (90, 90, 92))
        for y in np.linspace(1.3, h - 0.4, 5):
            for side in (-1, 1):
                s.rect(side * (w / 2 - 0.16), y, side * (w / 2 - 0.03), y + 0.08, (80, 80, 82))
    else:  # a curtain or a roller door
        for y in np.arange(1.1, h, rng.uniform(0.12, 0.5)):
            s.line((-w / 2, y), (w / 2, y), 0.016, dim(colour, 0.78))
    if rng.random() < 0.55:  # whose it is
        ink = dim(paint(rng), 0.9)
        y, x, tall = rng.uniform(2.0, h - 0.9), rng.uniform(-0.9, -0.5), rng.uniform(0.2, 0.5)
        for i in range(int(rng.integers(4, 8))):
            for _ in range(2):
                a, b = rng.uniform(0, 0.16, 2)
                s.line((x + 0.24 * i + a, y), (x + 0.24 * i + b, y + tall), 0.05, ink)
    tape = (45, 45, 205) if rng.random() < 0.5 else (70, 200, 225)
    for x in np.arange(-w / 2 + 0.02, w / 2 - 0.1, 0.26):
        s.rect(x, 1.02, x + 0.15, 1.08, tape)
    if rng.random() < 0.5:
        for side in (-1, 1):
            for y in np.arange(1.1, h - 0.1, 0.3):
                s.rect(side * (w / 2 - 0.03) - 0.025, y, side * (w / 2 - 0.03) + 0.025, y + 0.18, tape)
    h_px, w_px = s.alpha.shape
    dirt = np.clip(np.linspace(-0.3, 0.6, h_px)[:, None] + 0.25 * noise(h_px, w_px, 40, rng), 0, 0.7) * rng.uniform(
        0.2, 0.9
    )
    s.image = (s.image * (1 - dirt[..., None]) + np.array((78, 88, 96)) * dirt[..., None]).astype(np.uint8)
    s.light(rng, 1.06, 0.8)
    return s


def _lorry_side(kind: str, length: float, h: float, colour: Colour, cab: Colour, rng: np.random.Generator) -> Sheet:
    s = Sheet(length, h, 45)
    end = length / 2 - 2.2  # of the load
    s.rect(-length / 2, 0.9, length / 2 - 2.0, 1.1, (30, 30, 31))
    s.rect(-length / 2 + 1.5, 0.45, end - 1.0, 0.9, (52, 53, 55))
    if kind == "tanker":
        y = np.linspace(1.0, h, 24)
        for a, b in pairwise(y):
            g = 90 + 125 * max(0.0, float(np.sin(np.pi * (a - 1.0) / (h - 1.0)))) ** 1.5
            s.rect(-length / 2, a, end, b + 0.02, (g, g, g))
    else:
        s.rect(-length / 2, 1.0, end, h, colour)
        if kind != "coach":
            for x in np.arange(-length / 2, end, rng.uniform(0.4, 1.2)):
                s.line((x, 1.0), (x, h), 0.02, dim(colour, 0.8))
            s.line((-length / 2, h - 0.08), (end, h - 0.08), 0.1, dim(colour, 0.75))
            if rng.random() < 0.6:
                s.rect(-length / 2 + 0.15 * length, 1.7, end - 0.2 * length, h - 0.6, dim(paint(rng), 1.0))
    s.fill(
        [
            (end + 0.1, 0.5),
            (end + 0.1, h * 0.92),
            (length / 2 - 0.25, h * 0.9),
            (length / 2, 0.55 * h),
            (length / 2, 0.45),
        ],
        cab,
    )
    _glass(
        s,
        [
            (length / 2 - 1.4, 0.55 * h),
            (length / 2 - 1.4, 0.78 * h),
            (length / 2 - 0.35, 0.78 * h),
            (length / 2 - 0.12, 0.55 * h),
        ],
        rng,
        False,
    )
    axles = [-length / 2 + 1.2, length / 2 - 1.3] + ([-length / 2 + 2.5] if length > 9 else [])
    for x in axles:
        _wheel(s, x, 0.5, rng)
    s.light(rng, 1.06, 0.7)
    return s


def _lorry_front(w: float, h: float, cab: Colour, rng: np.random.Generator) -> Sheet:
    s = Sheet(w, h, 60)
    top = 0.93 * h
    s.fill(
        [
            (-w / 2, 0.35),
            (-w / 2, top - 0.2),
            (-w / 2 + 0.2, top),
            (w / 2 - 0.2, top),
            (w / 2, top - 0.2),
            (w / 2, 0.35),
        ],
        cab,
    )
    _glass(
        s, [(-w / 2 + 0.1, 0.5 * h), (-w / 2 + 0.18, 0.78 * h), (w / 2 - 0.18, 0.78 * h), (w / 2 - 0.1, 0.5 * h)], rng
    )
    s.rect(-0.36 * w, 0.24 * h, 0.36 * w, 0.46 * h, (30, 30, 32))
    for y in np.linspace(0.26 * h, 0.44 * h, 5):
        s.line((-0.36 * w, y), (0.36 * w, y), 0.03, dim(cab, 0.8))
    s.rect(-w / 2, 0.35, w / 2, 0.62, dim(cab, 0.6))
    for side in (-1, 1):
        a, b = sorted((side * (w / 2 - 0.06), side * (w / 2 - 0.5)))
        s.rect(a, 0.62, b, 0.85, (220, 222, 222))
        s.rect(a, 0, b, 0.35, (22, 22, 22))
        a, b = sorted((side * (w / 2 - 0.01), side * (w / 2 - 0.14)))
        s.rect(a, 0.52 * h, b, 0.68 * h, (28, 28, 28))
    _plate(s, 0, 0.5, rng)
    s.light(rng, 1.06, 0.8)
    return s


def _coach_back(w: float, h: float, colour: Colour, rng: np.random.Generator) -> Sheet:
    s = Sheet(w, h, 70)
    s.rect(-w / 2, 0.32, w / 2, h, colour)
    stripe = paint(rng)
    s.fill([(-w / 2, 1.3), (-w / 2, 1.75), (w / 2, 2.2), (w / 2, 1.6)], stripe)
    _glass(
        s,
        [(-w / 2 + 0.15, 0.56 * h), (-w / 2 + 0.18, 0.88 * h), (w / 2 - 0.18, 0.88 * h), (w / 2 - 0.15, 0.56 * h)],
        rng,
    )
    for y in np.arange(0.75, 1.25, 0.09):
        s.line((-0.55, y), (0.55, y), 0.04, dim(colour, 0.4))
    for side in (-1, 1):
        for i, c in enumerate(((30, 24, 170), (30, 24, 170), (60, 140, 220), (205, 205, 205))):
            s.disc(side * (w / 2 - 0.2), 0.75 + 0.2 * i, 0.085, c)
        a, b = sorted((side * (w / 2 - 0.06), side * (w / 2 - 0.6)))
        s.rect(a, 0, b, 0.4, (22, 22, 22))
    s.rect(-w / 2, 0.32, w / 2, 0.6, dim(colour, 0.6))
    _plate(s, 0, 0.5, rng)
    s.light(rng, 1.08, 0.75)
    return s


def _coach_side(length: float, h: float, colour: Colour, rng: np.random.Generator) -> Sheet:
    s = Sheet(length, h, 45)
    s.rect(-length / 2, 0.3, length / 2, h, colour)
    s.rect(-length / 2, 1.0, length / 2, 1.3, paint(rng))
    _glass(
        s,
        [
            (-length / 2 + 0.2, 0.5 * h),
            (-length / 2 + 0.2, 0.86 * h),
            (length / 2 - 0.15, 0.86 * h),
            (length / 2 - 0.05, 0.5 * h),
        ],
        rng,
    )
    for x in np.arange(-length / 2 + 1.5, length / 2 - 0.5, 1.5):
        s.line((x, 0.5 * h), (x, 0.86 * h), 0.08, (20, 20, 20))
    for x in (-length / 2 + 2.8, length / 2 - 2.6):
        _wheel(s, x, 0.48, rng)
    s.light(rng, 1.08, 0.7)
    return s


def heavy(kind: str, rng: np.random.Generator, colour: Colour | None = None) -> Body:
    """A lorry, tanker or coach: a box with what is painted on it."""
    length, w, h = (SIZES[kind][i] * rng.uniform(0.97, 1.03) for i in range(3))
    length *= rng.uniform(0.75, 1.0)
    plain = [
        (225, 226, 228),
        (205, 205, 208),
        (60, 110, 150),
        (130, 75, 40),
        (70, 70, 170),
        (85, 120, 60),
        (150, 185, 190),
    ]
    colour = colour or dim(plain[int(rng.integers(len(plain)))], rng.uniform(0.75, 1.05))
    cab = paint(rng)
    if kind == "coach":
        back, front, flank = (
            _coach_back(w, h, colour, rng),
            _lorry_front(w, h, colour, rng),
            _coach_side(length, h, colour, rng),
        )
    else:
        back = _lorry_back(kind, w, h, colour, rng)
        front, flank = _lorry_front(w, h, cab, rng), _lorry_side(kind, length, h, colour, cab, rng)
    roof = Sheet(w, length, 10)
    roof.rect(-w / 2, 0, w / 2, length, dim(colour, 1.05))
    x = w / 2
    mirrored = texture(np.dstack([flank.image[:, ::-1], flank.alpha[:, ::-1]]))
    faces = (
        Face(np.array([(-x, h, 0), (x, h, 0), (x, 0, 0), (-x, 0, 0)], float), back.whole()),
        Face(np.array([(x, h, length), (-x, h, length), (-x, 0, length), (x, 0, length)], float), front.whole()),
        Face(np.array([(x, h, 0), (x, h, length), (x, 0, length), (x, 0, 0)], float), flank.whole()),
        Face(np.array([(-x, h, length), (-x, h, 0), (-x, 0, 0), (-x, 0, length)], float), mirrored),
        Face(np.array([(-x, h, length), (x, h, length), (x, h, 0), (-x, h, 0)], float), roof.whole()),
    )
    hull = np.array([(s * x, y, z) for s in (-1, 1) for y in (0, h) for z in (0, length)], float)
    return Body("vehicle", kind, length, w, h, faces, hull, _lamps(w, length, 0.86, 0.74))


# -- people and two wheels ------------------------------------------------------------------------


def _clothes(rng: np.random.Generator) -> Colour:
    return paint(rng) if rng.random() < 0.5 else dim(tuple(rng.uniform(20, 230, 3)), rng.uniform(0.4, 1.0))


def _limb(s: Sheet, points: Any, wide: float, colour: Any) -> None:
    points = [np.asarray(p, float) for p in points]
    for a, b in pairwise(points):
        s.line(a, b, wide, colour)
        s.disc(float(b[0]), float(b[1]), wide / 2, colour)


def person(rng: np.random.Generator, phase: float | None = None, facing: str = "side") -> Body:
    """Somebody on foot. phase: of the step, 0 to 1, None stands; facing: side (walks to the right), back or front."""
    h = rng.uniform(1.55, 1.85)
    skin: Colour = dim((150, 175, 220), rng.uniform(0.4, 1.0))
    top, trousers, hair, shoe = (
        _clothes(rng),
        dim(_clothes(rng), 0.7),
        dim((30, 40, 60), rng.uniform(0.3, 1.5)),
        (30, 30, 32),
    )
    coat = rng.random() < 0.35
    bag = rng.random() < 0.4
    s = Sheet(0.95, h + 0.02, 150)
    swing = 0.0 if phase is None else float(np.sin(2 * np.pi * phase))
    hip, neck = 0.50 * h, 0.82 * h
    k = 0.30 if facing == "side" else 0.07
    bulk = 0.17 if facing == "side" else 0.22
    bulk *= rng.uniform(0.9, 1.2)
    for side, dark in ((-1, 0.75), (1, 1.0)):
        a = swing * side
        x0 = 0.0 if facing == "side" else side * 0.075
        knee = (x0 + k * 0.55 * a + (0.05 if facing == "side" else 0), 0.27 * h)
        foot = (x0 + k * a - (0.12 if facing == "side" and a < 0 else 0), 0.045 + max(0.0, -0.1 * a))
        _limb(s, [(x0, hip), knee, foot], 0.125, dim(trousers, dark))
        _limb(s, [foot, (foot[0] + (0.13 if facing == "side" else 0), foot[1] - 0.02)], 0.075, shoe)
        x1 = 0.0 if facing == "side" else side * bulk
        elbow = (x1 - k * 0.55 * a + (0 if facing == "side" else side * 0.05), 0.62 * h)
        hand = (x1 - k * 0.85 * a + (0.08 if facing == "side" else side * 0.05), 0.49 * h)
        if side < 0:
            _limb(s, [(x1, 0.79 * h), elbow, hand], 0.09, dim(top, 0.7))
            s.disc(*hand, 0.045, skin)
    low = 0.33 * h if coat else hip - 0.03
    s.fill(
        [
            (-bulk * 0.9, low),
            (-bulk, 0.7 * h),
            (-bulk * 0.95, neck - 0.04),
            (-0.06, neck),
            (0.06, neck),
            (bulk * 0.95, neck - 0.04),
            (bulk, 0.7 * h),
            (bulk * 0.9, low),
        ],
        top,
    )
    if bag:
        x = -bulk if facing == "side" else 0.0
        if facing != "front":
            s.fill(
                [(x - 0.14, 0.56 * h), (x - 0.14, 0.78 * h), (x + 0.1, 0.79 * h), (x + 0.1, 0.55 * h)],
                dim(_clothes(rng), 0.7),
            )
    x1 = 0.0 if facing == "side" else bulk
    elbow, hand = (
        (x1 + k * 0.5 * swing * -1, 0.62 * h),
        (x1 - k * 0.8 * swing + (0.06 if facing == "side" else 0.03), 0.5 * h),
    )
    _limb(s, [(x1, 0.79 * h), elbow, hand], 0.09, dim(top, 0.88))
    s.disc(*hand, 0.045, skin)
    s.rect(-0.05, neck - 0.02, 0.05, 0.87 * h, dim(skin, 0.85))
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    head = np.stack([0.085 * np.cos(turn) + (0.02 if facing == "side" else 0), 0.925 * h + 0.115 * np.sin(turn)], -1)
    s.fill(head, skin)
    if facing == "back":
        s.fill(head, hair)
    else:
        s.fill(head[turn < np.pi * 1.05] * (1.06, 1) + ((-0.02 if facing == "side" else 0), 0.03), hair)
    s.light(rng, 1.08, 0.85)
    return _flat("person", "person", s, 0.46 if facing == "side" else 2 * bulk, h, 0.5)


def _flat(kind: str, what: str, s: Sheet, w: float, h: float, length: float) -> Body:
    """A body that is one picture."""
    ys, xs = np.nonzero(s.alpha > 128)
    x1, x2 = xs.min() / s.ppm - s.width / 2, (xs.max() + 1) / s.ppm - s.width / 2
    y1, y2 = s.height - (ys.max() + 1) / s.ppm, s.height - ys.min() / s.ppm
    x = s.width / 2
    face = Face(np.array([(-x, s.height, 0), (x, s.height, 0), (x, 0, 0), (-x, 0, 0)], float), s.whole(), True)
    hull = np.array([(a, b, 0) for a in (x1, x2) for b in (y1, y2)])
    return Body(kind, what, length, w, h, (face,), hull, turns=False)


def rider(kind: str, rng: np.random.Generator, facing: str = "back") -> Body:
    """Somebody on two wheels. facing: back, front or side (rides to the right)."""
    s = Sheet(2.0 if facing == "side" else 0.95, 1.85, 130)
    top, dark = _clothes(rng), (26, 26, 27)
    metal = paint(rng)
    pedal = kind == "bicycle"
    if facing == "side":
        for x in (-0.55, 0.55):
            r = 0.33 if pedal else 0.31
            a = np.linspace(0, 2 * np.pi, 36)
            ring = np.stack([x + r * np.cos(a), r + r * np.sin(a)], -1)
            for p, q in pairwise(ring):
                s.line(p, q, 0.045 if pedal else 0.13, dark)
        if pedal:
            for p, q in (
                ((-0.55, 0.33), (-0.1, 0.3)),
                ((-0.1, 0.3), (-0.25, 0.85)),
                ((-0.2, 0.8), (0.4, 0.82)),
                ((-0.1, 0.3), (0.4, 0.8)),
                ((0.4, 0.95), (0.55, 0.33)),
            ):
                s.line(p, q, 0.035, metal)
        else:
            s.fill(
                [
                    (-0.8, 0.72),
                    (-0.3, 0.55),
                    (0.05, 0.28),
                    (0.3, 0.4),
                    (0.55, 0.9),
                    (0.35, 0.98),
                    (0.05, 0.8),
                    (-0.4, 0.82),
                ],
                metal,
            )
            s.line((0.55, 0.31), (0.4, 1.0), 0.08, (90, 90, 92))
        _limb(s, [(-0.22, 0.9), (0.1, 0.72), (-0.02, 0.28)], 0.13, dim(_clothes(rng), 0.6))
        _limb(s, [(-0.22, 0.9), (0.0, 1.35)], 0.26, top)
        _limb(s, [(0.0, 1.32), (0.2, 1.1), (0.4, 1.02)], 0.09, dim(top, 0.8))
        cx, cy = 0.1, 1.58
    else:
        s.rect(-0.05 if not pedal else -0.025, 0, 0.05 if not pedal else 0.025, 0.62, dark)
        if not pedal:
            s.fill([(-0.14, 0.5), (-0.2, 0.85), (0.2, 0.85), (0.14, 0.5)], metal)
            s.rect(-0.08, 0.66, 0.08, 0.75, (30, 24, 190) if facing == "back" else (235, 235, 235))
            _plate(s, 0, 0.52, rng, 0.2)
        for side in (-1, 1):
            _limb(s, [(side * 0.12, 0.88), (side * 0.24, 0.62), (side * 0.16, 0.3)], 0.13, dim(top, 0.5))
            _limb(s, [(side * 0.2, 1.38), (side * 0.32, 1.15), (side * 0.3, 1.02)], 0.1, dim(top, 0.8))
        s.line((-0.36, 1.02), (0.36, 1.02), 0.04, dark)
        s.fill([(-0.19, 0.82), (-0.23, 1.3), (-0.16, 1.45), (0.16, 1.45), (0.23, 1.3), (0.19, 0.82)], top)
        cx, cy = 0.0, 1.6
    if pedal and rng.random() < 0.5:
        s.disc(cx, cy, 0.11, dim((30, 40, 60), rng.uniform(0.3, 1.5)))
    else:
        s.disc(cx, cy, 0.145, paint(rng))
        if facing != "back":
            s.rect(cx - 0.09 + (0.08 if facing == "side" else 0), cy - 0.05, cx + 0.12, cy + 0.05, (35, 32, 30))
    s.light(rng, 1.05, 0.9)
    return _flat("two-wheeler", kind, s, 1.8 if facing == "side" else 0.75, 1.75, 0.4 if facing == "side" else 1.9)


# -- what stands beside the road ------------------------------------------------------------------


def house(rng: np.random.Generator, width: float, depth: float, height: float) -> Body:
    """A house whose front looks along -z; its sides are as wide as it is deep."""
    tone = dim(
        [(185, 205, 215), (150, 175, 200), (200, 205, 205), (120, 140, 170), (95, 105, 140), (160, 190, 190)][
            int(rng.integers(6))
        ],
        rng.uniform(0.6, 1.1),
    )
    roof_tone = dim((45, 60, 120), rng.uniform(0.5, 1.2))

    def wall(across: float) -> Texture:
        s = Sheet(across, height, 26)
        s.rect(-across / 2, 0, across / 2, height, tone)
        if rng.random() < 0.4:
            for y in np.arange(0, height, 0.25):
                s.line((-across / 2, y), (across / 2, y), 0.03, dim(tone, 0.86))
        s.rect(-across / 2, 0, across / 2, 0.6, dim(tone, 0.7))
        step = rng.uniform(1.8, 3.2)
        wide, tall = rng.uniform(0.8, min(1.6, step - 0.5)), rng.uniform(1.1, 1.8)
        for y in np.arange(0.9, height - tall - 0.3, 2.9):
            for x in np.arange(-across / 2 + 0.8, across / 2 - wide - 0.3, step):
                s.rect(x - 0.08, y - 0.08, x + wide + 0.08, y + tall + 0.08, dim(tone, rng.choice([0.6, 1.25])))
                glass = rng.uniform(25, 110)
                s.rect(x, y, x + wide, y + tall, (glass * 1.1, glass, glass * 0.9))
                s.line((x + wide / 2, y), (x + wide / 2, y + tall), 0.07, (215, 215, 215))
                if rng.random() < 0.3:
                    s.rect(x, y + tall * 0.4, x + wide, y + tall, dim(tone, 0.75))
        x = rng.uniform(-across / 3, across / 3)
        s.rect(x, 0, x + 1.1, 2.1, dim((60, 70, 90), rng.uniform(0.5, 1.6)))
        s.light(rng, 1.05, 0.9)
        return s.whole()

    x, z, y = width / 2, depth, height
    faces = [
        Face(np.array([(-x, y, 0), (x, y, 0), (x, 0, 0), (-x, 0, 0)], float), wall(width)),
        Face(np.array([(x, y, 0), (x, y, z), (x, 0, z), (x, 0, 0)], float), wall(depth)),
        Face(np.array([(-x, y, z), (-x, y, 0), (-x, 0, 0), (-x, 0, z)], float), wall(depth)),
    ]
    if rng.random() < 0.7:
        s = Sheet(depth, 3.0, 26)
        s.rect(-depth / 2, 0, depth / 2, 3, roof_tone)
        for v in np.arange(0, 3, 0.3):
            s.line((-depth / 2, v), (depth / 2, v), 0.05, dim(roof_tone, 0.7))
        s.light(rng)
        top = y + rng.uniform(1.5, 3.0)
        faces += [
            Face(np.array([(0, top, 0), (0, top, z), (x + 0.3, y - 0.1, z), (x + 0.3, y - 0.1, 0)], float), s.whole()),
            Face(
                np.array([(0, top, z), (0, top, 0), (-x - 0.3, y - 0.1, 0), (-x - 0.3, y - 0.1, z)], float), s.whole()
            ),
        ]
        gable = Sheet(width, top - y, 26)
        gable.fill([(-x, 0), (0, top - y), (x, 0)], tone)
        gable.light(rng)
        faces.append(Face(np.array([(-x, top, 0), (x, top, 0), (x, y, 0), (-x, y, 0)], float), gable.whole()))
    return Body("", "house", depth, width, height, tuple(faces), np.array([(-x, 0, 0), (x, y, z)], float))


def tree(rng: np.random.Generator, height: float = 7.0) -> Body:
    """A tree or, where it is low, a bush."""
    bush = height < 2.6
    w = height * (rng.uniform(1.0, 2.5) if bush else rng.uniform(0.5, 0.95))
    s = Sheet(w, height, min(40.0, 260 / height))
    h_px, w_px = s.alpha.shape
    if not bush:
        s.line((0, 0), (rng.normal(0, 0.1), 0.5 * height), 0.05 * height, (40, 50, 62))
    tone = np.array(dim((45, 85, 70), rng.uniform(0.45, 1.25))) * rng.uniform(0.85, 1.15, 3)
    pointed = rng.random() < 0.2 and not bush
    n = 170
    low = 0.0 if bush else 0.25
    for _ in range(n):
        v = rng.uniform(low, 1)
        t = (v - low) / (1 - low)
        reach = (
            (1 - t) * 0.5
            if pointed
            else 0.5 * np.sqrt(max(0.0, 1 - (2 * t - 1) ** 2))
            if not bush
            else 0.5 * np.sqrt(1 - v)
        )
        x = rng.uniform(-1, 1) * reach * 0.86 * w
        light = 0.45 + 0.75 * t + 0.18 * (x / w) + rng.normal(0, 0.16)
        s.disc(x, v * height * 0.94, rng.uniform(0.02, 0.065) * min(w, height), np.clip(tone * light, 0, 255))
    grain = 1 + 0.22 * noise(h_px, w_px, 6, rng, 2)
    s.shade(grain.astype(np.float32))
    holes = (noise(h_px, w_px, 5, rng, 2) > 1.5).astype(np.float32)
    s.alpha = (s.alpha * (1 - 0.8 * holes)).astype(np.uint8)
    return _flat("", "tree", s, w, height, w)


def post(rng: np.random.Generator, what: str) -> Body:
    """A lamp post, a sign, a marker or a billboard."""
    if what == "lamp":
        s = Sheet(2.4, 8.0, 30)
        s.line((0.9, 0), (0.9, 7.8), 0.16, (120, 122, 122))
        s.line((0.9, 7.8), (-0.8, 7.9), 0.1, (120, 122, 122))
        s.rect(-1.1, 7.75, -0.5, 7.95, (190, 195, 195))
    elif what == "sign":
        s = Sheet(1.2, 3.0, 70)
        s.line((0, 0), (0, 2.9), 0.08, (130, 130, 130))
        if rng.random() < 0.5:
            s.disc(0, 2.4, 0.42, (40, 30, 190))
            s.disc(0, 2.4, 0.32, (230, 230, 230))
            s.line((-0.12, 2.3), (0.0, 2.5), 0.07, (20, 20, 20))
            s.line((0.06, 2.3), (0.16, 2.5), 0.07, (20, 20, 20))
        else:
            s.fill([(-0.5, 2.4), (0, 2.9), (0.5, 2.4), (0, 1.9)], [(40, 190, 230), (150, 80, 30)][int(rng.integers(2))])
    elif what == "board":
        s = Sheet(5.0, 6.0, 34)
        for x in (-2.0, 2.0):
            s.line((x, 0), (x, 4), 0.2, (120, 120, 120))
        s.rect(-2.4, 3.2, 2.4, 5.8, (110, 90, 25) if rng.random() < 0.5 else (150, 80, 25))
        for y in (5.2, 4.5, 3.8):
            for x in np.arange(-2.0, rng.uniform(0.0, 2.0), 0.24):
                s.line((x, y - 0.18), (x + rng.uniform(-0.1, 0.1), y + 0.18), 0.06, (235, 235, 235))
    else:
        s = Sheet(0.3, 1.05, 80)
        s.rect(-0.06, 0, 0.06, 1.0, (225, 225, 225))
        s.fill([(-0.06, 0.7), (-0.06, 0.82), (0.06, 0.9), (0.06, 0.78)], (25, 25, 25))
    s.light(rng, 1.0, 0.95)
    return _flat("", what, s, s.width, s.height, 0.2)


def crate(rng: np.random.Generator, width: float, height: float, length: float) -> Body:
    """A plain box: a bin, a container, a stack, a kiosk."""
    tone = dim(_clothes(rng), rng.uniform(0.6, 1))

    def wall(across: float) -> Texture:
        s = Sheet(across, height, 50)
        s.rect(-across / 2, 0, across / 2, height, tone)
        for x in np.arange(-across / 2, across / 2, rng.uniform(0.2, 0.9)):
            s.line((x, 0), (x, height), 0.03, dim(tone, 0.7))
        s.light(rng)
        return s.whole()

    x, y, z = width / 2, height, length
    faces = (
        Face(np.array([(-x, y, 0), (x, y, 0), (x, 0, 0), (-x, 0, 0)], float), wall(width)),
        Face(np.array([(x, y, 0), (x, y, z), (x, 0, z), (x, 0, 0)], float), wall(length)),
        Face(np.array([(-x, y, z), (-x, y, 0), (-x, 0, 0), (-x, 0, z)], float), wall(length)),
        Face(np.array([(-x, y, z), (x, y, z), (x, y, 0), (-x, y, 0)], float), wall(width)),
    )
    return Body(
        "",
        "crate",
        length,
        width,
        height,
        faces,
        np.array([(s * x, v, w) for s in (-1, 1) for v in (0, y) for w in (0, z)]),
    )


def body(what: str, rng: np.random.Generator, facing: str = "back", phase: float | None = None) -> Body:
    """By name: a kind of car or lorry, two wheels, or a person."""
    if what in SHAPES:
        return car(what, rng)
    if what in SIZES:
        return heavy(what, rng)
    if what in LIGHT_PARTS:
        return rider(what, rng, facing)
    if what == "person":
        return person(rng, phase, facing)
    raise ValueError(f"nothing on a road is called {what!r}")
