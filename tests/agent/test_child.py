"""Processes for pictures that are not ours: a program of systemd starts one for each connection, as its unit does."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent import child
from agent.core.errors import LineLost
from drivers.video import said as said_of
from drivers.video_child import Order, Said

pytest.importorskip("cv2")
from simulators.video import CameraServer

ACTIVATE = shutil.which("systemd-socket-activate")
LIMIT = 30.0  # s


@pytest.fixture
def agency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    if ACTIVATE is None:
        pytest.skip("no systemd-socket-activate: apt install systemd")
    path = tmp_path / "video.sock"
    command = [ACTIVATE, "--listen", str(path), "--accept", "--inetd", f"--setenv=PYTHONPATH={child.ROOT}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, sys.executable, "-P", "-m", "agent.hired"], stdout=log, stderr=log)
    monkeypatch.setenv(child.SOCKET, str(path))
    end = time.monotonic() + LIMIT
    while b"Listening" not in (tmp_path / "log").read_bytes() and time.monotonic() < end:
        time.sleep(0.01)
    yield process
    process.terminate()
    process.wait()


def hired(agency: subprocess.Popen[bytes]) -> list[int]:
    """Process ids of those that it started and that live."""
    text = Path(f"/proc/{agency.pid}/task/{agency.pid}/children").read_text()
    states = {int(pid): Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in text.split()}
    return [pid for pid, state in states.items() if state != "Z"]


def order(url: str, parent: int) -> Order:
    return Order(url=url, parent=parent, sample=0.05, width=320, height=240, opening=9, reading=9, loop=False)


def test_a_process_of_systemd_does_what_a_child_does_and_is_killed_from_here(
    agency: subprocess.Popen[bytes],
) -> None:
    before = child.died[0]

    async def story() -> None:
        camera = CameraServer()
        await camera.start()
        try:
            async with asyncio.timeout(LIMIT):
                errors = bytearray()
                wanted = order(camera.url, parent=1)  # which is nobody that it could know
                async with child.started("drivers.video_child", wanted, ("PATH",), errors) as lines:
                    said = [msgspec.json.decode(await lines.readline(), type=Said).say for _ in range(4)]
                    (pid,) = hired(agency)
                    assert os.getppid() != pid
                    os.kill(pid, signal.SIGSTOP)  # it could not even notice that nobody wants it any longer
                assert said == ["ready", "open", "picture", "picture"]
                while hired(agency):
                    await asyncio.sleep(0.01)
                async with child.started("drivers.video_child", order("http://127.0.0.1:9/", 1), (), errors) as lines:
                    while await lines.readline():
                        pass
                assert b"refused" in errors, "what it says on its standard error is heard"
                async with child.started("agent.cli", None, (), errors) as lines:
                    assert await lines.read() == b""
                assert b"no program for pictures" in errors
                assert (child.died[0] - before, child.DIED in errors) == (0, False), (
                    "killed by us, or of their own will"
                )
                errors.clear()
                async with child.started("drivers.video_child", wanted, ("PATH",), errors) as lines:
                    await lines.readline()
                    (pid,) = hired(agency)
                    os.kill(pid, signal.SIGKILL)  # as the kernel does at the limit of its memory
                    while await lines.readline():
                        pass
                assert child.died[0] - before == 1
                assert "out of memory" in said_of("", errors.decode())
        finally:
            await camera.stop()

    asyncio.run(story())


def test_where_systemd_gives_no_process_that_is_said_and_nothing_else_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(child.SOCKET, "/nowhere/video.sock")
    before = set(os.listdir("/proc/self/fd"))

    async def story() -> None:
        async with child.started("drivers.video_child", order("x", 1), ()):
            raise AssertionError("a process came from nowhere")

    with pytest.raises(LineLost, match=r"/nowhere/video\.sock"):
        asyncio.run(story())
    assert set(os.listdir("/proc/self/fd")) == before
