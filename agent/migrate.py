"""What an older program left in the folder of the state, made fit for this one. What a newer one left is not touched.

    <state>/format          which format all of it is in, and by which program: JSON
    <state>/before-<n>/     the files that the step to format n changes, as they were; for people

A format counts for the whole folder: stores, journal, ledger, checkpoint. Each step changes its files in one
transaction, or not at all; one that was killed is taken again. A step that fails is told, and the agent starts all the
same: a file that it cannot read is moved aside, as ever. Everything here blocks, and runs before the agent does.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from . import __version__, durable, store
from .core.alarm import Alarm
from .core.errors import ConfigFault
from .rows import check

FILE = "format"
FORMAT = 2  # of this program
OLD_ALARMS = 0x56444131  # application id of alarms.db in format 1


class Format(Struct, frozen=True):
    """Of a folder."""

    format: int
    program: str = ""  # the last one that wrote there, by its version


class Step(NamedTuple):
    """From the format before to this one."""

    to: int
    what: str  # for people
    files: tuple[str, ...]  # that are changed, and kept as they were
    take: Callable[[Path], None]  # raises `sqlite3.Error`, `OSError` or `ValueError`, and then has changed nothing


class _Open(Struct, frozen=True):
    alarm: Alarm


class _Saved(Struct, frozen=True):
    open: tuple[_Open, ...] = ()


def _open_alarms(state: Path) -> None:
    """alarms.db 1 had the open alarms in one note, written with every edge; 2 has a row for each."""
    with closing(sqlite3.connect(state / "alarms.db", timeout=1.0, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        if db.execute("PRAGMA application_id").fetchone()[0] != OLD_ALARMS:
            return  # done before
        saved = msgspec.json.decode(store.notes(db).get("memory", b"{}"), type=_Saved)
        db.execute(
            "CREATE TABLE open(row INTEGER PRIMARY KEY, rule TEXT NOT NULL, channel TEXT NOT NULL, n INTEGER NOT NULL,"
            " body BLOB NOT NULL, crc INTEGER NOT NULL, UNIQUE(rule, channel))"
        )
        for n, (alarm,) in enumerate(map(msgspec.structs.astuple, saved.open), 1):
            row = alarm.rule, alarm.channel, n, msgspec.json.encode(alarm, enc_hook=str)
            db.execute(
                "INSERT OR REPLACE INTO open(rule, channel, n, body, crc) VALUES (?,?,?,?,?)", (*row, check(*row))
            )
        db.execute("DELETE FROM note WHERE name = 'memory'")
        db.execute(f"PRAGMA application_id={store.Alarms.application}")
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the header says by itself what the file is


STEPS = (Step(2, "each open alarm has a row of its own in alarms.db", ("alarms.db", "alarms.db-wal"), _open_alarms),)


def found(state: Path) -> int | None:
    """The format of a folder; None where there is nothing yet. Raises `OSError`."""
    try:
        return msgspec.json.decode((state / FILE).read_bytes(), type=Format).format
    except FileNotFoundError:
        pass
    except msgspec.MsgspecError:
        return FORMAT  # damaged; whatever is not readable says so itself
    if store.application_of(state / "alarms.db") == OLD_ALARMS:
        return 1
    return FORMAT if any((state / name).exists() for name in ("alarms.db", "history.db", "journal")) else None


class Told(NamedTuple):
    """What became of one step."""

    done: bool
    text: str


def prepare(state: Path) -> list[Told]:
    """Make the folder fit for this program. What was done, and what could not be.

    Raises `ConfigFault` where a newer program wrote there: nothing is touched then.
    """
    told: list[Told] = []
    try:
        now = found(state)
        if now is not None and now > FORMAT:
            text = (
                f"{state} is in format {now}, of a newer program; this one ({__version__}) knows formats up to {FORMAT}"
            )
            raise ConfigFault([f"{text}: start the newer one, or name another folder in [store] path"])
        for step in STEPS:
            if now is not None and now < step.to:
                told.append(_taken(state, step))
                now = step.to
        if state.is_dir() or now is None:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            _note(state)
    except OSError as error:
        told.append(Told(False, f"format of {state}: {error.strerror or error}"))  # the stores will say more
    return told


def _taken(state: Path, step: Step) -> Told:
    """Take one step, with a copy before. Raises `OSError`."""
    kept = state / f"before-{step.to}"
    if not kept.exists():
        half = kept.with_name(f"{kept.name}.new")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        for name in step.files:
            if (state / name).exists():
                shutil.copy2(state / name, half / name)
        half.rename(kept)
        durable.sync(state)
    try:
        step.take(state)
    except (sqlite3.Error, ValueError) as error:
        return Told(False, f"not migrated to format {step.to} ({step.what}): {error}; as it was: {kept.name}")
    return Told(True, f"migrated to format {step.to}: {step.what}; as it was: {kept.name}")


def _note(state: Path) -> None:
    text = msgspec.json.encode(Format(FORMAT, __version__))
    if not (state / FILE).exists() or (state / FILE).read_bytes() != text:
        durable.replace(state / FILE, text)
