"""What the gateway is like now, as one value: `vedette status --json` prints it, `cockpit.py` draws it.

    picture(agent)      of a running agent, made in its loop; the judge has its turn after every few channels
    remains(config)     of one that does not run: what its files say. Nothing is opened that it would have to recover

The shape is a promise (`SCHEMA`): fields are added, never renamed. A number that nobody knows is null. Nothing is
judged here, and nothing kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from msgspec import Struct

from . import __version__, audit, keys
from .config import Config
from .core.alarm import Alarm, Level, colour
from .core.colours import Branch
from .core.core import Bench, Watch
from .core.frame import Instant, Quality
from .core.ports import LANES, Event, Fared, Lane, Tally
from .core.words import Language
from .machine import meminfo
from .outbox import owed_by
from .rows import Span
from .store import Kept, connect, copied, decoded, log_of, notes
from .web import coach, glance

SCHEMA = "vedette.status/1"
AT_ONCE = 50  # channels, about a millisecond
EVENTS = 20  # newest that are shown
SNAPSHOT = 256 << 20  # bytes of alarms.db that are copied to be read
TAIL = 256 << 10  # bytes at the end of the journal, where its newest record is


class Point(Struct, frozen=True, kw_only=True):
    """An alarm that is not over, or that somebody put away."""

    id: str
    level: Level
    state: str  # a row of `alarm.STATE_NAMES`
    channel: str
    rule: str
    text: str  # in the language of the site
    value: float | None
    limit: float | None
    unit: str
    since: float  # s UTC
    synced: bool  # whether the clock could be trusted then
    age: float  # s
    by: str = ""  # who acknowledged it, or put it away
    reason: str = ""
    first: str = ""  # id of the alarm of its group that came first
    fold: str = ""  # id of the alarm under which it is shown


class Item(Struct, frozen=True, kw_only=True):
    """A thing of the site with one colour."""

    name: str
    colour: Level | Literal["none"]
    depth: int  # 0 for those that are in no other
    missing: str = ""  # for a lower colour


class Channel(Struct, frozen=True, kw_only=True):
    """One measured quantity."""

    channel: str
    value: float | None
    unit: str
    quality: str  # a name of `Quality`
    age: float  # s
    level: Level | None  # of the worst alarm that stands
    unacked: bool
    away: str  # shelved, out-of-service; empty: neither
    derived: bool  # a detector reckons it
    limit: float | None  # the nearest


class Device(Struct, frozen=True, kw_only=True):
    """How one device answered within the last minutes. Times in s."""

    device: str
    unit: int
    up: bool  # polled; else only probed
    asked: int
    silent: int
    garbled: int
    refused: int
    mean: float | None
    worst: float | None
    hints: list[str]  # rows of `web/texts.py`: what to check


class Line(Struct, frozen=True, kw_only=True):
    """One bus or camera."""

    name: str
    kind: str
    lost: str  # why; empty while all is well
    devices: list[Device]


class Owing(Struct, frozen=True, kw_only=True):
    """What an uplink owes of one lane."""

    waiting: int
    oldest: float | None  # s
    dropped: int


class Link(Struct, frozen=True, kw_only=True):
    """One uplink."""

    name: str
    kind: str
    state: str  # up, down, or empty before its first word
    lost: str
    lanes: dict[str, Owing]  # by lane


class Head(Struct, frozen=True, kw_only=True):
    """The newest record of the journal."""

    record: int
    checksum: str
    age: float | None = None  # s; null while the agent runs
    fingerprint: str = ""  # of the key that signs; empty: nobody does
    lost: int = 0
    trouble: str = ""


class Machine(Struct, frozen=True, kw_only=True):
    """The computer under it."""

    load: float  # of 1 min, per core
    memory_free: float | None  # share
    disk_free: float | None  # share, of the disk of the store
    disk_bytes: int | None  # free


class Told(Struct, frozen=True, kw_only=True):
    """Something that happened and is no alarm."""

    kind: str
    source: str
    text: str
    wall: float  # s UTC
    age: float  # s


class Status(Struct, frozen=True, kw_only=True):
    """All of it. Lists are worst first."""

    schema: str = SCHEMA
    running: bool
    at: float  # s UTC when this was true
    site: str
    node: str
    language: Language  # of the site
    version: str
    boot: str = ""
    config: str = ""
    up: float | None = None  # s since the start
    seen: float | None = None  # of an agent that does not run: s since it wrote something for the last time
    clock_synced: bool | None = None
    clock_back: float | None = None  # s by which the wall clock was set back within the last hour
    colour: Level | Literal["none"] = "none"  # the worst that stands
    counts: dict[Level, tuple[int, int]] = {}  # alarms, and how many of them nobody acknowledged
    items: list[Item] = []
    alarms: list[Point] = []  # what asks for somebody
    away: list[Point] = []  # shelved, suppressed, out of service
    channels: list[Channel] = []  # as many as were asked for
    channels_total: int = 0  # with what detectors reckon
    channels_measured: int = 0
    channels_unwell: int = 0  # of these, with an alarm or a value that is not good
    lines: list[Line] = []
    uplinks: list[Link] = []
    journal: Head | None = None
    store: dict[str, str] = {}  # trouble by file
    vitals: dict[str, float | None] = {}  # channels of the source `agent`
    machine: Machine
    events: list[Told] = []  # newest first
    waiting: dict[Lane, int] = {}  # of the uplink that is furthest behind
    dropped: dict[Lane, int] = {}
    limits: dict[str, Any] = {}  # that somebody set by a command
    commands: dict[str, str] = {}  # under way
    hazards: list[Any] = []
    faults: list[str] = []  # what could not be learnt, and why


class Running(glance.Desk, Protocol):
    """What is asked of the agent."""

    @property
    def began(self) -> Instant:
        """Its start."""


# -- of a running agent -------------------------------------------------------------------------------


async def picture(desk: Running, told: Mapping[str, Any], channels: int = 0) -> Status:
    """Everything now, with the `channels` worst channels; 0: with all of them. `told`: what `status` answers."""
    at, config = desk.clock.now(), desk.config
    shown = glance.alarms(desk)
    standing = [alarm for alarm in shown if not alarm.state.startswith("returned")]
    rows = []
    ranked, unwell = worst_first(desk)
    total = len(ranked)
    if channels > 0:  # for people: what a detector reckons is of interest where it alarms
        shown_there = {source: set(glance.front(desk, source)) for source in glance.sources(desk)}
        ranked = [(source, column) for source, column in ranked if column in shown_there[source]]
    wanted = ranked[:channels] if channels > 0 else ranked
    for begin in range(0, len(wanted), AT_ONCE):
        for name, column in wanted[begin : begin + AT_ONCE]:
            rows += [_channel(one) for one in glance.readings(desk, name, [column])]
        await asyncio.sleep(0)
    vitals = glance.health(desk)
    head = told["journal"]
    return Status(
        running=True,
        at=at.wall,
        site=config.site.name,
        node=config.site.node,
        language=config.site.language,
        version=__version__,
        boot=told["boot"],
        config=told["config"],
        up=round(at.mono - desk.began.mono, 1),
        clock_synced=at.synced,
        clock_back=_known(vitals.get("clock_back", math.nan)),
        colour=glance.worst(standing) or "none",
        counts=glance.counts(shown),
        items=list(_items(glance.branches(desk), 0)),
        alarms=[_point(alarm, at.wall) for alarm in shown],
        away=[_point(alarm, at.wall) for alarm in glance.put_away(desk)],
        channels=rows,
        channels_total=total,
        channels_measured=sum(desk.core.benches[source].layout.measured for source in glance.sources(desk)),
        channels_unwell=unwell,
        lines=_lines(desk),
        uplinks=[
            Link(
                name=link.name,
                kind=link.kind or "mqtt",
                state=link.state,
                lost=desk.lost.get(link.name, ""),
                lanes={
                    lane.name: Owing(waiting=lane.waiting, oldest=_known(lane.oldest), dropped=lane.dropped)
                    for lane in link.lanes
                },
            )
            for link in glance.links(desk)
        ],
        journal=Head(
            record=head["record"],
            checksum=head["checksum"],
            fingerprint=head.get("fingerprint", ""),
            lost=desk.audit.lost,
            trouble=desk.audit.trouble or "",
        ),
        store={file: str(trouble) for file, trouble in desk.outbox.trouble.items()},
        vitals={key: _known(value) for key, value in vitals.items()},
        machine=machine(Path(config.store.path)),
        events=[_told(event, at.wall) for event in list(desk.recent)[: -EVENTS - 1 : -1]],
        waiting=told["waiting"],
        dropped=told["dropped"],
        limits=told["limits"],
        commands=told["commands"],
        hazards=told["hazards"],
    )


def worst_first(desk: glance.Desk) -> tuple[list[tuple[str, int]], int]:
    """Source and column of every channel: those with alarms, then those that are not good, then by how near their limit
    they are; what a detector reckons last. And how many of them are not well."""
    rows: list[tuple[int, bool, float, int, str, int]] = []
    for n, source in enumerate(glance.sources(desk)):
        bench, watch = desk.core.benches[source], desk.memory.watches[source]
        bad, near = _badness(bench, watch), _nearness(bench, watch)
        measured = bench.layout.measured
        rows += [(-int(bad[c]), c >= measured, float(near[c]), n, source, c) for c in range(len(bench.layout))]
    rows.sort(key=lambda row: row[:4])
    return [(source, column) for *_, source, column in rows], sum(row[0] <= -UNWELL for row in rows)


UNWELL = 50  # an alarm stands, or the value is not good


def _badness(bench: Bench, watch: Watch) -> Any:
    """(n,) 0 where all is well: alarms that stand by their level, what is not good, what somebody put away, what is
    over and nobody saw. What a detector cannot tell yet is well."""
    bad = np.where(watch.seen.quality == Quality.GOOD, 0, UNWELL + watch.seen.quality.astype(int))
    bad[bench.layout.measured :] = 0
    for i, alarm in watch.open.items():
        column = bench.points[i].column
        for one in range(len(bad)) if column < 0 else (column,):
            if not glance.is_shown(alarm):
                worse = 20
            elif alarm.state.startswith("returned"):
                worse = 10 + colour(alarm.level)
            else:
                worse = 2 * UNWELL + 10 * colour(alarm.level) + ("unacked" in alarm.state)
            bad[one] = max(bad[one], worse)
    return bad


def _nearness(bench: Bench, watch: Watch) -> Any:
    """(n,) how far the value is from its nearest limit, as a share of the limit; infinite where it has none."""
    near = np.full(len(bench.layout), np.inf)
    for column, limits in glance.limits_of(bench).items():
        if column >= 0 and math.isfinite(value := float(watch.seen.value[column])):
            near[column] = min(
                ((one.value - value) if one.high else (value - one.value)) / max(abs(one.value), 1e-9) for one in limits
            )
    return near


def _channel(one: glance.Reading) -> Channel:
    limits = [limit.value for limit in one.limits]
    value = one.value
    return Channel(
        channel=one.channel,
        value=_known(value),
        unit=one.unit,
        quality=Quality(one.quality).name,
        age=round(one.age, 2),
        level=one.level,
        unacked=one.unacked,
        away=one.away,
        derived=one.derived,
        limit=min(limits, key=lambda limit: abs(limit - value) if math.isfinite(value) else limit, default=None),
    )


def _lines(desk: glance.Desk) -> list[Line]:
    """Buses and cameras: those in trouble first."""
    found = []
    for driver in desk.config.drivers:
        tally = desk.tallies.get(driver.name)
        devices = [_device(tally, one) for one in tally.devices] if tally is not None else []
        devices.sort(key=lambda one: (one.up, -(one.silent + one.garbled + one.refused)))
        found.append(Line(name=driver.name, kind=driver.tag, lost=desk.lost.get(driver.name, ""), devices=devices))
    return sorted(found, key=lambda line: (not line.lost, all(one.up and not one.hints for one in line.devices)))


def _device(tally: Tally, one: Fared) -> Device:
    return Device(
        device=one.device,
        unit=one.unit,
        up=not one.lost,
        asked=one.asked,
        silent=one.silent,
        garbled=one.garbled,
        refused=one.refused,
        mean=_known(one.mean),
        worst=_known(one.worst),
        hints=[hint.key for hint in coach.hints(tally, one)],
    )


def _items(branches: Iterable[Branch], depth: int) -> Iterable[Item]:
    for branch in branches:
        yield Item(name=branch.name, colour=branch.colour, depth=depth, missing=branch.missing)  # type: ignore[arg-type]
        yield from _items(branch.items, depth + 1)


def _point(alarm: Alarm, now: float) -> Point:
    return Point(
        id=alarm.id,
        level=alarm.level,
        state=alarm.state,
        channel=alarm.channel,
        rule=alarm.rule,
        text=alarm.text,
        value=alarm.value,
        limit=alarm.limit,
        unit=alarm.unit,
        since=alarm.since.wall,
        synced=alarm.since.synced,
        age=max(0.0, now - alarm.since.wall),
        by=alarm.by,
        reason=alarm.reason,
        first=alarm.first,
        fold=alarm.fold,
    )


def _told(event: Event, now: float) -> Told:
    return Told(
        kind=event.kind,
        source=event.source,
        text=event.text,
        wall=event.at.wall,
        age=max(0.0, now - event.at.wall),
    )


# -- of the machine -----------------------------------------------------------------------------------


def machine(disk: Path) -> Machine:
    """This computer now."""
    free = of = None
    with contextlib.suppress(OSError):
        stat = os.statvfs(disk)
        free, of = stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize
    return Machine(
        load=round(os.getloadavg()[0] / (os.cpu_count() or 1), 2),
        memory_free=_memory_free(),
        disk_free=round(free / of, 4) if free is not None and of else None,
        disk_bytes=free,
    )


def _memory_free() -> float | None:
    """Share of the memory that can be had (proc(5))."""
    told = meminfo()
    if "MemAvailable" not in told or not told.get("MemTotal"):
        return None
    return round(told["MemAvailable"] / told["MemTotal"], 4)


# -- of an agent that does not run --------------------------------------------------------------------


def remains(config: Config, now: float | None = None) -> Status:
    """What the files of an agent say that does not run: its last alarms, what it owes, the journal's newest record."""
    now = time.time() if now is None else now
    state, faults = Path(config.store.path), list[str]()
    shown: list[Alarm] = []
    kept: list[tuple[Kept, float]] = []
    try:
        shown, kept = _alarms_file(state / "alarms.db")
    except FileNotFoundError:
        faults.append(f"{state}: no agent ever ran here")
    except (OSError, sqlite3.Error, ValueError) as error:
        faults.append(f"{state / 'alarms.db'}: {error}")
    backlog, why = _backlog(state / "history.db")
    faults += [why] if why else []
    links = []
    for uplink in config.uplinks:
        lanes: dict[str, Owing] = {lane: Owing(waiting=0, oldest=None, dropped=0) for lane in LANES}
        for lane in ("alarm", "event"):
            mine = [wall for row, wall in kept if row.lane == lane and uplink.name in owed_by(row.owed, row.seq)]
            oldest = max(0.0, now - min(mine)) if mine else None
            lanes[lane] = Owing(waiting=len(mine), oldest=oldest, dropped=0)
        lanes["backfill"] = Owing(waiting=backlog.get(uplink.name, 0), oldest=None, dropped=0)
        links.append(Link(name=uplink.name, kind=uplink.tag or "mqtt", state="", lost="", lanes=lanes))
    asking = [alarm for alarm in shown if glance.is_shown(alarm)]
    asking.sort(key=lambda a: (glance.ORDER.index(a.state), -colour(a.level), -a.at.wall))
    standing = [alarm for alarm in asking if not alarm.state.startswith("returned")]
    head, last = _head(state / "journal", now)
    signs = keys.gateway(config.store.key_file, make=False)[0] if head is not None else None
    return Status(
        running=False,
        at=now,
        site=config.site.name,
        node=config.site.node,
        language=config.site.language,
        version=__version__,
        config=config.hash,
        seen=_last_sign(state, now),
        colour=glance.worst(standing) or "none",
        counts=glance.counts(asking),
        alarms=[_point(alarm, now) for alarm in asking],
        away=[_point(alarm, now) for alarm in shown if not glance.is_shown(alarm)],
        channels_total=sum(len(layout) for layout in config.layouts.values()),
        channels_measured=sum(layout.measured for layout in config.layouts.values()),
        lines=[Line(name=driver.name, kind=driver.tag, lost="", devices=[]) for driver in config.drivers],
        uplinks=links,
        journal=msgspec.structs.replace(head, fingerprint=keys.fingerprint(signs)) if head and signs else head,
        machine=machine(state),
        events=[_told(event, now) for event in last],
        waiting={lane: max((link.lanes[lane].waiting for link in links), default=0) for lane in LANES},
        hazards=msgspec.to_builtins(config.hazards),
        faults=faults,
    )


def _last_sign(state: Path, now: float) -> float | None:
    """s since anything was written there."""
    with contextlib.suppress(OSError):
        files = [*state.iterdir(), *(state / "journal").glob("*")]
        times = [file.stat().st_mtime for file in files if file.is_file()]
        return max(0.0, now - max(times)) if times else None
    return None


def _alarms_file(path: Path) -> tuple[list[Alarm], list[tuple[Kept, float]]]:
    """Alarms that are open, and what is owed with the time of each. Raises `OSError`, `sqlite3.Error`, `ValueError`."""
    size = sum(part.stat().st_size for part in (path, log_of(path)) if part.exists() or part == path)
    if size > SNAPSHOT:
        raise ValueError(f"{size >> 20} MB, more than is copied to be looked at")
    with copied(path) as copy:
        db = connect(copy)
        try:
            open = [decoded("alarm", body) for (body,) in db.execute("SELECT body FROM open ORDER BY n")]
            rows = [Kept(*row) for row in db.execute("SELECT row, lane, boot, seq, owed, body FROM item ORDER BY row")]
        finally:
            db.close()
    known = [(row, body.at.wall) for row in rows if (body := decoded(row.lane, row.body)) is not None]
    return [alarm for alarm in open if isinstance(alarm, Alarm)], known


def _backlog(path: Path) -> tuple[dict[str, int], str]:
    """Batches that each uplink owes, as the file says without its log, and what is wrong. It is too large to copy."""
    if not path.exists():
        return {}, ""
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            found = notes(db)
        finally:
            db.close()
        owed = {
            name[7:]: msgspec.json.decode(body, type=list[Span])
            for name, body in found.items()
            if name[:7] == "uplink/"
        }
    except (sqlite3.Error, msgspec.MsgspecError, ValueError) as error:
        return {}, f"{path}: {error}"
    return {name: sum(hi - lo + 1 for lo, hi, *_ in spans) for name, spans in owed.items()}, ""


def _head(folder: Path, now: float) -> tuple[Head | None, list[Event]]:
    """The newest record of the journal, and the last events in it, newest first."""
    found: list[audit.Record] = []
    age = 0.0
    try:
        for newest in reversed(audit.segments(folder)):
            age = max(0.0, now - newest.stat().st_mtime)
            lines = audit.text(newest)[-TAIL:].split(b"\n")
            if found := [record for line in lines if (record := audit.parse(line)) is not None]:
                break
    except OSError:
        return None, []
    if not found:
        return None, []
    events = list[Event]()
    for record in reversed(found):
        if len(events) < EVENTS and (event := audit.event(record)) is not None:
            events.append(event)
    return Head(record=found[-1].n, checksum=found[-1].chain, age=age), events


def _known(value: float) -> float | None:
    """
    >>> _known(float("nan")), _known(1.5)
    (None, 1.5)
    """
    return value if math.isfinite(value) else None
