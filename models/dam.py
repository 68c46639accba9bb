"""A tailings pond and its dam: freeboard and beach from the level, rain over hours, and what follows what.

`Dam` reckons what a level means for the dam, and holds it against a second instrument. `Rain` sums what a gauge has
seen over 12, 24 and 72 h, as the warning levels of GB 51108 ask. `Lag` says how many hours after its cause a channel
moves: the pond after the rain, the phreatic line after the pond. A lag that shortens is water that finds a shorter way.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from msgspec import Meta

from agent.core.exposure import COVERED, GAP, Window, added, later, reach, window
from agent.core.frame import GOOD, OVER_RANGE, UNCERTAIN, Array, Frame, Layout
from agent.core.ports import Detector, witnesses

HOUR = 3600.0  # s
SUMS = (12, 24, 72)  # h
SURE = 3.0  # errors of a correlation of nought, below which no lag is told
ENOUGH = 10.0  # independent changes before a correlation is told


class Dam(Detector, tag="dam", frozen=True, kw_only=True):
    """Freeboard, and the beach that a pond leaves.

    In:      value (n,), pond levels, in the unit of `crest`; beside it, where `measured` names one, a measured beach.
    Out:     per level `<key>.freeboard` = crest - level, and `<key>.beach` = freeboard / slope, 0 where there is none,
             in the level's unit, as good as the level; with `measured`, `<key>.disagreement` between both in % of the
             reckoned one, as good as the worse of the two.
    Memory:  none.
    Weak at: a beach whose slope is not even, or changes with each discharge: survey it anew.
    Source:  GB 39496-2020 5.5.2, GB 50863-2013; a disagreement over 20 % is to be looked at (project).
    """

    looks_beside: ClassVar[bool] = True
    crest: float  # elevation, in the level's unit
    beach_slope: Annotated[float, Meta(gt=0, le=1)]  # fall by length, 0.01 = 1 %
    measured: str = ""  # `source/key` of a beach length by camera or laser; none: nothing to disagree with

    @property
    def witnessed(self) -> list[str]:
        return [*self.beside, *([self.measured] if self.measured else [])]

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        n = len(seen) - witnesses(seen)
        if self.measured and witnesses(seen) != 1:
            raise ValueError(f"dam `{self.name}`: measured must name one channel that is no level")
        given = ["freeboard", "beach", *(["disagreement"] if self.measured else [])]
        units = {"disagreement": "%"}
        return [(f"{k}.{g}", units.get(g, u)) for g in given for k, u in zip(seen.key[:n], seen.unit[:n], strict=True)]

    def start(self, seen: Layout) -> None:
        return None

    def step(self, memory: None, seen: Frame) -> tuple[None, Array, Array]:
        n = len(seen.layout) - witnesses(seen.layout)
        freeboard, quality = self.crest - seen.value[:n], seen.quality[:n]
        beach = np.maximum(freeboard, 0.0) / self.beach_slope
        if not self.measured:
            return None, np.concatenate([freeboard, beach]), np.concatenate([quality, quality])
        other, worst = seen.value[n], np.maximum(quality, seen.quality[n])
        fresh = seen.age[n] <= seen.layout.stale[n]
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = np.where(fresh & (beach > 0), 100.0 * np.abs(other - beach) / beach, math.nan)
        return None, np.concatenate([freeboard, beach, apart]), np.concatenate([quality, quality, worst])


class Fallen(NamedTuple):
    """What `Rain` carries. The windows hold rain (mm) and covered time (s) as (2, n)."""

    last: Array  # (n,) s, of the last good sample, NaN before the first
    value: Array  # (n,) the last good sample
    sums: tuple[Window, Window, Window]


class Rain(Detector, tag="rain", frozen=True, kw_only=True):
    """Rain of the last 12, 24 and 72 hours.

    In:      value (n,), gauges: a count that grows and begins anew now and then, or an intensity by hour.
    Out:     `<key>.sum12`, `<key>.sum24`, `<key>.sum72`, in mm as the gauge says it. As long as less than 75 % of its
             time was seen a sum is UNCERTAIN: it may raise an alarm and clears none.
    Memory:  sums of 60 bins for each window. What a restart takes, a count makes up for and an intensity does not.
    Weak at: a count that begins anew during a gap: what fell before is lost. Snow.
    Source:  GB 51108-2015 8.3 for the windows; limits in `configs/profiles/tailings.toml`.
    """

    gauge: Literal["count", "intensity"] = "count"  # what the channel is: a sum since some time, or mm/h

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        units = [u.removesuffix("/h") if self.gauge == "intensity" else u for u in seen.unit]
        return [(f"{k}.sum{hours}", u) for hours in SUMS for k, u in zip(seen.key, units, strict=True)]

    def start(self, seen: Layout) -> Fallen:
        n, nan = len(seen), np.full(len(seen), math.nan)
        return Fallen(nan, nan, (window((2, n)), window((2, n)), window((2, n))))

    def step(self, memory: Fallen, seen: Frame) -> tuple[Fallen, Array, Array]:
        now, value = seen.at.mono, seen.value
        good = np.isfinite(value) & (seen.quality <= OVER_RANGE)
        since = np.where(good & np.isfinite(memory.last), now - memory.last, 0.0)
        if self.gauge == "intensity":
            since = np.where(since <= GAP, since, 0.0)
            rain = np.where(since > 0, (value + memory.value) / 2 * since / HOUR, 0.0)
        else:  # a little less is a count that trembles, much less one that began anew
            grown = np.where(value < 0.5 * memory.value, value, value - memory.value)
            rain = np.where(since > 0, np.maximum(grown, 0.0), 0.0)
        amount = np.stack([rain, since])
        short, day, long = memory.sums
        spans = [hours * HOUR for hours in SUMS]
        sums = (
            added(short, spans[0], now, amount, since),
            added(day, spans[1], now, amount, since),
            added(long, spans[2], now, amount, since),
        )
        memory = Fallen(np.where(good, now, memory.last), np.where(good, value, memory.value), sums)
        ever = np.isfinite(memory.last)
        enough = [one.total[1] >= COVERED * reach(one, span, now) for one, span in zip(sums, spans, strict=True)]
        told = np.concatenate([np.where(ever, one.total[0], math.nan) for one in sums])
        return memory, told, np.where(np.concatenate(enough), GOOD, UNCERTAIN).astype(np.uint8)

    def moved(self, memory: Fallen, seconds: float) -> Fallen:
        short, day, long = (later(one, seconds) for one in memory.sums)
        return Fallen(memory.last + seconds, memory.value, (short, day, long))


class Moments(NamedTuple):
    """Sums over pairs of changes, slowly forgotten: cause x at l lags, effect y of n channels."""

    weight: Array  # (l, n)
    x: Array
    y: Array
    xx: Array
    yy: Array
    xy: Array


class Followed(NamedTuple):
    """What `Lag` carries."""

    begun: float  # s, of the bin under way, NaN before any
    total: Array  # (1 + n,) of the values in it, the cause first
    usable: Array  # (1 + n,) how many
    cause: Array  # (l + span,) means of the last bins, newest last, NaN where unknown
    effect: Array  # (1 + span, n)
    moments: Moments


class Lag(Detector, tag="lag", frozen=True, kw_only=True):
    """How long after its cause a channel moves, and how closely it follows.

    In:      value (n,); beside it `cause`: one channel, a level or a count that grows (a rain gauge).
    Out:     `<key>.lag` in h, where the changes over `span` go best together, NaN where they do not more than by
             chance; `<key>.correlation` there, -1 to 1, NaN until ten spans were seen together. GOOD.
    Memory:  means of the last bins, and sums of products for each lag, forgotten over `memory`. A restart goes on.
    Weak at: causes that come in a rhythm shorter than `most`: a day later is as good as today.
    Source:  cross-correlation of changes; errors by the number of spans that do not overlap; project.
    """

    looks_beside: ClassVar[bool] = True
    cause: str  # `source/key`
    bin: Annotated[float, Meta(gt=0)] = HOUR  # s; lags are told in whole bins
    most: Annotated[int, Meta(ge=1, le=500)] = 72  # bins: the longest lag that is looked for
    span: Annotated[int, Meta(ge=1, le=500)] = 12  # bins over which a change is taken
    memory: Annotated[float, Meta(gt=0)] = 60 * 24 * HOUR  # s

    @property
    def witnessed(self) -> list[str]:
        return [*self.beside, self.cause]

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        if witnesses(seen) != 1:
            raise ValueError(f"lag `{self.name}`: cause must name one channel that is not its own effect")
        return [(f"{key}.{what}", unit) for what, unit in (("lag", "h"), ("correlation", "")) for key in seen.key[:-1]]

    def start(self, seen: Layout) -> Followed:
        n, lags = len(seen) - 1, self.most + 1
        zero, none = np.zeros(1 + n), np.zeros((lags, n))
        cause, effect = np.full(lags + self.span, math.nan), np.full((1 + self.span, n), math.nan)
        return Followed(math.nan, zero, zero, cause, effect, Moments(none, none, none, none, none, none))

    def step(self, memory: Followed, seen: Frame) -> tuple[Followed, Array, Array]:
        now, m = seen.at.mono, memory
        if math.isnan(m.begun):
            m = m._replace(begun=now)
        if (passed := int((now - m.begun) / self.bin * 1.000001)) > 0:
            m = self._binned(m, passed)
        good = np.isfinite(seen.value) & (seen.quality <= OVER_RANGE) & (seen.age <= seen.layout.stale)
        value, good = np.roll(np.where(good, seen.value, 0.0), 1), np.roll(good, 1)
        m = m._replace(total=m.total + value, usable=m.usable + good)
        told = self._told(m.moments)
        return m, told, np.zeros(len(told), np.uint8)

    def moved(self, memory: Followed, seconds: float) -> Followed:
        return memory._replace(begun=memory.begun + seconds)

    def _binned(self, m: Followed, passed: int) -> Followed:
        """With the bin that ended, and those after it in which nothing came."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(m.usable > 0, m.total / m.usable, math.nan)
        cause, effect = shifted(m.cause, mean[0]), shifted(m.effect, mean[1:])
        kept = math.exp(-self.bin / self.memory)
        moments = Moments(*(kept * one for one in m.moments))
        x = (cause[self.span :] - cause[: -self.span])[::-1, None]  # the change at each lag, 0 first
        y = (effect[-1] - effect[0])[None]
        both = np.isfinite(x) & np.isfinite(y)
        x, y = np.where(both, x, 0.0), np.where(both, y, 0.0)
        sums = (both.astype(float), x, y, x * x, y * y, x * y)
        moments = Moments(*(one + more for one, more in zip(moments, sums, strict=True)))
        for _ in range(min(passed - 1, len(cause))):
            cause, effect = shifted(cause, math.nan), shifted(effect, math.nan)
        zero = np.zeros_like(m.total)
        return Followed(m.begun + passed * self.bin, zero, zero, cause, effect, moments)

    def _told(self, m: Moments) -> Array:
        """The columns."""
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = (m.xx - m.x**2 / m.weight) * (m.yy - m.y**2 / m.weight)
            together = np.where(spread > 0, (m.xy - m.x * m.y / m.weight) / np.sqrt(spread), math.nan)
        apart = m.weight / self.span  # changes that do not overlap
        together = np.where(apart >= ENOUGH, together, math.nan)
        size = np.where(np.isnan(together), -1.0, np.abs(together))
        best = size.argmax(0)
        here = np.arange(size.shape[1])
        lag = best * self.bin / HOUR
        sure = size[best, here] >= SURE / np.sqrt(np.maximum(apart[best, here], 1.0))
        return np.concatenate([np.where(sure, lag, math.nan), together[best, here]])


def shifted(rows: Array, newest: Array | float) -> Array:
    """Without the oldest row, and with one more.

    >>> shifted(np.array([1.0, 2.0, 3.0]), 4.0).tolist()
    [2.0, 3.0, 4.0]
    """
    after = np.roll(rows, -1, axis=0)
    after[-1] = newest
    return after
