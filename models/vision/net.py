"""A net that finds things in pictures, or says something of a crop: which one it is, whether it is that one, and what
it tells.

`load` believes nothing: the file must have the hash of its manifest, take and give what its manifest says, and run on a
picture, else it raises `NetFault` in words. Whoever asked makes an alarm of that and goes on without. ONNX Runtime is
loaded by `load`, never by importing this module; it gets as many threads as it is told, and they do not spin.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.core.errors import NetFault
from agent.core.frame import Array
from models import runtime

from .answer import ANSWERS, Answer
from .decode import FAMILIES, Raw, best
from .manifest import Entry, Manifest, entries, folders

PROVIDERS = {  # plain words; any other name is taken as ONNX Runtime writes it
    "cpu": "CPUExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "acl": "ACLExecutionProvider",
    "armnn": "ArmNNExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rknpu": "RknpuExecutionProvider",
    "qnn": "QNNExecutionProvider",
}
TRIED = (375, 1242)  # px, height and width of the picture on which a net is tried
GREY = 114
CUT = 3.0  # px of what is shown; what comes so near to the edge of a part is taken as cut by it

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 px; as in `scale.py`, which cannot be read without OpenCV
Run = Callable[[Array], list[Array]]


class Found(NamedTuple):
    """One thing in one picture."""

    kind: str  # "vehicle", "two-wheeler", "person", "face", ...
    score: float  # 0 to 1
    box: Box  # (x1, y1, x2, y2) px in the whole picture
    points: tuple[tuple[float, float], ...] = ()  # px; five of a face: right eye, left eye, nose, mouth right and left


class Shown(NamedTuple):
    """What a net is shown of a picture, or of a part of it."""

    pixels: Array  # (1, c, h, w) or (1, h, w, c) float32
    size: tuple[int, int]  # h, w
    by: tuple[float, float]  # px of what is shown by px of the picture: across, down
    part: Box  # px of the picture
    picture: tuple[int, int]  # h, w of the picture itself


class Net(NamedTuple):
    """A net that was found whole. `find` does what `shown`, `run`, `raw` and `told` do one after the other."""

    name: str
    manifest: Manifest
    path: Path
    run: Run  # float32 pixels -> its outputs, in its order; raises `NetFault`
    session: Any  # of ONNX Runtime

    def find(self, picture: Array, parts: Sequence[Box] = ()) -> list[Found]:
        """What is in the picture (h, w, 3) uint8 BGR, best first; for a grey net it may be (h, w).

        Raises `NetFault` where the net does not run.

        parts: of the picture, px, at which it has one more look each: what is far is as large as the net needs it only
        in a part. What an edge of a part cuts is left to the look at the whole.
        """
        h, w = picture.shape[:2]
        raws = []
        for part in ((0, 0, w, h), *parts):
            seen = shown(self.manifest, picture, part)
            raws.append(self.raw(self.run(seen.pixels), seen))
        return told(self.manifest, raws)

    def ask(self, crops: Sequence[Array]) -> Sequence[Answer]:
        """What it says of each crop, (n, n) grey or (n, n, 3) BGR uint8, as its colour is and as large as its input.

        Raises `NetFault` where it does not run, or does not speak as its family does.
        """
        try:
            if self.session.get_inputs()[0].shape[0] == 1:  # it takes one at a time
                return [one for crop in crops for one in self.read(self.run(asked(self.manifest, [crop])))]
            return self.read(self.run(asked(self.manifest, crops)))
        except ValueError as error:
            raise NetFault(f"net {self.path}: it does not speak as a {self.manifest.family}: {error}") from None

    def read(self, outputs: Sequence[Array]) -> Sequence[Answer]:
        """What a family that answers crops makes of the outputs."""
        with np.errstate(all="ignore"):
            return ANSWERS[self.manifest.family](outputs)

    def raw(self, outputs: Sequence[Array], seen: Shown) -> Raw:
        """What one look found, in px of the picture. Raises `NetFault` where that is not what its family says."""
        try:
            with np.errstate(all="ignore"):  # what is no number is not told
                raw = FAMILIES[self.manifest.family](outputs, seen.size, self.manifest.score)
        except ValueError as error:
            raise NetFault(f"net {self.path}: it does not speak as a {self.manifest.family}: {error}") from None
        return placed(raw, seen)


def load(name: str, *, threads: int = 1, provider: str = "cpu", folders: tuple[Path, ...] | None = None) -> Net:
    """The net of that name, verified, tried and warm.

    threads: that compute one picture; provider: a row of `PROVIDERS`, or a name as ONNX Runtime has it; folders: where
    to look, `manifest.folders()` where not given. Raises `NetFault`: where, what, and what to do.
    """
    return ready(entry(name, folders), threads, provider)


def entry(name: str, where: tuple[Path, ...] | None = None) -> Entry:
    """What is known of a net by its name. Raises `NetFault`."""
    known, wrong = entries(folders() if where is None else where)
    if name not in known:
        raise NetFault("; ".join([f"no net `{name}`; there are {', '.join(sorted(known)) or 'none'}", *wrong]))
    return known[name]


def ready(one: Entry, threads: int = 1, provider: str = "cpu", held: bytes | None = None) -> Net:
    """A net that is described, after all that there is to verify. Raises `NetFault`.

    held: its weights, where they are not to be read from its path.
    """
    manifest = one.manifest
    session = opened(one.path, checked(one, weights(one) if held is None else held), threads, provider)
    net = Net(one.name, manifest, one.path, _runner(one.path, session), session)
    _fits(net)
    if not manifest.finds:
        n = manifest.input[0]
        net.ask([np.full((n, n) if manifest.colour == "grey" else (n, n, 3), GREY, np.uint8)])
        return net
    picture = np.full((*TRIED, 3), GREY, np.uint8)
    seen = shown(manifest, picture)
    for output in (outputs := net.run(seen.pixels)):
        if not np.isfinite(output).all():
            raise NetFault(f"net {one.path}: on a plain grey picture it gives what is no number")
    told(manifest, [net.raw(outputs, seen)])
    return net


def weights(one: Entry) -> bytes:
    """What lies where a net should be, no more than one byte beyond its size. Raises `NetFault`."""
    wanted = one.manifest
    try:
        with one.path.open("rb") as file:
            held = file.read(wanted.bytes + 1)
    except FileNotFoundError:
        get = f"`vedette models fetch {one.name}`, or" if wanted.url else "get it and"
        raise NetFault(f"net `{one.name}` is not here ({one.path}): {get} `vedette models import FILE`") from None
    except OSError as error:
        raise NetFault(f"net {one.path}: {error.strerror}") from None
    return held


def checked(one: Entry, held: bytes) -> bytes:
    """The same weights, if they are those of the manifest. Raises `NetFault`."""
    wanted = one.manifest
    again = f"remove it, then `vedette models fetch {one.name}` or `vedette models import FILE`"
    if len(held) != wanted.bytes:
        has = f"more than {wanted.bytes}" if len(held) > wanted.bytes else f"{len(held)} of {wanted.bytes}"
        raise NetFault(f"net {one.path} is not the one of its manifest: it has {has} bytes; {again}")
    if (digest := hashlib.sha256(held).hexdigest()) != wanted.sha256:
        raise NetFault(f"net {one.path} is not the one of its manifest: sha256 is {digest}; {again}")
    return held


def shown(manifest: Manifest, picture: Array, part: Box | None = None) -> Shown:
    """What the net is shown of a picture (h, w, 3) uint8 BGR, or of a part of it. A grey net may be shown (h, w)."""
    import cv2

    is_grey = picture.ndim == 2 and manifest.colour == "grey"
    if (not is_grey and (picture.ndim != 3 or picture.shape[2] != 3)) or picture.dtype != np.uint8 or not picture.size:
        raise ValueError(f"a picture is (h, w, 3) uint8, not {picture.shape} {picture.dtype}")
    h, w = picture.shape[:2]
    x1, y1, x2, y2 = part or (0, 0, w, h)
    left, top = min(max(0, int(x1)), w - 1), min(max(0, int(y1)), h - 1)
    right, below = max(left + 1, min(w, math.ceil(x2))), max(top + 1, min(h, math.ceil(y2)))
    size, (wide, high) = fitted(manifest, (below - top, right - left))
    by = wide / (right - left), high / (below - top)
    seen = np.ascontiguousarray(picture[top:below, left:right])
    if manifest.colour == "grey" and not is_grey:  # a third of the pixels to make smaller
        seen = cv2.cvtColor(seen, cv2.COLOR_BGR2GRAY)
    seen = smaller(seen, (wide, high))
    if manifest.colour == "rgb":
        seen = cv2.cvtColor(seen, cv2.COLOR_BGR2RGB)
    seen = seen.reshape(high, wide, -1)
    channels = seen.shape[2]
    std = np.broadcast_to(np.asarray(manifest.std, np.float32), (channels,))
    times = np.float32(manifest.scale) / std
    plus = -np.asarray(manifest.mean, np.float32) / std
    pixels = np.empty((1, channels, *size) if manifest.layout == "nchw" else (1, *size, channels), np.float32)
    planes = pixels[0] if manifest.layout == "nchw" else np.moveaxis(pixels[0], 2, 0)
    for i in range(channels):
        plane = planes[i]
        plane[high:] = plane[:high, wide:] = times[i] * manifest.pad + plus[i]
        inside = plane[:high, :wide]
        inside[...] = seen[:, :, i]
        if times[i] != 1:
            inside *= times[i]
        if plus[i] != 0:
            inside += plus[i]
    return Shown(pixels, size, by, (left, top, right, below), (h, w))


def asked(manifest: Manifest, crops: Sequence[Array]) -> Array:
    """(k, c, h, w) or (k, h, w, c) float32: what a net is shown of crops. Raises `ValueError` where they do not fit."""
    n, grey = manifest.input[0], manifest.colour == "grey"
    wanted = (n, n) if grey else (n, n, 3)
    for crop in crops:
        if crop.shape != wanted or crop.dtype != np.uint8:
            raise ValueError(f"a crop is {wanted} uint8, not {crop.shape} {crop.dtype}")
    seen = np.array(crops, np.float32)
    seen = seen[..., None] if grey else seen if manifest.colour == "bgr" else seen[..., ::-1]
    if manifest.scale != 1 or any(manifest.mean) or any(one != 1 for one in manifest.std):
        std = np.asarray(manifest.std, np.float32)
        seen = (np.float32(manifest.scale) * seen - np.asarray(manifest.mean, np.float32)) / std
    return np.ascontiguousarray(seen.transpose(0, 3, 1, 2) if manifest.layout == "nchw" else seen)


def smaller(picture: Array, size: tuple[int, int]) -> Array:
    """The picture (h, w, 3) or (h, w) uint8 in another size (width, height), smaller or larger.

    Halved by means as often as it goes, then between pixels. Where pixels are left out, what is far flickers: AP50 of
    vehicles 0.77 instead of 0.83 (yolox_nano). Means of any other area (`INTER_AREA`) are as good, and 13 times slower.
    """
    import cv2

    while picture.shape[1] >= 2 * size[0] and picture.shape[0] >= 2 * size[1]:
        h, w = picture.shape[0] // 2, picture.shape[1] // 2  # an odd row at the edge is worth half a pixel of its place
        picture = cv2.resize(picture[: 2 * h, : 2 * w], (w, h), interpolation=cv2.INTER_AREA)
    resized: Array = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return resized


def fitted(manifest: Manifest, picture: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width of what is shown, and width and height that the picture has in it.

    One free side follows the other; with both free the picture keeps its size. A free side is a multiple of the stride.
    """
    (h, w), (high, wide), step = picture, manifest.input, manifest.stride
    if high and wide and manifest.fit == "stretch":
        return (high, wide), (wide, high)
    by = min(wide / w if wide else math.inf, high / h if high else math.inf)
    by = 1.0 if math.isinf(by) else by
    inside = max(1, round(by * w)), max(1, round(by * h))
    return (high or -(-inside[1] // step) * step, wide or -(-inside[0] // step) * step), inside


def placed(raw: Raw, seen: Shown) -> Raw:
    """The same in px of the picture, without what an edge of the part cuts."""
    (h, w), (left, top, right, below) = seen.picture, seen.part
    by, corner = np.array(seen.by), np.array((left, top), float)
    box = raw.box / np.tile(by, 2) + np.tile(corner, 2)
    x, y = CUT / by
    whole = (
        ((box[:, 0] > left + x) | (left == 0))
        & ((box[:, 1] > top + y) | (top == 0))
        & ((box[:, 2] < right - x) | (right == w))
        & ((box[:, 3] < below - y) | (below == h))
    )
    spots = raw.points / by + corner
    return Raw(raw.score[whole], raw.label[whole], np.clip(box, 0, (w, h, w, h))[whole], spots[whole])


def told(manifest: Manifest, raws: Sequence[Raw]) -> list[Found]:
    """What the looks at a picture found, each thing once, best first."""
    raw = raws[0] if len(raws) == 1 else Raw(*(np.concatenate(column) for column in zip(*raws, strict=True)))
    return [
        Found(
            manifest.kinds[raw.label[i]],
            float(raw.score[i]),
            tuple(raw.box[i].tolist()),
            tuple((x, y) for x, y in raw.points[i].tolist()),
        )
        for i in best(raw, manifest.kinds, manifest.overlap)
    ]


def opened(path: Path, held: bytes, threads: int = 1, provider: str = "cpu") -> Any:
    """A session of ONNX Runtime on these weights. Raises `NetFault`; `path` is only named."""
    try:
        import cv2  # noqa: F401

        onnxruntime = runtime.onnxruntime()
    except ImportError as error:
        raise NetFault(f"nets need OpenCV and ONNX Runtime ({error}): pip install 'vedette[video]'") from None
    wanted, built = PROVIDERS.get(provider, provider), onnxruntime.get_available_providers()
    if wanted not in built:
        plain = {name: word for word, name in PROVIDERS.items()}
        has = ", ".join(plain.get(name, name) for name in built)
        raise NetFault(f"net {path}: this build of ONNX Runtime has no provider `{provider}`, only {has}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 4  # what it has to say comes as an exception
    chosen: list[Any] = [(wanted, {"intra_op_num_threads": str(threads)}) if provider == "xnnpack" else wanted]
    if wanted != PROVIDERS["cpu"]:
        chosen.append(PROVIDERS["cpu"])  # for what the other does not know
    try:
        session = onnxruntime.InferenceSession(held, options, providers=chosen)
    except Exception as error:  # it raises a class for each of its states, and none that they share
        raise NetFault(f"net {path}: ONNX Runtime cannot load it: {error}") from None
    if wanted not in session.get_providers():  # it falls back without a word
        raise NetFault(f"net {path}: the provider `{provider}` does not start on this machine; try `cpu`")
    return session


def _runner(path: Path, session: Any) -> Run:
    names, given = [one.name for one in session.get_outputs()], session.get_inputs()[0].name

    def run(pixels: Array) -> list[Array]:
        try:
            outputs: list[Array] = session.run(names, {given: pixels})
        except Exception as error:  # as above
            raise NetFault(f"net {path} does not run on {pixels.shape}: {error}") from None
        return outputs

    return run


def _fits(net: Net) -> None:
    """Raises `NetFault` where the file takes something else than its manifest says."""
    inputs, manifest = net.session.get_inputs(), net.manifest
    channels, (h, w) = 1 if manifest.colour == "grey" else 3, manifest.input
    wanted = [1, channels, h, w] if manifest.layout == "nchw" else [1, h, w, channels]
    takes = "; ".join(f"{one.type} {one.shape}" for one in inputs)
    shape = [size if isinstance(size, int) else 0 for size in inputs[0].shape]
    fits = len(shape) == 4 and all(not has or has == size for has, size in zip(shape, wanted, strict=True))
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or not fits:
        raise NetFault(f"net {net.path} takes {takes}; its manifest says one tensor(float) {wanted}, 0 being free")
