"""Names in TOML into classes: looked up in a literal table, or imported as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TypeVar

from .core.errors import ConfigFault

T = TypeVar("T")


def find(what: str, name: str, known: Mapping[str, str], base: type[T]) -> type[T]:
    """The class called `name`: by `known` ("module:Class"), or itself "module:Class", so that a site can bring its own.

    Nothing is imported before it is asked for. Raises `ConfigFault` if there is none, or if it is no `base`.
    """
    where = name if ":" in name else known.get(name)
    if where is None:
        raise ConfigFault([f"{what} {name!r} is not known; known are {', '.join(sorted(known))}, or module:Class"])
    module, _, attribute = where.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigFault([f"{what} {name!r}: {error}"]) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigFault([f"{what} {name!r} is not a {base.__name__}"])
    return found
