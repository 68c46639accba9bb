"""What is remembered of commands: counters, those under way, outcomes that are not told yet, limits that were set.

One small file, `commands.bin`, replaced whole: "vdc1" | CRC-32 of the rest | a `Ledger` in JSON. It is written, and on
the disk, before a command is done, so that none is done twice; it does not depend on the store, whose files may be
damaged and begun anew. Everything but `read` and `write` is pure.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from . import durable
from .core.frame import Instant

MAGIC = b"vdc1"
NAME = "commands.bin"
KEPT = 32  # outcomes that are remembered, for whoever sends a command twice; project
UNTOLD = 500  # that are remembered although nobody can be told of them; project
OVER = frozenset({"successful", "failed", "rejected", "expired"})


class Entry(Struct, frozen=True, omit_defaults=True):
    """One command that was accepted."""

    id: str
    verb: str
    issuer: str
    by: tuple[str, ...]  # who signed it
    sha256: str  # of its text
    at: Instant  # when it was accepted
    way: str = ""  # the uplink that it came by; empty: somebody on this machine
    topic: str = ""  # the last level of the topic that it came on
    state: str = "accepted"
    reason: str = ""
    text: str = ""
    facts: dict[str, Any] = {}
    told: bool = False  # its outcome is on the disk of journal and store

    @property
    def is_over(self) -> bool:
        return self.state in OVER


class SetTo(Struct, frozen=True):
    """A limit that somebody set."""

    limit: float
    restore: float | None
    by: str
    at: Instant
    reason: str
    of: str  # digest of the rule as it stands in the configuration


class Ledger(Struct, frozen=True):
    """All of it. `floor`: s UTC before which commands were issued that may be forgotten; None: not known yet."""

    counters: dict[str, int] = {}  # fingerprint of a key -> highest that was judged
    floor: float | None = None
    entries: dict[str, Entry] = {}  # by id, oldest first
    limits: dict[str, SetTo] = {}  # by rule

    def spent(self, key: str, counter: int) -> Ledger:
        """This counter, and all below, are used up."""
        return structs.replace(self, counters={**self.counters, key: max(counter, self.counters.get(key, 0))})

    def put(self, entry: Entry) -> Ledger:
        """The entry in its place, or the newest; the oldest that nobody needs go."""
        entries = {**self.entries, entry.id: entry}
        needless = [id for id, one in entries.items() if one.is_over and one.told]
        for id in needless[: max(0, len(entries) - KEPT)]:
            del entries[id]
        over = [id for id, one in entries.items() if one.is_over]
        for id in over[: max(0, len(entries) - UNTOLD)]:
            del entries[id]
        return structs.replace(self, entries=entries)

    def without(self, id: str) -> Ledger:
        """A command that was not accepted after all."""
        return structs.replace(self, entries={name: one for name, one in self.entries.items() if name != id})

    def ended(self, id: str, state: str, reason: str, text: str, facts: dict[str, Any]) -> Ledger:
        """A command is over; one that was already stays as it is."""
        entry = self.entries.get(id)
        if entry is None or entry.is_over:
            return self
        return self.put(structs.replace(entry, state=state, reason=reason, text=text, facts=facts))

    def limited(self, rule: str, to: SetTo | None) -> Ledger:
        """A limit is set, or no longer."""
        limits = {name: one for name, one in self.limits.items() if name != rule}
        return structs.replace(self, limits=limits if to is None else {**limits, rule: to})


def pack(ledger: Ledger) -> bytes:
    body = msgspec.json.encode(ledger, enc_hook=str)
    return MAGIC + zlib.crc32(body).to_bytes(4, "big") + body


def unpack(data: bytes) -> Ledger:
    """Raises `ValueError` if it is damaged."""
    body = data[8:]
    if data[:4] != MAGIC or zlib.crc32(body).to_bytes(4, "big") != data[4:8]:
        raise ValueError(f"{NAME}: damaged")
    try:
        return msgspec.json.decode(body, type=Ledger)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ValueError(f"{NAME}: of another version: {error}") from None


def read(folder: Path) -> Ledger:
    """What is remembered; nothing where there is no file. Raises `ValueError` if damaged, `OSError` if unreadable."""
    try:
        return unpack((folder / NAME).read_bytes())
    except FileNotFoundError:
        return Ledger()


def write(folder: Path, ledger: Ledger) -> None:
    """On the disk when it returns. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    durable.replace(folder / NAME, pack(ledger))
