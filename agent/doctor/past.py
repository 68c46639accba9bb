"""What the journal remembers of the last day: what went and came back, again and again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .. import audit
from .finding import Finding, found

DAY = 86400.0  # s
NEWEST = 2  # segments that are read, of 4 MB each


class Row(NamedTuple):
    """From how many in a day on an event is told, and by which row of the table."""

    least: int
    key: str


TOLD: dict[str, Row] = {  # kind of event
    "device-lost": Row(3, "past device"),
    "line-lost": Row(3, "past line"),
    "link-down": Row(6, "past link"),
    "clock-step": Row(3, "past clock"),
    "crashed": Row(1, "past crash"),
    "degraded": Row(1, "past degraded"),
    "store-corrupt": Row(1, "past store"),
    "certificate-refused": Row(1, "past certificate"),
    "ring-trouble": Row(2, "past ring"),
}


def past(folder: Path, now: float) -> Iterator[Finding]:
    """`now`: s UTC. A journal that is not there, or not for us, says nothing."""
    seen: dict[tuple[str, str], list[str]] = defaultdict(list)
    for segment in audit.segments(folder)[-NEWEST:]:
        try:
            lines = audit.text(segment).split(b"\n")
        except OSError:
            yield found("past unread", str(folder))
            return
        for line in lines:
            record = audit.parse(line)
            event = None if record is None else audit.event(record)
            if event is not None and event.kind in TOLD and 0 <= now - event.at.wall < DAY:
                seen[event.kind, event.source].append(event.text)
    quiet = True
    for (kind, source), texts in sorted(seen.items()):
        row = TOLD[kind]
        if len(texts) >= row.least:
            quiet = False
            yield found(row.key, source, n=len(texts), last=texts[-1][:160])
    try:
        if quiet and folder.is_dir():
            yield found("past quiet", str(folder))
    except OSError:
        yield found("past unread", str(folder))
