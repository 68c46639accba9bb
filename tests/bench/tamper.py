"""`make bench-tamper`: how many lies are found, and how often a sensor is called a liar that is none.

    python -m tests.bench.tamper [--quick] [--group NAME ...] [--verbose]

Every kind of `simulators.faults.FALSIFIED` is put into simulated and into real series (../shared/data/sensors, where it
is there), at random places of random channels, and the detector goes on from the memory that it had there. Falsified is
what somebody would falsify, in the size that `simulators/faults.py` states; how long it lasts: `ROWS`.

    found    the lie that fits the kind was told on that channel by the end
    any      any lie was told on it that was not told before
    false    tellings per sensor and month on the series as they are, labelled anomalies of the data sets among them

One configuration for all. Nothing was tuned on the groups marked *: they are looked at only here.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import platform
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import structs

from agent.core.frame import Frame, Instant, Layout, layout
from models.tamper import LATELY, STRIDE, Memory, Tamper
from simulators.faults import FALSIFIED, Series, falsified
from simulators.plant import Heading

ROOT = Path(__file__).parent.parent.parent
SHARED = ROOT.parent / "shared"
DATA = SHARED / "data" / "sensors"


def tool(path: Path) -> Any:
    """A script of ../shared/tools as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


DAY, MONTH = 86400.0, 30 * 86400.0
FITS = {  # kind of falsification -> the lies that tell it
    "held": ("flat",),
    "replayed": ("repeat",),
    "looped": ("repeat",),
    "lowered": ("drop",),
    "swapped": ("moved",),
    "smoothed": ("grain",),
    "coarsened": ("grain", "flat"),  # where nothing moves any more it is flat
    "invented": ("grain",),
    "pinned": ("end",),
    "wrapped": ("end",),
    "spiked": ("spike",),
    "overwritten": ("detour",),
    "calibrated": ("calibrating",),
    "overcalibrated": ("calibrating",),
    "deafened": ("deaf",),
}
RANGE = {  # of usual instruments, by unit; as a site has it in its device profile
    "%CH4": (0.0, 4.0),
    "ppm": (0.0, 500.0),
    "m/s": (0.0, 15.0),
    "pH": (0.0, 14.0),
    "mg/l": (0.0, 20.0),
    "degC": (-20.0, 60.0),
    "FNU": (0.0, 3000.0),
    "uS/cm": (0.0, 2000.0),
    "cm": (0.0, 300.0),
}
UNITS = {"Accelerometer1RMS": "g", "Accelerometer2RMS": "g", "Temperature": "C", "Thermocouple": "C"}
UNITS |= {"temp": "degC", "cond": "uS/cm", "ph": "pH", "do": "mg/l", "turb": "FNU", "stage": "cm"}
UNITS |= {"MM31": "%CH4", "MM116": "%CH4", "AS038": "m/s", "PG072": "m/s2"}


class Source(NamedTuple):
    """One source with its channels."""

    group: str
    name: str
    key: tuple[str, ...]
    unit: tuple[str, ...]
    series: Series
    answers: tuple[str, ...] = ()

    @property
    def step(self) -> float:
        return float(np.median(np.diff(self.series.time)))


# -- series -----------------------------------------------------------------------------------------


def series(time: Any, value: Any, unit: tuple[str, ...], resolution: Any = None) -> Series:
    """A recording whose registers are counts of the least step, as far as it has one."""
    value = np.asarray(value, float)
    low = np.array([RANGE.get(u, (np.nan, np.nan))[0] for u in unit])
    high = np.array([RANGE.get(u, (np.nan, np.nan))[1] for u in unit])
    quality = np.where(np.isfinite(value), 0, 5).astype(np.uint8)
    return Series(np.asarray(time, float), value, 8.0 * value + 3.0, quality, low, high)


def simulated(days: float, step: float, seed: int) -> list[Source]:
    """Two headings of one mine under one barometer: shifts, cutting, a local fan that stops now and then."""
    random = np.random.default_rng(seed)
    heading, n = Heading(), int(days * DAY / step)
    states = [heading.start(), heading.start()]
    key = ("ch4_t1", "ch4_t2", "co", "air_speed", "fan")
    rows = np.empty((2, n, len(key)))
    drift, fast, fan_off, cutting = 0.0, np.zeros(2), np.zeros(2), np.ones(2)
    for k in range(n):
        hour = (k * step / 3600.0) % 24.0
        drift += -drift * step / (12 * 3600.0) + 0.10 * np.sqrt(step / (12 * 3600.0)) * random.standard_normal()
        for h in range(2):
            fast[h] += -fast[h] * step / 900.0 + 0.25 * np.sqrt(step / 900.0) * random.standard_normal()
            cuts = 1.0 if (hour + 2 * h) % 8 < 6.5 else 0.55
            cutting[h] += (cuts - cutting[h]) * min(1.0, step / 1200.0)  # the seam goes on giving
            gas = 0.036 * cutting[h] * np.exp(drift + fast[h])
            if fan_off[h] > 0:
                fan_off[h] -= step
            elif random.random() < step / (2 * DAY):
                fan_off[h] = random.uniform(60.0, 150.0)
            now = structs.replace(states[h], gas_inflow=float(gas), fan=bool(fan_off[h] <= 0), still=-1.0)
            states[h] = now = heading.step(now, step)
            rows[h, k] = (now.ch4_t1, now.ch4_t2, now.co, now.air_speed, now.fan)
    for j, one in enumerate(heading.sensors[name] for name in key[:4]):
        noisy = rows[:, :, j] + one.noise * random.standard_normal((2, n))
        rows[:, :, j] = np.clip(np.round(noisy / one.step) * one.step, one.low, one.high)
    unit = ("%CH4", "%CH4", "ppm", "m/s", "")
    return [
        Source(
            "simulated", f"heading {h}, {days:g} d at {step:g} s", key, unit, series(np.arange(n) * step, r, unit), FAN
        )
        for h, r in enumerate(rows)
    ]


FAN = ("s/fan < 0.5",)


def real() -> Iterator[Source]:
    """Every file of the data sets, as one source each."""
    seen = set()
    for case in json.loads((DATA / "cases.json").read_text())["cases"]:
        if case["file"] in seen or case["group"] == "slope":
            continue
        seen.add(case["file"])
        head, rows = read(DATA / case["file"], case)
        rows = rows[case.get("crop_rows", 0) :]
        columns = [head.index(c) for c in case["channels"]]
        value = np.array([[number(row[j]) for j in columns] for row in rows])
        if case["group"] == "lro":
            value[(value == -9999) | (value == 7999)] = np.nan
        if case["group"] == "gas":
            unit = tuple("ppm" if c.startswith("ch4") else "" for c in case["channels"])
        else:
            unit = tuple(UNITS.get(c, f"of {c}") for c in case["channels"])
        t = np.arange(len(rows)) * float(case["step_s"])
        group = {"lro": "river", "flood": "wells", "quiet": "wells", "gasmine": "mine"}.get(
            case["group"], case["group"]
        )
        yield Source(group, case["file"], tuple(case["channels"]), unit, series(t, value, unit))


def read(path: Path, case: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if case["format"] == "arff":
        lines = text.splitlines()
        head = [line.split()[1].strip("'\"") for line in lines if line.upper().startswith("@ATTRIBUTE")]
        first = next(i for i, line in enumerate(lines) if line.strip().upper() == "@DATA")
        return head, [line.split(",") for line in lines[first + 1 :] if line.strip() and line[0] != "%"]
    rows = list(csv.reader(text.splitlines(), delimiter=case.get("sep", ","), skipinitialspace=True))
    return [cell.strip() for cell in rows[0]], [row for row in rows[1:] if row]


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


# -- running ----------------------------------------------------------------------------------------


class Run:
    """The detector over one source, from any row on."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.detector = Tamper(name="lies", channel=["s/*"], answers=source.answers)
        made = source.series
        self.layout: Layout = layout(source.key, source.unit, made.low, made.high, stale=1e12)
        self.kinds = self.detector.kinds

    def rows(self, series: Series, memory: Memory, begin: int, end: int) -> Iterator[tuple[int, Memory, Any]]:
        """Each row with the memory after it and what was told, (kinds, n)."""
        age = np.zeros(len(self.layout))
        for k in range(begin, end):
            at = Instant(float(series.time[k]), 0.0)
            seen = Frame("s", at, self.layout, series.raw[k], series.value[k], series.quality[k], age)
            memory, told, _ = self.detector.step(memory, seen)
            yield k, memory, told.reshape(len(self.kinds), -1)

    def clean(self, wanted: set[int]) -> tuple[dict[int, Memory], dict[str, int], list[str], Any]:
        """Memories before the rows that are `wanted`; how often each lie was told; where; and what could be said."""
        memory, kept = self.detector.start(self.layout), {}
        n = len(self.layout)
        before = np.zeros((len(self.kinds), n), bool)
        count, places, able = np.zeros(len(self.kinds), int), [], np.zeros(len(self.kinds))
        for k, after, told in self.rows(self.source.series, memory, 0, len(self.source.series.time)):
            if k in wanted:
                kept[k] = memory
            memory = after
            now = told >= 1
            for i, j in np.argwhere(now & ~before):
                count[i] += 1
                places.append(f"{self.kinds[i]} {self.source.name} {self.source.key[j]} row {k}")
            before = np.where(np.isnan(told), before, now)
            able += np.isfinite(told).sum(1)
        share = able / (n * len(self.source.series.time))
        return kept, dict(zip(self.kinds, count.tolist(), strict=True)), places, share


def long(kind: str, step: float) -> int:
    """For how many rows it lasts."""
    seconds, rows = {
        "held": (3600.0, 100),
        "replayed": (3600.0, 250),
        "looped": (3600.0, 250),
        "lowered": (600.0, 60),
        "swapped": (1.5 * LATELY * max(STRIDE, step), 2),
        "smoothed": (3 * 1800.0, 200),
        "coarsened": (3 * 1800.0, 200),
        "invented": (3 * 1800.0, 200),
        "pinned": (180.0, 30),
        "wrapped": (1200.0, 60),
        "spiked": (step, 1),
        "overwritten": (10 * step, 10),
        "calibrated": (3600.0, 3),
        "overcalibrated": (5 * DAY, 60),
        "deafened": (2400.0, 15),
    }[kind]
    return max(rows, int(seconds / step))


TAIL = 5  # rows after it in which it may still be told


def fits(source: Source, kind: str, channel: int, begin: int, rows: int) -> bool:
    """Whether somebody could do this there, and it would be a lie."""
    made = source.series
    end = begin + rows
    before = made.value[max(0, begin - 400) : begin, channel]
    window = made.value[begin:end, channel]
    if (
        np.isfinite(before).mean() < 0.9
        or np.isfinite(window).mean() < 0.95
        or not np.isfinite(made.value[begin - 1, channel])
    ):
        return False
    moves = np.abs(np.diff(before))
    rate, noise = float(np.nanmean(moves > 1e-12)), float(np.nanmean(moves))
    low = made.low[channel] if np.isfinite(made.low[channel]) else 0.0
    level = float(np.nanmedian(before)) - low
    zone = [j for j, unit in enumerate(source.unit) if unit == source.unit[channel] and j != channel]
    span = made.high[channel] - made.low[channel]
    if kind == "held":
        lively = [j for j in zone if np.nanmean(np.abs(np.diff(made.value[begin:end, j])) > 1e-12) > 0.1]
        return rate > 0.3 and (bool(lively) or not zone)
    step = float(moves[moves > 1e-12].min()) if (moves > 1e-12).any() else 0.0
    grid = np.abs(moves / step - np.round(moves / step)) if step else np.ones(1)
    has_steps = step > 1e-6 and float(np.nanmean(grid < 0.02)) > 0.99
    if kind in ("replayed", "looped", "smoothed"):
        return rate > 0.5
    if kind == "coarsened":
        return rate > 0.5 and has_steps
    if kind == "lowered":
        return rate > 0.02 and level > 0 and 0.5 * level > 16 * noise and float(np.nanstd(before[-9:])) < 0.1 * level
    if kind == "swapped":
        if not zone or begin < 2 * rows:
            return False
        past = made.value[:begin]
        likeness = np.corrcoef(np.nan_to_num(past[:, channel]), np.nan_to_num(past[:, zone].mean(1)))[0, 1]
        return bool(likeness > 0.7)
    if kind == "invented":
        return rate > 0.3 and has_steps
    if kind == "overwritten":
        return float(np.nanmin(np.abs(window))) > 0
    if kind in ("pinned", "wrapped", "spiked"):
        return bool(np.isfinite(span)) and level < 0.5 * span and rate > 0.05
    if kind == "deafened":
        return True
    return rate > 0.02


def places(run: Run, kind: str, many: int, random: np.random.Generator) -> list[tuple[int, int, int]]:
    """Channel, first row and rows of so many falsifications."""
    source = run.source
    t, n = source.series.value.shape
    rows, found = long(kind, source.step), []
    for _ in range(60 * many):
        if len(found) == many:
            break
        channel = int(random.integers(n))
        first = int(0.4 * t)
        if kind == "deafened":
            fan = source.series.value[:, -1] if source.answers else np.ones(t)
            stops = np.flatnonzero((fan[1:] < 0.5) & (fan[:-1] >= 0.5)) + 1
            stops = stops[stops > first]
            if not stops.size or source.unit[channel] != "%CH4":
                continue
            begin = int(random.choice(stops)) - 2
        else:
            if first >= t - rows - TAIL - 2:
                break
            begin = int(random.integers(first, t - rows - TAIL - 1))
        if begin + rows + TAIL < t and fits(source, kind, channel, begin, rows):
            found.append((channel, begin, rows))
    return found


class Tally(NamedTuple):
    """Of one kind in one group."""

    put: int
    found: int
    any_: int
    delays: list[float]  # s


def falsify(source: Source, many: int) -> tuple[dict[str, Tally], dict[str, int], list[str], Any]:
    """Put every kind into one source; and what is told of it as it is."""
    run = Run(source)
    random = np.random.default_rng(zlib.crc32(source.name.encode()))
    plan = {kind: places(run, kind, many, random) for kind in FALSIFIED}
    kept, false, where, share = run.clean({begin for row in plan.values() for _, begin, _ in row})
    told: dict[str, Tally] = {}
    for kind, row in plan.items():
        put = found = any_ = 0
        delays: list[float] = []
        for channel, begin, rows in row:
            memory, lies = kept[begin], [run.kinds.index(lie) for lie in FITS[kind]]
            series = falsified(
                source.series, kind, channel, begin, begin + rows, np.random.default_rng((begin, channel))
            )
            first = next(t for _, _, t in run.rows(source.series, memory, begin, begin + 1))
            if np.isnan(first[lies, channel]).all():
                continue  # it has not seen enough, and says so
            put += 1
            before, hit, other = first[:, channel] >= 1, None, False
            for k, _, now in run.rows(series, memory, begin, begin + rows + TAIL):
                other |= bool(((now[:, channel] >= 1) & ~before).any())
                if ((now[lies, channel] >= 1) & ~before[lies]).any():
                    hit = k
                    break
            found += hit is not None
            if hit is None:
                where.append(f"MISSED {kind} {source.name} {source.key[channel]} rows {begin} to {begin + rows}")
            any_ += other
            delays += [float(series.time[hit] - series.time[begin])] if hit is not None else []
        told[kind] = Tally(put, found, any_, delays)
    return told, false, where, share


def cost(n: int, frames: int = 400) -> tuple[float, float]:
    """us for one frame of n channels: the detector, and the floor, one running mean and deviation by numpy."""
    random = np.random.default_rng(1)
    rows = np.round(random.normal(0.5, 0.02, (2 * frames, n)), 2)
    made = layout([f"c{i}" for i in range(n)], ["%CH4"] * n, [0.0] * n, [4.0] * n, stale=1e12)
    detector = Tamper(name="lies", channel=["s/*"])
    memory, spent = detector.start(made), []
    good, age = np.zeros(n, np.uint8), np.zeros(n)
    for k, row in enumerate(rows):
        seen = Frame("s", Instant(30.0 * k, 0.0), made, 100.0 * row, row, good, age)
        begun = time.perf_counter()
        memory, _, _ = detector.step(memory, seen)
        spent.append(time.perf_counter() - begun)
    mean, spread = rows[0].copy(), np.ones(n)
    begun = time.perf_counter()
    for row in rows:
        off = row - mean
        mean = mean + 0.01 * off
        spread = spread + 0.01 * (np.abs(off) - spread)
    floor = (time.perf_counter() - begun) / len(rows)
    return 1e6 * float(np.median(spent[frames:])), 1e6 * floor


# -- the table --------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few sources of each group")
    parser.add_argument("--group", action="append", help="only these")
    parser.add_argument("--verbose", action="store_true", help="where something was told that was not put there")
    args = parser.parse_args()
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    sources = simulated(4.0 if args.quick else 20.0, 30.0, 1) + simulated(1.0 if args.quick else 4.0, 5.0, 2)
    if (DATA / "cases.json").is_file():
        sources += list(real())
    else:
        print(f"no real series: {DATA} is not there")
    if args.group:
        sources = [source for source in sources if any(group in source.group for group in args.group)]
    if args.quick:
        by_group: dict[str, list[Source]] = {}
        for source in sources:
            by_group.setdefault(source.group, []).append(source)
        sources = [source for row in by_group.values() for source in row[:3]]
    tallies: dict[str, dict[str, list[Tally]]] = {}
    false: dict[str, dict[str, int]] = {}
    months: dict[str, float] = {}
    for source in sources:
        begun = time.perf_counter()
        told, wrong, where, _ = falsify(source, 2 if source.group in ("skab", "nab") else 6)
        for kind, tally in told.items():
            tallies.setdefault(kind, {}).setdefault(source.group, []).append(tally)
        for lie, count in wrong.items():
            row = false.setdefault(lie, {})
            row[source.group] = row.get(source.group, 0) + count
        covered = len(source.key) * len(source.series.time) * source.step / MONTH
        months[source.group] = months.get(source.group, 0.0) + covered
        if args.verbose:
            print("\n".join(f"  told: {line}" for line in where))
            print(f"  {source.group} {source.name}: {time.perf_counter() - begun:.1f} s", file=sys.stderr, flush=True)
    groups = list(months)
    print(
        f"\n{'found of put':16}"
        + "".join(f"{group:>18}" for group in groups)
        + f"{'all':>14}{'recall':>8}{'any':>6}{'delay':>10}"
    )
    for kind, row in tallies.items():
        cells, whole = [], [tally for several in row.values() for tally in several]
        for group in groups:
            put, found = (sum(getattr(t, name) for t in row.get(group, [])) for name in ("put", "found"))
            cells.append(f"{found}/{put}" if put else "-")
        put, found, any_ = (sum(getattr(t, name) for t in whole) for name in ("put", "found", "any_"))
        delays = [d for t in whole for d in t.delays]
        recall, some = (f"{found / put:.2f}", f"{any_ / put:.2f}") if put else ("-", "-")
        delay = f"{np.median(delays):.0f} s" if delays else "-"
        print(
            f"{kind:16}" + "".join(f"{c:>18}" for c in cells) + f"{f'{found}/{put}':>14}{recall:>8}{some:>6}{delay:>10}"
        )
    print(f"\n{'false / month':16}" + "".join(f"{group:>18}" for group in groups) + f"{'all':>14}")
    for lie, counts in false.items():
        cells = [f"{counts.get(group, 0)} {counts.get(group, 0) / months[group]:.2f}" for group in groups]
        print(
            f"{lie:16}" + "".join(f"{c:>18}" for c in cells) + f"{sum(counts.values()) / sum(months.values()):>14.3f}"
        )
    print(
        f"{'sensor-months':16}"
        + "".join(f"{months[group]:>18.1f}" for group in groups)
        + f"{sum(months.values()):>14.1f}"
    )
    for n in (8, 1000):
        mine, floor = cost(n)
        print(f"cost, {n:4} channels   {mine:8.0f} us a frame; floor {floor:.1f} us; x {mine / floor:.0f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
