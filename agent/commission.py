"""Commissioning: what a channel showed while a person held a reference to it, and the report that is made of it.

    <state>/commissioning.jsonl      a line for each test, the newest last

A test compares; it changes nothing. It goes into the journal as an event, too; this file is what a report is made of,
for a journal is a ring. The report is a JSON document in one form, so that it can be signed and checked by anybody:

    openssl pkeyutl -verify -pubin -inkey gateway.pem -rawin -in report.json -sigfile report.sig
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from . import durable, keys
from .core.frame import Instant

FILE = "commissioning.jsonl"
MOST = 16 << 20  # bytes that are read, the newest


class Test(Struct, frozen=True, kw_only=True):
    """One comparison. `value`, `reference`, `tolerance` and `spread` are in `unit`."""

    __test__ = False  # not one of pytest's

    channel: str
    unit: str
    reference: float
    value: float
    raw: float | None  # as it stood in the device
    tolerance: float
    spread: float | None  # between the lowest and the highest of the last minute
    within: bool
    by: str
    note: str
    at: Instant


class Report(Struct, frozen=True, kw_only=True):
    """The newest test of each channel."""

    schema: str = "vedette.commissioning/1"
    site: str
    node: str
    version: str
    config: str
    untested: tuple[str, ...]
    tests: tuple[Test, ...]


def number(text: str) -> float:
    """What somebody wrote; NaN where it is no number.

    >>> number("0.5"), number("0,5")
    (0.5, nan)
    """
    try:
        return float(text)
    except ValueError:
        return math.nan


def test(
    channel: str,
    unit: str,
    value: float,
    raw: float,
    spread: float,
    reference: float,
    tolerance: float,
    by: str,
    note: str,
    at: Instant,
) -> Test:
    """The comparison. Raises `ValueError` in words where it cannot be made."""
    if not by.strip():
        raise ValueError("who compares? a name is needed")
    if not (math.isfinite(reference) and math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError("reference and tolerance are numbers, the tolerance not below 0")
    if not math.isfinite(value):
        raise ValueError(f"{channel} shows nothing: there is nothing to compare")
    return Test(
        channel=channel,
        unit=unit,
        reference=reference,
        value=value,
        raw=raw if math.isfinite(raw) else None,
        tolerance=tolerance,
        spread=spread if math.isfinite(spread) else None,
        within=abs(value - reference) <= tolerance,
        by=by.strip(),
        note=note.strip(),
        at=at,
    )


def keep(state: Path, one: Test) -> None:
    """Add a test to the file, durably. Raises `OSError`."""
    path = state / FILE
    new = not path.exists()
    hand = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(hand, "ab") as file:
        file.write(msgspec.json.encode(one) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if new:
        durable.sync(state)


def read(state: Path) -> list[Test]:
    """All tests, oldest first; lines that are none are passed over. Raises `OSError`."""
    try:
        with (state / FILE).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MOST))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=Test))
        except msgspec.DecodeError:
            continue  # torn by a power cut, or the beginning of it was not read
    return found


def report(site: str, node: str, version: str, config: str, channels: Iterable[str], tests: Iterable[Test]) -> Report:
    """The newest test of each of these channels, in their order."""
    last = {one.channel: one for one in tests}
    names = list(channels)
    return Report(
        site=site,
        node=node,
        version=version,
        config=config,
        untested=tuple(name for name in names if name not in last),
        tests=tuple(last[name] for name in names if name in last),
    )


def text(one: Report) -> bytes:
    """The report in its one form, to be signed."""
    return msgspec.json.format(msgspec.json.encode(one, order="deterministic"), indent=1) + b"\n"


def signed(key_file: Path, body: bytes) -> tuple[bytes, str] | None:
    """Signature and public key (base64) of the gateway; None where it has no key."""
    key, _ = keys.gateway(key_file, make=False)
    return (key.sign(body), keys.text(key)) if key is not None else None
