"""Registers to columns: where a channel lives, which requests read it, what its bytes mean.

Pure: no socket, no clock. The road is: `Channel` (settings) -> `plan` (few requests, one byte image)
-> `decode` (one numpy call chain per type) -> raw, value, quality. What it does not do: ask, wait, age.

Byte orders. The letters name the bytes of a value from the most significant (A) to the least, and the
order is the order on the wire, as in every meter's manual:

    order   16 bit   32 bit   64 bit     in words
    ABCD    AB       ABCD     ABCDEFGH   big-endian, what the Modbus specification says
    CDAB    AB       CDAB     GHEFCDAB   words reversed
    BADC    BA       BADC     BADCFEHG   bytes within each word swapped
    DCBA    BA       DCBA     HGFEDCBA   both: little-endian
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

import numpy as np
from msgspec import Meta, Struct

from agent.core.frame import Array, Layout, Quality
from agent.core.frame import layout as columns_of

Kind = Literal["coil", "discrete", "input", "holding"]
Order = Literal["ABCD", "BADC", "CDAB", "DCBA"]
Type = Literal[
    "", "bool", "bits", "string", "bcd16", "bcd32",
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64",
]  # fmt: skip

KINDS: tuple[Kind, ...] = ("coil", "discrete", "input", "holding")
CLASSIC: dict[str, Kind] = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
NATIVE = {  # type -> numpy type of this machine's memory (little-endian on every machine we support)
    "bool": "<u2", "bits": "<u2", "bcd16": "<u2", "bcd32": "<u4",
    "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4",
    "int64": "<i8", "uint64": "<u8", "float32": "<f4", "float64": "<f8",
}  # fmt: skip
MAX_REGISTERS = 125  # of one read; Modbus application protocol V1.1b3, 6.3
MAX_BITS = 2000  # of one read; the same, 6.1

# NAMUR NE 43: 3.8 to 20.5 mA carries the measurement; up to 3.6 and down from 21 mA carries a failure.
NE43_FAULT = (3.6, 21.0)  # mA
NE43_RANGE = (3.8, 20.5)  # mA
HAIR = 1e-9  # mA; 3.6 that arrives as 3.5999999999999996 is 3.6


# -- settings -------------------------------------------------------------------------------------


class Channel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measured quantity of one device.

    The number in the device becomes the value in one of three ways, always linear:
    `value = number * scale + offset`; or `raw` and `range` as two points of the line; or `signal`,
    where `raw` are the counts at 4 and 20 mA (without `raw`: `number * scale + offset` is in mA) and
    `range` the values there.

    Raises: ValueError with every fault of the channel, so that a configuration reader can show it.
    """

    key: Annotated[str, Meta(min_length=1, pattern=r"^[^\s/]+$")]  # name within the source
    at: str | int  # "holding:0x1000", "holding:0x10.3", "holding:0x10.4-7", 40001, "00001"; kind:number counts from 0
    type: Type = ""  # "": bool for coils and single bits, bits for a bit field, uint16 for a register
    order: Order = "ABCD"  # on the wire; see the table above
    count: Annotated[int, Meta(ge=1, le=MAX_REGISTERS)] = 1  # registers of a string, two characters each
    scale: float = 1.0  # value per number
    offset: float = 0.0  # value at number 0
    unit: str = ""  # of the value
    raw: tuple[float, float] | None = None  # two numbers in the device ...
    range: tuple[float, float] | None = None  # ... and the values that they mean
    signal: Literal["", "4-20mA"] = ""  # a current loop after NAMUR NE 43: beyond 3.6 and 21 mA is a fault
    sentinel: tuple[float, ...] = ()  # numbers in the device that mean "no measurement": FAULT
    low: float | None = None  # the instrument's range: a value outside is OVER_RANGE; None: not stated
    high: float | None = None
    stale: Annotated[float, Meta(gt=0)] | None = None  # s without a measurement until STALE; None: 3 periods
    deadband: Annotated[float, Meta(ge=0)] = 0.0  # a smaller move is not reported as telemetry

    def __post_init__(self) -> None:
        if faults := faults_of(self):
            raise ValueError("; ".join(faults))


class Place(NamedTuple):
    """Where a value lives: `start` counts from 0; `bit`, `bits` cut a field out of the register."""

    kind: Kind
    start: int
    bit: int = 0
    bits: int = 0  # 0: the whole register


_NAMED = re.compile(r"(coil|discrete|input|holding):(0[xX][0-9a-fA-F]+|\d+)(?:\.(\d+)(?:-(\d+))?)?")
_CLASSIC = re.compile(r"([0134])(\d{4}|\d{5})(?:\.(\d+)(?:-(\d+))?)?")


def place(at: str | int) -> Place:
    """The place that `at` names. Raises ValueError saying what is wrong.

    >>> place("holding:0x10.4-7")
    Place(kind='holding', start=16, bit=4, bits=4)
    >>> place(40001) == place("400001") == place("holding:0")
    True
    >>> place("00001")
    Place(kind='coil', start=0, bit=0, bits=0)
    """
    text = str(at).strip()
    if match := _NAMED.fullmatch(text):
        kind, number, first, last = match.groups()
        start = int(number, 0) if number[:2].lower() == "0x" else int(number)
    elif match := _CLASSIC.fullmatch(text):
        digit, number, first, last = match.groups()
        kind, start = CLASSIC[digit], int(number) - 1
        if start < 0:
            raise ValueError(f"address {text}: the {digit}xxxx notation counts from 1")
    else:
        raise ValueError(
            f"address {text!r} is not understood; write kind:number counted from 0, for example "
            '"holding:0x1000" or "coil:5", or the classic notation 40001, 30001, 10001, "00001"'
        )
    if start > 0xFFFF:
        raise ValueError(f"address {text}: beyond 65535")
    if first is None:
        return Place(kind, start)  # type: ignore[arg-type]  # the pattern allows the four kinds only
    low, high = int(first), int(last if last is not None else first)
    if kind in ("coil", "discrete"):
        raise ValueError(f"address {text}: a {kind} is one bit; it has no bit {low}")
    if not low <= high <= 15:
        raise ValueError(f"address {text}: bits go from 0 (least significant) to 15, low-high")
    return Place(kind, start, low, high - low + 1)  # type: ignore[arg-type]


def faults_of(channel: Channel) -> list[str]:
    """Everything that is wrong with a channel's settings, in words; empty if nothing is."""
    found = []
    try:
        where = place(channel.at)
    except ValueError as error:
        return [str(error)]
    if found := infinite(channel):
        return found
    is_bit = where.kind in ("coil", "discrete")
    if is_bit and channel.type not in ("", "bool"):
        found.append(f"a {where.kind} holds one bit: type must be bool, not {channel.type}")
    if where.bits and channel.type not in ("", "bool", "bits"):
        found.append(f"a bit field cannot be {channel.type}: leave type out, or write bool or bits")
    if where.bits > 1 and channel.type == "bool":
        found.append(f"{where.bits} bits are not a bool: write type = bits")
    if channel.count != 1 and channel.type != "string":
        found.append("count is for strings only")
    if not is_bit and where.start + registers_of(channel) > 0x10000:
        found.append("the value reaches beyond register 65535")
    scaled = channel.scale != 1.0 or channel.offset != 0.0
    if channel.raw is not None and channel.range is None:
        found.append("raw needs range: the values at those two numbers")
    if channel.range is not None and channel.raw is None and not channel.signal:
        found.append("range needs raw: the numbers in the device at those two values")
    if channel.raw is not None and scaled:
        found.append("raw and range already fix the line: leave scale and offset out")
    if channel.raw is not None and channel.raw[0] == channel.raw[1]:
        found.append("raw needs two different numbers")
    if channel.signal and channel.range is None:
        found.append("signal needs range: the values at 4 and 20 mA")
    if channel.scale == 0:
        found.append("scale 0 would make every reading the same")
    if channel.low is not None and channel.high is not None and channel.low >= channel.high:
        found.append("low must be below high")
    if channel.signal and not found:
        gain, bias = loop_of(channel)
        lowest = min(gain * number + bias for number in numbers_of(channel))
        if lowest > NE43_FAULT[0] - HAIR:
            found.append(
                f"signal {channel.signal!r}: a {type_of(channel)} cannot show less than {lowest:.3g} mA here, so a "
                "broken wire would pass for a measurement. raw must be the counts for 4 and 20 mA of an input with "
                "live zero ([819, 4095] for 0 to 20 mA over 12 bit), or the number a signed one; an input that "
                "spreads 4 to 20 mA over all its counts cannot show a broken wire"
            )
    return found


def infinite(settings: Struct) -> list[str]:
    """Words about each setting that is NaN or infinite, alone or in a tuple. TOML and CSV can write both."""
    found = []
    for key in settings.__struct_fields__:
        value = getattr(settings, key)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            shown = list(value) if isinstance(value, tuple) else value
            found.append(f"{key} = {shown!r}: only finite numbers mean something here")
    return found


def numbers_of(channel: Channel) -> tuple[float, float]:
    """The smallest and the largest number that the channel's type holds; infinite for floats and strings.

    >>> numbers_of(Channel(key="x", at="holding:0", type="int16"))
    (-32768, 32767)
    """
    kind, bits = type_of(channel), 16 * registers_of(channel)
    if kind.startswith("int"):
        return -(1 << bits - 1), (1 << bits - 1) - 1
    if kind.startswith("uint"):
        return 0, (1 << bits) - 1
    if kind.startswith("bcd"):
        return 0, 10 ** (bits // 4) - 1
    if kind in ("bool", "bits"):
        return 0, (1 << max(1, place(channel.at).bits)) - 1
    return -math.inf, math.inf


def type_of(channel: Channel) -> Type:
    """The type, with "" resolved by the place."""
    if channel.type:
        return channel.type
    where = place(channel.at)
    if where.kind in ("coil", "discrete") or where.bits == 1:
        return "bool"
    return "bits" if where.bits else "uint16"


def registers_of(channel: Channel) -> int:
    """How many registers (or, for coils and discretes, bits) the value occupies."""
    if channel.type == "string":
        return channel.count
    return int(NATIVE[channel.type or "uint16"][-1]) // 2


def wire_positions(words: int, order: Order) -> list[int]:
    """For each byte from the most significant to the least: its position on the wire.

    >>> wire_positions(2, "CDAB")  # A stands third
    [2, 3, 0, 1]
    """
    sequence = range(words - 1, -1, -1) if order in ("CDAB", "DCBA") else range(words)
    halves = (1, 0) if order in ("BADC", "DCBA") else (0, 1)
    return [2 * word + half for word in sequence for half in halves]


def layout(channels: Sequence[Channel], period: float) -> Layout:
    """The layout of a source polled every `period` seconds. Strings have no column."""
    shown = [c for c in channels if c.type != "string"]

    def bound(channel: Channel, stated: float | None, pick: int) -> float:
        if stated is not None:
            return stated
        return sorted(channel.range)[pick] if channel.range is not None else np.nan

    return columns_of(
        [c.key for c in shown],
        [c.unit for c in shown],
        [bound(c, c.low, 0) for c in shown],
        [bound(c, c.high, 1) for c in shown],
        [c.stale if c.stale is not None else 3.0 * period for c in shown],
        [c.deadband for c in shown],
    )


# -- read plan ------------------------------------------------------------------------------------

Span = tuple[int, int]  # first register (or bit), how many


class Block(Struct, frozen=True):
    """One request: `count` registers or bits from `start`; its payload belongs at `offset` of the image."""

    kind: Kind
    start: int
    count: int
    offset: int  # bytes
    spans: tuple[Span, ...]  # the values inside, ascending, none twice

    @property
    def size(self) -> int:
        """Bytes of payload."""
        return size_of(self.kind, self.count)


class Text(Struct, frozen=True, eq=False):
    """A string: the image's bytes at `index`, readable if block `block` was read (-1: missing)."""

    key: str
    block: int
    index: Array


class Group(Struct, frozen=True, eq=False):
    """All channels of one type: gather `index`, view as `native`, put into `columns`."""

    type: str
    native: str
    index: Array  # (k * width,) byte positions in the image, least significant byte of each value first
    columns: slice | Array  # (k,)
    shift: Array  # (k,) bits only
    mask: Array  # (k,) bits only


class Plan(Struct, frozen=True, eq=False):
    """How to read a device and what to make of its bytes; n numeric channels in the layout's order."""

    blocks: tuple[Block, ...]
    size: int  # bytes of the image
    block_of: Array  # (n,) index into blocks, -1: a register that does not exist
    groups: tuple[Group, ...]
    gain: Array  # (n,) value = raw * gain + bias
    bias: Array  # (n,)
    low: Array | None  # (n,) OVER_RANGE below; None if no channel states one
    high: Array | None  # (n,)
    sentinel_column: Array  # (s,)
    sentinel: Array  # (s,)
    loop_column: Array  # (m,) channels on a current loop
    loop_gain: Array  # (m,) mA = raw * gain + bias
    loop_bias: Array  # (m,)
    texts: tuple[Text, ...]


def size_of(kind: Kind, count: int) -> int:
    """Bytes that `count` registers or bits take in a reply.

    >>> size_of("holding", 3), size_of("coil", 9)
    (6, 2)
    """
    return 2 * count if kind in ("input", "holding") else (count + 7) // 8


def join(
    spans: Iterable[Span], most: int, gap: int, missing: frozenset[int] = frozenset()
) -> list[tuple[int, int, tuple[Span, ...]]]:
    """Spans packed into as few reads (start, count, spans) as possible.

    A read is at most `most` long, bridges at most `gap` unused registers at a time and never touches a
    register in `missing`; a span that does is left out. No span is split.

    >>> join([(0, 2), (2, 2), (10, 1)], most=125, gap=4)
    [(0, 4, ((0, 2), (2, 2))), (10, 1, ((10, 1),))]
    """
    packed: list[tuple[int, int, tuple[Span, ...]]] = []
    row: list[Span] = []
    first = end = 0
    for start, count in sorted(set(spans)):
        if count > most:
            raise ValueError(f"{count} registers at {start:#x} do not fit into one read of {most}")
        if missing and any(a in missing for a in range(start, start + count)):
            continue
        reach = max(end, start + count)
        hole = range(end, start)
        if row and len(hole) <= gap and reach - first <= most and not (missing and any(a in missing for a in hole)):
            row.append((start, count))
            end = reach
            continue
        if row:
            packed.append((first, end - first, tuple(row)))
        row, first, end = [(start, count)], start, start + count
    if row:
        packed.append((first, end - first, tuple(row)))
    return packed


def plan(
    channels: Sequence[Channel],
    max_registers: int = MAX_REGISTERS,
    max_bits: int = MAX_BITS,
    gap: int = 8,
    missing: frozenset[tuple[Kind, int]] = frozenset(),
) -> Plan:
    """The fewest requests that read `channels`, and the numpy indexes that decode them.

    `missing` holds (kind, address) that the device refused: neither read nor bridged.
    Raises ValueError if a value is larger than the device's limit.
    """
    places = [place(c.at) for c in channels]
    blocks: list[Block] = []
    block_at: dict[tuple[Kind, Span], int] = {}
    offset = 0
    for kind in KINDS:
        is_bit = kind in ("coil", "discrete")
        spans = [(p.start, registers_of(c)) for c, p in zip(channels, places, strict=True) if p.kind == kind]
        absent = frozenset(a for k, a in missing if k == kind)
        bridge = 16 * gap if is_bit else gap  # sixteen bits cost the wire as much as one register
        for start, count, inside in join(spans, max_bits if is_bit else max_registers, bridge, absent):
            for span in inside:
                block_at[kind, span] = len(blocks)
            blocks.append(Block(kind, start, count, offset, inside))
            offset += size_of(kind, count)

    numeric = [(c, p) for c, p in zip(channels, places, strict=True) if c.type != "string"]
    block_of = np.array([block_at.get((p.kind, (p.start, registers_of(c))), -1) for c, p in numeric], np.intp)
    texts = []
    for c, p in zip(channels, places, strict=True):
        if c.type == "string":
            b = block_at.get((p.kind, (p.start, c.count)), -1)
            base = blocks[b].offset + 2 * (p.start - blocks[b].start) if b >= 0 else 0
            texts.append(Text(c.key, b, base + np.array(wire_positions(c.count, c.order), np.intp)))

    lines = [line_of(c) for c, _ in numeric]
    n = len(numeric)

    def stated(values: list[float | None], unbound: float) -> Array | None:
        return np.array([unbound if v is None else v for v in values]) if any(v is not None for v in values) else None

    marks = [(i, as_read(c, s)) for i, (c, _) in enumerate(numeric) for s in c.sentinel]
    loops = [(i, *loop_of(c)) for i, (c, _) in enumerate(numeric) if c.signal]
    return Plan(
        blocks=tuple(blocks),
        size=offset,
        block_of=block_of,
        groups=_groups(numeric, block_of, blocks),
        gain=np.array([gain for gain, _ in lines]).reshape(n),
        bias=np.array([bias for _, bias in lines]).reshape(n),
        low=stated([c.low for c, _ in numeric], -np.inf),
        high=stated([c.high for c, _ in numeric], np.inf),
        sentinel_column=np.array([i for i, _ in marks], np.intp),
        sentinel=np.array([s for _, s in marks]),
        loop_column=np.array([i for i, _, _ in loops], np.intp),
        loop_gain=np.array([gain for _, gain, _ in loops]),
        loop_bias=np.array([bias for _, _, bias in loops]),
        texts=tuple(texts),
    )


def _groups(numeric: Sequence[tuple[Channel, Place]], block_of: Array, blocks: Sequence[Block]) -> tuple[Group, ...]:
    rows: dict[str, list[tuple[int, list[int], int, int]]] = {}
    for i, (channel, where) in enumerate(numeric):
        b = int(block_of[i])
        if b < 0:
            continue
        block = blocks[b]
        if where.kind in ("coil", "discrete"):
            byte, bit = divmod(where.start - block.start, 8)  # the first bit is the lowest of the first byte
            rows.setdefault("coil", []).append((i, [block.offset + byte], bit, 1))
            continue
        base = block.offset + 2 * (where.start - block.start)
        positions = wire_positions(registers_of(channel), channel.order)
        index = [base + p for p in reversed(positions)]
        name = type_of(channel)
        if where.bits:
            rows.setdefault("bits", []).append((i, index, where.bit, (1 << where.bits) - 1))
        else:
            rows.setdefault(name, []).append((i, index, 0, 0xFFFF))
    groups = []
    for kind_of, row in rows.items():
        columns: slice | Array = np.array([i for i, *_ in row], np.intp)
        first, last = row[0][0], row[-1][0]
        if last - first + 1 == len(row):
            columns = slice(first, last + 1)
        gather = np.array([index for _, index, _, _ in row], np.intp).reshape(-1)
        shift = np.array([shift for *_, shift, _ in row], np.uint16)
        mask = np.array([mask for *_, mask in row], np.uint16)
        native = "u1" if kind_of == "coil" else NATIVE[kind_of]
        groups.append(Group(kind_of, native, gather, columns, shift, mask))
    return tuple(groups)


def line_of(channel: Channel) -> tuple[float, float]:
    """(gain, bias) of value = number * gain + bias."""
    if channel.range is None:
        return channel.scale, channel.offset
    if channel.signal:
        gain, bias = loop_of(channel)
        return _through((4.0, 20.0), channel.range, gain, bias)
    assert channel.raw is not None, "faults_of() let a range without raw pass"
    return _through(channel.raw, channel.range, 1.0, 0.0)


def loop_of(channel: Channel) -> tuple[float, float]:
    """(gain, bias) of mA = number * gain + bias."""
    if channel.raw is None:
        return channel.scale, channel.offset
    return _through(channel.raw, (4.0, 20.0), 1.0, 0.0)


def _through(x: tuple[float, float], y: tuple[float, float], gain: float, bias: float) -> tuple[float, float]:
    slope = (y[1] - y[0]) / (x[1] - x[0])
    return slope * gain, y[0] + slope * (bias - x[0])


def as_read(channel: Channel, number: float) -> float:
    """The number as this channel's type would read it: -9999.9 is not exact in 32 bits."""
    return float(np.float32(number)) if channel.type == "float32" else number


# -- decode ---------------------------------------------------------------------------------------

_DIGITS = {"bcd16": np.arange(0, 16, 4, dtype=np.uint32), "bcd32": np.arange(0, 32, 4, dtype=np.uint32)}


def decode(plan: Plan, image: Array) -> tuple[Array, Array, Array]:
    """(raw, value, quality), each (n,), of one complete image of `plan.size` bytes (uint8).

    `raw` is the number before scaling. A channel that cannot be a measurement (sentinel, NaN, infinity,
    a digit above 9 in BCD, a loop current beyond NE 43, a missing register) is FAULT and its value NaN.
    What stands in blocks that were not read is for the caller to mask. 64-bit integers beyond 2**53
    lose their last digits: columns are float64.
    """
    raw = np.full(len(plan.gain), np.nan)
    with np.errstate(all="ignore"):  # a signalling NaN in a register is data, not an error
        for group in plan.groups:
            got = image[group.index].view(group.native)
            raw[group.columns] = got if group.type in _PLAIN else _unpack(group, got)
        value = raw * plan.gain
        value += plan.bias
        fault = ~np.isfinite(value)
        over = np.zeros(len(raw), bool)
        if plan.low is not None:
            over |= value < plan.low
        if plan.high is not None:
            over |= value > plan.high
        if len(plan.loop_column):
            current = raw[plan.loop_column] * plan.loop_gain + plan.loop_bias
            fault[plan.loop_column] |= (current < NE43_FAULT[0] - HAIR) | (current > NE43_FAULT[1] + HAIR)
            over[plan.loop_column] |= (current < NE43_RANGE[0] - HAIR) | (current > NE43_RANGE[1] + HAIR)
        if len(plan.sentinel):
            hit = raw[plan.sentinel_column] == plan.sentinel
            fault[plan.sentinel_column[hit]] = True
    quality = over.astype(np.uint8)
    quality *= np.uint8(Quality.OVER_RANGE)
    if fault.any():
        quality[fault] = Quality.FAULT
        value[fault] = np.nan
    return raw, value, quality


_PLAIN = frozenset(("int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"))


def _unpack(group: Group, got: Array) -> Array:
    """Numbers of the types that are more than a view."""
    if group.type == "bool":
        return np.where(got != 0, 1.0, 0.0)
    if group.type in ("bits", "coil"):
        return (got >> group.shift) & group.mask
    digits = (got[:, None] >> _DIGITS[group.type]) & 15
    number: Array = digits @ 10.0 ** np.arange(digits.shape[1])
    return np.where((digits > 9).any(axis=1), np.nan, number)


def text_of(text: Text, image: Array) -> str:
    """The string, up to its first NUL, without blanks around it. What is not UTF-8 shows as U+FFFD."""
    return image[text.index].tobytes().split(b"\0", 1)[0].decode("utf-8", "replace").strip()


def ranges(addresses: Iterable[int]) -> str:
    """Addresses as people read them.

    >>> ranges([16, 17, 18, 32])
    '0x10-0x12, 0x20'
    """
    row = sorted(set(addresses))
    breaks = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(row)) if b != a + 1), len(row)]
    runs = [(row[a], row[b - 1]) for a, b in pairwise(breaks) if b > a]
    return ", ".join(f"{a:#x}" if a == b else f"{a:#x}-{b:#x}" for a, b in runs)


@lru_cache(maxsize=256)
def shared_layout(channels: tuple[Channel, ...], period: float) -> Layout:
    """`layout`, built once: everybody who asks for the same source gets the same object."""
    return layout(channels, period)
