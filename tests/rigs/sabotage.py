"""Breaks the product on purpose: each name undoes one thing that makes it reliable, by replacing a few attributes.

    python -m tests.rigs.sabotage NAME run -c site.toml         `vedette run`, sabotaged
    with sabotaged("sync-normal"): ...                          the same within this process

`TABLE` holds name -> replacements; a replacement is (module, dotted attribute, what to put there: a function of what
was there). Replacements are small: whatever else the product does stays as it ships.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Replacement = tuple[str, str, Callable[[Any], Any]]

TABLE: dict[str, tuple[Replacement, ...]] = {
    "": (),
    "sync-normal": (  # T2: what was acknowledged is not on the disk
        ("agent.store", "BEFORE", lambda old: tuple("synchronous=NORMAL" if "synchronous" in p else p for p in old)),
    ),
}


def place(module: str, path: str) -> tuple[Any, str]:
    """Who has the attribute, and its last name."""
    owner = importlib.import_module(module)
    *way, name = path.split(".")
    for step in way:
        owner = getattr(owner, step)
    return owner, name


@contextmanager
def sabotaged(name: str) -> Iterator[None]:
    """Within the block the product is broken in this way."""
    undo = []
    for module, path, change in TABLE[name]:
        owner, attribute = place(module, path)
        old = vars(owner)[attribute]  # as it stands there: a classmethod stays one
        undo.append((owner, attribute, old))
        setattr(owner, attribute, change(old))
    try:
        yield
    finally:
        for owner, attribute, old in reversed(undo):
            setattr(owner, attribute, old)


if __name__ == "__main__":
    from agent.cli import main

    with sabotaged(sys.argv[1]):
        raise SystemExit(main(sys.argv[2:]))
