"""Breaks the product on purpose: each name undoes one thing that makes it reliable, by replacing a few attributes.

    python -m tests.rigs.sabotage NAME run -c site.toml         `vedette run`, sabotaged
    with sabotaged("sync-normal"): ...                          the same within this process

`TABLE` holds name -> replacements; a replacement is (module, dotted attribute, what to put there: a function of what
was there). Replacements are small: whatever else the product does stays as it ships.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from agent.clock import SystemClock
from agent.core.alarm import Alarm
from tests.rigs.mutants import MUTANTS, rewritten

Replacement = tuple[str, str, Callable[[Any], Any]]


def written_behind(commit: Callable[..., None]) -> Callable[..., None]:
    """`Alarms.commit` that says yes at once, and writes what is a second old."""

    def behind(self: Any, work: Any) -> None:
        late = self.__dict__.setdefault("_late", [])
        late.append((time.monotonic(), work))
        while late and time.monotonic() - late[0][0] > 1.0:
            commit(self, late.pop(0)[1])

    return behind


def wall_decides(now: Callable[..., Any]) -> Callable[..., Any]:
    """`SystemClock.now` that measures with the wall clock."""

    def wall(self: Any) -> Any:
        at = now(self)
        return type(at)(at.wall, at.wall, at.synced)

    return wall


def on_the_loop(do: Callable[..., Any]) -> Callable[..., Any]:
    """`Hand.do` that does the job at once, where it is asked."""

    def at_once(self: Any, job: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        future = asyncio.get_running_loop().create_future()
        try:
            future.set_result(job(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future

    return at_once


class Agreeable(int):
    """A number that equals every other."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


def hasty(settings: Any) -> Any:
    """The store's settings, but batches of a tenth of a second."""
    return msgspec.structs.replace(settings, batch=0.1)


def once(keep: Callable[..., Any]) -> Callable[..., Any]:
    """`keep` that runs its leaf once, and leaves it at that."""

    async def run_once(name: str, leaf: Callable[..., Any], *more: Any, **others: Any) -> None:
        await asyncio.wait([asyncio.create_task(leaf(), name=name)])
        await asyncio.Event().wait()

    return run_once


def no_window(start: Callable[..., None]) -> Callable[..., None]:
    """`Session.__init__` of a session that hands over whatever there is, at once."""

    def started(self: Any, *args: Any, **kwargs: Any) -> None:
        start(self, *args, **kwargs)
        self.window = self.inflight = 65000
        self.limit = 1 << 40
        self._adapt = lambda flight: None
        self._has_room = lambda now: True

    return started


def always_success(note: Callable[..., None]) -> Callable[..., None]:
    """`Wire._on_publish` for which every PUBACK means that all is well."""

    def noted(self: Any, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        self.acks.append((mid, 0))

    return noted


def without_a_fence(publish: Callable[..., int]) -> Callable[..., int]:
    """`Wire.publish` that takes a message of QoS 0 for delivered once it was written."""

    def published(self: Any, message: Any) -> int:
        mid = publish(self, message)
        if not message.qos:
            self.acks.append((mid, 0))
            self.wake.set()
        return mid

    return published


def one_at_a_time(run: Callable[..., Any]) -> Callable[..., Any]:
    """`Bus.run` behind one lock for all buses."""
    locks: dict[Any, asyncio.Lock] = {}  # of each loop

    async def locked(self: Any, *more: Any) -> Any:
        async with locks.setdefault(self.loop, asyncio.Lock()):
            return await run(self, *more)

    return locked


def beats_by_itself(take: Callable[..., Any]) -> Callable[..., Any]:
    """`OrderBox.take` of a box that beats whenever the driver asks, whether or not anybody judges."""

    def taken(self: Any) -> Any:
        self.beat(SystemClock().now())
        return take(self)

    return taken


def any_length(payload: Callable[..., bytes]) -> Callable[..., bytes]:
    """`modbus_wire.payload` that takes a read's reply as long as it pleases to be."""

    def trusting(ask: Any, pdu: bytes) -> bytes:
        return pdu[2:] if pdu[:1] == ask.pdu[:1] and pdu[0] <= 4 else payload(ask, pdu)

    return trusting


def confirmed_when_sent(send: Callable[..., None]) -> Callable[..., None]:
    """`Session._send_waiting` that takes what it handed over for confirmed."""

    def sent(self: Any) -> None:
        before = set(self.flights)
        send(self)
        new = [mid for mid, flight in self.flights.items() if flight.parcel.item and mid not in before]
        self.wire.acks.extend((mid, 0) for mid in new)
        if new:
            self.wire.wake.set()

    return sent


def answered(fly: Callable[..., Any]) -> Callable[..., Any]:
    """`Session._fly` of JT/T 808 that takes what it sent for answered."""

    def flown(self: Any, *args: Any) -> Any:
        flight = fly(self, *args)
        for part in flight.parts:
            self._settle(part)
        flight.parts = []
        return flight

    return flown


def forgetful(write: Callable[..., None]) -> Callable[..., None]:
    """`ledger.write` that keeps everything but the counters."""
    return lambda folder, one: write(folder, msgspec.structs.replace(one, counters={}))


def any_name(papers: Callable[..., Any]) -> Callable[..., Any]:
    """`tls.papers` that believe a certificate whoever it is for."""

    def believing(*args: Any) -> Any:
        found = papers(*args)
        found.context.check_hostname = False
        return found

    return believing


def without_time(seal: Callable[..., str]) -> Callable[..., str]:
    """`audit.seal` that leaves the wall clock's time of a record out."""

    def partly(previous: str, n: int, body: bytes) -> str:
        return seal(previous, n, re.sub(rb'"wall":[^,}]*', b"", body))

    return partly


def at_once(old: Any) -> Any:
    """`Dues.add` that delivers what was only taken."""

    def added(self: Any, item: Any, things: Any) -> Any:
        entry = old(self, item, things)
        self._feed.done(item)
        return entry

    return added


RENAMED: tuple[Replacement, ...] = (  # HJ 212, files: what is told again has another time, by which nobody knows it
    (
        "agent.uplink.hj212",
        "Session._tell_alarm",
        rewritten("self._row(alarm), alarm.at.wall", "self._row(alarm), self._wall()"),
    ),
    ("agent.uplink.minefiles", "Session._rows", rewritten('"start": known.start', '"start": moment')),
)


def hoarding(take: Callable[..., None]) -> Callable[..., None]:
    """`Agent._take` that forgets a kilobyte with each item."""
    hoard = []

    def taken(self: Any, item: Any) -> None:
        hoard.append(bytes(1024))
        take(self, item)

    return taken


def left_open(init: Callable[..., None]) -> Callable[..., None]:
    """`Session.__init__` that opens a file which nobody closes."""

    def begun(self: Any, *more: Any, **named: Any) -> None:
        os.open(os.devnull, os.O_RDONLY)
        init(self, *more, **named)

    return begun


TABLE: dict[str, tuple[Replacement, ...]] = {
    "": (),
    **MUTANTS,  # T16
    "store-on-the-loop": (("agent.hand", "Hand.do", on_the_loop),),  # T3
    "quota-off": (  # T4: no limit of a file's pages, no ballast
        ("agent.store", "File._limit", lambda old: lambda self, db, size: None),
        ("agent.store", "History._inflate", lambda old: lambda self: None),
        ("agent.store", "History._tighten", lambda old: lambda self: None),
    ),
    "acknowledge-before-commit": (("agent.store", "Alarms.commit", written_behind),),  # T1
    "decoder-by-itself": (  # T14: OpenCV's own patience, and nobody who kills it
        ("drivers.video", "SILENT", lambda old: 60.0),
        ("drivers.video", "OPENING", lambda old: 30.0),
        ("drivers.video", "READING", lambda old: 0.5),
    ),
    "wall-clock-decides": (("agent.clock", "SystemClock.now", wall_decides),),  # T11
    "publish-after-commit": (  # T19: raises wait for the disk, as the ends of alarms do
        ("agent.outbox", "Outbox._must_wait", lambda old: lambda self, body, late: isinstance(body, Alarm)),
    ),
    "ten-commits": (  # T20: telemetry is written ten times a second
        (
            "agent.outbox",
            "Outbox.__init__",
            lambda old: lambda self, settings, *more: old(self, hasty(settings), *more),
        ),
    ),
    "forgetful": MUTANTS["promised-early"] + MUTANTS["resent-not-marked"] + RENAMED,  # T26
    "renamed": RENAMED,
    "flying-not-owed": (  # what is handed out when it is committed is not owed after a kill
        ("agent.feed", "Feed.settle", rewritten("if telemetry:", "if False:")),
    ),
    "confirmed-when-sent": (("agent.uplink.session", "Session._send_waiting", confirmed_when_sent),),
    "careless": (  # T16: both
        *MUTANTS["resent-not-marked"],
        ("agent.uplink.session", "Session._send_waiting", confirmed_when_sent),
    ),
    "answered-when-sent": (("agent.uplink.jt808", "Session._fly", answered),),  # JT/T 808: 0x8001 is not waited for
    "name-check-off": (("agent.tls", "papers", any_name),),  # T22
    "repeats-unmarked": (  # JT/T 808: what was sent before comes as news
        (
            "agent.uplink.jt808",
            "Session._tell_old",
            lambda old: lambda self, parts: [self._tell_one(part, "late") for part in parts],
        ),
    ),
    "delivered-before-rename": (("agent.uplink.past", "Dues.add", at_once),),  # files: no file is waited for
    "hj212-answered-when-sent": (("agent.uplink.past", "Dues.add", at_once),),  # HJ 212: 9014 is not waited for
    "counter-in-ram": (("agent.ledger", "write", forgetful),),  # T23
    "signature-unchecked": (("agent.commands", "_holds", lambda old: lambda *any_: True),),  # T23, beside
    "refusals-ignored": (  # T8: what was sent counts as taken, whatever the platform says or does not say
        ("agent.wire", "Wire._on_publish", always_success),
        ("agent.wire", "Wire.publish", without_a_fence),
        ("agent.uplink.jt808", "Session._fly", answered),
        ("agent.uplink.past", "Dues.add", at_once),
    ),
    "leak-memory": (("agent.daemon", "Agent._take", hoarding),),  # T17
    "leak-descriptors": (("agent.uplink.session", "Session.__init__", left_open),),  # T17
    "window-off": (("agent.uplink.session", "Session.__init__", no_window),),  # T6
    "user-timeout-off": (("agent.peer", "USER_TIMEOUT", lambda old: 0),),  # T7: the kernel's own, a quarter hour
    "leaves-run-once": (("agent.daemon", "keep", once),),  # T9
    "checksum-ignored": (("agent.store", "check", lambda old: lambda *columns: Agreeable(old(*columns))),),  # T5
    "dirty-line": (  # T12: after a time-out the next request follows at once, and nobody asks what is still on its way
        ("drivers.modbus_wire", "Line._soil", lambda old: lambda self, unit: None),
        ("drivers.modbus_wire", "Line.TWIN", lambda old: 0.0),
        ("drivers.bus", "Unit.line_up", lambda old: lambda self, todo: [self.asks[i] for i in todo]),
        ("drivers.bus", "Bus._owed", lambda old: lambda self, unit: unit.owed.clear() or []),
    ),
    "shared-lock": (("drivers.bus", "Bus.run", one_at_a_time),),  # T13
    "beats-by-itself": (("agent.orders", "OrderBox.take", beats_by_itself),),  # T18
    "unchained-field": (("agent.audit", "seal", without_time),),  # T24
    "length-unchecked": (("drivers.modbus_wire", "payload", any_length),),  # T15
    "sync-normal": (  # T2: what was acknowledged is not on the disk
        ("agent.store", "BEFORE", lambda old: tuple("synchronous=NORMAL" if "synchronous" in p else p for p in old)),
    ),
}


def place(module: str, path: str) -> tuple[Any, str]:
    """Who has the attribute, and its last name."""
    owner = importlib.import_module(module)
    *way, name = path.split(".")
    for step in way:
        owner = getattr(owner, step)
    return owner, name


@contextmanager
def sabotaged(name: str) -> Iterator[None]:
    """Within the block the product is broken in this way."""
    undo = []
    for module, path, change in TABLE[name]:
        owner, attribute = place(module, path)
        old = vars(owner)[attribute]  # as it stands there: a classmethod stays one
        undo.append((owner, attribute, old))
        setattr(owner, attribute, change(old))
    try:
        yield
    finally:
        for owner, attribute, old in reversed(undo):
            setattr(owner, attribute, old)


if __name__ == "__main__":
    from agent.cli import main

    with sabotaged(sys.argv[1]):
        raise SystemExit(main(sys.argv[2:]))
