"""How well the length of a beach is told, on drawn beaches only: `python -m tests.bench.beach [WIDTHxHEIGHT]`.

Drawings (`simulators/beach.py`) whose water's edge is known; no real beach is in it, so these are the best figures that
this way of looking can have, not those of a site. Each line: measurements, how many of them are told without doubt, and
of these the median and 90th percentile of the error in m and per cent, what the error column says, and ms a picture.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

import numpy as np

from agent.sights import Beach as Asked
from models.vision import shore
from simulators.beach import Beach, Weather

RATE, EVERY = 1.0, 10.0
STORIES: tuple[tuple[str, Callable[[float], float], Callable[[float], Weather], float], ...] = (
    ("day, 30 m", lambda t: 30.0, lambda t: Weather(), 60),
    ("day, 70 m", lambda t: 70.0, lambda t: Weather(), 60),
    ("day, 120 m", lambda t: 120.0, lambda t: Weather(), 60),
    ("dusk", lambda t: 70.0, lambda t: Weather(light=0.2, warm=1.0, noise=4.0), 60),
    ("shadow, birds, people", lambda t: 70.0, lambda t: Weather(shadow=40.0, crowd=True), 60),
    ("a mirror, shadow", lambda t: 70.0, lambda t: Weather(waves=0.02, glitter=0.0, shadow=40.0), 60),
    ("haze", lambda t: 70.0, lambda t: Weather(fog=0.01), 60),
    ("fog", lambda t: 70.0, lambda t: Weather(fog=0.06), 60),
    ("rain", lambda t: 70.0, lambda t: Weather(rain=0.01), 60),
    ("night", lambda t: 70.0, lambda t: Weather(light=0.02, noise=3.0), 60),
    ("20 m/h", lambda t: 70.0 - 20.0 * t / 3600, lambda t: Weather(), 300),
    ("-12 m at 60 s", lambda t: 70.0 if t < 60 else 58.0, lambda t: Weather(), 180),
    (
        "dusk, night, dawn",
        lambda t: 70.0,
        lambda t: Weather(light=max(0.01, abs(1 - t / 150)), warm=min(1.0, t / 150), noise=3.0),
        300,
    ),
)


def main() -> int:
    w, h = (int(side) for side in (sys.argv[1] if len(sys.argv) > 1 else "640x360").split("x"))
    print(f"drawn beaches, {w}x{h}, {RATE:g} picture/s, a measurement each {EVERY:g} s: no real beach is in it")
    print(f"{'story':22} {'of':>3} {'told':>4} {'median':>14} {'p90':>14} {'claims':>7} {'ms':>5}  doubts")
    for name, length, weather, seconds in STORIES:
        scene, told, took = Beach(length, weather, w, h), [], 0.0
        asked = Asked(points=scene.points(), crest=(0.0, 0.0), far=(0.0, 160.0), rate=RATE, every=EVERY)
        memory = shore.start(asked)
        for i in range(int(seconds * RATE) + 1):
            picture, began = scene.at(i / RATE), time.perf_counter()
            memory, one = shore.look(memory, asked, i / RATE, picture)
            took += time.perf_counter() - began
            if one is not None:
                told.append((i / RATE, one))
        sure = [(one.beach - length(t), length(t), one.error) for t, one in told if not one.why]
        off, whole, error = np.abs(np.array(sure).reshape(-1, 3)).T
        figures = [
            f"{np.percentile(off, p):6.2f} m {np.percentile(100 * off / whole, p):4.1f} %"
            if len(off)
            else "-".rjust(14)
            for p in (50, 90)
        ]
        claims = f"{np.median(error):5.2f} m" if len(off) else "-".rjust(7)
        why = sorted({one.why.split(":")[0] for _, one in told if one.why and one.why != shore.NEW})
        ms = 1e3 * took / (seconds * RATE)
        print(f"{name:22} {len(told):3} {len(sure):4} {figures[0]} {figures[1]} {claims} {ms:5.1f}  {'; '.join(why)}")
        if name.startswith("-"):
            late = next((t - 60 for t, one in told if t > 60 and not one.why and abs(one.beach - 58) < 2), math.nan)
            print(f"{'':22} the jump is shown, in doubt, from the next measurement on; believed after {late:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
