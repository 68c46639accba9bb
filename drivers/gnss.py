"""A GNSS receiver that speaks NMEA 0183, on a serial port or behind a TCP address: where the vehicle is.

Sentences are parsed by pynmeagps (install `vedette[vehicle]`); what several of them say of one moment becomes one
frame. `Receiver` is pure: sentences in, columns out. GPS, BeiDou, GLONASS, Galileo and mixtures of them (talkers GP,
GB, BD, GL, GA, GN) are understood from RMC, GGA, VTG and GSA. A sentence without a right checksum does not count.

Channels, NaN where the receiver does not say: `latitude`, `longitude` (degrees, south and west negative), `altitude`
(m above the sea), `speed` (km/h), `course` (degrees from north), `satellites` used, `hdop`, `fix` (0 none, 2 without
height, 3), `systems` (bits: 1 GPS, 2 BeiDou, 4 GLONASS, 8 Galileo), `age` (s since the last fix). Without a fix the
place and what belongs to it are NaN and UNCERTAIN, and go stale after `lost`; a fix by dead reckoning is UNCERTAIN.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from msgspec import Meta

from agent.core.errors import ConfigFault, LineLost, NoReply
from agent.core.frame import Frame, Instant, Layout, Quality, frame, layout
from agent.core.ports import Clock, Driver, Event, Orders
from agent.core.words import WIRING, Language

from .serial import Format, open_port

KEYS = ("latitude", "longitude", "altitude", "speed", "course", "satellites", "hdop", "fix", "systems", "age")
UNITS = ("deg", "deg", "m", "km/h", "deg", "", "", "", "", "s")
PLACED = ("latitude", "longitude", "altitude", "speed", "course", "hdop")  # of no worth without a fix
WANTED = (b"RMC", b"GGA", b"VTG", b"GSA")
LONGEST = 256  # bytes of a sentence; the standard has 82, receivers more
KNOT = 1.852  # km/h
GAP = 0.15  # s of silence that ends what a receiver says of one moment
SILENT = 10.0  # s without a sentence, after which the line counts as lost
CONNECT = 5.0  # s
ESTIMATED = 6  # quality of GGA: dead reckoning
SYSTEMS = {"GP": 1, "GB": 2, "BD": 2, "GL": 4, "GA": 8}  # talker -> bit
SYSTEM_IDS = {1: 1, 2: 4, 3: 8, 4: 2}  # of GSA since NMEA 4.10 -> bit


class Fix(NamedTuple):
    """What one moment's sentences say; NaN where they do not."""

    latitude: float = math.nan
    longitude: float = math.nan
    altitude: float = math.nan
    speed: float = math.nan
    course: float = math.nan
    satellites: float = math.nan
    hdop: float = math.nan
    mode: float = math.nan  # of GSA: 1 none, 2, 3
    valid: bool | None = None  # of RMC
    quality: float = math.nan  # of GGA
    systems: int = 0
    used: int = 0  # satellites that GSA names

    @property
    def fix(self) -> int:
        """0 none, 2 without height, 3. Where sentences contradict each other there is none."""
        if self.valid is False or self.quality == 0 or self.mode == 1:
            return 0
        if math.isnan(self.latitude) or math.isnan(self.longitude):
            return 0
        if self.mode in (2, 3):
            return int(self.mode)
        return 2 if math.isnan(self.altitude) else 3


class Receiver:
    """Bytes of a receiver in, fixes out. Arbitrary bytes raise nothing; at most `LONGEST` of them are kept."""

    def __init__(self) -> None:
        from pynmeagps import NMEAMessageError, NMEAParseError, NMEAReader, NMEATypeError

        self._parse = NMEAReader.parse
        self._faults = (NMEAParseError, NMEAMessageError, NMEATypeError)
        self.sentences = 0  # that counted
        self.bad = 0  # lines that did not
        self._rest = b""
        self._time: object = None  # of the moment
        self._fix: Fix | None = None  # what was said of it so far

    def feed(self, data: bytes) -> list[Fix]:
        """Every moment that is over, because another began."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[-LONGEST:]
        return [fix for line in lines if (fix := self._line(line.strip())) is not None]

    def flush(self) -> Fix | None:
        """What was said since: the receiver is silent, so the moment is over."""
        fix, self._fix, self._time = self._fix, None, None
        return fix

    def _line(self, line: bytes) -> Fix | None:
        start = line.rfind(b"$")
        if start < 0 or len(line) - start > LONGEST or line[start + 3 : start + 6] not in WANTED:
            self.bad += start < 0 and bool(line)
            return None
        try:
            message = self._parse(line[start:] + b"\r\n")
        except self._faults:
            message = None
        if message is None:
            self.bad += 1
            return None
        self.sentences += 1
        time = getattr(message, "time", None) or None
        over = None
        if time is not None and self._time is not None and time != self._time:
            over = self.flush()
        self._time = time or self._time
        self._fix = _joined(self._fix or Fix(), message)
        return over


def _joined(fix: Fix, said: Any) -> Fix:
    """The moment with one more sentence."""
    kind, talker = said.msgID, said.talker
    if kind == "RMC":
        valid = getattr(said, "status", "") == "A" and getattr(said, "posMode", "A") != "N"
        speed, course = KNOT * _number(said, "spd"), _number(said, "cog")
        fix = fix._replace(valid=valid, speed=_first(speed, fix.speed), course=_first(course, fix.course))
        return _placed(fix, said) if valid else fix
    if kind == "GGA":
        quality = _number(said, "quality")
        fix = fix._replace(
            quality=quality,
            satellites=_number(said, "numSV"),
            hdop=_first(fix.hdop, _number(said, "HDOP")),
            altitude=_number(said, "alt"),
            systems=fix.systems | (SYSTEMS.get(talker, 0) if quality >= 1 else 0),
        )
        return _placed(fix, said) if quality >= 1 else fix
    if kind == "VTG":
        return fix._replace(
            speed=_first(_number(said, "sogk"), fix.speed), course=_first(_number(said, "cogt"), fix.course)
        )
    used = [_number(said, f"svid_{i:02d}") for i in range(1, 13)]
    used = [number for number in used if number > 0]
    system = SYSTEM_IDS.get(int(_first(_number(said, "systemId"), 0.0))) or SYSTEMS.get(talker, 0)
    mode = _number(said, "navMode")
    return fix._replace(
        mode=max(_first(mode, fix.mode), _first(fix.mode, mode)),
        hdop=_first(_number(said, "HDOP"), fix.hdop),
        systems=fix.systems | (system if used else 0),
        used=fix.used + len(used),
    )


def _placed(fix: Fix, said: Any) -> Fix:
    latitude, longitude = _number(said, "lat"), _number(said, "lon")
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return fix
    return fix._replace(latitude=latitude, longitude=longitude)


def _number(said: Any, name: str) -> float:
    """A field as a number, NaN where it is empty or missing."""
    value = getattr(said, name, "")
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _first(*values: float) -> float:
    """The first that is known."""
    return next((value for value in values if not math.isnan(value)), math.nan)


class Gnss(Driver, tag="gnss", frozen=True, kw_only=True):
    """One receiver. Its source has the name of the bus."""

    url: str  # /dev/ttyUSB0, or tcp://host:port of a serial server
    baud: Annotated[int, Meta(ge=300, le=921600)] = 9600  # bit/s; of a serial port
    stale: Annotated[float, Meta(gt=0)] = 5.0  # s without a word, after which it counts as silent
    lost: Annotated[float, Meta(gt=0)] = 120.0  # s without a fix, after which the place is stale: a tunnel is no alarm

    def __post_init__(self) -> None:
        if not self.url.startswith("/"):
            place = urlsplit(self.url)
            if place.scheme != "tcp" or not place.hostname or not place.port:
                raise ValueError(f"url {self.url!r}: write /dev/ttyUSB0 or tcp://host:port")

    def layouts(self) -> Mapping[str, Layout]:
        low = [-90.0, -180.0, -500.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        high = [90.0, 180.0, 10_000.0, 1000.0, 360.0, 100.0, 100.0, 3.0, 15.0, 1e9]
        stale = [self.lost if key in PLACED else self.stale for key in KEYS]
        return {self.name: layout(KEYS, UNITS, low, high, stale)}

    def faults(self) -> list[str]:
        try:
            import pynmeagps  # noqa: F401
        except ImportError:
            return ["pynmeagps is not installed; install vedette[vehicle]"]
        return []

    def wiring(self, language: Language = "en") -> list[str]:
        w = WIRING[language]
        bits = w["bits"].format(baud=self.baud) if self.url.startswith("/") else ""
        return [w["receiver"].format(name=self.name, url=self.url) + bits]

    async def frames(self, clock: Clock, orders: Orders) -> AsyncIterator[Frame | Event]:
        """A frame for each moment that the receiver tells. Raises `LineLost` when the line is gone or silent."""
        columns, receiver, seen = self.layouts()[self.name], _receiver(), math.nan
        async with contextlib.AsyncExitStack() as stack:
            line = await stack.enter_async_context(_open(self))
            heard = clock.now().mono
            while True:
                await orders.wait(0.0)  # a receiver has no outputs; who is asked for orders lives
                data = await line.read(GAP if receiver._fix is not None else 0.5)
                fixes = receiver.feed(data) if data else [fix for fix in [receiver.flush()] if fix is not None]
                at = clock.now()
                for fix in fixes:
                    heard = at.mono
                    seen = at.mono if fix.fix else seen
                    yield told(self.name, columns, fix, at, at.mono - seen)
                if at.mono - heard > SILENT:
                    what = f"{receiver.bad} lines that are no sentences" if receiver.bad else "nothing"
                    hint = "check baud" if receiver.bad else "check power, cable and that it sends NMEA"
                    raise LineLost(f"receiver {self.url}: {what} in {SILENT:g} s; {hint}")

    async def once(self, clock: Clock) -> list[Frame | Event]:
        orders = _NoOrders()
        frames = self.frames(clock, orders)
        try:
            async with asyncio.timeout(SILENT + CONNECT):
                async for item in frames:
                    return [item]
        except TimeoutError as error:
            raise NoReply(f"receiver {self.url}: nothing in {SILENT + CONNECT:g} s") from error
        finally:
            await frames.aclose()  # type: ignore[attr-defined]
        return []


def told(source: str, columns: Layout, fix: Fix, at: Instant, age: float) -> Frame:
    """The frame of a moment. `age`: s since the last fix, NaN where there was none."""
    stands = fix.fix
    satellites = _first(float(fix.used) if fix.used > _first(fix.satellites, 0.0) else math.nan, fix.satellites)
    value = np.array([
        *((fix.latitude, fix.longitude, fix.altitude, fix.speed, fix.course) if stands else [math.nan] * 5),
        satellites,
        fix.hdop if stands else math.nan,
        float(stands),
        float(fix.systems if stands else 0),
        age,
    ])  # fmt: skip
    doubt = np.isin(KEYS, PLACED) & (not stands or fix.quality == ESTIMATED)
    quality = np.where(doubt | np.isnan(value), Quality.UNCERTAIN, Quality.GOOD)
    ages = np.where(np.isin(KEYS, PLACED) & (not stands), 1e9 if math.isnan(age) else age, 0.0)
    return frame(source, at, columns, value, quality, ages)


def _receiver() -> Receiver:
    try:
        return Receiver()
    except ImportError as error:
        raise ConfigFault([f"gnss: {error}; install vedette[vehicle]"]) from error


class _NoOrders:
    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def take(self) -> None:
        return None


class Line:
    """Bytes as they come, from wherever."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._fault: LineLost | None = None
        self._news = asyncio.Event()

    def received(self, data: bytes) -> None:
        self._data += data
        del self._data[: -64 * LONGEST]
        self._news.set()

    def lost(self, fault: LineLost) -> None:
        self._fault = fault
        self._news.set()

    async def read(self, seconds: float) -> bytes:
        """What came, within so many s. Raises `LineLost`."""
        if not self._data and self._fault is None:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), seconds)
        if self._fault is not None and not self._data:
            raise self._fault
        data = bytes(self._data)
        self._data.clear()
        return data


class _Tcp(asyncio.Protocol):
    def __init__(self, line: Line, where: str) -> None:
        self.line, self.where = line, where

    def data_received(self, data: bytes) -> None:
        self.line.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.line.lost(LineLost(f"receiver {self.where}: connection lost ({exc or 'closed by the other side'})"))


@contextlib.asynccontextmanager
async def _open(settings: Gnss) -> AsyncIterator[Line]:
    """The line. Raises `LineLost`."""
    line = Line()
    if settings.url.startswith("/"):
        port = await open_port(settings.url, Format(baud=settings.baud))
        port.listen(line.received, line.lost)
        try:
            yield line
        finally:
            port.close()
        return
    place = urlsplit(settings.url)
    try:
        async with asyncio.timeout(CONNECT):
            transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: _Tcp(line, settings.url), place.hostname or "", place.port or 0
            )
    except TimeoutError as error:
        raise LineLost(f"connect receiver {settings.url}: no answer in {CONNECT:g} s") from error
    except OSError as error:
        raise LineLost(f"connect receiver {settings.url}: {error.strerror or error}; check address and port") from error
    try:
        yield line
    finally:
        transport.abort()
