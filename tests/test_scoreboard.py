"""The scoreboard itself: it calls red what is red, and nothing else."""

from __future__ import annotations

import pytest
from msgspec import structs

from tests.rigs import scoreboard
from tests.rigs.sabotage import TABLE, place, sabotaged
from tests.rigs.scoreboard import Run, is_good, lines, perform, word
from tests.rigs.trial import Case, Skip, Trial


def counting(case: Case) -> None:
    case.exactly("alarms lost", int(bool(case.sabotage)), 0)
    case.at_most("delay", 2.0, 1.0, "s", short="the card is slow")
    case.figure("cuts", case.n(10, 1000))


def skipping(case: Case) -> None:
    raise Skip("no card")


def breaking(case: Case) -> None:
    case.exactly("alarms lost", 1, 0)
    raise RuntimeError("the rig is broken")


def trial(run, red=("alarms lost",)) -> Trial:
    return Trial("T0", "a trial", run, "sync-normal", red)


@pytest.mark.parametrize(
    ("run", "red", "sabotage", "says", "good"),
    [
        (counting, ("alarms lost",), "", "short", True),
        (counting, ("alarms lost",), "sync-normal", "red", True),
        (counting, ("order",), "sync-normal", "GREEN", False),  # red for another reason proves nothing
        (skipping, (), "", "skipped", True),
        (breaking, ("alarms lost",), "", "broke", False),
        (breaking, ("alarms lost",), "sync-normal", "broke", False),
    ],
)
def test_a_run_is_called_what_it_is(run, red, sabotage, says, good):
    made = trial(run, red)
    ran = perform(made, "full", sabotage)
    assert word(made, ran) == says
    assert is_good(made, ran) == good
    assert says in "\n".join(lines(made, ran, None)) or sabotage


def test_where_every_mark_has_to_be_red_one_is_not_enough():
    both = structs.replace(trial(counting, ("alarms lost", "order")), every=True)
    ran = perform(both, "full", "sync-normal")
    assert word(both, ran) == "GREEN"
    assert "not in red: order" in "\n".join(lines(both, ran, ran))
    assert word(structs.replace(both, red=("alarms lost",)), ran) == "red"


@pytest.mark.parametrize(("unit", "is_time"), [("s", True), ("of the period", True), ("", False), ("MB", False)])
def test_only_a_time_gets_a_second_chance(unit, is_time):
    case = Case("quick", "", None)
    case.at_most("figure", 2.0, 1.0, unit)
    assert case.marks[0].is_time == is_time


@pytest.mark.parametrize(("got", "good"), [(1.4, True), (999.0, False), (float("nan"), False)])
def test_a_slow_machine_fails_nothing_where_times_are_figures_but_what_never_came_does(got, good):
    made = trial(lambda case: case.at_most("delay", got, 1.0, "s"))
    ran = perform(made, "quick", "")
    assert not is_good(made, ran)
    assert is_good(made, ran, lenient=True) == good
    lost = trial(lambda case: case.exactly("alarms lost", 1, 0))
    assert not is_good(lost, perform(lost, "quick", ""), lenient=True)


def test_a_missed_goal_without_a_reason_fails():
    made = trial(lambda case: case.at_most("delay", float("nan"), 1.0))
    assert word(made, perform(made, "quick", "")) == "MISSED"
    assert not is_good(made, Run("T0", "", "broke", 0.0, why="did not end"))


def test_a_sabotaged_run_is_never_bigger_than_the_quick_one():
    sizes = [perform(trial(counting), size, s).marks[2].got for size in ("quick", "full") for s in ("", "sync-normal")]
    assert sizes == [10, 10, 1000, 10]


@pytest.mark.parametrize("name", TABLE)
def test_every_sabotage_finds_what_it_replaces_and_puts_it_back(name):
    def standing() -> list[object]:
        return [vars(owner)[attribute] for owner, attribute in (place(m, path) for m, path, _ in TABLE[name])]

    before = standing()
    with sabotaged(name):
        assert all(new is not old for new, old in zip(standing(), before, strict=True))
    assert all(new is old for new, old in zip(standing(), before, strict=True))


def test_every_trial_names_a_sabotage_and_what_turns_red():
    trials = scoreboard.trials()
    assert [t.id for t in trials] == sorted({t.id for t in trials}, key=lambda id: int(id[1:]))
    for made in trials:
        assert made.sabotage in TABLE
        assert made.sabotage
        assert made.red
