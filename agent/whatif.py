"""Another limit on the same recording: which alarms would be gained, which lost, which come sooner or later.

An alarm is lost where none of the same rule and channel stands at any time while it stood, and gained the other way
round. What is compared are occurrences, from raise to clear.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import structs

from .config import Config
from .core.alarm import EVENT_NAMES, Alarm, Event
from .core.rules import Limited
from .core.words import number
from .limits import restored

if TYPE_CHECKING:
    from .said import Said


class Stood(NamedTuple):
    """One occurrence."""

    raised: Alarm
    until: float  # monotonic s; inf: to the end


class Change(NamedTuple):
    """What another configuration does to one occurrence: `after` is None where it is lost, `before` where gained."""

    before: Stood | None
    after: Stood | None


def changed(site: Config, what: str) -> Config:
    """The site with `FIELD=VALUE` in every rule and detector that has the field set, or with `NAME:FIELD=VALUE` in the
    one of that name. A restore limit goes along with its limit, as where a limit is set (`limits.restored`). Raises
    `ValueError` in words."""
    where, equals, text = what.partition("=")
    name, colon, field = where.strip().rpartition(":")
    if not equals or not field:
        raise ValueError(f"`{what}`: write FIELD=VALUE or NAME:FIELD=VALUE, like limit=0.8 or face:delay=5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    hit = 0

    def mended(one: Any) -> Any:
        nonlocal hit
        has = field in {f.name for f in structs.fields(one)} and (colon or getattr(one, field) not in (None, "", []))
        if not has or (one.name != name if colon else one.name.startswith("agent.")):
            return one
        hit += 1
        return set_to(one, field, value)

    rules, detectors = tuple(map(mended, site.rules)), tuple(map(mended, site.detectors))
    if not hit:
        names = ", ".join(one.name for one in (*site.rules, *site.detectors) if not one.name.startswith("agent."))
        raise ValueError(
            f"`{what}`: no rule or detector {f'`{name}` ' if colon else ''}has `{field}`; there are {names}"
        )
    return structs.replace(site, rules=rules, detectors=detectors)


def set_to(one: Any, field: str, value: Any) -> Any:
    """The same rule or detector with another value, checked as the site file is. Raises `ValueError` in words."""
    values = {field: value}
    if field == "limit" and isinstance(one, Limited) and isinstance(value, int | float):
        values["restore"] = restored(one, value)
    try:
        return msgspec.convert({**msgspec.to_builtins(one), **values}, type(one))
    except ValueError as error:
        raise ValueError(f"{one.name}: {field} = {value!r}: {error}") from None


def occurrences(alarms: Iterable[Alarm]) -> list[Stood]:
    """From raise to clear, in the order of the raises."""
    found: dict[str, Stood] = {}
    for alarm in alarms:
        if alarm.event == EVENT_NAMES[Event.RAISE]:
            found[alarm.id] = Stood(alarm, math.inf)
        elif alarm.event == EVENT_NAMES[Event.CLEAR] and alarm.id in found:
            found[alarm.id] = found[alarm.id]._replace(until=alarm.at.mono)
    return list(found.values())


def compare(before: Sequence[Alarm], after: Sequence[Alarm]) -> list[Change]:
    """Every occurrence of either, each once, by the time of its raise."""
    old, new = occurrences(before), occurrences(after)
    taken: set[int] = set()
    found = []
    for one in old:
        meets = [i for i, other in enumerate(new) if i not in taken and _meet(one, other)]
        taken.update(meets[:1])
        found.append(Change(one, new[meets[0]] if meets else None))
    found += [Change(None, other) for i, other in enumerate(new) if i not in taken]
    return sorted(found, key=lambda c: (c.before or c.after).raised.at.mono)  # type: ignore[union-attr]


def _meet(one: Stood, other: Stood) -> bool:
    same = one.raised.point == other.raised.point
    return same and one.raised.at.mono <= other.until and other.raised.at.mono <= one.until


def lines(changes: Sequence[Change], t: Said) -> Iterator[str]:
    """What changes, a line each, and a line that counts."""
    counts = {"gained": 0, "lost": 0, "sooner": 0, "later": 0, "the same": 0}
    for before, after in changes:
        one = (before or after).raised  # type: ignore[union-attr]
        moved = after.raised.at.mono - before.raised.at.mono if before and after else 0.0
        word = "gained" if not before else "lost" if not after else "sooner" if moved < 0 else "later"
        word = word if moved or not (before and after) else "the same"
        counts[word] += 1
        if word != "the same":
            by = t("what if by", n=number(abs(moved))) if moved else ""
            facts = {"at": one.at.mono, "rule": one.rule, "channel": one.channel, "by": by}
            yield t("what if row", word=t(f"w {word}"), level=t(one.level), **facts)
    yield ", ".join(t("what if n", n=n, word=t(f"w {word}")) for word, n in counts.items())
