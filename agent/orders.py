"""Orders on their way from the judge to the driver that owns the output.

What is kept is the *wanted state* of each output. It is handed out until it was verified; after a failure
again and again, and once more whenever the line or a device came back: a relay that lost its power during
an alarm must not stay off. Nobody need notice that loss: what is held on is written anew every few seconds, which
also keeps a relay on that drops out by itself when it is not refreshed. Only an output that is not armed is asked
once and left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from .core.alarm import Order
from .core.ports import Event

SLICE = 1.0  # s: how often a waiting driver shows that it is alive
RETRY = 2.0  # s after a failed order; project
REFRESH = 5.0  # s after which an output that is held on is written again: its module may have lost its power meanwhile


class Wanted(Struct):
    """One output: the newest order for it and how far it came. `due` is the loop's time, None: not asked now."""

    order: Order
    due: float | None
    verified: bool = False
    told: str = ""  # the outcome told last


class OrderBox:
    """The `Orders` port for one driver. `renew` is called whenever the driver asks here: before each request."""

    def __init__(self, renew: Callable[[], None] = lambda: None) -> None:
        self._outputs: dict[str, Wanted] = {}
        self._bell = asyncio.Event()
        self.renew = renew

    def put(self, order: Order) -> None:
        """Hand over an order; a waiting driver wakes at once. It replaces an older one for the same output."""
        self._outputs.pop(order.output, None)  # the newest goes to the end of the line
        self._outputs[order.output] = Wanted(order, self._now())
        self._bell.set()

    def take(self) -> Order | None:
        """The oldest order that is due, or None."""
        self.renew()
        self._bell.clear()
        for wanted in self._outputs.values():
            if wanted.due is not None and wanted.due <= self._now():
                wanted.due = None
                return wanted.order
        return None

    async def wait(self, seconds: float) -> None:
        """Return after `seconds`, or at once when an order is due."""
        self.renew()
        until = self._now() + seconds
        while (rest := min(until, self._next()) - self._now()) > 0:
            self._bell.clear()
            try:
                async with asyncio.timeout(min(rest, SLICE)):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self.renew()

    def settle(self, event: Event) -> bool:
        """The driver told the outcome of an order, or that a device is back. Whether that is news.

        The second failure of one order is none, nor that what was verified stands after it was written again.
        """
        if event.kind == "device-recovered":
            self.again()
        wanted = self._outputs.get(str(event.facts.get("output", "")))
        if wanted is None or (event.facts.get("reason"), event.facts.get("on")) != (
            wanted.order.reason,
            wanted.order.on,
        ):
            return True  # no order, or one that was replaced meanwhile
        told, wanted.told = wanted.told, event.kind
        if event.kind == "order-done":
            wanted.verified = True
            wanted.due = self._now() + REFRESH if wanted.order.on else None
        elif event.kind == "order-failed":
            wanted.verified, wanted.due = False, self._now() + RETRY
            self._bell.set()
        elif event.kind == "order-refused":
            del self._outputs[wanted.order.output]
        return told != event.kind

    def again(self) -> None:
        """The line or a device was lost: every wanted state is written once more."""
        for wanted in self._outputs.values():
            wanted.verified, wanted.due = False, self._now()
        self._bell.set()

    def unmet(self) -> int:
        """Outputs that are not known to be in their wanted state."""
        return sum(not wanted.verified for wanted in self._outputs.values())

    def _next(self) -> float:
        return min((w.due for w in self._outputs.values() if w.due is not None), default=float("inf"))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
