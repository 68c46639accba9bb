"""A disk and an event loop in virtual time: no threads, no waiting, the same run from the same seed.

`Disk` stands between the store and its files. Jobs that the product gives to a `Hand` (a thread) run in the loop: after
a while the job is done, a little later its caller hears of it; a kill in between leaves what was committed and not
told. The files are real SQLite files; what fails, fails at the statement where SQLite itself would tell.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import shutil
import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

import agent.outbox
import agent.store
from agent.rows import Owed
from tests.tools.virtual import VirtualLoop

FAULTS = {  # what SQLite says: code, text
    "full": (sqlite3.SQLITE_FULL, "database or disk is full"),
    "write": (sqlite3.SQLITE_IOERR_WRITE, "disk I/O error"),
    "sync": (sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error"),  # told after the commit: nobody knows what is kept
    "gone": (sqlite3.SQLITE_CANTOPEN, "unable to open database file"),
}
Key = tuple[str, str, int]  # boot, stream, seq: the platform's key


class Loop(VirtualLoop):
    """A virtual loop with a world in it: `world(until)` moves the world to the moment when the loop has work again,
    and says how far it came; it may raise to end the life of what runs in this loop."""

    def __init__(self, now: float, world: Callable[[float, float], float]) -> None:
        super().__init__()
        self.virtual = now

        def select(timeout: float | None = None) -> list[Any]:
            until = self.virtual
            if timeout is None or timeout > 0.0:
                until = math.nextafter(until + timeout, math.inf) if timeout is not None else math.inf
            self.virtual = world(self.virtual, until)
            return []

        self._selector.select = select  # type: ignore[attr-defined]
        self.set_exception_handler(lambda loop, context: None)  # what a kill leaves is nobody's mistake

    def bury(self) -> None:
        """The process was killed: none of its code goes on."""
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with suppress(BaseException):
                task.get_coro().close()  # no loop runs: whatever it tries on its way out fails
        self.close()


class Disk:
    """The disk of one machine; it outlives its processes. Who tells the story switches `fault` and `stall`."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.fault: dict[str, str] = {}  # file -> one of FAULTS
        self.stall = 0.0  # s that each job takes longer
        self.moment: Callable[[str], None] = lambda when: None  # hears "begin", "done", "told" of each job
        self.files: list[sqlite3.Connection] = []

    def end(self) -> None:
        """The process is dead: the kernel closes its files."""
        for db in self.files:
            with suppress(sqlite3.Error):
                db.close()
        self.files.clear()

    def connect(self, path: Path | str, **more: Any) -> sqlite3.Connection:
        disk, name = self, Path(path).name

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                fault = disk.fault.get(name, "")
                if fault == "gone" or (fault in ("full", "write") and sql == "COMMIT"):
                    raise disk.error(fault)
                cursor = super().execute(sql, *values)
                if fault == "sync" and sql == "COMMIT":
                    raise disk.error(fault)
                return cursor

        if self.fault.get(name) == "gone":
            raise self.error("gone")
        db = sqlite3.connect(path, factory=Connection, **more)
        self.files.append(db)
        return db

    @staticmethod
    def error(fault: str) -> sqlite3.Error:
        code, text = FAULTS[fault]
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = code
        return error

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """The product's store works on this disk."""

        class Module:
            """sqlite3 but for `connect`."""

            connect = staticmethod(self.connect)

            def __getattr__(self, name: str) -> Any:
                return getattr(sqlite3, name)

        class Dice:
            """secrets, from the seed."""

            @staticmethod
            def token_hex(n: int) -> str:
                return f"{self.rng.getrandbits(8 * n):0{2 * n}x}"

            @staticmethod
            def randbits(k: int) -> int:
                return self.rng.getrandbits(k)

        stand_ins = ((agent.store, "sqlite3", Module()), (agent.outbox, "Hand", lambda name: Hand(self)))
        with replaced((*stand_ins, (agent.outbox, "secrets", Dice))):
            yield


class Hand:
    """`agent.hand.Hand` without a thread: one job after the other, in virtual time."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.jobs: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()
        self.busy = False

    def do(self, job: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self.jobs.append((future, lambda: job(*args)))
        self._next()
        return future

    def end(self) -> None:
        pass

    def _next(self) -> None:
        if self.jobs and not self.busy:
            self.busy = True
            self.disk.moment("begin")
            delay = self.disk.stall + self.disk.rng.choice((0.0005, 0.001, 0.004))
            asyncio.get_running_loop().call_later(delay, self._work)

    def _work(self) -> None:
        future, job = self.jobs.popleft()
        result, failure = None, None
        try:
            result = job()
        except BaseException as error:
            failure = error
        self.disk.moment("done")
        asyncio.get_running_loop().call_later(0.0005, self._tell, future, result, failure)

    def _tell(self, future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
        self.busy = False
        if not future.cancelled():
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)
        self.disk.moment("told")
        self._next()


# -- what lies there, read without the product ---------------------------------------------------------------


def copied(source: Path, target: Path) -> Path:
    """The files as a SIGKILL leaves them now."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("ballast", "*.sock"))
    return target


def lying(folder: Path, uplink: str) -> tuple[set[Key], set[Key]]:
    """(what lies on the disk, what of it is owed to `uplink`), by the platform's key. Damaged files hold nothing."""
    kept: set[Key] = set()
    owed: set[Key] = set()
    with _opened(folder, "alarms.db") as db:
        for boot, lane, seq, names in db.execute("SELECT boot, lane, seq, owed FROM item"):
            kept.add((boot, lane, seq))
            if uplink in names.split("\n"):
                owed.add((boot, lane, seq))
    with _opened(folder, "history.db") as db:
        note = db.execute("SELECT body FROM note WHERE name = ?", (f"uplink/{uplink}",)).fetchone()
        spans = Owed(msgspec.json.decode(note[0], type=list[tuple[int, int, bool]]) if note else [])
        query = "SELECT row, boot, source, seq FROM batch JOIN layout ON layout = id"
        for row, boot, source, seq in db.execute(query):
            kept.add((boot, f"telemetry/{source}", seq))
            if row in spans:
                owed.add((boot, f"telemetry/{source}", seq))
    return kept, owed


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[sqlite3.Connection]:
    """A copy of the file, for opening it would already change what a SIGKILL left. Ends early where it is damaged."""
    with suppress(sqlite3.Error, ValueError), tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for part in folder.glob(f"{name}*"):
            if part.name in (name, f"{name}-wal"):
                shutil.copy(part, scratch)
        db = sqlite3.connect(Path(scratch) / name)
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            yield db
        finally:
            db.close()


@contextmanager
def replaced(stand_ins: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    """Within the block each (owner, attribute) is something else."""
    old = [(owner, name, getattr(owner, name)) for owner, name, _ in stand_ins]
    for owner, name, value in stand_ins:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in old:
            setattr(owner, name, value)


def memory() -> str | None:
    """Where files lie in memory, so that a commit costs no disk; None where there is no such place."""
    place = Path("/dev/shm")
    return str(place) if place.is_dir() and os.access(place, os.W_OK) else None
