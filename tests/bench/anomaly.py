"""`make bench-anomaly`: what the anomaly detector finds on real series, and how often it is wrong.

    python -m tests.bench.anomaly [--group NAME ...] [--per-case] [--kind window [--model NAME]] [--one-process]

Every case of ../shared/data/sensors (where it is there) goes through `agent.detect`, which is what `vedette detect`
runs: row by row, without a look ahead, one configuration for all. The alarms are scored by
../shared/tools/score_sensors.py, which says what the words of the table mean. Beside each group:

    own      event F1 of the alarms that were told
    oracle   event F1 of the same scores at the threshold that the labels pick for the whole group
    floor    event F1 of |x - mean| > 4 deviations, mean and deviation exponential over 500 rows: fixed beforehand
    clock    event F1 of an alarm every 60 rows, whatever happens

`--kind window` puts the optional window model in place of the statistics: the same tables, to be held side by side.

The learning curve is over all groups, by rows seen. Cost: one look of 8 channels and of 1,000, the floor beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import pickle
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from agent import detect
from agent.core.frame import Array, Frame, Instant, layout
from agent.core.ports import Detector
from models.anomaly import Anomaly
from models.window import Window

from .tamper import DATA, ROOT, SHARED, tool

SCORER = SHARED / "tools" / "score_sensors.py"
OUT = ROOT / "build" / "bench" / "anomaly"
GOALS = {  # group -> what is wanted, for the last column
    "skab": "own >= 0.92, delay <= 55 s, row F1 >= 0.85 at FAR <= 10 %",
    "nab": "own >= 0.65, NAB >= 65",
    "gas": "recall >= 0.85 at <= 1 false/day, delay <= 15 min",
    "gasmine": "recall >= 0.80 at <= 2 false/day, delay <= 0 s",
    "lro": "recall >= 0.60 at <= 1 false/month and sensor",
    "slope": "10 of 10, lead >= 5 d, <= 1 false/year and series",
    "quiet": "<= 1 false/year and series",
    "flood": "",
}
SEEN = (300, 1000, 3000, 10_000)  # rows: borders of the learning curve
PLAIN = Anomaly(name="bench", channel=["*"])


def scorer() -> Any:
    """The scorer, as a module."""
    return tool(SCORER)


def run(one: Detector, spec: dict[str, Any]) -> tuple[str, Array, Array, Array]:
    """One case: score (NaN while it learns), alarm, and the alarm of the floor, row by row."""
    case, feed = scorer().Case(str(DATA), spec), io.StringIO()
    case.feed(feed)
    keys, rows = detect.rows(spec["id"], io.StringIO(feed.getvalue()))
    wanted = [spec["target"]] if spec.get("target") else []
    found = list(detect.judged(one, keys, rows, wanted))
    picked = [keys.index(key) for key in wanted or keys]
    values = np.array([j.row.value for j in found])[:, picked]
    return spec["id"], np.array([j.score for j in found]), np.array([j.told for j in found]), floor(values)


def floor(values: Array) -> Array:
    """Whether any channel is over 4 deviations off its exponential mean over 500 rows."""
    mean, square, told = values[0], np.zeros(values.shape[1]), np.zeros(len(values), bool)
    for i, x in enumerate(values):
        away = np.nan_to_num(x - mean)
        told[i] = i > 100 and bool((np.abs(away) > 4 * np.sqrt(square) + 1e-12).any())
        share = 1 / min(i + 1, 500)
        square = square + share * (away**2 - square)
        mean = np.where(np.isnan(mean), x, mean + share * away)
    return told


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", action="append", help="only these")
    parser.add_argument("--per-case", action="store_true", help="false alarms and delays of every case")
    parser.add_argument("--kind", choices=("anomaly", "window"), default="anomaly", help="the detector")
    parser.add_argument("--model", default="shape", help="of `--kind window`: a name or a manifest")
    parser.add_argument("--one-process", action="store_true", help="leave the other cores to others")
    args = parser.parse_args(argv)
    one: Detector = PLAIN if args.kind == "anomaly" else Window(name="bench", channel=["*"], model=args.model)
    print(f"{args.kind} on {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    facts: dict[str, Any] = {"cost": cost(one)}
    if SCORER.is_file() and (DATA / "cases.json").is_file():
        facts |= groups(one, args.group, args.per_case, 1 if args.one_process else os.cpu_count())
    else:
        print(
            f"no real series here: {DATA.relative_to(ROOT.parent)} and its scorer are missing; only cost was measured"
        )
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / ("result.json" if args.kind == "anomaly" else "window.json")).write_text(
        json.dumps(facts, indent=1, default=float)
    )
    return 0


def groups(one: Detector, only: list[str] | None, per_case: bool, processes: int | None) -> dict[str, Any]:
    score = scorer()
    specs = [s for s in json.loads((DATA / "cases.json").read_text())["cases"] if not only or s["group"] in only]
    with ProcessPoolExecutor(processes) as pool:
        found = {name: parts for name, *parts in pool.map(partial(run, one), specs)}
    cases = [score.Case(str(DATA), spec) for spec in specs]
    facts: dict[str, Any] = {}
    print(f"\n{'group':8} {'cases':>5} {'events':>6} {'floor':>6} {'clock':>6} {'own':>6} {'oracle':>6} {'ratio':>6} "
          f"{'recall':>6} {'false/day':>9} {'delay':>7}  goal")  # fmt: skip
    for group in dict.fromkeys(spec["group"] for spec in specs):
        mine = [case for case in cases if case.group == group]
        scores = [np.nan_to_num(found[case.id][0], nan=-9.0) for case in mine]
        alarms = [found[case.id][1] for case in mine]
        at, plain, clock = (
            score.pool([score.event_part(c, a) for c, a in zip(mine, told, strict=True)])
            for told in (alarms, [found[c.id][2] for c in mine], [score.baseline(c, "metronome:60") for c in mine])
        )
        best = score.budget_sweep(mine, scores)[1] if at["events"] else {"f1": math.nan}
        ratio = at["f1"] / best["f1"] if best["f1"] else math.nan
        print(f"{group:8} {len(mine):5} {at['events']:6} {plain['f1']:6.2f} {clock['f1']:6.2f} {at['f1']:6.2f} "
              f"{best['f1']:6.2f} {ratio:6.2f} {at['recall']:6.2f} {at['fa_per_day']:9.3f} "
              f"{score.dur(at['delay_median_s']):>7}  {GOALS.get(group, '')}")  # fmt: skip
        facts[group] = {"own": at, "oracle": best, "floor": plain, "clock": clock}
        for line in more(score, group, mine, scores, alarms, at):
            print(f"{'':8} {line}")
        if per_case:
            for case, told in zip(mine, alarms, strict=True):
                part = score.event_part(case, told)
                print(f"{'':8} {case.id}: {part['fa']} false, delays {part['delays']}")
    facts["curve"] = curve(score, cases, found)
    return facts


def more(score: Any, group: str, cases: list[Any], scores: list[Array], alarms: list[Array], at: Any) -> list[str]:
    """What a group is judged by beside events."""
    if group == "nab":
        nab = score.nab_score(cases, alarms)
        beat = score.nab_score(cases, [score.baseline(c, "metronome:60") for c in cases])
        picked = score.nab_sweep(cases, scores)[0]
        return [
            f"NAB standard {nab['standard']:.1f}, low FP {nab['lowFP']:.1f}, low FN {nab['lowFN']:.1f}",
            f"standard at the threshold of the labels {picked:.1f}; an alarm every 60 rows {beat['standard']:.1f}",
        ]
    if group == "skab":
        rows, always = score.row_wise(cases, alarms), score.row_wise(cases, [np.ones(c.n, bool) for c in cases])
        return [f"rows: F1 {rows['row_f1']:.3f}, FAR {100 * rows['far']:.1f} %, MAR {100 * rows['mar']:.1f} %; "
                f"always on {always['row_f1']:.3f}"]  # fmt: skip
    if group == "slope":
        return [f"{at['failures_warned']} of {at['failures']} failures warned, lead median "
                f"{score.dur(at['lead_median_s'])}, shortest {score.dur(at['lead_min_s'])}; "
                f"{365 * at['fa_per_day']:.2f} false a year and series"]  # fmt: skip
    if group in ("quiet", "lro", "flood"):
        return [f"{30 * at['fa_per_day']:.2f} false a month, {365 * at['fa_per_day']:.2f} a year and series"]
    return []


def curve(score: Any, cases: list[Any], found: dict[str, list[Array]]) -> list[dict[str, float]]:
    """How it grows with what was seen: events found and false alarms, by the rows that were seen before."""
    borders = [0, *SEEN, 10**9]
    rows = [{"from": a, "events": 0, "found": 0, "false": 0, "learning": 0, "rows": 0} for a in borders[:-1]]
    for case in cases:
        scores, told, _ = found[case.id]
        times = case.t
        edges = score.edges(case, told)
        early, grace = float(case.spec.get("early_s", 0)), float(case.spec.get("grace_s", 0))
        for row, (a, b) in zip(rows, zip(borders, borders[1:], strict=False), strict=True):
            here = (np.arange(case.n) >= a) & (np.arange(case.n) < b)
            row["rows"] += int(here.sum())
            row["learning"] += int((here & np.isnan(scores)).sum())
            row["false"] += sum(bool(case.normal[e]) for e in edges if a <= e < b)
            for (i, _), (t0, t1) in zip(case.event_rows, case.events, strict=True):
                if a <= i < b and not case.ignore[i]:
                    row["events"] += 1
                    row["found"] += any(t0 - early <= times[e] <= t1 + grace for e in edges)
    print("\nrows seen before   events  found  false  false/1000 rows  still learning")
    for row in rows:
        part = f"{row['found'] / row['events']:.2f}" if row["events"] else "-"
        thousand, learning = 1000 * row["false"] / max(row["rows"], 1), 100 * row["learning"] / max(row["rows"], 1)
        print(f"{row['from']:>10} on {row['events']:10} {part:>6} {row['false']:6} {thousand:16.2f} {learning:14.1f} %")
    return rows


def cost(one: Detector) -> dict[str, float]:
    """us of a look, all of it on, and whether the memory grows."""
    found = {}
    rng = np.random.default_rng(1)
    for n, looks in ((8, 6000), (1000, 400)):
        seen, fine, age = layout([f"c{i}" for i in range(n)], stale=math.inf), np.zeros(n, np.uint8), np.zeros(n)
        rows = rng.normal(size=(looks, n)).cumsum(0) * 0.01 + rng.normal(size=(looks, n))
        memory, size = one.start(seen), 0
        began = time.perf_counter()
        for i, row in enumerate(rows):
            memory, _, _ = one.step(memory, Frame("s", Instant(float(i), float(i)), seen, row, row, fine, age))
            if i == looks // 2:
                size = len(pickle.dumps(memory))
        took = (time.perf_counter() - began) / looks * 1e6
        began = time.perf_counter()
        floor(rows)
        plain = (time.perf_counter() - began) / looks * 1e6
        grown = len(pickle.dumps(memory)) - size
        print(
            f"{n:5} channels: {took:6.0f} us a look, floor {plain:4.0f} us; "
            f"memory {size / 1000:.0f} kB, grown {grown} B"
        )
        found |= {f"us_{n}": took, f"floor_us_{n}": plain, f"bytes_{n}": size, f"grown_{n}": grown}
    return found


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
