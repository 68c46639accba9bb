"""The verbs for whoever writes a site file: `vedette schema`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def add(verb: Callable[..., Any]) -> None:
    """These verbs in the command line; `verb` makes a parser."""
    verb("schema", _schema, "the JSON schema of the site file, for editors; the first line of an example names it")


def _schema(args: argparse.Namespace) -> int:
    from . import schema

    print(schema.text(), end="")
    return 0
