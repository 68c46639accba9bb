"""What files a mine sends and what stands in their columns, read from a table in TOML. Pure, but for reading the table.

`configs/minefiles` has the tables that ship. A site names one of them or a file of its own, and may lay changes over
it. What a column may say are the words of `WORDS`; which codes, names and cadences a province wants is all data.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from agent.core.alarm import Alarm, Level
from agent.core.frame import Quality

SHIPPED = Path(__file__).parent.parent.parent / "configs" / "minefiles"

Sort = Literal["text", "number", "count", "time"]

HEAD: dict[str, Sort] = {
    "mine": "text",  # code of the mine
    "mine_name": "text",
    "system_model": "text",
    "system_name": "text",
    "maker": "text",
    "mark_expiry": "text",  # of the safety mark
    "time": "time",  # of the data
}
POINT: dict[str, Sort] = {
    "code": "text", "system": "text", "station": "text", "type": "text", "type_name": "text", "value_type": "text",
    "unit": "text", "range_high": "number", "range_low": "number", "alarm_high": "number",
    "alarm_high_clear": "number", "alarm_low": "number", "alarm_low_clear": "number", "cut_high": "number",
    "cut_high_restore": "number", "cut_low": "number", "cut_low_restore": "number", "on": "text", "off": "text",
    "place": "text", "x": "text", "y": "text", "z": "text", "related": "text",
}  # fmt: skip
REAL: dict[str, Sort] = {
    "value": "number",  # of a switch its text
    "state": "count",  # bits
    "read": "time",  # when the value was read
}
MEANS: dict[str, Sort] = {
    "max": "number", "max_time": "time", "min": "number", "min_time": "time", "mean": "number",
    "begin": "time",  # of the period
}  # fmt: skip
ABNORMAL: dict[str, Sort] = {
    "abnormal": "text",  # code of the type
    "start": "time",
    "end": "time",  # empty while it stands
    "cause": "text", "measures": "text", "recorder": "text",
}  # fmt: skip
STATION: dict[str, Sort] = {"station": "text", "station_name": "text", "place": "text", "state": "count"}

About = Literal["points", "abnormal", "stations"]
WORDS: dict[About, dict[str, Sort]] = {
    "points": HEAD | POINT | REAL | MEANS,
    "abnormal": HEAD | POINT | ABNORMAL | MEANS,
    "stations": HEAD | STATION,
}


class Column(Struct, frozen=True, forbid_unknown_fields=True):
    """One column, where its word alone does not say enough."""

    of: str = ""  # a word; empty: `text`
    text: str = ""  # that stands there always
    digits: int | None = None  # behind the point; else as the point says
    empty: str = ""  # where there is nothing to say
    form: str = ""  # of a time
    map: dict[str, str] = {}  # of what would stand there, to what does


def column(one: str | Column) -> Column:
    return Column(one) if isinstance(one, str) else one


class Kind(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of file."""

    about: About
    every: Annotated[int, Meta(ge=0, le=3600)] = 0  # s; 0: not by time
    daily: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^$")] = (
        ""  # local time from which it is due each day
    )
    on_change: bool = False  # when what stands in it changed, but for times
    at_once: bool = False  # of `abnormal`: what begins or ends does not wait
    late: bool = True  # what waited while the link was down is written afterwards
    empty: bool = True  # a file without a record is written too
    values: tuple[str, ...] = ()  # value types of its points; empty: all
    header: tuple[str | Column, ...]
    columns: tuple[str | Column, ...]

    def __post_init__(self) -> None:
        if bool(self.every) == bool(self.daily or self.on_change):
            raise ValueError("a file is due every so many seconds, or daily and on_change")
        if self.at_once and self.about != "abnormal":
            raise ValueError("at_once goes with about = 'abnormal'")
        if self.about == "abnormal" and not self.every:
            raise ValueError("about = 'abnormal' needs every")
        for where, columns, known in (("header", self.header, HEAD), ("columns", self.columns, WORDS[self.about])):
            for one in map(column, columns):
                if one.of and one.of not in known:
                    raise ValueError(f"{where}: no word `{one.of}` here; known are {', '.join(known)}")


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What alarms of some rules are."""

    rule: str  # name, wildcards allowed
    channel: str = "*"  # `source/key`, wildcards allowed
    levels: tuple[Level, ...] = ()  # empty: all
    type: str  # of [abnormal]; empty: it is not told


QualityName = Literal["good", "uncertain", "over-range", "calibrating", "stale", "fault", "offline"]
NAMES: dict[int, QualityName] = {
    Quality.GOOD: "good", Quality.UNCERTAIN: "uncertain", Quality.OVER_RANGE: "over-range",
    Quality.CALIBRATING: "calibrating", Quality.STALE: "stale", Quality.FAULT: "fault", Quality.OFFLINE: "offline",
}  # fmt: skip
QUALITIES: dict[QualityName, int] = {name: quality for quality, name in NAMES.items()}


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dialect."""

    encoding: str = "utf-8"
    extension: str = "txt"
    name: str = "{mine}_{kind}_{time}.{extension}"
    separator: str = ";"
    record: str = "~"
    end: str = "||"
    newline: str = ""
    time: str = "%Y-%m-%d %H:%M:%S"
    stamp: str = "%Y%m%d%H%M%S"
    zone: Annotated[float, Meta(ge=-12, le=14)] = 8.0  # h
    round: Annotated[int, Meta(ge=1, le=60)] = 1  # s
    state: dict[str, int] = {}
    quality: dict[QualityName, str] = {}
    abnormal: dict[str, str] = {}
    state_by_abnormal: dict[str, str] = {}
    abnormal_by_quality: dict[QualityName, str] = {}
    types: dict[str, str] = {}
    units: dict[str, str] = {}
    alarm: tuple[Row, ...] = ()
    file: dict[str, Kind]

    def __post_init__(self) -> None:
        faults = []
        for quality, word in self.quality.items():
            if word not in self.state:
                faults.append(f"quality.{quality}: [state] has no `{word}`")
        for what, word in self.state_by_abnormal.items():
            if what not in self.abnormal or word not in self.state:
                faults.append(f"state_by_abnormal.{what}: [abnormal] has no `{what}`, or [state] no `{word}`")
        for quality, word in self.abnormal_by_quality.items():
            if word not in self.abnormal:
                faults.append(f"abnormal_by_quality.{quality}: [abnormal] has no `{word}`")
        faults += [
            f"alarm of rule `{row.rule}`: [abnormal] has no `{row.type}`"
            for row in self.alarm
            if row.type and row.type not in self.abnormal
        ]
        try:
            "".encode(self.encoding)
        except LookupError:
            faults.append(f"encoding: Python knows no `{self.encoding}`")
        try:
            if "/" in self.name.format(mine="", kind="", time="", extension=""):
                faults.append("name: it is a name, without a folder")
        except (LookupError, ValueError):
            faults.append("name: only {mine}, {kind}, {time} and {extension} may stand in it")
        for kind, one in self.file.items():
            if one.every % self.round:
                faults.append(f"file.{kind}: every = {one.every} is no multiple of round = {self.round}")
            if one.about == "abnormal" and one.every == self.round:
                faults.append(f"file.{kind}: every must be more than round: what is told at once has a time in between")
            if one.every and 86400 % one.every:
                faults.append(f"file.{kind}: every = {one.every} does not divide a day")
            if "/" in kind or not kind:
                faults.append(f"file.{kind}: that is no name of a kind")
        if faults:
            raise ValueError("; ".join(faults))

    def moment(self, wall: float, form: str = "") -> str:
        """A time in the table's zone; empty where there is none."""
        if not math.isfinite(wall):
            return ""
        return (datetime.fromtimestamp(wall, UTC) + timedelta(hours=self.zone)).strftime(form or self.time)

    def day(self, wall: float) -> str:
        """The day there, and how late it is: `2026-11-28 08:41`."""
        return self.moment(wall, "%Y-%m-%d %H:%M")

    def file_name(self, mine: str, kind: str, wall: float) -> str:
        return self.name.format(mine=mine, kind=kind, time=self.moment(wall, self.stamp), extension=self.extension)

    def type_of(self, alarm: Alarm, own: Iterable[Row] = ()) -> str:
        """What an alarm is here, a key of `abnormal`; empty: it is not told. A drill is none."""
        if alarm.drill:
            return ""
        for row in (*own, *self.alarm):
            fits = fnmatchcase(alarm.rule, row.rule) and fnmatchcase(alarm.channel, row.channel)
            if fits and (not row.levels or alarm.level in row.levels):
                return row.type
        return ""

    def state_of(self, quality: int, stands: Iterable[str]) -> int:
        """The bits of a quality, and of what stands."""
        words = {self.quality.get(NAMES[quality], ""), *(self.state_by_abnormal.get(what, "") for what in stands)}
        return sum({self.state[word] for word in words if word})

    def odd(self) -> dict[int, str]:
        """The qualities that are abnormal by themselves, and as what."""
        return {int(QUALITIES[name]): word for name, word in self.abnormal_by_quality.items()}


def laid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A table with another laid over it; tables in it likewise, anything else is replaced.

    >>> laid({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 4}})
    {'a': 1, 'b': {'c': 2, 'd': 4}}
    """
    whole = dict(below)
    for key, value in above.items():
        under = whole.get(key)
        whole[key] = laid(under, value) if isinstance(under, dict) and isinstance(value, Mapping) else value
    return whole


def _raw(name: str, above: Collection[str]) -> dict[str, Any]:
    """A table as it stands in its file, laid over the one that it names as its base."""
    path = SHIPPED / f"{name}.toml" if "/" not in name and not name.endswith(".toml") else Path(name)
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(one.stem for one in SHIPPED.glob("*.toml")))
        raise ValueError(f"no table is called `{name}`; {known} ship, or give the path of your own") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"table {name}: {error}") from None
    base = raw.pop("base", "")
    if base and (not isinstance(base, str) or base in above):
        raise ValueError(f"table {name}: base = {base!r} is not a table below it")
    return laid(_raw(base, {*above, name}), raw) if base else raw


def load(name: str, change: Mapping[str, Any]) -> Table:
    """The table of that name or path, with changes laid over it. Raises `ValueError` in words."""
    raw = laid(_raw(name, {name}), change)
    try:
        return msgspec.convert(raw, Table)
    except msgspec.ValidationError as error:
        raise ValueError(f"table {name}: {error}") from None


# -- what stands in a file --------------------------------------------------------------------------

Told = Mapping[str, Any]  # word -> text, number or s UTC; what is missing is empty


def text_of(table: Table, one: Column, sort: Sort, told: Told) -> str:
    """One column, never with a separator in it."""
    value = told.get(one.of) if one.of else one.text
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        text = ""
    elif isinstance(value, str):  # also what stands for a number: the text of a switch
        text = value
    elif sort == "time":
        text = table.moment(float(value), one.form)
    elif sort == "number":
        text = f"{value:.{told.get('digits', 2) if one.digits is None else one.digits}f}"
    else:
        text = str(value)
    text = one.map.get(text, text) or one.empty
    for mark in (table.separator, table.record, table.end, "\r", "\n"):
        if mark:
            text = text.replace(mark, " ")
    return text


def written(table: Table, kind: Kind, head: Told, rows: Iterable[Told]) -> bytes:
    """A whole file."""

    def record(columns: Iterable[str | Column], sorts: Mapping[str, Sort], told: Told) -> str:
        texts = [text_of(table, one, sorts.get(one.of, "text"), told) for one in map(column, columns)]
        return table.separator.join(texts) + table.record + table.newline

    lines = [record(kind.header, HEAD, head)] if kind.header else []
    lines += [record(kind.columns, WORDS[kind.about], {**head, **row}) for row in rows]
    return ("".join(lines) + table.end).encode(table.encoding, "replace")
