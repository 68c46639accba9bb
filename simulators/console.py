"""A simulated platform at a terminal: it runs until a signal, and takes commands from standard input."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import Callable, Mapping, Sized
from typing import Any, Protocol

from msgspec import Struct


class Platform(Protocol):
    """What is asked of one."""

    @property
    def faults(self) -> Struct: ...  # what it does wrong

    @property
    def links(self) -> Sized: ...  # who is connected

    async def start(self, port: int = 0) -> None: ...

    async def stop(self) -> None: ...


def say(text: str) -> None:
    print(text, flush=True)


async def attend(
    platform: Platform,
    port: int,
    misbehave: Mapping[str, Any],
    greeting: Callable[[], str],
    obey: Callable[[str], str],
    helping: str,
    nobody: str,
) -> None:
    """Run it until SIGINT or SIGTERM.

    `misbehave`: faults by name; `greeting`: said once it listens; `obey`: does what a line says, and tells of it;
    `helping`: the answer to `help`; `nobody`: to anything else while nobody is connected.
    """
    for name, value in misbehave.items():
        setattr(platform.faults, name, value)
    await platform.start(port)
    say(greeting())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    commands = asyncio.create_task(_commands(platform, obey, helping, nobody))
    await stop.wait()
    commands.cancel()
    await asyncio.gather(commands, return_exceptions=True)
    await platform.stop()


async def _commands(platform: Platform, obey: Callable[[str], str], helping: str, nobody: str) -> None:
    """Commands of standard input, a line each."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    if sys.stdin is None or (stat.S_ISCHR(os.fstat(sys.stdin.fileno()).st_mode) and not sys.stdin.isatty()):
        return  # /dev/null, which the loop cannot wait for
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except (OSError, ValueError):
        return  # there is none to read from
    while raw := await reader.readline():
        text = raw.decode(errors="replace").strip()
        if not text:
            continue
        if text == "help" or not platform.links:
            say(helping.rstrip() if text == "help" else nobody)
            continue
        with contextlib.suppress(ConnectionError):
            say(obey(text))
