"""A scenario: plants, stations, cameras on roads and at drivers, a story, the truth. From TOML, played against a clock.

`load` gives a `Scenario` or every complaint about the file. `Stage` serves its plants as Modbus devices
and moves them, 10 ticks a second; it knows no broker and no agent. `simulate` is a stage alone, for
somebody else's client.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from msgspec import Meta, Struct, structs

from agent.complaints import Complaints, Places, Table, decode, nearest, read_toml
from agent.core.errors import ConfigFault, LineLost

from . import faults, habits
from .modbus import Device, PtyLine, Register, TcpLine, registers
from .plant import PLANTS, Plant, Vehicle, measure
from .stories import STORIES, WEATHER, own, signals
from .verdict import Condition, Episode, Hazard, Quantity, Signs, follow, signs

if TYPE_CHECKING:
    from .video import CameraServer

TICK = 0.1  # s
SHIPPED = Path(__file__).parent.parent / "configs"


class Scene(Struct, frozen=True, forbid_unknown_fields=True):
    """The frame of the story."""

    title: str = ""
    seconds: Annotated[float, Meta(gt=0)] = 120.0
    seed: int = 1
    slack: float = 3.0  # s that an alarm may be decided after its hazard ended
    linger: float = 10.0  # s that it may stand after that
    quiet: tuple[str, ...] = ()  # coils that are written again and again: nobody is told


class PlantTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A plant by name. `settings` are the fields of its class in `simulators/plant.py`."""

    name: str
    kind: str
    settings: dict[str, float] = {}


class LineTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A line: tcp://HOST:PORT, or rtu:///PATH where a link to a pseudo-terminal will stand."""

    name: str
    url: str
    baud: float | None = None  # rtu: bytes take their time; None: they do not


class DeviceTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A station: which plant it measures, with which registers, at which line and unit."""

    name: str
    line: str
    unit: Annotated[int, Meta(ge=1, le=247)]
    plant: str
    profile: str  # configs/devices/NAME.toml, or devices/ beside the scenario


class RoadTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A camera on a drawn road, as MJPEG and RTSP. Its story begins with the scenario's, again and again."""

    name: str
    story: str  # a row of simulators/stories.py
    plant: str = ""  # a vehicle, which does what the story says
    weather: tuple[str, ...] = ()  # in place of the story's own
    seed: int = 1
    width: Annotated[int, Meta(ge=160, le=1920, multiple_of=32)] = 640  # px
    fps: Annotated[float, Meta(gt=0, le=30)] = 10.0  # at most: what takes longer to draw is left out
    port: Annotated[int, Meta(ge=0, le=65535)] = 0  # of 127.0.0.1; 0: a free one


class CabinTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A camera at a drawn driver, as MJPEG and RTSP. Its story begins with the scenario's, again and again."""

    name: str
    story: str  # a row of simulators/habits.py
    plant: str = ""  # a vehicle, which drives as fast as the story says
    light: str = ""  # in place of the story's own
    seed: int = 1  # of the person, the cab and the camera's place
    width: Annotated[int, Meta(ge=160, le=1920, multiple_of=32)] = 640  # px
    fps: Annotated[float, Meta(gt=0, le=30)] = 15.0  # at most: what takes longer to draw is left out
    port: Annotated[int, Meta(ge=0, le=65535)] = 0  # of 127.0.0.1; 0: a free one


class Beat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that happens `at` a time, or `wait` s `after` an output (device/channel) was first switched on."""

    at: Annotated[float, Meta(ge=0)] | None = None  # s
    after: str | None = None
    wait: Annotated[float, Meta(ge=0)] = 0.0  # s
    say: str = ""  # what a bystander would tell


class Set(Beat, frozen=True, kw_only=True):
    """People or weather change inputs of a plant."""

    plant: str
    to: dict[str, float | bool]


class Kill(Beat, frozen=True, kw_only=True):
    """The device gives no answer."""

    device: str


class Freeze(Beat, frozen=True, kw_only=True):
    """One channel keeps its value."""

    device: str
    channel: str


class Drift(Beat, frozen=True, kw_only=True):
    """One channel wanders."""

    device: str
    channel: str
    per_s: float


class Spike(Beat, frozen=True, kw_only=True):
    """One channel jumps for a moment."""

    device: str
    channel: str
    height: float
    width: float = 0.3  # s


class Break(Beat, frozen=True, kw_only=True):
    """One channel says `says`, whatever is true."""

    device: str
    channel: str
    says: float


class Lower(Beat, frozen=True, kw_only=True):
    """One channel says a `share` of the truth."""

    device: str
    channel: str
    share: float


class Coarsen(Beat, frozen=True, kw_only=True):
    """One channel comes in steps of `step`."""

    device: str
    channel: str
    step: float


class Slow(Beat, frozen=True, kw_only=True):
    """The device answers late."""

    device: str
    seconds: float


class Refuse(Beat, frozen=True, kw_only=True):
    """The device answers with a Modbus exception."""

    device: str
    code: int = 4


class Mend(Beat, frozen=True, kw_only=True):
    """Every fault of the device is gone."""

    device: str


class CutUplink(Beat, frozen=True, kw_only=True):
    """The link to the platform breaks."""


class HealUplink(Beat, frozen=True, kw_only=True):
    """The link to the platform is back."""


class Say(Beat, frozen=True, kw_only=True):
    """Words only."""


ACTIONS: dict[str, type[Beat]] = {
    "set": Set,
    "kill": Kill,
    "freeze": Freeze,
    "drift": Drift,
    "spike": Spike,
    "break": Break,
    "lower": Lower,
    "coarsen": Coarsen,
    "slow": Slow,
    "refuse": Refuse,
    "mend": Mend,
    "cut-uplink": CutUplink,
    "heal-uplink": HealUplink,
    "say": Say,
}
CONDITIONS = {"dead": faults.Dead, "frozen": faults.Freeze, "broken": faults.Break, "lowered": faults.Lower}


class Scenario(Struct, frozen=True):
    """A scenario, resolved and sound."""

    scene: Scene
    plants: dict[str, Plant]
    lines: tuple[LineTable, ...]
    devices: tuple[DeviceTable, ...]
    registers: dict[str, tuple[Register, ...]]  # by device
    beats: tuple[Beat, ...]
    hazards: tuple[Hazard, ...]
    roads: tuple[RoadTable, ...] = ()
    cabins: tuple[CabinTable, ...] = ()


# -- reading --------------------------------------------------------------------------------------


def load(path: str | Path) -> Scenario:
    """The scenario at `path`. Raises `ConfigFault` with every complaint that could be found."""
    path = Path(path)
    places = Places()
    told = Complaints(places)
    try:
        raw = read_toml(path, places)
    except OSError as error:
        raise ConfigFault([f"{path}: cannot be read: {error.strerror}"]) from None
    except ValueError as error:
        raise ConfigFault([str(error)]) from None
    known = {"scene", "plant", "line", "device", "road", "cabin", "beat", "hazard"}
    for key in raw.keys() - known:
        told.add(raw, key, f"unknown table `{key}`{nearest(key, known)}")

    scene = decode(raw.get("scene", {}), Scene, told, "[scene]") or Scene()
    plants: dict[str, Plant] = {}
    for table, row in _rows(raw, "plant", PlantTable, told):
        plant = _plant(table, row, told)
        if plant is not None:
            plants[row.name] = plant
    lines = [row for _, row in _rows(raw, "line", LineTable, told)]
    devices: list[DeviceTable] = []
    maps: dict[str, tuple[Register, ...]] = {}
    for table, device in _rows(raw, "device", DeviceTable, told):
        what = f"device `{device.name}`"
        _known(table, "line", device.line, [line.name for line in lines], what, told)
        _known(table, "plant", device.plant, plants, what, told)
        devices.append(device)
        maps[device.name] = _registers(path.parent, table, device, plants, told)
    beats = [beat for table in _tables(raw, "beat", told) if (beat := _beat(table, plants, maps, told)) is not None]
    hazards = [
        hazard for table in _tables(raw, "hazard", told) if (hazard := _hazard(table, plants, maps, told)) is not None
    ]
    roads = [_road(table, road, plants, told) for table, road in _rows(raw, "road", RoadTable, told)]
    cabins = [_cabin(table, cabin, plants, told) for table, cabin in _rows(raw, "cabin", CabinTable, told)]
    for name in {road.name for road in roads} & {cabin.name for cabin in cabins}:
        told.add(raw, "cabin", f"a road and a cabin are both called `{name}`")
    if not devices and not roads and not cabins:
        told.add(raw, None, "no [[device]], no [[road]] and no [[cabin]]: there is nothing to serve")
    if told.lines:
        raise ConfigFault(told.lines)
    return Scenario(
        scene, plants, tuple(lines), tuple(devices), maps, tuple(beats), tuple(hazards), tuple(roads), tuple(cabins)
    )


def _tables(raw: Table, key: str, told: Complaints) -> list[Table]:
    tables = raw.get(key, [])
    if isinstance(tables, list) and all(isinstance(table, dict) for table in tables):
        return tables
    told.add(raw, key, f"`{key}` should be a list of tables: [[{key}]]")
    return []


def _rows(raw: Table, key: str, type_: Any, told: Complaints) -> list[tuple[Table, Any]]:
    """The tables of one kind that decode, told of twins."""
    rows, names = [], set()
    for table in _tables(raw, key, told):
        row = decode(table, type_, told, f"{key} `{table.get('name', '?')}`")
        if row is None:
            continue
        if row.name in names:
            told.add(table, "name", f"a second {key} is called `{row.name}`")
        names.add(row.name)
        if isinstance(row, LineTable) and urlsplit(row.url).scheme not in ("tcp", "rtu"):
            told.add(table, "url", f"line `{row.name}`: tcp://HOST:PORT or rtu:///PATH, not {row.url!r}")
        rows.append((table, row))
    return rows


def _known(table: Table, key: str, word: str, known: Iterable[str], what: str, told: Complaints) -> bool:
    known = list(known)
    if word in known:
        return True
    told.add(table, key, f"{what}: no {key} is called `{word}`{nearest(word, known)}")
    return False


def _plant(table: Table, row: PlantTable, told: Complaints) -> Plant | None:
    if not _known(table, "kind", row.kind, PLANTS, f"plant `{row.name}`", told):
        return None
    type_: Any = PLANTS[row.kind]
    for key in row.settings.keys() - set(type_.__struct_fields__):
        told.add(table, "settings", f"plant `{row.name}`: no setting `{key}`{nearest(key, type_.__struct_fields__)}")
        return None
    plant: Plant = type_(**row.settings)
    return plant


def _road(table: Table, road: RoadTable, plants: dict[str, Plant], told: Complaints) -> RoadTable:
    what = f"road `{road.name}`"
    _known(table, "story", road.story, STORIES, what, told)
    for word in road.weather:
        _known(table, "weather", word, WEATHER, what, told)
    _vehicle(table, road.plant, plants, what, told)
    return road


def _cabin(table: Table, cabin: CabinTable, plants: dict[str, Plant], told: Complaints) -> CabinTable:
    what = f"cabin `{cabin.name}`"
    _known(table, "story", cabin.story, habits.STORIES, what, told)
    if cabin.light:
        _known(table, "light", cabin.light, habits.LIGHTS, what, told)
    _vehicle(table, cabin.plant, plants, what, told)
    return cabin


def _vehicle(table: Table, name: str, plants: dict[str, Plant], what: str, told: Complaints) -> None:
    if name and _known(table, "plant", name, plants, what, told) and not isinstance(plants[name], Vehicle):
        told.add(table, "plant", f"{what}: `{name}` is no vehicle")


def _registers(
    folder: Path, table: Table, device: DeviceTable, plants: dict[str, Plant], told: Complaints
) -> tuple[Register, ...]:
    roots = [root / "devices" for root in (folder, folder.parent, SHIPPED)]
    path = next((p for root in roots if (p := root / f"{device.profile}.toml").is_file()), None)
    what = f"device `{device.name}`"
    if path is None:
        shipped = [found.stem for root in roots for found in root.glob("*.toml")]
        told.add(table, "profile", f"{what}: no device profile `{device.profile}`{nearest(device.profile, shipped)}")
        return ()
    try:
        found = registers(path)
    except (ValueError, KeyError) as error:
        told.add(table, "profile", f"{what}: {error}")
        return ()
    if device.plant in plants:
        plant = plants[device.plant]
        measured = {*plant.sensors, *plant.switches, "served"}
        for register in found:
            if register.key not in measured:
                told.add(
                    table,
                    "profile",
                    f"{what}: nothing in a {type(plant).__name__.lower()} measures `{register.key}`"
                    f"{nearest(register.key, measured)}",
                )
    return found


def _beat(
    table: Table, plants: dict[str, Plant], maps: dict[str, tuple[Register, ...]], told: Complaints
) -> Beat | None:
    do = table.get("do")
    if do not in ACTIONS:
        told.add(table, "do", f"a beat cannot do {do!r}{nearest(str(do), ACTIONS)}")
        return None
    what = f"beat `{do}`"
    beat: Any = decode(table, ACTIONS[do], told, what, ("do",))
    if beat is None:
        return None
    if (beat.at is None) == (beat.after is None):
        told.add(table, None, f"{what}: say when: either `at`, or `after` an output")
    if beat.after is not None:
        outputs = [f"{name}/{r.key}" for name, row in maps.items() for r in row if r.table == "coil"]
        _known(table, "after", beat.after, outputs, what, told)
    if hasattr(beat, "device") and _known(table, "device", beat.device, maps, what, told) and hasattr(beat, "channel"):
        _known(table, "channel", beat.channel, [r.key for r in maps[beat.device]], what, told)
    if isinstance(beat, Set) and _known(table, "plant", beat.plant, plants, what, told):
        fields = structs.asdict(plants[beat.plant].start())
        for key, value in beat.to.items():
            if key not in fields:
                told.add(table, "to", f"{what}: `{beat.plant}` has no `{key}`{nearest(key, fields)}")
            elif isinstance(fields[key], bool) != isinstance(value, bool):
                kind = "true or false" if isinstance(fields[key], bool) else "a number"
                told.add(table, "to", f"{what}: `{key}` should be {kind}, is {value!r}")
    return beat  # type: ignore[no-any-return]


class _HazardTable(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    truth: dict[str, Any]
    channel: str
    rule: str
    level: str = ""


def _hazard(
    table: Table, plants: dict[str, Plant], maps: dict[str, tuple[Register, ...]], told: Complaints
) -> Hazard | None:
    what = f"hazard `{table.get('name', '?')}`"
    row = decode(table, _HazardTable, told, what)
    if row is None:
        return None
    type_: Any = Condition if "is" in row.truth else Quantity
    truth = decode(table["truth"], type_, told, f"{what}, truth")
    if isinstance(truth, Condition):
        _known(table, "is", truth.is_, CONDITIONS, what, told)
        if _known(table, "device", truth.device, maps, what, told) and truth.channel:
            _known(table, "channel", truth.channel, [r.key for r in maps[truth.device]], what, told)
    elif isinstance(truth, Quantity):
        if (truth.above is None) == (truth.below is None):
            told.add(table, "truth", f"{what}: give one limit, `above` or `below`")
        if _known(table, "plant", truth.plant, plants, what, told):
            plant = plants[truth.plant]
            _known(table, "quantity", truth.quantity, plant.truth(plant.start()), what, told)  # type: ignore[arg-type]
    return (
        None
        if truth is None
        else Hazard(name=row.name, truth=truth, channel=row.channel, rule=row.rule, level=row.level)
    )


# -- playing --------------------------------------------------------------------------------------


class Stage:
    """The plants of a scenario, served and moved. Time is given by `clock` (monotonic s)."""

    def __init__(self, scenario: Scenario, clock: Callable[[], float] = time.monotonic) -> None:
        self.scenario, self.clock = scenario, clock
        self.states: dict[str, Any] = {name: plant.start() for name, plant in scenario.plants.items()}
        self.devices = {
            row.name: Device(row.name, row.unit, scenario.registers[row.name], clock) for row in scenario.devices
        }
        for row in scenario.devices:
            self.devices[row.name].on_write = self._writer(row)
        self.lines: dict[str, TcpLine | PtyLine] = {}
        self.cameras: dict[str, CameraServer] = {}
        self.ways = {road.name: own(STORIES[road.story]) for road in scenario.roads}
        self.zero: float | None = None  # monotonic s at which the story began
        self.episodes: list[Episode] = []  # finished
        self.written: list[tuple[str, str, float]] = []  # device, key, value: switched over, and not yet told
        self._open: dict[int, Episode] = {}
        self._ticks = 0
        self._due = list(scenario.beats)
        self._first_on: dict[str, float] = {}  # device/key -> monotonic s
        self._measure()

    # -- serving --

    async def start(self, anywhere: bool = False) -> None:
        """Serve all lines where the scenario says, or `anywhere` that is free. Raises `LineLost`."""
        for row in self.scenario.lines:
            devices = [self.devices[d.name] for d in self.scenario.devices if d.line == row.name]
            url = urlsplit(row.url)
            line: TcpLine | PtyLine
            if url.scheme == "tcp":
                line = TcpLine(devices, url.hostname or "127.0.0.1", 0 if anywhere else url.port or 502)
            else:
                line = PtyLine(devices, row.baud, None if anywhere else url.path)
            try:
                await line.start()
            except OSError as error:
                await self.stop()
                raise LineLost(f"serve {row.url}: {error.strerror or error}; is something else there?") from None
            self.lines[row.name] = line
        for road in self.scenario.roads:
            await self._open_eye(road, anywhere)
        for cabin in self.scenario.cabins:
            await self._open_eye(cabin, anywhere)

    async def _open_eye(self, row: RoadTable | CabinTable, anywhere: bool) -> None:
        what = f"road `{row.name}`" if isinstance(row, RoadTable) else f"cabin `{row.name}`"
        try:
            from . import cabin, road  # OpenCV is an extra
            from .video import CameraServer
        except ImportError as error:
            await self.stop()
            raise ConfigFault([f"{what}: {error}; install vedette[video]"]) from None
        scene: road.Drive | cabin.Trip
        if isinstance(row, RoadTable):
            scene = road.told(row.story, row.seed, row.weather, row.width, row.fps)
        else:
            scene = cabin.told(row.story, row.seed, row.light, row.width, row.fps)
        camera = CameraServer(fps=row.fps, scene=scene, clock=lambda: self.now)
        camera.port = 0 if anywhere else row.port
        try:
            await camera.start()
        except OSError as error:
            await self.stop()
            raise LineLost(f"serve {what} on port {row.port}: {error.strerror or error}") from None
        self.cameras[row.name] = camera

    async def stop(self) -> None:
        for line in self.lines.values():
            await line.stop()
        for camera in self.cameras.values():
            await camera.stop()
        self.lines.clear()
        self.cameras.clear()

    # -- moving --

    def begin(self) -> None:
        """The story's clock starts. Until now the plants stood still; their instruments trembled."""
        self.zero = self.clock()
        self._ticks = 0

    @property
    def now(self) -> float:
        """Seconds of the story."""
        return 0.0 if self.zero is None else self.clock() - self.zero

    def tick(self) -> list[Beat]:
        """One step of `TICK` seconds: what is due happens, the plants move, the truth is looked at."""
        self._ticks += 1
        happened: list[Beat] = []
        if self.zero is not None:
            story = self._ticks * TICK
            happened = [beat for beat in self._due if self._is_due(beat, story)]
            self._due = [beat for beat in self._due if beat not in happened]
            for beat in happened:
                self._do(beat)
            self._drive(story)
            for name, plant in self.scenario.plants.items():
                self.states[name] = plant.step(self.states[name], TICK)
        self._measure()
        self._look()
        return happened

    def truth(self) -> list[Episode]:
        """Every episode so far, in the order in which it came near."""
        return sorted([*self.episodes, *self._open.values()], key=lambda e: e.near if e.began is None else e.began)

    def _is_due(self, beat: Beat, story: float) -> bool:
        if beat.at is not None:
            return story >= beat.at
        first = self._first_on.get(beat.after or "")
        return first is not None and self.clock() >= first + beat.wait

    def _drive(self, story: float) -> None:
        """Our vehicles do what their roads' stories say."""
        for row in self.scenario.roads:
            if row.plant:
                road = STORIES[row.story]
                now = signals(road, self.ways[row.name], story % road.seconds)
                done = {key: value if key == "speed" else value > 0 for key, value in now.items()}
                self.states[row.plant] = structs.replace(self.states[row.plant], **done)
        for cabin in self.scenario.cabins:
            if cabin.plant:
                speed = habits.STORIES[cabin.story].speed
                self.states[cabin.plant] = structs.replace(self.states[cabin.plant], speed=speed)

    def _measure(self) -> None:
        said = {
            name: measure(plant, self.states[name], self.scenario.scene.seed, self._ticks)
            for name, plant in self.scenario.plants.items()
        }
        for row in self.scenario.devices:
            values = self.devices[row.name].values
            values.update({key: value for key, value in said[row.plant].items() if key in values})

    def _look(self) -> None:
        now = self.clock()
        for i, hazard in enumerate(self.scenario.hazards):
            open_ = self._open.get(i)
            after = follow(open_, hazard, self._signs(hazard, open_), now)
            if after is None:
                continue
            if after.left is None:
                self._open[i] = after
            else:
                self._open.pop(i, None)
                self.episodes.append(after)

    def _signs(self, hazard: Hazard, open_: Episode | None) -> Signs:
        truth = hazard.truth
        if isinstance(truth, Condition):
            type_ = CONDITIONS[truth.is_]
            there = any(
                isinstance(fault, type_) and getattr(fault, "channel", "") == truth.channel
                for fault in self.devices[truth.device].faults
            )
            return Signs(there, there)
        plant: Any = self.scenario.plants[truth.plant]
        accuracy = truth.accuracy
        if accuracy is None:
            accuracy = plant.sensors[truth.quantity].accuracy if truth.quantity in plant.sensors else 0.0
        running = open_ is not None and open_.began is not None and open_.over is None
        return signs(truth, plant.truth(self.states[truth.plant])[truth.quantity], accuracy, running)

    def _do(self, beat: Beat) -> None:
        now = self.clock()
        match beat:
            case Set():
                self.states[beat.plant] = structs.replace(self.states[beat.plant], **beat.to)
            case Kill():
                self.devices[beat.device].faults.append(faults.Dead())
            case Freeze():
                held = self.devices[beat.device].shown()[beat.channel]
                self.devices[beat.device].faults.append(faults.Freeze(beat.channel, held))
            case Drift():
                self.devices[beat.device].faults.append(faults.Drift(beat.channel, beat.per_s, now))
            case Spike():
                self.devices[beat.device].faults.append(faults.Spike(beat.channel, beat.height, now, beat.width))
            case Break():
                self.devices[beat.device].faults.append(faults.Break(beat.channel, beat.says))
            case Lower():
                self.devices[beat.device].faults.append(faults.Lower(beat.channel, beat.share))
            case Coarsen():
                self.devices[beat.device].faults.append(faults.Coarsen(beat.channel, beat.step))
            case Slow():
                self.devices[beat.device].faults.append(faults.Slow(beat.seconds))
            case Refuse():
                self.devices[beat.device].faults.append(faults.Refuse(beat.code))
            case Mend():
                self.devices[beat.device].faults.clear()

    def _writer(self, row: DeviceTable) -> Callable[[str, float], None]:
        """What a written coil does: it becomes an input of the plant, where the plant has one of that name."""

        def write(key: str, value: float) -> None:
            state = self.states[row.plant]
            if key not in self.scenario.scene.quiet and value != getattr(state, key, None):
                self.written.append((row.name, key, value))
            if value:
                self._first_on.setdefault(f"{row.name}/{key}", self.clock())
            if isinstance(getattr(state, key, None), bool):
                self.states[row.plant] = structs.replace(state, **{key: bool(value)})

        return write


async def play(stage: Stage, seconds: float | None, told: Callable[[list[Beat]], Any]) -> None:
    """Tick in real time, for `seconds` or for ever. `told` hears what happened (and is awaited if it wants)."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    n = 0
    while seconds is None or n * TICK < seconds:
        n += 1
        await asyncio.sleep(max(0.0, begin + n * TICK - loop.time()))
        waits = told(stage.tick())
        if asyncio.iscoroutine(waits):
            await waits


async def simulate(path: str | Path) -> int:
    """`vedette simulate`: serve the plants alone, tell where, and play the story until stopped."""
    stage = Stage(load(path))
    await stage.start()
    try:
        print(f"{stage.scenario.scene.title or path}")
        for row in stage.scenario.devices:
            line = stage.lines[row.line]
            print(f"  {row.name}: {line.url} unit {row.unit}, registers in configs/devices/{row.profile}.toml")
        for name, camera in stage.cameras.items():
            print(f"  {name}: {camera.url} and {camera.rtsp_url}")
        print("stop with Ctrl-C", flush=True)
        stage.begin()

        def told(beats: list[Beat]) -> None:
            for device, key, value in stage.written:
                print(f"{stage.now:7.1f} s  {device}: {key} was written: {value:g}", flush=True)
            stage.written.clear()
            for beat in beats:
                if beat.say:
                    print(f"{stage.now:7.1f} s  {beat.say}", flush=True)

        await play(stage, None, told)
    finally:
        await stage.stop()
    return 0


async def serve(row: RoadTable | CabinTable) -> int:
    """`vedette simulate --road STORY` or `--cabin STORY` without a file: the camera alone, until stopped."""
    roads = (row,) if isinstance(row, RoadTable) else ()
    cabins = (row,) if isinstance(row, CabinTable) else ()
    about = STORIES[row.story].about if isinstance(row, RoadTable) else habits.STORIES[row.story].about
    stage = Stage(Scenario(Scene(), {}, (), (), {}, (), (), roads, cabins))
    await stage.start()
    try:
        camera = stage.cameras[row.name]
        print(f"{about}\n  {camera.url}\n  {camera.rtsp_url}\nstop with Ctrl-C", flush=True)
        stage.begin()
        await play(stage, None, lambda _: None)
    finally:
        await stage.stop()
    return 0
