"""Drivers through the whole eye, from pixels to what is told: a section of `make bench-vision`.

The clips and faces of ../shared/data/vision, scored by ../shared/tools/score_vision.py: real drivers in cars
(`driver_yawdd`), drawn ones (`sim_driver`), single faces (`faces_eyes`, `driver_gopro`). Films go through
`agent.watch.Watch`, as `vedette watch --role driver` does it; no speed is told. The finder is the one that ships, and,
as a floor, yunet_s_640, whose file lies in ../shared/data/vision/models; the other nets are those that ship. Where eyes
are is known of drawn drivers; of real ones it is what yunet_s_640 says, and what MediaPipe's landmarks say about the
faces that it finds: two opinions that differ, and no truth (the nets that ship were taught by the latter). Hours of
normal driving are columns without pictures (`cab.py`). The floor of the cost is the bare nets, each run on what it was
shown as often as it was asked, right after the picture. Nothing here was trained on, but `driver_gopro`.
"""

from __future__ import annotations

import csv
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent import config, watch
from agent.core.errors import NetFault
from agent.core.frame import Array
from drivers import video_child, video_health
from models.vision import face, net, shelf
from models.vision.manifest import SHIPPED, Entry, entries

from . import cab
from .tamper import SHARED, tool

DATA, SCORER = SHARED / "data" / "vision", SHARED / "tools" / "score_vision.py"
SHIPS, FLOOR = "face", "yunet_s_640"  # finders
LANDMARKS = "mp_face_landmarks_detector.onnx"  # of MediaPipe
GOPRO = "driver_gopro"  # single pictures of a driver far away, some of which the nets that ship were taught with
HOURS = 4  # of normal driving, and as many persons
EVERY = 5  # th picture of a real clip that the reference looks at
NEAR = 0.25  # eye distances, by which an eye may be off
COSTED = 450  # pictures
Pair = tuple[tuple[float, float], tuple[float, float]]  # px: right eye, left eye
Truths = dict[str, dict[str, dict[int, Pair]]]


class Clip(NamedTuple):
    """A film of one driver."""

    name: str
    film: Path
    states: Path | None = None  # of the eyes, in every fifth picture
    truth: Path | None = None  # of a drawn driver, in every picture
    events: Path | None = None  # of a drawn driver


class Seen(NamedTuple):
    """What was made of a clip."""

    est: list[list[str]]  # the rows of `vedette watch --out`, with their head
    told: list[list[str]]  # those of `--events`
    eyes: list[Pair | None]  # in each picture; None: no face was found
    ms: float  # a picture


def clips() -> Iterator[Clip]:
    """Those that are here."""
    for film in sorted((DATA / "driver_yawdd").glob("*.avi")):
        states = film.with_name(f"{film.stem}_eyes.csv")
        yield Clip(film.stem, film, states if states.is_file() else None)
    for film in sorted((DATA / "sim_driver").glob("*.mp4")):
        events = film.with_name(f"{film.stem}_events.csv")
        yield Clip(film.stem, film, None, film.with_suffix(".csv"), events)


def section() -> dict[str, Any]:
    """Prints a line for each figure with its goal and its floor; returns the figures."""
    print("\ndrivers, whole eye")
    facts: dict[str, Any] = {}
    for name in ("driver_yawdd", "sim_driver", "faces_eyes", GOPRO):
        if not (DATA / name).is_dir():
            print(f"{(DATA / name).relative_to(SHARED.parent)} is missing: not measured")
    true = truths()
    for finder in (SHIPS, FLOOR):
        nets = loaded(finder)
        if nets is not None:
            facts[finder] = measured(finder, nets, true)
    facts["hours"] = hours()
    facts["cost"] = cost()
    return facts


def measured(finder: str, nets: face.Nets, true: Truths) -> dict[str, Any]:
    """Everything that hangs on how faces are found."""
    facts: dict[str, Any] = {}
    seen = {clip: watched(clip, nets) for clip in clips()}
    scorer = tool(SCORER)
    with tempfile.TemporaryDirectory() as folder:
        for clip, one in seen.items():
            facts[clip.name] = {"ms": one.ms, **judged(scorer, clip, one, Path(folder), finder)}
        real = {clip: one for clip, one in seen.items() if clip.truth is None}
        if real:
            facts["yawdd events"] = real_events(scorer, real, finder)
        drawn = {clip: one for clip, one in seen.items() if clip.events is not None}
        if drawn:
            facts["sim_driver events"] = drawn_events(scorer, drawn, finder)
        if (DATA / "faces_eyes").is_dir():
            facts["faces_eyes"] = stills(scorer, nets, Path(folder), finder)
    facts["places"] = places(seen, nets, finder, true)
    return facts


def say(what: str, finder: str, figures: str, goal: str = "", floor: str = "") -> None:
    aims = "; ".join(f"{name} {text}" for name, text in (("goal", goal), ("floor", floor)) if text)
    print(f"{what:36} {finder:12} {figures:78} {aims}", flush=True)


# -- clips ------------------------------------------------------------------------------------------------------------


def watched(clip: Clip, nets: face.Nets) -> Seen:
    """A film, as `vedette watch --role driver` watches it."""
    one = watch.Watch(config.load(watch.CAB), ready=nets, role="driver")
    eyes: list[Pair | None] = []
    with tempfile.TemporaryDirectory() as folder:
        out, told = Path(folder) / "out.csv", Path(folder) / "events.csv"
        with out.open("w", newline="") as first, told.open("w", newline="") as second:
            rows, took, at = watch.Rows(first, second, None, tuple(key for key, *_ in one.task.columns), True), 0.0, 0.0
            for i, picture in enumerate(watch.pictures(str(clip.film))):
                began = time.perf_counter()
                found = one.look(picture, math.nan)
                took += time.perf_counter() - began
                rows.add(i, found)
                at = picture.at
                eyes.append(found.sight.face.five[:2] if found.sight.face is not None else None)
            rows.end(at)
        return Seen(read(out), read(told), eyes, took / len(eyes) * 1e3)


def judged(scorer: Any, clip: Clip, one: Seen, folder: Path, finder: str) -> dict[str, Any]:
    """How well the columns tell of one driver."""
    est, short = write(folder / "est.csv", one.est), clip.name.partition("_")[0]
    if clip.states is not None:
        score: dict[str, Any] = scorer.score_eyes(str(clip.states), str(est))
        shown = ", ".join(f"{key} {value(score, key):.3f}" for key in ("accuracy", "auc", "coverage"))
        say(f"{clip.name}: eyes, frame by frame", finder, f"{shown} (n {score['n']})", "accuracy >= 0.97", "1.00, 1.00")
        return score
    if clip.truth is None:
        return {}
    score = scorer.score_driver(str(clip.truth), str(est))
    eye = ", ".join(f"{key} {value(score, f'eye_{key}'):.3f}" for key in ("accuracy", "auc", "coverage"))
    say(f"{short}: eyes, drawn", finder, f"{eye}, perclos off {value(score, 'perclos_error'):.3f}", "accuracy >= 0.97")
    off, seat = (value(score, f"{key}_deg_mae") for key in ("yaw", "pitch")), value(score, "present_accuracy")
    shown = ", ".join(f"{key} off {x:.1f} deg" for key, x in zip(("yaw", "pitch"), off, strict=True))
    say(f"{short}: head and seat", finder, f"{shown}, present {seat:.3f}")
    return score


def real_events(scorer: Any, seen: dict[Clip, Seen], finder: str) -> dict[str, Any]:
    """Yawns and closures are labelled; of what else is told, nothing is known."""
    truth = loaded_events(DATA / "driver_yawdd" / "events.csv")
    est = [spell(row, clip.name) for clip, one in seen.items() for row in one.told[1:]]
    score: dict[str, Any] = scorer.events_of(truth, est, only=("yawn", "eyes_closed"))
    others = [
        f"{name} {event} {a:.1f} to {b:.1f} s" for name, event, a, b in est if event not in ("yawn", "eyes_closed")
    ]
    goal, floor = "recall 1.0, precision >= 0.8", "1.0, 0.25"
    say("driver_yawdd: yawns and closures", finder, events_line(score), goal, floor)
    say("  not labelled, yet told", finder, "; ".join(others) or "nothing", "nothing", "1 distraction")
    return {**score, "others": others}


def drawn_events(scorer: Any, seen: dict[Clip, Seen], finder: str) -> dict[str, Any]:
    """Of each drawn driver, and of all."""
    facts: dict[str, Any] = {}
    truths: list[Any] = []
    told: list[Any] = []
    for clip, one in seen.items():
        assert clip.events is not None
        truth = [(clip.name, *row[1:]) for row in loaded_events(clip.events)]
        est = [spell(row, clip.name) for row in one.told[1:]]
        truths, told = truths + truth, told + est
        facts[clip.name] = score = scorer.events_of(truth, est)
        say(f"{clip.name.partition('_')[0]}: events", finder, events_line(score))
    facts["all"] = score = scorer.events_of(truths, told)
    say("sim_driver: all events", finder, events_line(score), "recall 1.0, precision 1.0", "1.0, 1.0")
    return facts


def events_line(score: dict[str, Any]) -> str:
    false = [f"{name} {one['false']}" for name, one in score["events"].items() if one["false"]]
    late = value(score, "median_delay_s")
    wrong = f"false: {', '.join(false) or 'none'}"
    return f"recall {score['recall']:.2f}, precision {score['precision']:.2f}, delay {late:.2f} s, {wrong}"


def spell(row: Sequence[str], clip: str) -> tuple[str, str, float, float]:
    """An event as the scorer has it."""
    return clip, row[0], float(row[1]), float(row[2])


def loaded_events(path: Path) -> list[tuple[str, str, float, float]]:
    with path.open(newline="") as file:
        return [
            (row.get("clip", ""), row["event"], float(row["t_start"]), float(row["t_end"]))
            for row in csv.DictReader(file)
        ]


# -- single faces -----------------------------------------------------------------------------------------------------


def stills(scorer: Any, nets: face.Nets, folder: Path, finder: str) -> dict[str, Any]:
    """Each face by itself."""
    rows = [["file", "p_closed"]]
    for picture in watch.pictures(str(DATA / "faces_eyes")):
        closed = face.still(nets, picture.image).closed
        rows.append([picture.name, "" if math.isnan(closed) else f"{closed:.4f}"])
    est = write(folder / "faces.csv", rows)
    score: dict[str, Any] = scorer.score_eyes(str(DATA / "faces_eyes" / "labels.csv"), str(est))
    shown = ", ".join(f"{key} {value(score, key):.3f}" for key in ("auc", "coverage", "accuracy"))
    own = finder == SHIPS
    goal = "auc >= 0.93, coverage >= 0.80" if own else "auc >= 0.98, coverage >= 0.95"
    say("faces_eyes", finder, f"{shown} (n {score['n']})", goal, "" if own else "0.977, 0.89")
    return score


# -- where eyes are ---------------------------------------------------------------------------------------------------


def truths() -> Truths:
    """Where both eyes are, by clip, by who says so, by the number of the picture."""
    told: Truths = {}
    for clip in clips():
        if clip.truth is not None:
            told[clip.name] = {"drawn": drawn(clip.truth)}
    films = {clip.name: str(clip.film) for clip in clips() if clip.truth is None}
    if (DATA / GOPRO).is_dir():
        films[GOPRO] = str(DATA / GOPRO)
    for who, nets in references().items():
        for name, film in films.items():
            every = 1 if name == GOPRO else EVERY
            some = ((i, picture.image) for i, picture in enumerate(watch.pictures(film)) if i % every == 0)
            pairs = {i: eyes_of(nets, image) for i, image in some}
            told.setdefault(name, {})[who] = {i: pair for i, pair in pairs.items() if pair is not None}
    return told


def drawn(path: Path) -> dict[int, Pair]:
    """Of a drawn driver who is there and can be seen."""
    told: dict[int, Pair] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            x = [row[key] for key in ("eye_r_x", "eye_r_y", "eye_l_x", "eye_l_y")]
            if float(row["present"]) and not float(row["covered"]) and not float(row["smeared"]) and all(x):
                a, b, c, d = map(float, x)
                told[int(row["frame"])] = (a, b), (c, d)
    return told


def references() -> dict[str, face.Nets]:
    """Others that say where eyes are."""
    finder, file = fetched(FLOOR), DATA / "models" / LANDMARKS
    if finder is None:
        return {}
    found = {FLOOR: face.Nets(face.finding(finder))}
    if file.is_file():
        held = file.read_bytes()
        manifest = shelf.described("landmarks", "landmarks", held, {})
        marks = net.ready(Entry("landmarks", manifest, file, file), held=held)
        found["mediapipe"] = face.Nets(face.finding(finder), face.answering(marks))
    return found


def eyes_of(nets: face.Nets, image: Array) -> Pair | None:
    """In one picture, of which nothing was known before."""
    _, sight = face.look(face.Memory(), nets, 0.0, image, video_child.picture, video_health.Limits())
    return None if sight.face is None else (sight.face.five[0], sight.face.five[1])


def places(seen: dict[Clip, Seen], nets: face.Nets, finder: str, true: Truths) -> dict[str, Any]:
    """Share of the pictures with a face in which it was found, and in which both eyes were near where they are."""
    eyes = {clip.name: one.eyes for clip, one in seen.items()}
    if GOPRO in true:
        eyes[GOPRO] = [eyes_of(nets, picture.image) for picture in watch.pictures(str(DATA / GOPRO))]
    facts: dict[str, Any] = {}
    for name, ways in true.items():
        facts[name], shown = {}, []
        for who, pairs in ways.items():
            got = [(pair, eyes[name][i]) for i, pair in pairs.items() if i < len(eyes[name])]
            found = float(np.mean([one is not None for _, one in got])) if got else math.nan
            near = float(np.mean([one is not None and is_near(pair, one) for pair, one in got])) if got else math.nan
            facts[name][who] = {"n": len(got), "found": found, "eyes": near}
            shown.append(f"{found:.3f}, {near:.3f} ({who}, n {len(got)})")
        goal, floor = "found >= 0.97, eyes >= 0.9", "0.86 to 1.0, 0.14 to 1.0"
        say(f"{name.partition('_absent')[0]}: found, eyes", finder, "; ".join(shown), goal, floor)
    return facts


def is_near(true: Pair, got: Pair) -> bool:
    apart = math.dist(*true)
    return all(math.dist(a, b) <= NEAR * apart for a, b in zip(true, got, strict=True))


# -- hours and cost ---------------------------------------------------------------------------------------------------


def hours() -> dict[str, Any]:
    """Normal driving, of another person each hour."""
    site = config.load(cab.SITE)
    scores = [cab.scored(site, "awake", seed) for seed in range(1, HOURS + 1)]
    false = sum(len(one.false) for one in scores)
    others = sorted({got.rule for one in scores for got in one.others})
    took = float(np.mean([one.cost for one in scores]))
    say(
        f"{HOURS} h of normal driving, columns",
        "",
        f"{false} false, others: {', '.join(others) or 'none'}; {took:.2f} ms a picture",
        "<= 1 false an hour, stretch 0 in four",
    )
    return {"hours": HOURS, "false": false, "others": others, "ms": took}


def cost() -> dict[str, Any]:
    """The whole eye, and the bare nets, each run on what it was just shown: CPU time of one thread."""
    facts: dict[str, Any] = {}
    for clip in clips():
        asked: list[tuple[net.Net, Array]] = []
        nets = loaded(SHIPS, asked)
        if nets is None:
            return facts
        one = watch.CabinEye(watch.Watch(config.load(watch.CAB), ready=nets, role="driver").task, nets)
        whole, bare, runs, n = 0.0, 0.0, 0, 0
        for n, picture in enumerate(watch.pictures(str(clip.film)), 1):
            asked.clear()
            began = time.thread_time()
            one.look(picture.at, picture.image)
            whole += time.thread_time() - began
            runs += len(asked)
            for each, pixels in asked:
                began = time.thread_time()
                each.run(pixels)
                bare += time.thread_time() - began
            if n == COSTED:
                break
        facts[clip.name] = row = {
            "ms": whole / n * 1e3,
            "bare": bare / n * 1e3,
            "runs": runs / n,
            "ratio": whole / bare,
        }
        say(
            f"{clip.name}: cost",
            SHIPS,
            f"{1e3 / row['ms']:.0f} pictures/s, {row['ms']:.2f} ms, bare {row['bare']:.2f} ms "
            f"({row['runs']:.1f} runs), ratio {row['ratio']:.2f}",
            ">= 15 pictures/s, <= 1.15 x bare",
        )
    return facts


def loaded(finder: str, asked: list[tuple[net.Net, Array]] | None = None) -> face.Nets | None:
    """The nets of an eye; None where one of them is missing. asked: where what they are shown is noted."""
    nets = {name: fetched(name) for name in (finder, "marks", "eye", "mouth")}
    if any(one is None for one in nets.values()):
        return None
    ready = [noted(one, asked) if asked is not None else one for one in nets.values() if one is not None]
    return face.Nets(face.finding(ready[0]), *map(face.answering, ready[1:]))


def noted(one: net.Net, asked: list[tuple[net.Net, Array]]) -> net.Net:
    def run(pixels: Array) -> list[Array]:
        asked.append((one, pixels))
        return one.run(pixels)

    return one._replace(run=run)


def fetched(name: str) -> net.Net | None:
    """A net that ships, or one that is described and lies among the models."""
    entry = entries((SHIPPED,))[0][name]
    try:
        return net.ready(entry, held=None if entry.path.is_file() else shelf.fetch(entry, str(DATA / "models")))
    except NetFault as fault:
        print(f"{'':36} {name:12} {fault}")
        return None


# -- files ------------------------------------------------------------------------------------------------------------


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def write(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def value(score: dict[str, Any], key: str) -> float:
    """A figure that may be missing."""
    found = score.get(key)
    return math.nan if found is None else float(found)


if __name__ == "__main__":
    import cv2

    cv2.setNumThreads(1)
    section()
