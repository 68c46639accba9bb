"""A driver that is sound to whoever checks it, and goes off when the agent starts with it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Literal

from agent.core.frame import Frame, Layout, layout
from agent.core.ports import Clock, Driver, Event, Orders


class Bomb(Driver, tag="bomb"):
    """Gives one channel, and never says anything."""

    how: Literal["crash", "kill", "hang"]

    def layouts(self) -> Mapping[str, Layout]:
        return {self.name: layout(["x"], [""], stale=1e9)}

    def worst(self) -> float:
        if "run" in sys.argv:
            if self.how == "crash":
                raise RuntimeError("boom")
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1e6)
        return 1.0

    async def frames(self, clock: Clock, orders: Orders) -> AsyncIterator[Frame | Event]:
        while True:
            await orders.wait(1.0)
            yield Event("text", self.name, clock.now(), "")
