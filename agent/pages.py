"""SQLite's files read without SQLite: what is left of a database that it refuses, and a log that it would cut short.

Nothing here decides what is true: a row that was read this way counts only if its checksum holds. After
https://www.sqlite.org/fileformat2.html; the section is named where a number comes from it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

Column = int | float | str | bytes | None
TABLE, INDEX = 13, 10  # kinds of leaf: of a table, and of an index or a table WITHOUT ROWID; 1.6
LOG, FRAME = 32, 24  # bytes of the log's head, and of that before each page in it; 4.1
LOG_MOST = 64 << 20  # bytes; ours has 4 MB at most, or somebody else made it
LONGEST = 1 << 24  # bytes of a row; project: a batch of 8192 cells has at most 200 kB
INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # bytes by kind of column; 2.1


class Spot(NamedTuple):
    """Where a row begins."""

    page: int
    at: int  # byte in the page
    kind: int  # of the page


class Pages:
    """The pages of a database as its log leaves them, `size` bytes each. Raises `OSError` where it cannot be read."""

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self._file = path.open("rb")
        self._count = -(-path.stat().st_size // size)
        log = path.with_name(path.name + "-wal")
        self._log = log.read_bytes() if log.exists() and log.stat().st_size < LOG_MOST else b""
        self._frames = {page: at + FRAME for at, page, _ in frames(self._log, size)}

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def page(self, n: int) -> bytes:
        """Page `n`, from 1; shorter than `size` where the file ends, empty where there is no such page."""
        if (at := self._frames.get(n)) is not None:
            return self._log[at : at + self.size]
        self._file.seek(max(0, n - 1) * self.size)
        return self._file.read(self.size) if n else b""

    def spots(self) -> Iterator[Spot]:
        """Where a row may begin, page by page; not in pages that are known to be free."""
        free = self._free()
        for n in range(1, max([self._count, *self._frames]) + 1):
            if n in free:
                continue
            text = self.page(n)
            head = 100 if n == 1 else 0
            if len(text) < head + 8 or text[head] not in (TABLE, INDEX):
                continue
            count = min(int.from_bytes(text[head + 3 : head + 5]), (self.size - head - 8) // 2)
            for i in range(count):
                yield Spot(n, int.from_bytes(text[head + 8 + 2 * i : head + 10 + 2 * i]), text[head])

    def _free(self) -> set[int]:
        """Pages on the list of free pages (1.5), as far as it can be followed."""
        free: set[int] = set()
        trunk = int.from_bytes(self.page(1)[32:36])
        while trunk and trunk not in free:
            free.add(trunk)
            text = self.page(trunk)
            count = min(int.from_bytes(text[4:8]), self.size // 4 - 2)
            free.update(int.from_bytes(text[8 + 4 * i : 12 + 4 * i]) for i in range(count))
            trunk = int.from_bytes(text[:4])
        return free

    def row(self, spot: Spot) -> tuple[Column, ...] | None:
        """The row there, its key in the place of an INTEGER PRIMARY KEY; None where there is none."""
        text = self.page(spot.page)
        try:
            length, at = number(text, spot.at)
            key, at = number(text, at) if spot.kind == TABLE else (None, at)
            if length > LONGEST:
                return None
            local = self._local(length, spot.kind)
            payload = text[at : at + local]
            page = int.from_bytes(text[at + local : at + local + 4])
            while len(payload) < length and (more := self.page(page)[: length - len(payload) + 4]):
                payload, page = payload + more[4:], int.from_bytes(more[:4])
            columns = record(payload)
        except (IndexError, ValueError):
            return None
        return (key, *columns[1:]) if key is not None and columns and columns[0] is None else columns

    def _local(self, length: int, kind: int) -> int:
        """How many bytes of a row stand in its own page; 1.6."""
        most = self.size - 35 if kind == TABLE else (self.size - 12) * 64 // 255 - 23
        least = (self.size - 12) * 32 // 255 - 23
        some = least + (length - least) % (self.size - 4)
        return length if length <= most else some if some <= most else least


def number(text: bytes, at: int) -> tuple[int, int]:
    """The variable-length number there (1.6), and where it ends. Raises `IndexError` at the end of the text.

    >>> number(bytes([0x81, 0x00]), 0)
    (128, 2)
    """
    value = 0
    for end in range(at, at + 8):
        value = value << 7 | text[end] & 127
        if text[end] < 128:
            return value, end + 1
    return value << 8 | text[at + 8], at + 9


def record(payload: bytes) -> tuple[Column, ...]:
    """The columns of a row (2.1). Raises `IndexError` or `ValueError` where it is none."""
    end, at = number(payload, 0)
    kinds = []
    while at < end:
        kind, at = number(payload, at)
        kinds.append(kind)
    columns: list[Column] = []
    for kind in kinds:
        size = INTEGERS.get(kind, 8 if kind == 7 else max(0, kind - 12) // 2)
        text = payload[at : at + size]
        if len(text) < size:
            raise ValueError("the row is cut short")
        columns.append(column(kind, text))
        at += size
    return tuple(columns)


def column(kind: int, text: bytes) -> Column:
    """What its bytes say, by the kind of column."""
    if kind in INTEGERS:
        return int.from_bytes(text, signed=True)
    if kind == 7:
        return float(struct.unpack(">d", text)[0])
    if kind < 12:
        return {8: 0, 9: 1}.get(kind)
    return text if kind % 2 == 0 else text.decode(errors="replace")


# -- the log ------------------------------------------------------------------------------------------


def frames(log: bytes, size: int) -> Iterator[tuple[int, int, bool]]:
    """Of each committed frame of the log's present round, where it begins, its page, whether it ends a transaction.

    The checksums are not looked at.
    """
    waiting = []
    for at in range(LOG, len(log) - FRAME - size + 1, FRAME + size):
        page, commit = struct.unpack_from(">II", log, at)
        if log[at + 8 : at + 16] != log[16:24]:
            return
        waiting.append((at, page, commit > 0))
        if commit:
            yield from waiting
            waiting = []


def mended(log: bytes, size: int) -> bytes | None:
    """The log with right checksums, where damage would make SQLite forget what was committed; None where it would not.

    SQLite reads the log up to the first frame whose checksum, which runs on from the frame before it, is wrong (4.2).
    Behind a power cut that is right: it tears the last transaction only, for each is synced before the next begins, and
    what follows a wrong frame then is the rest of one transaction. Where it is more, the file was damaged. With its
    checksums mended all of it is read, and the rows that were hit fail their own.
    """
    order = "<" if log[3:4] == b"\x82" else ">"
    sums: tuple[int, ...] = struct.unpack(">II", log[24:LOG]) if len(log) >= LOG else (0, 0)
    wrong, commits, damaged = 0, 0, False  # commits since the last wrong frame
    places = list(range(LOG, len(log) - FRAME - size + 1, FRAME + size))
    for n, at in enumerate(places):
        if not is_near(log[at + 8 : at + 16], log[16:24]):
            places = places[:n]  # of an earlier round
            break
        said = struct.unpack_from(">II", log, at + 16)
        if chained(log, at, size, order, sums) != said or log[at + 8 : at + 16] != log[16:24]:
            wrong, commits = wrong + 1, 0
        commits += any(log[at + 4 : at + 8])
        damaged |= wrong > 0 and commits > 1
        sums = said
    if not damaged:
        return None
    text, sums = bytearray(log), struct.unpack(">II", log[24:LOG])
    for at in places:
        sums = chained(log, at, size, order, sums)
        text[at + 8 : at + 16] = log[16:24]
        struct.pack_into(">II", text, at + 16, *sums)
    return bytes(text)


def is_near(a: bytes, b: bytes) -> bool:
    """Whether so few bits differ that it was damage."""
    return (int.from_bytes(a) ^ int.from_bytes(b)).bit_count() <= 2


def chained(log: bytes, at: int, size: int, order: str, sums: tuple[int, ...]) -> tuple[int, ...]:
    """The running checksum (4.2) after the frame at `at`, `sums` before it."""
    a, b = sums
    for start, length in ((at, 8), (at + FRAME, size)):
        words = struct.unpack_from(f"{order}{length // 4}I", log, start)
        for x, y in zip(words[::2], words[1::2], strict=True):
            a = (a + x + b) & 0xFFFFFFFF
            b = (b + y + a) & 0xFFFFFFFF
    return a, b
