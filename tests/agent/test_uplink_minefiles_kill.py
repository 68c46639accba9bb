"""SIGKILL at any instant: every alarm that was accepted has a row in a file, and no file is there in part."""

from __future__ import annotations

import random
from pathlib import Path

from tests.tools.nursery import Nursery

KILLS = 6
ROUNDS = 8  # in one of them at least a kill strikes where it hurts a mistaken agent


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


def found(home: Path, moments: random.Random, sabotage: str = "") -> tuple[set[str], dict[str, list[list[str]]]]:
    """Alarms that no file tells after some kills and a drain, and the rows of all files."""
    (home / "place").mkdir(parents=True)
    with Nursery(home / "state", f"file://{home / 'place'}", sabotage) as nursery:
        nursery.kill(KILLS, moments)
        nursery.drain()
        assert nursery.told == []
    assert nursery.accepted
    told = rows(home / "place")
    return set(nursery.accepted) - {row[13] for row in told.get("YCBJ", [])}, told


def test_six_kills_at_load_lose_no_alarm_and_leave_no_file_in_part(tmp_path: Path):
    lost, told = found(tmp_path, random.Random(5))
    assert lost == set()
    starts: dict[str, set[str]] = {}
    for row in told["YCBJ"]:
        starts.setdefault(row[13], set()).add(row[5])
    assert all(len(times) == 1 for times in starts.values())  # by it a repetition is known
    assert any(row[3] or row[4] for row in told["TJSJ"])


def test_an_agent_that_waits_for_no_file_is_found_out(tmp_path: Path):
    moments = random.Random(5)
    assert any(found(tmp_path / f"{n}", moments, "delivered-before-rename")[0] for n in range(ROUNDS))
