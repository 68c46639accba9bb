"""Platform languages: one file each. An uplink takes from its feed, sends, and says what was confirmed.

A `kind` in TOML is looked up here.
"""

from __future__ import annotations

from ..core.ports import Uplink
from ..named import find as _find

UPLINKS = {
    "hj212": "agent.uplink.hj212:Hj212",
    "jt808": "agent.uplink.jt808:Jt808",
    "minefiles": "agent.uplink.minefiles:Minefiles",
    "mqtt": "agent.uplink.mqtt:Mqtt",
    "sparkplug": "agent.uplink.sparkplug:Sparkplug",
}


def find(kind: str) -> type[Uplink]:
    """The uplink called `kind` in TOML. Raises `ConfigFault` if there is none."""
    return _find("uplink", kind, UPLINKS, Uplink)
