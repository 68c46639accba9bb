"""Whom to ask when, on one connected line: polls, retries, lost devices, missing registers, orders.

`Bus.turn` does the next thing and says what came of it, as frames and events. It asks by `registers.plan`
through a `Link`. It does not connect or reconnect, judge, or remember anything across a connection.

A device's life on the line:

    polled   one frame per period, on a fixed grid of the monotonic clock
    lost     after 2 polls in a row without any reply: asked one small question (a probe) after 1 s, then
             every 2 s if nobody has to wait for that; else after 2 s, 4 s ... 30 s, and never for more than
             a tenth of the line's time
    polled   again as soon as a probe is answered, even by a refusal; if all were lost it was the line, and
             the others are probed at once

Nobody waits for more than one device that does not answer: behind it come those that are due and do, the last to answer
first. And who did not answer last lets those go before that will be due while it may last: behind them is most room,
and with a time-out of up to a period they keep theirs. Whoever is to be read first at a start is listed first.

Orders overtake: they are taken before every request and while waiting, and who judges what was read has a moment before
anybody is asked anew. Only a probe that runs beside the others on TCP is not asked for them, for it holds nobody up. An
order that failed is handed out again by the shell; here it may take a quarter of the line's time, of a lost device a
tenth, and fails at once until then.
A heartbeat is one short write among them, not read back; a touch reads first, and writes only what stands there.
A heartbeat says that somebody judges what this line shows. It is not written after its period, nor if a living device
had not been polled lately when it was decided: after a pause of the line or of the program the sensors come first.

A block that is not read while its device answers is told once, and once when it is back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.core.errors import BadReply, LineLost, NoReply, Refused, WorldFault
from agent.core.frame import Array, Frame, Instant, Quality
from agent.core.ports import Clock, Event, Orders, Tally, Touch

from . import modbus_wire as wire
from . import registers
from .link import Link, RtuLink, TcpLink, never
from .modbus_wire import Ask, Doubtful, Outcome
from .registers import Block, Channel, Kind, Plan, Span
from .tally import STRETCH, Counts, tally

if TYPE_CHECKING:
    from agent.core.alarm import Order

    from .modbus import Device, Modbus, Output

OPEN_AFTER = 2  # polls in a row without a reply; one may be noise, project
PROBE_FIRST = 1.0  # s after the device was given up
PROBE_FREE = 2.0  # s between probes that nobody waits for: sent beside others on TCP, or all devices are lost
PROBE_LAST = 30.0  # s; the longest wait for a device that comes back among others that live, project
PROBE_SHARE = 0.1  # of the line's time at most for a dead device; reliability.md 2.4
RECHECK = 60.0  # s until registers that were refused are tried again; a device may have been starting
MUTE = 60.0  # s without any byte, all devices lost: perhaps the connection itself is stuck
DISTINCT = 3  # requests in a row to an RTU unit whose replies have different lengths, project
MOMENT = 0.01  # s for the judge before a visit that may take the whole time-out; a frame of 10,000 channels takes 3 ms
LONG = 0.01  # s of silence that an order is not kept waiting for; shorter is the end of a frame
HELPED_ENOUGH = 2  # once may have been a slow moment, project
BISECT_MOST = 64  # requests in one search for missing registers; the next poll goes on
ORDER_SHARE = 0.25  # of the line's time at most for an order that fails again and again, project
BLOCK_MUTE = 3  # polls in a row without a block until that is told; one or two may be noise, project


# -- one device on the line -----------------------------------------------------------------------


class Unit:
    """What the line remembers of one device while it is connected."""

    def __init__(self, device: Device, start: float, timeout: float) -> None:
        self.device = device
        self.layout = registers.shared_layout(device.channel, device.period)
        # The grid of regular polls: multiples of the period on the monotonic clock, so that devices of one period
        # are sampled together on all lines, and the program wakes once for all of them (measured: 0.75 of the CPU).
        self.phase = math.floor(start / device.period) * device.period
        self.due = start  # when it is to be asked next: a poll, a retry or a probe
        self.failures = 0  # polls in a row without any reply
        self.retries = 0  # of the poll under way
        self.lost = False
        self.backoff = PROBE_FIRST
        self.cost = 0.0  # s of line time of the last probe
        self.since = start  # when it answered last
        self.polled = -math.inf  # when the last poll that it answered was handed over
        self.steady = math.inf  # when the first was, of those that followed each other without a pause
        self.probe: asyncio.Task[bool] | None = None
        self.owed: list[tuple[float, tuple[int, int]]] = []  # (when, shape) of asks whose replies may still come
        self.missing: frozenset[tuple[Kind, int]] = frozenset()
        self.recheck = math.inf
        self.unread: dict[tuple[Kind, int], int] = {}  # first register of a block -> polls in a row without it
        self.failed: dict[str, Order] = {}  # output -> the order that failed last
        self.rest = start  # an order that failed may be tried again from here
        self.texts: dict[str, str] = {}
        self.may_pad = device.gap > 0  # until it refuses
        self.padded: set[int] = set()  # blocks asked with a register more than needed
        self.counts = Counts(timeout)
        self.asked: tuple[tuple[int, int], ...] = ()  # shapes of the last requests to this device
        self.measured = np.full(len(self.layout), start)  # (n,) mono s; never measured: as old as the connection
        self.plan_anew()

    def plan_anew(self) -> None:
        device = self.device
        self.plan: Plan = registers.plan(
            device.channel, device.max_registers, device.max_bits, device.gap, self.missing
        )
        self.bytes = bytearray(max(1, self.plan.size))
        self.image: Array = np.frombuffer(self.bytes, np.uint8)  # the same memory
        self.mute: set[int] = set()  # blocks that got no reply last time: asked last
        self.asks = [wire.read(device.unit, b.kind, b.start, b.count) for b in self.plan.blocks]
        self.absent = self.plan.block_of < 0
        self.outcomes: list[Outcome | None] = [None] * len(self.asks)
        self.times = np.zeros(len(self.asks))  # the loop's time of each outcome

    @property
    def is_new(self) -> bool:
        """Whether it never answered a poll."""
        return self.polled == -math.inf

    @property
    def is_doubtful(self) -> bool:
        """Whether its last poll, or probe, had no answer; or its first one, and it is to be tried again."""
        return self.lost or self.failures > 0 or (self.retries > 0 and self.is_new)

    def line_up(self, todo: Sequence[int]) -> list[Ask]:
        """The asks for blocks `todo`, neighbours of different shapes: no stray reply can be taken for the next.

        A register or two more than needed are read for that, where the device allows it (`gap`).
        """
        asks = []
        recent = self.asked
        for i in todo:
            ask, block = self.asks[i], self.plan.blocks[i]
            bits = block.kind in ("coil", "discrete")
            room = min((self.device.max_bits if bits else self.device.max_registers), 0x10000 - block.start)
            for more in range(1, DISTINCT + 1) if self.may_pad else ():
                if ask.shape not in recent:
                    break
                count = block.count + more * (8 if bits else 1)
                if count <= room:
                    ask = wire.read(self.device.unit, block.kind, block.start, count)
            asks.append(ask)
            recent = (*recent[1 - DISTINCT :], ask.shape)
        return asks

    def question(self, shapes: Sequence[tuple[int, int]] = ()) -> Ask:
        """One small read, if possible of none of `shapes`: its reply cannot be taken for an older one."""
        order = sorted(range(len(self.plan.blocks)), key=lambda i: i in self.mute)  # rather one that answers
        for block in (self.plan.blocks[i] for i in order):
            for k in range(1, min(4, len(block.spans)) + 1):
                first, end = block.spans[0][0], max(start + count for start, count in block.spans[:k])
                ask = wire.read(self.device.unit, block.kind, first, end - first)
                if ask.shape not in shapes:
                    return ask
        block = self.plan.blocks[0] if self.plan.blocks else Block("holding", 0, 1, 0, ())
        sizes = (1, 2, 3, 4) if block.kind in ("input", "holding") else (1, 9, 17, 25)
        asks = [wire.read(self.device.unit, block.kind, block.start, size) for size in sizes]
        return next((ask for ask in asks if ask.shape not in shapes), asks[0])

    def next_period(self, now: float) -> None:
        """The next point of the grid after `now`: no drift, and polls that were missed are not made up for."""
        periods = max(0, math.floor((now - self.phase) / self.device.period) + 1)
        self.phase += periods * self.device.period
        self.due = self.phase


def is_alive(outcome: Outcome | None) -> bool:
    """Whether the device itself answered, be it with a refusal."""
    return isinstance(outcome, bytes) or (isinstance(outcome, Refused) and outcome.code not in wire.UNREACHED)


# -- the line's day -------------------------------------------------------------------------------


class Bus:
    """Decides whom to ask when, on one connected line. One task uses it; it holds no lock."""

    def __init__(self, driver: Modbus, link: Link, clock: Clock, orders: Orders) -> None:
        self.driver, self.link, self.clock, self.orders = driver, link, clock, orders
        self.half_duplex = isinstance(link, RtuLink)
        self.loop = asyncio.get_running_loop()
        start = clock.now().mono
        self.units = [Unit(device, start, driver.timeout) for device in driver.device]
        self.outputs = {o.name: o for o in driver.output}
        self.unit_of = {unit.device.name: unit for unit in self.units}
        self.patience = BLOCK_MUTE
        self.worst = driver.worst()  # s that a poll may come late
        self.order: Order | None = None  # taken, not yet written
        self.helped = 0  # times in a row that a poll was completed only without the pipeline
        self.late: Unit | None = None  # it owes a reply: ask somebody else first
        self.behind = False  # somebody answered just now: there is no more room than here
        self.silent: Unit | None = None  # it did not answer just now
        self.ahead: list[Unit] = []  # who goes before anybody else
        self.patient: Unit | None = None  # it may not answer, and let them go before
        self.telling = start + STRETCH  # when it is told next how the devices answer

    def close(self) -> None:
        for unit in self.units:
            if unit.probe is not None and not unit.probe.cancel() and not unit.probe.cancelled():
                unit.probe.exception()  # it ended with the line; that was told already
        self.link.close()

    def told(self) -> Tally | None:
        """How the devices answered lately, every `STRETCH` s."""
        now = self.clock.now()
        if now.mono < self.telling:
            return None
        self.telling = now.mono + STRETCH
        fared = [unit.counts.fared(unit.device.name, unit.device.unit, unit.lost) for unit in self.units]
        for unit in self.units:
            unit.counts.turn()
        return tally(self.driver.name, now, self.driver.timeout, self.half_duplex, fared)

    async def turn(self) -> list[Frame | Event]:
        """Do the next thing: an order, a poll, a probe, or wait for one of them. Raises LineLost."""
        await asyncio.sleep(0)  # what was read is judged now: its order goes before the next request
        self.link.check()
        if self._interrupted():
            return [await self._obey()]
        if (pause := self.link.pause()) > LONG:  # who is due is seen when the line may be used
            await self.orders.wait(pause)
            return []
        now = self.clock.now().mono
        unit = self._next(now)
        if unit.due > now:
            self.behind = False
            await self.orders.wait(unit.due - now)
            return []
        slow = (unit.is_doubtful or unit.is_new) and not self.link.concurrent
        await self.orders.wait(MOMENT if slow else 0.0)  # a bus without a free moment comes round here all the same
        if slow and self._interrupted():
            return [await self._obey()]
        self.ahead = [other for other in self.ahead if other is not unit]
        if unit is self.late:
            await self._let_another_speak(unit)
        said = await (self._probe(unit) if unit.lost else self._poll(unit))
        self.behind = unit.since >= now
        self.silent = None if self.behind else unit
        return said

    async def visit(self, unit: Unit) -> list[Frame | Event]:
        """One complete poll with its retries and its search for missing registers; it tells what was not read."""
        self.patience = 1
        said = await self._poll(unit)
        tries = 0
        while unit.due <= self.clock.now().mono and tries < OPEN_AFTER + unit.device.retries:
            tries += 1
            events: list[Frame | Event] = [item for item in said if isinstance(item, Event)]
            said = events + await self._poll(unit)
        return said or [self._lose(unit, self.clock.now())]

    def _next(self, now: float) -> Unit:
        """Who is due first, but for those whom a unit that does not answer lets go before."""
        if self.silent is not None:
            self.ahead, self.silent, self.patient = self._living(now, 0.0, self.silent), None, None
        if self.ahead:
            return self.ahead[0]
        unit = min(self.units, key=lambda u: u.due)
        if unit.is_doubtful and unit.due <= now and unit is not self.patient and not self.link.concurrent:
            lasts = 2 * self.driver.timeout if self.half_duplex else self.driver.timeout  # dirt included
            self.ahead, self.patient = self._living(now, 0.0 if self.behind else lasts, unit), unit
        return self.ahead[0] if self.ahead else unit

    def _living(self, now: float, within: float, but: Unit) -> list[Unit]:
        """Who else is due within so many s and answered last time; of those that are due now who did so last first."""
        others = [u for u in self.units if u.due <= now + within and not u.is_doubtful and u is not but]
        return sorted(others, key=lambda u: (max(0.0, u.due - now), u.retries, -u.since))

    def _interrupted(self) -> bool:
        if self.order is None:
            self.order = self.orders.take()
        return self.order is not None

    async def run(
        self, unit: Unit, asks: Sequence[Ask], stop: Callable[[], bool]
    ) -> tuple[list[Outcome | None], list[float]]:
        """`Link.run`, remembering who owes a reply. An order that comes while the line must be silent is not kept."""
        while stop is not never and (pause := self.link.pause(asks[0])) > LONG:
            if stop():
                return [None] * len(asks), [0.0] * len(asks)
            await self.orders.wait(pause)
            self.link.check()
        begun = self.loop.time()
        outcomes, times = await self.link.run(asks, self.driver.timeout, stop)
        unit.counts.add(outcomes, _taken(begun, times, not (isinstance(self.link, TcpLink) and self.link.pipeline > 1)))
        failed = [a for a, o in zip(asks, outcomes, strict=True) if isinstance(o, NoReply | BadReply)]
        # On TCP, too: there are gateways that send a late reply under the transaction id of the open request.
        unit.owed += [(self.loop.time(), ask.shape) for ask in failed]
        if self.half_duplex:
            shapes = [ask.shape for ask, outcome in zip(asks, outcomes, strict=True) if outcome is not None]
            unit.asked = (*unit.asked, *shapes)[-DISTINCT:]
            if self.late is not unit and any(is_alive(o) for o in outcomes):
                self.late = None
            if failed:
                self.late = unit
        return outcomes, times

    async def ask(self, unit: Unit, make: Callable[[], Ask], said: list[Frame | Event]) -> Outcome:
        """The outcome of one request, after the orders that are due; `make` is called when its turn has come."""
        while True:
            (outcome,), _ = await self.run(unit, [make()], self._interrupted)
            if outcome is not None:
                return outcome
            said.append(await self._obey())

    # -- a poll -----------------------------------------------------------------------------------

    async def _poll(self, unit: Unit) -> list[Frame | Event]:
        said: list[Frame | Event] = []
        if unit.retries == 0:
            unit.outcomes = [None] * len(unit.asks)
        while todo := [i for i, outcome in enumerate(unit.outcomes) if outcome is None]:
            if unit.owed and not await self._synchronise(unit, said):
                break
            asks = unit.asks
            if len(todo) < len(unit.asks) or unit.mute or self.half_duplex:
                todo.sort(key=lambda i: (i in unit.mute, i))  # one mute block must not hide those behind it
                asks = unit.line_up(todo) if self.half_duplex else [unit.asks[i] for i in todo]
            unit.padded = {i for i, ask in zip(todo, asks, strict=True) if ask is not unit.asks[i]}
            outcomes, times = await self.run(unit, asks, self._interrupted)
            for i, outcome, time in zip(todo, outcomes, times, strict=True):
                unit.outcomes[i], unit.times[i] = outcome, time
            unit.mute = {i for i, outcome in enumerate(unit.outcomes) if isinstance(outcome, NoReply | BadReply)}
            if self.order is None:
                break
            said.append(await self._obey())
        said += await self._conclude(unit)
        if not unit.failures and not unit.retries:
            now = self.clock.now().mono
            unit.steady = unit.steady if self._is_fresh(unit, now) else now
            unit.polled = now
        return said

    async def _conclude(self, unit: Unit) -> list[Frame | Event]:
        """What a finished poll means: a retry, a loss, missing registers, a frame."""
        said: list[Frame | Event] = []
        now = self.clock.now()
        heard = any(is_alive(o) for o in unit.outcomes)
        cut = any(not is_alive(o) for o in unit.outcomes)
        if cut and unit.retries < unit.device.retries and unit.failures == 0:
            unit.retries += 1
            unit.outcomes = [o if is_alive(o) else None for o in unit.outcomes]
            unit.due = now.mono
            self._one_at_a_time(heard)
            return said
        if not unit.retries:
            self.helped = self.helped if cut else 0
        else:
            said += self._several_at_a_time(unit, not cut)
        unit.retries = 0
        unit.next_period(now.mono)
        if not heard and unit.asks:
            unit.failures += 1
            if unit.failures >= OPEN_AFTER:
                said.append(self._lose(unit, now))
            return said
        unit.failures, unit.since = 0, now.mono
        frame, texts = self._frame(unit, now)
        if frame is not None:
            said.append(frame)
        said += texts
        if unit.unread or not all(isinstance(o, bytes) for o in unit.outcomes):
            said += self._blocks(unit)
        refused = [b for b, o in zip(unit.plan.blocks, unit.outcomes, strict=True) if _is_absent(o)]
        if refused:
            said += await self._find_missing(unit, refused)
        elif now.mono >= unit.recheck:
            said += await self._recheck(unit)
        return said

    def _one_at_a_time(self, heard: bool) -> None:
        """Part of a pipelined poll stayed without reply: retry it without the pipeline."""
        if isinstance(self.link, TcpLink) and heard:
            self.link.pipeline = 1

    def _several_at_a_time(self, unit: Unit, helped: bool) -> list[Frame | Event]:
        """After that retry: if it helps again and again, this device drops what is sent ahead. Leave it so then."""
        if not isinstance(self.link, TcpLink) or not self.link.concurrent or self.link.pipeline == self.driver.pipeline:
            return []
        self.helped = self.helped + 1 if helped else 0
        if self.helped < HELPED_ENOUGH:
            self.link.pipeline = self.driver.pipeline
            return []
        self.link.concurrent = False
        text = f"{unit.device.name} loses requests that are sent ahead; asking one at a time. Set pipeline = 1"
        return [self._event("pipeline-off", unit, text, {"pipeline": self.driver.pipeline})]

    def _frame(self, unit: Unit, now: Instant) -> tuple[Frame | None, list[Frame | Event]]:
        """The poll as columns, and the strings that changed; None if no block was read."""
        plan = unit.plan
        read = np.zeros(len(unit.asks), bool)
        doubtful = False
        for i, outcome in enumerate(unit.outcomes):
            if isinstance(outcome, bytes):
                block = plan.blocks[i]
                unit.bytes[block.offset : block.offset + block.size] = outcome[: block.size]
                read[i] = True
                doubtful = doubtful or isinstance(outcome, Doubtful)
        if not read.any():
            return None, []
        raw, value, quality = registers.decode(plan, unit.image)
        waited = self.loop.time() - unit.times
        age = np.take(waited, plan.block_of, mode="clip") if len(waited) else np.zeros(len(raw))
        if doubtful:
            doubt = np.array([isinstance(o, Doubtful) for o in unit.outcomes])
            mask = doubt[plan.block_of] & (quality == Quality.GOOD) & ~unit.absent
            quality[mask] = Quality.UNCERTAIN
        if not read.all() or unit.absent.any():
            missed = ~read[plan.block_of] & ~unit.absent
            raw[missed | unit.absent] = np.nan
            value[missed | unit.absent] = np.nan
            quality[missed] = Quality.UNCERTAIN
            quality[unit.absent] = Quality.FAULT
            age[unit.absent] = 0.0  # the refusal is fresh
            age[missed] = now.mono - unit.measured[missed]
            unit.measured[~missed] = now.mono - age[~missed]
        else:
            unit.measured = now.mono - age
        frame = Frame(unit.device.name, now, unit.layout, raw, value, quality, age)
        return (frame if len(raw) else None), self._texts(unit, read)

    def _texts(self, unit: Unit, read: Array) -> list[Frame | Event]:
        """The strings that changed, of the blocks that were read."""
        said: list[Frame | Event] = []
        for text in unit.plan.texts:
            if text.block >= 0 and read[text.block]:
                words = registers.text_of(text, unit.image)
                if unit.texts.get(text.key) != words:
                    unit.texts[text.key] = words
                    facts = {"key": text.key, "value": words}
                    said.append(self._event("text", unit, f"{unit.device.name}/{text.key} is {words!r}", facts))
        return said

    def _blocks(self, unit: Unit) -> list[Frame | Event]:
        """The blocks that stay without data although the device answers, and those that are back."""
        said: list[Frame | Event] = []
        for block, outcome in zip(unit.plan.blocks, unit.outcomes, strict=True):
            end = block.start + block.count
            if isinstance(outcome, bytes) or _is_absent(outcome):  # what is absent is told by the search
                inside = [c for c in unit.unread if c[0] == block.kind and block.start <= c[1] < end]
                told = [unit.unread.pop(cell) >= self.patience for cell in inside]
                kind, why = "block-answers", "is read again"
                if not any(told) or not isinstance(outcome, bytes):
                    continue
            elif isinstance(outcome, WorldFault):
                polls = unit.unread[block.kind, block.start] = unit.unread.get((block.kind, block.start), 0) + 1
                kind, why = "block-mute", f"is not read: {outcome}"
                if polls != self.patience:
                    continue
            else:
                continue  # it was not asked
            keys = [c.key for c in unit.device.channel if _is_within(block, c)]
            where = f"{block.kind} {registers.ranges(range(block.start, end))}"
            facts = {"kind": block.kind, "start": block.start, "count": block.count, "channels": keys}
            said.append(self._event(kind, unit, f"{unit.device.name} {where} ({', '.join(keys)}) {why}", facts))
        return said

    # -- devices that are lost --------------------------------------------------------------------

    def _lose(self, unit: Unit, now: Instant) -> Event:
        unit.lost = True
        unit.backoff = PROBE_FIRST
        unit.due = now.mono + unit.backoff
        fault = next((o for o in unit.outcomes if isinstance(o, WorldFault)), None)
        text = f"{unit.device.name} does not answer: {fault}" if fault else f"{unit.device.name} does not answer"
        return self._event("device-lost", unit, text, {"unit": unit.device.unit})

    async def _probe(self, unit: Unit) -> list[Frame | Event]:
        """One small question to a lost device; where the line allows it, without keeping the others waiting."""
        said: list[Frame | Event] = []
        if self.link.concurrent:
            if unit.probe is None:
                unit.probe = asyncio.create_task(self._answers_aside(unit))
                unit.due = self.clock.now().mono + self.driver.timeout + 0.01
                return []
            alive = await unit.probe
            unit.probe, unit.cost = None, 0.0
        else:
            begun = self.clock.now().mono
            alive = await self._synchronise(unit, said)
            if not said:  # else it was an order that took the time
                unit.cost = self.clock.now().mono - begun
        now = self.clock.now()
        if not alive:
            self._give_up_if_mute(now.mono)
            free = self.link.concurrent or all(u.lost for u in self.units)
            unit.backoff = min(PROBE_FREE if free else PROBE_LAST, 2 * unit.backoff)
            unit.due = now.mono + (unit.backoff if free else max(unit.backoff, unit.cost / PROBE_SHARE))
            return said
        if all(u.lost for u in self.units):
            for other in self.units:
                other.due, other.backoff = now.mono, PROBE_FIRST
        unit.lost, unit.failures, unit.retries = False, 0, 0
        unit.failed.clear()  # orders are tried at once again
        unit.due = now.mono
        silent = now.mono - unit.since
        unit.since = now.mono
        facts = {"unit": unit.device.unit, "silent_s": round(silent, 3)}
        return [*said, self._event("device-recovered", unit, f"{unit.device.name} answers again", facts)]

    async def _answers_aside(self, unit: Unit) -> bool:
        """Whether a lost device answers, asked beside other requests: no order waits for it."""
        (outcome,), _ = await self.run(unit, [unit.question()], never)
        return is_alive(outcome)

    async def _synchronise(self, unit: Unit, said: list[Frame | Event]) -> bool:
        """Whether the device answers a read whose reply no late reply can be taken for.

        A unit answers in order, so once this one is answered nothing older can come. Without it a reply
        that is later than the dirty line was silent would count as the answer to the next request.
        """
        outcome = await self.ask(unit, lambda: unit.question(self._owed(unit)), said)
        if is_alive(outcome):
            unit.owed.clear()
            return True
        unit.outcomes = [o if is_alive(o) else outcome for o in unit.outcomes]
        return False

    def _owed(self, unit: Unit) -> list[tuple[int, int]]:
        patience = 10 * self.driver.timeout
        unit.owed = [(when, shape) for when, shape in unit.owed if self.loop.time() - when < patience]
        return [shape for _, shape in unit.owed]

    async def _let_another_speak(self, unit: Unit) -> None:
        """One small read of another living device between a late unit's time-out and its next request."""
        other = next((u for u in self.units if u is not unit and not u.lost and u.asks and not u.owed), None)
        if other is not None:
            await self.run(other, [other.question()], self._interrupted)
            if self.order is not None:
                return  # not asked; it is still to be done
        self.late = None

    def _give_up_if_mute(self, now: float) -> None:
        """A connection through which nothing came for long may be stuck itself: start afresh."""
        if (
            isinstance(self.link, TcpLink)
            and all(u.lost for u in self.units)
            and self.loop.time() - self.link.heard > MUTE
        ):
            raise LineLost(f"{self.driver.url}: nothing came for {MUTE:g} s; connecting afresh")

    # -- registers that do not exist --------------------------------------------------------------

    async def _find_missing(self, unit: Unit, blocks: Sequence[Block]) -> list[Frame | Event]:
        """Bisect refused blocks; remember what is missing, report it and poll again without it."""
        if unit.padded:  # perhaps it was only the register more: never again, and see
            unit.may_pad = False
            unit.due = self.clock.now().mono
            return []
        search = Search(self, unit)
        for block, outcome in zip(unit.plan.blocks, unit.outcomes, strict=True):
            if block in blocks:
                assert isinstance(outcome, Refused)
                await search.narrow(block.kind, block.spans, outcome.code)
        said = search.said
        if not search.missing and not search.holes:
            return said
        unit.missing |= search.missing | search.holes
        unit.plan_anew()
        now = self.clock.now().mono
        unit.recheck = now + RECHECK
        if unit.asks:
            unit.due = now  # the rest is readable: do not wait for the next period
        for kind in registers.KINDS:
            absent = sorted(a for k, a in search.missing if k == kind)
            if absent:
                cells = {(kind, a) for a in absent}
                keys = [c.key for c in unit.device.channel if not cells.isdisjoint(occupied(c))]
                text = f"{unit.device.name} has no {kind} {registers.ranges(absent)}: {', '.join(keys)} cannot be read"
                said.append(
                    self._event("registers-missing", unit, text, {"kind": kind, "registers": absent, "channels": keys})
                )
        return said

    async def _recheck(self, unit: Unit) -> list[Frame | Event]:
        """Ask once more for the first missing value; if it is there now, forget what was missing."""
        unit.recheck = self.clock.now().mono + RECHECK
        said: list[Frame | Event] = []
        for channel in unit.device.channel:
            if not unit.missing.isdisjoint(occupied(channel)):
                where = registers.place(channel.at)
                what = unit.device.unit, where.kind, where.start, registers.registers_of(channel)
                if not isinstance(await self.ask(unit, partial(wire.read, *what), said), bytes):
                    return said
                unit.missing = frozenset()
                unit.recheck = math.inf
                unit.plan_anew()
                unit.due = self.clock.now().mono
                return [*said, self._event("registers-found", unit, f"{unit.device.name} has registers again", {})]
        unit.recheck = math.inf  # only unused registers are missing; nobody misses them
        return []

    # -- orders -----------------------------------------------------------------------------------

    async def _obey(self) -> Event:
        """Write the order that was taken, read it back, tell what became of it. Raises LineLost."""
        order, self.order = self.order, None
        assert order is not None
        begun = self.clock.now()
        output = self.outputs.get(order.output)
        word = "on" if order.on else "off"
        facts: dict[str, Any] = {"output": order.output, "on": order.on, "reason": order.reason}
        drilled = isinstance(order, Touch)
        if output is None or not output.armed or (drilled and not output.verify):
            why = "no such output here" if output is None else "not armed; set armed = true to allow it"
            if output is not None and output.armed:
                why = "verify = false: what stands there cannot be read"
            return Event("order-refused", self.driver.name, begun, f"{order.output} {word}: {why}", facts)
        if output.heartbeat is not None and (why := self._says_nothing(order.at.mono, begun.mono, output.heartbeat)):
            return Event("order-failed", output.device, begun, f"{order.output} {word}: {why}", facts)
        unit = self.unit_of[output.device]
        failed = unit.failed.get(output.name)
        again = failed is not None and (output.heartbeat is not None or failed == order)  # each beat is another order
        if again and begun.mono < unit.rest:
            return Event("order-failed", output.device, begun, f"{order.output} {word}: failed before, waits", facts)
        fault = await self._stands(output, order.on) if drilled else None
        written = read_back = math.nan
        for _ in range(1 if again else 2):  # writing twice does no harm, and a relay is worth a second try
            if drilled and fault is not None:
                break  # what does not stand as it should is not touched
            written, fault = await self._write(output, order.on)
            if fault is None and output.verify and output.heartbeat is None:
                fault = await self._stands(output, order.on)
                read_back = self.clock.now().mono
            if fault is None or isinstance(fault, Refused):
                break
        done = self.clock.now()
        facts["ms"] = round(1000 * (done.mono - begun.mono), 3)
        facts["ms_since_decided"] = round(1000 * (done.mono - order.at.mono), 3)
        if fault is not None and drilled:
            return Event("order-failed", output.device, done, f"{order.output} {word}: {fault}", facts)
        if fault is not None:
            unit.failed[output.name] = order
            unit.rest = done.mono + (done.mono - begun.mono) / (PROBE_SHARE if unit.lost else ORDER_SHARE)
            return Event("order-failed", output.device, done, f"{order.output} {word}: {fault}", facts)
        unit.failed.pop(output.name, None)
        if unit.lost:
            unit.due = done.mono  # it answers: probe it now
        facts |= {"verified": output.verify, "written": written}
        if not math.isnan(read_back):
            facts["read_back"] = read_back
        return Event("order-done", output.device, done, f"{order.output} is {word}", facts)

    def _says_nothing(self, decided: float, now: float, period: float) -> str:
        """Why a heartbeat that was decided then is not worth writing, in words; empty where it is."""
        if now - decided >= period:
            return "too late"
        living = [unit for unit in self.units if not unit.lost]
        unseen = [u.device.name for u in living if decided < u.steady or not self._is_fresh(u, decided)]
        return f"decided without a poll of {', '.join(unseen)}" if unseen else ""

    def _is_fresh(self, unit: Unit, now: float) -> bool:
        """Whether it was polled lately: one poll that fails may be noise."""
        return now - unit.polled <= OPEN_AFTER * unit.device.period + self.worst

    async def _write(self, output: Output, on: bool) -> tuple[float, WorldFault | None]:
        """Write one state. When the device said yes, monotonic s; why it did not, or None."""
        asked = self.unit_of[output.device]
        unit, where = asked.device.unit, registers.place(output.at)
        word = output.on if on else output.off
        many = output.write == "multiple"
        if where.kind == "coil":
            ask = wire.write_coils(unit, where.start, [on]) if many else wire.write_coil(unit, where.start, on)
        else:
            ask = (
                wire.write_registers(unit, where.start, [word])
                if many
                else wire.write_register(unit, where.start, word)
            )
        (got,), _ = await self.run(asked, [ask], never)
        return self.clock.now().mono, got if isinstance(got, WorldFault) else None

    async def _stands(self, output: Output, on: bool) -> WorldFault | None:
        """Read one output; why it does not stand as it should, or None."""
        asked = self.unit_of[output.device]
        where = registers.place(output.at)
        (got,), _ = await self.run(asked, [wire.read(asked.device.unit, where.kind, where.start, 1)], never)
        if isinstance(got, WorldFault):
            return got
        assert isinstance(got, bytes)
        stands = got[0] & 1 if where.kind == "coil" else int.from_bytes(got, "big")
        wanted = int(on) if where.kind == "coil" else output.on if on else output.off
        if stands != wanted:
            return BadReply(f"{output.at} should be {wanted} and reads back {stands}; is it in local or manual mode?")
        return None

    def _event(self, kind: str, unit: Unit, text: str, facts: dict[str, Any]) -> Event:
        return Event(kind, unit.device.name, self.clock.now(), text, facts)


class Search:
    """A search for missing registers: what was found, and how many requests it may still cost."""

    def __init__(self, bus: Bus, unit: Unit) -> None:
        self.bus, self.unit = bus, unit
        self.left = BISECT_MOST
        self.said: list[Frame | Event] = []  # orders that were obeyed meanwhile
        self.missing: set[tuple[Kind, int]] = set()
        self.holes: set[tuple[Kind, int]] = set()  # unused registers that cannot be bridged

    async def narrow(self, kind: Kind, spans: Sequence[Span], code: int) -> bool:
        """`spans`, read together, were refused with `code`: find out which. Whether anything is missing."""
        if len(spans) == 1 or code == 1:  # code 1: the device does not know this function at all
            self.missing |= {(kind, a) for start, count in spans for a in range(start, start + count)}
            return True
        middle = len(spans) // 2
        found = [await self._try(kind, half) for half in (spans[:middle], spans[middle:])]
        if found == [False, False]:  # both halves can be read, together they cannot: it is what lies between
            end = max(start + count for start, count in spans[:middle])
            self.holes |= {(kind, a) for a in range(end, spans[middle][0])}
        return True in found

    async def _try(self, kind: Kind, spans: Sequence[Span]) -> bool | None:
        """Whether anything in `spans` is missing; None if that could not be found out."""
        if self.left <= 0:
            return None
        self.left -= 1
        end = max(start + count for start, count in spans)
        ask = wire.read(self.unit.device.unit, kind, spans[0][0], end - spans[0][0])
        outcome = await self.bus.ask(self.unit, lambda: ask, self.said)
        if isinstance(outcome, bytes):
            return False
        if _is_absent(outcome):
            assert isinstance(outcome, Refused)
            return await self.narrow(kind, spans, outcome.code)
        return None


def _taken(begun: float, times: Sequence[float], in_turn: bool) -> list[float]:
    """s that each of some requests took; those that are sent together are measured from their begin."""
    if not in_turn or len(times) == 1:
        return [time - begun for time in times]
    return [time - before for before, time in zip([begun, *times[:-1]], times, strict=True)]


def _is_absent(outcome: Outcome | None) -> bool:
    return isinstance(outcome, Refused) and outcome.code in wire.ABSENT


def _is_within(block: Block, channel: Channel) -> bool:
    where = registers.place(channel.at)
    return where.kind == block.kind and (where.start, registers.registers_of(channel)) in block.spans


def occupied(channel: Channel) -> set[tuple[Kind, int]]:
    """The registers (or bits) that hold the channel."""
    where = registers.place(channel.at)
    return {(where.kind, a) for a in range(where.start, where.start + registers.registers_of(channel))}
