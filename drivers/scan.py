"""Who is on a line, and what kind of device it is: for the technician who has no list.

Each unit is asked for one register; whoever answers, be it with a refusal, is there. Then it is asked who it is (Modbus
functions 43/14 and 17, by pymodbus: such replies have no length that is known before), and every device profile that is
known is tried on it: one fits if all of its registers can be read and every value lies in the range that the profile
states. What is only read changes nothing in the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

from agent.core.errors import BadReply, LineLost, NoReply, Refused, WorldFault
from agent.core.frame import Quality

from . import modbus_wire as wire
from . import registers
from .bus import Unit
from .link import Link, connect, never, url_of
from .modbus import Device, Modbus

FORMS: tuple[dict[str, Any], ...] = (  # how serial lines are set, the usual ones first; project
    {"baud": 9600, "parity": "N"},
    {"baud": 9600, "parity": "E"},
    {"baud": 19200, "parity": "E"},
    {"baud": 19200, "parity": "N"},
    {"baud": 4800, "parity": "N"},
    {"baud": 38400, "parity": "N"},
    {"baud": 115200, "parity": "N"},
    {"baud": 2400, "parity": "N"},
)
PATIENCE = 0.3  # s for an answer
NAMES = {0: "VendorName", 1: "ProductCode", 2: "MajorMinorRevision", 4: "ProductName", 5: "ModelName"}
SURE = 2  # channels with a stated range that must fit before a profile is believed; project
KINDS: tuple[registers.Kind, ...] = ("holding", "input", "coil", "discrete")


class Guess(NamedTuple):
    """A device profile that fits."""

    profile: str
    sure: bool  # the device's own words say so, or enough values lie where they should
    channels: int
    words: str  # why it is believed


class Found(NamedTuple):
    """One unit that answers."""

    unit: int
    identity: dict[str, str]  # what it says of itself
    first: str  # a register that can be read, `holding:0`; empty: none of those tried
    guesses: tuple[Guess, ...]  # best first

    @property
    def guess(self) -> Guess | None:
        """The profile that is believed."""
        return self.guesses[0] if self.guesses and self.guesses[0].sure else None

    @property
    def words(self) -> str:
        """Itself, for people."""
        told = self.identity
        names = [told.get(key, "") for key in ("VendorName", "ProductName", "ModelName", "ProductCode", "server")]
        return " ".join(dict.fromkeys(filter(None, names)))


class Scanned(NamedTuple):
    """A line and its units."""

    url: str
    form: dict[str, Any]  # settings of a serial line
    units: list[Found]


async def scan(
    url: str,
    units: Sequence[int],
    profiles: Mapping[str, dict[str, Any]],
    form: Mapping[str, Any] | None = None,
    told: Callable[[str], None] = lambda text: None,
    timeout: float = PATIENCE,
) -> Scanned:
    """Everybody on a line. `form`: baud and parity; where None, a serial line is tried as lines usually are.

    `profiles`: device profiles by name, as tables. Raises `WorldFault` where the line itself is not there, `ValueError`
    where the URL is not understood.
    """
    is_serial = url_of(url).scheme == "rtu"
    for settings in FORMS if is_serial and form is None else (dict(form or {}),):
        told(f"{url} {' '.join(str(value) for value in settings.values())}".strip())
        line = _line(url, settings, timeout)
        there = await _there(line, units, told)
        if there:
            names = await _named(url, settings, there, timeout)
            found = [await _known(line, unit, names[unit], profiles) for unit in there]
            return Scanned(url, settings, found)
    return Scanned(url, {}, [])


def _line(url: str, form: Mapping[str, Any], timeout: float, device: dict[str, Any] | None = None) -> Modbus:
    row = {"key": "x", "at": "holding:0"}
    device = device or {"name": "scan", "channel": [row]}
    return msgspec.convert({"name": "scan", "url": url, "timeout": timeout, "device": [device], **form}, Modbus)


async def _there(line: Modbus, units: Sequence[int], told: Callable[[str], None]) -> list[int]:
    """The units that answer at all."""
    found: list[int] = []
    link = await connect(line)
    try:
        for n, unit in enumerate(units):
            if n % 16 == 0:
                told(f"unit {unit} of {units[0]} to {units[-1]}, {len(found)} found")
            outcome = await _ask(link, wire.read(unit, "holding", 0, 1), line.timeout)
            if isinstance(outcome, LineLost):  # some devices close the connection on a unit that they are not
                link.close()
                link = await connect(line)
            elif not isinstance(outcome, NoReply | BadReply) and not (
                isinstance(outcome, Refused) and outcome.code in wire.UNREACHED
            ):
                found.append(unit)
    finally:
        link.close()
    return found


async def _ask(link: Link, ask: wire.Ask, timeout: float) -> bytes | WorldFault:
    try:
        outcomes, _ = await link.run([ask], timeout, never)
    except LineLost as fault:
        return fault
    return outcomes[0] if outcomes[0] is not None else NoReply("not asked")


async def _named(url: str, form: Mapping[str, Any], units: Iterable[int], timeout: float) -> dict[int, dict[str, str]]:
    """What each says of itself; nothing where it does not know the question."""
    parts = url_of(url)
    common: dict[str, Any] = {"timeout": timeout, "retries": 0, "reconnect_delay": 0}
    client: Any
    if parts.scheme == "rtu":
        serial = {"baudrate": form.get("baud", 9600), "parity": form.get("parity", "N")}
        client = AsyncModbusSerialClient(parts.path, **serial, **common)
    else:
        framer = FramerType.RTU if parts.scheme == "rtu+tcp" else FramerType.SOCKET
        client = AsyncModbusTcpClient(parts.host, port=parts.port, framer=framer, **common)
    found: dict[int, dict[str, str]] = {unit: {} for unit in units}
    try:
        if not await client.connect():
            return found
        for unit, told in found.items():
            for question in (client.read_device_information, client.report_device_id):
                try:
                    reply = await question(device_id=unit)
                except (TimeoutError, ModbusException, OSError):
                    if not client.connected:
                        await client.connect()
                    continue
                if reply.isError():
                    continue
                for number, name in NAMES.items():
                    if value := getattr(reply, "information", {}).get(number):
                        told[name] = _plain(value)
                if text := _plain(getattr(reply, "identifier", b"")):
                    told["server"] = text
    finally:
        client.close()
    return found


def _plain(value: Any) -> str:
    """Printable text of what a device says; it may say anything.

    >>> _plain(b"ACME \\x00PM-5\\xff")
    'ACME PM-5'
    """
    parts = value if isinstance(value, list) else [value]
    text = " ".join(part.decode("latin-1") if isinstance(part, bytes) else str(part) for part in parts)
    return " ".join("".join(c for c in text if " " <= c <= "~")[:80].split())


# -- which kind ---------------------------------------------------------------------------------------


async def _known(line: Modbus, unit: int, identity: dict[str, str], profiles: Mapping[str, dict[str, Any]]) -> Found:
    """What kind of device a unit is."""
    guesses, first, link = [], "", await connect(line)
    try:
        for kind in KINDS:
            if not first and isinstance(await _ask(link, wire.read(unit, kind, 0, 1), line.timeout), bytes):
                first = f"{kind}:0"
        for name, table in profiles.items():
            settings = {key: value for key, value in table.items() if key not in ("maker", "model", "note")}
            try:
                device = msgspec.convert({"name": "scan", "unit": unit, **settings}, Device)
            except msgspec.ValidationError:
                continue  # a profile that is no whole device
            said = " ".join(identity.values()).lower()
            maker, model = (str(table.get(key, "")).lower() for key in ("maker", "model"))
            named = bool(maker and model and maker in said and model in said)
            if (fits := await _fits(link, device, line.timeout)) is None and not named:
                continue
            ranged = fits or 0
            why = f"it says `{identity_words(identity)}`" if named else f"{ranged} values lie in the stated range"
            guesses.append(Guess(name, named or ranged >= SURE, len(device.channel), why))
            if fits is None:
                break
    except LineLost:
        pass
    finally:
        link.close()
    guesses.sort(key=lambda one: (not one.sure, not one.words.startswith("it says"), -one.channels))
    return Found(unit, identity, first, tuple(guesses))


def identity_words(identity: Mapping[str, str]) -> str:
    return " ".join(dict.fromkeys(identity.values()))


async def _fits(link: Link, device: Device, timeout: float) -> int | None:
    """How many values of a device lie in the range that its profile states; None where one does not, or is not there.

    Raises LineLost.
    """
    unit = Unit(device, 0.0, timeout)
    outcomes, _ = await link.run(unit.asks, timeout, never)
    for block, outcome in zip(unit.plan.blocks, outcomes, strict=True):
        if not isinstance(outcome, bytes):
            return None
        unit.bytes[block.offset : block.offset + block.size] = outcome
    _, value, quality = registers.decode(unit.plan, unit.image)
    shown = [c for c in device.channel if c.type != "string"]
    ranged = np.array([c.low is not None or c.high is not None or c.signal != "" for c in shown], bool)
    if len(ranged) != len(value) or (quality[ranged] != Quality.GOOD).any():
        return None
    return int((ranged & np.isfinite(value) & (value != 0.0)).sum())
