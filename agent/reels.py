"""Reels: what a camera showed, as small files of a few seconds each, in a ring under a byte budget.

    <ring>/000000042-000012345678.reel      its number, and the monotonic ms of its first picture

    "vdr1" | length, CRC-32 | JSON: `Head`                           once
           | length, CRC-32 | monotonic s, wall s (float64), a JPEG  for each picture

A length is of what follows the CRC, all numbers little-endian. A picture is written in one piece and counts when its
CRC fits; what stands behind the last one that fits is a torn tail, and is neither shown nor an error. The numbers order
the reels of a ring, the monotonic time of one run of the kernel the pictures; the wall clock only labels.

Whoever wants a reel to stay makes a second name for it (a hard link): the ring takes away names, never pictures that
somebody holds. Nothing here knows what a picture is.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Struct

MAGIC = b"vdr1"
PART = struct.Struct("<II")  # bytes that follow, and their CRC-32
STAMP = struct.Struct("<dd")  # monotonic s, wall s
LARGEST = 16 << 20  # bytes of one picture; what claims to be larger is damage
SUFFIX = ".reel"
LEAST = 2  # reels that a ring keeps whatever its budget: the one that is written and the one before
PROCESS = f"process {secrets.token_hex(8)}"  # this one
NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}  # there it takes a copy: another disk, or FAT


class Head(Struct, frozen=True):
    """What is true of all pictures of a reel."""

    camera: str
    kernel: str  # of `run_of`: where the monotonic times can be compared
    masks: tuple[tuple[tuple[float, float], ...], ...] = ()  # polygons painted over, as shares of width and height
    veiled: bool = False  # what it was told to make unknowable (faces, say) is so


class Shot(NamedTuple):
    """One picture."""

    mono: float  # s
    wall: float  # s UTC, a label
    jpeg: bytes


class Reel(NamedTuple):
    """A file of a ring."""

    path: Path
    number: int
    begin: float  # monotonic s of its first picture


def folder_of(shelf: Path, camera: str) -> Path:
    """Where the ring of a camera lies if nobody says otherwise."""
    return shelf / "ring" / f"{quote(camera, safe='')}.ring"


def run_of(kernel: str) -> str:
    """A name for the stretch in which monotonic times can be compared: the run of the kernel, and where nobody knows
    that, of this process (`ProcSubset=pid` of systemd hides it)."""
    return kernel or PROCESS


# -- reading ------------------------------------------------------------------------------------------


def part(body: bytes) -> bytes:
    """A stretch as it stands in a file.

    >>> part(b"ab").hex()
    '020000006d48839e6162'
    """
    return PART.pack(len(body), zlib.crc32(body)) + body


def found(folder: Path) -> list[Reel]:
    """The reels of a ring, oldest first; none where there is no ring."""
    reels = []
    for path in folder.glob(f"*{SUFFIX}"):
        number, _, begin = path.stem.partition("-")
        if number.isdigit() and begin.isdigit():
            reels.append(Reel(path, int(number), int(begin) / 1000.0))
    return sorted(reels, key=lambda reel: reel.number)


def within(reels: list[Reel], begin: float, end: float) -> list[Reel]:
    """Those that may hold pictures between two monotonic times of one run of the kernel: a reel ends where the next
    begins. After a new start of the machine the times of its neighbours mean nothing, and it is looked at whole.

    >>> row = [Reel(Path(str(t)), i, float(t)) for i, t in enumerate((0, 2, 4, 6))]
    >>> [reel.number for reel in within(row, 2.5, 4.0)]
    [1, 2]
    """
    ends = [*(after.begin for after in reels[1:]), float("inf")][: len(reels)]
    return [
        reel for reel, stop in zip(reels, ends, strict=True) if reel.begin <= end and not reel.begin <= stop < begin
    ]


def shots(path: Path) -> tuple[Head | None, Iterator[Shot]]:
    """What a reel says of itself, None where that is damaged, and its pictures. Raises `OSError`."""
    parts = _parts(path.read_bytes())
    try:
        head = msgspec.json.decode(next(parts, b""), type=Head)
    except msgspec.DecodeError:
        return None, iter(())
    return head, (_shot(body) for body in parts if len(body) > STAMP.size)


def _shot(body: bytes) -> Shot:
    mono, wall = STAMP.unpack_from(body)
    return Shot(mono, wall, body[STAMP.size :])


def _parts(text: bytes) -> Iterator[bytes]:
    """The stretches of a file up to the first that is torn."""
    at = len(MAGIC) if text.startswith(MAGIC) else len(text)
    while at + PART.size <= len(text):
        size, crc = PART.unpack_from(text, at)
        body = text[at + PART.size : at + PART.size + size]
        if size > LARGEST or len(body) < size or zlib.crc32(body) != crc:
            return
        yield body
        at += PART.size + size


def take(reel: Path, folder: Path) -> None:
    """Keep a reel under the same name in `folder`, whatever becomes of the ring. Raises `OSError`.

    One that was copied while it was written is copied again when it is asked for again.
    """
    to = folder / reel.name
    try:
        os.link(reel, to)
    except FileExistsError:
        there, mine = reel.stat(), to.stat()
        if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino) and there.st_size > mine.st_size:
            shutil.copyfile(reel, to)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copyfile(reel, to)


# -- writing ------------------------------------------------------------------------------------------


class Ring:
    """Writes a ring. Everything here blocks. One owner at a time; a reel is never gone on with.

    `budget`: bytes of the whole ring. `span`: s of a reel. `floor`: bytes of the disk that are to stay free.
    """

    def __init__(self, folder: Path, head: Head, budget: int, span: float, floor: int = 0) -> None:
        self.folder, self.head, self.budget, self.span, self.floor = folder, head, budget, span, floor
        self._fd = -1
        self._begin = 0.0  # monotonic s of the reel that is written
        self._number = 0
        self._size = 0  # bytes of it
        self._held: dict[Path, int] | None = None  # bytes of the finished ones, oldest first; None: nobody looked

    def put(self, shot: Shot) -> None:
        """One picture more. Raises `OSError`, and has forgotten the reel then: the next picture begins another."""
        try:
            if self._fd < 0 or shot.mono - self._begin >= self.span:
                self._turn(shot)
            block = part(STAMP.pack(shot.mono, shot.wall) + shot.jpeg)
            done = 0
            while done < len(block):
                done += os.write(self._fd, memoryview(block)[done:])
            self._size += len(block)
        except OSError:
            self.close(durable=False)
            raise

    def close(self, durable: bool = True) -> None:
        """The reel is finished. A power cut takes none that is; raises `OSError` where the disk does not take it."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if durable:
                os.fdatasync(fd)
        finally:
            os.close(fd)
            if self._held is not None:
                self._held[self._path] = self._size

    def _turn(self, shot: Shot) -> None:
        self.close()
        if self._held is None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            reels = found(self.folder)
            self._held = {reel.path: reel.path.stat().st_size for reel in reels}
            self._number = max((reel.number for reel in reels), default=0)
        self._make_room(self._held)
        self._number += 1
        self._begin = shot.mono
        self._path = self.folder / f"{self._number:09d}-{max(0, int(1000 * shot.mono)):012d}{SUFFIX}"
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        text = MAGIC + part(msgspec.json.encode(self.head))
        self._size = os.write(self._fd, text)

    def _make_room(self, held: dict[Path, int]) -> None:
        """The oldest go: for the budget, and where the disk has less left than it should. Raises `OSError`."""
        ahead = max(held.values(), default=0)  # the next one will be about as large

        def is_short() -> bool:
            stat = os.statvfs(self.folder)
            return stat.f_bavail * stat.f_frsize < self.floor + ahead

        while len(held) >= LEAST and (sum(held.values()) + ahead > self.budget or is_short()):
            oldest = next(iter(held))
            oldest.unlink(missing_ok=True)
            del held[oldest]
        if is_short():
            raise OSError(errno.ENOSPC, f"less than {self.floor >> 20} MB of the disk are free")
