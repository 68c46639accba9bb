"""Checks the proof of one alarm, for whoever trusts nobody: a program of its own, `verify.py` in each bundle.

    python3 verify.py [BUNDLE or BUNDLE.zip] [--key PUBLIC]

Needs Python 3.8 and nothing else. PUBLIC is the public key of the gateway (base64, as `vedette audit key` shows it)
from whoever put it up, not from this bundle: without it the bundle is only known to be of one piece. What is checked:

1. the manifest is signed by that key, and every file is the one that it names;
2. the excerpts of the journal are chained (SHA-256), and signed by that key at the time;
3. configuration, clips and stills are those of which the journal was told then;
4. the alarm, judged again from the raw rows in the journal, comes at the same time. This is done for rules with a
   limit (high, low, anomaly): limit, delay, conditions, quality. It does not repeat what a detector reckoned, nor
   rules of other kinds, nor when the alarm was cleared; it says so.

Exit: 0 all of it holds; 1 something is not as it was; 2 nothing was changed, but the alarm was not judged again.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Say = Callable[[str], Any]
    Row = dict[str, tuple[float | None, int]]  # channel -> value, quality
    Records = list[tuple[int, dict[str, Any]]]  # number, what it says
    Place = tuple[int, int, int, int]  # of the curve, in extended coordinates

GOOD, OVER_RANGE, BLIND = 0, 2, 4  # quality: up to OVER_RANGE may raise; from BLIND on nobody sees
TICK = 1.5  # s until the agent, which looks once a second, notices that a delay is over
COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


class Refused(Exception):
    """Something is not as it was."""


# -- Ed25519, after RFC 8032, 5.1: slow, and enough for a hundred signatures ----------------------------

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def _plus(a: Place, b: Place) -> Place:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, d - c, d + c, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(n: int, a: Place) -> Place:
    total = (0, 1, 1, 0)
    while n:
        total = _plus(total, a) if n & 1 else total
        a, n = _plus(a, a), n >> 1
    return total


def _point(text: bytes) -> Place | None:
    y = int.from_bytes(text, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")) or (0, 1, 1, 0)


def holds(key: bytes, signature: bytes, said: bytes) -> bool:
    """Whether the owner of a public key (32 bytes) signed these bytes."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r = _point(key), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= Q:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + said).digest(), "little") % Q
    left, right = _times(s, BASE), _plus(r, _times(h, a))
    return not (left[0] * right[2] - right[0] * left[2]) % P and not (left[1] * right[2] - right[1] * left[2]) % P


# -- files ------------------------------------------------------------------------------------------------


def files(place: Path) -> dict[str, bytes]:
    """Name -> content of all that is there."""
    if place.is_file():
        with zipfile.ZipFile(place) as bundle:
            names = [name for name in bundle.namelist() if not name.endswith("/")]
            if len(set(names)) != len(names):
                raise Refused(f"{place.name}: a name stands in it twice")
            return {name: bundle.read(name) for name in names}
    return {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fingerprint(key: str) -> str:
    return sha(base64.b64decode(key))[:16]


def check_manifest(found: dict[str, bytes], trusted: str, say: Say) -> dict[str, Any]:
    """The manifest, once every file is known to be the one that it names."""
    if "manifest.json" not in found:
        raise Refused("manifest.json: missing")
    manifest: dict[str, Any]
    try:
        manifest = json.loads(found["manifest.json"])
        listed = {file["name"]: file for file in manifest["files"]}
    except (ValueError, KeyError, TypeError):
        raise Refused("manifest.json: cannot be read") from None
    key = manifest.get("key")
    if trusted and key != trusted:
        raise Refused(f"manifest.json: of another gateway: its key is {fingerprint(key) if key else 'none'}")
    if key and "manifest.sig" in found:
        try:
            signature = base64.b64decode(found["manifest.sig"], validate=True)
        except ValueError:
            raise Refused("manifest.sig: cannot be read") from None
        if not holds(base64.b64decode(key), signature, b"vedette incident\n" + found["manifest.json"]):
            raise Refused("manifest.sig: the manifest was changed since it was signed, or another key signed it")
        say(f"manifest: signed by key {fingerprint(key)}")
    elif trusted:
        raise Refused("manifest.sig: missing: the manifest is not signed")
    else:
        say("manifest: NOT SIGNED: the gateway's private key was not at hand when this was made")
    for name, file in listed.items():
        if name not in found:
            raise Refused(f"{name}: missing")
        if sha(found[name]) != file["sha256"]:
            raise Refused(f"{name}: changed")
    for name in found:
        if name not in listed and name not in ("manifest.json", "manifest.sig"):
            raise Refused(f"{name}: not in the manifest")
    say(f"files: {len(listed)}, all as the manifest names them")
    if not trusted and key:
        say(f"key: {fingerprint(key)} is what the bundle itself says; compare it, or give --key")
    return manifest


# -- the journal ------------------------------------------------------------------------------------------


def check_journal(manifest: dict[str, Any], lines: bytes, say: Say) -> list[tuple[int, dict[str, Any]]]:
    """The records of the excerpts, once they are known to be chained."""
    records: list[tuple[int, dict[str, Any]]] = []
    n, chain, at, unsigned, key = 0, "", 0, 0, manifest.get("key")
    ranges = {first: (last, previous) for first, last, previous in manifest["ranges"]}
    open_: list[int] = []
    last, signed = 0, 0
    for line in lines.split(b"\n"):
        if not line:
            continue
        at += 1
        number, _, rest = line.partition(b"\t")
        told, _, body = rest.partition(b"\t")
        where = f"journal.log line {at}"
        if not number.isdigit() or number[:1] == b"0":
            raise Refused(f"{where}: not a record")
        if n == last:
            n = int(number)
            if n not in ranges:
                raise Refused(f"{where}: record {n} begins no excerpt")
            unsigned += len(open_)
            open_, (last, chain) = [], ranges.pop(n)
        elif int(number) != n + 1:
            raise Refused(f"{where}: record {int(number)} stands where record {n + 1} should")
        n = int(number)
        previous, chain = chain, told.decode("ascii", "replace")
        if hashlib.sha256(f"{previous}\t{n}\t".encode() + body).hexdigest() != chain:
            raise Refused(f"{where}: record {n} does not fit its checksum, or not what stands before it")
        record = json.loads(body)
        open_.append(n)
        if record.get("kind") == "signature":
            said = f"vedette journal\t{n - 1}\t{previous}".encode()
            if record["key"] != key:
                raise Refused(f"{where}: signed with another key, {fingerprint(record['key'])}")
            if not holds(base64.b64decode(key), base64.b64decode(record["signature"]), said):
                raise Refused(f"{where}: a signature that does not hold")
            signed, open_ = signed + 1, []
        records.append((n, record))
    unsigned += len(open_)
    if ranges or n != last:
        raise Refused(f"journal.log: records are missing behind record {n}")
    say(f"journal: {at} records in {len(manifest['ranges'])} excerpts, chained, with {signed} signatures of the time")
    if unsigned:
        say(f"journal: {unsigned} records at the ends of excerpts are only signed now, with the manifest")
    return records


def check_told(manifest: dict[str, Any], found: dict[str, bytes], records: Records, say: Say) -> None:
    """Configuration and evidence, against what the journal was told."""
    events = [record["event"] for _, record in records if record.get("kind") == "event"]
    origin = [event["facts"] for event in events if event["kind"] == "provenance" and event["facts"]]
    origin = [facts for facts in origin if facts["config"] == manifest["config"]]
    if origin:
        for file in origin[-1]["files"]:
            name = f"config/{file['name']}"
            if name in found and sha(found[name]) != file["sha256"]:
                raise Refused(f"{name}: not the one that was in force")
        there = sum(f"config/{file['name']}" in found for file in origin[-1]["files"])
        say(f"configuration {manifest['config']}: {there} of {len(origin[-1]['files'])} files, as they were in force")
        say(f"program: {origin[-1]['program']}, vedette {origin[-1]['versions']['vedette']}")
    else:
        say("configuration: the journal no longer says which files were in force")
    told = {event["facts"]["id"]: event["facts"] for event in events if event["kind"] == "evidence"}
    for name in [name for name in found if name.startswith("evidence/") and name.endswith("/manifest.json")]:
        id = name.split("/")[1]
        if id not in told:
            raise Refused(f"{name}: the journal was not told of it")
        if sha(found[name]) != told[id]["sha256"]:
            raise Refused(f"{name}: not the one of which the journal was told")
        for file in json.loads(found[name])["files"]:
            inner = f"evidence/{id}/{file['name']}"
            if inner in found and sha(found[inner]) != file["sha256"]:
                raise Refused(f"{inner}: not the one of which the journal was told")
        say(f"evidence {id}: as the journal was told")


# -- judging again ----------------------------------------------------------------------------------------


def rows_of(traces: Sequence[dict[str, Any]]) -> list[tuple[float, Row]]:
    """mono -> channel -> (value, quality), each row once, in the order of time."""
    found: dict[float, Row] = {}
    for said in (said for trace in traces for said in trace["said"]):
        for t, mono in enumerate(said["mono"]):
            row = found.setdefault(mono, {})
            for i, key in enumerate(said["key"]):
                quality = said["quality"][t][i] if said.get("quality") else GOOD
                row[f"{said['source']}/{key}"] = said["value"][t][i], quality
    return sorted(found.items())


def met(text: str, seen: Row) -> bool:
    """Whether a condition holds; one that nobody can see does."""
    channel, compare, limit = text.split()
    value, quality = seen.get(channel, (None, BLIND))
    return value is None or quality >= BLIND or COMPARE[compare](value, float(limit))


def judge(rule: dict[str, Any], channel: str, rows: Sequence[tuple[float, Row]]) -> tuple[float | None, float, bool]:
    """(begin, due, known): when the condition began, None where it never did, and when the alarm is due.

    `known`: whether the rows show that the condition did not hold before.
    """
    seen: Row = {}
    since: float | None = None
    known, calm = True, False
    for mono, row in rows:
        seen.update(row)
        value, quality = seen.get(channel, (None, BLIND))
        over = value is not None and quality <= OVER_RANGE and rule["sign"] * value >= rule["sign"] * rule["limit"]
        over = over or (rule["fail_safe"] and quality >= BLIND)
        over = over and all(met(text, seen) for text in [*rule["when"], *rule["start_when"]])
        unknown = not over and (value is None or quality != GOOD)
        if over and since is None:
            since, known = mono, calm
        elif not over and not unknown:
            since = None
        calm = calm or not over
        if since is not None and over and mono - since >= rule["delay"] and mono >= rule.get("moved", mono):
            return since, max(since + rule["delay"], rule.get("moved", since)), known
    if since is not None and rule["delay"]:
        return since, since + rule["delay"], known
    return None, 0.0, known


def recompute(manifest: dict[str, Any], records: Records, say: Say) -> bool | None:
    """Whether the alarm comes at the same time again; None where that cannot be judged here."""
    edges = [r["alarm"] for _, r in records if r.get("kind") == "alarm" and r["alarm"]["id"] == manifest["alarm"]]
    raised = [edge for edge in edges if edge["event"] == "raised"]
    traces = [record["trace"] for _, record in records if record.get("kind") == "trace"]
    mine = [t for t in traces if t["alarm"] == manifest["alarm"] and t.get("judged") and t["part"] == "before"]
    if not raised or not mine or mine[0]["edge"] != raised[0]["edge"]:
        say("alarm: NOT judged again: the journal has no raw rows of it")
        return None
    alarm, rule = raised[0], mine[0]["judged"]
    if rule["kind"] not in ("high", "low", "anomaly"):
        say(f"alarm: NOT judged again: a rule of the kind {rule['kind']} is not repeated here; its rows are there")
        return None
    same = [
        t for t in traces if (t["rule"], t["channel"], t["boot"]) == (alarm["rule"], alarm["channel"], mine[0]["boot"])
    ]
    rows = [(mono, row) for mono, row in rows_of(same) if mono <= alarm["at"]["mono"]]
    begun, due, known = judge(rule, alarm["channel"], rows)
    told = alarm["at"]["mono"]
    say(
        f"alarm: {alarm['channel']} {'>=' if rule['sign'] > 0 else '<='} {rule['limit']:g} {alarm['unit']}".rstrip()
        + f" for {rule['delay']:g} s, judged again from {len(rows)} rows"
    )
    if rule["kind"] == "anomaly" or "." in alarm["channel"].partition("/")[2]:
        say("alarm: what the detector reckoned is taken as it was; only the limit is judged")
    if begun is None:
        raise Refused(f"journal.log: by these rows alarm {manifest['alarm']} would not have been raised")
    if not known:
        say("alarm: NOT judged again: the condition stood already when the rows begin")
        return None
    late = told - due
    if abs(begun - alarm["since"]["mono"]) > 1e-6 or not -1e-6 <= late <= (TICK if rule["delay"] else 1e-6):
        raise Refused(f"journal.log: by these rows the alarm is due at {due:.3f} s, and it is told at {told:.3f} s")
    seen = [row[alarm["channel"]][0] for _, row in rows if alarm["channel"] in row]
    if alarm["value"] is not None and seen[-1] != alarm["value"]:
        raise Refused(f"journal.log: by these rows the value was {seen[-1]}, and {alarm['value']} is told")
    say(f"alarm: raised at {told:.3f} s (monotonic), judged again: {told if late <= TICK else due:.3f} s, the same")
    clock = "trusted" if alarm["at"].get("synced") else "NOT trusted then"
    say(f"clock: {alarm['at']['wall']:.3f} s UTC since 1970, {clock}")
    return True


def main(words: Sequence[str] | None = None) -> int:
    """Check a bundle and say what was found."""
    parser = argparse.ArgumentParser(description="Checks the proof of one alarm. See the top of this file.")
    parser.add_argument("bundle", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--key", default="", help="the gateway's public key, base64, from whoever put it up")
    asked = parser.parse_args(words)
    try:
        found = files(asked.bundle)
        manifest = check_manifest(found, asked.key.strip(), print)
        if "journal.log" not in found:
            raise Refused("journal.log: missing")
        records = check_journal(manifest, found["journal.log"], print)
        check_told(manifest, found, records, print)
        for what in manifest.get("missing", []):
            print(f"missing: {what}")
        same = recompute(manifest, records, print)
    except (Refused, zipfile.BadZipFile, OSError) as error:
        print(f"VERDICT: NOT as it was: {error}")
        return 1
    except (ValueError, KeyError, TypeError, IndexError) as error:
        print(f"VERDICT: NOT as it was: something cannot be read ({error!r})")
        return 1
    print("VERDICT: nothing was changed; " + ("the alarm comes at the same time again" if same else "not judged again"))
    return 0 if same else 2


if __name__ == "__main__":
    sys.exit(main())
