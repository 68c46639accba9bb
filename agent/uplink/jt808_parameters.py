"""Parameters of a JT/T 808 terminal: which there are, what they may be, what they are until a platform sets them.

Pure. A parameter is in one of the tables because this terminal obeys it or a part of it; one that is not is refused, so
that no platform believes to have set what changes nothing. Those of T/JSATL12 are blocks of fields; a field with all
bits set stays as it is. Of these blocks the terminal obeys which alarms are wanted, from which speed on, and the speed
that divides the levels; the others are kept and told: what cameras keep, the site file says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .jt808_words import U16, U32, Cursor, Field, Form, Parameter

_FORM = Form()


class Number(NamedTuple):
    """A number and its bounds. The defaults are those of common firmware."""

    name: str
    default: int
    low: int
    high: int
    field: Field = U32


class Part(NamedTuple):
    """A field of a block."""

    name: str
    size: int  # bytes
    default: int = 0
    low: int = 0
    high: int | None = None  # None: whatever fits


NUMBERS: Mapping[int, Number] = {
    0x0001: Number("heartbeat", 60, 1, 3600),  # s
    0x0002: Number("timeout", 10, 1, 300),  # s for an answer
    0x0003: Number("repeats", 3, 0, 10),  # of a message that is not answered
    0x0020: Number("strategy", 2, 0, 2),  # reports by 0 time, 1 distance, 2 both
    0x0021: Number("scheme", 0, 0, 1),  # by 0 ACC, 1 login and ACC; nobody logs in here
    0x0027: Number("period_asleep", 240, 5, 86400),  # s between reports: ACC is off
    0x0028: Number("period_emergency", 10, 1, 3600),  # s
    0x0029: Number("period", 30, 1, 3600),  # s
    0x002C: Number("distance", 500, 10, 100_000),  # m between reports
    0x002E: Number("distance_asleep", 500, 10, 100_000),  # m
    0x002F: Number("distance_emergency", 100, 10, 100_000),  # m
    0x0030: Number("corner", 30, 0, 179),  # degrees of a turn that is reported; 0: none is
    0x0055: Number("speed_limit", 0, 0, 250),  # km/h; 0: none
    0x0056: Number("speed_hold", 10, 0, 3600),  # s above it until it counts
    0x0057: Number("driving_limit", 14400, 0, 86400),  # s of driving without a rest; 0: none
    0x0059: Number("rest", 1200, 60, 86400),  # s that make a rest
    0x005B: Number("speed_soon", 50, 0, 500, U16),  # 0.1 km/h below the limit: a warning
    0x005C: Number("driving_soon", 1800, 0, 14400, U16),  # s before the limit: a warning
}

_GRADED = (("speed", 50, 0, 220), ("film", 5, 0, 60), ("photos", 3, 0, 10))


def _alarm(name: str, gap: int) -> tuple[Part, ...]:
    """Grading speed, km/h; film before and after, s; photos; time between them, 0.1 s at most `gap`."""
    return (
        *(Part(f"{name}_{what}", 1, default, low, high) for what, default, low, high in _GRADED),
        Part(f"{name}_gap", 1, 2, 1, gap),
    )


def _head(enable: int, timed: Part) -> tuple[Part, ...]:
    return (
        Part("enable_speed", 1, 30, 0, 60),  # km/h below which there are no alarms
        Part("volume", 1, 6, 0, 8),
        Part("strategy", 1, 0, 0, 3),  # photos 0 never, 1 by time, 2 by distance, 3 by something else
        timed,
        Part("distance", 2, 200, 0, 60000),  # m
        Part("photos", 1, 3, 1, 10),
        Part("gap", 1, 2, 1, 5),  # 0.1 s
        Part("photo", 1, 1, 1, 6),  # resolution
        Part("video", 1, 1, 1, 7),
        Part("alarms", 4, enable),  # bits: which are wanted, two for each kind, of level 1 and 2
        Part("events", 4, 0x3),
    )


BLOCKS: Mapping[int, tuple[Part, ...]] = {
    0xF364: (
        *_head(0x00010FFF, Part("timed", 2, 60, 0, 3600)),
        Part("reserved_1", 1),
        Part("obstacle_time", 1, 30, 10, 50),  # 0.1 s
        *_alarm("obstacle", 10),
        Part("changes_within", 1, 60, 30, 120),  # s
        Part("changes", 1, 5, 3, 10),
        *_alarm("changes", 10),
        *_alarm("lane", 10),
        Part("forward_time", 1, 27, 10, 50),
        *_alarm("forward", 10),
        Part("pedestrian_time", 1, 30, 10, 50),
        *_alarm("pedestrian", 10),
        Part("headway_time", 1, 10, 10, 50),
        *_alarm("headway", 10),
        Part("sign_photos", 1, 3, 0, 10),
        Part("sign_gap", 1, 2, 1, 10),
        Part("reserved_2", 4),
    ),
    0xF365: (
        *_head(0x000001FF, Part("timed", 2, 3600, 60, 60000)),
        Part("smoking_again", 2, 180, 0, 3600),  # s within which it is the same
        Part("phone_again", 2, 120, 0, 3600),
        Part("reserved_1", 3),
        *_alarm("fatigue", 5),
        *_alarm("phone", 5),
        *_alarm("smoking", 5),
        *_alarm("distraction", 5),
        *_alarm("abnormal", 5),
        Part("identify", 1, 1, 0, 5),
        Part("reserved_2", 2),
    ),
    # verify: the text of F366 was not at hand
    0xF366: (
        Part("tyre", 12, int.from_bytes(b"900R20".ljust(12, b"\0"), "big")),
        Part("unit", 2, 3, 0, 3),
        Part("pressure", 2, 140),
        Part("imbalance", 2, 20, 0, 100),  # %
        Part("leak", 2, 5, 0, 100),
        Part("low", 2, 110),
        Part("high", 2, 189),
        Part("hot", 2, 80),  # degrees Celsius
        Part("battery", 2, 10, 0, 100),  # %
        Part("period", 2, 60, 0, 3600),  # s
        Part("reserved", 6),
    ),
    0xF367: (Part("rear", 1, 1, 1, 10), Part("side", 1, 2, 1, 10)),  # s; verify
}
# Of the alarms of F364 and F365: the part with the grading speed, and the first bit of `alarms`.
GRADES: Mapping[int, Mapping[int, tuple[str, int]]] = {
    0xF364: {
        7: ("obstacle_speed", 0),
        5: ("changes_speed", 2),
        2: ("lane_speed", 4),
        1: ("forward_speed", 6),
        4: ("pedestrian_speed", 8),
        3: ("headway_speed", 10),
    },
    0xF365: {
        1: ("fatigue_speed", 0),
        2: ("phone_speed", 2),
        3: ("smoking_speed", 4),
        4: ("distraction_speed", 6),
        5: ("abnormal_speed", 8),
    },
}
IDS = (*NUMBERS, *BLOCKS)


class Values:
    """The parameters in force: what was set, and the default of the others. `own` are defaults of the site file."""

    def __init__(self, stored: Mapping[int, bytes] | None = None, own: Mapping[str, int] | None = None) -> None:
        self.stored = {id: value for id, value in (stored or {}).items() if id in IDS}  # an older life may have more
        self._own = own or {}

    def number(self, name: str) -> int:
        """One of `NUMBERS`, by name."""
        id = next(id for id, one in NUMBERS.items() if one.name == name)
        if id in self.stored:
            return int.from_bytes(self.stored[id], "big")
        return self._own.get(name, NUMBERS[id].default)

    def block(self, id: int) -> dict[str, int]:
        """The parts of one of `BLOCKS`, by name."""
        data = self.stored.get(id)
        if data is None:
            return {part.name: part.default for part in BLOCKS[id]}
        cursor = Cursor(data, _FORM)
        return {part.name: int.from_bytes(cursor.take(part.size), "big") for part in BLOCKS[id]}

    def tell(self, ids: Iterable[int] = IDS) -> tuple[Parameter, ...]:
        """Those asked for, as they stand; unknown ones are left out."""
        return tuple(Parameter(id, self._value(id)) for id in ids if id in IDS)

    def _value(self, id: int) -> bytes:
        if id in NUMBERS:
            return NUMBERS[id].field.write(self.number(NUMBERS[id].name), _FORM)
        block = self.block(id)
        return b"".join(block[part.name].to_bytes(part.size, "big") for part in BLOCKS[id])

    def changed(self, wanted: Iterable[Parameter]) -> Values:
        """With these set, all or none. Raises `ValueError` in words, `LookupError` where one is not known."""
        stored = dict(self.stored)
        for one in wanted:
            if one.id in NUMBERS:
                number = NUMBERS[one.id]
                size = len(number.field.write(0, _FORM))
                value = int.from_bytes(one.value, "big")
                if len(one.value) != size:
                    raise ValueError(f"{number.name} (0x{one.id:04x}) has {size} bytes, not {len(one.value)}")
                if not number.low <= value <= number.high:
                    raise ValueError(
                        f"{number.name} (0x{one.id:04x}) is {value}, allowed are {number.low} to {number.high}"
                    )
                stored[one.id] = one.value
            elif one.id in BLOCKS:
                stored[one.id] = self._block(one)
            else:
                raise LookupError(f"0x{one.id:04x}")
        return Values(stored, self._own)

    def _block(self, one: Parameter) -> bytes:
        size = sum(part.size for part in BLOCKS[one.id])
        if len(one.value) != size:
            raise ValueError(f"0x{one.id:04x} has {size} bytes, not {len(one.value)}")
        before, cursor, out = self.block(one.id), Cursor(one.value, _FORM), b""
        for part in BLOCKS[one.id]:
            value = int.from_bytes(cursor.take(part.size), "big")
            if value == (1 << 8 * part.size) - 1:
                value = before[part.name]
            if part.high is not None and not part.low <= value <= part.high:
                raise ValueError(f"{part.name} of 0x{one.id:04x} is {value}, allowed are {part.low} to {part.high}")
            out += value.to_bytes(part.size, "big")
        return out

    def grade(self, id: int, type: int, speed: float) -> int:
        """The level of an alarm of F364 or F365 at so many km/h: 1 or 2; 0: it is not wanted at that speed.

        >>> Values().grade(0xF364, 1, 60), Values().grade(0xF364, 1, 40), Values().grade(0xF364, 1, 20)
        (2, 1, 0)
        """
        block = self.block(id)
        if speed < block["enable_speed"]:
            return 0
        name, bit = GRADES[id].get(type, ("", -1))
        if not name:
            return 1 + (speed >= 50)
        level = 1 + (speed >= block[name])
        return level if block["alarms"] >> bit + level - 1 & 1 else 0


def described(wanted: Iterable[Parameter]) -> str:
    """For people.

    >>> described([Parameter(0x0029, bytes([0, 0, 0, 10])), Parameter(0xF367, b"..")])
    'period 10, F367'
    """
    told: list[Any] = []
    for one in wanted:
        number = NUMBERS.get(one.id)
        told.append(f"{number.name} {int.from_bytes(one.value, 'big')}" if number else f"{one.id:04X}")
    return ", ".join(told)


assert [sum(part.size for part in BLOCKS[id]) for id in (0xF364, 0xF365, 0xF367)] == [56, 49, 2]
