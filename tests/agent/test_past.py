"""History on the page: what was asked for is found, whatever the clock said when it was written."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import structs

from agent.audit import Chain
from agent.core.frame import Instant
from agent.web import past
from tests.tools.station import alarm

DAY = 86400.0
TODAY = 1.7e9  # wall s


def written(folder: Path, *moments: tuple[float, bool]) -> None:
    """A journal of one edge at each of these moments: wall s, and whether a time server had set the clock."""
    chain = Chain(folder, 1 << 20)
    for n, (wall, synced) in enumerate(moments):
        edge = structs.replace(alarm(n=n), at=Instant(float(n), wall, synced))
        chain.append([msgspec.json.encode({"kind": "alarm", "alarm": edge})])
    chain.close()


def found(folder: Path, **wish: float) -> list[str]:
    return [edge.id for _, edge in past.edges(folder, past.Wish(**wish)).edges]


def test_a_boot_in_the_wrong_year_hides_nothing_that_was_before(tmp_path):
    written(tmp_path, (TODAY - 3 * DAY, True), (TODAY - DAY, True), (DAY, False), (TODAY, True))
    assert found(tmp_path, begin=TODAY - 2 * DAY) == ["id-3", "id-1"]
    assert found(tmp_path, begin=TODAY - 4 * DAY) == ["id-3", "id-1", "id-0"]
    assert found(tmp_path, end=2 * DAY) == ["id-2"]


def test_a_look_ends_where_nothing_older_can_be_meant(tmp_path):
    written(tmp_path, *((TODAY - n * DAY, True) for n in range(50, 0, -1)))
    assert past.edges(tmp_path, past.Wish(begin=TODAY - 2.5 * DAY)).looked < 10
