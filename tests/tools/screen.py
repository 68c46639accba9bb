"""A terminal for programs that draw: a real pseudo-terminal, read by an emulator that is not ours (pyte)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyte

SECONDS = 30.0


class Screen:
    """What a person sees of one program, and the keys that he presses."""

    def __init__(
        self, words: Sequence[str], wide: int = 80, tall: int = 24, env: Mapping[str, str] | None = None
    ) -> None:
        self.screen = pyte.Screen(wide, tall)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._master, slave = pty.openpty()
        self._size(wide, tall)
        self.before = termios.tcgetattr(slave)
        # pytest-xdist tells its workers COLUMNS, which would be this terminal's width for ever
        usual = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONIOENCODING": "utf-8"}
        self._slave = slave  # held, so that the settings can be looked at after the end
        self.process = subprocess.Popen(
            words,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | usual | dict(env or {}),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def _size(self, wide: int, tall: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", tall, wide, 0, 0))

    def resize(self, wide: int, tall: int) -> None:
        """As if somebody drew the window larger; the kernel tells the program."""
        self.screen.resize(tall, wide)
        self._size(wide, tall)

    @property
    def text(self) -> str:
        """What stands there now. The second half of a wide letter is no letter."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def read(self, seconds: float = 0.05) -> bool:
        """Take in what the program wrote; whether it wrote anything."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the program is gone
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def until(self, what: str | Callable[[str], object], seconds: float = SECONDS) -> str:
        """Read until that is on the screen; all of it."""
        end = time.monotonic() + seconds
        while not (what in self.text if isinstance(what, str) else what(self.text)):
            assert time.monotonic() < end, f"not within {seconds} s: {what}\n{self.text}"
            self.read()
        return self.text

    def ended(self, seconds: float = SECONDS) -> int:
        """Its exit code."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end\n{self.text}"
            self.read()
        while self.read(0.05):
            pass
        return self.process.wait()

    def is_as_before(self) -> bool:
        """Whether the terminal has the settings that it had, the first screen and its cursor."""
        return (
            termios.tcgetattr(self._slave) == self.before
            and not self.screen.cursor.hidden
            and self.raw.count(b"\x1b[?1049h") == self.raw.count(b"\x1b[?1049l")
        )

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)


@contextlib.contextmanager
def screen(
    words: Sequence[str], wide: int = 80, tall: int = 24, env: Mapping[str, str] | None = None
) -> Iterator[Screen]:
    """A program on a screen; it ends with it."""
    one = Screen(words, wide, tall, env)
    try:
        yield one
    finally:
        one.close()
