"""What stands in the way, whatever it is: corners of the picture that come nearer than the road under them does.

The road flows towards the camera at a rate that grows from the horizon downwards, row by row; what stands on it comes
at one rate from top to foot, so its upper part comes sooner than the road at that row would. Such corners with one rate
and in the way make a thing, if it is as large as a thing that matters and reaches below the camera: a bridge does not.
No net is asked. What is found only says where to look (`approach.py`): whether it is neared there tells the texture.
"""

from __future__ import annotations

import numpy as np

from agent.core.frame import Array

from .flow import Flow
from .scale import Box

STANDS = 1.6  # times the road's rate at that row, from which a corner stands on it. project
SURE = 3.0  # standard errors
SLOWEST = 0.08  # 1/s; what comes slower is looked at later
LIKE = 0.3  # of the logarithm of the rate, within which corners are one thing
FEWEST = 6  # corners of a thing, at one rate
UPPER = 3  # of them, that the road at their rows cannot be
FASTEST = 5.0  # 1/s
WIDE, HIGH = 0.5, 0.4  # m, of a thing that matters
LOW = 0.35  # of the camera's height below which some of it is
SIDE = 0.2  # m beside the vehicle that are its way too
MOST = 2


def road_rate(seen: Flow, rate: Array, error: Array, row: float, deep: float) -> float:
    """By how much each row below the horizon is neared faster, 1/s per px; NaN where the road does not tell.

    deep: px below the horizon from which on there is nothing but road. What stands still there is the vehicle's own
    bonnet, or the windscreen's dirt.
    """
    below = seen.y - row
    use = (below > deep) & (rate > 4 * error) & (rate > SLOWEST)
    if use.sum() < FEWEST:
        return float("nan")
    steep = rate[use] / below[use]
    return float(np.median(steep[steep > 0.5 * np.percentile(steep, 90)]))


def looming(
    seen: Flow,
    rate: Array,
    error: Array,
    at: tuple[float, float],
    steep: float,
    camera: float,
    half: float,
    bend: float,
) -> list[Box]:
    """Boxes, px, of what stands in the way.

    rate, error: of each corner, 1/s; at: px, where the vehicle drives to; steep: the road's rate, 1/s per px; camera:
    its height, m; half: of the vehicle's width, m; bend: px/s by which the picture turns to the left.
    """
    below = seen.y - at[1]
    stands = rate > np.maximum(SLOWEST, STANDS * steep * np.maximum(below, 0.0) + SURE * error)
    metre = steep * camera / np.maximum(rate, 1e-6)  # of a px, at what does not move by itself
    across = (seen.x - at[0] - bend / (2 * np.maximum(rate, 1e-6))) * metre
    near = (rate > np.maximum(SLOWEST, SURE * error)) & (rate < FASTEST)
    use = np.flatnonzero(near & (np.abs(across) < half + SIDE))
    found: list[Box] = []
    while len(use) >= FEWEST and len(found) < MOST:
        logs = np.log(rate[use])
        order = np.argsort(logs)
        until = np.searchsorted(logs[order], logs[order] + LIKE, side="right")
        above = np.concatenate([[0], np.cumsum(stands[use[order]])])
        many = np.where(until - np.arange(len(order)) >= FEWEST, above[until] - above[: len(order)], 0)
        first = int(np.argmax(many))
        if many[first] < UPPER:
            break
        one = use[order[first : until[first]]]
        box = _boxed(seen, one, float(np.median(rate[one])), at[1], steep, camera)
        if box is not None:
            found.append(box)
        use = np.setdiff1d(use, one)
    return found


def _boxed(seen: Flow, one: Array, rate: float, row: float, steep: float, camera: float) -> Box | None:
    """The box of these corners, down to where the thing would stand on the road; None for what does not matter."""
    (x1, x2), (y1, y2) = (np.percentile(side[one], (8, 92)) for side in (seen.x, seen.y))
    metre, foot = steep * camera / rate, row + rate / steep
    if (x2 - x1) * metre < WIDE or (y2 - y1) * metre < HIGH or y2 < row + LOW * rate / steep:
        return None
    return float(x1), float(y1), float(x2), float(max(y2, min(foot, y2 + 0.5 * (y2 - y1))))
