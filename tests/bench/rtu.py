"""How much of an RTU wire one bus uses: the real driver over a pseudo-terminal that is paced like the wire.

The slave answers at once and lets each byte take its time. The wire limit is what a perfect master could do:
request and reply back to back with the 3.5 characters of silence that the specification wants before each
frame (Modbus over serial line V1.02, 2.5.1.1), and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import drivers.modbus
from agent.clock import SystemClock
from agent.core.frame import Frame
from agent.orders import OrderBox
from drivers.registers import Channel
from simulators.modbus import Device, PtyLine, Register

CHANNELS = 62  # float32: 124 registers, one full request
SECONDS = 12.0
BITS = PtyLine.BITS  # 8E1: start, eight, parity, stop


def measure(baud: int) -> dict[str, Any]:
    """One bus with one device that is always due."""
    return asyncio.run(_measure(baud))


async def _measure(baud: int) -> dict[str, Any]:
    device = Device("d", 1, [Register(f"c{i}", "holding", 2 * i, "float32") for i in range(CHANNELS)])
    line = PtyLine([device], baud=baud)
    await line.start()
    channel = [Channel(key=f"c{i}", at=f"holding:{2 * i}", type="float32") for i in range(CHANNELS)]
    request, reply, silence = 8, 5 + 4 * CHANNELS, 3.5 * 2
    round_ = (request + reply + silence) * BITS / baud
    unit = drivers.modbus.Device(name="d", unit=1, period=0.001, channel=tuple(channel))
    driver = drivers.modbus.Modbus(name="b", url=line.url, baud=baud, parity="E", device=(unit,))
    frames, first = 0, 0.0
    try:
        reading = driver.frames(SystemClock(), OrderBox())
        async for item in reading:
            if isinstance(item, Frame):
                now = time.monotonic()
                first = first or now
                frames += 1
                if now - first >= SECONDS:
                    break
        await reading.aclose()
    finally:
        await line.stop()
    took = now - first
    return {
        "baud": baud,
        "channels/s": (frames - 1) * CHANNELS / took,
        "wire limit channels/s": CHANNELS / round_,
        "share of the wire limit": (frames - 1) * round_ / took,
    }
