"""Limits that are set while the agent runs: within bounds that the site gives, and what the law says of them. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct, structs

from .core.alarm import Basis
from .core.rules import AnyRule, Limited
from .ledger import SetTo


class Bounds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the limit of a rule may be moved from afar: `[[settable]]`. What is not named there may not be moved."""

    rule: str  # as `vedette check` shows it
    low: float  # in the unit of its channels
    high: float
    looser: bool = False  # it may be looser than the profile that the rule is from

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"low {self.low:g} and high {self.high:g} leave no number between them")


def digest(rule: AnyRule) -> str:
    """By which a rule is known to be the one for which a limit was set."""
    body = msgspec.json.encode([rule.__struct_config__.tag, rule], enc_hook=str)
    return hashlib.sha256(body).hexdigest()[:16]


def refusal(rule: AnyRule | None, bounds: Bounds | None, legal: float | None, limit: float) -> str:
    """Why a rule may not have this limit, in words; empty where it may. `legal`: what its profile says."""
    if rule is None:
        return "there is no such rule"
    if bounds is None or not isinstance(rule, Limited):
        return f"the limit of {rule.name} cannot be set: no [[settable]] names it"
    if not bounds.low <= limit <= bounds.high:
        return f"the limit of {rule.name} may be set from {bounds.low:g} to {bounds.high:g}, not to {limit:g}"
    if legal is not None and not bounds.looser and rule.sign * limit > rule.sign * legal:
        return f"{limit:g} is looser than {legal:g}, which is in the profile of {rule.name}"
    return ""


def restored(rule: Limited, limit: float) -> float | None:
    """The restore limit that goes with another limit: as far from it as before; None where the kind's own is meant."""
    return None if rule.restore is None else float(f"{limit - (rule.limit - rule.restore):.9g}")


def changed(rule: AnyRule, to: SetTo) -> AnyRule:
    """The rule with that limit; its alarms say who set it. Raises `ValueError` in words."""
    standard = f"set by {to.by}" + (f", for {rule.basis.standard}" if rule.basis.standard != "project" else "")
    basis = structs.replace(rule.basis, standard=standard) if rule.basis != Basis() else Basis(standard=standard)
    return structs.replace(rule, limit=to.limit, restore=to.restore, basis=basis)


def applied(rules: Iterable[AnyRule], limits: Mapping[str, SetTo]) -> list[AnyRule]:
    """All rules, those that are named with their limits."""
    return [changed(rule, limits[rule.name]) if rule.name in limits else rule for rule in rules]


def outdated(
    rules: Iterable[AnyRule], bounds: Mapping[str, Bounds], legal: Mapping[str, float], limits: Mapping[str, SetTo]
) -> dict[str, str]:
    """The limits that a new configuration does away with, and why."""
    by_name = {rule.name: rule for rule in rules}
    found = {}
    for name, to in limits.items():
        rule = by_name.get(name)
        if rule is None or digest(rule) != to.of:
            found[name] = "the configuration says something else of this rule now"
        elif why := refusal(rule, bounds.get(name), legal.get(name), to.limit):
            found[name] = why
    return found
