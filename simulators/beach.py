"""The beach of a tailings pond as a camera on the dam sees it, with its water's edge known.

Drawn in metres on the ground and seen through a pin-hole: sand with blotches and tracks, wet near the water; water with
waves that run, the sky in it and the sun's glitter; by day, at dusk, in the dam's shadow, in fog and rain; birds that
rest for moments and people who walk. It is a drawing: real sand, foam, algae, ice and spray are not in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .video import Fault, Image, Scene

Floats = NDArray[Any]
FOCAL = 0.9  # widths of the picture
HEIGHT = 14.0  # m of the camera above the beach
BACK = 6.0  # m behind the crest's edge, where the beach begins
PITCH = math.radians(11.0)
SAND, WATER, SKY = (128.0, 158.0, 172.0), (118.0, 112.0, 96.0), (215.0, 205.0, 195.0)  # BGR
WET = 5.0  # m of wet sand before the water
CELL = 256  # of a pattern that repeats


class Weather(NamedTuple):
    """How it looks."""

    light: float = 1.0  # of a bright day
    warm: float = 0.0  # 0 white light, 1 a red evening
    waves: float = 1.0  # 0: a mirror
    glitter: float = 1.0
    shadow: float = 0.0  # m of the beach that lie in the dam's shadow
    fog: float = 0.0  # 1/m of light that is lost
    rain: float = 0.0  # of the pixels that a drop crosses
    noise: float = 2.0  # grey levels
    crowd: bool = False  # birds and people


@lru_cache(maxsize=4)
def patterns(seed: int) -> tuple[Floats, ...]:
    """Random fields (CELL, CELL) that repeat, smooth over 2, 6 and 20 cells, of standard deviation 1."""
    rng, found = np.random.default_rng(seed), []
    for size in (2, 6, 20):
        field = np.tile(rng.normal(0, 1, (CELL, CELL)), (3, 3)).astype(np.float32)
        field = cv2.GaussianBlur(field, (0, 0), size)[CELL : 2 * CELL, CELL : 2 * CELL]
        found.append(np.asarray(field / field.std(), np.float32))
    return tuple(found)


class Beach(Scene):
    """A beach whose length is `length(t)` m at t s, straight before the camera."""

    def __init__(
        self,
        length: Callable[[float], float] = lambda t: 70.0,
        weather: Callable[[float], Weather] = lambda t: Weather(),
        width: int = 640,
        height: int = 360,
        seed: int = 1,
        fps: float = 12.0,
    ) -> None:
        self.width, self.height, self.fps = width, height, fps
        self.length, self.weather = length, weather
        self.seed, self.aside = seed, Scene(width, height, seed)
        focal = FOCAL * width
        sin, cos = math.sin(PITCH), math.cos(PITCH)
        z = np.array([0.0, cos, BACK * cos + HEIGHT * sin])  # of ground (x, y, 1), along the view
        down = np.array([0.0, -sin, HEIGHT * cos - BACK * sin])
        right = np.array([1.0, 0.0, 0.0])
        self.plane = np.array([focal * right + width / 2 * z, focal * down + 0.42 * height * z, z])  # metres -> px
        v, u = np.mgrid[:height, :width].astype(float)
        there = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(self.plane).T
        self.sky = there[..., 2] <= 1e-6
        depth = np.where(self.sky, 1.0, there[..., 2])
        self.x = np.where(self.sky, 0.0, there[..., 0] / depth).astype(np.float32)
        self.y = np.where(self.sky, 1e4, there[..., 1] / depth).astype(np.float32)
        self.far = np.hypot(self.x, self.y + BACK).astype(np.float32)
        self.patterns = patterns(seed)
        fine = np.exp(-self.far / 30)
        blotch = self._at(1, 0.5, 0, 0) + 0.7 * self._at(2, 0.3, 0, 0)
        self.sand = (1 + 0.16 * fine * self._at(0, 0.06, 0, 0) + 0.10 * blotch).astype(np.float32)
        for track in (-7.0, -5.2, 9.0):  # of a lorry, across the beach
            self.sand *= 1 - 0.22 * np.exp(-(((self.x - track - 0.05 * self.y) / 0.35) ** 2))

    def _at(self, pattern: int, cell: float, dx: float, dy: float) -> Floats:
        """A pattern laid on the ground, `cell` m for each of its cells."""
        by = np.float32(1 / cell)
        x, y = np.mod(self.x * by + np.float32(dx), CELL - 1), np.mod(self.y * by + np.float32(dy), CELL - 1)
        return np.asarray(cv2.remap(self.patterns[pattern], x, y, cv2.INTER_LINEAR), np.float32)

    def points(self) -> list[tuple[float, float, float, float]]:
        """What a technician would give: shares across and down, and metres."""
        found = []
        for x, y in ((-8.0, 30.0), (8.0, 28.0), (-13.0, 42.0), (14.0, 45.0), (1.0, 50.0), (-25.0, 110.0)):
            u, v, z = self.plane @ [x, y, 1.0]
            found.append((float((u / z + 0.5) / self.width), float((v / z + 0.5) / self.height), x, y))
        return found

    def edge(self, t: float) -> Floats:
        """m from the crest to the water, for each pixel's x."""
        swash = np.float32(0.3) * np.sin(np.float32(2 * math.pi * t / 4.3) + self.x / 3)
        return np.asarray(np.float32(self.length(t)) + np.float32(0.8) * np.sin(self.x / 7) + swash, np.float32)

    def at(self, t: float) -> Image:
        """The picture at t s."""
        one, rng = self.weather(t), np.random.default_rng([self.seed, int(1000 * t)])
        edge = self.edge(t)
        wet = 1 - 0.32 * np.clip(1 - (edge - self.y) / WET, 0, 1)
        shade = np.where(self.y < one.shadow + 1.5 * np.sin(self.x / 4), 0.42, 1.0)
        sand = self.sand * wet
        ripples = self._at(0, 0.25, 3.1 * t, 5.3 * t) + 0.8 * self._at(1, 0.3, -2.2 * t, 4.1 * t)
        ripples *= np.float32(one.waves) * np.exp(-self.far / 250)
        mirror = 0.25 + 0.5 * np.clip(self.far / 200, 0, 1)  # of the sky
        water = self.y > edge
        image = np.empty((self.height, self.width, 3), np.float32)
        shine = (ripples + 0.25 * rng.standard_normal(ripples.shape, np.float32)) * np.exp(
            -((self.x / (0.12 * self.far)) ** 2)
        )
        sparks = water & (one.glitter > 0) & (one.waves > 0.05) & (shine > 2.6 - one.glitter)
        clear = np.exp(-one.fog * self.far)
        lamp = one.light * np.array([1 - 0.35 * one.warm, 1 - 0.15 * one.warm, 1.0])
        for i in range(3):
            lake = (WATER[i] * (1 - mirror) + SKY[i] * mirror) * (1 + 0.14 * ripples)
            plane = np.where(water, lake, SAND[i] * sand * shade)
            plane[sparks] = 250
            plane[self.sky] = SKY[i]
            if one.fog:
                plane = plane * clear + 190.0 * (1 - clear)
            image[..., i] = lamp[i] * plane
        if one.crowd:
            self._crowd(image, t, one.light)
        if one.rain:
            drops = cv2.blur((rng.random(ripples.shape) < one.rain).astype(np.float32), (1, 9)) * 9
            image += (60 * one.light * drops)[..., None]
        image += np.float32(one.noise) * rng.standard_normal(image.shape, np.float32)
        return np.clip(image, 0, 255).astype(np.uint8)

    def _crowd(self, image: Floats, t: float, light: float) -> None:
        """Birds that come and go at the water, and two who walk across the beach."""
        rng = np.random.default_rng(int(t / 3))
        for _ in range(12):
            x, y = rng.uniform(-15, 15), self.length(t) + rng.uniform(-6, 8)
            u, v, z = self.plane @ [x, y, 1.0]
            half = max(1, round(0.4 * FOCAL * self.width / z))
            cv2.circle(image, (round(u / z), round(v / z)), half, [35.0 * light] * 3, -1)
        for start, y in ((-12.0, 40.0), (14.0, self.length(t) - 3)):
            x = start + 1.3 * (t % 20.0) * (1 if start < 0 else -1)
            u, v, z = self.plane @ [x, y, 1.0]
            size = FOCAL * self.width / z
            corner = round(u / z - 0.3 * size), round(v / z - 1.75 * size)
            cv2.rectangle(
                image, corner, (round(u / z + 0.3 * size), round(v / z)), [40 * light, 30 * light, 90 * light], -1
            )

    def picture(self, n: int, fault: Fault) -> Image:
        """The n-th picture."""
        image = self.at((0 if fault == "frozen" else n) / self.fps)
        if fault == "black":
            return np.zeros_like(image)
        if fault == "covered":
            return np.full_like(image, 90)
        if fault == "turned":  # to something else altogether
            return self.aside.picture(n, "")
        return np.roll(image, self.width // 5, 1) if fault == "shifted" else image
