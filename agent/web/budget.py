"""How much of the loop's time the page may take: a share, however many ask. Beyond it pages are refused for a moment.

What a coroutine costs is measured step by step, so that waiting costs nothing.
"""

from __future__ import annotations

import time
import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, TypeVar

SHARE = 0.25  # of the time
BURST = 0.75  # s that may be taken at once: some pages of a slow machine

T = TypeVar("T")


class Budget:
    """What is left, in s. It comes back by `SHARE` of the time."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._left, self._at = BURST, now()

    def spend(self, seconds: float) -> None:
        now = self._now()
        self._left = min(BURST, self._left + SHARE * (now - self._at)) - seconds
        self._at = now

    def is_spent(self) -> bool:
        self.spend(0.0)
        return self._left <= 0.0


@types.coroutine
def metered(inner: Coroutine[Any, Any, T], spend: Callable[[float], None]) -> Generator[Any, Any, T]:
    """`inner`; each of its steps is paid for."""
    step: Callable[[], Any] = partial(inner.send, None)
    while True:
        began = time.perf_counter()
        try:
            awaited = step()
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            spend(time.perf_counter() - began)
        try:
            step = partial(inner.send, (yield awaited))
        except BaseException as error:  # it is for `inner`, a cancellation too
            step = partial(inner.throw, error)
