"""The line itself: asks go in, outcomes come out. Modbus/TCP, RTU on a serial port, RTU over TCP.

A link is made by `connect` and lives as long as its port or connection. It sends, waits, believes by
`modbus_wire` and raises LineLost. It does not choose whom to ask, retry, remember a device or reconnect.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from agent.core.errors import BadReply, LineLost, NoReply, Refused

from . import modbus_wire as wire
from .modbus_wire import Ask, Outcome
from .serial import Port, open_port

if TYPE_CHECKING:
    from .modbus import Modbus

CONNECT = 1.5  # s for a TCP connection to come about: one SYN and one more. Who waits longer comes back later
# from a hole in the network, since the kernel sends its SYNs ever more seldom
LATE = 2.0  # periods for which a heartbeat may be on its way; a relay waits for 3, project
SLOW = 3.0  # times the time-out, where that is longer: a radio link


# -- where the line is ----------------------------------------------------------------------------


class Url(NamedTuple):
    """A line's address in parts."""

    scheme: Literal["tcp", "rtu", "rtu+tcp"]
    host: str
    port: int
    path: str


def url_of(text: str) -> Url:
    """Raises ValueError saying what is wrong.

    >>> url_of("tcp://10.0.0.5").port, url_of("rtu:///dev/ttyUSB0").path
    (502, '/dev/ttyUSB0')
    """
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"url {text!r}: the port must be 1 to 65535")
    if parts.scheme in ("tcp", "rtu+tcp"):
        if not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"url {text!r}: write {parts.scheme}://host:port")
        return Url(parts.scheme, parts.hostname, 502 if port is None else port, "")  # type: ignore[arg-type]
    if parts.scheme == "rtu":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError(f"url {text!r}: write rtu:///dev/ttyUSB0, with three slashes")
        return Url("rtu", "", 0, parts.path)
    raise ValueError(f"url {text!r}: write tcp://host:502, rtu:///dev/ttyUSB0 or rtu+tcp://host:port")


# -- asks go in, outcomes come out ----------------------------------------------------------------


class Link(Protocol):
    """A connected line. One `run` at a time unless `concurrent`."""

    concurrent: bool

    async def run(
        self, asks: Sequence[Ask], timeout: float, stop: Callable[[], bool]
    ) -> tuple[list[Outcome | None], list[float]]:
        """Ask in order; per ask the outcome and the loop's time when it was known.

        Before each request `stop()` is asked; when true, or after a reply failed to come or was a wrong one, the
        rest is not asked (None). Raises LineLost.
        """

    def pause(self, ask: Ask | None = None) -> float:
        """Seconds until the line is ready for `ask`, or for any."""

    def check(self) -> None:
        """Raises LineLost if the line is gone."""

    def close(self) -> None: ...


def never() -> bool:
    """The `stop` of a run that nothing interrupts."""
    return False


class Batch:
    """One `run` on TCP."""

    __slots__ = ("asks", "done", "flying", "outcomes", "sent", "stop", "timeout", "times", "todo")

    def __init__(
        self, asks: Sequence[Ask], timeout: float, stop: Callable[[], bool], done: asyncio.Future[None]
    ) -> None:
        self.asks, self.timeout, self.stop, self.done = asks, timeout, stop, done
        self.outcomes: list[Outcome | None] = [None] * len(asks)
        self.times = [0.0] * len(asks)
        self.sent = [0.0] * len(asks)
        self.todo = 0  # index of the next to ask; len(asks): nothing more to ask
        self.flying = 0


class TcpLink(asyncio.Protocol):
    """Modbus/TCP. The next request leaves from `data_received` itself: no task wakes up per request.

    A reply whose transaction is not open (it came after its time-out) is dropped.
    """

    def __init__(self, pipeline: int, place: str) -> None:
        self.pipeline, self.place = pipeline, place
        self.concurrent = pipeline > 1
        self.loop = asyncio.get_running_loop()
        self.stream = wire.TcpStream()
        self.flying: dict[int, tuple[Batch, int]] = {}  # transaction -> which ask of which batch
        self.batches: set[Batch] = set()
        self.transaction = 0
        self.fault: LineLost | None = None
        self.heard = self.loop.time()  # when the last byte came
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(f"connection lost ({exc or 'closed by the other side'})")

    def data_received(self, data: bytes) -> None:
        self.heard = now = self.loop.time()
        try:
            frames = self.stream.feed(data)
        except BadReply as fault:
            self._break(str(fault))
            self.close()
            return
        touched: list[Batch] = []
        for transaction, unit, pdu in frames:
            known = self.flying.pop(transaction, None)
            if known is None:
                continue
            batch, i = known
            ask = batch.asks[i]
            batch.flying -= 1
            batch.times[i] = now
            if unit != ask.unit:
                batch.outcomes[i] = BadReply(f"{wire.describe(ask)}: unit {unit} answered")
                batch.todo = len(batch.asks)  # who mixes up replies once may do so with the next
            else:
                try:
                    batch.outcomes[i] = wire.payload(ask, pdu)
                except Refused as fault:
                    batch.outcomes[i] = fault
                except BadReply as fault:
                    batch.outcomes[i] = fault
                    batch.todo = len(batch.asks)
            if not touched or touched[-1] is not batch:
                touched.append(batch)
        for batch in touched:
            self._fill(batch, now)

    async def run(
        self, asks: Sequence[Ask], timeout: float, stop: Callable[[], bool]
    ) -> tuple[list[Outcome | None], list[float]]:
        self.check()
        batch = Batch(asks, timeout, stop, self.loop.create_future())
        self.batches.add(batch)
        now = self.loop.time()
        self._fill(batch, now)
        if self._timer is None and batch.flying:
            self._timer = self.loop.call_at(now + timeout, self._expire)
        try:
            await batch.done
        finally:
            self.batches.discard(batch)
        return batch.outcomes, batch.times

    def pause(self, ask: Ask | None = None) -> float:
        return 0.0

    def _fill(self, batch: Batch, now: float) -> None:
        """Send what the window has room for, in one write; finish the batch when nothing is left."""
        asks, count = batch.asks, len(batch.asks)
        out = []
        while batch.todo < count and batch.flying < self.pipeline:
            if batch.stop():
                batch.todo = count
                break
            self.transaction = transaction = self.transaction + 1 & 0xFFFF
            i = batch.todo
            self.flying[transaction] = batch, i
            batch.sent[i] = now
            batch.todo += 1
            batch.flying += 1
            out.append(wire.tcp_adu(asks[i], transaction))
        if out and self.transport is not None:
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))
        if not batch.flying and batch.todo == count and not batch.done.done():
            batch.done.set_result(None)

    def _expire(self) -> None:
        self._timer = None
        now = self.loop.time()
        late = [t for t, (batch, i) in self.flying.items() if batch.sent[i] + batch.timeout <= now + 1e-4]
        for transaction in late:
            batch, i = self.flying.pop(transaction)
            text = f"{wire.describe(batch.asks[i])}: no reply in {batch.timeout:g} s"
            batch.outcomes[i] = NoReply(f"{text}; check unit number, power and the gateway's own time-out")
            batch.times[i] = now
            batch.flying -= 1
            batch.todo = len(batch.asks)
            self._fill(batch, now)
        if self.flying:
            soonest = min(batch.sent[i] + batch.timeout for batch, i in self.flying.values())
            self._timer = self.loop.call_at(soonest, self._expire)

    def check(self) -> None:
        if self.fault is not None:
            raise LineLost(str(self.fault))

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is not None:
            self.transport.abort()

    def _break(self, why: str) -> None:
        if self.fault is None:
            self.fault = LineLost(f"{self.place}: {why}")
        for batch in self.batches:
            if not batch.done.done():
                batch.done.set_exception(LineLost(str(self.fault)))


class RtuLink:
    """RTU by the discipline of `modbus_wire.Line`, over a serial port or a TCP connection."""

    concurrent = False

    def __init__(self, char: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.line = wire.Line(char, self.loop.time())
        self.fault: LineLost | None = None
        self.write: Callable[[bytes], None] = lambda data: None
        self.shut: Callable[[], None] = lambda: None
        self.look: Callable[[], None] = lambda: None
        self._waiter: asyncio.Future[None] | None = None

    def received(self, data: bytes) -> None:
        self.line.feed(data, self.loop.time())
        if self.line.state is not wire.State.OPEN:
            self._wake()

    def lost(self, fault: LineLost) -> None:
        self.fault = fault
        self._wake()

    async def run(
        self, asks: Sequence[Ask], timeout: float, stop: Callable[[], bool]
    ) -> tuple[list[Outcome | None], list[float]]:
        outcomes: list[Outcome | None] = [None] * len(asks)
        times = [0.0] * len(asks)
        for i, ask in enumerate(asks):
            await self._quiet(ask)  # first: what comes up in this silence still goes before the request
            if stop():
                break
            outcomes[i] = await self._transact(ask, timeout)
            times[i] = self.line.heard
            if isinstance(outcomes[i], NoReply | BadReply):
                break
        return outcomes, times

    def pause(self, ask: Ask | None = None) -> float:
        return self.line.pause(self.loop.time(), ask)

    async def _quiet(self, ask: Ask) -> None:
        """Until the line was silent for long enough. Raises LineLost."""
        while (pause := self.pause(ask)) > 0:
            await self._doze(pause)
        self.check()

    async def _transact(self, ask: Ask, timeout: float) -> Outcome:
        line = self.line
        self.write(line.open(ask, self.loop.time(), timeout))
        while (outcome := line.outcome(now := self.loop.time())) is None:
            await self._doze(line.due() - now)
        if isinstance(outcome, NoReply):
            self.look()
        return outcome

    async def _doze(self, seconds: float) -> None:
        """Until something changed, at most `seconds`. Raises LineLost."""
        self.check()
        waiter = self._waiter = self.loop.create_future()
        handle = self.loop.call_later(max(0.0, seconds), self._wake)
        try:
            await waiter
        finally:
            handle.cancel()
        self.check()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def check(self) -> None:
        if self.fault is not None:
            raise LineLost(str(self.fault))

    def close(self) -> None:
        self.shut()


class _RtuOverTcp(asyncio.Protocol):
    """Hands the bytes of a TCP connection to an `RtuLink`."""

    def __init__(self, link: RtuLink, place: str) -> None:
        self.link, self.place = link, place

    def data_received(self, data: bytes) -> None:
        self.link.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.link.lost(LineLost(f"{self.place}: connection lost ({exc or 'closed by the other side'})"))


async def connect(driver: Modbus) -> Link:
    """The line, ready to be asked. Raises LineLost."""
    url = url_of(driver.url)
    loop = asyncio.get_running_loop()
    patience = max(CONNECT, SLOW * driver.timeout)
    if url.scheme == "rtu":
        port: Port = await open_port(url.path, driver.form)
        link = RtuLink(driver.form.char)
        link.write, link.shut, link.look = port.write, port.close, port.check
        port.listen(link.received, link.lost)
        return link
    try:
        async with asyncio.timeout(patience):
            if url.scheme == "tcp":
                transport, tcp = await loop.create_connection(
                    lambda: TcpLink(driver.pipeline, driver.url), url.host, url.port
                )
                _watch_over(transport, driver)
                return tcp
            link = RtuLink(driver.form.char)
            transport, _ = await loop.create_connection(lambda: _RtuOverTcp(link, driver.url), url.host, url.port)
            _watch_over(transport, driver)
            link.write, link.shut = transport.write, transport.abort
            return link
    except TimeoutError as error:
        raise LineLost(f"connect {driver.url}: no answer in {patience:g} s; check address and cable") from error
    except ConnectionRefusedError as error:
        hint = "check the port, and whether somebody else has the only connection that it allows"
        raise LineLost(f"connect {driver.url}: refused; {hint}") from error
    except OSError as error:
        raise LineLost(f"connect {driver.url}: {error.strerror or error}; check address, port and cable") from error


def _watch_over(transport: asyncio.Transport, driver: Modbus) -> None:
    """Let the kernel end a connection whose other side does not even acknowledge bytes.

    A heartbeat that the kernel still delivers when the line is back would be a sign of life from the past: with one,
    it gives up before a relay does.
    """
    sock = transport.get_extra_info("socket")
    patience = min([max(5.0, 4 * driver.timeout), *(LATE * period for period in driver.heartbeats().values())])
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * patience))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
