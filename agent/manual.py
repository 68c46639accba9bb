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
from typing import Any, NamedTuple, NoReturn

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
)
from .terminal import Stop, columns

SHELLS = ("bash", "zsh", "fish")
WORDS = ("alarms", "profiles", "models", "evidence")  # that are looked up while somebody types
UNKNOWN = r"argument (?P<what>.+): invalid choice: '?(?P<word>.*?)'? \(choose from (?P<known>.*)\)"
PIECE = r"\s+|[(《\u201c]*(?:[!-~]+|.)[,;:?!)。、》\u201d…]*"  # stays together on a line of Chinese
FOLD = 56  # columns of a line of Chinese, where man(1) does not break lines between characters
BREAK = (".de ZB", r".if !\n(.x .br", "..")  # mandoc does not; groff, which knows its own version (.x), does


class Tongue:
    """How a language says and breaks the texts of parser and handbook. English says them as they stand."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._table: Mapping[str, str] = {}
        self._wrong: Mapping[str, str] = {}
        self.stop = "."
        if language == "zh":
            from .handbook_zh import WRONG, ZH

            self._table, self._wrong, self.stop = ZH, WRONG, "。"

    def __call__(self, text: str) -> str:
        """The text; one that the language has no words for says itself."""
        return self._table.get(text, text)

    def sentence(self, text: str) -> str:
        """
        >>> Tongue("en").sentence("who does it"), Tongue("en").sentence("s between two looks (1)")
        ('Who does it.', 's between two looks (1).')
        """
        said = self(text)
        first = said[:1].upper() if said[1:2].isalpha() else said[:1]
        return f"{first}{said[1:]}".rstrip(self.stop) + self.stop

    def wrap(self, text: str, wide: int, first: str = "", rest: str = "") -> list[str]:
        """Lines of at most `wide` columns; `first` begins the first of them, `rest` the others."""
        if self.language == "zh":
            return folded(self(text), wide, first, rest)
        return textwrap.wrap(text, wide, initial_indent=first, subsequent_indent=rest)

    def wrong(self, message: str) -> str:
        """What argparse complains of."""
        for pattern, text in self._wrong.items():
            message = re.sub(pattern, text, message)
        return message

    def roff(self, text: str) -> list[str]:
        """A paragraph of the manual."""
        if self.language == "zh":
            return list(_ideographs(self(text)))
        return [_esc(line) for line in textwrap.wrap(text, 76, break_on_hyphens=False)]


def folded(text: str, wide: int, first: str = "", rest: str = "") -> list[str]:
    """Lines of Chinese, which has no spaces: broken between any two characters, but none begins with a comma.

    >>> folded("就地判断,送达报警;见 --help 一节", 14, rest="  ")
    ['就地判断,送达', '  报警;见', '  --help 一节']
    """
    lines, line = [], first
    for piece in re.findall(PIECE, text):
        if columns(line) + columns(piece.rstrip()) > wide and line.strip():
            lines.append(line.rstrip())
            line = rest
        line += piece if line.strip() or piece.strip() else ""
    return [*lines, line.rstrip()] if line.strip() else lines


ENGLISH = Tongue("en")


class Chinese(argparse.RawDescriptionHelpFormatter):
    """Help in Chinese: its label of usage, and lines as wide as they look."""

    def _format_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any) -> str:
        return super()._format_usage(usage, actions, groups, "usage:").replace("usage:", "用法: ", 1)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return folded(text, width)


class Misused(Exception):
    """Wrong words: what is wrong with them, the same in the language of whoever typed them, and the verb."""

    def __init__(self, text: str, shown: str, verb: str) -> None:
        super().__init__(text)
        self.shown, self.verb = shown, verb


class Parser(argparse.ArgumentParser):
    """It answers wrong words with better ones, and `vedette --help` by groups."""

    language: Language = "en"

    def error(self, message: str) -> NoReturn:
        """Wrong words: what would be right, briefly; raises `Misused`. Without any words: everything that there is."""
        if message.endswith("required: VERB"):
            print(self.format_help(), end="", file=sys.stderr)
            raise SystemExit(os.EX_USAGE)
        from .complaints import nearest

        if (wrong := re.match(UNKNOWN, message)) is not None:
            known = wrong["known"].replace("'", "").split(", ")
            message = f"no {wrong['what'].lower()} `{wrong['word']}`{nearest(wrong['word'], known)}"
        message = f"{message}{'' if message[-1] == '?' else ';'} `{self.prog} --help` says more"
        raise Misused(message, Tongue(self.language).wrong(message), self.prog.removeprefix("vedette").strip())

    def format_help(self) -> str:
        if self.prog != "vedette":
            return super().format_help()
        return overview(self, self.language, min(100, shutil.get_terminal_size().columns - 2))


class Verb(NamedTuple):
    """One verb as its parser has it."""

    name: str
    help: str
    parser: Parser


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


def grouped(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[Verb]]]:
    """Title and verbs of each group; what is in none comes last."""
    known = {one.name: one for one in verbs(parser)}
    for title, names in GROUPS.items():
        if mine := [known.pop(name) for name in names if name in known]:
            yield title, mine
    if known:
        yield "more", list(known.values())


def chinese(parser: Parser, words: str = "", row: str = ABOUT) -> None:
    """Let a parser and all below it speak Chinese: in their help, and when words are wrong."""
    t = Tongue("zh")
    parser.language, parser.formatter_class = "zh", Chinese
    parser.description, parser.epilog = described(words, row, t), ending(words, t)
    for group in parser._action_groups:
        group.title = t(group.title or "")
    for action in parser._actions:
        rows = action._choices_actions if isinstance(action, argparse._SubParsersAction) else ()
        for one in (action, *rows):
            one.help = t(one.help) if one.help else one.help
    for verb in verbs(parser):
        chinese(verb.parser, f"{words} {verb.name}".strip(), verb.help)


def overview(parser: argparse.ArgumentParser, language: Language, wide: int) -> str:
    """`vedette --help`."""
    t = Tongue(language)
    lines = [t("usage: vedette VERB ..."), "", *t.wrap(ABOUT, wide)]
    for title, mine in grouped(parser):
        lines += ["", f"{t(title)}:"]
        for one in mine:
            first, *rest = t.wrap(one.help, max(30, wide - 14)) or [""]
            lines += [f"  {one.name:11} {first}", *(f"{'':14}{more}" for more in rest)]
    return "\n".join([*lines, "", *t.wrap(MORE, wide), *t.wrap(SUPPLEMENT, wide), ""])


def described(name: str, row: str, t: Tongue = ENGLISH) -> str:
    """What `--help` of a verb says first."""
    text = t.sentence(row)
    return "\n\n".join("\n".join(t.wrap(part, 78)) for part in (text, TEXT.get(name, "")) if part)


def ending(name: str, t: Tongue = ENGLISH) -> str:
    """What it says last: examples, and the shape of its JSON."""
    lines = []
    if shown := EXAMPLES.get(name, ()):
        lines += [t("examples:"), *(f"  {words}\n      {t(what)}" for words, what in shown)]
    shapes = [(key, keys) for key, keys in SHAPES.items() if key.partition(" ")[0] == name]
    if shapes:
        lines += ["", "--json:"] if lines else ["--json:"]
        lines += ["\n".join(t.wrap(shape(key, keys, t), 78, "  ", "      ")) for key, keys in shapes]
    return "\n".join(lines)


def shape(key: str, keys: tuple[str, ...], t: Tongue = ENGLISH) -> str:
    """The shape of an answer, in words.

    >>> shape("key", ("key", "fingerprint")), shape("replay --compare", ("*", "folder", "same"))
    ('an object with key, fingerprint', 'replay --compare: a list of objects with folder, same')
    """
    many = keys[:1] == ("*",)
    what = t("a list of objects with {}" if many else "an object with {}").format(", ".join(keys[many:]))
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


def roff(parser: Parser, when: float | None = None) -> str:
    """The manual page, in the language of the parser. `when`: its date, s UTC; that of the build where
    SOURCE_DATE_EPOCH says one."""
    t = Tongue(parser.language)
    at = float(os.environ.get("SOURCE_DATE_EPOCH", time.time() if when is None else when))
    date = time.strftime("%Y-%m-%d", time.gmtime(at))
    lines = [f'.TH VEDETTE 1 {date} "vedette {__version__}" "{t("User Commands")}"', ".nh"]
    lines += [] if t.language == "en" else [".ad l", *BREAK]
    about = t(ABOUT)
    lines += [f".SH {t('NAME')}", _esc(f"vedette - {about[:1].lower()}{about[1:-1]}")]
    lines += [
        f".SH {t('SYNOPSIS')}",
        r"\fBvedette\fP \fIVERB\fP [\fIOPTION\fP ...] [\fIWORD\fP ...]",
        ".br",
        r"\fBvedette\fP \fIVERB\fP \fB\-\-help\fP",
    ]
    lines += [f".SH {t('DESCRIPTION')}", *t.roff(DESCRIPTION), ".PP", *t.roff(SUPPLEMENT)]
    common = next(iter(verbs(parser))).parser
    lines += [f".SH {t('OPTIONS OF EVERY VERB')}"]
    lines += [*_options(common, t, ("--help", "--json", "--lang", "--config")), ".PP", *t.roff(ANSWERS)]
    lines += [f".SH {t('VERBS')}"]
    for title, mine in grouped(parser):
        plain = title in ("this program", "more") or t.language == "zh"
        lines += [f".SS {_esc(_begun(t(title)))}" if plain else f".SS To {_esc(title)}"]
        for one in mine:
            lines += _verb(one, t)
    for heading, style, rows in (
        ("EXIT STATUS", "B", EXITS), ("FILES", "I", FILES), ("ENVIRONMENT", "B", ENVIRONMENT),
    ):  # fmt: skip
        lines += [f".SH {t(heading)}"]
        for name, what in rows:
            told = t.roff(what) if t.language == "zh" else [_esc(what)]
            lines += [".TP", rf"\f{style}{_esc(str(name))}\fP", *told]
    lines += [f".SH {t('EXAMPLES')}", *t.roff("A first hour with a new gateway:")]
    for name in ("check", "test", "run", "status", "drill", "audit"):
        words, what = EXAMPLES[name][0]
        lines += [".PP", f"{_esc(_begun(t(what)))}:", ".RS 4", ".nf", rf"\fB{_esc(words)}\fP", ".fi", ".RE"]
    lines += [f".SH {t('SEE ALSO')}", r"\fBsystemd\fP(1), \fBjournalctl\fP(1), \fBmosquitto\fP(8)"]
    return "\n".join(lines) + "\n"


def _verb(one: Verb, t: Tongue) -> Iterator[str]:
    """A verb with its words, options, examples and shapes."""
    yield from (".TP", rf"\fBvedette {_esc(one.name)}\fP {_synopsis(one.parser)}".rstrip())
    yield from t.roff(t.sentence(one.help))
    if one.name in TEXT:
        yield from (".IP", *t.roff(TEXT[one.name]))
    inner = verbs(one.parser)
    rows = [*_options(one.parser, t, (), ("--help", "--json", "--lang", "--config")), *_words(one.parser, t)]
    if rows or inner:
        yield from (".RS 7", *rows)
        for sub in inner:
            yield from _verb(Verb(f"{one.name} {sub.name}", sub.help, sub.parser), t)
        yield ".RE"
    for words, what in EXAMPLES.get(one.name, ()):
        shown = (".RS 11", ".nf", rf"\fB{_esc(words)}\fP", ".fi", ".RE")
        yield from (".IP", f"{_esc(_begun(t(what)))}:", *shown)
    for key, keys in SHAPES.items():
        if key.partition(" ")[0] == one.name:
            yield from (".IP", r"\fB\-\-json\fP:", *t.roff(shape(key, keys, t) + t.stop))


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


def _words(parser: argparse.ArgumentParser, t: Tongue) -> Iterator[str]:
    """What the words mean."""
    for action in parser._actions:
        plain = not action.option_strings and not isinstance(action, argparse._SubParsersAction)
        if plain and action.help and action.help != argparse.SUPPRESS:
            yield from (".TP", rf"\fI{_esc(str(action.metavar or action.dest))}\fP", *_told(action, t))


def _options(
    parser: argparse.ArgumentParser, t: Tongue, only: tuple[str, ...], but: tuple[str, ...] = ()
) -> Iterator[str]:
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
        yield from (".TP", f"{shown} \\fI{_esc(value)}\\fP" if value else shown, *_told(action, t))


def _told(action: argparse.Action, t: Tongue) -> list[str]:
    return t.roff(t.sentence((action.help or "").replace("%%", "%")))


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def _ideographs(text: str) -> Iterator[str]:
    """A paragraph of Chinese: groff may break it between any two pieces, mandoc breaks it after FOLD columns."""
    at = 0
    for line in (lines := folded(text, FOLD))[:-1]:
        at += len(line)
        spaced = text[at] == " "
        at += spaced
        yield _pieces(line) + ("" if spaced else r"\:\c")
        if not spaced:
            yield ".ZB"
    yield from map(_pieces, lines[-1:])


def _pieces(text: str) -> str:
    return _esc("\0".join(re.findall(PIECE, text))).replace("\0", r"\:")


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
