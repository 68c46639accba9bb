"""A yard with people as a fixed camera sees it, with their feet known: figures on a ground that stands.

It is a drawing: a net that knows people may or may not take these figures for people. What they are for is the logic
behind the net: who is inside, since when, through what hides them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .video import Fault, Image, Scene


class Figure(NamedTuple):
    """Somebody in a red coat, or a blue van."""

    x: float  # share of the width, of the middle of the foot
    y: float  # share of the height, of the foot
    tall: float = 0.2  # share of the height
    kind: str = "person"  # or "vehicle"


COAT, VAN = (40, 30, 200), (200, 60, 30)  # BGR


class Yard(Scene):
    """People at `where(t)` at t s."""

    def __init__(
        self,
        where: Callable[[float], Sequence[Figure]] = lambda t: (),
        width: int = 320,
        height: int = 240,
        seed: int = 1,
        fps: float = 12.0,
    ) -> None:
        super().__init__(width, height, seed)
        self.where, self.fps, self.seed, self.light = where, fps, seed, 1.0
        grey = [cv2.cvtColor(cv2.cvtColor(one, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR) for one in self.places]
        self.places = [np.asarray(one, np.uint8) for one in grey]

    def at(self, t: float, fault: Fault = "") -> Image:
        """The picture at t s."""
        left = self.width // 5 if fault == "shifted" else 0
        image = self.places[fault == "turned"][:, left : left + self.width].copy()
        if fault == "black":
            return np.zeros_like(image)
        if fault == "covered":
            return np.full_like(image, 90)
        for one in self.where(t):
            x1, y1, x2, y2 = self.box(one)
            cv2.rectangle(
                image, (round(x1), round(y1)), (round(x2), round(y2)), COAT if one.kind == "person" else VAN, -1
            )
        noise = np.random.default_rng([self.seed, int(1000 * t)]).integers(-2, 3, image.shape)
        return np.clip(self.light * image.astype(float) + noise, 0, 255).astype(np.uint8)

    def box(self, one: Figure) -> tuple[float, float, float, float]:
        """px: left, top, right, below."""
        tall = one.tall * self.height
        half = (0.2 if one.kind == "person" else 0.8) * tall
        return one.x * self.width - half, one.y * self.height - tall, one.x * self.width + half, one.y * self.height

    def picture(self, n: int, fault: Fault) -> Image:
        """The n-th picture."""
        return self.at((0 if fault == "frozen" else n) / self.fps, fault)
