"""A process that bears writers to be killed. Run as a program; imports once, forks for each line on its input.

    argument: state directory, broker's url       input: one line per child: "write", "hoard" or "drain"
    output: "born PID", then of a writer "alarm ID" for each alarm that the store accepted; "gone" at its end

A writer puts alarms and telemetry as fast as a busy site until it is killed; a hoarder does so with its link up
only now and then. A drainer only delivers what is left, and ends by itself.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys

import numpy as np

from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.errors import WorldFault
from agent.core.frame import frame, layout
from agent.core.ports import Event, Identity
from agent.outbox import Outbox, Store
from agent.uplink.mqtt import Mqtt

SOURCES = {f"source-{i}": layout([f"c{k}" for k in range(40)]) for i in range(5)}


def say(*words: object) -> None:
    """One line in one system call, so that a kill cannot leave half of it."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def tell(event: Event) -> None:
    if event.kind.startswith("store"):
        say("told", event.kind, event.text)


async def uplink(outbox: Outbox, url: str) -> None:
    who = Identity("site", "node", outbox.boot, "0", "0")
    while True:
        try:
            await Mqtt(name="platform", url=url).send(outbox.feed("platform"), who, list, SystemClock(), tell)
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


async def main(verb: str, folder: str, url: str) -> None:
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
    waiting = set()
    random.seed(os.getpid())
    while True:
        n += 1
        alarm = Alarm(f"{outbox.boot}-{n}", 1, "raised", "active-unacked", "r", "s/c", "red", 1.0, 1.0, "%", at, at, "")
        task = asyncio.create_task(accepted(outbox, alarm))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
        for source, channels in SOURCES.items():
            outbox.put_frame(frame(source, clock.now(), channels, np.full(40, float(n))))
        await asyncio.sleep(0.005)


if __name__ == "__main__":
    say("ready")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(main(line.strip(), *sys.argv[1:]))
            os._exit(0)
        say("born", pid)
        os.waitpid(pid, 0)
        say("gone")
