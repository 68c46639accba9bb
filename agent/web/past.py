"""What the journal says of alarms, newest first, and how it stands. Everything here blocks, and ends soon.

Only what is asked for is decoded: a record that does not hold the words that are looked for is passed over as bytes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from .. import audit
from ..core.alarm import Alarm

PATIENCE = 1.5  # s that a look may take
SHOWN = 100  # edges at once


class Wish(NamedTuple):
    """Which edges; empty or 0: all."""

    level: str = ""
    event: str = ""
    words: str = ""  # in channel, rule, text or the name of a person
    id: str = ""  # of the alarm
    begin: float = 0.0  # wall s
    end: float = 0.0
    before: int = 0  # number of a record: only older ones


class Found(NamedTuple):
    edges: list[tuple[int, Alarm]]  # number of the record, edge; newest first
    looked: int  # records
    more: int  # number of the record to go on before; 0: there is nothing older


class _Told(msgspec.Struct):
    alarm: Alarm


def edges(folder: Path, wish: Wish, most: int = SHOWN, patience: float = PATIENCE) -> Found:
    """Edges of alarms, newest first. Raises `OSError`."""
    end = time.monotonic() + patience
    found: list[tuple[int, Alarm]] = []
    looked, last = 0, 0
    needles = [f'"{wish.level}"'.encode() if wish.level else b"", wish.id.encode()]
    needles += [f'"event":"{wish.event}"'.encode()] if wish.event else []
    for path in reversed(audit.segments(folder)):
        for line in reversed(audit.text(path).split(b"\n")):
            looked += 1
            if b'\t{"kind":"alarm"' not in line or not all(needle in line for needle in needles):
                continue
            record = audit.parse(line)
            if record is None or (wish.before and record.n >= wish.before):
                continue
            last = record.n
            try:
                alarm = msgspec.json.decode(record.body, type=_Told).alarm
            except msgspec.DecodeError:
                continue  # not of this version
            if alarm.at.synced and alarm.at.wall < wish.begin:  # another clock may have woken up in the wrong year
                return Found(found, looked, 0)
            if fits(alarm, wish):
                found.append((record.n, alarm))
            if len(found) >= most or time.monotonic() > end:
                return Found(found, looked, last)
    return Found(found, looked, 0)


def fits(alarm: Alarm, wish: Wish) -> bool:
    """Whether it is one of those that were asked for."""
    words = f"{alarm.channel} {alarm.rule} {alarm.text} {alarm.by} {alarm.reason}".casefold()
    return (
        (not wish.level or alarm.level == wish.level)
        and (not wish.event or alarm.event == wish.event)
        and (not wish.id or alarm.id == wish.id)
        and alarm.at.wall >= wish.begin
        and (not wish.end or alarm.at.wall <= wish.end)
        and wish.words.casefold() in words
    )


class Stand(NamedTuple):
    """How the journal lies on the disk."""

    segments: int
    bytes: int


def stand(folder: Path) -> Stand:
    """Raises `OSError`."""
    sizes = [path.stat().st_size for path in audit.segments(folder)]
    return Stand(len(sizes), sum(sizes))
