"""A GNSS receiver behind a TCP address: NMEA 0183 of GPS and BeiDou, a moment each period, along a way.

`sentences` is pure. `GnssServer` moves a vehicle with the speed and course that it is given, and says where it is to
everybody who connects; without a fix it says that, and with `mute` nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from datetime import UTC, datetime

EARTH = 6_371_000.0  # m
KNOT = 1.852  # km/h


def sealed(text: str) -> bytes:
    """A sentence with its checksum.

    >>> sealed("GPGLL,3000.0000,N,12000.0000,E,123519,A")
    b'$GPGLL,3000.0000,N,12000.0000,E,123519,A*25\\r\\n'
    """
    total = 0
    for byte in text.encode():
        total ^= byte
    return f"${text}*{total:02X}\r\n".encode()


def _minutes(degrees: float, size: int) -> str:
    """ddmm.mmmmm

    >>> _minutes(30.5, 2), _minutes(7.25, 3)
    ('3030.00000', '00715.00000')
    """
    whole = int(abs(degrees))
    return f"{whole:0{size}d}{(abs(degrees) - whole) * 60:08.5f}"


def sentences(
    wall: float, latitude: float, longitude: float, kmh: float, course: float, fix: bool = True
) -> list[bytes]:
    """What is said of a moment: RMC, VTG, GGA, and GSA of two systems."""
    at = datetime.fromtimestamp(wall, UTC)
    t, day = f"{at:%H%M%S}.{at.microsecond // 10_000:02d}", f"{at:%d%m%y}"
    if not fix:
        return [sealed(f"GNRMC,{t},V,,,,,,,{day},,,N"), sealed(f"GNGGA,{t},,,,,0,00,99.9,,,,,,"),
                sealed("GNGSA,A,1,,,,,,,,,,,,,99.9,99.9,99.9,1")]  # fmt: skip
    north, east = "S" if latitude < 0 else "N", "W" if longitude < 0 else "E"
    place = f"{_minutes(latitude, 2)},{north},{_minutes(longitude, 3)},{east}"
    return [
        sealed(f"GNRMC,{t},A,{place},{kmh / KNOT:.3f},{course:.2f},{day},,,A"),
        sealed(f"GNVTG,{course:.2f},T,,M,{kmh / KNOT:.3f},N,{kmh:.3f},K,A"),
        sealed(f"GNGGA,{t},{place},1,12,0.8,35.0,M,8.0,M,,"),
        sealed("GNGSA,A,3,04,05,09,12,17,25,,,,,,,1.4,0.8,1.1,1"),
        sealed("GNGSA,A,3,08,13,21,24,26,35,,,,,,,1.4,0.8,1.1,4"),
    ]


class GnssServer:
    """A vehicle that moves, and its receiver. Its state may be changed at any time."""

    def __init__(self, latitude: float = 30.0, longitude: float = 120.0, period: float = 1.0) -> None:
        self.latitude, self.longitude, self.period = latitude, longitude, period
        self.kmh, self.course = 0.0, 0.0
        self.fix, self.mute = True, False
        self.port = 0
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._moving: asyncio.Task[None] | None = None

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self._server = await asyncio.start_server(self._accept, host, port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._moving = asyncio.create_task(self._move())

    async def stop(self) -> None:
        if self._server is not None and self._moving is not None:
            self._moving.cancel()
            await asyncio.gather(self._moving, return_exceptions=True)
            self._server.close()
            for client in self._clients:
                client.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        with contextlib.suppress(OSError):
            await reader.read()  # until it goes
        self._clients.discard(writer)
        writer.close()

    async def _move(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += self.period
            await asyncio.sleep(max(0.0, due - loop.time()))
            way = self.kmh / 3.6 * self.period
            self.latitude += math.degrees(way * math.cos(math.radians(self.course)) / EARTH)
            east = way * math.sin(math.radians(self.course)) / math.cos(math.radians(self.latitude))
            self.longitude += math.degrees(east / EARTH)
            if self.mute:
                continue
            said = b"".join(sentences(time.time(), self.latitude, self.longitude, self.kmh, self.course, self.fix))
            for client in list(self._clients):
                with contextlib.suppress(OSError):
                    client.write(said)
