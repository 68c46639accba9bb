"""`vedette doctor`: what goes wrong on real gateways, and what to do about it.

Without `-c` the machine only; with it all that the site uses. It opens no serial port, takes no picture, says nothing
to a device, and speaks to brokers under a name of its own: a running agent goes on undisturbed. Each thing that is
looked at gives a row of `words.WORDS`: its level, the sentence and the advice, in English and Chinese. Readers take the
root of the machine's files, so that a test may show them those of another.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import terminal

if TYPE_CHECKING:
    from ..core.words import Language
    from ..terminal import Ink
    from .finding import Finding

STYLES = {"fault": "bad", "warning": "doubt", "advice": "bold", "unknown": "dim", "ok": "dim"}
MARKS = {"fault": "✗", "warning": "!", "advice": "i", "unknown": "?", "ok": "✓"}


def add(verb: Callable[..., Any]) -> None:
    """The verb's arguments."""
    sub = verb("doctor", run, "what is wrong with this machine, or with all that a site uses, and what to do")
    sub.add_argument("-c", "--config", metavar="FILE", help="site file; without one only the machine is looked at")
    sub.add_argument("--user", default="", metavar="NAME", help="whose rights are asked for (the agent's user)")
    sub.add_argument("--ask", type=float, default=0.0, metavar="S", help="poll the buses for so many s, 6 or more")
    sub.add_argument("--wrong", action="store_true", help="leave out what is fine")


def run(args: argparse.Namespace) -> int:
    """Look at everything; exit 1 where something is wrong. Raises `ConfigFault` for a site file that is not sound."""
    from .. import config
    from . import visit
    from .machine import Machine

    if args.ask and not args.config:
        raise terminal.Stop(os.EX_USAGE, "which buses? give -c site.toml with --ask")
    site = config.load(args.config) if args.config else None
    try:
        v = visit.begin(Machine(), site, args.user, args.ask)
    except LookupError:
        raise terminal.Stop(os.EX_USAGE, f"no user is called {args.user}") from None
    rows = list(visit.findings(v))
    language = terminal.language(args, site.site.language if site else "en")
    told = [plain(row, language) for row in rows]
    about = visit.about(v)
    facts = {"schema": "vedette.doctor/1", **about, "worst": visit.worst(rows), "findings": told}
    terminal.answer(args, facts, "\n".join(shown(rows, about, language, terminal.Ink(), args.wrong)))
    return 1 if visit.is_wrong(rows) else 0


def plain(row: Finding, language: Language) -> dict[str, Any]:
    """A row for programs: `key` is stable, `text` and `do` are for people."""
    return {
        "level": row.level,
        "key": row.key,
        "what": row.what,
        "text": row.text(language),
        "do": row.do(language),
        "facts": row.facts,
    }


def shown(rows: Sequence[Finding], about: dict[str, str], language: Language, ink: Ink, wrong: bool) -> list[str]:
    """The rows for people, theme by theme, the worst of each first."""
    from .finding import LEVELS
    from .words import FRAME, THEMES

    say = FRAME[language]
    head = " · ".join(filter(None, (about["site"], about["host"], about["board"], about["kernel"])))
    agent = say["agent"].format(pid=about["agent"]) if about["agent"] else ""
    out = [f"{head}; {say['user'].format(user=about['user'])}{agent}"]
    for theme in THEMES:
        own = [row for row in rows if row.theme == theme and not (wrong and row.level == "ok")]
        own.sort(key=lambda row: -LEVELS.index(row.level))
        if own:
            out.append(THEMES[theme][language == "zh"])
        for row in own:
            mark = ink(STYLES[row.level], f"{MARKS[row.level]} {say[row.level]}")
            out.append(f"  {mark}  {row.what}: {row.text(language)}")
            if do := row.do(language):
                out.append(f"      → {do}")
    counts = {level: sum(row.level == level for row in rows) for level in reversed(LEVELS)}
    out.append(say["sum"].format(**counts))
    if not about["site"]:
        out.append(say["more"])
    return out
