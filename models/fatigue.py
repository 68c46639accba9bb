"""From what a camera sees of the driver to what a fatigued, distracted or missing driver is told by.

The eye (`models/vision/face.py`) says what a picture shows, relative to the camera and of nobody in particular. Here it
becomes the seconds and shares that standards speak of, measured against this person in this seat: where the head
points while he drives, how wide his eyes are open then, how his mouth rests. That is learnt in the first minutes, and
anew when somebody else may have sat down; a driver who grows drowsy cannot teach it away. What cannot be seen is said
to be so and never guessed. Which seconds are too many, rules say, after profiles (`configs/profiles/vehicle.toml`).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from msgspec import Meta

from agent.core.frame import GOOD, OVER_RANGE, UNCERTAIN, Array, Frame, Layout
from agent.core.ports import Detector, witnesses
from agent.sights import CABIN

KMH = {"km/h": 1.0, "m/s": 3.6}
HOUR, DAY = 3600.0, 86400.0  # s
NAN = math.nan
PARTS = ("perclos", "closure", "blink", "yawn", "nod", "time")  # of the score
COLUMNS = (
    ("closure", "s"),  # that both eyes have been shut without a break
    ("perclos", ""),  # share of the last 60 s of judged time with eyes shut by 80 % or more
    ("blinks", "1/min"),
    ("blink", "s"),  # mean duration
    ("yawn", "s"),  # that the mouth has been wide open without a break
    ("yawns", ""),  # in 10 min
    ("nods", ""),  # in 10 min: the head sinks slowly and jerks up
    ("away", "s"),  # that the head has not pointed to the road
    ("zone", ""),  # where to: a row of ZONES
    ("absent", "s"),  # that nobody sits there
    ("covered", "s"),
    ("frozen", "s"),
    ("unseen", "s"),  # that somebody sits there whose eyes cannot be judged
    ("phone", "s"),
    ("smoke", "s"),
    ("belt", "s"),  # that it is not fastened
    ("score", ""),  # 1 awake ... 10
    *((f"part.{part}", "") for part in PARTS),  # of the score, 0 to 1 each
    ("grade", ""),  # 1 below the grading speed, 2 from there on, and where nobody knows the speed
    ("episodes", ""),  # eyes shut, head away or sinking, in 10 min
    ("driving", "h"),  # without the rest that the law asks for
    ("night", "h"),  # of it by night
    ("curfew", ""),  # 1: it drives when coaches should not
    ("known", ""),  # how well this person is known, 0 to 1
    ("change", ""),  # 1: somebody else may have sat down
)
ZONES = ("road", "mirror", "instruments", "side", "lap", "roof")

# How a picture is read; project, where nothing else is said.
FOUND = 0.4  # of a face, from which on it is one
LIKELY = 0.5  # of what else is a score
ERROR = 0.3  # of the probability that an eye is shut, beyond which it says nothing
SHUT = 0.4  # of the own opening of the lids, below which they may be shut: 0.2 is 80 % closed, and an error of as much
WINK = 0.6  # by which one eye is more surely shut than the other: who sleeps shuts both
CLASH, LATELY = 0.15, 4.0  # share of the time, over so many s, in which the eyes say opposite things: they are mirrors
OPENED = 1.0  # s that the eyes of somebody were open, before they can be shut: else nobody knows that they are seen
EDGEWISE = 50.0  # deg from the camera, beyond which the far eye says nothing of the other
TURNED = 40.0  # deg aside, from which on an eye that is seen edgewise says nothing
BOWED, STERN = 12.0, 0.8  # deg down: lids that follow the gaze down look shut; from this probability on they are
SIDE, DOWN, UP = 20.0, 15.0, 18.0  # deg from the neutral pose, beyond which the head does not point to the road;
# a head goes about half of the way that the gaze goes (55 and 30 deg in (EU) 2023/2590)
STAYS = 0.75  # of these, above which it still does not
FAR_SIDE, LAP = 40.0, 28.0  # deg: no mirror is there; no instrument is there
GAPES = 0.75  # of what a yawn begins with: so wide it goes on
LONGEST = 8.0  # s: a mouth that is open for longer does not yawn, and excuses no shut eye
SINKS, RISEN = 12.0, 6.0  # deg: the head has sunk, and is up again
SLOWLY, JERK = 0.7, 0.7  # s at least that it takes to sink, at most that it takes to rise

# How long something may be interrupted, s: by what contradicts it, and by what cannot be told.
GAP = 1.0  # between two pictures, after which nothing goes on
BLINK = 0.15  # two pictures
MOSTLY = 0.8  # of the time so far: what flickers more is no shut eye but a mirror
DIP = 0.1
GLANCE = 0.25  # at the road
SEAT = 0.5
LOST = 0.5
SLUMPS = 0.5  # s that eyes were shut, after which a face that is not found any more has sunk and not turned,
SUNK = 15.0  # s, for so long; as one that is lost while it turns away is turned away
ASIDE = 10.0  # s that eyes cannot be judged, after which a face that looks at the road is not said to sleep
BLINKS = 0.7  # s, the longest blink

# Windows
WINDOW, BLOCK, OLD = 60.0, 2.0, 300.0  # s: of PERCLOS, in blocks of judged time; older ones do not count
BLOCKS, NOTHING = int(WINDOW / BLOCK), (0.0, 0.0, 0.0, 0.0)
RECENT, MOST = 600.0, 32  # s that episodes are counted in, and how many at most
DOZE, NAP = 300.0, 0.5  # s in which shut eyes are forgotten, and that each time is free
# How a person is learnt
BINS = {"yaw": (-60.0, 2.5, 48), "pitch": (-45.0, 2.5, 36), "lid": (0.0, 0.05, 30), "open": (0.0, 0.05, 20),
        "mouth": (0.0, 0.05, 20)}  # lowest, width, number  # fmt: skip
FIRST, LATER = 0.5, 5.0  # s from one reckoning of it to the next
FORGET = 1200.0  # s
ODD, DOUBT = 10.0, 120.0  # deg off what was learnt, and s for which the head is usually there: somebody else, or the
# camera was turned
NEWS = 60.0  # s that a change is told
MISSED = 20.0  # s without anybody, after which it may be somebody else


class Run(NamedTuple):
    """Something that goes on. NaN: it does not."""

    since: float  # s when it was first seen
    seen: float  # s when it was last seen
    told: bool = False  # it has been counted

    @property
    def long(self) -> float:
        """s, 0 where nothing goes on."""
        return 0.0 if math.isnan(self.since) else self.seen - self.since


OFF = Run(NAN, NAN)


def run(one: Run, now: float, holds: bool | None, bridge: float, patience: float = LOST) -> Run:
    """It goes on, or not; None: it cannot be told.

    bridge, patience: s that it may be contradicted, or not be told, without an end.

    >>> run(run(OFF, 1.0, True, 0.1), 2.0, True, 0.1).long
    1.0
    """
    if holds:
        return Run(now if math.isnan(one.since) else one.since, now, one.told)
    if math.isnan(one.since) or now - one.seen > (patience if holds is None else bridge):
        return OFF
    return one


class Own(NamedTuple):
    """What is usual for this person."""

    yaw: float = 0.0  # deg, where the head points to the road
    pitch: float = 0.0
    lid: float = 1.0  # opening of the lids while awake
    shut: float = 0.5  # probability from which on an eye is shut
    mouth: float = 0.0  # opening at rest


class Learnt(NamedTuple):
    """How it is learnt: histograms side by side, in s."""

    counts: Array  # (sum of BINS,)
    posed: float  # s that the pose was seen
    eyed: float  # s that the eyes were
    due: float  # s when it is reckoned next
    odd: float  # s since when the pose is usually another, NaN where it is not
    own: Own  # as it counts
    first: Own  # as it was when it became known


class Memory(NamedTuple):
    """What `Fatigue` carries."""

    last: float  # s of the last picture, NaN before any
    learnt: Learnt
    closure: Run
    yawn: Run
    away: Run
    side: float  # to which side the head is turned, below 0 left in the picture
    absent: Run
    covered: Run
    frozen: Run
    unseen: Run
    phone: Run
    smoke: Run
    unbelted: Run
    shut: float  # s of `closure` in which the eyes were seen shut
    clash: float  # share of the time lately in which one eye was surely shut and the other surely open
    opened: float  # s that both were open, at most OPENED
    eyes_at: float  # s when eyes were judged last
    pose_at: float  # s when a pose was
    sinking: float  # s when the head began to sink, NaN where it is up
    sunk: float  # s when it was lowest
    depth: float  # deg that it sank
    window: Array  # (30, 5) s when, s judged, s shut, blinks, s of these: of BLOCKS that are past; NaN before any
    block: tuple[float, float, float, float]  # the newest: s judged, s shut, blinks, s of these
    past: tuple[float, float, float, float]  # of `window`, as a sum
    happened: Array  # (3, 32) s, when the last yawns, nods and episodes were; NaN before any
    dozed: float  # s of shut eyes, fading
    blink: float  # s, usual mean duration of a blink, NaN before it is known
    shut_at: float  # s when eyes were shut last for longer than a blink
    moves: float  # 0: it stands, 1: it creeps, 2: it drives; NaN: nobody knows
    grade: float
    stood: float  # s
    driven: float  # s
    night: float  # s
    changed: float  # s when somebody else sat down, NaN where nobody did
    card: float


class Look(NamedTuple):
    """What one picture says, for this person."""

    now: float  # s
    passed: float  # s since the last one, at most GAP
    told: dict[str, float]  # by column, NaN where it is not told
    blind: bool  # nothing of it is to be believed
    sits: bool  # somebody is seen to sit there
    found: bool  # with a face
    aside: float  # deg that the head points aside from where it usually does, NaN where it cannot be told
    down: float  # deg
    opening: float  # of the mouth, 0 as it rests, 1 as wide as it goes; NaN
    drives: bool  # the vehicle does not stand, as far as anybody knows


RUNS = ("closure", "yawn", "away", "absent", "covered", "frozen", "unseen", "phone", "smoke", "unbelted")
PERSONAL = ("closure", "yawn", "away", "absent", "unseen", "phone", "smoke")
INSTANTS = ("last", "eyes_at", "pose_at", "sinking", "sunk", "shut_at", "happened", "changed")
YAWN, NOD, EPISODE = range(3)  # rows of what is counted
MINUTE = np.array([key in ("perclos", "score") for key, _ in COLUMNS])  # UNCERTAIN until a minute was judged
GRADE = [key for key, _ in COLUMNS].index("grade")


class Fatigue(Detector, tag="fatigue", frozen=True, kw_only=True):
    """How long the eyes have been shut, the head turned away, the seat empty; how tired the driver is, and why.

    In:      the columns of a camera that looks at the driver (`agent.sights.CABIN`); beside them speed (km/h or m/s),
             ignition, door (on above 0.5), driver card (any number that another one has not), hour of the local day,
             where the vehicle tells them.
    Out:     `<name>.<key>` as in COLUMNS. Of what is not judged, as in a vehicle that stands, 0; NaN and UNCERTAIN of
             what cannot be told, as `closure` behind dark glasses, `driving` without a speed, `night` without a clock.
             `perclos` and what is made of it are UNCERTAIN until a minute was judged.
    Memory:  the person (histograms of 154 numbers), 30 blocks of 2 s of judged time, times of what happened in 10 min.
             A restart goes on.
    Weak at: eyes behind mirrors that show the same to both; a driver who sleeps with open or half shut eyes, or sinks
             with such; the first seconds of somebody who does not begin by looking at the road, and the first second
             of open eyes; who sits down within 20 s is taken for the one before. Where the gaze goes without the head,
             nobody sees. A picture that freezes in a blink, until the eye says so. Nothing here knows who it is.
    Source:  PERCLOS P80: Wierwille 1994; (EU) 2021/1341 and 2023/2590, GB/T 41797-2022, T/JSATL12-2017, all verify;
             score and its parts, angles and bridges: project.
    """

    looks_beside: ClassVar[bool] = True
    speed: str = ""  # `source/key`
    ignition: str = ""
    door: str = ""
    card: str = ""
    hour: str = ""  # of the local day, 0 to 24; without it the wall clock, while it is trusted
    offset: Annotated[float, Meta(ge=-12, le=14)] = 8.0  # h that local time is ahead of UTC; China has one
    still: Annotated[float, Meta(ge=0, le=60)] = 5.0  # km/h, below which the vehicle stands: nothing is judged
    slowest: Annotated[float, Meta(ge=0, le=60)] = 20.0  # km/h, below which nobody is distracted ((EU) 2023/2590);
    # T/JSATL12 judges nothing below 30, which is `still`
    grading: Annotated[float, Meta(ge=0)] = 50.0  # km/h (T/JSATL12-2017; and (EU) 2023/2590)
    doze: Annotated[float, Meta(gt=0, le=10)] = 0.8  # s of shut eyes that count as an episode
    yawning: Annotated[float, Meta(gt=0, le=10)] = 1.5  # s of an open mouth that count as a yawn
    wide: Annotated[float, Meta(gt=0, le=1)] = 0.5  # of its own range a mouth is open in a yawn, as the eye says it
    glance: Annotated[float, Meta(gt=0, le=10)] = 3.0  # s away from the road that count as an episode
    yaw: Annotated[float, Meta(ge=-60, le=60)] = 0.0  # deg, of a driver who looks at the road, as far as it is known
    pitch: Annotated[float, Meta(ge=-45, le=45)] = 0.0
    young: Annotated[float, Meta(gt=1)] = 60.0  # s until a person is known
    rest: Annotated[float, Meta(gt=0)] = 1200.0  # s of standing that end driving (20 min, verify)
    dark: tuple[float, float] = (22.0, 6.0)  # h, night (verify)
    banned: tuple[float, float] = (2.0, 5.0)  # h, in which coaches should not drive (verify)

    @property
    def witnessed(self) -> list[str]:
        named = (self.speed, self.ignition, self.door, self.card, self.hour)
        return [*self.beside, *(one for one in named if one)]

    def columns(self, seen: Layout) -> list[tuple[str, str]]:
        known = set(seen.key)
        if lacking := [key for key, *_ in CABIN if key not in known]:
            text = "it wants all channels of a camera that looks at the driver"
            raise ValueError(f"fatigue `{self.name}`: {text}; {lacking[0]} is not among them")
        if self.speed and (unit := seen.unit[seen.key.index(self.speed)]) not in KMH:
            text = f"speed should be in km/h or m/s, {self.speed} is in {unit or 'no unit'}"
            raise ValueError(f"fatigue `{self.name}`: {text}")
        return [(f"{self.name}.{key}", unit) for key, unit in COLUMNS]

    def start(self, seen: Layout) -> Memory:
        return Memory(
            last=NAN,
            learnt=stranger(self.yaw, self.pitch),
            closure=OFF,
            yawn=OFF,
            away=OFF,
            side=0.0,
            absent=OFF,
            covered=OFF,
            frozen=OFF,
            unseen=OFF,
            phone=OFF,
            smoke=OFF,
            unbelted=OFF,
            shut=0.0,
            clash=0.0,
            opened=0.0,
            eyes_at=NAN,
            pose_at=NAN,
            sinking=NAN,
            sunk=NAN,
            depth=0.0,
            window=np.array([(NAN, *NOTHING)] * BLOCKS),
            block=NOTHING,
            past=NOTHING,
            happened=np.full((3, MOST), NAN),
            dozed=0.0,
            blink=NAN,
            shut_at=NAN,
            moves=NAN,
            grade=2.0,
            stood=0.0,
            driven=0.0,
            night=0.0,
            changed=NAN,
            card=NAN,
        )

    def step(self, memory: Memory, seen: Frame) -> tuple[Memory, Array, Array]:
        fit = np.isfinite(seen.value) & (seen.quality <= OVER_RANGE) & (seen.age <= seen.layout.stale)
        told = dict(zip(seen.layout.key, np.where(fit, seen.value, NAN).tolist(), strict=True))
        now = seen.at.mono
        passed = now - memory.last if now >= memory.last else 0.0
        hour = self._hour(told, seen)
        memory = self._driven(memory, told, passed, hour, seen.layout)
        if passed > GAP:
            broken: dict[str, Any] = dict.fromkeys(RUNS, OFF)
            memory = memory._replace(**broken, sinking=NAN)
        look = looked(told, memory.learnt.own, now, min(passed, GAP), memory.moves != 0.0)
        for one in (self._seated, self._posed, self._eyed, self._yawned, self._things, self._learn):
            memory = one(memory, look)
        memory = memory._replace(last=now)
        value, doubted = self._columns(memory, look, hour)
        quality = np.where(np.isnan(value) | doubted, UNCERTAIN, GOOD)
        if not fit[: len(seen.layout) - witnesses(seen.layout)].any():
            value, quality = np.full(len(value), NAN), np.full(len(value), seen.quality[0])
        return memory, value, quality

    def why(self, memory: Memory, seen: Layout, column: int) -> list[tuple[str, dict[str, Any]]]:
        own, learnt, key = memory.learnt.own, memory.learnt, COLUMNS[column][0]
        if key == "closure":
            return [("eyes", {"shut": own.shut, "lid": own.lid, "seen": learnt.eyed})]
        if key in ("away", "nods"):
            return [("pose", {"yaw": own.yaw, "pitch": own.pitch, "seen": learnt.posed})]
        if key in ("score", "perclos", "episodes"):
            yawns, nods, episodes = (memory.last - memory.happened <= RECENT).sum(axis=1).tolist()
            perclos = 100.0 * closedness(memory)[1]
            facts = {"perclos": perclos, "dozed": memory.dozed, "yawns": yawns, "nods": nods, "episodes": episodes}
            return [("tired", {**facts, "seen": memory.driven})]
        return []

    def moved(self, memory: Memory, seconds: float) -> Memory:
        later: dict[str, Any] = {name: getattr(memory, name) + seconds for name in INSTANTS}
        for name in RUNS:
            one: Run = getattr(memory, name)
            later[name] = one._replace(since=one.since + seconds, seen=one.seen + seconds)
        learnt = memory.learnt
        return memory._replace(
            **later,
            window=memory.window + np.array([seconds, 0.0, 0.0, 0.0, 0.0]),
            learnt=learnt._replace(due=learnt.due + seconds, odd=learnt.odd + seconds),
        )

    # -- the vehicle ----------------------------------------------------------------------------------

    def _hour(self, told: dict[str, float], seen: Frame) -> float:
        """Of the local day, NaN where nobody knows: as the vehicle tells, else after a wall clock that is trusted."""
        if self.hour:
            return told[self.hour]
        return ((seen.at.wall / HOUR + self.offset) % 24.0) if seen.at.synced else NAN

    def _driven(self, memory: Memory, told: dict[str, float], passed: float, hour: float, layout: Layout) -> Memory:
        """Whether it drives, how fast, and for how long without a rest."""
        speed = abs(told[self.speed]) * KMH[layout.unit[layout.key.index(self.speed)]] if self.speed else NAN
        off = bool(self.ignition) and told[self.ignition] < LIKELY
        fast = float(speed >= self.still) + float(speed >= max(self.slowest, self.still))
        moves = 0.0 if off else NAN if math.isnan(speed) else fast
        grade = 2.0 if not speed < self.grading else 1.0
        if grade < memory.grade and (memory.away.long or memory.closure.long or memory.yawn.long):
            grade = memory.grade  # what has begun is judged to its end as it began, or more strictly
        stood, driven, night = memory.stood, memory.driven, memory.night
        if moves == memory.moves == 0.0:
            stood += passed
        elif moves > 0.0 and memory.moves > 0.0:
            driven += passed
            stood = 0.0
            night = night + passed if within(hour, self.dark) else night if math.isnan(hour) else 0.0
        if stood >= self.rest:
            driven, night = 0.0, 0.0
        card = told[self.card] if self.card else NAN
        if not math.isnan(card):
            if not math.isnan(memory.card) and card != memory.card:
                memory = self._anew(memory, memory.last + passed)
                driven, night = 0.0, 0.0
            memory = memory._replace(card=card)
        return memory._replace(moves=moves, grade=grade, stood=stood, driven=driven, night=night)

    # -- what a picture shows -------------------------------------------------------------------------

    def _seated(self, memory: Memory, look: Look) -> Memory:
        """Who sits there, and whether anything is seen at all."""
        now, told = look.now, look.told
        empty = None if look.blind or math.isnan(told["present"]) else not look.sits
        absent = run(memory.absent, now, empty, SEAT, patience=MISSED)
        opened = bool(self.door) and told[self.door] > LIKELY and not look.drives
        if empty is False and math.isnan(absent.since) and memory.absent.long >= (GAP if opened else MISSED):
            memory = self._anew(memory, now)
        return memory._replace(
            covered=run(memory.covered, now, sure(told["covered"]), SEAT),
            frozen=run(memory.frozen, now, sure(told["frozen"]), SEAT),
            absent=absent,
        )

    def _anew(self, memory: Memory, now: float) -> Memory:
        """Somebody else may sit there now: everything about a person is forgotten. Who it was, nobody ever knew."""
        counts = memory.learnt.counts
        ended: dict[str, Any] = dict.fromkeys(PERSONAL, OFF)
        return memory._replace(
            learnt=stranger(mode(counts, "yaw"), mode(counts, "pitch")),  # the mounting is the same
            **ended,
            sinking=NAN,
            window=np.array([(NAN, *NOTHING)] * BLOCKS),
            block=NOTHING,
            past=NOTHING,
            happened=np.full((3, MOST), NAN),
            dozed=0.0,
            blink=NAN,
            clash=0.0,
            opened=0.0,
            changed=now,
        )

    def _posed(self, memory: Memory, look: Look) -> Memory:
        """Where the head points to, and whether it sinks and jerks."""
        now, aside, down = look.now, look.aside, look.down
        if math.isnan(aside):
            lost = look.sits and not look.found and 0 < memory.away.long <= SUNK  # turned further than is seen
            return memory._replace(away=run(memory.away, now, True if lost else None, GLANCE, patience=GAP))
        share = 1.0 if math.isnan(memory.away.since) else STAYS
        sideways = abs(aside) > SIDE * share
        away, side = memory.away, memory.side
        if sideways and aside * side < 0:
            away = OFF  # from one side to the other: that is another glance
        away = run(away, now, sideways or down > DOWN * share or -down > UP * share, GLANCE, patience=GAP)
        side = math.copysign(1.0, aside) if sideways else side if away.long else 0.0
        happened = memory.happened
        if away.long >= self.glance and not away.told and not memory.moves < 2.0:
            away, happened = away._replace(told=True), counted(happened, EPISODE, now)
        memory = memory._replace(away=away, side=side, pose_at=now, happened=happened)
        return self._nodded(memory, look)

    @staticmethod
    def _nodded(memory: Memory, look: Look) -> Memory:
        """The head sinks slowly, with eyes that were shut on the way, and jerks up."""
        now, down = look.now, look.down
        if down >= RISEN:
            sinking = now if math.isnan(memory.sinking) else memory.sinking
            if down >= memory.depth - 2.0:
                return memory._replace(sinking=sinking, sunk=now, depth=max(down, memory.depth))
            return memory._replace(sinking=sinking)
        jerked = memory.depth >= SINKS and now - memory.sunk <= JERK and memory.sunk - memory.sinking >= SLOWLY
        happened = memory.happened
        if jerked and now - memory.shut_at <= 2 * JERK and look.drives:
            happened = counted(happened, NOD, now)
            if not memory.closure.told:
                happened = counted(happened, EPISODE, now)
        return memory._replace(sinking=NAN, sunk=NAN, depth=0.0, happened=happened)

    def _eyed(self, memory: Memory, look: Look) -> Memory:
        """Whether the eyes are shut, for how long, and how often."""
        now, passed = look.now, look.passed
        memory, shut = self._shut(memory, look)
        turned = abs(look.aside) > TURNED or look.down > BOWED
        hides = False if shut is not None else True if look.sits and not turned else None
        memory = memory._replace(
            unseen=run(memory.unseen, now, hides, GAP, patience=ASIDE),
            eyes_at=memory.eyes_at if shut is None else now,
        )
        before = memory.closure
        yawns = memory.yawn.long > 0 or look.opening >= self.wide
        if yawns and memory.yawn.long <= LONGEST and not before.told:  # it shuts the eyes, and is no sleep
            return memory._replace(closure=OFF)
        sunk = look.sits and not look.found and SLUMPS <= before.long <= SUNK
        closure = run(before, now, True if sunk else shut, BLINK)
        held = 0.0 if math.isnan(before.since) else memory.shut + passed * (shut is not False)
        asleep, dozed, happened = lasted(closure, held), memory.dozed * math.exp(-passed / DOZE), memory.happened
        if look.drives:
            dozed += passed * (asleep > NAP and shut is True)
            if asleep >= self.doze and not closure.told:
                closure, happened = closure._replace(told=True), counted(happened, EPISODE, now)
        memory = memory._replace(
            closure=closure,
            shut=held,
            dozed=dozed,
            happened=happened,
            shut_at=now if asleep >= NAP else memory.shut_at,
        )
        ended = before.long + passed if math.isnan(closure.since) and not math.isnan(before.since) else NAN
        return self._judged(memory, look, shut, ended)

    @staticmethod
    def _shut(memory: Memory, look: Look) -> tuple[Memory, bool | None]:
        """Whether the eyes are; None: it cannot be judged. Once they are, they may be so with a head that sinks."""
        own, told = memory.learnt.own, look.told
        if not look.found:
            return memory, None
        shut, clash, opened = is_shut(told, own), memory.clash, memory.opened
        if told["left.error"] <= ERROR and told["right.error"] <= ERROR and abs(told["yaw"]) <= EDGEWISE:
            apart = abs(told["left"] - told["right"]) > WINK
            clash += min(1.0, look.passed / LATELY) * (apart - clash)
            opened = min(OPENED, opened + look.passed * (shut is False and not apart))
        elif shut is False:
            opened = min(OPENED, opened + look.passed)
        memory = memory._replace(clash=clash, opened=opened)
        if clash > CLASH or (shut and opened < OPENED):
            return memory, None
        if shut and math.isnan(memory.closure.since):
            if abs(look.aside) > TURNED:
                return memory, None
            if look.down > BOWED:
                stern = own._replace(shut=max(STERN, own.shut), lid=0.7 * own.lid)
                return memory, is_shut(told, stern) or None
        return memory, shut

    @staticmethod
    def _judged(memory: Memory, look: Look, shut: bool | None, ended: float) -> Memory:
        """What is counted in the minute that PERCLOS sees; `ended`: s of what was a blink or longer."""
        judged, closed, blinks, blinked = memory.block
        if shut is not None and look.drives:
            judged, closed = judged + look.passed, closed + look.passed * shut
        if ended <= BLINKS:
            blinks, blinked = blinks + 1, blinked + ended
        if judged < BLOCK:
            return memory._replace(block=(judged, closed, blinks, blinked))
        window = np.vstack([memory.window[1:], (look.now, judged, closed, blinks, blinked)])
        judged, closed, blinks, blinked = window[look.now - window[:, 0] <= OLD, 1:].sum(axis=0).tolist()
        return memory._replace(window=window, past=(judged, closed, blinks, blinked), block=NOTHING)

    def _yawned(self, memory: Memory, look: Look) -> Memory:
        """A mouth that stays wide open. Who talks or sings opens and shuts it several times a second."""
        least, dip = (GAPES * self.wide, DIP) if memory.yawn.long else (self.wide, 0.0)
        wide = None if math.isnan(look.opening) else look.opening >= least
        yawn, happened = run(memory.yawn, look.now, wide, dip), memory.happened
        if yawn.long >= self.yawning and not yawn.told and look.drives:
            yawn, happened = yawn._replace(told=True), counted(happened, YAWN, look.now)
        return memory._replace(yawn=yawn, happened=happened)

    @staticmethod
    def _things(memory: Memory, look: Look) -> Memory:
        """A phone, a cigarette, a belt; where no net knows them, nothing is said."""
        now, told = look.now, look.told
        phone, smoke, belt = (None if look.blind else sure(told[key]) for key in ("phone", "smoke", "belt"))
        return memory._replace(
            phone=run(memory.phone, now, phone, GAP, patience=GAP),
            smoke=run(memory.smoke, now, smoke, GAP, patience=GAP),
            unbelted=run(memory.unbelted, now, None if belt is None else not belt, GAP, patience=GAP),
        )

    # -- the person -----------------------------------------------------------------------------------

    def _learn(self, memory: Memory, look: Look) -> Memory:
        """What is usual for whoever drives. Nothing is learnt of a vehicle that stands: there one looks anywhere."""
        learnt, told, now, passed = memory.learnt, look.told, look.now, look.passed
        if not look.drives or math.isnan(look.aside) or math.isnan(look.down) or passed <= 0.0:
            return memory
        counts = learnt.counts.copy()
        far = abs(look.aside) > SIDE or abs(look.down) > DOWN
        for key in ("yaw", "pitch"):
            add(counts, key, told[key], 0.5 * passed if far and learnt.posed >= 2.0 else passed)
        eyed, mute = learnt.eyed, memory.yawn.long > 0
        if not far and not mute and not math.isnan(told["closed"]) and told["closed.error"] <= ERROR:
            add(counts, "lid", told["lid"], passed)
            add(counts, "open", told["closed"], passed)
            eyed += passed
        if not mute:
            add(counts, "mouth", told["mouth"], passed)
        learnt = learnt._replace(counts=counts, posed=learnt.posed + passed, eyed=eyed)
        if not now < learnt.due:
            learnt = self._reckoned(learnt, now)
            if now - learnt.odd >= DOUBT:
                return self._anew(memory._replace(learnt=learnt), now)
        if math.isnan(memory.blink) and eyed >= self.young:
            memory = memory._replace(blink=blinking(memory)[1])
        return memory._replace(learnt=learnt)

    def _reckoned(self, learnt: Learnt, now: float) -> Learnt:
        """What is usual now, after the histograms."""
        counts, first = learnt.counts, learnt.first
        known, eyes = learnt.posed >= self.young, learnt.eyed >= self.young
        lid = max(0.3, quantile(counts, "lid", 0.7))
        shut = between(min(0.6, quantile(counts, "open", 0.5)))
        own = Own(mode(counts, "yaw"), mode(counts, "pitch"), lid, shut, min(0.3, quantile(counts, "mouth", 0.5)))
        odd = math.nan
        if known and not math.isnan(first.yaw):
            if abs(own.yaw - first.yaw) > ODD or abs(own.pitch - first.pitch) > ODD:
                odd = now if math.isnan(learnt.odd) else learnt.odd
            yaw, pitch = (clipped(new, old, ODD) for new, old in ((own.yaw, first.yaw), (own.pitch, first.pitch)))
            own = own._replace(yaw=yaw, pitch=pitch)
        if eyes and not math.isnan(first.lid):  # a drowsy driver teaches nothing: wider open only
            own = own._replace(lid=max(own.lid, 0.9 * first.lid), shut=min(own.shut, first.shut + 0.05))
        if known and math.isnan(first.yaw):
            first = first._replace(yaw=own.yaw, pitch=own.pitch, mouth=own.mouth)
        if eyes and math.isnan(first.lid):
            first = first._replace(lid=own.lid, shut=own.shut)
        wait = LATER if known else FIRST
        counts = counts * math.exp(-wait / FORGET) if known else counts
        return learnt._replace(counts=counts, due=now + wait, odd=odd, own=own, first=first)

    # -- what is told ---------------------------------------------------------------------------------

    def _columns(self, memory: Memory, look: Look, hour: float) -> tuple[Array, Array]:
        """Value and doubt of each column."""
        now, told, learnt = look.now, look.told, memory.learnt
        stands, slow, unknown = not look.drives, memory.moves < 2.0, math.isnan(memory.moves)
        straight = abs(look.aside) <= SIDE and abs(look.down) <= DOWN
        asleep = told_of(lasted(memory.closure, memory.shut), not look.blind and now - memory.eyes_at <= LOST)
        if math.isnan(asleep) and straight and memory.unseen.long >= ASIDE:
            asleep = 0.0
        away = told_of(memory.away.long, not look.blind and now - memory.pose_at <= LOST)
        judged, perclos = closedness(memory)
        blinks, blink = blinking(memory)
        yawns, nods, episodes = (now - memory.happened <= RECENT).sum(axis=1).tolist()
        parts = self._parts(memory, perclos, blink, yawns, nods, hour)
        score = 1.0 + 9.0 * (1.0 - math.prod(1.0 - part for part in parts))
        value = (
            0.0 if stands else asleep,
            0.0 if stands else perclos,
            blinks,
            blink,
            0.0 if slow else told_of(memory.yawn.long, not math.isnan(look.opening)),
            yawns,
            nods,
            0.0 if slow else away,
            zone(look.aside, look.down),
            0.0 if stands else told_of(memory.absent.long, not (look.blind or math.isnan(told["present"]))),
            0.0 if stands else memory.covered.long,
            0.0 if stands else memory.frozen.long,
            0.0 if stands else memory.unseen.long,
            0.0 if slow else told_of(memory.phone.long, not math.isnan(told["phone"])),
            0.0 if slow else told_of(memory.smoke.long, not math.isnan(told["smoke"])),
            0.0 if slow else told_of(memory.unbelted.long, not math.isnan(told["belt"])),
            1.0 if stands else score,
            *parts,
            memory.grade,
            episodes,
            NAN if unknown else memory.driven / HOUR,
            NAN if unknown or math.isnan(hour) else memory.night / HOUR,
            NAN if unknown or math.isnan(hour) else float(not stands and within(hour, self.banned)),
            min(1.0, learnt.posed / self.young, learnt.eyed / self.young),
            float(now - memory.changed <= NEWS),
        )
        doubted = MINUTE & (judged < WINDOW and not stands)
        doubted[GRADE] = unknown
        return np.array(value), doubted

    @staticmethod
    def _parts(
        memory: Memory, perclos: float, blink: float, yawns: float, nods: float, hour: float
    ) -> tuple[float, ...]:
        """Of the score, in the order of PARTS; what cannot be told is none."""
        usual = 0.2 if math.isnan(memory.blink) else memory.blink
        low = within(hour, (0.0, 6.0)) or within(hour, (13.0, 15.0))
        return (
            part((perclos - 0.06) / 0.15),  # 0.15 is drowsy: a score of 6
            1.0 - math.exp(-memory.dozed / 1.5),
            0.5 * part((blink - 1.3 * usual) / (2.0 * usual)),
            1.0 - math.exp(-yawns / 5.0),
            1.0 - math.exp(-nods / 2.0),
            0.2 * part(memory.driven / (4.0 * HOUR)) + 0.1 * low,  # no hour makes anybody tired by itself
        )


# -- what a row says, pure ----------------------------------------------------------------------------


def sure(score: float) -> bool | None:
    """Whether it is so; None: nobody can tell."""
    return None if math.isnan(score) else score > LIKELY


def looked(told: dict[str, float], own: Own, now: float, passed: float, drives: bool) -> Look:
    """What a picture says, against what is usual for this person."""
    blind = bool(sure(told["covered"]) or sure(told["frozen"]))
    face, present = told["face"] >= FOUND, told["present"]
    sits = not blind and (face if math.isnan(present) else present >= LIKELY)
    found = sits and face
    aside, down = (told["yaw"] - own.yaw, told["pitch"] - own.pitch) if found else (NAN, NAN)
    if math.isnan(aside) or math.isnan(down):
        aside = down = NAN
    opening = reach(told["mouth"], own.mouth) if found else NAN
    return Look(now, passed, told, blind, sits, found, aside, down, opening, drives)


def told_of(long: float, known: bool) -> float:
    """s that something has lasted; NaN where nothing does and nobody can tell."""
    return long if long > 0 or known else NAN


def is_shut(told: dict[str, float], own: Own) -> bool | None:
    """Whether both eyes are shut, for this person; None: it cannot be judged."""
    closed = told["closed"]
    if math.isnan(closed) or told["closed.error"] > ERROR:
        return None
    pair = [told[eye] for eye in ("left", "right") if told[f"{eye}.error"] <= ERROR]
    if len(pair) == 2 and abs(pair[0] - pair[1]) > WINK:
        return False
    lid = told["lid"] / own.lid
    return closed >= own.shut and not lid >= SHUT


def lasted(closure: Run, shut: float) -> float:
    """s that the eyes have been shut, of which they were seen so for `shut`."""
    return closure.long if shut >= MOSTLY * closure.long else 0.0


def reach(mouth: float, rest: float) -> float:
    """How far of its own range a mouth is open, 0 as it rests; NaN stays.

    >>> reach(0.6, 0.2), reach(0.1, 0.2)
    (0.5, 0.0)
    """
    return mouth if math.isnan(mouth) else max(0.0, round((mouth - rest) / (1.0 - rest), 9))


def zone(aside: float, down: float) -> float:
    """Where the head points to: a row of ZONES, NaN where it cannot be told.

    >>> ZONES[int(zone(-30.0, 3.0))], ZONES[int(zone(0.0, 20.0))]
    ('mirror', 'instruments')
    """
    if math.isnan(aside) or math.isnan(down):
        return NAN
    if abs(aside) > SIDE:
        return float(ZONES.index("side" if abs(aside) > FAR_SIDE else "mirror"))
    if down > DOWN:
        return float(ZONES.index("lap" if down > LAP else "instruments"))
    return float(ZONES.index("roof" if -down > UP else "road"))


def within(hour: float, span: tuple[float, float]) -> bool:
    """Whether an hour of the day lies in a span, which may go over midnight; NaN does not.

    >>> within(23.0, (22.0, 6.0)), within(6.0, (22.0, 6.0)), within(3.0, (2.0, 5.0))
    (True, False, True)
    """
    begin, end = span
    return begin <= hour < end if begin <= end else hour >= begin or hour < end


def part(share: float) -> float:
    """0 to 1; what cannot be told is 0."""
    return 0.0 if math.isnan(share) else min(1.0, max(0.0, share))


def counted(happened: Array, row: int, now: float) -> Array:
    """One more of what is counted."""
    happened = happened.copy()
    happened[row] = np.append(happened[row, 1:], now)
    return happened


def closedness(memory: Memory) -> tuple[float, float]:
    """s that were judged of the window, and PERCLOS; what was not judged yet counts as open eyes. NaN of nothing."""
    judged, closed = memory.past[0] + memory.block[0], memory.past[1] + memory.block[1]
    return judged, closed / max(judged, WINDOW) if judged > 0 else NAN


def blinking(memory: Memory) -> tuple[float, float]:
    """1/min, and mean duration in s; NaN while too little was judged, or none was seen."""
    judged, _, blinks, blinked = (a + b for a, b in zip(memory.past, memory.block, strict=True))
    enough = judged >= WINDOW / 3
    return 60.0 * blinks / judged if enough else NAN, blinked / blinks if enough and blinks else NAN


# -- histograms ---------------------------------------------------------------------------------------

STARTS = dict(zip(BINS, np.cumsum([0, *(n for _, _, n in BINS.values())]).tolist(), strict=False))
SMOOTH = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0


def stranger(yaw: float, pitch: float) -> Learnt:
    """Nobody is known; usual is what is usual for people, and where a head usually points to here."""
    counts = np.zeros(sum(n for _, _, n in BINS.values()))
    for key, value, weight in (("yaw", yaw, 1.0), ("pitch", pitch, 1.0), ("lid", 1.0, 5.0), ("open", 0.05, 5.0)):
        add(counts, key, value, weight)
    add(counts, "mouth", 0.0, 2.0)
    own = Own(yaw=yaw, pitch=pitch)
    return Learnt(counts, 0.0, 0.0, NAN, NAN, own, Own(NAN, NAN, NAN, NAN, NAN))


def add(counts: Array, key: str, value: float, weight: float) -> None:
    """One more value in place; NaN adds nothing."""
    if math.isnan(value):
        return
    low, width, n = BINS[key]
    counts[STARTS[key] + min(n - 1, max(0, int((value - low) / width)))] += weight


def mode(counts: Array, key: str) -> float:
    """The commonest value."""
    low, width, n = BINS[key]
    row = counts[STARTS[key] : STARTS[key] + n]
    i = int(np.convolve(row, SMOOTH, "same").argmax())
    near = np.arange(max(0, i - 2), min(n, i + 3))
    return low + width * (0.5 + float(row[near] @ near / max(row[near].sum(), 1e-9)))


def quantile(counts: Array, key: str, share: float) -> float:
    """The value below which so much of the time lies."""
    low, width, n = BINS[key]
    row = counts[STARTS[key] : STARTS[key] + n].cumsum()
    i = int(np.searchsorted(row, share * row[-1]))
    before = row[i - 1] if i else 0.0
    return float(low + width * (i + (share * row[-1] - before) / max(row[i] - before, 1e-9)))


def between(opened: float) -> float:
    """The probability half way, in log odds, between that of an open eye and of a shut one (0.95).

    >>> between(0.05), round(between(0.3), 2)
    (0.5, 0.74)
    """
    odds = (math.log(max(opened, 0.05) / (1.0 - max(opened, 0.05))) + math.log(19.0)) / 2.0
    return round(1.0 / (1.0 + math.exp(-odds)), 6)


def clipped(value: float, middle: float, off: float) -> float:
    """`value`, at most `off` from `middle`."""
    return min(middle + off, max(middle - off, value))
