"""Drawn drivers with known truth: what a camera in the cab sees, and what the driver really does.

A story is a row of a table (`habits.py`). `Trip` plays it: what everybody does at a time, the picture of that time, and
the truth beside it. The same story, seed and camera give the same pixels; another seed is another person in another
cab. Heads are `faces.py`, what is about them is `interior.py`. `columns` says what a good eye would tell of a story,
without a picture.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from . import faces, interior
from .bodies import noise
from .faces import Array, Head, Lens, Look, Person, Spots
from .habits import GLASSES, LIGHTS, STORIES, Event, Noise, Said, Story, Track, columns, events, track
from .video import Fault, spoilt

__all__ = ["GLASSES", "LIGHTS", "STORIES", "Event", "Noise", "Said", "Story", "Track", "Trip", "columns", "told"]
FPS = 15.0
COLUMNS = (
    "frame,t_s,eye_open,mouth_open,yaw_deg,pitch_deg,roll_deg,present,covered,frozen,smeared,"
    "eye_r_x,eye_r_y,eye_l_x,eye_l_y"
)
EAR = np.array([(-86.0, 28.0, -40.0)])  # mm, where a phone is held; the left one mirrors it
FACE = ((-18.0, 58.0, 34.0), (26.0, 30.0, 24.0), (2.0, 74.0, 26.0), (-34.0, 8.0, 20.0))  # where somebody scratches


class Moment(NamedTuple):
    """One time of a story."""

    look: Look
    place: Array  # (3,) mm of the head
    of: dict[str, float]  # channels
    over: int  # what covers the lens; -1: nothing
    who: int  # which of the persons
    present: bool


class Trip:
    """A story as it is filmed. who: in place of the seed's persons; light: in place of what the story says."""

    def __init__(
        self,
        story: Story,
        seed: int = 1,
        lens: Lens | None = None,
        fps: float = FPS,
        light: str = "",
        who: Person | None = None,
        style: str = "",
    ) -> None:
        self.story, self.seed, self.fps, self.style = story, seed, fps, style
        self.light_name = light or story.light
        rng = np.random.default_rng((seed, 3))
        self.lens = lens or sized(640, seed)
        self.given = who
        self.mood = interior.mood(self.light_name, rng)
        self.grey = self.mood.face.grey
        self.aside = np.array((rng.normal(0, 25), rng.normal(-10, 18), rng.normal(0, 25)))
        self.shake = float(rng.uniform(0.1, 1.0) ** 2 * 1.6)  # px at 640
        self.track = track(story, seed, fps)
        self.events = events(story, seed)
        self._cover = int(rng.integers(1 << 30))
        self._hand = int(rng.integers(len(FACE)))
        self.folk = lru_cache(4)(self._folk)
        self.hands = lru_cache(8)(self._hands)

    # what takes time to paint is painted when it is first looked at: the truth alone needs none of it

    @cached_property
    def room(self) -> interior.Room:
        return interior.Room(self.lens, self.mood, self._dice(1), self.grey)

    @cached_property
    def grains(self) -> Array:
        h, w = self.lens.height + 64, self.lens.width + 64
        dice = self._dice(2)
        tile = dice.standard_normal((h, w, 3 if not self.grey else 1), np.float32)
        return np.clip(128 + 30 * tile.repeat(1 if not self.grey else 3, -1), 0, 255).astype(np.uint8)

    @cached_property
    def leaves(self) -> Array:
        """(h, w) float32, the shadows of trees, which move over a face."""
        h, w = self.lens.height, 3 * self.lens.width
        return np.clip(0.9 + 0.9 * noise(h, w, 90, self._dice(4), 2), 0, 1).astype(np.float32)

    def person(self, who: int) -> Person:
        """The who-th driver of the story."""
        if self.given is not None and who == 0:
            return self.given
        one = faces.person(self.seed * 101 + who)
        looks = dict(self.story.looks)
        if "mask" not in looks and any(key.deed in ("yawn", "talk", "call") for key in self.story.acts):
            looks["mask"] = ""  # where mouths matter they are seen
        if "glasses" not in looks and one.glasses == "dark":
            looks["glasses"] = "clear"
        return one._replace(**looks, flat=self.style or one.flat)  # type: ignore[arg-type]

    def _folk(self, who: int) -> tuple[Head, interior.Layer, interior.Layer | None]:
        one = self.person(who)
        dice = self._dice(10 + who)
        body = interior.body(self.lens, one, self.mood, dice, self.story.mount[0])
        return Head(one), body, interior.mane(self.lens, one, self.mood, dice)

    def _hands(self, who: int, kind: str) -> interior.Layer:
        return interior.hand(self.person(who), self.mood, kind)

    def _dice(self, which: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, 5, which))

    @property
    def frames(self) -> int:
        """How many pictures the story has."""
        return len(self.track.t)

    # -- what everybody does --

    def moment(self, n: int) -> Moment:
        """What is true at the n-th picture."""
        i = min(max(n, 0), self.frames - 1)
        of = {key: float(row[i]) for key, row in self.track.of.items()}
        look = Look(
            of["yaw"] + self.story.mount[0],
            of["pitch"] + self.story.mount[1],
            of["roll"],
            float(self.track.left[i]),
            float(self.track.right[i]),
            of["mouth"],
            of["gaze"] - 0.35 * self.story.mount[0],
            of["down"] - 0.3 * self.story.mount[1],
            of["smile"],
            of["brow"],
        )
        gone = of["gone"]
        out = np.array((gone * 380, -260 * gone, 0))  # up and out by the door
        place = self.aside + np.array((of["right"], -of["up"], of["near"])) + out
        return Moment(look, place, of, int(self.track.over[i]), round(of["who"]), gone < 0.5)

    def spots(self, n: int) -> Spots:
        """Where the parts of the face are in the n-th picture."""
        at = self.moment(n)
        moved = self._sway(n)
        found = self.folk(at.who)[0].spots(self.lens, at.look, at.place)
        return Spots(*(p + np.tile(moved, len(p) // 2) for p in found))

    def _sway(self, n: int) -> Array:
        """(2,) px that the camera trembles."""
        rng = np.random.default_rng((self.seed, 47, n))
        return np.asarray(rng.normal(0, self.shake * self.lens.width / 640, 2) * (self.story.speed > 0))

    # -- the picture --

    def picture(self, n: int, fault: Fault = "") -> Array:
        """The n-th picture (h, w, 3) uint8; after the last the story begins again. Faults are those of `video.py`."""
        n = 0 if fault == "frozen" else n % max(1, self.frames)
        while n > 0 and self.track.of["frozen"][n] > 0.5:
            n -= 1
        image = self._shot(n)
        if fault in ("shifted", "turned"):
            image = np.roll(image, image.shape[1] // (5 if fault == "shifted" else 2), 1)
        return spoilt(image, fault, n) if fault else image

    def _shot(self, n: int) -> Array:
        at = self.moment(n)
        t = n / self.fps
        along = t * self.story.speed * 24
        rng = np.random.default_rng((self.seed, 53, n))
        picture = self.room.view(along)
        if at.of["gone"] < 0.98:
            self._driver(picture, at, t, along)
        moved = self._sway(n)
        if np.abs(moved).max() > 0.05:
            way = np.array(((1, 0, moved[0]), (0, 1, moved[1])))
            picture = cv2.warpAffine(picture, way, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        if at.of["smeared"] > 0.02:
            picture = interior.smeared(picture, at.of["smeared"], self._cover)
        if at.over >= 0:
            picture = interior.covered(picture, at.over, at.of["covered"], self._cover, t)
        wave = math.sin(t * 2.3 + self.seed) + 0.6 * math.sin(t * 5.9)
        gain = 1 + self.mood.flicker * wave
        x, y = (int(v) for v in rng.integers(0, 64, 2))
        h, w = picture.shape[:2]
        weight = self.mood.grain / 30
        out: Array = cv2.addWeighted(picture, gain, self.grains[y : y + h, x : x + w], weight, -128 * weight)
        return out

    def _driver(self, picture: Array, at: Moment, t: float, along: float) -> None:
        head, body, mane = self.folk(at.who)
        lens, light = self.lens, self.mood.face
        x, y = faces.projected(lens, (at.place - np.array((0, 0, 60)))[None])[0]
        if mane is not None:
            interior.lay(picture, mane, x, y)
        nod = 0.25 * math.sin(math.radians(at.look.pitch)) * 60
        interior.lay(picture, body, x, y + 0.2 * nod)
        shade = None
        if self.mood.dapple:
            begin = int(along * 0.5) % (2 * lens.width)
            shade = 1 - self.mood.dapple * (1 - self.leaves[:, begin : begin + lens.width])
        if at.of["sun"] > 0.01:
            sunny = light._replace(key=tuple(v * (1 + 0.6 * at.of["sun"]) for v in light.key))  # type: ignore[arg-type]
            light = light if self.grey else sunny
        head.draw(picture, lens, at.look, at.place, light, shade)
        faces.wear(picture, head, lens, at.look, at.place, light, self.room.sky(along))
        self._reach(picture, head, at, t)
        if self.story.wheel:
            top = 330 - 330 * self.story.wheel + 4 * math.sin(0.7 * t)
            interior.wheel(picture, lens, top, 30 * math.sin(0.21 * t + self.seed), self.mood, head.who)

    def _reach(self, picture: Array, head: Head, at: Moment, t: float) -> None:
        """Hands, and what they hold."""
        lens, of = self.lens, at.of
        size = lens.focal / lens.away / interior.FINE

        def put(kind: str, mm: Array, share: float, turn: float, larger: float = 1.0, flip: bool = False) -> None:
            spot = faces.projected(lens, mm[None])[0]
            spot = spot + (1 - share) * np.array((120.0 if flip else -120.0, 420.0)) * lens.width / 640
            layer = self.hands(at.who, kind)
            if flip:
                layer = interior.Layer(
                    np.ascontiguousarray(layer.image[:, ::-1]),
                    np.ascontiguousarray(layer.alpha[:, ::-1]),
                    layer.image.shape[1] - layer.x,
                    layer.y,
                )
            interior.lay(picture, layer, float(spot[0]), float(spot[1]), size * larger, turn)

        if of["ear"] > 0.01:
            flip = self.seed % 3 == 0
            ear = EAR * ((-1, 1, 1) if flip else (1, 1, 1))
            put("phone", head.placed(ear, at.look, at.place)[0], of["ear"], 0.25 if not flip else -0.25, 1.0, flip)
        if of["scratch"] > 0.01:
            wave = 5 * math.sin(11 * t)
            spot = np.array([FACE[self._hand]]) + np.array((wave, 0.6 * wave, 0))
            put("open", head.placed(spot, at.look, at.place)[0], of["scratch"], 0.35, 1.05)
        if of["visor"] > 0.01:
            put("open", at.place + np.array((-150, -140, 60)), of["visor"], 0.2)
        if of["text"] > 0.01:
            put("screen", at.place + np.array((-70, 250, 120)), of["text"], 0.3, 1.2)
        if of["cigarette"] > 0.01:
            mouth = head.placed(np.array([(-16.0, faces.LIPS, 2.0), (-42.0, faces.LIPS + 10, 62.0)]), at.look, at.place)
            if math.sin(math.pi / 2 * t) > -0.2:  # held there; else it hangs from the lips
                put("pinch", mouth[1] + (14, 10, 0), of["cigarette"], -0.15, 0.9)
            px = np.round(faces.projected(lens, mouth) * 16).astype(int)
            if of["cigarette"] > 0.7:
                level = 230 * min(1.0, float(np.mean(self.mood.face.ambient)) + 0.4)
                a, b = (tuple(int(v) for v in p) for p in px)
                cv2.line(picture, a, b, (level, level, level), max(2, round(8 * size)), cv2.LINE_AA, 4)
                cv2.circle(picture, b, max(16, round(4.5 * size * 16)), (40.0, 90.0, 230.0), -1, cv2.LINE_AA, 4)

    # -- the truth --

    def truth(self, n: int) -> dict[str, Any]:
        """The row of the truth for the n-th picture. While the picture stands, life goes on."""
        at = self.moment(n)
        row: dict[str, Any] = {
            "frame": n,
            "t_s": f"{n / self.fps:.3f}",
            "eye_open": f"{(at.look.left + at.look.right) / 2:.2f}",
            "mouth_open": f"{at.look.mouth:.2f}",
            "yaw_deg": f"{at.look.yaw:.1f}",
            "pitch_deg": f"{at.look.pitch:.1f}",
            "roll_deg": f"{at.look.roll:.1f}",
            "present": int(at.present),
            "covered": int(at.of["covered"] >= 0.5),
            "frozen": int(at.of["frozen"] > 0.5),
            "smeared": int(at.of["smeared"] >= 0.5),
        }
        eyes = ("eye_r_x", "eye_r_y", "eye_l_x", "eye_l_y")
        where = self.spots(n) if at.present else None
        places = [f"{v:.1f}" for v in (*where.right, *where.left)] if where else [""] * 4
        return row | dict(zip(eyes, places, strict=True))


def sized(width: int = 640, seed: int = 0) -> Lens:
    """A camera `width` px wide, 4 by 3; with a seed, one of many at their places."""
    rng = np.random.default_rng((seed, 59))
    by = width / 640
    focal, away = (float(rng.uniform(540, 720)), float(rng.uniform(600, 820))) if seed else (620.0, 680.0)
    return Lens(width, round(480 * by / 8) * 8, focal * by, away)


def told(
    story: str, seed: int = 1, light: str = "", width: int = 640, fps: float = FPS, seconds: float | None = None
) -> Trip:
    """A trip by names and numbers; `seconds`: another length than the story's."""
    one = STORIES[story]
    return Trip(one if seconds is None else one._replace(seconds=seconds), seed, sized(width, seed), fps, light)


# -- files ---------------------------------------------------------------------------------------------------------


def written(trip: Trip, film: str | Path | None, truth: str | Path | None, told_: str | Path | None) -> Iterator[int]:
    """Writes the story as a film, its truth and its events as CSV; yields each picture's number."""
    coder = None
    if film:
        size = trip.lens.width, trip.lens.height
        coder = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), trip.fps, size)
        if not coder.isOpened():
            raise OSError(f"{film}: no film can be written there")
    for n in range(trip.frames if coder is not None else 0):
        coder.write(trip.picture(n))  # type: ignore[union-attr]
        yield n
    if coder is not None:
        coder.release()
    if truth:
        _table(truth, COLUMNS.split(","), [trip.truth(n) for n in range(trip.frames)])
    if told_:
        _table(
            told_,
            list(Event._fields),
            [{k: f"{v:.2f}" if isinstance(v, float) else v for k, v in e._asdict().items()} for e in trip.events],
        )


def _table(path: str | Path, keys: list[str], rows: list[dict[str, Any]]) -> None:
    with Path(path).open("w", newline="") as out:
        table = csv.DictWriter(out, keys, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
