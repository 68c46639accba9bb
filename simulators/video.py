"""A network camera: MJPEG over HTTP and RTSP on this machine, with everything that goes wrong with cameras.

The scene is drawn: a textured background that stands, something that moves through it, and a little noise. `fault` may
be changed at any moment, also while somebody watches; `heal` takes it away. Nothing here knows the driver: on the other
side is FFmpeg.
"""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from .port import Port

Image = NDArray[np.uint8]  # (h, w, 3)
Fault = Literal[
    "",
    "stall",  # the connection stands, no byte comes any more
    "dead",  # the same, and those connections never come to life again, as behind a radio that lost them
    "mute",  # connections are taken, and nothing is said
    "refuse",  # nobody listens, and who was connected is cut off
    "close",  # streams end, and new ones end at once
    "unauthorised",  # 401, whatever the password
    "no-stream",  # a web page instead
    "broken",  # JPEG with damaged bytes
    "frozen",
    "black",
    "covered",
    "blurred",
    "overexposed",
    "shifted",  # the camera was pushed aside
    "turned",  # it looks at something else
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
BOUNDARY = b"--picture\r\n"
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track0\r\n"
PACKET = 1400  # bytes of a picture in one packet
TICKS = 7500  # of 90 kHz from one picture to the next: 12 in a second


class Scene:
    """What a camera sees."""

    def __init__(self, width: int = 320, height: int = 240, seed: int = 1) -> None:
        self.width, self.height = width, height
        self.rng = np.random.default_rng(seed)
        self.places = [self._background(), self._background()]

    def _background(self) -> Image:
        """A place twice as wide as the picture, so that the camera can be pushed."""
        w, h = 2 * self.width, self.height
        image: Image = np.full((h, w, 3), 110, np.uint8)
        for _ in range(90):
            x, y = int(self.rng.integers(0, w)), int(self.rng.integers(0, h))
            colour = [int(c) for c in self.rng.integers(40, 215, 3)]
            size = int(self.rng.integers(6, h // 6))
            if self.rng.random() < 0.5:
                cv2.rectangle(image, (x, y), (x + size, y + size), colour, -1)
            else:
                cv2.circle(image, (x, y), size, colour, -1)
        return image

    def picture(self, n: int, fault: Fault) -> Image:
        """The n-th picture."""
        if fault == "frozen":
            n = 0
        left = self.width // 5 if fault == "shifted" else 0
        image: Any = self.places[fault == "turned"][:, left : left + self.width].copy()
        at = (20 + 7 * n % (self.width - 40), self.height // 2 + int(30 * np.sin(n / 5)))
        cv2.circle(image, at, 14, (230, 230, 230), -1)
        return spoilt(image, fault, n)


def spoilt(image: Any, fault: Fault, n: int) -> Image:
    """What a fault makes of the n-th picture. Where the camera looks, and whether time stands, is not its business."""
    if fault == "black":
        image = np.zeros_like(image)
    elif fault == "covered":
        image = np.full_like(image, 90)
    elif fault == "blurred":
        image = cv2.GaussianBlur(image, (0, 0), 7.0)
    elif fault == "overexposed":
        image = np.clip(image.astype(int) + 170, 0, 255)
    noise = 0 if fault == "frozen" else np.random.default_rng(n).integers(-2, 3, image.shape)
    whole: Image = np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)
    return whole


class View(Protocol):
    """Whatever a camera may look at: `Scene` here, a drive in `road.py`."""

    def picture(self, n: int, fault: Fault) -> Image:
        """The n-th picture, (h, w, 3) BGR, h and w multiples of 8; the same n gives the same one."""


class CameraServer(Port):
    """One camera that listens on a free port of this machine from `start` to `stop`.

    `clock` in s: which picture is due goes by it, and drawing may take longer than that, in a thread; the next one is
    then a later one, as with a camera that drops frames. Without it pictures come one after the other.
    """

    def __init__(
        self,
        user: str = "",
        password: str = "",
        fps: float = 12.0,
        scene: View | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self.scene = scene or Scene()
        self.fps, self.clock = fps, clock
        self.sent = 0  # pictures
        self.fault: Fault = ""
        self._key = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/stream"

    @property
    def rtsp_url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/stream"

    async def fail(self, fault: Fault) -> None:
        """From now on it does this."""
        self.fault = fault
        if fault == "refuse":
            await self.stop()
        elif self._server is None:
            await self.start()

    async def heal(self) -> None:
        await self.fail("")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if request.split("\r\n", 1)[0].endswith("RTSP/1.0"):
                await self._rtsp(request, reader, writer)
            elif self.fault == "mute":
                await reader.read()  # until the other side has enough of it
            elif self.fault == "unauthorised" or (self._key and f"Basic {self._key}" not in request):
                writer.write(b'HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="camera"\r\n\r\n')
            elif self.fault == "no-stream":
                writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>please log in</html>")
            else:
                writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=picture\r\n\r\n")
                await self._stream(writer, _part)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # who watched went away
        finally:
            writer.close()

    async def _rtsp(self, request: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One conversation after RFC 2326, pictures interleaved; nothing is heard any more once it plays."""
        while True:
            if self.fault == "mute":
                await reader.read()
                return
            lines = request.split("\r\n")
            verb = lines[0].partition(" ")[0]
            sequence = next((line for line in lines if line.lower().startswith("cseq:")), "CSeq: 0")
            code, more, body = "200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY", ""
            if self.fault == "unauthorised" or (self._key and f"Basic {self._key}" not in request):
                code, more = "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"'
            elif self.fault == "no-stream":
                code = "404 Not Found"
            elif verb == "DESCRIBE":
                more, body = "Content-Type: application/sdp", SDP
            elif verb == "SETUP":
                more = "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1"
            elif verb == "PLAY":
                more = "Session: 1"
            writer.write(
                f"RTSP/1.0 {code}\r\n{sequence}\r\n{more}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            await writer.drain()
            if verb == "PLAY" and code == "200 OK":
                await self._stream(writer, _packets)
                return
            request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    async def _stream(self, writer: asyncio.StreamWriter, wrapped: Callable[[bytes, int], bytes]) -> None:
        dead = False
        while self.fault != "close":
            dead |= self.fault == "dead"
            if self.fault != "stall" and not dead:
                if self.clock is None:
                    jpeg = self._jpeg(self.sent, self.fault)
                else:
                    jpeg = await asyncio.to_thread(self._jpeg, int(self.clock() * self.fps), self.fault)
                writer.write(wrapped(jpeg, self.sent))
                self.sent += 1
            await writer.drain()
            if writer.is_closing():
                return
            await asyncio.sleep(1 / self.fps)

    def _jpeg(self, n: int, fault: Fault) -> bytes:
        _, body = cv2.imencode(".jpg", self.scene.picture(n, fault), [cv2.IMWRITE_JPEG_QUALITY, 85])
        whole: bytes = body.tobytes()
        if fault == "broken":
            damaged = bytearray(whole)
            for i in np.random.default_rng(n).integers(2, len(whole), len(whole) // 4):
                damaged[i] = 0
            return bytes(damaged)
        return whole


def _part(jpeg: bytes, n: int) -> bytes:
    """A picture as a part of a multipart body."""
    return BOUNDARY + f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg + b"\r\n"


def _packets(jpeg: bytes, n: int) -> bytes:
    """The n-th picture as interleaved RTP packets after RFC 2435, with its own quantisation tables."""
    tables, kind, width, height = b"", 1, 0, 0
    for marker, body in _segments(jpeg):
        if marker == 0xDB:
            tables += b"".join(body[i + 1 : i + 65] for i in range(0, len(body), 65))
        elif marker == 0xC0:
            height, width, kind = *struct.unpack(">HH", body[1:5]), int(body[7] == 0x22)
    scan = jpeg[jpeg.index(b"\xff\xda") + 2 :]
    scan = scan[struct.unpack(">H", scan[:2])[0] : -2]
    out = b""
    for i, at in enumerate(range(0, len(scan), PACKET)):
        payload = bytes([0]) + at.to_bytes(3, "big") + bytes([kind, 255, width // 8, height // 8])
        payload += struct.pack(">BBH", 0, 0, len(tables)) + tables if at == 0 else b""
        payload += scan[at : at + PACKET]
        last = at + PACKET >= len(scan)
        head = struct.pack(">BBHII", 0x80, (last << 7) | 26, (n * 64 + i) & 0xFFFF, n * TICKS & 0xFFFFFFFF, 4711)
        out += struct.pack(">cBH", b"$", 0, len(head) + len(payload)) + head + payload
    return out


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each segment before the picture itself."""
    at = 2
    while jpeg[at + 1] != 0xDA:
        size = struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        yield jpeg[at + 1], jpeg[at + 4 : at + 2 + size]
        at += 2 + size
