"""T5: files that somebody or something damaged. Nothing wrong is sent, and what is intact comes back.

The product writes its files; they are copied as a kill leaves them (with SQLite's log) or as a stop does; each copy is
damaged in one way; the product opens it and hands out what it has. What was put is known byte for byte, and where each
row lies is read from the files by `tests/rigs/pages.py`.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from agent.clock import ManualClock, SystemClock
from agent.core.alarm import Alarm
from agent.core.ports import Batch, Event, Item
from agent.outbox import Outbox, Store
from tests.rigs import cargo
from tests.rigs.disk import ram
from tests.rigs.pages import File, Place
from tests.rigs.trial import Case, Trial

ALARMS, BATCHES = 200, 600
SHAPE = cargo.channels(10)
FILES = {"alarms.db": "item", "history.db": "batch"}  # and the table whose rows are sent
TORN = "damage in the last transaction of SQLite's log cannot be told from a power cut that tore it"
Key = tuple[str, int]  # stream, number in it


class Filled(NamedTuple):
    """A state directory as the product wrote it."""

    home: Path
    boot: str
    put: dict[Key, bytes]  # content of what is owed
    places: dict[Key, list[Place]]  # where it lies, in `home`


def content(item: Item) -> bytes:
    """Everything of the item that a platform sees, but the marks of its sending."""
    if isinstance(item.body, Batch):
        b = item.body
        head = repr((b.source, b.key, b.unit, b.synced)).encode()
        return head + b.mono.tobytes() + b.wall.tobytes() + b.value.tobytes() + b.quality.tobytes()
    return repr(item.body).encode()


async def fill(home: Path, killed: Path) -> tuple[str, dict[Key, bytes]]:
    """Edges and batches that nobody fetched; `killed` is a copy from before the stop. The boot, and what was put."""
    clock, put = ManualClock(), {}
    outbox = await Outbox.open(Store(path=str(home), batch=0.001, ballast_mb=0), ["p"], clock)
    feed, inner = outbox.feed("p"), outbox.feed("p").put

    def noting(item: Item) -> None:
        put[item.stream, item.seq] = content(item)
        inner(item)

    feed.put = noting  # type: ignore[method-assign]
    for n in range(BATCHES):
        outbox.put_frame(cargo.reading(n, clock.advance(1.0), SHAPE))
        if n % 3 == 0 and n // 3 < ALARMS:
            await outbox.put_alarms([cargo.edge(n // 3, n // 3 // cargo.POINTS % 2 == 0, clock.now())])
        await asyncio.sleep(0.002)
    end = time.monotonic() + 10
    while outbox.depth()["backfill"] < BATCHES and time.monotonic() < end:
        await asyncio.sleep(0.01)
    shutil.copytree(home, killed)
    await outbox.close()
    return outbox.boot, put


def located(home: Path, boot: str, put: dict[Key, bytes], scratch: Path) -> Filled:
    """Where in the files of `home` each row lies."""
    shutil.copytree(home, scratch)
    places: dict[Key, list[Place]] = {}
    for name, table in FILES.items():
        db = sqlite3.connect(scratch / name)
        root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
        stream = "lane" if table == "item" else "'telemetry/s'"
        keys = {row: (s, seq) for row, s, seq in db.execute(f"SELECT row, {stream}, seq FROM {table}")}
        db.close()
        places |= {keys[row]: found for row, found in File(home / name).rows(root).items()}
    shutil.rmtree(scratch)
    return Filled(home, boot, {key: put[key] for key in places}, places)


# -- ways to do damage: each returns the stretches that it changed --------------------------------------


def flip(file: Path, at: int, bit: int) -> list[Place]:
    text = bytearray(file.read_bytes())
    text[at] ^= 1 << bit
    file.write_bytes(text)
    return [Place(file, at, at + 1)]


def flip_anywhere(filled: Filled, home: Path, rng: random.Random) -> list[Place]:
    file = home / rng.choice(list(FILES))
    return flip(file, rng.randrange(file.stat().st_size), rng.randrange(8))


def flip_log(filled: Filled, home: Path, rng: random.Random) -> list[Place]:
    file = home / (rng.choice(list(FILES)) + "-wal")
    return flip(file, rng.randrange(file.stat().st_size), rng.randrange(8)) if file.exists() else []


def flip_row(filled: Filled, home: Path, rng: random.Random) -> list[Place]:
    key = rng.choice([k for k in filled.places if (k[0] == "alarm") == (rng.random() < 0.5)] or list(filled.places))
    place = rng.choice(filled.places[key])
    return flip(home / place.file.name, rng.randrange(place.start, place.end), rng.randrange(8))


def truncate(filled: Filled, home: Path, rng: random.Random) -> list[Place]:
    file = home / rng.choice(list(FILES))
    size = file.stat().st_size
    keep = rng.randrange(size)
    with file.open("r+b") as open:
        open.truncate(keep)
    return [Place(file, keep, size)]


def behead(filled: Filled, home: Path, rng: random.Random) -> list[Place]:
    file = home / rng.choice(list(FILES))
    with file.open("r+b") as open:
        open.write(bytes(100))
    return [Place(file, 0, 100)]


def garble_log(filled: Filled, home: Path, rng: random.Random) -> list[Place]:
    file = home / (rng.choice(list(FILES)) + "-wal")
    size = file.stat().st_size if file.exists() else 5000
    file.write_bytes(rng.randbytes(size))
    return [Place(file, 0, size)]


def lose_log(filled: Filled, home: Path, rng: random.Random) -> list[Place]:
    file = home / (rng.choice(list(FILES)) + "-wal")
    size = file.stat().st_size if file.exists() else 0
    file.unlink(missing_ok=True)
    return [Place(file, 0, size)]


def swap(filled: Filled, home: Path, rng: random.Random) -> list[Place]:
    for end in ("", "-wal"):
        a, b, c = (home / (name + end) for name in (*FILES, "between"))
        for old, new in ((a, c), (b, a), (c, b)):
            if old.exists():
                old.rename(new)
    return []


Damage = Callable[[Filled, Path, random.Random], list[Place]]
WAYS: list[Damage] = [
    flip_row, flip_anywhere, flip_row, flip_log, flip_row, truncate, flip_row, behead, flip_row, garble_log,
    flip_row, lose_log, flip_row, swap, flip_row, flip_log,
]  # fmt: skip


# -- what the product makes of it -------------------------------------------------------------------------


class Found(NamedTuple):
    """What the product handed out of a damaged directory."""

    seconds: float  # until an alarm was acknowledged
    got: dict[Key, set[bytes]]  # of the boot that wrote the files
    strange: int  # handed out or recalled, and of no boot that there was
    told: bool  # it said that something is damaged or missing
    recalled: list[Alarm]


async def visit(filled: Filled, home: Path, patience: float = 30.0) -> Found:
    """Open the directory, put an alarm, fetch everything that is owed, for `patience` seconds at most."""
    began = time.monotonic()
    told: list[Event] = []
    outbox = await Outbox.open(Store(path=str(home), batch=0.02, ballast_mb=0), ["p"], SystemClock(), told.append)
    recalled = list(outbox.recall())
    stored = await outbox.put_alarms([cargo.edge(10**6, True, outbox.clock.now())])
    seconds = time.monotonic() - began if stored else float("inf")
    got: dict[Key, set[bytes]] = {}
    strange = 0
    feed = outbox.feed("p")
    feed.online(True)
    moved = any(home.glob("*.bad-*"))
    end = time.monotonic() + patience
    while time.monotonic() < end:
        while (item := feed.take()) is not None:
            if item.boot == filled.boot:
                got.setdefault((item.stream, item.seq), set()).add(content(item))
            strange += item.boot not in (filled.boot, outbox.boot)
            feed.done(item)
        saved = any(event.kind == "store-salvaged" for event in told) or not any(home.glob("history.db.bad-*"))
        if saved and not any(feed.waiting().values()):
            break
        await asyncio.sleep(0.005)
    await outbox.close()
    moved |= any(event.kind in ("store-corrupt", "gap") for event in told)
    return Found(seconds, got, strange, moved, recalled)


def run(case: Case) -> None:
    with ram(case.folder / "ram") as folder:
        corrupt(case, folder)


def corrupt(case: Case, folder: Path) -> None:
    rng, n = case.rng(5), case.n(40, 300)
    boot, put = asyncio.run(fill(folder / "stopped", folder / "killed"))
    states = [located(folder / name, boot, put, folder / "scratch") for name in ("killed", "stopped")]
    known = set(put.values())
    wrong = flips = seen = intact = saved = 0
    slowest, failed = 0.0, 0
    by_way: dict[str, list[int]] = {}
    for k in range(n):
        way, filled = WAYS[k % len(WAYS)], states[k // len(WAYS) % 2 if k % len(WAYS) != 3 else 0]
        home = folder / "damaged"
        shutil.copytree(filled.home, home)
        touched = way(filled, home, rng)
        try:
            found = asyncio.run(visit(filled, home, 3.0 if case.sabotage else 30.0))
        except Exception as error:
            failed += 1
            case.note(f"{way.__name__} on {filled.home.name}: {error!r}")
            shutil.rmtree(home)
            continue
        hit = {key for key, places in filled.places.items() if any(overlap(p, t) for p in places for t in touched)}
        wrong += found.strange + sum(text != filled.put.get(key) for key, texts in found.got.items() for text in texts)
        wrong += sum(repr(alarm).encode() not in known for alarm in found.recalled)
        whole = filled.put.keys() - hit
        here = [key for key in whole if key in found.got]
        intact += len(whole)
        saved += len(here)
        tally = by_way.setdefault(f"{way.__name__} on {filled.home.name}", [0, 0, 0, 0])
        tally[0] += 1
        tally[1] += found.told
        tally[2] += len(whole)
        tally[3] += len(here)
        slowest = max(slowest, found.seconds)
        if way is flip_row:
            flips += 1
            # Where SQLite falls back on an older image of the page, the row is as it was put: nothing is to be seen.
            seen += found.told or all(found.got.get(key) == {filled.put[key]} for key in hit)
        shutil.rmtree(home)
    for name, (times, told, rows, back) in sorted(by_way.items()):
        if back < rows:
            case.note(f"{name}: {times} times, told {told} times, {100 * back / rows:.2f} % of intact rows saved")
    case.figure("corruptions", n)
    case.exactly("wrong rows handed out or recalled", wrong, 0)
    case.at_least("flips in rows detected", 100 * seen / max(1, flips), 99.9, "%", short=TORN)
    case.exactly("starts that failed", failed, 0)
    case.at_most("until an alarm is acknowledged, worst", slowest, 5.0, "s")
    case.at_least("intact rows saved", 100 * saved / max(1, intact), 99.0, "%")


def overlap(a: Place, b: Place) -> bool:
    return a.file.name == b.file.name and a.start < b.end and b.start < a.end


TRIAL = Trial(
    id="T5",
    title="damaged files",
    run=run,
    sabotage="checksum-ignored",
    red=("wrong rows handed out or recalled", "flips in rows detected"),
    alone=False,
)
