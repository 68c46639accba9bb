"""Each lie: a story in which it is told once, and one in which it is not."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import numpy as np
import pytest

from agent import checks, config
from agent.checkpoint import Part, _encoded, _form, _memory_of, _taken
from agent.core.core import Core
from agent.core.errors import ConfigFault
from agent.core.frame import Frame, Instant, Quality, frame, layout
from models.tamper import LEARN, Tamper
from simulators.faults import FALSIFIED, Series, falsified

TAMPER = Tamper(name="lies", channel=["s/*"], answers=("s/fan < 0.5",))
KEYS, UNITS = ("a", "b", "c", "fan"), ("%", "%", "%", "")
MADE = layout(KEYS, UNITS, [0.0, 0.0, 0.0, np.nan], [4.0, 4.0, 4.0, np.nan], stale=1e9)
STEP = 30.0  # s
ROWS = 6200


def day(rows: int = ROWS, seed: int = 1) -> Series:
    """Three methane sensors of one heading that breathe together, and a fan that stops for five minutes each 8 h."""
    random = np.random.default_rng(seed)
    common = np.zeros(rows)
    for k in range(1, rows):
        common[k] = 0.97 * common[k - 1] + 0.02 * random.standard_normal()
    stops = np.arange(rows) % 960
    lift = np.where(stops < 10, stops * 0.06, 0.6 * np.exp(-(stops - 10) / 10.0)) * (np.arange(rows) >= 960)
    value = np.stack([0.6 + 0.1 * k + (common + lift) * (1 - 0.1 * k) for k in range(3)], axis=1)
    value = np.round((value + 0.008 * random.standard_normal(value.shape)) / 0.01) * 0.01
    fan = np.where((stops < 10) & (np.arange(rows) >= 960), 0.0, 1.0)
    whole = np.column_stack([value, fan])
    return Series(
        np.arange(rows) * STEP, whole, 100.0 * whole + 7.0, np.zeros(whole.shape, np.uint8), MADE.low, MADE.high
    )


def run(series: Series, begin: int = 0, end: int | None = None, memory: Any = None, detector: Tamper = TAMPER) -> Any:
    """Rows of (kind, channel) that were told, by the row in which each telling began; and the memory at the end."""
    memory = detector.start(MADE) if memory is None else memory
    told: list[tuple[int, str, str]] = []
    before = np.zeros((len(detector.kinds), len(KEYS)), bool)
    for k in range(begin, len(series.time) if end is None else end):
        at = Instant(float(series.time[k]), 0.0)
        seen = Frame("s", at, MADE, series.raw[k], series.value[k], series.quality[k], np.zeros(len(KEYS)))
        memory, columns, _ = detector.step(memory, seen)
        now = columns.reshape(before.shape) >= 1
        told += [(k, detector.kinds[i], KEYS[j]) for i, j in np.argwhere(now & ~before)]
        before = now
    return told, memory


CLEAN = day()
BEGIN = 4600  # 38 h
SOON = 1600


@cache
def clean() -> Any:
    """What is told of a day and a half without a lie, and what is known then."""
    return run(CLEAN, end=BEGIN)


def test_nothing_is_told_of_honest_sensors():
    assert clean()[0] == []
    assert run(CLEAN, BEGIN, memory=clean()[1])[0] == []


STOP = next(k for k in range(BEGIN, ROWS) if CLEAN.value[k, 3] == 0.0)  # a fan stop


@pytest.mark.parametrize(
    ("kind", "rows", "lie"),
    [
        ("held", 150, "flat"),
        ("replayed", 400, "repeat"),
        ("looped", 400, "repeat"),
        ("lowered", 60, "drop"),
        ("swapped", 1400, "moved"),
        ("smoothed", 200, "grain"),
        ("coarsened", 250, "grain"),
        ("invented", 200, "grain"),
        ("pinned", 40, "end"),
        ("wrapped", 60, "end"),
        ("spiked", 1, "spike"),
        ("overwritten", 20, "detour"),
        ("calibrated", 100, "calibrating"),
        ("overcalibrated", 600, "calibrating"),
        ("deafened", 90, "deaf"),
    ],
)
def test_each_falsification_is_told_by_its_lie_once_and_on_its_channel(kind, rows, lie):
    begin = STOP - 2 if kind == "deafened" else BEGIN
    _, memory = run(CLEAN, BEGIN, begin, clean()[1])
    forged = falsified(CLEAN, kind, 0, begin, begin + rows, np.random.default_rng(3))
    told, _ = run(forged, begin, min(begin + rows + 100, ROWS), memory)
    mine = [(name, key) for _, name, key in told if name == lie]
    assert mine == [(lie, "a")]
    assert {key for _, _, key in told} == {"a"}  # nobody else is accused
    first = next(k for k, name, _ in told if name == lie)
    assert begin <= first <= begin + rows + 3


def test_every_falsification_has_its_story():
    stories = test_each_falsification_is_told_by_its_lie_once_and_on_its_channel.pytestmark[0].args[1]
    assert {kind for kind, _, _ in stories} == FALSIFIED.keys()
    assert {lie for _, _, lie in stories} == set(Tamper.lies)


HONEST = {
    "all stand still together, as when the plant stands": ("flat", lambda v: np.where([1, 1, 1, 0], v[:1], v)),
    "all fall together, as when the fan starts": ("drop", lambda v: v * [0.3, 0.3, 0.3, 1.0]),
    "all jump together, as in a gust": ("spike", lambda v: v + np.outer(np.arange(len(v)) == 0, [3.0, 2.6, 2.5, 0.0])),
}


@pytest.mark.parametrize("what", HONEST)
def test_what_the_whole_zone_does_is_no_lie(what):
    lie, change = HONEST[what]
    value = CLEAN.value.copy()
    value[BEGIN : BEGIN + 200] = change(value[BEGIN : BEGIN + 200])
    told, _ = run(CLEAN._replace(value=value, raw=100.0 * value + 7.0), BEGIN, BEGIN + 250, clean()[1])
    assert [name for _, name, _ in told if name == lie] == []


def test_a_level_after_a_calibration_is_no_drop():
    forged = falsified(CLEAN, "lowered", 0, BEGIN, BEGIN + 60, np.random.default_rng(3))
    quality = forged.quality.copy()
    quality[BEGIN - 3 : BEGIN, 0] = Quality.CALIBRATING
    told, _ = run(forged._replace(quality=quality), BEGIN - 3, BEGIN + 60, clean()[1])
    assert "drop" not in {name for _, name, _ in told}


def test_a_short_calibration_in_its_time_is_no_lie():
    quality = CLEAN.quality.copy()
    quality[BEGIN : BEGIN + 30, 0] = Quality.CALIBRATING
    assert run(CLEAN._replace(quality=quality), BEGIN, BEGIN + 200, clean()[1])[0] == []


def test_what_has_not_seen_enough_says_so():
    memory = TAMPER.start(MADE)
    for k in range(LEARN):
        seen = frame("s", Instant(float(CLEAN.time[k]), 0.0), MADE, CLEAN.value[k], raw=CLEAN.raw[k])
        memory, told, quality = TAMPER.step(memory, seen)
    columns = dict(zip(TAMPER.kinds, told.reshape(len(TAMPER.kinds), -1), strict=True))
    assert {kind for kind, row in columns.items() if np.isfinite(row[0])} == {"calibrating"}
    assert (quality == Quality.GOOD).all()


def test_a_blind_sensor_is_not_called_a_liar():
    value, quality = CLEAN.value.copy(), CLEAN.quality.copy()
    value[BEGIN : BEGIN + 300, 0], quality[BEGIN : BEGIN + 300, 0] = np.nan, Quality.FAULT
    assert run(CLEAN._replace(value=value, quality=quality), BEGIN, BEGIN + 400, clean()[1])[0] == []


@pytest.mark.parametrize(("step", "rows"), [(0.5, 3700), (900.0, 150), (86_400.0, 150)])
def test_the_pace_of_the_poll_does_not_matter(step, rows):
    one = Tamper(name="lies", channel=["s/*"], kinds=("flat", "drop"))
    other = CLEAN._replace(time=CLEAN.time / STEP * step)
    told, memory = run(other, end=SOON, detector=one)
    assert told == []
    for kind, channel, lie, lasts in (("held", 0, "flat", rows), ("lowered", 1, "drop", 60)):
        forged = falsified(other, kind, channel, SOON, SOON + lasts, np.random.default_rng(3))
        told, _ = run(forged, SOON, SOON + lasts, memory, one)
        assert (lie, KEYS[channel]) in {(name, key) for _, name, key in told}


def test_its_memory_does_not_grow():
    early = run(CLEAN, end=100)[1]
    assert _form(early) == _form(clean()[1])
    assert abs(len(_encoded(early)) - len(_encoded(clean()[1]))) < 200


def test_a_memory_that_was_kept_goes_on_where_it_was():
    kept = Part("me", msgspec.Raw(_encoded(clean()[1])))
    again = _taken(kept, "me", _memory_of(TAMPER), TAMPER.start(MADE))
    forged = falsified(CLEAN, "held", 0, BEGIN, BEGIN + 150, np.random.default_rng(3))
    assert run(forged, BEGIN, BEGIN + 250, again)[0] == run(forged, BEGIN, BEGIN + 250, clean()[1])[0]


@pytest.mark.parametrize("one", [TAMPER, Tamper(name="t", channel=["s/*"], kinds=("flat", "drop"))])
def test_the_laws_of_detectors(one):
    assert checks.detector(one) == []


def test_a_neighbour_may_hang_on_another_gateway():
    """Flat against a witness: the same judgement as against a neighbour of its own source."""
    seen = layout(["a", "w/b"], ["%", "%"], stale=1e9)
    one = Tamper(name="t", channel=["s/a"], beside=["w/b"], kinds=("flat",))
    assert one.columns(seen) == [("a.flat", "")]
    memory, told = one.start(seen), []
    for k in range(2000):
        row = CLEAN.value[k, :2].copy()
        row[0] = CLEAN.value[1500, 0] if k > 1500 else row[0]
        memory, found, _ = one.step(memory, frame("s", Instant(STEP * k, 0.0), seen, row))
        told.append(found[0])
    assert 1.0 not in told[:1560]
    assert told[1700] == 1.0


SITE = """
[site]
name = "mine"
[[bus]]
name = "net"
url = "tcp://127.0.0.1:502"
[[bus.device]]
name = "s"
unit = 1
period = 30.0
channel = [
  { key = "a", at = "holding:0", unit = "%", low = 0.0, high = 4.0 },
  { key = "b", at = "holding:1", unit = "%", low = 0.0, high = 4.0 },
  { key = "c", at = "holding:2", unit = "%", low = 0.0, high = 4.0 },
  { key = "fan", at = "discrete:0" },
]
[[detector]]
name = "lies"
kind = "tamper"
channel = "s/*"
answers = ["s/fan < 0.5"]
"""


def test_a_site_that_asks_for_it_gets_an_alarm_on_the_channel_itself(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(SITE)
    site = config.load(path)
    core: Core = site.core()
    forged = falsified(CLEAN, "lowered", 1, 400, 500, np.random.default_rng(3))
    memory, told = core.start("b", Instant(0.0, 0.0)), []
    for k in range(600):
        at = Instant(STEP * (k + 1), 1.7e9 + STEP * k, True)
        event = frame("s", at, site.layouts["s"], forged.value[k], raw=forged.raw[k])
        memory, verdict = core.step(memory, event)
        told += [a for a in verdict.alarms if a.channel.startswith("s/")]
    assert [(a.rule, a.channel, a.event, a.level) for a in told] == [
        ("lie.drop", "s/b", "raised", "yellow"),
        ("lie.drop", "s/b", "cleared", "yellow"),
    ]
    assert told[0].text == "s/b is not to be believed: it fell at once, alone, and nobody calibrated it"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('kinds = ["flat", "drip"]', "kinds"),
        ('answers = ["s/fan"]', "is no condition"),
        ('answers = ["s/fun < 1"]', "no channel is called s/fun"),
        ("drop = 1.5", "drop"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, more, says):
    path = tmp_path / "site.toml"
    key = more.partition(" ")[0]
    kept = "\n".join(line for line in SITE.splitlines() if not line.startswith(f"{key} ="))
    path.write_text(f"{kept}\n{more}\n")
    with pytest.raises(ConfigFault, match=says):
        config.load(path)
