"""The plants: deterministic by seed, and such that a physicist would nod."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from simulators.plant import PLANTS, Heading, Sump, Tailings, measure


def run(plant, state, seconds, dt=0.1):
    for _ in range(round(seconds / dt)):
        state = plant.step(state, dt)
    return state


@pytest.mark.parametrize("kind", PLANTS)
def test_the_same_seed_gives_the_same_readings_and_another_seed_others(kind):
    plant = PLANTS[kind]()

    def day(seed):
        state, said = plant.start(), []
        for tick in range(50):
            state = plant.step(state, 0.1)
            said.append(measure(plant, state, seed, tick))
        return said

    assert day(1) == day(1)
    assert day(1) != day(2)


@pytest.mark.parametrize("kind", PLANTS)
def test_readings_stay_within_accuracy_range_and_quantum(kind):
    plant = PLANTS[kind]()
    state = plant.start()
    truth = plant.truth(state)
    for tick in range(300):
        said = measure(plant, state, 5, tick)
        for key, sensor in plant.sensors.items():
            assert abs(said[key] - truth[key]) <= 1.3 * sensor.accuracy
            assert sensor.low <= said[key] <= sensor.high
            if sensor.step:
                assert said[key] / sensor.step == pytest.approx(round(said[key] / sensor.step), abs=1e-6)


@pytest.mark.parametrize("kind", PLANTS)
def test_an_undisturbed_plant_stays_where_it_was(kind):
    plant = PLANTS[kind]()
    before = plant.truth(plant.start())
    after = plant.truth(run(plant, plant.start(), 60))
    for key, sensor in plant.sensors.items():
        if kind == "sump" and key == "level":
            continue  # its pump cycles
        allowed = 4.0 if key.startswith("displacement") else 2 * sensor.accuracy + 0.01 * abs(before[key])
        assert abs(after[key] - before[key]) <= allowed, key


@given(inflow=st.floats(0.001, 0.1), air=st.floats(0.1, 4.0))
@settings(max_examples=40, deadline=None)
def test_methane_settles_where_the_dilution_says(inflow, air):
    heading = Heading(fan_speed=air)
    state = run(heading, structs.replace(heading.start(), gas_inflow=inflow), 1500, dt=1.0)
    expected = 100.0 * inflow / (air * heading.area)  # % = gas / air
    assert state.ch4_t1 == pytest.approx(min(expected, 100.0), rel=0.01)
    assert state.ch4_t2 == pytest.approx(state.ch4_t1, rel=0.01)


@given(dt=st.floats(0.01, 2.0))
@settings(max_examples=30, deadline=None)
def test_methane_does_not_depend_on_the_step(dt):
    heading = Heading()
    still = structs.replace(heading.start(), fan=False, air_speed=heading.leak_speed)
    n = max(1, round(20 / dt))
    coarse, fine = run(heading, still, n * dt, dt), run(heading, still, n * dt, n * dt / 4000)
    assert coarse.ch4_t1 == pytest.approx(fine.ch4_t1, rel=0.02)


def test_without_the_fan_methane_passes_the_cut_limit_and_with_it_returns():
    heading = Heading()
    still = run(heading, structs.replace(heading.start(), fan=False), 30)
    assert still.ch4_t1 > 1.5
    assert still.air_speed < 0.25
    aired = run(heading, structs.replace(still, fan=True), 60)
    assert aired.ch4_t1 < 0.5
    assert aired.air_speed > 0.7


def test_power_cut_takes_methane_away():
    heading = Heading()
    on = run(heading, heading.start(), 120)
    off = run(heading, structs.replace(heading.start(), power_cut=True), 120)
    assert off.ch4_t1 == pytest.approx(on.ch4_t1 * heading.idle_share, rel=0.02)


def test_a_relay_that_is_no_longer_beaten_cuts_the_power_by_itself():
    heading = Heading()
    never = run(heading, heading.start(), 60)
    assert heading.truth(never)["feed"] == 1.0  # nobody ever watched: it waits for nobody
    beaten = run(heading, structs.replace(never, alive=True), 2.9)
    assert heading.truth(beaten)["feed"] == 1.0
    left = run(heading, beaten, 0.3)
    assert heading.truth(left)["feed"] == 0.0
    again = run(heading, structs.replace(left, alive=False), 0.1)
    assert heading.truth(again)["feed"] == 1.0


def test_a_locked_fan_does_not_start():
    heading = Heading()
    still = run(heading, structs.replace(heading.start(), fan=False, fan_lock=True), 30)
    tried = run(heading, structs.replace(still, fan=True), 10)
    assert (tried.fan, tried.air_speed < 0.1) == (False, True)
    let = run(heading, structs.replace(tried, fan=True, fan_lock=False), 10)
    assert (let.fan, let.air_speed > 0.7) == (True, True)


@given(inflow=st.floats(0.0, 2.0), seconds=st.integers(1, 10))
@settings(max_examples=40, deadline=None)
def test_the_sump_keeps_every_litre(inflow, seconds):
    sump = Sump(brim=1e9)
    start = structs.replace(sump.start(), pump_ok=False, inflow=inflow)
    end = run(sump, start, seconds)
    assert (end.level - start.level) * sump.area == pytest.approx(inflow * seconds, rel=1e-6, abs=1e-9)


def test_the_sump_pump_cycles_between_its_floats():
    sump, state = Sump(), Sump().start()
    levels = []
    for _ in range(20_000):
        state = sump.step(state, 0.1)
        levels.append(state.level)
    assert min(levels) == pytest.approx(sump.off, abs=0.01)
    assert max(levels) == pytest.approx(sump.on, abs=0.01)


def test_the_beach_is_geometry_and_the_phreatic_line_comes_late():
    dam = Tailings()
    start = dam.start()
    wet = run(dam, structs.replace(start, rain=30.0), 14)
    truth = dam.truth(wet)
    assert wet.pond > start.pond
    assert truth["beach"] == pytest.approx((dam.crest - wet.pond) / dam.slope)
    rise = dam.gain * (wet.pond - start.pond)
    assert 0 < start.phreatic_1 - wet.phreatic_1 < 0.5 * rise
    later = run(dam, structs.replace(wet, rain=0.0), 600, dt=1.0)
    assert start.phreatic_1 - later.phreatic_1 == pytest.approx(rise, rel=0.02)


def test_creep_follows_the_inverse_velocity_line():
    dam = Tailings(pace=3600.0)  # one hour per second
    state = structs.replace(dam.start(), unrest=0.5)
    inverse = []
    for _ in range(40):
        state = dam.step(state, 0.1)
        inverse.append(1.0 / state.velocity)
    steps = [b - a for a, b in zip(inverse, inverse[1:], strict=False)]
    assert steps == pytest.approx([-0.5 * 0.1] * len(steps))  # 1/v falls by a t: a straight line to failure
    assert state.displacement > dam.start().displacement
