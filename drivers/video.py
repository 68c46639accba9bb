"""A camera as a source: its settings and the driver. Channels are *states of the camera*, no pictures.

One `Video` is one camera. A child (`video_child.py`) decodes and says numbers, for OpenCV may block for as long as it
likes; what they mean is `video_health.py`. Here the child is started, watched, killed when it is silent, and started
again.

Other drivers raise when their line is lost, and `keep` starts them again. A camera that is away must still say so in
each period (`offline` = 1), and what was learnt of its scene must outlive the connection; so this one opens again by
itself, with pauses of its own. It raises only what is our own mistake.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import math
import os
import random
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import quote, urlsplit

import msgspec
import numpy as np
from msgspec import Meta, Struct, structs

from agent import child, reels, secret
from agent.clock import kernel
from agent.core.errors import LineLost
from agent.core.frame import Frame, Instant, Layout, Quality, frame, layout
from agent.core.ports import Clock, Driver, Event, Format, Orders, Span, Witness
from agent.core.words import WIRING, Language
from agent.sights import TASKS, AnyTask, Beach, Cabin, Polygon, Road, Zones

from . import video_health as health
from .video_child import ENDED, Order, Said, Seen, is_device
from .video_health import Limits
from .video_ring import Keep, Kept

CHILD = "drivers.video_child"  # what decodes
EYES = "agent.vision"  # the same with eyes; a program above this one, known by its name only

KEYS = (
    "offline",  # 1: no connection that gives pictures
    "stalled",  # 1: there is one, and no new picture comes
    "frozen",  # 1: pictures come, and their content does not change
    "black",
    "covered",  # 1: hardly any texture, and neither black nor overexposed
    "defocused",
    "overexposed",
    "moved",  # 1: the scene is shifted against the usual one, or is another one
    "fps",
    "age",  # s of the newest picture; before the first one since the start
    "brightness",
    "sharpness",  # % of what is usual in such light
)
UNITS = ("",) * 8 + ("1/s", "s", "%", "%")
ALWAYS = np.isin(KEYS, ("offline", "fps", "age"))  # known without a picture
AGES = np.isin(KEYS, ("brightness",))  # as old as the newest picture; it goes stale for all that cannot be told

SCHEMES = ("http", "https", "rtsp", "rtsps", "gst")
STARTING = 15.0  # s until the child has loaded OpenCV: from a cold card
SILENT = 5.0  # s without progress, after which a child is killed; reliability T14
READING = 0.8  # of it, for the next picture,
OPENING = 4.0  # and s to open: the child gives up before it is killed, and can say why
FIRST, LONGEST = 1.0, 3.0  # s between two tries, doubling, half of it by chance: with 4 s of opening below 10 s in all
STEADY = 5.0  # s of pictures after which a camera is told to be back, and the pauses begin from FIRST again
GOODBYE = 2.0  # s that a killed child may take to be gone; one that sits in a broken kernel driver takes longer
STALE = 15.0  # s after which what is not seen is blind: a connection may be lost and found again in between
BYTES = 0.06  # of a JPEG for each pixel of a picture of 16:9, by its width squared; project, from a street at 75 %
REASONS = 8  # different reasons that are told of one outage
PASSED = (
    "PATH",
    "HOME",
    "LANG",
    "TZ",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "VEDETTE_MODELS",
)  # environment of the child: no secrets of others

RING_TROUBLE, RING_RECOVERED = "ring-trouble", "ring-recovered"  # kinds of events: `agent/clerk.py` hears them

MEANS = (  # of what FFmpeg says on standard error -> for people; the first that fits
    (
        r"^vedette: the process died",
        "the process that looks at it was killed: out of memory, or a crash (journalctl -k)",
    ),
    (r"\b401\b|Unauthorized", "wrong user or password (401)"),
    (r"\b403\b|Forbidden", "user has no right to this stream (403)"),
    (r"\b404\b|Not Found", "no such stream here (404): check the path"),
    (r"\b5\d\d\b Server|Server returned 5", "the camera reports an error of its own"),
    (r"Connection refused", "connection refused: is the camera on, is the port right?"),
    (r"No route to host|[Uu]nreachable", "no way to the camera: check cable, switch and address"),
    (r"resolve hostname|Name or service|name resolution", "no camera of this name: check the address"),
    (r"End of file|ends prematurely", "closed at once: not a stream, or the camera gives no more of them"),
    (r"timed out|Immediate exit requested", "no answer in time"),
    (r"Invalid data|moov atom|[Nn]o start code|misdetection|Could not find codec|Unsupported", "not a stream"),
)


class Evidence(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of the pictures: a ring on the disk, and from it a clip for each alarm."""

    looks_at: list[str] = []  # channels whose alarms it shows, `source/key`, wildcards allowed; its own always
    before: Annotated[float, Meta(ge=0, le=30)] = 5.0  # s of a clip before the decision
    after: Annotated[float, Meta(ge=0, le=30)] = 5.0  # s after it
    clips: list[Span] = []  # other times for the alarms of some rules
    mask: list[Polygon] = []  # painted over before anything is written; corners as shares of width and height
    blur: str = ""  # a net of `vedette models` that finds faces: they are made unknowable; empty: they stay
    rate: Annotated[float, Meta(ge=0.2, le=30)] = 10.0  # pictures/s
    width: Annotated[int, Meta(ge=64, le=3840)] = 1280  # pixels; what is wider is reduced
    quality: Annotated[int, Meta(ge=10, le=100)] = 75  # of the JPEGs, %
    ring_mb: Annotated[float, Meta(ge=1)] = 64.0  # MB of the ring; a minute or two of such pictures
    ring: str = ""  # folder of the ring: a RAM disk spares a card; empty: with the evidence
    reel: Annotated[float, Meta(ge=0.5, le=60)] = 2.0  # s of a file of the ring: what a power cut may take
    free_mb: Annotated[float, Meta(ge=0)] | None = None  # MB of its disk that stay free; empty: as [evidence] says
    clip_width: Annotated[int, Meta(ge=64, le=3840)] = 960  # pixels; stills have the width of the ring
    format: Format = "mp4"  # VP9; "webm" is VP8, which costs a fifth of the time to make, and twice the space

    def __post_init__(self) -> None:
        if any(not 0.0 <= share <= 1.0 for polygon in self.mask for corner in polygon for share in corner):
            raise ValueError("mask: corners are shares of width and height, from 0 to 1")
        if any(not 0.0 <= seconds <= 30.0 for span in self.clips for seconds in (span.before, span.after)):
            raise ValueError("clips: before and after are from 0 to 30 s")
        if self.ring and not self.ring.startswith("/"):
            raise ValueError("ring: give the whole path of the folder, from / on")
        need = self.rate * (self.longest + 2 * self.reel) * BYTES * self.width**2
        if need > self.ring_mb * 2**20:
            raise ValueError(f"ring_mb: {need / 2**20:.0f} MB are needed for {self.longest:g} s at this rate and width")

    @property
    def longest(self) -> float:
        """s of the longest time before a decision."""
        return max([self.before, *(span.before for span in self.clips)])


class Video(Driver, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera."""

    tag: ClassVar[str] = "video"

    url: Annotated[str, Meta(min_length=1)]  # /dev/video0, rtsp://host/path, http://host/stream (MJPEG), a file, or
    # gst://PIPELINE where OpenCV has GStreamer: gst://libcamerasrc ! videoconvert for a CSI camera
    source: Annotated[str, Meta(pattern=r"^[^\s/]*$")] = ""  # name of the source; empty: that of the bus
    user: str = ""
    password: str = ""  # where it is kept, never itself: env:NAME, file:/path or credential:NAME (systemd)
    period: Annotated[float, Meta(ge=0.1, le=60)] = 1.0  # s between two frames of states
    width: Annotated[int, Meta(ge=64, le=7680)] = (
        1920  # pixels at most: what is larger is reduced before it is looked at
    )
    height: Annotated[int, Meta(ge=36, le=4320)] = 1080
    loop: bool = False  # a file begins again at its end; else the camera is offline then
    hardware: bool = False  # decode by hardware (VA-API, V4L2 M2M ...) where OpenCV's build can; else in software
    limits: Limits = Limits()  # when a state begins
    road: Road | None = None  # to look ahead: the source `<source>.road`
    zones: Zones | None = None  # to watch for people and vehicles: `<source>.zones`
    beach: Beach | None = None  # to see the water's edge of a pond: `<source>.beach`
    cabin: Cabin | None = None  # to look at the driver: `<source>.cabin`
    evidence: Evidence | None = None  # what is kept of the pictures; None: nothing

    def __post_init__(self) -> None:
        found = []
        scheme, _, rest = self.url.partition("://")
        if rest and scheme not in SCHEMES:
            found.append(f"url: {scheme}:// is not known; known are {', '.join(SCHEMES)}, a device or a file")
        place = urlsplit(self.url if rest and scheme != "gst" else "")
        if place.username or place.password:
            found.append("user and password do not belong into url; use user and password")
        if self.user and not rest:
            found.append("a device or file has no user")
        if wrong := secret.fault(self.password, self.user):
            found.append(wrong)
        if self.loop and (rest or is_device(self.url)):
            found.append("loop is for files")
        if found:
            raise ValueError("; ".join(found))

    @property
    def camera(self) -> str:
        """Name of the source."""
        return self.source or self.name

    @property
    def tasks(self) -> dict[str, AnyTask]:
        """What it is asked to look for."""
        asked = {task: getattr(self, task) for task in TASKS}
        return {task: one for task, one in asked.items() if one is not None}

    def seen_by(self, task: str) -> str:
        """Name of the source of what it sees for a task."""
        return f"{self.camera}.{task}"

    @property
    def shown(self) -> str:
        """The address for people: a query may hold a secret."""
        return self.url.partition("?")[0]

    @property
    def silent(self) -> float:
        """s without progress after which the child is killed."""
        return max(SILENT, 2 * self.limits.stalled)

    def layouts(self) -> Mapping[str, Layout]:
        n = len(KEYS)
        high = [1.0] * 8 + [math.nan, math.nan, 100.0, math.nan]
        found = {self.camera: layout(KEYS, UNITS, [0.0] * n, high, stale=max(STALE, 3 * self.period))}
        for task, one in self.tasks.items():
            key, unit, low, high = (list(column) for column in zip(*one.columns, strict=True))
            found[self.seen_by(task)] = layout(key, unit, low, high, stale=one.stale)
        return found

    def periods(self) -> Mapping[str, float]:
        return {self.camera: self.period}

    def faults(self) -> list[str]:
        """Whether there is anything to decode with."""
        if importlib.util.find_spec("cv2") is None:
            return ['a camera needs OpenCV, which is not installed: pip install "vedette[video]"']
        nets = any(one.net for one in self.tasks.values()) or self.blur
        if nets and importlib.util.find_spec("onnxruntime") is None:
            return ['a net needs ONNX Runtime, which is not installed: pip install "vedette[video]"']
        return []

    def at_home(self, shelf: str, free_mb: float) -> Video:
        kept = self.evidence
        if kept is None:
            return self
        ring = kept.ring or str(reels.folder_of(Path(shelf), self.camera))
        free = free_mb if kept.free_mb is None else kept.free_mb
        return structs.replace(self, evidence=structs.replace(kept, ring=ring, free_mb=free))

    def witness(self) -> Witness | None:
        kept = self.evidence
        if kept is None:
            return None
        return Witness(
            camera=self.camera,
            own=tuple(self.layouts()),
            ring=kept.ring,
            looks_at=tuple(kept.looks_at),
            before=kept.before,
            after=kept.after,
            clips=tuple(kept.clips),
            masks=self.masks,
            rate=kept.rate,
            wide=kept.clip_width,
            format=kept.format,
        )

    @property
    def blur(self) -> str:
        """The net that finds faces, to be blurred; empty: none is."""
        return self.evidence.blur if self.evidence is not None else ""

    @property
    def masks(self) -> tuple[tuple[tuple[float, float], ...], ...]:
        """What is painted over."""
        return tuple(tuple(polygon) for polygon in self.evidence.mask) if self.evidence is not None else ()

    def wiring(self, language: Language = "en") -> list[str]:
        w, kept = WIRING[language], self.evidence
        password = w["password" if self.password else "no password"].format(where=self.password)
        lines = [
            w["stream"].format(url=self.shown, password=password, silent=f"{self.silent:g}"),
            w["camera"].format(name=self.camera, period=f"{self.period:g}", channels=len(KEYS)),
        ]
        for task, one in self.tasks.items():
            net = w["net" if one.net else "no net"].format(net=one.net, provider=one.provider, threads=one.threads)
            what = {"channels": len(one.columns), "of": w.get(one.of, one.of), "net": net, "rate": f"{one.rate:g}"}
            lines.append(w["task"].format(name=self.seen_by(task), **what))
        if kept is not None:
            ring = {"rate": f"{kept.rate:g}", "width": kept.width, "masks": len(kept.mask), "mb": f"{kept.ring_mb:g}"}
            clip = {"before": f"{kept.before:g}", "after": f"{kept.after:g}"}
            alarms = ", ".join([w["own alarms"], *kept.looks_at])
            lines.append(w["ring"].format(name=self.camera, alarms=alarms, **ring, **clip))
        return lines

    def address(self) -> str:
        """The address with user and password. Raises `LineLost` where the password cannot be read."""
        if not self.user:
            return self.url
        word = secret.read(self.password, "ask for a stream") if self.password else ""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{quote(self.user, safe='')}:{quote(word, safe='')}@{rest}"

    async def frames(self, clock: Clock, orders: Orders) -> AsyncIterator[Frame | Event]:
        """Say how the camera is until cancelled, be it there or not. Leaves no child behind."""
        camera = Camera(self, clock)
        task = asyncio.create_task(camera.keep_open(), name=f"camera {self.camera}")
        due = clock.now().mono + self.period
        try:
            while True:
                await camera.wait(max(0.0, min(due - clock.now().mono, self.period)))
                await orders.wait(0.0)  # a camera has no outputs; who is asked for orders lives
                for item in camera.news():
                    yield item
                if task.done():
                    task.result()
                now = clock.now()
                if now.mono >= due:
                    due = max(due + self.period, now.mono)
                    yield camera.frame(now)
        finally:
            await _ended(task)

    async def once(self, clock: Clock) -> list[Frame | Event]:
        """How the camera is once pictures came for as long as a state takes, or why it is not there."""
        camera = Camera(self, clock, keeps=False)
        task = asyncio.create_task(camera.keep_open(), name=f"camera {self.camera}")
        until = clock.now().mono + STARTING + self.silent
        try:
            while not (camera.reason or camera.pictures >= 3 or task.done()) and clock.now().mono < until:
                await clock.sleep(0.05)
            if task.done():
                task.result()
            return [*camera.news(), camera.frame(clock.now())]
        finally:
            await _ended(task)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task], timeout=GOODBYE)


# -- one camera, opened again and again ---------------------------------------------------------------


class Camera:
    """One camera while its driver runs: the child, what was learnt, and what is to be told."""

    def __init__(self, video: Video, clock: Clock, rng: random.Random | None = None, keeps: bool = True) -> None:
        self.video, self.clock, self.rng = video, clock, rng or random.Random()
        self.keeps = keeps  # pictures, where the settings say so
        self.unkept = 0  # pictures that the ring lost on earlier connections
        self._child = Kept()  # how the ring goes on this one
        self._trouble = ""  # of the ring, as told
        self.memory = health.Memory()
        self.pictures = 0  # looked at on this connection
        self.reason = ""  # why there is no connection; empty: there is one, or nobody knows yet
        self.began = clock.now().mono
        self.layout = video.layouts()[video.camera]
        self._first = math.inf  # monotonic s of the first picture of this connection
        self._told: list[str] = []  # reasons of this outage
        self._dim: dict[str, str] = {}  # why an eye sees less than it should, by task, as told
        self._news: list[Event | Frame] = []
        self._bell = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Return after so long, or at once when there is news."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._bell.wait()

    def news(self) -> list[Event | Frame]:
        """What happened since the last call, and what was seen."""
        self._bell.clear()
        if self._told and self.pictures and self.memory.fresh - self._first >= STEADY:
            self._told = []
            self._tell("camera-recovered", "the camera gives pictures again")
        news, self._news = self._news, []
        return news

    def frame(self, at: Instant) -> Frame:
        """The camera's states at this moment.

        What cannot be told is NaN and UNCERTAIN: it begins and ends no alarm. That a camera is blind is said by
        `offline` and `stalled`, and for a site without a rule on these by `brightness`, which goes stale: one alarm
        for a camera, not one for each of its states.
        """
        said = health.states(self.memory, at.mono, self.video.limits)
        online = self.pictures > 0
        age = at.mono - max(self.began, self.memory.fresh)
        offline = 0.0 if online else 1.0 if self.reason else math.nan
        flags = (said.stalled, said.frozen, said.black, said.covered, said.defocused, said.overexposed, said.moved)
        seen = [math.nan if flag is None else float(flag) for flag in flags]
        value = np.array([offline, *seen, said.fps if online else 0.0, age, said.brightness, said.sharpness])
        value[~ALWAYS & (not online)] = np.nan
        quality = np.where(np.isnan(value), Quality.UNCERTAIN, Quality.GOOD)
        ages = np.where(AGES, age, 0.0)
        return frame(self.video.camera, at, self.layout, value, quality, ages)

    async def keep_open(self) -> None:
        """Open, watch, and open again; ends only with a file that ended."""
        pause = FIRST
        while True:
            why = await self._connection()
            if self.pictures and self.memory.fresh - self._first >= STEADY:
                pause = FIRST
            self.pictures = 0
            self.unkept, self._child = self.unkept + self._child.lost, Kept()
            self._lose(why)
            if why == ENDED:
                return
            await self.clock.sleep(pause * (0.5 + 0.5 * self.rng.random()))
            pause = min(LONGEST, 2 * pause)

    # -- one child ------------------------------------------------------------------------------------

    async def _connection(self) -> str:
        """One child from start to end. Why it ended, in words."""
        try:
            url = self.video.address()
        except LineLost as fault:
            return str(fault)
        order = Order(
            url=url,
            parent=os.getpid(),
            sample=min(0.5, max(0.05, self.video.period / 4)),
            width=self.video.width,
            height=self.video.height,
            opening=OPENING,
            reading=READING * self.video.silent,
            loop=self.video.loop,
            hardware=self.video.hardware,
            tasks=self.video.tasks,
            keep=self._keep(),
        )
        errors = bytearray()
        eyes = self.video.tasks or self.video.blur
        async with child.started(EYES if eyes else CHILD, order, PASSED, errors) as lines:
            why = await self._listen(lines)
        return said(why, _hidden(errors.decode(errors="replace"), url))

    def _keep(self) -> Keep | None:
        """What the child is to keep; nothing where nobody said where (`vedette test`)."""
        kept = self.video.evidence
        if kept is None or not kept.ring or not self.keeps:
            return None
        return Keep(
            folder=kept.ring,
            camera=self.video.camera,
            kernel=reels.run_of(kernel()),
            rate=kept.rate,
            width=kept.width,
            quality=kept.quality,
            budget=int(kept.ring_mb * 2**20),
            span=kept.reel,
            floor=int((kept.free_mb or 0.0) * 2**20),
            masks=self.video.masks,
            blur=kept.blur,
        )

    async def _listen(self, lines: asyncio.StreamReader) -> str:
        """Take what the child says until it ends or makes no progress. Why it ended; empty where it did not say."""
        now = asyncio.get_running_loop().time
        deadline = now() + STARTING
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    line = await lines.readline()
            except TimeoutError:
                return f"no progress for {self.video.silent:g} s"
            if not line:
                return ""
            told = msgspec.json.decode(line, type=Said)
            if told.say == "end":
                return told.why
            if told.ring is not None:
                self._hear(told.ring)
                continue
            if told.seen is not None:
                self._take(told.seen)
                continue
            if told.picture is None:
                deadline = now() + self.video.silent
                continue
            before = self.memory.fresh
            self._look(told.picture)
            if self.memory.fresh > before:
                deadline = now() + self.video.silent
                self._see()

    def _look(self, picture: health.Picture) -> None:
        """One more picture. Whoever knows a place by the picture is blind until the camera looks there again: a scene
        that it was turned to does not become the usual one."""
        before = self.memory
        self.memory = health.look(before, picture, self.video.limits)
        if before.moved.on and any(one.place for one in self.video.tasks.values()):
            self.memory = structs.replace(self.memory, scene=before.scene, fit=before.fit)

    def _hear(self, kept: Kept) -> None:
        """How the ring goes. Trouble is told once, and its end."""
        self._child, lost = kept, self.unkept + kept.lost
        if kept.why and not self._trouble:
            self._tell(RING_TROUBLE, f"{self.video.camera}: pictures are not kept: {kept.why}", lost=lost)
        elif self._trouble and not kept.why:
            self._tell(RING_RECOVERED, f"{self.video.camera}: pictures are kept again; {lost} lost", lost=lost)
        self._trouble = kept.why

    def _take(self, seen: Seen) -> None:
        """What an eye saw: a frame of its own, at once."""
        now, source, task = self.clock.now(), self.video.seen_by(seen.task), self.video.tasks[seen.task]
        blind, doubts, why = self._trusted(task, now, seen)
        value = np.array([math.nan if one is None or blind else one for one in seen.value])
        quality = np.where(np.isnan(value) | doubts, Quality.UNCERTAIN, Quality.GOOD)
        if blind or task.relied:
            watched = np.isin([key for key, *_ in task.columns], task.watch)
            quality[watched & np.isnan(value)] = Quality.FAULT
        age = np.full(len(value), max(0.0, now.mono - seen.at))
        self._news.append(frame(source, now, self.video.layouts()[source], value, quality, age))
        if why != self._dim.get(seen.task, ""):
            self._dim[seen.task] = why
            kind, text = ("eye-dim", why) if why else ("eye-recovered", "the eye sees what it should again")
            self._tell(kind, f"{source}: {text}")
        self._bell.set()

    def _trusted(self, task: AnyTask, now: Instant, seen: Seen) -> tuple[bool, bool, str]:
        """Whether an eye is blind, or to be doubted, and why: a camera that shows nothing shows nobody."""
        states = health.states(self.memory, now.mono, self.video.limits)
        turned = {"moved"} if self.memory.moved.on else set()  # also while the scene cannot be compared
        if on := [state for state in task.blinded if getattr(states, state) or state in turned]:
            return True, False, f"the camera is {', '.join(on)}"
        if task.blinded and states.defocused:
            return False, True, seen.why or "the camera is out of focus"
        return False, seen.doubts, seen.why

    def _see(self) -> None:
        if not self.pictures:
            self._first = self.memory.fresh
        self.pictures += 1
        self.reason = ""

    def _lose(self, why: str) -> None:
        """The camera is away. Each reason is told once in an outage."""
        self.reason = why
        if why not in self._told and len(self._told) < REASONS:
            self._told.append(why)
            self._tell("camera-lost", f"{self.video.shown}: {why}")

    def _tell(self, kind: str, text: str, **facts: int) -> None:
        self._news.append(Event(kind, self.video.camera, self.clock.now(), text, facts))


# -- what is said of it -------------------------------------------------------------------------------


def said(why: str, errors: str) -> str:
    """Why a child ended, for people: what it said itself, else what FFmpeg's last lines mean, else the last line.

    >>> said("", "[http @ 0x7f3a] HTTP error 401 Unauthorized")
    'wrong user or password (401)'
    """
    if why:
        return why
    lines = [line for line in reversed(errors.splitlines()) if line.strip()]
    for line in lines:
        for pattern, means in MEANS:
            if re.search(pattern, line):
                return means
    last = next(iter(lines), "")
    last = re.sub(r" ?@ ?0x[0-9a-f]+|^\[OPENCV:FFMPEG:\d+\] ", "", last)[:200].strip()
    return f"cannot be opened: {last}" if last else "not a stream"


def _hidden(text: str, url: str) -> str:
    """The text without user and password of the address, as they are and as they stand in it."""
    return re.sub(r"://[^/@\s]*@", "://", text.replace(url, "the camera"))
