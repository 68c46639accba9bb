"""What the camera's child does with pictures for the ring: reduce, cover, compress, write. Two threads beside the
decoder, which never waits for them.

One thread makes JPEGs of the newest picture that it was offered; a second one writes them. What comes faster than that
costs pictures of the ring, counted: a slow disk, a full one, a net that is still looking for faces. A picture that
could not be covered as it should be is not kept.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from agent.reels import Head, Ring, Shot

WAITING = 4 << 20  # bytes of JPEGs that wait for the disk; what comes beyond is lost
SETTLING = 1.0  # s for what waits when the stream has ended
TELLING = 1.0  # s between two words on how it goes, where there is news
SOUND = 5.0  # s without a loss, after which all is well again
PAUSE = 1.0  # s without a try after the disk refused a picture

Veil = Callable[[Any], Any]  # a picture (h, w, 3) -> the same with what nobody may know made unknowable


class Keep(Struct, frozen=True, kw_only=True):
    """What is to be kept of a camera, for its child."""

    folder: str  # of the ring
    camera: str
    kernel: str  # which run of the kernel this is
    rate: float  # pictures/s, at most
    width: int  # pixels, at most
    quality: int  # of the JPEG, %
    budget: int  # bytes of the ring
    span: float  # s of a reel
    floor: int  # bytes of the disk that stay free
    masks: tuple[tuple[tuple[float, float], ...], ...]  # polygons, as shares of width and height
    blur: str = ""  # a net that finds faces, which are to be made unknowable; empty: nothing is


class Kept(Struct, frozen=True, omit_defaults=True):
    """How it went, since the child began."""

    written: int = 0  # pictures
    lost: int = 0  # pictures
    why: str = ""  # what is wrong now, in words


def covered(cv2: Any, image: Any, masks: tuple[tuple[tuple[float, float], ...], ...]) -> Any:
    """A copy of the picture (h, w, 3) with the polygons painted over, in one colour, for good."""
    image = image.copy()
    high, wide = image.shape[:2]
    for mask in masks:
        corners = np.rint(np.array(mask) * (wide, high)).astype(np.int32)
        cv2.fillPoly(image, [corners], (40, 40, 40))
    return image


class Recorder:
    """The ring of one camera, fed by `offer`."""

    def __init__(
        self, cv2: Any, keep: Keep, veil: Veil | None = None, tell: Callable[[Kept], None] = lambda kept: None
    ) -> None:
        self.cv2, self.keep, self.veil, self.tell = cv2, keep, veil, tell
        self._told, self._telling = Kept(why="nothing was said yet"), 0.0  # and when next, monotonic s
        head = Head(keep.camera, keep.kernel, keep.masks, veil is not None)
        self._ring = Ring(Path(keep.folder), head, keep.budget, keep.span, keep.floor)
        self._news = threading.Condition()
        self._offered: tuple[float, float, Any] | None = None  # monotonic s, wall s, picture
        self._waiting: deque[Shot] = deque()
        self._bytes = 0  # of these
        self._busy = 0  # pictures between the one place and the other
        self._written = self._lost = 0
        self._why = ""  # what was wrong last
        self._bad = float("-inf")  # when, monotonic s
        self._due = 0.0
        for work in (self._compress, self._write):
            threading.Thread(target=work, daemon=True).start()

    def wants(self, at: float) -> bool:
        """Whether a picture is due at `at`, monotonic s."""
        return at >= self._due

    def offer(self, image: Any, at: float) -> None:
        """A picture (h, w, 3) or (h, w) of `at`, monotonic s. Never blocks; it must not be changed afterwards."""
        if at >= self._telling:
            kept, self._telling = self.kept(), at + TELLING
            if (kept.lost, kept.why) != (self._told.lost, self._told.why) and (kept.written or kept.why):
                self._told = kept
                self.tell(kept)
        period = 1.0 / self.keep.rate
        self._due = max(self._due + period, at + 0.5 * period)  # in step with the rate, not with the camera
        with self._news:
            self._lost += self._offered is not None
            self._offered = at, time.time(), image
            self._news.notify_all()

    def kept(self) -> Kept:
        """How it goes."""
        with self._news:
            why = self._why if time.monotonic() - self._bad < SOUND else ""
            return Kept(self._written, self._lost, why)

    def _miss(self, why: str) -> None:
        """A picture was lost."""
        self._lost += 1
        self._why, self._bad = why, time.monotonic()

    def settle(self) -> None:
        """Wait a little until what was offered is written."""
        with self._news:
            self._news.wait_for(lambda: self._offered is None and not self._busy and not self._waiting, SETTLING)

    # -- threads ----------------------------------------------------------------------------------

    def _compress(self) -> None:
        while True:
            with self._news:
                while self._offered is None:
                    self._news.wait()
                (mono, wall, image), self._offered = self._offered, None
                self._busy += 1
            shot, why = self._shot(mono, wall, image)
            with self._news:
                self._busy -= 1
                self._news.notify_all()
                if shot is None or self._bytes + len(shot.jpeg) > WAITING:
                    self._miss(why or "the disk is too slow")
                    continue
                self._waiting.append(shot)
                self._bytes += len(shot.jpeg)

    def _shot(self, mono: float, wall: float, image: Any) -> tuple[Shot | None, str]:
        """The picture as it is kept; or None, and why."""
        cv2 = self.cv2
        try:
            if self.veil is not None:
                image = self.veil(image)
            scale = self.keep.width / image.shape[1]
            if scale < 1.0:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            if self.keep.masks:
                image = covered(cv2, image, self.keep.masks)
            _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.keep.quality])
        except Exception as error:  # whatever a net does: what is not covered is not kept
            return None, f"a picture could not be covered or compressed: {error}"
        return Shot(mono, wall, jpeg.tobytes()), ""

    def _write(self) -> None:
        refused = -PAUSE
        while True:
            with self._news:
                while not self._waiting:
                    self._news.wait()
                shot = self._waiting.popleft()
                self._bytes -= len(shot.jpeg)
                self._busy += 1
            why = self._why
            if is_tried := time.monotonic() - refused >= PAUSE:
                try:
                    self._ring.put(shot)
                    why = ""
                except OSError as error:
                    refused, why = time.monotonic(), f"{error.strerror or error}"
            with self._news:
                self._busy -= 1
                self._news.notify_all()
                if is_tried and not why:
                    self._written += 1
                else:
                    self._miss(why)
