"""Everything that goes wrong with sensors, devices and lines, as values.

A fault on a value changes what the instrument says; a fault on the answer changes how the device replies;
a fault on the line damages the bytes. The server applies them; nothing here keeps memory or reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

# -- on a value -----------------------------------------------------------------------------------


class Freeze(Struct, frozen=True):
    """The register keeps the value that it had."""

    channel: str
    held: float


class Drift(Struct, frozen=True):
    """The value wanders away from the truth."""

    channel: str
    per_s: float  # unit of the channel per s
    since: float  # monotonic s


class Spike(Struct, frozen=True):
    """Interference adds `height` for `width` seconds."""

    channel: str
    height: float
    since: float  # monotonic s
    width: float = 0.3  # s


class Break(Struct, frozen=True):
    """The wire is broken: the device writes `says`, often a number out of any range, or NaN."""

    channel: str
    says: float = float("nan")


class Lower(Struct, frozen=True):
    """Somebody holds the sensor into fresh air, or pulls a bag over it: it sees a `share` of the truth."""

    channel: str
    share: float


class Coarsen(Struct, frozen=True):
    """The value comes in steps of `step`, as of another instrument."""

    channel: str
    step: float


# -- on the answer --------------------------------------------------------------------------------


class Dead(Struct, frozen=True):
    """No answer at all."""


class Slow(Struct, frozen=True):
    """The answer comes late."""

    seconds: float


class Refuse(Struct, frozen=True):
    """Every request is answered by Modbus exception `code`."""

    code: int = 4


# -- on the line ----------------------------------------------------------------------------------


class Flip(Struct, frozen=True):
    """One bit of each reply arrives wrong."""

    bit: int = 12


class Truncate(Struct, frozen=True):
    """Each reply ends after `keep` bytes."""

    keep: int = 4


class Echo(Struct, frozen=True):
    """The adapter hears itself: the request comes back before the reply."""


Fault: TypeAlias = Freeze | Drift | Spike | Break | Lower | Coarsen | Dead | Slow | Refuse | Flip | Truncate | Echo


class Manner(Struct, frozen=True):
    """How a device answers under its faults."""

    answers: bool = True
    wait: float = 0.0  # s
    code: int = 0  # Modbus exception, 0: none


def distort(values: Mapping[str, float], faults: Iterable[Fault], now: float) -> dict[str, float]:
    """The values as the registers show them at monotonic `now`.

    >>> distort({"co": 5.0}, [Freeze("co", 4.0)], now=0.0)
    {'co': 4.0}
    """
    said = dict(values)
    for fault in faults:
        match fault:
            case Freeze(channel, held):
                said[channel] = held
            case Drift(channel, per_s, since):
                said[channel] += per_s * max(0.0, now - since)
            case Spike(channel, height, since, width) if since <= now < since + width:
                said[channel] += height
            case Break(channel, says):
                said[channel] = says
            case Lower(channel, share):
                said[channel] *= share
            case Coarsen(channel, step):
                said[channel] = round(said[channel] / step) * step
    return said


def manner(faults: Iterable[Fault]) -> Manner:
    """How the device answers now.

    >>> manner([Slow(0.2), Slow(0.1)])
    Manner(answers=True, wait=0.30000000000000004, code=0)
    """
    answers, wait, code = True, 0.0, 0
    for fault in faults:
        match fault:
            case Dead():
                answers = False
            case Slow(seconds):
                wait += seconds
            case Refuse(given):
                code = given
    return Manner(answers, wait, code)


def damage(request: bytes, reply: bytes, faults: Iterable[Fault]) -> bytes:
    """The reply as it leaves the wire.

    >>> damage(b"ask", b"answer", [Truncate(3)])
    b'ans'
    """
    for fault in faults:
        match fault:
            case Flip(bit) if reply:
                i = (bit // 8) % len(reply)
                reply = reply[:i] + bytes([reply[i] ^ (1 << (bit % 8))]) + reply[i + 1 :]
            case Truncate(keep):
                reply = reply[:keep]
            case Echo():
                reply = request + reply
    return reply


# -- on a whole series: what somebody does who has time ---------------------------------------------

Numbers = NDArray[np.float64]
Random = np.random.Generator


class Series(NamedTuple):
    """A recording of n channels of one source."""

    time: Numbers  # (t,) s, monotonic
    value: Numbers  # (t, n), NaN where not measured
    raw: Numbers  # (t, n) as the registers have it
    quality: NDArray[np.uint8]  # (t, n)
    low: Numbers  # (n,) range, NaN where not stated
    high: Numbers  # (n,)


def falsified(series: Series, kind: str, channel: int, begin: int, end: int, random: Random) -> Series:
    """The series with rows `begin` to `end` of a channel falsified as one of `FALSIFIED`. Raises `LookupError`.

    The register is falsified with the value, but for `overwritten`.
    """
    value, raw, quality = series.value.copy(), series.raw.copy(), series.quality.copy()
    new = FALSIFIED[kind](series, channel, begin, end, random)
    if kind == "calibrated":
        quality[begin:end, channel] = 3
    elif kind == "overcalibrated":
        for first in np.linspace(begin, end, 6).astype(int)[:-1]:
            quality[first : first + max(1, (end - begin) // 30), channel] = 3
    else:
        value[begin:end, channel] = new
        if kind != "overwritten":
            scale, offset = _line(series, channel)
            raw[begin:end, channel] = (new - offset) / scale
    return series._replace(value=value, raw=raw, quality=quality)


def _line(series: Series, channel: int) -> tuple[float, float]:
    """Value from register, as the two farthest rows have it."""
    raw, value = series.raw[:, channel], series.value[:, channel]
    known = np.flatnonzero(np.isfinite(raw) & np.isfinite(value))
    if known.size < 2:
        return 1.0, 0.0
    a, b = known[np.argmin(raw[known])], known[np.argmax(raw[known])]
    if raw[a] == raw[b]:
        return 1.0, float(value[a] - raw[a])
    scale = float((value[b] - value[a]) / (raw[b] - raw[a]))
    return scale, float(value[a] - scale * raw[a])


def _own(series: Series, channel: int, begin: int, end: int) -> Numbers:
    return series.value[begin:end, channel].copy()


def _step(series: Series, channel: int, before: int) -> float:
    """The least difference between neighbouring readings before a row."""
    moves = np.abs(np.diff(series.value[:before, channel]))
    moves = moves[moves > 1e-12]
    return float(moves.min()) if moves.size else 1.0


def _held(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """The number that it had, for ever."""
    return np.full(end - begin, series.value[begin - 1, channel])


def _replayed(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """What it said a while ago, again."""
    n = end - begin
    lag = int(random.integers(n + 1, max(n + 2, min(begin, 8 * n))))
    return series.value[begin - lag : end - lag, channel].copy()


def _looped(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """A short stretch again and again."""
    n = max(20, (end - begin) // 5)
    return np.resize(series.value[begin - n : begin, channel], end - begin)


def _lowered(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """A share of 30 to 45 % of the truth from one sample to the next: in fresh air, or under a bag."""
    low = series.low[channel] if np.isfinite(series.low[channel]) else 0.0
    step = _step(series, channel, begin)
    said = low + random.uniform(0.30, 0.45) * (_own(series, channel, begin, end) - low)
    rounded: Numbers = np.round(said / step) * step
    return rounded


def _swapped(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """Hung elsewhere: the same level, as lively, and of another day."""
    n = end - begin
    lag = int(random.integers(n, max(n + 1, begin - n))) if begin > 2 * n else begin - n
    other = series.value[max(0, begin - lag - n) : max(0, begin - lag - n) + n, channel][::-1]
    return np.resize(other, n) + random.normal(0.0, 1e-3 * _step(series, channel, begin), n)


def _smoothed(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """A moving average of 15 samples, with all the digits of the average."""
    window = np.ones(15) / 15
    around = series.value[begin - 7 : end + 7, channel]
    return np.convolve(around, window, "same")[7 : 7 + end - begin]


def _coarsened(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """In steps that are ten times as wide."""
    step = 10 * _step(series, channel, begin)
    rounded: Numbers = np.round(_own(series, channel, begin, end) / step) * step
    return rounded


def _invented(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """Made up around the last level, with more digits than the instrument has."""
    before = series.value[max(0, begin - 50) : begin, channel]
    return np.nanmean(before) + random.normal(0.0, max(float(np.nanstd(np.diff(before))), 1e-6), end - begin)


def _pinned(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """At the upper end of its range."""
    return np.full(end - begin, series.high[channel])


def _wrapped(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """It rises to the upper end of its range and goes on from the lower."""
    span = series.high[channel] - series.low[channel]
    last = series.value[begin - 1, channel] - series.low[channel]
    up = last + np.linspace(0.0, 1.2 * span - last, end - begin)
    step = _step(series, channel, begin)
    rounded: Numbers = series.low[channel] + np.round(np.mod(up, span) / step) * step
    return rounded


def _spiked(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """One reading 0.55 to 0.9 of the range higher: interference."""
    said = _own(series, channel, begin, end)
    span = series.high[channel] - series.low[channel]
    said[0] += random.uniform(0.55, 0.9) * span
    return said


def _overwritten(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """The value is put right behind the driver's back, 20 % lower; the register goes on telling the truth."""
    return 0.8 * _own(series, channel, begin, end)


def _deafened(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    """The level before, with its usual tremble, whatever happens: somebody types it in."""
    before = series.value[max(0, begin - 200) : begin, channel]
    level, moves = before[-20:], np.diff(before)
    step = _step(series, channel, begin)
    said = np.nanmean(level) + random.normal(0.0, float(np.nanstd(moves)) / np.sqrt(2.0), end - begin)
    rounded: Numbers = np.round(said / step) * step
    return rounded


def _as_it_was(series: Series, channel: int, begin: int, end: int, random: Random) -> Numbers:
    return _own(series, channel, begin, end)


FALSIFIED: Mapping[str, Callable[[Series, int, int, int, Random], Numbers]] = {
    "held": _held,
    "replayed": _replayed,
    "looped": _looped,
    "lowered": _lowered,
    "swapped": _swapped,
    "smoothed": _smoothed,
    "coarsened": _coarsened,
    "invented": _invented,
    "pinned": _pinned,
    "wrapped": _wrapped,
    "spiked": _spiked,
    "overwritten": _overwritten,
    "deafened": _deafened,
    "calibrated": _as_it_was,  # called calibrating, and too long
    "overcalibrated": _as_it_was,  # five times
}
