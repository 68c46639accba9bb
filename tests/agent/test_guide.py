"""What the README, its chapters and SCALING tell people to type is there: verbs, options, files, targets of make."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.profiles import profiles
from tests.tools import guide

ROOT = guide.ROOT
PARSER = cli._parser()
VERBS = next(one.choices for one in PARSER._actions if isinstance(one, argparse._SubParsersAction))
PLACES = "agent|configs|docs|drivers|models|package|simulators|systemd|tests"
NAMED = re.compile(rf"(?<![\w./-])(?:{PLACES})(?:/[\w./-]*|(?:\.[a-z]\w*)+)")  # agent/desk.py, tests.bench of python -m
PAGES = {
    language: [*guide.pages(language), ROOT / f"SCALING{end}"] for language, end in (("en", ".md"), ("zh", ".zh-CN.md"))
}
EVERY = [pytest.param(page, id=page.name) for pages in PAGES.values() for page in pages]


def is_taken(words: list[str]) -> bool:
    """Whether the parser takes a whole line."""
    try:
        PARSER.parse_args(words[1:])
    except SystemExit as end:
        return end.code == 0
    return True


def unknown(words: list[str]) -> set[str]:
    """The verb of part of a line, if it is none; or those of its options that the verb has not."""
    if words[1] not in VERBS:
        return {words[1]}
    options = {word.partition("=")[0] for word in words[2:] if re.match("--?[a-z]", word)}
    return options - VERBS[words[1]]._option_string_actions.keys()


def is_there(name: str) -> bool:
    """Whether it is a file, a folder or a module of the repository, or a profile."""
    module = ROOT / name.replace(".", "/")
    return (ROOT / name).exists() or module.is_dir() or module.with_suffix(".py").exists() or name in profiles()


@pytest.mark.parametrize("page", EVERY)
def test_every_command_is_one(page: Path) -> None:
    shown = guide.commands(page)
    assert [words for words in shown if "..." not in words and not is_taken(words)] == []
    parts = [words for words in shown if "..." in words]
    parts += [span.split() for span in guide.spans(page) if re.match("vedette [a-z]", span)]
    assert [words for words in parts if unknown(words)] == []
    alone = {re.split("[ =]", span)[0] for span in guide.spans(page) if span.startswith("--")}
    assert alone <= {option for words in [*shown, *parts] for option in VERBS[words[1]]._option_string_actions}


@pytest.mark.parametrize("page", EVERY)
def test_every_setting_that_the_text_names_is_one(page: Path) -> None:
    settings = set(names(json.loads((ROOT / "configs/site.schema.json").read_text("utf-8"))))
    said = [re.match(r"\[+([a-z_.]+)\]+$|([a-z_]+) = ", span) for span in guide.spans(page)]
    assert {name for one in said if one for name in (one[1] or one[2]).split(".")} <= settings


def names(schema: Any) -> Iterator[str]:
    """Of all that may be set, at any depth."""
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
        schema = list(schema.values())
    for part in schema if isinstance(schema, list) else ():
        yield from names(part)


@pytest.mark.parametrize("page", EVERY)
def test_every_file_and_target_that_is_named_is_there(page: Path) -> None:
    text, typed = page.read_text("utf-8"), "\n".join([*guide.spans(page), *guide.lines(page)])
    assert [name for name in NAMED.findall(typed) if not is_there(name)] == []
    links = re.findall(r"\]\(([^)#:]+)\)", re.sub(r"```.*?```", "", text, flags=re.S))
    assert [link for link in links if not (page.parent / link).exists()] == []
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert set(re.findall(r"^make ([a-z-]+)", typed, re.M)) <= set(targets)
    decisions = re.findall(r"^## (\d+)", (ROOT / "DECISIONS.md").read_text("utf-8"), re.M)
    assert set(re.findall(r"DECISIONS (\d+)", text)) <= set(decisions)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r"vedette\[(\w+)\]", text)) <= extras.keys()


@pytest.mark.parametrize(("english", "chinese"), list(zip(*PAGES.values(), strict=True)), ids=lambda page: page.stem)
def test_both_languages_show_the_same_to_be_copied(english: Path, chinese: Path) -> None:
    """But for what people say and are called."""
    ours, theirs = ([shlex.split(line) for line in guide.lines(page)] for page in (english, chinese))
    assert alike(ours, theirs), [pair for pair in zip(ours, theirs, strict=False) if not alike(*pair)]
    ours, theirs = ([tomllib.loads(block) for block in guide.toml(page)] for page in (english, chinese))
    assert alike(ours, theirs), [pair for pair in zip(ours, theirs, strict=False) if not alike(*pair)]


def alike(ours: Any, theirs: Any) -> bool:
    """Whether two structures are the same but for Chinese words, and the language that a site speaks."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        ours, theirs = ({key: one for key, one in table.items() if key != "language"} for table in (ours, theirs))
        return ours.keys() == theirs.keys() and all(alike(one, theirs[key]) for key, one in ours.items())
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(alike, ours, theirs))
    return bool(ours == theirs or (isinstance(theirs, str) and not theirs.isascii()))
