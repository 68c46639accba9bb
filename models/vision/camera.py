"""Where a camera sits and what its pixels mean: from a box in the picture to metres on the road.

A pin-hole before a flat road. The spot towards which the camera drives (the focus of expansion of a straight drive) is
where the horizon is, and where the lane's marks meet; with the camera's height it turns rows into metres, without the
focal length for what lies across, with it for what lies ahead.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from agent.sights import Mount

from .scale import Box

USUAL_FOCAL = 0.8  # widths of a picture: a lens of 64 degrees; project
USUAL_HORIZON = 0.45  # heights of a picture; project
USUAL_HEIGHT = 1.5  # m; project
DOUBT = 0.07  # rad, of a direction that nobody measured: 4 degrees; project
KNOWN = 0.01  # rad, of one that was
WIDE = {"vehicle": 1.8, "two-wheeler": 0.7, "person": 0.55}  # m, usual width; a lorry's is told by its box
TALL = 1.15  # heights by widths from which a vehicle is a lorry or a coach
LORRY = 2.5  # m
UNSURE = 0.2  # of a range that a usual width tells; project
UNLIKE = 1.0  # the same, of something that is not seen from behind, or not whole
ASIDE = 1.5  # widths by heights from which a vehicle is seen from the side, too
EDGE = 3.0  # px
FOOT = 15.0  # px below the horizon, from which a foot tells the camera's height
ROLLING = 0.008  # rad by which a car pitches on its springs; project


def lens(mount: Mount, width: int, height: int) -> Lens:
    """For pictures of this size, px, before anything was learnt."""
    by = width / mount.width if mount.width else 1.0
    focal = by * mount.focal or USUAL_FOCAL * width
    x, y = by * mount.x or width / 2, by * mount.y or USUAL_HORIZON * height
    return Lens(focal, x, y, mount.height or USUAL_HEIGHT, KNOWN if mount.x else DOUBT, KNOWN if mount.y else DOUBT)


class Lens(NamedTuple):
    """A camera as it is thought to be now."""

    focal: float  # px
    x: float  # px, of the spot towards which it drives
    y: float
    height: float  # m
    doubt_x: float  # rad
    doubt_y: float  # rad

    def times(self, by: float) -> Lens:
        """The same for pictures of another size."""
        return self._replace(focal=by * self.focal, x=by * self.x, y=by * self.y)


class Place(NamedTuple):
    """Where a thing stands."""

    ahead: float  # m from the camera
    error: float  # of it, as a share
    across: float  # m of its middle, to the right of the camera
    wide: float  # m


def height(lens: Lens, box: Box, kind: str, width: int) -> float:
    """m, of the camera above the road, by how wide a car is that stands there; NaN of what is no car seen from behind.

    Neither focal length nor range is in it: as many car widths as the horizon lies above its foot.

    >>> round(height(Lens(1000.0, 640.0, 324.0, 2.0, 0.0, 0.0), (620.0, 330.0, 660.0, 357.3), "vehicle", 1280), 2)
    1.5
    """
    x1, y1, x2, y2 = box
    wide, high, below = x2 - x1, y2 - y1, y2 - lens.y
    fits = kind == "vehicle" and 0.6 < high / max(wide, 1.0) < TALL and x1 > EDGE and x2 < width - 1 - EDGE
    return WIDE["vehicle"] * below / wide if fits and below > FOOT else math.nan


def placed(lens: Lens, box: Box, kind: str, shift: float = 0.0, width: float = math.inf) -> Place:
    """Where the thing in a box stands, by its foot on the road and by how wide such things are.

    shift: px by which the way ahead bends to the right at its range. width: px of the picture: what its edge cuts, or
    what is seen from the side, is as wide as it is.

    >>> lens = Lens(1000.0, 640.0, 324.0, 1.5, 0.0, 0.0)
    >>> round(placed(lens, (620.0, 324.0, 660.0, 357.3), "vehicle").ahead, 1)
    45.0
    """
    x1, y1, x2, y2 = box
    wide, high = max(x2 - x1, 1.0), max(y2 - y1, 1.0)
    usual = WIDE.get(kind, 0.0)
    if kind == "vehicle" and high / wide > TALL:
        usual = LORRY
    unlike = x1 <= EDGE or x2 >= width - 1 - EDGE or (kind == "vehicle" and wide / high > ASIDE)
    logs, weights = [], []
    below = y2 - lens.y
    if below > 1.0:
        logs.append(math.log(lens.focal * lens.height / below))
        weights.append(1 / (0.05**2 + (lens.focal * math.hypot(lens.doubt_y, ROLLING) / below) ** 2))
    if usual:
        logs.append(math.log(lens.focal * usual / wide))
        weights.append(1 / (UNLIKE if unlike else UNSURE) ** 2)
    if not logs:
        return Place(math.inf, 1.0, 0.0, 0.0)
    total = sum(weights)
    ahead = math.exp(sum(one * weight for one, weight in zip(logs, weights, strict=True)) / total)
    metre = ahead / lens.focal  # m of a px
    return Place(ahead, total**-0.5, ((x1 + x2) / 2 - lens.x - shift) * metre, wide * metre)
