"""A slope that moves: how fast, whether it accelerates, and when it would fail.

A slope that fails by creep speeds up in a way of its own (Fukuzono 1985, Voight 1988): dv/dt = A v^alpha, alpha about
2, so that 1/v falls on a line whose zero is the failure. Many other things speed up too: rain lifts the water, the
slope surges and comes to rest. And a line through 1/v that begins before the onset comes out early, for its first
points belong to the creep before. So no line is laid through 1/v here. The curve of the displacement is held against a
grid of *stories*, each of which says how the velocity rose above a steady creep from some onset on:

    failure   ((end - onset) / (end - t))^p - 1, p = 1 / (alpha - 1), for alphas, onsets and ends on a grid
    step      a constant more
    ramp      more and more, evenly: a failure with no end in sight
    bell      what rain does: fast up, slowly down
    wave      evenly up and down, its top passed or still to come; before that it rises exponentially

In each, place, creep and size are fitted by least squares, and what is left over weighs it. Half of the weight is
beforehand with the stories that end well; among failures every moment of a life is as likely as any other, and every
order of length of a life. Residuals stick together, so they count as fewer than they are, and no story is true to the
last millimetre. An end is told when failures have nearly all the weight, and successive forecasts agree.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, NamedTuple

import numpy as np
from msgspec import Meta

from agent.core.frame import OVER_RANGE, Array, Frame, Layout
from agent.core.ports import Detector

from .reach import FEWEST, SURE, Line, Mean, ended, line, mean_of, taken

HOUR, DAY = 3600.0, 86400.0  # s
POINTS = 120  # means in the long window
GROUPS = 30  # of means, through which the long line goes
FEW, RECENT = 8, 40  # means in the short and the long window at least, where an instrument is slow
# what counts as a jump, and as what came of it
JUMP = 8.0  # usual steps
LEARN = 12  # steps before one can be called usual
MEMORY = 60  # steps over which the usual one is remembered
CUT = 3.0  # usual steps: more than that of one step is not learnt
STAYS = 0.25  # of a jump: what moves less after it stays there
PATIENCE = 4.0  # usual pauses: what has not changed for so long stays there
# acceleration
FASTER = 2.0  # times the long velocity
HELD, MOST_HELD = 6, 9  # means for which it must be so, half a short window; and that are remembered
# the stories
ALPHAS = np.array([1.4, 1.6, 1.8, 2.0, 2.2, 2.4])
LIKELY = np.exp(-0.5 * ((ALPHAS - 1.9) / 0.3) ** 2)  # each of them; measured slopes lie from 1.5 to 2.2
ENDS, ONSETS = 40, 20  # on the grid
FAILURES = len(ALPHAS) * ENDS * ONSETS
BELLS = (0.2, 0.35, 0.6, 1.0, 1.8)  # their top, of the time since the onset
TOPS = (-2.0, -1.0, 0.0, 1.0, 2.0, 4.0)  # of waves, in their widths from now
FARTHEST = 4.0  # long windows until the last end on the grid
APART = 50.0  # no more residuals than that are independent of one another
MISFIT = 0.05  # of what the displacement does: no story is truer than that
FOR_SURE = 0.95  # weight of all failures
TAIL = 0.05  # of the weight outside of the interval at either side
NARROW = 20.0  # latest by soonest
WIDER = 1.5  # times the interval, in its logarithm: those that are told are those that seem sure, and these err more
LAST = 3  # forecasts whose median is told; and that must agree
AGREE = 0.2  # of the remaining time, or one mean: by so much they may differ


class Steps(NamedTuple):
    """What is a step of an instrument, and what a jump. NaN before anything was seen."""

    value: Array  # (n,) last believed
    at: Array  # (n,) s, when it came
    usual: Array  # (n,) usual size of a step
    pause: Array  # (n,) s, usual time between two
    seen: Array  # (n,) steps
    doubted: Array  # (n,) a value after a jump, that waits for the next; NaN where none does
    reset: Array  # (n,) sum of the jumps that stayed and were taken out


class Memory(NamedTuple):
    steps: Steps
    last: float  # s, of the last frame, NaN before any
    under: Mean
    at: Array  # (POINTS,) s, of the last means, NaN before any
    mean: Array  # (POINTS, n) NaN where none
    short: Line  # through the last of them
    long: Line  # through all
    held: Array  # (n,) for how many means it has been accelerating
    found: Array  # (LAST, 3, n) s, soonest, middle, latest of the last forecasts, newest last; NaN where there was none
    ends: Array  # (LAST, n) s, the last medians of the middle
    read: float  # s, of the last mean


class Slope(Detector, tag="slope", frozen=True, kw_only=True):
    """Velocity, acceleration and time of failure of what creeps.

    In:      value (n,), displacements (or tilts, strains) of one unit, at any steps.
    Out:     per channel, in unit/d: `<key>.velocity` over the short window, 0 where it is less than `<key>.noise`, the
             least that can be told (3 errors); `<key>.ratio`, the short by the long velocity or its noise;
             `<key>.onset`, 1 while it accelerates; in h from now `<key>.fails_in` with `<key>.fails_in_low`, the
             soonest, and `<key>.fails_in_high` (90 %), NaN as long as there is no sure forecast; `<key>.reset`, the
             sum of jumps taken for an instrument set to nought again, in the unit. GOOD.
    Memory:  120 means a channel. A restart goes on.
    Weak at: a true slip at one stroke: it looks like an instrument that was set anew (`reset` shows it); brittle rock
             that fails without creep; windows far from the pace of the slope. A forecast never lowers a level that a
             limit has set.
    Source:  Fukuzono 1985; Voight 1988; Carla et al. 2017 (no forecast before the onset); slopes after Theil 1950 and
             Sen 1968; the numbers are the project's, from simulated slopes.
    """

    short: Annotated[float, Meta(gt=0)] = 3 * DAY  # s; or 8 means
    long: Annotated[float, Meta(gt=0)] = 30 * DAY  # s; or 40 means; each goes over a 120th of it, or is one sample

    def __post_init__(self) -> None:
        if not 3 * self.short <= self.long <= POINTS / FEWEST * self.short:
            raise ValueError(f"long must be 3 to {POINTS // FEWEST} times short, is {self.long / self.short:g} times")

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        if len(set(seen.unit)) > 1:
            units = ", ".join(f"{key} in {unit or 'no unit'}" for key, unit in zip(seen.key, seen.unit, strict=True))
            raise ValueError(f"slope `{self.name}`: channels of one unit; here: {units}")
        unit = seen.unit[0]
        given = {"velocity": f"{unit}/d", "noise": f"{unit}/d", "ratio": "", "onset": ""}
        given |= {"fails_in": "h", "fails_in_low": "h", "fails_in_high": "h", "reset": unit}
        return [(f"{key}.{name}", unit) for name, unit in given.items() for key in seen.key]

    def start(self, seen: Layout) -> Memory:
        n = len(seen)
        nan, zero = np.full(n, math.nan), np.zeros(n)
        none = Line(nan, nan, nan, nan)
        steps = Steps(nan, nan, nan, nan, zero, nan, zero)
        at, mean = np.full(POINTS, math.nan), np.full((POINTS, n), math.nan)
        found, ends = np.full((LAST, 3, n), math.nan), np.full((LAST, n), math.nan)
        return Memory(steps, math.nan, mean_of(n), at, mean, none, none, zero, found, ends, 0.0)

    def step(self, memory: Memory, seen: Frame) -> tuple[Memory, Array, Array]:
        now, m = seen.at.mono, memory
        good = np.isfinite(seen.value) & (seen.quality <= OVER_RANGE)
        steps, value = stepped(m.steps, now, np.where(good, seen.value, math.nan))
        until = now + (now - m.last)  # when the next frame is due
        m = m._replace(steps=steps, last=now, under=taken(m.under, now, value, np.isfinite(value)))
        if until - m.under.begun >= self.long / POINTS * 0.999:
            m = self._read(m, now)
        columns = self._told(m, now)
        return m, columns, np.zeros(len(columns), np.uint8)

    def moved(self, memory: Memory, seconds: float) -> Memory:
        m = memory
        return m._replace(
            steps=m.steps._replace(at=m.steps.at + seconds),
            last=m.last + seconds,
            under=m.under._replace(begun=m.under.begun + seconds),
            at=m.at + seconds,
            found=m.found + seconds,
            ends=m.ends + seconds,
            read=m.read + seconds,
        )

    def _read(self, m: Memory, now: float) -> Memory:
        """With one more mean, and all that follows from it."""
        when, mean = ended(m.under)
        at, means = np.append(m.at[1:], when), np.vstack([m.mean[1:], mean])
        ago, place = now - at, np.arange(POINTS)
        means[(ago > 1.05 * self.long) & ((place < POINTS - RECENT) | (ago > 4 * self.long))] = math.nan
        lately = (ago <= 1.05 * self.short) | (place >= POINTS - FEW) & (ago <= 4 * self.short)
        short, long = line(at[lately] - now, means[lately]), line(*grouped(at - now, means))
        held = held_on(m.held, short, long)
        newest = np.full((3, len(mean)), math.nan)
        for alike in alikes(np.isfinite(means), np.flatnonzero(held >= HELD)):
            known = np.isfinite(means[:, alike[0]])
            curve = means[known][:, alike] * np.sign(short.rate[alike])
            newest[:, alike] = now + forecast(at[known] - now, curve, FARTHEST * self.long)
        found = np.concatenate([m.found[1:], newest[None]])
        ends = np.vstack([m.ends[1:], np.median(found[:, 1], axis=0)])
        return Memory(m.steps, now, mean_of(len(mean)), at, means, short, long, held, found, ends, now)

    def _told(self, m: Memory, now: float) -> Array:
        """The columns."""
        lost = now - m.read > 4 * self.short  # nothing came
        rate, error = np.where(lost, math.nan, m.short.rate), SURE * m.short.error
        velocity = np.where(np.abs(rate) < error, 0.0, rate)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.abs(velocity) / np.maximum(np.abs(m.long.rate), SURE * m.long.error)
        onset = np.where(np.isnan(rate), math.nan, m.held >= HELD)
        median = np.median(m.found, axis=0)  # soonest, middle, latest
        near = np.maximum(AGREE * (median[1] - m.read), m.at[-1] - m.at[-2])
        sure = (onset == 1.0) & (np.ptp(m.ends, axis=0) <= near)
        fails = np.where(sure, np.maximum(median[[1, 0, 2]] - now, 0.0) / HOUR, math.nan)
        return np.concatenate([velocity * DAY, error * DAY, ratio, onset, *fails, m.steps.reset])


def stepped(s: Steps, now: float, value: Array) -> tuple[Steps, Array]:
    """With a value (n,), NaN where none came; and what is believed of it, resets taken out.

    A step far beyond the usual is doubted until the next change: if that is back it was a spike, if it stays there the
    instrument was set anew, if it goes on the ground moves. A register that holds its value between two measurements
    does not stay: it says nothing new.
    """
    value = value - s.reset
    known = np.isfinite(value)
    with np.errstate(invalid="ignore"):
        size, pauses = np.abs(value - s.value), np.maximum((now - s.at) / s.pause, 1.0)
        far = known & (s.seen >= LEARN) & (size > JUMP * s.usual * pauses)
        jump, after = s.doubted - s.value, value - s.doubted
        ripe = far & np.isfinite(s.doubted) & ((after != 0) | (now - s.at > PATIENCE * s.pause))
        stays = ripe & (np.abs(after) <= STAYS * np.abs(jump))
        moves = ripe & ~stays & (after * jump > 0)
    doubted = far & ~stays & ~moves
    value = np.where(stays, value - jump, value)
    believed = np.where(known & ~doubted, value, math.nan)
    first = known & np.isnan(s.value)
    changed = known & ~doubted & ~stays & ~first & (size > 0)
    with np.errstate(invalid="ignore"):
        step = np.where(moves | (s.seen < LEARN), size / pauses, np.minimum(size / pauses, CUT * s.usual))
        pause = np.where(s.seen < LEARN, now - s.at, np.minimum(now - s.at, CUT * s.pause))
    share = 1.0 / np.minimum(s.seen + 1.0, MEMORY)
    return Steps(
        value=np.where(changed | stays | first, believed, s.value),
        at=np.where(changed | stays | first, now, s.at),
        usual=np.where(changed, _nearer(s.usual, step, np.where(moves, 1.0, share)), s.usual),
        pause=np.where(changed, _nearer(s.pause, pause, share), s.pause),
        seen=s.seen + changed,
        doubted=np.where(doubted, value, np.where(known, math.nan, s.doubted)),
        reset=s.reset + np.where(stays, jump, 0.0),
    ), believed


def _nearer(mean: Array, value: Array, share: Array) -> Array:
    """A running mean; the first value is the first mean."""
    nearer: Array = np.where(np.isnan(mean), value, mean + share * (value - mean))
    return nearer


def grouped(at: Array, value: Array) -> tuple[Array, Array]:
    """Means of neighbours, GROUPS of them: at (k,), value (k, n) to (GROUPS,), (GROUPS, n); NaN where none is known."""
    value = value.reshape(GROUPS, -1, value.shape[1])
    known = np.isfinite(value)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, value, 0.0).sum(1) / known.sum(1)
    return at.reshape(GROUPS, -1).mean(1), mean


def held_on(held: Array, short: Line, long: Line) -> Array:
    """(n,) for how many means it has been accelerating, with this one; two are lost for each that does not show it."""
    sign = np.sign(short.rate)
    sure = SURE * np.hypot(short.error, long.error)
    with np.errstate(invalid="ignore"):
        faster = sign * (short.rate - long.rate) > sure
        faster &= np.abs(short.rate) > np.maximum(FASTER * sign * long.rate, SURE * short.error)
    held = held + np.where(faster, 1, -2)
    return np.clip(held, 0.0, MOST_HELD)


def alikes(known: Array, picked: Array) -> list[Array]:
    """The picked columns, those together that are known (k, n) at the same times."""
    groups: dict[bytes, list[int]] = {}
    for i in picked:
        groups.setdefault(known[:, i].tobytes(), []).append(int(i))
    return [np.array(group) for group in groups.values()]


def stories(at: Array, finest: float, farthest: float) -> tuple[Array, Array, Array]:
    """(k, g) the displacement beyond creep that each of g stories draws, the failures first: by alpha, end, onset.

    And (ENDS,) s from now to each end, (ONSETS,) s since each onset. at: (k,) s, up to now, which is 0.

    >>> drawn, end, onset = stories(np.arange(-20.0, 1.0), 1.0, 100.0)
    >>> drawn.shape, float(end[0]), float(end[-1]), float(onset[0]), float(onset[-1])
    ((21, 5060), 0.5, 100.0, 4.0, 20.0)
    """
    end = np.geomspace(finest / 2, farthest, ENDS)
    onset = np.geomspace(4 * finest, max(-at[0], 5 * finest), ONSETS)
    since = np.maximum(at[:, None] + onset, 0.0)  # (k, o)
    life = end[:, None] + onset  # (e, o)
    rest = np.log1p(-since[:, None, :] / life)  # (k, e, o)
    drawn = []
    for alpha in ALPHAS:
        p = 1 / (alpha - 1)
        path = -rest if p == 1 else np.expm1((1 - p) * rest) / (p - 1)
        drawn.append((life * path - since[:, None, :]).reshape(len(at), -1))
    drawn += [since, since**2]
    for top in BELLS:
        x = since / (top * onset)
        drawn.append(1 - (1 + x) * np.exp(-x))
    wide = np.geomspace(2 * finest, max(-at[0] / 2, 3 * finest), ONSETS)
    drawn += [1 / (1 + np.exp(np.clip(top - at[:, None] / wide, -50.0, 50.0))) for top in TOPS]
    return np.hstack(drawn), end, onset


def forecast(at: Array, curve: Array, farthest: float) -> Array:
    """(3, n) s from now until it fails: soonest, middle, latest (90 %); NaN where that is not sure.

    at: (k,) s, up to now, which is 0; curve: (k, n) displacements that grow, none unknown.
    """
    n = curve.shape[1]
    creep, drawn, end, onset = _shapes(at.tobytes(), farthest)
    weight = weighed(creep, drawn, curve)
    likely, life = LIKELY / LIKELY.sum(), end[:, None] + onset
    prior = end[:, None] * onset / life**2  # any moment of a life, any order of its length
    prior /= prior.sum()
    failing = weight[:FAILURES].reshape(len(ALPHAS), ENDS, ONSETS, n)
    by_end = np.einsum("a,eo,aeon->en", likely, prior, failing)
    share = np.cumsum(by_end, 0) / (by_end.sum(0) + weight[FAILURES:].mean(0))  # what ends well is later than all
    half = 0.5 * math.log(end[1] / end[0])
    border = np.append(np.log(end) - half, np.log(end[-1]) + half)
    asked = (TAIL, 0.5, 1 - TAIL)
    found = np.exp([[np.interp(q, np.append(0.0, one), border) for one in share.T] for q in asked])
    sure = (share[-1] >= FOR_SURE) & (found[2] <= NARROW * found[0])
    return np.where(sure, found[1] * (found / found[1]) ** WIDER, math.nan)


@lru_cache(maxsize=1)  # of a point that is read by a regular clock they are the same each time
def _shapes(at: bytes, farthest: float) -> tuple[Array, Array, Array, Array]:
    """(k, 2) place and steady creep, (k, g) the stories without these, each of length 1; their ends and onsets."""
    times = np.frombuffer(at)
    drawn, end, onset = stories(times, float(np.median(np.diff(times))), farthest)
    creep, _ = np.linalg.qr(np.stack([np.ones(len(times)), times], 1))
    drawn -= creep @ (creep.T @ drawn)
    return creep, drawn / np.sqrt((drawn**2).sum(0) + 1e-300), end, onset


def weighed(creep: Array, drawn: Array, curve: Array) -> Array:
    """(g, n) the likelihood of each of `_shapes` for each curve (k, n), that of the best being 1."""
    k, n = curve.shape
    rest = curve - creep @ (creep.T @ curve)
    size = np.maximum(drawn.T @ rest, 0.0)  # (g, n); it grows
    whole = (rest**2).sum(0) + 1e-300
    error = np.maximum(whole - size**2, 0.0) + MISFIT**2 * whole
    best = error.argmin(0)
    over = rest - drawn[:, best] * size[best, np.arange(n)]
    alike = np.clip((over[1:] * over[:-1]).sum(0) / error.min(0), 0.0, 0.95)
    apart = np.clip(k * (1 - alike) / (1 + alike) - 4, 1.0, APART)
    likelihood: Array = (error / error.min(0)) ** (-0.5 * apart)
    return likelihood
