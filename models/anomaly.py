"""What nobody foresaw: each channel against its own past, and the channels of a source against one another.

Five views, each a number that grows with strangeness, each made comparable by `models/tail.py`:

    level     the value, smoothed over three to ten looks, away from where it usually is
    drift     the same away from where it lately was: what moves on all scales counts less
    unrest    it moves more, or less, than it used to
    day       away from what this hour of the day was on other days, and this hour of the week in other weeks where
              that has come closer
    together  the channels do not go with one another as they used to (Hotelling's T2 of their drifts)

A view is told when it is stranger than the budget of false alarms allows (so many s for one, shared by the views of a
channel). Everything is learnt from the stream and forgotten over `MEMORY` looks; while something is told the reference
stands nearly still, and after `stands` s what has come to stay is the new normal.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from msgspec import Meta

from agent.core.frame import OVER_RANGE, Array, Frame, Layout
from agent.core.ports import Detector

from . import strange as shared
from . import tail
from .strange import DAY, STILL, Told, Waits
from .tail import Tail

MEMORY = 1000  # looks over which what is usual is remembered
YOUNG = 20  # looks before outliers are cut
NEAR = 3000.0  # s over which a value is smoothed, where that is neither under three looks nor over ten
QUICK, SLOW = (0.1, 0.3), 0.01  # share of a look in the smoothed value, from and to, and in what it lately was
LATELY = 0.03  # of a look in the lately usual difference
RESIDUAL = 0.05  # of a look in the smoothed residual of the day
BINS, SLOTS = 48, 168  # of a day, of a week
WEEK = 7 * DAY  # s
DAYS = 60  # over which an hour is remembered, in looks of one bin
CLOSER = 0.7  # of the usual distance from the day's profile that the week's must come within
GAP = 5.0  # usual steps; after a longer pause a difference says nothing
HEAVY = 0.22  # mean excess of a peak before any was seen; of T2 of n channels by sqrt(n) less
MANY = 64  # channels; of more only their own variances are known
EVERY = 8  # looks between two inversions of the covariance
SHRINK = 0.05  # of the covariance to its diagonal
VIEWS = ("level", "drift", "day", "unrest")
FAR = 20.0  # usual distances; T2 sees no farther
TINY = 1e-12
SHARED = float(np.log10(len(VIEWS)))  # decades that a view must be rarer: they share one budget


class Hours(NamedTuple):
    """What the hours are like."""

    day: Array  # (BINS, n) an hour of the day
    filled: Array  # (BINS, n) looks
    week: Array  # (SLOTS, n) what an hour of the week has more than that
    slots: Array  # (SLOTS, n) looks
    miss: Array  # (2, n) usual distance from the day's profile, and from both
    both: Array  # (n,) looks that were compared with both


class Usual(NamedTuple):
    """What is usual of n channels."""

    at: Array  # (n,) s, of the last value
    step: float  # s, usual time between looks, NaN before two
    origin: float  # s, the begin of the day of the first look, after the clock that frames bear
    looks: Array  # (n,)
    last: Array  # (n,)
    quantum: Array  # (n,) the least difference ever seen, inf before any
    smooth: Array  # (2, n) the value, smoothed, and over a hundred looks
    level: Array  # (n,) where it usually is
    scale: Array  # (n,) usual distance from there
    noise: Array  # (n,) usual difference of neighbours
    lately: Array  # (n,) the same lately
    size: Array  # (3, n) usual size of what level, drift and day look at
    hours: Hours
    residual: Array  # (n,) smoothed distance from them
    days: Array  # (n,) looks that had something to compare with


class Together(NamedTuple):
    """How the drifts of n channels go with one another."""

    mean: Array  # (n,)
    spread: Array  # (n, n) covariance, or (n,) variances
    inverse: Array  # the same, inverted
    looks: int


class Memory(NamedTuple):
    waits: Waits
    usual: Usual
    together: Together
    tail: Tail  # of the views, row by row, and of T2
    surprise: Array  # (k,) of each of them at the last look
    told: Told
    value: Array  # (c,) the columns


class Anomaly(Detector, tag="anomaly", frozen=True, kw_only=True):
    """How strange each channel is, and all of them together.

    In:      value (n,) of one source, any units, any step; gaps and irregular steps allowed.
    Out:     `<key>.<name>` and, of several channels, `together.<name>`, after the detector's own name: decades by which
             what is seen is rarer than the budget allows; 0 and above while it is told, NaN while it learns. GOOD.
    Memory:  (n,) arrays of fixed size, 4 kB a channel; of up to 64 channels their covariance. A restart goes on.
    Weak at: the first `LEARN` looks; what always was wrong; single outliers (`tamper` has them); what returns often.
    Source:  robust exponential smoothing (Huber); T2: Hotelling 1947; tails: `models/tail.py`; constants: project.
    """

    strange: ClassVar[bool] = True

    budget: Annotated[float, Meta(gt=0)] = 30 * DAY  # s for one false alarm of a channel
    stands: Annotated[float, Meta(gt=0)] = 300.0  # s that it is told, at most
    every: Annotated[float, Meta(ge=0)] = 0.0  # s between two looks, at least

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        more = ["together"] if len(seen) > 1 else []
        return [(f"{key}.{self.name}", "") for key in (*seen.key, *more)]

    def start(self, seen: Layout) -> Memory:
        n = len(seen)
        zero, day, week = np.zeros(n), np.zeros((BINS, n)), np.zeros((SLOTS, n))
        one = np.eye(n) if n <= MANY else np.ones(n)
        usual = Usual(
            at=zero,
            step=np.nan,
            origin=np.nan,
            looks=zero,
            last=zero,
            quantum=np.full(n, np.inf),
            smooth=np.zeros((2, n)),
            level=zero,
            scale=zero,
            noise=zero,
            lately=zero,
            size=np.zeros((3, n)),
            hours=Hours(day, day, week, week, np.zeros((2, n)), zero),
            residual=zero,
            days=zero,
        )
        columns = len(self.columns(seen))
        scores = len(VIEWS) * n + (n > 1)
        return Memory(
            Waits(np.nan, zero, zero),
            usual,
            Together(zero, one, one, 0),
            tail.start(scores),
            np.full(scores, np.nan),
            shared.silent(columns),
            np.full(columns, np.nan),
        )

    def step(self, memory: Memory, seen: Frame) -> tuple[Memory, Array, Array]:
        now, value = seen.at.mono, seen.value
        good = np.isfinite(value) & (seen.quality <= OVER_RANGE)
        waits, due, value, good = shared.wait(memory.waits, value, good, now, self.every)
        memory = memory._replace(waits=waits)
        if due:
            memory = self._looked(memory, value, good, now)
        return memory, memory.value, np.zeros(len(memory.value), np.uint8)

    def _looked(self, memory: Memory, value: Array, good: Array, now: float) -> Memory:
        usual, together, told = memory.usual, memory.together, memory.told
        n = len(value)
        share = np.where(told.on, STILL, 1.0)
        every = float(share.min()) if n > 1 and told.on[n] else 1.0
        shares = np.minimum(share[:n], every)
        with np.errstate(invalid="ignore", divide="ignore"):
            usual, views, able, passed = _look(usual, value, good, now, shares)
            scores, known = views.ravel(), able.ravel()
            passes, learns = np.concatenate([passed] * len(VIEWS)), np.concatenate([shares] * len(VIEWS))
            if n > 1:
                together, t2, sure = _together(together, usual, good, every)
                scores, known = np.append(scores, t2), np.append(known, sure)
                passes, learns = np.append(passes, passed.max()), np.append(learns, every)
            prior, budget = _prior(n), self._budget(usual)
            surprise = tail.look(memory.tail, scores, known, prior, budget)
            strange = np.append(np.fmax.reduce(_by_view(surprise, n)) - SHARED, surprise[len(VIEWS) * n :])
            after = tail.learn(memory.tail, scores, known, passes, prior, budget, learns)
            told, columns = shared.tell(told, strange, now, self.stands)
        return Memory(memory.waits, usual, together, after, surprise, told, columns)

    def _budget(self, usual: Usual) -> float:
        """s for one false alarm of a channel, or of T2."""
        return shared.allowed(self.budget, usual.step)

    def why(self, memory: Memory, seen: Layout, column: int) -> list[tuple[str, dict[str, Any]]]:
        n, u, unit = len(seen), memory.usual, ""
        if column < n:
            row = int(np.argmax(np.nan_to_num(_by_view(memory.surprise, n)[:, column], nan=-np.inf)))
            view, k, share, unit = VIEWS[row], row * n + column, SHARED, seen.unit[column]
            fast, slow = float(u.smooth[0, column]), float(u.smooth[1, column])
            sizes = {
                "level": {"now": fast, "usual": u.level[column], "spread": u.size[0, column]},
                "drift": {"now": fast, "lately": slow, "spread": u.size[1, column]},
                "day": {"now": u.last[column], "off": abs(u.residual[column]), "spread": u.size[2, column]},
                "unrest": {"now": u.lately[column], "usual": u.noise[column]},
            }[view]
            facts: dict[str, Any] = {name: f"{float(size):.4g} {unit}".strip() for name, size in sizes.items()}
        else:
            view, k, share = "together", len(VIEWS) * n, 0.0
            away = np.abs(_drift(u) - memory.together.mean)
            facts = {"most": ", ".join(seen.key[i] for i in np.argsort(-away)[:3])}
        rarity = shared.rarity(memory.tail, k, float(memory.surprise[k]), self._budget(u), share)
        return [(view, facts), *rarity]

    def moved(self, memory: Memory, seconds: float) -> Memory:
        usual = memory.usual._replace(at=memory.usual.at + seconds, origin=memory.usual.origin + seconds)
        told = memory.told._replace(since=memory.told.since + seconds)
        waits = memory.waits._replace(looked=memory.waits.looked + seconds)
        return memory._replace(waits=waits, usual=usual, told=told)


@lru_cache(64)
def _prior(n: int) -> Array:
    """(k,) mean excess of a peak before any was seen, of the views of n channels and of their T2."""
    views = np.full(len(VIEWS) * n, HEAVY)
    return np.append(views, HEAVY / np.sqrt(n)) if n > 1 else views


def _by_view(rows: Array, n: int) -> Array:
    """(views, n) what stands in (k,) rows for the views of each channel."""
    return rows[: len(VIEWS) * n].reshape(len(VIEWS), n)


def _drift(u: Usual) -> Array:
    """(n,) how far each is from where it lately was, in its usual distances."""
    drift: Array = (u.smooth[0] - u.smooth[1]) / np.maximum(u.scale, 1e-9 * np.abs(u.level) + 1e-9)
    return drift


def _look(u: Usual, given: Array, good: Array, now: float, share: Array) -> tuple[Usual, Array, Array, Array]:
    """What is usual with this look; (4, n) log scores of the views and whether each is known; (n,) s that passed."""
    n = len(given)
    x = np.where(good, given, u.last)
    if (first := good & (u.looks == 0)).any():
        u = u._replace(
            at=np.where(first, now, u.at),
            last=np.where(first, x, u.last),
            smooth=np.where(first, x, u.smooth),
            level=np.where(first, x, u.level),
        )
    passed = (now - u.at) * good
    near = good if np.isnan(u.step) else good & (passed <= GAP * u.step * 1.001)
    looks = u.looks + good
    count = np.maximum(looks, 1)
    learn = share * good / np.minimum(count, MEMORY)
    cut = np.where(looks < YOUNG, np.inf, 1.0)
    # differences of neighbours
    change = np.abs(x - u.last)
    differs = near & (change > 1e-9 * (1e-3 + np.abs(x)))
    quantum = np.where(differs, np.minimum(u.quantum, change), u.quantum)
    noise = np.maximum(u.noise, np.where(quantum < np.inf, 0.5 * quantum, 0.0)) + TINY
    scale = np.maximum(np.maximum(u.scale, 0.5 * noise), 1e-9 * np.abs(u.level)) + TINY
    lately = u.lately + LATELY * near * (np.minimum(change, 10 * noise) - u.lately)
    # smoothed values
    quick = QUICK[0] if np.isnan(u.step) else min(max(u.step / NEAR, QUICK[0]), QUICK[1])
    smooth = u.smooth + np.maximum([[quick], [SLOW]], 1 / count) * good * (x - u.smooth)
    # the day and the week
    origin = now - now % DAY if np.isnan(u.origin) else u.origin
    far = 0.75 * np.maximum(u.size[2], np.maximum(0.1 * noise, 0.02 * scale)) * np.where(u.days < YOUNG, np.inf, 4.0)
    hours, off, comparable = _hour(u.hours, x, good, now - origin, share, far)
    residual = u.residual + RESIDUAL * comparable * (off - u.residual)
    days = u.days + comparable
    # how large these usually are
    size = np.empty((3, n))
    size[0], size[1], size[2] = smooth[0] - u.level, smooth[0] - smooth[1], residual
    size = np.abs(size)
    usual = np.maximum(u.size, np.maximum(0.1 * noise, 0.02 * scale))
    score = np.empty((4, n))
    score[:3] = np.log(np.maximum(size / usual, 1e-6))
    score[3] = np.abs(np.log((lately + 0.1 * noise) / (1.1 * noise)))
    learns = np.empty((3, n))
    learns[:2], learns[2] = learn, share * comparable / np.minimum(np.maximum(days, 1), MEMORY)
    cuts = np.empty((3, n))
    cuts[:2], cuts[2] = 4 * cut, np.where(days < YOUNG, np.inf, 4.0)
    away, most = x - u.level, 3 * scale * cut
    after = Usual(
        at=np.where(good, now, u.at),
        step=shared.pace(u.step, float(passed.max())),
        origin=origin,
        looks=looks,
        last=x,
        quantum=quantum,
        smooth=smooth,
        level=u.level + learn * np.minimum(np.maximum(away, -most), most),
        scale=u.scale + learn * (np.minimum(np.abs(away), most) - u.scale),
        noise=u.noise + learn * near * (np.minimum(change, 4 * noise * cut) - u.noise),
        lately=lately,
        size=u.size + learns * (np.minimum(size, usual * cuts) - u.size),
        hours=hours,
        residual=residual,
        days=days,
    )
    known = np.empty((4, n), bool)
    known[:], known[2] = good & (looks >= YOUNG), comparable & (days > BINS)
    return after, score, known, passed


def _hour(h: Hours, x: Array, good: Array, age: float, share: Array, far: Array) -> tuple[Hours, Array, Array]:
    """With this look; (n,) how far it is off what this hour is like; whether there is anything to compare with.

    age: s since the begin of the first day; far: (n,) what a look may teach at most.
    """
    hour, slot = int(age % DAY / DAY * BINS), int(age % WEEK / WEEK * SLOTS)
    was, filled, shift, slots = h.day[hour], h.filled[hour], h.week[slot], h.slots[slot]
    compared = good & (filled >= 3) & (age >= DAY)
    twice = good & (slots >= 3) & (age >= 2 * WEEK)
    off = x - was
    rest = off - shift
    # whether the week helps
    both = h.both + twice
    pace = twice / np.minimum(np.maximum(both, 1), MEMORY)
    most = np.where(both < YOUNG, np.inf, FAR * h.miss[0] + TINY)
    miss = h.miss + pace * (np.minimum(np.abs([off, rest]), most) - h.miss)
    helps = twice & (both > BINS) & (miss[1] < CLOSER * miss[0])
    # what they are like now
    day = _taught(h.day, h.filled, hour, off, good, share, far)
    week = _taught(h.week, h.slots, slot, rest, good, share, far)
    return Hours(*day, *week, miss, both), np.where(helps, rest, off), compared


def _taught(
    bins: Array, looks: Array, i: int, off: Array, good: Array, share: Array, far: Array
) -> tuple[Array, Array]:
    """The bins and their looks with one that is `off` by so much in the i-th."""
    known = looks[i]
    most = np.where(known >= 3, far, np.inf)
    pace = np.where(known > 0, share / np.minimum(known + 1, DAYS), 1.0) * good
    bins, looks = bins.copy(), looks.copy()
    bins[i] += pace * np.minimum(np.maximum(off, -most), most)
    looks[i] += good
    return bins, looks


def _together(t: Together, u: Usual, good: Array, share: float) -> tuple[Together, float, bool]:
    """With this look; log of the square root of T2; whether it is known."""
    able = bool(good.any() and (u.looks >= YOUNG).all())  # before that, nobody knows how far is far
    away = (np.minimum(np.maximum(_drift(u), -FAR), FAR) - t.mean) * good
    t2 = float(away @ t.inverse @ away if t.inverse.ndim == 2 else (away * away) @ t.inverse)
    n = len(away)
    looks = t.looks + able
    old = looks > YOUNG + 2 * n
    most = min(1.0, np.sqrt(4 * n / max(t2, TINY))) if old else 1.0
    learn = share * able / min(max(looks, 1), MEMORY)
    cut = away * most
    square = np.outer(cut, cut) if t.spread.ndim == 2 else cut * cut
    spread = t.spread + learn * (square - t.spread)
    inverse = t.inverse
    if looks % EVERY == 0 or looks < MEMORY // EVERY:
        if spread.ndim == 2:
            shrunk = spread * (1 - SHRINK)
            shrunk.flat[:: n + 1] = spread.flat[:: n + 1] + 1e-6
            inverse = np.linalg.inv(shrunk)
        else:
            inverse = 1 / (spread + 1e-6)
    return Together(t.mean + learn * cut, spread, inverse, looks), 0.5 * float(np.log(max(t2, TINY))), able and old
