"""A network camera: MJPEG over HTTP on this machine, with everything that goes wrong with cameras.

The scene is drawn: a textured background that stands, something that moves through it, and a little noise. `fault` may
be changed at any moment, also while somebody watches; `heal` takes it away. Nothing here knows the driver: on the other
side is FFmpeg.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

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


class CameraServer:
    """One camera that listens on a free port of this machine from `start` to `stop`."""

    def __init__(self, user: str = "", password: str = "", fps: float = 12.0, scene: Scene | None = None) -> None:
        self.scene = scene or Scene()
        self.fps = fps
        self.port = 0
        self.sent = 0  # pictures
        self.fault: Fault = ""
        self._key = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/stream"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def fail(self, fault: Fault) -> None:
        """From now on it does this."""
        self.fault = fault
        if fault == "refuse":
            await self.stop()
        elif self._server is None:
            await self.start()

    async def heal(self) -> None:
        await self.fail("")

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if self.fault == "mute":
                await reader.read()  # until the other side has enough of it
            elif self.fault == "unauthorised" or (self._key and f"Basic {self._key}" not in request):
                writer.write(b'HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="camera"\r\n\r\n')
            elif self.fault == "no-stream":
                writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>please log in</html>")
            else:
                writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=picture\r\n\r\n")
                await self._stream(writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # who watched went away
        finally:
            writer.close()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        dead = False
        while self.fault != "close":
            dead |= self.fault == "dead"
            if self.fault != "stall" and not dead:
                body = self._jpeg(self.sent, self.fault)
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                writer.write(BOUNDARY + head + body + b"\r\n")
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
