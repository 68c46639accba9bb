"""Where the water begins on a beach, and so how long the beach is, from a camera that does not move.

Several lines run side by side from the dam's crest into the water. What lies on them in some ten seconds of pictures is
told by colour, by grain and by how it flickers: sand stands still, water hardly ever does, and who walks by is gone in
most of the pictures. Each line is cut in two where beach and water, as they look today, explain it best; the cut is
placed between pixels; the lines together give a number, and their scatter its error. Where beach and water look alike
(night, fog, heavy rain) nothing is told. A number that disagrees with the past, or whose lines disagree, is doubtful,
and becomes the truth only after it has stood for a while. Nothing here warns. Memory in, memory out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from agent.core.frame import Array
from agent.ground import back, placed
from agent.sights import Beach

LINES = 15
MOST = 480  # samples of a line
PICTURES = 24  # that a measurement looks back at, at most
FEWEST = 5
ENDS = 0.12  # of a line, at either end of it, that is beach and water before anything was learnt
WINDOW = 0.35  # of a line, to either side of the cut, by which beach and water are known
APART = 4  # samples beside the cut that are neither
TURNS = 4
FLOORS = np.array([0.35, 0.06, 0.06, 0.25, 0.35])  # least spread of: light, two colours, flicker, grain. project
CLIP = 4.0  # odds, at most, of one sample, that one sight does not outweigh many
ALIKE = 2.0  # spreads between beach and water, all in all, below which nothing is told. project
SURE = 0.5  # mean odds beside the cut, below which a line does not tell
MANY = 0.5  # of the lines, that must tell
AGREE = 0.6  # of those that tell, that must agree
DARK = 14.0  # grey, of the whole strip, below which it is night. project
EDGE = 0.5  # samples, by which a cut is off where all lines are off alike. project
LATEST = 5  # measurements whose median is told
FIRST = 3  # measurements, until which the first ones are doubtful
CONFIRM, STANDS = 6, 60.0  # measurements and s, after which what disagrees with the past is true
SPAN, SHORTEST = 3600.0, 600.0  # s of measurements that a change is told from: at most, at least
KEPT = 360
MARK, REACH = 0.025, 0.03  # of the width: half a patch around a known point, and how far it is looked for
LIKE, BETTER = 0.6, 0.15  # correlation from which it is found again, and by how much more elsewhere than here
MARKS, LIGHTS = 3, 6  # points that must be found again, all off alike; looks of them in different lights that are kept
STILL = 1.5  # px that they may be off, as the middle of them says, before the camera is thought to have moved
LEARNS = 0.3  # of today's look, in what is known of beach and water

DARKNESS = "too dark to see where the water begins"
SAME = "beach and water look alike: night, fog or rain, or no water where `far` is"
NEIGHBOURS = "the lines of the strip do not agree where the water begins"
PAST = "it disagrees with what was seen before"
NEW = "it was not seen for long enough yet"
MOVED = "the camera looks elsewhere than when its points were first seen: turn it back, or give new points"
BEYOND = "the water begins before or beyond what is looked at"


class Strip(NamedTuple):
    """Where the lines run."""

    x: Array  # (l, n) float32, px
    y: Array
    inside: Array  # (l, n) bool, in the picture
    along: Array  # (n,) m from the crest
    across: Array  # (l,) m beside the middle
    size: tuple[int, int]  # w, h px


class Looks(NamedTuple):
    """How beach or water looks: mean and spread of what is told of a sample, each (5,)."""

    mean: Array
    spread: Array


class Mark(NamedTuple):
    """What is seen around a point that the technician gave."""

    x: int  # px, of its corner
    y: int
    patch: Array  # (k, k) uint8


class Measured(NamedTuple):
    """One measurement."""

    at: float  # s
    beach: float  # m
    error: float  # m


class Memory(NamedTuple):
    """Of one camera."""

    strip: Strip | None = None
    seen: tuple[tuple[float, Array], ...] = ()  # s and (l, n, 3) float32: the lines in the last pictures
    due: float = -math.inf  # s, of the next measurement
    looks: tuple[Looks, Looks] | None = None  # of beach and water
    kept: tuple[Measured, ...] = ()  # those that were believed
    odd: tuple[Measured, ...] = ()  # those of late that were not
    marks: tuple[tuple[Mark, ...], ...] = ()  # the known points, in the lights in which they were seen


class Cut(NamedTuple):
    """Where the lines are cut."""

    edge: Array  # (l,) m, NaN where a line does not tell
    looks: tuple[Looks, Looks]
    apart: float  # spreads between the two
    beyond: bool  # nearly all of the strip is one of the two


class Sight(NamedTuple):
    """What was measured. NaN: it cannot be told."""

    at: float  # s
    beach: float  # m
    error: float  # m
    change: float  # m/h
    why: str  # it is doubtful, or not told; empty: neither
    edge: tuple[tuple[float, float], ...]  # px, where each line was cut


def start(settings: Beach) -> Memory:
    """Before the first picture."""
    return Memory()


def look(memory: Memory, settings: Beach, at: float, picture: Array) -> tuple[Memory, Sight | None]:
    """One more picture (h, w, 3) uint8 BGR, taken `at` s; what was measured, once enough of them were seen."""
    h, w = picture.shape[:2]
    strip = memory.strip
    if strip is None or strip.size != (w, h):
        strip, memory = laid(settings, w, h), memory._replace(seen=(), due=-math.inf, marks=())
    there = cv2.remap(picture, strip.x, strip.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lines: Array = there.astype(np.float32)
    due = at + settings.every if math.isinf(memory.due) else memory.due
    long = max(settings.every, (FEWEST + 1) / settings.rate) * 1.5
    seen = tuple(one for one in (*memory.seen, (at, lines)) if at - one[0] <= long)[-PICTURES:]
    memory = memory._replace(strip=strip, seen=seen, due=due)
    if at < due - 0.5 / settings.rate or len(seen) < FEWEST:
        return memory, None
    memory = memory._replace(due=max(due + settings.every, at + 0.5 * settings.every))
    memory, moved = watched(memory, settings, cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    return judged(memory, settings, strip, at, np.stack([one for _, one in seen]), moved)


def columns(sight: Sight) -> list[float]:
    """The values of `sights.BEACH`."""
    return [sight.beach, sight.error, sight.change]


def laid(settings: Beach, w: int, h: int) -> Strip:
    """The lines in a picture of this size, a sample for each px along the middle one."""
    plane = back(settings.plane)
    crest, far = np.array(settings.crest), np.array(settings.far)
    whole = float(np.hypot(*(far - crest)))
    way = (far - crest) / whole
    side = np.array([way[1], -way[0]])
    fine = np.linspace(0.0, whole, 4000)
    spots = placed(plane, crest + fine[:, None] * way) * (w, h) - 0.5
    there = np.isfinite(spots).all(1) & (spots >= 0).all(1) & (spots <= (w - 1, h - 1)).all(1)
    first = int(np.flatnonzero(~there)[-1]) + 1 if not there.all() else 0
    passed = np.r_[0.0, np.cumsum(np.hypot(*np.diff(spots[first:], axis=0).T))]
    n = int(np.clip(passed[-1], 32, MOST))
    along = np.interp(np.linspace(0, passed[-1], n), passed, fine[first:])
    across = np.linspace(-settings.wide / 2, settings.wide / 2, LINES)
    metres = crest + along[None, :, None] * way + across[:, None, None] * side
    x, y = (placed(plane, metres.reshape(-1, 2)).reshape(LINES, n, 2) * (w, h) - 0.5).transpose(2, 0, 1)
    inside = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    return Strip(
        np.nan_to_num(x).astype(np.float32), np.nan_to_num(y).astype(np.float32), inside, along, across, (w, h)
    )


def watched(memory: Memory, settings: Beach, grey: Array) -> tuple[Memory, bool]:
    """Whether the known points are elsewhere in the picture (h, w): a camera that sags by a px is wrong by metres.

    In a light in which they are not known again they are looked at anew, as long as the camera stood a moment ago.
    """
    for marks in reversed(memory.marks):
        off = []
        for mark in marks:
            reach, k = round(REACH * grey.shape[1]), len(mark.patch)
            top, left = max(0, mark.y - reach), max(0, mark.x - reach)
            around = grey[top : mark.y + k + reach, left : mark.x + k + reach]
            like = cv2.matchTemplate(around, mark.patch, cv2.TM_CCOEFF_NORMED)
            y, x = np.unravel_index(int(np.argmax(like)), like.shape)
            here = float(like[mark.y - top, mark.x - left])
            if here >= LIKE and like[y, x] < here + BETTER:
                off.append((0.0, 0.0))
            elif like[y, x] >= LIKE + BETTER and like[y, x] >= here + BETTER:
                off.append((float(left + x - mark.x), float(top + y - mark.y)))
        usual = np.median(off, axis=0) if off else np.zeros(2)
        if sum(math.dist(one, usual) <= STILL for one in off) >= MARKS:
            return memory, float(np.hypot(*usual)) > STILL
    if len(memory.marks) < LIGHTS and float(np.median(grey)) >= DARK:
        memory = memory._replace(marks=(*memory.marks, _marks(settings, grey)))
    return memory, False


def _marks(settings: Beach, grey: Array) -> tuple[Mark, ...]:
    h, w = grey.shape
    half, found = max(6, round(MARK * w)), []
    for across, down, *_ in settings.points:
        x, y = round(across * w - 0.5) - half, round(down * h - 0.5) - half
        patch = grey[max(0, y) : y + 2 * half + 1, max(0, x) : x + 2 * half + 1]
        if patch.shape == (2 * half + 1, 2 * half + 1) and patch.std() > 2.0:
            found.append(Mark(x, y, patch.copy()))
    return tuple(found)


def judged(
    memory: Memory, settings: Beach, strip: Strip, at: float, seen: Array, moved: bool = False
) -> tuple[Memory, Sight]:
    """One measurement, from the lines (t, l, n, 3) of the last pictures, held against the past."""
    if float(np.median(seen)) < DARK:
        return memory, _untold(memory, at, DARKNESS)
    told, plain = features(seen)
    known: list[tuple[Looks, Looks] | None] = [memory.looks] if memory.looks is not None else []
    cuts = [cut(told, plain, strip, looks) for looks in (*known, None)]  # as they were known, and as if nothing were
    best = next((one for one in cuts if _fits(one)), None)
    if best is None:
        beyond = next((one for one in cuts if one.beyond), None)
        if beyond is not None:
            return memory, _untold(memory, at, BEYOND)._replace(beach=float(np.nanmedian(beyond.edge)))
        return memory, _untold(memory, at, SAME)
    found, agree = together(best.edge, strip, at)
    edge = tuple(_spot(strip, i, one) for i, one in enumerate(best.edge) if not math.isnan(one))
    if not agree:
        return memory, Sight(at, found.beach, found.error, math.nan, NEIGHBOURS, edge)
    if moved:
        return memory, Sight(at, found.beach, found.error, math.nan, MOVED, edge)
    memory, why = _held(memory, settings, strip, found)
    if not why:
        memory = memory._replace(looks=_learnt(memory.looks, best.looks))
        lately = [one for one in memory.kept[-LATEST:] if at - one.at <= 2 * LATEST * settings.every]
        found = found._replace(
            beach=float(np.median([one.beach for one in lately])), error=float(np.median([one.error for one in lately]))
        )
        why = NEW if len(memory.kept) < FIRST else ""
    return memory, Sight(at, found.beach, found.error, change(memory.kept), why, edge)


def features(seen: Array) -> tuple[Array, Array]:
    """What is told of each sample of lines (t, l, n, 3) BGR.

    (l, n, 5): light, two colours, flicker, grain, as logarithms; (l, n, 4): the first four as they are in the picture.
    """
    usual = np.median(seen, axis=0)
    grey = seen.mean(-1)
    flicker = np.median(np.abs(np.diff(grey, axis=0)), axis=0)
    b, g, r = (usual[..., i] + 4.0 for i in range(3))
    middle = usual.mean(-1)
    mean = cv2.blur(middle, (9, 1))
    grain = np.sqrt(np.maximum(cv2.blur(middle * middle, (9, 1)) - mean * mean, 0.0))
    told = [
        np.log(middle + 4.0),
        np.log(r / g),
        np.log(b / g),
        np.log((cv2.blur(flicker, (5, 3)) + 0.5) / (mean + 10.0)),
        np.log((grain + 0.5) / (mean + 10.0)),
    ]
    plain = np.stack([middle, r - g, b - g, flicker], -1)
    return np.stack([cv2.blur(np.float32(one), (3, 1)) for one in told], -1), plain


def cut(told: Array, plain: Array, strip: Strip, looks: tuple[Looks, Looks] | None) -> Cut:
    """Each line cut in two, after what `features` tells.

    looks: of beach and water, as they were known; None: as the ends of the strip look.
    """
    n = told.shape[1]
    if looks is None:
        end = max(6, int(ENDS * n))
        looks = _looks(told[:, :end], strip.inside[:, :end]), _looks(told[:, -end:], strip.inside[:, -end:])
    beyond, at = False, np.zeros(len(told), int)
    for turn in range(TURNS):
        odds = _odds(told, looks) * strip.inside
        total = np.c_[np.zeros(len(told)), np.cumsum(odds, 1)]  # of being water, up to each sample
        at = np.argmin(total, 1)
        middle = float(np.median(at))
        beyond = not APART < middle < n - APART
        if beyond or turn == TURNS - 1:
            break
        place = np.arange(n)[None] - at[:, None]
        far = int(WINDOW * n)
        sand, water = (place < -APART) & (place >= -far), (place >= APART) & (place < far)
        if min((sand & strip.inside).sum(), (water & strip.inside).sum()) < 10 * APART:
            break
        looks = _looks(told, sand & strip.inside), _looks(told, water & strip.inside)
    apart = float(
        np.sqrt((((looks[1].mean - looks[0].mean) ** 2) / (looks[0].spread ** 2 + looks[1].spread ** 2)).sum())
    )
    edge = strip.along[np.minimum(at, n - 1)] if beyond else between(plain, at, strip.inside, strip.along)
    told_by = np.array([_tells(odds[i], int(k)) for i, k in enumerate(at)])
    return Cut(np.where(told_by | beyond, edge, math.nan), looks, apart, beyond)


def _looks(told: Array, where: Array) -> Looks:
    rows = told[where]
    mean = np.median(rows, axis=0)
    return Looks(mean, np.maximum(1.4826 * np.median(np.abs(rows - mean), axis=0), FLOORS))


def _odds(told: Array, looks: tuple[Looks, Looks]) -> Array:
    """Of water against beach, as a logarithm, of each sample (l, n)."""
    beach, water = (
        -0.5 * np.minimum(((told - one.mean) / one.spread) ** 2, 16.0) - np.log(one.spread) for one in looks
    )
    odds: Array = np.clip((water - beach).sum(-1), -CLIP, CLIP)
    return odds


def _tells(odds: Array, k: int) -> bool:
    """Whether there is beach before and water behind the cut of a line."""
    wide = max(8, len(odds) // 12)
    before, behind = odds[max(0, k - wide) : k], odds[k : k + wide]
    return bool(min(len(before), len(behind)) >= 4 and before.mean() < -SURE and behind.mean() > SURE)


def between(plain: Array, at: Array, inside: Array, along: Array) -> Array:
    """m along each line (l,) of its cut (l,) after sample `at`, to a part of a sample.

    It is where what is seen is half way between the two sides: plain (l, n, 4), of which a sample that is half water
    has half of each. Which of the four tell the two sides apart best is asked of all lines together.
    """
    lines, n = inside.shape
    wide = max(8, n // 30)
    place = np.arange(n)[None] - at[:, None]
    sides = (place < -2) & (place >= -wide) & inside, (place > 1) & (place <= wide) & inside
    low, high = (np.array([_middle(plain[i], side[i]) for i in range(lines)]) for side in sides)
    off = [plain[side] - np.repeat(one, side.sum(1), 0) for side, one in zip(sides, (low, high), strict=True)]
    spread = sum((1.4826 * np.median(np.abs(one), axis=0)) ** 2 for one in off) + 1.0
    by = np.nanmedian(high - low, axis=0) / spread
    height = (plain - ((low + high) / 2)[:, None]) @ by
    sure = ((high - low) @ by) > 0
    found = np.full(lines, math.nan)
    for i in range(lines):
        k, line = int(at[i]), height[i]
        spots = [j for j in range(max(0, k - 5), min(n - 1, k + 4)) if line[j] < 0 <= line[j + 1]]
        if sure[i] and spots:
            j = min(spots, key=lambda one: abs(one + 1 - k))
            found[i] = np.interp(j + line[j] / (line[j] - line[j + 1]), np.arange(n), along)
        else:
            found[i] = np.interp(k - 0.5, np.arange(n), along)
    return found


def _middle(rows: Array, where: Array) -> Array:
    return np.median(rows[where], axis=0) if where.any() else np.full(rows.shape[1], math.nan)


def _fits(one: Cut) -> bool:
    return not one.beyond and one.apart >= ALIKE and float(np.isfinite(one.edge).mean()) >= MANY


def together(edge: Array, strip: Strip, at: float) -> tuple[Measured, bool]:
    """The middle of the lines' cuts (l,), NaN where one does not tell; and whether they agree.

    A straight water's edge, however it lies to the strip, through most of them (Theil and Sen).
    """
    use = np.isfinite(edge)
    y, x = edge[use], strip.across[use]
    i, j = np.triu_indices(len(y), 1)
    slope = float(np.median((y[j] - y[i]) / (x[j] - x[i])))
    off = y - slope * x
    middle = float(np.median(off))
    step = float(np.interp(middle, strip.along, np.gradient(strip.along)))  # m of a sample there
    scatter = 1.4826 * float(np.median(np.abs(off - middle)))
    near = np.abs(off - middle) <= 3 * scatter + step
    k = int(np.argmin(np.abs(strip.along - middle)))
    wide = float(np.ptp(strip.x[:, k])) + 1.0  # px of the strip there: lines closer than that are one
    error = math.hypot(1.2533 * scatter / math.sqrt(min(near.sum(), wide)), EDGE * step)
    return Measured(at, max(middle, 0.0), error), bool(near.mean() >= AGREE and scatter <= max(3 * step, 0.05 * middle))


def _held(memory: Memory, settings: Beach, strip: Strip, found: Measured) -> tuple[Memory, str]:
    """One more measurement against those before; why it is doubtful, empty where it is not."""
    lately = memory.kept[-LATEST:]
    if not lately or _is_alike(found, lately, settings, strip):
        return memory._replace(kept=(*memory.kept, found)[-KEPT:], odd=()), ""
    odd = memory.odd if memory.odd and _is_alike(found, memory.odd[-LATEST:], settings, strip) else ()
    odd = (*odd, found)
    if len(odd) >= CONFIRM and found.at - odd[0].at >= STANDS:
        return memory._replace(kept=odd, odd=()), ""
    return memory._replace(odd=odd), PAST


def _is_alike(found: Measured, before: tuple[Measured, ...], settings: Beach, strip: Strip) -> bool:
    """Whether it may be the same water's edge, moved no faster than it can."""
    usual = float(np.median([one.beach for one in before]))
    step = float(np.interp(usual, strip.along, np.gradient(strip.along)))
    passed = found.at - float(np.median([one.at for one in before]))
    error = math.hypot(found.error, float(np.median([one.error for one in before])))
    return abs(found.beach - usual) <= 4 * error + step + settings.fastest / 3600.0 * passed


def change(kept: tuple[Measured, ...]) -> float:
    """m/h by which the beach grows, from the measurements of the last hour; NaN where they are too few."""
    late = [one for one in kept if kept[-1].at - one.at <= SPAN]
    if len(late) < 2 * LATEST or late[-1].at - late[0].at < SHORTEST:
        return math.nan
    t = np.array([one.at for one in late]) - late[0].at
    return 3600.0 * float(np.polyfit(t, [one.beach for one in late], 1)[0])


def _learnt(old: tuple[Looks, Looks] | None, now: tuple[Looks, Looks]) -> tuple[Looks, Looks]:
    if old is None:
        return now
    beach, water = (
        Looks(a.mean + LEARNS * (b.mean - a.mean), a.spread + LEARNS * (b.spread - a.spread))
        for a, b in zip(old, now, strict=True)
    )
    return beach, water


def _untold(memory: Memory, at: float, why: str) -> Sight:
    return Sight(at, math.nan, math.nan, math.nan, why, ())


def _spot(strip: Strip, i: int, metres: float) -> tuple[float, float]:
    """px of a place on a line."""
    return float(np.interp(metres, strip.along, strip.x[i])), float(np.interp(metres, strip.along, strip.y[i]))
