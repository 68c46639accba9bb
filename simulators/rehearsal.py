"""Drawn drives through the eye, the detectors and the rules of the vehicle that ships: the demonstration's second act.

    python -m simulators.rehearsal          one line of JSON for each drive, as it ends

Nothing is told to the eye: neither how the camera is mounted nor the speed. The truth is the story's own. A warning is
in time where it comes at 2.1 s before the collision or earlier (NHTSA's confirmation test of a standing car), and false
where the truth says that nothing in the way is reached within 4.4 s (JT/T 1242-2019, verify).
"""

from __future__ import annotations

import math
import sys
import time
from typing import NamedTuple

import msgspec

from agent import config, watch
from agent.sights import Mount

from .road import told

DRIVES = ("standing", "opening")
WIDTH, FPS = 640, 10.0  # px, pictures/s: what a stream of a small camera has
LATEST, LONGEST = 2.1, 4.4  # s


class Driven(NamedTuple):
    """How a drive went."""

    story: str
    about: str
    pictures: int
    due: bool  # somebody had to be warned
    warned: float  # s before the collision, NaN where nobody was
    false: int  # warnings of nothing
    ms: float  # a picture, without the drawing

    @property
    def good(self) -> bool:
        return not self.false and (not self.due or self.warned >= LATEST)


def driven(story: str, width: int = WIDTH, fps: float = FPS, seed: int = 1) -> Driven:
    """The story, drawn and watched."""
    drive = told(story, seed, (), width, fps)
    seen = watch.Watch(config.load(watch.SHIPPED), Mount())
    due, warned, false, took = False, math.nan, 0, 0.0
    for n in range(drive.frames):
        image, truth = drive.picture(n), drive.truth(n)
        began = time.perf_counter()
        one = seen.look(watch.Picture(str(n), n / fps, image), math.nan)
        took += time.perf_counter() - began
        left = float(truth["ttc_s"]) if int(truth["in_path"]) else math.inf
        due |= left < LATEST
        for edge in one.edges:
            if edge.event == "raised" and watch.is_alert(edge.rule):
                false += left > LONGEST
                if left <= LONGEST and math.isnan(warned):
                    warned = left
    return Driven(story, drive.story.about, drive.frames, due, warned, false, took / drive.frames * 1e3)


def line(one: Driven) -> str:
    """For people."""
    if one.due:
        when = "nobody was warned" if math.isnan(one.warned) else f"warned {one.warned:.1f} s before the collision"
    else:
        when = "no warning" if not one.false else f"{one.false} warnings"
    right = "as it should be" if one.good else "NOT as it should be"
    return f"{one.about} {when}: {right} ({one.pictures} pictures, {one.ms:.0f} ms each)"


def main() -> int:
    for story in DRIVES:
        print(msgspec.json.encode({**driven(story)._asdict()}).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
