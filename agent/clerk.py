"""The clerk: for each alarm that a camera looks at, it sees to it that what the camera showed is kept.

    alarm -> note it on the disk, hold the reels -> time passes -> encoder -> manifest -> journal and platforms

An alarm never waits for it. What it noted is done again at the next start, whatever was killed meanwhile; what it could
not note in time, or has no room for, is told (`evidence-left-out`), and so is all that it deletes. Alarms of one camera
that are close together share a clip; one clip is made at a time, by a process of its own at the lowest priority.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from . import child, evidence
from .core.alarm import EVENT_NAMES, Alarm
from .core.alarm import Event as Edge
from .core.frame import Frame, Instant
from .core.naming import matching
from .core.ports import Clock, Event, Witness
from .evidence import Clip, Guard, Job, Made, Manifest, Shelf, Wanted
from .hand import Hand

LONGEST = 60.0  # s of a clip that alarms share; project
MEMBERS = 64  # alarms that share one
WAITING = 8  # clips of one camera that wait; what comes beyond is told and left out
MARGIN = 1.0  # s after the span until its last picture is on the disk
PULSE = 0.5  # s between two looks
HOLD = 2.0  # s between two looks for new reels of a span that is not over: longer than none of a ring
SILENCE = 300.0  # s without a word, after which an encoder is killed: VP9 ends with 25 pictures that it held back
TRIES = 3  # of an encoder; then the reels themselves are the evidence
PAUSE = 5.0  # s between two tries
PATIENCE = 60.0  # s that the disk may refuse to note an alarm
CHECK = 60.0  # s between looks at the room
ROWS = 200_000  # values kept of one source, for the table beside
PAST = 120.0  # s of these
STILLS = (0.5, 0.0, 0.5)  # where the three stills are: half-way before, the decision, half-way after
PASSED = ("PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV")  # environment of the encoder

Keep = Callable[[Event, str, str], Awaitable[bool]]  # tell of evidence, with alarm id and what the alarm says of it


class Group:
    """Alarms of one camera that share a clip."""

    def __init__(self, want: Wanted, due: float) -> None:
        self.wants = [want]
        self.begin, self.end, self.due = want.begin, want.end, due  # monotonic s
        self.tries = 0

    def takes(self, want: Wanted) -> bool:
        """Whether it overlaps, and the clip would not become too long."""
        begin, end = min(self.begin, want.begin), max(self.end, want.end)
        same = self.wants[0].camera == want.camera and self.wants[0].kernel == want.kernel
        return same and want.begin <= self.end and self.begin <= want.end and end - begin <= LONGEST

    def add(self, want: Wanted, due: float) -> None:
        self.wants.append(want)
        self.begin, self.end = min(self.begin, want.begin), max(self.end, want.end)
        self.due = max(self.due, due)


class Clerk:
    """Keeps the evidence of one site. Made inside the loop.

    `keep` tells the journal and the platforms of a piece, and says whether both have it on the disk.
    """

    def __init__(
        self,
        settings: Shelf,
        witnesses: Sequence[Witness],
        channels: Iterable[str],
        kernel: str,
        clock: Clock,
        tell: Callable[[Event], None],
        keep: Keep,
    ) -> None:
        self.settings, self.shelf, self.kernel, self.clock = settings, Path(settings.path), kernel, clock
        self.tell, self.keep = tell, keep
        self.troubles: dict[str, str] = {}  # what is wrong now: with the ring of a camera, the disk, the room
        self._rows: dict[str, deque[Frame]] = {}
        self.turn(witnesses, channels)
        self._new: list[tuple[Wanted, float]] = []  # not noted yet, and since when
        self._open: list[Group] = []  # their span is not over
        self._ready: deque[Group] = deque()
        self._born: set[str] = set()  # ids that were noted in this life: their rows are in memory
        self._left: dict[str, list[str]] = {}  # camera -> alarms that were left out, and nobody was told
        self._why = ""
        self._hand = Hand("evidence")
        self._news, self._work = asyncio.Event(), asyncio.Event()
        self._recalled = False
        self._checked = float("-inf")

    def turn(self, witnesses: Sequence[Witness], channels: Iterable[str], moved: Iterable[str] = ()) -> None:
        """These cameras look at these channels from now on; the sources that `moved` have others than before."""
        for source in moved:
            self._rows.pop(source, None)
        names = dict.fromkeys(channels)
        self.witnesses = witnesses
        self._watched = [self._eyes(witness, names) for witness in witnesses]
        self._sources = {name.partition("/")[0] for watched in self._watched for name in watched}

    @staticmethod
    def _eyes(witness: Witness, names: dict[str, None]) -> set[str]:
        """The channels that it looks at, and their sources: a silent one has no channel."""
        seen = set(matching(witness.looks_at, names))
        return seen | {name.partition("/")[0] for name in seen} | set(witness.own)

    # -- what the judge says; nothing here waits ------------------------------------------------------

    def frame(self, frame: Frame) -> None:
        """Remember it for a while, where it may have to stand beside a clip."""
        if frame.source in self._sources:
            rows = self._rows.get(frame.source)
            if rows is None:
                rows = self._rows[frame.source] = deque(maxlen=max(20, ROWS // max(1, len(frame.value))))
            rows.append(frame)
            while rows[0].at.mono < frame.at.mono - PAST:
                rows.popleft()

    def alarm(self, alarm: Alarm) -> None:
        """What was raised, and a camera saw, is to be kept."""
        if alarm.event != EVENT_NAMES[Edge.RAISE] or alarm.drill:
            return
        for witness, watched in zip(self.witnesses, self._watched, strict=True):
            if alarm.channel in watched or alarm.channel.partition("/")[0] in witness.own:
                self._want(evidence.wanted(alarm, witness, self.kernel, self._span(witness, alarm)))

    def ask(self, alarm: Alarm, camera: str, begin: float, end: float) -> None:
        """Somebody wants what a camera showed between two monotonic s; `alarm` says who and why, and is none."""
        for witness in self.witnesses:
            if witness.camera == camera:
                span = alarm.at.mono - begin, end - alarm.at.mono
                self._want(evidence.wanted(alarm, witness, self.kernel, span))

    def adopt(self, alarms: Iterable[Alarm], at: Instant) -> None:
        """These are open since an earlier life, which may not have had the time to note the last ones."""
        for alarm in alarms:
            moved = abs((at.wall - at.mono) - (alarm.at.wall - alarm.at.mono))  # 0 on the same run of the kernel
            if moved < 1.0 and 0.0 <= at.mono - alarm.at.mono < LONGEST and not alarm.evidence:
                first = msgspec.structs.replace(alarm, event=EVENT_NAMES[Edge.RAISE])
                self.alarm(first)

    def note(self, event: Event) -> None:
        """How the ring of a camera goes."""
        if event.kind == "ring-trouble":
            self.troubles[f"ring {event.source}"] = event.text
        elif event.kind == "ring-recovered":
            self.troubles.pop(f"ring {event.source}", None)

    @staticmethod
    def _span(witness: Witness, alarm: Alarm) -> tuple[float, float]:
        for one in witness.clips:
            if fnmatchcase(alarm.rule, one.rule):
                return one.before, one.after
        return witness.before, witness.after

    def _want(self, want: Wanted) -> None:
        due = want.end + MARGIN if want.kernel == self.kernel else 0.0
        group = next((group for group in self._open if group.takes(want)), None)
        if group is not None and len(group.wants) < MEMBERS:
            group.add(want, due)
        elif group is None and self._waiting(want.camera) < WAITING:
            self._open.append(Group(want, due))
        else:
            self._leave_out(want, "too many alarms at once")
            return
        self._new.append((want, self.clock.now().mono))
        self._news.set()

    def _waiting(self, camera: str) -> int:
        return sum(group.wants[0].camera == camera for group in (*self._open, *self._ready))

    def _leave_out(self, want: Wanted, why: str) -> None:
        self._left.setdefault(want.camera, []).append(want.alarm.id)
        self._why = why
        for group in self._open:
            group.wants = [one for one in group.wants if one.id != want.id]
        self._open = [group for group in self._open if group.wants]

    # -- at work --------------------------------------------------------------------------------------

    async def serve(self, renew: Callable[[], None] = lambda: None) -> None:
        """Note, hold and keep until cancelled."""
        if not self._recalled:
            await self._recall()
            self._recalled = True
        async with asyncio.TaskGroup() as group:
            group.create_task(self._notes(renew))
            group.create_task(self._clips())

    async def _recall(self) -> None:
        """What an earlier life left unfinished."""
        try:
            found = await self._hand.do(evidence.left, self.shelf)
            for ring in await self._hand.do(_swept, self.shelf, [Path(witness.ring) for witness in self.witnesses]):
                text = f"{ring} deleted: no camera of this site keeps pictures there"
                self.tell(Event("evidence-deleted", "evidence", self.clock.now(), text, {"ring": ring}))
        except OSError as error:
            self._trouble("disk", error)
            return
        known = {want.id for group in self._open for want in group.wants}
        self._new = [one for one in self._new if one[0].id not in {want.id for want in found}]
        for want in found:
            if want.id in known:
                continue
            due = want.end + MARGIN if want.kernel == self.kernel else 0.0
            group = next((group for group in self._open if group.takes(want) and len(group.wants) < MEMBERS), None)
            if group is not None:
                group.add(want, due)
            else:
                self._open.append(Group(want, due))

    async def _notes(self, renew: Callable[[], None]) -> None:
        held = float("-inf")
        while True:
            renew()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PULSE):
                    await self._news.wait()
            self._news.clear()
            now = self.clock.now().mono
            await self._note_new(now)
            self._say_left_out()
            over = [group for group in self._open if group.due <= now]
            for group in self._open if now - held >= HOLD else over:
                await self._hold(group)
            held = now if now - held >= HOLD else held
            self._open = [group for group in self._open if group not in over]
            self._ready += over
            if over:
                self._work.set()
            if now - self._checked >= CHECK:
                self._checked = now
                await self._admit()

    async def _note_new(self, now: float) -> None:
        why = await self._admit() if self._new else ""
        while self._new:
            want, since = self._new[0]
            try:
                if not why:
                    frames = self._table(want, now)
                    await self._hand.do(evidence.begin, self.shelf, want, frames)
                    self._born.add(want.id)
                    self._well("disk")
                else:
                    self._leave_out(want, why)
            except OSError as error:
                self._trouble("disk", error)
                if now - since < PATIENCE:
                    return
                self._leave_out(want, str(error.strerror or error))
            self._new.pop(0)

    async def _hold(self, group: Group) -> None:
        for want in group.wants:
            try:
                await self._hand.do(evidence.hold, self.shelf, want)
            except OSError as error:
                self._trouble("disk", error)

    def _table(self, want: Wanted, end: float) -> list[Frame]:
        """The frames of the alarm's source and the camera in the wanted time, as far as they are known."""
        sources = dict.fromkeys((want.alarm.channel.partition("/")[0], want.camera))
        found = [frame for source in sources for frame in self._rows.get(source, ())]
        return sorted((f for f in found if want.begin <= f.at.mono <= min(want.end, end)), key=lambda f: f.at.mono)

    async def _admit(self) -> str:
        """Make room. Why there is none for more, in words; empty where there is."""
        try:
            why, gone = await self._hand.do(_admitted, self.shelf, self.settings, self.clock.now())
        except OSError as error:
            self._trouble("disk", error)
            return ""  # the noting itself will say
        for id, reason in gone:
            facts = {"evidence": id, "reason": reason}
            self.tell(Event("evidence-deleted", "evidence", self.clock.now(), f"{id} deleted: {reason}", facts))
        if why:
            self._trouble("room", why)
        else:
            self._well("room")
        return why

    def _say_left_out(self) -> None:
        for camera, alarms in self._left.items():
            text = f"{camera}: no evidence of {len(alarms)} alarms: {self._why}"
            facts = {"alarms": alarms[:100], "count": len(alarms), "reason": self._why}
            self.tell(Event("evidence-left-out", camera, self.clock.now(), text, facts))
        self._left.clear()

    def _trouble(self, what: str, why: OSError | str) -> None:
        """Said once."""
        text = why if isinstance(why, str) else f"{why.strerror or why}"
        if what not in self.troubles:
            self.tell(Event("evidence-trouble", "evidence", self.clock.now(), f"evidence in {self.shelf}: {text}"))
        self.troubles[what] = text

    def _well(self, what: str) -> None:
        if self.troubles.pop(what, None) is not None:
            text = f"evidence in {self.shelf}: all is well again"
            self.tell(Event("evidence-recovered", "evidence", self.clock.now(), text))

    # -- clips ----------------------------------------------------------------------------------------

    async def _clips(self) -> None:
        while True:
            self._work.clear()
            if not self._ready:
                await self._work.wait()
                continue
            group = self._ready[0]
            try:
                done = await self._clip(group)
            except OSError as error:
                self._trouble("disk", error)
                done = False
            if done:
                self._ready.popleft()
            else:
                await self.clock.sleep(PAUSE)

    async def _clip(self, group: Group) -> bool:
        """One clip, and what goes with it. Whether it is done. Raises `OSError`."""
        rest = await self._hand.do(evidence.unfinished, self.shelf, group.wants)
        if rest:
            made = await self._made(group, rest)
            if made is None:
                return False
            rows = {want.id: self._table(want, want.end) for want in rest if want.id in self._born}
            await self._hand.do(evidence.finish, self.shelf, rest, made, self._out(group), rows)
        for want in group.wants:
            try:
                manifest = await self._hand.do(evidence.read, self.shelf / want.id)
            except (OSError, ValueError) as error:
                self._leave_out(want, f"its manifest cannot be read: {error}")
                continue
            await self._guard(manifest)
            sha256 = await self._hand.do(evidence.digest, self.shelf / want.id / evidence.MANIFEST)
            event = Event(
                "evidence", want.camera, self.clock.now(), _sentence(manifest), evidence.facts(manifest, sha256)
            )
            if await self.keep(event, want.alarm.id, f"{want.id} sha256:{sha256}"):
                await self._hand.do(evidence.told, self.shelf, want.id)
            self._born.discard(want.id)
        return True

    def _out(self, group: Group) -> Path:
        return self.shelf / "work" / group.wants[0].id

    async def _made(self, group: Group, wants: list[Wanted]) -> Made | None:
        """What the encoder made; None: it is to be tried again. Raises `OSError`."""
        reels: dict[str, str] = {}
        for want in wants:
            reels |= {path.name: str(path) for path in await self._hand.do(evidence.hold, self.shelf, want)}
        out = self._out(group)
        await self._hand.do(_emptied, out)
        job = Job(
            parent=os.getpid(),
            reels=[reels[name] for name in sorted(reels)],
            kernel=wants[0].kernel,
            begin=min(want.begin for want in wants),
            end=max(want.end for want in wants),
            rate=min(30.0, wants[0].rate),
            wide=wants[0].wide,
            format=wants[0].format,
            out=str(out),
            stills={want.id: _moments(want) for want in wants},
        )
        made = await encoded(job)
        group.tries += 1
        if made.clip is None or made.clip.why.startswith("it could not"):
            why = "the encoder ended without a word" if made.clip is None else made.clip.why
            if group.tries < TRIES:
                return None
            await self._hand.do(_emptied, out)
            return Made(clip=Clip(begin=job.begin, end=job.end, why=f"{why}, {TRIES} times; the reels are kept"))
        return made

    async def _guard(self, manifest: Manifest) -> None:
        """Protect it, if alarms of its level are, and there is room for that."""
        folder = self.shelf / manifest.id
        if manifest.level not in self.settings.protect or await self._hand.do(evidence.guard, folder) is not None:
            return
        if why := await self._hand.do(_refused, self.shelf, self.settings, manifest.id):
            self._trouble("protected", why)
            return
        guard = Guard("agent", self.clock.now().wall, f"{manifest.level} alarm")
        await self._hand.do(evidence.protect, folder, guard)
        self._well("protected")

    # -- people ---------------------------------------------------------------------------------------

    async def protect(self, id: str, by: str, reason: str, on: bool) -> str:
        """A person protects a piece, or no longer. Why not, in words; empty where it was done."""
        folder = self.shelf / id
        if not evidence.is_name(id) or not await self._hand.do(folder.is_dir):
            return f"no evidence {id}; `vedette evidence list` shows what there is"
        if not by.strip():
            return "who does it? give --by NAME"
        guard = Guard(by, self.clock.now().wall, reason) if on else None
        try:
            if on and (why := await self._hand.do(_refused, self.shelf, self.settings, id)):
                return why
            await self._hand.do(evidence.protect, folder, guard)
        except OSError as error:
            return f"{id}: {error.strerror or error}"
        if not on:
            self._well("protected")
        word = "protected" if on else "released"
        facts = {"evidence": id, "by": by, "reason": reason}
        self.tell(Event(f"evidence-{word}", "evidence", self.clock.now(), f"{id} {word} by {by}", facts))
        return ""

    async def close(self) -> None:
        """What is noted is done at the next start."""
        self._hand.end()


def _moments(want: Wanted) -> tuple[float, ...]:
    """When the stills are wanted, monotonic s."""
    at = want.alarm.at.mono
    before, here, after = STILLS
    return at - before * (at - want.begin), at + here, at + after * (want.end - at)


def _sentence(manifest: Manifest) -> str:
    span = f"{manifest.end.mono - manifest.begin.mono:g} s"
    less = f"; missing: {', '.join(manifest.missing)}" if manifest.missing else ""
    return f"{manifest.camera} has {span} of alarm {manifest.alarm} ({manifest.rule} on {manifest.channel}){less}"


# -- in the thread ------------------------------------------------------------------------------------


def _admitted(shelf: Path, settings: Shelf, now: Instant) -> tuple[str, list[tuple[str, str]]]:
    """Why there is no room for more, and what was deleted, with reasons."""
    shelf.mkdir(parents=True, exist_ok=True, mode=0o700)
    gone = [(piece.id, why) for piece, why in evidence.evict(shelf, settings, now)]
    room = evidence.room(shelf)
    if room.free < settings.free_mb * 2**20:
        return f"less than {settings.free_mb:g} MB of the disk are free", gone
    if room.bytes > settings.mb * 2**20:
        return f"{settings.mb:g} MB are full of evidence that is protected or not ready", gone
    return "", gone


def _refused(shelf: Path, settings: Shelf, id: str) -> str:
    """Why it cannot be protected."""
    size = next((piece.bytes for piece in evidence.pieces(shelf) if piece.id == id), 0)
    if evidence.room(shelf).protected + size > settings.protected_mb * 2**20:
        return f"{settings.protected_mb:g} MB of protected evidence are full: export and release some, or give it more"
    return ""


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)


def _swept(shelf: Path, rings: Sequence[Path]) -> list[str]:
    """Take away what an encoder left, and rings of cameras that are no longer there. The names of these."""
    shutil.rmtree(shelf / "work", ignore_errors=True)
    gone = [folder for folder in (shelf / "ring").glob("*.ring") if folder not in rings]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return [folder.name for folder in gone]


# -- the encoder --------------------------------------------------------------------------------------


async def encoded(job: Job) -> Made:
    """What the encoder made of a job; without a clip where it died or was silent for too long."""
    last: Any = None
    async with child.started("drivers.clip", job, PASSED, threads=1) as lines:
        while True:
            try:
                async with asyncio.timeout(SILENCE):
                    line = await lines.readline()
            except TimeoutError:
                return Made()
            if not line.endswith(b"\n"):
                return Made() if last is None or last.clip is None else last
            last = msgspec.json.decode(line, type=Made)
