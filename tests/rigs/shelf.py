"""A model of the outbox: a list of what was put, a platform that writes down what it heard, and the disk's own word.

Each method of `Shelf` is one step against the real `Outbox` with real files (`platter`); what must hold is checked at
once, `wrong` says where it did not:

    nothing that was promised is lost          what comes twice comes marked `resent`
    what is sent is what was put               unmarked, each stream (of alarms: each point) keeps its order
    `waiting()` counts right                   an end that the platform heard is known after a kill
    what the disk holds of open alarms is recalled, and everything drains in the end
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agent.core.alarm import LEVELS, Alarm
from agent.core.frame import Instant, frame, layout
from agent.core.ports import Batch, Event, Item, Lane
from agent.outbox import Outbox, Store

from .platter import FAULTS, Disk, Key, Loop, copied, lying

CHANNELS = layout(["number", "noise"])
DRAIN = 60.0  # s of virtual time in which everything drains when nothing is broken any more
SICK = 14.0  # s after a fault of the disk in which it is not yet expected to be well: `retry` and a little
SOON = 3.0  # s within which a healthy disk has what was put


class Killed(BaseException):
    """The process is gone."""


class LoopTime:
    """The port `Clock`."""

    def now(self) -> Instant:
        mono = asyncio.get_running_loop().time()
        return Instant(mono, 1.7e9 + mono, True)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Edge:
    """One edge of a point that was put, and the promise that it is on the disk."""

    def __init__(self, alarm: Alarm, key: Key, promise: asyncio.Future[bool] | None) -> None:
        self.alarm, self.key, self.promise = alarm, key, promise

    def promised(self) -> bool:
        promise = self.promise
        return promise is None or (promise.done() and not promise.cancelled() and promise.result())


class Shelf:
    """One outbox with one uplink `p`, in a folder of its own. `tight`: small quotas, so that rows are dropped."""

    def __init__(self, folder: Path, seed: int, tight: bool = False) -> None:
        self.folder, self.tight = folder, tight
        self.rng = random.Random(seed)
        self.disk = Disk(random.Random(seed + 1))
        self.disk.moment = self._moment
        self.wrong: list[str] = []
        self.put: dict[Key, Any] = {}
        self.put_at: dict[Key, float] = {}
        self.up_when: dict[Key, bool] = {}  # whether the link was up when it was put
        self.lives: dict[str, int] = {}  # boot -> its number
        self.owed: set[Key] = set()  # put, and neither confirmed, refused nor dropped
        self.heard: dict[Key, float] = {}
        self.excused: set[Key] = set()  # may be missing in the end
        self.spoiled: set[Key] = set()  # rows that were damaged
        self.told_lost: Counter[tuple[str, str]] = Counter()  # (boot, stream) -> rows that gap events named
        self.edges: dict[str, list[Edge]] = {}  # by point, since the last that is surely known to the disk
        self.seq: Counter[str] = Counter()
        self.last: dict[tuple[Any, ...], Any] = {}
        self.number = 0
        self.sick = -SICK  # when the disk was last ill
        self.exact = not tight  # whether `waiting()` is known to the row
        self.kill_at = ""  # the moment of the next job of the disk at which to die
        self.life = 0
        self.now = 0.0
        self.stack = ExitStack()
        self.stack.enter_context(self.disk.mounted())
        self._open()

    # -- lives ----------------------------------------------------------------------------------------

    def _world(self, now: float, until: float) -> float:
        if self.kill_at == "now":
            raise Killed
        self.now = until
        return until

    def _moment(self, when: str) -> None:
        if self.kill_at == when:
            self.kill_at = "now"

    def _open(self) -> None:
        """Start a process on the files as they lie there."""
        self.life += 1
        self.seq.clear()
        self.pipe: list[Item] = []  # on their way to the platform, in their order
        self.arrived: list[Item] = []  # heard there, not confirmed
        self.up = False
        self.loop = Loop(self.now, self._world)
        quota = {"alarms_mb": 0.25, "history_mb": 0.07} if self.tight else {}
        store = Store(path=str(self.home), ballast_mb=0, **quota)  # type: ignore[arg-type]

        async def opening() -> None:  # what it tells comes as soon as it is open
            self.outbox = await Outbox.open(store, ["p"], LoopTime(), self._told)

        self.loop.run_until_complete(opening())
        self.feed = self.outbox.feed("p")
        self.unread = "alarms.db" in self.disk.fault
        self.exact = self.exact and not self.disk.fault

    @property
    def home(self) -> Path:
        return self.folder / f"life{self.life if self.life else 1}"

    def run(self, *steps: Callable[[], None], seconds: float = 0.0) -> None:
        """Do the steps at one moment of the loop, then let time pass."""

        async def burst() -> None:
            for step in steps:
                step()
            await asyncio.sleep(seconds)

        try:
            self.loop.run_until_complete(burst())
        except Killed:
            self.kill()
        self._count()

    def kill(self, damage: str = "") -> None:
        """SIGKILL; `damage` is done to the files before the next start: "", "row", "alarms.db" or "history.db"."""
        self.kill_at = ""
        self._cut()
        old, new = self.home, self.folder / f"life{self.life + 1}"
        copied(old, new)
        self.loop.bury()
        self.disk.end()
        shutil.rmtree(old, ignore_errors=True)
        kept, owed = lying(new, "p")
        sick = self.now - self.sick < SICK
        for key in self.owed - owed - set(self.heard):
            self.excused.add(key)
            if not sick and not self.tight and self.now - self.put_at[key] > SOON:
                self._wrong(f"{key} was put {self.now - self.put_at[key]:.1f} s before the kill and is not on the disk")
        for edges in self.edges.values():
            for edge in edges:
                if edge.promise is not None and edge.promised() and edge.key in self.owed and edge.key not in owed:
                    self._wrong(f"{edge.key} was promised and is not on the disk")
        self.owed = owed
        lost = self._damage(new, damage, kept)
        self.spoiled |= lost
        self.excused |= lost - set(self.heard)
        self.owed -= self.spoiled
        self.exact = (
            not self.tight and not damage and all(stream in ("alarm", "event") for _, stream, _ in self.spoiled)
        )
        self._open()
        self._recalled(lost_file=damage == "alarms.db", sick=sick)

    def close(self) -> None:
        """SIGTERM, and start again."""
        self._cut()
        try:
            self.loop.run_until_complete(self.outbox.close())
        except Killed:
            self.kill()
            return
        self.loop.bury()
        self.disk.end()
        old, new = self.home, self.folder / f"life{self.life + 1}"
        old.rename(new)
        _, owed = lying(new, "p")
        sick = self.now - self.sick < SICK
        if not sick and not self.tight and (lost := self.owed - owed):
            self._wrong(f"{sorted(lost)[:3]} and more, {len(lost)} in all, were not on the disk after a stop")
        self.excused |= self.owed - owed
        self.owed = owed
        self.exact = not self.tight
        if not sick:
            for edges in self.edges.values():
                edges[-1].promise = None
        self._open()
        self._recalled(lost_file=False, sick=sick)

    def _cut(self) -> None:
        """The connection is cut: some of what is on its way still arrives."""
        for item in self.pipe[: self.rng.randint(0, len(self.pipe))]:
            self._hear(item)
        self.pipe, self.arrived = [], []

    def _damage(self, home: Path, damage: str, kept: set[Key]) -> set[Key]:
        """Spoil the files; the keys that may be lost by it."""
        if damage in ("alarms.db", "history.db"):
            path = home / damage
            if self.rng.random() < 0.5:
                with path.open("r+b") as file:
                    file.write(self.rng.randbytes(100))  # SQLite's header
            else:
                path.unlink(missing_ok=True)
                path.with_name(f"{damage}-wal").unlink(missing_ok=True)
            return {key for key in kept if key[1].startswith("telemetry") == (damage == "history.db")}
        if damage == "row":
            table = self.rng.choice(("item", "batch"))
            db = sqlite3.connect(home / ("alarms.db" if table == "item" else "history.db"))
            rows = db.execute(f"SELECT row, body FROM {table}").fetchall()
            lost: set[Key] = set()
            if rows:
                row, body = self.rng.choice(rows)
                spot = self.rng.randrange(len(body))
                body = body[:spot] + bytes([body[spot] ^ 1 << self.rng.randrange(8)]) + body[spot + 1 :]
                db.execute(f"UPDATE {table} SET body = ? WHERE row = ?", (body, row))
                name = "lane" if table == "item" else "'telemetry/' || source"
                join = "" if table == "item" else "JOIN layout ON layout = id"
                lost = {db.execute(f"SELECT boot, {name}, seq FROM {table} {join} WHERE row = ?", (row,)).fetchone()}
                db.commit()
            db.close()
            return lost
        return set()

    def _recalled(self, lost_file: bool, sick: bool) -> None:
        """What the outbox recalls is what the disk was last promised, or something put after it."""
        if self.unread:
            return  # it is read when the disk is there again
        recalled = {alarm.channel: alarm for alarm in self.outbox.recall()}
        for channel, edges in self.edges.items():
            known = [i for i, edge in enumerate(edges) if edge.promised()]
            first = known[-1] if known else -1
            allowed = [None if e.alarm.state == "normal" else e.alarm for e in edges[max(first, 0) :]]
            allowed += [None] if first < 0 or lost_file else []
            alarm = recalled.get(channel)
            if alarm not in allowed:
                self._wrong(f"recalled {alarm} of {channel}, not one of {allowed}")
            at = next((i for i, e in enumerate(edges) if e.alarm == alarm), max(first, 0) if alarm is None else 0)
            if alarm is None:
                at = max((i for i, e in enumerate(edges) if e.alarm.state == "normal"), default=-1)
            for edge in edges[at + 1 :]:
                if edge.alarm.event != "raised" and edge.key in self.heard and not sick and not lost_file:
                    self._wrong(f"the platform heard {edge.alarm.event} {edge.key} which the disk does not know")
            self.edges[channel] = [Edge(alarm, edges[at].key, None)] if alarm is not None else []
        self.edges = {channel: edges for channel, edges in self.edges.items() if edges}

    # -- steps ------------------------------------------------------------------------------------------

    def alarm(self, point: int) -> None:
        """The next edge of this point: it is raised, then perhaps acknowledged, then cleared."""
        channel, at = f"s/c{point}", LoopTime().now()
        edges = self.edges.setdefault(channel, [])
        last = edges[-1].alarm if edges else None
        self.number += 1
        if last is None or last.state == "normal":
            edge = Alarm(
                f"id-{self.number}", 1, "raised", "active-unacked", "r", channel, LEVELS[point % 4],
                float(self.number), 1.0, "m", at, at, "text",
            )  # fmt: skip
        else:
            ack = last.state == "active-unacked" and self.rng.random() < 0.3
            event, state = ("acknowledged", "active-acked") if ack else ("cleared", "normal")
            edge = msgspec.structs.replace(last, edge=last.edge + 1, event=event, state=state, at=at)
        key = self._new("alarm", edge)
        edges.append(Edge(edge, key, self.outbox.put_alarms([edge])))

    def event(self) -> None:
        self.number += 1
        self._put_event(Event("thing", "rig", LoopTime().now(), f"number {self.number}"))

    def _put_event(self, event: Event) -> None:
        self._new("event", event)
        self.outbox.put_event(event)

    def _told(self, event: Event) -> None:
        if event.kind == "gap":
            self.told_lost[event.facts.get("boot", ""), event.facts.get("stream", "")] += event.facts["count"]
            self.exact = False
        self._put_event(event)

    def frame(self, source: int) -> None:
        """One reading, which is one batch."""
        self.number += 1
        at = LoopTime().now()
        self._new(f"telemetry/s{source}", float(self.number))
        self.outbox.put_frame(frame(f"s{source}", at, CHANNELS, np.array([self.number, self.rng.random()])))
        if self.outbox._gathers[f"s{source}"]._rows:
            self.outbox._flush(f"s{source}")

    def _new(self, stream: str, body: Any) -> Key:
        self.seq[stream] += 1
        key = (self.outbox.boot, stream, self.seq[stream])
        self.put[key], self.put_at[key], self.up_when[key] = body, self.now, self.up
        self.lives[key[0]] = self.life
        self.owed.add(key)
        return key

    def take(self, least: Lane = "backfill") -> None:
        item = self.feed.take(least)
        if item is not None:
            if not self.up:
                self._wrong(f"{_key(item)} was handed out while the link was down")
            self.pipe.append(item)

    def arrive(self) -> None:
        if self.pipe:
            item = self.pipe.pop(0)
            self._hear(item)
            self.arrived.append(item)

    def done(self) -> None:
        if self.arrived:
            item = self.arrived.pop(self.rng.randrange(min(3, len(self.arrived))))
            self.feed.done(item)
            self.owed.discard(_key(item))

    def again(self) -> None:
        if self.arrived:
            self.feed.again(self.arrived.pop())

    def refuse(self) -> None:
        if self.pipe:
            item = self.pipe.pop(0)
            self.feed.refused(item, "no")
            self.owed.discard(_key(item))
            self.excused.add(_key(item))

    def link(self, up: bool) -> None:
        if not up:
            self._cut()
        if up and not self.up:  # what was put a moment ago is still live
            self.up_when |= {key: True for key in self.owed if self.now - self.put_at[key] < SOON}
        self.up = up
        self.feed.online(up)

    def ail(self, file: str, fault: str) -> None:
        """The disk is ill from now on: one of FAULTS, "stall" or "" for well again."""
        if self.disk.fault or self.disk.stall:
            self.sick = self.now
        self.disk.fault, self.disk.stall = {}, 0.0
        if fault:
            self.sick = float("inf")
        if fault == "stall":
            self.disk.stall = 3.0
        elif fault:
            self.disk.fault[file] = fault
        else:
            self.sick = self.now if self.sick == float("inf") else self.sick

    # -- what must hold -----------------------------------------------------------------------------------

    def _hear(self, item: Item) -> None:
        """The platform has it."""
        key, body = _key(item), item.body
        if key not in self.put:
            self._wrong(f"{key} was never put")
            return
        said = body.value[:, 0].tolist() if isinstance(body, Batch) else body
        if said != ([self.put[key]] if isinstance(body, Batch) else self.put[key]):
            self._wrong(f"{key} says {said}, put was {self.put[key]}")
        if key in self.heard:
            if not item.resent:
                self._wrong(f"{key} came twice, unmarked")
            return
        self.heard[key] = self.now
        if item.resent:
            return
        lane: tuple[Any, ...] = (key[0], key[1], item.historical)
        if isinstance(body, Alarm):
            lane = (body.rule, body.channel)
        order = (self.lives[key[0]], key[2])
        if item.historical and (self.up_when[key] or self.sick > self.put_at[key]):
            return  # live at first and then late, or kept in memory because the disk did not take it
        if self.last.get(lane, order) > order:
            self._wrong(f"{key} came after {self.last[lane]} in {lane}")
        self.last[lane] = order

    def _count(self) -> None:
        """`waiting()` against the list."""
        if not self.exact:
            return
        said = self.feed.waiting()
        lanes = Counter("alarm" if s == "alarm" else "event" if s == "event" else "bulk" for _, s, _ in self.owed)
        found = {"alarm": said["alarm"], "event": said["event"], "bulk": said["telemetry"] + said["backfill"]}
        if any(found[lane] != lanes[lane] for lane in found):
            self._wrong(f"waiting says {found}, the list {dict(lanes)}")
            self.exact = False

    def finish(self) -> None:
        """Nothing is broken any more: everything drains in time, and nothing is missing."""
        self.kill_at = ""
        self.run(lambda: self.ail("", ""), lambda: self.link(True), seconds=SICK)  # the disk is tried again
        self._drain()
        self.run(lambda: self.frame(0), seconds=DRAIN)  # gaps are told at leisure
        self._drain()
        missing = Counter((boot, stream) for boot, stream, _ in set(self.put) - set(self.heard) - self.excused)
        for stream, n in missing.items():
            if n > self.told_lost[stream]:
                self._wrong(f"{n} of {stream} are missing, {self.told_lost[stream]} were told as a gap")

    def _drain(self) -> None:
        end = self.now + DRAIN
        while any(self.feed.waiting().values()) or self.pipe or self.arrived:
            if self.now > end:
                self._wrong(f"not drained in {DRAIN:g} s: {self.feed.waiting()}")
                break
            self.run(*[self.take] * 40, *[self.arrive] * 40, *[self.done] * 40, seconds=0.02)

    def end(self) -> None:
        self.loop.bury()
        self.disk.end()
        self.stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wrong(self, text: str) -> None:
        self.wrong.append(f"{self.now:.3f} s: {text}")


def _key(item: Item) -> Key:
    return item.boot, item.stream, item.seq


# -- random walks -----------------------------------------------------------------------------------------


def stride(shelf: Shelf, rng: random.Random) -> int:
    """A burst of random steps; how many they were."""
    steps: list[Callable[[], None]] = []
    for _ in range(rng.randint(1, 12)):
        dice = rng.random()
        if dice < 0.12:
            point = rng.randrange(6)
            steps.append(lambda point=point: shelf.alarm(point))  # type: ignore[misc]
        elif dice < 0.17:
            steps.append(shelf.event)
        elif dice < 0.37:
            source = rng.randrange(2)
            steps.append(lambda source=source: shelf.frame(source))  # type: ignore[misc]
        elif dice < 0.6:
            steps.append(shelf.take)
        elif dice < 0.78:
            steps.append(shelf.arrive)
        elif dice < 0.96:
            steps.append(shelf.done)
        elif dice < 0.975:
            steps.append(shelf.again)
        elif dice < 0.98:
            steps.append(shelf.refuse)
        else:
            up = rng.random() < (0.15 if shelf.tight else 0.6)  # tight: much waits, and some is dropped
            steps.append(lambda up=up: shelf.link(up))  # type: ignore[misc]
    dice = rng.random()
    if shelf.tight and dice < 0.03:
        pass  # what was dropped and is not yet told goes with the process: then nobody could count
    elif dice < 0.004:
        shelf.kill(rng.choice(("", "", "row", "alarms.db", "history.db")))
    elif dice < 0.016:
        shelf.kill_at = rng.choice(("begin", "done", "told"))
    elif dice < 0.02:
        shelf.close()
    elif dice < 0.03:  # dying while edges are committed and sent
        shelf.kill_at = rng.choice(("begin", "done"))
        points = [rng.randrange(6) for _ in range(4)]
        steps = [lambda: shelf.link(True), *[lambda p=p: shelf.alarm(p) for p in points]]  # type: ignore[misc]
        steps += [*[shelf.take] * 20, *[shelf.arrive] * 20]
    elif dice < 0.04:
        fault = rng.choice((*FAULTS, "stall"))
        file = rng.choice(("alarms.db", "history.db"))
        steps.append(lambda: shelf.ail(file, fault))
    elif dice < 0.07:
        steps.append(lambda: shelf.ail("", ""))
    shelf.run(*steps, seconds=rng.choice((0.0, 0.001, 0.01, 0.1, 1.2)))
    return len(steps) + 1


def walk(folder: Path, seed: int, steps: int, tight: bool = False) -> Sequence[str]:
    """What was wrong in a random walk."""
    rng = random.Random(seed)
    shelf = Shelf(folder / f"shelf{seed}", seed, tight)
    try:
        n = 0
        while n < steps and not shelf.wrong:
            n += stride(shelf, rng)
        if not shelf.wrong:
            shelf.finish()
        return [f"outbox, seed {seed}, step {n}: {text}" for text in shelf.wrong[:3]]
    finally:
        shelf.end()
