"""A touch proves the way to an output and changes nothing; a heartbeat is written only while it says something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import msgspec
import pytest

from agent.clock import SystemClock
from agent.core.alarm import Order
from agent.core.frame import Frame, Instant
from agent.core.ports import Event, Touch
from drivers.bus import Bus
from drivers.link import RtuLink
from drivers.modbus import Modbus
from tests.tools.slaves import Mailbox, Memory, TcpSlave, libmodbus_server, obedient, pymodbus_server
from tests.tools.virtual import LoopClock, run
from tests.tools.wires import RtuWire

UNIT = 17
NOW = Instant(0.0, 0.0)  # it is set when the order is handed over
BEATS = [Order("alive", on, "heartbeat", NOW) for on in (True, False, True)]


def modbus(port: int, output: dict) -> Modbus:
    device = {"name": "dev", "unit": UNIT, "period": 5.0, "channel": [{"key": "r0", "at": "holding:0"}]}
    rows = [{"device": "dev", "armed": True, **output}]
    raw = {"name": "line", "url": f"tcp://127.0.0.1:{port}", "device": [device], "output": rows}
    return msgspec.convert(raw, Modbus)


def cut(**settings) -> dict:
    return {"name": "cut", "at": "coil:7", **settings}


def touch(on: bool) -> Touch:
    return Touch("cut", on, "drill-1", NOW)


async def told(made: Modbus, *orders: Order) -> list[Event]:
    """What a driver tells of these orders: the first is given when it has polled, each other after the one before."""
    mailbox, clock, events, left = Mailbox(), SystemClock(), [], list(orders)
    async with asyncio.timeout(20), aclosing(made.frames(clock, mailbox)) as items:
        async for item in items:
            if isinstance(item, Event):
                events.append(item)
            if not left and len(events) == len(orders):
                break
            if left and (isinstance(item, Event) or len(left) == len(orders)):
                mailbox.orders.append(msgspec.structs.replace(left.pop(0), at=clock.now()))
    return events


def obey(memory: Memory, output: dict, *orders: Order) -> list[Event]:
    """The same of a slave with this memory; what it was asked before the first order is forgotten."""

    async def story() -> list[Event]:
        slave = await TcpSlave(obedient({UNIT: memory})).start()
        try:
            return await told(modbus(slave.port, output), *orders)
        finally:
            await slave.stop()

    events = asyncio.run(story())
    assert memory.asked.pop(0) == (3, 0, 1)
    return events


@pytest.mark.parametrize("on", [True, False])
def test_a_touch_that_finds_the_coil_as_wanted_writes_that_once_and_reads_it_back(on):
    memory = Memory()
    memory.bits[7] = on
    (event,) = obey(memory, cut(), touch(on))
    assert memory.asked == [(1, 7, 1), (5, 7, 0xFF00 if on else 0), (1, 7, 1)]
    assert memory.bits[7] is on
    assert (event.kind, event.facts["reason"], event.facts["verified"]) == ("order-done", "drill-1", True)
    assert event.facts["read_back"] >= event.facts["written"]


@pytest.mark.parametrize("on", [True, False])
def test_a_touch_that_finds_the_coil_otherwise_writes_nothing(on):
    memory = Memory()
    memory.bits[7] = not on
    (event,) = obey(memory, cut(), touch(on))
    assert memory.asked == [(1, 7, 1)]
    assert event.kind == "order-failed"
    assert f"coil:7 should be {on:d} and reads back {not on:d}" in event.text


def test_a_touch_knows_the_values_of_a_register():
    memory, output = Memory({16: 3}), {"name": "cut", "at": "holding:16", "on": 0xAA55, "off": 3, "write": "multiple"}
    events = obey(memory, output, touch(False), touch(True))
    assert [event.kind for event in events] == ["order-done", "order-failed"]
    assert memory.asked == [(3, 16, 1), (16, 16, 1), (3, 16, 1), (3, 16, 1)]
    assert memory.words == {16: 3}


def test_a_touch_that_the_coil_does_not_take_fails():
    """It stands as it should, and yet the way to it is broken: the device refuses to write."""
    memory = Memory()
    memory.answer, answer = (lambda pdu: bytes([0x85, 4]) if pdu[0] == 5 else answer(pdu)), memory.answer
    (event,) = obey(memory, cut(), touch(False))
    assert event.kind == "order-failed"
    assert [code for code, _, _ in memory.asked] == [1]


@pytest.mark.parametrize(("settings", "why"), [({"verify": False}, "cannot be read"), ({"armed": False}, "not armed")])
def test_a_touch_of_what_cannot_be_proven_is_refused_and_nothing_is_asked(settings, why):
    memory = Memory()
    (event,) = obey(memory, cut(**settings), touch(False))
    assert event.kind == "order-refused"
    assert why in event.text
    assert memory.asked == []


def test_a_heartbeat_is_written_once_and_not_read_back():
    memory = Memory()
    events = obey(memory, {"name": "alive", "at": "coil:7", "heartbeat": 1.0}, *BEATS)
    assert [event.kind for event in events] == ["order-done"] * 3
    assert memory.asked == [(5, 7, 0xFF00), (5, 7, 0), (5, 7, 0xFF00)]
    assert all("written" in event.facts and "read_back" not in event.facts for event in events)


@pytest.mark.parametrize("make", ["pymodbus", "libmodbus"])
def test_somebody_elses_server_is_touched_and_beaten(make, tmp_path):
    words = [0] * 7 + [1] + [0] * 8  # their lowest bits are the coils

    async def story() -> list[list[Event]]:
        server = (
            pymodbus_server(UNIT, words) if make == "pymodbus" else libmodbus_server("tcp", "0", UNIT, words, tmp_path)
        )
        async with server as port:
            alive = {"name": "alive", "at": "coil:8", "heartbeat": 1.0}
            read = {"name": "cut", "at": "coil:8"}
            return [
                await told(modbus(port, cut()), touch(True), touch(False), touch(True)),
                await told(modbus(port, alive), *BEATS[:1]),
                await told(modbus(port, read), touch(True), touch(False)),  # the beat was written
            ]

    touched, beaten, after = asyncio.run(story())
    assert [event.kind for event in touched] == ["order-done", "order-failed", "order-done"]
    assert [event.kind for event in beaten] == ["order-done"]
    assert [event.kind for event in after] == ["order-done", "order-failed"]


# -- when a heartbeat says something, in virtual time ---------------------------------------------

LINE = {
    "name": "bus",
    "url": "rtu:///dev/none",
    "baud": 19200,
    "timeout": 0.2,
    "device": [
        {"name": f"d{u}", "unit": u, "period": 0.5, "channel": [{"key": "r0", "at": "holding:0"}]} for u in (1, 2)
    ],
    "output": [{"name": "alive", "device": "d1", "at": "coil:0", "armed": True, "heartbeat": 1.0}],
}


class Line:
    """A bus of two units; `turn` until something was told of a beat."""

    def __init__(self, living: tuple[int, ...] = (1, 2)) -> None:
        made = msgspec.convert(LINE, Modbus)
        self.clock, self.mailbox = LoopClock(), Mailbox()
        self.units = {unit: Memory() for unit in living}
        link = RtuLink(made.form.char)
        self.wire = RtuWire(link, self.units, lambda unit: ("", 0.0))
        link.write = self.wire.write
        self.bus = Bus(made, link, self.clock, self.mailbox)
        self.said: list[Event | Frame] = []

    async def run(self, enough: Callable[[], bool]) -> None:
        while not enough():
            self.said += await self.bus.turn()

    async def polled(self, *units: int) -> None:
        """Until each of these was read again."""
        before = len(self.said)
        names = {f"d{unit}" for unit in units}
        await self.run(lambda: names <= {f.source for f in self.said[before:] if isinstance(f, Frame)})

    async def beat(self, at: Instant | None = None) -> Event:
        """What is told of a beat that was decided at `at`, now if not said otherwise."""
        self.mailbox.put("alive", True, at or self.clock.now())
        before = len(self.said)
        await self.run(lambda: any(e.kind.startswith("order-") for e in self.said[before:] if isinstance(e, Event)))
        (event,) = (e for e in self.said[before:] if isinstance(e, Event) and e.kind.startswith("order-"))
        return event

    @property
    def beats(self) -> int:
        return sum(code == 5 for code, _, _ in self.units[1].asked)


def test_no_heartbeat_is_written_before_every_device_was_polled():
    async def story():
        line = Line()
        event = await line.beat()
        assert (event.kind, event.text) == ("order-failed", "alive on: decided without a poll of d1, d2")
        await line.polled(1)
        early = line.clock.now()
        await line.polled(2)
        assert (await line.beat(early)).text == "alive on: decided without a poll of d2"
        assert line.beats == 0
        assert (await line.beat()).kind == "order-done"
        assert line.beats == 1

    run(story())


def test_no_heartbeat_is_written_after_its_period():
    """A program that was stopped in between writes nothing of before."""

    async def story():
        line = Line()
        await line.polled(1, 2)
        await line.polled(1, 2)
        at = line.clock.now()
        while line.clock.now().mono < at.mono + 1.0:
            await line.polled(1, 2)
        assert (await line.beat(at)).text == "alive on: too late"
        assert line.beats == 0

    run(story())


def test_after_a_pause_of_the_program_the_sensors_come_first():
    async def story():
        line = Line()
        await line.polled(1, 2)
        await line.polled(1, 2)
        await asyncio.sleep(3.2)  # nobody comes round: SIGSTOP, or a loop that stood still
        assert "without a poll of d1, d2" in (await line.beat()).text
        decided = line.clock.now()
        await line.polled(1, 2)
        assert "without a poll of d1, d2" in (await line.beat(decided)).text
        assert (await line.beat()).kind == "order-done"

    run(story())


def test_one_poll_that_fails_costs_no_heartbeat_and_a_dead_device_none_once_it_is_lost():
    async def story():
        line = Line()
        await line.polled(1, 2)
        before = line.clock.now().mono
        del line.units[2]
        kinds = []
        while line.clock.now().mono < before + 20.0:
            kinds.append((await line.beat()).kind)
            await line.polled(1)
        assert set(kinds) == {"order-done"}
        assert "device-lost" in [e.kind for e in line.said if isinstance(e, Event)]

    run(story())


def test_a_device_that_was_never_there_holds_heartbeats_up_only_until_it_is_lost():
    async def story():
        line = Line(living=(1,))
        await line.run(lambda: any(isinstance(e, Event) and e.kind == "device-lost" for e in line.said))
        await line.polled(1)
        assert (await line.beat()).kind == "order-done"

    run(story())


def test_a_device_that_answers_but_refuses_every_register_holds_no_heartbeat_up():
    async def story():
        line = Line()
        line.units[2].absent = {0}
        await line.polled(1)
        await line.run(lambda: any(isinstance(e, Event) and e.kind == "registers-missing" for e in line.said))
        await line.polled(1)
        assert (await line.beat()).kind == "order-done"

    run(story())
