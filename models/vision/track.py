"""Which thing of one picture is which thing of the next, and how fast each is neared.

What a finder says is matched to where known things should be; what nobody found for a moment is followed by its own
texture (`approach.py`). A thing is believed once it was found a few times. Pure; memory in, memory out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from agent.core.frame import Array

from . import approach
from .approach import Closing
from .net import Found
from .scale import Box

SAME = 0.3  # of their union, by which two boxes are one thing
NEW = 0.8  # the sum of scores from which a thing is believed
FORGET = 1.2  # s without being found
BRIEFLY = 0.25  # s, of what was found only once, or whose texture is not followed
SIZES, SPAN = 0.9, 0.35  # s over which boxes tell how a thing grows, and that they span at least
SIZED = 5  # boxes that tell it
LATE = 0.1  # of the rate, by which boxes tell it too late when it changes. project
KNOWS = 0.03  # 1/s, error of a texture that needs no boxes
JUMPY = 0.03  # 1/s, error of that for boxes that jump together: a net's liking for some sizes. project
NAMED = 0.2  # 1/s, above which nothing gets another name
WEIGHT = 0.4  # of a found box against the expected one
MOST = 24  # things at a time
CLOSELY = 4  # of them that are measured
PART = 0.7  # of the smaller one, by which a box lies in another


class Track(NamedTuple):
    """One thing."""

    id: int
    kind: str
    since: float  # s
    found: float  # s, when somebody found it last
    hits: int
    score: float  # a mean of those of its finds
    box: Box  # px
    memory: approach.Memory
    closing: Closing | None
    sizes: tuple[tuple[float, float], ...] = ()  # s and size, px, of the boxes that were found of late

    @property
    def is_real(self) -> bool:
        """Whether it was found often enough."""
        return self.hits * self.score > NEW


def step(
    tracks: Sequence[Track],
    at: float,
    grey: Array,
    found: Sequence[Found],
    matters: Callable[[str, Box], float],
    free: int,
    same: float = SAME,
    pace: float = 0.0,
) -> tuple[tuple[Track, ...], int]:
    """The things after one more picture (h, w) grey, and the next free number.

    found: best first. matters: how much a thing of this kind in this box does; 0 or less: it is not measured.
    same: of their union, by which two boxes are one thing; pace: s from one picture to the next, where that is long.
    """
    h, w = grey.shape
    forget, briefly = max(FORGET, 4 * pace), max(BRIEFLY, 1.6 * pace)
    expected = {one.id: approach.expected(one.memory, at) or one.box for one in tracks}
    left, news, seen = list(tracks), [], list[tuple[Track, Box, bool]]()
    for thing in found:
        box = _within(thing.box, w, h)
        fits = [(overlap(box, expected[one.id]), one) for one in left if _alike(one.kind, thing.kind)]
        best, one = max(fits, key=lambda fit: fit[0], default=(0.0, None))
        if one is None or best < same:
            if not any(_alike(one.kind, thing.kind) and _inside(box, other) > PART for one, other, _ in seen):
                news.append(thing._replace(box=box))
            continue
        left.remove(one)
        kind = thing.kind if one.kind == OBSTACLE and _is_calm(one) else one.kind
        mean = one.score + (thing.score - one.score) / min(one.hits + 1, 10)
        mixed = tuple(e + WEIGHT * (b - e) for b, e in zip(box, expected[one.id], strict=True))
        sizes = (*(size for size in one.sizes if at - size[0] < SIZES), *_size(thing.box, at, w, h))
        moved = one._replace(kind=kind, found=at, hits=one.hits + 1, score=mean, sizes=sizes)
        seen.append((moved, mixed, True))  # type: ignore[arg-type]
    for one in left:
        taken = any(
            _alike(one.kind, other.kind) and _inside(expected[one.id], box) > PART for other, box, sure in seen if sure
        )
        lasts = forget if one.hits > 1 and (one.memory.views or pace) else briefly
        if at - one.found < lasts and not taken and _is_there(expected[one.id], w, h):
            seen.append((one, expected[one.id], False))
    for thing in news:
        if not any(_alike(one.kind, thing.kind) and _inside(thing.box, box) > PART for one, box, _ in seen):
            blank = Track(free, thing.kind, at, at, 1, thing.score, thing.box, approach.Memory(), None)
            seen.append((blank, thing.box, True))
            free += 1
    weights = [matters(one.kind, box) for one, box, _ in seen]
    after = []
    for i, j in enumerate(sorted(range(len(seen)), key=lambda j: -weights[j])[:MOST]):
        one, box, sure = seen[j]
        memory, closing = approach.Memory(), None
        if i < CLOSELY and weights[j] > 0:
            memory, closing = approach.seen(one.memory, at, grey, box, sure)
            if memory.views:
                box = memory.views[-1].box
            elif at - one.found > briefly:
                continue  # what is not seen where it should be is gone
        after.append(one._replace(box=box, memory=memory, closing=fused(closing, grown(one.sizes, at))))
    return tuple(after), free


def _size(box: Box, at: float, w: int, h: int) -> tuple[tuple[float, float], ...]:
    """When and how large it was found; nothing where the picture's edge cuts it."""
    x1, y1, x2, y2 = box
    if min(x1, y1) < 2 or x2 > w - 3 or y2 > h - 3:
        return ()
    return ((at, math.sqrt(max((x2 - x1) * (y2 - y1), 1.0))),)


def grown(sizes: Sequence[tuple[float, float]], now: float) -> Closing | None:
    """How fast something is neared whose boxes had these sizes; None where they are few or old.

    Rough, for edges jump; but it holds in fog and in the dark, where a thing shows no texture.

    >>> told = grown([(t / 10, 50 / (2.0 - t / 10)) for t in range(10)], 0.9)
    >>> round(1 / told.per_second, 2)
    1.1
    """
    if len(sizes) < SIZED or now - sizes[-1][0] > BRIEFLY or sizes[-1][0] - sizes[0][0] < SPAN:
        return None
    at, size = (np.array(column) for column in zip(*sizes, strict=True))
    at, far = at - now, 1.0 / size
    heavy = np.ones(len(at))
    rows = np.stack([np.ones(len(at)), at], 1)
    for _ in range(4):
        (a, b), *_ = np.linalg.lstsq(rows * heavy[:, None], far * heavy, rcond=None)
        off = far - a - b * at
        usual = 1.4826 * float(np.median(np.abs(off))) + 1e-9
        heavy = 1 / (1 + (off / (3 * usual)) ** 2)
    if a <= 0:
        return None
    rate, scatter = float(-b / a), float(np.sqrt(np.mean(off**2)) / a)
    steady = scatter / float(np.sqrt(np.sum((at - at.mean()) ** 2)))
    return Closing(rate, math.hypot(steady, JUMPY, LATE * rate))


def fused(texture: Closing | None, boxes: Closing | None) -> Closing | None:
    """What both say, each by what it knows; a texture that knows well needs no help, and is quicker."""
    if texture is None or boxes is None or texture.error < KNOWS:
        return texture or boxes
    a, b = texture.error**-2, boxes.error**-2
    return Closing((a * texture.per_second + b * boxes.per_second) / (a + b), (a + b) ** -0.5, texture.change)


OBSTACLE = "obstacle"  # what nobody can name


def _is_calm(one: Track) -> bool:
    """Whether it may get a name: what is warned of already keeps the one that it has; one approach is one warning."""
    return one.closing is None or one.closing.per_second < NAMED


def _alike(a: str, b: str) -> bool:
    return a == b or OBSTACLE in (a, b) or {a, b} == {"two-wheeler", "person"}


def _within(box: Box, w: int, h: int) -> Box:
    x1, y1, x2, y2 = box
    return max(0.0, x1), max(0.0, y1), min(w - 1.0, x2), min(h - 1.0, y2)


def _is_there(box: Box, w: int, h: int) -> bool:
    """Whether most of it is in the picture."""
    x1, y1, x2, y2 = _within(box, w, h)
    return max(0.0, x2 - x1) * max(0.0, y2 - y1) > 0.5 * (box[2] - box[0]) * (box[3] - box[1])


def _common(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _area(a: Box) -> float:
    return max(0.0, a[2] - a[0]) * max(0.0, a[3] - a[1])


def overlap(a: Box, b: Box) -> float:
    """Of the union of two boxes, what both have.

    >>> overlap((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    both = _common(a, b)
    return both / max(_area(a) + _area(b) - both, math.ulp(1.0))


def _inside(a: Box, b: Box) -> float:
    """Of the smaller of two boxes, what both have."""
    return _common(a, b) / max(min(_area(a), _area(b)), math.ulp(1.0))
