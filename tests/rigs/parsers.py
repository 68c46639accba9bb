"""Every place where bytes of others are read, as a function that may refuse, and nothing else.

`PARSERS` holds them: `read(data, which)` reads one frame, made from seed `which`; it returns when the frame was taken
or refused in the declared way. What a parser must not do is raised as `Broken`; any other exception has escaped.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from msgspec import Struct

from agent import config, journal, rows
from agent.core.core import Ack, Tick
from agent.core.errors import BadReply, ConfigFault, Refused, WorldFault
from agent.core.frame import Instant, Quality, frame, layout
from agent.core.ports import Batch
from agent.uplink import hj212_wire as hj212
from agent.uplink import jt808_wire as jt808
from agent.uplink import jt808_words as words
from agent.uplink import sparkplug_wire as spb
from agent.uplink.jt808_words import Form
from agent.uplink.mqtt import acknowledged
from agent.uplink.session import Receipt
from drivers import modbus_wire as wire
from drivers import registers
from simulators import broker as mqtt
from tests.tools.slaves import sealed
from tests.tools.wires import adu


class Broken(Exception):
    """A parser kept a promise not. `promise` says which."""

    def __init__(self, promise: str, what: object) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


CHECK, BUFFER, TRIP = "bad check", "buffer", "round trip"


class Parser(Struct, frozen=True):
    """One parser, what it is used to read, and its share of all frames."""

    name: str
    seeds: Sequence[bytes]
    read: Callable[[bytes, int], None]
    share: float
    seal: Callable[[bytes], bytes] = bytes  # makes the check of a changed frame fit again


# -- Modbus ---------------------------------------------------------------------------------------

ASKS = (
    wire.read(1, "holding", 0, 2),
    wire.read(1, "holding", 100, 60),
    wire.read(17, "input", 7, 1),
    wire.read(2, "coil", 3, 13),
    wire.write_coil(1, 5, True),
    wire.write_registers(3, 9, [1, 2, 3]),
)


def _reply(ask: wire.Ask) -> bytes:
    """A reply's PDU that fits."""
    if ask.pdu[0] > 4:
        return ask.pdu[:5]
    return bytes([ask.pdu[0], ask.length - 2]) + bytes(i * 7 & 0xFF for i in range(ask.length - 2))


def _sealed(data: bytes) -> bytes:
    return sealed(data[0], data[1:-2]) if len(data) > 3 else data


def rtu(data: bytes, which: int) -> None:
    """A frame with a wrong CRC, of another unit or shape is never an answer; what makes no sense is not kept."""
    ask = ASKS[which % len(ASKS)]
    line = wire.Line(0.0001, 0.0)
    line.open(ask, 0.0, 0.1)
    cut = len(data) // 3
    line.feed(data[:cut], 0.002)
    line.feed(data[cut:], 0.003)
    if len(line.buffer) > wire.MAX_NOISE:
        raise Broken(BUFFER, len(line.buffer))
    outcome = line.outcome(10.0)
    if isinstance(outcome, bytes):
        pdu = ask.pdu[:5] if ask.pdu[0] > 4 else bytes([ask.pdu[0], len(outcome)]) + outcome
        if len(pdu) != ask.length or sealed(ask.unit, pdu) not in data:
            raise Broken(CHECK, data.hex())
    elif isinstance(outcome, Refused):
        if sealed(ask.unit, bytes([ask.pdu[0] | 0x80, outcome.code])) not in data:
            raise Broken(CHECK, data.hex())
    elif not isinstance(outcome, WorldFault):
        raise Broken(CHECK, f"{outcome!r} of {data.hex()}")


def tcp(data: bytes, which: int) -> None:
    """Frames come out as they went in; a payload is as long as asked; less than a frame is kept."""
    ask = ASKS[which % len(ASKS)]
    stream = wire.TcpStream()
    frames = []
    try:
        cut = len(data) // 2
        frames += stream.feed(data[:cut])
        frames += stream.feed(data[cut:])
    except BadReply:
        return
    if len(stream.rest) > 6 + 1 + wire.MAX_PDU:
        raise Broken(BUFFER, len(stream.rest))
    if b"".join(adu(*one) for one in frames) + stream.rest != data:
        raise Broken(TRIP, data.hex())
    for _, _, pdu in frames:
        try:
            taken = wire.payload(ask, pdu)
        except (BadReply, Refused):
            continue
        if ask.pdu[0] <= 4 and not len(taken) == ask.length - 2 == pdu[1]:
            raise Broken(CHECK, data.hex())


TYPES = ("uint16", "int16", "uint32", "int32", "float32", "float64", "uint64", "bool")
CHANNELS = tuple(
    registers.Channel(key=f"c{i}", at=f"holding:{4 * i}", type=t) for i, t in enumerate(TYPES) if t != "bool"
)
PLAN = registers.plan(CHANNELS, 125, 2000, 8)
QUALITIES = set(Quality)


def columns(data: bytes, which: int) -> None:
    """Any bytes of a device are columns: numbers, or NaN with the quality that says so."""
    image = np.frombuffer(data[: PLAN.size].ljust(PLAN.size, b"\0"), np.uint8)
    raw, value, quality = registers.decode(PLAN, image)
    if not len(raw) == len(value) == len(quality) == len(CHANNELS) or not set(quality.tolist()) <= QUALITIES:
        raise Broken(TRIP, data.hex())
    if (np.isnan(value) & (quality == Quality.GOOD)).any():
        raise Broken(CHECK, data.hex())


# -- MQTT -----------------------------------------------------------------------------------------


class Nowhere:
    """A writer for a client who is not there."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None: ...


LOOP = asyncio.new_event_loop()  # a stream reader wants one; it never runs


def _packets() -> list[bytes]:
    t, short = mqtt.text, struct.Struct(">H").pack
    will = mqtt.varint(0) + t("will/topic") + t("gone")
    connect5 = t("MQTT") + bytes([5, 0x06]) + short(10) + b"\x03\x21\x00\x14" + t("node") + will
    connect4 = t("MQTT") + bytes([4, 0xC2]) + short(10) + t("node") + t("user") + t("secret")
    named = b"\x26" + t("k") + t("v") + b"\x01\x01" + b"\x02\x00\x00\x0e\x10"
    publish = t("vedette/s/n/alarm") + short(7) + mqtt.varint(len(named)) + named + b'{"v":1}'
    return [
        mqtt.packet(mqtt.CONNECT, 0, connect5),
        mqtt.packet(mqtt.CONNECT, 0, connect4),
        mqtt.packet(mqtt.PUBLISH, 3, publish),
        mqtt.packet(mqtt.PUBLISH, 0, t("a/b") + b"\0x"),
        mqtt.packet(mqtt.SUBSCRIBE, 2, short(3) + b"\0" + t("a/+/#") + b"\x01" + t("$share/g/x") + b"\x02"),
        mqtt.packet(mqtt.UNSUBSCRIBE, 2, short(4) + b"\0" + t("a/+/#")),
        mqtt.packet(mqtt.PUBACK, 0, short(1)) + mqtt.packet(mqtt.PINGREQ, 0, b""),
    ]


def packets(data: bytes, which: int) -> None:
    """The broker of the demonstration: whatever a client sends costs at most its own connection."""
    stream = asyncio.StreamReader(loop=LOOP)
    stream.feed_data(data)
    stream.feed_eof()
    here = mqtt.Broker()
    client = mqtt.Client(Nowhere())  # type: ignore[arg-type]
    client.version, client.name = (5, 4)[which % 2], "node"
    here.clients["node"] = client
    client.wants["a/#"] = mqtt.Subscription(1)
    try:
        while True:
            try:
                mqtt.read_packet(stream).send(None)
            except StopIteration as done:
                kind, flags, body = done.value
            else:
                raise Broken(BUFFER, "it waits for bytes that never come")
            if kind == mqtt.CONNECT:
                here._connect(client, mqtt.Reader(body))
            else:
                here._take(client, kind, flags, mqtt.Reader(body))
    except (mqtt.Malformed, asyncio.IncompleteReadError):
        pass


def receipt(data: bytes, which: int) -> None:
    """What a platform says of an alarm; anybody may publish it."""
    for token in acknowledged(data, b""):
        if len(token) > 4 * len(data):
            raise Broken(BUFFER, data)


def _payloads() -> list[bytes]:
    table = spb.DataSet(("a", "b"), (spb.Type.INT32, spb.Type.STRING), ((1, "x"), (2, None)))
    quality = {"Quality": (int(spb.Type.INT32), 192)}
    odd = [
        spb.Metric("a", spb.Type.DOUBLE, 1.5, 3, 9, True, properties=quality),
        spb.Metric("b", spb.Type.DATASET, table, 4),
        spb.Metric("c", spb.Type.STRING_ARRAY, ("x", "y"), 5),
    ]
    command = spb.Metric("Node Control/Rebirth", spb.Type.BOOLEAN, True)
    return [spb.encode(spb.Payload(1, 7, odd, "u")), spb.encode(spb.Payload(1, None, [command]))]


def payloads(data: bytes, which: int) -> None:
    """What a host says in Sparkplug."""
    try:
        told = spb.decode(data)
    except spb.Malformed:
        return
    if len(told.metrics) > len(data):
        raise Broken(BUFFER, data)


# -- files ----------------------------------------------------------------------------------------


def _batches() -> list[bytes]:
    rng = np.random.default_rng(1)
    found = []
    for t, n, squeeze in ((1, 3, False), (5, 3, True), (40, 3, True), (2, 3, False)):
        value = rng.normal(size=(t, n)) if t == 2 else np.round(rng.normal(size=(t, n)).astype(np.float32), 2)
        quality = np.zeros((t, n), np.uint8) if t != 5 else rng.integers(0, 4, (t, n)).astype(np.uint8)
        times = np.arange(t, dtype=float)
        batch = Batch("s", ("a", "b", "c"), ("", "", ""), times, 1.7e9 + times, True, value.astype(float), quality)
        found.append(rows.pack(batch, squeeze))
    return found


def batches(data: bytes, which: int) -> None:
    """A packed batch, as it lies in the history; its checksum is not asked here."""
    try:
        batch = rows.unpack(data, "s", ("a", "b", "c"), ("", "", ""), True)
    except ValueError:
        return
    again = rows.unpack(rows.pack(batch), "s", ("a", "b", "c"), ("", "", ""), True)
    for name in ("mono", "wall", "value", "quality"):
        one, two = getattr(batch, name), getattr(again, name)
        if not np.array_equal(one, two, equal_nan=one.dtype.kind == "f"):
            raise Broken(TRIP, data.hex())


LAYOUTS = {"s": layout(["a", "b", "c"])}


def _lines() -> list[bytes]:
    at = Instant(1.5, 1.7e9, True)
    odd = frame("s", at, LAYOUTS["s"], np.array([1.0, np.nan, 3.0]), np.array([0, 3, 1]), np.array([0.1, 0.2, 0.3]))
    plain = frame("s", at, LAYOUTS["s"], np.array([1.0, 2.0, 3.0]))
    return [journal.encode(one) for one in (journal.Start("b", at), plain, odd, Tick(at), Ack("b-1", "Li", at))]


def lines(data: bytes, which: int) -> None:
    """A line of a recording."""
    try:
        event = journal.decode(data, LAYOUTS)
    except ConfigFault:
        return
    line = journal.encode(event)
    if journal.encode(journal.decode(line, LAYOUTS)) != line:
        raise Broken(TRIP, data)


SITE = b"""
[site]
name = "n"
[store]
path = "state"
[[bus]]
name = "b"
url = "tcp://10.0.0.1:502"
timeout = 0.3
[[bus.device]]
name = "d"
unit = 1
period = 0.5
points = "points.csv"
channel = [{ key = "x", at = "holding:1", type = "float32" }]
[[bus.output]]
name = "siren"
device = "d"
at = "coil:0"
[[rule]]
name = "r"
kind = "high"
channel = ["d/x"]
limit = 1.0
level = "red"
drive = ["siren"]
[[uplink]]
name = "p"
url = "mqtt://localhost"
"""
POINTS = b"key,at,type,unit,low,high\nq,holding:10,uint16,%,0,100\nr,input:0x20,int32,,,\n"


def sites(folder: Path, data: bytes, which: int) -> None:
    """A site file, or its point list: every fault is told, none escapes."""
    (folder / "site.toml").write_bytes(data if which == 0 else SITE)
    (folder / "points.csv").write_bytes(data if which == 1 else POINTS)
    try:
        config.load(folder / "site.toml")
    except ConfigFault as fault:
        if not fault.complaints:
            raise Broken(TRIP, "refused without a word") from None


# -- JT/T 808 -------------------------------------------------------------------------------------

MARK = words.Mark("7654321", "261128120000", 1, 3)
SCENE = words.Scene(60, 20, 30_000_000, 120_000_000, "261128120000", 0x401, MARK)
PLACE = words.Location(
    1, 3, 30_000_000, 120_000_000, 20, 600, 90, "261128120000",
    (words.Item(1, 7), words.Item(0x64, words.Adas(1, 1, 1, 2, 0, 27, 0, 0, 0, SCENE)),
     words.Item(0x66, words.Tyre(2, 1, SCENE, (words.Wheel(1, 2, 800, 60, 90),))), words.Item(0xEB, b"vendor")),
)  # fmt: skip
SAID: list[tuple[int, Struct]] = [
    (0x0100, words.Registration(44, 300, "VEDET", "edge", "7654321", 2, "粤A12345")),
    (0x0200, PLACE),
    (0x0704, words.Locations(1, (PLACE, PLACE))),
    (0x8103, words.Parameters((words.Parameter(0x29, bytes(4)), words.Parameter(0xF364, bytes(56))))),
    (0x8300, words.Text(1, "halt")),
    (0x9208, words.Upload("10.0.0.1", 7000, 0, MARK, "1" * 32)),
    (0x9212, words.FileDone("00_64_6401_0_1.jpg", 0, 1, (words.Hole(0, 4096),))),
]
FRAMES = [
    b"".join(
        map(jt808.pack, jt808.split(jt808.Packet(id, "13800138000", 7, words.encode(body, Form(layout)), layout), n))
    )
    for layout in (2013, 2019)
    for n in (1023, 40)
    for id, body in SAID
]
FRAMES.append(jt808.pack_chunk(jt808.Chunk("00_64_6401_0_1.jpg", 0, b"~0 1cd~" * 9)) + FRAMES[0])


def _checked(data: bytes) -> bytes:
    """Each piece between flags with a check that fits, so that what it says is looked at."""
    pieces = data.split(jt808.FLAG)
    return jt808.FLAG.join(_with_check(piece) if len(piece) > 2 else piece for piece in pieces)


def _with_check(piece: bytes) -> bytes:
    try:
        body = jt808.unescape(piece)[:-1]
    except BadReply:
        return piece
    return jt808.escape(body + bytes([jt808.check(body)]))


def terminal(data: bytes, which: int) -> None:
    """What has a wrong check is no packet; a packet goes out as it came; buffers are bounded."""
    form = Form((2011, 2013, 2019)[which % 3], (16, 38, 39, 40)[which % 4])
    stream, joiner, cut = jt808.Stream(), jt808.Joiner(), len(data) // 3
    pieces = data.split(jt808.FLAG)
    for packet in stream.feed(data[:cut]) + stream.feed(data[cut:]):
        frame = jt808.pack(packet)
        if jt808.Stream().feed(frame) != [packet]:
            raise Broken(TRIP, frame.hex())
        if jt808.unescape(frame[1:-1]) not in [_plain(piece) for piece in pieces]:
            raise Broken(CHECK, data.hex())
        try:
            whole = joiner.put(packet, 0.0)
        except BadReply:
            continue
        if whole is not None:
            words.read(whole, form)
    files = jt808.FileStream()
    files.feed(data)
    if len(stream.rest) > jt808.LONGEST_FRAME or len(files.rest) > jt808.CHUNK + 64:
        raise Broken(BUFFER, len(stream.rest))


def _plain(piece: bytes) -> bytes:
    try:
        return jt808.unescape(piece)
    except BadReply:
        return b""


# -- HJ 212 ---------------------------------------------------------------------------------------

ASKED = hj212.Message("1062", "32", "010000A8900016F000169DC0", "20160801085857223", "100000", 5, "RtdInterval=30")
MEANS = [f"w{n:05d}-Avg=1.0,w{n:05d}-Flag=N" for n in range(40)]
ASKS_212 = [
    hj212.pack(ASKED),
    hj212.pack(ASKED._replace(cn="9014", st="91", flag=4, cp="")),
    hj212.pack(ASKED._replace(cn="2051", cp="BeginTime=20160801084000,EndTime=20160801090000")) * 2,
    b"".join(map(hj212.pack, hj212.split(ASKED._replace(cn="2051"), "DataTime=20160801084000", MEANS))),
]
MARK = re.compile(rb"(?=##(\d{4}))")


def _summed(data: bytes) -> bytes:
    """Each frame with a length and a check that fit."""
    first, *frames = data.split(b"##")
    out = [first]
    for piece in frames:
        text = piece[4:].rstrip(b"\r\n")[:-4][:9999]
        out.append(b"%04d%s%04X\r\n" % (len(text), text, hj212.check(text)))
    return b"##".join(out)


def supervised(data: bytes, which: int) -> None:
    """What has a wrong check is no message; a message goes out as it is understood; the buffer is bounded."""
    stream, cut = hj212.Stream(), len(data) // 3
    said = stream.feed(data[:cut]) + stream.feed(data[cut:])
    sound = set()
    for mark in MARK.finditer(data):
        begin, end = mark.start() + 6, mark.start() + 6 + int(mark[1])
        segment = data[begin:end]
        if segment.endswith(b"&&") and data[end : end + 4].upper() == b"%04X" % hj212.check(segment):
            sound.add(hj212.read(segment))
    for one in said:
        if one not in sound:
            raise Broken(CHECK, data.hex())
        one.fields()
        plain = one._replace(
            pnum=one.pnum if one.flag & hj212.PARTS else 0, pno=one.pno if one.flag & hj212.PARTS else 0
        )
        if hj212.Stream().feed(hj212.pack(plain)) != [plain]:
            raise Broken(TRIP, data.hex())
    if len(stream.rest) > hj212.LONGEST + 10:
        raise Broken(BUFFER, len(stream.rest))


def parsers(folder: Path) -> list[Parser]:
    """All of them; `folder` is for those that read files."""
    receipts = [b'{"boot":"1-a","stream":"alarm","seq":7}', b'{"boot":"","seq":1e3,"stream":"\\ud83d\\ude00"}']
    assert Receipt("1-a", "alarm", 7).token in acknowledged(receipts[0], b"")
    return [
        Parser("Modbus RTU", [sealed(ask.unit, _reply(ask)) for ask in ASKS], rtu, 0.25, _sealed),
        Parser("Modbus TCP", [adu(7, ask.unit, _reply(ask)) for ask in ASKS], tcp, 0.20),
        Parser("HJ 212", ASKS_212, supervised, 0.05, _summed),
        Parser("JT/T 808", FRAMES, terminal, 0.10, _checked),
        Parser("registers", [bytes(range(PLAN.size)), b"\x7f\xc0\0\0" * 20], columns, 0.05),
        Parser("MQTT", _packets(), packets, 0.15),
        Parser("receipts", receipts, receipt, 0.05),
        Parser("batches", _batches(), batches, 0.05),
        Parser("Sparkplug", _payloads(), payloads, 0.05),
        Parser("recordings", _lines(), lines, 0.0485),
        Parser("site files", [SITE, POINTS], partial(sites, folder), 0.0015),
    ]
