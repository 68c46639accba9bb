"""Virtual time: an event loop whose clock jumps to the next thing to do. An hour passes in a blink."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from agent.core.frame import Instant

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Never waits: where the selector would sleep, time moves on instead. No real I/O may be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.virtual = 0.0
        real = self._selector.select  # type: ignore[attr-defined]

        def select(timeout: float | None = None) -> Any:
            if timeout is None:
                raise RuntimeError("everything waits and nothing is due")
            self.virtual += max(1e-9, timeout)  # a turn takes time: timers fire a little early, and time must not stand
            return real(0)

        self._selector.select = select  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.virtual


class LoopClock:
    """The port `Clock`, told by the running loop."""

    def now(self) -> Instant:
        mono = asyncio.get_running_loop().time()
        return Instant(mono, 1_700_000_000.0 + mono, True)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run `story` to its end in virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(story)
    finally:
        loop.close()
