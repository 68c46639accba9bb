"""The agent as a source: its lateness, queues, losses, disk and memory are channels that rules can watch.

What is measured here is judged by the rules of `configs/profiles/self.toml` (`upkeep.py`), like any other channel. What
this machine has no sensor for is NaN and OFFLINE, never 0. Channels are added at the end of `_CHANNELS` only: a
recording of an older version has fewer of them (`journal.py`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import msgspec
import numpy as np

from .core.frame import Frame, Instant, Layout, Quality, frame, layout
from .core.ports import Lane
from .machine import Machine

_CHANNELS: tuple[tuple[str, str, float], ...] = (  # key, unit, deadband of telemetry
    ("loop_lag", "s", 0.05),  # how late the event loop ran in the worst second
    ("judge_queue", "", 10.0),  # frames waiting for judgement
    ("orders_unmet", "", 0.0),  # outputs not known to be in the state that alarms want
    ("store_trouble", "", 0.0),  # files of the store that do not take what they should
    ("store_quarantined", "", 0.0),  # files found corrupt and renamed aside since the start
    ("dropped", "", 0.0),  # items of all lanes, and records of the journal, dropped by the caps since the start
    ("evidence_trouble", "", 0.0),  # rings and disks that do not keep what cameras show, and full ones
    ("degraded", "", 0.0),  # parts of the program that crash or hang again and again
    ("restarts", "", 0.0),  # of lines, uplinks and the like since the start
    ("uplinks_down", "", 0.0),  # platforms that cannot be reached
    ("crashes", "", 0.0),  # exceptions that nobody expected since the start: mistakes of the program
    ("clock_back", "s", 0.0),  # by which the wall clock was set back within the last hour
    ("alarms_in_10_min", "", 0.0),  # raised; ISA-18.2: at most 1 is what a person can follow for long (verify)
    ("alarms_standing", "", 0.0),  # active now
    ("alarms_stale", "", 0.0),  # active for more than a day
    ("alarms_chattering", "", 0.0),  # points that come three times within a minute
    ("alarms_flood", "", 0.0),  # 1 from more than 10 in 10 min until fewer than 5
    ("alarms_top_ten", "%", 1.0),  # share of the ten most frequent points in the last day
    ("alarms_waiting", "", 1.0),  # not yet acknowledged by every platform
    ("events_waiting", "", 5.0),
    ("telemetry_waiting", "", 5.0),  # batches
    ("disk_free", "%", 1.0),
    ("memory", "MB", 4.0),  # resident
    ("descriptors", "", 4.0),
    ("clock_synced", "", 0.0),  # 1 or 0
    # -- from here on since 0.1.0's self-watch
    ("wait_p99", "s", 0.05),  # how long frames waited for judgement: 99 of 100 at most so long
    ("wait_worst", "s", 0.1),  # and the longest
    ("commit_worst", "s", 0.1),  # the slowest commit of alarms in the period, also one that is not over
    ("journal_worst", "s", 0.1),  # the slowest write of the journal of decisions
    ("write_errors", "", 0.0),  # writes of store and journal that failed within the last hour
    ("dropped_alarms", "", 0.0),  # of `dropped`, since the start
    ("dropped_events", "", 0.0),
    ("dropped_telemetry", "", 0.0),  # batches
    ("starts_24h", "", 0.0),  # of this program within a day, this one too
    ("children_died", "", 0.0),  # processes for cameras and clips that died within the last hour, not by our hand
    ("clock_steps", "", 0.0),  # of the wall clock within the last hour, to either side
    ("clock_offset", "s", 0.05),  # that the kernel still has to make up, where it is synchronised
    ("memory_share", "%", 2.0),  # of what this program may have; see `machine.py`
    ("descriptors_share", "%", 2.0),
    ("threads", "", 1.0),
    ("children", "", 0.0),  # processes now
    ("cpu", "%", 10.0),  # of one core
    ("disk_free_mb", "MB", 100.0),
    ("inodes_free", "%", 1.0),
    ("disk_full_in", "h", 12.0),  # if it fills as in the last hours; 8760: not within a year
    ("disk_wear", "%", 0.0),
    ("disk_errors", "", 0.0),
    ("temperature", "degC", 2.0),
    ("throttled", "", 0.0),  # 1 or 0
    ("under_voltage", "", 0.0),  # 1 or 0, now
    ("under_voltage_seen", "", 0.0),  # 1 or 0, since the machine started
)
PASSING = ("disk_full_in", "clock_offset", "cpu")  # what every machine can say, but not at every moment; queues, too
LANES = ("alarm", "event", "telemetry")  # of the ages `queue.<uplink>.<lane>`
HOUR = 3600.0  # s
DAY = 86400.0  # s
STARTS = "starts"  # file in the folder of the state
KEPT = 100  # starts that are remembered


class Vitals(NamedTuple):
    """What the shell knows of itself."""

    loop_lag: float
    judge_queue: int
    orders_unmet: int
    store_trouble: int
    store_quarantined: int
    dropped: int
    evidence_trouble: int
    degraded: int
    restarts: int
    uplinks_down: int
    crashes: int
    clock_back: float
    alarms_in_10_min: int
    alarms_standing: int
    alarms_stale: int
    alarms_chattering: int
    alarms_flood: bool
    alarms_top_ten: float
    wait_p99: float
    wait_worst: float
    commit_worst: float
    journal_worst: float
    write_errors: int
    dropped_alarms: int
    dropped_events: int
    dropped_telemetry: int
    starts_24h: int
    children_died: int
    clock_steps: int
    clock_offset: float


def columns(uplinks: Iterable[str]) -> Layout:
    """The channels of an agent with these uplinks: with the s that the oldest of each lane waits for each platform."""
    queues = [(f"queue.{name}.{lane}", "s", 30.0) for name in dict.fromkeys(uplinks) for lane in LANES]
    rows = (*_CHANNELS, *queues)
    return layout([r[0] for r in rows], [r[1] for r in rows], stale=30.0, deadband=[r[2] for r in rows])


class Health:
    """Measures the process that it runs in."""

    SOURCE: ClassVar[str] = "agent"
    PERIOD: ClassVar[float] = 5.0  # s
    LAYOUT: ClassVar[Layout] = columns(())

    def __init__(self, disk: str) -> None:
        self._machine = Machine(disk)

    def frame(
        self,
        at: Instant,
        layout: Layout,
        vitals: Vitals,
        depth: Mapping[Lane, int],
        ages: Mapping[str, Mapping[Lane, float]],
    ) -> Frame:
        """One frame of the agent's own health; its layout is one of `columns`.

        ages: by uplink, s that the oldest of a lane waits; absent: none does. Live telemetry and backlog, which is
        older, are one lane here; a backlog whose age is not known yet is NaN.
        """
        told: dict[str, float] = {
            **vitals._asdict(),
            **self._machine.look(at.mono)._asdict(),
            "alarms_waiting": depth.get("alarm", 0),
            "events_waiting": depth.get("event", 0),
            "telemetry_waiting": depth.get("telemetry", 0) + depth.get("backfill", 0),
            "clock_synced": at.synced,
        }
        for name, oldest in ages.items():
            told[f"queue.{name}.alarm"] = oldest.get("alarm", 0.0)
            told[f"queue.{name}.event"] = oldest.get("event", 0.0)
            told[f"queue.{name}.telemetry"] = oldest.get("backfill", oldest.get("telemetry", 0.0))
        keys = layout.key
        value = np.array([told.get(key, math.nan) for key in keys], float)
        passing = [key in PASSING or key.startswith("queue.") for key in keys]
        unknown = np.where(passing, Quality.UNCERTAIN, Quality.OFFLINE)
        return frame(self.SOURCE, at, layout, value, np.where(np.isnan(value), unknown, Quality.GOOD))


class Lately:
    """How much of something there was within the last hour."""

    def __init__(self, span: float = HOUR) -> None:
        self._span = span  # s
        self._rows: deque[tuple[float, float]] = deque(maxlen=10_000)  # monotonic s, how much
        self._total = 0.0

    def add(self, now: float, much: float) -> None:
        """So much more."""
        if much:
            self._rows.append((now, much))

    def reach(self, now: float, total: float) -> None:
        """It is counted since the start, and `total` by now."""
        self.add(now, total - self._total)
        self._total = total

    def sum(self, now: float) -> float:
        """All of the last hour."""
        while self._rows and now - self._rows[0][0] >= self._span:
            self._rows.popleft()
        return sum(much for _, much in self._rows)

    def count(self, now: float) -> int:
        """How often."""
        self.sum(now)
        return len(self._rows)


class Begun(msgspec.Struct, frozen=True, array_like=True):
    """A start of this program."""

    kernel: str  # which run of the kernel; empty: nobody knows
    mono: float  # s
    wall: float  # s, UTC


def starts(home: Path, now: Begun) -> list[Begun]:
    """The starts that are remembered, newest last, this one too. What the disk does not take is forgotten."""
    place = home / STARTS
    try:
        known = msgspec.json.decode(place.read_bytes(), type=list[Begun])
    except (OSError, msgspec.MsgspecError):
        known = []
    known = [*known, now][-KEPT:]
    try:
        place.write_bytes(msgspec.json.encode(known))
    except OSError:
        pass
    return known


def within_a_day(known: Iterable[Begun], now: Begun) -> int:
    """How many of these starts are less than a day ago: by the kernel's own clock, for another run of it by the wall
    clock, and not where that lies ahead: a box without a battery wakes up in the wrong year.

    >>> within_a_day([Begun("a", 10.0, 5e8), Begun("b", 50.0, 1.7e9)], Begun("b", 60.0, 1.7e9 + 10))
    1
    """
    return sum(
        now.mono - one.mono < DAY if now.kernel and one.kernel == now.kernel else 0 <= now.wall - one.wall < DAY
        for one in known
    )
