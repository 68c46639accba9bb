"""What the page knows of the last hour, day and week: no peak is lost, and a week outlives a restart."""

from __future__ import annotations

import numpy as np
import pytest

from agent import trend
from agent.core.frame import Instant, frame, layout
from agent.trend import SIZE, Trends

TWO = layout(["a", "b"], ["%", "%"])


def at(mono: float, wall: float = 0.0) -> Instant:
    return Instant(mono, wall or 1e9 + mono, True)


def told(trends: Trends, values: dict[float, tuple[float, float]], source: str = "s") -> None:
    for mono, row in values.items():
        trends.add(frame(source, at(mono), TWO, row))


@pytest.mark.parametrize("span", [3600.0, 86400.0, 604800.0])
def test_the_highest_and_the_lowest_of_any_span_are_those_of_all_values(span):
    rng = np.random.default_rng(int(span))
    times = np.sort(rng.uniform(0, span, 3000))
    values = rng.normal(size=(3000, 2))
    trends = Trends(1e9)
    for mono, row in zip(times, values, strict=True):
        trends.add(frame("s", at(mono), TWO, row))
    line = trends.line("s", 1, times[-1] - span, times[-1], times[-1])
    assert len(line.begin) <= SIZE
    assert line.high.max() == np.float32(values[:, 1].max())
    assert line.low.min() == np.float32(values[:, 1].min())


def test_what_nobody_measured_is_no_value_and_what_is_old_is_gone():
    trends = Trends(1e9)
    told(trends, {0.0: (1.0, np.nan), 3.0: (2.0, np.nan), 4000.0: (5.0, 1.0)})
    assert list(trends.line("s", 0, 400.0, 4000.0, 4000.0).high) == [5.0]
    assert list(trends.line("s", 0, 0.0, 4000.0, 4000.0).high) == [2.0, 5.0]  # the day still knows
    assert trends.spread("s", 0, 4000.0) == 0.0
    assert trends.line("unknown", 0, 0.0, 1.0, 1.0) is None
    trends.add(frame("s", at(100.0), TWO, (99.0, 99.0)))  # it came hours too late for the hour
    assert list(trends.line("s", 0, 3990.0, 4000.0, 4000.0).high) == [5.0]


def test_memory_is_bounded():
    trends = Trends(2 * SIZE * 8 * 3)
    told(trends, {0.0: (1.0, 2.0)}, "first")
    told(trends, {0.0: (1.0, 2.0)}, "second")
    assert trends.left_out == {"second"}
    assert trends.line("second", 0, 0.0, 1.0, 1.0) is None


def test_a_week_outlives_a_restart_of_the_machine_and_another_configuration(tmp_path):
    before = Trends(1e9)
    told(before, {100_000.0: (7.0, 1.0), 100_020.0: (3.0, 2.0)})
    trend.write(tmp_path, before.kept(at(100_030.0)))
    after, now = Trends(1e9), Instant(50.0, 1e9 + 100_090.0, True)  # the kernel began anew a minute ago
    wider = layout(["new", "b", "a"])
    after.add(frame("s", now, wider, (0.0, 9.0, 4.0)))
    after.adopt(trend.read(tmp_path), {"s": wider.key, "other": ("x",)}, now)
    line = after.line("s", 2, -86400.0, 50.0, 50.0)
    assert sorted(line.high) == [4.0, 7.0]
    assert list(after.line("s", 0, -86400.0, 50.0, 50.0).high) == [0.0]  # nobody knew it then
    (tmp_path / trend.FILE).write_bytes(b"damaged")
    assert trend.read(tmp_path) == []
