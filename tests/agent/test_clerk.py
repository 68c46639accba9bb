"""The clerk, its encoder and the disk: reels are real, clips are decoded again, processes are killed."""

from __future__ import annotations

import asyncio
import contextlib
import doctest
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from agent import clerk, evidence, reels
from agent.clerk import Clerk
from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.frame import Instant, frame, layout
from agent.core.ports import Event, Span, Witness
from agent.evidence import Shelf
from agent.reels import Head, Ring, Shot

cv2 = pytest.importorskip("cv2")
from drivers import clip  # noqa: E402
from tests.tools.films import disk, frames  # noqa: E402

LIMIT = 60.0  # s, generous: this machine may be busy
GAS = layout(["ch4"], ["%"])


def picture(t: float) -> bytes:
    """A light whose place is the time: 10 pixels for a tenth of a second."""
    image = np.full((120, 320, 3), 70, np.uint8)
    cv2.circle(image, (round(100 * (t % 3.0)) + 10, 60), 8, (255, 255, 255), -1)
    return cv2.imencode(".jpg", image)[1].tobytes()


def fill(folder: Path, begin: float, end: float, kernel: str = "k", wall: float = 1.7e9, rate: float = 10.0) -> None:
    ring = Ring(folder, Head("gate", kernel), 64 << 20, 1.0)
    for i in range(round((end - begin) * rate)):
        t = begin + i / rate
        ring.put(Shot(t, wall + t, picture(t)))
    ring.close()


def spot(image: np.ndarray) -> float:
    """The time that a picture shows, from 0 to 3 s."""
    return (float(np.nonzero(image.min(axis=2) > 200)[1].mean()) - 10) / 100


class Site:
    """A clerk at work, and everything that it said."""

    def __init__(self, home: Path, **settings) -> None:
        self.home, self.shelf, self.ring = home, home / "shelf", home / "ring"
        self.settings = Shelf(path=str(self.shelf), **{"free_mb": 0.0, "protect": (), **settings})
        self.witness = Witness(
            camera="gate",
            own=("gate", "gate.road"),
            ring=str(self.ring),
            looks_at=("hall/ch4",),
            before=1.0,
            after=0.5,
            clips=(Span(rule="flood*", before=2.0, after=0.2),),
            wide=320,
        )
        self.said: list[Event] = []
        self.kept: list[tuple[str, str]] = []
        self.stored = True
        self.serial = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def now(self) -> float:
        return SystemClock().now().mono

    def alarm(self, mono: float, channel="hall/ch4", level="yellow", rule="gas", **more) -> Alarm:
        self.serial += 1
        at = Instant(mono, 1.7e9 + mono, True)
        id = f"000001-ab-{self.serial}"
        return Alarm(id, 1, "raised", "active-unacked", rule, channel, level, 1.2, 1.0, "%", at, at, "x", **more)

    def tell(self, event: Event) -> None:
        self.said.append(event)

    async def keep(self, event: Event, alarm: str, words: str) -> bool:
        self.said.append(event)
        self.kept.append((alarm, words))
        return self.stored

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.said if event.kind == kind]

    def made(self) -> Clerk:
        names = ["hall/ch4", "hall/co", "gate/fps"]
        return Clerk(self.settings, [self.witness], names, "k", SystemClock(), self.tell, self.keep)

    @contextlib.asynccontextmanager
    async def at_work(self):
        one = self.made()
        task = self.task = asyncio.create_task(one.serve())
        try:
            yield one
        finally:
            task.cancel()
            await asyncio.wait([task])
            await one.close()
            assert encoders() == []
            if not task.cancelled():
                task.result()

    async def until(self, true) -> None:
        async with asyncio.timeout(LIMIT):
            while not true():
                await asyncio.sleep(0.02)
                if self.task is not None and self.task.done():
                    self.task.result()

    def manifest(self, alarm: Alarm) -> evidence.Manifest:
        return evidence.read(self.shelf / f"{alarm.id}.gate")


def encoders() -> list[int]:
    """Processes of encoders that this one began."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"drivers.clip" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found


def test_what_the_pages_say_is_so():
    assert [doctest.testmod(module).failed for module in (evidence, clip, clerk)] == [0, 0, 0]


def test_a_clip_shows_each_moment_at_its_time_and_the_table_the_values(tmp_path):
    site = Site(tmp_path)

    async def story():
        now = site.now
        fill(site.ring, now - 5, now + 2)
        async with site.at_work() as one:
            for i in range(-30, 30):
                at = Instant(now + i / 10, 1.7e9 + now + i / 10)
                one.frame(frame("hall", at, GAS, [i / 10]))
            mine = site.alarm(now)
            one.alarm(mine)
            one.alarm(site.alarm(now, channel="elsewhere/ch4"))
            one.alarm(site.alarm(now, drill=True))
            one.alarm(replace(site.alarm(now), event="cleared"))
            await site.until(lambda: site.kept)
        return mine

    mine = asyncio.run(story())
    one = site.manifest(mine)
    assert site.kept == [(mine.id, f"{one.id} sha256:{evidence.digest(site.shelf / one.id / 'manifest.json')}")]
    assert one.missing == ()
    assert (one.clip.codec, one.clip.pictures, one.clip.fps) == ("VP9", 15, 10.0)
    for k, image in enumerate(frames(site.shelf / one.id / "clip.mp4")):
        off = spot(image) - (one.clip.begin + k / 10) % 3.0
        assert min(abs(off), abs(off + 3), abs(off - 3)) < 0.12
    rows = (site.shelf / one.id / "channels.csv").read_text().splitlines()
    assert rows[1] == f"-1.000,{1.7e9 + mine.at.mono - 1:.3f},hall/ch4,-1,%,GOOD"
    assert len(rows) == 1 + 16
    assert evidence.verify(site.shelf / one.id) == []
    assert sorted(path.name for path in (site.shelf / one.id).iterdir()) == [
        "channels.csv", "clip.mp4", "manifest.json", "still-1.jpg", "still-2.jpg", "still-3.jpg"
    ]  # fmt: skip
    shown = [spot(cv2.imread(str(site.shelf / one.id / f"still-{i}.jpg"))) for i in (1, 2, 3)]
    for t, seen in zip((-0.5, 0.0, 0.25), shown, strict=True):
        off = seen - (mine.at.mono + t) % 3.0
        assert min(abs(off), abs(off + 3), abs(off - 3)) < 0.12


def test_a_clip_that_somebody_asked_for_shows_that_time_and_may_be_webm_which_is_cheaper(tmp_path):
    site = Site(tmp_path)
    site.witness = replace(site.witness, format="webm")

    async def story():
        now = site.now
        fill(site.ring, now - 5, now + 1)
        async with site.at_work() as one:
            alarm = site.alarm(now - 2.75)
            one.ask(alarm, "elsewhere", now - 3.5, now - 2)
            one.ask(alarm, "gate", now - 3.5, now - 2)
            await site.until(lambda: site.kept)
        return site.manifest(alarm), now

    one, now = asyncio.run(story())
    assert (one.clip.codec, one.missing, len(site.kept)) == ("VP8", (), 1)
    assert len(frames(site.shelf / one.id / "clip.webm")) == one.clip.pictures == 15
    assert abs(one.clip.begin - (now - 3.5)) < 0.11


def test_alarms_of_some_rules_have_other_times_and_a_silent_source_and_the_camera_itself_are_seen(tmp_path):
    site = Site(tmp_path)

    async def story():
        now = site.now
        fill(site.ring, now - 5, now)
        async with site.at_work() as one:
            made = [
                site.alarm(now, rule="flood.high"),
                site.alarm(now, channel="hall"),
                site.alarm(now, "gate.road/doubt"),
            ]
            for alarm in made:
                one.alarm(alarm)
            await site.until(lambda: len(site.kept) == 3)
        return [site.manifest(alarm) for alarm in made]

    flood, silent, own = asyncio.run(story())
    assert flood.end.mono - flood.begin.mono == pytest.approx(2.2)
    assert silent.end.mono - silent.begin.mono == own.end.mono - own.begin.mono == pytest.approx(1.5)


def test_alarms_that_overlap_share_one_clip_on_the_disk_and_each_has_its_manifest(tmp_path):
    site = Site(tmp_path)

    async def story():
        now = site.now
        fill(site.ring, now - 5, now + 3)
        async with site.at_work() as one:
            made = [site.alarm(now), site.alarm(now + 0.3), site.alarm(now + 30)]
            for alarm in made[:2]:
                one.alarm(alarm)
            await site.until(lambda: len(site.kept) == 2)
        return made

    made = asyncio.run(story())
    first, second = (site.manifest(alarm) for alarm in made[:2])
    assert first.clip == second.clip
    assert first.clip.end - first.clip.begin == pytest.approx(1.8)
    inodes = {(site.shelf / one.id / "clip.mp4").stat().st_ino for one in (first, second)}
    assert len(inodes) == 1
    assert first.at != second.at
    assert first.stills != second.stills
    total = sum(piece.bytes for piece in evidence.pieces(site.shelf))
    apart = sum(path.stat().st_size for path in site.shelf.glob("0*/*"))
    assert total == pytest.approx(apart - (site.shelf / first.id / "clip.mp4").stat().st_size, rel=0.01)


def test_a_storm_of_alarms_costs_a_few_clips_and_what_is_left_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(clerk, "MEMBERS", 5)
    monkeypatch.setattr(clerk, "WAITING", 2)
    site = Site(tmp_path)

    async def story():
        now = site.now
        fill(site.ring, now - 5, now + 1)
        async with site.at_work() as one:
            made = [site.alarm(now + (0.0 if i < 300 else 100.0 * (i - 300))) for i in range(310)]
            for alarm in made:
                one.alarm(alarm)
            await site.until(lambda: len(site.kept) == 5 and site.of("evidence-left-out"))
            await asyncio.sleep(0)
            assert len(one._open) == 1

    asyncio.run(story())
    left = site.of("evidence-left-out")
    assert sum(event.facts["count"] for event in left) == 310 - 5 - 1
    assert len(left) < 5
    assert len(list(site.shelf.glob("*/clip.mp4"))) == 5


def test_an_encoder_that_is_killed_is_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr(clerk, "PAUSE", 0.1)
    site = Site(tmp_path)

    async def story(kills: int):
        now = site.now
        fill(site.ring, now - 5, now + 1)
        async with site.at_work() as one:
            alarm = site.alarm(now)
            one.alarm(alarm)
            for _ in range(kills):
                await site.until(encoders)
                os.kill(encoders()[0], signal.SIGKILL)
                await site.until(lambda: not encoders())
            await site.until(lambda: any(id == alarm.id for id, _ in site.kept))
        return site.manifest(alarm)

    once = asyncio.run(story(1))
    assert (once.clip.codec, once.missing) == ("VP9", ())
    thrice = asyncio.run(story(3))
    assert thrice.clip.codec == ""
    assert "ended without a word" in thrice.missing[0]
    kept = [file.name for file in thrice.files if file.name.startswith("reels/")]
    assert len(kept) >= 2
    assert evidence.verify(site.shelf / thrice.id) == []


def test_what_one_life_noted_the_next_one_finishes(tmp_path):
    """Ended between any two steps; the ring is gone meanwhile, and what was told and not stored is told again."""
    site = Site(tmp_path)

    async def story():
        now = site.now
        fill(site.ring, now - 5, now + 1)
        async with site.at_work() as one:
            one.frame(frame("hall", Instant(now - 0.2, 1.7e9), GAS, [0.7]))
            alarm = site.alarm(now)
            one.alarm(alarm)
            await site.until(lambda: list(site.shelf.glob("*/wanted.json")) and list(site.shelf.glob("*/before.csv")))
        for reel in reels.found(site.ring):
            reel.path.unlink()
        assert site.kept == []
        site.stored = False
        async with site.at_work():
            await site.until(lambda: len(site.kept) == 1)
        site.stored = True
        async with site.at_work():
            await site.until(lambda: len(site.kept) == 2)
            await site.until(lambda: not list(site.shelf.glob("*/wanted.json")))
        async with site.at_work() as one:
            await site.until(lambda: one._recalled)
        return site.manifest(alarm)

    one = asyncio.run(story())
    assert site.kept[0] == site.kept[1]
    assert one.clip.pictures == 15
    assert one.missing == ("channels after the alarm: the agent was started again",)
    assert "hall/ch4,0.7" in (site.shelf / one.id / "channels.csv").read_text()


def test_an_alarm_that_was_on_the_disk_but_not_noted_yet_is_noted_at_the_next_start(tmp_path):
    site = Site(tmp_path)

    async def story():
        at = SystemClock().now()
        fill(site.ring, at.mono - 9, at.mono)
        recent = replace(site.alarm(at.mono - 3), at=Instant(at.mono - 3, at.wall - 3))
        long_ago = replace(site.alarm(at.mono - 300), at=Instant(at.mono - 300, at.wall - 300))
        other_kernel = replace(site.alarm(at.mono - 3), at=Instant(at.mono - 3, at.wall - 9000))
        one = site.made()
        one.adopt([recent, long_ago, other_kernel], at)
        task = asyncio.create_task(one.serve())
        await site.until(lambda: site.kept)
        task.cancel()
        await asyncio.wait([task])
        await one.close()
        again = site.made()  # and once more: it is told again, and is as it was
        again.adopt([recent], at)
        task = site.task = asyncio.create_task(again.serve())
        await site.until(lambda: len(site.kept) == 2)
        task.cancel()
        await asyncio.wait([task])
        await again.close()
        return recent

    recent = asyncio.run(story())
    assert [id for id, _ in site.kept] == [recent.id] * 2
    assert len(set(site.kept)) == 1
    assert evidence.verify(site.shelf / f"{recent.id}.gate") == []
    assert site.manifest(recent).clip.pictures == 15


def test_a_camera_that_was_lost_in_the_middle_leaves_a_clip_that_says_so(tmp_path):
    site = Site(tmp_path)

    async def story():
        now = site.now
        site.witness = replace(site.witness, before=4.0)
        fill(site.ring, now - 5, now - 2.5)
        fill(site.ring, now - 0.5, now + 1)
        blind = site.alarm(now + 2, channel="gate/offline")
        seen = site.alarm(now)
        async with site.at_work() as one:
            one.alarm(seen)
            await site.until(lambda: site.kept)
            for reel in reels.found(site.ring):
                reel.path.unlink()
            one.alarm(replace(blind, at=Instant(now - 9, 1.7e9)))
            await site.until(lambda: len(site.kept) == 2)
        return site.manifest(seen), site.manifest(blind)

    seen, blind = asyncio.run(story())
    (gap,) = seen.missing
    assert gap.startswith("pictures from -2.6 to -0.5") or gap.startswith("pictures from -2.5 to -0.5")
    images = frames(site.shelf / seen.id / "clip.mp4")
    dark = [k for k, image in enumerate(images) if abs(float(np.median(image)) - 96) < 8]
    assert seen.clip.pictures == len(images) == 45
    assert 8 <= len(dark) <= 12
    assert blind.clip.why == "no picture of this time"
    assert {file.name for file in blind.files} == {"channels.csv"}


def test_a_wall_clock_that_steps_changes_nothing_and_another_run_of_the_kernel_is_told_apart(tmp_path):
    site = Site(tmp_path)

    async def story():
        now = site.now
        fill(site.ring, now - 5, now - 0.5, wall=1.7e9)
        fill(site.ring, now - 0.5, now + 1, wall=1.2e9)  # stepped back 16 years
        fill(site.ring, now - 5, now + 1, kernel="another", rate=3.0)
        async with site.at_work() as one:
            alarm = site.alarm(now)
            one.alarm(replace(alarm, at=Instant(now, 1.2e9 + now)))
            await site.until(lambda: site.kept)
        return site.manifest(alarm)

    one = asyncio.run(story())
    assert one.missing == ()
    assert (one.clip.pictures, one.clip.shown - 15) in ((15, 0), (15, 1))


def test_the_oldest_go_first_what_is_protected_stays_and_a_full_shelf_is_trouble(tmp_path):
    site = Site(tmp_path, protect=("red",))

    async def story():
        now = site.now
        fill(site.ring, now - 5, now + 1)
        async with site.at_work() as one:
            made = []
            for i in range(4):
                made.append(site.alarm(now, level="red" if i == 1 else "yellow"))
                one.alarm(made[-1])
                await site.until(lambda i=i: len(site.kept) == i + 1)
            size = evidence.pieces(site.shelf)[0].bytes
            ids = [f"{alarm.id}.gate" for alarm in made]
            assert [p.id for p in evidence.pieces(site.shelf) if p.protected] == [ids[1]]
            one.settings = replace(site.settings, mb=2.5 * size / 2**20, protected_mb=1.5 * size / 2**20)
            assert await one._admit() == ""
            assert [event.facts["evidence"] for event in site.of("evidence-deleted")] == [ids[0], ids[2]]
            assert [p.id for p in evidence.pieces(site.shelf)] == [ids[1], ids[3]]
            # no more can be protected, and what is stays
            assert "are full" in await one.protect(ids[3], "Li", "", True)
            assert "no evidence" in await one.protect("../shelf.x", "Li", "", True)
            assert "who" in await one.protect(ids[3], " ", "", True)
            one.settings = replace(one.settings, mb=0.5 * size / 2**20)
            assert "full of evidence" in await one._admit()
            assert [p.id for p in evidence.pieces(site.shelf)] == [ids[1]]
            assert set(one.troubles) == {"room"}
            assert await one.protect(ids[1], "Li", "no longer needed", False) == ""
            assert await one._admit() == ""
            assert evidence.pieces(site.shelf) == []
            assert one.troubles == {}
            # a red alarm beyond the budget of what is protected is kept, unprotected, and that is trouble
            one.settings = replace(site.settings, protected_mb=0.0)
            one.alarm(site.alarm(now, level="red"))
            await site.until(lambda: len(site.kept) == 5)
            assert [p.protected for p in evidence.pieces(site.shelf)] == [None]
            assert "protected" in one.troubles

    asyncio.run(story())
    assert [event.kind for event in site.said if event.kind.startswith("evidence-")] == [
        "evidence-deleted", "evidence-deleted", "evidence-deleted", "evidence-trouble", "evidence-released",
        "evidence-deleted", "evidence-recovered", "evidence-trouble",
    ]  # fmt: skip


def test_what_is_too_old_goes_unless_it_is_protected_or_nobody_knows_its_age(tmp_path):
    site = Site(tmp_path, days=30.0)

    async def story():
        now = site.now
        fill(site.ring, now - 5, now + 1)
        async with site.at_work() as one:
            made = [site.alarm(now) for _ in range(3)]
            made[2] = replace(made[2], at=Instant(now, 1.2e9, False))  # before the clock was set
            for alarm in made:
                one.alarm(alarm)
            await site.until(lambda: len(site.kept) == 3)
            ids = [f"{alarm.id}.gate" for alarm in made]
            assert await one.protect(ids[1], "Li", "for the insurer", True) == ""
        return now + 1.7e9, ids

    wall, ids = asyncio.run(story())

    def gone(days: float, synced: bool = True) -> list[tuple[str, str]]:
        at = Instant(0.0, wall + days * 86400, synced)
        return [(piece.id, why) for piece, why in evidence.evict(site.shelf, site.settings, at)]

    assert gone(29.9) == []
    assert gone(31.0, synced=False) == []
    assert gone(31.0) == [(ids[0], "older than 30 days")]
    assert [piece.id for piece in evidence.pieces(site.shelf)] == ids[1:]


def test_a_half_deleted_or_forged_piece_is_seen(tmp_path):
    site = Site(tmp_path)

    async def story():
        now = site.now
        fill(site.ring, now - 5, now + 1)
        async with site.at_work() as one:
            alarm = site.alarm(now)
            one.alarm(alarm)
            await site.until(lambda: site.kept)
        return site.shelf / f"{alarm.id}.gate"

    folder = asyncio.run(story())
    (folder / "still-1.jpg").unlink()
    (folder / "still-4.jpg").write_bytes(b"somebody else's")
    (folder / "channels.csv").write_bytes(b"other values")
    assert evidence.verify(folder) == [
        "channels.csv: changed", "still-1.jpg: No such file or directory", "still-4.jpg: not in the manifest"
    ]  # fmt: skip
    evidence.delete(folder)
    assert not folder.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MB of its own."""
    with disk(tmp_path / "disk", "8m") as folder:
        yield folder


def test_a_full_disk_is_told_and_what_was_noted_is_done_when_there_is_room(small_disk, monkeypatch):
    monkeypatch.setattr(clerk, "PAUSE", 0.2)
    site = Site(small_disk)
    stranger = small_disk / "stranger"

    async def story():
        now = site.now
        fill(site.ring, now - 5, now + 1)
        async with site.at_work() as one:
            first = site.alarm(now)
            one.alarm(first)
            await site.until(lambda: list(site.shelf.glob("*/before.csv")))
            with contextlib.suppress(OSError), stranger.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(512))
            second = site.alarm(now + 0.1)
            one.alarm(second)
            await site.until(lambda: "disk" in one.troubles)
            assert one.troubles["disk"] == "No space left on device"
            stranger.unlink()
            await site.until(lambda: len(site.kept) == 2)
            await site.until(lambda: one.troubles == {})
        return [site.manifest(alarm) for alarm in (first, second)]

    for one in asyncio.run(story()):
        assert evidence.verify(site.shelf / one.id) == []


def test_below_the_floor_of_the_disk_nothing_new_is_kept_and_that_is_told(tmp_path):
    site = Site(tmp_path, free_mb=1e9)

    async def story():
        now = site.now
        fill(site.ring, now - 5, now + 1)
        async with site.at_work() as one:
            one.alarm(site.alarm(now))
            await site.until(lambda: site.of("evidence-left-out"))
            assert "room" in one.troubles
            assert site.of("evidence-left-out")[0].facts["count"] == 1

    asyncio.run(story())
    assert list(site.shelf.glob("*/wanted.json")) == []


def test_the_ring_of_a_camera_that_is_no_longer_there_is_deleted_and_told(tmp_path):
    site = Site(tmp_path)
    mine, other = (reels.folder_of(site.shelf, name) for name in ("gate", "old"))
    site.witness = replace(site.witness, ring=str(mine))

    async def story():
        fill(mine, 1.0, 3.0)
        fill(other, 1.0, 3.0)
        async with site.at_work() as one:
            await site.until(lambda: one._recalled)

    asyncio.run(story())
    assert reels.found(mine)
    assert not other.exists()
    assert [event.facts for event in site.of("evidence-deleted")] == [{"ring": "old.ring"}]


def test_wanted_evidence_of_another_version_stops_nobody(tmp_path):
    (tmp_path / "000001-ab-1.gate").mkdir()
    (tmp_path / "000001-ab-1.gate" / "wanted.json").write_text('{"id": 3}')
    assert evidence.left(tmp_path) == []
