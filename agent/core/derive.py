"""Columns that detectors add to the frames of a source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import structs

from .frame import UNCERTAIN, Array, Frame, Layout, channels, layout
from .naming import is_wild, matching
from .ports import Detector
from .rules import Seen


class Derived(NamedTuple):
    """One detector on one source: the columns that it sees, and those that it gives."""

    detector: Detector
    own: Array  # (n,) indices of the source's columns
    beside: list[tuple[str, Array, Array]]  # witnesses: source, its columns, and where they stand in what is seen
    seen: Layout  # (n + w,)
    given: list[tuple[str, str]]  # (m,) key, unit


Refuse = Callable[[Detector, ValueError], None]


def _raise(_: Detector, error: ValueError) -> None:
    raise error


def derivations(
    detectors: Iterable[Detector], layouts: Mapping[str, Layout], refuse: Refuse = _raise
) -> dict[str, list[Derived]]:
    """What each source gains, in the order in which it is reckoned.

    A detector may see what others give. So they go in rounds: first those that are content with what is measured, then
    those that see what these give, and so on, in the order of the file within a round. A wildcard that may mean what
    detectors give waits until the others are through, so that it misses none; of several that wait, those go first for
    which no other gives more. One that cannot work on a channel, or names one that is nowhere, is refused; by default
    that raises its `ValueError`.
    """
    found: dict[str, list[Derived]] = {}
    whole, waiting = dict(layouts), list(detectors)
    while waiting:
        names = _places(whole)
        hidden = {name for name, (source, i) in names.items() if i >= whole[source].measured}
        absent = [_absent(one, names, hidden) for one in waiting]
        ready = [one for one, missing in zip(waiting, absent, strict=True) if not missing]
        rounds = [one for one in ready if not _is_open(one)] or _unfed(ready, whole, names, hidden)
        gained: dict[str, list[Derived]] = {}
        for one in rounds:
            try:
                for source, derived in _derived(one, whole, names, hidden):
                    gained.setdefault(source, []).append(derived)
            except ValueError as error:
                refuse(one, error)
        if not rounds:
            promised = _promised(waiting, absent, whole)
            for one, missing in zip(waiting, absent, strict=True):
                late = [
                    f"; detector `{promised[m]}` would give {m}, but waits itself" for m in missing if m in promised
                ]
                text = f"detector `{one.name}`: no channel is called {', '.join(missing)}{''.join(late)}"
                refuse(one, ValueError(text))
            break
        gone = {id(one) for one in rounds}
        waiting = [one for one in waiting if id(one) not in gone]
        for source, more in gained.items():
            whole[source] = extended(whole[source], more)
            found.setdefault(source, []).extend(more)
    return found


def _places(layouts: Mapping[str, Layout]) -> dict[str, tuple[str, int]]:
    """Where each channel stands: its source, and its column there."""
    return {name: (s, i) for s, columns in layouts.items() for i, name in enumerate(channels(s, columns))}


def _absent(detector: Detector, names: Mapping[str, Any], hidden: Collection[str]) -> list[str]:
    """What it wants to see that is nowhere: all of its channels, or any pattern of the witnesses."""
    channel = [] if matching(detector.channel, names, hidden) else detector.channel
    exact = [name for name in detector.channel if not is_wild(name) and name not in names]
    beside = [pattern for pattern in detector.witnessed if not matching([pattern], names, hidden)]
    return list(dict.fromkeys([*channel, *exact, *beside]))


def _is_open(detector: Detector) -> bool:
    """Whether a wildcard of it may mean what a detector gives that has not come yet."""
    return any("." in name and is_wild(name) for name in [*detector.channel, *detector.witnessed])


def _unfed(
    ready: Sequence[Detector],
    layouts: Mapping[str, Layout],
    names: Mapping[str, tuple[str, int]],
    hidden: Collection[str],
) -> list[Detector]:
    """Those whose patterns mean nothing that another is about to give; all, where each of them waits for another."""
    if len(ready) < 2:
        return list(ready)
    given = [_gives(one, layouts, names, hidden) for one in ready]
    free = []
    for one, own in zip(ready, given, strict=True):
        others = [more for more in given if more is not own]
        if not any(matching([*one.channel, *one.witnessed], more, more) for more in others):
            free.append(one)
    return free or list(ready)


def _gives(
    one: Detector, layouts: Mapping[str, Layout], names: Mapping[str, tuple[str, int]], hidden: Collection[str]
) -> dict[str, str]:
    """What it would give by what is there now, and who that is; nothing where it cannot work."""
    try:
        return {f"{s}/{key}": one.name for s, d in _derived(one, layouts, names, hidden) for key, _ in d.given}
    except ValueError:
        return {}


def _promised(
    waiting: Sequence[Detector], absent: Sequence[Sequence[str]], layouts: Mapping[str, Layout]
) -> dict[str, str]:
    """Who would give which channel, if what all of them miss were there: so a circle is told from a misspelt name."""
    whole = dict(layouts)
    for name in dict.fromkeys(name for missing in absent for name in missing if not is_wild(name)):
        source, _, key = name.partition("/")
        if source in whole:
            base = whole[source]
            whole[source] = layout([*base.key, key], [*base.unit, ""], stale=1.0)
    names = _places(whole)
    return {name: who for one in waiting for name, who in _gives(one, whole, names, ()).items()}


def _derived(
    detector: Detector, layouts: Mapping[str, Layout], names: Mapping[str, tuple[str, int]], hidden: Collection[str]
) -> list[tuple[str, Derived]]:
    """The detector on each source whose channels it names. Raises `ValueError` where it cannot work on them."""
    if detector.witnessed and not detector.looks_beside:
        raise ValueError(f"detector `{detector.name}`: it has no use for channels beside; leave `beside` out")
    mine = [names[name] for name in _as_named(detector.channel, names, hidden)]
    if not mine:
        raise ValueError(f"detector `{detector.name}`: `channel` is empty: nothing is seen")
    named = [names[name] for name in _as_named(detector.witnessed, names, hidden)]
    found = []
    for source in dict.fromkeys(source for source, _ in mine):
        own = np.array([i for s, i in mine if s == source])
        others = [(s, i) for s, i in named if s != source or i not in own]
        seen = _beside(layouts, source, own, others)
        beside = []
        for other in dict.fromkeys(s for s, _ in others):
            places = np.array([len(own) + k for k, (s, _) in enumerate(others) if s == other])
            beside.append((other, np.array([i for s, i in others if s == other]), places))
        found.append((source, Derived(detector, own, beside, seen, detector.columns(seen))))
    return found


def _as_named(patterns: Iterable[str], names: Mapping[str, Any], hidden: Collection[str]) -> list[str]:
    """The names that the patterns mean, each once, in the order of the patterns: a detector may ask for an order."""
    return list(dict.fromkeys(name for pattern in patterns for name in matching([pattern], names, hidden)))


def _beside(layouts: Mapping[str, Layout], source: str, own: Array, others: Sequence[tuple[str, int]]) -> Layout:
    """The layout of what a detector sees: its own channels, then the witnesses under their full names."""
    rows = [(layouts[source], i, layouts[source].key[i]) for i in own]
    rows += [(layouts[s], i, f"{s}/{layouts[s].key[i]}") for s, i in others]
    return layout(
        [key for _, _, key in rows],
        [base.unit[i] for base, i, _ in rows],
        *([float(getattr(base, name)[i]) for base, i, _ in rows] for name in ("low", "high", "stale", "deadband")),
    )


def extended(base: Layout, gained: Sequence[Derived]) -> Layout:
    """The layout with the columns that detectors add; they go stale when the slowest of what they see does."""
    if not gained:
        return base
    stale = list(base.stale)
    for d in gained:
        stale += [max(stale[i] for i in d.own)] * len(d.given)
    added = [column for d in gained for column in d.given]
    nan = [np.nan] * len(added)
    whole = layout(
        [*base.key, *(key for key, _ in added)],
        [*base.unit, *(unit for _, unit in added)],
        [*base.low, *nan],
        [*base.high, *nan],
        stale,
        [*base.deadband, *([0.0] * len(added))],
    )
    return structs.replace(whole, measured=base.measured, origin=base.origin)


def derive(
    frame: Frame, whole: Layout, gained: Sequence[Derived], memories: Sequence[Any], last: Callable[[str], Seen]
) -> tuple[Frame, tuple[Any, ...]]:
    """The frame with its derived columns, and the detectors' new memories; `last` is what was seen of a source."""
    n, kept = len(frame.value), []
    more = len(whole) - n
    raw, value = (np.concatenate([column, np.full(more, np.nan)]) for column in (frame.raw, frame.value))
    quality = np.concatenate([frame.quality, np.full(more, UNCERTAIN, np.uint8)])
    age = np.concatenate([frame.age, np.zeros(more)])
    frame = Frame(frame.source, frame.at, whole, raw, value, quality, age)  # filled column by column
    for one, memory in zip(gained, memories, strict=True):
        memory, given, fit = one.detector.step(memory, _looked(frame, one, last))
        kept.append(memory)
        value[n : n + len(given)] = given
        quality[n : n + len(given)] = np.where(np.isnan(given), np.maximum(fit, UNCERTAIN), fit)
        n += len(given)
    return frame, tuple(kept)


def _looked(frame: Frame, one: Derived, last: Callable[[str], Seen]) -> Frame:
    """What one detector sees: its channels of this frame, and its witnesses as they were read last."""
    own = one.own
    parts = [(np.arange(len(own)), frame.raw[own], frame.value[own], frame.quality[own], frame.age[own])]
    for source, columns, places in one.beside:
        if source == frame.source:
            raw, value, quality, age = frame.raw, frame.value, frame.quality, frame.age
        else:
            seen = last(source)
            raw, value, quality, age = seen.raw, seen.value, seen.quality, frame.at.mono - seen.measured
        parts.append((places, raw[columns], value[columns], quality[columns], age[columns]))
    order, *told = (np.concatenate(column) for column in zip(*parts, strict=True))
    place = np.argsort(order)
    return Frame(frame.source, frame.at, one.seen, *(column[place] for column in told))
