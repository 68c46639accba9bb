"""The journal: what was decided, in the order in which it was decided. Append only, chained, its own fate.

    journal/000001.log      segments of at most `SEGMENT` bytes; the oldest goes when the quota is full

A record is one line of three fields with tabs between them: its number, a checksum, a JSON object. The checksum is
SHA-256 over the checksum of the record before, a tab, the number, a tab, and the object, so that a record that is
changed, removed, put in or moved breaks the chain; whoever holds a later checksum can prove it. The first record of a
segment names its `previous` checksum: a chain can be checked from any segment on. Behind the last record stand zeros:
a segment grows by `AHEAD` bytes at a time, so that a record costs the card one block and no change of the file's size.

The chain shows damage and clumsy forgery. It does not stop somebody who holds the file and writes all of it anew:
for that a checksum has to be known elsewhere, and `Audit.head` is what to tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from . import durable
from .core.alarm import Alarm, Order
from .core.errors import StoreFault
from .core.ports import Event
from .hand import Hand

SEGMENT = 4 << 20  # bytes
AHEAD = 64 << 10  # bytes of zeros made at once
WRITE = 512 << 10  # bytes written at once, about; a torn write is looked for in the last twice as many
SECTOR = 512  # bytes that a disk writes whole or not at all
GENESIS = "0" * 64  # the checksum before the first record
PAUSE = 0.5  # s between two writes: what comes within goes together, to spare the card; project
WAITING = 10_000  # records kept in memory while the disk does not take them; reliability rule 1.4.6
RETRY = 5.0  # s
CLOSING = 1.0  # s for the last write

Told = Callable[[str, str, str], None]  # kind of event, whose, text


class Record(NamedTuple):
    """One line of a segment, as it claims to be."""

    n: int
    chain: str
    body: bytes


def seal(previous: str, n: int, body: bytes) -> str:
    """The checksum of a record.

    >>> seal(GENESIS, 1, b"{}")[:8]
    'f41b6dd5'
    """
    return hashlib.sha256(f"{previous}\t{n}\t".encode() + body).hexdigest()


def parse(line: bytes) -> Record | None:
    """A line of a segment without its end; None where it is no record."""
    n, _, rest = line.partition(b"\t")
    chain, _, body = rest.partition(b"\t")
    if not (n.isdigit() and len(n) < 19 and len(chain) == 64 and chain.isalnum() and body[:1] == b"{"):
        return None
    return Record(int(n), chain.decode(), body)


def segments(folder: Path) -> list[Path]:
    """The segments of a journal, oldest first."""
    return sorted(folder.glob("[0-9][0-9][0-9][0-9][0-9][0-9].log"))


def text(path: Path) -> bytes:
    """What a segment holds before its zeros, with whatever a torn write left."""
    return path.read_bytes().rstrip(b"\0")


# -- reading ------------------------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What is there, and every place where the chain does not hold."""

    records: int
    first: int  # number of the oldest record, 0 where there is none
    last: int
    head: str  # checksum of the newest record
    faults: list[str]


def verify(folder: Path) -> Verdict:
    """Check a whole journal. Raises `OSError` where it cannot be read."""
    records, first, last, head = 0, 0, 0, GENESIS
    faults: list[str] = []
    known = False  # whether `head` and `last` are what the next record must follow
    for path in segments(folder):
        lines = text(path).split(b"\n")
        if lines.pop():
            faults.append(f"{path.name}: an unfinished record at the end, after record {last}")
        for i, line in enumerate(lines):
            record = parse(line)
            if record is None:
                faults.append(f"{path.name} line {i + 1}: not a record, after record {last}")
                known = False
                continue
            if known and record.n != last + 1:
                faults.append(f"{path.name} line {i + 1}: record {record.n} follows record {last}")
            elif known or i == 0:  # behind what is no record nothing can be said of the first
                previous = head if known else _previous(record)
                if seal(previous, record.n, record.body) != record.chain:
                    faults.append(f"{path.name} line {i + 1}: record {record.n} does not fit its checksum")
            records, first, last, head, known = records + 1, first or record.n, record.n, record.chain, True
    return Verdict(records, first, last, head, faults)


def records(folder: Path) -> Iterator[Record]:
    """Every record that can be read, oldest first, whether the chain holds or not."""
    for path in segments(folder):
        yield from (record for line in text(path).split(b"\n") if (record := parse(line)) is not None)


def edges(folder: Path) -> Iterator[Alarm]:
    """Every edge of every alarm that can be read, oldest first."""
    for record in records(folder):
        if record.body.startswith(b'{"kind":"alarm"'):
            with contextlib.suppress(msgspec.DecodeError):  # not written by this version
                yield msgspec.json.decode(record.body, type=_Told).alarm


class _Told(msgspec.Struct):
    alarm: Alarm


def _previous(record: Record) -> str:
    """The checksum that a segment says it continues; empty where this is not the first record of one."""
    try:
        return str(msgspec.json.decode(record.body)["previous"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return ""


# -- writing ------------------------------------------------------------------------------------------


class Chain:
    """The journal in a folder. Everything here blocks. One owner at a time: whoever has the store has this."""

    def __init__(self, folder: Path, quota: int) -> None:
        self.folder = folder
        self.segment = min(SEGMENT, max(AHEAD, quota // 4))  # bytes
        self.keep = max(2, quota // self.segment)  # segments
        self.n, self.head = 0, GENESIS  # of the newest record
        self._fd = -1
        self._path = folder
        self._end = self._size = 0  # bytes written, bytes there

    def open(self) -> None:
        """Find the end, and cut off what a torn write left behind it. Raises `StoreFault`."""
        if self._fd >= 0:
            return
        try:
            if not self.folder.is_dir():
                self.folder.mkdir(parents=True, mode=0o700)
                durable.sync(self.folder.parent)
            found = segments(self.folder)
            self.n, self.head = 0, GENESIS
            while found and not self._continue(found[-1]):
                found.pop()  # a segment without a single record: it was being made when the power went
            if not found:
                self._begin(1)
        except OSError as error:
            self.close()
            raise self._fault(error) from error

    def append(self, bodies: Sequence[bytes]) -> None:
        """Write one record for each JSON object. On the disk when it returns. Raises `StoreFault`."""
        self.open()
        try:
            if self._end >= self.segment:
                self._begin(int(self._path.stem) + 1)
            self._write(bodies)
        except OSError as error:
            self.close()  # after a failed sync nobody knows what the kernel still holds
            raise self._fault(error) from error

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _continue(self, path: Path) -> bool:
        """Go on in a segment, if there is a record in it."""
        content = text(path)
        end = content.rfind(b"\n", 0, _hole(content)) + 1
        last = next(filter(None, map(parse, reversed(content[:end].split(b"\n")))), None)
        if last is None:
            path.unlink()
            durable.sync(self.folder)
            return False
        self._fd, self._path = os.open(path, os.O_RDWR | os.O_CLOEXEC), path
        self._end, self._size = end, os.fstat(self._fd).st_size
        self.n, self.head = last.n, last.chain
        if end < len(content):
            os.pwrite(self._fd, b"\0" * (len(content) - end), end)
            os.fdatasync(self._fd)
        return True

    def _begin(self, number: int) -> None:
        """A new segment, which names what it continues; the oldest makes room."""
        self.close()
        for old in segments(self.folder)[: -(self.keep - 1)]:
            old.unlink()
        self._path = self.folder / f"{number:06d}.log"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._end = self._size = 0
        self._write([msgspec.json.encode({"kind": "segment", "segment": number, "previous": self.head})])
        durable.sync(self.folder)

    def _write(self, bodies: Sequence[bytes]) -> None:
        n, head, lines = self.n, self.head, []
        for body in bodies:
            n, head = n + 1, seal(head, n + 1, body)
            lines.append(b"%d\t%s\t%s\n" % (n, head.encode(), body))
        block = b"".join(lines)
        if self._end + len(block) > self._size:
            self._size = self._end + len(block) + AHEAD
            block_and_zeros = block + b"\0" * AHEAD
        else:
            block_and_zeros = block
        done = 0
        while done < len(block_and_zeros):
            done += os.pwrite(self._fd, block_and_zeros[done:], self._end + done)
        os.fdatasync(self._fd)
        self.n, self.head, self._end = n, head, self._end + len(block)

    def _fault(self, error: OSError) -> StoreFault:
        return StoreFault(f"journal {self.folder}: {error.strerror or error}; is the disk there, writable, not full?")


def _hole(content: bytes) -> int:
    """Where a torn write left out a sector, else the length of `content`.

    What follows may look whole, but was never acknowledged. Zeros that end within a sector are no hole but damage,
    and cost nobody his records.
    """
    for zeros in re.compile(rb"\0+").finditer(content, max(0, len(content) - 2 * WRITE)):
        if zeros.end() % SECTOR == 0:
            return zeros.start()
    return len(content)


# -- for the event loop -------------------------------------------------------------------------------


class Audit:
    """Takes records at once and writes them soon, in a thread. A fault of the disk costs records, counted, and no time.

    Made inside the loop.
    """

    def __init__(self, folder: Path, quota: int, told: Told) -> None:
        self.head = (0, GENESIS)  # number and checksum of the newest record on the disk
        self.lost = 0  # records that the disk did not take in time
        self.trouble = ""  # what is wrong with the disk now
        self._chain = Chain(folder, quota)
        self._told = told
        self._hand = Hand("journal")
        self._waiting: deque[bytes] = deque()
        self._gone = 0  # records that wait no longer
        self._marks: list[tuple[int, asyncio.Future[None]]] = []  # who waits until so many are gone
        self._unsaid = 0  # of the lost, those that the journal itself does not tell of yet
        self._news = asyncio.Event()
        self._writing: asyncio.Task[bool] | None = None

    def put(self, what: Alarm | Event | Order) -> None:
        """One decision, or what became known."""
        kind = type(what).__name__.lower()
        self._waiting.append(msgspec.json.encode({"kind": kind, kind: what}, enc_hook=str))
        if len(self._waiting) > WAITING:
            self._leave(1)
            self._count_lost(1)
        self._news.set()

    async def serve(self) -> None:
        """Write until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(PAUSE if await self._written() else RETRY)

    async def written(self) -> None:
        """Return once the disk has what was put until now, or lost it."""
        if self._waiting:
            mark: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._marks.append((self._gone + len(self._waiting), mark))
            await mark

    def _leave(self, n: int) -> None:
        """The oldest of what waits do no longer."""
        for _ in range(n):
            self._waiting.popleft()
        self._gone += n
        for mark in [mark for upto, mark in self._marks if upto <= self._gone and not mark.done()]:
            mark.set_result(None)
        self._marks = [(upto, mark) for upto, mark in self._marks if not mark.done()]

    async def close(self) -> None:
        """Write what waits, for `CLOSING` seconds at most."""
        try:
            async with asyncio.timeout(CLOSING):
                while self._waiting and await self._written():
                    pass
                await self._hand.do(self._chain.close)
        except TimeoutError:
            pass
        self._hand.end()

    async def _written(self) -> bool:
        """Whether the disk takes what waits. A write that has begun is finished, whoever stops waiting for it."""
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="journal write")
        return await asyncio.shield(self._writing)

    async def _write(self) -> bool:
        bodies, size = [], 0
        for body in self._waiting:
            bodies.append(body)
            if (size := size + len(body)) >= WRITE:
                break
        if not bodies:
            return True
        unsaid, lost = self._unsaid, self.lost
        word = [msgspec.json.encode({"kind": "lost", "records": unsaid})] if unsaid else []
        try:
            await self._hand.do(self._chain.append, word + bodies)
        except StoreFault as fault:
            self._news.set()
            if not self.trouble:
                self.trouble = str(fault)
                self._told("store-down", "journal", self.trouble)
            return False
        saved = min(self.lost - lost, len(bodies))  # pushed out of memory while they were written
        self._count_lost(-saved)
        self._leave(len(bodies) - saved)
        self._unsaid -= unsaid
        self.head = (self._chain.n, self._chain.head)
        if self._waiting:
            self._news.set()
        if self.trouble:
            self.trouble = ""
            self._told("store-recovered", "journal", f"journal {self._chain.folder}: written again")
        return True

    def _count_lost(self, n: int) -> None:
        self.lost += n
        self._unsaid += n
