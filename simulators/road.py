"""Drawn road scenes with known truth: what a camera behind a windscreen sees, and what is really there.

A story is a row of a table (`stories.py`). `Drive` plays it: where everybody is at a time, the picture of that time,
and the truth beside it. The same story, seed and camera give the same pixels. The ground is flat, bodies do not lean,
light falls from everywhere; what is painted on bodies is `bodies.py`, the place and the weather are `scenery.py`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from . import bodies, lens, scenery
from .bodies import Body
from .lens import Array, Camera, Eye, Face
from .scenery import Light, Thing
from .stories import STEP, STORIES, WIDE, Actor, Story, moment, own, signals, track
from .video import Fault, spoilt

FPS = 20.0
COLUMNS = "frame,t_s,range_m,ego_mps,lead_mps,closing_mps,ttc_s,headway_s,x1,y1,x2,y2,lateral_m,in_path"


class Box(NamedTuple):
    """A thing in a picture."""

    kind: str  # vehicle, two-wheeler, person
    what: str
    x1: float  # px; may reach over the picture's edge
    y1: float
    x2: float
    y2: float
    range: float  # m from the camera to its nearest point, ahead
    lateral: float  # m of its middle, right of our lane's middle
    hidden: float  # 0 to 1: how much of what lies in the picture is behind other things
    cut: float  # 0 to 1: how much of its box is outside of the picture
    actor: int = -1  # which of the story; -1: it was parked there


class Drive:
    """A story as it is driven, seen by a camera; `weather` in place of what the story says."""

    def __init__(
        self, story: Story, seed: int = 1, weather: tuple[str, ...] = (), camera: Camera | None = None, fps: float = FPS
    ) -> None:
        self.story, self.seed, self.fps = story, seed, fps
        self.camera = camera or Camera()
        self.weather = weather or story.weather
        rng = np.random.default_rng(seed)
        self.light = scenery.light(self.weather, rng)
        self.own = own(story)
        self.tracks = [track(a.x, a.z, a.speed, a.moves, story.seconds) for a in story.actors]
        self.seeds = [int(rng.integers(1 << 31)) for _ in story.actors]
        self.bodies = [
            bodies.body(a.what, np.random.default_rng(s), a.facing, None)
            for a, s in zip(story.actors, self.seeds, strict=True)
        ]
        self.steps = lru_cache(32)(self._step)
        self.under = scenery.shadow(4.5, 1.8, 0.75 if self.light.sky > 0.3 else 0.4)
        n = self.frames
        wobble = np.random.default_rng(seed + 1).normal(0, 1, (3, n + 60))
        kernel = np.exp(-0.5 * (np.arange(-6, 7) / 1.6) ** 2)
        smooth = np.array([np.convolve(row, kernel / kernel.sum() * 2, "same") for row in wobble])
        rough = 1.0 if "shake" in self.weather else 0.06
        self.sway = smooth * np.array([[0.004], [0.0016], [0.003]]) * rough  # rad: pitch, yaw, roll

    # what takes time to paint is painted when it is first looked at: the truth alone needs none of it

    @cached_property
    def road(self) -> scenery.Road:
        reach = float(self.own.z[-1]) + 320
        return scenery.Road(self.story.place, self.weather, reach, self.story.bend, self._dice(1))

    @cached_property
    def far(self) -> Array:
        return scenery.far(self.camera, self.weather, self.light, self._dice(2))

    @cached_property
    def glass(self) -> scenery.Lens:
        return scenery.Lens(self.camera, self.weather, self._dice(3))

    def _dice(self, which: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, which))

    @property
    def frames(self) -> int:
        """How many pictures the story has."""
        return int(self.story.seconds * self.fps)

    # -- where everybody is --

    def at(self, n: int) -> int:
        """The step of the n-th picture."""
        return moment(self.own, n / self.fps)

    def eye(self, n: int, aside: float = 0.0) -> Eye:
        """The camera at the n-th picture. It stands at z = 0; a body that brakes dips. aside: rad it was pushed."""
        i = self.at(n)
        pitch, yaw, roll = self.sway[:, n % self.sway.shape[1]]
        dip = -0.0022 * float(_eased_at(self.own.gain, i))
        heading = float(np.arctan2(self.own.across[i], max(self.own.speed[i], 1.0)))
        return lens.eye(
            self.camera, float(self.own.x[i]), 0.0, heading + float(yaw) + aside, float(pitch) + dip, float(roll)
        )

    def signals(self, n: int) -> dict[str, float]:
        """What our own vehicle says at the n-th picture: speed m/s, brake and turn signals 0 or 1."""
        return signals(self.story, self.own, n / self.fps)

    def _step(self, actor: int, eighth: int) -> Body:
        """Somebody on foot in one of eight phases of the step."""
        a = self.story.actors[actor]
        return bodies.person(np.random.default_rng(self.seeds[actor]), eighth / 8, a.facing)

    def cast(self, n: int) -> list[tuple[Thing, int, bool]]:
        """Everything that stands or moves at the n-th picture, with which actor it is and whether it brakes."""
        i = self.at(n)
        ego = float(self.own.z[i])
        out: list[tuple[Thing, int, bool]] = []
        for k, (actor, way) in enumerate(zip(self.story.actors, self.tracks, strict=True)):
            body = self.bodies[k]
            if body.what == "person" and abs(way.across[i]) > 0.1:
                body = self.steps(k, int(n / self.fps * 1.9 * 8) % 8)
            yaw = 0.0
            if body.turns:
                yaw = float(np.arctan2(way.across[i], max(abs(way.speed[i]), 4.0))) + (np.pi if actor.speed < 0 else 0)
            out.append((Thing(body, float(way.x[i]), float(way.z[i]) - ego, yaw), k, bool(way.gain[i] < -0.5)))
        for thing in self.road.things:
            z = thing.z - ego
            if -thing.body.length < z < 260:
                out.append((thing._replace(z=z), -1, False))
        return out

    # -- the picture --

    def picture(self, n: int, fault: Fault = "") -> Array:
        """The n-th picture (h, w, 3) uint8; after the last the story begins again. Faults are those of `video.py`."""
        n = 0 if fault == "frozen" else n % max(1, self.frames)
        image: Array = self.look(n, {"shifted": 0.1, "turned": 0.7}.get(fault, 0.0))[0]
        return spoilt(image, fault, n) if fault else image

    def look(self, n: int, aside: float = 0.0) -> tuple[Array, list[Box]]:
        """The n-th picture and every target in it."""
        rng = np.random.default_rng((self.seed, n))
        picture, boxes = self.seen(self.eye(n, aside), n)
        if "blur" in self.weather:  # the shutter stays open for the third of a picture's time
            between = [self.seen(self.eye(n, aside), n, part)[0] for part in (0.12, 0.24)]
            picture = (picture + between[0] + between[1]) / 3
        out = self.glass.see(picture, self.light, n / self.fps, rng)
        return out, boxes

    def seen(self, eye: Eye, n: int, late: float = 0.0) -> tuple[Array, list[Box]]:
        """What falls on the sensor, (h, w, 3) float32, `late` pictures after the n-th; and the targets."""
        i = min(self.at(n) + round(late / self.fps / STEP), len(self.own.z) - 1)
        ego, moved = float(self.own.z[i]), float(self.own.z[i]) - float(self.own.z[self.at(n)])
        picture = np.empty((self.camera.height, self.camera.width, 3), np.float32)
        pitch = float(np.arcsin(np.clip(-eye.turn[2, 1], -1, 1))) - self.camera.pitch
        yaw = float(np.arctan2(eye.turn[2, 0], eye.turn[2, 2]))
        roll = float(np.arctan2(-eye.turn[0, 1], -eye.turn[1, 1]))
        picture[:] = scenery.behind(self.camera, self.far, yaw - 60 * self.road.bend, pitch, roll)
        self.road.draw(picture, eye, ego, self.light)
        cast = [(thing._replace(z=thing.z - moved), k, brakes) for thing, k, brakes in self.cast(n)]
        if late:
            for j, (thing, k, brakes) in enumerate(cast):
                if k >= 0:
                    way = self.tracks[k]
                    cast[j] = (thing._replace(x=float(way.x[i]), z=float(way.z[i]) - ego), k, brakes)
        return picture, drawn(
            picture, eye, self.road, cast, ego, self.light, self.under, self.story.actors, n / self.fps
        )

    # -- the truth --

    def truth(self, n: int, boxes: list[Box] | None = None) -> dict[str, Any]:
        """The row of the truth for the n-th picture; about who is nearest in our path, or else the first of the story.

        Empty where nobody is there at all, `inf` where it does not come nearer.
        """
        i = self.at(n)
        row: dict[str, Any] = dict.fromkeys(COLUMNS.split(","), "")
        row |= {
            "frame": n,
            "t_s": f"{n / self.fps:.3f}",
            "ego_mps": f"{self.own.speed[i]:.3f}",
            "ttc_s": "inf",
            "in_path": 0,
        }
        ahead = []
        for k, (actor, way) in enumerate(zip(self.story.actors, self.tracks, strict=True)):
            gap = float(way.z[i] - self.own.z[i])
            if gap > lens.NEAR:
                wide = self.bodies[k].width / 2 + WIDE / 2
                off = float(way.x[i] - self.own.x[i])
                ahead.append((not (abs(off) < wide - 0.15 and actor.speed >= 0), gap, k, off))
        if not ahead:
            return row
        out, gap, k, off = min(ahead) if not min(ahead)[0] else min(ahead, key=lambda a: a[2])
        way = self.tracks[k]
        closing = float(self.own.speed[i] - way.speed[i])
        place = hull(Thing(self.bodies[k], float(way.x[i]), gap, self._yaw(k, i)), self.story.bend)
        around = lens.box(self.eye(n), place)
        row |= {
            "range_m": f"{gap:.3f}",
            "lead_mps": f"{way.speed[i]:.3f}",
            "closing_mps": f"{closing:.3f}",
            "ttc_s": f"{gap / closing:.3f}" if closing > 1e-3 else "inf",
            "headway_s": f"{gap / self.own.speed[i]:.3f}" if self.own.speed[i] > 0.1 else "inf",
            "lateral_m": f"{off:.2f}",
            "in_path": int(not out),
        }
        if around:
            row |= {key: f"{v:.1f}" for key, v in zip(("x1", "y1", "x2", "y2"), around, strict=True)}
        return row

    def _yaw(self, k: int, i: int) -> float:
        way = self.tracks[k]
        if not self.bodies[k].turns:
            return 0.0
        turned = np.pi if self.story.actors[k].speed < 0 else 0
        return float(np.arctan2(way.across[i], max(abs(way.speed[i]), 4.0)) + turned)


def _eased_at(value: Array, i: int) -> float:
    """The mean of the last 0.4 s: a body dips and rises slowly."""
    return float(value[max(0, i - 80) : i + 1].mean())


def placed(thing: Thing, bend: float, points: Array) -> Array:
    """(..., 3) points of a body where it stands, its nearer end at z ahead of us."""
    body = thing.body
    way = bend * (thing.z + body.length / 2)
    c, s = np.cos(thing.yaw + way), np.sin(thing.yaw + way)
    p = points - (0, 0, body.length / 2) if body.turns else points
    x = thing.x + 0.5 * bend * (thing.z + body.length / 2) ** 2
    z = thing.z + (body.length / 2 if body.turns else 0)
    if not body.turns:
        c, s = 1.0, 0.0
    return np.stack([p[..., 0] * c + p[..., 2] * s + x, p[..., 1], p[..., 2] * c - p[..., 0] * s + z], -1)


def hull(thing: Thing, bend: float) -> Array:
    return placed(thing, bend, thing.body.hull)


def drawn(
    picture: Array,
    eye: Eye,
    road: scenery.Road,
    cast: list[tuple[Thing, int, bool]],
    ego: float,
    gain: Light,
    under: Any,
    actors: tuple[Actor, ...],
    t: float,
) -> list[Box]:
    """Lays everything into the picture, far things first, and tells the targets."""
    camera = eye.camera
    who = np.zeros((camera.height, camera.width), np.int16)
    todo: list[tuple[float, Any, list[Face], int]] = []
    for index, (thing, k, _) in enumerate(cast):
        body = thing.body
        ground = placed(thing, road.bend, np.array([(0.0, 0, body.length / 2 if body.turns else 0)]))[0]
        if body.kind and ground[2] > -2:
            x, z = body.width / 2 * 1.12 + 0.06, max(body.length, 0.5) / 2 * 1.04 + 0.12
            corners = np.array([(-x, 0, z), (x, 0, z), (x, 0, -z), (-x, 0, -z)]) + np.array((0, 0, body.length / 2))
            plate = Face(placed(thing, road.bend, corners), under, True)
            layer = lens.drawn(eye, [plate], 1)
            if layer:
                lens.lay(picture, layer)
        faces = [Face(placed(thing, road.bend, f.corners), f.texture, f.both) for f in body.faces]
        if road.spray and k >= 0 and body.lamps and abs(actors[k].speed) > 5:
            z = -0.8 if actors[k].speed > 0 else body.length + 0.8
            x, y = 0.75 * body.width, 0.5 * body.height
            corners = np.array([(-x, y, z), (x, y, z), (x, 0, z), (-x, 0, z)])
            faces.append(Face(placed(thing, road.bend, corners), road.spray, True))
        todo.append((float(np.hypot(ground[0] - eye.at[0], ground[2])), thing, faces, index))
    for z, faces in scenery.rails(road, ego):
        todo.append((z, None, faces, -1))
    totals: dict[int, int] = {}
    for distance, thing, faces, index in sorted(todo, key=lambda e: -e[0]):
        layer = lens.drawn(eye, faces, 3 if thing is not None and thing.body.kind else 2)
        if layer is None:
            continue
        _light(layer, eye, distance, faces, gain)
        lens.lay(picture, layer)
        solid = layer.pixels[..., 3] > 110
        h, w = solid.shape
        part = who[layer.y : layer.y + h, layer.x : layer.x + w]
        part[solid] = index + 1
        if thing is None:
            continue
        totals[index] = int(solid.sum())
        if thing.body.lamps:
            _lamps(picture, eye, thing, road, cast[index], gain, actors, t)
    count = np.bincount(who.ravel(), minlength=len(cast) + 2)
    out = []
    for index, (thing, k, _) in enumerate(cast):
        if not thing.body.kind or not totals.get(index):
            continue
        around = hull(thing, road.bend)
        found = lens.box(eye, around)
        if found is None:
            continue
        x1, y1, x2, y2 = found
        inside = max(0.0, min(x2, camera.width) - max(x1, 0)) * max(0.0, min(y2, camera.height) - max(y1, 0))
        seen = count[index + 1] / totals[index]
        out.append(
            Box(
                thing.body.kind,
                thing.body.what,
                x1,
                y1,
                x2,
                y2,
                float(max(around[:, 2].min(), 0.0)),
                thing.x,
                1 - float(min(seen, 1)),
                1 - inside / max((x2 - x1) * (y2 - y1), 1e-6),
                k,
            )
        )
    return out


def _light(layer: lens.Layer, eye: Eye, distance: float, faces: list[Face], gain: Light) -> None:
    """What light falls on a body, and how much haze is before it."""
    middle = np.mean([f.corners.mean(0) for f in faces], 0)
    rows = layer.y + np.arange(layer.pixels.shape[0]) + 0.5
    shine: Any = np.full(len(rows), gain.sky, np.float32)
    if gain.beams:
        y = eye.camera.up - (rows - eye.camera.cy) / eye.camera.focal * max(middle[2], 1.0)
        shine = shine + gain.beams * scenery.beam(middle[0] - eye.at[0], max(middle[2], 2.0), y)
    fade = float(np.exp(-gain.haze * distance))
    layer.pixels[..., :3] *= np.float32(shine[:, None, None] * gain.tint * fade)
    layer.pixels[..., :3] += (layer.pixels[..., 3:] / 255 * (1 - fade) * gain.veil).astype(np.float32)


GLOWS = {  # BGR and size m
    "tail": ((25.0, 18, 175), 0.07),
    "brake": ((70.0, 60, 420), 0.10),
    "head": ((420.0, 440, 450), 0.13),
    "left": ((40.0, 190, 420), 0.08),
    "right": ((40.0, 190, 420), 0.08),
}


def _lamps(
    picture: Array,
    eye: Eye,
    thing: Thing,
    road: scenery.Road,
    entry: tuple[Thing, int, bool],
    gain: Light,
    actors: tuple[Actor, ...],
    t: float,
) -> None:
    _, k, brakes = entry
    if k < 0:
        return
    on = gain.lamps and actors[k].lit
    for lamp in thing.body.lamps:
        if not (on if lamp.kind in ("tail", "head") else brakes if lamp.kind == "brake" else False):
            continue
        at = placed(thing, road.bend, np.stack([lamp.at, lamp.at + np.array((0, 0, -1 if lamp.rear else 1))]))
        seen = lens.before(eye, at)
        if seen[0, 2] < 1 or (seen[1] - seen[0]) @ seen[0] > 0:  # it shines away from us
            continue
        (colour, size), (x, y) = GLOWS[lamp.kind], lens.projected(eye.camera, seen[:1])[0]
        dark = 1.0 if gain.sky < 0.2 else 0.55
        radius = eye.camera.focal * size * (1 + 0.6 * dark * (lamp.kind == "head")) / float(seen[0, 2])
        weak = min(1.0, radius / 0.8) ** 2
        fade = float(np.exp(-gain.haze * 0.6 * seen[0, 2]))
        b, g, r = (c * dark * weak * fade for c in colour)
        lens.glow(picture, float(x), float(y), max(radius, 0.8), (b, g, r))
        if gain.sky < 0.6 and "rain" in road.weather:  # and in the wet road below
            foot = lens.before(eye, np.array([[at[0, 0], -at[0, 1], at[0, 2]]]))
            (mx, my) = lens.projected(eye.camera, foot)[0]
            for part in (0.5, 0.75, 1.0):
                lens.glow(
                    picture,
                    float(mx),
                    float(y + (my - y) * part),
                    max(radius, 0.8) * 1.3,
                    (0.12 * b, 0.12 * g, 0.12 * r),
                )


# -- files ----------------------------------------------------------------------------------------


def written(
    drive: Drive, film: str | Path | None, truth: str | Path | None, boxes: str | Path | None = None
) -> Iterator[int]:
    """Writes the story as a film, its truth and all boxes as CSV; yields each picture's number."""
    coder = None
    size = drive.camera.width, drive.camera.height
    if film:
        coder = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), drive.fps, size)
        if not coder.isOpened():
            raise OSError(f"{film}: no film can be written there")
    rows, found = [], []
    for n in range(drive.frames):
        image, seen = drive.look(n)
        if coder is not None:
            coder.write(image)
        rows.append(drive.truth(n))
        found += [{"frame": n} | one._asdict() for one in seen]
        yield n
    if coder is not None:
        coder.release()
    if truth:
        _table(truth, COLUMNS.split(","), rows)
    if boxes:
        _table(boxes, ["frame", *Box._fields], found)


def _table(path: str | Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    with Path(path).open("w", newline="") as out:
        table = csv.DictWriter(out, columns, lineterminator="\n")
        table.writeheader()
        table.writerows({k: f"{v:.3f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def told(story: str, seed: int, weather: tuple[str, ...], width: int, fps: float) -> Drive:
    """A drive by names and numbers, with the camera of the shipped scenes at that width."""
    return Drive(STORIES[story], seed, weather, sized(width), fps)


def sized(width: int) -> Camera:
    """A camera `width` px wide: 65 degrees, 16 by 9 in whole blocks of 8, the horizon a little above the middle.

    >>> sized(1280)
    Camera(width=1280, height=720, focal=1000.0, cx=640.0, cy=324.0, up=1.5, pitch=0.0)
    """
    by = width / 1280
    return Camera(width, round(720 * by / 8) * 8, 1000.0 * by, 640.0 * by, 324.0 * by)
