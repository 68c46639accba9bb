"""The models as state machines of hypothesis, which shrinks what it finds to a short story."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from agent.core.frame import Quality
from agent.core.rules import High, Low, Silence

from .platter import FAULTS, memory
from .reference import VALUES, Both
from .shelf import Shelf

MODEL = settings(
    stateful_step_count=50,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

SHORT = st.sampled_from((0.0, 0.25, 1.0, 2.0, 5.0))  # s


class AlarmMachine(RuleBasedStateMachine):
    """Three limits that drive one siren, in the core and in the reference."""

    @initialize(delay=SHORT, clear_delay=SHORT, fail_safe=st.booleans())
    def begin(self, delay: float, clear_delay: float, fail_safe: bool) -> None:
        common = {"delay": delay, "clear_delay": clear_delay, "drive": ["siren"]}
        high = High(name="high", channel=["s/c0"], limit=5.0, restore=4.0, fail_safe=fail_safe, **common)
        low = Low(name="low", channel=["s/c1"], limit=4.0, restore=5.0, **common)
        silence = Silence(name="silence", channel=["s/c2"], limit=2.0, **common)
        self.both = Both([high, low, silence], [3.0, 1.5, 3.0])

    @rule(
        dt=SHORT,
        value=st.lists(st.sampled_from(VALUES), min_size=3, max_size=3),
        quality=st.lists(st.sampled_from(tuple(Quality)), min_size=3, max_size=3),
        age=st.sampled_from((0.0, 0.0, 2.0)),
    )
    def sample(self, dt: float, value: list[float], quality: list[Quality], age: float) -> None:
        assert not self.both.sample(dt, value, quality, [age] * 3)

    @rule(dt=SHORT)
    def tick(self, dt: float) -> None:
        assert not self.both.tick(dt)

    @rule(dt=SHORT, which=st.integers(0, 2))
    def acknowledge(self, dt: float, which: int) -> None:
        known = self.both.open() or ["nobody"]
        assert not self.both.acknowledge(dt, known[which % len(known)])

    @rule(dt=SHORT)
    def restart(self, dt: float) -> None:
        assert not self.both.restart(dt)


class OutboxMachine(RuleBasedStateMachine):
    """The outbox and the list."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=memory(), prefix="vedette-model-")
        self.shelf = Shelf(Path(self.folder.name), 1)

    def do(self, *steps: object, seconds: float = 0.0) -> None:
        self.shelf.run(*steps, seconds=seconds)  # type: ignore[arg-type]
        assert not self.shelf.wrong

    @rule(point=st.integers(0, 2))
    def alarm(self, point: int) -> None:
        self.do(lambda: self.shelf.alarm(point))

    @rule()
    def event(self) -> None:
        self.do(self.shelf.event)

    @rule(source=st.integers(0, 1), n=st.integers(1, 5))
    def frame(self, source: int, n: int) -> None:
        self.do(*[lambda: self.shelf.frame(source)] * n)

    @rule(n=st.integers(1, 5), heard=st.integers(0, 5), confirmed=st.integers(0, 5))
    def send(self, n: int, heard: int, confirmed: int) -> None:
        self.do(*[self.shelf.take] * n, *[self.shelf.arrive] * heard, *[self.shelf.done] * confirmed)

    @rule()
    def again(self) -> None:
        self.do(self.shelf.again)

    @rule()
    def refuse(self) -> None:
        self.do(self.shelf.refuse)

    @rule(up=st.booleans())
    def link(self, up: bool) -> None:
        self.do(lambda: self.shelf.link(up))

    @rule(seconds=st.sampled_from((0.001, 0.01, 0.1, 1.2, 12.0)))
    def wait(self, seconds: float) -> None:
        self.do(seconds=seconds)

    @rule(file=st.sampled_from(("alarms.db", "history.db")), fault=st.sampled_from(("", "stall", *FAULTS)))
    def disk(self, file: str, fault: str) -> None:
        self.do(lambda: self.shelf.ail(file, fault))

    @rule(when=st.sampled_from(("begin", "done", "told")))
    def trap(self, when: str) -> None:
        self.shelf.kill_at = when

    @rule(damage=st.sampled_from(("", "", "row", "alarms.db", "history.db")))
    def kill(self, damage: str) -> None:
        self.shelf.kill(damage)
        assert not self.shelf.wrong

    @rule()
    def stop(self) -> None:
        self.shelf.close()
        assert not self.shelf.wrong

    def teardown(self) -> None:
        try:
            if not self.shelf.wrong:
                self.shelf.finish()
                assert not self.shelf.wrong
        finally:
            self.shelf.end()
            self.folder.cleanup()
