"""The payload of Sparkplug B 3.0 as bytes: what a `Payload` message of the published schema is in protobuf. Pure.

Written from the schema's numbers and types (Sparkplug 3.0, 6.4); protobuf itself is varints, eight and four bytes, and
counted bytes. What another party says is decoded with care: unknown fields are skipped, as protobuf wants it, and
whatever does not fit raises `Malformed`.

    Payload    1 timestamp u64   2 metrics Metric*   3 seq u64   4 uuid string   5 body bytes
    Metric     1 name string   2 alias u64   3 timestamp u64   4 datatype u32   5 is_historical   6 is_transient
               7 is_null   8 metadata   9 properties PropertySet   10-18 the value
    value      int u32, long u64, float, double, boolean, string; of a metric also bytes, DataSet, Template: in this
               order, from 10 in a Metric, 3 in a PropertyValue and a Parameter, 1 in a DataSetValue

A signed integer travels as two's complement in the unsigned field. One of 8 or 16 bits may come with 8, 16 or 32 of
them, for the libraries do not agree.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple


class Malformed(ValueError):
    """The bytes are no payload."""


class Type(IntEnum):
    """Datatypes (6.4.16)."""

    UNKNOWN = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTYSET = 20
    PROPERTYSETLIST = 21
    INT8_ARRAY = 22
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATETIME_ARRAY = 34


BAD, GOOD, STALE = 0, 192, 500  # the property `Quality` (6.4.9.1)

SIGNED = {Type.INT8: 8, Type.INT16: 16, Type.INT32: 32, Type.INT64: 64}  # bits
INTS = {Type.INT8, Type.INT16, Type.INT32, Type.UINT8, Type.UINT16, Type.UINT32}
LONGS = {Type.INT64, Type.UINT64, Type.DATETIME}
TEXTS = {Type.STRING, Type.TEXT, Type.UUID}
ARRAYS = dict(zip(range(Type.INT8_ARRAY, Type.DOUBLE_ARRAY + 1), "bhiqBHIQfd", strict=True)) | {
    int(Type.DATETIME_ARRAY): "q"
}

INT, LONG, FLOAT, DOUBLE, BOOLEAN, STRING, RAW, SET, TEMPLATE = range(9)  # where a value stands, from its first number
IN_METRIC, IN_PROPERTY, IN_CELL = 10, 3, 1  # the first number
DEPTH = 8  # of templates and property sets within each other; project
VARINT, EIGHT, COUNTED, FOUR = 0, 1, 2, 5  # wire types of protobuf

Property = tuple[int, Any]  # type and value; None: is_null


class Metric(NamedTuple):
    """One metric. `value` is None where it is null, or (decoded) where none was given."""

    name: str = ""
    type: int = Type.UNKNOWN
    value: Any = None
    at: int | None = None  # ms UTC
    alias: int | None = None
    historical: bool = False
    transient: bool = False
    properties: Mapping[str, Property] = {}


class Payload(NamedTuple):
    """One message."""

    at: int | None = None  # ms UTC
    seq: int | None = None
    metrics: Sequence[Metric] = ()
    uuid: str = ""


class DataSet(NamedTuple):
    """A table."""

    columns: tuple[str, ...]
    types: tuple[int, ...]
    rows: tuple[tuple[Any, ...], ...]


class Template(NamedTuple):
    """What others make of several metrics; we read them and send none."""

    version: str
    ref: str
    definition: bool
    metrics: tuple[Metric, ...]
    parameters: Mapping[str, Property]


# -- out ------------------------------------------------------------------------------------------------


def varint(n: int) -> bytes:
    """
    >>> varint(300).hex()
    'ac02'
    """
    if n < 0x80:
        return bytes((n,))
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _number(field: int, n: int) -> bytes:
    return varint(field << 3 | VARINT) + varint(n)


def _counted(field: int, data: bytes) -> bytes:
    return varint(field << 3 | COUNTED) + varint(len(data)) + data


def _text(field: int, text: str) -> bytes:
    return _counted(field, text.encode("utf-8", "replace"))


def _value(first: int, type: int, value: Any) -> bytes:
    """A value that is not null, in the field that its type asks for. Raises `ValueError` where it does not fit."""
    if type in SIGNED:
        bits = SIGNED[Type(type)]
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise ValueError(f"{value} does not fit {Type(type).name}")
        return _number(first + (INT if bits <= 32 else LONG), int(value) & (1 << bits) - 1)
    if type in INTS:
        return _number(first + INT, int(value))
    if type in LONGS:
        return _number(first + LONG, int(value))
    if type == Type.DOUBLE:
        return varint(first + DOUBLE << 3 | EIGHT) + struct.pack("<d", value)
    if type == Type.FLOAT:
        return varint(first + FLOAT << 3 | FOUR) + struct.pack("<f", value)
    if type == Type.BOOLEAN:
        return _number(first + BOOLEAN, bool(value))
    if type in TEXTS:
        return _text(first + STRING, value)
    if type in (Type.BYTES, Type.FILE):
        return _counted(first + RAW, value)
    if type == Type.DATASET:
        return _counted(first + SET, _dataset(value))
    if type in ARRAYS or type in (Type.BOOLEAN_ARRAY, Type.STRING_ARRAY):
        return _counted(first + RAW, _array(type, value))
    raise ValueError(f"datatype {type} is not sent")


def _array(type: int, value: Sequence[Any]) -> bytes:
    if type == Type.STRING_ARRAY:
        return b"".join(text.encode() + b"\0" for text in value)
    if type == Type.BOOLEAN_ARRAY:
        packed = bytearray((len(value) + 7) // 8)
        for i, on in enumerate(value):
            packed[i // 8] |= bool(on) << 7 - i % 8
        return struct.pack("<I", len(value)) + bytes(packed)
    return struct.pack(f"<{len(value)}{ARRAYS[type]}", *value)


def _dataset(value: DataSet) -> bytes:
    rows = [
        b"".join(
            _counted(1, b"" if cell is None else _value(IN_CELL, type, cell))
            for type, cell in zip(value.types, row, strict=True)
        )
        for row in value.rows
    ]
    return b"".join(
        (
            _number(1, len(value.columns)),
            *(_text(2, name) for name in value.columns),
            *(_number(3, type) for type in value.types),
            *(_counted(4, row) for row in rows),
        )
    )


def properties(given: Mapping[str, Property]) -> bytes:
    """A PropertySet: as many values as keys, each with its type."""
    values = [
        _number(1, type) + (_number(2, 1) if value is None else _value(IN_PROPERTY, type, value))
        for type, value in given.values()
    ]
    return b"".join((*(_text(1, key) for key in given), *(_counted(2, value) for value in values)))


def metric(given: Metric, typed: bool = True) -> bytes:
    """One metric; without its datatype where not `typed`."""
    parts = []
    if given.name:
        parts.append(_text(1, given.name))
    if given.alias is not None:
        parts.append(_number(2, given.alias))
    if given.at is not None:
        parts.append(_number(3, given.at))
    if typed:
        parts.append(_number(4, given.type))
    if given.historical:
        parts.append(_number(5, 1))
    if given.transient:
        parts.append(_number(6, 1))
    if given.value is None:
        parts.append(_number(7, 1))
    if given.properties:
        parts.append(_counted(9, properties(given.properties)))
    if given.value is not None:
        parts.append(_value(IN_METRIC, given.type, given.value))
    return b"".join(parts)


def head(name: str, alias: int | None) -> bytes:
    """How a metric begins: by what it is called."""
    return (_text(1, name) if name else b"") + (b"" if alias is None else _number(2, alias))


def beside(given: Mapping[str, Property]) -> bytes:
    """Properties as they stand in a metric."""
    return _counted(9, properties(given)) if given else b""


def doubles(
    heads: Sequence[bytes], at: int, values: Sequence[float], worths: Sequence[bytes], historical: bool, typed: bool
) -> list[bytes]:
    """Many metrics of the type Double and of one time, as `metric` writes them; NaN is null.

    `heads` and `worths` are what `head` and `beside` give: they seldom change, and telemetry is mostly this.
    """
    middle = _number(3, at) + (_number(4, Type.DOUBLE) if typed else b"") + (_number(5, 1) if historical else b"")
    packed = struct.pack(f"<{len(values)}d", *values)
    null, mark = _number(7, 1), varint(IN_METRIC + DOUBLE << 3 | EIGHT)
    return [
        b"".join((begin, middle, end, mark, packed[8 * i : 8 * i + 8]))
        if value == value
        else b"".join((begin, middle, null, end))
        for i, (begin, value, end) in enumerate(zip(heads, values, worths, strict=True))
    ]


def framed(metrics: Sequence[bytes], at: int | None = None, seq: int | None = None, uuid: str = "") -> bytes:
    """A payload of metrics that are encoded already."""
    return b"".join(
        (
            b"" if at is None else _number(1, at),
            *(_counted(2, one) for one in metrics),
            b"" if seq is None else _number(3, seq),
            _text(4, uuid) if uuid else b"",
        )
    )


def encode(payload: Payload, typed: bool = True) -> bytes:
    """
    >>> encode(Payload(1, 2, [Metric("a", Type.BOOLEAN, True, 3)])).hex()
    '080112090a01611803200b70011802'
    """
    return framed([metric(one, typed) for one in payload.metrics], payload.at, payload.seq, payload.uuid)


# -- in -------------------------------------------------------------------------------------------------


def fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and raw value of every field: an int, or bytes. Raises `Malformed`."""
    at, end = 0, len(data)
    while at < end:
        key, at = _read(data, at)
        number, kind = key >> 3, key & 7
        if not number:
            raise Malformed("field 0")
        if kind == VARINT:
            value, at = _read(data, at)
            yield number, kind, value
            continue
        if kind == COUNTED:
            length, at = _read(data, at)
        elif kind in (EIGHT, FOUR):
            length = 8 if kind == EIGHT else 4
        else:
            raise Malformed(f"wire type {kind}")
        if at + length > end:
            raise Malformed("cut off")
        yield number, kind, data[at : at + length]
        at += length


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("cut off" if at >= len(data) else "a number of more than 64 bits")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7


def _string(value: Any) -> str:
    if not isinstance(value, bytes):
        raise Malformed("text is expected")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Malformed("text is not UTF-8") from error


def _int(value: Any) -> int:
    if not isinstance(value, int):
        raise Malformed("a number is expected")
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise Malformed("bytes are expected")
    return value


def _meant(type: int, place: int, kind: int, value: Any, depth: int) -> Any:
    """What the field at `place` means as `type`."""
    if place in (INT, LONG):
        number = _int(value)
        if type in SIGNED:
            bits = SIGNED[Type(type)]
            number &= (1 << bits) - 1
            return number - (1 << bits) if number >> bits - 1 else number
        return number
    if place in (FLOAT, DOUBLE):
        if kind != (FOUR if place == FLOAT else EIGHT):
            raise Malformed("a float is expected")
        return struct.unpack("<f" if place == FLOAT else "<d", value)[0]
    if place == BOOLEAN:
        return bool(_int(value))
    if place == STRING:
        return _string(value)
    if place == SET:
        return _read_dataset(_bytes(value))
    if place == TEMPLATE:
        return _read_template(_bytes(value), depth + 1)
    return _read_array(type, _bytes(value))


def _read_array(type: int, raw: bytes) -> Any:
    if type == Type.STRING_ARRAY:
        return tuple(_string(text) for text in raw.split(b"\0")[:-1])
    if type == Type.BOOLEAN_ARRAY:
        if len(raw) < 4 or (count := struct.unpack_from("<I", raw)[0]) > 8 * (len(raw) - 4):
            raise Malformed("an array of booleans that is cut off")
        return tuple(bool(raw[4 + i // 8] >> 7 - i % 8 & 1) for i in range(count))
    if type in ARRAYS:
        size = struct.calcsize("<" + ARRAYS[type])
        if len(raw) % size:
            raise Malformed("an array that is cut off")
        return struct.unpack(f"<{len(raw) // size}{ARRAYS[type]}", raw)
    return raw


def _read_dataset(data: bytes) -> DataSet:
    columns: list[str] = []
    types: list[int] = []
    rows: list[bytes] = []
    for number, kind, value in fields(data):
        match number:
            case 2:
                columns.append(_string(value))
            case 3 if kind == COUNTED:  # packed
                at = 0
                while at < len(value):
                    type, at = _read(value, at)
                    types.append(type)
            case 3:
                types.append(_int(value))
            case 4:
                rows.append(_bytes(value))
    if len(types) != len(columns):
        raise Malformed("a data set with as many types as columns is expected")
    return DataSet(tuple(columns), tuple(types), tuple(_row(row, types) for row in rows))


def _row(data: bytes, types: Sequence[int]) -> tuple[Any, ...]:
    cells = [_bytes(value) for number, _, value in fields(data) if number == 1]
    if len(cells) != len(types):
        raise Malformed("a row of a data set has a value for each column")
    return tuple(_one(cell, type, IN_CELL) for cell, type in zip(cells, types, strict=True))


def _one(data: bytes, type: int, first: int) -> Any:
    found = None
    for number, kind, value in fields(data):
        if INT <= number - first <= STRING:
            found = _meant(type, number - first, kind, value, 0)
    return found


def _read_properties(data: bytes, depth: int) -> dict[str, Property]:
    if depth > DEPTH:
        raise Malformed("too deep")
    keys: list[str] = []
    values: list[Property] = []
    for number, _, value in fields(data):
        if number == 1:
            keys.append(_string(value))
        elif number == 2:
            values.append(_read_property(_bytes(value), depth))
    if len(keys) != len(values):
        raise Malformed("a property set has as many values as keys")
    return dict(zip(keys, values, strict=True))


def _read_property(data: bytes, depth: int) -> Property:
    found = list(fields(data))
    type = next((_int(value) for number, _, value in found if number == 1), 0)
    for number, _, value in found:
        if number == 9:
            return type, _read_properties(_bytes(value), depth + 1)
        if number == 10:
            inner = [_bytes(one) for n, _, one in fields(_bytes(value)) if n == 1]
            return type, tuple(_read_properties(one, depth + 1) for one in inner)
    null = any(number == 2 and value for number, _, value in found)
    return type, None if null else _one(data, type, IN_PROPERTY)


def _read_template(data: bytes, depth: int) -> Template:
    if depth > DEPTH:
        raise Malformed("too deep")
    version = ref = ""
    definition = False
    metrics: list[Metric] = []
    parameters: dict[str, Property] = {}
    for number, _, value in fields(data):
        match number:
            case 1:
                version = _string(value)
            case 2:
                metrics.append(_read_metric(_bytes(value), depth))
            case 3:
                found = list(fields(_bytes(value)))
                name = next((_string(v) for n, _, v in found if n == 1), "")
                type = next((_int(v) for n, _, v in found if n == 2), 0)
                parameters[name] = type, _one(value, type, IN_PROPERTY)
            case 4:
                ref = _string(value)
            case 5:
                definition = bool(_int(value))
    return Template(version, ref, definition, tuple(metrics), parameters)


def _read_metric(data: bytes, depth: int = 0) -> Metric:
    found = list(fields(data))
    told: dict[str, Any] = {}
    type = next((_int(value) for number, _, value in found if number == 4), int(Type.UNKNOWN))
    null = False
    for number, kind, value in found:
        match number:
            case 1:
                told["name"] = _string(value)
            case 2:
                told["alias"] = _int(value)
            case 3:
                told["at"] = _int(value)
            case 5:
                told["historical"] = bool(_int(value))
            case 6:
                told["transient"] = bool(_int(value))
            case 7:
                null = bool(_int(value))
            case 9:
                told["properties"] = _read_properties(_bytes(value), depth)
            case _ if INT <= number - IN_METRIC <= TEMPLATE:
                told["value"] = _meant(type, number - IN_METRIC, kind, value, depth)
    if null:
        told["value"] = None
    return Metric(type=type, **told)


def decode(data: bytes) -> Payload:
    """Anybody's bytes. Raises `Malformed`."""
    at: int | None = None
    seq: int | None = None
    metrics: list[Metric] = []
    uuid = ""
    for number, _, value in fields(data):
        match number:
            case 1:
                at = _int(value)
            case 2:
                metrics.append(_read_metric(_bytes(value)))
            case 3:
                seq = _int(value)
            case 4:
                uuid = _string(value)
    return Payload(at, seq, metrics, uuid)
