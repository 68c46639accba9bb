"""An HJ 212-2017 platform, good enough to be somebody's test server: it reads, checks, answers, asks and counts.

`Hj212Platform` listens on one port. What it got is kept in lists and told in lines; what it is to do wrong stands in
`Faults`. `simulate` is `vedette simulate hj212`: there it takes commands from standard input (`HELP`). It shares no
line with the agent's wire: its check is reckoned bit by bit and its messages are read by one pattern, strictly.

A message that comes again with its QN is `repeated`; one with the same MN, CN and time under another QN is `again`:
sent anew after a break.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import Struct

from .console import attend, say

HELP = """interval SECONDS        set the interval of real time (1062); without a number ask for it (1061)
minutes MINUTES         set that of minutes (1064); without a number ask for it (1063)
timeout SECONDS TIMES   set the time-out and repetitions (1000)
time                    ask for the clock (1011)
settime                 set the clock (1012)
real | stop             begin and end real time (2011, 2012)
history CN BEGIN END    ask for the past: 2051, 2061 or 2031, times as yyyyMMddHHmmss
"""
DATA = ("2011", "2051", "2061", "2031")
FRAME = re.compile(rb"##(\d{4})")
HEAD = re.compile(
    r"QN=(?P<qn>\d{17});ST=(?P<st>\d\d);CN=(?P<cn>\d{4});PW=(?P<pw>[^;]*);MN=(?P<mn>[0-9A-Za-z]+);Flag=(?P<flag>\d+);"
    r"(?:PNUM=(?P<pnum>\d+);PNO=(?P<pno>\d+);)?CP=&&(?P<cp>.*)&&"
)


class Faults(Struct):
    """What the platform does wrong. May be changed while it runs."""

    silent: bool = False  # it answers nothing
    slow: float = 0.0  # s before each answer
    bad_check: float = 0.0  # share of answers with a wrong check
    garbage: float = 0.0  # share of answers with noise before them
    other_qn: float = 0.0  # share of answers to another QN
    lose: float = 0.0  # share of messages that it neither keeps nor answers
    close_after: int = 0  # messages after which it closes the connection, each time; 0: never


WORDS: dict[str, dict[str, Any]] = {  # of `--misbehave`
    "silent": {"silent": True},
    "slow": {"slow": 2.0},
    "bad-check": {"bad_check": 0.3},
    "garbage": {"garbage": 0.3},
    "other-qn": {"other_qn": 0.3},
    "loses": {"lose": 0.3},
    "closes": {"close_after": 20},
}


def crc16(data: bytes) -> int:
    """The check of the standard, annex A, bit by bit."""
    register = 0xFFFF
    for byte in data:
        register = (register >> 8) ^ byte
        for _ in range(8):
            odd = register & 1
            register >>= 1
            if odd:
                register ^= 0xA001
    return register


class Said(NamedTuple):
    """One message as it came, or all its parts together."""

    mn: str
    st: str
    cn: str
    qn: str
    flag: int
    cp: str
    parts: int  # that it had; 0: it was whole
    connection: int
    arrived: float  # monotonic s

    @property
    def time(self) -> str:
        """DataTime, empty where there is none."""
        found = re.search(r"DataTime=(\d{14})", self.cp)
        return found[1] if found else ""

    @property
    def values(self) -> dict[str, str]:
        """All that it says by name: `w01018-Rtd`, `w01018-Flag`, `RtdInterval` ..."""
        pairs = (pair.split("=", 1) for pair in re.split("[;,]", self.cp) if "=" in pair)
        return {name: value for name, value in pairs if name != "DataTime"}


class Hj212Platform:
    """All that arrived, and the server that it arrived at."""

    def __init__(self, password: str = "123456", say: Callable[[str], None] = lambda line: None) -> None:
        self.password, self.say = password, say
        self.faults = Faults()
        self.got: list[Said] = []  # data, each once
        self.said: list[Said] = []  # all else
        self.repeated = self.again = self.strange = self.messages = self.connections = 0
        self.wrong: list[str] = []  # what breaks the standard, in words
        self.port = 0
        self.links: list[Link] = []
        self._keys: set[tuple[str, ...]] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.chance = random.Random(212)

    async def start(self, port: int = 0, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        """Listen, with TLS if so; a port of 0 is a free one."""
        self._server = await asyncio.start_server(self._serve, host, port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self) -> None:
        """Close every connection, as a link that breaks."""
        for link in list(self.links):
            link.writer.transport.abort()

    def of(self, cn: str) -> list[Said]:
        """Data of one kind, each once."""
        return [one for one in self.got if one.cn == cn]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        link = Link(self, writer, self.connections)
        self.links.append(link)
        try:
            while data := await reader.read(65536):
                if not await link.feed(data):
                    break
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.links.remove(link)
            writer.close()
            self._tasks.discard(task)

    def keep(self, one: Said) -> None:
        """A whole message."""
        if one.cn not in DATA:
            self.said.append(one)
            self.say(f"{one.cn} {one.mn} {one.cp}")
            return
        key = (one.mn, one.st, one.cn, one.cp)
        if key in self._keys:
            self.again += 1
            return
        self._keys.add(key)
        self.got.append(one)
        self.say(f"{one.cn} {one.mn} {one.time} {one.cp.partition(';')[2]}")


class Link:
    """One connection of a device."""

    def __init__(self, platform: Hj212Platform, writer: asyncio.StreamWriter, number: int) -> None:
        self.platform, self.writer, self.number = platform, writer, number
        self.mn, self.st = "", ""
        self.rest = b""
        self.lost = False  # behind a wrong check: what follows may be the rest of it
        self.messages = self.asked = 0
        self._parts: dict[str, dict[int, str]] = {}  # QN -> number -> CP
        self._seen: set[tuple[str, str, str]] = set()  # QN, CN, number of the part

    async def feed(self, data: bytes) -> bool:
        """Bytes came. Whether the connection stays."""
        self.rest += data
        platform, faults = self.platform, self.platform.faults
        while (found := FRAME.search(self.rest)) is not None:
            begin, end = found.end(), found.end() + int(found[1])
            if len(self.rest) < end + 6:
                return True
            if found.start() and not self.lost:
                platform.strange += 1
            self.lost = False
            segment, tail = self.rest[begin:end], self.rest[end : end + 6]
            if tail != b"%04X\r\n" % crc16(segment):
                platform.strange += 1
                self.lost = True
                self.rest = self.rest[found.start() + 2 :]
                continue
            self.rest = self.rest[end + 6 :]
            self.messages += 1
            platform.messages += 1
            if platform.chance.random() >= faults.lose:
                if faults.slow:
                    await asyncio.sleep(faults.slow)
                self._heed(segment.decode("ascii", "replace"))
            if faults.close_after and self.messages >= faults.close_after:
                return False
        return True

    def _heed(self, text: str) -> None:
        platform = self.platform
        found = HEAD.fullmatch(text)
        if found is None or len(text) > 1024:
            platform.strange += 1
            platform.wrong.append(text[:200])
            return
        if found["pw"] != platform.password:
            platform.wrong.append(f"password {found['pw']}")
            return
        flag, numbered = int(found["flag"]), found["pnum"] is not None
        if flag >> 2 != 1 or bool(flag & 2) != numbered:
            platform.wrong.append(f"Flag={flag}, parts {numbered}")
        if found["cn"] in DATA and not re.match(r"DataTime=\d{14}(;[^;]+)+$", found["cp"]):
            platform.wrong.append(f"CP {found['cp'][:200]}")
        if found["st"] != "91":  # else it answers, and says what it was asked
            self.mn, self.st = found["mn"], found["st"]
        key = (found["qn"], found["cn"], found["pno"] or "")
        if key in self._seen and flag & 1:
            platform.repeated += 1
        else:
            self._seen.add(key)
            self._keep(found, flag)
        if flag & 1 and not platform.faults.silent:
            self._answer(found["qn"], "9013" if found["cn"] in ("2081", "1013") else "9014")

    def _keep(self, found: re.Match[str], flag: int) -> None:
        qn, cp, pnum = found["qn"], found["cp"], int(found["pnum"] or 0)
        if pnum:
            parts = self._parts.setdefault(qn, {})
            parts[int(found["pno"])] = cp
            if set(parts) != set(range(1, pnum + 1)):
                return
            del self._parts[qn]
            first, *more = (parts[no] for no in sorted(parts))
            cp = ";".join([first, *(part.partition(";")[2] for part in more)])
        said = Said(found["mn"], found["st"], found["cn"], qn, flag, cp, pnum, self.number, time.monotonic())
        self.platform.keep(said)

    def _answer(self, qn: str, cn: str) -> None:
        if self.platform.chance.random() < self.platform.faults.other_qn:
            qn = "20160801085857223"
        self._send(f"QN={qn};ST=91;CN={cn};PW={self.platform.password};MN={self.mn};Flag=4;CP=&&&&")

    def _send(self, text: str) -> None:
        faults, chance = self.platform.faults, self.platform.chance
        data = text.encode()
        out = bytearray(b"##%04d" % len(data) + data + b"%04X\r\n" % crc16(data))
        if chance.random() < faults.bad_check:
            out[-3] ^= 1
        if chance.random() < faults.garbage:
            out[0:0] = b"##01" + chance.randbytes(20)
        if not self.writer.is_closing():
            self.writer.write(bytes(out))

    def ask(self, cn: str, cp: str = "", mn: str = "", st: str = "", pw: str = "") -> str:
        """Ask for something. Gives its QN."""
        self.asked += 1
        now = time.time()
        qn = time.strftime("%Y%m%d%H%M%S", time.gmtime(now + 8 * 3600)) + f"{self.asked % 1000:03d}"
        head = f"QN={qn};ST={st or self.st};CN={cn};PW={pw or self.platform.password};MN={mn or self.mn}"
        self._send(f"{head};Flag=5;CP=&&{cp}&&")
        return qn


async def simulate(port: int, misbehave: str, password: str = "123456") -> int:
    """`vedette simulate hj212` until SIGINT or SIGTERM, with commands from standard input. Gives the exit code."""
    platform = Hj212Platform(password, say)
    await attend(
        platform,
        port,
        {name: value for word in filter(None, misbehave.split(",")) for name, value in WORDS[word].items()},
        lambda: f"platform on tcp://127.0.0.1:{platform.port}, PW={password}; `help` tells the commands",
        lambda text: command(platform.links[-1], text),
        HELP,
        "no device is there",
    )
    counts = ", ".join(f"{len(platform.of(cn))} of {cn}" for cn in DATA)
    say(f"{counts}; {platform.repeated} repeated, {platform.again} again, {platform.strange} strange")
    for text in platform.wrong[:10]:
        say(f"not as the standard has it: {text}")
    return 0


def command(link: Link, text: str) -> str:
    """Do what a line says; what to tell of it."""
    verb, *args = text.split()
    deeds: dict[str, Callable[[], tuple[str, str]]] = {
        "interval": lambda: ("1062", f"RtdInterval={int(args[0])}") if args else ("1061", ""),
        "minutes": lambda: ("1064", f"MinInterval={int(args[0])}") if args else ("1063", ""),
        "timeout": lambda: ("1000", f"OverTime={int(args[0])};ReCount={int(args[1])}"),
        "time": lambda: ("1011", ""),
        "settime": lambda: ("1012", time.strftime("SystemTime=%Y%m%d%H%M%S")),
        "real": lambda: ("2011", ""),
        "stop": lambda: ("2012", ""),
        "history": lambda: (args[0], f"BeginTime={args[1]},EndTime={args[2]}"),
    }
    try:
        cn, cp = deeds[verb]()
    except (LookupError, ValueError):
        return f"not understood: {text}\n{HELP.rstrip()}"
    return f"{cn} sent to {link.mn}, QN {link.ask(cn, cp)}"
