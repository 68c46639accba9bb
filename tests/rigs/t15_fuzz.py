"""T15: millions of damaged frames for every parser; none may crash one, hold it up, fill it or be believed wrongly.

`tests/rigs/parsers.py` lists the parsers and what they promise. Frames are made from good ones: bits turned, bytes set,
put in, taken out, doubled, pieces of two frames joined, lengths at their ends, and, where there is a check, now and
then with the check made to fit. Each process has its own seed; a frame that breaks a promise is shown in hex. The time
of a frame is that of the thread on the CPU.

Where atheris is installed (x86_64 only), `tests/rigs/guided.py` goes on with it, led by coverage.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
import multiprocessing
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from msgspec import Struct

from tests.rigs.parsers import BUFFER, CHECK, TRIP, Broken, Parser, parsers
from tests.rigs.trial import Case, Trial

SLOWEST = 50.0  # ms of CPU for one frame, the goal
ROUND = 2000  # frames between two looks at the clock
TASTY = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b'"',
    b"{",
    b"[[",
    b"\n",
    b"e999",
)


class Found(Struct):
    """What one process found with one parser."""

    frames: int = 0
    slowest: float = 0.0  # ms
    broken: Counter[str] = Counter()  # promise, or "escaped" -> how often
    shown: list[str] = []


def mutated(seeds: list[bytes], which: int, chance: random.Random) -> bytes:
    """Seed `which`, damaged in one to four places."""
    data = bytearray(seeds[which])
    draw = chance.random
    for _ in range(1 + int(4 * draw() ** 3)):
        size = len(data)
        at = int(draw() * size) if size else 0
        match int(draw() * 9):
            case 0 | 1 if size:
                data[at] ^= 1 << int(draw() * 8)
            case 2 if size:
                data[at] = int(draw() * 256)
            case 3:
                data[at:at] = chance.randbytes(1 + int(draw() * 4))
            case 4:
                del data[at : at + 1 + int(draw() * 4)]
            case 5:
                del data[at:]
            case 6:
                end = at + 1 + int(draw() * 16)
                data[at:at] = data[at:end] * (1 + int(40 * draw() ** 8))
            case 7:
                other = seeds[int(draw() * len(seeds))]
                data[at:] = other[int(draw() * len(other)) :]
            case 8:
                taste = TASTY[int(draw() * len(TASTY))]
                data[at : at + len(taste)] = taste
    return bytes(data)


def feed(parser: Parser, data: bytes, which: int, found: Found) -> None:
    """One frame, measured."""
    began = time.thread_time_ns()
    try:
        parser.read(data, which)
    except Broken as broken:
        found.broken[broken.promise] += 1
        if found.broken[broken.promise] <= 3:
            found.shown.append(f"{parser.name}: {broken}"[:300])
    except Exception as error:
        found.broken["escaped"] += 1
        if found.broken["escaped"] <= 3:
            found.shown.append(f"{parser.name}: {type(error).__name__}: {error}, of seed {which} {data.hex()}"[:600])
    found.frames += 1
    found.slowest = max(found.slowest, (time.thread_time_ns() - began) / 1e6)


def work(folder: str, seed: int, frames: int, seconds: float) -> dict[str, Found]:
    """So many frames over all parsers by their shares, or as many as there is time for."""
    logging.disable(logging.CRITICAL)
    chance = random.Random(seed)
    home = Path(folder) / str(seed)
    home.mkdir()
    end = time.monotonic() + seconds
    all_ = parsers(home)
    found = {parser.name: Found(broken=Counter()) for parser in all_}
    gc.disable()  # a collection is not the parser's time
    done = 0
    while done < frames and time.monotonic() < end:
        for parser in all_:
            seeds, notes = list(parser.seeds), found[parser.name]
            for _ in range(round(ROUND * parser.share)):
                which = int(chance.random() * len(seeds))
                data = mutated(seeds, which, chance)
                feed(parser, parser.seal(data) if chance.random() < 0.3 else data, which, notes)
        done += ROUND
        gc.collect()
    return found


def guided(case: Case, runs: int, seconds: float) -> None:
    """The same promises with frames that coverage finds; in processes of their own."""
    if importlib.util.find_spec("atheris") is None:
        case.note("not led by coverage: atheris is not installed (it has wheels for x86_64 only)")
        return
    names = ("Modbus RTU", "Modbus TCP", "MQTT", "batches")
    command = [sys.executable, "-m", "tests.rigs.guided"]
    limits = [str(runs // len(names)), str(int(seconds))]
    children = []
    for name in names:
        log = (case.folder / f"guided {name}.log").open("w+b")
        home = case.folder / f"guided {name}"
        home.mkdir()
        child = subprocess.Popen([*command, name, *limits, str(home)], stdout=log, stderr=log, env=os.environ.copy())
        children.append((name, child, log))
    done = crashes = 0
    for name, child, log in children:
        try:
            child.wait(seconds + 60)
        finally:
            child.kill()
            child.wait()
        log.seek(0)
        text = log.read().decode(errors="replace")
        log.close()
        done += sum(map(int, re.findall(r"^Done (\d+) runs", text, re.MULTILINE)))
        if child.returncode:
            crashes += 1
            case.note(f"guided, {name}: exit status {child.returncode}: {text[-600:]}")
    case.figure("frames led by coverage", done)
    case.note(f"led by coverage: as many frames as {seconds:g} s allow, {runs} wanted")
    case.exactly("parsers that broke a promise there", crashes, 0)


def run_trial(case: Case) -> None:
    frames = 15_000 if case.sabotage else case.n(80_000, 10_000_000)
    processes = max(2, min(4, os.cpu_count() or 2))
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork")) as pool:
        jobs = [
            pool.submit(work, str(case.folder), seed, frames // processes, case.n(60, 240)) for seed in range(processes)
        ]
        results = [job.result() for job in jobs]
    broken: Counter[str] = Counter()
    total = 0
    slowest: dict[str, float] = {}
    counts: Counter[str] = Counter()
    for result in results:
        for name, found in result.items():
            broken += found.broken
            total += found.frames
            counts[name] += found.frames
            slowest[name] = max(slowest.get(name, 0.0), found.slowest)
            case.notes += found.shown
    case.figure("damaged frames", total)
    case.at_least("parsers", len(slowest), 5)
    case.exactly("escaped exceptions", broken["escaped"], 0)
    case.exactly("taken with a bad check", broken[CHECK], 0)
    case.exactly("buffers over their bound", broken[BUFFER], 0)
    case.exactly("not the same when encoded again", broken[TRIP], 0)
    for name, ms in slowest.items():
        # A site file is read once, at the start, and is no frame: nobody waits behind it.
        case.at_most(f"slowest, {name}", ms, (10 if name == "site files" else 1) * SLOWEST, "ms")
    case.note("frames: " + json.dumps(counts))
    if not case.sabotage:
        guided(case, case.n(20_000, 5_000_000), case.n(10, 80))


TRIAL = Trial(
    "T15",
    "damaged frames for every parser",
    run_trial,
    "length-unchecked",
    ("taken with a bad check",),
    alone=False,
)
