"""A JSON schema of the site file, for editors: `vedette schema`, published as `configs/site.schema.json`.

Made from the very structs that the file is decoded into: their types and bounds, and the comments beside their fields.
What the reader of the file adds to the structs (profiles, point lists, one channel instead of a list) is written here.
A schema knows shapes, not sense: whether a channel exists, and a limit fits, says `vedette check`.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
import tokenize
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

import drivers
import models

from . import config, evidence, interlocks, limits, outbox, upkeep, uplink
from .commands import Issuer
from .commands import Rules as CommandRules
from .core.alarm import LEVELS
from .core.rules import KINDS, Item, Rule
from .window import Web

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"  # what editors of TOML read
REFERENCE = "#/definitions/{name}"
PLAIN: Mapping[str, type[Struct]] = {  # tables of one kind
    "site": config.Site,
    "store": outbox.Store,
    "evidence": evidence.Shelf,
    "shifts": config.Shifts,
    "web": Web,
    "commands": CommandRules,
    "issuer": Issuer,
    "settable": limits.Bounds,
    "zone": config.Zone,
    "item": Item,
    "self": upkeep.Own,
}
SINGLE = ("site", "store", "evidence", "shifts", "web", "commands")  # [table]; all others are [[table]]
NEW_KIND = r"^[\w.]+:[\w]+$"  # of somebody else's package
WORD = r"\w\u0080-\uffff"  # what Python means by it, and other languages do not: Chinese names are names

ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
FORM = {"type": "integer", "minimum": 1, "maximum": config.FORMAT, "description": "of this file"}
PROFILE = "limits that ship, or of `profiles/` beside the file; `vedette profiles` lists them"


def schema(comments: bool = True) -> Schema:
    """All of it; without the comments of fields where only shapes are asked for."""
    kinds = _kinds()
    types = [*PLAIN.values(), *(type_ for table in kinds.values() for type_ in table[2].values())]
    _, found = msgspec.json.schema_components(types, ref_template=REFERENCE, schema_hook=lambda _: {})
    names = {reference: _name(type_, found) for type_, reference in ((t, t) for t in _structs(types))}
    for type_, name in names.items() if comments else ():
        _describe(type_, found[name])
    _open(found, names)
    tables: Schema = {}
    for key, type_ in PLAIN.items():
        tables[key] = {"$ref": REFERENCE.format(name=names[type_])}
    profiled = _profiled(found, names)  # before any kind says its own
    for key, (tag, default, known) in kinds.items():
        choices = [_kind(found, names[type_], tag, word, word == default) for word, type_ in known.items()]
        if key == "rule":
            choices.append(profiled)
        if key in ("bus", "uplink", "detector"):
            own = {"type": "object", "properties": {tag: {"type": "string", "pattern": NEW_KIND}}, "required": [tag]}
            choices.append(own | {"title": "of another package"})
        tables[key] = {"anyOf": choices}
    properties = {key: table if key in SINGLE else {"type": "array", "items": table} for key, table in tables.items()}
    for one in (*found.values(), *tables.values()):
        _tidy(one)
    return {
        "$schema": DRAFT,
        "title": "Vedette site file",
        "description": "What stands where, what is watched, who is told. `vedette check` says what a schema cannot.",
        "type": "object",
        "properties": {"format": FORM} | dict(sorted(properties.items())),
        "required": ["site", "bus"],
        "additionalProperties": False,
        "definitions": dict(sorted(found.items())),
    }


def text() -> str:
    """As it is published."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=1).decode() + "\n"


def _kinds() -> dict[str, tuple[str, str, dict[str, type[Struct]]]]:
    """Tables of several kinds: the key that says which, the usual one, and each with its struct."""
    return {
        "bus": ("driver", "modbus", {word: drivers.driver(word) for word in drivers.DRIVERS}),
        "uplink": ("kind", "mqtt", {word: uplink.find(word) for word in uplink.UPLINKS}),
        "detector": ("kind", "", {word: models.detector(word) for word in models.DETECTORS}),
        "rule": ("kind", "", {word: type_ for word, type_ in KINDS.items() if type_ is not Item}),
        "interlock": ("kind", "", dict(interlocks.KINDS)),
    }


# -- what the reader of the file adds -----------------------------------------------------------------


def _kind(found: dict[str, Schema], name: str, tag: str, word: str, usual: bool) -> Schema:
    """The struct of one kind, with the key that says so."""
    one = found[name]
    title = {"const": word, "description": f"{word}: {one.get('description', '').partition(chr(10))[0]}"}
    one["properties"] = {tag: title} | {key: what for key, what in one["properties"].items() if key != tag}
    one["required"] = sorted({*one.get("required", ()), *(() if usual else (tag,))} - ({tag} if usual else set()))
    return {"$ref": REFERENCE.format(name=name)}


def _open(found: dict[str, Schema], names: Mapping[type[Struct], str]) -> None:
    """Where the reader takes more than the struct: one name for a list of one, rows over those of a profile."""
    for type_, name in names.items():
        one = found[name]
        properties = one["properties"]
        if (tag := type_.__struct_config__.tag_field) in properties:  # each kind says it itself
            del properties[tag]
            one["required"] = [key for key in one["required"] if key != tag]
        if issubclass(type_, Rule) or ("channel" in properties and _is_list_of_text(properties["channel"])):
            for key in ("channel", "beside", "item"):
                if key in properties and _is_list_of_text(properties[key]):
                    properties[key] = {**ONE_OR_MORE, **_only(properties[key], "description", "default")}
    device = found[names[_struct("drivers.modbus", "Device")]]
    row = found[names[_struct("drivers.registers", "Channel")]]
    texts = {
        "profile": "a device profile: what all devices of this kind have; rows of the same key are laid over it",
        "points": "a point list beside the file: CSV with a header line",
        "maker": "for people",
        "model": "for people",
        "note": "for people",
    }
    device["properties"] |= {key: {"type": "string", "description": text} for key, text in texts.items()}
    device["required"] = ["name"]
    row["properties"] |= {
        "profile": {"type": "string", "description": PROFILE},
        "anomaly": {"type": "boolean", "default": False, "description": "alarm on what is unlike its own past"},
    }
    row["required"] = ["key"]  # the rest may come from the profile or the list


def _profiled(found: dict[str, Schema], names: Mapping[type[Struct], str]) -> Schema:
    """A rule that takes its limits from a profile."""
    base = found[names[KINDS["high"]]]["properties"]
    one_of_all = "for all limits, or for some by name"
    own = {
        "profile": {"type": "string", "description": PROFILE},
        "limits": {
            "type": "object",
            "additionalProperties": {"type": "number"},
            "description": "numbers of the site's own, in the profile's unit",
        },
        "drive": {"anyOf": [base["drive"], {"type": "object"}], "description": f"outputs, {one_of_all}"},
        "fail_safe": {"anyOf": [{"type": "boolean"}, {"type": "object"}], "description": one_of_all},
        "level": {"enum": list(LEVELS), "description": "another level than the profile's"},
    }
    kept = {key: what for key, what in base.items() if key not in ("limit", "restore")}
    description = "Limits of a profile, each a rule of its own."
    found["ProfileRule"] = {
        "title": "ProfileRule",
        "description": description,
        "type": "object",
        "properties": kept | own,
        "required": ["channel", "name", "profile"],
        "additionalProperties": False,
    }
    return {"$ref": REFERENCE.format(name="ProfileRule")}


def _tidy(one: Any) -> None:
    """TOML knows no null; and other programs have other regular expressions."""
    if isinstance(one, list):
        for inner in one:
            _tidy(inner)
    if not isinstance(one, dict):
        return
    if isinstance(pattern := one.get("pattern"), str):
        one["pattern"] = pattern.replace(r"\w", WORD)
    if {"type": "null"} in (choices := one.get("anyOf", [])):
        left = [choice for choice in choices if choice != {"type": "null"}]
        del one["anyOf"]
        one |= left[0] if len(left) == 1 else {"anyOf": left}
    if "default" in one and one["default"] is None:
        del one["default"]
    if "prefixItems" in one:  # of a newer draft
        one |= {"items": one.pop("prefixItems"), "additionalItems": False}
    for inner in one.values():
        _tidy(inner)


def _is_list_of_text(what: Schema) -> bool:
    return what.get("type") == "array" and what.get("items") == {"type": "string"}


def _only(what: Schema, *keys: str) -> Schema:
    return {key: what[key] for key in keys if key in what}


# -- comments of fields -------------------------------------------------------------------------------


def _structs(types: Iterable[Any]) -> list[type[Struct]]:
    """All structs in these types, down to the last."""
    found: dict[type[Struct], None] = {}

    def visit(hint: Any) -> None:
        if isinstance(hint, type) and issubclass(hint, Struct):
            if hint not in found:
                found[hint] = None
                hints = typing.get_type_hints(hint, include_extras=True)
                for name in hint.__struct_fields__:
                    visit(hints[name])
            return
        for inner in typing.get_args(hint):
            if not isinstance(inner, str | int | float):
                visit(inner)

    for type_ in types:
        visit(type_)
    return list(found)


def _struct(module: str, name: str) -> Any:
    return getattr(__import__(module, fromlist=[name]), name)


def _name(type_: type[Struct], found: Mapping[str, Schema]) -> str:
    """Under which name msgspec has put it: the short one unless two have it."""
    whole = re.sub(r"[^a-zA-Z0-9.\-_]", "_", f"{type_.__module__}.{type_.__qualname__}")
    return whole if whole in found else type_.__name__


def _describe(type_: type[Struct], one: Schema) -> None:
    """The comments beside the fields, which say unit and meaning."""
    if "description" in one:
        one["description"] = inspect.cleandoc(one["description"])
    for above in reversed(type_.__mro__):
        if isinstance(above, type) and issubclass(above, Struct) and above is not Struct:
            for name, comment in _comments(above).items():
                if name in one.get("properties", {}):
                    one["properties"][name]["description"] = comment


@lru_cache
def _comments(type_: type[Struct]) -> dict[str, str]:
    """By field: what is written beside it, and on lines of their own below.

    >>> _comments(config.Site)["language"]
    'of the texts that operators read'
    """
    classes, lines = _read(type_.__module__)
    here = classes.get(type_.__name__)
    if here is None:
        return {}
    first, last = here.lineno, here.end_lineno or here.lineno
    comments = {first - 1 + n: said for n, said in _said("\n".join(lines[first - 1 : last]) + "\n")}
    found: dict[str, str] = {}
    for statement in here.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            end = statement.end_lineno or statement.lineno
            said = [comments[end][1]] if end in comments else []
            while end + 1 in comments and comments[end + 1][0] and said:
                end += 1
                said.append(comments[end][1])
            found[statement.target.id] = " ".join(said)
    return {name: said for name, said in found.items() if said}


@lru_cache
def _read(module: str) -> tuple[dict[str, ast.ClassDef], list[str]]:
    """The classes of a module, and its lines; nothing where there is no source."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (OSError, TypeError, KeyError):
        return {}, []
    return {one.name: one for one in ast.parse(source).body if isinstance(one, ast.ClassDef)}, source.splitlines()


def _said(source: str) -> Iterator[tuple[int, tuple[bool, str]]]:
    """Line, whether the comment stands alone there, and its words."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = token.line[: token.start[1]].strip() == ""
            yield token.start[0], (alone, token.string.lstrip("# ").split("  # ")[0])
