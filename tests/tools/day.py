"""A day at a mine with its dam and its plant, as frames: what healthy instruments show, and one real event.

Nothing is opened and nobody waits: a `Day` yields what the core is given, in the order of time, and is told the orders
that come of it. It is a function of its seed.

A channel shows   usual + swing over the day + slow wandering (AR(1)) + white noise,   rounded to the instrument's step
and kept in its range. Now and then, about once a day and channel, one single sample is wrong by `OUTLIER` times the
instrument's basic error. Polls fail, in part or as a whole; a source is silent for a while; sensors break, and are
calibrated. The levels are those of a site where nothing is wrong (`KINDS`): methane 0.2 to 0.5 % at a face whose limits
are 1.0 and 1.5 %, 0.15 to 0.4 % in its return that is cut at 1.0 %, 0.02 to 0.08 % in an intake that is cut at 0.5 %.

No sensor of an interlock breaks and no heading is silent for longer than its readings count: blind is as bad as
exceeded there, so that a cut would be true. One is calibrated, under a permit, as it should be.

The event: the face of one heading breathes out. Methane rises by `RISE` through all limits, and is gone later. The feed
of that heading follows its trip, a person acknowledges, and lets the site's red go in the evening.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from agent import checkpoint, config
from agent.config import Config
from agent.core.alarm import Alarm, Order
from agent.core.core import Ack, Action, Input, Memory, Tick, Verb, open_alarms
from agent.core.frame import BLIND, Array, Frame, Instant, Layout, Quality, frame

DAY = 86400.0  # s
HOUR = 3600.0
MIDNIGHT = 1_800_000_000.0  # s, the wall clock at its begin
OUTLIER = (1.0, 2.5)  # times the basic error
OUTLIERS = 1.0  # a day and channel
POLL_LOST, BLOCK_LOST = 0.001, 0.002  # of all polls: nothing came; a block of it did not
BLOCK = 62  # channels of one request
SILENT = 4.5  # periods for which a source is silent, once; its readings count for 3
BROKEN, CALIBRATED = 600.0, 900.0  # s for which a sensor is
SHARE = 0.002  # of all channels are broken once, and as many calibrated

RISE = 0.05  # % of methane a second
CUT, BACK = 1.5, 1.0  # %, coal/ch4/T1
BEGIN, END = 14 * HOUR + 433.7, 14 * HOUR + 2000.0  # s when it begins to rise; when it is gone
ERROR = 0.10  # % of methane, basic error of the sensor; AQ 6203 for 0 to 1 %, verify
FACE, OTHER = "heading0", "heading1"  # where it happens; where a sensor is calibrated


class Kind(NamedTuple):
    """What an instrument is for and how it behaves. All but `profile`, times and counts in `unit`; figures: project."""

    profile: str
    unit: str
    low: float  # of the instrument's range
    high: float
    usual: tuple[float, float]  # of a healthy site
    white: float  # standard deviations: of each sample
    slow: float  # and of what wanders
    wander: float  # s after which that is another
    swing: float  # amplitude over the day
    times: float  # a day
    error: float  # basic, after the standard or the data sheet of such instruments
    step: float  # the smallest difference that it shows
    limits: str = ""  # that the profile leaves to the site


KINDS = {
    "t1": Kind("coal/ch4/T1", "%", 0, 4, (0.2, 0.5), 0.01, 0.03, 900, 0.05, 3, ERROR, 0.01),
    "t2": Kind("coal/ch4/T2", "%", 0, 4, (0.15, 0.4), 0.01, 0.03, 900, 0.05, 3, ERROR, 0.01),
    "t3": Kind("coal/ch4/T3", "%", 0, 4, (0.02, 0.08), 0.01, 0.01, 900, 0.02, 3, ERROR, 0.01),
    "co": Kind("coal/co", "ppm", 0, 500, (1, 5), 0.5, 1.0, 1800, 1.5, 3, 4, 1),
    "o2": Kind("coal/o2/intake", "%", 0, 25, (20.75, 20.9), 0.03, 0.03, HOUR, 0.0, 1, 0.25, 0.01),
    "air": Kind("coal/air-speed/heading", "m/s", 0, 15, (1.0, 2.0), 0.05, 0.08, 300, 0.1, 3, 0.2, 0.01),
    "heat": Kind("coal/temperature/face", "degC", 0, 40, (19, 23), 0.05, 0.3, HOUR, 0.5, 1, 0.5, 0.1),
    "sump": Kind(
        "water/sump/level", "m", 0, 5, (1.2, 1.4), 0.01, 0.02, HOUR, 0.6, 36, 0.02, 0.001, "{ high = 2.6, flood = 3.2 }"
    ),
    "moves": Kind(
        "tailings/displacement",
        "mm",
        -500,
        500,
        (2, 8),
        1.5,
        1.0,
        4 * HOUR,
        1.5,
        1,
        3,
        0.1,
        "{ yellow = 30.0, orange = 40.0, red = 50.0 }",
    ),
    "line": Kind("tailings/phreatic/H30-60", "m", 0, 30, (5.5, 8), 0.005, 0.02, 6 * HOUR, 0.02, 1, 0.05, 0.001),
    "beach": Kind("tailings/beach/upstream/3", "m", 0, 500, (105, 130), 0.5, 1.0, 6 * HOUR, 0.5, 1, 3, 0.1),
    "lel": Kind("chemical/combustible/any", "%LEL", 0, 100, (0, 3), 0.3, 0.8, 1800, 0.5, 1, 5, 1),
    "h2s": Kind("chemical/toxic/H2S", "mg/m3", 0, 100, (0, 1.5), 0.2, 0.3, 1800, 0.1, 1, 1.5, 0.1),
    "oxygen": Kind("chemical/oxygen", "%", 0, 30, (20.8, 20.95), 0.03, 0.05, HOUR, 0.0, 1, 0.25, 0.1),
    "tank": Kind(
        "chemical/tank/level",
        "m",
        0,
        15,
        (4, 8),
        0.005,
        0.01,
        HOUR,
        1.5,
        2,
        0.02,
        0.001,
        "{ HH = 12.0, H = 11.0, L = 1.5, LL = 0.8 }",
    ),
}
CONTACT = Kind("", "", 0, 1, (1, 1), 0, 0, HOUR, 0, 1, 0, 1)
NOTHING: Mapping[int, float] = {}
PLACES: dict[str, dict[str, int]] = {  # what stands where, in parts
    "mine": {"t1": 14, "t2": 14, "t3": 6, "co": 20, "o2": 10, "air": 16, "heat": 18, "sump": 2},
    "plant": {"lel": 50, "h2s": 25, "oxygen": 10, "tank": 15},
    "dam": {"moves": 50, "line": 40, "beach": 10},
}
TURN = ("mine", "plant", "mine", "dam", "mine")
GAS = {"t1": 2.0, "t2": 2.0, "lel": 50.0, "h2s": 15.0}  # what it is calibrated with


# -- the site -------------------------------------------------------------------------------------


def site(folder: Path, channels: int, period: float, fast: float) -> Config:
    """So many channels in stations that are read each `period` s, and two headings that are read each `fast` s."""
    sources = max(len(TURN), channels // 500)
    text = '[site]\nname = "day"\n[store]\npath = "state"\n'
    for n in range(2):
        feed = f'feed = "heading{n}/feed"\n' if fast <= 2.0 else ""  # read too seldom it cannot be checked within 2 s
        text += HEADING_TOML.format(n=n, port=1500 + n, fast=fast, feed=feed)
    for n in range(sources):
        size = channels // sources + (n < channels % sources)
        where = TURN[n % len(TURN)]
        parts, whole = PLACES[where], sum(PLACES[where].values())
        kinds = [kind for kind, part in parts.items() for _ in range(max(1, size * part // whole))]
        kinds = kinds[:1] * (size - len(kinds)) + kinds
        rows = ["key,at,type,unit,low,high"]
        for i, kind in enumerate(kinds):
            one = KINDS[kind]
            rows.append(f"{kind}_{i},holding:{2 * i},float32,{one.unit},{float(one.low)},{float(one.high)}")
        (folder / f"{where}{n}.csv").write_text("\n".join(rows))
        text += STATION_TOML.format(name=f"{where}{n}", port=1600 + n, period=period)
    for name, one in KINDS.items():
        limits = f"limits = {one.limits}\n" if one.limits else ""
        text += f'[[rule]]\nname = "{name}"\nchannel = "*/{name}_*"\nprofile = "{one.profile}"\n{limits}'
    path = folder / "site.toml"
    path.write_text(text + ITEMS_TOML)
    return config.load(path)


HEADING_TOML = """
[[bus]]
name = "net-heading{n}"
url = "tcp://10.0.0.1:{port}"
output = [
  {{ name = "siren{n}", device = "heading{n}", at = "coil:0", armed = true }},
  {{ name = "cut{n}", device = "heading{n}", at = "coil:1", armed = true }},
  {{ name = "alive{n}", device = "heading{n}", at = "coil:2", armed = true, heartbeat = 1.0 }},
]
[[bus.device]]
name = "heading{n}"
period = {fast}
channel = [
  {{ key = "t1", at = "input:0", type = "float32", unit = "%", low = 0.0, high = 4.0 }},
  {{ key = "t2", at = "input:2", type = "float32", unit = "%", low = 0.0, high = 4.0 }},
  {{ key = "air", at = "input:4", type = "float32", unit = "m/s", low = 0.0, high = 15.0 }},
  {{ key = "fan", at = "discrete:0" }},
  {{ key = "feed", at = "discrete:1" }},
]
[[interlock]]
name = "zone{n}"
kind = "methane"
ch4 = {{ "coal/ch4/T1" = "heading{n}/t1", "coal/ch4/T2" = "heading{n}/t2" }}
fan = "heading{n}/fan >= 1"
air = "heading{n}/air >= 0.25"
{feed}alarm = ["siren{n}"]
trip = ["cut{n}"]
heartbeat = "alive{n}"
"""
STATION_TOML = """
[[bus]]
name = "net-{name}"
url = "tcp://10.0.0.1:{port}"
[[bus.device]]
name = "{name}"
period = {period}
points = "{name}.csv"
"""
ITEMS_TOML = """
[[rule]]
name = "stuck"
kind = "frozen"
channel = "*/t1_*"
limit = 3600.0
[[item]]
name = "dam"
channel = "*/moves_*"
[[item]]
name = "mine"
channel = ["heading*/t*", "*/t1_*", "*/t2_*"]
"""


# -- the day --------------------------------------------------------------------------------------


def moment(t: float) -> Instant:
    """`t` s after midnight, when the machine was started."""
    return Instant(t, MIDNIGHT + t, True)


class Spell(NamedTuple):
    """For a while a channel, or a whole source, is not as it should be."""

    begin: float  # s of the day
    end: float
    column: int  # -1: the whole source
    quality: Quality


class Station:
    """One source: its channels, and what becomes of them. What is of no `Kind` is a contact."""

    def __init__(self, name: str, layout: Layout, period: float, rng: np.random.Generator, outliers: float) -> None:
        self.name, self.layout, self.period, self.rng, self.outliers = name, layout, period, rng, outliers
        self.kinds = [key.partition("_")[0] for key in layout.key]
        known = [KINDS.get(kind, CONTACT) for kind in self.kinds]
        n = len(known)
        low, high = np.array([k.usual for k in known], float).T
        self.usual = rng.uniform(low, high)
        self.white, self.slow, self.swing, self.error, self.step, self.low, self.high = (
            np.array([getattr(k, name) for k in known], float)
            for name in ("white", "slow", "swing", "error", "step", "low", "high")
        )
        self.keeps = np.exp(-period / np.array([k.wander for k in known], float))
        self.takes = np.sqrt(1.0 - self.keeps**2)
        self.turns = 2 * np.pi * np.array([k.times for k in known]) / DAY
        self.phase = rng.uniform(0, 2 * np.pi, n)
        self.wandering = rng.standard_normal(n)
        self.spells: list[Spell] = []

    def plan(self, count: int) -> None:
        """It is silent once, and so many of its sensors break, and are calibrated, at times of their own."""
        begin = self._sometime()
        self.spells.append(Spell(begin, begin + SILENT * self.period, -1, Quality.OFFLINE))
        gas = [i for i, kind in enumerate(self.kinds) if kind in GAS]
        for choice, quality, lasts in (
            (list(range(len(self.kinds))), Quality.FAULT, BROKEN),
            (gas, Quality.CALIBRATING, CALIBRATED),
        ):
            for column in self.rng.permutation(choice)[:count].tolist():
                begin = self._sometime()
                self.spells.append(Spell(begin, begin + max(lasts, 4 * self.period), column, quality))

    def _sometime(self) -> float:
        return float(self.rng.uniform(HOUR, DAY - 2 * HOUR))

    def shown(self, t: float) -> Array:
        """What the instruments show at `t` s of the day, nothing being wrong."""
        n, rng = len(self.layout), self.rng
        noise = rng.standard_normal((2, n))
        self.wandering = self.keeps * self.wandering + self.takes * noise[0]
        value: Array = self.usual + self.swing * np.sin(self.turns * t + self.phase)
        value += self.slow * self.wandering + self.white * noise[1]
        hit = rng.integers(0, n, rng.poisson(n * OUTLIERS * self.period / DAY))
        if len(hit):
            wrong = self.error[hit] * rng.uniform(*OUTLIER, len(hit)) * rng.choice([-1.0, 1.0], len(hit))
            anything = rng.uniform(self.low[hit], self.high[hit])
            value[hit] = anything if self.outliers == math.inf else value[hit] + self.outliers * wrong
        return value

    def frame(self, at: Instant, more: Mapping[int, float] = NOTHING) -> Frame | None:
        """The poll at `at`; None where nothing came. `more`: by column, what is really there beside the usual."""
        t, value, quality = at.mono, self.shown(at.mono), np.zeros(len(self.layout), np.uint8)
        for column, real in more.items():
            value[column] += real
        value = np.clip(np.round(value / self.step) * self.step, self.low, self.high)
        lost, cut = self.rng.random(2)
        for spell in self.spells:
            if spell.begin <= t < spell.end:
                if spell.column < 0:
                    return None
                quality[spell.column] = spell.quality
                value[spell.column] = GAS.get(self.kinds[spell.column], 0.0) if spell.quality < BLIND else np.nan
        if lost < POLL_LOST:
            return None
        if cut < BLOCK_LOST:
            first = BLOCK * int(self.rng.integers(0, 1 + (len(value) - 1) // BLOCK))
            value[first : first + BLOCK], quality[first : first + BLOCK] = np.nan, Quality.UNCERTAIN
        return frame(self.name, at, self.layout, value, quality)


class Day:
    """What the core of a site is given in a day, and what it did.

    `peak`: to how many % the methane rises at the face. `outliers`: how many times as wrong a wrong sample is as a
    healthy instrument's; infinite: anything in its range. `begin`, `end`: s of the day.
    """

    def __init__(
        self,
        made: Config,
        seed: int = 1,
        outliers: float = 1.0,
        peak: float = 3.0,
        begin: float = 0.0,
        end: float = DAY,
    ) -> None:
        stations = [
            Station(name, layout, period, np.random.default_rng([seed, n]), outliers)
            for n, driver in enumerate(made.drivers)
            for name, layout in driver.layouts().items()
            for period in [float(layout.stale[0]) / 3]  # as nothing else is said there
        ]
        self.headings = [station for station in stations if station.name in (FACE, OTHER)]
        self.stations = [station for station in stations if station not in self.headings]
        self.fast, self.period = self.headings[0].period, self.stations[0].period  # s
        self.begin, self.end = begin, end
        self.channels = sum(len(station.layout) for station in stations)
        self.held: set[str] = set()
        for station in self.stations:
            station.plan(max(1, round(SHARE * len(station.layout))))
        self.headings[1].spells.append(Spell(9 * HOUR, 9 * HOUR + CALIBRATED, 0, Quality.CALIBRATING))
        face, usual = self.headings[0], 0.4
        face.usual[0], face.swing[0], face.slow[0] = usual, 0.0, 0.0  # so that the truth is a straight line
        self.gas = peak - usual
        self.crossing = BEGIN + (CUT - usual) / RISE  # s of the day, of the real methane

    def obey(self, orders: Iterable[Order]) -> None:
        for order in orders:
            (self.held.add if order.on else self.held.discard)(order.output)

    def inputs(self) -> Iterator[Frame | Tick]:
        """What is read, and ticks, in the order of time. The orders that one gives are obeyed before the next."""
        for k in range(round(self.begin / self.fast), round(self.end / self.fast)):
            at = moment(k * self.fast)
            for n, heading in enumerate(self.headings):
                feed = heading.layout.key.index("feed")
                real = {feed: -1.0 if f"cut{n}" in self.held else 0.0}
                if n == 0 and at.mono < END:
                    real[0] = min(max(0.0, RISE * (at.mono - BEGIN)), self.gas)
                if (seen := heading.frame(at, real)) is not None:
                    yield seen
            if at.mono % self.period < self.fast:
                yield from (seen for station in self.stations if (seen := station.frame(at)) is not None)
                yield Tick(at)


# -- people ---------------------------------------------------------------------------------------

Deed = Callable[[Memory, Instant], list[Ack | Action]]


def _seen(memory: Memory, at: Instant) -> list[Ack | Action]:
    return [Ack(alarm.id, "Wang", at) for alarm in open_alarms(memory) if alarm.state == "active-unacked"]


def _does(verb: Verb, rule: str, channel: str, reason: str = "") -> Deed:
    return lambda memory, at: [Action(verb, rule, channel, "Li", at, reason)]


DEEDS: tuple[tuple[float, Deed], ...] = (  # s of the day
    (9 * HOUR - 60.0, _does("take-out", "zone1.permit", f"{OTHER}/t1", "permit 7")),
    (9 * HOUR + CALIBRATED + 60.0, _does("restore", "zone1.permit", f"{OTHER}/t1")),
    (BEGIN + 300.0, _seen),
    (17 * HOUR, _does("reset", "mine", "colour/mine")),  # red is let go by a person only, the parts first
    (17 * HOUR, _does("reset", "site", "colour/site")),
)


# -- what comes of it -----------------------------------------------------------------------------


class Diary(NamedTuple):
    """What the core said in a day, and what that cost."""

    alarms: list[Alarm]
    orders: list[Order]
    values: int  # that were judged, of all frames
    cpu: float  # s, of the core
    floor: float  # s, of one comparison of all values of each frame with a number


def live(made: Config, day: Day, restart: float | None = None) -> Diary:
    """The day through the core of its site; at `restart` s of it a new core takes over from a checkpoint."""
    core = made.core()
    memory = core.start("first", moment(day.begin))
    alarms: list[Alarm] = []
    orders: list[Order] = []
    values, cpu, floor = 0, 0.0, 0.0
    deeds = list(DEEDS)

    def step(event: Input) -> None:
        nonlocal memory, cpu
        began = time.thread_time()
        memory, verdict = core.step(memory, event)
        cpu += time.thread_time() - began
        day.obey(verdict.orders)
        orders.extend(verdict.orders)
        alarms.extend(verdict.alarms)

    for event in day.inputs():
        at = event.at
        if restart is not None and at.mono >= restart:
            restart, data = None, checkpoint.pack(core, memory, at, "kernel")
            core = made.core()
            fresh = checkpoint.unpack(core, core.start("second", at), data, at, "kernel")
            memory, verdict = core.adopt(fresh, open_alarms(memory), at)
            alarms += verdict.alarms
        while deeds and at.mono >= deeds[0][0]:
            for deed in deeds.pop(0)[1](memory, at):
                step(deed)
        if isinstance(event, Frame):
            values += len(event.value)
            began = time.thread_time()
            bool((event.value >= 1e9).any())
            floor += time.thread_time() - began
        step(event)
    return Diary(alarms, orders, values, cpu, floor)


def digest(alarms: Sequence[Alarm]) -> str:
    """Of all that was told, but for the boot in the ids: they are counted as they come."""
    known: dict[str, str] = {"": ""}
    whole = hashlib.sha256()
    for alarm in alarms:
        known.setdefault(alarm.id, str(len(known)))
        ids = {name: known[getattr(alarm, name)] for name in ("id", "first", "fold")}
        whole.update(msgspec.json.encode(msgspec.structs.replace(alarm, **ids)))
    return whole.hexdigest()[:16]


class Findings(NamedTuple):
    """What is right and what is wrong with a day's alarms."""

    raised: Counter[str]  # by level
    false_red: list[Alarm]
    others: Counter[str]  # by rule: neither red nor of the event, nor of a spell
    silences: tuple[int, int]  # told, of so many
    faults: tuple[int, int]
    delay: float  # s from the crossing to the order that cuts; NaN where it never came
    bound: float  # s


def find(made: Config, day: Day, diary: Diary) -> Findings:
    """The diary beside the truth."""
    raises = [alarm for alarm in diary.alarms if alarm.event in ("raised", "level-up")]
    late = ERROR / RISE  # s by which a sensor within its basic error is late, or early

    def is_event(alarm: Alarm) -> bool:
        where = alarm.channel == f"{FACE}/t1" or alarm.channel in ("colour/mine", "colour/site")
        return where and BEGIN <= alarm.at.mono < END and (alarm.level != "red" or alarm.at.mono >= day.crossing - late)

    told: dict[Quality, set[tuple[str, Spell]]] = {Quality.OFFLINE: set(), Quality.FAULT: set()}
    spells = [(s, spell) for s in day.stations for spell in s.spells if spell.quality in told]

    def is_spell(alarm: Alarm) -> bool:
        for station, spell in spells:
            channel = station.name if spell.column < 0 else f"{station.name}/{station.layout.key[spell.column]}"
            if alarm.channel == channel and spell.begin <= alarm.at.mono <= spell.end + day.period:
                told[spell.quality].add((station.name, spell))
                return True
        return False

    others = [alarm for alarm in raises if not is_event(alarm) and not is_spell(alarm)]
    cut = next(rule for rule in made.rules if rule.name == "zone0.T1.cut")
    ordered = [order.at.mono for order in diary.orders if order.output == "cut0" and order.on]
    return Findings(
        raised=Counter(alarm.level for alarm in raises),
        false_red=[alarm for alarm in others if alarm.level == "red"],
        others=Counter(alarm.rule for alarm in others if alarm.level != "red"),
        silences=(len(told[Quality.OFFLINE]), sum(spell.quality == Quality.OFFLINE for _, spell in spells)),
        faults=(len(told[Quality.FAULT]), sum(spell.quality == Quality.FAULT for _, spell in spells)),
        delay=min(ordered, default=math.nan) - day.crossing,
        bound=day.fast + cut.delay + late,
    )
