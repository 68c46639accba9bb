"""Who is in which zone of the picture of a camera that does not move, and for how long.

A net looks at the part of the picture that the zones are in; `track.py` says who is who, and nothing is measured for
how fast it comes. Somebody is inside from being found there until being seen outside for a moment, or not at all for
longer; whoever appears where somebody was just lost is the same one. A zone in which it is too dark to see anybody is
blind, not empty. Nothing here warns. Memory in, memory out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from agent.core.frame import Array
from agent.sights import Zone, Zones

from . import track
from .net import Found
from .road import Finder
from .scale import Box
from .track import Track

ASIDE, ABOVE, BELOW = 0.1, 0.35, 0.08  # of the picture, around all zones, that is looked at: people stand up in them
WHOLE = 0.7  # of the picture, from which on all of it is looked at
SAME = 0.1  # of their union, by which two boxes are one thing: who walks moves by half a width between two pictures
FASTER = 0.12  # of what a box was off its place, in its new speed; goes with the 0.4 of `track.py`
OUT = 0.8  # s outside, after which somebody has left
NEAR = 1.5  # heights of a box, within which who appears is who was lost
LIKE = 0.35  # of the logarithm of its height, within which who runs is the same one
BRIGHTEST = 95  # %, of the pixels of a zone


class Moves(NamedTuple):
    """How a thing moves in the picture."""

    id: int
    dx: float  # px/s
    dy: float


class Stay(NamedTuple):
    """Somebody in a zone."""

    zone: int
    id: int  # of the track
    since: float  # s
    inside: float  # s, when it was last seen inside
    seen: float  # s, when it was last seen at all
    score: float
    spot: tuple[float, float]  # px, where
    tall: float  # px


class Memory(NamedTuple):
    """Of one camera."""

    tracks: tuple[Track, ...] = ()
    moves: tuple[Moves, ...] = ()
    stays: tuple[Stay, ...] = ()
    at: float = math.nan  # s, of the last picture
    free: int = 1


class Watched(NamedTuple):
    """One zone in one picture."""

    many: int  # inside for its `dwell` or longer
    dwell: float  # s, the longest stay
    score: float  # of the surest
    is_dark: bool


class Sight(NamedTuple):
    """What was seen in one picture."""

    at: float  # s
    things: tuple[Track, ...]
    zones: tuple[Watched, ...]


def look(memory: Memory, settings: Zones, finder: Finder, at: float, picture: Array) -> tuple[Memory, Sight]:
    """One more picture (h, w, 3) uint8 BGR, taken `at` s."""
    h, w = picture.shape[:2]
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    passed = at - memory.at if at > memory.at else 0.0
    known = {one.id: one for one in memory.moves}
    found = _found(finder, settings, picture)
    there = _leapt([_moved(one, known.get(one.id), passed) for one in memory.tracks], found)
    tracks, free = track.step(there, at, grey, found, lambda kind, box: 0.0, memory.free, SAME, 1 / settings.rate)
    was, before = {one.id: one for one in memory.tracks}, {one.id: one for one in there}
    moves = tuple(_faster(known.get(one.id), was.get(one.id), before.get(one.id), one, passed) for one in tracks)
    old = {one.id for one in memory.tracks if one.is_real}
    stays = _stays(memory.stays, settings, at, tracks, old, (w, h))
    darks = [_is_dark(zone, grey, settings.dark) for zone in settings.zone]
    told = tuple(_told(stays, settings, i, at, dark) for i, dark in enumerate(darks))
    memory = Memory(tracks, moves, stays, at, free)
    return memory, Sight(at, tuple(one for one in tracks if one.is_real), told)


def columns(sight: Sight) -> list[float]:
    """The values of `Zones.columns`; NaN for a zone in which nobody could be seen."""
    return [
        math.nan if zone.is_dark else one for zone in sight.zones for one in (float(zone.many), zone.dwell, zone.score)
    ]


def part(settings: Zones, w: int, h: int) -> tuple[int, int, int, int]:
    """px of the part of a picture that is looked at: left, top, right, below."""
    x, y = np.concatenate([np.array(zone.polygon) for zone in settings.zone]).T
    left, right = max(0.0, x.min() - ASIDE), min(1.0, x.max() + ASIDE)
    top, below = max(0.0, y.min() - ABOVE), min(1.0, y.max() + BELOW)
    if (right - left) * (below - top) > WHOLE:
        return 0, 0, w, h
    return int(left * w), int(top * h), math.ceil(right * w), math.ceil(below * h)


def _found(finder: Finder, settings: Zones, picture: Array) -> list[Found]:
    h, w = picture.shape[:2]
    left, top, right, below = part(settings, w, h)
    found = finder.find(picture[top:below, left:right])
    return [
        one._replace(box=(one.box[0] + left, one.box[1] + top, one.box[2] + left, one.box[3] + top)) for one in found
    ]


def _moved(one: Track, moves: Moves | None, passed: float) -> Track:
    """Where it should be now."""
    if moves is None:
        return one
    dx, dy = moves.dx * passed, moves.dy * passed
    x1, y1, x2, y2 = one.box
    return one._replace(box=(x1 + dx, y1 + dy, x2 + dx, y2 + dy))


def _leapt(tracks: list[Track], found: list[Found]) -> list[Track]:
    """Who was found only once may run: it is where nobody else is, as tall and not too far away."""
    after = list(tracks)
    for i, one in enumerate(tracks):
        if one.hits > 1 or any(track.overlap(one.box, thing.box) >= SAME for thing in found):
            continue
        free = [
            (math.dist(_middle(one.box), _middle(thing.box)), thing.box)
            for thing in found
            if thing.kind == one.kind
            and abs(math.log(_tall(thing.box) / _tall(one.box))) < LIKE
            and not any(track.overlap(other.box, thing.box) >= SAME for other in after)
        ]
        off, box = min(free, default=(math.inf, one.box))
        if off < NEAR * _tall(one.box):
            after[i] = one._replace(box=box)
    return after


def _faster(old: Moves | None, was: Track | None, expected: Track | None, now: Track, passed: float) -> Moves:
    """How it moves, after it was found off its place. Who is not found stands still before long."""
    if old is None or was is None or expected is None or passed <= 0:
        return Moves(now.id, 0.0, 0.0)
    if now.hits == expected.hits:
        return Moves(now.id, 0.5 * old.dx, 0.5 * old.dy)
    (x, y), (ex, ey) = _middle(now.box), _middle(expected.box)
    by = FASTER / track.WEIGHT / passed  # the box that is kept went only that far towards the one that was found
    if expected.hits == 1:  # nothing was known of how it moves
        ex, ey = _middle(was.box)
        by = (1 if was.box != expected.box else 1 / track.WEIGHT) / passed
    return Moves(now.id, old.dx + by * (x - ex), old.dy + by * (y - ey))


def _stays(
    stays: tuple[Stay, ...], settings: Zones, at: float, tracks: tuple[Track, ...], old: set[int], size: tuple[int, int]
) -> tuple[Stay, ...]:
    """Who is in which zone now. old: who was believed before this picture."""
    seen = {one.id: one for one in tracks if one.is_real and one.found == at}
    keep = max(settings.keep, OUT, 2.5 / settings.rate)
    after: list[Stay] = []
    for i, zone in enumerate(settings.zone):
        inside = {one.id: one for one in seen.values() if one.kind in zone.kinds and _is_inside(zone, one.box, size)}
        mine: list[Stay] = []
        for stay in (one for one in stays if one.zone == i):
            if stay.id in inside:
                mine.append(_renewed(stay, zone, inside[stay.id], at))
                continue
            stay = stay._replace(seen=at) if stay.id in seen else stay
            if at - stay.inside <= (keep if stay.inside == stay.seen else OUT):
                mine.append(stay)
        held = {stay.id for stay in mine}
        for one in (one for one in inside.values() if one.id not in held):
            spot = _spot(zone, one.box)
            lost = [(math.dist(stay.spot, spot) / stay.tall, stay) for stay in mine if stay.seen < at]
            off, same = min(lost, key=lambda pair: pair[0], default=(math.inf, None))
            if same is not None and off < NEAR:
                mine.remove(same)
                since = same.since
            else:  # who is believed only now has been there since it was found
                since = at if one.id in old else one.since
            mine.append(_renewed(Stay(i, one.id, since, at, at, 0.0, spot, 1.0), zone, one, at))
        after += mine
    return tuple(after)


def _renewed(stay: Stay, zone: Zone, one: Track, at: float) -> Stay:
    """The stay of somebody who is seen inside."""
    return stay._replace(inside=at, seen=at, score=one.score, spot=_spot(zone, one.box), tall=_tall(one.box))


def _told(stays: tuple[Stay, ...], settings: Zones, i: int, at: float, is_dark: bool) -> Watched:
    mine = [stay for stay in stays if stay.zone == i]
    long = [stay for stay in mine if at - stay.since >= settings.zone[i].dwell]
    return Watched(
        len(long),
        max((at - stay.since for stay in mine), default=0.0),
        max((stay.score for stay in mine), default=0.0),
        is_dark,
    )


def _is_dark(zone: Zone, grey: Array, least: float) -> bool:
    """Whether nobody could be seen there."""
    h, w = grey.shape
    corners = np.round(np.array(zone.polygon) * (w - 1, h - 1)).astype(np.int32)
    x1, y1 = corners.min(0)
    x2, y2 = corners.max(0) + 1
    mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
    cv2.fillPoly(mask, [corners - (x1, y1)], 1)
    return float(np.percentile(grey[y1:y2, x1:x2][mask > 0], BRIGHTEST)) < least


def _is_inside(zone: Zone, box: Box, size: tuple[int, int]) -> bool:
    x, y = _spot(zone, box)
    corners = np.array(zone.polygon, np.float32)
    return cv2.pointPolygonTest(corners, (min(x / size[0], 1.0), min(y / size[1], 1.0)), False) >= 0


def _spot(zone: Zone, box: Box) -> tuple[float, float]:
    """The point that counts."""
    x, y = _middle(box)
    return (x, box[3]) if zone.point == "foot" else (x, y)


def _middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _tall(box: Box) -> float:
    return max(box[3] - box[1], 1.0)
