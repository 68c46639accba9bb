"""Stories of the road: who is there, and what they do. A story is a row of a table, `track` says where somebody is.

Distances along the road in m from where the camera starts, sideways in m right of the middle of our lane, times in s.
Everybody keeps to the law of motion; nobody looks: who brakes late in a story does so every time. Nothing here draws
(`road.py` does), so a truth needs no pictures.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
STEP = 0.005  # s from one moment of a track to the next
WIDE = 1.9  # m, our own width
WEATHER = ("day", "dusk", "night", "rain", "fog", "glare", "dirt", "shake", "blur", "jpeg")


class Move(NamedTuple):
    """From a time on."""

    at: float  # s
    gain: float = 0.0  # m/s2 along the road; nobody drives backwards
    across: float = 0.0  # m/s to the right


class Actor(NamedTuple):
    """Somebody on the road."""

    what: str  # a kind in bodies.py
    x: float  # m right of our lane's middle, at the start
    z: float  # m ahead of the camera, of its nearer end, at the start
    speed: float = 0.0  # m/s along the road; below 0 it comes towards us
    moves: tuple[Move, ...] = ()
    facing: str = "back"  # of who is a flat picture: back, front, side
    lit: bool = True  # its lamps burn when others' do


class Story(NamedTuple):
    """What happens."""

    about: str
    seconds: float
    speed: float  # m/s, ours
    actors: tuple[Actor, ...]
    place: str = "motorway"
    weather: tuple[str, ...] = ("day",)
    moves: tuple[Move, ...] = ()  # ours
    turn: tuple[float, float, str] | None = None  # s from, s to, left or right: our turn signal
    bend: float = 0.0  # 1/m, right is positive


PASSING = (Actor("hatchback", -3.7, 12, 27), Actor("saloon", -3.7, 70, 25), Actor("van", -7.4, 35, 31))
STORIES: dict[str, Story] = {
    "free": Story(
        "Nobody is ahead; others drive in their own lanes, far away",
        8,
        25,
        (Actor("saloon", -7.4, 90, 30), Actor("suv", -3.7, 130, 26)),
    ),
    "standing": Story("A car stands in our lane", 5.6, 16, (Actor("hatchback", 0, 92),), "country"),
    "brake": Story(
        "Who is ahead brakes hard",
        7,
        20,
        (Actor("estate", 0, 30, 20, (Move(2.0, -6.0),)), *PASSING[1:]),
        moves=(Move(4.0, -9.0),),
    ),
    "cut-in": Story(
        "A slower car comes into our lane from the left",
        7,
        24,
        (Actor("saloon", -3.7, 46, 17, (Move(1.5, 0, 1.85), Move(3.5))), Actor("box lorry", -7.4, 60, 22)),
        moves=(Move(4.6, -6.0), Move(5.9)),
    ),
    "cut-out": Story(
        "Who is ahead leaves the lane; a car stands there",
        5.6,
        18,
        (Actor("van", 0, 22, 18, (Move(1.6, 0, -2.3), Move(3.2))), Actor("saloon", 0, 105)),
    ),
    "opening": Story(
        "A lorry ahead draws away",
        6,
        15,
        (Actor("curtain lorry", 0, 18, 16, (Move(0, 0.4),)), Actor("hatchback", -3.7, 40, 21)),
    ),
    "passing": Story(
        "Others pass and are passed in the lanes beside us; ahead it stays as it is",
        7,
        20,
        (
            Actor("suv", 0, 45, 20),
            Actor("box lorry", -3.7, 35, 13),
            Actor("saloon", -7.4, -8, 31),
            Actor("hatchback", -7.4, 60, 24),
        ),
    ),
    "crossing": Story(
        "Somebody on foot crosses from the right",
        6,
        11,
        (
            Actor("person", 4.4, 52, 0, (Move(0, 0, -1.35),), "side"),
            Actor("hatchback", -3.7, 60, -11, facing="front"),
            Actor("person", 3.9, 30, 0, (), "back"),
        ),
        "town",
        moves=(Move(3.6, -6.0),),
    ),
    "cyclist": Story(
        "Somebody on a bicycle rides ahead",
        7,
        14,
        (Actor("bicycle", 0.6, 48, 4.5), Actor("saloon", -3.5, 90, -13)),
        "country",
        moves=(Move(3.6, -6.0), Move(5.2)),
    ),
    "night lorry": Story(
        "A lorry stands unlit in our lane at night",
        6,
        16,
        (Actor("box lorry", 0, 100, lit=False), Actor("saloon", -3.5, 150, -18)),
        "country",
        ("night",),
    ),
    "bend": Story(
        "The road bends to the right, others come towards us",
        8,
        17,
        (
            Actor("saloon", -3.5, 80, -17),
            Actor("tanker", -3.5, 150, -15),
            Actor("motorcycle", -3.5, 190, -19, facing="front"),
        ),
        "country",
        bend=1 / 420,
    ),
    "tanker": Story(
        "A tanker ahead slows down in the rain",
        5.6,
        19,
        (Actor("tanker", 0, 34, 19, (Move(1.5, -3.2),)), Actor("coach", -3.7, 20, 22)),
        weather=("rain",),
    ),
    "queue": Story(
        "The end of a queue in fog",
        5.5,
        17,
        (Actor("curtain lorry", 0, 98), Actor("coach", -3.7, 104), Actor("saloon", -7.4, 100)),
        weather=("fog",),
    ),
    "pulling out": Story(
        "We change the lane to overtake, with the signal on",
        7,
        23,
        (Actor("coach", 0, 40, 18), Actor("saloon", -3.7, 90, 28)),
        moves=(Move(2.0, 0, -1.85), Move(4.0)),
        turn=(1.0, 4.2, "left"),
    ),
}


class Track(NamedTuple):
    """Where somebody is, every `STEP`."""

    z: Array  # (t,) m along the road since the start
    x: Array  # (t,) m right of the lane's middle
    speed: Array  # (t,) m/s
    across: Array  # (t,) m/s
    gain: Array  # (t,) m/s2


def track(x: float, z: float, speed: float, moves: tuple[Move, ...], seconds: float) -> Track:
    """Of somebody who starts at x, z with a speed and does moves."""
    n = int(seconds / STEP) + 2
    t = np.arange(n) * STEP
    gain, across = np.zeros(n), np.zeros(n)
    for move in sorted(moves):
        gain[t >= move.at - 1e-9] = move.gain
        across[t >= move.at - 1e-9] = move.across
    across = _eased(across, 0.4)
    v = speed + np.concatenate([[0.0], np.cumsum(gain[:-1]) * STEP])
    if speed >= 0:
        stopped = np.cumsum(v <= 0) > 0
        # who has come to a stand stays, unless a later move drives on
        v = np.where(stopped & (gain <= 0), 0.0, np.maximum(v, 0.0))
        gain = np.where(v > 0, gain, np.maximum(gain, 0.0))
    ahead = z + np.concatenate([[0.0], np.cumsum((v[:-1] + v[1:]) / 2) * STEP])
    aside = x + np.concatenate([[0.0], np.cumsum((across[:-1] + across[1:]) / 2) * STEP])
    return Track(ahead, aside, v, across, gain)


def _eased(value: Array, seconds: float) -> Array:
    """A step becomes a ramp as long, about the same moment: nobody goes sideways at once."""
    n = max(1, int(seconds / STEP)) | 1
    padded = np.concatenate([np.full(n // 2, value[0]), value, np.full(n // 2, value[-1])])
    return np.convolve(padded, np.ones(n) / n, "valid")


def moment(of: Track, t: float) -> int:
    """The index of a time in a track."""
    return min(max(round(t / STEP), 0), len(of.z) - 1)


def own(story: Story) -> Track:
    """Our own way."""
    return track(0.0, 0.0, story.speed, story.moves, story.seconds)


def signals(story: Story, way: Track, t: float) -> dict[str, float]:
    """What our own vehicle says at a time of its way: speed m/s, brake and turn signals 0 or 1.

    >>> signals(STORIES["brake"], own(STORIES["brake"]), 4.5)["brake"]
    1.0
    """
    i, turn = moment(way, t), story.turn
    side = turn[2] if turn and turn[0] <= t < turn[1] else ""
    return {
        "speed": float(way.speed[i]),
        "brake": float(way.gain[i] < -0.5),
        "left": float(side == "left"),
        "right": float(side == "right"),
    }
