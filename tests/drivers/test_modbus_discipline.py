"""The discipline of a half-duplex line, in virtual time: hours of faults, not one value of a wrong register.

Every register holds its own address plus a thousand times the unit, so a value from anywhere else shows.
A control test takes the discipline away and must see wrong values: else this page would prove nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from agent.core.frame import Frame, Quality
from drivers import modbus_wire as wire
from drivers.bus import Bus, Unit
from drivers.link import RtuLink, TcpLink
from drivers.modbus import Modbus, Output, worst_scan
from tests.tools.slaves import Mailbox, Memory
from tests.tools.virtual import LoopClock, run
from tests.tools.wires import Faults, RtuWire, TcpWire

TIMEOUT = 0.2


def memory(unit: int) -> Memory:
    return Memory({a: 1000 * unit + a for a in range(700)})


def settings(units, blocks=4, period=0.5, size=3, **more) -> Modbus:
    channel = [{"key": f"r{100 * b + i}", "at": f"holding:{100 * b + i}"} for b in range(blocks) for i in range(size)]
    device = [{"name": f"d{u}", "unit": u, "period": period, "channel": channel, **more} for u in units]
    raw = {"name": "bus", "url": "rtu:///dev/none", "baud": 19200, "timeout": TIMEOUT, "device": device}
    return msgspec.convert(raw, Modbus)


async def live(made: Modbus, prepare, until, limit=1e9):
    """Run a bus on a virtual wire until `until(said, now)`; what it said and the wire."""
    link = RtuLink(made.form.char)
    network = prepare(link)
    link.write = network.write
    clock = LoopClock()
    bus = Bus(made, link, clock, Mailbox())
    said = []
    while not until(said, clock.now().mono):
        said += await bus.turn()
        assert clock.now().mono < limit
    return said, network


def wrong_values(said) -> list[tuple[str, str, float]]:
    """(source, key, value) of every number that is not of its own register."""
    found = []
    for frame in said:
        if isinstance(frame, Frame):
            base = 1000 * int(frame.source[1:])
            expected = np.array([base + int(key[1:]) for key in frame.layout.key])
            bad = ~np.isnan(frame.value) & (frame.value != expected)
            found += [(frame.source, frame.layout.key[i], float(frame.value[i])) for i in np.flatnonzero(bad)]
    return found


def faults(seed: int, share: float, names=("late", "twin", "foreign", "cut", "noise", "deaf")):
    return Faults(seed, share, 2.5 * TIMEOUT, names)


@pytest.mark.parametrize(
    ("units", "blocks", "gap", "echo", "overrun"),
    [
        ((1,), 1, 8, False, False),
        ((1,), 4, 8, False, True),
        ((1, 2, 3), 4, 8, False, False),
        ((1, 2), 3, 8, True, True),
        ((1, 2, 3), 4, 0, False, True),  # no register more than needed may be read: all replies look alike
    ],
)
def test_no_fault_of_the_line_ever_yields_a_wrong_registers_value(units, blocks, gap, echo, overrun):
    transactions = 4000

    def prepare(link):
        return RtuWire(link, {u: memory(u) for u in units}, faults(11, 0.15), echo=echo, overrun=overrun)

    async def story():
        network = []

        def remember(link):
            network.append(prepare(link))
            return network[0]

        return await live(
            settings(units, blocks, gap=gap), remember, lambda said, now: len(network[0].requests) >= transactions
        )

    said, network = run(story())
    assert wrong_values(said) == []
    seen = Counter(q for f in said if isinstance(f, Frame) for q in f.quality.tolist())
    assert seen[Quality.GOOD] > 0.5 * sum(seen.values())  # and it does not go blind for it
    assert len(network.requests) >= transactions


def test_control_without_the_discipline_the_same_line_yields_wrong_values(monkeypatch):
    monkeypatch.setattr(wire.Line, "_soil", lambda self, unit: None)
    monkeypatch.setattr(Unit, "line_up", lambda self, todo: [self.asks[i] for i in todo])
    monkeypatch.setattr(Bus, "_owed", lambda self, unit: unit.owed.clear() or [])
    monkeypatch.setattr(wire.Line, "TWIN", 0.0)

    async def story():
        def prepare(link):
            return RtuWire(link, {1: memory(1)}, faults(11, 0.15, ("late", "twin")))

        return await live(settings((1,), 4, retries=5), prepare, lambda said, now: now > 600)

    said, _ = run(story())
    assert wrong_values(said)


def test_the_late_reply_that_makes_pymodbus_wrong_for_ever():
    """reliability.md, appendix: the first answer takes 1.2 s, the others 0.5 s, the time-out is 1 s, no pause."""
    first = iter([("late", 0.7)])

    async def story():
        made = msgspec.structs.replace(settings((1,), 6, period=0.1, size=1), timeout=1.0)

        def prepare(link):
            network = RtuWire(link, {1: memory(1)}, lambda unit: next(first, ("", 0.0)), latency=0.5)
            network.chance.uniform = lambda a, b: 1.0
            return network

        return await live(made, prepare, lambda said, now: len([f for f in said if isinstance(f, Frame)]) == 4)

    said, network = run(story())
    assert wrong_values(said) == []
    good = [f for f in said if isinstance(f, Frame) and (f.quality == Quality.GOOD).all()]
    assert len(good) >= 3
    assert network.requests[1][0] >= 1.2 + 1.0  # silent for long enough before the next request


def test_after_a_time_out_another_unit_is_asked_first_and_the_late_one_is_uncertain():
    story_of_faults = iter([("late", 0.25)])

    async def story():
        def prepare(link):
            return RtuWire(link, {1: memory(1), 2: memory(2)}, lambda unit: next(story_of_faults, ("", 0.0)))

        return await live(settings((1, 2), 2), prepare, lambda said, now: now > 2.2)

    said, network = run(story())
    asked = [unit for _, unit in network.requests]
    assert asked[:2] == [1, 2]
    assert wrong_values(said) == []
    assert kinds_of(said) == []
    first = next(f for f in said if isinstance(f, Frame) and f.source == "d1")
    assert set(first.quality.tolist()) <= {Quality.GOOD, Quality.UNCERTAIN}


def kinds_of(said):
    return [item.kind for item in said if not isinstance(item, Frame)]


@pytest.mark.parametrize("outage", [10.0, 1800.0])
def test_a_unit_that_was_dead_comes_back_and_never_took_more_than_a_tenth_of_the_line(outage):
    made = settings((1, 2, 3), 2, period=1.0)
    revived = 20.0 + outage

    async def story():
        units = {u: memory(u) for u in (1, 2, 3)}
        loop = asyncio.get_running_loop()
        loop.call_at(20.0, units.pop, 2)
        loop.call_at(revived, lambda: units.setdefault(2, memory(2)))
        return await live(
            made, lambda link: RtuWire(link, units, lambda unit: ("", 0.0)), lambda said, now: now > revived + 40
        )

    said, network = run(story())
    assert kinds_of(said) == ["device-lost", "device-recovered"]
    dead = [t for t, unit in network.requests if unit == 2 and 23.0 < t < revived]
    assert len(dead) * (TIMEOUT + 0.1) <= 0.1 * outage + TIMEOUT
    again = next(f.at.mono for f in said if isinstance(f, Frame) and f.source == "d2" and f.at.mono > revived)
    assert again - revived <= min(31.0, outage)
    for source in ("d1", "d3"):  # on their grid all the time: no drift, no poll left out
        moments = np.array([f.at.mono for f in said if isinstance(f, Frame) and f.source == source])
        assert np.diff(moments).max() < 1.0 + 2 * TIMEOUT + 0.2
        assert len(moments) == pytest.approx(moments[-1], abs=2)
    assert worst_scan(made).worst < 1.0 + 2 * TIMEOUT


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_a_dead_unit_makes_nobody_wait_longer_than_the_budget_says(retries):
    """`worst_scan` against the bus as it is: a unit that never answered, or dies; at many phases."""
    shares = []
    for period, death in itertools.product((0.3, 0.35, 0.5, 1.0), (0.0, 2.02, 2.17, 2.31)):

        async def story(made, death):
            units = {1: memory(1), 2: memory(2)}
            asyncio.get_running_loop().call_at(death, units.pop, 2)
            return await live(made, lambda link: RtuWire(link, units, lambda unit: ("", 0.0)), lambda _, now: now > 9)

        made = settings((1, 2), 2, period=period, retries=retries)
        said, _ = run(story(made, death))
        frames = [item for item in said if isinstance(item, Frame) and item.source == "d1"]
        oldest = max(b.at.mono - a.at.mono + a.age.max() for a, b in pairwise(frames))
        shares.append((oldest - period) / worst_scan(made).worst)
    assert max(shares) <= 1.0
    assert max(shares) > (0.5 if retries else 0.3)  # and it is no more cautious than it must be


def test_a_serial_bus_is_used_to_nine_tenths():
    """Asked without pause, the line itself is the limit: characters, silences and nothing else."""
    made = msgspec.structs.replace(settings((1,), 1, period=0.01, size=60), timeout=0.5)

    async def story():
        return await live(
            made,
            lambda link: RtuWire(link, {1: memory(1)}, lambda unit: ("", 0.0), latency=0.0),
            lambda said, now: now > 60,
        )

    said, _ = run(story())
    char = made.form.char
    limit = (8 + 5 + 120 + 2 * 3.5) * char
    assert 60 / len(said) <= limit / 0.9


def test_a_device_that_refuses_a_register_more_than_it_has_is_asked_for_exactly_what_it_has():
    made = settings((1,), 3)
    exact = memory(1)
    exact.absent = {a for a in range(700) if a % 100 > 2}

    async def story():
        def prepare(link):
            return RtuWire(link, {1: exact}, lambda unit: ("", 0.0))

        return await live(made, prepare, lambda said, now: now > 20)

    said, _ = run(story())
    assert kinds_of(said) == []  # nothing is missing that anybody wanted
    assert wrong_values(said) == []
    assert all((f.quality == Quality.GOOD).all() for f in said[3:])
    refused = [a for a in exact.asked if a[2] > 3]
    assert len(refused) <= 3


SIREN = {"name": "siren", "device": "d1", "at": "coil:0", "armed": True}


def test_an_order_goes_before_the_next_request_even_between_a_time_out_and_its_retry():
    made = settings((1, 2), 1, period=60.0)
    made = msgspec.structs.replace(made, output=(msgspec.convert(SIREN, Output),))
    sent = []

    async def story():
        link = RtuLink(made.form.char)
        network = RtuWire(link, {1: memory(1)}, lambda unit: ("", 0.0))  # 2 is dead
        mailbox, clock = Mailbox(), LoopClock()

        def write(adu):
            sent.append((adu[0], adu[1]))
            if len(sent) == 3:  # another one is asked between the time-out and the retry
                mailbox.put("siren", True, clock.now())
            network.write(adu)

        link.write = write
        bus = Bus(made, link, clock, mailbox)
        while "device-lost" not in kinds_of(said):
            said.extend(await bus.turn())

    said = []
    run(story())
    assert sent[:5] == [(1, 3), (2, 3), (1, 3), (1, 5), (1, 1)]
    assert kinds_of(said)[0] == "order-done"


def test_an_order_that_the_shell_repeats_to_a_dead_device_leaves_the_line_to_the_others():
    """As `agent/orders.py` does: again 2 s after each failure, and at once when the device is back."""
    made = settings((1, 2), 2, period=1.0)
    made = msgspec.structs.replace(made, output=(msgspec.convert({**SIREN, "device": "d2"}, Output),))
    revived, said, writes = 200.0, [], []

    async def story():
        units = {1: memory(1)}
        loop = asyncio.get_running_loop()
        loop.call_at(revived, lambda: units.setdefault(2, memory(2)))
        link = RtuLink(made.form.char)
        network = RtuWire(link, units, lambda unit: ("", 0.0))
        mailbox, clock = Mailbox(), LoopClock()

        def write(adu):
            if adu[1] == 5:
                writes.append(loop.time())
            network.write(adu)

        link.write = write
        bus = Bus(made, link, clock, mailbox)
        decided = clock.now()
        mailbox.put("siren", True, decided)
        while clock.now().mono < revived + 10:
            new = await bus.turn()
            said.extend(new)
            if "order-failed" in kinds_of(new):
                loop.call_later(2.0, mailbox.put, "siren", True, decided)
            if "device-recovered" in kinds_of(new):
                mailbox.put("siren", True, decided)
        return units

    units = run(story())
    dead = [t for t in writes if t < revived]
    assert 10 < len(dead) <= 0.1 * revived / (2 * TIMEOUT)  # each costs a time-out and as long a silence; a tenth
    moments = np.array([f.at.mono for f in said if isinstance(f, Frame) and f.source == "d1"])
    assert np.diff(moments).max() < 1.0 + worst_scan(made).worst + 3 * TIMEOUT
    assert len(moments) == pytest.approx(moments[-1], abs=3)
    told = [kind for kind in kinds_of(said) if kind != "order-failed"]
    assert told[:2] == ["device-lost", "order-done"]  # the order itself found it alive
    assert told[2] == "device-recovered"
    assert writes[len(dead)] - revived < 5.0
    assert units[2].bits[0] is True


def test_an_order_to_another_unit_does_not_wait_for_a_dirty_line():
    made = settings((1, 2), 1, period=60.0)
    made = msgspec.structs.replace(made, output=(msgspec.convert(SIREN, Output),))
    put, written, said = [], [], []

    async def story():
        link = RtuLink(made.form.char)
        network = RtuWire(link, {1: memory(1)}, lambda unit: ("", 0.0))  # 2 is dead
        mailbox, clock, loop = Mailbox(), LoopClock(), asyncio.get_running_loop()

        def order():
            put.append(loop.time())
            assert link.line.state is wire.State.QUIET  # the time-out is over, the silence has begun
            mailbox.put("siren", True, clock.now())

        def write(adu):
            if adu[0] == 2 and not put:
                loop.call_later(TIMEOUT + 0.05, order)
            if adu[1] == 5:
                written.append(loop.time())
            network.write(adu)

        link.write = write
        bus = Bus(made, link, clock, mailbox)
        while "device-lost" not in kinds_of(said):
            said.extend(await bus.turn())

    run(story())
    assert kinds_of(said)[0] == "order-done"
    assert written[0] - put[0] < 0.02  # the silence is as long as the time-out


@pytest.mark.parametrize("outage", [10.0, 1800.0])
def test_a_line_that_was_mute_as_a_whole_is_back_at_once(outage):
    made = settings((1, 2, 3), 2, period=1.0)
    mended = 20.0 + outage

    async def story():
        units = {u: memory(u) for u in (1, 2, 3)}
        loop = asyncio.get_running_loop()
        loop.call_at(20.0, units.clear)
        loop.call_at(mended, lambda: units.update({u: memory(u) for u in (1, 2, 3)}))
        return await live(
            made, lambda link: RtuWire(link, units, lambda unit: ("", 0.0)), lambda said, now: now > mended + 10
        )

    said, _ = run(story())
    for source in ("d1", "d2", "d3"):
        again = next(f.at.mono for f in said if isinstance(f, Frame) and f.source == source and f.at.mono > mended)
        assert again - mended <= 3.0


def test_a_gateway_that_sends_a_late_reply_under_the_id_of_the_next_request_is_not_believed():
    story_of_faults = itertools.cycle([("relabelled", 1.5 * TIMEOUT)] + 30 * [("", 0.0)])
    made = msgspec.structs.replace(settings((1,), 4, gap=0), url="tcp://10.0.0.1:502")
    said = []

    async def story():
        link = TcpLink(1, "gateway")
        network = TcpWire(link, {1: memory(1)}, lambda unit: next(story_of_faults))
        bus = Bus(made, link, LoopClock(), Mailbox())
        while len(network.requests) < 500:
            said.extend(await bus.turn())

    run(story())
    assert wrong_values(said) == []
    assert kinds_of(said) == []
