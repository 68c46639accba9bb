"""Truth beside what arrived: set arithmetic, no opinion.

The truth is computed from the plants' true values while the story runs: a hazard is *near* while its
value is within the instrument's accuracy of the limit, *true* from the limit on, and over when it is back
behind `until`. An alarm is explained by a hazard that was near, true or just over when it was decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from msgspec import Struct, structs

from .platform import Count, Edge


class Quantity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """True while a quantity of a plant stands beyond a limit. Exactly one of `above`, `below`."""

    plant: str
    quantity: str
    above: float | None = None
    below: float | None = None
    until: float | None = None  # the hazard is over when the value is back behind this; default: the limit
    accuracy: float | None = None  # default: that of the plant's instrument


class Condition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"is_": "is"}):
    """True while a device or one of its channels has a fault."""

    device: str
    is_: str  # dead, frozen, broken
    channel: str = ""


Truth: TypeAlias = Quantity | Condition


class Hazard(Struct, frozen=True, kw_only=True):
    """Something that can be true of a site, and the alarm that must say so."""

    name: str
    truth: Truth
    channel: str  # of the alarm
    rule: str
    level: str = ""  # the colour that an item must have been told to have; default: an alarm, whatever its level


class Episode(Struct, frozen=True):
    """One time that a hazard came near. Times are monotonic s; None: not, or not yet."""

    hazard: Hazard
    near: float
    began: float | None = None  # it became true
    over: float | None = None  # it was true and is no more
    left: float | None = None  # not even near any more


class Signs(Struct, frozen=True):
    """What is to be seen of a hazard at one moment."""

    near: bool
    true: bool


def signs(truth: Quantity, value: float, accuracy: float, running: bool) -> Signs:
    """The signs of a quantity; while it is `running` (was true) the limit that counts is `until`.

    >>> signs(Quantity(plant="p", quantity="q", above=2.0, until=1.0), 1.5, 0.1, running=True)
    Signs(near=True, true=True)
    """
    sign, limit = (1.0, truth.above) if truth.above is not None else (-1.0, truth.below)
    limit = 0.0 if limit is None else limit
    if running and truth.until is not None:
        limit = truth.until
    beyond = sign * (value - limit)
    return Signs(beyond >= -accuracy, beyond > 0 if running else beyond >= 0)


def follow(open_: Episode | None, hazard: Hazard, seen: Signs, now: float) -> Episode | None:
    """The episode after one more look: opened, grown, or with `left` set, when it is finished."""
    if open_ is None:
        if not (seen.near or seen.true):
            return None
        open_ = Episode(hazard, now)
    if seen.true:
        return structs.replace(open_, began=now if open_.began is None else open_.began, over=None)
    if open_.began is not None and open_.over is None:
        open_ = structs.replace(open_, over=now)
    return open_ if seen.near else structs.replace(open_, left=now)


class Outcome(Struct, frozen=True):
    """One episode and the alarm that told it, if any did."""

    episode: Episode
    alarm: Edge | None
    repeats: int = 0  # further alarms of the same episode


class Verdict(Struct, frozen=True):
    """What is true, what was told, and what is wrong with the difference."""

    outcomes: tuple[Outcome, ...]
    false: tuple[Edge, ...]  # raised, and no hazard explains it; or standing long after its hazard
    aside: tuple[Edge, ...]  # about the agent itself: not about the plants
    counts: tuple[Count, ...]

    @property
    def hazards(self) -> int:
        return len(self.outcomes)

    @property
    def alarmed(self) -> int:
        return sum(outcome.alarm is not None for outcome in self.outcomes)

    @property
    def missed(self) -> int:
        return self.hazards - self.alarmed

    @property
    def lost(self) -> int:
        return sum(count.lost for count in self.counts)

    @property
    def duplicated(self) -> int:
        return sum(count.duplicated for count in self.counts)

    @property
    def good(self) -> bool:
        """Something happened, all of it was told, nothing else was, and every reading is there once."""
        nothing_wrong = not (self.missed or self.false or self.lost or self.duplicated)
        read = all(count.served and not count.invented for count in self.counts)
        return bool(self.hazards) and nothing_wrong and bool(self.counts) and read

    def line(self, name: str = "demo") -> str:
        """The last line, for machines."""
        return (
            f"{name}: hazards {self.hazards}, alarmed {self.alarmed}, missed {self.missed}, "
            f"false {len(self.false)}, readings lost {self.lost}, duplicated {self.duplicated}"
        )


def judge(
    episodes: Sequence[Episode],
    edges: Iterable[Edge],
    counts: Sequence[Count],
    end: float,
    slack: float,
    linger: float,
    offset: float,
    own: Iterable[str] = ("agent", "colour/site"),
) -> Verdict:
    """Set what arrived against what was true.

    `end`: monotonic s at which the story ended; `slack`: s that an alarm may be decided after its hazard
    left; `linger`: s that it may stand after that; `offset`: wall minus monotonic clock, s; `own`: sources and
    channels by which the agent speaks of itself, and of the whole site.
    """
    edges, own = list(edges), set(own)
    news = [edge for edge in reversed(edges) if edge.event in ("raised", "level-up")]
    raised = {(edge.id, edge.level): edge for edge in news}  # the first of each id and level
    cleared = {edge.id for edge in edges if edge.event == "cleared"}
    told: dict[int, list[Edge]] = {}
    false: list[Edge] = []
    aside: list[Edge] = []
    for edge in sorted(raised.values(), key=lambda edge: edge.arrived):
        at = edge.at - offset
        found = [
            i
            for i, episode in enumerate(episodes)
            if (episode.hazard.channel, episode.hazard.rule) == (edge.channel, edge.rule)
            and episode.hazard.level in ("", edge.level)
            and episode.near <= at + 0.1  # s: the truth is looked at ten times a second
            and (episode.left is None or at <= episode.left + slack)
        ]
        if {edge.channel, edge.channel.partition("/")[0]} & own:
            aside.append(edge)
        elif not found:
            false.append(edge)
        else:
            left = episodes[found[-1]].left
            if edge.id not in cleared and left is not None and end > left + linger:
                false.append(edge)
            told.setdefault(found[-1], []).append(edge)
    outcomes = [
        Outcome(episode, told[i][0] if i in told else None, max(0, len(told.get(i, ())) - 1))
        for i, episode in enumerate(episodes)
        if episode.began is not None
    ]
    return Verdict(tuple(outcomes), tuple(false), tuple(aside), tuple(counts))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Columns as lines; the columns in `right` are set flush right.

    >>> table(["a", "b"], [["x", "10"]], right=[1])
    ['a   b', 'x  10']
    """
    width = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    flush = set(right)
    return [
        "  ".join(cell.rjust(width[i]) if i in flush else cell.ljust(width[i]) for i, cell in enumerate(row)).rstrip()
        for row in [head, *rows]
    ]


def seconds(at: float) -> str:
    """Minutes and seconds of the story.

    >>> seconds(75.26)
    '01:15.3'
    """
    tenths = round(at * 10)
    return f"{tenths // 600:02d}:{tenths % 600 // 10:02d}.{tenths % 10}"


def report(verdict: Verdict, zero: float, offset: float, cuts: Sequence[tuple[float, float]] = ()) -> list[str]:
    """The tables for people.

    `zero`: monotonic s of the story's beginning; `offset`: wall minus monotonic clock, s; `cuts`: from when
    to when the uplink was gone, monotonic s.
    """
    rows = []
    for outcome in verdict.outcomes:
        began, alarm = outcome.episode.began or 0.0, outcome.alarm
        if alarm is None:
            rows.append([outcome.episode.hazard.name, seconds(began - zero), "never", "MISSED", ""])
            continue
        behind = [up for _, up in cuts if began < up <= alarm.arrived]
        note = f"uplink cut until {seconds(behind[-1] - zero)}" if behind else ""
        decided, arrived = _delay(alarm.at - offset - began), _delay(alarm.arrived - began)
        rows.append([outcome.episode.hazard.name, seconds(began - zero), decided, arrived, note])
    lines = table(["hazard", "became true", "alarm decided", "arrived", ""], rows, right=[1, 2, 3])
    rows = [
        [c.device, str(c.served), str(c.received), str(c.lost), str(c.duplicated), str(c.resent)]
        for c in verdict.counts
    ]
    head = ["readings of", "served", "received", "lost", "duplicated", "resent and marked"]
    return [*lines, "", *table(head, rows, right=range(1, 6))]


def _delay(seconds: float) -> str:
    """Signed, in tenths. An alarm a little before its hazard is within the instrument's accuracy."""
    return f"{round(seconds, 1) + 0.0:+.1f} s"
