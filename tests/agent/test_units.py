"""Units: the numbers of the standards, there and back."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.units import SCALES, Gas, convert, same
from agent.profiles import gases

METHANE = Gas(16.04, 5.0)


@pytest.mark.parametrize(
    ("value", "unit", "to", "formula", "is_"),
    [
        (0.0024, "%", "ppm", "CO", 24.0),
        (30.0, "mg/m3", "ppm", "CO", 25.75),  # 30 x 24.04 / 28.01
        (20.0, "ppm", "mg/m³", "NH3", 14.17),
        (25.0, "%LEL", "%", "CH4", 1.25),
        (1.0, "%", "%LEL", "CH4", 20.0),
        (10_000.0, "ppm", "%LEL", "H2", 25.0),
        (1.0, "bar", "kPa", "", 100.0),
        (50.0, "mm", "cm", "", 5.0),
        (6.0, "m3/min", "m3/h", "", 360.0),
        (26.0, "°C", "degF", "", 78.8),
    ],
)
def test_numbers_that_are_known(value, unit, to, formula, is_):
    assert convert(value, unit, to, gases().get(formula)) == pytest.approx(is_, rel=1e-3)


@given(
    st.floats(1e-6, 1e6), st.sampled_from([(a, b) for s in SCALES.values() for a, b in itertools.permutations(s, 2)])
)
def test_there_and_back_is_the_same(value, pair):
    a, b = pair
    assert convert(convert(value, a, b, METHANE), b, a, METHANE) == pytest.approx(value)


@given(st.floats(0, 100), st.sampled_from(["%", "ppm", "mg/m3", "%LEL", "g/m3"]))
def test_a_gas_can_be_told_in_any_of_its_units(value, unit):
    for to in ("%", "ppm", "mg/m3", "%LEL", "ppb"):
        assert convert(convert(value, unit, to, METHANE), to, unit, METHANE) == pytest.approx(value)


def test_a_change_of_temperature_knows_no_offset():
    assert convert(1.0, "degC", "degF", difference=True) == pytest.approx(1.8)
    assert convert(1.0, "degC", "K", difference=True) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("unit", "to", "gas", "says"),
    [
        ("m", "kPa", None, "m cannot be told in kPa"),
        ("%", "ppm", None, "only for a known gas"),
        ("%LEL", "%", Gas(70.91), "explosive limit"),
        ("", "m", None, "no unit cannot be told"),
        ("furlong", "m", None, "furlong"),
    ],
)
def test_what_cannot_be_told_is_refused_in_words(unit, to, gas, says):
    with pytest.raises(ValueError, match=says):
        convert(1.0, unit, to, gas)


def test_every_spelling_leads_to_a_unit_that_is_known():
    assert same("mg/m³") == "mg/m3"
    assert convert(5.0, "l/s", "L/s") == 5.0
