"""Stories of drivers: what lids, mouth, head and hands do at each time, and which of it somebody should be told.

A story is a row of a table: acts at fixed times and habits that come by chance, at a rate, from a seed. An act is a
deed of the table `DEEDS` that takes some seconds; a deed says how far it moves each channel. `track` lays all acts over
one another and gives every channel at each time; `events` is what a perfect observer would tell, in the words of the
scorer. Times in s, angles in deg as in `agent/sights.py`: yaw above 0 turns the nose to the right of the picture (the
driver sits on the left of the vehicle, so that the near window is there), pitch above 0 turns it down, roll above 0
turns counter-clockwise. Nothing here draws (`cabin.py` does) or needs OpenCV.

`columns` skips the pixels: it says what a good eye would say of the same story, with its noise, its misses and its
stated errors, so that four hours take seconds. How blinks and yawns last: Schiffman 2001 (blinks 0.1 to 0.4 s, 10 to 20
a minute), Provine 1986 (yawns, 6 s on average). What is a glance: NHTSA's guidelines of 2013 (2 s). The numbers of
the noise are the project's own, from what nets showed on real clips.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.sights import CABIN

Array = NDArray[Any]
LIGHTS = ("day", "dusk", "night", "infrared")
GLASSES = ("", "clear", "dark", "mirror")


class Deed(NamedTuple):
    """What somebody does for a while."""

    to: dict[str, float]  # how far each channel goes
    rise: float = 0.3  # s until it is there
    fall: float = 0.3  # s for the way back, within the act
    sound: str = ""  # what the mouth does meanwhile: talk, sing, laugh
    event: str = ""  # which event it is, where it lasts
    least: float = 0.0  # s from which it is one
    doubt: float = 0.0  # s from which somebody may take it for one


class Act(NamedTuple):
    """A deed at a time."""

    at: float  # s
    deed: str
    seconds: float
    size: float = 1.0  # of what the deed says


class Habit(NamedTuple):
    """Acts that come by chance."""

    deed: str
    every: float  # s from one to the next, on average
    shortest: float  # s that one takes
    longest: float
    size: tuple[float, float] = (1.0, 1.0)
    grows: float = (
        1.0  # how much longer and more often, each, they are at the end of the story; what ends it is `tired`
    )
    after: float = 0.0  # s without it at the beginning


class Event(NamedTuple):
    """What somebody should be told, or, as `ignore:NAME`, what may be told or not."""

    event: str
    t_start: float  # s
    t_end: float


class Story(NamedTuple):
    """A driver for a while."""

    about: str
    seconds: float
    acts: tuple[Act, ...] = ()
    habits: tuple[Habit, ...] = ()
    light: str = "day"
    looks: tuple[tuple[str, str], ...] = ()  # what is given of the person: a field of `faces.Person` and its value
    mount: tuple[float, float] = (0.0, 0.0)  # deg that a head looking ahead is turned and bent to the camera
    speed: float = 22.0  # m/s
    wheel: float = 0.0  # 0 to 1: how much of the face the wheel hides
    tired: float = math.inf  # s after which habits no longer grow


# How channels of several acts are laid over one another: lids close what others leave open, angles and ways add up, of
# the rest the most counts. right, up and near are mm of the head; hand is at the face, ear, mouth, lens or visor.
LIDS = ("shut", "wink")  # both, and the left one alone
SUMS = ("yaw", "pitch", "roll", "right", "up", "near", "gaze", "down", "brow", "who")
MOSTS = (
    "mouth",
    "smile",
    "gone",
    "covered",
    "smeared",
    "frozen",
    "scratch",
    "ear",
    "phone",
    "cigarette",
    "lens",
    "visor",
    "text",
    "sun",
)
CHANNELS = LIDS + SUMS + MOSTS

DEEDS: dict[str, Deed] = {
    "blink": Deed({"shut": 1.0}, 0.09, 0.15),
    "slow blink": Deed({"shut": 1.0}, 0.2, 0.3, event="eyes_closed", least=99, doubt=0.65),
    "closure": Deed({"shut": 1.0, "pitch": 3.0}, 0.25, 0.2, event="eyes_closed", least=1.0, doubt=0.5),
    "nod": Deed({"shut": 1.0, "pitch": 21.0}, 0.9, 0.3, event="eyes_closed", least=1.4, doubt=0.5),
    "half shut": Deed({"shut": 0.55}, 1.0, 0.4),
    "narrow": Deed({"shut": 0.42, "brow": -0.6, "sun": 1.0}, 0.8, 0.8),
    "yawn": Deed({"mouth": 1.0, "shut": 0.5, "pitch": -7.0, "brow": 0.5}, 1.3, 0.9, "", "yawn", 2.2, 1.4),
    "gape": Deed({"mouth": 0.4}, 0.2, 0.2),
    "talk": Deed({"smile": 0.15, "yaw": -3.0}, 0.4, 0.4, "talk"),
    "sing": Deed({"smile": 0.1, "pitch": -3.0}, 0.4, 0.4, "sing"),
    "laugh": Deed({"smile": 1.0, "shut": 0.3, "pitch": -5.0}, 0.3, 0.5, "laugh"),
    "mirror": Deed({"yaw": -27.0, "pitch": -4.0, "gaze": -12.0}, 0.25, 0.25, event="distracted", least=3.0, doubt=2.0),
    "left mirror": Deed({"yaw": 30.0, "pitch": 4.0, "gaze": 14.0}, 0.25, 0.25, "", "distracted", 3.0, 2.0),
    "shoulder": Deed({"yaw": 68.0, "pitch": 2.0, "right": 25.0}, 0.4, 0.4, event="distracted", least=3.0, doubt=2.0),
    "instruments": Deed({"pitch": 13.0, "down": 16.0}, 0.2, 0.2, event="distracted", least=3.0, doubt=2.0),
    "radio": Deed({"yaw": -24.0, "pitch": 17.0, "gaze": -10.0, "down": 12.0}, 0.3, 0.3, "", "distracted", 3.0, 2.0),
    "passenger": Deed({"yaw": -48.0, "smile": 0.3}, 0.35, 0.35, "talk", "distracted", 3.0, 1.9),
    "bump": Deed({"pitch": 5.0, "up": -9.0}, 0.08, 0.2),
    "sway": Deed({"roll": 6.0, "right": 14.0}, 0.8, 0.8),
    "scratch": Deed({"scratch": 1.0, "roll": 3.0}, 0.4, 0.3),
    "visor": Deed({"visor": 1.0, "pitch": -3.0}, 0.6, 0.6),
    "text": Deed({"pitch": 29.0, "yaw": -9.0, "down": 15.0, "text": 1.0}, 0.35, 0.3, "", "distracted", 3.0, 2.0),
    "aside": Deed({"yaw": 1.0}, 0.35, 0.3, event="distracted", least=3.0, doubt=2.0),  # its size is the angle
    "call": Deed({"ear": 1.0, "phone": 1.0, "roll": -5.0, "yaw": -4.0}, 0.7, 0.6, "talk", "phone", 3.0, 1.0),
    "smoke": Deed({"cigarette": 1.0}, 0.6, 0.6, event="smoking", least=2.0, doubt=0.5),
    "leave": Deed({"gone": 1.0}, 1.2, 1.2, event="absent", least=3.0, doubt=1.5),
    "hand over": Deed({"gone": 1.0, "who": 1.0}, 1.2, 1.2, event="absent", least=3.0, doubt=1.5),  # to another driver
    "hand": Deed({"lens": 1.0, "covered": 1.0}, 0.3, 0.3, event="covered", least=2.0, doubt=0.7),
    "cap": Deed({"covered": 1.0}, 0.0, 0.0, event="covered", least=2.0, doubt=0.7),
    "tape": Deed({"covered": 1.0}, 0.0, 0.0, event="covered", least=2.0, doubt=0.7),
    "smear": Deed({"smeared": 1.0}, 0.5, 0.5, event="covered", least=2.0, doubt=0.7),
    "freeze": Deed({"frozen": 1.0}, 0.0, 0.0, event="frozen", least=2.0, doubt=0.7),
}
OVERS = {"cap": 0, "tape": 1, "hand": 2}  # what covers the lens

BLINKS = Habit("blink", 4.0, 0.14, 0.36)
CALM: tuple[Habit, ...] = (  # what somebody does who is awake and drives
    BLINKS,
    Habit("mirror", 24, 0.6, 1.3, (0.7, 1.2)),
    Habit("left mirror", 38, 0.6, 1.4, (0.7, 1.2)),
    Habit("instruments", 30, 0.5, 1.1, (0.7, 1.3)),
    Habit("radio", 150, 0.8, 1.6, (0.8, 1.1)),
    Habit("shoulder", 190, 1.0, 2.0, (0.85, 1.1)),
    Habit("bump", 17, 0.3, 0.7, (0.3, 1.3)),
    Habit("sway", 40, 2.5, 6.0, (-1.0, 1.0)),
)
LIVELY: tuple[Habit, ...] = (
    *CALM,
    Habit("talk", 75, 3, 25),
    Habit("sing", 260, 8, 30),
    Habit("laugh", 210, 1.2, 3.5, (0.6, 1.0)),
    Habit("passenger", 240, 0.9, 1.7, (0.6, 1.0)),
    Habit("scratch", 160, 1.5, 4.0, (0.8, 1.0)),
    Habit("visor", 900, 2.0, 4.0),
    Habit("narrow", 420, 8, 60, (0.7, 1.1)),
    Habit("gape", 200, 0.5, 1.5, (0.5, 1.2)),
)
SLEEPY: tuple[Habit, ...] = (  # at first not, then more and more
    Habit("slow blink", 9, 0.4, 0.7, grows=2.0, after=20),
    Habit("half shut", 25, 3, 8, (0.7, 1.1), 2.0, 60),
    Habit("yawn", 150, 3.5, 7.0, (0.85, 1.0), 1.3, 30),
    Habit("closure", 80, 1.3, 3.0, grows=1.3, after=120),
    Habit("nod", 160, 2.0, 3.2, (0.7, 1.1), 1.3, 180),
)
AWAY: tuple[Habit, ...] = (
    Habit("text", 55, 4.5, 8.0, (0.85, 1.1)),
    Habit("aside", 75, 4.5, 8.0, (38, 60)),
    Habit("aside", 75, 4.5, 8.0, (-60, -38)),
)
FAULTY: tuple[Habit, ...] = (
    Habit("hand", 150, 4, 12),
    Habit("cap", 240, 4, 20),
    Habit("smear", 200, 5, 15),
    Habit("freeze", 150, 4, 12),
    Habit("leave", 180, 6, 20),
    Habit("hand over", 400, 8, 20),
)
STORIES: dict[str, Story] = {
    "awake": Story("An hour of normal driving: blinks, talk, songs, mirrors, a low sun", 3600, habits=LIVELY),
    "glance": Story(
        "Half a minute of it: mirrors, shoulder, instruments, talk, a laugh; nothing to tell",
        30,
        (
            Act(2.0, "mirror", 1.0),
            Act(5.0, "talk", 5.0),
            Act(11.5, "left mirror", 1.1),
            Act(13.5, "shoulder", 1.6),
            Act(16.5, "instruments", 0.9),
            Act(18.5, "laugh", 2.2),
            Act(22.0, "narrow", 5.0),
            Act(28.0, "scratch", 1.8),
        ),
        (BLINKS,),
    ),
    "drowsy": Story(
        "Somebody falls asleep: slow blinks, a yawn, microsleeps, nodding",
        40,
        (
            Act(3.0, "slow blink", 0.6),
            Act(6.0, "closure", 1.6),
            Act(11.0, "yawn", 4.5),
            Act(18.0, "half shut", 5.0),
            Act(24.0, "closure", 2.6),
            Act(29.5, "slow blink", 0.6),
            Act(33.0, "nod", 2.8),
        ),
        (BLINKS,),
    ),
    "tired": Story("Half an hour in which somebody tires until asleep", 1800, (), (*CALM, *SLEEPY), tired=1500),
    "distracted": Story(
        "Eyes open, and on other things: a phone below, the window, the seat beside",
        40,
        (
            Act(4.0, "text", 5.0),
            Act(13.0, "aside", 4.5, 48),
            Act(20.0, "mirror", 1.0),
            Act(24.0, "aside", 5.0, -46),
            Act(32.0, "text", 6.5, 0.95),
        ),
        (BLINKS,),
    ),
    "absent": Story(
        "The driver leaves, and another one takes the seat",
        36,
        (Act(6.0, "leave", 7.0), Act(18.0, "hand over", 8.0), Act(29.0, "mirror", 1.0)),
        (BLINKS,),
    ),
    "covered": Story(
        "The lens is covered: by a hand, a cap, tape; then smeared",
        44,
        (Act(5.0, "hand", 5.0), Act(15.0, "cap", 5.0), Act(25.0, "tape", 5.0), Act(35.0, "smear", 6.0)),
        (BLINKS,),
    ),
    "frozen": Story("The picture stands, once with eyes shut", 30, (Act(6.0, "freeze", 6.0), Act(19.0, "freeze", 5.0))),
    "phone": Story("Two calls, held to the ear", 36, (Act(4.0, "call", 11.0), Act(22.0, "call", 9.0)), (BLINKS,)),
    "smoking": Story(
        "A cigarette, some puffs of it", 36, (Act(4.0, "smoke", 9.0), Act(20.0, "smoke", 10.0)), (BLINKS,)
    ),
    "sunglasses": Story(
        "Dark glasses by day; behind them eyes close, which nobody can see",
        40,
        (Act(5.0, "closure", 2.5), Act(14.0, "yawn", 4.5), Act(24.0, "aside", 5.0, 50), Act(33.0, "closure", 2.0)),
        (BLINKS,),
        looks=(("glasses", "dark"),),
    ),
    "mirrored": Story(
        "Mirroring glasses under a moving sky; the driver is awake",
        40,
        (Act(5.0, "talk", 6.0), Act(16.0, "mirror", 1.0), Act(24.0, "yawn", 4.5)),
        (BLINKS,),
        looks=(("glasses", "mirror"),),
    ),
    "glasses": Story(
        "Clear glasses, sometimes with a glare, and eyes that close",
        40,
        (Act(6.0, "closure", 2.0), Act(15.0, "talk", 6.0), Act(26.0, "closure", 1.6), Act(33.0, "mirror", 1.0)),
        (BLINKS,),
        looks=(("glasses", "clear"),),
    ),
    "infrared": Story(
        "Night, seen by an infrared lamp beside the camera",
        40,
        (
            Act(6.0, "closure", 1.8),
            Act(13.0, "yawn", 4.5),
            Act(22.0, "text", 5.0),
            Act(31.0, "closure", 2.4),
            Act(36.5, "mirror", 1.0),
        ),
        (BLINKS,),
        "infrared",
    ),
    "off axis": Story(
        "The camera stands 32 degrees to the side, low",
        40,
        (Act(6.0, "closure", 1.8), Act(13.0, "yawn", 4.5), Act(22.0, "text", 5.0), Act(31.0, "aside", 5.0, 42)),
        (BLINKS,),
        mount=(32.0, -8.0),
    ),
    "wheel": Story(
        "The rim of the wheel hides the mouth, and sometimes an eye",
        36,
        (Act(5.0, "closure", 2.0), Act(13.0, "talk", 5.0), Act(23.0, "closure", 1.6), Act(29.0, "text", 4.5)),
        (BLINKS,),
        wheel=0.8,
    ),
    "parked": Story(
        "Parked: the driver sleeps, which nobody need be told",
        60,
        (Act(6.0, "half shut", 10.0), Act(15.0, "nod", 20.0), Act(40.0, "closure", 15.0)),
        (BLINKS,),
        speed=0.0,
    ),
    "many": Story(
        "An hour with everything somebody should be told, by chance", 3600, (), (*CALM, *SLEEPY, *AWAY, *FAULTY)
    ),
    "drowsy hour": Story("An hour of microsleeps and yawns", 3600, (), (*LIVELY, *SLEEPY)),
    "distracted hour": Story("An hour of other things than the road", 3600, (), (*LIVELY, *AWAY)),
}
SYLLABLES = {  # of what the mouth does: shortest, longest s; least, most opening; pause after it: share, s
    "talk": (0.10, 0.24, 0.08, 0.38, 0.14, 0.6),
    "sing": (0.18, 1.10, 0.15, 0.55, 0.12, 0.9),
    "laugh": (0.14, 0.22, 0.20, 0.50, 0.02, 0.3),
}


class Track(NamedTuple):
    """What is true at each time."""

    t: Array  # (n,) s
    of: dict[str, Array]  # channel: (n,)
    over: Array  # (n,) what covers the lens, of OVERS; -1: nothing

    @property
    def left(self) -> Array:
        """(n,) opening of the driver's own left eye, 0 shut, 1 as usual."""
        left: Array = (1 - self.of["shut"]) * (1 - self.of["wink"])
        return left

    @property
    def right(self) -> Array:
        return 1 - self.of["shut"]

    @property
    def lid(self) -> Array:
        """(n,) of both."""
        both: Array = (self.left + self.right) / 2
        return both

    @property
    def present(self) -> Array:
        """(n,) bool: at least half of the driver is there."""
        return self.of["gone"] < 0.5


def acts(story: Story, seed: int = 1, seconds: float | None = None) -> list[Act]:
    """Every act, by time: those of the table and those of chance, in `seconds` (None: as long as the story is).

    What moves the head or the mouth comes one after another, as people do; blinks come in between.
    """
    long = story.seconds if seconds is None else seconds
    rng = np.random.default_rng((seed, 7))
    out = [act for act in story.acts if act.at < long]
    taken = [(act.at - 0.5, act.at + act.seconds + 0.5) for act in out]
    drawn: list[Act] = []
    for habit in story.habits:
        t = habit.after
        blink = DEEDS[habit.deed].to.keys() <= {"shut"} and habit.deed in ("blink", "slow blink")
        while True:
            grown = habit.grows ** min(1.0, t / min(story.tired, long))
            wait = habit.every / grown
            # somebody who has just blinked does not do so at once again
            t += 0.25 * wait + rng.exponential(0.75 * wait)
            if t >= long - 0.5:
                break
            took = rng.uniform(habit.shortest, habit.longest) * grown**0.5
            one = Act(round(t, 3), habit.deed, round(took, 3), round(rng.uniform(*habit.size), 3))
            t += took
            (out if blink else drawn).append(one)
    free = _Free(taken)
    # what somebody should be told goes first, and of that what is rare: mirrors give way to yawns
    often = {habit.deed: habit.every for habit in story.habits}
    for one in sorted(drawn, key=lambda act: (act.seconds < _least(act.deed), -often[act.deed], act.at)):
        at = free.place(one.at, one.seconds, long)
        if at is not None:
            out.append(one._replace(at=round(at, 3)))
    return sorted(out)


def _least(deed: str) -> float:
    """s from which a deed is an event."""
    return DEEDS[deed].least if DEEDS[deed].event else math.inf


class _Free:
    """Stretches of time that nobody has taken yet."""

    def __init__(self, taken: list[tuple[float, float]]) -> None:
        self.taken: dict[int, list[tuple[float, float]]] = {}
        for one in taken:
            self._take(one)

    def _take(self, one: tuple[float, float]) -> None:
        for minute in range(int(one[0] // 60), int(one[1] // 60) + 1):
            self.taken.setdefault(minute, []).append(one)

    def place(self, at: float, seconds: float, end: float) -> float | None:
        """Takes the time from `at` on, or a little later where that is taken; None where nothing is free near by."""
        for _ in range(8):
            span = (at - 0.4, at + seconds + 0.4)
            near = {one for m in range(int(span[0] // 60), int(span[1] // 60) + 1) for one in self.taken.get(m, ())}
            hit = [one for one in near if one[0] < span[1] and span[0] < one[1]]
            if span[1] > end:
                return None
            if not hit:
                self._take(span)
                return at
            at = max(one[1] for one in hit) + 0.41
        return None


def events(story: Story, seed: int = 1, seconds: float | None = None) -> tuple[Event, ...]:
    """What a perfect observer would tell, by time. A parked driver may sleep: the scorer's words for it are ignored.

    >>> [e.event for e in events(STORIES["drowsy"])]
    ['eyes_closed', 'yawn', 'eyes_closed', 'eyes_closed']
    """
    out = []
    for act in acts(story, seed, seconds):
        deed = DEEDS[act.deed]
        if not deed.event or act.seconds < deed.doubt:
            continue
        # it begins where half of the way is done
        begin, end = act.at + deed.rise / 2, act.at + act.seconds - deed.fall / 2
        name = deed.event
        if act.seconds < deed.least or (story.speed == 0 and name in ("eyes_closed", "yawn", "distracted")):
            name = f"ignore:{name}"
        out.append(Event(name, round(begin, 3), round(end, 3)))
    dark = dict(story.looks).get("glasses") in ("dark", "mirror")
    out.sort(key=lambda one: one.t_start)
    return tuple(
        one._replace(event="ignore:eyes_closed") if dark and one.event == "eyes_closed" else one for one in out
    )


def track(story: Story, seed: int = 1, rate: float = 15.0, seconds: float | None = None) -> Track:
    """Every channel, `rate` times a second. The same seed gives the same acts at any rate."""
    long = story.seconds if seconds is None else seconds
    t = np.arange(round(long * rate)) / rate
    of = {key: np.ones(len(t)) if key in LIDS else np.zeros(len(t)) for key in CHANNELS}
    over = np.full(len(t), -1, np.int8)
    rng = np.random.default_rng((seed, 11))
    _drift(of, t, rng)
    for act in acts(story, seed, seconds):
        deed = DEEDS[act.deed]
        first, last = int(np.ceil(act.at * rate)), int(np.ceil((act.at + act.seconds) * rate))
        part = slice(first, min(last, len(t)))
        shape = envelope(t[part] - act.at, act.seconds, deed.rise, deed.fall)
        for key, value in deed.to.items():
            if key == "who":  # the next one stays
                of[key][(first + last) // 2 :] += 1
            else:
                _lay(of, key, part, shape, value * act.size)
        if deed.to.get("covered"):
            over[part] = OVERS[act.deed]
        if act.deed == "smoke":
            _puffs(of, t, act, rate)
        if deed.sound:
            for at, took, wide in syllables(deed.sound, act, np.random.default_rng((seed, 13, int(act.at * 1000)))):
                a, b = int(np.ceil(at * rate)), int(np.ceil((at + took) * rate))
                if a < b:
                    piece = slice(a, min(b, len(t)))
                    _lay(of, "mouth", piece, np.sin(np.pi * np.clip((t[piece] - at) / took, 0, 1)), wide)
    for key in LIDS:
        of[key] = 1 - of[key]
    return Track(t, of, over)


def _lay(of: dict[str, Array], key: str, part: slice, shape: Array, value: float) -> None:
    if key in LIDS:  # openings until the end, so that they can be multiplied
        of[key][part] *= 1 - np.clip(shape * value, 0, 1)
    elif key in SUMS:
        of[key][part] += shape * value
    else:
        of[key][part] = np.maximum(of[key][part], np.clip(shape * value, 0, 1))


def _drift(of: dict[str, Array], t: Array, rng: np.random.Generator) -> None:
    """Nobody sits still: slow waves of the pose, the same at any rate."""
    for key, size in (("yaw", 1.6), ("pitch", 1.2), ("roll", 1.0), ("right", 5.0), ("up", 2.5), ("near", 8.0)):
        for period in (3.1, 7.7, 23.0):
            wave = 2 * np.pi * (t / (period * rng.uniform(0.8, 1.25)) + rng.random())
            of[key] += size * rng.uniform(0.3, 0.8) * np.sin(wave)
    for key, size in (("gaze", 5.0), ("down", 2.5)):  # eyes jump, and rest in between
        where = rng.uniform(-size, size, 997)
        of[key] += where[(t / 0.7).astype(int) * 7 % 997]


def _puffs(of: dict[str, Array], t: Array, act: Act, rate: float) -> None:
    """The hand goes to the mouth and away again: 2 s of every 4."""
    part = slice(int(np.ceil(act.at * rate)), min(int(np.ceil((act.at + act.seconds) * rate)), len(t)))
    of["mouth"][part] = np.maximum(of["mouth"][part], 0.08 * (np.sin(np.pi / 2 * (t[part] - act.at)) > 0))


def syllables(sound: str, act: Act, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Begin s, length s and opening of what the mouth says during an act."""
    short, long, least, most, share, pause = SYLLABLES[sound]
    out, t = [], act.at + 0.2
    while t < act.at + act.seconds - 0.3:
        took = rng.uniform(short, long)
        out.append((t, took, rng.uniform(least, most)))
        t += took * 0.9
        if rng.random() < share:
            t += rng.exponential(pause)
    return out


def envelope(t: Array, seconds: float, rise: float, fall: float) -> Array:
    """(n,) 0 to 1: up within `rise` s, down within the last `fall` s of `seconds`, both smooth, shorter in need."""
    whole = max(rise + fall, 1e-9)
    fit = min(1.0, seconds / whole)
    up = np.clip(t / max(rise * fit, 1e-9), 0, 1) if rise else np.ones_like(t)
    down = np.clip((seconds - t) / max(fall * fit, 1e-9), 0, 1) if fall else np.ones_like(t)
    shape: Array = np.minimum(up * up * (3 - 2 * up), down * down * (3 - 2 * down))
    return shape


# -- what an eye would say of it, without the pixels -------------------------------------------------------------------


class Said(NamedTuple):
    """A story as the columns of a camera in the cab."""

    t: Array  # (n,) s
    columns: Array  # (n, k) in the order of `agent.sights.CABIN`
    speed: Array  # (n,) m/s
    events: tuple[Event, ...]
    truth: Track

    def column(self, key: str) -> Array:
        """(n,) of one key of CABIN."""
        found: Array = self.columns[:, KEYS[key]]
        return found


KEYS = {row[0]: i for i, row in enumerate(CABIN)}
PROPS = ("phone", "smoke", "belt")


class Noise(NamedTuple):
    """How good the eye is. Of each the standard deviation, or the share of pictures."""

    lid: float = 0.05  # opening
    logit: float = 0.7  # of `closed`
    mouth: float = 0.03  # opening
    pose: float = 1.6  # deg, looking at the camera; more aside
    bias: float = 3.0  # deg, of a person's face as a whole
    missed: float = 0.004  # faces that are not found although they could be
    glare: float = 0.03  # of the time clear glasses mirror something
    leak: float = 0.02  # of the pictures in which dark glasses let something through
    memory: float = 0.35  # s over which all of that stays alike


def columns(
    story: Story | str,
    seed: int = 1,
    rate: float = 15.0,
    seconds: float | None = None,
    noise: Noise | None = None,
    things: bool = False,
) -> Said:
    """What a good eye says of a story. things: it knows phones, cigarettes and belts as well.

    A face that is turned away (more than about 65 degrees) or bent down (40) is lost more and more, the far eye
    before. Stated errors are the ones that were made here, on average. Weak at: what fools an eye for long, as a
    shadow does; every miss here ends after a second.
    """
    story = STORIES[story] if isinstance(story, str) else story
    noise = noise or Noise()
    true = track(story, seed, rate, seconds)
    n, of = len(true.t), true.of
    rng = np.random.default_rng((seed, 17))
    same = math.exp(-1 / (rate * noise.memory))

    def wander(size: float) -> Array:
        """(n,) noise that stays alike for some pictures, half of it new each time."""
        fresh = rng.standard_normal((2, n))
        slow = _smooth(fresh[0], same)
        both: Array = size * (0.6 * slow + 0.8 * fresh[1])
        return both

    who = np.clip(of["who"], 0, 7).astype(int)
    folk = np.random.default_rng((seed, 19)).normal(0, 1, (8, 5))[who]  # of each person: how it differs from others
    yaw = of["yaw"] + story.mount[0]
    pitch = of["pitch"] + story.mount[1]
    away, bent = np.abs(yaw), np.maximum(pitch, -1.3 * pitch)
    glasses = dict(story.looks).get("glasses", "")
    dark = glasses in ("dark", "mirror")
    seen = (true.present) & (of["covered"] < 0.5) & (of["smeared"] < 0.5)
    odds = noise.missed + (1 - noise.missed) * np.maximum(_step((away - 68) / 4), _step((bent - 42) / 3))
    odds = np.maximum(odds, 0.06 * of["ear"] + 0.05 * of["scratch"] + 0.15 * (story.wheel > 0.9))
    found = seen & (_rank(_smooth(rng.standard_normal(n), same)) >= odds)

    out = np.full((n, len(CABIN)), np.nan)

    def put(key: str, value: Any, where: Any = True) -> None:
        out[:, KEYS[key]] = np.where(where, value, np.nan)

    put("face", np.where(found, np.clip(0.93 - 0.004 * np.maximum(away - 30, 0) + wander(0.03), 0.3, 1), 0.0))
    there = true.present & ~found
    put("present", np.where(found, 0.99, np.where(there, np.clip(0.85 + wander(0.08), 0, 1), 0.03)))
    blind = np.maximum(of["covered"], of["smeared"]) >= 0.5
    put("covered", np.where(blind, np.clip(0.97 + wander(0.02), 0, 1), 0.01))
    out[blind, KEYS["present"]] = np.nan

    # eyes: the far one is lost first, a wheel and hands hide both
    glare = glasses == "clear"
    shine = _rank(_smooth(rng.standard_normal(n), math.exp(-1 / (rate * 1.2)))) < (noise.glare if glare else 0)
    leak = rng.random(n) < noise.leak
    tired = 0.55 * np.clip(of["down"], 0, 30) / 30  # who looks down lowers the lids
    got = {}
    for side, sign, true_lid in (("left", 1.0, true.left), ("right", -1.0, true.right)):
        can = found & (sign * yaw < 40 + 4 * folk[:, 3]) & (away < 63) & ~shine & (of["scratch"] < 0.75)
        can &= (~np.array(dark)) | leak
        lid = true_lid * (1 + 0.07 * folk[:, 0]) * (1 - tired) + wander(noise.lid * (1 + away / 60).mean())
        logit = (0.34 - lid) / 0.075 + wander(noise.logit)
        logit = np.where(np.array(dark), rng.normal(0, 1.2, n), logit)
        p = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
        error = np.where(np.array(dark), 0.45, 0.03 + 0.75 * p * (1 - p) + 0.002 * away)
        put(side, p, can)
        put(f"{side}.error", error, can)
        got[side] = can, p, error, lid
    weight = {s: np.where(can, 1 / error**2, 0.0) for s, (can, _, error, _) in got.items()}
    total = weight["left"] + weight["right"]
    sure = np.maximum(total, 1e-9)
    either = total > 0
    put("closed", sum(weight[s] * got[s][1] for s in weight) / sure, either)
    put("closed.error", np.minimum(1.0, 1 / np.sqrt(sure)), either)
    put("lid", np.clip(sum(weight[s] * got[s][3] for s in weight) / sure, 0, 1.5), either)
    put("hidden", np.where(found & ~either, np.clip(0.95 + wander(0.04), 0, 1), np.where(either, 0.04, 0.0)))

    clear = found & (of["scratch"] < 0.75) & (away < 60)
    width = 0.04 + 0.0015 * away + 0.2 * (story.wheel > 0.5)
    gain = 0.95 + 0.06 * folk[:, 1]
    rest = 0.03 + 0.02 * np.abs(folk[:, 2])
    put("mouth", np.clip(rest + gain * of["mouth"] + wander(noise.mouth) * width / 0.04, 0, 1), clear)
    put("mouth.error", width, clear)
    for key, value, bias in (("yaw", yaw, folk[:, 3]), ("pitch", pitch, 1.6 * folk[:, 4]), ("roll", of["roll"], 0.0)):
        wide = noise.pose * (1 + away / 40)
        put(key, np.clip(0.96 * value + noise.bias * bias + wander(1.0) * wide, -180, 180), found)
        if key != "roll":
            put(f"{key}.error", wide + 0.04 * away, found)
    if things:
        for key, level in (("phone", np.maximum(of["phone"], 0.7 * of["text"])), ("smoke", of["cigarette"])):
            put(key, np.clip(0.06 + 0.8 * level + wander(0.09), 0, 1), found | (true.present & ~blind))
        put("belt", np.clip(0.9 + wander(0.05), 0, 1), true.present & ~blind)
    put("rate", rate + 0.2 * rng.standard_normal(n))
    put("frozen", 0.0)
    _hold(out, of["frozen"] > 0.5, rate)
    speed = np.full(n, story.speed) + (0.06 * story.speed) * np.sin(true.t / 37.0)
    return Said(true.t, out, np.maximum(speed, 0), events(story, seed, seconds), true)


def _hold(out: Array, frozen: Array, rate: float) -> None:
    """While the picture stands, so does what is said of it; after a second that is told."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], frozen, [False]]).astype(np.int8)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        kept = out[max(first - 1, 0)].copy()
        kept[KEYS["rate"]] = rate
        out[first:last] = kept
        out[first + round(rate) : last, KEYS["frozen"]] = 1.0


def _smooth(fresh: Array, same: float) -> Array:
    """(n,) of unit variance: each value is `same` times the last one, and something new."""
    if len(fresh) < 2:
        return fresh
    # the infinite sum, cut where a term is below a hundredth
    long = min(len(fresh), max(1, math.ceil(math.log(0.01) / math.log(same)))) if same > 0 else 1
    kernel = same ** np.arange(long)
    kernel /= np.sqrt((kernel**2).sum())
    out: Array = np.convolve(np.concatenate([fresh[: long - 1][::-1], fresh]), kernel, "valid")[: len(fresh)]
    return out


def _rank(value: Array) -> Array:
    """(n,) 0 to 1, uniform: of values of a normal distribution (logistic approximation, good to 0.01)."""
    return _step(1.5976 * value + 0.07056 * value**3)


def _step(value: Array) -> Array:
    out: Array = 1 / (1 + np.exp(-np.clip(value, -40, 40)))
    return out
