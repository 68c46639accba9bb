"""What a camera that looks at the driver sees: the face, whether its eyes are closed, its mouth, and where it points.

A net finds faces, another one refines eyes, mouth and pose of the driver's from where it was in the picture before, so
that the finder has to look only now and then, and two small ones look at the eyes and the mouth. Each may be missing:
five points of the finder alone give a pose, too. Where no face is found, `seat.py` says what the picture shows instead.
Nothing here warns, and nothing is known of the person or of how the camera is mounted: these are numbers of one
picture, and what they mean is judged elsewhere (`models/fatigue.py`). Memory in, memory out.

Weak at: faces smaller than the finder knows; eyes behind glasses that mirror, which are `hidden`, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import cv2
import numpy as np

from agent.core.frame import Array

from . import head, seat
from .answer import SIDES, Answer, Lid, Marks, Mouth, sigmoid
from .head import Levels, Place, Points
from .net import Found, Net, shown, told

FRESH = 0.3  # s, after which the finder looks again, though the face is followed
HELD = 0.7  # s, for which a face that the finder does not find is looked for where it was
AGAIN = 0.06, 0.1, 6.0  # u of the crop's place, of its size, deg: off by more, it is refined once more
SURE = 0.5  # of a face
VETO, TRUSTED = 0.03, 0.8  # of landmarks, below which what the finder found is none; and without the finder
REACH, LIKE = 7.0, 0.6  # u and logarithm of a size, from where and as large as the driver usually is. project
KNOWN, LEARN = 5.0, 60.0  # s of a face, after which its usual place counts; over which that is a mean
OTHERS = 20.0  # s in which only other faces were seen, after which who sits there is learnt anew
THINGS, KEPT = 0.4, 1.2  # s between looks for phones and the like, and for which one that was seen is still there
PART = 9.0  # u, side of the part of the picture that is looked at for these
NEAR = {"phone": 3.4, "smoke": 1.6, "belt": 9.0}  # u from the face (of a cigarette: from the mouth). project
LEAST = 0.25  # weight of an eye, below which it is not judged
EYE = 0.47  # u, width of an eye
BLUR = 0.12  # eye widths, error of an eye's place at which it counts half
DOUBT = 0.6  # of a logit, standard error of what is seen in a good crop of an eye. project
FAR_EYE, NEAR_EYE = (32.0, 58.0), (62.0, 85.0)  # deg of yaw, from which an eye is seen less, and not at all. project
DOWN = (28.0, 50.0)  # deg of pitch, the same of both
TURNS = (0, 180, 90, 270)  # deg, ways in which a single picture may lie
ROOM = 0.5  # of its size, around a single picture that a face may fill
SMALL, LARGE = 44.0, 60.0  # px of what a finder is shown: a face below is looked at once more, so large
CROP, CLEAR = 200, 0.9  # px, longest side of a single picture that may be of one eye; score of a face that it is of


class Asked(NamedTuple):
    """A net that answers crops, and what it wants."""

    ask: Callable[[Sequence[Array]], Sequence[Answer]]
    side: float  # of the square, in u
    n: int  # px of it
    colour: bool = False


class Someone(NamedTuple):
    """A face that was found."""

    score: float  # 0 to 1
    five: Points  # px: right eye, left eye, nose, right and left corner of the mouth
    place: Place


class Nets(NamedTuple):
    """What looks. None: there is no such net."""

    find: Callable[[Levels], list[Someone]] | None = None
    marks: Asked | None = None
    eye: Asked | None = None
    mouth: Asked | None = None
    things: Callable[[Array], list[Found]] | None = None
    kinds: tuple[str, ...] = ()  # that `things` knows


class Face(NamedTuple):
    """The driver's face in one picture."""

    score: float
    place: Place
    five: Points
    pose: tuple[float, float, float]  # deg: yaw, pitch, roll
    doubt: tuple[float, float]  # deg, standard errors of yaw and pitch
    points: Array | None  # (20, 2) px, as in `answer.MARKS`; None without a net for them
    wrong: tuple[float, float]  # u, standard errors of the places of the right and the left eye


class Eye(NamedTuple):
    """One eye."""

    closed: float  # probability; NaN: it cannot be judged
    error: float  # standard error of that
    lid: float  # opening
    logit: float
    weight: float  # 0 to 1, how well it is seen


NO_EYE = Eye(math.nan, math.nan, math.nan, math.nan, 0.0)


class Sight(NamedTuple):
    """What was seen in one picture."""

    at: float  # s
    face: Face | None
    score: float = 0.0
    present: float = math.nan
    covered: float = 0.0
    frozen: float = 0.0
    left: Eye = NO_EYE
    right: Eye = NO_EYE
    closed: float = math.nan
    closed_error: float = math.nan
    lid: float = math.nan
    hidden: float = 0.0
    mouth: float = math.nan
    mouth_error: float = math.nan
    things: tuple[tuple[str, float], ...] = ()  # score by kind


class Usual(NamedTuple):
    """Where the driver usually is."""

    place: Place
    seconds: float  # of a face, that went in
    others: float = 0.0  # s in which only others were seen, until now


class Memory(NamedTuple):
    """Of one camera."""

    at: float = math.nan  # s, of the last picture
    face: Face | None = None  # as it was seen last
    seen: float = -math.inf  # s, when
    found: float = -math.inf  # s, of the finder's last look
    usual: Usual | None = None
    view: seat.View = seat.View()
    stand: seat.Stand = seat.Stand()
    things: tuple[tuple[str, float, float], ...] = ()  # kind, score and s of what was seen last
    thought: float = -math.inf  # s, of the last look for them


def answering(net: Net) -> Asked:
    """A net as something to be asked."""
    m = net.manifest
    return Asked(net.ask, SIDES[m.family], m.input[0], m.colour != "grey")


def finding(net: Net) -> Callable[[Levels], list[Someone]]:
    """A net as what finds faces. One that is grey is shown a picture as small as it wants it."""

    squared = net.manifest.family == "face"

    def find(levels: Levels) -> list[Someone]:
        grey = net.manifest.colour == "grey"
        by = levels.under(net.manifest.input[1]) if grey else 0
        found = _faces(net.find(levels.grey(by) if grey else levels.colour()))
        there = [someone(one, 1 << by, squared) for one in found]
        return [_closer(net, levels, one) for one in there] if squared else there

    return find


def _faces(found: Sequence[Found]) -> list[Found]:
    return [one for one in found if one.kind == "face" and len(one.points) == 5]


def _closer(net: Net, levels: Levels, first: Someone) -> Someone:
    """What a second look says of a face that is small in what the net is shown: a part of the picture about it."""
    (h, w), shown_wide = levels.size, net.manifest.input[1]
    side = SIDES["marks"] * first.place.u
    if not shown_wide or side * shown_wide >= SMALL * w:
        return first
    half = side * shown_wide / LARGE / 2
    x, y = first.place.x, first.place.y
    part = (max(0.0, x - half), max(0.0, y - 0.75 * half), min(w, x + half), min(h, y + 0.75 * half))
    seen = shown(net.manifest, levels.grey(), part)
    again = [someone(one, 1.0, True) for one in _faces(told(net.manifest, [net.raw(net.run(seen.pixels), seen)]))]
    best = max(again, key=lambda one: one.score * one.place.u, default=first)
    return best if best.score > first.score / 2 else first


def someone(found: Found, by: float = 1.0, squared: bool = False) -> Someone:
    """A face out of what a net found in a picture that is so many times smaller.

    squared: the box is a square of 3.5 u, which says more of a face that is turned than its points do.
    """
    five = tuple((x * by, y * by) for x, y in found.points)
    there = head.place(five)
    if squared:
        there = there._replace(u=max(1e-3, (found.box[2] - found.box[0]) * by / SIDES["marks"]))
    return Someone(found.score, five, there)


def look(
    memory: Memory,
    nets: Nets,
    at: float,
    picture: Array,
    numbers: Callable[[Any, Array, float, float, int], seat.Health],
    limits: seat.Limits,
) -> tuple[Memory, Sight]:
    """One more picture (h, w, 3) uint8 BGR, taken `at` s.

    numbers: reads a grey picture for the camera's own health (`drivers.video_child.picture`); asked only where no face
    is found. Raises `NetFault` where a net does not run.
    """
    levels = Levels(picture)
    passed = min(max(at - memory.at, 0.0), 1.0) if at > memory.at else 0.0
    stand, frozen = seat.stands(memory.stand, at, levels.grey())
    memory = memory._replace(at=at, stand=stand)
    memory, face = _followed(memory, nets, at, levels, passed)
    small = levels.grey(levels.under(seat.SMALL))
    if face is None:
        low, fine = seat.looked(small)
        shown = seat.shows(memory.view, low, fine, numbers(cv2, small, at, at, 0), limits)
        covered = shown.covered
        sight = Sight(at, None, 0.0, shown.present, covered, frozen * (covered < 0.5))
        if nets.find is None:
            sight = sight._replace(score=math.nan, present=math.nan, hidden=math.nan)
        memory, things = _things(memory, nets, at, picture, None)
        return memory, sight._replace(things=things, hidden=math.nan if nets.eye is None else sight.hidden)
    if at - memory.view.at >= seat.EVERY and face.score >= SURE:
        h, w = levels.size
        spot = seat.Spot(face.place.x / w, face.place.y / h, face.place.u / w, face.place.u / h)
        memory = memory._replace(view=seat.learnt(memory.view, at, *seat.looked(small), spot))
    memory, things = _things(memory, nets, at, picture, face)
    sight = Sight(at, face, face.score, 1.0, 0.0, frozen, things=things)
    return memory, _judged(sight, nets, levels, face)


def still(nets: Nets, picture: Array) -> Sight:
    """One picture by itself, (h, w, 3) uint8 BGR, of a face that may fill it and that may lie or hang, or of one eye.

    Of the four ways in which it may be turned the one in which most of a face is seen, rather with eyes than without.
    """
    best = Sight(math.nan, None, hidden=math.nan if nets.eye is None else 0.0)
    for turn in TURNS if nets.find is not None else ():
        turned = np.ascontiguousarray(np.rot90(picture, turn // 90)) if turn else picture
        for room in (0.0, ROOM):
            levels = Levels(_roomy(turned, room))
            found = nets.find(levels) if nets.find is not None else []
            for one in sorted(found, key=lambda one: -one.place.u * one.score)[:1]:
                face = _refined(levels, nets.marks, one)
                if face is not None:
                    sight = _judged(Sight(math.nan, face, face.score, 1.0), nets, levels, face)
                    best = max(best, sight, key=_worth)
    if max(picture.shape[:2]) <= CROP and best.score < CLEAR and nets.eye is not None:
        best = _eye_alone(picture, nets.eye)
    return best if nets.find is not None else best._replace(score=math.nan)


def _eye_alone(picture: Array, net: Asked) -> Sight:
    """A picture that is of nothing but an eye: its middle square."""
    h, w = picture.shape[:2]
    crop = Levels(picture).crop(w / 2, h / 2, min(h, w), 0.0, net.n, net.colour)
    lid = cast(Lid, net.ask([crop])[0])
    one, hidden = _eye(lid, 1.0), sigmoid(lid.hidden)
    sight = Sight(math.nan, None, hidden=hidden)
    if hidden > 1 - LEAST:
        return sight
    return sight._replace(closed=one.closed, closed_error=one.error, lid=one.lid)


def _worth(sight: Sight) -> float:
    """How much of a face is seen."""
    return sight.score * (0.5 if math.isnan(sight.closed) else 1.0)


def _roomy(picture: Array, room: float) -> Array:
    """The picture with that share of its size around it, in its mean colour."""
    if not room:
        return picture
    h, w = picture.shape[:2]
    x, y = round(room * w), round(room * h)
    mean = [round(one) for one in picture.mean(axis=(0, 1)).tolist()]
    roomy: Array = cv2.copyMakeBorder(picture, y, y, x, x, cv2.BORDER_CONSTANT, value=mean)
    return roomy


# -- whose face -------------------------------------------------------------------------------------------------------


def _followed(memory: Memory, nets: Nets, at: float, levels: Levels, passed: float) -> tuple[Memory, Face | None]:
    """The driver's face, if it is seen."""
    last = memory.face if at - memory.seen <= HELD else None
    face = None
    due = last is None or nets.marks is None or at - memory.found >= FRESH
    if last is not None and nets.marks is not None and not due:
        face = _refined(levels, nets.marks, Someone(last.score, last.five, last.place), TRUSTED)
    if face is None and nets.find is not None:
        found = nets.find(levels)
        mine = _driver(found, memory.usual, last)
        memory = memory._replace(found=at, usual=_others(memory.usual, found, mine, passed))
        if mine is not None:
            face = _refined(levels, nets.marks, _same(mine, last))
        elif last is not None and nets.marks is not None and due:
            face = _refined(levels, nets.marks, Someone(last.score, last.five, last.place), TRUSTED)
    if face is None:
        return memory, None
    return memory._replace(face=face, seen=at, usual=_learnt(memory.usual, face.place, passed)), face


def _driver(found: Sequence[Someone], usual: Usual | None, last: Face | None) -> Someone | None:
    """Who of these drives: who is where the driver was or usually is, else the largest."""
    if usual is not None and usual.seconds >= KNOWN:
        near = [(_away(one.place, last.place if last is not None else usual.place), one) for one in found]
        far = [one for off, one in near if _away(one.place, usual.place) <= 1.0 and off <= 1.0]
        return min(far, key=lambda one: _away(one.place, (last or usual).place), default=None)
    return max(found, key=lambda one: one.place.u * one.score, default=None)


def _away(one: Place, other: Place) -> float:
    """How unlike two places of a face are; beyond 1 they are of two people."""
    return math.hypot(
        math.dist((one.x, one.y), (other.x, other.y)) / (REACH * other.u), math.log(one.u / other.u) / LIKE
    )


def _others(usual: Usual | None, found: Sequence[Someone], mine: Someone | None, passed: float) -> Usual | None:
    """What is known of the driver's place, once nobody but others was seen for long: nothing."""
    if usual is None or mine is not None or not found:
        return usual
    usual = usual._replace(others=usual.others + passed)
    return None if usual.others > OTHERS else usual


def _learnt(usual: Usual | None, place: Place, passed: float) -> Usual:
    if usual is None:
        return Usual(place, passed)
    seconds = usual.seconds + passed
    share = min(1.0, passed / max(min(seconds, LEARN), 1e-9))
    old = usual.place
    return Usual(Place(*(a + share * (b - a) for a, b in zip(old, place, strict=True))), seconds)


def _same(mine: Someone, last: Face | None) -> Someone:
    """Where to look closely: where the face was refined last, if the finder means the same; else where it says."""
    if last is None or _away(mine.place, last.place) > 0.15:
        return mine
    return Someone(mine.score, last.five, last.place)


# -- where its parts are ----------------------------------------------------------------------------------------------


def _refined(levels: Levels, marks: Asked | None, start: Someone, least: float = VETO) -> Face | None:
    """The face there, by its landmarks; None where they say that there is none. Without a net for them, by its points.

    A place that was off is looked at once more. least: that the net for landmarks must say.
    """
    if marks is None:
        posed = head.pose(start.five)
        place, pose, doubt = start.place, (posed.yaw, posed.pitch, posed.roll), (posed.yaw_error, posed.pitch_error)
        return Face(start.score, place, start.five, pose, doubt, None, (head.OFF, head.OFF))
    place = start.place
    for again in (True, False):
        side = marks.side * place.u
        told = cast(Marks, marks.ask([levels.crop(place.x, place.y, side, place.roll, marks.n, marks.colour)])[0])
        points = head.spots(place.x, place.y, side, place.roll, told.points)
        was, place, five = place, *_placed(points, told.grow * side / SIDES["marks"])
        off = math.dist((was.x, was.y), (place.x, place.y)) / was.u
        if not (again and _is_off(off, place.u / was.u, place.roll - was.roll)):
            break
    if told.face < least:
        return None
    yaw, pitch, roll = told.pose
    error = told.error * side / place.u  # of the crop that the landmarks are of, in u
    wrong = (math.hypot(*error[[0, 1]]) / 2, math.hypot(*error[[5, 6]]) / 2)
    return Face(
        (start.score + told.face) / 2,
        place,
        five,
        (yaw, pitch, was.roll + roll),
        (told.doubt[0], told.doubt[1]),
        points,
        wrong,
    )


def _is_off(off: float, grown: float, turned: float) -> bool:
    return off > AGAIN[0] or abs(math.log(grown)) > AGAIN[1] or abs(turned) > AGAIN[2]


def _placed(points: Array, u: float) -> tuple[Place, Points]:
    """Where the face with these landmarks (20, 2) is, and its five points."""
    rows = points.tolist()
    right, left = _mean(rows[0], rows[1]), _mean(rows[5], rows[6])
    eyes, mouth = _mean(right, left), _mean(rows[11], rows[12])
    x, y = _mean(eyes, mouth)
    roll = head.level(eyes[0] - mouth[0], eyes[1] - mouth[1], left[0] - right[0], left[1] - right[1])
    return Place(x, y, max(u, 1e-3), roll), (right, left, tuple(rows[10]), tuple(rows[11]), tuple(rows[12]))


def _mean(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    return (one[0] + other[0]) / 2, (one[1] + other[1]) / 2


# -- eyes and mouth ---------------------------------------------------------------------------------------------------


def _judged(sight: Sight, nets: Nets, levels: Levels, face: Face) -> Sight:
    """With what its eyes and its mouth say."""
    sight = _mouthed(sight, nets.mouth, levels, face)
    if nets.eye is None:
        return sight._replace(hidden=math.nan)
    place, net = face.place, nets.eye
    seen = [_seen(face, side) for side in (-1.0, 1.0)]
    crops = [levels.crop(x, y, net.side * place.u, place.roll, net.n, net.colour) for x, y in face.five[:2]]
    right, left = (_eye(cast(Lid, lid), weight) for lid, weight in zip(net.ask(crops), seen, strict=True))
    sure = [one for one in (right, left) if one.weight >= LEAST]
    hidden = 1.0 - max(right.weight, left.weight)
    if not sure:
        return sight._replace(right=NO_EYE, left=NO_EYE, hidden=max(hidden, 1 - LEAST))
    total = sum(one.weight for one in sure)
    logit = sum(one.weight * one.logit for one in sure) / total
    spread = math.sqrt(sum(one.weight * (one.logit - logit) ** 2 for one in sure) / total)
    closed = sigmoid(logit)
    error = _error(closed, math.hypot(DOUBT / math.sqrt(total), spread / 2))
    lid = sum(one.weight * one.lid for one in sure) / total
    right, left = (one if one.weight >= LEAST else NO_EYE for one in (right, left))
    # What is not told is not hidden: `hidden` says that no eye can be judged, and one is.
    return sight._replace(
        right=right, left=left, closed=closed, closed_error=error, lid=lid, hidden=min(hidden, 0.99 * (1 - LEAST))
    )


def _seen(face: Face, side: float) -> float:
    """How well an eye is seen, 0 to 1, by pose and place. side: -1 the right one, to the left of the picture."""
    yaw, pitch, _ = face.pose
    away = yaw * side
    turned = _less(away, FAR_EYE) if away > 0 else _less(-away, NEAR_EYE)
    wrong = face.wrong[0] if side < 0 else face.wrong[1]
    return turned * _less(abs(pitch), DOWN) / (1 + (wrong / EYE / BLUR) ** 2)


def _less(value: float, band: tuple[float, float]) -> float:
    """1 below the band, 0 above it."""
    return min(1.0, max(0.0, (band[1] - value) / (band[1] - band[0])))


def _eye(lid: Lid, seen: float) -> Eye:
    weight = seen * (1 - sigmoid(lid.hidden))
    closed = sigmoid(lid.closed)
    opening = 1 - closed if math.isnan(lid.opening) else min(max(lid.opening, 0.0), 1.5)
    return Eye(closed, _error(closed, DOUBT / math.sqrt(max(weight, 1e-3))), opening, lid.closed, weight)


def _error(closed: float, doubt: float) -> float:
    """Standard error of a probability whose logit is known to so much."""
    return min(0.5, 0.01 + closed * (1 - closed) * doubt)


def _mouthed(sight: Sight, net: Asked | None, levels: Levels, face: Face) -> Sight:
    if net is None:
        return sight
    place = face.place
    x, y = _mean(face.five[3], face.five[4])
    c, s = math.cos(math.radians(place.roll)), math.sin(math.radians(place.roll))
    x, y = x + 0.15 * place.u * s, y + 0.15 * place.u * c  # a bit below
    told = cast(Mouth, net.ask([levels.crop(x, y, net.side * place.u, place.roll, net.n, net.colour)])[0])
    seen = (1 - sigmoid(told.hidden)) * _less(abs(face.pose[0]), NEAR_EYE)
    if seen < LEAST:
        return sight
    return sight._replace(mouth=min(max(told.opening, 0.0), 1.0), mouth_error=min(1.0, 0.08 / seen))


# -- things -----------------------------------------------------------------------------------------------------------


def _things(
    memory: Memory, nets: Nets, at: float, picture: Array, face: Face | None
) -> tuple[Memory, tuple[tuple[str, float], ...]]:
    """What is at the head or in a hand: the best score of each kind that is known."""
    if nets.things is None:
        return memory, ()
    place = face.place if face is not None else memory.usual.place if memory.usual is not None else None
    if place is not None and at - memory.thought >= THINGS:
        seen = [one for one in memory.things if at - one[2] <= KEPT]
        seen += [(one.kind, one.score, at) for one in _near(nets.things, picture, place, face)]
        memory = memory._replace(things=tuple(seen), thought=at)
    told = [
        (kind, max((s for k, s, then in memory.things if k == kind and at - then <= KEPT), default=0.0))
        for kind in nets.kinds
    ]
    return memory, tuple(told)


def _near(find: Callable[[Array], list[Found]], picture: Array, place: Place, face: Face | None) -> list[Found]:
    """What is found near the face."""
    h, w = picture.shape[:2]
    half = PART * place.u / 2
    left, top = max(0, int(place.x - half)), max(0, int(place.y - half))
    part = picture[top : min(h, int(place.y + half) + 1), left : min(w, int(place.x + half) + 1)]
    if min(part.shape[:2]) < 8:
        return []
    found = []
    for one in find(part):
        x, y = left + (one.box[0] + one.box[2]) / 2, top + (one.box[1] + one.box[3]) / 2
        at = _mean(face.five[3], face.five[4]) if one.kind == "smoke" and face is not None else (place.x, place.y)
        if math.dist((x, y), at) <= NEAR.get(one.kind, 0.0) * place.u:
            found.append(one)
    return found


# -- columns ----------------------------------------------------------------------------------------------------------


def columns(sight: Sight, rate: float) -> list[float]:
    """The values of `agent.sights.CABIN`, in its order."""
    face, things = sight.face, dict(sight.things)
    yaw, pitch, roll = face.pose if face is not None else (math.nan,) * 3
    wrong = face.doubt if face is not None else (math.nan,) * 2
    return [
        sight.score,
        sight.present,
        sight.covered,
        sight.frozen,
        sight.left.closed,
        sight.left.error,
        sight.right.closed,
        sight.right.error,
        sight.closed,
        sight.closed_error,
        sight.lid,
        sight.hidden,
        sight.mouth,
        sight.mouth_error,
        yaw,
        wrong[0],
        pitch,
        wrong[1],
        roll,
        *(things.get(kind, math.nan) for kind in NEAR),
        rate,
    ]
