"""From columns to locations, told in minutes and kilometres; and what parameters may be."""

from __future__ import annotations

import doctest
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest

from agent.core.frame import Quality
from agent.core.ports import Batch
from agent.uplink import jt808_parameters as parameters
from agent.uplink import jt808_track as tracks
from agent.uplink.jt808_parameters import BLOCKS, NUMBERS, Values
from agent.uplink.jt808_track import Channels, Report, Track, alarm_bits, location
from agent.uplink.jt808_words import ALARMS, STATUSES, Parameter, moment

CHANNELS = Channels(acc="io/acc", emergency="io/button", alarms={"under-voltage": "io/low"}, mileage="can/km")
NAMES: dict[str, tuple[str, ...]] = {}
for name, channel in CHANNELS.named().items():
    NAMES[channel] = (*NAMES.get(channel, ()), name)
BEGAN = 1_790_000_000.0  # s UTC at monotonic 0
DEGREE = math.radians(1) * tracks.EARTH  # m north


def batch(source: str, rows: Mapping[float, Mapping[str, float]], quality: int = 0) -> Batch:
    """Rows by monotonic s."""
    key = tuple(next(iter(rows.values())))
    mono = np.array(list(rows), float)
    value = np.array([list(row.values()) for row in rows.values()], float)
    return Batch(source, key, ("",) * len(key), mono, mono + BEGAN, True, value,
                 np.full(value.shape, quality, np.uint8))  # fmt: skip


def here(t: float, kmh: float = 0.0, way: float = 0.0, course: float = 0.0) -> Batch:
    """GNSS at a moment, so many m north of the start."""
    row = {"latitude": 30.0 + way / DEGREE, "longitude": 120.0, "altitude": 20.0, "speed": kmh, "course": course,
           "satellites": 12.0, "fix": 3.0, "systems": 3.0}  # fmt: skip
    return batch("gnss", {t: row})


def drive(batches: Iterable[Batch], track: Track | None = None, **set: int) -> tuple[Track, list[Report]]:
    how = tracks.rules(Values(own=set))
    track, reports = track or Track(), []
    for one in batches:
        track, more = tracks.follow(track, one, NAMES, how)
        reports += more
    return track, reports


def minutes(reports: Iterable[Report]) -> list[float]:
    return [round((report.wall - BEGAN) / 60, 2) for report in reports]


def test_examples_in_the_docstrings_run():
    assert [doctest.testmod(module).failed for module in (parameters, tracks)] == [0, 0]


def test_a_vehicle_that_stands_reports_every_30_seconds_and_asleep_every_4_minutes():
    _, reports = drive(here(t) for t in range(0, 121))
    assert minutes(reports) == [0, 0.5, 1, 1.5, 2]
    asleep = [batch("io", {0.0: {"acc": 0.0, "button": 0.0, "low": 0.0}})]
    for t in range(0, 600):
        asleep += [here(t)] + ([batch("io", {t: {"acc": 0.0, "button": 0.0, "low": 0.0}})] if t % 60 == 0 else [])
    _, reports = drive(asleep)
    assert minutes(reports) == [0, 4, 8]


def test_at_speed_it_reports_every_500_metres_and_on_a_turn():
    _, reports = drive((here(t, 108, 30 * t) for t in range(0, 61)), period=3600)
    assert minutes(reports) == [0, 0.28, 0.57, 0.85]  # 17 s are 510 m
    turned = [here(t, 36, 10 * t, 0 if t < 10 else 45) for t in range(0, 21)]
    _, reports = drive(turned, period=3600)
    assert [report.wall - BEGAN for report in reports] == [0, 10]


def test_at_rest_the_course_of_a_receiver_is_no_turn():
    _, reports = drive((here(t, 1, 0, 77 * t % 360) for t in range(20)), period=3600)
    assert len(reports) == 1


def test_the_button_is_reported_at_once_and_then_every_10_seconds():
    pressed = batch("io", {12.2: {"acc": 1.0, "button": 1.0, "low": 0.0}})
    track, reports = drive([*(here(t) for t in range(13)), pressed, *(here(t) for t in range(13, 40))])
    assert [round(report.wall - BEGAN, 1) for report in reports] == [0, 12.2, 23, 33]
    assert alarm_bits(track, tracks.rules(Values())) == 1 << ALARMS["emergency"]


def test_over_speed_counts_after_10_seconds_and_is_announced_before():
    how = {"speed_limit": 100, "period": 3600, "distance": 100_000}
    track, reports = drive((here(t, 90 if t < 10 else 97 if t < 20 else 105, 0) for t in range(40)), **how)
    bits = [alarm_bits(report.track, tracks.rules(Values(own=how))) for report in reports]
    assert [(report.wall - BEGAN) for report in reports] == [0, 10, 30]
    assert bits == [0, 1 << ALARMS["over-speed-soon"], 1 << ALARMS["over-speed"]]
    assert alarm_bits(drive([here(41, 80)], track, **how)[0], tracks.rules(Values(own=how))) == 0


def test_four_hours_at_the_wheel_are_fatigue_and_only_20_minutes_of_rest_end_it():
    how = tracks.rules(Values())
    fatigue, soon = 1 << ALARMS["fatigue"], 1 << ALARMS["fatigue-soon"]
    track, t, seen = Track(), 0, []
    for kmh, hours in ((80, 3.0), (0, 0.3), (80, 0.6), (80, 0.5), (0, 0.3), (80, 0.1), (0, 0.4), (80, 0.1)):
        for _ in range(round(hours * 360)):
            t += 10
            track, _ = tracks.follow(track, here(t, kmh, 0), NAMES, how)
        seen.append(alarm_bits(track, how))
    assert seen == [0, 0, soon, fatigue, fatigue, fatigue, 0, 0]


def test_a_location_says_where_it_is_and_what_stands():
    track, _ = drive([batch("can", {0.5: {"km": 1234.56}}), here(1, 61.23, 0, 90)])
    told = location(track, BEGAN + 1, 0)
    assert (told.latitude, told.longitude, told.altitude, told.speed, told.direction) == (
        30_000_000, 120_000_000, 20, 612, 90)  # fmt: skip
    assert [name for name, bit in STATUSES.items() if told.status >> bit & 1] == [
        "acc", "fixed", "gps", "beidou", "moving"]  # fmt: skip
    assert [(item.id, item.value) for item in told.items] == [(0x01, 12346), (0x31, 12)]
    assert moment(told.time) == BEGAN + 1


def test_south_and_west_are_bits_and_what_is_not_fixed_has_the_last_place():
    row = {"latitude": -33.5, "longitude": -70.25, "fix": 3.0}
    track, _ = drive([batch("gnss", {1.0: row}),
                      batch("gnss", {2.0: dict.fromkeys(row, math.nan)}, Quality.STALE)])  # fmt: skip
    told = location(track, BEGAN + 2, 0)
    assert (told.latitude, told.longitude) == (33_500_000, 70_250_000)
    on = {name for name, bit in STATUSES.items() if told.status >> bit & 1}
    assert {"south", "west"} <= on
    assert "fixed" not in on


def test_a_channel_sets_an_alarm_bit_and_a_blind_one_does_not():
    low = {"acc": 1.0, "button": 0.0, "low": 1.0}
    how = tracks.rules(Values())
    track, reports = drive([here(1), batch("io", {2.0: low})])
    assert alarm_bits(track, how) == 1 << ALARMS["under-voltage"]
    assert len(reports) == 2
    track, _ = drive([batch("io", {3.0: low}, Quality.OFFLINE)], track)
    assert alarm_bits(track, how) == 0


def test_a_batch_that_is_a_little_older_than_what_is_known_reports_nothing_twice():
    _, reports = drive([here(0), here(31), batch("io", {30.5: {"acc": 1.0, "button": 0.0, "low": 0.0}})])
    assert minutes(reports) == [0, 0.52]


def test_the_same_rows_give_the_same_reports_from_a_track_that_was_put_back():
    rows = [here(t, 50, 14 * t, t) for t in range(200)]
    middle, first = drive(rows[:70])
    _, rest = drive(rows[70:], middle)
    _, again = drive(rows[70:], middle)
    assert rest == again
    assert [r.wall for r in first + rest] == [r.wall for r in drive(rows)[1]]


# -- parameters ---------------------------------------------------------------------------------------


def test_blocks_have_the_lengths_of_the_standard():
    assert {id: sum(part.size for part in parts) for id, parts in BLOCKS.items()} == {
        0xF364: 56, 0xF365: 49, 0xF366: 36, 0xF367: 2}  # fmt: skip
    values = Values()
    assert all(Values().changed([one]).tell([one.id]) == (one,) for one in values.tell())


def test_a_parameter_out_of_bounds_changes_nothing_at_all():
    values = Values()
    good = Parameter(0x0029, (10).to_bytes(4, "big"))
    assert values.changed([good]).number("period") == 10
    for bad, said in (
        (Parameter(0x0029, (0).to_bytes(4, "big")), "period"),
        (Parameter(0x0029, b"\x0a"), "4 bytes"),
        (Parameter(0xF364, bytes(55)), "56 bytes"),
        (Parameter(0xF364, bytes([61]) + values.tell([0xF364])[0].value[1:]), "enable_speed"),
    ):
        with pytest.raises(ValueError, match=said):
            values.changed([good, bad])
    with pytest.raises(LookupError):
        values.changed([good, Parameter(0x0013, b"elsewhere")])
    assert values.number("period") == 30


def test_a_part_of_a_block_with_all_bits_set_stays_as_it_is():
    before = bytearray(Values().tell([0xF364])[0].value)
    before[0] = 40
    once = Values().changed([Parameter(0xF364, bytes(before))])
    twice = once.changed([Parameter(0xF364, b"\xff" + bytes([8]) + b"\xff" * 54)])
    assert (twice.block(0xF364)["enable_speed"], twice.block(0xF364)["volume"]) == (40, 8)


@pytest.mark.parametrize(("kind", "type", "kmh", "level"), [
    (0xF364, 1, 29, 0), (0xF364, 1, 49, 1), (0xF364, 1, 50, 2), (0xF364, 3, 80, 2), (0xF365, 1, 60, 2),
    (0xF365, 5, 60, 0),  # the default wants no abnormal driving of level 2
])  # fmt: skip
def test_levels_go_by_the_speed(kind: int, type: int, kmh: float, level: int):
    assert Values().grade(kind, type, kmh) == level


def test_settings_of_the_site_are_defaults_and_what_a_platform_set_wins():
    values = Values(own={"period": 15})
    assert values.number("period") == 15
    assert values.changed([Parameter(0x0029, (20).to_bytes(4, "big"))]).number("period") == 20
    assert {one.id for one in values.tell()} == set(NUMBERS) | set(BLOCKS)
    known: Any = values.tell([0x0029, 0x7777])
    assert known == (Parameter(0x0029, (15).to_bytes(4, "big")),)
