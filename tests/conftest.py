"""For all tests: a busy machine is no failure."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("gate", deadline=None)
settings.load_profile("gate")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where a disk is not the subject and would only take its time."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="vedette-test-", dir=where) as folder:
        yield Path(folder)
