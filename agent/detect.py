"""A file through the detectors, row by row, as the daemon would have seen it: what `vedette detect` does.

In:  CSV with a header; the first column is the time, every other one a channel. Times are ISO 8601, or seconds (a row
     number counts as one). Steps may differ, rows may be missing, cells may be empty.
Out: CSV with a row for each row: `timestamp,score,alarm`; the score is that of the strangest channel in decades, empty
     while all of them learn; the alarm is 1 while one is told.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import IO, NamedTuple

import numpy as np

from .core import words
from .core.frame import Array, Frame, Instant, layout
from .core.ports import Detector

ABSENT = frozenset({-9999.0, -99999.0, -7999.0, 7999.0})  # what loggers write for nothing: USGS and hydrology, Campbell
FORMATS = ("%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M")
BARS = " ▁▂▃▄▅▆▇█"


class Row(NamedTuple):
    """One row of the file."""

    stamp: str  # as it stands there
    at: float  # s
    value: Array  # (n,) NaN where nothing usable stands


class Judged(NamedTuple):
    """What the detectors say of it."""

    row: Row
    score: float  # decades, NaN while all learn
    told: bool
    because: tuple[str, ...]  # where it begins to be told: why


def seconds(text: str) -> float:
    """A time in s. Raises `ValueError` in words.

    >>> seconds("1970-01-02"), seconds("1970-01-01T00:01:00Z"), seconds("17")
    (86400.0, 60.0, 17.0)
    """
    text = text.strip()
    try:
        return float(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        for known in FORMATS:
            try:
                found = datetime.strptime(text, known)  # noqa: DTZ007
                break
            except ValueError:
                continue
        else:
            raise ValueError(f"`{text}` is no time; write it like 2026-05-31 13:45:00, or in seconds") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def number(text: str) -> float:
    """What stands in a cell; NaN where it is nothing that can be used.

    >>> number(" 1.5"), number(""), number("-9999")
    (1.5, nan, nan)
    """
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) and value not in ABSENT else math.nan


def rows(name: str, lines: Iterable[str]) -> tuple[list[str], Iterator[Row]]:
    """The channels of a file, and its rows as they come. Raises `ValueError` with the line where it is no such file;
    the rows raise it while they are read."""
    reader = csv.reader(lines, skipinitialspace=True)
    head = next(reader, [])
    if len(head) < 2:
        raise ValueError(f"{name}:1: a header with a time and at least one channel is wanted, separated by commas")
    keys = [key.strip().lstrip("\ufeff") or f"column{i}" for i, key in enumerate(head[1:], 2)]
    if len(set(keys)) != len(keys):
        raise ValueError(f"{name}:1: two channels have one name; give each its own")

    def read() -> Iterator[Row]:
        before = -math.inf
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(head):
                text = f"{len(cells)} cells where the header has {len(head)}"
                raise ValueError(f"{name}:{reader.line_num}: {text}")
            try:
                before = max(before, seconds(cells[0]))  # a clock that is set back counts as standing
            except ValueError as error:
                raise ValueError(f"{name}:{reader.line_num}: {error}") from None
            yield Row(cells[0], before, np.array([number(cell) for cell in cells[1:]]))

    return keys, read()


def judged(one: Detector, keys: Sequence[str], found: Iterable[Row], wanted: Sequence[str] = ()) -> Iterator[Judged]:
    """Every row judged by what was seen up to it, by a detector of what is strange (`models.strange`).

    Of several channels only `wanted` are told, where any are named.
    """
    seen = layout(keys, stale=math.inf)
    names = [key.removesuffix(f".{one.name}") for key, _ in one.columns(seen)]
    picked = np.array([not wanted or key in wanted for key in names])
    memory, fine = one.start(seen), np.zeros(len(keys), np.uint8)
    was = np.zeros(len(names), bool)
    for row in found:
        frame = Frame("file", Instant(row.at, row.at), seen, row.value, row.value, fine, np.zeros(len(keys)))
        memory, value, _ = one.step(memory, frame)
        value = np.where(picked, value, np.nan)
        told = value >= 0
        because: tuple[str, ...] = ()
        for column in np.flatnonzero(told & ~was):
            first, *more = (words.why("en", name, facts) for name, facts in one.why(memory, seen, int(column)))
            because += (f"{names[column]}: {first}", *more)
        was = told
        yield Judged(row, math.nan if np.isnan(value).all() else float(np.nanmax(value)), bool(told.any()), because)


def write(out: IO[str], found: Iterable[Judged]) -> Iterator[Judged]:
    """The rows of the answer, written as they are judged; each is handed on."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["timestamp", "score", "alarm"])
    for one in found:
        writer.writerow([one.row.stamp, "" if math.isnan(one.score) else f"{one.score:.4f}", int(one.told)])
        yield one


def plot(keys: Sequence[str], found: Sequence[Judged], width: int = 100) -> list[str]:
    """Series, score and alarms as lines of text, `width` columns of equally many rows each."""
    if not found:
        return []
    edges = np.linspace(0, len(found), min(width, len(found)) + 1).astype(int)
    parts = [found[a:b] for a, b in pairwise(edges)]
    label = max(len("alarm"), *map(len, keys)) + 1

    def line(name: str, values: Sequence[float]) -> str:
        known = np.array([v for v in values if not math.isnan(v)])
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        steps = [
            0 if math.isnan(v) else 1 + round((len(BARS) - 2) * (v - low) / (high - low) if high > low else 0)
            for v in values
        ]
        return f"{name:{label}} {''.join(BARS[step] for step in steps)}  {low:.4g} to {high:.4g}"

    def mean(values: Iterable[float]) -> float:
        known = [v for v in values if not math.isnan(v)]
        return sum(known) / len(known) if known else math.nan

    lines = [line(key, [mean(float(j.row.value[i]) for j in part) for part in parts]) for i, key in enumerate(keys)]
    lines.append(line("score", [max((j.score for j in p if not math.isnan(j.score)), default=math.nan) for p in parts]))
    lines.append(f"{'alarm':{label}} {''.join('^' if any(j.told for j in part) else ' ' for part in parts)}")
    lines.append(f"{'':{label}} {found[0].row.stamp} to {found[-1].row.stamp}")
    return lines
