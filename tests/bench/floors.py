"""Floors: bare loops that only read, each in a process of its own, measured beside the agent.

    python -m tests.bench.floors asyncio|pymodbus|interlock CHANNELS SECONDS PORT...

Each port is a device with CHANNELS float32 channels, read once a second in blocks of 124 registers.
`asyncio` is the least a Python program can do: streams, one request after the other, a struct per reply.
`interlock` reads the methane of a `heading` each half second and writes its coil; it takes no notice of CHANNELS.
"""

from __future__ import annotations

import asyncio
import struct
import sys


def blocks(channels: int) -> list[tuple[int, int]]:
    registers = 2 * channels
    return [(start, min(124, registers - start)) for start in range(0, registers, 124)]


async def bare(port: int, channels: int, until: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop = asyncio.get_running_loop()
    due = loop.time()
    while loop.time() < until:
        for tid, (start, count) in enumerate(blocks(channels)):
            writer.write(struct.pack(">HHHBBHH", tid, 0, 6, 1, 3, start, count))
            head = await reader.readexactly(9)
            body = await reader.readexactly(head[8])
            struct.unpack(f">{count // 2}f", body)
        due += 1.0
        await asyncio.sleep(max(0.0, due - loop.time()))
    writer.close()


async def pymodbus(port: int, channels: int, until: float) -> None:
    from pymodbus.client import AsyncModbusTcpClient

    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    loop = asyncio.get_running_loop()
    due = loop.time()
    while loop.time() < until:
        for start, count in blocks(channels):
            reply = await client.read_holding_registers(start, count=count, device_id=1)
            client.convert_from_registers(reply.registers, client.DATATYPE.FLOAT32)
        due += 1.0
        await asyncio.sleep(max(0.0, due - loop.time()))
    client.close()


async def interlock(port: int, channels: int, until: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop = asyncio.get_running_loop()
    due, on = loop.time(), None
    while loop.time() < until:
        writer.write(struct.pack(">HHHBBHH", 0, 0, 6, 1, 4, 0, 2))
        methane = struct.unpack(">9xf", await reader.readexactly(13))[0]
        if (wanted := methane >= (1.0 if on else 1.5)) != on:
            writer.write(struct.pack(">HHHBBHH", 0, 0, 6, 1, 5, 2, 0xFF00 if wanted else 0))
            await reader.readexactly(12)
            on = wanted
        due += 0.5
        await asyncio.sleep(max(0.0, due - loop.time()))
    writer.close()


async def main(kind: str, channels: int, seconds: float, ports: list[int]) -> None:
    until = asyncio.get_running_loop().time() + seconds
    read = {"asyncio": bare, "pymodbus": pymodbus, "interlock": interlock}[kind]
    await asyncio.gather(*(read(port, channels, until) for port in ports))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), [int(p) for p in sys.argv[4:]]))
