"""`vedette simulate`, `vedette demo`: plants, roads, drivers, platforms and fleets that are not there."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from .terminal import Progress, Stop, answer


def add(verb: Callable[..., Any]) -> None:
    """The verbs' arguments."""
    about = "the simulated plants alone, for somebody else's client; a drawn road or driver; a platform"
    sub = verb("simulate", _simulate, about)
    sub.add_argument(
        "scenario", nargs="?", help="scenario TOML; jt808, hj212: a platform for an uplink; fleet: many gateways"
    )
    sub.add_argument("--road", metavar="STORY", help="a drawn road as MJPEG and RTSP, or --out; `list` tells them")
    sub.add_argument("--cabin", metavar="STORY", help="a drawn driver, in the same way; `list` tells them")
    sub.add_argument("--out", type=Path, metavar="FILE.mp4", help="write the story as a film")
    sub.add_argument("--truth", type=Path, metavar="FILE.csv", help="what is true in each picture")
    sub.add_argument("--boxes", type=Path, metavar="FILE.csv", help="of a road: everything that each picture shows")
    sub.add_argument("--events", type=Path, metavar="FILE.csv", help="of a driver: what somebody should be told")
    sub.add_argument("--light", default="", metavar="WORD", help="of a driver: day, dusk, night or infrared")
    sub.add_argument("--style", default="", choices=("", "flat"), help="of a driver: flat, a cartoon")
    sub.add_argument("--seconds", type=float, help="of a driver: another length; of fleet: that are measured")
    sub.add_argument("--weather", default="", metavar="WORDS", help="e.g. night,rain; else as the story says")
    sub.add_argument("--seed", type=int, default=1, help="of place, paint and noise; of the person")
    sub.add_argument("--width", type=int, metavar="PX", help="1280 for files, 640 for streams and drivers")
    sub.add_argument("--fps", type=float, help="20 for files, 10 for streams, 15 for drivers")
    sub.add_argument("--port", type=int, default=0, help="of the stream or the platform; else a free one")
    sub.add_argument(
        "--misbehave", default="", metavar="WORDS", help="of a platform: silent, slow, bad-check, closes ..."
    )
    sub.add_argument("--dialect", default="jiangsu", help="of jt808: of T/JSATL12 (jiangsu)")
    sub.add_argument("--pw", default="123456", help="of hj212: the password (123456)")
    sub.add_argument("--files", type=Path, metavar="DIR", help="of jt808: where evidence is put at the end")
    sub.add_argument("--gateways", type=int, metavar="N", help="of fleet: of the largest one (1000)")
    sub.add_argument("--broker", metavar="URL", help="of fleet: mqtt://host:port; else a mosquitto is started")
    sub.add_argument("--rate", type=float, help="of fleet: readings/s of each gateway (0.2)")
    sub.add_argument("--alarms", type=float, help="of fleet: alarms/min of each gateway (1)")
    sub.add_argument("--outage", type=float, metavar="S", help="of fleet: s that the broker is away at the end")
    sub.add_argument("--processes", type=int, metavar="N", help="of fleet: for the largest one (1 for each 1000)")
    sub.add_argument("--store", metavar="DIR", help="of fleet: where states are kept (in memory)")
    sub.add_argument("--spread", type=float, metavar="S", help="of fleet: over which gateways come back")
    sub.add_argument("--receipts", action="store_true", help="of fleet: alarms wait for the platform's receipt")
    demo = verb("demo", _demo, "two minutes: plants, agent, broker, platform, verdict")
    demo.add_argument("--broker", metavar="URL", help="use this broker (mqtt://host:port), not the embedded one")


def _simulate(args: argparse.Namespace) -> int:
    from simulators.scenario import simulate

    if args.road:
        return _simulate_road(args)
    if args.cabin:
        return _simulate_cabin(args)
    if args.scenario == "jt808":
        return _simulate_jt808(args)
    if args.scenario == "hj212":
        return _simulate_hj212(args)
    if args.scenario == "fleet":
        return _simulate_fleet(args)
    if not args.scenario:
        raise Stop(os.EX_USAGE, "what? a scenario, jt808, hj212, fleet, --road STORY or --cabin STORY")
    return asyncio.run(simulate(args.scenario))


def _simulate_fleet(args: argparse.Namespace) -> int:
    from simulators.fleet import options, simulate

    names = (
        "gateways",
        "broker",
        "seconds",
        "rate",
        "alarms",
        "outage",
        "processes",
        "store",
        "receipts",
        "spread",
        "seed",
    )
    fleet = options(**{name: getattr(args, name) for name in names})
    return asyncio.run(simulate(fleet, lambda line: print(line, flush=True), args.json))


def _strange(misbehave: str, known: Collection[str]) -> list[str]:
    """What is wrong with the words of --misbehave."""
    from .complaints import nearest

    return [
        f"--misbehave has no word `{word}`{nearest(word, known)}; known are {', '.join(known)}"
        for word in filter(None, misbehave.split(","))
        if word not in known
    ]


def _simulate_jt808(args: argparse.Namespace) -> int:
    from simulators.jt808 import WORDS, simulate

    from .complaints import nearest
    from .uplink.jt808_words import DIALECTS

    unknown = _strange(args.misbehave, WORDS)
    unknown += [] if args.dialect in DIALECTS else [f"no dialect `{args.dialect}`{nearest(args.dialect, DIALECTS)}"]
    if unknown:
        raise Stop(os.EX_USAGE, "; ".join(unknown))
    return asyncio.run(simulate(args.port, args.misbehave, args.files, args.dialect))


def _simulate_hj212(args: argparse.Namespace) -> int:
    from simulators.hj212 import WORDS, simulate

    unknown = _strange(args.misbehave, WORDS)
    if unknown:
        raise Stop(os.EX_USAGE, "; ".join(unknown))
    return asyncio.run(simulate(args.port, args.misbehave, args.pw))


def _simulate_road(args: argparse.Namespace) -> int:
    from simulators.scenario import RoadTable, serve
    from simulators.stories import STORIES, WEATHER

    from .complaints import nearest

    if args.road == "list":
        lines = [
            f"{name:14} {story.seconds:4.1f} s  {story.place}, {' '.join(story.weather)}: {story.about}"
            for name, story in STORIES.items()
        ]
        return answer(args, {name: story.about for name, story in STORIES.items()}, "\n".join(lines))
    weather = tuple(word for word in args.weather.split(",") if word)
    unknown = [f"no story `{args.road}`{nearest(args.road, STORIES)}"] if args.road not in STORIES else []
    unknown += [f"no weather `{word}`{nearest(word, WEATHER)}" for word in weather if word not in WEATHER]
    if unknown:
        raise Stop(os.EX_USAGE, "; ".join(unknown))
    if not (args.out or args.truth or args.boxes):
        table = RoadTable("road", args.road, "", weather, args.seed, args.width or 640, args.fps or 10.0, args.port)
        return asyncio.run(serve(table))
    try:
        from simulators.road import told, written
    except ImportError as error:
        raise Stop(os.EX_UNAVAILABLE, f"--road: {error}; install vedette[video]") from None
    drive = told(args.road, args.seed, weather, args.width or 1280, args.fps or 20.0)
    with Progress("road", drive.frames, "pictures") as progress:
        for n in written(drive, args.out, args.truth, args.boxes):
            progress(n + 1)
    return _filmed(args, drive.story.about, drive.frames, args.out, args.truth, args.boxes)


def _filmed(args: argparse.Namespace, about: str, pictures: int, *files: Path | None) -> int:
    names = [str(file) for file in files if file]
    facts = {"about": about, "pictures": pictures, "files": names}
    return answer(args, facts, f"{about}, {pictures} pictures: {' '.join(names)}")


def _simulate_cabin(args: argparse.Namespace) -> int:
    from simulators.habits import LIGHTS, STORIES
    from simulators.scenario import CabinTable, serve

    from .complaints import nearest

    if args.cabin == "list":
        lines = [f"{name:15} {story.seconds:6.1f} s  {story.light}: {story.about}" for name, story in STORIES.items()]
        return answer(args, {name: story.about for name, story in STORIES.items()}, "\n".join(lines))
    unknown = [f"no story `{args.cabin}`{nearest(args.cabin, STORIES)}"] if args.cabin not in STORIES else []
    if args.light and args.light not in LIGHTS:
        unknown.append(f"no light `{args.light}`{nearest(args.light, LIGHTS)}")
    if unknown:
        raise Stop(os.EX_USAGE, "; ".join(unknown))
    width, fps = args.width or 640, args.fps or 15.0
    if not (args.out or args.truth or args.events):
        return asyncio.run(serve(CabinTable("cabin", args.cabin, "", args.light, args.seed, width, fps, args.port)))
    try:
        from simulators.cabin import told, written
    except ImportError as error:
        raise Stop(os.EX_UNAVAILABLE, f"--cabin: {error}; install vedette[video]") from None
    trip = told(args.cabin, args.seed, args.light, width, fps, args.seconds, args.style)
    with Progress("cabin", trip.frames, "pictures") as progress:
        for n in written(trip, args.out, args.truth, args.events):
            progress(n + 1)
    return _filmed(args, trip.story.about, trip.frames, args.out, args.truth, args.events)


def _demo(args: argparse.Namespace) -> int:
    from simulators.demo import demo

    if not args.json:
        return asyncio.run(demo(broker=args.broker))
    code = asyncio.run(demo(broker=args.broker, say=lambda line: print(line, file=sys.stderr, flush=True)))
    answer(args, {"passed": code == 0}, "")
    return code
