"""The verbs for whoever writes a site file: `vedette schema`, `vedette init`, `vedette check --fix`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core.errors import ConfigFault
from .terminal import Stop, answer, language, of_site

if TYPE_CHECKING:
    from .fix import Fixed

ETC, STATE = Path("/etc"), "/var/lib/vedette"  # where a site file lies that a service reads, and where it may write
UNITS = range(1, 33)  # asked by a scan unless others are named


def add(verb: Callable[..., Any]) -> None:
    """These verbs in the command line; `verb` makes a parser."""
    verb("schema", _schema, "the JSON schema of the site file, for editors; the first line of an example names it")
    init = verb("init", _init, "a first site file: from a dozen answers, or from what answers on a line")
    init.add_argument("-c", "--config", default="site.toml", metavar="FILE", help="what is written (site.toml)")
    init.add_argument(
        "--scan", metavar="LINE", help="tcp://HOST:502, rtu+tcp://HOST:PORT or /dev/ttyUSB0: who is there"
    )
    init.add_argument("--units", metavar="A-B", default="", help="Modbus addresses that are asked by --scan (1-32)")
    init.add_argument("--yes", action="store_true", help="ask nothing: what is not given is as usual")
    init.add_argument("--force", action="store_true", help="replace FILE; the old one is kept as FILE.last")
    init.add_argument("--language", metavar="en|zh", help="of the site: what people are told in")
    init.add_argument("--site", metavar="NAME", help="of the site: a part of every topic")
    init.add_argument("--node", metavar="NAME", help="of this gateway within the site")
    init.add_argument("--hazards", metavar="A,B", help="gas, water, tailings, slope, vehicle")
    init.add_argument("--line", metavar="LINE", help="where the sensors are")
    init.add_argument("--baud", type=int, help="of a serial line, in bit/s")
    init.add_argument("--parity", choices=("N", "E", "O"), help="of a serial line: none, even, odd")
    init.add_argument("--unit", type=int, metavar="N", help="Modbus address of the first device")
    init.add_argument("--device", metavar="PROFILE", help="its device profile")
    init.add_argument("--broker", metavar="HOST", help="of the platform; or mqtts://HOST:PORT")
    init.add_argument("--tls", choices=("yes", "no"), help="whether the way to the platform is encrypted")
    init.add_argument("--user", metavar="NAME", help="at the broker")
    init.add_argument("--password", metavar="REF", help="env:NAME, file:/PATH or credential:NAME; never the secret")
    init.add_argument("--page", choices=("yes", "no"), help="a local page on this machine")
    init.add_argument("--state", metavar="DIR", help="where queue, journal and memory are kept")


def fixes(check: argparse.ArgumentParser) -> None:
    """What `vedette check` takes beside."""
    check.add_argument("--fix", action="store_true", help="put right what has one meaning; shows it, keeps FILE.bak")
    check.add_argument("--dry-run", action="store_true", help="of --fix: only show what would be put right")


def fix(args: argparse.Namespace) -> None:
    """Put right what can be, and show it; whatever is left, the check says. Raises `ConfigFault`."""
    from . import fix as repair
    from .said import Said

    path, out = Path(args.config), sys.stderr if args.json else sys.stdout

    def t() -> Said:
        return Said(language(args, of_site(args)))  # what could not be read before it was put right can now

    try:
        done = repair.fixed(path)
        for line in (*done.diff(path.name), *map(t().fault, done.said)):
            print(line, file=out)
        if not done.differs:
            print(t()("nothing to fix"), file=out)
        elif args.dry_run:
            print(t()("only shown"), file=out)
        else:
            kept = _apply(path, done)
            print(t()("put right", path=path) + (t()("kept as", kept=kept.name) if kept else ""), file=out)
    except OSError as error:
        raise ConfigFault([f"{error.filename or path}: {error.strerror}"], "nothing was put right") from None
    except ValueError as error:
        raise ConfigFault([str(error)], "nothing was put right") from None
    out.flush()


def _apply(path: Path, done: Fixed) -> Path | None:
    """Secrets first, then the file that names them. Where the old one is kept. Raises `OSError`."""
    from . import durable

    owner = path.stat()
    for file, word in done.secrets.items():
        file.parent.mkdir(mode=0o700, exist_ok=True)
        durable.replace(file, word.encode())
        for one in (file.parent, file) if os.geteuid() == 0 else ():
            os.chown(one, owner.st_uid, owner.st_gid)
    for file, mode in done.modes.items():
        file.chmod(mode)
    data = path.read_bytes()
    if done.after.encode() == data:
        return None
    names = (path.with_name(f"{path.name}.bak{n or ''}") for n in range(1000))
    kept = next(name for name in names if not name.exists())
    durable.replace(kept, data)  # mode 0600: a secret may stand there
    durable.replace(path, done.after.encode(), owner.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)
    return kept


def _schema(args: argparse.Namespace) -> int:
    from . import schema

    print(schema.text(), end="")
    return 0


def _init(args: argparse.Namespace) -> int:
    from . import newsite, profiles

    path = Path(args.config)
    if path.exists() and not args.force:
        raise Stop(os.EX_CANTCREAT, f"{path} is there already; --force replaces it, -c names another")
    ask = None if args.yes else _ask
    if ask is not None and not sys.stdin.isatty():
        raise Stop(os.EX_USAGE, "this is no terminal: give --yes, and the answers as options")
    given = {field: getattr(args, field) for field in newsite.Answers._fields}
    if given["state"] is None and path.resolve().is_relative_to(ETC):
        given["state"] = STATE
    units: list[newsite.Unit] = []
    try:
        if args.scan:
            given["line"] = args.scan
            scanned = _scan(args, path.parent, lambda text: print(text, file=sys.stderr))
            units, settings = scanned
            given |= {"device": "", "unit": 1} | {key: value for key, value in settings.items() if given[key] is None}
        answers = newsite.asked(given, ask, print, language(args))
    except ValueError as error:
        raise Stop(os.EX_USAGE, str(error)) from None
    except EOFError:
        print(file=sys.stderr)
        raise Stop(os.EX_USAGE, "nothing was written") from None
    if not args.scan:
        table = newsite.device_profiles(path.parent).get(answers.device)
        if answers.device and table is not None:
            units = [newsite.of_profile(answers.device, answers.unit, table)]
        elif answers.hazards != ("vehicle",):
            units = [newsite.blank(answers)]
    schema = str(profiles.SHIPPED / "site.schema.json")
    text = newsite.written(answers, units, profiles.profiles(path.parent), path.name, schema)
    _put(path, text, args.force)
    look = text.count("LOOK AT THIS") + text.count("请核对")
    facts = {"file": str(path), "devices": len(units), "look": look}
    return answer(args, facts, "\n".join(_next(path, look, answers.language, bool(units))))


def _ask(question: str) -> str:
    return input(question)


def _scan(args: argparse.Namespace, beside: Path, say: Callable[[str], None]) -> tuple[list[Any], dict[str, Any]]:
    """The devices that answer, and how the line is set."""
    from drivers.scan import scan

    from . import newsite

    units = _units(args.units) if args.units else UNITS
    form = {"baud": args.baud or 9600, "parity": args.parity or "N"} if args.baud or args.parity else None
    known = newsite.device_profiles(beside)
    found = asyncio.run(scan(newsite.url(args.scan), units, known, form, say))
    rows: list[newsite.Unit] = []
    for one in found.units:
        name = f"unit-{one.unit}"
        guess = one.guess
        could = f"; perhaps {', '.join(g.profile for g in one.guesses[:3])}" if guess is None and one.guesses else ""
        note = f"{one.words or 'a device that does not say who it is'}"
        say(f"unit {one.unit}: {note}{f': {guess.profile}, {guess.words}' if guess else could}")
        if guess is not None:
            rows.append(
                newsite.of_profile(guess.profile, one.unit, known[guess.profile], f"{note}; {guess.words}", name)
            )
            continue
        row = ("value", "", f'at = "{one.first or "holding:0"}"')
        rows.append(newsite.Unit(name, one.unit, "", (row,), f"{note}{could}"))
    if not rows:
        raise ValueError(
            f"nobody answers on {args.scan}; other addresses: --units 1-247; check power, A and B, baud rate"
        )
    return rows, found.form


def _units(text: str) -> range:
    """`5` or `1-247`. Raises `ValueError` in words."""
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first) <= 255):
        raise ValueError(f"--units {text}: write one address, or the first and the last: 1-247")
    return range(int(first), int(last or first) + 1)


def _put(path: Path, text: str, force: bool) -> None:
    """Write the file, if it is one that the agent would take. Raises `ConfigFault` where it is not."""
    from . import config, durable, update

    new = path.with_name(f"{path.name}.init")
    try:
        new.write_text(text, "utf-8")
        config.load(new)
        if path.exists() and force:
            durable.replace(update.last_of(path), path.read_bytes())
        durable.replace(path, text.encode(), 0o644)
    except ConfigFault as fault:
        raise ConfigFault(fault.complaints, f"{path.name} was not written; this is a mistake of ours") from None
    except OSError as error:
        raise ConfigFault([f"{path}: cannot be written: {error.strerror}"], "nothing was written") from None
    finally:
        new.unlink(missing_ok=True)


def _next(path: Path, look: int, language: str, has_devices: bool) -> list[str]:
    """What to do now."""
    file = str(path)
    if language == "zh":
        lines = [f"已写入 {file}" + (f";有 {look} 处请核对" if look else "")]
        lines += [f"  vedette check -c {file}      # 全部错误及行号;或接线、限值与扫描时间"]
        lines += [f"  vedette test -c {file}       # 轮询一次:每个测点的数值、单位、质量"] if has_devices else []
        return [*lines, f"  vedette run -c {file}        # 守护进程;此后改动文件用 vedette reload -c {file}"]
    lines = [
        f"{file} is written" + (f"; {look} place{'s' * (look > 1)} to look at, marked LOOK AT THIS" if look else "")
    ]
    lines += [f"  vedette check -c {file}      # every fault with its line; or the wiring, limits and scan times"]
    lines += (
        [f"  vedette test -c {file}       # poll once: every channel with value, unit, quality"] if has_devices else []
    )
    return [
        *lines,
        f"  vedette run -c {file}        # the daemon; once it runs: vedette reload -c {file} after a change",
    ]
