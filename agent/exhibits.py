"""`vedette evidence list | show ID | verify ID | protect ID | release ID | export ID TO`.

Everything but `protect` and `release` reads the disk and needs no running daemon. `verify` holds each file against the
manifest, and the manifest against what the journal was told of it; exit 1 where one of these does not fit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from . import terminal
from .core.errors import WorldFault
from .said import Said, said_to

if TYPE_CHECKING:
    from .audit import Record
    from .evidence import Manifest

RECORDS = "journal.jsonl"  # of an export: what the journal says of the alarm and its evidence
DEEDS = ("list", "show", "verify", "protect", "release", "export")


def add(verb: Callable[..., Any]) -> None:
    """The verb's arguments."""
    sub = verb("evidence", run, "clips of alarms: list, show, verify, protect, release, export", site=True)
    sub.add_argument("deed", choices=DEEDS, help="what to do with it")
    sub.add_argument(
        "id", nargs="?", default="", help="as `list` shows it, or an alarm's id: the evidence of all cameras"
    )
    sub.add_argument("to", nargs="?", type=Path, metavar="TO", help="folder of an export")
    sub.add_argument("--by", metavar="NAME", default="", help="who protects or releases it")
    sub.add_argument("--reason", metavar="TEXT", default="", help="why")
    sub.add_argument("--folder", type=Path, help="evidence somewhere else: a copy, say")
    sub.add_argument("--journal", type=Path, help="a journal somewhere else")


def run(args: argparse.Namespace) -> int:
    """Do it. Raises `WorldFault` where it cannot be done."""
    if (args.deed != "list" and not args.id) or (args.deed == "export" and args.to is None):
        raise terminal.Stop(os.EX_USAGE, said_to(args)("which piece", deed=args.deed))
    if args.deed in ("protect", "release"):
        return _guard(args)
    shelf = _shelf(args)
    if args.deed == "list":
        return _list(args, shelf)
    t = said_to(args)
    ids = _meant(shelf, args.id, t)
    with terminal.waiting(f"{args.deed} {args.id}"):
        told = [{"show": _show, "verify": _verify, "export": _export}[args.deed](args, shelf, id, t) for id in ids]
    facts = [one.facts for one in told]
    terminal.answer(args, facts if len(facts) > 1 else facts[0], "\n".join(one.text for one in told))
    return max(one.code for one in told)


class Told(NamedTuple):
    """What is said of one piece."""

    facts: dict[str, Any]
    text: str
    code: int = 0


def _shelf(args: argparse.Namespace) -> Path:
    from . import config

    folder: Path = args.folder or Path(config.load(args.config).evidence.path)
    if not folder.is_dir():
        raise WorldFault(said_to(args)("no shelf", folder=folder))
    return folder


def _journal(args: argparse.Namespace, shelf: Path) -> Path | None:
    """The folder of the journal, if there is one."""
    from . import config

    if args.journal is None and args.folder is not None and not Path(args.config).exists():
        return None
    folder: Path = args.journal or Path(config.load(args.config).store.path) / "journal"
    return folder if folder.is_dir() else None


def _meant(shelf: Path, id: str, t: Said) -> list[str]:
    from . import evidence

    there = [piece.id for piece in evidence.pieces(shelf)]
    found = [id] if id in there else [one for one in there if one.partition(".")[0] == id]
    if not found:
        raise WorldFault(t("no piece", id=id, shelf=shelf))
    return found


def _read(shelf: Path, id: str) -> Manifest:
    from . import evidence

    try:
        return evidence.read(shelf / id)
    except FileNotFoundError:
        raise WorldFault(f"{id} is not complete yet") from None
    except (OSError, ValueError) as error:
        raise WorldFault(f"{id}: {error}") from None


# -- deeds --------------------------------------------------------------------------------------------


def _list(args: argparse.Namespace, shelf: Path) -> int:
    from . import evidence

    t = said_to(args)
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    for piece in evidence.pieces(shelf):
        try:
            one = evidence.read(shelf / piece.id)
        except (OSError, ValueError):
            one = None
        guard = piece.protected
        rows.append(
            {
                "id": piece.id,
                "bytes": piece.bytes,
                "complete": piece.done,
                "protected": guard.by if guard is not None else None,
                "alarm": one.alarm if one is not None else piece.id.partition(".")[0],
                "level": one.level if one is not None else None,
                "wall": one.at.wall if one is not None else None,
                "missing": one.missing if one is not None else (),
            }
        )
        when = time.strftime("%m-%d %H:%M:%S", time.localtime(one.at.wall)) if one is not None else t("piece begun")
        what = "" if one is None else t("piece of", level=t.column(one.level), rule=one.rule, channel=one.channel)
        marks = t("piece protected", who=guard.by) if guard is not None else ""
        marks += t("piece lacks", what=", ".join(one.missing)) if one is not None and one.missing else ""
        lines.append(f"{piece.id}  {when}  {piece.bytes / 1e6:6.1f} MB  {what}{marks}")
    total = sum(row["bytes"] for row in rows)
    return terminal.answer(
        args, rows, "\n".join([*lines, t("pieces are", n=len(rows), mb=f"{total / 1e6:.1f}", shelf=shelf)])
    )


def _show(args: argparse.Namespace, shelf: Path, id: str, t: Said) -> Told:
    from . import evidence

    one = _read(shelf, id)
    guard = evidence.guard(shelf / id)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.at.wall)) + ("" if one.at.synced else "?")
    clip = one.clip
    kept = {"begin": f"{one.begin.mono - one.at.mono:+g}", "end": f"{one.end.mono - one.at.mono:+g}"}
    seen = {"width": clip.width, "height": clip.height, "fps": f"{clip.fps:g}", "pictures": clip.shown}
    seen["begin"] = f"{clip.begin - one.at.mono:+g}"
    lines = [
        t("piece is", id=one.id, level=t.level(one.level), alarm=one.alarm, rule=one.rule, channel=one.channel),
        "  " + t("piece kept", camera=one.camera, when=when, masks=len(one.masks), **kept),
        "  " + (t("clip is", codec=clip.codec, **seen) if clip.codec else t("clip not", why=clip.why)),
        *(t("piece lacks", what=what) for what in one.missing),
        *(f"  {file.sha256}  {file.bytes:9}  {shelf / id / file.name}" for file in one.files),
    ]
    if guard is not None:
        why = t("guarded for", reason=guard.reason) if guard.reason else ""
        lines.append("  " + t("guarded by", who=guard.by, why=why))
    return Told({**msgspec.to_builtins(one), "protected": msgspec.to_builtins(guard)}, "\n".join(lines))


def _verify(args: argparse.Namespace, shelf: Path, id: str, t: Said) -> Told:
    from . import audit, evidence

    one = _read(shelf, id)
    faults = evidence.verify(shelf / id)
    sha256 = evidence.digest(shelf / id / evidence.MANIFEST)
    folder = _journal(args, shelf)
    if folder is None:
        faults.append("no journal to hold it against; give --journal")
    else:
        told = [body["event"]["facts"] for _, body in _of(folder, one.alarm) if body.get("kind") == "event"]
        mine = [facts.get("sha256") for facts in told if facts.get("id") == id]
        if not mine:
            faults.append("the journal does not know it; its oldest records may be gone")
        elif sha256 not in mine:
            faults.append(f"{evidence.MANIFEST}: not the one of which the journal was told")
        broken = audit.verify(folder).faults
        if broken:  # a running daemon may have been in the middle of a line
            time.sleep(audit.PAUSE)
            broken = audit.verify(folder).faults
        faults += [f"journal: {fault}" for fault in broken]
    verdict = t("piece changed", id=id) if faults else t("piece whole", id=id, n=len(one.files), sha256=sha256)
    facts = {"id": id, "sha256": sha256, "faults": faults, "whole": not faults}
    return Told(facts, "\n".join([*faults, verdict]), 1 if faults else 0)


def _of(folder: Path, alarm: str) -> Iterator[tuple[Record, dict[str, Any]]]:
    """The records of a journal on an alarm and its evidence."""
    from . import audit

    for record in audit.records(folder):
        if alarm.encode() not in record.body:
            continue
        try:
            body = msgspec.json.decode(record.body, type=dict[str, Any])
        except msgspec.DecodeError:
            continue
        event = body.get("event", {})
        if body.get("alarm", {}).get("id") == alarm or (
            event.get("kind") == "evidence" and event["facts"].get("alarm") == alarm
        ):
            yield record, body


def _export(args: argparse.Namespace, shelf: Path, id: str, t: Said) -> Told:
    from . import evidence

    one = _read(shelf, id)
    if faults := evidence.verify(shelf / id):
        text = "\n".join([*faults, t("piece not copied", id=id)])
        return Told({"id": id, "to": None, "faults": faults}, text, 1)
    to = args.to / id
    folder = _journal(args, shelf)
    try:
        shutil.copytree(shelf / id, to)
        if folder is not None:
            lines = [
                msgspec.json.encode({"n": record.n, "chain": record.chain, "body": msgspec.Raw(record.body)})
                for record, _ in _of(folder, one.alarm)
            ]
            (to.parent / f"{id}.{RECORDS}").write_bytes(b"".join(line + b"\n" for line in lines))
    except (OSError, shutil.Error) as error:
        raise WorldFault(f"export to {to}: {error}") from None
    if faults := evidence.verify(to):
        raise WorldFault(f"export to {to}: the copy is not the same: {', '.join(faults)}")
    return Told({"id": id, "to": str(to), "faults": []}, t("piece copied", id=id, to=to))


def _guard(args: argparse.Namespace) -> int:
    """Ask the running daemon, which tells the journal."""
    from . import config, control

    request = {"verb": "evidence", "id": args.id, "by": args.by, "reason": args.reason}
    state = config.load(args.config).store.path
    reply = control.ask(state, {**request, "protect": args.deed == "protect"}, 30.0)
    if "error" in reply:
        raise WorldFault(reply["error"])
    done = "piece guarded" if args.deed == "protect" else "piece released"
    return terminal.answer(args, reply, said_to(args)(done, id=args.id))
