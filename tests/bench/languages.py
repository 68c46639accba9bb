"""What a message costs in each language, beside a bare loop that sends the same bytes to the same program.

    python -m tests.bench languages

The product's half is the outbox with its two files and one uplink, in a process of its own: readings, or edges of
alarms, are put as fast as the platform takes them, at most `AHEAD` unconfirmed. The floor is another process, which
has the bytes in memory and does nothing but hand them over and wait for what confirms them: paho and its loop, with as
many in flight, or a bare asyncio stream. What is not in the floor: store, judging what is due, words, deadlines, marks.

A language is a row of `KINDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
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
from agent.core.frame import Layout, frame, layout
from agent.core.ports import Identity, Uplink
from agent.outbox import Outbox, Store
from agent.uplink.jt808 import Jt808
from agent.uplink.jt808_alarms import Row
from agent.uplink.mqtt import Mqtt
from agent.uplink.sparkplug import Sparkplug
from simulators.jt808 import Jt808Platform
from tests.bench.stage import PYTHON, broker, running
from tests.rigs.sabotage import place

ITEMS = {"readings": 3000, "alarms": 600}
RECORDED = 3  # a third of them is noted, and what the floor says
AHEAD = 32  # items put and not confirmed
IN_FLIGHT = 8  # messages of the floor that nobody has confirmed yet: as many as the product has
PLANT = layout([f"c{i}" for i in range(10)])
GNSS = layout(["latitude", "longitude", "altitude", "speed", "course", "satellites", "fix"])


class Kind(NamedTuple):
    """One language."""

    uplink: Callable[[int, str], Uplink]  # by port and home
    far: Callable[[], contextlib.AbstractContextManager[int]]  # the platform; gives its port
    tap: str  # module:attribute, the method of the product through which every message goes: (self, message)
    floor: Callable[[int, list[Any]], float]  # port, what went through the tap -> CPU s
    source: str = "plant"  # of the readings
    shape: Layout = PLANT


# -- the other side ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def terminals() -> Iterator[int]:
    """A JT/T 808 platform in a process of its own."""
    with running(PYTHON, "-m", "tests.bench.languages", "platform", stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield int(child.stdout.readline())


async def serve() -> None:
    platform = Jt808Platform(ask_files=False)
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


def bare_stream(port: int, messages: list[Any]) -> float:
    """An asyncio stream that counts the ends of frames that come back."""

    async def main() -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ends = 0
        before = time.process_time()
        for n, message in enumerate(messages):
            writer.write(message)
            while n - ends // 2 >= (IN_FLIGHT if n > 2 else 0):  # what comes first opens the door
                ends += (await reader.read(4096)).count(b"\x7e")
        while ends // 2 < len(messages):
            ends += (await reader.read(4096)).count(b"\x7e")
        used = time.process_time() - before
        writer.close()
        return used

    return asyncio.run(main())


# -- the languages ----------------------------------------------------------------------------------------


def _terminal(port: int, home: str) -> Jt808:
    rows = (Row(rule="r", item="adas", type="forward", level=2),)
    far = {"strategy": 1, "distance": 10}  # each reading is further than that from the last
    url = f"tcp://127.0.0.1:{port}"
    return Jt808(name="p", url=url, phone="13800138000", terminal="BENCH01", alarm=rows, parameters=far, home=home)


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
    sending = asyncio.create_task(kind.uplink(port, home).send(feed, who, lambda: (), clock, told))
    await up.wait()
    put_reading(outbox, kind, 0)  # what is said once is not measured
    while any(feed.waiting().values()):
        await asyncio.sleep(0.01)
    began, used = time.monotonic(), time.process_time()
    for i in range(1, n + 1):
        if what == "readings":
            put_reading(outbox, kind, i)
        else:
            at = clock.now()
            number, up_again = (i + 1) // 2, i % 2
            event, state = ("raised", "active-unacked") if up_again else ("cleared", "normal")
            outbox.put_alarms([Alarm(f"{outbox.boot}-{number}", 2 - up_again, event, state, "r", f"s/c{number % 16}",
                                     "red", 1.5, 1.0, "%", at, at, "above its limit")])  # fmt: skip
        while sum(feed.waiting().values()) >= AHEAD:
            await asyncio.sleep(0.001)
    while any(feed.waiting().values()):
        await asyncio.sleep(0.001)
    took = {"seconds": time.monotonic() - began, "cpu": time.process_time() - used}
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await outbox.close()
    return took


def put_reading(outbox: Outbox, kind: Kind, i: int) -> None:
    values = (
        [30.0 + i * 1e-3, 120.0, 20.0, 60.0, 90.0, 12.0, 3.0] if kind.shape is GNSS else [i + k / 8 for k in range(10)]
    )
    outbox.put_frame(frame(kind.source, outbox.clock.now(), kind.shape, values))
    outbox._flush(kind.source)


def tapped(tap: str, note: Callable[[Any], None]) -> None:
    """Everything that goes through this method is also noted; that costs it a thousandth of what it costs anyway."""
    owner, attribute = place(*tap.split(":"))
    old = getattr(owner, attribute)

    def through(self: Any, message: Any) -> Any:
        note(message)
        return old(self, message)

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
        for what, n in ITEMS.items():
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
        asyncio.run(serve())
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
        found["bytes"] = sum(len(one if isinstance(one, bytes) else one.payload + one.topic.encode()) for one in heard)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
