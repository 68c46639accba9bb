"""What JT/T 808 packets carry: bodies of messages, items of a location, and those of T/JSATL12. Pure.

Each body is a struct, and a table says how its fields lie one behind the other: `LAYOUTS`, by edition where editions
differ. `encode` and `decode` walk the table. What is not understood is kept as bytes, and goes out as it came in:
messages as `Raw`, items of a location as `bytes`. Arbitrary bytes raise nothing but `BadReply`.

Numbers stand as they travel: 1e-6 degrees, 0.1 km/h, m. Times are twelve digits yymmddhhmmss of GMT+8, `stamp` and
`moment` change them from and into UTC. Texts are GBK; NULs around them are filling, zeros before them (some terminals
fill so) are not taken away.

A dialect of T/JSATL12 has an alarm mark of its own length: 16 bytes in Jiangsu and Hunan, 38 in Heilongjiang, 39 in
Sichuan, 40 in Guangdong. Where it is not 16 the terminal's id has 30 bytes, and what follows the number of attachments
is reserved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from agent.core.errors import BadReply

from .jt808_wire import Packet

Edition = Literal[2011, 2013, 2019]
AHEAD = timedelta(hours=8)  # of UTC: China has one clock, and no summer time

OK, FAILED, BAD, UNSUPPORTED, HANDLED = range(5)  # results of a general answer


class Form(NamedTuple):
    """How the bodies of one connection are laid out."""

    edition: Edition = 2013  # where a packet does not say; one with a head of 2019 does
    mark: int = 16  # bytes of an alarm mark


# -- fields -------------------------------------------------------------------------------------------


class Cursor:
    """Reads one body from its beginning to its end."""

    __slots__ = ("at", "data", "form")

    def __init__(self, data: bytes, form: Form) -> None:
        self.data, self.at, self.form = data, 0, form

    def take(self, size: int) -> bytes:
        """The next bytes. Raises `BadReply` where there are fewer."""
        end = self.at + size
        if end > len(self.data):
            raise BadReply(f"cut off: {size} bytes wanted at {self.at} of {len(self.data)}")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self.data) - self.at)

    @property
    def left(self) -> int:
        return len(self.data) - self.at


class Field(NamedTuple):
    """How one value lies in a body."""

    read: Callable[[Cursor], Any]
    write: Callable[[Any, Form], bytes]


def number(size: int, signed: bool = False) -> Field:
    """A number of so many bytes. One that does not fit is written as the nearest that does."""
    low, high = (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1) if signed else (0, (1 << 8 * size) - 1)

    def write(value: int, form: Form) -> bytes:
        return min(high, max(low, int(value))).to_bytes(size, "big", signed=signed)

    return Field(lambda cursor: int.from_bytes(cursor.take(size), "big", signed=signed), write)


def gbk(text: str) -> bytes:
    """What GBK does not know becomes a question mark; bytes that were no GBK go back as they came."""
    try:
        return text.encode("gbk", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("gbk", "replace")


def ungbk(data: bytes) -> str:
    return data.strip(b"\0").decode("gbk", "surrogateescape")


def text(size: int | None = None) -> Field:
    """A text of so many bytes, filled with NULs on the right; None: all that is left."""

    def write(value: str, form: Form) -> bytes:
        return gbk(value) if size is None else gbk(value)[:size].ljust(size, b"\0")

    return Field(lambda cursor: ungbk(cursor.rest() if size is None else cursor.take(size)), write)


def raw(size: int | None = None) -> Field:
    """Bytes as they are; None: all that is left."""

    def write(value: bytes, form: Form) -> bytes:
        return bytes(value) if size is None else bytes(value)[:size].ljust(size, b"\0")

    return Field(lambda cursor: cursor.rest() if size is None else cursor.take(size), write)


def digits(size: int) -> Field:
    """BCD of so many bytes; what is none is kept as hexadecimal digits."""

    def write(value: str, form: Form) -> bytes:
        return bytes.fromhex(value.zfill(2 * size)[-2 * size :])

    return Field(lambda cursor: cursor.take(size).hex(), write)


def sized(count: Field, of: Field) -> Field:
    """A field with its length before it."""

    def read(cursor: Cursor) -> Any:
        return of.read(Cursor(cursor.take(count.read(cursor)), cursor.form))

    def write(value: Any, form: Form) -> bytes:
        data = of.write(value, form)
        return count.write(len(data), form) + data

    return Field(read, write)


def many(count: Field, of: Field) -> Field:
    """So many fields of one kind, their number before them."""

    def read(cursor: Cursor) -> tuple[Any, ...]:
        return tuple(of.read(cursor) for _ in range(count.read(cursor)))

    def write(value: tuple[Any, ...], form: Form) -> bytes:
        return count.write(len(value), form) + b"".join(of.write(one, form) for one in value)

    return Field(read, write)


def whole(kind: type[Struct]) -> Field:
    """A struct that has a layout of its own."""
    return Field(lambda cursor: _read(kind, cursor), lambda value, form: _write(value, form))


U8, U16, U32, I16 = number(1), number(2), number(4), number(2, signed=True)
TIME = digits(6)


def stamp(wall: float) -> str:
    """
    >>> stamp(1539569410.0)
    '181015101010'
    """
    return (datetime.fromtimestamp(wall, UTC) + AHEAD).strftime("%y%m%d%H%M%S")


def moment(time: str) -> float | None:
    """s UTC; None where it is no time.

    >>> moment("181015101010"), moment("000000000000")
    (1539569410.0, None)
    """
    try:
        return (datetime.strptime(time, "%y%m%d%H%M%S").replace(tzinfo=UTC) - AHEAD).timestamp()
    except ValueError:
        return None


# -- items of a location ------------------------------------------------------------------------------


class Mark(Struct, frozen=True):
    """What tells one alarm of active safety from all others."""

    terminal: str
    time: str  # yymmddhhmmss, GMT+8
    sequence: int = 0  # of alarms in that second
    attachments: int = 0  # files there will be
    reserved: bytes = b""


class Scene(Struct, frozen=True):
    """Where and how the vehicle was, as every alarm of active safety says it."""

    speed: int  # km/h
    altitude: int  # m
    latitude: int  # 1e-6 degrees
    longitude: int
    time: str  # yymmddhhmmss, GMT+8
    state: int  # bits: 0 ACC, 1 left, 2 right, 3 wiper, 4 brake, 5 card, 10 fixed
    mark: Mark


class Adas(Struct, frozen=True):
    """0x64: an alarm of driver assistance. What does not apply is 0."""

    alarm: int  # counts alarms of all types
    flag: int  # 0 not applicable, 1 begins, 2 ends
    type: int
    level: int  # 1 or 2
    ahead: int  # km/h, of the vehicle ahead
    distance: int  # to it, 0.1 s
    deviation: int  # 1 left, 2 right
    sign: int  # 1 speed, 2 height, 3 weight
    limit: int  # what the sign says
    scene: Scene


class Driver(Struct, frozen=True):
    """0x65: an alarm of what the driver does."""

    alarm: int
    flag: int
    type: int
    level: int
    fatigue: int  # 1 to 10, the more the worse; 0: not known, or another type
    reserved: bytes
    scene: Scene


class Wheel(Struct, frozen=True):
    """One tyre."""

    position: int  # from the left front, in zigzag
    bits: int  # 0 periodic, 1 high, 2 low, 3 hot, 4 sensor, 5 imbalance, 6 leak, 7 battery
    pressure: int  # kPa
    temperature: int  # degrees Celsius
    battery: int  # %


class Tyre(Struct, frozen=True):
    """0x66: an alarm of tyres."""

    alarm: int
    flag: int
    scene: Scene
    wheels: tuple[Wheel, ...]


class Blind(Struct, frozen=True):
    """0x67: something in the blind spot."""

    alarm: int
    flag: int
    type: int  # 1 behind, 2 left behind, 3 right behind
    scene: Scene


class Harsh(Struct, frozen=True):
    """0x70: harsh driving."""

    alarm: int
    flag: int
    type: int
    seconds: int
    threshold: int  # 0.01 g, or km/h
    revolutions: int  # rpm
    scene: Scene


class Fast(Struct, frozen=True):
    """0x11: over-speed; where it is of no place, only the kind 0."""

    kind: int  # 0 no place, 1 circle, 2 rectangle, 3 polygon, 4 route section
    area: int | None = None


class Area(Struct, frozen=True):
    """0x12: into or out of an area or route."""

    kind: int
    area: int
    out: int  # 0 in, 1 out


class Section(Struct, frozen=True):
    """0x13: too short or too long in a section of a route."""

    section: int
    seconds: int
    result: int  # 0 too short, 1 too long


class Abnormal(Struct, frozen=True):
    """0x18 of JT/T 1078: abnormal driving."""

    bits: int  # 0 fatigue, 1 phone, 2 smoke
    fatigue: int  # 0 to 100


ITEM_FIELDS: Mapping[int, Field] = {
    0x01: U32,  # mileage, 0.1 km
    0x02: U16,  # fuel, 0.1 L
    0x03: U16,  # speed of the recorder, 0.1 km/h
    0x04: U16,  # number of an alarm that a person is to confirm
    0x05: raw(30),  # tyre pressures, Pa
    0x06: I16,  # temperature of the cabin, degrees Celsius
    0x11: whole(Fast),
    0x12: whole(Area),
    0x13: whole(Section),
    0x14: U32,  # video alarms
    0x15: U32,  # video lost, a bit each channel
    0x16: U32,  # video covered
    0x17: U16,  # storage broken
    0x18: whole(Abnormal),
    0x25: U32,  # signals of the vehicle
    0x2A: U16,  # in and out
    0x2B: U32,  # analogue
    0x30: U8,  # strength of the network
    0x31: U8,  # satellites
    0x64: whole(Adas),
    0x65: whole(Driver),
    0x66: whole(Tyre),
    0x67: whole(Blind),
    0x70: whole(Harsh),
}
ITEM_IDS: Mapping[type, int] = {Adas: 0x64, Driver: 0x65, Tyre: 0x66, Blind: 0x67, Harsh: 0x70, Fast: 0x11}


class Item(Struct, frozen=True):
    """One item of a location: what `ITEM_FIELDS` makes of it; bytes where the id or the length is not known."""

    id: int
    value: Any


def _read_items(cursor: Cursor) -> tuple[Item, ...]:
    items = []
    while cursor.left:
        id, size = cursor.take(2) if cursor.left > 1 else (cursor.take(1)[0], cursor.left)
        items.append(_item(id, cursor.take(min(size, cursor.left)), cursor.form))
    return tuple(items)


def _item(id: int, data: bytes, form: Form) -> Item:
    field = ITEM_FIELDS.get(id)
    if field is not None:
        inner = Cursor(data, form)
        try:
            value = field.read(inner)
            if not inner.left and field.write(value, form) == data:
                return Item(id, value)
        except BadReply:
            pass
    return Item(id, data)


def _write_items(items: tuple[Item, ...], form: Form) -> bytes:
    out = b""
    for item in items:
        data = item.value if isinstance(item.value, bytes) else ITEM_FIELDS[item.id].write(item.value, form)
        out += bytes([item.id, len(data)]) + data
    return out


# -- bodies -------------------------------------------------------------------------------------------


class Raw(Struct, frozen=True):
    """A message that this program does not know, or whose body does not fit."""

    id: int
    data: bytes
    why: str = ""  # it does not fit; empty: it is not known


class Nothing(Struct, frozen=True):
    """A message without a body: heartbeat, farewell, questions for parameters, attributes, position."""


class Answer(Struct, frozen=True):
    """0x0001, 0x8001: the general answer."""

    serial: int  # of what is answered
    id: int
    result: int = OK


class Missing(Struct, frozen=True):
    """0x0005, 0x8003: which parts of a message are to be sent again."""

    serial: int  # of its first part
    parts: tuple[int, ...]


class Registration(Struct, frozen=True):
    """0x0100."""

    province: int  # GB/T 2260
    city: int
    maker: str
    model: str
    terminal: str
    colour: int  # of the plate, JT/T 415; 0: none
    plate: str  # or the VIN


class Registered(Struct, frozen=True):
    """0x8100: 0 well, 1 there is such a vehicle, 2 there is none, 3 there is such a terminal, 4 there is none."""

    serial: int
    result: int
    code: str = ""  # for authentication


class Authentication(Struct, frozen=True):
    """0x0102; before 2019 the code alone."""

    code: str
    imei: str = ""
    software: str = ""


class Location(Struct, frozen=True):
    """0x0200."""

    alarm: int  # bits
    status: int  # bits
    latitude: int  # 1e-6 degrees; bit 2 of the status: south
    longitude: int  # bit 3 of it: west
    altitude: int  # m
    speed: int  # 0.1 km/h
    direction: int  # degrees from north, clockwise
    time: str  # yymmddhhmmss, GMT+8
    items: tuple[Item, ...] = ()


class Located(Struct, frozen=True):
    """0x0201: the answer to a question for the position."""

    serial: int
    location: Location


class Locations(Struct, frozen=True):
    """0x0704: several at once."""

    kind: int  # 0 a batch, 1 from a blind area
    locations: tuple[Location, ...]


class Parameter(Struct, frozen=True):
    """One parameter of a terminal."""

    id: int
    value: bytes


class Parameters(Struct, frozen=True):
    """0x8103: set these."""

    parameters: tuple[Parameter, ...]


class ParametersAsked(Struct, frozen=True):
    """0x8106: which are asked for."""

    ids: tuple[int, ...]


class ParametersTold(Struct, frozen=True):
    """0x0104."""

    serial: int
    parameters: tuple[Parameter, ...]


class Control(Struct, frozen=True):
    """0x8105: 1 update, 2 connect elsewhere, 3 switch off, 4 reset, 5 as from the factory, 6, 7 fall silent."""

    command: int
    words: str = ""


class Attributes(Struct, frozen=True):
    """0x0107: what the terminal is."""

    type: int  # bits
    maker: str
    model: str
    terminal: str
    iccid: str  # 20 digits
    hardware: str
    firmware: str
    gnss: int  # bits: 0 GPS, 1 BeiDou, 2 GLONASS, 3 Galileo
    network: int  # bits


class Follow(Struct, frozen=True):
    """0x8202: report every so many s for so many s; 0: no longer."""

    period: int
    seconds: int = 0


class Confirm(Struct, frozen=True):
    """0x8203: a person has seen these alarms."""

    serial: int  # of the location; 0: all
    alarms: int  # bits


class Text(Struct, frozen=True):
    """0x8300: a text for people."""

    flag: int  # bits
    text: str
    kind: int = 0  # 1 a notice, 2 a service; since 2019


class Upload(Struct, frozen=True):
    """0x9208: send what there is of this alarm."""

    server: str
    tcp: int
    udp: int
    mark: Mark
    number: str  # that the platform gave the alarm
    reserved: bytes = bytes(16)


class FileName(Struct, frozen=True):
    name: str
    size: int  # bytes


class Files(Struct, frozen=True):
    """0x1210: what will come."""

    terminal: str
    mark: Mark
    number: str
    kind: int  # 0 for the first time, 1 again
    files: tuple[FileName, ...]


class File(Struct, frozen=True):
    """0x1211: this file begins; 0x1212: it ended."""

    name: str
    type: int  # 0 picture, 1 sound, 2 film, 3 text, 4 other
    size: int


class Hole(Struct, frozen=True):
    offset: int
    length: int


class FileDone(Struct, frozen=True):
    """0x9212."""

    name: str
    type: int
    result: int  # 0 it is whole, 1 these are missing
    missing: tuple[Hole, ...] = ()


Body = Struct

BODIES: Mapping[int, type[Struct]] = {
    0x0001: Answer,
    0x0002: Nothing,
    0x0003: Nothing,
    0x0005: Missing,
    0x0100: Registration,
    0x0102: Authentication,
    0x0104: ParametersTold,
    0x0107: Attributes,
    0x0200: Location,
    0x0201: Located,
    0x0704: Locations,
    0x1210: Files,
    0x1211: File,
    0x1212: File,
    0x8001: Answer,
    0x8003: Missing,
    0x8100: Registered,
    0x8103: Parameters,
    0x8104: Nothing,
    0x8105: Control,
    0x8106: ParametersAsked,
    0x8107: Nothing,
    0x8201: Nothing,
    0x8202: Follow,
    0x8203: Confirm,
    0x8300: Text,
    0x9208: Upload,
    0x9212: FileDone,
}


def _when_left(field: Field, empty: Any) -> Field:
    """A field that may be missing at the end."""
    return Field(
        lambda cursor: field.read(cursor) if cursor.left else empty,
        lambda value, form: b"" if value == empty else field.write(value, form),
    )


def _terminal() -> Field:
    """A terminal's id in messages of T/JSATL12."""
    short, long = text(7), text(30)
    return Field(
        lambda cursor: (short if cursor.form.mark == 16 else long).read(cursor),
        lambda value, form: (short if form.mark == 16 else long).write(value, form),
    )


def _mark_rest() -> Field:
    """What is reserved at the end of a mark."""

    def size(form: Form) -> int:
        return max(0, form.mark - (7 if form.mark == 16 else 30) - 8)

    return Field(
        lambda cursor: cursor.take(size(cursor.form)).rstrip(b"\0"),
        lambda value, form: value[: size(form)].ljust(size(form), b"\0"),
    )


PARAMETERS = many(U8, whole(Parameter))
_COMMON: dict[type[Struct], dict[str, Field]] = {
    Nothing: {},
    Mark: {"terminal": _terminal(), "time": TIME, "sequence": U8, "attachments": U8, "reserved": _mark_rest()},
    Scene: {"speed": U8, "altitude": U16, "latitude": U32, "longitude": U32, "time": TIME, "state": U16,
            "mark": whole(Mark)},
    Adas: {"alarm": U32, "flag": U8, "type": U8, "level": U8, "ahead": U8, "distance": U8, "deviation": U8, "sign": U8,
           "limit": U8, "scene": whole(Scene)},
    Driver: {"alarm": U32, "flag": U8, "type": U8, "level": U8, "fatigue": U8, "reserved": raw(4),
             "scene": whole(Scene)},
    Wheel: {"position": U8, "bits": U16, "pressure": U16, "temperature": I16, "battery": U16},
    Tyre: {"alarm": U32, "flag": U8, "scene": whole(Scene), "wheels": many(U8, whole(Wheel))},
    Blind: {"alarm": U32, "flag": U8, "type": U8, "scene": whole(Scene)},
    Harsh: {"alarm": U32, "flag": U8, "type": U8, "seconds": U16, "threshold": U16, "revolutions": U16,
            "scene": whole(Scene)},
    Fast: {"kind": U8, "area": _when_left(U32, None)},
    Area: {"kind": U8, "area": U32, "out": U8},
    Section: {"section": U32, "seconds": U16, "result": U8},
    Abnormal: {"bits": U16, "fatigue": U8},
    Answer: {"serial": U16, "id": U16, "result": U8},
    Missing: {"serial": U16, "parts": many(U8, U16)},
    Registration: {"province": U16, "city": U16, "maker": text(5), "model": text(20), "terminal": text(7), "colour": U8,
                   "plate": text()},
    Registered: {"serial": U16, "result": U8, "code": text()},
    Authentication: {"code": text()},
    Location: {"alarm": U32, "status": U32, "latitude": U32, "longitude": U32, "altitude": U16, "speed": U16,
               "direction": U16, "time": TIME, "items": Field(_read_items, _write_items)},
    Located: {"serial": U16, "location": whole(Location)},
    Locations: {},  # the number stands before the kind: see below
    Parameter: {"id": U32, "value": sized(U8, raw())},
    Parameters: {"parameters": PARAMETERS},
    ParametersAsked: {"ids": many(U8, U32)},
    ParametersTold: {"serial": U16, "parameters": PARAMETERS},
    Control: {"command": U8, "words": text()},
    Attributes: {"type": U16, "maker": text(5), "model": text(20), "terminal": text(7), "iccid": digits(10),
                 "hardware": sized(U8, text()), "firmware": sized(U8, text()), "gnss": U8, "network": U8},
    Follow: {"period": U16, "seconds": _when_left(U32, 0)},
    Confirm: {"serial": U16, "alarms": U32},
    Text: {"flag": U8, "text": text()},
    Upload: {"server": sized(U8, text()), "tcp": U16, "udp": U16, "mark": whole(Mark), "number": text(32),
             "reserved": raw()},
    FileName: {"name": sized(U8, text()), "size": U32},
    Files: {"terminal": _terminal(), "mark": whole(Mark), "number": text(32), "kind": U8,
            "files": many(U8, whole(FileName))},
    File: {"name": sized(U8, text()), "type": U8, "size": U32},
    Hole: {"offset": U32, "length": U32},
    FileDone: {"name": sized(U8, text()), "type": U8, "result": U8, "missing": many(U8, whole(Hole))},
}  # fmt: skip
_CHANGED: dict[tuple[type[Struct], Edition], dict[str, Field]] = {
    (Registration, 2011): {"model": text(8)},
    (Registration, 2019): {"maker": text(11), "model": text(30), "terminal": text(30)},
    (Attributes, 2019): {"maker": text(11), "model": text(30), "terminal": text(30)},
}
LAYOUTS: dict[Edition, dict[type[Struct], dict[str, Field]]] = {
    edition: {kind: fields | _CHANGED.get((kind, edition), {}) for kind, fields in _COMMON.items()}
    for edition in (2011, 2013, 2019)
}
LAYOUTS[2019][Authentication] = {"code": sized(U8, text()), "imei": text(15), "software": text(20)}
LAYOUTS[2019][Text] = {"flag": U8, "kind": U8, "text": text()}


def _read(kind: type[Struct], cursor: Cursor) -> Any:
    if kind is Locations:
        count, what = U16.read(cursor), U8.read(cursor)
        one = sized(U16, whole(Location))
        return Locations(what, tuple(one.read(cursor) for _ in range(count)))
    return kind(**{name: field.read(cursor) for name, field in LAYOUTS[cursor.form.edition][kind].items()})


def _write(body: Struct, form: Form) -> bytes:
    if isinstance(body, Locations):
        one = sized(U16, whole(Location))
        told = b"".join(one.write(location, form) for location in body.locations)
        return U16.write(len(body.locations), form) + U8.write(body.kind, form) + told
    return b"".join(field.write(getattr(body, name), form) for name, field in LAYOUTS[form.edition][type(body)].items())


def encode(body: Struct, form: Form = Form()) -> bytes:  # noqa: B008 (a value)
    """The body as bytes.

    >>> encode(Answer(100, 0x0200)).hex()
    '0064020000'
    """
    return body.data if isinstance(body, Raw) else _write(body, form)


def joined(locations: Sequence[bytes], kind: int) -> bytes:
    """0x0704 of locations that are bytes already."""
    head = len(locations).to_bytes(2, "big") + bytes([kind])
    return head + b"".join(len(one).to_bytes(2, "big") + one for one in locations)


def decode(id: int, data: bytes, form: Form = Form()) -> Body:  # noqa: B008
    """What a body says; `Raw` where the message is not known, or what stands there does not fit.

    >>> decode(0x8001, bytes.fromhex("0064020000"))
    Answer(serial=100, id=512, result=0)
    """
    kind = BODIES.get(id)
    if kind is None:
        return Raw(id, data)
    cursor = Cursor(data, form)
    try:
        if kind is Missing and len(data) == 4 + 2 * int.from_bytes(data[2:4], "big"):  # some count parts with a word
            return Missing(U16.read(cursor), many(U16, U16).read(cursor))
        return _read(kind, cursor)  # type: ignore[no-any-return]
    except (BadReply, ValueError) as error:
        return Raw(id, data, str(error))


def read(packet: Packet, form: Form = Form()) -> Body:  # noqa: B008
    """What a whole packet says, in the edition of its head."""
    if packet.layout == 2019 and form.edition != 2019:
        form = form._replace(edition=2019)
    elif packet.layout == 2013 and form.edition == 2019:
        form = form._replace(edition=2013)
    return decode(packet.id, packet.body, form)


def degrees(location: Location) -> tuple[float, float]:
    """Latitude and longitude with their signs.

    >>> degrees(Location(0, 0b0110, 33_500_000, 151_250_000, 0, 0, 0, "200101000000"))
    (-33.5, 151.25)
    """
    south, west = location.status >> 2 & 1, location.status >> 3 & 1
    return location.latitude * (-1e-6 if south else 1e-6), location.longitude * (-1e-6 if west else 1e-6)


# -- names --------------------------------------------------------------------------------------------

ALARMS: Mapping[str, int] = {
    name: bit
    for bit, name in enumerate(
        (
            "emergency",
            "over-speed",
            "fatigue",
            "danger",
            "gnss-fault",
            "gnss-open",
            "gnss-short",
            "under-voltage",
            "power-off",
            "display",
            "tts",
            "camera",
            "ic-card",
            "over-speed-soon",
            "fatigue-soon",
            "violation",  # from here three of 2019
            "tyre",
            "right-turn-blind",
            "day-total",
            "parking",
            "area",
            "route",
            "section-time",
            "deviation",
            "vss",
            "fuel",
            "stolen",
            "ignition",
            "moved",
            "collision",
            "roll-over",
            "door",
        )
    )
}
ONCE = sum(1 << ALARMS[name] for name in ("emergency", "danger", "area", "route", "ignition", "moved"))  # verify
STATUSES: Mapping[str, int] = {
    "acc": 0,
    "fixed": 1,
    "south": 2,
    "west": 3,
    "out-of-service": 4,
    "encrypted": 5,
    "forward-warning": 6,  # 2019
    "lane-warning": 7,  # 2019
    "half-load": 8,
    "load": 9,
    "fuel-cut": 10,
    "electric-cut": 11,
    "locked": 12,
    "door-1": 13,
    "door-2": 14,
    "door-3": 15,
    "door-4": 16,
    "door-5": 17,
    "gps": 18,
    "beidou": 19,
    "glonass": 20,
    "galileo": 21,
    "moving": 22,  # 2019
}
STATES: Mapping[str, int] = {"acc": 0, "left": 1, "right": 2, "wiper": 3, "brake": 4, "card": 5, "fixed": 10}


class Dialect(NamedTuple):
    """What a province made of T/JSATL12."""

    mark: int  # bytes of an alarm mark
    driver: Mapping[str, int]  # types of 0x65


ADAS_TYPES: Mapping[str, int] = {
    "forward": 1,
    "lane": 2,
    "headway": 3,
    "pedestrian": 4,
    "lane-changes": 5,
    "sign": 6,
    "obstacle": 7,
    "failure": 8,
    "sign-event": 0x10,
    "snapshot": 0x11,
}
DRIVER_TYPES: Mapping[str, int] = {
    "fatigue": 1,
    "phone": 2,
    "smoking": 3,
    "distraction": 4,
    "no-driver": 5,
    "hands-off": 6,
    "failure": 7,
    "snapshot": 0x10,
    "driver-change": 0x11,
}
BLIND_TYPES: Mapping[str, int] = {"rear": 1, "left": 2, "right": 3}
HARSH_TYPES: Mapping[str, int] = {
    "accelerate": 1,
    "brake": 2,
    "turn": 3,
    "idle": 4,
    "stall": 5,
    "coasting": 6,
    "over-rev": 7,
}
TYRE_BITS: Mapping[str, int] = {
    "periodic": 0,
    "high": 1,
    "low": 2,
    "hot": 3,
    "sensor": 4,
    "imbalance": 5,
    "leak": 6,
    "battery": 7,
}
_GUANGDONG = {
    **{name: DRIVER_TYPES[name] for name in ("fatigue", "phone", "smoking", "distraction", "no-driver", "snapshot")},
    "camera-covered": 6,
    "over-time": 8,
    "belt": 0x0A,
    "glasses": 0x0B,
    "hands-off": 0x0C,
    "phone-play": 0x0D,
    "driver-change": 0x11,
}
DIALECTS: Mapping[str, Dialect] = {
    "jiangsu": Dialect(16, DRIVER_TYPES),
    "hunan": Dialect(16, DRIVER_TYPES),
    "heilongjiang": Dialect(38, DRIVER_TYPES),
    "sichuan": Dialect(39, DRIVER_TYPES),
    "guangdong": Dialect(40, _GUANGDONG),
}
