"""Bytes of requests and replies; what is believed, and that no bytes whatever make it fall."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, WriteMultipleCoilsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from agent.core.errors import BadReply, NoReply, Refused, WorldFault
from drivers import modbus_wire as wire
from tests.tools.slaves import Memory, sealed

CHAR = wire.char_time(9600)
ASK = wire.read(17, "holding", 0x10, 3)
REPLY = bytes([3, 6, 0, 1, 0, 2, 0, 3])

asks = st.builds(
    wire.read,
    st.integers(1, 247),
    st.sampled_from(["coil", "discrete", "input", "holding"]),
    st.integers(0, 60000),
    st.integers(1, 125),
)


def test_requests_are_the_bytes_that_pymodbus_sends():
    pairs = [
        (wire.read(17, "holding", 107, 3), ReadHoldingRegistersRequest(dev_id=17, address=107, count=3)),
        (wire.read(1, "coil", 19, 37), ReadCoilsRequest(dev_id=1, address=19, count=37)),
        (wire.write_coil(2, 172, True), WriteSingleCoilRequest(dev_id=2, address=172, bits=[True])),
        (wire.write_register(2, 1, 3), WriteSingleRegisterRequest(dev_id=2, address=1, registers=[3])),
        (
            wire.write_coils(3, 19, [True, False] * 5),
            WriteMultipleCoilsRequest(dev_id=3, address=19, bits=[True, False] * 5),
        ),
        (
            wire.write_registers(4, 1, [10, 258]),
            WriteMultipleRegistersRequest(dev_id=4, address=1, registers=[10, 258]),
        ),
    ]
    decoder = DecodePDU(True)
    for ours, theirs in pairs:
        theirs.transaction_id = 0x1234
        assert wire.rtu_adu(ours) == FramerRTU(decoder).buildFrame(theirs)
        assert wire.tcp_adu(ours, 0x1234) == FramerSocket(decoder).buildFrame(theirs)


@given(asks)
def test_the_reply_of_an_obedient_device_is_accepted(ask):
    pdu = Memory().answer(ask.pdu)
    assert wire.payload(ask, pdu) == pdu[2:]
    assert wire.find(ask, sealed(ask.unit, pdu)) == (len(pdu) + 3, pdu)


def test_refusals_say_why_in_plain_words():
    with pytest.raises(Refused, match="do not exist") as caught:
        wire.payload(ASK, bytes([0x83, 2]))
    assert caught.value.code == 2


@pytest.mark.parametrize("pdu", [b"", b"\x03", REPLY[:-1], REPLY + b"\0", b"\x04" + REPLY[1:], b"\x03\x05" + REPLY[2:]])
def test_a_reply_that_does_not_fit_is_not_believed(pdu):
    with pytest.raises(BadReply):
        wire.payload(ASK, pdu)


# -- bytes split anywhere -------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 65535), asks), max_size=8), st.data())
def test_a_tcp_stream_may_be_cut_anywhere(rows, data):
    sent = [(t, a.unit, Memory().answer(a.pdu)) for t, a in rows]
    stream = b"".join(
        t.to_bytes(2, "big") + b"\0\0" + (1 + len(p)).to_bytes(2, "big") + bytes([u]) + p for t, u, p in sent
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    parser, got = wire.TcpStream(), []
    for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += parser.feed(stream[a:b])
    assert got == sent
    assert parser.rest == b""


def transact(line: wire.Line, ask: wire.Ask, arrivals: list[tuple[float, bytes]], timeout: float = 0.5):
    """One transaction in virtual time, starting when the line is free; arrivals are s after the request."""
    start = line.heard + line.quiet
    assert line.pause(start) == 0
    line.open(ask, start, timeout)
    row = sorted((start + delay, data) for delay, data in arrivals)
    now = start
    while True:
        due = line.due()
        if row and row[0][0] <= due:
            now, data = row.pop(0)
            line.feed(data, now)
        else:
            now = max(now, due)
        outcome = line.outcome(now)
        if outcome is not None:
            for at, data in row:  # what comes when nobody waits any more
                line.feed(data, at)
            return outcome


@given(st.binary(max_size=40), st.integers(0, 12), st.booleans())
def test_rtu_finds_its_reply_behind_noise_in_single_bytes_and_behind_an_echo(noise, chunk, echo):
    if wire.find(ASK, noise + sealed(17, REPLY)) != (len(noise) + 11, REPLY):
        return  # the noise happens to be a valid frame; 1 in 2**30
    line = wire.Line(CHAR, 0.0, echo=echo)
    sent = wire.rtu_adu(ASK) if echo else b""
    if not echo and wire.rtu_adu(ASK).startswith(noise[:1] or b"-"):
        noise = b"\xff" + noise
    stream = sent + (b"" if echo else noise) + sealed(17, REPLY)
    step = chunk or len(stream)
    arrivals = [(0.02 + i * CHAR, stream[i : i + step]) for i in range(0, len(stream), step)]
    assert transact(line, ASK, arrivals) == REPLY[2:]


def test_an_echo_is_learned_and_the_reply_to_a_write_is_not_taken_for_one():
    line = wire.Line(CHAR, 0.0)
    write = wire.write_coil(17, 3, True)
    assert transact(line, write, [(0.02, sealed(17, write.pdu))]) == b""
    assert line.echo is None
    assert transact(line, ASK, [(0.0, wire.rtu_adu(ASK)), (0.03, sealed(17, REPLY))]) == REPLY[2:]
    assert line.echo is True
    assert isinstance(transact(line, write, [(0.0, wire.rtu_adu(write))]), NoReply)  # only the echo came
    transact(line, ASK, [(0.0, wire.rtu_adu(ASK)), (0.03, sealed(17, REPLY))])
    assert transact(line, write, [(0.0, wire.rtu_adu(write)), (0.03, sealed(17, write.pdu))]) == b""


@pytest.mark.parametrize(
    ("story", "arrivals"),
    [
        ("mute", []),
        ("another unit", [(0.02, sealed(18, REPLY))]),
        ("another function", [(0.02, sealed(17, b"\x04" + REPLY[1:]))]),
        ("another length", [(0.02, sealed(17, b"\x03\x04\0\1\0\2"))]),
        ("a broken sum", [(0.02, sealed(17, REPLY)[:-1] + b"\x00")]),
        ("cut", [(0.02, sealed(17, REPLY)[:-3])]),
        ("two replies", [(0.02, sealed(17, REPLY) * 2)]),
        ("a second reply soon after", [(0.02, sealed(17, REPLY)), (0.0225, sealed(17, REPLY))]),
        ("endless noise", [(0.001 * i, b"\x11\x03\x06" * 20) for i in range(400)]),
    ],
)
def test_rtu_does_not_believe(story, arrivals):
    line = wire.Line(CHAR, 0.0)
    outcome = transact(line, ASK, arrivals)
    assert isinstance(outcome, NoReply | BadReply), story
    assert len(line.buffer) <= wire.MAX_NOISE


def test_after_a_time_out_the_line_is_dirty_until_it_was_silent_for_long_enough():
    line = wire.Line(CHAR, 0.0)
    for _ in range(3):
        transact(line, ASK, [(0.1, sealed(17, REPLY))])
    latency = line.slowest[17]
    assert isinstance(transact(line, ASK, []), NoReply)
    ended = line.heard
    assert line.dirty
    assert line.pause(ended) == pytest.approx(max(3 * latency, line.silence))
    line.feed(sealed(17, REPLY), ended + 0.1)  # the late reply: discarded, and the silence starts again
    assert line.pause(ended + 0.1) > latency
    assert line.slowest[17] > 0.5  # it is known now how late this unit can be
    outcome = transact(line, ASK, [(0.1, sealed(17, REPLY))])
    assert outcome == REPLY[2:]
    assert isinstance(outcome, wire.Doubtful)
    assert not isinstance(transact(line, ASK, [(0.1, sealed(17, REPLY))]), wire.Doubtful)


def test_a_reply_that_comes_too_early_is_waited_out():
    line = wire.Line(CHAR, 0.0)
    for _ in range(3):
        transact(line, ASK, [(0.2, sealed(17, REPLY))])
    late_twin = bytes([3, 6, 9, 9, 9, 9, 9, 9])
    assert isinstance(transact(line, ASK, [(0.05, sealed(17, late_twin)), (0.2, sealed(17, REPLY))]), BadReply)
    assert line.dirty


# -- garbage --------------------------------------------------------------------------------------


def test_a_hundred_thousand_mutated_frames_raise_nothing_but_what_is_declared():
    chance = random.Random(1)
    believed = 0
    for i in range(100_000):
        ask = wire.read(1 + i % 3, ("holding", "coil")[i % 2], i % 1000, 1 + i % 9)
        pdu = bytearray(Memory().answer(ask.pdu))
        for _ in range(chance.randrange(3)):
            pdu[chance.randrange(len(pdu))] = chance.randrange(256)
        if chance.random() < 0.3:
            del pdu[chance.randrange(len(pdu)) :]
        try:
            believed += len(wire.payload(ask, bytes(pdu))) > 0
        except WorldFault:
            pass
    assert 10_000 < believed < 90_000


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_tcp_garbage_is_refused_and_never_hoarded(chunks):
    parser = wire.TcpStream()
    for chunk in chunks:
        try:
            for _, _, pdu in parser.feed(chunk):
                assert 1 <= len(pdu) <= wire.MAX_PDU
        except BadReply:
            pass
        assert len(parser.rest) < 300 + 7


@given(st.lists(st.tuples(st.floats(0, 0.05), st.binary(max_size=300)), max_size=10), asks)
def test_rtu_garbage_ends_in_an_outcome(chunks, ask):
    line = wire.Line(CHAR, 0.0)
    assert isinstance(transact(line, ask, chunks), NoReply | BadReply | Refused | bytes)
    assert len(line.buffer) <= wire.MAX_NOISE
