"""What a verb and a person's terminal owe each other: answers, colour, progress, language, where the site file is.

Answers go to the standard output, as text or as JSON; everything else to the standard error: complaints, progress.
Colour and progress are for terminals only. Nothing here knows what is said.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

import msgspec

from .core.words import Language

T = TypeVar("T")

SITE = "VEDETTE_CONFIG"  # the variable that names the site file
SYSTEM = Path("/etc/vedette/site.toml")  # where the package keeps it
STYLES: Mapping[str, str] = {  # SGR; nothing is green: grey until something is wrong
    "red": "1;97;41",
    "orange": "1;30;48;5;208",
    "yellow": "1;30;43",
    "blue": "1;97;44",
    "bad": "1;31",
    "doubt": "33",
    "dim": "2",
    "bold": "1",
}
COMMON = {"--json": 0, "--lang": 1, "-c": 1, "--config": 1}  # options of every verb, and how many words follow
BREATH = 0.2  # s between two words of progress
PATIENCE = 0.5  # s that a work may take before it says how far it is


def site_file() -> str:
    """The site file where none is said: what the variable names, else the one here, else the package's."""
    if named := os.environ.get(SITE, ""):
        return named
    return str(SYSTEM) if not os.path.exists("site.toml") and SYSTEM.exists() else "site.toml"


def answer(args: argparse.Namespace, facts: Any, text: str) -> int:
    """One answer, as JSON or as text. The exit code of all that went well."""
    print(msgspec.json.format(msgspec.json.encode(facts), indent=2).decode() if args.json else text)
    return 0


def complain(args: argparse.Namespace, text: str, code: int, verb: str = "", shown: str = "") -> int:
    """Why `verb` was not done; `shown`: the same in the language of people, where that is another. The code."""
    if getattr(args, "json", False):
        print(msgspec.json.encode({"error": text}).decode())
    print(f"vedette {verb}".rstrip() + f": {shown or text}", file=sys.stderr)
    return code


def language(args: argparse.Namespace, usual: Language = "en") -> Language:
    """In which language people are told: as they say, else as their machine does, else as the site's file does."""
    said: Language | None = getattr(args, "lang", None)
    return said or spoken(os.environ) or usual


def of_site(args: argparse.Namespace) -> Language:
    """The language of the site file that is meant; English where it says none, or cannot be read."""
    try:
        said = tomllib.loads(Path(args.config).read_text("utf-8"))["site"]["language"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "en"
    return "zh" if said == "zh" else "en"


def spoken(environ: Mapping[str, str]) -> Language | None:
    """What the locale says.

    >>> spoken({"LANG": "zh_CN.UTF-8"}), spoken({"LC_ALL": "en_GB", "LANG": "zh_CN"}), spoken({"LANG": "C.UTF-8"})
    ('zh', 'en', None)
    """
    said = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "zh" if said.startswith("zh") else "en" if said.startswith("en") else None


def asked(words: Sequence[str]) -> Language:
    """In which language help is told, before any word is understood: as --lang or else the locale says.

    >>> asked(["check", "--help", "--lang=zh"]), asked(["alarms", "--by", "Li", "--lang", "en"])
    ('zh', 'en')
    """
    pairs = zip(words, (*words[1:], ""), strict=False)
    said = [then if word == "--lang" else word[7:] for word, then in pairs if word.partition("=")[0] == "--lang"]
    return spoken({"LANG": said[-1] if said else ""}) or spoken(os.environ) or "en"


def columns(text: str) -> int:
    """How wide a terminal shows it.

    >>> columns("CH4 甲烷")
    8
    """
    return sum(1 + (unicodedata.east_asian_width(sign) in "FW") for sign in text)


def turned(words: Sequence[str]) -> list[str]:
    """What every verb takes may stand before the verb as well.

    >>> turned(["-c", "site.toml", "check", "--all"]), turned(["--lang=zh", "--help"])
    (['check', '-c', 'site.toml', '--all'], ['--help', '--lang=zh'])
    """
    n = 0
    while n < len(words) and words[n].partition("=")[0] in COMMON:
        n += 1 + ("=" not in words[n] and COMMON[words[n]])
    return [words[n], *words[:n], *words[n + 1 :]] if n < len(words) else []


def has_colour(stream: TextIO) -> bool:
    """Whether it is a terminal that shows colour, and nobody minds (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


class Ink:
    """Colour on a terminal, nothing on a pipe."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.on = has_colour(stream or sys.stdout)

    def __call__(self, style: str, text: str) -> str:
        """The text in a style of `STYLES`; as it is in one that is none."""
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self.on and style in STYLES else text


class Progress:
    """How far a long work is: one line on the standard error of a terminal, which goes when the work is done.

    with Progress("replay", 1000) as progress:
        for n in ...: progress(n)
    """

    def __init__(self, what: str, of: float = 0.0, unit: str = "") -> None:
        self.what, self.of, self.unit = what, of, unit
        self.shown = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._begin = self._last = time.monotonic()
        self._written = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def __call__(self, done: float, note: str = "") -> None:
        """So far it has come, of `of`."""
        now = time.monotonic()
        if not self.shown or now - self._begin < PATIENCE or now - self._last < BREATH:
            return
        self._last = now
        self._written = True
        sys.stderr.write("\r\x1b[K" + line(self.what, done, self.of, self.unit, now - self._begin, note)[: _wide() - 1])
        sys.stderr.flush()

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """The same items, counted as they go by."""
        for n, item in enumerate(items):
            self(n)
            yield item

    def clear(self) -> None:
        """Take the line away, so that something else can be written."""
        if self._written:
            self._written = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def line(what: str, done: float, of: float, unit: str, seconds: float, note: str = "") -> str:
    """Progress in words.

    >>> line("replay", 250, 1000, "frames", 10.0)
    'replay  25 % of 1000 frames, 30 s to go'
    >>> line("detect", 250, 0, "rows", 2.0)
    'detect  250 rows, 2 s'
    """
    many = f" {unit}" if unit else ""
    if of > 0:
        rest = seconds * (of - done) / done if done > 0 else float("nan")
        ends = f", {rest:.0f} s to go" if rest == rest and rest >= 0 else ""
        text = f"{what}  {min(100.0, 100 * done / of):.0f} % of {of:g}{many}{ends}"
    else:
        text = f"{what}  {done:g}{many}, {seconds:.0f} s"
    return f"{text}  {note}".rstrip()


def _wide() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


class Stop(Exception):
    """A verb cannot do what it was asked for: why, and the exit code (sysexits(3))."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextlib.contextmanager
def waiting(what: str, of: float = 0.0) -> Iterator[None]:
    """Show that a work goes on that does not say how far it is; `of`: s that it takes, where that is known."""
    ended = threading.Event()
    with Progress(what, of, "s") as progress:

        def tick() -> None:
            begin = time.monotonic()
            while not ended.wait(BREATH):
                progress(round(time.monotonic() - begin))

        ticker = threading.Thread(target=tick, name="progress", daemon=True)
        if progress.shown:
            ticker.start()
        try:
            yield
        finally:
            ended.set()
            if progress.shown:
                ticker.join()
