"""When an uplink tries again. A fleet that was lost in one moment must not be back in one moment: the storm of its
connections would be the next outage.

    after a short outage             within a tenth of `spread`, and `SOON` at least
    after a long one                 within a tenth of the time that it lasted, `spread` at most
    the machine has just started     the first try within `spread`: power came back to a whole region
    a red or orange alarm waits      within `SOON`, whatever else was said, and be it raised in the middle of a pause;
                                     a try that nobody answered has been a pause

Which moment it is within that time is drawn by lot, by each node for itself (`supervise.keep`).
"""

from __future__ import annotations

import math

from .core.ports import Clock, Event
from .feed import Feed
from .supervise import FIRST, Pauses

SOON = 1.5  # s between two tries; back within 3 s is the goal of T7
TENTH = 0.1  # of an outage that a node may add to it; project
BOOTED = 120.0  # s since the kernel started in which a start counts as power that came back; project


class Comeback(Pauses):
    """The pauses of one uplink. `spread` in s; 0: as soon as possible, always."""

    def __init__(self, spread: float, feed: Feed, clock: Clock) -> None:
        super().__init__(SOON)
        self.spread, self.feed, self.clock = spread, feed, clock
        now = clock.now().mono
        self._gone = now if now >= BOOTED else -math.inf  # since when it is down; inf: it is up

    def hear(self, event: Event) -> None:
        """What the uplink tells of its link."""
        if event.kind == "link-up":
            self._gone = math.inf
        elif event.kind == "link-down":
            self._gone = event.at.mono

    def shortest(self) -> float:
        """s between two tries after a short outage, at most."""
        return max(SOON, TENTH * self.spread)

    def first(self) -> float:
        return FIRST + self.shortest() - SOON

    def longest(self) -> float:
        if self.feed.is_urgent():
            return SOON
        outage = max(0.0, self.clock.now().mono - self._gone)
        return max(self.shortest(), min(self.spread, TENTH * outage))

    def start(self) -> float:
        return self.spread if self._gone == -math.inf else 0.0

    def spent(self, took: float) -> float:
        is_a_try = took < self.clock.now().mono - self._gone  # and not a link that was up
        return took if is_a_try and self.feed.is_urgent() else 0.0
