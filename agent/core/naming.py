"""Channels by their names: exact, or with the wildcards of a shell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from typing import Any


def matching(patterns: Iterable[str], names: Mapping[str, Any]) -> list[str]:
    """The names that one of the patterns means, in the order of `names`.

    >>> matching(["b", "a*"], {"ab": 0, "b": 1, "c": 2})
    ['ab', 'b']
    """
    exact = {pattern for pattern in patterns if pattern in names}
    wild = [pattern for pattern in patterns if pattern not in exact and any(c in pattern for c in "*?[")]
    if not wild:
        return [name for name in names if name in exact] if len(exact) > 1 else list(exact)
    any_of = re.compile("|".join(translate(pattern) for pattern in wild))
    return [name for name in names if name in exact or any_of.match(name)]
