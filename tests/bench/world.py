"""The world of the bench: a bare Modbus TCP server in a process of its own, as cheap as Python allows.

    python -m tests.bench.world --devices 10 --channels 1000 [--flip 0.5]

Every device listens on its own port and serves `channels` float32 (ABCD) from holding register 0. All values
move once a second and one at each poll, so that nothing is left out as unchanged. With `--flip S` channel 0
of device 0 goes from 0 to 100 and back at random moments about every S seconds; each flip and the first read
that served it are printed as JSON lines with CLOCK_MONOTONIC, which all processes of one machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import struct
import time

import numpy as np

HEAD = struct.Struct(">HHHBBHH")


class Device(asyncio.Protocol):
    """Answers function 3 from `image`; anything else ends the connection."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number, self.rest = world, number, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        image = self.world.images[self.number]
        replies, start = [], 0
        while len(data) - start >= HEAD.size:
            tid, _, _, unit, function, address, count = HEAD.unpack_from(data, start)
            start += HEAD.size
            if function != 3:
                self.transport.close()
                return
            if address == 0:
                self.world.served(self.number)
            replies.append(
                struct.pack(">HHHBBB", tid, 0, 3 + 2 * count, unit, 3, 2 * count)
                + image[2 * address : 2 * (address + count)]
            )
        self.rest = data[start:]
        if replies:
            self.transport.write(b"".join(replies))


class World:
    """The registers of all devices, as bytes ready to send."""

    def __init__(self, devices: int, channels: int) -> None:
        self.values = np.full((devices, channels), 50.0, ">f4")
        self.images = [bytearray()] * devices
        self.reads = 0
        self.rng = np.random.default_rng(1)
        self.high, self.waiting = False, False
        self.move()

    def move(self) -> None:
        kept = self.values[0, 0]
        self.values[:] = self.rng.normal(50.0, 1.0, self.values.shape)
        self.values[0, 0] = kept
        self.encode()

    def encode(self) -> None:
        for i, row in enumerate(self.values):
            self.images[i] = bytearray(row.tobytes())

    def flip(self) -> None:
        self.high = not self.high
        self.values[0, 0] = 100.0 if self.high else 0.0
        struct.pack_into(">f", self.images[0], 0, self.values[0, 0])
        self.waiting = True
        print(json.dumps({"flip": self.high, "at": time.monotonic()}), flush=True)

    def served(self, number: int) -> None:
        self.reads += 1  # channel 1 moves at each poll: no poll is left out as unchanged
        struct.pack_into(">f", self.images[number], 4, self.reads % 80)
        if self.waiting and number == 0:
            self.waiting = False
            print(json.dumps({"served": self.high, "at": time.monotonic()}), flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--channels", type=int, default=100)
    parser.add_argument("--flip", type=float, default=0.0)
    args = parser.parse_args()
    world = World(args.devices, args.channels)
    loop = asyncio.get_running_loop()
    ports = []
    for number in range(args.devices):
        server = await loop.create_server(lambda number=number: Device(world, number), "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps({"ports": ports}), flush=True)
    rng = random.Random(2)

    async def move() -> None:
        while True:
            await asyncio.sleep(1.0)
            world.move()

    async def flip() -> None:
        await asyncio.sleep(3.0)
        while args.flip:
            await asyncio.sleep(args.flip * rng.uniform(0.8, 1.2))
            world.flip()

    await asyncio.gather(move(), flip())
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
