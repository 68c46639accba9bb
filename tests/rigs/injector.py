"""An agent in which any task and any callback can be made to throw or to hang, by name, from outside.

    VEDETTE_INJECT=path python -m tests.rigs.injector SABOTAGE run -c site.toml

At the Unix socket `path` it takes one JSON object per line, {"verb": ..., "what": name}, and answers with one:

    seen             names of the tasks and callbacks that ran so far, a sorted list
    throw            the next step of this task, or the next call of this callback, raises `Injected`, once
    hang             the task waits for ever, no timeout of its own ends that; cancelled from outside, it ends. A job
                     of a thread never returns
    deaf             the task waits for ever and swallows cancellations
    sick, well       it throws each time from now on; it does no longer
    block            the event loop itself stands still

A hit is answered when it happened, with its time. Names: a task's own, or `coroutine()` where it has none; a
callback's qualified name; `protocol Class.method`; `thread name: function`. Nothing of the agent knows of this: the
loop's task factory, `Handle._run`, `Hand.do` and the callbacks of protocols and of paho are wrapped at the start.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import json
import os
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

OURS = ("agent", "drivers", "models")
PATIENCE = 20.0  # s that an order waits for its victim to come by


class Injected(Exception):
    """What is thrown: nobody expects it."""


class Injector:
    """Orders that wait for their victim, and who was seen."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._orders: dict[str, str] = {}  # name -> verb
        self._hit = threading.Condition()
        self._hits: dict[str, float] = {}
        self.hanging: set[asyncio.Task[Any] | None] = set()
        self.loop: asyncio.AbstractEventLoop | None = None

    def verdict(self, name: str) -> str:
        """What is to happen to `name` now, "" for nothing. Hits are counted here."""
        self.seen.add(name)
        verb = self._orders.get(name, "")
        if verb:
            if verb != "sick":
                del self._orders[name]
            with self._hit:
                self._hits.setdefault(name, time.monotonic())
                self._hit.notify_all()
        return verb

    def order(self, verb: str, name: str) -> dict[str, Any]:
        """Runs in the socket's thread."""
        if verb == "seen":
            return {"seen": sorted(self.seen)}
        assert self.loop is not None
        if verb == "block":
            self.loop.call_soon_threadsafe(self._stand_still)
            return {"at": time.monotonic()}
        if verb == "well":
            self._orders.pop(name, None)
            return {"at": time.monotonic()}
        self._hits.pop(name, None)
        self._orders[name] = verb
        self.loop.call_soon_threadsafe(self._wake, name)
        with self._hit:
            if self._hit.wait_for(lambda: name in self._hits, PATIENCE):
                return {"at": self._hits[name]}
        self._orders.pop(name, None)
        return {"error": f"{name} did not come by in {PATIENCE:g} s"}

    def _wake(self, name: str) -> None:
        """A task that waits is made to take its next step: `puppet` turns this cancellation into what was ordered."""
        assert self.loop is not None
        victim = next((task for task in asyncio.all_tasks(self.loop) if title(task) == name), None)
        if victim is not None and name in self._orders:
            victim.cancel()

    @staticmethod
    def _stand_still() -> None:
        while True:
            time.sleep(1)

    # -- victims ------------------------------------------------------------------------------------

    def call(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`function`, or what was ordered for it."""
        if verb := self.verdict(name):
            if verb == "hang":  # of a thread
                threading.Event().wait()
            raise Injected(name)
        return function(*args, **kwargs)

    def serve(self, path: str) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            Path(path).unlink(missing_ok=True)
            server.bind(path)
            server.listen(8)
            while True:
                peer, _ = server.accept()
                threading.Thread(target=self._speak, args=(peer,), daemon=True).start()

    def _speak(self, peer: socket.socket) -> None:
        with peer, peer.makefile("rwb") as stream:
            for line in stream:
                asked = json.loads(line)
                stream.write(json.dumps(self.order(asked["verb"], asked.get("what", ""))).encode() + b"\n")
                stream.flush()


INJECTOR = Injector()


def strike(path: Path, verb: str, name: str = "") -> dict[str, Any]:
    """What the injector at `path` answers; `at` is the monotonic time of the hit. Blocks until the victim came by."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE + 10.0)
        sock.connect(str(path))
        sock.sendall(json.dumps({"verb": verb, "what": name}).encode() + b"\n")
        return json.loads(sock.makefile().readline())  # type: ignore[no-any-return]


def title(task: asyncio.Task[Any]) -> str:
    """The task's name, or that of its coroutine where nobody gave it one."""
    name = task.get_name()
    if name.startswith("Task-"):
        return f"{getattr(task.get_coro(), '__qualname__', '?').removeprefix('puppet of ')}()"
    return name


@types.coroutine
def puppet(inner: Any) -> Generator[Any, Any, Any]:
    """`inner`, step by step; before each step it may be told otherwise."""
    step = functools.partial(inner.send, None)
    deaf = False
    while True:
        task = asyncio.current_task()
        verb = INJECTOR.verdict(title(task)) if task is not None else ""
        if verb:
            if step.func == inner.throw and task is not None:
                task.uncancel()
            if verb in ("throw", "sick"):
                step = functools.partial(inner.throw, Injected(title(task)))
            else:
                deaf = verb == "deaf"
                INJECTOR.hanging.add(task)
                while True:
                    try:
                        yield from asyncio.get_running_loop().create_future()
                    except BaseException as error:
                        if not deaf:
                            step = functools.partial(inner.throw, error)
                            break
        try:
            awaited = step()
        except StopIteration as end:
            return end.value
        try:
            step = functools.partial(inner.send, (yield awaited))
        except BaseException as error:
            step = functools.partial(inner.throw, error)


def factory(loop: asyncio.AbstractEventLoop, inner: Any, **more: Any) -> asyncio.Task[Any]:
    async def hung() -> Any:
        return await puppet(inner)

    hung.__qualname__ = hung.__name__ = f"puppet of {getattr(inner, '__qualname__', '?')}"
    coroutine = hung()
    coroutine.__qualname__ = hung.__qualname__
    return asyncio.Task(coroutine, loop=loop, **more)


class Policy(asyncio.DefaultEventLoopPolicy):
    """Loops whose tasks are puppets."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = INJECTOR.loop = super().new_event_loop()
        loop.set_task_factory(factory)  # type: ignore[arg-type]
        return loop


def callback_name(callback: Any) -> str:
    """Of what the loop is about to call: its name if it is ours or was given by us, else ""."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    function = getattr(callback, "__func__", callback)
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__qualname__", "")
    if module.split(".")[0] in OURS:
        return name
    return name if name == "Event.set" else ""


def install() -> None:
    """Wrap everything that the loop, transports, paho and threads call."""
    run = asyncio.Handle._run  # type: ignore[attr-defined]

    def watched(handle: Any) -> None:
        name = callback_name(handle._callback)
        if name:
            handle._callback = functools.partial(INJECTOR.call, name, handle._callback)
        run(handle)

    asyncio.Handle._run = watched  # type: ignore[attr-defined]
    end = asyncio.Timeout._on_timeout  # type: ignore[attr-defined]

    def may_end(timeout: Any) -> None:
        if timeout._task not in INJECTOR.hanging:  # else its own timeout would heal it
            end(timeout)

    asyncio.Timeout._on_timeout = may_end  # type: ignore[attr-defined]
    for module in ("agent.daemon", "agent.uplink.mqtt", "drivers.modbus"):  # and all that they import
        importlib.import_module(module)
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        _wrap(sys.modules[name])


def _wrap(module: types.ModuleType) -> None:
    from agent.hand import Hand

    for _, kind in inspect.getmembers(module, inspect.isclass):
        if kind.__module__ != module.__name__:
            continue
        protocol = issubclass(kind, asyncio.BaseProtocol)
        for name, function in list(vars(kind).items()):
            if isinstance(function, types.FunctionType) and (name.startswith("_on_") or (protocol and name in EVENTS)):
                setattr(kind, name, _victim(f"protocol {kind.__name__}.{name}", function))
    if module.__name__ == Hand.__module__:
        begin, do = Hand.__init__, Hand.do

        def named(self: Hand, name: str) -> None:
            self._injected = name  # type: ignore[attr-defined]
            begin(self, name)

        def done(self: Hand, job: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            name = f"thread {self._injected}: {getattr(job, '__name__', '?')}"  # type: ignore[attr-defined]
            return do(self, functools.partial(INJECTOR.call, name, job), *args, **kwargs)

        Hand.__init__, Hand.do = named, done  # type: ignore[method-assign]


EVENTS = ("connection_made", "data_received", "connection_lost", "eof_received")


def _victim(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def victim(*args: Any, **kwargs: Any) -> Any:
        return INJECTOR.call(name, function, *args, **kwargs)

    return victim


if __name__ == "__main__":
    from agent.cli import main
    from tests.rigs.injector import INJECTOR as THE_ONE  # this file is __main__: the module itself must be only one
    from tests.rigs.injector import Policy as OnePolicy
    from tests.rigs.injector import install as install_once
    from tests.rigs.sabotage import sabotaged

    install_once()
    asyncio.set_event_loop_policy(OnePolicy())
    threading.Thread(target=THE_ONE.serve, args=(os.environ["VEDETTE_INJECT"],), daemon=True).start()
    with sabotaged(sys.argv[1]):
        raise SystemExit(main(sys.argv[2:]))
