"""Major hazard installations: what a unit holds against critical quantities, its index R and its level.

    S = sum(q / Q)                    1 or more: a major hazard installation
    R = alpha x sum(beta x q / Q)     level 1 from 100, 2 from 50, 3 from 10, 4 below

q is what is there, in t; Q the critical quantity of the substance, in t; beta corrects for what it is, alpha for how
many people live within 500 m outside the boundary. The numbers stand in `configs/hazards.toml`; an inventory names what
is there (`hazards.toml` beside the site file):

    [[unit]]
    name = "tank farm"
    people = 45
      [[unit.substance]]
      name = "ammonia"      # a row of the table, by any of its names
      quantity = 60.0       # t, the most that may be there
      [[unit.substance]]
      name = "our solvent"  # no row: its class, or `critical` and `beta`
      quantity = 800.0
      class = "W5.3"

Reckoned in exact fractions: 0.7 + 0.2 + 0.1 of the critical quantity is a major hazard installation.
Source: GB 18218-2018, 4.2 and 4.3. A level that this prints is a draft for the assessor, never his signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from .complaints import Complaints, Table, decode, nearest
from .core import words
from .core.words import Language
from .profiles import SHIPPED

Tonnes = Annotated[float, Meta(gt=0)]
Factor = Annotated[float, Meta(gt=0)]


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """A substance of the standard."""

    critical: Tonnes
    beta: Factor
    zh: str
    also: tuple[str, ...] = ()  # other names
    note: str = ""


class Class(Struct, frozen=True, forbid_unknown_fields=True):
    """A class of substances that the standard does not name one by one."""

    critical: Tonnes
    beta: Factor
    what: str


class Alpha(Struct, frozen=True, forbid_unknown_fields=True):
    """The factor from so many people on."""

    people: int
    factor: Factor


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """The level from so large an index R on."""

    level: int
    index: float


class Standard(Struct, frozen=True, forbid_unknown_fields=True, rename={"classes": "class"}):
    """The numbers of the standard."""

    standard: str
    edition: str
    verify: bool
    alpha: tuple[Alpha, ...]  # fewest people first
    level: tuple[Step, ...]  # worst first
    substance: Mapping[str, Row]
    classes: Mapping[str, Class]

    @property
    def source(self) -> str:
        """As a person cites it."""
        return f"{self.standard}, verify" if self.verify else self.standard


class Held(Struct, frozen=True, forbid_unknown_fields=True, rename={"of": "class"}):
    """A substance that is there."""

    name: str
    quantity: Annotated[float, Meta(ge=0)]  # t, the most that may be there
    of: str = ""  # its class; default: as the standard names the substance
    critical: Tonnes | None = None  # t; default: of the standard
    beta: Factor | None = None  # default: of the standard


class Unit(Struct, frozen=True, forbid_unknown_fields=True):
    """What is assessed as one: a production or a storage unit."""

    name: str
    people: Annotated[int, Meta(ge=0)]  # who live within 500 m outside the boundary
    substance: Annotated[list[Held], Meta(min_length=1)]


class Term(Struct, frozen=True):
    """One substance in the sums."""

    name: str
    quantity: float  # t
    critical: float  # t
    beta: float
    source: str  # of the two numbers

    @property
    def share(self) -> Fraction:
        """q / Q, exactly as written."""
        return _exactly(self.quantity) / _exactly(self.critical)


class Hazard(Struct, frozen=True):
    """A unit, assessed."""

    unit: str
    people: int
    alpha: float
    total: float  # S
    index: float  # R
    level: int  # 1 (worst) ... 4; 0: no major hazard installation
    terms: tuple[Term, ...]
    source: str  # of alpha and of the bounds


@lru_cache(1)
def standard() -> Standard:
    """What ships."""
    return msgspec.toml.decode((SHIPPED / "hazards.toml").read_bytes(), type=Standard)


def assessed(unit: str, people: int, terms: Sequence[Term], by: Standard) -> Hazard:
    """The index and the level of a unit that holds `terms`."""
    alpha = max((row for row in by.alpha if people >= row.people), key=lambda row: row.people).factor
    total = sum((term.share for term in terms), Fraction())
    index = _exactly(alpha) * sum((_exactly(term.beta) * term.share for term in terms), Fraction())
    reached = [step.level for step in by.level if index >= _exactly(step.index)]
    least = max(step.level for step in by.level) + 1
    level = min(reached, default=least) if total >= 1 else 0
    return Hazard(unit, people, alpha, float(total), float(index), level, tuple(terms), by.source)


def sentence(hazard: Hazard, language: Language = "en") -> str:
    """What a unit is, for people.

    >>> sentence(Hazard("tanks", 45, 1.2, 12.0, 28.8, 3, (), ""))
    'tanks: major hazard installation of level 3, R = 28.8 (S = 12, alpha 1.2)'
    """
    return words.sentence(
        words.HAZARD,
        language,
        "major" if hazard.level else "none",
        unit=hazard.unit,
        level=words.GRADE[language][hazard.level],
        index=words.number(hazard.index),
        total=words.number(hazard.total),
        alpha=words.number(hazard.alpha),
    )


def hazards(inventory: Table, told: Complaints, by: Standard | None = None) -> list[Hazard]:
    """Every unit of an inventory, assessed. What is wrong is told, and its unit left out."""
    by = by or standard()
    for key in inventory.keys() - {"unit"}:
        told.add(inventory, key, f"unknown key `{key}`{nearest(key, ['unit'])}")
    tables = inventory.get("unit", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        told.add(inventory, "unit", "an inventory is a list of tables: [[unit]]")
        return []
    found = []
    for table in tables:
        what = f"unit `{table.get('name', '?')}`"
        unit = decode(table, Unit, told, what)
        if unit is None:
            continue
        terms = [_term(held, row, what, told, by) for held, row in zip(unit.substance, table["substance"], strict=True)]
        if len(known := [term for term in terms if term is not None]) == len(terms):
            found.append(assessed(unit.name, unit.people, known, by))
    return found


def _term(held: Held, table: Table, what: str, told: Complaints, by: Standard) -> Term | None:
    """A substance with its numbers: the site's own, or of its class, or of its name."""
    row: Row | Class | None = by.classes.get(held.of) if held.of else _named(held.name, by)
    if held.of and row is None:
        told.add(table, "class", f"{what}: no class is called `{held.of}`{nearest(held.of, by.classes)}")
        return None
    critical = held.critical or (row.critical if row else None)
    beta = held.beta or (row.beta if row else None)
    if critical is None or beta is None:
        hint = nearest(held.name, by.substance)
        text = f"{what}: `{held.name}` is not in the table{hint}; give its class, or critical (t) and beta"
        told.add(table, "name", f"{text}, after {by.standard}")
        return None
    given = [name for name in ("critical", "beta") if getattr(held, name) is not None]
    cited = f"{by.source}, {f'class {held.of}' if held.of else 'by name'}" if len(given) < 2 else ""
    source = "; ".join(filter(None, (cited, f"{' and '.join(given)} by the site" if given else "")))
    return Term(held.name, held.quantity, critical, beta, source)


def _named(name: str, by: Standard) -> Row | None:
    """The row of a substance by any of its names."""
    wanted = name.casefold()
    rows = ((row, (key, row.zh, *row.also)) for key, row in by.substance.items())
    return next((row for row, names in rows if wanted in map(str.casefold, names)), None)


def _exactly(number: float) -> Fraction:
    """A number as it was written in decimals.

    >>> _exactly(0.1)
    Fraction(1, 10)
    """
    return Fraction(repr(float(number)))
