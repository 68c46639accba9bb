"""The journal: what was decided, in the order in which it was decided. Append only, chained, its own fate.

    journal/000001.log      segments of at most `SEGMENT` bytes; the oldest goes when the quota is full

A record is one line of three fields with tabs between them: its number, a checksum, a JSON object. The checksum is
SHA-256 over the checksum of the record before, a tab, the number, a tab, and the object, so that a record that is
changed, removed, put in or moved breaks the chain; whoever holds a later checksum can prove it. The first record of a
segment names its `previous` checksum: a chain can be checked from any segment on. Behind the last record stand zeros:
a segment grows by `AHEAD` bytes at a time, so that a record costs the card one block and no change of the file's size.

The chain alone shows damage and clumsy forgery. A record of the kind `signature` says that the gateway's Ed25519 key
signed `statement` of the record before it, and so everything before: one stands at the end of each closed segment,
behind each alarm with its trace, and where the agent was stopped. Whoever knows the public key knows that nobody
without the private one wrote what is signed. What comes behind the last signature is chained and not signed yet.
Neither shows that the end is missing, or that an older copy was put back: for that somebody else has to know a newer
head. `Audit.witnessed` is what to tell him, `verify(heads=...)` holds the journal against what he noted.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import durable, keys
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
HEAD_SOON, HEAD, HEAD_IDLE = (
    60.0,
    600.0,
    21600.0,
)  # s between two heads for a witness: alarms, news, nothing new; project

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


def statement(n: int, chain: str) -> bytes:
    """What is signed of a record, and with it of everything before.

    >>> statement(7, "ab")
    b'vedette journal\\t7\\tab'
    """
    return f"vedette journal\t{n}\t{chain}".encode()


class Signature(msgspec.Struct, frozen=True):
    """The body of a record of this kind; `of` is the record before it."""

    of: int
    key: str  # the public key, base64
    signature: str  # base64
    kind: str = "signature"


SIGNED = b'{"kind":"signature"'  # how its body begins
BEGUN = b'{"kind":"segment"'  # and that of the first record of a segment


def signature(key: Ed25519PrivateKey, n: int, chain: str) -> bytes:
    """The body of the record that signs record `n`."""
    signed = base64.b64encode(key.sign(statement(n, chain))).decode()
    return msgspec.json.encode({"kind": "signature", "of": n, "key": keys.text(key), "signature": signed})


def parse(line: bytes) -> Record | None:
    """A line of a segment without its end; None where it is no record."""
    n, _, rest = line.partition(b"\t")
    chain, _, body = rest.partition(b"\t")
    if not (
        n.isdigit() and len(n) < 19 and n[:1] != b"0" and len(chain) == 64 and chain.isalnum() and body[:1] == b"{"
    ):
        return None
    return Record(int(n), chain.decode(), body)


def segments(folder: Path) -> list[Path]:
    """The segments of a journal, oldest first."""
    return sorted(folder.glob("[0-9][0-9][0-9][0-9][0-9][0-9].log"))


def text(path: Path) -> bytes:
    """What a segment holds before its zeros, with whatever a torn write left."""
    return path.read_bytes().rstrip(b"\0")


# -- reading ------------------------------------------------------------------------------------------


class Fault(NamedTuple):
    """One place where the journal is not as it was written."""

    segment: str  # name of its file; empty where none is left
    record: int  # number of the first record that is bad or missing
    byte: int  # of the file, from which on
    why: str

    def __str__(self) -> str:
        return f"{self.segment or 'the journal'}, record {self.record}, byte {self.byte}: {self.why}"


class Verdict(NamedTuple):
    """What is there, and every place where it is not as it was written, the first of them first."""

    records: int
    first: int  # number of the oldest record, 0 where there is none
    last: int
    head: str  # checksum of the newest record
    faults: list[Fault]
    signed: int = 0  # up to this record it is signed by a key that counts; 0: nothing is
    keys: tuple[str, ...] = ()  # public keys that signed, base64
    met: tuple[int, ...] = ()  # heads of witnesses that stand there as they were noted
    unseen: tuple[int, ...] = ()  # heads of witnesses that are older than the oldest record: not compared


def verify(
    folder: Path,
    trusted: Collection[str] = (),
    heads: Collection[tuple[int, str]] = (),
    each: Callable[[Iterable[Path]], Iterable[Path]] = iter,
) -> Verdict:
    """Check a whole journal. Raises `OSError` where it cannot be read.

    `trusted`: public keys in base64, of which each signature must be one's; with none given any will do, and
    `Verdict.keys` says whose they are. `heads`: number and checksum of records that a witness noted. `each`: hands the
    segments on, one by one, for somebody who wants to know how far it is.
    """
    reading = _Reading(frozenset(trusted), dict(heads))
    found = segments(folder)
    for path in each(found):
        reading.segment(path, path is found[-1])
    if found:
        reading.begin(found[0])
    return reading.verdict()


class _Reading:
    """One pass over all segments."""

    def __init__(self, trusted: Collection[str], heads: dict[int, str]) -> None:
        self.trusted, self.heads = trusted, heads
        self.records, self.first, self.last, self.head = 0, 0, 0, GENESIS
        self.known = False  # whether `head` and `last` are what the next record must follow
        self.signed = 0
        self.keys: dict[str, None] = {}
        self.closed: Fault | None = None  # the newest segment that is closed, and not signed so far
        self.faults: list[Fault] = []
        self.met: list[int] = []
        self._oldest = 0  # number of the oldest segment that was there when the newest was begun

    def segment(self, path: Path, newest: bool) -> None:
        content = text(path)
        at = 0
        for i, line in enumerate(content.split(b"\n")):
            if at + len(line) == len(content):
                if line:
                    why = "an unfinished record: a write that was cut off, or damage"
                    self.faults.append(Fault(path.name, self.last + 1, at, why))
                    self.known = False
                break
            self._record(path, i == 0, at, line)
            at += len(line) + 1
        if not newest and self.signed < self.last:
            self.closed = Fault(path.name, self.last, at, "closed without a signature, and none follows")

    def begin(self, path: Path) -> None:
        """The oldest segment that is there: whether none is missing before it that was not let go."""
        if 0 < self._oldest < int(path.stem):
            why = f"segments {self._oldest:06d} to {int(path.stem) - 1:06d} are missing before it"
            self.faults.insert(0, Fault(path.name, self.first - 1, 0, why))

    def _record(self, path: Path, begins: bool, at: int, line: bytes) -> None:
        record, last = parse(line), self.last
        if record is None:
            self.faults.append(Fault(path.name, last + 1, at, f"not a record, behind record {last}"))
            self.known = False
            return
        n, chain, body = record
        before = self.head if self.known else previous(record) if begins else ""
        if self.known and n != last + 1:
            gap = f"records {last + 1} to {n - 1} are missing" if n > last else f"it follows record {last}"
            self.faults.append(Fault(path.name, last + 1, at, f"record {n} stands here; {gap}"))
        elif begins and not self.known and not body.startswith(BEGUN):
            gone = 1 if int(path.stem) == 1 else max(1, n - 1)
            self.faults.append(Fault(path.name, gone, at, f"record {n} stands here, which begins no segment"))
        elif (self.known or begins) and seal(before, n, body) != chain:
            first = 1 if not self.known and int(path.stem) == 1 else n  # its number may be what is wrong
            why = "it does not fit its checksum, or not what stands before it"
            self.faults.append(Fault(path.name, first, at, why))
        elif begins and _said(record, "segment") not in (0, int(path.stem)):
            self.faults.append(Fault(path.name, n, at, f"it is of segment {_said(record, 'segment')}"))
        elif before and body.startswith(SIGNED):
            self._signature(path, at, record, before)
        if begins:
            self._oldest = max(self._oldest, _said(record, "oldest"))
        if n in self.heads:
            self._witness(path, at, n, chain)
        elif begins and not self.records and n - 1 in self.heads:
            self._witness(path, at, n - 1, before)
        self.records, self.first, self.last, self.head, self.known = self.records + 1, self.first or n, n, chain, True

    def _signature(self, path: Path, at: int, record: Record, previous: str) -> None:
        """A record that says that what stands before it is signed."""
        try:
            told = msgspec.json.decode(record.body, type=Signature)
            holds = told.of == record.n - 1 and keys.holds(
                keys.public(told.key), base64.b64decode(told.signature, validate=True), statement(told.of, previous)
            )
        except (msgspec.DecodeError, ValueError, binascii.Error):
            self.faults.append(Fault(path.name, record.n, at, "a signature that cannot be read"))
            return
        self.keys[told.key] = None
        if not holds:
            self.faults.append(Fault(path.name, record.n, at, "a signature that does not hold"))
        elif self.trusted and told.key not in self.trusted:
            whose = keys.fingerprint(keys.public(told.key))
            self.faults.append(Fault(path.name, record.n, at, f"signed with another key, {whose}"))
        else:
            self.signed, self.closed = record.n, None

    def _witness(self, path: Path, at: int, n: int, chain: str) -> None:
        if self.heads.pop(n) == chain:
            self.met.append(n)
        else:
            why = "a witness noted another checksum: this journal was written anew"
            self.faults.append(Fault(path.name, n, at, why))

    def verdict(self) -> Verdict:
        unseen = tuple(sorted(n for n in self.heads if n < self.first))
        for n in sorted(n for n in self.heads if n > self.last or not self.records):
            why = f"a witness knows record {n}, and this journal ends here: its end is gone, or it is an older copy"
            self.faults.append(Fault("", self.last + 1, 0, why))
        if self.trusted and self.records and not self.signed:
            self.faults.append(Fault("", self.first, 0, "nothing is signed by a key that counts"))
        elif self.closed is not None and (self.trusted or self.keys):
            self.faults.append(self.closed)
        found = (self.records, self.first, self.last, self.head, self.faults)
        return Verdict(*found, self.signed, tuple(self.keys), tuple(self.met), unseen)


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


def event(record: Record) -> Event | None:
    """The event that a record tells of; None where it tells of something else, or was not written by this version."""
    if record.body.startswith(b'{"kind":"event"'):
        with contextlib.suppress(msgspec.DecodeError):
            return _EVENT.decode(record.body).event
    return None


class _Told(msgspec.Struct):
    alarm: Alarm


class _Happened(msgspec.Struct):
    event: Event


_EVENT = msgspec.json.Decoder(_Happened)


def previous(record: Record) -> str:
    """The checksum that a segment says it continues; empty where this is not the first record of one."""
    try:
        return str(msgspec.json.decode(record.body)["previous"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return ""


def _said(record: Record, what: str) -> int:
    """A number that the first record of a segment says; 0 where it says none."""
    try:
        number = msgspec.json.decode(record.body).get(what, 0)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0
    return number if isinstance(number, int) else 0


# -- writing ------------------------------------------------------------------------------------------


class Chain:
    """The journal in a folder. Everything here blocks. One owner at a time: whoever has the store has this.

    Without a key nothing is signed.
    """

    def __init__(self, folder: Path, quota: int, key: Ed25519PrivateKey | None = None) -> None:
        self.folder, self.key = folder, key
        self.segment = min(SEGMENT, max(AHEAD, quota // 4))  # bytes
        self.keep = max(2, quota // self.segment)  # segments
        self.n, self.head = 0, GENESIS  # of the newest record
        self._signed = 0  # number of the newest record if that is a signature: nothing is left to be signed
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

    def append(self, bodies: Sequence[bytes], sign: bool = False) -> None:
        """Write one record for each JSON object, and with `sign` one that signs them. On the disk when it returns.

        Raises `StoreFault`.
        """
        self.open()
        try:
            if self._end >= self.segment:
                self._sign()
                self._begin(int(self._path.stem) + 1)
            self._write(bodies, sign)
        except OSError as error:
            self.close()  # after a failed sync nobody knows what the kernel still holds
            raise self._fault(error) from error

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def end(self) -> None:
        """Sign what is not signed yet, and close. Raises `StoreFault`."""
        try:
            if self._fd >= 0:
                self._sign()
        except OSError as error:
            raise self._fault(error) from error
        finally:
            self.close()

    def _sign(self) -> None:
        if self._signed != self.n:
            self._write([], sign=True)

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
        self._signed = last.n if last.body.startswith(SIGNED) else 0
        if end < len(content):
            os.pwrite(self._fd, b"\0" * (len(content) - end), end)
            os.fdatasync(self._fd)
        return True

    def _begin(self, number: int) -> None:
        """A new segment, which names what it continues, and which is the oldest from now on: that makes room."""
        self.close()
        there = [*(int(path.stem) for path in segments(self.folder)), number]
        oldest = there[-self.keep :][0]
        self._path = self.folder / f"{number:06d}.log"
        begin = {"kind": "segment", "segment": number, "previous": self.head, "oldest": oldest}
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._end = self._size = 0
            self._write([msgspec.json.encode(begin)])
            durable.sync(self.folder)
        finally:  # not before: else a kill in between would look as if somebody had taken them away; nor only if
            # there was room for the new one
            for n in there:
                if n < oldest:
                    (self.folder / f"{n:06d}.log").unlink(missing_ok=True)
        durable.sync(self.folder)

    def _write(self, bodies: Sequence[bytes], sign: bool = False) -> None:
        n, head, lines = self.n, self.head, []
        for body in bodies:
            n, head = n + 1, seal(head, n + 1, body)
            lines.append(b"%d\t%s\t%s\n" % (n, head.encode(), body))
        signed = sign and self.key is not None
        if signed and self.key is not None:
            body = signature(self.key, n, head)
            n, head = n + 1, seal(head, n + 1, body)
            lines.append(b"%d\t%s\t%s\n" % (n, head.encode(), body))
        if not lines:
            return
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
        self._signed = n if signed else 0

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


class Trace(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the channels of one alarm said before or after an edge of it, as the judge was given it.

    `judged` is the rule as it was in force, in plain numbers: with it and `said` a limit can be judged again.
    """

    alarm: str  # id
    edge: int
    rule: str
    channel: str
    part: str  # "before" (up to the edge, it included) or "after"
    boot: str
    config: str  # hash of the configuration in force
    said: tuple[Said, ...]
    judged: dict[str, Any] = {}
    cut: int = 0  # rows that were too many, and are left out
    left_out: int = 0  # whole traces that were too many, since the start


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows of some channels of one source, t of n, oldest first."""

    source: str
    key: tuple[str, ...]  # (n,)
    unit: tuple[str, ...]  # (n,)
    mono: list[float]  # (t,) s
    wall: list[tuple[int, float, bool]]  # row from which the wall clock went on from there, s UTC, whether trusted
    value: list[list[float | None]]  # (t, n), null where not measured
    raw: list[list[float | None]] = []  # (t, n) as it stood in the device; empty where it is the value
    quality: list[list[int]] = []  # (t, n) `Quality`; empty where all is GOOD
    age: list[list[float]] = []  # (t, n) s since it was measured; empty where 0


class Pace:
    """When a witness is to hear of the newest record: soon after an alarm, now and then otherwise. Times are mono s."""

    def __init__(self, now: float) -> None:
        self._last, self._n, self._urgent = now, -1, True  # soon after a start: an older copy may be in its place

    def hurry(self) -> None:
        """Something was decided that somebody might want undone."""
        self._urgent = True

    def is_due(self, now: float, n: int) -> bool:
        """Whether he is to hear of record `n` now; then it counts as told."""
        wait = (HEAD_SOON if self._urgent else HEAD) if n != self._n else HEAD_IDLE
        if n == 0 or now - self._last < wait:
            return False
        self._last, self._n, self._urgent = now, n, False
        return True


class Audit:
    """Takes records at once and writes them soon, in a thread. A fault of the disk costs records, counted, and no time.

    Made inside the loop.
    """

    def __init__(self, folder: Path, quota: int, told: Told, key: Ed25519PrivateKey | None = None) -> None:
        self.head = (0, GENESIS)  # number and checksum of the newest record on the disk
        self.lost = 0  # records that the disk did not take in time
        self.trouble = ""  # what is wrong with the disk now
        self.failures = 0  # writes that it did not take
        self._took = 0.0  # s of the slowest write since somebody asked
        self._began: float | None = None  # s of the loop at which the one under way began
        self._chain = Chain(folder, quota, key)
        self._told = told
        self._hand = Hand("journal")
        self._waiting: deque[bytes] = deque()
        self._gone = 0  # records that wait no longer
        self._marks: list[tuple[int, asyncio.Future[None]]] = []  # who waits until so many are gone
        self._signing = False  # what waits is to be signed once it is written
        self._unsaid = 0  # of the lost, those that the journal itself does not tell of yet
        self._news = asyncio.Event()
        self._writing: asyncio.Task[bool] | None = None

    def put(self, what: Alarm | Event | Order | Trace, sign: bool = False) -> None:
        """One decision, or what became known; with `sign` it is signed as soon as it is written."""
        self._signing |= sign
        kind = type(what).__name__.lower()
        self._waiting.append(msgspec.json.encode({"kind": kind, kind: what}, enc_hook=str))
        if len(self._waiting) > WAITING:
            self._leave(1)
            self._count_lost(1)
        self._news.set()

    def witnessed(self) -> dict[str, Any]:
        """What to tell a witness: number and checksum of the newest record, and the key's signature of both."""
        n, chain = self.head
        key = self._chain.key
        if key is None:
            return {"record": n, "checksum": chain}
        signed = base64.b64encode(key.sign(statement(n, chain))).decode()
        return {"record": n, "checksum": chain, "key": keys.text(key), "signature": signed}

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
                await self._hand.do(self._chain.end)
        except (TimeoutError, StoreFault):
            pass  # the next start goes on behind what is there
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
        sign = self._signing and len(bodies) == len(self._waiting)
        self._signing &= not sign
        word = [msgspec.json.encode({"kind": "lost", "records": unsaid})] if unsaid else []
        self._began = asyncio.get_running_loop().time()
        try:
            await self._hand.do(self._chain.append, word + bodies, sign)
        except StoreFault as fault:
            self.failures += 1
            self._signing |= sign
            self._news.set()
            if not self.trouble:
                self.trouble = str(fault)
                self._told("store-down", "journal", self.trouble)
            return False
        finally:
            self._took, self._began = self.slowest(), None
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

    def slowest(self) -> float:
        """s of the slowest write since the last call, or of the one that is under way."""
        so_far = 0.0 if self._began is None else asyncio.get_running_loop().time() - self._began
        took, self._took = max(self._took, so_far), 0.0
        return took

    def _count_lost(self, n: int) -> None:
        self.lost += n
        self._unsaid += n
