"""The laws hold for what ships, and they can be broken."""

from typing import ClassVar

import pytest

from agent import checks
from agent.core import rules
from agent.core.ports import Driver, Uplink
from agent.core.rules import Bad, Deviation, Frozen, High, Low, Rate, Silence

ALL = [
    High(name="r", channel=["*"], limit=5.0, restore=2.0, delay=15.0, clear_delay=25.0),
    High(name="r", channel=["*"], limit=5.0, fail_safe=True),
    Low(name="r", channel=["*"], limit=-5.0),
    Rate(name="r", channel=["*"], limit=20.0, window=100.0),
    Rate(name="r", channel=["*"], limit=20.0, window=100.0, direction="both"),
    Deviation(name="r", channel=["*"], limit=20.0),
    Frozen(name="r", channel=["*"], limit=20.0, band=5.0),
    Silence(name="r", channel=["*"], limit=5.0),
    Bad(name="r", channel=["*"]),
]


@pytest.mark.parametrize("rule", ALL, ids=lambda r: str(r.__struct_config__.tag))
def test_every_kind_of_rule_keeps_the_laws(rule):
    assert checks.rule(rule) == []


def test_a_measure_with_hidden_memory_is_found(monkeypatch):
    class Leaky(rules.Value):
        def step(self, memory, now, seen, board):
            self.count = getattr(self, "count", 0) + 1
            _, value, quality = super().step(memory, now, seen, board)
            return None, value * (self.count % 3), quality

    monkeypatch.setitem(rules.MEASURES, High, Leaky)
    assert checks.rule(High(name="r", channel=["*"], limit=5.0)) != []


def test_a_driver_whose_layout_wanders_is_found():
    class Wanderer(Driver, frozen=True):
        count: ClassVar[list[int]] = []

        def layouts(self):
            from agent.core.frame import layout

            self.count.append(1)
            return {f"s{len(self.count)}": layout(["a", "a"])}

    broken = checks.driver(Wanderer(name="w"))
    assert "layouts() gives the same answer twice" in broken


def test_an_uplink_that_holds_a_secret_is_found():
    class Loose(Uplink, frozen=True):
        password: str = ""

    assert checks.uplink(Loose(name="u", password="hunter2")) == ["password is a reference, never the secret itself"]
    assert checks.uplink(Loose(name="u", password="env:MQTT")) == []
