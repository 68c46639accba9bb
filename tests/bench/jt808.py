"""JT/T 808 on this machine: the wire alone, a blind area that is drained, and an alarm meanwhile on a slow line.

    python -m tests.bench.jt808

The platform is a process of its own; CPU is that of the terminal's process. The floor of a message is a bare socket
that sends the same bytes and waits for the same answers.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.frame import Instant, frame, layout
from agent.core.ports import Brief, Identity
from agent.outbox import Outbox, Store
from agent.uplink import jt808_wire as wire
from agent.uplink import jt808_words as words
from agent.uplink.jt808 import Jt808
from simulators.jt808 import Jt808Platform
from tests.rigs.parsers import FRAMES, PLACE
from tests.rigs.proxy import Proxy, bandwidth

OUT = Path(__file__).resolve().parents[2] / "build" / "bench"
GNSS = layout(["latitude", "longitude", "altitude", "speed", "course", "satellites", "fix"])
HOURS = 18.0  # of a blind area, JT/T 794
PERIOD = 30.0  # s


def _platform(tube: Connection) -> None:
    async def main() -> None:
        server = Jt808Platform(ask_files=False)
        await server.start()
        tube.send(server.port)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, tube.recv) == "count":
            alarms = [(value.alarm & 0xFFFF, got.arrived) for got, value in server.alarms()]
            tube.send((len(server.got), server.messages, server.twice, alarms))
        await server.stop()

    asyncio.run(main())


def speeds() -> dict[str, float]:
    """Frames/s of the wire, one core."""
    data, found = b"".join(FRAMES[:7]) * 200, 0
    began = time.process_time()
    packets = wire.Stream().feed(data)
    unpacked = time.process_time() - began
    began = time.process_time()
    for packet in packets:
        words.read(packet)
        found += 1
    read = time.process_time() - began
    began = time.process_time()
    for _ in range(found):
        wire.pack(wire.Packet(0x0200, "13800138000", 1, words.encode(PLACE)))
    packed = time.process_time() - began
    return {"unpacked/s": found / unpacked, "understood/s": found / read, "packed/s": found / packed}


def floor(port: int, n: int) -> float:
    """CPU ms of 1000 locations from a bare socket, four in flight."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        stream = wire.Stream()
        line.sendall(wire.pack(wire.Packet(0x0100, "1", 0, words.encode(words.Registration(0, 0, "", "", "F", 0, "")))))
        packets: list[wire.Packet] = []
        while not packets:
            packets = stream.feed(line.recv(4096))
        told: Any = words.read(packets[0])
        line.sendall(wire.pack(wire.Packet(0x0102, "1", 1, words.encode(words.Authentication(told.code)))))
        packets = []
        while not packets:
            packets = stream.feed(line.recv(4096))
        data = words.encode(PLACE)
        began, waiting, serial = time.process_time(), 0, 2
        for _ in range(n):
            line.sendall(wire.pack(wire.Packet(0x0200, "1", serial & 0xFFFF, data)))
            serial, waiting = serial + 1, waiting + 1
            while waiting >= 4:
                waiting -= len(stream.feed(line.recv(4096)))
        return (time.process_time() - began) / n * 1e6


async def drain(port: int, tube: Connection, line: int = 0) -> dict[str, Any]:
    """A blind area of `HOURS`, then an alarm each half second while it is told. `line`: bytes/s of it; 0: no limit."""
    tube.send("count")
    before = (await asyncio.to_thread(tube.recv))[2]  # the floor says the same thing again and again
    proxy = Proxy(("127.0.0.1", port), up=[bandwidth(line)] if line else [])
    await proxy.start()
    with tempfile.TemporaryDirectory() as folder:
        outbox = await Outbox.open(Store(path=folder, ballast_mb=0), ["p"], SystemClock())
        now, rows = SystemClock().now(), int(HOURS * 3600 / PERIOD)
        for n in range(rows):
            back = (rows - n) * PERIOD
            at = Instant(now.mono - back, now.wall - back, True)
            outbox.put_frame(frame("gnss", at, GNSS, [30.0 + n * 1e-5, 120.0, 20.0, 60.0, 0.0, 12.0, 3.0]))
            outbox._flush("gnss")
            if n % 256 == 0:
                await asyncio.sleep(0)
        feed = outbox.feed("p")
        while feed.live:
            await asyncio.sleep(0.02)
        table = {"name": "p", "url": f"tcp://127.0.0.1:{proxy.port}", "phone": str(port), "terminal": "BENCH01",
                 "alarm": [{"rule": "r", "item": "adas", "type": "forward", "level": 2}]}  # fmt: skip
        uplink = msgspec.convert(table, Jt808)
        who = Identity("s", "n", outbox.boot, "0", "0")
        began, cpu = time.monotonic(), time.process_time()
        sending = asyncio.create_task(uplink.send(Brief(feed, who, list, SystemClock(), lambda event: None)))
        raised: dict[int, float] = {}
        while any(feed.waiting().values()):
            at = SystemClock().now()
            n = len(raised) + 1
            raised[n] = time.monotonic()
            outbox.put_alarms([Alarm(f"{outbox.boot}-{n}", 1, "raised", "active-unacked", "r", "s/c", "red", 1.0, 1.0,
                                     "s", at, at, "")])  # fmt: skip
            await asyncio.sleep(0.5 if line else 0.02)
            if len(raised) > 400:
                break
        while any(feed.waiting().values()):
            await asyncio.sleep(0.01)
        seconds, used = time.monotonic() - began, time.process_time() - cpu
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await outbox.close()
    await proxy.stop()
    tube.send("count")
    _, _, twice, alarms = await asyncio.to_thread(tube.recv)
    waits = sorted(arrived - raised[n] for n, arrived in alarms if n in raised)
    return {
        "locations": rows,
        "seconds": round(seconds, 2),
        "locations/s": round(rows / seconds),
        "CPU ms per 1000 locations": round(1e6 * used / (rows + len(waits)), 1),
        "alarms meanwhile": len(waits),
        "slowest alarm, s": round(waits[-1], 3) if waits else None,
        "twice": twice - before,
    }


def served(line: int) -> dict[str, Any]:
    """One run against a platform of its own."""
    near, far = multiprocessing.Pipe()
    platform = multiprocessing.get_context("spawn").Process(target=_platform, args=(far,))
    platform.start()
    port = near.recv()
    try:
        result = {"floor, CPU ms per 1000 messages": round(floor(port, 2000), 1)} if not line else {}
        return result | asyncio.run(drain(port, near, line))
    finally:
        near.send("stop")
        platform.join(5)


def main() -> None:
    figures = {
        "wire": {name: round(value) for name, value in speeds().items()},
        "blind area, no limit": served(0),
        "blind area, 64 kbit/s": served(8000),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "jt808.json").write_text(json.dumps(figures, indent=1))
    for name, found in figures.items():
        print(name)
        for what, value in found.items():
            print(f"  {what:34} {value}")


if __name__ == "__main__":
    main()
