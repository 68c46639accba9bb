"""Wells under weather, and sumps that fill: against water whose truth is known."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from agent import checks
from agent.core.core import Core, Tick
from agent.core.frame import Instant, Quality, frame, layout
from agent.core.rules import High
from models.anomaly import Anomaly
from models.reach import Reach
from models.water import Barometric, Inflow

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
HEAD = 0.0101972  # m of water for 1 hPa


def run(one, keys, units, rows, step=MINUTE, memory=None, begin=0.0, quality=None):
    """(t, m) columns after each row (n + w,), and the memory after them."""
    seen = layout(keys, units, stale=1e9)
    memory, out = memory or one.start(seen), []
    for i, row in enumerate(np.asarray(rows, float)):
        fit = np.where(np.isnan(row), Quality.FAULT, Quality.GOOD) if quality is None else quality[i]
        memory, value, _ = one.step(memory, frame("s", Instant(begin + i * step, 0.0), seen, row, fit))
        out.append(value)
    return np.array(out), memory


def weather(days, step=900.0, seed=1):
    """hPa: highs and lows of some days, and the tide of the air."""
    n = int(days * DAY / step)
    rng = np.random.default_rng(seed)
    slow = np.zeros(n)
    for i in range(1, n):
        slow[i] = slow[i - 1] * (1 - step / (2 * DAY)) + rng.normal(0, 8 * math.sqrt(step / DAY))
    return 900.0 + slow + 0.8 * np.sin(4 * np.pi * np.arange(n) * step / DAY)


WELL = Barometric(name="b", channel=["s/well"], barometer="met/air")
KEYS, UNITS = ["well", "met/air"], ["m", "hPa"]


# -- the weather ----------------------------------------------------------------------------------


def test_the_laws_of_a_detector_hold_but_for_its_units():
    class Any(Barometric, tag="any", frozen=True, kw_only=True):
        def columns(self, seen):
            return super().columns(layout(seen.key, ["m"] * (len(seen) - 1) + ["Pa"], stale=1e9))

        def _factors(self, seen):
            return np.full(len(seen) - 1, 1e-4)

    assert checks.detector(Any(name="b", channel=["s/*"], barometer="w/x", bin=60.0)) == []


@pytest.mark.parametrize("efficiency", [0.0, 0.35, 0.9])
@pytest.mark.parametrize(("unit", "air"), [("m", "hPa"), ("mm", "kPa")])
def test_a_well_that_follows_the_barometer_is_freed_of_it(efficiency, unit, air):
    pressure = weather(40)
    truth = 20.0 + 0.01 * np.arange(len(pressure)) / 96  # a cm a day
    level = truth - efficiency * HEAD * (pressure - 900.0) + np.random.default_rng(2).normal(0, 0.002, len(truth))
    length, scale = {"m": 1.0, "mm": 1e3}[unit], {"hPa": 1.0, "kPa": 0.1}[air]
    rows = np.stack([level * length, pressure * scale], 1)
    out, _ = run(WELL, KEYS, [unit, air], rows, 900.0)
    told = np.isfinite(out[:, 1])
    assert not told[: 2 * 96].any()
    assert told[8 * 96 :].all()
    assert out[-1, 1] == pytest.approx(efficiency, abs=0.05)
    late = slice(20 * 96, None)
    rest = (out[late, 0] / length - truth[late]) - np.mean(out[late, 0] / length - truth[late])
    assert rest.std() < 0.012
    if efficiency == 0.9:
        assert (level - truth)[late].std() > 4 * rest.std()


def test_an_instrument_that_feels_the_air_too_is_told_so():
    pressure = weather(30)
    water = 20.0 - 0.5 * HEAD * (pressure - 900.0)
    one = Barometric(name="b", channel=["s/well"], barometer="met/air", vented=False)
    out, _ = run(one, KEYS, UNITS, np.stack([water + HEAD * pressure, pressure], 1), 900.0)
    assert out[-1, 1] == pytest.approx(0.5, abs=0.02)
    assert out[20 * 96 :, 0].std() < 0.01


def test_a_restart_goes_on_as_if_nothing_had_been():
    pressure = weather(12)
    rows = np.stack([20 - 0.4 * HEAD * pressure, pressure], 1)
    whole, _ = run(WELL, KEYS, UNITS, rows, 900.0)
    first, memory = run(WELL, KEYS, UNITS, rows[:500], 900.0)
    later = WELL.moved(memory, 1e6)
    second, _ = run(WELL, KEYS, UNITS, rows[500:], 900.0, later, 1e6 + 500 * 900.0)
    assert np.allclose(np.vstack([first, second]), whole, equal_nan=True)


def test_without_a_barometer_nothing_is_said():
    pressure = weather(12)
    rows = np.stack([20 - 0.4 * HEAD * pressure, pressure], 1)
    rows[1000:, 1] = np.nan
    out, _ = run(WELL, KEYS, UNITS, rows, 900.0)
    assert np.isfinite(out[999, 0])
    assert np.isnan(out[1000:, 0]).all()


@pytest.mark.parametrize(("units", "says"), [(["m", "V"], "a barometer in hPa"), (["degC", "hPa"], "levels in m")])
def test_units_that_are_none_of_a_level_or_of_a_pressure_are_refused(units, says):
    with pytest.raises(ValueError, match=says):
        WELL.columns(layout(KEYS, units, stale=1.0))


# -- the sump -------------------------------------------------------------------------------------


def sump(hours, inflow, step=10.0, area=20.0, pump=120.0, seed=1, noise=0.002):
    """(t, 3) level m, pump 0 or 1, its flow m3/h: on above 2 m, off below 1 m. inflow: m3/h at an hour."""
    rng = np.random.default_rng(seed)
    level, on, rows = 1.5, False, []
    for i in range(int(hours * HOUR / step)):
        on = level > 2.0 or (on and level > 1.0)
        level += (inflow(i * step / HOUR) - pump * on) * step / HOUR / area
        rows.append((level + rng.normal(0, noise), float(on), pump * on))
    return np.array(rows)


IN = Inflow(name="i", channel=["s/level"], area=20.0, pump=("s/pump",))
SUMP, SUMP_UNITS = ["level", "s/pump"], ["m", ""]
RIPE, CALM = 36 * 360, 40 * 360  # rows after which it knows what is usual, and of a calm begin


@cache
def calm():
    """(t, 2) columns of 40 hours with 30 m3/h, its memory at `RIPE`, and in the end."""
    rows = sump(40, lambda hour: 30.0)[:, :2]
    early, ripe = run(IN, SUMP, SUMP_UNITS, rows[:RIPE], 10.0)
    late, memory = run(IN, SUMP, SUMP_UNITS, rows[RIPE:], 10.0, ripe, RIPE * 10.0)
    return np.vstack([early, late]), ripe, memory


def after_calm(rows, begin=CALM):
    """(t, 2) columns of all rows, which are those of `calm` until `begin`; the memory after them."""
    before, ripe, memory = calm()
    out, memory = run(IN, SUMP, SUMP_UNITS, rows[begin:], 10.0, {RIPE: ripe, CALM: memory}[begin], begin * 10.0)
    return np.vstack([before[:begin], out]), memory


def test_the_laws_of_an_inflow_hold():
    class Any(Inflow, tag="any", frozen=True, kw_only=True):
        def columns(self, seen):
            return super().columns(layout(seen.key, ["m"] * len(seen), stale=1e9))

        def _metres(self, seen):
            return np.ones(3)

    assert checks.detector(Any(name="i", channel=["s/*"], area=1.0, pump=("w/x",), window=60.0, settle=0.0)) == []


def test_pumps_that_come_and_go_are_no_news_and_twice_the_inflow_is():
    rows = sump(46, lambda hour: 30.0 if hour < 40 else 60.0)
    out, _ = after_calm(rows[:, :2])
    hours = np.arange(len(rows)) * 10.0 / HOUR
    ripe = (hours > 34) & (hours < 40)
    assert np.isfinite(out[ripe]).all()
    assert np.abs(out[ripe, 0] - 30.0).max() < 4.0
    assert np.abs(out[ripe, 1]).max() < 15.0
    told = hours[(hours > 40) & (out[:, 1] > 50.0)][0]
    assert told < 41.0, "the next time that the pump stands"
    assert out[-1, 0] == pytest.approx(60.0, abs=3.0)


def test_a_flow_that_is_known_hides_nothing():
    rows = sump(24, lambda hour: 30.0 if hour < 18 else 60.0)
    one = Inflow(name="i", channel=["s/level"], area=20.0, flow=("s/flow",))
    out, _ = run(one, ["level", "s/flow"], ["m", "m3/h"], rows[:, [0, 2]], 10.0)
    hours = np.arange(len(rows)) * 10.0 / HOUR
    assert np.abs(out[(hours > 3) & (hours < 18), 0] - 30.0).max() < 6.0
    assert out[-1, 0] == pytest.approx(60.0, abs=6.0)


def test_an_inrush_against_which_the_pump_runs_without_end_is_told_while_it_runs():
    rows = sump(46, lambda hour: 30.0 if hour < 40 else 200.0)
    out, memory = after_calm(rows[:, :2])
    hours = np.arange(len(rows)) * 10.0 / HOUR
    assert rows[hours > 40.1, 1].all(), "it never stands again"
    late = hours > 40.25
    assert (out[late, 1] > 50.0).all(), "and does not hold what was usual"
    assert out[late, 0].max() < 90.0, "80 m3/h more than the pump takes, the rest cannot be known"
    assert memory.usual[0] == pytest.approx(30.0, abs=1.0), "and nothing of it is learnt"


def test_while_a_pump_runs_that_holds_the_water_what_was_known_holds():
    rows = sump(40, lambda hour: 30.0)
    out, _, _ = calm()
    starts = np.flatnonzero(np.diff(rows[:, 1]) > 0) + 1
    late = starts[starts > 20 * 360]
    assert len(late) > 20
    assert all(out[i, 0] == out[i + 20, 0] for i in late if rows[i : i + 21, 1].all())


def test_a_pump_that_starts_again_at_once_makes_no_inrush_of_a_few_rough_samples():
    rng, level, on, stopped, by_hand, rows = np.random.default_rng(2), 1.5, False, -1e9, -1e9, []
    for i in range(40 * 360):
        now, was, on = i * 10.0, on, level > 2.0 or (on and level > 1.0)
        if was and not on and now - by_hand > HOUR / 4:
            stopped = now
        if now - stopped == 110:
            by_hand = now
        on = on or now - by_hand < 30
        level += (30.0 - 120.0 * on) * 10.0 / HOUR / 20.0
        rows.append((level + rng.normal(0, 0.01), float(on)))
    out, _ = run(IN, SUMP, SUMP_UNITS, rows, 10.0)
    assert np.isfinite(out[38 * 360 :, 1]).all()
    assert np.nanmax(out[:, 1]) < 30.0


def test_a_pump_that_cannot_be_seen_is_no_pump_that_stands():
    rows = sump(41, lambda hour: 30.0)[:, :2]
    rows[RIPE:, 1] = np.nan
    out, _ = after_calm(rows, RIPE)
    assert np.isfinite(out[RIPE + 180, 0]), "the last that was known holds"
    assert np.isnan(out[-1, 0]), "and not for ever"


def test_a_sump_that_is_restarted_knows_its_usual_inflow():
    rows = sump(40, lambda hour: 30.0)[:, :2]
    out, ripe, _ = calm()
    whole = out[RIPE:]
    again, _ = run(IN, SUMP, SUMP_UNITS, rows[RIPE:], 10.0, IN.moved(ripe, -5e4), RIPE * 10.0 - 5e4)
    assert np.allclose(again, whole, equal_nan=True)
    assert np.abs(whole[:, 0] - 30.0).max() < 4.0


def test_a_restart_in_the_middle_of_an_inrush_goes_on_as_if_nothing_had_been():
    rows = sump(43, lambda hour: 30.0 if hour < 40 else 200.0)[:, :2]
    rows[CALM::7, 0] = np.nan
    cut = int(40.1 * 360)  # the pump has run for minutes
    _, memory = after_calm(rows[:cut])
    whole, _ = run(IN, SUMP, SUMP_UNITS, rows[cut:], 10.0, memory, cut * 10.0)
    again, _ = run(IN, SUMP, SUMP_UNITS, rows[cut:], 10.0, IN.moved(memory, -5e4), cut * 10.0 - 5e4)
    assert np.allclose(again, whole, equal_nan=True)
    assert whole[-1, 1] > 50.0


def test_pump_and_flow_together_are_refused():
    with pytest.raises(ValueError, match="give `pump` or `flow`"):
        Inflow(name="i", channel=["s/level"], area=1.0, pump=("s/a",), flow=("s/b",))


def test_in_the_judge_time_to_overflow_and_what_is_strange_look_at_what_is_reckoned():
    seen = layout(["level", "pump"], ["m", ""], stale=60.0)
    detectors = [
        Reach(name="full", channel=["s/level"], limit=3.0),
        Anomaly(name="odd", channel=["s/*.inflow"]),
        Inflow(name="in", channel=["s/level"], area=20.0, pump=("s/pump",)),
    ]
    core = Core({"s": seen}, [High(name="inrush", channel=["s/level.inflow_over"], limit=50.0)], detectors=detectors)
    memory, raised = core.start("boot", Instant(0.0, 0.0)), []
    for i, (level, pump, _) in enumerate(sump(38, lambda hour: 30.0 if hour < 36 else 90.0, step=60.0)):
        now = Instant(60.0 * i, 0.0)
        for event in (frame("s", now, seen, [level, pump]), Tick(now)):
            memory, verdict = core.step(memory, event)
            raised += [a for a in verdict.alarms if a.event == "raised"]
    assert [a.rule for a in raised] == ["inrush"]
    assert 36.0 <= raised[0].at.mono / HOUR <= 37.0
