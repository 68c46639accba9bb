"""Where each row of an SQLite file lies, byte for byte, in the database or in its log. By SQLite's fileformat2.html.

Only what the rigs need: tables with an INTEGER PRIMARY KEY, files that are whole.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

LEAF, INTERIOR = 13, 5  # kinds of page of a table
WAL_HEAD, FRAME_HEAD = 32, 24  # bytes


class Place(NamedTuple):
    """A stretch of bytes in a file."""

    file: Path
    start: int
    end: int


class File:
    """A database and its log, read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wal = path.with_name(path.name + "-wal")
        self._texts = {path: path.read_bytes()}
        self.size = struct.unpack_from(">H", self._texts[path], 16)[0]  # of a page
        self._frames: dict[int, int] = {}  # page -> where its newest committed image begins in the log
        if self.wal.exists() and self.wal.stat().st_size:
            self._texts[self.wal] = self.wal.read_bytes()
            self._log(self._texts[self.wal])

    def _log(self, text: bytes) -> None:
        salt, fresh = text[16:24], {}
        for at in range(WAL_HEAD, len(text) - FRAME_HEAD - self.size + 1, FRAME_HEAD + self.size):
            page, commit = struct.unpack_from(">II", text, at)
            if text[at + 8 : at + 16] != salt:
                break  # of an earlier round
            fresh[page] = at + FRAME_HEAD
            if commit:
                self._frames |= fresh
                fresh = {}

    def page(self, n: int) -> tuple[Path, int]:
        """In which file the page stands, and where."""
        return (self.wal, self._frames[n]) if n in self._frames else (self.path, (n - 1) * self.size)

    def rows(self, root: int) -> dict[int, list[Place]]:
        """Of the table with this root page, row id -> where its cell and, for a long one, its overflow pages lie."""
        found: dict[int, list[Place]] = {}
        pages = [root]
        while pages:
            n = pages.pop()
            file, at = self.page(n)
            text = self._texts[file]
            head = at + (100 if n == 1 else 0)
            kind, count = text[head], struct.unpack_from(">H", text, head + 3)[0]
            cells = struct.unpack_from(f">{count}H", text, head + (12 if kind == INTERIOR else 8))
            if kind == INTERIOR:
                pages += [struct.unpack_from(">I", text, at + cell)[0] for cell in cells]
                pages.append(struct.unpack_from(">I", text, head + 8)[0])
                continue
            assert kind == LEAF, f"page {n} of {self.path} is of kind {kind}"
            for cell in cells:
                length, start = _varint(text, at + cell)
                row, start = _varint(text, start)
                local = self._local(length)
                found[row] = [Place(file, at + cell, start + local)]
                if local < length:
                    self._overflow(found[row], struct.unpack_from(">I", text, start + local)[0], length - local)
        return found

    def _local(self, length: int) -> int:
        """How much of the row lies in its cell; file format 1.6."""
        most, least = self.size - 35, (self.size - 12) * 32 // 255 - 23
        if length <= most:
            return length
        some = least + (length - least) % (self.size - 4)
        return some if some <= most else least

    def _overflow(self, places: list[Place], page: int, left: int) -> None:
        while left > 0:
            file, at = self.page(page)
            places.append(Place(file, at + 4, at + 4 + min(left, self.size - 4)))
            left -= self.size - 4
            page = struct.unpack_from(">I", self._texts[file], at)[0]


def _varint(text: bytes, at: int) -> tuple[int, int]:
    """The number, and where it ends."""
    value = 0
    for n in range(9):
        byte = text[at + n]
        if n == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 127
        if byte < 128:
            return value, at + n + 1
    raise AssertionError
