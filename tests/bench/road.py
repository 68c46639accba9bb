"""Films through `vedette watch`, from pixels to warnings: a section of `make bench-vision`.

What the whole path makes of the films of ../shared/data/vision, scored by ../shared/tools/score_vision.py: with each
net for the road that ships or lies in ../shared/data/vision/models, and with none, when only what looms is seen. No
camera is described and no speed is told: both are learnt, as in a film that somebody sends. The floor of the cost is
the same net's bare inference on the same pictures, one thread.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent import config, watch
from agent.core.errors import NetFault
from agent.sights import Mount
from models.vision import net, shelf
from models.vision.manifest import SHIPPED, entries

from .tamper import SHARED, tool

DATA, SCORER = SHARED / "data" / "vision", SHARED / "tools" / "score_vision.py"
GOALS = "real frames: median <= 0.08, p90 <= 0.18, covered 1.00, motion <= 10, 0 false; drawn: due warnings at >= 2.4 s"
BARE = 30  # runs of the bare net


class Film(NamedTuple):
    name: str
    what: Path
    truth: Path | None  # None: there is no hazard in it
    rate: float  # pictures a second


def films() -> Iterator[Film]:
    """Those that are here."""
    yield Film("kitti_lead", DATA / "kitti_lead", DATA / "kitti_lead" / "truth.csv", 10.0)
    for path in sorted((DATA / "sim_fcw").glob("*.mp4")):
        yield Film(path.stem, path, path.with_suffix(".csv"), 20.0)
    for path in sorted((DATA / "dashcam").glob("*.mp4")):
        yield Film(path.stem, path, None, 0.0)


def section() -> dict[str, Any]:
    """Prints a line for each film and net; returns the figures."""
    print(f"\nwhole path, {GOALS}")
    heads = (
        f"{'pictures':>8} {'covered':>8} {'median':>7} {'p90':>6} {'motion':>7} {'false':>6} {'due at':>7} {'late':>6}"
    )
    print(f"{'film':24} {'net':12} {heads} {'ms':>5} {'/bare':>6}")
    facts: dict[str, Any] = {}
    for name, ready in (*found(), ("none", None)):
        facts[name] = {}
        for film in films():
            row = facts[name][film.name] = measured(film, ready)
            figures = [row.get(key) for key in ("coverage", "ttc_median_rel", "ttc_p90_rel", "mid_1e4")]
            shown = " ".join(
                f"{math.nan if x is None else x:{w}.{d}f}"
                for x, w, d in zip(figures, (8, 7, 6, 7), (2, 3, 3, 1), strict=True)
            )
            due = (
                f"{row['ttc_at_alert_s']:7.2f} {row['alert_delay_s']:6.2f}"
                if row.get("alert_given")
                else (f"{'never':>7} {'':6}" if row.get("alert_due") else f"{'':14}")
            )
            print(
                f"{film.name:24} {name:12} {row['pictures']:8} {shown} {row['false_alerts']:6} {due} "
                f"{row['ms']:5.0f} {row['ratio']:6.2f}"
            )
    return facts


def found() -> Iterator[tuple[str, net.Net]]:
    """The nets for the road, ready."""
    for name, one in entries((SHIPPED,))[0].items():
        if one.manifest.task == "road":
            try:
                yield name, net.ready(one, held=None if one.path.is_file() else shelf.fetch(one, str(DATA / "models")))
            except NetFault as fault:
                print(f"{name:24}{fault}")


def measured(film: Film, ready: net.Net | None) -> dict[str, Any]:
    """What the scorer says of the rows that `vedette watch` writes, and ms a picture."""
    seen = watch.Watch(config.load(watch.SHIPPED), Mount(), "", ready)
    pictures = list(watch.pictures(str(film.what), film.rate if film.what.is_dir() else 0.0))
    with tempfile.TemporaryDirectory() as folder:
        est = Path(folder) / "est.csv"
        with est.open("w", newline="") as out:
            rows, warnings = watch.Rows(out, None, None), 0
            began = time.perf_counter()
            for i, picture in enumerate(pictures):
                one = seen.look(picture, math.nan)
                rows.add(i, one)
                warnings += sum(edge.event == "raised" and watch.is_alert(edge.rule) for edge in one.edges)
            ms = (time.perf_counter() - began) / len(pictures) * 1e3
        score: dict[str, Any] = {"false_alerts": warnings}
        if film.truth is not None:
            score = tool(SCORER).score_ttc(str(film.truth), str(est), fps=film.rate)
    return {
        **score,
        "pictures": len(pictures),
        "ms": ms,
        "ratio": ms / bare(ready, pictures[0].image) if ready else math.nan,
    }


def bare(ready: net.Net, image: Any) -> float:
    """ms of the net alone."""
    shown = net.shown(ready.manifest, image).pixels
    ready.run(shown)
    took = []
    for _ in range(BARE):
        began = time.perf_counter()
        ready.run(shown)
        took.append((time.perf_counter() - began) * 1e3)
    return float(np.median(took))
