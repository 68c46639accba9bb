"""Files that SQLite refuses or would cut short, read without it; SQLite itself says what is right."""

from __future__ import annotations

import doctest
import random
import sqlite3
from pathlib import Path

import pytest

from agent import pages
from agent.pages import Pages, mended

SIZE = 1024
Rows = dict[int, tuple[int, str, bytes, int, float]]


def written(path: Path, n: int = 120) -> tuple[sqlite3.Connection, Rows]:
    """A file with rows short and long, each its own transaction, and a note; all in the log, or most."""
    rng = random.Random(1)
    db = sqlite3.connect(path, isolation_level=None)
    for pragma in (f"page_size={SIZE}", "journal_mode=WAL", "wal_autocheckpoint=0"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE t(row INTEGER PRIMARY KEY, a TEXT, b BLOB, c INT, f REAL)")
    db.execute("CREATE TABLE note(name TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID")
    rows: Rows = {}
    for i in range(n):
        body = rng.randbytes(rng.choice([10, 300, 990, 5000]))
        rows[i + 2**32] = (i + 2**32, f"é{i}", body, rng.randrange(-(2**40), 2**40), rng.random())
        db.execute("INSERT INTO t VALUES (?,?,?,?,?)", rows[i + 2**32])
    db.execute("INSERT INTO note VALUES ('boots', ?)", (bytes(3000),))
    return db, rows


def readable(path: Path) -> list[tuple[pages.Column, ...]]:
    with Pages(path, SIZE) as found:
        return [row for spot in found.spots() if (row := found.row(spot)) is not None]


def test_the_examples_run():
    assert doctest.testmod(pages).failed == 0


@pytest.mark.parametrize("closed", [False, True])
def test_every_row_is_found_in_the_file_and_in_its_log(tmp_path: Path, closed: bool):
    db, rows = written(tmp_path / "x.db")
    if closed:
        db.close()
    found = readable(tmp_path / "x.db")
    assert {row[0]: row for row in found if len(row) == 5 and isinstance(row[0], int)} == rows
    assert ("boots", bytes(3000)) in found


def test_a_file_without_a_head_or_an_end_gives_what_is_left(tmp_path: Path):
    db, rows = written(tmp_path / "x.db")
    db.close()
    text = (tmp_path / "x.db").read_bytes()
    (tmp_path / "x.db").write_bytes(bytes(100) + text[100 : len(text) // 2])
    found = {row[0]: row for row in readable(tmp_path / "x.db") if row[0] in rows}
    assert sum(found[n] == rows[n] for n in found) > len(rows) // 3


def test_noise_is_read_to_its_end(tmp_path: Path):
    for seed in range(20):
        rng = random.Random(seed)
        noise = bytearray(rng.randbytes(20 * SIZE))
        for page in range(20):
            noise[page * SIZE] = rng.choice([pages.TABLE, pages.INDEX])
        (tmp_path / "x.db").write_bytes(noise)
        readable(tmp_path / "x.db")


def test_a_log_with_a_flipped_bit_is_read_to_its_end_when_mended(tmp_path: Path):
    _db, rows = written(tmp_path / "x.db")
    log = (tmp_path / "x.db-wal").read_bytes()
    assert mended(log, SIZE) is None
    for at in (len(log) // 3, 32 + 9 * (24 + SIZE) + 8, 32 + 9 * (24 + SIZE) + 17):  # a page, a salt, a checksum
        broken = bytearray(log)
        broken[at] ^= 4
        counts = []
        for n, text in enumerate((broken, mended(bytes(broken), SIZE))):
            copy = tmp_path / f"{at}-{n}.db"
            copy.write_bytes((tmp_path / "x.db").read_bytes())
            assert text is not None
            copy.with_name(copy.name + "-wal").write_bytes(text)
            counts.append(count(copy))
        assert counts[0] < len(rows) // 2
        assert counts[1] == len(rows)


def count(path: Path) -> int:
    db = sqlite3.connect(path)
    try:
        return int(db.execute("SELECT count(*) FROM t").fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        db.close()


def test_a_log_whose_last_transaction_is_torn_is_left_as_it_is(tmp_path: Path):
    _db, _ = written(tmp_path / "x.db")
    log = bytearray((tmp_path / "x.db-wal").read_bytes())
    assert mended(bytes(log[:-500]), SIZE) is None
    log[-500] ^= 1
    assert mended(bytes(log), SIZE) is None
