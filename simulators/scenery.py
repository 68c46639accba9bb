"""Where a road leads through, and how light and weather make it look.

The ground is one plane: asphalt, marks, verge. Marks are averaged over each pixel exactly, textures by levels that are
as fine as the pixels there. The sky and what is far away do not come nearer. What the weather does to a picture is done
last: fog with the distance, then rain, glare, dirt, shake, noise. Who drives where is not known here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

from . import bodies
from .bodies import Body, noise
from .lens import Array, Camera, Eye, Face, texture

TILE = (8.0, 32.0)  # m across and along; it repeats, along the road mirrored
FINE = 24  # texels a metre
SEAM = 24  # texels over which a tile fades into the next one


class Mark(NamedTuple):
    """A line along the road."""

    x: float  # m from the middle of our lane
    wide: float = 0.15  # m
    on: float = 0.0  # m of paint
    every: float = 0.0  # m; 0: without a gap


class Place(NamedTuple):
    """A kind of road. x in m from the middle of our lane, right is positive."""

    left: float  # edge of the asphalt
    right: float
    marks: tuple[Mark, ...]
    rails: tuple[float, ...] = ()
    houses: float = 0.0  # how dense, 0 to 1
    trees: float = 0.5
    near: float = 4.0  # m from the asphalt to what stands beside it
    lamps: float = 0.0  # m between lamp posts; 0: none
    parked: float = 0.0  # how many of the places along the kerb are taken
    paved: bool = False  # a pavement beside it, no grass


PLACES: dict[str, Place] = {
    "motorway": Place(
        -9.6,
        4.6,
        (Mark(1.875, 0.2), Mark(-1.875, 0.15, 6, 15), Mark(-5.6, 0.15, 6, 15), Mark(-9.2, 0.2)),
        (-10.2, 5.4),
        0.0,
        0.55,
        5.0,
    ),
    "country": Place(-5.4, 2.1, (Mark(1.8, 0.15), Mark(-1.75, 0.12, 4, 12), Mark(-5.2, 0.15)), (3.6,), 0.08, 0.7, 2.5),
    "avenue": Place(
        -9.2,
        4.0,
        (Mark(1.7, 0.12, 3, 9), Mark(-1.8, 0.14), Mark(-5.4, 0.12, 3, 9)),
        (),
        0.25,
        0.7,
        3.0,
        35.0,
        0.25,
        True,
    ),
    "town": Place(-5.6, 2.9, (Mark(-1.7, 0.12, 3, 9),), (), 0.9, 0.3, 1.8, 28.0, 0.55, True),
}


class Thing(NamedTuple):
    """Something that stands at a place of the road."""

    body: Body
    x: float  # m from the middle of our lane
    z: float  # m along the road, of its nearer end
    yaw: float = 0.0  # rad, right is positive


class Light(NamedTuple):
    """How bright it is, and of what colour."""

    sky: float  # share of a bright day that falls on everything
    tint: Array  # (3,) BGR
    beams: float  # our own headlights
    lamps: bool  # others have their lamps on
    haze: float  # 1/m
    veil: Array  # (3,) BGR of the haze
    grain: float  # of the sensor, in steps of 255


def light(weather: tuple[str, ...], rng: np.random.Generator) -> Light:
    sky, tint, grain = rng.uniform(0.9, 1.08), np.array([1.0, 1.0, 1.0]) + rng.normal(0, 0.025, 3), 1.6
    veil = np.array([205.0, 200, 194])
    haze = rng.uniform(0.0006, 0.0018)
    if "dusk" in weather:
        sky, tint, grain, veil = 0.42, np.array([1.15, 0.95, 0.9]), 4.0, np.array([120.0, 100, 105])
    if "night" in weather:
        sky, tint, grain, veil, haze = 0.045, np.array([1.1, 1.0, 0.95]), 6.0, np.array([14.0, 11, 10]), 0.0012
    if "rain" in weather:
        sky, haze, veil = sky * 0.72, haze + 0.005, veil * 0.82
    if "fog" in weather:
        haze = haze + 0.022
    dark = "night" in weather or "dusk" in weather
    lamps = dark or "rain" in weather or "fog" in weather
    return Light(sky, tint, 1.0 if "night" in weather else 0.25 if dark else 0.0, lamps, haze, veil, grain)


# -- the ground -----------------------------------------------------------------------------------


def _tile(image: Array) -> list[Array]:
    """A texture that repeats, and coarser ones: each half as fine along, later ones across as well.

    image: `SEAM` wider than the tile.
    """
    image = image.astype(np.float32)
    w = image.shape[1] - SEAM
    fade = np.linspace(0, 1, SEAM, dtype=np.float32).reshape(1, -1, *[1] * (image.ndim - 2))
    whole = image[:, :w].copy()
    whole[:, :SEAM] = fade * whole[:, :SEAM] + (1 - fade) * image[:, w:]
    levels = [np.concatenate([whole, whole[::-1]])]
    for k in range(1, 8):
        h, w = levels[-1].shape[:2]
        size = (w if k < 4 else max(8, w // 2), max(8, h // 2))
        levels.append(cv2.resize(levels[-1], size, interpolation=cv2.INTER_AREA))
    return levels


def grit(rng: np.random.Generator) -> list[Array]:
    """(h, w) 1 on average: the stones of the asphalt, seen close by only."""
    n = 512
    return _tile(1 + 0.10 * noise(n, n + SEAM, 1.6, rng, 1) + 0.05 * noise(n, n + SEAM, 7, rng, 2))


def asphalt(rng: np.random.Generator, wet: bool) -> list[Array]:
    """(h, w) of grey, 1 on average: grain, wheel tracks, patches, seams, stains."""
    h, w = int(TILE[1] * FINE), int(TILE[0] * FINE) + SEAM
    out = 1 + 0.05 * noise(h, w, 2, rng, 1) + 0.03 * noise(h, w, 6 * FINE, rng, 5)
    long = cv2.resize(noise(max(8, h // 24), w, 10, rng, 2), (w, h), interpolation=cv2.INTER_LINEAR)
    out += 0.03 * long
    for _ in range(int(rng.integers(2, 7))):  # mended pieces
        x, y = int(rng.integers(0, w)), int(rng.integers(0, h))
        a, b = int(rng.integers(20, 140)), int(rng.integers(30, 400))
        out[y : y + b, x : x + a] *= rng.uniform(0.75, 1.15)
    for _ in range(int(rng.integers(4, 12))):  # cracks, tarred
        at = np.cumsum(
            np.concatenate([[[rng.uniform(0, w), rng.uniform(0, h)]], rng.normal(0, 9, (40, 2)) + rng.normal(0, 5, 2)]),
            0,
        )
        cv2.polylines(
            out, [np.round(at).astype(np.int32)], False, rng.uniform(0.55, 0.85), int(rng.integers(1, 4)), cv2.LINE_AA
        )
    if rng.random() < 0.5:
        x = int(rng.integers(0, w))
        cv2.line(out, (x, 0), (x, h), 0.7, 2, cv2.LINE_AA)
    if wet:
        out = 0.75 * (1 + 0.5 * (out - 1)) + 0.10 * np.clip(noise(h, w, 60, rng), -1, 2)
    return _tile(np.clip(out, 0.2, 1.9))


def verge(rng: np.random.Generator, paved: bool) -> list[Array]:
    """(h, w, 3) of what is beside the asphalt."""
    h, w = int(TILE[1] * FINE / 2), int(TILE[0] * FINE / 2) + SEAM
    if paved:
        tone = np.array([150, 155, 160]) * rng.uniform(0.6, 1.1)
        out = tone * (1 + 0.06 * noise(h, w, 3, rng) + 0.05 * noise(h, w, 40, rng))[..., None]
        step = int(rng.integers(10, 26))
        out[::step] *= 0.8
        out[:, ::step] *= 0.8
    else:
        green = np.array([45, 95, 75]) * rng.uniform(0.5, 1.2)
        dry = np.array([95, 150, 175]) * rng.uniform(0.6, 1.0)
        mix = np.clip(0.5 * noise(h, w, 120, rng) + rng.uniform(-0.2, 1.1), 0, 1)[..., None]
        out = (green * (1 - mix) + dry * mix) * (1 + 0.2 * noise(h, w, 3, rng, 2) + 0.1 * noise(h, w, 30, rng))[
            ..., None
        ]
    return _tile(np.clip(out, 0, 255))


def covered(lo: Array, hi: Array, on: float, every: float) -> Array:
    """The share of lo to hi that lies on a line of `on` m paint every `every` m.

    >>> covered(np.array([0.0, 4.0, -1.0]), np.array([4.0, 8.0, 1.0]), 4.0, 8.0).tolist()
    [1.0, 0.0, 0.5]
    """

    def paint(s: Array) -> Array:
        turns = np.floor(s / every)
        return np.asarray(turns * on + np.minimum(s - turns * every, on))

    return np.asarray((paint(hi) - paint(lo)) / np.maximum(hi - lo, 1e-6))


class Road:
    """The ground of a place and what stands beside it, from z = 0 to `reach` m."""

    def __init__(
        self, name: str, weather: tuple[str, ...], reach: float, bend: float, rng: np.random.Generator
    ) -> None:
        self.place, self.bend, self.weather = PLACES[name], bend, weather
        self.wet = "rain" in weather
        self.grey = rng.uniform(62, 138) * np.array([1.02, 1.0, 0.98])
        self.white = rng.uniform(185, 240)
        self.asphalt, self.verge, self.grit = asphalt(rng, self.wet), verge(rng, self.place.paved), grit(rng)
        self.dapple = (
            _tile(np.clip(0.62 + 0.5 * noise(320, 96 + SEAM, 30, rng, 5), 0.38, 1.0))
            if rng.random() < 0.3 and "day" in weather
            else []
        )
        self.things = list(_beside(self.place, reach, rng))
        self.rail = rail(rng) if self.place.rails else ()
        self.spray = spray(rng) if self.wet else ()

    def middle(self, z: Any) -> Any:
        """x m of our lane's middle at z m ahead of where the road is straight."""
        return 0.5 * self.bend * np.asarray(z) ** 2

    def draw(self, picture: Array, eye: Eye, ego: float, gain: Light) -> None:
        """Everything below the horizon. ego: m that were driven; eye stands at z = 0 of a world that moves with it."""
        c = eye.camera
        rows, ahead, across = rays(eye)
        if rows.start >= c.height:
            return
        far = ahead * ahead / (c.focal * c.up)  # m of road in a pixel
        wide = ahead / c.focal
        x = across - self.middle(ahead)
        s = ahead + ego
        p = self.place
        stone = _sampled(self.asphalt, x, s, far, FINE) * _sampled(self.grit, x, s, far, 7 * FINE)
        out = self.grey.astype(np.float32) * stone[..., None]
        edge = 0.06 + 0 * x
        beside = np.clip((np.maximum(p.left - x, x - p.right)) / np.maximum(wide, edge) + 0.5, 0, 1)
        grass = _sampled(self.verge, x, s, far, FINE / 2)
        paint = np.zeros_like(x)
        for mark in p.marks:
            share = np.clip(
                (np.minimum(x + wide / 2, mark.x + mark.wide / 2) - np.maximum(x - wide / 2, mark.x - mark.wide / 2))
                / wide,
                0,
                1,
            )
            if mark.every:
                share = share * covered(s - far / 2, s + far / 2, mark.on, mark.every)
            paint = np.maximum(paint, share)
        worn = 0.9 * np.clip(out[..., 1] / self.grey[1], 0.4, 1.15)
        out += (paint * 0.92)[..., None] * (self.white * worn[..., None] - out)
        out += beside[..., None] * (grass - out)
        if self.dapple:
            out *= np.clip(_sampled(self.dapple, x * 0.5, s, far, FINE / 3), 0, 1)[..., None]
        shine = gain.sky + gain.beams * beam(x, ahead, 0.0)
        out *= shine[..., None] * gain.tint
        fade = np.exp(-gain.haze * ahead)[..., None]
        under = picture[rows]
        seen = ahead < 4000
        under[seen] = (out * fade + gain.veil * (1 - fade))[seen]


def rays(eye: Eye) -> tuple[slice, Array, Array]:
    """The rows that see the ground, and for each of their pixels z and x m of the spot; z is huge above the horizon."""
    c = eye.camera
    u = (np.arange(c.width, dtype=np.float32) + 0.5 - c.cx) / c.focal
    v = (np.arange(c.height, dtype=np.float32) + 0.5 - c.cy) / c.focal
    back = eye.turn.T
    down = -(back[1, 0] * u[None] + back[1, 1] * v[:, None] + back[1, 2])
    first = int(np.argmax((down > 1e-4).any(1))) if (down > 1e-4).any() else c.height
    down = np.maximum(down[first:], 1e-4)
    t = c.up / down
    z = t * (back[2, 0] * u[None] + back[2, 1] * v[first:, None] + back[2, 2])
    x = t * (back[0, 0] * u[None] + back[0, 1] * v[first:, None] + back[0, 2]) + eye.at[0]
    z = np.where(down <= 1e-4, 1e5, np.maximum(z, 0.05))
    return slice(first, c.height), z.astype(np.float32), x.astype(np.float32)


def _sampled(levels: list[Array], x: Array, s: Array, far: Array, per: float) -> Array:
    """A tile at x, s m, row by row from the level that is fine enough there. per: texels a metre of the finest."""
    middle = far[:, far.shape[1] // 2]
    k = np.clip(np.floor(np.log2(np.maximum(middle * per, 1e-3)) + 0.5), 0, len(levels) - 1).astype(int)
    out = np.empty((*x.shape, *levels[0].shape[2:]), np.float32)
    for level in np.unique(k):
        rows = np.flatnonzero(k == level)
        a, b = rows[0], rows[-1] + 1
        flat = levels[level]
        h, w = flat.shape[:2]
        fy, fx = per * h / levels[0].shape[0], per * w / levels[0].shape[1]
        mx = np.mod(x[a:b] * fx - 0.5, w).astype(np.float32)
        my = np.mod(s[a:b] * fy - 0.5, h).astype(np.float32)
        out[a:b] = cv2.remap(flat, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return out


def beam(x: Any, z: Any, y: Any) -> Array:
    """What low beams throw on a spot at x, z m ahead and y m high; 1 is a bright day."""
    out = 0.85 * np.exp(-((x / (1.6 + 0.13 * z)) ** 2)) / (1 + (z / 26) ** 2) * np.clip((z - 1.5) / 5, 0, 1)
    return np.asarray(out * np.exp(-np.maximum(0, np.asarray(y) - 0.9) / 0.8))


def spray(rng: np.random.Generator) -> Any:
    """What wheels throw up on a wet road, behind a vehicle."""
    h, w = 64, 96
    y, x = np.mgrid[0:h, 0:w]
    far_x, up = np.abs((x + 0.5) / w * 2 - 1), 1 - (y + 0.5) / h
    thick = (
        np.clip((1 - far_x) / 0.5, 0, 1)
        * np.clip(1 - up, 0, 1) ** 1.3
        * np.clip(0.75 + 0.25 * noise(h, w, 14, rng), 0, 1)
    )
    image = np.full((h, w, 4), 205, np.uint8)
    image[..., 3] = (95 * thick).astype(np.uint8)
    return texture(image)


def rail(rng: np.random.Generator) -> Any:
    """12 m of guard rail, seen from the road."""
    s = bodies.Sheet(12.0, 0.8, 50)
    tone = rng.uniform(120, 200)
    for x in np.arange(-5.9, 6, 2.0):
        s.rect(x - 0.06, 0, x + 0.06, 0.7, (tone * 0.6,) * 3)
    for y, g in ((0.44, 0.6), (0.50, 0.95), (0.56, 1.1), (0.60, 0.65), (0.65, 0.95), (0.70, 1.15)):
        s.rect(-6, y, 6, y + 0.07, (tone * g, tone * g, tone * g * 0.99))
    s.light(rng, 1.0, 0.95)
    return s.whole()


def rails(road: Road, ego: float) -> list[tuple[float, list[Face]]]:
    """The guard rails ahead as bodies with their distance."""
    out = []
    for x in road.place.rails:
        start = np.floor(ego / 12.0) * 12.0 - ego
        for z in np.arange(start, 220, 12.0):
            a, b = x + float(road.middle(z)), x + float(road.middle(z + 12))
            corners = np.array([(a, 0.8, z), (b, 0.8, z + 12), (b, 0, z + 12), (a, 0, z)])
            out.append((float(z + 6), [Face(corners, road.rail, True)]))
    return out


def _beside(p: Place, reach: float, rng: np.random.Generator) -> list[Thing]:
    """What stands left and right."""
    trees = [bodies.tree(rng, float(rng.choice([1.5, 2.2, 5, 7, 10, 13]) * rng.uniform(0.8, 1.2))) for _ in range(14)]
    cars = [bodies.car(bodies.CARS[int(rng.integers(len(bodies.CARS)))], rng) for _ in range(10)] if p.parked else []
    homes = (
        [bodies.house(rng, rng.uniform(7, 14), rng.uniform(8, 18), rng.uniform(4, 11)) for _ in range(8)]
        if p.houses
        else []
    )
    posts = [bodies.post(rng, what) for what in ("sign", "sign", "marker", "board")]
    lamp = bodies.post(rng, "lamp")
    out: list[Thing] = []
    for side, edge in ((-1, -p.left), (1, p.right)):
        z = rng.uniform(0, 12)
        while z < reach:
            if rng.random() < p.houses:
                home = homes[int(rng.integers(len(homes)))]
                out.append(Thing(home, side * (edge + p.near + home.width / 2 + rng.exponential(2.5)), z))
                z += home.length + rng.exponential(3.0)
            else:
                z += rng.uniform(4, 14)
        z = 0.0
        while z < reach:
            z += rng.exponential(9 / max(p.trees, 0.02)) + 1.5
            off = p.near * 0.8 + rng.exponential(7.0 if not p.houses > 0.5 else 2.0)
            one = trees[int(rng.integers(len(trees)))]
            out.append(Thing(one, side * (edge + off + min(one.width, 4) * 0.4), z))
        for z in np.arange(rng.uniform(5, 40), reach, rng.uniform(45, 90)):
            what = posts[int(rng.integers(len(posts)))]
            out.append(Thing(what, side * (edge + 1.2 + 0.3 * what.width), float(z)))
        if p.lamps:
            out += [
                Thing(lamp, side * (edge + 0.8), float(z)) for z in np.arange(rng.uniform(0, p.lamps), reach, p.lamps)
            ]
        z = 8.0
        while p.parked and z < reach:
            z += rng.uniform(5.5, 8.0)
            if rng.random() < p.parked:
                one = cars[int(rng.integers(len(cars)))]
                turned = np.pi if (side < 0) != (rng.random() < 0.2) else 0.0
                out.append(Thing(one, side * (edge - 0.1 - one.width / 2 + 0.9), z, turned + rng.normal(0, 0.03)))
    return out


# -- the sky and what is far ----------------------------------------------------------------------


def far(camera: Camera, weather: tuple[str, ...], gain: Light, rng: np.random.Generator) -> Array:
    """(h, 3 w, 3) float32, its horizon in the middle row: sky, clouds, hills, woods, and the ground's far end."""
    w, h = 3 * camera.width, 2 * camera.height
    top, low = _bgr(200, 150, 95) * rng.uniform(0.75, 1.15), _bgr(232, 222, 208) * rng.uniform(0.9, 1.08)
    if "dusk" in weather:
        top, low = _bgr(130, 85, 70), _bgr(110, 150, 215)
    elif "night" in weather:
        top, low = _bgr(16, 9, 6), _bgr(34, 26, 24)
    elif "rain" in weather or "fog" in weather or rng.random() < 0.3:
        grey = rng.uniform(150, 235)
        top, low = _bgr(1.0, 0.98, 0.96) * grey * 0.92, _bgr(1.0, 0.99, 0.98) * grey
    white = _bgr(238, 236, 234) * (0.08 if "night" in weather else 0.5 if "dusk" in weather else 1)
    up = np.linspace(1, 0, h // 2, dtype=np.float32)[:, None, None]
    out = np.empty((h, w, 3), np.float32)
    out[h // 2 :] = gain.veil
    cloud = np.clip(0.7 * noise(h // 2, w, h / 4, rng, 6) + 0.7 * rng.uniform(-1.4, 0.8), 0, 0.95)[..., None]
    sky = low + (top - low) * np.clip(up * 2.2, 0, 1) ** 0.7
    out[: h // 2] = sky + cloud * (white - sky)
    for depth, tall, cell in ((0.75, 0.06, 500), (0.45, 0.035, 170), (0.2, 0.025, 60)):
        if rng.random() < 0.25:
            continue
        ridge = np.clip(1 + 0.5 * noise(1, w, cell, rng, 4)[0], 0.1, 3)
        line = (h / 2 - camera.focal * tall * rng.uniform(0.3, 1.4) * ridge).astype(np.float32)
        first = max(0, int(line.min()))
        tone = (_bgr(70, 92, 78) * rng.uniform(0.45, 1.0) * gain.sky * gain.tint).astype(np.float32)
        grain = noise(h // 2 - first, w, 5, rng, 3)[..., None] if depth < 0.6 else np.float32(0)
        body = tone * (1 + np.float32(0.25) * grain)
        body = body + np.float32(depth * 0.8) * (low - body)
        share = np.clip(np.arange(first, h // 2, dtype=np.float32)[:, None] - line, 0, 1)[..., None]
        out[first : h // 2] += share * (body - out[first : h // 2])
    if "fog" in weather:
        out += np.float32(0.9) * (gain.veil.astype(np.float32) - out)
    return out


def _bgr(b: float, g: float, r: float) -> Array:
    return np.array([b, g, r], np.float32)


def behind(camera: Camera, view: Array, yaw: float, pitch: float, roll: float) -> Array:
    """What is far, as the camera sees it."""
    h, w = view.shape[:2]
    c, s = np.cos(roll), np.sin(roll)
    x, y = w / 2 + camera.focal * yaw, h / 2 + camera.focal * np.tan(camera.pitch + pitch)
    # from the picture to the view: turned about the camera's axis, then moved
    way = np.array([[c, -s, x - c * camera.cx + s * camera.cy], [s, c, y - s * camera.cx - c * camera.cy]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(view, way, (camera.width, camera.height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    )


def shadow(length: float, width: float, strong: float) -> Any:
    """What lies under a body: the texture of a plate a little larger than it."""
    h, w = 96, 64
    y, x = np.mgrid[0:h, 0:w]
    far_x, far_y = np.abs((x + 0.5) / w * 2 - 1), np.abs((y + 0.5) / h * 2 - 1)
    soft = np.clip((1 - far_x) / 0.28, 0, 1) * np.clip((1 - far_y) / (0.28 * width / max(length, width)), 0, 1)
    image = np.zeros((h, w, 4), np.uint8)
    image[..., 3] = (255 * strong * soft * soft * (3 - 2 * soft)).astype(np.uint8)
    return texture(image)


# -- what the weather and the camera do -----------------------------------------------------------


class Lens:
    """What is on the glass: dirt and drops, the same all the time."""

    def __init__(self, camera: Camera, weather: tuple[str, ...], rng: np.random.Generator) -> None:
        h, w = camera.height, camera.width
        self.weather = weather
        self.sun = (rng.uniform(0.2, 0.8) * w, rng.uniform(0.05, 0.9) * camera.cy)
        self.dirt = None
        if "dirt" in weather:
            grime = np.clip(0.35 * noise(h, w, 140 * w / 1280, rng, 4) - 0.15, 0, 0.75)
            for _ in range(int(rng.integers(12, 40))):
                spot = np.zeros((h, w), np.float32)
                centre = int(rng.integers(0, w)), int(rng.integers(0, h))
                cv2.circle(
                    spot,
                    centre,
                    max(2, int(rng.uniform(0.004, 0.022) * w)),
                    float(rng.uniform(0.3, 0.85)),
                    -1,
                    cv2.LINE_AA,
                )
                grime = np.maximum(grime, cv2.GaussianBlur(spot, (0, 0), 0.006 * w))
            self.dirt = grime[..., None].astype(np.float32)

    def see(self, picture: Array, gain: Light, t: float, rng: np.random.Generator) -> Array:
        """The picture (h, w, 3) float32 as it comes off the sensor, uint8. rng: of this picture alone."""
        h, w = picture.shape[:2]
        weather = self.weather
        if "rain" in weather:
            picture = _rain(picture, t, gain, rng)
        if "glare" in weather:
            y, x = np.mgrid[0:h, 0:w].astype(np.float32)
            dx, dy = (x - self.sun[0]) / w, (y - self.sun[1]) / w
            r2 = dx * dx + dy * dy
            shine = 420 * np.exp(-r2 / 0.0025) + 130 * np.exp(-r2 / 0.03) + 55 * np.exp(-r2 / 0.3)
            shine += 60 * np.exp(-((dx + 0.35 * dy) ** 2) / 0.0004) * np.exp(-r2 / 0.2)
            picture = picture * 0.78 + shine[..., None] * np.array((0.8, 0.95, 1.0), np.float32)
        if self.dirt is not None:
            soft = cv2.GaussianBlur(picture, (0, 0), 0.008 * w)
            tone = np.array((95, 105, 115), np.float32) * max(gain.sky, 0.1)
            picture = picture * (1 - self.dirt) + self.dirt * (0.55 * soft + 0.45 * tone)
        grain = gain.grain * (0.6 + 0.4 * np.sqrt(np.clip(picture, 0, 255) / 128))
        picture = picture + grain * rng.standard_normal((h, w, 3), np.float32)
        image = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
        if "jpeg" in weather:  # a camera that saves bytes
            image = np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 1))
        return image


def _rain(picture: Array, t: float, gain: Light, rng: np.random.Generator) -> Array:
    """Streaks in the air, drops on the glass, and every second or so the wiper."""
    h, w = picture.shape[:2]
    fall = np.zeros((h, w), np.float32)
    for _ in range(int(260 * rng.uniform(0.7, 1.3))):
        x, y, long = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(0.015, 0.07) * h
        lean = 0.12 * long * (x / w - 0.5) * 4
        ends = np.array([(x, y), (x + lean, y + long)])
        a, b = (tuple(int(v * 16) for v in p) for p in ends)
        cv2.line(fall, a, b, float(rng.uniform(0.1, 0.5)), 1, cv2.LINE_AA, 4)
    fall = cv2.GaussianBlur(fall, (0, 0), 0.7)[..., None]
    picture = picture + fall * np.float32(150) * (0.25 + 0.75 * gain.sky)
    drops = np.random.default_rng(int(t / 1.1) + 7919)  # as many as since the wiper passed
    n = int(90 * (t % 1.1) / 1.1) + 12
    blurred = cv2.GaussianBlur(cv2.flip(picture, 0), (0, 0), 0.006 * w)
    for x, y, r in drops.uniform((0, 0, 0.0022), (w, h, 0.009), (n, 3)):
        r *= w
        x1, y1, x2, y2 = (
            max(0, int(x - 2 * r)),
            max(0, int(y - 2 * r)),
            min(w, int(x + 2 * r) + 2),
            min(h, int(y + 2 * r) + 2),
        )
        if x2 - x1 < 2 or y2 - y1 < 2:
            continue
        yy, xx = np.mgrid[y1:y2, x1:x2]
        mask = np.clip(1.4 - np.hypot(xx - x, yy - y) / r, 0, 0.7)[..., None].astype(np.float32)
        picture[y1:y2, x1:x2] += mask * (blurred[y1:y2, x1:x2] * 0.9 + 8 * gain.sky - picture[y1:y2, x1:x2])
    turn = (t % 1.1) / 0.35
    if turn < 1:  # the wiper goes over
        angle = np.pi * (1.02 - 1.04 * turn)
        foot = np.array([0.45 * w, 1.12 * h])
        tip = foot + 0.95 * w * np.array([np.cos(angle), -np.sin(angle)])
        blade = np.zeros((h, w), np.float32)
        a, b = (tuple(int(v * 16) for v in p) for p in (foot, tip))
        cv2.line(blade, a, b, 1.0, max(2, int(0.018 * w)), cv2.LINE_AA, 4)
        picture = picture * (1 - 0.85 * cv2.GaussianBlur(blade, (0, 0), 0.006 * w)[..., None])
    return picture
