"""What a new site file changes in a running agent: which leaves go on untouched, which are stopped and started, and
what takes a new start of the whole. Pure; the daemon does it.

A line or an uplink is untouched if its settings are the same down to the last channel, whatever the file says
elsewhere, and however it is written now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import structs

from . import upkeep
from .carry import same_layout
from .config import LIE, RESERVED, Config

MOST = 50  # names of one kind that are told


class Change(NamedTuple):
    """Names of one kind of thing."""

    kept: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether anything is not as before."""
        return bool(self.changed or self.gone or self.new)

    @property
    def stopped(self) -> tuple[str, ...]:
        return self.changed + self.gone

    @property
    def started(self) -> tuple[str, ...]:
        return self.changed + self.new

    def facts(self) -> dict[str, Any]:
        """For events and people."""
        told = {name: list(names[:MOST]) for name, names in self._asdict().items() if names and name != "kept"}
        return told | {"kept": len(self.kept)}

    def words(self, what: str) -> str:
        """In a few words; empty where nothing is different.

        >>> Change(("a",), ("b",), (), ("c", "d")).words("line")
        '1 line changed (b), 2 lines new (c, d)'
        """
        parts = []
        for how, names in (("changed", self.changed), ("gone", self.gone), ("new", self.new)):
            if names:
                many = "s" if len(names) > 1 else ""
                more = f" and {len(names) - 5} more" if len(names) > 5 else ""
                parts.append(f"{len(names)} {what}{many} {how} ({', '.join(names[:5])}{more})")
        return ", ".join(parts)


class Plan(NamedTuple):
    """From one configuration to another."""

    restart: list[str]  # what cannot be changed under way, each in words; empty: all of it can
    lines: Change
    uplinks: Change
    rules: Change
    detectors: Change
    page: bool  # the local page is started again
    other: list[str]  # tables that say something else

    @property
    def moves(self) -> bool:
        """Whether anything is different at all."""
        changes = (self.lines, self.uplinks, self.rules, self.detectors)
        return bool(self.page or self.other) or any(change.moves for change in changes)

    def words(self) -> str:
        """What is different, for people."""
        kinds = ((self.lines, "line"), (self.uplinks, "uplink"), (self.rules, "rule"), (self.detectors, "detector"))
        said = [text for change, what in kinds if (text := change.words(what))]
        said += [f"[{name}]" for name in ([*self.other, "web"] if self.page else self.other)]
        return "; ".join(said) or "nothing is different"

    def facts(self) -> dict[str, Any]:
        kinds = {"lines": self.lines, "uplinks": self.uplinks, "rules": self.rules, "detectors": self.detectors}
        return {name: change.facts() for name, change in kinds.items()} | {
            "other": self.other + ["web"] * self.page,
        }


FIXED = {  # table -> fields that only a new start changes; None: all of them
    "site": ("name", "node"),
    "store": None,
    "evidence": None,
    "web": ("listen", "trend_mb"),
}
OTHERS = {  # table -> what becomes of it
    "site": ("site",),
    "commands": ("commands",),
    "issuer": ("issuers",),
    "settable": ("bounds",),
    "zone": ("air",),
    "hazards": ("hazards",),
    "interlock": ("interlocks",),
}


def compared(old: Config, new: Config) -> Plan:
    """What is different."""
    restart = [] if new.path == old.path else [f"the site file is {new.path}, not {old.path}"]
    if (old.web is None) != (new.web is None):
        restart.append(f"[web] {'comes' if old.web is None else 'goes'}")
    for table, fields in FIXED.items():
        before, after = getattr(old, table), getattr(new, table)
        if before is None or after is None:
            continue
        for name in fields or type(before).__struct_fields__:
            if (was := getattr(before, name)) != (now := getattr(after, name)):
                restart.append(f"[{table}] {name} is {now!r}, not {was!r}")
    return Plan(
        [f"{text}: that needs a restart" for text in restart],
        _change(_named(old.drivers), _named(new.drivers)),
        _change(_named(old.uplinks), _named(new.uplinks)),
        _change(_named(_written_rules(old)), _named(_written_rules(new))),
        _change(_named(old.detectors), _named(new.detectors)),
        old.web is not None and new.web is not None and old.web != new.web,
        [
            table
            for table, fields in OTHERS.items()
            if any(_written(getattr(old, name)) != _written(getattr(new, name)) for name in fields)
        ],
    )


def merged(old: Config, new: Config, plan: Plan) -> Config:
    """The new configuration with the very lines, uplinks and layouts that go on."""
    lines, uplinks = ({one.name: one for one in known} for known in (old.drivers, old.uplinks))
    layouts = {
        source: old.layouts[source] if source in old.layouts and same_layout(old.layouts[source], layout) else layout
        for source, layout in new.layouts.items()
    }
    return structs.replace(
        new,
        drivers=tuple(lines[one.name] if one.name in plan.lines.kept else one for one in new.drivers),
        uplinks=tuple(uplinks[one.name] if one.name in plan.uplinks.kept else one for one in new.uplinks),
        layouts=layouts,
    )


def _written_rules(config: Config) -> list[Any]:
    """Those that somebody wrote or may change: the other built-in ones follow the channels."""
    if not config.site.builtin:
        return list(config.rules)
    return [r for r in config.rules if r.name not in RESERVED - upkeep.names() and not r.name.startswith(f"{LIE}.")]


def _named(workers: Iterable[Any]) -> dict[str, bytes]:
    return {one.name: _written(one) for one in workers}


def _written(one: Any) -> bytes:
    """By which it is known to be the same: what it is, and all of its settings."""
    kind = f"{type(one).__module__}.{type(one).__qualname__}"
    return msgspec.json.encode([kind, one], enc_hook=str, order="deterministic")


def _change(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Change:
    return Change(
        tuple(name for name in new if old.get(name) == new[name]),
        tuple(name for name in new if name in old and old[name] != new[name]),
        tuple(name for name in old if name not in new),
        tuple(name for name in new if name not in old),
    )
