"""A clip and stills out of reels, in a process of its own at the lowest priority: `python -m drivers.clip`.

The job (`evidence.Job`) comes as one line of JSON on the standard input, which stays open for as long as somebody wants
it; on the standard output come lines of how far it is, and at last of what was made (`evidence.Made`). It may be killed
at any moment and done again: it reads reels and writes into a folder of its own.

The clip has a steady rate, so that picture k is of `begin` + k / rate whatever the camera did: each shows the newest
that there was, and where there was none for a second, grey with words. MP4 with VP9 and WebM with VP8 are what OpenCV's
wheel can write and browsers play; H.264 is not in it. The speed of VP9 cannot be set there, so it costs what it costs.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from agent import child
from agent.evidence import Clip, Job, Made
from agent.reels import Shot, shots

CODECS = {"mp4": ("vp09", "VP9"), "webm": ("VP80", "VP8")}  # format -> what OpenCV calls it, what people do
GAP = 1.0  # s without a picture, from which on it is said
STILL = 0.5  # s that a still may be off


def seen(job: Job) -> tuple[list[Shot], int]:
    """The pictures of the job's time, in order, each once; and how many reels were damaged from the beginning."""
    found: dict[float, Shot] = {}
    damaged = 0
    for path in job.reels:
        try:
            head, pictures = shots(Path(path))
        except OSError:
            head, pictures = None, iter(())
        damaged += head is None
        if head is not None and head.kernel == job.kernel:
            found |= {shot.mono: shot for shot in pictures if job.begin <= shot.mono <= job.end}
    return [found[mono] for mono in sorted(found)], damaged


def gaps(times: Sequence[float], begin: float, end: float, least: float) -> tuple[tuple[float, float], ...]:
    """Where there is no picture for longer than `least` s.

    >>> gaps([0.0, 1.0, 5.0], 0.0, 6.0, 2.0)
    ((1.0, 5.0),)
    """
    row = [begin, *times, end]
    return tuple((lo, hi) for lo, hi in itertools.pairwise(row) if hi - lo > least)


def size(width: int, height: int, wide: int) -> tuple[int, int]:
    """Of the clip: at most `wide`, even, for colours are halved.

    >>> size(1920, 1080, 1280), size(321, 241, 640)
    ((1280, 720), (320, 240))
    """
    scale = min(1.0, wide / width)
    return max(2, round(width * scale) // 2 * 2), max(2, round(height * scale) // 2 * 2)


def pictures(cv2: Any, job: Job, taken: Sequence[Shot], least: float) -> Iterator[Any]:
    """The pictures of the clip (h, w, 3), at a steady rate."""
    times = [shot.mono for shot in taken]
    first = cv2.imdecode(np.frombuffer(taken[0].jpeg, np.uint8), cv2.IMREAD_COLOR)
    wide, high = size(first.shape[1], first.shape[0], job.wide)
    grey = np.full((high, wide, 3), 96, np.uint8)
    cv2.putText(grey, "no picture", (wide // 8, high // 2), cv2.FONT_HERSHEY_SIMPLEX, wide / 640, (230, 230, 230), 2)
    last, shown = -1, grey
    for k in range(max(1, round((job.end - job.begin) * job.rate))):
        t = job.begin + k / job.rate
        i = bisect.bisect_right(times, t + 0.5 / job.rate) - 1
        if i < 0 or t - times[i] > least:
            yield grey
            continue
        if i != last:
            image = cv2.imdecode(np.frombuffer(taken[i].jpeg, np.uint8), cv2.IMREAD_COLOR)
            last = i
            shown = grey if image is None else image
            if shown.shape[:2] != (high, wide):
                shown = cv2.resize(shown, (wide, high), interpolation=cv2.INTER_AREA)
        yield shown


def stills(job: Job, taken: Sequence[Shot]) -> dict[str, tuple[float, ...]]:
    """Write the pictures nearest to the wanted moments, as they stand in the ring. Their times. Raises `OSError`."""
    found: dict[str, tuple[float, ...]] = {}
    for id, moments in job.stills.items():
        nearest = [min(taken, key=lambda shot: abs(shot.mono - moment)) for moment in moments]
        near = [shot for shot, moment in zip(nearest, moments, strict=True) if abs(shot.mono - moment) <= STILL]
        near = list({shot.mono: shot for shot in near}.values())
        folder = Path(job.out) / id
        folder.mkdir()
        for i, shot in enumerate(near, 1):
            with (folder / f"still-{i}.jpg").open("wb") as file:
                file.write(shot.jpeg)
                file.flush()
                os.fsync(file.fileno())
        found[id] = tuple(shot.mono for shot in near)
    return found


def made(cv2: Any, job: Job, say: Any) -> Made:
    """The clip and the stills. Raises `OSError`."""
    taken, torn = seen(job)
    least = max(GAP, 3.0 / job.rate)
    holes = gaps([shot.mono for shot in taken], job.begin, job.end, least)
    clip = Clip(begin=job.begin, end=job.end, torn=torn, gaps=holes, shown=len(taken))
    if not taken:
        return Made(clip=replace(clip, why="no picture of this time"))
    still = stills(job, taken)
    path = Path(job.out) / f"clip.{job.format}"
    fourcc, codec = CODECS[job.format]
    writer, count, shape = None, 0, (0, 0)
    for image in pictures(cv2, job, taken, least):
        if writer is None:
            shape = (image.shape[1], image.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*fourcc), job.rate, shape)
            if not writer.isOpened():
                return Made(clip=replace(clip, why=f"this OpenCV writes no {codec}"), stills=still)
        writer.write(image)
        count += 1
        say(Made(done=count))
    if writer is not None:
        writer.release()
    say(Made(done=count))
    if (there := counted(cv2, path)) != count:
        path.unlink(missing_ok=True)
        return Made(clip=replace(clip, why=f"only {there} of {count} pictures can be read again"), stills=still)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return Made(
        clip=replace(clip, codec=codec, width=shape[0], height=shape[1], fps=job.rate, pictures=count), stills=still
    )


def counted(cv2: Any, path: Path) -> int:
    """How many pictures of a file can be read."""
    capture, n = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), 0
    while capture.isOpened() and capture.grab():
        n += 1
    capture.release()
    return n


def last_in_line(score: int) -> None:
    """Where memory runs out, this process goes before the agent."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(score))


def main() -> int:
    """Ends with its parent, whatever it is doing."""
    with contextlib.suppress(OSError):  # the unit of systemd forbids the first
        os.nice(19)
    last_in_line(1000)
    job = msgspec.json.decode(sys.stdin.buffer.readline() or b"null", type=Job | None)
    if job is None:
        return 1
    if not child.bound(job.parent):
        return 1

    def outlive_nobody() -> None:
        sys.stdin.buffer.read()
        child.leave(0)

    threading.Thread(target=outlive_nobody, daemon=True).start()
    lines = os.fdopen(os.dup(1), "wb", closefd=False)  # open until the process ends, as in `video_child.py`
    os.dup2(2, 1)  # what libraries print is no answer

    def say(one: Made) -> None:
        lines.write(msgspec.json.encode(one) + b"\n")
        lines.flush()

    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "16"  # AV_LOG_ERROR
    os.environ["OPENCV_LOG_LEVEL"] = "ERROR"
    try:
        import cv2

        cv2.setNumThreads(1)
        result = made(cv2, job, say)
    except ImportError as error:
        result = Made(clip=Clip(why=f"OpenCV is not there ({error})"))
    except OSError as error:
        result = Made(clip=Clip(why=f"it could not be written: {error.strerror or error}"))
    say(result)
    return 0


if __name__ == "__main__":
    child.leave(main())
