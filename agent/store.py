"""The two SQLite files of the outbox, and the threads that own them. Everything here blocks.

`alarms.db` holds alarms and events on their way, the alarms that are open and the boot counter;
`history.db` holds telemetry and what each uplink still owes of it. Two files, so that losing history
cannot touch an alarm. Each is owned by one `Hand`; nobody else opens it (EXCLUSIVE locking: a second
process is refused).

Every row carries a checksum over all its columns. A row that fails it is moved to the table `aside`,
counted and never sent: SQLite's own checks find one flipped bit in fifty (reliability.md 0.5). A file that SQLite
refuses is renamed, and what is left of it is read page by page (`pages.py`).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .core.alarm import Alarm, Point
from .core.errors import StoreFault
from .core.ports import Batch, Event, Item
from .eras import Era
from .pages import LOG_MOST, Column, Pages, mended
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
PAGE = 1024  # bytes
BEFORE = ("locking_mode=EXCLUSIVE", f"page_size={PAGE}", "auto_vacuum=NONE", "journal_mode=WAL", "synchronous=FULL")
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


def connect(path: Path) -> sqlite3.Connection:
    """A bare connection: transactions begin and end where we say, and one thread after the other may use it."""
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    db.text_factory = lenient
    return db


def log_of(path: Path) -> Path:
    """SQLite's log beside the file."""
    return path.with_name(path.name + "-wal")


@contextmanager
def copied(path: Path) -> Iterator[Path]:
    """A copy of a file and its log, for whoever wants to look while nobody owns it: to open the file itself would leave
    others beside it, which the agent finds at its next start. Raises `OSError`."""
    with tempfile.TemporaryDirectory(prefix="vedette-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        if log_of(path).exists():
            shutil.copyfile(log_of(path), log_of(copy))
        yield copy


def mend(log: Path) -> None:
    """Make a log whole again of which SQLite would drop what was committed. Raises `OSError`."""
    if log.exists() and log.stat().st_size < LOG_MOST and (text := mended(log.read_bytes(), PAGE)) is not None:
        whole = log.with_name(log.name + ".mended")
        with whole.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        whole.replace(log)


_STRAIGHTENING = threading.Lock()  # two hands open their files at the same time


def straighten(path: Path, application: int) -> None:
    """Files that somebody put back under each other's names get their own again, before any is opened."""
    with _STRAIGHTENING:
        if application_of(path) in (0, application):
            return
        for other in path.parent.glob("*.db"):
            if other != path and application_of(other) == application:
                between = path.with_name("between")
                for end in ("", "-wal"):
                    parts = [file.with_name(file.name + end) for file in (path, other, between)]
                    for old, new in ((0, 2), (1, 0), (2, 1)):
                        if parts[old].exists():
                            parts[old].replace(parts[new])
                return


def application_of(path: Path) -> int:
    """Whose file it is, by its header; 0 where it says nothing."""
    try:
        with path.open("rb") as file:
            return int.from_bytes(file.read(72)[68:])
    except FileNotFoundError:
        return 0


class File:
    """One SQLite file. Opened when first needed, and again after a fault of the disk."""

    application = 0  # tells our two files apart
    schema = ""
    settings: tuple[str, ...] = ()  # its own

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
            straighten(self.path, self.application)
            mend(log_of(self.path))
            db = connect(self.path)
            for pragma in (*BEFORE, *AFTER, *self.settings):
                db.execute(f"PRAGMA {pragma}").fetchall()  # to its end: the log's error comes behind its row
            self._limit(db, self.quota)
            if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                db.executescript(f"BEGIN;{COMMON}{self.schema}PRAGMA application_id={self.application};COMMIT;")
                self.created(db)
                db.execute("PRAGMA wal_checkpoint(RESTART)")  # from now on the file says itself what it is
            elif db.execute("PRAGMA application_id").fetchone()[0] != self.application:
                raise sqlite3.DatabaseError("the file belongs to something else")
            else:
                self._settle(db)
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

    def _settle(self, db: sqlite3.Connection) -> None:
        """Copy the log into the file, and sync that, before the log is continued.

        An earlier sync of the log may have failed. Then what it holds can be read, from the kernel's memory, and no
        later sync writes it: to the kernel it is clean. A commit behind it would be lost with it.
        """
        try:
            db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()  # it keeps its blocks: the disk may be full
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL:  # no room for it: it works as it is
                raise

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
    return sound_notes(db.execute("SELECT name, body, crc FROM note").fetchall())


def sound_notes(rows: Iterable[Sequence[Any]]) -> dict[str, bytes]:
    return {name: body for name, body, crc in rows if isinstance(body, bytes) and check(name, body) == crc}


def boots(found: Mapping[str, bytes]) -> int:
    """How often the daemon was started with this file."""
    text = found.get("boots", b"0")
    return int(text) if text.isdigit() else 0


def eras(found: Mapping[str, bytes]) -> list[Era]:
    """What is known of the clock in earlier starts."""
    return msgspec.json.decode(found.get("eras", b"[]"), type=list[Era])


def set_aside(db: sqlite3.Connection, table: str, row: int, why: str) -> None:
    """Move a row out of the way, for somebody to look at."""
    db.execute(f"INSERT INTO aside(row, why, body) SELECT row, ?, body FROM {table} WHERE row = ?", (why, row))
    db.execute(f"DELETE FROM {table} WHERE row = ?", (row,))
    db.execute("DELETE FROM aside WHERE n <= (SELECT max(n) FROM aside) - ?", (ASIDE,))


# -- alarms and events --------------------------------------------------------------------------------


class Kept(NamedTuple):
    """One alarm or event as it stands in the file."""

    row: int
    lane: str
    boot: str
    seq: int
    owed: str  # names of the uplinks that owe it, joined by newlines
    body: bytes  # JSON of `Alarm` or `Event`


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
    only: list[int] | None = None  # if given, the only rows that are to stay


class AlarmsFound(NamedTuple):
    """What the file held when it was opened."""

    rows: list[tuple[Kept, Alarm | Event]]
    open: list[Standing]
    boots: int
    last: int  # highest row
    bad: int
    damage: Corrupt | None
    eras: Sequence[Era] = ()


BALLAST = "ballast"  # a file
RESERVE = 256 * 1024  # bytes of free pages made at once, so that alarms can be written on a full disk


class Alarms(File):
    """`alarms.db`: small, one transaction per edge."""

    # A log that grows costs its file system a transaction for each of ours, one that is written over none: measured
    # 50 kB against 30 kB for an alarm raised, cleared and confirmed (T20). It grows to this many pages.
    settings = ("wal_autocheckpoint=100",)

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

    def opened(self, db: sqlite3.Connection) -> None:
        if (verdict := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":  # small file: 1 ms
            raise sqlite3.DatabaseError(str(verdict))

    def load(self) -> AlarmsFound:
        """Everything in the file; from a damaged one, whatever can still be read. Raises `StoreFault`."""
        try:
            found = self._read()
            if found.bad:
                with self.transaction() as db:
                    for table, row in self._bad:
                        set_aside(db, table, row, "checksum")
        except Corrupt as error:
            found = self._salvage(error)
            self.open()
        return found

    def _read(self) -> AlarmsFound:
        db = self.open()
        try:
            items = db.execute("SELECT row, lane, boot, seq, owed, body, crc FROM item").fetchall()
            stand = db.execute("SELECT row, rule, channel, n, body, crc FROM open").fetchall()
            return self._sound(items, stand, notes(db), None)
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise self.failed(error) from error

    def _salvage(self, damage: Corrupt) -> AlarmsFound:
        items: dict[Any, Sequence[Any]] = {}
        stand: list[Sequence[Any]] = []
        known: list[Sequence[Any]] = []
        for row in remains(damage.moved):
            match len(row):
                case 7:
                    items[row[0]] = row
                case 6:
                    stand.append(row)
                case 3:
                    known.append(row)
        found = self._sound(items.values(), stand, sound_notes(known), damage)
        latest = {(standing.alarm.rule, standing.alarm.channel): standing for standing in found.open}
        return found._replace(open=sorted(latest.values(), key=lambda s: s.n), bad=0)

    def _sound(
        self,
        items: Iterable[Sequence[Any]],
        stand: Iterable[Sequence[Any]],
        known: Mapping[str, bytes],
        damage: Corrupt | None,
    ) -> AlarmsFound:
        """What of these rows holds its checksum; the others are bad."""
        rows: list[tuple[Kept, Alarm | Event]] = []
        open: list[Standing] = []
        self._bad: list[tuple[str, int]] = []
        for *values, crc in items:
            kept = Kept(*values)
            if check(*kept) == crc and (body := decoded(kept.lane, kept.body)) is not None:
                rows.append((kept, body))
            else:
                self._bad.append(("item", kept.row))
        for row, *values, crc in stand:
            rule, channel, n, text = values
            alarm = decoded("alarm", text) if check(*values) == crc else None
            if isinstance(alarm, Alarm) and (alarm.rule, alarm.channel) == (rule, channel):
                open.append(Standing(n, alarm))
            else:
                self._bad.append(("open", row))
        rows.sort(key=lambda pair: pair[0].row)
        open.sort(key=lambda standing: standing.n)
        last = max([0, *(kept.row for kept, _ in rows), *(n for n, _ in open)])
        return AlarmsFound(rows, open, boots(known), last, len(self._bad), damage, eras(known))

    def commit(self, work: AlarmWork) -> None:
        """All of `work` or nothing, durable when it returns. Raises `StoreFault`."""
        try:
            self._commit(work)
        except Full:
            # The log cannot grow on a full disk, but once copied into the file it starts over in its own blocks.
            self.checkpoint()
            try:
                self._commit(work)
            except Full:  # it has too few of its own
                self.path.with_name(BALLAST).unlink(missing_ok=True)
                self._commit(work)

    def _commit(self, work: AlarmWork) -> None:
        with self.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO item VALUES (?,?,?,?,?,?,?)", [(*k, check(*k)) for k in work.put])
            for row, owed in work.owe:
                self._owe(db, row, owed)
            for row, why in work.aside:
                set_aside(db, "item", row, why)
            db.executemany("DELETE FROM item WHERE row = ?", [(row,) for row in work.delete])
            if work.only is not None:
                keep = msgspec.json.encode(work.only).decode()
                db.execute("DELETE FROM item WHERE row NOT IN (SELECT value FROM json_each(?))", (keep,))
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

    def booted(self, count: int, eras: Sequence[Era]) -> None:
        """Remember how often the daemon was started, and what is known of the clock."""
        with self.transaction() as db:
            self.note(db, "boots", str(count).encode())
            self.note(db, "eras", msgspec.json.encode(eras))


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
    lost: Sequence[Lost] = ()  # what may not have been told yet
    thinned: int = 0  # of the rows before this one some were let go


class Lost(NamedTuple):
    """A stretch of one stream that an uplink will never deliver, for want of room."""

    uplink: str
    boot: str
    stream: str
    first: int  # seq
    last: int
    n: int
    reason: str = "quota"  # or "thinned": others of that time are still there


class Gone(NamedTuple):
    """A batch that left the store: by the quota, or because it was damaged (then it has no name)."""

    row: int
    boot: str
    stream: str
    seq: int
    reason: str = "quota"  # or "thinned"


class Committed(NamedTuple):
    evicted: list[Gone]  # those that somebody may still owe
    full: bool  # the disk is full; the file does not grow
    lost: Sequence[Lost] = ()  # what each uplink lost of `evicted`
    dropped: int = 0  # every row up to this one is gone
    thinned: int = 0  # of the rows before this one some are gone


SPARE = 0.03  # of the quota, kept free; project
BITE = 0.02  # of the rows, dropped at once when room is needed; project
# What is owed and finds no room any more is thinned out, the oldest first, before anything is dropped: to each 4th
# batch of a stream, then to each 16th. Each grade has as many batches as the others, so that seven times as long a time
# is covered, the newest third of them in full. Each 2nd would free nothing: SQLite joins pages that are two thirds
# empty. On a disk that is full the oldest goes at once: there is no room for the log of anything clever.
GRADES = (4, 16)
THIN = 2000  # rows looked at in one step of thinning: a page of the log each, at most; project
READ = 256  # batches read at once, at most
PAST = 4096  # batches of what was, at most
GATHERED = 5.0  # s by which rows may be out of the order of time: sources gather for a while


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
        self.ballast = path.with_name(BALLAST)  # given up on a full disk, so that a checkpoint can finish
        self.ballast_size = ballast
        self.tight = False  # the disk is full: the file may not grow
        self._looked = False  # for damage, since rows were missed; once is enough, for it reads all of the file
        self._layouts: Layouts = {}
        self._latest: dict[str, tuple[tuple[str, ...], tuple[str, ...], int]] = {}
        self._noted: list[Lost] = []  # what the note `lost` says
        self._borders = [0] * len(GRADES)  # rows before this one are thinned to that grade
        self._patience: dict[str, int] = {}  # batches of this source for which packing is not tried

    def opened(self, db: sqlite3.Connection) -> None:
        self.tight, self._noted, self._looked = False, [], False
        self._borders = borders(db)
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
        lost = [Lost(*row) for row in msgspec.json.decode(known.get("lost", b"[]"))]
        self._noted = lost
        return HistoryFound(owed, last, boots(known), None, lost, self._borders[0])

    def booted(self, count: int) -> None:
        """Remember how often the daemon was started, in case the other file is lost."""
        with self.transaction() as db:
            self.note(db, "boots", str(count).encode())

    # -- writing ----------------------------------------------------------------------------------------

    def commit(
        self, items: Sequence[Item], states: Mapping[str, bytes], owed_from: int, untold: Sequence[Lost] = ()
    ) -> Committed:
        """Batches and what is owed after them, in one transaction. Raises `StoreFault`.

        When room is needed the oldest rows go; those from `owed_from` on are named in the result. Nobody owes them any
        more, and what each uplink lost by that is noted beside `untold`, for a start that finds it not told yet.
        """
        bodies = [self._packed(item) for item in items]
        size = sum(map(len, bodies)) + 256 * len(bodies) + 4096
        if self.tight and self._room() > 2 * self.ballast_size:
            self._loosen()
        elif not self.tight:
            self._inflate()  # the alarms may have needed it
        evicted: list[Gone] = []
        dropped, borders = 0, self._borders
        for last in (False, False, True):
            try:
                with self.transaction() as db:
                    evicted, dropped, borders = self._make_room(db, size, owed_from)
                    if borders != self._borders:
                        self.note(db, "thinned", msgspec.json.encode(borders))
                    for item, body in zip(items, bodies, strict=True):
                        self._insert(db, item, body)
                    for name, state in states.items():
                        self.note(db, f"uplink/{name}", state)
                    noted = [*untold, *self._forget(db, evicted, dropped)]
                    if noted != self._noted:
                        self.note(db, "lost", msgspec.json.encode(noted))
                self._noted, self._borders = noted, borders
                break
            except Full:
                self._latest.clear()  # a layout of the lost transaction must be written again
                self._tighten()
                if last:
                    raise
            except StoreFault:
                self._latest.clear()
                raise
        return Committed(evicted, self.tight, noted[len(untold) :], dropped, self._borders[0])

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

    def _make_room(self, db: sqlite3.Connection, size: int, owed_from: int) -> tuple[list[Gone], int, list[int]]:
        """Let the oldest rows go until `size` bytes fit under the quota with some spare.

        What nobody owes any more goes first, then what is owed is thinned out, then dropped. Returns what of it
        somebody owed, the last row before which nothing is left, and the borders of the grades.
        """
        page, limit, used = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "max_page_count", "page_count")
        )
        wanted = size // page + int(SPARE * limit)
        gone: list[Gone] = []
        dropped, borders = 0, list(self._borders)
        while limit - used + db.execute("PRAGMA freelist_count").fetchone()[0] < wanted:
            lo, hi = db.execute("SELECT min(row), max(row) FROM batch").fetchone()
            if lo is None:
                break
            edges = [hi + 1, *borders, lo]  # of the grades: 0 is whole, the newest
            counts = [_about(db, edges[g + 1], edges[g]) // ((1, *GRADES)[g]) for g in range(len(edges) - 1)]
            bite = max(1, int(BITE * sum(counts)))
            largest = max(range(len(counts)), key=lambda g: (counts[g], g))
            if lo < owed_from or self.tight or largest == len(GRADES):
                until = _nth(db, lo, hi + 1 if lo >= owed_from else min(hi + 1, owed_from), bite)
                gone += _named(db, "row >= ? AND row < ?", (owed_from, until), "quota") if until > owed_from else []
                db.execute("DELETE FROM batch WHERE row < ?", (until,))
                dropped = until - 1
                continue
            begin = max(lo, edges[largest + 1])
            until = _nth(db, begin, edges[largest], min(bite, THIN))
            thin = f"row >= ? AND row < ? AND seq % {GRADES[largest]}"
            gone += _named(db, thin, (begin, until), "thinned")
            db.execute(f"DELETE FROM batch WHERE {thin}", (begin, until))
            borders[largest] = until
        return gone, dropped, borders

    def _forget(self, db: sqlite3.Connection, evicted: Sequence[Gone], dropped: int) -> list[Lost]:
        """Have no uplink owe the rows up to `dropped`. Returns what each of them lost of `evicted`, by stream."""
        found: list[Lost] = []
        if not evicted:
            return found
        for name, text in notes(db).items():
            if not name.startswith("uplink/"):
                continue
            owed = Owed(msgspec.json.decode(text, type=list[Span]))
            streams: dict[tuple[str, str, str], list[int]] = {}
            for row, boot, stream, seq, reason in evicted:
                if row in owed:
                    streams.setdefault((boot, stream, reason), []).append(seq)
            if owed.cut(0, dropped):
                self.note(db, name, msgspec.json.encode(owed.spans))
            for (boot, stream, reason), seqs in streams.items():
                found.append(Lost(name[7:], boot, stream, min(seqs), max(seqs), len(seqs), reason))
        return found

    # -- a full disk ------------------------------------------------------------------------------------

    def _room(self) -> int:
        """Free bytes on the file system."""
        try:
            found = os.statvfs(self.path.parent)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize

    def _inflate(self) -> None:
        """Make the ballast, if the disk has plenty of room; anew where a power cut left less of it than its name."""
        try:
            held = self.ballast.stat().st_blocks * 512  # bytes; stat(2)
        except OSError:
            held = 0
        if held >= self.ballast_size or self._room() < 2 * self.ballast_size:
            return
        try:
            with self.ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self.ballast_size)  # takes the room and spares the card
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
        if len(items) + len(bad) <= reached - lo and lo >= self._borders[0] and not self._looked:
            self._looked = True
            self._look(db)
        if bad:
            with self.transaction() as db:
                for row in bad:
                    set_aside(db, "batch", row, "checksum")
        return items, reached, len(bad)

    def find(self, boot: str, source: str, first: int, last: int) -> list[tuple[int, int]]:
        """Row and number of the batches `first` to `last` of one source in one start. Raises `StoreFault`.

        Rows of one start are numbered as they came, and so is each of its streams: the first is found by halving. What
        was salvaged from a damaged file has rows of a later start, and is not found.
        """
        db = self.open()
        try:
            ids = [str(id) for id, (name, _, _) in self._layouts.items() if name == source]
            count = int(boot.partition("-")[0]) if boot.partition("-")[0].isdigit() else 0
            lo, end = count << 32, (count + 1) << 32
            if not ids or not count:
                return []
            lo, hi = db.execute("SELECT min(row), max(row) FROM batch WHERE row >= ? AND row < ?", (lo, end)).fetchone()
            if lo is None:
                return []
            mine = f"boot = ? AND layout IN ({','.join(ids)})"
            after = f"SELECT row, seq FROM batch WHERE row >= ? AND row <= ? AND {mine} ORDER BY row LIMIT 1"

            def reached(row: int) -> bool:
                found = db.execute(after, (row, hi, boot)).fetchone()
                return found is None or found[1] >= first

            begin = lo + bisect_left(range(lo, hi), True, key=reached)
            found = db.execute(
                f"SELECT row, seq FROM batch WHERE row >= ? AND row <= ? AND {mine} AND seq >= ? ORDER BY row LIMIT ?",
                (begin, hi, boot, first, last - first + 1),
            ).fetchall()
            return [(row, seq) for row, seq in found if seq <= last]
        except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
            raise self.failed(error) from error

    def past(self, boot: str, sources: Collection[str], begin: float, end: float) -> list[Batch]:
        """Batches of these sources of one boot that begin between two monotonic s, oldest first, `PAST` at most.

        Damaged ones are left out. Raises `StoreFault`.
        """
        count = int(boot.partition("-")[0])
        lo, hi = count << 32, (count + 1 << 32) - 1
        db, found = self.open(), list[Batch]()
        try:

            def reached(row: int) -> bool:
                item = self._next(db, row, hi)
                return item is None or item.body.mono[0] >= begin - GATHERED  # type: ignore[union-attr]

            # rows of a boot are in the order of time, but for a second or so
            lo += bisect_left(range(lo, hi), True, key=reached)
            wanted = {id for id, (source, _, _) in self._layouts.items() if source in sources}
            rows = db.execute(f"{BATCHES} WHERE row >= ? AND row < ? ORDER BY row", (lo, count + 1 << 32))
            for row in rows:
                if row[1] in wanted and (item := self._item(self._layouts, row)) is not None and item.boot == boot:
                    assert isinstance(item.body, Batch)
                    if item.body.mono[0] < begin:
                        continue
                    if item.body.mono[0] > end + GATHERED or len(found) >= PAST:
                        break
                    found += [item.body] if item.body.mono[0] <= end else []
        except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
            raise self.failed(error) from error
        return found

    def _next(self, db: sqlite3.Connection, lo: int, hi: int) -> Item | None:
        """The first sound batch of these rows."""
        for row in db.execute(f"{BATCHES} WHERE row BETWEEN ? AND ? ORDER BY row", (lo, hi)):
            if (item := self._item(self._layouts, row)) is not None and len(item.body.mono):  # type: ignore[union-attr]
                return item
        return None

    def _look(self, db: sqlite3.Connection) -> None:
        """Rows that ought to be there are not found: see whether the file is damaged. Raises `Corrupt`."""
        try:
            if (verdict := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(str(verdict))
        except sqlite3.Error as error:
            raise self.failed(error) from error

    @staticmethod
    def _item(known: Layouts, values: Sequence[Any]) -> Item | None:
        if len(values) != 7:
            return None
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
        try:
            with Pages(path, PAGE) as pages:
                spots, small = {}, []
                for spot in pages.spots():
                    row = pages.row(spot) or ()
                    if len(row) == 7 and isinstance(row[0], int):
                        spots[row[0]] = spot
                    elif len(row) in (3, 5):
                        small.append(row)
                known = sound_notes(row for row in small if len(row) == 3)
                yield {name: known[f"uplink/{name}"] for name in uplinks if f"uplink/{name}" in known}
                found = sound_layouts(row for row in small if len(row) == 5)
                for row_id in sorted(spots):
                    if (item := History._item(found, pages.row(spots[row_id]) or ())) is not None:
                        yield item
        except OSError:
            return  # the disk does not even let it be read


def borders(db: sqlite3.Connection) -> list[int]:
    """Before which rows what is owed was thinned out, by grade."""
    found = msgspec.json.decode(notes(db).get("thinned", b"[]"), type=list[int])
    return found if len(found) == len(GRADES) else [0] * len(GRADES)


def _about(db: sqlite3.Connection, begin: int, end: int) -> int:
    """How many rows there were from `begin` to before `end` before any was thinned out.

    Those of one start have no gap then; to count them would be to read them all.
    """
    n = 0
    while begin < end:
        first = db.execute("SELECT min(row) FROM batch WHERE row >= ? AND row < ?", (begin, end)).fetchone()[0]
        if first is None:
            break
        begin = min(end, (first >> 32) + 1 << 32)
        n += db.execute("SELECT max(row) FROM batch WHERE row < ?", (begin,)).fetchone()[0] - first + 1
    return n


def _nth(db: sqlite3.Connection, begin: int, end: int, n: int) -> int:
    """The row before which there are `n` rows from `begin` on, at most `end`."""
    query = "SELECT row FROM batch WHERE row >= ? AND row < ? ORDER BY row LIMIT 1 OFFSET ?"
    row = db.execute(query, (begin, end, n)).fetchone()
    return end if row is None else int(row[0])


def _named(db: sqlite3.Connection, where: str, values: Sequence[int], reason: str) -> list[Gone]:
    """The rows that are about to go, with the stream of each."""
    query = f"SELECT row, boot, source, seq FROM batch JOIN layout ON layout = id WHERE {where}"
    return [Gone(row, boot, f"telemetry/{s}", seq, reason) for row, boot, s, seq in db.execute(query, values)]


BATCHES = "SELECT row, layout, boot, seq, synced, body, crc FROM batch"


Layouts = dict[int, tuple[str, tuple[str, ...], tuple[str, ...]]]  # id -> source, channels, units


def layouts(db: sqlite3.Connection) -> Layouts:
    """Channels and units by layout id, those whose checksum holds."""
    return sound_layouts(db.execute("SELECT id, source, key, unit, crc FROM layout").fetchall())


def sound_layouts(rows: Iterable[Sequence[Any]]) -> Layouts:
    return {
        id: (source, tuple(msgspec.json.decode(key)), tuple(msgspec.json.decode(unit)))
        for id, source, key, unit, crc in rows
        if check(id, source, key, unit) == crc
    }


def remains(path: Path | None) -> Iterator[tuple[Column, ...]]:
    """Every row that stands in a damaged file, of all its tables; checksums are for the reader."""
    if path is None:
        return
    try:
        with Pages(path, PAGE) as pages:
            for spot in pages.spots():
                if (row := pages.row(spot)) is not None:
                    yield row
    except OSError:
        return  # the disk does not even let it be read
