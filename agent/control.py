"""A Unix socket in the state directory for the commands of a person on this machine.

One JSON object per line in, one out: `{"verb": "alarms"}`, `{"verb": "ack", "id": ..., "by": ...}`,
`{"verb": "status"}`, `{"verb": "look", "channels": 40}` (`agent/status.py`), `{"verb": "colours"}`, `{"verb": "lines"}`
(how devices answer), `{"verb": "shelve", "point": ..., "by": ..., "reason": ..., "seconds": ...}`, and in the same form
`reset`, `take-out`, `restore`. `{"verb": "command", "envelope": ...}` brings what somebody signed
(`agent/commands.py`), `{"verb": "outcome", "id": ...}` asks what became of it. `{"verb": "reload"}` has the site file
read again, and answers with `ok` and `changes`, or with `complaints`. Only the daemon's own user (file mode 0600) may
speak here.
"""

from __future__ import annotations

import asyncio
import pwd
import socket
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from .core.errors import ConfigFault, LineLost, WorldFault

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
LONGEST = 1024 * 1024  # bytes of one request: an envelope, escaped once more
PULSE = 3.0  # s between questions to itself, and for an answer


class Absent(LineLost):
    """No daemon runs there."""


def home(site: str | Path) -> Path:
    """The state folder that a site file names, whatever else is wrong with it: the agent may still run by an earlier
    one. Raises `ConfigFault` where it cannot be read."""
    path = Path(site)
    try:
        named = tomllib.loads(path.read_text("utf-8")).get("store", {}).get("path", "state")
    except OSError as error:
        raise ConfigFault([f"{path}: cannot be read: {error.strerror}"]) from None
    except (ValueError, AttributeError):  # no TOML, or no table
        named = "state"
    return path.parent / str(named)


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
        line = socket.socket(socket.AF_UNIX)
        try:
            line.bind(str(path))
            path.chmod(0o600)  # before anybody can connect; a umask would be of all threads, and of their folders
            server = await asyncio.start_unix_server(speak, sock=line, limit=LONGEST)
        except OSError:
            line.close()
            raise
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
    """One question to the daemon that owns `state`. Raises `Absent` where none runs, `LineLost` if it does not answer,
    `WorldFault` if this user may not ask."""
    path = path_of(state)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            sock.connect(str(path))
            sock.sendall(msgspec.json.encode(request) + b"\n")
            with sock.makefile("rb") as lines:
                reply = lines.readline()
        return msgspec.json.decode(reply, type=dict[str, Any])
    except PermissionError:
        raise WorldFault(f"ask the daemon at {path}: {forbidden(path)}") from None
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise Absent(f"ask the daemon at {path}: {error}; is `vedette run` running with this site?") from None
    except TimeoutError:
        raise LineLost(f"ask the daemon at {path}: no answer in {timeout:g} s; it is very busy, or hangs") from None
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        raise LineLost(f"ask the daemon at {path}: {error}; is `vedette run` running with this site?") from None


def forbidden(path: Path) -> str:
    """Who may go there, for those who may not."""
    for place in (path, *path.parents):
        try:
            owner = place.stat().st_uid
        except OSError:
            continue
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"#{owner}"
        return f"permission denied: it belongs to {name}; try: sudo -u '{name}' vedette ..."
    return "permission denied"
