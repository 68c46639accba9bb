"""Frames on their way to a batch: what has not moved is left out, what has is gathered for a second at most."""

from __future__ import annotations

import numpy as np

from .core.frame import Array, Frame, Layout
from .core.ports import Batch, Latest

CELLS = 8192  # values in one batch at most
QUIET = 0.9  # of the time to gather: after so long without a batch the next frame does not wait
FULL = 0.999  # of the time to gather: polls are never quite on time


class Gather:
    """The frames of one source that wait to become a batch, and what was reported last. Times are monotonic."""

    def __init__(self, source: str, layout: Layout, batch: float, heartbeat: float) -> None:
        self.source, self.layout = source, layout
        self.batch, self.heartbeat = batch, heartbeat  # s
        self._deadband = layout.deadband if layout.deadband.any() else None
        self._rows: list[Frame] = []
        self._value: Array | None = None  # (n,) last reported
        self._quality: Array | None = None
        self._reported = float("-inf")
        self.latest: Latest | None = None
        self._flushed = float("-inf")

    def add(self, frame: Frame) -> float | None:
        """Seconds until the batch is due, 0 where it is due now; None where this frame changes nothing about that."""
        now = frame.at.mono
        if not self._moved(frame) and now - self._reported < self.heartbeat:
            self.latest = self.latest and self.latest._replace(seen=now)
            return None
        self.latest = Latest(frame, now)
        self._value, self._quality, self._reported = frame.value, frame.quality, now
        self._rows.append(frame)
        waited = now - self._flushed
        first = len(self._rows) == 1
        if len(self._rows) * len(self.layout) >= CELLS or waited >= self.batch * (QUIET if first else FULL):
            return 0.0
        return self.batch - waited if first else None

    def hurry(self) -> None:
        """The next frame is due at once, whatever it says."""
        self._reported = self._flushed = float("-inf")

    def flush(self) -> Batch | None:
        """The batch of what was gathered, None if nothing was."""
        rows, self._rows = self._rows, []
        if not rows:
            return None
        # Counted from the newest row, not from now: a batch that a timer flushed would else put the source's
        # polls out of step for good, and each would wait for the next timer.
        self._flushed = rows[-1].at.mono
        return Batch(
            self.source,
            self.layout.key,
            self.layout.unit,
            np.array([row.at.mono for row in rows]),
            np.array([row.at.wall for row in rows]),
            all(row.at.synced for row in rows),
            rows[0].value[None] if len(rows) == 1 else np.stack([row.value for row in rows]),
            rows[0].quality[None] if len(rows) == 1 else np.stack([row.quality for row in rows]),
        )

    def _moved(self, frame: Frame) -> bool:
        """Whether any channel left its dead band or changed its quality since the last report."""
        if self._value is None or self._quality is None or not np.array_equal(frame.quality, self._quality):
            return True
        if self._deadband is None:
            return not np.array_equal(frame.value, self._value, equal_nan=True)
        with np.errstate(invalid="ignore"):
            still = np.abs(frame.value - self._value) <= self._deadband
        return not (still | (frame.value == self._value) | (np.isnan(frame.value) & np.isnan(self._value))).all()
