"""Pictures and clips: read by a thread, a piece at a time, and never anything but what a manifest names."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from .. import evidence, reels
from . import glance

if TYPE_CHECKING:
    from .app import Door

PIECE = 128 * 1024  # bytes read at once
AT_ONCE = 8  # files on their way
KINDS = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".jpg": "image/jpeg",
    ".csv": "text/csv",
    ".json": "application/json",
}


def allowed(door: Door, request: Request) -> None:
    """Raises `HTTPException` for whoever may not see pictures."""
    if door.web.pictures != "all" and door.session(request) is None:
        raise HTTPException(403)


async def still(door: Door, request: Request) -> Response:
    """The newest picture in the ring of a camera: masked and veiled as everything that is kept."""
    allowed(door, request)
    ring = glance.camera_rings(door.desk).get(request.path_params["of"])
    picture = await door.hand.do(newest, ring) if ring is not None else None
    if picture is None:
        raise HTTPException(404)
    return Response(picture, media_type="image/jpeg")


def newest(ring: Path) -> bytes | None:
    """The last whole picture of a ring."""
    for reel in reversed(reels.found(ring)[-2:]):
        try:
            _, shots = reels.shots(reel.path)
        except OSError:
            continue  # the ring needed the room
        if last := deque(shots, maxlen=1):
            return last[0].jpeg
    return None


async def piece(door: Door, request: Request) -> Response:
    """A file of a piece of evidence, or a part of it: players ask for stretches."""
    allowed(door, request)
    id, name = request.path_params["of"], request.path_params["name"]
    path = await door.hand.do(found, Path(door.desk.config.evidence.path), id, name)
    if path is None:
        raise HTTPException(404)
    if door.files >= AT_ONCE:
        raise HTTPException(503)
    try:
        file, size = await door.hand.do(opened, path)
    except OSError:
        raise HTTPException(404) from None
    begin, end = stretch(request.headers.get("range", ""), size)
    if begin > end:
        await door.hand.do(file.close)
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    part = "range" in request.headers and (begin, end) != (0, size - 1)
    return Stretch(door, file, begin, end, size, part, KINDS.get(path.suffix, "application/octet-stream"))


def found(shelf: Path, id: str, name: str) -> Path | None:
    """The file of that name, if the manifest of that piece names it. Blocks."""
    if not evidence.is_name(id):
        return None
    try:
        known = {one.name for one in evidence.read(shelf / id).files} | {evidence.MANIFEST}
    except (OSError, ValueError):
        return None
    return shelf / id / name if name in known and "/" not in name else None


def opened(path: Path) -> tuple[IO[bytes], int]:
    file = path.open("rb")
    return file, path.stat().st_size


def stretch(text: str, size: int) -> tuple[int, int]:
    """First and last byte that a `Range` header asks for; the first behind the last where there is nothing.

    >>> stretch("bytes=2-", 10), stretch("bytes=-3", 10), stretch("bytes=20-30", 10), stretch("", 10)
    ((2, 9), (7, 9), (1, 0), (0, 9))
    """
    unit, _, spec = text.partition("=")
    first, dash, last = spec.partition("-")
    if unit.strip() != "bytes" or not dash or "," in spec or not (first + last).isdecimal() or len(spec) > 40:
        return 0, size - 1
    if not first:
        return max(0, size - int(last)), size - 1
    begin, end = int(first), min(int(last or size - 1), size - 1)
    return (begin, end) if begin <= end else (1, 0)


class Stretch(Response):
    """A part of a file, sent as fast as it is taken."""

    def __init__(self, door: Door, file: IO[bytes], begin: int, end: int, size: int, part: bool, kind: str) -> None:
        headers = {"Content-Length": str(end - begin + 1), "Accept-Ranges": "bytes"}
        if part:
            headers["Content-Range"] = f"bytes {begin}-{end}/{size}"
        super().__init__(status_code=206 if part else 200, headers=headers, media_type=kind)
        self.headers["content-length"] = str(end - begin + 1)
        self.door, self.file, self.begin, self.end = door, file, begin, end

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.door.files += 1
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            at = self.begin
            while at <= self.end and scope["method"] != "HEAD":
                piece = await self.door.hand.do(read, self.file, at, min(PIECE, self.end - at + 1))
                if not piece:
                    break
                at += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": at <= self.end})
            if at <= self.end or scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self.door.files -= 1
            self.door.hand.do(self.file.close)


def read(file: IO[bytes], at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)
