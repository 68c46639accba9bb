"""Words and wires: everything that turns a device into frames.

A driver's name in TOML is looked up here; a name with a colon ("acme_gas:Ch4Head") is imported as it
stands, so that a site can bring its own. Nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module

from agent.core.errors import ConfigFault
from agent.core.ports import Driver

DRIVERS = {
    "modbus": "drivers.modbus:Modbus",
}


def driver(name: str) -> type[Driver]:
    """The driver called `name` in TOML. Raises ConfigFault if there is none."""
    where = name if ":" in name else DRIVERS.get(name)
    if where is None:
        raise ConfigFault([f"driver {name!r} is not known; known are {', '.join(sorted(DRIVERS))}, or module:Class"])
    module, _, attribute = where.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigFault([f"driver {name!r}: {error}"]) from error
    if not (isinstance(found, type) and issubclass(found, Driver)):
        raise ConfigFault([f"driver {name!r} is not a Driver"])
    return found
