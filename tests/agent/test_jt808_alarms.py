"""What alarms of rules become in T/JSATL12: a table of cases."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.core.alarm import Alarm
from agent.core.frame import Instant
from agent.uplink.jt808_alarms import BEGINS, ENDS, Occasion, Row, bits, flag_of, item, number_of, row_of
from agent.uplink.jt808_parameters import Values
from agent.uplink.jt808_track import Place, Track
from agent.uplink.jt808_words import Adas, Blind, Driver, Harsh, Mark, Tyre, Wheel, stamp

AT = Instant(100.0, 1_795_838_400.0, True)
MARK = Mark("VED0001", "261128120000", 7, 3)


def alarm(rule: str = "r", event: str = "raised", **more: Any) -> Alarm:
    fields: dict[str, Any] = {"value": 1.23, "limit": 2.7, "unit": "s"} | more
    return Alarm("000002-ab12-7", 1, event, "active-unacked", rule, "front/x", "red", fields["value"], fields["limit"],
                 fields["unit"], AT, AT, "")  # fmt: skip


def track(kmh: float = 80.0, **values: float) -> Track:
    known = {"speed": (kmh, 100.0)} | {f"row:{name.replace('__', '/')}": (v, 100.0) for name, v in values.items()}
    return Track(100.0, AT.wall, known, Place(30.0, 120.0, 15.0), True)


def made(row: dict[str, Any], flag: int = BEGINS, kmh: float = 80.0, dialect: str = "jiangsu", **values: float) -> Any:
    one = msgspec.convert({"rule": "r"} | row, Row)
    found = item(Occasion(alarm(), one, flag, track(kmh, **values), MARK), Values(), dialect)
    return found and found.value


def test_the_scene_is_that_of_the_moment():
    body = made({"item": "adas", "type": "forward"})
    assert isinstance(body, Adas)
    scene = body.scene
    assert (scene.speed, scene.altitude, scene.latitude, scene.longitude) == (80, 15, 30_000_000, 120_000_000)
    assert (scene.time, scene.state, scene.mark) == (stamp(AT.wall), 0x401, MARK)
    assert (body.alarm, body.distance, body.flag) == ((2 << 20) + 7, 12, BEGINS)


@pytest.mark.parametrize(("row", "type", "level"), [
    ({"item": "adas", "type": "headway"}, 3, 2), ({"item": "adas", "type": "lane", "level": 1}, 2, 1),
    ({"item": "driver", "type": "fatigue"}, 1, 2), ({"item": "driver", "type": 0x1F}, 0x1F, 2),
])  # fmt: skip
def test_types_have_names_or_numbers_and_levels(row: dict[str, Any], type: int, level: int):
    body = made(row)
    assert (body.type, body.level) == (type, level)


def test_provinces_have_types_of_their_own():
    assert made({"item": "driver", "type": "belt"}, dialect="guangdong").type == 0x0A
    assert made({"item": "driver", "type": "hands-off"}, dialect="guangdong").type == 0x0C
    assert made({"item": "driver", "type": "hands-off"}).type == 6


@pytest.mark.parametrize(("score", "degree"), [(0.0, 0), (0.01, 1), (0.5, 5), (0.51, 6), (1.0, 10), (7.0, 10)])
def test_a_score_becomes_a_degree_of_fatigue(score: float, degree: int):
    body = made({"item": "driver", "type": "fatigue", "score": "cab/score"}, cab__score=score)
    assert isinstance(body, Driver)
    assert body.fatigue == degree


def test_tyres_blind_spots_and_harsh_driving():
    tyre = made(
        {"item": "tyre", "type": "low", "wheel": 3, "pressure": "t/p", "temperature": "t/c"}, t__p=512.4, t__c=-4
    )
    assert isinstance(tyre, Tyre)
    assert tyre.wheels == (Wheel(3, 0b100, 512, -4, 0),)
    blind = made({"item": "blind", "type": "right"}, ENDS)
    assert isinstance(blind, Blind)
    assert (blind.type, blind.flag) == (3, ENDS)
    harsh = made({"item": "harsh", "type": "brake"})
    assert isinstance(harsh, Harsh)
    assert (harsh.type, harsh.threshold) == (2, 3)


def test_what_is_a_moment_has_no_flag():
    assert made({"item": "adas", "type": "snapshot", "moment": True}).flag == 0


def test_the_first_row_that_fits_counts_and_a_drill_has_none():
    rows = [msgspec.convert(row, Row) for row in (
        {"rule": "tyre*", "channel": "*/left", "bit": "tyre"}, {"rule": "tyre*", "bit": "danger"})]  # fmt: skip
    assert row_of(rows, alarm("tyre.low")) is rows[1]
    assert row_of(rows, alarm("other")) is None
    assert row_of(rows, msgspec.structs.replace(alarm("tyre.low"), drill=True)) is None
    assert [bits(rows[0], flag) for flag in (BEGINS, ENDS)] == [1 << 16, 0]


def test_only_raise_and_end_are_edges_here():
    events = ["raised", "cleared", "acknowledged", "shelved", "evidence", "re-alarmed", "taken-out", "level-up"]
    assert [flag_of(alarm(event=event)) for event in events] == [1, 2, None, 2, None, None, 2, None]
    assert number_of("site.colour") == number_of("site.colour")
