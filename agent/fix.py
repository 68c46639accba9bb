"""What can be put right in a site file without asking anybody: `vedette check --fix`.

Only what has one meaning: a key or a choice that is misspelt and near to exactly one that is known, a number in quotes,
the encoding of a file that Notepad wrote, Chinese punctuation where TOML wants its own, what an older program took, a
secret that stands in the open. Which channel a rule means, and what a limit is, is never guessed. The text is edited
where the word stands, and each edit is read back: the file must then say exactly what it said before but for that word.
So comments, order and blanks stay as they are. Nothing is written here.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from difflib import SequenceMatcher, unified_diff
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from . import schema, secret
from .complaints import Places, Table, key_lines, read_toml, text_of
from .core.units import SCALES, SPELLINGS
from .profiles import SHIPPED, profiles_in

Schema = dict[str, Any]
LITERAL = re.compile(r""" "(?:[^"\\\n]|\\.)*" | '[^'\n]*' | (?<![\w.-])[+-]?\d[\w.+-]* """, re.VERBOSE)  # of one value
Where = tuple[Any, ...]  # keys and places in lists, from the top of the file

NEAR, APART = 0.75, 0.1  # how like a word must be, and how much more than the next one; project
WIDE = {0xFEE0 + code: code for code in range(0x21, 0x7F)}  # a keyboard that was left on full width: １７ ［ ，
MARKS = WIDE | str.maketrans("“”‘’【】。　\xa0", "\"\"''[].  ")  # 【 and 。 stand on the keys of [ and .
SECRET = ("password", "passphrase")  # of uplinks and lines; jt808 has a code beside
FILES = ("key", "pkcs12")  # secret files of the same


class Fixed(NamedTuple):
    """A site file as it would be."""

    before: str
    after: str
    said: list[str]  # what was put right, with its line
    secrets: dict[Path, str]  # files to be made, mode 0600
    modes: dict[Path, int]  # files that others may read, and the mode that they should have

    @property
    def differs(self) -> bool:
        return bool(self.said)

    def diff(self, name: str) -> Iterator[str]:
        """What changes, in the form of diff -u; without the secrets."""
        for line in unified_diff(
            self.before.splitlines(), self.after.splitlines(), name, f"{name} (fixed)", "", "", 1, ""
        ):
            for word in self.secrets.values():
                line = line.replace(word, "***")
            yield line


def fixed(path: Path) -> Fixed:
    """The file at `path`, put right as far as that goes. Raises `OSError`, or `ValueError` where it is no text."""
    data = path.read_bytes()
    text, said = _decoded(data, path.name)
    before = text
    text = _punctuated(text, path.name, said)
    try:
        work = _Work(path, text, said)
    except ValueError:
        return Fixed(before, text, said, {}, {})  # `vedette check` says where
    work.limits()
    work.table(work.data, _schema(), ())
    work.secrecy()
    return Fixed(before, work.text, said, work.secrets, work.modes)


def _decoded(data: bytes, name: str) -> tuple[str, list[str]]:
    """The text, and what was strange about its bytes. Raises `ValueError`."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16"), [f"{name}:1: it was UTF-16; it is UTF-8"]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        text = text_of(data)
    if text is None:
        raise ValueError(f"{name}:1: neither UTF-8 nor GBK text")
    return text, [f"{name}:1: it was GBK; it is UTF-8"]


def _punctuated(text: str, name: str, said: list[str]) -> str:
    """With the marks of TOML where Chinese ones stand, on lines that TOML cannot read."""
    lines, seen = text.splitlines(keepends=True), set[int]()
    while True:
        try:
            tomllib.loads("".join(lines))
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"\(at line (\d+),", str(error))
            n = int(found[1]) - 1 if found else -1
            if n < 0 or n in seen or n >= len(lines) or (line := _marks(lines[n])) == lines[n]:
                return text  # not what this can mend: leave it all as it is
            seen.add(n)
            lines[n] = line
            continue
        except ValueError:
            return text
        said += [f"{name}:{n + 1}: Chinese punctuation is that of TOML now" for n in sorted(seen)]
        return "".join(lines)


def _marks(line: str) -> str:
    """The marks translated that stand outside of strings and comments.

    >>> _marks('name ＝ “北矿，东” # “so”')
    'name = "北矿，东" # “so”'
    """
    parts = re.split(r'("(?:[^"\\]|\\.)*"|\'[^\']*\'|“[^”]*”|＂[^＂]*＂|‘[^’]*’|[#＃].*)', line)
    for i, part in enumerate(parts):
        if i % 2 == 0:
            parts[i] = part.translate(MARKS)
        elif part[0] in "“＂‘":
            parts[i] = f"{part[0].translate(MARKS)}{part[1:-1]}{part[-1].translate(MARKS)}"
        elif part[0] == "＃":
            parts[i] = f"#{part[1:]}"
    return "".join(parts)


def nearest(word: str, known: Iterable[str]) -> str:
    """The one known word that is meant; empty where that is none, or may be several.

    >>> nearest("Perod", ["period", "parity"]), nearest("lo", ["low", "log"])
    ('period', '')
    """
    names = list(known)
    plain = [name for name in names if name.casefold().replace("-", "_") == word.casefold().replace("-", "_")]
    if len(plain) == 1:
        return plain[0]
    ranked = sorted((SequenceMatcher(None, word.casefold(), name.casefold()).ratio(), name) for name in names)[::-1]
    if not ranked or ranked[0][0] < NEAR or (len(ranked) > 1 and ranked[0][0] - ranked[1][0] < APART):
        return ""
    return ranked[0][1]


def unit_of(text: str) -> str:
    """A unit as it is written, where only case or width of its letters is wrong; empty where there is nothing to mend.

    >>> unit_of("PPM"), unit_of("％"), unit_of("ppm"), unit_of("furlong")
    ('ppm', '%', '', '')
    """
    known = {unit for scale in SCALES.values() for unit in scale} | SPELLINGS.keys()
    meant = {SPELLINGS.get(unit, unit) for unit in known if _plain(unit) == _plain(text)}
    return "" if text in known or len(meant) != 1 else meant.pop()


def _plain(unit: str) -> str:
    return unicodedata.normalize("NFKC", unit).casefold()


@lru_cache(1)
def _schema() -> Schema:
    return schema.schema(comments=False)


class _Work:
    """One file under repair: its text, and what that says. Raises `ValueError` where it is no TOML."""

    def __init__(self, path: Path, text: str, said: list[str]) -> None:
        self.path, self.text, self.said = path, text, said
        self.data = tomllib.loads(text)
        self.secrets: dict[Path, str] = {}
        self.modes: dict[Path, int] = {}
        self.known: Schema = _schema()["definitions"]

    # -- edits ----------------------------------------------------------------------------------------

    def rename(self, where: Where, new: str, why: str) -> bool:
        """Another name for the key at `where`. Whether it was done."""
        above, old = where[:-1], str(where[-1])
        wanted = copy.deepcopy(self.data)
        table = _at(wanted, above)
        table[new] = table.pop(old)
        word = re.compile(rf"""(?<![\w.-])(["']?){re.escape(old)}\1(?=\s*[=.])""")
        header = re.compile(rf"""(?<![\w-])(["']?){re.escape(old)}\1(?![\w-])""")
        begin, end, lines = self._region(where)
        headers = [n for n in lines if self.text.splitlines()[n - 1].lstrip().startswith("[")]
        if headers:  # all that open it, be it several times
            rows = self.text.splitlines(keepends=True)
            for n in headers:
                rows[n - 1] = header.sub(new, rows[n - 1], count=1)
            return self._take("".join(rows), wanted, where, why)
        spots = [(found.start(), found.end()) for found in word.finditer(self.text, begin, end)]
        return self._first(spots, new, wanted, where, why)

    def put(self, where: Where, new: Any, why: str) -> bool:
        """Another value at `where`. Whether it was done."""
        wanted = copy.deepcopy(self.data)
        old = _at(wanted, where)
        _at(wanted, where[:-1])[where[-1]] = new
        begin, end, _ = self._region(where)
        spots = []
        for found in LITERAL.finditer(self.text, begin, end):
            try:
                said = tomllib.loads(f"x = {found[0]}")["x"]
            except ValueError:
                continue
            if type(said) is type(old) and said == old:
                spots.append((found.start(), found.end()))
        return self._first(spots, _toml(new), wanted, where, why)

    def _first(self, spots: Iterable[tuple[int, int]], new: str, wanted: Any, where: Where, why: str) -> bool:
        """Edit the first of these places of which the file then says what is wanted."""
        texts = (f"{self.text[:begin]}{new}{self.text[end:]}" for begin, end in spots)
        return any(self._take(text, wanted, where, why) for text in texts)

    def _take(self, text: str, wanted: Any, where: Where, why: str) -> bool:
        try:
            if tomllib.loads(text) != wanted:
                return False
        except ValueError:
            return False
        _, _, lines = self._region(where)
        self.said.append(f"{self.path.name}:{min(lines)}: {why}")
        self.text = text
        _replace(self.data, wanted)
        return True

    def _region(self, where: Where) -> tuple[int, int, list[int]]:
        """From where to where in the text a key and its value stand, and on which lines it is named."""
        known = key_lines(self.text)
        lines = sorted({line for path, line in known.items() if path[: len(where)] == where})
        above = where
        while above and above not in known:
            above = above[:-1]
        first = known.get(above, 1)
        lines = lines or [first]
        starts = [0]
        for row in self.text.splitlines(keepends=True):
            starts.append(starts[-1] + len(row))
        later = [line for line in known.values() if line > first]
        end = min(later, default=len(starts))
        return starts[first - 1], starts[min(end, len(starts)) - 1], lines

    # -- by shape -------------------------------------------------------------------------------------

    def table(self, table: Table, node: Schema, where: Where) -> None:
        """Keys and values of one table, down to the last."""
        node = self._kind(table, self._resolved(node), where)
        properties: Schema = node.get("properties", {})
        if node.get("additionalProperties") is False:
            for key in [key for key in table if key not in properties]:
                fit = [name for name in properties if name not in table and self._fits(table[key], properties[name])]
                if new := nearest(key, fit):
                    self.rename((*where, key), new, f"`{key}` is `{new}`")
        for key in [key for key in table if key in properties]:
            self._value(table, key, self._resolved(properties[key]), (*where, key))

    def _fits(self, value: Any, node: Schema) -> bool:
        """Whether a value may be meant for this key, by its type."""
        wanted = self._resolved(node).get("type")
        kinds: dict[str, Any] = {
            "object": dict,
            "array": list,
            "boolean": (bool, str),
            "string": (str, int),
            "number": (int, float, str),
        }
        return isinstance(value, kinds.get(str(wanted), object))

    def _value(self, table: Table, key: str, node: Schema, where: Where) -> None:
        value = table[key]
        if isinstance(value, dict):
            self.table(value, node, where)
        elif isinstance(value, list):
            inner = self._resolved(node.get("items", {})) if isinstance(node.get("items"), dict) else {}
            for i, one in enumerate(value):
                if isinstance(one, dict):
                    self.table(one, inner, (*where, i))
                elif isinstance(one, str) and (new := self._mended(one, inner, "")) is not None:
                    self.put((*where, i), new, f"{one!r} is {new!r}")
        elif (new := self._mended(value, node, str(key))) is not None:
            self.put(where, new, f"`{key}` = {_shown(key, value)} is {_shown(key, new)}")

    @staticmethod
    def _mended(value: Any, node: Schema, key: str) -> Any:
        """A value of the type that is wanted; None where it is, or nobody can tell."""
        if (choices := node.get("enum")) and value not in choices and isinstance(value, str):
            words = [choice for choice in choices if isinstance(choice, str)]
            numbers = {str(choice): choice for choice in choices if not isinstance(choice, str)}
            return numbers.get(value.strip()) or nearest(value.strip(), words) or None
        if isinstance(value, str):
            return _from_text(value.strip(), node.get("type", ""), key)
        if node.get("type") == "string" and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if node.get("type") == "integer" and isinstance(value, float) and value.is_integer():
            return int(value)
        return None

    def _resolved(self, node: Schema) -> Schema:
        while "$ref" in node:
            node = self.known[node["$ref"].rpartition("/")[2]]
        return node

    def _kind(self, table: Table, node: Schema, where: Where) -> Schema:
        """Of several kinds of a table the one that it says it is; said wrongly, that is put right."""
        if "anyOf" not in node:
            return node
        kinds: dict[str, Schema] = {}
        tag, usual, near = "", "", list[str]()
        for choice in map(self._resolved, node["anyOf"]):
            if "profile" in choice.get("required", ()):
                near = [key for key in table if nearest(key, ["profile"])] if "profile" not in table else []
                if near and "kind" not in table:
                    self.rename((*where, near[0]), "profile", f"`{near[0]}` is `profile`")
                if "profile" in table:
                    return choice
            for key, what in choice.get("properties", {}).items():
                if "const" in what:
                    tag, kinds[what["const"]] = key, choice
                    usual = usual if key in choice.get("required", ()) else what["const"]
        if not tag:
            return {}
        taken = {key for kind in kinds.values() for key in kind["properties"]}
        if tag not in table and (near := [key for key in table if key not in taken and nearest(key, [tag])]):
            self.rename((*where, near[0]), tag, f"`{near[0]}` is `{tag}`")
        said = str(table.get(tag, usual))
        if said not in kinds and ":" not in said and (new := nearest(said, kinds)):
            self.put((*where, tag), new, f"{tag} `{said}` is `{new}`")
            said = new
        return kinds.get(said, {})

    # -- by sense -------------------------------------------------------------------------------------

    def limits(self) -> None:
        """Numbers beside profiles, as the first programs took them."""
        for i, table in _tables(self.data, "rule"):
            self._limits(table, ("rule", i))

    def secrecy(self) -> None:
        """Secrets that somebody can read who should not."""
        for name in ("uplink", "bus"):
            for i, table in _tables(self.data, name):
                words = (*SECRET, "code") if table.get("kind") == "jt808" else SECRET
                for key in [key for key in words if isinstance(table.get(key), str)]:
                    self._secret(table, key, (name, i, key))
                self._others([str(table[key]) for key in FILES if isinstance(table.get(key), str)])
        if isinstance(web := self.data.get("web"), dict) and isinstance(web.get("key"), str):
            self._others([str(self.path.parent / web["key"])])

    def _limits(self, table: Table, where: Where) -> None:
        """Where the profile has one limit only, it is known which is meant."""
        if "profile" not in table or "limit" not in table or "limits" in table or "restore" in table:
            return
        file, _, inside = str(table["profile"]).partition("/")
        for root in (self.path.parent, SHIPPED):
            try:
                places = Places()
                profile = profiles_in(read_toml(root / "profiles" / f"{file}.toml", places), places).get(inside)
            except (OSError, ValueError):
                continue
            if profile is not None and len(profile.limit) == 1:
                name = profile.limit[0].name
                why = f"a number beside a profile is `limits = {{ {name} = {table['limit']} }}`"
                if self.put((*where, "limit"), {name: table["limit"]}, why):
                    self.rename((*where, "limit"), "limits", "`limit` is `limits`")
            return

    def _secret(self, table: Table, key: str, where: Where) -> None:
        """A secret in the open goes into a file of its own."""
        word = str(table[key])
        kind, _, place = word.partition(":")
        if kind == "file":
            self._others([f"/{place.lstrip('/')}"])
        if not word or kind in secret.KINDS:
            return
        name = re.sub(r"[^\w.-]", "_", str(table.get("name", where[0])))
        path = (self.path.parent / "secrets" / f"{name}.{key}").absolute()
        why = f"`{key}` stood here for everybody to read; it is in {path} now. Change it: files are copied"
        if self.put(where, f"file:{path}", why):
            self.secrets[path] = word

    def _others(self, files: Iterable[str]) -> None:
        """Secret files that everybody on this machine may read."""
        for name in files:
            path = Path(name)
            try:
                mode = path.stat().st_mode & 0o777
            except OSError:
                continue
            if mode & 0o007:
                self.modes[path] = mode & ~0o007
                self.said.append(f"{path}: everybody could read it, mode {mode:o}; it has {mode & ~0o007:o}")


def _tables(data: Table, key: str) -> list[tuple[int, Table]]:
    found = data.get(key, [])
    return [(i, one) for i, one in enumerate(found) if isinstance(one, dict)] if isinstance(found, list) else []


def _at(data: Any, where: Where) -> Any:
    for part in where:
        data = data[part]
    return data


def _replace(data: Any, wanted: Any) -> None:
    """Make `data` say what `wanted` says, and stay the same objects down to the leaves."""
    if isinstance(data, dict):
        for key in [key for key in data if key not in wanted]:
            del data[key]
    for key in wanted if isinstance(wanted, dict) else range(len(wanted)):
        old = data.get(key) if isinstance(data, dict) else data[key]
        if type(old) is type(wanted[key]) and isinstance(old, dict | list):
            _replace(old, wanted[key])
        else:
            data[key] = wanted[key]


def _toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _from_text(text: str, wanted: str, key: str) -> Any:
    """What stands in quotes and should not; None where that is nothing."""
    words: dict[str, Callable[[str], Any]] = {"integer": int, "number": float}
    if wanted in words:
        try:
            number = words[wanted](text)
        except ValueError:
            return None
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else number
    if wanted == "boolean":
        return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(text.lower())
    return unit_of(text) or None if key == "unit" and wanted == "string" else None


def _shown(key: Any, value: Any) -> str:
    return "(not shown)" if str(key) in SECRET else repr(value)
