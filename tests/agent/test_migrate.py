"""A folder that an older program left is taken over with all that was open; that of a newer one is not touched.

`formats/alarms-1.sql` was written by the program before format 2, and dumped by SQLite.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent import migrate, outbox
from agent.cli import main as cli
from agent.clock import SystemClock
from agent.core.errors import ConfigFault

OLD = (Path(__file__).parent / "formats" / "alarms-1.sql").read_text()


def old(folder):
    folder.mkdir()
    with closing(sqlite3.connect(folder / "alarms.db")) as db:
        db.executescript(f"PRAGMA journal_mode=WAL;{OLD}")
    return folder


def opened(folder):
    """What the queue of this program finds there: open alarms, undelivered rows, what was told."""

    async def main():
        said = []
        settings = outbox.Store(path=str(folder), alarms_mb=0.25, history_mb=0.25, ballast_mb=0)
        box = await outbox.Outbox.open(settings, ["platform"], SystemClock(), said.append)
        await asyncio.sleep(0)
        await box.close()
        return box.recall(), len(box.entries), [event.kind for event in said]

    return asyncio.run(main())


def test_alarms_that_were_open_in_an_older_format_are_open(tmp_path):
    state = old(tmp_path / "state")
    (told,) = migrate.prepare(state)
    assert told.done
    assert told.text.startswith("migrated to format 2")
    alarms, rows, said = opened(state)
    assert [(alarm.rule, alarm.channel, alarm.level, alarm.value) for alarm in alarms] == [
        ("gas", "heading/ch4", "red", 1.4),
        ("co", "heading/co", "orange", 30.0),
    ]
    assert (rows, said) == (3, [])
    assert json.loads((state / "format").read_bytes())["format"] == migrate.FORMAT
    with closing(sqlite3.connect(state / "before-2" / "alarms.db")) as db:
        assert db.execute("PRAGMA application_id").fetchone()[0] == migrate.OLD_ALARMS
    assert migrate.prepare(state) == []  # once


def test_without_it_the_older_file_would_be_put_aside(tmp_path):
    """The test above can fail: this is what it is for."""
    alarms, _, said = opened(old(tmp_path / "state"))
    assert alarms == ()
    assert "store-corrupt" in said


@pytest.mark.parametrize("when", ["copied", "taken"])
def test_a_step_that_was_killed_is_taken_again(tmp_path, monkeypatch, when):
    state = old(tmp_path / "state")
    (step,) = migrate.STEPS

    def killed(folder):
        if when == "taken":
            step.take(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(migrate, "STEPS", (step._replace(take=killed),))
    with pytest.raises(KeyboardInterrupt):
        migrate.prepare(state)
    monkeypatch.undo()
    migrate.prepare(state)
    assert len(opened(state)[0]) == 2
    with closing(sqlite3.connect(state / "before-2" / "alarms.db")) as db:
        assert db.execute("PRAGMA application_id").fetchone()[0] == migrate.OLD_ALARMS


def test_a_file_that_is_damaged_is_told_and_stays_as_it_was(tmp_path):
    state = old(tmp_path / "state")
    whole = bytearray((state / "alarms.db").read_bytes())
    whole[4096:] = os.urandom(len(whole) - 4096)
    (state / "alarms.db").write_bytes(whole)
    (told,) = migrate.prepare(state)
    assert not told.done
    assert told.text.startswith("not migrated")
    assert (state / "before-2" / "alarms.db").read_bytes() == bytes(whole)


def test_a_folder_of_a_newer_program_is_refused_and_not_touched(tmp_path, capsys):
    state = tmp_path / "state"
    state.mkdir()
    (state / "format").write_bytes(b'{"format": 99, "program": "9.9"}')
    (state / "alarms.db").write_bytes(b"who knows")
    with pytest.raises(ConfigFault, match="format 99, of a newer program"):
        migrate.prepare(state)
    site = tmp_path / "site.toml"
    line = '[[bus]]\nname = "b"\nurl = "tcp://127.0.0.1:1"\n[[bus.device]]\nname = "d"\n'
    site.write_text(f'[site]\nname = "s"\n{line}channel = [{{ key = "c", at = 40001 }}]\n')
    assert cli(["run", "-c", str(site)]) == os.EX_CONFIG
    assert "newer program" in capsys.readouterr().err
    assert {one.name: one.read_bytes() for one in state.iterdir()} == {
        "format": b'{"format": 99, "program": "9.9"}',
        "alarms.db": b"who knows",
    }


def test_a_new_folder_says_its_format(tmp_path):
    assert migrate.prepare(tmp_path / "a" / "state") == []
    assert migrate.found(tmp_path / "a" / "state") == migrate.FORMAT
    assert migrate.found(tmp_path / "b") is None


def test_a_site_file_of_a_newer_format_is_refused_plainly(tmp_path, capsys):
    site = tmp_path / "site.toml"
    site.write_text('format = 9\n[site]\nname = "s"\n[teleporter]\nx = 1\n')
    assert cli(["check", "-c", str(site)]) == os.EX_CONFIG
    said = capsys.readouterr().err
    assert "site.toml:1: format 9 is of a newer program" in said
    assert "teleporter" not in said  # what a newer program knows is no fault
