"""Faults of a disk, on command: a preloaded library (shim.c) and the shared memory by which it is told what to do.

shim = Shim(case.folder)                                    compiles; `Skip` where there is no gcc
faults = Faults(case.folder / "faults", state)              for one directory of one process
running(site, env=shim.env(faults))
faults.arm("EIO", "sync", nth=3)                            the third sync from now fails, once
faults.heal()
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import time
from pathlib import Path
from typing import Literal

from tests.rigs.trial import Skip

Kind = Literal["sync", "write", "change"]
Mode = Literal["EIO", "ENOSPC", "stall", "EROFS"]
KINDS: tuple[Kind, ...] = ("sync", "write", "change")  # `change`: open for writing, rename, unlink, truncate, mkdir
MODES: tuple[Mode, ...] = ("EIO", "ENOSPC", "stall", "EROFS")
CONTROL = struct.Struct("II3Q3Q3Q3Qdd256s")  # `struct control` of shim.c
FIRST, LAST, COUNT, HIT, UNTIL, MET, PATH = 8, 32, 56, 80, 104, 112, 120  # offsets in it
EVER = 2**63


class Faults:
    """What one process is to suffer below one directory. Counts of calls are the shim's own."""

    def __init__(self, path: Path, below: Path) -> None:
        self.path, self.below = path, below.resolve()
        path.write_bytes(bytes(CONTROL.size))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), CONTROL.size)

    def arm(self, mode: Mode, *kinds: Kind, nth: int = 1, ever: bool = False, seconds: float = 0.0) -> None:
        """The `nth` call from now fails, and with `ever` all that follow. A stall ends `seconds` from now."""
        for kind in kinds:
            first = self._read(COUNT, kind) + nth
            self._write(FIRST, kind, first)
            self._write(LAST, kind, EVER if ever else first)
            self._write(HIT, kind, 0)
        struct.pack_into("dd256s", self._shared, UNTIL, time.monotonic() + seconds, 0.0, b"")
        struct.pack_into("I", self._shared, 4, sum(1 << KINDS.index(kind) for kind in kinds))
        struct.pack_into("I", self._shared, 0, 1 + MODES.index(mode))

    def heal(self) -> None:
        """The disk is well again; who stalls goes on."""
        struct.pack_into("I", self._shared, 0, 0)

    def count(self, kind: Kind) -> int:
        """Calls of this kind since the start."""
        return self._read(COUNT, kind)

    @property
    def met(self) -> float:
        """When the first call failed or hung since `arm`, monotonic s; 0 where none did yet."""
        return float(struct.unpack_from("d", self._shared, MET)[0])

    @property
    def victim(self) -> str:
        """The file of that call."""
        return Path(struct.unpack_from("256s", self._shared, PATH)[0].split(b"\0")[0].decode()).name

    def _read(self, at: int, kind: Kind) -> int:
        return int(struct.unpack_from("Q", self._shared, at + 8 * KINDS.index(kind))[0])

    def _write(self, at: int, kind: Kind, value: int) -> None:
        struct.pack_into("Q", self._shared, at + 8 * KINDS.index(kind), value)


class Shim:
    """The library, compiled for this machine."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("gcc") is None:
            raise Skip("the shim of I/O faults needs gcc")
        self.library = folder / "shim.so"
        source = Path(__file__).with_name("shim.c")
        flags = ["-O2", "-shared", "-fPIC", "-D_LARGEFILE64_SOURCE", "-o", str(self.library), str(source), "-ldl"]
        subprocess.run(["gcc", *flags], check=True, capture_output=True)

    def env(self, faults: Faults) -> dict[str, str]:
        """What a process must be started with."""
        return {"LD_PRELOAD": str(self.library), **of(faults)}


def of(faults: Faults) -> dict[str, str]:
    """The same for one that has the library already."""
    return {"VEDETTE_FAULTS": str(faults.path), "VEDETTE_BELOW": str(faults.below)}
