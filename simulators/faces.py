"""Draws a driver's head: a sculpted surface under light, with lids, gaze, mouth and jaw that move.

The head is a surface r(azimuth, elevation) about a point inside it, sculpted in mm from ellipsoids and bumps by the
numbers of a `Person`; what has a colour (skin, hair, beard, brows) is painted on it once, eyes and mouth each time.
A picture of it is made by going along a ray for every third pixel until it meets the surface, and filling in between:
features turn away and hide one another as they should, at any yaw, pitch and roll. What is worn (glasses, cap, mask)
is put on it. A `flat` person is drawn with ellipses and lines instead, as a cartoon.

Axes of the head: x to the right of the picture where the face looks at the camera (the driver's own left), y down, z
out of the face; the origin is between the eyes. A head is turned about its own upright axis first, then bent, then
tilted: R = roll after pitch after yaw, with the signs of `agent/sights.py`. Proportions after Farkas 1994, rounded.
Nothing here knows a story, a cab or a truth.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .bodies import noise

Array = NDArray[Any]
Colour = tuple[float, float, float]  # BGR, 0 to 255
WIDE, HIGH = 960, 480  # texels around and from top to bottom
SPOT = np.array((0.0, 5.0, -80.0), np.float32)  # mm, where radii begin
PIVOT = np.array((0.0, 85.0, -70.0), np.float32)  # mm, about which the head turns
EYE = 31.5  # mm of an eye's middle from the nose's
LIPS = 68.0  # mm of the line between the lips below the eyes
JAW = 60.0  # mm below the eyes, from where on an open mouth draws the face down
SKINS: tuple[Colour, ...] = (
    (176, 194, 232),
    (160, 182, 226),
    (140, 168, 216),
    (120, 150, 204),
    (98, 128, 184),
    (72, 100, 152),
    (52, 76, 122),
    (40, 58, 96),
)
HAIRS: tuple[Colour, ...] = ((22, 22, 26), (28, 32, 44), (36, 52, 84), (60, 92, 140), (96, 140, 186), (140, 142, 146))
IRISES: tuple[Colour, ...] = ((24, 44, 76), (30, 56, 100), (70, 96, 96), (128, 104, 72), (84, 112, 84))
STYLES = ("short", "short", "fringe", "parted", "bald", "receding", "long", "long", "bun", "curly", "scarf")
BEARDS = ("", "", "", "stubble", "stubble", "full", "moustache", "goatee")
HATS = ("", "", "", "", "", "", "cap", "beanie")
GLASSES = ("", "", "", "", "clear", "clear", "", "dark")


class Person(NamedTuple):
    """Who sits there: a face by numbers."""

    skin: Colour = SKINS[2]
    hair: Colour = HAIRS[1]
    iris: Colour = IRISES[0]
    style: str = "short"
    beard: str = ""
    glasses: str = ""  # clear, dark, mirror
    hat: str = ""  # cap, beanie
    mask: str = ""  # surgical
    flat: str = ""  # a cartoon of it; else empty
    shirt: Colour = (120, 90, 60)
    frame: Colour = (30, 30, 34)  # of the glasses
    wide: float = 1.0  # of the face, by the usual one
    long: float = 1.0
    nose: float = 1.0
    jaw: float = 1.0
    lips: float = 1.0
    brow: float = 1.0
    eye: float = 1.0  # how wide the eyes open
    apart: float = 1.0  # the eyes
    makeup: float = 0.0
    age: float = 0.3  # 0 to 1
    seed: int = 0  # of freckles and strands


def person(seed: int, **given: Any) -> Person:
    """Somebody; the same one for the same seed. given: fields that are told."""
    rng = np.random.default_rng((seed, 23))

    def shift(colour: Colour, by: float) -> Colour:
        b, g, r = (float(np.clip(c * (1 + rng.normal(0, by)), 0, 255)) for c in colour)
        return b, g, r

    female = rng.random() < 0.42
    age = float(rng.uniform(0, 1))
    skin = SKINS[int(rng.integers(len(SKINS)))]
    hair = HAIRS[int(rng.choice(6, p=[0.34, 0.24, 0.18, 0.1, 0.06, 0.08]))]
    style = str(rng.choice(STYLES[6:] if female else (*STYLES[:6], "curly")))
    one = Person(
        skin=shift(skin, 0.03),
        hair=HAIRS[5] if age > 0.85 else shift(hair, 0.1),
        iris=shift(IRISES[int(rng.choice(5, p=[0.45, 0.25, 0.1, 0.12, 0.08]))], 0.1),
        style=style if not (female and style == "bald") else "long",
        beard="" if female else str(rng.choice(BEARDS)),
        glasses=str(rng.choice(GLASSES)),
        hat="" if style == "scarf" else str(rng.choice(HATS)),
        mask="surgical" if rng.random() < 0.04 else "",
        shirt=shift(tuple(rng.uniform(25, 225, 3)), 0.0),
        frame=shift(((20, 20, 24), (40, 60, 90), (120, 125, 130), (60, 30, 20))[int(rng.integers(4))], 0.1),
        wide=float(rng.normal(0.97 if female else 1.01, 0.04)),
        long=float(rng.normal(1.0, 0.035)),
        nose=float(rng.normal(0.92 if female else 1.05, 0.13)),
        jaw=float(rng.normal(0.92 if female else 1.04, 0.06)),
        lips=float(rng.normal(1.1, 0.18)),
        brow=float(rng.normal(0.75 if female else 1.1, 0.2)),
        eye=float(rng.normal(1.0, 0.12)),
        apart=float(rng.normal(1.0, 0.03)),
        makeup=float(rng.uniform(0, 1) * (rng.random() < 0.6)) if female else 0.0,
        age=age,
        seed=seed,
    )
    return one._replace(**given)


class Look(NamedTuple):
    """What a face does at a moment."""

    yaw: float = 0.0  # deg, above 0 to the picture's right
    pitch: float = 0.0  # deg, above 0 down
    roll: float = 0.0  # deg, above 0 counter-clockwise
    left: float = 1.0  # opening of the driver's own left eye
    right: float = 1.0
    mouth: float = 0.0
    gaze: float = 0.0  # deg, above 0 to the picture's right
    down: float = 0.0  # deg
    smile: float = 0.0
    brow: float = 0.0  # -1 knit to 1 raised


class Light(NamedTuple):
    """What falls on a face. Directions in the camera's axes: x right, y down, z towards the camera."""

    ambient: Colour = (0.52, 0.5, 0.48)
    key: Colour = (0.50, 0.54, 0.58)
    of: tuple[float, float, float] = (0.75, -0.45, 0.5)  # where the key light comes from
    fill: Colour = (0.16, 0.16, 0.16)  # from the camera's side
    grey: bool = False  # infrared: no colour
    glint: float = 0.55  # in the eyes, 0 to 1
    pupil: float = 1.0  # size by day; wide at night


class Lens(NamedTuple):
    """A camera: pin hole, looking level."""

    width: int = 640
    height: int = 480
    focal: float = 620.0  # px
    away: float = 680.0  # mm to where heads are


class Spots(NamedTuple):
    """Where the parts of a face are in the picture, px, hidden or not. Right and left are the driver's own."""

    right: Array  # (2,) middle of the eye
    left: Array
    nose: Array
    mouth_right: Array  # the corner
    mouth_left: Array
    box: Array  # (4,) x1, y1, x2, y2 from brow to chin and ear to ear


def turned(yaw: float, pitch: float, roll: float) -> Array:
    """(3, 3) from the head's axes to the camera's, of deg.

    >>> turned(90, 0, 0).round(6)[:, 2].tolist()  # the nose, to the right of the picture
    [1.0, 0.0, 0.0]
    """
    y, p, r = np.radians((yaw, pitch, roll))
    about_y = np.array(((np.cos(y), 0, np.sin(y)), (0, 1, 0), (-np.sin(y), 0, np.cos(y))))
    about_x = np.array(((1, 0, 0), (0, np.cos(p), np.sin(p)), (0, -np.sin(p), np.cos(p))))
    about_z = np.array(((np.cos(r), np.sin(r), 0), (-np.sin(r), np.cos(r), 0), (0, 0, 1)))
    out: Array = about_z @ about_x @ about_y
    return out


def projected(lens: Lens, points: Array) -> Array:
    """(n, 2) px of (n, 3) mm in the camera's axes, whose origin is where heads are."""
    out: Array = points[:, :2] * (lens.focal / (lens.away - points[:, 2:])) + (lens.width / 2, lens.height / 2)
    return out


# -- the surface -------------------------------------------------------------------------------------------------------


def _ellipsoid(way: Array, middle: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """(h, w) how far it is from SPOT, along way (h, w, 3), to where an ellipsoid around SPOT ends."""
    r = np.array(radii, np.float32)
    a, o = way / r, (SPOT - np.array(middle, np.float32)) / r
    aa, ao, oo = (a * a).sum(-1), a @ o, float(o @ o) - 1
    out: Array = (-ao + np.sqrt(np.maximum(ao * ao - aa * oo, 0))) / aa
    return out


def ways() -> Array:
    """(HIGH, WIDE, 3) the direction of each texel: x right, y down, z ahead."""
    azimuth = ((np.arange(WIDE, dtype=np.float32) + 0.5) / WIDE - 0.5) * 2 * np.pi
    height = ((np.arange(HIGH, dtype=np.float32) + 0.5) / HIGH - 0.5) * np.pi
    c = np.cos(height)[:, None]
    y = np.broadcast_to(np.sin(height)[:, None], (HIGH, WIDE))
    return np.stack([c * np.sin(azimuth), y, c * np.cos(azimuth)], -1).astype(np.float32)


def _bump(x: Array, y: Array, at: tuple[float, float], size: tuple[float, float]) -> Array:
    return np.asarray(np.exp(-(((x - at[0]) / size[0]) ** 2) - ((y - at[1]) / size[1]) ** 2), np.float32)


def _soft(value: Array, wide: float) -> Array:
    """0 below, 1 above, over about `wide`."""
    v = np.clip(value / wide + 0.5, 0, 1)
    return np.asarray(v * v * (3 - 2 * v))


class Surface(NamedTuple):
    """A head without hair, then with."""

    radius: Array  # (h, w) mm
    at: Array  # (h, w, 3) mm of each texel
    normal: Array  # (h, w, 3)
    skin: Array  # (h, w, 3) uint8 BGR, painted
    worn: Array  # (h, w) 0 to 1: hair or cloth, no skin


def sculpt(who: Person) -> tuple[Array, Array]:
    """(h, w) radius of the bare head, and (h, w, 3) the texels' places in mm."""
    way = ways()
    w, g = who.wide, who.long
    parts = [
        _ellipsoid(way, (0, -26, -88), (75 * w, 88, 96)),
        _ellipsoid(way, (0, 20 * g, -56), (66 * w, 92 * g, 60)),
        _ellipsoid(way, (0, 68 * g, -54), (53 * w * who.jaw, 49 * g * (0.6 + 0.4 * who.jaw), 52)),
    ]
    r = np.log(sum(np.exp(p / 5.0) for p in parts)) * 5.0  # the outermost, rounded where two meet
    at = SPOT + way * r[..., None]
    x, y, front = at[..., 0], at[..., 1], _soft(at[..., 2] + 50, 30)
    e, n = EYE * who.apart, who.nose
    add = np.zeros_like(r)
    for side in (-1, 1):
        add += front * (-11.0) * _bump(x, y, (side * e, 0), (17, 11))
        add += front * 4.0 * _bump(x, y, (side * e, 1), (13, 8))  # the eyeball
        add += front * 3.0 * _bump(x, y, (side * 28, -19), (22, 7)) * min(who.brow, 1.4)
        add += front * 4.5 * _bump(x, y, (side * 46 * w, 27), (17, 15))
        add += front * 8.0 * n * _bump(x, y, (side * 13.5 * n, 43), (6.5, 6))
        add -= 3.0 * _bump(x, y, (side * 52 * w, 62), (14, 18)) * front
        ear = _bump(at[..., 2], y, (-84, 12), (13, 27)) * (x * side > 40)
        add += (17 + 2 * who.age) * np.clip(ear * 1.6, 0, 1) * _soft(ear - 0.22, 0.3)
    ridge = np.clip((y + 12) / 54, 0, 1)
    wing = 6.0 + 5.0 * ridge
    below = 1 - _soft(y - 49, 9)
    add += front * n * (4 + 20 * ridge**1.25) * np.exp(-((x / wing) ** 2)) * below * _soft(y + 14, 16)
    add += front * 3.5 * who.lips * _bump(x, y, (0, LIPS - 5.0), (21, 4.0))
    add += front * 4.0 * who.lips * _bump(x, y, (0, LIPS + 5.5), (16, 4.6))
    add -= front * 3.0 * _bump(x, y, (0, LIPS), (22, 1.8))
    add -= front * 3.5 * _bump(x, y, (0, LIPS + 17), (20, 6))
    add += front * 6.0 * _bump(x, y, (0, 103 * g), (17, 12))
    add -= front * 1.5 * _bump(x, y, (0, 55), (3.5, 6))
    r = cv2.GaussianBlur((r + add).astype(np.float32), (0, 0), 1.6)
    return r, (SPOT + way * r[..., None]).astype(np.float32)


def _normals(at: Array) -> Array:
    along = np.gradient(at, axis=1)
    along[:, 0], along[:, -1] = along[:, 1], along[:, -2]
    down = np.gradient(at, axis=0)
    out = np.cross(down, along)
    out /= np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-6)
    return np.asarray(-out, np.float32)


def _azimuth() -> Array:
    """(1, w) deg."""
    return (((np.arange(WIDE, dtype=np.float32) + 0.5) / WIDE - 0.5) * 360)[None]


def _hairline(who: Person, at: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """(h, w) 0 to 1 where hair (or a scarf) is, and how thick it stands, mm."""
    y, turn = at[..., 1], np.abs(_azimuth())
    points = {  # azimuth deg: mm below the eyes at which it ends
        "short": ((0, -63), (30, -60), (48, -52), (58, -25), (72, 8), (84, 12), (92, -28), (112, -10), (125, 62)),
        "parted": ((0, -60), (25, -62), (48, -50), (56, -22), (72, 14), (84, 16), (92, -28), (112, -8), (125, 70)),
        "fringe": ((0, -27), (30, -27), (45, -24), (56, -10), (70, 20), (84, 24), (92, 0), (112, 30), (125, 75)),
        "receding": ((0, -92), (25, -84), (40, -70), (55, -32), (72, 6), (84, 10), (92, -28), (112, -8), (125, 58)),
        "bald": ((0, -150), (90, -150), (91, -149), (180, -148)),
        "long": ((0, -64), (25, -60), (40, -44), (52, 0), (60, 60), (68, 110), (80, 130), (125, 140)),
        "bun": ((0, -64), (30, -62), (48, -48), (60, -16), (74, 4), (90, -30), (112, -6), (125, 60)),
        "curly": ((0, -58), (30, -56), (46, -46), (56, -14), (70, 20), (84, 26), (92, -4), (112, 30), (125, 75)),
        "scarf": ((0, -52), (30, -50), (48, -36), (60, 0), (62, 40), (56, 80), (180, 200)),
    }[who.style]
    if who.style == "scarf":  # an oval about the face
        inside = ((at[..., 0] / (58 * who.wide)) ** 2 + ((y - 28) / 80) ** 2 - 1) * 30
        mask = np.where(at[..., 2] > -60, _soft(inside, 4), 1.0)
        return np.asarray(mask, np.float32), np.full_like(mask, 7.0)
    end = np.interp(turn, [p[0] for p in points], [p[1] for p in points])
    end = end + 3.0 * noise(1, WIDE, 9, rng, 2)
    if who.style == "parted":
        end = end + 10 * np.exp(-(((_azimuth() - 22) / 9) ** 2)) * -1
    ragged = 3.5 if who.style != "curly" else 7.0
    fray = ragged * noise(HIGH, WIDE, 5, rng, 2)
    mask = _soft(end - y + fray, 5.0)
    thick = {"short": 9.0, "receding": 7.0, "bald": 0.0, "bun": 7.0, "curly": 24.0, "fringe": 13.0}.get(who.style, 14.0)
    rise = np.clip((end - y) / 35, 0.12, 1)
    return np.asarray(mask, np.float32), np.asarray(thick * rise, np.float32)


class Head:
    """One person's head, ready to be drawn."""

    def __init__(self, who: Person) -> None:
        self.who = who
        rng = np.random.default_rng((who.seed, 29))
        radius, at = sculpt(who)
        self.texel = at  # of the bare head: where on the face each texel is, for what is painted
        normal = _normals(cv2.GaussianBlur(at, (0, 0), 1.2))
        mask, thick = _hairline(who, at, rng)
        strands = noise(HIGH, WIDE // 3, 6, rng, 3)
        strands = cv2.resize(cv2.GaussianBlur(strands, (0, 0), sigmaX=0.5, sigmaY=6), (WIDE, HIGH))
        grow = mask * thick * (1 + 0.3 * (noise(HIGH, WIDE, 14, rng, 3) if who.style == "curly" else strands))
        skin = self._skin(at, radius, rng)
        hair = np.array(who.hair, np.float32) * (1 + 0.45 * strands[..., None])
        if who.style == "curly":
            hair = np.array(who.hair, np.float32) * (1 + 0.6 * noise(HIGH, WIDE, 7, rng, 3)[..., None])
        if who.style == "scarf":
            cloth = np.array(who.shirt, np.float32) * 0.5 + np.array(rng.uniform(30, 200, 3), np.float32) * 0.5
            hair = cloth * (1 + 0.12 * noise(HIGH, WIDE, 40, rng, 2)[..., None])
        beard = self._beard(at, rng)
        tone = np.array(who.hair, np.float32) * 0.9 + 8
        skin += beard[..., None] * (tone * (1 + 0.5 * noise(HIGH, WIDE, 3, rng, 2)[..., None]) - skin)
        skin += mask[..., None] * (hair - skin)
        grow += 7.0 * beard * (who.beard in ("full", "goatee"))
        worn = mask
        if who.mask:
            cover = _soft(60 - np.abs(at[..., 0]) / who.wide, 6) * _soft(at[..., 1] - 26, 3) * (at[..., 2] > -70)
            folds = 1 - 0.10 * np.exp(-((((at[..., 1] - 34) % 16) - 8) ** 2) / 3)
            cloth = np.array(((214, 196, 150), (225, 225, 222), (60, 58, 56))[int(rng.integers(3))], np.float32)
            skin += cover[..., None] * (cloth * folds[..., None] - skin)
            flat = _soft(at[..., 1] - 30, 10) * cover
            grow += (
                flat
                * np.clip(14 - 0.004 * at[..., 0] ** 2, 2, 14)
                * (1 - _bump(at[..., 0], at[..., 1], (0, 44), (16, 12)))
            )
            worn = np.maximum(worn, cover)
        if who.hat:
            brim = -46 if who.hat == "cap" else -40
            turn = np.abs(_azimuth())
            cap = _soft(brim + np.clip(turn - 50, 0, 60) * 0.55 - at[..., 1], 3)
            cloth = np.array(rng.uniform(20, 210, 3), np.float32) * (
                1 + 0.06 * noise(HIGH, WIDE, 20, rng, 2)[..., None]
            )
            if who.hat == "beanie":
                cloth = cloth * (1 - 0.18 * (np.sin(np.radians(_azimuth()) * 90)[..., None] > 0.3))
            skin += cap[..., None] * (cloth - skin)
            grow = np.where(cap > 0.5, np.maximum(grow, 11), np.minimum(grow, 11 + 40 * (1 - cap)))
            worn = np.maximum(worn, cap)
            self.cloth: Array = np.asarray(cloth.mean((0, 1)))
        self.worn = np.asarray(worn, np.float32)
        grow = cv2.GaussianBlur(grow.astype(np.float32), (0, 0), 2.0)
        self.radius = radius + grow
        way = ways()
        hilly = cv2.GaussianBlur(radius + grow, (0, 0), 1.0)
        self.normal = _normals(SPOT + way * hilly[..., None])
        soft = np.clip(worn, 0, 1)[..., None]
        self.normal = np.asarray(self.normal * soft + (1 - soft) * normal, np.float32)
        self.albedo = np.clip(skin, 0, 255).astype(np.uint8)
        self.shine = (1 - soft[..., 0]) * (0.6 + 0.4 * _bump(at[..., 0], at[..., 1], (0, 10), (45, 60)))
        self.canvas = self.albedo.copy()
        self.canvas_of: tuple[Any, ...] | None = None
        self.patches = [
            self._patch(x0, y0, x1, y1) for x0, y0, x1, y1 in ((-56, -30, -9, 15), (9, -30, 56, 15), (-34, 57, 34, 108))
        ]

    # -- painting --

    def _skin(self, at: Array, radius: Array, rng: np.random.Generator) -> Array:
        who = self.who
        x, y = at[..., 0], at[..., 1]
        base = np.array(who.skin, np.float32)
        red = np.array((-0.10, -0.08, 0.03), np.float32)
        rosy = np.zeros(x.shape, np.float32)
        for side in (-1, 1):
            rosy += 0.55 * _bump(x, y, (side * 40, 36), (18, 16)) + 0.5 * _bump(x, y, (side * 12, 44), (9, 8))
        rosy += 0.6 * _bump(x, y, (0, 40), (9, 10)) + 0.25 * noise(HIGH, WIDE, 24, rng, 3)
        out = base * (1 + rosy[..., None] * red)
        out *= 1 + 0.018 * noise(HIGH, WIDE, 3, rng, 2)[..., None] + 0.02 * noise(HIGH, WIDE, 12, rng, 2)[..., None]
        hollow = cv2.GaussianBlur(radius, (0, 0), 9) - radius  # what lies deep is dark
        out *= 1 - np.clip(0.05 * hollow, -0.10, 0.45)[..., None]
        dark = np.zeros(x.shape, np.float32)
        for side in (-1, 1):
            dark += 0.18 * (0.4 + who.age) * _bump(x, y, (side * (EYE - 2), 13), (14, 5))
            dark += 0.75 * _bump(x, y, (side * 7.5 * who.nose, 50.5), (4.0, 2.0))  # nostrils
            fold = np.abs(x * side - (16 + 0.55 * np.clip(y - 42, 0, 40))) / 2.2
            dark += (0.12 + 0.16 * who.age) * np.exp(-(fold**2)) * _soft(y - 44, 8) * (1 - _soft(y - 74, 14))
        dark += 0.10 * who.age * sum(_bump(x, y, (0, at_), (40, 1.3)) for at_ in (-34, -43, -52))
        out *= 1 - np.clip(dark, 0, 0.85)[..., None]
        out *= 1 - 0.35 * _soft(y - 108 * who.long, 16)[..., None] * (at[..., 2] > -60)[..., None]
        return np.asarray(out, np.float32)

    def _beard(self, at: Array, rng: np.random.Generator) -> Array:
        """(h, w) 0 to 1."""
        who = self.who
        if not who.beard:
            return np.zeros(at.shape[:2], np.float32)
        x, y = np.abs(at[..., 0]), at[..., 1]
        fray = 4 * noise(HIGH, WIDE, 6, rng, 2)
        lips = np.exp(-(((x / 26) ** 2 + ((y - LIPS - 0.5) / 8.5) ** 2) ** 2))
        above = _soft(y - 57 + fray * 0.3, 4) * (1 - _soft(y - 66, 4)) * _soft(30 - x, 6)
        cheek = _soft(y - (50 - 0.0 * x) - np.where(x > 34, (60 - x) * 0.9, 16) + fray, 8) * _soft(
            x - 20 + (y - 70), 10
        )
        cheek = np.maximum(cheek, _soft(y - 84 + fray, 6))
        cheek = cheek * (at[..., 2] > -95)
        chin = _soft(y - 82, 5) * _soft(26 - x, 8)
        part = {
            "moustache": above,
            "goatee": np.maximum(above, np.maximum(chin, above)),
            "full": np.maximum(above, cheek),
        }
        full = part.get(who.beard, np.maximum(above, cheek)) * (1 - lips)
        dense = 0.34 if who.beard == "stubble" else 0.9
        return np.asarray(full * dense * np.clip(0.85 + 0.5 * noise(HIGH, WIDE, 3, rng, 2), 0, 1), np.float32)

    def _patch(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        """The texels of a part of the face, as rows and columns."""
        x, y, z = (self.texel[..., i] for i in range(3))
        rows, columns = np.nonzero((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1) & (z > -60))
        return slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)

    def _paint(self, look: Look, light: Light) -> None:
        """Eyes and mouth as they are now."""
        wants = tuple(round(v, 3) for v in (*look[3:], light.glint, light.pupil))
        if wants == self.canvas_of:
            return
        self.canvas_of = wants
        for patch, side, lid in zip(self.patches, (-1, 1), (look.right, look.left), strict=False):
            self.canvas[patch] = self._eye(patch, side, lid, look, light)
        if not self.who.mask:
            self.canvas[self.patches[2]] = self._mouth(self.patches[2], look)

    def _eye(self, patch: tuple[slice, slice], side: int, lid: float, look: Look, light: Light) -> Array:
        who = self.who
        skin = self.albedo[patch].astype(np.float32)
        place = self.texel[patch]
        x = place[..., 0] * side - EYE * who.apart  # outwards
        y = place[..., 1]
        tilt = 0.06 + 0.03 * (who.seed % 3)
        y = y + tilt * x  # the outer corner is a little higher
        a = 15.4
        arch = np.clip(1 - np.abs(x / a) ** 2.3, 0, 1)
        arch_in = np.clip(1 - np.abs((x + 2) / a) ** 2, 0, 1)
        top, low = -6.9 * who.eye, 3.9
        line_low = low * arch - 0.3
        shut = low * 0.9 * arch - 0.3
        line_top = shut + (top * arch_in - shut) * lid
        dark = np.array(who.hair, np.float32) * 0.35 + 6
        base = np.array(who.skin, np.float32)
        # the lid between the crease and the lashes, which grows as it comes down
        crease = top * arch_in * (1.0 + 0.12) - 2.6 - 0.9 * lid
        on_lid = _soft(y - crease, 2.0) * _soft(line_low - y, 1.0) * (arch > 0)
        skin *= 1 - (0.10 + 0.25 * who.makeup) * on_lid[..., None] * np.array((0.7, 1.0, 0.8), np.float32)
        fold = np.exp(-(((y - crease) / 1.0) ** 2)) * np.clip(arch_in * 2, 0, 1)
        skin *= 1 - (0.22 + 0.12 * lid) * fold[..., None]
        bag = np.exp(-(((y - line_low - 5.5) / 1.6) ** 2)) * arch
        skin *= 1 - 0.10 * (0.4 + who.age) * bag[..., None]
        # the ball
        ball = _soft(y - line_top, 1.1) * _soft(line_low - y, 1.1) * (np.abs(x) < a)
        gx = 11.5 * math.sin(math.radians(look.gaze)) * side
        gy = 11.5 * math.sin(math.radians(look.down)) - 0.9
        white = np.array((206, 214, 222), np.float32) * (1 - 0.25 * np.clip(np.abs(x / a) ** 2, 0, 1))[..., None]
        white = white * (1 - 0.38 * np.exp(-np.clip(y - line_top, 0, 20) / 2.4))[..., None]
        white += np.exp(-(((x + 13.5) / 2.4) ** 2))[..., None] * np.array((-70, -80, -10), np.float32)
        far = np.hypot(x - gx, y - gy)
        iris: Array = (
            np.array(who.iris, np.float32) * (0.75 + 0.6 * np.clip(far / 6, 0, 1) + 0.2 * (y - gy > 0))[..., None]
        )
        iris = iris * (1 - 0.65 * _soft(far - 5.2, 1.0))[..., None]
        white += _soft(6.0 - far, 0.9)[..., None] * (iris - white)
        white *= 1 - 0.93 * _soft(2.1 * light.pupil - far, 0.8)[..., None]
        if light.grey:  # the lamp comes back out of the pupil, and off the cornea
            white += _soft(1.9 * light.pupil - far, 0.8)[..., None] * 70 * light.glint
        spark = np.exp(-(((x - gx - 1.3 * side) ** 2 + (y - gy + 1.5) ** 2) / 0.9))
        white += spark[..., None] * 235 * light.glint
        skin += ball[..., None] * (np.clip(white, 0, 255) - skin)
        # lashes and the lower rim
        thick = 0.85 + 0.5 * who.makeup + 0.35 * (1 - lid)
        lash = np.exp(-(((y - line_top - 0.1) / thick) ** 2)) * np.clip(arch * 5, 0, 1)
        hang = _soft(y - line_top, 0.8) * np.exp(-np.clip(y - line_top, 0, 9) / 1.6) * np.clip(arch * 3, 0, 1)
        lash = np.clip(lash + (1 - lid) * 0.45 * hang, 0, 1) * (0.75 + 0.2 * who.makeup)
        skin += lash[..., None] * (dark - skin)
        rim = np.exp(-(((y - line_low - 0.3) / 0.7) ** 2)) * np.clip(arch * 4, 0, 1) * (0.25 + 0.3 * who.makeup)
        skin += rim[..., None] * (0.55 * base - skin)
        # the brow
        lift = 3.0 * look.brow
        bend = -16.5 - lift - 3.2 * np.clip(1 - ((x - 3) / 20) ** 2, -1, 1) - tilt * x * 0.4
        thin = (2.6 - 1.1 * np.clip((x + 2) / 20, 0, 1)) * who.brow
        hairs = np.exp(-((((y - tilt * x) - bend) / thin) ** 2)) * _soft(x + 19, 6) * (1 - _soft(x - 20, 6))
        grain = 0.75 + 0.35 * np.sin(2.3 * x + 1.7 * y)
        skin += (0.82 * np.clip(hairs * grain, 0, 1) * min(who.brow, 1.0) * (1 - self.worn[patch]))[..., None] * (
            np.array(who.hair, np.float32) * 0.8 - skin
        )
        return np.clip(skin, 0, 255).astype(np.uint8)

    def _mouth(self, patch: tuple[slice, slice], look: Look) -> Array:
        who, m = self.who, float(np.clip(look.mouth, 0, 1))
        skin = self.albedo[patch].astype(np.float32)
        place = self.texel[patch]
        x, y = place[..., 0], place[..., 1]
        half = 25.0 * (1 + 0.16 * look.smile - 0.16 * m)
        share = np.clip(np.abs(x) / half, 0, 1)
        bow = -4.5 * look.smile * share**2  # corners rise
        arch = np.sqrt(np.clip(1 - share**2, 0, 1))
        line = LIPS + bow
        top = line - (2.2 * m + 0.5 * (m > 0.02)) * arch
        bottom = line + 27.0 * m * arch
        thick_top = 6.4 * who.lips * (1 - 0.35 * m) * (1 - 0.35 * look.smile)
        thick_low = 8.0 * who.lips * (1 - 0.45 * m) * (1 - 0.25 * look.smile)
        cupid = 1.2 * np.exp(-((x / 4.0) ** 2)) - 0.5 * np.exp(-((np.abs(x) - 7) ** 2) / 16)
        edge_top = top - thick_top * arch**0.8 + cupid * (share < 1)
        edge_low = bottom + thick_low * arch**0.8
        inside = np.clip((1 - share) * 12, 0, 1)
        lips = _soft(y - edge_top, 1.6) * _soft(edge_low - y, 1.8) * inside
        base = np.array(who.skin, np.float32)
        tone = base * np.array((0.68, 0.62, 0.86), np.float32) + np.array((4, 0, 14), np.float32)
        tone = tone + who.makeup * (np.array((60, 40, 170), np.float32) - tone) * 0.75
        lit = 1 + 0.10 * np.exp(-(((y - bottom - 0.5 * thick_low) / 2.5) ** 2)) - 0.12 * (y < line)
        skin += (0.85 * lips)[..., None] * (tone * lit[..., None] - skin)
        seam = np.exp(-(((y - top) / 0.9) ** 2)) * inside * (1 - _soft(np.asarray(m), 0.2))
        skin *= 1 - 0.62 * seam[..., None]
        hole = _soft(y - top, 1.2) * _soft(bottom - y, 1.2) * inside * float(np.clip(m * 25, 0, 1))
        deep = np.empty_like(skin)
        deep[:] = (22, 16, 42)
        tongue = np.exp(-((x / (0.62 * half)) ** 2) - ((y - bottom) / (4 + 9 * m)) ** 2) * np.clip(m * 3 - 0.3, 0, 1)
        deep += tongue[..., None] * (np.array((92, 84, 168), np.float32) - deep)
        teeth = _soft(top + 2.0 + 5.5 * min(1.0, 3 * m) - y, 1.2) * _soft(0.72 - share, 0.12) * min(1.0, 4 * m)
        gaps = 1 - 0.25 * np.exp(-((((np.abs(x) + 3.6) % 7.2) - 3.6) ** 2) / 0.15)
        deep += (0.9 * teeth)[..., None] * (np.array((196, 210, 218), np.float32) * gaps[..., None] - deep)
        lower = _soft(y - bottom + 4.5 * m, 1.2) * _soft(0.6 - share, 0.12) * np.clip(m * 2 - 0.7, 0, 0.8)
        deep += lower[..., None] * (np.array((170, 186, 196), np.float32) - deep)
        skin += hole[..., None] * (deep - skin)
        corner = np.exp(-(((np.abs(x) - half) / 2.2) ** 2) - ((y - line) / 2.6) ** 2)
        skin *= 1 - 0.28 * corner[..., None]
        return np.clip(skin, 0, 255).astype(np.uint8)

    # -- drawing --

    def spots(self, lens: Lens, look: Look, place: Array) -> Spots:
        """Where the parts are; place: (3,) mm of the head's origin before it is turned."""
        e, low = EYE * self.who.apart, (LIPS - JAW) * 1.0 + JAW
        drop = 27.0 * look.mouth * 0.5
        chin = JAW + (112 * self.who.long - JAW) * stretch(look.mouth)
        w = 74 * self.who.wide
        half = 25.0 * (1 + 0.16 * look.smile - 0.16 * look.mouth)
        mm = np.array(
            [
                (-e, 0, -7),
                (e, 0, -7),
                (0, 41, 26 * self.who.nose),
                (-half, low + drop, -2),
                (half, low + drop, -2),
                *((s * w, y, -60) for s in (-1, 1) for y in (-35, chin * 0.7)),
                *((s * 20, y, z) for s in (-1, 1) for y, z in ((-42, 2), (chin, -6))),
                (0, 41, 26 * self.who.nose),
            ]
        )
        px = projected(lens, self.placed(mm, look, place))
        around = px[5:]
        box = np.concatenate([around.min(0), around.max(0)])
        return Spots(px[0], px[1], px[2], px[3], px[4], box)

    def placed(self, mm: Array, look: Look, place: Array) -> Array:
        """(n, 3) points of the head in the camera's axes."""
        out: Array = (mm - PIVOT) @ turned(look.yaw, look.pitch, look.roll).T + PIVOT + place
        return out

    def draw(
        self,
        picture: Array,
        lens: Lens,
        look: Look,
        place: Array,
        light: Light,
        dapple: Array | None = None,
        step: int = 3,
    ) -> None:
        """Lays the head into the picture (h, w, 3) uint8. dapple: (h, w) float32, share of the key light there."""
        self._paint(look, light)
        turn = turned(look.yaw, look.pitch, look.roll).astype(np.float32)
        middle = self.placed(SPOT[None].astype(float), look, place)[0]
        x, y = projected(lens, middle[None])[0]
        size = float(lens.focal / (lens.away - middle[2]))  # px a mm
        reach = float(self.radius.max()) + 4
        up = reach * size
        down = (reach + 35 * look.mouth) * size
        x1, x2 = max(0, int(x - up)), min(lens.width, int(x + up) + 1)
        y1, y2 = max(0, int(y - up)), min(lens.height, int(y + down) + 1)
        if x2 - x1 < 4 or y2 - y1 < 4:
            return
        step = max(1, min(step, round(step * size)))
        gw, gh = (x2 - x1 + step - 1) // step + 1, (y2 - y1 + step - 1) // step + 1
        gx = x1 + step * np.arange(gw, dtype=np.float32) + 0.5
        gy = y1 + step * np.arange(gh, dtype=np.float32) + 0.5
        way = np.empty((gh, gw, 3), np.float32)
        way[..., 0] = (gx - lens.width / 2) / lens.focal
        way[..., 1] = ((gy - lens.height / 2) / lens.focal)[:, None]
        way[..., 2] = -1
        way = cv2.transform(way, turn.T)  # the head's axes
        way /= np.sqrt(np.einsum("ijk,ijk->ij", way, way))[..., None]
        from_ = turn.T @ (np.array((0, 0, lens.away), np.float32) - (place + PIVOT).astype(np.float32)) + PIVOT - SPOT
        u, v, depth = self._meet(from_, way, stretch(look.mouth))
        wide, high = x2 - x1, y2 - y1
        # the grid's samples lie at multiples of step: fill in between
        maps = np.dstack([u, v, depth])
        shift = np.array(((1 / step, 0, 0), (0, 1 / step, 0)), np.float32)
        fine = cv2.warpAffine(
            maps, shift, (wide, high), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
        alpha = np.clip(0.5 - fine[..., 2] * size, 0, 1)
        mu, mv = np.ascontiguousarray(fine[..., 0]), np.ascontiguousarray(fine[..., 1])
        colour = cv2.remap(self.canvas, mu, mv, cv2.INTER_LINEAR)
        normal = cv2.remap(self.normal, mu, mv, cv2.INTER_LINEAR)
        colour = self._lit(colour, normal, turn, light, None if dapple is None else dapple[y1:y2, x1:x2])
        under = picture[y1:y2, x1:x2]
        picture[y1:y2, x1:x2] = cv2.blendLinear(colour, under, alpha, 1 - alpha)

    def _meet(self, from_: Array, way: Array, open_: float) -> tuple[Array, Array, Array]:
        """Where rays meet the surface: columns and rows of texels, and by how many mm they miss it (below 0: hit)."""
        ax, ay, az = (np.ascontiguousarray(way[..., i]) for i in range(3))
        ox, oy, oz = (float(v) for v in from_)
        along = -(ox * ax + oy * ay + oz * az)  # to where it is nearest to SPOT
        off = np.sqrt(np.maximum(ox * ox + oy * oy + oz * oz - along * along, 0))
        outer = float(self.radius.max()) * max(1.0, 0.6 + 0.45 * open_)
        half = np.sqrt(np.maximum(outer * outer - off * off, 0))
        u = v = off

        def gap(s: Array) -> tuple[Array, Array, Array]:
            x, y, z = ox + s * ax, oy + s * ay, oz + s * az
            if open_ > 1:
                limit = JAW - float(SPOT[1])
                y = np.where(y > limit, limit + (y - limit) / open_, y)
            flat = np.sqrt(x * x + z * z)
            u = (np.arctan2(x, z) * (WIDE / (2 * np.pi)) + (WIDE / 2 - 0.5)).astype(np.float32)
            v = (np.arctan2(y, flat) * (HIGH / np.pi) + (HIGH / 2 - 0.5)).astype(np.float32)
            r = cv2.remap(self.radius, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            return np.sqrt(flat * flat + y * y) - r, u, v

        s = along - half
        least = np.full_like(off, 1e3)
        for _ in range(9):
            g, u, v = gap(s)
            np.minimum(least, g, out=least)
            s = np.minimum(s + 0.85 * g, along + 60)
        g, u, v = gap(s)
        mid, mu, mv = gap(along)
        for aside in (-22.0, 22.0):
            mid = np.minimum(mid, gap(along + aside)[0])
        miss = np.minimum(mid, np.minimum(least, np.abs(g)) - 0.8)  # what it went on to meet it did not miss
        miss = np.where(off > outer, off - outer + 5, miss)
        gone = miss > 0
        return np.where(gone, mu, u), np.where(gone, mv, v), miss.astype(np.float32)

    def _lit(self, colour: Array, normal: Array, turn: Array, light: Light, dapple: Array | None) -> Array:
        """Colours under the light, uint8."""
        key = turn.T @ _unit(light.of)
        to = turn.T @ np.array((0, 0, 1), np.float32)
        up = turn.T @ np.array((0, -1, 0), np.float32)
        bright = _unit(_unit(light.of) + _unit((0, 0, 1)))
        mirror = turn.T @ bright
        wrap = 0.25
        m = np.array(
            [(*(key / (1 + wrap)), wrap / (1 + wrap)), (*to, 0), (*(0.35 * up), 0.65), (*mirror, 0)], np.float32
        )
        four = np.maximum(cv2.transform(normal, m), 0)
        if dapple is not None:
            four[..., 0] *= dapple
        gloss = four[..., 3] ** 2
        gloss *= gloss
        gloss *= gloss
        four[..., 3] = gloss * gloss
        mix = np.array([light.key, light.fill, light.ambient], np.float32)
        amount = cv2.transform(four, np.ascontiguousarray(np.vstack([mix, np.zeros(3, np.float32)]).T))
        out = colour.astype(np.float32) * amount
        out += (four[..., 3] * (36.0 * light.key[1]))[..., None]
        if light.grey:
            out[:] = (0.25 * out[..., 0] + 0.3 * out[..., 1] + 0.45 * out[..., 2])[..., None]
        lit: Array = np.clip(out, 0, 255).astype(np.uint8)
        return lit


def _unit(v: Any) -> Array:
    v = np.asarray(v, np.float32)
    out: Array = v / np.linalg.norm(v)
    return out


def stretch(mouth: float) -> float:
    """How much longer the face is from the JAW on."""
    return 1 + 0.5 * float(np.clip(mouth, 0, 1))


# -- what is worn ------------------------------------------------------------------------------------------------------


def wear(picture: Array, head: Head, lens: Lens, look: Look, place: Array, light: Light, sky: Array | None) -> None:
    """Lays glasses and the visor of a cap over the picture. sky: (h, w, 3) uint8, what mirrors in glasses."""
    who = head.who
    if who.glasses:
        _glasses(picture, head, lens, look, place, light, sky)
    if who.hat == "cap":
        a = np.radians(np.linspace(-62, 62, 15))
        inner = np.stack([68 * np.sin(a), np.full(15, -47.0), -74 + 88 * np.cos(a)], 1)
        outer = np.stack([74 * np.sin(a), -40 + 6 * np.cos(a), -74 + 88 * np.cos(a) + 62 * np.cos(a) ** 0.7], 1)
        px = projected(lens, head.placed(np.concatenate([inner, outer[::-1]]), look, place))
        level = np.array(light.ambient) + 0.35 * np.array(light.key)
        tone = head.cloth * level * 0.8
        if light.grey:
            tone = np.full(3, tone.mean())
        b, g, r = (float(np.clip(v, 0, 255)) for v in tone)
        cv2.fillPoly(picture, [np.round(px * 16).astype(np.int32)], (b, g, r), cv2.LINE_AA, 4)
        b, g, r = 0.6 * b, 0.6 * g, 0.6 * r
        cv2.polylines(picture, [np.round(px[15:] * 16).astype(np.int32)], False, (b, g, r), 1, cv2.LINE_AA, 4)


def _glasses(picture: Array, head: Head, lens: Lens, look: Look, place: Array, light: Light, sky: Array | None) -> None:
    who = head.who
    rng = np.random.default_rng((who.seed, 31))
    half, tall, power = rng.uniform(23, 27), rng.uniform(14, 20), rng.uniform(2.2, 3.6)
    if who.glasses != "clear":
        half, tall = half + 3, tall + 4
    a = np.linspace(0, 2 * np.pi, 29)[:-1]
    ring_x = half * np.sign(np.cos(a)) * np.abs(np.cos(a)) ** (2 / power)
    ring_y = tall * np.sign(np.sin(a)) * np.abs(np.sin(a)) ** (2 / power) + 3
    level = np.array(light.ambient) + 0.4 * np.array(light.key) + np.array(light.fill)
    frame = np.clip(np.array(who.frame) * level, 0, 255)
    if light.grey:
        frame[:] = frame.mean()
    b, g, r = (float(v) for v in frame)
    size = lens.focal / (lens.away - place[2])
    thick = max(1, round(float(rng.uniform(1.0, 3.4)) * size))
    for side in sorted((-1, 1), key=lambda s: -s * look.yaw):  # the far one first
        x = side * (half + 8.5) + ring_x
        ring = np.stack([x, ring_y, 15 - 0.0035 * x * x], 1)
        px = projected(lens, head.placed(ring, look, place))
        if side * look.yaw < 72:
            _pane(picture, px, who.glasses, light, sky, look)
        cv2.polylines(picture, [np.round(px * 16).astype(np.int32)], True, (b, g, r), thick, cv2.LINE_AA, 4)
        if side * look.yaw < 12:  # the temple piece that the cheek does not hide
            arm = np.array(
                [(side * (2 * half + 8.5), -3, 2.0), (side * 76 * who.wide, -4, -55), (side * 78 * who.wide, 0, -84)]
            )
            way = projected(lens, head.placed(arm, look, place))
            cv2.polylines(picture, [np.round(way * 16).astype(np.int32)], False, (b, g, r), thick, cv2.LINE_AA, 4)
    bridge = np.array([(-8.5, -3, 15.0), (0, -6, 18.0), (8.5, -3, 15.0)])
    px = projected(lens, head.placed(bridge, look, place))
    cv2.polylines(picture, [np.round(px * 16).astype(np.int32)], False, (b, g, r), thick, cv2.LINE_AA, 4)


def _pane(picture: Array, px: Array, kind: str, light: Light, sky: Array | None, look: Look) -> None:
    """One glass."""
    x1, y1 = np.maximum(np.floor(px.min(0)), 0).astype(int)
    x2, y2 = np.minimum(np.ceil(px.max(0)) + 1, picture.shape[1::-1]).astype(int)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return
    mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
    cv2.fillPoly(mask, [np.round((px - (x1, y1)) * 16).astype(np.int32)], 255.0, cv2.LINE_AA, 4)
    h, w = mask.shape
    tone = np.empty((h, w, 3), np.uint8)
    bright = float(np.mean(light.ambient) + np.mean(light.key))
    if kind == "mirror" and sky is not None:
        tone[:] = cv2.flip(cv2.resize(sky, (w, h), interpolation=cv2.INTER_AREA), 1)
        share = np.full((h, w), 0.86, np.float32)
    elif kind == "clear":
        at = (0.5 + 0.012 * (look.yaw + 2 * look.pitch)) * w  # a window that mirrors, and wanders as the head turns
        x, y = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)[:, None]
        band = np.exp(-(((x - at + 0.6 * (y - h / 2)) / (0.13 * w)) ** 2))
        tone[:] = min(255, int(250 * bright))
        share = np.asarray(0.04 + (0.05 if light.grey else 0.22) * light.glint * band, np.float32)
    else:
        fall = np.linspace(30, 10, h, dtype=np.float32)[:, None] * bright
        tone[:] = np.clip(fall, 0, 255).astype(np.uint8)[..., None]
        share = np.full((h, w), 0.95, np.float32)
    share = share * (mask.astype(np.float32) / 255)
    under = picture[y1:y2, x1:x2]
    picture[y1:y2, x1:x2] = cv2.blendLinear(tone, under, share, 1 - share)
