"""What channels did in the last hour, day and week: the lowest and highest of each stretch of time, in memory.

A ring of `SIZE` stretches for each span. Every value that was judged is in one of them, so no peak is lost however
coarse the span; a channel costs 9 kB. Time is monotonic, so a step of the wall clock moves nothing. It is for people
to look at: nothing is decided by it, and what is lost of it is no loss of telemetry.

    <state>/trends.bin      what is known, every hour and at a stop, so that a week outlives a restart
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct

from . import durable
from .core.frame import Array, Frame, Instant

SIZE = 360  # stretches of a span
SPANS: Mapping[str, float] = {"1h": 3600.0, "24h": 86400.0, "7d": 604800.0}  # s
EMPTY = -(1 << 60)  # the number of a stretch of which nothing is known; those before the kernel's start are below 0
CELL = 8  # bytes: two float32
FILE = "trends.bin"
SAVE = 3600.0  # s between two times that it is written: one MB or so for a hundred channels; project


class Kept(Struct, frozen=True):
    """One ring of one source as it is written. Little endian."""

    source: str
    key: tuple[str, ...]
    step: float  # s
    wall: bytes  # float64 (SIZE,): when each stretch began, NaN where there is none
    low: bytes  # float32 (SIZE, n)
    high: bytes


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
        self.number = np.full(SIZE, EMPTY, np.int64)
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
        there = (self.number[order] > EMPTY) & (at + self.step > begin) & (at <= end)
        there &= np.isfinite(self.low[order, column])
        order = order[there]
        return Line(at[there], self.low[order, column], self.high[order, column], self.step)


class Trends:
    """Of all sources, as far as `budget` bytes reach; `left_out` names those that had no room."""

    def __init__(self, budget: float) -> None:
        self.room = budget
        self.left_out: set[str] = set()
        self._rings: dict[str, tuple[Ring, ...]] = {}
        self._keys: dict[str, tuple[str, ...]] = {}

    def add(self, frame: Frame) -> None:
        """One poll."""
        rings = self._rings_of(frame.source, frame.layout.key[: len(frame.value)])
        if rings is None:
            return
        with np.errstate(over="ignore"):
            value = frame.value.astype(np.float32)
        for ring in rings:
            ring.add(frame.at.mono, value)

    def _rings_of(self, source: str, key: tuple[str, ...]) -> tuple[Ring, ...] | None:
        """The rings of a source with these channels; None where there is no room for them."""
        rings = self._rings.get(source)
        if rings is not None and rings[0].low.shape[1] == len(key):
            return rings
        need = len(key) * SIZE * CELL * len(SPANS)
        if source in self.left_out or need > self.room:
            self.left_out.add(source)
            return None
        self.room -= need
        self._keys[source] = key
        rings = self._rings[source] = tuple(Ring(len(key), span / SIZE) for span in SPANS.values())
        return rings

    def kept(self, at: Instant) -> list[Kept]:
        """All of it, to be written."""
        found = []
        for source, rings in self._rings.items():
            for ring in rings:
                wall = np.where(ring.number > EMPTY, ring.number * ring.step + (at.wall - at.mono), np.nan)
                rows = (wall.astype("<f8"), ring.low.astype("<f4"), ring.high.astype("<f4"))
                found.append(Kept(source, self._keys[source], ring.step, *(row.tobytes() for row in rows)))
        return found

    def adopt(self, kept: list[Kept], layouts: Mapping[str, tuple[str, ...]], at: Instant) -> None:
        """What an earlier life kept, of channels that are still there, as far as nothing newer is known."""
        for one in kept:
            key = layouts.get(one.source)
            rings = self._rings_of(one.source, key) if key is not None else None
            ring = next((ring for ring in rings or () if ring.step == one.step), None)
            if key is None or ring is None:
                continue
            wall = np.frombuffer(one.wall, "<f8")
            low, high = (np.frombuffer(b, "<f4").reshape(len(wall), len(one.key)) for b in (one.low, one.high))
            mine = [(key.index(name), j) for j, name in enumerate(one.key) if name in key]
            to, of = [i for i, _ in mine], [j for _, j in mine]
            newest = int(at.mono // one.step)
            for row in np.flatnonzero(np.isfinite(wall)):
                number = round((float(wall[row]) - (at.wall - at.mono)) / one.step)
                slot = number % SIZE
                if newest - SIZE < number <= newest and ring.number[slot] < number:
                    ring.number[slot] = number
                    ring.low[slot], ring.high[slot] = np.nan, np.nan
                    ring.low[slot, to], ring.high[slot, to] = low[row, of], high[row, of]

    def turn(self, keys: Mapping[str, tuple[str, ...]], at: Instant) -> None:
        """Sources have these channels from now on: what is known of those that stay, stays."""
        moved = [source for source, key in self._keys.items() if keys.get(source) != key]
        kept = [one for one in self.kept(at) if one.source in moved]
        for source in moved:
            self.room += len(self._keys.pop(source)) * SIZE * CELL * len(SPANS)
            del self._rings[source]
        self.left_out.clear()
        self.adopt(kept, keys, at)

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


def write(state: Path, kept: list[Kept]) -> None:
    """Raises `OSError`."""
    durable.replace(state / FILE, zlib.compress(msgspec.msgpack.encode(kept), 1))


def read(state: Path) -> list[Kept]:
    """What was written last; nothing where that is not to be had: it is no loss."""
    try:
        return msgspec.msgpack.decode(zlib.decompress((state / FILE).read_bytes()), type=list[Kept])
    except (OSError, zlib.error, msgspec.DecodeError):
        return []
