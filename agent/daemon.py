"""The composition root: lines, judge, store and uplinks in one loop.

A sample crosses five rooms: ask, decode, judge, keep, tell. Orders leave from the judge at once, before
disk and wire. One bounded queue lies between the drivers and the judge: when the judge is behind, the
drivers wait and the lag is a channel of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from . import __version__, control
from .audit import Audit
from .clock import Steps, SystemClock
from .config import Config
from .core.alarm import Alarm, Order
from .core.core import NOTHING, Ack, Core, Input, Memory, Tick, Verdict, open_alarms
from .core.ports import Driver, Event, Identity
from .health import Health, Vitals
from .journal import Recorder, Start
from .log import say
from .orders import OrderBox
from .outbox import Outbox
from .supervise import Leases, Watchdog, keep, watch

QUEUE = 1000  # frames between drivers and judge
LINE_LEASE = 60.0  # s in which a line must be polled, or tried to connect, once
RELEASE = "start"  # the reason of orders that no alarm gave
STOP = 4.0  # s that a stop may take before what is unacknowledged is left to the next start


class Agent:
    """One site, running. `run()` ends when `stop()` was called; what was accepted stays in the store."""

    def __init__(self, config: Config, clock: SystemClock | None = None, record: Path | None = None) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.core = Core(config.layouts, config.rules, config.site.language)
        self.queue: asyncio.Queue[Input | Event] = asyncio.Queue(QUEUE)
        self.leases = Leases(self.clock)
        self.recorder = Recorder(record) if record else None
        self.links: dict[str, str] = {}  # uplink -> its last state, for people
        self._lost: set[str] = set()  # lines that were told as lost
        self._ordered = False  # an order waits for its bus task
        self._quarantined = 0  # files that were found corrupt since the start
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Run until stopped. Raises `StoreFault` when not even a store in memory can be made."""
        watchdog = Watchdog()
        at = self.clock.now()
        self.outbox = await Outbox.open(
            self.config.store, [uplink.name for uplink in self.config.uplinks], self.clock, told=self._event
        )
        journal_mb, home = self.config.store.journal_mb, Path(self.config.store.path)
        self.audit = Audit(home / "journal", int(journal_mb * 2**20), self._journal)
        self.memory, restored = self._recall()
        self.who = Identity(
            self.config.site.name, self.config.site.node, self.outbox.boot, __version__, self.config.hash
        )
        self.boxes: dict[str, OrderBox] = {}
        self._owner: dict[str, OrderBox] = {}
        for driver in self.config.drivers:
            box = OrderBox(self.leases.grant(f"bus {driver.name}", LINE_LEASE))
            self.boxes[driver.name] = box
            if not self.recorder:  # a recording watches and switches nothing
                self._owner |= dict.fromkeys(driver.outputs(), box)
        say(
            "started",
            version=__version__,
            site=self.config.site.name,
            boot=self.outbox.boot,
            config=self.config.hash,
            channels=sum(len(layout) for layout in self.config.layouts.values()),
            rules=len(self.config.rules),
        )
        self._event(Event("started", "agent", at, f"version {__version__}, configuration {self.config.hash}"))
        self._act(restored)
        tasks = [
            asyncio.create_task(self._judge(), name="judge"),
            asyncio.create_task(self._tick(), name="tick"),
            asyncio.create_task(self.outbox.serve(), name="store"),
            asyncio.create_task(self.audit.serve(), name="journal"),
            asyncio.create_task(watch(self.leases, watchdog, self.clock, self._told), name="watch"),
            asyncio.create_task(
                keep("control", lambda: control.serve(self.config.store.path, self._answer), self.clock, self._told)
            ),
            *(
                asyncio.create_task(keep(driver.name, partial(self._pump, driver), self.clock, self._told, longest=2.0))
                for driver in self.config.drivers
            ),
            *(
                asyncio.create_task(keep(uplink.name, partial(self._send, uplink), self.clock, self._told, longest=3.0))
                for uplink in self.config.uplinks
            ),
        ]
        gc.collect()
        gc.freeze()  # what was imported and configured stays: a full collection need not walk it while an alarm waits
        watchdog.notify("READY=1")
        release = asyncio.get_running_loop().call_later(self._certain(), self._release)
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        try:
            done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
            watchdog.notify("STOPPING=1")
            for task in done - {stopping}:
                task.result()  # a failure of judge, tick, store or watch is ours: crash, loudly
                raise RuntimeError(f"{task.get_name()} ended by itself")
        finally:
            release.cancel()
            for task in [stopping, *tasks]:
                task.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP):
                    await asyncio.gather(stopping, *tasks, return_exceptions=True)
            try:
                while not self.queue.empty():  # what was read is kept
                    self._take(self.queue.get_nowait())
            finally:
                if self.recorder:
                    self.recorder.close()
                await self.outbox.close()
                await self.audit.close()
                say("stopped", boot=self.outbox.boot)

    # -- rooms ------------------------------------------------------------------------------------

    async def _pump(self, driver: Driver) -> None:
        """Ask and decode: everything that a driver yields goes to the judge, in its order."""
        box = self.boxes[driver.name]
        box.renew()  # trying to connect is work, too
        box.again()
        frames = driver.frames(self.clock, box)
        try:
            async for item in frames:
                if driver.name in self._lost:
                    self._lost.discard(driver.name)
                    await self.queue.put(Event("line-recovered", driver.name, self.clock.now(), "the line is back"))
                if isinstance(item, Event) and not box.settle(item):
                    continue
                await self.queue.put(item)
        finally:
            await frames.aclose()  # type: ignore[attr-defined]

    async def _judge(self) -> None:
        renew = self.leases.grant("judge", 10.0)
        while True:
            self._take(await self.queue.get())
            renew()
            if self._ordered:  # a bus task waits for it, however many frames wait here
                self._ordered = False
                await asyncio.sleep(0)

    def _take(self, item: Input | Event) -> None:
        """Judge one item and keep what comes of it."""
        if isinstance(item, Event):
            self._event(item)
            return
        if self.recorder:
            self.recorder.event(item)
        self.memory, verdict = self.core.step(self.memory, item)
        self._act(verdict)

    def _act(self, verdict: Verdict) -> None:
        """Orders first, then disk and wire together, then everything that can wait."""
        for order in verdict.orders:
            self._order(order)
        if verdict.alarms:
            self.outbox.put_alarms(verdict.alarms)
            if self.recorder:
                self.recorder.alarms(verdict.alarms)
        for frame in verdict.frames:
            self.outbox.put_frame(frame)
        for alarm in verdict.alarms:
            self.audit.put(alarm)
            say(
                f"alarm-{alarm.event}",
                level=alarm.level,
                channel=alarm.channel,
                rule=alarm.rule,
                id=alarm.id,
                text=alarm.text,
            )

    def _order(self, order: Order) -> None:
        box = self._owner.get(order.output)
        if box is None:  # the output left the configuration between two starts
            say("order-orphan", output=order.output, reason=order.reason)
            return
        box.put(order)
        self.audit.put(order)
        self._ordered = True
        say("order", output=order.output, on=order.on, reason=order.reason)

    def _certain(self) -> float:
        """Seconds after the start in which every source was read or went stale, so that its alarms are known."""
        layouts = [layout for source, layout in self.config.layouts.items() if source != Health.SOURCE]
        return max((float(layout.stale.max()) for layout in layouts), default=0.0) + 1.0

    def _release(self) -> None:
        """Switch off what no alarm holds: an earlier life may have left it on.

        Not at the start: a hazard that was ordered for but not yet on the disk would see its output fall for
        as long as it takes to judge it again.
        """
        for output in self._owner:
            if not self.memory.held.get(output):
                self._order(Order(output, False, RELEASE, self.clock.now()))

    async def _send(self, uplink: Any) -> None:
        def open_now() -> list[Alarm]:
            return open_alarms(self.memory)

        await uplink.send(self.outbox.feed(uplink.name), self.who, open_now, self.clock, self._event)

    async def _tick(self) -> None:
        """Once a second: time for the core; now and then the agent's own health; steps of the wall clock."""
        health, steps = Health(self.config.store.path), Steps(self.clock.now())
        due = self.clock.now().mono
        report, worst = due, 0.0
        while True:
            await self.clock.sleep(due - self.clock.now().mono)
            at = self.clock.now()
            worst = max(worst, at.mono - due)
            due = max(due + 1.0, at.mono)
            jump = steps.step(at)
            if jump is not None:
                self._event(
                    Event("clock-step", "agent", at, f"wall clock moved by {jump:+.1f} s", {"seconds": round(jump, 3)})
                )
            await self.queue.put(Tick(at))
            if at.mono >= report:
                report = at.mono + Health.PERIOD
                dropped = sum(self.outbox.lost().values()) + self.audit.lost
                unmet = sum(box.unmet() for box in self.boxes.values())
                measured = Vitals(
                    loop_lag=worst,
                    judge_queue=self.queue.qsize(),
                    orders_unmet=unmet,
                    store_trouble=len(self.outbox.trouble) + bool(self.audit.trouble),
                    store_quarantined=self._quarantined,
                    dropped=dropped,
                )
                await self.queue.put(health.frame(at, measured, self.outbox.depth()))
                worst = 0.0

    # -- memory, words, commands ------------------------------------------------------------------

    def _recall(self) -> tuple[Memory, Verdict]:
        """The core's memory with the alarms that were open when the last boot ended."""
        at = self.clock.now()
        if self.recorder:  # a recording begins with an empty memory, as its replay will
            self.recorder.event(Start(self.outbox.boot, at))
            return self.core.start(self.outbox.boot, at), NOTHING
        return self.core.recall(self.outbox.recall(), self.outbox.boot, at)

    def _event(self, event: Event) -> None:
        """Keep an event for the platforms and say it here."""
        if event.kind == "order-refused" and event.facts.get("reason") == RELEASE:
            return  # not armed, and nothing wanted it on
        self._quarantined += event.kind == "store-corrupt"
        if event.kind in ("link-up", "link-down"):
            self.links[event.source] = event.kind.removeprefix("link-")
        self.outbox.put_event(event)
        self.audit.put(event)
        say(event.kind, source=event.source, text=event.text)
        if event.kind == "recalled-late":  # the disk came after the start
            self.memory, verdict = self.core.adopt(self.memory, self.outbox.recall(), event.at)
            self._act(verdict)

    def _journal(self, kind: str, text: str) -> None:
        self._event(Event(kind, "journal", self.clock.now(), text))

    def _told(self, kind: str, leaf: str, text: str) -> None:
        if kind == "lost":
            self._lost.add(leaf)
        self._event(Event(f"line-{kind}" if kind == "lost" else kind, leaf, self.clock.now(), text))

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        verb = request.get("verb")
        if verb == "alarms":
            return {"alarms": msgspec.to_builtins(open_alarms(self.memory))}
        if verb == "ack":
            id, by = str(request["id"]), str(request["by"]).strip()
            if not by:
                return {"error": "who acknowledges? give --by NAME"}
            if all(alarm.id != id for alarm in open_alarms(self.memory)):
                return {"error": f"no open alarm has the id {id}"}
            await self.queue.put(Ack(id, by, self.clock.now()))
            return {"ok": id}
        if verb == "status":
            return {
                "boot": self.outbox.boot,
                "version": __version__,
                "config": self.config.hash,
                "uplinks": self.links,
                "waiting": dict(self.outbox.depth()),
                "dropped": dict(self.outbox.lost()),
                "alarms": len(open_alarms(self.memory)),
            }
        return {"error": f"unknown verb {verb!r}; known: ack, alarms, status"}


async def run(config: Config, record: Path | None = None, seconds: float | None = None) -> None:
    """`vedette run`: the agent until SIGTERM or SIGINT (or for `seconds`)."""
    agent = Agent(config, record=record)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    if seconds is not None:
        loop.call_later(seconds, agent.stop)
    await agent.run()
