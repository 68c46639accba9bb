"""The life of one alarm against a reference written from the table of `agent/core/alarm.py`, a line for each arrow.

One limit on one channel `x`, with a second channel `c` that its conditions look at. All times and values are multiples
of 1/4, so that they compare exactly. The reference shares the core's words, not a line of its judgement.
"""

from __future__ import annotations

import math

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from agent import checkpoint
from agent.core.core import Ack, Action, Core, Tick, open_alarms
from agent.core.frame import Instant, Quality, frame, layout
from agent.core.rules import High

NAN = float("nan")
STALE = 8.0
MADE = layout(["x", "c"], stale=STALE)

# from, event -> to; what is not here does nothing. Beside it, what differs in an alarm that latches, or that locks.
ARROWS = {
    ("normal", "raised"): "active-unacked",
    ("active-unacked", "cleared"): "returned-unacked",
    ("active-unacked", "acknowledged"): "active-acked",
    ("active-acked", "cleared"): "normal",
    ("active-acked", "re-alarmed"): "active-unacked",
    ("returned-unacked", "raised"): "active-unacked",
    ("returned-unacked", "acknowledged"): "normal",
    ("latched-unacked", "raised"): "active-unacked",
    ("latched-unacked", "acknowledged"): "latched-acked",
    ("latched-acked", "raised"): "active-unacked",
    ("latched-acked", "reset"): "normal",
    ("shelved", "restored"): "normal",
    ("suppressed", "restored"): "normal",
    ("out-of-service", "restored"): "normal",
    ("shelved", "taken-out"): "out-of-service",
    ("suppressed", "taken-out"): "out-of-service",
    ("suppressed", "shelved"): "shelved",
}
AWAY = {"shelved": "shelved", "suppressed": "suppressed", "taken-out": "out-of-service"}
BEFORE_AWAY = ("normal", "active-unacked", "active-acked", "returned-unacked", "latched-unacked", "latched-acked")
ARROWS |= {(state, event): to for state in BEFORE_AWAY for event, to in AWAY.items()}
LATCH = {("active-unacked", "cleared"): "latched-unacked", ("active-acked", "cleared"): "latched-acked"}
LOCK = {("out-of-service", "cleared"): "normal"}
NOT_IN_A_LOCK = [(s, "taken-out") for s in (*BEFORE_AWAY, "shelved", "suppressed") if not s.startswith("active")]
HOLDING = ("active-unacked", "active-acked", "latched-unacked", "latched-acked")
DEEDS = {"reset": "reset", "shelve": "shelved", "take-out": "taken-out", "restore": "restored"}


class Reference:
    """One alarm. Each step gives the edges (event, state, which alarm) that are to be told."""

    def __init__(self, rule: High) -> None:
        self.rule = rule
        self.arrows = dict(ARROWS) | (LATCH if rule.latch else {}) | (LOCK if rule.lock else {})
        for arrow in NOT_IN_A_LOCK if rule.lock else ():
            self.arrows.pop(arrow, None)
        self.state, self.serial, self.open = "normal", 0, False
        self.over_since = self.back_since = self.until = NAN
        self.x, self.quality, self.c, self.read_at = NAN, Quality.UNCERTAIN, NAN, 0.0

    @property
    def holds(self) -> bool:
        return self.state in HOLDING

    def move(self, event: str, silent: bool = False) -> list[tuple[str, str, int]]:
        after = self.arrows.get((self.state, event))
        if after is None:
            return []
        if silent and not self.open:  # nobody was told of anything
            self.state = after
            return []
        if event == "raised" or not self.open:
            self.serial += 1
        self.state, self.open, self.until = after, after != "normal", NAN
        return [(event, after, self.serial)]

    def met(self, texts: list[str], unseen: bool) -> bool:
        """`s/c >= 1` is all that is asked here."""
        return not texts or (unseen if math.isnan(self.c) else self.c >= 1)

    def judge(self, now: float, news: bool) -> list[tuple[str, str, int]]:
        rule, told = self.rule, []
        if now - self.read_at > STALE:
            self.x, self.c, self.quality = NAN, NAN, max(self.quality, Quality.STALE)
        applies = self.met(rule.when, unseen=True)
        if applies == (self.state == "suppressed"):
            told += self.move("restored" if applies else "suppressed", silent=True)
        blind = self.quality >= Quality.STALE
        over = (self.x >= rule.limit and self.quality <= Quality.OVER_RANGE) or (rule.fail_safe and blind)
        over = over and self.state != "suppressed" and self.met(rule.start_when, unseen=True)
        below = self.x < rule.bounds[1] and self.quality == Quality.GOOD and not over
        clear = below and self.met(rule.clear_when, unseen=False)
        unknown = not over and not clear and (math.isnan(self.x) or self.quality != Quality.GOOD)
        if not unknown:
            self.over_since = (now if math.isnan(self.over_since) else self.over_since) if over else NAN
            self.back_since = (now if math.isnan(self.back_since) else self.back_since) if clear else NAN
        if over and now - self.over_since >= rule.delay:
            told += self.move("raised")
        if clear and news and now - self.back_since >= rule.clear_delay:
            told += self.move("cleared")
        return told

    def sample(self, now: float, x: float, quality: Quality, c: float) -> list[tuple[str, str, int]]:
        self.x, self.quality, self.c, self.read_at = x, quality, c, now
        return self.judge(now, news=True)

    def tick(self, now: float) -> list[tuple[str, str, int]]:
        told = []
        if now >= self.until:
            told += self.move("restored" if self.state == "shelved" else "re-alarmed")
        return told + self.judge(now, news=False)

    def acknowledge(self, now: float) -> list[tuple[str, str, int]]:
        told = self.move("acknowledged")
        if told and self.state == "active-acked" and self.rule.realarm:
            self.until = now + self.rule.realarm
        return told

    def do(self, now: float, verb: str, seconds: float) -> list[tuple[str, str, int]]:
        if verb == "shelve" and (self.rule.level == "red" or self.rule.fail_safe):
            return []
        if verb == "restore" and self.state == "suppressed":  # by design, not by a person
            return []
        told = self.move(DEEDS[verb])
        if told and verb == "shelve":
            self.until = now + seconds
        return told


STEP = st.sampled_from((0.25, 0.5, 1.0, 2.0, 5.0))  # s
SPAN = st.sampled_from((0.0, 0.0, 1.0, 3.0))  # s
QUALITY = st.sampled_from(
    [Quality.GOOD] * 6 + [Quality.UNCERTAIN, Quality.OVER_RANGE, Quality.CALIBRATING, Quality.FAULT]
)
CONDITION = st.sampled_from(([], [], ["s/c >= 1"]))
LIFE = st.sampled_from(("plain", "plain", "latch", "lock"))


class Life(RuleBasedStateMachine):
    """Core and reference, side by side."""

    @initialize(
        life=LIFE,
        delay=SPAN,
        clear_delay=SPAN,
        realarm=st.sampled_from((0.0, 4.0)),
        fail_safe=st.booleans(),
        level=st.sampled_from(("red", "orange")),
        when=CONDITION,
        start_when=CONDITION,
        clear_when=CONDITION,
    )
    def begin(self, life: str, **more: object) -> None:
        limits = {"limit": 5.0, "restore": 4.0, life: True} if life != "plain" else {"limit": 5.0, "restore": 4.0}
        self.rule = High(name="r", channel=["s/x"], drive=["out"], **limits, **more)  # type: ignore[arg-type]
        self.core, self.known = Core({"s": MADE}, [self.rule]), Reference(self.rule)
        self.now, self.boots = 0.0, 1
        self.memory = self.core.start("b1", self.at)
        self.ids: list[str] = []

    @property
    def at(self) -> Instant:
        return Instant(self.now, 1.7e9 + self.now, True)

    def same(self, event: object, expected: list[tuple[str, str, int]]) -> None:
        before = {name for name, ids in self.memory.held.items() if ids}
        self.memory, verdict = self.core.step(self.memory, event)  # type: ignore[arg-type]
        for alarm in verdict.alarms:
            if alarm.id not in self.ids:
                self.ids.append(alarm.id)
        told = [(a.event, a.state, self.ids.index(a.id) + 1) for a in verdict.alarms]
        assert told == expected
        held = {name for name, ids in self.memory.held.items() if ids}
        assert held == ({"out"} if self.known.holds else set())
        switched = [order.on for order in verdict.orders]
        assert (switched[-1:] == [bool(held)]) if switched else held == before
        assert [a.state for a in open_alarms(self.memory)] == ([self.known.state] if self.known.open else [])

    @rule(
        dt=STEP, x=st.sampled_from((1.0, 3.75, 4.0, 4.5, 5.0, 9.0)), quality=QUALITY, c=st.sampled_from((0.0, 1.0, NAN))
    )
    def sample(self, dt: float, x: float, quality: Quality, c: float) -> None:
        self.now += dt
        x = NAN if quality >= Quality.STALE else x
        kinds = [quality, Quality.FAULT if math.isnan(c) else Quality.GOOD]
        self.same(frame("s", self.at, MADE, [x, c], kinds), self.known.sample(self.now, x, quality, c))

    @rule(dt=STEP)
    def tick(self, dt: float) -> None:
        self.now += dt
        self.same(Tick(self.at), self.known.tick(self.now))

    @rule(dt=STEP)
    def acknowledge(self, dt: float) -> None:
        self.now += dt
        id = next((a.id for a in open_alarms(self.memory)), "none")
        self.same(Ack(id, "Li", self.at), self.known.acknowledge(self.now))

    @rule(dt=STEP, verb=st.sampled_from(tuple(DEEDS)), seconds=st.sampled_from((2.0, 6.0)))
    def do(self, dt: float, verb: str, seconds: float) -> None:
        self.now += dt
        action = Action(verb, "r", "s/x", "Li", self.at, "why", seconds)  # type: ignore[arg-type]
        self.same(action, self.known.do(self.now, verb, seconds))

    @rule(ahead=st.sampled_from((0.0, 1024.0)))
    def restart(self, ahead: float) -> None:
        """A new process; perhaps in a new run of the kernel, whose clock the reference then follows."""
        data = checkpoint.pack(self.core, self.memory, self.at, f"k{self.boots}")
        open_, wall = open_alarms(self.memory), self.at.wall
        self.boots += 1
        at = Instant(self.now, wall, True)
        fresh = checkpoint.unpack(self.core, self.core.start(f"b{self.boots}", at), data, at, f"k{self.boots - 1}")
        self.memory, verdict = self.core.adopt(fresh, open_, at)
        assert verdict.alarms == ()
        assert [order.on for order in verdict.orders] == [True] * self.known.holds


Life.TestCase.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestLife = Life.TestCase
