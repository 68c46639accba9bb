"""Water without the weather, and what runs into a sump.

`Barometric` takes from a level what the air pressure does to it: a well that is closed to the air falls when the
barometer rises. `Inflow` reckons what comes into a sump from how fast it fills, and holds it against its own past.
How fast a level rises and when it overflows says `reach`; what is unlike the same hour of other days, `anomaly`: both
may look at the columns given here.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from msgspec import Meta

from agent.core.frame import OVER_RANGE, Array, Frame, Layout
from agent.core.ports import Detector, witnesses
from agent.core.units import convert

from .dam import Moments

HOUR, DAY = 3600.0, 86400.0  # s
HEAD = 1e-3 / 9.80665  # m of water for 1 Pa, at 1000 kg/m3
SPAN = 6  # bins over which a change is taken
CUT = 4.0  # usual changes: more than that of one is not learnt
YOUNG = 12  # changes before one can be called usual
ENOUGH = 10.0  # spans that do not overlap, before an efficiency is told
SURE = 0.1  # its standard error then, at most
FEWEST, MANY = 5, 15  # samples to a rate; and to one that is told before its time
CLEAR = 0.05  # of itself: its error then, at most
ROUGH = 0.1  # the same of a block that a pump, or the loss of its state, cut short: it is looked at once
PLAIN = 4.0  # errors by which it must be more than was known, where it is only the least that can come in
JUMP = 0.5  # of the usual inflow: more than that of one is not learnt


@cache
def _each(units: tuple[str, ...], to: str) -> Array:
    """(n,) one of each unit in the unit `to`. Raises `ValueError`."""
    return np.array([convert(1.0, unit, to) for unit in units])


@cache
def _heads(pressure: str, units: tuple[str, ...]) -> Array:
    """(n,) the head of water of one unit of pressure, in each unit. Raises `ValueError`."""
    head = convert(HEAD, pressure, "Pa")
    return np.array([convert(head, "m", unit) for unit in units])


class Air(NamedTuple):
    """What `Barometric` carries."""

    begun: float  # s, of the bin under way, NaN before any
    total: Array  # (n + 1,) of the values in it, the barometer last
    usable: Array  # (n + 1,) how many
    mean: Array  # (SPAN + 1, n + 1) of the last bins, newest last, NaN where unknown
    usual: Array  # (n,) usual size of a change
    moments: Moments  # (n,) of the changes of the barometer and of each level
    pressure: Array  # (1,) where the barometer usually is


class Barometric(Detector, tag="barometric", frozen=True, kw_only=True):
    """The level without what the air pressure does to it, and how much that is.

    In:      value (n,), levels in m, cm or mm, at any steps; beside it one barometer in a unit of pressure.
    Out:     per level `<key>.free` in its unit, as it would stand at the usual pressure, and `<key>.efficiency`, by how
             much of the head of air it falls, 0 to 1; both NaN until that is known to 0.1. As good as the worse of the
             two.
    Memory:  means of seven bins, and sums of products forgotten over `memory`. A restart goes on.
    Weak at: wells in which the effect is late by more than a bin (thick unsaturated zone); pumping in the rhythm of
             weather.
    Source:  Jacob 1940, Clark 1967 (increments); here least squares on changes over six bins, large ones cut.
    """

    looks_beside: ClassVar[bool] = True
    barometer: str  # `source/key`
    vented: bool = True  # the instrument hangs in open air; false: it measures water and air together
    bin: Annotated[float, Meta(gt=0)] = HOUR  # s
    memory: Annotated[float, Meta(gt=0)] = 30 * DAY  # s

    @property
    def witnessed(self) -> list[str]:
        return [*self.beside, self.barometer]

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        self._factors(seen)
        n = len(seen) - 1
        return [(f"{key}.free", unit) for key, unit in zip(seen.key[:n], seen.unit[:n], strict=True)] + [
            (f"{key}.efficiency", "") for key in seen.key[:n]
        ]

    def start(self, seen: Layout) -> Air:
        n = len(seen) - 1
        zero, wide = np.zeros(n), np.zeros(n + 1)
        mean = np.full((SPAN + 1, n + 1), math.nan)
        return Air(math.nan, wide, wide, mean, zero, Moments(*[zero] * 6), np.full(1, math.nan))

    def step(self, memory: Air, seen: Frame) -> tuple[Air, Array, Array]:
        now, m, n = seen.at.mono, memory, len(seen.layout) - 1
        good = np.isfinite(seen.value) & (seen.quality <= OVER_RANGE) & (seen.age <= seen.layout.stale)
        factors = self._factors(seen.layout)
        air = seen.value[n] * factors  # (n,) in the unit of each level
        value = np.append(seen.value[:n] - (0.0 if self.vented else air), seen.value[n])
        good[:n] &= self.vented or good[n]
        if math.isnan(m.begun):
            m = m._replace(begun=now)
        if (passed := int((now - m.begun) / self.bin * 1.000001)) > 0:
            m = self._binned(m, passed)
        m = m._replace(total=m.total + np.where(good, value, 0.0), usable=m.usable + good)
        efficiency = _efficiency(m.moments, factors)
        free = value[:n] + efficiency * (air - m.pressure * factors)
        free = np.where(good[:n] & good[n], free, math.nan)
        quality = np.maximum(seen.quality[:n], seen.quality[n])
        return m, np.concatenate([free, efficiency]), np.concatenate([quality, quality])

    def moved(self, memory: Air, seconds: float) -> Air:
        return memory._replace(begun=memory.begun + seconds)

    def _factors(self, seen: Layout) -> Array:
        """(n,) what a unit of the barometer is in each level's. Raises `ValueError` in words."""
        n = len(seen) - witnesses(seen)
        if witnesses(seen) != 1:
            raise ValueError(f"barometric `{self.name}`: barometer must name one channel that is no level")
        try:
            return _heads(seen.unit[n], seen.unit[:n])
        except ValueError as error:
            raise ValueError(f"barometric `{self.name}`: levels in m, a barometer in hPa: {error}") from None

    def _binned(self, m: Air, passed: int) -> Air:
        """With the bin that ended, and those after it in which nothing came."""
        with np.errstate(invalid="ignore", divide="ignore"):
            newest = np.where(m.usable > 0, m.total / m.usable, math.nan)
        rows = np.vstack([m.mean, newest, np.full((min(passed - 1, SPAN + 1), len(newest)), math.nan)])
        zero, change = np.zeros_like(m.total), rows[SPAN + 1] - rows[1]
        y, x = change[:-1], np.broadcast_to(change[-1], len(change) - 1)
        both = np.isfinite(x) & np.isfinite(y)
        old = m.moments.weight >= YOUNG
        y = np.where(old, np.clip(y, -CUT * m.usual, CUT * m.usual), y)
        x, y = np.where(both, x, 0.0), np.where(both, y, 0.0)
        kept = math.exp(-self.bin / self.memory)
        pairs = (both, x, y, x * x, y * y, x * y)
        moments = Moments(*(kept * one + more for one, more in zip(m.moments, pairs, strict=True)))
        usual = m.usual + both * (np.abs(y) - m.usual) / np.maximum(moments.weight, 1.0)
        here, share = newest[-1:], 1 / max(1.0, float(moments.weight.max()))
        pressure = np.where(np.isnan(m.pressure), here, m.pressure + share * np.nan_to_num(here - m.pressure))
        return Air(m.begun + passed * self.bin, zero, zero, rows[-SPAN - 1 :], usual, moments, pressure)


def _efficiency(m: Moments, factors: Array) -> Array:
    """(n,) by how much of the head of air a level falls, 0 to 1; NaN where it is not sure."""
    with np.errstate(invalid="ignore", divide="ignore"):
        xx, yy, xy = m.xx - m.x**2 / m.weight, m.yy - m.y**2 / m.weight, m.xy - m.x * m.y / m.weight
        apart = m.weight / SPAN  # changes that do not overlap
        slope = xy / xx
        error = np.sqrt(np.maximum(yy - slope * xy, 0.0) / (apart - 2) / xx)
        sure = (apart >= ENOUGH) & (error / factors <= SURE)
    return np.where(sure, np.clip(-slope / factors, 0.0, 1.0), math.nan)


class Block(NamedTuple):
    """A stretch in which the level tells the inflow."""

    begun: float  # s, NaN where none is under way
    last: float  # s, of its last sample
    first: Array  # (n,) m, NaN before any
    number: Array  # (n,) samples; and sums over them, t in s since it began, h in m above the first, as if no pump ran:
    t: Array
    tt: Array
    h: Array
    th: Array
    hh: Array
    taken: float  # m3 that pumps took since it began
    flow: float  # m3/h that they take


class Filling(NamedTuple):
    """What `Inflow` carries."""

    stood: float  # s, since when the pumps stand, NaN while they do not
    block: Block
    inflow: Array  # (n,) m3/h, the last that was told, NaN before any
    at: Array  # (n,) s, when
    usual: Array  # (n,) m3/h
    seen: Array  # (n,) s of blocks that taught it
    run: Block  # the stretch in which pumps run, or nobody knows whether they do; what they take counts as nothing


def block(n: int, begun: float = math.nan) -> Block:
    """A block without samples."""
    zero = np.zeros(n)
    return Block(begun, begun, np.full(n, math.nan), zero, zero, zero, zero, zero, zero, 0.0, 0.0)


class Inflow(Detector, tag="inflow", frozen=True, kw_only=True):
    """What runs into a sump, and by how much that is more than usual.

    In:      value (n,), levels in m, cm or mm of sumps with one area; beside it the pumps that empty them.
    Out:     per level `<key>.inflow` in m3/h, and `<key>.inflow_over`, % above what is usual, NaN until a day was seen.
             It is reckoned while the pumps stand; told after `window`, when they start if its error is below 10 %, or
             as soon as that is below 5 %. While they run it holds, or is at least what makes the level rise against
             them, where that is more. GOOD; NaN where for four windows nothing could be said.
    Memory:  sums over two blocks, and what is usual, forgotten over `memory`. A restart goes on.
    Weak at: pumps that never stand and tell no `flow`: what they still hold is not seen; a sump whose walls slope,
             where `area` is not even.
    Source:  balance of volume; limits of 30 % (mine, district) and 50 % (one outlet): practice after the rules on mine
             water prevention 2018, verify; the numbers here are the project's.
    """

    looks_beside: ClassVar[bool] = True
    area: Annotated[float, Meta(gt=0)]  # m2, of the water's surface
    pump: tuple[str, ...] = ()  # `source/key`: above 0.5 it runs
    flow: tuple[str, ...] = ()  # `source/key` in a unit of flow: what pumps take; with it, running pumps hide nothing
    settle: Annotated[float, Meta(ge=0)] = 60.0  # s after a pump stops until the level is calm
    window: Annotated[float, Meta(gt=0)] = HOUR  # s of a block
    memory: Annotated[float, Meta(gt=0)] = 30 * DAY  # s

    def __post_init__(self) -> None:
        if self.pump and self.flow:
            raise ValueError("give `pump` or `flow`: a known flow makes the state of the pumps needless")

    @property
    def witnessed(self) -> list[str]:
        return [*self.beside, *self.pump, *self.flow]

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        self._metres(seen)
        self._hourly(seen)
        keys = seen.key[: len(seen) - witnesses(seen)]
        return [(f"{key}.inflow", "m3/h") for key in keys] + [(f"{key}.inflow_over", "%") for key in keys]

    def start(self, seen: Layout) -> Filling:
        n = len(seen) - witnesses(seen)
        nan = np.full(n, math.nan)
        return Filling(math.nan, block(n), nan, nan, nan, np.zeros(n), block(n))

    def step(self, memory: Filling, seen: Frame) -> tuple[Filling, Array, Array]:
        now, m, n = seen.at.mono, memory, len(seen.layout) - witnesses(seen.layout)
        good = np.isfinite(seen.value) & (seen.quality <= OVER_RANGE) & (seen.age <= seen.layout.stale)
        stands = bool(good[n:].all()) and (bool(self.flow) or not (seen.value[n:] > 0.5).any())
        if not stands:
            m = self._pressed(self._ended(m, math.nan)._replace(stood=math.nan), seen, good, now)
        elif math.isnan(m.stood):
            m = m._replace(stood=now, run=block(n))
        if stands and now - m.stood >= (0.0 if self.flow else self.settle):
            on = now - m.block.last <= seen.layout.stale.max()  # else: what pumps did meanwhile nobody knows
            m = m._replace(block=self._with(m.block if on else block(n, now), seen, good, now))
            if now - m.block.begun >= self.window * 0.999:
                m = self._ended(m, now)
            else:
                rate, error = self._rate(m.block)
                clear = (m.block.number >= MANY) & (error <= CLEAR * np.abs(rate))
                m = m._replace(inflow=np.where(clear, rate, m.inflow), at=np.where(clear, now, m.at))
        with np.errstate(invalid="ignore", divide="ignore"):
            inflow = np.where(now - m.at <= 4 * self.window, m.inflow, math.nan)
            over = np.where((m.seen >= DAY) & (m.usual > 0), 100 * (inflow / m.usual - 1), math.nan)
        return m, np.concatenate([inflow, over]), np.zeros(2 * n, np.uint8)

    def moved(self, memory: Filling, seconds: float) -> Filling:
        stands, runs = (b._replace(begun=b.begun + seconds, last=b.last + seconds) for b in (memory.block, memory.run))
        return memory._replace(stood=memory.stood + seconds, block=stands, at=memory.at + seconds, run=runs)

    def _metres(self, seen: Layout) -> Array:
        """(n,) m by unit of each level. Raises `ValueError`."""
        units = seen.unit[: len(seen) - witnesses(seen)]
        return _each(units, "m")

    def _hourly(self, seen: Layout) -> Array:
        """(w,) m3/h by unit of each flow, 0 of a state. Raises `ValueError`."""
        units = seen.unit[len(seen) - witnesses(seen) :]
        return _each(units, "m3/h") if self.flow else np.zeros(len(units))

    def _with(self, b: Block, seen: Frame, good: Array, now: float) -> Block:
        """With one more sample."""
        n = len(b.number)
        level, fit = seen.value[:n] * self._metres(seen.layout), good[:n]
        flow = float(np.where(good[n:], seen.value[n:], 0.0) @ self._hourly(seen.layout))
        taken = b.taken + (b.flow + flow) / 2 * (now - b.last) / HOUR
        level = level + taken / self.area
        first = np.where(np.isnan(b.first) & fit, level, b.first)
        t, h = fit * (now - b.begun), np.where(fit, level - first, 0.0)
        sums = (b.number + fit, b.t + t, b.tt + t * t, b.h + h, b.th + t * h, b.hh + h * h)
        return Block(b.begun, now, first, *sums, taken, flow)

    def _rate(self, b: Block) -> tuple[Array, Array]:
        """(n,) m3/h by least squares over the block, and its standard error; NaN where too little was seen."""
        with np.errstate(invalid="ignore", divide="ignore"):
            tt, th, hh = b.tt - b.t**2 / b.number, b.th - b.t * b.h / b.number, b.hh - b.h**2 / b.number
            rate = th / tt
            error = np.sqrt(np.maximum(hh - rate * th, 0.0) / (b.number - 2) / tt)
        rate, error = np.where(b.number >= FEWEST, [rate, error], math.nan) * self.area * HOUR
        return rate, error

    def _pressed(self, m: Filling, seen: Frame, good: Array, now: float) -> Filling:
        """While pumps run, or nobody knows: they take and never give, so no less comes in than makes the level rise."""
        fits = now - m.run.begun < self.window and now - m.run.last <= seen.layout.stale.max()
        run = self._with(m.run if fits else block(len(m.usual), now), seen, good, now)
        least, error = self._rate(run)
        known = np.where(now - m.at <= 4 * self.window, m.inflow, m.usual)
        more = (run.number >= MANY) & (error <= CLEAR * least) & (least - PLAIN * error > known)
        return m._replace(run=run, inflow=np.where(more, least, m.inflow), at=np.where(more, now, m.at))

    def _ended(self, m: Filling, now: float) -> Filling:
        """The block's inflow is told if it is sure enough, and teaches; the next begins, where `now` is known."""
        rate, error = self._rate(m.block)
        known, lasted = np.isfinite(rate), np.nan_to_num(m.block.last - m.block.begun)
        with np.errstate(divide="ignore"):
            # of few samples nobody knows the error well: Student's, at one in a thousand
            doubt = error * (1 + 7 / np.maximum(m.block.number - 2, 0))
        told = known & ((doubt <= ROUGH * np.abs(rate)) | (not math.isnan(now)))
        seen = m.seen + known * lasted
        share = known * lasted / np.maximum(np.minimum(seen, self.memory), 1e-9)
        most = np.where(m.seen >= DAY, JUMP * np.abs(m.usual), np.inf)
        nearer = m.usual + share * np.clip(np.nan_to_num(rate - m.usual), -most, most)
        return Filling(
            m.stood,
            block(len(rate), now),
            inflow=np.where(told, rate, m.inflow),
            at=np.where(told, m.block.last, m.at),
            usual=np.where(np.isnan(m.usual), rate, nearer),
            seen=seen,
            run=m.run,
        )
