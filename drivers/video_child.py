"""The decoder of one camera, in a process of its own that may be killed at any moment: `python -m drivers.video_child`.

Settings (`Order`) come as one line of JSON on the standard input, so that no password stands in the arguments; the
input stays open for as long as somebody wants pictures. On the standard output comes one line of JSON for each picture
that was looked at (`video_health.Picture`), before that `ready` (OpenCV is loaded) and `open`, and `end` with a reason
in words where it has one. What an eye (`agent/vision.py`) sees in the pictures comes as `seen`. Pixels leave this
process only into the ring of the camera on the disk, where it has one (`video_ring.py`); how that goes comes as `ring`.

It grabs every picture at the camera's pace and looks at the newest one every `sample` s, so nothing queues up. It never
tries again: it ends, and its parent decides.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import stat
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from msgspec import Struct

from agent import child
from agent.sights import AnyTask

from .video_health import HIGH, WIDE, Picture
from .video_ring import Keep, Kept, Recorder, Veil

LOOKED_AT = 320  # pixels of width, that numbers do not depend on the camera's resolution
BLACK, WHITE = 24, 250  # grey below and from which a pixel counts as black or white; project
ENDED = "the file has ended"
DAMAGED = (
    10  # pictures in a row that cannot be decoded, until the stream is given up; a stream that ended fails at once
)
FIRST_TO_GO = "500"  # of 1000: where memory runs out, before the agent, after an encoder
SINK = "video/x-raw,format=BGR ! appsink drop=true max-buffers=1"  # end of each pipeline: the newest picture only
IOLBF = 1  # setvbuf(3): line by line
OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|analyzeduration;1000000"  # of FFmpeg: TCP, and an open within the limit


class Order(Struct, frozen=True, kw_only=True):
    """What the parent wants."""

    url: str  # with user and password where there are any
    parent: int  # process id
    sample: float  # s between two looks
    width: int  # pixels; of a larger picture
    height: int  # only a reduced copy is looked at, and a local camera is asked for this size
    opening: float  # s to open
    reading: float  # s to the next picture
    loop: bool  # a file begins again at its end
    hardware: bool = False  # decode by hardware where the build can
    tasks: dict[str, AnyTask] = {}  # what to look for besides
    keep: Keep | None = None  # of what the camera shows; None: nothing


class Seen(Struct, frozen=True, omit_defaults=True):
    """What an eye saw in one picture."""

    at: float  # monotonic s when the picture was taken
    value: list[float | None]  # of its columns; None: it cannot say
    task: str  # what it looked for
    why: str = ""  # it sees less than it should
    doubts: bool = False  # what it says is UNCERTAIN


class Said(Struct, frozen=True, omit_defaults=True):
    """One line to the parent."""

    say: str  # ready, open, picture, seen, ring, end
    picture: Picture | None = None
    seen: Seen | None = None
    ring: Kept | None = None
    why: str = ""  # end: in words


Say = Callable[[Said], None]


class Eye(Protocol):
    """What looks at pictures for something else than the camera's own state. It may take longer than a picture does."""

    why: str  # it sees less than it should; empty: it does not
    doubts: bool  # what it said last is UNCERTAIN

    def look(self, at: float, picture: Any) -> list[float] | None:
        """The columns of its task, NaN where it cannot say, of a picture (h, w, 3) uint8 BGR taken at monotonic s.

        None: it has nothing to say yet.
        """


class Taker(Protocol):
    """Who has a use for pictures, in its own time. It never blocks."""

    def wants(self, at: float) -> bool:
        """Whether it would take a picture of `at`, monotonic s."""

    def offer(self, image: Any, at: float) -> None:
        """A picture (h, w, 3) that nobody will change."""


class Gaze:
    """An eye at work, in a thread of its own: it looks at the newest picture when it is free, and misses the others."""

    def __init__(self, task: str, eye: Eye, rate: float, say: Say) -> None:
        self.task, self.eye, self.pause, self.say = task, eye, 0.9 / rate, say
        self._due = 0.0
        self._newest: tuple[float, Any] | None = None
        self._bell = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def wants(self, at: float) -> bool:
        """Whether it would look at a picture taken now."""
        return at >= self._due and self._newest is None

    def offer(self, image: Any, at: float) -> None:
        """A picture that nobody else will change."""
        with self._bell:
            self._newest = at, image
            self._bell.notify()

    def _run(self) -> None:
        while True:
            with self._bell:
                while self._newest is None:
                    self._bell.wait()
                at, image = self._newest
            self._due = at + self.pause
            told = self.eye.look(at, image)
            self._newest = None
            if told is not None:
                value = [None if math.isnan(one) else one for one in told]
                self.say(Said("seen", seen=Seen(at, value, self.task, self.eye.why, self.eye.doubts)))


def taken() -> Say:
    """How to speak to the parent. What libraries print goes to standard error now, line by line: FFmpeg's log."""
    # Open for as long as the process lives: an end of it is what the parent takes for an end of this.
    lines = os.fdopen(os.dup(1), "wb", closefd=False)
    os.dup2(2, 1)
    libc = ctypes.CDLL(None)
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, IOLBF, 0)

    turn = threading.Lock()

    def say(said: Said) -> None:
        line = msgspec.json.encode(said) + b"\n"
        with turn:
            lines.write(line)
            lines.flush()

    return say


# -- one picture --------------------------------------------------------------------------------------


def picture(cv2: Any, image: Any, at: float, pts: float, count: int) -> Picture:
    """The numbers of one picture (h, w, 3) or (h, w) uint8."""
    content = zlib.crc32(np.ascontiguousarray(image).data)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    if grey.shape[1] > LOOKED_AT:
        height = max(1, round(grey.shape[0] * LOOKED_AT / grey.shape[1]))
        grey = cv2.resize(grey, (LOOKED_AT, height), interpolation=cv2.INTER_AREA)
    n = grey.size
    smooth = cv2.GaussianBlur(grey, (3, 3), 0).astype(np.float32)  # less of the sensor's noise
    variance = float(smooth.var())
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.25), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.25)
    fine = cv2.Laplacian(smooth, cv2.CV_32F)
    edges = cv2.resize(cv2.magnitude(across, down), (WIDE, HIGH), interpolation=cv2.INTER_AREA)
    return Picture(
        at=at,
        pts=pts,
        count=count,
        content=content,
        mean=float(grey.mean()),
        black=float((grey < BLACK).sum()) / n,
        white=float((grey >= WHITE).sum()) / n,
        texture=variance**0.5,
        sharp=float((fine * fine).mean()) / (variance + 1.0),
        scene=np.clip(4.0 * edges, 0, 255).astype(np.uint8).tobytes(),
    )


# -- the stream ---------------------------------------------------------------------------------------


def pipeline(url: str) -> str:
    """The pipeline of GStreamer that `gst://...` is, for cameras that only it opens: CSI by libcamera; else empty.

    >>> pipeline("gst://libcamerasrc ! video/x-raw,width=1280 ! videoconvert")
    'libcamerasrc ! video/x-raw,width=1280 ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1'
    """
    scheme, _, rest = url.partition("://")
    return f"{rest} ! {SINK}" if scheme == "gst" else ""


def is_device(url: str) -> bool:
    """Whether it is a local camera."""
    return url.startswith("/dev/")


def obstacle(cv2: Any, url: str) -> str:
    """Why a local device or file cannot be opened, in words; empty for anything that may be tried."""
    if pipeline(url) and "GStreamer:                   YES" not in cv2.getBuildInformation():
        return "this build of OpenCV has no GStreamer: take the distribution's (python3-opencv), or another url"
    if "://" in url:
        return ""
    try:
        mode = os.stat(url).st_mode
    except FileNotFoundError:
        return f"no such {'device' if is_device(url) else 'file'}"
    except OSError as error:
        return str(error.strerror)
    if stat.S_ISDIR(mode):
        return "is a folder, not a stream"
    return "" if os.access(url, os.R_OK) else "may not be read: add the user to the group of the device"


def opened(cv2: Any, order: Order) -> Any:
    """A capture by the back-end that suits; its time-outs are given at the opening, later they do nothing."""
    if is_device(order.url):
        capture = cv2.VideoCapture(order.url, cv2.CAP_V4L2)
        for wish, value in (("FRAME_WIDTH", order.width), ("FRAME_HEIGHT", order.height), ("BUFFERSIZE", 1)):
            capture.set(getattr(cv2, f"CAP_PROP_{wish}"), value)  # at the opening one refused wish would refuse all
        return capture
    if pipe := pipeline(order.url):
        return cv2.VideoCapture(pipe, cv2.CAP_GSTREAMER)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1000 * order.opening)]
    limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(1000 * order.reading)]
    if order.hardware:  # where the build has a decoder of the machine; else FFmpeg goes on with its own
        limits += [cv2.CAP_PROP_HW_ACCELERATION, cv2.VIDEO_ACCELERATION_ANY]
    return cv2.VideoCapture(order.url, cv2.CAP_FFMPEG, [*limits, cv2.CAP_PROP_N_THREADS, 1])


def watch(cv2: Any, order: Order, say: Say, takers: Sequence[Taker] = ()) -> str:
    """Say what the stream shows until it ends, and let `takers` have the pictures that they want.

    Why it ended, in words; empty where FFmpeg said it on standard error.
    """
    if why := obstacle(cv2, order.url):
        return why
    count, offset = 0, 0.0  # s that earlier rounds of a file took
    is_file = "://" not in order.url and not is_device(order.url)
    while True:
        began = time.monotonic()
        capture = opened(cv2, order)
        if not capture.isOpened():
            if is_device(order.url):
                return "cannot be opened: no camera, or another program has it"
            took = time.monotonic() - began
            return f"no answer in {order.opening:g} s" if took >= 0.9 * order.opening else ""
        say(Said("open"))
        due, pts, first, failed = 0.0, 0.0, count, 0
        began = asked = time.monotonic()
        while failed < DAMAGED and time.monotonic() - asked < 0.9 * order.reading:
            asked = time.monotonic()
            if not capture.grab():
                failed += 1
                continue
            count, failed = count + 1, 0
            pts = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            if is_file:
                time.sleep(max(0.0, min(1.0, began + pts - time.monotonic())))
            asked = at = time.monotonic()
            eager = [one for one in takers if one.wants(at)]
            if at < due and not eager:
                continue
            ok, image = capture.retrieve()
            if not ok:
                continue
            for one in eager:
                one.offer(image, at)
            if at < due:
                continue
            due = at + order.sample
            scale = min(1.0, order.width / image.shape[1], order.height / image.shape[0])
            if scale < 1.0:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            say(Said("picture", picture(cv2, image, at, offset + pts, count)))
        capture.release()
        if not (is_file and order.loop and count > first):
            took = time.monotonic() - asked
            if is_file:
                return ENDED if count > first else "not a stream"
            return f"no picture for {took:.1f} s" if took >= 0.9 * order.reading else "the stream was closed"
        offset += pts


def main(
    opened_eyes: Callable[[Order], Mapping[str, Eye]] = lambda order: {},
    veiled: Callable[[Order], Veil | None] = lambda order: None,
) -> int:
    """Ends with its parent, whatever it is doing. opened_eyes: what else looks at the pictures, by task; veiled: what
    makes unknowable whom nobody may know, before a picture is kept."""
    order = msgspec.json.decode(sys.stdin.buffer.readline() or b"null", type=Order | None)
    if order is None:
        return 1
    if not child.bound(order.parent):
        return 1

    def outlive_nobody() -> None:
        sys.stdin.buffer.read()
        child.leave(0)

    def die(failed: threading.ExceptHookArgs) -> None:
        traceback.print_exception(failed.exc_type, failed.exc_value, failed.exc_traceback)
        child.leave(70)  # an eye that fails is no eye: the parent says so, and starts another

    threading.excepthook = die
    threading.Thread(target=outlive_nobody, daemon=True).start()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    say = taken()
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = OPTIONS
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "24"  # AV_LOG_WARNING: where a 401 is told
    os.environ["OPENCV_LOG_LEVEL"] = "ERROR"
    os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(max(1, int(order.reading)))  # s; 10 where not set
    try:
        import cv2
    except ImportError as error:
        say(Said("end", why=f'OpenCV is not there ({error}): pip install "vedette[video]"'))
        return 0
    cv2.setNumThreads(1)  # a picture of 320 pixels; the other cores belong to the agent and the other cameras
    takers: list[Taker] = [Gaze(task, eye, order.tasks[task].rate, say) for task, eye in opened_eyes(order).items()]
    recorder = None
    if order.keep is not None:
        recorder = Recorder(cv2, order.keep, veiled(order), lambda kept: say(Said("ring", ring=kept)))
        takers.append(recorder)
    say(Said("ready"))
    why = watch(cv2, order, say, takers)
    if recorder is not None:
        recorder.settle()
    say(Said("end", why=why))
    return 0


if __name__ == "__main__":
    child.leave(main())  # no clean-up of threads of FFmpeg that may hang
