"""Words and wires: everything that turns a device into frames. A driver's name in TOML is looked up here."""

from __future__ import annotations

from agent.core.ports import Driver
from agent.named import find

DRIVERS = {
    "gnss": "drivers.gnss:Gnss",
    "modbus": "drivers.modbus:Modbus",
    "neighbour": "drivers.neighbour:Neighbour",
    "speaker": "drivers.speaker:Speaker",
    "video": "drivers.video:Video",
}


def driver(name: str) -> type[Driver]:
    """The driver called `name` in TOML. Raises `ConfigFault` if there is none."""
    return find("driver", name, DRIVERS, Driver)
