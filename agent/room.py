"""Which of the open alarms the disk remembers: all of them, or where there are too many, the most important."""

from __future__ import annotations

from .core.alarm import LEVELS, Point


class Room:
    """Places for `cap` open alarms. Whoever finds none, by level and then by age, stays outside until one is free.

    >>> room = Room(1)
    >>> room.put(("rule", "a"), 3), room.put(("rule", "b"), 0) == {("rule", "a"), ("rule", "b")}
    ({('rule', 'a')}, True)
    >>> ("rule", "a") in room, room.outside
    (False, 1)
    """

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self._rank: dict[Point, int] = {}  # 0 is red
        self._inside: list[dict[Point, None]] = [{} for _ in LEVELS]  # by rank, oldest first
        self._outside: list[dict[Point, None]] = [{} for _ in LEVELS]
        self._n = 0  # inside

    def __contains__(self, point: Point) -> bool:
        return point in self._rank and point in self._inside[self._rank[point]]

    def __len__(self) -> int:
        return self._n

    @property
    def outside(self) -> int:
        """How many found no place."""
        return len(self._rank) - self._n

    def put(self, point: Point, rank: int) -> set[Point]:
        """An alarm is open. Returns the points whose row on the disk is out of date, this one among them."""
        if self._rank.get(point) == rank:
            return {point}
        moved = self.remove(point) | {point}
        self._rank[point] = rank
        self._inside[rank][point] = None
        self._n += 1
        if self._n > self.cap:
            last = max(rank for rank, points in enumerate(self._inside) if points)
            out, _ = self._inside[last].popitem()
            self._outside[last][out] = None
            self._n -= 1
            moved.add(out)
        return moved

    def remove(self, point: Point) -> set[Point]:
        """An alarm is over, if it was open at all. Returns the points whose row on the disk is out of date."""
        rank = self._rank.pop(point, None)
        if rank is None:
            return {point}
        if point in self._outside[rank]:
            del self._outside[rank][point]
            return {point}
        del self._inside[rank][point]
        self._n -= 1
        waiting = next((points for points in self._outside if points), None)
        if waiting is None:
            return {point}
        heir = next(iter(waiting))
        del waiting[heir]
        self._inside[self._rank[heir]][heir] = None
        self._n += 1
        return {point, heir}
