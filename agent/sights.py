"""What a camera may be asked to look for: the settings of each task, and the columns that come of it.

Settings and names only, so that whoever reads a site file need not load what looks at pictures (`models/vision`).
"""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta, Struct

FAR = 250.0  # m: nothing is nearer
KINDS = ("vehicle", "person", "obstacle")  # of what is in the way; two-wheelers count as vehicles


class Mount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a camera that looks ahead is mounted. Nothing of it need be known; what is not, is learnt or usual."""

    width: Annotated[int, Meta(ge=0)] = 0  # px of the picture that the next three speak of; 0: as pictures come
    focal: Annotated[float, Meta(ge=0)] = 0.0  # px; 0: usual, 0.8 of the width
    x: Annotated[float, Meta(ge=0)] = 0.0  # px, column towards which the vehicle drives; 0: the middle, and learnt
    y: Annotated[float, Meta(ge=0)] = 0.0  # px, row of the horizon; 0: usual, 0.45 of the height, and learnt
    height: Annotated[float, Meta(gt=0.3, le=5)] = 1.5  # m above the road
    aside: Annotated[float, Meta(ge=-2, le=2)] = 0.0  # m of the camera to the right of the vehicle's middle
    front: Annotated[float, Meta(ge=-1, le=10)] = 0.0  # m from the camera to the bumper, ahead of it
    vehicle: Annotated[float, Meta(gt=0.3, le=4)] = 2.0  # m, width of the own vehicle


class Road(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """To look ahead: what is in the way, how far and how soon; and the marks of the lane."""

    net: str = "vehicle"  # of `vedette models`; empty: none, only what looms
    provider: str = "cpu"  # what runs the net: cpu, xnnpack, acl, openvino, cuda, or as ONNX Runtime calls it
    threads: Annotated[int, Meta(ge=1, le=16)] = 1
    rate: Annotated[float, Meta(gt=0, le=60)] = 15.0  # pictures a second that are looked at, at most
    mount: Mount = Mount()


# Columns of the task `road`: key, unit, lowest, highest. Of each kind the one in the way that is reached first; where
# there is none it is FAR and nothing closes.
ROAD: tuple[tuple[str, str, float, float], ...] = (
    *(
        row
        for kind in KINDS
        for row in (
            (f"{kind}.closing", "1/s", -20.0, 20.0),  # 1 by it: the time to collision; below 0 it goes away
            (f"{kind}.error", "1/s", 0.0, math.nan),  # standard error of that
            (f"{kind}.change", "1/s2", -20.0, 20.0),  # deceleration of it against the camera, in ranges
            (f"{kind}.range", "m", 0.0, FAR),  # from the bumper
        )
    ),
    ("left", "m", -5.0, 5.0),  # from the vehicle's left side to the mark there; below 0 beyond it; NaN without a mark
    ("right", "m", -5.0, 5.0),
    ("doubt", "deg", 0.0, 90.0),  # of where the camera looks
    ("rate", "1/s", 0.0, math.nan),  # pictures that were looked at
)
