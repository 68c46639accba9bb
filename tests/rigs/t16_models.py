"""T16: the alarm machine and the outbox against their models, and the whole agent in a simulated world.

Three sizes of the same question. `reference`: core and 60 lines of reference, a million steps. `shelf`: the outbox and
a list, with kills between any two acts of the disk. `simulation`: the agent, twenty minutes a seed, in two languages.
And ten mutants, small mistakes of which none may get through.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from . import reference, shelf, simulation
from .machines import MODEL, AlarmMachine, OutboxMachine
from .mutants import MUTANTS
from .platter import memory
from .sabotage import sabotaged
from .trial import Case, Trial

SABOTAGE = "careless"
POINTS = 50_000  # point-steps of one walk of the alarm machine
STEPS = 1000  # steps of one walk of the outbox
LIKELY = {"agent.core.core": "alarms", "agent.orders": "simulation"}  # module of a mutant -> who is asked first
HUNTED = 1200  # steps of a walk that looks for a mutant
SEEDS = (6, 16, 17, 11)  # of the simulation that looks for a mutant: in these the siren fails
WORKERS = 2


def walk_alarms(seed: int) -> list[str]:
    return [f"alarms, seed {seed}: {text}" for text in reference.walk(seed, POINTS)][:3]


def walk_outbox(folder: Path, seed: int) -> list[str]:
    return list(shelf.walk(folder, seed, STEPS, tight=seed % 4 == 3))


def shrink(machine: str, examples: int) -> list[str]:
    """What hypothesis finds, as it tells it."""
    try:
        kind = {"alarms": AlarmMachine, "outbox": OutboxMachine}[machine]
        run_state_machine_as_test(kind, settings=settings(MODEL, max_examples=examples))  # type: ignore[no-untyped-call]
    except Exception as error:
        return [f"{machine}, hypothesis: {error!r} {' '.join(getattr(error, '__notes__', []))}"]
    return []


def hunt(folder: Path, name: str) -> str:
    """Who kills the mutant first: "alarms", "outbox", "simulation", or nobody."""
    ways: dict[str, Callable[[], bool]] = {
        "alarms": lambda: bool(next(reference.walk(1, 20_000), "")),
        "outbox": lambda: any(shelf.walk(folder / name, seed, HUNTED, tight=seed % 4 == 3) for seed in range(12)),
        "simulation": lambda: any(simulation.play(seed, folder / name).wrong for seed in SEEDS),
    }
    likely = LIKELY.get(MUTANTS[name][0][0], "outbox")
    with sabotaged(name):
        for way in sorted(ways, key=lambda way: way != likely):
            if ways[way]():
                return way
    return ""


def replayed(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """The traces of these runs in another process, with other hashes of strings."""
    command = [sys.executable, "-m", "tests.rigs.simulation", str(folder), *names]
    more = {"PYTHONHASHSEED": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | more)
    return dict(line.split()[1:3] for line in done.stdout.splitlines() if line.startswith("seed"))  # type: ignore[misc]


@contextmanager
def scratch(case: Case) -> Iterator[Path]:
    """A folder in memory, where there is such a thing."""
    place = Path(tempfile.mkdtemp(dir=memory() or case.folder, prefix="vedette-T16-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def run(case: Case) -> None:
    plain = not case.sabotage
    points = case.n(100_000, 1_000_000)
    steps = case.n(16_000, 300_000) if plain else 4000
    examples = case.n(0, 500)  # of 50 steps, for each machine
    seeds = {"mqtt": range(1, case.n(1, 299) + 1), "sparkplug": range(1, case.n(1, 150) + 1)}
    if not plain:  # in these it is seen
        seeds = {"mqtt": range(1, 2), "sparkplug": range(2, 3)}
    with scratch(case) as folder, ProcessPoolExecutor(WORKERS, get_context("fork")) as pool:
        alarms = [pool.submit(walk_alarms, seed) for seed in range(points // POINTS)]
        outboxes = [pool.submit(walk_outbox, folder, seed) for seed in range(steps // STEPS)]
        shrunk = [pool.submit(shrink, machine, examples) for machine in ("alarms", "outbox") if examples and plain]
        plays = [
            pool.submit(simulation.play, seed, folder / "first", language)
            for language in seeds
            for seed in seeds[language]
        ]
        mutants = {name: pool.submit(hunt, folder, name) for name in MUTANTS} if plain else {}
        names = [f"{language}:{seed}" for language in seeds for seed in (1, *range(2, case.n(1, 5) + 1))]
        again = (
            pool.submit(replayed, folder / "again", names) if plain else None
        )  # a name as long: some messages hold it
        wrong = [text for job in (*alarms, *outboxes, *shrunk) for text in job.result()]
        runs = [job.result() for job in plays]
        case.exactly("divergences", len(wrong), 0)
        failed = [played for played in runs if played.wrong]
        for language in seeds:
            case.exactly(f"seeds failed, {language}", sum(played.language == language for played in failed), 0)
        case.at_least("faults in a run", min(played.faults for played in runs), 10)
        if again is not None:
            traces = {f"{played.language}:{played.seed}": played.trace for played in runs}
            found = again.result()
            case.exactly("replays that differ", sum(found[name] != traces[name] for name in names), 0)
        killers = {name: job.result() for name, job in mutants.items()}
    if plain:
        case.exactly("mutants killed", sum(map(bool, killers.values())), len(MUTANTS))
        case.note("mutants: " + ", ".join(f"{name} by {killer or 'NOBODY'}" for name, killer in killers.items()))
    case.figure("alarm machine, steps", points)
    case.figure("outbox, steps", steps)
    case.figure("under hypothesis, steps", 2 * 50 * examples)
    case.figure("simulated minutes", simulation.MINUTES * len(runs))
    case.figure("faults", sum(played.faults for played in runs))
    for text in wrong[:5]:
        case.note(text)
    for played in failed[:3]:
        name = f"{played.language}:{played.seed}"
        case.note(f"seed {name}: {played.wrong[0]} (python -m tests.rigs.simulation /tmp {name})")


TRIAL = Trial(
    id="T16",
    title="models and simulation",
    run=run,
    sabotage=SABOTAGE,
    red=("divergences", "seeds failed, mqtt", "seeds failed, sparkplug"),
    every=True,
    alone=False,
    long=True,
)
