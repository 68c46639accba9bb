"""What every gateway watches of itself: rules on the channels of `health.py`, from `configs/profiles/self.toml`.

They are in force on every site unless it says otherwise, rule by rule and with a reason:

    [[self]]
    rule = "agent.hot"
    limit = 95.0                                # or restore, level, delay, clear_delay

    [[self]]
    rule = "agent.clock"
    off = "no network in this shaft"

Both are told at each start (`limit-override`, `rule-off`), by `vedette check` and on the page of the system. A site's
own `profiles/self.toml` stands for the one that ships, whole; what it lacks is told as off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from .complaints import Places, Table, read_toml
from .core.alarm import Level
from .core.frame import Layout, channels
from .core.naming import matching
from .core.rules import AnyRule
from .core.words import Language
from .health import Health
from .profiles import SHIPPED, Limit, Profile, profiles_in, rule

FILE = "self"  # of profiles
NUMBERS = ("limit", "restore", "level", "delay", "clear_delay")
Seconds = Annotated[float, Meta(ge=0)]


class Own(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a site changes of one of these rules: `[[self]]`."""

    rule: str
    off: str = ""  # why it is switched off; empty: it is on
    limit: float | None = None  # in the channel's unit; None, here and below: as it ships
    restore: float | None = None
    level: Level | None = None
    delay: Seconds | None = None  # s
    clear_delay: Seconds | None = None  # s

    def __post_init__(self) -> None:
        changed = [key for key in NUMBERS if getattr(self, key) is not None]
        if self.off.strip() and changed:
            raise ValueError(f"a rule that is off has no {changed[0]}")
        if not self.off.strip() and not changed:
            raise ValueError(f"nothing is changed: give `off` a reason, or set {', '.join(NUMBERS)}")


def name(limit: Limit) -> str:
    """The rule of a limit."""
    return f"{Health.SOURCE}.{limit.name}"


def rows(profiles: Mapping[str, Profile], language: Language, layout: Layout) -> dict[str, Table]:
    """Its rules as tables of a site file, by name; none where this site has no such channel. Raises `ValueError`."""
    names = {one: layout.unit[i] for i, one in enumerate(channels(Health.SOURCE, layout))}
    found: dict[str, Table] = {}
    for which, profile in profiles.items():
        watched = matching([profile.watches], names)
        if not watched and "*" not in profile.watches:
            raise ValueError(f"profile `{FILE}/{which}`: the agent has no channel `{profile.watches}`")
        for limit in profile.limit if watched else ():
            if limit.value is None:
                raise ValueError(f"profile `{FILE}/{which}`: {limit.name} has no value")
            table = rule(profile, limit, limit.value, False, names[watched[0]])
            text = {"text": limit.text[language]} if language in limit.text else {}
            found[name(limit)] = {"name": name(limit), "channel": [profile.watches], **table, **text}
    return found


def changed(row: Table, own: Own) -> tuple[Table, list[str]]:
    """A rule as the site wants it, and what is told of that."""
    new = {key: value for key in NUMBERS if (value := getattr(own, key)) is not None}
    told = [f"rule `{own.rule}`: {key} is {value}, not {row.get(key, 'as the limit')}" for key, value in new.items()]
    if "limit" in new and "restore" not in new and "restore" in row:
        new["restore"] = float(f"{new['limit'] - (row['limit'] - row['restore']):.9g}")  # as far from it as before
    basis = {**row["basis"], "standard": "site"} if "limit" in new else row["basis"]
    return {**row, **new, "basis": basis}, told


@lru_cache(1)
def shipped() -> Mapping[str, Profile]:
    """The profiles that ship."""
    places = Places()
    return profiles_in(read_toml(SHIPPED / "profiles" / f"{FILE}.toml", places), places)


def names() -> set[str]:
    """Of all rules that ship."""
    return {name(limit) for profile in shipped().values() for limit in profile.limit}


def rules(language: Language, layout: Layout = Health.LAYOUT) -> tuple[AnyRule, ...]:
    """The rules that ship, of an agent with these channels."""
    found: Iterable[Table] = rows(shipped(), language, layout).values()
    return tuple(msgspec.convert(row, AnyRule) for row in found)
