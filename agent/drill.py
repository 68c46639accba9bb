"""A drill: the chain from one sensor to its outputs and platforms, proven link by link, and nothing is tripped.

    sensor       the last reading is young and good
    judgement    the same core, given a value beyond the limit, raises and orders; in a copy of its memory
    output       what stands there is what is wanted; it is written once more and read back
    delivery     an alarm that says that it is a drill goes the way of every alarm, until each platform has it
    heartbeat    the relay's sign of life goes on

The drill's alarm is never open, drives nothing and is counted nowhere. What is not armed, or not there, is not proven.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct, structs

from .core import words
from .core.alarm import EVENT_NAMES, STATE_NAMES, Alarm, Order, State, holds
from .core.alarm import Event as Edge
from .core.core import Action, Bench, Core, Memory
from .core.frame import Instant, Quality
from .core.ports import Clock, Event, Touch
from .core.rules import (
    OPPOSITE,
    Bad,
    Condition,
    Deviation,
    Doubt,
    Expect,
    Feedback,
    Frozen,
    Limited,
    Manual,
    Point,
    Rate,
    Silence,
    Slope,
    Vote,
    condition,
)
from .core.words import Language, number
from .orders import OrderBox
from .outbox import Outbox
from .terminal import columns

PATIENCE = 10.0  # s for an output to be proven, and for each platform
MARGIN = 0.01  # of limits and delays: how far beyond them a test goes
MOST = 200  # readings made up while a slope lasts: the program waits for them; project
BEATS = 2  # of a heartbeat are waited for: it was switched over and back
LOOK = 0.02  # s between looks at what is still owed

Result = Literal["ok", "failed", "not proven"]


class Link(Struct, frozen=True, omit_defaults=True):
    """One link of the chain."""

    name: str
    of: str  # channel, rule, output, platform
    result: Result
    seconds: float  # it took, of a sensor its age
    text: str = ""


# -- the sensor and the judgement: pure -----------------------------------------------------------------


def named(core: Core, name: str) -> list[tuple[str, int]]:
    """The points that a person means: RULE@CHANNEL, or everything that drives something under a rule's or group's name.

    As (source, place on its bench).
    """
    rule, _, channel = name.partition("@")
    if channel:
        place = core.places.get((rule, channel))
        return [place] if place is not None else []
    found = [(core.benches[source].points[i].rule, (source, i)) for source, i in core.places.values()]
    return [place for one, place in found if one.drive and name in (one.name, one.group)]


def sensor(core: Core, memory: Memory, source: str, i: int, at: Instant) -> Link:
    """Whether what the point looks at was read just now and is good."""
    point = core.benches[source].points[i]
    places = point.siblings if isinstance(point.rule, Vote) else ((source, point.column),)
    worst, age, stale = Quality.GOOD, 0.0, False
    for where, column in places:
        seen, layout = memory.watches[where].seen, core.benches[where].layout
        one = at.mono - float(seen.measured.max() if column < 0 else seen.measured[column])
        worst = max(worst, Quality(int(seen.quality.min() if column < 0 else seen.quality[column])))
        age, stale = max(age, one), stale or one > float(layout.stale.max() if column < 0 else layout.stale[column])
    good = worst == Quality.GOOD and not stale
    text = "" if good else "stale" if stale and worst == Quality.GOOD else words.QUALITY[core.language][worst]
    return Link("sensor", point.channel, "ok" if good else "failed", round(age, 3), text)


Step = tuple[float, float, Quality]  # s from now, value, quality


def stimuli(bench: Bench, i: int, memory: Memory) -> list[Step]:
    """What the point would have to see to be raised. Raises `ValueError` in words where nothing can be made up."""
    point = bench.points[i]
    rule, seen = point.rule, memory.watches[bench.source].seen
    limit, now = float(bench.limit[i]), float(seen.value[point.column]) if point.column >= 0 else 0.0
    now = now if np.isfinite(now) else 0.0
    delay, beyond = rule.delay * (1 + MARGIN), limit * (1 + MARGIN)  # sums of instants are rounded
    ends = sorted({0.0, delay})
    if isinstance(rule, Rate):
        slope = beyond / rule.per * (-1.0 if rule.direction == "down" else 1.0)
        return [(t, now + slope * t, Quality.GOOD) for t in _ramp(rule, delay)]
    if isinstance(rule, Deviation):
        others = [memory.watches[s].seen.value[k] for s, k in point.siblings]
        highest = float(np.nanmax(others)) if np.isfinite(others).any() else now
        return [(t, highest + beyond, Quality.GOOD) for t in ends]
    if isinstance(rule, Frozen):
        return [(t, now, Quality.GOOD) for t in (0.0, beyond, beyond + delay)]
    if isinstance(rule, Silence):
        return [(beyond + t, np.nan, Quality.OFFLINE) for t in ends]
    if isinstance(rule, Bad):
        return [(t, np.nan, Quality.CALIBRATING if rule.calibrating else Quality.FAULT) for t in ends]
    if isinstance(rule, Feedback):
        high = bool(memory.held.get(rule.output)) == (rule.on == "high")
        return [(t, rule.threshold - 1.0 if high else rule.threshold, Quality.GOOD) for t in ends]
    if isinstance(rule, Vote):
        sign = 1.0 if rule.compare == ">=" else -1.0
        return [(t, rule.limit + sign * MARGIN * max(abs(rule.limit), MARGIN), Quality.GOOD) for t in ends]
    if isinstance(rule, Expect):
        return [(t, meeting(rule.wanted._replace(compare=OPPOSITE[rule.wanted.compare])), Quality.GOOD) for t in ends]
    if isinstance(rule, Doubt):
        return [(t, 1.0, Quality.GOOD) for t in ends]
    if isinstance(rule, Limited):
        return [(t, limit + rule.sign * MARGIN * max(abs(limit), MARGIN), Quality.GOOD) for t in ends]
    raise ValueError(f"{rule.name} is no rule that a made-up reading can raise")


def _ramp(rule: Rate, delay: float) -> list[float]:
    """When a slope is to be seen until its window is full of it, and then for so long, s from now."""
    gap = rule.window / (Slope.DEPTH - 2)
    full, more = 2 * Slope.DEPTH, math.ceil(delay / (rule.window / 4))
    if more > MOST:
        raise ValueError(f"{rule.name} waits for {rule.delay:g} s, too long beside its window to be rehearsed")
    return [gap * k for k in range(full)] + [gap * full + rule.window / 4 * k for k in range(more)]


def meeting(wanted: Condition) -> float:
    """A value that meets a condition.

    >>> meeting(condition("fan/running >= 1")), meeting(condition("fan/running < 1"))
    (1.0, 0.99)
    """
    beside = {">": 1.0, "<": -1.0, "!=": 1.0}.get(wanted.compare, 0.0)
    return wanted.value + beside * MARGIN * max(abs(wanted.value), 1.0)


def shown(memory: Memory, places: Iterable[tuple[str, int]], step: Step, at: Instant) -> Memory:
    """A memory in which these channels were seen so. What is offline was not seen: it is as old as before."""
    _, value, quality = step
    for source, column in places:
        watch = memory.watches[source]
        whole = slice(None) if column < 0 else column
        values, qualities, measured, fresh = (
            column_.copy() for column_ in (watch.seen.value, watch.seen.quality, watch.seen.measured, watch.seen.fresh)
        )
        values[whole], qualities[whole] = value, quality
        if quality != Quality.OFFLINE:
            measured[whole], fresh[whole] = at.mono, True
        seen = structs.replace(watch.seen, value=values, quality=qualities, measured=measured, fresh=fresh)
        watches = {**memory.watches, source: structs.replace(watch, seen=seen)}
        memory = structs.replace(memory, watches=watches)
    return memory


def rehearsal(core: Core, memory: Memory, source: str, i: int, at: Instant) -> tuple[Alarm | None, list[Order], Memory]:
    """What the core would say and order if the point were beyond its limit from now on, and its memory then."""
    bench = core.benches[source]
    point = bench.points[i]
    if isinstance(point.rule, Manual):
        memory, verdict = core.step(memory, Action("demand", point.rule.name, point.channel, "drill", at, "drill"))
        return next(iter(verdict.alarms), None), list(verdict.orders), memory
    places = point.siblings if isinstance(point.rule, Vote | Doubt) else ((source, point.column),)
    for text in (*point.rule.when, *point.rule.start_when):
        wanted = condition(text)
        memory = shown(memory, [core.columns[wanted.channel]], (0.0, meeting(wanted), Quality.GOOD), at)
    raised: Alarm | None = None
    orders: list[Order] = []
    for step in stimuli(bench, i, memory):
        now = Instant(at.mono + step[0], at.wall + step[0], at.synced)
        memory, verdict = core.supposed(shown(memory, places, step, now), source, now)
        raised = next((a for a in verdict.alarms if a.point == (point.rule.name, point.channel)), raised)
        orders += verdict.orders
    return raised, orders, memory


def judgement(core: Core, memory: Memory, source: str, i: int, at: Instant) -> tuple[Link, Alarm | None]:
    """Whether the point would raise and hold its outputs on."""
    point = core.benches[source].points[i]
    of = f"{point.rule.name}@{point.channel}"
    state = State(int(memory.watches[source].state[i]))
    if state not in (State.NORMAL, State.RETURNED):
        return Link("judgement", of, "not proven", 0.0, STATE_NAMES[state]), None
    try:
        raised, orders, after = rehearsal(core, memory, source, i, at)
    except ValueError as why:
        return Link("judgement", of, "not proven", 0.0, str(why)), None
    if raised is None or raised.event != EVENT_NAMES[Edge.RAISE]:
        return Link("judgement", of, "failed", 0.0, "not raised"), None
    idle = [output for output in point.rule.drive if raised.id not in after.held.get(output, ())]
    ordered = [order.output for order in orders if order.on]
    if idle:
        return Link("judgement", of, "failed", 0.0, f"not held: {', '.join(idle)}"), raised
    value = "" if raised.value is None else f"{number(raised.value)} {raised.unit}".strip()
    return Link("judgement", of, "ok", point.rule.delay, " ".join([value, "->", *ordered]).strip()), raised


def alarm(core: Core, point: Point, raised: Alarm | None, id: str, by: str, at: Instant) -> Alarm:
    """The alarm that is sent: complete, marked, and normal as soon as it is told."""
    text = raised.text if raised is not None else f"{point.rule.name}@{point.channel}"
    return Alarm(
        id=id,
        edge=1,
        event=EVENT_NAMES[Edge.RAISE],
        state=STATE_NAMES[State.NORMAL],
        rule=point.rule.name,
        channel=point.channel,
        level=point.rule.level,
        value=raised.value if raised is not None else None,
        limit=raised.limit if raised is not None else None,
        unit=raised.unit if raised is not None else "",
        since=at,
        at=at,
        text=words.sentence(words.DRILL, core.language, "alarm", by=by, text=text),
        basis=point.rule.basis,
        by=by,
        advice=words.sentence(words.DRILL, core.language, "advice"),
        group=point.rule.group,
        drill=True,
    )


# -- outputs, platforms, heartbeat: the world -----------------------------------------------------------


async def output(box: OrderBox | None, name: str, reason: str, clock: Clock) -> Link:
    """Whether what stands at the output can be written and read back."""
    wanted = box.wanted(name) if box is not None else None
    if box is None or wanted is None:
        return Link("output", name, "not proven", 0.0, "not armed, or nobody knows yet what it should be")
    at = clock.now()
    touch = Touch(name, wanted, reason, at)
    answer: Event | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await box.touch(touch)
    except TimeoutError:
        pass
    finally:
        box.forget(touch)
    took = round(clock.now().mono - at.mono, 3)
    if answer is None:
        return Link("output", name, "failed", took, "its line does not answer")
    results: dict[str, Result] = {"order-done": "ok", "order-failed": "failed", "order-refused": "not proven"}
    return Link("output", name, results[answer.kind], took, answer.text)


async def delivery(outbox: Outbox, told: Alarm, clock: Clock) -> list[Link]:
    """Send the drill's alarm; one link for each platform."""
    at = clock.now()
    refused = {name: feed.dropped["alarm"] for name, feed in outbox.feeds.items()}
    outbox.put_alarms((told,))
    owed = next((e.owed for e in reversed(outbox.entries.values()) if e.item.body is told), set(outbox.feeds))
    links: dict[str, Link] = {}
    while len(links) < len(outbox.feeds):
        took = round(clock.now().mono - at.mono, 3)
        for name in outbox.feeds.keys() - links.keys():
            if name not in owed:
                good = outbox.feeds[name].dropped["alarm"] == refused[name]
                links[name] = Link("delivery", name, "ok" if good else "failed", took, "" if good else "refused")
            elif took >= PATIENCE:
                links[name] = Link("delivery", name, "failed", took, "not acknowledged; it goes on being tried")
        await clock.sleep(LOOK)
    nobody = Link("delivery", "", "not proven", 0.0, "no platform is configured")
    return [links[name] for name in outbox.feeds] or [nobody]


async def heartbeat(box: OrderBox, name: str, clock: Clock) -> Link:
    """Whether the heartbeat is switched over, and back."""
    heart = box.hearts.get(name)
    if heart is None:
        return Link("heartbeat", name, "not proven", 0.0, "not armed")
    at, enough = clock.now(), heart.count + BEATS
    while heart.count < enough:
        took = round(clock.now().mono - at.mono, 3)
        if took > (BEATS + 1) * heart.period + 1.0:
            return Link("heartbeat", name, "failed", took, heart.why)
        await clock.sleep(LOOK)
    return Link("heartbeat", name, "ok", round(clock.now().mono - at.mono, 3))


class Drill(Struct, frozen=True):
    """What was asked and what came of it."""

    name: str  # as asked
    by: str
    links: tuple[Link, ...]

    @property
    def proven(self) -> bool:
        return all(link.result == "ok" for link in self.links)

    def event(self, at: Instant, language: Language) -> Event:
        """The whole of it, for journal and platforms."""
        kind = "proven" if self.proven else "unproven"
        weak = ", ".join(f"{link.name} {link.of}".strip() for link in self.links if link.result != "ok")
        text = words.sentence(words.DRILL, language, kind, name=self.name, by=self.by, weak=weak)
        return Event("drill", self.name, at, text, {"proven": self.proven, **msgspec.to_builtins(self)})


class Site(Struct, frozen=True):
    """What a drill needs of the agent."""

    core: Core
    memory: Callable[[], Memory]
    outbox: Outbox
    owner: Mapping[str, OrderBox]  # of outputs
    hearts: Mapping[str, OrderBox]  # of heartbeats, armed or not
    clock: Clock
    put: Callable[[Alarm], None]  # into the journal


def refusal(site: Site, name: str, by: str) -> str:
    """Why this is not drilled, in words; empty where it may be."""
    places = named(site.core, name)
    if not by.strip():
        return "who drills? give --by NAME"
    if not places:
        return f"no rule watches {name}: give RULE@CHANNEL, or the name of a rule or group that drives something"
    memory = site.memory()
    for source, i in places:
        if holds(int(memory.watches[source].state[i])):
            point = site.core.benches[source].points[i]
            return f"{point.rule.name}@{point.channel} stands now: the chain is being proven for real"
    return ""


async def drill(site: Site, name: str, by: str, id: str) -> Drill:
    """Every link of the chain. `refusal` was asked before, in the same moment."""
    core, memory, at = site.core, site.memory(), site.clock.now()
    places = named(core, name)
    links = [sensor(core, memory, source, i, at) for source, i in places]
    judged = [judgement(core, memory, source, i, at) for source, i in places]
    links += [link for link, _ in judged]
    points = [core.benches[source].points[i] for source, i in places]
    told = alarm(core, points[0], judged[0][1], id, by, at)
    site.put(told)
    outputs = list(dict.fromkeys(output for point in points for output in point.rule.drive))
    boxes = [site.owner.get(name) for name in outputs]
    hearts = [(heart, box) for heart, box in site.hearts.items() if any(box is one for one in boxes)]
    ways: Sequence[Awaitable[Link]] = [
        *(output(box, one, f"{id}-{one}", site.clock) for one, box in zip(outputs, boxes, strict=True)),
        *(heartbeat(box, heart, site.clock) for heart, box in hearts),
    ]
    delivered, *proven = await asyncio.gather(delivery(site.outbox, told, site.clock), *ways)
    assert isinstance(delivered, list)
    links += [*(link for link in proven if isinstance(link, Link)), *delivered]
    return Drill(name, by, tuple(links))


def lines(found: Mapping[str, Any], said: Callable[[str], str] = str) -> list[str]:
    """The links for people, a line each; `found` is a `Drill` as it came over the control socket, `said` has the words
    of their language."""
    rows = [
        (said(link["name"]), link["of"], said(link["result"]), f"{link['seconds']:.3f} s", said(link.get("text", "")))
        for link in found["links"]
    ]
    wide = [max(columns(row[k]) for row in rows) for k in range(4)]
    return [
        "  ".join(
            [
                *(cell + " " * (w - columns(cell)) for cell, w in zip(row[:3], wide[:3], strict=True)),
                row[3].rjust(wide[3]),
                row[4],
            ]
        )
        for row in rows
    ]
