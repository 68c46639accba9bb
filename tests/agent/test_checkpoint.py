"""A restart at any moment is no restart; and what is kept is taken over only where it belongs."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import checkpoint
from agent.core.core import Ack, Action, Core, Tick, open_alarms
from agent.core.frame import Instant, Quality, frame, layout
from agent.core.rules import (
    Bad,
    Deviation,
    Expect,
    Feedback,
    Frozen,
    High,
    Item,
    Low,
    Manual,
    Rate,
    Silence,
    Vote,
)
from models.exposure import Exposure

KEYS = ("x", "y", "z")
SOURCES = {"s": layout(KEYS, stale=30.0), "t": layout(KEYS, stale=30.0)}
RULES = [
    High(name="high", channel=["s/x"], limit=5.0, restore=3.0, delay=10.0, clear_delay=10.0, drive=["siren"]),
    High(name="blind", channel=["s/*", "t/*"], limit=8.0, fail_safe=True, drive=["cut"], level="red"),
    High(name="held", channel=["s/y"], limit=6.0, latch=True, drive=["cut"]),
    Low(name="low", channel=["*/z"], limit=1.0, when=["t/x >= 2"], delay=5.0),
    High(name="lock", channel=["t/y"], limit=5.0, restore=2.0, start_when=["s/z < 4"], lock=True, drive=["lock"]),
    Expect(name="fan", channel=["t/z"], expect=">= 1", clear_when=["s/x < 4"], clear_delay=5.0, drive=["cut"]),
    Rate(name="rate", channel=["s/*"], limit=10.0, per=60.0, window=60.0, direction="both"),
    Deviation(name="apart", channel=["s/*"], limit=4.0, delay=5.0),
    Frozen(name="frozen", channel=["*/x"], limit=40.0),
    Silence(name="silent", channel=["s", "t"], limit=20.0),
    Bad(name="unfit", channel=["*/y"], clear_delay=15.0),
    Vote(name="vote", channel=["s/x", "t/x", "t/y"], limit=5.0, restore=4.0),
    Feedback(name="feed", channel=["s/z"], output="cut", threshold=5.0),
    Manual(name="remote", channel=["s/x"], drive=["cut"]),
    Item(name="dam", channel=["s/*"], counts={"yellow": 2}, clear_delay=20.0),
    Item(name="site", item=["dam"], channel=["t/*"], clear_delay=20.0),
    High(name="shift", channel=["s/x.stel"], limit=5.0),
]
DETECTORS = [Exposure(name="e", channel=["s/x"])]


def core(rules=RULES):
    return Core(SOURCES, rules, "en", DETECTORS)


CORE = core()
LEVELS = st.sampled_from([0.0, 0.5, 2.0, 3.5, 4.5, 5.5, 9.0])
QUALITY = st.sampled_from([Quality.GOOD] * 8 + [Quality.UNCERTAIN, Quality.OVER_RANGE, Quality.STALE, Quality.FAULT])
READ = st.tuples(
    st.sampled_from(["s", "t"]),
    st.lists(LEVELS, min_size=3, max_size=3),
    st.lists(QUALITY, min_size=3, max_size=3),
)
DEED = st.sampled_from(["ack", "reset", "shelve", "take-out", "restore", "demand", "withdraw"])
STEP = st.tuples(st.sampled_from([0.5, 1.0, 4.0, 12.0]), st.one_of(READ, READ, READ, st.none(), DEED))


def moment(mono, ahead=0.0):
    return Instant(mono - ahead, 1.7e9 + mono, True)


def event_of(memory, at, what, n):
    """The event of one step; what people do goes round the points, so that each has its turn."""
    if what is None:
        return Tick(at)
    if isinstance(what, tuple):
        source, values, quality = what
        seen = np.where(np.array(quality) >= Quality.STALE, np.nan, values)
        return frame(source, at, SOURCES[source], seen, quality)
    known = open_alarms(memory)
    if what == "ack":
        return Ack(sorted(known, key=lambda a: a.point)[n % len(known)].id if known else "none", "Li", at)
    rule, channel = sorted(CORE.places)[n % len(CORE.places)]
    return Action(what, rule, channel, "Li", at, "why", 60.0)


def told(verdict):
    """What the world hears, without what differs by boot."""
    alarms = [(a.rule, a.channel, a.edge, a.event, a.state, a.value, a.level, bool(a.fold)) for a in verdict.alarms]
    return alarms, [(o.output, o.on) for o in verdict.orders]


def restarted(memory, now, ahead_before, ahead_after, kernel):
    """A new process at the same moment, perhaps in a new run of the kernel."""
    data = checkpoint.pack(CORE, memory, moment(now, ahead_before), "k1")
    at = moment(now, ahead_after)
    fresh = checkpoint.unpack(CORE, CORE.start("after", at), data, at, kernel)
    again, verdict = CORE.adopt(fresh, open_alarms(memory), at)
    assert verdict.alarms == ()
    assert {o.output for o in verdict.orders if o.on} == {name for name, ids in memory.held.items() if ids}
    return again


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=60), st.integers(0, 59), st.sampled_from([0.0, 4096.0]))
def test_a_restart_at_any_moment_is_no_restart(steps, cut, ahead):
    whole = parted = CORE.start("before", moment(0.0))
    now, later = 0.0, 0.0
    for n, (seconds, what) in enumerate(steps):
        if n == min(cut, len(steps) - 1):
            parted = restarted(parted, now, 0.0, ahead, "k2" if ahead else "k1")
            later = ahead
        now += seconds
        whole, one = CORE.step(whole, event_of(whole, moment(now), what, n))
        parted, other = CORE.step(parted, event_of(parted, moment(now, later), what, n))
        assert told(one) == told(other)
    assert {a.point: a.state for a in open_alarms(whole)} == {a.point: a.state for a in open_alarms(parted)}
    assert {k for k, v in whole.held.items() if v} == {k for k, v in parted.held.items() if v}


def run(memory, begin, end, x, judge=CORE):
    heard = []
    for second in range(begin, end):
        event = frame("s", moment(float(second)), SOURCES["s"], [x, 4.0, 4.0])
        memory, verdict = judge.step(memory, event)
        heard += [(second, a.rule, a.event) for a in verdict.alarms if a.rule == "high"]
    return memory, heard


def kept(memory, second, judge=CORE):
    return checkpoint.pack(judge, memory, moment(float(second)), "k1")


def taken(data, second, judge=CORE, kernel="k1", at=None):
    at = at or moment(float(second))
    return checkpoint.unpack(judge, judge.start("after", at), data, at, kernel)


def test_an_on_delay_goes_on_where_it_was():
    memory, heard = run(CORE.start("b", moment(0.0)), 1, 6, 5.5)
    assert heard == []
    memory, heard = run(taken(kept(memory, 5), 6), 6, 20, 5.5)
    assert heard == [(11, "high", "raised")]  # ten seconds after second 1


def test_an_off_delay_counts_only_what_was_watched():
    memory, _ = run(CORE.start("b", moment(0.0)), 1, 12, 5.5)
    memory, heard = run(memory, 12, 17, 0.0)  # 4 of 10 s
    assert heard == []
    again, _ = CORE.adopt(taken(kept(memory, 16), 26), open_alarms(memory), moment(26.0))
    _, heard = run(again, 26, 40, 0.0)
    assert heard == [(32, "high", "cleared")]  # 6 more, though 10 had passed unseen


def test_what_was_read_too_long_ago_is_as_if_never_read():
    memory, _ = run(CORE.start("b", moment(0.0)), 1, 6, 0.0)
    young, old = taken(kept(memory, 5), 20), taken(kept(memory, 5), 60)
    assert young.watches["s"].seen.value[0] == 0.0
    assert np.isnan(old.watches["s"].seen.value[0])
    _, verdict = CORE.step(old, Tick(moment(60.0)))
    assert not [a for a in verdict.alarms if a.rule in ("silent", "blind")]  # it has yet to come


@pytest.mark.parametrize(
    ("synced", "passed"),
    [(True, 100.0), (False, 0.0)],
    ids=["by the wall clock that both ends trust", "as if no time had passed"],
)
def test_a_new_run_of_the_kernel_moves_all_instants(synced, passed):
    memory, _ = run(CORE.start("b", moment(0.0)), 1, 6, 5.5)
    at = Instant(7.0, 1.7e9 + 105.0, synced)  # 100 s after the snapshot, and 7 after the boot
    again = taken(kept(memory, 5), 0, kernel="k2", at=at)
    assert at.mono - again.watches["s"].over[CORE.places["high", "s/x"][1]] == pytest.approx(4.0 + passed)


def test_what_was_made_for_other_rules_is_left():
    memory, _ = run(CORE.start("b", moment(0.0)), 1, 6, 5.5)
    changed = core([High(name="high", channel=["s/x"], limit=5.0, delay=11.0), *RULES[1:]])
    again = taken(kept(memory, 5), 6, changed)
    assert np.isnan(again.watches["s"].over).all()
    assert again.watches["t"].measures  # the other source goes on as it was
    assert again.watches["s"].derived[0].shift.total.sum() > 0  # and so does the detector
    rate = [type(m).__name__ for m in changed.benches["s"].measures].index("Slope")
    assert np.isfinite(again.watches["s"].measures[rate][0][0]).any()


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:],
        lambda data: b"vdm0" + data[4:],
        lambda data: checkpoint.MAGIC + b"\0\0\0\0",
    ],
)
def test_what_is_damaged_is_not_believed(harm):
    memory, _ = run(CORE.start("b", moment(0.0)), 1, 6, 5.5)
    with pytest.raises(ValueError, match=r"damaged|another version"):
        taken(harm(kept(memory, 5)), 6)


def test_another_form_of_a_memory_is_left(monkeypatch):
    memory, _ = run(CORE.start("b", moment(0.0)), 1, 6, 5.5)
    data = kept(memory, 5)
    rate = [type(m).__name__ for m in CORE.benches["s"].measures].index("Slope")
    slope = type(CORE.benches["s"].measures[rate])
    monkeypatch.setattr(slope, "DEPTH", 20)  # as a newer program has it
    assert np.isnan(taken(data, 6).watches["s"].measures[rate][0]).all()
    monkeypatch.setattr(Exposure, "start", lambda self, seen: 7)
    assert taken(data, 6).watches["s"].derived == (7,)


def test_the_file_is_replaced_whole(tmp_path):
    memory, _ = run(CORE.start("b", moment(0.0)), 1, 6, 5.5)
    assert checkpoint.read(tmp_path) is None
    size = checkpoint.write(tmp_path, CORE, memory, moment(5.0), "k1")
    assert checkpoint.read(tmp_path) == kept(memory, 5)
    assert size == (tmp_path / checkpoint.NAME).stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.NAME]


def test_it_is_written_now_and_then_at_once_after_a_walk_and_when_all_ends(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(checkpoint, "LEAST", 30.0)

    async def looked(keeper, begin, end, memory):
        """A second at a time; the seconds in which a writing was begun."""
        found = []
        for second in range(begin, end):
            before = keeper._last
            keeper.look(memory, moment(float(second)))
            found += [second] if keeper._last != before and before else []
            if keeper._job is not None:
                await asyncio.wait([keeper._job])
        return found

    async def main():
        memory, _ = run(CORE.start("b", moment(0.0)), 1, 6, 5.5)
        keeper = checkpoint.Keeper(tmp_path, CORE, "k1", told.append)
        assert await looked(keeper, 1, 70, memory) == [31, 61]
        keeper.hurry()
        assert await looked(keeper, 70, 73, memory) == [70]
        (tmp_path / "state").touch()
        keeper.folder = tmp_path / "state"  # the disk is gone
        assert await looked(keeper, 73, 200, memory) == [100, 130, 160, 190]
        assert [event.kind for event in told] == ["memory-unkept"]  # once
        keeper.folder = tmp_path
        await keeper.close(memory, moment(201.0))

    asyncio.run(main())
    assert taken(checkpoint.read(tmp_path), 202).watches["s"].seen.value[0] == 5.5
