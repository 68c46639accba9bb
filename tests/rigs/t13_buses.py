"""T13: a sick bus makes no other bus wait, and is back soon after it was mended, however long that took.

Real: the whole agent with eight buses, four on pseudo-terminals and four on TCP, one of these behind a link that can
be cut; some of them become mute, are unplugged or fall into a black hole for 10 s. Virtual: eight drivers, kept alive
as the agent does, for half an hour. The ledger is the devices: each notes when it was polled.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from agent.supervise import Pauses, keep
from drivers import link as links
from drivers.modbus import Modbus
from tests.rigs.lines import WHOLE, Lines, Sickness, Watched
from tests.rigs.namespace import FAR, Link
from tests.rigs.stage import running, until
from tests.rigs.trial import Case, Trial
from tests.tools.slaves import Mailbox, PtySlave, TcpSlave
from tests.tools.virtual import LoopClock

PERIOD = 0.5  # s between polls
TIMEOUT = 0.3  # s
BACK = 3.0  # s from mending to the first poll, the goal

# Eight buses, 1 to 4 serial, 5 to 8 TCP, 8 behind the link; the order in which they become sick.
SICK: tuple[tuple[int, Sickness], ...] = (
    (1, "mute"),
    (2, "unplugged"),
    (8, "hole"),
    (5, "mute"),
    (6, "unplugged"),
    (3, "mute"),
    (7, "mute"),
)


def lateness(polls: Sequence[float], since: float, until_: float, period: float) -> list[float]:
    """Gaps between polls in this time, in periods."""
    inside = [at for at in polls if since <= at <= until_]
    return [(b - a) / period for a, b in pairwise(inside)]


def p99(values: Sequence[float]) -> float:
    return float(np.percentile(values, 99)) if values else float("nan")


# -- the whole agent ------------------------------------------------------------------------------

BUS = """
[[bus]]
name = "bus{n}"
url = "{url}"
baud = 115200
timeout = {timeout}
[[bus.device]]
name = "dev{n}"
period = {period}
channel = [{channels}]
"""


class RealLine:
    """One of the eight: a slave that notes its polls and can become sick."""

    def __init__(self, number: int, folder: Path, link: Link) -> None:
        self.number, self.link = number, link
        self.device = Watched(time.monotonic)
        self.mute = False
        listen = self._far if number == 8 else None
        self.slave: PtySlave | TcpSlave = (
            PtySlave(folder / f"bus{number}", self._script) if number <= 4 else TcpSlave(self._script, listen)
        )

    def _far(self, port: int) -> socket.socket:
        return self.link.far(lambda: socket.create_server((FAR, port)))

    def _script(self, unit: int, pdu: bytes) -> list[tuple[float, bytes]]:
        return [] if self.mute else [(0.0, self.device.answer(pdu))]

    async def start(self) -> None:
        if isinstance(self.slave, PtySlave):
            self.slave.plug()
        else:
            await self.slave.start()

    async def stop(self) -> None:
        if isinstance(self.slave, PtySlave):
            self.slave.unplug()
        else:
            await self.slave.stop()

    async def become(self, state: Sickness) -> None:
        match state:
            case "mute":
                self.mute = True
            case "unplugged":
                await self.stop()
            case "hole":
                self.link.drop()

    async def mend(self, state: Sickness) -> None:
        match state:
            case "mute":
                self.mute = False
            case "unplugged":
                await self.start()
            case "hole":
                self.link.heal()

    @property
    def bus(self) -> str:
        host = FAR if self.number == 8 else "127.0.0.1"
        url = f"rtu://{self.slave.path}" if isinstance(self.slave, PtySlave) else f"tcp://{host}:{self.slave.port}"
        channels = ", ".join(f'{{ key = "c{i}", at = "holding:{i}" }}' for i in range(WHOLE))
        return BUS.format(n=self.number, url=url, timeout=TIMEOUT, period=PERIOD, channels=channels)


async def outage(lines: dict[int, RealLine], sick: int, seconds: float) -> tuple[list[float], dict[int, float]]:
    """The gaps of the healthy buses while so many are sick, and when each sick one was back."""
    ill = dict(SICK[:sick])
    begun = time.monotonic()
    for number, state in ill.items():
        await lines[number].become(state)
    await asyncio.sleep(seconds)
    mended = {}
    for number, state in ill.items():
        await lines[number].mend(state)
        mended[number] = time.monotonic()
    with contextlib.suppress(AssertionError):  # too late is a figure, too
        await until(lambda: all(lines[n].device.polls[-1] > at for n, at in mended.items()), 3 * BACK)
    over = time.monotonic()
    gaps = [gap for n in lines if n not in ill for gap in lateness(lines[n].device.polls, begun, over, PERIOD)]
    back = {n: next((p - at for p in lines[n].device.polls if p > at), float("inf")) for n, at in mended.items()}
    return gaps, back


async def real(case: Case, link: Link) -> tuple[list[float], list[float], dict[str, float]]:
    """Gaps while all are well, gaps of the healthy ones while some are not, s until these were back."""
    lines = {n: RealLine(n, case.folder, link) for n in range(1, 9)}
    well: list[float] = []
    gaps: list[float] = []
    worst: dict[str, float] = {}  # kind of line and sickness -> s
    try:
        for line in lines.values():
            await line.start()
        path = case.folder / "site.toml"
        text = '[site]\nname = "eight"\n[store]\npath = "state"\nballast_mb = 0\n'
        path.write_text(text + "".join(line.bus for line in lines.values()))
        async with running(path, case.sabotage):
            await until(lambda: all(len(line.device.polls) > 4 for line in lines.values()), 20, "every bus polled")
            begun = time.monotonic()
            await asyncio.sleep(2.0 if case.sabotage else case.n(3, 10))
            for line in lines.values():
                well += lateness(line.device.polls, begun, time.monotonic(), PERIOD)
            for sick in range(1, 8) if case.n(0, 1) else (5,):
                found, back = await outage(lines, sick, 3.0 if case.sabotage else case.n(6, 10))
                gaps += found
                for number, seconds in back.items():
                    what = f"{'RTU' if number <= 4 else 'TCP'} {dict(SICK)[number]}"
                    worst[what] = max(worst.get(what, 0.0), seconds)
                await asyncio.sleep(2 * PERIOD)  # what was late is over
    finally:
        for line in lines.values():
            await line.stop()
    return well, gaps, worst


# -- half an hour in virtual time -----------------------------------------------------------------


def virtual(outage: float, sick: int) -> tuple[list[float], float]:
    """Gaps of the healthy lines in periods, and the longest time to the first poll after mending."""
    lines, period, fell = Lines(8), 2.0, 20.0
    ill = dict(SICK[:sick])

    async def story() -> None:
        tasks = []
        clock = LoopClock()
        channels = [{"key": f"c{i}", "at": f"holding:{i}"} for i in range(WHOLE)]
        for n in lines.plugs:
            raw = {"name": f"bus{n}", "url": f"rtu:///{n}" if n <= 4 else f"tcp://lines:{n}"}
            device = [{"name": f"dev{n}", "period": period, "channel": channels}]
            made = msgspec.convert({**raw, "device": device}, Modbus)

            async def pump(driver: Modbus) -> None:
                async for _ in driver.frames(clock, Mailbox()):
                    pass

            # as in agent/daemon.py
            leaf = keep(made.name, partial(pump, made), clock, lambda *_: None, Pauses(2.0), random.Random(n))
            tasks.append(asyncio.create_task(leaf))
        await asyncio.sleep(fell)
        for n, state in ill.items():
            lines.plugs[n].become(state)
        await asyncio.sleep(outage)
        for n in ill:
            lines.plugs[n].become("")
        await asyncio.sleep(40.0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    old = links.open_port
    links.open_port = lines.open_port  # type: ignore[assignment]
    try:
        lines.run(story())
    finally:
        links.open_port = old
    mended = fell + outage
    polls = {n: plug.device.polls for n, plug in lines.plugs.items()}
    gaps = [gap for n in polls if n not in ill for gap in lateness(polls[n], fell - 5.0, mended + 40.0, period)]
    back = max(next((at - mended for at in polls[n] if at > mended), float("inf")) for n in ill)
    return gaps, back


def run_trial(case: Case) -> None:
    for sick in range(1, 8) if case.n(0, 1) else (6,):
        gaps, back = virtual(1800.0, sick)
        case.at_most(f"healthy period p99, 30 min, {sick} sick", p99(gaps), 1.1, "periods")
        case.at_most(f"back after 30 min, {sick} sick", back, BACK, "s")
    phases = [virtual(60.0 + 0.17 * phase, 7)[1] for phase in range(case.n(6, 24))]
    case.at_most("back after 60 s, mended at any moment", max(phases), BACK, "s")
    with Link() as link:
        well, gaps, worst = asyncio.run(real(case, link))
    case.figure("period p99 when all are well, real", p99(well))
    case.figure("gaps counted, real", len(gaps))
    case.at_most("healthy period p99, real", p99(gaps) / max(1.0, p99(well)), 1.1, "of that")
    for what, seconds in sorted(worst.items()):
        case.at_most(f"back, {what}", seconds, BACK, "s")


TRIAL = Trial(
    "T13",
    "sick buses",
    run_trial,
    "shared-lock",
    ("healthy period p99, 30 min, 6 sick", "healthy period p99, real"),
)
