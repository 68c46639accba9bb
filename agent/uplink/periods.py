"""Telemetry by periods of the wall clock: which of them a platform has been told, and what a channel was in one. Pure.

A platform that wants a file each 30 s or a mean each 10 min is told of periods, not of batches. A batch is delivered
when every period that it touches was told; what stands in it comes from the store (`Feed.past`), so the order in which
batches arrive does not matter, and a period that was begun before a restart is whole after it.

The store leaves out what did not move and repeats everything each 60 s: a value holds until the next, or for `HOLD`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from agent.core.frame import Array, Quality
from agent.core.ports import Batch

HOLD = 130.0  # s that a value holds which nobody repeated: two heartbeats of the store and a little
SPANS = 256  # of told periods that are remembered; project
FIT = (Quality.GOOD, Quality.UNCERTAIN, Quality.OVER_RANGE)  # what a mean is made of; gas of a calibration is none
ANY = tuple(Quality)


# -- which were told ------------------------------------------------------------------------------


class Spans:
    """Numbers of periods, as spans with both ends included.

    >>> told = Spans([(1, 3)])
    >>> told.add(4), told.add(9), told.spans, 4 in told, 5 in told
    (None, None, [(1, 4), (9, 9)], True, False)
    """

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self.spans = sorted((a, b) for a, b in spans)

    def __contains__(self, number: int) -> bool:
        i = bisect_right(self.spans, (number, math.inf))
        return i > 0 and self.spans[i - 1][1] >= number

    def add(self, number: int) -> None:
        """One more; the oldest spans are forgotten where there are too many."""
        if number in self:
            return
        i = bisect_right(self.spans, (number, math.inf))
        lo = hi = number
        if i < len(self.spans) and self.spans[i][0] == number + 1:
            hi = self.spans.pop(i)[1]
        if i and self.spans[i - 1][1] == number - 1:
            i -= 1
            lo = self.spans.pop(i)[0]
        self.spans.insert(i, (lo, hi))
        del self.spans[: max(0, len(self.spans) - SPANS)]


def touched(batch: Batch, every: float) -> list[int]:
    """Numbers of the periods in which rows of a batch lie; period k begins at k * every s UTC."""
    return sorted({int(k) for k in np.floor_divide(batch.wall, every).tolist()})


# -- what a channel was ---------------------------------------------------------------------------


class Series(NamedTuple):
    """One channel by time."""

    wall: Array  # (t,) float64 s UTC, growing
    value: Array  # (t,) float64
    quality: Array  # (t,) uint8


EMPTY = Series(np.empty(0), np.empty(0), np.empty(0, np.uint8))


class Block(NamedTuple):
    """t rows of n channels by time, each row once."""

    key: tuple[str, ...]  # (n,)
    wall: Array  # (t,) float64 s UTC, growing
    value: Array  # (t, n) float64
    quality: Array  # (t, n) uint8


def stacked(batches: Iterable[tuple[Batch, float]]) -> list[Block]:
    """Batches, each with what its monotonic time lacks to the wall clock, as a block for each set of channels."""
    groups: dict[tuple[str, ...], list[tuple[Batch, float]]] = {}
    for batch, offset in batches:
        groups.setdefault(batch.key, []).append((batch, offset))
    blocks = []
    for key, group in groups.items():
        wall = np.concatenate([batch.mono + offset for batch, offset in group])
        _, first = np.unique(np.round(wall, 3), return_index=True)
        value = np.concatenate([batch.value for batch, _ in group])
        quality = np.concatenate([batch.quality for batch, _ in group])
        blocks.append(Block(key, wall[first], value[first], quality[first]))
    return blocks


def series(blocks: Iterable[Block], key: str) -> Series:
    """A channel out of blocks."""
    found = [(one, one.key.index(key)) for one in blocks if key in one.key]
    if not found:
        return EMPTY
    if len(found) == 1:
        one, i = found[0]
        return Series(one.wall, one.value[:, i], one.quality[:, i])
    wall = np.concatenate([one.wall for one, _ in found])
    order = np.argsort(wall, kind="stable")
    value = np.concatenate([one.value[:, i] for one, i in found])
    quality = np.concatenate([one.quality[:, i] for one, i in found])
    return Series(wall[order], value[order], quality[order])


def before(one: Series, moment: float) -> Series:
    """What of it lies before a moment."""
    n = int(np.searchsorted(one.wall, moment, side="left"))
    return Series(one.wall[:n], one.value[:n], one.quality[:n])


class Value(NamedTuple):
    """What stood at one moment."""

    value: float  # NaN where nobody knows
    quality: int
    at: float  # s UTC, when it was read; NaN where it was not


UNKNOWN = Value(math.nan, int(Quality.OFFLINE), math.nan)


def value_at(one: Series, moment: float) -> Value:
    """The newest row at or before a moment, while it holds."""
    i = int(np.searchsorted(one.wall, moment, side="right")) - 1
    if i < 0 or moment - one.wall[i] > HOLD:
        return UNKNOWN
    return Value(float(one.value[i]), int(one.quality[i]), float(one.wall[i]))


@lru_cache
def _mask(fit: tuple[int, ...]) -> Array:
    """Whether each number of a quality is among them, (256,) bool."""
    mask = np.zeros(256, bool)
    mask[list(fit)] = True
    return mask


class Summary(NamedTuple):
    """A channel over some time; NaN where nothing was fit to be counted."""

    low: float = math.nan
    low_at: float = math.nan  # s UTC
    high: float = math.nan
    high_at: float = math.nan
    mean: float = math.nan  # by time
    seconds: float = 0.0  # that the mean is made of


def summary(one: Series, begin: float, end: float, fit: Iterable[int] = FIT) -> Summary:
    """Lowest, highest and mean from `begin` until before `end`; each value weighs as long as it held.

    >>> two = Series(np.array([0.0, 10.0]), np.array([1.0, 4.0]), np.zeros(2, np.uint8))
    >>> summary(two, 0.0, 30.0)
    Summary(low=1.0, low_at=0.0, high=4.0, high_at=10.0, mean=3.0, seconds=30.0)
    """
    after = np.append(one.wall[1:], math.inf)
    until = np.minimum(np.minimum(after, one.wall + HOLD), end)
    since = np.maximum(one.wall, begin)
    counts = _mask(tuple(fit))[one.quality] & ~np.isnan(one.value) & (until > since)
    if not counts.any():
        return Summary()
    value, since, weight = one.value[counts], since[counts], (until - since)[counts]
    low, high = int(np.argmin(value)), int(np.argmax(value))
    seconds = float(weight.sum())
    return Summary(
        float(value[low]), float(since[low]), float(value[high]), float(since[high]),
        float((value * weight).sum() / seconds), seconds,
    )  # fmt: skip


def held(one: Series, begin: float, end: float) -> dict[int, float]:
    """s for which each quality was held from `begin` until before `end`; what is missing nobody knows."""
    after = np.append(one.wall[1:], math.inf)
    until = np.minimum(np.minimum(after, one.wall + HOLD), end)
    lasted = np.maximum(0.0, until - np.maximum(one.wall, begin))
    return {int(q): float(s) for q in np.unique(one.quality) if (s := lasted[one.quality == q].sum()) > 0}


def joined(one: Summary, other: Summary) -> Summary:
    """Both times together; `one` is the earlier."""
    if not one.seconds or not other.seconds:
        return one if one.seconds else other
    low = one if one.low <= other.low else other
    high = one if one.high >= other.high else other
    seconds = one.seconds + other.seconds
    mean = (one.mean * one.seconds + other.mean * other.seconds) / seconds
    return Summary(low.low, low.low_at, high.high, high.high_at, mean, seconds)


class Run(NamedTuple):
    """A time through which a channel had one quality."""

    quality: int
    begin: float  # s UTC
    end: float  # s UTC; infinite where it goes on


def runs(one: Series, wanted: Iterable[int]) -> Iterator[Run]:
    """All times of these qualities, oldest first. One that begins with the series may have begun before."""
    if not len(one.wall):
        return
    edges = np.flatnonzero(np.diff(one.quality)) + 1
    starts = [0, *edges.tolist()]
    ends = [*one.wall[edges].tolist(), math.inf]
    allowed = set(wanted)
    for start, end in zip(starts, ends, strict=True):
        if (quality := int(one.quality[start])) in allowed:
            yield Run(quality, float(one.wall[start]), end)
