"""Somebody else's broker, mosquitto, started on a free port of the loopback, and what it costs.

It keeps sessions over a stop and a start (`persistence`), so that an ear which was listening hears all that was
accepted; it drops nothing for a slow ear.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import NamedTuple

from agent.core.errors import LineLost

PROGRAM = "/usr/sbin/mosquitto"  # where Debian puts it, which is not in everybody's PATH
STARTING = 10.0  # s
ENDING = 30.0  # s; it writes down its sessions
PAGE = os.sysconf("SC_PAGE_SIZE")


class Load(NamedTuple):
    """What a process has used so far."""

    cpu: float  # s
    memory: int  # kB, resident


def program() -> str | None:
    """The mosquitto of this machine."""
    return shutil.which("mosquitto") or (PROGRAM if Path(PROGRAM).exists() else None)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def load(pid: int) -> Load:
    """Of a process that runs: the scheduler's own count of nanoseconds, and its pages. Raises `OSError`."""
    here = Path(f"/proc/{pid}")
    cpu = sum(int((task / "schedstat").read_text().split()[0]) for task in (here / "task").iterdir())
    return Load(cpu / 1e9, int((here / "statm").read_text().split()[1]) * PAGE // 1024)


class Mosquitto:
    """One broker; its files are in `folder`. Raises `LineLost` where it does not start."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder, self.port = folder, free_port()
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "set_tcp_nodelay true",
            "max_connections -1",
            "max_queued_messages 0",
            "max_inflight_messages 0",
            "sys_interval 1",
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_interval 0",  # only when it stops
            f"log_dest file {folder}/mosquitto.log",
            "log_type error",
            "log_type warning",
            *(["user root"] if os.getuid() == 0 else []),  # else it gives up root and cannot read the folder
            more,
        ]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mosquitto.conf").write_text("\n".join([*lines, ""]))
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def load(self) -> Load:
        """What it has used since its last start."""
        assert self.process is not None
        return load(self.process.pid)

    async def start(self) -> None:
        """Run; returns when it listens."""
        name = program()
        if name is None:
            raise LineLost("no mosquitto on this machine: install it, or name a broker: --broker mqtt://host:port")
        loop = asyncio.get_running_loop()
        self.process = await asyncio.create_subprocess_exec(
            *(name, "-c", str(self.folder / "mosquitto.conf")),
            stderr=asyncio.subprocess.DEVNULL,  # it does not like to be root
            start_new_session=True,
        )
        end = loop.time() + STARTING
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                if loop.time() > end or self.process.returncode is not None:
                    log = self.folder / "mosquitto.log"
                    said = log.read_text().strip()[-500:] if log.exists() else ""
                    raise LineLost(f"mosquitto does not start on port {self.port}: {said}") from None
                await asyncio.sleep(0.01)
                continue
            writer.close()
            return

    async def stop(self) -> None:
        """End it; it keeps what it knows of sessions."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), ENDING)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()
