"""What channels did in the last hour, day and week: the lowest and highest of each stretch of time, in memory.

A ring of `SIZE` stretches for each span. Every value that was judged is in one of them, so no peak is lost however
coarse the span; a channel costs 9 kB. Time is monotonic, so a step of the wall clock moves nothing. It is for people
to look at: nothing is decided by it, and what is lost of it is no loss of telemetry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .core.frame import Array, Frame

SIZE = 360  # stretches of a span
SPANS: Mapping[str, float] = {"1h": 3600.0, "24h": 86400.0, "7d": 604800.0}  # s
CELL = 8  # bytes: two float32


class Line(NamedTuple):
    """One channel over a span: m stretches, oldest first; those without a value are left out."""

    begin: Array  # (m,) monotonic s
    low: Array  # (m,) float32
    high: Array  # (m,)
    step: float  # s of a stretch


class Ring:
    """The last `SIZE` stretches of `step` s, of n channels."""

    def __init__(self, n: int, step: float) -> None:
        self.step = step
        self.number = np.full(SIZE, -1, np.int64)
        self.low = np.full((SIZE, n), np.nan, np.float32)
        self.high = np.full((SIZE, n), np.nan, np.float32)

    def add(self, at: float, value: Array) -> None:
        """The values (n,) of monotonic `at`, NaN where not measured."""
        k = int(at // self.step)
        i = k % SIZE
        if self.number[i] != k:
            if self.number[i] > k:
                return  # from before the ring: it came too late
            self.number[i], self.low[i], self.high[i] = k, np.nan, np.nan
        np.fmin(self.low[i], value, out=self.low[i])
        np.fmax(self.high[i], value, out=self.high[i])

    def line(self, column: int, begin: float, end: float) -> Line:
        """One channel between two monotonic times."""
        newest = int(self.number.max())
        order = np.arange(newest + 1, newest + 1 + SIZE) % SIZE  # oldest first
        at = self.number[order] * self.step
        there = (self.number[order] >= 0) & (at + self.step > begin) & (at <= end)
        there &= np.isfinite(self.low[order, column])
        order = order[there]
        return Line(at[there], self.low[order, column], self.high[order, column], self.step)


class Trends:
    """Of all sources, as far as `budget` bytes reach; `left_out` names those that had no room."""

    def __init__(self, budget: float) -> None:
        self.room = budget
        self.left_out: set[str] = set()
        self._rings: dict[str, tuple[Ring, ...]] = {}

    def add(self, frame: Frame) -> None:
        """One poll."""
        rings = self._rings.get(frame.source)
        n = len(frame.value)
        if rings is None or rings[0].low.shape[1] != n:
            need = n * SIZE * CELL * len(SPANS)
            if frame.source in self.left_out or need > self.room:
                self.left_out.add(frame.source)
                return
            self.room -= need
            rings = self._rings[frame.source] = tuple(Ring(n, span / SIZE) for span in SPANS.values())
        with np.errstate(over="ignore"):
            value = frame.value.astype(np.float32)
        for ring in rings:
            ring.add(frame.at.mono, value)

    def line(self, source: str, column: int, begin: float, end: float, now: float) -> Line | None:
        """One channel between two monotonic times, as finely as it is still known; None where nothing is."""
        rings = self._rings.get(source)
        if rings is None or column >= rings[0].low.shape[1]:
            return None
        for ring in rings[:-1]:
            if begin >= now - SIZE * ring.step - ring.step:
                return ring.line(column, begin, end)
        return rings[-1].line(column, begin, end)

    def spread(self, source: str, column: int, now: float, seconds: float = 60.0) -> float:
        """Between the lowest and the highest of the last minute; NaN where nothing is known."""
        line = self.line(source, column, now - seconds, now, now)
        if line is None or not len(line.begin):
            return math.nan
        return float(line.high.max()) - float(line.low.min())
