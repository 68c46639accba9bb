"""What a message costs in each language, beside a bare loop that sends the same bytes to the same program.

    python -m tests.bench languages

The product's half is the outbox with its two files and one uplink, in a process of its own: readings, or edges of
alarms, are put as fast as the platform takes them, at most `AHEAD` unconfirmed. The floor is another process, which
has the bytes in memory and does nothing but hand them over and wait for what confirms them: paho and its loop, with as
many in flight, or a bare asyncio stream. What is not in the floor: store, judging what is due, words, deadlines, marks.

A language is a row of `KINDS`. Where periods are told, not batches, each reading is of a period of its own that is
over: in HJ 212 of a minute, of files of a second. There a message is a file (of alarms one each second or so, with all
that came meanwhile), and the floor writes, syncs and renames the same files.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.frame import Instant, Layout, frame, layout
from agent.core.ports import Brief, Identity, Uplink
from agent.outbox import Outbox, Store
from agent.uplink.hj212 import Factor, Hj212
from agent.uplink.jt808 import Jt808
from agent.uplink.jt808_alarms import Row
from agent.uplink.minefiles import Gauge, Minefiles
from agent.uplink.mqtt import Mqtt
from agent.uplink.sparkplug import Sparkplug
from agent.wire import Message
from simulators.hj212 import Hj212Platform
from simulators.jt808 import Jt808Platform
from tests.bench.stage import PYTHON, broker, running
from tests.rigs.sabotage import place

ITEMS = {"readings": 3000, "alarms": 600}
PERIODS = {"readings": 300, "alarms": 300}  # of languages that tell these
RECORDED = 3  # a third of them is noted, and what the floor says
AHEAD = 32  # items put and not confirmed
IN_FLIGHT = 8  # messages of the floor that nobody has confirmed yet: as many as the product has
PLANT = layout([f"c{i}" for i in range(10)])
OUTLET = layout([f"c{i}" for i in range(16)], ["%"] * 16)
GNSS = layout(["latitude", "longitude", "altitude", "speed", "course", "satellites", "fix"])


class Kind(NamedTuple):
    """One language."""

    uplink: Callable[[int, str], Uplink]  # by port and home
    far: Callable[[], contextlib.AbstractContextManager[int]]  # the platform; gives its port
    tap: str  # module:attribute, the method of the product through which every message goes: its arguments are one
    floor: Callable[[int, list[Any]], float]  # port, what went through the tap -> CPU s
    source: str = "plant"  # of the readings
    shape: Layout = PLANT
    items: dict[str, int] = ITEMS  # how many of what
    every: float = 0.0  # s, of the period in which each reading lies alone; 0: they are of now


# -- the other side ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def terminals() -> Iterator[int]:
    """A JT/T 808 platform in a process of its own."""
    with running(PYTHON, "-m", "tests.bench.languages", "platform", stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield int(child.stdout.readline())


@contextlib.contextmanager
def bureau() -> Iterator[int]:
    """The same of HJ 212."""
    with running(PYTHON, "-m", "tests.bench.languages", "bureau", stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield int(child.stdout.readline())


async def serve(platform: Jt808Platform | Hj212Platform) -> None:
    await platform.start()
    print(platform.port, flush=True)
    await asyncio.Event().wait()


# -- floors -----------------------------------------------------------------------------------------------


def bare_paho(port: int, messages: list[Any]) -> float:
    """paho and its loop: QoS 1 with so many in flight; of QoS 0 the last one has a confirmation behind it."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(0)
    confirmed: list[int] = []
    client.on_publish = lambda client, data, mid, *more: confirmed.append(mid)
    client.connect("127.0.0.1", port)
    while not client.is_connected():
        client.loop(0.1)
    before = time.process_time()
    for n, message in enumerate(messages):
        client.publish(message.topic, message.payload, message.qos, message.retain)
        while n - len(confirmed) >= IN_FLIGHT:
            client.loop(1.0)
    if messages[-1].qos == 0:
        client.publish("end", b"", 1)
    while len(confirmed) < len(messages) + (messages[-1].qos == 0):
        client.loop(1.0)
    used = time.process_time() - before
    client.disconnect()
    return used


def bare_stream(port: int, messages: list[Any], end: bytes = b"\x7e", each: int = 2) -> float:
    """An asyncio stream that counts the ends of frames that come back; an answer has so many."""

    async def main() -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ends = 0
        before = time.process_time()
        for n, message in enumerate(messages):
            writer.write(message)
            while n - ends // each >= (IN_FLIGHT if n > 2 else 0):  # what comes first opens the door
                ends += (await reader.read(4096)).count(end)
        while ends // each < len(messages):
            ends += (await reader.read(4096)).count(end)
        used = time.process_time() - before
        writer.close()
        return used

    return asyncio.run(main())


def bare_files(port: int, files: list[Any]) -> float:
    """Each file written beside its name, synced, renamed, its folder synced."""
    with tempfile.TemporaryDirectory() as folder:
        place = os.open(folder, os.O_RDONLY)
        before = time.process_time()
        for name, data in files:
            path = Path(folder, name)
            with open(f"{path}.new", "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(f"{path}.new", path)
            os.fsync(place)
        used = time.process_time() - before
        os.close(place)
    return used


# -- the languages ----------------------------------------------------------------------------------------


def _terminal(port: int, home: str) -> Jt808:
    rows = (Row(rule="r", item="adas", type="forward", level=2),)
    far = {"strategy": 1, "distance": 10}  # each reading is further than that from the last
    url = f"tcp://127.0.0.1:{port}"
    return Jt808(name="p", url=url, phone="13800138000", terminal="BENCH01", alarm=rows, parameters=far, home=home)


def _outlet(port: int, home: str) -> Hj212:
    os.environ["PW"] = "123456"
    factors = tuple(Factor(channel=f"s/c{i}", code=f"c{i:02}") for i in range(16))
    return Hj212(
        name="p", url=f"tcp://127.0.0.1:{port}", mn="1", password="env:PW", factor=factors, home=home,
        minutes=1, real=0, hours=False, days=False, started=False,
    )  # fmt: skip


def _mine(port: int, home: str) -> Minefiles:
    points = tuple(Gauge(channel=f"s/c{i}", code=f"c{i:02}", type="0001") for i in range(16))
    often = {"file": {"CDSS": {"every": 1}, "TJSJ": {"every": 1}, "YCBJ": {"every": 2}}}
    (place := Path(f"{home}-files")).mkdir()
    return Minefiles(name="p", url=place.as_uri(), mine="1", mine_name="m", point=points, change=often, home=home)


KINDS = {
    "mqtt": Kind(
        lambda port, home: Mqtt(name="p", url=f"mqtt://127.0.0.1:{port}"),
        broker, "agent.wire:Wire.publish", bare_paho,
    ),
    "sparkplug": Kind(
        lambda port, home: Sparkplug(name="p", url=f"mqtt://127.0.0.1:{port}"),
        broker, "agent.wire:Wire.publish", bare_paho,
    ),
    "jt808": Kind(_terminal, terminals, "agent.uplink.jt808:Line.write", bare_stream, "gnss", GNSS),
    "hj212": Kind(
        _outlet, bureau, "agent.uplink.hj212:Line.write", functools.partial(bare_stream, end=b"\r", each=1),
        "s", OUTLET, PERIODS, 60.0,
    ),
    "minefiles": Kind(
        _mine, lambda: contextlib.nullcontext(0), "agent.uplink.minefiles_places:Folder.put", bare_files,
        "s", OUTLET, PERIODS, 1.0,
    ),
}  # fmt: skip


# -- the product's half -----------------------------------------------------------------------------------


async def speak(name: str, port: int, home: str, what: str, n: int) -> dict[str, float]:
    """Put `n` readings or edges, and wait until the platform has them."""
    kind, clock = KINDS[name], SystemClock()
    outbox = await Outbox.open(Store(path=home, ballast_mb=0), ["p"], clock, lambda event: None)
    feed = outbox.feed("p")
    places = {("r", f"s/c{i}"): "red" for i in range(16)}
    who = Identity("bench", "node", outbox.boot, "0", "0", home, {kind.source: kind.shape}, places)  # type: ignore[arg-type]
    up = asyncio.Event()
    told = lambda event: up.set() if event.kind == "link-up" else None  # noqa: E731
    sending = asyncio.create_task(kind.uplink(port, home).send(Brief(feed, who, lambda: (), clock, told)))

    async def fewer(n: int) -> None:
        """Wait until fewer than `n` items wait."""
        while sum(feed.waiting().values()) >= n:
            await asyncio.sleep(0.004)
            if sending.done():
                sending.result()

    await asyncio.wait([sending, asyncio.create_task(up.wait())], return_when=asyncio.FIRST_COMPLETED)
    put_reading(outbox, kind, n)  # what is said once is not measured
    await fewer(1)
    began, used = time.monotonic(), time.process_time()
    for i in range(1, n + 1):
        if what == "readings":
            put_reading(outbox, kind, n - i)
        else:
            at = clock.now()
            number, up_again = (i + 1) // 2, i % 2
            event, state = ("raised", "active-unacked") if up_again else ("cleared", "normal")
            outbox.put_alarms([Alarm(f"{outbox.boot}-{number}", 2 - up_again, event, state, "r", f"s/c{number % 16}",
                                     "red", 1.5, 1.0, "%", at, at, "above its limit")])  # fmt: skip
        await fewer(AHEAD)
    await fewer(1)
    took = {"seconds": time.monotonic() - began, "cpu": time.process_time() - used}
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await outbox.close()
    return took


def put_reading(outbox: Outbox, kind: Kind, i: int) -> None:
    """One that is no other; where each has a period of its own, `i` + 2 of them ago."""
    values = [i + k / 8 for k in range(len(kind.shape.key))]
    if kind.shape is GNSS:
        values = [30.0 + i * 1e-3, 120.0, 20.0, 60.0, 90.0, 12.0, 3.0]
    now, ago = outbox.clock.now(), kind.every * (i + 2)
    outbox.put_frame(frame(kind.source, Instant(now.mono - ago, now.wall - ago), kind.shape, values))
    outbox._flush(kind.source)


def size(message: Any) -> int:
    """Bytes, of a file with its name, of MQTT with its topic."""
    if isinstance(message, tuple) and not isinstance(message, Message):
        return sum(map(len, message))
    return len(message if isinstance(message, bytes) else message.payload + message.topic.encode())


def tapped(tap: str, note: Callable[[Any], None]) -> None:
    """Everything that goes through this method is also noted; that costs it a thousandth of what it costs anyway."""
    owner, attribute = place(*tap.split(":"))
    old = getattr(owner, attribute)

    def through(self: Any, *message: Any) -> Any:
        note(message if len(message) > 1 else message[0])
        return old(self, *message)

    setattr(owner, attribute, through)


# -- a run --------------------------------------------------------------------------------------------------


def child(*words: object) -> dict[str, Any]:
    done = subprocess.run([PYTHON, "-m", "tests.bench.languages", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure() -> list[dict[str, Any]]:
    rows = []
    for name, kind in KINDS.items():
        for what, n in kind.items.items():
            with tempfile.TemporaryDirectory() as folder, kind.far() as port:
                words = f"{folder}/words"
                noted = child("record", name, port, f"{folder}/first", what, n // RECORDED, words)
                floor = child("floor", name, port, words)
                got = child("speak", name, port, f"{folder}/second", what, n)
            messages = got["messages"]
            ours, bare = 1e6 * got["cpu"] / messages, 1e6 * floor["cpu"] / floor["messages"]
            rows.append(
                {
                    "language": name,
                    "what": what,
                    "items": n,
                    "messages": messages,
                    "bytes each": round(noted["bytes"] / noted["messages"]),
                    "messages/s": messages / got["seconds"],
                    "CPU ms/1000": ours,
                    "bare ms/1000": bare,
                    "x bare": ours / bare,
                }
            )
    return rows


def main(verb: str, *words: str) -> None:
    if verb == "platform":
        asyncio.run(serve(Jt808Platform(ask_files=False)))
        return
    if verb == "bureau":
        asyncio.run(serve(Hj212Platform()))
        return
    name, port, *rest = words
    if verb == "floor":
        messages = pickle.loads(Path(rest[0]).read_bytes())
        print(json.dumps({"cpu": KINDS[name].floor(int(port), messages), "messages": len(messages)}))
        return
    home, what, n, *more = rest
    heard: list[Any] = []
    count = itertools.count()
    tapped(KINDS[name].tap, heard.append if verb == "record" else lambda message: next(count))
    found: dict[str, float] = asyncio.run(speak(name, int(port), home, what, int(n)))
    found["messages"] = len(heard) or next(count)
    if verb == "record":
        Path(more[0]).write_bytes(pickle.dumps(heard))
        found["bytes"] = sum(map(size, heard))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
