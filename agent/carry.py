"""What one judge remembers, carried into another: rules, channels and detectors changed, and nobody looked away. Pure.

A point is the same if rule, kind and channel have the same names, and the channel the same unit: its state, its open
alarm, its running delays and what its measure saw go along, whatever became of its limit. A channel is the same if
source, key and unit are; a detector, if none of its settings changed and it sees the same channels. An alarm whose
point is gone, or has another level now, ends. Outputs follow whoever holds them now; but one that nobody holds any
longer, and that a rule still drives, is let go by whoever asks for this, once everything was judged anew: the hazard
may stand yet, under another name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import structs

from .core.alarm import Alarm, Order, holds
from .core.colours import Colours, Items
from .core.core import Bench, Core, Memory, Verdict, Watch
from .core.frame import Array, Instant, Layout
from .core.rules import Item, Measure, Seen, Slope, Still, Unmoved, Votes

COLUMNS = ("low", "high", "stale", "deadband")  # of a layout


def carried(old: Core, memory: Memory, new: Core, at: Instant) -> tuple[Memory, Verdict]:
    """The memory with which `new` goes on where `old` stood; the alarms that end by that, and orders."""
    watches, rest = {}, []
    for source, bench in new.benches.items():
        watch = bench.start(at.mono)
        if source in old.benches:
            watch = _watch(old, old.benches[source], memory.watches[source], new, bench, watch)
        watches[source] = watch
    for source, bench in old.benches.items():
        for i, alarm in memory.watches[source].open.items():
            place = _place(new, bench.points[i])
            if place is None or place[1] not in watches[place[0]].open:
                rest.append(alarm)
    book = memory.book
    if book is not None:
        rest += book.open.values()
    if new.ledger is None or old.ledger is None or old.ledger.air != new.ledger.air:
        book = new.ledger.start(at.mono) if new.ledger is not None else None
    held = _held(new, watches)
    fresh = Memory(memory.boot, memory.serial, watches, held, memory.load, _colours(old, memory, new, watches), book)
    fresh, ended = new.adopt(fresh, rest, at)
    driven = {output for bench in new.benches.values() for point in bench.points for output in point.rule.drive}
    return fresh, structs.replace(ended, orders=_orders(memory.held, fresh.held, driven, at))


def same_layout(one: Layout, other: Layout) -> bool:
    """Whether two layouts say the same of the same channels."""
    plain = (one.key, one.unit, one.measured, one.origin) == (other.key, other.unit, other.measured, other.origin)
    return plain and all(np.array_equal(getattr(one, c), getattr(other, c), equal_nan=True) for c in COLUMNS)


def _place(core: Core, point: Any) -> tuple[str, int] | None:
    """Where the same point stands in another core."""
    place = core.places.get((point.rule.name, point.channel))
    if place is None or type(core.benches[place[0]].points[place[1]].rule) is not type(point.rule):
        return None
    return place


def _watch(old: Core, before: Bench, past: Watch, new: Core, bench: Bench, watch: Watch) -> Watch:
    """The memory of one source, which is in both."""
    names = {pair: i for i, pair in enumerate(zip(before.layout.key, before.layout.unit, strict=True))}
    pairs = zip(bench.layout.key, bench.layout.unit, strict=True)
    columns = np.array([names.get(pair, -1) for pair in pairs], int)  # (n,) where each channel stood, -1: nowhere
    both = zip(structs.astuple(past.seen), structs.astuple(watch.seen), strict=True)
    seen = Seen(*(_taken(o, n, columns) for o, n in both))

    which = np.full(len(bench.points), -1)  # (P,) where each point stood
    for i, point in enumerate(bench.points):
        place = _place(old, point)
        if place is not None and place[0] == before.source and (point.column < 0 or columns[point.column] >= 0):
            which[i] = place[1]
    state, open_, until = watch.state.copy(), dict[int, Alarm](), dict[int, float]()
    for i, j in enumerate(which.tolist()):
        rule, alarm = bench.points[i].rule, past.open.get(j)
        if j < 0 or (alarm is not None and alarm.level != rule.level and not isinstance(rule, Item)):
            continue
        state[i] = past.state[j]
        if alarm is not None:
            open_[i] = alarm
        if j in past.until:
            until[i] = past.until[j]
    measures = tuple(
        _measure(old, before, past, new, one, start) for one, start in zip(bench.measures, watch.measures, strict=True)
    )
    derived = tuple(_detector(before, past, one, start) for one, start in zip(bench.gained, watch.derived, strict=True))
    over, back = _taken(past.over, watch.over, which), _taken(past.back, watch.back, which)
    return Watch(seen, state, over, back, measures, open_, until, derived, calm=False)


def _taken(old: Array, new: Array, which: Array) -> Array:
    """`old[which]`, and where that is -1, or beyond, what `new` has."""
    known = (which >= 0) & (which < len(old))
    if not known.any():
        return new
    taken = new.copy()
    taken[known] = old[which[known]]
    return taken


def _measure(old: Core, before: Bench, past: Watch, new: Core, measure: Measure, start: Any) -> Any:
    """What one kind of rule saw of its points."""
    for former, memory in zip(before.measures, past.measures, strict=True):
        if type(former) is not type(measure):
            continue
        known = {(p.rule.name, p.channel, type(p.rule)): i for i, p in enumerate(former.points)}
        which = np.array([known.get((p.rule.name, p.channel, type(p.rule)), -1) for p in measure.points], int)
        if isinstance(measure, Slope):
            return tuple(_taken(o.T, n.T, which).T for o, n in zip(memory, start, strict=True))
        if isinstance(measure, Unmoved):
            held, since, alive = (_taken(o, n, which) for o, n in zip(memory[:3], start[:3], strict=True))
            return Still(held, since, alive, memory.last)
        if isinstance(measure, Votes):
            return tuple(
                memory[j] if j >= 0 and _members(old, former.points[j]) == _members(new, point) else votes
                for point, votes, j in zip(measure.points, start, which.tolist(), strict=True)
            )
        if measure.points == former.points:
            return memory
    return start


def _members(core: Core, point: Any) -> list[tuple[str, str]]:
    return [(source, core.benches[source].layout.key[i]) for source, i in point.siblings]


def _detector(before: Bench, past: Watch, gained: Any, start: Any) -> Any:
    """The memory of a detector that did not change, and sees what it saw."""
    for former, memory in zip(before.gained, past.derived, strict=True):
        same = (former.seen.key, former.seen.unit) == (gained.seen.key, gained.seen.unit)
        if same and type(former.detector) is type(gained.detector) and former.detector == gained.detector:
            return memory
    return start


def _held(core: Core, watches: dict[str, Watch]) -> dict[str, frozenset[str]]:
    """Which alarms hold which output on."""
    found: dict[str, set[str]] = {}
    for source, bench in core.benches.items():
        watch = watches[source]
        for i, alarm in watch.open.items():
            for output in bench.points[i].rule.drive if holds(int(watch.state[i])) else ():
                found.setdefault(output, set()).add(alarm.id)
    return {output: frozenset(ids) for output, ids in found.items()}


def _orders(
    before: Mapping[str, frozenset[str]], after: Mapping[str, frozenset[str]], driven: Collection[str], at: Instant
) -> tuple[Order, ...]:
    """For outputs that somebody holds now and nobody did; or nobody any longer, nor ever will."""
    on = [Order(o, True, min(ids), at) for o, ids in after.items() if ids and not before.get(o)]
    off = [Order(o, False, min(ids), at) for o, ids in before.items() if ids and not after.get(o) and o not in driven]
    return tuple(on + off)


def _colours(old: Core, memory: Memory, new: Core, watches: Mapping[str, Watch]) -> Colours | None:
    """The points as they stand, and of items that did not change since when lower states hold."""
    if not new.items:
        return None
    states = {source: watches[source].state for source in new.items.sources}
    colours = new.items.painted(new.items.start(), states)
    if memory.colours is None:
        return colours
    was = {name: (k, what) for k, (name, what) in enumerate(_made_of(old.items))}
    below = colours.below.copy()
    for k, (name, what) in enumerate(_made_of(new.items)):
        if name in was and was[name][1] == what:
            below[k] = memory.colours.below[was[name][0]]
    return structs.replace(colours, below=below)


def _made_of(items: Items) -> Sequence[tuple[str, Any]]:
    rows = zip(items.rules, items.members, strict=True)
    return [(rule.name, (rule, [items.names[i] for i in members])) for rule, members in rows]
