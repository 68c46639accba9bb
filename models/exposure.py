"""What people breathe: means over a shift and over 15 minutes, and the index of a mixture.

Source: GBZ 2.1-2019; TWA = sum(c t) / 8 h, STEL = rolling mean of 15 min, index = sum(c / L).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from agent.core.frame import Array, Instant, Quality
from agent.core.ports import Detector

SHIFT, SHORT = 8 * 3600.0, 900.0  # s
GAP = 900.0  # s; across a longer gap nothing is interpolated, project
COVERED = 0.75  # of a window must have been measured, else "insufficient data", project
BINS = 60  # of each window: 8 min of a shift, 15 s of the short one


class Window(NamedTuple):
    """A rolling sum in `BINS` bins. Times are monotonic."""

    number: int  # of the newest bin, counted from time 0
    dose: Array  # (BINS, n) unit x s, bin k at k % BINS
    covered: Array  # (BINS, n) s


class Memory(NamedTuple):
    """What `Exposure` carries."""

    last: Array  # (n,) s, of the last good sample, NaN before the first
    value: Array  # (n,) the last good sample
    shift: Window
    short: Window


def _empty(n: int) -> Window:
    return Window(0, np.zeros((BINS, n)), np.zeros((BINS, n)))


def _add(window: Window, span: float, now: float, dose: Array, covered: Array) -> Window:
    """Add to the bin of `now`; bins that fell out of the window are emptied."""
    number = int(now * BINS // span)
    doses, covers = window.dose.copy(), window.covered.copy()
    for k in range(max(window.number + 1, number - BINS + 1), number + 1):
        doses[k % BINS], covers[k % BINS] = 0.0, 0.0
    doses[number % BINS] += dose
    covers[number % BINS] += covered
    return Window(number, doses, covers)


class Exposure(Detector, tag="exposure", frozen=True, kw_only=True):
    """Time-weighted means of a substance.

    In:      value (n,), a concentration; NaN where not measured.
    Out:     `<key>.twa` and `<key>.stel`, same unit, and `<key>.coverage` in %: how much of the last 8 h was measured.
             What was not measured counts as the mean of what was. Below 75 % of its window a mean is UNCERTAIN: it may
             raise an alarm and clears none.
    Memory:  sums of `BINS` bins for 8 h and for 15 min. A restart forgets them, and the coverage says so.
    Weak at: peaks shorter than the poll; a jump within a gap of up to 15 min is taken for a ramp.
    Source:  GBZ 2.1-2019; gaps and coverage: project.
    """

    def columns(self, key: Sequence[str], unit: Sequence[str]) -> list[tuple[str, str]]:
        kinds = (("twa", None), ("stel", None), ("coverage", "%"))
        return [(f"{k}.{kind}", fixed or u) for kind, fixed in kinds for k, u in zip(key, unit, strict=True)]

    def start(self, n: int) -> Memory:
        unknown = np.full(n, np.nan)
        return Memory(unknown, unknown, _empty(n), _empty(n))

    def step(self, memory: Memory, at: Instant, value: Array, quality: Array) -> tuple[Any, Array, Array]:
        now = at.mono
        good = np.isfinite(value) & (quality <= Quality.OVER_RANGE)
        since = np.where(good, now - memory.last, np.nan)
        usable = since <= GAP  # NaN is not
        seconds = np.where(usable, since, 0.0)
        dose = np.where(usable, (np.where(good, value, 0.0) + np.nan_to_num(memory.value)) / 2 * seconds, 0.0)
        shift = _add(memory.shift, SHIFT, now, dose, seconds)
        short = _add(memory.short, SHORT, now, dose, seconds)
        memory = Memory(np.where(good, now, memory.last), np.where(good, value, memory.value), shift, short)
        twa, of_shift = _mean(shift, SHIFT)
        stel, of_short = _mean(short, SHORT)
        enough = np.concatenate([of_shift >= COVERED, of_short >= COVERED, np.ones(len(value), bool)])
        columns = np.concatenate([twa, stel, 100.0 * np.minimum(of_shift, 1.0)])
        return memory, columns, np.where(enough, Quality.GOOD, Quality.UNCERTAIN).astype(np.uint8)


def _mean(window: Window, span: float) -> tuple[Array, Array]:
    """The mean over what was measured, NaN before anything was; and the share of the window that was."""
    dose, covered = window.dose.sum(0), window.covered.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(covered > 0, dose / covered, np.nan), covered / (span * (BINS - 1) / BINS)


class Mixture(Detector, tag="mixture", frozen=True, kw_only=True):
    """How near a mixture comes to its limit: the sum of each substance's share of its own. 1 is the limit.

    In:      value (n,), concentrations or their means, in the order of `limits`.
    Out:     `<name>.index`, no unit. Blind as soon as one substance is.
    Memory:  none.
    Weak at: substances that act on different organs, where it says too much.
    Source:  GBZ 2.1-2019, substances that act on the same organ.
    """

    limits: list[float]  # in the unit of each channel, as `channel` names them

    def __post_init__(self) -> None:
        if not self.limits or min(self.limits) <= 0:
            raise ValueError("limits must be numbers above 0, one for each channel")

    def columns(self, key: Sequence[str], unit: Sequence[str]) -> list[tuple[str, str]]:
        if len(key) != len(self.limits):
            raise ValueError(f"mixture `{self.name}`: {len(key)} channels of one source, {len(self.limits)} limits")
        return [(f"{self.name}.index", "")]

    def start(self, n: int) -> None:
        return None

    def step(self, memory: None, at: Instant, value: Array, quality: Array) -> tuple[Any, Array, Array]:
        return None, (value / self.limits).sum(keepdims=True), quality.max(keepdims=True)
