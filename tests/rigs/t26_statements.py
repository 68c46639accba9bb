"""T26: SIGKILL between any two statements of the outbox, the store and an uplink, in each language; enumerated.

`statements.py` does it. The quick size looks at every fourth moment of one story; the full one at every moment of
twelve, kills half of the lives that follow as well, and tries a mistake of each kind in each language.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from . import statements
from .sabotage import sabotaged
from .t16_models import WORKERS, scratch
from .trial import Case, Trial

KINDS = {"lost": "alarms lost", "twice": "unmarked repetitions", "missing": "missing of what the disk had"}
OTHERS = "other faults"
STORIES = 4  # in which a mistake is looked for: an end waits for the store in HJ 212, and seldom overtakes its commit
MISTAKES = {
    "mqtt": ("promised-early", "resent-not-marked", "end-not-held", "flying-not-owed", "confirmed-when-sent"),
    "sparkplug": ("promised-early", "resent-not-marked", "end-not-held", "flying-not-owed", "confirmed-when-sent"),
    "jt808": ("promised-early", "repeats-unmarked", "end-not-held", "flying-not-owed", "answered-when-sent"),
    "hj212": ("promised-early", "renamed", "end-not-held", "flying-not-owed", "hj212-answered-when-sent"),
    "minefiles": ("promised-early", "renamed", "end-not-held", "flying-not-owed", "delivered-before-rename"),
}


def hunt(folder: Path, language: str, mistake: str) -> bool:
    """Whether it is found, in one of some stories."""
    with sabotaged(mistake):
        return any(statements.tell(language, folder / str(seed), seed, every=2).wrong for seed in range(STORIES))


def run(case: Case) -> None:
    plain = not case.sabotage
    seeds, every, again = range(case.n(1, 12)), case.n(4 if plain else 6, 1), case.n(9, 2) if plain else 0
    mistakes = [(name, mistake) for name in MISTAKES for mistake in MISTAKES[name]]
    mistakes = mistakes if plain and case.size == "full" else []
    with scratch(case) as folder, ProcessPoolExecutor(WORKERS, get_context("fork")) as pool:
        jobs = {
            (name, seed): pool.submit(statements.tell, name, folder / f"{name}{seed}", seed, every, again)
            for seed in seeds
            for name in statements.LANGUAGES
        }
        hunts = {pair: pool.submit(hunt, folder / "-".join(pair), *pair) for pair in mistakes}
        for name in statements.LANGUAGES:
            tales = [jobs[name, seed].result() for seed in seeds]
            wrong = [fault for tale in tales for fault in tale.wrong]
            found = Counter(KINDS.get(fault.kind, OTHERS) for fault in wrong)
            for kind in (*KINDS.values(), OTHERS):
                case.exactly(f"{kind}, {name}", found[kind], 0)
            case.figure(f"statements, {name}", sum(tale.statements for tale in tales))
            case.figure(f"moments, {name}", sum(tale.moments for tale in tales))
            case.figure(f"lives, {name}", sum(tale.lives for tale in tales))
            for fault in wrong[:3] if plain else ():
                case.note(f"{name}, killed at {fault.where}: {fault.kind}: {fault.text}")
        missed = [" in ".join(reversed(pair)) for pair, job in hunts.items() if not job.result()]
    if mistakes:
        case.exactly("mistakes not found", len(missed), 0)
        case.note(f"mistakes tried: {len(mistakes)}; not found: {', '.join(missed) or 'none'}")


TRIAL = Trial(
    id="T26",
    title="SIGKILL between any two statements",
    run=run,
    sabotage="forgetful",
    red=tuple(f"{kind}, {name}" for name in statements.LANGUAGES for kind in (KINDS["lost"], KINDS["twice"])),
    every=True,
    alone=False,
    long=True,
)
