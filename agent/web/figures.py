"""Drawings in SVG: shapes of alarms, bars with their limits, trends. No colour but that of alarms; sizes in pixels."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from ..core.alarm import Level, colour
from ..core.words import number
from ..trend import Line
from .glance import Limit, Reading
from .markup import Html, join, tag

# Each level has a shape and a number of its own: colour alone tells nobody who sees none (ISA-101, 5.2).
SHAPES: dict[str, tuple[str, str]] = {
    "red": ("M10 1 19 10 10 19 1 10Z", "1"),
    "orange": ("M10 1.5 19.5 18.5H.5Z", "2"),
    "yellow": ("M2 2H18V18H2Z", "3"),
    "blue": ("M10 1a9 9 0 1 1 0 18a9 9 0 1 1 0-18Z", "4"),
}


def shape(level: Level, label: str = "", unseen: bool = False) -> Html:
    """The mark of a level; `unseen`: nobody has acknowledged it."""
    path, digit = SHAPES[level]
    return tag(
        "svg",
        tag("path", d=path),
        tag("text", digit, x=10, y=17 if level == "orange" else 14, text_anchor="middle"),
        class_=f"mark {level}{' unseen' if unseen else ''}",
        viewBox="-1 -1 22 22",
        role="img" if label else None,
        aria_label=label or None,
        aria_hidden=None if label else "true",
    )


def scale(one: Reading) -> tuple[float, float]:
    """From where to where the bar of a channel goes: the instrument's range, else what its limits and value need."""
    marks = [limit.value for limit in one.limits]
    known = [*marks, *([one.value] if math.isfinite(one.value) else [])]
    low = one.low if math.isfinite(one.low) else min([0.0, *known])
    high = one.high if math.isfinite(one.high) else max([0.0, *known], default=0.0)
    if marks and high > 3 * max(map(abs, marks)):  # a range far beyond all limits would hide them
        high = max(1.6 * max(map(abs, marks)), one.value if math.isfinite(one.value) else 0.0)
    if not math.isfinite(one.high) and high > low:
        high += 0.15 * (high - low)
    return (low, high) if high > low else (low - 1.0, low + 1.0)


def bar(one: Reading, wide: int = 160) -> Html:
    """The value between its limits: where nothing is wrong, the grey pointer stands on the pale part."""
    low, high = scale(one)

    def x(value: float) -> float:
        return round(1 + (wide - 2) * min(1.0, max(0.0, (value - low) / (high - low))), 1)

    tops = [limit.value for limit in one.limits if limit.high]
    feet = [limit.value for limit in one.limits if not limit.high]
    begin, end = x(max(feet, default=low)), x(min(tops, default=high))
    shapes = [
        tag("rect", class_="trough", x=0.5, y=6, width=wide - 1, height=8),
        tag("rect", class_="usual", x=begin, y=6, width=max(0.0, round(end - begin, 1)), height=8),
        *(tag("path", class_=f"tick {lv.level}", d=f"M{x(lv.value)} 3V17") for lv in one.limits),
    ]
    if math.isfinite(one.value):
        at = x(one.value)
        kind = one.level or ("doubt" if one.quality else "calm")
        shapes.append(tag("path", class_=f"pointer {kind}", d=f"M{at} 8 {at + 5} 0H{at - 5}Z"))
        shapes.append(tag("path", class_=f"needle {kind}", d=f"M{at} 6V14"))
    return tag("svg", shapes, class_="bar", viewBox=f"-5 0 {wide + 10} 20", aria_hidden="true")


BARS = 60  # of a small trend


def spark(line: Line | None, begin: float, end: float, wide: int = 120, tall: int = 28) -> Html:
    """The last hour in a thumb's width: a stroke from the lowest to the highest of each minute."""
    path = ""
    if line is not None and len(line.begin) > 1:
        low, high = _room(line, [])
        bar = np.clip((BARS * (line.begin - begin) / (end - begin)).astype(int), 0, BARS - 1)
        first = np.flatnonzero(np.diff(bar, prepend=-1))
        up = np.maximum.reduceat(line.high, first)
        down = np.minimum.reduceat(line.low, first)
        scale = (tall - 4) / (high - low)
        xs = ((bar[first] + 0.5) * wide / BARS).round(1).tolist()
        tops, feet = ((tall - 2 - scale * (v - low)).round(1).tolist() for v in (up, down))
        path = "".join(f"M{x:g} {a:g}V{max(b, a + 0.7):g}" for x, a, b in zip(xs, tops, feet, strict=True))
    return tag("svg", tag("path", d=path), class_="spark", viewBox=f"0 0 {wide} {tall}", aria_hidden="true")


LEFT, RIGHT, TOP, FOOT = 56, 66, 12, 28  # margins of a chart
SIZES = (("screen", 1100, 280, 9), ("phone", 420, 280, 4))  # the style sheet shows one; at most so many labels below


def chart(line: Line, one: Reading, begin: float, end: float, wall: float, label: str) -> Html:
    """A trend with axes and limits. Times are monotonic s; `wall` is what to add to make labels of them.

    What was between the lowest and the highest of a stretch is filled, so that a peak of a second is seen in a week.
    """
    return join(_chart(line, one, begin, end, wall, label, *size) for size in SIZES)


def _chart(
    line: Line,
    one: Reading,
    begin: float,
    end: float,
    wall: float,
    label: str,
    kind: str,
    wide: int,
    tall: int,
    most: int,
) -> Html:
    low, high = _room(line, one.limits)
    right, foot = wide - RIGHT, tall - FOOT

    def y(value: float) -> float:
        return round(foot - (foot - TOP) * (value - low) / (high - low), 1)

    def x(at: float) -> float:
        return round(LEFT + (right - LEFT) * (at - begin) / (end - begin), 1)

    out: list[Html] = [tag("rect", class_="ground", x=LEFT, y=TOP, width=right - LEFT, height=foot - TOP)]
    for value in ticks(low, high, 5):
        out.append(tag("path", class_="grid", d=f"M{LEFT} {y(value)}H{right}"))
        out.append(tag("text", number(round(value, 9)), class_="axis", x=LEFT - 6, y=y(value) + 4, text_anchor="end"))
    form = "%H:%M:%S" if end - begin < 900 else "%H:%M" if end - begin <= 2 * 86400 else "%m-%d"
    for at in moments(begin + wall, end + wall, most):
        text = time.strftime(form, time.localtime(at))
        out.append(tag("path", class_="grid", d=f"M{x(at - wall)} {TOP}V{foot}"))
        out.append(tag("text", text, class_="axis", x=x(at - wall), y=tall - 8, text_anchor="middle"))
    last = -99.0
    for limit in sorted(one.limits, key=lambda each: (-each.value, -colour(each.level))):
        if low <= limit.value <= high:
            at = y(limit.value)
            out.append(tag("path", class_=f"limit {limit.level}", d=f"M{LEFT} {at}H{right}"))
            if at - last >= 14:
                digit = SHAPES[limit.level][1]
                text = f"{digit}: {number(limit.value)}"
                out.append(tag("text", text, class_="axis", x=right + 6, y=at + 4))
                last = at
    if len(line.begin):
        out.append(tag("path", class_="band", d=_band(line, begin, end, low, high, LEFT, right, TOP, foot)))
    return tag(
        "svg",
        tag("title", label),
        out,
        tag("rect", class_="drawn", x=LEFT, y=TOP, width=0, height=foot - TOP, hidden=True),
        class_=f"chart {kind}",
        viewBox=f"0 0 {wide} {tall}",
        role="img",
        aria_label=label,
        data_left=LEFT,
        data_right=right,
        data_wide=wide,
        data_begin=f"{begin + wall:.3f}",
        data_end=f"{end + wall:.3f}",
    )


def _room(line: Line, limits: Sequence[Limit]) -> tuple[float, float]:
    """From where to where the vertical axis goes: the values, and limits that are not far away."""
    if not len(line.begin):
        marks = [limit.value for limit in limits] or [0.0, 1.0]
        low, high = min(marks), max(marks)
    else:
        low, high = float(line.low.min()), float(line.high.max())
        span = high - low
        for limit in limits:
            near = max(2 * span, 0.6 * abs(limit.value), 1e-9)
            if low - near <= limit.value <= high + near:
                low, high = min(low, limit.value), max(high, limit.value)
    if high - low < 1e-6 * max(1.0, abs(high)):
        low, high = low - 0.5 * max(0.01, abs(low) * 0.1), high + 0.5 * max(0.01, abs(high) * 0.1)
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def _band(
    line: Line, begin: float, end: float, low: float, high: float, left: int, right: int, top: int, foot: int
) -> str:
    """A closed path about the lowest and highest of each stretch; broken where nothing was measured for long."""
    at = line.begin + 0.5 * line.step
    x = np.round(left + (right - left) * np.clip((at - begin) / (end - begin), 0, 1), 1)
    up = np.round(foot - (foot - top) * np.clip((line.high - low) / (high - low), 0, 1), 1)
    down = np.round(foot - (foot - top) * np.clip((line.low - low) / (high - low), 0, 1), 1)
    usual = max(2.5 * line.step, 4 * float(np.median(np.diff(line.begin))) if len(at) > 2 else 0.0, 1e-9)
    pieces = np.split(np.arange(len(at)), np.flatnonzero(np.diff(line.begin) > usual) + 1)
    path = []
    for piece in pieces:
        if len(piece) == 0:
            continue
        there = [f"{x[i]:g} {up[i]:g}" for i in piece]
        back = [f"{x[i]:g} {down[i]:g}" for i in reversed(piece)]
        path.append(f"M{'L'.join(there)}L{'L'.join(back)}Z")
    return "".join(path)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two.

    >>> ticks(0.0, 1.0, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


STEPS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800)  # s


def moments(begin: float, end: float, most: int) -> list[float]:
    """Round times of the day between two walls, at most so many."""
    step = next((s for s in STEPS if (end - begin) / s <= most), 604800)
    offset = time.localtime(end).tm_gmtoff
    first = math.ceil((begin + offset) / step) * step - offset
    return [float(at) for at in range(int(first), int(end) + 1, step)]


def overlay(polygons: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> Html:
    """Zones and masks over a picture: corners are shares of width and height, like those of the SVG."""
    shapes = []
    for name, corners in polygons:
        points = " ".join(f"{1000 * x:.0f},{1000 * y:.0f}" for x, y in corners)
        shapes.append(tag("polygon", tag("title", name), points=points, class_="zone" if name else "mask"))
    return join(
        tag("svg", shapes, class_="overlay", viewBox="0 0 1000 1000", preserveAspectRatio="none", aria_hidden="true")
    )
