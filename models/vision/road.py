"""What a camera that looks ahead sees of the road: what is in the way, how far, and how soon it is reached.

Two look for things: a net, in turns at the whole picture and larger at what is far; and `looming.py`, which knows no
kinds. `track.py` follows them, `approach.py` measures how fast they are neared, `camera.py` says where they stand.
Where the camera drives to is learnt from the flow of the picture (`flow.py`). Nothing here warns: these are numbers,
and what they mean is judged elsewhere (`models/collision.py`). Memory in, memory out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from agent.core.frame import Array
from agent.sights import FAR, KINDS, Mount

from . import approach, lanes, looming, track
from . import flow as flows
from .approach import Closing
from .camera import Lens, Place, height, placed
from .camera import lens as lens_of
from .flow import Flow
from .lanes import Marks
from .net import Found
from .scale import Box
from .track import Track

SMALL = 640  # px, width of the pictures whose flow is looked at
SPAN = 0.25  # s of a flow
SHORT = 0.03  # s of a flow of the road that is near
EVERY = 0.08  # s from one flow to the next
MARKED = 0.2  # s from one look at the marks to the next
JUMPS = 0.5  # m that a mark moves from one look to the next, at most
DEEP = 0.12  # heights of the picture below the horizon from which there is only road
MOVES = 24  # px that the part may be off before it is taken anew
FARTHER = 0.5  # of the picture's width that a look at what is far takes
WAVERS = 0.02  # rad by which the spot ahead jumps from one flow to the next, on straight roads too. project
TURNS = 0.015  # rad/s, from which a vehicle turns; a camera that looks 4 degrees aside seems to turn by less. project
DRIFTS = 1e-4  # rad/s0.5, by which a camera may be turned while nobody looks
CURVE = 1.0  # s over which the turning is a mean
ROAD = 1.0  # s over which the road's rate is a mean
RANGE = 0.25  # share of a new range in the smoothed one
ACROSS, DRIFT = 0.3, 0.04  # the same of where it is across, and of how fast that changes
AHEAD = 3.0  # s, at most, that somebody on foot is thought on
PASSES = 0.15  # 1/s, from which it is told whether something will pass
MISS = 0.3  # m beside the way, where it will
FASTER = 1.6  # times what stands is neared: beyond that it would come towards us, and is rather noise
WALK = 0.12  # of the road's rate, error of that of somebody on foot
WALKS = 0.4  # m/s across, below which nobody walks
LANES = 2.3, 5.0  # m, of the width of a lane, whatever is thought of the camera's height
LANE = 0.3  # m beyond a mark, where the middle of something is in another lane
LONG = {"vehicle": 4.0}  # m, of things that are longer than wide. project
LEVEL = 0.01  # rad, to which the horizon must be known before it tells the camera's height
HEIGHTS, MANY = 40, 400  # looks at cars from which it is told, and over which it is a mean
NARROW, FOOT = 1.1, 20.0  # m, that every vehicle is wide; px below the horizon, from which its foot tells
MARGIN = 0.1  # m beside the vehicle that are its way too
BESIDE = 2.2  # m further aside, up to which things are measured
NEARS = 0.02  # 1/s, above which something is neared


UNKNOWN = Closing(math.nan, math.nan)


class Finder(Protocol):
    """What finds things; `net.Net` does."""

    def find(self, picture: Array) -> list[Found]:
        """What is in the picture (h, w, 3) uint8 BGR, best first."""


class Target(NamedTuple):
    """One thing on the road."""

    id: int
    kind: str  # vehicle, two-wheeler, person or obstacle
    box: Box  # px
    place: Place  # from the camera
    in_path: bool
    closing: float  # 1/s; NaN where it is not known yet
    error: float
    change: float  # 1/s2
    score: float
    since: float  # s


class Glance(NamedTuple):
    """A part of a picture of which the flow is looked at."""

    at: float  # s
    grey: Array  # (h, w) uint8
    by: float  # px of it by px of the picture
    left: int  # px of the picture
    top: int


class Sight(NamedTuple):
    """What was seen in one picture."""

    at: float  # s
    targets: tuple[Target, ...]  # nearest first
    lens: Lens
    turning: float  # px/s by which the picture turns to the left
    marks: Marks  # of the own lane
    height: float  # m, of the camera, as cars ahead tell it; NaN before enough of them did


class Course(NamedTuple):
    """How a track moves on the road."""

    id: int
    log: float  # of its range, m
    across: float  # m
    drift: float  # m/s, to the right
    gap: float  # m from the vehicle's middle line to its nearer side; 0: the line goes through it
    miss: float  # the same, when it passes; NaN where it is not neared


class Memory(NamedTuple):
    """Of one camera."""

    lens: Lens
    pictures: int = 0
    at: float = math.nan  # s of the last picture
    whole: tuple[Glance, ...] = ()  # of the last moments
    far: tuple[Glance, ...] = ()  # the same, of what is far
    flowed: float = -math.inf  # s of the last flow
    flows: int = 0
    rate: float = math.nan  # 1/s per px of the whole picture: how the road comes
    turning: float = 0.0  # px/s of the whole picture
    turns: int = 0  # flows that told of it
    marks: Marks = Marks(math.nan, math.nan)
    marked: float = -math.inf  # s when they were looked for
    tracks: tuple[Track, ...] = ()
    courses: tuple[Course, ...] = ()  # of the tracks
    height: float = math.nan  # log of m, of the camera, as cars ahead tell it
    heights: int = 0  # looks that told it
    free: int = 1


def start(mount: Mount, picture: Array) -> Memory:
    """Before the first picture (h, w, 3)."""
    return Memory(lens_of(mount, picture.shape[1], picture.shape[0]))


def look(
    memory: Memory, mount: Mount, finder: Finder | None, at: float, picture: Array, speed: float = math.nan
) -> tuple[Memory, Sight]:
    """One more picture (h, w, 3) uint8 BGR, taken `at` s. speed: m/s, NaN where nobody knows it."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    passed = 0.0 if math.isnan(memory.at) else at - memory.at
    by = min(1.0, SMALL / grey.shape[1])
    small = cv2.resize(grey, None, fx=by, fy=by, interpolation=cv2.INTER_AREA)
    found = _found(finder, memory, picture)
    whole, far = Glance(at, small, by, 0, 0), _far(memory, grey, at)
    if at - memory.flowed >= EVERY:  # in turns, of all of it and of what is far
        turn = (whole, memory.whole) if memory.flows % 2 == 0 or far is None else (far, memory.far)
        memory = memory._replace(flowed=at, flows=memory.flows + 1)
        seen = _flowed(*turn, memory.lens)
        if seen is not None:
            memory = _driven(memory, seen) if turn[0] is whole else memory
            memory = memory._replace(rate=_road_rate(memory, whole, speed))
            found += [Found(track.OBSTACLE, 0.5, box) for box in _looming(memory, mount, seen)]
    memory = memory._replace(whole=_kept(memory.whole, whole), far=_kept(memory.far, far))
    if at - memory.marked >= MARKED:
        memory = _lined(memory, at, small, by)
    lens, half = memory.lens, mount.vehicle / 2

    def place(kind: str, box: Box) -> Place:
        return _bent(memory, placed(lens, box, kind, 0.0, grey.shape[1]))

    def matters(kind: str, box: Box) -> float:
        where = place(kind, box)
        aside = max(0.0, abs(where.across + mount.aside) - where.wide / 2 - half)
        return 0.0 if aside > BESIDE else 1.0 / ((1.0 + aside) * max(where.ahead, 1.0))

    tracks, free = track.step(memory.tracks, at, grey, found, matters, memory.free)
    courses, targets = _placed(memory, tracks, place, mount, passed, speed)
    memory = memory._replace(pictures=memory.pictures + 1, at=at, tracks=tracks, courses=courses, free=free)
    memory = _measured(memory, targets, grey.shape[1])
    tall = math.exp(memory.height) if memory.heights >= HEIGHTS else math.nan
    if not mount.height and not math.isnan(tall):
        memory = memory._replace(lens=memory.lens._replace(height=tall))
    return memory, Sight(at, targets, lens, memory.turning, memory.marks, tall)


def _placed(
    memory: Memory,
    tracks: Sequence[Track],
    place: Callable[[str, Box], Place],
    mount: Mount,
    passed: float,
    speed: float,
) -> tuple[tuple[Course, ...], tuple[Target, ...]]:
    """Where the things are on the road, how they move there, and which of them are in the way; nearest first."""
    old = {one.id: one for one in memory.courses}
    courses, targets = [], []
    for one in tracks:
        where, aim = place(one.kind, one.box), approach.aim(one.memory, memory.turning)
        rate, error, change = track.fused(one.closing, _walked(memory, one)) or UNKNOWN
        error = math.hypot(error, max(rate - FASTER * _stands(memory, where.ahead), 0.0))
        gap = _gap(one, where, memory.lens.x + _bend(memory, where.ahead), mount.aside)
        miss = math.nan if aim is None else _gap(one, where, aim[0], mount.aside)
        course = _followed(old.get(one.id), one.id, where, 0.0 if math.isnan(rate) else rate, passed, gap, miss)
        courses.append(course)
        if one.is_real and not _is_too_small(memory, mount, one):
            where = where._replace(ahead=math.exp(course.log), across=course.across)
            in_path = _is_in_path(one.kind, where, course, rate, speed, mount, memory)
            target = Target(one.id, one.kind, one.box, where, in_path, rate, error, change, one.score, one.since)
            targets.append(target)
    return tuple(courses), tuple(sorted(targets, key=lambda one: one.place.ahead))


def _found(finder: Finder | None, memory: Memory, picture: Array) -> list[Found]:
    """What the finder says: of the whole picture and, in turns, of its middle, where what is far is larger."""
    if finder is None:
        return []
    if memory.pictures % 2 == 0:
        return list(finder.find(picture))
    h, w = picture.shape[:2]
    wide, high = int(FARTHER * w), int(FARTHER * h)
    left, top = _corner(memory.lens, (w, h), (wide, high), 0.45)
    found = []
    for one in finder.find(picture[top : top + high, left : left + wide]):
        x1, y1, x2, y2 = one.box
        if min(x1, y1) > 2 and x2 < wide - 2 and y2 < high - 2:  # what is cut off is for the other look
            found.append(one._replace(box=(x1 + left, y1 + top, x2 + left, y2 + top)))
    return found


def _corner(lens: Lens, picture: tuple[int, int], part: tuple[int, int], above: float) -> tuple[int, int]:
    """Left and top, px, of a part about the spot ahead, that much of it above the horizon. Sizes are wide and high."""
    (w, h), (wide, high) = picture, part
    return int(np.clip(lens.x - wide / 2, 0, w - wide)), int(np.clip(lens.y - above * high, 0, h - high))


def _bend(memory: Memory, ahead: float) -> float:
    """px by which the way bends to the right so many m ahead, if the vehicle turns on as it does."""
    rate = _stands(memory, ahead)
    return memory.turning / (2 * rate) if rate > 0 else 0.0


def _bent(memory: Memory, where: Place) -> Place:
    """The same place, told from the way as it bends."""
    return where._replace(across=where.across - _bend(memory, where.ahead) * where.ahead / memory.lens.focal)


def _far(memory: Memory, grey: Array, at: float) -> Glance | None:
    """What is far, as large as it comes; None where the whole picture is."""
    h, w = grey.shape
    if w < 1.25 * SMALL:
        return None
    wide, high = SMALL, round(SMALL * h / w)
    left, top = _corner(memory.lens, (w, h), (wide, high), 0.4)
    if memory.far and abs(memory.far[-1].left - left) + abs(memory.far[-1].top - top) < MOVES:
        left, top = memory.far[-1].left, memory.far[-1].top
    return Glance(at, grey[top : top + high, left : left + wide].copy(), 1.0, left, top)


def _kept(glances: tuple[Glance, ...], new: Glance | None) -> tuple[Glance, ...]:
    """Those of the last moments that can be compared with a new one."""
    if new is None:
        return ()
    return (*(one for one in glances if new.at - one.at < 1.5 * SPAN and _is_like(one, new)), new)


def _is_like(one: Glance, new: Glance) -> bool:
    """Whether both show the same part."""
    return (one.left, one.top) == (new.left, new.top)


def _flowed(now: Glance, before: tuple[Glance, ...], lens: Lens) -> Flow | None:
    """How it flowed, in px of the picture; None where there is nothing to compare it with."""
    then = [one for one in before if 0.5 * SPAN < now.at - one.at <= 2 * SPAN and _is_like(one, now)]
    if not then:
        return None
    return _flow(min(then, key=lambda one: abs(now.at - one.at - SPAN)), now, lens)


def _flow(then: Glance, now: Glance, lens: Lens, parts: flows.Parts = flows.ALL) -> Flow:
    """How it flowed between the two, in px of the picture."""
    ahead = now.by * (lens.x - now.left), now.by * (lens.y - now.top)
    seen = flows.flow(then.grey, now.grey, now.at - then.at, ahead, parts)
    x, y = seen.x / now.by + now.left, seen.y / now.by + now.top
    return Flow(x, y, seen.dx / now.by, seen.dy / now.by, seen.span, seen.noise / now.by)


def _driven(memory: Memory, seen: Flow) -> Memory:
    """What the flow says of the camera's own way: how it turns, and where to."""
    lens = memory.lens
    turned = flows.turning(seen, lens.x, lens.y)
    if turned is not None:
        share = max(2 * EVERY / CURVE, 1 / (1 + memory.turns))
        turning = memory.turning + share * (-turned.dx / seen.span - memory.turning)
        memory = memory._replace(turning=turning, turns=memory.turns + 1)
    here = flows.focus(seen)
    if here is None or turned is None:
        return memory
    sides = ("y",) if _bends(memory) else ("x", "y")  # a bend moves the spot aside, neither up nor down
    return memory._replace(lens=_learnt(lens, here[0], here[1], math.hypot(here[2] / lens.focal, WAVERS), sides))


def _road_rate(memory: Memory, now: Glance, speed: float) -> float:
    """How the road comes, 1/s per px: by the speed, else by what it shows from one picture to the next.

    Over a longer time what is near goes too far to be found again.
    """
    lens, old = memory.lens, memory.rate
    if not math.isnan(speed):
        return speed / (lens.focal * lens.height)
    before = [one for one in memory.whole if SHORT <= now.at - one.at <= SPAN]
    if not before:
        return old
    seen = _flow(before[-1], now, lens, flows.WAY_ONLY)
    turned = flows.Turning(-memory.turning * seen.span, 0.0)
    rate, error = flows.rates(seen, lens.x, lens.y, turned)
    steep = looming.road_rate(seen, rate, error, lens.y, DEEP * 2 * lens.y)
    return old if math.isnan(steep) else steep if math.isnan(old) else old + EVERY / ROAD * (steep - old)


def _lined(memory: Memory, at: float, small: Array, by: float) -> Memory:
    """What the marks of the lane say of the way ahead, and where they are."""
    lens = memory.lens.times(by)
    things = [tuple(by * side for side in one.box) for one in memory.tracks if one.hits > 1]
    found = lanes.lines(*lanes.pixels(small, lens, things), lens)
    spot = lanes.ahead(found, lens)
    if spot is not None and not _bends(memory):
        lens = _learnt(lens, *spot, lanes.SURE)
    told = Marks(*map(_settled, memory.marks, lanes.marks(found, lens)))
    return memory._replace(lens=lens.times(1 / by), marks=told, marked=at)


def _bends(memory: Memory) -> bool:
    """Whether the vehicle turns: then what is seen ahead is not where the camera looks, and for as long as it turns."""
    return abs(memory.turning) > TURNS * memory.lens.focal


def _measured(memory: Memory, targets: Sequence[Target], width: int) -> Memory:
    """With the camera's height after one more look at the cars ahead, once it is known where the horizon is."""
    if memory.lens.doubt_y > LEVEL:
        return memory
    for one in targets:
        told = height(memory.lens, one.box, one.kind, width)
        if told > 0:
            n = memory.heights + 1
            old = memory.height if memory.heights else math.log(told)
            memory = memory._replace(height=old + max(1 / n, 1 / MANY) * (math.log(told) - old), heights=n)
    return memory


def _settled(old: float, new: float) -> float:
    """Where a mark is, m across, after one more look: a jump is believed only when it is seen again."""
    return new if math.isnan(old) or abs(new - old) < JUMPS else math.nan


def _learnt(lens: Lens, x: float, y: float, doubt: float, sides: Sequence[str] = ("x", "y")) -> Lens:
    """The lens after the spot ahead was measured once more, with an error of `doubt` rad."""
    for side, seen in (("x", x), ("y", y)):
        if side in sides:
            lens = lens._replace(**_mixed(lens, side, seen, doubt))
    return lens


def _mixed(lens: Lens, side: str, seen: float, doubt: float) -> dict[str, float]:
    known, old = getattr(lens, f"doubt_{side}"), getattr(lens, side)
    if abs(seen - old) / lens.focal > 3 * math.hypot(known, doubt):
        return {}
    gain = known**2 / (known**2 + doubt**2)
    return {side: old + gain * (seen - old), f"doubt_{side}": math.sqrt((1 - gain) * known**2 + DRIFTS**2 * EVERY)}


def _walked(memory: Memory, one: Track) -> Closing | None:
    """How fast somebody on foot is neared whose limbs move, so that texture tells nothing: about as the road there."""
    below = one.box[3] - memory.lens.y
    if one.kind != "person" or math.isnan(memory.rate) or below < 2:
        return None
    rate = memory.rate * below
    return Closing(rate, WALK * rate)


def _is_too_small(memory: Memory, mount: Mount, one: Track) -> bool:
    """Whether no vehicle is as narrow as this would be where its foot is: a mark, a puddle; if that is known."""
    known = (mount.height or memory.heights >= HEIGHTS) and memory.lens.doubt_y < LEVEL
    below, wide = one.box[3] - memory.lens.y, one.box[2] - one.box[0]
    return bool(known) and one.kind == "vehicle" and below > FOOT and wide * memory.lens.height < NARROW * below


def _stands(memory: Memory, ahead: float) -> float:
    """1/s at which something is neared that stands so many m ahead; inf where nobody knows how the road comes."""
    rate = memory.rate
    return math.inf if math.isnan(rate) else rate * memory.lens.focal * memory.lens.height / max(ahead, 1.0)


def _gap(one: Track, where: Place, x: float, aside: float) -> float:
    """m from the middle of the vehicle, which goes to the column `x`, to the nearer side of a thing; 0: through it.

    What of its box is nearest to that column is its far end: a car seen aslant shows its flank there.
    """
    metre = where.wide / max(one.box[2] - one.box[0], 1.0)
    metre *= 1.0 + LONG.get(one.kind, 0.0) / max(where.ahead, 1.0)
    return max((one.box[0] - x) * metre + aside, (x - one.box[2]) * metre - aside, 0.0)


def _followed(
    old: Course | None, number: int, where: Place, closing: float, passed: float, gap: float, miss: float
) -> Course:
    """Its course after one more look, `passed` s after the last."""
    log = math.log(max(where.ahead, 0.5))
    if old is None or passed <= 0:
        return Course(number, log, where.across, 0.0, gap, miss)
    expected, there = old.log - closing * passed, old.across + old.drift * passed
    off, miss = where.across - there, old.miss if math.isnan(miss) else miss
    miss = miss if math.isnan(old.miss) else old.miss + ACROSS * (miss - old.miss)
    log = expected + RANGE * (log - expected)
    gap = old.gap + ACROSS * (gap - old.gap)
    return Course(number, log, there + ACROSS * off, old.drift + DRIFT * off / passed, gap, miss)


def _is_in_path(
    kind: str, where: Place, course: Course, closing: float, speed: float, mount: Mount, memory: Memory
) -> bool:
    """Whether it is in the vehicle's way; on foot or a cycle, whether it will be when it is reached."""
    half = mount.vehicle / 2 + MARGIN
    here, drift = where.across + mount.aside, course.drift
    if kind in ("person", "two-wheeler") and abs(drift) > WALKS:
        rates = [closing, speed / where.ahead if where.ahead > 0 else math.inf]
        rate = max((one for one in rates if not math.isnan(one)), default=0.0)
        if rate > 0.5 / AHEAD and abs(here + drift * min(AHEAD, 1 / rate)) < half + where.wide / 2:
            return True
    beside = abs(here) > mount.vehicle / 2  # what has its middle before us steers in, and stops drifting
    passes = beside and closing > PASSES and course.miss > half + MISS
    if _bends(memory) and beside:
        return False  # where a bend leads nobody knows to a metre
    return course.gap < half and not passes and _is_between(memory.marks, where.across)


def columns(sight: Sight, mount: Mount, rate: float) -> list[float]:
    """The values of `sights.ROAD`; rate: pictures a second. NaN: it cannot be told."""
    told: list[float] = []
    for kind in KINDS:
        inside = [one for one in sight.targets if one.in_path and _counts_as(one.kind) == kind]
        first = max(
            inside, key=lambda one: (one.closing if one.closing > NEARS else 0.0, -one.place.ahead), default=None
        )
        if first is None:
            told += [0.0, 0.0, 0.0, FAR]
        else:
            ahead = min(max(first.place.ahead - mount.front, 0.0), FAR)
            told += [first.closing, first.error, first.change, ahead]
    half = mount.vehicle / 2
    told += [-(sight.marks.left + mount.aside) - half, sight.marks.right + mount.aside - half]
    doubt = math.degrees(math.hypot(sight.lens.doubt_x, sight.lens.doubt_y))
    return [*told, doubt, sight.height, rate]


def _counts_as(kind: str) -> str:
    return "vehicle" if kind == "two-wheeler" else kind


def _is_between(marks: Marks, across: float) -> bool:
    """Whether something's middle is in the own lane; where its marks are not both seen, it may be."""
    if not LANES[0] < marks.right - marks.left < LANES[1]:
        return True
    return marks.left - LANE < across < marks.right + LANE


def _looming(memory: Memory, mount: Mount, seen: Flow) -> list[Box]:
    """Boxes of what stands in the way."""
    lens = memory.lens
    turned = flows.turning(seen, lens.x, lens.y)
    if turned is None or math.isnan(memory.rate) or memory.rate <= 0:
        return []
    rate, error = flows.rates(seen, lens.x, lens.y, turned)
    half, bend = mount.vehicle / 2, memory.turning
    return looming.looming(seen, rate, error, (lens.x, lens.y), memory.rate, lens.height, half, bend)
