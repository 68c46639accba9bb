"""Orders on their way from the judge to the driver that owns the output.

An order stays here until its outcome is known, so a line that is lost in between gets it again first
thing after it is back. A newer order for the same output replaces an older one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .core.alarm import Order
from .core.ports import Event

SLICE = 1.0  # s: how often a waiting driver shows that it is alive
SETTLED = ("order-done", "order-failed", "order-refused")


class OrderBox:
    """The `Orders` port for one driver. `renew` is called each time the driver comes round its loop."""

    def __init__(self, renew: Callable[[], None] = lambda: None) -> None:
        self._waiting: dict[str, Order] = {}
        self._taken: dict[str, Order] = {}
        self._bell = asyncio.Event()
        self._renew = renew

    def put(self, order: Order) -> None:
        """Hand over an order; a waiting driver wakes at once."""
        self._waiting[order.output] = order
        self._taken.pop(order.output, None)
        self._bell.set()

    def take(self) -> Order | None:
        """The oldest order not yet taken, or None."""
        self._bell.clear()
        if not self._waiting:
            return None
        output = next(iter(self._waiting))
        order = self._taken[output] = self._waiting.pop(output)
        if self._waiting:
            self._bell.set()
        return order

    async def wait(self, seconds: float) -> None:
        """Return after `seconds`, or at once when an order is there."""
        self._renew()
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self._waiting and (rest := until - loop.time()) > 0:
            self._bell.clear()
            try:
                async with asyncio.timeout(min(rest, SLICE)):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._renew()

    def settle(self, event: Event) -> None:
        """The driver told the outcome of an order."""
        if event.kind in SETTLED:
            self._taken.pop(str(event.facts.get("output", "")), None)

    def again(self) -> None:
        """The line was lost: orders without an outcome wait again, before newer ones of other outputs."""
        self._waiting = {**self._taken, **self._waiting}
        self._taken = {}
        if self._waiting:
            self._bell.set()
