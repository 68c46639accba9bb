"""Alarm machine and outbox against their models, a little of each; the scoreboard (T16) does the rest."""

from __future__ import annotations

from pathlib import Path

from hypothesis import settings

from tests.rigs.machines import MODEL, AlarmMachine, OutboxMachine
from tests.rigs.reference import walk as alarms
from tests.rigs.shelf import walk as outbox

AlarmMachine.TestCase.settings = settings(MODEL, max_examples=10)
OutboxMachine.TestCase.settings = settings(MODEL, max_examples=6)

TestAlarms = AlarmMachine.TestCase
TestOutbox = OutboxMachine.TestCase


def test_the_core_judges_as_the_reference_does():
    assert not list(alarms(seed=1, steps=20_000))


def test_the_outbox_is_a_list_that_survives(tmp_path: Path):
    for seed in range(3):
        assert not outbox(tmp_path, seed, steps=300, tight=seed == 2)
