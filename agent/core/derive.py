"""Columns that detectors add to the frames of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import structs

from .frame import Array, Frame, Layout, Quality, channels, layout
from .naming import matching
from .ports import Detector
from .rules import Seen


class Derived(NamedTuple):
    """One detector on one source: the columns that it sees, and those that it gives."""

    detector: Detector
    own: Array  # (n,) indices of the source's columns
    beside: list[tuple[str, Array, Array]]  # witnesses: source, its columns, and where they stand in what is seen
    seen: Layout  # (n + w,)
    given: list[tuple[str, str]]  # (m,) key, unit


def derivations(detectors: Iterable[Detector], layouts: Mapping[str, Layout]) -> dict[str, list[Derived]]:
    """What each source gains. Raises `ValueError` where a detector cannot work on a channel, or names none."""
    found: dict[str, list[Derived]] = {}
    where = {
        name: (source, i) for source, columns in layouts.items() for i, name in enumerate(channels(source, columns))
    }
    for detector in detectors:
        mine = [where[name] for name in _as_named(detector.channel, where)]
        if not mine:
            raise ValueError(f"detector `{detector.name}`: no channel is called {', '.join(detector.channel)}")
        if detector.witnessed and not detector.looks_beside:
            raise ValueError(f"detector `{detector.name}`: it has no use for channels beside; leave `beside` out")
        for pattern in detector.witnessed:
            if not matching([pattern], where):
                raise ValueError(f"detector `{detector.name}`: no channel is called {pattern}")
        named = [where[name] for name in _as_named(detector.witnessed, where)]
        for source in dict.fromkeys(source for source, _ in mine):
            own = np.array([i for s, i in mine if s == source])
            others = [(s, i) for s, i in named if s != source or i not in own]
            seen = _beside(layouts, source, own, others)
            beside = []
            for other in dict.fromkeys(s for s, _ in others):
                places = np.array([len(own) + k for k, (s, _) in enumerate(others) if s == other])
                beside.append((other, np.array([i for s, i in others if s == other]), places))
            found.setdefault(source, []).append(Derived(detector, own, beside, seen, detector.columns(seen)))
    return found


def _as_named(patterns: Iterable[str], names: Mapping[str, Any]) -> list[str]:
    """The names that the patterns mean, each once, in the order of the patterns: a detector may ask for an order."""
    return list(dict.fromkeys(name for pattern in patterns for name in matching([pattern], names)))


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
    added = [(key, unit, float(base.stale[d.own].max())) for d in gained for key, unit in d.given]
    nan = [np.nan] * len(added)
    whole = layout(
        [*base.key, *(key for key, _, _ in added)],
        [*base.unit, *(unit for _, unit, _ in added)],
        [*base.low, *nan],
        [*base.high, *nan],
        [*base.stale, *(stale for _, _, stale in added)],
        [*base.deadband, *([0.0] * len(added))],
    )
    return structs.replace(whole, measured=len(base))


def derive(
    frame: Frame, whole: Layout, gained: Sequence[Derived], memories: Sequence[Any], last: Callable[[str], Seen]
) -> tuple[Frame, tuple[Any, ...]]:
    """The frame with its derived columns, and the detectors' new memories; `last` is what was seen of a source."""
    values, qualities, kept = [frame.value], [frame.quality], []
    for one, memory in zip(gained, memories, strict=True):
        memory, value, quality = one.detector.step(memory, _looked(frame, one, last))
        kept.append(memory)
        values.append(value)
        qualities.append(np.where(np.isnan(value), np.maximum(quality, Quality.UNCERTAIN), quality).astype(np.uint8))
    value, quality = np.concatenate(values), np.concatenate(qualities)
    more = len(value) - len(frame.value)
    raw, age = np.concatenate([frame.raw, np.full(more, np.nan)]), np.concatenate([frame.age, np.zeros(more)])
    return Frame(frame.source, frame.at, whole, raw, value, quality, age), tuple(kept)


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
