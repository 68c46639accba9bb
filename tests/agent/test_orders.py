"""The wanted state of outputs: until it was seen, again when it may be lost, and no more than that. Heartbeats and
touches, which go the same way behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent import orders
from agent.core.alarm import Order
from agent.core.frame import Instant
from agent.core.ports import Event, Touch
from agent.orders import MISSED, OrderBox
from tests.tools.virtual import LoopClock
from tests.tools.virtual import run as virtually

AT = Instant(1.0, 2.0)


def done(order: Order, kind: str = "order-done", text: str = "") -> Event:
    return Event(kind, "plc", AT, text, {"output": order.output, "on": order.on, "reason": order.reason})


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


# -- heartbeats, in virtual time ------------------------------------------------------------------


class Line:
    """A driver that does at once what it is told, and a judge that deals with a tick each second."""

    def __init__(self, **hearts: float) -> None:
        self.box = OrderBox(hearts=hearts)
        self.clock = LoopClock()
        self.written: list[tuple[float, Order]] = []  # s, what
        self.broken: set[str] = set()  # outputs that fail
        self.told: list[Event] = []
        self.news: list[Event] = []
        self.work = asyncio.create_task(self._obey())

    async def _obey(self) -> None:
        while True:
            order = self.box.take()
            if order is None:
                await self.box.wait(3600.0)
                continue
            failed = order.output in self.broken
            if not failed:
                self.written.append((asyncio.get_running_loop().time(), order))
            event = done(order, "order-failed" if failed else "order-done", f"{order.output} is mute" if failed else "")
            self.news += [event] if self.box.settle(event) else []

    async def judge(self, seconds: int) -> None:
        for _ in range(seconds):
            self.told += self.box.beat(self.clock.now())
            await asyncio.sleep(1.0)

    def beats(self, since: float = 0.0) -> list[bool]:
        return [order.on for at, order in self.written if order.output == "alive" and at >= since]

    @property
    def tells(self) -> list[tuple[str, int]]:
        return [(event.kind, round(event.at.mono)) for event in self.told]


def live(story: Callable[[Line], Awaitable[None]], **hearts: float) -> None:
    """Tell a story of a line with these heartbeats and their periods."""

    async def life() -> None:
        line = Line(**hearts)
        try:
            await story(line)
        finally:
            line.work.cancel()
            await asyncio.wait([line.work])

    virtually(life())


@pytest.mark.parametrize(("period", "beats"), [(1.0, 12), (2.0, 6), (3.0, 4)])
def test_a_heart_is_switched_over_each_period_while_the_judge_ticks(period, beats):
    async def story(line):
        await line.judge(12)
        assert line.beats() == [i % 2 == 0 for i in range(beats)]
        assert line.box.hearts["alive"].count == beats
        assert line.box.unmet() == 0
        assert (line.told, line.news) == ([], [])  # a beat is no news

    live(story, alive=period)


def test_nothing_beats_while_nobody_judges_however_often_the_driver_asks():
    async def story(line):
        await line.judge(3)
        await asyncio.sleep(0.5)
        for _ in range(100):
            assert line.box.take() is None
            await asyncio.sleep(0.1)
        assert len(line.beats()) == 3

    live(story, alive=1.0)


def test_a_beat_that_was_not_written_in_its_period_is_dropped():
    async def story():
        box, clock = OrderBox(hearts={"alive": 2.0}), LoopClock()
        box.beat(clock.now())
        await asyncio.sleep(1.9)
        assert box.take().output == "alive"
        assert box.take() is None  # it is taken once
        await asyncio.sleep(0.1)
        box.beat(clock.now())
        await asyncio.sleep(2.1)
        assert box.take() is None

    virtually(story())


def test_what_was_not_written_is_written_by_the_next_beat():
    """A relay sees changes: after one beat that was lost, another that changes nothing would let it trip."""

    async def story(line):
        await line.judge(2)
        line.broken.add("alive")
        await line.judge(1)
        line.broken.clear()
        await line.judge(2)
        assert line.beats() == [True, False, True, False]

    live(story, alive=1.0)


def test_nothing_beats_while_an_output_that_should_be_on_is_not_known_to_be():
    async def story(line):
        await line.judge(3)
        line.broken.add("cut")
        line.box.put(Order("cut", True, "a-1", line.clock.now()))
        await line.judge(6)
        assert len(line.beats()) == 3
        assert line.box.unmet() == 2  # the output, and the heart
        assert line.tells == [("heartbeat-lost", 5)]
        assert line.told[0].text == "heartbeat alive is lost: cut should be on and is not known to be"
        line.broken.clear()
        await line.judge(3)
        assert line.beats(9.0) != []
        assert line.box.unmet() == 0
        assert [kind for kind, _ in line.tells] == ["heartbeat-lost", "heartbeat-back"]

    live(story, alive=1.0)


def test_a_heart_stands_in_only_for_what_it_guards():
    """A siren that cannot be switched on must not cut the power at the alarm limit."""

    async def story(line):
        line.box.guards = {"alive": ["cut"]}
        line.broken |= {"siren", "cut"}
        line.box.put(Order("siren", True, "a-1", line.clock.now()))
        await line.judge(4)
        assert len(line.beats()) == 4
        line.box.put(Order("cut", True, "a-2", line.clock.now()))
        await line.judge(4)
        assert len(line.beats()) == 4

    live(story, alive=1.0)


def test_an_output_that_should_be_off_withholds_nothing():
    async def story(line):
        line.broken.add("cut")
        line.box.put(Order("cut", False, "a-1", line.clock.now()))
        await line.judge(6)
        assert len(line.beats()) == 6
        assert line.box.unmet() == 1

    live(story, alive=1.0)


def test_after_a_line_was_lost_nothing_beats_until_what_should_be_on_was_written_again():
    async def story():
        box, clock = OrderBox(hearts={"alive": 1.0}), LoopClock()
        on = Order("cut", True, "a-1", clock.now())
        box.put(on)
        box.settle(done(box.take()))
        box.again()
        box.beat(clock.now())
        assert box.take() == on
        assert box.take() is None
        box.settle(done(on))
        assert box.take().output == "alive"

    virtually(story())


def test_a_lost_heart_is_told_once_with_what_hinders_it_and_once_when_it_is_back():
    async def story(line):
        await line.judge(2)
        line.broken.add("alive")
        await line.judge(10)
        assert line.box.unmet() == 1
        assert line.tells == [("heartbeat-lost", 4)]  # the last was written at 1, and MISSED periods are over
        assert line.told[0].text == "heartbeat alive is lost: alive is mute"
        assert line.told[0].facts == {"output": "alive", "silent_s": 3.0}
        assert MISSED < 3.0
        line.broken.clear()
        await line.judge(5)
        assert line.box.unmet() == 0
        assert line.tells[1:] == [("heartbeat-back", 13)]
        assert line.told[1].text == "heartbeat alive is back"
        assert line.news == []

    live(story, alive=1.0)


def test_a_heart_that_never_beat_is_told_too():
    async def story(line):
        line.broken.add("alive")
        await line.judge(12)
        assert line.tells == [("heartbeat-lost", 6)]

    live(story, alive=2.0)


# -- touches --------------------------------------------------------------------------------------

TOUCH = Touch("cut", False, "drill-1", AT)


def test_a_touch_is_answered_by_what_the_driver_told_and_that_is_no_news():
    async def story():
        box = OrderBox()
        answer = box.touch(TOUCH)
        assert box.take() == TOUCH
        assert box.take() is None
        assert not box.settle(done(TOUCH))
        assert (await answer).kind == "order-done"

    virtually(story())


def test_a_waiting_driver_wakes_for_a_touch():
    async def story():
        box = OrderBox()
        asyncio.get_running_loop().call_later(1.0, box.touch, TOUCH)
        await box.wait(60.0)
        assert box.take() == TOUCH
        assert asyncio.get_running_loop().time() == pytest.approx(1.0, abs=0.01)

    virtually(story())


def test_a_touch_that_nobody_waits_for_is_forgotten():
    async def story():
        box = OrderBox()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await box.touch(TOUCH)
        box.forget(TOUCH)
        assert box.take() is None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                answer = box.touch(TOUCH)
                assert box.take() == TOUCH
                await answer
        box.forget(TOUCH)
        box.settle(done(TOUCH))  # too late: it changes nothing
        assert box.wanted("cut") is None
        assert box.unmet() == 0

    virtually(story())


def test_a_touch_comes_after_orders_and_beats_and_replaces_none():
    async def story():
        box, clock = OrderBox(hearts={"alive": 1.0}), LoopClock()
        box.touch(TOUCH)
        box.beat(clock.now())
        on = Order("cut", True, "a-1", clock.now())
        box.put(on)
        assert box.take() == on
        assert box.take() == TOUCH  # no beat: what should be on is not known to be
        box.settle(done(TOUCH, "order-failed"))
        assert (box.wanted("cut"), box.unmet()) == (True, 1)
        box.touch(TOUCH)
        assert box.settle(done(on))
        assert [box.take().reason for _ in range(2)] == ["heartbeat", "drill-1"]
        box.settle(done(TOUCH))
        assert (box.wanted("cut"), box.unmet()) == (True, 0)

    virtually(story())
