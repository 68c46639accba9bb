"""Every fault does what it says, to values, answers and bytes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.faults import (
    FALSIFIED,
    Break,
    Coarsen,
    Dead,
    Drift,
    Echo,
    Flip,
    Freeze,
    Lower,
    Refuse,
    Series,
    Slow,
    Spike,
    Truncate,
    damage,
    distort,
    falsified,
    manner,
)  # fmt: skip


def test_faults_on_a_value_touch_only_their_channel():
    values = {"a": 1.0, "b": 2.0}
    assert distort(values, [Freeze("a", 0.5)], 9.0) == {"a": 0.5, "b": 2.0}
    assert distort(values, [Drift("a", 0.1, since=5.0)], 15.0) == {"a": 2.0, "b": 2.0}
    assert distort(values, [Spike("b", 50.0, since=5.0, width=1.0)], 5.5)["b"] == 52.0
    assert distort(values, [Spike("b", 50.0, since=5.0, width=1.0)], 6.5)["b"] == 2.0
    assert math.isnan(distort(values, [Break("a")], 0.0)["a"])
    assert distort(values, [Lower("b", 0.4)], 0.0) == {"a": 1.0, "b": 0.8}
    assert distort({"a": 1.26}, [Coarsen("a", 0.5)], 0.0) == {"a": 1.5}
    assert values == {"a": 1.0, "b": 2.0}


def test_faults_on_the_answer():
    assert manner([]).answers
    assert not manner([Dead()]).answers
    assert manner([Slow(0.5)]).wait == 0.5
    assert manner([Refuse(6)]).code == 6


@given(st.binary(min_size=1, max_size=60), st.integers(0, 1000))
def test_a_flipped_bit_is_one_bit(reply, bit):
    hurt = damage(b"", reply, [Flip(bit)])
    assert sum((a ^ b).bit_count() for a, b in zip(reply, hurt, strict=True)) == 1


def test_faults_on_the_line():
    assert damage(b"ask", b"answer", [Echo()]) == b"askanswer"
    assert damage(b"ask", b"answer", [Truncate(2)]) == b"an"


# -- a whole series ---------------------------------------------------------------------------------


def honest() -> Series:
    random = np.random.default_rng(1)
    value = np.round(1.0 + 0.05 * random.standard_normal((600, 2)), 2)
    range_ = np.zeros(2), np.full(2, 4.0)
    return Series(np.arange(600) * 10.0, value, 50.0 * value + 4.0, np.zeros((600, 2), np.uint8), *range_)


@pytest.mark.parametrize("kind", FALSIFIED)
def test_a_falsification_touches_its_rows_of_its_channel_and_nothing_else(kind):
    series = honest()
    forged = falsified(series, kind, 0, 300, 400, np.random.default_rng(2))
    inside = np.zeros((600, 2), bool)
    inside[300:400, 0] = True
    for name in ("value", "raw", "quality"):
        before, after = getattr(series, name), getattr(forged, name)
        assert (before[~inside] == after[~inside]).all()
    touched = {n for n in ("value", "raw", "quality") if (getattr(series, n) != getattr(forged, n)).any()}
    expected = {"overwritten": {"value"}, "calibrated": {"quality"}, "overcalibrated": {"quality"}}
    assert touched == expected.get(kind, {"value", "raw"})
    if kind != "overwritten":  # the register goes along
        assert np.allclose(forged.raw, 50.0 * forged.value + 4.0)
    again = falsified(series, kind, 0, 300, 400, np.random.default_rng(2))
    assert all((getattr(again, n) == getattr(forged, n)).all() for n in ("value", "raw", "quality"))
    assert (series.value == honest().value).all()


@pytest.mark.parametrize(
    ("kind", "is_so"),
    [
        ("held", lambda new, old: (new == old[299]).all()),
        ("replayed", lambda new, old: any((new == old[300 - k : 400 - k]).all() for k in range(100, 301))),
        ("looped", lambda new, old: (new[20:] == new[:-20]).all() and (new[:20] == old[280:300]).all()),
        ("lowered", lambda new, old: (new <= 0.5 * old[300:400]).all()),
        ("smoothed", lambda new, old: np.abs(np.diff(new)).mean() < 0.3 * np.abs(np.diff(old)).mean()),
        ("coarsened", lambda new, old: np.allclose(np.round(new / 0.1), new / 0.1)),
        ("invented", lambda new, old: not np.allclose(np.round(new, 2), new)),
        ("pinned", lambda new, old: (new == 4.0).all()),
        ("wrapped", lambda new, old: (np.diff(new) < -3.0).sum() == 1),
        ("spiked", lambda new, old: new[0] - old[300] >= 0.55 * 4.0 and (new[1:] == old[301:400]).all()),
        ("overwritten", lambda new, old: np.allclose(new, 0.8 * old[300:400])),
    ],
)
def test_a_falsification_is_what_it_says(kind, is_so):
    series = honest()
    forged = falsified(series, kind, 0, 300, 400, np.random.default_rng(2))
    assert is_so(forged.value[300:400, 0], series.value[:, 0])


def test_an_unknown_falsification_is_none():
    with pytest.raises(LookupError):
        falsified(honest(), "prayed", 0, 300, 400, np.random.default_rng(2))
