"""The desk: commands come in, are judged, written down, done and answered. At most once, whatever is killed meanwhile.

    heard -> judged -> counter and entry on the disk -> told: accepted -> executing -> done -> on the disk -> told

A command that was accepted and whose end is not on the disk when the agent starts again may have been done or not:
it is told as failed, `unknown`, and never tried again. What was told before the disk of journal and store had it is
told once more, with `again`. Whoever sends a command twice hears `rejected`, `counter`, and in `was` what became of the
first; that changes nothing.

What uses up no counter costs whoever sends it nothing: what nobody signed, and copies of what somebody did. It is told
`FREE` times a minute at most, and then counted, and is not answered on topics that its sender may choose.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct, structs

from . import ledger as book
from .commands import FINAL, Command, Here, Issuer, Rules, Verdict, brief, judge, known
from .core.frame import Instant
from .core.ports import Clock, Event
from .hand import Hand
from .ledger import Entry, Ledger, SetTo

WAITING = 64  # envelopes that wait to be judged; what comes beyond is not heard
UNDERWAY = 16  # commands that are being done at a time
FREE = 20  # refusals a minute of what uses up no counter; project
MINUTE = 60.0  # s
CHALLENGE = 600.0  # s that a challenge may be used
CHALLENGES = 16  # that are remembered
PULSE = 2.0  # s between looks

Reply = Callable[[dict[str, Any]], None]  # hears each state; must not block
Note = Callable[[Event, dict[str, Any]], None]  # an event for all, and what only the journal gets
Kept = Callable[[], Awaitable[bool]]  # whether the disks have what was noted until now


class Result(Struct, frozen=True):
    """What became of a command. `limit`: (rule, limit or None) to be written in the same stroke as the outcome."""

    state: str  # successful or failed
    text: str
    facts: dict[str, Any] = {}
    reason: str = ""
    limit: tuple[str, SetTo | None] | None = None
    after: Callable[[], None] | None = None  # once that is on the disk


Do = Callable[[Command, Entry], Awaitable[Result]]


class Heard(NamedTuple):
    """An envelope as it came."""

    envelope: bytes
    way: str
    topic: str
    reply: Reply


class Desk:
    """The commands of one node. Made inside the loop."""

    def __init__(
        self,
        folder: Path,
        remembered: Ledger,
        rules: Rules,
        issuers: Collection[Issuer],
        device: str,
        config: str,
        clock: Clock,
        note: Note,
        kept: Kept,
        do: Do,
    ) -> None:
        self.folder, self.ledger = folder, remembered
        self.rules, self.issuers = rules, known(issuers)
        self.device, self.config, self.clock = device, config, clock
        self.note, self.kept, self.do = note, kept, do
        self.spared = ""  # id of a command whose end this life is to find out
        self._inbox: deque[Heard] = deque()
        self._news = asyncio.Event()
        self._hand = Hand("commands")
        self._lock = asyncio.Lock()
        self._doing: set[asyncio.Task[None]] = set()
        self._keeping: set[asyncio.Task[None]] = set()
        self._replies: dict[str, Reply] = {}
        self._challenges: dict[str, float] = {}  # -> monotonic s until which it may be used
        self._free: deque[float] = deque()  # when refusals were told that cost nobody a counter
        self._uncounted = 0  # of them, those that were not told; and what was not heard
        self._dirty = False
        self._settled = False

    def turn(self, ledger: Ledger, rules: Rules, issuers: Collection[Issuer], config: str) -> None:
        """Another configuration: who may command, and which limits are still set."""
        self._dirty |= ledger is not self.ledger
        self.ledger, self.rules, self.issuers, self.config = ledger, rules, known(issuers), config

    # -- coming in ------------------------------------------------------------------------------------

    def heard(self, envelope: bytes, way: str, topic: str, reply: Reply) -> None:
        """Somebody sent this. Returns at once; `reply` hears what becomes of it, until its end."""
        if len(self._inbox) >= WAITING:
            self._uncounted += 1
            reply(self._said("", "rejected", "busy", f"{WAITING} commands wait; send it again", (), False, {}))
            return
        self._inbox.append(Heard(envelope, way, topic, reply))
        self._news.set()

    async def serve(self, renew: Callable[[], None] = lambda: None) -> None:
        """Judge and do until cancelled."""
        if not self._settled:
            await self.settle()
        try:
            while True:
                renew()
                try:
                    async with asyncio.timeout(PULSE):
                        await self._news.wait()
                except TimeoutError:
                    await self._tidy()
                    continue
                self._news.clear()
                while self._inbox:
                    renew()
                    await self.take(self._inbox.popleft())
                for task in [task for task in self._doing if task.done()]:
                    self._doing.discard(task)
                    task.result()  # a mistake of ours costs this leaf; the others end as unknown
        finally:
            self._settled = False
            for task in self._doing:
                task.cancel()
            self._doing.clear()

    async def take(self, heard: Heard) -> None:
        """Judge one, and begin it if it is to be done."""
        at = self.clock.now()
        self._challenges = {one: until for one, until in self._challenges.items() if until > at.mono}
        self._begin_to_remember(at)
        verdict = judge(heard.envelope, self.here(), at)
        command = verdict.command
        if not verdict.spends or command is None:
            self._refuse(verdict, heard)
            return
        self._challenges.pop(command.challenge, None)
        self.ledger = self.ledger.spent(verdict.spends, command.counter)  # in this life whatever the disk says
        if verdict.state == "accepted" and len(self._doing) >= UNDERWAY:
            verdict = verdict._replace(state="rejected", reason="busy", text=f"{UNDERWAY} commands are under way")
        entry = Entry(
            command.id, command.do.verb, command.issuer, verdict.by, verdict.sha256, at, heard.way, heard.topic
        )
        if verdict.state == "accepted":
            self.ledger = self.ledger.put(entry)
        if (why := await self._write()) and verdict.state == "accepted":
            self.ledger = self.ledger.without(entry.id)
            text = f"it cannot be written down, so it is not done: {why}"
            verdict = verdict._replace(state="rejected", reason="store", text=text)
        if verdict.state != "accepted":
            self._refuse(verdict, heard)
            return
        self._replies[entry.id] = heard.reply
        self._tell(entry, "accepted", "", "", {}, self._more(verdict, heard))
        task = asyncio.create_task(self._done(command, entry), name=f"command {entry.id}")
        task.add_done_callback(lambda _: self._news.set())
        self._doing.add(task)

    def _begin_to_remember(self, at: Instant) -> None:
        """A ledger that is new does not know what was done before; from now on it does."""
        if self.ledger.floor is None and at.synced:
            self.ledger, self._dirty = structs.replace(self.ledger, floor=at.wall), True

    def here(self) -> Here:
        """What commands are judged by now."""
        floor = self.ledger.floor
        return Here(
            self.device,
            self.config,
            self.issuers,
            self.rules.two,
            self.rules.lifetime,
            self.ledger.counters,
            float("inf") if floor is None else floor,
            self._challenges.keys(),
        )

    # -- doing ----------------------------------------------------------------------------------------

    async def _done(self, command: Command, entry: Entry) -> None:
        self._tell(entry, "executing", "", "", {})
        result = await self.do(command, entry)
        await self.end(entry.id, result)

    async def end(self, id: str, result: Result) -> None:
        """A command is over: written down, then told. One that was over before stays as it was."""
        entry = self.ledger.entries.get(id)
        if entry is None or entry.is_over:
            return
        former = self.ledger.limits.get(result.limit[0]) if result.limit is not None else None
        if result.limit is not None:
            self.ledger = self.ledger.limited(*result.limit)
        self.ledger = self.ledger.ended(id, result.state, result.reason, result.text, result.facts)
        why = await self._write()
        if why and result.limit is not None:
            text = f"it cannot be written down, so it is not done: {why}"
            self.ledger = self.ledger.limited(result.limit[0], former).without(id).put(entry)
            self.ledger = self.ledger.ended(id, "failed", "store", text, {})
        elif result.after is not None:
            result.after()
        self._tell_end(id)

    async def settle(self) -> None:
        """What an earlier life left: commands of which nobody knows the end, outcomes that may not be told."""
        self._settled = True
        self._begin_to_remember(self.clock.now())
        for entry in list(self.ledger.entries.values()):
            if not entry.is_over and entry.id != self.spared:
                text = (
                    "the agent ended while it was under way; nobody knows whether it was done: look before asking again"
                )
                self.ledger = self.ledger.ended(entry.id, "failed", "unknown", text, {})
                await self._write()
            if self.ledger.entries[entry.id].is_over and not entry.told:
                self._tell_end(entry.id, again=entry.is_over)

    def _tell_end(self, id: str, again: bool = False) -> None:
        entry = self.ledger.entries[id]
        facts = {**entry.facts, **({"again": True} if again else {})}
        self._tell(entry, entry.state, entry.reason, entry.text, facts)
        task = asyncio.create_task(self._keep(id), name=f"command {id} told")
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _keep(self, id: str) -> None:
        """Once the disks have it, nobody need be told again."""
        if await self.kept() and (entry := self.ledger.entries.get(id)) is not None:
            self.ledger = self.ledger.put(structs.replace(entry, told=True))
            self._dirty = True

    async def _tidy(self) -> None:
        """Nothing is asked: write what is not urgent; count what nobody signed."""
        now = self.clock.now()
        self._begin_to_remember(now)
        if self._dirty:
            await self._write()
        if self._uncounted and (not self._free or now.mono - self._free[-1] > MINUTE):
            text = f"{self._uncounted} more commands were refused: nobody signed them, they were copies, or too many"
            facts = {"state": "rejected", "reason": "many", "count": self._uncounted}
            self._uncounted = 0
            self.note(Event("command", "commands", now, text, facts), {})

    async def _write(self) -> str:
        """Put the ledger on the disk. Why that failed, in words."""
        async with self._lock:
            self._dirty = False
            try:
                await self._hand.do(book.write, self.folder, self.ledger)
            except OSError as error:
                self._dirty = True
                return f"{book.NAME}: {error.strerror or error}"
        return ""

    async def close(self) -> None:
        """Write what is not written yet."""
        for task in self._keeping:
            task.cancel()
        if self._dirty:
            await self._write()
        self._hand.end()

    # -- telling --------------------------------------------------------------------------------------

    def _refuse(self, verdict: Verdict, heard: Heard) -> None:
        """Tell why it is not done; what nobody signed only so often."""
        now, command = self.clock.now(), verdict.command
        facts: dict[str, Any] = {}
        if verdict.reason == "clock":
            facts["challenge"] = self._challenge(now.mono)
        if command is not None and verdict.reason == "counter":
            entry = self.ledger.entries.get(command.id)
            if entry is not None and entry.sha256 == verdict.sha256:
                facts["was"] = entry.state
        id = command.id if command is not None else ""
        spent = bool(verdict.spends)
        heard.reply(self._said(id, verdict.state, verdict.reason, verdict.text, verdict.by, spent, facts))
        if not spent:
            while self._free and now.mono - self._free[0] > MINUTE:
                self._free.popleft()
            if len(self._free) >= FREE:
                self._uncounted += 1
                return
            self._free.append(now.mono)
        if command is not None:
            facts |= {"verb": command.do.verb, "issuer": command.issuer, "by": verdict.by}
        facts = {"id": id, "topic": heard.topic, "state": verdict.state, "reason": verdict.reason, **facts}
        whose = command.issuer if command is not None else heard.way or "commands"
        text = f"command {id or heard.topic} {verdict.state}: {verdict.text}"
        self.note(Event("command", whose, now, text, facts), self._more(verdict, heard))

    def _tell(
        self,
        entry: Entry,
        state: str,
        reason: str,
        text: str,
        facts: dict[str, Any],
        more: dict[str, Any] | None = None,
    ) -> None:
        """Say it to whoever asked, to every platform and to the journal."""
        reply = self._replies.get(entry.id)
        if reply is not None:
            reply(self._said(entry.id, state, reason, text, entry.by, True, facts))
        if state in FINAL:
            self._replies.pop(entry.id, None)
        whose = {"verb": entry.verb, "issuer": entry.issuer, "by": entry.by}
        named = {"id": entry.id, "topic": entry.topic or entry.id, "state": state, "reason": reason}
        words = f"command {entry.id} ({entry.verb}) of {', '.join(entry.by)} {state}" + (f": {text}" if text else "")
        event = Event("command", entry.issuer, self.clock.now(), words, {**named, **whose, **facts})
        self.note(event, {"sha256": entry.sha256, **(more or {})})

    def _said(
        self, id: str, state: str, reason: str, text: str, by: tuple[str, ...], spent: bool, facts: dict[str, Any]
    ) -> dict[str, Any]:
        """What a reply hears. `spent`: a counter is used up; it is new, and of somebody who may command."""
        at = self.clock.now()
        named = {"schema": "vedette.outcome/1", "id": id, "state": state, "reason": reason, "text": text, "by": by}
        return {**named, "spent": spent, "at": round(1000 * at.wall), "synced": at.synced, **facts}

    @staticmethod
    def _more(verdict: Verdict, heard: Heard) -> dict[str, Any]:
        """What the journal has beside: who can prove what he asked for, and by which way it came."""
        more: dict[str, Any] = {"way": heard.way, "sha256": verdict.sha256}
        if verdict.command is not None:
            more |= {"do": brief(verdict.command), "counter": verdict.command.counter}
        if verdict.by and len(heard.envelope) <= JOURNALED:
            more["envelope"] = heard.envelope.decode(errors="replace")
        return more

    def _challenge(self, now: float) -> str:
        while len(self._challenges) >= CHALLENGES:
            del self._challenges[next(iter(self._challenges))]
        one = secrets.token_urlsafe(16)
        self._challenges[one] = now + CHALLENGE
        return one


JOURNALED = 8 * 1024  # bytes of an envelope that the journal has whole; of a larger one its hash
