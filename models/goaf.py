"""Spontaneous combustion in a goaf: index gases put in relation to the oxygen that went."""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.core.frame import UNCERTAIN, Array, Frame, Layout
from agent.core.ports import Detector

AIR = 0.265  # O2 by N2 in fresh air: what there would be, had none been used
LEAST = 0.3  # % of O2 that must be gone, else the ratio is noise


class Graham(Detector, tag="graham", frozen=True, kw_only=True):
    """Graham's ratio: the carbon monoxide that was made for the oxygen that was used, in %.

        100 x CO / (0.265 N2 - O2)

    In:      value (3,), in this order as `channel` names them: CO in ppm or %, O2 in %, N2 in %, of one place.
    Out:     `<name>.graham` in %. NaN while less than 0.3 % of oxygen is gone; as good as the worst of the three.
    Memory:  none.
    Weak at: air that is old for other reasons (methane, CO2); small losses of oxygen. Look at the trend beside it.
    Source:  J. Ivon Graham 1920; limits in `configs/profiles/goaf.toml`, verify.
    """

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        if len(seen) != 3 or seen.unit[0] not in ("ppm", "%") or set(seen.unit[1:]) != {"%"}:
            units = ", ".join(f"{key} in {unit or 'no unit'}" for key, unit in zip(seen.key, seen.unit, strict=True))
            raise ValueError(f"graham `{self.name}`: CO in ppm or %, O2 in %, N2 in %, of one source; here: {units}")
        return [(f"{self.name}.graham", "%")]

    def start(self, seen: Layout) -> None:
        return None

    def step(self, memory: None, seen: Frame) -> tuple[Any, Array, Array]:
        co, oxygen, nitrogen = seen.value
        percent = co / 1e4 if seen.layout.unit[0] == "ppm" else co
        used = AIR * nitrogen - oxygen
        ratio = 100.0 * percent / used if used >= LEAST else np.nan
        worst = seen.quality.max()
        # little oxygen gone is no fault: what was raised may not clear by it, nor anything be raised
        return (
            None,
            np.array([ratio]),
            np.array([worst if np.isfinite(ratio) else max(worst, UNCERTAIN)], np.uint8),
        )
