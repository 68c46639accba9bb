from __future__ import annotations

import pytest

from tests.tools.slaves import forget_compiled


@pytest.fixture(scope="session", autouse=True)
def _leave_nothing_behind():
    yield
    forget_compiled()
