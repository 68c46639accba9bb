"""What a camera may be asked to look for: the settings of each task, and the columns that come of it.

Settings and names only, so that whoever reads a site file need not load what looks at pictures (`models/vision`). A
task is one row in `TASKS`, one field of the camera and one eye (`agent/vision.py`); what it sees is a source of its
own, `<camera>.<task>`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta, Struct

from .core.frame import Array
from .ground import back, ground, placed

FAR = 250.0  # m: nothing is nearer
KINDS = ("vehicle", "person", "obstacle")  # of what is in the way; two-wheelers count as vehicles
BLIND = 2.0  # s after which what was seen of something that moves is not to be relied on
BESIDE = 600.0  # s after which what goes with a column that is blind is blind as well; it alarms then, not at once

Column = tuple[str, str, float, float]  # key, unit, lowest, highest
Polygon = Annotated[list[tuple[float, float]], Meta(min_length=3)]  # corners as shares of width and height


class Task(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="task"):
    """What all tasks have in common."""

    net: str = ""  # of `vedette models`; empty: none
    provider: str = "cpu"  # what runs the net: cpu, xnnpack, acl, openvino, cuda, or as ONNX Runtime calls it
    threads: Annotated[int, Meta(ge=1, le=16)] = 1
    rate: Annotated[float, Meta(gt=0, le=60)] = 5.0  # pictures a second that are looked at, at most

    blinded: ClassVar[tuple[str, ...]] = ()  # states of the camera in which it sees nothing that may be believed
    relied: ClassVar[bool] = False  # what it cannot tell is FAULT at once: somebody relies on it now
    place: ClassVar[bool] = False  # it knows its place: where its camera looks is part of the settings
    of: ClassVar[str] = ""  # what it tells, for people

    @property
    def columns(self) -> tuple[Column, ...]:
        """What it tells."""
        raise NotImplementedError

    @property
    def watch(self) -> tuple[str, ...]:
        """Those of its columns that are FAULT while it is blind; of the others nothing is told then."""
        return ()

    @property
    def stale(self) -> list[float]:
        """s after which each column is blind."""
        usual = max(BLIND, 5 / self.rate)
        return [usual if not self.watch or key in self.watch else BESIDE for key, *_ in self.columns]


class Mount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a camera that looks ahead is mounted. Nothing of it need be known; what is not, is learnt or usual."""

    width: Annotated[int, Meta(ge=0)] = 0  # px of the picture that the next three speak of; 0: as pictures come
    focal: Annotated[float, Meta(ge=0)] = 0.0  # px; 0: usual, 0.8 of the width
    x: Annotated[float, Meta(ge=0)] = 0.0  # px, column towards which the vehicle drives; 0: the middle, and learnt
    y: Annotated[float, Meta(ge=0)] = 0.0  # px, row of the horizon; 0: usual, 0.45 of the height, and learnt
    height: Annotated[float, Meta(ge=0, le=5)] = (
        0.0  # m above the road; 0: usual, 1.5, and learnt from the width of cars
    )
    aside: Annotated[float, Meta(ge=-2, le=2)] = 0.0  # m of the camera to the right of the vehicle's middle
    front: Annotated[float, Meta(ge=-1, le=10)] = 0.0  # m from the camera to the bumper, ahead of it
    vehicle: Annotated[float, Meta(gt=0.3, le=4)] = 2.0  # m, width of the own vehicle


class Road(Task, frozen=True, kw_only=True, tag="road"):
    """To look ahead: what is in the way, how far and how soon; and the marks of the lane."""

    net: str = "vehicle"  # empty: none, only what looms
    rate: Annotated[float, Meta(gt=0, le=60)] = 15.0
    mount: Mount = Mount()

    of: ClassVar[str] = "the road"

    @property
    def columns(self) -> tuple[Column, ...]:
        return ROAD


# Columns of the task `road`: key, unit, lowest, highest. Of each kind the one in the way that is reached first; where
# there is none it is FAR and nothing closes.
ROAD: tuple[Column, ...] = (
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
    ("height", "m", 0.0, 10.0),  # of the camera, as the widths of cars ahead tell it; NaN before enough of them did
    ("rate", "1/s", 0.0, math.nan),  # pictures that were looked at
)


# -- what is watched from a fixed camera ------------------------------------------------------------------------------

UNSEEN = ("black", "covered", "overexposed", "frozen", "moved")  # a camera of which nothing may be believed
Kind = Literal["person", "two-wheeler", "vehicle"]


class Zone(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the picture where somebody should not be, or not for long."""

    name: Annotated[str, Meta(pattern=r"^[\w-]+$")]
    polygon: Polygon
    kinds: Annotated[tuple[Kind, ...], Meta(min_length=1)] = (
        "person",
        "two-wheeler",
    )  # who counts; somebody rides on two
    dwell: Annotated[float, Meta(ge=0, le=86400)] = 1.0  # s inside, from which on somebody counts
    point: Literal["foot", "middle"] = "foot"  # of its box, that is inside: the middle of its lower edge, or of all

    def __post_init__(self) -> None:
        if any(not 0.0 <= share <= 1.0 for corner in self.polygon for share in corner):
            raise ValueError(f"zone `{self.name}`: corners are shares of width and height, from 0 to 1")
        x, y = np.array(self.polygon).T
        if abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2 < 1e-4:
            raise ValueError(f"zone `{self.name}`: its corners span nothing; give them in order, round the zone")


class Zones(Task, frozen=True, kw_only=True, tag="zones"):
    """To watch zones: who is in each, and for how long. `net` has no default: the one that ships sees few people."""

    zone: Annotated[list[Zone], Meta(min_length=1, max_length=16)]
    keep: Annotated[float, Meta(ge=0, le=60)] = 3.0  # s that somebody who is not seen any more counts as still there
    dark: Annotated[float, Meta(ge=0, le=255)] = (
        16.0  # grey, of the brightest twentieth of a zone; below: blind. project
    )

    blinded: ClassVar[tuple[str, ...]] = UNSEEN
    relied: ClassVar[bool] = True
    place: ClassVar[bool] = True
    of: ClassVar[str] = "who is in which zone"

    def __post_init__(self) -> None:
        names = [zone.name for zone in self.zone]
        if len(set(names)) < len(names):
            raise ValueError("zones: each has a name of its own")
        if not self.net:
            text = "name one that knows people, like yolox_nano (`vedette models fetch yolox_nano`, or import)"
            raise ValueError(f"zones: nobody is seen without a net; {text}")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of each zone: how many are inside for its `dwell` or longer, the longest stay (s), and how sure it is."""
        return tuple(
            row
            for zone in self.zone
            for row in (
                (f"{zone.name}.count", "", 0.0, math.nan),
                (f"{zone.name}.dwell", "s", 0.0, math.nan),  # 0 where nobody is
                (f"{zone.name}.score", "", 0.0, 1.0),  # of the surest one inside, as the net says it; 0 where nobody is
            )
        )

    @property
    def watch(self) -> tuple[str, ...]:
        return tuple(f"{zone.name}.count" for zone in self.zone)


class Beach(Task, frozen=True, kw_only=True, tag="beach"):
    """To see how long the beach of a tailings pond is: from the dam's crest to the water's edge."""

    rate: Annotated[float, Meta(gt=0, le=60)] = 2.0
    points: list[tuple[float, float, float, float]]  # shares across and down of the picture, and x, y there in m
    crest: tuple[float, float]  # m, where the beach begins
    far: tuple[float, float]  # m, in the water, straight on from there: the longest beach that can be told
    wide: Annotated[float, Meta(gt=0, le=1000)] = 10.0  # m, of the strip that is looked at, half to either side
    every: Annotated[float, Meta(ge=1, le=3600)] = 10.0  # s from one measurement to the next
    fastest: Annotated[float, Meta(gt=0)] = (
        30.0  # m/h by which the water's edge moves at most; more is doubted. project
    )
    patience: Annotated[float, Meta(ge=60)] = 57600.0  # s without a measurement (nights, fog) that are no alarm yet

    blinded: ClassVar[tuple[str, ...]] = UNSEEN[1:]  # nights are black, and no fault
    place: ClassVar[bool] = True
    of: ClassVar[str] = "how long the beach is"

    def __post_init__(self) -> None:
        if self.net:
            raise ValueError("beach: it asks no net")
        if math.dist(self.crest, self.far) < 1.0:
            raise ValueError("beach: crest and far are one place")
        there = placed(back(self.plane), np.array([self.far]))[0]
        if not ((there >= 0) & (there <= 1)).all():
            raise ValueError("beach: `far` is not in the picture; take a place in the water that is")

    @property
    def plane(self) -> Array:
        """The homography (3, 3) from shares of the picture to metres. Raises `ValueError` in words."""
        return ground([row[:2] for row in self.points], [row[2:] for row in self.points])

    @property
    def columns(self) -> tuple[Column, ...]:
        return BEACH

    @property
    def watch(self) -> tuple[str, ...]:
        return ("beach",)

    @property
    def stale(self) -> list[float]:
        return [self.patience] * len(self.columns)


BEACH: tuple[Column, ...] = (
    ("beach", "m", 0.0, math.nan),  # from the crest to the water's edge
    ("error", "m", 0.0, math.nan),  # standard error of it, as its neighbours scatter and the picture resolves
    ("change", "m/h", math.nan, math.nan),  # below 0 it grows shorter; NaN until it was seen for some time
)


# -- who drives ------------------------------------------------------------------------------------------------------


class Cabin(Task, frozen=True, kw_only=True, tag="cabin"):
    """To look at the driver: face, eyes, mouth and where the head points."""

    net: str = "face"  # finds the face
    marks: str = "marks"  # finds eyes, mouth and pose in it; empty: what the first net tells of them
    eyes: str = "eye"  # tells whether an eye is closed
    mouth: str = "mouth"  # tells how wide a mouth is open
    things: str = ""  # knows phones, cigarettes or belts; empty: none is told of
    rate: Annotated[float, Meta(gt=0, le=60)] = 15.0

    relied: ClassVar[bool] = True  # whether it is covered or frozen it says itself
    of: ClassVar[str] = "the driver"

    @property
    def columns(self) -> tuple[Column, ...]:
        return CABIN

    @property
    def watch(self) -> tuple[str, ...]:
        return "face", "hidden"  # NaN only where a net is missing or broken


# Columns of the task `cabin`, of one picture, as the camera sees it: nothing is known of the person or the mounting.
CABIN: tuple[Column, ...] = (
    ("face", "", 0.0, 1.0),  # score of the driver's face; 0: none is seen
    ("present", "", 0.0, 1.0),  # somebody sits there; NaN: it cannot be told
    ("covered", "", 0.0, 1.0),  # 1: nothing is seen through this lens
    ("frozen", "", 0.0, 1.0),  # 1: the picture does not change
    ("left", "", 0.0, 1.0),  # probability that the driver's own left eye is closed; NaN: it cannot be judged
    ("left.error", "", 0.0, 1.0),  # standard error of that, as of all below
    ("right", "", 0.0, 1.0),
    ("right.error", "", 0.0, 1.0),
    ("closed", "", 0.0, 1.0),  # of both, weighed by how surely each is seen
    ("closed.error", "", 0.0, 1.0),
    ("lid", "", 0.0, 1.5),  # opening of the eyes: 0 shut, 1 as usual
    ("hidden", "", 0.0, 1.0),  # 1: a face is seen, and its eyes cannot be judged
    ("mouth", "", 0.0, 1.0),  # opening: 0 shut, 1 the widest yawn
    ("mouth.error", "", 0.0, 1.0),
    ("yaw", "deg", -180.0, 180.0),  # above 0 the nose points to the right of the picture
    ("yaw.error", "deg", 0.0, 180.0),
    ("pitch", "deg", -180.0, 180.0),  # above 0 it points down
    ("pitch.error", "deg", 0.0, 180.0),
    ("roll", "deg", -180.0, 180.0),  # above 0 counter-clockwise
    ("phone", "", 0.0, 1.0),  # score of a phone at the head or in a hand; NaN without a net that knows it, as below
    ("smoke", "", 0.0, 1.0),  # of a cigarette at the mouth
    ("belt", "", 0.0, 1.0),  # of a fastened belt
    ("rate", "1/s", 0.0, math.nan),  # pictures that were looked at
)
TASKS: Mapping[str, type[Task]] = {"road": Road, "zones": Zones, "beach": Beach, "cabin": Cabin}
AnyTask = Road | Zones | Beach | Cabin
