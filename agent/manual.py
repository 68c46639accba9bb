"""`vedette man`, `vedette completion`, and what `--help` says beyond the options: from the parser and `handbook.py`.

    vedette man > vedette.1                    for man(1); on a terminal it is shown
    vedette completion bash > vedette          for bash-completion; zsh and fish as well

A verb of which nothing stands in the handbook is told by its row alone.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from . import __version__, terminal
from .core.words import Language
from .handbook import (
    ABOUT,
    ANSWERS,
    DESCRIPTION,
    ENVIRONMENT,
    EXAMPLES,
    EXITS,
    FILES,
    GROUPS,
    MORE,
    SHAPES,
    SUPPLEMENT,
    TEXT,
    ZH,
)
from .terminal import Stop

SHELLS = ("bash", "zsh", "fish")
WORDS = ("alarms", "profiles", "models", "evidence")  # that are looked up while somebody types


class Verb(NamedTuple):
    """One verb as its parser has it."""

    name: str
    help: str
    parser: argparse.ArgumentParser


def add(verb: Callable[..., Any], whole: argparse.ArgumentParser) -> None:
    """The verbs' arguments."""
    sub = verb("man", _man, "the manual: shown on a terminal, else roff for man(1)")
    sub.set_defaults(whole=whole)
    sub = verb("completion", _completion, "a script that completes commands in bash, zsh or fish")
    sub.add_argument("shell", choices=(*SHELLS, *WORDS), help="a shell; else words that one offers")
    sub.add_argument("-c", "--config", default=terminal.site_file(), metavar="FILE", help=argparse.SUPPRESS)
    sub.set_defaults(whole=whole)


def verbs(parser: argparse.ArgumentParser) -> list[Verb]:
    """In the order of their rows."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            return [Verb(name, helps.get(name, ""), sub) for name, sub in action.choices.items()]
    return []


def grouped(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, list[Verb]]]:
    """Title in both languages and verbs of each group; what is in none comes last."""
    known = {one.name: one for one in verbs(parser)}
    for en, zh, names in GROUPS.values():
        if mine := [known.pop(name) for name in names if name in known]:
            yield en, zh, mine
    if known:
        yield "more", "其他", list(known.values())


def overview(parser: argparse.ArgumentParser, language: Language, wide: int) -> str:
    """`vedette --help`."""
    i = 0 if language == "en" else 1
    lines = [("usage: vedette VERB ...", "用法:vedette 动词 ...")[i], "", *textwrap.wrap(ABOUT[i], wide)]
    for en, zh, mine in grouped(parser):
        lines += ["", f"{(en, zh)[i]}:"]
        for one in mine:
            text = one.help if language == "en" else ZH.get(one.name, one.help)
            first, *rest = textwrap.wrap(text, max(30, wide - 14)) or [""]
            lines += [f"  {one.name:11} {first}", *(f"{'':14}{more}" for more in rest)]
    return "\n".join([*lines, "", *textwrap.wrap(MORE[i], wide), *textwrap.wrap(SUPPLEMENT[i], wide), ""])


def described(name: str, row: str) -> str:
    """What `--help` of a verb says first."""
    text = _sentence(row)
    return "\n\n".join(textwrap.fill(part, 78) for part in (text, TEXT.get(name, "")) if part)


def ending(name: str) -> str:
    """What it says last: examples, and the shape of its JSON."""
    lines = []
    if shown := EXAMPLES.get(name, ()):
        lines += ["examples:", *(f"  {words}\n      {what}" for words, what in shown)]
    shapes = [(key, keys) for key, keys in SHAPES.items() if key.partition(" ")[0] == name]
    if shapes:
        lines += ["", "--json:"] if lines else ["--json:"]
        lines += [
            textwrap.fill(shape(key, keys), 78, initial_indent="  ", subsequent_indent="      ") for key, keys in shapes
        ]
    return "\n".join(lines)


def shape(key: str, keys: tuple[str, ...]) -> str:
    """The shape of an answer, in words.

    >>> shape("key", ("key", "fingerprint")), shape("replay --compare", ("*", "folder", "same"))
    ('an object with key, fingerprint', 'replay --compare: a list of objects with folder, same')
    """
    what = (
        f"a list of objects with {', '.join(keys[1:])}" if keys[:1] == ("*",) else f"an object with {', '.join(keys)}"
    )
    return f"{key}: {what}" if " " in key else what


# -- the manual ---------------------------------------------------------------------------------------


def _man(args: argparse.Namespace) -> int:
    text = roff(args.whole)
    if args.json:
        return terminal.answer(args, {"roff": text}, "")
    if sys.stdout.isatty() and shutil.which("man"):
        return subprocess.run(
            ["man", "-l", "-"], input=text, text=True, env=os.environ | {"LC_ALL": "C.UTF-8"}
        ).returncode
    sys.stdout.write(text)
    return 0


def roff(parser: argparse.ArgumentParser, when: float | None = None) -> str:
    """The manual page. `when`: its date, s UTC; that of the build where SOURCE_DATE_EPOCH says one."""
    at = float(os.environ.get("SOURCE_DATE_EPOCH", time.time() if when is None else when))
    date = time.strftime("%Y-%m-%d", time.gmtime(at))
    lines = [f'.TH VEDETTE 1 {date} "vedette {__version__}" "User Commands"', ".nh"]
    lines += [".SH NAME", _esc(f"vedette - {ABOUT[0][:1].lower()}{ABOUT[0][1:-1]}")]
    lines += [
        ".SH SYNOPSIS",
        r"\fBvedette\fP \fIVERB\fP [\fIOPTION\fP ...] [\fIWORD\fP ...]",
        ".br",
        r"\fBvedette\fP \fIVERB\fP \fB\-\-help\fP",
    ]
    lines += [".SH DESCRIPTION", *_para(DESCRIPTION), ".PP", *_para(SUPPLEMENT[0])]
    common = next(iter(verbs(parser))).parser
    lines += [".SH OPTIONS OF EVERY VERB", *_options(common, ("--help", "--json", "--lang", "--config"))]
    lines += [".PP", *_para(ANSWERS)]
    lines += [".SH VERBS"]
    for en, _, mine in grouped(parser):
        lines += [f".SS To {_esc(en)}" if en not in ("this program", "more") else f".SS {_esc(en.capitalize())}"]
        for one in mine:
            lines += _verb(one)
    lines += [".SH EXIT STATUS", *(line for code, what in EXITS for line in (".TP", rf"\fB{code}\fP", _esc(what)))]
    lines += [".SH FILES", *(line for file, what in FILES for line in (".TP", rf"\fI{_esc(file)}\fP", _esc(what)))]
    lines += [".SH ENVIRONMENT"]
    lines += [line for name, what in ENVIRONMENT for line in (".TP", rf"\fB{_esc(name)}\fP", _esc(what))]
    lines += [".SH EXAMPLES", *_para("A first hour with a new gateway:")]
    for name in ("check", "test", "run", "status", "drill", "audit"):
        words, what = EXAMPLES[name][0]
        lines += [".PP", f"{_esc(what[:1].upper() + what[1:])}:", ".RS 4", ".nf", rf"\fB{_esc(words)}\fP", ".fi", ".RE"]
    lines += [".SH SEE ALSO", r"\fBsystemd\fP(1), \fBjournalctl\fP(1), \fBmosquitto\fP(8)"]
    return "\n".join(lines) + "\n"


def _verb(one: Verb) -> Iterator[str]:
    """A verb with its words, options, examples and shapes."""
    yield from (".TP", rf"\fBvedette {_esc(one.name)}\fP {_synopsis(one.parser)}".rstrip())
    yield from _para(_sentence(one.help))
    if one.name in TEXT:
        yield from (".IP", *_para(TEXT[one.name]))
    inner = verbs(one.parser)
    rows = [*_options(one.parser, (), ("--help", "--json", "--lang", "--config")), *_words(one.parser)]
    if rows or inner:
        yield from (".RS 7", *rows)
        for sub in inner:
            yield from _verb(Verb(f"{one.name} {sub.name}", sub.help, sub.parser))
        yield ".RE"
    for words, what in EXAMPLES.get(one.name, ()):
        yield from (
            ".IP",
            f"{_esc(what[:1].upper() + what[1:])}:",
            ".RS 11",
            ".nf",
            rf"\fB{_esc(words)}\fP",
            ".fi",
            ".RE",
        )
    for key, keys in SHAPES.items():
        if key.partition(" ")[0] == one.name:
            yield from (".IP", r"\fB\-\-json\fP:", *_para(f"{shape(key, keys)}."))


def _synopsis(parser: argparse.ArgumentParser) -> str:
    """The words that a verb takes."""
    words = []
    for action in parser._actions:
        if action.option_strings or isinstance(action, argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
            continue
        word = rf"\fI{_esc(str(action.metavar or action.dest))}\fP"
        if action.choices is not None:
            word = "|\\:".join(rf"\fB{_esc(str(choice))}\fP" for choice in action.choices)
        word = f"[{word}]" if action.nargs in ("?", "*") else word
        words.append(f"{word} ..." if action.nargs in ("*", "+") else word)
    return " ".join([*words, r"[\fIOPTION\fP ...]"])


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """What the words mean."""
    for action in parser._actions:
        plain = not action.option_strings and not isinstance(action, argparse._SubParsersAction)
        if plain and action.help and action.help != argparse.SUPPRESS:
            yield from (".TP", rf"\fI{_esc(str(action.metavar or action.dest))}\fP", *_told(action))


def _options(parser: argparse.ArgumentParser, only: tuple[str, ...], but: tuple[str, ...] = ()) -> Iterator[str]:
    """Options and what they do: those of `only`, where some are named; none of `but`."""
    for action in parser._actions:
        names = action.option_strings
        if (
            not names
            or action.help == argparse.SUPPRESS
            or set(names) & set(but)
            or (only and not set(names) & set(only))
        ):
            continue
        value = ""
        if action.nargs != 0:
            value = str(action.metavar or action.dest.upper())
            if action.choices is not None:
                value = "|".join(map(str, action.choices))
        shown = ", ".join(rf"\fB{_esc(name)}\fP" for name in names)
        yield from (".TP", f"{shown} \\fI{_esc(value)}\\fP" if value else shown, *_told(action))


def _told(action: argparse.Action) -> list[str]:
    return _para(_sentence((action.help or "").replace("%%", "%") or "see above"))


def _sentence(text: str) -> str:
    """
    >>> _sentence("who does it"), _sentence("s between two looks (1)")
    ('Who does it.', 's between two looks (1).')
    """
    first = text[:1].upper() if text[1:2].isalpha() else text[:1]
    return f"{first}{text[1:]}".rstrip(".") + "."


def _para(text: str) -> list[str]:
    return [_esc(line) for line in textwrap.wrap(text, 76, break_on_hyphens=False)]


def _esc(text: str) -> str:
    r"""Text that roff takes as it stands.

    >>> _esc("--by NAME"), _esc(".x"), _esc("a\\b")
    ('\\-\\-by NAME', '\\&.x', 'a\\eb')
    """
    text = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace('"', "\\(dq")
    )
    return f"\\&{text}" if text.startswith(".") else text


# -- completion ---------------------------------------------------------------------------------------


PREAMBLE: Mapping[str, str] = {  # what is looked up while somebody types, by the program itself
    "bash": r"""
_vedette_words() {
    local i file=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -c || ${COMP_WORDS[i]} == --config ]] && file=(-c "${COMP_WORDS[i + 1]}")
    done
    compgen -W "$("${COMP_WORDS[0]}" completion "$1" "${file[@]}" 2>/dev/null)" -- "$2"
}
""",
    "zsh": r"""
_vedette_words() {
    local -a file found
    local i=${words[(I)(-c|--config)]}
    (( i )) && file=(-c ${words[i + 1]})
    found=(${(f)"$(vedette completion $1 $file 2>/dev/null)"})
    compadd -a found
}
""",
    "fish": "",
}


def _completion(args: argparse.Namespace) -> int:
    if args.shell in WORDS:
        for word in sorted(_offered(args)):
            print(word)
        return 0
    try:
        text = script(args.whole, args.shell)
    except ImportError as error:
        raise Stop(os.EX_UNAVAILABLE, f"{error}; pip install shtab") from None
    if args.json:
        return terminal.answer(args, {"shell": args.shell, "script": text}, "")
    sys.stdout.write(text)
    return 0


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """A completion script. Raises `ImportError`."""
    import shtab

    preamble = PREAMBLE[shell] + "".join(_lookups(shell))
    _marked(parser, shtab)
    text: str = shtab.complete(parser, shell, preamble=preamble)
    return re.sub(r"\s+\n", "\n", text) if shell == "bash" else text


def _lookups(shell: str) -> Iterator[str]:
    """A function for each kind of words."""
    for words in WORDS:
        if shell == "bash":
            yield f'_vedette_{words}() {{ _vedette_words {words} "$1"; }}\n'
        elif shell == "zsh":
            yield f"_vedette_{words}() {{ _vedette_words {words} }}\n"


def _marked(parser: argparse.ArgumentParser, shtab: Any) -> None:
    """Say what stands where: files, folders, or words that are looked up."""
    for one in verbs(parser):
        for sub in (one, *verbs(one.parser)):
            for action in sub.parser._actions:
                if action.choices is None and (found := _kind(one.name, action)) is not None:
                    action.complete = found if isinstance(found, dict) else getattr(shtab, found)  # type: ignore[attr-defined]


def _kind(verb: str, action: argparse.Action) -> str | dict[str, str] | None:
    """What completes an argument; None: nothing does."""
    name, shown = action.dest, str(action.metavar or "")
    words = {
        ("alarms", "ack"): "alarms", ("explain", "alarm"): "alarms", ("audit", "alarm"): "alarms",
        ("report", "alarm"): "alarms", ("evidence", "id"): "evidence", ("profiles", "name"): "profiles",
        ("models", "name"): "models", ("watch", "net"): "models",
    }.get((verb, name)) or ("alarms" if verb == "alarms" and shown == "POINT" else "")  # fmt: skip
    if words:
        calls = dict.fromkeys(("bash", "zsh"), f"_vedette_{words}")
        return {**calls, "fish": f"(vedette completion {words} 2>/dev/null)"}
    if shown in ("FOLDER", "DIR") or name in ("folder", "to", "state", "journal"):
        return "DIRECTORY"
    is_file = action.type is Path or any(part in shown for part in ("FILE", "CSV", "TOML", "VIDEO"))
    return "FILE" if is_file else None


def _offered(args: argparse.Namespace) -> list[str]:
    """Words that fit; none where they cannot be had, for somebody is typing."""
    from . import config, control, evidence, profiles
    from .core.errors import Fault

    try:
        if args.shell == "profiles":
            return list(profiles.profiles())
        if args.shell == "models":
            from models.vision import manifest

            return list(manifest.entries((manifest.own(), manifest.SHIPPED))[0])
        if args.shell == "evidence":
            return [piece.id for piece in evidence.pieces(Path(config.load(args.config).evidence.path))]
        reply = control.ask(control.home(args.config), {"verb": "alarms"}, 1.0)
        return [alarm["id"] for alarm in reply["alarms"]]
    except (Fault, OSError, ValueError, KeyError):
        return []
