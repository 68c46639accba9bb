"""What the guide shows to be copied: TOML, command lines, names of files, in the order in which one reads them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
LANGUAGES = ("en", "zh")
TYPED = "journalctl|make|mkdir|python3|sudo|sudoedit|vedette"  # with what a line begins that people copy


def pages(language: str) -> list[Path]:
    """The README, then its chapters."""
    end = ".zh-CN.md" if language == "zh" else ".md"
    chapters = (path for path in (ROOT / "docs").glob("*.md") if path.name.endswith(".zh-CN.md") == (language == "zh"))
    return [ROOT / f"README{end}", *sorted(chapters)]


def toml(page: Path) -> list[str]:
    """Each block of TOML of a page."""
    return _fenced(page, "toml")


def blocks(language: str) -> list[str]:
    """Each block of TOML of the whole guide."""
    return [block for page in pages(language) for block in toml(page)]


def lines(page: Path) -> list[str]:
    """Each line of its blocks that is to be typed, without what is said of it behind a #."""
    shown = "\n".join(_fenced(page, ""))
    rows = [re.sub(r"\s#.*", "", row).rstrip() for row in shown.splitlines()]
    return [row for row in rows if re.match(rf"({TYPED}) ", row)]


def commands(page: Path) -> list[list[str]]:
    """Words of each line `vedette ...`: without sudo, and what the shell takes for itself (> |)."""
    found = [re.fullmatch(r"(?:sudo (?:-u \w+ )?)?(vedette .*?)(?:\s+[>|].*)?", line) for line in lines(page)]
    return [shlex.split(one[1]) for one in found if one]


def spans(page: Path) -> list[str]:
    """What stands between backticks in the text."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
    return re.findall(r"`([^`\n]+)`", text)


def _fenced(page: Path, kind: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.S | re.M)
    return [block for named, block in found if named == kind]
