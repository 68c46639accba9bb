"""What a camera's pictures say about the camera: numbers of one picture in, states out. Pure, O(1) per picture.

`look` takes what the decoder says of one picture (`Picture`) into the memory, `states` says how the camera stands at
an instant. A state goes on after its condition has held for `hold` s, and off after the contrary has; between the two
limits of a condition nothing moves. States do not contradict each other: a black picture is neither covered nor frozen
nor out of focus, and where a state cannot be told it is None.

Sharpness and scene are held against what the camera showed before. Both are learnt with a time constant of `learn` s,
sharpness for each of four classes of brightness, since a night by infrared light is softer than a day. A camera that
was turned on purpose is `moved` until the new scene outweighs the old one, about 0.7 `learn`.

Weak at: a picture that stands while the camera's own clock goes on in a corner (not `frozen`); a scene that fills
with something else for longer than `hold` (a train that stops before the lens is `moved` or `covered`); fog, which
is `defocused` first and `covered` in the end; what was wrong already when the agent began. A picture out of focus is
not learnt, so `defocused` stays until the sharpness is back or the driver is started again.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from msgspec.structs import replace

from agent.core.frame import Array

WIDE, HIGH = 64, 36  # cells of a scene
SCENE = WIDE * HIGH
CLASSES = 4  # of brightness, each with a sharpness of its own
FPS_OVER = 3.0  # s over which the rate of pictures is a mean
SETTLED = 3.0  # times `hold` of fit pictures, after which what was learnt may judge
CLEAR = 0.8  # of a limit: on the other side of it a state may end; for shares that count from above see `_under`
LIKE = 0.5  # correlation of two scenes that are the same; below half of it nothing fits any more. project
BETTER = 0.15  # by so much the shifted scene must fit better than the unshifted one. project
EDGES = 2.0  # mean edge of a scene (of 255) below which it has nothing to compare. project

Share = Annotated[float, Meta(gt=0, le=1)]


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a state begins. All are `project`: set on drawn pictures and to be checked at each camera."""

    hold: Annotated[float, Meta(ge=0, le=600)] = 3.0  # s that a condition must stand, either way
    stalled: Annotated[float, Meta(ge=0.5, le=60)] = 2.5  # s without a new picture
    frozen: Annotated[float, Meta(ge=0.5, le=3600)] = 10.0  # s with pictures of the very same content
    black: Share = 0.98  # share of pixels below 24 of 255
    overexposed: Share = 0.5  # share of pixels from 250 of 255 on
    covered: Annotated[float, Meta(gt=0, le=128)] = 8.0  # grey levels (standard deviation) below which nothing is seen
    defocused: Share = 0.4  # of the sharpness that the camera had in such light
    moved: Annotated[float, Meta(gt=0, le=0.5)] = 0.05  # of the picture's width that the scene is shifted by
    learn: Annotated[float, Meta(ge=1, le=604800)] = 3600.0  # s, time constant of what is learnt


class Picture(Struct, frozen=True, kw_only=True):
    """What the decoder says of one picture."""

    at: float  # monotonic s when it was taken from the stream
    pts: float  # s in the stream's own time; what has none says 0
    count: int  # pictures of this connection so far, those that were not looked at included
    content: int  # a hash of all its pixels
    mean: float  # grey, 0 to 255
    black: float  # share of pixels, 0 to 1
    white: float  # share of pixels, 0 to 1
    texture: float  # standard deviation of grey
    sharp: float  # energy of the fine structure over that of all structure, without unit
    scene: bytes  # (HIGH, WIDE) uint8, edges; base64 in JSON


class Latch(Struct, frozen=True):
    """One state: whether it is on, and since when the contrary stands (inf: it does not)."""

    on: bool = False
    since: float = math.inf  # monotonic s


class Mean(Struct, frozen=True):
    """A mean of numbers with a time constant; as a plain mean until it is as old as that."""

    value: float = 0.0
    seconds: float = 0.0  # that went in


class Memory(Struct, frozen=True, eq=False):
    """What is known of one camera."""

    newest: Picture | None = None
    fresh: float = -math.inf  # monotonic s of the last picture that was new: by content, or by the stream's time
    changed: float = -math.inf  # monotonic s since which the content is the same
    fps: Mean = Mean()
    fit: float = 0.0  # s of pictures by which scene and sharpness were learnt
    sharp: tuple[Mean, ...] = (Mean(),) * CLASSES
    scene: Array | None = None  # (HIGH, WIDE) float64, mean edges
    shift: float = 0.0  # of the width; inf: nothing fits any more; NaN: cannot be told
    black: Latch = Latch()
    overexposed: Latch = Latch()
    covered: Latch = Latch()
    defocused: Latch = Latch()
    moved: Latch = Latch()


class States(Struct, frozen=True):
    """How the camera stands. None: it cannot be told."""

    stalled: bool
    frozen: bool | None
    black: bool | None
    covered: bool | None
    defocused: bool | None
    overexposed: bool | None
    moved: bool | None
    fps: float  # 1/s
    brightness: float  # %, of the newest picture; NaN without one
    sharpness: float  # % of what the camera had in such light, NaN while that is not known


# -- what is seen -------------------------------------------------------------------------------------


def look(memory: Memory, seen: Picture, limits: Limits) -> Memory:
    """The memory after one more picture. A new connection counts its pictures from 1 again."""
    last = memory.newest
    same = last is not None and last.content == seen.content
    advanced = last is None or not same or seen.pts > last.pts or seen.count < last.count
    if not advanced:
        return replace(memory, newest=replace(seen, count=last.count if last else seen.count))
    step = min(max(seen.at - memory.fresh, 0.0), limits.stalled)  # s that this picture stands for
    memory = replace(
        memory,
        newest=seen,
        fresh=seen.at,
        changed=memory.changed if same else seen.at,
        fps=_rate(memory.fps, last, seen),
    )
    black = _latched(memory.black, _over(seen.black, limits.black), seen.at, limits.hold)
    over = _latched(memory.overexposed, _over(seen.white, limits.overexposed), seen.at, limits.hold)
    bright = not black.on and not over.on
    flat = _under(seen.texture, limits.covered, 1.5 * limits.covered) if bright else False
    covered = _latched(memory.covered, flat, seen.at, limits.hold)
    memory = replace(memory, black=black, overexposed=over, covered=covered)
    if not bright or covered.on or _is_doubtful(seen, limits):
        return replace(memory, shift=math.nan)
    return _compared(memory, seen, limits, step)


def _compared(memory: Memory, seen: Picture, limits: Limits, step: float) -> Memory:
    """A picture that shows something, held against what was learnt, and learnt."""
    level = brightness_class(seen.mean)
    usual, settled = memory.sharp[level], SETTLED * limits.hold
    scene = np.frombuffer(seen.scene, np.uint8).reshape(HIGH, WIDE).astype(float)
    soft: bool | None = None
    if usual.seconds >= settled and usual.value > 0.0:
        soft = _under(seen.sharp / usual.value, limits.defocused, min(1.0, 1.4 * limits.defocused))
    defocused = _latched(memory.defocused, soft, seen.at, limits.hold)
    away: bool | None = None
    shift = math.nan
    if memory.scene is not None and memory.fit >= settled and not defocused.on:
        shift = shifted(memory.scene, scene)
        away = None if math.isnan(shift) else _over(shift, limits.moved)
    moved = _latched(memory.moved, away, seen.at, limits.hold)
    memory = replace(memory, defocused=defocused, moved=moved, shift=shift)
    if soft:  # a lens out of focus does not become what is usual while it may still be put right
        return memory
    share = min(1.0, step / min(max(memory.fit + step, 1e-9), limits.learn))
    learnt = scene if memory.scene is None else memory.scene + share * (scene - memory.scene)
    sharp = list(memory.sharp)
    sharp[level] = _grown(usual, seen.sharp, step, limits.learn)
    return replace(memory, scene=learnt, fit=memory.fit + step, sharp=tuple(sharp))


def states(memory: Memory, now: float, limits: Limits) -> States:
    """How the camera stands at `now` (monotonic s)."""
    seen = memory.newest
    stalled = now - memory.fresh > limits.stalled
    if seen is None or stalled:  # an old picture says nothing of now
        brightness = math.nan if seen is None else 100.0 * seen.mean / 255.0
        return States(stalled, None, None, None, None, None, None, 0.0, brightness, math.nan)
    shows = not (memory.black.on or memory.overexposed.on or memory.covered.on)
    usual = memory.sharp[brightness_class(seen.mean)]
    settled = SETTLED * limits.hold
    known = shows and usual.seconds >= settled and usual.value > 0.0
    return States(
        stalled=stalled,
        frozen=memory.fresh - memory.changed > limits.frozen if shows else None,
        black=memory.black.on,
        covered=memory.covered.on,
        defocused=memory.defocused.on if known else None,
        overexposed=memory.overexposed.on,
        moved=memory.moved.on if shows and memory.fit >= settled and not math.isnan(memory.shift) else None,
        fps=memory.fps.value,
        brightness=100.0 * seen.mean / 255.0,
        sharpness=100.0 * seen.sharp / usual.value if known else math.nan,
    )


# -- conditions ---------------------------------------------------------------------------------------


def _over(value: float, limit: float) -> bool | None:
    """Beyond the limit, well below it, or neither (None)."""
    return True if value >= limit else False if value < CLEAR * limit else None


def _under(value: float, limit: float, well: float) -> bool | None:
    """Below the limit, from `well` on not, or neither (None)."""
    return True if value < limit else False if value >= well else None


def _latched(was: Latch, says: bool | None, at: float, hold: float) -> Latch:
    """The state after a condition was looked at: it changes once the contrary stood for `hold` s.

    >>> _latched(_latched(Latch(), True, 0.0, 3.0), True, 3.0, 3.0).on
    True
    """
    if says is None or says == was.on:
        return Latch(was.on)
    since = min(was.since, at)
    return Latch(not was.on) if at - since >= hold else Latch(was.on, since)


def _is_doubtful(seen: Picture, limits: Limits) -> bool:
    """Whether the picture is on the way to black, white or flat: nothing is learnt from it."""
    return (
        seen.black >= CLEAR * limits.black or seen.white >= CLEAR * limits.overexposed or seen.texture < limits.covered
    )


# -- what is learnt -----------------------------------------------------------------------------------


def brightness_class(mean: float) -> int:
    """Which of the classes of brightness a mean grey (0 to 255) belongs to."""
    return min(CLASSES - 1, max(0, int(mean * CLASSES / 256.0)))


def _grown(mean: Mean, value: float, seconds: float, longest: float) -> Mean:
    share = min(1.0, seconds / max(1e-9, min(mean.seconds + seconds, longest))) if mean.seconds else 1.0
    return Mean(mean.value + share * (value - mean.value), mean.seconds + seconds)


def _rate(mean: Mean, last: Picture | None, seen: Picture) -> Mean:
    """Pictures per s, as a mean; a new connection begins anew."""
    if last is None or seen.count <= last.count or seen.at <= last.at:
        return Mean()
    passed = seen.at - last.at
    return _grown(mean, (seen.count - last.count) / passed, passed, FPS_OVER)


def shifted(usual: Array, scene: Array) -> float:
    """How far the scene is shifted against the usual one, as a share of the width; inf where nothing fits any more.

    Phase correlation over (HIGH, WIDE) edges, and a second look at whether the shift explains more than none. NaN where
    one of them shows too few edges to say.
    Source: C. D. Kuglin, D. C. Hines, Proc. IEEE Int. Conf. Cybernetics and Society (1975) 163-165.
    """
    if usual.mean() < EDGES or scene.mean() < EDGES:
        return math.nan
    still = _likeness(usual, scene)
    cross = np.fft.rfft2(usual - usual.mean()) * np.conj(np.fft.rfft2(scene - scene.mean()))
    peaks = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-9), s=(HIGH, WIDE))
    down, right = np.unravel_index(int(np.argmax(peaks)), peaks.shape)
    dy, dx = (int(down) + HIGH // 2) % HIGH - HIGH // 2, (int(right) + WIDE // 2) % WIDE - WIDE // 2
    rows, columns = slice(max(0, dy), HIGH + min(0, dy)), slice(max(0, dx), WIDE + min(0, dx))
    back, across = slice(max(0, -dy), HIGH + min(0, -dy)), slice(max(0, -dx), WIDE + min(0, -dx))
    there = _likeness(usual[rows, columns], scene[back, across])
    if there >= LIKE and there > still + BETTER:
        return math.hypot(dx, dy) / WIDE
    return 0.0 if still >= LIKE else math.inf if still < LIKE / 2 else math.nan


def _likeness(a: Array, b: Array) -> float:
    """Correlation of two scenes, -1 to 1."""
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / size if size > 0.0 else 0.0
