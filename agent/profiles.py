"""Limits as data: what a kind of point must be watched for, by which standard (`configs/profiles`, `gases.toml`).

A profile is written in one unit. A channel in another unit of the same quantity gets the same limits, converted once,
when the site is loaded; its values are never touched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from .complaints import Complaints, Places, Table, decode, read_toml
from .core.alarm import Level
from .core.units import Gas, convert

SHIPPED = Path(__file__).parent.parent / "configs"

Compare = Literal[">=", "<=", "rises", "falls", "moves"]
DIRECTION: Mapping[str, str] = {"rises": "up", "falls": "down", "moves": "both"}


class Limit(Struct, frozen=True, forbid_unknown_fields=True):
    """One limit of a profile, with where it comes from. `value` may be left to the site.

    `rises`, `falls` and `moves` limit the change per `per` seconds, seen over `window` seconds.
    """

    name: str
    compare: Compare
    level: Level
    value: float | None = None  # in the profile's unit
    restore: float | None = None
    window: float | None = None  # s
    per: float | None = None  # s
    times: int = 0  # of a peak: how often in one account of `core/exposure.py`
    apart: float = 0.0  # s, of a peak: from the end of one to the begin of the next
    lasts: float = 0.0  # s, of a peak: how long at most
    delay: float = 0.0  # s
    clear_delay: float = 0.0  # s
    standard: str = "project"
    clause: str = ""
    edition: str = ""
    verify: bool = False
    note: str = ""
    text: dict[str, str] = {}  # by language: what the operator reads instead of the standard sentence

    def __post_init__(self) -> None:
        if (self.compare in DIRECTION) != (self.window is not None and self.per is not None):
            raise ValueError("window and per go with rises, falls and moves, and with nothing else")

    @property
    def source(self) -> str:
        """Standard, clause and edition as a person cites them."""
        cited = " ".join(filter(None, (self.standard, self.clause, self.edition)))
        return f"{cited}, verify" if self.verify else cited


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """What a kind of point must be watched for."""

    unit: str
    limit: list[Limit]
    title: dict[str, str] = {}
    advice: str = ""  # what to do: a row of `core.words.ADVICE`
    gas: str = ""  # a name in gases.toml: then shares, concentrations and %LEL are told in each other
    watches: str = ""  # of `self.toml`: the agent's own channel, wildcards allowed; see `upkeep.py`


def rule(profile: Profile, limit: Limit, value: float, given: bool, unit: str) -> Table:
    """The settings of a rule for one limit on channels in `unit`; `given`: `value` is the site's own number.

    Raises `ValueError` where the unit is that of another quantity.
    """
    found: Table = {
        "kind": "rate" if limit.compare in DIRECTION else "high" if limit.compare == ">=" else "low",
        "level": limit.level,
        "limit": _in(profile, limit, value, unit),
        "advice": profile.advice,
        "delay": limit.delay,
        "clear_delay": limit.clear_delay,
        "basis": {
            "standard": _set_by_site(limit.standard) if given else limit.standard,
            "clause": limit.clause,
            "edition": limit.edition,
            "verify": limit.verify,
        },
    }
    if limit.restore is not None and not given:
        found["restore"] = _in(profile, limit, limit.restore, unit)
    if limit.compare in DIRECTION:
        found |= {"direction": DIRECTION[limit.compare], "window": limit.window, "per": limit.per}
    return found


def slug(unit: str) -> str:
    """A unit as part of a rule's name.

    >>> slug("mg/m3")
    'mg_m3'
    """
    return re.sub(r"\W+", "_", unit.replace("%", "pct"), flags=re.ASCII).strip("_") or "none"


def _in(profile: Profile, limit: Limit, value: float, unit: str) -> float:
    """A value of this limit in another unit, without the noise of conversion."""
    gas = gases().get(profile.gas) if profile.gas else None
    converted = convert(value, profile.unit, unit, gas, difference=limit.compare in DIRECTION)
    return converted if converted == value else float(f"{converted:.9g}")


def _set_by_site(standard: str) -> str:
    """What stands behind a number that the site chose instead of, or because, the profile's."""
    return "site" if standard == "project" else f"site, for {standard}"


# -- what ships ---------------------------------------------------------------------------------------


@lru_cache(1)
def gases() -> Mapping[str, Gas]:
    """Molar mass and explosive limit by formula."""
    return msgspec.toml.decode((SHIPPED / "gases.toml").read_bytes(), type=dict[str, Gas])


def profiles(beside: Path | None = None) -> dict[str, Profile]:
    """Every profile that ships, or stands in `profiles/` beside the site file, by name."""
    places = Places()
    found: dict[str, Profile] = {}
    for root in (SHIPPED, *([beside] if beside else [])):
        for path in sorted((root / "profiles").glob("*.toml")):
            found |= {f"{path.stem}/{name}": one for name, one in profiles_in(read_toml(path, places), places).items()}
    return found


def profiles_in(tree: Table, places: Places) -> dict[str, Profile]:
    """The profiles of one file, by name within it; what is broken is left out."""
    found: dict[str, Profile] = {}

    def walk(tree: Any, name: str) -> None:
        if "limit" in tree:
            profile = decode(tree, Profile, Complaints(places), name)
            if profile is not None:
                found[name] = profile
            return
        for key, value in tree.items():
            if isinstance(value, dict):
                walk(value, f"{name}/{key}" if name else key)

    walk(tree, "")
    return found


def profile_names(beside: Path) -> list[str]:
    """Names for hints; a broken file elsewhere does not get in the way of one."""
    try:
        return sorted(profiles(beside))
    except ValueError:
        return []
