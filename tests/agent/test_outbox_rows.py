"""Checksums, packed batches and owed rows: pure, so they meet properties."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent import rows
from agent.core.ports import Batch
from agent.rows import Owed, check, pack, unpack


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(rows).failed == 0


def batch(value: np.ndarray, quality: np.ndarray) -> Batch:
    t, n = value.shape
    times = np.arange(t) + 0.25
    key = tuple(f"c{i}" for i in range(n))
    return Batch("s", key, ("m",) * n, times, times + 1.7e9, True, value, quality)


shapes = st.tuples(st.integers(1, 5), st.integers(1, 40))
values = shapes.flatmap(
    lambda shape: st.one_of(
        arrays.arrays(np.float64, shape, elements=st.floats(allow_nan=True, allow_infinity=True)),
        arrays.arrays(np.float32, shape, elements=st.floats(width=32)).map(lambda a: a.astype(float)),
    )
)


@given(value=values, uniform=st.booleans(), squeeze=st.booleans(), data=st.data())
def test_a_batch_unpacks_to_what_was_packed(value: np.ndarray, uniform: bool, squeeze: bool, data: st.DataObject):
    quality = data.draw(arrays.arrays(np.uint8, value.shape, elements=st.integers(0, 6)))
    if uniform:
        quality[:] = quality[0, 0]
    one = batch(value, quality)
    two = unpack(pack(one, squeeze), "s", one.key, one.unit, True)
    np.testing.assert_array_equal(two.value, one.value)
    np.testing.assert_array_equal(two.quality, one.quality)
    np.testing.assert_array_equal(two.mono, one.mono)
    np.testing.assert_array_equal(two.wall, one.wall)


@given(st.binary(max_size=80))
def test_bytes_that_are_no_batch_raise_nothing_but_value_error(noise: bytes):
    for packed in (noise, pack(batch(np.ones((2, 3)), np.zeros((2, 3), np.uint8)))[: len(noise)]):
        with pytest.raises(ValueError):
            unpack(packed, "s", ("a", "b"), ("", ""), True)


def test_float32_values_take_four_bytes_and_scaled_integers_less():
    noise = np.random.default_rng(1).normal(20, 1, (1, 1000)).astype(np.float32).astype(float)
    assert len(pack(batch(noise, np.zeros((1, 1000), np.uint8)))) < 4100
    steps = np.round(np.random.default_rng(1).uniform(0, 100, (1, 1000)), 1).astype(np.float32).astype(float)
    assert len(pack(batch(steps, np.zeros((1, 1000), np.uint8)))) < 2600


@given(st.integers(0, 7), st.integers(0, 59))
def test_any_flipped_bit_of_a_row_changes_its_checksum(bit: int, byte: int):
    row = (7, 3, "000001-abcd", 9, 1, bytes(60))
    flipped = bytearray(60)
    flipped[byte] ^= 1 << bit
    assert check(*row) != check(*row[:-1], bytes(flipped))
    assert check(*row) != check(7 ^ (1 << bit), *row[1:])
    assert check(*row) != check(*row[:3], 9 ^ (1 << bit), *row[4:])


row = st.integers(0, 30)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), row, st.integers(0, 5), st.booleans()),
        st.tuples(st.just("cut"), row, st.integers(0, 5), st.just(False)),
        st.tuples(st.just("tried"), row, st.integers(0, 5), st.just(True)),
    ),
    max_size=30,
)


@given(steps, row)
def test_owed_rows_are_a_map_from_row_to_tried(steps: list[tuple[str, int, int, bool]], probe: int):
    owed, model = Owed(), {}
    for verb, lo, length, tried in steps:
        hi = lo + length
        if verb == "add":
            owed.add(lo, hi, tried)
            model |= dict.fromkeys(range(lo, hi + 1), tried)
        elif verb == "cut":
            gone = owed.cut(lo, hi)
            assert {r: t for a, b, t in gone for r in range(a, b + 1)} == {
                r: t for r, t in model.items() if lo <= r <= hi
            }
            model = {r: t for r, t in model.items() if not lo <= r <= hi}
        else:
            owed.tried(lo, hi)
            model |= {r: True for r in model if lo <= r <= hi}
    assert {r: t for a, b, t in owed.spans for r in range(a, b + 1)} == model
    assert owed.spans == sorted(owed.spans)
    assert len(owed) == len(model)
    assert (probe in owed, owed.is_tried(probe)) == (probe in model, model.get(probe, False))
    after = owed.after(probe)
    assert (after[0] if after else None) == min((r for r in model if r >= probe), default=None)
    assert Owed(owed.spans).spans == owed.spans
