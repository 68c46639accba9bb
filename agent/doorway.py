"""The queue before the judge, which knows how long it kept what went through it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeVar

from .core.ports import Clock

T = TypeVar("T")
KEPT = 50_000  # waits that are remembered until somebody asks: 10 s at 5,000 frames/s


class Doorway(asyncio.Queue[T]):
    """First in, first out; whoever finds it full waits. `_put` and `_get` are what `asyncio` leaves to subclasses."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._clock = clock
        self._since: deque[float] = deque()  # monotonic s at which each came, oldest first
        self._waits: deque[float] = deque(maxlen=KEPT)  # s
        super().__init__(most)

    def _put(self, item: T) -> None:
        self._since.append(self._clock.now().mono)
        super()._put(item)

    def _get(self) -> T:
        self._waits.append(self._clock.now().mono - self._since.popleft())
        return super()._get()

    def waits(self) -> tuple[float, float]:
        """How long things waited since the last call, s: 99 of 100 at most so long, and the longest; 0 for none.

        What still waits counts with its time so far: of a judge that stands still nothing comes.
        """
        now = self._clock.now().mono
        known = sorted([*self._waits, *(now - since for since in self._since)])
        self._waits.clear()
        return (known[int(0.99 * (len(known) - 1))], known[-1]) if known else (0.0, 0.0)
