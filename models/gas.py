"""Gas above what the place always gives: a lower envelope for each state of production and of the fans.

What is let out often is not learnt as normal here: the baseline is what the lowest share of the samples does not pass,
and a release does not lift that. It is kept for each state of up to three switches: while the cutter runs there is more
gas, while the fan stands there is more still, and neither is news. What is strange in the excess says `anomaly`, and
when it reaches a limit `reach`; both may look at the columns given here.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from msgspec import Meta

from agent.core.frame import OVER_RANGE, Array, Frame, Layout
from agent.core.ports import Detector, witnesses

HOUR, DAY = 3600.0, 86400.0  # s
MOST = 3  # switches; eight states
CUT = 4.0  # spreads: more than that of a release is not learnt
SPEED = 3.0  # spreads that the baseline moves in the time it remembers, at a steady pull


class Envelope(NamedTuple):
    """What `Gas` carries, by state."""

    last: float  # s, of the last frame, NaN before any
    base: Array  # (states, n) unit; NaN before any
    spread: Array  # (states, n) usual distance from there
    seen: Array  # (states, n) s


class Gas(Detector, tag="gas", frozen=True, kw_only=True):
    """The baseline of a gas, and what is above it.

    In:      value (n,), concentrations of any unit; beside it up to three switches, on above 0.5.
    Out:     per channel, in its unit, `<key>.baseline` of the present state and `<key>.excess` above it, 0 at least.
             NaN where the state is unknown, or was seen for less than `young`. As good as the channel.
    Memory:  level and spread for each state, forgotten over `memory`. A restart goes on.
    Weak at: what is always let out; the first minutes after a switch; a drift of the sensor, which it follows.
    Source:  a running quantile (Robbins and Monro 1951); the share of a fifth and the times are the project's.
    """

    looks_beside: ClassVar[bool] = True
    state: tuple[str, ...] = ()  # `source/key` of switches: production, fans
    share: Annotated[float, Meta(gt=0, lt=1)] = 0.2  # of the samples that lie below the baseline
    young: Annotated[float, Meta(ge=0)] = HOUR  # s in a state before it is known
    memory: Annotated[float, Meta(gt=0)] = 3 * DAY  # s

    def __post_init__(self) -> None:
        if len(self.state) > MOST:
            raise ValueError(
                f"state: at most {MOST} switches; {2 ** len(self.state)} states are never seen often enough"
            )

    @property
    def witnessed(self) -> list[str]:
        return [*self.beside, *self.state]

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        n = len(seen) - witnesses(seen)
        if witnesses(seen) > MOST:
            raise ValueError(f"gas `{self.name}`: at most {MOST} switches, here {', '.join(seen.key[n:])}")
        return [
            (f"{k}.{what}", u)
            for what in ("baseline", "excess")
            for k, u in zip(seen.key[:n], seen.unit[:n], strict=True)
        ]

    def start(self, seen: Layout) -> Envelope:
        w = witnesses(seen)
        shape = 2**w, len(seen) - w
        return Envelope(math.nan, np.full(shape, math.nan), np.zeros(shape), np.zeros(shape))

    def step(self, memory: Envelope, seen: Frame) -> tuple[Envelope, Array, Array]:
        now, n = seen.at.mono, len(seen.layout) - witnesses(seen.layout)
        good = np.isfinite(seen.value) & (seen.quality <= OVER_RANGE) & (seen.age <= seen.layout.stale)
        value, quality = seen.value[:n], seen.quality[:n]
        if not good[n:].all():  # nobody knows the state
            return memory._replace(last=now), np.full(2 * n, math.nan), np.concatenate([quality, quality])
        i = int((seen.value[n:] > 0.5) @ 2 ** np.arange(len(seen.value) - n))
        base, spread, known = memory.base[i], memory.spread[i], memory.seen[i]
        passed = min(now - memory.last, float(seen.layout.stale.max())) if now >= memory.last else 0.0
        fit = good[:n]
        lasted = known + np.where(fit, passed, 0.0)
        pace = np.where(fit, passed / np.maximum(np.minimum(lasted, self.memory), 1e-9), 0.0)
        away = np.where(fit, value - base, 0.0)
        pull = np.where(away > 0, self.share, self.share - 1.0)
        with np.errstate(invalid="ignore"):
            moved = base + SPEED * pace * spread * pull
            most = np.where((known > 0) & (away > 0), CUT * spread, math.inf)  # what lies below is the truth
            wider = spread + pace * (np.minimum(np.abs(away), most) - spread)
        first = fit & np.isnan(base)
        rows = [array.copy() for array in memory[1:]]
        rows[0][i] = np.where(first, value, moved)
        rows[1][i] = np.where(first | ~fit, spread, wider)
        rows[2][i] = lasted
        told = np.where(lasted >= self.young, rows[0][i], math.nan)
        excess = np.where(fit, np.maximum(value - told, 0.0), math.nan)
        return Envelope(now, *rows), np.concatenate([told, excess]), np.concatenate([quality, quality])

    def moved(self, memory: Envelope, seconds: float) -> Envelope:
        return memory._replace(last=memory.last + seconds)
