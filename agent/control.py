"""A Unix socket in the state directory for the commands of a person on this machine.

One JSON object per line in, one out: `{"verb": "alarms"}`, `{"verb": "ack", "id": ..., "by": ...}`,
`{"verb": "status"}`, `{"verb": "colours"}`, `{"verb": "shelve", "point": ..., "by": ..., "reason": ...,
"seconds": ...}`, and in the same form `reset`, `take-out`, `restore`. `{"verb": "command", "envelope": ...}` brings
what somebody signed (`agent/commands.py`), `{"verb": "outcome", "id": ...}` asks what became of it. `{"verb":
"reload"}` has the site file read again, and answers with `ok` and `changes`, or with `complaints`. Only the daemon's
own user (file mode 0600) may speak here.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from .core.errors import LineLost

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
LONGEST = 1024 * 1024  # bytes of one request: an envelope, escaped once more
PULSE = 3.0  # s between questions to itself, and for an answer


def path_of(state: str | Path) -> Path:
    return Path(state) / "control.sock"


async def serve(state: str | Path, answer: Answer, renew: Callable[[], None] = lambda: None) -> None:
    """Answer requests until cancelled. Raises `LineLost` if the socket cannot be made or is not answered.

    Asks itself every `PULSE` seconds, the way a person would, and calls `renew` after each answer.
    """
    path = path_of(state)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                try:
                    reply = await answer(msgspec.json.decode(line, type=dict[str, Any]))
                except (msgspec.MsgspecError, UnicodeError, KeyError, TypeError) as error:
                    reply = {"error": f"not understood: {error}"}
                writer.write(msgspec.json.encode(reply) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # went away, or a line beyond the limit
            pass
        finally:
            writer.close()

    try:
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(speak, str(path), limit=LONGEST)
        finally:
            os.umask(mask)
    except OSError as error:
        raise LineLost(f"open control socket {path}: {error.strerror or error}") from None
    async with server:
        await server.start_serving()
        while True:
            try:
                async with asyncio.timeout(PULSE):
                    await _knock(path)
            except (OSError, TimeoutError) as error:
                raise LineLost(f"ask at control socket {path}: {error or 'no answer'}") from None
            renew()
            await asyncio.sleep(PULSE)


async def _knock(path: Path) -> None:
    """One request and its answer. Raises `OSError`."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(b"{}\n")
        if not await reader.readline():
            raise ConnectionResetError("closed without an answer")
    finally:
        writer.close()


def ask(state: str | Path, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """One question to the daemon that owns `state`. Raises `LineLost` if nobody answers."""
    path = path_of(state)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            sock.connect(str(path))
            sock.sendall(msgspec.json.encode(request) + b"\n")
            with sock.makefile("rb") as lines:
                reply = lines.readline()
        return msgspec.json.decode(reply, type=dict[str, Any])
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        raise LineLost(f"ask the daemon at {path}: {error}; is `vedette run` running with this site?") from None
