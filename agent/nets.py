"""`vedette models`: the nets that look at pictures, and the window models: which are here, whole, and how fast.

Words and exit codes only; `models/vision` does the work. Exit 1: something is wrong with what is here.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from . import terminal
from .core.errors import NetFault

if TYPE_CHECKING:
    from models.vision.manifest import Entry
    from models.vision.net import Net

GIVEN = ("task", "licence", "source", "colour", "fit", "layout", "score", "overlap", "scale", "pad", "about")


class Check(NamedTuple):
    """What `verify` says of one thing."""

    name: str
    state: str  # whole, absent, wrong
    says: str


def arguments(models: Any) -> None:
    """The verbs below `vedette models`."""
    verbs = models.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=type(models))

    def verb(name: str, call: Callable[[argparse.Namespace], int], help: str) -> Any:
        sub = verbs.add_parser(name, help=help, description=help)
        sub.set_defaults(verb=call)
        sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="answer as JSON for programs")
        sub.add_argument("--to", type=Path, metavar="FOLDER", help="of this machine's own nets ($VEDETTE_MODELS)")
        return sub

    verb("list", _list, "nets that are here, and those that can be fetched or imported")
    check = verb("verify", _verify, "hash, load and run every net that is here; exit 1 where something is wrong")
    check.add_argument("name", nargs="*", help="only these")
    take = verb("import", _import, "take a net out of a file: a known one by its hash, any other by its family")
    take.add_argument("file", type=Path, metavar="FILE", help="an ONNX file")
    take.add_argument("--name", help="what it is called here (the file's name)")
    take.add_argument("--family", help="how its output is read: yolox, nanodet, yunet, marks, eye, ...")
    take.add_argument("--kinds", metavar="A,B,...", help="of its classes, in its order, empty where not told; or coco")
    take.add_argument("--input", metavar="HxW", help="px; 0 is free (as the file has it)")
    take.add_argument("--mean", metavar="B,G,R", help="subtracted, after --scale, in the order of --colour")
    take.add_argument("--std", metavar="B,G,R", help="divided by")
    for name, what in (
        ("task", "what it is for"),
        ("licence", "SPDX"),
        ("source", "repository @ commit"),
        ("about", "a sentence on it"),
    ):
        take.add_argument(f"--{name}", help=what)
    take.add_argument("--colour", choices=("bgr", "rgb", "grey"), help="order of its channels")
    take.add_argument("--fit", choices=("letter-box", "stretch"), help="how a picture is made to fit")
    take.add_argument("--layout", choices=("nchw", "nhwc"), help="order of its input")
    take.add_argument("--score", type=float, help="least that is told, 0 to 1")
    take.add_argument("--overlap", type=float, help="above which two are one thing")
    take.add_argument("--scale", type=float, help="of a pixel of 0 to 255, before --mean")
    take.add_argument("--pad", type=int, help="grey beside the picture, 0 to 255")
    get = verb("fetch", _fetch, "get a net that a manifest describes, from its address or a mirror")
    get.add_argument("name", metavar="NAME", help="as `vedette models list` shows it")
    get.add_argument("--from", dest="mirror", default="", metavar="MIRROR", help="http(s)://..., or a folder")
    get.add_argument("--timeout", type=float, default=60.0, metavar="S", help="for all of it (60)")
    bench = verb("bench", _bench, "ms a picture: shown, run, read; and all of it by the bare run of the same net")
    bench.add_argument("name", nargs="*", help="only these")
    bench.add_argument("--threads", type=int, default=1, metavar="N", help="of the runtime (1)")
    bench.add_argument("--provider", default="cpu", help="cpu, xnnpack, openvino, cuda, ... (cpu)")
    bench.add_argument("--rounds", type=int, default=30, metavar="N", help="of which the median counts (30)")
    bench.add_argument("--picture", metavar="FILE", help="instead of a drawn one of 1280 x 720")


def _folders(args: argparse.Namespace) -> tuple[Path, ...]:
    from models.vision import manifest

    return (args.to or manifest.own(), manifest.SHIPPED)


def _say(args: argparse.Namespace, facts: Any, lines: list[str]) -> None:
    terminal.answer(args, facts, "\n".join(lines))


def _list(args: argparse.Namespace) -> int:
    from models import window
    from models.vision.manifest import entries

    known, wrong = entries(_folders(args))
    facts: dict[str, Any] = {}
    lines = []
    for name, one in known.items():
        here, m = one.path.is_file(), one.manifest
        facts[name] = {"here": here, "path": str(one.path), "manifest": msgspec.to_builtins(m)}
        told = ", ".join(dict.fromkeys(filter(None, m.kinds))) or "of a crop"
        what = f"{m.task} ({told})"
        lines.append(f"{name:20} {'here' if here else 'absent':7} {m.family:11} {m.bytes:>9} B  {m.licence:14} {what}")
    try:
        for name, model in window.known().items():
            path = window.SHIPPED.parent / model.file
            facts[name] = {"here": path.is_file(), "path": str(path), "manifest": msgspec.to_builtins(model)}
            size = path.stat().st_size if path.is_file() else 0
            state = "here" if path.is_file() else "absent"
            lines.append(f"{name:20} {state:7} {'window':11} {size:>9} B  {'ours':14} series")
    except ValueError as error:
        wrong.append(str(error))
    _say(args, {"models": facts, "wrong": wrong}, [*lines, *(f"wrong: {one}" for one in wrong)])
    return 1 if wrong else 0


def _verify(args: argparse.Namespace) -> int:
    folders = _folders(args)
    with terminal.Progress("models verify", unit="nets") as progress:
        checks = [one for one in progress.each(_checks(folders)) if not args.name or one.name in args.name]
    if unknown := set(args.name) - {one.name for one in checks}:
        raise NetFault(f"no model `{min(unknown)}`; `vedette models list` shows what there is")
    bad = sum(one.state == "wrong" for one in checks)
    lines = [f"{one.name:20} {one.state:7} {one.says}" for one in checks]
    lines.append(f"{len(checks)} looked at, {bad} wrong" if bad else f"{len(checks)} looked at, none wrong")
    _say(args, {"models": [one._asdict() for one in checks], "wrong": bad}, lines)
    return 1 if bad else 0


def _checks(folders: tuple[Path, ...]) -> Iterator[Check]:
    """Every net, window model, manifest that cannot be read, and file that nobody describes."""
    from models import window
    from models.vision import net
    from models.vision.manifest import entries

    known, wrong = entries(folders)
    for fault in wrong:
        yield Check("manifest", "wrong", fault)
    for one in known.values():
        if not one.path.is_file() and one.manifest.url and one.told.parent == folders[-1]:
            yield Check(one.name, "absent", f"vedette models fetch {one.name}")
            continue
        try:
            net.ready(one)
        except NetFault as fault:
            yield Check(one.name, "wrong", str(fault))
        else:
            yield Check(one.name, "whole", f"{one.path}, {one.manifest.licence}, {one.manifest.source}")
    described = {one.path.resolve() for one in known.values()}
    try:
        for name, model in window.known().items():
            described.add((window.SHIPPED.parent / model.file).resolve())
            try:
                window.found(name)
            except ValueError as error:
                yield Check(name, "wrong", str(error))
            else:
                yield Check(name, "whole", str(window.SHIPPED.parent / model.file))
    except ValueError as error:
        yield Check("manifest", "wrong", str(error))
    for folder in folders:
        for file in sorted(folder.glob("*.onnx")) if folder.is_dir() else ():
            if file.resolve() not in described:
                yield Check(file.name, "wrong", f"no manifest describes {file}: `vedette models import`, or remove it")


def _import(args: argparse.Namespace) -> int:
    from models.vision import shelf
    from models.vision.manifest import entries

    folders = _folders(args)
    held = shelf.read(args.file)
    one = shelf.recognised(held, (*folders, args.file.resolve().parent))
    try:
        if one is not None and args.family is None:
            name, manifest = args.name or one.name, one.manifest
        elif args.family is None:
            raise ValueError(f"no manifest knows this file: name its --family ({', '.join(shelf.USUAL)})")
        else:
            name = args.name or args.file.stem.lower().replace(" ", "_")
            manifest = shelf.described(name, args.family, held, _given(args))
    except (ValueError, msgspec.ValidationError) as error:
        raise terminal.Stop(os.EX_USAGE, f"import {args.file}: {error}") from None
    known, _ = entries(folders)
    if name in known and known[name].manifest.sha256 != manifest.sha256:
        raise NetFault(f"another net is called `{name}` ({known[name].told}): give this one another --name")
    return _put(args, shelf.put(name, manifest, held, folders[0]))


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """What a person says of a net, as fields of its manifest. Raises `ValueError`."""
    given: dict[str, Any] = {key: getattr(args, key) for key in GIVEN if getattr(args, key) is not None}
    if args.kinds is not None:
        given["kinds"] = [kind.strip() for kind in args.kinds.split(",")]
    if args.input is not None:
        given["input"] = [int(side) for side in args.input.lower().split("x")]
    for key in ("mean", "std"):
        if getattr(args, key) is not None:
            given[key] = [float(part) for part in getattr(args, key).split(",")]
    return given


def _fetch(args: argparse.Namespace) -> int:
    from models.vision import net, shelf

    folders = _folders(args)
    one = net.entry(args.name, folders)
    if one.path.is_file():
        try:
            net.ready(one)
        except NetFault as fault:
            print(f"vedette: {fault}; fetching it anew", file=sys.stderr)
        else:
            _say(args, {"name": one.name, "path": str(one.path)}, [f"{one.name} is here already: {one.path}"])
            return 0
    with terminal.waiting(f"fetch {one.name}, {one.manifest.bytes / 1e6:.1f} MB"):
        weights = shelf.fetch(one, args.mirror, args.timeout)
    return _put(args, shelf.put(one.name, one.manifest, weights, folders[0]))


def _put(args: argparse.Namespace, one: Entry) -> int:
    facts = {"name": one.name, "path": str(one.path), "manifest": msgspec.to_builtins(one.manifest)}
    m = one.manifest
    _say(args, facts, [f"{one.name}: {m.family}, {m.licence}, {m.source}; it runs and is kept as {one.path}"])
    return 0


def _bench(args: argparse.Namespace) -> int:
    from models.vision import net
    from models.vision.manifest import entries

    folders = _folders(args)
    known, _ = entries(folders)
    names = args.name or [name for name, one in known.items() if one.path.is_file()]
    facts: dict[str, Any] = {}
    lines = [f"{'ms a picture':20} {'shown':>7} {'run':>7} {'read':>7} {'all':>7} {'bare':>7} {'all/bare':>9}  found"]
    progress = terminal.Progress("models bench", len(names), "nets")
    for name in progress.each(names):
        one = net.load(name, threads=args.threads, provider=args.provider, folders=folders)
        facts[name] = row = _timed(one, _picture(args.picture), max(1, args.rounds), args.threads)
        figures = " ".join(f"{row[key]:7.2f}" for key in ("shown", "run", "read", "all", "bare"))
        lines.append(f"{name:20} {figures} {row['ratio']:9.3f}  {row['found']}")
    progress.clear()
    if not names:
        lines = ["no net is here: `vedette models list`, then `fetch` or `import`"]
    _say(args, {"threads": args.threads, "provider": args.provider, "nets": facts}, lines)
    return 0


def _timed(one: Net, picture: Any, rounds: int, threads: int) -> dict[str, float]:
    """Medians in ms. Each round runs the bare net and the whole, one after the other, so that load meets both."""
    import cv2

    from models.vision import net

    cv2.setNumThreads(threads)
    names, given = [out.name for out in one.session.get_outputs()], one.session.get_inputs()[0].name
    took: dict[str, list[float]] = {key: [] for key in ("bare", "shown", "run", "read", "all")}
    if not one.manifest.finds:
        n = one.manifest.input[0]
        crop = cv2.resize(picture, (n, n))
        picture = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY) if one.manifest.colour == "grey" else crop

    def show() -> tuple[Any, Any]:
        if not one.manifest.finds:
            return net.asked(one.manifest, [picture]), None
        seen = net.shown(one.manifest, picture)
        return seen.pixels, seen

    def read_out(outputs: Any, seen: Any) -> Any:
        return one.read(outputs) if seen is None else net.told(one.manifest, [one.raw(outputs, seen)])

    fed, seen = show()
    found = read_out(one.run(fed), seen)
    for _ in range(rounds):
        began = time.perf_counter()
        one.session.run(names, {given: fed})
        bare = time.perf_counter()
        pixels, seen = show()
        shown = time.perf_counter()
        outputs = one.run(pixels)
        run = time.perf_counter()
        found = read_out(outputs, seen)
        read = time.perf_counter()
        for key, value in (
            ("bare", bare - began),
            ("shown", shown - bare),
            ("run", run - shown),
            ("read", read - run),
            ("all", read - bare),
        ):
            took[key].append(1e3 * value)
    row = {key: statistics.median(values) for key, values in took.items()}
    ratio = statistics.median(a / b for a, b in zip(took["all"], took["bare"], strict=True))
    return {**row, "ratio": ratio, "found": len(found)}


def _picture(file: str | None) -> Any:
    """(h, w, 3) uint8 BGR. Raises `NetFault`."""
    import cv2
    import numpy as np

    if file is not None:
        picture = cv2.imread(file)
        if picture is None:
            raise NetFault(f"{file}: no picture that can be read")
        return picture
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 255, (18, 32, 3), np.uint8)
    return cv2.resize(coarse, (1280, 720), interpolation=cv2.INTER_CUBIC)
