"""For all tests: a busy machine is no failure."""

import os

# More workers than cores: threads of libraries that wait for one another at full speed gain nothing there.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("gate", deadline=None)
settings.load_profile("gate")


# What the tests of one of these files share costs seconds to make: one worker runs all of them. The marks of xdist 3.8
# are not seen by pytest 9.2.
TOGETHER = {
    "tests/agent/test_uplink_sparkplug.py",
    "tests/agent/test_watch.py",
    "tests/agent/test_watch_driver.py",
    "tests/models/test_fatigue_stories.py",
    "tests/models/test_slope.py",
    "tests/models/test_tamper.py",
    "tests/models/test_water.py",
    "tests/models/vision/test_face.py",
    "tests/models/vision/test_looming.py",
    "tests/test_day.py",
    "tests/test_package.py",
}


class Scheduling(LoadScopeScheduling):
    """Any test to any worker, but for those of `TOGETHER`, which begin first."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file in TOGETHER else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where a disk is not the subject and would only take its time."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="vedette-test-", dir=where) as folder:
        yield Path(folder)
