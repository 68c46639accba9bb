"""The other languages beside the native one, on the same agent: what stands in the site file, and what was heard.

A rig that breaks a link or a broker lets the hazard of `pulse.py` come and go; every turn must reach each platform in
its language, and what comes twice must say so.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from agent.uplink.jt808_alarms import BEGINS, ENDS, number_of
from simulators.hj212 import Hj212Platform
from simulators.jt808 import Jt808Platform
from tests.tools.nursery import Nursery, minute
from tests.tools.subscriber import Heard

from .hosts import Keys, sparkplug
from .platter import lying

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


class Outlet:
    """What a platform of HJ 212 has of a nursery's lives: alarms by their values, means by their minutes."""

    def __init__(self, platform: Hj212Platform, nursery: Nursery, home: Path) -> None:
        self.times: dict[int, set[str]] = {}  # number of an alarm -> under which times it came
        for one in platform.of("2011"):
            self.times.setdefault(int(one.values["S01-Rtd"]), set()).add(one.time)
        had = {boot for boot, stream, _ in lying(home, "platform")[0] if stream == "telemetry/source-0"}
        self.minutes = {local(minute(boot, nursery.began)) for boot in had}  # that the disk had readings of
        self.told = {one.time for one in platform.of("2051") if "C01-Avg" in one.values}
        self.lost = {id for id in nursery.accepted if number_of(id) not in self.times}
        self.unmarked = sum(len(times) > 1 for times in self.times.values())  # MN, CN and time are the key


def local(wall: float) -> str:
    """DataTime of a moment, s UTC."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(wall + 8 * 3600))


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
