"""A storage device at sector level, for SQLite: what was written and not synced may be torn, dropped, reordered, noise.

`Card` is an SQLite VFS that keeps a list of what has not been synced; `Card.cut` copies the files as a power cut might
have left them. The writer goes on: thousands of cuts in a minute, at any instant of a transaction. `Connection` is a
connection through it that has what `agent/store.py` asks of one.

A write that was not synced is kept whole (40 %), noise (3 %), or else dropped or torn after some of its sectors, and
the later ones are treated first, so that an early write may win over a late one. Bytes beside a write are never harmed:
that is what SQLite calls power-safe overwrite, and assumes. Files are never lost with their directory entry; the ext4
cuts of `tests/rigs/disk.py` see to that.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apsw

SECTOR = 512  # bytes
KEPT, NOISE = 0.40, 0.03  # of the writes that were not synced


class Write(NamedTuple):
    """One write that is not yet sure. A truncation writes nothing over what was there."""

    file: Path
    offset: int
    new: bytes
    old: bytes  # shorter than `new` where the file ended


class Card(apsw.VFS):
    """The device. `event` is called before every write and every sync: a good moment for a cut.

    `heeds_sync` False: a device, or a program, for which a sync does nothing.
    """

    def __init__(self, name: str, heeds_sync: bool = True) -> None:
        super().__init__(name, "unix")
        self.name = name
        self.heeds_sync = heeds_sync
        self.unsure: list[Write] = []
        self.event: Callable[[], None] = lambda: None

    def connect(self, path: Path) -> Connection:
        return Connection(str(path), vfs=self.name)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return Sectors(self, name, flags)

    def cut(self, folder: Path, to: Path, rng: random.Random) -> None:
        """The folder as the power cut left it, in the new folder `to`."""
        shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*-shm"))
        for write in reversed(self.unsure):
            chance = rng.random()
            if chance < KEPT or not (to / write.file.name).exists():
                continue
            with (to / write.file.name).open("r+b") as file:
                if chance < KEPT + NOISE:
                    file.seek(write.offset)
                    file.write(rng.randbytes(len(write.new)))
                else:
                    sectors = max(1, -(-len(write.new) // SECTOR))
                    _put_back(file.fileno(), write, SECTOR * rng.randrange(sectors))
                    _put_back(file.fileno(), write, SECTOR * rng.randrange(sectors))

    def forget(self) -> None:
        """The files are done with."""
        self.unsure.clear()


def _put_back(file: int, write: Write, keep: int) -> None:
    """Undo the write but for its first `keep` bytes."""
    end, size = write.offset + max(len(write.new), len(write.old)), os.fstat(file).st_size
    os.pwrite(file, write.old[keep:], write.offset + keep)
    left = write.offset + max(keep, len(write.old))
    if left < end:  # the file grew with this write
        if size <= end:
            os.ftruncate(file, min(size, left))
        else:
            os.pwrite(file, bytes(end - left), left)


class Sectors(apsw.VFSFile):
    """One file of a card."""

    def __init__(self, card: Card, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self.card = card
        self.path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name)
        self.file = os.open(self.path, os.O_RDONLY)

    def xWrite(self, data: bytes, offset: int) -> None:
        self.card.event()
        self.card.unsure.append(Write(self.path, offset, bytes(data), os.pread(self.file, len(data), offset)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self.card.event()
        self.card.unsure.append(Write(self.path, size, b"", os.pread(self.file, 2**30, size)))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        """What was written to this file is sure. The disk under the card is not asked: it need not be slow."""
        self.card.event()
        if self.card.heeds_sync:
            self.card.unsure = [write for write in self.card.unsure if write.file != self.path]

    def xClose(self) -> None:
        os.close(self.file)
        super().xClose()


class Connection(apsw.Connection):
    """What `agent/store.py` calls a connection, on another SQLite than Python's own."""

    def executescript(self, script: str) -> None:
        self.execute(script)
