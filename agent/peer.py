"""The other end of a TCP connection: whether it still answers.

The kernel ends a connection when nothing of what it sent was acknowledged for `USER_TIMEOUT`. But it counts from its
first repetition on, and looks only when it repeats again; where the line was narrow before it died, repetitions are
seconds apart. Measured at 64 kbit/s with data under way: 7 to 11 s instead of 5.6. So whoever owns a connection looks
himself, now and then, at what the kernel knows of it.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import Callable
from typing import Protocol

USER_TIMEOUT = 5000  # ms of unacknowledged TCP data; noticed a half-open link in 5.6 s (reliability.md 1.2); 0: never
GRACE = 1.0  # s that the kernel has beyond that: what it says itself names the reason
LOOK = 0.5  # s between looks
INFO = struct.Struct("=24xI28xI")  # tcpi_unacked and tcpi_last_ack_recv (ms) in Linux' struct tcp_info, linux/tcp.h


class Socket(Protocol):
    """What is asked of a socket; asyncio's has it, and one within TLS."""

    def setsockopt(self, level: int, name: int, value: int, /) -> None: ...
    def getsockopt(self, level: int, name: int, size: int, /) -> bytes: ...
    def fileno(self) -> int: ...


def tune(sock: Socket) -> None:
    """Notice a dead link early, and do not gather small packets."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def watch(sock: Socket, gone: Callable[[], None]) -> None:
    """Call `gone` once the other end of `sock` answers no more; look until then, or until this side has closed it."""
    _look(Peer(sock), gone)


def _look(peer: Peer, gone: Callable[[], None]) -> None:
    """Once, and again in a while. Not a function within `watch`: that would know itself, and wait for the collector."""
    if peer.sock.fileno() < 0:
        return
    loop = asyncio.get_running_loop()
    if peer.is_gone(loop.time()):
        gone()
    else:
        loop.call_later(LOOK, _look, peer, gone)


class Peer:
    """Whoever is at the other end of `sock`."""

    def __init__(self, sock: Socket) -> None:
        self.sock = sock
        self.answered = -math.inf  # s: until then it owed nothing, or acknowledged something

    def is_gone(self, now: float) -> bool:
        """Whether it has acknowledged nothing of what it was sent for longer than the kernel is patient.

        `now`: s, monotonic. To be asked every `LOOK` seconds, from the begin of the connection on.
        """
        try:
            owed, silent = INFO.unpack(self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO.size))
        except (OSError, struct.error):  # closed, or a kernel without it
            return False
        self.answered = max(self.answered, now - silent / 1000) if owed else now
        return bool(USER_TIMEOUT) and now - self.answered > USER_TIMEOUT / 1000 + GRACE
