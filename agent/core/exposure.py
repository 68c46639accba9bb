"""What people breathe: a book of accounts, one for each zone and each person, over shifts and over 15 minutes.

A *zone* is a place with one air. Each zone has an account that never leaves it; each person has one that is where the
person is. Both are rows of the same table, and for each substance of the zone a row gathers three sums:

    dose      concentration x time, by trapezoids between good samples that lie at most `GAP` apart
    covered   s for which there was such a trapezoid
    present   s that the row was in a zone where the substance is watched

What was not covered counts as the mean of what was; below `COVERED` a mean may raise an alarm and clears none, and
the record says that the data does not suffice. Where an account is cut inside an interval (a shift ends, a person
walks on), the last value holds until the cut and the next trapezoid begins at it.

    metric  of a row and a substance                                                    judged
    twa     dose of the account / 8 h, extrapolated over what was not covered           as it grows
    stel    mean of the last 15 min                                                     at every sample, each second
    mac     the value itself, worst sensor of the zone, no averaging                    at every sample
    peak    the 15-min mean, in an excursion that is one too many, too soon or too long as above

The account of a zone is that of the site's shift. Its borders are those of the wall clock at the last trusted instant,
and are reckoned from there by the monotonic one. While no instant was trusted yet there are no shifts, and no TWA of
zones: rolling means (the detector `exposure`) go on. The account of a person runs from the first entry until the
person has been out for `REST`, at most `DAY`; so a shift of their own that crosses a border counts as one, and
persons need no wall clock. Away from the zones nobody breathes anything.

Persons are ids, nothing else. Where they are is known here, in the recording and in the journal of decisions; what
platforms hear of a person is alarms and records.
Source: GBZ 2.1-2019, TWA = sum(c t) / 8 h, rolling 15 min, MAC; gaps, coverage, rest and day: project.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from msgspec import Struct, structs

from . import words
from .alarm import EVENT_NAMES, NEXT, PLAIN, STATE_NAMES, Alarm, Basis, Event, Level, State
from .frame import Array, Frame, Instant, Quality
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
DOSE, SPAN, PRESENT = range(3)  # rows of the sums
Metric = Literal["twa", "stel", "mac", "peak"]
METRICS: tuple[Metric, ...] = ("twa", "stel", "mac", "peak")


# -- a rolling sum ------------------------------------------------------------------------------------


class Window(NamedTuple):
    """A rolling sum of arrays of one shape in `BINS` bins."""

    number: int  # of the newest bin, counted from monotonic time 0
    bins: tuple[Array, ...]  # oldest first
    total: Array


def window(shape: tuple[int, ...]) -> Window:
    """An empty one."""
    empty = np.zeros(shape)
    return Window(0, (empty,) * BINS, empty)


def added(rolling: Window, span: float, now: float, amount: Array) -> Window:
    """The window over `span` s at monotonic `now`, with `amount` in its newest bin."""
    number, bins, total = int(now * BINS // span), rolling.bins, rolling.total
    fresh = min(max(number - rolling.number, 0), BINS)
    if fresh:
        bins = bins[fresh:] + (np.zeros_like(total),) * fresh
        total = np.zeros_like(total)
        for one in bins:  # anew, for differences would gather rounding errors
            total += one
    return Window(max(number, rolling.number), (*bins[:-1], bins[-1] + amount), total + amount)


def reach(rolling: Window, span: float, now: float) -> float:
    """s that the window covers now: all its bins but the part of the newest that is to come."""
    width = span / BINS
    return width * (BINS - 1) + float(np.clip(now - rolling.number * width, 0.0, width))


def later(rolling: Window, span: float, seconds: float) -> Window:
    """The same window on a clock that stands `seconds` later, to the nearest bin."""
    return rolling._replace(number=rolling.number + round(seconds * BINS / span))


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


class Book(NamedTuple):
    """Memory of R rows, Z zones first and then persons, S substances, I inlets, B limits. Times are monotonic s."""

    at: float  # up to here `present` is counted
    person: tuple[str, ...]  # (R - Z,)
    place: Array  # (R,) the row's zone, -1 out
    visited: Array  # (R, Z) bool, in this account
    since: Array  # (R,) the account began
    entered: Array  # (R,) there since then; no dose is counted from before
    left: Array  # (R,) NaN while in
    told: Array  # (R,) bool: the record is out, and nothing came since
    inlet: Array  # (2, I) the last good sample: when, what
    last: Array  # (2, Z, S) the same of the zone, worst inlet
    level: Array  # (Z, S) what is there now; NaN where nobody sees
    sure: Array  # (Z, S) bool: `level` is GOOD
    sums: Array  # (3, R, S) of the account
    short: Window  # (3, R, S)
    most: Array  # (2, R, S) the highest 15-min mean and the highest value, NaN before any
    most_at: Array  # (2, R, S)
    peaks: Array  # (R, S) excursions
    soon: Array  # (R, S) bool: the last one came too soon
    broken: Array  # (R, S) bool: the rule of excursions was broken
    begun: Array  # (R, S) of the excursion that is on, NaN if none
    ended: Array  # (R, S) of the last one, NaN if none
    active: Array  # (B, R) bool: limit exceeded, and told
    shift: Shift | None
    doubted: bool  # it was told that the wall clock is not trusted
    open: dict[str, Alarm]  # by `rule@channel`


# what has a value for each row, by the axis of the rows, with what a new row begins with
ROWS: Mapping[str, tuple[int, Any]] = {
    "place": (0, -1),
    "visited": (0, False),
    "since": (0, np.nan),
    "entered": (0, np.nan),
    "left": (0, np.nan),
    "told": (0, True),
    "sums": (1, 0.0),
    "most": (1, np.nan),
    "most_at": (1, np.nan),
    "peaks": (0, 0),
    "soon": (0, False),
    "broken": (0, False),
    "begun": (0, np.nan),
    "ended": (0, np.nan),
    "active": (1, False),
}
TIMES = ("at", "since", "entered", "left", "most_at", "begun", "ended")


def moved(book: Book, seconds: float) -> Book:
    """The same book on a clock that stands `seconds` later."""
    fields = {name: getattr(book, name) + seconds for name in TIMES}
    for name in ("inlet", "last"):
        fields[name] = getattr(book, name).copy()
        fields[name][0] += seconds
    shift = book.shift
    if shift is not None:
        shift = shift._replace(border=shift.border + seconds)
    return book._replace(**fields, short=later(book.short, SHORT, seconds), shift=shift)


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
        self.watched = np.zeros((self.Z, self.S), bool)  # what is watched where
        self.watched[self.zone, self.substance] = True
        found: dict[str, list[tuple[int, int]]] = {}
        for i, inlet in enumerate(air.inlets):
            source, column = columns[inlet.channel]
            found.setdefault(source, []).append((i, column))
        self.sources = {source: np.array(row).T for source, row in found.items()}  # (2, k) inlets, columns
        self.limits = [(s, limit) for s, one in enumerate(air.substances) for limit in one.limits]
        self.of = np.array([s for s, _ in self.limits], int)  # (B,) substances
        self.metric = np.array([METRICS.index(limit.metric) for _, limit in self.limits], int)
        self.limit = np.array([limit.value for _, limit in self.limits])
        self.peaks = [(s, limit) for s, limit in self.limits if limit.metric == "peak"]

    def start(self, now: float) -> Book:
        """The book before anything was seen: every zone has its account."""
        r, z, s = self.Z, self.Z, self.S
        unknown = np.full((r, s), np.nan)
        return Book(
            at=now,
            person=(),
            place=np.arange(z),
            visited=np.eye(z, dtype=bool),
            since=np.full(r, now),
            entered=np.full(r, now),
            left=np.full(r, np.nan),
            told=np.zeros(r, bool),
            inlet=np.full((2, len(self.air.inlets)), np.nan),
            last=np.full((2, z, s), np.nan),
            level=np.full((z, s), np.nan),
            sure=np.zeros((z, s), bool),
            sums=np.zeros((3, r, s)),
            short=window((3, r, s)),
            most=np.full((2, r, s), np.nan),
            most_at=np.full((2, r, s), np.nan),
            peaks=np.zeros((r, s), int),
            soon=np.zeros((r, s), bool),
            broken=np.zeros((r, s), bool),
            begun=unknown,
            ended=unknown,
            active=np.zeros((len(self.limits), r), bool),
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
        if len(book.person) >= PERSONS and np.isnan(book.left[self.Z :]).all():
            return f"{PERSONS} persons are in; no more can be followed"
        return ""

    def knows(self, book: Book, alarm: Alarm) -> bool:
        """Whether this very alarm stands in the book."""
        mine = book.open.get(_key(alarm.rule, alarm.channel))
        return mine is not None and mine.id == alarm.id

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
        """The book at `at` with what was measured, and where somebody went; alarms raised get ids after `serial`."""
        book, events = self._shift(book, at)
        book = self._passed(book, at.mono)
        book, days = self._ended(book, at)
        for frame in frames:
            if frame.source in self.sources:
                book = self._sampled(book, frame)
        records: list[Told] = []
        if presence is not None and not self.refusal(book, presence):
            book, records = self._walked(book, presence)
        book, alarms = self._judged(book, at, boot, serial)
        return book, Page(tuple(alarms), (*events, *days, *records))

    def acked(self, book: Book, id: str, by: str, at: Instant) -> tuple[Book, Page]:
        """The book after a person has seen alarm `id`."""
        for key, alarm in book.open.items():
            state = STATE_NAMES.index(alarm.state)
            new = State(int(NEXT[PLAIN, state, Event.ACK]))
            if alarm.id == id and new != state:
                text = words.sentence(words.MOVED, self.language, "acknowledged", channel=alarm.channel, by=by)
                edge = structs.replace(alarm, edge=alarm.edge + 1, event=EVENT_NAMES[Event.ACK], at=at, by=by)
                edge = structs.replace(edge, state=STATE_NAMES[new], text=text)
                return book._replace(open=_kept(book.open, key, edge)), Page((edge,))
        return book, Page()

    def folded(self, book: Book, page: Page, folds: Mapping[str, str]) -> tuple[Book, Page]:
        """What was raised, with the alarm under which each is shown; `folds` by id, "" for itself."""
        alarms = tuple(structs.replace(a, fold=folds.get(a.id, a.fold)) for a in page.alarms)
        open_ = {key: structs.replace(a, fold=folds.get(a.id, a.fold)) for key, a in book.open.items()}
        return book._replace(open=open_), page._replace(alarms=alarms)

    # -- time -------------------------------------------------------------------------------------

    def _passed(self, book: Book, now: float) -> Book:
        """Time went by: everybody was where they are."""
        span = now - book.at
        if span <= 0:
            return book
        here = np.where((book.place >= 0)[:, None], self.watched[book.place], False)
        amount = np.zeros_like(book.sums)
        amount[PRESENT] = span * here
        short = added(book.short, SHORT, now, np.minimum(amount, SHORT))
        return book._replace(at=now, sums=book.sums + amount, short=short)

    def _held(self, book: Book, rows: Array, now: float) -> Book:
        """The accounts of `rows` cut at `now`: the last value holds until there, if it is not too old."""
        place = book.place[rows]
        when, what = book.last[:, place]
        begin = np.maximum(when, book.entered[rows, None])
        usable = (now - when <= GAP) & (begin < now) & (place >= 0)[:, None]  # NaN is not
        seconds = np.where(usable, now - begin, 0.0)
        amount = np.zeros_like(book.sums)
        amount[DOSE, rows] = np.where(usable, what, 0.0) * seconds
        amount[SPAN, rows] = seconds
        entered = book.entered.copy()
        entered[rows] = now
        return book._replace(entered=entered, sums=book.sums + amount, short=added(book.short, SHORT, now, amount))

    def _shift(self, book: Book, at: Instant) -> tuple[Book, list[Told]]:
        """The shift that is on now; where one ended, its records."""
        shift, zones = book.shift, np.arange(self.Z)
        if shift is None and not at.synced:
            told = [] if book.doubted else [Told("shift-unknown", ZONE, at, words.NO_SHIFT[self.language])]
            return book._replace(doubted=True), told
        ahead = at.mono - at.wall if shift is None or at.synced else shift.border - shift.end
        wall = at.mono - ahead
        begin, end = self.air.shifts.around(wall)
        if shift is None:
            if book.since[0] < begin + ahead:  # who knows when of it what was measured
                book = self._anew(book, zones, at.mono)
            return book._replace(shift=Shift(begin, end, end + ahead)), []
        shift = shift._replace(border=shift.end + ahead)
        if begin == shift.begin or (begin < shift.begin and wall > shift.begin - BACK):
            return book._replace(shift=shift), []
        cut = float(np.clip(shift.border if begin > shift.begin else at.mono, book.at, at.mono))
        book = self._held(self._passed(book, cut), zones, cut)
        records = self._records(book, zones, cut, at, shift)
        return self._anew(book, zones, cut)._replace(shift=Shift(begin, end, end + ahead)), records

    def _ended(self, book: Book, at: Instant) -> tuple[Book, list[Told]]:
        """Persons who are home are forgotten; an account that lasted a day is told and begins anew."""
        rows = np.arange(self.Z, len(book.place))
        records: list[Told] = []
        home = rows[at.mono - book.left[rows] >= REST]
        if home.size:
            book, rows = _without(book, home, self.Z), np.arange(self.Z, len(book.place) - home.size)
        long = rows[(at.mono - book.since[rows] >= DAY) & (book.place[rows] >= 0)]
        if long.size:
            book = self._held(book, long, at.mono)
            records = self._records(book, long, at.mono, at, None)
            book = self._anew(book, long, at.mono)
        return book, records

    def _anew(self, book: Book, rows: Array, now: float) -> Book:
        """The accounts of `rows` begin at `now`. What is rolling goes on."""
        fields = {}
        for name in ("since", "told", "visited", "sums", "most", "most_at", "peaks", "soon", "broken", "begun"):
            axis, blank = ROWS[name]
            column = fields[name] = getattr(book, name).copy()
            column[(slice(None),) * axis + (rows,)] = blank
        fields["since"][rows] = now
        fields["told"][rows] = False
        inside = rows[book.place[rows] >= 0]
        fields["visited"][inside, book.place[inside]] = True
        return book._replace(**fields)

    # -- air --------------------------------------------------------------------------------------

    def _sampled(self, book: Book, frame: Frame) -> Book:
        """What one source measured: its inlets, the zones that they watch, and everybody in them."""
        inlets, columns = self.sources[frame.source]
        now = frame.at.mono
        value, quality = frame.value[columns] * self.factor[inlets], frame.quality[columns]
        good = np.isfinite(value) & (quality <= Quality.OVER_RANGE)
        missed = np.isnan(value) & (quality == Quality.UNCERTAIN)  # in this poll only: the last one stands
        inlet = book.inlet.copy()
        inlet[0, inlets[good]], inlet[1, inlets[good]] = now, value[good]
        cells = (self.zone[inlets], self.substance[inlets])
        seen, blind = np.zeros((self.Z, self.S), bool), np.zeros((self.Z, self.S), bool)
        seen[cells[0][good], cells[1][good]] = True
        blind[cells[0][~good & ~missed], cells[1][~good & ~missed]] = True
        worst = np.full((self.Z, self.S), -np.inf)
        fresh = now - inlet[0] <= GAP
        np.maximum.at(worst, (self.zone[fresh], self.substance[fresh]), inlet[1, fresh])
        level = np.where(seen, worst, np.where(blind, np.nan, book.level))
        doubt = np.zeros((self.Z, self.S), bool)
        doubt[cells[0][quality != Quality.GOOD], cells[1][quality != Quality.GOOD]] = True
        sure = np.where(seen | doubt, seen & ~doubt, book.sure)
        book = book._replace(inlet=inlet, level=level, sure=sure)
        if not seen.any():
            return book
        rows = np.flatnonzero((book.place >= 0) & seen[book.place].any(1))
        place = book.place[rows]
        when, what = book.last[:, place]
        here, new = seen[place], worst[place]
        begin = np.maximum(when, book.entered[rows, None])
        usable = here & (now - when <= GAP) & (begin < now)
        span = np.where(usable, now - when, 1.0)
        new = np.where(here, new, 0.0)
        first = np.where(usable, what + (new - what) * (begin - when) / span, 0.0)
        seconds = np.where(usable, now - begin, 0.0)
        amount = np.zeros_like(book.sums)
        amount[DOSE, rows] = (first + new) / 2 * seconds
        amount[SPAN, rows] = seconds
        most, most_at = book.most.copy(), book.most_at.copy()
        higher = here & ~(new <= most[1, rows])
        most[1, rows] = np.where(higher, new, most[1, rows])
        most_at[1, rows] = np.where(higher, now, most_at[1, rows])
        last = book.last.copy()
        last[0][seen], last[1][seen] = now, worst[seen]
        short = added(book.short, SHORT, now, amount)
        return book._replace(last=last, sums=book.sums + amount, short=short, most=most, most_at=most_at)

    # -- persons ----------------------------------------------------------------------------------

    def _walked(self, book: Book, presence: Presence) -> tuple[Book, list[Told]]:
        """A person goes somewhere; who leaves gets a record of the account so far."""
        now, zone = presence.at.mono, presence.zone
        if presence.person not in book.person:
            if len(book.person) >= PERSONS:  # whoever has been out for longest makes room
                book = _without(book, np.array([self.Z + int(np.nanargmin(book.left[self.Z :]))]), self.Z)
            book = _with(book, presence.person, now)
        row = self.Z + book.person.index(presence.person)
        to = -1 if zone is None else self.air.zones.index(zone)
        if to == book.place[row]:
            return book, []
        rows = np.array([row])
        book = self._held(book, rows, now)
        place, left, told, visited = book.place.copy(), book.left.copy(), book.told.copy(), book.visited.copy()
        records = []
        if to < 0:
            records = self._records(book, rows, now, presence.at, None)
            left[row], told[row] = now, True
        else:
            left[row], told[row], visited[row, to] = np.nan, False, True
        place[row] = to
        return book._replace(place=place, left=left, told=told, visited=visited), records

    def whereabouts(self, book: Book) -> dict[str, str]:
        """Who is in which zone."""
        places = book.place[self.Z :].tolist()
        return {p: self.air.zones[place] for p, place in zip(book.person, places, strict=True) if place >= 0}

    # -- judgement --------------------------------------------------------------------------------

    def _judged(self, book: Book, at: Instant, boot: str, serial: int) -> tuple[Book, list[Alarm]]:
        """Every row against every limit at once; what changed is told."""
        now = at.mono
        inside = book.place >= 0
        twa, twa_sure = mean(book.sums, EIGHT_HOURS)
        if book.shift is None:
            twa[: self.Z] = np.nan
        short = book.short.total.copy()
        span = reach(book.short, SHORT, now)
        short[PRESENT] = np.minimum(short[PRESENT], span)
        stel, stel_sure = mean(short, span)
        level = np.where(inside[:, None], book.level[book.place], np.nan)
        sure = np.stack([twa_sure, stel_sure, book.sure[book.place], stel_sure])
        most, most_at = book.most.copy(), book.most_at.copy()
        higher = inside[:, None] & (stel > 0) & ~(stel <= most[0])
        most[0], most_at[0] = np.where(higher, stel, most[0]), np.where(higher, now, most_at[0])
        book = self._excursions(book._replace(most=most, most_at=most_at), stel, inside, now)
        peak = np.where(self._too_much(book, now), stel, np.minimum(stel, 0.0))
        metric = np.stack([twa, stel, level, peak])[self.metric, :, self.of]  # (B, R)
        over = metric >= self.limit[:, None]
        settled = (metric < self.limit[:, None]) & sure[self.metric, :, self.of]
        raised = over & ~book.active & inside
        cleared = book.active & (~inside | settled)
        changed = raised | cleared
        if not changed.any():
            return book, []
        alarms, open_ = [], dict(book.open)
        for b, row in np.argwhere(changed).tolist():
            value = float(metric[b, row])
            s, limit = self.limits[b]
            channel = self._channel(book, row, s)
            last = open_.get(_key(limit.rule, channel))
            if raised[b, row]:
                serial += 1
                alarm = self._raised(book, row, s, limit, value, at, f"{boot}-{serial}")
            elif last is not None:
                alarm = self._cleared(book, row, s, limit, value, at, last)
            else:
                continue
            alarms.append(alarm)
            open_ = _kept(open_, _key(limit.rule, channel), alarm)
        return book._replace(active=book.active ^ changed, open=open_), alarms

    def _excursions(self, book: Book, stel: Array, inside: Array, now: float) -> Book:
        """Count how often the 15-min mean went over a peak limit."""
        if not self.peaks:
            return book
        count, soon, broken = book.peaks.copy(), book.soon.copy(), book.broken.copy()
        begun, ended = book.begun.copy(), book.ended.copy()
        for s, limit in self.peaks:
            on = ~np.isnan(begun[:, s])
            over = inside & (stel[:, s] >= limit.value)
            begins, ends = over & ~on, on & (~inside | (stel[:, s] < limit.value))
            count[begins, s] += 1
            soon[:, s] = np.where(begins, now - ended[:, s] < limit.apart, soon[:, s])
            begun[begins, s], ended[ends, s], begun[ends, s] = now, now, np.nan
        book = book._replace(peaks=count, soon=soon, begun=begun, ended=ended)
        return book._replace(broken=broken | self._too_much(book, now))

    def _too_much(self, book: Book, now: float) -> Array:
        """(R, S) bool: the excursion that is on is one too many, came too soon or lasts too long."""
        found = np.zeros(book.peaks.shape, bool)
        for s, limit in self.peaks:
            on, many = ~np.isnan(book.begun[:, s]), book.peaks[:, s] > limit.times
            found[:, s] = on & (many | book.soon[:, s] | (now - book.begun[:, s] > limit.lasts))
        return found

    # -- words ------------------------------------------------------------------------------------

    def _channel(self, book: Book, row: int, s: int) -> str:
        who = f"{ZONE}/{self.air.zones[row]}" if row < self.Z else f"{PERSON}/{book.person[row - self.Z]}"
        return f"{who}.{self.air.substances[s].name.replace('/', '.')}"

    def _who(self, book: Book, row: int) -> str:
        if row < self.Z:
            return words.WHO[self.language][ZONE].format(zone=self.air.zones[row])
        place = int(book.place[row])
        kind = "out" if place < 0 else PERSON
        zone = self.air.zones[place] if place >= 0 else ""
        return words.WHO[self.language][kind].format(person=book.person[row - self.Z], zone=zone)

    def _facts(self, book: Book, row: int, s: int, limit: Limit, value: float) -> dict[str, str]:
        return {
            "who": self._who(book, row),
            "substance": words.substance(self.language, self.air.substances[s].name),
            "value": words.number(value),
            "limit": words.number(limit.value),
            "unit": self.air.substances[s].unit,
            "basis": f"{limit.basis.standard} {limit.basis.clause}".strip(),
            "count": str(int(book.peaks[row, s])),
        }

    def _raised(self, book: Book, row: int, s: int, limit: Limit, value: float, at: Instant, id: str) -> Alarm:
        facts = self._facts(book, row, s, limit, value)
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
            text=words.sentence(words.BREATHED, self.language, limit.metric, **facts),
            basis=limit.basis,
            advice=words.advice(self.language, self.air.substances[s].advice),
        )

    def _cleared(self, book: Book, row: int, s: int, limit: Limit, value: float, at: Instant, last: Alarm) -> Alarm:
        new = State(int(NEXT[PLAIN, STATE_NAMES.index(last.state), Event.CLEAR]))
        kind = "left" if book.place[row] < 0 else "cleared"
        return structs.replace(
            last,
            edge=last.edge + 1,
            event=EVENT_NAMES[Event.CLEAR],
            state=STATE_NAMES[new],
            value=None if np.isnan(value) else value,
            since=at,
            at=at,
            text=words.sentence(words.BREATHED, self.language, kind, **self._facts(book, row, s, limit, value)),
            by="",
        )

    def _records(self, book: Book, rows: Array, end: float, at: Instant, shift: Shift | None) -> list[Told]:
        """The exposure record of each row and substance up to monotonic `end`; `shift`: of zones, the one that ends."""
        return [
            self._record(book, row, s, end, at, shift)
            for row in rows.tolist()
            for s in range(self.S)
            if book.sums[PRESENT, row, s] > 0
        ]

    def _record(self, book: Book, row: int, s: int, end: float, at: Instant, shift: Shift | None) -> Told:
        dose, covered, present = book.sums[:, row, s].tolist()
        if shift is not None:  # what the agent did not see of the shift was not covered either
            present = max(present, shift.end - shift.begin)
        substance = self.air.substances[s]
        twa = dose / covered * present / EIGHT_HOURS if covered else np.nan
        share = min(covered / present, 1.0)
        stel, peak = book.most[:, row, s].tolist()
        metric = {"twa": twa, "stel": stel, "mac": peak, "peak": stel}
        verdicts = [
            {
                "rule": limit.rule,
                "limit": limit.value,
                "level": limit.level,
                "basis": " ".join(filter(None, (limit.basis.standard, limit.basis.clause, limit.basis.edition))),
                "verify": limit.basis.verify,
                "exceeded": bool(
                    book.broken[row, s] if limit.metric == "peak" else metric[limit.metric] >= limit.value
                ),
            }
            for limit in substance.limits
        ]
        zones = [self.air.zones[z] for z in np.flatnonzero(book.visited[row])]
        begin = shift.begin if shift is not None else _wall(float(book.since[row]), at)
        facts = {
            "zones": zones,
            "substance": substance.name,
            "unit": substance.unit,
            "begin": round(begin, 3),
            "end": round(shift.end if shift is not None else _wall(end, at), 3),
            "hours": round(present / 3600, 4),
            "twa": _rounded(twa),
            "stel": _rounded(stel),
            "stel_at": _rounded(_wall(float(book.most_at[0, row, s]), at), 13),
            "peak": _rounded(peak),
            "peak_at": _rounded(_wall(float(book.most_at[1, row, s]), at), 13),
            "excursions": int(book.peaks[row, s]),
            "coverage": round(100 * share, 1),
            "sufficient": share >= COVERED,
            "limits": verdicts,
        }
        if row >= self.Z:
            facts["person"] = book.person[row - self.Z]
        shown = next((limit for limit in substance.limits if limit.metric == "twa"), None)
        text = words.sentence(
            words.BREATHED,
            self.language,
            "record",
            who=self._who(book, row),
            substance=words.substance(self.language, substance.name),
            value=words.number(twa),
            limit=words.number(shown.value) if shown else "-",
            unit=substance.unit,
            stel=words.number(stel),
            peak=words.number(peak),
            coverage=words.number(round(100 * share)),
            doubt="" if share >= COVERED else words.INSUFFICIENT[self.language],
        )
        return Told("exposure-record", self._channel(book, row, s), at, text, facts)


def mean(sums: Array, span: float) -> tuple[Array, Array]:
    """Mean over `span` s of what three sums (3, ...) tell; and whether enough of the time was covered.

    What was not covered counts as the mean of what was; NaN where nothing was. Nobody there: 0.

    >>> mean(np.array([[90.0], [60.0], [120.0]]), 240.0)
    (array([0.75]), array([False]))
    """
    dose, covered, present = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(covered > 0, dose / covered * present / span, np.where(present > 0, np.nan, 0.0))
    return value, covered >= COVERED * present


def _with(book: Book, person: str, now: float) -> Book:
    """The book with a row for a person who is nowhere yet."""
    fields: dict[str, Any] = {}
    for name, (axis, blank) in ROWS.items():
        column = getattr(book, name)
        shape = list(column.shape)
        shape[axis] = 1
        fields[name] = np.concatenate([column, np.full(shape, blank, column.dtype)], axis)
    fields["since"][-1] = fields["entered"][-1] = now
    none = np.zeros((3, 1, book.sums.shape[2]))
    bins = tuple(np.concatenate([one, none], 1) for one in book.short.bins)
    total = np.concatenate([book.short.total, none], 1)
    return book._replace(**fields, person=(*book.person, person), short=book.short._replace(bins=bins, total=total))


def _without(book: Book, rows: Array, zones: int) -> Book:
    """The book without these persons' rows."""
    fields: dict[str, Any] = {name: np.delete(getattr(book, name), rows, axis) for name, (axis, _) in ROWS.items()}
    bins = tuple(np.delete(one, rows, 1) for one in book.short.bins)
    total = np.delete(book.short.total, rows, 1)
    gone = set((rows - zones).tolist())
    person = tuple(p for i, p in enumerate(book.person) if i not in gone)
    return book._replace(**fields, person=person, short=book.short._replace(bins=bins, total=total))


def _kept(known: Mapping[str, Alarm], key: str, alarm: Alarm) -> dict[str, Alarm]:
    """`known` with the last edge of one alarm."""
    rest = {k: v for k, v in known.items() if k != key}
    return rest if alarm.state == STATE_NAMES[State.NORMAL] else {**rest, key: alarm}


def _key(rule: str, channel: str) -> str:
    return f"{rule}@{channel}"


def _wall(mono: float, at: Instant) -> float:
    return at.wall - (at.mono - mono)


def _rounded(value: float, digits: int = 6) -> float | None:
    return None if np.isnan(value) else float(f"{value:.{digits}g}")
