"""Headings whose gas comes and goes: bare Modbus servers in a process of their own that note when a coil was written.

    python -m tests.bench.heading --crossings 32 [--zones 2] [--dead 10] [--serial FOLDER]

Each zone is a line with one unit: nine float32 from input register 0, the first of them methane; a feed; and three
coils, of which 0 is the agent's trip, 1 its heartbeat, 2 the floor's trip. A request to any other unit is not answered.
A zone listens on a TCP port; with `--serial` the agent's line is a pseudo-terminal, as slow as 19200 baud. `--dead`
gives further ports with dead devices: the one half takes requests and says nothing, the other is a hole into which SYNs
fall, as behind a firewall that drops.

Once both trips of all zones are known to be off, methane crosses the limit `--crossings` times at random moments and
falls again. Each edge is one JSON line: in which zone, whether up, and after how many seconds the coil of the agent and
that of the floor was written; null where it was not within `PATIENCE`. Times are of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import struct
import time
from pathlib import Path

from tests.tools.slaves import PtySlave

HEAD = struct.Struct(">HHHB")
VALUES = 9
CALM, HIGH = 0.4, 2.0  # % of methane: below restore, above the cut limit
TRIP, FLOOR = 0, 2  # coils
PERIOD = 0.5  # s between the polls of whoever looks
PATIENCE = 3.0  # s for one edge
BEGIN = 100.0  # s until both trips must be off: what a start made trip is let go after a minute
CHARACTER = 10 / 19200  # s, 8N1
TURNAROUND = 0.005  # s until a serial unit answers


class Zone:
    """One unit: its methane, its coils, and when each of them was last written."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.image = bytearray(4 * VALUES + 16)  # on a serial line a poll asks for more than it needs
        self.coils: dict[int, tuple[float, bool]] = {}  # monotonic s, on; nothing where never written
        self.written = asyncio.Event()
        self.rng = random.Random(number)
        self.put(CALM)

    def put(self, methane: float) -> float:
        """The register changes now; when that is."""
        struct.pack_into(f">{VALUES}f", self.image, 0, methane, *(self.rng.random() for _ in range(VALUES - 1)))
        return time.monotonic()

    def answer(self, unit: int, pdu: bytes, late: float = 0.0) -> bytes:
        """The reply of unit 1, nothing from any other; a request took `late` s to arrive whole."""
        if unit != 1:
            return b""
        code, start, count = struct.unpack_from(">BHH", pdu)
        if code == 4:
            return bytes([4, 2 * count]) + self.image[2 * start : 2 * (start + count)]
        if code in (1, 2):
            bit = self.is_on(start) if code == 1 else not self.is_on(TRIP)
            size = (count + 7) // 8
            return bytes([code, size, bit, *bytes(size - 1)])
        if code == 5:
            if self.is_on(start) != (count == 0xFF00) or start not in self.coils:
                self.coils[start] = time.monotonic() + late, count == 0xFF00
            self.written.set()
            return pdu
        return bytes([code | 0x80, 1])

    def is_on(self, coil: int) -> bool:
        return self.coils.get(coil, (0.0, False))[1]

    async def trips(self, on: bool) -> None:
        """Until both trips were written like this."""
        while any(self.coils.get(coil, (0.0, not on))[1] != on for coil in (TRIP, FLOOR)):
            self.written.clear()
            await self.written.wait()

    async def live(self, crossings: int) -> None:
        """Gas comes and goes, at random moments of anybody's period."""
        for _ in range(crossings):
            for up in (True, False):
                await asyncio.sleep(self.rng.uniform(0.0, PERIOD))
                at = self.put(HIGH if up else CALM)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE):
                        await self.trips(up)
                took = [when - at if on == up else None for when, on in (self.coils[TRIP], self.coils[FLOOR])]
                print(json.dumps({"zone": self.number, "up": up, "agent": took[0], "floor": took[1]}), flush=True)


class Socket(asyncio.Protocol):
    """One connection to a zone."""

    def __init__(self, zone: Zone) -> None:
        self.zone, self.rest = zone, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        while len(data) >= HEAD.size and len(data) >= 6 + (size := HEAD.unpack_from(data)[2]):
            transaction, _, _, unit = HEAD.unpack_from(data)
            reply = self.zone.answer(unit, data[HEAD.size : 6 + size])
            if reply:
                self.transport.write(HEAD.pack(transaction, 0, 1 + len(reply), unit) + reply)
            data = data[6 + size :]
        self.rest = data


def serial(zone: Zone, path: Path) -> PtySlave:
    """The same zone on a pseudo-terminal, as slow as the wire: a reply comes whole when its last byte would."""

    def script(unit: int, pdu: bytes) -> list[tuple[float, bytes]]:
        asked = CHARACTER * (len(pdu) + 3)
        reply = zone.answer(unit, pdu, asked)
        return [(asked + TURNAROUND + CHARACTER * (len(reply) + 3), reply)] if reply else []

    return PtySlave(path, script)


def hole() -> tuple[int, list[socket.socket]]:
    """A port into which SYNs fall, and what keeps it so: nobody takes the one connection that may wait there."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    kept = [listener]
    for _ in range(2):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
        kept.append(waiting)
    return listener.getsockname()[1], kept


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--crossings", type=int, default=32)
    parser.add_argument("--zones", type=int, default=2)
    parser.add_argument("--dead", type=int, default=0)
    parser.add_argument("--serial", type=Path)
    args = parser.parse_args()
    loop = asyncio.get_running_loop()
    zones = [Zone(number) for number in range(args.zones)]
    servers = [await loop.create_server(lambda zone=zone: Socket(zone), "127.0.0.1", 0) for zone in zones]
    ports = [one.sockets[0].getsockname()[1] for one in servers]
    lines = [serial(zone, args.serial / f"line{zone.number}").plug() for zone in zones] if args.serial else []
    mute = [await loop.create_server(asyncio.Protocol, "127.0.0.1", 0) for _ in range((args.dead + 1) // 2)]
    holes = [hole() for _ in range(args.dead // 2)]
    dead = [one.sockets[0].getsockname()[1] for one in mute] + [port for port, _ in holes]
    urls = [f"rtu://{line.path}" for line in lines] or [f"tcp://127.0.0.1:{port}" for port in ports]
    print(json.dumps({"urls": urls, "ports": ports, "dead": dead}), flush=True)
    began = time.monotonic()
    async with asyncio.timeout(BEGIN):
        for zone in zones:
            await zone.trips(False)
    print(json.dumps({"ready": time.monotonic() - began}), flush=True)
    await asyncio.gather(*(zone.live(args.crossings) for zone in zones))
    print(json.dumps({"over": True}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
