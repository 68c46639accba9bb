"""T18: whatever becomes of the agent, its line or its sensor, the power of a zone is cut in time, and stays cut.

One zone is one line with two units: a methane sensor, and a `Breaker` with a trip coil, a heartbeat coil and the relay
that holds the power. The relay has a timer of its own, for a program that is dead trips nothing; what it did, and when,
is the ledger. With each fault the gas rises in the same moment, and falls when all runs again. The relay closes at the
first change of its heartbeat: nothing but the discipline of the agent keeps it open in the gas. One relay latches what
its timer tripped, and a person resets it much too early.

Two controls. The sabotage lets the line beat by itself, whether or not anybody judges: with it a judge that hangs must
leave the power on for too long. And in each run one zone has a relay whose timer is off: its SIGKILL must be reported
as unsafe, else the rig would call anything safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from simulators.faults import Break, Dead, Fault
from simulators.modbus import Device, Register, TcpLine
from tests.rigs.injector import strike
from tests.rigs.namespace import FAR, Link
from tests.rigs.stage import until
from tests.rigs.trial import Case, Skip, Trial

PERIOD = 0.5  # s between polls
TIMER = 3.0  # s without a change of its heartbeat after which the relay trips
CALM, HIGH = 0.4, 2.0  # % of methane; the cut limit is 1.5, below 1.0 power comes back
LONG, STALE = 30.0, 3 * PERIOD  # s for which the agent believes a reading: longer than any fault here; as usual
HOLD = 2.5  # s for which a trip is looked at: ticks, beats and polls come and go
PATIENCE = 60.0  # s for what must happen sooner or later; sixteen agents start at once
NEVER = 999.0  # s

SITE = """
[site]
name = "mine"
[store]
path = "state"
ballast_mb = 0
[[bus]]
name = "net"
url = "{url}"
timeout = 0.3
output = [
  {{ name = "cut", device = "cabinet", at = "coil:0", armed = true }},
  {{ name = "alive", device = "cabinet", at = "coil:1", armed = true, heartbeat = 1.0 }},
]
[[bus.device]]
name = "heading"
unit = 1
period = {period}
channel = [
  {{ key = "t1", at = "input:0", type = "float32", unit = "%", low = 0.0, high = 10.0, stale = {stale} }},
]
[[bus.device]]
name = "cabinet"
unit = 2
period = {period}
channel = [{{ key = "feed", at = "discrete:0", stale = {stale} }}]
[[interlock]]
name = "zone"
kind = "methane"
ch4 = {{ "coal/ch4/T1" = "heading/t1" }}
feed = "cabinet/feed"
trip = ["cut"]
heartbeat = "alive"
"""


class Breaker(Device):
    """A module in a switch cabinet, and the relay that holds the power of its zone.

    There is power while the trip coil is off and the heartbeat coil changed within the last `timer` s: none at first.
    A relay that latches, tripped by its timer, stays so until `reset`.
    """

    LAYOUT = (
        Register("feed", "discrete", 0, "bool"),
        Register("cut", "coil", 0, "bool"),
        Register("alive", "coil", 1, "bool"),
    )

    def __init__(
        self, timer: float = TIMER, latching: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__("cabinet", 2, self.LAYOUT, clock, self._switched)
        self.timer, self.latching = timer, latching
        self.power: Ledger = [(-math.inf, False)]
        self.stuck = False  # the trip coil forgets what is written
        self._latched = False
        self._beaten = -math.inf  # when the heartbeat changed last, monotonic s
        self._alive = 0.0  # as it stood then

    @property
    def is_on(self) -> bool:
        """Whether there is power now."""
        self._look()
        return self.power[-1][1]

    def reset(self) -> None:
        """A person at the relay."""
        self._look()
        self._latched = False
        self._settle()

    def shown(self) -> dict[str, float]:
        return {**super().shown(), "feed": float(self.is_on)}

    def _switched(self, key: str, value: float) -> None:
        self._look()
        if key == "cut" and self.stuck:
            self.values["cut"] = 0.0
        if key == "alive" and value != self._alive:
            self._alive, self._beaten = value, self.clock()
        self._settle()

    def _look(self) -> None:
        """The timer runs out at its own moment, however late somebody looks."""
        if self.power[-1][1] and self.clock() > (end := self._beaten + self.timer):
            self._latched = self.latching
            self.power.append((end, False))

    def _settle(self) -> None:
        now = self.clock()
        on = not self.values["cut"] and not self._latched and now <= self._beaten + self.timer
        if on != self.power[-1][1]:
            self.power.append((now, on))


# -- what the ledger says: pure ---------------------------------------------------------------------

Ledger: TypeAlias = list[tuple[float, bool]]  # monotonic s, what is so from then on; it begins before all time


def at(ledger: Ledger, when: float) -> bool:
    """What was so then."""
    return [state for since, state in ledger if since <= when][-1]


def off_after(power: Ledger, since: float) -> float:
    """s from `since` until there was no power, `NEVER` where it stayed."""
    ends = (when - since for when, on in power if when > since and not on)
    return next(ends, NEVER) if at(power, since) else 0.0


def begun(ledger: Ledger, danger: Ledger) -> list[float]:
    """When something began while the hazard stood, in s since that."""
    found = [when for (_, before), (when, state) in pairwise(ledger) if state and not before and at(danger, when)]
    return [when - max(since for since, _ in danger if since <= when) for when in found]


# -- a zone and its agent ---------------------------------------------------------------------------


class FarLine(TcpLine):
    """A line behind a link of our own, which can be cut so that nobody is told."""

    def __init__(self, link: Link, devices: Sequence[Device]) -> None:
        super().__init__(devices, FAR)
        self.link = link

    async def start(self) -> None:
        sock = self.link.far(lambda: socket.create_server((self.host, self.port)))
        self.port = sock.getsockname()[1]
        self._server = await asyncio.start_server(self._accept, sock=sock)


class Zone:
    """One zone: its sensor and its breaker, its agents one after the other, and the truth about its gas."""

    def __init__(self, sabotage: str, folder: Path, stale: float, breaker: Breaker, link: Link | None = None) -> None:
        self.sabotage, self.folder, self.stale, self.breaker = sabotage, folder, stale, breaker
        self.sensor = Device("heading", 1, [Register("t1", "input", 0, "float32")])
        self.sensor.values["t1"] = CALM
        self.line = FarLine(link, [self.sensor, breaker]) if link else TcpLine([self.sensor, breaker])
        self.danger: Ledger = [(-math.inf, False)]  # whether power must not be there
        self.fault = math.nan  # when it befell, monotonic s
        self.back = 0.0  # s from the end of the gas to power
        self._born = 0  # writes before the agent that lives now

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        self.folder.mkdir()
        await self.line.start()
        (self.folder / "site.toml").write_text(SITE.format(url=self.line.url, period=PERIOD, stale=self.stale))
        try:
            yield
        finally:
            await self.line.stop()

    @contextlib.asynccontextmanager
    async def agent(self, program: str = "sabotage") -> AsyncIterator[asyncio.subprocess.Process]:
        """One life of the agent; however it is left, it is over then."""
        self._born = len(self.breaker.writes)
        site = str(self.folder / "site.toml")
        command = [sys.executable, "-m", f"tests.rigs.{program}", self.sabotage, "run", "-c", site]
        env = os.environ | {"VEDETTE_INJECT": str(self.folder / "inject")}
        with (self.folder / "agent.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(*command, env=env, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def strike(self, verb: str, name: str = "") -> None:
        """Hurt an agent that was started by the injector."""
        answer = await asyncio.to_thread(strike, self.folder / "inject", verb, name)
        assert "at" in answer, answer

    def befall(self) -> None:
        """The fault is there, and with it the gas."""
        self.sensor.values["t1"] = HIGH
        self.fault = self.breaker.clock()
        self.danger.append((self.fault, True))

    async def powered(self) -> None:
        await until(lambda: self.breaker.is_on, PATIENCE, "power")

    async def dark(self) -> None:
        """Until there is no power, or should have been none for long."""
        with contextlib.suppress(AssertionError):  # that it stays is a figure, too
            await until(lambda: not self.breaker.is_on, TIMER + 2.0)

    def wrote(self, key: str) -> bool:
        """Whether the agent that lives now switched this on."""
        return any(name == key and value for _, name, value in self.breaker.writes[self._born :])

    async def tripped(self) -> None:
        """The agent that lives now has tripped; then it is looked at for a while."""
        await until(lambda: self.wrote("cut"), PATIENCE, "trip")
        await asyncio.sleep(HOLD)

    async def over(self) -> None:
        """The gas is gone, and the power comes back."""
        self.sensor.values["t1"] = CALM
        self.danger.append((began := self.breaker.clock(), False))
        with contextlib.suppress(AssertionError):
            await self.powered()
        self.back = self.breaker.clock() - began if self.breaker.is_on else NEVER


# -- stories ----------------------------------------------------------------------------------------

Story: TypeAlias = Callable[[Zone], Awaitable[None]]


async def killed(zone: Zone) -> None:
    """SIGKILL, and a new start into the gas; in between a person resets the relay, where it latches."""
    async with zone.agent() as agent:
        await zone.powered()
        agent.kill()
        zone.befall()
        await zone.dark()
    zone.breaker.reset()
    async with zone.agent():
        await zone.tripped()
        await zone.over()


async def stopped(zone: Zone) -> None:
    """SIGSTOP, and on it goes in the gas."""
    async with zone.agent() as agent:
        await zone.powered()
        agent.send_signal(signal.SIGSTOP)
        zone.befall()
        await zone.dark()
        agent.send_signal(signal.SIGCONT)
        await zone.tripped()
        if zone.stale == LONG:  # else power waits until the chain was well for a minute
            await zone.over()


async def blocked(zone: Zone) -> None:
    """The event loop stands still; the watchdog of systemd would end that, here we do."""
    async with zone.agent("injector") as agent:
        await zone.powered()
        await zone.strike("block")
        zone.befall()
        await zone.dark()
        agent.kill()
    async with zone.agent():
        await zone.tripped()
        await zone.over()


def hung(task: str) -> Story:
    """A task without which nothing is judged hangs; the agent ends itself for that."""

    async def story(zone: Zone) -> None:
        async with zone.agent("injector") as agent:
            await zone.powered()
            await zone.strike("hang", task)
            zone.befall()
            async with asyncio.timeout(PATIENCE):
                await agent.wait()
        async with zone.agent():
            await zone.tripped()
            await zone.over()

    return story


async def mute(zone: Zone) -> None:
    """The task of the line hangs, and is started again."""
    async with zone.agent("injector"):
        await zone.powered()
        await zone.strike("hang", "bus net")
        zone.befall()
        await zone.tripped()
        await zone.over()


async def lost(zone: Zone) -> None:
    """The line is lost, and comes back in the gas."""
    async with zone.agent():
        await zone.powered()
        await zone.line.stop()
        zone.befall()
        await zone.dark()
        await zone.line.start()
        await zone.tripped()
        if zone.stale == LONG:
            await zone.over()


def swallowed(link: Link) -> Story:
    """The line falls into a black hole, and what the kernel still holds arrives when it is back, in the gas."""

    async def story(zone: Zone) -> None:
        async with zone.agent():
            await zone.powered()
            link.drop()
            zone.befall()
            await zone.dark()
            link.heal()
            await zone.tripped()
            await zone.over()

    return story


def blinded(fault: Fault) -> Story:
    """The sensor fails while the gas rises; mended, it shows it."""

    async def story(zone: Zone) -> None:
        async with zone.agent():
            await zone.powered()
            zone.sensor.faults.append(fault)
            zone.befall()
            await zone.tripped()
            zone.sensor.faults.clear()
            await asyncio.sleep(HOLD)

    return story


async def disobeyed(zone: Zone) -> None:
    """The trip coil forgets what is written: then nothing beats either."""
    async with zone.agent():
        await zone.powered()
        zone.breaker.stuck = True
        zone.befall()
        await zone.dark()
        await asyncio.sleep(HOLD)
        zone.breaker.stuck = False
        await until(lambda: zone.breaker.values["cut"], PATIENCE, "obedience")
        await zone.over()


async def restarted(zone: Zone) -> None:
    """Stopped, killed and started again while the trip stands."""
    async with zone.agent() as agent:
        await zone.powered()
        zone.befall()
        await zone.tripped()
        agent.send_signal(signal.SIGTERM)
        await agent.wait()
    async with zone.agent():
        await zone.tripped()
    async with zone.agent():
        await zone.tripped()
        await zone.over()


async def born(zone: Zone) -> None:
    """The first start of all, into the gas."""
    zone.befall()
    async with zone.agent():
        await zone.tripped()
        await zone.over()


async def born_blind(zone: Zone) -> None:
    """The first start, and nobody knows of any gas: the sensor is dead."""
    zone.sensor.faults.append(Dead())
    zone.befall()
    async with zone.agent():
        await zone.tripped()


async def calm(zone: Zone) -> None:
    """Two starts without gas."""
    for _ in range(2):
        async with zone.agent():
            await until(lambda: zone.wrote("alive"), PATIENCE, "a beat")
            await zone.powered()
            await asyncio.sleep(HOLD)


async def unguarded(zone: Zone) -> None:
    """SIGKILL, and nobody starts anything again."""
    async with zone.agent() as agent:
        await zone.powered()
        agent.kill()
        zone.befall()
        await zone.dark()


FAULTS: Mapping[str, tuple[Story, float]] = {  # what befalls it, and for how long the agent believes a reading, s
    "SIGKILL": (killed, LONG),
    "SIGKILL, relay latches": (killed, LONG),
    "SIGSTOP": (stopped, LONG),
    "SIGSTOP, readings go stale": (stopped, STALE),
    "loop stands still": (blocked, LONG),
    "judge hangs": (hung("judge"), LONG),
    "line lost": (lost, LONG),
    "line lost, readings go stale": (lost, STALE),
    "sensor breaks": (blinded(Break("t1")), LONG),
    "sensor dies": (blinded(Dead()), STALE),
    "coil does not obey": (disobeyed, LONG),
    "gas, then restarts": (restarted, STALE),
}
RARE: Mapping[str, tuple[Story, float]] = {"tick hangs": (hung("tick"), LONG), "bus task hangs": (mute, LONG)}


def run(case: Case) -> None:
    with contextlib.ExitStack() as stack:
        link = None
        try:
            link = stack.enter_context(Link())
        except Skip as why:
            case.note(f"no black hole: {why}")
        asyncio.run(main(case, link))


def cuts(zone: Zone) -> Ledger:
    """Whether the trip coil was let go."""
    return [(-math.inf, True), *((at, not value) for at, key, value in zone.breaker.writes if key == "cut")]


async def main(case: Case, link: Link | None) -> None:
    rng = case.rng(18)
    faults = {**FAULTS, **(RARE if case.n(0, 1) else {})}
    far = {"line in a black hole": (swallowed(link), LONG)} if link else {}
    if case.sabotage:  # only what it has to turn red
        faults, far = {"judge hangs": FAULTS["judge hangs"]}, {}
    safe = dict.fromkeys([*faults, *far], 0.0)  # the worst s from a fault to no power
    zones: list[Zone] = []
    trips = called = 0
    gone: list[float] = []  # s without power by a start without gas

    async def tell(name: str, story: Story, stale: float = STALE, link: Link | None = None, **relay: Any) -> Zone:
        zone = Zone(case.sabotage, case.folder / name, stale, Breaker(**relay), link)
        await asyncio.sleep(rng.uniform(0.0, 1.0))  # polls, ticks and beats are met at any moment
        async with zone.open():
            await story(zone)
        return zone

    turns = case.n(1, 8)
    for turn in range(turns):
        *found, first, blind, quiet, control = await asyncio.gather(
            *(tell(f"{turn} {what}", *one, latching="latches" in what) for what, one in faults.items()),
            *(tell(f"{turn} {what}", *one, link) for what, one in far.items()),
            tell(f"{turn} born", born),
            tell(f"{turn} born blind", born_blind, 10 * PERIOD),
            tell(f"{turn} calm", calm),
            tell(f"{turn} control", unguarded, timer=math.inf),
        )
        for what, zone in zip(safe, found, strict=True):
            safe[what] = max(safe[what], off_after(zone.breaker.power, zone.fault))
        zones += [*found, first, blind, quiet]
        trips += quiet.wrote("cut")
        gone += [b - a for (a, on), (b, _) in pairwise(quiet.breaker.power) if not on and a > -math.inf]
        called += off_after(control.breaker.power, control.fault) > TIMER + PERIOD
    came = {zone.folder.name: begun(zone.breaker.power, zone.danger) for zone in zones}
    for what, seconds in safe.items():
        case.at_most(f"no power, {what}", seconds, TIMER + PERIOD, "s")
    case.exactly("power that came in the gas", sum(map(len, came.values())), 0)
    case.exactly("trips let go in the gas", sum(len(begun(cuts(zone), zone.danger)) for zone in zones), 0)
    case.exactly("trips without gas", trips, 0)
    case.exactly("controls reported, relay timer off", called, turns)
    case.at_most("power back after the gas", max(zone.back for zone in zones), TIMER, "s")
    case.figure("s without power by a new start without gas", max(gone, default=0.0))
    case.figure("zones", len(zones))
    for name, when in came.items():
        if when:
            case.note(f"{name}: power came {', '.join(f'{seconds:.2f}' for seconds in when)} s after the gas")


TRIAL = Trial(
    id="T18",
    title="interlock",
    run=run,
    sabotage="beats-by-itself",
    red=("no power, judge hangs",),
    long=True,
)
