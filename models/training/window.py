"""What made the window models that ship.

    python -m models.training.window --data ../shared/data/sensors [--output score] [--steps 20000]

Needs beside this program: onnx >= 1.16. Everything else is numpy, one thread, fixed seeds: the same data gives the same
figures, and on the same numpy and processor the same file.

Data: the normal stretches only (what is labelled, and a window to either side, is cut out) of series whose licence
permits weights under ours: NAB (MIT), Logan River (BSD-3-Clause), gw_USA (public domain), slopes made here (CC0).
Every other file is only reported on. A window is 48 looks of one channel, normalised as `models/window.py` does it, at
paces of 1, 2 and 4 rows a look.

Models, all multilayer perceptrons:

    forecast         48, 64, 32, 1: the look after the window
    reconstruction   48, 64, 8, 64, 48: the window, through a waist
    score            48, 64, 32, 1: odds that the last looks were tampered with here: a step, a drift, unrest, a calm, a
                     piece out of another series, a piece run backwards or upside down. It sees no labelled anomaly.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.core.frame import Array
from agent.detect import number, seconds
from models.window import FAR, SHIPPED, normal

LOOKS = 48
PACES = (1, 2, 4)  # rows a look
SHAPES = {
    "forecast": (LOOKS, 64, 32, 1),
    "reconstruction": (LOOKS, 64, 8, 64, LOOKS),
    "score": (LOOKS, 64, 32, 1),
}
NAMES = {"forecast": "next", "reconstruction": "waist", "score": "shape"}
HEAD = "# Window models that ship; `models/window.py` says what the rows mean.\n\n"
BATCH = 256
RATE = 1e-3  # of Adam, falling to a hundredth along a cosine
TRAINED = [
    "NAB, numenta/NAB @ ea702d75cc22, MIT: every other file",
    "Logan River, BlackSmithFork2019, AmberSJones/pyhydroqc @ 1260f16ae254, BSD-3-Clause",
    "gw_USA, heads of a well, USGS, public domain",
    "slopes made here (slope/synth, even numbers), CC0",
]


class Series(NamedTuple):
    name: str
    kept: bool  # only reported on
    value: Array  # (t,) NaN where missing or labelled
    labelled: list[Array]  # stretches that are labelled, with a window before them


# -- data ---------------------------------------------------------------------------------------------


def table(path: Path) -> dict[str, list[str]]:
    """Columns of a CSV."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        head, *rows = csv.reader(lines)
    return {key: [row[i] for row in rows] for i, key in enumerate(head)}


def series(data: Path) -> Iterator[Series]:
    """All that may be used."""
    windows = json.loads((data / "nab" / "combined_windows.json").read_text())
    for i, path in enumerate(sorted((data / "nab" / "data").glob("*/*.csv"))):
        columns = table(path)
        at = np.array([seconds(t) for t in columns["timestamp"]])
        spans = windows[f"{path.parent.name}/{path.name}"]
        bad = np.zeros(len(at), bool)
        for begin, end in spans:
            bad |= (at >= seconds(begin)) & (at <= seconds(end))
        yield _series(f"nab/{path.stem}", i % 2 == 1, columns["value"], bad)
    for path in sorted((data / "water" / "lro").glob("*.csv")):
        columns = table(path)
        for key in ("temp", "cond", "ph", "do", "turb", "stage"):
            # code 10 is a slow correction of drift: nothing in the shape of a window
            bad = np.array([not np.isnan(number(code)) and number(code) != 10 for code in columns[f"{key}_qual"]])
            yield _series(f"lro/{path.stem}/{key}", path.stem != "BlackSmithFork2019", columns[key], bad)
    heads = table(data / "water" / "gw_USA" / "heads_full.csv")["head"]
    yield _series("gw_USA/head", False, heads, np.zeros(len(heads), bool))
    for i, path in enumerate(sorted((data / "slope" / "synth").glob("[0-9]*.csv"))):
        columns = table(path)
        at = np.array([seconds(t) for t in columns["time"]])
        bad = np.zeros(len(at), bool)
        for case in json.loads((data / "cases.json").read_text())["cases"]:
            if case["id"] == f"slope/synth_{path.stem}":
                for begin, end in case["labels"].get("events", []):
                    bad |= (at >= seconds(begin)) & (at <= seconds(end))
        yield _series(f"synth/{path.stem}", i % 2 == 1, columns["disp_mm"], bad)


def _series(name: str, kept: bool, cells: list[str], bad: Array) -> Series:
    value = np.array([number(cell) for cell in cells])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], bad.astype(int), [0]])))
    spans = list(zip(edges[::2], edges[1::2], strict=True))
    labelled = [value[max(a - LOOKS, 0) : b] for a, b in spans]
    clean = value.copy()
    for a, b in spans:
        clean[max(a - LOOKS, 0) : b + LOOKS] = np.nan
    return Series(name, kept, clean, labelled)


def windows(value: Array, pace: int, most: int, rng: np.random.Generator) -> Array:
    """(k, LOOKS + 1) at most `most` windows without a gap, of means of `pace` rows."""
    means = value[: len(value) // pace * pace].reshape(-1, pace).mean(axis=1)
    if len(means) <= LOOKS:
        return np.empty((0, LOOKS + 1))
    every = np.lib.stride_tricks.sliding_window_view(means, LOOKS + 1)
    good = np.flatnonzero(np.isfinite(every).all(axis=1))
    picked: Array = every[np.sort(rng.permutation(good)[:most])]
    return picked


class Windows(NamedTuple):
    """Windows of many series, with what is usual of each."""

    value: Array  # (k, LOOKS + 1)
    usual: Array  # (k,) spread
    quantum: Array  # (k,)


def gathered(found: list[Series], kept: bool, most: int, rng: np.random.Generator) -> Windows:
    parts = []
    for one in found:
        if one.kept != kept:
            continue
        change = np.abs(np.diff(one.value[np.isfinite(one.value)]))
        change = change[change > 1e-9 * (1e-3 + np.abs(one.value[np.isfinite(one.value)][1:]))]
        quantum = float(change.min()) if change.size else np.inf
        for pace in PACES:
            value = windows(one.value, pace, most // pace, rng)
            if len(value):
                none = np.zeros(len(value))
                usual = normal(value[:, :LOOKS], none, none + np.inf)[1].mean()
                parts.append(Windows(value, none + usual, none + quantum / pace))
    return Windows(*(np.concatenate([part[i] for part in parts]) for i in range(3)))


def tampered(w: Array, size: Array, donor: Array, rng: np.random.Generator) -> Array:
    """(k, LOOKS) with something done to the last looks of each. size: (k,) spread; donor: (k, LOOKS) other windows."""
    k = len(w)
    last = rng.integers(3, 25, k)  # looks
    mask = np.arange(LOOKS) >= (LOOKS - last)[:, None]
    since = np.maximum(np.arange(LOOKS) - (LOOKS - last)[:, None] + 1, 0)
    sign = rng.choice([-1.0, 1.0], k)
    strong = np.exp(rng.uniform(np.log(1.5), np.log(12.0), k)) * size
    step = w + mask * (sign * strong)[:, None]
    drift = w + since * (sign * strong / last)[:, None]
    rough = w + mask * rng.normal(0.0, 1.0, w.shape) * (0.5 * strong)[:, None]
    anchor = w[np.arange(k), LOOKS - last - 1]
    calm = np.where(mask, anchor[:, None] + rng.choice([0.0, 0.1], k)[:, None] * (w - anchor[:, None]), w)
    other = (donor - np.median(donor, axis=1, keepdims=True)) / (donor.std(axis=1, keepdims=True) + 1e-12)
    foreign = np.where(mask, np.median(w, axis=1, keepdims=True) + other * 1.5 * size[:, None], w)
    index = np.where(mask, 2 * LOOKS - last[:, None] - 1 - np.arange(LOOKS), np.arange(LOOKS))
    backwards = np.take_along_axis(w, index, axis=1)
    upside = np.where(mask, 2 * anchor[:, None] - w, w)
    made = np.stack([step, drift, rough, calm, foreign, backwards, upside])
    out: Array = made[rng.integers(0, len(made), k), np.arange(k)]
    return out


def batch(of: Windows, output: str, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """(size, LOOKS) what goes in and (size, ...) what is to come out."""
    pick = rng.integers(0, len(of.value), size)
    w, usual, quantum = of.value[pick, :LOOKS], of.usual[pick], of.quantum[pick]
    done = np.zeros(size)
    if output == "score":
        done = (rng.random(size) < 0.5).astype(float)
        donor = of.value[rng.integers(0, len(of.value), size), :LOOKS]
        _, spread = normal(w, usual, quantum)
        w = np.where(done[:, None] > 0, tampered(w, spread, donor, rng), w)
    middle, spread = normal(w, usual, quantum)
    x = np.clip((w - middle[:, None]) / spread[:, None], -FAR, FAR)
    if output == "forecast":
        y = np.clip((of.value[pick, LOOKS] - middle) / spread, -FAR, FAR)[:, None]
    else:
        y = x if output == "reconstruction" else done[:, None]
    flip = rng.choice([-1.0, 1.0], size)[:, None]  # up is as good as down
    return x * flip, y if output == "score" else y * flip


# -- a multilayer perceptron --------------------------------------------------------------------------

Layers = list[tuple[Array, Array]]  # (in, out) weights and (out,) offsets


def begin(shape: tuple[int, ...], rng: np.random.Generator) -> Layers:
    return [
        (rng.normal(0.0, np.sqrt(2 / a), (a, b)).astype(np.float32), np.zeros(b, np.float32))
        for a, b in pairwise(shape)
    ]


def squeeze(x: Array) -> Array:
    """Far values count by their logarithm; the first thing that every model does."""
    out: Array = np.sign(x) * np.log1p(np.abs(x))
    return out


def forward(layers: Layers, x: Array) -> list[Array]:
    """What goes into each layer, and what comes out of the last."""
    seen = [squeeze(x).astype(np.float32)]
    for i, (weight, offset) in enumerate(layers):
        z = seen[-1] @ weight + offset
        seen.append(np.maximum(z, 0) if i < len(layers) - 1 else z)
    return seen


def slope(answer: Array, y: Array, output: str) -> Array:
    """Of the loss, by the answer: logistic of a score, else pseudo-Huber in squeezed units."""
    if output == "score":
        out: Array = 1 / (1 + np.exp(-answer)) - y
        return out
    off = answer - squeeze(y)
    held: Array = off / np.sqrt(1 + (off / 0.3) ** 2)
    return held


def train(of: Windows, output: str, steps: int, rng: np.random.Generator) -> Layers:
    """Adam (Kingma, Ba 2015)."""
    layers = begin(SHAPES[output], rng)
    flat = [p for pair in layers for p in pair]
    first, second = [np.zeros_like(p) for p in flat], [np.zeros_like(p) for p in flat]
    for step in range(1, steps + 1):
        x, y = batch(of, output, BATCH, rng)
        seen = forward(layers, x)
        back = (slope(seen[-1], y, output) / BATCH).astype(np.float32)
        grads: list[Array] = []
        for i in reversed(range(len(layers))):
            grads = [seen[i].T @ back, back.sum(0), *grads]
            back = (back @ layers[i][0].T) * (seen[i] > 0)
        rate = RATE * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * step / steps)))
        for p, g, m, v in zip(flat, grads, first, second, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
            p *= 1 - 1e-2 * rate  # weights fade
    return layers


def judge(layers: Layers, x: Array, y: Array, output: str) -> Array:
    """(k,) the error of each window, as `models/window.py` has it."""
    answer = forward(layers, x)[-1]
    if output == "score":
        odds: Array = np.exp(np.minimum(answer[:, 0], 20.0))
        return odds
    answer = np.sign(answer) * np.expm1(np.abs(answer))
    error: Array = np.sqrt(np.mean((answer - y) ** 2, axis=1))
    return error


# -- the file -----------------------------------------------------------------------------------------


def exported(layers: Layers, output: str) -> bytes:
    """The model as ONNX: opset 17, which onnxruntime has had since 1.12."""
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes = [
        helper.make_node("Sign", ["window"], ["sign"]),
        helper.make_node("Abs", ["window"], ["far"]),
        helper.make_node("Add", ["far", "one"], ["more"]),
        helper.make_node("Log", ["more"], ["log"]),
        helper.make_node("Mul", ["sign", "log"], ["h0"]),
    ]
    weights = [numpy_helper.from_array(np.ones(1, np.float32), "one")]
    for i, (weight, offset) in enumerate(layers):
        weights += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(offset, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [f"h{i}", f"w{i}", f"b{i}"], [f"z{i}"]))
        if i < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [f"z{i}"], [f"h{i + 1}"]))
    z = f"z{len(layers) - 1}"
    if output == "score":
        weights.append(numpy_helper.from_array(np.array(20.0, np.float32), "most"))
        nodes += [helper.make_node("Min", [z, "most"], ["low"]), helper.make_node("Exp", ["low"], ["answer"])]
    else:
        nodes += [
            helper.make_node("Sign", [z], ["side"]),
            helper.make_node("Abs", [z], ["size"]),
            helper.make_node("Exp", ["size"], ["grown"]),
            helper.make_node("Sub", ["grown", "one"], ["away"]),
            helper.make_node("Mul", ["side", "away"], ["answer"]),
        ]
    given = helper.make_tensor_value_info("window", TensorProto.FLOAT, ["batch", LOOKS])
    told = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["batch", SHAPES[output][-1]])
    graph = helper.make_graph(nodes, output, [given], [told], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def area(low: Array, high: Array) -> float:
    """Share of pairs in which `high` is the higher (area under the ROC curve)."""
    order = np.argsort(np.concatenate([low, high]), kind="stable")
    rank = np.empty(len(order))
    rank[order] = np.arange(1, len(order) + 1)
    return float((rank[len(low) :].sum() - len(high) * (len(high) + 1) / 2) / (len(low) * len(high)))


def figures(layers: Layers, of: Windows, output: str, rng: np.random.Generator) -> dict[str, float]:
    """Of merit, on windows of series that it was not trained on."""
    x, y = batch(of, output, 20_000, rng)
    error = judge(layers, x, y, output)
    if output == "score":
        done = y[:, 0] > 0
        return {"tampered_auc": round(area(error[~done], error[done]), 3)}
    plain = x[:, -1:] if output == "forecast" else np.zeros_like(x)  # nothing changes; nothing happens
    floor = np.sqrt(np.mean((plain - y) ** 2, axis=1))
    return {"error_median": round(float(np.median(error)), 3), "floor_median": round(float(np.median(floor)), 3)}


def manifest(output: str, digest: str, found: dict[str, float], smooth: float, tail: float) -> str:
    """The table of the manifest."""
    name = NAMES[output]
    about = {
        "forecast": "the look after the window; floor: the last value",
        "reconstruction": "the window through a waist of 8; floor: its median",
        "score": "odds that the last looks were tampered with; taught with changes made up on normal windows",
    }[output]
    rows = [
        f"[{name}]",
        f'file = "{name}.onnx"',
        f'sha256 = "{digest}"',
        f"looks = {LOOKS}",
        'normal = "median"',
        f'output = "{output}"',
        f"smooth = {smooth}",
        f"tail = {tail}",
        f'about = "{about}"',
        "trained = [",
        *(f'  "{row}",' for row in TRAINED),
        "]",
        'script = "python -m models.training.window"',
        f"figures = {{ {', '.join(f'{key} = {value}' for key, value in found.items())} }} # on series kept back",
    ]
    return "\n".join(rows) + "\n"


def placed(manifests: str, name: str, table: str) -> str:
    """The manifests with this model's table in its place, at the top where it had none; others stay as they are.

    >>> placed("# head\\n\\n[a]\\nx = 1\\n\\n[net.b]\\ny = 2\\n", "a", "[a]\\nx = 3\\n")
    '# head\\n\\n[a]\\nx = 3\\n\\n[net.b]\\ny = 2\\n'
    """
    head, _, rest = manifests.partition("\n\n")
    without = re.sub(rf"(?m)^\[{re.escape(name)}\]\n(?:(?![\[#]).*\n?)*", "", rest)
    return f"{head}\n\n{table}" + (f"\n{without.lstrip()}" if without.strip() else "")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", choices=SHAPES, default="score")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--smooth", type=float, default=0.1, help="for the manifest")
    parser.add_argument("--tail", type=float, default=0.25, help="for the manifest")
    parser.add_argument("--out", type=Path, default=SHIPPED.parent)
    args = parser.parse_args(argv)
    rng = np.random.default_rng(7)
    found = list(series(args.data))
    layers = train(gathered(found, False, 3000, rng), args.output, args.steps, rng)
    merit: dict[str, Any] = figures(layers, gathered(found, True, 3000, rng), args.output, rng)
    weights = exported(layers, args.output)
    (args.out / f"{NAMES[args.output]}.onnx").write_bytes(weights)
    text = manifest(args.output, hashlib.sha256(weights).hexdigest(), merit, args.smooth, args.tail)
    file = args.out / "MANIFEST.toml"
    file.write_text(placed(file.read_text("utf-8") if file.is_file() else HEAD, NAMES[args.output], text), "utf-8")
    print(f"{text}\n{len(weights)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
