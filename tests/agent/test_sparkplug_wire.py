"""Sparkplug payloads as bytes: there and back, against other people's decoders, and anybody's bytes."""

from __future__ import annotations

import doctest
import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.uplink import sparkplug_wire as wire
from agent.uplink.sparkplug_wire import DataSet, Malformed, Metric, Payload, Template, Type, decode, encode
from tests.tools.decoders import decoded, each_decoder


def integers(bits: int, signed: bool) -> st.SearchStrategy[int]:
    low = -(1 << bits - 1) if signed else 0
    return st.integers(low, low + (1 << bits) - 1)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SINGLE = st.floats(width=32, allow_nan=False)
VALUES: dict[int, st.SearchStrategy[Any]] = {
    Type.INT8: integers(8, True),
    Type.INT16: integers(16, True),
    Type.INT32: integers(32, True),
    Type.INT64: integers(64, True),
    Type.UINT8: integers(8, False),
    Type.UINT16: integers(16, False),
    Type.UINT32: integers(32, False),
    Type.UINT64: integers(64, False),
    Type.FLOAT: SINGLE,
    Type.DOUBLE: st.floats(allow_nan=False),
    Type.BOOLEAN: st.booleans(),
    Type.STRING: TEXT,
    Type.DATETIME: integers(63, False),
    Type.TEXT: TEXT,
    Type.UUID: TEXT,
    Type.BYTES: st.binary(max_size=20),
    Type.FILE: st.binary(max_size=20),
    Type.INT16_ARRAY: st.lists(integers(16, True), max_size=5).map(tuple),
    Type.UINT64_ARRAY: st.lists(integers(64, False), max_size=5).map(tuple),
    Type.DOUBLE_ARRAY: st.lists(st.floats(allow_nan=False), max_size=5).map(tuple),
    Type.BOOLEAN_ARRAY: st.lists(st.booleans(), max_size=20).map(tuple),
    Type.STRING_ARRAY: st.lists(TEXT, max_size=5).map(tuple),
    Type.DATETIME_ARRAY: st.lists(integers(64, True), max_size=5).map(tuple),
    Type.DATASET: st.lists(st.tuples(integers(32, True), TEXT, st.booleans()), max_size=3).map(
        lambda rows: DataSet(("a", "b", "c"), (Type.INT32, Type.STRING, Type.BOOLEAN), tuple(rows))
    ),
}
TYPED = st.sampled_from(sorted(VALUES)).flatmap(lambda type: st.tuples(st.just(type), st.none() | VALUES[type]))
PROPERTIES = st.dictionaries(
    TEXT,
    st.sampled_from([Type.INT32, Type.INT64, Type.DOUBLE, Type.BOOLEAN, Type.STRING, Type.DATETIME]).flatmap(
        lambda type: st.tuples(st.just(int(type)), st.none() | VALUES[type])
    ),
    max_size=3,
)
NUMBER = st.integers(0, 2**64 - 1)
METRICS = st.builds(
    lambda name, typed, at, alias, historical, transient, properties: Metric(
        name, typed[0], typed[1], at, alias, historical, transient, properties
    ),
    TEXT,
    TYPED,
    st.none() | NUMBER,
    st.none() | NUMBER,
    st.booleans(),
    st.booleans(),
    PROPERTIES,
)


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(wire).failed == 0


@given(st.builds(Payload, st.none() | NUMBER, st.none() | NUMBER, st.lists(METRICS, max_size=4), TEXT))
@settings(max_examples=200)
def test_what_is_encoded_is_decoded_to_the_same(payload: Payload):
    assert decode(encode(payload)) == payload


def test_without_a_datatype_the_value_is_there_all_the_same():
    (one,) = decode(encode(Payload(1, 2, [Metric("a", Type.DOUBLE, 1.5, 3)]), typed=False)).metrics
    assert (one.type, one.value) == (Type.UNKNOWN, 1.5)


@pytest.mark.parametrize(("type", "raw"), [(Type.INT8, 0xFF), (Type.INT8, 0xFFFFFFFF), (Type.INT16, 0xFFFF)])
def test_minus_one_is_read_whatever_width_it_was_written_with(type: int, raw: int):
    data = wire.framed([wire._text(1, "a") + wire._number(4, type) + wire._number(10, raw)])
    assert decode(data).metrics[0].value == -1


def test_values_that_do_not_fit_their_type_are_not_sent():
    for type, value in ((Type.INT8, 128), (Type.INT64, 2**63), (Type.TEMPLATE, None.__class__), (99, 1)):
        with pytest.raises(ValueError):
            encode(Payload(metrics=[Metric("a", type, value)]))


def test_a_template_of_somebody_else_is_read():
    inner = wire.metric(Metric("level", Type.DOUBLE, 1.5, 3))
    parameter = wire._text(1, "unit") + wire._number(2, Type.STRING) + wire._text(8, "m")
    template = b"".join(
        (wire._text(1, "v1"), wire._counted(2, inner), wire._counted(3, parameter), wire._text(4, "Tank"))
    )
    data = wire.framed([wire._text(1, "t") + wire._number(4, Type.TEMPLATE) + wire._counted(18, template)])
    (one,) = decode(data).metrics
    told = Template("v1", "Tank", False, (Metric("level", Type.DOUBLE, 1.5, 3),), {"unit": (Type.STRING, "m")})
    assert one.value == told


def test_fields_that_nobody_knows_yet_are_skipped():
    known = encode(Payload(1, 2, [Metric("a", Type.BOOLEAN, True, 3)]))
    more = wire._number(77, 5) + wire._text(78, "x") + b"\xf9\x04" + b"8" * 8 + b"\xfd\x04" + b"4" * 4
    assert decode(known + more) == decode(known)


def test_whatever_is_cut_or_bent_is_malformed_or_a_payload_and_takes_no_time():
    rng = random.Random(1)
    table = DataSet(("a", "b"), (Type.INT32, Type.STRING), ((1, "x"), (2, None)))
    whole = encode(
        Payload(
            1_700_000_000_000,
            7,
            [
                Metric("a", Type.DOUBLE, 1.5, 3, 9, True, properties={"Quality": (Type.INT32, 192)}),
                Metric("b", Type.DATASET, table, 4),
                Metric("c", Type.STRING_ARRAY, ("x", "y"), 5),
            ],
            "uuid",
        )
    )
    said = 0
    for n in range(20_000):
        data = bytearray(whole[: rng.randrange(len(whole) + 1)] if n % 3 == 0 else whole)
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            decode(bytes(data))
            said += 1
        except Malformed:
            pass
    assert 0 < said < 20_000


def test_a_tower_of_templates_is_malformed():
    data = b""
    for _ in range(2000):
        data = wire._counted(2, wire._number(4, Type.TEMPLATE) + wire._counted(18, data))
    with pytest.raises(Malformed, match="deep"):
        decode(data)


TYPES = {
    "Int8": (Type.INT8, -128),
    "Int16": (Type.INT16, 32767),
    "Int32": (Type.INT32, -2_000_000_000),
    "Int64": (Type.INT64, 1_700_000_000_000),
    "UInt8": (Type.UINT8, 255),
    "UInt16": (Type.UINT16, 65535),
    "UInt64": (Type.UINT64, 2**40),
    "Float": (Type.FLOAT, 0.5),
    "Double": (Type.DOUBLE, -1e300),
    "Boolean": (Type.BOOLEAN, True),
    "String": (Type.STRING, "瓦斯 CH4"),
    "Text": (Type.TEXT, "line\nline"),
    "UUID": (Type.UUID, "d4f2"),
    "nothing": (Type.DOUBLE, None),
}


@each_decoder
def test_each_type_means_the_same_to_others(decoder: str):
    metrics = [
        Metric(name, type, value, 1_700_000_000_000 + n) for n, (name, (type, value)) in enumerate(TYPES.items())
    ]
    births = Payload(1_700_000_000_000, 0, [*metrics, Metric("old", Type.DOUBLE, 2.5, 5, historical=True)])
    (told,) = decoded(decoder, [("spBv1.0/g/DBIRTH/e/d", encode(births))])
    assert "error" not in told
    assert (told["timestamp"], told["seq"]) == (1_700_000_000_000, 0)
    for one, (name, (type, value)) in zip(told["metrics"], TYPES.items(), strict=False):
        if (decoder, name) == ("node", "Int8"):  # it reads all integers of up to 32 bits as one of 32
            assert struct.pack("<i", one["value"])[:1] == struct.pack("<b", value)
            continue
        assert (one["name"], one["value"]) == (name, value)
        assert one["type"].lower() == type.name.lower()
    assert told["metrics"][-1]["isHistorical"] is True


@each_decoder
def test_what_is_not_a_number_is_null_to_others(decoder: str):
    (told,) = decoded(decoder, [("spBv1.0/g/DBIRTH/e/d", encode(Payload(1, 0, [Metric("a", Type.DOUBLE, None, 1)])))])
    assert told["metrics"][0]["value"] is None
