"""What the channels of an alarm said before and after it, for the journal: so that a stranger can judge it again.

    frames -> ring in memory            raise, clear -> trace "before" at once; trace "after" when that time is over

A day of telemetry has its place in the history; chained and signed is only what an alarm stands on: the channels of its
point and of its rule's conditions, as the judge was given them. So the journal grows with alarms, not with channels.
What was written for a point is not written again for its next alarm, and all traces together may not take more than
`HOURLY` bytes in an hour: what is left out then is counted, and the next one says so. A kill costs the "after" that was
not over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .audit import Said, Trace
from .core.alarm import EVENT_NAMES, Alarm, Point
from .core.alarm import Event as Edge
from .core.core import Core
from .core.frame import Array, Frame
from .core.rules import Frozen, Rate, Silence, condition

BEFORE, AFTER = 30.0, 30.0  # s, beside what the rule itself looks back; project
LONGEST = 600.0  # s before an alarm that are kept, whatever its rule looks back
CELLS = 400_000  # values kept in memory, of all sources: 10 MB; then the times get shorter
FRAME = 50  # values that a frame costs besides its own
ROWS = 600  # of one source in one trace
WORK = 20_000  # values that are written at once: a few ms
BARE, CELL = 500, 16  # bytes of a trace, and of a value in it, about; measured
HOURLY = 1 << 20  # bytes an hour of all traces; a flood must not push older decisions out of the journal
STEP = 1e-3  # s that the wall clock may drift against the monotonic one until it is told anew


class Due(NamedTuple):
    """An alarm whose time after is not over."""

    alarm: Alarm
    end: float  # monotonic s


class Held(NamedTuple):
    """A trace that is to be written."""

    alarm: Alarm
    part: str
    rows: dict[str, tuple[list[int], list[Frame]]]  # by source
    judged: dict[str, Any]
    cut: int


class Traces:
    """The frames of the last minutes, and what is written of them. Times are monotonic s."""

    def __init__(self, core: Core, boot: str, config: str, put: Callable[[Trace], None]) -> None:
        self.core, self.boot, self.config, self.put = core, boot, config, put
        self.left_out = 0  # traces that were too many, since the start
        self._rings: dict[str, deque[Frame]] = {}
        self._spans = _spans(core)
        self._cells = 0
        self._written: dict[Point, float] = {}  # up to when the rows of a point are in the journal
        self._edges: dict[Point, float] = {}  # when a point's alarm last moved
        self._due: deque[Due] = deque()
        self._held: deque[Held] = deque()
        self._room, self._filled = float(HOURLY), 0.0  # bytes, and when that was so

    def frame(self, frame: Frame) -> None:
        """Remember it for a while."""
        ring = self._rings.setdefault(frame.source, deque())
        ring.append(frame)
        self._cells += FRAME + len(frame.value)
        while ring[0].at.mono < frame.at.mono - self._spans.get(frame.source, BEFORE) - AFTER:
            self._cells -= FRAME + len(ring.popleft().value)
        while self._cells > CELLS and len(ring) > 1:
            self._cells -= FRAME + len(ring.popleft().value)

    def alarm(self, alarm: Alarm) -> None:
        """An edge: what led to it is held, and what follows a raise will be."""
        raised, cleared = (alarm.event == EVENT_NAMES[event] for event in (Edge.RAISE, Edge.CLEAR))
        if alarm.drill or alarm.point not in self.core.places:
            return
        rule = self._rule(alarm.point)
        if raised or cleared:
            back = BEFORE + (_looks_back(rule) if raised else rule.clear_delay)
            self._hold(alarm, "before", alarm.at.mono - min(LONGEST, back), alarm.at.mono)
        self._edges[alarm.point] = alarm.at.mono
        if raised:
            self._due.append(Due(alarm, alarm.at.mono + AFTER))

    def look(self, now: float) -> bool:
        """Once a second: write what is held, so much at a time that nobody waits for it. Whether anything was."""
        while self._due and self._due[0].end <= now:
            alarm, end = self._due.popleft()
            self._hold(alarm, "after", alarm.at.mono, end)
        done = 0
        while self._held and done < WORK:
            held = self._held.popleft()
            done += sum(len(columns) * len(frames) for columns, frames in held.rows.values())
            self.put(self._trace(held))
        return done > 0

    def turn(self, core: Core, config: str) -> None:
        """Another judge from now on. What is due of points or channels that it does not know is written as it is."""
        kept, rings = deque[Due](), {}
        moved = {s for s in self._rings if s not in core.benches or not _same(self.core, core, s)}
        for due in self._due:
            if due.alarm.point in core.places and not moved & _columns(self.core, due.alarm.point).keys():
                kept.append(due)
            else:
                self._hold(due.alarm, "after", due.alarm.at.mono, due.end)
        while self._held:
            self.put(self._trace(self._held.popleft()))
        for source, ring in self._rings.items():
            if source in moved:
                self._cells -= sum(FRAME + len(frame.value) for frame in ring)
            else:
                rings[source] = ring
        self.core, self.config, self._due, self._rings, self._spans = core, config, kept, rings, _spans(core)

    def close(self) -> None:
        """Write what is held, and what there is of what is not over."""
        while self.look(float("inf")):
            pass

    def _rule(self, point: Point) -> Any:
        source, i = self.core.places[point]
        return self.core.benches[source].points[i].rule

    def _hold(self, alarm: Alarm, part: str, begin: float, end: float) -> None:
        """Hold the frames of some time, if there is room for them."""
        begin = max(begin, self._written.get(alarm.point, float("-inf")))
        rows, cut, cells = {}, 0, 0
        for source, columns in _columns(self.core, alarm.point).items():
            frames = [frame for frame in self._rings.get(source, ()) if begin < frame.at.mono <= end]
            kept = frames[-ROWS:] if part == "before" else frames[:ROWS]
            cut += len(frames) - len(kept)
            cells += len(kept) * (1 + len(columns))
            rows[source] = columns, kept
        self._room = min(HOURLY, self._room + (alarm.at.mono - self._filled) * HOURLY / 3600)
        self._filled = alarm.at.mono
        if (size := BARE + CELL * cells) > self._room:
            self.left_out += 1
            return
        self._room -= size
        self._written[alarm.point] = end
        self._held.append(Held(alarm, part, rows, self._judged(alarm.point) if part == "before" else {}, cut))

    def _trace(self, held: Held) -> Trace:
        alarm, part, rows, judged, cut = held
        said = tuple(_said(source, columns, frames) for source, (columns, frames) in rows.items() if frames)
        point = alarm.rule, alarm.channel
        return Trace(alarm.id, alarm.edge, *point, part, self.boot, self.config, said, judged, cut, self.left_out)

    def _judged(self, point: Point) -> dict[str, Any]:
        """The rule of a point in plain numbers, as it is in force."""
        source, i = self.core.places[point]
        bench = self.core.benches[source]
        rule = bench.points[i].rule
        told: dict[str, Any] = {
            "kind": str(rule.__struct_config__.tag),
            "sign": rule.sign,
            "limit": float(bench.limit[i]),
            "restore": float(bench.restore[i]),
            "delay": rule.delay,
            "clear_delay": rule.clear_delay,
            "fail_safe": rule.fail_safe,
            "when": rule.when,
            "start_when": rule.start_when,
            "clear_when": rule.clear_when,
        }
        if point in self._edges:
            told["moved"] = self._edges[point]  # monotonic s of the edge before: until then it could not be raised
        return told


def _spans(core: Core) -> dict[str, float]:
    """s that the frames of each source are kept before what they led to."""
    spans = dict.fromkeys(core.benches, BEFORE)
    for point in [point for bench in core.benches.values() for point in bench.points]:
        if back := min(LONGEST, _looks_back(point.rule)):
            for source in _columns(core, (point.rule.name, point.channel)):
                spans[source] = max(spans.get(source, BEFORE), BEFORE + back)
    return spans


def _same(one: Core, other: Core, source: str) -> bool:
    """Whether a source has the same channels in both."""
    layouts = [core.benches[source].layout for core in (one, other)]
    return layouts[0].key == layouts[1].key and layouts[0].unit == layouts[1].unit


def _looks_back(rule: Any) -> float:
    """Seconds before an alarm that decide on it."""
    window = rule.window if isinstance(rule, Rate) else 0.0
    limit = rule.bounds[0] if isinstance(rule, Frozen | Silence) else 0.0
    return float(rule.delay + window + (limit if limit == limit else 0.0))


def _columns(core: Core, name: Point) -> dict[str, list[int]]:
    """By source: the columns that decide on a point. Of what a detector gives also what it was made of."""
    source, i = core.places[name]
    point = core.benches[source].points[i]
    rule = point.rule
    found = [(source, point.column)] if point.column >= 0 else []
    found += point.siblings
    for text in (*rule.when, *rule.start_when, *rule.clear_when):
        found.append(core.columns[condition(text).channel])
    if (given := core.benches[source].derived.get(point.column)) is not None:
        found += [(source, int(column)) for column in core.benches[source].gained[given[0]].own]
    columns: dict[str, list[int]] = {source: []}
    for where, column in found:
        if column not in columns.setdefault(where, []) and len(columns[where]) < 32:
            columns[where].append(column)
    return columns


def _said(source: str, columns: list[int], frames: list[Frame]) -> Said:
    layout = frames[0].layout
    rows = np.array(columns, int)

    def table(name: str) -> Array:
        return np.stack([getattr(frame, name)[rows] for frame in frames])

    value, raw, quality, age = table("value"), table("raw"), table("quality"), table("age")
    wall: list[tuple[int, float, bool]] = []
    for k, frame in enumerate(frames):
        offset = frame.at.wall - frame.at.mono
        if (
            not wall
            or abs(offset - (wall[-1][1] - frames[wall[-1][0]].at.mono)) > STEP
            or frame.at.synced != wall[-1][2]
        ):
            wall.append((k, frame.at.wall, frame.at.synced))
    return Said(
        source,
        tuple(layout.key[c] for c in columns),
        tuple(layout.unit[c] for c in columns),
        [frame.at.mono for frame in frames],
        wall,
        _plain(value),
        [] if np.array_equal(raw, value, equal_nan=True) else _plain(raw),
        quality.tolist() if quality.any() else [],
        np.round(age, 3).tolist() if (age > STEP / 2).any() else [],
    )


def _plain(table: Array) -> list[list[float | None]]:
    return [[None if number != number else number for number in row] for row in table.tolist()]
