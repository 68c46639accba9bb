"""What a JT/T 808 terminal must know again after a restart: one small file beside the store, replaced whole.

The code of its registration, the parameters that a platform set, the marks of its last alarms, what evidence it still
owes, and how long somebody has driven. It is read once and written when it changed, by a thread of its own; only the
code, parameters and orders are waited for, before the platform hears that they are kept.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import msgspec
from msgspec import Struct

from .. import durable
from ..hand import Hand

MARKS = 512  # alarms whose marks are remembered
ORDERS = 64  # of evidence, that wait
PATIENCE = 3.0  # s that somebody waits for the disk


class Known(Struct, frozen=True):
    """The mark of an alarm; one without a time was not wanted by the platform."""

    time: str  # yymmddhhmmss, GMT+8
    sequence: int
    item: int = 0  # id of its item, and the type: they stand in names of files
    type: int = 0
    over: int = 0  # the edge that ended it


class Order(Struct, frozen=True):
    """Evidence that a platform asked for."""

    server: str
    port: int
    alarm: str  # id
    number: str  # that the platform gave it
    files: int  # of the mark, as the platform said it
    wall: float  # s UTC, when it was asked for
    begun: bool = False  # something of it was sent


class Pages(Struct):
    """What stands in the file."""

    code: str = ""
    parameters: dict[str, str] = {}  # id, value, hexadecimal
    marks: dict[str, Known] = {}
    orders: list[Order] = []
    driven: float = 0.0  # s at the wheel without a rest
    still: float = 0.0  # s at rest since
    wall: float = 0.0  # s UTC, when that was


class Notebook:
    """The file of one uplink. A damaged one is as none: the terminal registers anew, parameters are the defaults."""

    def __init__(self, home: str, name: str) -> None:
        self.path = Path(home) / f"jt808-{re.sub(r'[^A-Za-z0-9.-]', '_', name)}.json" if home else None
        self.pages = Pages()
        self.trouble = ""  # why it could not be read or written last
        self._hand = Hand("notebook")
        self._written = b""
        self._writing: asyncio.Future[None] | None = None

    async def load(self) -> None:
        """Read it, where there is one."""
        if self.path is None:
            return
        try:
            self._written = await self._hand.do(self.path.read_bytes)
            self.pages = msgspec.json.decode(self._written, type=Pages)
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError) as error:
            self.trouble = str(error)

    def note(self) -> None:
        """Write it, some time soon, if it changed."""
        if self._writing is not None and not self._writing.done():
            return
        while len(self.pages.marks) > MARKS:
            del self.pages.marks[next(iter(self.pages.marks))]
        data = msgspec.json.encode(self.pages)
        if self.path is None or data == self._written:
            return
        path = self.path

        def write() -> None:
            durable.replace(path, data)
            self._written = data

        self._writing = self._hand.do(write)
        self._writing.add_done_callback(self._settled)

    def _settled(self, writing: asyncio.Future[None]) -> None:
        error = None if writing.cancelled() else writing.exception()
        self.trouble = str(error) if error is not None else ""

    async def kept(self) -> bool:
        """Write it now. Whether it is on the disk."""
        for _ in range(2):  # the second has what changed since the first began
            if self._writing is not None and not self._writing.done():
                await asyncio.wait([self._writing], timeout=PATIENCE)
            self.note()
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=PATIENCE)
            return self._writing.done() and not self.trouble
        return True

    def close(self) -> None:
        """Write what changed; nobody waits."""
        self.note()
        self._hand.end()
