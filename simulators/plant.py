"""Plants as pure models: a mine heading, a pump sump with its reservoir, a tailings dam; and a vehicle on a road.

A plant is settings only. Its state is a frozen struct that also holds what people and weather do to it
(fan, pump, rain); the story changes those with `structs.replace`, `step` moves the rest by `dt` seconds.
`truth` is what a perfect instrument would read; `measure` is what a real one does. The same seed, steps
and story give the same readings. Nothing here knows of registers, sockets or clocks.

The numbers are of the order met on site and chosen so that two minutes tell the story (project); slow
plants have a `pace`: that many seconds of the plant pass in each second of the story.
"""

from __future__ import annotations

import math
import zlib
from typing import Any, ClassVar, TypeAlias

import numpy as np
from msgspec import Struct, structs


class Sensor(Struct, frozen=True):
    """One instrument: what it adds to the truth."""

    noise: float  # standard deviation, in the unit of the quantity
    step: float  # smallest difference that it can say
    low: float  # range
    high: float

    @property
    def accuracy(self) -> float:
        """Beyond this a reading differs from the truth only once in about 10,000 samples."""
        return 4.0 * self.noise + 0.5 * self.step


class HeadingState(Struct, frozen=True):
    """What stands in the heading now."""

    fan: bool = True  # the local fan runs
    siren: bool = False  # coil
    power_cut: bool = False  # coil: the electric gear of the heading is dead
    fan_lock: bool = False  # coil: whoever starts the fan, it does not start
    alive: bool = False  # coil: switched over and over by whoever watches
    beat: bool = False  # as `alive` stood last
    still: float = -1.0  # s since `alive` was switched over, -1: it never was
    gas_inflow: float = 0.045  # m3/s of methane while the road header cuts
    co_inflow: float = 3.8e-5  # m3/s of carbon monoxide
    air_speed: float = 0.80  # m/s
    ch4_t1: float = 0.469  # % vol, at the face
    ch4_t2: float = 0.469  # % vol, in the return
    co: float = 4.0  # ppm, in the return


class Heading(Struct, frozen=True, forbid_unknown_fields=True):
    """A coal heading, ventilated by a local fan: two well-mixed volumes in series.

        dv/dt  = (v_fan or v_leak - v) / tau
        dC1/dt = (100 q - Q C1) / V1                 Q = v A, q = methane inflow
        dC2/dt = Q (C1 - C2) / V2
        dCO/dt = (1e6 q_co - Q CO) / V2

    With power cut the road header stands and the seam gives `idle_share` of its methane. The relay of the power cut has
    a timer of its own: once `alive` was switched over, it cuts whenever that does not happen for `patience`.
    """

    area: float = 12.0  # m2, cross-section
    face: float = 30.0  # m3, air between face and duct
    roadway: float = 150.0  # m3, air from there to the return sensor
    fan_speed: float = 0.80  # m/s in the roadway while the fan runs
    leak_speed: float = 0.06  # m/s when it does not
    tau: float = 2.5  # s, inertia of the air and the fan
    idle_share: float = 0.6  # of the methane inflow that remains when nothing cuts
    patience: float = 3.0  # s of the relay

    sensors: ClassVar[dict[str, Sensor]] = {
        "ch4_t1": Sensor(0.004, 0.01, 0.0, 4.0),  # catalytic, AQ 6203 class
        "ch4_t2": Sensor(0.004, 0.01, 0.0, 4.0),
        "co": Sensor(0.25, 0.1, 0.0, 500.0),
        "air_speed": Sensor(0.012, 0.01, 0.0, 15.0),
    }
    switches: ClassVar[tuple[str, ...]] = ("fan", "siren", "power_cut", "fan_lock", "alive", "feed")

    def start(self) -> HeadingState:
        return HeadingState()

    def step(self, state: HeadingState, dt: float) -> HeadingState:
        still = 0.0 if state.alive != state.beat else state.still + dt if state.still >= 0 else state.still
        fan = state.fan and not state.fan_lock
        target = self.fan_speed if fan else self.leak_speed
        speed = _toward(state.air_speed, target, dt / self.tau)
        flow = max(speed, 1e-6) * self.area  # m3/s
        methane = 100.0 * state.gas_inflow * (1.0 if self.is_fed(state) else self.idle_share)
        # Each volume is solved exactly over dt: dC/dt = (in - flow C) / V tends to in/flow at rate flow/V.
        t1 = _toward(state.ch4_t1, methane / flow, dt * flow / self.face)
        t2 = _toward(state.ch4_t2, state.ch4_t1, dt * flow / self.roadway)
        co = _toward(state.co, 1e6 * state.co_inflow / flow, dt * flow / self.roadway)
        air = {"air_speed": speed, "ch4_t1": min(t1, 100.0), "ch4_t2": min(t2, 100.0), "co": co}
        return structs.replace(state, fan=fan, beat=state.alive, still=still, **air)

    def is_fed(self, state: HeadingState) -> bool:
        """Whether there is power for the electric gear."""
        return not state.power_cut and state.still <= self.patience

    def truth(self, state: HeadingState) -> dict[str, float]:
        return _numbers(state) | {"feed": float(self.is_fed(state))}


class SumpState(Struct, frozen=True):
    """What stands in the pump room and the reservoir now."""

    pump_ok: bool = True  # False: the pump has failed, whatever its float switch says
    pump: bool = False  # it runs
    lift: float = 0.09  # m3/s that the pumps move when they run
    inflow: float = 0.03  # m3/s into the sump
    rain: float = 0.0  # mm/h on the reservoir's catchment
    level: float = 1.50  # m, sump
    reservoir: float = 12.40  # m


class Sump(Struct, frozen=True, forbid_unknown_fields=True):
    """A mine sump with a float-switched pump, and the surface reservoir that takes its water.

    dL/dt = (inflow - pump) / area                  pump on above `on`, off below `off`
    dR/dt = (rain runoff catchment + pump - release) / lake
    """

    area: float = 12.0  # m2 of the sump
    on: float = 1.70  # m
    off: float = 1.20  # m
    floor: float = 0.0  # m, empty
    brim: float = 5.0  # m, full: the rest runs away
    lake: float = 8.0e4  # m2 of the reservoir
    catchment: float = 1.5e6  # m2
    runoff: float = 0.5  # share of the rain that arrives
    release: float = 0.06  # m3/s

    sensors: ClassVar[dict[str, Sensor]] = {
        "level": Sensor(0.004, 0.001, 0.0, 6.0),  # hydrostatic, 4-20 mA
        "inflow": Sensor(0.002, 0.001, 0.0, 5.0),
        "reservoir": Sensor(0.003, 0.001, 0.0, 30.0),
        "rain": Sensor(0.0, 0.2, 0.0, 400.0),  # tipping bucket
    }
    switches: ClassVar[tuple[str, ...]] = ("pump",)

    def start(self) -> SumpState:
        return SumpState()

    def step(self, state: SumpState, dt: float) -> SumpState:
        wanted = state.level >= self.on or (state.pump and state.level > self.off)
        pump = wanted and state.pump_ok
        lifted = state.lift if pump else 0.0
        level = state.level + (state.inflow - lifted) * dt / self.area
        rain = state.rain / 1000.0 / 3600.0 * self.runoff * self.catchment  # m3/s
        reservoir = state.reservoir + (rain + lifted - self.release) * dt / self.lake
        return structs.replace(
            state, pump=pump, level=min(max(level, self.floor), self.brim), reservoir=max(reservoir, 0.0)
        )

    def truth(self, state: SumpState) -> dict[str, float]:
        return _numbers(state)


class TailingsState(Struct, frozen=True):
    """What stands at the dam now."""

    rain: float = 0.0  # mm/h
    decant: float = 0.02  # m3/s out of the pond
    unrest: float = 0.0  # 1/mm: a of dv/dt = a v^2; above 0 the slope runs away, below 0 it comes to rest
    pond: float = 116.90  # m above datum
    phreatic_1: float = 8.4  # m below the face of the dam
    phreatic_2: float = 7.6
    displacement: float = 3.0  # mm, at the point of the dam that moves most
    velocity: float = 0.3  # mm/h


class Tailings(Struct, frozen=True, forbid_unknown_fields=True):
    """An upstream tailings dam: water balance of the pond, geometry of the beach, seepage, creep.

        dP/dt = (slurry + rain catchment runoff - decant) / pool
        beach = (crest - P) / slope                              GB 39496 geometry
        dD/dt = (D0 - gain (P - P0) - D) / lag                   phreatic depth follows the pond late
        dx/dt = v,  dv/dt = a v^2                                Fukuzono's creep, bounded by `fastest`

    `creep` in the truth is the velocity in mm per minute of the story's clock.
    """

    pace: float = 600.0  # s of the dam per s of the story
    crest: float = 118.0  # m above datum
    slope: float = 0.011  # of the beach
    pool: float = 5.0e4  # m2
    catchment: float = 4.0e5  # m2
    runoff: float = 0.6
    slurry: float = 0.02  # m3/s of water that comes with the tailings
    gain: float = 1.5  # m of phreatic depth lost per m of pond, at last
    lag: float = 36000.0  # s
    points: tuple[float, ...] = (0.95, 0.80, 0.65, 0.50)  # displacement of further points, as a share of that one's
    slowest: float = 0.3  # mm/h
    fastest: float = 12.0  # mm/h

    sensors: ClassVar[dict[str, Sensor]] = {
        "pond": Sensor(0.004, 0.001, 100.0, 120.0),
        "beach": Sensor(0.25, 0.1, 0.0, 400.0),  # laser
        "phreatic_1": Sensor(0.012, 0.01, 0.0, 40.0),  # vibrating wire
        "phreatic_2": Sensor(0.012, 0.01, 0.0, 40.0),
        **{
            f"displacement{n}": Sensor(0.15, 0.1, -500.0, 500.0) for n in ("", "_1", "_2", "_3", "_4")
        },  # GNSS, filtered
        "creep": Sensor(1.0, 0.0, 0.0, 1e6),  # no instrument: what eight seconds of displacement can tell
    }
    switches: ClassVar[tuple[str, ...]] = ()

    def start(self) -> TailingsState:
        return TailingsState()

    def step(self, state: TailingsState, dt: float) -> TailingsState:
        t = dt * self.pace
        start = self.start()
        rain = state.rain / 1000.0 / 3600.0 * self.runoff * self.catchment  # m3/s
        pond = min(state.pond + (self.slurry + rain - state.decant) * t / self.pool, self.crest)
        rise = self.gain * (pond - start.pond)
        # dv/dt = a v^2 solved exactly: 1/v falls by a t; at zero the slope has failed, so it is bounded.
        inverse = 1.0 / state.velocity - state.unrest * t / 3600.0
        velocity = self.fastest if inverse <= 1.0 / self.fastest else max(1.0 / inverse, self.slowest)
        return structs.replace(
            state,
            pond=pond,
            phreatic_1=max(_toward(state.phreatic_1, start.phreatic_1 - rise, t / self.lag), 0.0),
            phreatic_2=max(_toward(state.phreatic_2, start.phreatic_2 - rise, t / self.lag), 0.0),
            displacement=state.displacement + 0.5 * (state.velocity + velocity) * t / 3600.0,
            velocity=velocity,
        )

    def truth(self, state: TailingsState) -> dict[str, float]:
        beach = max((self.crest - state.pond) / self.slope, 0.0)
        start = self.start().displacement
        moved = {f"displacement_{n}": start + k * (state.displacement - start) for n, k in enumerate(self.points, 1)}
        return _numbers(state) | moved | {"beach": beach, "creep": state.velocity * self.pace / 60.0}


class VehicleState(Struct, frozen=True):
    """What our vehicle does now; a drawn road sets all but the way."""

    speed: float = 0.0  # m/s
    brake: bool = False
    left: bool = False  # turn signals
    right: bool = False
    way: float = 0.0  # m driven


class Vehicle(Struct, frozen=True, forbid_unknown_fields=True):
    """What a vehicle's gateway says beside its camera: speed, odometer, brake and turn signals. No position."""

    sensors: ClassVar[dict[str, Sensor]] = {
        "speed_kmh": Sensor(0.05, 0.1, 0.0, 250.0),  # of the gearbox
        "way_m": Sensor(0.0, 1.0, 0.0, 4.0e9),
    }
    switches: ClassVar[tuple[str, ...]] = ("brake", "left", "right")

    def start(self) -> VehicleState:
        return VehicleState()

    def step(self, state: VehicleState, dt: float) -> VehicleState:
        return structs.replace(state, way=state.way + state.speed * dt)

    def truth(self, state: VehicleState) -> dict[str, float]:
        return _numbers(state) | {"speed_kmh": 3.6 * state.speed, "way_m": state.way}


Plant: TypeAlias = Heading | Sump | Tailings | Vehicle
PLANTS: dict[str, type[Plant]] = {"heading": Heading, "sump": Sump, "tailings": Tailings, "vehicle": Vehicle}


def measure(plant: Plant, state: Any, seed: int, tick: int) -> dict[str, float]:
    """What the instruments of `plant` say in tick `tick`: truth, noise, quantum, range; switches as 0 and 1.

    >>> measure(Sump(), Sump().start(), seed=1, tick=0)["pump"]
    0.0
    """
    truth = plant.truth(state)
    random = np.random.default_rng((seed, zlib.crc32(type(plant).__name__.encode()), tick))
    shocks = random.standard_normal(len(plant.sensors)).tolist()
    said = {}
    for (key, sensor), shock in zip(plant.sensors.items(), shocks, strict=True):
        value = truth[key] + sensor.noise * shock
        if sensor.step > 0:
            value = round(value / sensor.step) * sensor.step
        said[key] = min(max(value, sensor.low), sensor.high)
    return said | {key: truth[key] for key in plant.switches}


def _toward(now: float, then: float, share: float) -> float:
    """First-order approach from `now` to `then`; exact for any step, never beyond."""
    return then + (now - then) * math.exp(-share)


def _numbers(state: Struct) -> dict[str, float]:
    return {name: float(value) for name, value in structs.asdict(state).items()}
