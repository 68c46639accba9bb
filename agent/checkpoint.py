"""What the core knows beyond its open alarms, kept on the disk: running delays, windows of rules, memories of
detectors, the load, accounts of what people breathed.

The open alarms themselves are kept by the store, in the transaction of each edge; what is here may be older, or gone,
and costs only patience then: a delay begins anew, a window fills again. It is written now and then, whole, as one file
that replaces the last one; the more it is, the less often (`BUDGET`), and once at a clean stop.

    "vdm1" | CRC-32 of the rest | zlib of a `Snapshot` in MessagePack

Each part says what it was made for (rules, channels, a detector's settings). What was made for something else is not
taken over. Instants are moved to this run of the kernel: by the wall clock where it could be trusted at both ends, else
as if no time had passed. The time without a watch makes no channel older, for nobody asked it: an interlock must not
trip because a program was started. After so much of it that a channel would have gone stale, it is as if never read.
Nor does that time count for what is back to normal: it is known to have been so only while it was watched.
"""

from __future__ import annotations

import asyncio
import hashlib
import typing
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct, structs

from . import durable
from .core import exposure, load
from .core.colours import Colours
from .core.core import Bench, Core, Memory, Watch
from .core.exposure import Book
from .core.frame import Array, Instant, Quality
from .core.load import Load
from .core.ports import Event
from .core.rules import Seen
from .hand import Hand

MAGIC = b"vdm1"
NAME = "memory.bin"
BUDGET = 1157.0  # bytes/s that may be written, 100 MB a day: cards wear out; project
LEAST = 60.0  # s between two writings
HURRY = 30.0  # times sooner where a person walked: nobody says a second time who is where


class Part(Struct, frozen=True):
    """The memory of one measure, one detector, the book ..."""

    made_for: str
    memory: msgspec.Raw


class Kept(Struct, frozen=True):
    """What is kept of one source with P points."""

    made_for: str
    seen: Seen
    over: Array  # (P,)
    back: Array  # (P,)
    measures: tuple[Part, ...]
    derived: tuple[Part, ...]


class Snapshot(Struct, frozen=True):
    """The whole of it, as it stood at one instant."""

    kernel: str
    at: Instant
    sources: dict[str, Kept]
    load: Load
    colours: Part | None = None
    book: Part | None = None


class Shift(NamedTuple):
    """Between the snapshot and now."""

    moved: float  # s that the monotonic clock of now is ahead of that of then
    unwatched: float  # s that passed


# -- pure ---------------------------------------------------------------------------------------------


def pack(core: Core, memory: Memory, at: Instant, kernel: str) -> bytes:
    """What is worth keeping of a memory at `at`, in the run `kernel` of the monotonic clock."""
    sources = {
        source: Kept(
            _of_bench(bench),
            watch.seen,
            watch.over,
            watch.back,
            tuple(_part(_of_points(m.points), one) for m, one in zip(bench.measures, watch.measures, strict=True)),
            tuple(_part(_of_detector(d), one) for d, one in zip(bench.gained, watch.derived, strict=True)),
        )
        for source, bench in core.benches.items()
        for watch in [memory.watches[source]]
    }
    colours = _part(_of_items(core), memory.colours) if memory.colours is not None else None
    book = _part(_of_air(core), memory.book) if memory.book is not None else None
    body = _encoded(Snapshot(kernel, at, sources, memory.load, colours, book))
    packed = zlib.compress(body, 1)
    return MAGIC + zlib.crc32(packed).to_bytes(4, "big") + packed


def unpack(core: Core, fresh: Memory, data: bytes, at: Instant, kernel: str) -> Memory:
    """`fresh`, the memory of a start at `at`, with what `data` kept for it. Raises `ValueError` if it is damaged."""
    packed = data[8:]
    if data[:4] != MAGIC or zlib.crc32(packed).to_bytes(4, "big") != data[4:8]:
        raise ValueError("damaged")
    try:
        kept = msgspec.msgpack.decode(zlib.decompress(packed), type=Snapshot, dec_hook=_array)
    except (zlib.error, msgspec.MsgspecError, ValueError, TypeError) as error:
        raise ValueError(f"of another version: {error}") from None
    shift = _shift(kept, at, kernel)
    watches = {
        source: _watch(core.benches[source], watch, kept.sources[source], shift, at)
        if source in kept.sources
        else watch
        for source, watch in fresh.watches.items()
    }
    colours, book = fresh.colours, fresh.book
    if colours is not None and (told := _taken(kept.colours, _of_items(core), Colours, colours)) is not None:
        colours = structs.replace(told, below=told.below + shift.moved + shift.unwatched, fresh=True)
    if book is not None and (known := _taken(kept.book, _of_air(core), Book)) is not None:
        book = exposure.moved(known, shift.moved) if shift.moved else known
    past = load.moved(kept.load, shift.moved) if shift.moved else kept.load
    return structs.replace(fresh, watches=watches, load=load.passed(past, at.mono), colours=colours, book=book)


def _watch(bench: Bench, fresh: Watch, kept: Kept, shift: Shift, at: Instant) -> Watch:
    """The memory of one source."""
    measures = []
    for measure, part, new in _pairs(bench.measures, kept.measures, fresh.measures):
        one = _taken(part, _of_points(measure.points), _memory_of(measure), new)
        measures.append(new if one is None else measure.moved(one, shift.moved) if shift.moved else one)
    derived = []
    for gained, part, new in _pairs(bench.gained, kept.derived, fresh.derived):
        one = _taken(part, _of_detector(gained), _memory_of(gained.detector), new)
        if one is not None and shift.moved:
            one = gained.detector.moved(one, shift.moved)
        derived.append(new if one is None else one)
    fresh = structs.replace(fresh, measures=tuple(measures), derived=tuple(derived))
    if kept.made_for != _of_bench(bench):
        return fresh
    measured = kept.seen.measured + shift.moved + shift.unwatched
    young = shift.unwatched <= bench.layout.stale
    seen = Seen(
        np.where(young, kept.seen.value, np.nan),
        np.where(young, kept.seen.quality, Quality.UNCERTAIN).astype(np.uint8),
        np.where(young, measured, fresh.seen.measured),
        kept.seen.fresh & young,
        np.where(young, kept.seen.raw, np.nan),
    )
    over, back = kept.over + shift.moved, kept.back + shift.moved + shift.unwatched
    return structs.replace(fresh, seen=seen, over=over, back=np.minimum(back, at.mono))


def _shift(kept: Snapshot, at: Instant, kernel: str) -> Shift:
    if kernel and kept.kernel == kernel and at.mono >= kept.at.mono:
        return Shift(0.0, at.mono - kept.at.mono)
    passed = max(at.wall - kept.at.wall, 0.0) if at.synced and kept.at.synced else 0.0
    return Shift(at.mono - kept.at.mono - passed, passed)


def _pairs(known: Iterable[Any], parts: Iterable[Part], fresh: Iterable[Any]) -> Iterable[tuple[Any, Part | None, Any]]:
    """Each with the part of its place among those kept, as far as there are any."""
    more = iter(parts)
    return ((one, next(more, None), new) for one, new in zip(known, fresh, strict=True))


def _taken(part: Part | None, made_for: str, type_: Any, like: Any = None) -> Any:
    """The memory of a part that was made for this, and looks `like` that; else None."""
    if part is None or part.made_for != made_for:
        return None
    try:
        memory = msgspec.msgpack.decode(part.memory, type=type_, dec_hook=_array)
    except (msgspec.MsgspecError, ValueError, TypeError):
        return None  # a newer program keeps other things
    return memory if like is None or _form(memory) == _form(like) else None


def _form(memory: Any) -> Any:
    """Shapes and kinds of the arrays in a memory."""
    if isinstance(memory, np.ndarray):
        return memory.shape, memory.dtype.kind
    if isinstance(memory, Struct):
        memory = structs.astuple(memory)
    return tuple(_form(one) for one in memory) if isinstance(memory, tuple) else None


def _memory_of(worker: Any) -> Any:
    """The type of the memory of a measure or a detector: what its `start` says that it returns, else none."""
    told = typing.get_type_hints(type(worker).start).get("return", Any)
    return type(None) if told is Any else told


def _part(made_for: str, memory: Any) -> Part:
    return Part(made_for, msgspec.Raw(_encoded(memory)))


def _encoded(value: Any) -> bytes:
    return msgspec.msgpack.encode(value, enc_hook=_plain)


def _plain(value: Any) -> Any:
    """An array, or a number of numpy's, in MessagePack's own types."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"a memory holds a {type(value).__name__}")


def _array(_: Any, told: Any) -> Array:
    kind, shape, data = told
    return np.frombuffer(data, kind).reshape(shape)


# -- what a part was made for -------------------------------------------------------------------------


def _digest(*what: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(what, enc_hook=str)).hexdigest()[:16]


def _of_points(points: Iterable[Any]) -> str:
    return _digest(*((p.rule, p.channel, p.siblings) for p in points))


def _of_bench(bench: Bench) -> str:
    return _digest(bench.layout.key, bench.layout.unit, _of_points(bench.points))


def _of_detector(gained: Any) -> str:
    return _digest(gained.detector.__struct_config__.tag, gained.detector, gained.seen.key, gained.seen.unit)


def _of_items(core: Core) -> str:
    return _digest(core.items.rules, core.items.names)


def _of_air(core: Core) -> str:
    return _digest(core.ledger.air if core.ledger is not None else None)


# -- the file -----------------------------------------------------------------------------------------


def write(folder: Path, core: Core, memory: Memory, at: Instant, kernel: str) -> int:
    """Replace the checkpoint in `folder`; its size in bytes. Raises `OSError`."""
    data = pack(core, memory, at, kernel)
    durable.replace(folder / NAME, data)
    return len(data)


def read(folder: Path) -> bytes | None:
    """The last checkpoint, or None where there is none that can be read."""
    try:
        return (folder / NAME).read_bytes()
    except OSError:
        return None


class Keeper:
    """Writes the checkpoint now and then, in a thread of its own. Made inside the loop."""

    def __init__(self, folder: Path, core: Core, kernel: str, tell: Callable[[Event], None]) -> None:
        self.folder, self.core, self.kernel, self._tell = folder, core, kernel, tell
        self._hand = Hand("memory")
        self._job: asyncio.Future[int] | None = None
        self._size, self._last, self._failing = 0, 0.0, False
        self._hurry = False

    def hurry(self) -> None:
        """Something happened that cannot be learnt anew."""
        self._hurry = True

    def look(self, memory: Memory, at: Instant) -> None:
        """Write when it is time; to be called every second or so. A disk that takes nothing is told once."""
        if self._job is not None and self._job.done():
            error = self._job.exception()
            if error is not None and not self._failing:
                self._tell(Event("memory-unkept", "agent", at, f"{NAME}: {error}"))
            self._size, self._failing = (self._size, True) if error is not None else (self._job.result(), False)
            self._job = None
        if self._job is None and at.mono - (self._last or at.mono) >= wait(self._size, self._hurry):
            self._write(memory, at)
        self._last = self._last or at.mono

    async def close(self, memory: Memory, at: Instant) -> None:
        """Write a last time."""
        if self._job is not None:
            await asyncio.wait([self._job])
        job = self._write(memory, at)
        await asyncio.wait([job])
        job.exception()  # nobody is told any more
        self._hand.end()

    def _write(self, memory: Memory, at: Instant) -> asyncio.Future[int]:
        self._last, self._hurry = at.mono, False
        self._job = self._hand.do(write, self.folder, self.core, memory, at, self.kernel)
        return self._job


def wait(size: int, hurry: bool = False) -> float:
    """s until the next one may be written after one of `size` bytes; with `hurry`: after what cannot be learnt anew.

    >>> wait(10_000), round(wait(1_000_000)), wait(10_000, hurry=True)
    (60.0, 864, 2.0)
    """
    return max(LEAST, size / BUDGET) / (HURRY if hurry else 1.0)
