"""What commands do: each kind of deed with what it may touch, and what becomes of it.

Who may, and whether at all, was judged before (`commands.py`, `desk.py`). Here the world decides: an alarm that is no
longer open, a limit out of bounds, a site file with faults are outcomes, `failed`, with the reason in words.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from . import limits, update
from .clerk import Clerk
from .commands import (
    Acknowledge,
    Clip,
    Command,
    Configure,
    Deal,
    Drill,
    Range,
    Report,
    SetLimit,
)
from .config import Config
from .core.alarm import Alarm
from .core.core import VERBS, Ack, Action, Core, Input, Memory, open_alarms
from .core.frame import Instant
from .core.ports import Clock
from .core.rules import Limited
from .desk import Result
from .hand import Hand
from .ledger import Entry, SetTo
from .outbox import Outbox

CHECK = 120.0  # s that the check of a site file may take
CLIP = 300.0  # s after the end of a clip until its manifest is there
SPAN = 60.0  # s of a clip, at most
LATER = 300.0  # s that its end may lie ahead
COMPLAINTS = 50  # faults of a site file that are told

T = TypeVar("T")


class Reach(NamedTuple):
    """What commands may touch."""

    config: Config
    clock: Clock
    outbox: Outbox
    clerk: Clerk | None
    core: Callable[[], Core]
    memory: Callable[[], Memory]
    judged: Callable[[Input], Awaitable[bool]]  # give it to the judge; whether what came of it is on the disk
    needless: Callable[[Ack], str]  # why there is nothing that it acknowledges, before or after it was judged
    limited: Callable[[Mapping[str, SetTo]], None]  # judge by these limits from now on
    limits: Callable[[], Mapping[str, SetTo]]  # that are set now
    drill: Callable[[str, str], Awaitable[dict[str, Any]]]  # name, by
    report: Callable[[], dict[str, Any]]  # have every source told whole; how everything stands
    manifest: Callable[[str], Awaitable[dict[str, Any]]]  # of the evidence of this alarm, once it is there
    digest: str  # SHA-256 of the site file when it was read
    again: Callable[[], None]  # end, and start anew


class Deeds:
    """Does what commands ask for."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self._updating = False

    async def do(self, command: Command, entry: Entry) -> Result:
        """What became of it."""
        do, by = command.do, ", ".join(entry.by)
        match do:
            case Acknowledge():
                return await self._acknowledge(do, by)
            case Deal():
                return await self._deal(do, by)
            case SetLimit():
                return self._set_limit(do, by)
            case Drill():
                return await self._drill(do, by)
            case Report():
                return Result("successful", "every source is told whole at its next poll", self.reach.report())
            case Range():
                return self._range(do, entry)
            case Clip():
                return await self._clip(do, entry, by)
            case Configure():
                return await self._configure(do, entry)

    async def _acknowledge(self, do: Acknowledge, by: str) -> Result:
        ack = Ack(do.alarm, by, self.reach.clock.now())
        if why := self.reach.needless(ack):
            return failed(why)
        stored = await self.reach.judged(ack)
        if why := self.reach.needless(ack):
            return failed(why)
        return done(f"acknowledged {do.alarm}", stored)

    async def _deal(self, do: Deal, by: str) -> Result:
        rule, channel = point(self.reach.memory(), do.point)
        verb = next(verb for verb in VERBS if verb == do.verb)
        action = Action(verb, rule, channel, by, self.reach.clock.now(), do.reason, do.seconds)  # type: ignore[arg-type]
        if why := self.reach.core().refusal(self.reach.memory(), action):
            return failed(why)
        stored = await self.reach.judged(action)
        return done(f"{verb}: {rule}@{channel}", stored)

    def _set_limit(self, do: SetLimit, by: str) -> Result:
        config = self.reach.config
        rule = next((rule for rule in config.rules if rule.name == do.rule), None)
        last = self.reach.limits().get(do.rule)
        if do.limit is None:
            if last is None:
                return failed(f"{do.rule} has the limit of the configuration")
            to = None
        else:
            why = limits.refusal(rule, config.bounds.get(do.rule), config.legal.get(do.rule), do.limit)
            if why or not isinstance(rule, Limited):
                return failed(why)
            restore = limits.restored(rule, do.limit) if do.restore is None else do.restore
            to = SetTo(do.limit, restore, by, self.reach.clock.now(), do.reason, limits.digest(rule))
            try:
                limits.changed(rule, to)
            except ValueError as error:
                return failed(f"{do.rule}: {error}")
        assert isinstance(rule, Limited)
        old = last.limit if last is not None else rule.limit
        if do.was is not None and not math.isclose(do.was, old):
            return failed(f"the limit of {do.rule} is {old:g}, not {do.was:g}")
        new = to.limit if to is not None else rule.limit
        facts = {
            "rule": do.rule,
            "old": old,
            "new": new,
            "why": do.reason,
            "of": limits.digest(rule),
            "config": config.hash,
        }
        text = f"limit of {do.rule}: {new:g}, was {old:g}"
        return Result(
            "successful", text, facts, limit=(do.rule, to), after=lambda: self.reach.limited(self.reach.limits())
        )

    async def _drill(self, do: Drill, by: str) -> Result:
        reply = await self.reach.drill(do.name, by)
        if "error" in reply:
            return failed(reply["error"])
        text = "every link is proven" if reply["proven"] else "NOT proven"
        return Result("successful" if reply["proven"] else "failed", f"drill of {do.name}: {text}", reply)

    def _range(self, do: Range, entry: Entry) -> Result:
        feed = self.reach.outbox.feeds.get(do.uplink or entry.way)
        if feed is None:
            return failed(f"to which uplink? {', '.join(self.reach.outbox.feeds)}")
        if do.last < do.first:
            return failed("`to` comes before `from`")
        feed.ask(do.boot, do.stream, do.first, do.last)
        return Result("successful", f"an event `range` says what comes to {feed.name}, and what does not")

    async def _clip(self, do: Clip, entry: Entry, by: str) -> Result:
        clerk, at = self.reach.clerk, self.reach.clock.now()
        cameras = [witness.camera for witness in clerk.witnesses] if clerk is not None else []
        if clerk is None or do.camera not in cameras:
            return failed(f"no camera {do.camera} keeps pictures; there are: {', '.join(cameras) or 'none'}")
        begin, end = (at.mono + stamp / 1000 - at.wall for stamp in (do.begin, do.end))
        if not 0 < end - begin <= SPAN:
            return failed(f"a clip is longer than 0 and at most {SPAN:g} s")
        if end - at.mono > LATER:
            return failed(f"a clip may end {LATER:g} s from now at most")
        half = (begin + end) / 2 - at.mono
        alarm = asked(entry, do, by, Instant(at.mono + half, at.wall + half, at.synced))
        coming = self.reach.manifest(alarm.id)
        clerk.ask(alarm, do.camera, begin, end)
        try:
            async with asyncio.timeout(max(0.0, end - at.mono) + CLIP):
                facts = await coming
        except TimeoutError:
            return failed(f"no manifest of {alarm.id} in time; an event `evidence-left-out` may say why")
        return Result("successful", f"evidence {facts.get('id')}", facts)

    async def _configure(self, do: Configure, entry: Entry) -> Result:
        if self._updating:
            return failed("another configuration is on its way")
        self._updating = True
        try:
            return await self._replace(do, entry)
        finally:
            self._updating = False

    async def _replace(self, do: Configure, entry: Entry) -> Result:
        config, text = self.reach.config, do.toml.encode()
        try:
            new = await apart(update.offer, config.path, text)
        except OSError as error:
            home = config.path.parent
            return failed(f"{home} cannot be written: {error.strerror}; see ReadWritePaths in systemd/vedette.service")
        except ValueError as error:
            return failed(str(error))
        told = await checked(new)
        faults = list(told.get("complaints", []))
        same = {"site": config.site.name, "node": config.site.node, "store": config.store.path}
        if not faults:
            faults = [
                f"{key} is {told.get(key)}, not {value}: that is changed on the machine itself"
                for key, value in same.items()
                if told.get(key) != value
            ]
        if faults:
            await apart(update.withdraw, config.path)
            rest = {"complaints": faults[:COMPLAINTS], "count": len(faults)}
            return Result("failed", f"{len(faults)} faults; nothing was replaced: {faults[0]}", rest, "check")
        try:
            await apart(update.switch, config.path, self.reach.digest, entry.id, entry.way)
        except (OSError, ValueError) as error:
            return failed(f"nothing was replaced: {error}")
        self.reach.again()
        return await asyncio.Event().wait()  # type: ignore[return-value]  # the next start tells what became of it


def failed(text: str) -> Result:
    return Result("failed", text, reason="refused")


def done(text: str, stored: bool) -> Result:
    """What the judge did; its disk may be in trouble, which is told apart."""
    return Result("successful", text if stored else f"{text}; not on the disk yet")


def point(memory: Memory, name: str) -> tuple[str, str]:
    """Rule and channel that are meant by RULE@CHANNEL, or by the id of an open alarm."""
    for alarm in open_alarms(memory):
        if alarm.id == name:
            return alarm.point
    rule, _, channel = name.partition("@")
    return rule, channel


def asked(entry: Entry, do: Clip, by: str, at: Instant) -> Alarm:
    """What a clip is kept for that no alarm asked for: it is about `at`, the middle of it."""
    return Alarm(
        id=entry.id.replace(".", "_"),
        edge=1,
        event="raised",
        state="normal",
        rule="clip",
        channel=do.camera,
        level="blue",
        value=None,
        limit=None,
        unit="",
        since=at,
        at=at,
        text=do.reason or "asked for",
        by=by,
        reason=do.reason,
    )


async def checked(path: Path) -> dict[str, Any]:
    """What `vedette check` says of a site file, in a process of its own."""
    command = [sys.executable, "-m", "agent.cli", "check", "--json", "-c", str(path)]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(CHECK):
            out, errors = await child.communicate()
    except TimeoutError:
        return {"complaints": [f"the check did not end in {CHECK:g} s"]}
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    try:
        told = msgspec.json.decode(out, type=dict[str, Any])
    except msgspec.DecodeError:
        told = {}
    if child.returncode == 0 and told:
        return told
    last = errors.decode(errors="replace").strip().splitlines()[-1:]
    return {"complaints": told.get("complaints") or last or [f"the check ended with {child.returncode}"]}


async def apart(job: Callable[..., T], *args: Any) -> T:
    """A job that blocks, in a thread of its own."""
    hand = Hand("update")
    try:
        return await hand.do(job, *args)
    finally:
        hand.end()
