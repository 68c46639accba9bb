"""T6: a day without a link at 1000 channels a second, then the drain, while alarms go on.

The product's outbox and uplink in a process of their own (`python -m tests.rigs.t06_outage FOLDER BATCHES SABOTAGE`):
the day is put at the speed of the disk, with the stamps of a day; the rig counts at the broker what comes out of it,
and reads from the kernel what memory it took. It says on its output "filled", and of each alarm when it was put.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from agent.clock import SystemClock
from agent.core.errors import WorldFault
from agent.core.frame import Instant
from agent.core.ports import Brief, Identity
from agent.outbox import Outbox, Store
from agent.uplink.mqtt import Mqtt
from tests.rigs import cargo
from tests.rigs.proxy import Proxy, bandwidth
from tests.rigs.pulse import quantile
from tests.rigs.sabotage import sabotaged
from tests.rigs.stage import until
from tests.rigs.trial import Case, Trial
from tests.tools.mosquitto import PATIENT, Mosquitto
from tests.tools.subscriber import Subscriber

DAY = 86400  # batches: one a second
PACE = "half a millisecond of the processor for each batch, read, told in JSON and confirmed: 46 to 67 s for a day"
CHANNELS = 1000
NARROW = 1e6  # bytes/s: 8 Mbit/s
LIVE = "live"  # source of what is measured while the backlog drains
OLD = "old"  # source of the backlog


# -- the process that was without a link --------------------------------------------------------------


def say(*words: object) -> None:
    print(*words, flush=True)


async def fill(outbox: Outbox, batches: int) -> None:
    """A day, as fast as the disk takes it."""
    shape, at = cargo.channels(CHANNELS), SystemClock().now()
    for n in range(1, batches + 1):
        ago = batches - n + 20
        outbox.put_frame(cargo.reading(n, Instant(at.mono - ago, at.wall - ago, True), shape, OLD))
        if n % 100 == 0:
            while outbox.depth()["telemetry"] > 200:
                await asyncio.sleep(0.005)
    while outbox.depth()["telemetry"]:
        await asyncio.sleep(0.01)


async def deliver(outbox: Outbox, url: str) -> None:
    who = Identity("site", "node", outbox.boot, "0", "0")
    brief = Brief(outbox.feed("platform"), who, list, SystemClock(), lambda event: None)
    while True:
        try:
            await Mqtt(name="platform", url=url).send(brief)
        except WorldFault:
            await asyncio.sleep(0.1)


async def live(outbox: Outbox) -> None:
    """Five alarms and a batch a second, for ever."""
    shape, clock, rng, n = cargo.channels(CHANNELS), SystemClock(), random.Random(1), 0
    while True:
        n += 1
        at = clock.now()
        say("alarm", f"a{n}", time.monotonic())
        outbox.put_alarms([cargo.edge(n, True, at)])
        if n % 5 == 0:
            outbox.put_frame(cargo.reading(n // 5, at, shape, LIVE))
        await asyncio.sleep(0.2 + rng.random() / 50)


async def station(folder: str, batches: int) -> None:
    """Fill; then, for each address that comes in on the input, deliver there; ends with the input."""
    settings = Store(path=folder, batch=0.05, ballast_mb=0, history_mb=2048)
    outbox = await Outbox.open(settings, ["platform"], SystemClock())
    await fill(outbox, batches)
    say("filled")
    living = sending = None
    while url := (await asyncio.to_thread(sys.stdin.readline)).strip():
        living = living or asyncio.create_task(live(outbox))
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        sending = asyncio.create_task(deliver(outbox, url))
    for task in (living, sending):
        if task is not None:
            task.cancel()
    await outbox.close()


# -- the rig ------------------------------------------------------------------------------------------


class Head(msgspec.Struct):
    """What the ear reads of a message."""

    stream: str
    seq: int
    id: str = ""
    historical: bool = False
    resent: bool = False


class Ear(Subscriber):
    """Keeps no payload: a day of them would be a gigabyte."""

    def __init__(self, port: int) -> None:
        self.old: set[int] = set()  # numbers of the backlog that came
        self.unflagged = self.disorder = self.twice = 0
        self.alarms: dict[str, float] = {}  # id -> monotonic s
        self._last: dict[str, int] = {}
        self._head = msgspec.json.Decoder(Head)
        super().__init__(port, "vedette/#")

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        payload, topic = message.payload, message.topic
        if not payload or topic.endswith("/state"):
            return
        head = self._head.decode(payload)
        if "/alarm/" in topic:
            self.alarms.setdefault(head.id, time.monotonic())
        if not head.resent:
            lane = head.stream if head.stream in ("alarm", "event") else topic  # what was live, and what was not
            self.disorder += head.seq <= self._last.get(lane, 0)
            self._last[lane] = head.seq
        if topic.endswith(f"/{OLD}"):
            at = payload.index(b'"value":[[') + 10
            number = int(float(payload[at : payload.index(b",", at)]))
            self.unflagged += "/backfill/" not in topic or not head.historical
            self.twice += number in self.old and not head.resent
            self.old.add(number)


def rss(pid: int) -> float:
    """MB that a process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


class Dweller:
    """The station's process: what it said, and the most memory that it had since `begin`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.filled = threading.Event()
        self.put: dict[str, float] = {}  # id -> monotonic s
        self.most = 0.0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            match line.split():
                case ["filled"]:
                    self.filled.set()
                case ["alarm", id, at]:
                    self.put[id] = float(at)

    def link(self, url: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(url + "\n")
        self.process.stdin.flush()

    def look(self) -> None:
        self.most = max(self.most, rss(self.process.pid))


@contextmanager
def dwelling(folder: Path, batches: int, sabotage: str) -> Iterator[Dweller]:
    command = [sys.executable, "-m", "tests.rigs.t06_outage", str(folder), str(batches), sabotage]
    with (folder.parent / "station.log").open("w") as log:
        process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=log, text=True)
    try:
        yield Dweller(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)
    finally:
        process.kill()
        process.wait(5)


def late(dweller: Dweller, ear: Ear, begun: float, ended: float) -> list[float]:
    """s that the alarms put in this time took to the platform; infinity where one did not come."""
    never = float("inf")
    return [ear.alarms.get(id, never) - at for id, at in dweller.put.items() if begun <= at < ended]


async def drain(case: Case, batches: int) -> None:
    with (
        Mosquitto(case.folder / "broker", more=PATIENT) as broker,
        Ear(broker.port) as ear,
        dwelling(case.folder / "state", batches, case.sabotage) as dweller,
    ):
        proxy = Proxy(("127.0.0.1", broker.port), up=[bandwidth(NARROW)])
        await proxy.start()
        began = time.monotonic()
        await until(dweller.filled.is_set, 600, "the day is filled")
        case.figure("filled in, s", round(time.monotonic() - began, 1))
        dweller.look()
        before = dweller.most

        async def looking(seconds: float, enough: int) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end and len(ear.old) < enough:
                dweller.look()
                await asyncio.sleep(0.02)

        narrow = time.monotonic()
        dweller.link(f"mqtt://127.0.0.1:{proxy.port}")
        await looking(case.n(3, 40), batches)
        wide, carried = time.monotonic(), len(ear.old)
        await asyncio.sleep(1.0)  # what was put last comes now, or late
        await proxy.stop()
        dweller.link(broker.url)
        begun = time.monotonic()
        await looking(case.n(60, 300), batches)
        drained = time.monotonic() - begun
        ended = time.monotonic()
        try:
            await until(lambda: ear.alarms.keys() >= {i for i, at in dweller.put.items() if at < ended}, 20)
        except AssertionError:
            pass
        slow, fast = late(dweller, ear, narrow, wide), late(dweller, ear, begun, ended)
        case.at_most("alarm p99", quantile(fast, 0.99), 0.3, "s")
        case.at_most("alarm max", max(fast, default=float("nan")), 1.0, "s")
        case.at_most("alarm p99 at 8 Mbit/s", quantile(slow, 0.99), 0.3, "s")
        case.at_most("alarm max at 8 Mbit/s", max(slow, default=float("nan")), 1.0, "s")
        case.exactly("backlog lost", len(set(range(1, batches + 1)) - ear.old), 0)
        case.exactly("backlog not flagged", ear.unflagged, 0)
        case.exactly("unmarked repetitions", ear.twice, 0)
        case.exactly("out of order", ear.disorder, 0)
        case.at_most("RSS rise", dweller.most - before, 20.0, "MB")
        case.at_most("drain of a day", drained * DAY / max(1, batches - carried), 60.0, "s", short=PACE)
        case.figure("batches", batches)
        case.figure("alarms", len(slow) + len(fast))
        if batches < DAY:
            case.note(f"the drain of a day is that of {batches - carried} batches, as if it were {DAY}")


def run(case: Case) -> None:
    asyncio.run(drain(case, case.n(DAY // 40, DAY)))


TRIAL = Trial("T6", "24 h outage, then the drain", run, "window-off", red=("RSS rise", "alarm p99", "alarm max"))

if __name__ == "__main__":
    with sabotaged(sys.argv[3]):
        asyncio.run(station(sys.argv[1], int(sys.argv[2])))
