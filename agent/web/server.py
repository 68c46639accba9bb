"""The web server in the daemon's loop: one leaf under `keep`, like a line or an uplink.

uvicorn speaks HTTP; here is what it leaves to others: a client that does not finish its request, does not take its
answer, or comes with many connections goes, and costs nobody anything. `serve` raises what a leaf may raise, asks
itself now and then as a browser would, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..core.errors import LineLost
from ..window import Web
from .app import Door, application
from .glance import Desk

CONNECTIONS = 96  # at a time
OF_ONE = 48  # of one address
HEAD = 16 * 1024  # bytes of a request without its body
ASKING = 10.0  # s that a request may take to come, its body apart
IDLE = 15  # s that a connection may wait for the next one
BUFFER = 128 * 1024  # bytes that the kernel keeps for a client that does not take them
TAKING = 20.0  # s that a client may take for 64 kB
PULSE = 3.0  # s between two looks at ourselves, and for an answer
GOODBYE = 0.3  # s


class Guarded(H11Protocol):
    """A connection that has to make progress."""

    _deadline: asyncio.TimerHandle | None = None
    _blocked: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        peers = [getattr(one, "client", None) for one in self.connections]
        mine = sum(one is not None and self.client is not None and one[0] == self.client[0] for one in peers)
        if len(self.connections) > CONNECTIONS or mine > OF_ONE:
            transport.abort()
            return
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        transport.set_write_buffer_limits(high=BUFFER // 2)
        self._due()

    def connection_lost(self, exc: Exception | None) -> None:
        self._undue()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._due()
        else:
            self._undue()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._undue()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._blocked is None:
            self._blocked = self.loop.call_later(TAKING, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._blocked is not None:
            self._blocked.cancel()
            self._blocked = None

    def _due(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(ASKING, self.transport.abort)

    def _undue(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def bound(web: Web) -> socket.socket:
    """A socket that listens where the site file says. Raises `LineLost`."""
    host, port = web.address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(64)
    except OSError as error:
        sock.close()
        raise LineLost(f"listen at {web.listen}: {error.strerror or error}; set another place in [web]") from None
    sock.setblocking(False)
    return sock


def secured(web: Web) -> Callable[..., ssl.SSLContext] | None:
    """What makes the TLS context, if there is to be one. Raises `LineLost`."""
    if not web.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(web.certificate, web.key)
    except OSError as error:  # SSLError is one
        raise LineLost(f"certificate {web.certificate} with key {web.key}: {error}") from None
    return lambda *_: context


async def serve(desk: Desk, web: Web, renew: Callable[[], None], told: Callable[[str], None] = lambda _: None) -> None:
    """Answer browsers until cancelled. Raises `LineLost` where that is not possible."""
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    context = secured(web)
    sock = bound(web)
    door = Door(desk, web)
    config = uvicorn.Config(
        application(door),
        http=Guarded,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=IDLE,
        h11_max_incomplete_event_size=HEAD,
        ssl_context_factory=context,
        timeout_graceful_shutdown=1,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    try:
        await server.startup(sockets=[sock])
        told(f"{'https' if context else 'http'}://{named(sock)}/")
        while True:
            await _knock(sock)
            await door.look()
            renew()
            await asyncio.sleep(PULSE)
    finally:
        door.closing.set()
        for one in server.servers:
            one.close()
        await asyncio.sleep(0)
        for connection in list(server.server_state.connections):
            connection.shutdown()
        if server.server_state.tasks:
            await asyncio.wait(list(server.server_state.tasks), timeout=GOODBYE)
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        for task in list(server.server_state.tasks):
            task.cancel()
        sock.close()
        door.hand.end()


def named(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _knock(sock: socket.socket) -> None:
    """Connect as a browser would, if only this machine can: somebody has to take it. Raises `LineLost`."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        async with asyncio.timeout(PULSE):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
    except (OSError, TimeoutError) as error:
        raise LineLost(f"ask at {host}:{port}: {error or 'no answer'}") from None
