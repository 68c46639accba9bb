"""The processes of the bench, each of which ends with its block: the world, a broker, the agent as its users run it.

And what the scheduler and the kernel say of a process while it lives.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PYTHON = sys.executable
MEMORY = {  # as the agent's unit says it
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "OPENBLAS_NUM_THREADS": "1",
}


@contextlib.contextmanager
def running(*command: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A child that ends with the block."""
    child = subprocess.Popen(command, text=True, cwd=ROOT, **more)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def broker() -> Iterator[int]:
    """mosquitto on a free port."""
    port = free_port()
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / "mosquitto.conf"
        conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nlog_type none\n")
        with running(program, "-c", str(conf), stderr=subprocess.DEVNULL):
            wait_for(lambda: listens(port), 10, "broker")
            yield port


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def wait_for(done: Callable[[], bool], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.005)


def cpu_seconds(pid: int) -> float:
    """CPU seconds of all living threads of a process, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def server(module: str, *options: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]], threading.Thread]]:
    """A server of the bench: what it says of itself, what it prints afterwards, and who reads that until it ends."""
    with running(PYTHON, "-m", f"tests.bench.{module}", *options, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        itself = json.loads(child.stdout.readline())
        said: list[dict[str, Any]] = []
        reader = threading.Thread(
            target=lambda: said.extend(json.loads(line) for line in child.stdout or ()), daemon=True
        )
        reader.start()
        yield itself, said, reader


@contextlib.contextmanager
def world(devices: int, channels: int, flip: float = 0.0) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
    """The Modbus server: its ports, and what it prints afterwards."""
    options = ("--devices", str(devices), "--channels", str(channels), "--flip", str(flip))
    with server("world", *options) as (itself, said, _):
        yield itself["ports"], said


@contextlib.contextmanager
def agent(path: Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    env = {**os.environ, **MEMORY, **(env or {})}
    log = (path.parent / "agent.log").open("w")
    with log, running(PYTHON, "-m", "agent.cli", "run", "-c", str(path), stdout=log, stderr=log, env=env) as child:
        yield child


def percentile_ms(seconds: Sequence[float], percent: int) -> float:
    """In ms; NaN from fewer than two."""
    if len(seconds) < 2:
        return float("nan")
    return 1000 * statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]
