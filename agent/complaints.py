"""TOML and CSV into frozen structs, with every fault found at once and the line that it stands on.

Nothing here knows what the tables mean; `agent/config.py` does. A decoded table remembers where each of
its keys was written, through merges with device profiles and point lists.
"""

from __future__ import annotations

import csv
import io
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo

from .secret import NAMES

Table = dict[str, Any]


class Places:
    """Where each table and key was written. Tables are told apart by identity and kept alive here."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[Table, str, int, dict[str, int]]] = {}

    def note(self, table: Table, file: str, line: int, keys: dict[str, int]) -> None:
        """Remember that `table` begins at `file:line` and its keys at the lines in `keys`."""
        self._of[id(table)] = (table, file, line, keys)

    def same(self, table: Table, as_table: Table) -> Table:
        """`table` was made from `as_table`: its keys stand where that one's stood."""
        if id(as_table) in self._of:
            _, file, line, keys = self._of[id(as_table)]
            self.note(table, file, line, keys)
        return table

    def at(self, table: Table, key: str | None = None) -> str:
        """`file:line` of a key, or of the table where the key is not written."""
        if id(table) not in self._of:
            return "?"
        _, file, line, keys = self._of[id(table)]
        return f"{file}:{keys.get(key, line) if key else line}"


class Complaints:
    """Faults found so far, each as one line: place, what is wrong, what to do."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.lines: list[str] = []

    def add(self, table: Table, key: str | None, text: str) -> None:
        """Complain about `key` of `table` (or the table itself)."""
        line = f"{self.places.at(table, key)}: {text}"
        if line not in self.lines:
            self.lines.append(line)


# -- reading ----------------------------------------------------------------------------------------

_HEADER = re.compile(r"^\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
_STRING = re.compile(r'"""|\'\'\'|"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*')


def read_toml(path: Path, places: Places, shown: str | None = None) -> Table:
    """The file as a table. Raises `OSError`, or `ValueError` whose text has the place."""
    name = shown or path.name
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}:1: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line = found[1] if found else str(text.count("\n") + 1)
        why = re.sub(r"\s*\(at .*\)", "", str(error))
        raise ValueError(f"{name}:{line}: not TOML: {why}") from None
    except ValueError as error:  # a number beyond what Python reads
        raise ValueError(f"{name}: {error}") from None
    _note_all(table, (), key_lines(text), places, name, 1)
    return table


def _note_all(
    table: Table, path: tuple[Any, ...], lines: dict[tuple[Any, ...], int], places: Places, file: str, above: int
) -> None:
    line = lines.get(path, above)
    keys = {key: lines.get((*path, key), line) for key in table}
    places.note(table, file, line, keys)
    for key, value in table.items():
        if isinstance(value, dict):
            _note_all(value, (*path, key), lines, places, file, keys[key])
        elif isinstance(value, list):
            for i, item in enumerate(value):
                if isinstance(item, dict):
                    _note_all(item, (*path, key, i), lines, places, file, keys[key])


def key_lines(text: str) -> dict[tuple[Any, ...], int]:
    """Line of every table and key that is written at the start of a line.

    >>> key_lines("a = 1\\n[[b]]\\nc = 2\\n[[b]]\\n[b.d]\\ne = 3")[("b", 1, "d", "e")]
    6
    """
    lines: dict[tuple[Any, ...], int] = {}
    count: dict[tuple[Any, ...], int] = {}
    here: tuple[Any, ...] = ()
    depth, quote = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not quote and depth == 0:
            if header := _HEADER.match(line):
                parts = [p.strip("\"'") for p in _PART.findall(header[2])]
                here = ()
                for i, part in enumerate(parts):
                    here = (*here, part)
                    if header[1] == "[[" and i == len(parts) - 1:
                        count[here] = count.get(here, -1) + 1
                    if here in count:
                        lines.setdefault(here, number)
                        here = (*here, count[here])
                lines[here] = number
                continue
            if key := _KEY.match(line):
                lines[(*here, *(p.strip("\"'") for p in _PART.findall(key[1])))] = number
        quote, opened = _open_ends(line, quote)
        depth = max(0, depth + opened)
    return lines


def _open_ends(line: str, quote: str) -> tuple[str, int]:
    """The multi-line string left open at the end of the line, and by how much brackets are left open."""
    if quote:
        end = line.find(quote)
        if end < 0:
            return quote, 0
        line = line[end + 3 :]
    bare, position = "", 0
    for found in _STRING.finditer(line):
        bare += line[position : found.start()]
        position = found.end()
        if found[0] in ('"""', "'''"):
            end = line.find(found[0], found.end())
            if end < 0:
                return found[0], _brackets(bare)
            return _open_ends(bare + line[end + 3 :], "")
    return "", _brackets(bare + line[position:])


def _brackets(text: str) -> int:
    return text.count("[") + text.count("{") - text.count("]") - text.count("}")


def read_points(path: Path, places: Places) -> list[Table]:
    """A point list: CSV with a header line, comma or semicolon, UTF-8 or GBK. Empty cells are left out.

    Numbers and true/false are recognised; `a;b` in a cell of a comma file stays text. Raises `OSError`
    or `ValueError` with the place.
    """
    data = path.read_bytes()
    text = text_of(data)
    if text is None:
        raise ValueError(f"{path.name}:1: neither UTF-8 nor GBK text")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=";" if first.count(";") > first.count(",") else ",")
    rows: list[Table] = []
    header: list[str] = []
    for row in _rows(reader, path.name):
        if not any(cell.strip() for cell in row) or row[0].startswith("#"):
            continue
        if not header:
            header = [cell.strip() for cell in row]
            if "key" not in header:
                raise ValueError(
                    f"{path.name}:{reader.line_num}: the first line must name the columns, `key` among them"
                )
            continue
        if len(row) > len(header):
            raise ValueError(f"{path.name}:{reader.line_num}: {len(row)} cells under {len(header)} column names")
        table = {name: _cell(cell.strip()) for name, cell in zip(header, row, strict=False) if cell.strip()}
        places.note(table, path.name, reader.line_num, {})
        rows.append(table)
    return rows


def _rows(reader: Any, name: str) -> Iterator[list[str]]:
    """The reader's rows. Raises `ValueError` with the place where it is no CSV."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"{name}:{reader.line_num}: {error}") from None


_SIGNS = set("°²³µμΩ·±×‰℃‘’“”…–—−")  # what a UTF-8 point list may hold beside ASCII and Chinese


def text_of(data: bytes) -> str | None:
    """UTF-8 or GBK, or None. Short GBK words can be valid UTF-8 by chance; then the letters look wrong.

    >>> text_of("水位".encode("gbk")), text_of("°C".encode())
    ('水位', '°C')
    """
    found = []
    for encoding in ("utf-8-sig", "gbk"):
        try:
            found.append(data.decode(encoding))
        except UnicodeDecodeError:
            continue
    likely = [text for text in found if all(c.isascii() or c in _SIGNS or c >= "\u3000" for c in text)]
    return next(iter(likely or found), None)


def _cell(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.startswith("["):
        try:
            return tomllib.loads(f"x = {text}")["x"]
        except tomllib.TOMLDecodeError:
            return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


# -- decoding ---------------------------------------------------------------------------------------

T = typing.TypeVar("T")


def decode(table: Table, type_: type[T], told: Complaints, what: str, ignore: Iterable[str] = ()) -> T | None:
    """`table` as the struct `type_`, or None after telling every fault in it and below it.

    `what` names the table for the reader ("device `heading`"); `ignore` are keys that somebody else reads.
    """
    try:
        return msgspec.convert({key: value for key, value in table.items() if key not in ignore}, type_)
    except msgspec.ValidationError:
        before = len(told.lines)  # something is wrong: look at each key by itself
    clean = _decode(table, type_, told, what, frozenset(ignore))
    if len(told.lines) > before:
        return None
    try:
        return msgspec.convert(clean, type_)
    except msgspec.ValidationError as error:  # what __post_init__ finds: faults between fields
        _blame(table, type_, str(error), told, what)
        return None


def _blame(table: Table, type_: Any, error: str, told: Complaints, what: str) -> None:
    """Complain where the words of a struct's own check point: at a value that they quote, or a key."""
    key, text = _words(error)

    def quoted(below: Table) -> tuple[Table, str] | None:
        for name, value in below.items():
            if isinstance(value, str) and (
                repr(value) in text or (len(value) > 3 and value in text and name != "name")
            ):
                return below, name
            for item in value if isinstance(value, list) else ():
                if isinstance(item, dict) and (found := quoted(item)):
                    return found
        return None

    keys = [field.encode_name for field in msgspec.structs.fields(type_)]
    named = sorted((found.start(), k) for k in keys if k in table and (found := re.search(rf"\b{k}\b", text)))
    place, key = quoted(table) or (table, key or (named[0][1] if named else None))
    told.add(place, key, f"{what}: {text}")


@lru_cache
def _fields(type_: Any) -> tuple[dict[str, Any], dict[str, FieldInfo]]:
    """Types by name and fields by key of a struct."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
    return typing.get_type_hints(type_, include_extras=True), fields


def _decode(table: Table, type_: Any, told: Complaints, what: str, ignore: frozenset[str] = frozenset()) -> Table:
    hints, known = _fields(type_)
    clean: Table = {}
    meant: set[str] = set()  # keys that are there under a misspelt name
    for key, value in table.items():
        if key in ignore:
            continue
        if key not in known:
            told.add(table, key, f"{what}: unknown key `{key}`{nearest(key, known)}")
            meant |= set(get_close_matches(key, known, 1, 0.6))
            continue
        inner = _struct_of(hints[known[key].name])
        if inner is not None and isinstance(value, dict):
            clean[key] = _checked(value, inner, told, f"{what}, {key}")
        elif inner is not None and isinstance(value, list) and all(isinstance(item, dict) for item in value):
            clean[key] = [
                _checked(item, inner, told, f"{what}, {key} `{item.get('name', item.get('key', i + 1))}`")
                for i, item in enumerate(value)
            ]
        else:
            try:
                msgspec.convert(value, hints[known[key].name])
                clean[key] = value
            except msgspec.ValidationError as error:
                why = _words(str(error))[1] + _choices(hints[known[key].name])
                told.add(table, key, f"{what}: `{key}` = {_shown(value) if key not in NAMES else '(not shown)'}: {why}")
    for key, field in known.items():
        if field.required and key not in table and key not in meant:
            told.add(table, None, f"{what}: `{key}` is missing")
    return clean


def _checked(table: Table, type_: Any, told: Complaints, what: str) -> Table:
    """The cleaned table, after its struct was tried on its own so that its faults carry its own line."""
    before = len(told.lines)
    clean = _decode(table, type_, told, what)
    if len(told.lines) == before:
        try:
            msgspec.convert(clean, type_)
        except msgspec.ValidationError as error:
            _blame(table, type_, str(error), told, what)
    return clean


def _struct_of(hint: Any) -> type[Struct] | None:
    """The struct in `Struct`, `list[Struct]`, `Struct | None`, ...; None where there is none."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        return hint
    if typing.get_origin(hint) in (list, tuple, typing.Union, types.UnionType, typing.Annotated):
        for inner in typing.get_args(hint):
            found = _struct_of(inner) if not isinstance(inner, str) else None
            if found is not None:
                return found
    return None


def _words(error: str) -> tuple[str | None, str]:
    """A decoder's complaint in plain words, and the key that it names, if it does."""
    text, _, path = error.partition(" - at `")
    named = re.match(r"`(\w+)`", text)
    key = path.rstrip("`").removeprefix("$").strip(".").split("[")[0] or (named[1] if named else None)
    for pattern, words in _PLAIN:
        text = re.sub(pattern, words, text)
    return key, _TYPE.sub(lambda word: _TYPES[word[0]], text)


_PLAIN = (
    (r"Expected `(.+?)`, got `(.+?)`", r"should be \1, is \2"),
    (r"Expected `(.+?)` (>=|<=|>|<) (.+)", r"must be \2 \3"),
    (r"Expected `str` matching regex '\^\[\\\\?w\.-\]\+\$'", "may only have letters, digits, . _ and -"),
    (r"Expected `str` matching regex '(.+)'", r"must look like \1"),
    (r"Expected `array` of length (.+?), got (\d+)", r"should have \1 entries, has \2"),
    (r"Expected `array` of length (.+)", r"should have \1 entries"),
    (r"Invalid enum value (.+)", r"\1 is not one of the choices"),
    (r"Object missing required field `(.+?)`", r"`\1` is missing"),
)
_TYPES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
_TYPE = re.compile(rf"(?<!')\b({'|'.join(_TYPES)})\b(?!')")  # in quotes it is what somebody wrote


def _choices(hint: Any) -> str:
    """The words that a field allows, where it allows only some."""
    if typing.get_origin(hint) is typing.Literal:
        return ": " + ", ".join(str(word) for word in typing.get_args(hint) if word != "")
    return ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or the choices when there are few.

    >>> nearest("perod", ["period", "unit"])
    '; did you mean `period`?'
    """
    names = sorted(set(known))
    close = get_close_matches(name, names, 1, 0.6)
    if close:
        return f"; did you mean `{close[0]}`?"
    if 0 < len(names) <= 12:
        return "; known: " + ", ".join(names)
    return ""
