"""A child that does one thing which may hang or crash: another program of this project, in a process of its own.

It gets its order as one line of JSON on the standard input, which stays open for as long as it is wanted, and answers
in lines on the standard output. It hears no Ctrl-C, sees nothing of the environment but what it is passed, and is gone
when whoever started it has done.

Where `VEDETTE_VIDEO` names a socket of systemd, the process is not ours but one that systemd starts for each connection
(`vedette-video@.service`), with limits and devices of its own: it gets the ends of our pipes, and we a handle by which
it can be killed. The connection stays open, and it says goodbye there when it ends of its own will: how it ended, the
kernel tells its parent alone. For both sides all else is the same.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from .core.errors import LineLost

ROOT = str(Path(__file__).parent.parent)
TAIL = 4096  # bytes that are kept of its standard error
died = [0]  # how many ended neither by our hand nor of their own will since this process started: memory, a crash
SOCKET = "VEDETTE_VIDEO"  # of the environment: where processes are to be had
HIRING = 20.0  # s until such a process says who it is; a busy gateway takes seconds to start Python
MOST = 65536  # bytes of what one is told first
DIED = b"\nvedette: the process died\n"  # the last of its standard error, where that is so
PR_SET_PDEATHSIG = 1  # prctl(2)

hired = False  # this process is one that systemd started for somebody: its parent means nothing
_wanting: list[socket.socket] = []  # who hired this process


@contextlib.asynccontextmanager
async def started(
    module: str, order: Any, passed: Iterable[str], errors: bytearray | None = None, threads: int = 0
) -> AsyncIterator[asyncio.StreamReader]:
    """What the child says, for as long as it is listened to.

    module: as `python -m` takes it; order: becomes one line of JSON; passed: names of the environment that it gets;
    errors: gets the last of what it says on the standard error, and `DIED` at last if it did not end of its own will;
    threads: of numeric libraries, 0 as they like.
    """
    environment = {name: os.environ[name] for name in passed if name in os.environ}
    environment |= {"MALLOC_ARENA_MAX": "2"}
    environment |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
    begun = _hired if os.environ.get(SOCKET) else _forked
    async with begun(module, environment, msgspec.json.encode(order) + b"\n", errors) as lines:
        yield lines


@contextlib.asynccontextmanager
async def _forked(
    module: str, environment: dict[str, str], order: bytes, errors: bytearray | None
) -> AsyncIterator[asyncio.StreamReader]:
    """A child of this process."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL if errors is None else PIPE,
        start_new_session=True,  # a Ctrl-C is for the agent alone
        env=environment | {"PYTHONPATH": ROOT},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    drain = None if errors is None else asyncio.create_task(_drained(child.stderr, errors))
    try:
        child.stdin.write(order)
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
        if await child.wait() < 0 and alone:
            _died(errors)


def _died(errors: bytearray | None) -> None:
    died[0] += 1
    if errors is not None:
        errors += DIED


async def _drained(stream: asyncio.StreamReader | None, errors: bytearray) -> None:
    """Read its standard error to the end, and keep the last of it."""
    assert stream is not None
    while chunk := await stream.read(TAIL):
        errors += chunk
        del errors[:-TAIL]


# -- a process of somebody else's ---------------------------------------------------------------------


class Post(msgspec.Struct, frozen=True):
    """What a process that systemd started is told first, beside the ends of three pipes."""

    module: str
    environment: dict[str, str]


@contextlib.asynccontextmanager
async def _hired(
    module: str, environment: dict[str, str], order: bytes, errors: bytearray | None
) -> AsyncIterator[asyncio.StreamReader]:
    """A process that systemd starts. Raises `LineLost`: there is none to be had."""
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        read, write = zip(*(os.pipe() for _ in range(3)), strict=True)  # input, output, errors
        ours, theirs = (write[0], read[1], read[2]), (read[0], write[1], write[2])
        files = [stack.enter_context(os.fdopen(end, "wb" if i == 0 else "rb", 0)) for i, end in enumerate(ours)]
        try:
            line = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            handle = await _posted(line, os.environ[SOCKET], msgspec.json.encode(Post(module, environment)), theirs)
        except (OSError, EOFError, TimeoutError) as error:
            raise LineLost(f"{os.environ[SOCKET]}: no process for pictures: {error or 'no answer'}") from None
        finally:
            for end in theirs:
                os.close(end)
        stack.callback(os.close, handle)
        stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, files[0])
        stdout, stderr = asyncio.StreamReader(), asyncio.StreamReader()
        for reader, file in ((stdout, files[1]), (stderr, files[2])):
            await loop.connect_read_pipe(lambda reader=reader: asyncio.StreamReaderProtocol(reader), file)  # type: ignore[misc]
        drain = asyncio.create_task(_drained(stderr, bytearray() if errors is None else errors))
        try:
            stdin.write(order)
            yield stdout
        finally:
            alone = stdout.at_eof()
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            stdin.close()
            await stdout.read()
            await drain
            if alone and not _said_goodbye(line):
                _died(errors)


def _said_goodbye(line: socket.socket) -> bool:
    """Whether a hired process, whose pipes are at their end, had time to say so."""
    try:
        return line.recv(1) != b""
    except OSError:  # nothing is there, or nobody
        return False


async def _posted(line: socket.socket, path: str, post: bytes, ends: Iterable[int]) -> int:
    """Hand the ends of the pipes to a new process; the handle (pidfd) of that. Raises `OSError`, `TimeoutError`."""
    loop = asyncio.get_running_loop()
    line.setblocking(False)
    async with asyncio.timeout(HIRING):
        await loop.sock_connect(line, path)
        socket.send_fds(line, [post + b"\n"], list(ends))
        answered = asyncio.Event()
        loop.add_reader(line, answered.set)
        try:
            await answered.wait()
        finally:
            loop.remove_reader(line)
    _, handles, _, _ = socket.recv_fds(line, 1, 1)
    if not handles:
        raise EOFError("it ended at once: see the log of vedette-video@")
    return handles[0]


def hire() -> Post:
    """The other side: take the post that stands at the standard input, with its pipes. Raises `EOFError`.

    The standard input, output and error are the pipes afterwards, and the environment is the one of the post.
    """
    global hired
    line = socket.socket(fileno=os.dup(0))
    text, ends = b"", array.array("i")
    while not text.endswith(b"\n"):
        some, more, _, _ = socket.recv_fds(line, MOST, 3)
        text, ends = text + some, ends + array.array("i", more)
        if not some or len(text) > MOST:
            raise EOFError("nobody said what is wanted")
    post = msgspec.json.decode(text, type=Post)
    socket.send_fds(line, [b"\n"], [os.pidfd_open(os.getpid())])
    _wanting.append(line)
    for number, end in enumerate(ends):
        os.dup2(end, number)
        os.close(end)
    for name in set(os.environ) - set(post.environment):
        del os.environ[name]
    os.environ.update(post.environment)
    hired = True
    return post


def leave(code: int) -> NoReturn:
    """End this process at once and of its own will, without clean-up: threads of FFmpeg may hang."""
    goodbye()
    os._exit(code)


def goodbye() -> None:
    """Tell whoever hired this process that it ends of its own will."""
    while _wanting:
        with _wanting.pop() as line, contextlib.suppress(OSError):  # nobody is there
            line.send(b"\n", socket.MSG_DONTWAIT)


def bound(parent: int) -> bool:
    """Whether `parent` (process id) still lives that wants this process, which from now on ends with it.

    One that was hired ends when its standard input does, as all do: whoever calls this sees to that.
    """
    if hired:
        return True
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent
