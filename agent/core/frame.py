"""The first noun: a `Frame` is one poll of one source, as columns.

Everything before a rule is a frame: a Modbus device, a camera's numbers, the agent's own health.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

Array = NDArray[Any]


class Instant(Struct, frozen=True):
    """One moment, by both clocks.

    `mono` is monotonic seconds: it orders and measures, and only it decides. `wall` is UTC seconds
    since 1970: it labels. `synced` says whether `wall` could be trusted at that moment.
    """

    mono: float  # s
    wall: float  # s, UTC
    synced: bool = False


class Quality(IntEnum):
    """What a value is worth. Up to OVER_RANGE it may raise an alarm; only GOOD may clear one."""

    GOOD = 0
    UNCERTAIN = 1  # measured under doubt, or missed in this poll (then the value is NaN)
    OVER_RANGE = 2  # beyond the instrument's range; the value is the nearest that it can say
    CALIBRATING = 3  # real, but of calibration gas
    STALE = 4  # older than the channel's own limit
    FAULT = 5  # the instrument says that it is broken
    OFFLINE = 6  # its source has been silent for long


# The same as plain numbers: numpy compares with a member of an enumeration four times as slowly (Python 3.11).
GOOD, UNCERTAIN, OVER_RANGE, CALIBRATING, STALE, FAULT, OFFLINE = (int(quality) for quality in Quality)
BLIND = STALE  # from here on nobody sees the hazard


class Layout(Struct, frozen=True, eq=False):
    """The n channels of one source; built once and shared by all its frames.

    `low`, `high`: the instrument's range in `unit`, NaN where not stated. `stale`: seconds after which
    a value that was not refreshed is STALE; after `OFFLINE_AFTER` times that it is OFFLINE.
    """

    key: tuple[str, ...]
    unit: tuple[str, ...]
    low: Array  # (n,) float64
    high: Array  # (n,) float64
    stale: Array  # (n,) float64, s
    deadband: Array  # (n,) float64: a smaller move is not reported as telemetry
    measured: int  # so many of them, the first, are measured; the others are what detectors make of these
    origin: str = ""  # whose word it is, where this site measured nothing itself; see `origin.py`

    def __len__(self) -> int:
        return len(self.key)


OFFLINE_AFTER = 3.0  # times `stale`; project


def layout(
    key: Sequence[str],
    unit: Sequence[str] | None = None,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    stale: Sequence[float] | float = 3.0,
    deadband: Sequence[float] | float = 0.0,
    *,
    origin: str = "",
) -> Layout:
    """A layout from plain sequences of length n; what is left out is unknown (NaN) or the default.

    >>> layout(["ch4"], ["%"]).stale
    array([3.])
    """
    n = len(key)

    def column(given: Sequence[float] | float | None) -> Array:
        filled = np.full(n, np.nan) if given is None else np.broadcast_to(np.asarray(given, float), (n,)).copy()
        filled.setflags(write=False)
        return filled

    units = tuple(unit) if unit is not None else ("",) * n
    return Layout(tuple(key), units, column(low), column(high), column(stale), column(deadband), n, origin)


class Frame(Struct, frozen=True, eq=False):
    """One poll of one source: n channels as columns.

    `raw`: as it stood in the device, before scaling. `value`: in the channel's unit, NaN where not
    measured. `quality`: `Quality` as uint8. `age`: seconds from the measurement to `at`.
    """

    source: str
    at: Instant
    layout: Layout
    raw: Array  # (n,) float64
    value: Array  # (n,) float64
    quality: Array  # (n,) uint8
    age: Array  # (n,) float64, s


def frame(
    source: str,
    at: Instant,
    layout: Layout,
    value: Any,
    quality: Any = GOOD,
    age: Any = 0.0,
    raw: Any = None,
) -> Frame:
    """A frame from anything that numpy takes as columns of length n (or one number for all)."""
    n = len(layout)
    values = _column(value, float, n)
    return Frame(
        source,
        at,
        layout,
        values if raw is None else _column(raw, float, n),
        values,
        _column(quality, np.uint8, n),
        _column(age, float, n),
    )


def _column(given: Any, kind: type, n: int) -> Array:
    """(n,) of what is one already, or one number for all. Raises `ValueError` where it is something else."""
    column: Array = np.asarray(given, kind)
    return column if column.shape == (n,) else np.full(n, column, kind)


def aged(frame: Frame) -> Frame:
    """The frame with STALE and OFFLINE set wherever `age` passed the channel's own limit.

    A value that went blind is NaN: the last number is never shown again as if it were new.
    """
    stale = frame.layout.stale
    if not (frame.age > stale).any():
        return frame
    quality = np.where(frame.age > stale, np.maximum(frame.quality, STALE), frame.quality)
    quality = np.where(frame.age > stale * OFFLINE_AFTER, OFFLINE, quality).astype(np.uint8)
    value = np.where(frame.age > stale, np.nan, frame.value)
    return structs.replace(frame, quality=quality, value=value)


def channels(source: str, layout: Layout) -> tuple[str, ...]:
    """Full channel names, `source/key`, in the layout's order."""
    return tuple(f"{source}/{key}" for key in layout.key)
