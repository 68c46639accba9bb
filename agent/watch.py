"""A film, a folder of pictures or a stream through the same eye, detectors and rules as a camera on the road: what
`vedette watch` does.

The site file says how the camera is mounted and what is warned of (`configs/vehicle.example.toml` where none is given).
Time is the film's own. Out comes a row for each picture, in the forms that scorers of such films read:

    frame,t_s,ttc_s,range_m,alert,x1,y1,x2,y2    empty: nothing told; inf: not closing; the vehicle ahead, else the
                                                 nearest thing in the way; alert: a warning of a collision stands
    event,t_start,t_end,level                    each warning
    file,class,score,x1,y1,x2,y2                 each thing that was found
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from drivers.video import Video
from models.collision import Collision

from . import config
from .complaints import Places, read_toml
from .core.alarm import EVENT_NAMES, Alarm, Event
from .core.core import Core
from .core.errors import ConfigFault
from .core.frame import Frame, Instant, Layout, Quality, frame
from .detect import number
from .sights import Mount
from .vision import RoadEye

if TYPE_CHECKING:
    from models.vision.net import Net
    from models.vision.road import Sight, Target

SHIPPED = Path(__file__).parent.parent / "configs" / "vehicle.example.toml"
PICTURES = {".jpg", ".jpeg", ".png", ".bmp"}
COLLISIONS = ("forward", "person", "obstacle")  # rules whose alarm is an alert
NEARS = 1e-3  # 1/s
SHOWN = (".mp4", ".png")  # what people look at
FASTEST = 1000.0  # pictures a second that can be meant


class Picture(NamedTuple):
    """One picture of what is watched."""

    name: str  # its number, or its file
    at: float  # s since the first one
    image: Any  # (h, w, 3) uint8 BGR


class Watched(NamedTuple):
    """What was made of one picture."""

    picture: Picture
    sight: Sight
    open: dict[str, Alarm]  # by rule
    edges: tuple[Alarm, ...]  # that came with it


class Speed:
    """The vehicle's own speed, m/s, by time: one number in km/h, or a CSV with `t_s` and `speed_kmh` or `ego_mps`."""

    def __init__(self, given: str = "") -> None:
        self._at, self._speed = np.zeros(1), np.full(1, math.nan)
        if not given:
            return
        if not math.isnan(number(given)):
            self._speed = np.array([number(given) / 3.6])
            return
        try:
            with open(given, newline="", encoding="utf-8-sig") as lines:
                rows = list(csv.DictReader(lines))
        except OSError as error:
            raise ValueError(f"--speed {given}: neither km/h nor a file: {error.strerror}") from None
        for column, factor in (("speed_kmh", 1 / 3.6), ("speed_mps", 1.0), ("ego_mps", 1.0)):
            if rows and column in rows[0] and "t_s" in rows[0]:
                try:
                    self._at = np.array([float(row["t_s"]) for row in rows])
                    self._speed = np.array([float(row[column]) * factor for row in rows])
                except (TypeError, ValueError):
                    raise ValueError(f"--speed {given}: in t_s and {column} there should be numbers") from None
                return
        raise ValueError(f"--speed {given}: it should have the columns t_s and speed_kmh (or ego_mps)")

    def at(self, seconds: float) -> float:
        return float(np.interp(seconds, self._at, self._speed))


def pictures(what: str, rate: float = 0.0) -> Iterator[Picture]:
    """The pictures of a film, a stream or a folder. rate: 1/s, 0 where the film tells it (a folder: 10).

    Raises `ValueError` in words where there are none.
    """
    import cv2

    if Path(what).is_dir():
        files = sorted(file for file in Path(what).iterdir() if file.suffix.lower() in PICTURES)
        if not files:
            raise ValueError(f"{what}: no pictures in this folder ({', '.join(sorted(PICTURES))})")
        for i, file in enumerate(files):
            image = cv2.imread(str(file), cv2.IMREAD_COLOR)
            if image is None:
                raise ValueError(f"{file}: is no picture that can be read")
            yield Picture(file.name, i / (rate or 10.0), image)
        return
    if "://" not in what and not Path(what).is_file():
        raise ValueError(f"{what}: no such film or folder")
    film = cv2.VideoCapture(what, cv2.CAP_FFMPEG)
    told = film.get(cv2.CAP_PROP_FPS)
    pace = rate or (told if 1.0 <= told <= 240.0 else 25.0)
    i = 0
    while True:
        ok, image = film.read()
        if not ok:
            break
        yield Picture(str(i), i / pace, image)
        i += 1
    film.release()
    if not i:
        raise ValueError(f"{what}: is no film that can be read")


def settings(path: Path) -> Mount:
    """How a camera is mounted, out of a file of its own. Raises `ValueError` in words."""
    try:
        raw: Any = read_toml(path, Places())
        return msgspec.convert(raw.get("mount", raw), Mount)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {error}") from None


class Watch:
    """The eye, the detectors and the rules of a site for one film."""

    def __init__(
        self, site: config.Config, mount: Mount | None = None, net: str | None = None, ready: Net | None = None
    ) -> None:
        cameras = [one for one in site.drivers if isinstance(one, Video) and one.road is not None]
        if not cameras or (road := cameras[0].road) is None:
            text = 'no camera looks at the road; a [[bus]] with driver = "video" wants a table [bus.road]'
            raise ConfigFault([f"{site.path}: {text}"])
        road = msgspec.structs.replace(road, mount=mount or road.mount, net=road.net if net is None else net)
        self.ahead, self.eye, self.site = cameras[0].ahead, RoadEye(road, ready), site
        self._speed = next((one.speed for one in site.detectors if isinstance(one, Collision)), "")
        self._core: Core = site.core()
        self._memory = self._core.start("watch", Instant(0.0, 0.0))
        self._open: dict[str, Alarm] = {}

    def look(self, picture: Picture, speed: float) -> Watched:
        """One more picture; speed in m/s, NaN where nobody knows it."""
        at = Instant(picture.at, picture.at)
        value = np.array(self.eye.look(picture.at, picture.image, speed))
        edges = [*self._judged(self._driven(at, speed)), *self._judged(self._frame(self.ahead, at, value))]
        for edge in edges:
            if edge.event == EVENT_NAMES[Event.RAISE]:
                self._open[edge.rule] = edge
            elif edge.event == EVENT_NAMES[Event.CLEAR]:
                self._open.pop(edge.rule, None)
        assert self.eye.sight is not None
        return Watched(picture, self.eye.sight, dict(self._open), tuple(edges))

    def _frame(self, source: str, at: Instant, value: Any) -> Frame:
        quality = np.where(np.isnan(value), Quality.UNCERTAIN, Quality.GOOD)
        return frame(source, at, self.site.layouts[source], value, quality)

    def _driven(self, at: Instant, speed: float) -> Frame | None:
        """What the vehicle tells of itself: its speed."""
        source, _, key = self._speed.partition("/")
        if not source:
            return None
        layout: Layout = self.site.layouts[source]
        value = np.where([one == key for one in layout.key], speed, 0.0)
        i = layout.key.index(key)
        value[i] *= 3.6 if layout.unit[i] == "km/h" else 1.0
        return self._frame(source, at, value)

    def _judged(self, seen: Frame | None) -> tuple[Alarm, ...]:
        if seen is None:
            return ()
        self._memory, verdict = self._core.step(self._memory, seen)
        return verdict.alarms


def first(sight: Sight) -> Target | None:
    """What a row tells of: the nearest thing in the way whose middle is before the vehicle, else the nearest there."""
    inside = [one for one in sight.targets if one.in_path]
    before = [one for one in inside if abs(one.place.across) < one.place.wide / 2 + 0.5]
    return next(iter(before or inside), None)


class Rows:
    """The rows of a film, written as it is watched."""

    def __init__(self, out: IO[str] | None, events: IO[str] | None, detections: IO[str] | None) -> None:
        self._out, self._events, self._things = (
            None if one is None else csv.writer(one, lineterminator="\n") for one in (out, events, detections)
        )
        self._since: dict[str, tuple[float, Alarm]] = {}
        for writer, head in (
            (self._out, "frame,t_s,ttc_s,range_m,alert,x1,y1,x2,y2"),
            (self._events, "event,t_start,t_end,level"),
            (self._things, "file,class,score,x1,y1,x2,y2"),
        ):
            if writer is not None:
                writer.writerow(head.split(","))

    def add(self, number: int, one: Watched) -> None:
        at, target = one.picture.at, first(one.sight)
        alert = int(any(name.split(".")[0] in COLLISIONS for name in one.open))
        if self._out is not None:
            row = ["", "", alert, "", "", "", ""]
            if target is not None:
                closing = target.closing
                ttc = "" if math.isnan(closing) else f"{1 / closing:.3f}" if closing > NEARS else "inf"
                row = [ttc, f"{target.place.ahead:.2f}", alert, *(f"{side:.1f}" for side in target.box)]
            self._out.writerow([number, f"{at:.3f}", *row])
        if self._things is not None:
            for thing in one.sight.targets:
                sides = (f"{side:.1f}" for side in thing.box)
                self._things.writerow([one.picture.name, thing.kind, f"{thing.score:.3f}", *sides])
        for name, alarm in one.open.items():
            self._since.setdefault(name, (at, alarm))
        for name in set(self._since) - one.open.keys():
            self._end(name, at)

    def end(self, at: float) -> None:
        """Nothing more comes."""
        for name in list(self._since):
            self._end(name, at)

    def _end(self, name: str, at: float) -> None:
        since, alarm = self._since.pop(name)
        if self._events is not None:
            self._events.writerow([name, f"{since:.3f}", f"{at:.3f}", alarm.level])


def drawn(one: Watched) -> Any:
    """The picture with what was seen in it, for people."""
    import cv2

    image, sight = one.picture.image.copy(), one.sight
    lens = sight.lens
    spot = (round(lens.x), round(lens.y))
    cv2.drawMarker(image, spot, (0, 255, 255), cv2.MARKER_CROSS, 24, 1)
    foot = image.shape[0] - 1
    for side in sight.marks:
        if not math.isnan(side):
            x = lens.x + side * (foot - lens.y) / lens.height
            cv2.line(image, spot, (round(x), foot), (255, 200, 0), 1)
    lead = first(sight)
    for thing in reversed(sight.targets):
        x1, y1, x2, y2 = map(round, thing.box)
        colour = (0, 0, 255) if thing is lead else (0, 160, 255) if thing.in_path else (0, 200, 0)
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, 1 + (thing is lead))
        ttc = f" {1 / thing.closing:.1f} s" if thing.closing > 0.05 else ""
        text = f"{thing.kind} {thing.place.ahead:.0f} m{ttc}"
        cv2.putText(image, text, (x1, max(12, y1 - 4)), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    head = f"{one.picture.at:.2f} s  " + "  ".join(f"{name} ({alarm.level})" for name, alarm in one.open.items())
    cv2.putText(image, head, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 255), 2, cv2.LINE_AA)
    return image


def run(args: Any) -> dict[str, Any]:
    """Watch it whole. What was made of it, for people. Raises `ValueError` and `ConfigFault` in words."""
    mount = settings(args.camera) if args.camera else None if args.site else Mount()
    watch = Watch(config.load(args.site or SHIPPED), mount, "" if args.net == "none" else args.net)
    if not 0 <= args.fps <= FASTEST:
        raise ValueError(f"--fps {args.fps:g}: it should be above 0 and at most {FASTEST:g} pictures a second")
    if args.show and Path(args.show).suffix.lower() not in SHOWN:
        raise ValueError(f"--show {args.show}: it should end in {' or '.join(SHOWN)}")
    for path in (args.out, args.events, args.detections, args.show):
        if path and not Path(path).absolute().parent.is_dir():
            raise ValueError(f"{path}: cannot be written, for there is no such folder")
    speed, shown, began, warnings = Speed(args.speed), pictures(args.what, args.fps), time.monotonic(), 0
    with contextlib.ExitStack() as stack:
        shown = itertools.chain([next(shown)], shown)  # what cannot be watched overwrites nothing
        out, events, things = (
            stack.enter_context(_open(path)) if path else None for path in (args.out, args.events, args.detections)
        )
        rows, show, one = Rows(out, events, things), None, None
        for i, picture in enumerate(shown):
            one = watch.look(picture, speed.at(picture.at))
            rows.add(i, one)
            for edge in one.edges:
                warnings += edge.event == EVENT_NAMES[Event.RAISE]
                print(f"{picture.at:8.2f} s  {edge.event:6} {edge.level:7} {edge.text}", file=sys.stderr)
            if args.show and not args.show.endswith(".png"):
                show = show or _film(args.show, picture.image, args.fps)
                show.write(drawn(one))
        assert one is not None
        rows.end(one.picture.at)
        if show is not None:
            show.release()
        elif args.show:
            _written(args.show, drawn(one))
    took = time.monotonic() - began
    facts = {"pictures": i + 1, "seconds": one.picture.at, "warnings": warnings, "ms": 1e3 * took / (i + 1)}
    return {**facts, "why": watch.eye.why}


def _open(path: str) -> IO[str]:
    try:
        return open(path, "w", newline="", encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {error.strerror}") from None


def _film(path: str, image: Any, fps: float) -> Any:
    import cv2

    film = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), fps or 20.0, (image.shape[1], image.shape[0]))
    if not film.isOpened():
        raise ValueError(f"--show {path}: cannot be written; .mp4 or .png are wanted, in a folder that exists")
    return film


def _written(path: str, image: Any) -> None:
    import cv2

    if not cv2.imwrite(path, image):
        raise ValueError(f"--show {path}: cannot be written")
