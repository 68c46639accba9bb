"""What people breathe: a book of accounts, one for each zone and each person, over shifts and over 15 minutes.

A *zone* is a place with one air. For each substance that is watched there it has meters, which like those of
electricity only go up; whoever is in the zone is charged by how far they move from entering to leaving:

    dose     concentration x time, by trapezoids between samples that lie at most `GAP` apart
    known    s for which there was such a trapezoid
    good     s of these that were GOOD at both ends
    present  s, whether anybody measured or not

Each zone has an account that never leaves it; each person has one that is where the person is. Both are rows of the
same table. What is not known counts as the mean of what is; a mean that is not to `COVERED` of good data may raise an
alarm and clears none, and its record says that the data does not suffice. Where an account is cut inside an interval
(a shift ends, a person walks on), the last value holds until the cut and the next trapezoid begins at it.

    metric  of a row and a substance                                                    judged
    twa     dose of the account / 8 h, extrapolated over what is not known              as it grows
    stel    mean of the last 15 min, to a bin of 15 s                                   at every sample, each second
    mac     the value itself, worst sensor of the zone, no averaging                    at every sample
    peak    the 15-min mean, in an excursion that is one too many, too soon or too long as above

Of several sensors the worst counts. One that went blind counts for `GAP` more with the last that it said, and for so
long the others clear nothing. Below zero is drift, and counts as zero: it pays no dose back.

The account of a zone is that of the site's shift. Its borders are those of the wall clock at the last trusted instant,
and are reckoned from there by the monotonic one. While no instant was trusted yet there are no shifts, and no TWA of
zones: rolling means (the detector `exposure`) go on. The account of a person runs from the first entry until the
person has been out for `REST`, at most `DAY`; so a shift of their own that crosses a border counts as one, and
persons need no wall clock. Away from the zones nobody breathes anything, and nothing of what a zone does not watch.

Persons are ids, nothing else. Where they are is known here, in the recording and in the journal of decisions; what
platforms hear of a person is alarms and records. A restart goes on from the last checkpoint, without who came or went
since; without one, zones begin anew and persons must enter again.
Weak at: a jump within a gap of up to `GAP` is taken for a ramp; of what people breathed in the 15 min before the agent
started, nothing is known and nothing is assumed.
Source: GBZ 2.1-2019, TWA = sum(c t) / 8 h, rolling 15 min, MAC; gaps, coverage, rest and day: project.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from msgspec import Struct, structs

from . import words
from .alarm import EVENT_NAMES, NEXT, PLAIN, STATE_NAMES, Alarm, Basis, Event, Level, State, is_active
from .frame import BLIND, OVER_RANGE, UNCERTAIN, Array, Frame, Instant, Quality
from .ports import Event as Told

EIGHT_HOURS, SHORT = 8 * 3600.0, 900.0  # s that the means are over
GAP = 900.0  # s; across a longer gap nothing is interpolated, project
COVERED = 0.75  # of the time must have been measured, else "insufficient data", project
BINS = 60  # of a rolling window: 15 s of the short one
REST = 4 * 3600.0  # s out of all zones after which a person's account is over; project: longer than a break
DAY = 24 * 3600.0  # s that an account lasts at most, for a tag that was never told out
PERSONS = 1000  # in the book at a time
BACK = 900.0  # s that the wall clock may go back behind the begin of a shift without ending it

ID = re.compile(r"[\w.-]{1,64}\Z")  # of a person: part of a topic
PERSON, ZONE = "person", "zone"  # sources of the alarms and records
RULE = "exposure"  # their rules are `exposure.<metric>.<limit>`
DOSE, KNOWN, GOOD, PRESENT = range(4)  # columns of an account; meters have all but the last
OUT = -1  # the place of who is in no zone: the last row of what zones have, where nothing is watched
Metric = Literal["twa", "stel", "mac", "peak"]
METRICS: tuple[Metric, ...] = ("twa", "stel", "mac", "peak")


# -- a rolling sum ------------------------------------------------------------------------------------


class Window(NamedTuple):
    """A rolling sum of arrays of one shape in `BINS` bins."""

    begin: float  # of the newest bin, monotonic s
    bins: tuple[Array, ...]  # oldest first
    total: Array


def window(shape: tuple[int, ...]) -> Window:
    """An empty one."""
    empty = np.zeros(shape)
    return Window(0.0, (empty,) * BINS, empty)


def rolled(rolling: Window, span: float, now: float) -> Window:
    """The window over `span` s at monotonic `now`."""
    width = span / BINS
    fresh = int((now - rolling.begin) // width)
    if fresh <= 0:
        return rolling
    total = np.zeros_like(rolling.total)
    bins = rolling.bins[fresh:] + (total,) * min(fresh, BINS)
    # Summed anew, for differences would gather rounding errors.
    return Window(rolling.begin + fresh * width, bins, sum(bins, total))


def added(rolling: Window, span: float, now: float, amount: Array, seconds: Array | float = 0.0) -> Window:
    """The window over `span` s at monotonic `now`, with `amount` that came evenly over the last `seconds`."""
    rolling = rolled(rolling, span, now)
    bins, begin, width = list(rolling.bins), rolling.begin, span / BINS
    lasting, left = np.where(np.asarray(seconds) > 0, seconds, 1.0), amount
    for i in reversed(range(BINS)):
        older = amount * np.minimum(np.maximum((begin - now + seconds) / lasting, 0.0), 1.0)
        bins[i] = bins[i] + (left - older)
        left, begin = older, begin - width
        if not left.any():
            break
    return Window(rolling.begin, tuple(bins), rolling.total + (amount - left))


def reach(rolling: Window, span: float, now: float) -> float:
    """s that the window covers now: all its bins but the part of the newest that is to come."""
    width = span / BINS
    return width * (BINS - 1) + min(max(now - rolling.begin, 0.0), width)


def later(rolling: Window, seconds: float) -> Window:
    """The same window on a clock that stands `seconds` later."""
    return rolling._replace(begin=rolling.begin + seconds)


# -- settings -----------------------------------------------------------------------------------------


class Limit(Struct, frozen=True):
    """One limit of one substance, in the substance's unit."""

    metric: Metric
    name: str
    value: float
    level: Level
    basis: Basis = Basis()
    times: int = 0  # of a peak: so often in one account
    apart: float = 0.0  # s, of a peak: from the end of one to the begin of the next
    lasts: float = 0.0  # s, of a peak

    @property
    def rule(self) -> str:
        return f"{RULE}.{self.metric}.{self.name}"


class Substance(Struct, frozen=True):
    """What is breathed, in the unit of its limits."""

    name: str
    unit: str
    limits: tuple[Limit, ...]
    advice: str = RULE


class Inlet(Struct, frozen=True):
    """A channel that measures a substance in a zone."""

    zone: int
    substance: int
    channel: str
    factor: float = 1.0  # from the channel's unit to the substance's


class Shifts(Struct, frozen=True):
    """When shifts begin, s after midnight of a clock that is `offset` s ahead of UTC."""

    begin: tuple[float, ...] = (0.0, 8 * 3600.0, 16 * 3600.0)
    offset: float = 8 * 3600.0

    def around(self, wall: float) -> tuple[float, float]:
        """Begin and end (UTC s) of the shift in which `wall` lies.

        >>> Shifts(offset=0.0).around(30_000.0)
        (28800.0, 57600.0)
        """
        midnight = (wall + self.offset) // DAY * DAY - self.offset
        marks = [midnight + day + begin for day in (-DAY, 0.0, DAY) for begin in self.begin]
        return max(m for m in marks if m <= wall), min(m for m in marks if m > wall)


class Air(Struct, frozen=True):
    """Zones, what is watched there, and when shifts change."""

    zones: tuple[str, ...]
    substances: tuple[Substance, ...]
    inlets: tuple[Inlet, ...]
    shifts: Shifts = Shifts()


class Presence(Struct, frozen=True, tag="presence"):
    """A person is in a zone from now on, or in none."""

    person: str
    zone: str | None
    at: Instant
    by: str = ""  # who, or what, says so


# -- memory -------------------------------------------------------------------------------------------


class Shift(NamedTuple):
    """The shift that is on."""

    begin: float  # UTC s
    end: float  # UTC s
    border: float  # its end in monotonic s


class Stays(NamedTuple):
    """N stays in a zone that ended within the last 15 min: whose, where, when, and the meters at both ends."""

    row: Array  # (N,)
    place: Array  # (N,)
    entered: Array  # (N,)
    left: Array  # (N,) oldest first
    base: Array  # (N, 3, S)
    end: Array  # (N, 3, S)


class Book(NamedTuple):
    """Memory of R rows, Z zones first and then persons; S substances, I inlets, B limits, K of them of peaks.

    What zones have is followed by a row for `OUT`. Times are monotonic s.
    """

    at: float  # the last step
    # of zones
    inlet: Array  # (2, I) the last sample: when, what
    quality: Array  # (I,) uint8 now; from `BLIND` on it sees nothing
    last: Array  # (3, Z + 1, S) the last sample, worst inlet: when, what, 1 if GOOD
    level: Array  # (Z + 1, S) what is there now; NaN where nobody sees
    sure: Array  # (Z + 1, S) bool: `level` is GOOD
    meter: Array  # (Z + 1, 3, S)
    short: Window  # (Z + 1, 3, S) how far the meters moved
    # of rows
    person: tuple[str, ...]  # (R - Z,) "" where a row is free
    place: Array  # (R,) the row's zone, or OUT
    visited: Array  # (R, Z) bool, in this account
    since: Array  # (R,) the account began
    entered: Array  # (R,) the place, or the account if that was later
    left: Array  # (R,) NaN while in
    base: Array  # (R, 3, S) the meters of the place at `entered`
    sums: Array  # (R, 4, S) of the account, up to `entered`
    stays: Stays
    most: Array  # (R, 2, S) the highest 15-min mean and the highest value, NaN before any
    most_at: Array  # (R, 2, S)
    peaks: Array  # (R, K) excursions
    begun: Array  # (R, K) of the excursion that is on, NaN if none
    ended: Array  # (R, K) of the last one, NaN if none
    broken: Array  # (R, K) bool: the rule of excursions was broken
    active: Array  # (R, B) bool: limit exceeded, and told
    # of all
    shift: Shift | None
    doubted: bool  # it was told that the wall clock is not trusted
    open: dict[str, Alarm]  # by `rule@channel`


# what each row has: its shape, and what a new row begins with
ROWS: Mapping[str, tuple[str, Any]] = {
    "place": ("", OUT),
    "visited": ("Z", False),
    "since": ("", np.nan),
    "entered": ("", np.nan),
    "left": ("", np.nan),
    "base": ("3S", 0.0),
    "sums": ("4S", 0.0),
    "most": ("2S", np.nan),
    "most_at": ("2S", np.nan),
    "peaks": ("K", 0),
    "begun": ("K", np.nan),
    "ended": ("K", np.nan),
    "broken": ("K", False),
    "active": ("B", False),
}
TIMES = ("at", "since", "entered", "left", "most_at", "begun", "ended")


def moved(book: Book, seconds: float) -> Book:
    """The same book on a clock that stands `seconds` later."""
    fields = {name: getattr(book, name) + seconds for name in TIMES}
    for name in ("inlet", "last"):
        fields[name] = getattr(book, name).copy()
        fields[name][0] += seconds
    stays = book.stays._replace(entered=book.stays.entered + seconds, left=book.stays.left + seconds)
    shift = book.shift
    if shift is not None:
        shift = shift._replace(border=shift.border + seconds)
    return book._replace(**fields, short=later(book.short, seconds), stays=stays, shift=shift)


class Page(NamedTuple):
    """What one step of the book tells."""

    alarms: tuple[Alarm, ...] = ()
    events: tuple[Told, ...] = ()


class Ledger:
    """The fixed side of the book: zones, substances, limits, and where their columns stand."""

    def __init__(self, air: Air, columns: Mapping[str, tuple[str, int]], language: words.Language = "en") -> None:
        self.air, self.language = air, language
        self.Z, self.S = len(air.zones), len(air.substances)
        self.zone = np.array([inlet.zone for inlet in air.inlets], int)
        self.substance = np.array([inlet.substance for inlet in air.inlets], int)
        self.factor = np.array([inlet.factor for inlet in air.inlets])
        self.itself = np.eye(self.Z + 1, self.Z, dtype=bool)  # a zone among zones; OUT is none
        self.watched = self._cells(np.ones(len(air.inlets), bool))  # what is watched where
        found: dict[str, list[tuple[int, int]]] = {}
        for i, inlet in enumerate(air.inlets):
            source, column = columns[inlet.channel]
            found.setdefault(source, []).append((i, column))
        self.sources = {source: np.array(row).T for source, row in found.items()}  # (2, k) inlets, columns
        self.cells = {source: self._cells(inlets) for source, (inlets, _) in self.sources.items()}
        self.limits = [(s, limit) for s, one in enumerate(air.substances) for limit in one.limits]
        self.limit = np.array([limit.value for _, limit in self.limits])
        self.subject = np.array([s for s, _ in self.limits], int)  # (B,) substances
        peaks = [b for b, (_, limit) in enumerate(self.limits) if limit.metric == "peak"]
        self.nth = {b: k for k, b in enumerate(peaks)}
        self.of = self.subject[peaks]  # (K,) substances
        rules = [(p.value, p.times, p.apart, p.lasts) for p in (self.limits[b][1] for b in peaks)]
        self.rules = np.array(rules).reshape(-1, 4).T  # (4, K)
        self.least = np.full((3, self.S), np.inf)  # the lowest limit of a mean, of 15 min, of a value
        for s, limit in self.limits:
            m = METRICS.index("stel" if limit.metric == "peak" else limit.metric)
            self.least[m, s] = min(self.least[m, s], limit.value)
        # Metrics stand side by side in a row: S means of the account, S of 15 min, S values, K peaks.
        self.column = np.array([METRICS.index(limit.metric) * self.S + s for s, limit in self.limits], int)
        self.column[peaks] = 3 * self.S + np.arange(len(peaks))

    def _cells(self, inlets: Array) -> Array:
        """(Z + 1, S) bool: the substances of zones that one of these inlets (I,) watches."""
        cells = np.zeros((self.Z + 1, self.S), bool)
        cells[self.zone[inlets], self.substance[inlets]] = True
        return cells

    def start(self, now: float) -> Book:
        """The book before anything was seen: every zone has its account."""
        z, s = self.Z, self.S
        size = {"Z": z, "S": s, "K": len(self.nth), "B": len(self.limits), "2": 2, "3": 3, "4": 4}
        rows = {name: np.full((z, *(size[axis] for axis in shape)), blank) for name, (shape, blank) in ROWS.items()}
        rows |= {"place": np.arange(z), "visited": self.itself[:z]}
        rows["since"] = rows["entered"] = np.full(z, now)
        none, nothing = np.zeros(0), np.zeros((0, 3, s))
        return Book(
            at=now,
            inlet=np.full((2, len(self.air.inlets)), np.nan),
            quality=np.full(len(self.air.inlets), Quality.OFFLINE, np.uint8),
            last=np.stack([np.full((z + 1, s), np.nan)] * 2 + [np.zeros((z + 1, s))]),
            level=np.full((z + 1, s), np.nan),
            sure=np.zeros((z + 1, s), bool),
            meter=np.zeros((z + 1, 3, s)),
            short=window((z + 1, 3, s)),
            person=(),
            **rows,
            stays=Stays(none.astype(int), none.astype(int), none, none, nothing, nothing),
            shift=None,
            doubted=False,
            open={},
        )

    def refusal(self, book: Book, presence: Presence) -> str:
        """Why a person cannot be there, in words; empty where it may be noted."""
        if not ID.match(presence.person):
            return f"{presence.person!r} is no id of a person; letters, digits, . _ - and at most 64 of them"
        if presence.zone is not None and presence.zone not in self.air.zones:
            return f"no zone is called {presence.zone}; zones: {', '.join(self.air.zones)}"
        if presence.person in book.person:
            return ""
        if presence.zone is None:
            return f"{presence.person} is in no zone"
        if (book.place[self.Z :] != OUT).sum() >= PERSONS:
            return f"{PERSONS} persons are in; no more can be followed"
        return ""

    def whereabouts(self, book: Book) -> dict[str, str]:
        """Who is in which zone."""
        places = book.place[self.Z :].tolist()
        return {p: self.air.zones[place] for p, place in zip(book.person, places, strict=True) if place != OUT}

    def knows(self, book: Book, alarm: Alarm) -> bool:
        """Whether this very alarm stands in the book."""
        mine = book.open.get(_key(alarm.rule, alarm.channel))
        return mine is not None and mine.id == alarm.id

    def adopted(self, book: Book, open: Iterable[Alarm], boot: str) -> tuple[Book, list[Alarm]]:
        """A book, perhaps of before `boot`, after what the store says is `open`; and what of this it does not know.

        The store knows better: edges that the book missed are taken over, what was closed since is closed.
        """
        known = {key: alarm for key, alarm in book.open.items() if alarm.id.rpartition("-")[0] == boot}
        strange = []
        for alarm in open:
            key = _key(alarm.rule, alarm.channel)
            if self.knows(book, alarm):
                known[key] = max(alarm, book.open[key], key=lambda one: one.edge)
            else:
                strange.append(alarm)
        active = book.active.copy()
        for row, b in np.argwhere(active).tolist():
            s, limit = self.limits[b]
            mine = known.get(_key(limit.rule, self._channel(book, row, s)))
            active[row, b] = mine is not None and is_active(STATE_NAMES.index(mine.state))
        return book._replace(open=known, active=active), strange

    # -- one step ---------------------------------------------------------------------------------

    def step(
        self,
        book: Book,
        at: Instant,
        frames: Iterable[Frame],
        presence: Presence | None,
        boot: str,
        serial: int,
    ) -> tuple[Book, Page]:
        """The book at `at` with what was measured, and where somebody went; alarms raised get ids after `serial`.

        Judged is whoever that is about: those in the zones of the frames, the person; at a mere tick everybody.
        """
        frames = [frame for frame in frames if frame.source in self.sources]
        book, records = self._shift(book, at)
        book = self._at(book, at.mono)
        book, days = self._ended(book, at)
        records += days
        rows: Any = slice(None)
        if frames:
            for frame in frames:
                book = self._sampled(book, frame)
            about = np.any([self.cells[frame.source] for frame in frames], axis=(0, 2))  # (Z + 1,)
            rows = np.flatnonzero(about[book.place])
        if presence is not None and not self.refusal(book, presence):
            book, row, more = self._walked(book, presence)
            records += more
            rows = slice(row, row + 1)
        book, alarms = self._judged(book, rows, at, boot, serial)
        return book, Page(tuple(alarms), tuple(records))

    def acked(self, book: Book, id: str, by: str, at: Instant) -> tuple[Book, Page]:
        """The book after a person has seen alarm `id`."""
        for key, alarm in book.open.items():
            state = STATE_NAMES.index(alarm.state)
            new = State(int(NEXT[PLAIN, state, Event.ACK]))
            if alarm.id == id and new != state:
                text = words.sentence(words.MOVED, self.language, "acknowledged", channel=alarm.channel, by=by)
                edge = structs.replace(alarm, edge=alarm.edge + 1, event=EVENT_NAMES[Event.ACK], at=at, by=by)
                edge = structs.replace(edge, state=STATE_NAMES[new], text=text)
                return book._replace(open=_kept(dict(book.open), key, edge)), Page((edge,))
        return book, Page()

    def folded(self, book: Book, page: Page, folds: Mapping[str, str]) -> tuple[Book, Page]:
        """What was raised, with the alarm under which each is shown; `folds` by id, "" for itself."""
        alarms = tuple(structs.replace(a, fold=folds.get(a.id, a.fold)) for a in page.alarms)
        shown = {_key(a.rule, a.channel): a for a in alarms if a.id in folds}
        return book._replace(open=book.open | shown), page._replace(alarms=alarms)

    # -- time -------------------------------------------------------------------------------------

    def _at(self, book: Book, now: float) -> Book:
        """The book at `now`, or as late as it is: windows roll, and stays that they no longer reach are forgotten."""
        stays = book.stays
        if stays.left.size and stays.left[0] <= now - SHORT:
            stays = Stays(*(column[stays.left > now - SHORT] for column in stays))
        return book._replace(at=max(book.at, now), short=rolled(book.short, SHORT, now), stays=stays)

    def _shift(self, book: Book, at: Instant) -> tuple[Book, list[Told]]:
        """The shift that is on now; where one ended, its records."""
        shift, now, zones = book.shift, max(at.mono, book.at), np.arange(self.Z)
        if shift is None and not at.synced:
            told = [] if book.doubted else [Told("shift-unknown", ZONE, at, words.NO_SHIFT[self.language])]
            return book._replace(doubted=True), told
        ahead = at.mono - at.wall if shift is None or at.synced else shift.border - shift.end
        wall = at.mono - ahead
        begin, end = self.air.shifts.around(wall)
        new = Shift(begin, end, end + ahead)
        if shift is None:
            if book.since[0] < begin + ahead:  # who knows when of it what was measured
                book = self._anew(self._settled(self._at(book, now), zones, now), zones, now)
            return book._replace(shift=new), []
        shift = shift._replace(border=shift.end + ahead)
        if begin == shift.begin or (begin < shift.begin and wall > shift.begin - BACK):
            return book._replace(shift=shift), []
        cut = float(np.clip(shift.border if begin > shift.begin else now, book.at, now))
        book = self._settled(self._at(book, cut), zones, cut)
        records = self._records(book, zones, cut, at, shift)
        fresh = float(np.clip(begin + ahead, cut, now))  # later than the cut if the agent slept through a whole shift
        return self._anew(self._settled(book, zones, fresh), zones, fresh)._replace(shift=new), records

    def _ended(self, book: Book, at: Instant) -> tuple[Book, list[Told]]:
        """Persons who have been home for long are forgotten; an account that lasted a day is told and begins anew."""
        now = book.at
        home = now - book.left >= REST  # NaN is not
        if home.any():
            person = tuple("" if gone else p for p, gone in zip(book.person, home[self.Z :], strict=True))
            book = book._replace(person=person, left=np.where(home, np.nan, book.left))
        long = np.flatnonzero((now - book.since >= DAY) & (book.place != OUT))
        long = long[long >= self.Z]
        if not long.size:
            return book, []
        book = self._settled(book, long, now)
        return self._anew(book, long, now), self._records(book, long, now, at, None)

    def _anew(self, book: Book, rows: Array, now: float) -> Book:
        """The accounts of `rows`, which are settled, begin at `now`. What is rolling goes on, so do excursions."""
        on = ~np.isnan(book.begun[rows])
        new = {"since": now, "sums": 0.0, "most": np.nan, "most_at": np.nan, "peaks": on, "broken": False}
        return _put(book, rows, visited=self.itself[book.place[rows]], **new)

    # -- air --------------------------------------------------------------------------------------

    def _sampled(self, book: Book, frame: Frame) -> Book:
        """What one source measured: its inlets, the zones that they watch, and their meters."""
        inlets, columns = self.sources[frame.source]
        now, poll = frame.at.mono, frame.quality[columns]
        value = np.maximum(frame.value[columns] * self.factor[inlets], 0.0)  # NaN stays
        measured = np.isfinite(value) & (poll <= OVER_RANGE)
        missed = np.isnan(value) & (poll == UNCERTAIN)  # in this poll only: the last one stands
        inlet, quality = book.inlet.copy(), book.quality.copy()
        inlet[0, inlets[measured]], inlet[1, inlets[measured]] = now, value[measured]
        quality[inlets] = np.where(measured | missed, poll, np.maximum(poll, BLIND))
        # The cells of this source: what all their inlets say together.
        fresh = now - inlet[0] <= GAP  # NaN is not
        worst = np.full(book.level.shape, -np.inf)
        np.maximum.at(worst, (self.zone[fresh], self.substance[fresh]), inlet[1, fresh])
        mine, seen = self.cells[frame.source], self._cells(inlets[measured])
        watched = self._cells(quality < BLIND) & (worst >= 0)
        level = np.where(mine, np.where(watched, worst, np.nan), book.level)
        sure = np.where(mine, watched & ~self._cells(fresh & (quality != Quality.GOOD)), book.sure)
        # Their meters, by a trapezoid.
        when, what, good = book.last
        seconds = np.where(seen & (now - when <= GAP), np.maximum(now - when, 0.0), 0.0)
        bridged = seconds > 0
        begin, end = np.where(bridged, what, 0.0), np.where(bridged, worst, 0.0)
        sound = good * (seen & sure)
        amount = np.stack([(begin + end) / 2 * seconds, seconds, sound * seconds], 1)
        # Who came, or whose account began, within it is not charged for what was before.
        base = book.base
        late = np.flatnonzero(book.entered > when[bridged].min(initial=np.inf))
        if late.size:
            place, base = book.place[late], base.copy()
            before = np.clip(book.entered[late, None] - when[place], 0.0, seconds[place])
            before = np.where(bridged[place], before, 0.0)
            slope = (end - begin)[place] / np.where(bridged, seconds, 1.0)[place]
            base[late] += np.stack([(begin[place] + slope * before / 2) * before, before, sound[place] * before], 1)
        last = book.last.copy()
        last[0, seen], last[1, seen], last[2, seen] = np.fmax(when, now)[seen], worst[seen], sure[seen]
        short = added(book.short, SHORT, now, amount, seconds[:, None])
        return book._replace(
            inlet=inlet,
            quality=quality,
            last=last,
            level=level,
            sure=sure,
            meter=book.meter + amount,
            short=short,
            base=base,
        )

    def _settled(self, book: Book, rows: Array, now: float) -> Book:
        """The accounts of `rows` cut at `now`: the last value holds until there, if it is not too old."""
        place, entered = book.place[rows], book.entered[rows]
        when, what, good = book.last[:, place]
        held = np.where(now - when <= GAP, np.maximum(now - np.maximum(when, entered[:, None]), 0.0), 0.0)
        end = book.meter[place] + np.stack([np.where(held > 0, what, 0.0) * held, held, good * held], 1)
        present = self.watched[place] * (now - entered)[:, None]
        sums = book.sums[rows] + np.concatenate([np.maximum(end - book.base[rows], 0.0), present[:, None]], 1)
        stay = Stays(rows, place, entered, np.full(len(rows), now), book.base[rows], end)
        stays = Stays(*(np.concatenate([old, new]) for old, new in zip(book.stays, stay, strict=True)))
        book = _put(book._replace(stays=stays), rows, sums=sums, base=book.meter[place], entered=now)
        _, short, span = self._read(book, rows, now)
        return _higher(book, rows, now, mean(short, span)[0], np.full_like(short[:, 0], np.nan))

    def _read(self, book: Book, rows: Any, now: float) -> tuple[Array, Array, float]:
        """(r, 4, S) what the accounts of `rows` have come to, and what came in the last 15 min; and the s of these."""
        place, base, span = book.place[rows], book.base[rows], reach(book.short, SHORT, now)
        meter, before = book.meter, book.meter - book.short.total  # now, and when the window began
        # What may still be bridged is neither known nor lost: between two samples no mean grows.
        entered = book.entered[rows, None]
        open_ = now - np.maximum(book.last[0, place], entered)
        stay = np.where(self.watched[place], now - entered - np.where(open_ <= GAP, open_, 0.0), 0.0)[:, None]
        account = book.sums[rows] + np.concatenate([np.maximum(meter[place] - base, 0.0), stay], 1)
        recent = np.maximum(meter[place] - np.maximum(base, before[place]), 0.0)
        short = np.concatenate([recent, np.minimum(stay, span)], 1)
        stays = book.stays
        if stays.row.size:
            within = np.clip(stays.left - np.maximum(stays.entered, now - span), 0.0, None)
            part = np.maximum(stays.end - np.maximum(stays.base, before[stays.place]), 0.0)
            part = np.concatenate([part, (self.watched[stays.place] * within[:, None])[:, None]], 1)
            index = np.full(len(book.place), -1)
            index[rows] = np.arange(len(place))
            mine = index[stays.row] >= 0
            np.add.at(short, index[stays.row[mine]], part[mine])
        return account, short, span

    # -- persons ----------------------------------------------------------------------------------

    def _walked(self, book: Book, presence: Presence) -> tuple[Book, int, list[Told]]:
        """A person, whose row is told, goes somewhere; who leaves gets a record of the account so far."""
        now, zone = max(presence.at.mono, book.at), presence.zone
        if presence.person not in book.person:
            book = self._with(book, presence.person, now)
        row = self.Z + book.person.index(presence.person)
        to = OUT if zone is None else self.air.zones.index(zone)
        if to == book.place[row]:
            return book, row, []
        rows = np.array([row])
        if book.place[row] != OUT:
            book = self._settled(book, rows, now)
        records = self._records(book, rows, now, presence.at, None) if to == OUT else []
        left, visited = now if to == OUT else np.nan, book.visited[row] | self.itself[to]
        book = _put(book, row, place=to, entered=now, left=left, base=book.meter[to], visited=visited)
        return book, row, records

    def _with(self, book: Book, person: str, now: float) -> Book:
        """The book with a row for a person who is nowhere yet. Whoever has been out for longest may make room."""
        names = list(book.person)
        if "" not in names and len(names) < PERSONS:
            names.append("")
        k = names.index("") if "" in names else int(np.nanargmin(book.left[self.Z :]))
        names[k], row = person, self.Z + k
        fields: dict[str, Any] = {}
        for name, (_, blank) in ROWS.items():
            column = getattr(book, name)
            more = np.full((max(row + 1 - len(column), 0), *column.shape[1:]), blank, column.dtype)
            fields[name] = np.concatenate([column, more])
            fields[name][row] = blank
        fields["since"][row] = fields["entered"][row] = now
        stays = Stays(*(column[book.stays.row != row] for column in book.stays))
        return book._replace(**fields, person=tuple(names), stays=stays)

    # -- judgement --------------------------------------------------------------------------------

    def _judged(self, book: Book, rows: Any, at: Instant, boot: str, serial: int) -> tuple[Book, list[Alarm]]:
        """Rows against every limit at once; what changed is told."""
        now, place = book.at, book.place[rows]
        account, short, span = self._read(book, rows, now)
        inside, here, index = (place != OUT)[:, None], self.watched[place], np.arange(len(book.place))[rows]
        twa, twa_sure = mean(account, EIGHT_HOURS, here)
        if book.shift is None:
            twa[index < self.Z] = np.nan
        stel, stel_sure = mean(short, span, here)
        level, level_sure = np.where(here, book.level[place], 0.0), book.sure[place] | ~here
        book = _higher(book, rows, now, np.where(here, stel, np.nan), np.where(here, level, np.nan))
        active = book.active[rows]
        over = any((value >= least).any() for value, least in zip((twa, stel, level), self.least, strict=True))
        if not (over or active.any() or np.isfinite(book.begun[rows]).any()):
            return book, []  # most steps end here
        book, too_much = self._excursions(book, rows, stel[:, self.of], stel_sure[:, self.of], now)
        metric = np.concatenate([twa, stel, level, stel[:, self.of] * too_much], 1)[:, self.column]  # (r, B)
        sure = np.concatenate([twa_sure, stel_sure, level_sure, stel_sure[:, self.of]], 1)[:, self.column]
        sure &= level_sure[:, self.subject]
        raised = (metric >= self.limit) & ~active & inside
        changed = raised | (active & (~inside | ((metric < self.limit) & sure)))
        if not changed.any():
            return book, []
        alarms, known = [], dict(book.open)
        for i, b in np.argwhere(changed).tolist():
            row, (s, limit), value = int(index[i]), self.limits[b], float(metric[i, b])
            key = _key(limit.rule, self._channel(book, row, s))
            if raised[i, b]:
                serial += 1
                alarm = self._raised(book, row, b, value, at, f"{boot}-{serial}")
            elif key in known:
                alarm = self._cleared(book, row, b, value, at, known[key])
            else:
                continue
            alarms.append(alarm)
            _kept(known, key, alarm)
        return _put(book._replace(open=known), rows, active=active ^ changed), alarms

    def _excursions(self, book: Book, rows: Any, stel: Array, sure: Array, now: float) -> tuple[Book, Array]:
        """Count how often the 15-min mean (r, K) went over a peak limit; and whether it now does so once too often,
        too soon or for too long."""
        if not self.nth:
            return book, np.zeros_like(sure)
        limit, times, apart, lasts = self.rules
        begun, ended, on = book.begun[rows].copy(), book.ended[rows].copy(), ~np.isnan(book.begun[rows])
        over = stel >= limit
        begins, ends = over & ~on, on & (stel < limit) & sure
        peaks = book.peaks[rows] + begins
        ended[ends], begun[ends], begun[begins] = now, np.nan, now
        too_much = over & ((peaks > times) | (begun - ended < apart) | (now - begun > lasts))
        if (begins | ends | too_much).any():
            broken = book.broken[rows] | too_much
            book = _put(book, rows, begun=begun, ended=ended, peaks=peaks, broken=broken)
        return book, too_much

    # -- words ------------------------------------------------------------------------------------

    def _channel(self, book: Book, row: int, s: int) -> str:
        who = f"{ZONE}/{self.air.zones[row]}" if row < self.Z else f"{PERSON}/{book.person[row - self.Z]}"
        return f"{who}.{self.air.substances[s].name.replace('/', '.')}"

    def _who(self, book: Book, row: int) -> str:
        if row < self.Z:
            return words.WHO[self.language][ZONE].format(zone=self.air.zones[row])
        kind, place = ("out", 0) if book.place[row] == OUT else (PERSON, int(book.place[row]))
        return words.WHO[self.language][kind].format(person=book.person[row - self.Z], zone=self.air.zones[place])

    def _text(self, kind: str, book: Book, row: int, s: int, value: float, limit: float | None, **more: str) -> str:
        return words.sentence(
            words.BREATHED,
            self.language,
            kind,
            who=self._who(book, row),
            substance=words.substance(self.language, self.air.substances[s].name),
            value=words.number(value),
            limit=words.number(limit),
            unit=self.air.substances[s].unit,
            **more,
        )

    def _raised(self, book: Book, row: int, b: int, value: float, at: Instant, id: str) -> Alarm:
        s, limit = self.limits[b]
        basis = f"{limit.basis.standard} {limit.basis.clause}".strip()
        count = str(book.peaks[row, self.nth[b]]) if b in self.nth else ""
        return Alarm(
            id=id,
            edge=1,
            event=EVENT_NAMES[Event.RAISE],
            state=STATE_NAMES[State.ACTIVE],
            rule=limit.rule,
            channel=self._channel(book, row, s),
            level=limit.level,
            value=value,
            limit=limit.value,
            unit=self.air.substances[s].unit,
            since=at,
            at=at,
            text=self._text(limit.metric, book, row, s, value, limit.value, basis=basis, count=count),
            basis=limit.basis,
            advice=words.advice(self.language, self.air.substances[s].advice),
        )

    def _cleared(self, book: Book, row: int, b: int, value: float, at: Instant, last: Alarm) -> Alarm:
        s, limit = self.limits[b]
        kind = "cleared" if self.watched[book.place[row], s] else "left"
        return structs.replace(
            last,
            edge=last.edge + 1,
            event=EVENT_NAMES[Event.CLEAR],
            state=STATE_NAMES[NEXT[PLAIN, STATE_NAMES.index(last.state), Event.CLEAR]],
            value=None if np.isnan(value) else value,
            since=at,
            at=at,
            text=self._text(kind, book, row, s, value, limit.value),
            by="",
        )

    def _records(self, book: Book, rows: Array, end: float, at: Instant, shift: Shift | None) -> list[Told]:
        """The exposure record of each row, settled, and substance up to monotonic `end`; `shift`: of zones, the one
        that ends."""
        return [
            self._record(book, row, s, end, at, shift)
            for row in rows.tolist()
            for s in range(self.S)
            if book.sums[row, PRESENT, s] > 0
        ]

    def _record(self, book: Book, row: int, s: int, end: float, at: Instant, shift: Shift | None) -> Told:
        dose, known, good, present = book.sums[row, :, s].tolist()
        if shift is not None:  # what the agent did not see of the shift was not covered either
            present = max(present, shift.end - shift.begin)
        substance = self.air.substances[s]
        twa = dose / known * present / EIGHT_HOURS if known else np.nan
        share = min(good / present, 1.0)
        stel, peak = book.most[row, :, s].tolist()
        stel_at, peak_at = book.most_at[row, :, s].tolist()
        metric = {"twa": twa, "stel": stel, "mac": peak}
        limits = [(limit, self.nth.get(b)) for b, (of, limit) in enumerate(self.limits) if of == s]
        verdicts = [
            {
                "rule": limit.rule,
                "limit": limit.value,
                "level": limit.level,
                "basis": " ".join(filter(None, (limit.basis.standard, limit.basis.clause, limit.basis.edition))),
                "verify": limit.basis.verify,
                "exceeded": metric[limit.metric] >= limit.value if k is None else bool(book.broken[row, k]),
            }
            for limit, k in limits
        ]
        facts = {
            "zones": [self.air.zones[z] for z in np.flatnonzero(book.visited[row])],
            "substance": substance.name,
            "unit": substance.unit,
            "begin": round(shift.begin if shift is not None else _wall(float(book.since[row]), at), 3),
            "end": round(shift.end if shift is not None else _wall(end, at), 3),
            "hours": round(present / 3600, 4),
            "twa": _rounded(twa),
            "stel": _rounded(stel),
            "stel_at": _rounded(_wall(stel_at, at), 13),
            "peak": _rounded(peak),
            "peak_at": _rounded(_wall(peak_at, at), 13),
            "excursions": sum(int(book.peaks[row, k]) for _, k in limits if k is not None),
            "coverage": round(100 * share, 1),
            "sufficient": share >= COVERED,
            "limits": verdicts,
        }
        if row >= self.Z:
            facts["person"] = book.person[row - self.Z]
        shown = next((limit.value for limit, _ in limits if limit.metric == "twa"), None)
        more = {"stel": words.number(stel), "peak": words.number(peak), "coverage": words.number(round(100 * share))}
        doubt = "" if share >= COVERED else words.INSUFFICIENT[self.language]
        text = self._text("record", book, row, s, twa, shown, doubt=doubt, **more)
        return Told("exposure-record", self._channel(book, row, s), at, text, facts)


def mean(sums: Array, span: float, watched: Array | bool = True) -> tuple[Array, Array]:
    """Mean over `span` s of what accounts (r, 4, S) tell; and whether enough of the time is known to be good.

    What is not known counts as the mean of what is. NaN where nothing is; 0 where it is not even watched.

    >>> mean(np.array([[[90.0], [60.0], [60.0], [120.0]]]), 240.0)
    (array([[0.75]]), array([[False]]))
    """
    dose, known, good, present = (sums[:, column] for column in range(4))
    some = known > 1e-3  # s; less is the rounding of meters that ran for years
    value = dose / np.where(some, known, 1.0) * present / span
    return np.where(some, value, np.where(watched, np.nan, 0.0)), good >= COVERED * present


def _higher(book: Book, rows: Any, now: float, stel: Array, level: Array) -> Book:
    """The book with the highest mean and the highest value of `rows`, where these are higher."""
    new, most = np.stack([stel, level], 1), book.most[rows]
    higher = (new > most) | (np.isnan(most) & ~np.isnan(new))
    if not higher.any():
        return book
    return _put(book, rows, most=np.where(higher, new, most), most_at=np.where(higher, now, book.most_at[rows]))


def _put(book: Book, rows: Any, **values: Any) -> Book:
    """The book with these values in these rows."""
    fields = {name: getattr(book, name).copy() for name in values}
    for name, value in values.items():
        fields[name][rows] = value
    return book._replace(**fields)


def _kept(known: dict[str, Alarm], key: str, alarm: Alarm) -> dict[str, Alarm]:
    """`known` itself, with the last edge of one alarm."""
    if alarm.state == STATE_NAMES[State.NORMAL]:
        known.pop(key, None)
    else:
        known[key] = alarm
    return known


def _key(rule: str, channel: str) -> str:
    return f"{rule}@{channel}"


def _wall(mono: float, at: Instant) -> float:
    return at.wall - (at.mono - mono)


def _rounded(value: float, digits: int = 6) -> float | None:
    return None if np.isnan(value) else float(f"{value:.{digits}g}")
