"""How well nets find vehicles and people, on labelled pictures: a section of `make bench-vision`.

Every net for the road that ships, and those that the manifest only describes where their file lies in
../shared/data/vision/models. AP50 to 60 m after ../shared/tools/score_vision.py, on 7 pictures with 14 vehicles: a
check that nets are read rightly, no comparison of nets. With one look at the whole, and with one more at the middle
half.
"""

from __future__ import annotations

import csv
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from agent.core.errors import NetFault
from models.vision import net, shelf
from models.vision.manifest import SHIPPED, entries

from .tamper import SHARED, tool

DATA, SCORER = SHARED / "data" / "vision", SHARED / "tools" / "score_vision.py"
LEAST = 0.02  # score from which things count for AP
GOALS = "AP50 of vehicles: imported >= 0.89, own >= 0.70; all/bare <= 1.15"


def section() -> dict[str, Any]:
    """Prints one line for each net and look; returns the figures."""
    import cv2

    cv2.setNumThreads(1)
    files = sorted((DATA / "kitti_object" / "image_2").glob("*.jpg"))
    pictures = {file.name: cv2.imread(str(file)) for file in files}
    facts: dict[str, Any] = {}
    heads = f"{'looks':>6} {'vehicle':>8} {'person':>7} {'recall':>7} {'all ms':>7} {'bare ms':>8} {'all/bare':>9}"
    print(f"{'net, kitti_object':24}{heads}   {GOALS}")
    for name, one in entries((SHIPPED,))[0].items():
        if one.manifest.task != "road":
            continue
        try:
            held = None if one.path.is_file() else shelf.fetch(one, str(DATA / "models"))
            ready = net.ready(one, held=held)
        except NetFault as fault:
            print(f"{name:24}{fault}")
            continue
        facts[name] = {}
        for looks in (1, 2):
            row = facts[name][looks] = measured(ready, pictures, looks)
            figures = f"{row['vehicle']:8.3f} {row['person']:7.3f} {row['recall']:7.2f} {row['all']:7.1f}"
            print(f"{name:24}{looks:6} {figures} {row['bare']:8.1f} {row['ratio']:9.3f}")
    return facts


def measured(one: net.Net, pictures: dict[str, Any], looks: int) -> dict[str, float]:
    """AP50 of both kinds, recall of vehicles at a score of 0.3, and ms of all by ms of as many bare runs."""
    low = one._replace(manifest=msgspec.structs.replace(one.manifest, score=LEAST))
    names, given = [out.name for out in one.session.get_outputs()], one.session.get_inputs()[0].name
    rows, whole, bare = [], [], []
    for name, picture in pictures.items():
        h, w = picture.shape[:2]
        parts = [(w / 4, 0.0, 3 * w / 4, float(h))][: looks - 1]
        rows += [(name, found.kind, found.score, *found.box) for found in low.find(picture, parts)]
        pixels = net.shown(one.manifest, picture).pixels
        for _ in range(3):
            began = time.perf_counter()
            for _ in range(looks):
                one.session.run(names, {given: pixels})
            half = time.perf_counter()
            one.find(picture, parts)
            whole.append(time.perf_counter() - half)
            bare.append(half - began)
    score = scored(rows)
    return {
        "vehicle": score["vehicle"]["ap50"],
        "person": score["person"]["ap50"],
        "recall": score["vehicle"]["recall"],
        "all": 1e3 * statistics.median(whole),
        "bare": 1e3 * statistics.median(bare),
        "ratio": statistics.median(a / b for a, b in zip(whole, bare, strict=True)),
    }


def scored(rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    """After the scorer, which knows vehicles and persons."""
    with tempfile.TemporaryDirectory() as folder:
        est = Path(folder) / "est.csv"
        with est.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["file", "class", "score", "x1", "y1", "x2", "y2"])
            out.writerows(row for row in rows if row[1] in ("vehicle", "person"))
        found: dict[str, Any] = tool(SCORER).score_detect(str(DATA / "kitti_object" / "label_2"), str(est))
        return found
