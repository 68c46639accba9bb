"""The composition root: lines, judge, store and uplinks in one loop.

A sample crosses five rooms: ask, decode, judge, keep, tell. Orders leave from the judge at once, before
disk and wire. One bounded queue lies between the drivers and the judge: when the judge is behind, the
drivers wait and the lag is a channel of its own.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import msgspec

from drivers import tally

from . import (
    __version__,
    checkpoint,
    child,
    commission,
    control,
    deeds,
    drafts,
    drill,
    keys,
    ledger,
    limits,
    migrate,
    provenance,
    reels,
    secret,
    status,
    tls,
    trend,
    update,
)
from .audit import Audit, Pace, verify
from .carry import carried, same_layout
from .clerk import Clerk
from .clock import Steps, SystemClock, kernel, offset
from .comeback import Comeback
from .config import Config, load
from .core.alarm import EVENT_NAMES, Alarm, Order
from .core.alarm import Event as Edge
from .core.colours import UNCOLOURED
from .core.core import NOTHING, VERBS, Ack, Action, Core, Input, Kept, Memory, Tick, Verdict, open_alarms
from .core.errors import ConfigFault
from .core.exposure import PERSON, Presence
from .core.frame import Instant
from .core.load import figures
from .core.ports import Brief, Driver, Event, Identity, Lane, Tally, Witness
from .core.words import LANGUAGES
from .deeds import Deeds, Reach
from .desk import Desk, Result
from .doorway import Doorway
from .hand import Hand
from .hazards import sentence
from .health import Begun, Health, Lately, Vitals, starts, within_a_day
from .journal import Recorder, Start
from .ledger import Ledger, SetTo
from .log import say
from .orders import OrderBox
from .outbox import Outbox
from .proof import Proofs, trips
from .reload import Plan, compared, merged
from .supervise import (
    HEALTHY,
    Lease,
    Leases,
    Pauses,
    Record,
    Watchdog,
    culprit,
    described,
    end_within,
    keep,
    turning,
    watch,
)
from .traces import Traces
from .trend import Trends

Task = asyncio.Task[None]

QUEUE = 1000  # frames between drivers and judge
OWN = (Health.SOURCE, tls.SOURCE)  # sources that are told by this program itself
ACKNOWLEDGED = EVENT_NAMES[Edge.ACK]
RELEASE = "start"  # the reason of orders that no alarm gave

# Leases, s: how long each may do no useful work before it counts as hanging. All of them are longer than any work
# that was ever measured, and those of critical tasks with `supervise.ENDING` shorter than WatchdogSec of the service,
# so that the reason is told before systemd acts. The loop's own standing still counts for nobody.
JUDGE_LEASE = 5.0  # a tick comes each second
TICK_LEASE = 5.0
STORE_LEASE = 6.0  # it answers every `PROBE` s, be it that the disk is slow or in trouble
LINE_LEASE = 10.0  # at least; twice the driver's own worst case where that is longer. Connecting over TCP takes 5
CONNECT_LEASE = 40.0  # of an uplink: a dead name server costs 10, TCP 10, TLS 10, the broker's answer a turn of its own
LINK_LEASE = 8.0  # of an uplink that is connected: it comes round at least every second
CONTROL_LEASE = 10.0  # it asks itself every 3 s
WEB_LEASE = 15.0  # it asks itself every 3 s
RECENT = 200  # events that the local page can show
RECORD_LEASE = 600.0  # a card may take minutes to read the journal
CLERK_LEASE = 60.0  # it looks twice a second; a card may take long for a file
DESK_LEASE = 60.0  # the same

READ_BACK = 120.0  # s after the start until the journal is read back once; before, there is more to do
DATING = 60.0  # s between looks at how old the backlog is
PROBE = 2.0  # s between questions whether the store still works
PART = 10.0  # s that leaves may take to end whose settings changed: a camera's child says goodbye, too
LEAVE = 1.5  # s that all tasks may take to end once cancelled: an uplink says goodbye for 0.9
SAFE = 10.0  # s that the journal may take until what was told of evidence counts as not told
ANSWER = 3.0  # s that whoever commands on this machine waits for the next word; then it is told what is known
BEYOND = 30.0  # s after which a new configuration whose trial nobody ends is ended by a thread
STOP = 3.2  # s that a stop may take in all; what is unacknowledged is left to the next start
LAST = 4.2  # s after SIGTERM until the process ends whatever hangs; 5 is promised
HURRY = 0.5  # s after a second SIGTERM


class Agent:
    """One site, running. `run()` ends when `stop()` was called; what was accepted stays in the store."""

    def __init__(
        self,
        config: Config,
        clock: SystemClock | None = None,
        record: Path | None = None,
        trial: update.Trial | None = None,
        migrated: Sequence[migrate.Told] = (),
    ) -> None:
        self.config = config
        self._migrated = migrated  # what was done to the state of an older program
        self.trial = trial  # of a new configuration, or how one ended
        self.again = False  # another life is to follow this one
        self.clock = clock or SystemClock()
        self.began = self.clock.now()
        self.core = config.core()
        self.digest = update.digest(config.path)  # of the site file
        self.queue: Doorway[Input | Event | asyncio.Future[None]] = Doorway(QUEUE, self.clock)
        self.leases = Leases(self.clock)
        self.recorder = Recorder(record) if record else None
        self.links: dict[str, str] = {}  # uplink -> its last state, for people
        self.tallies: dict[str, Tally] = {}  # line -> how it fared lately, for people
        self.recent: deque[Event] = deque(maxlen=RECENT)  # newest last, for people
        self._acks: deque[Alarm] = deque(maxlen=RECENT)  # edges by which people acknowledged alarms, newest last
        self._recalled = False  # what an earlier life knew of trends
        self.trends = Trends(config.web.trend_mb * 1e6 if config.web is not None else 0.0)
        self.lost: dict[str, str] = {}  # lines and uplinks that failed last, and why, for people
        self._lost: set[str] = set()  # lines that were told as lost
        self._ordered = False  # an order waits for its bus task
        self._quarantined = 0  # files that were found corrupt since the start
        self._lease: dict[str, Lease] = {}  # of leaves
        self._records: dict[str, Record] = {"callbacks": Record()}  # how leaves fared
        self._crashes = 0  # exceptions that nobody expected since the start
        self._proofs = Proofs(config.site.language)
        self._drills = 0  # since the start
        self._drilling = False
        self.clerk: Clerk | None = None  # where a camera keeps evidence
        self.desk: Desk | None = None  # where commands come in; a recording hears none
        self._leaves: dict[str, Task] = {}  # duty -> what keeps it
        self.reloading = False
        self._errands: set[asyncio.Task[Any]] = set()  # reloads under way
        self._manifests: dict[str, asyncio.Future[dict[str, Any]]] = {}  # alarm -> who waits for its evidence
        self._unsigned = ""  # why nothing signs the journal
        self._dating = 0.0  # monotonic s from when on the age of the backlog is looked up again
        self._stopping = asyncio.Event()
        self._patience: asyncio.Timeout | None = None  # of a stop under way

    def stop(self) -> None:
        """Begin to stop; asked again, hurry."""
        if self._stopping.is_set() and self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())
        self._stopping.set()

    async def run(self) -> None:
        """Run until stopped. Raises `StoreFault` when not even a store in memory can be made."""
        watchdog = Watchdog()
        at = self.clock.now()
        self.outbox = await Outbox.open(
            self.config.store,
            [uplink.name for uplink in self.config.uplinks],
            self.clock,
            told=self._event,
            choices={uplink.name: uplink for uplink in self.config.uplinks if uplink.is_choosy()},
        )
        journal_mb, home = self.config.store.journal_mb, Path(self.config.store.path)
        store = self.config.store
        self.key, unsigned = keys.gateway(store.key_file, make=not store.journal_key)
        self.audit = Audit(home / "journal", int(journal_mb * 2**20), self._told, self.key)
        self._witness = Pace(at.mono)
        remembered, odd = self._remembered(home, at)
        self.core = self.config.core(remembered.limits)
        self.memory, restored = self._recall()
        # nothing of a recording is kept
        self.keeper = None if self.recorder else checkpoint.Keeper(home, self.core, kernel(), self._event)
        site = self.config.site
        self.traces = Traces(self.core, self.outbox.boot, self.config.hash, partial(self.audit.put, sign=True))
        self.who = Identity(site.name, site.node, self.outbox.boot, __version__, self.config.hash, home=str(home))
        self.boxes: dict[str, OrderBox] = {}
        self._deciding: dict[str, frozenset[str]]  # line -> the sources that decide on what its heartbeats guard
        self._owner: dict[str, OrderBox]
        self._hearts: dict[str, OrderBox]
        for driver in self.config.drivers:
            self._box(driver)
        self.wire()
        say(
            "started",
            version=__version__,
            site=self.config.site.name,
            boot=self.outbox.boot,
            config=self.config.hash,
            channels=sum(len(layout) for layout in self.config.layouts.values()),
            rules=len(self.config.rules),
        )
        if unsigned:
            self._unsigned = unsigned
            self._event(Event("journal-unsigned", "journal", at, f"the journal is chained, but not signed: {unsigned}"))
        self._event(Event("started", "agent", at, f"version {__version__}, configuration {self.config.hash}"))
        for step in self._migrated:
            self._event(Event("state-migrated" if step.done else "state-not-migrated", "agent", at, step.text))
        for override in self.config.overrides:
            self._event(Event("limit-override", "agent", at, override))
        self._tell_off(at, {})
        armed = [output for driver in self.config.drivers for output in driver.armed()]
        for one in self.config.interlocks:
            self._event(Event("interlock", one.name, at, one.label(self.config.site.language, armed)))
        for hazard in self.config.hazards:
            text = sentence(hazard, self.config.site.language)
            self._event(Event("major-hazard", "agent", at, text, msgspec.to_builtins(hazard)))
        if witnesses := [] if self.recorder else self.config.witnesses():
            self.look_out(witnesses, at)
        for event in odd:
            self._event(event)
        for rule, to in remembered.limits.items():
            self._event(Event("limit-kept", "agent", at, f"limit of {rule}: {to.limit:g}, set by {to.by}"))
        self._act(restored)
        if not self.recorder:
            self.desk = self._desk(home, remembered)
            self._duty("commands", DESK_LEASE)
            for feed in self.outbox.feeds.values():
                feed.heed = self.desk.heard
        self._duty("control", CONTROL_LEASE)
        self._duty("record", RECORD_LEASE)
        for uplink in self.config.uplinks:
            self._duty(f"uplink {uplink.name}", CONNECT_LEASE)
        if self.has_page:
            from .web import server  # noqa: F401  # what it needs is loaded before anything runs

            self._duty("web", WEB_LEASE)
        loop = asyncio.get_running_loop()
        self._broken: asyncio.Future[None] = loop.create_future()  # gets what no task can be blamed for
        before, _ = loop.get_exception_handler(), loop.set_exception_handler(self._mishap)
        tasks = [
            asyncio.create_task(self._judge(), name="judge"),
            asyncio.create_task(self._tick(), name="tick"),
            asyncio.create_task(self.outbox.serve(), name="store"),
            asyncio.create_task(self.audit.serve(), name="journal"),
            asyncio.create_task(watch(self.leases, watchdog, self.clock, self._told), name="watch"),
        ]
        self._kept("control", self._control)
        self._kept("record", self._record)
        if self.clerk is not None:
            self._kept("evidence", self._keep_evidence)
        if self.has_page:
            self._kept("web", self._page)
        if self.desk is not None:
            self._kept("commands", self._keep_desk)
        for driver in self.config.drivers:
            self._polled(driver)
        for uplink in self.config.uplinks:
            self._delivered(uplink)
        proving = None
        if self.trial is not None and self.desk is not None:
            proving = asyncio.create_task(self._prove(self.trial, self.desk), name="trial")
            proving.add_done_callback(self._proved)
        gc.collect()
        gc.freeze()  # what was imported and configured stays: a full collection need not walk it while an alarm waits
        stopping = asyncio.create_task(self._stopped(), name="stopping")
        try:
            done, _ = await asyncio.wait([stopping, self._broken, *tasks], return_when=asyncio.FIRST_COMPLETED)
            watchdog.notify("WATCHDOG=1" if self.again else "STOPPING=1")  # who starts anew does not stop
            if self._broken in done:
                raise self._broken.exception() or RuntimeError
            for task in tasks:
                if task in done:  # a failure of judge, tick, store or watch is ours: crash, loudly
                    raise task.exception() or RuntimeError(f"{task.get_name()} ended by itself")
        except Exception as error:
            text = ": ".join(["the agent ends and is to be started again", *described(error)])
            self._event(Event("crashed", "agent", self.clock.now(), text))
            raise
        finally:
            self._broken.cancel()
            try:
                async with asyncio.timeout(STOP) as self._patience:
                    also = [*self._errands, *([proving] if proving is not None else [])]
                    await self._leave([stopping, *tasks, *self._leaves.values(), *also])
            except TimeoutError:
                say("stop-late", text="the store did not close in time; it is as after a power cut", trouble="store")
            loop.set_exception_handler(before)
            say("stopped", boot=self.outbox.boot)

    @cached_property
    def _hand(self) -> Hand:
        """A thread for files of people's own: trends, comparisons."""
        return Hand("page")

    @property
    def has_page(self) -> bool:
        """Whether there is a local page; a recording shows nothing."""
        return self.config.web is not None and self.recorder is None

    def _duty(self, duty: str, limit: float) -> Lease:
        """The lease of a leaf; a line and an uplink may have the same name, but not the same duty."""
        lease = self._lease[duty] = self.leases.grant(duty, limit, leaf=True)
        return lease

    def _kept(self, duty: str, leaf: Callable[[], Coroutine[Any, Any, None]], pauses: Pauses | None = None) -> None:
        """A leaf under the care of `keep`."""
        record = self._records[duty] = Record()
        care = keep(_name(duty), leaf, self.clock, self._told, pauses, lease=self._lease[duty], record=record)
        task = self._leaves[duty] = asyncio.create_task(care, name=f"keep {duty}")
        task.add_done_callback(self._proved)

    def _polled(self, driver: Driver) -> None:
        self._kept(f"bus {driver.name}", partial(self._pump, driver), Pauses(2.0))

    def _box(self, driver: Driver) -> None:
        """The order box of a line, with its lease."""
        limit = max(LINE_LEASE, 2 * driver.worst())
        hearts = {} if self.recorder else driver.heartbeats()
        beating = {name: period for name, period in hearts.items() if name in driver.armed()}
        self.boxes[driver.name] = OrderBox(self._duty(f"bus {driver.name}", limit).renew, beating)

    def wire(self) -> None:
        """Who owns which output, which heartbeat stands in for what, and what there is to be told: as configured."""
        guards: dict[str, list[str]] = {}
        for one in self.config.interlocks:
            guards.setdefault(one.heartbeat, []).extend(one.guarded)
        self._owner, self._hearts, self._deciding = {}, {}, {}
        for driver in self.config.drivers:
            box = self.boxes[driver.name]
            box.guards = guards
            guarded = [output for name in box.hearts for output in guards.get(name, driver.outputs())]
            self._deciding[driver.name] = self.core.deciding(guarded)
            if not self.recorder:  # a recording watches and switches nothing
                self._owner |= dict.fromkeys(driver.outputs(), box)
                self._hearts |= dict.fromkeys(driver.heartbeats(), box)
        benches = self.core.benches.items()
        self.who.config = self.config.hash
        self.who.layouts = {source: bench.layout for source, bench in benches}
        self.who.points = {(p.rule.name, p.channel): p.rule.level for _, bench in benches for p in bench.points}

    def look_out(self, witnesses: Sequence[Witness], at: Instant) -> None:
        """Cameras of this site keep evidence."""
        keep, run = self._evidence, reels.run_of(kernel())
        self.clerk = Clerk(self.config.evidence, witnesses, self.core.columns, run, self.clock, self._event, keep)
        self.clerk.adopt(open_alarms(self.memory), at)
        self._duty("evidence", CLERK_LEASE)

    async def _stopped(self) -> None:
        await self._stopping.wait()

    async def _leave(self, tasks: Collection[Task]) -> None:
        """End all tasks, keep what was read, close the files: whoever hangs keeps nobody waiting."""
        for task in tasks:
            task.cancel()
        done, late = await asyncio.wait(tasks, timeout=LEAVE)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                say("failed", task=task.get_name(), text=described(error)[0])
        if late:
            say("stop-late", text="does not end when cancelled", tasks=",".join(task.get_name() for task in late))
        try:
            while not self.queue.empty():
                self._take(self.queue.get_nowait())
        finally:
            if self.recorder:
                self.recorder.close()
            self.traces.close()
            keeping = [] if self.keeper is None else [self.keeper.close(self.memory, self.clock.now())]
            keeping += [] if self.clerk is None else [self.clerk.close()]
            keeping += [self._trends_kept()] if self.has_page and self._recalled else []
            keeping += [] if self.desk is None else [self.desk.close()]
            await asyncio.gather(self.outbox.close(), self.audit.close(), *keeping)

    def _mishap(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody caught: of a callback, or of a task that nobody waits for.

        It fails with the leaf that it belongs to. What belongs to none is healed by a new start, for nobody knows what
        it left undone. Where a new start was tried just before, it does not help: then a sentry with an alarm of its
        own is better than none.
        """
        error = context.get("exception")
        if not isinstance(error, Exception):
            say("asyncio", text=context.get("message"))
            return
        duty, now = culprit(context), self.clock.now()
        text, place = described(error)
        self._crashes += 1
        self._event(Event("crashed", _name(duty) or "agent", now, f"in a callback: {text} {place}"))
        if self.leases.condemn(duty, text):
            return
        record = self._records["callbacks"]
        if record.fail(now.mono):
            self._event(Event("degraded", "agent", now, "callbacks fail again and again"))
        record.begin(now.mono)
        if not self._broken.done() and self._may_end(now):
            self.end(error)

    def _may_end(self, now: Instant) -> bool:
        """Whether no mishap ended the process within the last minute; this one is noted. Of the same kernel's clock."""
        note = Path(self.config.store.path) / "mishap"
        try:
            before, at = note.read_text().split() if note.exists() else ("", "0")
            note.write_text(f"{kernel()} {now.mono}\n")
            return before != kernel() or not 0 <= now.mono - float(at) < HEALTHY
        except (OSError, ValueError):
            return False  # better with a scar than again and again from the beginning

    def thread_died(self, failed: threading.ExceptHookArgs) -> None:
        """A thread never comes back, and whoever waits for it waits for ever."""
        threading.__excepthook__(failed)
        if isinstance(failed.exc_value, Exception):
            self.end(failed.exc_value)

    def end(self, error: Exception) -> None:
        """Something is broken that only a new start heals."""
        if not self._broken.done():
            self._broken.set_exception(error)

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
                    self.lost.pop(driver.name, None)
                    await self.queue.put(Event("line-recovered", driver.name, self.clock.now(), "the line is back"))
                if isinstance(item, Tally):
                    self.tallies[driver.name] = item
                    continue
                if isinstance(item, Event):
                    for proof in self._proofs.settle(item):
                        await self.queue.put(proof)
                    if not box.settle(item):
                        continue
                await self.queue.put(item)
        finally:
            await frames.aclose()  # type: ignore[attr-defined]

    async def _judge(self) -> None:
        renew = self.leases.grant("judge", JUDGE_LEASE).renew
        while True:
            self._take(await self.queue.get())
            renew()
            if self._ordered:  # a bus task waits for it, however many frames wait here
                self._ordered = False
                await asyncio.sleep(0)

    def _take(self, item: Input | Event | asyncio.Future[None]) -> None:
        """Judge one item and keep what comes of it. A future hears that its turn has come."""
        if isinstance(item, Event):
            self._event(item)
            return
        if isinstance(item, asyncio.Future):
            if not item.done():
                item.set_result(None)
            return
        if self.recorder:
            self.recorder.event(item)
        self.memory, verdict = self.core.step(self.memory, item)
        self._act(verdict)
        if isinstance(item, Tick):
            told = [event for name, box in self.boxes.items() if self._sees(name) for event in box.beat(item.at)]
            for event in (*told, *self._proofs.overdue(item.at)):
                self._event(event)

    def _sees(self, line: str) -> bool:
        """Whether what decides on the outputs of this line is known: before that a heartbeat says nothing."""
        return self.core.is_sighted(self.memory, self._deciding[line])

    def _act(self, verdict: Verdict) -> None:
        """Orders first, then disk and wire together, then everything that can wait."""
        for order in verdict.orders:
            self._order(order)
        if verdict.orders and self._owner:
            now = self.clock.now()
            proofs = [self._proofs.begin(trip, now) for trip in trips(self.core, self.memory, verdict, now)]
            for event in (event for told in proofs for event in told):
                self._event(event)
        if verdict.alarms:
            self.outbox.put_alarms(verdict.alarms)
            if self.recorder:
                self.recorder.alarms(verdict.alarms)
        for frame in verdict.frames:
            self.outbox.put_frame(frame)
            if self.has_page:
                self.trends.add(frame)
            self.traces.frame(frame)
            if self.clerk is not None:
                self.clerk.frame(frame)
        for event in verdict.events:
            self._event(event)
        for alarm in verdict.alarms:
            if alarm.event == ACKNOWLEDGED:
                self._acks.append(alarm)
            self.audit.put(alarm)
            self.traces.alarm(alarm)
            self._witness.hurry()
            if self.clerk is not None:
                self.clerk.alarm(alarm)
            say(
                f"alarm-{alarm.event}",
                level=alarm.level,
                channel=alarm.channel,
                rule=alarm.rule,
                id=alarm.id,
                text=alarm.text,
            )

    async def _record(self) -> None:
        """Tell the journal which program runs here, by which files, and of drafts that it does not know; read it back
        once, for what somebody may have done to it while nobody was here."""
        hand, config, renew = Hand("record"), self.config, self._lease["record"].renew
        renew()  # nobody waits for it: neither a trial of a configuration nor an alarm
        await self._provenance(hand)
        await self._reports()
        await self.clock.sleep(READ_BACK)
        try:
            faults = (await hand.do(verify, Path(config.store.path) / "journal")).faults
        except OSError:
            faults = []  # the next write tells
        hand.end()
        if faults:
            self._event(
                Event("journal-broken", "journal", self.clock.now(), f"{faults[0]}; {len(faults)} faults in all")
            )
        while True:
            renew()
            await self.clock.sleep(RECORD_LEASE / 2)

    async def _provenance(self, hand: Hand) -> None:
        """Tell the journal what runs here, and keep the files of the configuration."""
        config, at = self.config, self.clock.now()
        try:
            told = await hand.do(provenance.facts, Path(config.store.path), config.path, config.sources, config.hash)
            text = f"configuration {config.hash} of {len(told['files'])} files, program {told['program'][:16]}"
        except OSError as error:
            told, text = {}, f"what runs here could not be kept: {error}"
        self.audit.put(Event("provenance", "agent", at, text, told), sign=True)

    async def _reports(self) -> int:
        """Tell the journal of drafts that it does not know yet; how many."""
        found = drafts.pending(Path(self.config.store.path))
        for _, told in found:
            text = f"{told.report} report of {told.alarm}, version {told.version}, sha256 {told.sha256}"
            self.audit.put(
                Event("report-draft", "report", self.clock.now(), text, msgspec.to_builtins(told)), sign=True
            )
        await self.audit.written()
        for note, _ in found if not self.audit.trouble else ():
            note.unlink(missing_ok=True)
        return len(found)

    async def _keep_evidence(self) -> None:
        assert self.clerk is not None
        await self.clerk.serve(self._lease["evidence"].renew)

    async def _evidence(self, event: Event, alarm: str, words: str) -> bool:
        """Tell of evidence; the alarm, if it is still open, says it from now on. Whether both stores have it."""
        self._event(event)
        if (waiting := self._manifests.get(alarm)) is not None and not waiting.done():
            waiting.set_result(event.facts)
        stored = self.outbox.put_alarms(())
        await self.queue.put(Kept(alarm, words, self.clock.now()))
        try:
            async with asyncio.timeout(SAFE):
                await self.audit.written()
                return await stored
        except TimeoutError:
            return False

    def _order(self, order: Order) -> None:
        if self.recorder:  # it drives nothing, and says no more of it than its alarms do
            return
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
        layouts = [
            layout for source, layout in self.config.layouts.items() if source not in (Health.SOURCE, tls.SOURCE)
        ]
        return max((float(layout.stale.max()) for layout in layouts), default=0.0) + 1.0

    def _release(self, outputs: Iterable[str]) -> None:
        """Switch off what no alarm holds: an earlier life may have left it on.

        Not at the start: a hazard that was ordered for but not yet on the disk would see its output fall for
        as long as it takes to judge it again.
        """
        for output in outputs:
            if not self.memory.held.get(output):
                self._order(Order(output, False, RELEASE, self.clock.now()))

    def _delivered(self, uplink: Any) -> None:
        """An uplink under the care of `keep`, which comes back neither late nor with everybody else."""
        comeback = Comeback(uplink.spread, self.outbox.feed(uplink.name), self.clock)
        self._kept(f"uplink {uplink.name}", partial(self._send, uplink, comeback), comeback)

    async def _send(self, uplink: Any, comeback: Comeback) -> None:
        def open_now() -> list[Alarm]:
            mended = (self.outbox.eras.mend_open(alarm) for alarm in open_alarms(self.memory))
            return [alarm for alarm in mended if uplink.wants_point(alarm.point, alarm.level)]

        lease = self._lease[f"uplink {uplink.name}"]
        lease.limit = CONNECT_LEASE

        def tell(event: Event) -> None:
            comeback.hear(event)
            if event.kind in ("link-up", "link-down"):
                lease.limit = LINK_LEASE if event.kind == "link-up" else CONNECT_LEASE
            self._event(event)

        brief = Brief(self.outbox.feed(uplink.name), self.who, open_now, self.clock, tell)
        await turning(uplink.send(brief), lease.renew)

    async def _control(self) -> None:
        await control.serve(self.config.store.path, self._answer, self._lease["control"].renew)

    async def _page(self) -> None:
        from .web import server

        assert self.config.web is not None
        if not self._recalled:
            self._recalled = True
            keys = {source: bench.layout.key for source, bench in self.core.benches.items()}
            kept = await self._hand.do(trend.read, Path(self.config.store.path))
            self.trends.adopt(kept, keys, self.clock.now())
        keeping = asyncio.create_task(self._keep_trends(), name="trends")
        try:
            await server.serve(self, self.config.web, self._lease["web"].renew, lambda url: say("page", url=url))
        finally:
            keeping.cancel()

    async def _keep_trends(self) -> None:
        while True:
            await self.clock.sleep(trend.SAVE)
            await self._trends_kept()

    async def _trends_kept(self) -> None:
        """Write what is known of the last week. What the disk does not take is no loss of telemetry, and not told."""
        try:
            await self._hand.do(trend.write, Path(self.config.store.path), self.trends.kept(self.clock.now()))
        except OSError:
            pass

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the Unix socket would answer; a request that is not understood is an error in words."""
        try:
            return await self._answer(request)
        except (KeyError, TypeError, ValueError) as error:
            return {"error": f"not understood: {error}"}

    def tell(self, event: Event) -> None:
        """An event of the local page."""
        self._event(event)

    async def _tick(self) -> None:
        """Once a second: time for the core; now and then the agent's own health; steps of the wall clock."""
        health, steps = Health(self.config.store.path), Steps(self.clock.now())
        begun = starts(Path(self.config.store.path), self._now_begun()) if self.recorder is None else []
        failed, deaths, stepped, back = Lately(), Lately(), Lately(), Lately()  # of the last hour
        before = child.died[0]  # of another agent's, in a process that has had one
        renew, store = self.leases.grant("tick", TICK_LEASE).renew, self.leases.grant("store", STORE_LEASE).renew
        due = self.clock.now().mono
        certain: float | None = due + self._certain()
        report, worst = due, 0.0
        asked, stored = due, self.outbox.put_alarms(())
        stored.add_done_callback(lambda _: store())
        while True:
            await self.clock.sleep(due - self.clock.now().mono)
            at = self.clock.now()
            worst = max(worst, at.mono - due)
            due = max(due + 1.0, at.mono)
            jump = steps.step(at)
            if jump is not None:
                stepped.add(at.mono, abs(jump))
                back.add(at.mono, max(0.0, -jump))
                self._event(
                    Event("clock-step", "agent", at, f"wall clock moved by {jump:+.1f} s", {"seconds": round(jump, 3)})
                )
            self.outbox.look(at)
            self.traces.look(at.mono)
            if self.keeper is not None:
                self.keeper.look(self.memory, at)
            await self.queue.put(Tick(at))
            renew()
            if not stored.done() and (self.outbox.is_slow() or self.outbox.trouble):
                store()
            if stored.done() and at.mono - asked >= PROBE:
                asked, stored = at.mono, self.outbox.put_alarms(())
                stored.add_done_callback(lambda _: store())
            if certain is not None and at.mono >= certain:
                certain = None
                self._release(self._owner)
            if self._witness.is_due(at.mono, self.audit.head[0]):
                self._tell_head(at)
            if at.mono >= report:
                report = at.mono + Health.PERIOD
                lost = self.outbox.lost()
                wait, longest = self.queue.waits()
                failed.reach(at.mono, self.outbox.failures + self.audit.failures)
                deaths.reach(at.mono, child.died[0] - before)
                unmet = sum(box.unmet() for box in self.boxes.values())
                seen = figures(self.memory.load, open_alarms(self.memory), at)
                measured = Vitals(
                    loop_lag=worst,
                    judge_queue=self.queue.qsize(),
                    orders_unmet=unmet,
                    store_trouble=len(self.outbox.trouble) + bool(self.audit.trouble) + bool(self._unsigned),
                    store_quarantined=self._quarantined,
                    dropped=sum(lost.values()) + self.audit.lost,
                    evidence_trouble=0 if self.clerk is None else len(self.clerk.troubles),
                    degraded=sum(record.is_degraded(at.mono) for record in self._records.values()),
                    restarts=sum(record.failures for record in self._records.values()),
                    uplinks_down=sum(self.links.get(uplink.name) != "up" for uplink in self.config.uplinks),
                    crashes=self._crashes,
                    clock_back=back.sum(at.mono),
                    alarms_in_10_min=seen.in_10_min,
                    alarms_standing=seen.standing,
                    alarms_stale=seen.stale,
                    alarms_chattering=seen.chattering,
                    alarms_flood=seen.flood,
                    alarms_top_ten=seen.top_share,
                    wait_p99=wait,
                    wait_worst=longest,
                    commit_worst=self.outbox.slowest("alarms"),
                    journal_worst=self.audit.slowest(),
                    write_errors=int(failed.sum(at.mono)),
                    dropped_alarms=lost["alarm"],
                    dropped_events=lost["event"],
                    dropped_telemetry=lost["telemetry"] + lost["backfill"],
                    starts_24h=within_a_day(begun, self._now_begun()),
                    children_died=int(deaths.sum(at.mono)),
                    clock_steps=stepped.count(at.mono),
                    clock_offset=offset(),
                )
                columns = self.config.layouts[Health.SOURCE]  # a reload may have changed it
                await self.queue.put(health.frame(at, columns, measured, self.outbox.depth(), self._ages()))
                self._date(at)
                if (papers := self.config.layouts.get(tls.SOURCE)) is not None:
                    await self.queue.put(tls.left(self.config.uplinks, self.outbox.feed, papers, at))
                worst = 0.0

    def _now_begun(self) -> Begun:
        at = self.clock.now()
        return Begun(kernel(), at.mono, at.wall)

    def _ages(self) -> dict[str, dict[Lane, float]]:
        """s that the oldest of each lane waits for each uplink; alarms of the agent itself do not count."""
        found = {}
        for name, feed in self.outbox.feeds.items():
            found[name] = self.outbox.oldest(name, but=UNCOLOURED)
            if feed.owed.spans:
                found[name].setdefault("backfill", math.nan)  # not looked up yet
        return found

    def _date(self, at: Instant) -> None:
        """Have it looked up now and then how old the oldest backlog is: it lies on the disk; nobody waits for it."""
        if at.mono >= self._dating and any(feed.owed.spans for feed in self.outbox.feeds.values()):
            self._dating = at.mono + DATING
            self._dated = asyncio.create_task(self.outbox.date(), name="date")

    # -- commands from afar -----------------------------------------------------------------------

    def _remembered(self, home: Path, at: Instant) -> tuple[Ledger, list[Event]]:
        """What is known of commands of earlier lives, fit for this configuration; and what is to be told of that."""
        if self.recorder:
            return Ledger(), []
        told = []
        try:
            found = ledger.read(home)
        except (OSError, ValueError) as error:
            text = f"{error}; counters and limits that were set are forgotten, and older commands are refused"
            told.append(Event("commands-forgotten", "agent", at, text))
            found = Ledger()
        found, dropped = _fit(self.config, found, at)
        return found, told + dropped

    def _desk(self, home: Path, remembered: Ledger) -> Desk:
        config, site = self.config, self.config.site
        reach = Reach(
            config,
            self.clock,
            self.outbox,
            self.clerk,
            lambda: self.core,
            lambda: self.memory,
            self._judged,
            self._needless,
            self._limited,
            lambda: self.desk.ledger.limits if self.desk is not None else {},
            self._drill,
            self._report,
            self._manifest,
            self.digest,
            self._begin_again,
        )
        device, self._deeds = f"{site.name}/{site.node}", Deeds(reach)
        desk = Desk(
            home,
            remembered,
            config.commands,
            config.issuers,
            device,
            config.hash,
            self.clock,
            self._note,
            self._safe,
            self._deeds.do,
        )
        if self.trial is not None:
            desk.spared = self.trial.command
        return desk

    async def _keep_desk(self) -> None:
        assert self.desk is not None
        await self.desk.serve(self._lease["commands"].renew)

    def _note(self, event: Event, more: dict[str, Any]) -> None:
        """Tell what becomes of a command; the journal has more of it."""
        self.outbox.put_event(event)
        self.audit.put(msgspec.structs.replace(event, facts={**event.facts, **more}))
        say(event.kind, source=event.source, text=event.text)

    async def _safe(self) -> bool:
        """Whether journal and store have what was told until now."""
        stored = self.outbox.put_alarms(())
        try:
            async with asyncio.timeout(SAFE):
                await self.audit.written()
                return await asyncio.shield(stored)
        except TimeoutError:
            return False

    async def _in_turn(self, item: Input) -> None:
        """Have something judged in its turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self.queue.put(item)
        await self.queue.put(turn)
        await turn

    async def _judged(self, item: Input) -> bool:
        """The same. Whether what came of it is on the disk."""
        await self._in_turn(item)
        return bool(await asyncio.shield(self.outbox.put_alarms(())))

    def _needless(self, ack: Ack) -> str:
        """Why there is nothing that this acknowledges, in words; empty where there is, or it was this one that did."""
        alarm = next((one for one in open_alarms(self.memory) if one.id == ack.id), None)
        if alarm is not None and "unacked" in alarm.state:
            return ""
        known = [*self._acks, alarm] if alarm is not None and alarm.event == ACKNOWLEDGED else self._acks
        seen = next((one for one in reversed(known) if one.id == ack.id), None)
        if seen is not None:
            mine = (seen.by, seen.at) == (ack.by, ack.at)
            return "" if mine else f"{ack.id} was acknowledged already, by {seen.by}"
        return (
            f"it is {alarm.state}: there is nothing to acknowledge" if alarm else f"no open alarm has the id {ack.id}"
        )

    def _limited(self, set_to: Mapping[str, SetTo]) -> None:
        """Judge by these limits from now on: at once, and what stands is not cleared but by a measurement."""
        self.core = self.traces.core = self.config.core(set_to)
        if self.keeper is not None:
            self.keeper.core = self.core
        try:
            self.queue.put_nowait(Tick(self.clock.now()))
        except asyncio.QueueFull:
            pass  # there is enough to judge by

    def _report(self) -> dict[str, Any]:
        self.outbox.hurry()
        return self._status()

    async def _manifest(self, alarm: str) -> dict[str, Any]:
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._manifests[alarm] = waiting
        try:
            return await waiting
        finally:
            del self._manifests[alarm]

    def _begin_again(self) -> None:
        self.again = True
        self.stop()

    def _proved(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.end(error)

    async def _prove(self, trial: update.Trial, desk: Desk) -> None:
        """See a new configuration through, or tell how one ended: ready is who works and is heard by who sent it."""
        path = self.config.path
        if trial.phase == "trial":
            end = self.clock.now().mono + self.config.commands.confirm
            while why := self._unproven(trial):
                if self.clock.now().mono > end:
                    await deeds.apart(
                        update.back, path, trial, f"not ready in {self.config.commands.confirm:g} s: {why}"
                    )
                    self._begin_again()
                    return
                await self.clock.sleep(0.2)
            trial = await deeds.apart(update.ready, path, trial)
        kind = "configuration-replaced" if trial.phase == "ready" else "configuration-restored"
        if trial.phase == "ready":
            result = Result("successful", f"configuration {self.config.hash} is in force", {"config": self.config.hash})
        else:
            text = f"configuration {self.config.hash} is in force as before: {trial.reason}"
            result = Result("failed", text, {"config": self.config.hash}, "rolled-back")
        self._event(Event(kind, "agent", self.clock.now(), result.text, {"command": trial.command, **result.facts}))
        await desk.end(trial.command, result)
        await deeds.apart(update.forget, path)

    def _unproven(self, trial: update.Trial) -> str:
        """What a new configuration still owes; empty where it has proved itself."""
        if idle := self.leases.beginners():
            return f"nothing done yet by {', '.join(idle)}"
        if any(one.name == trial.uplink for one in self.config.uplinks) and self.links.get(trial.uplink) != "up":
            return f"uplink {trial.uplink}, by which it came, is not connected"
        return ""

    # -- another configuration, while this one runs ---------------------------------------------------

    def reload_soon(self) -> None:
        """SIGHUP."""
        self._errand(self.reload("SIGHUP"), "SIGHUP")

    def _errand(self, work: Coroutine[Any, Any, dict[str, Any]], name: str) -> asyncio.Task[dict[str, Any]]:
        """A task of its own, which ends with the agent; a mistake of ours in it takes a new start."""
        task = asyncio.create_task(work, name=name)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        task.add_done_callback(self._proved)
        return task

    async def reload(self, by: str) -> dict[str, Any]:
        """Read the site file again, and go on by it: what did not change is not touched. Wrong, or not to be changed
        under way, it changes nothing. What came of it, as the control socket answers."""
        if self.reloading:
            return {"error": "another reload is under way"}
        if idle := self.leases.beginners():  # else systemd would take the end of this for the end of the start
            return {"error": f"nothing done yet by {', '.join(idle)}; try again in a moment"}
        self.reloading = True
        Watchdog().notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            return await asyncio.shield(self._errand(self._reload(by), "reload"))
        finally:
            self.reloading = False
            Watchdog().notify("READY=1")

    async def _reload(self, by: str) -> dict[str, Any]:
        path, hold = self.config.path, ""
        if self.desk is None:
            hold = "a recording goes on as it began"
        elif await deeds.apart(update.read, path) is not None:
            hold = "a configuration that came by a command is on trial"
        elif self._drilling:
            hold = "a drill is under way"
        if hold or (desk := self.desk) is None:
            return self._refused([f"{path}: {hold}; try again later"], by)
        told = await deeds.checked(path)  # a process of its own: whatever it stumbles over, it is not this one
        if complaints := list(told.get("complaints", [])):
            return self._refused(complaints, by)
        try:
            digest, new = update.digest(path), await deeds.apart(load, path)
        except ConfigFault as fault:  # it was changed meanwhile
            return self._refused(list(fault.complaints), by)
        plan = compared(self.config, new)
        if plan.restart:
            return self._refused([f"{path}: {text}" for text in plan.restart], by)
        new = merged(self.config, new, plan)
        set_to = _fit(new, desk.ledger, self.clock.now())[0].limits
        core = await deeds.apart(new.core, set_to)
        stopping = [f"bus {name}" for name in plan.lines.stopped] + [f"uplink {name}" for name in plan.uplinks.stopped]
        stopping += ["web"] if plan.page else []
        if late := await self._part(stopping):
            self._event(Event("reload-late", "agent", self.clock.now(), f"{late} does not end: the agent begins again"))
            self._begin_again()
            return {"ok": f"{late} does not end: the agent begins again, by the new file"}
        while not self.queue.empty():  # what was read by the old one is judged by the old one
            self._take(self.queue.get_nowait())
        facts = self._turn(desk, new, core, set_to, plan, digest, by)
        hand = Hand("record")
        await self._provenance(hand)
        hand.end()
        return {"ok": facts.pop("text"), "changes": facts}

    def _refused(self, complaints: list[str], by: str) -> dict[str, Any]:
        """Nothing has changed."""
        n = len(complaints)
        for complaint in complaints:
            say("complaint", text=complaint)
        text = f"the site file is not taken, {n} fault{'s' if n != 1 else ''}; nothing was changed: {complaints[0]}"
        facts = {"complaints": complaints[: deeds.COMPLAINTS], "count": n, "by": by, "config": self.config.hash}
        self._event(Event("configuration-refused", "agent", self.clock.now(), text, facts))
        return {"complaints": complaints}

    async def _part(self, duties: list[str]) -> str:
        """End these leaves. Which of them does not; empty where all did."""
        tasks = [self._leaves[duty] for duty in duties]
        for task in tasks:
            task.cancel()
        late = (await asyncio.wait(tasks, timeout=PART))[1] if tasks else ()
        for duty in duties:
            del self._leaves[duty], self._lease[duty], self._records[duty]
            self.leases.withdraw(duty)
        return ", ".join(task.get_name().removeprefix("keep ") for task in late)

    def _turn(
        self, desk: Desk, new: Config, core: Core, set_to: Mapping[str, SetTo], plan: Plan, digest: str, by: str
    ) -> dict[str, Any]:
        """From here on by another configuration: in one stroke, in which nothing else happens. What changed."""
        at, past, former, held = self.clock.now(), self.core, self.config, self.memory.held
        ledger, dropped = _fit(new, desk.ledger, at)
        if ledger.limits != set_to:  # somebody set one meanwhile
            core = new.core(ledger.limits)
        self.memory, verdict = carried(past, self.memory, core, at)
        self.config, self.core, self.digest = new, core, digest
        moved = [
            source
            for source, bench in past.benches.items()
            if source not in core.benches or not same_layout(bench.layout, core.benches[source].layout)
        ]
        for name in plan.uplinks.gone:
            n = self.outbox.dismiss(name)
            self.links.pop(name, None)
            self._event(
                Event("uplink-gone", name, at, f"uplink {name} is no more; {n} messages that it owed are let go")
            )
        for name in (*plan.lines.stopped, *plan.uplinks.stopped):
            self.tallies.pop(name, None)
            self.lost.pop(name, None)
            self._lost.discard(name)
        for name in plan.lines.stopped:
            del self.boxes[name]
        text = f"configuration {new.hash} in place of {former.hash}: {plan.words()}"
        facts = {"config": new.hash, "former": former.hash, "by": by, **plan.facts()}
        self._event(Event("configuration-changed", "agent", at, text, facts))
        for source in moved:
            self.outbox.let_go(source)
        self.traces.turn(core, new.hash)
        self.trends.turn({source: bench.layout.key for source, bench in core.benches.items()}, at)
        if self.keeper is not None:
            self.keeper.core = core
        self._proofs.language = new.site.language
        self._deeds.reach = self._deeds.reach._replace(config=new, digest=digest)
        desk.turn(ledger, new.commands, new.issuers, new.hash)
        for driver in new.drivers:
            if driver.name in plan.lines.started:
                self._box(driver)
        self.wire()
        witnesses = new.witnesses()
        if self.clerk is not None:
            self.clerk.turn(witnesses, core.columns, moved)
        elif witnesses:
            self.look_out(witnesses, at)
            self._kept("evidence", self._keep_evidence)
        for event in dropped:
            self._event(event)
        for override in set(new.overrides) - set(former.overrides):
            self._event(Event("limit-override", "agent", at, override))
        self._tell_off(at, former.off)
        self._act(verdict)
        self._release_later([output for output, ids in held.items() if ids and not self.memory.held.get(output)])
        for driver in new.drivers:
            if driver.name in plan.lines.started:
                self._begin_line(driver, at)
        for uplink in new.uplinks:
            if uplink.name in plan.uplinks.started:
                self._begin_uplink(uplink)
        if plan.page:
            self._duty("web", WEB_LEASE)
            self._kept("web", self._page)
        return {"text": text, **facts}

    def _tell_off(self, at: Instant, known: Mapping[str, str]) -> None:
        """Which rules of the agent itself the site wants to be off, and is not known to."""
        for rule, why in self.config.off.items():
            if known.get(rule) != why:
                self._event(Event("rule-off", "agent", at, f"{rule} is off: {why}"))

    def _begin_line(self, driver: Driver, at: Instant) -> None:
        """A line that is new, or another now: what is held there is ordered, and in time the rest let go."""
        box = self.boxes[driver.name]
        for output in driver.outputs():
            if ids := self.memory.held.get(output):
                self._order(Order(output, True, min(ids), at))
        self._release_later([output for output, owner in self._owner.items() if owner is box])
        self._polled(driver)

    def _release_later(self, outputs: Sequence[str]) -> None:
        """Switch these off, if nobody holds them once everything was judged anew."""

        def release() -> None:
            self._release([output for output in outputs if output in self._owner])

        if outputs:
            asyncio.get_running_loop().call_later(self._certain(), release)

    def _begin_uplink(self, uplink: Any) -> None:
        """An uplink that is new, or another now."""
        assert self.desk is not None
        self.outbox.admit(uplink.name, uplink if uplink.is_choosy() else None)
        feed = self.outbox.feed(uplink.name)
        feed.heed = self.desk.heard
        feed.notes.clear()
        self._duty(f"uplink {uplink.name}", CONNECT_LEASE)
        self._delivered(uplink)

    # -- memory, words, commands ------------------------------------------------------------------

    def _recall(self) -> tuple[Memory, Verdict]:
        """The core's memory with the alarms that were open when the last boot ended."""
        at = self.clock.now()
        memory = self.core.start(self.outbox.boot, at)
        if self.recorder:  # a recording begins with an empty memory, as its replay will
            self.recorder.event(Start(self.outbox.boot, at))
            return memory, NOTHING
        if (data := checkpoint.read(Path(self.config.store.path))) is not None:
            try:
                memory = checkpoint.unpack(self.core, memory, data, at, kernel())
            except ValueError as error:
                self._event(
                    Event("memory-lost", "agent", at, f"{checkpoint.NAME}: {error}; delays and windows begin anew")
                )
        return self.core.adopt(memory, self.outbox.recall(), at)

    def _event(self, event: Event) -> None:
        """Keep an event for the platforms and say it here."""
        if event.kind == "order-refused" and event.facts.get("reason") == RELEASE:
            return  # not armed, and nothing wanted it on
        self._quarantined += event.kind == "store-corrupt"
        if event.kind in ("link-up", "link-down"):
            self.links[event.source] = event.kind.removeprefix("link-")
            if event.kind == "link-up":
                self.lost.pop(event.source, None)
        if self.clerk is not None:
            self.clerk.note(event)
        self.recent.append(event)
        self.outbox.put_event(event)
        self.audit.put(event)
        say(event.kind, source=event.source, text=event.text)
        if event.kind == "recalled-late":  # the disk came after the start
            self.memory, verdict = self.core.adopt(self.memory, self.outbox.recall(), event.at)
            self._act(verdict)

    def _tell_head(self, at: Instant) -> None:
        """Let the platforms know how far the journal is: whoever cuts it off or puts an old one back is found out."""
        head = self.audit.witnessed()
        text = f"the journal stands at record {head['record']}, {head['checksum']}"
        self.outbox.put_event(Event("journal-head", "journal", at, text, head))

    def _told(self, kind: str, leaf: str, text: str) -> None:
        if kind == "lost":
            self._lost.add(leaf)
            self.lost[leaf] = text
        self._crashes += kind == "crashed"
        self._event(Event(f"line-{kind}" if kind == "lost" else kind, leaf, self.clock.now(), text))

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        verb = request.get("verb")
        if verb == "alarms":
            seen = figures(self.memory.load, open_alarms(self.memory), self.clock.now())
            return {
                "alarms": msgspec.to_builtins(open_alarms(self.memory)),
                "load": msgspec.to_builtins(seen._asdict()),
            }
        if verb == "colours":
            wish = request.get("language")
            language = wish if wish in LANGUAGES else None
            return {"colours": msgspec.to_builtins(self.core.tree(self.memory, self.clock.now(), language))}
        if verb == "ack":
            id, by = str(request["id"]), str(request["by"]).strip()
            if not by:
                return {"error": "who acknowledges? give --by NAME"}
            ack = Ack(id, by, self.clock.now())
            if not (why := self._needless(ack)):
                await self._in_turn(ack)
                why = self._needless(ack)  # somebody else may have been before him
            return {"error": why} if why else {"ok": id}
        if verb == "reports":
            return {"ok": await self._reports()}
        if verb == "drill":
            return await self._drill(str(request["name"]), str(request["by"]))
        if verb == "commission":
            return await self._compare(request)
        if verb == "presence":
            return await self._presence(request)
        if verb == "evidence":
            if self.clerk is None:
                return {"error": "no camera of this site keeps evidence"}
            id, by, reason = (str(request.get(key, "")) for key in ("id", "by", "reason"))
            why = await self.clerk.protect(id, by, reason, bool(request.get("protect")))
            return {"error": why} if why else {"ok": id}
        if verb in VERBS:
            action = self._asked(verb, request)
            if why := self.core.refusal(self.memory, action):
                return {"error": why}
            await self.queue.put(action)
            return {"ok": f"{action.rule}@{action.channel}"}
        if verb == "status":
            return self._status()
        if verb == "look":
            return {"status": await status.picture(self, self._status(), int(request.get("channels", 0)))}
        if verb == "lines":
            return {"lines": tally.told(self.tallies.values()), "lost": self.lost}
        if verb == "reload":
            file, mine = str(request.get("file", "")), self.config.path.resolve()
            if file and Path(file) != mine:
                return {"error": f"this agent runs by {mine}, not by {file}"}
            return await self.reload(str(request.get("by", "")) or "vedette reload")
        if verb == "command":
            return await self._commanded(str(request["envelope"]))
        if verb == "outcome":
            entry = self.desk.ledger.entries.get(str(request["id"])) if self.desk is not None else None
            if entry is None:
                return {"error": f"no command {request['id']} is remembered"}
            return {**entry.facts, "id": entry.id, "state": entry.state, "reason": entry.reason, "text": entry.text}
        return {
            "error": f"unknown verb {verb!r}; known: ack, alarms, colours, command, commission, drill, evidence, "
            f"lines, look, outcome, presence, reload, reports, status, {', '.join(VERBS)}"
        }

    def _status(self) -> dict[str, Any]:
        set_to = self.desk.ledger.limits if self.desk is not None else {}
        entries = self.desk.ledger.entries.values() if self.desk is not None else ()
        usual = {rule.name: rule.bounds[0] for rule in self.config.rules if rule.name in set_to}
        return {
            "boot": self.outbox.boot,
            "version": __version__,
            "config": self.config.hash,
            "uplinks": {one.name: self.links.get(one.name, "down") for one in self.config.uplinks},
            "waiting": dict(self.outbox.depth()),
            "dropped": dict(self.outbox.lost()),
            "alarms": len(open_alarms(self.memory)),
            "hazards": msgspec.to_builtins(self.config.hazards),
            "off": self.config.off,
            "limits": {rule: {**msgspec.to_builtins(to), "usual": usual.get(rule)} for rule, to in set_to.items()},
            "commands": {one.id: one.state for one in entries if not one.is_over},
            "journal": self.audit.witnessed()
            | ({"fingerprint": keys.fingerprint(self.key)} if self.key is not None else {}),
        }

    async def _commanded(self, envelope: str) -> dict[str, Any]:
        """A signed command that somebody brought to this machine: every word of it until its end, or for a while; what
        takes longer is asked for by `outcome`."""
        if self.desk is None:
            return {"error": "a recording obeys nobody"}
        said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.desk.heard(envelope.encode("utf-8", "replace"), "", "", said.put_nowait)
        words: list[dict[str, Any]] = []
        while not words or words[-1]["state"] in ("accepted", "executing"):
            try:
                async with asyncio.timeout(ANSWER):
                    words.append(await said.get())
            except TimeoutError:
                break
        return {"outcomes": words}

    async def _drill(self, name: str, by: str) -> dict[str, Any]:
        """Prove a chain from sensor to outputs and platforms; what came of it is told to all of them."""
        site = drill.Site(
            self.core, lambda: self.memory, self.outbox, self._owner, self._hearts, self.clock, self.audit.put
        )
        if self._drilling:
            return {"error": "a drill is under way; wait for it"}
        if why := drill.refusal(site, name, by):
            return {"error": why}
        self._drilling = True
        self._drills += 1
        try:
            done = await drill.drill(site, name, by, f"{self.outbox.boot}-drill-{self._drills}")
        finally:
            self._drilling = False
        self._event(done.event(self.clock.now(), self.config.site.language))
        return {"drill": msgspec.to_builtins(done), "proven": done.proven}

    async def _compare(self, request: dict[str, Any]) -> dict[str, Any]:
        """A person holds a reference to a channel: what it shows now is kept, for the report of the commissioning."""
        name = str(request["channel"])
        if (place := self.core.columns.get(name)) is None:
            return {"error": f"no channel is called {name}"}
        source, column = place
        seen, at = self.memory.watches[source].seen, self.clock.now()
        try:
            done = commission.test(
                name,
                self.core.benches[source].layout.unit[column],
                float(seen.value[column]),
                float(seen.raw[column]) if column < len(seen.raw) else float("nan"),
                self.trends.spread(source, column, at.mono),
                commission.number(str(request["reference"])),
                commission.number(str(request["tolerance"])),
                str(request.get("by", "")),
                str(request.get("note", "")),
                at,
            )
            await self._hand.do(commission.keep, Path(self.config.store.path), done)
        except (OSError, ValueError) as error:
            return {"error": str(error)}
        word = "within" if done.within else "beyond"
        text = f"{name} shows {done.value:g} {done.unit}, reference {done.reference:g}: {word} {done.tolerance:g}"
        self._event(Event("commissioned", source, at, f"{text}, {done.by}", msgspec.to_builtins(done)))
        return {"ok": text, "within": done.within}

    async def _presence(self, request: dict[str, Any]) -> dict[str, Any]:
        """Where a person is from now on; without a person: who is in which zone. Platforms hear nothing of it."""
        ledger, book = self.core.ledger, self.memory.book
        if ledger is None or book is None:
            return {"error": "no [[zone]] in the site file: nobody can be in one"}
        if "person" not in request:
            return {"presence": ledger.whereabouts(book)}
        zone = str(request["zone"])
        at, by = self.clock.now(), str(request.get("by", "")).strip()
        walk = Presence(str(request["person"]), None if zone == "out" else zone, at, by)
        if why := ledger.refusal(book, walk):
            return {"error": why}
        await self.queue.put(walk)
        if self.keeper is not None:
            self.keeper.hurry()
        facts = {"person": walk.person, "zone": walk.zone, "by": by}
        self.audit.put(Event("presence", f"{PERSON}/{walk.person}", at, f"{walk.person} {zone}", facts))
        return {"ok": f"{walk.person} {zone}"}

    def _asked(self, verb: Any, request: dict[str, Any]) -> Action:
        """What a person asks for. The point is named by an open alarm's id, or as RULE@CHANNEL."""
        name = str(request["point"])
        rule, _, channel = name.partition("@")
        for alarm in open_alarms(self.memory):
            if alarm.id == name:
                rule, channel = alarm.rule, alarm.channel
        by, reason = str(request.get("by", "")), str(request.get("reason", ""))
        return Action(verb, rule, channel, by, self.clock.now(), reason, float(request.get("seconds", 0.0)))


def _fit(config: Config, known: Ledger, at: Instant) -> tuple[Ledger, list[Event]]:
    """Without the limits that somebody set and this configuration does away with; and these."""
    told = []
    for rule, why in limits.outdated(config.rules, config.bounds, config.legal, known.limits).items():
        facts = {"rule": rule, "limit": known.limits[rule].limit, "why": why}
        told.append(Event("limit-dropped", "agent", at, f"limit of {rule} is no longer set: {why}", facts))
        known = known.limited(rule, None)
    return known, told


def _name(duty: str) -> str:
    """Of whom events tell: `net` for `bus net`."""
    return duty.partition(" ")[2] or duty


async def run(
    config: Config,
    record: Path | None = None,
    seconds: float | None = None,
    trial: update.Trial | None = None,
    migrated: Sequence[migrate.Told] = (),
) -> bool:
    """`vedette run`: the agent until SIGTERM or SIGINT (or for `seconds`). A second signal hurries. Whether it is to be
    started anew: with another configuration.

    The process ends within `LAST` seconds of the first, whatever hangs.
    """
    if trial is not None:
        Watchdog().notify("WATCHDOG=1")  # it was alive before, and to read the configuration took its time
    secret.stay()
    agent = Agent(config, record=record, trial=trial, migrated=migrated)
    loop = asyncio.get_running_loop()
    if trial is not None and trial.phase == "trial":
        _watched(config, trial)
    patience = iter((LAST, HURRY))

    def last_resort(*_: object) -> None:
        if (seconds := next(patience, None)) is not None:
            end_within(seconds, loop, _forced)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
        signal.signal(number, last_resort)  # beside the one above, for a loop that hangs
    if not os.isatty(0):  # in a terminal it says that the terminal was closed
        loop.add_signal_handler(signal.SIGHUP, agent.reload_soon)
    threading.excepthook = lambda failed: loop.call_soon_threadsafe(agent.thread_died, failed)
    if seconds is not None:
        loop.call_later(seconds, agent.stop)
    try:
        await agent.run()
    except Exception:
        end_within(LAST - STOP, loop, _forced)
        raise
    return agent.again


def _watched(config: Config, trial: update.Trial) -> None:
    """A new configuration with which even the loop hangs makes way all the same."""

    def look() -> None:
        now = update.read(config.path)
        if now is not None and (now.phase, now.command) == ("trial", trial.command):
            say("trial-late", text="nobody ended the trial of a new configuration")
            anew()

    timer = threading.Timer(config.commands.confirm + BEYOND, look)
    timer.daemon = True
    timer.start()


def anew() -> None:
    """This process becomes a new one with the same words. What has to be closed is closed, or as after a SIGKILL."""
    Watchdog().notify("WATCHDOG=1")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _forced(hanging: str) -> None:
    say(
        "stop-forced",
        text="the process ends although something hangs; nothing that was accepted is lost",
        tasks=hanging,
    )
