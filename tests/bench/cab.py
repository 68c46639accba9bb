"""How well drivers are warned, at the level of columns: hours of stories (`simulators/habits.py`) through the site file
that ships. `python -m tests.bench.cab [hours]`; pictures and nets are measured by `make bench-vision`.

False is what is told and no true event; missed, what is not told while it lasts. A glance or slow blink that somebody
may take for an event is neither.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent import config
from agent.core.frame import Array, Instant, Quality, frame
from simulators import habits

SITE = Path(__file__).parents[2] / "configs" / "driver.example.toml"
EVENTS = ("eyes_closed", "yawn", "distracted", "absent", "covered", "frozen")
LATE = 1.0  # s after its end that an event may be told: of what ends in the step in which it becomes one


class Told(NamedTuple):
    """One alarm of a film."""

    rule: str
    begin: float  # s
    end: float  # s; infinite where it still stands


class Score(NamedTuple):
    """What became of the events of a story."""

    events: int
    missed: list[habits.Event]
    false: list[Told]
    delay: list[float]  # s from the begin of each that was told
    others: list[Told]  # alarms of rules that no event is named after
    cost: float  # ms of CPU a picture


def watched(site: config.Config, t: Array, columns: Array, speed: Array | None = None) -> list[Told]:
    """Every alarm. t (n,) s, columns (n, k) of `agent.sights.CABIN`, speed (n,) m/s: None where nobody tells it."""
    core = site.core()
    memory = core.start("bench", Instant(0.0, 0.0))
    vehicle, cab = site.layouts["vehicle"], site.layouts["cab.cabin"]
    usual = {"ignition": 1.0, "hour": 12.0}
    open_: dict[str, float] = {}
    told = []
    for i, at in enumerate(t.tolist()):
        now = Instant(at, at)
        rows = [("cab.cabin", cab, columns[i])]
        if speed is not None and i % 3 == 0:
            own = np.array([3.6 * speed[i] if key == "speed" else usual.get(key, 0.0) for key in vehicle.key])
            rows.insert(0, ("vehicle", vehicle, own))
        for source, layout, value in rows:
            quality = np.where(np.isnan(value), Quality.UNCERTAIN, Quality.GOOD)
            memory, verdict = core.step(memory, frame(source, now, layout, value, quality))
            for edge in verdict.alarms:
                if edge.event == "raised":
                    open_[edge.rule] = at
                elif edge.event == "cleared" and edge.rule in open_:
                    told.append(Told(edge.rule, open_.pop(edge.rule), at))
    return sorted([*told, *(Told(rule, at, np.inf) for rule, at in open_.items())], key=lambda one: one.begin)


def scored(site: config.Config, story: str, seed: int = 1, seconds: float | None = None) -> Score:
    """How well one story was told."""
    said = habits.columns(story, seed=seed, seconds=seconds)
    began = time.process_time()
    told = watched(site, said.t, said.columns, said.speed)
    cost = 1e3 * (time.process_time() - began) / len(said.t)
    named = [one for one in told if event(one) in EVENTS]
    true = [one for one in said.events if one.event in EVENTS]
    may = [one for one in said.events if one.event.removeprefix("ignore:") in EVENTS]
    missed, delay = [], []
    for one in true:
        hits = [got for got in named if event(got) == one.event and meets(got, one)]
        if hits:
            delay.append(max(0.0, hits[0].begin - one.t_start))
        else:
            missed.append(one)
    false = [
        got
        for got in named
        if not any(event(got) == one.event.removeprefix("ignore:") and meets(got, one) for one in may)
    ]
    return Score(len(true), missed, false, delay, [one for one in told if event(one) not in EVENTS], cost)


def event(one: Told) -> str:
    """The event that a rule is named after."""
    return one.rule.partition(".")[0]


def meets(told: Told, true: habits.Event) -> bool:
    """Whether it was told while it lasted."""
    return told.begin <= true.t_end + LATE and told.end >= true.t_start


def main(hours: int) -> None:
    site = config.load(SITE)
    for story in ("awake", "many", "tired", "drowsy hour", "distracted hour"):
        for seed in range(1, hours + 1 if story == "awake" else 2):
            one = scored(site, story, seed)
            print(
                f"{story:16} seed {seed}: {one.events} events, {len(one.missed)} missed, {len(one.false)} false; "
                f"delay {np.median(one.delay) if one.delay else 0:.2f} s; "
                f"others: {', '.join(sorted({got.rule for got in one.others})) or 'none'}; {one.cost:.2f} ms a picture",
                flush=True,
            )
            for missed in one.missed:
                print(f"    missed {missed.event} {missed.t_start:.1f} to {missed.t_end:.1f} s")
            for false in one.false:
                print(f"    false {false.rule} at {false.begin:.1f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
