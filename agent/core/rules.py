"""What a rule says, and how each kind of rule sees its channels.

A rule is settings only: the frozen struct decoded from TOML. For each source the rules are laid out as
*points*, one per (rule, channel), sorted by kind. Each kind turns the source's columns into one number
per point, its *metric*; `core.judge` then compares all metrics of the source with their limits at once.
One rule on a thousand channels and a thousand rules on one channel each cost the same.

    kind       metric of a point                                          unit of `limit`
    high       the value; raises at or above the limit                    the channel's
    low        the value; raises at or below the limit                    the channel's
    rate       slope by least squares over `window`, times `per`          the channel's per `per` s
    deviation  distance from the median of the rule's channels              the channel's
    frozen     seconds since the value last moved by more than `band`     s
    silence    seconds since the channel (or the whole source) was read   s
    vote       how many of the rule's channels are at or beyond its limit    votes
    item       none: the colour of an item is judged apart, by `colours.py`
    feedback   1 while the channel contradicts what was ordered of an output     -
    expect     1 while the channel is not as it is expected to be              -
    doubt      1 while a detector says that the channel lies                   -
    anomaly    how strange a detector finds it; told from `limit` on               decades
    manual     none: a person demands it, and withdraws it                     -
    fault      1 while the channel is blind or saturated in a live source -
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from msgspec import Meta, Struct, structs

from .alarm import Basis, Level
from .frame import BLIND, CALIBRATING, GOOD, OFFLINE, OVER_RANGE, STALE, UNCERTAIN, Array
from .words import BOUNDS, Language

Seconds = Annotated[float, Meta(ge=0)]


class Condition(NamedTuple):
    """What must hold on another channel."""

    channel: str
    compare: str  # a key of COMPARISONS
    value: float


COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
OPPOSITE = {">=": "<", "<=": ">", ">": "<=", "<": ">=", "==": "!=", "!=": "=="}


def condition(text: str) -> Condition:
    """`source/key >= 1` taken apart. Raises `ValueError` in words.

    >>> condition("fan/running >= 1")
    Condition(channel='fan/running', compare='>=', value=1.0)
    """
    words = text.split()
    if len(words) == 3 and words[1] in COMPARISONS and "/" in words[0]:
        try:
            return Condition(words[0], words[1], float(words[2]))
        except ValueError:
            pass
    raise ValueError(f"`{text}` is no condition; it should read like `fan/running >= 1`")


# What only a judged condition has.
UNJUDGED = ("delay", "latch", "lock", "when", "start_when", "clear_when", "fail_safe")


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every kind of rule says."""

    name: Annotated[str, Meta(pattern=r"^[\w.-]+$", max_length=100)]  # unique in the site; part of the topic
    channel: list[str]  # `source/key`, wildcards * ? [..]; or a source for `silence`
    level: Level = "yellow"
    delay: Seconds = 0.0  # s that the condition must hold before the alarm; 0 for limits of the law on gas
    clear_delay: Seconds = 0.0  # s that the return must hold before the alarm clears
    drive: list[str] = []  # outputs held on while the alarm is active
    latch: bool = False  # what is over still holds its outputs, until a person who has seen it resets it
    lock: bool = False  # taken out of service it is in force again by itself once its condition is over
    when: list[str] = []  # conditions on other channels, like `fan/running >= 1`; while one fails: suppressed
    start_when: list[str] = []  # conditions for being raised; what nobody can see holds
    clear_when: list[str] = []  # conditions for being cleared; what nobody can see does not hold
    fail_safe: bool = False  # a blind channel counts as exceeded (interlocks)
    text: str = ""  # what the operator reads instead of the standard sentence
    group: str = ""  # what belongs together: its alarms say which of them was first
    realarm: Seconds = 0.0  # s after which an acknowledged alarm that still stands is annunciated again; 0: never
    advice: str = ""  # what to do: a row of `words.ADVICE`, or the site's own words; default: by kind
    basis: Basis = Basis()

    sign: ClassVar[float] = 1.0  # -1 where small is bad
    alien: ClassVar[tuple[str, ...]] = ()  # fields that this kind has no use for
    sees_blindness: ClassVar[bool] = False  # the rule itself watches blind channels
    doubts: ClassVar[bool] = False  # its alarm says that the data is bad, and colours nothing; see `colours.py`

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, is {value}")
        for text in (*self.when, *self.start_when, *self.clear_when):
            condition(text)
        for name in self.alien:
            if (given := getattr(self, name)) and given != _usual()[name]:
                raise ValueError(f"{self.__struct_config__.tag} has no `{name}`")
        if self.lock and self.latch:
            raise ValueError("what latches is over when it is reset; it cannot be a lock as well")
        limit, restore = self.bounds
        if self.sign * restore > self.sign * limit:
            raise ValueError(f"restore {restore:g} lies beyond limit {limit:g}: the alarm would clear while it is true")
        if self.fail_safe and self.sees_blindness:
            raise ValueError("fail_safe has no meaning here: this kind watches blind channels itself")

    @property
    def bounds(self) -> tuple[float, float]:
        """(limit, restore) in the metric's unit; here that of a metric which is 1 while the condition holds."""
        return 1.0, 1.0

    def says(self, language: Language = "en") -> str:
        """Its limits, for people."""
        return ""


@cache
def _usual() -> dict[str, Any]:
    """The fields of any rule where nothing is given."""
    return {field.name: field.default for field in structs.fields(Rule)}


class Limited(Rule, frozen=True, kw_only=True):
    """A rule with a limit and a restore limit of its own."""

    limit: float
    restore: float | None = None
    slack: ClassVar[float] = 1.0  # of the limit: the restore limit where none is given

    @property
    def bounds(self) -> tuple[float, float]:
        return self.limit, self.slack * self.limit if self.restore is None else self.restore

    def says(self, language: Language = "en") -> str:
        limit, restore = self.bounds
        return BOUNDS[language]["limit" if restore == limit else "restored"].format(
            limit=f"{limit:g}", restore=f"{restore:g}"
        )


class High(Limited, tag="high", frozen=True, kw_only=True):
    """Alarm at or above `limit`; clears below `restore` (default: `limit`)."""


class Strange(High, tag="anomaly", frozen=True, kw_only=True):
    """Alarm while a detector finds its column stranger than the budget of false alarms allows; see
    `models/anomaly.py`. It says why."""

    limit: float = 0.0  # decades; above 0: only what is so much rarer


class Low(Limited, tag="low", frozen=True, kw_only=True):
    """Alarm at or below `limit`; clears above `restore` (default: `limit`)."""

    sign: ClassVar[float] = -1.0


class Rate(Limited, tag="rate", frozen=True, kw_only=True):
    """Alarm when the value moves by `limit` or more per `per` seconds, measured over `window`."""

    limit: Annotated[float, Meta(gt=0)]
    window: Annotated[float, Meta(gt=0)]  # s
    per: Annotated[float, Meta(gt=0)] = 60.0  # s
    direction: Literal["up", "down", "both"] = "up"
    slack: ClassVar[float] = 0.8


class Deviation(Limited, tag="deviation", frozen=True, kw_only=True):
    """Alarm when a channel is `limit` or more away from the median of its siblings."""

    limit: Annotated[float, Meta(gt=0)]
    slack: ClassVar[float] = 0.8


class Frozen(Rule, tag="frozen", frozen=True, kw_only=True):
    """Alarm when a value has not moved by more than `band` for `limit` seconds."""

    limit: Annotated[float, Meta(gt=0)]  # s
    band: Annotated[float, Meta(ge=0)] = 0.0  # the channel's unit
    doubts: ClassVar[bool] = True

    @property
    def bounds(self) -> tuple[float, float]:
        return self.limit, self.limit

    def says(self, language: Language = "en") -> str:
        return BOUNDS[language]["seconds"].format(limit=f"{self.limit:g}")


class Silence(Rule, tag="silence", frozen=True, kw_only=True):
    """Alarm when a channel, or with a source's name the whole source, was not read for `limit` seconds."""

    limit: Annotated[float, Meta(gt=0)] | None = None  # s; default: the channel's own `stale`
    sees_blindness: ClassVar[bool] = True
    doubts: ClassVar[bool] = True

    @property
    def bounds(self) -> tuple[float, float]:
        limit = np.nan if self.limit is None else self.limit
        return limit, limit

    def says(self, language: Language = "en") -> str:
        return "" if self.limit is None else BOUNDS[language]["seconds"].format(limit=f"{self.limit:g}")


class Bad(Rule, tag="fault", frozen=True, kw_only=True):
    """Alarm when a channel is blind or saturated although its source answers."""

    calibrating: bool = False  # it watches for calibration instead: what protects lives is calibrated under a permit

    sees_blindness: ClassVar[bool] = True
    doubts: ClassVar[bool] = True


class Vote(Rule, tag="vote", frozen=True, kw_only=True):
    """Alarm when `need` of the channels are at or beyond `limit`: two out of three, say. One alarm for all.

    It bears the name of the first channel, and is judged whenever one of them is read.
    """

    limit: float  # of each channel, in its unit
    compare: Literal[">=", "<="] = ">="
    restore: float | None = None  # a vote is withdrawn beyond it; default: `limit`
    need: Annotated[int, Meta(ge=1)] = 2
    bad: Literal["votes", "abstains"] = "votes"  # a blind channel: 2 of 3 become 1 of 2, or 2 of 2

    def __post_init__(self) -> None:
        super().__post_init__()
        sign = 1.0 if self.compare == ">=" else -1.0
        if self.restore is not None and sign * self.restore > sign * self.limit:
            text = f"restore {self.restore:g} lies beyond limit {self.limit:g}"
            raise ValueError(f"{text}: a vote would be withdrawn while it is true")

    @property
    def bounds(self) -> tuple[float, float]:
        return float(self.need), float(self.need)

    def says(self, language: Language = "en") -> str:
        return BOUNDS[language]["vote"].format(need=self.need, each=f"{self.compare} {self.limit:g}")


class Manual(Rule, tag="manual", frozen=True, kw_only=True):
    """What a person demands by hand, from near or far, and withdraws: a remote cut.

    Always obeyed; withdrawn only while nothing else demands what it drives. It bears the name of its first channel.
    Source: AQ 6201, remote power cut, verify.
    """

    alien: ClassVar[tuple[str, ...]] = ("clear_delay", *UNJUDGED)


class Feedback(Rule, tag="feedback", frozen=True, kw_only=True):
    """Alarm when a sensor of what an output does contradicts the order: cut, and yet energised; or the reverse.

    Source: AQ 6201, feed check; 2 s after the 2006 text, verify.
    """

    output: str
    delay: Seconds = 2.0
    threshold: float = 0.5  # the channel is high at or above
    on: Literal["low", "high"] = "low"  # what it should be while the output is on: a power cut takes the feed away


class Expect(Rule, tag="expect", frozen=True, kw_only=True):
    """Alarm while a channel is not as it should be: a fan that should run, a door that should be shut."""

    expect: str  # like `>= 1`

    def says(self, language: Language = "en") -> str:
        return self.expect

    def __post_init__(self) -> None:
        super().__post_init__()
        condition(f"*/* {self.expect}")

    @property
    def wanted(self) -> Condition:
        """What is expected of each of its channels, taken apart."""
        return condition(f"*/* {self.expect}")


class Doubt(Rule, tag="doubt", frozen=True, kw_only=True):
    """Alarm when a detector says that a channel is not to be believed; see `models/tamper.py`."""

    lie: str  # the detector's column `<key>.<lie>` beside the channel
    doubts: ClassVar[bool] = True


class Item(Rule, tag="item", frozen=True, kw_only=True):
    """What belongs together has one colour, and one alarm whose level is that colour; see `colours.py`.

    Its alarm stands on `colour/NAME`. Of what every rule says, an item takes the rest; `clear_delay` is how long the
    lower state must have held.
    """

    channel: list[str] = []  # its points
    item: list[str] = []  # its items, by name
    counts: dict[Literal["blue", "yellow", "orange"], Annotated[int, Meta(ge=2)]] = {}  # so many make the next colour
    carries: bool = False  # and count as one of it, for the colour after

    alien: ClassVar[tuple[str, ...]] = ("level", "drive", *UNJUDGED)  # a rule on `colour/NAME` may have them


AnyRule: TypeAlias = (
    High | Strange | Low | Rate | Deviation | Frozen | Silence | Vote | Item | Feedback | Expect | Doubt | Manual | Bad
)
KINDS: dict[str, type[AnyRule]] = {
    "high": High,
    "anomaly": Strange,
    "low": Low,
    "rate": Rate,
    "deviation": Deviation,
    "frozen": Frozen,
    "silence": Silence,
    "vote": Vote,
    "feedback": Feedback,
    "expect": Expect,
    "doubt": Doubt,
    "manual": Manual,
    "fault": Bad,
}


class Seen(Struct, frozen=True, eq=False):
    """The last that was seen of a source: columns of n channels, and when each was measured."""

    value: Array  # (n,) NaN where never measured or blind
    quality: Array  # (n,) uint8
    measured: Array  # (n,) monotonic s; the start where never
    fresh: Array  # (n,) bool: measured since this start
    raw: Array  # (n,)


class Point(Struct, frozen=True):
    """One rule on one channel. `column` is -1 where the rule watches the source as a whole."""

    rule: AnyRule
    channel: str
    column: int
    siblings: tuple[tuple[str, int], ...] = ()  # (source, column): deviation the others, vote all, feedback its output,
    # doubt the detector's column


class Board(NamedTuple):
    """What a measure may see beyond its own source."""

    seen: Mapping[str, Seen]  # by source
    held: Array  # by output: whether an alarm holds it on


class Measure:
    """How one kind of rule sees its p points. Settings are fixed here; memory is an argument and a result."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = points
        self.column = np.array([p.column for p in points], int)

    def start(self) -> Any:
        """The memory before the first sample."""
        return None

    def step(self, memory: Any, now: float, seen: Seen, board: Board) -> tuple[Any, Array, Array]:
        """New memory, metric (p,) with NaN for "cannot say", and the quality (p,) of that metric."""
        raise NotImplementedError

    def moved(self, memory: Any, seconds: float) -> Any:
        """The same memory on a clock that stands `seconds` later."""
        return memory


class Value(Measure):
    """high, low: the value itself."""

    def step(self, memory: Any, now: float, seen: Seen, board: Board) -> tuple[Any, Array, Array]:
        return None, seen.value[self.column], seen.quality[self.column]


class Slope(Measure):
    """rate: least squares over a ring of at most `DEPTH` measurements spread over the window.

    Memory: times and values (DEPTH, p), newest first. No answer before half a window was seen, nor
    from fewer than three measurements. A reading counts once, at the time when it was measured.
    """

    DEPTH = 16

    def __init__(self, points: Sequence[Point]) -> None:
        super().__init__(points)
        rules = [p.rule for p in points if isinstance(p.rule, Rate)]
        self.window = np.array([r.window for r in rules])
        self.per = np.array([r.per for r in rules])
        self.both = np.array([r.direction == "both" for r in rules])
        self.sign = np.array([-1.0 if r.direction == "down" else 1.0 for r in rules])

    def start(self) -> tuple[Array, Array]:
        empty = np.full((self.DEPTH, len(self.points)), np.nan)
        return empty, empty

    def step(self, memory: tuple[Array, Array], now: float, seen: Seen, board: Board) -> tuple[Any, Array, Array]:
        times, values = memory
        value, quality, measured = seen.value[self.column], seen.quality[self.column], seen.measured[self.column]
        usable = np.isfinite(value) & (quality <= OVER_RANGE)
        gap = self.window / (self.DEPTH - 2)
        due = usable & ~(measured - times[0] < gap)  # NaN counts as due
        if due.any():
            times, values = times.copy(), values.copy()
            times[1:, due], values[1:, due] = times[:-1, due], values[:-1, due]
            times[0, due], values[0, due] = measured[due], value[due]
        newer = usable & (measured > times[0])  # too early for the ring, but the newest that is known
        back = np.vstack([np.where(newer, measured, np.nan), times]) - now
        rows = np.vstack([np.where(newer, value, np.nan), values])
        inside = np.isfinite(rows) & (back >= -self.window * (1 + 1e-9))
        count = inside.sum(0)
        v = np.where(inside, rows, 0.0)
        t = np.where(inside, back, 0.0)
        t = np.where(inside, t - t.sum(0) / np.maximum(count, 1), 0.0)
        spread = (t * t).sum(0)
        enough = (count >= 3) & (np.where(inside, -back, 0.0).max(0) >= self.window / 2) & (spread > 0)
        slope = np.where(enough, (t * v).sum(0) / np.where(spread > 0, spread, 1.0), np.nan) * self.per
        metric = np.where(self.both, np.abs(slope), self.sign * slope)
        return (times, values), np.where(usable, metric, np.nan), quality

    def moved(self, memory: tuple[Array, Array], seconds: float) -> tuple[Array, Array]:
        times, values = memory
        return times + seconds, values


class Distance(Measure):
    """deviation: |value - median of the rule's usable channels|; of two, the distance between them.

    No answer without at least one usable sibling.
    """

    def step(self, memory: Any, now: float, seen: Seen, board: Board) -> tuple[Any, Array, Array]:
        value = seen.value[self.column]

        def middle(own: float, siblings: Sequence[tuple[str, int]]) -> float:
            others = [
                board.seen[source].value[i]
                for source, i in siblings
                if source in board.seen and board.seen[source].quality[i] == GOOD
            ]
            return float(np.median([own, *others] if len(others) > 1 else others)) if others else np.nan

        medians = np.array([middle(own, p.siblings) for own, p in zip(value, self.points, strict=True)])
        return None, np.abs(value - medians), seen.quality[self.column]


class Still(NamedTuple):
    """Memory of `Unmoved`, columns (p,)."""

    held: Array  # where the value stood when it last moved, NaN where never seen
    since: Array  # monotonic s when that was, shifted by the time that was blind
    alive: Array  # bool: it moved since this start
    last: float  # monotonic s of the last step


class Unmoved(Measure):
    """frozen: seconds since the value left the band around where it last stood. Blind time does not count.

    What has not moved since the start may raise but not clear: neither a restart nor a missed poll makes a
    frozen sensor alive.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        super().__init__(points)
        self.band = np.array([p.rule.band for p in points if isinstance(p.rule, Frozen)])

    def start(self) -> Still:
        unknown = np.full(len(self.points), np.nan)
        return Still(unknown, unknown, np.zeros(len(self.points), bool), np.nan)

    def step(self, memory: Still, now: float, seen: Seen, board: Board) -> tuple[Any, Array, Array]:
        held, since, alive, last = memory
        value = seen.value[self.column]
        visible = np.isfinite(value)
        first = visible & np.isnan(held)
        moved = visible & (np.abs(value - held) > self.band)
        since = np.where(first | moved, now, np.where(visible, since, since + (now - last)))
        held = np.where(first | moved, value, held)
        alive = alive | moved
        quality = seen.quality[self.column]
        quality = np.where(alive | (quality != GOOD), quality, UNCERTAIN)
        return Still(held, since, alive, now), np.where(visible, now - since, np.nan), quality

    def moved(self, memory: Still, seconds: float) -> Still:
        return memory._replace(since=memory.since + seconds, last=memory.last + seconds)


class Unread(Measure):
    """silence: age of the channel, or of the youngest channel of the source. Known however blind.

    Nothing read since the start may raise but not clear: a restart must not make a dead sensor look alive.
    """

    def step(self, memory: Any, now: float, seen: Seen, board: Board) -> tuple[Any, Array, Array]:
        whole = self.column < 0
        measured = np.where(whole, seen.measured.max(), seen.measured[self.column])
        fresh = np.where(whole, seen.fresh.any(), seen.fresh[self.column])
        return None, now - measured, np.where(fresh, GOOD, UNCERTAIN)


class Votes(Measure):
    """vote: how many members are at or beyond the limit.

    Memory: per point, each member's vote: 1 cast, 0 not, -1 not known since the start. What is not known may raise
    nothing and clear nothing.
    """

    def start(self) -> tuple[Array, ...]:
        return tuple(np.full(len(p.siblings), -1, np.int8) for p in self.points)

    def step(self, memory: tuple[Array, ...], now: float, seen: Seen, board: Board) -> tuple[Any, Array, Array]:
        counted = [self._count(p, votes, board) for p, votes in zip(self.points, memory, strict=True)]
        metric, quality = np.array([c[1] for c in counted], float), np.array([c[2] for c in counted], np.uint8)
        return tuple(c[0] for c in counted), metric, quality

    @staticmethod
    def _count(point: Point, votes: Array, board: Board) -> tuple[Array, float, int]:
        rule = point.rule
        assert isinstance(rule, Vote)
        sign = 1.0 if rule.compare == ">=" else -1.0
        limit, restore = sign * rule.limit, sign * (rule.limit if rule.restore is None else rule.restore)
        value = np.array([sign * board.seen[source].value[i] for source, i in point.siblings])
        quality = np.array([board.seen[source].quality[i] for source, i in point.siblings])
        visible = np.isfinite(value)
        votes = np.where(visible & (value >= limit) & (quality <= OVER_RANGE), 1, votes)
        votes = np.where(visible & (value < restore) & (quality == GOOD), 0, votes)
        blind = quality >= BLIND
        cast = np.where(blind, rule.bad == "votes", votes == 1)
        count = float(cast.sum())
        open_ = float((~cast & (votes != 0)).sum())  # a vote that was cast before its sensor died is not withdrawn
        return votes, count, GOOD if count >= rule.need or count + open_ < rule.need else UNCERTAIN


class Apart(Measure):
    """item, manual: says nothing here, so that nothing is raised and nothing cleared."""

    def step(self, memory: Any, now: float, seen: Seen, board: Board) -> tuple[Any, Array, Array]:
        n = len(self.points)
        return None, np.full(n, np.nan), np.full(n, UNCERTAIN, np.uint8)


class Contradiction(Measure):
    """feedback: 1 where the channel is not what the output's order makes it."""

    def __init__(self, points: Sequence[Point]) -> None:
        super().__init__(points)
        rules = [p.rule for p in points if isinstance(p.rule, Feedback)]
        self.threshold = np.array([r.threshold for r in rules])
        self.high_when_on = np.array([r.on == "high" for r in rules])
        self.output = np.array([p.siblings[0][1] for p in points], int)  # its column on the board

    def step(self, memory: Any, now: float, seen: Seen, board: Board) -> tuple[Any, Array, Array]:
        value, on = seen.value[self.column], board.held[self.output]
        wrong = (value >= self.threshold) != (on == self.high_when_on)
        return None, np.where(np.isfinite(value), wrong.astype(float), np.nan), seen.quality[self.column]


class Unmet(Measure):
    """expect: 1 where the channel is not as expected."""

    def __init__(self, points: Sequence[Point]) -> None:
        super().__init__(points)
        self.wanted = [p.rule.wanted for p in points if isinstance(p.rule, Expect)]

    def step(self, memory: Any, now: float, seen: Seen, board: Board) -> tuple[Any, Array, Array]:
        value = seen.value[self.column]
        pairs = zip(value.tolist(), self.wanted, strict=True)
        unmet = np.array([not COMPARISONS[wanted.compare](one, wanted.value) for one, wanted in pairs], float)
        return None, np.where(np.isfinite(value), unmet, np.nan), seen.quality[self.column]


class Lie(Measure):
    """doubt: what the detector says. Where it cannot say, neither raised nor cleared."""

    def __init__(self, points: Sequence[Point]) -> None:
        super().__init__(points)
        self.column = np.array([p.siblings[0][1] for p in points], int)

    def step(self, memory: Any, now: float, seen: Seen, board: Board) -> tuple[Any, Array, Array]:
        return None, seen.value[self.column], seen.quality[self.column]


class Unfit(Measure):
    """fault: 1 while blind or saturated, 0 while fit. No answer for what went blind with its whole source.

    A source of several requests does not end at one moment: what was read just before its last reply went with it. What
    alone is read no longer grows older than the youngest of its source, which a poll keeps young.
    """

    TOGETHER = 0.5  # of its own age the youngest of its source must have; a channel is stale after 3 periods; project

    def __init__(self, points: Sequence[Point]) -> None:
        super().__init__(points)
        self.calibrating = np.array([p.rule.calibrating for p in points if isinstance(p.rule, Bad)], bool)

    def step(self, memory: Any, now: float, seen: Seen, board: Board) -> tuple[Any, Array, Array]:
        quality, measured = seen.quality[self.column], seen.measured[self.column]
        bad = (quality >= BLIND) | (quality == OVER_RANGE)
        unfit = np.where(self.calibrating, quality == CALIBRATING, bad).astype(float)
        aged = (quality == STALE) | (quality == OFFLINE)
        youngest = now - seen.measured.max()
        with_all = aged & (youngest >= self.TOGETHER * (now - measured)) & (measured < now)
        unfit[with_all | (quality == UNCERTAIN)] = np.nan
        return None, unfit, np.zeros(len(self.points), np.uint8)


MEASURES: dict[type[AnyRule], type[Measure]] = {
    High: Value,
    Strange: Value,
    Low: Value,
    Rate: Slope,
    Deviation: Distance,
    Frozen: Unmoved,
    Silence: Unread,
    Vote: Votes,
    Item: Apart,
    Feedback: Contradiction,
    Expect: Unmet,
    Doubt: Lie,
    Manual: Apart,
    Bad: Unfit,
}
