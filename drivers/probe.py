"""Reading registers ad hoc, without a configuration: for the technician who stands beside the device."""

from __future__ import annotations

from typing import Any, NamedTuple
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


def target(text: str, form: str = "uint16") -> Modbus:
    """A line with one device and the channels that `text` names. Raises ValueError saying how to write it.

    `text`: LINE/UNIT/KIND/ADDRESS[:COUNT][?SETTING=...], the settings being those of a line (baud, parity,
    timeout). COUNT is in registers, for coils and discretes in bits, so a float32 takes two; left out: one
    value. `form`: TYPE[:ORDER].

    >>> [c.at for c in target("tcp://h:502/1/holding/0x10:4", "float32:CDAB").device[0].channel]
    ['holding:0x10', 'holding:0x12']
    """
    base, _, query = text.partition("?")
    try:
        line, unit, kind, span = base.rsplit("/", 3)
    except ValueError:
        raise ValueError(f"{text!r}: write LINE/UNIT/KIND/ADDRESS:COUNT, tcp://host:502/1/holding/0x1000:4") from None
    url_of(line)
    address, _, many = span.partition(":")
    spot = registers.place(f"{kind}:{address}")
    type_, _, order = form.partition(":")
    is_bit = kind in ("coil", "discrete")
    row = {"key": "x", "at": f"{kind}:{spot.start}", "type": "" if is_bit else type_, "order": order or "ABCD"}
    width = registers.registers_of(msgspec.convert(row, registers.Channel))
    count = int(many, 0) if many else width
    if not 1 <= count <= 2000:
        raise ValueError(f"{text!r}: the count goes from 1 to 2000")
    if row["type"] == "string":
        rows = [{**row, "count": count}]
    elif count % width:
        raise ValueError(f"{count} registers are not a whole number of {type_}: each takes {width}")
    else:
        starts = range(spot.start, spot.start + count, width)
        rows = [{**row, "key": f"x{start}", "at": f"{kind}:{start:#x}"} for start in starts]
    settings: dict[str, Any] = dict(parse_qsl(query, strict_parsing=bool(query)))
    device = {"name": "probe", "unit": int(unit, 0), "channel": rows, "gap": 0}
    return msgspec.convert({"name": "probe", "url": line, "device": [device], **settings}, Modbus, strict=False)


async def read_once(text: str, form: str = "uint16") -> list[Reading]:
    """What stands there now. Raises ValueError if it is not understood, WorldFault if it cannot be read."""
    driver = target(text, form)
    unit = Unit(driver.device[0], 0.0)
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
