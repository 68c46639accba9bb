"""For the tests of the agent: whatever fault of a site file one of them meets, has words in Chinese."""

from collections.abc import Iterator

import pytest

from agent.core.errors import ConfigFault
from tests.tools.told import untold


@pytest.fixture(autouse=True)
def every_fault_is_told_in_chinese(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Notes what every `ConfigFault` tells, and changes nothing of it."""
    told: list[str] = []
    init = ConfigFault.__init__

    def noted(self: ConfigFault, complaints: list[str], *more: str) -> None:
        told.extend(complaints)
        init(self, complaints, *more)

    monkeypatch.setattr(ConfigFault, "__init__", noted)
    yield
    assert [line for line in told if untold(line)] == []
