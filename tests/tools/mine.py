"""A mine without an agent: a judge, its traces and a signed journal, in the time of the test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from agent import bundle, keys, provenance
from agent.audit import Chain
from agent.core.alarm import Alarm
from agent.core.core import Ack, Core, Tick
from agent.core.frame import Frame, Instant, frame, layout
from agent.core.ports import Event
from agent.core.rules import AnyRule, High
from agent.traces import Traces

Z = layout(["ch4", "fan"], ["%", ""], stale=5.0)
BOOT, CONFIG = "000001-abcd", "c0ffee"


def at(mono: float) -> Instant:
    return Instant(mono, 1.7e9 + mono, True)


class Mine:
    """A judge, its traces and a journal that is signed, in a folder of a state; time is what the test says."""

    def __init__(self, state: Path, *rules: AnyRule, begin: float = 1000.0) -> None:
        self.state, self.now = state, begin
        state.mkdir()
        self.key = keys.new(state / "gateway.key")
        self.chain = Chain(state / "journal", 1 << 30, self.key)
        self.core = Core({"z": Z}, rules)
        self.memory = self.core.start(BOOT, at(begin))
        self.traces = Traces(self.core, BOOT, CONFIG, lambda trace: self.put(trace, True))
        self.alarms: list[Alarm] = []
        (state.parent / "site.toml").write_text('[site]\nname = "pit"\n')
        files = provenance.keep(state, state.parent / "site.toml", [state.parent / "site.toml"])
        facts = {"config": CONFIG, "files": files, "program": "p" * 64, "versions": provenance.versions()}
        self.put(Event("started", "agent", at(begin), "begin"))
        self.put(Event("provenance", "agent", at(begin), "told", facts), True)

    def put(self, what: object, sign: bool = False) -> None:
        kind = type(what).__name__.lower()
        self.chain.append([msgspec.json.encode({"kind": kind, kind: what}, enc_hook=str)], sign)

    def run(self, values: Iterable[float], fan: float = 1.0, step: float = 1.0, quality: int = 0) -> None:
        """Readings, one each `step` s, with a tick between them."""
        for value in values:
            self.now += step
            self.step(frame("z", at(self.now), Z, [value, fan], [quality, 0]))
            self.step(Tick(at(self.now + 0.4 * step)))

    def ack(self, by: str) -> None:
        """Somebody acknowledges the first alarm."""
        self.step(Ack(self.alarms[0].id, by, at(self.now + 0.5)))

    def step(self, event: Frame | Tick | Ack) -> None:
        self.memory, verdict = self.core.step(self.memory, event)
        for seen in verdict.frames:
            self.traces.frame(seen)
        for alarm in verdict.alarms:
            self.put(alarm)
            self.traces.alarm(alarm)
            self.alarms.append(alarm)
        self.traces.look(self.now)

    def export(self, out: Path, alarm: str | None = None) -> Path:
        site = bundle.Site(self.state, self.state / "evidence", "pit", "gate", self.key)
        bundle.export(site, alarm or self.alarms[0].id, out, 1.7e9)
        return out


CH4 = High(name="gas", channel=["z/ch4"], limit=1.0, level="red")
