"""From what a camera sees ahead to how long the driver has: time to collision, headway, and the marks of the lane.

The eye (`models/vision/road.py`) tells rates; here they become the seconds that standards speak of, with the speed,
the brake and the turn signals of the vehicle. A number counts once it has stood for some moments, so that one bad
picture warns nobody. What seconds are too few, rules say, after profiles (`configs/profiles/vehicle.toml`).
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from msgspec import Meta

from agent.core.frame import GOOD, OVER_RANGE, UNCERTAIN, Array, Frame, Layout
from agent.core.ports import Detector, witnesses
from agent.sights import FAR, KINDS

LONG = 99.0  # s: nothing is reached sooner
OFF = 5.0  # m: no mark is nearer
CRAWL = 0.1  # m/s: nobody drives slower, to divide by
KMH = {"km/h": 1 / 3.6, "m/s": 1.0}
COLUMNS = (("forward", "s"), ("person", "s"), ("obstacle", "s"), ("headway", "s"), ("lane", "m"), ("grade", ""))
PLAIN = 0.7  # of the time without acceleration, below which a time with it does not go: 2.7 s only within 3.9 s, which
# are 4.4 s in JT/T 1242-2019. project
SURE = 0.5  # standard errors that a rate is taken lower,
ROUGH = 0.08  # 1/s, an error at which it is one more: what is known badly warns nobody of what may be noise. project
OFTEN = 2  # pictures, at least, in the time that a number must stand


class Memory(NamedTuple):
    """The numbers of the last moments."""

    at: tuple[float, ...]  # s
    told: tuple[tuple[float, ...], ...]  # forward, person, obstacle


def reached(closing: float, change: float) -> float:
    """s until something is reached that closes at so many ranges a second, and faster by `change` each second.

    The enhanced time to collision of JT/T 1242-2019, in ranges. LONG where it is not reached.

    >>> reached(0.5, 0.0), round(reached(0.5, 0.2), 2), reached(-0.1, 0.0)
    (2.0, 1.53, 99.0)
    """
    if math.isnan(closing) or closing + change * LONG / 2 <= 1 / LONG:
        return math.nan if math.isnan(closing) else LONG
    if abs(change) < 1e-6:
        return min(LONG, 1 / closing) if closing > 0 else LONG
    root = closing * closing + 2 * change
    if root < 0:
        return LONG
    seconds = (-closing + math.sqrt(root)) / change
    return min(LONG, seconds) if seconds > 0 else LONG


class Collision(Detector, tag="collision", frozen=True, kw_only=True):
    """How long until something ahead is reached, and how near the marks of the lane are.

    In:      the columns of a camera that looks ahead (`agent.sights.ROAD`); beside them speed (km/h or m/s), brake and
             turn signals (on above 0.5), where the vehicle tells them.
    Out:     `<name>.forward`, `.person`, `.obstacle`: s until a vehicle, somebody on foot or anything else in the way
             is reached, 99 where nothing is; `.headway`: s to where the vehicle ahead is now; `.lane`: m from the
             nearer side of the vehicle to the mark there, below 0 beyond it, 5 where none is near; `.grade`: 1 below
             `grading`, 2 from there on (T/JSATL12-2017). NaN and UNCERTAIN where it cannot be told, as headway
             without a speed.
    Memory:  the times of the last moments, which must all be short before one counts. A restart forgets them.
    Weak at: what the camera does not see; a speed that nobody tells opens the gates: it warns at a crawl too.
    Source:  JT/T 1242-2019 (time to collision, ETTC), T/JSATL12-2017 (parameters F364), both verify; ISO 15623:2013;
             confirmation and reaction times: project.
    """

    looks_beside: ClassVar[bool] = True
    speed: str = ""  # `source/key`
    brake: str = ""
    left: str = ""  # turn signals
    right: str = ""
    slowest: Annotated[float, Meta(ge=0)] = 15.0  # km/h, below which nothing ahead is told (JT/T 1242-2019)
    following: Annotated[float, Meta(ge=0)] = 30.0  # km/h, below which no headway is told (T/JSATL12-2017)
    leaving: Annotated[float, Meta(ge=0)] = 60.0  # km/h, below which no lane is told (JT/T 883, verify)
    grading: Annotated[float, Meta(ge=0)] = 50.0  # km/h (T/JSATL12-2017)
    confirm: Annotated[float, Meta(ge=0, le=2)] = 0.1  # s that a time must have been so short
    unnamed: Annotated[float, Meta(ge=0, le=2)] = 0.3  # s, of what no net has a name for
    reaction: Annotated[float, Meta(ge=0, le=3)] = 0.8  # s that a driver gains who brakes already

    @property
    def witnessed(self) -> list[str]:
        return [*self.beside, *(one for one in (self.speed, self.brake, self.left, self.right) if one)]

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        known = set(seen.key)
        if lacking := [key for kind in KINDS for key in (f"{kind}.closing", f"{kind}.range") if key not in known]:
            raise ValueError(
                f"collision `{self.name}`: it wants all channels of a camera that looks at the road; "
                f"{lacking[0]} is not among them"
            )
        if self.speed and (unit := seen.unit[seen.key.index(self.speed)]) not in KMH:
            text = f"speed should be in km/h or m/s, {self.speed} is in {unit or 'no unit'}"
            raise ValueError(f"collision `{self.name}`: {text}")
        return [(f"{self.name}.{key}", unit) for key, unit in COLUMNS]

    def start(self, seen: Layout) -> Memory:
        return Memory((), ())

    def step(self, memory: Memory, seen: Frame) -> tuple[Memory, Array, Array]:
        now = seen.at.mono
        fit = np.isfinite(seen.value) & (seen.quality <= OVER_RANGE) & (seen.age <= seen.layout.stale)
        value = dict(zip(seen.layout.key, np.where(fit, seen.value, np.nan).tolist(), strict=True))
        speed = self._speed(value, seen.layout)
        brakes = value.get(self.brake, 0.0) > 0.5
        times = tuple(self._time(value, kind, brakes) for kind in KINDS)
        kept = [i for i, at in enumerate(memory.at) if 0 <= now - at <= max(self.confirm, self.unnamed) * 1.05]
        at, told = (*(memory.at[i] for i in kept), now), (*(memory.told[i] for i in kept), times)
        moves = not speed * 3.6 < self.slowest
        out = [
            self._stood(at, told, i, self.unnamed if kind == "obstacle" else self.confirm) if moves else LONG
            for i, kind in enumerate(KINDS)
        ]
        ahead = value.get("vehicle.range", math.nan)
        out.append(
            LONG
            if speed * 3.6 < self.following
            else min(ahead / max(speed, CRAWL), LONG)
            if ahead < FAR
            else speed * 0 + LONG
        )
        out += [self._lane(value, speed), speed * 0 + (1.0 if speed * 3.6 < self.grading else 2.0)]
        worth = np.array(out)
        quality = np.where(np.isnan(worth), UNCERTAIN, GOOD)
        if not fit[: len(seen.layout) - witnesses(seen.layout)].any():
            quality = np.full(len(out), seen.quality[0])
        return Memory(at, told), worth, quality

    def moved(self, memory: Memory, seconds: float) -> Memory:
        return memory._replace(at=tuple(one + seconds for one in memory.at))

    def _speed(self, value: dict[str, float], layout: Layout) -> float:
        """m/s, NaN where nobody tells."""
        if not self.speed:
            return math.nan
        return abs(value[self.speed]) * KMH[layout.unit[layout.key.index(self.speed)]]

    def _time(self, value: dict[str, float], kind: str, brakes: bool) -> float:
        """s until the first of its kind is reached."""
        closing, error, change = (value.get(f"{kind}.{key}", math.nan) for key in ("closing", "error", "change"))
        if math.isnan(error) or math.isnan(change):
            error, change = 0.0, 0.0
        sure = closing - error * (SURE + error / ROUGH)
        seconds = max(reached(sure, max(change, 0.0)), PLAIN * reached(sure, 0.0))
        return min(seconds + self.reaction * brakes, LONG)  # in this order NaN stays NaN

    @staticmethod
    def _stood(at: tuple[float, ...], told: tuple[tuple[float, ...], ...], i: int, stands: float) -> float:
        """The longest that the last moments leave from now on; NaN where the newest is not known.

        Moments in which nothing was known do not count, as long as they are the fewer.
        """
        now = at[-1]
        if math.isnan(told[-1][i]):
            return math.nan
        many = max(OFTEN, sum(now - t <= stands * 1.05 for t in at))
        left = [row[i] - (now - t) for t, row in zip(at[-many:], told[-many:], strict=True)]
        known = [one for one in left if not math.isnan(one)]
        if len(left) < many or len(known) < max(OFTEN, many / 2):
            return LONG
        return min(LONG, max(0.0, *known))

    def _lane(self, value: dict[str, float], speed: float) -> float:
        """m to the nearer mark on a side whose turn signal is off."""
        if speed * 3.6 < self.leaving:
            return OFF
        sides = [
            value.get(side, math.nan)
            for side, signal in (("left", self.left), ("right", self.right))
            if not value.get(signal, 0.0) > 0.5
        ]
        known = [one for one in sides if not math.isnan(one)]
        return min([OFF, *known])
