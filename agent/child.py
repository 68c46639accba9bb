"""A child that does one thing which may hang or crash: another program of this project, in a process of its own.

It gets its order as one line of JSON on the standard input, which stays open for as long as it is wanted, and answers
in lines on the standard output. It hears no Ctrl-C, sees nothing of the environment but what it is passed, and is gone
when whoever started it has done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec

ROOT = str(Path(__file__).parent.parent)
TAIL = 4096  # bytes that are kept of its standard error
died = [0]  # how many a signal ended that was not ours, since this process started: want of memory, a crash


@contextlib.asynccontextmanager
async def started(
    module: str, order: Any, passed: Iterable[str], errors: bytearray | None = None, threads: int = 0
) -> AsyncIterator[asyncio.StreamReader]:
    """What the child says, for as long as it is listened to.

    module: as `python -m` takes it; order: becomes one line of JSON; passed: names of the environment that it gets;
    errors: gets the last of what it says on the standard error; threads: of numeric libraries, 0 as they like.
    """
    environment = {name: os.environ[name] for name in passed if name in os.environ}
    environment |= {"PYTHONPATH": ROOT, "MALLOC_ARENA_MAX": "2"}
    environment |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL if errors is None else PIPE,
        start_new_session=True,  # a Ctrl-C is for the agent alone
        env=environment,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    drain = None if errors is None else asyncio.create_task(_drained(child, errors))
    try:
        child.stdin.write(msgspec.json.encode(order) + b"\n")
        yield child.stdout
    finally:
        alone = child.stdout.at_eof()  # it ended by itself
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)  # `child.kill` looks first, and may take the exit status away
        child.stdin.close()
        await child.stdout.read()  # else a full pipe would stay open
        if drain is not None:
            await drain
        code = await child.wait()
        died[0] += alone and code < 0


async def _drained(child: Process, errors: bytearray) -> None:
    """Read its standard error to the end, and keep the last of it."""
    assert child.stderr is not None
    while chunk := await child.stderr.read(TAIL):
        errors += chunk
        del errors[:-TAIL]
