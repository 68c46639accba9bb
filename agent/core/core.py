"""The core is a function: frames, ticks and acknowledgements in; alarms, orders and new memory out.

    step(memory, event) -> (memory, verdict)

Time arrives inside the events. The memory is a value: a step returns a new one and leaves the old as
it was, so the shell can commit alarms together with the memory that raised them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from msgspec import Struct, structs

from . import words
from .alarm import (
    EVENT_NAMES,
    EVIDENCE,
    ITEM,
    LATCHING,
    LOCK,
    NEXT,
    PLAIN,
    STATE_NAMES,
    Alarm,
    Event,
    Order,
    State,
    holds,
    is_active,
)
from .colours import SOURCE, UNCOLOURED, Branch, Colours, Items, Move, edge, shown, sources
from .derive import Derived, derivations, derive, extended
from .exposure import RULE, Air, Book, Ledger, Page, Presence
from .frame import (
    BLIND,
    GOOD,
    OFFLINE,
    OFFLINE_AFTER,
    OVER_RANGE,
    STALE,
    UNCERTAIN,
    Array,
    Frame,
    Instant,
    Layout,
    aged,
    channels,
)
from .load import Load, counted, passed
from .naming import matching
from .origin import origins
from .ports import Detector
from .ports import Event as Told
from .rules import (
    COMPARISONS,
    MEASURES,
    AnyRule,
    Bad,
    Board,
    Condition,
    Deviation,
    Doubt,
    Expect,
    Feedback,
    Frozen,
    Item,
    Manual,
    Measure,
    Point,
    Rate,
    Seen,
    Silence,
    Vote,
    condition,
)


class Tick(Struct, frozen=True, tag="tick"):
    """Time passed. Ages grow, delays run out; nothing was measured."""

    at: Instant


class Ack(Struct, frozen=True, tag="ack"):
    """A person has seen alarm `id`."""

    id: str
    by: str
    at: Instant


class Action(Struct, frozen=True, tag="action"):
    """What a person does to one point: a rule on a channel. `reason` is why, or the permit."""

    verb: Verb
    rule: str
    channel: str
    by: str
    at: Instant
    reason: str = ""
    seconds: float = 0.0  # of shelving


Verb = Literal["demand", "withdraw", "reset", "shelve", "take-out", "restore"]
VERBS: Mapping[str, Event] = {
    "demand": Event.RAISE,
    "withdraw": Event.CLEAR,
    "reset": Event.RESET,
    "shelve": Event.SHELVE,
    "take-out": Event.TAKE_OUT,
    "restore": Event.RESTORE,
}
SHIFT = 8 * 3600.0  # s that shelving may last; ISA-18.2: at most a shift, project: 8 h


class Kept(Struct, frozen=True, tag="kept"):
    """Evidence of alarm `id` is on the disk: what it is called, and its hash."""

    id: str
    evidence: str
    at: Instant


Input: TypeAlias = Frame | Tick | Ack | Action | Presence | Kept


class Verdict(Struct, frozen=True):
    """What one step wants told and done.

    `frames` are what is to be kept: the frame that was judged, its ages set right, or on a tick the sources
    that went blind by the passing of time. `events` are records: what people breathed.
    """

    alarms: tuple[Alarm, ...] = ()
    orders: tuple[Order, ...] = ()
    frames: tuple[Frame, ...] = ()
    events: tuple[Told, ...] = ()


NOTHING = Verdict()
STATES = np.arange(len(State))
RAISES = NEXT[:, :, Event.RAISE] != STATES  # (life, state) whether a condition that begins is news
CLEARS = NEXT[:, :, Event.CLEAR] != STATES
NOBODY = Board({}, np.zeros(0, bool))


class Watch(Struct, frozen=True, eq=False):
    """Memory of one source: what was last seen, the state of its P points, and its open alarms by point."""

    seen: Seen
    state: Array  # (P,) int8
    over: Array  # (P,) monotonic s since when the condition holds, NaN if it does not
    back: Array  # (P,) monotonic s since when the return holds, NaN if it does not
    measures: tuple[Any, ...]
    open: dict[int, Alarm]  # the last edge of each
    until: dict[int, float]  # monotonic s at which a point moves by itself: shelving ends, or it is annunciated again
    derived: tuple[Any, ...]  # the detectors' memories
    calm: bool = True  # nothing is active, open or on its way: most frames end here


class Memory(Struct, frozen=True, eq=False):
    """Everything that the core carries from one step to the next."""

    boot: str  # makes alarm ids unique across boots
    serial: int = 0  # alarms raised since boot
    watches: dict[str, Watch] = {}
    held: dict[str, frozenset[str]] = {}  # output -> ids of the alarms that hold it on
    load: Load = Load()  # how many alarms there were lately
    colours: Colours | None = None  # where there are items
    book: Book | None = None  # of what people breathe, where there are zones


def outputs(rules: Iterable[AnyRule]) -> list[str]:
    """Every output that a rule drives or looks at: the columns of the board's own source."""
    names = (name for rule in rules for name in (*rule.drive, *([rule.output] if isinstance(rule, Feedback) else [])))
    return list(dict.fromkeys(names))


def points(rules: Iterable[AnyRule], layouts: Mapping[str, Layout]) -> dict[str, tuple[Point, ...]]:
    """Every (rule, channel) pair, by source, grouped by kind in the order of the rules.

    A pattern matches full channel names; for `silence` it may also match a source by its bare name.
    """
    where = {name: (source, i) for source, layout in layouts.items() for i, name in enumerate(channels(source, layout))}
    hidden = {name for name, (source, i) in where.items() if i >= layouts[source].measured}
    found: dict[str, list[Point]] = {source: [] for source in layouts}
    rules = list(rules)
    known = outputs(rules)
    for rule in rules:
        matched = [(*where[name], name) for name in matching(rule.channel, where, hidden)]
        if isinstance(rule, Item):
            members = tuple((s, k) for s, k, _ in matched if s not in UNCOLOURED)
            column = layouts[SOURCE].key.index(rule.name)
            found[SOURCE].append(Point(rule, f"{SOURCE}/{rule.name}", column, members))
            continue
        if isinstance(rule, Vote | Manual):
            members = tuple((s, k) for s, k, _ in matched) if isinstance(rule, Vote) else ()
            for source, i, name in matched[:1]:
                found[source].append(Point(rule, name, i, members))
            continue
        for source, i, name in matched:
            others: tuple[tuple[str, int], ...] = ()
            if isinstance(rule, Deviation):
                others = tuple((s, k) for s, k, _ in matched if (s, k) != (source, i))
            elif isinstance(rule, Feedback):
                others = (("", known.index(rule.output)),)
            elif isinstance(rule, Doubt):
                told = f"{layouts[source].key[i]}.{rule.lie}"
                if told not in layouts[source].key:
                    continue
                others = ((source, layouts[source].key.index(told)),)
            found[source].append(Point(rule, name, i, others))
        if isinstance(rule, Silence):
            for source in matching(rule.channel, layouts):
                found[source].append(Point(rule, source, -1))
    kinds = list(MEASURES)
    return {source: tuple(sorted(row, key=lambda p: kinds.index(type(p.rule)))) for source, row in found.items()}


def life(rule: AnyRule) -> int:
    """Which of the lives of an alarm those of this rule have."""
    return ITEM if isinstance(rule, Item) else LOCK if rule.lock else LATCHING if rule.latch else PLAIN


def conditions(rows: Iterable[Sequence[str]]) -> dict[int, list[Condition]]:
    """Conditions in words, taken apart, by point; nothing for points that have none."""
    return {i: [condition(text) for text in texts] for i, texts in enumerate(rows) if texts}


def _elsewhere(point: Point) -> set[str]:
    """The sources whose news decide on a point, beside its own: members of its vote, and what it depends on."""
    rule = point.rule
    votes = {source for source, _ in point.siblings} if isinstance(rule, Vote) else set()
    texts = (*rule.when, *rule.start_when, *rule.clear_when)
    return votes | {condition(text).channel.partition("/")[0] for text in texts}


class Bench:
    """The fixed side of one source: its points, their limits as columns, and the measures that see them."""

    def __init__(
        self,
        source: str,
        layout: Layout,
        row: Sequence[Point],
        gained: Sequence[Derived] = (),
        origin: Sequence[str] = (),
    ) -> None:
        self.source, self.layout, self.points, self.gained = source, layout, row, gained
        self.origin = origin or [""] * len(row)  # whose word each point rests on
        bounds = [p.rule.bounds for p in row]
        limit = np.array([b[0] for b in bounds], float)
        unstated = np.isnan(limit)  # silence without a limit: the channel's own
        own = [layout.stale.max() if p.column < 0 else layout.stale[p.column] for p in row]
        self.limit = np.where(unstated, own, limit) if len(row) else limit
        self.restore = np.where(unstated, own, [b[1] for b in bounds]) if len(row) else limit
        self.sign = np.array([p.rule.sign for p in row])
        self.high = self.sign * self.limit
        self.low = self.sign * self.restore
        self.delay = np.array([p.rule.delay for p in row])
        self.clear_delay = np.array([p.rule.clear_delay for p in row])
        self.fail_safe = np.array([p.rule.fail_safe for p in row], bool)
        self.life = np.array([life(p.rule) for p in row], int)
        self.when = conditions(p.rule.when for p in row)
        self.start_when = conditions(p.rule.start_when for p in row)
        self.clear_when = conditions(p.rule.clear_when for p in row)
        by_kind = {kind: [p for p in row if type(p.rule) is kind] for kind in MEASURES}
        self.fails_safe = bool(self.fail_safe.any())
        self.measures: list[Measure] = [MEASURES[kind](mine) for kind, mine in by_kind.items() if mine]
        conditional = bool(self.when or self.start_when or self.clear_when)
        self.compares = conditional or any(by_kind[kind] for kind in (Deviation, Vote, Feedback))
        elsewhere = [_elsewhere(p) - {source} for p in row]
        starts = np.cumsum([layout.measured, *(len(d.given) for d in gained)])
        self.derived = {  # column of the source -> which detector gives it, and which of its columns it is
            int(starts[k]) + c: (k, c) for k, d in enumerate(gained) for c in range(len(d.given))
        }
        self.across = {  # other sources whose news decide on points here, and on which
            other: np.array([other in sources for sources in elsewhere]) for other in set().union(*elsewhere)
        }

    def why(self, memories: Sequence[Any], i: int, language: words.Language) -> tuple[str, ...]:
        """Why a point on what a detector gives stands as it does, in sentences."""
        if self.points[i].column not in self.derived:
            return ()
        k, c = self.derived[self.points[i].column]
        one = self.gained[k]
        return tuple(words.why(language, row, facts) for row, facts in one.detector.why(memories[k], one.seen, c))

    def start(self, now: float) -> Watch:
        """The memory before the first frame. Age counts from here: a source that never speaks goes stale."""
        n, p = len(self.layout), len(self.points)
        unknown = np.full(n, np.nan)
        uncertain = np.full(n, UNCERTAIN, np.uint8)
        seen = Seen(unknown, uncertain, np.full(n, now), np.zeros(n, bool), unknown)
        never = np.full(p, np.nan)
        return Watch(
            seen,
            np.zeros(p, np.int8),
            never,
            never,
            tuple(m.start() for m in self.measures),
            {},
            {},
            tuple(d.detector.start(d.seen) for d in self.gained),
        )


class Core:
    """The judge of one site. Holds only what the configuration fixes; memory travels through `step`.

    What people do comes as events too, so that a recording has it.
    """

    def __init__(
        self,
        layouts: Mapping[str, Layout],
        rules: Iterable[AnyRule],
        language: words.Language = "en",
        detectors: Iterable[Detector] = (),
        air: Air | None = None,
    ) -> None:
        self.language = language
        rules = list(rules)
        self.outputs = outputs(rules)
        gained = derivations(detectors, layouts)
        layouts = {source: extended(layout, gained.get(source, ())) for source, layout in layouts.items()}
        layouts |= sources(rules)
        rows = points(rules, layouts)
        said = origins(layouts, rows, gained)
        self.benches = {
            source: Bench(source, layouts[source], row, gained.get(source, ()), said[source])
            for source, row in rows.items()
        }
        self.dependent = {  # source -> benches on which its news decide
            source: [bench for bench in self.benches.values() if source in bench.across] for source in rows
        }
        self.items = Items(layouts, rows)
        self.columns = {
            n: (source, i) for source, layout in layouts.items() for i, n in enumerate(channels(source, layout))
        }
        self.ledger = Ledger(air, self.columns, language) if air is not None else None
        self.places = {
            (point.rule.name, point.channel): (source, i)
            for source, bench in self.benches.items()
            for i, point in enumerate(bench.points)
        }

    def deciding(self, outputs: Iterable[str]) -> frozenset[str]:
        """The sources that decide on these outputs."""
        wanted = set(outputs)
        points = [(s, p) for s, bench in self.benches.items() for p in bench.points if wanted & set(p.rule.drive)]
        return frozenset(name for source, point in points for name in (source, *_elsewhere(point)))

    @staticmethod
    def is_sighted(memory: Memory, sources: Iterable[str]) -> bool:
        """Whether each of these sources was read, or is known to be silent: not so just after a start."""
        seen = [memory.watches[source].seen for source in sources]
        return all(bool((one.fresh | (one.quality >= STALE)).all()) for one in seen)

    def start(self, boot: str, at: Instant) -> Memory:
        """Memory of a core that has seen nothing yet. `boot` must never have been used before."""
        watches = {source: bench.start(at.mono) for source, bench in self.benches.items()}
        book = self.ledger.start(at.mono) if self.ledger is not None else None
        return Memory(boot, 0, watches, colours=self.items.start() if self.items else None, book=book)

    # -- one step ---------------------------------------------------------------------------------

    def step(self, memory: Memory, event: Input) -> tuple[Memory, Verdict]:
        """The new memory and the verdict. Frames of sources that the core does not know change nothing."""
        memory, verdict = self._painted(memory, event)
        return self._breathed(memory, memory.book, event, verdict) if memory.book is not None else (memory, verdict)

    def _painted(self, memory: Memory, event: Input) -> tuple[Memory, Verdict]:
        memory, verdict = self._judged(memory, event)
        if memory.colours is None or not (verdict.alarms or isinstance(event, Tick)):
            return memory, verdict
        memory, told = self._coloured(memory, memory.colours, verdict.alarms, event.at)
        alarms, orders = (*verdict.alarms, *told.alarms), (*verdict.orders, *told.orders)
        return memory, Verdict(alarms, orders, (*verdict.frames, *told.frames))

    def supposed(self, memory: Memory, source: str, at: Instant) -> tuple[Memory, Verdict]:
        """What would be said of one source at `at` if it had been seen as `memory` has it: what a drill asks."""
        return self._judge(memory, self.benches[source], memory.watches[source], memory.watches[source].seen, at, True)

    def _judged(self, memory: Memory, event: Input) -> tuple[Memory, Verdict]:
        if isinstance(event, Frame):
            return self._frame(memory, event)
        if isinstance(event, Tick):
            return self._tick(memory, event.at)
        if isinstance(event, Presence):
            return memory, NOTHING
        if isinstance(event, Kept):
            return self._evidence(memory, event)
        return self._ack(memory, event) if isinstance(event, Ack) else self._action(memory, event)

    def _frame(self, memory: Memory, frame: Frame) -> tuple[Memory, Verdict]:
        bench = self.benches.get(frame.source)
        if bench is None:
            return memory, NOTHING
        watch = memory.watches[frame.source]
        past = watch.seen
        # What was missed in this poll is as old as we know it, whatever a line that was just opened believes.
        n = len(frame.value)
        missed = np.isnan(frame.value) & (frame.quality == UNCERTAIN)
        measured = np.where(missed, past.measured[:n], np.maximum(frame.at.mono - frame.age, past.measured[:n]))
        frame = aged(structs.replace(frame, age=frame.at.mono - measured))
        if bench.gained:
            frame, kept = derive(
                frame, bench.layout, bench.gained, watch.derived, lambda source: memory.watches[source].seen
            )
            watch = structs.replace(watch, derived=kept)
            more = len(frame.value) - n
            measured = np.concatenate([measured, np.full(more, frame.at.mono)])
            missed = np.concatenate([missed, np.zeros(more, bool)])
        seen = Seen(frame.value, frame.quality, measured, past.fresh | ~missed, frame.raw)
        memory, verdict = self._judge(memory, bench, watch, seen, frame.at, news=True)
        for other in self.dependent[frame.source]:
            theirs = memory.watches[other.source]
            memory, also = self._judge(memory, other, theirs, theirs.seen, frame.at, news=other.across[frame.source])
            verdict = Verdict((*verdict.alarms, *also.alarms), (*verdict.orders, *also.orders))
        return memory, structs.replace(verdict, frames=(frame,))

    def _tick(self, memory: Memory, at: Instant) -> tuple[Memory, Verdict]:
        alarms: list[Alarm] = []
        orders: list[Order] = []
        frames: list[Frame] = []
        memory = structs.replace(memory, load=passed(memory.load, at.mono))
        for source, bench in self.benches.items():
            for i in [i for i, end in memory.watches[source].until.items() if end <= at.mono]:
                shelved = memory.watches[source].state[i] == State.SHELVED
                event, why = (Event.RESTORE, "expired") if shelved else (Event.REMIND, "")
                memory, verdict = self._move(memory, source, i, event, at, why)
                alarms += verdict.alarms
            watch = memory.watches[source]
            seen, frame = _grow_old(bench, watch.seen, at)
            if frame is not None:
                frames.append(frame)
            memory, verdict = self._judge(memory, bench, watch, seen, at, news=False)
            alarms += verdict.alarms
            orders += verdict.orders
        return memory, Verdict(tuple(alarms), tuple(orders), tuple(frames))

    # -- what people do ---------------------------------------------------------------------------

    def _ack(self, memory: Memory, ack: Ack) -> tuple[Memory, Verdict]:
        for source, watch in memory.watches.items():
            for i, known in watch.open.items():
                if known.id == ack.id:
                    again = self.benches[source].points[i].rule.realarm
                    stands = again > 0 and watch.state[i] == State.ACTIVE
                    until = _later(ack.at, again) if stands else None
                    return self._move(memory, source, i, Event.ACK, ack.at, by=ack.by, until=until)
        return memory, NOTHING

    def _evidence(self, memory: Memory, kept: Kept) -> tuple[Memory, Verdict]:
        """An edge that moves nothing, of an alarm that is still open: from now on it says what was kept of it."""
        for source, watch in memory.watches.items():
            for i, known in watch.open.items():
                if known.id == kept.id and kept.evidence not in known.evidence:
                    alarm = structs.replace(
                        known,
                        edge=known.edge + 1,
                        event=EVIDENCE,
                        at=kept.at,
                        by="",
                        reason="",
                        before=None,
                        evidence=(*known.evidence, kept.evidence),
                    )
                    watch = structs.replace(watch, open={**watch.open, i: alarm})
                    return _replace(memory, source, watch), Verdict((alarm,))
        return memory, NOTHING

    def _action(self, memory: Memory, action: Action) -> tuple[Memory, Verdict]:
        if self.refusal(memory, action):
            return memory, NOTHING
        source, i = self.places[action.rule, action.channel]
        if memory.colours is not None and isinstance(self.benches[source].points[i].rule, Item):
            k = self.items.places.index(i)
            move = self.items.release(memory.colours, self._told(memory), k, action.at.mono)
            memory, alarm = self._recolour(memory, memory.colours, move, action.at, action.by, action.reason)
            return memory, Verdict((alarm,))
        event = VERBS[action.verb]
        if event is Event.RAISE:
            return self._demand(memory, source, i, action)
        if event is Event.CLEAR:
            return self._move(memory, source, i, event, action.at, "withdrawn", by=action.by, reason=action.reason)
        until = _later(action.at, action.seconds) if action.verb == "shelve" else None
        return self._move(memory, source, i, event, action.at, by=action.by, reason=action.reason, until=until)

    def refusal(self, memory: Memory, action: Action) -> str:
        """Why this may not be done, in words; empty where it may.

        ISA-18.2: shelving needs a person, a reason and an end within a shift, and is nothing for what protects lives;
        that is only taken out of service, under a permit.
        """
        place = self.places.get((action.rule, action.channel))
        if place is None:
            return f"no rule {action.rule} watches {action.channel}"
        source, i = place
        rule, state = self.benches[source].points[i].rule, int(memory.watches[source].state[i])
        if not action.by.strip():
            return "who does it? a name is needed"
        if memory.colours is not None and isinstance(rule, Item):
            k = self.items.places.index(i)
            return self.items.refusal(memory.colours, self._told(memory), k, action.verb, action.at.mono)
        if isinstance(rule, Manual) != (VERBS[action.verb] in (Event.RAISE, Event.CLEAR)):
            return f"{rule.name} is {'' if isinstance(rule, Manual) else 'not '}manual: {action.verb} does not apply"
        if action.verb in ("demand", "shelve", "take-out") and not action.reason.strip():
            return "why? a reason is needed, or the number of the permit"
        if action.verb == "shelve" and (rule.level == "red" or rule.fail_safe):
            return "a red alarm or an interlock is never shelved; take it out of service, under a permit"
        if action.verb == "shelve" and not 0 < action.seconds <= SHIFT:
            return f"shelving ends within a shift: more than 0, at most {SHIFT / 3600:g} h"
        if action.verb == "restore" and state == State.SUPPRESSED:
            return f"it is suppressed by design, while one of these fails: {', '.join(rule.when)}"
        if NEXT[life(rule), state, VERBS[action.verb]] == state:
            return f"it is {STATE_NAMES[state]}: there is nothing to {action.verb}"
        if action.verb == "withdraw":
            mine = memory.watches[source].open[i].id
            for output in rule.drive:
                if others := memory.held.get(output, frozenset()) - {mine}:
                    return f"{output} is demanded by others: {', '.join(sorted(others))}"
        return ""

    def _demand(self, memory: Memory, source: str, i: int, action: Action) -> tuple[Memory, Verdict]:
        """A person demands what a rule drives."""
        bench, watch, at = self.benches[source], memory.watches[source], action.at
        rule, serial = bench.points[i].rule, memory.serial + 1
        text = words.sentence(
            words.RAISED, self.language, _kind(rule), output=", ".join(rule.drive), by=action.by, reason=action.reason
        )
        alarm = structs.replace(
            self._blank(bench, i, f"{memory.boot}-{serial}", at),
            edge=1,
            event=EVENT_NAMES[Event.RAISE],
            state=STATE_NAMES[State.ACTIVE],
            text=rule.text or text,
            advice=words.advice(self.language, rule.advice or _kind(rule)),
            by=action.by,
            reason=action.reason,
        )
        state, holding = watch.state.copy(), Holding(memory.held)
        state[i] = State.ACTIVE
        orders = holding.edge(rule.drive, alarm, True)
        watch = structs.replace(watch, state=state, open=_kept(dict(watch.open), i, alarm), calm=False)
        memory = structs.replace(_replace(memory, source, watch), serial=serial, held=holding.freeze())
        return memory, Verdict((alarm,), tuple(orders))

    def _move(
        self, memory: Memory, source: str, i: int, event: Event, at: Instant, why: str = "", **fields: Any
    ) -> tuple[Memory, Verdict]:
        """One point to the state that `event` leads to; the edge that tells it. `why` chooses the sentence."""
        bench, watch = self.benches[source], memory.watches[source]
        old = State(int(watch.state[i]))
        new = State(int(NEXT[bench.life[i], old, event]))
        if new == old:
            return memory, NOTHING
        point, known = bench.points[i], watch.open.get(i)
        serial = memory.serial
        if known is None:  # nothing was wrong when it was put away
            serial += 1
            known = self._blank(bench, i, f"{memory.boot}-{serial}", at)
        facts = {"by": fields.get("by", ""), "reason": fields.get("reason", "")}
        alarm = structs.replace(
            known,
            **{"reason": "", "until": None, "by": "", "before": None} | fields,
            edge=known.edge + 1,
            event=EVENT_NAMES[event],
            state=STATE_NAMES[new],
            at=at,
            text=words.sentence(
                words.MOVED,
                self.language,
                why or EVENT_NAMES[event],
                channel=point.channel,
                rule=point.rule.name,
                **facts,
            ),
        )
        state, until, holding = watch.state.copy(), dict(watch.until), Holding(memory.held)
        state[i] = new
        until.pop(i, None)
        if alarm.until is not None:
            until[i] = alarm.until.mono
        orders = holding.edge(point.rule.drive, alarm, holds(new)) if holds(new) != holds(old) else []
        watch = structs.replace(
            watch, state=state, open=_kept(dict(watch.open), i, alarm), until=until, calm=watch.calm and not state.any()
        )
        memory = structs.replace(_replace(memory, source, watch), serial=serial, held=holding.freeze())
        return memory, Verdict((alarm,), tuple(orders))

    # -- colours ----------------------------------------------------------------------------------

    def _coloured(
        self, memory: Memory, colours: Colours, alarms: Iterable[Alarm], at: Instant
    ) -> tuple[Memory, Verdict]:
        """The items after these alarms, or at this tick; and what watches their channels."""
        touched = {self.places[alarm.point][0] for alarm in alarms}
        of = [source for source in self.items.sources if colours.fresh or source in touched]
        states = {source: memory.watches[source].state for source in of}
        colours, moves = self.items.settled(self.items.painted(colours, states), self._told(memory), at.mono)
        memory = structs.replace(memory, colours=colours)
        edges = []
        for move in moves:
            memory, alarm = self._recolour(memory, colours, move, at)
            edges.append(alarm)
        frame = self.items.frame(colours, self._told(memory), self.benches[SOURCE].layout, at)
        now, known = np.full(len(self.items), at.mono), np.ones(len(self.items), bool)
        seen = Seen(frame.value, frame.quality, now, known, frame.raw)
        memory, verdict = self._judge(memory, self.benches[SOURCE], memory.watches[SOURCE], seen, at, news=True)
        return memory, Verdict((*edges, *verdict.alarms), verdict.orders, (frame,))

    def tree(self, memory: Memory, at: Instant, language: words.Language | None = None) -> list[Branch]:
        """The items of the site with their colours, for people; in the language of the site, or another."""
        if memory.colours is None:
            return []
        open_ = memory.watches[SOURCE].open
        alarms = [open_.get(i) for i in self.items.places]
        return self.items.tree(memory.colours, self._told(memory), alarms, at.mono, language or self.language)

    def _told(self, memory: Memory) -> list[int]:
        """The colour of each item."""
        watch = memory.watches[SOURCE]
        return [shown(int(watch.state[i]), watch.open.get(i)) for i in self.items.places]

    def _recolour(
        self, memory: Memory, colours: Colours, move: Move, at: Instant, by: str = "", reason: str = ""
    ) -> tuple[Memory, Alarm]:
        """One item to another colour; the edge that tells it."""
        bench, watch, i = self.benches[SOURCE], memory.watches[SOURCE], self.items.places[move.item]
        told, serial = self._told(memory), memory.serial
        facts = self.items.account(colours, move.item, told, self.language)
        last = watch.open.get(i)
        if last is None or not told[move.item]:
            serial += 1
            rule = bench.points[i].rule
            last = self._blank(bench, i, f"{memory.boot}-{serial}", at)
            last = structs.replace(last, advice=words.advice(self.language, rule.advice or _kind(rule)))
        state, since = State(int(watch.state[i])), _back_to(at, move.since)
        alarm = edge(last, state, move, at, since, self.language, facts, by, reason)
        again = bench.points[i].rule.realarm
        if by and again > 0 and is_active(STATE_NAMES.index(alarm.state)):
            alarm = structs.replace(alarm, until=_later(at, again))
        states, until = watch.state.copy(), dict(watch.until)
        states[i] = STATE_NAMES.index(alarm.state)
        until.pop(i, None)
        if alarm.until is not None:
            until[i] = alarm.until.mono
        known = _kept(dict(watch.open), i, alarm)
        watch = structs.replace(watch, state=states, open=known, until=until, calm=watch.calm and not states.any())
        return structs.replace(_replace(memory, SOURCE, watch), serial=serial), alarm

    # -- exposure ---------------------------------------------------------------------------------

    def _breathed(self, memory: Memory, book: Book, event: Input, verdict: Verdict) -> tuple[Memory, Verdict]:
        """What people breathed until now; alarms of zones and persons colour nothing and drive nothing."""
        ledger, page = self.ledger, Page()
        if ledger is None:
            return memory, verdict
        if isinstance(event, Ack):
            book, page = ledger.acked(book, event.id, event.by, event.at)
        elif isinstance(event, Tick | Presence) or any(frame.source in ledger.sources for frame in verdict.frames):
            walk = event if isinstance(event, Presence) else None
            book, page = ledger.step(book, event.at, verdict.frames, walk, memory.boot, memory.serial)
        raised = [alarm for alarm in page.alarms if alarm.edge == 1]
        load, serial = memory.load, memory.serial + len(raised)
        if raised:
            load, folds = counted(load, raised, event.at.mono)
            book, page = ledger.folded(book, page, dict(zip((alarm.id for alarm in raised), folds, strict=True)))
        memory = structs.replace(memory, book=book, serial=serial, load=load)
        if not (page.alarms or page.events):
            return memory, verdict
        alarms, events = (*verdict.alarms, *page.alarms), (*verdict.events, *page.events)
        return memory, structs.replace(verdict, alarms=alarms, events=events)

    # -- judgement --------------------------------------------------------------------------------

    def _judge(
        self, memory: Memory, bench: Bench, watch: Watch, seen: Seen, at: Instant, news: bool | Array
    ) -> tuple[Memory, Verdict]:
        """Compare every point of one source with its limits, all at once, and move those that changed.

        Without `news` (a tick; of some points (P,): news of another source) an alarm may be raised, because its delay
        ran out, but not cleared: that takes a measurement.
        """
        now = at.mono
        board = self._board(memory, bench.source, seen) if bench.compares else NOBODY
        told: list[Alarm] = []
        released: list[Order] = []
        for i, needed in bench.when.items():
            met = all(self._met(c, board) for c in needed)
            if (watch.state[i] == State.SUPPRESSED) == met:
                event = Event.RESTORE if met else Event.SUPPRESS
                if i not in watch.open:  # nobody was told of anything: it comes and goes in silence
                    state = watch.state.copy()
                    state[i] = NEXT[bench.life[i], state[i], event]
                    watch = structs.replace(watch, state=state, calm=watch.calm and not state.any())
                    memory = _replace(memory, bench.source, watch)
                    continue
                memory, verdict = self._move(memory, bench.source, i, event, at)
                watch = memory.watches[bench.source]
                told += verdict.alarms
                released += verdict.orders
        kept: list[Any] = []
        metrics: list[Array] = []
        qualities: list[Array] = []
        for measure, past in zip(bench.measures, watch.measures, strict=True):
            new, metric, quality = measure.step(past, now, seen, board)
            kept.append(new)
            metrics.append(metric)
            qualities.append(quality)
        if not metrics:
            return _replace(memory, bench.source, structs.replace(watch, seen=seen)), NOTHING
        metric, quality = np.concatenate(metrics), np.concatenate(qualities)

        signed = bench.sign * metric
        over = (signed >= bench.high) & (quality <= OVER_RANGE)
        if bench.fails_safe:
            over |= bench.fail_safe & (quality >= BLIND)
        if bench.when:
            over &= watch.state != State.SUPPRESSED  # an on-delay begins when the rule is in force
        for i, needed in bench.start_when.items():
            over[i] &= all(self._met(c, board) for c in needed)
        if watch.calm and not over.any():
            watch = structs.replace(watch, seen=seen, measures=tuple(kept))
            return _replace(memory, bench.source, watch), NOTHING
        clear = (signed < bench.low) & (quality == GOOD) & ~over
        for i, needed in bench.clear_when.items():
            clear[i] &= all(self._met(c, board, unseen=False) for c in needed)
        unknown = ~over & ~clear & (np.isnan(metric) | (quality != GOOD))

        since = np.where(over, np.fmin(watch.over, now), np.where(unknown, watch.over, np.nan))
        back = np.where(clear, np.fmin(watch.back, now), np.where(unknown, watch.back, np.nan))
        raised = over & RAISES[bench.life, watch.state] & (now - since >= bench.delay)
        cleared = clear & CLEARS[bench.life, watch.state] & (now - back >= bench.clear_delay) & news

        state, known = watch.state, watch.open
        alarms, orders = told, released
        serial, held = memory.serial, memory.held
        moved = np.flatnonzero(raised | cleared).tolist()
        until, load = watch.until, memory.load
        if moved:
            state, known = state.copy(), dict(known)
            holding = Holding(held)
            until = {i: end for i, end in until.items() if i not in moved}
            serial, load, new = self._raises(memory, bench, np.flatnonzero(raised), watch, metric, seen, since, at)
            for i in moved:
                event = Event.RAISE if raised[i] else Event.CLEAR
                begun = float(back[i])
                before, state[i] = known.get(i), NEXT[bench.life[i], state[i], event]
                held_before = holds(int(watch.state[i]))
                if event is Event.RAISE:
                    alarm = new[i]
                else:
                    alarm = self._clear(bench, i, known[i], float(metric[i]), int(state[i]), begun, at)
                alarms.append(alarm)
                _kept(known, i, alarm)
                drive = bench.points[i].rule.drive
                if holds(int(state[i])):
                    orders += holding.edge(drive, alarm, True)
                if before is not None and held_before and (before.id != alarm.id or not holds(int(state[i]))):
                    orders += holding.edge(drive, structs.replace(before, at=at), False)
            held = holding.freeze()
        calm = not state.any() and bool(np.isnan(since).all())
        watch = Watch(seen, state, since, back, tuple(kept), known, until, watch.derived, calm)
        memory = structs.replace(_replace(memory, bench.source, watch), serial=serial, held=held, load=load)
        return memory, Verdict(tuple(alarms), tuple(orders)) if alarms else NOTHING

    def _board(self, memory: Memory, source: str, seen: Seen) -> Board:
        """What every source showed last, and which outputs are held on."""
        sources = {name: watch.seen for name, watch in memory.watches.items()} | {source: seen}
        held = np.array([bool(memory.held.get(output)) for output in self.outputs], bool)
        return Board(sources, held)

    def _met(self, condition: Condition, board: Board, unseen: bool = True) -> bool:
        """Whether a condition holds. One that nobody can see holds: what is not known suppresses nothing; or as
        `unseen` says: what is not known lets go of nothing."""
        source, column = self.columns[condition.channel]
        seen = board.seen[source]
        if seen.quality[column] >= BLIND or np.isnan(seen.value[column]):
            return unseen
        return bool(COMPARISONS[condition.compare](float(seen.value[column]), condition.value))

    def _raises(
        self,
        memory: Memory,
        bench: Bench,
        raised: Array,
        watch: Watch,
        metric: Array,
        seen: Seen,
        since: Array,
        at: Instant,
    ) -> tuple[int, Load, dict[int, Alarm]]:
        """The last serial, the load and the first edges of what is raised now, by point: which of its group was
        first, and under which alarm it is shown."""
        serial, new = memory.serial, {}
        first = self._first(memory) if any(bench.points[i].rule.group for i in raised) else {}
        for i in raised.tolist():
            serial += 1
            why = bench.why(watch.derived, i, self.language)
            alarm = self._raise(bench, i, f"{memory.boot}-{serial}", float(metric[i]), seen, float(since[i]), at, why)
            if alarm.group:
                alarm = structs.replace(alarm, first=first.setdefault(alarm.group, alarm.id))
            new[i] = alarm
        load, folds = counted(memory.load, list(new.values()), at.mono)
        return serial, load, {i: structs.replace(new[i], fold=fold) for i, fold in zip(new, folds, strict=True)}

    @staticmethod
    def _first(memory: Memory) -> dict[str, str]:
        """By group: the id of the alarm that came first, while any of the group stands."""
        open_ = [(watch.state[i], alarm) for watch in memory.watches.values() for i, alarm in watch.open.items()]
        return {alarm.group: alarm.first for state, alarm in open_ if alarm.group and holds(int(state))}

    def _raise(
        self,
        bench: Bench,
        i: int,
        id: str,
        metric: float,
        seen: Seen,
        begun: float,
        at: Instant,
        because: tuple[str, ...],
    ) -> Alarm:
        point = bench.points[i]
        rule = point.rule
        limit = float(bench.limit[i])
        quality = int(seen.quality[point.column]) if point.column >= 0 else OFFLINE
        blind = rule.fail_safe and quality >= BLIND
        kind = "blind" if blind else _kind(rule)
        unit = _unit(bench, point)
        text = rule.text or words.sentence(
            words.RAISED,
            self.language,
            kind,
            channel=point.channel,
            value=words.number(metric),
            limit=words.number(limit),
            unit=bench.layout.unit[point.column] if isinstance(rule, Rate) else unit,
            basis=f"{rule.basis.standard} {rule.basis.clause}".strip(),
            quality=words.QUALITY[self.language][quality],
            per=words.number(rule.per) if isinstance(rule, Rate) else "",
            output=rule.output if isinstance(rule, Feedback) else "",
            lie=words.lie(self.language, rule.lie) if isinstance(rule, Doubt) else "",
            expect=rule.expect if isinstance(rule, Expect) else "",
            reading=words.number(float(seen.value[point.column])) if point.column >= 0 else "",
            of=str(len(point.siblings)),
            because=because[0] if because else "",
            each=f"{words.number(rule.limit)} {bench.layout.unit[point.column]}" if isinstance(rule, Vote) else "",
        )
        return structs.replace(
            self._blank(bench, i, id, at),
            edge=1,
            event=EVENT_NAMES[Event.RAISE],
            state=STATE_NAMES[State.ACTIVE],
            value=None if np.isnan(metric) or blind else metric,
            since=_back_to(at, begun),
            text=text,
            because=because,
            advice=words.advice(self.language, rule.advice or kind),
        )

    @staticmethod
    def _blank(bench: Bench, i: int, id: str, at: Instant) -> Alarm:
        """What is known of a point before its first edge."""
        point = bench.points[i]
        return Alarm(
            id=id,
            edge=0,
            event="",
            state=STATE_NAMES[State.NORMAL],
            rule=point.rule.name,
            channel=point.channel,
            level=point.rule.level,
            value=None,
            limit=float(bench.limit[i]),
            unit=_unit(bench, point),
            since=at,
            at=at,
            text="",
            basis=point.rule.basis,
            group=point.rule.group,
            origin=bench.origin[i],
        )

    def _clear(self, bench: Bench, i: int, last: Alarm, metric: float, state: int, begun: float, at: Instant) -> Alarm:
        return structs.replace(
            last,
            edge=last.edge + 1,
            event=EVENT_NAMES[Event.CLEAR],
            state=STATE_NAMES[state],
            until=None,
            value=metric,
            since=_back_to(at, begun),
            at=at,
            text=words.sentence(
                words.CLEARED,
                self.language,
                _kind(bench.points[i].rule),
                channel=last.channel,
                value=words.number(metric),
                unit=last.unit,
            ),
        )

    # -- restart ----------------------------------------------------------------------------------

    def recall(self, open: Iterable[Alarm], boot: str, at: Instant) -> tuple[Memory, Verdict]:
        """Memory of a new `boot` with the alarms that were `open` in an earlier one; see `adopt`."""
        return self.adopt(self.start(boot, at), open, at)

    def adopt(self, memory: Memory, open: Iterable[Alarm], at: Instant) -> tuple[Memory, Verdict]:
        """`memory` with the alarms that were `open` in an earlier boot, perhaps under other rules.

        An alarm whose rule or channel is gone, or has another level now, or was raised anew meanwhile, is cleared by
        the verdict: a platform must not show it for ever. Outputs that are held are ordered again.
        """
        states = {source: watch.state.copy() for source, watch in memory.watches.items()}
        known = {source: dict(watch.open) for source, watch in memory.watches.items()}
        until = {source: dict(watch.until) for source, watch in memory.watches.items()}
        holding = Holding(memory.held)
        orphans: list[Alarm] = []
        orders: list[Order] = []
        rest = list(open)
        if self.ledger is not None and memory.book is not None:
            book, rest = self.ledger.adopted(memory.book, rest, memory.boot)
            memory = structs.replace(memory, book=book)
        for alarm in rest:
            place = self.places.get((alarm.rule, alarm.channel))
            rule = self.benches[place[0]].points[place[1]].rule if place else None
            moved = rule is not None and rule.level != alarm.level and not isinstance(rule, Item)
            if place is None or rule is None or moved:
                orphans.append(self._orphan(alarm, at))
                continue
            source, i = place
            if i in known[source]:
                if known[source][i].id != alarm.id:
                    orphans.append(self._orphan(alarm, at))
                continue
            states[source][i] = STATE_NAMES.index(alarm.state)
            known[source][i] = alarm
            if alarm.until is not None:
                until[source][i] = at.mono + _rest(alarm.at, alarm.until, at)
            if holds(states[source][i]):
                orders += holding.edge(rule.drive, structs.replace(alarm, at=at), True)
        watches = {
            source: structs.replace(
                watch,
                state=states[source],
                open=known[source],
                until=until[source],
                calm=not known[source] and bool(np.isnan(watch.over).all()),
            )
            for source, watch in memory.watches.items()
        }
        colours = structs.replace(memory.colours, fresh=True) if memory.colours is not None else None
        memory = structs.replace(memory, watches=watches, held=holding.freeze(), colours=colours)
        return memory, Verdict(tuple(orphans), tuple(orders))

    def _orphan(self, alarm: Alarm, at: Instant) -> Alarm:
        kind = "forgotten" if self.ledger is not None and alarm.rule.startswith(f"{RULE}.") else "orphan"
        return structs.replace(
            alarm,
            edge=alarm.edge + 1,
            event=EVENT_NAMES[Event.CLEAR],
            state=STATE_NAMES[State.NORMAL],
            since=at,
            at=at,
            text=words.sentence(words.CLEARED, self.language, kind, channel=alarm.channel),
        )


def open_alarms(memory: Memory) -> list[Alarm]:
    """The last edge of every alarm that is not NORMAL, in the order of sources and points."""
    breathed = list(memory.book.open.values()) if memory.book is not None else []
    return [watch.open[i] for watch in memory.watches.values() for i in sorted(watch.open)] + breathed


class Holding:
    """Who holds which output on, while a step changes it; `Memory.held` is its frozen form."""

    def __init__(self, held: Mapping[str, frozenset[str]]) -> None:
        self._held: dict[str, frozenset[str] | set[str]] = dict(held)

    def edge(self, drive: Sequence[str], alarm: Alarm, on: bool) -> list[Order]:
        """The orders for outputs that change because `alarm` now holds them (or no longer does)."""
        orders = []
        for output in drive:
            ids = self._held.get(output, frozenset())
            if isinstance(ids, frozenset):
                ids = self._held[output] = set(ids)
            before = bool(ids)
            (ids.add if on else ids.discard)(alarm.id)
            if bool(ids) != before:
                orders.append(Order(output, on, alarm.id, alarm.at))
        return orders

    def freeze(self) -> dict[str, frozenset[str]]:
        return {output: frozenset(ids) for output, ids in self._held.items()}


def _grow_old(bench: Bench, seen: Seen, at: Instant) -> tuple[Seen, Frame | None]:
    """What was seen, with STALE and OFFLINE by age; and a frame of it if any channel's quality fell."""
    age = at.mono - seen.measured
    stale = bench.layout.stale
    if not (age > stale).any():
        return seen, None
    quality = np.where(age > stale, np.maximum(seen.quality, STALE), seen.quality)
    quality = np.where(age > stale * OFFLINE_AFTER, OFFLINE, quality).astype(np.uint8)
    if (quality == seen.quality).all():
        return seen, None
    value = np.where(age > stale, np.nan, seen.value)
    seen = structs.replace(seen, quality=quality, value=value)
    return seen, Frame(bench.source, at, bench.layout, seen.raw, value, quality, age)


def _later(at: Instant, seconds: float) -> Instant:
    return Instant(at.mono + seconds, at.wall + seconds, at.synced)


def _rest(begun: Instant, until: Instant, at: Instant) -> float:
    """Seconds that shelving of an earlier boot still lasts: by the wall clock where it can be trusted, else all."""
    whole = until.mono - begun.mono
    return min(whole, until.wall - at.wall) if at.synced and until.synced else whole


def _kind(rule: AnyRule) -> str:
    return str(rule.__struct_config__.tag)


def _unit(bench: Bench, point: Point) -> str:
    if isinstance(point.rule, Silence | Frozen):
        return "s"
    if isinstance(point.rule, Bad | Vote | Item | Feedback | Doubt | Manual | Expect):
        return ""
    unit = bench.layout.unit[point.column]
    return f"{unit}/{point.rule.per:g} s" if isinstance(point.rule, Rate) else unit


def _back_to(at: Instant, mono: float) -> Instant:
    """The instant at monotonic `mono`, labelled by the wall clock as it stood at `at`."""
    return Instant(mono, at.wall - (at.mono - mono), at.synced)


def _replace(memory: Memory, source: str, watch: Watch) -> Memory:
    return structs.replace(memory, watches={**memory.watches, source: watch})


def _kept(known: dict[int, Alarm], i: int, alarm: Alarm) -> dict[int, Alarm]:
    """`known` itself, with the last edge of point `i`."""
    if alarm.state == STATE_NAMES[State.NORMAL]:
        known.pop(i, None)
    else:
        known[i] = alarm
    return known
