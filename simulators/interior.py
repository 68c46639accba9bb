"""What is about a driver's head, painted: seat, windows and what passes behind them, body and belt, hands, wheel, lens.

Everything is painted once for a camera, a light and a person, and laid into each picture where it belongs then. Places
are in mm in the camera's axes, as in `faces.py`. Nothing here knows a story.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np

from .bodies import noise
from .faces import Array, Colour, Lens, Light, Person, projected

STRIP = 1536  # px of the land that passes, then it repeats
MARGIN = 0.3  # of the picture's width to each side of a body that sways, and of its height below
FINE = 1.2  # px a mm of what hands hold


class Mood(NamedTuple):
    """A light, on everything."""

    face: Light
    cab: Colour  # share of its colours that the cab shows
    land: Colour  # of those outside
    grain: float  # grey levels of noise
    flicker: float = 0.0  # how much the exposure wanders
    dapple: float = 0.0  # how dark the shadows of trees are on a face


def mood(light: str, rng: np.random.Generator) -> Mood:
    """One of many lights of a kind: day, dusk, night, infrared."""
    side = float(rng.choice((-1, 1), p=(0.25, 0.75)))  # the near window is at the picture's right
    of = (side * float(rng.uniform(0.25, 1.0)), float(rng.uniform(-0.8, -0.1)), float(rng.uniform(0.15, 0.8)))
    if light == "infrared":
        lamp = float(rng.uniform(0.72, 1.0))
        aside = float(rng.normal(0, 0.12))
        face = Light((0.13,) * 3, (lamp,) * 3, (aside, 0.1, 1.0), (0.1,) * 3, True, float(rng.uniform(0.5, 1)), 1.7)
        return Mood(face, (0.26,) * 3, (0.06,) * 3, float(rng.uniform(2, 5)))
    tint = np.array((1.0, 1.0, 1.0)) + rng.normal(0, 0.03, 3)
    if light == "night":
        deep = float(rng.uniform(0.2, 0.34))
        glow = np.array(((0.75, 0.9, 1.15), (1.25, 1.0, 0.85), (0.6, 0.85, 1.2))[int(rng.integers(3))])
        face = Light(_bgr(deep * tint), _bgr(deep * 0.9 * glow), of, _bgr(0.3 * deep * tint), False, 0.3, 1.5)
        return Mood(face, _bgr(0.3 * tint * deep / 0.3), (0.06, 0.05, 0.05), float(rng.uniform(4, 8)), 0.15)
    if light == "dusk":
        level = float(rng.uniform(0.34, 0.5))
        warm = np.array((0.75, 0.95, 1.15))
        face = Light(_bgr(level * tint), _bgr(level * warm), of, _bgr(0.12 * tint), False, 0.45, 1.25)
        return Mood(face, _bgr(level * tint), _bgr(0.55 * warm), float(rng.uniform(2.5, 5)), 0.08)
    hard = float(rng.uniform(0, 1))  # overcast to sunny
    ambient, key = 0.62 - 0.16 * hard, 0.28 + 0.5 * hard
    face = Light(_bgr(ambient * tint), _bgr(key * tint * (0.94, 1, 1.04)), of, _bgr(0.14 * tint), False)
    cab = _bgr((0.62 + 0.2 * float(rng.random())) * tint)
    return Mood(face, cab, _bgr(tint), float(rng.uniform(1.2, 3)), 0.05 * hard, 0.75 * hard * (rng.random() < 0.5))


def _bgr(values: Any) -> Colour:
    b, g, r = (float(v) for v in values)
    return b, g, r


class Layer(NamedTuple):
    """Something painted that is laid over a picture."""

    image: Array  # (h, w, 3) uint8
    alpha: Array  # (h, w) float32, 0 to 1
    x: float  # px in it of the place where it is anchored
    y: float


def lay(picture: Array, layer: Layer, x: float, y: float, size: float = 1.0, turn: float = 0.0) -> None:
    """Over the picture (h, w, 3) uint8, its anchor at x, y px, `size` times as large, turned by rad."""
    h, w = layer.alpha.shape
    c, s = size * math.cos(turn), size * math.sin(turn)
    way = np.array(((c, -s, x - c * layer.x + s * layer.y), (s, c, y - s * layer.x - c * layer.y)))
    corners = np.array(((0, 0, 1), (w, 0, 1), (w, h, 1), (0, h, 1))) @ way.T
    x1, y1 = np.maximum(np.floor(corners.min(0)), 0).astype(int)
    x2, y2 = np.minimum(np.ceil(corners.max(0)), picture.shape[1::-1]).astype(int)
    if x2 - x1 < 1 or y2 - y1 < 1:
        return
    way[:, 2] -= (x1, y1)
    to = (int(x2 - x1), int(y2 - y1))
    image = cv2.warpAffine(layer.image, way, to, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(layer.alpha, way, to, flags=cv2.INTER_LINEAR)
    under = picture[y1:y2, x1:x2]
    picture[y1:y2, x1:x2] = cv2.blendLinear(image, under, alpha, 1 - alpha)


def _px(lens: Lens, points: Any) -> Array:
    """Corners for OpenCV, in sixteenths of a pixel."""
    return np.round(projected(lens, np.asarray(points, float)) * 16).astype(np.int32)


def _fill(image: Array, lens: Lens, points: Any, colour: Any) -> None:
    cv2.fillPoly(image, [_px(lens, points)], _bgr(colour), cv2.LINE_AA, 4)


class Room:
    """The cab behind a driver, and the land that passes its windows."""

    def __init__(self, lens: Lens, light: Mood, rng: np.random.Generator, grey: bool) -> None:
        self.lens = lens
        h, w = lens.height, lens.width
        lining, cloth = rng.uniform(90, 200, 3) * 0.3 + rng.uniform(90, 200) * 0.7, rng.uniform(25, 130)
        image = np.empty((h, w, 3), np.uint8)
        image[:] = (lining * 0.55).astype(np.uint8)
        glass = np.zeros((h, w), np.uint8)
        z = -700.0
        top = rng.uniform(-330, -230)
        _fill(image, lens, [(-2000, -900, z), (2000, -900, z), (2000, top, z), (-2000, top - 40, z)], lining)
        tilt = rng.uniform(-60, 60)
        panes = [
            [(250, top + 30, -250), (900, top - 60, 250), (900, 170, 250), (255, 130, -250)],  # beside the driver
            [
                (-320 + tilt, top + 70, -1500),
                (330 + tilt, top + 70, -1500),
                (300 + tilt, 60, -1500),
                (-330 + tilt, 60, -1500),
            ],
            [(-1500, top + 20, -900), (-560, top + 50, -1100), (-520, 110, -1100), (-1500, 150, -900)],  # the far side
        ]
        if rng.random() < 0.35:  # a lorry has a wall there
            panes = panes[:1]
        for pane in panes:
            cv2.fillPoly(glass, [_px(lens, pane)], 255.0, cv2.LINE_AA, 4)
            cv2.polylines(image, [_px(lens, pane)], True, (28.0, 28.0, 30.0), max(2, w // 70), cv2.LINE_AA, 4)
        _fill(image, lens, [(-2000, 170, z), (2000, 150, z), (2000, 2000, z), (-2000, 2000, z)], lining * 0.35)
        seat = np.clip(np.array((1.0, 1.0, 1.0)) * cloth + rng.normal(0, 8, 3), 14, 200)
        if rng.random() < 0.8:  # the seats behind
            for x in (-650, 60):
                _round(image, lens, (x, 120, x + 520, 900), -1100, seat * 0.6)
        _fill(
            image, lens, [(330, top, -330), (420, top, -330), (470, 700, -330), (350, 700, -330)], lining * 0.5
        )  # pillar
        self.seat = seated = float(rng.uniform(-25, 25))
        up = rng.uniform(-120, -70)
        _round(image, lens, (seated - 55, up + 90, seated + 55, 200), -190, seat * 0.45)
        _round(image, lens, (seated - 235, 110, seated + 235, 1200), -200, seat * 0.85)
        _round(image, lens, (seated - 150, up, seated + 150, up + 190), -170, seat)
        weave = 1 + 0.05 * noise(h, w, 4, rng, 2) + 0.07 * noise(h, w, 90, rng, 3)
        shade = np.linspace(1.1, 0.7, h, dtype=np.float32)[:, None] * weave
        lit = image.astype(np.float32) * shade[..., None] * np.array(light.cab, np.float32)
        if grey:
            far = np.hypot(np.arange(w) - w / 2, (np.arange(h) - h / 2)[:, None]) / w
            lit = lit.mean(-1, keepdims=True) * np.exp(-2.2 * far**2)[..., None].repeat(3, -1)
        self.image = np.clip(lit, 0, 255).astype(np.uint8)
        soft = cv2.GaussianBlur(glass, (0, 0), max(0.6, w / 640)).astype(np.float32) / 255
        cover = cv2.GaussianBlur((self._seat_mask(lens, seated, up) * 255).astype(np.uint8), (0, 0), 1).astype(
            np.float32
        )
        self.glass = np.asarray(soft * (1 - cover / 255), np.float32)
        rows, columns = np.nonzero(self.glass > 0.01)
        self.pane = (
            (slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1))
            if len(rows)
            else None
        )
        self.land = self._land(light, rng, grey)

    def _seat_mask(self, lens: Lens, x: float, up: float) -> Array:
        mask = np.zeros((lens.height, lens.width, 3), np.uint8)
        _round(mask, lens, (x - 235, 110, x + 235, 1200), -200, (1, 1, 1))
        _round(mask, lens, (x - 150, up, x + 150, up + 190), -170, (1, 1, 1))
        _round(mask, lens, (x - 55, up + 90, x + 55, 200), -190, (1, 1, 1))
        one: Array = mask[..., 0]
        return one

    def _land(self, light: Mood, rng: np.random.Generator, grey: bool) -> Array:
        """(h, STRIP + w, 3) uint8: sky, trees, houses, ground; its ends meet."""
        h = self.lens.height
        image = np.empty((h, STRIP, 3), np.float32)
        sky = np.array(((235, 215, 190), (245, 242, 240), (225, 190, 150))[int(rng.integers(3))], np.float32)
        image[:] = sky * np.linspace(0.9, 1.05, h)[:, None, None]
        line = int(h * rng.uniform(0.45, 0.62))
        ground = np.array(((88, 110, 104), (70, 120, 96), (120, 128, 130))[int(rng.integers(3))], np.float32)
        image[line:] = ground * np.linspace(1.05, 0.8, h - line)[:, None, None]
        for _ in range(int(rng.integers(18, 60))):
            x, size = int(rng.integers(STRIP)), rng.uniform(0.06, 0.5) * h
            if rng.random() < 0.65:
                tone = np.array((46, 84, 62)) * rng.uniform(0.5, 1.5) + rng.normal(0, 8, 3)
                for _ in range(7):
                    at = (int(x + rng.normal(0, size / 4)), int(line - size * rng.uniform(0.1, 0.7)))
                    cv2.circle(
                        image, at, max(2, int(size * rng.uniform(0.12, 0.3))), _bgr(tone * rng.uniform(0.8, 1.2)), -1
                    )
            else:
                tone = rng.uniform(60, 220) + rng.normal(0, 18, 3)
                wide = int(size * rng.uniform(0.5, 1.8))
                cv2.rectangle(image, (x, int(line - size * 0.6)), (x + wide, line + int(0.1 * h)), _bgr(tone), -1)
        for _ in range(int(rng.integers(0, 5))):  # what drives or stands near by
            x, tone = int(rng.integers(STRIP)), rng.uniform(20, 235, 3)
            cv2.rectangle(image, (x, line - int(0.04 * h)), (x + int(0.4 * h), line + int(0.16 * h)), _bgr(tone), -1)
        image *= np.array(light.land, np.float32)
        image *= 1 + 0.10 * noise(h, STRIP, 20, rng, 3)[..., None]
        if light.land[1] < 0.1 and not grey:  # lamps at night
            for _ in range(int(rng.integers(8, 30))):
                at = int(rng.integers(STRIP)), int(rng.uniform(0.2, 0.7) * h)
                tone = np.array(((120, 200, 255), (240, 240, 240), (60, 60, 220))[int(rng.integers(3))], float)
                cv2.circle(image, at, int(rng.uniform(2, 7)), _bgr(tone), -1)
        image = cv2.blur(np.hstack([image, image[:, : self.lens.width]]), (13, 3))
        if grey:
            image = image.mean(-1, keepdims=True).repeat(3, -1)
        out: Array = np.clip(image, 0, 255).astype(np.uint8)
        return out

    def view(self, along: float) -> Array:
        """(h, w, 3) uint8, after `along` px of the land have passed."""
        out: Array = self.image.copy()
        if self.pane is not None:
            rows, columns = self.pane
            x = int(along) % STRIP
            seen = self.land[rows, x : x + self.lens.width][:, columns]
            clear = self.glass[self.pane]
            out[self.pane] = cv2.blendLinear(np.ascontiguousarray(seen), out[self.pane], clear, 1 - clear)
        return out

    def sky(self, along: float) -> Array:
        """(64, 128, 3) uint8: what mirrors in glasses."""
        x = int(along) % STRIP
        small: Array = cv2.resize(self.land[:, x : x + self.lens.width], (128, 64), interpolation=cv2.INTER_AREA)
        return small


def _round(image: Array, lens: Lens, box: tuple[float, float, float, float], z: float, colour: Any) -> None:
    """A cushion: its corners round, its sides darker."""
    x1, y1, x2, y2 = box
    r = 0.28 * min(x2 - x1, y2 - y1)
    angles = np.radians(np.arange(0, 91, 15))
    points = []
    for cx, cy, first in ((x2 - r, y1 + r, -90), (x2 - r, y2 - r, 0), (x1 + r, y2 - r, 90), (x1 + r, y1 + r, 180)):
        a = angles + np.radians(first)
        points += [(cx + r * math.cos(v), cy + r * math.sin(v), z) for v in a]
    shape = np.array(points)
    if np.max(colour) <= 1:
        _fill(image, lens, shape, colour)
        return
    middle = shape.mean(0)
    for k in range(6):
        _fill(image, lens, middle + (shape - middle) * (1 - 0.05 * k), np.asarray(colour) * (0.72 + 0.055 * k))


def body(lens: Lens, who: Person, light: Mood, rng: np.random.Generator, mount: float) -> Layer:
    """Neck, chest and belt of somebody; anchored where the head's origin is."""
    w, h = int(lens.width * (1 + 2 * MARGIN)), int(lens.height * (0.75 + MARGIN))
    x0, y0 = w / 2, 0.25 * lens.height  # the anchor
    k = lens.focal / (lens.away + 60)  # px a mm
    squeeze = 0.55 + 0.45 * math.cos(math.radians(mount))

    def at(points: Any) -> Array:
        p = np.asarray(points, float)
        p = np.stack([p[:, 0] * squeeze * k + x0, p[:, 1] * k + y0], 1)
        return np.round(p * 16).astype(np.int32)

    alpha = np.zeros((h, w), np.uint8)
    image = np.zeros((h, w, 3), np.uint8)
    neck = 54 * (0.5 + 0.5 * who.jaw) * (0.6 + 0.4 * who.wide)
    wide = rng.uniform(190, 240) * (0.5 + 0.5 * who.jaw)
    slope = rng.uniform(20, 45)
    throat = [(-neck, 60), (neck, 60), (neck * 0.94, 120), (neck * 1.15, 168), (-neck * 1.15, 168), (-neck * 0.94, 120)]
    arc = np.linspace(0, 1, 12)
    right = [(neck * 1.05 + (wide - neck) * t, 160 + slope * t**0.8 + 60 * max(0, t - 0.7) ** 2 * 8) for t in arc]
    chest = (
        [(-x, y) for x, y in right[::-1]]
        + right
        + [(wide + 25, 320), (wide + 40, 1400), (-wide - 40, 1400), (-wide - 25, 320)]
    )
    shirt = np.array(who.shirt)
    skin = np.array(who.skin)
    for part, tone in ((throat, skin), (chest, shirt)):
        cv2.fillPoly(alpha, [at(part)], 255.0, cv2.LINE_AA, 4)
        cv2.fillPoly(image, [at(part)], _bgr(tone), cv2.LINE_AA, 4)
    open_ = rng.uniform(8, 46)
    cut = [
        (-neck * 1.02, 150),
        (neck * 1.02, 150),
        (neck * 0.5, 176 + open_ * 0.5),
        (0, 182 + open_),
        (-neck * 0.5, 176 + open_ * 0.5),
    ]
    if who.style == "scarf":
        cv2.fillPoly(image, [at(throat), at(cut)], _bgr(shirt * 0.5 + 50), cv2.LINE_AA, 4)
    else:
        cv2.fillPoly(image, [at(cut)], _bgr(skin * 0.94), cv2.LINE_AA, 4)
    if rng.random() < 0.5:  # a collar
        for s in (-1, 1):
            flap = [
                (s * neck * 0.98, 146),
                (s * (neck + 22), 178),
                (s * neck * 0.55, 196 + open_),
                (s * 6, 186 + open_),
            ]
            cv2.fillPoly(image, [at(flap)], _bgr(np.clip(shirt * 1.12 + 6, 0, 255)), cv2.LINE_AA, 4)
    if rng.random() < 0.3:  # stripes
        for y in range(200, 900, int(rng.uniform(24, 60))):
            cv2.polylines(image, [at([(-400, y), (400, y + 10)])], False, _bgr(shirt * 0.7), 3, cv2.LINE_AA, 4)
    lit = image.astype(np.float32)
    yy = (np.arange(h, dtype=np.float32) - y0)[:, None] / k
    xx = (np.arange(w, dtype=np.float32) - x0) / k
    folds = 1 + 0.05 * noise(h, w, 70 * k, rng, 3) * (yy > 165)
    side = float(np.clip(light.face.of[0], -1, 1))
    lit *= (folds * (1 + 0.22 * side * np.clip(xx / 200, -1, 1)))[..., None]
    round_ = np.where(yy < 160, np.sqrt(np.clip(1 - (np.abs(xx) / (neck * 1.3)) ** 2, 0.2, 1)), 1.0)
    under = (
        1
        - 0.5 * np.exp(-(((yy - 105) / 32) ** 2)) * (yy < 165)
        - 0.25 * np.exp(-(((yy - 172) / 12) ** 2)) * (np.abs(xx) < neck)
    )
    lit *= (round_ * under)[..., None]
    belt = [(wide * 0.66, 170), (wide * 0.66 + 46, 180), (-60, 1000), (-110, 1000)]
    strap = np.zeros((h, w), np.uint8)
    if rng.random() < 0.93:
        cv2.fillPoly(strap, [at(belt)], 255.0, cv2.LINE_AA, 4)
        tone = np.array(((52, 54, 56), (34, 34, 36), (150, 155, 160))[int(rng.integers(3))], np.float32)
        share = np.minimum(strap, alpha).astype(np.float32)[..., None] / 255
        lit += share * (tone * (1 + 0.05 * noise(h, w, 3, rng, 1)[..., None]) - lit)
    f = light.face
    lit *= np.array(f.ambient, np.float32) + 0.55 * np.array(f.key, np.float32) + 0.5 * np.array(f.fill, np.float32)
    if f.grey:
        lit = lit.mean(-1, keepdims=True).repeat(3, -1) * 0.8
    return Layer(np.clip(lit, 0, 255).astype(np.uint8), alpha.astype(np.float32) / 255, x0, y0)


def mane(lens: Lens, who: Person, light: Mood, rng: np.random.Generator) -> Layer | None:
    """Long hair behind a neck."""
    if who.style not in ("long", "scarf"):
        return None
    k = lens.focal / (lens.away + 90)
    w, h = int(330 * k), int(420 * k)
    x0, y0 = w / 2, 110 * k
    alpha = np.zeros((h, w), np.uint8)
    low = rng.uniform(120, 260) if who.style == "long" else 190
    half = rng.uniform(84, 100)
    t = np.linspace(0, 1, 14)
    side = [(half * (0.9 + 0.2 * math.sin(2.6 * v)) - 14 * v, -60 + (low + 60) * v) for v in t]
    shape = np.array(side + [(-x, y) for x, y in side[::-1]]) * k + (x0, y0)
    cv2.fillPoly(alpha, [np.round(shape * 16).astype(np.int32)], 255.0, cv2.LINE_AA, 4)
    strands = cv2.GaussianBlur(noise(h, w, 5, rng, 2), (0, 0), sigmaX=0.6, sigmaY=8)
    tone = np.array(who.hair, np.float32) if who.style == "long" else np.array(who.shirt, np.float32) * 0.5 + 50
    f = light.face
    lit = tone * (0.75 + 0.5 * strands[..., None])
    lit = lit * (np.array(f.ambient, np.float32) + 0.4 * np.array(f.key, np.float32))
    if f.grey:
        lit = lit.mean(-1, keepdims=True).repeat(3, -1)
    return Layer(np.clip(lit, 0, 255).astype(np.uint8), alpha.astype(np.float32) / 255, x0, y0)


# -- hands ---------------------------------------------------------------------------------------------------------


def hand(who: Person, light: Mood, kind: str) -> Layer:
    """A hand with its forearm, FINE px a mm, anchored between its fingers. kind: open, phone, screen, pinch."""
    h, w = int(560 * FINE), int(300 * FINE)
    x0, y0 = w / 2, 90 * FINE
    rng = np.random.default_rng((who.seed, 37, len(kind)))
    image = np.zeros((h, w, 3), np.float32)
    alpha = np.zeros((h, w), np.float32)
    skin = np.array(who.skin, np.float32)
    f = light.face
    level = np.array(f.ambient, np.float32) + 0.5 * np.array(f.key, np.float32) + np.array(f.fill, np.float32)

    def limb(points: list[tuple[float, float]], thick: float, tone: Array) -> None:
        mask = np.zeros((h, w), np.uint8)
        line = np.round((np.array(points) * FINE + (x0, y0)) * 16).astype(np.int32)
        cv2.polylines(mask, [line], False, 255.0, max(1, round(thick * FINE)), cv2.LINE_AA, 4)
        deep = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3) / (thick * FINE / 2)
        round_ = 0.62 + 0.38 * np.sqrt(np.clip(deep, 0, 1))
        a = mask.astype(np.float32) / 255
        image[:] += a[..., None] * (tone * round_[..., None] - image)
        np.maximum(alpha, a, out=alpha)

    def plate(corners: list[tuple[float, float]], tone: Array) -> None:
        mask = np.zeros((h, w), np.uint8)
        cv2.fillPoly(
            mask, [np.round((np.array(corners) * FINE + (x0, y0)) * 16).astype(np.int32)], 255.0, cv2.LINE_AA, 4
        )
        a = mask.astype(np.float32) / 255
        image[:] += a[..., None] * (tone - image)
        np.maximum(alpha, a, out=alpha)

    sleeve = np.array(who.shirt, np.float32) if rng.random() < 0.6 else skin
    limb([(22, 110), (60, 480)], 74, sleeve * 0.9)
    limb([(8, 60), (24, 130)], 56, skin)
    limb([(-12, 30), (10, 60)], 66, skin)
    if kind in ("phone", "screen"):
        case = np.array((28, 28, 30), np.float32) + rng.uniform(0, 60)
        plate([(-42, -72), (30, -80), (44, 66), (-28, 74)], case)
        if kind == "screen":
            plate([(-36, -64), (25, -71), (37, 58), (-22, 65)], np.array((220, 205, 190), np.float32) * 1.2)
        for i in range(4):
            limb([(44, -36 + 24 * i), (4 if kind == "phone" else 26, -40 + 24 * i)], 19, skin)
        limb([(-30, 66), (-46, 6)], 22, skin)
    elif kind == "pinch":
        for i, reach in enumerate((70, 74, 40, 34)):
            limb([(-26 + 17 * i, 28), (-26 + 15 * i, 28 - reach)], 18, skin * (1 - 0.04 * i))
        limb([(-34, 46), (-44, -14)], 20, skin)
        limb([(-18, -34), (-70, -58)], 8, np.array((232, 236, 236), np.float32))
        limb([(-70, -58), (-76, -61)], 8, np.array((60, 110, 235), np.float32))
    else:
        for i, reach in enumerate((72, 86, 82, 62)):
            limb([(-34 + 21 * i, 30), (-40 + 25 * i, 30 - reach)], 19, skin * (1 - 0.03 * i))
        limb([(-30, 52), (-66, 2)], 22, skin)
    image *= level
    if f.grey:
        image[:] = image.mean(-1, keepdims=True)
    return Layer(np.clip(image, 0, 255).astype(np.uint8), alpha, x0, y0)


def wheel(picture: Array, lens: Lens, top: float, x: float, light: Mood, who: Person | None) -> None:
    """The rim of a steering wheel near the camera, its highest point at x, top mm; with hands where somebody drives."""
    k = lens.focal / (lens.away - 230)
    cx, cy = lens.width / 2 + x * k, lens.height / 2 + (top + 175) * k
    axes = (int(190 * k * 16), int(175 * k * 16))
    tone = np.array((30, 30, 32), np.float32) * (0.5 + np.array(light.cab))
    for thick, part in ((32, 0.7), (24, 1.0), (10, 1.35)):
        cv2.ellipse(
            picture,
            (int(cx * 16), int(cy * 16)),
            axes,
            0,
            150,
            390,
            _bgr(np.clip(tone * part, 0, 255)),
            int(thick * k),
            cv2.LINE_AA,
            4,
        )
    cv2.rectangle(picture, (int(cx - 70 * k), int(cy - 20 * k)), (int(cx + 70 * k), lens.height), _bgr(tone), -1)
    if who is None:
        return
    f = light.face
    skin = np.array(who.skin) * (np.array(f.ambient) + 0.5 * np.array(f.key) + np.array(f.fill)) * 0.9
    if f.grey:
        skin[:] = skin.mean()
    for angle in (205, 335):
        a = math.radians(angle)
        at = int(cx + 190 * k * math.cos(a)), int(cy + 175 * k * math.sin(a))
        for i in range(4):
            off = (i - 1.5) * 17 * k
            p = int(at[0] - off * math.sin(a)), int(at[1] + off * math.cos(a))
            q = int(p[0] + 26 * k * math.cos(a)), int(p[1] + 26 * k * math.sin(a))
            r = int(p[0] - 20 * k * math.cos(a)), int(p[1] - 20 * k * math.sin(a))
            cv2.line(picture, q, r, _bgr(np.clip(skin * (0.9 + 0.05 * i), 0, 255)), max(2, int(17 * k)), cv2.LINE_AA)


# -- what befalls the lens -----------------------------------------------------------------------------------------


def covered(picture: Array, how: int, share: float, seed: int, t: float) -> Array:
    """The picture with a cap (0), tape (1) or a hand (2) before the lens, `share` of the way there."""
    h, w = picture.shape[:2]
    rng = np.random.default_rng((seed, 41, how))
    if how == 0:
        tone = np.full((h, w, 3), rng.uniform(2, 14), np.float32)
    elif how == 1:
        base = np.array(
            ((150, 175, 190), (60, 62, 66), (40, 60, 170), (205, 205, 200))[int(rng.integers(4))], np.float32
        )
        tone = (
            base
            * (0.75 + 0.25 * np.linspace(0.6, 1, w, dtype=np.float32)[None, :, None])
            * np.ones((h, 1, 1), np.float32)
        )
    else:
        x, y = np.arange(w, dtype=np.float32) / w, (np.arange(h, dtype=np.float32) / h)[:, None]
        rim = np.exp(-3 * np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)))
        lines = 0.18 * np.exp(-(((x * 4 + 0.3 * y + 0.02 * math.sin(3 * t)) % 1 - 0.5) ** 2) / 0.004)
        level = 22 + 70 * rim * rng.uniform(0.5, 1.2) - 60 * lines
        tone = np.clip(level, 4, 255)[..., None] * np.array((0.45, 0.55, 1.0), np.float32)
    cover = np.clip(tone, 0, 255).astype(np.uint8)
    if share >= 1:
        return cover
    out = picture.copy()
    edge = int(w * share)  # it comes from the left
    out[:, :edge] = cover[:, w - edge :]
    return out


def smeared(picture: Array, share: float, seed: int) -> Array:
    """The picture through grease: nothing is sharp, and light spreads."""
    h, w = picture.shape[:2]
    small = cv2.resize(
        picture, (max(8, int(w / (1 + 24 * share))), max(6, int(h / (1 + 24 * share)))), interpolation=cv2.INTER_AREA
    )
    small = cv2.GaussianBlur(small, (0, 0), 0.9)
    veil = np.array(cv2.mean(small)[:3])
    soft = cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng((seed, 43))
    turn = rng.uniform(0, np.pi)
    x, y = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)[:, None]
    wipe = 0.5 + 0.5 * np.sin((x * math.cos(turn) + y * math.sin(turn)) * (40 / w))
    weight = (0.3 * share * (0.5 + 0.5 * wipe)).astype(np.float32)
    grease = np.empty_like(soft)
    grease[:] = np.clip(veil * 0.9 + 25, 0, 255).astype(np.uint8)
    return np.asarray(cv2.blendLinear(grease, soft, weight, 1 - weight))
