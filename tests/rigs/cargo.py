"""What the rigs of the store put into it: every alarm and every reading says by itself what it has to be."""

from __future__ import annotations

import zlib

import msgspec
import numpy as np

from agent.core.alarm import Alarm
from agent.core.frame import Array, Frame, Instant, Layout, frame, layout
from agent.core.ports import Batch, Event

POINTS = 4  # alarms that come and go


def edge(number: int, up: bool, at: Instant) -> Alarm:
    """An alarm's edge with a number of its own; the points take turns."""
    event, state = ("raised", "active-unacked") if up else ("cleared", "normal")
    text = f"edge {number}: {'above' if up else 'below'} its limit, at {at.wall:.3f}"
    return Alarm(f"a{number}", 1, event, state, "gas", point(number), "red", float(number), 1.0, "%", at, at, text)


def point(number: int) -> str:
    return f"s/p{number % POINTS}"


def channels(n: int) -> Layout:
    return layout([f"c{i}" for i in range(n)], ["m"] * n)


def reading(number: int, at: Instant, shape: Layout, source: str = "s") -> Frame:
    """The frame of this number, below a million: float32 holds its values exactly."""
    return frame(source, at, shape, values(number, len(shape)))


def values(number: int, n: int) -> Array:
    """Noise that does not compress, as of a live plant, with the number in front."""
    noise = np.random.default_rng(number).normal(20.0, 1.0, n).astype(np.float32).astype(float)
    noise[0] = number
    return noise


def numbers(batch: Batch) -> list[int]:
    """Which readings the batch holds; -1 for one that is not what its number says."""
    n = len(batch.key)
    found = []
    for row in batch.value:
        number = int(row[0]) if np.isfinite(row[0]) and 0 <= row[0] < 2**24 else -1
        found.append(number if number >= 0 and np.array_equal(row, values(number, n)) else -1)
    return found


def digest(body: Alarm | Event) -> int:
    """CRC-32 of an alarm or event as JSON."""
    return zlib.crc32(msgspec.json.encode(body, enc_hook=str))
