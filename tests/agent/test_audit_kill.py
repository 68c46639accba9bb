"""SIGKILL between any two statements of the journal's writing: enumerated, not sampled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where there is one: what counts here are statements, not disks."""
    folder = tempfile.mkdtemp(prefix="vedette-kills-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    yield Path(folder)
    shutil.rmtree(folder)


def test_a_kill_between_any_two_statements_costs_nothing_that_was_said_to_be_durable(memory: Path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.between", str(memory)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    for deed, lines, durable in (("begin", 80, 2), ("turn", 120, 2)):
        mine = [kill for kill in kills if kill["deed"] == deed]
        assert len(mine) > lines
        assert {kill["durable"] for kill in mine} == set(range(durable + 1))  # all of it, down to nothing
    assert [kill for kill in kills if kill["lost"] or kill["later"] or not kill["signed"]] == []
    assert [kill for kill in kills if kill["faults"]] == []
    assert any(kill["unsigned"] for kill in kills)  # an end that nobody signed is said to be one
    assert max(kill["segments"] for kill in kills) == 4  # the newest is there before the oldest goes
