"""A network in virtual time: what stands in for sockets under the uplinks. Bytes and messages take their time, get lost
where the line is cut, and arrive in order.

`Wire` is what `agent/uplink/session.py` speaks over, a broker behind it; `Cable` is a connection of JT/T 808 or HJ 212.
Both belong to a `Net`, which says how the line is and hears what arrives.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol

from agent.core.errors import LineLost
from agent.uplink.hj212 import Hj212
from agent.uplink.jt808 import Jt808
from agent.wire import Broker, Message

LATENCY = 0.01  # s, one way


class Net(Protocol):
    """The line, and who is at its other end."""

    now: float  # s
    life: int  # number of the process that is alive
    cut: bool  # nothing passes, and nobody is told
    broker_up: bool  # somebody listens there
    lag: float  # s that it takes longer
    bandwidth: float  # bytes/s
    limits: dict[str, int]  # that the broker names
    retained: dict[str, bytes]  # that it keeps, by topic

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do it then, whoever is alive."""

    def departed(self, link: Wire | Cable, what: Message | bytes) -> None:
        """The kernel has it: it goes its way whatever becomes of the process."""

    def attach(self, wire: Wire) -> None:
        """A client is there."""

    def detach(self, wire: Wire, politely: bool) -> None:
        """It is gone, as the broker sees it."""

    def arrived(self, wire: Wire, mid: int, message: Message) -> None:
        """A message is at the broker."""

    def plug(self, cable: Cable) -> None:
        """A terminal is there."""

    def unplug(self, cable: Cable) -> None:
        """It is gone, as the platform sees it."""

    def brought(self, cable: Cable, data: bytes) -> None:
        """Bytes of a terminal are at the platform."""


class Wire:
    """`agent.wire.Wire` on a simulated network."""

    net: ClassVar[Net]

    def __init__(self, settings: Broker, version: Any, id: str, will: Message, wake: asyncio.Event) -> None:
        self.settings, self.version, self.id, self.will, self.wake = settings, version, id, will, wake
        self.acks: deque[tuple[int, int]] = deque()
        self.retained: dict[str, bytes] = {}
        self.receipts: deque[tuple[bytes, bytes]] = deque()
        self.said: deque[Any] = deque()
        self.denied: deque[str] = deque()
        self.inbox = ""
        self.lost = ""
        self.innocent = False
        self.answer: tuple[int, Any] | None = None
        self.where = f"uplink {settings.name!r} at {settings.url}"
        self.life = self.net.life
        self.sent = False
        self.alive = False  # this side of the connection
        self.open_there = False  # the broker's side
        self.mids = itertools.count(1)
        self.arrival = 0.0  # when the last byte sent so far arrives
        self.silent_since: float | None = None  # sent, and nothing can come back

    async def open(self, context: Any = None) -> None:
        net = self.net
        await asyncio.sleep(2 * LATENCY)
        if net.cut:
            await asyncio.sleep(10.0)
            raise LineLost(f"connect {self.where}: timed out")
        if not net.broker_up:
            raise LineLost(f"connect {self.where}: nobody listens there")
        self.alive = self.sent = True
        net.attach(self)
        self.answer = (0, SimpleNamespace())

    def limit(self, name: str, default: int) -> int:
        return self.net.limits.get(name, default)

    def publish(self, message: Message) -> int:
        mid = next(self.mids)
        net = self.net
        if not self.alive:
            return mid
        if net.cut:
            self.silent_since = self.silent_since or net.now
            return mid
        net.departed(self, message)
        size = len(message.payload) + len(message.topic)
        self.arrival = max(self.arrival, net.now + LATENCY + net.lag) + size / net.bandwidth
        net.at(self.arrival, lambda: net.arrived(self, mid, message))
        return mid

    def listen(self, topic: str) -> None:
        def bring() -> None:
            if self.alive and self.open_there and not self.net.cut:
                self.retained |= {t: p for t, p in self.net.retained.items() if "/alarm/" in t}
                self.wake.set()

        self.net.at(self.net.now + 2 * LATENCY, bring)

    def receive(self, topic: str) -> None:
        self.inbox = topic

    def hear(self, topic: str, most: int = 0, flagged: bool = False) -> None:
        """Nobody commands here."""

    def unlisten(self, topic: str) -> None:
        pass

    def pump(self) -> None:
        pass

    def arm(self) -> None:
        pass

    def tend(self) -> None:
        """Pings: a link that is dead is noticed, by the kernel when data waits, else after two of them."""
        net = self.net
        if net.cut and self.alive:
            self.silent_since = self.silent_since or net.now + self.settings.keepalive
        if self.silent_since is not None and net.now - self.silent_since > 5.0:
            self.fail("connection timed out", innocent=True)

    def close(self, politely: bool = False, will: bool = False) -> None:
        if self.alive:
            self.alive = False
            polite = politely and not will
            self.net.at(max(self.arrival, self.net.now + LATENCY), lambda: self.net.detach(self, polite))

    def fail(self, why: str, innocent: bool = False) -> None:
        """This side learns that the connection is gone."""
        if self.alive and not self.lost:
            self.lost, self.innocent = why, innocent
            self.wake.set()

    def confirm(self, mid: int, code: int) -> None:
        if self.alive and not self.lost and not self.net.cut and self.life == self.net.life:
            self.acks.append((mid, code))
            self.wake.set()


class Cable(asyncio.Transport):
    """This end of a TCP connection, under a `Line` of JT/T 808 or HJ 212."""

    net: ClassVar[Net]

    def __init__(self, line: asyncio.Protocol) -> None:
        super().__init__()
        self.line = line
        self.life = self.net.life
        self.alive = True
        self.arrival = 0.0  # when the last byte sent so far arrives
        self.silent_since: float | None = None  # sent, and nothing can come back

    def write(self, data: Any) -> None:
        net = self.net
        if not self.alive:
            return
        if net.cut:  # the kernel tries for so long, `USER_TIMEOUT`
            if self.silent_since is None:
                self.silent_since = net.now
                net.at(net.now + 5.0, self._gives_up)
            return
        net.departed(self, bytes(data))
        self.arrival = max(self.arrival, net.now + LATENCY + net.lag) + len(data) / net.bandwidth
        net.at(self.arrival, lambda: net.brought(self, bytes(data)))

    def _gives_up(self) -> None:
        if self.silent_since is not None:
            self.fail("connection timed out", innocent=True)

    def answer(self, data: bytes) -> None:
        """Bytes of the platform, on their way to the terminal."""
        net = self.net
        if not net.cut:
            net.at(net.now + LATENCY + net.lag, lambda: self._hear(data))

    def _hear(self, data: bytes) -> None:
        if self.alive and not self.net.cut and self.life == self.net.life:
            self.line.data_received(data)

    def fail(self, why: str, innocent: bool = False) -> None:
        """This side learns that the connection is gone; `innocent`: for no reason of the platform."""
        if self.alive and self.life == self.net.life:
            self.alive = False
            self.line.connection_lost(
                TimeoutError(errno.ETIMEDOUT, why) if innocent else ConnectionResetError(errno.ECONNRESET, why)
            )

    def abort(self) -> None:
        self.close()

    def close(self) -> None:
        if self.alive:
            self.alive = False
            self.net.at(max(self.arrival, self.net.now + LATENCY), lambda: self.net.unplug(self))

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def connect(settings: Jt808 | Hj212, line: asyncio.Protocol, keyring: Any) -> None:
    """Their `_connect` over a cable."""
    net = Cable.net
    await asyncio.sleep(2 * LATENCY)
    where = f"connect uplink {settings.name!r} at {settings.url}"
    if net.cut:
        await asyncio.sleep(10.0)
        raise LineLost(f"{where}: no answer in 10 s")
    if not net.broker_up:
        raise LineLost(f"{where}: connection refused")
    cable = Cable(line)
    line.connection_made(cable)
    net.plug(cable)
