"""The second noun: an `Alarm` is one edge of one alarm's life. Everything after a rule is one of these.

The life of an alarm after ISA-18.2-2016 / IEC 62682, as far as it is used today; shelving, suppression
and out-of-service join this table when they come.

                    raise                     clear                       ack
    NORMAL          ACTIVE "raised"           -                           -
    ACTIVE          -                         RETURNED "cleared"          ACKED "acknowledged"
    ACKED           -                         NORMAL "cleared"            -
    RETURNED        ACTIVE "raised"           -                           NORMAL "acknowledged"

A raise from RETURNED is a new occurrence with a new id; everything else keeps the id of the raise.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import numpy as np
from msgspec import Struct

from .frame import Array, Instant

Level = Literal["red", "orange", "yellow", "blue"]
LEVELS: tuple[Level, ...] = ("red", "orange", "yellow", "blue")  # highest first


class State(IntEnum):
    NORMAL = 0
    ACTIVE = 1  # active, not acknowledged
    ACKED = 2  # active, acknowledged
    RETURNED = 3  # returned to normal, not acknowledged


class Event(IntEnum):
    RAISE = 0
    CLEAR = 1
    ACK = 2


STATE_NAMES = ("normal", "active-unacked", "active-acked", "returned-unacked")
EVENT_NAMES = ("raised", "cleared", "acknowledged")

_ = State.NORMAL  # "nothing happens" is written as the state that it starts from
NEXT: Array = np.array(
    #  raise          clear           ack
    [
        [State.ACTIVE, State.NORMAL, State.NORMAL],  # NORMAL
        [State.ACTIVE, State.RETURNED, State.ACKED],  # ACTIVE
        [State.ACKED, State.NORMAL, State.ACKED],  # ACKED
        [State.ACTIVE, State.RETURNED, State.NORMAL],  # RETURNED
    ],
    np.int8,
)


def is_active(state: int) -> bool:
    """Whether the hazard itself is there now, acknowledged or not."""
    return state in (State.ACTIVE, State.ACKED)


class Basis(Struct, frozen=True, omit_defaults=True):
    """Where a limit comes from. `verify` marks a number whose text was not at hand."""

    standard: str = "project"
    clause: str = ""
    edition: str = ""
    verify: bool = False


class Alarm(Struct, frozen=True):
    """One edge of one alarm's life, complete in itself.

    `id` is shared by all edges of one occurrence and unique across boots; `edge` counts them from 1.
    `value` and `limit` are in `unit`; `value` is None where the hazard is that nothing is seen.
    """

    id: str
    edge: int
    event: str  # one of EVENT_NAMES
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
    by: str = ""  # the person who acknowledged
    evidence: tuple[str, ...] = ()


class Order(Struct, frozen=True):
    """What the core wants done. `reason` is the id of the alarm behind it."""

    output: str
    on: bool
    reason: str
    at: Instant
