"""The wanted state of outputs: until it was seen, again when it may be lost, and no more than that."""

from __future__ import annotations

import asyncio

from agent import orders
from agent.core.alarm import Order
from agent.core.frame import Instant
from agent.core.ports import Event
from agent.orders import OrderBox

AT = Instant(1.0, 2.0)


def done(order: Order, kind: str = "order-done") -> Event:
    return Event(kind, "plc", AT, "", {"output": order.output, "on": order.on, "reason": order.reason})


def run(story) -> None:
    asyncio.run(asyncio.wait_for(story(), 10))


def test_what_is_held_on_is_written_again_and_that_is_no_news(monkeypatch):
    monkeypatch.setattr(orders, "REFRESH", 0.05)

    async def story() -> None:
        box = OrderBox()
        on = Order("siren", True, "a-1", AT)
        box.put(on)
        assert box.take() == on
        assert box.settle(done(on))
        assert box.unmet() == 0
        for _ in range(3):
            assert box.take() is None
            await box.wait(1.0)  # it returns when the order is due again
            assert box.take() == on
            assert not box.settle(done(on))
            assert box.unmet() == 0
        off = Order("siren", False, "a-1", AT)
        box.put(off)
        assert box.take() == off
        assert box.settle(done(off))
        began = asyncio.get_running_loop().time()
        await box.wait(0.2)
        assert asyncio.get_running_loop().time() - began >= 0.19  # what is off is left alone
        assert box.take() is None

    run(story)


def test_a_refresh_that_fails_is_told_and_tried_again(monkeypatch):
    monkeypatch.setattr(orders, "REFRESH", 0.02)
    monkeypatch.setattr(orders, "RETRY", 0.02)

    async def story() -> None:
        box = OrderBox()
        on = Order("siren", True, "a-1", AT)
        box.put(on)
        box.take()
        box.settle(done(on))
        await box.wait(1.0)
        assert box.take() == on
        assert box.settle(done(on, "order-failed"))
        assert box.unmet() == 1
        await box.wait(1.0)
        assert box.take() == on
        assert box.settle(done(on))
        assert box.unmet() == 0

    run(story)
