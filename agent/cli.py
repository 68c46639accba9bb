"""What a person types: `vedette VERB`. Exit codes after sysexits(3): 64 usage, 69 unavailable, 78 configuration."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import io
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from . import (
    __version__,
    console,
    devices,
    dispatch,
    doctor,
    exhibits,
    handbook,
    manual,
    nets,
    registrar,
    simulate,
    terminal,
    workshop,
)
from .core.errors import ConfigFault, WorldFault
from .said import Said, said_to, told_to
from .web import passwd

if TYPE_CHECKING:
    from .config import Config
    from .core.alarm import Alarm, Basis
    from .core.rules import Item
    from .core.words import Language
    from .profiles import Profile

USAGE, UNAVAILABLE, CONFIG = os.EX_USAGE, os.EX_UNAVAILABLE, os.EX_CONFIG


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # `>&-`: nobody listens, and no file that is opened takes the number
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    words = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # what a terminal cannot show ends nothing; JSON is UTF-8 (RFC 8259)
        sys.stdout.reconfigure(encoding="utf-8" if "--json" in words else None, errors="replace")
    try:
        return _done(words)
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


def _done(words: Sequence[str]) -> int:
    """The verb, done or refused."""
    try:
        args = _parser(terminal.asked(words)).parse_args(terminal.turned(words))
    except manual.Misused as wrong:
        asked = argparse.Namespace(json="--json" in words)
        raise SystemExit(terminal.complain(asked, str(wrong), USAGE, wrong.verb, wrong.shown)) from None
    try:
        code = int(args.verb(args) or 0)
        sys.stdout.flush()
        return code
    except ConfigFault as fault:
        _show_complaints(fault, args)
        return CONFIG
    except WorldFault as fault:
        return terminal.complain(args, str(fault), UNAVAILABLE, shown=told_to(args).fault(str(fault)))
    except terminal.Stop as stop:
        return terminal.complain(args, str(stop), stop.code, args.called, told_to(args).fault(str(stop)))


def _parser(language: Language = "en") -> manual.Parser:
    parser = manual.Parser(prog="vedette", description=handbook.ABOUT, epilog=handbook.SUPPLEMENT)
    parser.add_argument("--version", action="version", version=f"vedette {__version__}", help="the version")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, call: Callable[[argparse.Namespace], int | None], help: str, site: bool = False) -> Any:
        sub = verbs.add_parser(
            name,
            help=help,
            description=manual.described(name, help),
            epilog=manual.ending(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(verb=call, called=name)
        sub.add_argument("--json", action="store_true", help="answer as JSON for programs")
        sub.add_argument("--lang", choices=("en", "zh"), help="language for people (as the locale says)")
        if site:
            where = f"site file (${terminal.SITE}, else site.toml, else {terminal.SYSTEM})"
            sub.add_argument("-c", "--config", default=terminal.site_file(), metavar="FILE", help=where)
        return sub

    verb("run", _run, "the daemon", site=True)
    check = verb("check", _check, "every fault of a configuration at once, or the resolved wiring", site=True)
    check.add_argument("--all", action="store_true", help="the agent's own rules, too, as far as nobody changed them")
    workshop.fixes(check)
    verb("test", _test, "poll once and show every channel", site=True)
    probe = verb("probe", _probe, "read registers ad hoc: tcp://host:502/1/holding/0x1000:4")
    probe.add_argument("url", help="tcp://HOST[:PORT]/UNIT/KIND/ADDRESS[:COUNT], or rtu:///dev/ttyUSB0/UNIT/...")
    probe.add_argument("--as", dest="as_", default="uint16", metavar="TYPE[:ORDER]", help="e.g. float32:CDAB")
    probe.add_argument("--baud", type=int, default=9600, metavar="N", help="of a serial line (9600)")
    probe.add_argument("--parity", choices=("N", "E", "O"), default="N", help="of a serial line (N)")
    probe.add_argument("--timeout", type=float, default=1.0, metavar="S", help="s for a reply (1)")
    simulate.add(verb)
    replay = verb("replay", _replay, "run a recording through the same core; print or compare the alarms")
    replay.add_argument("folder", type=Path, nargs="+", metavar="FOLDER", help="folder with site.toml and frames.jsonl")
    replay.add_argument("--compare", action="store_true", help="compare with alarms.jsonl; exit 1 on a difference")
    replay.add_argument(
        "--what-if",
        metavar="CHANGE",
        action="append",
        default=[],
        help="alarms gained and lost by another setting: limit=0.8, or NAME:FIELD=VALUE of one rule or detector",
    )
    record = verb("record", _record, "read the site and write frames and alarms into a folder", site=True)
    record.add_argument("folder", type=Path, metavar="FOLDER", help="a new or empty one")
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
    console.add(verb)
    registrar.add(verb)
    exhibits.add(verb)
    passwd.add(verb)
    devices.add(verb)
    dispatch.add(verb)
    doctor.add(verb)
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
    manual.add(verb, parser)
    if language == "zh":
        manual.chinese(parser)
    return parser


def _say(args: argparse.Namespace, facts: Any, text: str) -> int:
    return terminal.answer(args, facts, text)


def _show_complaints(fault: ConfigFault, args: argparse.Namespace) -> None:
    if getattr(args, "json", False):
        print(msgspec.json.encode({"complaints": fault.complaints}).decode())
        return
    logged = args.called == "run" and not args.lang and not sys.stderr.isatty()  # a log speaks English
    t = Said("en") if logged else told_to(args)
    for complaint in fault.complaints:
        print(t.fault(complaint), file=sys.stderr)
    n = len(fault.complaints)
    told = t("one fault" if n == 1 else "n faults", n=n, outcome=t.fault(fault.outcome))
    print(f"vedette: {told}", file=sys.stderr)


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
    from . import config, upkeep
    from .core.rules import Item
    from .health import Health

    if args.fix:
        workshop.fix(args)
    site = config.load(args.config)
    language = terminal.language(args, site.site.language)
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
        "off": site.off,
    }
    t = Said(language)
    lines = [t("site is", site=f"{site.site.name}/{site.site.node}", config=site.hash)]
    for driver in site.drivers:
        lines += [t("bus is", name=driver.name), *(f"  {line}" for line in driver.wiring(language))]
    lines.append(t("rules are"))
    own = [] if args.all else upkeep.rules(site.site.language, site.layouts[Health.SOURCE])
    folded = sum(rule in own for rule in site.rules)
    for rule in site.rules:
        if isinstance(rule, Item) or rule in own:
            continue
        watched = by_rule.get(rule.name, [])
        more = t("and n", n=len(watched) - 2) if len(watched) > 2 else ""
        kind = t(f"kind {rule.__struct_config__.tag}")
        lines.append(
            "  "
            + t("rule is", level=t.column(rule.level), name=rule.name, kind=kind, says=rule.says(language)).rstrip()
            + t("rule by", basis=_cited(rule.basis, t), channels=f"{', '.join(watched[:2])}{more}")
            + (t("rule drives", outputs=", ".join(rule.drive)) if rule.drive else "")
        )
    lines += [f"  {t('own rules', n=folded)}"] if folded else []
    lines += [t("interlocks are"), *(f"  {one.label(language, armed)}" for one in site.interlocks)] if labels else []
    lines += _item_lines([rule for rule in site.rules if isinstance(rule, Item)], t)
    names = ", ".join(uplink.name for uplink in site.uplinks)
    lines.append(t("uplinks are", names=names or t("no uplink")))
    for issuer in site.issuers:
        alone = [f"{verb}{t('with another') if verb in site.commands.two else ''}" for verb in issuer.may]
        lines.append(t("issuer may", name=issuer.name, what=", ".join(alone) or t("may nothing")))
    for name, one in site.bounds.items():
        lines.append(t("may be set", name=name, low=f"{one.low:g}", high=f"{one.high:g}"))
    lines += [t("is off", name=name, why=why) for name, why in site.off.items()]
    lines.append(t("no faults"))
    return _say(args, facts, "\n".join(lines))


def _cited(basis: Basis, t: Said) -> str:
    """A standard with its clause."""
    return f"{basis.standard} {basis.clause}".strip() + (t("unverified") if basis.verify else "")


def _item_lines(items: Sequence[Item], t: Said) -> Iterator[str]:
    """What makes the colour of each item."""
    if items:
        yield t("items are")
    for item in items:
        members = ", ".join([*(t("item of", name=name) for name in item.item), *item.channel[:2]])
        members += t("and n", n=len(item.channel) - 2) if len(item.channel) > 2 else ""
        counts = t("item join").join(t("item count", n=n, shade=t(shade)) for shade, n in item.counts.items())
        counted = t("item counts", counts=counts, basis=_cited(item.basis, t)) if counts else t("item worst")
        minutes = f"{item.clear_delay / 60:g}"
        yield f"  {t('item is', name=item.name, members=members, counted=counted, minutes=minutes)}"


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
    with terminal.waiting("asking every device"):
        answers = asyncio.run(all_of_them())
    t, ink = Said(terminal.language(args, site.site.language)), terminal.Ink()
    for driver, said in zip(site.drivers, answers, strict=True):
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
        f"{row['channel']:{width}}  {number(row['value']):>10} {row['unit']:6} "
        + ink("" if row["quality"] == "GOOD" else "doubt", _quality(row["quality"], t))
        + (t("raw is", value=number(row["raw"])) if row["raw"] != row["value"] else "")
        for row in rows
    ]
    lines = [*text, *texts, *(ink("bad", t.fault(complaint)) for complaint in complaints)]
    _say(args, {"channels": rows, "texts": texts, "complaints": complaints}, "\n".join(lines))
    return UNAVAILABLE if complaints or any(row["quality"] != "GOOD" for row in rows) else 0


def _quality(name: str, t: Said) -> str:
    """A name of `Quality`, for people."""
    from .core.frame import Quality

    return name if t.language == "en" else t.quality(int(Quality[name]))


def _probe(args: argparse.Namespace) -> int:
    from drivers.probe import read_once

    from .core.words import number

    try:
        settings = {"baud": args.baud, "parity": args.parity, "timeout": args.timeout}
        readings = asyncio.run(read_once(args.url, args.as_, **settings))
    except ValueError as error:
        raise terminal.Stop(USAGE, str(error)) from None
    rows = [{"at": r.at, "wire": r.wire.hex(" "), "value": r.value, "quality": r.quality.name} for r in readings]
    t = Said(terminal.language(args))

    def shown(value: float | str) -> str:
        return number(value) if isinstance(value, float) else value

    text = "\n".join(
        f"{row['at']:>18}  {row['wire']:24}  {shown(r.value)}"
        + ("" if row["quality"] == "GOOD" else f"  {_quality(r.quality.name, t)}")
        for r, row in zip(readings, rows, strict=True)
    )
    return _say(args, rows, text)


# -- recordings ---------------------------------------------------------------------------------------


def _record(args: argparse.Namespace) -> int:
    from . import config, daemon, log

    site = config.load(args.config)
    try:
        args.folder.mkdir(parents=True, exist_ok=True)
        if any(args.folder.iterdir()):
            raise ConfigFault([f"{args.folder}: is not empty; a recording wants a folder of its own"])
        _copy_site(site.path, site.sources, args.folder)
    except OSError as error:
        raise ConfigFault([f"{error.filename}: cannot be written: {error.strerror}"]) from None
    with tempfile.TemporaryDirectory(prefix="vedette-record-") as state:
        # Rules keep what they drive, though nothing is driven: a feed check judges by the order, here as in the replay.
        quiet = msgspec.structs.replace(site, uplinks=(), store=msgspec.structs.replace(site.store, path=state))
        if args.json:
            log.divert(sys.stderr)
        asyncio.run(daemon.run(quiet, record=args.folder, seconds=args.seconds))
    counted = {name: _lines(args.folder / f"{name}.jsonl") for name in ("frames", "alarms")}
    text = Said(terminal.language(args, site.site.language))("recorded", folder=args.folder, **counted)
    return _say(args, {"folder": str(args.folder), **counted}, text)


def _lines(path: Path) -> int:
    """How many lines a file has."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


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
    differ, facts = 0, list[dict[str, Any]]()
    for folder in args.folder:
        site = config.load(folder / "site.toml")
        alarms = _replayed(folder, site)
        lines = [msgspec.json.encode(alarm).decode() for alarm in alarms]
        try:
            expected = (folder / "alarms.jsonl").read_text().splitlines() if args.compare else []
        except OSError as error:
            raise ConfigFault([f"{error.filename}: {error.strerror}"]) from None
        if not args.compare:
            facts.append({"folder": str(folder), "alarms": alarms})
            for line in () if args.json else lines:
                print(line)
            continue
        import difflib

        change = list(difflib.unified_diff(expected, lines, "expected", "replayed", lineterm="", n=0))
        differ += bool(change)
        facts.append({"folder": str(folder), "same": not change, "edges": len(lines), "difference": change})
        if not args.json:
            t = Said(terminal.language(args, site.site.language))
            verdict = t("replayed other" if change else "replayed same", folder=folder.name, n=len(lines))
            print("\n".join([verdict, *change]))
    if args.json:
        _say(args, facts, "")
    return 1 if differ else 0


def _what_if(args: argparse.Namespace) -> int:
    from . import config, whatif

    facts = []
    for folder in args.folder:
        site = other = config.load(folder / "site.toml")
        try:
            for change in args.what_if:
                other = whatif.changed(other, change)
        except ValueError as error:
            raise terminal.Stop(USAGE, str(error)) from None
        changes = whatif.compare(*(_replayed(folder, one) for one in (site, other)))
        pairs = [
            {side: stood and stood.raised for side, stood in change._asdict().items()} for change in changes
        ]  # of each occurrence, the edge that raised it
        facts.append({"folder": str(folder), "with": args.what_if, "changes": pairs})
        if not args.json:
            t = Said(terminal.language(args, site.site.language))
            print(t("what if", folder=folder.name, changes=t("what if and").join(args.what_if)))
            print("\n".join(f"  {line}" for line in whatif.lines(changes, t)))
    if args.json:
        _say(args, facts, "")
    return 0


def _replayed(folder: Path, site: Config) -> list[Alarm]:
    """The alarms of a recording under this configuration. Raises `ConfigFault`."""
    from . import journal

    frames = folder / "frames.jsonl"
    progress = terminal.Progress(f"replay of {folder.name}", unit="lines")
    try:
        with progress:
            progress.of = _lines(frames) if progress.shown else 0
            return list(journal.replay(site.core(), progress.each(journal.read(frames, site.layouts))))
    except OSError as error:
        raise ConfigFault([f"{error.filename}: {error.strerror}"]) from None


def _watch(args: argparse.Namespace) -> int:
    from . import watch

    try:
        facts = watch.run(args)
    except ImportError as error:
        text = f'OpenCV is not there ({error}): pip install "vedette[video]"'
        raise terminal.Stop(USAGE, text) from None
    except ValueError as error:
        raise terminal.Stop(USAGE, str(error)) from None
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
        raise terminal.Stop(USAGE, str(error)) from None
    name = "standard input" if args.file == "-" else args.file
    if args.out and args.file != "-" and os.path.exists(args.out) and os.path.samefile(args.file, args.out):
        raise terminal.Stop(USAGE, f"{args.out} is what is read; write somewhere else")
    told, kept, n = list[dict[str, Any]](), [], 0
    progress = terminal.Progress("detect", unit="rows")
    with contextlib.ExitStack() as stack:
        try:
            lines = sys.stdin if args.file == "-" else stack.enter_context(open(args.file, encoding="utf-8-sig"))
            keys, found = detect.rows(name, lines)
            if unknown := [key for key in args.channel if key not in keys]:
                raise terminal.Stop(USAGE, f"no channel `{unknown[0]}`; there are {', '.join(keys)}")
            if args.out:
                out: IO[str] = stack.enter_context(open(args.out, "w", encoding="utf-8"))
            else:
                out = stack.enter_context(open(os.devnull, "w")) if args.json else sys.stdout
            stack.enter_context(progress)
            for n, judged in enumerate(detect.write(out, detect.judged(one, keys, found, args.channel)), 1):
                progress(n)
                if judged.because:
                    told.append({"at": judged.row.stamp, "because": judged.because})
                    progress.clear()
                    print(
                        "\n    ".join([f"{judged.row.stamp}  {judged.because[0]}", *judged.because[1:]]),
                        file=sys.stderr,
                    )
                if args.plot:
                    kept.append(judged)
        except BrokenPipeError:
            raise  # whoever read it has seen enough
        except OSError as error:
            raise terminal.Stop(os.EX_NOINPUT, f"{error.filename}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise terminal.Stop(os.EX_DATAERR, f"{name}: no text in UTF-8") from None
        except (ValueError, csv.Error) as error:
            raise terminal.Stop(os.EX_DATAERR, str(error)) from None
    print("\n".join([*detect.plot(keys, kept), f"{len(told)} alarms"]), file=sys.stderr)
    if args.json:
        _say(args, {"rows": n, "channels": keys, "alarms": told, "out": args.out}, "")
    return 0


def _explain(args: argparse.Namespace) -> int:
    from . import audit

    folder, t = registrar.folder_of(args), said_to(args)
    edges = [edge for edge in audit.edges(folder) if edge.id == args.alarm]
    if not edges:
        raise WorldFault(t("no alarm", id=args.alarm, folder=folder))
    return _say(args, msgspec.to_builtins(edges), "\n".join(_explained(edges, t)))


def _explained(edges: Sequence[Alarm], t: Said) -> Iterator[str]:
    """An alarm from its first edge to its last: what, why, after which standard, and what became of it."""
    first = edges[0]
    level = first.level if t.language == "en" else t.level(first.level)
    yield f"{terminal.Ink()(first.level, level)} {first.id}: {first.text}"
    yield from (f"  {sentence}" for sentence in first.because)
    if first.value is not None and first.limit is not None:
        shown = {"value": f"{first.value:.6g}", "limit": f"{first.limit:.6g}", "unit": first.unit}
        yield f"  {t('value and limit', **shown)}".rstrip()
    clause = f"{first.basis.standard} {first.basis.clause}".strip()
    yield f"  {t('by rule', rule=first.rule, clause=clause)}{t('verify it') if first.basis.verify else ''}"
    if first.advice:
        yield f"  {first.advice}"
    for edge in edges:
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(edge.at.wall))
        by = t("by whom", who=edge.by) if edge.by else ""
        what = edge.event if t.language == "en" else t(edge.event)
        yield f"  {clock}{' ' if edge.at.synced else '?'} {what}{by}{f': {edge.reason}' if edge.reason else ''}"


def _profiles(args: argparse.Namespace) -> int:
    """`vedette profiles [list] [PART]`, `vedette profiles [show] NAME`."""
    from . import profiles
    from .complaints import nearest

    known = profiles.profiles()
    wanted = "".join(args.name[1:] if args.name[:1] in (["list"], ["show"]) else args.name)
    if wanted in known:
        profile = known[wanted]
        return _say(args, profile, "\n".join(_described(wanted, profile, Said(terminal.language(args)))))
    found = {name: profile for name, profile in known.items() if name.startswith(wanted)}
    if not found:
        raise terminal.Stop(USAGE, f"no profile `{wanted}`{nearest(wanted, known)}")
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
    lines, t = [], Said(terminal.language(args))
    for hazard in found:
        lines += [
            hazards.sentence(hazard, t.language),
            *(
                f"  {term.name}: {term.quantity:g} t / {term.critical:g} t = {number(float(term.share))},"
                f" x beta {term.beta:g} = {number(term.beta * float(term.share))} ({term.source})"
                for term in hazard.terms
            ),
            "  " + t("alpha is", alpha=f"{hazard.alpha:g}", people=hazard.people, source=hazard.source),
        ]
    return _say(args, found, "\n".join(lines))


def _described(name: str, profile: Profile, t: Said) -> Iterator[str]:
    """A profile in lines: each limit with its source."""
    yield f"{name}: {profile.title.get('en', '')} {profile.title.get('zh', '')} [{profile.unit}]"
    for limit in profile.limit:
        value = t("by site") if limit.value is None else f"{limit.value:g} {profile.unit}"
        per = "" if limit.per is None else t("per s", per=f"{limit.per:g}", window=f"{limit.window:g}")
        restore = "" if limit.restore is None else t("restores at", value=f"{limit.restore:g}")
        delay = t("after s", seconds=f"{limit.delay:g}") if limit.delay else ""
        note = f"; {limit.note}" if limit.note else ""
        compared = f"{limit.compare} {value}{per}{restore}{delay}"
        yield f"  {t.column(limit.level)} {limit.name}: {compared} ({limit.source}{note})"


if __name__ == "__main__":
    raise SystemExit(main())
