"""The scoreboard: every trial as the product is, and with its sabotage. One line and its figures per trial.

    python -m tests.rigs.scoreboard [--quick] [--only T1,T4] [--unsabotaged] [--lanes 2]

Each run is a process of its own, in an empty folder of its own, and ends within `PATIENCE`. Trials that measure time
run alone, and once more where nothing but a time was missed (not with `--lenient`, in the gate: a time is a figure
there, and a machine at work shows it worse than it is); the others, and whatever is sabotaged, share the machine,
`--lanes` at a time: they mostly wait. Exit status 1 where a mark is missed that is not known to be out of reach, where
a sabotage stays green, or where a rig breaks. Results are kept in build/scoreboard.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, structs

from tests.rigs.sabotage import sabotaged
from tests.rigs.trial import Case, Mark, Size, Skip, Trial

HERE = Path(__file__).parent
RESULTS = HERE.parent.parent / "build" / "scoreboard"
CLEANING = 20.0  # s that a run has to clean up when it is ended
PATIENCE: dict[Size, float] = {"quick": 240.0, "full": 2400.0}  # s for one run


class Run(Struct, frozen=True):
    """One run of one trial."""

    id: str
    sabotage: str
    end: Literal["ran", "skipped", "broke"]
    seconds: float
    cpu: float = 0.0  # s of processor time, its children's included
    marks: list[Mark] = []
    notes: list[str] = []
    why: str = ""  # it was skipped or broke

    def missed(self) -> list[Mark]:
        return [mark for mark in self.marks if not mark.ok]


def trials(id: str = "") -> list[Trial]:
    """All trials of this folder, by number; or the one with this id, without a look at the others."""
    names = [m.name for m in pkgutil.iter_modules([str(HERE)]) if m.name[0] == "t" and m.name[1:3].isdigit()]
    names = [name for name in names if not id or int(name[1:3]) == int(id[1:])]
    found = [importlib.import_module(f"tests.rigs.{name}").TRIAL for name in names]
    return sorted(found, key=lambda trial: int(trial.id[1:]))


def perform(trial: Trial, size: Size, sabotage: str) -> Run:
    """Run the trial in this process."""
    began = time.monotonic()
    memory = "/dev/shm" if trial.memory and os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix=f"vedette-{trial.id}-", dir=memory))
    case = Case(size, sabotage, folder)
    end: Literal["ran", "skipped", "broke"] = "ran"
    why = ""
    try:
        with sabotaged(sabotage):
            trial.run(case)
    except Skip as skip:
        end, why = "skipped", str(skip)
    except BaseException:
        end, why = "broke", traceback.format_exc()
    shutil.rmtree(folder, ignore_errors=True)
    used = sum(os.times()[:4])
    return Run(trial.id, sabotage, end, round(time.monotonic() - began, 1), round(used, 1), case.marks, case.notes, why)


def apart(trial: Trial, size: Size, sabotage: str) -> Run:
    """Run the trial in a process group of its own, which does not outlive it. One that measures no time gives way."""
    way = [] if trial.alone else ["nice", "-n", "5"]
    command = [*way, sys.executable, "-m", "tests.rigs.scoreboard", "--one", trial.id, "--sabotage", sabotage]
    command += ["--quick"] if size == "quick" else []
    began = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, cwd=HERE.parent.parent
    )
    try:
        out, errors = process.communicate(timeout=PATIENCE[size])
        return msgspec.json.decode(out, type=Run)
    except subprocess.TimeoutExpired:
        why = f"did not end within {PATIENCE[size]:g} s"
        process.terminate()  # it cleans up: mounts and namespaces outlive a process
        try:
            process.wait(CLEANING)
        except subprocess.TimeoutExpired:
            why += ", nor when told to"
    except msgspec.DecodeError:
        why = f"exit status {process.returncode}: {(out + errors).decode(errors='replace')[-2000:]}"
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # what a broken rig left behind
        except ProcessLookupError:
            pass
        process.wait()
    return Run(trial.id, sabotage, "broke", round(time.monotonic() - began, 1), why=why)


# -- what people read ---------------------------------------------------------------------------------


def word(trial: Trial, run: Run) -> str:
    """One word for a run: what matters of it."""
    if run.end != "ran":
        return run.end
    missed = run.missed()
    if run.sabotage:
        found = {mark.name for mark in missed} & set(trial.red)
        return "red" if found == set(trial.red) or (found and not trial.every) else "GREEN"
    if any(not mark.short for mark in missed):
        return "MISSED"
    return "short" if missed else "pass"


def is_good(trial: Trial, run: Run, lenient: bool = False) -> bool:
    """Whether the scoreboard may be green with this run; `lenient`: a time is a figure, and fails nothing."""
    if lenient and run.end == "ran" and not run.sabotage:
        return all(mark.short or mark.is_slow for mark in run.missed())
    return word(trial, run) in ("pass", "short", "skipped", "red")


def show(mark: Mark) -> str:
    got = f"{mark.got:.4g}" if isinstance(mark.got, float) else str(mark.got)
    sign = "" if mark.ok else " ~" if mark.short else " !"
    return f"{mark.name} {got}{f' ({mark.goal})' if mark.goal else ''}{sign}"


def lines(trial: Trial, plain: Run, broken: Run | None) -> list[str]:
    """What is said of one trial: a line, and its figures below."""
    head = f"{trial.id:<4}{trial.title:<54}{word(trial, plain):<9}{plain.seconds:>6.0f} s"
    if broken is not None:
        head += f"   {trial.sabotage}: {word(trial, broken)} ({broken.seconds:.0f} s)"
    said = [head, *(f"      {show(mark)}" for mark in plain.marks)]
    said += [f"      {mark.name}: {mark.short}" for mark in plain.missed() if mark.short]
    said += [f"      {note}" for note in plain.notes]
    if broken is not None and broken.end == "ran":
        red = [mark for mark in broken.missed() if mark.name in trial.red]
        said.append("      sabotaged: " + (", ".join(map(show, red)) or "nothing in red: " + ", ".join(trial.red)))
        if trial.every and (green := set(trial.red) - {mark.name for mark in red}):
            said.append(f"      sabotaged, and not in red: {', '.join(sorted(green))}")
    for run in (plain, broken):
        if run is not None and run.why:
            said += [f"      {run.end}{' (sabotaged)' if run.sabotage else ''}: {run.why.strip()}"]
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Breaks the product in every way we know, and counts.")
    parser.add_argument("--quick", action="store_true", help="the small size, about five minutes")
    parser.add_argument("--only", default="", help="trials, like T1,T4")
    parser.add_argument("--unsabotaged", action="store_true", help="leave the sabotaged runs out")
    parser.add_argument("--lenient", action="store_true", help="times are figures: a slow machine fails nothing")
    parser.add_argument("--lanes", type=int, default=3, help="runs side by side of those that measure no time")
    parser.add_argument("--one", default="", help="one run in this process, its result as JSON")
    parser.add_argument("--sabotage", default="", help="of --one")
    args = parser.parse_args(arguments)
    size: Size = "quick" if args.quick else "full"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    if args.one:
        [trial] = trials(args.one)
        run = perform(trial, size, args.sabotage)
        sys.stdout.buffer.write(msgspec.json.encode(run) + b"\n")
        return 0
    known = trials()
    wanted = set(args.only.split(",")) if args.only else {trial.id for trial in known if size == "full" or trial.quick}
    if unknown := wanted - {trial.id for trial in known}:
        print(f"no such trial: {', '.join(sorted(unknown))}; there are {', '.join(t.id for t in known)}")
        return 2
    chosen = [trial for trial in known if trial.id in wanted]
    runs = measure(chosen, size, not args.unsabotaged, args.lanes, args.lenient)
    wrong: list[str] = []
    print(f"scoreboard, {size} size, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for trial in chosen:
        plain, broken = runs[trial.id, ""], runs.get((trial.id, trial.sabotage))
        print("\n".join(lines(trial, plain, broken)))
        wrong += [trial.id] * (not is_good(trial, plain, args.lenient))
        wrong += [f"{trial.id} with {trial.sabotage}"] * (broken is not None and not is_good(trial, broken))
    ran = sum(run.end == "ran" for run in runs.values())
    end = f"FAILED: {', '.join(wrong)}" if wrong else "all as they should be"
    print(f"scoreboard: {ran} of {len(runs)} runs, {end}")
    return 1 if wrong else 0


def measure(
    chosen: Sequence[Trial], size: Size, both: bool, lanes: int, lenient: bool = False
) -> dict[tuple[str, str], Run]:
    """All runs: those that may share the machine first, then the others one by one; where times are only figures, all
    may share it."""
    wanted = [(trial, sabotage) for trial in chosen for sabotage in ("", trial.sabotage)[: 1 + both]]
    found: dict[tuple[str, str], Run] = {}
    RESULTS.mkdir(parents=True, exist_ok=True)

    def one(pair: tuple[Trial, str]) -> None:
        trial, sabotage = pair
        run = apart(trial, size, sabotage)
        if run.missed() and not sabotage and all(mark.is_time or mark.short for mark in run.missed()):
            first = ", ".join(show(mark) for mark in run.missed() if not mark.short)
            if first and not lenient:  # something else may have used the machine; a count gets no second chance
                run = apart(trial, size, sabotage)
                run = structs.replace(run, notes=[f"the second run; the first missed {first}", *run.notes])
        found[trial.id, sabotage] = run
        (RESULTS / f"{size}.json").write_bytes(msgspec.json.format(msgspec.json.encode(list(found.values()))))
        what = f"{trial.id}{f' with {sabotage}' if sabotage else ''}"
        print(
            f"  {what}: {word(trial, run)} in {run.seconds:.0f} s, {run.cpu:.0f} s of CPU", file=sys.stderr, flush=True
        )

    # A sabotaged run has only to be red, and red it is on a busy machine too.
    alone = [pair for pair in wanted if not pair[1] and (pair[0].jealous or (pair[0].alone and not lenient))]
    with ThreadPoolExecutor(lanes) as pool:
        others = [pair for pair in wanted if pair not in alone]
        list(pool.map(one, sorted(others, key=lambda pair: not pair[0].long)))
    for pair in alone:
        one(pair)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
