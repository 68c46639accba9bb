"""The relay of trial T18 and what is read from its ledger: a rig that is wrong proves nothing."""

from __future__ import annotations

import asyncio
import math

import pytest

from tests.rigs.t18_interlock import NEVER, Breaker, begun, off_after

COILS = {"cut": 0, "alive": 1}
BEFORE = -math.inf


class Panel:
    """A breaker whose coils are written at moments of the test's own."""

    def __init__(self, **settings):
        self.now = 0.0
        self.breaker = Breaker(clock=lambda: self.now, **settings)

    def at(self, seconds, **coils):
        """Whether there is power after these coils were written then."""
        self.now = seconds
        for key, value in coils.items():
            asyncio.run(self.breaker.async_setValues(2, 5, COILS[key], [value]))
        return self.breaker.is_on


def test_there_is_power_while_the_heartbeat_changes_and_no_longer():
    panel = Panel()
    assert not panel.at(0.0)
    assert panel.at(1.0, alive=1)
    assert panel.at(4.0)
    assert not panel.at(60.0)
    assert panel.breaker.power == [(BEFORE, False), (1.0, True), (4.0, False)]  # at its own moment, however late seen
    assert not panel.at(61.0, alive=1)  # it changes nothing
    assert panel.at(62.0, alive=0)
    assert panel.at(64.0, alive=1)
    assert panel.at(67.0)
    assert panel.breaker.shown()["feed"] == 1.0


def test_the_trip_coil_cuts_and_what_lets_it_go_gives_back_only_while_somebody_beats():
    panel = Panel()
    panel.at(0.0, alive=1)
    assert not panel.at(1.0, cut=1)
    assert not panel.at(2.0, alive=0)
    assert panel.at(4.0, cut=0)
    panel.at(4.5, cut=1)
    assert not panel.at(6.0, cut=0)
    assert panel.breaker.shown()["feed"] == 0.0


def test_what_latches_waits_for_a_person():
    panel = Panel(latching=True)
    panel.at(0.0, alive=1)
    assert not panel.at(5.0, alive=0)
    assert not panel.at(6.0, alive=1)
    panel.breaker.reset()
    assert panel.at(6.5)
    assert not panel.at(20.0)
    panel.breaker.reset()
    assert not panel.at(21.0)
    assert panel.at(22.0, alive=0)


def test_a_relay_whose_timer_is_off_never_trips_by_itself():
    panel = Panel(timer=math.inf)
    assert panel.at(0.0, alive=1)
    assert panel.at(1e6)
    assert not panel.at(1e6 + 1, cut=1)


def test_a_coil_that_forgets_cuts_nothing():
    panel = Panel()
    panel.at(0.0, alive=1)
    panel.breaker.stuck = True
    assert panel.at(1.0, cut=1)


@pytest.mark.parametrize(
    ("power", "since", "seconds"),
    [
        ([(BEFORE, False)], 5.0, 0.0),
        ([(BEFORE, False), (1.0, True)], 5.0, NEVER),
        ([(BEFORE, False), (1.0, True), (7.5, False), (8.0, True), (9.0, False)], 5.0, 2.5),
        ([(BEFORE, False), (1.0, True), (4.0, False), (6.0, True)], 5.0, 0.0),
    ],
)
def test_how_long_there_was_power_after_a_fault(power, since, seconds):
    assert off_after(power, since) == seconds


def test_what_begins_in_a_hazard_is_found_and_nothing_else():
    danger = [(BEFORE, False), (10.0, True), (20.0, False), (30.0, True)]
    power = [(BEFORE, False), (1.0, True), (12.0, False), (13.0, True), (14.0, False), (25.0, True), (31.0, False)]
    assert begun(power, danger) == [3.0]
    assert begun([*power, (33.0, True)], danger) == [3.0, 3.0]
