"""The alarm machine once more, one limit on one channel at a time, written from what the documents say; and a walk
that compares it with `Core.step`. It shares the core's words (rules, qualities), not a line of its judgement.

All numbers are multiples of 1/4, so that times and values compare exactly.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from agent.core.alarm import LEVELS, Alarm
from agent.core.core import Ack, Core, Memory, Tick, Verdict, open_alarms
from agent.core.frame import Instant, Layout, Quality, frame, layout
from agent.core.rules import High, Low, Silence

NAN = float("nan")
WALL = 1.7e9  # s


class Edge(NamedTuple):
    """What is compared of an alarm's edge."""

    channel: str
    id: str
    edge: int
    event: str
    state: str
    since: float
    by: str = ""


class Limit:
    """One rule on one channel, and the life of its alarm after the table of `agent/core/alarm.py`."""

    def __init__(self, rule: High | Low | Silence, channel: str, stale: float, now: float) -> None:
        self.rule, self.channel, self.stale = rule, channel, stale
        self.limit, self.restore = (stale, stale) if rule.bounds[0] != rule.bounds[0] else rule.bounds
        self.state, self.id, self.edge = "normal", "", 0
        self.start(now)

    def start(self, now: float) -> None:
        """What a restart forgets: everything but the alarm itself. The channel ages from here."""
        self.value, self.quality, self.measured, self.fresh = NAN, Quality.UNCERTAIN, now, False
        self.over_since = self.back_since = NAN

    def sample(self, now: float, value: float, quality: Quality, age: float) -> None:
        if not (math.isnan(value) and quality == Quality.UNCERTAIN):  # else missed in this poll
            self.measured, self.fresh = max(self.measured, now - age), True
        self.value, self.quality = value, quality

    def verdict(self, now: float) -> str:
        """What is known of the hazard: it is "over", it is "back", it is "between", or it is "unknown"."""
        age = now - self.measured
        if isinstance(self.rule, Silence):
            return "over" if age >= self.limit else "back" if self.fresh else "unknown"
        value, quality = self.value, self.quality
        if age > self.stale:  # the last number is never used again as if it were new
            value, quality = NAN, max(quality, Quality.STALE)
        blind = quality >= Quality.STALE
        small_is_bad = isinstance(self.rule, Low)
        beyond = value <= self.limit if small_is_bad else value >= self.limit
        within = value > self.restore if small_is_bad else value < self.restore
        if (blind and self.rule.fail_safe) or (beyond and quality <= Quality.OVER_RANGE):
            return "over"
        if quality != Quality.GOOD or math.isnan(value):
            return "unknown"
        return "back" if within else "between"

    def judge(self, now: float, news: bool) -> str:
        """The event that is due, "" for none. Delays run on through what is unknown; only news may clear."""
        verdict = self.verdict(now)
        if verdict != "unknown":
            self.over_since = min(now, self.over_since) if verdict == "over" else NAN  # min keeps now for NaN
            self.back_since = min(now, self.back_since) if verdict == "back" else NAN
        active = self.state.startswith("active")
        if verdict == "over" and not active and now - self.over_since >= self.rule.delay:
            return "raised"
        if verdict == "back" and active and news and now - self.back_since >= self.rule.clear_delay:
            return "cleared"
        return ""

    def move(self, event: str, id: str = "", by: str = "") -> Edge:
        """The next state. `id` is that of a new occurrence."""
        since = self.over_since if event == "raised" else self.back_since
        if event == "raised":
            self.id, self.edge, self.state = id, 0, "active-unacked"
        elif event == "cleared":
            self.state = "normal" if self.state == "active-acked" else "returned-unacked"
        else:
            self.state = "normal" if self.state == "returned-unacked" else "active-acked"
            since = NAN  # that of the last edge
        self.edge += 1
        return Edge(self.channel, self.id, self.edge, event, self.state, since, by)


class Both:
    """The core and the reference side by side. Each step gives the differences, as text."""

    def __init__(self, rules: list[High | Low | Silence], stale: list[float]) -> None:
        self.n, self.boot, self.serial, self.now = len(rules), 1, 0, 0.0
        keys = [f"c{i}" for i in range(self.n)]
        self.layout: Layout = layout(keys, stale=stale)
        self.core = Core({"s": self.layout}, rules)
        self.memory: Memory = self.core.start("b1", self.at())
        named = [Limit(r, f"s/c{i}", stale[i], 0.0) for i, r in enumerate(rules)]
        self.limits = sorted(named, key=lambda p: [High, Low, Silence].index(type(p.rule)))  # as points are laid out
        self.outputs: dict[str, bool] = {}  # as ordered by the core

    def at(self) -> Instant:
        return Instant(self.now, WALL + self.now, True)

    def sample(self, dt: float, value: list[float], quality: list[Quality], age: list[float]) -> list[str]:
        self.now += dt
        by_channel = {f"s/c{i}": (value[i], quality[i], age[i]) for i in range(self.n)}
        for limit in self.limits:
            limit.sample(self.now, *by_channel[limit.channel])
        return self._step(frame("s", self.at(), self.layout, value, quality, age), news=True)

    def tick(self, dt: float) -> list[str]:
        self.now += dt
        return self._step(Tick(self.at()), news=False)

    def acknowledge(self, dt: float, id: str) -> list[str]:
        self.now += dt
        expected = [
            limit.move("acknowledged", by="eve")
            for limit in self.limits
            if limit.id == id and limit.state in ("active-unacked", "returned-unacked")
        ]
        self.memory, verdict = self.core.step(self.memory, Ack(id, "eve", self.at()))
        return self._differences(expected, verdict)

    def restart(self, dt: float) -> list[str]:
        """A new boot recalls what the disk holds of the old one: the last edge of every open alarm."""
        self.now += dt
        self.boot, self.serial, self.outputs = self.boot + 1, 0, {}
        for limit in self.limits:
            limit.start(self.now)
        self.memory, verdict = self.core.recall(open_alarms(self.memory), f"b{self.boot}", self.at())
        return self._differences([], verdict)

    def open(self) -> list[str]:
        return [limit.id for limit in self.limits if limit.state != "normal"]

    def _step(self, event: Any, news: bool) -> list[str]:
        expected = []
        for limit in self.limits:
            if due := limit.judge(self.now, news):
                self.serial += due == "raised"
                expected.append(limit.move(due, f"b{self.boot}-{self.serial}"))
        self.memory, verdict = self.core.step(self.memory, event)
        return self._differences(expected, verdict)

    def _differences(self, expected: list[Edge], verdict: Verdict) -> list[str]:
        found = [_edge(alarm) for alarm in verdict.alarms]
        wrong = [] if list(map(str, found)) == list(map(str, expected)) else [f"{self.now}: {found} not {expected}"]
        for order in verdict.orders:
            if self.outputs.get(order.output, False) == order.on:
                wrong.append(f"{self.now}: {order.output} is ordered {order.on} again")
            self.outputs[order.output] = order.on
        wanted = {o for limit in self.limits if limit.state.startswith("active") for o in limit.rule.drive}
        if wanted != {output for output, on in self.outputs.items() if on}:
            wrong.append(f"{self.now}: outputs {self.outputs}, wanted on are {sorted(wanted)}")
        if sorted(self.open()) != sorted(alarm.id for alarm in open_alarms(self.memory)):
            wrong.append(f"{self.now}: open {open_alarms(self.memory)} not {self.open()}")
        return wrong


def _edge(alarm: Alarm) -> Edge:
    since = NAN if alarm.event == "acknowledged" else alarm.since.mono
    return Edge(
        alarm.channel,
        alarm.id,
        alarm.edge,
        alarm.event,
        alarm.state,
        since,
        alarm.by if alarm.event == "acknowledged" else "",
    )


# -- random walks ------------------------------------------------------------------------------------------

DELAYS = (0.0, 0.0, 0.25, 1.0, 3.0)  # s
STEPS = (0.0, 0.25, 0.5, 1.0, 1.0, 2.0, 5.0)  # s
STALES = (1.5, 3.0, 1e6)  # s
VALUES = (2.0, 3.75, 4.0, 4.25, 5.0, 5.25, 6.0, NAN)  # about a limit of 5 that restores at 4, or the other way round
QUALITIES = (*[Quality.GOOD] * 8, *Quality)


def rule(n: int, rng: random.Random) -> High | Low | Silence:
    """A rule for channel `n`."""
    kind = rng.choice((High, High, Low, Silence))
    bounds: dict[str, Any] = {"limit": 5.0, "restore": rng.choice((4.0, 5.0))}
    if kind is Low:
        bounds = {"limit": 4.0, "restore": rng.choice((4.0, 5.0))}
    if kind is Silence:
        bounds = {"limit": rng.choice((None, 2.0))}
    return kind(
        name=f"r{n}",
        channel=[f"s/c{n}"],
        level=rng.choice(LEVELS),
        delay=rng.choice(DELAYS),
        clear_delay=rng.choice(DELAYS),
        drive=rng.choice(([], ["siren"], ["siren", "power"])),
        fail_safe=kind is not Silence and rng.random() < 0.3,
        **bounds,
    )


def pair(n: int, rng: random.Random) -> Both:
    """Core and reference with `n` random rules on as many channels."""
    return Both([rule(i, rng) for i in range(n)], [rng.choice(STALES) for _ in range(n)])


def step(both: Both, rng: random.Random) -> list[str]:
    """One random step."""
    dt, dice = rng.choice(STEPS), rng.random()
    if dice < 0.7:
        value, quality = rng.choices(VALUES, k=both.n), rng.choices(QUALITIES, k=both.n)
        age = [0.0] * both.n if rng.random() < 0.7 else rng.choices((0.0, 0.5, 2.0), k=both.n)
        return both.sample(dt, value, quality, age)
    if dice < 0.9:
        return both.tick(dt)
    if dice < 0.98:
        return both.acknowledge(dt, rng.choice(both.open() or ["nobody"]))
    return both.restart(dt)


def walk(seed: int, steps: int, n: int = 40) -> Iterator[str]:
    """The differences of `steps` point-steps: one step on n points counts n."""
    rng = random.Random(seed)
    for _ in range(max(1, steps // (500 * n))):  # new rules every 500 steps
        both = pair(n, rng)
        for _ in range(min(500, steps // n)):
            yield from step(both, rng)
