"""`make bench-slope`: when slopes are said to fail, and how often they do not.

    python -m tests.bench.slope [--simulated N]

Every slope case of ../shared/data/sensors (where it is there), and slopes simulated here, go through the detector as it
ships: one configuration for all, row by row. Beside it the floor: least squares through 1/v of the same means of the
last `long` window, told whenever it falls, without a test for an onset.

    onset    days from the first time that it is told after the labelled beginning, to the failure
    falses   times that an onset was told outside of what is labelled
    lead     days from the first forecast to the failure
    told     means of the last 72 h before the failure after which a forecast stands, in %
    inside   share of the forecasts whose 90 % interval holds the failure
    error    median of |told / true remaining time - 1|
    false    means with a forecast where nothing fails; and those that say 24 h or less

What is simulated: creep of 0.05 to 2 mm/d, noise of 0.1 to 1.5 mm, samples each 6 h, failures by dv/dt = A v^alpha with
alpha from 1.5 to 2.2 over the last 6 to 45 days; rain that speeds creep up for days; surges of 3 to 20 mm/d that decay.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import math
import sys
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from agent.core.frame import Array, Instant, frame, layout
from models.slope import DAY, Slope

from .tamper import DATA, ROOT

ONE = Slope(name="bench", channel=["*"])
OUT = ROOT / "build" / "bench" / "slope"
VELOCITY, ONSET, FAILS, SOONEST, LATEST = 0, 3, 4, 5, 6  # columns
MEAN = 6 * 3600.0  # s, of what is counted


class Case(NamedTuple):
    """n slopes of one kind."""

    name: str
    at: Array  # (t,) s
    value: Array  # (t, n) mm
    end: Array  # (n,) s, inf where nothing fails
    begins: float  # s, of what is labelled; inf where nothing is
    ends: float  # s


def shared() -> list[Case]:
    """The slope cases of the shared data."""
    cases = []
    for spec in json.loads((DATA / "cases.json").read_text())["cases"]:
        if spec["group"] != "slope":
            continue
        with open(DATA / spec["file"], newline="") as lines:
            rows = list(csv.DictReader(lines))
        at = np.array([_seconds(row[spec["time"]]) for row in rows])
        value = np.array([float(row[spec["channels"][0]] or "nan") for row in rows])
        labels = spec["labels"]
        end = _seconds(labels["failure"]) if "failure" in labels else math.inf
        begins, ends = (_seconds(x) for x in labels["events"][0]) if "events" in labels else (math.inf, math.inf)
        cases.append(Case(spec["id"], at, value[:, None], np.array([end]), begins, ends))
    return cases


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "")).replace(tzinfo=UTC).timestamp()


def simulated(n: int, seed: int) -> list[Case]:
    """Failures without and with rain, surges, and slopes that only creep."""
    random, days = np.random.default_rng(seed), np.arange(0, 90, 0.25)
    cases = []
    for name, fails, rains, surges in (
        ("sim fails", True, False, False),
        ("sim fails, rain", True, True, False),
        ("sim surges, rain", False, True, True),
        ("sim creeps, rain", False, True, False),
    ):
        creep, noise = _between(random, 0.05, 2.0, n), _between(random, 0.1, 1.5, n)
        velocity, path = np.tile(creep, (len(days), 1)), creep * days[:, None]
        begins, end = math.inf, np.full(n, math.inf)
        if fails:
            life, p = _between(random, 6, 45, n), 1 / (random.uniform(1.5, 2.2, n) - 1)
            rest = 1 - np.maximum(days[:, None] - (90 - life), 0.0) / life
            path = creep * (np.minimum(days[:, None], 90 - life) + life * (rest ** (1 - p) - 1) / (p - 1))
            velocity, end, begins = np.minimum(creep * rest**-p, 50.0), np.full(n, 90 * DAY), 45 * DAY
        if rains:
            fresh = (random.random(velocity.shape) < 0.0125) * random.exponential(1.0, velocity.shape)
            kept, wet = np.exp(-0.25 / random.uniform(0.7, 4, n)), np.zeros(n)
            for i, water in enumerate(fresh):
                wet = wet * kept + water
                velocity[i] *= wet
            path = path + np.cumsum(velocity * random.uniform(0, 1, n), 0) * 0.25
        if surges:
            top, wide, most = random.uniform(45, 70, n), random.uniform(2, 12, n), _between(random, 3, 20, n)
            path = path + np.cumsum(most * np.exp(-0.5 * ((days[:, None] - top) / wide) ** 2), 0) * 0.25
            begins = 15 * DAY
        cases.append(Case(name, days * DAY, path + random.normal(0, 1, path.shape) * noise, end, begins, math.inf))
    return cases


def _between(random: np.random.Generator, low: float, high: float, n: int) -> Array:
    return np.exp(random.uniform(math.log(low), math.log(high), n))


def judged(case: Case) -> tuple[Array, Array, Array]:
    """At the end of each mean: s; columns (k, 8, n); and what the floor says, h (k, n)."""
    n = case.value.shape[1]
    seen = layout([f"p{i}" for i in range(n)], ["mm"] * n, stale=math.inf)
    memory, read = ONE.start(seen), 0.0
    at, told, plain = [], [], []
    for now, row in zip(case.at, case.value, strict=True):
        memory, value, _ = ONE.step(memory, frame("s", Instant(now, now), seen, row))
        if memory.read != read:
            read = memory.read
            at.append(now)
            told.append(value.reshape(8, n))
            plain.append(floor(memory.at - now, memory.mean))
    return np.array(at), np.array(told), np.array(plain)


def floor(at: Array, mean: Array) -> Array:
    """(n,) h until the line through 1/v meets nought, v between means a day apart; NaN where it does not fall."""
    found = np.full(mean.shape[1], math.nan)
    for i, curve in enumerate(mean.T):
        known = np.isfinite(curve)
        t, x = at[known], curve[known]
        if len(t) < 20:
            continue
        v, middle = (x[4:] - x[:-4]) / (t[4:] - t[:-4]), (t[4:] + t[:-4]) / 2
        up = v > 0
        if up.sum() < 10:
            continue
        slope, start = np.polyfit(middle[up], 1 / v[up], 1)
        if slope < 0 < start:
            found[i] = -start / slope / 3600
    return found


def row(case: Case) -> dict[str, Any]:
    """What one case shows."""
    at, told, plain = judged(case)
    left = (case.end - at[:, None]) / 3600
    before = left > MEAN / 3600  # later than that nobody can be helped
    stands = np.isfinite(told[:, FAILS])
    labelled = (at >= case.begins) & (at <= case.ends)
    onset = told[:, ONSET] == 1
    starts = onset & ~np.vstack([np.zeros_like(onset[:1]), onset[:-1]])
    fails = bool(np.isfinite(case.end).all())
    facts: dict[str, Any] = {"n": len(case.end), "falses": int(starts[~labelled].sum()), "fails": fails}
    if not fails:
        return facts | {"false": int(stands.sum()), "soon": int((told[:, FAILS] <= 24).sum()),
                        "series": int(stands.any(0).sum()), "floor_false": int(np.isfinite(plain).sum()),
                        "floor_soon": int((plain <= 24).sum())}  # fmt: skip
    inside = (told[:, SOONEST] <= left) & (left <= told[:, LATEST])
    counted, guessed = stands & before, np.isfinite(plain) & before
    last = (left <= 72) & before
    first = [float(left[mine.argmax(), i]) / 24 for i, mine in enumerate(counted.T) if mine.any()]
    begun = [float(left[mine.argmax(), i]) / 24 for i, mine in enumerate((onset & labelled[:, None]).T) if mine.any()]
    return facts | {
        "onset": begun, "lead": first, "told": 100 * float((counted & last).sum() / last.sum()),
        "inside": inside[counted], "error": np.abs(told[:, FAILS] / left - 1)[counted],
        "floor_told": 100 * float((guessed & last).sum() / last.sum()),
        "floor_error": np.abs(plain / left - 1)[guessed],
        "floor_in": (np.abs(plain / left - 1) <= 0.5)[guessed],
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=int, default=40, help="slopes of each kind")
    args = parser.parse_args(argv)
    cases = simulated(args.simulated, 31)
    if (DATA / "cases.json").is_file():
        cases += shared()
    else:
        print(f"no shared series here: {DATA.relative_to(ROOT.parent)} is missing; only simulated ones are told")
    rows = {case.name: row(case) for case in cases}
    print(f"\n{'what fails':18} {'n':>3} {'onset':>6} {'falses':>6} {'lead':>5} {'of':>4} {'told':>6} {'inside':>7} "
          f"{'error':>6}   floor: told, error, in +-50 %")  # fmt: skip
    for name, one in rows.items():
        if one["fails"]:
            print(_of_failure(name, [one]))
    ours = [one for name, one in rows.items() if one["fails"] and not name.startswith("sim")]
    if ours:
        print(_of_failure("all shared", ours))
    print(
        f"\n{'what does not':18} {'n':>3} {'falses':>6} {'false':>6} {'<=24 h':>6} {'series':>6}   floor: false, <=24 h"
    )
    for name, one in rows.items():
        if not one["fails"]:
            print(f"{name:18} {one['n']:3} {one['falses']:6} {one['false']:6} {one['soon']:6} {one['series']:6}   "
                  f"{one['floor_false']}, {one['floor_soon']}")  # fmt: skip
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "result.json").write_text(json.dumps(rows, indent=1, default=lambda x: np.asarray(x).tolist()))
    return 0


def _of_failure(name: str, rows: list[dict[str, Any]]) -> str:
    def joined(key: str) -> Array:
        return np.concatenate([np.asarray(one[key], float) for one in rows])

    def median(key: str) -> float:
        found = joined(key)
        return float(np.median(found)) if len(found) else math.nan

    n, inside, near = sum(one["n"] for one in rows), joined("inside"), joined("floor_in")
    told, plain = (float(np.mean([one[key] for one in rows])) for key in ("told", "floor_told"))
    return (f"{name:18} {n:3} {median('onset'):6.1f} {sum(one['falses'] for one in rows):6} {median('lead'):5.1f} "
            f"{len(joined('lead')):4} {told:4.0f} % {np.mean(inside) if len(inside) else math.nan:7.2f} "
            f"{median('error'):6.2f}   {plain:.0f} %, {median('floor_error'):.2f}, "
            f"{np.mean(near) if len(near) else math.nan:.2f}")  # fmt: skip


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
