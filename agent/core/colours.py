"""Four colours: of a point, of an item, of a site. Up at once, down slowly.

A *point* is a channel. Its colour is that of the worst of its alarms that holds (active, or latched and not yet reset).
Alarms that say only that the data is bad (silence, fault, frozen) colour nothing: such a point keeps the colour that it
has, for nothing clears on data that is not good, and it counts as *unseen*, as does one of which a rule is shelved or
out of service. The item's own quality is then UNCERTAIN: at least this colour. The agent's own alarms colour nothing.

An *item* is what belongs together: points, other items. It has the worst colour of these, and by counting a worse one:

    counts = { blue = 4, yellow = 3, orange = 2 }    4 blue make a yellow item, 3 yellow an orange, 2 orange a red one
    carries                                          and count as *one* of that colour among the others

Points do not carry: the regulation says what colour the item has, not that blue points turn into yellow ones. Items do:
there "4 blue count as one yellow". One, however many: 12 blue items are one yellow item.

The colour of an item is what was told of it, and moves like this:

    up      at once, in the step of the alarm that made it
    down    once the lower state has held for the item's `clear_delay`; from orange and red only when then a named
            person resets the item

What has held is reckoned from the points up; how far an item may fall is bounded by the colours of its items as they
stand: the pond is released before the site. A restart keeps the colours; the time that a lower state held begins anew.

Each item is a channel of the source `colour` (0 none, 1 blue ... 4 red), and has one alarm whose level moves. These
alarms count for nothing: not for other items, not for the load.
Source: GB 39496-2020, 5.5.4; what falls how slowly: project.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct, structs

from . import words
from .alarm import EVENT_NAMES, ITEM, LEVELS, NEXT, STATE_NAMES, Alarm, Event, Level, State, colour, holds, is_active
from .frame import GOOD, UNCERTAIN, Array, Frame, Instant, Layout, channels, frame, layout
from .rules import AnyRule, Item, Point

SOURCE = "colour"
UNCOLOURED = ("agent", "tls", SOURCE)  # sources whose alarms colour nothing
SHADES: tuple[Level, ...] = LEVELS[::-1]  # blue first: SHADES[c - 1] is colour c
N = len(SHADES) + 1  # colours, with none
RELEASE = colour("orange")  # from here up a person lets an item go down
HOLDS = np.array([holds(state) for state in State])
AWAY = np.array([state in (State.SHELVED, State.OUT) for state in State])  # by a person: it says nothing


def sources(rules: Iterable[AnyRule]) -> dict[str, Layout]:
    """The source `colour` with a channel for each item; nothing where there is no item."""
    names = [rule.name for rule in rules if isinstance(rule, Item)]
    return {SOURCE: layout(names, stale=np.inf)} if names else {}


def level(shade: int) -> Level:
    """The level of colour 1 (blue) ... 4 (red)."""
    return SHADES[shade - 1]


def named(shade: int) -> str:
    """The name of colour 0 (none) ... 4 (red)."""
    return level(shade) if shade else "none"


def reckoned(present: Sequence[int], counts: Mapping[Any, int], carries: bool) -> int:
    """The colour of what has `present[c]` members of colour c (0 none ... 4 red).

    >>> reckoned([0, 4, 2, 0, 0], {"blue": 4, "yellow": 3}, carries=False)
    2
    >>> reckoned([0, 4, 2, 0, 0], {"blue": 4, "yellow": 3}, carries=True)
    3
    """
    if not any(present[1:]):
        return 0
    worst, carried = 0, 0
    for shade in range(1, N):
        here = present[shade] + carried
        carried = 0
        if here:
            worst = shade
        need = counts.get(level(shade), 0)
        if need and here >= need:
            worst = shade + 1
            carried = int(carries)
    return worst


class Colours(Struct, frozen=True, eq=False):
    """Memory of k items over N points; the old one stays as it was."""

    point: Array  # (N,) int8: the colour of each channel
    unseen: Array  # (N,) bool: an alarm says that its data is bad, or a person put a rule of it away
    counted: Array  # (k, 5) how many points of each item have colour 0 ... 4, its items' points apart
    blind: Array  # (k,) how many points of it, and of its items, nobody sees
    below: Array  # (k, 4) monotonic s since when its points make the item 0 ... 3 or less; NaN where they make it worse
    fresh: bool = False  # no point was looked at yet


class Move(NamedTuple):
    """An item whose colour is to change."""

    item: int
    after: int  # colour
    since: float  # monotonic s when that state began


class _Source(NamedTuple):
    """Where the alarms of one source paint."""

    first: int  # its place among all channels
    last: int  # the next one's
    column: Array  # (P,) of its points, -1 for the whole of it
    shade: Array  # (P,)
    doubts: Array  # (P,) bool


class Branch(Struct, frozen=True):
    """An item as people see it."""

    name: str
    colour: str  # none, blue ... red
    since: Instant | None  # of the colour
    state: str  # of its alarm
    id: str
    missing: str  # for a lower colour, in words
    counts: dict[Level, int]  # members by colour
    points: dict[str, str]  # channel -> colour
    unseen: list[str]  # channels
    items: list[Branch]


class Items:
    """The items of a site: what the configuration fixes. Their order is that of the channels of `colour`."""

    def __init__(self, layouts: Mapping[str, Layout], row: Mapping[str, Sequence[Point]]) -> None:
        points = [p for p in row.get(SOURCE, ()) if isinstance(p.rule, Item)]
        self.points = sorted(points, key=lambda p: p.column)
        self.rules: list[Item] = [p.rule for p in self.points if isinstance(p.rule, Item)]
        self.places = [row[SOURCE].index(p) for p in self.points]  # among the points of `colour`
        self.sources: dict[str, _Source] = {}
        self.names: list[str] = []  # (N,) channels
        for source, columns in layouts.items() if self.points else ():
            if source not in UNCOLOURED:
                rules, first = [p.rule for p in row[source]], len(self.names)
                self.sources[source] = _Source(
                    first,
                    first + len(columns),
                    np.array([p.column for p in row[source]], int),
                    np.array([colour(rule.level) for rule in rules], np.int8),
                    np.array([rule.doubts for rule in rules], bool),
                )
                self.names += channels(source, columns)
        self.members = [np.array([self.sources[s].first + i for s, i in p.siblings], int) for p in self.points]
        names = [rule.name for rule in self.rules]
        self.parts = [[names.index(name) for name in rule.item] for rule in self.rules]
        self.order = in_order(self.parts)  # parts before what they are part of
        self.whole = list(self.members)  # with the points of the items
        for k in self.order:
            self.whole[k] = np.unique(np.concatenate([self.members[k], *(self.whole[part] for part in self.parts[k])]))
        self.of = {  # source -> items that it may colour
            source: [k for k, w in enumerate(self.whole) if ((w >= s.first) & (w < s.last)).any()]
            for source, s in self.sources.items()
        }

    def __len__(self) -> int:
        return len(self.points)

    def start(self) -> Colours:
        """The memory before anything was seen."""
        k, n = len(self), len(self.names)
        counted, blind = np.zeros((k, N), int), np.zeros(k, int)
        return Colours(np.zeros(n, np.int8), np.zeros(n, bool), counted, blind, np.full((k, N - 1), np.nan), fresh=True)

    def painted(self, colours: Colours, states: Mapping[str, Array]) -> Colours:
        """The colours of points as the states (P,) of these sources make them."""
        if not states:
            return colours
        point, unseen = colours.point.copy(), colours.unseen.copy()
        counted, blind = colours.counted.copy(), colours.blind.copy()
        for source, state in states.items():
            first, last, column, shade, doubts = self.sources[source]
            holding = HOLDS[state]
            here, doubted = np.zeros(last - first, np.int8), np.zeros(last - first, bool)
            hazard = holding & ~doubts & (column >= 0)
            np.maximum.at(here, column[hazard], shade[hazard])
            bad = column[(holding & doubts) | AWAY[state]]
            doubted[bad[bad >= 0]] = True
            point[first:last], unseen[first:last] = here, doubted | bool((bad < 0).any())
        for k in {k for source in states for k in self.of[source]}:
            counted[k] = np.bincount(point[self.members[k]], minlength=N)
            blind[k] = unseen[self.whole[k]].sum()
        return Colours(point, unseen, counted, blind, colours.below)

    def present(self, colours: Colours, k: int, told: Sequence[int]) -> list[int]:
        """How many members of item k have each colour; `told` are those of the items."""
        counted: list[int] = colours.counted[k].tolist()
        for part in self.parts[k]:
            counted[told[part]] += 1
        return counted

    def reckoned(self, colours: Colours, k: int, told: Sequence[int]) -> int:
        """The colour that its members give item k, where its items have the colours `told`."""
        return reckoned(self.present(colours, k, told), self.rules[k].counts, self.rules[k].carries)

    def settled(self, colours: Colours, told: list[int], now: float) -> tuple[Colours, list[Move]]:
        """What the points make of the items whose colours were `told`: what moves now, parts first."""
        told, raw = list(told), [0] * len(self)
        below, moves = colours.below.copy(), []
        for k in self.order:
            raw[k] = self.reckoned(colours, k, raw)
            held = raw[k] <= np.arange(N - 1)
            below[k] = np.where(held, np.fmin(below[k], now), np.nan)
        colours = structs.replace(colours, below=below)
        for k in self.order:
            up = self.reckoned(colours, k, told)
            if up > told[k]:
                moves.append(Move(k, up, now))
            elif told[k] and told[k] < RELEASE and (down := self.lowest(colours, k, told, now)) < told[k]:
                moves.append(Move(k, down, float(below[k, down])))
            else:
                continue
            told[k] = moves[-1].after
        return colours, moves

    def lowest(self, colours: Colours, k: int, told: Sequence[int], now: float) -> int:
        """How far item k may fall now: to what has held long enough, and not below what its items make it."""
        held = now - colours.below[k] >= self.rules[k].clear_delay
        return max(int(np.argmax(held)) if held.any() else N - 1, self.reckoned(colours, k, told))

    def release(self, colours: Colours, told: Sequence[int], k: int, now: float) -> Move:
        """Item k let go, as far as it may fall."""
        after = self.lowest(colours, k, told, now)
        return Move(k, after, float(colours.below[k, after]))

    def frame(self, colours: Colours, told: Sequence[int], layout: Layout, at: Instant) -> Frame:
        """The items as channels: `value` their colours, `raw` what their members make of them now."""
        raw = [self.reckoned(colours, k, told) for k in range(len(self))]
        quality = np.where(colours.blind > 0, UNCERTAIN, GOOD)
        return frame(SOURCE, at, layout, told, quality, raw=raw)

    def refusal(self, colours: Colours, told: Sequence[int], k: int, verb: str, now: float) -> str:
        """Why a person may not do this to item k, in words; empty where it may be done."""
        if verb != "reset":
            return f"an item is neither shelved nor taken out: {verb} what it is made of"
        if not told[k]:
            return "it has no colour: there is nothing to reset"
        if told[k] < RELEASE:
            return f"it is {level(told[k])}, and falls by itself once the lower state has held"
        if self.lowest(colours, k, told, now) < told[k]:
            return ""
        return f"it is still {level(told[k])}: {self.missing(colours, told, k, now)}"

    def missing(
        self, colours: Colours, told: Sequence[int], k: int, now: float, language: words.Language = "en"
    ) -> str:
        """What is missing for a lower colour of item k, in words."""
        if not told[k]:
            return ""
        text = words.LOWER[language]
        if (lowest := self.lowest(colours, k, told, now)) < told[k]:
            return text["person"].format(after=words.LEVEL[language][level(lowest)] if lowest else words.NONE[language])
        if self.reckoned(colours, k, told) >= told[k]:
            parts = [self.rules[part].name for part in self.parts[k] if told[part] >= RELEASE]
            return text["parts"].format(parts=", ".join(parts)) if parts else text["points"]
        whole, since = self.rules[k].clear_delay, float(colours.below[k, told[k] - 1])
        wait = whole - (0.0 if np.isnan(since) else now - since)
        return text["wait"].format(whole=f"{whole / 60:g}", wait=f"{wait / 60:.1f}")

    def tree(
        self,
        colours: Colours,
        told: Sequence[int],
        alarms: Sequence[Alarm | None],
        now: float,
        language: words.Language = "en",
    ) -> list[Branch]:
        """The items that are part of none, each with what it is made of; `alarms` are the last edges of theirs."""

        def branch(k: int) -> Branch:
            members = self.members[k]
            alarm = alarms[k] if told[k] else None
            return Branch(
                name=self.rules[k].name,
                colour=named(told[k]),
                since=alarm.since if alarm else None,
                state=alarm.state if alarm else "",
                id=alarm.id if alarm else "",
                missing=self.missing(colours, told, k, now, language),
                counts={level(c): n for c, n in enumerate(self.present(colours, k, told)) if c and n},
                points={self.names[i]: named(int(colours.point[i])) for i in members},
                unseen=[self.names[i] for i in members if colours.unseen[i]],
                items=[branch(part) for part in self.parts[k]],
            )

        within = {part for parts in self.parts for part in parts}
        return [branch(k) for k in range(len(self)) if k not in within]

    def account(self, colours: Colours, k: int, told: Sequence[int], language: words.Language) -> dict[str, str]:
        """Why item k has its colour, for its sentence."""
        rule, present = self.rules[k], self.present(colours, k, told)
        by_counting = self.reckoned(colours, k, told) > max(c for c in range(N) if present[c] or not c)
        return {
            "counts": words.members(language, {level(c): present[c] for c in range(N - 1, 0, -1) if present[c]}),
            "unseen": words.unseen(language, int(colours.blind[k])),
            "basis": f"({rule.basis.standard} {rule.basis.clause})".replace(" )", ")") if by_counting else "",
        }


def in_order(parts: Sequence[Sequence[int]]) -> list[int]:
    """Indices, parts before what they are part of. Raises `ValueError` where something is part of itself."""
    order: list[int] = []

    def visit(k: int, above: tuple[int, ...]) -> None:
        if k in above:
            raise ValueError("an item is part of itself")
        if k not in order:
            for part in parts[k]:
                visit(part, (*above, k))
            order.append(k)

    for k in range(len(parts)):
        visit(k, ())
    return order


def shown(state: int, alarm: Alarm | None) -> int:
    """The colour that an item was told to have, by the state and the last edge of its alarm."""
    return colour(alarm.level) if alarm is not None and is_active(state) else 0


def edge(
    last: Alarm,
    state: State,
    move: Move,
    at: Instant,
    since: Instant,
    language: words.Language,
    facts: Mapping[str, str],
    by: str = "",
    reason: str = "",
) -> Alarm:
    """The edge of an item's alarm that tells its `move`; `last` is the edge before, or a blank one.

    `facts`: `Items.account`; `by`, `reason`: who let the colour go, and why.
    """
    before, after = shown(state, last), move.after
    event = Event.RAISE if not before else Event.LEVEL_UP if after > before else Event.LEVEL_DOWN
    if not after:
        event = Event.RESET if by else Event.CLEAR
    new = State(int(NEXT[ITEM, State(int(NEXT[ITEM, state, Event.ACK])) if by else state, event]))
    sentence = "released" if by else EVENT_NAMES[event]
    names = words.LEVEL[language]
    return structs.replace(
        last,
        edge=last.edge + 1,
        event=EVENT_NAMES[event],
        state=STATE_NAMES[new],
        level=level(after) if after else last.level,
        before=level(before) if before and after else None,
        value=float(after),
        limit=None,
        since=since,
        at=at,
        text=words.sentence(
            words.COLOURED,
            language,
            sentence,
            channel=last.channel,
            before=names[level(before)] if before else "",
            after=names[level(after)] if after else words.NONE[language],
            by=by,
            **facts,
        ),
        by=by,
        reason=reason,
        until=last.until if new == State.ACKED and not by else None,
    )
