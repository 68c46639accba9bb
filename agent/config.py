"""A site file into the workers of a site: drivers, rules, store and uplinks; or every complaint at once.

    [site] [store] [evidence] [[bus]] [[detector]] [[rule]] [[interlock]] [[item]] [shifts] [[zone]] [[uplink]]
    [commands] [[issuer]] [[settable]] [[self]] [web]

A `[[bus]]` is a driver, a `[[uplink]]` an uplink, found by name in literal tables; so is a `[[detector]]`, which adds
channels that rules see like any other. An `[[interlock]]` is a handful of rules (`interlocks.py`). An `[[item]]` has
one colour for many points (`core/colours.py`); where there is one, the item `site` holds all others and the points of
none. A `[[zone]]` is a place whose air people breathe (`core/exposure.py`); `[shifts]` says when shifts begin. A device
may take its channels from a device profile (`configs/devices/NAME.toml`, or `devices/` beside the site file) and from a
point list (CSV); a rule, or a channel, may take its limits from a profile (`configs/profiles`). Who may command the
node from afar says `[[issuer]]`, which limits may be moved then `[[settable]]`. What the gateway watches of itself
without being asked says `profiles/self.toml`, what the site changes of that `[[self]]` (`upkeep.py`).
Nothing is opened and no network is used here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

import drivers
import models

from . import evidence, health, interlocks, keys, limits, outbox, tls, upkeep, uplink
from .commands import Issuer
from .commands import Rules as CommandRules
from .complaints import Complaints, Places, Table, decode, nearest, read_points, read_toml
from .core import colours, exposure
from .core.alarm import Basis
from .core.core import Core, points
from .core.derive import Derived, derivations, extended
from .core.errors import ConfigFault
from .core.frame import Layout, channels
from .core.naming import matching
from .core.ports import Detector, Driver, Uplink, Witness
from .core.rules import (
    KINDS,
    AnyRule,
    Bad,
    Deviation,
    Doubt,
    Feedback,
    Frozen,
    Item,
    Limited,
    Rate,
    Silence,
    Strange,
    Vote,
    condition,
)
from .core.units import convert, same
from .core.words import Language
from .hazards import Hazard, hazards
from .health import Health
from .interlocks import Interlock
from .ledger import SetTo
from .profiles import SHIPPED, Profile, gases, profile_names, profiles_in, rule, slug
from .window import Web

FORMAT = 1  # of site files; `format = N` at the top of one says so, for programs that are older
STRANGE = "anomaly"  # built-in rule of channels with `anomaly = true`
PACES = {STRANGE: 10.0, "slow": 900.0}  # built-in detectors of these: name -> s between looks
BUDGET = 30 * 86400.0  # s for one false alarm of such a channel, by all of them
EXPIRY = "agent/certificate"  # profile of the built-in rules of certificates
LIE = "lie"  # built-in rules `lie.<how>`
RESERVED = {"silent", "unfit", STRANGE, *upkeep.names()}

Clock = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Name = Annotated[str, Meta(pattern=r"^[\w.-]+$", min_length=1, max_length=64)]


class Site(Struct, frozen=True, forbid_unknown_fields=True):
    """Who this is. `name` and `node` are part of every topic."""

    name: Name
    node: Name = "gw1"
    language: Language = "en"  # of the texts that operators read
    hazards: str = ""  # inventory of major hazards, beside the site file; see `hazards.py`
    builtin: bool = True  # alarms on silent sources and unfit channels without being asked


class Shifts(Struct, frozen=True, forbid_unknown_fields=True):
    """When shifts begin. China has one clock, and no summer time."""

    begin: Annotated[tuple[Clock, ...], Meta(min_length=1)] = ("00:00", "08:00", "16:00")
    clock: Annotated[str, Meta(pattern=r"^[+-](0\d|1[0-4]):[0-5]\d$")] = "+08:00"  # local time, ahead of UTC

    def resolved(self) -> exposure.Shifts:
        """In seconds."""
        offset = _seconds(self.clock[1:]) * (-1 if self.clock[0] == "-" else 1)
        return exposure.Shifts(tuple(sorted({_seconds(text) for text in self.begin})), offset)


class Zone(Struct, frozen=True, forbid_unknown_fields=True):
    """A place with one air. Where several channels measure a substance, the worst counts."""

    name: Name
    substance: Annotated[dict[str, list[str] | str], Meta(min_length=1)]  # CO = "hall/co"; limits: profiles/exposure


class Config(Struct, frozen=True):
    """A site, resolved and sound."""

    path: Path
    site: Site
    store: outbox.Store
    drivers: tuple[Driver, ...]
    rules: tuple[AnyRule, ...]
    uplinks: tuple[Uplink, ...]
    layouts: dict[str, Layout]  # as the drivers yield; the core adds what detectors give
    sources: tuple[Path, ...]  # every file that was read
    hash: str  # of everything that was resolved
    detectors: tuple[Detector, ...] = ()
    hazards: tuple[Hazard, ...] = ()  # of each unit of the inventory
    overrides: tuple[str, ...] = ()  # where the site sets its own number for a limit that a profile gives
    air: exposure.Air | None = None  # where there are zones
    interlocks: tuple[Interlock, ...] = ()  # their rules are among the others
    evidence: evidence.Shelf = evidence.Shelf()  # where what cameras showed is kept
    web: Web | None = None  # the local page, where the site file has `[web]`
    commands: CommandRules = CommandRules()
    issuers: tuple[Issuer, ...] = ()
    bounds: dict[str, limits.Bounds] = {}  # rule -> how far its limit may be moved from afar
    legal: dict[str, float] = {}  # rule -> what its profile says
    off: dict[str, str] = {}  # rule of the agent itself that the site switched off -> why

    def core(self, set_to: Mapping[str, SetTo] | None = None) -> Core:
        """The judge of this site, with the limits that somebody set."""
        rules = limits.applied(self.rules, set_to or {})
        return Core(self.layouts, rules, self.site.language, self.detectors, self.air)

    def witnesses(self) -> list[Witness]:
        """The cameras that keep evidence."""
        return [witness for driver in self.drivers if (witness := driver.witness()) is not None]


def load(path: str | Path) -> Config:
    """The configuration at `path`. Raises `ConfigFault` with every complaint that could be found."""
    return _Reader(Path(path)).read()


Worker = TypeVar("Worker")


class _Reader:
    """One reading of one site file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places = Places()
        self.told = Complaints(self.places)
        self.files: list[Path] = []
        self.trees: dict[Path, Table] = {}  # files of profiles: many rules are of one
        self.resolved: list[Any] = []
        self.overrides: list[str] = []
        self.legal: dict[str, float] = {}  # rule -> the limit of its profile
        self._claims: dict[str, list[tuple[str, Table]]] = {}  # profile -> channels that say they are one
        self._watched: list[tuple[str, Table]] = []  # channels with `anomaly = true`
        self.off: dict[str, str] = {}  # rules of the agent itself that are off, and why

    def read(self) -> Config:
        try:
            raw = self._toml(self.path)
        except OSError as error:
            raise ConfigFault([f"{self.path}: cannot be read: {error.strerror}"]) from None
        except ValueError as error:
            raise ConfigFault([str(error)]) from None
        if not isinstance(form := raw.get("format", FORMAT), int) or form < 1:
            self.told.add(raw, "format", f"`format` is a whole number, 1 to {FORMAT}")
        elif form > FORMAT:  # what it knows beyond is no fault
            text = f"format {form} is of a newer program; this one knows formats up to {FORMAT}"
            raise ConfigFault([f"{self.places.at(raw, 'format')}: {text}"])
        known = {
            "format",
            "site",
            "store",
            "evidence",
            "bus",
            "detector",
            "rule",
            "interlock",
            "item",
            "shifts",
            "zone",
            "uplink",
            "web",
            "commands",
            "issuer",
            "settable",
            "self",
        }
        for key in raw.keys() - known:
            self.told.add(raw, key, f"unknown table `{key}`{nearest(key, known)}")
        if "site" not in raw:
            self.told.add(raw, None, "[site] is missing; it needs at least `name`")
        site = decode(self._table(raw, "site"), Site, self.told, "[site]") if "site" in raw else None
        site = site or Site(name="?")
        stored = self._table(raw, "store")
        stored = self.places.same({"path": "state", **stored}, stored)
        store = decode(stored, outbox.Store, self.told, "[store]") or outbox.Store()
        found = [(table, driver) for table in self._tables(raw, "bus") for driver in [self._driver(table)]]
        drivers = [(table, driver) for table, driver in found if driver is not None]
        for table, driver in drivers:
            if f"{site.name}/{site.node}" in [columns.origin for columns in driver.layouts().values()]:
                self.told.add(table, None, f"bus `{driver.name}`: this node cannot be a neighbour of itself")
        speakers = [(table, one) for table in self._tables(raw, "uplink") if (one := self._speaker(table)) is not None]
        layouts = self._layouts(drivers, [one.name for _, one in speakers])
        self._certificates(speakers, drivers, layouts, site)
        detectors, gained = self._detectors(raw, layouts)
        complete = not self.told.lines  # else names may be missing that are only misspelt elsewhere
        gained = gained if complete else {}
        whole = {source: extended(base, gained.get(source, ())) for source, base in layouts.items()}
        items = self._items(raw, whole)
        whole |= colours.sources(item for _, item in items)
        locks = self._interlocks(raw, whole, [driver for _, driver in drivers])
        written = self._tables(raw, "rule") + [row for _, row in locks]
        rules = self._rules(written, whole, [driver for _, driver in drivers], site, complete, items)
        if site.builtin:
            rules += self._doubts(gained, whole, rules) + self._strange(gained, rules)
            rules += self._own(raw, site, layouts[Health.SOURCE])
        elif raw.get("self"):
            self.told.add(raw, "self", "[[self]] changes built-in rules, and `builtin = false` leaves none")
        air = self._air(raw, whole) if complete else None
        uplinks = self._uplinks(speakers, whole, complete)
        shelf = decode(self._table(raw, "evidence"), evidence.Shelf, self.told, "[evidence]") or evidence.Shelf()
        self.resolved.append(shelf)
        web = self._web(raw)
        asked, issuers, bounds = self._commands(raw, rules, uplinks, complete)
        if complete:
            self._witnesses(drivers, whole, rules)
        hazards = self._hazards(raw, site)
        if not raw.get("bus"):
            self.told.add(raw, None, "no [[bus]]: there is nothing to read")
        if self.told.lines:
            raise ConfigFault(sorted(self.told.lines, key=_by_place))
        digest = hashlib.sha256(msgspec.json.encode([site, self.resolved, rules], enc_hook=str, order="deterministic"))
        home = self.path.parent / store.path
        shelf = msgspec.structs.replace(  # in full: a camera's child starts somewhere else
            shelf, path=str((self.path.parent / shelf.path if shelf.path else home / "evidence").absolute())
        )
        return Config(
            path=self.path,
            site=site,
            store=msgspec.structs.replace(
                store,
                path=str(home),
                journal_key=str(self.path.parent / store.journal_key) if store.journal_key else "",
            ),
            evidence=shelf,
            web=web,
            drivers=tuple(driver.at_home(shelf.path, shelf.free_mb) for _, driver in drivers),
            detectors=tuple(detectors),
            rules=tuple(rules),
            uplinks=tuple(uplink.at_home(str(home), shelf.path) for uplink in uplinks),
            layouts=layouts,
            sources=tuple(self.files),
            hash=digest.hexdigest()[:16],
            hazards=tuple(hazards),
            overrides=tuple(self.overrides),
            air=air,
            interlocks=tuple({one.name: one for one, _ in locks}.values()),
            commands=asked,
            issuers=tuple(issuers),
            bounds=bounds,
            legal=self.legal,
            off=self.off,
        )

    # -- files ------------------------------------------------------------------------------------

    def _toml(self, path: Path) -> Table:
        table = read_toml(path, self.places)
        if path not in self.files:
            self.files.append(path)
        return table

    def _find(self, folder: str, name: str) -> Path | None:
        """`folder/NAME.toml` beside the site file, or the one that ships; limits of the site's own are told."""
        own, shipped = (root / folder / f"{name}.toml" for root in (self.path.parent, SHIPPED))
        if not own.is_file():
            return shipped if shipped.is_file() else None
        if folder == "profiles" and shipped.is_file() and not own.samefile(shipped):
            text = f"profiles/{name}.toml of the site stands for the one that ships"
            self.overrides += [text] if text not in self.overrides else []
        return own

    def _names(self, folder: str) -> set[str]:
        return {path.stem for root in (self.path.parent, SHIPPED) for path in (root / folder).glob("*.toml")}

    def _table(self, raw: Table, key: str) -> Table:
        table = raw.get(key, {})
        if isinstance(table, dict):
            return table
        self.told.add(raw, key, f"`{key}` should be a table: [{key}]")
        return {}

    def _tables(self, raw: Table, key: str) -> list[Table]:
        tables = raw.get(key, [])
        if isinstance(tables, list) and all(isinstance(table, dict) for table in tables):
            return tables
        self.told.add(raw, key, f"`{key}` should be a list of tables: [[{key}]]")
        return []

    def _web(self, raw: Table) -> Web | None:
        """The local page. It is no part of the hash: it changes nothing that is judged or told."""
        if "web" not in raw:
            return None
        table = self._table(raw, "web")
        web = decode(table, Web, self.told, "[web]")
        for text in web.faults() if web is not None else ():
            self.told.add(table, None, f"[web]: {text}")
        if web is None or not web.certificate:
            return web
        home = self.path.parent
        return msgspec.structs.replace(web, certificate=str(home / web.certificate), key=str(home / web.key))

    def _hazards(self, raw: Table, site: Site) -> list[Hazard]:
        """What the inventory makes of each unit."""
        if not site.hazards:
            return []
        path = self.path.parent / site.hazards
        try:
            inventory = self._toml(path)
        except OSError as error:
            text = f"[site]: inventory {path.name} cannot be read: {error.strerror}"
            self.told.add(self._table(raw, "site"), "hazards", text)
            return []
        except ValueError as error:
            self.told.lines.append(str(error))
            return []
        self.resolved.append(inventory)
        return hazards(inventory, self.told)

    # -- workers found by name --------------------------------------------------------------------

    def _worker(
        self, table: Table, what: str, key: str, default: str, known: Mapping[str, Any], find: Callable[[str], Any]
    ) -> Any:
        """The struct that `table[key]` names, decoded from the rest of the table."""
        word = table.get(key, default)
        try:
            type_ = find(word)
        except (LookupError, ConfigFault):
            self.told.add(
                table, key, f"{what} `{table.get('name', '?')}`: no {key} is called `{word}`{nearest(str(word), known)}"
            )
            return None
        return decode(table, type_, self.told, f"{what} `{table.get('name', word)}`", (key,))

    def _driver(self, table: Table) -> Driver | None:
        if "device" in table:
            devices = [self._device(device) for device in self._tables(table, "device")]
            table = self.places.same({**table, "device": devices}, table)
        driver: Driver | None = self._worker(table, "bus", "driver", "modbus", drivers.DRIVERS, drivers.driver)
        if driver is not None:
            self.resolved.append(table)
            for text in driver.faults():
                self.told.add(table, None, f"bus `{driver.name}`: {text}")
        return driver

    def _device(self, table: Table) -> Table:
        """The device with the channels of its profile and point list, its own on top, merged by key."""
        merged: Table = {}
        rows: dict[str, Table] = {}
        what = f"device `{table.get('name', '?')}`"

        def take(more: list[Table]) -> None:
            for row in more:
                key = str(row.get("key", f"#{len(rows)}"))
                rows[key] = self._merge(rows[key], row) if key in rows else row

        if "profile" in table:
            name = str(table["profile"])
            path = self._find("devices", name)
            if path is None:
                self.told.add(
                    table, "profile", f"{what}: no device profile `{name}`{nearest(name, self._names('devices'))}"
                )
            else:
                try:
                    merged = self._toml(path)
                    take(self._tables(merged, "channel"))
                except ValueError as error:
                    self.told.lines.append(str(error))
        if "points" in table:
            path = self.path.parent / str(table["points"])
            try:
                listed = read_points(path, self.places)
                if not listed:
                    self.told.add(table, "points", f"{what}: point list {path.name} has no points")
                self._once(listed, what)
                take(listed)
                self.files.append(path)
            except OSError as error:
                self.told.add(table, "points", f"{what}: point list {path.name} cannot be read: {error.strerror}")
            except ValueError as error:
                self.told.lines.append(str(error))
        own = self._tables(table, "channel")
        self._once(own, what)
        take(own)
        self._channel_profiles(str(table.get("name", "?")), rows)
        whole = self._merge(
            merged, {k: v for k, v in table.items() if k not in ("profile", "points", "channel")}, table
        )
        for key in ("maker", "model", "note"):  # for people
            whole.pop(key, None)
        whole["channel"] = [
            self.places.same({k: v for k, v in row.items() if k not in ("profile", "anomaly")}, row)
            for row in rows.values()
        ]
        return whole

    def _once(self, rows: list[Table], what: str) -> None:
        """Complain about channels that one list names twice."""
        seen: set[str] = set()
        for row in rows:
            if (key := str(row.get("key"))) in seen:
                self.told.add(row, "key", f"{what}: channel `{key}` is listed twice")
            seen.add(key)

    def _merge(self, below: Table, above: Table, placed: Table | None = None) -> Table:
        """`above` over `below`; complaints point to `above`."""
        return self.places.same({**below, **above}, placed if placed is not None else above)

    def _channel_profiles(self, source: str, rows: dict[str, Table]) -> None:
        """Note which channels say what they are by themselves (`profile = "coal/ch4/T1"`)."""
        for key, row in rows.items():
            if "profile" in row:
                self._claims.setdefault(str(row["profile"]), []).append((f"{source}/{key}", row))
            if not isinstance(asked := row.get("anomaly", False), bool):
                self.told.add(row, "anomaly", f"channel `{key}`: `anomaly` is true or false")
            elif asked:
                self._watched.append((f"{source}/{key}", row))

    def _speaker(self, table: Table) -> Uplink | None:
        found: Uplink | None = self._worker(table, "uplink", "kind", "mqtt", uplink.UPLINKS, uplink.find)
        return found

    def _certificates(
        self,
        speakers: list[tuple[Table, Uplink]],
        drivers: list[tuple[Table, Driver]],
        layouts: dict[str, Layout],
        site: Site,
    ) -> None:
        """The end of each certificate is a channel, and watched by the limits of a profile."""
        claims = [(name, table) for table, driver in drivers for name in driver.certificates()]
        columns = tls.watched(one for _, one in speakers)
        if columns is not None:
            if tls.SOURCE in layouts:
                self.told.add(speakers[0][0], None, f"a source is called `{tls.SOURCE}`, like that of certificates")
            layouts[tls.SOURCE] = columns
            claims += [(name, speakers[0][0]) for name in channels(tls.SOURCE, columns)]
        if site.builtin and claims:
            self._claims.setdefault(EXPIRY, []).extend(claims)

    def _uplinks(
        self, speakers: list[tuple[Table, Uplink]], layouts: Mapping[str, Layout], complete: bool
    ) -> list[Uplink]:
        """`complete`: all channels are known."""
        uplinks: list[Uplink] = []
        for table, one in speakers:
            if any(other.name == one.name for other in uplinks):
                self.told.add(table, "name", f"a second uplink is called `{one.name}`")
            for pattern in one.sources:
                if not matching([pattern], layouts):
                    text = f"uplink `{one.name}`: no source is called `{pattern}`{nearest(pattern, set(layouts))}"
                    self.told.add(table, "sources", text)
            names = {name for source, columns in layouts.items() for name in channels(source, columns)}
            for text in one.faults(names) if complete else ():
                self.told.add(table, None, f"uplink `{one.name}`: {text}")
            uplinks.append(one)
            self.resolved.append({k: v for k, v in table.items() if k != "password"})
        return uplinks

    def _commands(
        self, raw: Table, rules: list[AnyRule], uplinks: list[Uplink], complete: bool
    ) -> tuple[CommandRules, list[Issuer], dict[str, limits.Bounds]]:
        """Who may command this node, and how far limits may be moved. `complete`: all rules are known."""
        table = self._table(raw, "commands")
        asked = decode(table, CommandRules, self.told, "[commands]") or CommandRules()
        issuers: list[Issuer] = []
        for one in self._tables(raw, "issuer"):
            issuer = decode(one, Issuer, self.told, f"issuer `{one.get('name', '?')}`")
            if issuer is None:
                continue
            for other in issuers:
                if other.name == issuer.name:
                    self.told.add(one, "name", f"a second issuer is called `{issuer.name}`")
                elif keys.public(other.key) == keys.public(issuer.key):
                    self.told.add(one, "key", f"issuers `{other.name}` and `{issuer.name}` have the same key")
            issuers.append(issuer)
        for verb in asked.two if complete else ():
            if any(verb in issuer.may for issuer in issuers) and sum(verb in issuer.may for issuer in issuers) < 2:
                self.told.add(table, "two", f"[commands]: {verb} takes two people, and only one issuer may do it")
        for up in uplinks:
            if getattr(up, "commands", False) and not issuers:
                text = f"uplink `{up.name}` hears commands, but no [[issuer]] may give any"
                self.told.add(raw, "uplink", text)
        named = {rule.name: rule for rule in rules}
        bounds: dict[str, limits.Bounds] = {}
        for one in self._tables(raw, "settable"):
            bound = decode(one, limits.Bounds, self.told, f"settable `{one.get('rule', '?')}`")
            if bound is None:
                continue
            if bound.rule in bounds:
                self.told.add(one, "rule", f"settable: rule `{bound.rule}` is named twice")
            if complete and not isinstance(rule := named.get(bound.rule), Limited):
                why = "has no limit of its own" if rule else f"is no rule{nearest(bound.rule, named)}"
                self.told.add(one, "rule", f"settable: `{bound.rule}` {why}")
            bounds[bound.rule] = bound
        self.resolved += [asked, issuers, bounds] if issuers or bounds else []
        return asked, issuers, bounds

    # -- what is watched --------------------------------------------------------------------------

    def _own(self, raw: Table, site: Site, layout: Layout) -> list[AnyRule]:
        """What the agent watches of itself, as the site wants it; what is changed or off is told."""
        path = self._find("profiles", upkeep.FILE)
        try:
            found = profiles_in(self._toml(path), self.places) if path else {}
            rows = upkeep.rows(found, site.language, layout)
        except ValueError as error:
            self.told.lines.append(str(error))
            return []
        here = {upkeep.name(limit) for profile in found.values() for limit in profile.limit}
        self.off |= dict.fromkeys(sorted(upkeep.names() - here), "profiles/self.toml of the site lacks it")
        seen: set[str] = set()
        for table in self._tables(raw, "self"):
            own = decode(table, upkeep.Own, self.told, f"self `{table.get('rule', '?')}`")
            if own is None:
                continue
            if own.rule not in here:
                text = f"self: the agent has no rule `{own.rule}` of its own{nearest(own.rule, here)}"
                self.told.add(table, "rule", text)
            elif own.rule in seen:
                self.told.add(table, "rule", f"self: rule `{own.rule}` is named twice")
            elif own.rule not in rows:
                pass  # of uplinks, and there are none
            elif own.off:
                del rows[own.rule]
            else:
                rows[own.rule], told = upkeep.changed(rows[own.rule], own)
                rows[own.rule] = self.places.same(rows[own.rule], table)
                self.overrides += told
            seen.add(own.rule)
            if own.off and own.rule in here:
                self.off[own.rule] = own.off
        return [rule for row in rows.values() if (rule := self._rule(row)) is not None]

    def _layouts(self, drivers: list[tuple[Table, Driver]], uplinks: list[str]) -> dict[str, Layout]:
        layouts: dict[str, Layout] = {Health.SOURCE: health.columns(uplinks)}
        outputs: set[str] = set()
        buses: set[str] = set()
        for table, driver in drivers:
            if driver.name in buses:
                self.told.add(table, "name", f"a second bus is called `{driver.name}`")
            buses.add(driver.name)
            for source, layout in driver.layouts().items():
                if source == colours.SOURCE:
                    self.told.add(table, None, f"bus `{driver.name}`: the source `{source}` is that of the items")
                if source in layouts:
                    self.told.add(table, None, f"bus `{driver.name}`: a second source is called `{source}`")
                layouts[source] = layout
            for output in (*driver.outputs(), *driver.heartbeats()):
                if output in outputs:
                    self.told.add(table, None, f"bus `{driver.name}`: a second output is called `{output}`")
                outputs.add(output)
        return layouts

    def _detectors(self, raw: Table, layouts: dict[str, Layout]) -> tuple[list[Detector], Mapping[str, list[Derived]]]:
        """Those of the site and the built-in ones; what each source gains by them."""
        found: dict[str, tuple[Table, Detector]] = {}
        tables = self._tables(raw, "detector")
        if self._watched:  # they ask for a detector that nobody wrote
            asked: Table = {"kind": STRANGE, "channel": [name for name, _ in self._watched]}
            asked["budget"] = BUDGET * len(PACES)
            builtin = [{**asked, "name": name, "every": pace} for name, pace in PACES.items()]
            tables = [*tables, *(self.places.same(one, self._watched[0][1]) for one in builtin)]
        for table in tables:
            several = {key: [table[key]] for key in ("channel", "beside") if isinstance(table.get(key), str)}
            table = self.places.same({**table, **several}, table)
            one: Detector | None = self._worker(table, "detector", "kind", "", models.DETECTORS, models.detector)
            if one is None:
                continue
            if one.name in found:
                self.told.add(table, "name", f"a second detector is called `{one.name}`")
            found[one.name] = table, one
            self.resolved.append(table)
        detectors = [one for _, one in found.values()]

        def refuse(one: Detector, error: ValueError) -> None:
            key = "beside" if "beside" in str(error) else "channel"
            self.told.add(found[one.name][0], key, str(error))

        gained = derivations(detectors, layouts, refuse)
        taken = {name for source, base in layouts.items() for name in channels(source, base)}
        for source, name, one in [(s, key, d.detector) for s, row in gained.items() for d in row for key, _ in d.given]:
            if f"{source}/{name}" in taken:
                text = f"detector `{one.name}`: a second channel is called `{source}/{name}`"
                self.told.add(found[one.name][0], "name", text)
            taken.add(f"{source}/{name}")
        return detectors, gained

    def _rules(
        self,
        written: list[Table],
        layouts: dict[str, Layout],
        drivers: list[Driver],
        site: Site,
        complete: bool,
        items: list[tuple[Table, Item]],
    ) -> list[AnyRule]:
        outputs = {output for driver in drivers for output in driver.outputs()}
        hearts = {heart for driver in drivers for heart in driver.heartbeats()}
        periods = {source: period for driver in drivers for source, period in driver.periods().items()}
        found: list[tuple[Table, AnyRule]] = []
        for table in written:
            for row in self._expand(table, layouts):
                rule = self._rule(row)
                if rule is not None:
                    found.append((table, rule))
        for name, claims in self._claims.items():
            first = claims[0][1]
            table = self.places.same({"name": name.replace("/", "."), "channel": [c for c, _ in claims]}, first)
            for row in self._expand(self.places.same({**table, "profile": name}, first), layouts):
                rule = self._rule(row)
                if rule is not None:
                    found.append((first, rule))
        found += items
        names: dict[str, Table] = {}
        by_name = {name: 0 for source, layout in layouts.items() for name in channels(source, layout)}
        for table, rule in found:
            if rule.name in names:
                self.told.add(table, "name", f"a second rule is called `{rule.name}`")
            if site.builtin and (rule.name in RESERVED or rule.name.startswith(f"{LIE}.")):
                self.told.add(table, "name", f"`{rule.name}` is the name of a built-in rule; choose another")
            names[rule.name] = table
            if not complete:
                continue
            if not rule.channel and not (isinstance(rule, Item) and rule.item):
                self.told.add(table, "channel", f"rule `{rule.name}`: `channel` is empty: nothing is watched")
            self._against_period(table, rule, layouts, periods)
            known = {**by_name, **layouts} if isinstance(rule, Silence) else by_name
            if isinstance(rule, Item):
                known = {name: 0 for name in by_name if name.partition("/")[0] not in colours.UNCOLOURED}
            for pattern in rule.channel:
                if pattern not in known and not matching([pattern], known):
                    self.told.add(
                        table,
                        "channel",
                        f"rule `{rule.name}`: no channel is called `{pattern}`{nearest(pattern, known)}",
                    )
            if isinstance(rule, Vote) and len(members := matching(rule.channel, by_name)) < rule.need:
                text = f"rule `{rule.name}`: {len(members)} channels cannot give {rule.need} votes"
                self.told.add(table, "need", text)
            if isinstance(rule, Doubt) and not any(points([rule], layouts).values()):
                text = f"rule `{rule.name}`: no detector gives `{rule.lie}` of {', '.join(rule.channel)}"
                self.told.add(table, "lie", text)
            if isinstance(rule, Deviation) and sum(map(len, points([rule], layouts).values())) == 1:
                self.told.add(table, "channel", f"rule `{rule.name}`: a deviation needs at least two channels")
            for key in ("when", "start_when", "clear_when"):
                for text in getattr(rule, key):
                    if (channel := condition(text).channel) not in by_name:
                        says = f"rule `{rule.name}`: no channel is called `{channel}`{nearest(channel, by_name)}"
                        self.told.add(table, key, says)
            for output in [*rule.drive, *([rule.output] if isinstance(rule, Feedback) else [])]:
                if output in hearts:
                    text = f"rule `{rule.name}`: `{output}` is a heartbeat, which no rule drives"
                    self.told.add(table, "drive", text)
                elif output not in outputs:
                    self.told.add(
                        table, "drive", f"rule `{rule.name}`: no output is called `{output}`{nearest(output, outputs)}"
                    )
        rules = [rule for _, rule in found]
        if not site.builtin or not complete:
            return rules
        return [*rules, *self._builtin(layouts, rules)]

    def _interlocks(
        self, raw: Table, layouts: Mapping[str, Layout], drivers: list[Driver]
    ) -> list[tuple[Interlock, Table]]:
        """Each interlock with each of its rules, as a table that complains where the interlock stands."""
        tables, found = self._tables(raw, "interlock"), []
        path = self._find("profiles", interlocks.PROFILE)
        try:
            usual = self._toml(path).get("rules", {}) if tables and path else {}
        except ValueError as error:
            self.told.lines.append(str(error))
            return []
        for table in tables:
            one = self._worker(table, "interlock", "kind", "", interlocks.KINDS, interlocks.KINDS.__getitem__)
            if one is None:
                continue
            self._guard(table, one, drivers)
            try:
                rows = one.tables(usual, partial(self._restores, layouts, table))
                found += [(one, self.places.same(row, table)) for row in rows]
            except ValueError as error:
                self.told.add(table, None, f"interlock `{one.name}`: {error}")
        return found

    def _restores(
        self, layouts: Mapping[str, Layout], table: Table, name: str, channel: str, own: Mapping[str, float]
    ) -> dict[str, float]:
        """Each limit of a profile with the restore limit that a channel gets, in its unit. Raises `ValueError`."""
        profile = self._profile(table, name, f"interlock `{table['name']}`")
        if profile is None:
            return {}
        source, _, key = channel.partition("/")
        base = layouts.get(source)
        unit = base.unit[base.key.index(key)] if base is not None and key in base.key else profile.unit
        found: dict[str, float] = {}
        for limit in profile.limit:
            value = own.get(limit.name, limit.value)
            if value is not None:
                row = rule(profile, limit, value, limit.name in own, unit)
                found[limit.name] = row["restore" if "restore" in row else "limit"]
        return found

    def _guard(self, table: Table, one: Interlock, drivers: list[Driver]) -> None:
        """What happens to an interlock when this program dies must be settled before it starts."""
        what = f"interlock `{one.name}`"
        lines = [driver for driver in drivers if set(one.trip) & set(driver.outputs())]
        if bool(one.heartbeat) == bool(one.unguarded):
            text = f"{what}: when this program dies, it trips nothing. Name a `heartbeat`, an output of the same line"
            self.told.add(
                table, "heartbeat", f"{text} whose relay trips when it stands still; or say in `unguarded` why not"
            )
        elif one.heartbeat:
            for driver in lines:
                if one.heartbeat not in driver.heartbeats():
                    known = [heart for driver in drivers for heart in driver.heartbeats()]
                    hint = "; it is on another line" if one.heartbeat in known else nearest(one.heartbeat, known)
                    text = f"{what}: bus `{driver.name}` of its trip has no heartbeat `{one.heartbeat}`{hint}"
                    self.told.add(table, "heartbeat", text)

    def _items(self, raw: Table, layouts: dict[str, Layout]) -> list[tuple[Table, Item]]:
        """The items, with what `profiles/colours.toml` says of them, and the one that holds all: `site`."""
        tables = self._tables(raw, "item")
        path = self._find("profiles", "colours")
        try:
            usual = self._toml(path) if tables and path else {}
        except ValueError as error:
            self.told.lines.append(str(error))
            return []
        found = [(table, item) for table in tables if (item := self._item(table, usual)) is not None]
        names = {item.name for _, item in found}
        unknown = [(table, item, name) for table, item in found for name in item.item if name not in names]
        for table, item, name in unknown:
            self.told.add(table, "item", f"item `{item.name}`: no item is called `{name}`{nearest(name, names)}")
        if unknown or len(found) < len(tables):
            return found
        listed = [item.name for _, item in found]
        try:
            colours.in_order([[listed.index(name) for name in item.item] for _, item in found])
        except ValueError as error:
            self.told.add(tables[0], "item", f"items {', '.join(listed)}: {error}")
        if found and "site" not in names:
            coloured = [  # of this site: what neighbours say colours theirs
                name
                for source, base in layouts.items()
                if source not in colours.UNCOLOURED and not base.origin
                for name in channels(source, base)
            ]
            taken = set(matching([pattern for _, item in found for pattern in item.channel], dict.fromkeys(coloured)))
            parts = {name for _, item in found for name in item.item}
            rest = {
                "name": "site",
                "channel": [name for name in coloured if name not in taken],
                "item": [name for name in listed if name not in parts],
            }
            whole = self._item(self.places.same(rest, tables[0]), usual)
            found += [(tables[0], whole)] if whole is not None else []
        return found

    def _item(self, table: Table, usual: Table) -> Item | None:
        """One item over what is usual; counts of the site's own are an override, and are told."""
        what = f"item `{table.get('name', '?')}`"
        below = usual.get("items" if table.get("item") else "points", {})
        basis = below.get("basis", {})
        own: Table = {key: [table[key]] for key in ("channel", "item") if isinstance(table.get(key), str)}
        for key in ("counts", "carries", "clear_delay"):
            if table.get(key, below.get(key)) != below.get(key):
                self.overrides.append(f"{what}: {key} is {table[key]}, not {below.get(key)} of `colours`")
                if key != "clear_delay":
                    own["basis"] = {**basis, "standard": f"site, for {basis.get('standard', 'project')}"}
        return decode(self._merge(below, {**table, **own}, table), Item, self.told, what)

    def _air(self, raw: Table, layouts: Mapping[str, Layout]) -> exposure.Air | None:
        """The zones, what is watched there, and after which limits."""
        tables = self._tables(raw, "zone")
        shifts = decode(self._table(raw, "shifts"), Shifts, self.told, "[shifts]") or Shifts()
        if not tables:
            return None
        for taken in {exposure.PERSON, exposure.ZONE} & layouts.keys():
            self.told.add(tables[0], None, f"a source is called `{taken}`, like those of exposure; choose another name")
        units = {n: base.unit[i] for s, base in layouts.items() for i, n in enumerate(channels(s, base))}
        zones: list[str] = []
        found: dict[str, exposure.Substance | None] = {}
        gas_of: dict[str, str] = {}
        inlets: list[exposure.Inlet] = []
        for table in tables:
            what = f"zone `{table.get('name', '?')}`"
            zone = decode(table, Zone, self.told, what)
            if zone is None:
                continue
            if zone.name in (*zones, "out"):
                self.told.add(table, "name", f"a second zone is called `{zone.name}`" if zone.name != "out" else OUT)
            zones.append(zone.name)
            for name, given in zone.substance.items():
                if name not in found:
                    found[name], gas_of[name] = self._substance(table, name, what)
                substance = found[name]
                for channel in [given] if isinstance(given, str) else given:
                    if channel not in units:
                        text = f"{what}: no channel is called `{channel}`{nearest(channel, units)}"
                        self.told.add(table, "substance", text)
                    elif substance is not None:
                        try:
                            factor = convert(1.0, units[channel], substance.unit, gases().get(gas_of[name]))
                        except ValueError as error:
                            self.told.add(table, "substance", f"{what}: `{channel}`: {error}")
                            continue
                        place = len(zones) - 1, list(found).index(name)
                        inlets.append(exposure.Inlet(*place, channel, factor))
            self.resolved.append(table)
        self.resolved += [shifts, *found.values()]
        known = tuple(one for one in found.values() if one is not None)
        return exposure.Air(tuple(zones), known, tuple(inlets), shifts.resolved())

    def _substance(self, table: Table, name: str, what: str) -> tuple[exposure.Substance | None, str]:
        """A substance with its limits from `profiles/exposure.toml`, and which gas it is."""
        path = self._find("profiles", exposure.RULE)
        try:
            tree: Any = self._toml(path) if path else {}
        except ValueError as error:
            self.told.lines.append(str(error))
            return None, ""
        known: dict[str, list[tuple[exposure.Metric, Profile]]] = {}
        for profile_name, profile in profiles_in(tree, self.places).items():
            kind, _, rest = profile_name.partition("/")
            key, metric = (rest, kind) if kind in exposure.METRICS else (profile_name, "twa")
            known.setdefault(key, []).append((metric, profile))
        rows = known.get(name, [])
        if not rows:
            text = f"{what}: profiles/{exposure.RULE} knows no `{name}`{nearest(name, known)}"
            self.told.add(table, "substance", text)
            return None, ""
        limits: list[exposure.Limit] = []
        for metric, profile in rows:
            for limit in profile.limit:
                if limit.value is None or same(profile.unit) != same(rows[0][1].unit):
                    self.told.add(table, "substance", f"{what}: `{name}`: {metric} {limit.name} has no value to use")
                    continue
                if any((one.metric, one.name) == (metric, limit.name) for one in limits):
                    self.told.add(table, "substance", f"{what}: `{name}` has two {metric} limits `{limit.name}`")
                judged: exposure.Metric = "stel" if metric == "peak" and not limit.times else metric
                basis = Basis(limit.standard, limit.clause, limit.edition, limit.verify)
                peak = (limit.times, limit.apart, limit.lasts)
                limits.append(exposure.Limit(judged, limit.name, limit.value, limit.level, basis, *peak))
        profile = rows[0][1]
        return exposure.Substance(name, profile.unit, tuple(limits), profile.advice), profile.gas

    def _witnesses(
        self, drivers: list[tuple[Table, Driver]], layouts: Mapping[str, Layout], rules: list[AnyRule]
    ) -> None:
        """What cameras look at, and the rules that they name, must be there."""
        names = {name: 0 for source, layout in layouts.items() for name in channels(source, layout)}
        known = [rule.name for rule in rules]
        for table, driver in drivers:
            witness = driver.witness()
            if witness is None:
                continue
            place = table.get("evidence", table)
            for pattern in witness.looks_at:
                if not matching([pattern], names):
                    text = f"bus `{driver.name}`, evidence: no channel is called `{pattern}`{nearest(pattern, names)}"
                    self.told.add(place, "looks_at", text)
            for one in witness.clips:
                if not any(fnmatchcase(name, one.rule) for name in known):
                    text = f"bus `{driver.name}`, evidence: no rule is called `{one.rule}`{nearest(one.rule, known)}"
                    self.told.add(place, "clips", text)

    def _against_period(
        self, table: Table, rule: AnyRule, layouts: dict[str, Layout], periods: Mapping[str, float]
    ) -> None:
        """Refuse a duration that is too short for how often the channels are read (`stale` is 3 periods by default)."""
        fields = {Rate: "window", Frozen: "limit", Silence: "limit", Feedback: "delay"}
        if type(rule) not in fields:
            return
        field = fields[type(rule)]
        stale = {
            source: max(float(layouts[source].stale[point.column]) for point in row)
            for source, row in points([rule], layouts).items()
            if row
        }
        if isinstance(rule, Feedback):  # what was ordered is seen at the next poll
            leasts = [periods.get(source, seconds / 3) for source, seconds in stale.items()]
        else:
            leasts = [seconds / 3 if isinstance(rule, Silence) else seconds for seconds in stale.values()]
        given, least = getattr(rule, field), max(leasts, default=0.0)
        if given is not None and given < least:
            self.told.add(
                table,
                field,
                f"rule `{rule.name}`: {field} = {given:g} s is too short for channels that are read so seldom; "
                f"at least {least:g} s",
            )

    def _builtin(self, layouts: dict[str, Layout], rules: list[AnyRule]) -> list[AnyRule]:
        """A blind sensor is an alarm: silence of each source and faults of each channel, unless a rule says so."""
        watched = {
            kind: {
                (p.column, source)
                for source, row in points((r for r in rules if isinstance(r, kind)), layouts).items()
                for p in row
            }
            for kind in (Silence, Bad)
        }
        silent = [s for s in layouts if s not in colours.UNCOLOURED and (-1, s) not in watched[Silence]]
        unfit = [
            name
            for source, layout in layouts.items()
            if source not in colours.UNCOLOURED
            for i, name in enumerate(channels(source, layout))
            if (i, source) not in watched[Bad] and i < layout.measured  # what is derived is as fit as what it is from
        ]
        extra: list[AnyRule] = []
        if silent:
            extra.append(Silence(name="silent", channel=silent, level="orange"))
        if unfit:
            extra.append(Bad(name="unfit", channel=unfit, level="yellow"))
        return extra

    @staticmethod
    def _doubts(
        gained: Mapping[str, list[Derived]], layouts: Mapping[str, Layout], rules: list[AnyRule]
    ) -> list[AnyRule]:
        """A sensor that a detector finds lying is an alarm, unless a rule says so."""
        asked = [rule for rule in rules if isinstance(rule, Doubt)]
        watched = {(p.channel, rule.lie) for rule in asked for row in points([rule], layouts).values() for p in row}
        found: dict[str, list[str]] = {}
        for source, row in gained.items():
            for one in row:
                names = [f"{source}/{layouts[source].key[i]}" for i in one.own]
                for lie in one.detector.lies:
                    found.setdefault(lie, []).extend(name for name in names if (name, lie) not in watched)
        return [Doubt(name=f"{LIE}.{lie}", channel=names, lie=lie) for lie, names in found.items() if names]

    @staticmethod
    def _strange(gained: Mapping[str, list[Derived]], rules: list[AnyRule]) -> list[AnyRule]:
        """What a detector finds strange is an alarm, unless a rule says so."""
        names = [
            f"{source}/{key}"
            for source, row in gained.items()
            for one in row
            if one.detector.strange
            for key, _ in one.given
        ]
        asked = [pattern for rule in rules if isinstance(rule, Strange) for pattern in rule.channel]
        left = [name for name in names if not matching(asked, {name: 0})]
        return [Strange(name=STRANGE, channel=left, level="yellow")] if left else []

    def _rule(self, table: Table) -> AnyRule | None:
        if isinstance(table.get("channel"), str):
            table = self.places.same({**table, "channel": [table["channel"]]}, table)
        if "kind" not in table:
            self.told.add(
                table,
                None,
                f"rule `{table.get('name', '?')}`: `kind` is missing (or a `profile`); kinds: {', '.join(KINDS)}",
            )
            return None
        rule: AnyRule | None = self._worker(table, "rule", "kind", "", KINDS, KINDS.__getitem__)
        return rule

    def _expand(self, table: Table, layouts: Mapping[str, Layout]) -> list[Table]:
        """One rule table for each limit of its profile; the table itself where it names none."""
        if "profile" not in table:
            return [table]
        name, what = str(table["profile"]), f"rule `{table.get('name', '?')}`"
        profile = self._profile(table, name, what)
        if profile is None:
            return []
        set_here, drive, safe = table.get("limits", {}), table.get("drive", []), table.get("fail_safe", False)
        if not isinstance(set_here, dict):
            self.told.add(
                table, "limits", f"{what}: `limits` should be a table, like {{ {profile.limit[0].name} = 1.0 }}"
            )
            return []
        known = [limit.name for limit in profile.limit]
        for given, key in ((set_here, "limits"), (drive, "drive"), (safe, "fail_safe")):
            for unknown in set(given) - set(known) if isinstance(given, dict) else ():
                self.told.add(table, key, f"{what}: profile `{name}` has no limit `{unknown}`{nearest(unknown, known)}")
        values: dict[str, tuple[Any, bool]] = {}  # limit -> its number, and whether the site gave it
        for limit in profile.limit:
            values[limit.name] = (set_here.get(limit.name, limit.value), limit.name in set_here)
            if values[limit.name][0] is None:
                text = f"leaves `{limit.name}` to the site; add limits = {{ {limit.name} = ... }}"
                self.told.add(table, None, f"{what}: profile `{name}` {text}")
            elif limit.name in set_here and limit.value is not None:
                cited = f"{limit.value:g} {profile.unit} of {limit.source}"
                self.overrides.append(f"{what}: {limit.name} is {set_here[limit.name]} {profile.unit}, not {cited}")
            for key in ("level", "delay", "clear_delay"):
                if table.get(key, getattr(limit, key)) != getattr(limit, key):
                    usual = getattr(limit, key)
                    self.overrides.append(f"{what}: {key} of {limit.name} is {table[key]}, not {usual} of `{name}`")
        for key in {"limit", "restore", "kind"} & table.keys():
            self.told.add(table, key, f"{what}: `{key}` comes from profile `{name}`; set `limits` to change numbers")
        own = {k: v for k, v in table.items() if k not in ("name", "profile", "limits", "drive", "fail_safe")}
        rows = []
        units = self._by_unit(table, profile.unit, layouts)
        for unit, watched in units.items():
            suffix = "" if unit == profile.unit else f".{slug(unit)}"
            for limit in profile.limit:
                value, given = values[limit.name]
                if not isinstance(value, int | float):
                    if value is not None:
                        self.told.add(table, "limits", f"{what}: `{limit.name}` should be a number, is {value!r}")
                    continue
                try:
                    found = rule(profile, limit, value, given, unit)
                except ValueError as error:
                    where = f"`{watched[0]}` is in {unit or 'no unit'}, profile `{name}` in {profile.unit or 'no unit'}"
                    self.told.add(table, "profile", f"{what}: {where}: {error}")
                    break
                name_here = f"{table.get('name', '?')}.{limit.name}{suffix}"
                if limit.value is not None:
                    self.legal[name_here] = rule(profile, limit, limit.value, False, unit)["limit"]
                row = {
                    "name": name_here,
                    **found,
                    **own,
                    **({"channel": watched} if suffix or len(units) > 1 else {}),
                    "drive": drive.get(limit.name, []) if isinstance(drive, dict) else drive,
                    "fail_safe": safe.get(limit.name, False) if isinstance(safe, dict) else safe,
                }
                rows.append(self.places.same(row, table))
        return rows

    def _profile(self, table: Table, name: str, what: str) -> Profile | None:
        file, _, inside = name.partition("/")
        path = self._find("profiles", file)
        try:
            if path and path not in self.trees:
                self.trees[path] = self._toml(path)
            tree: Any = self.trees[path] if path else None
        except ValueError as error:
            self.told.lines.append(str(error))
            return None
        for part in inside.split("/"):
            tree = tree.get(part) if isinstance(tree, dict) else None
        if not isinstance(tree, dict) or "limit" not in tree:
            self.told.add(
                table, "profile", f"{what}: no profile `{name}`{nearest(name, profile_names(self.path.parent))}"
            )
            return None
        return decode(tree, Profile, self.told, f"profile `{name}`")

    def _by_unit(self, table: Table, usual: str, layouts: Mapping[str, Layout]) -> dict[str, list[str]]:
        """The channels that a rule names, by unit. What cannot be resolved yet counts as the profile's own."""
        patterns = table.get("channel", [])
        try:
            probe = Bad(name="?", channel=[patterns] if isinstance(patterns, str) else list(patterns))
            row = [(s, p) for s, found in points([probe], layouts).items() for p in found]
        except TypeError:
            return {usual: []}  # the decoder will say so
        found: dict[str, list[str]] = {}
        for source, point in row:
            unit = layouts[source].unit[point.column]
            found.setdefault(usual if same(unit) == same(usual) else same(unit), []).append(point.channel)
        return found or {usual: []}


OUT = "a zone cannot be called `out`: that is where people are who are in none"


def _seconds(clock: str) -> float:
    """`08:30` after midnight."""
    hours, minutes = clock.split(":")
    return 3600.0 * int(hours) + 60.0 * int(minutes)


def _by_place(line: str) -> tuple[str, int]:
    file, _, rest = line.partition(":")
    number = rest.partition(":")[0]
    return file, int(number) if number.isdigit() else 0
