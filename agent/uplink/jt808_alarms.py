"""What an alarm of a rule is in JT/T 808: bits of a location, items of T/JSATL12, marks. Pure.

A table says it, `[[uplink.alarm]]`: the first row that fits an alarm counts, and an alarm that no row names is not told
to this platform. An alarm begins with its raise and ends when it is not annunciated any more; what people do with it in
between has no words here.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta, Struct

from agent.core.alarm import Alarm

from .jt808_parameters import Values
from .jt808_track import Channel, Track, location, speed_of, state_bits
from .jt808_words import (
    ADAS_TYPES,
    ALARMS,
    BLIND_TYPES,
    DIALECTS,
    HARSH_TYPES,
    ITEM_IDS,
    TYRE_BITS,
    Adas,
    Blind,
    Driver,
    Harsh,
    Item,
    Mark,
    Scene,
    Tyre,
    Wheel,
)

BEGINS, ENDS, MOMENT = 1, 2, 0  # flags of an item


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What alarms of some rules are called here."""

    rule: str  # name, wildcards allowed
    channel: str = "*"  # `source/key` that it is about, wildcards allowed
    bit: str = ""  # alarm bit of locations, while it stands
    item: Literal["", "adas", "driver", "tyre", "blind", "harsh"] = ""  # of T/JSATL12
    type: str | int = ""  # of that item, by its name or number; of tyres the bit
    level: Annotated[int, Meta(ge=0, le=2)] = 0  # of the item; 0: by the speed, after F364 and F365
    moment: bool = False  # it has no end to tell: a snapshot, say
    score: Channel = ""  # how tired the driver is
    full: Annotated[float, Meta(gt=0)] = 1.0  # of the score: then the degree is 10
    deviation: Annotated[int, Meta(ge=0, le=2)] = 0  # of a lane: 1 left, 2 right
    ahead: Channel = ""  # km/h, of the vehicle ahead
    wheel: Annotated[int, Meta(ge=0, le=255)] = 0  # position, from the left front in zigzag
    pressure: Channel = ""  # kPa, of that tyre
    temperature: Channel = ""  # degrees Celsius
    battery: Channel = ""  # %
    files: Annotated[int, Meta(ge=0, le=255)] = 0  # that there will be; 0: the platform asks for none

    def __post_init__(self) -> None:
        if self.bit and self.bit not in ALARMS:
            raise ValueError(f"no alarm bit is called {self.bit!r}; known are {', '.join(ALARMS)}")
        if bool(self.item) != (self.type != ""):
            raise ValueError("item and type go together")
        if not self.item and not self.bit:
            raise ValueError("bit or item must say what it is")

    def channels(self) -> dict[str, Channel]:
        """Those whose values the item takes, by what they are called in a track."""
        named = {"score": self.score, "ahead": self.ahead, "pressure": self.pressure, "temperature": self.temperature,
                 "battery": self.battery}  # fmt: skip
        return {f"row:{channel}": channel for channel in named.values() if channel}


def types(item: str, dialect: str) -> Mapping[str, int]:
    """Names of types."""
    return {
        "adas": ADAS_TYPES,
        "driver": DIALECTS[dialect].driver,
        "blind": BLIND_TYPES,
        "harsh": HARSH_TYPES,
        "tyre": TYRE_BITS,
    }[item]


def number_of_type(row: Row, dialect: str) -> int:
    """Raises `ValueError` in words where the dialect has no such type."""
    if isinstance(row.type, int):
        return row.type
    known = types(row.item, dialect)
    if row.type not in known:
        raise ValueError(f"{row.item} of {dialect} has no type {row.type!r}; known are {', '.join(known)}, or a number")
    return known[row.type]


def row_of(rows: Iterable[Row], alarm: Alarm) -> Row | None:
    """The first that fits; a drill is none here."""
    if alarm.drill:
        return None
    fits = (row for row in rows if fnmatchcase(alarm.rule, row.rule) and fnmatchcase(alarm.channel, row.channel))
    return next(fits, None)


def flag_of(alarm: Alarm) -> int | None:
    """Whether this edge begins or ends it; None: neither."""
    if alarm.event == "raised":
        return BEGINS
    return ENDS if alarm.event in ("cleared", "shelved", "suppressed", "taken-out", "reset") else None


def number_of(id: str) -> int:
    """A number for an alarm, the same for all its edges, and growing with every one.

    >>> number_of("000003-ab12-7") == (3 << 20) + 7
    True
    """
    boot, _, serial = id.rpartition("-")
    count = boot.partition("-")[0]
    if serial.isdigit() and count.isdigit():
        return (int(count) << 20) + int(serial) & 0xFFFFFFFF
    return zlib.crc32(id.encode())


class Occasion(NamedTuple):
    """One edge of an alarm, with all that its item needs."""

    alarm: Alarm
    row: Row
    flag: int
    track: Track  # as it was then
    mark: Mark


def item(one: Occasion, values: Values, dialect: str) -> Item | None:
    """The item of T/JSATL12; None where the row names none, or the parameters do not want it."""
    row, track = one.row, one.track
    if not row.item:
        return None
    type, speed = number_of_type(row, dialect), speed_of(track)
    flag = MOMENT if row.moment else one.flag
    here = location(track, one.alarm.at.wall, 0)
    scene = Scene(
        round(min(255.0, speed)), here.altitude, here.latitude, here.longitude, here.time, state_bits(track), one.mark
    )
    number = number_of(one.alarm.id)

    def value(channel: Channel) -> float:
        found, _ = track.values.get(f"row:{channel}", (math.nan, 0.0))
        return 0.0 if math.isnan(found) else found

    body: Any
    if row.item in ("adas", "driver"):
        block = 0xF364 if row.item == "adas" else 0xF365
        level = row.level or values.grade(block, type, speed)
        if not level:
            return None
        if row.item == "adas":
            seconds = one.alarm.value if one.alarm.unit == "s" and one.alarm.value is not None else 0.0
            distance = round(min(10.0, max(0.0, seconds)) * 10)
            body = Adas(number, flag, type, level, round(value(row.ahead)), distance, row.deviation, 0, 0, scene)
        else:
            degree = math.ceil(10 * value(row.score) / row.full - 1e-9) if row.score else 0
            body = Driver(number, flag, type, level, min(10, max(0, degree)), bytes(4), scene)
    elif row.item == "tyre":
        read = [round(value(channel)) for channel in (row.pressure, row.temperature, row.battery)]
        body = Tyre(number, flag, scene, (Wheel(row.wheel, 1 << type, *read),))
    elif row.item == "blind":
        body = Blind(number, flag, type, scene)
    else:
        body = Harsh(number, flag, type, 0, round(abs(one.alarm.limit or 0.0)), 0, scene)
    return Item(ITEM_IDS[body.__class__], body)


def bits(row: Row, flag: int) -> int:
    """The alarm bit that a row sets while it stands."""
    return 1 << ALARMS[row.bit] if row.bit and flag == BEGINS else 0
