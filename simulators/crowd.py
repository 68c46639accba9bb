"""Many light gateways in one loop: what each keeps and tells is the agent's own code, its plant is a few numbers.

A gateway is an outbox with its two files, the MQTT uplink above it and the care that starts it again
(`agent/supervise.py`), as in the daemon. It has no drivers, no judge and no health: its plant walks at random, raises
an alarm now and then and clears it. So what is measured here is what a gateway costs a broker, and what keeping and
telling cost the gateway.

As a program (`python -m simulators.crowd`) it gets an `Order` as one line of JSON on the standard input, says "ready",
and answers further lines: `count` with `Figures`, `calm` by making nothing new, `ledger` with `Ledger`. It ends with
its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import socket
import struct
import sys
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct

from agent.clock import SystemClock
from agent.comeback import Comeback
from agent.core.alarm import Alarm, Basis
from agent.core.frame import Layout, frame, layout
from agent.core.ports import Brief, Event, Identity
from agent.outbox import Outbox, Store
from agent.supervise import keep
from agent.uplink.mqtt import Mqtt

from .modbus import LEDGER

SOURCE = "plant"
SHARES = (5, 15, 80)  # % of alarms that are red, orange, yellow: what ISA 18.2 asks of a plant
STANDS = 5.0  # s that an alarm stands, at most; project
WARM = 10_000_000  # number of the gateway that goes first and is not counted
RAMP = 200.0  # gateways/s that are started; project
AT_ONCE = 32  # outboxes that are opened side by side
SHARD = 100  # gateways of one site
ESTABLISHED = 1  # tcp_info(7)
SENT, RECEIVED = 120, 128  # bytes from the start of tcp_info: bytes_acked, bytes_received (both u64)
SEGMENTS = 136  # segs_out, segs_in (both u32); Linux 4.2 and later


class Order(Struct, frozen=True, kw_only=True):
    """How many gateways, and what they do."""

    url: str  # of the broker
    folder: str  # where each keeps its state
    first: int = 0  # number of the first one
    gateways: int
    rate: float = 1.0  # readings/s of each
    alarms: float = 1.0  # alarms/min of each
    channels: int = 10
    receipts: bool = False
    spread: float | None = None  # s, of the uplink; None: as usual
    seed: int = 1


class Figures(Struct, frozen=True, kw_only=True):
    """What a crowd has used and done so far."""

    mono: float  # s
    cpu: float  # s, all threads
    memory: int  # kB, resident
    threads: int
    files: int  # descriptors
    up: int  # gateways that are connected
    waiting: int  # items that are not delivered
    late: int  # of these, what is not live telemetry
    urgent: int  # gateways with a red or orange alarm among them
    lag: float  # s that plants were read too late since the last count, at most
    ups: list[float]  # monotonic s of each connection that was confirmed
    tries: int
    sent: int  # bytes over TCP, of the connections that stand
    received: int
    segments_sent: int
    segments_received: int


class Ledger(Struct, frozen=True):
    """What was made, by gateway (`site/node`)."""

    alarms: dict[str, list[str]]  # id/edge
    readings: dict[str, int]  # they are numbered from 1


class Traffic(NamedTuple):
    """What the kernel counted on all connections of this process that stand."""

    sent: int  # bytes
    received: int
    segments_sent: int
    segments_received: int


def traffic() -> Traffic:
    """From tcp_info of each socket. Linux only; zeros elsewhere."""
    total = [0, 0, 0, 0]
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError, struct.error):
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as sock:
                told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
            if told[0] == ESTABLISHED:
                found = (*struct.unpack_from("<QQ", told, SENT), *struct.unpack_from("<II", told, SEGMENTS))
                total = [a + b for a, b in zip(total, found, strict=True)]
    return Traffic(*total)


def resident() -> int:
    """kB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


class Gateway:
    """One node: store, uplink and plant."""

    def __init__(self, order: Order, number: int) -> None:
        self.order, self.number = order, number
        self.site, self.node = f"s{number // SHARD:04d}", f"g{number:06d}"
        self.rng = random.Random(order.seed * 1_000_003 + number)
        self.clock = SystemClock()
        self.layout: Layout = layout([f"c{k}" for k in range(order.channels)] + [LEDGER], ["%"] * order.channels + [""])
        self.value = np.array([self.rng.uniform(0.0, 100.0) for _ in range(order.channels)] + [0.0])
        self.open: dict[str, Alarm] = {}
        self.edges: list[str] = []  # id/edge of all that was told
        self.ups: list[float] = []
        self.tries = 0
        self.up = False
        self.receipt_deadline = 10.0  # s, as usual
        self._tasks: list[asyncio.Task[None]] = []
        self._handles: list[asyncio.TimerHandle] = []
        self._lag, self._due = 0.0, 0.0

    @property
    def name(self) -> str:
        return f"{self.site}/{self.node}"

    async def start(self) -> None:
        """Open the store, and begin to connect and to read the plant."""
        store = Store(path=f"{self.order.folder}/{self.node}", alarms_mb=1, history_mb=4, ballast_mb=0)
        self.outbox = await Outbox.open(store, ["fleet"], self.clock)
        self.uplink = Mqtt(
            name="fleet", url=self.order.url, receipts=self.order.receipts, receipt_deadline=self.receipt_deadline
        )
        if self.order.spread is not None:
            self.uplink = msgspec.structs.replace(self.uplink, spread=self.order.spread)
        self.comeback = Comeback(self.uplink.spread, self.outbox.feed("fleet"), self.clock)
        self.who = Identity(self.site, self.node, self.outbox.boot, "0.1.0", "fleet")
        care = keep(self.node, self._send, self.clock, lambda *_: None, self.comeback, rng=self.rng)
        self._tasks = [asyncio.create_task(care, name=f"uplink {self.node}")]
        self._later(self.rng.random() / self.order.rate, self._read, 0)
        if self.order.alarms:
            self._later(self.rng.random() * 60.0 / self.order.alarms, self._raise, 1)

    def calm(self) -> None:
        """Make nothing new; what stands is cleared."""
        for handle in self._handles:
            handle.cancel()
        for alarm in list(self.open.values()):
            self._clear(alarm)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.outbox.close()

    def waiting(self, late: bool = False) -> int:
        """Items that the platform has not confirmed; `late`: without live telemetry."""
        found = self.outbox.feed("fleet").waiting()
        return sum(n for lane, n in found.items() if not (late and lane == "telemetry"))

    async def _send(self) -> None:
        self.tries += 1
        feed = self.outbox.feed("fleet")
        await self.uplink.send(Brief(feed, self.who, lambda: list(self.open.values()), self.clock, self._heard))

    def _heard(self, event: Event) -> None:
        self.comeback.hear(event)
        self.up = event.kind == "link-up" or (self.up and event.kind != "link-down")
        if event.kind == "link-up":
            self.ups.append(time.monotonic())
        self.outbox.put_event(event)

    def _later(self, seconds: float, deed: object, n: int) -> None:
        """Do it, and forget what is over."""
        now = asyncio.get_running_loop().time()
        self._handles = [handle for handle in self._handles if handle.when() > now]
        self._handles.append(asyncio.get_running_loop().call_later(seconds, deed, n))  # type: ignore[arg-type]

    def lagged(self) -> float:
        """s that the plant was read too late since this was asked last, at most."""
        lag, self._lag = self._lag, 0.0
        return lag

    def _read(self, n: int) -> None:
        """Reading `n` + 1 of the plant: all channels take a small step."""
        now, period = asyncio.get_running_loop().time(), 1.0 / self.order.rate
        self._due = self._due + period if n else now
        self._lag = max(self._lag, now - self._due)
        self.value[:-1] += [self.rng.uniform(-0.1, 0.1) for _ in range(self.order.channels)]
        self.value[-1] = n + 1
        value = self.value.astype(np.float32).astype(float)  # as registers tell it
        self.outbox.put_frame(frame(SOURCE, self.clock.now(), self.layout, value))
        self._later(self._due + period - now, self._read, n + 1)

    @property
    def readings(self) -> int:
        return int(self.value[-1])

    def _raise(self, n: int) -> None:
        at = self.clock.now()
        alarm = Alarm(
            id=f"{self.node}-{n}",
            edge=1,
            event="raised",
            state="active-unacked",
            rule="high",
            channel=f"{SOURCE}/c0",
            level=self.rng.choices(("red", "orange", "yellow"), SHARES)[0],
            value=float(self.value[0]),
            limit=100.0,
            unit="%",
            since=at,
            at=at,
            text=f"{SOURCE}/c0 at {self.value[0]:.1f} %, limit 100 %",
            basis=Basis("project"),
        )
        self._told(alarm)
        self._later(min(STANDS, 20.0 / self.order.alarms), self._over, n)
        self._later(60.0 / self.order.alarms, self._raise, n + 1)

    def _over(self, n: int) -> None:
        if (alarm := self.open.get(f"{self.node}-{n}")) is not None:
            self._clear(alarm)

    def _clear(self, alarm: Alarm) -> None:
        at = self.clock.now()
        self._told(
            msgspec.structs.replace(alarm, edge=alarm.edge + 1, event="cleared", state="normal", since=at, at=at)
        )

    def _told(self, alarm: Alarm) -> None:
        if alarm.state == "normal":
            self.open.pop(alarm.id, None)
        else:
            self.open[alarm.id] = alarm
        self.edges.append(f"{alarm.id}/{alarm.edge}")
        self.outbox.put_alarms([alarm])


class Crowd:
    """All gateways of one process."""

    def __init__(self, order: Order) -> None:
        self.gateways = [Gateway(order, order.first + k) for k in range(order.gateways)]

    async def start(self) -> None:
        """One after the other, at `RAMP`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for k in range(0, len(self.gateways), AT_ONCE):
            await asyncio.sleep(began + k / RAMP - loop.time())
            await asyncio.gather(*(gateway.start() for gateway in self.gateways[k : k + AT_ONCE]))

    def calm(self) -> None:
        for gateway in self.gateways:
            gateway.calm()

    async def stop(self) -> None:
        for k in range(0, len(self.gateways), AT_ONCE):
            await asyncio.gather(*(gateway.stop() for gateway in self.gateways[k : k + AT_ONCE]))

    def figures(self) -> Figures:
        spoken = traffic()
        return Figures(
            mono=time.monotonic(),
            cpu=time.process_time(),
            memory=resident(),
            threads=len(os.listdir("/proc/self/task")),
            files=len(os.listdir("/proc/self/fd")),
            up=sum(gateway.up for gateway in self.gateways),
            waiting=sum(gateway.waiting() for gateway in self.gateways),
            lag=max(gateway.lagged() for gateway in self.gateways),
            late=sum(gateway.waiting(late=True) for gateway in self.gateways),
            urgent=sum(gateway.outbox.is_urgent("fleet") for gateway in self.gateways),
            ups=sorted(at for gateway in self.gateways for at in gateway.ups),
            tries=sum(gateway.tries for gateway in self.gateways),
            sent=spoken.sent,
            received=spoken.received,
            segments_sent=spoken.segments_sent,
            segments_received=spoken.segments_received,
        )

    def ledger(self) -> Ledger:
        return Ledger(
            {gateway.name: gateway.edges for gateway in self.gateways},
            {gateway.name: gateway.readings for gateway in self.gateways},
        )


async def serve() -> None:
    """Obey what comes on the standard input until it ends."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    order = msgspec.json.decode(await lines.readline(), type=Order)
    warm = Crowd(msgspec.structs.replace(order, gateways=1, first=WARM + order.first))
    crowd = Crowd(order)
    await warm.start()  # what the first one costs is not what one costs
    await until_up(warm)
    warm.calm()
    await warm.stop()
    say(warm.figures())
    await crowd.start()
    await until_up(crowd)
    gc.collect()
    gc.freeze()  # as the daemon does
    say(crowd.figures())
    while line := (await lines.readline()).strip():
        match line:
            case b"count":
                say(crowd.figures())
            case b"calm":
                crowd.calm()
                say(crowd.figures())
            case b"ledger":
                say(crowd.ledger())
    await crowd.stop()


async def until_up(crowd: Crowd) -> None:
    while not all(gateway.up for gateway in crowd.gateways):  # noqa: ASYNC110 nobody tells when the last of many is
        await asyncio.sleep(0.05)


def say(what: Struct) -> None:
    print(msgspec.json.encode(what).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
