"""Recordings: what the core was given, as JSON lines, and read back as an iterator.

A recording is a folder: `site.toml` with the files that it names, `frames.jsonl`, and `alarms.jsonl`
with what the core answered. Replay runs the same core over the same inputs.

    {"start":"case","mono":0,"wall":1.7e9}                                   first line: boot id
    {"frame":"heading","mono":1,"wall":1.7e9,"synced":true,"value":[0.3]}    quality, age, raw where not plain
    {"tick":1,"mono":2,"wall":1.7e9}
    {"ack":"case-1","by":"Li","mono":3,"wall":1.7e9}
    {"action":"shelve","rule":"flood","channel":"sump/level","by":"Li","reason":"...","seconds":3600,"mono":4,"wall":1.7e9}
    {"kept":"case-1","evidence":"case-1.gate sha256:...","mono":4,"wall":1.7e9}
    {"presence":"P017","zone":"hall","by":"gate","mono":5,"wall":1.7e9}      without zone: in none
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct, structs

from .core.alarm import Alarm
from .core.core import Ack, Action, Core, Input, Kept, Tick, Verb
from .core.errors import ConfigFault
from .core.exposure import Presence
from .core.frame import Array, Instant, Layout, Quality, frame

GROWS = ("agent",)  # sources that newer versions give more channels, at the end: what an older one recorded lacks them


class Start(Struct, frozen=True):
    """The core began at `at` under the name `boot`."""

    boot: str
    at: Instant


Byte = Annotated[int, Meta(ge=0, le=255)]


class _Line(Struct, forbid_unknown_fields=True):
    mono: float
    wall: float = 0.0
    synced: bool = False
    start: str | None = None
    frame: str | None = None
    tick: int | None = None
    ack: str | None = None
    action: Verb | None = None
    kept: str | None = None
    evidence: str = ""
    presence: str | None = None
    zone: str | None = None
    rule: str = ""
    channel: str = ""
    by: str = ""
    reason: str = ""
    seconds: float = 0.0
    value: list[float | None] = []
    quality: list[Byte] | Byte = 0
    age: list[float] | float = 0.0
    raw: list[float | None] | None = None


def encode(event: Input | Start) -> bytes:
    """One line, without its end. `decode` gives an equal event back."""
    at: dict[str, Any] = {"mono": event.at.mono, "wall": event.at.wall, "synced": event.at.synced}
    if isinstance(event, Start):
        return msgspec.json.encode({"start": event.boot, **at})
    if isinstance(event, Tick):
        return msgspec.json.encode({"tick": 1, **at})
    if isinstance(event, Ack):
        return msgspec.json.encode({"ack": event.id, "by": event.by, **at})
    if isinstance(event, Kept):
        return msgspec.json.encode({"kept": event.id, "evidence": event.evidence, **at})
    if isinstance(event, Presence):
        zone = {} if event.zone is None else {"zone": event.zone}
        return msgspec.json.encode({"presence": event.person, **zone, "by": event.by, **at})
    if isinstance(event, Action):
        deed = {"action": event.verb, "rule": event.rule, "channel": event.channel, "by": event.by}
        return msgspec.json.encode({**deed, "reason": event.reason, "seconds": event.seconds, **at})
    line: dict[str, Any] = {"frame": event.source, **at, "value": event.value.tolist()}
    if event.quality.any():
        line["quality"] = event.quality.tolist()
    if event.age.any():
        line["age"] = event.age.tolist()
    if not np.array_equal(event.raw, event.value, equal_nan=True):
        line["raw"] = event.raw.tolist()
    return msgspec.json.encode(line)


def decode(line: bytes | str, layouts: Mapping[str, Layout], where: str = "recording") -> Input | Start:
    """The event on one line. Raises `ConfigFault` with `where` if the line does not fit the site."""
    try:
        read = msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:  # the latter for what is not UTF-8
        raise ConfigFault([f"{where}: {error}"]) from None
    at = Instant(read.mono, read.wall, read.synced)
    if read.start is not None:
        return Start(read.start, at)
    if read.ack is not None:
        return Ack(read.ack, read.by, at)
    if read.kept is not None:
        return Kept(read.kept, read.evidence, at)
    if read.action is not None:
        return Action(read.action, read.rule, read.channel, read.by, at, read.reason, read.seconds)
    if read.presence is not None:
        return Presence(read.presence, read.zone, at, read.by)
    source = read.frame
    if source is None:
        return Tick(at)
    known = layouts.get(source)
    if known is None:
        raise ConfigFault([f"{where}: the site has no source `{source}`"])
    if source in GROWS and len(read.value) < len(known):
        read = _grown(read, len(known))
    if len(read.value) != len(known):
        raise ConfigFault([f"{where}: `{source}` has {len(known)} channels, the line has {len(read.value)}"])
    given = (read.value, read.quality, read.age, read.raw)
    if any(isinstance(column, list) and len(column) != len(known) for column in given):
        raise ConfigFault([f"{where}: quality, age and raw must be as long as value ({len(known)})"])
    value = _column(read.value)
    quality: Array | list[int] | int = read.quality
    if isinstance(quality, int):
        quality = np.where(np.isnan(value), np.maximum(quality, Quality.UNCERTAIN), quality)
    return frame(source, at, known, value, quality, read.age, None if read.raw is None else _column(read.raw))


def _grown(line: _Line, n: int) -> _Line:
    """A line of an older version: what it did not measure nobody knows."""
    more = n - len(line.value)

    def column(given: Any, fill: Any) -> Any:
        return [*given, *[fill] * more] if isinstance(given, list) else given

    return structs.replace(
        line,
        value=column(line.value, None),
        quality=column(
            line.quality if isinstance(line.quality, list) else [line.quality] * len(line.value), int(Quality.OFFLINE)
        ),
        age=column(line.age, 0.0),
        raw=column(line.raw, None),
    )


def _column(values: list[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values], float)


def read(path: Path, layouts: Mapping[str, Layout]) -> Iterator[Input | Start]:
    """The events of a recording, in order. Raises `ConfigFault` naming the first line that does not fit."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield decode(line, layouts, f"{path.name}:{number}")


def replay(core: Core, events: Iterable[Input | Start]) -> Iterator[Alarm]:
    """The alarms that `core` gives for `events`. Without a start line the core begins at the first event."""
    memory = None
    for event in events:
        if isinstance(event, Start):
            memory = core.start(event.boot, event.at)
            continue
        if memory is None:
            memory = core.start("replay", event.at)
        memory, verdict = core.step(memory, event)
        yield from verdict.alarms


class Recorder:
    """Writes what the core is given and what it answers into a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._frames = (folder / "frames.jsonl").open("wb")
        self._alarms = (folder / "alarms.jsonl").open("wb")

    def event(self, event: Input | Start) -> None:
        self._frames.write(encode(event) + b"\n")

    def alarms(self, alarms: Iterable[Alarm]) -> None:
        for alarm in alarms:
            self._alarms.write(msgspec.json.encode(alarm) + b"\n")

    def close(self) -> None:
        self._frames.close()
        self._alarms.close()
