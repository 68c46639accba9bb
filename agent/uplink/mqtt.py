"""MQTT, in the native language of this program (`design.md` 6). The wire is `wire.py`.

Under `vedette/<site>/<node>/`, QoS 1, JSON in UTF-8, times in ms UTC:

    state                              retained, and the will: `state` is "online" (with the open `alarms`) or "offline"
    alarm/<level>/<channel>/<rule>     one edge; retained while the alarm is active, then an empty message clears it;
                                       so one does where the level moved away from (`before`)
    event                              anything else that happened
    evidence/<alarm id>                what a camera kept of an alarm: an event, of the same stream, whose `facts` are
                                       the manifest, with `sha256` of its file
    telemetry/<source>                 columns: `t` [r], `key` [n], `unit` [n], `value` [r][n], `quality` [r][n]
    backfill/<source>                  the same with `historical`: it was measured while the link was down or slow
    receipt                            to this node, with `receipts`: {"boot", "stream", "seq"} of an alarm edge
    range                              to this node, with `ranges`: {"boot", "stream", "from", "to"}, wanted once more
    cmd/<id>                           to this node, with `commands`: an envelope (`agent/commands.py`)
    cmd/<id>/ack                       what became of it: events of the kind `command`, of the same stream as others
    .../doctor                         empty, and nothing to anybody: `vedette doctor` tries whether it may speak there

A channel is `source/key`, so it makes two levels of the topic; `#`, `+` and `%` in names are written %23, %2B,
%25. Every message but `state` carries `boot`, `stream` and `seq`: together the platform's key; `seq` counts
from 1 without a gap. `resent` marks a message that may have been sent before. `synced` says whether the wall
clock could be trusted, at the time or since: stamps that were put right later are told with what stood there at
first, `t_original`, `at_original`, `since_original`. A `quality` row that is the same for all keys is one number in a
list of one. A value that is not known is null; one that float32 holds exactly is written with the digits that float32
needs.

An alarm with `"drill": true` is none: somebody proves the way to the platform, which should show it as a drill and
acknowledge it like any other message. It is `raised` and `normal` at once, its text begins with DRILL (or its Chinese
word), it is never retained, never among the open ones, and no other edge follows.

An alarm with `origin` rests on what a neighbour said (its site/node), not on what this node measured: whoever listens
to both has it from there, and another neighbour must not take it over.

The `alarms` of `state` are sorted by level, red first, and the newest of a level first. Where they would make the
message larger than the broker takes, or than 64 kB, the end of the list is left out and `more` says how many.

Where the broker lost what it kept, `state` is said once more: `unkept` are the ids of the alarms that stand and are
not retained on their topics; and again as they end. Whoever connects finds what stands on the topics, and in `unkept`.

An event of the kind `journal-head` says in its `facts` how far the journal of this node is: `record`, `checksum`, and
the `signature` by its `key`. Whoever keeps the newest one can tell later that the journal was cut off or put back.

With `receipts` an alarm edge is done when the platform says that it has it, not when the broker does. The platform
says so on `receipt`, not retained, each time that it hears the edge. In MQTT 5 the alarm names this topic as its
response topic; its correlation data, sent back with any payload, will do. An edge without a receipt is sent again
with `resent`, in growing pauses, for ever. Nobody but the platform should have the right to publish there.

With `ranges` the platform may ask for numbers of a stream once more, both ends included, not retained. What the store
still has comes on `backfill/<source>`, with `resent`; an event `range` says what does not, and why.

With `commands` an envelope on `cmd/<id>`, not retained, is judged and done; <id> is the sender's choice. Its states
come on `cmd/<id>/ack`, in the stream of events, with `facts`: `id`, `state`, `reason`, `verb`, `issuer`, `by`; and on
the response topic, if the sender of a new command that somebody signed named one, with the sender's correlation data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import msgspec
import numpy as np

from ..commands import LARGEST
from ..core.alarm import LEVELS, Alarm
from ..core.frame import Array, Instant
from ..core.ports import Batch, Brief, Event, Identity, Item
from ..wire import Broker, Message, Wire, size
from .session import Parcel, Receipt, Session, serve

STATE_BYTES = 64 * 1024  # of a state message at most, whatever the broker allows
UNKEPT = ',"unkept":[],""'  # what the first id costs beside its letters
SWEEP = 1.0  # s after which what the broker kept of this node has arrived
# Of an alarm: left out where empty.
OPTIONAL = {"advice", "reason", "until", "group", "first", "fold", "before", "origin", "drill"}


class Mqtt(Broker, tag="mqtt", frozen=True, kw_only=True):
    """One broker."""

    prefix: str = "vedette"  # first level of the topics

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.prefix or set("#+") & set(self.prefix):
            raise ValueError("prefix must not be empty nor contain # or +")

    def root(self, site: str, node: str) -> str:
        """What all topics of a node begin with."""
        return f"{self.prefix}/{_level(site)}/{_level(node)}"

    async def send(self, brief: Brief) -> None:
        """Connect and deliver until cancelled, then say goodbye. Raises `LineLost` or `Refused`."""
        who = brief.who
        language = Language(self.root(who.site, who.node), who)

        def begin(wire: Wire) -> Native:
            return Native(self, wire, language, brief)

        await serve(self, f"{self.prefix}-{who.site}-{who.node}-{self.name}", language.knock, begin, brief)


# -- what is said ---------------------------------------------------------------------------------------


ENCODER = msgspec.json.Encoder(enc_hook=str)


def ms(at: Instant) -> int:
    """Milliseconds UTC."""
    return round(at.wall * 1000)


def _level(name: str) -> str:
    """A name as part of a topic: `#` and `+` are not allowed there, and `%` keeps it reversible.

    >>> _level("pump #2")
    'pump %232'
    """
    return name.replace("%", "%25").replace("#", "%23").replace("+", "%2B").replace("\0", "%00")


def _alarm(alarm: Alarm) -> dict[str, Any]:
    fields = msgspec.structs.asdict(alarm)
    fields |= {"since": ms(alarm.since), "at": ms(alarm.at), "until": alarm.until and ms(alarm.until)}
    return {name: value for name, value in fields.items() if value or name not in OPTIONAL}


def _stamps(batch: Batch) -> list[int]:
    """Milliseconds UTC of each row."""
    return np.rint(batch.wall * 1000).astype(np.int64).tolist()  # type: ignore[no-any-return]


def _originally(body: Alarm | Event | Batch) -> dict[str, Any]:
    """What the stamps said before they were put right."""
    if isinstance(body, Batch):
        return {"t_original": _stamps(body)}
    since = {"since_original": ms(body.since)} if isinstance(body, Alarm) else {}
    return {"at_original": ms(body.at)} | since


class Language:
    """Items as messages. Keeps only encoded lists of channels, by source."""

    def __init__(self, root: str, who: Identity) -> None:
        self.root, self.who = root, who
        self._lists: dict[str, tuple[Any, Any, msgspec.Raw, msgspec.Raw]] = {}

    @property
    def alarms(self) -> str:
        """Filter of all alarm topics of this node."""
        return f"{self.root}/alarm/#"

    @property
    def receipts(self) -> str:
        """Where the platform says what it has."""
        return f"{self.root}/receipt"

    @property
    def ranges(self) -> str:
        """Where the platform asks for stretches once more."""
        return f"{self.root}/range"

    @property
    def commands(self) -> str:
        """Filter of where this node is commanded."""
        return f"{self.root}/cmd/+"

    def birth(
        self, alarms: Iterable[Alarm], at: Instant, largest: int = STATE_BYTES, unkept: Collection[str] = ()
    ) -> Message:
        """The retained word that this node is there, and what is not normal: the platform reconciles by it.

        As many alarms as fit into a packet of `largest` bytes and into `STATE_BYTES`, the most important first.
        `unkept`: ids of those that the broker does not keep on their topics, though they are active.
        """
        who = {"site": self.who.site, "node": self.who.node, "version": self.who.version, "config": self.who.config}
        rest = sorted(alarms, key=lambda alarm: (LEVELS.index(alarm.level), -alarm.at.wall))

        def message(listed: list[msgspec.Raw], lost: list[str]) -> Message:
            more: dict[str, Any] = {"more": len(rest) - len(listed)} if len(listed) < len(rest) else {}
            more |= {"unkept": lost} if lost else {}
            return self._state("online", **who, since=ms(at), synced=at.synced, alarms=listed, **more)

        room = min(STATE_BYTES, largest) - size(message([], []))
        listed, lost = [], []
        for alarm in rest:
            text = msgspec.Raw(ENCODER.encode(_alarm(alarm)))
            room -= len(text) + 1 + (len(alarm.id) + len(UNKEPT) if alarm.id in unkept else 0)
            if room < 0:
                break
            listed.append(text)
            lost += [alarm.id] if alarm.id in unkept else []
        return message(listed, lost)

    def will(self) -> Message:
        """What the broker says when the link is lost; it has no time, since nobody knows when that will be."""
        return self._state("offline")

    async def knock(self) -> Message:
        """The will of the next connection."""
        return self.will()

    def offline(self, at: Instant) -> Message:
        """What this node says before it leaves."""
        return self._state("offline", since=ms(at), synced=at.synced)

    def _state(self, state: str, **fields: Any) -> Message:
        body = {"schema": "vedette.state/1", "state": state, "boot": self.who.boot, **fields}
        return Message(f"{self.root}/state", ENCODER.encode(body), True)

    def topic(self, alarm: Alarm) -> str:
        """Where the edges of an alarm are told, and where it is retained."""
        return f"{self.root}/alarm/{alarm.level}/{_level(alarm.channel)}/{_level(alarm.rule)}"

    def messages(self, item: Item, is_open: Callable[[Alarm], bool]) -> list[Message]:
        """What to send for one item, in this order. An alarm is retained only while it is active and `is_open`."""
        body = item.body
        head = {"boot": item.boot, "stream": item.stream, "seq": item.seq}
        if item.resent:
            head["resent"] = True
        if item.original is not None:
            head |= _originally(item.original)
        if isinstance(body, Batch):
            return [self._telemetry(item, body, head)]
        head["synced"] = body.at.synced
        if isinstance(body, Event):
            fields = {"at": ms(body.at), "kind": body.kind, "source": body.source, "text": body.text}
            text = ENCODER.encode({"schema": "vedette.event/1", **head, **fields, "facts": body.facts})
            kept = "event"
            if body.kind == "evidence":
                kept = f"evidence/{_level(str(body.facts.get('alarm')))}"
            elif body.kind == "command" and body.facts.get("topic"):
                kept = f"cmd/{body.facts['topic']}/ack"
            return [Message(f"{self.root}/{kept}", text, False)]
        topic = self.topic(body)
        text = ENCODER.encode({"schema": "vedette.alarm/1", **head, **_alarm(body)})
        if body.state.startswith("active"):
            told = Message(topic, text, is_open(body))  # else it is over already: nothing stale is retained
            if body.before is None:
                return [told]
            return [told, Message(self.topic(msgspec.structs.replace(body, level=body.before)), b"", True)]
        return [Message(topic, text, False), Message(topic, b"", True)]

    def _telemetry(self, item: Item, batch: Batch, head: dict[str, Any]) -> Message:
        key, unit = self._channels(batch)
        uniform = (batch.quality == batch.quality[:, :1]).all(axis=1) if batch.quality.size else np.array([], bool)
        body = {
            "schema": "vedette.telemetry/1",
            **head,
            "synced": batch.synced,
            **({"historical": True} if item.historical else {}),
            "source": batch.source,
            "t": _stamps(batch),
            "key": key,
            "unit": unit,
            "value": short(batch.value).tolist(),
            "quality": [
                row[:1].tolist() if same else row.tolist() for row, same in zip(batch.quality, uniform, strict=True)
            ],
        }
        lane = "backfill" if item.historical else "telemetry"
        return Message(f"{self.root}/{lane}/{_level(batch.source)}", ENCODER.encode(body), False)

    def _channels(self, batch: Batch) -> tuple[msgspec.Raw, msgspec.Raw]:
        """Channels and units, encoded once for as long as they stay the same objects."""
        known = self._lists.get(batch.source)
        if known is None or known[0] is not batch.key or known[1] is not batch.unit:
            raw = msgspec.Raw(ENCODER.encode(batch.key)), msgspec.Raw(ENCODER.encode(batch.unit))
            known = self._lists[batch.source] = (batch.key, batch.unit, *raw)
        return known[2], known[3]


TEN: Array = 10.0 ** np.arange(23)  # powers of ten that float64 holds exactly


def short(value: Array) -> Array:
    """Numbers that float32 holds exactly, as the float64 that prints with 7 or 9 digits and means the same float32.

    Measured: halves the message. Anything else comes back as it is.

    >>> short(np.array([20.1], np.float32).astype(float))
    array([20.1])
    """
    with np.errstate(all="ignore"):
        single = value.astype(np.float32)
        exact = single == value
        if not (exact | np.isnan(value)).all():
            return value
        magnitude = np.floor(np.log10(np.abs(value)))
        power = np.where(np.isfinite(magnitude), 8 - magnitude, 0).astype(int)
        nine = TEN[np.clip(power, 0, 22)]
        seven = TEN[np.clip(power - 2, 0, 22)]
        few = np.rint(value * seven) / seven
        most = np.where(few.astype(np.float32) == single, few, np.rint(value * nine) / nine)
        return np.where(most.astype(np.float32) == single, most, value)


def acknowledged(payload: bytes, correlation: bytes) -> list[bytes]:
    """The tokens that a message on the topic of receipts may stand for; anybody's bytes.

    >>> acknowledged(b'{"boot": "1-a", "stream": "alarm", "seq": 7}', b"")
    [b'1-a/alarm/7']
    >>> acknowledged(b"nonsense", b"1-a/alarm/7")
    [b'1-a/alarm/7']
    """
    tokens = [correlation] if correlation else []
    try:
        return [*tokens, msgspec.json.decode(payload, type=Receipt).token]
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return tokens


# -- the session ----------------------------------------------------------------------------------------


class Native(Session):
    """A session in this language: what is retained of an earlier one is put right, and receipts are read."""

    def __init__(self, settings: Mqtt, wire: Wire, language: Language, brief: Brief) -> None:
        super().__init__(settings, wire, brief)
        self.language = language
        self.receipts = language.receipts
        self.active: dict[str, int] | None = None  # ids of the active open alarms, their edges, once known in this turn
        self.topics: set[str] | None = None  # topics of the same, once known in this turn
        self.told: set[str] = set()  # alarm topics of this connection, until what was retained is swept
        self.swept = self.loop.time() + SWEEP
        self.unkept: set[str] = set()  # ids of active alarms that the broker lost
        self.stale = False  # what the birth says of them
        self.bore = ""  # the configuration that it says

    def greet(self) -> None:
        self.wire.listen(self.language.alarms)
        if self.settings.receipts:
            self.wire.receive(self.language.receipts)
        if self.settings.ranges:
            self.wire.hear(self.language.ranges)
        if self.settings.commands:
            self.wire.hear(self.language.commands, LARGEST)
        self.births = [self._bear()]

    def _bear(self) -> Parcel:
        self.stale, self.bore = False, self.language.who.config
        largest = 0 if self.curt else self.largest  # 0 bytes have room for no alarm
        return self.say(self.language.birth(self.open_alarms(), self.clock.now(), largest, self.unkept))

    def goodbye(self, at: Instant) -> Message:
        return self.language.offline(at)

    def pausing(self, at: Instant) -> None:
        """It is back before anybody misses it."""

    def hear(self) -> None:
        if self.wire.receipts:
            tokens = [token for told in self.wire.receipts for token in acknowledged(*told)]
            self.wire.receipts.clear()
            self.receive(tokens)
        while self.wire.denied:
            self._tell(
                "refused", f"{self.wire.where}: may not listen to {self.wire.denied.popleft()}: check rights (ACL)"
            )
        while self.wire.said:
            said = self.wire.said.popleft()
            if said.retained:  # a command is for now
                continue
            if said.topic == self.language.ranges:
                self.asked_for(said.payload)
            else:
                self.commanded(said)

    def turn(self) -> None:
        self.active = self.topics = None

    def words(self, item: Item, times: int) -> list[Message]:
        messages = self.language.messages(item, self._is_open)
        if times:  # what followed may be there already: what is retained now must stay
            messages = [m for m in messages if m.payload or m.topic not in self._topics()]
            messages[0] = messages[0]._replace(retain=messages[0].retain and self._is_latest(item))
        return messages

    def shipped(self, item: Item, messages: list[Message]) -> None:
        if item.lane == "alarm" and self.swept < float("inf"):
            self.told.update(message.topic for message in messages)
        if self.unkept and isinstance(item.body, Alarm) and item.body.id in self.unkept:
            self.unkept.discard(item.body.id)  # it is over, or retained anew
            self.stale = True

    def look(self) -> None:
        super().look()
        if self.loop.time() > self.swept:
            self._sweep()
        if self.stale or (self.up and self.bore != self.language.who.config):
            self._bear()

    def _is_open(self, alarm: Alarm) -> bool:
        if self.active is None:  # once per turn: thousands may be open, and thousands may be told
            self.active = {other.id: other.edge for other in self._active_alarms()}
        return alarm.id in self.active

    def _is_latest(self, item: Item) -> bool:
        alarm = item.body
        return isinstance(alarm, Alarm) and self._is_open(alarm) and (self.active or {})[alarm.id] == alarm.edge

    def _topics(self) -> set[str]:
        """Where active alarms are retained."""
        if self.topics is None:
            self.topics = {self.language.topic(alarm) for alarm in self._active_alarms()}
        return self.topics

    def _active_alarms(self) -> Iterable[Alarm]:
        return (alarm for alarm in self.open_alarms() if alarm.state.startswith("active"))

    def _sweep(self) -> None:
        """Once: clear the retained alarms of an earlier connection that are not active any more.

        A raise is published while it is committed; a crash in between leaves it retained, and no later edge of it
        will ever come. A late subscriber must not find it. A topic of an alarm that is active now, or that was told
        on this connection, holds its own word or soon will.
        """
        self.swept = float("inf")
        self.wire.unlisten(self.language.alarms)
        active = {self.language.topic(alarm): alarm.id for alarm in self._active_alarms()}
        self.unkept = {id for topic, id in active.items() if topic not in self.told and topic not in self.wire.retained}
        self.stale = bool(self.unkept)
        mine = self.told | set(active)
        for topic in self.wire.retained:
            if topic not in mine:
                self.say(Message(topic, b"", True))
        self.wire.retained.clear()
        self.told.clear()
