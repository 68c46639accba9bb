"""What a person types: `vedette VERB`. Exit codes after sysexits(3): 64 usage, 69 unavailable, 78 configuration."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from . import __version__, dispatch, exhibits, nets, registrar, workshop
from .core.alarm import LEVELS
from .core.errors import ConfigFault, WorldFault
from .web import passwd

if TYPE_CHECKING:
    from .config import Config
    from .core.alarm import Alarm
    from .core.rules import Item
    from .profiles import Profile

USAGE, UNAVAILABLE, CONFIG = os.EX_USAGE, os.EX_UNAVAILABLE, os.EX_CONFIG
RELOAD = 150.0  # s that the daemon may take to check a file and go on by it


SHADES = (*LEVELS, "none")  # worst first

DEEDS = {  # what people do to one point
    "demand": "switch by hand what a manual rule drives: a remote cut; needs --reason",
    "withdraw": "take that back; refused while anything else demands it",
    "reset": "let go what latched",
    "shelve": "silence for a while: needs --reason and --hours; never red, never an interlock",
    "take-out": "take out of service: --reason is the permit",
    "restore": "back in force",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    args = _parser().parse_args(argv)
    try:
        code = int(args.verb(args) or 0)
        sys.stdout.flush()
        return code
    except ConfigFault as fault:
        _show_complaints(fault, args)
        return CONFIG
    except WorldFault as fault:
        if args.json:
            print(msgspec.json.encode({"error": str(fault)}).decode())
        print(f"vedette: {fault}", file=sys.stderr)
        return UNAVAILABLE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is not None:
            raise  # not the output: a mistake of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"vedette: output cannot be written: {error.strerror}", file=sys.stderr)
        return os.EX_IOERR
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vedette",
        description="A sentry at the edge: reads hazard sensors, judges on the spot, delivers alarms.",
        epilog="A supplement to certified safety systems, never one of them.",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=_Parser)

    def verb(name: str, call: Callable[[argparse.Namespace], int | None], help: str, site: bool = False) -> Any:
        sub = verbs.add_parser(name, help=help, description=help)
        sub.set_defaults(verb=call)
        sub.add_argument("--json", action="store_true", help="answer as JSON for programs")
        if site:
            sub.add_argument("-c", "--config", default="site.toml", metavar="FILE", help="site file (site.toml)")
        return sub

    verb("run", _run, "the daemon", site=True)
    check = verb("check", _check, "every fault of a configuration at once, or the resolved wiring", site=True)
    workshop.fixes(check)
    verb("test", _test, "poll once and show every channel", site=True)
    probe = verb("probe", _probe, "read registers ad hoc: tcp://host:502/1/holding/0x1000:4")
    probe.add_argument("url", help="tcp://HOST[:PORT]/UNIT/KIND/ADDRESS[:COUNT], or rtu:///dev/ttyUSB0/UNIT/...")
    probe.add_argument("--as", dest="as_", default="uint16", metavar="TYPE[:ORDER]", help="e.g. float32:CDAB")
    probe.add_argument("--baud", type=int, default=9600)
    probe.add_argument("--parity", choices=("N", "E", "O"), default="N")
    probe.add_argument("--timeout", type=float, default=1.0, metavar="S")
    about = "the simulated plants alone, for somebody else's client; a drawn road or driver; a platform"
    simulate = verb("simulate", _simulate, about)
    simulate.add_argument(
        "scenario", nargs="?", help="scenario TOML; jt808, hj212: a platform for an uplink; fleet: many gateways"
    )
    simulate.add_argument("--road", metavar="STORY", help="a drawn road as MJPEG and RTSP, or --out; `list` tells them")
    simulate.add_argument("--cabin", metavar="STORY", help="a drawn driver, in the same way; `list` tells them")
    simulate.add_argument("--out", type=Path, metavar="FILE.mp4", help="write the story as a film")
    simulate.add_argument("--truth", type=Path, metavar="FILE.csv", help="what is true in each picture")
    simulate.add_argument(
        "--boxes", type=Path, metavar="FILE.csv", help="of a road: everything that each picture shows"
    )
    simulate.add_argument("--events", type=Path, metavar="FILE.csv", help="of a driver: what somebody should be told")
    simulate.add_argument("--light", default="", metavar="WORD", help="of a driver: day, dusk, night or infrared")
    simulate.add_argument("--style", default="", choices=("", "flat"), help="of a driver: flat, a cartoon")
    simulate.add_argument("--seconds", type=float, help="of a driver: another length; of fleet: that are measured")
    simulate.add_argument("--weather", default="", metavar="WORDS", help="e.g. night,rain; else as the story says")
    simulate.add_argument("--seed", type=int, default=1, help="of place, paint and noise; of the person")
    simulate.add_argument("--width", type=int, metavar="PX", help="1280 for files, 640 for streams and drivers")
    simulate.add_argument("--fps", type=float, help="20 for files, 10 for streams, 15 for drivers")
    simulate.add_argument("--port", type=int, default=0, help="of the stream or the platform; else a free one")
    simulate.add_argument(
        "--misbehave", default="", metavar="WORDS", help="of a platform: silent, slow, bad-check, closes ..."
    )
    simulate.add_argument("--dialect", default="jiangsu", help="of jt808: of T/JSATL12 (jiangsu)")
    simulate.add_argument("--pw", default="123456", help="of hj212: the password (123456)")
    simulate.add_argument("--files", type=Path, metavar="DIR", help="of jt808: where evidence is put at the end")
    simulate.add_argument("--gateways", type=int, metavar="N", help="of fleet: of the largest one (1000)")
    simulate.add_argument("--broker", metavar="URL", help="of fleet: mqtt://host:port; else a mosquitto is started")
    simulate.add_argument("--rate", type=float, help="of fleet: readings/s of each gateway (0.2)")
    simulate.add_argument("--alarms", type=float, help="of fleet: alarms/min of each gateway (1)")
    simulate.add_argument("--outage", type=float, metavar="S", help="of fleet: s that the broker is away at the end")
    simulate.add_argument("--processes", type=int, metavar="N", help="of fleet: for the largest one (1 for each 1000)")
    simulate.add_argument("--store", metavar="DIR", help="of fleet: where states are kept (in memory)")
    simulate.add_argument("--spread", type=float, metavar="S", help="of fleet: over which gateways come back")
    simulate.add_argument("--receipts", action="store_true", help="of fleet: alarms wait for the platform's receipt")
    demo = verb("demo", _demo, "two minutes: plants, agent, broker, platform, verdict")
    demo.add_argument("--broker", metavar="URL", help="use this broker (mqtt://host:port), not the embedded one")
    replay = verb("replay", _replay, "run a recording through the same core; print or compare the alarms")
    replay.add_argument("folder", type=Path, nargs="+", help="folder with site.toml and frames.jsonl")
    replay.add_argument("--compare", action="store_true", help="compare with alarms.jsonl; exit 1 on a difference")
    replay.add_argument(
        "--what-if",
        metavar="CHANGE",
        action="append",
        default=[],
        help="alarms gained and lost by another setting: limit=0.8, or NAME:FIELD=VALUE of one rule or detector",
    )
    record = verb("record", _record, "read the site and write frames and alarms into a folder", site=True)
    record.add_argument("folder", type=Path)
    record.add_argument("--seconds", type=float, default=None, help="stop by itself after this time")
    detects = verb("detect", _detect, "judge a CSV file by its own past: time, then channels; score and alarm by row")
    detects.add_argument("file", nargs="?", default="-", metavar="FILE", help="`-` reads standard input")
    detects.add_argument("--out", metavar="FILE", help="write there, not to standard output")
    detects.add_argument("--channel", action="append", default=[], metavar="NAME", help="tell only of this one")
    detects.add_argument("--kind", choices=("anomaly", "window"), default="anomaly", help="the detector (anomaly)")
    detects.add_argument("--model", metavar="NAME", help="of `--kind window`: one that ships, or a manifest FILE.toml")
    detects.add_argument("--budget", type=float, default=30.0, metavar="DAYS", help="days for one false alarm (30)")
    detects.add_argument(
        "--stands", type=float, default=300.0, metavar="S", help="s that an alarm stands, at most (300)"
    )
    detects.add_argument("--every", type=float, default=0.0, metavar="S", help="s between looks (every row)")
    detects.add_argument("--plot", action="store_true", help="draw series, score and alarms with characters")
    explain = verb("explain", _explain, "why an alarm was raised, in words and numbers, what became of it", site=True)
    explain.add_argument("alarm", metavar="ID", help="as `vedette alarms` shows it")
    explain.add_argument("--folder", type=Path, help="a journal somewhere else: a copy, say")
    alarms = verb("alarms", _alarms, "open alarms of the running daemon; acknowledge, shelve, reset one", site=True)
    alarms.add_argument("--ack", metavar="ID")
    for deed, what in DEEDS.items():
        alarms.add_argument(f"--{deed}", metavar="POINT", help=f"{what}; POINT is an alarm's ID or RULE@CHANNEL")
    alarms.add_argument("--load", action="store_true", help="how many alarms there are, and which come most")
    alarms.add_argument("--by", metavar="NAME", default="", help="who does it")
    alarms.add_argument("--reason", metavar="TEXT", default="", help="why, or the number of the permit")
    alarms.add_argument("--hours", type=float, default=0.0, help="of shelving, at most 8")
    verb("colours", _colours, "colours of site, items and points, and what is missing for a lower one", site=True)
    verb("status", _status, "version, configuration, uplinks, limits that were set, commands under way", site=True)
    reloads = verb("reload", _reload, "the running daemon goes on by its site file as it is now", site=True)
    reloads.add_argument("--by", metavar="NAME", default="", help="who does it")
    verb("queue", _queue, "what the running daemon still owes its platforms", site=True)
    drills = verb("drill", _drill, "prove a chain from sensor to outputs and platforms; nothing is tripped", site=True)
    drills.add_argument("name", help="an interlock, a rule that drives something, or RULE@CHANNEL")
    drills.add_argument("--by", metavar="NAME", required=True, help="who drills")
    presence = verb("presence", _presence, "say in which zone a person is, or show who is where", site=True)
    presence.add_argument("person", nargs="?", help="an id, never a name")
    presence.add_argument("zone", nargs="?", help="a zone of the site file, or `out`")
    presence.add_argument("--by", metavar="NAME", default="", help="who, or what, says so")
    registrar.add(verb)
    exhibits.add(verb)
    passwd.add(verb)
    dispatch.add(verb)
    workshop.add(verb)
    hazards = verb("hazards", _hazards, "index R and level of an inventory, term by term; or the table that ships")
    hazards.add_argument("inventory", type=Path, nargs="?", metavar="FILE", help="hazards.toml of a site")
    profiles = verb("profiles", _profiles, "limits that ship, with their sources")
    profiles.add_argument("name", nargs="*", help="one profile in full, or the first part of some names")
    watches = verb("watch", _watch, "a film through the eye, detectors and rules of a site; a row for each picture")
    watches.add_argument("what", metavar="VIDEO|FOLDER|URL", help="a film, a folder of pictures, or a stream")
    watches.add_argument(
        "--role", choices=("road", "zones", "beach", "driver"), default="road", help="what is looked for"
    )
    watches.add_argument("--out", metavar="CSV", help="a row for each picture")
    watches.add_argument("--events", metavar="CSV", help="the warnings")
    watches.add_argument("--detections", metavar="CSV", help="everything that was found")
    watches.add_argument("--show", metavar="FILE", help="a film (.mp4) or the last picture (.png), with what was seen")
    watches.add_argument("--camera", type=Path, metavar="TOML", help="[bus.road.mount], [bus.zones], ... of its own")
    watches.add_argument(
        "--site",
        type=Path,
        metavar="TOML",
        help="site file (configs/vehicle.example.toml, unmounted; camera.example.toml, driver.example.toml)",
    )
    watches.add_argument("--net", metavar="NAME", help="another net than the site's; none: only what looms")
    watches.add_argument("--speed", default="", metavar="KMH|CSV", help="of the vehicle; a CSV has t_s and speed_kmh")
    watches.add_argument("--fps", type=float, default=0.0, help="pictures a second, where the film does not tell (10)")
    nets.arguments(verb("models", lambda _: USAGE, "nets that look at pictures: list, verify, import, fetch, bench"))
    verb("version", lambda args: _say(args, {"version": __version__}, f"vedette {__version__}"), "the version")
    return parser


def _say(args: argparse.Namespace, facts: Any, text: str) -> int:
    """One answer, as JSON or as text."""
    print(msgspec.json.format(msgspec.json.encode(facts), indent=2).decode() if args.json else text)
    return 0


def _show_complaints(fault: ConfigFault, args: argparse.Namespace) -> None:
    if getattr(args, "json", False):
        print(msgspec.json.encode({"complaints": fault.complaints}).decode())
        return
    for complaint in fault.complaints:
        print(complaint, file=sys.stderr)
    n = len(fault.complaints)
    print(f"vedette: {n} fault{'s' if n != 1 else ''} in the configuration; {fault.outcome}", file=sys.stderr)


# -- the daemon and its configuration -----------------------------------------------------------------


def _run(args: argparse.Namespace) -> int:
    """The daemon. Whatever ends a new configuration on trial, the one before comes back (`update.py`)."""
    from . import config, daemon, migrate, update

    path = Path(args.config)
    try:
        trial = update.begin(path)
    except OSError as error:
        print(f"vedette: {path.name}.trial: {error.strerror or error}", file=sys.stderr)
        trial = None  # better with what there is than not at all
    again, why = True, "the agent ended with it"
    try:
        try:
            site = config.load(path)
            migrated = migrate.prepare(Path(site.store.path))
        except ConfigFault as fault:
            why = "; ".join(fault.complaints)
            raise
        again = asyncio.run(daemon.run(site, trial=trial, migrated=migrated))
    finally:
        now = update.read(path) if trial is not None and trial.phase == "trial" else None
        if again and trial is not None and now is not None and (now.phase, now.command) == ("trial", trial.command):
            ended_by = sys.exc_info()[1]
            if ended_by is not None and not isinstance(ended_by, ConfigFault):
                why = f"{type(ended_by).__name__}: {ended_by}"
                traceback.print_exc()
            update.back(path, now, why)
            daemon.anew()
    if again:
        daemon.anew()
    return 0


def _check(args: argparse.Namespace) -> int:
    from . import config
    from .core.rules import Item

    if args.fix:
        workshop.fix(args)
    site = config.load(args.config)
    by_rule: dict[str, list[str]] = {}
    for rule_name, channel in site.core().places:
        by_rule.setdefault(rule_name, []).append(channel)
    armed = [output for driver in site.drivers for output in driver.armed()]
    labels = [one.label("en", armed) for one in site.interlocks]
    facts = {
        "site": site.site.name,
        "node": site.site.node,
        "config": site.hash,
        "store": site.store.path,
        "wiring": {driver.name: driver.wiring() for driver in site.drivers},
        "rules": [
            {
                "name": rule.name,
                "kind": rule.__struct_config__.tag,
                "level": rule.level,
                "limit": rule.bounds[0],
                "restore": rule.bounds[1],
                "basis": msgspec.to_builtins(rule.basis),
                "drive": rule.drive,
                "channels": by_rule.get(rule.name, []),
            }
            for rule in site.rules
        ],
        "interlocks": labels,
        "uplinks": [uplink.name for uplink in site.uplinks],
        "issuers": {issuer.name: issuer.may for issuer in site.issuers},
        "two": site.commands.two,
        "settable": {name: [one.low, one.high] for name, one in site.bounds.items()},
    }
    lines = [f"site {site.site.name}/{site.site.node}, configuration {site.hash}"]
    for driver in site.drivers:
        lines += [f"bus {driver.name}", *(f"  {line}" for line in driver.wiring())]
    lines.append("rules")
    for rule in site.rules:
        if isinstance(rule, Item):
            continue
        watched = by_rule.get(rule.name, [])
        more = f" and {len(watched) - 2} more" if len(watched) > 2 else ""
        verify = ", verify" if rule.basis.verify else ""
        lines.append(
            f"  {rule.level:6} {rule.name}: {rule.__struct_config__.tag} {rule.says}".rstrip()
            + f" ({' '.join(filter(None, (rule.basis.standard, rule.basis.clause)))}{verify})"
            f" on {', '.join(watched[:2])}{more}" + (f" drives {', '.join(rule.drive)}" if rule.drive else "")
        )
    lines += [f"  {label}" if i else f"interlocks\n  {label}" for i, label in enumerate(labels)]
    lines += _item_lines(rule for rule in site.rules if isinstance(rule, Item))
    lines.append("uplinks: " + (", ".join(uplink.name for uplink in site.uplinks) or "none; alarms stay here"))
    for issuer in site.issuers:
        alone = [f"{verb}{' with another' if verb in site.commands.two else ''}" for verb in issuer.may]
        lines.append(f"issuer {issuer.name} may {', '.join(alone) or 'nothing'}")
    for name, one in site.bounds.items():
        lines.append(f"limit of {name} may be set from {one.low:g} to {one.high:g}")
    lines.append("no faults")
    return _say(args, facts, "\n".join(lines))


def _item_lines(items: Iterable[Item]) -> Iterator[str]:
    """What makes the colour of each item."""
    for i, item in enumerate(items):
        if not i:
            yield "items"
        members = ", ".join([*(f"item {name}" for name in item.item), *item.channel[:2]])
        more = f" and {len(item.channel) - 2} more" if len(item.channel) > 2 else ""
        counts = ", ".join(f"{n} {shade}" for shade, n in item.counts.items())
        verify = ", verify" if item.basis.verify else ""
        cited = f"{item.basis.standard} {item.basis.clause}".strip()
        counted = f"{counts} make the next colour ({cited}{verify})" if counts else "as bad as its worst"
        yield f"  {item.name}: {members}{more}; {counted}; falls after {item.clear_delay / 60:g} min"


def _test(args: argparse.Namespace) -> int:
    from . import config
    from .clock import SystemClock
    from .core.frame import Frame, Quality, aged
    from .core.ports import Driver, Event
    from .core.words import number

    site = config.load(args.config)

    async def once(driver: Driver) -> list[Frame | Event] | WorldFault:
        try:
            return await driver.once(SystemClock())
        except WorldFault as fault:
            return fault

    async def all_of_them() -> list[list[Frame | Event] | WorldFault]:
        return await asyncio.gather(*(once(driver) for driver in site.drivers))

    rows: list[dict[str, Any]] = []
    texts: list[str] = []  # strings of devices: no fault
    complaints: list[str] = []
    for driver, said in zip(site.drivers, asyncio.run(all_of_them()), strict=True):
        if isinstance(said, WorldFault):
            complaints.append(f"{driver.name}: {said}")
            continue
        for item in said:
            if isinstance(item, Event):
                line = f"{item.kind} {item.source}: {item.text}"
                (texts if item.kind == "text" else complaints).append(line)
                continue
            frame = aged(item)
            for i, key in enumerate(frame.layout.key):
                value = float(frame.value[i])
                rows.append(
                    {
                        "channel": f"{frame.source}/{key}",
                        "value": None if value != value else value,
                        "unit": frame.layout.unit[i],
                        "quality": Quality(int(frame.quality[i])).name,
                        "raw": None if frame.raw[i] != frame.raw[i] else float(frame.raw[i]),
                    }
                )
    width = max((len(row["channel"]) for row in rows), default=8)
    text = [
        f"{row['channel']:{width}}  {number(row['value']):>10} {row['unit']:6} {row['quality']}"
        + (f"  raw {number(row['raw'])}" if row["raw"] != row["value"] else "")
        for row in rows
    ]
    _say(args, {"channels": rows, "texts": texts, "complaints": complaints}, "\n".join([*text, *texts, *complaints]))
    return UNAVAILABLE if complaints or any(row["quality"] != "GOOD" for row in rows) else 0


def _probe(args: argparse.Namespace) -> int:
    from drivers.probe import read_once

    from .core.words import number

    try:
        settings = {"baud": args.baud, "parity": args.parity, "timeout": args.timeout}
        readings = asyncio.run(read_once(args.url, args.as_, **settings))
    except ValueError as error:
        print(f"vedette probe: {error}", file=sys.stderr)
        return USAGE
    rows = [{"at": r.at, "wire": r.wire.hex(" "), "value": r.value, "quality": r.quality.name} for r in readings]

    def shown(value: float | str) -> str:
        return number(value) if isinstance(value, float) else value

    text = "\n".join(
        f"{row['at']:>18}  {row['wire']:24}  {shown(r.value)}"
        + ("" if row["quality"] == "GOOD" else f"  {row['quality']}")
        for r, row in zip(readings, rows, strict=True)
    )
    return _say(args, rows, text)


# -- recordings ---------------------------------------------------------------------------------------


def _record(args: argparse.Namespace) -> int:
    from . import config, daemon

    site = config.load(args.config)
    try:
        args.folder.mkdir(parents=True, exist_ok=True)
        if any(args.folder.iterdir()):
            raise ConfigFault([f"{args.folder}: is not empty; a recording wants a folder of its own"])
        _copy_site(site.path, site.sources, args.folder)
    except OSError as error:
        raise ConfigFault([f"{error.filename}: cannot be written: {error.strerror}"]) from None
    with tempfile.TemporaryDirectory(prefix="vedette-record-") as state:
        quiet = msgspec.structs.replace(
            site,
            uplinks=(),
            rules=tuple(msgspec.structs.replace(rule, drive=[]) for rule in site.rules),
            store=msgspec.structs.replace(site.store, path=state),
        )
        asyncio.run(daemon.run(quiet, record=args.folder, seconds=args.seconds))
    return 0


def _copy_site(site: Path, sources: Sequence[Path], folder: Path) -> None:
    """The site file and what it names beside or below it; what ships needs no copy. Raises `ConfigFault` otherwise."""
    from .profiles import SHIPPED

    home = site.resolve().parent
    for source in map(Path.resolve, sources):
        if source.is_relative_to(home):
            target = folder / ("site.toml" if source == site.resolve() else source.relative_to(home))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        elif not source.is_relative_to(SHIPPED.resolve()):
            raise ConfigFault(
                [f"{source}: lies outside {home}; a recording can only take what is beside the site file"]
            )


def _replay(args: argparse.Namespace) -> int:
    from . import config

    if args.what_if:
        return _what_if(args)
    differ = 0
    for folder in args.folder:
        alarms = _replayed(folder, config.load(folder / "site.toml"))
        lines = [msgspec.json.encode(alarm).decode() for alarm in alarms]
        try:
            expected = (folder / "alarms.jsonl").read_text().splitlines() if args.compare else []
        except OSError as error:
            raise ConfigFault([f"{error.filename}: {error.strerror}"]) from None
        if not args.compare:
            for line in lines:
                print(line)
            continue
        import difflib

        change = list(difflib.unified_diff(expected, lines, "expected", "replayed", lineterm="", n=0))
        differ += bool(change)
        print("\n".join([f"{folder.name}: {'differs' if change else 'the same'}, {len(lines)} alarms", *change]))
    return 1 if differ else 0


def _what_if(args: argparse.Namespace) -> int:
    from . import config, whatif

    for folder in args.folder:
        site = other = config.load(folder / "site.toml")
        try:
            for change in args.what_if:
                other = whatif.changed(other, change)
        except ValueError as error:
            print(f"vedette replay: {error}", file=sys.stderr)
            return USAGE
        before, after = (_replayed(folder, one) for one in (site, other))
        print(f"{folder.name} with {' and '.join(args.what_if)}")
        print("\n".join(f"  {line}" for line in whatif.lines(whatif.compare(before, after))))
    return 0


def _replayed(folder: Path, site: Config) -> list[Alarm]:
    """The alarms of a recording under this configuration. Raises `ConfigFault`."""
    from . import journal

    try:
        return list(journal.replay(site.core(), journal.read(folder / "frames.jsonl", site.layouts)))
    except OSError as error:
        raise ConfigFault([f"{error.filename}: {error.strerror}"]) from None


def _watch(args: argparse.Namespace) -> int:
    from . import watch

    try:
        facts = watch.run(args)
    except ImportError as error:
        print(f'vedette watch: OpenCV is not there ({error}): pip install "vedette[video]"', file=sys.stderr)
        return USAGE
    except ValueError as error:
        print(f"vedette watch: {error}", file=sys.stderr)
        return USAGE
    if facts["why"]:
        print(f"vedette watch: {facts['why']}", file=sys.stderr)
    text = "{pictures} pictures of {seconds:.1f} s, {warnings} warnings, {ms:.0f} ms each".format(**facts)
    return _say(args, facts, text)


def _detect(args: argparse.Namespace) -> int:
    import models

    from . import detect

    try:
        settings = {"budget": args.budget * 86400, "stands": args.stands, "every": args.every}
        if args.model:
            settings["model"] = args.model
        one = msgspec.convert({"name": "detect", "channel": ["*"], **settings}, models.detector(args.kind))
    except msgspec.ValidationError as error:
        print(f"vedette detect: {error}", file=sys.stderr)
        return USAGE
    name = "standard input" if args.file == "-" else args.file
    if args.out and args.file != "-" and os.path.exists(args.out) and os.path.samefile(args.file, args.out):
        print(f"vedette detect: {args.out} is what is read; write somewhere else", file=sys.stderr)
        return USAGE
    told, kept = 0, []
    with contextlib.ExitStack() as stack:
        try:
            lines = sys.stdin if args.file == "-" else stack.enter_context(open(args.file, encoding="utf-8-sig"))
            keys, found = detect.rows(name, lines)
            if unknown := [key for key in args.channel if key not in keys]:
                print(f"vedette detect: no channel `{unknown[0]}`; there are {', '.join(keys)}", file=sys.stderr)
                return USAGE
            out = stack.enter_context(open(args.out, "w", encoding="utf-8")) if args.out else sys.stdout
            for judged in detect.write(out, detect.judged(one, keys, found, args.channel)):
                if judged.because:
                    told += 1
                    print(
                        "\n    ".join([f"{judged.row.stamp}  {judged.because[0]}", *judged.because[1:]]),
                        file=sys.stderr,
                    )
                if args.plot:
                    kept.append(judged)
        except BrokenPipeError:
            raise  # whoever read it has seen enough
        except OSError as error:
            print(f"vedette detect: {error.filename}: {error.strerror}", file=sys.stderr)
            return UNAVAILABLE
        except UnicodeDecodeError:
            print(f"vedette detect: {name}: no text in UTF-8", file=sys.stderr)
            return os.EX_DATAERR
        except (ValueError, csv.Error) as error:
            print(f"vedette detect: {error}", file=sys.stderr)
            return os.EX_DATAERR
    print("\n".join([*detect.plot(keys, kept), f"{told} alarms"]), file=sys.stderr)
    return 0


def _explain(args: argparse.Namespace) -> int:
    from . import audit

    folder = registrar.folder_of(args)
    edges = [edge for edge in audit.edges(folder) if edge.id == args.alarm]
    if not edges:
        print(f"vedette: no alarm {args.alarm} in {folder}; `vedette alarms` shows those that stand", file=sys.stderr)
        return 1
    return _say(args, msgspec.to_builtins(edges), "\n".join(_explained(edges)))


def _explained(edges: Sequence[Alarm]) -> Iterator[str]:
    """An alarm from its first edge to its last: what, why, after which standard, and what became of it."""
    first = edges[0]
    yield f"{first.level} {first.id}: {first.text}"
    yield from (f"  {sentence}" for sentence in first.because)
    if first.value is not None and first.limit is not None:
        yield f"  value {first.value:.6g} {first.unit}, limit {first.limit:.6g} {first.unit}".rstrip()
    clause = f"{first.basis.standard} {first.basis.clause}".strip()
    yield f"  rule {first.rule}, after {clause}{' (to be verified)' if first.basis.verify else ''}"
    if first.advice:
        yield f"  {first.advice}"
    for edge in edges:
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(edge.at.wall))
        by = f" by {edge.by}" if edge.by else ""
        yield f"  {clock}{' ' if edge.at.synced else '?'} {edge.event}{by}{f': {edge.reason}' if edge.reason else ''}"


# -- the running daemon -------------------------------------------------------------------------------


def _ask(args: argparse.Namespace, timeout: float = 5.0, /, **request: Any) -> dict[str, Any]:
    """What the running daemon answers within `timeout` s. Raises `WorldFault`."""
    from . import config, control

    reply = control.ask(config.load(args.config).store.path, request, timeout)
    if "error" in reply:
        raise WorldFault(reply["error"])
    return reply


def _reload(args: argparse.Namespace) -> int:
    """All of it, or nothing: the daemon says which."""
    from . import control
    from .complaints import Places, read_toml

    path = Path(args.config)
    try:
        stored = read_toml(path, Places()).get("store", {})
    except OSError as error:
        raise ConfigFault([f"{path}: cannot be read: {error.strerror}"]) from None
    except ValueError as error:
        raise ConfigFault([str(error)]) from None
    state = path.parent / str(stored.get("path", "state") if isinstance(stored, dict) else "state")
    reply = control.ask(state, {"verb": "reload", "by": args.by, "file": str(path.resolve())}, RELOAD)
    if "complaints" in reply:
        raise ConfigFault(reply["complaints"], "nothing was changed")
    if "error" in reply:
        raise WorldFault(reply["error"])
    return _say(args, reply, reply["ok"])


def _drill(args: argparse.Namespace) -> int:
    from .drill import PATIENCE, lines

    reply = _ask(args, 4 * PATIENCE, verb="drill", name=args.name, by=args.by)
    verdict = "every link is proven" if reply["proven"] else "NOT proven"
    _say(args, reply["drill"], "\n".join([*lines(reply["drill"]), f"drill of {args.name}: {verdict}"]))
    return 0 if reply["proven"] else UNAVAILABLE


def _presence(args: argparse.Namespace) -> int:
    if args.person is None:
        found = _ask(args, verb="presence")["presence"]
        lines = [f"{zone:20} {person}" for person, zone in sorted(found.items(), key=lambda pair: pair[::-1])]
        return _say(args, found, "\n".join(lines) or "nobody is in a zone")
    if args.zone is None:
        print(f"vedette presence: where is {args.person}? give a zone, or `out`", file=sys.stderr)
        return USAGE
    reply = _ask(args, verb="presence", person=args.person, zone=args.zone, by=args.by)
    return _say(args, reply, reply["ok"])


def _alarms(args: argparse.Namespace) -> int:
    if args.ack:
        reply = _ask(args, verb="ack", id=args.ack, by=args.by)
        return _say(args, reply, f"acknowledged {args.ack}")
    for verb in DEEDS:
        if point := getattr(args, verb.replace("-", "_")):
            reply = _ask(args, verb=verb, point=point, by=args.by, reason=args.reason, seconds=3600 * args.hours)
            return _say(args, reply, f"{verb}: {reply['ok']}")
    reply = _ask(args, verb="alarms")
    if args.load:
        return _say(args, reply["load"], "\n".join(_load_lines(reply["load"])))
    alarms = sorted(
        reply["alarms"],
        key=lambda a: (not a["channel"].startswith("colour/"), LEVELS.index(a["level"]), -a["since"]["wall"]),
    )
    return _say(args, alarms, "\n".join(_alarm_lines(alarms)) or "no open alarms")


def _alarm_lines(alarms: Sequence[dict[str, Any]]) -> Iterator[str]:
    """One line for each alarm that stands for itself, those folded under it counted and named."""
    folds: dict[str, list[dict[str, Any]]] = {}
    for alarm in alarms:
        folds.setdefault(alarm.get("fold") or alarm["id"], []).append(alarm)
    for a, *others in folds.values():
        clock = time.strftime("%m-%d %H:%M:%S", time.localtime(a["since"]["wall"]))
        doubt = " " if a["since"]["synced"] else "?"
        first = a.get("first", a["id"])
        after = f"  (after {first})" if first != a["id"] else ""
        yield f"{a['level']:6} {clock}{doubt} {a['state']:17} {a['id']}  {a['text']}{after}"
        if others:
            yield f"{'':6} +{len(others)} folded: {' '.join(other['id'] for other in others)}"


def _colours(args: argparse.Namespace) -> int:
    tree = _ask(args, verb="colours")["colours"]
    text = "\n".join(line for item in tree for line in _branch(item, ""))
    return _say(args, tree, text or "no [[item]] in the site file; `vedette alarms` shows the points")


def _branch(item: dict[str, Any], indent: str) -> Iterator[str]:
    """An item and what it is made of, worst first; points without a colour are only counted."""
    since = item["since"]
    clock = time.strftime(" since %m-%d %H:%M:%S", time.localtime(since["wall"])) if since else ""
    missing = f"; {item['missing']}" if item["missing"] else ""
    yield f"{indent}{item['colour']:6} {item['name']}{clock}{missing}"
    indent += "  "
    for part in sorted(item["items"], key=lambda part: SHADES.index(part["colour"])):
        yield from _branch(part, indent)
    for channel, colour in sorted(item["points"].items(), key=lambda row: SHADES.index(row[1])):
        if colour != "none" or channel in item["unseen"]:
            yield f"{indent}{colour:6} {channel}{'  unseen' if channel in item['unseen'] else ''}"
    plain = sum(colour == "none" and name not in item["unseen"] for name, colour in item["points"].items())
    if plain:
        yield f"{indent}none   {plain} points"


def _load_lines(load: dict[str, Any]) -> Iterator[str]:
    """What the alarms of the last minutes and of the last day ask of people."""
    yield f"raised in 10 min  {load['in_10_min']}{'  FLOOD' if load['flood'] else ''}"
    yield f"standing          {load['standing']}, {load['stale']} of them for more than a day"
    yield f"chattering        {load['chattering']}"
    yield f"most in 24 h      {len(load['top'])} points with {load['top_share']:.0f} % of all"
    yield from (f"{n:6}  {rule}@{channel}" for (rule, channel), n in load["top"])


def _queue(args: argparse.Namespace) -> int:
    status = _ask(args, verb="status")
    text = [f"{lane:10} {n} waiting" for lane, n in status["waiting"].items()]
    text += [f"{lane:10} {n} dropped" for lane, n in status["dropped"].items() if n]
    text += [f"uplink {name} {state}" for name, state in status["uplinks"].items()]
    text += [registrar.head_line(status["journal"])]
    return _say(args, status, "\n".join(text))


def _status(args: argparse.Namespace) -> int:
    status = _ask(args, verb="status")
    text = [f"version {status['version']}, configuration {status['config']}, start {status['boot']}"]
    text.append(f"{status['alarms']} open alarms")
    text += [f"uplink {name} {state}" for name, state in status["uplinks"].items()]
    for rule, to in status["limits"].items():
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(to["at"]["wall"]))
        why = f": {to['reason']}" if to["reason"] else ""
        text.append(f"limit of {rule} is {to['limit']:g}, not {to['usual']:g}; set by {to['by']} {clock}{why}")
    text += [f"command {id} {state}" for id, state in status["commands"].items()]
    return _say(args, status, "\n".join(text))


def _profiles(args: argparse.Namespace) -> int:
    """`vedette profiles [list] [PART]`, `vedette profiles [show] NAME`."""
    from . import profiles
    from .complaints import nearest

    known = profiles.profiles()
    wanted = "".join(args.name[1:] if args.name[:1] in (["list"], ["show"]) else args.name)
    if wanted in known:
        profile = known[wanted]
        return _say(args, profile, "\n".join(_described(wanted, profile)))
    found = {name: profile for name, profile in known.items() if name.startswith(wanted)}
    if not found:
        print(f"vedette: no profile `{wanted}`{nearest(wanted, known)}", file=sys.stderr)
        return USAGE
    text = "\n".join(
        f"{name:34} {p.title.get('en', '')} {p.title.get('zh', '')} [{p.unit}]" for name, p in found.items()
    )
    return _say(args, {name: profile.title for name, profile in found.items()}, text)


def _hazards(args: argparse.Namespace) -> int:
    from . import hazards
    from .complaints import Complaints, Places, read_toml
    from .core.words import number

    known = hazards.standard()
    if args.inventory is None:
        rows = [f"{name:18} Q {row.critical:g} t, beta {row.beta:g}  {row.zh}" for name, row in known.substance.items()]
        rows += [f"class {name:12} Q {c.critical:g} t, beta {c.beta:g}  {c.what}" for name, c in known.classes.items()]
        return _say(args, known, "\n".join([*rows, known.source]))
    places = Places()
    told = Complaints(places)
    try:
        found = hazards.hazards(read_toml(args.inventory, places), told)
    except OSError as error:
        raise ConfigFault([f"{args.inventory}: cannot be read: {error.strerror}"]) from None
    except ValueError as error:
        raise ConfigFault([str(error)]) from None
    if told.lines:
        raise ConfigFault(told.lines)
    lines = []
    for hazard in found:
        lines += [
            hazards.sentence(hazard),
            *(
                f"  {term.name}: {term.quantity:g} t / {term.critical:g} t = {number(float(term.share))},"
                f" x beta {term.beta:g} = {number(term.beta * float(term.share))} ({term.source})"
                for term in hazard.terms
            ),
            f"  alpha {hazard.alpha:g} for {hazard.people} people ({hazard.source})",
        ]
    return _say(args, found, "\n".join(lines))


def _described(name: str, profile: Profile) -> Iterator[str]:
    """A profile in lines: each limit with its source."""
    yield f"{name}: {profile.title.get('en', '')} {profile.title.get('zh', '')} [{profile.unit}]"
    for limit in profile.limit:
        value = "set by the site" if limit.value is None else f"{limit.value:g} {profile.unit}"
        per = "" if limit.per is None else f" per {limit.per:g} s, seen over {limit.window:g} s"
        restore = "" if limit.restore is None else f", restores beyond {limit.restore:g}"
        delay = f", after {limit.delay:g} s" if limit.delay else ""
        note = f"; {limit.note}" if limit.note else ""
        yield f"  {limit.level:6} {limit.name}: {limit.compare} {value}{per}{restore}{delay} ({limit.source}{note})"


# -- simulators ---------------------------------------------------------------------------------------


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
        raise ConfigFault(["simulate what? a scenario, jt808, hj212, fleet, --road STORY or --cabin STORY"])
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


def _simulate_jt808(args: argparse.Namespace) -> int:
    from simulators.jt808 import WORDS, simulate

    from .complaints import nearest
    from .uplink.jt808_words import DIALECTS

    unknown = [
        f"--misbehave has no word `{word}`{nearest(word, WORDS)}; known are {', '.join(WORDS)}"
        for word in filter(None, args.misbehave.split(","))
        if word not in WORDS
    ]
    unknown += [] if args.dialect in DIALECTS else [f"no dialect `{args.dialect}`{nearest(args.dialect, DIALECTS)}"]
    if unknown:
        raise ConfigFault(unknown)
    return asyncio.run(simulate(args.port, args.misbehave, args.files, args.dialect))


def _simulate_hj212(args: argparse.Namespace) -> int:
    from simulators.hj212 import WORDS, simulate

    from .complaints import nearest

    unknown = [
        f"--misbehave has no word `{word}`{nearest(word, WORDS)}; known are {', '.join(WORDS)}"
        for word in filter(None, args.misbehave.split(","))
        if word not in WORDS
    ]
    if unknown:
        raise ConfigFault(unknown)
    return asyncio.run(simulate(args.port, args.misbehave, args.pw))


def _simulate_road(args: argparse.Namespace) -> int:
    from simulators.scenario import RoadTable, serve
    from simulators.stories import STORIES, WEATHER

    from .complaints import nearest

    if args.road == "list":
        for name, story in STORIES.items():
            print(f"{name:14} {story.seconds:4.1f} s  {story.place}, {' '.join(story.weather)}: {story.about}")
        return 0
    weather = tuple(word for word in args.weather.split(",") if word)
    unknown = [f"no story `{args.road}`{nearest(args.road, STORIES)}"] if args.road not in STORIES else []
    unknown += [f"no weather `{word}`{nearest(word, WEATHER)}" for word in weather if word not in WEATHER]
    if unknown:
        raise ConfigFault(unknown)
    if not (args.out or args.truth or args.boxes):
        table = RoadTable("road", args.road, "", weather, args.seed, args.width or 640, args.fps or 10.0, args.port)
        return asyncio.run(serve(table))
    try:
        from simulators.road import told, written
    except ImportError as error:
        raise ConfigFault([f"--road: {error}; install vedette[video]"]) from None
    drive = told(args.road, args.seed, weather, args.width or 1280, args.fps or 20.0)
    for n in written(drive, args.out, args.truth, args.boxes):
        print(f"\r{n + 1} of {drive.frames} pictures", end="", flush=True)
    print(f"\n{drive.story.about}: {' '.join(str(p) for p in (args.out, args.truth, args.boxes) if p)}")
    return 0


def _simulate_cabin(args: argparse.Namespace) -> int:
    from simulators.habits import LIGHTS, STORIES
    from simulators.scenario import CabinTable, serve

    from .complaints import nearest

    if args.cabin == "list":
        for name, story in STORIES.items():
            print(f"{name:15} {story.seconds:6.1f} s  {story.light}: {story.about}")
        return 0
    unknown = [f"no story `{args.cabin}`{nearest(args.cabin, STORIES)}"] if args.cabin not in STORIES else []
    if args.light and args.light not in LIGHTS:
        unknown.append(f"no light `{args.light}`{nearest(args.light, LIGHTS)}")
    if unknown:
        raise ConfigFault(unknown)
    width, fps = args.width or 640, args.fps or 15.0
    if not (args.out or args.truth or args.events):
        return asyncio.run(serve(CabinTable("cabin", args.cabin, "", args.light, args.seed, width, fps, args.port)))
    try:
        from simulators.cabin import told, written
    except ImportError as error:
        raise ConfigFault([f"--cabin: {error}; install vedette[video]"]) from None
    trip = told(args.cabin, args.seed, args.light, width, fps, args.seconds, args.style)
    for n in written(trip, args.out, args.truth, args.events):
        print(f"\r{n + 1} of {trip.frames} pictures", end="", flush=True)
    print(f"\n{trip.story.about}: {' '.join(str(p) for p in (args.out, args.truth, args.events) if p)}")
    return 0


def _demo(args: argparse.Namespace) -> int:
    from simulators.demo import demo

    return asyncio.run(demo(broker=args.broker))


if __name__ == "__main__":
    raise SystemExit(main())
