"""Registers to columns: addresses, read plans, every type in every order."""

from __future__ import annotations

import math
import struct
import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.frame import Quality
from drivers.modbus import Device
from drivers.registers import KINDS, Channel, decode, join, layout, loop_of, place, plan, registers_of, text_of

GOOD, OVER, FAULT = Quality.GOOD, Quality.OVER_RANGE, Quality.FAULT
ORDERS = ("ABCD", "BADC", "CDAB", "DCBA")
DEVICES = Path(__file__).parents[2] / "configs" / "devices"
FORMATS = {
    "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I",
    "int64": ">q", "uint64": ">Q", "float32": ">f", "float64": ">d",
}  # fmt: skip


def channel(**settings):
    return msgspec.convert({"key": "x", "at": "holding:0", **settings}, Channel)


def shuffled(big: bytes, order: str) -> bytes:
    """Big-endian bytes as they travel in `order`; told in words and halves, not by a table of positions."""
    words = [big[i : i + 2] for i in range(0, len(big), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return b"".join(words)


def read(channels, payload: bytes):
    """Decode `payload` as the one block that `channels` plan."""
    made = plan(channels)
    assert len(made.blocks) == 1
    return decode(made, np.frombuffer(payload, np.uint8))


def one(payload: bytes, **settings):
    raw, value, quality = read([channel(**settings)], payload)
    return raw[0], value[0], quality[0]


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)


# -- addresses ------------------------------------------------------------------------------------


def test_addresses_in_every_notation():
    assert place("holding:0x1000") == place("holding:4096") == ("holding", 4096, 0, 0)
    assert place(40001) == place("40001") == place(400001) == place("holding:0")
    assert place(30010) == ("input", 9, 0, 0)
    assert place("10001") == ("discrete", 0, 0, 0)
    assert place("00017") == place("000017") == ("coil", 16, 0, 0)
    assert place(465536) == ("holding", 65535, 0, 0)
    assert place("holding:0x10.3") == ("holding", 16, 3, 1)
    assert place("holding:0x10.4-7") == ("holding", 16, 4, 4)
    assert place("40017.15") == ("holding", 16, 15, 1)


@pytest.mark.parametrize(
    "wrong",
    [40000, 5, "5", "holding:65536", "holding:0x10.16", "holding:0x10.7-4", "coil:1.2", "register:1", 50001, ""],
)
def test_addresses_that_mean_nothing_are_refused_with_a_reason(wrong):
    with pytest.raises(ValueError, match="address"):
        place(wrong)


@pytest.mark.parametrize(
    ("settings", "words_of_fault"),
    [
        ({"at": "coil:0", "type": "float32"}, "one bit"),
        ({"raw": [0, 100]}, "raw needs range"),
        ({"range": [0, 100]}, "range needs raw"),
        ({"raw": [0, 100], "range": [0, 1], "scale": 2}, "leave scale"),
        ({"raw": [7, 7], "range": [0, 1]}, "two different"),
        ({"signal": "4-20mA"}, "signal needs range"),
        ({"low": 5, "high": 1}, "low must be below"),
        ({"at": "holding:65535", "type": "int32"}, "beyond register"),
        ({"at": "holding:1.3", "type": "int32"}, "bit field"),
        ({"count": 4, "type": "int16"}, "strings only"),
        ({"scale": 0}, "scale 0"),
        ({"scale": math.nan}, "scale = nan"),
        ({"offset": math.inf}, "offset = inf"),
        ({"raw": [0, math.inf], "range": [0, 1]}, "raw = "),
        ({"raw": [0, 1], "range": [math.nan, 1]}, "range = "),
        ({"low": -math.inf}, "low = -inf"),
        ({"high": math.nan}, "high = nan"),
        ({"stale": math.inf}, "stale = inf"),
        ({"deadband": math.inf}, "deadband = inf"),
        ({"sentinel": [1.0, math.nan]}, "sentinel = "),
        ({"signal": "4-20mA", "raw": [0, 4095], "range": [0, 500]}, "uint16 cannot show less than 4 mA.*819"),
        ({"signal": "4-20mA", "scale": 16 / 65535, "offset": 4, "range": [0, 500]}, "broken wire"),
        ({"signal": "4-20mA", "raw": [0, 9999], "range": [0, 500], "type": "bcd16"}, "bcd16 cannot show less"),
        ({"typo": 1}, "typo"),
        ({"order": "ABDC"}, "ABDC"),
        ({"key": "a/b"}, "key"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(settings, words_of_fault):
    with pytest.raises(msgspec.ValidationError, match=words_of_fault):
        channel(**settings)


@pytest.mark.parametrize(
    "settings",
    [{"raw": [819, 4095]}, {"raw": [0, 27648], "type": "int16"}, {"scale": 0.001}, {"raw": [0, 1], "type": "float32"}],
)
def test_a_loop_on_which_a_broken_wire_shows_is_allowed_and_shows_it(settings):
    made = channel(signal="4-20mA", range=[0, 500], **settings)
    gain, bias = loop_of(made)
    number = -bias / gain  # 0 mA
    form = ">f" if made.type == "float32" else ">h"
    assert one(struct.pack(form, number if form == ">f" else round(number)), **msgspec.to_builtins(made))[2] == FAULT


# -- every type in every order --------------------------------------------------------------------


@given(st.data(), st.sampled_from(sorted(FORMATS)), st.sampled_from(ORDERS))
def test_what_was_encoded_is_decoded(data, type, order):
    form = FORMATS[type]
    width = struct.calcsize(form)
    if type.startswith("float"):
        number = data.draw(st.floats(width=8 * width, allow_nan=False, allow_infinity=False))
    else:
        signed = not type.startswith("u")
        bits = 8 * width
        number = data.draw(st.integers(-(1 << bits - 1) if signed else 0, (1 << bits - signed) - 1))
    raw, value, quality = one(shuffled(struct.pack(form, number), order), type=type, order=order)
    assert (raw, value, quality) == (float(number), float(number), GOOD)


@given(st.integers(0, 99_999_999), st.sampled_from(ORDERS))
def test_bcd(number, order):
    assert one(shuffled(bytes.fromhex(f"{number:08d}"), order), type="bcd32", order=order)[1] == number
    short = number % 10_000
    assert one(shuffled(bytes.fromhex(f"{short:04d}"), order), type="bcd16", order=order)[1] == short


def test_a_bcd_digit_above_nine_is_a_fault():
    _, value, quality = one(words(0x12A4), type="bcd16")
    assert np.isnan(value)
    assert quality == FAULT


def test_the_order_table_of_the_module_holds_for_64_bits():
    for order, letters in zip(ORDERS, ("ABCDEFGH", "BADCFEHG", "GHEFCDAB", "HGFEDCBA"), strict=True):
        assert shuffled(b"ABCDEFGH", order).decode() == letters
        wire = bytes(letters.encode())
        assert one(wire, type="uint64", order=order)[0] == float(int.from_bytes(b"ABCDEFGH", "big"))


def test_bits_and_bit_fields():
    word = words(0b1010_0000_0001_1000)
    assert one(word, at="holding:0.3")[1] == 1
    assert one(word, at="holding:0.2")[1] == 0
    assert one(word, at="holding:0.3-4")[1] == 3
    assert one(word, at="holding:0.12-15")[1] == 10
    assert one(word, type="bits")[1] == 0xA018
    assert one(word, type="bool")[1] == 1
    assert one(word, at="holding:0.3", order="BADC")[1] == 0


@given(st.lists(st.booleans(), min_size=1, max_size=70), st.integers(0, 60000))
def test_coils(bits, start):
    channels = [channel(key=f"c{i}", at=f"coil:{start + i}") for i in range(len(bits))]
    packed = sum(1 << i for i, bit in enumerate(bits) if bit).to_bytes((len(bits) + 7) // 8, "little")
    assert read(channels, packed)[1].tolist() == [float(bit) for bit in bits]


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=10), st.sampled_from(["ABCD", "BADC"]))
def test_strings_are_texts_not_columns(text, order):
    made = plan([channel(type="string", count=5, order=order)])
    image = np.frombuffer(shuffled(text.encode().ljust(10, b"\0"), order), np.uint8)
    assert text_of(made.texts[0], image) == text
    assert len(decode(made, image)[0]) == 0


# -- from number to value and quality -------------------------------------------------------------


@given(st.integers(-32768, 32767), st.floats(-100, 100).filter(lambda s: abs(s) > 1e-3), st.floats(-100, 100))
def test_scale_and_offset(number, scale, offset):
    raw, value, _ = one(struct.pack(">h", number), type="int16", scale=scale, offset=offset)
    assert raw == number
    assert value == pytest.approx(float(Decimal(number) * Decimal(scale) + Decimal(offset)), rel=1e-12, abs=1e-9)


def test_raw_range_to_range_also_upside_down():
    assert one(words(0), raw=[0, 4095], range=[-50, 150])[1] == -50
    assert one(words(4095), raw=[0, 4095], range=[-50, 150])[1] == 150
    assert one(words(1000), raw=[1000, 0], range=[0, 10])[1] == 0


@pytest.mark.parametrize(
    ("current", "value", "quality"),
    [
        (3.0, None, FAULT), (3.59, None, FAULT), (3.6, -2.5, OVER), (3.79, -1.3125, OVER), (3.8, -1.25, GOOD),
        (4.0, 0, GOOD), (12.0, 50, GOOD), (20.0, 100, GOOD), (20.5, 103.125, GOOD), (20.51, 103.1875, OVER),
        (21.0, 106.25, OVER), (21.01, None, FAULT), (0.0, None, FAULT),
    ],
)  # fmt: skip
def test_namur_ne_43(current, value, quality):
    for settings in ({"scale": 0.01}, {"raw": [400, 2000]}):
        got = one(words(round(100 * current)), signal="4-20mA", range=[0, 100], **settings)
        assert got[2] == quality
        assert np.isnan(got[1]) if value is None else got[1] == pytest.approx(value)


def test_sentinels_and_what_is_no_number_are_faults_and_keep_their_raw():
    assert one(words(0xFFFF), sentinel=[65535, 32768])[::2] == (65535, FAULT)
    assert np.isnan(one(words(0xFFFF), sentinel=[65535])[1])
    assert one(struct.pack(">f", -9999.9), type="float32", sentinel=[-9999.9])[2] == FAULT
    for number in (np.nan, np.inf, -np.inf):
        assert one(struct.pack(">f", number), type="float32")[2] == FAULT
        assert one(struct.pack(">d", number), type="float64")[2] == FAULT
    assert one(bytes.fromhex("7f800001"), type="float32")[2] == FAULT  # a signalling NaN; also without a warning


def test_outside_the_instruments_range_is_over_range_and_keeps_its_value():
    assert one(words(41), scale=0.1, low=0, high=4) == (41, pytest.approx(4.1), OVER)
    assert one(words(40), scale=0.1, low=0, high=4)[2] == GOOD
    assert one(struct.pack(">h", -1), type="int16", low=0)[2] == OVER


def test_the_layout_says_what_the_settings_say():
    made = layout([channel(key="a", unit="%", low=0, high=4), channel(key="t", type="string", count=2),
                   channel(key="b", raw=[0, 1], range=[9, -3], stale=7, deadband=0.5)], period=2.0)  # fmt: skip
    assert made.key == ("a", "b")
    assert (made.low.tolist(), made.high.tolist()) == ([0, -3], [4, 9])
    assert (made.stale.tolist(), made.deadband.tolist()) == ([6, 7], [0, 0.5])


# -- read plan ------------------------------------------------------------------------------------

TYPES = ("uint16", "float32", "float64", "bcd32")
places = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 600), st.sampled_from(TYPES)), min_size=1, max_size=60
)


@given(places, st.integers(4, 125), st.integers(1, 300), st.integers(0, 20), st.data())
def test_a_plan_reads_every_value_whole_within_the_limits(where, most, most_bits, gap, data):
    channels = [
        channel(key=f"k{i}", at=f"{kind}:{a}", type="bool" if kind in ("coil", "discrete") else t)
        for i, (kind, a, t) in enumerate(where)
    ]
    absent = frozenset(data.draw(st.sets(st.tuples(st.sampled_from(KINDS), st.integers(0, 600)), max_size=20)))
    made = plan(channels, most, most_bits, gap, absent)
    for block in made.blocks:
        assert block.count <= (most_bits if block.kind in ("coil", "discrete") else most)
        assert absent.isdisjoint((block.kind, a) for a in range(block.start, block.start + block.count))
    for i, c in enumerate(channels):
        spot, count = place(c.at), registers_of(c)
        own = {(spot.kind, a) for a in range(spot.start, spot.start + count)}
        if own & absent:
            assert made.block_of[i] == -1
        else:
            block = made.blocks[made.block_of[i]]
            assert block.kind == spot.kind
            assert block.start <= spot.start
            assert spot.start + count <= block.start + block.count


@given(places, st.integers(0, 20))
def test_channels_in_any_order_decode_the_same(where, gap):
    channels = [
        channel(key=f"k{i}", at=f"holding:{a}", type=t, order=ORDERS[i % 4]) for i, (_, a, t) in enumerate(where)
    ]
    memory = np.random.default_rng(7).integers(0, 256, 2048, dtype=np.uint8)

    def values(row):
        made = plan(row, gap=gap)
        parts = [memory[2 * b.start : 2 * (b.start + b.count)] for b in made.blocks]
        raw, _, quality = decode(made, np.concatenate(parts))
        return {c.key: (repr(float(r)), int(q)) for c, r, q in zip(row, raw, quality, strict=True)}

    assert values(channels) == values(channels[::-1])


def test_neighbours_share_requests_and_gaps_are_bridged():
    assert [b[:2] for b in join([(i, 2) for i in range(0, 2000, 2)], 125, 8)] == [
        (a, min(124, 2000 - a)) for a in range(0, 2000, 124)
    ]
    assert [b[:2] for b in join([(0, 1), (9, 1), (19, 1)], 125, 8)] == [(0, 10), (19, 1)]
    assert [b[:2] for b in join([(0, 1), (4, 1)], 125, 8, frozenset({2}))] == [(0, 1), (4, 1)]
    with pytest.raises(ValueError, match="do not fit"):
        join([(0, 4)], 3, 0)


# -- profiles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(DEVICES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_device_profile_loads_and_can_be_read(path):
    table = {k: v for k, v in tomllib.loads(path.read_text()).items() if k not in ("maker", "model", "note")}
    made = msgspec.convert({"name": "dev", **table}, Device)
    assert plan(made.channel, made.max_registers, made.max_bits, made.gap).blocks


def test_the_generic_current_module_calls_a_broken_wire_a_fault():
    table = tomllib.loads((DEVICES / "generic-4-20ma-8ch.toml").read_text())
    channels = [msgspec.convert(row, Channel) for row in table["channel"]]
    _, value, quality = read(channels, words(0, 819, 2457, 4095, 750, 737, 736, 819))
    assert value[[1, 2, 3]].tolist() == pytest.approx([4, 12, 20])
    assert quality.tolist() == [FAULT, GOOD, GOOD, GOOD, OVER, FAULT, FAULT, GOOD]
