"""A process that lives a scene and is killed at a chosen moment. Imports once, forks for each life.

    python -m tests.tools.guillotine MODULE:FUNCTION [FILE...]
    input: a line "K FOLDER" for each life: FUNCTION(FOLDER) runs, and SIGKILL comes before the K-th line of the FILEs
           that is executed, in whatever thread; K = 0: never. Without FILEs: before the K-th call that opens, renames,
           removes or changes something in FOLDER, which leaves it in all the same states, and takes less.
    output: "killed" or "ended"

`Guillotine` holds the other end.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

TOUCHES = {"open", "os.rename", "os.remove", "os.chmod", "os.mkdir", "os.truncate", "os.link"}  # audit events


class Guillotine:
    """Lives of one scene."""

    def __init__(self, scene: str, *files: str) -> None:
        command = [sys.executable, "-m", "tests.tools.guillotine", scene, *files]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def life(self, folder: Path, kill_at: int = 0) -> bool:
        """One life. Whether it was killed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{kill_at} {folder}\n")
        self.process.stdin.flush()
        word = self.process.stdout.readline().strip()
        assert word in ("killed", "ended"), f"a life failed: {word}"
        return word == "killed"

    def __enter__(self) -> Guillotine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


def live(scene: Any, files: list[str], kill_at: int, folder: Path) -> None:
    """In the child: never returns."""
    count = 0
    lock = threading.Lock()

    def line(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        if event == "line":
            with lock:
                count += 1
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
        return line

    def asked(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if kill_at and event in TOUCHES and str(args[0]).startswith(str(folder)):
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def call(frame: FrameType, event: str, arg: object) -> Any:
        return line if frame.f_code.co_filename.endswith(tuple(files)) else None

    try:
        if not files:
            sys.addaudithook(asked)
        elif kill_at:
            threading.settrace(call)
            sys.settrace(call)
        scene(folder)
        sys.settrace(None)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main(scene: str, *files: str) -> None:
    module, _, name = scene.partition(":")
    act = getattr(importlib.import_module(module), name)
    for order in sys.stdin:
        kill_at, _, folder = order.strip().partition(" ")
        pid = os.fork()
        if pid == 0:
            live(act, list(files), int(kill_at), Path(folder))
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("killed" if killed else "ended" if status == 0 else f"failed {status}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
