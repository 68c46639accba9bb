"""T24: somebody changes the journal. Every bit is flipped; records are deleted, swapped, put in, cut off and spliced;
an older image is put back.

What stands in the files shows the first kinds by itself; that the end is missing, or that all of it is older than it
should be, only a witness can tell, who noted a head. Each change must be found, and the first bad record named.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import audit, keys
from agent.audit import Chain, Verdict, verify
from tests.rigs.trial import Case, Trial

SIZE = 64 * 1024  # bytes of the log of which every bit is flipped
KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(letter * 32) for letter in (b"a", b"b"))
TRUSTED = [keys.text(KEY)]


def body(n: int, rng: random.Random) -> bytes:
    """An edge of an alarm, about as long as they are."""
    at = {"mono": round(rng.uniform(0, 1e5), 3), "wall": round(1.7e9 + rng.uniform(0, 1e5), 3), "synced": True}
    text = f"heading/ch4_{n % 40} at {rng.uniform(1, 3):.2f} %, limit 1 % (AQ 1029-2019 6.2)"
    told = {"id": f"000001-ab12-{n}", "edge": 1, "event": "raised", "rule": "methane", "level": "red", "text": text}
    return msgspec.json.encode({"kind": "alarm", "alarm": {**told, "value": rng.uniform(1, 3), "at": at}})


def made(folder: Path, size: int, segment: int, key: Ed25519PrivateKey, seed: int, every: int = 20) -> Chain:
    """A signed journal of about so many bytes."""
    rng = random.Random(seed)
    chain = Chain(folder, 1 << 30, key)
    chain.segment = segment
    written = n = 0
    while written < size:
        n += 1
        text = body(n, rng)
        chain.append([text], sign=n % every == 0)
        written += len(text) + 75
    chain.end()
    return chain


class Image:
    """The files of a journal, as they can be written back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {path.name: audit.text(path) for path in audit.segments(folder)}

    def lines(self) -> dict[str, list[bytes]]:
        return {name: content.splitlines(keepends=True) for name, content in self.files.items()}

    def put(self, lines: dict[str, list[bytes]]) -> None:
        for path in audit.segments(self.folder):
            path.unlink()
        for name, content in lines.items():
            (self.folder / name).write_bytes(b"".join(content))


def flips(case: Case, folder: Path) -> None:
    """Every bit of a log of one segment, or of each bit so many in the small size."""
    made(folder, SIZE, 1 << 20, KEY, 1, every=1000)
    (path,) = audit.segments(folder)
    good = audit.text(path)
    ends = [k for k, byte in enumerate(good) if byte == 10]
    found = named = bits = 0
    for bit in range(0, 8 * len(good), case.n(1999, 1)):
        bad = bytearray(good)
        bad[bit >> 3] ^= 1 << (bit & 7)
        path.write_bytes(bad)
        faults = verify(folder, TRUSTED).faults
        bits += 1
        found += bool(faults)
        named += bool(faults) and faults[0].record == 1 + bisect_left(ends, bit >> 3)
    case.exactly("flipped bits that were not found", bits - found, 0)
    case.exactly("flipped bits whose record was not named", found - named, 0)
    case.figure("bits flipped", bits)


Change = tuple[str, dict[str, list[bytes]], int]  # what was done, the files, number of the first bad record


def changes(image: Image, other: Image) -> Iterator[Change]:
    """Each record deleted, swapped with the next, doubled, another's put in its place, all cut off behind it."""
    theirs = other.lines()
    for name in image.files:
        first = int(image.lines()[name][0].split(b"\t")[0])
        count = len(image.lines()[name])
        for k in range(count):
            last = k == count - 1
            for what in ("delete", "swap", "double", "splice", "tear"):
                files = image.lines()
                lines, foreign = files[name], theirs[name]
                match what:
                    case "delete" if not last:
                        del lines[k]
                    case "swap" if not last:
                        lines[k], lines[k + 1] = lines[k + 1], lines[k]
                    case "double":
                        lines.insert(k, lines[k])
                        if last:
                            continue  # the same as the next, and nothing behind it in this file: see below
                    case "splice" if 1 < k < len(foreign):
                        lines[k:] = foreign[k:]
                    case "tear" if not last:
                        lines[k:] = [lines[k][: len(lines[k]) // 2]]
                    case _:
                        continue
                yield what, files, first + k + (what == "double")
        files = image.lines()
        del files[name]
        if name != max(image.files):
            yield "segment gone", files, first


def records(case: Case, folder: Path) -> None:
    size, segment = case.n(12_000, SIZE), case.n(4_000, 16_000)
    made(folder, size, segment, KEY, 1)
    made(folder.with_name("other"), size, segment, OTHER, 2)
    image, other = Image(folder), Image(folder.with_name("other"))
    missed: dict[str, int] = {}
    done = astray = 0
    for what, files, bad in changes(image, other):
        image.put(files)
        faults = verify(folder, TRUSTED).faults
        done += 1
        missed[what] = missed.get(what, 0) + (not faults)
        gone = what == "segment gone" and bad == 1  # nobody can know how many records it had
        if faults and faults[0].record != bad and not gone:
            astray += 1
            case.note(f"{what} at record {bad}: {faults[0]}")
    case.exactly("changes of records that were not found", sum(missed.values()), 0)
    case.exactly("changes of records whose first bad record was not named", astray, 0)
    case.figure("changes of records", done)
    for what, count in missed.items():
        if count:
            case.note(f"{what}: {count} not found")


def witness(case: Case, folder: Path) -> None:
    """The end cut off at each record, the image of an earlier time put back, all of it written anew with the key."""
    chain = made(folder, case.n(8_000, SIZE), 4_000, KEY, 1)
    image = Image(folder)
    head = (chain.n, chain.head)
    unseen = clean = done = 0

    def look() -> Verdict:
        nonlocal unseen, done, clean
        done += 1
        clean += not verify(folder, TRUSTED).faults  # the files alone may not show it
        told = verify(folder, TRUSTED, [head])
        unseen += not told.faults
        return told

    names = sorted(image.files)
    for i, name in enumerate(names):
        for k in range(1, len(image.lines()[name]) + 1):
            files = {n: image.lines()[n] for n in names[: i + 1]}
            files[name] = files[name][:k]
            if i == len(names) - 1 and k == len(image.lines()[name]):
                continue
            image.put(files)
            look()
    image.put({})
    anew = made(folder, case.n(12_000, 2 * SIZE), 4_000, KEY, 3)
    look()
    case.exactly("truncations and images that the witness did not find", unseen, 0)
    case.at_least("of these, not to be seen without him", clean, 2)
    case.figure("truncations and images", done)
    assert anew.n > chain.n


def measure(case: Case) -> None:
    parts: list[Callable[[Case, Path], None]] = [flips, records, witness]
    for part in parts:
        folder = case.folder / part.__name__ / "journal"
        folder.parent.mkdir()
        part(case, folder)


TRIAL = Trial(
    id="T24",
    title="tampering with the journal",
    run=measure,
    sabotage="unchained-field",
    red=("flipped bits that were not found",),
    alone=False,
    memory=True,
)
