"""The queue, seen by a platform that takes straight from the feed. What the wire does is tested with mosquitto."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agent import outbox as module
from agent.clock import ManualClock, SystemClock
from agent.core.alarm import LEVELS, Alarm, Level
from agent.core.errors import StoreFault
from agent.core.frame import Instant, Quality, frame, layout
from agent.core.ports import Batch, Event, Item
from agent.feed import BEHIND, Feed, Urgent
from agent.gather import Gather
from agent.outbox import Outbox, Store
from agent.store import Alarms, History

ONE = layout(["a"])
CHANNELS = layout([f"c{i}" for i in range(40)], ["m"] * 40)
AT = Instant(1.0, 1.7e9, True)


def alarm(n: int, state: str = "active-unacked", point: str = "c0", level: Level = "red") -> Alarm:
    return Alarm(f"id-{n}", 1, "raised", state, "rule", f"s/{point}", level, float(n), 1.0, "m", AT, AT, "text")


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 30))


async def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def opened(path: Path, uplinks: tuple[str, ...] = ("p",), **settings: Any) -> AsyncIterator[Outbox]:
    """An outbox with quick settings; what it tells is kept in `told`, and its events are put as usual."""
    quick = {"batch": 0.02, "retry": 0.1, "ballast_mb": 0, **settings}
    told: list[Event] = []
    box: list[Outbox] = []

    def tell(event: Event) -> None:
        told.append(event)
        box[0].put_event(event)

    outbox = await Outbox.open(Store(path=str(path), **quick), uplinks, SystemClock(), tell)
    box.append(outbox)
    outbox.told = told  # type: ignore[attr-defined]
    try:
        yield outbox
    finally:
        await outbox.close()


def told(outbox: Outbox, kind: str) -> list[Event]:
    return [event for event in outbox.told if event.kind == kind]  # type: ignore[attr-defined]


def put(outbox: Outbox, n: int, source: str = "s") -> None:
    """One frame whose values nobody has seen before: one batch."""
    outbox.put_frame(frame(source, SystemClock().now(), CHANNELS, np.random.default_rng(n).normal(size=40)))
    outbox._flush(source)


async def drain(feed: Feed, seconds: float = 30.0) -> list[Item]:
    """Everything that the feed has, confirmed at once."""
    items: list[Item] = []

    def empty() -> bool:
        while (item := feed.take()) is not None:
            items.append(item)
            feed.done(item)
        return not any(feed.waiting().values())

    await until(empty, seconds)
    return items


def snapshot(path: Path, to: Path) -> Path:
    """The files as SIGKILL would leave them now."""
    shutil.copytree(path, to, ignore=shutil.ignore_patterns("ballast"))
    return to


def numbers(items: list[Item], stream: str) -> list[int]:
    return [item.seq for item in items if item.stream == stream]


# -- alarms, events, memory ---------------------------------------------------------------------------


def test_events_and_alarms_that_went_leave_nothing_in_memory():
    urgent = Urgent()

    def deliver(rows: range) -> None:
        for row in rows:
            event = Item("event", row, "1-a", "event", row, Event("link-up", "p", AT, "text"))
            edge = Item("alarm", row + 1, "1-a", "alarm", row, alarm(row, point=f"c{row}"))
            urgent.put(event, {row})
            urgent.put(edge, {row, row + 1})
            taken = [urgent.take({row, row + 1}) for _ in range(3)]
            assert taken == [edge, event, None]  # an alarm before an event

    deliver(range(0, 20, 2))
    tracemalloc.start()
    try:
        deliver(range(20, 4020, 2))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 50_000, f"{kept} bytes of 2,000 events and alarms"


def test_an_alarm_is_at_the_uplink_before_it_is_on_the_disk_and_stays_until_both_have_it(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path / "a") as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            stored = outbox.put_alarms([alarm(1), alarm(2)])
            first, second = feed.take("event"), feed.take("event")
            assert first is not None
            assert second is not None
            assert not stored.done()
            assert [(i.lane, i.stream, i.seq, i.resent) for i in (first, second)] == [
                ("alarm", "alarm", 1, False),
                ("alarm", "alarm", 2, False),
            ]
            feed.done(first)
            assert await stored
        async with opened(tmp_path / "a") as again:
            assert again.recall() == (alarm(2),)
            assert again.boot > outbox.boot
            assert len(again.boot) == len("000012-9f3a")
            again.feed("p").online(True)
            items = await drain(again.feed("p"))
            assert [(i.boot, i.seq, i.resent, i.body) for i in items] == [(outbox.boot, 2, True, alarm(2))]
        async with opened(tmp_path / "a") as third:
            assert third.depth()["alarm"] == 0

    run(main())


def test_alarms_go_before_events_before_live_telemetry_before_backlog(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path / "a") as outbox:
            feed = outbox.feed("p")
            put(outbox, 1)
            await until(lambda: feed.waiting()["backfill"] == 1)
            feed.online(True)
            put(outbox, 2)
            outbox.put_event(Event("k", "s", AT, "text", {"n": 1}))
            outbox.put_alarms([alarm(1)])
            items = [feed.take("event")]
            feed.done(items[0])  # type: ignore[arg-type]
            items += await drain(feed)
            assert [(i.lane, i.seq, i.historical) for i in items] == [
                ("alarm", 1, False),
                ("event", 1, False),
                ("telemetry", 2, False),
                ("backfill", 1, True),
            ]

    run(main())


def test_a_row_goes_only_when_every_uplink_delivered_it_and_a_removed_uplink_holds_nothing(tmp_path: Path):
    async def main() -> None:
        path = tmp_path / "a"
        async with opened(path, ("one", "two")) as outbox:
            await outbox.put_alarms([alarm(1)])
            put(outbox, 1)
            outbox.feed("one").online(True)
            assert len(await drain(outbox.feed("one"))) == 2
            await until(lambda: outbox.feed("two").waiting()["backfill"] == 1)
        async with opened(path, ("one", "two")) as outbox:
            assert not any(outbox.feed("one").waiting().values())
            assert outbox.feed("two").waiting() == {"alarm": 1, "event": 0, "telemetry": 0, "backfill": 1}
        async with opened(path, ("one",)) as outbox:
            assert not any(outbox.depth().values())
        async with opened(path, ("one", "two")) as outbox:
            assert not any(outbox.depth().values())

    run(main())


def test_an_alarm_that_was_returned_comes_back_first_and_marked(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path / "a") as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            outbox.put_alarms([alarm(1), alarm(2)])
            one = feed.take("event")
            assert one is not None
            feed.again(one)
            assert [(i.seq, i.resent) for i in await drain(feed)] == [(1, True), (2, False)]

    run(main())


def test_when_the_lane_is_full_the_oldest_events_go_before_any_alarm_and_are_counted(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path / "a", alarms_mb=0.25) as outbox:  # 128 rows
            for n in range(100):
                outbox.put_event(Event("k", "s", AT, str(n)))
            await outbox.put_alarms([alarm(n) for n in range(100)])
            assert outbox.lost() == {"alarm": 0, "event": 72, "telemetry": 0, "backfill": 0}
            await outbox.put_alarms([alarm(n) for n in range(100, 150)])
            assert outbox.lost() == {"alarm": 22, "event": 100, "telemetry": 0, "backfill": 0}
            feed = outbox.feed("p")
            feed.online(True)
            assert numbers(await drain(feed), "alarm") == list(range(23, 151))
            await until(lambda: len(told(outbox, "gap")) == 2)
            gaps = {e.facts["stream"]: (e.facts["from"], e.facts["to"], e.facts["count"]) for e in told(outbox, "gap")}
            assert gaps == {"event": (1, 100, 100), "alarm": (1, 22, 22)}

    run(main())


def test_what_a_platform_refuses_for_good_is_set_aside_and_the_stream_goes_on(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path / "a") as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            await outbox.put_event(Event("k", "s", AT, "poison"))
            await outbox.put_event(Event("k", "s", AT, "good"))
            feed.refused(feed.take("event"), "bad taste")  # type: ignore[arg-type]
            assert next(i.seq for i in await drain(feed)) == 2
            assert feed.lost()["event"] == 1
            await until(lambda: told(outbox, "set-aside"))
        db = sqlite3.connect(tmp_path / "a" / "alarms.db")
        assert [(why, b"poison" in body) for why, body in db.execute("SELECT why, body FROM aside")] == [
            ("bad taste", True)
        ]
        db.close()

    run(main())


# -- telemetry ------------------------------------------------------------------------------------------


def test_only_what_moved_is_reported_and_the_heartbeat_when_nothing_does(tmp_path: Path):
    async def main() -> None:
        clock = ManualClock()
        outbox = await Outbox.open(Store(path=str(tmp_path / "a")), ["p"], clock)
        feed = outbox.feed("p")
        feed.online(True)
        banded = layout(["a", "b"], deadband=[0.5, 0.0])
        stories = [  # seconds after the last, values, qualities, reported?
            (0.0, [1.0, np.nan], [0, 1], True),
            (2.0, [1.5, np.nan], [0, 1], False),  # within the band, and still unknown
            (2.0, [1.6, np.nan], [0, 1], True),  # left the band, counted from what was reported
            (2.0, [1.6, np.nan], [0, Quality.FAULT], True),
            (2.0, [1.6, 7.0], [0, Quality.FAULT], True),
            (59.0, [1.7, 7.0], [0, Quality.FAULT], False),
            (1.0, [1.7, 7.0], [0, Quality.FAULT], True),  # heartbeat
        ]
        for pause, value, quality, reported in stories:
            clock.advance(pause)
            outbox.put_frame(frame("s", clock.now(), banded, value, quality))
            item = feed.take()
            assert (item is not None) == reported, (pause, value, quality)
        await outbox.close()

    run(main())


def test_the_first_frame_after_quiet_leaves_at_once_and_the_rest_are_gathered(tmp_path: Path):
    async def main() -> None:
        clock = ManualClock()
        outbox = await Outbox.open(Store(path=str(tmp_path / "a"), batch=1.0), ["p"], clock)
        feed = outbox.feed("p")
        feed.online(True)
        sizes = []
        for n in range(21):
            outbox.put_frame(frame("s", clock.now(), CHANNELS, float(n)))
            item = feed.take()
            sizes.append(len(item.body.mono) if item and isinstance(item.body, Batch) else 0)
            clock.advance(0.1)
        assert sizes == [1] + [0] * 9 + [10] + [0] * 9 + [10]
        clock.advance(0.9)
        wide = layout([f"c{i}" for i in range(3000)])
        for n in range(4):
            outbox.put_frame(frame("wide", clock.now(), wide, float(n)))
        assert [feed.take().body.value.shape for _ in range(2)] == [(1, 3000), (3, 3000)]  # type: ignore
        await outbox.close()

    run(main())


def test_gathered_rows_do_not_wait_for_another_frame(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path / "a", batch=0.1) as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            for n in range(3):
                outbox.put_frame(frame("s", SystemClock().now(), CHANNELS, float(n)))
            items = await drain(feed)
            assert [len(i.body.mono) for i in items if isinstance(i.body, Batch)] == [1]
            await until(lambda: feed.live, 0.5)
            assert (await drain(feed))[0].body.value[:, 0].tolist() == [1.0, 2.0]  # type: ignore[union-attr]

    run(main())


def test_a_backlog_of_two_boots_comes_in_order_unmarked_with_live_ahead_of_it(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path / "a") as first:
            for n in range(700):  # more than one chunk
                put(first, n)
        async with opened(tmp_path / "a") as outbox:
            feed = outbox.feed("p")
            assert outbox.depth()["backfill"] == 700
            put(outbox, 1000)
            await until(lambda: outbox.depth()["backfill"] == 701)
            feed.online(True)
            items = []
            live = 0
            while outbox.depth()["backfill"]:
                if live < 20:
                    put(outbox, 2000 + live)
                    live += 1
                item = feed.take()
                if item is None:
                    await asyncio.sleep(0.001)
                    continue
                assert item.historical == (not feed.live and item.lane == "backfill")
                items.append(item)
                feed.done(item)
            items += await drain(feed)
            old = [(i.boot, i.seq) for i in items if i.historical]
            assert old == [(first.boot, n) for n in range(1, 701)] + [(outbox.boot, 1)]
            assert [i.seq for i in items if not i.historical] == list(range(2, 22))
            assert not any(i.resent for i in items)
            assert items[0].body.value.shape == (1, 40)  # type: ignore[union-attr]

    run(main())


def test_what_was_said_before_a_moment_of_a_boot_can_be_read_again(tmp_path: Path):
    async def main() -> None:
        boots = []
        for life in range(2):
            async with opened(tmp_path) as outbox:
                boots.append(outbox.boot)
                for t in range(100):
                    for source in ("gnss", "can"):
                        at = Instant(1000.0 * life + t, 1.7e9 + t, True)
                        outbox.put_frame(frame(source, at, ONE, [float(t)]))
                        outbox._flush(source)
                    if t % 50 == 0:
                        await outbox._commit_history()
                feed = outbox.feed("p")
                early = await feed.past(boots[0], ["gnss"], 60.5, 20.0)
                assert [float(b.value[0, 0]) for b in early] == list(range(41, 61))
                assert {b.source for b in early} == {"gnss"}
                late = await feed.past(boots[life], ["gnss", "can"], 1000.0 * life + 99.0, 3.0)  # some not on the disk
                assert [float(b.value[0, 0]) for b in late] == [96, 96, 97, 97, 98, 98, 99, 99]
                assert await feed.past("000077-abcd", ["gnss"], 60.5, 20.0) == []
                assert await feed.past(boots[0], ["gnss"], -5.0, 20.0) == []

    run(main())


def test_after_a_kill_what_may_have_been_sent_comes_marked_and_the_rest_does_not(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path / "a") as outbox:
            feed = outbox.feed("p")
            for n in range(30):
                put(outbox, n)
            await until(lambda: feed.waiting()["backfill"] == 30)
            await until(lambda: feed.owed.spans[0][1] <= outbox._committed)
            untouched = snapshot(tmp_path / "a", tmp_path / "untouched")
            feed.online(True)
            flying = []
            await until(lambda: (item := feed.take()) and not flying.append(item))
            flown = snapshot(tmp_path / "a", tmp_path / "flown")
            feed.done(flying[0])
            put(outbox, 99)  # live, taken after its commit began
            live = feed.take()
            assert live is not None
            assert (live.historical, live.seq) == (False, 31)
            await until(lambda: outbox._committed >= live.row)
            acked = snapshot(tmp_path / "a", tmp_path / "acked")
        async with opened(untouched) as killed:
            killed.feed("p").online(True)
            assert [(i.seq, i.resent) for i in await drain(killed.feed("p"))] == [(n, False) for n in range(1, 31)]
        async with opened(flown) as killed:
            killed.feed("p").online(True)
            items = await drain(killed.feed("p"))
            assert numbers(items, "telemetry/s") == list(range(1, 31))
            assert items[0].resent
        async with opened(acked) as killed:
            killed.feed("p").online(True)
            items = {i.seq: i.resent for i in await drain(killed.feed("p"))}
            assert 1 not in items
            assert sorted(items) == list(range(2, 32))
            assert items[31]

    run(main())


def test_telemetry_not_yet_on_the_disk_is_never_overtaken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The link comes up while a commit is under way: a kill must not leave a hole before what is sent live."""

    async def main() -> None:
        async with opened(tmp_path / "a", batch=0.05) as outbox:
            feed = outbox.feed("p")
            commit = History.commit
            begun = asyncio.Event()
            loop = asyncio.get_running_loop()

            def slow(*args: Any) -> Any:
                loop.call_soon_threadsafe(begun.set)
                time.sleep(0.2)
                return commit(*args)

            monkeypatch.setattr(History, "commit", slow)
            put(outbox, 1)
            await begun.wait()
            feed.online(True)
            put(outbox, 2)
            assert feed.take() is None
            items = await drain(feed)
            assert sorted(numbers(items, "telemetry/s")) == [1, 2]
            assert not any(item.resent for item in items)

    run(main())


def test_a_platform_that_is_too_slow_gets_the_newest_live_and_the_rest_as_backlog(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path / "a") as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            for n in range(200):
                put(outbox, n)
            await until(lambda: feed.waiting()["telemetry"] <= BEHIND or outbox._history_news.set())
            items = await drain(feed)
            assert [i.seq for i in items if not i.historical] == list(range(137, 201))
            assert [i.seq for i in items if i.historical] == list(range(1, 137))

    run(main())


def test_the_quota_thins_out_the_oldest_before_it_drops_and_says_exactly_what_nobody_got(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path / "a", history_mb=0.25) as outbox:
            feed = outbox.feed("p")
            for n in range(3000):
                put(outbox, n)
                if n % 20 == 0:
                    await until(lambda: not outbox._pending)
            await until(lambda: not outbox._pending)
            feed.online(True)
            got = numbers(await drain(feed), "telemetry/s")
            lost = feed.lost()["backfill"]
            assert lost + len(got) == 3000
            assert got == sorted(got)
            whole = next(k for k in range(len(got)) if got[k:] == list(range(got[k], 3001)))
            fourth = next(k for k in range(len(got)) if all(b - a == 4 for a, b in pairwise(got[k:whole])))
            assert all(n % 4 == 0 for n in got[fourth:whole])
            assert all(n % 16 == 0 for n in got[:fourth])
            thirds = [fourth, whole - fourth, len(got) - whole]
            assert min(thirds) > 0.8 * len(got) / 3
            assert 3000 - got[0] > 5 * len(got)  # so many times as long as without
            await until(lambda: sum(e.facts["count"] for e in told(outbox, "gap")) == lost)
            assert {e.facts["reason"] for e in told(outbox, "gap")} == {"thinned", "quota"}
            assert all(e.facts["stream"] == "telemetry/s" for e in told(outbox, "gap"))
            assert (tmp_path / "a" / "history.db").stat().st_size <= 0.25 * 2**20

    run(main())


def test_what_was_delivered_makes_room_without_a_word(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path / "a", history_mb=0.25) as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            for n in range(1500):
                put(outbox, n)
                if n % 50 == 0:
                    await drain(feed)
                    await until(lambda: not outbox._pending)
            await drain(feed)
            assert not any(outbox.lost().values())
            assert outbox.told == []  # type: ignore[attr-defined]

    run(main())


# -- damage -----------------------------------------------------------------------------------------------


async def filled(path: Path, n: int = 60) -> str:
    """A store with `n` batches and three alarms that nobody has yet, closed. Its boot id."""
    async with opened(path) as outbox:
        for k in range(n):
            put(outbox, k)
        await outbox.put_alarms([alarm(k) for k in range(3)])
        return outbox.boot


def test_a_row_with_a_flipped_bit_is_counted_and_never_sent(tmp_path: Path):
    async def main() -> None:
        boot = await filled(tmp_path / "a")
        db = sqlite3.connect(tmp_path / "a" / "history.db")
        row, body = db.execute("SELECT row, body FROM batch WHERE seq = 17").fetchone()
        db.execute("UPDATE batch SET body = ? WHERE row = ?", (body[:50] + bytes([body[50] ^ 4]) + body[51:], row))
        db.execute("UPDATE batch SET seq = 99 WHERE seq = 18")
        db.commit()
        db.close()
        db = sqlite3.connect(tmp_path / "a" / "alarms.db")
        db.execute("UPDATE item SET body = replace(body, 'id-1', 'id-9') WHERE seq = 2")
        db.commit()
        db.close()
        async with opened(tmp_path / "a") as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            items = await drain(feed)
            mine = [i for i in items if i.boot == boot]
            assert numbers(mine, "alarm") == [1, 3]
            assert numbers(mine, "telemetry/s") == [n for n in range(1, 61) if n not in (17, 18)]
            assert outbox.bad_rows == 3
            assert feed.lost()["backfill"] == 2
            await until(lambda: len(told(outbox, "store-corrupt")) == 2)

    run(main())


def garbage(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(40_000))


def headless(path: Path, rng: random.Random) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


def truncated(path: Path, rng: random.Random) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scribbled(path: Path, rng: random.Random) -> None:
    """Every fifth page from the first one with rows is noise."""
    with path.open("r+b") as file:
        for page in range({"alarms.db": 6, "history.db": 8}[path.name], path.stat().st_size // 1024, 5):
            file.seek(page * 1024)
            file.write(rng.randbytes(1024))


@pytest.mark.parametrize("damage", [garbage, headless, truncated, scribbled])
@pytest.mark.parametrize("file", ["alarms.db", "history.db"])
def test_a_damaged_file_is_moved_aside_and_work_goes_on(tmp_path: Path, file: str, damage: Callable[..., None]):
    async def main() -> None:
        path = tmp_path / "a"
        boot = await filled(path, 200)
        damage(path / file, random.Random(5))
        began = time.monotonic()
        async with opened(path) as outbox:
            assert time.monotonic() - began < 0.5
            feed = outbox.feed("p")
            feed.online(True)
            outbox.put_alarms([alarm(7)])
            put(outbox, 7)
            items = await drain(feed)
            await until(lambda: told(outbox, "store-corrupt"))
            await until(lambda: file == "alarms.db" or told(outbox, "store-salvaged"))
            new = [i for i in items if i.boot == outbox.boot]
            assert (numbers(new, "alarm"), numbers(new, "telemetry/s")) == ([1], [1])
            items += await drain(feed)
            for item in items:  # whatever was saved is what was written
                if item.boot == boot and item.stream == "alarm":
                    assert item.body == alarm(item.seq - 1)
                elif item.boot == boot:
                    expected = np.random.default_rng(item.seq - 1).normal(size=40)
                    np.testing.assert_array_equal(item.body.value[0], expected)  # type: ignore[union-attr]
        other = {"alarms.db": "telemetry/s", "history.db": "alarm"}[file]
        assert numbers([i for i in items if i.boot == boot], other) == list(range(1, {"alarm": 4}.get(other, 201)))
        assert (path / f"{file}.bad-0001").exists()
        async with opened(path) as outbox:
            assert not any(outbox.depth().values())
            assert outbox.told == []  # type: ignore[attr-defined]

    run(main())


def test_what_can_be_read_of_a_damaged_history_comes_back_marked(tmp_path: Path):
    async def main() -> None:
        path = tmp_path / "a"
        boot = await filled(path, 300)
        db = sqlite3.connect(path / "history.db")
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.close()
        with (path / "history.db").open("r+b") as file:
            file.seek(1024 * (pages // 2))
            file.write(bytes(3 * 1024))
        async with opened(path) as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            items = await drain(feed)
            await until(lambda: told(outbox, "store-salvaged"), 5)
            items += await drain(feed)
            saved = [i for i in items if i.boot == boot and i.stream == "telemetry/s"]
            assert 270 < len({i.seq for i in saved}) < 300
            assert all(i.resent for i in saved if i.row > outbox._row)

    run(main())


def test_files_under_each_others_names_get_their_own_again(tmp_path: Path):
    async def main() -> None:
        path = tmp_path / "a"
        boot = await filled(path)
        for old, new in (("alarms.db", "x"), ("history.db", "alarms.db"), ("x", "history.db")):
            (path / old).rename(path / new)
        async with opened(path) as outbox:
            outbox.feed("p").online(True)
            items = [i for i in await drain(outbox.feed("p")) if i.boot == boot]
            assert numbers(items, "alarm") == [1, 2, 3]
            assert numbers(items, "telemetry/s") == list(range(1, 61))
            assert outbox.told == []  # type: ignore[attr-defined]

    run(main())


def test_a_flipped_bit_in_the_log_costs_one_row_and_not_all_that_came_after_it(tmp_path: Path):
    async def main() -> None:
        path = tmp_path / "a"
        async with opened(path) as outbox:
            for k in range(30):
                await outbox.put_alarms([alarm(k)])
            killed = snapshot(path, tmp_path / "killed")
        log = bytearray((killed / "alarms.db-wal").read_bytes())
        log[log.index(b'"id-9"') + 2] ^= 1
        (killed / "alarms.db-wal").write_bytes(log)
        async with opened(killed) as again:
            again.feed("p").online(True)
            items = [i for i in await drain(again.feed("p")) if i.boot == outbox.boot]
            assert set(numbers(items, "alarm")) >= set(range(11, 31))
            assert all(i.body == alarm(i.seq - 1) for i in items if i.stream == "alarm")

    run(main())


def test_a_file_that_breaks_while_in_use_costs_no_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        async with opened(tmp_path / "a") as outbox:
            await outbox.put_alarms([alarm(1, point="one")])
            put(outbox, 1)
            await until(lambda: outbox.depth()["backfill"] == 1)
            broken = {"alarms", "history"}

            def breaking(name: str, commit: Callable[..., Any]) -> Callable[..., Any]:
                def once(store: Any, *args: Any) -> Any:
                    if name in broken:
                        broken.discard(name)
                        raise store.failed(sqlite3.DatabaseError("database disk image is malformed"))
                    return commit(store, *args)

                return once

            monkeypatch.setattr(Alarms, "commit", breaking("alarms", Alarms.commit))
            monkeypatch.setattr(History, "commit", breaking("history", History.commit))
            await outbox.put_alarms([alarm(2)])
            put(outbox, 2)
            await until(lambda: not broken and not outbox._fresh and not outbox._pending)
            await until(lambda: told(outbox, "store-salvaged"))
            killed = snapshot(tmp_path / "a", tmp_path / "killed")
        async with opened(killed) as outbox:
            assert outbox.recall() == (alarm(1, point="one"), alarm(2))
            feed = outbox.feed("p")
            feed.online(True)
            items = await drain(feed)
            assert numbers(items, "alarm") == [1, 2]
            assert sorted(numbers(items, "telemetry/s")) == [1, 2]

    run(main())


def test_a_second_process_is_refused_the_same_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda path, **kw: connect(path, **kw | {"timeout": 0.05}))
        async with opened(tmp_path / "a"):
            with pytest.raises(StoreFault, match="another process"):
                await Outbox.open(Store(path=str(tmp_path / "a")), ["p"], SystemClock())
        assert not list((tmp_path / "a").glob("*.bad-*"))

    run(main())


# -- a disk in trouble ------------------------------------------------------------------------------------


def test_without_a_disk_everything_flows_from_memory_and_is_written_when_it_comes(tmp_path: Path):
    async def main() -> None:
        path = tmp_path / "a"
        await filled(path, 5)
        path.rename(tmp_path / "kept")
        (tmp_path / "file").write_text("in the way")
        path.symlink_to(tmp_path / "file")
        async with opened(path) as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            assert not await outbox.put_alarms([alarm(1)])
            put(outbox, 1)
            assert {i.stream for i in await drain(feed)} >= {"alarm", "telemetry/s"}
            feed.online(False)
            assert not await outbox.put_alarms([alarm(2)])
            put(outbox, 2)
            await until(lambda: len(told(outbox, "store-down")) == 2)
            (tmp_path / "link").symlink_to(tmp_path / "kept")
            (tmp_path / "link").replace(path)  # in one go: a store that tries meanwhile makes nothing of its own
            await until(lambda: len(told(outbox, "store-recovered")) == 2)
            assert await outbox.put_alarms([alarm(3)])
        async with opened(path) as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            items = await drain(feed)
            assert [i.body.id for i in items if isinstance(i.body, Alarm)] == ["id-0", "id-1", "id-2", "id-2", "id-3"]
            assert sorted(numbers(items, "telemetry/s")) == [1, 2, 2, 3, 4, 5]

    run(main())


def test_a_commit_that_hangs_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        async with opened(tmp_path / "a") as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            monkeypatch.setattr(module, "PATIENCE", 0.05)
            commit = Alarms.commit

            def stall(*args: Any) -> None:
                time.sleep(0.5)
                commit(*args)

            monkeypatch.setattr(Alarms, "commit", stall)
            began = time.monotonic()
            stored = outbox.put_alarms([alarm(1)])
            item = feed.take("event")
            assert item is not None
            feed.done(item)
            assert not await stored
            assert time.monotonic() - began < 0.3
            await until(lambda: told(outbox, "store-slow"))

    run(main())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.getuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("only root can make a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_filled_by_somebody_else_stops_no_alarm_and_loses_only_the_oldest_history(small_disk: Path):
    async def main() -> None:
        path = small_disk / "state"
        async with opened(path, history_mb=4, ballast_mb=6) as outbox:
            feed = outbox.feed("p")
            for n in range(300):
                put(outbox, n)
            await until(lambda: not outbox._pending)
            stranger = small_disk / "stranger"
            with pytest.raises(OSError), stranger.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            for n in range(100):
                stored = outbox.put_alarms([alarm(n)])
                assert await stored, f"alarm {n} is not on the disk"
                for k in range(80):
                    put(outbox, 1000 * n + k)
                await until(lambda: not outbox._pending or outbox.trouble)
            await until(lambda: told(outbox, "store-full"))
            stranger.unlink()
            put(outbox, 1_000_000)
            await until(lambda: told(outbox, "store-recovered") and not outbox._pending)
            feed.online(True)
            items = await drain(feed)
            assert numbers(items, "alarm") == list(range(1, 101))
            got, lost = numbers(items, "telemetry/s"), feed.lost()["backfill"]
            # at the quota the oldest is thinned out, on a full disk it goes: which comes first, timing decides
            assert got == sorted(set(got))
            assert got[-200:] == list(range(8102, 8302))
            assert len(got) + lost == 8301
            assert lost > 0

    run(main())


def test_alarms_find_room_in_their_own_file_on_a_full_disk(small_disk: Path):
    async def main() -> None:
        path = small_disk / "state"
        async with opened(path) as outbox:
            with pytest.raises(OSError), (small_disk / "stranger").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            for n in range(150):
                assert await outbox.put_alarms([alarm(n)]), f"alarm {n} is not on the disk"
            assert outbox.told == []  # type: ignore[attr-defined]

    run(main())


def test_boots_are_counted_even_if_the_alarms_are_lost(tmp_path: Path):
    async def main() -> None:
        seen = []
        for _ in range(3):
            async with opened(tmp_path / "a") as outbox:
                seen.append(outbox.boot)
        (tmp_path / "a" / "alarms.db").unlink()
        async with opened(tmp_path / "a") as outbox:
            seen.append(outbox.boot)
        assert [boot[:7] for boot in seen] == ["000001-", "000002-", "000003-", "000004-"]
        assert len({boot[7:] for boot in seen}) > 1

    run(main())


def test_the_end_of_an_alarm_is_told_only_after_the_disk_knows_and_a_raise_at_once(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path) as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            raised = alarm(1)
            cleared = msgspec.structs.replace(raised, edge=2, event="cleared", state="returned-unacked")
            again = msgspec.structs.replace(raised, id="id-2")
            elsewhere = msgspec.structs.replace(raised, id="id-3", channel="other/place")
            outbox.put_alarms([raised])
            assert taken(feed) == [raised]
            stored = outbox.put_alarms([cleared, again, elsewhere])
            assert taken(feed) == [elsewhere]  # nothing of another point waits
            assert await stored
            assert taken(feed) == [cleared, again]

    run(main())


def test_the_end_of_an_alarm_does_not_wait_for_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)

    async def main() -> None:
        async with opened(tmp_path) as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            await outbox.put_alarms([alarm(1)])
            assert len(taken(feed)) == 1
            hang = threading.Event()
            outbox._hands["alarms"].do(hang.wait, 10)
            try:
                outbox.put_alarms([msgspec.structs.replace(alarm(1), edge=2, event="cleared")])
                await until(lambda: taken(feed), 5)
            finally:
                hang.set()

    run(main())


def test_what_waits_for_the_disk_is_numbered_behind_what_goes_at_once(tmp_path: Path):
    """Else a kill before the disk has it leaves a hole below what a platform was told."""

    async def main() -> None:
        async with opened(tmp_path) as outbox:
            feed = outbox.feed("p")
            feed.online(True)
            await outbox.put_alarms([alarm(1, point="a")])
            assert len(taken(feed)) == 1
            hang = threading.Event()
            outbox._hands["alarms"].do(hang.wait, 10)
            try:
                over = msgspec.structs.replace(alarm(1, "normal", "a"), edge=2, event="cleared")
                again = msgspec.structs.replace(alarm(3, point="a"), edge=1)
                outbox.put_alarms([over, again, alarm(2, point="b")])
                items = list(iter(lambda: feed.take("alarm"), None))
                assert [(item.body.id, item.seq) for item in items] == [("id-2", 2)]  # type: ignore[union-attr]
            finally:
                hang.set()
            await until(lambda: (item := feed.take("alarm")) and not items.append(item) and len(items) == 3)
            assert [(item.body.id, item.seq) for item in items[1:]] == [("id-1", 3), ("id-3", 4)]  # type: ignore[union-attr]

    run(main())


def taken(feed: Feed) -> list[Any]:
    """Bodies of all alarms that the feed has now."""
    items = iter(lambda: feed.take("event"), None)
    return [item.body for item in items if item.lane == "alarm"]


# -- open alarms ------------------------------------------------------------------------------------------


def test_the_latest_edge_of_every_open_alarm_is_recalled_and_only_what_changed_is_written(tmp_path: Path):
    async def main() -> None:
        works: list[Any] = []
        commit = Alarms.commit
        async with opened(tmp_path) as outbox:
            outbox._alarms.commit = lambda work: (works.append(work), commit(outbox._alarms, work))[1]  # type: ignore
            assert await outbox.put_alarms([alarm(n, point=f"c{n}") for n in range(100)])
            acked = msgspec.structs.replace(alarm(3, point="c3"), edge=2, event="acknowledged", state="active-acked")
            over = msgspec.structs.replace(alarm(5, "normal", "c5"), edge=2, event="cleared")
            assert await outbox.put_alarms([acked, over])
            assert [(len(w.stand), len(w.fall)) for w in works if w.put] == [(100, 0), (1, 1)]
            expected = [alarm(n, point=f"c{n}") for n in range(100) if n != 5]
            expected[3] = acked
            assert outbox.recall() == tuple(expected)
            killed = snapshot(tmp_path, tmp_path.with_name("killed"))
        async with opened(killed) as outbox:
            assert outbox.recall() == tuple(expected)
            assert await outbox.put_alarms([alarm(500, point="c0")])  # a new occurrence is the youngest
            assert outbox.recall() == (*expected[1:], alarm(500, point="c0"))
            await outbox.put_alarms([msgspec.structs.replace(a, state="normal") for a in outbox.recall()])
        async with opened(killed) as outbox:
            assert outbox.recall() == ()

    run(main())


def test_an_open_alarm_with_a_flipped_bit_is_not_recalled(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path / "a") as outbox:
            await outbox.put_alarms([alarm(n, point=f"c{n}") for n in range(3)])
        db = sqlite3.connect(tmp_path / "a" / "alarms.db")
        db.execute("UPDATE open SET body = replace(body, 'id-1', 'id-9') WHERE channel = 's/c1'")
        db.commit()
        db.close()
        async with opened(tmp_path / "a") as outbox:
            assert [a.id for a in outbox.recall()] == ["id-0", "id-2"]
            await until(lambda: told(outbox, "store-corrupt"))

    run(main())


def test_open_alarms_that_are_read_late_are_told_and_kept(tmp_path: Path):
    async def main() -> None:
        path = tmp_path / "a"
        async with opened(path) as outbox:
            await outbox.put_alarms([alarm(n, point=f"c{n}") for n in range(4)])
        path.rename(tmp_path / "kept")
        (tmp_path / "file").write_text("in the way")
        path.symlink_to("file")
        async with opened(path) as outbox:
            assert outbox.recall() == ()
            over = msgspec.structs.replace(alarm(12, "normal", "c2"), event="cleared")
            new = [alarm(10, point="c0"), alarm(11, point="new"), over]
            assert not await outbox.put_alarms(new)
            (tmp_path / "back").symlink_to("kept")
            (tmp_path / "back").rename(path)  # at once: the outbox makes its folder as soon as there is room
            await until(lambda: told(outbox, "recalled-late"))
            expected = {alarm(1, point="c1").id, alarm(3, point="c3").id, "id-10", "id-11"}
            assert {a.id for a in outbox.recall()} == expected
            assert await outbox.put_alarms([alarm(20, point="other")])
        async with opened(path) as outbox:
            assert {a.id for a in outbox.recall()} == expected | {"id-20"}

    run(main())


# -- importance -------------------------------------------------------------------------------------------


def test_red_goes_first_and_the_edges_of_a_point_keep_their_order(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path) as outbox:
            levels = list(reversed(LEVELS))
            await outbox.put_alarms([alarm(n, point=f"c{n}", level=levels[n % 4]) for n in range(40)])
            turned = [alarm(100, point="odd", level="blue"), alarm(101, point="odd", level="red")]
            await outbox.put_alarms([*turned, alarm(102, point="last", level="red")])
            feed = outbox.feed("p")
            feed.online(True)
            items = list(iter(lambda: feed.take("alarm"), None))
            ids = [int(item.body.id[3:]) for item in items]  # type: ignore[union-attr]
            red = [n for n in range(40) if n % 4 == 3]
            # Those of one moment are numbered as they go: a kill on the way leaves no hole below what was told.
            assert [item.seq for item in items] == [*range(1, 11), 41, 42, 43, *range(11, 41)]
            rest = [n for k in (2, 1, 0) for n in range(40) if n % 4 == k]
            assert ids == [*red, 100, 101, 102, *rest]
            feed.online(False)
            feed.online(True)
            assert [int(a.id[3:]) for a in taken(feed)] == ids

    run(main())


def test_when_the_lane_is_full_the_lowest_level_goes_first_and_is_forgotten(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path, alarms_mb=0.25) as outbox:  # 128 rows
            feed = outbox.feed("p")
            await outbox.put_alarms([alarm(n, point=f"c{n}") for n in range(100)])
            for n in range(2000):
                outbox.put_alarms([alarm(1000 + n, point=f"b{n}", level="blue")])
            await outbox.put_alarms([alarm(100 + n, point=f"d{n}") for n in range(20)])
            assert len(feed._urgent._order) < 400
            feed.online(True)
            ids = [int(a.id[3:]) for a in taken(feed)]
            assert ids == [*range(120), *range(2992, 3000)]
            assert outbox.lost()["alarm"] == 2120 - 128

    run(main())


def test_many_ends_of_alarms_at_once_cost_in_proportion(tmp_path: Path):
    async def main() -> None:
        async with opened(tmp_path, alarms_mb=100) as outbox:
            outbox._held_points = looks = Looks()
            over = [msgspec.structs.replace(alarm(n, "normal", f"c{n}"), event="cleared") for n in range(2000)]
            outbox.put_alarms(over)
            assert len(outbox._held) == 2000
            raised = alarm(1, point="c1")
            outbox._held = Unwalked(outbox._held)
            outbox.put_alarms([raised])
            assert raised.id == outbox._held[max(outbox._held.keys())].item.body.id  # type: ignore[union-attr]
            outbox._held = dict(outbox._held.items())
            await outbox.put_alarms([])
            assert not looks

    run(main())


class Looks(Counter[Any]):
    """A counter under another name, to see that it ends empty."""


class Unwalked(dict[int, Any]):
    """Held entries that nobody may walk over."""

    def values(self) -> Any:
        raise AssertionError("walked over all that is held")


def test_a_history_that_hangs_costs_bounded_memory_and_the_loss_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MEMORY_CELLS", 40 * 100)

    async def main() -> None:
        async with opened(tmp_path) as outbox:
            hang = threading.Event()
            outbox._hands["history"].do(hang.wait, 30)
            try:
                put(outbox, 0)
                await until(lambda: not outbox._pending)  # the commit that hangs has it
                for n in range(1, 1001):
                    put(outbox, n)
                    assert len(outbox._pending) <= 100
                feed = outbox.feed("p")
                assert len(feed.live) <= 101
            finally:
                hang.set()
            feed.online(True)
            got = numbers(await drain(feed), "telemetry/s")
            assert max(got) == 1001
            assert 1001 - len(got) == outbox.lost()["backfill"] >= 900

    run(main())


def test_who_is_asked_to_report_tells_the_next_poll_whole_though_nothing_moved():
    gather = Gather("s", CHANNELS, 1.0, 60.0)

    def polled(t: float) -> float | None:
        return gather.add(frame("s", Instant(t, t), CHANNELS, np.ones(40)))

    assert (polled(0.0), gather.flush() is not None, polled(0.2)) == (0.0, True, None)
    gather.hurry()
    assert (polled(0.4), gather.flush() is not None, polled(0.6)) == (0.0, True, None)


def test_polls_that_fell_out_of_step_with_the_batches_do_not_wait_for_ever():
    """The first poll of a line comes at once, the next on its grid: 80 ms later here, then once a second."""
    gather, waits = Gather("s", CHANNELS, 1.0, 60.0), []
    for n, second in enumerate([0.0, 0.08, 1.08, 2.08, 3.08]):
        wait = gather.add(frame("s", Instant(second, second), CHANNELS, np.full(40, float(n))))
        waits.append(wait)
        assert wait is not None
        gather.flush()  # now, or when the timer rings: before the next poll
    assert waits[0] == 0.0
    assert waits[1] == pytest.approx(0.92)
    assert waits[2:] == [0.0, 0.0, 0.0]


# -- bounds -----------------------------------------------------------------------------------------------


def test_whoever_waits_for_a_disk_that_hangs_waits_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)

    async def main() -> None:
        async with opened(tmp_path) as outbox:
            hang = threading.Event()
            outbox._hands["alarms"].do(hang.wait, 10)
            try:
                outbox.put_alarms([alarm(0)])
                promises = {id(outbox.put_alarms([alarm(n, point=f"c{n}")])) for n in range(1, 1000)}
                assert len(promises) == 1
                await until(outbox.is_slow)
                late = outbox.put_alarms([alarm(1000)])
                assert late.done()
                assert not late.result()
            finally:
                hang.set()
            await until(lambda: told(outbox, "store-slow"))
            await until(lambda: outbox.put_alarms([]) and told(outbox, "store-recovered"))
            assert await outbox.put_alarms([alarm(1001)])

    run(main())


def test_a_flood_of_open_alarms_keeps_the_most_important_and_says_so(tmp_path: Path):
    levels = ("blue", "yellow", "orange", "red")
    flood = [alarm(n, point=f"c{n}", level=levels[n % 97 % 4]) for n in range(10_000)]  # type: ignore[arg-type]

    async def main() -> None:
        async with opened(tmp_path / "a", alarms_mb=1) as outbox:
            outbox.feed("p").online(True)
            for i in range(0, len(flood), 1000):
                assert await outbox.put_alarms(flood[i : i + 1000])
                while (item := outbox.feed("p").take("event")) is not None:
                    outbox.feed("p").done(item)
            await until(lambda: told(outbox, "store-full"))
            assert "alarms" not in outbox.trouble
            assert len(outbox.entries) <= 512
            assert len(outbox.recall()) == len(flood)
            assert (tmp_path / "a" / "alarms.db").stat().st_size <= 2**20
            await until(lambda: not outbox._fresh and not outbox._moved)
            killed = snapshot(tmp_path / "a", tmp_path / "killed")
            over = [msgspec.structs.replace(a, state="normal", event="cleared") for a in flood if a.level != "orange"]
            assert await outbox.put_alarms(over + [a for a in flood[200:] if a.level == "orange"])
            assert not told(outbox, "store-recovered")
            await outbox.put_alarms([msgspec.structs.replace(a, state="normal") for a in outbox.recall()[150:]])
            await until(lambda: told(outbox, "store-recovered"))
            left = outbox.recall()
            settled = snapshot(tmp_path / "a", tmp_path / "settled")
        async with opened(killed, alarms_mb=1) as again:
            assert again.recall() == tuple(a for a in flood if a.level == "red")[:256]
        async with opened(settled, alarms_mb=1) as again:
            assert again.recall() == left
            assert len(left) == 150

    run(main())


def test_what_was_delivered_while_the_disk_was_dead_is_forgotten_at_bounded_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def main() -> None:
        async with opened(tmp_path / "a", alarms_mb=0.25) as outbox:
            feed = outbox.feed("p")
            await outbox.put_alarms([alarm(0, point="kept")])
            commit = Alarms.commit

            def dead(store: Alarms, work: Any) -> None:
                raise store.failed(OSError(5, "dead"))

            monkeypatch.setattr(Alarms, "commit", dead)
            await outbox.put_alarms([alarm(1)])
            feed.online(True)
            for n in range(1000):
                outbox.put_alarms([alarm(n)])
                while (item := feed.take("event")) is not None:
                    feed.done(item)
            assert len(outbox._deletes) <= outbox._cap
            feed.online(False)
            monkeypatch.setattr(Alarms, "commit", commit)
            await until(lambda: "alarms" not in outbox.trouble)
            assert await outbox.put_alarms([alarm(2000)])
            killed = snapshot(tmp_path / "a", tmp_path / "killed")
        async with opened(killed) as again:
            again.feed("p").online(True)
            ids = [i.body.id for i in await drain(again.feed("p")) if isinstance(i.body, Alarm)]
            assert ids == ["id-2000"]

    run(main())


def test_a_start_that_could_not_be_counted_is_counted_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    booted, failed = Alarms.booted, []

    def once(store: Alarms, *args: Any) -> None:
        if not failed:
            failed.append(1)
            raise store.failed(OSError(5, "once"))
        booted(store, *args)

    async def main() -> None:
        monkeypatch.setattr(Alarms, "booted", once)
        async with opened(tmp_path) as first:
            await until(lambda: told(first, "store-down") and told(first, "store-recovered"))
        (tmp_path / "history.db").unlink()
        async with opened(tmp_path) as second:
            assert (first.boot[:6], second.boot[:6]) == ("000001", "000002")

    run(main())


def test_a_drop_that_a_kill_kept_from_being_told_is_told_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def main() -> None:
        async with opened(tmp_path / "a", history_mb=0.25) as outbox:
            monkeypatch.setattr(Outbox, "_tell_gaps", lambda self: None)
            for n in range(1500):
                put(outbox, n)
                if n % 100 == 0:
                    await until(lambda: not outbox._pending)
            await until(lambda: outbox._committed == outbox._batch_row - 1)
            lost = outbox.lost()["backfill"]
            killed = snapshot(tmp_path / "a", tmp_path / "killed")
        monkeypatch.undo()
        async with opened(killed, history_mb=0.25) as again:
            put(again, 0)
            await until(lambda: told(again, "gap"))
            facts = [event.facts for event in told(again, "gap")]
            assert {one["boot"] for one in facts} == {outbox.boot}
            assert (min(one["from"] for one in facts), sum(one["count"] for one in facts)) == (1, lost)
            await until(lambda: not again._fresh and not again._writing)  # the event is on the disk
            put(again, 1)
            await until(lambda: not again._history._noted)  # nor is it noted as untold any more
            later = snapshot(killed, tmp_path / "later")
        async with opened(later, history_mb=0.25) as third:
            put(third, 0)
            got = numbers(await drained(third), "telemetry/s")
            assert not told(third, "gap")
            assert sorted(got)[-1] == 1500

    run(main())


async def drained(outbox: Outbox) -> list[Item]:
    outbox.feed("p").online(True)
    return await drain(outbox.feed("p"))
