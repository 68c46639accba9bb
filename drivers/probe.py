"""Reading registers ad hoc, without a configuration: for the technician who stands beside the device."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, get_args
from urllib.parse import parse_qsl

import msgspec

from agent.core.errors import WorldFault
from agent.core.frame import Quality

from . import registers
from .bus import Unit
from .link import connect, never, url_of
from .modbus import Modbus


class Reading(NamedTuple):
    """One value read ad hoc: where it stood, its bytes on the wire (none for bits), what they mean."""

    at: str
    wire: bytes
    value: float | str
    quality: Quality


def target(text: str, form: str = "uint16", **line: Any) -> Modbus:
    """A line with one device and the channels that `text` names. Raises ValueError saying how to write it.

    `text`: LINE/UNIT/KIND/ADDRESS[:COUNT][?SETTING=...], the settings being those of a line (baud, parity,
    timeout); they win over those in `line`, the caller's. COUNT is in registers, for coils and discretes in
    bits, so a float32 takes two; left out: one value. `form`: TYPE[:ORDER].

    >>> [c.at for c in target("tcp://h:502/1/holding/0x10:4", "float32:CDAB").device[0].channel]
    ['holding:0x10', 'holding:0x12']
    """
    base, _, query = text.partition("?")
    try:
        url, unit, kind, span = base.rsplit("/", 3)
    except ValueError:
        raise ValueError(f"{text!r}: write LINE/UNIT/KIND/ADDRESS:COUNT, tcp://host:502/1/holding/0x1000:4") from None
    if kind not in registers.KINDS:
        raise ValueError(f"{text!r}: write LINE/UNIT/KIND/ADDRESS, the kind being one of {', '.join(registers.KINDS)}")
    url_of(url)
    number = _number(unit, "unit", text)
    if not 0 <= number <= 255:
        raise ValueError(f"{text!r}: the unit goes from 0 to 255, is {unit}")
    address, _, many = span.partition(":")
    spot = registers.place(f"{kind}:{address}")
    type_, _, order = form.partition(":")
    for word, choices in ((type_, get_args(registers.Type)), (order, ("", *get_args(registers.Order)))):
        if word not in choices:
            known = ", ".join(filter(None, choices))
            raise ValueError(f"{form!r}: {word!r} is not known; write TYPE or TYPE:ORDER, known are {known}")
    is_bit = kind in ("coil", "discrete")
    row = {"key": "x", "at": f"{kind}:{spot.start}", "type": "" if is_bit else type_, "order": order or "ABCD"}
    try:
        width = registers.registers_of(msgspec.convert(row, registers.Channel))
    except msgspec.ValidationError as error:
        raise ValueError(f"{text!r}: {str(error).partition(' - at `')[0]}") from None
    count = _number(many, "count", text) if many else width
    if not 1 <= count <= 2000:
        raise ValueError(f"{text!r}: the count goes from 1 to 2000")
    if row["type"] == "string":
        rows = [{**row, "count": count}]
    elif count % width:
        raise ValueError(f"{count} registers are not a whole number of {type_}: each takes {width}")
    else:
        starts = range(spot.start, spot.start + count, width)
        rows = [{**row, "key": f"x{start}", "at": f"{kind}:{start:#x}"} for start in starts]
    settings: dict[str, Any] = {**line, **dict(parse_qsl(query, strict_parsing=bool(query)))}
    device = {"name": "probe", "unit": number, "channel": rows, "gap": 0}
    try:
        return msgspec.convert({"name": "probe", "url": url, "device": [device], **settings}, Modbus, strict=False)
    except msgspec.ValidationError as error:
        why, _, key = str(error).partition(" - at `$.")
        why = re.sub(r"Expected `\w+` ([<>]=?) ", rf"{key.rstrip('`')} must be \1 ", why)
        raise ValueError(f"{text!r}: {why}") from None


def _number(word: str, what: str, text: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        raise ValueError(f"{text!r}: the {what} is a whole number, not {word!r}") from None


async def read_once(text: str, form: str = "uint16", **line: Any) -> list[Reading]:
    """What stands there now; `line` holds settings of the line (baud, parity, timeout).

    Raises ValueError if it is not understood, WorldFault if it cannot be read.
    """
    driver = target(text, form, **line)
    unit = Unit(driver.device[0], 0.0, driver.timeout)
    link = await connect(driver)
    try:
        outcomes, _ = await link.run(unit.asks, driver.timeout, never)
    finally:
        link.close()
    for block, outcome in zip(unit.plan.blocks, outcomes, strict=True):
        if isinstance(outcome, WorldFault):
            raise outcome
        assert outcome is not None, "an ask that failed ends the run and was raised above"
        unit.bytes[block.offset : block.offset + block.size] = outcome
    channels = unit.device.channel
    if unit.plan.texts:
        text = registers.text_of(unit.plan.texts[0], unit.image)
        return [Reading(str(channels[0].at), unit.image.tobytes(), text, Quality.GOOD)]
    _, value, quality = registers.decode(unit.plan, unit.image)
    size = 2 * registers.registers_of(channels[0])
    is_bit = unit.plan.blocks[0].kind in ("coil", "discrete")
    return [
        Reading(
            str(channel.at),
            b"" if is_bit else unit.image[size * i : size * (i + 1)].tobytes(),
            float(value[i]),
            Quality(int(quality[i])),
        )
        for i, channel in enumerate(channels)
    ]
