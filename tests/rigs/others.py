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

BUREAU = """
[[uplink]]
name = "bureau"
kind = "hj212"
url = "{url}"
mn = "1"
password = "env:PW"
lanes = ["alarm"]
real = 0
hours = false
days = false
timeout = {timeout}
tries = 0
[[uplink.factor]]
channel = "plant/c0"
code = "c0"
digits = 3
[[uplink.alarm]]
rule = "gas"
flag = "T"
[[uplink.alarm]]
rule = "*"
tell = false
"""
DEPOT = """
[[uplink]]
name = "depot"
kind = "minefiles"
url = "{url}"
fingerprint = "{fingerprint}"
password = "env:PW"
mine = "1"
mine_name = "m"
lanes = ["alarm"]
[[uplink.point]]
channel = "plant/c0"
code = "c0"
type = "0001"
[[uplink.alarm]]
rule = "gas"
type = "over-limit"
[[uplink.alarm]]
rule = "*"
type = ""
[uplink.change.file]
CDSS = {{ every = 60 }}
TJSJ = {{ every = 60 }}
YCBJ = {{ every = 2 }}
"""
PASSWORD = {"PW": "123456"}  # of a platform of HJ 212, and of a place of files


def bureau(url: str, timeout: float = 1.0) -> str:
    """One more, of HJ 212: alarms alone, for a batch of telemetry waits there until its minutes are over.

    `timeout`: s for an answer; without one the connection ends.
    """
    return BUREAU.format(url=url, timeout=timeout)


def mine(url: str, fingerprint: str) -> str:
    """One more, of the files of a mine."""
    return DEPOT.format(url=url, fingerprint=fingerprint)


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


def _turns(messages: Sequence[Heard], when: str) -> list[tuple[bool, set[float]]]:
    """Of each edge of the hazard that was told in the native language, whether it begins, and `when` that was, s UTC:
    two of them, for there it is rounded to ms."""
    bodies = [m.body for m in messages if m.topic.endswith("/gas") and "/alarm/" in m.topic and m.payload]
    turns = [b for b in bodies if b["event"] in ("raised", "cleared")]
    return [(b["event"] == "raised", {(b[when] - 0.5) / 1000, (b[when] + 0.5) / 1000}) for b in turns]


def untold(messages: Sequence[Heard], platform: Hj212Platform) -> int:
    """How many edges of the hazard that were told in the native language are not in HJ 212, or are there and were none.

    There an edge is known by its time, in whole seconds, and whether the alarm begins (T) or ends.
    """
    edges = [{(local(at), begins) for at in moments} for begins, moments in _turns(messages, "at")]
    here = {(one.time, one.values["c0-Flag"] == "T") for one in platform.of("2011")}
    return sum(not edge & here for edge in edges) + len(here - set().union(*edges))


def unfiled(messages: Sequence[Heard], rows: Sequence[list[str]]) -> tuple[int, int]:
    """(edges that no row of a file tells, rows of times that were no edge). There an alarm is known by its start."""
    edges = [
        {(local(at, "%Y-%m-%d %H:%M:%S"), begins) for at in moments} for begins, moments in _turns(messages, "since")
    ]
    here = {(row[5], True) for row in rows} | {(row[6], False) for row in rows if row[6]}
    return sum(not edge & here for edge in edges), len(here - set().union(*edges))


def local(wall: float, form: str = "%Y%m%d%H%M%S") -> str:
    """DataTime of a moment, s UTC."""
    return time.strftime(form, time.gmtime(wall + 8 * 3600))


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
        for name in missing:
            self.lost[name] += missing[name]
            self.unmarked[name] += again[name]


class FarPlatform(Jt808Platform):
    """A platform of JT/T 808 on a socket that somebody else has bound: on the far side of a link, say."""

    async def listen(self, listener: socket.socket) -> None:
        self._servers = [await asyncio.start_server(self._terminal, sock=listener)]
        self.port = listener.getsockname()[1]


class FarBureau(Hj212Platform):
    """The same of HJ 212."""

    async def listen(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._serve, sock=listener)
        self.port = listener.getsockname()[1]


def bound(host: str) -> socket.socket:
    """A listening socket on a free port of `host`."""
    listener = socket.socket()
    listener.bind((host, 0))
    return listener
