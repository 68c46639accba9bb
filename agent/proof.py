"""What is left of a trip for whoever asks afterwards: which output was switched, why, how long each step took, and
how it is known that it was.

The judge's half is the alarm edge that decided; the driver's half is what it told of the order. Here they meet, one
record for each output that an alarm switched on (`trip-proof`) or let go (`trip-released`). What is written again
later, while nothing changed, gives none. Nothing is ordered here, nothing judged, nothing written.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct

from .core import words
from .core.alarm import Alarm, Order
from .core.core import Core, Memory, Verdict, open_alarms
from .core.frame import Instant
from .core.ports import Event
from .core.rules import Vote
from .core.words import Language

DEADLINE = 10.0  # s from the decision, after which an output that is not known to be switched counts as failed; project


class Trip(Struct, frozen=True):
    """An output that an alarm switches, not yet proven. Times are monotonic s."""

    order: Order
    alarm: Alarm  # the edge that decided, or of a start the last that is remembered
    restore: float | None  # the limit that lets it go by itself
    measured: float | None  # when the value that decided was measured; None where nothing was seen, or it is long ago
    decided: float
    recalled: bool  # ordered anew at the start, for an alarm of an earlier life
    trouble: str = ""  # what the driver told of it so far


def trips(core: Core, memory: Memory, verdict: Verdict, now: Instant) -> list[Trip]:
    """What a verdict switches because of an alarm; `memory` is that of after the step."""
    found = []
    for order in verdict.orders:
        edges = [alarm for alarm in verdict.alarms if alarm.id == order.reason]
        alarm = edges[-1] if edges else next((a for a in open_alarms(memory) if a.id == order.reason), None)
        if alarm is None:
            continue  # nothing wanted it on: the release at a start
        place = core.places.get(alarm.point)
        restore, measured = None, None
        if place is not None:
            source, i = place
            point = core.benches[source].points[i]
            restore = float(core.benches[source].restore[i])
            if edges and alarm.value is not None and point.column >= 0:
                places = point.siblings if isinstance(point.rule, Vote) else ((source, point.column),)
                measured = max(float(memory.watches[s].seen.measured[k]) for s, k in places)
        found.append(Trip(order, alarm, restore, measured, now.mono, not edges))
    return found


def record(trip: Trip, at: Instant, outcome: Event | None, language: Language) -> Event:
    """The proof of one trip: `outcome` is what the driver told when it was done, None where it was not in time."""
    order, alarm = trip.order, trip.alarm
    facts = outcome.facts if outcome is not None and outcome.kind == "order-done" else {}
    result = "failed" if not facts else "verified" if "read_back" in facts else "written"
    stamps = {"measured": trip.measured, "decided": trip.decided}
    stamps |= {"written": facts.get("written"), "verified": facts.get("read_back")}
    times = {name: time for name, time in stamps.items() if time is not None}
    steps = list(times.items())
    told: dict[str, Any] = {
        "alarm": alarm.id,
        "edge": alarm.edge,
        "event": alarm.event,
        "rule": alarm.rule,
        "channel": alarm.channel,
        "level": alarm.level,
        "value": alarm.value,
        "limit": alarm.limit,
        "restore": trip.restore,
        "unit": alarm.unit,
        "basis": msgspec.to_builtins(alarm.basis),
        "output": order.output,
        "on": order.on,
        "result": result,
        "mono": {name: round(time, 6) for name, time in times.items()},
        "seconds": {f"{a}-{b}": round(end - begin, 6) for (a, begin), (b, end) in pairwise(steps)},
    }
    more = {"group": alarm.group, "by": alarm.by, "reason": alarm.reason, "recalled": trip.recalled}
    more["trouble"] = trip.trouble if result == "failed" else ""
    told |= {name: value for name, value in more.items() if value}
    text = words.sentence(
        words.PROVEN,
        language,
        f"{'on' if order.on else 'off'}-{result}",
        output=order.output,
        seconds=words.number(round(steps[-1][1] - steps[0][1], 3)),
        trouble=trip.trouble or words.NO_ANSWER[language],
        text=alarm.text,
    )
    return Event("trip-proof" if order.on else "trip-released", order.output, at, text, told)


class Proofs:
    """The trips under way, one of each output."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._open: dict[str, Trip] = {}

    def begin(self, trip: Trip, at: Instant) -> list[Event]:
        """An output is to be switched; what was under way for it is told as it stands."""
        earlier = self._open.pop(trip.order.output, None)
        self._open[trip.order.output] = trip
        return [record(earlier, at, None, self.language)] if earlier is not None else []

    def settle(self, event: Event) -> list[Event]:
        """What a driver told of an order, if it was one of these."""
        output = str(event.facts.get("output", ""))
        trip = self._open.get(output)
        if trip is None or (trip.order.reason, trip.order.on) != (event.facts.get("reason"), event.facts.get("on")):
            return []
        trip = self._open[output] = msgspec.structs.replace(trip, trouble=event.text)
        if event.kind not in ("order-done", "order-refused"):
            return []  # it is tried again
        del self._open[output]
        return [record(trip, event.at, event, self.language)]

    def overdue(self, at: Instant) -> list[Event]:
        """The trips that nobody proved in time."""
        late = [output for output, trip in self._open.items() if at.mono - trip.decided > DEADLINE]
        return [record(self._open.pop(output), at, None, self.language) for output in late]
