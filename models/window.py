"""A window model out of an ONNX file: how unlike what it knows the last looks of each channel run.

The manifest says what goes in and what comes out; `models/tail.py` turns the error into decades against a budget, as
for every other view of `models/anomaly.py`. Which model it is does not matter: one that ships (`models/weights`), or
one that a site trained. A manifest is a TOML file with a table for each model, beside those of nets that look at
pictures (`[net.NAME]`), which are not read here:

    [NAME]
    file = "NAME.onnx"          # beside the manifest
    sha256 = "..."              # of the file: another one is refused
    looks = 48                  # in a window, oldest first
    normal = "median"           # what goes in: (x - median) / median absolute deviation of the window; or "none"
    output = "forecast"         # of the look after the window; "reconstruction" of it; or "score", positive

In: (batch, looks), (batch, looks, 1) or (batch, 1, looks), float or double, the batch free. Out, first of all: one
number a window, or `looks` of them for a reconstruction. Nothing is trained here and nothing leaves the box.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct

from agent.core.frame import OVER_RANGE, Array, Frame, Layout
from agent.core.ports import Detector

from . import runtime, tail
from . import strange as shared
from .strange import DAY, STILL, Told, Waits
from .tail import Tail

SHIPPED = Path(__file__).parent / "weights" / "MANIFEST.toml"
MEMORY = 1000  # looks over which the usual spread of a window is remembered
PAUSE = 12.0  # usual steps; after a longer pause the window begins anew
LEAST = 0.1  # of its usual spread that a window counts as having: a calm hour is no reason to see mountains in noise
FAR = 20.0  # spreads; a normalised model is shown nothing farther
TINY = 1e-12
TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}

Run = Callable[[Array], Array]  # (n, looks) -> (n, looks) of a reconstruction, else (n, 1)


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be known of a model before it is believed."""

    file: str  # beside the manifest
    sha256: str
    looks: Annotated[int, Meta(ge=4, le=4096)]
    normal: Literal["median", "none"]
    output: Literal["reconstruction", "forecast", "score"]
    smooth: Annotated[float, Meta(gt=0, le=1)] = 1.0  # share of a look in the smoothed error; 1: the error itself
    tail: Annotated[float, Meta(gt=0)] = 0.22  # mean excess of a peak of the logarithm, before any was seen
    about: str = ""  # what it is and is not
    trained: list[str] = []  # on what, with licences
    script: str = ""  # that made it
    figures: dict[str, Any] = {}  # of merit, on what it was not trained on


class Model(NamedTuple):
    """A model that was found whole."""

    name: str
    manifest: Manifest
    run: Run

    @property
    def held(self) -> int:
        """Looks to keep: a forecast is compared with the one after its window."""
        return self.manifest.looks + (self.manifest.output == "forecast")


class Memory(NamedTuple):
    model: str  # sha256 of that whose errors these are
    waits: Waits
    at: Array  # (n,) s, of the last value
    step: float  # s, usual time between looks, NaN before two
    ring: Array  # (n, held) the last usable values, oldest first
    held: Array  # (n,) how many of them are known
    looks: Array  # (n,) whole windows so far
    spread: Array  # (n,) usual spread of a window
    quantum: Array  # (n,) the least difference ever seen, inf before any
    error: Array  # (n,) smoothed
    tail: Tail
    surprise: Array  # (n,) at the last look
    told: Told
    value: Array  # (n,) the columns


class Window(Detector, tag="window", frozen=True, kw_only=True):
    """How unlike what a window model knows each channel runs. Optional: `pip install vedette[onnx]`.

    In:      value (n,) of one source, any units; even steps are best; a missing sample is no look.
    Out:     `<key>.<name>`, after the detector's own name: decades by which the model's error is rarer than the budget
             allows; 0 and above while it is told, NaN while it learns. GOOD.
    Memory:  the last looks of each channel and what `models/tail.py` keeps. A restart goes on; another model forgets.
    Weak at: what its model never saw; what is slower than its window; the first 120 windows.
    Source:  the manifest of the model; tails: `models/tail.py`; constants: project.
    """

    strange: ClassVar[bool] = True

    model: str = "shape"  # of those that ship, or a manifest: FILE.toml, FILE.toml#NAME where there are several; a path
    # is taken from where the program runs, so write it in full
    budget: Annotated[float, Meta(gt=0)] = 30 * DAY  # s for one false alarm of a channel
    stands: Annotated[float, Meta(gt=0)] = 300.0  # s that it is told, at most
    every: Annotated[float, Meta(ge=0)] = 0.0  # s between two looks, at least

    def __post_init__(self) -> None:
        found(self.model)  # raises ValueError: what cannot run is told by `vedette check`, not at night

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        return [(f"{key}.{self.name}", "") for key in seen.key]

    def start(self, seen: Layout) -> Memory:
        n, model = len(seen), found(self.model)
        zero = np.zeros(n)
        return Memory(
            model=model.manifest.sha256,
            waits=Waits(np.nan, zero, zero),
            at=zero,
            step=np.nan,
            ring=np.zeros((n, model.held)),
            held=zero,
            looks=zero,
            spread=zero,
            quantum=np.full(n, np.inf),
            error=zero,
            tail=tail.start(n),
            surprise=np.full(n, np.nan),
            told=shared.silent(n),
            value=np.full(n, np.nan),
        )

    def step(self, memory: Memory, seen: Frame) -> tuple[Memory, Array, Array]:
        model = found(self.model)
        if memory.model != model.manifest.sha256:
            memory = self.start(seen.layout)  # errors of another model say nothing of this one's
        now, value = seen.at.mono, seen.value
        good = np.isfinite(value) & (seen.quality <= OVER_RANGE)
        waits, due, value, good = shared.wait(memory.waits, value, good, now, self.every)
        memory = memory._replace(waits=waits)
        if due:
            memory = self._looked(memory, model, value, good, now)
        return memory, memory.value, np.zeros(len(memory.value), np.uint8)

    def _looked(self, m: Memory, model: Model, given: Array, good: Array, now: float) -> Memory:
        first = good & (m.held + m.looks == 0)
        passed = np.where(first, 0.0, now - m.at) * good
        anew = np.zeros(len(good), bool) if np.isnan(m.step) else passed > PAUSE * m.step
        change = np.abs(given - m.ring[:, -1])
        differs = good & ~first & (change > 1e-9 * (1e-3 + np.abs(given)))
        m = m._replace(
            at=np.where(good, now, m.at),
            step=shared.pace(m.step, float(passed.max())),
            ring=np.where(good[:, None], np.column_stack([m.ring[:, 1:], given]), m.ring),
            held=np.minimum(np.where(anew, 0, m.held) + good, model.held),
            quantum=np.where(differs, np.minimum(m.quantum, change), m.quantum),
        )
        known = good & (m.held == model.held)
        m, error = self._error(m, model, known)
        known = known & np.isfinite(error)
        begun = np.where(m.looks <= 1, 1.0, model.manifest.smooth)
        smooth = np.where(known, m.error + begun * (error - m.error), m.error)
        share = np.where(m.told.on, STILL, 1.0)
        prior, budget = np.full(len(good), model.manifest.tail), shared.allowed(self.budget, m.step)
        score = np.log(np.maximum(smooth, 1e-6))
        surprise = tail.look(m.tail, score, known, prior, budget)
        after = tail.learn(m.tail, score, known, passed, prior, budget, share)
        told, columns = shared.tell(m.told, surprise, now, self.stands)
        return m._replace(error=smooth, tail=after, surprise=surprise, told=told, value=columns)

    @staticmethod
    def _error(m: Memory, model: Model, known: Array) -> tuple[Memory, Array]:
        """With the spreads of these windows; (n,) how far the model is off, NaN where nothing is known."""
        error = np.full(len(known), np.nan)
        if not known.any():
            return m, error
        window = m.ring[known, : model.manifest.looks]
        if model.manifest.normal == "median":
            middle, spread = normal(window, m.spread[known], m.quantum[known])
            looks = m.looks + known
            learn = np.maximum(1 / looks[known], 1 / MEMORY)
            kept = m.spread.copy()
            kept[known] += learn * (spread - kept[known])
            m = m._replace(spread=kept, looks=looks)
        else:
            middle, spread = np.zeros(len(window)), np.ones(len(window))
            m = m._replace(looks=m.looks + known)
        shown = (window - middle[:, None]) / spread[:, None]
        if model.manifest.normal == "median":
            shown = np.clip(shown, -FAR, FAR)
        answer = model.run(shown)
        if model.manifest.output == "forecast":
            error[known] = np.abs((m.ring[known, -1] - middle) / spread - answer[:, 0])
        elif model.manifest.output == "reconstruction":
            error[known] = np.sqrt(np.mean((shown - answer) ** 2, axis=1))
        else:
            error[known] = answer[:, 0]
        return m, error

    def why(self, memory: Memory, seen: Layout, column: int) -> list[tuple[str, dict[str, Any]]]:
        manifest = found(self.model).manifest
        shape: dict[str, Any] = {
            "looks": float(manifest.looks),
            "model": found(self.model).name,
            "now": float(memory.error[column]),
            "usual": float(np.exp(memory.tail.bar[column])),
        }
        budget = shared.allowed(self.budget, memory.step)
        return [
            ("window", shape),
            *shared.rarity(memory.tail, column, float(memory.surprise[column]), budget, 0.0),
        ]

    def moved(self, memory: Memory, seconds: float) -> Memory:
        told = memory.told._replace(since=memory.told.since + seconds)
        waits = memory.waits._replace(looked=memory.waits.looked + seconds)
        return memory._replace(waits=waits, at=memory.at + seconds, told=told)


def normal(window: Array, usual: Array, quantum: Array) -> tuple[Array, Array]:
    """(n,) the median of each window, and its spread: the median absolute deviation, no less than makes sense.

    window: (n, looks); usual: (n,) spread of such windows, 0 where unknown; quantum: (n,) the least difference seen.

    >>> normal(np.array([[1.0, 2.0, 3.0, 4.0, 9.0]]), np.zeros(1), np.ones(1))
    (array([3.]), array([1.]))
    """
    middle = _median(window)
    away = _median(np.abs(window - middle[:, None]))
    finest = np.where(quantum < np.inf, 0.5 * quantum, 0.0)
    least = np.maximum(np.maximum(LEAST * usual, finest), 1e-9 * np.abs(middle)) + TINY
    return middle, np.maximum(away, least)


def _median(rows: Array) -> Array:
    """(n,) of each row; a fifth of the time of `np.median`, which asks much of its arguments."""
    low, high = (rows.shape[1] - 1) // 2, rows.shape[1] // 2
    parted = np.partition(rows, (low, high), axis=1)
    middle: Array = 0.5 * (parted[:, low] + parted[:, high])
    return middle


def known() -> dict[str, Manifest]:
    """The models that ship. Raises `ValueError` in words."""
    return _read(SHIPPED)


@cache
def found(name: str) -> Model:
    """The model of that name, or of that manifest, ready to run. Raises `ValueError` in words."""
    path, _, one = name.partition("#")
    is_file = path.endswith(".toml")
    manifests = _read(Path(path) if is_file else SHIPPED)
    called = one or (next(iter(manifests)) if len(manifests) == 1 and is_file else "" if is_file else name)
    if called not in manifests:
        where = f"in {path}, write {path}#NAME" if is_file else "that ships; a manifest of your own ends in .toml"
        raise ValueError(f"no window model `{called or name}` {where}; there are {', '.join(sorted(manifests))}")
    manifest = manifests[called]
    return Model(called, manifest, _load((Path(path) if is_file else SHIPPED).parent / manifest.file, manifest))


def _read(path: Path) -> dict[str, Manifest]:
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        tables.pop("net", None)  # `models/vision/manifest.py` reads these
        return msgspec.convert(tables, dict[str, Manifest])
    except OSError as error:
        raise ValueError(f"manifest of window models {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"manifest of window models {path}: {error}") from None


def _load(path: Path, manifest: Manifest) -> Run:
    """The model behind one function, tried once."""
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise ValueError(f"window model {path}: {error.strerror}") from None
    if (digest := hashlib.sha256(weights).hexdigest()) != manifest.sha256:
        raise ValueError(f"window model {path} is not the one of its manifest: sha256 is {digest}")
    try:
        onnxruntime = runtime.onnxruntime()
    except ImportError:
        raise ValueError("window models need onnxruntime: pip install 'vedette[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it has to say comes as an exception
    try:
        session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it raises a class for each of its states, and none that they share
        raise ValueError(f"window model {path}: onnxruntime cannot load it: {error}") from None
    inputs, looks = session.get_inputs(), manifest.looks
    shape = [size if isinstance(size, int) else 0 for size in inputs[0].shape]  # 0: free
    rest = [size for size in shape[1:] if size != 1]
    wrong = f"window model {path} takes {[f'{one.type} {one.shape}' for one in inputs]}"
    if len(inputs) != 1 or inputs[0].type not in TYPES or not shape or shape[0] or rest not in ([looks], [0]):
        raise ValueError(f"{wrong}; wanted is one tensor (batch, {looks}), or with a 1 beside {looks}, the batch free")
    key, type_ = inputs[0].name, TYPES[inputs[0].type]
    outputs = [session.get_outputs()[0].name]
    beyond = [size or looks for size in shape[1:]]
    width = looks if manifest.output == "reconstruction" else 1

    def run(window: Array) -> Array:
        answer = session.run(outputs, {key: window.astype(type_).reshape(len(window), *beyond)})[0]
        numbers: Array = np.asarray(answer, float).reshape(len(window), -1)
        return numbers

    for n in (1, 3):
        try:
            answer = run(np.zeros((n, looks)))
        except Exception as error:  # as above
            raise ValueError(f"window model {path} does not run on {n} windows of {looks} looks: {error}") from None
        if answer.shape != (n, width):
            says = f"{answer.shape[1]} numbers a window; a {manifest.output} of {looks} looks has {width}"
            raise ValueError(f"window model {path} gives {says}")
    return run
