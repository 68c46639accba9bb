"""Every fault does what it says, to values, answers and bytes."""

import math

from hypothesis import given
from hypothesis import strategies as st

from simulators.faults import (
    Break,
    Dead,
    Drift,
    Echo,
    Flip,
    Freeze,
    Refuse,
    Slow,
    Spike,
    Truncate,
    damage,
    distort,
    manner,
)  # fmt: skip


def test_faults_on_a_value_touch_only_their_channel():
    values = {"a": 1.0, "b": 2.0}
    assert distort(values, [Freeze("a", 0.5)], 9.0) == {"a": 0.5, "b": 2.0}
    assert distort(values, [Drift("a", 0.1, since=5.0)], 15.0) == {"a": 2.0, "b": 2.0}
    assert distort(values, [Spike("b", 50.0, since=5.0, width=1.0)], 5.5)["b"] == 52.0
    assert distort(values, [Spike("b", 50.0, since=5.0, width=1.0)], 6.5)["b"] == 2.0
    assert math.isnan(distort(values, [Break("a")], 0.0)["a"])
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
