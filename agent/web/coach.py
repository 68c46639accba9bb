"""What to check when a line answers badly: from the pattern of errors to a sentence for whoever holds a screwdriver.

Shares: project. A line with the usual noise has fewer than one error in a thousand requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..core.ports import Fared, Tally

FEW = 20  # requests, below which shares mean nothing
SILENT, GARBLED, REFUSED, LATE = 0.05, 0.01, 0.05, 0.01  # shares of the requests, from which on it is said


class Hint(NamedTuple):
    """A row of `texts.TEXTS`, and whether it is more than a remark."""

    key: str
    bad: bool


def hints(tally: Tally, one: Fared) -> list[Hint]:
    """What to check at this device, the likeliest first."""
    dead = [other for other in tally.devices if other.lost]
    if one.lost and len(dead) == len(tally.devices) and len(dead) > 1:
        return [Hint("coach all" if tally.serial else "coach tcp", True)]
    if one.lost:
        key = "coach lost" if one.answered else "coach noise" if one.garbled else "coach never"
        return [Hint(key if tally.serial else "coach tcp", True)]
    if one.asked < FEW:
        return []
    found = []
    if one.garbled >= GARBLED * one.asked:
        shared = tally.serial and _shared(tally, [n.garbled >= GARBLED * n.asked for n in tally.devices])
        found.append(Hint("coach garbled all" if shared else "coach garbled", True))
    if one.silent >= SILENT * one.asked:
        alone = len(tally.devices) > 2 and sum(n.silent >= SILENT * n.asked for n in tally.devices if n.asked) == 1
        key = "coach silent one" if alone else "coach silent"
        found.append(Hint(key if tally.serial else "coach tcp", True))
    if one.refused >= REFUSED * one.asked:
        found.append(Hint("coach refused", True))
    if one.late >= LATE * one.asked:
        found.append(Hint("coach slow", False))
    return found


def _shared(tally: Tally, bad: Sequence[bool]) -> bool:
    """Whether all that were asked often enough, and more than one, have the same trouble: then it is the line's."""
    asked = [ill for ill, one in zip(bad, tally.devices, strict=True) if one.asked >= FEW and not one.lost]
    return len(asked) > 1 and all(asked)


def share(n: int, of: int) -> str:
    """Per cent, as people say it.

    >>> share(38, 100), share(1, 2000), share(0, 5)
    ('38', '0.05', '0')
    """
    if not n:
        return "0"
    percent = 100.0 * n / of
    return f"{percent:.0f}" if percent >= 9.5 else f"{percent:.2g}"
