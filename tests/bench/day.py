"""A day of a big site through the core, as fast as it goes: `tests/tools/day.py` says what is in it.

No socket, no clock, no disk: what is measured is the judge. The day is lived twice, once with a restart from a
checkpoint in the middle of the event; both must have told the same. `cpu` is of the core alone, ticks included, per
1,000 values judged; `comparing` is one numpy comparison of the same values.

The goal is for the first row. The others have instruments whose wrong samples are 1.5 to 4 times as wrong as healthy
ones: limits of the law on gas have no delay, so that one sample beyond them is an alarm.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from agent.config import Config
from tests.tools import day

CHANNELS, PERIOD, FAST = 10_000, 10.0, 2.0  # s between polls; between those of headings
RESTART = day.BEGIN + 60.0  # s of the day: the cut stands, nobody has acknowledged
FEWER, SLOWER, WORSE = 3000, 60.0, (1.5, 2.0, 4.0)  # channels, s, and how many times as wrong


def measure() -> list[dict[str, Any]]:
    """The day; then shorter ones with instruments that are no longer healthy."""
    with tempfile.TemporaryDirectory() as folder:
        made = day.site(Path(folder), CHANNELS, PERIOD, FAST)
        again = day.live(made, day.Day(made), RESTART)
        rows = [row(made, 1.0, again)]
    with tempfile.TemporaryDirectory() as folder:
        made = day.site(Path(folder), FEWER, SLOWER, SLOWER / 2)
        return rows + [row(made, outliers) for outliers in WORSE]


def row(made: Config, outliers: float, again: day.Diary | None = None) -> dict[str, Any]:
    lived = day.Day(made, outliers=outliers)
    diary = day.live(made, lived)
    found = day.find(made, lived, diary)
    same = again is not None and day.digest(diary.alarms) == day.digest(again.alarms)
    return {
        "channels": lived.channels,
        "period s": lived.period,
        "outliers x": outliers,
        "red": found.raised["red"],
        "orange": found.raised["orange"],
        "yellow": found.raised["yellow"],
        "false red": len(found.false_red),
        "false others": sum(found.others.values()),
        "silences told": "{} of {}".format(*found.silences),
        "faults told": "{} of {}".format(*found.faults),
        "event to order s": found.delay,
        "bound s": found.bound,
        "cpu s": diary.cpu,
        "cpu ms/1000": 1e6 * diary.cpu / diary.values,
        "x comparing": diary.cpu / diary.floor,
        "replay": "" if again is None else "identical" if same else "DIFFERS",
    }
