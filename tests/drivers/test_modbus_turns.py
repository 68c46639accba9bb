"""Whose turn it is on a line where some do not answer: the living keep their period. In virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import numpy as np
import pytest

from agent.core.frame import Frame
from drivers.bus import Bus
from drivers.link import RtuLink, TcpLink
from drivers.modbus import Modbus
from tests.tools.slaves import Mailbox, Memory
from tests.tools.virtual import LoopClock, run
from tests.tools.wires import RtuWire, TcpWire

PERIOD, POLL = 0.5, 0.1  # s; in POLL every living unit is read
RTU, TCP = ("rtu:///dev/none", 0.2), ("tcp://10.0.0.1:502", 0.5)  # and the time-out, s: a dead visit of up to a period


def settings(line, units, period=PERIOD) -> Modbus:
    """`units` in this order, each with four registers, and a siren on unit 1."""
    url, timeout = line
    channel = [{"key": f"r{i}", "at": f"holding:{i}"} for i in range(4)]
    device = [{"name": f"d{u}", "unit": u, "period": period, "channel": channel} for u in units]
    output = [{"name": "siren", "device": "d1", "at": "coil:0", "armed": True}]
    raw = {"name": "bus", "url": url, "baud": 19200, "timeout": timeout, "device": device, "output": output}
    return msgspec.convert(raw, Modbus)


class Story:
    """A bus on a virtual line: what was asked of whom, and when frames came."""

    def __init__(self, made: Modbus, alive, orders=None) -> None:
        self.clock = LoopClock()
        link = RtuLink(made.form.char) if made.is_rtu else TcpLink(made.pipeline, "virtual")
        self.units = {unit: Memory() for unit in alive}
        self.wire = RtuWire(link, self.units) if isinstance(link, RtuLink) else TcpWire(link, self.units)
        if isinstance(link, RtuLink):
            link.write = self.wire.write
        self.bus = Bus(made, link, self.clock, orders or Mailbox())
        self.frames: list[Frame] = []

    async def live(self, seconds: float) -> None:
        until = self.clock.now().mono + seconds
        while self.clock.now().mono < until:
            self.frames += [item for item in await self.bus.turn() if isinstance(item, Frame)]

    def gaps(self, source: str, since: float = 0.0):
        moments = [frame.at.mono for frame in self.frames if frame.source == source and frame.at.mono >= since]
        return np.diff(moments)

    def asked(self, since: float = 0.0) -> Counter:
        return Counter(unit for at, unit in self.wire.requests if at >= since)


@pytest.mark.parametrize("dead", [1, 3, 10])
@pytest.mark.parametrize("line", [RTU, TCP])
def test_however_many_are_dead_a_living_unit_waits_for_one_of_them(line, dead):
    async def story():
        told = Story(settings(line, [*range(2, 2 + dead), 1]), [1])
        await told.live(120.0)
        return told

    told = run(story())
    assert told.gaps("d1").max() < PERIOD + POLL
    asked = told.asked()
    assert min(asked[unit] for unit in range(2, 2 + dead)) >= 5


@pytest.mark.parametrize("line", [RTU, TCP])
def test_when_many_die_at_once_only_the_first_round_does_not_know_who_lives(line):
    async def story():
        told = Story(settings(line, range(1, 8), 1.0), range(1, 8))
        await told.live(10.0)
        for unit in (2, 3, 4, 6, 7):
            del told.units[unit]
        await told.live(60.0)
        return told

    told = run(story())
    for source in ("d1", "d5"):
        gaps = told.gaps(source)
        assert len(gaps) > 55
        assert (gaps > 1.0 + 2 * POLL).sum() <= 1


@pytest.mark.parametrize("line", [RTU, TCP])
def test_a_line_that_is_always_busy_still_asks_the_lost(line):
    async def story():
        told = Story(settings(line, [1, 2], 0.01), [1])
        await told.live(60.0)
        lost = told.asked(30.0)[2]
        told.units[2] = Memory()
        await told.live(35.0)
        return lost, told

    lost, told = run(story())
    assert lost >= 1
    assert any(frame.source == "d2" for frame in told.frames)


@pytest.mark.parametrize("line", [RTU, TCP])
def test_an_order_that_a_frame_causes_goes_before_a_visit_that_nobody_will_answer(line):
    """The judge is another task, and busy: it needs a moment between the frame and the probe that is due."""
    written: list[float] = []

    async def story():
        mailbox, frames = Mailbox(), asyncio.Queue()
        told = Story(settings(line, range(1, 12)), [1], mailbox)
        answer = told.units[1].answer

        def watched(pdu):
            if pdu[0] == 5:
                written.append(told.clock.now().mono)
            return answer(pdu)

        async def judge():
            on = False
            while True:
                frame = await frames.get()
                for _ in range(5):
                    await asyncio.sleep(0)
                on = not on
                mailbox.put("siren", on, frame.at)

        told.units[1].answer = watched
        judging = asyncio.create_task(judge())
        while told.clock.now().mono < 30.0:
            for item in await told.bus.turn():
                if isinstance(item, Frame):
                    told.frames.append(item)
                    frames.put_nowait(item)
        judging.cancel()
        return told

    told = run(story())
    seen = [frame.at.mono for frame in told.frames][:-1]
    assert len(seen) > 40
    assert max(next(at for at in written if at >= moment) - moment for moment in seen) < 0.05
