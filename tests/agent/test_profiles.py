"""Every profile at work: what raises, what does not, what clears; and the numbers once more, as the standards say."""

from __future__ import annotations

import math

import msgspec
import pytest

from agent.core.core import Core
from agent.core.frame import Instant, frame, layout
from agent.core.rules import AnyRule, Rate
from agent.profiles import profiles, rule

ALL = profiles()
LIMITS = [(name, limit) for name, profile in ALL.items() for limit in profile.limit if not limit.times]

# Double entry: limit, value, restore. A number that changes by mistake must be changed twice.
COAL = """
    coal/ch4/T0              alarm 1.0 1.0   cut 1.5 1.0
    coal/ch4/T1              alarm 1.0 1.0   cut 1.5 1.0
    coal/ch4/T2              alarm 1.0 1.0   cut 1.0 1.0
    coal/ch4/T3              alarm 0.5 0.5   cut 0.5 0.5
    coal/ch4/T3-series       alarm 0.5 0.5   cut 0.5 0.5   fan 1.5 0.5
    coal/ch4/T4              alarm 0.5 0.5   cut 0.5 0.5
    coal/ch4/machine         alarm 1.0 1.0   cut 1.5 1.0
    coal/ch4/trolley         alarm 0.5 0.5   cut 0.5 0.5
    coal/ch4/locomotive      alarm 0.5 0.5   cut 0.5 0.5
    coal/ch4/district-return alarm 1.0 1.0   cut 1.0 1.0
    coal/ch4/main-return     alarm 0.7 0.7
    coal/ch4/return-shaft    alarm 0.5 0.5   cut 0.7 0.7
    coal/ch4/bunker          alarm 1.5 1.5   cut 1.5 1.5
    coal/ch4/drainage-room   alarm 0.5 0.5
    coal/ch4/drainage-pipe   low 25 25
    interlock/fan-lock       lock 3.0 1.5
    coal/co                  alarm 24 24
    coal/no2                 alarm 2.5 2.5
    coal/so2                 alarm 5 5
    coal/h2s                 alarm 6.6 6.6
    coal/nh3                 alarm 40 40
    coal/o2/intake           low 20 20       stop 18 18
    coal/co2/intake          alarm 0.5 0.5   stop 1.5 1.5
    coal/temperature/face    warn 26 26      stop 30 30
    coal/temperature/machine-room  warn 30 30  stop 34 34
    coal/air-speed/face      low 0.25 0.25   high 4 4
    coal/air-speed/heading   low 0.25 0.25   high 4 4
    coal/air-speed/rock-heading  low 0.15 0.15  high 4 4
    coal/air-speed/district  low 0.25 0.25   high 6 6
    coal/air-speed/main      high 8 8
    coal/dust/total/10       twa 4 4
    coal/dust/total/10-50    twa 1 1
    coal/dust/total/50-80    twa 0.7 0.7
    coal/dust/total/80       twa 0.5 0.5
    coal/dust/respirable/10  twa 2.5 2.5
    coal/dust/respirable/10-50  twa 0.7 0.7
    coal/dust/respirable/50-80  twa 0.3 0.3
    coal/dust/respirable/80  twa 0.2 0.2
"""
GROUND = """
    tailings/freeboard/1     min 1.5 1.5
    tailings/freeboard/2     min 1.0 1.0
    tailings/freeboard/3     min 0.7 0.7
    tailings/freeboard/4     min 0.5 0.5
    tailings/freeboard/5     min 0.4 0.4
    tailings/beach/upstream/1  min 150 150
    tailings/beach/upstream/2  min 100 100
    tailings/beach/upstream/3  min 70 70
    tailings/beach/upstream/4  min 50 50
    tailings/beach/upstream/5  min 40 40
    tailings/beach/downstream/1  min 100 100
    tailings/beach/downstream/2  min 70 70
    tailings/beach/downstream/3  min 50 50
    tailings/beach/downstream/4  min 35 35
    tailings/beach/downstream/5  min 25 25
    tailings/phreatic/H150   warn 11 11      min 10 10
    tailings/phreatic/H100-150  warn 8.8 8.8  min 8 8
    tailings/phreatic/H60-100  warn 6.6 6.6  min 6 6
    tailings/phreatic/H30-60  warn 4.4 4.4   min 4 4
    tailings/phreatic/H30    warn 2.2 2.2    min 2 2
    slope/rate               high 10 10
    slope/crack              high 50 50
    slope/working-wall       high 5 5
    slope/dump               warn 25 25      high 50 50
    slope/displacement       high 6 6
    slope/settlement         high 3 3
    goaf/graham              watch 0.5 0.5   heating 1 1   fire 3 3
    water/inflow/mine        high 130 130
    water/inflow/outlet      high 150 150
"""
CHEMICAL = """
    chemical/combustible/any level1 25 25    level2 50 50
    chemical/combustible/line  level1 1 1    level2 2 2
    chemical/oxygen          low 19.5 19.5   high 23.5 23.5
    chemical/toxic/CO        level1 20 20    level2 40 40
    chemical/toxic/H2S       level1 10 10    level2 20 20
    chemical/toxic/NH3       level1 20 20    level2 40 40
    chemical/toxic/Cl2       level1 1 1      level2 2 2
    chemical/toxic/SO2       level1 5 5      level2 10 10
    chemical/toxic/NO2       level1 5 5      level2 10 10
    chemical/toxic/CO2       level1 9000 9000  level2 18000 18000
    chemical/toxic/C6H6      level1 6 6      level2 12 12
    chemical/toxic/C7H8      level1 50 50    level2 100 100
    chemical/toxic/C8H10     level1 50 50    level2 100 100
    chemical/toxic/HCN       level1 1 1      level2 2 2
    chemical/toxic/HF        level1 2 2      level2 4 4
    chemical/toxic/HCl       level1 7.5 7.5  level2 15 15
    chemical/toxic/COCl2     level1 0.5 0.5  level2 1 1
    chemical/toxic/O3        level1 0.3 0.3  level2 0.6 0.6
    chemical/toxic/C2H3Cl    level1 10 10    level2 20 20
    station/combustible      level1 25 25    level2 50 50
    station/h2s              level1 10 10    level2 20 20
    city/tunnel/ch4          ventilate 20 20
    city/tunnel/o2           low 19.5 19.5   high 23.5 23.5
    city/tunnel/h2s          high 10 10
    city/tunnel/temperature  high 40 40
"""


@pytest.mark.parametrize("line", [line.split() for t in (COAL, GROUND, CHEMICAL) for line in t.strip().splitlines()])
def test_the_numbers_are_those_of_the_standards(line):
    name, *row = line
    told = {limit.name: (limit.value, limit.restore) for limit in ALL[name].limit}
    assert told == {row[i]: (float(row[i + 1]), float(row[i + 2])) for i in range(0, len(row), 3)}


class Meter:
    """One channel under one limit of a profile, read every `step` s."""

    def __init__(self, name, limit, value):
        profile = ALL[name]
        settings = rule(profile, limit, value, limit.value is None, profile.unit)
        self.rule = msgspec.convert({"name": "r", "channel": ["s/c"], **settings}, AnyRule)
        self.step = self.rule.window / 14 if isinstance(self.rule, Rate) else max(limit.delay, limit.clear_delay, 1.0)
        self.made = layout(["c"], [profile.unit], stale=1e9)
        self.core, self.now = Core({"s": self.made}, [self.rule]), 0.0
        self.memory = self.core.start("b", Instant(0.0, 0.0))

    def read(self, value, times=2):
        told = []
        for _ in range(times):
            self.now += self.step
            event = frame("s", Instant(self.now, self.now), self.made, [value])
            self.memory, verdict = self.core.step(self.memory, event)
            told += [(a.event, a.level) for a in verdict.alarms]
        return told


def beside(value, sign):
    """The next number above or below."""
    return math.nextafter(value, sign * math.inf)


@pytest.mark.parametrize(("name", "limit"), LIMITS, ids=[f"{name}.{limit.name}" for name, limit in LIMITS])
def test_a_limit_raises_where_it_says_and_clears_where_it_says(name, limit):
    value = 7.0 if limit.value is None else limit.value  # what is left to the site
    meter = Meter(name, limit, value)
    if isinstance(meter.rule, Rate):
        slope = {"falls": -1.0}.get(limit.compare, 1.0) * value / limit.per
        for k, share in enumerate((0.9, 1.1)):
            told, base = [], 100.0 * (k + 1) * abs(value)
            for n in range(60):
                told += meter.read(base + share * slope * n * meter.step, times=1)
            if share < 1:
                assert told == []
                meter = Meter(name, limit, value)
            else:
                assert told[:1] == [("raised", limit.level)]
        return
    sign = meter.rule.sign
    restore = value if limit.restore is None else limit.restore
    assert meter.read(beside(value, -sign)) == []  # not yet
    assert meter.read(value) == [("raised", limit.level)]  # exactly there
    assert meter.read(restore) == []  # not yet back
    assert meter.read(beside(restore, -sign)) == [("cleared", limit.level)]


@pytest.mark.parametrize(("name", "limit"), LIMITS, ids=[f"{name}.{limit.name}" for name, limit in LIMITS])
def test_gas_never_waits(name, limit):
    """Limits of the law on gas have no on-delay."""
    if ALL[name].gas or ALL[name].advice in ("methane", "toxic", "combustible", "carbon-monoxide", "oxygen"):
        assert limit.delay == 0.0
