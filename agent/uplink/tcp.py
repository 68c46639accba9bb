"""A connection by TCP to a platform, perhaps within TLS: what languages without MQTT have in common of it.

A link that is dead is noticed by the kernel, or here: what was sent and nobody acknowledges for seconds ends it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from .. import secret
from ..core.errors import LineLost
from ..hand import Hand
from ..peer import tune, watch
from ..tls import Keyring

CONNECT = 10.0  # s for TLS
KNOCK = 2.0  # s for TCP; as for MQTT: the kernel's own repetitions grow


def parted(url: str, ports: Mapping[str, int]) -> SplitResult:
    """The parts of tcp://host:port or tls://host:port. `ports`: by scheme, where url names none. Raises `ValueError`.

    >>> parted("tls://platform.example", {"tcp": 6808, "tls": 6808}).hostname
    'platform.example'
    """
    place = urlsplit(url)
    if place.scheme not in ports or not place.hostname or place.path.strip("/") or place.query or place.username:
        raise ValueError(f"url must be tcp://host:port or tls://host:port, not {secret.masked(url)!r}")
    _ = place.port  # raises ValueError where it is no port
    return place


def endpoint(url: str, ports: Mapping[str, int]) -> tuple[str, int]:
    """Host and port.

    >>> endpoint("tcp://10.0.0.5", {"tcp": 9015, "tls": 9016})
    ('10.0.0.5', 9015)
    """
    place = parted(url, ports)
    return place.hostname or "", place.port or ports[place.scheme]


async def connect(
    line: asyncio.Protocol, place: tuple[str, int], keyring: Keyring | None, whose: str, alive: int = 0
) -> None:
    """Connect `line`. `whose`: for complaints. `alive`: s of silence before TCP asks whether the platform is there;
    0: never. Raises `LineLost`."""
    context = None if keyring is None else await keyring.context()
    hand = Hand("connect")  # names block
    try:
        sock = await hand.do(socket.create_connection, place, KNOCK)
        sock.setblocking(False)
        tune(sock)
        if alive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, alive)
        loop = asyncio.get_running_loop()
        name = place[0] if context else None
        async with asyncio.timeout(CONNECT):
            transport, _ = await loop.create_connection(lambda: line, sock=sock, ssl=context, server_hostname=name)
        watch(sock, lambda: _cut(transport, line))
    except TimeoutError as error:
        raise LineLost(f"connect {whose}: no answer in time") from error
    except (OSError, ValueError) as error:
        raise LineLost(f"connect {whose}: {error}") from error
    finally:
        hand.end()


def _cut(transport: asyncio.Transport, line: asyncio.Protocol) -> None:
    """End a connection whose other end answers no more, as if the kernel had."""
    line.connection_lost(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
    transport.set_protocol(asyncio.Protocol())  # it has been told
    transport.abort()
