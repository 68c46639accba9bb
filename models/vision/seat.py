"""What a camera that looks at a driver shows where no face is found: somebody turned away, an empty seat, or nothing.

The inside of a cab stands still in the picture. What it looks like with the driver in it is learnt while a face is
seen, coarsely: how bright and how finely structured each of `HIGH` x `WIDE` cells is. Where no face is found, what is
beside the driver is held against that first: its fine structure goes when the lens is smeared, and is another one when
something is before it. Else the driver's own cells are: as they were, and he sits there, whatever his head does; others
in a cab that is as it was, and the seat is empty. A picture that is black, white or flat shows nothing at all; these
numbers are the camera's own (`drivers/video_health.py`). Memory in, memory out.

Weak at: what was so before the first face was seen: nobody is told to be there then, and a lens that was always smeared
is told only if it shows hardly anything; a camera that is turned while no face is seen, which is `covered`; a face that
fills the picture, beside which there is nothing; somebody dressed as the seat is; a cab so dark that there is
but noise beside the driver: an empty seat is `covered` there.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from agent.core.frame import Array

WIDE, HIGH = 32, 24  # cells
SMALL = 320  # px, width of the picture whose fine structure is looked at, or less than twice that
EVERY = 0.5  # s between two looks that are learnt
LEARN = 20.0  # s, time constant of what is learnt
SURE = 3.0  # s of a face, after which what was learnt may judge
NOISE = 0.6  # fine structure (grey) of a cell that shows none: the sensor's noise, and what a codec leaves. project
SAME = 0.01  # share of the pixels that may differ between two pictures of one content: a codec. project
STILL = 1.5  # s over which it is looked at whether a picture changes
MOST = 0.7  # of the pictures of that time are the same in one that is frozen; a codec's key pictures differ
LOOKED = 4  # px, apart, that are compared
FEW = 40  # cells beside the driver, below which they tell nothing
SAME_CAB = 0.3  # correlation of the fine structure beside the driver: 0.5 to 1 in the same cab, below 0.15 where a lens
# is smeared (5 px in 640 and more) or covered. project, as the next two
LEFT = 0.35  # of the driver's own fine structure, below which he is smeared: 0.5 to 1 in profile, 0.2 behind grease
IS_HE, HEAD_ONLY = 0.05, 0.15  # likeness of the driver's cells, from which on it is he; where only the head is in the
# picture. In profile, bowed, behind a hand 0.2 to 1; an empty seat -1.5 to -0.2
CHANGED = 1.5  # of a change of brightness, against correlation

# The driver's cells, u of `head.py` from the middle of the face: the head, and what is below it
HEAD = (-1.4, 1.4, -1.7, 1.8)  # left, right, above, below
BODY = (-2.6, 2.6, 2.4, 7.0)


class Spot(NamedTuple):
    """Where the driver was, in shares of the picture."""

    x: float
    y: float
    wide: float  # u of `head.py`, of the width
    high: float  # the same, of the height


class Health(Protocol):
    """What is read of a picture's numbers, as `drivers/video_health.py` has them."""

    @property
    def black(self) -> float: ...
    @property
    def white(self) -> float: ...
    @property
    def texture(self) -> float: ...


class Limits(Protocol):
    """Beyond which a picture shows nothing."""

    @property
    def black(self) -> float: ...
    @property
    def overexposed(self) -> float: ...
    @property
    def covered(self) -> float: ...


class View(NamedTuple):
    """The cab with its driver."""

    low: Array | None = None  # (HIGH, WIDE) grey
    fine: Array | None = None  # (HIGH, WIDE) fine structure, grey
    who: Spot | None = None  # on average, as the others: who leaves is followed, and is last seen elsewhere
    seconds: float = 0.0  # of a face, that went in
    at: float = -math.inf  # s, of the last look


class Stand(NamedTuple):
    """Whether the picture changes."""

    last: Array | None = None  # some of its pixels
    seen: tuple[tuple[float, bool], ...] = ()  # s and whether it was the same again, of the last pictures


class Shows(NamedTuple):
    """What one picture without a face shows."""

    covered: float  # 0 to 1
    present: float  # 0 to 1; NaN: it cannot be told


def stands(memory: Stand, at: float, grey: Array) -> tuple[Stand, float]:
    """Whether the picture (h, w) is frozen, 0 or 1; a sensor's noise makes each picture another one."""
    some = grey[LOOKED // 2 :: LOOKED, LOOKED // 2 :: LOOKED].copy()
    if memory.last is None or memory.last.shape != some.shape:
        return Stand(some), 0.0
    is_same = float(np.count_nonzero(some != memory.last)) <= SAME * some.size
    seen = (*(one for one in memory.seen if at - STILL < one[0] <= at), (at, is_same))
    whole = len(seen) > 2 and seen[-1][0] - seen[0][0] > STILL / 2
    return Stand(some, seen), float(whole and sum(same for _, same in seen) >= MOST * len(seen))


def looked(grey: Array) -> tuple[Array, Array]:
    """(HIGH, WIDE) brightness and fine structure of a picture (h, w) of `SMALL` pixels or so."""
    low = cv2.resize(grey, (WIDE, HIGH), interpolation=cv2.INTER_AREA).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (3, 3), 0)
    fine = cv2.absdiff(cv2.Laplacian(smooth, cv2.CV_16S), 0).astype(np.float32)
    return low, cv2.resize(fine, (WIDE, HIGH), interpolation=cv2.INTER_AREA)


def learnt(view: View, at: float, low: Array, fine: Array, who: Spot) -> View:
    """With one more look at the driver."""
    step = min(max(at - view.at, 0.0), 2 * EVERY) if view.low is not None else EVERY
    if view.low is None or view.fine is None or view.who is None:
        return View(low, fine, who, step, at)
    share = step / min(view.seconds + step, LEARN)
    return View(
        view.low + share * (low - view.low),
        view.fine + share * (fine - view.fine),
        Spot(*(a + share * (b - a) for a, b in zip(view.who, who, strict=True))),
        view.seconds + step,
        at,
    )


def shows(view: View, low: Array, fine: Array, health: Health, limits: Limits) -> Shows:
    """What a picture shows in which no face was found."""
    if health.black >= limits.black or health.white >= limits.overexposed or health.texture < limits.covered:
        return Shows(1.0, math.nan)
    if view.low is None or view.fine is None or view.who is None or view.seconds < SURE:
        return Shows(0.0, 0.0)
    head, body = _cells(view.who, HEAD, low.shape), _cells(view.who, BODY, low.shape)
    mine, beside = head | body, ~_cells(view.who, (-3.0, 3.0, -2.0, math.inf), low.shape)
    covered, gain = 0.0, (float(view.low.std()) + 1.0) / (float(low.std()) + 1.0)
    if beside.sum() >= FEW:
        covered = _over(SAME_CAB - alike(view.fine, fine, beside), 0.2)
        gain = float(np.median((view.low[beside] + 4.0) / (low[beside] + 4.0)))
    is_seen = body.sum() >= FEW / 2
    like = likeness(view.low, gain * low, body if is_seen else head)
    is_he = _over(like - (IS_HE if is_seen else HEAD_ONLY), 0.2)
    covered = max(covered, is_he * _over(LEFT - kept(view.fine, gain * fine, mine), 0.2))
    return Shows(covered, math.nan if covered >= 0.5 else is_he)


def likeness(usual: Array, low: Array, where: Array) -> float:
    """How much the cells there are as usual, 1 and less: their correlation, less what changed in brightness."""
    change = np.abs(low[where] - usual[where]) / (0.5 * (low[where] + usual[where]) + 10.0)
    return alike(usual, low, where) - CHANGED * float(change.mean()) if where.any() else 0.0


def kept(usual: Array, fine: Array, where: Array) -> float:
    """The share of the fine structure that is left there, as the median of the cells that had some; 1 if none had."""
    had = where & (usual > 3 * NOISE)
    if had.sum() < 4:
        return 1.0
    return float(np.median(np.maximum(fine[had] - NOISE, 0.0) / (usual[had] - NOISE)))


def alike(usual: Array, low: Array, where: Array) -> float:
    """Correlation of the cells there, -1 to 1."""
    if not where.any():
        return 0.0
    a, b = usual[where] - usual[where].mean(), low[where] - low[where].mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size > 0 else 0.0


def _over(value: float, width: float) -> float:
    """0 to 1 as a value goes from half a width below 0 to half a width above."""
    return min(1.0, max(0.0, value / width + 0.5))


def _cells(who: Spot, box: tuple[float, float, float, float], shape: tuple[int, ...]) -> Array:
    """(HIGH, WIDE) which cells are in a box about the driver's face."""
    high, wide = shape
    x = ((np.arange(wide) + 0.5) / wide - who.x) / who.wide
    y = ((np.arange(high) + 0.5) / high - who.y) / who.high
    left, right, above, below = box
    return np.asarray(((y > above) & (y < below))[:, None] & ((x > left) & (x < right))[None, :])
