"""The second root: what looks at pictures, in the camera's child or for `vedette watch`. Pixels in, columns out.

An eye is one task of one camera (`agent/sights.py`), one row in `EYES`. It owns its net and its memory; a net that is
missing or is not the one of the manifest is a reason in words. The eye on the road goes on with what needs none; the
eye on zones is blind then, which is an alarm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers import video_child, video_health

from . import child
from .core.errors import NetFault
from .core.frame import Array
from .sights import AnyTask, Beach, Cabin, Road, Task, Zones

if TYPE_CHECKING:
    from models.vision import face, road, shore, zones
    from models.vision.net import Net

TILES = 4  # of a face that nobody may know, across and down; project
AROUND = 0.2  # of its size, around a face that was found: hair and ears
PACE = 2.0  # s over which the rate of pictures is a mean


class RoadEye:
    """An eye on the road ahead."""

    doubts = False

    def __init__(self, settings: Road, ready: Net | None = None) -> None:
        """ready: a net in place of the settings' own."""
        from models.vision import road

        self.settings = settings
        self.sight: road.Sight | None = None
        self._road = road
        self._memory: road.Memory | None = None
        self._net, self.why = (ready, "") if ready is not None else _net(settings)
        self._rate = Rate()

    def look(self, at: float, picture: Array, speed: float = math.nan) -> list[float]:
        """One more picture (h, w, 3) uint8 BGR, taken at monotonic s; speed of the vehicle in m/s, NaN: unknown."""
        if self._memory is None:
            self._memory = self._road.start(self.settings.mount, picture)
        mount = self.settings.mount
        try:
            self._memory, self.sight = self._road.look(self._memory, mount, self._net, at, picture, speed)
        except NetFault as fault:  # a net that breaks on the way: on without it
            self.why, self._net = str(fault), None
            return self.look(at, picture, speed)
        return self._road.columns(self.sight, mount, self._rate.at(at))


class Rate:
    """Pictures a second, as a mean over `PACE`."""

    def __init__(self) -> None:
        self._rate, self._last = math.nan, math.nan

    def at(self, at: float) -> float:
        """With one more at monotonic s."""
        passed = at - self._last
        if passed > 0:
            share = min(1.0, passed / PACE)
            self._rate = 1 / passed if math.isnan(self._rate) else self._rate + share * (1 / passed - self._rate)
        self._last = at
        return self._rate


class ZonesEye:
    """An eye on who is in which zone. finder: instead of the net of the settings."""

    def __init__(self, settings: Zones, finder: road.Finder | None = None) -> None:
        from models.vision import zones

        self.settings, self.doubts, self.why = settings, False, ""
        self.sight: zones.Sight | None = None
        self._zones, self._memory = zones, zones.Memory()
        self._finder: road.Finder | None = finder
        self._broken = ""
        if finder is None:
            self._finder, self._broken = _net(settings)

    def look(self, at: float, picture: Array) -> list[float]:
        """One more picture (h, w, 3) uint8 BGR, taken at monotonic s."""
        told = None
        if self._finder is not None:
            try:
                self._memory, self.sight = self._zones.look(self._memory, self.settings, self._finder, at, picture)
                told = self._zones.columns(self.sight)
            except NetFault as fault:  # it may run again, on the next picture
                self._broken, self.sight = str(fault), None
            else:
                self._broken = ""
        if told is None or self.sight is None:
            self.why = self._broken
            return [math.nan] * len(self.settings.columns)
        dark = [zone.name for zone, seen in zip(self.settings.zone, self.sight.zones, strict=True) if seen.is_dark]
        self.why = f"too dark to see anybody in {', '.join(dark)}" if dark else ""
        return told


class BeachEye:
    """An eye on the water's edge of a pond."""

    def __init__(self, settings: Beach) -> None:
        from models.vision import shore

        self.settings, self.doubts, self.why = settings, False, ""
        self.sight: shore.Sight | None = None
        self._shore, self._memory = shore, shore.start(settings)

    def look(self, at: float, picture: Array) -> list[float] | None:
        """One more picture (h, w, 3) uint8 BGR, taken at monotonic s; None until enough of them were seen."""
        self._memory, sight = self._shore.look(self._memory, self.settings, at, picture)
        if sight is None:
            return None
        self.sight, self.why, self.doubts = sight, sight.why, bool(sight.why)
        return self._shore.columns(sight)


class CabinEye:
    """An eye on the driver. A net that is missing or breaks is a reason in words, and what it tells is NaN.

    nets: instead of those of the settings.
    """

    def __init__(self, settings: Cabin, nets: face.Nets | None = None) -> None:
        from models.vision import face

        self.settings, self.doubts, self.why = settings, False, ""
        self.sight: face.Sight | None = None
        self._face, self._memory, self._rate = face, face.Memory(), Rate()
        self._limits = video_health.Limits()
        self._missing: list[str] = []
        self._nets = self._loaded() if nets is None else nets

    def look(self, at: float, picture: Array) -> list[float]:
        """One more picture (h, w, 3) uint8 BGR, taken at monotonic s."""

        def look(nets: face.Nets) -> face.Sight:
            sight: face.Sight
            self._memory, sight = self._face.look(self._memory, nets, at, picture, video_child.picture, self._limits)
            return sight

        return self._face.columns(self._sight(look), self._rate.at(at))

    def still(self, picture: Array) -> list[float]:
        """One picture by itself, of which nothing is remembered."""
        return self._face.columns(self._sight(lambda nets: self._face.still(nets, picture)), math.nan)

    def _sight(self, look: Callable[[face.Nets], face.Sight]) -> face.Sight:
        """What is seen. Where a net breaks, what is seen without any; they may run again, on the next picture."""
        broken = []
        try:
            sight = look(self._nets)
        except NetFault as fault:
            broken, sight = [str(fault)], look(self._face.Nets())
        self.sight, self.why = sight, "; ".join([*self._missing, *broken])
        return sight

    def _loaded(self) -> face.Nets:
        """The nets of the settings; what is wrong with them is noted."""
        asked = self.settings
        finder, marks, eye, mouth, things = (
            self._net(name, does)
            for name, does in (
                (asked.net, ("yunet", "face")),
                (asked.marks, ("marks", "landmarks")),
                (asked.eyes, ("eye", "open_closed")),
                (asked.mouth, ("mouth",)),
                (asked.things, ()),
            )
        )
        nets: face.Nets = self._face.Nets(
            find=None if finder is None else self._face.finding(finder),
            marks=None if marks is None else self._face.answering(marks),
            eye=None if eye is None else self._face.answering(eye),
            mouth=None if mouth is None else self._face.answering(mouth),
            things=None if things is None else things.find,
            kinds=() if things is None else tuple(dict.fromkeys(filter(None, things.manifest.kinds))),
        )
        return nets

    def _net(self, name: str, does: tuple[str, ...]) -> Net | None:
        """The net of that name, if it is of one of these families, or, where none is given, finds things at all."""
        from models.vision import net

        if not name:
            return None
        try:
            one = net.load(name, threads=self.settings.threads, provider=self.settings.provider)
        except NetFault as fault:
            self._missing.append(str(fault))
            return None
        family, finds = one.manifest.family, one.manifest.finds
        if family not in does if does else not finds:
            wanted = f"of {' or '.join(does)}" if does else "that finds things"
            self._missing.append(f"net `{name}` is of {family}: one {wanted} is wanted")
            return None
        return one


EYES: Mapping[str, Any] = {"road": RoadEye, "zones": ZonesEye, "beach": BeachEye, "cabin": CabinEye}


def eye(task: str, settings: AnyTask) -> video_child.Eye:
    """The eye for one task."""
    made: video_child.Eye = EYES[task](settings)
    return made


def opened(order: video_child.Order) -> dict[str, video_child.Eye]:
    """The eyes that a camera is asked for."""
    return {task: eye(task, settings) for task, settings in order.tasks.items()}


def _net(settings: Task) -> tuple[Net | None, str]:
    """The net that is asked for, or why there is none."""
    from models.vision import net

    if not settings.net:
        return None, ""
    try:
        return net.load(settings.net, threads=settings.threads, provider=settings.provider), ""
    except NetFault as fault:
        return None, str(fault)


def veiled(order: video_child.Order) -> Callable[[Array], Array] | None:
    """What blurs the faces that a net finds, where a camera is asked for that. Without its net nothing may be kept."""
    if order.keep is None or not order.keep.blur:
        return None
    from models.vision import net

    try:
        return partial(unknown, net.load(order.keep.blur))
    except NetFault as fault:
        return partial(_refuse, fault)


def unknown(finder: Net, picture: Array) -> Array:
    """The picture (h, w, 3) uint8 with every face that the net finds as a few flat tiles: nobody gets it back."""
    picture = picture.copy()
    high, wide = picture.shape[:2]
    for one in finder.find(picture):
        if one.kind != "face":
            continue
        x1, y1, x2, y2 = one.box
        more = AROUND * max(x2 - x1, y2 - y1)
        left, right = max(0, int(x1 - more)), min(wide, int(x2 + more) + 1)
        top, under = max(0, int(y1 - more)), min(high, int(y2 + more) + 1)
        for rows in np.array_split(np.arange(top, under), TILES):
            for columns in np.array_split(np.arange(left, right), TILES):
                if len(rows) and len(columns):
                    tile = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                    tile[:] = tile.mean(axis=(0, 1))
    return picture


def _refuse(fault: NetFault, picture: Array) -> Array:
    raise fault


if __name__ == "__main__":
    child.leave(video_child.main(opened, veiled))  # as the child without an eye does
