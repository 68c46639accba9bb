"""Platform languages: one file each. An uplink takes from its feed, sends, and says what was confirmed.

A `kind` in TOML is looked up here; a name with a colon ("acme:Cloud") is imported as it stands, so that
a site can bring its own. Nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module

from ..core.errors import ConfigFault
from ..core.ports import Uplink

UPLINKS = {
    "mqtt": "agent.uplink.mqtt:Mqtt",
}


def find(kind: str) -> type[Uplink]:
    """The uplink called `kind` in TOML. Raises `ConfigFault` if there is none."""
    where = kind if ":" in kind else UPLINKS.get(kind)
    if where is None:
        raise ConfigFault([f"uplink {kind!r} is not known; known are {', '.join(sorted(UPLINKS))}, or module:Class"])
    module, _, attribute = where.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigFault([f"uplink {kind!r}: {error}"]) from error
    if not (isinstance(found, type) and issubclass(found, Uplink)):
        raise ConfigFault([f"uplink {kind!r} is not an Uplink"])
    return found
