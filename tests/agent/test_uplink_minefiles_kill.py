"""SIGKILL at any instant: every alarm that was accepted has a row in a file, and no file is there in part."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.tools.nursery import Nursery

KILLS = 6


def rows(folder: Path) -> dict[str, list[list[str]]]:
    """Rows of the files that are there, by kind; each must be whole."""
    found: dict[str, list[list[str]]] = {}
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text("utf-8")
        assert text.endswith("~||")
        assert text.count("||") == 1
        _, *records = text.removesuffix("~||").split("~")
        found.setdefault(path.name.split("_")[1], []).extend(record.split(";") for record in records)
    return found


@pytest.mark.parametrize("sabotage", ["", "delivered-before-rename"])
def test_six_kills_at_load_lose_no_alarm_and_leave_no_file_in_part(tmp_path: Path, sabotage: str):
    (tmp_path / "place").mkdir()
    with Nursery(tmp_path / "state", f"file://{tmp_path / 'place'}", sabotage) as nursery:
        nursery.kill(KILLS, random.Random(5))
        nursery.drain()
        assert nursery.told == []
    told = rows(tmp_path / "place")
    causes = {row[13] for row in told.get("YCBJ", [])}
    assert nursery.accepted
    assert bool(set(nursery.accepted) - causes) == bool(sabotage)
    if not sabotage:
        starts: dict[str, set[str]] = {}
        for row in told["YCBJ"]:
            starts.setdefault(row[13], set()).add(row[5])
        assert all(len(times) == 1 for times in starts.values())  # by it a repetition is known
        assert any(row[3] or row[4] for row in told["TJSJ"])
