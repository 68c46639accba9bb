"""How long the beach of a pond is: a drawn beach whose water's edge is known to the metre.

Figures are of drawings: real sand, foam, algae and ice are another matter. A px is 1.7 m on the ground at 70 m here.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
from agent.sights import Beach as Asked  # noqa: E402
from models.vision import shore  # noqa: E402
from simulators.beach import Beach, Weather  # noqa: E402

WIDE, HIGH, RATE = 256, 144, 0.6
DAY = Weather()


def watch(length, weather=DAY, seconds=50.0, memory=None, since=0.0, **more):
    """(s, truth, what was told) of each measurement, and the memory after them."""
    length_ = length if callable(length) else lambda t: length
    weather_ = weather if callable(weather) else lambda t: weather
    scene = Beach(length_, weather_, WIDE, HIGH)
    asked = Asked(points=scene.points(), crest=(0.0, 0.0), far=(0.0, 160.0), rate=RATE, **more)
    memory, told = memory or shore.start(asked), []
    for i in range(int(seconds * RATE) + 1):
        t = since + i / RATE
        memory, one = shore.look(memory, asked, t, scene.at(t))
        if one is not None:
            told.append((t, length_(t), one))
    return told, memory


def off(told):
    """Errors in m, of what is not doubted."""
    return np.array([abs(one.beach - truth) for _, truth, one in told if not one.why])


@pytest.mark.parametrize(
    ("weather", "length", "per_cent"),
    [
        (DAY, 30.0, 1.5),
        (DAY, 100.0, 2.0),
        (Weather(light=0.2, warm=1.0, noise=4.0), 70.0, 3.0),
        (Weather(shadow=40.0, crowd=True), 70.0, 1.5),
        (Weather(waves=0.02, glitter=0.0, shadow=55.0), 70.0, 1.5),
        (Weather(fog=0.01), 50.0, 1.5),
        (Weather(rain=0.01), 50.0, 1.5),
    ],
    ids=["near", "far", "dusk", "shadow, birds, people", "a mirror, a shadow", "haze", "rain"],
)
def test_the_beach_is_told_to_some_per_cent(weather, length, per_cent):
    told, _ = watch(length, weather)
    errors = off(told)
    assert len(errors) >= 2  # the first two are doubtful
    assert np.median(errors) <= per_cent / 100 * length
    assert told[-1][2].error < 0.03 * length
    assert [one.why for _, _, one in told[:2]] == [shore.NEW] * 2


@pytest.mark.parametrize(
    ("weather", "length", "why"),
    [
        (Weather(light=0.02), 70.0, shore.DARKNESS),
        (Weather(fog=0.06), 70.0, shore.SAME),
        (DAY, 400.0, shore.SAME),
    ],
    ids=["night", "fog", "no water"],
)
def test_what_cannot_be_seen_is_not_told(weather, length, why):
    told, _ = watch(length, weather, 25)
    assert told
    assert all(np.isnan(one.beach) and one.why == why for _, _, one in told)


def test_a_slow_change_is_followed_within_a_minute():
    """20 m/h: after 12 minutes 4 m; the change is told once ten minutes were seen."""
    told, memory = watch(lambda t: 60 - 20 * t / 3600, seconds=30)
    t = 30.0
    while t < 690:  # some looks at it now and then
        more, memory = watch(lambda t: 60 - 20 * t / 3600, seconds=12, memory=memory, since=t)
        told, t = told + more, t + 50.0
    errors = off(told)
    assert np.percentile(errors, 90) < 0.9
    assert told[-1][2].beach == pytest.approx(told[-1][1], abs=0.6)
    assert told[-1][2].change == pytest.approx(-20.0, abs=8.0)


def test_a_jump_is_doubtful_first_and_true_after_a_minute():
    told, _ = watch(lambda t: 70.0 if t < 35 else 58.0, seconds=135)
    after = [(t, one) for t, _, one in told if t > 45]
    doubtful = [t for t, one in after if one.why == shore.PAST]
    assert 5 <= len(doubtful) <= 8
    for _, one in after:
        assert one.beach == pytest.approx(58.0, abs=1.5)  # told at once, and not believed at once
    assert after[-1][1].why == ""


def test_a_wave_of_something_else_for_a_moment_is_never_believed():
    """A lorry's grey flank before the strip, in the pictures of two measurements."""

    class Flank(Beach):
        def at(self, t):
            image = super().at(t)
            if 40 < t < 55:
                image[90:150, 60:260] = (115, 108, 95)
            return image

    scene = Flank(lambda t: 70.0, lambda t: DAY, WIDE, HIGH)
    asked = Asked(points=scene.points(), crest=(0.0, 0.0), far=(0.0, 160.0), rate=RATE)
    memory, told = shore.start(asked), []
    for i in range(int(90 * RATE)):
        memory, one = shore.look(memory, asked, i / RATE, scene.at(i / RATE))
        if one is not None:
            told.append((i / RATE, 70.0, one))
    assert len(off(told)) >= 3
    assert off(told).max() < 1.5


def test_a_camera_that_sags_is_doubted_for_as_long_as_it_does():
    """By 6 px of 144 the water would seem some 10 m nearer; a jump alone would be believed after a minute."""

    class Sags(Beach):
        def at(self, t):
            image = super().at(t)
            return np.roll(image, 6, 0) if 35 < t < 140 else image

    scene = Sags(lambda t: 60.0, lambda t: DAY, WIDE, HIGH)
    asked = Asked(points=scene.points(), crest=(0.0, 0.0), far=(0.0, 160.0), rate=RATE)
    memory, told = shore.start(asked), []
    for i in range(int(170 * RATE)):
        memory, one = shore.look(memory, asked, i / RATE, scene.at(i / RATE))
        if one is not None:
            told.append((i / RATE, 60.0, one))
    assert {one.why for t, _, one in told if 50 < t < 138} == {shore.MOVED}
    assert off(told).max() < 1.5
    assert told[-1][2].why == ""


def test_dusk_night_and_dawn_are_lived_through():
    def weather(t):
        return Weather(light=max(0.01, abs(1 - t / 100)), warm=min(1.0, t / 100), noise=3.0)

    told, _ = watch(60.0, weather, seconds=170)
    whys = [one.why for _, _, one in told]
    assert shore.DARKNESS in whys
    assert whys[-1] == ""
    assert off(told).max() < 2.0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"far": (0.0, 0.5)}, "one place"),
        ({"far": (200.0, 30.0)}, "`far` is not in the picture"),
        ({"points": [(0.1, 0.9, 0, 0), (0.9, 0.9, 5, 0), (0.5, 0.5, 3, 9)]}, "4 points or more"),
        ({"net": "vehicle"}, "asks no net"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_in_words(settings, says):
    usual = {"points": Beach(width=WIDE, height=HIGH).points(), "crest": (0.0, 0.0), "far": (0.0, 160.0)}
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert({**usual, **settings}, Asked)
