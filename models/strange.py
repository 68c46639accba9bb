"""What detectors of the strange share: looks that come seldom, a budget of false alarms, and what is told of a rarity.

`models/tail.py` says how rare a score is; here that becomes columns, which are told while they stand at 0 and above.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from agent.core.frame import Array

from . import tail
from .tail import Tail

DAY, YEAR = 86400.0, 365 * 86400.0  # s
LEAST = 1000  # looks for one false alarm, or a year, if that is longer than the budget: no more is known of what is
# seen so seldom
STILL = 0.1  # of what is usually learnt, while something is told
HOLD = 0.5  # decades below the budget at which what is told ends


class Told(NamedTuple):
    """What is told now, by column."""

    on: Array  # (c,) bool
    since: Array  # (c,) s
    spent: Array  # (c,) bool: told long enough, and still strange


class Waits(NamedTuple):
    """What came since the last look, where not every frame is looked at."""

    looked: float  # s, NaN before any
    total: Array  # (n,) sum of usable values
    usable: Array  # (n,) how many


def wait(waits: Waits, value: Array, good: Array, now: float, every: float) -> tuple[Waits, bool, Array, Array]:
    """With this frame; whether it is time for a look; the means since the last one, and which of them are usable.

    every: s between two looks, at least; 0: each frame is one.
    """
    if not every:
        return waits, True, value, good
    total, count = waits.total + np.where(good, value, 0.0), waits.usable + good
    if now - waits.looked < every * 0.999:
        return waits._replace(total=total, usable=count), False, value, good
    return Waits(now, np.zeros_like(total), np.zeros_like(total)), True, total / np.maximum(count, 1), count > 0


def pace(step: float, passed: float) -> float:
    """s between looks as it usually is, NaN before two, after `passed` s since the last one (0: none)."""
    if not passed:
        return step
    return passed if np.isnan(step) else step + (min(passed, 5 * step) - step) / 50


def allowed(budget: float, step: float) -> float:
    """s for one false alarm, by the budget and the usual step."""
    return budget if np.isnan(step) else max(budget, min(LEAST * step, YEAR))


def silent(columns: int) -> Told:
    """Nothing is told."""
    off = np.zeros(columns, bool)
    return Told(off, np.zeros(columns), off)


def tell(told: Told, strange: Array, now: float, stands: float) -> tuple[Told, Array]:
    """What is told now, and the columns."""
    fires, ebbs = strange >= 0, ~(strange > -HOLD)
    begins = fires & ~told.on & ~told.spent
    since = np.where(begins, now, told.since)
    on = (told.on & ~ebbs) | begins
    over = on & (now - since >= stands)
    spent = (told.spent | over) & ~ebbs
    on = on & ~over
    value = np.where(on, np.fmax(strange, 0.0), np.minimum(strange, -0.01))
    return Told(on, since, spent), value


def rarity(past: Tail, k: int, surprise: float, budget: float, share: float) -> list[tuple[str, dict[str, Any]]]:
    """How rare score `k` is and what that is known from: rows of `words.WHY`. share: decades of a shared budget."""
    known = float(tail.horizon(past, budget)[k])
    looked = {"looks": past.samples[k], "seen": past.seconds[k], "episodes": past.episodes[k]}
    return [
        ("rarity", {"rare": known * 10**surprise, "budget": known * 10**share}),
        ("past", {name: float(value) for name, value in looked.items()}),
    ]
