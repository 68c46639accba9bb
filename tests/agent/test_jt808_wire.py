"""JT/T 808 on the wire: frames of other people's terminals and platforms, byte for byte, and bytes that are none.

The frames were seen in the tests of open implementations (SmallChi/JT808, go-jt808: MIT; Traccar: Apache-2.0).
"""

from __future__ import annotations

import doctest
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import BadReply
from agent.uplink import jt808_wire as wire
from agent.uplink import jt808_words as words
from agent.uplink.jt808_wire import Chunk, FileStream, Joiner, Packet, Stream
from agent.uplink.jt808_words import (
    Adas,
    Answer,
    Authentication,
    Blind,
    Driver,
    Fast,
    File,
    FileDone,
    FileName,
    Files,
    Form,
    Harsh,
    Hole,
    Item,
    Location,
    Locations,
    Mark,
    Missing,
    Nothing,
    Parameter,
    Parameters,
    ParametersTold,
    Raw,
    Registered,
    Registration,
    Scene,
    Text,
    Tyre,
    Upload,
    Wheel,
)

HERE = Location(1, 2, 12_222_222, 132_444_444, 40, 60, 0, "181015101010", (Item(1, 100), Item(2, 125)))
THERE = Location(2, 1, 13_333_333, 132_555_555, 41, 54, 120, "180715101030", (Item(1, 96), Item(2, 66)))
MOVING = Location(
    0, 3, 30_636_853, 104_816_201, 416, 330, 283, "210917171126",
    (Item(1, 3141), Item(0x30, 21), Item(0x31, 4), Item(0x61, b"\x1d\x74")),
)  # fmt: skip
PARKED = Location(
    0, 0xC0003, 22_589_078, 113_837_718, 0, 0, 107, "210917172559",
    (Item(1, 1), Item(0x30, 25), Item(0x31, 10), Item(0x61, b"\x04\xdc"), Item(0xE2, b"GB201-GSM-21001-1.1.1")),
)  # fmt: skip
ORDER = Upload(
    "47.104.97.169", 8202, 8203, Mark("7654321", "200707192359", 1, 1, b"\x01"), "ad72131579e54be0b0f737cfc72c5db8"
)
SEEN: list[tuple[str, str, int, Any]] = [  # frame, phone, serial, what it says
    ("7e02000026123456789012007d02000000010000000200ba7f0e07e4f11c0028003c000018101510101001040000006402020"
     "07d01137e", "123456789012", 126, HERE),
    ("7e0002000004304832546500b7ca7e", "043048325465", 183, Nothing()),
    ("7e0100002d007089994489002800000000000000000048422d52303347424400000000000000000000003139303637353102414243"
     "3030303030d17e", "007089994489", 40, Registration(0, 0, "", "HB-R03GBD", "1906751", 2, "ABC00000")),
    ("7e010040540100000000000123456789000a0028003230303030303030313233343030303030303030303030303030303030303073"
     "6d616c6c63686931323330303030303030303030303030303030303030303030303043484931323301d4c1413132333435b27e",
     "00000000000123456789", 10,
     Registration(40, 50, "00000001234", "0000000000000000000smallchi123", "000000000000000000000000CHI123", 1,
                  "粤A12345")),
    ("7e0102000e013511221122000661757468656e7469636174696f6e3f7e", "013511221122", 6,
     Authentication("authentication")),
    ("7e0200002c0138083582460440000000000000000301d37b35063f5e4901a0014a011b210917171126010400000c45300115310104"
     "61021d74a27e", "013808358246", 1088, MOVING),
    ("7e02004043010000086061575429591701bc00000000000c00030158ae9606c9069600000000006b21091717255901040000000130"
     "011931010a610204dce21547423230312d47534d2d32313030312d312e312e31c57e", "00000860615754295917", 444, PARKED),
    ("7e0704005311223344556622b80002000026000000010000000200ba7f0e07e4f11c0028003c000018071510101001040000006402"
     "0200370026000000020000000100cb735507e6a32300290036007818071510103001040000006002020042d47e", "112233445566",
     8888, Locations(0, (Location(1, 2, 12_222_222, 132_444_444, 40, 60, 0, "180715101010",
                                  (Item(1, 100), Item(2, 55))), THERE))),
    ("7e80010005012345678900000a0064020000617e", "012345678900", 10, Answer(100, 0x0200, 0)),
    ("7e8100000e01234567890100010000003132333435363738393031367e", "012345678901", 1,
     Registered(0, 0, "12345678901")),
    ("7e9208005212345678901200010d34372e3130342e39372e313639200a200b37363534333231200707192359010101616437323133"
     "313537396535346265306230663733376366633732633564623800000000000000000000000000000000427e", "123456789012", 1,
     ORDER),
    ("7e0102402f010000000001729984173800000b3137323939383431373338313233343536373839303132333435332e372e31350000"
     "000000000000000000000000227e", "00000000017299841738", 0,
     Authentication("17299841738", "123456789012345", "3.7.15")),
    ("7e800300150123456789017fff1099090001000200030004000500060007000800091f7e", "012345678901", 0x7FFF,
     Missing(4249, tuple(range(1, 10)))),
    ("7e0200007c0123456789017fff000004000000080006eeb6ad02633df701380003006320070719235901040000000b020200160302"
     "00210402002c051e3737370000000000000000000000000000000000000000000000000000001105420000004212064d0000004d4d"
     "1307000000580058582504000000632a02000a2b040000001430011e3101286b7e", "012345678901", 0x7FFF,
     Location(1024, 2048, 116_307_629, 40_058_359, 312, 3, 99, "200707192359", (
         Item(1, 11), Item(2, 22), Item(3, 33), Item(4, 44), Item(5, b"777".ljust(30, b"\0")),
         Item(0x11, Fast(66, 66)), Item(0x12, words.Area(77, 77, 77)), Item(0x13, words.Section(88, 88, 88)),
         Item(0x25, 99), Item(0x2A, 10), Item(0x2B, 20), Item(0x30, 30), Item(0x31, 40)))),
]  # fmt: skip
FRAMES = [bytes.fromhex(frame) for frame, *_ in SEEN]


def test_examples_in_the_docstrings_run():
    assert [doctest.testmod(module).failed for module in (wire, words)] == [0, 0]


@pytest.mark.parametrize(("frame", "phone", "serial", "said"), SEEN)
def test_a_frame_that_others_sent_is_understood_and_goes_out_again_byte_for_byte(
    frame: str, phone: str, serial: int, said: Any
):
    stream = Stream()
    (packet,) = stream.feed(bytes.fromhex(frame))
    assert (stream.bad, packet.phone, packet.serial) == (0, phone, serial)
    assert words.read(packet) == said
    assert words.encode(said, Form(packet.layout)) == packet.body
    assert wire.pack(packet).hex() == frame


def test_a_registration_of_2011_has_a_short_model():
    (packet,) = Stream().feed(
        bytes.fromhex("7e010000200123456789010000001f007363640000007777772e3830382e3736353433323101b2e24131323334a17e")
    )
    said = words.read(packet, Form(2011))
    assert said == Registration(31, 115, "cd", "www.808.", "7654321", 1, "测A1234")
    assert words.encode(said, Form(2011)) == packet.body


def test_an_alarm_of_driver_assistance_has_its_47_bytes_where_they_belong():
    body = bytes.fromhex(
        "000000010000000200ba7f0e07e4f11c0028003c0000180715101010642f000000010c0605120a0b100f1100070000000d0000000e"
        "191211183100001334343434343434191210183100030200"
    )
    scene = Scene(17, 7, 13, 14, "191211183100", 0x13, Mark("4444444", "191210183100", 3, 2))
    said = words.decode(0x0200, body)
    assert said.items == (Item(0x64, Adas(1, 12, 6, 5, 18, 10, 11, 16, 15, scene)),)
    assert words.encode(said) == body


@pytest.mark.parametrize(("mark", "sizes"), [(16, (47, 47, 50, 41, 47)), (38, (69, 69, 72, 63, 69)),
                                             (39, (70, 70, 73, 64, 70)), (40, (71, 71, 74, 65, 71))])  # fmt: skip
def test_items_of_every_dialect_come_back_as_they_went(mark: int, sizes: tuple[int, ...]):
    form = Form(2019, mark)
    terminal = "7654321" if mark == 16 else "terminal-of-thirty-characters."
    scene = Scene(60, 500, 30_000_000, 120_000_000, "261128120000", 0x411, Mark(terminal, "261128120000", 7, 3))
    items = (
        Item(0x64, Adas(1, 1, 1, 2, 50, 27, 0, 0, 0, scene)),
        Item(0x65, Driver(2, 2, 1, 1, 8, b"\0\0\0\0", scene)),
        Item(0x66, Tyre(3, 0, scene, (Wheel(1, 0b110, 800, -5, 90),))),
        Item(0x67, Blind(4, 1, 2, scene)),
        Item(0x70, Harsh(5, 1, 2, 3, 40, 0, scene)),
    )
    here = Location(0, 3, 30_000_000, 120_000_000, 500, 600, 90, "261128120000", items)
    data = words.encode(here, form)
    assert tuple(data[i] for i in offsets(data[28:], 28)) == sizes
    assert words.decode(0x0200, data, form) == here
    order = Upload("10.0.0.1", 7000, 0, scene.mark, "n" * 32)
    files = Files(terminal, scene.mark, "n" * 32, 0, (FileName("a.jpg", 10), FileName("b.mp4", 1 << 20)))
    for id, body in ((0x9208, order), (0x1210, files)):
        assert words.decode(id, words.encode(body, form), form) == body


def offsets(data: bytes, base: int) -> list[int]:
    """Where the lengths of items stand."""
    found, at = [], 0
    while at < len(data):
        found.append(base + at + 1)
        at += 2 + data[at + 1]
    return found


def test_what_does_not_fit_is_kept_as_bytes_and_goes_out_as_it_came():
    odd = words.encode(HERE)[:28] + bytes.fromhex("0102ffff 6403010203 eb03aabbcc 300115".replace(" ", ""))
    said = words.decode(0x0200, odd)
    assert said.items == (Item(1, b"\xff\xff"), Item(0x64, b"\1\2\3"), Item(0xEB, b"\xaa\xbb\xcc"), Item(0x30, 21))
    assert words.encode(said) == odd
    assert words.decode(0x0F01, b"abc") == Raw(0x0F01, b"abc")
    short = words.decode(0x0200, b"abc")
    assert isinstance(short, Raw)
    assert "cut off" in short.why


def test_a_count_of_missing_parts_may_be_a_byte_or_a_word():
    assert words.decode(0x8003, bytes.fromhex("0007020001 0003".replace(" ", ""))) == Missing(7, (1, 3))
    assert words.decode(0x8003, bytes.fromhex("00070002 0001 0003".replace(" ", ""))) == Missing(7, (1, 3))


def test_parameters_texts_and_files_come_back_as_they_went():
    some = (Parameter(0x0001, bytes(4)), Parameter(0xF364, bytes(56)), Parameter(0x0013, b"host"))
    for id, body, form in (
        (0x8103, Parameters(some), Form()),
        (0x0104, ParametersTold(9, some), Form()),
        (0x8300, Text(1, "前方事故，请减速"), Form(2013)),
        (0x8300, Text(1, "前方事故，请减速", 2), Form(2019)),
        (0x1211, File("00_65_6503_0_x.jpg", 0, 12345), Form()),
        (0x9212, FileDone("a.mp4", 2, 1, (Hole(0, 1024), Hole(65536, 10))), Form()),
    ):
        assert words.decode(id, words.encode(body, form), form) == body


# -- streams ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", FRAMES)
def test_a_frame_split_at_every_byte_is_one_packet(frame: bytes):
    whole = Stream().feed(frame)
    for at in range(1, len(frame)):
        stream = Stream()
        assert stream.feed(frame[:at]) + stream.feed(frame[at:]) == whole
        assert stream.bad == 0
    stream = Stream()
    assert [packet for byte in frame for packet in stream.feed(bytes([byte]))] == whole


def test_frames_one_after_the_other_are_cut_apart_with_one_flag_between_them_or_two():
    whole = [packet for frame in FRAMES for packet in Stream().feed(frame)]
    assert Stream().feed(b"".join(FRAMES)) == whole
    assert Stream().feed(b"\x7e" + b"".join(frame[1:] for frame in FRAMES)) == whole


@given(st.lists(st.tuples(st.sampled_from(FRAMES), st.binary(max_size=40)), max_size=8), st.integers(1, 7))
def test_garbage_between_frames_costs_no_frame(mixed: list[tuple[bytes, bytes]], size: int):
    data = b"".join(noise + frame for frame, noise in mixed)
    stream, found = Stream(), []
    for at in range(0, len(data), size):
        found += stream.feed(data[at : at + size])
    wanted = [packet for frame, _ in mixed for packet in Stream().feed(frame)]
    assert [packet for packet in found if packet in wanted] == wanted


def test_a_flood_without_a_flag_takes_no_memory():
    stream = Stream()
    for _ in range(200):
        stream.feed(bytes(1000))
    assert len(stream.rest) <= wire.LONGEST_FRAME
    assert stream.bad
    stream.feed(b"\x7e")
    assert len(stream.feed(FRAMES[0])) == 1


@pytest.mark.parametrize("damage", ["check", "length", "escape", "short"])
def test_a_damaged_frame_is_counted_and_costs_only_itself(damage: str):
    frame = bytearray(FRAMES[1])
    if damage == "check":
        frame[-2] ^= 1
    elif damage == "length":  # with the right check
        frame[4] ^= 1
        frame[-2] ^= 1
    elif damage == "escape":
        frame[6:6] = b"\x7d\x05"
    else:
        frame = bytearray(b"\x7e\x00\x02\x7e")
    stream = Stream()
    assert [packet.id for packet in stream.feed(bytes(frame) + FRAMES[9])] == [0x8100]
    assert stream.bad == 1


def test_a_head_of_2013_that_says_it_has_a_version_is_understood_and_so_is_the_other_way_round():
    said = Packet(0x0200, "013800138000", 7, words.encode(HERE), bits=wire.VERSIONED)
    (packet,) = Stream().feed(wire.pack(said))
    assert (packet.layout, packet.phone, words.read(packet)) == (2013, "013800138000", HERE)
    assert wire.pack(packet) == wire.pack(said)
    said = Packet(0x0200, "00000000013800138000", 7, words.encode(HERE), 2019, bits=0)
    (packet,) = Stream().feed(wire.pack(said))
    assert (packet.layout, packet.phone) == (2019, "00000000013800138000")


def test_a_phone_that_is_no_number_is_kept():
    (packet,) = Stream().feed(wire.pack(Packet(2, "abcdef012345", 1)))
    assert packet.phone == "abcdef012345"
    with pytest.raises(ValueError, match="12 digits"):
        wire.pack(Packet(2, "1234567890123", 1))


# -- parts --------------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=3000), st.integers(1, 1023), st.integers(0, 65535), st.randoms())
def test_parts_in_any_order_and_twice_are_one_message(body: bytes, size: int, serial: int, chance: random.Random):
    size = max(size, len(body) // 900 + 1)
    said = Packet(0x0801, "013800138000", serial, body)
    parts = [packet for part in wire.split(said, size) for packet in Stream().feed(wire.pack(part))]
    mixed = parts + parts[:-1] if len(parts) > 1 else parts
    chance.shuffle(mixed)
    joiner = Joiner()
    found = [whole for part in mixed if (whole := joiner.put(part, 0.0)) is not None]
    assert found
    assert found[0].body == body
    assert found[0].serial == serial


def test_parts_that_are_missing_are_asked_for_and_forgotten_after_three_times():
    parts = wire.split(Packet(0x0801, "013800138000", 65534, bytes(50)), 10)
    joiner = Joiner()
    for part in (parts[0], parts[3]):
        assert joiner.put(part, 0.0) is None
    assert joiner.late(4.0, 5.0, 3) == []
    (late,) = joiner.late(5.0, 5.0, 3)
    assert (late.serial, late.missing()) == (65534, (2, 3, 5))
    assert len(joiner.late(10.0, 5.0, 3)) == len(joiner.late(15.0, 5.0, 3)) == 1
    assert joiner.late(20.0, 5.0, 3) == joiner.late(25.0, 5.0, 3) == []
    assert joiner.put(parts[1], 26.0) is None  # it begins anew


def test_messages_that_are_never_complete_take_no_memory():
    joiner = Joiner()
    for i in range(1000):
        joiner.put(Packet(0x0801, f"{i:012d}", 1, bytes(1000), parts=1000, part=1), float(i))
    assert len(joiner._open) == Joiner.MESSAGES
    with pytest.raises(BadReply):
        joiner.put(Packet(0x0801, "1", 1, b"", parts=2000, part=1), 0.0)


# -- files --------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.binary(max_size=30), st.integers(1, 50))
def test_pieces_of_files_and_frames_on_one_connection_are_told_apart(data: bytes, noise: bytes, size: int):
    said = wire.pack_chunk(Chunk("00_64_6401_0_x.mp4", 65536, data)) + FRAMES[1] + FRAMES[0]
    stream, found = FileStream(), []
    for at in range(0, len(said), size):
        found += stream.feed(said[at : at + size])
    assert [one if isinstance(one, Chunk) else one.id for one in found] == [
        Chunk("00_64_6401_0_x.mp4", 65536, data), 2, 0x0200]  # fmt: skip
    assert stream.bad == 0
    after = FileStream().feed(noise.replace(b"\x7e", b"").replace(b"01cd", b"") + FRAMES[1] + FRAMES[0])
    assert [one.id for one in after if isinstance(one, Packet)] == [2, 0x0200]


# -- anything -----------------------------------------------------------------------------------------


def mutated(chance: random.Random) -> bytes:
    """A frame with some bytes changed, gone or too many; half of them with a right check."""
    data = bytearray(wire.unescape(chance.choice(FRAMES)[1:-1])[:-1])
    for _ in range(chance.randrange(5)):
        at = chance.randrange(len(data))
        how = chance.randrange(3)
        if how == 0:
            data[at] = chance.randrange(256)
        elif how == 1:
            del data[at : at + chance.randrange(1, 4)]
        else:
            data[at:at] = chance.randbytes(chance.randrange(1, 4))
        data = data or bytearray(b"\0")
    if chance.random() < 0.5 and len(data) > 12:  # the length as it is, so that the body is looked at
        size = len(data) - (17 if data[2] & 0x40 else 12)
        data[2:4] = (data[2] << 8 & 0xDC00 | max(0, size)).to_bytes(2, "big")
    return wire.FLAG + wire.escape(bytes(data) + bytes([wire.check(bytes(data)) ^ chance.randrange(2)])) + wire.FLAG


def fuzz(n: int, seed: int) -> tuple[int, int, float]:
    """Frames that were understood, that were not, and the slowest one, s. Raises what should not be raised."""
    chance, stream, good, slowest = random.Random(seed), Stream(), 0, 0.0
    forms = [Form(edition, mark) for edition in (2011, 2013, 2019) for mark in (16, 38, 39, 40)]
    for _ in range(n):
        frame = mutated(chance)
        began = time.perf_counter()
        packets = stream.feed(frame)
        for packet in packets:
            assert stream.feed(wire.pack(packet)) == [packet]
            said = words.read(packet, chance.choice(forms))
            good += not isinstance(said, Raw)
        FileStream().feed(frame)
        slowest = max(slowest, time.perf_counter() - began)
    return good, stream.bad, slowest


def test_ten_thousand_mutated_frames_raise_nothing_and_take_no_time():
    good, bad, slowest = fuzz(10_000, 808)
    assert good > 2000
    assert bad > 2000
    assert slowest < 0.5
