"""A loudspeaker as outputs: what a rule drives is spoken by a program of the machine, or played from a file.

Each output is one text, in the language of the settings (`words.VOICE`, or the site's own), said when it is ordered on
and again while it stays on; the newest order interrupts what is being said. How loud it is follows the hour of the day;
where the clock is not to be trusted, the loudest counts. It judges nothing. What was said cannot be read back: that the
program ended well is all that is known, and where it did not, the order failed, which is an alarm of the agent itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from agent.core import words
from agent.core.alarm import Order
from agent.core.frame import Frame, Instant, Layout
from agent.core.ports import Clock, Driver, Event, Orders, Touch

VOICES = {"en": "en", "zh": "cmn"}  # as eSpeak NG calls them; Mandarin
PASSED = ("PATH", "HOME", "LANG", "XDG_RUNTIME_DIR", "LD_LIBRARY_PATH")  # environment: no secrets of others
IDLE, BUSY = (
    1.0,
    0.05,
)  # s between two looks at whether what is said has ended, while nothing is, and while something is
DAY, HOUR = 86400.0, 3600.0  # s
TAIL = 200  # characters of what a program complains of
Time = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Saying(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that may be said."""

    name: Annotated[str, Meta(min_length=1)]  # of the output, as rules drive it
    say: str = ""  # a row of `words.VOICE`, or the words themselves
    file: str = ""  # a sound to be played instead
    armed: bool = False  # not armed: every order is refused with an event. A person arms it
    every: Annotated[float, Meta(ge=0)] = 5.0  # s from one to the next while it is on; 0: it is said once

    def __post_init__(self) -> None:
        if bool(self.say) == bool(self.file):
            raise ValueError(f"output {self.name}: give it words with `say`, or a sound with `file`")


class Speaker(Driver, tag="speaker", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One loudspeaker with the things that it may say."""

    tag: ClassVar[str] = "speaker"

    language: words.Language = "en"
    speak: Annotated[tuple[str, ...], Meta(min_length=1)] = ("espeak-ng", "-v", "{voice}", "-a", "{volume}", "{text}")
    play: Annotated[tuple[str, ...], Meta(min_length=1)] = ("aplay", "-q", "{file}")
    volume: Annotated[tuple[tuple[Time, Annotated[int, Meta(ge=0, le=200)]], ...], Meta(min_length=1)] = (
        ("06:00", 100),
        ("22:00", 60),
    )  # %, from these times of the day on
    offset: Annotated[float, Meta(ge=-12, le=14)] = 8.0  # h that local time is ahead of UTC; China has one
    longest: Annotated[float, Meta(gt=0, le=60)] = 8.0  # s after which a program is killed
    output: Annotated[tuple[Saying, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        twice = [name for name, n in Counter(one.name for one in self.output).items() if n > 1]
        if twice:
            raise ValueError(f"output {twice[0]!r} is there twice")

    def layouts(self) -> Mapping[str, Layout]:
        return {}

    def outputs(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.output)

    def armed(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.output if one.armed)

    def wiring(self, language: words.Language = "en") -> list[str]:
        w = words.WIRING[language]
        loud = ", ".join(w["loud"].format(percent=percent, time=time) for time, percent in sorted(self.volume))
        return [
            w["speaker"].format(speak=self.speak[0], play=self.play[0], loud=loud),
            *(
                w["output"].format(name=one.name, at=one.file or repr(text(self, one)))
                + ("" if one.armed else w["not armed"])
                for one in self.output
            ),
        ]

    async def frames(self, clock: Clock, orders: Orders) -> AsyncIterator[Frame | Event]:
        """Say what is ordered until cancelled. Leaves no program behind."""
        voice = Voice(self, clock)
        try:
            while True:
                await orders.wait(BUSY if voice.busy else IDLE)
                while (order := orders.take()) is not None:
                    yield await voice.obey(order)
                for event in await voice.look():
                    yield event
        finally:
            await voice.hush()

    async def once(self, clock: Clock) -> list[Frame | Event]:
        """Nothing is asked of a loudspeaker; it says nothing of itself."""
        return []


UNPROVEN = "what is said cannot be read back"


def text(settings: Speaker, one: Saying) -> str:
    """What it says, in words."""
    return words.VOICE[settings.language].get(one.say, one.say)


def loudness(settings: Speaker, at: Instant) -> int:
    """% at this moment."""
    if not at.synced:
        return max(percent for _, percent in settings.volume)
    hour = (at.wall / HOUR + settings.offset) % 24.0
    rows = sorted((int(time[:2]) + int(time[3:]) / 60.0, percent) for time, percent in settings.volume)
    return next((percent for begin, percent in reversed(rows) if begin <= hour), rows[-1][1])


def command(settings: Speaker, one: Saying, at: Instant) -> list[str]:
    """The program and its words; a word in braces is filled, and no shell sees any of it."""
    told = {
        "voice": VOICES[settings.language],
        "language": settings.language,
        "volume": str(loudness(settings, at)),
        "text": text(settings, one) if one.say else "",
        "file": one.file,
    }
    form = settings.speak if one.say else settings.play
    return [told.get(word[1:-1], word) if word[:1] == "{" and word[-1:] == "}" else word for word in form]


class Voice:
    """What is being said, and since when each output was."""

    def __init__(self, settings: Speaker, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self._sayings = {one.name: one for one in settings.output}
        self._began: dict[str, float] = {}  # monotonic s when each that is on was said last
        self._order: Order | None = None  # for which something is being said
        self._program: asyncio.subprocess.Process | None = None
        self._until = 0.0  # monotonic s

    @property
    def busy(self) -> bool:
        return self._program is not None

    async def obey(self, order: Order) -> Event:
        """Begin to say it, or let it end. What became of the order."""
        begun, word = self.clock.now(), "on" if order.on else "off"
        facts = {"output": order.output, "on": order.on, "reason": order.reason}

        def told(kind: Literal["done", "failed", "refused"], why: str) -> Event:
            now = self.clock.now()
            facts["ms_since_decided"] = round(1000 * (now.mono - order.at.mono), 3)
            return Event(f"order-{kind}", self.settings.name, now, f"{order.output} {why}", facts)

        saying = self._sayings.get(order.output)
        if saying is None or not saying.armed or isinstance(order, Touch):
            why = "no such output here" if saying is None else "not armed; set armed = true to allow it"
            return told("refused", f"{word}: {why if saying is None or not saying.armed else UNPROVEN}")
        if not order.on:
            self._began.pop(order.output, None)
            return told("done", "is off")
        last = self._began.get(order.output)
        if last is not None and (not saying.every or begun.mono - last < saying.every):
            return told("done", "is on")
        await self.hush()
        try:
            self._program = await asyncio.create_subprocess_exec(
                *command(self.settings, saying, begun),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={name: os.environ[name] for name in PASSED if name in os.environ},
            )
        except OSError as error:
            return told("failed", f"{word}: {command(self.settings, saying, begun)[0]}: {error.strerror or error}")
        self._order, self._until = order, begun.mono + self.settings.longest
        self._began[order.output] = begun.mono
        facts["written"] = self.clock.now().mono
        return told("done", "is on")

    async def look(self) -> list[Event]:
        """What is to be told of a program that has ended, or was killed because it did not."""
        program, order = self._program, self._order
        if program is None or order is None:
            return []
        late = program.returncode is None and self.clock.now().mono > self._until
        if program.returncode is None and not late:
            return []
        code, complaint = await self._end(program)
        self._program = self._order = None
        if code == 0 or order.output not in self._began:
            return []
        del self._began[order.output]
        why = f"killed after {self.settings.longest:g} s" if late else f"ended with {code}: {complaint}".rstrip(": ")
        facts = {"output": order.output, "on": order.on, "reason": order.reason}
        return [Event("order-failed", self.settings.name, self.clock.now(), f"{order.output} on: {why}", facts)]

    async def hush(self) -> None:
        """Nothing more is said."""
        if self._program is not None:
            await self._end(self._program)
        self._program = self._order = None

    @staticmethod
    async def _end(program: asyncio.subprocess.Process) -> tuple[int, str]:
        """It is gone; with which status, and the end of what it complained of."""
        if program.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                program.kill()
        _, complaint = await program.communicate()
        return program.returncode or 0, " ".join(complaint.decode(errors="replace").split())[-TAIL:]
