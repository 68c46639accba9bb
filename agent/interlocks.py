"""Interlocks written out as rules: what causes a trip, what holds it, what lets it go.

An interlock judges nothing by itself. It is a handful of rules of one group, each of which may hold the same outputs;
what any of them holds stays on. So it is replayed, drilled, voted, journaled and acknowledged like everything else, and
`vedette check` shows each of its rules. None of them can be shelved.

    rule            raised when                                          holds            let go
    NAME.<place>    methane at a limit of its place code, or blind       alarm, trip      below the restore limit
    NAME.fan, .air  the fan stands, the duct flow is too low             trip             it is back, gas below restore
    NAME.fan.lock   the fan stands and methane is at 3 %                 lock             below 1.5 %, or by permit
    NAME.cause      so many of the causes are at their limit, or blind   trip             below restore, or by a person
    NAME.chain      a channel of the chain is broken, or not as it       trip             60 s after it is well again
    NAME.silent     should be, or its source is silent
    NAME.permit     a cause is calibrated without a permit               trip             when that ends
    NAME.feed       the feed contradicts the trip                        nothing          when it agrees
    NAME.remote     a person demands it                                  trip             by a person, if nobody else

It dies with this program: therefore a heartbeat output on the same line, behind which a relay with a timer of its own
trips when nobody beats; or the site says in `unguarded` why there is none. It supplements a certified trip and is none.
Source: AQ 6201 clause 5.5 (2006 text, verify), `configs/profiles/interlock.toml`; what is not there: project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from .complaints import Table
from .core import words
from .core.rules import OPPOSITE, condition
from .core.words import Language

PROFILE = "interlock"  # the file of its numbers
FAN_LOCK = f"{PROFILE}/fan-lock"
Limits = Callable[[str, str, Mapping[str, float]], Mapping[str, float]]
# of a profile, for a channel, with the site's own numbers: each limit's name and restore limit, in the channel's unit


class Interlock(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every kind of interlock says."""

    name: Annotated[
        str, Meta(pattern=r"^[\w-]+$", max_length=40)
    ]  # the group of its rules, and the begin of their names
    trip: Annotated[list[str], Meta(min_length=1)]  # outputs that make it safe; on is safe
    feed: str = ""  # channel of what the trip takes away: 1 while it is there
    chain: list[str] = []  # what else must be well, like `heading/ups >= 1`: breaker, supply, line
    heartbeat: str = ""  # an output with `heartbeat` on the line of the trip
    unguarded: str = ""  # why there is none

    tag: ClassVar[str] = ""

    @property
    def causes(self) -> list[str]:
        """The channels that may trip it by what they measure."""
        raise NotImplementedError

    @property
    def outputs(self) -> list[str]:
        """Whatever it may switch."""
        return self.guarded

    @property
    def guarded(self) -> list[str]:
        """What is to be on when its heartbeat stands still."""
        return self.trip

    @property
    def states(self) -> list[str]:
        """What must hold, as conditions."""
        return self.chain

    def tables(self, usual: Mapping[str, Table], limits: Limits) -> list[Table]:
        """Its rules as tables of a site file; `usual` is what its profile says of each. Raises `ValueError`."""
        raise NotImplementedError

    def common(self, usual: Mapping[str, Table]) -> list[Table]:
        """The rules that every interlock has."""
        watched = list(dict.fromkeys([*self.causes, *([self.feed] if self.feed else []), *map(_channel, self.states)]))
        sources = list(dict.fromkeys(name.partition("/")[0] for name in watched))
        chain, trip = usual["chain"], {"group": self.name, "drive": self.trip}
        rows = [
            {"name": "chain", "kind": "fault", "channel": watched, **chain, **trip},
            {"name": "silent", "kind": "silence", "channel": sources, **chain, **trip},
            {"name": "permit", "kind": "fault", "calibrating": True, "channel": self.causes, **usual["permit"], **trip},
            {"name": "remote", "kind": "manual", "channel": self.causes, **usual["remote"], **trip},
            *(self.expected(f"chain.{k}", text, {**chain, **trip}) for k, text in enumerate(self.chain, 1)),
        ]
        if self.feed:
            feed = {"kind": "feedback", "channel": [self.feed], "output": self.trip[0], "group": self.name}
            rows.append({"name": "feed", **feed, **usual["feed"]})
        return [{**row, "name": f"{self.name}.{row['name']}"} for row in rows]

    @staticmethod
    def expected(name: str, text: str, settings: Table) -> Table:
        """A rule that is raised while a condition fails."""
        wanted = condition(text)
        return {
            "name": name,
            "kind": "expect",
            "channel": [wanted.channel],
            "expect": f"{wanted.compare} {wanted.value:g}",
            **settings,
        }

    def label(self, language: Language, armed: Iterable[str]) -> str:
        """What it is and is not, for people; `armed` are the outputs that may be written."""
        idle = [output for output in self.outputs if output not in set(armed)]
        words_ = words.INTERLOCK[language]
        guard = words_["guarded"].format(heartbeat=self.heartbeat) if self.heartbeat else words_["unguarded"]
        parts = [
            words_["what"].format(name=self.name, causes=len(self.causes), trip=", ".join(self.outputs)),
            guard.format(reason=self.unguarded),
            words_["idle"].format(outputs=", ".join(idle)) if idle else "",
            words_["label"],
        ]
        return words_["join"].join(filter(None, parts))


class Methane(Interlock, tag="methane", frozen=True, kw_only=True):
    """Methane and power, fan and power, methane and fan, of one zone of a coal mine."""

    ch4: Annotated[dict[str, str | list[str]], Meta(min_length=1)]  # profile -> its channels
    limits: dict[str, dict[str, float]] = {}  # profile -> limits that the site sets itself, in the profile's unit
    alarm: list[str] = []  # outputs of local sound and light
    fan: str = ""  # that the fan runs, like `heading/fan >= 1`
    air: str = ""  # that the air moves, like `heading/air_speed >= 0.25`
    lock: list[str] = []  # outputs that keep the fan from being started

    @property
    def causes(self) -> list[str]:
        return [name for named in self.ch4.values() for name in _listed(named)]

    @property
    def outputs(self) -> list[str]:
        return list(dict.fromkeys([*self.alarm, *self.guarded]))

    @property
    def guarded(self) -> list[str]:
        return [*self.trip, *self.lock]

    @property
    def states(self) -> list[str]:
        return [*filter(None, (self.fan, self.air)), *self.chain]

    def tables(self, usual: Mapping[str, Table], limits: Limits) -> list[Table]:
        rows: list[Table] = []
        safe: list[str] = []  # conditions under which power may come back
        trip = {"group": self.name, "drive": self.trip}
        for profile, named in self.ch4.items():
            own, channel = self.limits.get(profile, {}), _listed(named)
            of_limit = {"alarm": self.alarm, "fan": [*self.trip, *self.lock]}  # there the cut takes in the local fan
            names = limits(profile, channel[0], own)
            rows.append(
                {
                    "name": f"{self.name}.{profile.rpartition('/')[2]}",
                    "channel": channel,
                    "profile": profile,
                    "group": self.name,
                    "drive": {name: of_limit.get(name, self.trip) for name in names},
                    "fail_safe": {name: name != "alarm" for name in names},
                    **({"limits": own} if own else {}),
                }
            )
            safe += [f"{c} < {limits(profile, c, own)['cut']:g}" for c in channel if "cut" in names]
        for name, text in (("fan", self.fan), ("air", self.air)):
            if text:
                settings = {**usual["air"], **trip, "clear_when": safe}
                rows.append(self.expected(f"{self.name}.{name}", text, settings))
        if self.lock:
            if not self.fan:
                raise ValueError("to lock the fan, `fan` must say when it runs")
            runs = condition(self.fan)
            stands = f"{runs.channel} {OPPOSITE[runs.compare]} {runs.value:g}"
            settings = {"group": self.name, "drive": self.lock, "start_when": [stands], "lock": True}
            rows.append({"name": f"{self.name}.fan", "channel": self.causes, "profile": FAN_LOCK, **settings})
        return [*rows, *self.common(usual)]


class General(Interlock, tag="general", frozen=True, kw_only=True):
    """Causes that vote on one limit, and what they trip. Data sheets, not standards, give its numbers."""

    cause: Annotated[list[str], Meta(min_length=1)]  # channels
    limit: float  # in the unit of the channels
    compare: Literal[">=", "<="] = ">="
    restore: float | None = None  # default: `limit`
    need: Annotated[int, Meta(ge=1)] = 1  # so many of them
    bad: Literal["votes", "abstains"] = "votes"  # a blind cause
    delay: Annotated[float, Meta(ge=0)] = 0.0  # s
    reset: Literal["itself", "person"] = "person"  # who lets go once it is over
    when: list[str] = []  # it applies only while these hold

    @property
    def causes(self) -> list[str]:
        return self.cause

    def tables(self, usual: Mapping[str, Table], limits: Limits) -> list[Table]:
        row = {
            "name": f"{self.name}.cause",
            "kind": "vote",
            "channel": self.cause,
            **{key: getattr(self, key) for key in ("limit", "compare", "need", "bad", "delay", "when")},
            **({} if self.restore is None else {"restore": self.restore}),
            "latch": self.reset == "person",
            "group": self.name,
            "drive": self.trip,
            **usual["cause"],
        }
        return [row, *self.common(usual)]


KINDS: dict[str, type[Interlock]] = {"methane": Methane, "general": General}


def _listed(named: str | list[str]) -> list[str]:
    return [named] if isinstance(named, str) else named


def _channel(text: str) -> str:
    return condition(text).channel
