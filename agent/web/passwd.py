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

from ..core.errors import ConfigFault, WorldFault


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
    name = people.named(args.name)
    if not name:
        for one, entry in sorted(known.items()):
            print(f"{one}  since {time.strftime('%Y-%m-%d', time.localtime(entry.since))}")
        if not known:
            print("nobody yet: vedette passwd NAME")
        return 0
    if args.remove:
        if name not in known:
            raise WorldFault(f"there is no {name}")
        people.keep(state, {one: entry for one, entry in known.items() if one != name})
        print(f"{name} may act no longer")
        return 0
    password = sys.stdin.readline().rstrip("\n") if args.stdin else _asked(name)
    if why := people.fault(name, password):
        print(f"vedette passwd: {why}", file=sys.stderr)
        return os.EX_DATAERR
    try:
        people.keep(state, {**known, name: people.Entry(people.hashed(password), time.time())})
    except OSError as error:
        raise WorldFault(f"{state}: {error.strerror}; run it as the user of the daemon") from None
    print(f"{name} may act on the page" + ("" if site.web is not None else "; the site file has no [web] yet"))
    return 0


def _asked(name: str) -> str:
    first = getpass.getpass(f"password for {name}: ")
    if getpass.getpass("once more: ") != first:
        raise ConfigFault(["the two are not the same; nothing was changed"])
    return first
