"""The other languages beside the native one, on the same agent: what stands in the site file, and what was heard.

A rig that breaks a link or a broker lets the hazard of `pulse.py` come and go; every turn must reach each platform in
its language, and what comes twice must say so.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from agent.uplink.jt808_alarms import BEGINS, ENDS
from simulators.jt808 import Jt808Platform
from tests.tools.subscriber import Heard

from .hosts import Keys, sparkplug

UPLINKS = """
[[uplink]]
name = "authority"
kind = "sparkplug"
url = "{sparkplug}"
puback_deadline = {deadline}
[[uplink]]
name = "operator"
kind = "jt808"
url = "{jt808}"
phone = "13800138000"
terminal = "VED0001"
upload = false
channels = {{ gnss = "" }}
parameters = {{ timeout = 2, repeats = 2 }}
[[uplink.alarm]]
rule = "gas"
item = "adas"
type = "forward"
level = 2
"""


def uplinks(sparkplug: str, jt808: str, deadline: float = 10.0) -> str:
    """Two more uplinks of a site, at these urls. `deadline`: s for the broker's confirmation."""
    return UPLINKS.format(sparkplug=sparkplug, jt808=jt808, deadline=deadline)


def keys(messages: Sequence[Heard]) -> Keys:
    """What a host of Sparkplug has."""
    found = Keys()
    for message in messages:
        for body in sparkplug(message.topic, message.payload):
            found.hear(body)
    return found


class Count:
    """What was lost of the hazard's turns, and what came twice unmarked, by language."""

    def __init__(self) -> None:
        self.lost = {"sparkplug": 0, "jt808": 0}
        self.unmarked = {"sparkplug": 0, "jt808": 0}

    @staticmethod
    def missing(turns: int, host: Keys, platform: Jt808Platform) -> dict[str, int]:
        """How many turns were not told, or told that were none."""
        edges = [b for b in host.edges.values() if b["rule"] == "gas" and b["event"] in ("raised", "cleared")]
        told = {(item.alarm, item.flag) for _, item in platform.alarms() if item.flag in (BEGINS, ENDS)}
        return {"sparkplug": abs(turns - len(edges)), "jt808": abs(turns - len(told))}

    async def settle(self, turns: int, heard: Sequence[Heard], platform: Jt808Platform, seconds: float = 10.0) -> None:
        """Wait a while until nothing is missing, and count."""
        end = asyncio.get_running_loop().time() + seconds
        while True:
            host = keys(list(heard))
            missing = self.missing(turns, host, platform)
            if not any(missing.values()) or asyncio.get_running_loop().time() > end:
                break
            await asyncio.sleep(0.3)
        again = {"sparkplug": len(host.unmarked), "jt808": platform.twice}
        for name in self.lost:
            self.lost[name] += missing[name]
            self.unmarked[name] += again[name]


class FarPlatform(Jt808Platform):
    """A platform of JT/T 808 on a socket that somebody else has bound: on the far side of a link, say."""

    async def listen(self, listener: socket.socket) -> None:
        self._servers = [await asyncio.start_server(self._terminal, sock=listener)]
        self.port = listener.getsockname()[1]


def bound(host: str) -> socket.socket:
    """A listening socket on a free port of `host`."""
    listener = socket.socket()
    listener.bind((host, 0))
    return listener
