"""A JT/T 808 platform, good enough to be somebody's test server: it registers, authenticates, answers, asks and counts.

`Jt808Platform` listens on one port for terminals and on another for their evidence. What it got is kept in lists and
told in lines; what it is to do wrong stands in `Faults`. `simulate` is `vedette simulate jt808`: there it takes
commands from standard input (`HELP`). Frames are read by the agent's own wire, so this proves the conversation, not
the layouts: for those there are other people's frames in the tests.

It counts repetitions as the language marks them: the same message with the same serial on the same connection, and
locations of 0x0704 kind 1. A location that comes again in any other way was sent `twice`.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct, msgpack

from agent.uplink import jt808_words as words
from agent.uplink.jt808_parameters import NUMBERS, described
from agent.uplink.jt808_wire import Chunk, FileStream, Joiner, Packet, Stream, holes, pack, split
from agent.uplink.jt808_words import (
    ALARMS,
    DIALECTS,
    FAILED,
    OK,
    Adas,
    Answer,
    Authentication,
    Blind,
    Driver,
    File,
    FileDone,
    Files,
    Form,
    Harsh,
    Hole,
    Location,
    Locations,
    Mark,
    ParametersTold,
    Raw,
    Registered,
    Registration,
    Tyre,
    Upload,
    encode,
    read,
)

from .console import attend, say

AUTHENTICATION, HEARTBEAT = 0x0102, 0x0002
ACTIVE = (Adas, Driver, Tyre, Blind, Harsh)  # items of active safety
HELP = """parameters            ask for all
set NAME VALUE        set one, for example: set period 10
text WORDS            show a text
locate                ask for the position
follow PERIOD SECONDS report more often for a while
control NUMBER        1 update 2 connect 3 off 4 reset 5 factory
confirm               confirm all alarms
"""


class Faults(Struct):
    """What the platform does wrong. May be changed while it runs."""

    silent: bool = False  # it answers nothing
    deaf: bool = False  # it throws locations away
    slow: float = 0.0  # s before each answer
    bad_check: float = 0.0  # share of answers with a wrong check
    garbage: float = 0.0  # share of answers with noise before them
    close_after: int = 0  # messages after which it closes the connection, each time; 0: never
    refuse: int = 0  # result with which it answers locations
    no_batches: bool = False  # it does not know 0x0704
    poison: int = 0  # number of an alarm at which it closes the connection without an answer; 0: none
    unknown: int = 0  # result with which it answers a registration
    lose: float = 0.0  # share of pieces of files that it loses
    close_files: int = 0  # pieces of files after which it closes that connection, once


WORDS: dict[str, dict[str, Any]] = {  # of `--misbehave`
    "silent": {"silent": True},
    "slow": {"slow": 2.0},
    "bad-check": {"bad_check": 0.3},
    "garbage": {"garbage": 0.3},
    "closes": {"close_after": 20},
    "refuses": {"refuse": FAILED},
    "unknown": {"unknown": 4},
    "loses": {"lose": 0.2},
}


class Got(NamedTuple):
    """One location, as it arrived."""

    phone: str
    location: Location
    id: int  # 0x0200 or 0x0704
    kind: int  # of 0x0704: 1 from a blind area
    connection: int
    serial: int
    arrived: float  # monotonic s


class Received:
    """A file that comes in pieces."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.spans: list[tuple[int, int]] = []
        self.pieces = 0

    def missing(self) -> list[tuple[int, int]]:
        return holes(len(self.data), self.spans)


class Jt808Platform:
    """All that arrived, and the server that it arrived at."""

    def __init__(
        self, dialect: str = "jiangsu", say: Callable[[str], None] = lambda line: None, ask_files: bool = True
    ) -> None:
        self.form = Form(2013, DIALECTS[dialect].mark)
        self.say, self.ask_files = say, ask_files
        self.faults = Faults()
        self.codes: dict[str, str] = {}  # phone -> code
        self.terminals: dict[str, Registration] = {}
        self.got: list[Got] = []  # first arrivals
        self.repeated = self.twice = self.strange = self.messages = 0
        self.said: list[tuple[str, int, Struct]] = []  # phone, id, body: all that is no location
        self.files: dict[tuple[str, str], Received] = {}  # number, name
        self.orders: dict[str, Mark] = {}  # number -> mark
        self.links: dict[str, Terminal] = {}  # phone -> its newest connection
        self.port = self.files_port = 0
        self.connections = 0
        self._known: set[bytes] = set()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._chance = random.Random(808)

    async def start(self, port: int = 0, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        """Listen, with TLS for terminals if so; a port of 0 is a free one."""
        self._servers = [
            await asyncio.start_server(self._terminal, host, port, ssl=tls),
            await asyncio.start_server(self._attachments, host, self.files_port or (port + 1 if port else 0)),
        ]
        self.port, self.files_port = (server.sockets[0].getsockname()[1] for server in self._servers)

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._servers = []

    def drop(self) -> None:
        """Close every connection, as a link that breaks."""
        for link in list(self.links.values()):
            link.close()

    def terminal(self, phone: str | None = None) -> Terminal:
        """The newest connection of a phone, or of the only one."""
        if phone is None:
            return next(iter(self.links.values()))
        return self.links[phone]

    def locations(self, kind: int | None = None) -> list[Location]:
        """What arrived, each once; with `kind` only what came as 0x0704 of that kind."""
        return [got.location for got in self.got if kind is None or (got.id == 0x0704 and got.kind == kind)]

    def alarms(self) -> list[tuple[Got, Any]]:
        """Items of active safety, each once."""
        return [(got, item.value) for got in self.got for item in got.location.items if isinstance(item.value, ACTIVE)]

    def whole(self) -> dict[str, bytes]:
        """Files that are complete, by name."""
        return {name: bytes(file.data) for (_, name), file in self.files.items() if not file.missing()}

    # -- terminals --------------------------------------------------------------------------------

    async def _terminal(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        link = Terminal(self, writer, self.connections)
        try:
            while data := await reader.read(65536):
                if not await link.feed(data):
                    break
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            link.close()
            self._tasks.discard(task)

    def take(self, link: Terminal, packet: Packet, location: Location, kind: int) -> None:
        """Keep one location."""
        got = Got(packet.phone, location, packet.id, kind, link.number, packet.serial, time.monotonic())
        key = packet.phone.encode() + identity(location)
        if key in self._known:
            marked = packet.id == 0x0704 and kind == 1
            self.repeated += marked
            self.twice += not marked
            return
        self._known.add(key)
        self.got.append(got)
        self.say(line(got))
        for item in location.items:
            mark = item.value.scene.mark if isinstance(item.value, ACTIVE) else None
            if mark is not None and mark.attachments and self.ask_files and item.value.flag != 2:
                self.order(link, mark)

    def order(self, link: Terminal, mark: Mark) -> str:
        """Ask for the evidence of an alarm. Gives the number of it."""
        number = next((number for number, known in self.orders.items() if known == mark), "")
        if not number:
            number = f"{len(self.orders) + 1:032d}"
            self.orders[number] = mark
        link.send(0x9208, Upload("127.0.0.1", self.files_port, 0, mark, number))
        return number

    # -- evidence ---------------------------------------------------------------------------------

    async def _attachments(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upload = Attachments(self, writer)
        try:
            while data := await reader.read(65536):
                if not upload.feed(data):
                    break
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)


def _alarms(body: Struct) -> set[int]:
    """Numbers of alarms of this connection's boot, as they count in it."""
    locations = body.locations if isinstance(body, Locations) else (body,) if isinstance(body, Location) else ()
    items = [item.value for location in locations for item in location.items]
    return {value.alarm & 0xFFFF for value in items if isinstance(value, ACTIVE)}


def identity(location: Location) -> bytes:
    """What makes a location this one: its alarm, begun or ended, by its number and mark; else all of it."""
    alarms = [item.value for item in location.items if isinstance(item.value, ACTIVE)]
    if not alarms:
        return msgpack.encode(location)
    return msgpack.encode([(one.alarm, one.flag, one.scene.mark) for one in alarms])


class Terminal:
    """One connection of a terminal."""

    def __init__(self, platform: Jt808Platform, writer: asyncio.StreamWriter, number: int) -> None:
        self.platform, self.writer, self.number = platform, writer, number
        self.phone, self.layout, self.known = "", 2013, False
        self.stream, self.joiner = Stream(), Joiner()
        self.serial = self.messages = 0
        self._seen: dict[int, bytes] = {}  # serial -> body

    def close(self) -> None:
        if self.platform.links.get(self.phone) is self:
            del self.platform.links[self.phone]
        self.writer.close()

    def send(self, id: int, body: Struct) -> int:
        """Say something. Gives its serial."""
        faults, chance = self.platform.faults, self.platform._chance
        form = self.platform.form._replace(edition=2019 if self.layout == 2019 else 2013)
        serial, data = self.serial, encode(body, form)
        packets = split(Packet(id, self.phone, serial, data, 2019 if self.layout == 2019 else 2013))
        self.serial = serial + len(packets) & 0xFFFF
        out = bytearray(b"".join(map(pack, packets)))
        if chance.random() < faults.bad_check:
            out[-2] ^= 1
        if chance.random() < faults.garbage:
            out[0:0] = b"\x7e\x80\x01" + chance.randbytes(20)
        if not self.writer.is_closing():
            self.writer.write(bytes(out))
        return serial

    async def feed(self, data: bytes) -> bool:
        """Bytes came. Whether the connection stays."""
        platform = self.platform
        for packet in self.stream.feed(data):
            self.messages += 1
            platform.messages += 1
            self.phone, self.layout = packet.phone, packet.layout
            if packet.phone and self.known:
                platform.links[packet.phone] = self
            whole = self.joiner.put(packet, time.monotonic())
            if whole is not None:
                if platform.faults.poison and platform.faults.poison in _alarms(read(whole, platform.form)):
                    return False
                if platform.faults.slow:
                    await asyncio.sleep(platform.faults.slow)
                self._heed(whole, read(whole, platform.form))
            if platform.faults.close_after and self.messages >= platform.faults.close_after:
                return False
        platform.strange += self.stream.bad
        self.stream.bad = 0
        return True

    def _heed(self, packet: Packet, body: Struct) -> None:
        platform, faults = self.platform, self.platform.faults
        if isinstance(body, Raw) and body.why:
            platform.strange += 1
        result = OK
        if isinstance(body, Registration):
            platform.said.append((packet.phone, packet.id, body))
            if not faults.silent:
                code = platform.codes.setdefault(packet.phone, f"code-{len(platform.codes) + 1}-{packet.phone[-4:]}")
                platform.terminals[packet.phone] = body
                told = Registered(packet.serial, faults.unknown, "" if faults.unknown else code)
                self.send(0x8100, told)
                platform.say(f"register {packet.phone} {body.terminal} {body.plate}: {told.result}")
            return
        if isinstance(body, Authentication):
            result = OK if platform.codes.get(packet.phone) == body.code else FAILED
            self.known = result == OK
            if self.known:
                platform.links[packet.phone] = self
            platform.say(f"authenticate {packet.phone}: {result}")
        elif not self.known:
            result = FAILED
        elif isinstance(body, Location | Locations):
            result = words.UNSUPPORTED if faults.no_batches and isinstance(body, Locations) else faults.refuse
            again = self._seen.get(packet.serial) == packet.body
            self._seen[packet.serial] = packet.body
            if faults.deaf:
                return
            if again:
                platform.repeated += 1
            elif not result:
                kind = body.kind if isinstance(body, Locations) else 0
                for location in body.locations if isinstance(body, Locations) else (body,):
                    platform.take(self, packet, location, kind)
        elif packet.id not in (HEARTBEAT, 0x0001):
            platform.say(f"{packet.id:04x} {packet.phone} {_short(body)}")
        if not isinstance(body, Location | Locations):
            platform.said.append((packet.phone, packet.id, body))
        if packet.id not in (0x0001, 0x0104, 0x0107, 0x0201) and not faults.silent:
            self.send(0x8001, Answer(packet.serial, packet.id, result))


class Attachments:
    """One connection with evidence."""

    def __init__(self, platform: Jt808Platform, writer: asyncio.StreamWriter) -> None:
        self.platform, self.writer = platform, writer
        self.stream = FileStream()
        self.number = ""
        self.serial = self.pieces = 0

    def feed(self, data: bytes) -> bool:
        """Bytes came. Whether the connection stays."""
        platform, faults = self.platform, self.platform.faults
        for one in self.stream.feed(data):
            if isinstance(one, Chunk):
                self.pieces += 1
                if faults.close_files and self.pieces >= faults.close_files:
                    faults.close_files = 0
                    return False
                file = platform.files.get((self.number, one.name))
                if file is None or one.offset + len(one.data) > len(file.data):
                    platform.strange += 1
                elif platform._chance.random() >= faults.lose:
                    file.data[one.offset : one.offset + len(one.data)] = one.data
                    file.spans.append((one.offset, len(one.data)))
                    file.pieces += 1
                continue
            body = read(one, platform.form)
            platform.said.append((one.phone, one.id, body))
            if isinstance(body, Files):
                self.number = body.number
                platform.say(f"evidence {body.number.lstrip('0')} of {body.mark.time}: {len(body.files)} files")
            if isinstance(body, File) and one.id == 0x1211:
                platform.files.setdefault((self.number, body.name), Received(body.size))
            if isinstance(body, File) and one.id == 0x1212:
                missing = platform.files[self.number, body.name].missing()[:255]
                told = tuple(Hole(offset, length) for offset, length in missing)
                self._send(one, 0x9212, FileDone(body.name, body.type, int(bool(told)), told))
                platform.say(f"file {body.name} {body.size} bytes: " + (f"{len(told)} holes" if told else "whole"))
            else:
                self._send(one, 0x8001, Answer(one.serial, one.id, OK))
        platform.strange += self.stream.bad
        self.stream.bad = 0
        return True

    def _send(self, asked: Packet, id: int, body: Struct) -> None:
        form = self.platform.form._replace(edition=asked.layout)
        self.writer.write(
            b"".join(map(pack, split(Packet(id, asked.phone, self.serial, encode(body, form), asked.layout))))
        )
        self.serial = self.serial + 1 & 0xFFFF


# -- lines for people -----------------------------------------------------------------------------


def line(got: Got) -> str:
    """One location as a line.

    >>> here = Location(1, 3, 30_000_000, 120_000_000, 0, 615, 90, "261128120000")
    >>> line(Got("013800138000", here, 0x0200, 0, 1, 7, 0.0))
    '0200    013800138000 2026-11-28 12:00:00 30.000000 120.000000 61.5 km/h 90 deg emergency'
    """
    here = got.location
    t = here.time
    when = f"20{t[0:2]}-{t[2:4]}-{t[4:6]} {t[6:8]}:{t[8:10]}:{t[10:12]}"
    latitude, longitude = words.degrees(here)
    stands = [name for name, bit in ALARMS.items() if here.alarm >> bit & 1]
    flags = {0: "", 1: " begins", 2: " ends"}
    stands += [
        f"{type(item.value).__name__.lower()} {getattr(item.value, 'type', '')}{flags.get(item.value.flag, '')}"
        for item in here.items
        if isinstance(item.value, ACTIVE)
    ]
    what = f"{got.id:04x}{f'/{got.kind}' if got.id == 0x0704 else '  '}"
    place = f"{latitude:.6f} {longitude:.6f} {here.speed / 10:.1f} km/h {here.direction} deg"
    return f"{what}  {got.phone} {when} {place} {', '.join(stands)}".rstrip()


def _short(body: Struct) -> str:
    if isinstance(body, ParametersTold):
        return described(body.parameters)
    text = repr(body)
    return text if len(text) < 200 else text[:197] + "..."


async def simulate(port: int, misbehave: str, files: Path | None, dialect: str = "jiangsu") -> int:
    """`vedette simulate jt808` until SIGINT or SIGTERM, with commands from standard input. Gives the exit code."""
    platform = Jt808Platform(dialect, say)
    await attend(
        platform,
        port,
        {name: value for word in filter(None, misbehave.split(",")) for name, value in WORDS[word].items()},
        lambda: (
            f"platform on tcp://127.0.0.1:{platform.port}, evidence on {platform.files_port}; `help` tells the commands"
        ),
        lambda text: command(platform.terminal(), text),
        HELP,
        "no terminal is there",
    )
    if files is not None:
        _save(files, platform.whole())
    say(f"{len(platform.got)} locations, {len(platform.alarms())} alarms, {len(platform.whole())} files; "
        f"{platform.repeated} repeated and marked, {platform.twice} twice, {platform.strange} strange")  # fmt: skip
    return 0


def _save(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / Path(name).name).write_bytes(data)


def command(link: Terminal, text: str) -> str:
    """Do what a line says; what to tell of it."""
    verb, _, rest = text.partition(" ")
    args = rest.split()
    ids = {number.name: id for id, number in NUMBERS.items()}
    deeds: dict[str, Callable[[], tuple[int, Struct]]] = {
        "parameters": lambda: (0x8104, words.Nothing()),
        "set": lambda: (
            0x8103,
            words.Parameters((words.Parameter(ids[args[0]], NUMBERS[ids[args[0]]].field.write(int(args[1]), Form())),)),
        ),
        "text": lambda: (0x8300, words.Text(1, rest, 1)),
        "locate": lambda: (0x8201, words.Nothing()),
        "follow": lambda: (0x8202, words.Follow(int(args[0]), int(args[1]))),
        "control": lambda: (0x8105, words.Control(int(args[0]))),
        "confirm": lambda: (0x8203, words.Confirm(0, 0)),
    }
    try:
        id, body = deeds[verb]()
    except (LookupError, ValueError):
        return f"not understood: {text}\n{HELP.rstrip()}"
    link.send(id, body)
    return f"{id:04x} sent to {link.phone}"
