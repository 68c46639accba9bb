"""The incident bundle: all that proves one alarm, in one folder or one zip, for somebody who knows only the public key.

    manifest.json, manifest.sig     every file with its SHA-256; signed now by the gateway's key, where it is at hand
    journal.log                     excerpts of the journal as they stand there, each up to its next signature
    alarm.json, frames.csv          the same for people: edges of the alarm, and what its channels said
    clock.json, versions.json       whether the clock could be trusted; program, libraries, kernel
    config/                         the files that were in force, with the profiles
    evidence/<id>/                  clip, stills, values
    verify.py, README.txt           `agent/stranger.py`, and how to use it

Reads the folder of the state and needs no running daemon; writes nothing there.
"""

from __future__ import annotations

import base64
import csv
import io
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import __version__, audit, evidence, keys, provenance, stranger
from .audit import Record
from .core.errors import WorldFault

SCHEMA = "vedette.incident/1"
FAR = 2000  # records from what is wanted to the next signature, at most: beyond only the manifest signs it
CLOCK = ("clock-step", "clock-trusted", "started", "crashed")  # events that say what the clock was worth
EARLIER = (
    b'{"kind":"trace"',
    *(b'{"kind":"event","event":{"kind":"%s"' % kind.encode() for kind in (*CLOCK, "provenance")),
)
README = """Proof of alarm {alarm}

    python3 verify.py --key PUBLIC-KEY-OF-THE-GATEWAY

needs Python 3.8 and nothing else. Ask whoever put the gateway up for the key (`vedette audit key`); its fingerprint
should be {fingerprint}. The program is short: read it before you trust it. It says what it checked and what it did
not.

报警 {alarm} 的证据包。运行:python3 verify.py --key 网关公钥(向安装单位索取,指纹应为 {fingerprint})。
程序只需 Python 3.8;它说明核对了什么、没有核对什么。
"""


class Found(NamedTuple):
    """What the journal says of one alarm."""

    edges: list[dict[str, Any]]
    traces: list[dict[str, Any]]
    events: list[dict[str, Any]]  # evidence, proofs of trips, clock; in the order of the journal
    origin: dict[str, Any]  # facts of the provenance; empty where the journal has none
    lines: list[tuple[Record, str]]  # of the excerpts, each with the checksum before it
    ranges: list[tuple[int, int, str]]  # first, last, checksum before


def excerpt(folder: Path, alarm: str) -> Found:
    """What the journal says of an alarm. Raises `WorldFault` where it says nothing."""
    record: Record
    everything: list[tuple[Record, str]] = []
    previous = ""
    for record in audit.records(folder):
        if not everything or record.n != everything[-1][0].n + 1:
            previous = audit.previous(record)
        everything.append((record, previous))
        previous = record.chain
    bodies = [_body(record) if _may_matter(record.body, alarm) else {} for record, _ in everything]
    edges = [body["alarm"] for body in bodies if body.get("kind") == "alarm" and body["alarm"]["id"] == alarm]
    if not edges:
        raise WorldFault(f"no alarm {alarm} in {folder}; `vedette alarms` shows those that stand")
    raised = edges[0]
    begun = next(k for k, body in enumerate(bodies) if body.get("alarm", {}).get("id") == alarm)
    point, boot = (raised["rule"], raised["channel"]), alarm.rpartition("-")[0]
    from_, wanted, config = raised["at"]["mono"] - 660.0, set[int](), ""
    traces = []
    for k, body in enumerate(bodies):
        match body.get("kind"):
            case "alarm":
                mine = body["alarm"]["id"] == alarm
            case "trace":
                trace = body["trace"]
                mine = trace["alarm"] == alarm
                if mine:
                    config = config or trace["config"]
                elif (trace["rule"], trace["channel"], trace["boot"]) == (*point, boot) and k < begun:
                    mine = any(said["mono"][-1] > from_ for said in trace["said"])
                traces += [trace] if mine else []
            case "order":
                mine = body["order"]["reason"] == alarm
            case "event":
                mine = body["event"]["facts"].get("alarm") == alarm
            case _:
                mine = False
        if mine:
            wanted.add(k)
    starts = [k for k, body in enumerate(bodies) if body.get("event", {}).get("kind") == "started"]
    life = max((k for k in starts if k <= begun), default=0)
    death = min((k for k in starts if k > begun), default=len(bodies))
    wanted |= {k for k in range(life, death) if bodies[k].get("event", {}).get("kind") in CLOCK}
    moved = f"limit of {raised['rule']}:"  # by a command, or kept from an earlier life
    wanted |= {k for k in range(life, begun) if moved in bodies[k].get("event", {}).get("text", "")}
    origin: dict[str, Any] = {}
    where = 0
    for k, body in enumerate(bodies):  # the last before the alarm; where the journal begins later, the next
        event = body.get("event", {})
        if event.get("kind") != "provenance" or not event["facts"]:
            continue
        if event["facts"]["config"] == (config or event["facts"]["config"]) and (k < begun or not origin):
            origin, where = event["facts"], k
    if origin:
        wanted.add(where)
    spans: list[tuple[int, int]] = []
    for k in sorted(wanted):
        end = k
        for j in range(k, min(k + FAR, len(everything))):
            if everything[j][0].n - everything[k][0].n != j - k:  # damage: what stands behind it is another excerpt
                break
            if everything[j][0].body.startswith(audit.SIGNED):
                end = j
                break
        if spans and k <= spans[-1][1] + 1 and everything[k][0].n <= everything[spans[-1][1]][0].n + 1:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((k, end))
    ranges = [(everything[a][0].n, everything[b][0].n, everything[a][1]) for a, b in spans]
    lines = [everything[k] for a, b in spans for k in range(a, b + 1)]
    events = [body["event"] for k, body in enumerate(bodies) if k in wanted and body.get("kind") == "event"]
    return Found(edges, traces, events, origin, lines, ranges)


def _may_matter(body: bytes, alarm: str) -> bool:
    """Whether it is worth decoding: most records are about something else."""
    return alarm.encode() in body or body.startswith(EARLIER) or b"limit of " in body


def _body(record: Record) -> dict[str, Any]:
    try:
        return msgspec.json.decode(record.body, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


class Site(NamedTuple):
    """Where things are."""

    state: Path
    shelf: Path  # of evidence
    name: str
    node: str
    key: Ed25519PrivateKey | None


def export(site: Site, alarm: str, out: Path, wall: float) -> dict[str, Any]:
    """Write the bundle of an alarm, a folder or, where `out` ends so, a zip; the manifest. `wall`: now, s UTC.

    Raises `WorldFault`; then nothing is left behind.
    """
    found = excerpt(site.state / "journal", alarm)
    if out.exists():
        raise WorldFault(f"{out} is there already; a bundle is never written over")
    content, missing = _content(site, alarm, found)
    key = keys.text(site.key) if site.key is not None else None
    raised = found.edges[0]
    manifest = {
        "schema": SCHEMA,
        "alarm": alarm,
        "rule": raised["rule"],
        "channel": raised["channel"],
        "level": raised["level"],
        "site": site.name,
        "node": site.node,
        "made": wall,
        "by": f"vedette {__version__}",
        "key": key or next((_body(line)["key"] for line, _ in found.lines if line.body.startswith(audit.SIGNED)), None),
        "config": next((trace["config"] for trace in found.traces), found.origin.get("config", "")),
        "program": found.origin.get("program", ""),
        "ranges": found.ranges,
        "missing": missing,
    }
    whose = keys.fingerprint(keys.public(str(manifest["key"]))) if manifest["key"] else "unknown"
    content["README.txt"] = README.format(alarm=alarm, fingerprint=whose).encode()
    hashes = [{"name": n, "sha256": stranger.sha(body), "bytes": len(body)} for n, body in sorted(content.items())]
    text = msgspec.json.format(msgspec.json.encode(manifest | {"files": hashes}), indent=1)
    content["manifest.json"] = text
    if site.key is not None:
        content["manifest.sig"] = base64.b64encode(site.key.sign(b"vedette incident\n" + text))
    try:
        _write(out, content, wall)
    except OSError as error:
        part = _part(out)
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)
        raise WorldFault(f"export to {out}: {error.strerror or error}") from None
    return manifest | {"files": hashes, "signed": site.key is not None}


def _content(site: Site, alarm: str, found: Found) -> tuple[dict[str, bytes], list[str]]:
    """The files of a bundle, and in words what cannot be had."""
    content, missing = {}, []
    content["journal.log"] = b"".join(b"%d\t%s\t%s\n" % (r.n, r.chain.encode(), r.body) for r, _ in found.lines)
    content["alarm.json"] = msgspec.json.format(msgspec.json.encode(found.edges), indent=1)
    content["frames.csv"] = _table(found)
    content["clock.json"] = msgspec.json.format(msgspec.json.encode(_clock(found)), indent=1)
    told = {key: found.origin.get(key) for key in ("program", "versions")}
    content["versions.json"] = msgspec.json.format(msgspec.json.encode(told), indent=1)
    content["verify.py"] = Path(stranger.__file__).read_bytes()
    if not any(trace["alarm"] == alarm and trace["part"] == "before" for trace in found.traces):
        missing.append("raw rows before the alarm: too many alarms at that time, or of an item or a silent source")
    elif not any(trace["alarm"] == alarm and trace["part"] == "after" for trace in found.traces):
        missing.append("raw rows after the alarm: the time is not over, or the agent was ended within it")
    if not found.origin:
        missing.append("which files were in force: the journal no longer says it")
    for file in found.origin.get("files", ()):
        try:
            content[f"config/{file['name']}"] = (site.state / provenance.FOLDER / file["sha256"]).read_bytes()
        except OSError as error:
            missing.append(f"config/{file['name']}: {error.strerror}")
    told_of = {event["facts"].get("id") for event in found.events if event["kind"] == "evidence"}
    for id in sorted(filter(None, told_of)):
        folder = site.shelf / id
        try:
            kept = evidence.read(folder)
            names = [evidence.MANIFEST, *(file.name for file in kept.files)]
            content |= {f"evidence/{id}/{name}": (folder / name).read_bytes() for name in names}
        except (OSError, ValueError) as error:
            missing.append(f"evidence/{id}: {error}")
    return content, missing


def _clock(found: Found) -> dict[str, Any]:
    """What the clock was worth when it was decided."""
    at = found.edges[0]["at"]
    told = [{key: e[key] for key in ("kind", "at", "text")} for e in found.events if e["kind"] in CLOCK]
    return {"raised": at, "trusted": bool(at.get("synced")), "told_before": told}


def _table(found: Found) -> bytes:
    """The rows of all traces for people: s from the decision, monotonic s, channel, value, raw, unit, quality."""
    text = io.StringIO()
    sheet = csv.writer(text, lineterminator="\n")
    sheet.writerow(["t_s", "mono_s", "channel", "value", "raw", "unit", "quality"])
    at = found.edges[0]["at"]["mono"]
    rows: set[tuple[float, tuple[Any, ...]]] = set()
    for said in (said for trace in found.traces for said in trace["said"]):
        for t, mono in enumerate(said["mono"]):
            for i, key in enumerate(said["key"]):
                raw = said["raw"][t][i] if said.get("raw") else said["value"][t][i]
                quality = said["quality"][t][i] if said.get("quality") else 0
                cells = (f"{said['source']}/{key}", said["value"][t][i], raw, said["unit"][i], quality)
                rows.add((mono, cells))
    for mono, cells in sorted(rows, key=lambda row: (row[0], row[1][0])):
        sheet.writerow([f"{mono - at:.3f}", mono, *cells])
    return text.getvalue().encode()


def _part(out: Path) -> Path:
    return out.with_name(f"{out.name}.part")


def _write(out: Path, content: dict[str, bytes], wall: float) -> None:
    """All of it or nothing."""
    part = _part(out)
    if out.suffix == ".zip":
        stamp = time.gmtime(max(wall, 315532800.0))[:6]  # a zip knows no year before 1980
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, body in sorted(content.items()):
                bundle.writestr(zipfile.ZipInfo(name, stamp), body, zipfile.ZIP_DEFLATED)
        part.replace(out)
        return
    shutil.rmtree(part, ignore_errors=True)
    for name, body in content.items():
        path = part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    part.replace(out)
