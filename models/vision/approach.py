"""How soon a thing ahead is reached, from how fast its picture grows.

What grows by a share u of its size in a second is reached in 1/u seconds, whatever its size, its range and the lens
(Lee 1976). A camera need not know how far away a car is to know when it will be there. Each picture of the thing is
laid onto several earlier ones (`scale.py`), and one curve explains all of these growths over the last half second: the
range was 1 - u t - c t^2 / 2 of today's at the time t, with the acceleration c expected to be small. From the picture i
to the picture j the thing grows by the logarithm of what these say. Growths that do not fit count less; their scatter
says how well u is known.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from agent.core.frame import Array

from .scale import Aligned, Box, Start, aligned, inner

MARGIN = 0.2  # of a box that is left out at each edge,
INSIDE = 11.0  # px, where so much is left
AGES = (0.1, 0.2, 0.3, 0.5)  # s, of the earlier pictures that each is laid onto; the first tells where to look
SPAN = 0.55  # s over which growths are explained
FEWEST = 4  # growths to a number
SHORTEST = 0.28  # s that they cover, at least
FIT = 5e-4  # least error of a growth: lens, light and shutter
CHANGES = 0.07  # 1/s2, usual acceleration, in ranges: 3 m/s2 at 40 m
SHAKEN = 4e-3  # error of all growths together: a body that pitches, a road that bends
GROWN = 0.02  # log, of the least growth that tells where it is aimed at
PLACED = 0.5  # px, error of a spot that was carried along
GAP = 0.35  # s without the thing, after which it is another
AROUND = 0.6  # of a box kept around it, for the search in it
TURNS = 8


class View(NamedTuple):
    """The thing in one picture."""

    at: float  # s
    box: Box  # px, in the whole picture
    corner: tuple[int, int]  # px, of what is kept of it
    picture: Array  # (h, w) float32 grey, what is kept
    spot: tuple[float, float]  # px, in the whole picture: one and the same spot on the thing in all of its views


class Growth(NamedTuple):
    """How much it grew between two of them."""

    since: float  # s, of the earlier one
    at: float  # s
    grown: float  # log
    error: float


class Memory(NamedTuple):
    views: tuple[View, ...] = ()  # of the last half second
    growths: tuple[Growth, ...] = ()


class Closing(NamedTuple):
    """How fast it comes nearer."""

    per_second: float  # 1/s; 1 by it is the time to collision; below 0 it goes away
    error: float  # its standard error
    change: float = 0.0  # 1/s2, the deceleration of what is ahead against us, in ranges; expected to be small


def expected(memory: Memory, at: float) -> Box | None:
    """Where the thing should be at that time; None where it was not seen of late."""
    views = memory.views
    if not views or at - views[-1].at > GAP:
        return None
    (x1, y1, x2, y2), passed = views[-1].box, at - views[-1].at
    if len(views) < 2:
        return x1, y1, x2, y2
    then = _closest(views[:-1], views[-1].at - AGES[0])
    span = views[-1].at - then.at
    dx, dy = ((b - a) / span * passed for a, b in zip(then.spot, views[-1].spot, strict=True))
    grown = np.median([one.grown / (one.at - one.since) for one in memory.growths[-5:]]) if memory.growths else 0.0
    by = math.exp(float(grown) * passed)
    w, h, cx, cy = by * (x2 - x1) / 2, by * (y2 - y1) / 2, (x1 + x2) / 2 + dx, (y1 + y2) / 2 + dy
    return cx - w, cy - h, cx + w, cy + h


def seen(memory: Memory, at: float, picture: Array, box: Box, sure: bool = True) -> tuple[Memory, Closing | None]:
    """With the thing as it is seen `at` s in the box of a grey picture; None where too little of it was seen.

    The boxes may jump by some pixels: they only say where to look. sure: somebody found it there; else it is only
    expected there, and the box that is kept follows what is seen; what is not seen then is forgotten.
    """
    now = _kept(at, picture, box)
    views = tuple(view for view in memory.views if at - view.at <= max(AGES) * 1.15)
    if not views or at - views[-1].at > GAP:
        return Memory((now,) if sure else ()), None
    then = _closest(views, at - AGES[0])
    first = _found(then, now, (0.0, _middle(now)[0] - _middle(then)[0], _middle(now)[1] - _middle(then)[1]), True)
    if first is None:
        return Memory((*views, now) if sure else (), _lately(memory.growths, at)), None
    now = now._replace(spot=_carried(then, first, then.spot))
    if not sure:
        x1, y1, x2, y2 = then.box
        now = now._replace(box=(*_carried(then, first, (x1, y1)), *_carried(then, first, (x2, y2))))
    found = [Growth(then.at, at, first.grown, first.error)]
    for age in AGES[1:]:
        then = _closest(views, at - age)
        if abs(at - then.at - age) > 0.5 * age or any(one.since == then.at for one in found):
            continue
        grown = first.grown * (at - then.at) / (at - found[0].since)
        (cx, cy), by = _middle(then), math.exp(grown)
        start = grown, now.spot[0] - cx - by * (then.spot[0] - cx), now.spot[1] - cy - by * (then.spot[1] - cy)
        again = _found(then, now, start, False)
        if again is not None:
            found.append(Growth(then.at, at, again.grown, again.error))
    growths = _lately((*memory.growths, *found), at)
    return Memory((*views, now), growths), explained(growths, at)


def aim(memory: Memory, turning: float) -> tuple[float, float] | None:
    """The column that does not move while the thing grows, and its standard error, px: what it would hit is there.

    What stays at one bearing while it is neared is hit (the sailor's rule); what passes grows away from a spot outside
    of it. turning: px/s by which the picture moves to the left because the camera turns. None where it hardly grows.
    """
    if not memory.views:
        return None
    now = memory.views[-1]
    pairs = [one for one in memory.growths if one.at == now.at and one.grown > GROWN]
    if not pairs:
        return None
    one = min(pairs, key=lambda pair: pair.since)
    then = next((view for view in memory.views if view.at == one.since), None)
    if then is None:
        return None
    by = math.exp(one.grown)
    spot = now.spot[0] + turning * (now.at - then.at)
    return (by * then.spot[0] - spot) / (by - 1), PLACED / (by - 1)


def explained(growths: tuple[Growth, ...], now: float) -> Closing | None:
    """The closing speed, in ranges a second, that explains growths best; None where they are too few, or tell nothing.

    >>> one = [Growth(-0.4, -0.1, math.log(1.4 / 1.1), 1e-3), Growth(-0.3, 0.0, math.log(1.3), 1e-3)]
    >>> round(explained((*one, *one), 0.0).per_second, 4)
    1.0
    """
    if len(growths) < FEWEST or now - min(one.since for one in growths) < SHORTEST:
        return None
    i, j, grown, error = (np.array(column) for column in zip(*growths, strict=True))
    i, j, error = i - now, j - now, np.hypot(error, FIT)
    u, c = float(np.clip(np.median(grown / (j - i)), -2.0, 10.0)), 0.0
    for _ in range(TURNS):
        early, late = (1 - u * t - 0.5 * c * t * t for t in (i, j))
        if min(early.min(), late.min()) <= 0:
            return None
        off = grown - np.log(early / late)
        steep = np.stack([j / late - i / early, 0.5 * (j * j / late - i * i / early)], 1)
        usual = max(1.0, 1.4826 * float(np.median(np.abs(off / error))))
        heavy = (1 / error**2) / (1 + (off / error / (3 * usual)) ** 2)
        square = (steep * heavy[:, None]).T @ steep + np.diag([0.0, (usual / CHANGES) ** 2])
        step = np.linalg.solve(square, (steep * heavy[:, None]).T @ off - [0.0, c * (usual / CHANGES) ** 2])
        u, c = u + float(step[0]), c + float(step[1])
        if abs(step[0]) < 1e-6:
            break
    known = np.sqrt(np.diag(np.linalg.inv(square))) * usual
    sure = math.copysign(max(abs(c) - float(known[1]), 0.0), c)  # of what the fit is not sure it says nothing
    return Closing(u, math.hypot(float(known[0]), SHAKEN / float(-i.min())), sure)


def _lately(growths: tuple[Growth, ...], now: float) -> tuple[Growth, ...]:
    return tuple(one for one in growths if now - one.since <= SPAN * 1.02)


def _closest(views: tuple[View, ...], at: float) -> View:
    """The view nearest in time."""
    return min(views, key=lambda view: abs(view.at - at))


def _middle(view: View) -> tuple[float, float]:
    """Of its box."""
    x1, y1, x2, y2 = view.box
    return (x1 + x2) / 2, (y1 + y2) / 2


def _kept(at: float, picture: Array, box: Box) -> View:
    """What is kept of a picture: the thing and something around it."""
    x1, y1, x2, y2 = box
    w, h = AROUND * (x2 - x1), AROUND * (y2 - y1)
    left, top = max(0, int(x1 - w)), max(0, int(y1 - h))
    part = np.asarray(picture[top : int(y2 + h) + 2, left : int(x2 + w) + 2], np.float32)
    return View(at, box, (left, top), part, ((x1 + x2) / 2, (y1 + y2) / 2))


def _found(then: View, now: View, start: Start, rough: bool) -> Aligned | None:
    """The thing of one view in another; start and what is found: growth, and how its middle moved in the picture."""
    x, y = then.corner
    x1, y1, x2, y2 = then.box
    small = max(min(x2 - x1, y2 - y1), 1.0)
    x1, y1, x2, y2 = inner(then.box, min(MARGIN, max(0.0, 0.5 - 0.5 * INSIDE / small)))
    grown, dx, dy = start
    moved = x - now.corner[0], y - now.corner[1]  # of the corners
    one = aligned(
        then.picture, (x1 - x, y1 - y, x2 - x, y2 - y), now.picture, (grown, dx + moved[0], dy + moved[1]), rough
    )
    return None if one is None else one._replace(dx=one.dx - moved[0], dy=one.dy - moved[1])


def _carried(then: View, by: Aligned, spot: tuple[float, float]) -> tuple[float, float]:
    """Where a spot of one view is in the other."""
    (cx, cy), size = _middle(then), math.exp(by.grown)
    return cx + by.dx + size * (spot[0] - cx), cy + by.dy + size * (spot[1] - cy)
