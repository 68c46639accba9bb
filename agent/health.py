"""The agent as a source: its lateness, queues, losses, disk and memory are channels that rules can watch."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from .core.alarm import Level
from .core.frame import Frame, Instant, Layout, frame, layout
from .core.ports import Lane
from .core.rules import AnyRule, High, Low
from .core.words import AGENT, Language

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
)


class Vitals(NamedTuple):
    """What the shell knows of itself; the first channels of the layout, in their order."""

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


# What is wrong with the agent while a channel of it counts one or more: rule, channel, level, s that it must last.
_COUNTED: tuple[tuple[str, str, Level, float], ...] = (
    ("orders", "orders_unmet", "red", 10.0),
    ("dropped", "dropped", "orange", 0.0),
    ("store", "store_trouble", "orange", 0.0),
    ("quarantine", "store_quarantined", "orange", 0.0),
    ("evidence", "evidence_trouble", "orange", 0.0),
    ("degraded", "degraded", "orange", 0.0),
    ("uplink", "uplinks_down", "yellow", 120.0),
    ("clock-back", "clock_back", "yellow", 0.0),
    ("flood", "alarms_flood", "blue", 0.0),
    ("chattering", "alarms_chattering", "blue", 60.0),
)


def rules(language: Language) -> tuple[AnyRule, ...]:
    """What every agent watches of itself; the sentences are those of `words.AGENT`."""
    texts = AGENT[language]
    return (
        High(name="agent.late", channel=["agent/loop_lag"], limit=1.0, level="yellow", clear_delay=60.0),
        Low(name="agent.disk", channel=["agent/disk_free"], limit=5.0, restore=8.0, level="orange"),
        *(
            High(
                name=f"agent.{name}",
                channel=[f"agent/{channel}"],
                limit=1.0,
                level=level,
                text=texts[name],
                advice=texts["advice"],
                delay=delay,
            )
            for name, channel, level, delay in _COUNTED
        ),
    )


class Health:
    """Measures the process that it runs in. Nothing is kept but where the disk is."""

    SOURCE: ClassVar[str] = "agent"
    PERIOD: ClassVar[float] = 5.0  # s
    LAYOUT: ClassVar[Layout] = layout(
        [c[0] for c in _CHANNELS], [c[1] for c in _CHANNELS], stale=30.0, deadband=[c[2] for c in _CHANNELS]
    )

    def __init__(self, disk: str) -> None:
        self._disk = disk

    def frame(self, at: Instant, vitals: Vitals, depth: Mapping[Lane, int]) -> Frame:
        """One frame of the agent's own health."""
        values = (
            *vitals,
            depth.get("alarm", 0),
            depth.get("event", 0),
            depth.get("telemetry", 0) + depth.get("backfill", 0),
            self._disk_free(),
            resident_mb(),
            _descriptors(),
            float(at.synced),
        )
        return frame(self.SOURCE, at, self.LAYOUT, np.array(values, float))

    def _disk_free(self) -> float:
        try:
            stat = os.statvfs(self._disk)
        except OSError:
            return float("nan")
        return 100.0 * stat.f_bavail / stat.f_blocks if stat.f_blocks else float("nan")


def resident_mb() -> float:
    """Resident memory of this process in MB (proc(5) statm, pages)."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return float("nan")


def _descriptors() -> float:
    try:
        return float(len(os.listdir("/proc/self/fd")))
    except OSError:
        return float("nan")
