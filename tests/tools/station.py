"""A node for tests: an outbox, one uplink kept alive, and what it told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.core.alarm import Alarm, Basis
from agent.core.errors import WorldFault
from agent.core.frame import Instant, Layout, frame, layout
from agent.core.ports import Brief, Event, Identity, Uplink
from agent.outbox import Outbox, Store
from agent.supervise import turning
from agent.uplink.mqtt import Mqtt
from tests.tools.subscriber import Heard, Subscriber

AT = Instant(5.0, 1_700_000_000.5, True)
CHANNELS = layout(["a", "b"], ["%", "m"])


def alarm(state: str = "active-unacked", n: int = 1, event: str = "raised") -> Alarm:
    basis = Basis("AQ 1029-2019", "4.2")
    return Alarm(f"id-{n}", 1, event, state, "high", "s/a", "red", 1.2, 1.0, "%", AT, AT, "too much", basis)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 90))


async def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.005)


class Station:
    """A node: outbox, one uplink kept alive, and what it told."""

    def __init__(self, outbox: Outbox, **site: Any) -> None:
        self.outbox, self.site = outbox, site
        self.feed = outbox.feed("platform")
        self.open: list[Alarm] = []
        self.told: list[Event] = []
        self.faults: list[str] = []

    async def keep(self, uplink: Uplink) -> None:
        names = {"site": "mine", "node": "north"} | self.site
        who = Identity(boot=self.outbox.boot, version="0.1.0", config="cafe", **names)
        while True:
            try:
                brief = Brief(self.feed, who, lambda: self.open, SystemClock(), self.told.append)
                await turning(uplink.send(brief), lambda: None)  # as the agent has it
            except WorldFault as fault:
                self.faults.append(str(fault))
            await asyncio.sleep(0.05)

    def put(self, n: int, source: str = "s", channels: Layout = CHANNELS) -> None:
        self.outbox.put_frame(frame(source, SystemClock().now(), channels, [float(n), -n]))
        self.outbox._flush(source)

    def raised(self, one: Alarm) -> None:
        self.open = [a for a in self.open if a.id != one.id] + ([one] if one.state != "normal" else [])
        self.outbox.put_alarms([one])

    def delivered(self) -> bool:
        return not any(self.feed.waiting().values())

    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]


@asynccontextmanager
async def station(
    folder: Path, url: str, kind: type[Uplink] = Mqtt, site: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Station]:
    """A node in `folder` whose uplink of that kind is kept alive; `site` is what its identity says of it."""
    store = Store(path=str(folder / "state"), batch=0.05, ballast_mb=0)
    outbox = await Outbox.open(store, ["platform"], SystemClock())
    here = Station(outbox, **(site or {}))
    sending = asyncio.create_task(here.keep(kind(name="platform", url=url, **settings)))
    try:
        yield here
    finally:
        began = time.monotonic()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert time.monotonic() - began < 1.5
        await outbox.close()


async def heard(ear: Subscriber, enough: Callable[[list[Heard]], Any], seconds: float = 30.0) -> list[Heard]:
    return await asyncio.to_thread(ear.wait, enough, seconds)
