"""The second root: what looks at pictures, in the camera's child or for `vedette watch`. Pixels in, columns out.

An eye is one task of one camera (`agent/sights.py`). It owns its net and its memory; a net that is missing or is not
the one of the manifest is a reason in words, and the eye goes on with what needs none.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from drivers import video_child

from .core.errors import NetFault
from .core.frame import Array
from .sights import Road

if TYPE_CHECKING:
    from models.vision.net import Net

TILES = 4  # of a face that nobody may know, across and down; project
AROUND = 0.2  # of its size, around a face that was found: hair and ears
PACE = 2.0  # s over which the rate of pictures is a mean


class RoadEye:
    """An eye on the road ahead."""

    def __init__(self, settings: Road, ready: Net | None = None) -> None:
        """ready: a net in place of the settings' own."""
        from models.vision import net, road

        self.settings, self.why = settings, ""
        self.sight: road.Sight | None = None
        self._road = road
        self._memory: road.Memory | None = None
        self._net: Net | None = ready
        self._rate, self._last = math.nan, math.nan
        if settings.net and ready is None:
            try:
                self._net = net.load(settings.net, threads=settings.threads, provider=settings.provider)
            except NetFault as fault:
                self.why = str(fault)

    def look(self, at: float, picture: Array, speed: float = math.nan) -> list[float]:
        """One more picture (h, w, 3) uint8 BGR, taken at monotonic s; speed of the vehicle in m/s, NaN: unknown."""
        if self._memory is None:
            self._memory = self._road.start(self.settings.mount, picture)
        mount = self.settings.mount
        try:
            self._memory, self.sight = self._road.look(self._memory, mount, self._net, at, picture, speed)
        except NetFault as fault:  # a net that breaks on the way: on without it
            self.why, self._net = str(fault), None
            return self.look(at, picture, speed)
        passed = at - self._last
        if passed > 0:
            share = min(1.0, passed / PACE)
            self._rate = 1 / passed if math.isnan(self._rate) else self._rate + share * (1 / passed - self._rate)
        self._last = at
        return self._road.columns(self.sight, mount, self._rate)


def opened(order: video_child.Order) -> RoadEye | None:
    """The eye that a camera is asked for."""
    return RoadEye(order.road) if order.road is not None else None


def veiled(order: video_child.Order) -> Callable[[Array], Array] | None:
    """What blurs the faces that a net finds, where a camera is asked for that. Without its net nothing may be kept."""
    if order.keep is None or not order.keep.blur:
        return None
    from models.vision import net

    try:
        return partial(unknown, net.load(order.keep.blur))
    except NetFault as fault:
        return partial(_refuse, fault)


def unknown(finder: Net, picture: Array) -> Array:
    """The picture (h, w, 3) uint8 with every face that the net finds as a few flat tiles: nobody gets it back."""
    picture = picture.copy()
    high, wide = picture.shape[:2]
    for one in finder.find(picture):
        if one.kind != "face":
            continue
        x1, y1, x2, y2 = one.box
        more = AROUND * max(x2 - x1, y2 - y1)
        left, right = max(0, int(x1 - more)), min(wide, int(x2 + more) + 1)
        top, under = max(0, int(y1 - more)), min(high, int(y2 + more) + 1)
        for rows in np.array_split(np.arange(top, under), TILES):
            for columns in np.array_split(np.arange(left, right), TILES):
                if len(rows) and len(columns):
                    tile = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                    tile[:] = tile.mean(axis=(0, 1))
    return picture


def _refuse(fault: NetFault, picture: Array) -> Array:
    raise fault


if __name__ == "__main__":
    os._exit(video_child.main(opened, veiled))  # as the child without an eye does
