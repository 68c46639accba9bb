"""What alarms ask of people: how many come, which come too often, and which are shown under another.

Nothing is dropped: each alarm is told and journaled with its id. One that would be one too many bears in `fold` the
id of the alarm under which it is shown, so that a screen has one line with a count:

    chatter  a point that is raised for the third time within 60 s: under its first of that time
    flood    from more than 10 raises in 10 min until fewer than 5: of each zone the first stands for itself, and
             every one of a worse colour than any before it; the others stand under the first. Red never folds here.

A zone is the rule's group, or else the channel's source.
Source: ISA-18.2-2016 and IEC 62682, performance figures (verify); EEMUA 191; what folds: project.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, structs

from .alarm import STATE_NAMES, Alarm, Point, colour, is_active
from .frame import Instant

CHATTER, CHATTER_SPAN = 3, 60.0  # raises of one point within so many s
FLOOD, FLOOD_OVER = 10, 5  # raises: begins above, ends below
SPAN = 600.0  # s in which they are counted
BIN, BINS = 10.0, 60  # s, of SPAN
HOUR, HOURS = 3600.0, 24  # of the day whose most frequent points are known
POINTS = 1000  # of an hour that are counted one by one, at most
STALE = 24 * 3600.0  # s that an alarm may stand until it is stale
TOP = 10


class Lately(NamedTuple):
    """The last two raises of a point, monotonic s, and the alarm under which more of them are shown."""

    before: float
    last: float
    head: str
    chatters: bool


class Shown(NamedTuple):
    """What a zone shows in a flood: its first alarm, and the worst colour of those that stand for themselves."""

    head: str
    worst: int


class Load(Struct, frozen=True):
    """Memory. The old one stays as it was."""

    bins: tuple[tuple[int, int], ...] = ()  # (number of the bin, raises), newest last
    zones: Mapping[str, Shown] | None = None  # None: no flood
    lately: Mapping[Point, Lately] = {}
    hours: tuple[tuple[int, Mapping[Point, int]], ...] = ()  # (number of the hour, raises by point), newest last


def counted(load: Load, raises: Sequence[Alarm], now: float) -> tuple[Load, list[str]]:
    """The load with these raises, at monotonic `now`; and for each of them the id under which it is shown, or ""."""
    load = passed(load, now)
    bins, hours = dict(load.bins), dict(load.hours)
    lately = dict(load.lately)
    zones = None if load.zones is None else dict(load.zones)
    number, hour = int(now // BIN), int(now // HOUR)
    by_point = dict(hours.get(hour, {}))
    folds = []
    for alarm in raises:
        bins[number] = bins.get(number, 0) + 1
        if alarm.point in by_point or len(by_point) < POINTS:
            by_point[alarm.point] = by_point.get(alarm.point, 0) + 1
        if zones is None and sum(bins.values()) > FLOOD:
            zones = {}
        fold = _flooded(zones, alarm) if zones is not None else ""
        past = lately.get(alarm.point) or Lately(now - CHATTER_SPAN, now - CHATTER_SPAN, alarm.id, False)
        if chatters := now - past.before < CHATTER_SPAN:
            fold = past.head
        lately[alarm.point] = Lately(past.last, now, past.head, chatters)
        folds.append(fold)
    hours[hour] = by_point
    return Load(tuple(bins.items()), zones, lately, tuple(hours.items())), folds


def _flooded(zones: dict[str, Shown], alarm: Alarm) -> str:
    """The head of the alarm's zone, or "" where it stands for itself. Notes what the zone shows now."""
    zone, bad = alarm.group or alarm.channel.partition("/")[0], colour(alarm.level)
    shown = zones.get(zone)
    if shown is None:
        zones[zone] = Shown(alarm.id, bad)
        return ""
    if bad > shown.worst or alarm.level == "red":
        zones[zone] = Shown(shown.head, bad)
        return ""
    return shown.head


def passed(load: Load, now: float) -> Load:
    """What still counts at monotonic `now`; the flood ends here."""
    bins = tuple(row for row in load.bins if row[0] > now // BIN - BINS)
    hours = tuple(row for row in load.hours if row[0] > now // HOUR - HOURS)
    lately = load.lately
    if any(now - past.last >= CHATTER_SPAN for past in lately.values()):
        lately = {point: past for point, past in lately.items() if now - past.last < CHATTER_SPAN}
    zones = None if sum(n for _, n in bins) < FLOOD_OVER else load.zones
    if (bins, hours, lately, zones) == (load.bins, load.hours, load.lately, load.zones):
        return load
    return Load(bins, zones, lately, hours)


class Figures(NamedTuple):
    """The load in numbers."""

    in_10_min: int  # raises
    standing: int  # alarms that are active
    stale: int  # of these: longer than a day
    chattering: int  # points
    flood: bool
    top: list[tuple[Point, int]]  # the most frequent points of the last day, worst first
    top_share: float  # % of all raises of the last day that are theirs


def figures(load: Load, known: Iterable[Alarm], at: Instant) -> Figures:
    """The load at this moment; `known` are the alarms that are not normal."""
    load = passed(load, at.mono)
    active = [alarm for alarm in known if is_active(STATE_NAMES.index(alarm.state))]
    day: Counter[Point] = Counter()
    for _, row in load.hours:
        day.update(row)
    top, total = day.most_common(TOP), day.total()
    return Figures(
        in_10_min=sum(n for _, n in load.bins),
        standing=len(active),
        stale=sum(_elapsed(alarm.since, at) >= STALE for alarm in active),
        chattering=sum(past.chatters for past in load.lately.values()),
        flood=load.zones is not None,
        top=top,
        top_share=100.0 * sum(n for _, n in top) / total if total else 0.0,
    )


def _elapsed(since: Instant, at: Instant) -> float:
    """Seconds between two moments, perhaps of two boots."""
    return at.wall - since.wall if at.synced and since.synced else at.mono - since.mono


def moved(load: Load, seconds: float) -> Load:
    """The same load on a clock that stands `seconds` later; bins and hours to the nearest."""
    lately = {p: x._replace(before=x.before + seconds, last=x.last + seconds) for p, x in load.lately.items()}
    bins = tuple((n + round(seconds / BIN), k) for n, k in load.bins)
    hours = tuple((n + round(seconds / HOUR), row) for n, row in load.hours)
    return structs.replace(load, bins=bins, lately=lately, hours=hours)
