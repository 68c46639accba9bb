"""`make bench-vision`: how well the time to collision is told, on pictures whose truth is known.

    python -m tests.bench.vision

The pictures are those of ../shared/data/vision (where they are there), scored by ../shared/tools/score_vision.py: real
frames with the range by lidar, and drawn scenes. First the boxes are given, those of the truth; on real frames those of
a net, as they jump: what `models/vision/approach.py` makes of them, and the floor, the growth of the box's width over
half a second. Then nets by themselves (`nets.py`), the whole path from pixels to warnings (`road.py`), eyes and
mouths (`driver.py`), and drivers (`cabin.py`). It takes OpenCV and ONNX Runtime (`pip install "vedette[video]"`).
"""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agent.core.frame import Array
from models.vision.approach import Memory, seen
from models.vision.scale import Box

from . import cabin, driver, nets, road
from .tamper import ROOT, SHARED, tool

DATA, SCORER = SHARED / "data" / "vision", SHARED / "tools" / "score_vision.py"
OUT = ROOT / "build" / "bench" / "vision"
LAG = 0.5  # s, of the floor
GOAL = "median <= 0.08, p90 <= 0.18, covered 1.00, motion <= 10 (real frames)"


def main() -> int:
    print(f"vision on {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    if not SCORER.is_file() or not DATA.is_dir():
        print(f"no pictures here: {DATA.relative_to(ROOT.parent)} and its scorer are missing; nothing was measured")
        return 0
    if importlib.util.find_spec("cv2") is None:
        print('pictures cannot be read: OpenCV is missing (pip install "vedette[video]"); nothing was measured')
        return 0
    facts: dict[str, Any] = {}
    heads = zip(("frames", "covered", "median", "p90", "motion", "false<4s", "ms"), (6, 7, 7, 6, 7, 8, 5), strict=True)
    print(f"{'sequence, given boxes':24} {' '.join(f'{head:>{width}}' for head, width in heads)}   {GOAL}")
    for name, rate, rows, pictures in sequences():
        facts[name] = {}
        for how, tell in (("own", own), ("floor", floor)):
            began = time.perf_counter()
            told = tell(rows, pictures)
            took = (time.perf_counter() - began) / len(rows) * 1e3
            score = scored(rows, told, rate)
            facts[name][how] = {**score, "ms": took}
            figures = [score.get(key, math.nan) for key in ("coverage", "ttc_median_rel", "ttc_p90_rel", "mid_1e4")]
            shown = " ".join(f"{x:{w}.{d}f}" for x, w, d in zip(figures, (7, 7, 6, 7), (2, 3, 3, 1), strict=True))
            named = name if how == "own" else "  floor"
            print(f"{named:24} {len(rows):6} {shown} {score['false_below_4s']:8} {took:5.0f}")
    if importlib.util.find_spec("onnxruntime") is not None:
        facts["nets"] = nets.section()
        facts["road"] = road.section()
        facts["driver"] = driver.section()
        facts["cabin"] = cabin.section()
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "result.json").write_text(json.dumps(facts, indent=1, default=float))
    return 0


def sequences() -> Iterator[tuple[str, float, list[dict[str, str]], list[Array]]]:
    """Name, pictures a second, rows of the truth, grey pictures."""
    import cv2

    cv2.setNumThreads(1)
    rows = read(DATA / "kitti_lead" / "truth.csv")
    files = [DATA / "kitti_lead" / f"{int(row['frame']):06}.jpg" for row in rows]
    yield "kitti_lead", 10.0, rows, [cv2.imread(str(f), cv2.IMREAD_GRAYSCALE).astype(np.float32) for f in files]
    for path in sorted((DATA / "sim_fcw").glob("*.csv")):
        film, rows, pictures = cv2.VideoCapture(str(path.with_suffix(".mp4"))), read(path), []
        while (one := film.read())[0]:
            pictures.append(cv2.cvtColor(one[1], cv2.COLOR_BGR2GRAY).astype(np.float32))
        yield path.stem, 20.0, rows[: len(pictures)], pictures


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def boxed(row: dict[str, str]) -> Box | None:
    """Where the thing is, if it is to be seen."""
    if not row["x1"] or float(row["x2"]) <= float(row["x1"]):
        return None
    return float(row["x1"]), float(row["y1"]), float(row["x2"]), float(row["y2"])


def own(rows: list[dict[str, str]], pictures: list[Array]) -> list[float]:
    """1/s in each picture, NaN where nothing is told."""
    memory, told = Memory(), []
    for row, picture in zip(rows, pictures, strict=True):
        closing, box = None, boxed(row)
        if box is not None:
            memory, closing = seen(memory, float(row["t_s"]), picture, box)
        told.append(closing.per_second if closing else math.nan)
    return told


def floor(rows: list[dict[str, str]], _: list[Array]) -> list[float]:
    """The same from the width of the box, now and half a second ago."""
    past: list[tuple[float, float]] = []
    told = []
    for row in rows:
        box, at = boxed(row), float(row["t_s"])
        if box is None:
            told.append(math.nan)
            continue
        past.append((at, math.log(box[2] - box[0])))
        then = min(past, key=lambda one: abs(at - one[0] - LAG))
        told.append((past[-1][1] - then[1]) / (at - then[0]) if at - then[0] > LAG / 2 else math.nan)
    return told


def scored(rows: list[dict[str, str]], told: list[float], rate: float) -> dict[str, Any]:
    """After the scorer."""
    with tempfile.TemporaryDirectory() as folder:
        truth, est = Path(folder) / "truth.csv", Path(folder) / "est.csv"
        with truth.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        with est.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["frame", "ttc_s"])
            for row, u in zip(rows, told, strict=True):
                out.writerow([row["frame"], "" if math.isnan(u) else 1 / u if u > 1e-3 else "inf"])
        found: dict[str, Any] = tool(SCORER).score_ttc(str(truth), str(est), fps=rate)
        return found


if __name__ == "__main__":
    sys.exit(main())
