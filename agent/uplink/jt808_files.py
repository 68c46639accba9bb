"""Evidence to a JT/T 808 platform that asked for it: a second connection, one order after the other (T/JSATL12).

    0x1210 what will come        -> 0x8001
    0x1211 a file                -> 0x8001      pieces of the file, neither escaped nor answered
    0x1212 that was the file     -> 0x9212      whole, or what is missing: that once more, and 0x1212 again

An order waits until the evidence is made, and stays in the notebook until all is sent: a broken connection or a restart
goes on where the platform says that something is missing. It goes at a given rate, and stands still while an alarm
waits for its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from msgspec import Struct, structs

from .. import evidence
from ..core.errors import LineLost
from ..core.ports import Clock, Event
from ..hand import Hand
from . import jt808_wire as wire
from .jt808_notebook import Known, Notebook, Order
from .jt808_words import OK, Answer, File, FileDone, FileName, Files, Form, Mark, encode, read

PICTURE, FILM = 0, 2  # types of files
TYPES = {".jpg": PICTURE, ".mp4": FILM, ".webm": FILM}
PATIENCE = 900.0  # s that evidence may take to be made; project
LOOK = 1.0  # s between looks for it
PIECE = 4096  # bytes of a file in one frame: an alarm on the same line does not wait for more
ROUNDS = 10  # of missing pieces of one file
TRIES = 8  # of one order, in a row
PAUSE, LONGEST = 2.0, 120.0  # s between two tries; doubles
CONNECT = 10.0  # s
YIELD = 30.0  # s that it stands still for an alarm, at most: then the line has other troubles

P = ParamSpec("P")
T = TypeVar("T")


class Made(NamedTuple):
    """A file of evidence, as it is told."""

    path: Path
    name: str
    type: int
    size: int  # bytes


def name_of(path: Path, known: Known, n: int, number: str) -> str:
    """`type_channel_alarm type_sequence_number.ext`, 50 bytes at most.

    >>> name_of(Path("still-1.jpg"), Known("", 0, 0x65, 3), 0, "a" * 32)
    '00_65_6503_0_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.jpg'
    """
    kind = TYPES.get(path.suffix, 4)
    channel = 0x65 if known.item == 0x65 else 0x64
    return f"{kind:02d}_{channel:x}_{known.item:02x}{known.type:02x}_{n}_{number}{path.suffix}"


def made(shelf: Path, order: Order, known: Known) -> list[Made]:
    """The files there are for an order; none as long as a camera still makes them. Blocks. Raises `OSError`."""
    found: list[Made] = []
    for folder in sorted(shelf.glob(f"{order.alarm}.*")):
        if not evidence.is_name(folder.name) or not (folder / evidence.MANIFEST).exists():
            return []  # one camera is not ready
        try:
            manifest = evidence.read(folder)
        except ValueError:
            continue
        for file in manifest.files:
            path = folder / file.name
            if path.suffix in TYPES and path.exists():
                name = name_of(path, known, len(found), order.number)
                found.append(Made(path, name, TYPES[path.suffix], file.bytes))
    return found[:255]


class Terms(Struct, frozen=True):
    """What an upload has to know of its uplink."""

    name: str  # of the uplink, for people
    phone: str
    terminal: str
    form: Form
    shelf: str
    rate: float  # bytes/s
    timeout: float  # s for an answer


class Uploads:
    """The orders of one uplink. `busy` says whether an alarm waits for its answer."""

    def __init__(
        self, terms: Terms, notebook: Notebook, clock: Clock, tell: Callable[[Event], None], busy: Callable[[], bool]
    ) -> None:
        self.terms, self.notebook, self.clock, self.tell, self.busy = terms, notebook, clock, tell, busy
        self.news = asyncio.Event()
        self._hand: Hand | None = None  # while it runs
        self._serial = 0
        self._done: dict[Order, set[str]] = {}  # names of files that the platform has

    @property
    def orders(self) -> list[Order]:
        return self.notebook.pages.orders

    async def run(self) -> None:
        """Send what is owed, for ever. Ends only by cancellation."""
        self._hand = Hand("evidence upload")
        try:
            while True:
                self.news.clear()
                ready = None
                for order in list(self.orders):
                    files = await self._ready(order)
                    if files:
                        ready = order, files
                        break
                if ready is None:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.news.wait(), LOOK if self.orders else None)
                    continue
                await self._send(*ready)
        finally:
            self._hand.end()

    async def _ready(self, order: Order) -> list[Made]:
        known = self.notebook.pages.marks.get(order.alarm)
        shelf = Path(self.terms.shelf)
        try:
            files = await self._do(made, shelf, order, known) if known is not None else []
        except OSError:
            files = []
        if not files and (known is None or abs(self.clock.now().wall - order.wall) > PATIENCE):
            self._drop(order, "evidence-missing", f"there is no evidence of alarm {order.alarm} to send")
        return files

    async def _do(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        assert self._hand is not None
        return await self._hand.do(job, *args, **kwargs)

    async def _send(self, order: Order, files: list[Made]) -> None:
        pause = PAUSE
        for n in range(TRIES):
            try:
                async with asyncio.timeout(CONNECT + 60 + 4 * sum(f.size for f in files) / self.terms.rate):
                    await self._upload(order, files)
                text = f"{len(files)} files of alarm {order.alarm} are at {order.server}:{order.port}"
                self._drop(order, "evidence-sent", text)
                return
            except (OSError, LineLost, TimeoutError, asyncio.IncompleteReadError) as error:
                if order in self.orders and not order.begun:
                    again = structs.replace(order, begun=True)
                    self.orders[self.orders.index(order)] = again
                    self._done[again] = self._done.pop(order, set())
                    order = again
                why = str(error) or type(error).__name__
            if n + 1 < TRIES:
                await self.clock.sleep(pause)
                pause = min(LONGEST, 2 * pause)
        self._drop(order, "evidence-unsent", f"evidence of alarm {order.alarm} is not taken: {why}")

    def _drop(self, order: Order, kind: str, text: str) -> None:
        if order in self.orders:
            self.orders.remove(order)
        self._done.pop(order, None)
        self.notebook.note()
        facts = {"alarm": order.alarm, "number": order.number}
        self.tell(Event(kind, self.terms.name, self.clock.now(), f"uplink {self.terms.name}: {text}", facts))

    # -- one connection -------------------------------------------------------------------------------

    async def _upload(self, order: Order, files: list[Made]) -> None:
        """Raises `LineLost`, `OSError` or `TimeoutError`."""
        known = self.notebook.pages.marks[order.alarm]
        done = self._done.setdefault(order, set())
        left = [file for file in files if file.name not in done]
        async with asyncio.timeout(CONNECT):
            reader, writer = await asyncio.open_connection(order.server, order.port)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)  # an alarm has the same line, and waits for no more
        writer.transport.set_write_buffer_limits(high=0)
        line = Conversation(self, reader, writer)
        try:
            mark = Mark(self.terms.terminal, known.time, known.sequence, order.files)
            names = tuple(FileName(file.name, file.size) for file in left)
            kind = int(order.begun)
            await line.ask(0x1210, Files(self.terms.terminal, mark, order.number, kind, names))
            for file in left:
                await self._file(line, file, order.begun)
                done.add(file.name)
        finally:
            writer.close()

    async def _file(self, line: Conversation, file: Made, again: bool) -> None:
        """One file: all of it, or, where it was begun before, what the platform lacks."""
        told = File(file.name, file.type, file.size)
        await line.ask(0x1211, told)
        missing = [] if again else [(0, file.size)]
        for _ in range(ROUNDS):
            for offset, length in missing:
                await self._span(line, file, offset, length)
            said = await line.ask(0x1212, told)
            if not isinstance(said, FileDone):
                raise LineLost(f"{file.name}: no answer that says whether it is whole")
            if said.result == 0:
                return
            missing = [(hole.offset, hole.length) for hole in said.missing] or [(0, file.size)]
        raise LineLost(f"{file.name}: still not whole after {ROUNDS} rounds")

    async def _span(self, line: Conversation, file: Made, offset: int, length: int) -> None:
        end = min(file.size, offset + length)
        while offset < end:
            data = await self._do(_piece, file.path, offset, min(PIECE, end - offset))
            if not data:
                raise LineLost(f"{file.name}: the file is shorter than its manifest says")
            until = self.clock.now().mono + YIELD
            while self.busy() and self.clock.now().mono < until:
                await self.clock.sleep(0.05)
            await line.write(wire.pack_chunk(wire.Chunk(file.name, offset, data)))
            offset += len(data)
            await self.clock.sleep(len(data) / self.terms.rate)

    def serial(self) -> int:
        self._serial = self._serial + 1 & 0xFFFF
        return self._serial


def _piece(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


class Conversation:
    """Questions and answers on an attachment connection."""

    def __init__(self, uploads: Uploads, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.uploads, self.reader, self.writer = uploads, reader, writer
        self.stream = wire.Stream()
        self._heard: list[wire.Packet] = []

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, id: int, body: Struct) -> Struct:
        """The answer, asked for up to three times. Raises `LineLost`."""
        terms, serial = self.uploads.terms, self.uploads.serial()
        layout: wire.Layout = 2019 if terms.form.edition == 2019 else 2013
        data = b"".join(
            map(wire.pack, wire.split(wire.Packet(id, terms.phone, serial, encode(body, terms.form), layout)))
        )
        for _ in range(3):
            await self.write(data)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(terms.timeout):
                    while True:
                        said = read(await self._next(), terms.form)
                        if isinstance(said, FileDone) and id == 0x1212 and isinstance(body, File):
                            if said.name == body.name:
                                return said
                        elif isinstance(said, Answer) and (said.serial, said.id) == (serial, id):
                            if said.result != OK:
                                raise LineLost(f"0x{id:04x} is refused, result {said.result}")
                            if id != 0x1212:
                                return said
        raise LineLost(f"no answer to 0x{id:04x} in {terms.timeout:g} s, three times")

    async def _next(self) -> wire.Packet:
        while not self._heard:
            data = await self.reader.read(4096)
            if not data:
                raise LineLost("the platform closed the attachment connection")
            self._heard += self.stream.feed(data)
        return self._heard.pop(0)
