"""What changed on a page, once a second, to everybody who has it open (server-sent events).

A page is made anew once a second for all who look at it in one language, and compared with what each of them has. A
client that does not take what it is sent gets the newest state when it does, never a queue; one that takes nothing for
`PATIENCE` goes. So memory is bounded by the number of clients, and a slow one costs nobody anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ..core.frame import Instant
from .markup import Sheet, changed
from .texts import DOUBT, clock_text

PERIOD = 1.0  # s
PATIENCE = 10.0  # s that a client may take for one message
LONGEST = 3600.0  # s; a browser that is still there comes again at once
SLOW = 0.05  # s: a page that takes longer to make than this is made less often, so that it costs 5 % at most

Make = Callable[[], Awaitable[Sheet]]
Send = Callable[[Any], Awaitable[None]]


class Shared:
    """One page in one language, made when somebody wants it and the last one is old."""

    def __init__(self, make: Make) -> None:
        self.make = make
        self.sheet = Sheet()
        self.users = 0
        self._made = float("-inf")  # monotonic s
        self._cost = 0.0  # s
        self._lock = asyncio.Lock()

    async def fresh(self) -> Sheet:
        """The page as it is now."""
        async with self._lock:
            now = time.monotonic()
            pause = max(0.8 * PERIOD, 20 * self._cost if self._cost > SLOW else 0.0)
            if now - self._made >= pause:
                self.sheet = await self.make()
                self._made = time.monotonic()
                self._cost = self._made - now
            return self.sheet


class Streams:
    """Who looks at what. At most `most` at a time."""

    def __init__(self, most: int, stamp: str) -> None:
        self.most = most
        self.stamp = stamp  # of the page's script: another one, and the page loads itself anew
        self.open = 0
        self.dropped = 0  # clients that were too slow
        self._shared: dict[tuple[Any, ...], Shared] = {}

    @property
    def is_full(self) -> bool:
        return self.open >= self.most

    async def follow(
        self, key: tuple[Any, ...], make: Make, send: Send, gone: asyncio.Event, clock: Callable[[], Instant]
    ) -> None:
        """Send what changes until the client is gone. Raises `TimeoutError` where it is too slow."""
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = Shared(make)
        shared.users += 1
        self.open += 1
        had: dict[str, str] | None = None
        end = time.monotonic() + LONGEST
        try:
            while not gone.is_set() and time.monotonic() < end:
                sheet = await shared.fresh()
                if had is None:  # it may have missed anything since the page was loaded
                    news = {id: sheet.whole(text) for id, text in sheet.parts.items() if id in outermost(sheet)}
                else:
                    news = changed(had, sheet)
                had = sheet.parts
                now = clock()
                at = clock_text(now.wall, now.wall) + ("" if now.synced else f" {DOUBT}")
                told = {"at": at, "stamp": self.stamp, "gone": sheet.gone, "parts": news}
                async with asyncio.timeout(PATIENCE):
                    await send(b"data: " + msgspec.json.encode(told) + b"\n\n")
                try:
                    async with asyncio.timeout(PERIOD):
                        await gone.wait()
                except TimeoutError:
                    pass
        except TimeoutError:
            self.dropped += 1
            raise
        finally:
            self.open -= 1
            shared.users -= 1
            if not shared.users:
                self._shared.pop(key, None)


def outermost(sheet: Sheet) -> set[str]:
    """Parts that are in no other."""
    inside = {id for text in sheet.parts.values() for id in text.split("\0")[1::2]}
    return sheet.parts.keys() - inside
