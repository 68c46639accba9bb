"""Drawn drives and a drawn driver through the eyes, the detectors and the rules that ship: the demonstration's second
act.

    python -m simulators.rehearsal          one line of JSON for each drive and for the driver, as it ends

Nothing is told to the eyes: neither how the camera is mounted nor the speed. The truth is the story's own. A warning of
a collision is in time where it comes at 2.1 s before it or earlier (NHTSA's confirmation test of a standing car), and
false where the truth says that nothing in the way is reached within 4.4 s (JT/T 1242-2019, verify). What the driver
does is told in time while it lasts, and false where he does nothing of that name.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from agent import config, watch
from agent.sights import Mount

from . import cabin, road

DRIVES, DRIVERS = ("standing", "opening"), ("brief",)
WIDTH, FPS = 640, 10.0  # px, pictures/s: what a stream of a small camera has
LATEST, LONGEST = 2.1, 4.4  # s
AFTER = 1.0  # s after its end, that a yawn or the like may be told: the scorer's


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
    """The story, drawn and watched until nothing that may still come could change how it went."""
    drive = road.told(story, seed, (), width, fps)
    seen = watch.Watch(config.load(watch.SHIPPED), Mount())
    left = [reached(drive.truth(n)) for n in range(drive.frames)]
    warned, false, took, shown = math.nan, 0, 0.0, 0
    for n in range(drive.frames):
        if not math.isnan(warned) and max(left[n:]) <= LONGEST:
            break  # there is something to be warned of until the end: no warning is false any more
        image, shown = drive.picture(n), n + 1
        began = time.perf_counter()
        one = seen.look(watch.Picture(str(n), n / fps, image), math.nan)
        took += time.perf_counter() - began
        for edge in one.edges:
            if edge.event == "raised" and watch.is_alert(edge.rule):
                false += left[n] > LONGEST
                if left[n] <= LONGEST and math.isnan(warned):
                    warned = left[n]
    return Driven(story, drive.story.about, shown, min(left) < LATEST, warned, false, took / shown * 1e3)


def reached(truth: dict[str, Any]) -> float:
    """s until what is in the way is reached; infinite where nothing is."""
    return float(truth["ttc_s"]) if int(truth["in_path"]) else math.inf


class Sat(NamedTuple):
    """How a driver was watched."""

    story: str
    about: str
    pictures: int
    events: int
    told: int  # of these
    late: float  # s, the longest from the begin of one until it was told; NaN where none was
    false: int  # told of nothing
    ms: float  # a picture, without the drawing

    @property
    def good(self) -> bool:
        return not self.false and self.told == self.events


def sat(story: str, width: int = WIDTH, fps: float = FPS, seed: int = 1) -> Sat:
    """The story of a driver, drawn and watched."""
    trip = cabin.told(story, seed, "", width, fps)
    seen = watch.Watch(config.load(watch.CAB), role="driver")
    first: dict[cabin.Event, float] = {}
    false, took = 0, 0.0
    for n in range(trip.frames):
        image, at = trip.picture(n), n / fps
        began = time.perf_counter()
        one = seen.look(watch.Picture(str(n), at, image), math.nan)
        took += time.perf_counter() - began
        for edge in one.edges:
            name = edge.rule.partition(".")[0]
            if edge.event == "raised" and name in watch.EPISODES:
                true = [event for event in trip.events if event.event == name and is_now(event, at)]
                false += not true
                for event in true:
                    first.setdefault(event, at)
    late = max((at - event.t_start for event, at in first.items()), default=math.nan)
    return Sat(
        story, trip.story.about, trip.frames, len(trip.events), len(first), late, false, took / trip.frames * 1e3
    )


def is_now(event: cabin.Event, at: float) -> bool:
    """Whether it goes on, or did until a moment ago."""
    return event.t_start <= at <= event.t_end + AFTER


def line(one: Driven | Sat) -> str:
    """For people."""
    if isinstance(one, Sat):
        late = "" if math.isnan(one.late) else f" within {one.late:.1f} s"
        when = f"{one.told} of {one.events} told{late}, {one.false or 'nothing'} falsely"
    elif one.due:
        when = "nobody was warned" if math.isnan(one.warned) else f"warned {one.warned:.1f} s before the collision"
    else:
        when = "no warning" if not one.false else f"{one.false} warnings"
    right = "as it should be" if one.good else "NOT as it should be"
    return f"{one.about}: {when}, {right} ({one.pictures} pictures, {one.ms:.0f} ms each)"


def rehearsed() -> Iterator[Driven | Sat]:
    """All of them, each as it ends."""
    yield from map(driven, DRIVES)
    yield from map(sat, DRIVERS)


def read(row: dict[str, Any]) -> Driven | Sat:
    """The same out of its line of JSON, in which NaN is null."""
    held: dict[str, Any] = {key: math.nan if value is None else value for key, value in row.items()}
    return Sat(**held) if row["story"] in DRIVERS else Driven(**held)


def main() -> int:
    for one in rehearsed():
        print(msgspec.json.encode(one._asdict()).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
