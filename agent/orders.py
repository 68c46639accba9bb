"""Orders on their way from the judge to the driver that owns the output.

What is kept is the *wanted state* of each output. It is handed out until it was verified; after a failure
again and again, and once more whenever the line or a device came back: a relay that lost its power during
an alarm must not stay off. Nobody need notice that loss: what is held on is written anew every few seconds, which
also keeps a relay on that drops out by itself when it is not refreshed. Only an output that is not armed is asked
once and left alone.

A heartbeat is an output that is written the other way round with each beat, so that a relay with a timer of its own
trips when nobody beats. What makes it beat is the judge, once it has dealt with a tick: the whole way from there to
the coil is what the relay watches. While a trip that is to be on is not known to be on, nothing beats either: what
cannot be cut by order, the relay cuts. A beat that was not written within its period is dropped, for it says nothing
of now.

A touch proves the way to an output and changes nothing: what stands there is written once more, if it is as wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from msgspec import Struct

from .core.alarm import Order
from .core.frame import Instant
from .core.ports import Event, Touch

SLICE = 1.0  # s: how often a waiting driver shows that it is alive
RETRY = 2.0  # s after a failed order; project
REFRESH = 5.0  # s after which an output that is held on is written again: its module may have lost its power meanwhile
BEAT = "heartbeat"  # the reason of orders that only show that somebody is there
EARLY = 0.5  # s that a tick may come before the period of a heartbeat is over: ticks are a second apart, more or less
MISSED = 2.5  # periods without a beat written, after which it is lost; a relay waits for 3 s at the default


class Wanted(Struct):
    """One output: the newest order for it and how far it came. `due` is the loop's time, None: not asked now."""

    order: Order
    due: float | None
    verified: bool = False
    told: str = ""  # the outcome told last


class Heart(Struct):
    """One heartbeat output. Times are the loop's, s."""

    period: float  # s
    on: bool = False  # as it was written last: a beat that changes nothing is none
    beat: Order | None = None  # the newest beat, not yet taken
    due: float = 0.0  # when the next beat may come, the clock's monotonic s
    put: float = 0.0  # when the newest beat came
    written: float | None = None  # when one was written last, or was due first
    count: int = 0  # beats written
    lost: bool = False  # as told
    why: str = "nothing was written"  # what hinders it


class OrderBox:
    """The `Orders` port for one driver. `renew` is called whenever the driver asks here: before each request.

    `hearts` are its heartbeat outputs and their periods in s; `guards` for which outputs a heartbeat stands in: for all
    of this driver where none are named.
    """

    def __init__(
        self,
        renew: Callable[[], None] = lambda: None,
        hearts: Mapping[str, float] | None = None,
        guards: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.guards = guards or {}
        self._outputs: dict[str, Wanted] = {}
        self.hearts = {name: Heart(period) for name, period in (hearts or {}).items()}
        self._touches: dict[str, Touch] = {}  # by reason; not yet taken
        self._answers: dict[str, asyncio.Future[Event]] = {}  # the same, until answered
        self._bell = asyncio.Event()
        self.renew = renew

    def put(self, order: Order) -> None:
        """Hand over an order; a waiting driver wakes at once. It replaces an older one for the same output."""
        self._outputs.pop(order.output, None)  # the newest goes to the end of the line
        self._outputs[order.output] = Wanted(order, self._now())
        self._bell.set()

    def take(self) -> Order | None:
        """The oldest order that is due, else a beat, else a touch, or None."""
        self.renew()
        self._bell.clear()
        for wanted in self._outputs.values():
            if wanted.due is not None and wanted.due <= self._now():
                wanted.due = None
                return wanted.order
        for name, heart in self.hearts.items():
            if self._is_beating(name, heart):
                order, heart.beat = heart.beat, None
                return order
        return self._touches.pop(min(self._touches)) if self._touches else None

    def beat(self, at: Instant) -> list[Event]:
        """The judge has dealt with the tick at `at`. What is to be told: a heartbeat that is lost, or back."""
        told = []
        now = self._now()
        for name, heart in self.hearts.items():
            if at.mono < heart.due:
                continue
            heart.due, heart.put = at.mono + heart.period - EARLY, now
            heart.beat = Order(name, not heart.on, BEAT, at)
            heart.written = now if heart.written is None else heart.written
            silent = now - heart.written
            if heart.lost == (silent <= MISSED * heart.period):
                heart.lost = not heart.lost
                word, why = ("lost", f": {self._withheld(name) or heart.why}") if heart.lost else ("back", "")
                text = f"heartbeat {name} is {word}{why}"
                told.append(Event(f"heartbeat-{word}", name, at, text, {"output": name, "silent_s": round(silent, 3)}))
            self._bell.set()
        return told

    def touch(self, touch: Touch) -> asyncio.Future[Event]:
        """Prove the way to an output; the future has what the driver told of it. The `reason` is the touch's own."""
        answer: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._touches[touch.reason], self._answers[touch.reason] = touch, answer
        self._bell.set()
        return answer

    def forget(self, touch: Touch) -> None:
        """Nobody waits for it any longer."""
        self._touches.pop(touch.reason, None)
        self._answers.pop(touch.reason, None)

    def wanted(self, output: str) -> bool | None:
        """The wanted state of an output, None where nobody ever wanted one or it is not armed."""
        known = self._outputs.get(output)
        return None if known is None else known.order.on

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
        output, reason = str(event.facts.get("output", "")), str(event.facts.get("reason", ""))
        if reason == BEAT and output in self.hearts:
            self._beaten(self.hearts[output], event)
            return False
        if (answer := self._answers.pop(reason, None)) is not None:
            if not answer.done():
                answer.set_result(event)
            return False
        wanted = self._outputs.get(output)
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
        """Outputs that are not known to be in their wanted state, and heartbeats that are lost."""
        hearts = sum(heart.lost for heart in self.hearts.values())
        return hearts + sum(not wanted.verified for wanted in self._outputs.values())

    def _next(self) -> float:
        if self._touches or any(self._is_beating(name, heart) for name, heart in self.hearts.items()):
            return self._now()
        return min((w.due for w in self._outputs.values() if w.due is not None), default=float("inf"))

    def _is_beating(self, name: str, heart: Heart) -> bool:
        """Whether its beat is to be written now."""
        return heart.beat is not None and self._now() - heart.put < heart.period and not self._withheld(name)

    def _withheld(self, heart: str) -> str:
        """Why a heartbeat is not written, in words; empty where it may be."""
        guarded = self.guards.get(heart) or self._outputs
        unproven = [name for name, w in self._outputs.items() if name in guarded and w.order.on and not w.verified]
        return f"{', '.join(unproven)} should be on and is not known to be" if unproven else ""

    def _beaten(self, heart: Heart, event: Event) -> None:
        if event.kind == "order-done":
            heart.on, heart.written, heart.why = bool(event.facts["on"]), self._now(), "nothing was written"
            heart.count += 1
        else:
            heart.why = event.text

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
