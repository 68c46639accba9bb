"""What people breathe: means over a shift and over 15 minutes, and the index of a mixture.

Rolling, as channels. Fixed shifts, records and persons are `agent/core/exposure.py`, whose window these share.
Source: GBZ 2.1-2019; TWA = sum(c t) / 8 h, STEL = rolling mean of 15 min, index = sum(c / L).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from agent.core.exposure import COVERED, EIGHT_HOURS, GAP, SHORT, Window, added, later, reach, window
from agent.core.frame import GOOD, OVER_RANGE, UNCERTAIN, Array, Frame, Layout
from agent.core.ports import Detector


class Memory(NamedTuple):
    """What `Exposure` carries. The windows hold dose (unit x s) and covered time (s) as (2, n)."""

    last: Array  # (n,) s, of the last good sample, NaN before the first
    value: Array  # (n,) the last good sample
    shift: Window
    short: Window


class Exposure(Detector, tag="exposure", frozen=True, kw_only=True):
    """Time-weighted means of a substance.

    In:      value (n,), a concentration; NaN where not measured.
    Out:     `<key>.twa` and `<key>.stel`, same unit, and `<key>.coverage` in %: how much of the last 8 h was measured.
             What was not measured counts as the mean of what was. Below 75 % of its window a mean is UNCERTAIN: it may
             raise an alarm and clears none.
    Memory:  sums of 60 bins for 8 h and for 15 min. What a restart takes is a gap, and the coverage says so.
    Weak at: peaks shorter than the poll; a jump within a gap of up to 15 min is taken for a ramp.
    Source:  GBZ 2.1-2019; gaps and coverage: project.
    """

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        kinds = (("twa", None), ("stel", None), ("coverage", "%"))
        return [(f"{k}.{kind}", fixed or u) for kind, fixed in kinds for k, u in zip(seen.key, seen.unit, strict=True)]

    def start(self, seen: Layout) -> Memory:
        n = len(seen)
        unknown = np.full(n, np.nan)
        return Memory(unknown, unknown, window((2, n)), window((2, n)))

    def step(self, memory: Memory, seen: Frame) -> tuple[Any, Array, Array]:
        now, value, quality = seen.at.mono, seen.value, seen.quality
        good = np.isfinite(value) & (quality <= OVER_RANGE)
        since = np.where(good, now - memory.last, np.nan)
        usable = since <= GAP  # NaN is not
        seconds = np.where(usable, since, 0.0)
        dose = np.where(usable, (np.where(good, value, 0.0) + np.nan_to_num(memory.value)) / 2 * seconds, 0.0)
        amount = np.stack([dose, seconds])
        shift = added(memory.shift, EIGHT_HOURS, now, amount, seconds)
        short = added(memory.short, SHORT, now, amount, seconds)
        memory = Memory(np.where(good, now, memory.last), np.where(good, value, memory.value), shift, short)
        twa, of_shift = _mean(shift, EIGHT_HOURS, now)
        stel, of_short = _mean(short, SHORT, now)
        enough = np.concatenate([of_shift >= COVERED, of_short >= COVERED, np.ones(len(value), bool)])
        columns = np.concatenate([twa, stel, 100.0 * np.minimum(of_shift, 1.0)])
        return memory, columns, np.where(enough, GOOD, UNCERTAIN).astype(np.uint8)

    def moved(self, memory: Memory, seconds: float) -> Memory:
        shift, short = later(memory.shift, seconds), later(memory.short, seconds)
        return memory._replace(last=memory.last + seconds, shift=shift, short=short)


def _mean(rolling: Window, span: float, now: float) -> tuple[Array, Array]:
    """The mean over what was measured, NaN before anything was; and the share of the window that was."""
    dose, covered = rolling.total
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(covered > 0, dose / covered, np.nan), covered / reach(rolling, span, now)


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

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        if len(seen) != len(self.limits):
            raise ValueError(f"mixture `{self.name}`: {len(seen)} channels of one source, {len(self.limits)} limits")
        return [(f"{self.name}.index", "")]

    def start(self, seen: Layout) -> None:
        return None

    def step(self, memory: None, seen: Frame) -> tuple[Any, Array, Array]:
        return None, (seen.value / self.limits).sum(keepdims=True), seen.quality.max(keepdims=True)
