"""What an uplink must know again after a restart: one small JSON file beside the store, replaced whole.

It is read once and written by a thread of its own. Losing it costs repetitions, never data: what it says is only what
the platform has been told already.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from .. import durable
from ..hand import Hand

P = TypeVar("P", bound=msgspec.Struct)
PATIENCE = 3.0  # s that somebody waits for the disk


class Memo(Generic[P]):
    """The file of one uplink. A damaged one is as none."""

    def __init__(self, home: str, kind: str, name: str, empty: P) -> None:
        self.path = Path(home) / f"{kind}-{re.sub(r'[^A-Za-z0-9.-]', '_', name)}.json" if home else None
        self.pages = empty
        self.trouble = ""  # why it could not be read or written last
        self._hand = Hand("memo")
        self._written = b""

    async def load(self) -> None:
        """Read it, where there is one."""
        if self.path is None:
            return
        try:
            data = await self._hand.do(self.path.read_bytes)
            self.pages = msgspec.json.decode(data, type=type(self.pages))
            self._written = data
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError) as error:
            self.trouble = str(error)

    async def keep(self) -> bool:
        """Write it, if it changed. Whether it is on the disk; a disk that hangs is waited for a few seconds."""
        data = msgspec.json.encode(self.pages)
        if self.path is None or data == self._written:
            return True
        path = self.path

        def write() -> None:
            durable.replace(path, data)
            self._written = data

        writing = self._hand.do(write)
        await asyncio.wait([writing], timeout=PATIENCE)
        if not writing.done():
            self.trouble = "the disk does not answer"
            writing.add_done_callback(_seen)
            return False
        error = writing.exception()
        self.trouble = str(error) if error is not None else ""
        return error is None

    def close(self) -> None:
        self._hand.end()


def _seen(writing: asyncio.Future[None]) -> None:
    if not writing.cancelled():
        writing.exception()
