"""What made the vehicle net that ships: vehicles, two-wheelers and people on roads, in pictures 640 px wide.

    python -m models.training.vehicle --data ../shared/data/vision --cache /tmp/roads --more DIR
    python -m models.training.vehicle ... --start /tmp/roads/stage4.pt --stage 5

Needs beside this program: torch (CPU), onnx. Fixed seeds: the same data gives about the same net; torch does not
promise the same bits on another processor.

Data: road scenes drawn by `simulators/road.py` and its neighbours, ours; real motorway frames of
udacity/CarND-LaneLines-P1 @ ce5681b (MIT), labelled by YOLOX-nano (Apache-2.0) as the teacher, also on enlarged parts
so that far cars are labelled. Cars of these frames are cut out and pasted into drawn scenes at other sizes. Pieces of
real pictures without vehicles are strewn in: driver_gopro and head_pose (CC BY 4.0), the motorway's slopes, and the
folder `--more`; for what ships china, flower of scikit-learn 1.9.1 (CC BY 2.0) and brick, grass, gravel, coffee,
chelsea, camera, astronaut, rocket of scikit-image 0.26.0 (CC0, public domain). How often what is shown, at which rates
and for how long is `STAGES`, what the drawn worlds are full of is `AIMS`; each stage goes on from the weights of the
one before. One go with everything from the start has not been tried. KITTI pictures and the drawn clips of `sim_fcw`
are only reported on; nothing of them is trained on.

The net: BGR 0 to 255, (1, 3, h, w) float32, h and w multiples of 32. Out: (1, 7, h / 8, w / 8): scores 0 to 1 of
"vehicle", "two-wheeler" and "person", then the logarithms of the distances from the cell's middle to left, top, right
and bottom of the box, in units of 8 px. A thing is where its score has a peak. Depthwise-separable convolutions after
MobileNet (Howard et al. 2017), a pyramid after Lin et al. 2017, targets and loss after CenterNet (Zhou et al. 2019).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models import runtime
from simulators import bodies, lens, road, scenery, stories
from simulators.lens import Camera

Array = NDArray[Any]
KINDS = ("vehicle", "two-wheeler", "person")
STRIDE = 8
SIZE = (288, 704)  # px of a drawn picture
CROP = (192, 416)  # px of a training picture
BATCH = 8
LOWEST = 6.0  # px; what is lower is neither asked for nor punished
KEEP = 0.998  # share of itself that the mean of the weights keeps at a step
COCO = {1: 1, 2: 0, 3: 1, 5: 0, 7: 0, 0: 2}  # of the teacher: bicycle, car, motorcycle, bus, truck, person


class Labelled(NamedTuple):
    """A picture and what is in it."""

    image: Array  # (h, w, 3) uint8 BGR
    boxes: Array  # (n, 6): kind, x1, y1, x2, y2 px, and 1 where it counts, 0 where it is to be overlooked


class Pool(NamedTuple):
    """Pictures of a sort."""

    pictures: list[Labelled]
    share: float
    zoom: tuple[float, float] = (0.6, 1.5)
    pasted: bool = False  # whether cars of real pictures are pasted in
    about: bool = False  # whether the part that is shown lies about somebody on foot or on two wheels


class Shares(NamedTuple):
    """How often a training picture is of which sort; `chosen` says what each is."""

    plain: float
    real: float
    tall: float = 0.0
    aimed: float = 0.0
    walkers: float = 0.0


class Stage(NamedTuple):
    """A part of the training: the rate falls along a cosine."""

    steps: int
    rate: float  # of AdamW, at its height
    seed: int
    shares: Shares
    strewn: bool = True  # whether pieces of real pictures without vehicles are strewn in
    fallen: float = 1.0  # how much of the cosine the stage goes through; 1: down to a hundredth
    taken: float = 1.0  # share of its weights in what comes out; the rest are those it started from


STAGES = (  # of what ships; the first two were broken off early, and what was added came where the rate rose again
    Stage(500, 2.5e-3, 5, Shares(0.85, 0.15), False, 0.17),
    Stage(1500, 2.5e-3, 6, Shares(0.85, 0.15), False, 0.45),
    Stage(2361, 1.6e-3, 7, Shares(0.85, 0.15)),
    Stage(1406, 1.2e-3, 8, Shares(0.6, 0.15, 0.25)),
    Stage(4084, 1.6e-3, 10, Shares(0.28, 0.14, 0.1, 0.3, 0.18), taken=0.75),
)


# -- drawn pictures -------------------------------------------------------------------------------


class Aim(NamedTuple):
    """What a world is full of; numbers are means of Poisson's law for a picture."""

    weather: tuple[tuple[str, ...], ...] = ()  # one of these; none: as it comes
    cars: float = 6.0  # and lorries
    heavy: float = 0.2  # share of lorries, coaches, tankers among them
    far: float = 28.0  # m, the mean of how far they are
    aslant: float = 0.0  # cars that were parked beside the road, at an angle
    ahead: float = 0.0  # share of pictures with one more lorry in or beside our lane, 12 to 60 m ahead
    people: float = 0.9
    riders: float = 0.6
    walk: float = 14.0  # m, the mean of how far people and riders are
    crates: float = 0.7
    clutter: float = 2.0
    empty: float = 0.0  # share of pictures in which nobody is, parked cars neither


PLAIN = Aim()
AIMS = (  # what the net was weak at when it had only seen plain worlds
    Aim((("night",), ("night", "rain"), ("dusk",)), 3, 0.4, 28, 0.5, 0.6, 0.7, 0.5, 12, 1, 4, 0.25),  # dark
    Aim(people=4, riders=2.5, walk=9, cars=2.5, aslant=0.5, clutter=1.5),  # people near
    Aim(cars=2, heavy=0.5, ahead=0.85, far=24, people=0.6, clutter=1.5),  # backs of lorries
    Aim((("fog",), ("rain",), ("fog", "rain"), ("rain", "dusk"), ("glare",)), 4, 0.4, 24, 0.5, 0.4, 1.5, 0.8, 10),
    Aim(cars=1, people=0.4, riders=0.3, crates=2, clutter=7, empty=0.6),  # hedges, walls, trees
    Aim(cars=2, aslant=4, people=1.5, walk=10, clutter=1.5),  # parked cars
)
AIMED = 240  # the group from which on worlds are aimed, one aim after the other


class World:
    """A stretch of road and a crowd of bodies, from which many pictures are drawn."""

    def __init__(self, rng: np.random.Generator, crowd: dict[str, list[bodies.Body]], aim: Aim = PLAIN) -> None:
        self.rng, self.crowd, self.aim = rng, crowd, aim
        self.weather = tuple(
            w
            for w, odds in (
                ("dusk", 0.12),
                ("night", 0.14),
                ("rain", 0.12),
                ("fog", 0.08),
                ("dirt", 0.1),
                ("glare", 0.1),
            )
            if rng.random() < odds
        ) or ("day",)
        if aim.weather:
            self.weather = aim.weather[int(rng.integers(len(aim.weather)))]
        self.light = scenery.light(self.weather, rng)
        self.name = str(rng.choice(list(scenery.PLACES), p=[0.25, 0.2, 0.25, 0.3]))
        self.far: Array | None = None
        bend = float(rng.normal(0, 1 / 700)) if rng.random() < 0.5 else 0.0
        self.road = scenery.Road(self.name, self.weather, 500, bend, rng)

    def picture(self) -> Labelled:
        """Another picture of it: other camera, other traffic."""
        rng, place = self.rng, self.road.place
        h, w = SIZE
        focal = w * np.exp(rng.uniform(np.log(0.42), np.log(1.3)))
        camera = Camera(
            w,
            h,
            focal,
            w / 2 + rng.normal(0, 10),
            h * rng.uniform(0.3, 0.62),
            float(rng.choice([1.2, 1.5, 1.7, 2.4], p=[0.3, 0.35, 0.2, 0.15])),
        )
        eye = lens.eye(camera, rng.normal(0, 0.5), 0.0, rng.normal(0, 0.06), rng.normal(0, 0.012), rng.normal(0, 0.012))
        ego = rng.uniform(0, 250)
        if self.far is None or rng.random() < 0.12:
            self.far = scenery.far(camera, self.weather, self.light, rng)
        picture = scenery.behind(camera, self.far, rng.normal(0, 0.3), float(np.arcsin(-eye.turn[2, 1])), 0.0).copy()
        self.road.draw(picture, eye, ego, self.light)
        cast: list[tuple[scenery.Thing, int, bool]] = []
        actors: list[stories.Actor] = []
        empty = self.aim.empty > 0 and rng.random() < self.aim.empty
        for thing in self.road.things:
            if -thing.body.length < thing.z - ego < 220 and not (empty and thing.body.kind):
                cast.append((thing._replace(z=thing.z - ego), -1, False))
        for thing in self._traffic(place, empty):
            if all(
                np.hypot(t.x - thing.x, t.z - thing.z) > 0.45 * (t.body.length + thing.body.length)
                for t, _, _ in cast
                if t.body.kind
            ):
                cast.append((thing, len(actors), bool(rng.random() < 0.3)))
                actors.append(stories.Actor("", 0, 0, lit=bool(rng.random() < 0.8)))
        under = scenery.shadow(4.5, 1.8, rng.uniform(0.3, 0.9))
        found = road.drawn(picture, eye, self.road, cast, ego, self.light, under, tuple(actors), 0.0)
        image = scenery.Lens(camera, self.weather, rng).see(picture, self.light, rng.uniform(0, 50), rng)
        return Labelled(image, _asked(found, w, h))

    def _traffic(self, place: scenery.Place, empty: bool) -> Iterator[scenery.Thing]:
        rng, aim = self.rng, self.aim
        if not empty:
            yield from self._aimed(place)
            yield from self._usual(place)
        for what, often in (
            ("crate", aim.crates),
            ("clutter", aim.clutter),
        ):  # what is no vehicle although it has edges
            for _ in range(int(rng.poisson(often))):
                x = float(rng.choice([-1, 1])) * rng.uniform(5, 18)
                yield scenery.Thing(self._any(what), x, 5 + rng.exponential(20), rng.normal(0, 0.5))

    def _usual(self, place: scenery.Place) -> Iterator[scenery.Thing]:
        """Who drives, walks and rides."""
        rng, aim = self.rng, self.aim
        for _ in range(int(rng.poisson(aim.cars))):
            heavy = rng.random() < aim.heavy
            one = self._any(rng.choice(bodies.HEAVY) if heavy else rng.choice(bodies.CARS))
            z = 3.0 + rng.exponential(aim.far)
            if rng.random() < 0.3:  # anywhere, at any angle: crossings, yards, parked
                yield scenery.Thing(one, rng.uniform(-0.8, 0.8) * (z + 8), z, rng.uniform(0, 2 * np.pi))
                continue
            lanes = np.arange(np.ceil((place.left + 1.6) / 3.6), np.floor((place.right - 1.4) / 3.6) + 1) * 3.6
            x = float(rng.choice(lanes)) + rng.normal(0, 0.25) if len(lanes) else 0.0
            comes = x < -2 and rng.random() < (0.25 if self.name == "motorway" else 0.8)
            yield scenery.Thing(one, x, z, (np.pi if comes else 0.0) + rng.normal(0, 0.05))
        for _ in range(int(rng.poisson(aim.people))):
            yield scenery.Thing(self._any("person"), rng.uniform(-9, 8), 3.5 + rng.exponential(aim.walk))
        for _ in range(int(rng.poisson(aim.riders))):
            what = rng.choice(bodies.LIGHT_PARTS)
            yield scenery.Thing(self._any(what), rng.uniform(-6, 4), 4 + rng.exponential(aim.walk + 2))

    def _aimed(self, place: scenery.Place) -> Iterator[scenery.Thing]:
        """What is there on purpose: a lorry ahead, cars parked aslant."""
        rng, aim = self.rng, self.aim
        if aim.ahead and rng.random() < aim.ahead:
            x = float(rng.choice([0.0, 0.0, 3.2, -3.6])) + rng.normal(0, 0.4)
            yield scenery.Thing(self._any(rng.choice(bodies.HEAVY)), x, rng.uniform(12, 60), rng.normal(0, 0.08))
        for _ in range(int(rng.poisson(aim.aslant)) if aim.aslant else 0):
            side = rng.random() < 0.5
            x = place.right + rng.uniform(-0.6, 3.0) if side else place.left - rng.uniform(-0.6, 3.0)
            turned = float(rng.choice([0, np.pi])) + rng.choice([-1, 1]) * rng.uniform(0.1, 0.9)
            yield scenery.Thing(self._any(rng.choice(bodies.CARS)), x, 3 + rng.exponential(18), turned)

    def _any(self, what: Any) -> bodies.Body:
        """One of the crowd; it grows until there are 24 of each."""
        rng, some = self.rng, self.crowd.setdefault(str(what), [])
        if len(some) < 24 and (len(some) < 2 or rng.random() < 0.25):
            if what == "clutter":
                some.append(clutter(rng))
            elif what == "crate":
                some.append(bodies.crate(rng, rng.uniform(0.4, 3), rng.uniform(0.5, 3), rng.uniform(0.4, 5)))
            else:
                phase = None if rng.random() < 0.3 else float(rng.random())
                some.append(bodies.body(str(what), rng, str(rng.choice(["back", "front", "side"])), phase))
            return some[-1]
        return some[int(rng.integers(len(some)))]


def clutter(rng: np.random.Generator) -> bodies.Body:
    """A flat thing with a texture: a hedge, a wall, a fence, a heap, a row of bars."""
    w, h = rng.uniform(0.8, 9), rng.uniform(0.5, 3.2)
    sheet = bodies.Sheet(w, h, 40)
    sheet.rect(
        -w / 2,
        0,
        w / 2,
        h,
        rng.uniform(20, 210, 3) if rng.random() < 0.4 else np.array([50, 80, 65]) * rng.uniform(0.3, 1.3),
    )
    rows, columns = sheet.alpha.shape
    grain = bodies.noise(rows, columns, rng.uniform(2, 30), rng)
    sheet.shade((1 + rng.uniform(0.05, 0.5) * grain).astype(np.float32))
    tone = rng.uniform(10, 235, 3)
    if rng.random() < 0.5:
        for x in np.arange(-w / 2, w / 2, rng.uniform(0.12, 1.0)):
            sheet.rect(x, 0, x + rng.uniform(0.03, 0.1), h, tone)
    if rng.random() < 0.5:
        for y in np.arange(0, h, rng.uniform(0.15, 0.9)):
            sheet.rect(-w / 2, y, w / 2, y + rng.uniform(0.02, 0.1), tone)
    if rng.random() < 0.6:  # an uneven outline
        line = h * np.clip(0.8 + 0.15 * bodies.noise(1, columns, rng.uniform(5, 60), rng)[0], 0.3, 1)
        sheet.alpha[np.arange(rows)[:, None] < rows - line * sheet.ppm] = 0
    if rng.random() < 0.4:
        sheet.alpha[bodies.noise(rows, columns, rng.uniform(4, 14), rng) > 1.0] = 0
    corners = np.array([(-w / 2, h, 0), (w / 2, h, 0), (w / 2, 0, 0), (-w / 2, 0, 0)], float)
    return bodies.Body("", "clutter", 0.3, w, h, (lens.Face(corners, sheet.whole(), True),), corners)


def _asked(found: list[road.Box], w: int, h: int) -> Array:
    """Boxes cut to the picture; what is mostly hidden, cut off or tiny is to be overlooked."""
    rows = []
    for b in found:
        x1, y1, x2, y2 = max(b.x1, 0), max(b.y1, 0), min(b.x2, w), min(b.y2, h)
        if x2 - x1 < 2 or y2 - y1 < 2:
            continue
        counts = b.hidden < 0.55 and b.cut < 0.75 and y2 - y1 >= LOWEST
        rows.append((KINDS.index(b.kind), x1, y1, x2, y2, float(counts)))
    return np.array(rows, np.float32).reshape(-1, 6)


def draw(cache: Path, n: int, first: int = 0) -> None:
    """Draws pictures first to n into the cache; what is there already stays. 25 pictures share a world."""
    cache.mkdir(parents=True, exist_ok=True)
    crowd: dict[str, list[bodies.Body]] = {}
    for group in range(first // 25, n // 25):
        if (cache / f"{group:04d}.json").exists():
            continue
        rng = np.random.default_rng((11, group))
        if group % 12 == 0:
            crowd = {}
        world, rows = World(rng, crowd, PLAIN if group < AIMED else AIMS[(group - AIMED) % len(AIMS)]), []
        for i in range(25):
            one = world.picture()
            quality = int(rng.choice([60, 80, 92, 96]))
            cv2.imwrite(str(cache / f"{group:04d}_{i:02d}.jpg"), one.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
            rows.append(one.boxes.round(2).tolist())
        (cache / f"{group:04d}.json").write_text(json.dumps(rows))


def drawn(cache: Path, aimed: bool = False) -> list[Labelled]:
    """The pictures of plain worlds in the cache, or those of aimed ones."""
    out = []
    for path in sorted(cache.glob("[0-9][0-9][0-9][0-9].json")):
        if (int(path.stem) >= AIMED) != aimed:
            continue
        for i, rows in enumerate(json.loads(path.read_text())):
            image: Any = cv2.imread(str(cache / f"{path.stem}_{i:02d}.jpg"))
            out.append(Labelled(image, np.array(rows, np.float32).reshape(-1, 6)))
    return out


def lorries(of: list[Labelled]) -> list[Labelled]:
    """Those with a vehicle that is higher than wide, and near."""

    def has(boxes: Array) -> bool:
        wide, tall = boxes[:, 3] - boxes[:, 1], boxes[:, 4] - boxes[:, 2]
        return bool(((boxes[:, 0] == 0) & (boxes[:, 5] > 0) & (tall > 1.15 * wide) & (tall > 50)).any())

    return [one for one in of if has(one.boxes)]


def walkers(of: list[Labelled]) -> list[Labelled]:
    """Those with somebody on foot or on two wheels who is high enough to be told from a post."""

    def has(boxes: Array) -> bool:
        return bool(((boxes[:, 0] > 0) & (boxes[:, 5] > 0) & (boxes[:, 4] - boxes[:, 2] > 24)).any())

    return [one for one in of if has(one.boxes)]


def chosen(scenes: list[Labelled], aimed: list[Labelled], motorway: list[Labelled], shares: Shares) -> list[Pool]:
    """What a stage draws its pictures from."""
    both = scenes + aimed
    pools = (
        Pool(scenes, shares.plain, pasted=True),
        Pool(motorway, shares.real, (0.4, 1.3)),
        Pool(lorries(both), shares.tall),
        Pool(aimed, shares.aimed, pasted=True),
        Pool(walkers(both), shares.walkers, (0.7, 2.2), about=True),
    )
    return [pool for pool in pools if pool.share > 0 and pool.pictures]


# -- real pictures --------------------------------------------------------------------------------


class Teacher:
    """YOLOX-nano, 416 px: what it is sure of is a label, what it doubts is to be overlooked."""

    def __init__(self, path: Path) -> None:
        onnxruntime = runtime.onnxruntime()

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.net = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        cells = [(x, y, s) for s in (8, 16, 32) for y in range(416 // s) for x in range(416 // s)]
        self.cells = np.array(cells, np.float32)

    def raw(self, image: Array) -> Array:
        """(n, 6): kind, box, score."""
        h, w = image.shape[:2]
        by = 416 / max(h, w)
        small = np.full((416, 416, 3), 114, np.uint8)
        part = cv2.resize(
            image, (round(w * by), round(h * by)), interpolation=cv2.INTER_AREA if by < 1 else cv2.INTER_CUBIC
        )
        small[: part.shape[0], : part.shape[1]] = part
        given = self.net.get_inputs()[0].name
        out = self.net.run(None, {given: small.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
        middle = (out[:, :2] + self.cells[:, :2]) * self.cells[:, 2:]
        size = np.exp(out[:, 2:4]) * self.cells[:, 2:]
        score = out[:, 4:5] * out[:, 5:]
        best = score.argmax(1)
        keep = [i for i in np.flatnonzero(score.max(1) > 0.12) if int(best[i]) in COCO]
        rows = [
            (
                COCO[int(best[i])],
                *((middle[i] - size[i] / 2) / by),
                *((middle[i] + size[i] / 2) / by),
                score[i, best[i]],
            )
            for i in keep
        ]
        return np.array(rows, np.float32).reshape(-1, 6)

    def label(self, image: Array) -> Array:
        """(n, 6) boxes of a picture, from all of it and from enlarged parts."""
        h, w = image.shape[:2]
        rows = [self.raw(image)]
        side = w // 3
        for y in range(0, max(1, h - side // 2), side // 2):
            for x in range(0, w - side // 2, side // 2):
                x0, y0 = min(x, w - side), min(y, max(0, h - side))
                part = self.raw(image[y0 : y0 + side, x0 : x0 + side])
                ok = (part[:, 1] > 2) & (part[:, 3] < side - 2) & (part[:, 4] < side - 2)  # not cut by the part's edge
                rows.append(part[ok] + np.array([0, x0, y0, x0, y0, 0], np.float32))
        found = np.concatenate(rows)
        found = found[nms(found, 0.45)]
        found[:, 1:5] = np.clip(found[:, 1:5], 0, (w, h, w, h))
        wide, tall = found[:, 3] - found[:, 1], found[:, 4] - found[:, 2]
        # it takes marks on the road for far cars, and the road itself for a near one
        fits = (tall > 0) & (wide > 0.7 * tall) & (wide < 3.2 * tall) & (found[:, 2] < 0.62 * h)
        counts = (found[:, 5] > 0.45) & (found[:, 0] == 0) & fits & (tall >= LOWEST)
        out = np.concatenate([found[:, :5], counts[:, None].astype(np.float32)], 1)
        return np.asarray(out[counts | (wide * tall < 0.05 * w * h)])


def overlap(a: Array, b: Array) -> Array:
    """(n, m) intersection by union of boxes (n, 4) and (m, 4)."""
    lo, hi = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(hi - lo, 0, None), -1)
    size = [np.prod(c[:, 2:] - c[:, :2], -1) for c in (a, b)]
    return np.asarray(inter / np.maximum(size[0][:, None] + size[1][None] - inter, 1e-6))


def nms(rows: Array, most: float) -> list[int]:
    """Which of (n, 6) rows stay, the best first."""
    keep: list[int] = []
    for i in np.argsort(-rows[:, 5], kind="stable"):
        same = [j for j in keep if rows[j, 0] == rows[i, 0]]
        if not same or overlap(rows[i : i + 1, 1:5], rows[same, 1:5]).max() < most:
            keep.append(int(i))
    return keep


def frames(path: Path, every: int) -> Iterator[Array]:
    film = cv2.VideoCapture(str(path))
    n = 0
    while True:
        ok, image = film.read()
        if not ok:
            return
        if n % every == 0:
            yield image
        n += 1


def real(data: Path) -> list[Labelled]:
    """The motorway frames with the teacher's labels, without those that float in the road: marks taken for far cars."""
    teacher, out = Teacher(data / "models" / "yolox_nano_416.onnx"), []
    for image in frames(data / "dashcam" / "solidWhiteRight.mp4", 3):
        boxes = teacher.label(image)
        stands = boxes[:, 4] < 0.565 * image.shape[0] + 1.3 * (boxes[:, 4] - boxes[:, 2])  # the horizon of that camera
        out.append(Labelled(image, boxes[stands]))
    return out


def cuttings(of: list[Labelled]) -> list[Array]:
    """Cars of real pictures, their corners cut off, (h, w, 4) uint8."""
    out = []
    for one in of[::2]:
        for kind, x1, y1, x2, y2, counts in one.boxes:
            if kind or not counts or x2 - x1 < 28 or x1 < 2 or x2 > one.image.shape[1] - 2:
                continue
            a, b, c, d = (round(float(v)) for v in (x1, y1, x2, y2))
            part = one.image[max(0, b) : d, max(0, a) : c]
            y, x = np.mgrid[-1 : 1 : part.shape[0] * 1j, -1 : 1 : part.shape[1] * 1j]
            far = (np.abs(x) ** 5 + np.where(y < 0, np.abs(y) ** 3, np.abs(y) ** 8)) ** 0.2
            out.append(np.dstack([part, np.clip((1.06 - far) / 0.06 * 255, 0, 255).astype(np.uint8)]))
    return out


def empty(data: Path, more: Path | None) -> list[Array]:
    """Real pictures without vehicles: of people in cars, the motorway's sky and slopes, and those of a folder."""
    out: list[Any] = [cv2.imread(str(p)) for p in sorted((data / "driver_gopro").glob("*.jpg"))[::2]]
    out += [*frames(data / "head_pose" / "female.gif", 8)]
    for image in frames(data / "dashcam" / "solidWhiteRight.mp4", 40):
        out += [image[:250], image[250:420, 620:]]
    if more is not None:
        out += [cv2.imread(str(p)) for p in sorted(more.iterdir()) if p.suffix in (".png", ".jpg")]
    return [image for image in out if image is not None and min(image.shape[:2]) > 60]


# -- variation ------------------------------------------------------------------------------------


def pasted(one: Labelled, cars: list[Array], rng: np.random.Generator) -> Labelled:
    """With some cars of real pictures, where none is yet and low enough to stand on the ground."""
    image, boxes = one.image.copy(), [*one.boxes]
    for _ in range(int(rng.integers(1, 5))):
        cut = cars[int(rng.integers(len(cars)))]
        if rng.random() < 0.5:
            cut = cut[:, ::-1]
        wide = float(np.exp(rng.uniform(np.log(12), np.log(min(110, 1.15 * cut.shape[1])))))
        tall = wide * cut.shape[0] / cut.shape[1] * rng.uniform(0.85, 1.15)
        small = cv2.resize(cut, (max(6, round(wide)), max(6, round(tall))), interpolation=cv2.INTER_AREA).astype(
            np.float32
        )
        h, w = small.shape[:2]
        foot = image.shape[0] * (0.5 + rng.normal(0, 0.03)) + 0.9 * h
        y, x = int(foot - h), int(rng.integers(-w // 4, image.shape[1] - 3 * w // 4))
        y1, x1, y2, x2 = max(y, 0), max(x, 0), min(y + h, image.shape[0]), min(x + w, image.shape[1])
        if y2 - y1 < LOWEST or x2 - x1 < 8:
            continue
        box = np.array([[x1, y1, x2, y2]], np.float32)
        if boxes and overlap(box, np.array(boxes)[:, 1:5]).max() > 0.05:
            continue
        small = small[y1 - y : y2 - y, x1 - x : x2 - x]
        alpha = small[..., 3:] / 255
        tone = rng.uniform(0.5, 1.25) * (1 + rng.normal(0, 0.08, 3))
        under = image[y1:y2, x1:x2]
        image[y1:y2, x1:x2] = np.clip(
            under * (1 - alpha) + np.clip(small[..., :3] * tone, 0, 255) * alpha, 0, 255
        ).astype(np.uint8)
        boxes.append(np.array([0, x1, y1, x2, y2, 1], np.float32))
    return Labelled(image, np.array(boxes, np.float32).reshape(-1, 6))


def strewn(one: Labelled, others: list[Array], rng: np.random.Generator) -> Labelled:
    """With pieces of real pictures that show no vehicle, where they hide little: edges alone make no vehicle."""
    image, boxes = one.image.copy(), one.boxes
    h, w = image.shape[:2]
    for _ in range(int(rng.integers(2, 8))):
        of = others[int(rng.integers(len(others)))]
        part_h, part_w = (int(np.exp(rng.uniform(np.log(24), np.log(min(260, n - 1))))) for n in of.shape[:2])
        y, x = int(rng.integers(of.shape[0] - part_h)), int(rng.integers(of.shape[1] - part_w))
        part = of[y : y + part_h, x : x + part_w]
        b = int(np.exp(rng.uniform(np.log(14), np.log(150))))
        a, b = min(int(b * rng.uniform(0.6, 3.0)), w - 1), min(b, h - 1)
        x, y = int(rng.integers(w - a)), int(rng.integers(h - b))
        wide = np.minimum(boxes[:, 3], x + a) - np.maximum(boxes[:, 1], x)
        tall = np.minimum(boxes[:, 4], y + b) - np.maximum(boxes[:, 2], y)
        hidden = np.maximum(wide, 0) * np.maximum(tall, 0)
        if (hidden > 0.06 * (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2])).any():
            continue
        part = cv2.resize(part, (a, b), interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            part = part[:, ::-1]
        mask = np.zeros((b, a), np.float32)
        if rng.random() < 0.5:
            cv2.ellipse(mask, (a // 2, b // 2), (a // 2, b // 2), 0, 0, 360, 1.0, -1)
        else:
            mask[1:-1, 1:-1] = 1
        mask = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.4, 4)))[..., None]
        under = image[y : y + b, x : x + a]
        mixed = under * (1 - mask) + part * rng.uniform(0.4, 1.3) * mask
        image[y : y + b, x : x + a] = np.clip(mixed, 0, 255).astype(np.uint8)
    return Labelled(image, boxes)


def varied(
    one: Labelled, rng: np.random.Generator, zoom: tuple[float, float] = (0.65, 1.5), about: Array | None = None
) -> Labelled:
    """A part of it, larger or smaller, mirrored, in other light, through another lens; with x, y px `about` in it."""
    h, w = CROP
    by = float(np.exp(rng.uniform(np.log(zoom[0]), np.log(zoom[1]))))
    by = max(by, w / one.image.shape[1] * 0.75)
    squeeze = by * rng.uniform(0.88, 1.14)
    left = rng.uniform(min(0.0, one.image.shape[1] * by - w), max(0.0, one.image.shape[1] * by - w))
    top = rng.uniform(min(0.0, one.image.shape[0] * squeeze - h), max(0.0, one.image.shape[0] * squeeze - h))
    if about is not None:
        left = np.clip(about[0] * by - rng.uniform(0.15, 0.85) * w, *sorted((0.0, one.image.shape[1] * by - w)))
        top = np.clip(about[1] * squeeze - rng.uniform(0.3, 0.7) * h, *sorted((0.0, one.image.shape[0] * squeeze - h)))
    source = one.image
    if by < 0.7:
        source = cv2.GaussianBlur(source, (0, 0), 0.45 / by)
    way = np.array([[by, 0, -left], [0, squeeze, -top]])
    fill = (114, 114, 114)
    image = cv2.warpAffine(
        source, way, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )
    b = one.boxes.copy()
    full = (b[:, 3] - b[:, 1]) * (b[:, 4] - b[:, 2]) * by * squeeze
    b[:, [1, 3]] = np.clip(b[:, [1, 3]] * by - left, 0, w)
    b[:, [2, 4]] = np.clip(b[:, [2, 4]] * squeeze - top, 0, h)
    area = (b[:, 3] - b[:, 1]) * (b[:, 4] - b[:, 2])
    b[:, 5] *= (area > 0.3 * full) & (b[:, 4] - b[:, 2] >= LOWEST)
    b = b[(b[:, 3] - b[:, 1] > 1.5) & (b[:, 4] - b[:, 2] > 1.5)]
    if rng.random() < 0.5:
        image = image[:, ::-1].copy()
        b[:, [1, 3]] = w - b[:, [3, 1]]
    if rng.random() < 0.35:  # shadows with hard and soft edges
        for _ in range(int(rng.integers(1, 4))):
            corners = (rng.uniform(-0.3, 1.3, (4, 2)) * (w, h)).astype(np.int32)
            mask = np.ones((h, w), np.float32)
            cv2.fillConvexPoly(mask, cv2.convexHull(corners), float(rng.uniform(0.25, 0.7)))
            mask = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.5, 8)))
            image = cv2.multiply(image, cv2.merge([mask] * 3), dtype=cv2.CV_8U)
    # the curve of a camera, which may crush shadows and blow out the sky; then colour
    curve = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.5 and image.mean() > 50:
        middle = image.mean() / 255
        curve = (curve - middle) * rng.uniform(1.0, 1.9) + middle + rng.normal(0, 0.06)
    if rng.random() < 0.3:  # haze
        curve = curve + rng.uniform(0, 0.5) * (rng.uniform(0.35, 0.9) - curve)
    image = cv2.LUT(image, np.clip(255 * curve, 0, 255).astype(np.uint8))
    pure = rng.uniform(0.1, 1.6)
    mix = (np.eye(3) * pure + (1 - pure) / 3) * (1 + rng.normal(0, 0.08, (3, 1))) * rng.uniform(0.7, 1.3)
    image = cv2.transform(image.astype(np.float32), mix.astype(np.float32))
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.4)))
    elif rng.random() < 0.4:
        image += np.float32(rng.uniform(0.2, 1.2)) * (image - cv2.GaussianBlur(image, (0, 0), 1.0))
    image += np.float32(rng.uniform(0, 6)) * rng.standard_normal(image.shape, np.float32)
    image = np.clip(image, 0, 255, out=image)
    for row in b:  # what nobody could see in this light is not asked for
        x1, y1, x2, y2 = (int(v) for v in row[1:5])
        row[5] *= float(image[y1 : y2 + 1, x1 : x2 + 1].mean(-1).std() > 5)
    return Labelled(image, b)


def targets(boxes: Array, h: int, w: int) -> tuple[Array, Array, Array, Array]:
    """(3, h, w) heat, (3, h, w) 0 where it does not matter, (4, h, w) logarithms, (h, w) weight of these; in cells."""
    heat, matter = np.zeros((3, h, w), np.float32), np.ones((3, h, w), np.float32)
    size, weight = np.zeros((4, h, w), np.float32), np.zeros((h, w), np.float32)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) + 0.5
    order = np.argsort(-(boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2]))
    for kind, x1, y1, x2, y2, counts in boxes[order]:
        k = int(kind)
        x1, y1, x2, y2 = x1 / STRIDE, y1 / STRIDE, x2 / STRIDE, y2 / STRIDE
        if not counts:
            inside = (x > x1 - 0.5) & (x < x2 + 0.5) & (y > y1 - 0.5) & (y < y2 + 0.5)
            matter[k][inside & (heat[k] < 0.3)] = 0
            continue
        cx, cy = np.clip((x1 + x2) / 2, 0.01, w - 0.01), np.clip((y1 + y2) / 2, 0.01, h - 0.01)
        sx, sy = max(0.55, 0.13 * (x2 - x1)), max(0.55, 0.13 * (y2 - y1))
        mx, my = int(cx) + 0.5, int(cy) + 0.5
        bump = np.exp(-0.5 * (((x - mx) / sx) ** 2 + ((y - my) / sy) ** 2))
        heat[k] = np.maximum(heat[k], bump)
        matter[k][bump > 0.2] = 1
        core = (bump > 0.45) & (x > x1) & (x < x2) & (y > y1) & (y < y2)
        core |= (x == mx) & (y == my)
        ways = np.stack([x - x1, y - y1, x2 - x, y2 - y])
        size[:, core] = np.log(np.maximum(ways[:, core], 0.05))
        weight[core] = bump[core]
    return heat, matter, size, weight


def batch(pools: list[Pool], cars: list[Array], others: list[Array], rng: np.random.Generator) -> tuple[Array, ...]:
    """Pictures and their targets; each pool with its share."""
    odds = np.array([pool.share for pool in pools])
    rows = []
    for _ in range(BATCH):
        pool = pools[int(rng.choice(len(pools), p=odds / odds.sum()))]
        one = pool.pictures[int(rng.integers(len(pool.pictures)))]
        about = None
        if pool.about:
            some = one.boxes[(one.boxes[:, 0] > 0) & (one.boxes[:, 5] > 0)]
            who = some[int(rng.integers(len(some)))]
            about = (who[1:3] + who[3:5]) / 2
        if pool.pasted and cars and rng.random() < 0.3:
            one = pasted(one, cars, rng)
        if others and rng.random() < 0.7:
            one = strewn(one, others, rng)
        one = varied(one, rng, pool.zoom, about)
        rows.append((one.image.transpose(2, 0, 1), *targets(one.boxes, CROP[0] // STRIDE, CROP[1] // STRIDE)))
    return tuple(np.stack(column) for column in zip(*rows, strict=True))


# -- the net --------------------------------------------------------------------------------------


def net() -> Any:
    """About 300 thousand numbers."""
    import torch
    from torch import nn

    def full(a: int, b: int, step: int) -> Any:
        return nn.Sequential(nn.Conv2d(a, b, 3, step, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))

    def thin(a: int, b: int, step: int = 1, side: int = 3) -> Any:
        return nn.Sequential(
            nn.Conv2d(a, a, side, step, side // 2, groups=a, bias=False),
            nn.BatchNorm2d(a),
            nn.ReLU(inplace=True),
            nn.Conv2d(a, b, 1, bias=False),
            nn.BatchNorm2d(b),
            nn.ReLU(inplace=True),
        )

    class Again(nn.Module):  # type: ignore[misc]
        def __init__(self, n: int, side: int = 3) -> None:
            super().__init__()
            self.inner = thin(n, n, 1, side)

        def forward(self, x: Any) -> Any:
            return x + self.inner(x)

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            a, b, c, d, e, f = 16, 32, 64, 112, 160, 80
            self.s8 = nn.Sequential(full(3, a, 2), full(a, b, 2), Again(b), thin(b, c, 2), Again(c), Again(c))
            self.s16 = nn.Sequential(thin(c, d, 2), Again(d), Again(d), Again(d))
            self.s32 = nn.Sequential(thin(d, e, 2), Again(e, 5), Again(e, 5), Again(e, 5))
            self.s64 = nn.Sequential(thin(e, e, 2), Again(e, 5), Again(e, 5))
            self.side = nn.ModuleList(
                [nn.Sequential(nn.Conv2d(n, f, 1, bias=False), nn.BatchNorm2d(f)) for n in (c, d, e, e)]
            )
            self.mix = nn.ModuleList([thin(f, f) for _ in range(3)])
            self.last = nn.Sequential(Again(f), Again(f))
            self.score = nn.Sequential(thin(f, f), nn.Conv2d(f, len(KINDS), 1))
            self.size = nn.Sequential(thin(f, f), nn.Conv2d(f, 4, 1))
            nn.init.constant_(self.score[-1].bias, -4.0)
            nn.init.constant_(self.size[-1].bias, 0.3)

        def raw(self, x: Any) -> Any:
            x = (x - 114.0) * (1 / 60.0)
            s8 = self.s8(x)
            s16 = self.s16(s8)
            s32 = self.s32(s16)
            s64 = self.s64(s32)
            p = self.side[3](s64)
            for i, s in ((2, s32), (1, s16), (0, s8)):
                up = nn.functional.interpolate(p, scale_factor=2.0, mode="nearest")
                # 32 divides the picture, 64 need not: what is too much is cut off
                p = self.mix[i](self.side[i](s) + up[:, :, : s.shape[2], : s.shape[3]])
            p = self.last(p)
            return self.score(p), self.size(p)

        def forward(self, x: Any) -> Any:
            score, size = self.raw(x)
            return torch.cat([torch.sigmoid(score), size], 1)

    return Net()


def loss(score: Any, size: Any, heat: Any, matter: Any, want: Any, weight: Any) -> Any:
    """Focal loss of the scores; of the boxes 1 - intersection by union, and how far the logarithms are off."""
    import torch

    p = torch.sigmoid(score).clamp(1e-4, 1 - 1e-4)
    hit = (heat > 0.999).float()
    found = torch.log(p) * (1 - p) ** 2 * hit
    empty = torch.log(1 - p) * p**2 * (1 - heat) ** 4 * (1 - hit)
    n = hit.sum().clamp(min=1)
    scores = -((found + empty) * matter).sum() / n
    a, b = size.clamp(-4, 5).exp(), want.exp()
    inter = (torch.minimum(a[:, 0], b[:, 0]) + torch.minimum(a[:, 2], b[:, 2])) * (
        torch.minimum(a[:, 1], b[:, 1]) + torch.minimum(a[:, 3], b[:, 3])
    )
    both = (a[:, 0] + a[:, 2]) * (a[:, 1] + a[:, 3]) + (b[:, 0] + b[:, 2]) * (b[:, 1] + b[:, 3]) - inter
    off = 1 - inter / both.clamp(min=1e-6) + 0.15 * (size - want).abs().clamp(max=2).sum(1)
    return scores + 1.5 * (off * weight).sum() / weight.sum().clamp(min=1)


def train(
    stage: Stage,
    pools: list[Pool],
    cars: list[Array],
    others: list[Array],
    save: Path | None = None,
    start: Path | None = None,
    minutes: float = float("inf"),
) -> Any:
    """The net after a stage, or sooner where time is up; its weights are a mean that follows them exponentially."""
    import torch

    torch.manual_seed(stage.seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(stage.seed)
    model = net().train().to(memory_format=torch.channels_last)
    if start is not None:
        model.load_state_dict(torch.load(start))
    mean = net().train().to(memory_format=torch.channels_last)
    mean.load_state_dict(model.state_dict())
    best = torch.optim.AdamW(model.parameters(), stage.rate, weight_decay=1e-3)
    begin, shown, step, done = time.time(), 0.0, 0, 0.0
    while done < 1:
        for group in best.param_groups:
            warm = min(1.0, (step + 1) / (300 if start is None else 60))
            group["lr"] = stage.rate * warm * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * done * stage.fallen)))
        x, *y = (torch.from_numpy(c) for c in batch(pools, cars, others, rng))
        score, size = model.raw(x.to(memory_format=torch.channels_last))
        off = loss(score, size, *y)
        best.zero_grad()
        off.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        best.step()
        keep = min(KEEP, (step + 1) / (step + 20))
        with torch.no_grad():
            for m, v in zip(mean.state_dict().values(), model.state_dict().values(), strict=True):
                m.copy_(keep * m + (1 - keep) * v if m.is_floating_point() else v)
        shown = 0.99 * shown + 0.01 * off.item() if step > 50 else off.item()
        step += 1
        spent = time.time() - begin
        done = max(step / stage.steps, spent / 60 / minutes)
        if step % 100 == 0 or done >= 1:
            print(f"step {step}, {done:.0%}, loss {shown:.3f}, {spent / step:.2f} s a step", flush=True)
        if save is not None and step % 500 == 0:
            torch.save(mean.state_dict(), save)
    if start is not None and stage.taken < 1:  # after Wortsman et al. 2022
        before = torch.load(start)
        with torch.no_grad():
            for name, m in mean.state_dict().items():
                m.copy_(stage.taken * m + (1 - stage.taken) * before[name] if m.is_floating_point() else m)
    return mean.eval()


def exported(model: Any, path: Path) -> None:
    """As ONNX, opset 17, any height and width."""
    import torch

    axes = {"picture": {2: "height", 3: "width"}, "cells": {2: "rows", 3: "columns"}}
    torch.onnx.export(
        model.eval(),
        torch.zeros(1, 3, 224, 640),
        str(path),
        input_names=["picture"],
        output_names=["cells"],
        opset_version=17,
        dynamic_axes=axes,
        dynamo=False,
    )


# -- figures --------------------------------------------------------------------------------------


class Finder:
    """The net as it is used: peaks of the scores, overlapping boxes left out."""

    def __init__(self, path: Path, width: int = 640) -> None:
        onnxruntime = runtime.onnxruntime()

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.net = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.width = width

    def cells(self, image: Array) -> Array:
        return np.asarray(self.net.run(None, {"picture": image.transpose(2, 0, 1)[None].astype(np.float32)})[0][0])

    def find(self, image: Array, least: float = 0.05) -> Array:
        """(n, 6) kind, box px, score."""
        h, w = image.shape[:2]
        by = self.width / w
        tall = int(np.ceil(h * by / 32)) * 32
        small = np.full((tall, self.width, 3), 114, np.uint8)
        part = cv2.resize(image, (self.width, round(h * by)), interpolation=cv2.INTER_AREA)
        small[: part.shape[0]] = part
        out = self.cells(small)
        score = out[: len(KINDS)]
        peak = np.stack([cv2.dilate(s, np.ones((3, 3), np.uint8)) for s in score])
        k, r, c = np.nonzero((score >= peak) & (score > least))
        d = np.exp(out[len(KINDS) :, r, c])
        x, y = c + 0.5, r + 0.5
        box = np.stack([x - d[0], y - d[1], x + d[2], y + d[3]], 1) * STRIDE / by
        box = np.clip(box, 0, (w, h, w, h))
        rows = np.concatenate([k[:, None], box, score[k, r, c][:, None]], 1)
        return np.asarray(rows[nms(rows, 0.5)])


def score_kitti(finder: Finder, data: Path, out: Path) -> None:
    """Detections of the labelled pictures in the scorer's format."""
    with out.open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(["file", "class", "score", "x1", "y1", "x2", "y2"])
        for path in sorted((data / "kitti_object" / "image_2").glob("*")):
            image: Any = cv2.imread(str(path))
            for k, x1, y1, x2, y2, s in finder.find(image):
                table.writerow([path.name, KINDS[int(k)], f"{s:.4f}", *(f"{v:.1f}" for v in (x1, y1, x2, y2))])


def figures(path: Path, data: Path) -> dict[str, float]:
    """Of merit, on pictures that it was not trained on (the motorway clip: that it was taught on)."""
    finder, found = Finder(path), {}
    for truth in sorted((data / "sim_fcw").glob("*.csv")):
        with truth.open() as lines:
            rows = list(csv.DictReader(lines))
        hit = []
        for row, image in zip(rows, frames(truth.with_suffix(".mp4"), 1), strict=False):
            if int(row["frame"]) % 5:
                continue
            box = np.array([[float(row[c]) for c in ("x1", "y1", "x2", "y2")]])
            seen = finder.find(image, 0.3)
            seen = seen[seen[:, 0] == 0]
            box = np.clip(box, 0, (image.shape[1], image.shape[0]) * 2)
            hit.append(bool(len(seen)) and overlap(seen[:, 1:5], box).max() > 0.5)
        found[truth.stem[:2] + "_found"] = round(float(np.mean(hit)), 3)
    teacher, false, sure = Teacher(data / "models" / "yolox_nano_416.onnx"), 0, 0
    for image in frames(data / "dashcam" / "solidWhiteRight.mp4", 20):
        seen, known = finder.find(image, 0.4), teacher.label(image)
        sure += len(seen)
        false += sum(not len(known) or bool(overlap(s[None, 1:5], known[:, 1:5]).max() < 0.2) for s in seen)
    found["dashcam_seen"], found["dashcam_unknown_to_teacher"] = sure, false
    image, times = np.zeros((224, 640, 3), np.uint8), []
    for _ in range(20):
        begin = time.perf_counter()
        finder.cells(image)
        times.append(time.perf_counter() - begin)
    found["ms_640x224_one_thread"] = round(1000 * float(np.median(times)), 1)
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder of drawn pictures")
    parser.add_argument("--plain", type=int, default=1775, help="how many pictures of plain worlds")
    parser.add_argument("--aimed", type=int, default=1225, help="how many of worlds aimed at what was weak")
    parser.add_argument("--first", type=int, default=0, help="draw from here on (several may draw at once)")
    parser.add_argument("--draw", action="store_true", help="draw only")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="a stage ends by then, its rate falls in time"
    )
    parser.add_argument("--more", type=Path, help="folder of further pictures without vehicles")
    parser.add_argument("--start", type=Path, help="go on from these weights")
    parser.add_argument("--stage", type=int, default=1, help="the first stage that is done, of 1 to 5; with --start")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "weights" / "vehicle.onnx")
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    draw(args.cache, args.plain, args.first)
    draw(args.cache, 25 * AIMED + args.aimed, 25 * AIMED + args.first)
    if args.draw:
        return 0
    import torch

    scenes, aimed, motorway = drawn(args.cache), drawn(args.cache, aimed=True), real(args.data)
    cars, others = cuttings(motorway), empty(args.data, args.more)
    print(f"{len(others)} without vehicles: driver_gopro, head_pose (CC BY 4.0), motorway (MIT), those of --more")
    print(f"{len(scenes)} drawn pictures of plain worlds, {len(aimed)} of aimed ones (ours)")
    print(f"{len(motorway)} motorway frames (MIT), {len(cars)} cars cut out of them", flush=True)
    kept, start, model = args.cache / "weights.pt", args.start, None
    for i, stage in enumerate(STAGES[args.stage - 1 :], args.stage):
        pools, pieces = chosen(scenes, aimed, motorway, stage.shares), others if stage.strewn else []
        model = train(stage, pools, cars, pieces, kept, start, args.minutes)
        start = args.cache / f"stage{i}.pt"
        torch.save(model.state_dict(), start)
    exported(model, args.out)
    whole = args.out.read_bytes()
    print(f"{args.out}: {len(whole)} bytes, sha256 {hashlib.sha256(whole).hexdigest()}")
    print(json.dumps(figures(args.out, args.data)))
    score_kitti(Finder(args.out), args.data, args.cache / "kitti.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
