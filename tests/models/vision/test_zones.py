"""Who is in a zone, and for how long: figures in a drawn yard, found by the colour of their coats.

The finder is a plain one, on the drawn figures only: how well a net finds people is another matter.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
from agent.core.errors import NetFault  # noqa: E402
from agent.sights import Zones  # noqa: E402
from agent.vision import ZonesEye  # noqa: E402
from models.vision import net, zones  # noqa: E402
from models.vision.net import Found  # noqa: E402
from simulators.yard import COAT, VAN, Figure, Yard  # noqa: E402

LEFT = {"name": "left", "polygon": [(0.0, 0.5), (0.4, 0.5), (0.4, 1.0), (0.0, 1.0)]}
RIGHT = {"name": "right", "polygon": [(0.6, 0.5), (1.0, 0.5), (1.0, 1.0), (0.6, 1.0)], "kinds": ("vehicle",)}


class Coats:
    """Finds red coats and blue vans; `blind`: pictures, by number, in which it finds nothing."""

    def __init__(self, blind=()):
        self.looked, self.blind, self.sizes = 0, set(blind), set()

    def find(self, picture):
        self.looked += 1
        self.sizes.add(picture.shape[:2])
        if self.looked in self.blind:
            return []
        found = []
        for kind, colour in (("person", COAT), ("vehicle", VAN)):
            mask = cv2.inRange(picture, tuple(c - 30 for c in colour), tuple(min(c + 30, 255) for c in colour))
            for x, y, w, h, many in cv2.connectedComponentsWithStats(mask)[2][1:]:
                if many > 40:
                    found.append(Found(kind, 0.8, (x, y, x + w, y + h)))
        return found


def watch(where, seconds, rate=5.0, finder=None, light=lambda t: 1.0, **more):
    """The columns after each picture, by time."""
    asked = Zones(zone=[_zone(one) for one in more.pop("zone", (LEFT, RIGHT))], rate=rate, net="coats", **more)
    yard, eye, told = Yard(where, 200, 150), ZonesEye(asked, finder or Coats()), []
    for i in range(int(seconds * rate) + 1):
        yard.light = light(i / rate)
        row = eye.look(i / rate, yard.at(i / rate))
        told.append((i / rate, dict(zip([key for key, *_ in asked.columns], row, strict=True)), eye.why))
    return told


def _zone(row):
    from agent.sights import Zone

    return Zone(**row)


def first(told, what):
    return next(at for at, row, _ in told if what(row))


def test_somebody_who_walks_in_counts_after_the_dwell_and_not_after_leaving():
    """At 10 % of the width a second: inside from 3 to 7 s, left of 40 %."""
    told = watch(lambda t: [Figure(0.7 - 0.1 * t if t < 5 else 0.2 + 0.1 * (t - 5), 0.8)], 10)
    counted = [at for at, row, _ in told if row["left.count"] == 1]
    assert 3.8 <= counted[0] <= 4.6  # 1 s of dwell
    assert 7.0 <= counted[-1] <= 8.0
    assert max(row["left.dwell"] for _, row, _ in told) == pytest.approx(4.0, abs=1.0)
    assert all(row["right.count"] == 0 for _, row, _ in told)  # a person is no vehicle
    assert all(row["left.score"] == pytest.approx(0.8) for at, row, _ in told if row["left.count"])


def test_the_foot_counts_not_the_head():
    """Somebody before the zone: the head is in it, the foot is not."""
    high = {"name": "left", "polygon": [(0.0, 0.3), (1.0, 0.3), (1.0, 0.6), (0.0, 0.6)]}
    foot = watch(lambda t: [Figure(0.5, 0.75, 0.4)], 3, zone=(high,))
    middle = watch(lambda t: [Figure(0.5, 0.75, 0.4)], 3, zone=({**high, "point": "middle"},))
    assert foot[-1][1]["left.count"] == 0
    assert middle[-1][1]["left.count"] == 1


def test_a_missed_look_or_a_short_disappearance_ends_no_stay():
    for blind in ((12,), range(12, 25)):  # 0.2 s, and 2.6 s at 5 pictures a second
        told = watch(lambda t: [Figure(0.2, 0.8)], 10, finder=Coats(blind))
        assert told[-1][1]["left.dwell"] == pytest.approx(10.0, abs=0.3)
        assert all(row["left.count"] == 1 for at, row, _ in told if at >= 1.4)


def test_who_is_gone_for_longer_than_that_is_gone():
    told = watch(lambda t: [Figure(0.2, 0.8)] if t < 4 else [], 10)
    assert first(told[25:], lambda row: row["left.count"] == 0) == pytest.approx(7.0, abs=0.5)


def test_two_who_cross_are_two():
    told = watch(lambda t: [Figure(0.05 + 0.03 * t, 0.8), Figure(0.35 - 0.03 * t, 0.9)], 10)
    counts = [row["left.count"] for at, row, _ in told if at >= 2.0]
    assert np.mean(np.array(counts) == 2) >= 0.95
    assert told[-1][1]["left.dwell"] == pytest.approx(10.0, abs=0.5)


def test_a_passer_by_who_is_quicker_than_the_dwell_does_not_count():
    told = watch(lambda t: [Figure(0.5 - 0.4 * t, 0.8)], 3, zone=({**LEFT, "dwell": 3.0},))
    assert all(row["left.count"] == 0 for _, row, _ in told)
    assert max(row["left.dwell"] for _, row, _ in told) > 0.4


def test_slow_looks_are_enough_for_who_stays():
    told = watch(lambda t: [Figure(0.2, 0.8)], 20, rate=1.0)
    assert told[-1][1]["left.count"] == 1
    assert told[-1][1]["left.dwell"] > 17


def test_only_the_part_around_the_zones_is_looked_at():
    finder = Coats()
    watch(
        lambda t: [], 1, finder=finder, zone=({**LEFT, "polygon": [(0.1, 0.8), (0.3, 0.8), (0.3, 0.95), (0.1, 0.95)]},)
    )
    ((h, w),) = finder.sizes
    assert h * w < 0.3 * 320 * 240


def test_a_dark_zone_is_blind_and_says_so():
    told = watch(lambda t: [Figure(0.2, 0.8)], 6, light=lambda t: 1.0 if t < 3 else 0.05)
    assert told[14][1]["left.count"] == 1
    assert np.isnan(told[-1][1]["left.count"])
    assert told[-1][2] == "too dark to see anybody in left, right"


def test_a_net_that_breaks_is_blind_until_it_runs_again():
    class Breaks(Coats):
        def find(self, picture):
            if 10 <= self.looked < 15:
                self.looked += 1
                raise NetFault("net x does not run")
            return super().find(picture)

    told = watch(lambda t: [Figure(0.2, 0.8)], 5, finder=Breaks())
    whys = [why for _, _, why in told]
    assert whys.count("net x does not run") == 5
    assert all(np.isnan(row["left.count"]) == bool(why) for _, row, why in told)
    assert told[-1][1]["left.count"] == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"zone": []}, "length >= 1"),
        ({"zone": [LEFT, LEFT]}, "name of its own"),
        ({"zone": [{**LEFT, "polygon": [(0, 0), (1, 1), (0.5, 0.5)]}]}, "span nothing"),
        ({"zone": [{**LEFT, "polygon": [(0, 0), (2, 0), (1, 1)]}]}, "shares of width and height"),
        ({"zone": [LEFT], "net": ""}, "nobody is seen without a net"),
        ({"zone": [{**LEFT, "kinds": ["dog"]}]}, "Invalid enum value"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_in_words(settings, says):
    import msgspec

    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert({"net": "coats", **settings}, Zones)


def test_the_eye_runs_with_the_net_that_ships():
    """Only that it runs: drawn figures are no people, and the net that ships finds people seldom."""
    try:
        net.load(os.environ.get("VEDETTE_NET", "vehicle"))
    except NetFault as fault:
        pytest.skip(f"no net for the road ships or is imported: {fault}")
    eye = ZonesEye(Zones(zone=[_zone(LEFT)], net=os.environ.get("VEDETTE_NET", "vehicle")))
    for i in range(8):
        row = eye.look(i / 5, Yard(lambda t: ()).at(i / 5))
    assert eye.why == ""
    assert row[0] >= 0.0
    assert zones.part(eye.settings, 320, 240)[2] <= 320
