"""What nets say of real eyes and mouths, cut out by others: a section of `make bench-vision`.

The crops of ../shared/data/vision, scored by ../shared/tools/score_vision.py: `eyes_rgb` in colour, `eyes_ir` in near
infrared, `mouths` yawning or shut. Each net that ships, and of those that are only described each whose file lies in
../shared/data/vision/models, as a floor. A crop of an eye is shown as its middle square. One of a mouth ends at the
lips: it is put where the mouth of a face would be, and its edge goes on. Nothing here was trained on, no threshold was
chosen here.
"""

from __future__ import annotations

import csv
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.core.errors import NetFault
from agent.core.frame import Array
from models.vision import net, shelf
from models.vision.answer import Lid, Mouth, sigmoid
from models.vision.head import Levels
from models.vision.manifest import SHIPPED, entries

from .tamper import SHARED, tool

DATA, SCORER = SHARED / "data" / "vision", SHARED / "tools" / "score_vision.py"
LIPS = 0.85  # `u`, of a crop that ends at the lips
HEADS = ("n", "seen", "auc", "accuracy", "o>c", "c>o", "calibr.")


class Told(NamedTuple):
    """Of one picture."""

    file: str
    truth: bool  # closed; of a mouth: wide open
    p: float  # of closed, 0 to 1; of a mouth: how far it is open
    hidden: float  # 0 to 1


class Row(NamedTuple):
    name: str  # of the folder
    families: tuple[str, ...]
    look: Callable[[net.Net], list[Told]]
    goal: str
    odds: bool = True  # whether `p` is a probability


def eyes(name: str) -> Callable[[net.Net], list[Told]]:
    def look(one: net.Net) -> list[Told]:
        told = []
        for state, file, picture in pictures(name):
            h, w = picture.shape[:2]
            seen = crop(one, picture, w / 2, h / 2, min(h, w))
            (lid,) = one.ask([seen])
            assert isinstance(lid, Lid)
            told.append(Told(file, state == "closed", sigmoid(lid.closed), sigmoid(lid.hidden)))
        return told

    return look


def mouths(one: net.Net) -> list[Told]:
    told = []
    for state, file, picture in pictures("mouths"):
        h, w = picture.shape[:2]
        (lips,) = one.ask([crop(one, picture, w / 2, h / 2, 1.5 * w / LIPS)])
        assert isinstance(lips, Mouth)
        told.append(Told(file, state == "open", float(np.clip(lips.opening, 0, 1)), sigmoid(lips.hidden)))
    return told


ROWS = (
    Row("eyes_rgb", ("eye", "open_closed"), eyes("eyes_rgb"), "accuracy >= 0.995"),
    Row("eyes_ir", ("eye", "open_closed"), eyes("eyes_ir"), "accuracy >= 0.95"),
    Row("mouths", ("mouth",), mouths, "auc near 1", odds=False),
)


def section() -> dict[str, Any]:
    """Prints a line for each set and net; returns the figures."""
    print(f"\n{'crops of others':12} {'net':14} {' '.join(f'{head:>8}' for head in HEADS)}")
    facts: dict[str, Any] = {}
    for row in ROWS:
        for name, one in found(row.families):
            told = row.look(one)
            figures = scored(told, row.odds)
            facts.setdefault(row.name, {})[name] = figures
            shown = " ".join(
                f"{figures[head]:8.{0 if head == 'n' else 4}f}" if head in figures else f"{'':8}" for head in HEADS
            )
            print(f"{row.name:15} {name:14} {shown}   {row.goal}")
    return facts


def found(families: tuple[str, ...]) -> Iterator[tuple[str, net.Net]]:
    """The nets of these families, ready."""
    for name, one in entries((SHIPPED,))[0].items():
        if one.manifest.family in families:
            try:
                yield name, net.ready(one, held=None if one.path.is_file() else shelf.fetch(one, str(DATA / "models")))
            except NetFault as fault:
                print(f"{'':15} {name:14} {fault}")


def pictures(name: str) -> Iterator[tuple[str, str, Array]]:
    """State, file, (h, w, 3) BGR."""
    import cv2

    cv2.setNumThreads(1)
    for state in ("open", "closed"):
        for path in sorted((DATA / name / state).iterdir()):
            yield state, f"{state}/{path.name}", cv2.imread(str(path))


def crop(one: net.Net, picture: Array, x: float, y: float, side: float) -> Array:
    """The square about x, y as the net wants it."""
    n, colour = one.manifest.input[0], one.manifest.colour != "grey"
    return Levels(picture).crop(x, y, side, 0.0, n, colour)


def scored(told: list[Told], odds: bool) -> dict[str, float]:
    """After the scorer, whose words are of eyes; what is hidden is judged all the same. `seen`: share not hidden.

    odds: whether `p` is a probability, so that 0.5 and its calibration mean something.
    """
    scorer = tool(SCORER)
    with tempfile.TemporaryDirectory() as folder:
        truth, est = Path(folder) / "truth.csv", Path(folder) / "est.csv"
        write(truth, "state", [(one.file, "closed" if one.truth else "open") for one in told])
        write(est, "p_closed", [(one.file, one.p) for one in told])
        score = scorer.score_eyes(str(truth), str(est))
    seen = float(np.mean([one.hidden <= 0.5 for one in told]))
    if not odds:
        wide, shut = (float(np.median([one.p for one in told if one.truth == truth])) for truth in (True, False))
        return {"n": score["n"], "seen": seen, "auc": score.get("auc", math.nan), "wide": wide, "shut": shut}
    return {
        "n": score["n"],
        "seen": seen,
        "auc": score.get("auc", math.nan),
        "accuracy": score.get("accuracy", math.nan),
        "o>c": score.get("open_called_closed", math.nan),
        "c>o": score.get("closed_called_open", math.nan),
        "calibr.": miss(told),
    }


def write(path: Path, column: str, rows: list[tuple[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("file", column), *rows])


def miss(told: list[Told], bins: int = 10) -> float:
    """How far probabilities are off on average, over so many bins (expected calibration error)."""
    p, truth = np.array([one.p for one in told]), np.array([one.truth for one in told], float)
    at = np.minimum((p * bins).astype(int), bins - 1)
    return float(sum(abs((p - truth)[at == i].sum()) for i in range(bins)) / len(told))
