"""Who said it: which points rest, wholly or in part, on what a neighbour said and not on what this site measured.

An alarm of such a point carries its origin, and no neighbour takes it over: else two sites that listen to each other
would hold each other's alarms for ever. What a channel rests on spreads:

    a source with an origin      -> all its columns
    a column                     -> the columns that a detector makes of it, be it a witness only
    a member or part             -> the item
    a column that is watched, votes, or is part of a condition -> the point
    a point                      -> the outputs that it drives -> points that watch what these outputs do
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .colours import SOURCE
from .derive import Derived
from .frame import Layout, channels
from .rules import Feedback, Item, Point, condition

Column = tuple[str, int]
Said = frozenset[str]
NOBODY: Said = frozenset()


def origins(
    layouts: Mapping[str, Layout], rows: Mapping[str, Sequence[Point]], gained: Mapping[str, Sequence[Derived]]
) -> dict[str, list[str]]:
    """Of each point of each source: whose word it rests on, several with a comma between; empty where nobody's."""
    said: dict[Column, Said] = {
        (source, i): frozenset([base.origin])
        for source, base in layouts.items()
        if base.origin
        for i in range(-1, len(base))  # -1: the source as a whole
    }
    if not said:
        return {source: [""] * len(row) for source, row in rows.items()}
    where = {name: (source, i) for source, base in layouts.items() for i, name in enumerate(channels(source, base))}
    outputs: dict[str, Said] = {}
    before = -1
    while before != (before := sum(map(len, (*said.values(), *outputs.values())))):  # until nothing spreads any more
        _derived(said, layouts, gained)
        for source, row in rows.items():
            for point in row:
                found = _of(point, source, said, where, outputs)
                if not found:
                    continue
                if isinstance(point.rule, Item):
                    key = SOURCE, point.column
                    said[key] = said.get(key, NOBODY) | found
                for output in point.rule.drive:
                    outputs[output] = outputs.get(output, NOBODY) | found
    return {
        source: [",".join(sorted(_of(point, source, said, where, outputs))) for point in row]
        for source, row in rows.items()
    }


def _derived(said: dict[Column, Said], layouts: Mapping[str, Layout], gained: Mapping[str, Sequence[Derived]]) -> None:
    for source, row in gained.items():
        i = layouts[source].measured
        for one in row:
            seen = [(source, int(k)) for k in one.own] + [(s, int(k)) for s, own, _ in one.beside for k in own]
            found = NOBODY.union(*(said.get(column, NOBODY) for column in seen))
            for _ in one.given:
                if found:
                    said[source, i] = said.get((source, i), NOBODY) | found
                i += 1


def _of(
    point: Point,
    source: str,
    said: Mapping[Column, Said],
    where: Mapping[str, Column],
    outputs: Mapping[str, Said],
) -> Said:
    rule = point.rule
    seen: list[Column] = [(source, point.column)]
    if isinstance(rule, Feedback):
        return said.get(seen[0], NOBODY) | outputs.get(rule.output, NOBODY)
    seen += point.siblings
    if isinstance(rule, Item):
        seen += [where[f"{SOURCE}/{part}"] for part in rule.item]
    texts = (*rule.when, *rule.start_when, *rule.clear_when)
    seen += [where[condition(text).channel] for text in texts if condition(text).channel in where]
    return NOBODY.union(*(said.get(column, NOBODY) for column in seen))
