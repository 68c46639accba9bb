"""A thread for what blocks: disks, names, handshakes. The event loop asks and goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Hand:
    """A thread that does one job after the other, for callers in an event loop.

    A daemon: a disk or a name server that never answers must not keep the process from ending. It keeps nothing of a
    job that is done, be it that it failed: what nobody needs any more goes at once, and not when the collector comes.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def do(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """The job's result or error, when it is its turn."""
        loop = asyncio.get_running_loop()
        promised: asyncio.Future[T] = loop.create_future()
        waiting: asyncio.Future[T] | None = promised

        def settle(result: T | None, error: BaseException | None) -> None:
            nonlocal waiting  # an error knows the frames it came through: none may know who has the error
            future, waiting = waiting, None
            if future is None or future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def run() -> None:
            result, failure = None, None
            try:
                result = job(*args, **kwargs)
            except BaseException as error:  # handed to the caller, who decides
                failure = error
            try:
                loop.call_soon_threadsafe(settle, result, failure)
            except RuntimeError:
                pass  # the loop ended first; nobody is waiting any more
            finally:
                del result, failure

        self._jobs.put(run)
        return promised

    def end(self) -> None:
        """Stop after the jobs already given."""
        self._jobs.put(None)

    def _work(self) -> None:
        while self._do_next():
            pass

    def _do_next(self) -> bool:
        """Whether there was one. A call of its own, so that nothing of a job is kept while the next one is awaited: the
        last one may have been given megabytes, an hour ago."""
        job = self._jobs.get()
        if job is not None:
            job()
        return job is not None
