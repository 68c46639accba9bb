"""The whole agent in virtual time, in a world that breaks: one run is one seed, twenty minutes take seconds.

Real: `agent.daemon.Agent` with all that it composes, `agent/uplink` down to the session, SQLite.
Simulated: sensors and an output behind a driver, the wire, a broker with a platform behind it, the disk's faults, both
clocks, and SIGKILL, at any turn of the loop or between two acts of the disk. No thread, no socket, no waiting, and no
randomness but the seed's: a run again gives the same trace, byte for byte.

The world is the ledger. Every reading has a number, hidden in the last digits of its value, so that what the platform
hears can be held against what was served. `World.verdict` is that arithmetic; nothing asks the agent what it believes.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
import json
import math
import random
import shutil
import sqlite3
import sys
import traceback
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

import agent.audit
import agent.checkpoint
import agent.clerk
import agent.daemon
import agent.desk
import agent.health
import agent.keys
import agent.outbox
import agent.provenance
import agent.supervise
import agent.uplink.session
import agent.uplink.sparkplug
from agent.config import Config, Site
from agent.core.core import open_alarms
from agent.core.errors import LineLost
from agent.core.frame import Frame, Instant, Layout, Quality, frame, layout
from agent.core.ports import Clock, Driver, Event, Orders, Uplink
from agent.core.rules import Bad, High, Low, Silence
from agent.health import Health
from agent.machine import Body
from agent.outbox import Store
from agent.upkeep import rules
from agent.uplink.mqtt import Mqtt
from agent.uplink.session import TRIES
from agent.uplink.sparkplug import Sparkplug
from agent.uplink.sparkplug_wire import decode
from agent.wire import Message

from .ether import LATENCY, Wire
from .hosts import native, sparkplug
from .platter import FAULTS, Disk, Hand, Key, Loop, copied, lying, replaced

MINUTES = 20
LENGTH = 60.0 * MINUTES  # s
CALM = 60.0  # s at the end without a fault: within it everything drains
STILL = 40.0  # s at the end in which no hazard comes or goes
FAULTS_PER_RUN = (10, 15)
SOON = 3.0  # s within which a reading is at the platform or on a healthy disk; and an alarm is judged
SICK = 25.0  # s after a fault of the disk in which it may not take what it should: `retry`, and what waits for it
REACH = 15.0  # s within which an output follows, while nothing is broken
WALL = 1_700_000_000.0  # s
SIGNER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)  # the same in each run, as its signatures are
TAIL = 40  # lines of the trace that are shown of a failed run


class Killed(BaseException):
    """SIGKILL."""


class Ended(BaseException):
    """The twenty minutes are over."""


class Channel(Struct, frozen=True, eq=False):
    """One sensor: the levels it shows without and with a hazard, and the rule's view of them."""

    name: str
    calm: tuple[float, ...]
    hazard: tuple[float, ...]
    between: tuple[float, ...]
    rule: High | Low

    def is_over(self, value: float, quality: int) -> bool:
        if quality > Quality.OVER_RANGE or math.isnan(value):
            return False
        return value <= self.rule.limit if isinstance(self.rule, Low) else value >= self.rule.limit

    def is_back(self, value: float, quality: int) -> bool:
        restore = self.rule.bounds[1]
        within = value > restore if isinstance(self.rule, Low) else value < restore
        return quality == Quality.GOOD and within


GAS = High(name="gas", channel=["mine/ch4"], limit=1.0, restore=0.75, level="red", drive=["siren"])
SMOKE = High(name="smoke", channel=["mine/co"], limit=24.0, restore=20.0, level="orange", delay=2.0, clear_delay=3.0)
WATER = Low(
    name="water", channel=["sump/level"], limit=2.0, restore=3.0, level="red", delay=1.0, clear_delay=2.0,
    drive=["siren"],
)  # fmt: skip
CHANNELS = (
    Channel("mine/ch4", (0.25, 0.5), (1.25, 1.5, 3.0), (0.75,), GAS),
    Channel("mine/co", (2.25, 5.5, 12.0), (24.25, 30.0), (21.0, 22.5), SMOKE),
    Channel("sump/level", (4.0, 5.25), (1.25, 1.75), (2.25, 2.5), WATER),
)
SOURCES = {"mine": (CHANNELS[:2], 2.0), "sump": (CHANNELS[2:], 3.0)}  # channels, s between polls
LAYOUTS = {
    source: layout([c.name.partition("/")[2] for c in channels], stale=3 * period + 1)
    for source, (channels, period) in SOURCES.items()
}
RULES = (
    *(channel.rule for channel in CHANNELS),
    Silence(name="silent", channel=["mine", "sump"], level="orange"),
    Bad(name="unfit", channel=["mine/*", "sump/*"], level="yellow"),
    *rules("en"),
)


class Reading(NamedTuple):
    """One value that was served."""

    n: int
    channel: Channel
    at: float
    life: int
    value: float
    quality: int


class Plant(Driver, tag="plant"):
    """The line to the simulated sensors and the siren."""

    world: ClassVar[World]

    def layouts(self) -> Mapping[str, Layout]:
        return LAYOUTS

    def outputs(self) -> tuple[str, ...]:
        return ("siren",)

    async def frames(self, clock: Clock, orders: Orders) -> AsyncIterator[Frame | Event]:
        world = self.world
        lost: set[str] = set()
        await clock.sleep(0.05)
        self._check()
        due = {source: clock.now().mono for source in SOURCES}
        while True:
            if (order := orders.take()) is not None:
                await clock.sleep(0.02)
                self._check()
                facts = {"output": order.output, "on": order.on, "reason": order.reason}
                kind = "order-done" if world.switch(order.on) else "order-failed"
                yield Event(kind, "sump", clock.now(), f"siren {order.on}: {kind}", facts)
                continue
            source = min(due, key=due.__getitem__)
            if (wait := due[source] - clock.now().mono) > 0:
                await orders.wait(wait)
                continue
            self._check()
            due[source] += SOURCES[source][1]
            if source in world.mute:
                await clock.sleep(0.3)
                if source not in lost:
                    lost.add(source)
                    yield Event("device-lost", source, clock.now(), f"{source} does not answer")
                continue
            await clock.sleep(0.01)
            if source in lost:
                lost.discard(source)
                yield Event("device-recovered", source, clock.now(), f"{source} answers again")
            yield world.poll(source, clock.now())

    def _check(self) -> None:
        if self.world.unplugged:
            raise LineLost("read plant: the line is unplugged")


class World:
    """Everything outside the process, the story of what breaks, and the ledger."""

    def __init__(self, seed: int, folder: Path, language: str = "mqtt") -> None:
        self.seed, self.folder, self.language = seed, folder, language
        self.rng = random.Random(seed)
        self.now, self.life = 0.0, 0
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.count = itertools.count()
        self.hash, self.tail = hashlib.sha256(), deque[str](maxlen=TAIL)
        self.story: list[str] = []  # the lines that move it on
        self.wrong: list[str] = []
        self.scene: list[str] = []  # the trace up to the first thing that was wrong
        self.faults: Counter[str] = Counter()
        self.dying = self.ended = False
        # clocks
        self.shift, self.synced = 0.0, True
        # plant
        self.hazard = dict.fromkeys(CHANNELS, False)
        self.spoilt: dict[Channel, int] = {}  # channel -> quality it shows instead of GOOD
        self.mute: set[str] = set()
        self.unplugged = False
        self.siren = self.stuck = False
        self.readings: list[Reading] = []
        # network, broker, platform
        self.cut = False
        self.lag, self.bandwidth = 0.0, 1e6  # s, bytes/s
        self.broker_up = True
        self.swallow = 0.0  # share of PUBACKs that get lost
        self.refuse: dict[int, float] = {}  # code -> share of publishes that it answers
        self.refusals: Counter[Key] = Counter()
        self.limits: dict[str, int] = {}
        self.sessions: list[Wire] = []
        self.sequence: dict[str, int] = {}  # of Sparkplug, by client
        self.retained: dict[str, bytes] = {}
        self.forgot = False  # the broker lost what it retained
        self.heard: dict[Key, float] = {}
        self.last: dict[tuple[Any, ...], tuple[int, int]] = {}
        self.numbers: set[int] = set()
        self.edges: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        self.said: dict[tuple[str, int], tuple[Any, ...]] = {}
        self.view: dict[tuple[str, str], dict[str, Any]] = {}  # what the platform believes to be open
        self.newest: dict[tuple[str, str], tuple[int, int, int]] = {}
        self.lives: dict[str, int] = {}  # boot -> life
        self.excuses: list[dict[str, Any]] = []  # events that explain what is missing
        # process and disk
        self.disk = Disk(random.Random(seed ^ 0x5EED))
        self.disk.moment = self._moment
        self.kill_at = ""
        self.sick: list[tuple[float, float]] = []
        self.kills: list[tuple[float, int, set[Key]]] = []  # when, which life, what lay on the disk
        self.stops: dict[int, float] = {}
        self.spoilt_rows: set[Key] = set()
        self.damage = ""  # done to the files at the next kill
        self.lost_files: list[tuple[float, str, set[Key]]] = []
        self.pause = 0.5  # s between an end and the next start
        self.broken: list[tuple[float, float]] = []  # when outputs may not follow
        self.born = 0.0
        self.agent: Any = None
        self.answer: Any = None
        self._write_story()

    # -- time -------------------------------------------------------------------------------------------

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.heap, (when, next(self.count), do))

    def advance(self, now: float, until: float) -> float:
        """The `world` of `Loop`: what happens by `until`, and how far the clock got."""
        if self.dying:
            raise Killed
        self.now = until
        if self.heap and self.heap[0][0] <= until:
            self.now = max(now, self.heap[0][0])
            while self.heap and self.heap[0][0] <= self.now:
                heapq.heappop(self.heap)[2]()
                if self.ended:
                    raise Ended
        return self.now

    def note(self, kind: str, *facts: Any) -> None:
        """One line of the trace."""
        line = f"{self.now:.6f} {kind} {' '.join(map(str, facts))}"
        self.hash.update(line.encode())
        self.tail.append(line[:300])
        if kind not in ("poll", "heard"):
            self.story.append(line[:120])

    def fail(self, text: str) -> None:
        if not self.wrong:
            self.scene = [*self.story, "...", *self.tail]
        if len(self.wrong) < 20:
            self.wrong.append(f"{self.now:.3f} s: {text}")

    def clock(self) -> Any:
        def now() -> Instant:
            return Instant(self.now, WALL + self.shift + self.now, self.synced)

        async def sleep(seconds: float) -> None:
            await asyncio.sleep(max(0.0, seconds))

        return SimpleNamespace(now=now, sleep=sleep)

    # -- the story ----------------------------------------------------------------------------------------

    def _write_story(self) -> None:
        rng = self.rng
        for channel in CHANNELS:
            t = rng.uniform(5, 60)
            while t < LENGTH - STILL - 30:
                length = rng.choice((0.5, 2.0, 6.0, 20.0, 60.0))
                self.at(t, lambda c=channel: self._stand(c, True))  # type: ignore[misc]
                self.at(t + length, lambda c=channel: self._stand(c, False))  # type: ignore[misc]
                t += length + rng.expovariate(1 / 70)
            if rng.random() < 0.4:
                self.at(LENGTH - STILL - 5, lambda c=channel: self._stand(c, True))  # type: ignore[misc]
        for t in range(30, int(LENGTH - STILL), 45):
            self.at(t + rng.random(), self._acknowledge)
        for t in range(2, int(LENGTH), 2):
            self.at(t + 0.5, self._look_at_siren)
        self.plan: list[str] = []  # the faults to come
        names = [name for name, (weight, _) in STORY.items() for _ in range(weight)]
        for _ in range(rng.randint(*FAULTS_PER_RUN)):
            name = rng.choice(names)
            self.plan.append(name)
            length = rng.choice((1.0, 4.0, 15.0, 15.0, 45.0, 45.0, 200.0))
            start = rng.uniform(15, LENGTH - CALM - 16)
            end = min(start + length, LENGTH - CALM)
            self.at(start, lambda n=name, e=end: self._break(n, e))  # type: ignore[misc]
        self.at(LENGTH, self._end)

    def _break(self, name: str, end: float) -> None:
        self.faults[name] += 1
        self.note("fault", name, f"until {end:.1f}")
        undo = STORY[name][1](self)
        if undo is not None:

            def heal() -> None:
                self.note("healed", name)
                undo()

            self.at(end, heal)

    def _end(self) -> None:
        self.ended = True

    def _stand(self, channel: Channel, there: bool) -> None:
        self.hazard[channel] = there
        self.note("hazard", channel.name, there)

    def _acknowledge(self) -> None:
        """An operator acknowledges what the platform shows."""
        ids = sorted(edge["id"] for edge in self.view.values() if "unacked" in edge["state"])
        if ids and self.answer is not None and self.agent is not None:
            id = self.rng.choice(ids)
            self.note("ack", id)
            task = asyncio.get_running_loop().create_task(self.answer({"verb": "ack", "id": id, "by": "eve"}))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    # -- the plant ------------------------------------------------------------------------------------------

    def poll(self, source: str, at: Instant) -> Frame:
        values, qualities = [], []
        for channel in SOURCES[source][0]:
            n = len(self.readings)
            quality = self.spoilt.get(channel, Quality.GOOD)
            if self.hazard[channel]:
                value = self.rng.choice(channel.hazard)
            else:
                value = self.rng.choice(channel.calm + (channel.between if self.rng.random() < 0.1 else ()))
            value = math.nan if quality >= Quality.STALE else value + n * 1e-7
            self.readings.append(Reading(n, channel, self.now, self.life, value, quality))
            values.append(value)
            qualities.append(quality)
        self.note("poll", source, values, qualities)
        return frame(source, at, LAYOUTS[source], np.array(values), np.array(qualities, np.uint8))

    def number(self, value: float) -> int:
        """Which reading a value is; -1 if none."""
        n = round((value - math.floor(value * 4) / 4) * 1e7)
        return n if 0 <= n < len(self.readings) and self.readings[n].value == value else -1

    def switch(self, on: bool) -> bool:
        """Write the siren's coil and read it back."""
        if not self.stuck:
            self.siren = on
        self.note("switch", on, self.siren)
        return self.siren == on

    def _look_at_siren(self) -> None:
        """It is on where a hazard has stood for long, and off where there was none for long, unless something broke."""
        since = max([self.born, *(end for start, end in self.broken if start <= self.now)])
        if self.agent is None or self.now - since < REACH or self.damage:
            return
        recent = list(itertools.takewhile(lambda r: r.at >= self.now - REACH, reversed(self.readings)))
        for channel in (CHANNELS[0], CHANNELS[2]):
            mine = [r for r in recent if r.channel is channel]
            if mine and all(channel.is_over(r.value, r.quality) for r in mine) and not self.siren:
                self.fail(f"the siren is off though {channel.name} has been over its limit for {REACH:g} s")
        driving = [r for r in recent if r.channel.rule.drive]
        calm = all(r.channel.is_back(r.value, r.quality) for r in driving)
        if {r.channel for r in driving} == {CHANNELS[0], CHANNELS[2]} and calm and self.siren:
            self.fail(f"the siren is on though nothing has been over its limit for {REACH:g} s")

    # -- the broker -------------------------------------------------------------------------------------------

    def attach(self, wire: Wire) -> None:
        for other in list(self.sessions):
            if other.id == wire.id:
                self.detach(other, politely=False)
                other.fail("somebody else connected with the same name", innocent=True)
        wire.open_there = True
        self.sessions.append(wire)
        self.note("connected", wire.life)

    def departed(self, link: Any, what: Any) -> None:
        """It is under way; what becomes of it the line says."""

    def detach(self, wire: Wire, politely: bool) -> None:
        if not wire.open_there:
            return
        wire.open_there = False
        self.sessions.remove(wire)
        self.note("disconnected", politely)
        if not politely:
            self._accept(wire.will)

    def arrived(self, wire: Wire, mid: int, message: Message) -> None:
        """A message at the broker."""
        if not wire.open_there or not self.broker_up or self.cut:
            return
        if self.language == "sparkplug":
            self._sequence(wire, message)
        dice = self.rng.random()
        code = next((code for code, share in self.refuse.items() if dice < share), 0) if message.qos else 0
        if code and not message.topic.endswith("/state"):
            self.note("refused", hex(code), message.topic)
            if message.payload:
                body = json.loads(message.payload)
                self.refusals[body["boot"], body["stream"], body["seq"]] += 1
        else:
            code = 0
            self._accept(message)
        if self.rng.random() >= self.swallow:
            self.at(self.now + LATENCY + self.lag, lambda: wire.confirm(mid, code))

    def _sequence(self, wire: Wire, message: Message) -> None:
        """A host asks for births anew where a number is missing, or a birth has not the number of the will."""
        verb, told = message.topic.split("/")[2], decode(message.payload)
        if verb == "NDEATH":
            return
        if verb == "NBIRTH":
            born, dies = (
                next(m.value for m in metrics if m.name == "bdSeq")
                for metrics in (told.metrics, decode(wire.will.payload).metrics)
            )
            if born != dies:
                self.fail(f"the birth has bdSeq {born}, the will {dies}")
            self.sequence[wire.id] = -1
        wanted = (self.sequence.get(wire.id, -2) + 1) % 256
        if told.seq != wanted:
            self.fail(f"{message.topic} has the number {told.seq}, not {wanted}")
        self.sequence[wire.id] = wanted

    def _accept(self, message: Message) -> None:
        bodies = LANGUAGES[self.language].bodies(message.topic, message.payload)
        text = message.payload.decode() if self.language == "mqtt" else bodies  # lengths of paths are in the bytes
        self.note("heard", message.topic, text)
        if message.retain:
            self.retained.pop(message.topic, None)
            if message.payload:
                self.retained[message.topic] = message.payload
        for body in bodies:
            self._hear(body)

    # -- the platform -----------------------------------------------------------------------------------------

    def _hear(self, body: dict[str, Any]) -> None:
        if body["schema"].startswith("vedette.state/"):
            if body["state"] == "online":
                self._reconcile(body)
            return
        key = (body["boot"], body["stream"], body["seq"])
        if body["schema"].startswith("vedette.alarm/"):
            self._hear_alarm(key, body)
        if key in self.heard:
            if not body.get("resent"):
                self.fail(f"{key} came twice, unmarked")
            return
        self.heard[key] = self.now
        if body["schema"].startswith("vedette.event/") and body["kind"] in ("gap", "set-aside"):
            self.excuses.append(body["facts"])
        if body["schema"].startswith("vedette.telemetry/") and body["source"] in SOURCES:
            self._hear_readings(key, body)

    def _hear_readings(self, key: Key, body: dict[str, Any]) -> None:
        for row in body["value"]:
            for value in row:
                if value is not None:
                    if (n := self.number(value)) < 0:
                        self.fail(f"{key} holds {value!r}, which nobody served")
                    self.numbers.add(n)
        if not body.get("resent") and not body.get("historical"):
            lane, order = key[:2], (self.lives.get(key[0], 0), key[2])
            if self.last.get(lane, order) > order:
                self.fail(f"{key} came live after {self.last[lane]}")
            self.last[lane] = order

    def _hear_alarm(self, key: Key, body: dict[str, Any]) -> None:
        point = (body["rule"], body["channel"])
        said = tuple(body[field] for field in ("event", "state", "value", "rule", "channel", "by"))
        edge = body["id"], body["edge"]
        before, boot = self.said.setdefault(edge, (said, key[0]))
        if before != said and not self._was_told_from_memory(boot):
            self.fail(f"edge {body['edge']} of {body['id']} was {before}, now {said}")
        self.said[edge] = said, key[0]
        if key in self.heard:
            return
        order = self._age(body)
        if not body.get("resent"):
            place = (self.lives.get(key[0], 0), key[2])
            if self.last.get(point, place) > place:
                self.fail(f"{key} of {point} came after {self.last[point]}")
            self.last[point] = place
        self.edges[point].append({**body, "heard": self.now, "n": self.number(body["value"] or 0.1)})
        if order > self.newest.get(point, (0, 0, 0)):
            self.newest[point] = order
            if body["state"] == "normal":
                self.view.pop(point, None)
            else:
                self.view[point] = body

    def _age(self, edge: dict[str, Any]) -> tuple[int, int, int]:
        """By which the newest edge of a point is found: life, number of the occurrence, edge."""
        boot, _, serial = edge["id"].rpartition("-")
        return self.lives.get(boot, 0), int(serial), edge["edge"]

    def _reconcile(self, birth: dict[str, Any]) -> None:
        """The list of open alarms in a birth message is what is open; anything else is over."""
        listed = {(edge["rule"], edge["channel"]): edge for edge in birth["alarms"]}
        for point in [*self.view, *listed]:
            if point not in listed:
                self.view.pop(point, None)
            elif self._age(listed[point]) >= self.newest.get(point, (0, 0, 0)):
                self.view[point], self.newest[point] = listed[point], self._age(listed[point])

    # -- process and disk --------------------------------------------------------------------------------------

    def _moment(self, when: str) -> None:
        if self.kill_at == when:
            self.kill_at = ""
            self.dying = True

    def kill(self) -> None:
        """The process is gone; the kernel closes its sockets."""
        self.dying = False
        self.note("killed")
        for wire in list(self.sessions):
            wire.close()
        old, new = self.home, self.folder / f"life{self.life + 1}"
        copied(old, new)
        self.disk.end()
        shutil.rmtree(old, ignore_errors=True)
        kept, _ = lying(new, "platform")
        self.kills.append((self.now, self.life, kept))
        if self.damage:
            self._spoil(new, kept)
        self.damage = ""

    def _spoil(self, home: Path, kept: set[Key]) -> None:
        damage, self.damage = self.damage, ""
        self.note("spoilt", damage)
        if damage == "row":
            table, name = self.rng.choice((("item", "alarms.db"), ("batch", "history.db")))
            db = sqlite3.connect(home / name)
            rows = db.execute(f"SELECT row, body FROM {table} ORDER BY row").fetchall()
            if rows:
                row, body = self.rng.choice(rows)
                spot = self.rng.randrange(len(body))
                body = body[:spot] + bytes([body[spot] ^ 1 << self.rng.randrange(8)]) + body[spot + 1 :]
                columns = "boot, lane, seq FROM item" if table == "item" else (
                    "boot, 'telemetry/' || source, seq FROM batch JOIN layout ON layout = id"
                )  # fmt: skip
                self.spoilt_rows.add(db.execute(f"SELECT {columns} WHERE row = ?", (row,)).fetchone())
                db.execute(f"UPDATE {table} SET body = ? WHERE row = ?", (body, row))
                db.commit()
            db.close()
            return
        path = home / damage
        if self.rng.random() < 0.5 and path.exists():
            with path.open("r+b") as file:
                file.write(self.rng.randbytes(100))
        else:
            path.unlink(missing_ok=True)
            path.with_name(f"{damage}-wal").unlink(missing_ok=True)
        lost = {key for key in kept if key[1].startswith("telemetry/") == (damage == "history.db")}
        self.lost_files.append((self.now, damage, lost))

    @property
    def home(self) -> Path:
        return self.folder / f"life{self.life}"

    def was_sick(self, start: float, end: float) -> bool:
        """Whether the disk was ill, or had hardly recovered, at some time between."""
        return any(a <= end and start <= b + SICK for a, b in self.sick)

    # -- the verdict -------------------------------------------------------------------------------------------

    def verdict(self) -> None:
        """Set arithmetic between the ledger and what the platform heard."""
        self._check_readings()
        self._check_holes()
        self._check_edges()
        self._check_hazards()
        self._check_end()

    def _ends(self) -> dict[int, float]:
        """When each life was killed."""
        return {life: at for at, life, _ in self.kills}

    def _check_readings(self) -> None:
        ends = self._ends()
        missing = [
            r for r in self.readings
            if r.n not in self.numbers and not math.isnan(r.value) and r.at < LENGTH - 5
        ]  # fmt: skip
        unexplained = []
        for r in missing:
            end = ends.get(r.life, self.stops.get(r.life, math.inf))
            if end - r.at <= SOON and r.life in ends:
                continue
            if end < math.inf and self.was_sick(r.at, end):
                continue  # kept in memory, and lost with it
            if any(name == "history.db" and r.at <= at for at, name, _ in self.lost_files):
                continue
            unexplained.append(r)
        told = sum(f.get("count", 1) for f in self.excuses if str(f.get("stream", "telemetry")).startswith("telemetry"))
        told += sum(key[1].startswith("telemetry/") for key in self.spoilt_rows)
        told += sum(n >= TRIES and key[1].startswith("telemetry/") for key, n in self.refusals.items())
        if len(unexplained) > 4 * told:
            r = unexplained[0]
            self.fail(f"{len(unexplained)} readings are missing, the first of {r.at:.3f} s in life {r.life}")

    def _check_holes(self) -> None:
        top: Counter[tuple[str, str]] = Counter()
        for boot, stream, seq in self.heard:
            top[boot, stream] = max(top[boot, stream], seq)
        lost = {key for _, _, keys in self.lost_files for key in keys} | self.spoilt_rows
        for (boot, stream), n in top.items():
            for seq in range(1, n + 1):
                key = (boot, stream, seq)
                if key not in self.heard and key not in lost and not self._is_excused(key):
                    self.fail(f"{key} is missing and nothing explains it")
                    break

    def _was_told_from_memory(self, boot: str) -> bool:
        """Whether that life was killed while its disk was ill: the next cannot know what it told, and judges anew."""
        life = self.lives.get(boot, 0)
        ends = [at for at, killed, _ in self.kills if killed == life]
        return any(self.was_sick(at - SICK, at) for at in ends)

    def _is_excused(self, key: Key) -> bool:
        boot, stream, seq = key
        if self.refusals[key] >= TRIES:
            return True  # it may be set aside, and the word of that refused as well
        life = self.lives.get(boot, 0)
        if any(life == killed and key not in kept for _, killed, kept in self.kills):
            return True  # it never was on the disk
        if life in self.stops and self.was_sick(self.stops[life] - SICK, self.stops[life]):
            return True
        for facts in self.excuses:
            first, last = (facts.get(name, facts.get("seq", 0)) for name in ("from", "to"))
            if (facts.get("boot"), facts.get("stream")) == (boot, stream) and first <= seq <= last:
                return True
        unnamed = sum(f.get("count", 0) for f in self.excuses if "boot" not in f)  # damaged rows have no name
        return stream.startswith("telemetry") and unnamed > 0

    def _around(self, r: Reading, seconds: float) -> list[Reading]:
        """The readings of the same channel and life in so many seconds up to this one."""
        found = []
        for other in reversed(self.readings[: r.n + 1]):
            if other.at < r.at - seconds or other.life != r.life:
                break
            if other.channel is r.channel:
                found.append(other)
        return found

    def _check_edges(self) -> None:
        """No false alarm, and no clear for a hazard that stands."""
        for channel in CHANNELS:
            for edge in self.edges[channel.rule.name, channel.name]:
                if edge["event"] == "acknowledged":
                    continue
                what = f"{edge['id']} edge {edge['edge']} of {channel.name} was {edge['event']}"
                if edge["n"] < 0:
                    self.fail(f"{what} on {edge['value']}, which nobody served")
                    continue
                r = self.readings[edge["n"]]
                raised = edge["event"] == "raised"
                fits = channel.is_over if raised else channel.is_back
                against = channel.is_back if raised else channel.is_over
                delay = channel.rule.delay if raised else channel.rule.clear_delay
                if r.channel is not channel or not fits(r.value, r.quality):
                    self.fail(f"{what} on reading {r}")
                window = self._around(r, max(0.0, delay - SOURCES[channel.name.partition("/")[0]][1] - 0.5))
                if any(against(other.value, other.quality) for other in window):
                    self.fail(f"{what} before its delay was over, on reading {r}")

    def _check_hazards(self) -> None:
        """Every hazard that was seen for long enough has an alarm that stands over it."""
        ends = self._ends()
        for channel in CHANNELS:
            mine = [r for r in self.readings if r.channel is channel]
            over = itertools.groupby(mine, key=lambda r: (r.life, channel.is_over(r.value, r.quality)))
            for (life, is_over), group in over:
                stretch = list(group)
                due = stretch[0].at + channel.rule.delay + SOON
                if not is_over or stretch[-1].at < due:
                    continue
                end = ends.get(life, math.inf)
                hurt = [at for at, name, _ in self.lost_files if name == "alarms.db" and at >= stretch[0].at]
                if hurt or (end < math.inf and self.was_sick(stretch[0].at, end)):
                    continue  # it was lost with the memory or the file that held it
                if any(key[1] == "alarm" for key in self.spoilt_rows):
                    continue
                if not self._is_covered(channel, due, stretch[-1].at):
                    self.fail(f"{channel.name} was over its limit from {stretch[0].at:.3f} s, and no alarm says so")

    def _is_covered(self, channel: Channel, due: float, until: float) -> bool:
        edges = self.edges[channel.rule.name, channel.name]
        for edge in edges:
            if edge["event"] != "raised" or self.readings[edge["n"]].at > due:
                continue
            clears = [e for e in edges if e["id"] == edge["id"] and e["event"] == "cleared"]
            if all(self.readings[e["n"]].at > until for e in clears):
                return True
        return False

    def _check_end(self) -> None:
        """Platform, world and agent agree, and nothing waits."""
        if self.agent is None:
            return  # told already
        shown = {point for point, edge in self.view.items() if edge["state"].startswith("active")}
        for channel in CHANNELS:
            if ((channel.rule.name, channel.name) in shown) != self.hazard[channel]:
                self.fail(
                    f"the platform shows {channel.name}: {not self.hazard[channel]}, it is {self.hazard[channel]}"
                )
        known = {(a.rule, a.channel): a.id for a in open_alarms(self.agent.memory)}
        view = {point: edge["id"] for point, edge in self.view.items()}
        if known != view:
            self.fail(f"the platform shows {view}, the agent knows {known}")
        if self.language != "mqtt":
            shown = set()  # it retains nothing
        kept = {topic for topic in self.retained if "/alarm/" in topic}
        active = {f"vedette/s/gw1/alarm/{self.view[point]['level']}/{point[1]}/{point[0]}" for point in shown}
        if not kept <= active or (kept != active and not self.forgot):
            self.fail(f"retained are {sorted(kept)}, active {sorted(active)}")
        waiting = self.agent.outbox.depth()
        if sum(waiting.values()) > 6:
            self.fail(f"not drained {CALM:g} s after the last fault: {waiting}")


# -- what breaks ---------------------------------------------------------------------------------------------

Break = Callable[[World], Callable[[], None] | None]


def setting(name: str, choose: Callable[[World], Any]) -> Break:
    """A fault that is a field of the world."""

    def begin(world: World) -> Callable[[], None]:
        before = INITIAL[name]
        setattr(world, name, choose(world))
        return lambda: setattr(world, name, before)

    return begin


INITIAL = {"cut": False, "lag": 0.0, "bandwidth": 1e6, "swallow": 0.0, "unplugged": False, "stuck": False}


def hindering(begin: Break) -> Break:
    """A fault that keeps outputs from following."""

    def both(world: World) -> Callable[[], None]:
        start, undo = world.now, begin(world)
        world.broken.append((start, math.inf))

        def heal() -> None:
            if undo is not None:
                undo()
            world.broken[world.broken.index((start, math.inf))] = (start, world.now)

        return heal

    return both


def reset(world: World) -> None:
    for wire in list(world.sessions):
        world.detach(wire, politely=False)
        wire.fail("connection reset by peer")


def broker_restarts(world: World) -> Callable[[], None]:
    world.broker_up = False
    for wire in list(world.sessions):
        wire.open_there = False
        world.sessions.remove(wire)
        wire.fail("connection lost")
    if world.rng.random() < 0.5:
        world.retained.clear()
        world.forgot = True
    return lambda: setattr(world, "broker_up", True)


def flapping(world: World) -> Callable[[], None]:
    going = [True]

    def flap() -> None:
        if going:
            reset(world)
            world.at(world.now + world.rng.uniform(0.5, 7.0), flap)

    flap()
    return going.clear


def refusing(world: World) -> Callable[[], None]:
    world.refuse = {world.rng.choice((0x97, 0x83, 0x87, 0x99)): world.rng.choice((0.1, 0.5, 1.0))}
    return world.refuse.clear


def narrow(world: World) -> Callable[[], None]:
    world.limits = {"ReceiveMaximum": world.rng.choice((1, 2, 10))}
    reset(world)
    return lambda: setattr(world, "limits", {})


def half_open(world: World) -> Callable[[], None]:
    world.cut = True

    def heal() -> None:
        world.cut = False
        for wire in list(world.sessions):  # what was sent is gone: TCP never gets it through in order
            if wire.silent_since is not None:
                world.detach(wire, politely=False)
                wire.fail("connection reset by peer", innocent=True)

    return heal


def disk_fault(world: World) -> Callable[[], None]:
    files = world.rng.choice((("alarms.db",), ("history.db",), ("alarms.db", "history.db")))
    fault, start = world.rng.choice(tuple(FAULTS)), world.now
    world.disk.fault |= dict.fromkeys(files, fault)
    world.sick.append((start, math.inf))
    world.note("disk", fault, files)

    def heal() -> None:
        world.sick[world.sick.index((start, math.inf))] = (start, world.now)
        for file in files:
            world.disk.fault.pop(file, None)

    return heal


def stall(world: World) -> Callable[[], None]:
    start = world.now
    world.disk.stall = world.rng.choice((0.3, 1.0, 3.0))
    world.sick.append((start, math.inf))

    def heal() -> None:
        world.disk.stall = 0.0
        world.sick[world.sick.index((start, math.inf))] = (start, world.now)

    return heal


def kill(world: World) -> None:
    if world.agent is None:
        return
    world.pause = world.rng.choice((0.05, 0.5, 3.0))
    when = world.rng.choice(("now", "begin", "done", "told"))
    if when == "now":
        world.dying = True
    else:
        world.kill_at = when


def kill_at_alarm(world: World) -> None:
    """As soon as the next edge of an alarm is judged."""
    world.pause = world.rng.choice((0.05, 0.5, 3.0))
    world.kill_at = "alarm"


def damage(what: str) -> Break:
    def begin(world: World) -> None:
        world.damage = what
        kill(world)
        if world.agent is None:
            world.damage = ""

    return begin


def stop(world: World) -> None:
    if world.agent is not None:
        world.pause = 0.5
        world.agent.stop()


def clock_jumps(world: World) -> None:
    world.shift = world.rng.choice((-3.15e8, 3600.0, -3600.0, 0.0, 3.15e8, -6.2e8))
    world.synced = world.rng.random() < 0.7


def mute(world: World) -> Callable[[], None]:
    source = world.rng.choice(tuple(SOURCES))
    world.mute.add(source)
    return lambda: world.mute.discard(source)


def bad_quality(world: World) -> Callable[[], None]:
    channel = world.rng.choice(CHANNELS)
    world.spoilt[channel] = world.rng.choice((1, 2, 3, 5))
    return lambda: world.spoilt.pop(channel, None)  # type: ignore[return-value]


def stuck_in_need(world: World) -> Callable[[], None]:
    """The siren does not obey, just when gas comes."""
    world.stuck = True
    world._stand(CHANNELS[0], True)

    def heal() -> None:
        world.stuck = False
        until = min(world.now + 2 * REACH, LENGTH - STILL - 10)
        world.at(until, lambda: world._stand(CHANNELS[0], False))

    return heal


def power_of_siren(world: World) -> Callable[[], None]:
    """The siren's device loses its power: it is off, and mute, until it is there again."""
    world.siren = False
    world.mute.add("sump")
    world.note("siren", "lost its power")
    stuck, world.stuck = world.stuck, True

    def heal() -> None:
        world.stuck = stuck
        world.mute.discard("sump")

    return heal


STORY: dict[str, tuple[int, Break]] = {  # name -> weight, what it does; it returns what undoes it
    "reset": (2, reset),
    "flapping": (1, flapping),
    "half-open": (3, half_open),
    "broker restarts": (2, broker_restarts),
    "slow link": (1, setting("lag", lambda w: w.rng.choice((0.3, 1.5, 3.0)))),
    "narrow link": (1, setting("bandwidth", lambda w: w.rng.choice((300.0, 2000.0)))),
    "PUBACKs lost": (1, setting("swallow", lambda w: w.rng.choice((0.05, 0.5, 1.0)))),
    "refused": (2, refusing),
    "receive maximum": (1, narrow),
    "disk": (3, disk_fault),
    "disk stalls": (2, stall),
    "killed": (4, kill),
    "killed at an alarm": (3, kill_at_alarm),
    "row damaged": (1, damage("row")),
    "alarms.db lost": (1, damage("alarms.db")),
    "history.db lost": (1, damage("history.db")),
    "stopped": (1, stop),
    "clock jumps": (2, clock_jumps),
    "device mute": (1, hindering(mute)),
    "line unplugged": (1, hindering(setting("unplugged", lambda w: True))),
    "bad quality": (2, bad_quality),
    "siren stuck": (2, hindering(stuck_in_need)),
    "siren without power": (2, hindering(power_of_siren)),
}


# -- one run -------------------------------------------------------------------------------------------------


class Language(NamedTuple):
    """An uplink, and how its platform reads what it hears."""

    uplink: Uplink
    bodies: Callable[[str, bytes], list[dict[str, Any]]]


LANGUAGES = {
    "mqtt": Language(Mqtt(name="platform", url="mqtt://broker"), native),
    "sparkplug": Language(Sparkplug(name="platform", url="mqtt://broker"), sparkplug),
}


class Run(Struct, frozen=True):
    """What one seed gave."""

    language: str
    seed: int
    trace: str  # hash of everything that could be seen from outside
    faults: int
    lives: int
    heard: int
    wrong: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()  # of the trace, up to the first thing that was wrong


def seams(world: World) -> list[tuple[Any, str, Any]]:
    """Where the product would reach out of its process: (owner, attribute, what stands there)."""

    async def serve(path: str, answer: Any, *more: Any) -> None:
        world.answer = answer
        renew = more[0] if more else lambda: None
        while True:
            await asyncio.sleep(2.0)
            renew()

    def say(kind: str, **facts: Any) -> None:
        if "boot" in facts:
            world.lives[facts["boot"]] = world.life
        if world.kill_at == "alarm" and kind.startswith("alarm-"):
            world.kill_at = world.rng.choice(("begin", "done", "told"))
            world.note("trap", world.kill_at)

    dice = SimpleNamespace(Random=lambda: random.Random(world.rng.random()), random=world.rng.random)
    found: list[tuple[Any, str, Any]] = [
        (agent.daemon, "control", SimpleNamespace(serve=serve)),
        (agent.daemon, "say", say),
        (agent.daemon, "gc", SimpleNamespace(collect=int, freeze=int)),
        (agent.health, "Machine", lambda disk: SimpleNamespace(look=lambda now: BODY)),
        (agent.daemon, "offset", lambda: 0.0),
        (agent.supervise, "random", dice),
        (agent.uplink.session, "Wire", Wire),
        (agent.audit, "Hand", lambda name: Hand(world.disk)),
        (agent.uplink.sparkplug, "Hand", lambda name: Hand(world.disk)),
        (agent.daemon, "Hand", lambda name: Hand(world.disk)),
        (agent.checkpoint, "Hand", lambda name: Hand(world.disk)),
        (agent.clerk, "Hand", lambda name: Hand(world.disk)),
        (agent.desk, "Hand", lambda name: Hand(world.disk)),
        (agent.provenance, "program", lambda: ""),
        (agent.keys, "gateway", lambda path, make: (SIGNER, "")),
    ]
    for module in (agent.daemon, agent.outbox):
        if hasattr(module, "kernel"):
            found.append((module, "kernel", lambda: "k"))
    return found


BODY = Body(*[0.0] * len(Body._fields))._replace(
    memory=50.0, descriptors=20.0, disk_free=50.0, inodes_free=50.0, disk_full_in=8760.0
)


def play(seed: int, folder: Path, language: str = "mqtt") -> Run:
    """One run, in a folder of its own below `folder`, which is removed.

    The process stands in `folder` meanwhile: complaints name files, and the journal's checksums are made of complaints.
    """
    home = Path(f"{language}{seed}")
    (folder / home).mkdir(parents=True)
    with chdir(folder):
        world = World(seed, home, language)
        Plant.world = Wire.net = world  # type: ignore[assignment]
        try:
            with world.disk.mounted(), replaced(seams(world)):
                while not world.ended:
                    _live(world)
            world.verdict()
        finally:
            world.disk.end()
            shutil.rmtree(home, ignore_errors=True)
    tail = tuple(world.scene[-2 * TAIL :])
    return Run(
        language,
        seed,
        world.hash.hexdigest(),
        sum(world.faults.values()),
        world.life,
        len(world.heard),
        tuple(world.wrong),
        tail,
    )


def _live(world: World) -> None:
    """One life of the process, and the pause after it."""
    world.life += 1
    world.born = world.now
    world.note("started", world.life)
    store = Store(path=str(world.home), ballast_mb=0, history_mb=world.rng.choice((0.07, 0.25, 4.0)))
    config = Config(
        path=world.folder / "site.toml",
        site=Site(name="s"),
        store=store,
        drivers=(Plant(name="plant"),),
        rules=RULES,
        uplinks=(LANGUAGES[world.language].uplink,),
        layouts={**LAYOUTS, Health.SOURCE: Health.LAYOUT},
        sources=(),
        hash="0" * 16,
    )
    loop = Loop(world.now, world.advance)
    process = agent.daemon.Agent(config, clock=world.clock())
    world.agent = process
    try:
        loop.run_until_complete(process.run())
        world.note("stopped")
        world.stops[world.life] = world.now
        for wire in list(world.sessions):
            wire.close()
    except Killed:
        world.agent = None
        world.kill()
    except Ended:
        return
    except Exception as error:
        world.fail(f"the agent ended by itself: {''.join(traceback.format_exception(error)[-3:])}")
        world.stops[world.life] = world.now
    finally:
        loop.bury()
        if not world.ended:
            world.agent = world.answer = None
    if (old := world.home).exists():
        world.disk.end()
        old.rename(world.folder / f"life{world.life + 1}")
    world.dying = False
    world.kill_at = ""
    until = world.now + world.pause
    try:
        while world.now < until:
            world.advance(world.now, until)
    except Ended:
        world.fail("the end found no process")


def main() -> None:
    """`python -m tests.rigs.simulation FOLDER [LANGUAGE:]SEED...`: the trace's hash of each, and what was wrong."""
    for word in sys.argv[2:]:
        language, _, seed = word.rpartition(":")
        played = play(int(seed), Path(sys.argv[1]), language or "mqtt")
        print("seed", word, played.trace, f"{played.faults} faults, {played.lives} lives, {played.heard} heard")
        print("\n".join([*played.tail, *played.wrong]), end="\n" * bool(played.wrong))


if __name__ == "__main__":
    main()
