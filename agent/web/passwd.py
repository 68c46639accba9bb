"""`vedette passwd NAME`: who may act on the local page. Made on the gateway, by whoever owns the daemon's state."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import terminal
from ..core.errors import ConfigFault, WorldFault
from .texts import Words


def add(verb: Callable[..., Any]) -> None:
    """The verb's arguments."""
    sub = verb("passwd", run, "give somebody a password for the local page, or take it away", site=True)
    sub.add_argument(
        "name", nargs="?", default="", metavar="NAME", help="who; it stands in the journal behind all he does"
    )
    sub.add_argument("--remove", action="store_true", help="he may act no longer")
    sub.add_argument("--stdin", action="store_true", help="read the password from the standard input, one line")


def run(args: argparse.Namespace) -> int:
    """Do it; without a name: who there is."""
    from .. import config

    try:
        from . import people
    except ImportError as error:
        raise WorldFault(f'{error}: pip install "vedette[web]"') from None
    site = config.load(args.config)
    state = Path(site.store.path)
    try:
        known = people.read(state)
    except ValueError as error:
        raise WorldFault(str(error)) from None
    t = Words(terminal.language(args, site.site.language))
    name = people.named(args.name)
    if not name:
        rows = [(one, entry.since) for one, entry in sorted(known.items())]
        lines = [f"{one}  since {time.strftime('%Y-%m-%d', time.localtime(since))}" for one, since in rows]
        facts = [{"name": one, "since": since} for one, since in rows]
        return terminal.answer(args, facts, "\n".join(lines) or t("nobody may"))
    if args.remove:
        if name not in known:
            raise WorldFault(f"there is no {name}")
        people.keep(state, {one: entry for one, entry in known.items() if one != name})
        return terminal.answer(args, {"name": name, "may": False}, t("may no longer", name=name))
    password = sys.stdin.readline().rstrip("\n") if args.stdin else _asked(name)
    if why := people.fault(name, password):
        raise terminal.Stop(os.EX_DATAERR, why)
    try:
        people.keep(state, {**known, name: people.Entry(people.hashed(password), time.time())})
    except OSError as error:
        raise WorldFault(f"{state}: {error.strerror}; run it as the user of the daemon") from None
    text = t("may act", name=name) + ("" if site.web is not None else t("no web"))
    return terminal.answer(args, {"name": name, "may": True, "page": site.web is not None}, text)


def _asked(name: str) -> str:
    if not sys.stdin.isatty():
        raise terminal.Stop(os.EX_USAGE, "this is no terminal: `--stdin` reads the password from the standard input")
    first = getpass.getpass(f"password for {name}: ")
    if getpass.getpass("once more: ") != first:
        raise ConfigFault(["the two are not the same; nothing was changed"])
    return first
