"""The driver against other people's servers and against devices that misbehave."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import struct
import tty
from contextlib import aclosing

import msgspec
import numpy as np
import pytest

from agent import checks
from agent.clock import SystemClock
from agent.core.errors import LineLost, Refused
from agent.core.frame import Frame, Quality
from agent.core.ports import Event
from drivers import driver
from drivers.modbus import Modbus, worst_scan
from drivers.probe import read_once
from drivers.serial import open_port
from tests.tools.slaves import Mailbox, Memory, PtySlave, TcpSlave, libmodbus_server, obedient, pymodbus_server, sealed

ORDERS = ("ABCD", "BADC", "CDAB", "DCBA")
UNIT = 17


def modbus(url: str, device: list[dict], **settings) -> Modbus:
    return msgspec.convert({"name": "line", "url": url, "device": device, **settings}, Modbus)


def device(name="dev", unit=UNIT, period=0.05, n=3, **settings):
    channel = [{"key": f"r{i}", "at": f"holding:{i}"} for i in range(n)]
    return {"name": name, "unit": unit, "period": period, "channel": channel, **settings}


async def listen(made: Modbus, enough, mailbox=None, limit=20.0):
    """Everything that the driver says until `enough(said)`; fails when that takes longer than `limit` s."""
    said = []
    async with asyncio.timeout(limit), aclosing(made.frames(SystemClock(), mailbox or Mailbox())) as items:
        async for item in items:
            said.append(item)
            if enough(said):
                return said
    raise AssertionError("the driver stopped by itself")


def frames(said, source="dev"):
    return [item for item in said if isinstance(item, Frame) and item.source == source]


def kinds(said):
    return [item.kind for item in said if isinstance(item, Event)]


# -- every type and order, read from other people's servers ---------------------------------------


def shuffled(big: bytes, order: str) -> bytes:
    parts = [big[i : i + 2] for i in range(0, len(big), 2)]
    if order in ("CDAB", "DCBA"):
        parts.reverse()
    return b"".join(part[::-1] if order in ("BADC", "DCBA") else part for part in parts)


def everything():
    """(words of a device, channels that read them, the values that must come out)."""
    numbers = {
        "int16": (">h", -12345), "uint16": (">H", 54321), "int32": (">i", -1234567890), "uint32": (">I", 3456789012),
        "int64": (">q", -1234567890123456), "uint64": (">Q", 1234567890123457), "float32": (">f", -118.625),
        "float64": (">d", 1 / 3), "bcd16": (None, 9876), "bcd32": (None, 12345678),
    }  # fmt: skip
    memory, channels, expected = bytearray(), [], {}
    for kind in ("holding", "input"):
        for type, (form, number) in numbers.items():
            for order in ORDERS:
                big = struct.pack(form, number) if form else bytes.fromhex(str(number))
                if kind == "holding":
                    start = len(memory) // 2
                    memory += shuffled(big, order)
                    expected[type, order] = start
                key = f"{kind}-{type}-{order}"
                channels.append({"key": key, "at": f"{kind}:{expected[type, order]}", "type": type, "order": order})
    words = list(struct.unpack(f">{len(memory) // 2}H", memory))
    values = {f"{k}-{t}-{o}": numbers[t][1] for k in ("holding", "input") for t in numbers for o in ORDERS}
    for i in range(20):
        channels.append({"key": f"coil{i}", "at": f"coil:{i}"})
        channels.append({"key": f"discrete{i}", "at": f"discrete:{i}"})
        values[f"coil{i}"] = values[f"discrete{i}"] = words[i] & 1
    channels.append({"key": "bit", "at": "holding:1.3-9"})
    values["bit"] = words[1] >> 3 & 0x7F
    words += list(struct.unpack(">4H", b"Vedette\0"))
    channels.append({"key": "label", "at": f"holding:{len(words) - 4}", "type": "string", "count": 4})
    return words, channels, values


def assert_reads_everything(said, values):
    (frame,) = frames(said)
    assert dict(zip(frame.layout.key, frame.value.tolist(), strict=True)) == values
    assert set(frame.quality.tolist()) == {Quality.GOOD}
    assert [item.facts for item in said if isinstance(item, Event)] == [{"key": "label", "value": "Vedette"}]


def test_every_type_and_order_from_pymodbus():
    words, channels, values = everything()
    settings = {"name": "dev", "unit": UNIT, "channel": channels, "max_registers": 40, "gap": 0}

    async def story(pipeline):
        async with pymodbus_server(UNIT, words) as port:
            made = modbus(f"tcp://127.0.0.1:{port}", [settings], pipeline=pipeline, timeout=0.1)
            return await made.once(SystemClock())

    assert_reads_everything(asyncio.run(story(1)), values)
    # pymodbus' server drops what is sent ahead: the poll is completed one request at a time
    assert_reads_everything(asyncio.run(story(8)), values)


def test_a_device_that_drops_what_is_sent_ahead_is_asked_one_at_a_time_and_that_is_told_once():
    async def story():
        async with pymodbus_server(UNIT, range(50)) as port:
            settings = device(n=50, period=0.2, max_registers=10)
            made = modbus(f"tcp://127.0.0.1:{port}", [settings], pipeline=8, timeout=0.05)
            return await listen(made, lambda said: len(frames(said)) == 8)

    said = asyncio.run(story())
    assert kinds(said) == ["pipeline-off"]
    assert all(f.value.tolist() == list(range(50)) for f in frames(said))


def test_every_type_and_order_from_libmodbus(tmp_path):
    words, channels, values = everything()

    async def story():
        async with libmodbus_server("tcp", "0", UNIT, words, tmp_path) as port:
            made = modbus(f"tcp://127.0.0.1:{port}", [{"name": "dev", "unit": UNIT, "channel": channels}], pipeline=4)
            return await made.once(SystemClock())

    assert_reads_everything(asyncio.run(story()), values)


def test_every_type_and_order_from_libmodbus_over_a_serial_line(tmp_path):
    words, channels, values = everything()

    async def story():
        ends = [os.openpty() for _ in range(2)]  # two pseudo-terminals, joined master to master
        masters = [master for master, _ in ends]
        for fd in (fd for pair in ends for fd in pair):
            tty.setraw(fd)
        loop = asyncio.get_running_loop()
        for a, b in (masters, masters[::-1]):
            loop.add_reader(a, lambda a=a, b=b: os.write(b, os.read(a, 4096)))
        ours, theirs = (os.ttyname(slave) for _, slave in ends)
        try:
            async with libmodbus_server("rtu", theirs, UNIT, words, tmp_path):
                made = modbus(f"rtu://{ours}", [{"name": "dev", "unit": UNIT, "channel": channels}], baud=115200)
                return await made.once(SystemClock())
        finally:
            for master, slave in ends:
                loop.remove_reader(master)
                os.close(master)
                os.close(slave)

    assert_reads_everything(asyncio.run(story()), values)


def test_reading_ad_hoc_through_an_rtu_over_tcp_gateway():
    memory = Memory({0x10: 0x4048, 0x11: 0xF5C3, 0x12: 0xF5C3, 0x13: 0x4048, 0x20: 0x4142, 0x21: 0x4300})
    memory.bits = {3: True}

    async def serve(reader, writer):
        while data := await reader.read(300):
            writer.write(sealed(UNIT, memory.answer(data[1:-2])))
        writer.close()

    async def story():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            line = f"rtu+tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}/{UNIT}"
            rows = [
                *await read_once(f"{line}/holding/0x10:2", "float32"),
                *await read_once(f"{line}/holding/0x12?baud=19200&timeout=2", "float32:CDAB"),
                *await read_once(f"{line}/holding/0x20:2", "string"),
                *await read_once(f"{line}/coil/2:2"),
            ]
            memory.absent = {0x10}
            with pytest.raises(Refused, match="do not exist"):
                await read_once(f"{line}/holding/0x10:2")
            return rows

    rows = asyncio.run(story())
    assert rows[0] == ("holding:0x10", bytes.fromhex("4048f5c3"), pytest.approx(3.14), Quality.GOOD)
    assert rows[1] == ("holding:0x12", bytes.fromhex("f5c34048"), pytest.approx(3.14), Quality.GOOD)
    assert [row.value for row in rows[2:]] == ["ABC", 0, 1]


@pytest.mark.parametrize(
    ("wrong", "form"),
    [
        ("tcp://h/1/holding/0:3", "float32"),
        ("tcp://h:502/holding/0", "uint16"),
        ("udp://h/1/holding/0", "uint16"),
        ("tcp://h/1/holding/x", "uint16"),
        ("tcp://h/one/holding/1", "uint16"),
        ("tcp://h/1/holding/1", "float33"),
        ("tcp://h/1/holding/1", "float32:ABBA"),
        ("tcp://h/300/holding/1", "uint16"),
        ("tcp://h/1/holding/1?bauds=9600", "uint16"),
        ("rtu:///dev/x/0/holding/1", "uint16"),
    ],
)
def test_what_cannot_be_read_ad_hoc_is_refused_before_anything_is_asked(wrong, form):
    with pytest.raises(ValueError) as caught:
        asyncio.run(read_once(wrong, form, baud=9600, parity="N", timeout=1.0))
    assert "timeout" not in str(caught.value)  # the caller's settings were not typed by anybody
    assert "$" not in str(caught.value)


def test_an_unknown_type_is_answered_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"'float99' is not known.*uint16.*float32.*float64"):
        asyncio.run(read_once("tcp://h/1/holding/1", "float99"))
    with pytest.raises(ValueError, match="timeout must be > 0"):
        asyncio.run(read_once("tcp://h/1/holding/1", timeout=-1.0))


# -- isolation ------------------------------------------------------------------------------------


def late_by(said, source, period):
    """The longest time between two frames of a source, in periods."""
    moments = [f.at.mono for f in frames(said, source)]
    return max(np.diff(moments)) / period


def test_nine_devices_keep_their_period_while_the_tenth_is_dead_on_one_tcp_connection():
    units = {u: Memory() for u in range(1, 10)}
    period = 0.25

    async def story():
        slave = await TcpSlave(obedient(units)).start()
        made = modbus(
            f"tcp://127.0.0.1:{slave.port}", [device(f"d{u}", u, period) for u in range(1, 11)], pipeline=2, timeout=0.1
        )
        try:
            return await listen(made, lambda said: len(frames(said, "d1")) >= 14)
        finally:
            await slave.stop()

    said = asyncio.run(story())
    assert kinds(said) == ["device-lost"]
    lost = next(i for i, item in enumerate(said) if isinstance(item, Event))
    assert not frames(said, "d10")
    for u in range(1, 10):
        assert len(frames(said[lost:], f"d{u}")) >= 10
        assert late_by(said[lost:], f"d{u}", period) < 1.3


def test_on_a_serial_bus_a_dead_unit_costs_the_others_no_more_than_a_probe(tmp_path):
    units = {u: Memory() for u in (1, 2, 3)}
    period, timeout = 0.4, 0.2

    async def story():
        slave = PtySlave(tmp_path / "tty", obedient(units, 0.002)).plug()
        devices = [device(f"d{u}", u, period) for u in (1, 2, 3, 4)]
        made = modbus(f"rtu://{slave.path}", devices, timeout=timeout, baud=115200)

        def revive(said):
            if "device-lost" in kinds(said):
                units.setdefault(4, Memory())
            return bool(frames(said, "d4"))

        try:
            return await listen(made, revive)
        finally:
            slave.unplug()

    said = asyncio.run(story())
    assert kinds(said) == ["device-lost", "device-recovered"]
    for u in (1, 2, 3):
        # never-answered units are waited for twice as long: the reply that may still come must pass
        assert late_by(said, f"d{u}", period) < 1 + 4 * timeout / period
        assert {q for f in frames(said, f"d{u}") for q in f.quality.tolist()} == {Quality.GOOD}


def test_a_closed_connection_is_told_and_the_next_one_works():
    async def story():
        slave = await TcpSlave(obedient({UNIT: Memory()})).start()
        made = modbus(f"tcp://127.0.0.1:{slave.port}", [device()])

        async def until_lost():
            with pytest.raises(LineLost, match="connection lost"):
                await listen(made, lambda said: False)

        lost = asyncio.create_task(until_lost())
        while not slave.connections:
            await asyncio.sleep(0.01)
        await slave.stop()
        await lost
        with pytest.raises(LineLost, match="connect"):
            await listen(made, lambda said: False)
        await slave.start()
        said = await listen(made, lambda said: len(frames(said)) == 2)
        await slave.stop()
        return said

    assert frames(asyncio.run(story()))[0].value.tolist() == [0, 1, 2]


def test_a_line_that_speaks_another_protocol_is_refused():
    async def story():
        async def serve(reader, writer):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            made = modbus(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", [device()])
            with pytest.raises(LineLost, match="another protocol"):
                await listen(made, lambda said: False)

    asyncio.run(story())


def test_a_port_at_which_nobody_listens_is_told_in_the_words_of_the_guide():
    async def story():
        with socket.socket() as taken:  # bound, and not listening
            taken.bind(("127.0.0.1", 0))
            await listen(modbus(f"tcp://127.0.0.1:{taken.getsockname()[1]}", [device()]), lambda said: False)

    with pytest.raises(LineLost, match=r"connect tcp://127.0.0.1:\d+: refused; check the port"):
        asyncio.run(story())


def test_unplugging_the_adapter_is_told_and_plugging_it_in_again_works(tmp_path):
    async def story():
        slave = PtySlave(tmp_path / "tty", obedient({UNIT: Memory()}, 0.001)).plug()
        made = modbus(f"rtu://{slave.path}", [device()], baud=115200)

        def pull(said):
            if len(said) == 2:
                slave.unplug()
            return False

        with pytest.raises(LineLost, match="check the adapter"):
            await listen(made, pull)
        with pytest.raises(LineLost, match=r"open serial port .*tty: no such file or directory; check"):
            await listen(made, lambda said: False)
        slave.plug()
        port = await open_port(str(slave.path), made.form)
        with pytest.raises(LineLost, match="another program has it"):
            await listen(made, lambda said: False)
        port.close()
        said = await listen(made, lambda said: len(said) == 2)
        slave.unplug()
        return said

    assert frames(asyncio.run(story()))[-1].value.tolist() == [0, 1, 2]


# -- what a poll says when part of it failed ------------------------------------------------------


def test_a_late_tcp_reply_is_dropped_and_a_missed_block_is_not_repeated_as_if_it_were_new():
    """Two blocks; the second one's reply comes late in the third poll. Its old number must not appear."""
    memory, polls = Memory(), []

    def script(unit, pdu):
        reply = memory.answer(pdu)
        start = struct.unpack_from(">H", pdu, 1)[0]
        polls.append(start)
        return [(0.15 if start == 100 and polls.count(100) == 3 else 0, reply)]

    async def story():
        slave = await TcpSlave(script).start()
        channels = [{"key": "a", "at": "holding:0"}, {"key": "b", "at": "holding:100"}]
        made = modbus(
            f"tcp://127.0.0.1:{slave.port}",
            [{"name": "dev", "unit": 1, "period": 0.3, "retries": 0, "channel": channels}],
            timeout=0.05,
        )
        try:
            return await listen(made, lambda said: len(said) == 5)
        finally:
            await slave.stop()

    said = asyncio.run(story())
    third = said[2]
    assert (third.value[0], third.quality[0]) == (0, Quality.GOOD)
    assert np.isnan(third.value[1])
    assert np.isnan(third.raw[1])
    assert third.quality[1] == Quality.UNCERTAIN
    assert 0.2 < third.age[1] < 0.6
    assert [f.value.tolist() for f in said if f is not third] == [[0, 100]] * 4
    assert all(f.age.max() < 0.2 for f in said if f is not third)


def test_registers_that_do_not_exist_are_found_reported_and_left_out():
    memory = Memory()
    memory.absent = {5, 30, 60}  # 60 is used by nobody but stands in a gap

    async def story():
        slave = await TcpSlave(obedient({UNIT: memory})).start()
        channels = [{"key": f"r{i}", "at": f"holding:{i}"} for i in range(100) if not 58 < i < 63]
        made = modbus(
            f"tcp://127.0.0.1:{slave.port}", [{"name": "dev", "unit": UNIT, "period": 0.1, "channel": channels}]
        )
        try:
            said = await listen(
                made, lambda said: len([f for f in frames(said) if f.quality.max() == Quality.FAULT]) == 3
            )
            return said, await made.once(SystemClock())
        finally:
            await slave.stop()

    said, once = asyncio.run(story())
    events = [item for item in said if isinstance(item, Event)]
    assert [e.kind for e in events] == ["registers-missing"]
    assert events[0].facts == {"kind": "holding", "registers": [5, 30], "channels": ["r5", "r30"]}
    for frame in (frames(said)[-1], frames(once)[-1]):
        bad = {k for k, q in zip(frame.layout.key, frame.quality.tolist(), strict=True) if q == Quality.FAULT}
        assert bad == {"r5", "r30"}
        assert all(v == int(k[1:]) for k, v in zip(frame.layout.key, frame.value, strict=True) if k not in bad)


def test_bisecting_costs_little_and_what_was_found_is_not_asked_again():
    memory = Memory()
    memory.absent = {40}

    async def story():
        slave = await TcpSlave(obedient({UNIT: memory})).start()
        made = modbus(f"tcp://127.0.0.1:{slave.port}", [device(n=100)])
        try:
            await listen(made, lambda said: len(frames(said)) == 3)
        finally:
            await slave.stop()

    asyncio.run(story())
    asked = [(start, count) for _, start, count in memory.asked]
    assert len(asked) <= 1 + 2 * 7 + 3 * 2
    assert asked[-2:] == [(0, 40), (41, 59)]


def test_a_block_that_never_answers_hides_nothing_but_itself():
    def script(unit, pdu):
        return [] if struct.unpack_from(">H", pdu, 1)[0] == 100 else [(0, Memory().answer(pdu))]

    async def story():
        slave = await TcpSlave(script).start()
        channels = [{"key": f"k{a}", "at": f"holding:{a}"} for a in (0, 100, 200)]
        made = modbus(
            f"tcp://127.0.0.1:{slave.port}",
            [{"name": "dev", "unit": 1, "period": 0.1, "channel": channels}],
            timeout=0.05,
        )
        try:
            return await listen(made, lambda said: len(said) == 3)
        finally:
            await slave.stop()

    for frame in asyncio.run(story()):
        assert frame.value[[0, 2]].tolist() == [0, 200]
        assert frame.quality.tolist() == [Quality.GOOD, Quality.UNCERTAIN, Quality.GOOD]
    # what was never measured is as old as the connection: no older, for a device may miss its first poll
    said = asyncio.run(story())
    connected = [f.at.mono - f.age[1] for f in said]
    assert connected == pytest.approx([connected[0]] * 3)
    assert 0 <= said[0].age[1] < 2


def test_a_block_that_is_mute_or_refused_while_the_device_answers_is_told_once_and_once_when_it_is_back():
    memory, polls = Memory(), []

    def script(unit, pdu):
        start = struct.unpack_from(">H", pdu, 1)[0]
        polls.append(start)
        if start == 100 and polls.count(0) <= 11:  # 6 polls: after a time-out block 0 is asked once more, first
            return []
        if start == 200 and polls.count(0) <= 11:
            return [(0, bytes([pdu[0] | 0x80, 4]))]
        return [(0, memory.answer(pdu))]

    async def story(listening):
        slave = await TcpSlave(script).start()
        channels = [{"key": f"k{a}", "at": f"holding:{a}"} for a in (0, 100, 101, 200)]
        settings = {"name": "dev", "unit": 1, "period": 0.1, "retries": 0 if listening else 1, "channel": channels}
        made = modbus(f"tcp://127.0.0.1:{slave.port}", [settings], timeout=0.03)
        try:
            if not listening:
                return await made.once(SystemClock())
            return await listen(made, lambda said: len(frames(said)) == 9)
        finally:
            await slave.stop()

    said = asyncio.run(story(True))
    assert kinds(said) == ["block-mute", "block-mute", "block-answers", "block-answers"]
    events = [item for item in said if isinstance(item, Event)]
    assert events[0].facts == {"kind": "holding", "start": 100, "count": 2, "channels": ["k100", "k101"]}
    assert "0x64-0x65" in events[0].text
    assert "no reply in 0.03 s" in events[0].text
    assert "failure" in events[1].text
    assert said.index(events[0]) == 3  # with the third frame
    polls.clear()
    assert kinds(asyncio.run(story(False))) == ["block-mute", "block-mute"]  # `vedette test` says so at once


def test_once_ends_by_itself_and_says_why_a_device_is_missing():
    async def story():
        slave = await TcpSlave(obedient({1: Memory()})).start()
        made = modbus(f"tcp://127.0.0.1:{slave.port}", [device("a", 1, 60.0), device("b", 2, 60.0)], timeout=0.05)
        try:
            async with asyncio.timeout(5):
                return await made.once(SystemClock())
        finally:
            await slave.stop()

    frame, event = asyncio.run(story())
    assert (frame.source, event.kind, event.source) == ("a", "device-lost", "b")
    assert "no reply in 0.05 s" in event.text


# -- orders ---------------------------------------------------------------------------------------


def obey(output: dict, memory: Memory, on=True, wait_idle=False):
    async def story():
        slave = await TcpSlave(obedient({UNIT: memory})).start()
        mailbox = Mailbox()
        made = modbus(
            f"tcp://127.0.0.1:{slave.port}", [device(period=5.0)], output=[{"name": "siren", "device": "dev", **output}]
        )

        def act(said):
            if len(said) == 1:
                asyncio.get_running_loop().call_later(
                    0.05 if wait_idle else 0, mailbox.put, "siren", on, SystemClock().now()
                )
            return any(isinstance(item, Event) for item in said)

        try:
            said = await listen(made, act, mailbox, limit=3.0)  # less than the period: it must not wait for a poll
        finally:
            await slave.stop()
        return said[-1]

    return asyncio.run(story())


def test_an_order_is_written_and_verified_while_the_line_waits():
    memory = Memory()
    event = obey({"at": "coil:7", "armed": True}, memory, wait_idle=True)
    assert (event.kind, event.source) == ("order-done", "dev")
    assert event.facts["reason"] == "alarm-1"
    assert event.facts["verified"] is True
    assert event.facts["ms"] < 1000
    assert memory.bits[7] is True
    assert memory.asked[-2:] == [(5, 7, 0xFF00), (1, 7, 1)]


@pytest.mark.parametrize("write", ["single", "multiple"])
def test_an_order_may_be_a_register_with_its_own_values(write):
    memory = Memory({16: 0})
    settings = {"at": "holding:16", "on": 0xAA55, "off": 3, "armed": True, "write": write}
    assert obey(settings, memory).kind == "order-done"
    assert memory.words[16] == 0xAA55
    assert obey(settings, memory, on=False).kind == "order-done"
    assert memory.words[16] == 3


def test_an_output_that_is_not_armed_is_refused_and_nothing_is_written():
    memory = Memory()
    event = obey({"at": "coil:7"}, memory)
    assert event.kind == "order-refused"
    assert "armed" in event.text
    assert not memory.bits


def test_an_order_that_did_not_take_is_reported():
    memory = Memory()
    memory.stuck = True
    event = obey({"at": "coil:7", "armed": True}, memory)
    assert event.kind == "order-failed"
    assert "reads back 0" in event.text


def test_an_order_overtakes_a_long_poll():
    memory, asked = Memory(), []

    async def story():
        mailbox = Mailbox()

        def script(unit, pdu):
            asked.append(pdu[0])
            if len(asked) == 3:
                mailbox.put("siren", True, SystemClock().now())
            return [(0.005, memory.answer(pdu))]

        slave = await TcpSlave(script).start()
        channels = [{"key": f"k{i}", "at": f"holding:{100 * i}"} for i in range(10)]
        made = modbus(
            f"tcp://127.0.0.1:{slave.port}",
            [{"name": "dev", "unit": 1, "period": 5.0, "channel": channels}],
            output=[{"name": "siren", "device": "dev", "at": "coil:1", "armed": True}],
        )
        try:
            return await listen(made, lambda said: bool(frames(said)), mailbox)
        finally:
            await slave.stop()

    said = asyncio.run(story())
    assert kinds(said) == ["order-done"]
    assert asked == [3] * 3 + [5, 1] + [3] * 7
    assert frames(said)[0].value.tolist() == [100 * i for i in range(10)]


def test_an_order_overtakes_the_search_for_missing_registers():
    memory, asked = Memory(), []
    memory.absent = {100 * i + 1 for i in range(30)}

    async def story():
        mailbox = Mailbox()

        def script(unit, pdu):
            asked.append(pdu[0])
            if len(asked) == 40:  # thirty refusals, then the search
                mailbox.put("siren", True, SystemClock().now())
            return [(0.002, memory.answer(pdu))]

        slave = await TcpSlave(script).start()
        channels = [{"key": f"k{100 * i + j}", "at": f"holding:{100 * i + j}"} for i in range(30) for j in range(3)]
        made = modbus(
            f"tcp://127.0.0.1:{slave.port}",
            [{"name": "dev", "unit": 1, "period": 60.0, "channel": channels, "retries": 0}],
            output=[{"name": "siren", "device": "dev", "at": "coil:7", "armed": True}],
        )
        try:
            return await listen(made, lambda said: "registers-missing" in kinds(said), mailbox)
        finally:
            await slave.stop()

    said = asyncio.run(story())
    assert "order-done" in kinds(said)
    assert asked[40:42] == [5, 1]


# -- settings -------------------------------------------------------------------------------------


def test_the_table_of_drivers_knows_modbus_and_imports_by_name():
    assert driver("modbus") is driver("drivers.modbus:Modbus") is Modbus
    for wrong in ("modbuss", "nowhere:Nobody", "drivers.modbus:Device"):
        with pytest.raises(Exception, match="driver"):
            driver(wrong)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"url": "http://x"}, "tcp://host:502"),
        ({"url": "rtu://dev/ttyUSB0"}, "three slashes"),
        ({"url": "rtu:///dev/x", "pipeline": 4}, "one request at a time"),
        ({"device": [device("a"), device("a")]}, "^device 'a' is there twice"),
        ({"device": [device("a", n=2, channel=[{"key": "k", "at": 40001}] * 2)]}, "^key 'k' is used twice"),
        ({"output": [{"name": "o", "device": "nobody", "at": "coil:1"}]}, "^output o: no device 'nobody' here"),
        ({"device": [device("a")], "output": [{"name": "o", "device": "a", "at": "input:1"}]}, "^at 'input:1': only"),
        (
            {"device": [device("a", max_registers=1, channel=[{"key": "k", "at": 40001, "type": "int32"}])]},
            "^channel 'k' needs 2 registers, max_registers is 1",
        ),
        ({"device": [device("a", n=0, channel=[{"key": "k", "at": 40001, "scale": 0.0}])]}, "^scale 0"),
        ({"device": []}, r"^no \[\[bus.device\]\]"),
        ({"device": [device("a", n=0)]}, "^device 'a' has no channel"),
        ({"url": "tcp://h:0"}, "port must be 1 to 65535"),
        ({"url": "rtu:///dev/x", "device": [device("a", 0)]}, "^device 'a': on an RTU line unit goes from 1 to 247"),
        ({"url": "rtu+tcp://h:4001", "device": [device("a", 248)]}, "^device 'a': on an RTU line unit"),
        ({"device": [device("a", period=700_000.0)]}, "<= 604800"),
        ({"device": [device("a", period=math.nan)]}, "Expected `float` > 0"),
        ({"device": [device("a", period=math.inf)]}, "<= 604800"),
        ({"timeout": math.inf}, "<= 60"),
        ({"turnaround": math.inf}, "^turnaround = inf"),
        (
            {"device": [device("a", period=2.0, channel=[{"key": "k", "at": 40001, "stale": 2.0}])]},
            "^channel 'k' would be stale between two polls: stale is 2 s, period 2 s",
        ),
        (
            {
                "device": [device("a"), device("b")],  # two sources of one unit
                "output": [
                    {"name": "siren", "device": "a", "at": "coil:1"},
                    {"name": "horn", "device": "b", "at": "00002"},
                ],
            },
            "^output 'horn' switches the same coil as output siren",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_in_words_that_do_not_repeat_where(settings, why):
    with pytest.raises(msgspec.ValidationError, match=why):
        msgspec.convert({"name": "line", "url": "tcp://h", "device": [device()], **settings}, Modbus)


def test_the_budget_of_a_bus_knows_its_baud_rate():
    slow = modbus("rtu:///dev/x", [device(n=120, period=0.2)], baud=9600)
    scan = worst_scan(slow)
    # 8 + 245 characters of 10 bits, two silences of 3.5 and 10 ms to think
    assert scan.healthy == pytest.approx((8 + 245 + 7) * 10 / 9600 + 0.010)
    assert scan.complaints
    assert scan.worst > scan.healthy
    assert not worst_scan(modbus("rtu:///dev/x", [device(n=120, period=1)], baud=9600)).complaints
    assert modbus("rtu:///dev/x", [device(n=120, period=0.2)], baud=9600).faults()
    full = worst_scan(modbus("rtu:///dev/x", [device(f"d{i}", i, 1.0, 120) for i in range(1, 6)], baud=9600))
    assert full.load > 1
    assert "split the bus" in full.complaints[0]


@pytest.mark.parametrize("url", ["tcp://h", "rtu:///dev/x", "rtu+tcp://h:4001"])
def test_a_bus_on_which_one_dead_device_would_make_another_go_stale_is_refused(url):
    def faults(*devices):
        return modbus(url, list(devices), timeout=0.6).faults()

    def tender(stale):
        """A device of which one channel may be `stale` s old."""
        channel = [{"key": "k", "at": 40001, "stale": stale}, {"key": "l", "at": 40002, "stale": 99.0}]
        return device("tender", 2, 1.0, channel=channel)

    other = device("other", 1, 1.0)
    oldest = 1.0 + worst_scan(modbus(url, [other, tender(9.0)], timeout=0.6)).worst
    assert oldest > 1.6  # at least its own period and the time-out
    assert faults(other, tender(oldest + 0.01)) == []
    (fault,) = faults(other, tender(oldest - 0.01))
    for words in ("device tender: when other dies", f"{oldest:.3g} s old", "timeout (now 0.6 s)", "split the bus"):
        assert words in fault
    assert faults(tender(1.1)) == []  # alone: its silence is its own


def test_the_laws_of_drivers_and_the_wiring_that_people_read():
    made = modbus("tcp://h", [device(n=3)], output=[{"name": "siren", "device": "dev", "at": "coil:7"}])
    assert checks.driver(made) == []
    wiring = made.wiring()
    assert "1 requests" in wiring[0]
    assert "unit 17" in wiring[1]
    assert "holding:0x0+3" in wiring[1]
    assert "not armed" in wiring[2]
