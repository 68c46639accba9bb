"""The borders of the core: what plug-ins and the shell promise each other.

A driver, a detector, an uplink is a frozen struct decoded from TOML; these are the shapes it fills.
`agent/checks.py` holds the laws that each of them must satisfy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

from msgspec import Meta, Struct

from .alarm import Alarm, Level, Order, Point
from .frame import Array, Frame, Instant, Layout
from .words import Language


class Clock(Protocol):
    """The only way to learn the time. `agent/clock.py` has the real one and one for tests."""

    def now(self) -> Instant:
        """This moment."""

    async def sleep(self, seconds: float) -> None:
        """Wait on the monotonic clock."""


class Event(Struct, frozen=True):
    """Something that happened and is not an alarm: a device lost, a gap, a changed configuration.

    `kind` is a stable word for machines (`device-lost`, `order-done`, ...), `text` is for people.
    """

    kind: str
    source: str
    at: Instant
    text: str
    facts: dict[str, Any] = {}


class Fared(NamedTuple):
    """How one device of a line answered lately. Times in s, NaN where nothing was answered."""

    device: str
    unit: int
    asked: int  # requests, of `Tally.span` s
    silent: int  # of these, without a reply
    garbled: int  # with a reply that does not fit
    refused: int
    late: int  # with a reply that came near the end of the time for it
    mean: float  # s to a reply
    worst: float
    lost: bool  # it is probed, not polled
    answered: bool  # ever, since the line was opened


class Tally(NamedTuple):
    """How a line fared: said now and then by a driver that counts, for people to look at. Nothing is judged by it."""

    line: str
    at: Instant
    span: float  # s that it speaks of
    timeout: float  # s that a reply is waited for
    serial: bool  # a line of wires, where termination matters
    devices: tuple[Fared, ...]


class Touch(Order, frozen=True):
    """A drill of one output: what stands there is read, and where that is what is wanted (`on`) written once more and
    read back. Nothing ever changes by it."""


class Orders(Protocol):
    """Orders on their way to the driver that owns the output. They overtake polls."""

    async def wait(self, seconds: float) -> None:
        """Return after `seconds`, or at once when an order is there."""

    def take(self) -> Order | None:
        """The oldest order not yet taken, or None."""


class Span(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is kept around alarms of some rules."""

    rule: str  # name, wildcards allowed
    before: float  # s
    after: float  # s


Format = Literal["mp4", "webm"]  # of clips


class Witness(Struct, frozen=True, kw_only=True):
    """A camera that keeps pictures, for the alarms of what it looks at and for its own."""

    camera: str  # its source
    own: tuple[str, ...]  # all sources that it gives: its own alarms are about these
    ring: str  # folder of its reels
    looks_at: tuple[str, ...]  # `source/key`, wildcards allowed
    before: float  # s that are kept before the decision
    after: float  # s after it
    clips: tuple[Span, ...] = ()  # the same for alarms of some rules; the first that fits
    masks: tuple[tuple[tuple[float, float], ...], ...] = ()  # what is painted over, as shares of width and height
    rate: float = 10.0  # pictures/s
    wide: int = 960  # pixels of a clip, at most
    format: Format = "mp4"  # of a clip


class Driver(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line to the world. It connects, yields and raises; it never reconnects: `keep` does.

    Sources that cannot be read are simply not yielded: their age speaks. An error of the whole line
    is raised as `LineLost`; one dead device on a living line costs only its own frames and an event.
    """

    tag: ClassVar[str] = ""
    name: str

    def layouts(self) -> Mapping[str, Layout]:
        """The sources that this driver will yield, with their channels. Pure."""
        raise NotImplementedError

    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that this driver can write and rules may drive. Pure."""
        return ()

    def armed(self) -> tuple[str, ...]:
        """Those of its outputs that may be written: a person armed them. Pure."""
        return ()

    def heartbeats(self) -> Mapping[str, float]:
        """Outputs that no rule drives, written the other way round every so many s while the agent judges. Pure."""
        return {}

    def faults(self) -> list[str]:
        """What is wrong with the whole that no single field shows, each with what to do (a period that the
        bus cannot meet, say). Pure; asked by the configuration, which refuses to start with any."""
        return []

    def at_home(self, shelf: str, free_mb: float) -> Driver:
        """The same driver, which knows the folder in which evidence is kept, and how many MB of its disk are to stay
        free. Pure."""
        return self

    def witness(self) -> Witness | None:
        """What it keeps of what it sees, if anything. Pure."""
        return None

    def periods(self) -> Mapping[str, float]:
        """s between two polls of each source that is polled on a grid. Pure."""
        return {}

    def worst(self) -> float:
        """s that may pass between two calls of `orders` while all is well, however bad the line: beyond twice that
        the driver hangs and is started again. Pure."""
        return 5.0

    def wiring(self, language: Language = "en") -> list[str]:
        """The resolved wiring for people, a line each: sources, blocks, worst-case scan time. Pure."""
        return []

    def certificates(self) -> tuple[str, ...]:
        """Its channels that say for how many days a certificate is still valid. Pure."""
        return ()

    def frames(self, clock: Clock, orders: Orders) -> AsyncIterator[Frame | Event | Tally]:
        """Poll until cancelled. Raises `WorldFault` when the line is gone."""
        raise NotImplementedError

    async def once(self, clock: Clock) -> list[Frame | Event]:
        """Every source polled once, for `vedette test`; what could not be read gives an event with the reason.

        Ends by itself and obeys no orders. Raises `WorldFault` when the line cannot be had.
        """
        raise NotImplementedError


class Detector(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From columns to columns: what cannot be measured, but reckoned from what was.

    It sees the channels of one source that its patterns name, n of them in that order, and beside these its witnesses,
    w channels of any source as they were read last; and adds columns to every frame of that source. Rules, journal and
    platforms see them as channels like any other. What it sees comes as a frame of n + w channels: those with a `/` in
    their key are the witnesses (`witnesses` counts them). Memory is an argument and a result, O(1) per sample; time
    comes with the frame.
    """

    tag: ClassVar[str] = ""
    looks_beside: ClassVar[bool] = False  # it has a use for witnesses
    lies: ClassVar[tuple[str, ...]] = ()  # columns `<key>.<lie>` that are 1 where the data is not to be believed
    strange: ClassVar[bool] = False  # its columns are alarms at 0 and above: rarer than the budget allows
    name: str
    channel: list[str]  # `source/key`, wildcards allowed; of several sources: each by itself
    beside: list[str] = []  # witnesses: `source/key`, wildcards allowed, of any source; its own channels are none

    @property
    def witnessed(self) -> list[str]:
        """Patterns of all that it sees beside its own channels. Pure."""
        return self.beside

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        """Key and unit of each column that these channels of one source give. Pure. Raises `ValueError` in words."""
        raise NotImplementedError

    def start(self, seen: Layout) -> Any:
        """The memory before the first frame. Its type stands as the annotation of what is returned: by that a saved
        one is read again."""
        raise NotImplementedError

    def step(self, memory: Any, seen: Frame) -> tuple[Any, Array, Array]:
        """New memory; value (m,), NaN where it cannot say, and quality (m,) of the columns. The old memory stays."""
        raise NotImplementedError

    def why(self, memory: Any, seen: Layout, column: int) -> list[tuple[str, dict[str, Any]]]:
        """Why that column stands as it does after the last step: rows of `words.WHY` with what fills them. Pure."""
        return []

    def moved(self, memory: Any, seconds: float) -> Any:
        """The same memory on a clock that stands `seconds` later; None: forget it. Pure.

        A new run of the kernel begins its monotonic clock anew. A memory that holds no instants may be given back.
        """
        return None


def witnesses(seen: Layout) -> int:
    """How many of the channels that a detector sees are not its own."""
    return sum("/" in key for key in seen.key)


# -- between the store and the uplinks ------------------------------------------------------------

Lane = Literal["alarm", "event", "telemetry", "backfill"]
LANES: tuple[Lane, ...] = ("alarm", "event", "telemetry", "backfill")  # most urgent first


class Batch(Struct, frozen=True, eq=False):
    """Frames of one source stacked: t rows of n channels, oldest first."""

    source: str
    key: tuple[str, ...]  # (n,)
    unit: tuple[str, ...]  # (n,)
    mono: Array  # (t,) float64 s
    wall: Array  # (t,) float64 s, UTC
    synced: bool  # of all rows
    value: Array  # (t, n) float64, NaN where not measured
    quality: Array  # (t, n) uint8


class Item(Struct, frozen=True, eq=False):
    """One message that an uplink owes its platform.

    `row` is the store's key, unique for ever. (`boot`, `stream`, `seq`) is the platform's key: `seq`
    counts from 1 without a gap in each stream of each boot. `historical`: it is not news (backfill).
    `resent`: it may have been sent before; a receiver drops it if it knows the platform's key.
    `original`: the body as it was put, where its stamps were mended since (`agent/eras.py`).
    """

    lane: Lane
    row: int
    boot: str
    stream: str  # "alarm", "event" or "telemetry/<source>"
    seq: int
    body: Alarm | Event | Batch
    historical: bool = False
    resent: bool = False
    original: Alarm | Event | Batch | None = None

    @property
    def point(self) -> Point | None:
        """What the alarm is about; None for anything else."""
        return self.body.point if isinstance(self.body, Alarm) else None


class Latest(NamedTuple):
    """The newest of one source since the start."""

    frame: Frame  # the last that was reported: what came since did not leave its dead band
    seen: float  # s, monotonic: when it was last polled


class Feed(Protocol):
    """What the store shows one uplink: the items that it still owes, most urgent first."""

    notes: dict[str, Any]  # what the uplink wants to know when it connects the next time; a restart forgets it

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever there may be something new to take. One watcher; it must not block."""

    def take(self, least: Lane = "backfill") -> Item | None:
        """The most urgent item not yet handed out, of the lanes down to `least`; or None."""

    def done(self, item: Item) -> None:
        """The platform has it."""

    def again(self, item: Item) -> None:
        """It was handed out and not confirmed; it comes back marked `resent`."""

    def refused(self, item: Item, why: str) -> None:
        """The platform will never take it: it is set aside, counted and told, and the stream goes on."""

    def online(self, up: bool) -> None:
        """The link came up or went down. While it is down nothing is live: telemetry becomes backlog,
        and what was handed out and not confirmed comes back marked `resent`."""

    def owes(self, item: Item) -> bool:
        """Whether an item that was handed out is still to be delivered; a cap may have dropped it since."""

    def is_suspect(self, item: Item) -> bool:
        """Whether connections broke over it: then it is to go alone, with nothing else under way."""

    def blame(self, item: Item, why: str) -> None:
        """The other side closed the connection, and `item` was the oldest that waited for its confirmation.

        To be said before `online(False)`. Five times in a row, and the item is isolated: telemetry is set aside, an
        alarm or event deferred.
        """

    async def past(self, boot: str, sources: Collection[str], until: float, span: float) -> list[Batch]:
        """What the store knows of these sources in the `span` s before a moment of that boot (monotonic), oldest first.

        Nothing where it knows nothing, or the disk is in trouble. For a language in which an alarm says where it was.
        """

    def lost(self) -> Mapping[str, int]:
        """How many items of each lane were dropped by the caps since boot."""

    def latest(self) -> Mapping[str, Latest]:
        """Where each source stands now, for a birth message."""

    def ask(self, boot: str, stream: str, first: int, last: int) -> None:
        """The platform wants numbers `first` to `last` of a stream once more. An event `range` says what comes of it,
        and why not all."""

    def command(self, envelope: bytes, topic: str, reply: Callable[[dict[str, Any]], None]) -> None:
        """Somebody commands this node. What becomes of it is an event `command`; `reply` hears it at once as well, for
        as long as this life lasts. It must not block."""


class Identity(Struct):
    """Who speaks, for every message; and for languages that say all names first, what there is to be said.

    One for the whole life of the agent. With another configuration its last three fields change, and whoever said them
    says them again.
    """

    site: str
    node: str
    boot: str
    version: str
    config: str  # hash of the configuration in force
    home: str = ""  # folder of the state; empty: nothing can be kept
    layouts: Mapping[str, Layout] = {}  # by source
    points: Mapping[Point, Level] = {}  # what may have an alarm, and its level


class Brief(NamedTuple):
    """What one uplink works with."""

    feed: Feed  # what it owes its platform
    who: Identity
    open_alarms: Callable[[], Iterable[Alarm]]  # those that are not normal now, for the birth message
    clock: Clock
    tell: Callable[[Event], None]  # hears what happens to the link (`link-up`, `refused`, ...); it must not block


class Uplink(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One platform in one language. It connects, sends and raises; it never reconnects: `keep` does."""

    tag: ClassVar[str] = ""
    name: str
    levels: tuple[Level, ...] = ()  # of alarms that it is told; empty: all
    sources: tuple[str, ...] = ()  # whose alarms and telemetry it is told, wildcards allowed; empty: all
    lanes: tuple[Lane, ...] = ()  # empty: all; telemetry without backfill: what cannot go at once goes never
    spread: Annotated[float, Meta(ge=0, le=600)] = 15.0  # s over which a fleet comes back; `agent/comeback.py`

    def __post_init__(self) -> None:
        if "backfill" in self.lanes and "telemetry" not in self.lanes:
            raise ValueError("lanes: backfill is telemetry that came too late; name both")

    def is_choosy(self) -> bool:
        """Whether its platform is not told everything. Pure."""
        return bool(self.levels or self.sources or self.lanes)

    def wants_lane(self, lane: Lane) -> bool:
        """Whether its platform is told of this lane at all. Pure."""
        return not self.lanes or lane in self.lanes

    def wants_source(self, source: str) -> bool:
        """Whether its platform is told of this source. Pure."""
        return not self.sources or any(fnmatchcase(source, pattern) for pattern in self.sources)

    def wants_point(self, point: Point, level: Level) -> bool:
        """Whether its platform is told of alarms of this level at this point. Pure."""
        wanted = self.wants_lane("alarm") and (not self.levels or level in self.levels)
        return wanted and self.wants_source(point[1].partition("/")[0])

    def at_home(self, home: str, shelf: str) -> Uplink:
        """The same uplink, which knows the folder of the state and the one in which evidence is kept. Pure."""
        return self

    def certificates(self) -> tuple[str, ...]:
        """Whose certificates it watches the end of: channels `tls/<name>.<whose>`. Pure."""
        return ()

    def faults(self, channels: Collection[str]) -> list[str]:
        """What does not fit these channels of the site, each with what to do. Pure; asked by the configuration."""
        return []

    async def send(self, brief: Brief) -> None:
        """Connect and deliver until cancelled. Raises `WorldFault` when the link is gone.

        Between the events `link-up` and `link-down` it comes round every few seconds, news or not: one that waits
        longer counts as hanging.
        """
        raise NotImplementedError
