"""The two SQLite files of the outbox, and the threads that own them. Everything here blocks.

`alarms.db` holds alarms and events on their way, the alarms that are open and the boot counter;
`history.db` holds telemetry and what each uplink still owes of it. Two files, so that losing history
cannot touch an alarm. Each is owned by one `Hand`; nobody else opens it (EXCLUSIVE locking: a second
process is refused).

Every row carries a checksum over all its columns. A row that fails it is moved to the table `aside`,
counted and never sent: SQLite's own checks find one flipped bit in fifty (reliability.md 0.5).
"""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .core.alarm import Alarm
from .core.errors import StoreFault
from .core.ports import Batch, Event, Item
from .rows import Owed, Span, check, pack, unpack


class Corrupt(StoreFault):
    """The file is damaged; it was renamed aside and a new empty one is in its place."""

    def __init__(self, text: str, moved: Path | None = None) -> None:
        super().__init__(text)
        self.moved = moved


class Full(StoreFault):
    """No room: the disk or the file's own quota is full."""


class Busy(StoreFault):
    """Another process has the file."""


# Source of each setting: reliability.md 1.4.2. `page_size` 1024 wrote 24 % less than 4096 (1.3).
# `locking_mode` comes first: set before anything is read, the log needs no shared memory (-shm, an mmap).
BEFORE = ("locking_mode=EXCLUSIVE", "page_size=1024", "auto_vacuum=NONE", "journal_mode=WAL", "synchronous=FULL")
AFTER = (
    "wal_autocheckpoint=1000",
    "journal_size_limit=4194304",
    "mmap_size=0",  # an I/O error under mmap is SIGBUS
    "temp_store=MEMORY",
    "cell_size_check=ON",
    "trusted_schema=OFF",
    "cache_size=-1000",  # kB
)
COMMON = """
CREATE TABLE note(name TEXT PRIMARY KEY, body BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE aside(n INTEGER PRIMARY KEY, row INTEGER NOT NULL, why TEXT NOT NULL, body BLOB);
"""
ASIDE = 1000  # rows set aside that are kept for somebody to look at; project
QUARANTINES = 2  # damaged files that are kept, newest; project

DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
DAMAGED_READ = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}


def fault(error: Exception, path: Path) -> StoreFault:
    """Our error for one of SQLite's or the system's."""
    code = getattr(error, "sqlite_errorcode", None)
    text = f"store {path}: {error}"
    if code is None and isinstance(error, sqlite3.Error | ValueError | OverflowError | TypeError):
        return Corrupt(text)  # the module itself could not make sense of a row
    if code is not None and (code in DAMAGED_READ or code & 0xFF in DAMAGED or code & 0xFF == sqlite3.SQLITE_ERROR):
        return Corrupt(text)  # SQLITE_ERROR: the statements are ours, so the schema is not
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return Full(f"{text}; free some space")
    if code is not None and code & 0xFF == sqlite3.SQLITE_BUSY:
        return Busy(f"{text}; another process uses this state directory")
    return StoreFault(f"{text}; is the disk there and writable?")


def lenient(text: bytes) -> str:
    """Text that may be damaged: the checksum tells, not a decoder's error."""
    return text.decode(errors="replace")


class File:
    """One SQLite file. Opened when first needed, and again after a fault of the disk."""

    application = 0  # tells our two files apart
    schema = ""

    def __init__(self, path: Path, quota: int) -> None:
        self.path = path
        self.quota = quota  # bytes
        self.db: sqlite3.Connection | None = None

    def open(self) -> sqlite3.Connection:
        """The connection. Raises `StoreFault`; a damaged file is moved aside first (`Corrupt`)."""
        if self.db is not None:
            return self.db
        db = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            db = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
            db.text_factory = lenient
            for pragma in (*BEFORE, *AFTER):
                db.execute(f"PRAGMA {pragma}")
            self._limit(db, self.quota)
            if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                db.executescript(f"BEGIN;{COMMON}{self.schema}PRAGMA application_id={self.application};COMMIT;")
                self.created(db)
            elif db.execute("PRAGMA application_id").fetchone()[0] != self.application:
                raise sqlite3.DatabaseError("the file belongs to something else")
            self.opened(db)
        except (sqlite3.Error, OSError, ValueError, OverflowError, TypeError) as error:
            if db is not None:
                db.close()
            raise self.failed(error) from error
        self.db = db
        return db

    def created(self, db: sqlite3.Connection) -> None:
        """What a new file needs beside its tables."""

    def opened(self, db: sqlite3.Connection) -> None:
        """What must be known of a file before it is used."""

    def _limit(self, db: sqlite3.Connection, size: int) -> None:
        db.execute(f"PRAGMA max_page_count={max(64, size // db.execute('PRAGMA page_size').fetchone()[0])}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction, durable when left. Raises `StoreFault` and leaves nothing behind."""
        db = self.open()
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except (sqlite3.Error, OSError, ValueError, OverflowError, TypeError) as error:
            try:
                if db.in_transaction:
                    db.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # SQLite rolled back by itself
            raise self.failed(error) from error

    def checkpoint(self) -> None:
        """Copy the log into the file, as far as the disk allows."""
        try:
            if self.db is not None:
                self.db.execute("PRAGMA wal_checkpoint(RESTART)")
        except sqlite3.Error:
            pass  # the next transaction tells

    def failed(self, error: Exception) -> StoreFault:
        """The fault to raise. A damaged file is moved aside; after any I/O error the file is opened anew."""
        known = fault(error, self.path)
        if isinstance(known, Corrupt):
            known.moved = self.quarantine()
            if known.moved is None:
                return StoreFault(f"{known}; and it cannot be renamed")
        elif not isinstance(known, Full):
            self.close()  # after a failed sync nobody knows what the kernel still holds
        return known

    def quarantine(self) -> Path | None:
        """Rename database and log together, so that the next `open` begins empty."""
        self.close()
        n = 1 + max((int(p.name.rpartition("-")[2]) for p in self._quarantines()), default=0)
        moved = self.path.with_name(f"{self.path.name}.bad-{n:04d}")
        try:
            for end in ("-wal", "-shm", ""):
                part = self.path.with_name(self.path.name + end)
                if part.exists():
                    part.rename(moved.with_name(moved.name + end))
            for old in self._quarantines()[:-QUARANTINES]:
                for end in ("", "-wal", "-shm"):
                    old.with_name(old.name + end).unlink(missing_ok=True)
        except OSError:
            return None
        return moved

    def _quarantines(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.name}.bad-[0-9][0-9][0-9][0-9]"))

    def close(self) -> None:
        db, self.db = self.db, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error:
                pass

    # -- notes: small values by name ----------------------------------------------------------------

    def note(self, db: sqlite3.Connection, name: str, body: bytes) -> None:
        db.execute("INSERT OR REPLACE INTO note VALUES (?, ?, ?)", (name, body, check(name, body)))


def notes(db: sqlite3.Connection) -> dict[str, bytes]:
    """All notes whose checksum holds."""
    found = rescue(db, "SELECT 0, name, body, crc FROM note", None)
    return {name: body for _, name, body, crc in found if isinstance(body, bytes) and check(name, body) == crc}


def boots(found: Mapping[str, bytes]) -> int:
    """How often the daemon was started with this file."""
    text = found.get("boots", b"0")
    return int(text) if text.isdigit() else 0


def set_aside(db: sqlite3.Connection, table: str, row: int, why: str) -> None:
    """Move a row out of the way, for somebody to look at."""
    db.execute(f"INSERT INTO aside(row, why, body) SELECT row, ?, body FROM {table} WHERE row = ?", (why, row))
    db.execute(f"DELETE FROM {table} WHERE row = ?", (row,))
    db.execute("DELETE FROM aside WHERE n <= (SELECT max(n) FROM aside) - ?", (ASIDE,))


HALVINGS = 4096  # 0.1 s; one damaged page costs at most 124 and what lies within it; project


def rescue(db: sqlite3.Connection, query: str, span: tuple[int, int] | None) -> Iterator[tuple[Any, ...]]:
    """The rows that can still be read, by halving the span of rows around what cannot. Never raises.

    Broad spans come first, and after `HALVINGS` that cannot be read it ends: a damaged page may stand for more rows
    than anybody can ask for.
    """
    if span is None:
        try:
            yield from db.execute(query).fetchall()
        except (sqlite3.Error, ValueError, OverflowError):
            pass
        return
    spans, halvings = deque([span]), HALVINGS
    while spans and halvings:
        lo, hi = spans.popleft()
        try:
            rows = db.execute(f"{query} WHERE row BETWEEN ? AND ? ORDER BY row LIMIT 64", (lo, hi)).fetchall()
            if rows and not lo <= rows[-1][0] <= hi:
                raise sqlite3.DatabaseError("rows out of order")
        except (sqlite3.Error, ValueError, OverflowError):
            halvings -= 1
            if lo < hi:
                middle = (lo + hi) // 2
                spans += [(lo, middle), (middle + 1, hi)]
            continue
        yield from rows
        if len(rows) == 64:
            spans.appendleft((rows[-1][0] + 1, hi))


def extent(db: sqlite3.Connection, table: str) -> tuple[int, int] | None:
    """First and last row of a table; None where it is empty. A damaged table is taken to be endless."""
    try:
        lo, hi = db.execute(f"SELECT min(row), max(row) FROM {table}").fetchone()
    except sqlite3.Error:
        return 0, 2**62
    return None if lo is None else (lo, hi)


@contextmanager
def damaged(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A file that was moved aside, to read what is left of it."""
    db = None
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        db.text_factory = lenient
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("PRAGMA synchronous=OFF")
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error:
        if db is not None:
            db.close()
        db = None
    try:
        yield db
    finally:
        if db is not None:
            db.close()


# -- alarms and events --------------------------------------------------------------------------------


class Kept(NamedTuple):
    """One alarm or event as it stands in the file."""

    row: int
    lane: str
    boot: str
    seq: int
    owed: str  # names of the uplinks that owe it, joined by newlines
    body: bytes  # JSON of `Alarm` or `Event`


Point = tuple[str, str]  # rule, channel: what has one alarm at a time


class Standing(NamedTuple):
    """An alarm that is not normal: its latest edge, and a number by which the oldest alarm comes first."""

    n: int
    alarm: Alarm


class AlarmWork(NamedTuple):
    """One transaction on `alarms.db`."""

    put: list[Kept]
    owe: list[tuple[int, str]]  # row, owed
    delete: list[int]
    aside: list[tuple[int, str]]  # row, why
    stand: list[Standing]  # alarms that are open, each in the place of the last of its point
    fall: list[Point]  # points whose alarm is over


class AlarmsFound(NamedTuple):
    """What the file held when it was opened."""

    rows: list[tuple[Kept, Alarm | Event]]
    open: list[Standing]
    boots: int
    last: int  # highest row
    bad: int
    damage: Corrupt | None


RESERVE = 256 * 1024  # bytes of free pages made at once, so that alarms can be written on a full disk


class Alarms(File):
    """`alarms.db`: small, one transaction per edge."""

    application = 0x56444132
    schema = """
    CREATE TABLE item(row INTEGER PRIMARY KEY, lane TEXT NOT NULL, boot TEXT NOT NULL, seq INTEGER NOT NULL,
                      owed TEXT NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL);
    CREATE TABLE open(row INTEGER PRIMARY KEY, rule TEXT NOT NULL, channel TEXT NOT NULL, n INTEGER NOT NULL,
                      body BLOB NOT NULL, crc INTEGER NOT NULL, UNIQUE(rule, channel));
    """

    def created(self, db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO aside(row, why, body) VALUES (0, '', zeroblob(?))", (min(RESERVE, self.quota // 4),))
        db.execute("DELETE FROM aside")
        db.execute("PRAGMA wal_checkpoint(RESTART)")

    def opened(self, db: sqlite3.Connection) -> None:
        if (verdict := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":  # small file: 1 ms
            raise sqlite3.DatabaseError(str(verdict))

    def load(self) -> AlarmsFound:
        """Everything in the file; from a damaged one, whatever can still be read. Raises `StoreFault`."""
        damage = None
        try:
            db = self.open()
            found = self._read(db, None)
            if found.bad:
                with self.transaction() as db:
                    for table, row in self._bad:
                        set_aside(db, table, row, "checksum")
        except Corrupt as error:
            damage = error
            found = AlarmsFound([], [], 0, 0, 0, damage)
            if error.moved is not None:
                with damaged(error.moved) as old:
                    if old is not None:
                        found = self._read(old, damage)
            self.open()
        return found

    def _read(self, db: sqlite3.Connection, damage: Corrupt | None) -> AlarmsFound:
        rows, stand, last = [], [], 0
        self._bad: list[tuple[str, int]] = []
        span = extent(db, "item")
        columns = "row, lane, boot, seq, owed, body"
        for *values, crc in rescue(db, f"SELECT {columns}, crc FROM item", span) if span else ():
            last = max(last, values[0])
            kept = Kept(*values)
            if check(*kept) == crc and (body := decoded(kept.lane, kept.body)) is not None:
                rows.append((kept, body))
            else:
                self._bad.append(("item", kept.row))
        span = extent(db, "open")
        for row, *values, crc in rescue(db, "SELECT row, rule, channel, n, body, crc FROM open", span) if span else ():
            rule, channel, n, text = values
            alarm = decoded("alarm", text) if check(*values) == crc else None
            if isinstance(alarm, Alarm) and (alarm.rule, alarm.channel) == (rule, channel):
                stand.append(Standing(n, alarm))
                last = max(last, n)
            else:
                self._bad.append(("open", row))
        rows.sort(key=lambda pair: pair[0].row)
        return AlarmsFound(rows, sorted(stand, key=lambda s: s.n), boots(notes(db)), last, len(self._bad), damage)

    def commit(self, work: AlarmWork) -> None:
        """All of `work` or nothing, durable when it returns. Raises `StoreFault`."""
        try:
            self._commit(work)
        except Full:
            # The log cannot grow on a full disk, but once copied into the file it starts over in its own blocks.
            self.checkpoint()
            self._commit(work)

    def _commit(self, work: AlarmWork) -> None:
        with self.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO item VALUES (?,?,?,?,?,?,?)", [(*k, check(*k)) for k in work.put])
            for row, owed in work.owe:
                self._owe(db, row, owed)
            for row, why in work.aside:
                set_aside(db, "item", row, why)
            db.executemany("DELETE FROM item WHERE row = ?", [(row,) for row in work.delete])
            rows = [(a.rule, a.channel, n, msgspec.json.encode(a, enc_hook=str)) for n, a in work.stand]
            db.executemany(
                "INSERT OR REPLACE INTO open(rule, channel, n, body, crc) VALUES (?,?,?,?,?)",
                [(*row, check(*row)) for row in rows],
            )
            db.executemany("DELETE FROM open WHERE rule = ? AND channel = ?", work.fall)

    def _owe(self, db: sqlite3.Connection, row: int, owed: str) -> None:
        old = db.execute("SELECT row, lane, boot, seq, owed, body FROM item WHERE row = ?", (row,)).fetchone()
        if old is not None:
            kept = Kept(*old)._replace(owed=owed)
            db.execute("UPDATE item SET owed = ?, crc = ? WHERE row = ?", (owed, check(*kept), row))

    def booted(self, count: int) -> None:
        """Remember how often the daemon was started."""
        with self.transaction() as db:
            self.note(db, "boots", str(count).encode())


BODIES: dict[str, msgspec.json.Decoder[Any]] = {
    "alarm": msgspec.json.Decoder(Alarm),
    "event": msgspec.json.Decoder(Event),
}


def decoded(lane: str, body: bytes) -> Alarm | Event | None:
    """What the row says, None where it is not what it should be."""
    try:
        return BODIES[lane].decode(body)  # type: ignore[no-any-return]
    except (KeyError, TypeError, msgspec.DecodeError):
        return None


# -- telemetry ----------------------------------------------------------------------------------------


class HistoryFound(NamedTuple):
    """What the file held when it was opened. An uplink whose note is damaged owes all rows, tried."""

    owed: dict[str, list[Span]]
    last: int  # highest row
    boots: int
    damage: Corrupt | None


class Gone(NamedTuple):
    """A batch that left the store: by the quota, or because it was damaged (then it has no name)."""

    row: int
    boot: str
    stream: str
    seq: int


class Committed(NamedTuple):
    evicted: list[Gone]  # those that somebody may still owe
    full: bool  # the disk is full; the file does not grow


SPARE = 0.03  # of the quota, kept free; project
BITE = 0.02  # of the rows, dropped at once when room is needed; project
FILLER = b"\0" * 65536
READ = 256  # batches read at once, at most


class History(File):
    """`history.db`: one transaction per second, a packed batch per row, oldest dropped when full."""

    application = 0x56444832
    schema = """
    CREATE TABLE layout(id INTEGER PRIMARY KEY, source TEXT NOT NULL, key TEXT NOT NULL, unit TEXT NOT NULL,
                        crc INTEGER NOT NULL);
    CREATE TABLE batch(row INTEGER PRIMARY KEY, layout INTEGER NOT NULL, boot TEXT NOT NULL, seq INTEGER NOT NULL,
                       synced INTEGER NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL);
    """

    def __init__(self, path: Path, quota: int, ballast: int) -> None:
        super().__init__(path, quota)
        self.ballast = path.with_name("ballast")  # given up on a full disk, so that a checkpoint can finish
        self.ballast_size = ballast
        self.tight = False  # the disk is full: the file may not grow
        self._layouts: dict[int, tuple[str, tuple[str, ...], tuple[str, ...]]] = {}
        self._latest: dict[str, tuple[tuple[str, ...], tuple[str, ...], int]] = {}
        self._patience: dict[str, int] = {}  # batches of this source for which packing is not tried

    def opened(self, db: sqlite3.Connection) -> None:
        self.tight = False
        self._layouts, self._latest = layouts(db), {}
        self._inflate()

    def load(self, uplinks: Iterable[str]) -> HistoryFound:
        """What is owed, by uplink; uplinks that are gone are forgotten. Raises `StoreFault`."""
        damage = None
        try:
            db = self.open()
            known = notes(db)
            total = db.execute("SELECT name FROM note").fetchall()
            last = db.execute("SELECT max(row) FROM batch").fetchone()[0] or 0
        except (sqlite3.Error, Corrupt) as error:
            damage = error if isinstance(error, Corrupt) else self.failed(error)
            if not isinstance(damage, Corrupt):
                raise damage from error
            self.open()
            return HistoryFound({}, 0, 0, damage)
        names = {name for (name,) in total}
        with self.transaction() as db:
            gone = [name for name in names if name.startswith("uplink/") and name[7:] not in set(uplinks)]
            db.executemany("DELETE FROM note WHERE name = ?", [(name,) for name in gone])
        owed: dict[str, list[Span]] = {}
        for name in uplinks:
            if f"uplink/{name}" in known:
                owed[name] = msgspec.json.decode(known[f"uplink/{name}"], type=list[Span])
            elif f"uplink/{name}" in names:
                every = Owed()
                for (row,) in db.execute("SELECT row FROM batch ORDER BY row"):
                    every.add(row, row, True)
                owed[name] = every.spans
        return HistoryFound(owed, last, boots(known), None)

    def booted(self, count: int) -> None:
        """Remember how often the daemon was started, in case the other file is lost."""
        with self.transaction() as db:
            self.note(db, "boots", str(count).encode())

    # -- writing ----------------------------------------------------------------------------------------

    def commit(self, items: Sequence[Item], states: Mapping[str, bytes], owed_from: int) -> Committed:
        """Batches and what is owed after them, in one transaction. Raises `StoreFault`.

        When room is needed the oldest rows go; those from `owed_from` on are named in the result.
        """
        bodies = [self._packed(item) for item in items]
        size = sum(map(len, bodies)) + 256 * len(bodies) + 4096
        if self.tight and self._room() > 2 * self.ballast_size:
            self._loosen()
        evicted: list[Gone] = []
        for last in (False, False, True):
            try:
                with self.transaction() as db:
                    evicted = self._make_room(db, size, owed_from)
                    for item, body in zip(items, bodies, strict=True):
                        self._insert(db, item, body)
                    for name, state in states.items():
                        self.note(db, f"uplink/{name}", state)
                break
            except Full:
                self._latest.clear()  # a layout of the lost transaction must be written again
                self._tighten()
                if last:
                    raise
            except StoreFault:
                self._latest.clear()
                raise
        return Committed(evicted, self.tight)

    def _packed(self, item: Item) -> bytes:
        assert isinstance(item.body, Batch)
        source = item.body.source
        wait = self._patience.get(source, 0)
        packed = pack(item.body, squeeze=wait == 0)
        self._patience[source] = wait - 1 if wait else 15 * (not packed[1] & 4)
        return packed

    def _insert(self, db: sqlite3.Connection, item: Item, body: bytes) -> None:
        assert isinstance(item.body, Batch)
        row = (item.row, self._layout(db, item.body), item.boot, item.seq, int(item.body.synced), body)
        db.execute("INSERT OR IGNORE INTO batch VALUES (?,?,?,?,?,?,?)", (*row, check(*row)))

    def _layout(self, db: sqlite3.Connection, batch: Batch) -> int:
        """The id of the batch's channels, written down when they are new."""
        known = self._latest.get(batch.source)
        if known is not None and known[0] is batch.key and known[1] is batch.unit:
            return known[2]
        wanted = (batch.source, batch.key, batch.unit)
        id = next((id for id, layout in self._layouts.items() if layout == wanted), 0)
        if id == 0 or db.execute("SELECT id FROM layout WHERE id = ?", (id,)).fetchone() is None:
            id = 1 + max(self._layouts, default=0)
            row = (id, batch.source, msgspec.json.encode(batch.key).decode(), msgspec.json.encode(batch.unit).decode())
            db.execute("INSERT INTO layout VALUES (?,?,?,?,?)", (*row, check(*row)))
            self._layouts[id] = wanted
        self._latest[batch.source] = (batch.key, batch.unit, id)
        return id

    def _make_room(self, db: sqlite3.Connection, size: int, owed_from: int) -> list[Gone]:
        """Drop the oldest rows until `size` bytes fit under the quota with some spare."""
        page, limit, used = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "max_page_count", "page_count")
        )
        wanted = size // page + int(SPARE * limit)
        gone: list[Gone] = []
        while limit - used + db.execute("PRAGMA freelist_count").fetchone()[0] < wanted:
            lo, hi = db.execute("SELECT min(row), max(row) FROM batch").fetchone()
            if lo is None:
                break
            until = lo + max(0, int(BITE * (hi - lo)))
            if until >= owed_from:
                rows = db.execute(
                    "SELECT row, boot, source, seq FROM batch JOIN layout ON layout = id WHERE row BETWEEN ? AND ?",
                    (owed_from, until),
                )
                gone += [Gone(row, boot, f"telemetry/{source}", seq) for row, boot, source, seq in rows]
            db.execute("DELETE FROM batch WHERE row <= ?", (until,))
        return gone

    # -- a full disk ------------------------------------------------------------------------------------

    def _room(self) -> int:
        """Free bytes on the file system."""
        try:
            found = os.statvfs(self.path.parent)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize

    def _inflate(self) -> None:
        """Make the ballast, if the disk has plenty of room."""
        if self.ballast.exists() or self._room() < 2 * self.ballast_size:
            return
        try:
            with self.ballast.open("wb") as file:
                for _ in range(self.ballast_size // len(FILLER)):
                    file.write(FILLER)
        except OSError:
            self.ballast.unlink(missing_ok=True)

    def _tighten(self) -> None:
        """Live with a full disk: give up the ballast, and let new rows only take the place of old ones."""
        self.tight = True
        try:
            self.ballast.unlink(missing_ok=True)
            self.checkpoint()
            if self.db is not None:
                self.db.execute(f"PRAGMA max_page_count={self.db.execute('PRAGMA page_count').fetchone()[0]}")
        except (sqlite3.Error, OSError):
            pass  # the next transaction tells

    def _loosen(self) -> None:
        """There is room again."""
        self.tight = False
        self._limit(self.open(), self.quota)
        self._inflate()

    # -- reading ----------------------------------------------------------------------------------------

    def read(self, lo: int, hi: int, size: int) -> tuple[list[Item], int, int]:
        """Up to 256 batches from row `lo` on, oldest first, about `size` bytes; how far that reaches; bad rows.

        It reaches `hi` where nothing is left in between. Bad rows are set aside. Raises `StoreFault`.
        """
        db = self.open()
        items, bad, total, reached = [], [], 0, hi
        try:
            rows = db.execute(f"{BATCHES} WHERE row BETWEEN ? AND ? ORDER BY row LIMIT {READ}", (lo, hi))
            for n, row in enumerate(rows, 1):
                item = self._item(self._layouts, row)
                if item is None:
                    bad.append(row[0])
                else:
                    items.append(item)
                    total += len(row[5])
                if total >= size or n == READ:
                    reached = row[0]
                    break
        except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
            raise self.failed(error) from error
        if bad:
            with self.transaction() as db:
                for row in bad:
                    set_aside(db, "batch", row, "checksum")
        return items, reached, len(bad)

    @staticmethod
    def _item(known: Mapping[int, tuple[str, tuple[str, ...], tuple[str, ...]]], values: Sequence[Any]) -> Item | None:
        *columns, crc = values
        row, layout, boot, seq, synced, body = columns
        if check(*columns) != crc or layout not in known:
            return None
        source, key, unit = known[layout]
        try:
            batch = unpack(body, source, key, unit, bool(synced))
        except ValueError:
            return None
        return Item("backfill", row, boot, f"telemetry/{source}", seq, batch, historical=True)

    @staticmethod
    def salvage(path: Path, uplinks: Iterable[str]) -> Iterator[Item | dict[str, bytes]]:
        """What is left of a damaged file: first what the uplinks owed, then every batch that can be read."""
        with damaged(path) as db:
            if db is None:
                return
            known = notes(db)
            yield {name: known[f"uplink/{name}"] for name in uplinks if f"uplink/{name}" in known}
            found = layouts(db)
            span = extent(db, "batch")
            for row in rescue(db, BATCHES, span) if span else ():
                if (item := History._item(found, row)) is not None:
                    yield item


BATCHES = "SELECT row, layout, boot, seq, synced, body, crc FROM batch"


def layouts(db: sqlite3.Connection) -> dict[int, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Channels and units by layout id, those whose checksum holds."""
    found = {}
    for id, source, key, unit, crc in rescue(db, "SELECT id, source, key, unit, crc FROM layout", None):
        if check(id, source, key, unit) == crc:
            found[id] = (source, tuple(msgspec.json.decode(key)), tuple(msgspec.json.decode(unit)))
    return found
