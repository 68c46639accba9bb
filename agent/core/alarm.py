"""The second noun: an `Alarm` is one edge of one alarm's life. Everything after a rule is one of these.

The life of an alarm after ISA-18.2-2016 / IEC 62682. `NEXT` is the whole of it:

               raise    clear     ack      reset    shelve   suppress    take out  restore  remind
    NORMAL     ACTIVE   .         .        .        SHELVED  SUPPRESSED  OUT       .        .
    ACTIVE     .        RETURNED  ACKED    .        SHELVED  SUPPRESSED  OUT       .        .
                        (LATCHED)
    ACKED      .        NORMAL    .        .        SHELVED  SUPPRESSED  OUT       .        ACTIVE
                        (HELD)
    RETURNED   ACTIVE   .         NORMAL   .        SHELVED  SUPPRESSED  OUT       .        .
    LATCHED    ACTIVE   .         HELD     .        SHELVED  SUPPRESSED  OUT       .        .
    HELD       ACTIVE   .         .        NORMAL   SHELVED  SUPPRESSED  OUT       .        .
    SHELVED    .        .         .        .        .        .           OUT       NORMAL   .
    SUPPRESSED .        .         .        .        SHELVED  .           OUT       NORMAL   .
    OUT        .        .         .        .        .        .           .         NORMAL   .

In brackets: where the rule latches. What latched is over and still holds its outputs, until a person who has seen it
resets it. In the last three states nothing is annunciated and nothing held; when such a state ends, a condition that
stands is raised anew. A raise is a new occurrence with a new id; everything else keeps the id of the raise. What was
acknowledged and still stands after the rule's `realarm` is annunciated again. A lock (`lock`) is taken out of
service only while it stands, to let go what it holds, and is in force again by itself once its condition is over: OUT,
clear, NORMAL.

An item's colour (`colours.py`) has the same life without the last three states: what is never hidden cannot hide its
points; and its level moves while it is active, which keeps the id:

               raise    clear     ack      reset    remind   level up   level down
    NORMAL     ACTIVE   .         .        .        .        .          .
    ACTIVE     .        RETURNED  ACKED    NORMAL   .        ACTIVE     ACTIVE
    ACKED      .        NORMAL    .        NORMAL   ACTIVE   ACTIVE     ACKED
    RETURNED   ACTIVE   .         NORMAL   .        .        .          .

Worse is news for whoever had seen what was before; better is not. A reset is the release of orange or red by a person,
who thereby has seen it: to normal, or down to the lower level, then acknowledged.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import numpy as np
from msgspec import Struct

from .frame import Array, Instant

Level = Literal["red", "orange", "yellow", "blue"]
LEVELS: tuple[Level, ...] = ("red", "orange", "yellow", "blue")  # highest first


def colour(level: Level) -> int:
    """How bad a level is: 4 red, 3 orange, 2 yellow, 1 blue; 0 is left for none."""
    return len(LEVELS) - LEVELS.index(level)


class State(IntEnum):
    NORMAL = 0
    ACTIVE = 1  # active, not acknowledged
    ACKED = 2  # active, acknowledged
    RETURNED = 3  # returned to normal, not acknowledged
    LATCHED = 4  # returned to normal, not acknowledged, holds what it drives
    HELD = 5  # returned to normal, acknowledged, holds what it drives until reset
    SHELVED = 6  # a person silenced it for a while
    SUPPRESSED = 7  # by design: a condition of its rule does not hold
    OUT = 8  # out of service under a permit


class Event(IntEnum):
    RAISE = 0
    CLEAR = 1
    ACK = 2
    RESET = 3
    SHELVE = 4
    SUPPRESS = 5
    TAKE_OUT = 6
    RESTORE = 7
    REMIND = 8
    LEVEL_UP = 9
    LEVEL_DOWN = 10


STATE_NAMES = (
    "normal",
    "active-unacked",
    "active-acked",
    "returned-unacked",
    "latched-unacked",
    "latched-acked",
    "shelved",
    "suppressed",
    "out-of-service",
)
EVENT_NAMES = (
    "raised",
    "cleared",
    "acknowledged",
    "reset",
    "shelved",
    "suppressed",
    "taken-out",
    "restored",
    "re-alarmed",
    "level-up",
    "level-down",
)
EVIDENCE = "evidence"  # one more name: no event of the table, for it moves nothing


def is_active(state: int) -> bool:
    """Whether the hazard itself is there now, acknowledged or not, and annunciated."""
    return state in (State.ACTIVE, State.ACKED)


def holds(state: int) -> bool:
    """Whether the alarm holds its outputs."""
    return state in (State.ACTIVE, State.ACKED, State.LATCHED, State.HELD)


def _table(latches: bool = False, locks: bool = False) -> Array:
    """State after each event, (states, events); where nothing happens, the state itself."""
    after = {
        State.NORMAL: {Event.RAISE: State.ACTIVE},
        State.ACTIVE: {Event.CLEAR: State.LATCHED if latches else State.RETURNED, Event.ACK: State.ACKED},
        State.ACKED: {Event.CLEAR: State.HELD if latches else State.NORMAL, Event.REMIND: State.ACTIVE},
        State.RETURNED: {Event.RAISE: State.ACTIVE, Event.ACK: State.NORMAL},
        State.LATCHED: {Event.RAISE: State.ACTIVE, Event.ACK: State.HELD},
        State.HELD: {Event.RAISE: State.ACTIVE, Event.RESET: State.NORMAL},
        State.SHELVED: {Event.RESTORE: State.NORMAL, Event.TAKE_OUT: State.OUT},
        State.SUPPRESSED: {Event.RESTORE: State.NORMAL, Event.TAKE_OUT: State.OUT, Event.SHELVE: State.SHELVED},
        State.OUT: {Event.RESTORE: State.NORMAL} | ({Event.CLEAR: State.NORMAL} if locks else {}),
    }
    away = {Event.SHELVE: State.SHELVED, Event.SUPPRESS: State.SUPPRESSED, Event.TAKE_OUT: State.OUT}
    for state in State:
        if state <= State.HELD:
            after[state] |= away
        if locks and not is_active(state):
            after[state].pop(Event.TAKE_OUT, None)
    return np.array([[after[state].get(event, state) for event in Event] for state in State], np.int8)


def _item_table() -> Array:
    """The same for the colour of an item."""
    after = {
        State.NORMAL: {Event.RAISE: State.ACTIVE},
        State.ACTIVE: {Event.CLEAR: State.RETURNED, Event.ACK: State.ACKED, Event.RESET: State.NORMAL},
        State.ACKED: {
            Event.CLEAR: State.NORMAL,
            Event.RESET: State.NORMAL,
            Event.REMIND: State.ACTIVE,
            Event.LEVEL_UP: State.ACTIVE,
        },
        State.RETURNED: {Event.RAISE: State.ACTIVE, Event.ACK: State.NORMAL},
    }
    return np.array([[after.get(state, {}).get(event, state) for event in Event] for state in State], np.int8)


PLAIN, LATCHING, ITEM, LOCK = range(4)  # the lives of an alarm
NEXT: Array = np.stack([_table(), _table(latches=True), _item_table(), _table(locks=True)])  # (life, state, event)


Point = tuple[str, str]  # rule, channel: what has one alarm at a time


class Basis(Struct, frozen=True, omit_defaults=True):
    """Where a limit comes from. `verify` marks a number whose text was not at hand."""

    standard: str = "project"
    clause: str = ""
    edition: str = ""
    verify: bool = False


class Alarm(Struct, frozen=True, omit_defaults=True):
    """One edge of one alarm's life, complete in itself.

    `id` is shared by all edges of one occurrence and unique across boots; `edge` counts them from 1.
    `value` and `limit` are in `unit`; `value` is None where the hazard is that nothing is seen.
    """

    id: str
    edge: int
    event: str  # one of EVENT_NAMES, or EVIDENCE: what was kept of it is known now
    state: str  # one of STATE_NAMES: the state that the edge led to
    rule: str
    channel: str
    level: Level
    value: float | None
    limit: float | None
    unit: str
    since: Instant  # when the condition began (raise) or ended (clear)
    at: Instant  # when it was decided
    text: str
    basis: Basis = Basis()
    by: str = ""  # the person who acknowledged, reset, shelved, took out or restored
    reason: str = ""  # why it was shelved or taken out, or the permit
    before: Level | None = None  # of an item whose level moved by this edge: the level that it had
    until: Instant | None = None  # when shelving ends, or what was acknowledged is annunciated again
    advice: str = ""  # what to do
    because: tuple[str, ...] = ()  # why a detector raised it, in sentences with numbers
    evidence: tuple[str, ...] = ()  # what was kept of it: `<id> sha256:<of its manifest>`, from when it is known
    group: str = ""  # what belongs together: a zone, an interlock
    first: str = ""  # id of the alarm of the group that came first: its own, where it did
    fold: str = ""  # id of the alarm under which it is shown, for this one would be one too many; see `load.py`
    origin: str = ""  # whose word it rests on, where a neighbour said it; nobody takes it over from here
    drill: bool = False  # nothing is wrong: somebody proves the way; see `agent/drill.py`

    @property
    def point(self) -> Point:
        """What it is about: of all its alarms at most one is open."""
        return self.rule, self.channel


class Order(Struct, frozen=True):
    """What the core wants done. `reason` is the id of the alarm behind it."""

    output: str
    on: bool
    reason: str
    at: Instant
