"""What a scoreboard test is made of: a trial gives marks; a mark is a figure, its goal and whether it was met.

A trial is a module of this folder with a constant `TRIAL`. It runs twice: as the product is, where every mark must
be met, and with its sabotage, where one of the marks named in `red` must not be met: a rig that cannot fail proves
nothing. An exception is neither: it means that the rig itself is broken.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

Size = Literal["quick", "full"]
NEVER = 900.0  # s
TIMES = {"s", "ms", "1/s", "periods", "of the period", "of that", "polls"}  # units


class Skip(Exception):
    """This machine cannot run the trial; the text says what it lacks."""


class Mark(Struct, frozen=True):
    """One figure of a trial. `short` is why a goal is known not to be reached: then a miss is no failure."""

    name: str
    got: float | str | None  # None, from a file: no number
    goal: str
    ok: bool
    short: str = ""

    @property
    def is_time(self) -> bool:
        """Whether it is a time or made of times: these the machine can spoil; a count it cannot."""
        return self.goal.partition(" ")[2].partition(" ")[2] in TIMES

    @property
    def is_slow(self) -> bool:
        """Whether nothing is wrong but that it took long. What never came stands as 999 or as no number at all."""
        return not self.ok and self.is_time and isinstance(self.got, int | float) and self.got < NEVER


class Case(Struct):
    """One run of one trial: how big, with which sabotage ("" for none), in which empty folder. Collects the marks."""

    size: Size
    sabotage: str
    folder: Path
    marks: list[Mark] = []
    notes: list[str] = []

    def n(self, quick: int, full: int) -> int:
        """How often, by size; a sabotaged run is never bigger than the quick one."""
        return full if self.size == "full" and not self.sabotage else quick

    def rng(self, seed: int = 1) -> random.Random:
        return random.Random(seed)

    def at_most(self, name: str, got: float, limit: float, unit: str = "", short: str = "") -> None:
        """A mark that is met when `got` <= `limit`. NaN meets nothing."""
        self.marks.append(Mark(name, got, f"<= {limit:g} {unit}".rstrip(), got <= limit, short))

    def at_least(self, name: str, got: float, limit: float, unit: str = "", short: str = "") -> None:
        """A mark that is met when `got` >= `limit`."""
        self.marks.append(Mark(name, got, f">= {limit:g} {unit}".rstrip(), got >= limit, short))

    def exactly(self, name: str, got: float, want: float, short: str = "") -> None:
        """A mark that is met when `got` is `want`."""
        self.marks.append(Mark(name, got, f"= {want:g}", got == want, short))

    def figure(self, name: str, got: float | str) -> None:
        """A figure without a goal."""
        self.marks.append(Mark(name, got, "", True))

    def note(self, text: str) -> None:
        """A line for whoever asks why."""
        self.notes.append(text)


class Trial(Struct, frozen=True):
    """One line of the scoreboard."""

    id: str  # "T1"
    title: str  # a few words
    run: Callable[[Case], None]
    sabotage: str  # a name in `tests/rigs/sabotage.py`
    red: tuple[str, ...]  # names of marks of which at least one must be missed when sabotaged
    every: bool = False  # all of them must be missed: each stands for something that is broken by itself
    alone: bool = True  # it measures time: nothing else runs beside it
    jealous: bool = False  # nor where times are only figures: its counts depend on time, too
    memory: bool = False  # its folder lies in memory: the disk is not its subject, and must not spoil its times
    long: bool = False  # begun before the others, so that in the end nobody waits for it alone
    quick: bool = True  # part of `make scoreboard-quick`
