"""Several uplinks side by side that are not told the same: who is told what, how it is counted, what comes again."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import outbox as module
from agent.clock import SystemClock
from agent.core.alarm import Alarm, Level
from agent.core.frame import frame, layout
from agent.core.ports import LANES, Event, Item, Uplink
from agent.feed import Feed
from agent.outbox import Outbox, Store
from tests.tools.station import run, until

CHANNELS = layout(["a"], ["m"])


def uplink(**settings: Any) -> Uplink:
    return msgspec.convert({"name": "few", **settings}, Uplink)


def alarm(n: int, level: Level = "red", state: str = "active-unacked", channel: str = "s/a", **more: Any) -> Alarm:
    at = SystemClock().now()
    return Alarm(f"id-{n}", 1, "raised", state, f"r{n}", channel, level, 1.0, 1.0, "m", at, at, "text", **more)


class Two:
    """An outbox with an uplink `all` and a choosy one, `few`."""

    def __init__(self, path: Path, **choice: Any) -> None:
        self.path, self.choice = path, uplink(**choice)
        self.told: list[Event] = []

    async def __aenter__(self) -> Two:
        store = Store(path=str(self.path), batch=0.02, ballast_mb=0)
        clock = SystemClock()
        self.outbox = await Outbox.open(store, ["all", "few"], clock, self.told.append, {"few": self.choice})
        self.all, self.few = self.outbox.feed("all"), self.outbox.feed("few")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.outbox.close()

    def put(self, n: int, source: str = "s") -> None:
        self.outbox.put_frame(frame(source, SystemClock().now(), CHANNELS, [float(n)]))
        self.outbox._flush(source)


async def drained(feed: Feed, keep: bool = False) -> list[Item]:
    """Everything that the feed has; confirmed, or with `keep` not."""
    items: list[Item] = []

    def empty() -> bool:
        while (item := feed.take()) is not None:
            items.append(item)
            if not keep:
                feed.done(item)
        return not any(feed.waiting().values())

    await until(empty)
    return items


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("settings", "complaint"), [({"lanes": ["backfill"]}, "name both"), ({"levels": ["pink"]}, "pink")]
)
def test_choices_that_make_no_sense_are_refused(settings: dict[str, Any], complaint: str):
    with pytest.raises(msgspec.ValidationError, match=complaint):
        uplink(**settings)


def test_levels_sources_and_lanes_choose_what_is_told_and_each_counts_for_itself(tmp_path: Path):
    async def main() -> None:
        async with Two(tmp_path, levels=["red"], sources=["s*"], lanes=["alarm", "telemetry"]) as two:
            two.all.online(True)
            two.few.online(True)
            two.outbox.put_alarms([alarm(1, "yellow"), alarm(2), alarm(3, channel="other/a"), alarm(4)])
            two.outbox.put_event(Event("k", "s", SystemClock().now(), "text"))
            for n in range(3):
                two.put(n, "s1")
                two.put(n, "other")
            all, few = await drained(two.all), await drained(two.few)
            assert len(all) == 11
            assert [(i.stream, i.seq, getattr(i.body, "id", "")) for i in few] == [
                ("alarm", 1, "id-2"),
                ("alarm", 2, "id-4"),
                *(("telemetry/s1", n, "") for n in (1, 2, 3)),
            ]
            assert sorted(i.seq for i in all if i.lane == "alarm") == [1, 2, 3, 4]

    run(main())


def test_whoever_was_told_of_an_alarm_is_told_how_it_goes_on(tmp_path: Path):
    """A colour goes from yellow to red and back, and ends: from red on, all of it is told, after a restart, too."""

    async def main() -> None:
        async with Two(tmp_path, levels=["red"]) as two:
            two.few.online(True)
            red = alarm(1, "red")
            two.outbox.put_alarms([alarm(1, "yellow")])
            two.outbox.put_alarms([msgspec.structs.replace(red, before="yellow")])
            two.outbox.put_alarms([msgspec.structs.replace(red, level="yellow", before="red")])
            two.outbox.put_alarms([alarm(2), alarm(3, "blue")])
            told = await drained(two.few)
            assert [(i.seq, i.body.id, i.body.level) for i in told] == [  # type: ignore[union-attr]
                (1, "id-1", "red"),
                (3, "id-2", "red"),
                (2, "id-1", "yellow"),
            ]
            two.outbox.put_alarms([alarm(1, "yellow", "normal"), alarm(1, "yellow")])
            (end,) = await drained(two.few)
            assert (end.body.state, end.seq) == ("normal", 4)  # type: ignore[union-attr]
        async with Two(tmp_path, levels=["red"]) as two:
            two.few.online(True)
            two.outbox.put_alarms([alarm(2, "red", "normal"), alarm(3, "blue", "normal")])
            assert [i.body.id for i in await drained(two.few)] == ["id-2"]  # type: ignore[union-attr]

    run(main())


def test_its_own_numbers_outlast_a_restart(tmp_path: Path):
    async def main() -> None:
        async with Two(tmp_path, levels=["red"]) as two:
            two.outbox.put_alarms([alarm(n, "red" if n % 2 else "blue") for n in range(6)])
            assert await two.outbox.put_alarms([])
            boot = two.outbox.boot
        async with Two(tmp_path, levels=["red"]) as two:
            two.few.online(True)
            two.all.online(True)
            few, all = await drained(two.few), await drained(two.all)
            assert [(i.boot, i.seq, i.body.id) for i in few] == [(boot, 1 + n, f"id-{2 * n + 1}") for n in range(3)]  # type: ignore[union-attr]
            numbers = {i.seq: i.body.id for i in all}  # type: ignore[union-attr]
            assert numbers == {n: f"id-{k}" for n, k in enumerate((1, 3, 5, 0, 2, 4), 1)}  # red first

    run(main())


def test_the_backlog_of_one_source_of_ten_takes_few_spans_and_loses_nothing(tmp_path: Path):
    async def main() -> None:
        async with Two(tmp_path, sources=["s3"]) as two:
            for n in range(40):
                for k in range(10):
                    two.put(n, f"s{k}")
                if n % 10 == 0:
                    await until(lambda: not two.outbox._pending)
            await until(lambda: two.outbox._committed == two.outbox._batch_row - 1)
            assert len(two.few.owed.spans) <= 3
            two.few.online(True)
            items = await drained(two.few)
            assert [(i.stream, i.seq) for i in items] == [("telemetry/s3", n + 1) for n in range(40)]
            assert not any(two.few.lost().values())
            assert [e.kind for e in two.told] == []
        async with Two(tmp_path, sources=["s3"]) as two:
            assert len(two.all.owed) == 400

    run(main())


def test_telemetry_without_backfill_is_told_live_or_never(tmp_path: Path):
    async def main() -> None:
        async with Two(tmp_path, lanes=["telemetry"]) as two:
            two.put(1)
            await until(lambda: two.outbox._committed == two.outbox._batch_row - 1)
            two.few.online(True)
            two.put(2)
            assert [(i.seq, i.historical) for i in await drained(two.few)] == [(2, False)]
            assert not any(two.few.lost().values())

    run(main())


# -- once more --------------------------------------------------------------------------------------------


async def asked(two: Two, feed: Feed, boot: str, stream: str, first: int, last: int) -> dict[str, Any]:
    """What the event says of it."""
    n = len(two.told)
    feed.ask(boot, stream, first, last)
    await until(lambda: [event for event in two.told[n:] if event.kind == "range"])
    return two.told[-1].facts


def test_a_stretch_of_telemetry_comes_again_marked_and_what_cannot_is_told_why(tmp_path: Path):
    async def main() -> None:
        async with Two(tmp_path) as two:
            two.all.online(True)
            for n in range(60):
                two.put(n, "s")
                two.put(n, "t")
                if n % 10 == 0:
                    await until(lambda: not two.outbox._pending)
            boot = two.outbox.boot
            assert len(await drained(two.all)) == 120
            await until(lambda: two.outbox._committed == two.outbox._batch_row - 1)
            facts = await asked(two, two.all, boot, "telemetry/t", 17, 70)
            assert (facts["again"], facts["missing"]) == (44, [[61, 70, "not kept any longer"]])
            items = await drained(two.all)
            assert [(i.stream, i.seq, i.resent, i.historical) for i in items] == [
                ("telemetry/t", n, True, True) for n in range(17, 61)
            ]
            assert [i.body.value[0, 0] for i in items] == list(range(16, 60))  # type: ignore[union-attr]
        async with Two(tmp_path) as two:  # of an earlier start, too
            two.all.online(True)
            two.put(0, "t")
            facts = await asked(two, two.all, boot, "telemetry/t", 59, 60)
            assert (facts["again"], facts["missing"]) == (2, [])
            assert [i.seq for i in await drained(two.all) if i.boot == boot] == [59, 60]
            for wrong in ("000099-abcd", "nonsense", ""):
                facts = await asked(two, two.all, wrong, "telemetry/t", 1, 2)
                assert facts["missing"] == [[1, 2, "not kept any longer"]]

    run(main())


def test_of_alarms_what_is_owed_comes_and_what_was_delivered_does_not(tmp_path: Path):
    async def main() -> None:
        async with Two(tmp_path, levels=["red"]) as two:
            two.few.online(True)
            two.outbox.put_alarms([alarm(1), alarm(2, "blue"), alarm(3)])
            first = two.few.take("event")
            assert first is not None
            two.few.done(first)
            facts = await asked(two, two.few, two.outbox.boot, "alarm", 1, 5)
            assert facts["again"] == 1
            assert facts["missing"] == [
                [1, 1, "delivered before, and not kept any longer"],
                [3, 5, "not given yet"],
            ]
            facts = await asked(two, two.few, two.outbox.boot, "alarm", 1, 2000)
            assert facts["missing"][-1] == [1001, 2000, "more than 1000 at once"]

    run(main())


def test_every_lane_can_be_chosen():
    assert uplink(lanes=list(LANES)).wants_lane("event")


def test_a_choice_that_changes_under_way_counts_on_where_it_was(tmp_path: Path):
    """Not told everything any longer, then everything again: no number twice, none left out, every alarm ends."""

    async def main() -> None:
        async with Two(tmp_path, levels=["red"]) as two:
            two.all.online(True)
            two.outbox.put_alarms([alarm(1, "yellow"), alarm(2)])
            told = await drained(two.all)
            two.outbox.admit("all", uplink(levels=["red"]))
            two.outbox.put_alarms([alarm(3, "yellow"), alarm(4), alarm(1, "yellow", "normal")])
            told += await drained(two.all)
            two.outbox.admit("all", None)
            two.outbox.put_alarms([alarm(5, "yellow")])
            told += await drained(two.all)
            assert [(i.seq, i.body.id) for i in sorted(told, key=lambda i: i.seq)] == [  # type: ignore[union-attr]
                (1, "id-2"),  # red, and numbered before the yellow one of the same moment
                (2, "id-1"),
                (3, "id-4"),
                (4, "id-1"),
                (5, "id-5"),
            ]

    run(main())


def test_an_uplink_that_goes_lets_go_what_it_owes_and_one_that_comes_begins_at_one(tmp_path: Path):
    async def main() -> None:
        async with Two(tmp_path) as two:
            two.all.online(True)
            two.outbox.put_alarms([alarm(1), alarm(2)])
            two.put(1)
            assert two.outbox.dismiss("few") == 3
            told = await drained(two.all)
            assert sorted(i.seq for i in told if i.lane == "alarm") == [1, 2]
            await until(lambda: not two.outbox.entries)  # nobody owes them any longer
            two.outbox.admit("new", None)
            two.outbox.feed("new").online(True)
            two.outbox.put_alarms([alarm(3)])
            two.put(2)
            assert sorted((i.stream, i.seq) for i in await drained(two.outbox.feed("new"))) == [
                ("alarm", 1),
                ("telemetry/s", 2),
            ]
            two.outbox.admit("few", uplink(levels=["red"]))  # it was there before: its numbers go on
            two.outbox.feed("few").online(True)
            two.outbox.put_alarms([alarm(4)])
            assert [i.seq for i in await drained(two.outbox.feed("few"))] == [3]

    run(main())
