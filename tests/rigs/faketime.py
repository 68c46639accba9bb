"""A wall clock that a rig moves, and the kernel's word whether it can be trusted; the monotonic clock runs on.

libfaketime moves the clock of a running process (`FAKETIME_TIMESTAMP_FILE`); faketime.c answers adjtimex(2). Files
are replaced, never rewritten: the process reads them with each look at the clock.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

from tests.rigs.trial import Skip

YEAR = 365.25 * 86400.0  # s


class Offset:
    """A wall clock that is some whole seconds ahead, for a process with much to do (offset.c). Raises `Skip`."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("gcc") is None:
            raise Skip("a clock that jumps needs gcc")
        library, self._place = folder / "offset.so", folder / "offset"
        flags = ["-O2", "-shared", "-fPIC", "-o", str(library), str(Path(__file__).with_name("offset.c"))]
        subprocess.run(["gcc", *flags], check=True, capture_output=True)
        self._place.write_bytes(struct.pack("d", 0.0))
        self.env = {"LD_PRELOAD": str(library), "VEDETTE_OFFSET": str(self._place)}

    def move(self, offset: float) -> None:
        """So many seconds ahead from now on."""
        with self._place.open("r+b") as file:
            file.write(struct.pack("d", offset))


class Faketime:
    """The clock of the processes that are started with `env`. Raises `Skip` where it cannot be made."""

    def __init__(self, folder: Path) -> None:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
        if library is None:
            raise Skip("libfaketime is not installed")
        if shutil.which("gcc") is None:
            raise Skip("a clock that may not be trusted needs gcc")
        answer = folder / "faketime.so"
        flags = ["-O2", "-shared", "-fPIC", "-o", str(answer), str(Path(__file__).with_name("faketime.c"))]
        subprocess.run(["gcc", *flags], check=True, capture_output=True)
        self._offset, self._synced = folder / "offset", folder / "synced"
        self.env = {
            "LD_PRELOAD": f"{answer} {library}",
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "VEDETTE_SYNCED": str(self._synced),
        }
        self.move(0.0)
        self.trust(False)

    def move(self, offset: float) -> None:
        """The wall clock is wrong by so many seconds from now on."""
        _replace(self._offset, f"{offset:+.3f}")

    def at(self, wall: float) -> None:
        """The wall clock says `wall` (s since 1970) now."""
        self.move(wall - time.time())

    def trust(self, synced: bool) -> None:
        """What the kernel says of the clock from now on."""
        _replace(self._synced, str(int(synced)))


def _replace(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    os.replace(path.with_suffix(".new"), path)
