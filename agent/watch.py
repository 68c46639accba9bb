"""A film, a folder of pictures or a stream through the same eye, detectors and rules as a camera on the road or at a
site: what `vedette watch` does.

The site file says what is looked for and what is warned of; an example that ships does where none is given. Time is the
film's own. Out comes a row for each picture, on the road in the forms that scorers of such films read:

    frame,t_s,ttc_s,range_m,alert,x1,y1,x2,y2    empty: nothing told; inf: not closing; the vehicle ahead, else the
                                                 nearest thing in the way; alert: a warning of a collision stands
    event,t_start,t_end,level                    each warning
    file,class,score,x1,y1,x2,y2                 each thing that was found

Of zones and beaches a row is `frame,t_s`, the columns of the task (empty: not told), `doubt` (1: UNCERTAIN) and `alert`
(1: a rule is broken); of a beach there is one for each measurement. Of a driver it is

    frame,t_s,present,covered,eye_open,p_closed,mouth_open,yaw_deg,pitch_deg,...    empty: it cannot be told

    event,t_start,t_end,level    each of `EPISODES`; what is made of them (fatigue, asleep, ...) is only printed

and a folder without `--fps` is of pictures that have nothing to do with one another: `file,p_closed`, and no events.
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
from models.fatigue import Fatigue

from . import config
from .complaints import Places, read_toml
from .core.alarm import EVENT_NAMES, Alarm, Event
from .core.core import Core
from .core.errors import ConfigFault
from .core.frame import Frame, Instant, Layout, Quality, frame
from .detect import number
from .sights import CABIN, AnyTask, Cabin, Mount, Road, Zones
from .terminal import Progress
from .vision import EYES, CabinEye, RoadEye, eye

if TYPE_CHECKING:
    from models.vision import face
    from models.vision.net import Net
    from models.vision.road import Sight, Target

CONFIGS = Path(__file__).parent.parent / "configs"
SHIPPED, FIXED = CONFIGS / "vehicle.example.toml", CONFIGS / "camera.example.toml"  # the road; zones and beaches
CAB = CONFIGS / "driver.example.toml"
ROLES = {"road": "road", "zones": "zones", "beach": "beach", "driver": "cabin"}  # what people ask for, and the task
PICTURES = {".jpg", ".jpeg", ".png", ".bmp"}
COLLISIONS = ("forward", "person", "obstacle")  # rules whose alarm is an alert
NEARS = 1e-3  # 1/s
EPISODES = (
    "eyes_closed",
    "yawn",
    "distracted",
    "absent",
    "covered",
    "frozen",
    "phone",
    "smoking",
    "belt",
)  # of a driver
ROW = "frame,t_s,ttc_s,range_m,alert,x1,y1,x2,y2"
DRIVER = {  # column of a row, and of the task
    "present": "present",
    "covered": "covered",
    "eye_open": "lid",
    "p_closed": "closed",
    "mouth_open": "mouth",
    "yaw_deg": "yaw",
    "pitch_deg": "pitch",
    "roll_deg": "roll",
    "p_error": "closed.error",
    "right": "right",
    "left": "left",
    "hidden": "hidden",
    "face": "face",
    "frozen": "frozen",
    "yaw_error": "yaw.error",
    "pitch_error": "pitch.error",
    "mouth_error": "mouth.error",
    "phone": "phone",
    "smoke": "smoke",
    "belt": "belt",
}
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
    score: float = math.nan  # of a driver: 1 awake to 10


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
    """The task as a file of its own has it: how the camera is mounted, or its whole table; headed as in a site, below
    [bus], or without that. Raises `ValueError`."""
    try:
        raw: Any = read_toml(path, Places())
        raw = raw.get("bus", raw)
        if isinstance(raw, list):
            raise ValueError(f"{path}: is a site file: give it as --site")  # noqa: TRY004
        raw = raw.get(str(type(task).__struct_config__.tag), raw)
        if isinstance(task, Road):
            return msgspec.structs.replace(task, mount=msgspec.convert(raw.get("mount", raw), Mount))
        return msgspec.convert(raw, type(task))
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
        ready: Net | face.Nets | None = None,
        role: str = "road",
    ) -> None:
        """camera, net: instead of the site's own (a file with settings, or a mount); ready: a net (of a driver: nets),
        loaded; role: a row of `ROLES`."""
        role = ROLES[role]
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
        self.eye: Any = eye(role, task) if ready is None else EYES[role](task, ready)
        self.source, self._layout = cameras[0].seen_by(role), site.layouts[cameras[0].seen_by(role)]
        if tuple(key for key, *_ in task.columns) != self._layout.key[: self._layout.measured]:
            raise ValueError(f"--camera {camera}: its zones are not those of {site.path}: rules speak of these")
        sees = Collision if role == "road" else Fatigue
        self._speed = next((one.speed for one in site.detectors if isinstance(one, sees)), "")
        names = (one.name for one in site.detectors if isinstance(one, Fatigue)) if role == "cabin" else ()
        self._scored, self._score = next((f"{name}.score" for name in names), ""), math.nan
        self._core: Core = site.core()
        self._memory = self._core.start("watch", Instant(0.0, 0.0))
        self._open: dict[str, Alarm] = {}

    def look(self, picture: Picture, speed: float) -> Watched:
        """One more picture; speed in m/s, NaN where nobody knows it."""
        at = Instant(picture.at, picture.at)
        ahead, drives = isinstance(self.eye, RoadEye), isinstance(self.eye, RoadEye | CabinEye)
        value = self.eye.look(picture.at, picture.image, *([speed] if ahead else []))
        edges = [*self._judged(self._driven(at, speed))] if drives else []
        if value is not None:
            edges += self._judged(self._frame(self.source, at, np.array(value)))
        for edge in edges:
            if edge.event == EVENT_NAMES[Event.RAISE]:
                self._open[edge.rule] = edge
            elif edge.event == EVENT_NAMES[Event.CLEAR]:
                self._open.pop(edge.rule, None)
        sight, doubts = getattr(self.eye, "sight", None), self.eye.doubts
        return Watched(picture, sight, value, doubts, dict(self._open), tuple(edges), self._score)

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
        known = 0.0 if isinstance(self.task, Road) else math.nan  # of a driver's vehicle nothing else is told
        value = np.where([one == key for one in layout.key], speed, known)
        i = layout.key.index(key)
        value[i] *= 3.6 if layout.unit[i] == "km/h" else 1.0
        return self._frame(source, at, value)

    def _judged(self, seen: Frame | None) -> tuple[Alarm, ...]:
        if seen is None:
            return ()
        self._memory, verdict = self._core.step(self._memory, seen)
        for one in verdict.frames:
            if one.source == self.source and self._scored:
                self._score = float(one.value[list(one.layout.key).index(self._scored)])
        return verdict.alarms


def first(sight: Sight) -> Target | None:
    """What a row tells of: the nearest thing in the way whose middle is before the vehicle, else the nearest there."""
    inside = [one for one in sight.targets if one.in_path]
    before = [one for one in inside if abs(one.place.across) < one.place.wide / 2 + 0.5]
    return next(iter(before or inside), None)


class Rows:
    """The rows of a film, written as it is watched. keys: of the columns, where it is not the road; `driver`: they are
    those of a driver."""

    def __init__(
        self,
        out: IO[str] | None,
        events: IO[str] | None,
        detections: IO[str] | None,
        keys: tuple[str, ...] = (),
        driver: bool = False,
    ) -> None:
        self._keys, self._driver = keys, driver
        self._out, self._events, self._things = (
            None if one is None else csv.writer(one, lineterminator="\n") for one in (out, events, detections)
        )
        self._since: dict[str, tuple[float, Alarm]] = {}
        for writer, head in (
            (
                self._out,
                ",".join(["frame,t_s", *self._told, "score,alert" if driver else "doubt,alert"]) if keys else ROW,
            ),
            (self._events, "event,t_start,t_end,level"),
            (self._things, "file,class,score,x1,y1,x2,y2"),
        ):
            if writer is not None:
                writer.writerow(head.split(","))

    @property
    def _told(self) -> tuple[str, ...]:
        return tuple(DRIVER) if self._driver else self._keys

    def add(self, number: int, one: Watched) -> None:
        at, things = one.picture.at, getattr(one.sight, "targets" if not self._keys else "things", ())
        if self._driver:
            self._out and self._out.writerow(self._inside(number, one))
            things = ()
        elif self._keys:
            if self._out is not None and one.value is not None:
                told = ("" if math.isnan(value) else f"{value:.3f}" for value in one.value)
                self._out.writerow([number, f"{at:.3f}", *told, int(one.doubts), int(bool(one.open))])
        elif self._out is not None:
            self._out.writerow(self._ahead(number, one))
        if self._things is not None:
            for thing in things:
                sides = (f"{side:.1f}" for side in thing.box)
                self._things.writerow([one.picture.name, thing.kind, f"{thing.score:.3f}", *sides])
        open = self._open(one)
        for name, alarm in open.items():
            self._since.setdefault(name, (at, alarm))
        for name in set(self._since) - open.keys():
            self._end(name, at)

    def _open(self, one: Watched) -> dict[str, Alarm]:
        """The events that go on: alarms by rule; of a driver the kind of episode, whatever the speed and the level."""
        if not self._driver:
            return one.open
        return {name.partition(".")[0]: alarm for name, alarm in one.open.items() if name.partition(".")[0] in EPISODES}

    def _inside(self, number: int, one: Watched) -> list[Any]:
        """A row of a driver."""
        value = dict(zip(self._keys, one.value or (), strict=True))
        told = ("" if math.isnan(value[key]) else f"{value[key]:.4f}" for key in DRIVER.values())
        score = "" if math.isnan(one.score) else f"{one.score:.2f}"
        return [number, f"{one.picture.at:.3f}", *told, score, int(bool(one.open))]

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
    if isinstance(task, Cabin):
        return _faced(image, one)
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


def _faced(image: Any, one: Watched) -> Any:
    """The picture with the driver's face: where it points, its eyes and its mouth, and how tired it looks."""
    import cv2

    sight = one.sight
    bad, good, unknown = (0, 0, 255), (0, 200, 0), (160, 160, 160)
    texts = [(f"{one.picture.at:.2f} s", good)]
    if sight.face is not None:
        x, y, u, roll = sight.face.place
        square = cv2.boxPoints(((x, y), (3.5 * u, 3.5 * u), -roll))
        cv2.polylines(image, [np.round(square).astype(int)], True, good if sight.hidden < 0.5 else unknown, 1)
        for at, eye in zip(sight.face.five[:2], (sight.right, sight.left), strict=True):
            colour = unknown if math.isnan(eye.closed) else bad if eye.closed > 0.5 else good
            cv2.ellipse(image, (at, (0.5 * u, 0.25 * u), -roll), colour, 1)
        (rx, ry), (lx, ly) = sight.face.five[3:5]
        gape = max(0.05, 0.62 * (0.0 if math.isnan(sight.mouth) else sight.mouth)) * u
        cv2.ellipse(image, (((rx + lx) / 2, (ry + ly) / 2), (math.dist((rx, ry), (lx, ly)), gape), -roll), good, 1)
        yaw, pitch, _ = sight.face.pose
        nose = np.array(sight.face.five[2])
        tip = nose + 1.5 * u * np.sin(np.radians([yaw, pitch]))
        cv2.arrowedLine(image, tuple(np.round(nose).astype(int)), tuple(np.round(tip).astype(int)), (255, 200, 0), 2)
        shut = "eyes cannot be judged" if math.isnan(sight.closed) else f"shut {sight.closed:.2f}, open {sight.lid:.2f}"
        texts.append((f"{shut}; mouth {sight.mouth:.2f}; {yaw:+.0f} {pitch:+.0f} deg", good))
    else:
        told = "covered" if sight.covered > 0.5 else "somebody is there" if sight.present > 0.5 else "nobody is there"
        texts.append((told, unknown))
    if not math.isnan(one.score):
        texts.append((f"score {one.score:.1f} of 10", bad if one.score >= 6 else good))
    texts += [(f"{name} ({alarm.level})", bad) for name, alarm in one.open.items()]
    for i, (text, colour) in enumerate(texts):
        for ink, wide in (((0, 0, 0), 3), (colour, 1)):  # readable on a bright window, too
            cv2.putText(image, text, (8, 20 + 18 * i), cv2.FONT_HERSHEY_SIMPLEX, 0.5, ink, wide, cv2.LINE_AA)
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
    shipped = {"road": SHIPPED, "driver": CAB}.get(args.role, FIXED)
    watch = Watch(config.load(args.site or shipped), camera, net, role=args.role)
    if not 0 <= args.fps <= FASTEST:
        raise ValueError(f"--fps {args.fps:g}: it should be above 0 and at most {FASTEST:g} pictures a second")
    if args.show and Path(args.show).suffix.lower() not in SHOWN:
        raise ValueError(f"--show {args.show}: it should end in {' or '.join(SHOWN)}")
    for path in (args.out, args.events, args.detections, args.show):
        if path and not Path(path).absolute().parent.is_dir():
            raise ValueError(f"{path}: cannot be written, for there is no such folder")
    if args.role == "driver" and Path(args.what).is_dir() and not args.fps:
        return _stills(args, watch)
    speed, shown, began, warnings = Speed(args.speed), pictures(args.what, args.fps), time.monotonic(), 0
    with contextlib.ExitStack() as stack:
        shown = itertools.chain([next(shown)], shown)  # what cannot be watched overwrites nothing
        out, events, things = (
            stack.enter_context(_open(path)) if path else None for path in (args.out, args.events, args.detections)
        )
        keys = () if args.role == "road" else tuple(key for key, *_ in watch.task.columns)
        rows, show, one = Rows(out, events, things, keys, args.role == "driver"), None, None
        progress = stack.enter_context(Progress("watch", unit="pictures"))
        for i, picture in enumerate(progress.each(shown)):
            one = watch.look(picture, speed.at(picture.at))
            rows.add(i, one)
            for edge in one.edges:
                warnings += edge.event == EVENT_NAMES[Event.RAISE]
                progress.clear()
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


def _stills(args: Any, watch: Watch) -> dict[str, Any]:
    """Each picture of a folder by itself: nothing is remembered, and no rule can be broken."""
    if args.events or args.detections or args.show:
        raise ValueError("pictures of a driver that are no film (--fps) have --out only")
    began, shut, i = time.monotonic(), [key for key, *_ in CABIN].index("closed"), 0
    shown = pictures(args.what)
    shown = itertools.chain([next(shown)], shown)
    with contextlib.ExitStack() as stack:
        out = csv.writer(stack.enter_context(_open(args.out)), lineterminator="\n") if args.out else None
        if out:
            out.writerow(["file", "p_closed"])
        for picture in shown:
            i += 1
            closed = watch.eye.still(picture.image)[shut]
            if out:
                out.writerow([picture.name, "" if math.isnan(closed) else f"{closed:.4f}"])
    took = time.monotonic() - began
    return {"pictures": i, "seconds": 0.0, "warnings": 0, "ms": 1e3 * took / i, "why": watch.eye.why}


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
