"""What is under way on one connection to a broker, whatever the language: `Session` takes from the feed as the window
allows, and reads every confirmation.

    alarms             go at once, however much else is under way; each point keeps the order of its edges
    events, telemetry  as much as the link was seen to carry in a second, so that an alarm never waits behind it

An item is done when its PUBACK says so (with QoS 0, the fence behind it), or with `receipts` when the platform says
that it has it. What is refused is tried again in growing pauses; what will never be taken is set aside; over what a
connection breaks goes alone. A language is a subclass: what to say first (`greet`), of an item (`words`), at the end
(`goodbye`), and what it makes of what it hears.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from ..core.alarm import Point
from ..core.errors import LineLost, Refused
from ..core.frame import Instant
from ..core.ports import Brief, Event, Item, Lane
from ..tls import Keyring, Renewed, keyring_of
from ..wire import V5, VERSIONS, Broker, Message, Said, Unsupported, Wire, hint, size

WINDOW_BYTES = 256 * 1024  # of bulk in flight at most
FIRST_BYTES = 1024  # in flight, up to which events and bulk go at first, 0.13 s at 64 kbit/s; doubles with each round
# trip that finds it used; events never have less
SLUGGISH = 0.35  # s that a PUBACK of bulk takes longer than the quickest one, above which less is put in flight: an
# alarm must not wait behind it for more than a second, and another uplink may share the line
QUIET = 5.0  # s that bulk lets alarms go alone, at most
LONG = 0.3  # s that the way itself takes at most, as far as is known at first: births may have much in front of them
SLOWEST = 4096  # bytes/s; the PUBACK deadline grows by what is in flight at this speed
TURN = 32  # messages handed to the wire before the loop serves others
INFLIGHT = 1000  # messages in flight at most, whatever the broker allows
TICK = 0.5  # s between looks at deadlines
STOP = 0.9  # s for a farewell
AGAIN = 1.0  # s before a refused message is tried again; doubles for alarms up to LONGEST
LONGEST = 30.0  # s
TRIES = 5  # refusals that will never change, after which a message is set aside; reliability rule 1.4.8
BIRTHS = 5  # connections in a row that broke over the birth, after which it is told without the open alarms
REMIND = 300.0  # s between repetitions of an alarm that has no receipt, at most
NAME = 200  # letters of what a command is called by its topic; what is called by more is answered as an event
FOR_EVER = {0x87, 0x90, 0x95, 0x99}  # the same message will be refused again


class Leaving(LineLost):
    """This side ends the connection, and says goodbye first."""


async def serve(
    settings: Broker,
    id: str,
    will: Callable[[], Awaitable[Message]],
    begin: Callable[[Wire], Session],
    brief: Brief,
) -> None:
    """Connect under the name `id` and deliver until cancelled, then say goodbye. Raises `LineLost` or `Refused`."""
    keyring = keyring_of(settings, settings.place(), brief) if settings.secured else None
    while True:
        try:
            await _serve(settings, id, will, begin, brief, keyring)
        except Renewed:
            continue  # at once


async def _serve(
    settings: Broker,
    id: str,
    will: Callable[[], Awaitable[Message]],
    begin: Callable[[Wire], Session],
    brief: Brief,
    keyring: Keyring | None,
) -> None:
    """One connection. Raises `Renewed` where the next one is to follow at once."""
    feed, _, _, clock, tell = brief
    wake = asyncio.Event()
    fallback = ""
    context = None if keyring is None else await keyring.context()
    for version in VERSIONS[settings.version]:
        wire = Wire(settings, version, id, await will(), wake)
        try:
            await wire.open(context)
            break
        except Unsupported as fault:
            if version == VERSIONS[settings.version][-1]:
                raise
            fallback = f"{fault}; it is spoken to in MQTT 3.1.1, where a refused message looks like a delivered one"
        finally:
            feed.notes["knocked"] = wire.sent
    if fallback:
        tell(Event("protocol-fallback", settings.name, clock.now(), fallback))
    session = begin(wire)
    watching: asyncio.Task[None] | None = None
    if keyring is not None:
        keyring.made(wire.socket)
        watching = asyncio.create_task(keyring.watch(wake.set), name=f"certificates {settings.name}")
        session.renewal = watching
    reason = "stopped"
    feed.watch(wake.set)
    try:
        await session.run()
    except asyncio.CancelledError:
        said = await session.farewell(session.goodbye(clock.now()))
        wire.close(politely=said, will=session.will_after)
        raise
    except Leaving as fault:
        reason = str(fault)
        said = await session.farewell(session.goodbye(clock.now()))
        wire.close(politely=said, will=session.will_after)
        raise
    except Renewed as fault:
        reason = str(fault)
        said = await session.farewell(session.pausing(clock.now()))
        wire.close(politely=said, will=session.will_after)
        raise
    except (LineLost, Refused) as fault:
        reason = str(fault)
        raise
    finally:
        if watching is not None:
            watching.cancel()
        feed.watch(_nothing)
        feed.online(False)
        wire.close()
        if session.up:
            tell(Event("link-down", settings.name, clock.now(), reason))


def _nothing() -> None:
    pass


class Parcel:
    """One item under way: its messages, and how many of them are not confirmed yet."""

    __slots__ = ("bulk", "code", "item", "left", "size", "urgent")

    def __init__(self, item: Item | None, messages: list[Message]) -> None:
        self.item = item  # None: the state message, which nobody waits for
        self.left = len(messages)
        self.size = sum(len(message.payload) for message in messages)
        lane = item.lane if item is not None else "alarm"
        self.urgent = lane == "alarm"  # it waits for no room
        self.bulk = lane not in ("alarm", "event")
        self.code = 0  # worst reason code


class Awaited:
    """An alarm edge whose receipt has not come."""

    __slots__ = ("item", "times")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.times = 0  # it was sent again


class Flight(NamedTuple):
    parcel: Parcel
    sent: float  # s, the loop's clock
    deadline: float
    ahead: int  # bytes in flight then, with this one
    size: int  # bytes of its message


class Session:
    """What is under way on one connection: takes from the feed as the window allows, and reads every PUBACK."""

    def __init__(self, settings: Broker, wire: Wire, brief: Brief) -> None:
        self.settings, self.wire = settings, wire
        self.feed, self.who, self.open_alarms, self.clock, self.tell = brief
        self.births: list[Parcel] | None = None  # what is said first; None: it is not time yet
        self.curt = False  # the open alarms are left out of it
        self.up = False  # the births were confirmed
        self.confirmed = False  # and an item, too
        self.overdue = False  # a PUBACK did not come in time
        self.inflight = min(INFLIGHT, wire.limit("ReceiveMaximum", 65535))
        self.largest = wire.limit("MaximumPacketSize", 2**28)
        self.window = min(settings.window, max(1, self.inflight - 1))  # one place stays free for an alarm
        self.flights: dict[int, Flight] = {}
        self.waiting: deque[tuple[Parcel, Message]] = deque()  # no place in flight yet
        self.parts: deque[tuple[Parcel, Message]] = deque()  # of a batch whose first part has gone; alarms go before
        self.bulk = 0  # batches in flight, or refused and waiting to be tried again
        self.bytes = self.bulk_bytes = 0  # in flight; and of bulk alone
        self.limit = FIRST_BYTES
        self.loop = asyncio.get_running_loop()
        self.spoke = self.loop.time()  # when bulk was last sent
        self.quiet = 0.0  # s of the loop, until when bulk lets alarms go alone
        self.free = 0.0  # s of the loop, when telemetry may go again by the rate that is set
        self.shrunk = 0.0  # when the limit was last lowered
        self.quickest = LONG  # s that a confirmation took: what the way itself takes
        self.refusals: dict[tuple[bool, int], int] = {}
        self.later: list[tuple[float, int, Item]] = []  # heap: refused, to be tried again
        self.queues: dict[Point, list[tuple[int, Item]]] = {}  # heaps: edges of a point of which one was refused
        self.due: dict[Point, float] = {}  # when the first of such a queue is tried again
        self.trying: dict[Point, int] = {}  # row that is being tried again; the queue waits for its PUBACK
        self.held: tuple[Item, bool] | None = None  # a suspect that waits until nothing is under way; is it counted
        self.alone: Parcel | None = None  # a suspect under way
        self.awaited: dict[bytes, Awaited] = {}  # alarms without a receipt, by token; they take no place in flight
        self.late: set[bytes] = set()  # of these, what was sent again
        self.reminders: list[tuple[float, bytes]] = []  # heap: when one without a receipt is sent again
        self.many = TURN  # awaited, above which it is looked at which of them a cap has dropped
        self.ticked = False
        self.renewal: asyncio.Task[None] | None = None  # done: there are other certificates, and they are good

    # -- what a language says -----------------------------------------------------------------------

    receipts = ""  # where the platform gives receipts
    will_after = False  # the will is to be said even after a goodbye

    def greet(self) -> None:
        """Ask for what is to be heard, and say the births, be it later: `births` are their parcels."""
        raise NotImplementedError

    def words(self, item: Item, times: int) -> list[Message]:
        """What to send for one item, in this order; it was sent `times` times before on this connection."""
        raise NotImplementedError

    def goodbye(self, at: Instant) -> Message:
        """What is said before it leaves."""
        raise NotImplementedError

    def pausing(self, at: Instant) -> Message | None:
        """What is said before it comes back at once; None: nothing."""
        return self.goodbye(at)

    def hear(self) -> None:
        """Read what came."""

    def turn(self) -> None:
        """A turn begins, in which alarms may have changed."""

    def shipped(self, item: Item, messages: list[Message]) -> None:
        """These are about to go."""

    def sealed(self, message: Message) -> Message:
        """What goes over the wire for it, at the moment when it does."""
        return message

    def done(self, item: Item) -> None:
        """The broker has it, and no receipt is waited for."""
        self.feed.done(item)

    # -- running ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver for ever, once the births are confirmed. Raises `LineLost`."""
        self._tick()
        self.curt = self.feed.notes.get("births", 0) >= BIRTHS
        self.greet()
        try:
            while True:
                self.wire.pump()
                for refused in self._collect():
                    self._tell("refused", refused)
                self.hear()
                if not self.up and self.births is not None and not any(birth.left for birth in self.births):
                    self._come_up()
                if self.wire.lost:
                    raise LineLost(f"{self.wire.where}: {self.wire.lost}")
                if self.renewal is not None and self.renewal.done() and self.up:
                    self.renewal.result()  # a mistake of ours: let it be told
                    raise Renewed(f"{self.wire.where}: other certificates")
                if self.ticked:
                    self.ticked = False
                    self.look()
                more = self._fill()
                self.wire.arm()
                if more:
                    await asyncio.sleep(0)
                else:
                    await self.wire.wake.wait()
                    self.wire.wake.clear()
        except (Leaving, Renewed):
            raise
        except LineLost as fault:
            self._accuse(str(fault))
            raise
        finally:
            self._ticking.cancel()

    def _come_up(self) -> None:
        """The births got through: now the stream may.

        Before, nobody could tell whether the broker closes the connection for what the birth says or for an item.
        """
        self.up = True
        self.feed.notes["births"] = BIRTHS - 1 if self.curt else 0  # the next one is told in full, once
        self.feed.online(True)
        spoken = "5" if self.wire.version == V5 else "3.1.1"
        text = f"connected to {self.settings.url} by MQTT {spoken}"
        if self.curt:
            text += f"; the connection broke {BIRTHS} times over the list of open alarms, which was left out"
        self._tell("link-up", text, mqtt=spoken)

    def _accuse(self, why: str) -> None:
        """The connection broke: the oldest message under way may be the reason."""
        if self.wire.innocent or not self.flights:
            return
        if self.overdue and not self.confirmed:
            return  # a broker that confirms nothing at all is ill itself
        parcel = next(iter(self.flights.values())).parcel
        if self.births and parcel in self.births:
            self.feed.notes["births"] = self.feed.notes.get("births", 0) + 1
        elif parcel.item is not None:
            self.feed.blame(parcel.item, why)

    def _tell(self, kind: str, text: str, **facts: Any) -> None:
        self.tell(Event(kind, self.settings.name, self.clock.now(), text, facts))

    def _tick(self) -> None:
        """Wake the session, and again every `TICK` seconds, until `_ticking` is cancelled."""
        self.ticked = True
        self.wire.wake.set()
        self._ticking = self.loop.call_later(TICK, self._tick)

    def say(self, message: Message) -> Parcel:
        """Send a message that is no item."""
        parcel = Parcel(None, [message])
        self.waiting.append((parcel, message))
        self._send_waiting()
        return parcel

    async def farewell(self, message: Message | None) -> bool:
        """Say goodbye, and hear the confirmations that come meanwhile; without a message only that.

        At most `STOP` seconds; whether it was heard.
        """
        end = self.loop.time() + STOP
        handle = self.loop.call_later(STOP, self.wire.wake.set)
        parcel = self.say(message) if message is not None else Parcel(None, [])
        while (parcel.left or (message is None and self.flights)) and not self.wire.lost and self.loop.time() < end:
            self.wire.arm()
            await self.wire.wake.wait()
            self.wire.wake.clear()
            self.wire.pump()
            self._collect()
            self._send_waiting()
        handle.cancel()
        return not parcel.left and parcel.code < 0x80

    # -- sending ------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Take what the window allows, but let others have their turn. Whether there may be more."""
        self.turn()
        self._send_waiting()
        now = self.loop.time()
        while self.parts and not self.waiting and self._has_room(now):
            self.waiting.append(self.parts.popleft())
            self._send_waiting()
        while self.later and self.later[0][0] <= now and not self._is_guarded():
            due, row, item = heapq.heappop(self.later)
            if (point := item.point) is None:
                self._go(item, counted=True)
            elif self.due.get(point) == due:  # else an older edge came in between
                del self.due[point]
                heapq.heappop(self.queues[point])
                self.trying[point] = row
                self._go(item)
        for _ in range(TURN):
            if self.waiting or self.wire.lost or self._is_guarded():
                return False
            if self.reminders and self.reminders[0][0] <= now:
                self._remind()
                continue
            item_or_none = self.feed.take(self._least(now))
            if item_or_none is None:
                return False
            if item_or_none.point in self.queues:
                self._wait(item_or_none, 0.0)
            else:
                self._go(item_or_none)
        return True

    def _least(self, now: float) -> Lane:
        """The least of what may go now."""
        if self.bytes >= max(self.limit, FIRST_BYTES):
            return "alarm"
        if self.parts or self.bulk >= self.window or now < self.free or not self._has_room(now):
            return "event"
        return "backfill"

    def _has_room(self, now: float) -> bool:
        """Whether a message of bulk may go: little is in front of it, and no alarm or event is late; or none did for
        long."""
        if not self.bulk_bytes and now - self.spoke > QUIET:
            return True
        if now < self.quiet or (self.bytes and self.bytes >= self.limit):
            return False
        oldest = next((flight.sent for flight in self.flights.values() if not flight.parcel.bulk), now)
        return now - oldest <= self.quickest + SLUGGISH

    def _go(self, item: Item, counted: bool = False) -> None:
        """Send it now, or a suspect as soon as nothing else is under way."""
        if self.feed.is_suspect(item):
            self.held = item, counted
        else:
            self._ship(item, counted)

    def _is_guarded(self) -> bool:
        """Whether nothing else may go: a suspect is under way, or waits for it."""
        if self.alone is not None and self.alone.left:
            return True
        self.alone = None
        if self.held is None:
            return False
        if not self.flights and not self.waiting and not self.parts:
            item, counted = self.held
            self.held = None
            self.alone = self._ship(item, counted)
        return True

    def _wait(self, item: Item, pause: float) -> None:
        """Try again in `pause` seconds; an alarm not before the older edges of its point.

        A clear that overtook its raise would leave a hazard on the platform that is over.
        """
        point = item.point
        if point is None:
            heapq.heappush(self.later, (self.loop.time() + pause, item.row, item))
            return
        if self.trying.get(point) == item.row:
            del self.trying[point]
        queue = self.queues.setdefault(point, [])
        heapq.heappush(queue, (item.row, item))
        if point not in self.trying and (point not in self.due or queue[0][0] == item.row):
            self._schedule(point, pause)

    def _schedule(self, point: Point, pause: float) -> None:
        row, item = self.queues[point][0]
        self.due[point] = due = self.loop.time() + pause
        heapq.heappush(self.later, (due, row, item))

    def _settled(self, item: Item) -> None:
        """The platform has it or never will: whatever waited behind it may go."""
        point = item.point
        if point is None or self.trying.get(point) != item.row:
            return
        del self.trying[point]
        if self.queues[point]:
            self._schedule(point, 0.0)
        else:
            del self.queues[point]

    def _ship(self, item: Item, counted: bool = False) -> Parcel:
        messages = self._messages(item)
        parcel = Parcel(item, messages)
        if parcel.bulk:
            self.bulk += not counted
        if not messages:  # the platform knows it already
            self._let_go(parcel)
            self._settled(item)
            self.feed.done(item)
            return parcel
        if max(map(size, messages)) > self.largest:
            self._let_go(parcel)
            self._settled(item)
            parcel.left = 0
            self.feed.refused(item, f"{hint(0x95, self.settings.name)}: {parcel.size} bytes, allowed {self.largest}")
            return parcel
        self.shipped(item, messages)
        if parcel.bulk and self.settings.rate:
            self.free = max(self.free, self.loop.time()) + 8 * sum(map(size, messages)) / (1000 * self.settings.rate)
            self.loop.call_at(self.free, self.wire.wake.set)
        first = len(messages)
        if parcel.bulk:  # what stands before the parts of the batch goes with the first of them
            first = next(n for n, message in enumerate(messages, 1) if message.topic == messages[-1].topic)
        self.waiting.extend((parcel, message) for message in messages[:first])
        self.parts.extend((parcel, message) for message in messages[first:])
        self._send_waiting()
        return parcel

    def _messages(self, item: Item) -> list[Message]:
        if not self.settings.receipts or item.lane != "alarm":
            return self.words(item, 0)
        token = token_of(item)
        awaited = self._await(token, item)
        messages = self.words(item, awaited.times)
        return [messages[0]._replace(answer=self.receipts, token=token), *messages[1:]]

    def _send_waiting(self) -> None:
        while self.waiting and len(self.flights) < self.inflight and not self.wire.lost:
            parcel, message = self.waiting.popleft()
            now = self.loop.time()
            deadline = now + self.settings.puback_deadline + (self.bytes + parcel.size) / SLOWEST
            size = len(message.payload)
            self.bytes += size
            if parcel.bulk:
                self.bulk_bytes += size
                self.spoke = now
            flight = Flight(parcel, now, deadline, self.bytes, size)
            self.flights[self.wire.publish(self.sealed(message))] = flight

    def _let_go(self, parcel: Parcel) -> None:
        if parcel.bulk:
            self.bulk -= 1

    # -- confirmations ------------------------------------------------------------------------------

    def _collect(self) -> list[str]:
        """Read every PUBACK that came. Returns what to tell of first refusals."""
        told = []
        while self.wire.acks:
            mid, code = self.wire.acks.popleft()
            flight = self.flights.pop(mid, None)
            if flight is None:
                continue
            parcel = flight.parcel
            parcel.left -= 1
            parcel.code = max(parcel.code, code)
            self.quickest = min(self.quickest, self.loop.time() - flight.sent)
            self.bytes -= flight.size
            self.bulk_bytes -= flight.size if parcel.bulk else 0
            if parcel.item is not None or (self.births and parcel in self.births):
                self._adapt(flight)
            if parcel.left or parcel.item is None:
                continue
            if parcel.code < 0x80:
                self._let_go(parcel)
                self._settled(parcel.item)
                self.refusals.pop((parcel.bulk, parcel.item.row), None)
                self.confirmed = True
                if not self._is_awaited(parcel.item):
                    self.done(parcel.item)
            elif text := self._refused(parcel, parcel.item):
                told.append(text)
        return told

    def _adapt(self, flight: Flight) -> None:
        """Less in flight on a slow link, so that an alarm finds little in front of it; more where that went well.

        What is in front of it may be of another uplink on the same line. So after births, an alarm or an event that
        were confirmed late nothing is put before the next for as long as they waited.
        """
        now, bulk = self.loop.time(), flight.parcel.bulk
        waited = now - flight.sent
        if waited - self.quickest <= SLUGGISH:
            if not flight.parcel.urgent and 2 * flight.ahead >= self.limit:
                size = flight.size  # once it was too much, by about a message with each round trip
                more = size * size // max(size, self.limit) if self.shrunk else size
                self.limit = min(WINDOW_BYTES, self.limit + more)
            return
        if flight.sent > self.shrunk:  # as much as the link was seen to carry in that time, at most half
            carried = int(flight.ahead * SLUGGISH / waited)
            self.limit, self.shrunk = max(1, min(self.limit // 2, carried)), now
        if not bulk:
            self.quiet = now + min(waited, QUIET)
            self.loop.call_at(self.quiet, self.wire.wake.set)

    def _refused(self, parcel: Parcel, item: Item) -> str:
        """Try again later, or set aside. Returns what to tell, empty if it was told before.

        An alarm that lacks a right is never set aside: rights are mended by people, in their time.
        """
        key = (parcel.bulk, item.row)
        times = self.refusals[key] = self.refusals.get(key, 0) + 1
        reason = hint(parcel.code, self.settings.name)
        hopeless = parcel.code in FOR_EVER and not (item.lane == "alarm" and parcel.code == 0x87)
        if hopeless and times >= TRIES:
            self._let_go(parcel)
            del self.refusals[key]
            self._settled(item)
            self._forget(token_of(item))
            self.feed.refused(item, f"refused {times} times: {reason}")
            return ""
        # Its place in the window stays taken: refusals do not pile up.
        pause = AGAIN if hopeless else min(LONGEST, AGAIN * 2 ** (times - 1))
        self._wait(msgspec.structs.replace(item, resent=True), pause)
        if times > 1:
            return ""
        return f"{item.stream} {item.boot}/{item.seq} is refused by {self.wire.where}: {reason}; trying again"

    # -- receipts -----------------------------------------------------------------------------------

    def _await(self, token: bytes, item: Item) -> Awaited:
        if len(self.awaited) > self.many:
            for other in [t for t, awaited in self.awaited.items() if not self.feed.owes(awaited.item)]:
                self._forget(other)
            self.many = max(TURN, 2 * len(self.awaited))
        return self.awaited.setdefault(token, Awaited(item))

    def _is_awaited(self, item: Item) -> bool:
        """Whether a confirmed item still lacks its receipt: then it is sent again in time."""
        token = token_of(item)
        if (awaited := self.awaited.get(token)) is None:
            return False
        pause = min(REMIND, self.settings.receipt_deadline * 2**awaited.times)
        heapq.heappush(self.reminders, (self.loop.time() + pause, token))
        return True

    def _forget(self, token: bytes) -> Awaited | None:
        self.late.discard(token)
        return self.awaited.pop(token, None)

    def asked_for(self, payload: bytes) -> None:
        """The platform wants a stretch of a stream once more: a `Stretch` in JSON, or anybody's bytes."""
        try:
            wanted = msgspec.json.decode(payload, type=Stretch)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
            self._tell("command-refused", f"{self.wire.where}: what is to be sent again? {fault}")
            return
        self.feed.ask(wanted.boot, wanted.stream, wanted.first, wanted.last)

    def commanded(self, said: Said) -> None:
        """Somebody commands this node; anybody's bytes. What is new, and somebody signed, is answered where that is
        wanted: anybody can send a copy with another response topic."""

        def reply(outcome: dict[str, Any]) -> None:
            if outcome["spent"] and is_topic(said.answer) and not self.wire.lost:
                self.say(Message(said.answer, msgspec.json.encode(outcome, enc_hook=str), False, token=said.token))

        name = said.topic.rpartition("/")[2]
        self.feed.command(said.payload, name if len(name) <= NAME else "", reply)

    def receive(self, tokens: Iterable[bytes]) -> None:
        """The platform has the alarms of these tokens."""
        heard = False
        for token in tokens:
            if (awaited := self._forget(token)) is not None:
                self.feed.done(awaited.item)
                heard = True
        if heard and not self.late and self.feed.notes.pop("receipts missing", False):
            self._tell("receipt-recovered", f"{self.wire.where}: the platform gives receipts again")

    def _remind(self) -> None:
        """Send again the alarm that waits longest for its receipt."""
        _, token = heapq.heappop(self.reminders)
        if (awaited := self.awaited.get(token)) is None:
            return
        if not self.feed.owes(awaited.item):
            self._forget(token)
            return
        awaited.times += 1
        self.late.add(token)
        self._go(msgspec.structs.replace(awaited.item, resent=True))
        if not self.feed.notes.get("receipts missing"):
            self.feed.notes["receipts missing"] = True
            text = f"{self.wire.where}: no receipt for {token.decode()} in {self.settings.receipt_deadline:g} s"
            self._tell("receipt-missing", f"{text}: sent again; does the platform answer on {self.receipts}?")

    # -- deadlines ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Every `TICK` seconds: deadlines. Raises `LineLost` where a confirmation is overdue."""
        self.wire.tend()
        if not self.flights:
            return
        oldest = next(iter(self.flights.values()))
        if self.loop.time() > oldest.deadline:
            waited = self.loop.time() - oldest.sent
            self.overdue = True
            raise LineLost(f"{self.wire.where}: no PUBACK for {waited:.1f} s; the link or the broker hangs")


def is_topic(name: str) -> bool:
    """Whether something may be published there.

    >>> is_topic("platform/answers"), is_topic(""), is_topic("a/#"), is_topic("$SYS/x")
    (True, False, False, False)
    """
    return bool(name) and not set("#+\0") & set(name) and not name.startswith("$") and len(name.encode()) < 1024


def token_of(one: Item | Receipt) -> bytes:
    """By what the platform's receipt of an alarm edge is known."""
    return f"{one.boot}/{one.stream}/{one.seq}".encode()


class Stretch(msgspec.Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """What a platform wants once more: numbers of one stream of one start, both included."""

    boot: Annotated[str, Meta(max_length=64)]
    stream: Annotated[str, Meta(max_length=256)]
    first: Annotated[int, Meta(ge=1, lt=2**53)]
    last: Annotated[int, Meta(ge=1, lt=2**53)]

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError("`to` comes before `from`")


class Receipt(msgspec.Struct, frozen=True):
    """What a platform says of an alarm edge that it has."""

    boot: str
    stream: str
    seq: int

    @property
    def token(self) -> bytes:
        return token_of(self)
