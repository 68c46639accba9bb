"""Channels by their names: exact, or with the wildcards of a shell."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import translate
from typing import Any


def is_wild(pattern: str) -> bool:
    """Whether a pattern may mean more than the one name that it spells.

    >>> is_wild("a/*"), is_wild("a/b")
    (True, False)
    """
    return any(c in pattern for c in "*?[")


def matching(patterns: Iterable[str], names: Mapping[str, Any], hidden: Collection[str] = ()) -> list[str]:
    """The names that one of the patterns means, in the order of `names`.

    What is `hidden` is meant only by a pattern with a dot in it: `s/*` is what a source measures, `s/*.twa` what a
    detector makes of it.

    >>> matching(["b", "a*"], {"ab": 0, "b": 1, "c": 2})
    ['ab', 'b']
    >>> matching(["*"], {"a": 0, "a.twa": 1}, {"a.twa"}), matching(["*.twa"], {"a": 0, "a.twa": 1}, {"a.twa"})
    (['a'], ['a.twa'])
    """
    exact = {pattern for pattern in patterns if pattern in names}
    wild = [pattern for pattern in patterns if pattern not in exact and is_wild(pattern)]
    if not wild:
        return [name for name in names if name in exact] if len(exact) > 1 else list(exact)
    any_of = re.compile("|".join(map(translate, wild)))
    dotted = re.compile("|".join(translate(pattern) for pattern in wild if "." in pattern) or "(?!)")
    return [n for n in names if n in exact or (dotted if n in hidden else any_of).match(n)]
