"""How the devices of a line answered lately: counted in stretches of `STRETCH` s, of which the last `KEPT` are told."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.core.errors import BadReply, NoReply, Refused
from agent.core.frame import Instant
from agent.core.ports import Fared, Tally

from .modbus_wire import Outcome

STRETCH = 5.0  # s, from one word to the next
KEPT = 60  # stretches: five minutes
LATE = 0.7  # of the time-out, from which on a reply is late; project


class Count:
    """One device in one stretch."""

    __slots__ = ("asked", "garbled", "late", "refused", "replies", "silent", "spent", "worst")

    def __init__(self) -> None:
        self.asked = self.silent = self.garbled = self.refused = self.replies = self.late = 0
        self.spent = self.worst = 0.0  # s of the replies


class Counts:
    """One device over all stretches that are kept."""

    def __init__(self, timeout: float) -> None:
        self.answered = False  # ever
        self._late = LATE * timeout
        self._past: deque[Count] = deque([Count()], maxlen=KEPT)

    def add(self, outcomes: Sequence[Outcome | None], took: Sequence[float]) -> None:
        """What came of some requests, and the s that each took; None: it was not asked."""
        now = self._past[-1]
        for outcome, seconds in zip(outcomes, took, strict=True):
            if outcome is None:
                continue
            now.asked += 1
            if isinstance(outcome, NoReply):
                now.silent += 1
            elif isinstance(outcome, BadReply):
                now.garbled += 1
            else:
                now.refused += isinstance(outcome, Refused)
                now.replies += 1
                now.spent += seconds
                now.late += seconds > self._late
                now.worst = max(now.worst, seconds)
                self.answered = True

    def turn(self) -> None:
        """The next stretch begins."""
        self._past.append(Count())

    def fared(self, device: str, unit: int, lost: bool) -> Fared:
        replies = sum(one.replies for one in self._past)
        return Fared(
            device,
            unit,
            asked=sum(one.asked for one in self._past),
            silent=sum(one.silent for one in self._past),
            garbled=sum(one.garbled for one in self._past),
            refused=sum(one.refused for one in self._past),
            late=sum(one.late for one in self._past),
            mean=sum(one.spent for one in self._past) / replies if replies else math.nan,
            worst=max(one.worst for one in self._past) if replies else math.nan,
            lost=lost,
            answered=self.answered,
        )


def tally(line: str, at: Instant, timeout: float, serial: bool, devices: Sequence[Fared]) -> Tally:
    return Tally(line, at, STRETCH * KEPT, timeout, serial, tuple(devices))


def told(tallies: Iterable[Tally]) -> list[dict[str, Any]]:
    """As JSON has them: what is not known is null there."""

    def plain(one: Fared) -> dict[str, Any]:
        return {key: None if value != value else value for key, value in one._asdict().items()}

    return [
        {"line": one.line, "mono": one.at.mono, "span": one.span, "timeout": one.timeout, "serial": one.serial}
        | {"devices": [plain(device) for device in one.devices]}
        for one in tallies
    ]


def heard(said: Mapping[str, Any]) -> Tally:
    """One of `told`, as it was but for the wall clock.

    >>> fan = Fared("fan", 3, 9, 9, 0, 0, 0, math.nan, 2.0, True, False)
    >>> one = Tally("net", Instant(7.0, 0.0), 300.0, 1.0, False, (fan,))
    >>> str(heard(told([one])[0])) == str(one)
    True
    """

    def known(one: Mapping[str, Any]) -> Fared:
        fields: dict[str, Any] = {key: math.nan if value is None else value for key, value in one.items()}
        return Fared(**fields)

    at = Instant(said["mono"], 0.0)
    return Tally(said["line"], at, said["span"], said["timeout"], said["serial"], tuple(map(known, said["devices"])))
