"""One line for each transition, key=value, to standard output. A healthy day is a short log.

A thread of its own writes: a pipe that nobody reads and a full disk must not stop a sentry. What could
not be written is counted, and the count is written when writing is possible again.

Under systemd each line begins with its priority (sd-daemon(3)), so that `journalctl -p warning` is a short list.
"""

from __future__ import annotations

import atexit
import os
import queue
import sys
import threading
from typing import Any, TextIO

LINES = 1000  # that may wait
PATIENCE = 1.0  # s that the end of the process waits for the last lines
ALARMS = {"red": 2, "orange": 3, "yellow": 4, "blue": 5}  # critical, error, warning, notice; syslog(3)
ERRORS = {"broken", "crashed", "failed", "full", "wrong"}  # last words of kinds
WARNINGS = {"asyncio", "degraded", "dim", "dropped", "late", "lost", "orphan", "refused", "trouble"}
INFO = 6


def line(kind: str, **facts: Any) -> str:
    """The text of one line.

    >>> line("device-lost", source="heading", text="no reply in 0.5 s")
    'device-lost source=heading text="no reply in 0.5 s"'
    """
    return " ".join([kind, *(f"{key}={_shown(value)}" for key, value in facts.items() if value not in ("", None))])


def divert(stream: TextIO) -> None:
    """Write to another stream from now on: the standard output is somebody's JSON."""
    _WRITER.stream = stream


def priority(kind: str, **facts: Any) -> int:
    """How much it matters, as syslog(3) counts: 3 is an error, 6 is news.

    >>> priority("line-lost", source="net"), priority("order-failed"), priority("alarm-raised", level="red")
    (4, 3, 2)
    """
    if kind == "alarm-raised":
        return ALARMS.get(facts.get("level", ""), INFO)
    word = kind.rpartition("-")[2]
    return 3 if word in ERRORS else 4 if word in WARNINGS else INFO


def is_journal() -> bool:
    """Whether the standard output goes to journald, which takes the priority off each line; systemd.exec(5)."""
    try:
        seen = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{seen.st_dev}:{seen.st_ino}"


def say(kind: str, **facts: Any) -> None:
    """Write one line soon. Never blocks, never raises."""
    text = line(kind, **facts)
    _WRITER.put(f"<{priority(kind, **facts)}>{text}" if is_journal() else text)


class _Writer:
    def __init__(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue(LINES)
        self._lost = 0
        self.stream: TextIO | None = None  # the standard output
        self._thread: threading.Thread | None = None

    def put(self, text: str) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="log", daemon=True)
            self._thread.start()
            atexit.register(self.flush)
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self._lost += 1

    def flush(self) -> None:
        """Wait a little until what was said is written."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, PATIENCE)

    def _write(self) -> None:
        while True:
            text = self._lines.get()
            lost, self._lost = self._lost, 0
            if lost:
                text += f"\n{'<4>' * is_journal()}log-lost lines={lost}"
            try:
                print(text, flush=True, file=self.stream)
            except (OSError, ValueError):
                self._lost += lost + 1
            finally:
                self._lines.task_done()


_WRITER = _Writer()


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return _shown(",".join(f"{k}:{v}" for k, v in value.items()))
    text = str(value).replace("\n", " ")
    return '"' + text.replace('"', "'") + '"' if not text or any(c in text for c in ' "=') else text
