"""`vedette simulate fleet`: what a gateway costs, and what it costs a broker, while their number grows; and what
happens when a whole region comes back at once.

For 10, 100, 1,000 ... gateways: crowds of light gateways (`crowd.py`) in processes of their own, a broker (mosquitto
that is started here, or one that is named), an ear that counts by id and number (`ears.py`), and set arithmetic between
what the plants made and what arrived. CPU is the scheduler's own count, bytes are the kernel's of each connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, structs

from agent.core.errors import ConfigFault, LineLost

from . import crowd, ears
from .mosquitto import Mosquitto

T = TypeVar("T")

MEMORY_DISK = Path("/dev/shm")
STORE_KB = 400  # of one gateway's files, at most in a short run
PER_PROCESS = 1000  # gateways; 5 descriptors and 2 threads each
CALM = 3.0  # s after the last connected, until it is measured
LOOK = 0.25  # s between two looks at a storm
PATIENCE = 120.0  # s for what should take seconds
HEADERS = 52  # bytes of IPv4 and TCP with time stamps, around each segment
LATE = 0.5  # s
FLAT = 0.10  # goal: so much dearer at most than the smallest fleet
REPLY = 1 << 28  # bytes of a line at most: a ledger


class Fleet(Struct, frozen=True, kw_only=True):
    """What is to be simulated."""

    gateways: int = 1000
    broker: str = ""  # mqtt://host[:port]; empty: a mosquitto of our own
    seconds: float = 30.0  # that are measured at each size
    rate: float = 0.2  # readings/s of each gateway
    alarms: float = 1.0  # alarms/min of each gateway
    outage: float = 0.0  # s that the broker is away from the largest fleet; 0: never
    channels: int = 10
    processes: int = 0  # for the largest fleet; 0: one for each `PER_PROCESS`
    store: str = ""  # folder of the states; empty: the file system in memory, where there is room
    receipts: bool = False
    spread: float | None = None  # s, of the uplinks; None: as usual
    seed: int = 1

    def faults(self) -> list[str]:
        """What cannot be simulated, each with what to do."""
        found = [f"--gateways is 1 or more, not {self.gateways}"] if self.gateways < 1 else []
        found += [f"--seconds is above 0, not {self.seconds:g}"] if self.seconds <= 0 else []
        found += [f"--rate is above 0, not {self.rate:g}"] if self.rate <= 0 else []
        found += [f"--alarms is 0 or more, not {self.alarms:g}"] if self.alarms < 0 else []
        found += [f"--outage is 0 or more, not {self.outage:g}"] if self.outage < 0 else []
        found += [f"--processes is 0 or more, not {self.processes}"] if self.processes < 0 else []
        if self.broker:
            place = urlsplit(self.broker)
            if place.scheme != "mqtt" or not place.hostname or place.path.strip("/"):
                found.append(f"--broker is mqtt://host[:port], not {self.broker!r}")
            if self.outage:
                found.append("--outage needs a broker that is started and stopped here: leave --broker out")
        return found


class Storm(Struct, frozen=True, kw_only=True):
    """How a fleet came back. Times in s since the broker was there again."""

    outage: float
    per_second: list[int]  # connections
    peak: int  # connections within the worst second, wherever it begins
    tries: int  # to connect, during outage and return
    all_up: float
    drained: float  # all that waited was delivered
    waited: int  # items that waited at the end of the outage
    urgent: int  # gateways with a red or orange alarm among them, who do not wait for the others
    broker: list[float]  # CPU in each second, in % of one core
    crowd: list[float]  # the same of a process of gateways; where it is near 100 the storm was held up by itself


class Row(Struct, frozen=True, kw_only=True):
    """One size of the fleet. Costs are for one gateway."""

    gateways: int
    processes: int
    cpu: float  # ms/s
    memory: float  # kB
    messages: float  # 1/s
    sent: float  # bytes/s over TCP
    received: float
    wire: float  # bytes/s both ways, with the headers of TCP and IPv4
    lag: float  # s that plants were read too late: above `LATE` the machine was too slow for so many
    files: float
    threads: float
    broker_cpu: float | None  # us for each message that comes in, with what it hands to one ear
    broker_share: float | None  # % of one core
    broker_memory: float | None  # kB for each gateway
    broker_bytes: float | None  # it says that it received, for each of its messages
    delay: float | None  # ms from decision to ear, of 99 % of alarms at most
    alarms: int  # edges that were made
    readings: int
    lost_alarms: int
    lost_readings: int
    twice: int  # came again and were not marked
    repeated: int  # came again and were marked
    redelivered: int  # came again from the broker, marked by it
    storm: Storm | None = None


# -- programs that run beside --------------------------------------------------------------------------


class Child:
    """A program of this project that answers lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin, process.stdout

    def write(self, line: bytes) -> None:
        self._input.write(line + b"\n")

    async def read(self, kind: type[T]) -> T:
        """Its next line. Raises `LineLost` where it has ended."""
        line = await self._output.readline()
        if not line.endswith(b"\n"):
            raise LineLost(f"a part of the simulation ended with {await self.process.wait()}")
        return msgspec.json.decode(line, type=kind)

    async def ask(self, word: bytes, kind: type[T]) -> T:
        self.write(word)
        return await self.read(kind)


@contextlib.asynccontextmanager
async def running(module: str, order: Struct) -> AsyncIterator[Child]:
    """The program, until it is not wanted any more; then it ends by itself, or is killed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=REPLY,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    child = Child(process)
    try:
        child.write(msgspec.json.encode(order))
        yield child
        child._input.close()
        await asyncio.wait_for(process.wait(), PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class Crowds:
    """All crowds of one size, asked together."""

    def __init__(self, children: Sequence[Child]) -> None:
        self.children, self.count = children, len(children)

    async def ask(self, word: bytes) -> crowd.Figures:
        return total(await asyncio.gather(*(child.ask(word, crowd.Figures) for child in self.children)))

    async def read(self) -> crowd.Figures:
        return total(await asyncio.gather(*(child.read(crowd.Figures) for child in self.children)))

    async def ledger(self) -> crowd.Ledger:
        found = await asyncio.gather(*(child.ask(b"ledger", crowd.Ledger) for child in self.children))
        alarms = {gateway: edges for one in found for gateway, edges in one.alarms.items()}
        return crowd.Ledger(alarms, {gateway: n for one in found for gateway, n in one.readings.items()})


def total(figures: Sequence[crowd.Figures]) -> crowd.Figures:
    """The figures of several crowds as those of one."""
    summed: dict[str, Any] = {
        name: sum(getattr(one, name) for one in figures)
        for name in crowd.Figures.__struct_fields__
        if name not in ("mono", "ups", "lag")
    }
    ups = sorted(at for one in figures for at in one.ups)
    mono, lag = max(one.mono for one in figures), max(one.lag for one in figures)
    return crowd.Figures(mono=mono, lag=lag, ups=ups, **summed)


# -- one size -------------------------------------------------------------------------------------------


def sizes(gateways: int) -> list[int]:
    """
    >>> sizes(1000), sizes(20), sizes(3)
    ([10, 100, 1000], [10, 20], [3])
    """
    tens = [10**k for k in range(1, 10) if 10**k < gateways]
    return [*tens, gateways]


def share(gateways: int, processes: int) -> list[tuple[int, int]]:
    """First number and count for each process.

    >>> share(10, 3)
    [(0, 4), (4, 3), (7, 3)]
    """
    counts = [gateways // processes + (k < gateways % processes) for k in range(processes)]
    return [(sum(counts[:k]), count) for k, count in enumerate(counts)]


async def measure(fleet: Fleet, gateways: int, outage: float, folder: Path, say: Callable[[str], None]) -> Row:
    """One size of the fleet, from its start to its count. Raises `LineLost`."""
    async with contextlib.AsyncExitStack() as stack:
        ours: Mosquitto | None = None
        if not fleet.broker:
            ours = Mosquitto(folder / "broker")
            await ours.start()
            stack.push_async_callback(ours.stop)
        url = fleet.broker or (ours.url if ours else "")
        place = urlsplit(url)
        order = ears.Order(host=place.hostname or "", port=place.port or 1883)
        ear = await stack.enter_async_context(running("simulators.ears", order))
        await ear.read(ears.Heard)
        empty = ours.load() if ours else None
        processes = min(gateways, fleet.processes or math.ceil(gateways / PER_PROCESS))
        orders = [
            crowd.Order(
                url=url,
                folder=str(folder / "states"),
                first=first,
                gateways=n,
                rate=fleet.rate,
                alarms=fleet.alarms,
                channels=fleet.channels,
                receipts=fleet.receipts,
                spread=fleet.spread,
                seed=fleet.seed,
            )
            for first, n in share(gateways, processes)
        ]
        programs = [await stack.enter_async_context(running("simulators.crowd", one)) for one in orders]
        crowds = Crowds(programs)
        base = await crowds.read()
        await crowds.read()
        say(f"{gateways} gateways are connected")
        await asyncio.sleep(CALM)

        begin, before = await crowds.ask(b"count"), ours.load() if ours else None
        first = await ear.ask(b"count", ears.Heard)
        await asyncio.sleep(fleet.seconds)
        end, after = await crowds.ask(b"count"), ours.load() if ours else None
        last = await ear.ask(b"count", ears.Heard)
        storm = await _storm(ours, crowds, outage, say) if ours and outage else None
        made, heard, told = await _counted(crowds, ear)

    seconds, n = end.mono - begin.mono, gateways
    messages = last.messages - first.messages
    bytes_in, messages_in = (_difference(first, last, name) for name in ("bytes/received", "messages/received"))
    segments = end.segments_sent - begin.segments_sent + end.segments_received - begin.segments_received
    sent, received = end.sent - begin.sent, end.received - begin.received
    spent = after.cpu - before.cpu if before and after else None
    lost_alarms, lost_readings = missing(made, told)
    return Row(
        gateways=n,
        processes=processes,
        cpu=1000 * (end.cpu - begin.cpu) / seconds / n,
        memory=(end.memory - base.memory) / n,
        messages=messages / seconds / n,
        sent=sent / seconds / n,
        received=received / seconds / n,
        wire=(sent + received + HEADERS * segments) / seconds / n,
        lag=end.lag,
        files=(end.files - base.files) / n,
        threads=(end.threads - base.threads) / n,
        broker_cpu=None if spent is None else 1e6 * spent / max(1, messages),
        broker_share=None if spent is None else 100 * spent / seconds,
        broker_memory=(after.memory - empty.memory) / n if empty and after else None,
        broker_bytes=bytes_in / messages_in if bytes_in and messages_in else None,
        delay=1000 * quantile(last.delays, 0.99) if last.delays else None,
        alarms=sum(map(len, made.alarms.values())),
        readings=sum(made.readings.values()),
        lost_alarms=lost_alarms,
        lost_readings=lost_readings,
        twice=heard.twice + heard.strange,
        repeated=heard.repeated,
        redelivered=heard.redelivered,
        storm=storm,
    )


def _difference(first: ears.Heard, last: ears.Heard, topic: str) -> float | None:
    if topic not in first.broker or topic not in last.broker:
        return None
    return float(last.broker[topic]) - float(first.broker[topic])


def quantile(values: Sequence[float], share: float) -> float:
    """
    >>> quantile([3.0, 1.0, 2.0], 0.99)
    3.0
    """
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def missing(made: crowd.Ledger, told: ears.Told) -> tuple[int, int]:
    """How many alarm edges and readings never arrived.

    >>> made = crowd.Ledger({"s/a": ["1/1", "1/2"]}, {"s/a": 3})
    >>> missing(made, ears.Told({"s/a": ["1/1"]}, {"s/a": [1, 3]}))
    (1, 1)
    """
    alarms = sum(len(set(edges) - set(told.alarms.get(gateway, []))) for gateway, edges in made.alarms.items())
    numbers = {gateway: set(range(1, n + 1)) for gateway, n in made.readings.items()}
    return alarms, sum(len(all_ - set(told.readings.get(gateway, []))) for gateway, all_ in numbers.items())


async def _counted(crowds: Crowds, ear: Child) -> tuple[crowd.Ledger, ears.Heard, ears.Told]:
    """Make nothing new; once all is delivered, what was made and what arrived."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    figures = await crowds.ask(b"calm")
    while figures.waiting and loop.time() < end:
        await asyncio.sleep(LOOK)
        figures = await crowds.ask(b"count")
    made = await crowds.ledger()
    while True:
        told = await ear.ask(b"tell", ears.Told)
        heard = await ear.ask(b"count", ears.Heard)
        if not any(missing(made, told)) or loop.time() > end:
            return made, heard, told
        await asyncio.sleep(LOOK)


async def _storm(broker: Mosquitto, crowds: Crowds, outage: float, say: Callable[[str], None]) -> Storm:
    """Stop the broker for so long, and watch the fleet come back."""
    loop = asyncio.get_running_loop()
    before = await crowds.ask(b"count")
    await broker.stop()
    say(f"the broker is gone for {outage:g} s")
    gone = loop.time()
    await asyncio.sleep(outage)
    late = await crowds.ask(b"count")
    n = before.up
    await broker.start()
    back = loop.time()
    say("the broker is back")
    loads = [(0.0, broker.load().cpu)]
    own = [(0.0, late.cpu / crowds.count)]
    all_up = drained = math.inf
    now = before
    while loop.time() < back + PATIENCE:
        await asyncio.sleep(LOOK)
        now = await crowds.ask(b"count")
        loads.append((loop.time() - back, broker.load().cpu))
        own.append((loop.time() - back, now.cpu / crowds.count))
        if now.up >= n and all_up == math.inf:
            all_up = now.ups[-1] - back
        if now.up >= n and now.late <= n // 50 and drained == math.inf:  # what is new waits for a moment, too
            drained = loop.time() - back
        if drained < math.inf and loop.time() - back > all_up + 1:
            break
    ups = [at - back for at in now.ups if at >= gone]
    return Storm(
        outage=back - gone,
        per_second=histogram(ups),
        peak=busiest(ups),
        tries=now.tries - before.tries,
        all_up=all_up,
        drained=drained,
        waited=late.waiting,
        urgent=late.urgent,
        broker=shares(loads),
        crowd=shares(own),
    )


def histogram(times: Sequence[float]) -> list[int]:
    """How many in each second.

    >>> histogram([0.1, 0.9, 2.5])
    [2, 0, 1]
    """
    count = Counter(int(max(0.0, at)) for at in times)
    return [count[k] for k in range(max(count, default=-1) + 1)]


def busiest(times: Sequence[float], window: float = 1.0) -> int:
    """The most within any second.

    >>> busiest([0.0, 0.9, 1.1, 1.8, 3.0])
    3
    """
    times, first, most = sorted(times), 0, 0
    for k, at in enumerate(times):
        while times[first] <= at - window:
            first += 1
        most = max(most, k - first + 1)
    return most


def shares(used: Sequence[tuple[float, float]]) -> list[float]:
    """CPU in each second, in % of one core, from what had been used at some moments.

    >>> shares([(0.0, 0.0), (0.5, 0.1), (1.0, 0.5), (2.0, 0.75)])
    [50.0, 25.0]
    """
    found: list[float] = []
    begin, before = used[0]
    for at, cpu in used:
        if at - begin >= 1.0:
            found.append(100 * (cpu - before) / (at - begin))
            begin, before = at, cpu
    return found


# -- all sizes --------------------------------------------------------------------------------------------


async def simulate(fleet: Fleet, say: Callable[[str], None], as_json: bool = False) -> int:
    """Measure all sizes and print the table. 0 where no alarm was lost and nothing came twice unmarked.

    Raises `ConfigFault`, `LineLost`. A SIGTERM ends it as a Ctrl-C does: nothing that was started is left behind.
    """
    if found := fleet.faults():
        raise ConfigFault(found)
    work = asyncio.create_task(_simulate(fleet, say, as_json))
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        await asyncio.wait([work])
    finally:
        work.cancel()  # a Ctrl-C
        await asyncio.wait([work])
    return 128 + signal.SIGTERM if work.cancelled() else work.result()


async def _simulate(fleet: Fleet, say: Callable[[str], None], as_json: bool) -> int:
    if fleet.broker:
        await _reached(fleet.broker)
    place = _place(fleet)
    rows = []
    with tempfile.TemporaryDirectory(prefix="vedette-fleet-", dir=place) as folder:
        if place == MEMORY_DISK and not as_json:
            say(f"states are kept in {place}, in memory: so many gateways share one disk only here")
        for n in sizes(fleet.gateways):
            outage = fleet.outage if n == fleet.gateways else 0.0
            here = Path(folder) / str(n)
            rows.append(await measure(fleet, n, outage, here, (lambda _: None) if as_json else say))
            shutil.rmtree(here, ignore_errors=True)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
    else:
        for line in table(fleet, rows):
            print(line)
    return int(any(row.lost_alarms or row.lost_readings or row.twice for row in rows))


async def _reached(url: str) -> None:
    """Raises `LineLost` where nobody listens there."""
    place = urlsplit(url)
    try:
        async with asyncio.timeout(5.0):
            _, writer = await asyncio.open_connection(place.hostname, place.port or 1883)
        writer.close()
    except (OSError, TimeoutError) as error:
        raise LineLost(f"connect {url}: {error or 'no answer in 5 s'}; does the broker run there?") from None


def _place(fleet: Fleet) -> Path | None:
    if fleet.store:
        return Path(fleet.store)
    if MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free > 2 * 1024 * STORE_KB * fleet.gateways:
        return MEMORY_DISK
    return None


COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("gateways", "gateways", "d"),
    ("CPU ms/s", "cpu", ".3f"),
    ("memory kB", "memory", ".0f"),
    ("messages/s", "messages", ".3f"),
    ("bytes/s up", "sent", ".1f"),
    ("down", "received", ".1f"),
    ("with TCP/IP", "wire", ".1f"),
    ("broker us/message", "broker_cpu", ".1f"),
    ("broker %", "broker_share", ".2f"),
    ("broker kB", "broker_memory", ".1f"),
    ("alarm p99 ms", "delay", ".0f"),
    ("lag s", "lag", ".2f"),
)
GOALS = (
    ("CPU", "cpu"),
    ("memory", "memory"),
    ("messages", "messages"),
    ("bytes", "wire"),
    ("broker's CPU for each message", "broker_cpu"),
    ("broker's memory", "broker_memory"),
)


def table(fleet: Fleet, rows: Sequence[Row]) -> list[str]:
    """What was measured, in lines."""
    titles = [title for title, _, _ in COLUMNS]
    cells = [
        ["-" if (value := getattr(row, name)) is None else format(value, form) for _, name, form in COLUMNS]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    lines = [
        "",
        f"for each gateway: {fleet.rate:g} readings/s of {fleet.channels} channels, {fleet.alarms:g} alarms/min; "
        f"{fleet.seconds:g} s at each size",
        "  ".join(title.rjust(width) for title, width in zip(titles, widths, strict=True)),
    ]
    lines += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    if len(rows) > 1:
        lines += ["", *flatness(rows)]
    lines.append("")
    for row in rows:
        lines.append(
            f"{row.gateways} gateways in {row.processes} processes, {row.files:.1f} descriptors and {row.threads:.1f} "
            f"threads each: {row.alarms} alarm edges made, {row.lost_alarms} lost; {row.readings} readings made, "
            f"{row.lost_readings} lost; {row.twice} came twice unmarked, {row.repeated} marked, "
            f"{row.redelivered} by the broker"
        )
    for row in rows:
        if row.storm is not None:
            lines += ["", *_told(row.gateways, row.storm)]
    return lines


def flatness(rows: Sequence[Row]) -> list[str]:
    """Whether a gateway is not dearer in a larger fleet."""
    slow = [row for row in rows if row.lag > LATE]
    lines = [f"{row.gateways} gateways are too many for this machine: it is not compared with" for row in slow]
    rows = [row for row in rows if row not in slow]
    for title, name in GOALS:
        values = [(row.gateways, value) for row in rows if (value := getattr(row, name))]
        if len(values) < 2:
            continue
        first = values[0][1]
        changes = ", ".join(f"{100 * (value / first - 1):+.0f} % at {n}" for n, value in values[1:])
        worst = max(value / first - 1 for _, value in values[1:])
        spread = max(value for _, value in values) / min(value for _, value in values) - 1
        met = "met" if spread <= FLAT else "met: only cheaper" if worst <= FLAT else "MISSED"
        lines.append(f"flat within {100 * FLAT:g} %: {title}: {changes}: {met}")
    return lines


def _told(gateways: int, storm: Storm) -> list[str]:
    shown = " ".join(map(str, storm.per_second[:60]))
    return [
        f"outage of {storm.outage:.1f} s for {gateways} gateways at once; {storm.tries} tries to connect; "
        f"{storm.urgent} had a red or orange alarm to tell",
        f"connections in each second of the return: {shown}",
        f"  peak {storm.peak}/s = {storm.peak / gateways:.2f} of the fleet; all back after {storm.all_up:.1f} s; "
        f"{storm.waited} items that waited delivered after {storm.drained:.1f} s",
        f"  CPU in each second, % of one core: broker {_line(storm.broker)}; gateways' processes {_line(storm.crowd)}",
    ]


def _line(values: Sequence[float]) -> str:
    return " ".join(f"{value:.0f}" for value in values[:60])


def options(**given: Any) -> Fleet:
    """Settings from what was given; what is None is as usual."""
    return structs.replace(Fleet(), **{name: value for name, value in given.items() if value is not None})
