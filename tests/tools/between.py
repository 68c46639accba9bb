"""SIGKILL between any two statements, one after the other: a process is forked for each, and kills itself there.

    python -m tests.tools.between FOLDER       the journal's writing; one line of JSON for each kill

What the process said to be on the disk before it died must be there, the chain must hold as it lies, and go on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from agent import audit, durable, keys

TRACED = {audit.__file__, keys.__file__, durable.__file__}
SEGMENT, KEEP = 1500, 3  # bytes, segments: so that few records make a journal whose oldest part has to go


def body(n: int) -> bytes:
    return b'{"kind":"test","n":%d,"x":"%s"}' % (n, b"x" * 700)


def chain(home: Path) -> audit.Chain:
    """The journal of a state, with its key."""
    key, why = keys.gateway(home / "gateway.key", make=True)
    assert key is not None, why
    found = audit.Chain(home / "journal", 1 << 20, key)
    found.segment, found.keep = SEGMENT, KEEP
    return found


def begin(home: Path, said: Callable[[int], None]) -> None:
    """The first start: key, folder, first segment, records, the end."""
    journal = chain(home)
    journal.append([body(0), body(1)])
    said(0)
    journal.end()
    said(1)


def turn(home: Path, said: Callable[[int], None]) -> None:
    """A later start: a segment is full, a new one begins, the oldest goes."""
    journal = chain(home)
    for n in range(100, 102):
        journal.append([body(n)], sign=True)
        said(n)
    journal.end()


def killed(home: Path, deed: Callable[[Path, Callable[[int], None]], None], k: int) -> tuple[bool, list[int]]:
    """Do it in a process that kills itself before the k-th line; whether it did, and what it said to be durable."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        count = 0

        def look(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal count
            if frame.f_code.co_filename not in TRACED:
                return None
            if event == "line":
                count += 1
                if count == k:
                    os.kill(os.getpid(), signal.SIGKILL)
            return look

        sys.settrace(look)
        deed(home, lambda n: os.write(writing, b"%d\n" % n) and None)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        durable_ = [int(line) for line in pipe.read().split()]
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status != 0, durable_


def main(folder: Path) -> None:
    audit.AHEAD = 4096  # bytes; the zeros are not the subject
    base = folder / "base"
    base.mkdir()
    journal = chain(base)
    for n in range(6):
        journal.append([body(n)])
    journal.close()  # as a kill leaves it
    for deed, start in ((begin, None), (turn, base)):
        k, more = 0, True
        while more:
            k += 1
            home = folder / f"{deed.__name__}{k}"
            if start is None:
                home.mkdir()
            else:
                shutil.copytree(start, home)
            more, said = killed(home, deed, k)
            lies = audit.verify(home / "journal")
            there = {json.loads(r.body).get("n") for r in audit.records(home / "journal")}
            size = sum(path.stat().st_size for path in audit.segments(home / "journal"))
            again = chain(home)  # the next start
            again.append([body(999)])
            again.end()
            told = audit.verify(home / "journal", [keys.text(again.key)] if again.key else [])
            result = {
                "deed": deed.__name__,
                "line": k,
                "killed": more,
                "durable": len(said),
                "lost": [n for n in said if n not in there],
                "faults": list(map(str, lies.faults)),
                "unsigned": lies.last - lies.signed,
                "later": list(map(str, told.faults)),
                "signed": told.signed == told.last,
                "segments": len(audit.segments(home / "journal")),
                "bytes": size,
            }
            print(json.dumps(result), flush=True)
            shutil.rmtree(home)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
