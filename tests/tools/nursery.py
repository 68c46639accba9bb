"""A process that bears writers to be killed. Run as a program; imports once, forks for each line on its input.

    arguments: state directory, url of the platform (sparkplug+mqtt://... for Sparkplug, hj212+tcp://... for HJ 212),
        sabotage or nothing
    input: one line per child: "write", "hoard" or "drain"
    output: "ready TIME", a full minute in s UTC; one line per child: "born PID", then of a writer "alarm ID" for each
        alarm that the store accepted; "gone" at its end

A writer puts alarms and telemetry as fast as a busy site until it is killed; a hoarder does so with its link up
only now and then. A drainer only delivers what is left, and ends by itself. `Nursery` holds the other end.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.errors import WorldFault
from agent.core.frame import Instant, frame, layout
from agent.core.ports import Brief, Event, Identity, Uplink
from agent.outbox import Outbox, Store
from agent.uplink.hj212 import Factor, Hj212
from agent.uplink.jt808 import Jt808
from agent.uplink.jt808_alarms import Row, number_of
from agent.uplink.minefiles import Gauge, Minefiles
from agent.uplink.mqtt import Mqtt
from agent.uplink.sparkplug import Sparkplug
from tests.rigs.sabotage import sabotaged

SOURCES = {f"source-{i}": layout([f"c{k}" for k in range(40)]) for i in range(5)}
POINT = layout(["c"], ["%"])  # that the alarms are about
GNSS = layout(["latitude", "longitude", "speed", "fix"])  # for a language in which everything has a place


def say(*words: object) -> None:
    """One line in one system call, so that a kill cannot leave half of it."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def tell(event: Event) -> None:
    if event.kind.startswith("store"):
        say("told", event.kind, event.text)


def speaker(url: str, home: str) -> Uplink:
    """The uplink for a url: MQTT, of a sparkplug+mqtt:// Sparkplug, of a tcp:// the terminal of a vehicle, of a file://
    a mine, of a hj212+tcp:// an outlet of waste water."""
    if url.startswith("hj212+"):
        os.environ["PW"] = "123456"
        factors = (Factor(channel="s/c", code="S01", digits=0), Factor(channel="source-0/c0", code="C01"))
        return Hj212(
            name="platform", url=url.removeprefix("hj212+"), mn="1", password="env:PW", factor=factors, home=home,
            real=0, minutes=1, hours=False, days=False, started=False, timeout=1.0,
        )  # fmt: skip
    if url.startswith("file:"):
        points = (Gauge(channel="s/c", code="S", type="0001"), Gauge(channel="source-0/c0", code="C", type="0001"))
        often = {"file": {"CDSS": {"every": 1}, "TJSJ": {"every": 2}, "YCBJ": {"every": 2}}}
        return Minefiles(name="platform", url=url, mine="1", mine_name="m", point=points, change=often, home=home)
    if url.startswith("sparkplug+"):
        return Sparkplug(name="platform", url=url.removeprefix("sparkplug+"))
    if not url.startswith("tcp:"):
        return Mqtt(name="platform", url=url)
    rows = (Row(rule="r", item="adas", type="forward", level=2),)
    often = {"period": 1, "timeout": 2}
    return Jt808(
        name="platform", url=url, phone="13800138000", terminal="VED0001", alarm=rows, parameters=often, home=home
    )


async def uplink(outbox: Outbox, url: str) -> None:
    who = Identity("site", "node", outbox.boot, "0", "0", outbox.settings.path, {"s": POINT})
    brief = Brief(outbox.feed("platform"), who, list, SystemClock(), tell)
    while True:
        try:
            await speaker(url, outbox.settings.path).send(brief)
        except WorldFault:
            await asyncio.sleep(0.02)


async def flapping(outbox: Outbox, url: str) -> None:
    """An uplink that comes and goes."""
    while True:
        await asyncio.sleep(random.random() * 0.1)
        try:
            async with asyncio.timeout(random.random() * 0.15):
                await uplink(outbox, url)
        except TimeoutError:
            pass


async def accepted(outbox: Outbox, alarm: Alarm) -> None:
    if await outbox.put_alarms([alarm]):
        say("alarm", alarm.id)


def minute(boot: str, began: int) -> int:
    """The minute, s UTC, in which a life puts its telemetry where a language tells minutes: each in one of its own, all
    over already."""
    return began - 60 * (2 + int(boot.partition("-")[0]))


async def main(verb: str, folder: str, url: str, began: int) -> None:
    clock = SystemClock()
    outbox = await Outbox.open(Store(path=folder, batch=0.1, ballast_mb=0), ["platform"], clock, tell)
    sending = asyncio.create_task(flapping(outbox, url) if verb == "hoard" else uplink(outbox, url))
    if verb == "drain":
        while any(outbox.depth().values()):
            await asyncio.sleep(0.02)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await outbox.close()
        return
    at, n = clock.now(), 0
    ago = at.wall - minute(outbox.boot, began) if url.startswith("hj212+") else 0.0
    waiting = set()
    random.seed(os.getpid())
    while True:
        n += 1
        id = f"{outbox.boot}-{n}"
        value = float(number_of(id))  # by it the alarm is known where a language has no ids
        alarm = Alarm(id, 1, "raised", "active-unacked", "r", "s/c", "red", value, 1.0, "%", at, at, id)
        task = asyncio.create_task(accepted(outbox, alarm))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
        for source, channels in SOURCES.items():
            now = clock.now()
            outbox.put_frame(frame(source, Instant(now.mono - ago, now.wall - ago), channels, np.full(40, float(n))))
        if url.startswith("tcp:"):
            now = clock.now()  # no two children of one second are in the same place
            outbox.put_frame(frame("gnss", now, GNSS, [30.0 + now.mono % 1000.0 * 1e-3, 120.0, 50.0, 3.0]))
        await asyncio.sleep(0.005)


# -- the other end --------------------------------------------------------------------------------------


class Nursery:
    """This module as a process, and what its children said."""

    def __init__(self, folder: Path, url: str, sabotage: str = "") -> None:
        command = [sys.executable, "-m", "tests.tools.nursery", str(folder), url, sabotage]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.accepted: list[str] = []  # ids of alarms that the store said it has
        self.kills = 0
        self.told: list[str] = []  # what the store complained of
        self.began = int(self._until("ready"))

    def bear(self, verb: str) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{verb}\n")
        self.process.stdin.flush()
        return int(self._until("born"))

    def buried(self) -> None:
        self._until("gone")

    def kill(self, times: int, moments: random.Random) -> None:
        """Bear a child and kill it at any moment, again and again."""
        for _ in range(times):
            pid = self.bear(moments.choice(["write", "hoard"]))
            time.sleep(moments.choice([0.02, 0.3]) * moments.random() + moments.choice([0.0, 0.12]))
            os.kill(pid, signal.SIGKILL)
            self.buried()
            self.kills += 1

    def drain(self) -> None:
        """Let what is left be delivered."""
        self.bear("drain")
        self.buried()

    def _until(self, word: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            first, _, rest = line.strip().partition(" ")
            if first == "alarm":
                self.accepted.append(rest)
            elif first == "told":
                self.told.append(rest)
            elif first == word:
                return rest
        raise AssertionError(f"the nursery ended before it said {word}")

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)


def nurse(folder: str, url: str, sabotage: str) -> None:
    began = int(time.time()) // 60 * 60
    say("ready", began)
    with sabotaged(sabotage):
        for line in sys.stdin:
            pid = os.fork()
            if pid == 0:
                asyncio.run(main(line.strip(), folder, url, began))
                os._exit(0)
            say("born", pid)
            os.waitpid(pid, 0)
            say("gone")


if __name__ == "__main__":
    nurse(*sys.argv[1:])
