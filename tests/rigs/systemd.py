"""A small systemd for one service: it starts, is told READY, wants WATCHDOG=1 in time, kills, starts again.

What it does and when stands in `systemd/vedette.service`; only what that file says of the life of the process is
honoured (WatchdogSec, RestartSec, RestartPreventExitStatus, TimeoutStopSec), Restart=always is taken for granted.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

UNIT = Path(__file__).parent.parent.parent / "systemd" / "vedette.service"


def setting(name: str, unit: Path = UNIT) -> float:
    """A number of the unit file."""
    found = re.search(rf"^{name}=(\d+(?:\.\d+)?)$", unit.read_text(), re.MULTILINE)
    assert found, f"{name} is not in {unit}"
    return float(found[1])


class Life(Struct):
    """One life of the process; times are monotonic seconds, 0 while it did not happen."""

    started: float
    ready: float = 0.0
    stopping: float = 0.0
    fed: float = 0.0  # WATCHDOG=1 last
    aborted: float = 0.0  # it was not fed in time
    ended: float = 0.0
    status: int = 0


class Service:
    """One process under the care of systemd. `async with`: it runs; at the end it was stopped."""

    def __init__(self, command: Sequence[str], folder: Path, env: Mapping[str, str], log: Path) -> None:
        self.command, self.log = command, log
        self.lives: list[Life] = []
        self.process: asyncio.subprocess.Process | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(folder / "notify"))
        self._env = {**os.environ, **env, "NOTIFY_SOCKET": str(folder / "notify"), "PYTHONUNBUFFERED": "1"}
        self._wanted = True

    @property
    def life(self) -> Life:
        return self.lives[-1]

    async def __aenter__(self) -> Service:
        asyncio.get_running_loop().add_reader(self._socket, self._heard)
        self._task = asyncio.create_task(self._care())
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    async def stop(self, *more: float) -> float:
        """SIGTERM, and another after each of `more` seconds. Seconds until it ended; killed after `TimeoutStopSec`."""
        self._wanted = False
        began = time.monotonic()
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            for pause in more:
                await asyncio.wait([self._task], timeout=pause)
                if not self._task.done():
                    self.process.send_signal(signal.SIGTERM)
            await asyncio.wait([self._task], timeout=setting("TimeoutStopSec"))
            if not self._task.done():
                self.process.kill()
        await self._task
        return self.life.ended - began

    def _heard(self) -> None:
        while True:
            try:
                states = self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return
            now, life = time.monotonic(), self.life
            if "READY=1" in states:
                life.ready = life.fed = now
            if "STOPPING=1" in states:
                life.stopping = now
            if "WATCHDOG=1" in states and life.ready:
                life.fed = now

    async def again(self) -> None:
        """Start after a stop."""
        self._wanted = True
        self._task = asyncio.create_task(self._care())

    async def _care(self) -> None:
        while self._wanted:
            with self.log.open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(
                    *self.command, env=self._env, stdout=log, stderr=log
                )
            life = Life(time.monotonic())
            self.lives.append(life)
            ended = asyncio.create_task(self.process.wait())
            try:
                while not (await asyncio.wait([ended], timeout=0.05))[0]:
                    now = time.monotonic()
                    watched = life.ready and not life.stopping and self._wanted
                    if life.aborted and now - life.aborted > setting("TimeoutStopSec"):
                        self.process.kill()
                    elif watched and not life.aborted and now - life.fed > setting("WatchdogSec"):
                        life.aborted = now
                        self.process.send_signal(signal.SIGABRT)
            finally:
                if not ended.done():
                    self.process.kill()
                    await ended
            life.ended, life.status = time.monotonic(), self.process.returncode or 0
            if life.status == setting("RestartPreventExitStatus"):
                return
            if self._wanted:
                await asyncio.sleep(setting("RestartSec"))
