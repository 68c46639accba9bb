"""The served plants, read by other people's code: pymodbus' client over TCP, bare pyserial over the pty."""

import asyncio
import os
import socket
import struct
import time

import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.client.mixin import ModbusClientMixin

from simulators.faults import Dead, Flip, Freeze, Refuse, Slow, Truncate
from simulators.modbus import FORMATS, Device, PtyLine, Register, TcpLine, encode, registers
from simulators.scenario import SHIPPED

LAYOUT = [
    Register("gas", "holding", 0x10, "float32", "CDAB"),
    Register("served", "holding", 0x12, "uint32"),
    Register("depth", "holding", 0x14, "int16", scale=0.01, offset=-1.0),
    Register("fan", "discrete", 3, "bool"),
    Register("siren", "coil", 0, "bool"),
]


def device(**values):
    made = Device("plant", 7, LAYOUT)
    made.values.update(values)
    return made


async def over_tcp(devices, work):
    line = TcpLine(devices)
    await line.start()
    client = AsyncModbusTcpClient("127.0.0.1", port=line.port, timeout=1, retries=0)
    try:
        await client.connect()
        return await work(client)
    finally:
        client.close()
        await line.stop()


@pytest.mark.parametrize("profile", ["heading", "sump", "tailings"])
def test_the_shipped_profiles_are_dense_and_have_a_ledger(profile):
    layout = registers(SHIPPED / "devices" / f"vedette-sim-{profile}.toml")
    assert "served" in [r.key for r in layout]
    for table in {r.table for r in layout}:
        spans = sorted((r.address, r.address + r.words) for r in layout if r.table == table)
        assert all(end == begin for (_, end), (begin, _) in zip(spans, spans[1:], strict=False))


ORDERS = {"ABCD": ("big", "big"), "CDAB": ("little", "big")}  # pymodbus knows word order only


@given(st.floats(allow_nan=False, width=32), st.sampled_from(list(ORDERS)))
def test_floats_decode_as_pymodbus_decodes_them(value, order):
    words = encode(Register("x", "holding", 0, "float32", order), value)
    decoded = ModbusClientMixin.convert_from_registers(
        words, ModbusClientMixin.DATATYPE.FLOAT32, word_order=ORDERS[order][0]
    )
    assert decoded == value


@pytest.mark.parametrize("order", ["ABCD", "BADC", "CDAB", "DCBA"])
def test_the_letters_say_where_the_bytes_stand(order):
    words = encode(Register("x", "holding", 0, "uint32", order), 0x41424344)
    assert struct.pack(">2H", *words).decode() == order


@given(st.sampled_from([t for t in FORMATS if "int" in t]), st.floats(-1e25, 1e25))
def test_integers_clip_and_never_wrap(type_, value):
    words = encode(Register("x", "holding", 0, type_), value)
    back = struct.unpack(FORMATS[type_], struct.pack(f">{len(words)}H", *words))[0]
    bits = 16 * len(words)
    low, high = (0, 2**bits - 1) if type_.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert back == min(max(round(value), low), high)


def test_tcp_serves_values_refuses_holes_and_notes_writes():
    plant = device(gas=1.25, depth=2.5, fan=1.0)
    heard = []
    plant.on_write = lambda key, value: heard.append((key, value))

    async def work(client):
        words = (await client.read_holding_registers(0x10, count=5, device_id=7)).registers
        assert struct.unpack(">f", struct.pack(">2H", words[1], words[0]))[0] == 1.25
        assert words[2:4] == [0, 1]
        assert words[4] == 350
        assert (await client.read_holding_registers(0x10, count=6, device_id=7)).exception_code == 2
        assert (await client.read_discrete_inputs(3, count=1, device_id=7)).bits[0] is True
        assert not (await client.write_coil(0, True, device_id=7)).isError()
        assert (await client.read_coils(0, count=1, device_id=7)).bits[0] is True
        assert (await client.read_holding_registers(0x10, count=1, device_id=8)).exception_code == 11

    asyncio.run(over_tcp([plant], work))
    assert heard == [("siren", 1.0)]
    assert [(key, value) for _, key, value in plant.writes] == [("siren", 1.0)]


def test_the_ledger_counts_what_was_answered_and_nothing_else():
    plant = device()

    async def work(client):
        async def ledger():
            words = (await client.read_holding_registers(0x12, count=2, device_id=7)).registers
            return words[0] << 16 | words[1]

        assert [await ledger() for _ in range(3)] == [1, 2, 3]
        await client.read_holding_registers(0x12, count=1, device_id=7)  # half of it is not a reading
        assert sorted(plant.served) == [1, 2, 3]
        plant.faults.append(Refuse(6))
        assert (await client.read_holding_registers(0x12, count=2, device_id=7)).exception_code == 6
        plant.faults[:] = [Freeze("gas", 0.5)]
        assert await ledger() == 4

    asyncio.run(over_tcp([plant], work))
    assert sorted(plant.served) == [1, 2, 3, 4]
    assert list(plant.served.values()) == sorted(plant.served.values())


def test_a_dead_device_is_silent_on_tcp_and_leaves_no_mark_in_the_ledger():
    plant, neighbour = device(), Device("other", 8, LAYOUT)
    plant.faults.append(Dead())

    async def work(line_port):
        reader, writer = await asyncio.open_connection("127.0.0.1", line_port)
        writer.write(bytes.fromhex("0001 0000 0006 07 03 0012 0002"))
        writer.write(bytes.fromhex("0002 0000 0006 08 03 0012 0002"))
        reply = await asyncio.wait_for(reader.readexactly(13), 2)
        writer.close()
        return reply

    async def both():
        line = TcpLine([plant, neighbour])
        await line.start()
        try:
            return await work(line.port)
        finally:
            await line.stop()

    assert asyncio.run(both()) == bytes.fromhex("0002 0000 0007 08 03 04 0000 0001")
    assert plant.served == {}
    assert sorted(neighbour.served) == [1]


@given(st.binary(max_size=40))
@settings(max_examples=25, deadline=None)
def test_garbage_on_tcp_costs_its_own_connection_only(garbage):
    async def work():
        line = TcpLine([device()])
        await line.start()
        try:
            _, bad = await asyncio.open_connection("127.0.0.1", line.port)
            bad.write(garbage)
            reader, good = await asyncio.open_connection("127.0.0.1", line.port)
            good.write(bytes.fromhex("0009 0000 0006 07 03 0012 0002"))
            reply = await asyncio.wait_for(reader.readexactly(13), 2)
            bad.close(), good.close()
            return reply
        finally:
            await line.stop()

    assert asyncio.run(work())[:2] == b"\0\x09"


# -- the serial line ------------------------------------------------------------------------------


def crc(data):
    """CRC-16/MODBUS, bit by bit: nobody's library."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return struct.pack("<H", value)


def ask(port, request, size):
    port.write(request + crc(request))
    return port.read(size)


def over_pty(devices, work, baud=None):
    """Serve on a pty and run the blocking `work(port)` in a thread."""

    async def both():
        line = PtyLine(devices, baud)
        await line.start()
        try:

            def client():
                with serial.Serial(line.path, 19200, timeout=0.5) as port:
                    return work(port)

            return await asyncio.to_thread(client)
        finally:
            await line.stop()

    return asyncio.run(both())


READ = bytes.fromhex("07 03 0010 0005")


def test_an_independent_reader_gets_the_values_over_the_pty():
    plant = device(gas=0.75, depth=1.0)

    def work(port):
        reply = ask(port, READ, 15)
        assert reply[:3] == b"\x07\x03\x0a"
        assert reply[-2:] == crc(reply[:-2])
        low, high, count, depth = struct.unpack(">HHIH", reply[3:13])
        assert struct.unpack(">f", struct.pack(">HH", high, low))[0] == 0.75
        assert (count, depth) == (1, 200)
        assert ask(port, bytes.fromhex("09 03 0010 0005"), 1) == b""  # nobody has this number
        assert len(ask(port, READ, 15)) == 15

    over_pty([plant], work)
    assert sorted(plant.served) == [1, 2]


def test_faults_on_the_pty():
    plant = device()

    def work(port):
        plant.faults[:] = [Dead()]
        assert ask(port, READ, 15) == b""
        plant.faults[:] = [Truncate(4)]
        assert len(ask(port, READ, 15)) == 4
        plant.faults[:] = [Flip(25)]
        reply = ask(port, READ, 15)
        assert reply[-2:] != crc(reply[:-2])
        plant.faults[:] = [Slow(0.2)]
        begin = time.monotonic()
        assert len(ask(port, READ, 15)) == 15
        assert time.monotonic() - begin >= 0.2
        plant.faults.clear()
        port.write(b"\xff\x00\x55")  # noise, then silence: forgotten
        time.sleep(2 * PtyLine.GAP)
        assert len(ask(port, READ, 15)) == 15

    over_pty([plant], work)
    assert len(plant.served) == 2  # a damaged answer is not a reading served


def test_bytes_take_their_time_at_the_baud_rate():
    plant = device()
    wire = (8 + 3.5 + 15) * 11 / 4800  # s: request, silence, reply

    def work(port):
        begin = time.monotonic()
        for _ in range(5):
            assert len(ask(port, READ, 15)) == 15
        return (time.monotonic() - begin) / 5

    assert over_pty([plant], work, baud=4800) >= wire  # a busy machine is late, never early


def test_the_link_to_the_pty_comes_and_goes(tmp_path):
    link = str(tmp_path / "bus")

    async def work():
        line = PtyLine([device()], link=link)
        await line.start()
        there = os.readlink(link)
        await line.stop()
        return there, line.path

    there, path = asyncio.run(work())
    assert there == path
    assert not os.path.lexists(link)


def test_a_port_in_use_is_an_oserror():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        line = TcpLine([device()], port=taken.getsockname()[1])
        with pytest.raises(OSError):
            asyncio.run(line.start())
