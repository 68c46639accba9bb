"""HJ 212-2017 as bytes: messages of the standard and of other people's implementations, whole, split, and damaged."""

from __future__ import annotations

import doctest
import random

import pytest

from agent.uplink import hj212_wire as wire
from agent.uplink.hj212_wire import Message, Stream, pack
from simulators.hj212 import crc16

# Of the standard (annex A), then of four implementations that know nothing of each other, as they print them.
FRAMES = [
    b"##0101QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&1C80\r\n",
    b"##0453QN=20160801085000001;ST=22;CN=2011;PW=123456;MN=010000A8900016F000169DC0;Flag=7;CP=&&DataTime=20160801084000;"
    b"a21005-Rtd=1.1,a21005-Flag=N;a21004-Rtd=112,a21004-Flag=N;a21026-Rtd=58,a21026-Flag=N;LA-td=50.1,LA-Flag=N;"
    b"a34004-Rtd=207,a34004-Flag=N;a34002-Rtd=295,a34002-Flag=N;a01001-Rtd=12.6,a01001-Flag=N;a01002-Rtd=32,"
    b"a01002-Flag=N;a01006-Rtd=101.02,a01006-Flag=N;a01007-Rtd=2.1,a01007-Flag=N;a01008-Rtd=120,a01008-Flag=N;"
    b"a34001-Rtd=217,a34001-Flag=N;&&c0c1",
    b"##0249QN=20180507000558;ST=39;CN=2011;PW=123456;MN=010000A00000000000A00654;CP=&&DataTime=20180507000558;"
    b"a01001-Rtd=26.0,a01001-Flag=N;a01002-Rtd=30.4,a01002-Flag=N;a34001-Rtd=0.0,a34001-Flag=N;a34002-Rtd=24.0,"
    b"a34002-Flag=N;a34004-Rtd=23.0,a34004-Flag=N&&D801",
]


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(wire).failed == 0


@pytest.mark.parametrize("frame", FRAMES, ids=["standard", "mapper", "station"])
def test_frames_of_others_are_read_whole_split_and_one_after_the_other(frame: bytes):
    (whole,) = Stream().feed(frame)
    assert (whole.mn[:8], whole.fields() != {}) == ("010000A8" if b"A8900016" in frame else "010000A0", True)
    for cut in range(1, len(frame)):
        stream = Stream()
        assert stream.feed(frame[:cut]) + stream.feed(frame[cut:]) == [whole]
    assert Stream().feed(b"noise ##00x " + frame + b"##" + frame + frame) == [whole] * 3


def test_the_standards_own_message_is_written_byte_by_byte():
    one = Message("1062", "32", "010000A8900016F000169DC0", "20160801085857223", "100000", 5, "RtdInterval=30")
    assert pack(one) == FRAMES[0]
    assert Stream().feed(FRAMES[0]) == [one]


def test_a_damaged_frame_is_no_message_and_the_next_is_read():
    chance = random.Random(212)
    for _ in range(500):
        frame = bytearray(chance.choice(FRAMES))
        at = chance.randrange(6, len(frame) - 2)
        frame[at] ^= 1 << chance.randrange(7)
        stream = Stream()
        found = stream.feed(bytes(frame) + FRAMES[0])
        assert found[-1:] == Stream().feed(FRAMES[0])
        assert all(crc16(wire.segment(one).encode()) == wire.check(wire.segment(one).encode()) for one in found)


def test_both_ends_reckon_the_check_alike():
    chance = random.Random(1)
    for _ in range(300):
        data = chance.randbytes(chance.randrange(200))
        assert wire.check(data) == crc16(data)


def test_long_data_goes_in_parts_that_each_fit_and_only_the_last_asks_for_an_answer():
    groups = [f"w{n:05d}-Min=1.00,w{n:05d}-Avg=2.00,w{n:05d}-Max=3.00,w{n:05d}-Flag=N" for n in range(40)]
    parts = wire.split(Message("2051", "32", "M" * 24, "2" * 17, "123456", 5), "DataTime=20160801084000", groups)
    assert [part.flag & 3 for part in parts] == [2] * (len(parts) - 1) + [3]
    assert [(part.pnum, part.pno) for part in parts] == [(len(parts), no + 1) for no in range(len(parts))]
    assert all(len(wire.segment(part)) <= 1024 and part.cp.startswith("DataTime=") for part in parts)
    assert ";".join(part.cp.partition(";")[2] for part in parts) == ";".join(groups)
