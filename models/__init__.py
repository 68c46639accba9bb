"""Detectors: from columns to columns. A detector's name in TOML is looked up here."""

from __future__ import annotations

from agent.core.ports import Detector
from agent.named import find

DETECTORS = {
    "anomaly": "models.anomaly:Anomaly",
    "barometric": "models.water:Barometric",
    "collision": "models.collision:Collision",
    "dam": "models.dam:Dam",
    "exposure": "models.exposure:Exposure",
    "fatigue": "models.fatigue:Fatigue",
    "gas": "models.gas:Gas",
    "graham": "models.goaf:Graham",
    "inflow": "models.water:Inflow",
    "lag": "models.dam:Lag",
    "mixture": "models.exposure:Mixture",
    "rain": "models.dam:Rain",
    "reach": "models.reach:Reach",
    "slope": "models.slope:Slope",
    "tamper": "models.tamper:Tamper",
    "window": "models.window:Window",
}


def detector(name: str) -> type[Detector]:
    """The detector called `name` in TOML. Raises `ConfigFault` if there is none."""
    return find("detector", name, DETECTORS, Detector)
