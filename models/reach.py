"""When a level reaches its limit, if it goes on like this: a sump that fills, a gas that builds up, a pond that sinks.

The rate is the median of all slopes between the last `POINTS` means of a window (Theil 1950, Sen 1968), which neither a
spike nor a pump that starts for a moment moves. It says something where it is more than `SURE` of its own errors. This
is an extrapolation of the last window and knows nothing of pumps, rain and fans; it never lowers a level that a limit
has set.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple

import numpy as np
from msgspec import Meta

from agent.core.frame import OVER_RANGE, Array, Frame, Layout
from agent.core.ports import Detector

HOUR = 3600.0  # s
POINTS = 12  # means in a window
FEWEST = 6  # of them to a rate
SURE = 3.0  # errors of a rate below which nothing is said
T95 = 2.1  # errors to either side that 90 % lie within; Student's 1.81, and what a median deviation of 12 is off


class Line(NamedTuple):
    """A line through each of n columns."""

    rate: Array  # (n,) per s
    error: Array  # (n,) its standard error
    middle: Array  # (n,) s, of what it goes through
    level: Array  # (n,) there


class Mean(NamedTuple):
    """A mean of n channels under way."""

    begun: float  # s, NaN before any frame
    late: float  # s, sum of how much later than that its frames came
    frames: int
    total: Array  # (n,) of the values in it
    usable: Array  # (n,) how many


def mean_of(n: int, begun: float = math.nan) -> Mean:
    """A mean of nothing yet."""
    return Mean(begun, 0.0, 0, np.zeros(n), np.zeros(n))


def taken(m: Mean, now: float, value: Array, good: Array) -> Mean:
    """With one more frame, values (n,) of which those that are good (n,) count; the first begins it."""
    begun = now if math.isnan(m.begun) else m.begun
    total = m.total + np.where(good, value, 0.0)
    return Mean(begun, m.late + now - begun, m.frames + 1, total, m.usable + good)


def ended(m: Mean) -> tuple[float, Array]:
    """When it was, s, and the mean (n,), NaN of nothing. It has a frame at least."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return m.begun + m.late / m.frames, np.where(m.usable > 0, m.total / m.usable, math.nan)


class Memory(NamedTuple):
    under: Mean
    at: Array  # (POINTS,) s, of the last means, NaN before any
    mean: Array  # (POINTS, n) NaN where none
    line: Line  # through them, NaN where it cannot be known; its time is 0 at `end`
    end: float  # s


class Reach(Detector, tag="reach", frozen=True, kw_only=True):
    """Rate, and time to a limit with its interval.

    In:      value (n,) of one unit.
    Out:     per channel `<key>.rate` in unit/h, and in h from now `<key>.to_limit` with `<key>.to_limit_low`, the
             soonest, and `<key>.to_limit_high` (90 %): 0 once it is there, NaN where it does not come nearer. GOOD.
    Memory:  twelve means a channel. A restart goes on.
    Weak at: what does not go on like this; the interval knows the scatter around the line, not that it may bend.
    Source:  as at the head of this file; the numbers are the project's.
    """

    limit: float  # in the channels' unit
    direction: Literal["up", "down"] = "up"  # where the limit is bad
    window: Annotated[float, Meta(gt=0)] = HOUR  # s over which the rate is taken

    def __post_init__(self) -> None:
        if not math.isfinite(self.limit):
            raise ValueError(f"limit must be a finite number, is {self.limit}")

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        if len(set(seen.unit)) > 1:
            units = ", ".join(f"{key} in {unit or 'no unit'}" for key, unit in zip(seen.key, seen.unit, strict=True))
            raise ValueError(f"reach `{self.name}`: one limit is for channels of one unit; here: {units}")
        given = {"rate": f"{seen.unit[0]}/h", "to_limit": "h", "to_limit_low": "h", "to_limit_high": "h"}
        return [(f"{key}.{name}", unit) for name, unit in given.items() for key in seen.key]

    def start(self, seen: Layout) -> Memory:
        n = len(seen)
        nan, means = np.full(n, math.nan), np.full((POINTS, n), math.nan)
        return Memory(mean_of(n), np.full(POINTS, math.nan), means, Line(nan, nan, nan, nan), 0.0)

    def step(self, memory: Memory, seen: Frame) -> tuple[Memory, Array, Array]:
        now, m = seen.at.mono, memory
        good = np.isfinite(seen.value) & (seen.quality <= OVER_RANGE)
        if now - m.under.begun >= self.window / POINTS * 0.999:
            m = self._read(m, now)
        m = m._replace(under=taken(m.under, now, seen.value, good))
        columns = self._told(m, now)
        return m, columns, np.zeros(len(columns), np.uint8)

    def moved(self, memory: Memory, seconds: float) -> Memory:
        under = memory.under._replace(begun=memory.under.begun + seconds)
        return memory._replace(under=under, at=memory.at + seconds, end=memory.end + seconds)

    def _read(self, m: Memory, now: float) -> Memory:
        """With one more mean, and the line anew; the next mean begins."""
        when, mean = ended(m.under)
        at, means = np.append(m.at[1:], when), np.vstack([m.mean[1:], mean])
        means[now - at > 1.5 * self.window] = math.nan  # too long ago: there was a gap
        return Memory(mean_of(len(mean), now), at, means, line(at - now, means), now)

    def _told(self, m: Memory, now: float) -> Array:
        """The columns."""
        (rate, error, middle, level), since = m.line, now - m.end
        rate = np.where(since > self.window, math.nan, rate)  # nothing came
        sign = 1.0 if self.direction == "up" else -1.0
        speed, way = sign * rate, sign * (self.limit - level)  # from the middle of the window
        passed = since - middle  # s
        with np.errstate(invalid="ignore", divide="ignore"):
            there = way <= speed * passed
            told = speed > SURE * error
            times = [way / (speed + sure * T95 * error) - passed for sure in (0, 1, -1)]
        nearer = [np.where(told, np.maximum(t, 0.0) / HOUR, math.nan) for t in times]
        return np.concatenate([rate * HOUR, *(np.where(there, 0.0, t) for t in nearer)])


def line(at: Array, value: Array) -> Line:
    """The line through each column: median slope, and median level. at: (k,) s; value: (k, n), NaN where unknown.

    NaN where fewer than `FEWEST` are known. The error is that of least squares with the scatter of the residuals as
    their median deviation tells it.

    >>> one = line(np.arange(-6.0, 0.0), 2 * np.arange(-6.0, 0.0)[:, None] + 1)
    >>> [float(x[0]) for x in one]
    [2.0, 0.0, -3.5, -6.0]
    """
    i, j = np.triu_indices(len(at), 1)
    known = np.isfinite(value) & np.isfinite(at)[:, None]
    enough = known.sum(0) >= FEWEST
    found = np.full((4, value.shape[1]), math.nan)
    if enough.any():
        value, known = value[:, enough], known[:, enough]
        times, count = np.where(known, at[:, None], math.nan), known.sum(0)
        rate = np.nanmedian((value[j] - value[i]) / (times[j] - times[i]), axis=0)
        middle = np.nanmean(times, axis=0)
        rest = value - rate * (times - middle)
        level = np.nanmedian(rest, axis=0)
        scatter = 1.4826 * np.nanmedian(np.abs(rest - level), axis=0) * np.sqrt(count / (count - 2.0))
        found[:, enough] = rate, scatter / np.sqrt(np.nansum((times - middle) ** 2, axis=0)), middle, level
    return Line(*found)
