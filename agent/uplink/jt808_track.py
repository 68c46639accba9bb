"""From columns to locations: where the vehicle was, what stood, and when that is worth a report. Pure.

A `Track` is a value: `follow` takes one and a batch, and gives the next one and the reports that came due within it. So
live telemetry and what a blind area left behind go through the same rules, and where a connection breaks the track is
put back to where it stood.

A report comes due by time or distance, sooner with an emergency, later asleep (ACC is off); on a turn; and when an
alarm bit rises or ACC changes. Beside what channels say it reckons over-speed and how long somebody has driven without
a rest, each with its warning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from agent.core.frame import BLIND
from agent.core.ports import Batch

from .jt808_parameters import Values
from .jt808_words import ALARMS, STATES, STATUSES, Item, Location, stamp

EARTH = 6_371_000.0  # m
STALE = 130.0  # s after which a value that nobody repeated is not known any more: the store repeats each 60 s
ROLLING = 3.0  # km/h above which it drives; below, GNSS says anything. project
TURNING = 10.0  # km/h above which the course is one. project
HOLE = 600.0  # s without a word, above which nobody knows what was: they count for nothing

Channel = str  # `source/key`, empty: there is none


class Channels(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which channels say what. All but those of GNSS may be missing."""

    gnss: str = (
        "gnss"  # source of `drivers/gnss.py`: gives latitude, longitude, altitude, speed, course, satellites, fix
    )
    speed: Channel = ""  # km/h; empty: that of GNSS
    acc: Channel = ""  # the ignition is on; empty: always
    emergency: Channel = ""  # the button; 1 while it is pressed
    left: Channel = ""  # turn signal
    right: Channel = ""
    wiper: Channel = ""
    brake: Channel = ""
    mileage: Channel = ""  # km
    fuel: Channel = ""  # L
    recorder: Channel = ""  # km/h, of the driving recorder
    rssi: Channel = ""  # strength of the network, 0 to 99
    alarms: dict[str, Channel] = {}  # alarm bits that a channel sets at 0.5 and above: under-voltage = "vehicle/low"
    status: dict[str, Channel] = {}  # the same for status bits: locked = "vehicle/locked"

    def __post_init__(self) -> None:
        for what, names, known in (("alarms", self.alarms, ALARMS), ("status", self.status, STATUSES)):
            for name in names:
                if name not in known:
                    raise ValueError(f"{what}: no bit is called {name!r}; known are {', '.join(known)}")

    def named(self) -> dict[str, Channel]:
        """Every channel by what it says."""
        of_gnss = {name: f"{self.gnss}/{name}" for name in GNSS} if self.gnss else {}
        own = {name: getattr(self, name) for name in PLAIN if getattr(self, name)}
        return (
            of_gnss
            | own
            | {f"alarm:{name}": channel for name, channel in self.alarms.items()}
            | {f"status:{name}": channel for name, channel in self.status.items()}
        )


GNSS = ("latitude", "longitude", "altitude", "speed", "course", "satellites", "fix", "systems")
PLAIN = ("speed", "acc", "emergency", "left", "right", "wiper", "brake", "mileage", "fuel", "recorder", "rssi")


class Rules(NamedTuple):
    """When a report is due, and when somebody drives too fast or too long; s, m, km/h."""

    period: float
    period_asleep: float
    period_emergency: float
    distance: float
    distance_asleep: float
    distance_emergency: float
    strategy: int
    corner: float
    speed_limit: float
    speed_hold: float
    speed_soon: float
    driving_limit: float
    driving_soon: float
    rest: float


def rules(values: Values, follow: float = 0.0) -> Rules:
    """Of the parameters; `follow`: report every so many s, whatever they say; 0: as they say."""
    number = values.number
    most = follow or math.inf
    return Rules(
        period=min(most, number("period")),
        period_asleep=min(most, number("period_asleep")),
        period_emergency=min(most, number("period_emergency")),
        distance=number("distance"),
        distance_asleep=number("distance_asleep"),
        distance_emergency=number("distance_emergency"),
        strategy=0 if follow else number("strategy"),
        corner=number("corner"),
        speed_limit=number("speed_limit"),
        speed_hold=number("speed_hold"),
        speed_soon=number("speed_soon") / 10,
        driving_limit=number("driving_limit"),
        driving_soon=number("driving_soon"),
        rest=number("rest"),
    )


class Place(NamedTuple):
    """The last position that was known."""

    latitude: float  # degrees
    longitude: float
    altitude: float = 0.0  # m


class Driven(NamedTuple):
    """How long somebody has driven without a rest."""

    seconds: float = 0.0  # of driving since the last rest
    still: float = 0.0  # of standing since it last drove
    at: float = math.nan  # monotonic s, of the last word


class Told(NamedTuple):
    """The last report."""

    at: float  # monotonic s
    place: Place | None
    course: float  # degrees, NaN where there was none
    bits: int
    acc: bool


class Track(NamedTuple):
    """What is known of the vehicle at one moment."""

    at: float = math.nan  # monotonic s, of the newest row
    wall: float = math.nan  # s UTC
    values: Mapping[str, tuple[float, float]] = {}  # never written to: value, monotonic s
    place: Place | None = None
    fixed: bool = False
    driven: Driven = Driven()
    fast: float = math.nan  # monotonic s, since when the limit of speed is passed
    told: Told | None = None


class Report(NamedTuple):
    """What stood when a report came due."""

    wall: float  # s UTC
    track: Track


def follow(
    track: Track, batch: Batch, names: Mapping[Channel, tuple[str, ...]], how: Rules
) -> tuple[Track, list[Report]]:
    """The track after a batch, and what was due within it. `names`: what each channel says."""
    columns = [(i, name) for i, key in enumerate(batch.key) for name in names.get(f"{batch.source}/{key}", ())]
    if not columns:
        return track, []
    reports = []
    seen = np.where(batch.quality < int(BLIND), batch.value, np.nan).tolist()
    for mono, wall, value in zip(batch.mono.tolist(), batch.wall.tolist(), seen, strict=True):
        known = dict(track.values)
        for i, name in columns:
            known[name] = (value[i], mono)
        track = _moved(track._replace(values=known), mono, wall, how)
        track, report = due(track, how)
        reports += [report] if report else []
    return track, reports


def passing(track: Track, mono: float, wall: float, how: Rules) -> tuple[Track, Report | None]:
    """The track some time later, nothing having changed."""
    return due(_moved(track, mono, wall, how), how)


def _moved(track: Track, mono: float, wall: float, how: Rules) -> Track:
    if mono < track.at:  # a batch of another source that was read a little earlier, or another life
        return track if track.at - mono < STALE else track._replace(at=mono, wall=wall, fast=math.nan, told=None)
    latitude, longitude = _value(track, "latitude", mono), _value(track, "longitude", mono)
    fixed = _value(track, "fix", mono, 1.0) >= 1 and not (math.isnan(latitude) or math.isnan(longitude))
    place = track.place
    if fixed:
        altitude = _value(track, "altitude", mono)
        place = Place(latitude, longitude, 0.0 if math.isnan(altitude) else altitude)
    speed = _value(track, "speed", mono, 0.0)
    fast = track.fast
    if not how.speed_limit or speed <= how.speed_limit:
        fast = math.nan
    elif math.isnan(fast):
        fast = mono
    driven = _driven(track.driven, mono, speed > ROLLING and _acc(track, mono), how.rest)
    return track._replace(at=mono, wall=wall, place=place, fixed=fixed, fast=fast, driven=driven)


def _driven(before: Driven, mono: float, drives: bool, rest: float) -> Driven:
    """The same some time later. A rest is at least so many s in which it does not drive."""
    passed = mono - before.at
    if not 0 <= passed <= HOLE:
        return before._replace(at=mono)
    if drives:
        return Driven(before.seconds + passed, 0.0, mono)
    still = before.still + passed
    return Driven(0.0 if still >= rest else before.seconds, still, mono)


def recalled(seconds: float, still: float, off: float, rest: float) -> Driven:
    """After a restart: `off` s have passed since, in which it stood, or nobody knows.

    >>> recalled(7200.0, 300.0, 60.0, 1200.0).seconds, recalled(7200.0, 300.0, 900.0, 1200.0).seconds
    (7200.0, 0.0)
    """
    return Driven() if still + max(0.0, off) >= rest else Driven(seconds, still)


def _value(track: Track, name: str, mono: float, otherwise: float = math.nan) -> float:
    value, at = track.values.get(name, (math.nan, mono))
    return otherwise if math.isnan(value) or mono - at > STALE else value


def _acc(track: Track, mono: float) -> bool:
    """On, where nobody says."""
    return _value(track, "acc", mono, 1.0) >= 0.5


def _on(track: Track, what: str) -> set[str]:
    """Names of the bits of this kind that channels set."""
    names = [name for name in track.values if name.startswith(f"{what}:")]
    return {name.partition(":")[2] for name in names if _value(track, name, track.at, 0.0) >= 0.5}


def alarm_bits(track: Track, how: Rules) -> int:
    """What channels, speed and time of driving say."""
    on = _on(track, "alarm")
    on |= {"emergency"} if _value(track, "emergency", track.at, 0.0) >= 0.5 else set()
    speed = _value(track, "speed", track.at, 0.0)
    if how.speed_limit and speed > how.speed_limit and track.at - track.fast >= how.speed_hold:
        on.add("over-speed")
    elif how.speed_limit and speed > how.speed_limit - how.speed_soon:
        on.add("over-speed-soon")
    if how.driving_limit and track.driven.seconds >= how.driving_limit:
        on.add("fatigue")
    elif how.driving_limit and track.driven.seconds >= how.driving_limit - how.driving_soon > 0:
        on.add("fatigue-soon")
    return sum(1 << ALARMS[name] for name in on)


def due(track: Track, how: Rules) -> tuple[Track, Report | None]:
    """Whether a report is due now; then the track remembers it."""
    bits, acc, told = alarm_bits(track, how), _acc(track, track.at), track.told
    course = _value(track, "course", track.at) if _value(track, "speed", track.at, 0.0) > TURNING else math.nan
    if told is not None:
        emergency = bits & 1 << ALARMS["emergency"]
        which = 2 if emergency else 1 if not acc else 0
        period = (how.period, how.period_asleep, how.period_emergency)[which]
        reach = (how.distance, how.distance_asleep, how.distance_emergency)[which]
        by_time = how.strategy != 1 and track.at - told.at >= period - 0.05
        by_way = how.strategy != 0 and apart(told.place, track.place) >= reach
        by_turn = bool(how.corner) and abs((course - told.course + 180) % 360 - 180) >= how.corner
        if not (by_time or by_way or by_turn or bits & ~told.bits or acc != told.acc):
            return (track._replace(told=told._replace(bits=bits)) if bits != told.bits else track), None
    elif track.place is None and not track.values:
        return track, None
    if math.isnan(course) and told is not None:
        course = told.course
    return track._replace(told=Told(track.at, track.place, course, bits, acc)), Report(track.wall, track)


def apart(one: Place | None, other: Place | None) -> float:
    """m between two places; 0 where one is not known.

    >>> round(apart(Place(30.0, 120.0), Place(30.0, 120.001)))
    96
    """
    if one is None or other is None:
        return 0.0
    north = math.radians(other.latitude - one.latitude)
    east = math.radians(other.longitude - one.longitude) * math.cos(math.radians(one.latitude))
    return EARTH * math.hypot(north, east)


def location(track: Track, wall: float, bits: int, items: tuple[Item, ...] = ()) -> Location:
    """The report as it is told, with these alarm bits and items beside its own."""
    mono = track.at
    place = track.place or Place(0.0, 0.0)
    on = _on(track, "status")
    speed = _value(track, "speed", mono, 0.0)
    systems = int(_value(track, "systems", mono, 0.0))
    on |= {name for i, name in enumerate(("gps", "beidou", "glonass", "galileo")) if systems >> i & 1}
    for name, stands in (
        ("acc", _acc(track, mono)),
        ("fixed", track.fixed),
        ("south", place.latitude < 0),
        ("west", place.longitude < 0),
        ("moving", speed > ROLLING),
    ):
        on |= {name} if stands else set()
    extra = []
    for id, name, scale in (
        (0x01, "mileage", 10),
        (0x02, "fuel", 10),
        (0x03, "recorder", 10),
        (0x30, "rssi", 1),
        (0x31, "satellites", 1),
    ):
        value = _value(track, name, mono)
        extra += [] if math.isnan(value) else [Item(id, round(value * scale))]
    course = _value(track, "course", mono, 0.0)
    return Location(
        bits,
        sum(1 << STATUSES[name] for name in on),
        round(abs(place.latitude) * 1e6),
        round(abs(place.longitude) * 1e6),
        round(max(0.0, place.altitude)),
        round(max(0.0, speed) * 10),
        round(course) % 360,
        stamp(wall),
        (*extra, *items),
    )


def state_bits(track: Track) -> int:
    """The state of the vehicle as alarms of active safety tell it."""
    on = {name for name in ("left", "right", "wiper", "brake") if _value(track, name, track.at, 0.0) >= 0.5}
    on |= {"acc"} if _acc(track, track.at) else set()
    on |= {"fixed"} if track.fixed else set()
    return sum(1 << STATES[name] for name in on)


def speed_of(track: Track) -> float:
    """km/h, 0 where not known."""
    return _value(track, "speed", track.at, 0.0)


def value_of(track: Track, name: str) -> float:
    """The newest value of what is called `name`; NaN where not known."""
    return _value(track, name, track.at)
