"""`vedette audit verify | key | export ALARM`, `vedette report accident | hazard ALARM`: the journal for people.

None of these needs a running daemon. `verify` names the first record that is not as it was written, and holds the
journal against the newest head that somebody else noted; exit 1 where anything does not fit.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from . import terminal
from .core.errors import WorldFault
from .said import Said, said_to
from .terminal import Stop, answer

if TYPE_CHECKING:
    from .audit import Verdict
    from .bundle import Site

SHOWN = 20  # faults that are told; the first is what matters


def add(verb: Callable[..., Any]) -> None:
    """The verbs' arguments."""
    sub = verb("audit", _audit, "the journal of decisions: is it whole, whose is it, what proves an alarm", site=True)
    sub.add_argument(
        "deed", nargs="?", default="verify", choices=("verify", "key", "export"), help="verify, where none is said"
    )
    sub.add_argument("alarm", nargs="?", default="", metavar="ID", help="of an export: as `vedette alarms` shows it")
    sub.add_argument("--out", type=Path, metavar="DIR|FILE.zip", help="of an export: incident-ID.zip, if none is said")
    sub.add_argument("--state", type=Path, metavar="DIR", help="of an export: the state folder, or a copy of it")
    sub.add_argument("--folder", type=Path, help="a journal somewhere else: a copy, say")
    sub.add_argument("--last", type=int, default=0, metavar="N", help="show the last N records")
    sub.add_argument(
        "--key", metavar="PUBLIC", action="append", default=[], help="public key that must have signed; may be repeated"
    )
    sub.add_argument(
        "--head", metavar="N:CHECKSUM", action="append", default=[], help="what a witness noted; may be repeated"
    )

    sub = verb(
        "report", _report, "a draft of the accident report or hazard ticket of an alarm; a person sends it", site=True
    )
    sub.add_argument("kind", choices=("accident", "hazard"), help="which paper")
    sub.add_argument("alarm", metavar="ID", help="as `vedette alarms` shows it")
    sub.add_argument("--by", metavar="NAME", default="", help="who has it drafted")
    sub.add_argument("--known", metavar="TIME", default="", help="when the first person knew: YYYY-MM-DD HH:MM, local")
    sub.add_argument(
        "--set", metavar="FIELD=TEXT", action="append", default=[], help="fill in a blank; may be repeated"
    )
    sub.add_argument("--out", type=Path, metavar="FILE.md|FILE.html", help="a copy of the new version")
    sub.add_argument("--state", type=Path, metavar="DIR", help="the state folder, or a copy of it")


def head_line(head: dict[str, Any], t: Said) -> str:
    """The newest record of a running daemon, for people."""
    whose = t("head signed", who=head["fingerprint"]) if head.get("fingerprint") else t("head unsigned")
    return t("journal head", n=head["record"], checksum=head["checksum"], whose=whose)


def folder_of(args: argparse.Namespace) -> Path:
    """The folder of decisions. Raises `WorldFault`."""
    from . import config

    folder: Path = args.folder or Path(config.load(args.config).store.path) / "journal"
    if not folder.is_dir():
        raise WorldFault(said_to(args)("no journal", folder=folder))
    return folder


def _audit(args: argparse.Namespace) -> int:
    try:
        if args.deed == "key":
            return _key(args)
        if args.deed == "export":
            return _export(args)
        return _last(args) if args.last else _verify(args)
    except ValueError as error:
        raise Stop(os.EX_USAGE, str(error)) from None


def _last(args: argparse.Namespace) -> int:
    if args.last < 0:
        raise Stop(os.EX_USAGE, f"--last {args.last}: more than 0 records are expected")
    from . import audit

    records = deque(audit.records(folder_of(args)), args.last)
    facts = [{"n": record.n, "checksum": record.chain, "record": msgspec.Raw(record.body)} for record in records]
    return answer(args, facts, "\n".join(record.body.decode(errors="replace") for record in records))


def _key(args: argparse.Namespace) -> int:
    from . import config, keys

    path = config.load(args.config).store.key_file
    try:
        key = keys.private(path)
    except ValueError as error:
        raise WorldFault(f"{error}. It is made when the agent starts for the first time") from None
    facts = {"public": keys.text(key), "fingerprint": keys.fingerprint(key), "file": str(path)}
    text = said_to(args)("public key", key=facts["public"], fingerprint=facts["fingerprint"], path=path)
    return answer(args, facts, text)


def site_of(args: argparse.Namespace) -> Site:
    """Where the things of this site are. A copy of its state needs no configuration. Raises as `config.load`."""
    from . import config, keys
    from .bundle import Site

    if args.state is not None and not Path(args.config).exists():
        key, _ = keys.gateway(args.state / "gateway.key", make=False)
        return Site(args.state, args.state / "evidence", "", "", key)
    told = config.load(args.config)
    state = args.state or Path(told.store.path)
    key, _ = keys.gateway(told.store.key_file, make=False)
    return Site(state, Path(told.evidence.path), told.site.name, told.site.node, key)


def _export(args: argparse.Namespace) -> int:
    from . import bundle

    if not args.alarm:
        raise ValueError("export which alarm? `vedette alarms` shows those that stand, the journal all of them")
    site, t = site_of(args), said_to(args)
    if not (site.state / "journal").is_dir():
        raise WorldFault(t("no journal", folder=site.state))
    out = args.out or Path(f"incident-{args.alarm}.zip")
    with terminal.waiting(f"bundle of {args.alarm}"):
        told = bundle.export(site, args.alarm, out, time.time())
    lines = [
        t("bundle is", out=out, files=len(told["files"]), ranges=len(told["ranges"])),
        *(t("bundle lacks", what=what) for what in told["missing"]),
        *([] if told["signed"] else [t("bundle unsigned")]),
    ]
    return answer(args, {"out": str(out), **told}, "\n".join(lines))


def _report(args: argparse.Namespace) -> int:
    from . import bundle, control, drafts

    t = said_to(args)
    try:
        asked = drafts.Asked(by=args.by, known=_moment(args.known), values=dict(map(_filled, args.set)))
        site = site_of(args)
        found = bundle.excerpt(site.state / "journal", args.alarm)
        told, blank = drafts.draft(site.state, args.kind, found, site.name, asked, time.time())
        path = site.state / drafts.FOLDER / told.file
        if args.out:
            args.out.write_bytes((path.with_suffix(".html") if args.out.suffix == ".html" else path).read_bytes())
    except ValueError as error:
        raise Stop(os.EX_USAGE, str(error)) from None
    except OSError as error:
        raise WorldFault(f"{error.filename}: {error.strerror}") from None
    try:
        control.ask(str(site.state), {"verb": "reports"}, 5.0)
        journal = t("draft told")
    except WorldFault:
        journal = t("draft not told")
    due = t("draft due", due=drafts.stamp(told.due)) if told.due is not None else ""
    copy = t("draft copied", out=args.out) if args.out else ""
    lines = [t("draft is", path=path, n=told.version, sha256=told.sha256), copy, journal, due]
    lines.append(t("draft blank", fields=", ".join(blank)) if blank else t("draft full"))
    facts = {**msgspec.to_builtins(told), "path": str(path), "blank": blank}
    return answer(args, facts, "\n".join(filter(None, lines)))


def _moment(text: str) -> float | None:
    """Local time as s UTC. Raises `ValueError`."""
    if not text:
        return None
    for form in ("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S"):
        try:
            return time.mktime(time.strptime(text, form))
        except ValueError:
            continue
    raise ValueError(f"--known {text}: a local time is expected, like 2026-05-04 13:07")


def _filled(text: str) -> tuple[str, str]:
    """Raises `ValueError`."""
    field, sign, value = text.partition("=")
    if not sign or not value.strip():
        raise ValueError(f"--set {text}: FIELD=TEXT is expected")
    return field.strip(), value.strip()


def _trusted(args: argparse.Namespace) -> list[str]:
    """Public keys that must have signed: those that were named, else this gateway's own. Raises `ValueError`."""
    from . import config, keys

    if args.key:
        return [keys.text(keys.public(text)) for text in args.key]
    if args.folder is not None:
        return []
    path = config.load(args.config).store.key_file
    return [keys.text(keys.private(path))] if path.exists() else []


def _head(text: str) -> tuple[int, str]:
    """Raises `ValueError`."""
    n, _, chain = text.partition(":")
    if not n.isdigit() or len(chain) != 64:
        raise ValueError(f"--head {text}: number and checksum are expected, like 1042:{'9f' * 32}")
    return int(n), chain.lower()


def _verify(args: argparse.Namespace) -> int:
    from . import audit, keys

    folder, trusted, heads = folder_of(args), _trusted(args), [_head(text) for text in args.head]
    with terminal.Progress("journal", len(audit.segments(folder)), "segments") as progress:
        verdict = audit.verify(folder, trusted, heads, progress.each)
        if verdict.faults:  # a running daemon may have been in the middle of a line
            time.sleep(audit.PAUSE)
            verdict = audit.verify(folder, trusted, heads, progress.each)
    t, ink = said_to(args), terminal.Ink()
    whose = [keys.fingerprint(keys.public(key)) for key in verdict.keys]
    facts = verdict._asdict() | {"faults": [fault._asdict() for fault in verdict.faults], "fingerprints": whose}
    lines = [
        t("n records", n=verdict.records, first=verdict.first, last=verdict.last, head=verdict.head),
        _signed(verdict, bool(trusted), whose, t),
        *(t("head older", n=n) for n in verdict.unseen),
        *(t("head met", n=n) for n in verdict.met),
        *(t("first fault", fault=fault) if i == 0 else str(fault) for i, fault in enumerate(verdict.faults[:SHOWN])),
        *([t("and n more", n=len(verdict.faults) - SHOWN)] if len(verdict.faults) > SHOWN else []),
        ink("bad", t("broken journal")) if verdict.faults else t("whole journal"),
    ]
    answer(args, facts | {"whole": not verdict.faults}, "\n".join(lines))
    return 1 if verdict.faults else 0


def _signed(verdict: Verdict, trusted: bool, whose: list[str], t: Said) -> str:
    """How far it is signed, and by whom."""
    if not verdict.signed:
        return t("nothing signed")
    by = t("signed to", n=verdict.signed, who=", ".join(whose)) + ("" if trusted else t("no key of yours"))
    rest = verdict.last - verdict.signed
    return by + (t("not yet signed", n=rest) if rest else "")
