"""Columns that detectors add to the frames of a source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .frame import Array, Frame, Layout, Quality, channels, layout
from .naming import matching
from .ports import Detector


class Derived(NamedTuple):
    """One detector on one source: the columns that it sees, and those that it gives."""

    detector: Detector
    seen: Array  # (n,) indices
    given: list[tuple[str, str]]  # (m,) key, unit


def derivations(detectors: Iterable[Detector], layouts: Mapping[str, Layout]) -> dict[str, list[Derived]]:
    """What each source gains. Raises `ValueError` where a detector cannot work on a channel, or names none."""
    found: dict[str, list[Derived]] = {}
    for detector in detectors:
        before = sum(map(len, found.values()))
        for source, columns in layouts.items():
            where = {name: i for i, name in enumerate(channels(source, columns))}
            seen = [where[name] for name in matching(detector.channel, where)]
            if seen:
                given = detector.columns([columns.key[i] for i in seen], [columns.unit[i] for i in seen])
                found.setdefault(source, []).append(Derived(detector, np.array(seen), given))
        if sum(map(len, found.values())) == before:
            raise ValueError(f"detector `{detector.name}`: no channel is called {', '.join(detector.channel)}")
    return found


def extended(base: Layout, gained: Sequence[Derived]) -> Layout:
    """The layout with the columns that detectors add; they go stale when the slowest of what they see does."""
    if not gained:
        return base
    added = [(key, unit, float(base.stale[d.seen].max())) for d in gained for key, unit in d.given]
    nan = [np.nan] * len(added)
    return layout(
        [*base.key, *(key for key, _, _ in added)],
        [*base.unit, *(unit for _, unit, _ in added)],
        [*base.low, *nan],
        [*base.high, *nan],
        [*base.stale, *(stale for _, _, stale in added)],
        [*base.deadband, *([0.0] * len(added))],
    )


def derive(
    frame: Frame, whole: Layout, gained: Sequence[Derived], memories: Sequence[Any]
) -> tuple[Frame, tuple[Any, ...]]:
    """The frame with its derived columns, and the detectors' new memories."""
    values, qualities, kept = [frame.value], [frame.quality], []
    for (detector, seen, _), memory in zip(gained, memories, strict=True):
        memory, value, quality = detector.step(memory, frame.at, frame.value[seen], frame.quality[seen])
        kept.append(memory)
        values.append(value)
        qualities.append(np.where(np.isnan(value), np.maximum(quality, Quality.UNCERTAIN), quality).astype(np.uint8))
    value, quality = np.concatenate(values), np.concatenate(qualities)
    more = len(value) - len(frame.value)
    raw, age = np.concatenate([frame.raw, np.full(more, np.nan)]), np.concatenate([frame.age, np.zeros(more)])
    return Frame(frame.source, frame.at, whole, raw, value, quality, age), tuple(kept)
