"""A film, a folder of pictures or a stream through the same eye, detectors and rules as a camera on the road or at a
site: what `vedette watch` does.

The site file says what is looked for and what is warned of; an example that ships does where none is given. Time is the
film's own. Out comes a row for each picture, on the road in the forms that scorers of such films read:

    frame,t_s,ttc_s,range_m,alert,x1,y1,x2,y2    empty: nothing told; inf: not closing; the vehicle ahead, else the
                                                 nearest thing in the way; alert: a warning of a collision stands
    event,t_start,t_end,level                    each warning
    file,class,score,x1,y1,x2,y2                 each thing that was found

Of zones and beaches a row is `frame,t_s`, the columns of the task (empty: not told), `doubt` (1: UNCERTAIN) and `alert`
(1: a rule is broken); of a beach there is one for each measurement.
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
from .sights import AnyTask, Mount, Road, Zones
from .vision import RoadEye, eye

if TYPE_CHECKING:
    from models.vision.net import Net
    from models.vision.road import Sight, Target

CONFIGS = Path(__file__).parent.parent / "configs"
SHIPPED, FIXED = CONFIGS / "vehicle.example.toml", CONFIGS / "camera.example.toml"  # the road; zones and beaches
PICTURES = {".jpg", ".jpeg", ".png", ".bmp"}
COLLISIONS = ("forward", "person", "obstacle")  # rules whose alarm is an alert
NEARS = 1e-3  # 1/s
ROW = "frame,t_s,ttc_s,range_m,alert,x1,y1,x2,y2"
SHOWN = (".mp4", ".png")  # what people look at
FASTEST = 1000.0  # pictures a second that can be meant


def is_alert(rule: str) -> bool:
    """Whether an alarm of this rule warns of a collision."""
    return rule.partition(".")[0] in COLLISIONS


class Picture(NamedTuple):
    """One picture of what is watched."""

    name: str  # its number, or its file
    at: float  # s since the first one
    image: Any  # (h, w, 3) uint8 BGR


class Watched(NamedTuple):
    """What was made of one picture."""

    picture: Picture
    sight: Any  # of the eye; None where it has none
    value: list[float] | None  # of the columns; None: nothing was told of this picture
    doubts: bool  # they are UNCERTAIN
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


def settings(path: Path, task: AnyTask) -> AnyTask:
    """The task as a file of its own has it: how the camera is mounted, or its whole table. Raises `ValueError`."""
    try:
        raw: Any = read_toml(path, Places())
        if isinstance(task, Road):
            return msgspec.structs.replace(task, mount=msgspec.convert(raw.get("mount", raw), Mount))
        role = "zones" if isinstance(task, Zones) else "beach"
        return msgspec.convert(raw.get(role, raw), type(task))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {error}") from None


class Watch:
    """The eye, the detectors and the rules of a site for one film."""

    def __init__(
        self,
        site: config.Config,
        camera: Path | Mount | None = None,
        net: str | None = None,
        ready: Net | None = None,
        role: str = "road",
    ) -> None:
        """camera, net: instead of the site's own (a file with settings, or a mount); ready: a net, loaded."""
        cameras = [one for one in site.drivers if isinstance(one, Video) and role in one.tasks]
        if not cameras:
            text = f'no camera looks for {role}; a [[bus]] with driver = "video" wants a table [bus.{role}]'
            raise ConfigFault([f"{site.path}: {text}"])
        task = cameras[0].tasks[role]
        if isinstance(camera, Path):
            task = settings(camera, task)
        elif camera is not None and isinstance(task, Road):
            task = msgspec.structs.replace(task, mount=camera)
        if net is not None:
            task = msgspec.structs.replace(task, net=net)
        self.task, self.site = task, site
        self.eye = RoadEye(task, ready) if isinstance(task, Road) else eye(role, task)
        self.source, self._layout = cameras[0].seen_by(role), site.layouts[cameras[0].seen_by(role)]
        if tuple(key for key, *_ in task.columns) != self._layout.key[: self._layout.measured]:
            raise ValueError(f"--camera {camera}: its zones are not those of {site.path}: rules speak of these")
        self._speed = next((one.speed for one in site.detectors if isinstance(one, Collision)), "")
        self._core: Core = site.core()
        self._memory = self._core.start("watch", Instant(0.0, 0.0))
        self._open: dict[str, Alarm] = {}

    def look(self, picture: Picture, speed: float) -> Watched:
        """One more picture; speed in m/s, NaN where nobody knows it."""
        at = Instant(picture.at, picture.at)
        drives = isinstance(self.eye, RoadEye)
        value = self.eye.look(picture.at, picture.image, *([speed] if drives else []))
        edges = [*self._judged(self._driven(at, speed))] if drives else []
        if value is not None:
            edges += self._judged(self._frame(self.source, at, np.array(value)))
        for edge in edges:
            if edge.event == EVENT_NAMES[Event.RAISE]:
                self._open[edge.rule] = edge
            elif edge.event == EVENT_NAMES[Event.CLEAR]:
                self._open.pop(edge.rule, None)
        sight, doubts = getattr(self.eye, "sight", None), self.eye.doubts
        return Watched(picture, sight, value, doubts, dict(self._open), tuple(edges))

    def _frame(self, source: str, at: Instant, value: Any) -> Frame:
        doubts = self.eye.doubts and source == self.source
        quality = np.where(np.isnan(value) | doubts, Quality.UNCERTAIN, Quality.GOOD)
        layout = self.site.layouts[source]
        if self.task.relied and source == self.source:
            quality[np.isin(layout.key[: len(value)], self.task.watch) & np.isnan(value)] = Quality.FAULT
        return frame(source, at, layout, value, quality)

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
    """The rows of a film, written as it is watched. keys: of the columns, where it is not the road."""

    def __init__(
        self, out: IO[str] | None, events: IO[str] | None, detections: IO[str] | None, keys: tuple[str, ...] = ()
    ) -> None:
        self._keys = keys
        self._out, self._events, self._things = (
            None if one is None else csv.writer(one, lineterminator="\n") for one in (out, events, detections)
        )
        self._since: dict[str, tuple[float, Alarm]] = {}
        for writer, head in (
            (self._out, ",".join(["frame,t_s", *keys, "doubt,alert"]) if keys else ROW),
            (self._events, "event,t_start,t_end,level"),
            (self._things, "file,class,score,x1,y1,x2,y2"),
        ):
            if writer is not None:
                writer.writerow(head.split(","))

    def add(self, number: int, one: Watched) -> None:
        at, things = one.picture.at, getattr(one.sight, "targets" if not self._keys else "things", ())
        if self._keys:
            if self._out is not None and one.value is not None:
                told = ("" if math.isnan(value) else f"{value:.3f}" for value in one.value)
                self._out.writerow([number, f"{at:.3f}", *told, int(one.doubts), int(bool(one.open))])
        elif self._out is not None:
            self._out.writerow(self._ahead(number, one))
        if self._things is not None:
            for thing in things:
                sides = (f"{side:.1f}" for side in thing.box)
                self._things.writerow([one.picture.name, thing.kind, f"{thing.score:.3f}", *sides])
        for name, alarm in one.open.items():
            self._since.setdefault(name, (at, alarm))
        for name in set(self._since) - one.open.keys():
            self._end(name, at)

    @staticmethod
    def _ahead(number: int, one: Watched) -> list[Any]:
        """A row of the road."""
        target = first(one.sight)
        alert = int(any(map(is_alert, one.open)))
        row = ["", "", alert, "", "", "", ""]
        if target is not None:
            closing = target.closing
            ttc = "" if math.isnan(closing) else f"{1 / closing:.3f}" if closing > NEARS else "inf"
            row = [ttc, f"{target.place.ahead:.2f}", alert, *(f"{side:.1f}" for side in target.box)]
        return [number, f"{one.picture.at:.3f}", *row]

    def end(self, at: float) -> None:
        """Nothing more comes."""
        for name in list(self._since):
            self._end(name, at)

    def _end(self, name: str, at: float) -> None:
        since, alarm = self._since.pop(name)
        if self._events is not None:
            self._events.writerow([name, f"{since:.3f}", f"{at:.3f}", alarm.level])


def drawn(one: Watched, task: AnyTask) -> Any:
    """The picture with what was seen in it, for people."""
    import cv2

    image, sight = one.picture.image.copy(), one.sight
    if not isinstance(task, Road):
        return _placed(image, one, task)
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


def _placed(image: Any, one: Watched, task: AnyTask) -> Any:
    """The picture of a fixed camera with its zones, or with the water's edge."""
    import cv2

    h, w = image.shape[:2]
    texts = [f"{one.picture.at:.1f} s", *one.open]
    if isinstance(task, Zones):
        for i, zone in enumerate(task.zone):
            seen = one.sight.zones[i] if one.sight is not None else None
            colour = (128, 128, 128) if seen is None or seen.is_dark else (0, 0, 255) if seen.many else (0, 200, 0)
            cv2.polylines(image, [np.round(np.array(zone.polygon) * (w - 1, h - 1)).astype(int)], True, colour, 2)
            texts.append(f"{zone.name}: " + (f"{seen.many}, {seen.dwell:.0f} s" if seen is not None else "blind"))
        for thing in one.sight.things if one.sight is not None else ():
            x1, y1, x2, y2 = map(round, thing.box)
            cv2.rectangle(image, (x1, y1), (x2, y2), (0, 160, 255), 1)
    elif one.sight is not None:
        for x, y in one.sight.edge:
            cv2.circle(image, (round(x), round(y)), 2, (0, 0, 255), -1)
        texts.append(f"{one.sight.beach:.1f} m +- {one.sight.error:.1f} {one.sight.why}")
    for i, text in enumerate(texts):
        cv2.putText(image, text, (8, 20 + 18 * i), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 255), 1, cv2.LINE_AA)
    return image


def run(args: Any) -> dict[str, Any]:
    """Watch it whole. What was made of it, for people. Raises `ValueError` and `ConfigFault` in words."""
    net = "" if args.net == "none" else args.net
    camera = args.camera or (None if args.site or args.role != "road" else Mount())
    watch = Watch(config.load(args.site or (SHIPPED if args.role == "road" else FIXED)), camera, net, role=args.role)
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
        keys = () if args.role == "road" else tuple(key for key, *_ in watch.task.columns)
        rows, show, one = Rows(out, events, things, keys), None, None
        for i, picture in enumerate(shown):
            one = watch.look(picture, speed.at(picture.at))
            rows.add(i, one)
            for edge in one.edges:
                warnings += edge.event == EVENT_NAMES[Event.RAISE]
                print(f"{picture.at:8.2f} s  {edge.event:6} {edge.level:7} {edge.text}", file=sys.stderr)
            if args.show and not args.show.endswith(".png"):
                show = show or _film(args.show, picture.image, args.fps)
                show.write(drawn(one, watch.task))
        assert one is not None
        rows.end(one.picture.at)
        if show is not None:
            show.release()
        elif args.show:
            _written(args.show, drawn(one, watch.task))
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
