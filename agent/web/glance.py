"""What is known now, as rows for people. Reads the agent's own values in passing; keeps nothing, decides nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from ..audit import Audit
from ..config import Config
from ..core.alarm import LEVELS, Alarm, Level, State, colour
from ..core.colours import Branch
from ..core.core import Bench, Core, Memory, open_alarms
from ..core.frame import Instant, Quality
from ..core.load import Figures, figures
from ..core.ports import Batch, Clock, Event, Tally
from ..core.rules import AnyRule, High, Low
from ..core.words import Language
from ..outbox import Outbox
from ..trend import Line, Trends

OWN = ("agent", "colour")  # sources that are no instruments
AWAY = ("shelved", "suppressed", "out-of-service")
ORDER = ("active-unacked", "latched-unacked", "active-acked", "latched-acked", "returned-unacked")  # as people look


class Desk(Protocol):
    """What the page may see of the agent, and the one way to act."""

    @property
    def config(self) -> Config:
        """The site."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def core(self) -> Core:
        """The judge."""

    @property
    def memory(self) -> Memory:
        """What the judge knows now."""

    @property
    def outbox(self) -> Outbox:
        """What is owed."""

    @property
    def audit(self) -> Audit:
        """The journal."""

    @property
    def links(self) -> Mapping[str, str]:
        """Uplink -> its last state."""

    @property
    def lost(self) -> Mapping[str, str]:
        """Lines and uplinks that failed last, and why."""

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """Line -> how it fared lately."""

    @property
    def recent(self) -> Sequence[Event]:
        """What happened lately, newest last."""

    @property
    def trends(self) -> Trends:
        """The last hour, day and week."""

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """As the Unix socket answers."""

    def tell(self, event: Event) -> None:
        """Keep an event: in the journal, and for the platforms."""


class Limit(NamedTuple):
    """A limit of a channel."""

    rule: str
    level: Level
    value: float
    high: bool  # it is exceeded from here up
    basis: str


class Reading(NamedTuple):
    """One channel now."""

    channel: str
    source: str
    key: str
    column: int
    unit: str
    value: float  # NaN where nobody knows
    quality: int
    age: float  # s
    low: float  # of the instrument, NaN where not stated
    high: float
    limits: tuple[Limit, ...]
    level: Level | None  # of the worst alarm that stands
    unacked: bool  # of those, one that nobody has seen
    away: str  # a state of AWAY in which one of its points is; empty: none
    derived: bool  # a detector says it

    @property
    def is_analog(self) -> bool:
        """Whether there is a scale to show it on: a contact has none."""
        contact = not self.unit and (self.low, self.high) == (0.0, 1.0)
        return bool(self.limits) or (math.isfinite(self.high - self.low) and not contact)


def now(desk: Desk) -> Instant:
    return desk.clock.now()


def sources(desk: Desk) -> list[str]:
    """Instruments, as they stand in the site file."""
    return [source for source in desk.core.benches if source not in OWN]


@lru_cache(maxsize=512)
def limits_of(bench: Bench) -> dict[int, tuple[Limit, ...]]:
    """The limits of a source's channels, by column: they change with the configuration only."""
    found: dict[int, list[Limit]] = {}
    for i, point in enumerate(bench.points):
        rule = point.rule
        if type(rule) in (High, Low) and math.isfinite(bench.limit[i]):
            limit = Limit(rule.name, rule.level, float(bench.limit[i]), rule.sign > 0, basis(rule))
            found.setdefault(point.column, []).append(limit)
    return {column: tuple(sorted(mine, key=lambda one: one.value)) for column, mine in found.items()}


def readings(desk: Desk, source: str, columns: Iterable[int] | None = None) -> list[Reading]:
    """Channels of a source: all, or these columns of it."""
    bench, watch, at = desk.core.benches[source], desk.memory.watches[source], desk.clock.now().mono
    limits = limits_of(bench)
    stands: dict[int, list[Alarm]] = {}
    for i, alarm in watch.open.items():
        stands.setdefault(bench.points[i].column, []).append(alarm)
    layout, seen = bench.layout, watch.seen
    found = []
    for column in range(len(layout)) if columns is None else columns:
        mine = stands.get(column, ())
        shown = [alarm for alarm in mine if is_shown(alarm)]
        found.append(
            Reading(
                channel=f"{source}/{layout.key[column]}",
                source=source,
                key=layout.key[column],
                column=column,
                unit=layout.unit[column],
                value=float(seen.value[column]),
                quality=int(seen.quality[column]),
                age=max(0.0, at - float(seen.measured[column])),
                low=float(layout.low[column]),
                high=float(layout.high[column]),
                limits=limits.get(column, ()),
                level=worst(alarm for alarm in shown if not alarm.state.startswith("returned")) if shown else None,
                unacked=any("unacked" in alarm.state for alarm in shown),
                away=next((alarm.state for alarm in mine if alarm.state in AWAY[::2]), ""),
                derived=column >= layout.measured,
            )
        )
    return found


def names(desk: Desk, source: str = "", find: str = "", wrong: bool = False) -> list[tuple[str, int]]:
    """Source and column of the channels that are meant. `find`: a part of the name; `wrong`: only what is not well."""
    found: list[tuple[str, int]] = []
    for name in sources(desk):
        if source and name != source:
            continue
        layout, watch = desk.core.benches[name].layout, desk.memory.watches[name]
        columns: Iterable[int] = range(len(layout))
        if wrong:
            points = desk.core.benches[name].points
            bad = {points[i].column for i in watch.open} | set(np.flatnonzero(watch.seen.quality).tolist())
            columns = sorted(column for column in bad if column >= 0)
        if find:
            columns = [c for c in columns if find.casefold() in f"{name}/{layout.key[c]}".casefold()]
        found += [(name, column) for column in columns]
    return found


def front(desk: Desk, source: str) -> list[int]:
    """The columns that everybody should see: what is measured, and what else has an alarm."""
    measured, watch = desk.core.benches[source].layout.measured, desk.memory.watches[source]
    alarmed = {desk.core.benches[source].points[i].column for i in watch.open}
    return [*range(measured), *sorted(column for column in alarmed if column >= measured)]


def those(desk: Desk, wanted: Sequence[tuple[str, int]]) -> list[Reading]:
    """The channels of these sources and columns, in their order."""
    found: list[Reading] = []
    for source, group in groupby(wanted, key=itemgetter(0)):
        found += readings(desk, source, [column for _, column in group])
    return found


def reading(desk: Desk, channel: str) -> Reading | None:
    """One channel by its full name."""
    place = desk.core.columns.get(channel)
    return readings(desk, place[0], [place[1]])[0] if place is not None else None


def basis(rule: AnyRule) -> str:
    """Where its limit comes from."""
    text = f"{rule.basis.standard} {rule.basis.clause}".strip()
    return f"{text} (verify)" if rule.basis.verify else text


def is_shown(alarm: Alarm) -> bool:
    """Whether it asks for somebody; not what a person or a condition put away."""
    return alarm.state not in AWAY


def worst(shown: Iterable[Alarm]) -> Level | None:
    """The highest level among these."""
    levels = {alarm.level for alarm in shown}
    return next((level for level in LEVELS if level in levels), None)


def alarms(desk: Desk) -> list[Alarm]:
    """What asks for somebody: what stands and nobody saw first, what is over last; by level, newest first."""
    shown = [alarm for alarm in open_alarms(desk.memory) if is_shown(alarm)]
    return sorted(shown, key=lambda a: (ORDER.index(a.state), -colour(a.level), -a.at.wall))


def put_away(desk: Desk) -> list[Alarm]:
    """What is shelved, suppressed or out of service."""
    return [alarm for alarm in open_alarms(desk.memory) if not is_shown(alarm)]


def counts(shown: Iterable[Alarm]) -> dict[Level, tuple[int, int]]:
    """By level: how many stand or stood, and how many of them nobody has seen."""
    found = dict.fromkeys(LEVELS, (0, 0))
    for alarm in shown:
        all_, unseen = found[alarm.level]
        found[alarm.level] = all_ + 1, unseen + ("unacked" in alarm.state)
    return found


def alarm(desk: Desk, id: str) -> Alarm | None:
    return next((one for one in open_alarms(desk.memory) if one.id == id), None)


def state_of(desk: Desk, rule: str, channel: str) -> State | None:
    """In which state a point is."""
    place = desk.core.places.get((rule, channel))
    return State(int(desk.memory.watches[place[0]].state[place[1]])) if place else None


def rule_of(desk: Desk, rule: str, channel: str) -> AnyRule | None:
    place = desk.core.places.get((rule, channel))
    return desk.core.benches[place[0]].points[place[1]].rule if place else None


def load(desk: Desk) -> Figures:
    """The figures of alarm management."""
    return figures(desk.memory.load, open_alarms(desk.memory), desk.clock.now())


def branches(desk: Desk, language: Language | None = None) -> list[Branch]:
    """Items by colour, in the language of whoever looks."""
    return desk.core.tree(desk.memory, desk.clock.now(), language)


class Tile(NamedTuple):
    """One source in a word."""

    source: str
    channels: int
    measured: int  # of these, not reckoned by detectors
    level: Level | None
    unacked: bool
    blind: int  # channels that nobody sees


def tiles(desk: Desk) -> list[Tile]:
    """Sources with the worst that stands there."""
    found = []
    for source in sources(desk):
        layout, watch = desk.core.benches[source].layout, desk.memory.watches[source]
        mine = [a for a in watch.open.values() if is_shown(a) and not a.state.startswith("returned")]
        unacked = any("unacked" in a.state for a in mine)
        blind = int((watch.seen.quality >= Quality.STALE).sum())
        found.append(Tile(source, len(layout), layout.measured, worst(mine), unacked, blind))
    return found


_wirings: WeakKeyDictionary[Any, tuple[Config, dict[Language, dict[str, list[str]]]]] = WeakKeyDictionary()


def wirings(desk: Desk, language: Language) -> dict[str, list[str]]:
    """What each line is wired to, in words; it takes long to reckon, and changes with the configuration only."""
    if desk not in _wirings or _wirings[desk][0] is not desk.config:
        _wirings[desk] = desk.config, {}
    found = _wirings[desk][1]
    if language not in found:
        found[language] = {driver.name: driver.wiring(language) for driver in desk.config.drivers}
    return found[language]


class Lane(NamedTuple):
    """What one uplink owes of one lane."""

    name: str
    waiting: int
    oldest: float  # s, age of the oldest; NaN where nothing waits or nobody knows
    dropped: int


class Link(NamedTuple):
    """One uplink."""

    name: str
    kind: str
    state: str  # up, down, or empty before its first word
    lanes: tuple[Lane, ...]


def links(desk: Desk) -> list[Link]:
    """Uplinks with what they owe."""
    found = []
    for uplink in desk.config.uplinks:
        feed = desk.outbox.feed(uplink.name)
        waiting, dropped, oldest = feed.waiting(), feed.lost(), desk.outbox.oldest(uplink.name)
        lanes = tuple(Lane(n, waiting[n], oldest.get(n, math.nan), dropped.get(n, 0)) for n in waiting)
        found.append(Link(uplink.name, uplink.tag, desk.links.get(uplink.name, ""), lanes))
    return found


def health(desk: Desk) -> dict[str, float]:
    """What the agent says of itself, by channel."""
    bench, watch = desk.core.benches.get("agent"), desk.memory.watches.get("agent")
    if bench is None or watch is None:
        return {}
    return dict(zip(bench.layout.key, (float(v) for v in watch.seen.value), strict=True))


async def past(desk: Desk, one: Reading, begin: float, end: float) -> Line:
    """The channel as the local ring has it, in full: for a short look. The history's own thread reads."""
    batches: list[Batch] = await desk.outbox.past(desk.outbox.boot, [one.source], end, end - begin)
    mono: list[float] = []
    value: list[float] = []
    for batch in batches:
        if one.key in batch.key:
            mono += batch.mono.tolist()
            value += batch.value[:, batch.key.index(one.key)].tolist()
    return thinned(mono, value)


def thinned(mono: Sequence[float], value: Sequence[float], most: int = 720) -> Line:
    """At most so many stretches of a row of values, each with its lowest and highest."""
    at, v = np.array(mono, float), np.array(value, np.float32)
    good = np.isfinite(v)
    at, v = at[good], v[good]
    order = np.argsort(at, kind="stable")
    at, v = at[order], v[order]
    if len(at) <= most:
        return Line(at, v, v, 0.0)
    starts = np.linspace(0, len(at), most, endpoint=False).astype(int)
    return Line(at[starts], np.minimum.reduceat(v, starts), np.maximum.reduceat(v, starts), 0.0)


def camera_rings(desk: Desk) -> dict[str, Path]:
    """Where each camera keeps its pictures; nothing of those that keep none."""
    eyes = [driver.witness() for driver in desk.config.drivers]
    return {eye.camera: Path(eye.ring) for eye in eyes if eye is not None}
