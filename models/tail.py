"""How rare a score is: its peaks against the peaks of its own past.

A score (any positive number that grows with strangeness) is judged by its logarithm. What lies above its *bar*, the
level that one sample in ten passes, is an episode; an episode counts once, with its peak. Peaks above the bar are taken
to fall off like a power law (their logarithm exponentially: the tail of Pareto; Pickands 1975, Hill 1975), with the
mean excess that this very score has shown, and a stated one as long as it has shown little. From that and from how
often episodes come follows how often so high a peak is to be expected, and from a budget how high one must be.

Nothing is judged before `LEARN` samples. Until the past is long enough to know what comes once in the time that the
budget allows, the budget is what can be known: one in `REACH` times the time seen so far. False alarms while it learns
then add up to the logarithm of the time, not to the time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agent.core.frame import Array

LEARN = 120  # samples before anything is said
REACH = 10.0  # so many times the time seen can be judged
ABOVE = 0.1  # share of samples above the bar
PRIOR = 5.0  # episodes that the stated mean excess counts for
PATIENCE = 12  # samples below the bar that end an episode
LONG, SLOWER = 100, 0.2  # after so many samples of one episode the bar moves by this share: it is one thing, not many
FORGET = 1 / 300  # of what is known of peaks, at each episode
PACE = 12.0  # of its spread that the bar moves in so many samples as are remembered
MEMORY = 1500  # samples over which the bar is remembered
LN10 = np.log(10.0)


class Tail(NamedTuple):
    """What is remembered of k scores."""

    samples: Array  # (k,) seen
    seconds: Array  # (k,) s seen
    bar: Array  # (k,) log score
    spread: Array  # (k,) usual distance from the bar
    episodes: Array  # (k,) since the start
    excess: Array  # (k,) sum of what peaks had above the bar, slowly forgotten
    weight: Array  # (k,) of how many
    peak: Array  # (k,) above the bar, of the episode under way
    under: Array  # (k,) bool: an episode is under way
    lasts: Array  # (k,) samples since it began
    quiet: Array  # (k,) samples below the bar since


def start(k: int) -> Tail:
    zero = np.zeros(k)
    return Tail(zero, zero, zero, zero + 0.5, zero, zero, zero, zero, np.zeros(k, bool), zero, zero)


def mean_excess(tail: Tail, prior: Array) -> Array:
    """(k,) the usual excess of a peak, `prior` where none was seen."""
    mean: Array = (tail.excess + PRIOR * prior) / (tail.weight + PRIOR)
    return mean


def horizon(tail: Tail, budget: float) -> Array:
    """(k,) s in which one false alarm is allowed: `budget`, or what is known."""
    allowed: Array = np.minimum(budget, REACH * np.maximum(tail.seconds, 1e-9))
    return allowed


def needed(tail: Tail, budget: float) -> Array:
    """(k,) usual excesses by which a peak must pass the bar, so that one is due in the time that `horizon` gives."""
    seen = np.maximum(tail.seconds, 1e-9)
    need: Array = np.log(np.maximum((tail.episodes + 1) / seen * horizon(tail, budget), 1e-9))
    return need


def look(tail: Tail, score: Array, known: Array, prior: Array, budget: float) -> Array:
    """(k,) decades by which such a peak is rarer than the budget allows: above 0 is to be told; NaN cannot say yet.

    score: (k,) its logarithm; known: (k,) bool; prior: (k,) mean excess to begin with; budget: s for one false alarm.
    """
    over = np.maximum(score - tail.bar, 0.0) / mean_excess(tail, prior)
    able = known & (tail.samples >= LEARN)
    surprise: Array = np.where(able, (over - needed(tail, budget)) / LN10, np.nan)
    return surprise


def learn(tail: Tail, score: Array, known: Array, passed: Array, prior: Array, budget: float, share: Array) -> Tail:
    """The tail with this sample. passed: (k,) s since the one before; share: (k,) of it that is to be learnt, 0 to 1.

    A peak counts in full up to what would be told, and no higher: one disaster does not deafen it to the next, and many
    do.
    """
    samples = tail.samples + known
    n = np.minimum(np.maximum(samples, 1), MEMORY)
    pace = (np.where(samples < 30, 3 * np.sqrt(n), PACE) / n) * np.maximum(tail.spread, 0.05) * (share * known)
    up = known & (score > tail.bar)
    pace = np.where(tail.lasts > LONG, SLOWER * pace, pace)
    bar = tail.bar + pace * np.where(up, 1.0, -ABOVE / (1 - ABOVE))
    if (first := known & (samples == 1)).any():
        bar = np.where(first, score, bar)
    over = score - bar
    spread = tail.spread + known * (np.minimum(np.abs(over), 2.0) - tail.spread) / n
    peak = np.where(up, np.maximum(tail.peak * tail.under, over), tail.peak)
    under = tail.under | up
    quiet = (tail.quiet + known) * ~up
    seconds = tail.seconds + passed * known
    ends = under & (quiet >= PATIENCE)
    lasts = (tail.lasts + known) * (under & ~ends)
    after = tail._replace(
        samples=samples,
        seconds=seconds,
        bar=bar,
        spread=spread,
        peak=peak,
        under=under & ~ends,
        lasts=lasts,
        quiet=quiet,
    )
    if not ends.any():
        return after
    most = np.maximum(needed(tail, budget), 2.0) * mean_excess(tail, prior)
    kept = 1 - FORGET * ends
    return after._replace(
        episodes=tail.episodes + ends,
        excess=tail.excess * kept + ends * np.minimum(np.maximum(peak, 0.0), most),
        weight=tail.weight * kept + ends,
    )
