"""The ring of a camera: what is written, what is not, and that nothing of it keeps the camera waiting."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agent import config, reels, vision
from agent.clock import ManualClock
from agent.core.errors import ConfigFault
from drivers import video, video_ring
from drivers.video import Video
from drivers.video_ring import Keep, Recorder, covered
from models.vision.net import Found
from tests.drivers.test_video import LIMIT, Watch, children, server
from tests.tools.films import disk

cv2 = pytest.importorskip("cv2")
MASK = (((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5)),)
WHITE = np.full((240, 320, 3), 255, np.uint8)


def keep(folder: Path, **more) -> Keep:
    usual = {"rate": 10.0, "width": 320, "quality": 80, "budget": 1 << 20, "span": 0.5, "floor": 0, "masks": ()}
    return Keep(folder=str(folder), camera="gate", kernel="k", **{**usual, **more})


def camera(url: str, folder: Path, **more) -> Video:
    kept = {"ring": str(folder), "reel": 0.5, "ring_mb": 4.0, "before": 0.5, "width": 320, "free_mb": 0.0, **more}
    limits = {"hold": 0.3, "frozen": 1.0}
    return msgspec.convert({"name": "cam", "url": url, "period": 0.2, "limits": limits, "evidence": kept}, Video)


def shots(folder: Path) -> list[reels.Shot]:
    return [shot for reel in reels.found(folder) for shot in reels.shots(reel.path)[1]]


def image(shot: reels.Shot) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(shot.jpeg, np.uint8), cv2.IMREAD_COLOR)


def until(true, seconds: float = LIMIT) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# -- settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('looks_at = ["hall/co"]', r"site.toml:7: bus `cam`, evidence: no channel is called `hall/co`"),
        ('clips = [{ rule = "gsa", before = 1, after = 1 }]', r"site.toml:7: bus `cam`, evidence: no rule .* `gsa`"),
        ("mask = [[[0.0, 0.0], [1.2, 0.0], [0.0, 1.0]]]", r"site.toml:7: .*shares"),
        ("mask = [[[0.0, 0.0], [1.0, 0.0]]]", r"site.toml:7: .*mask"),
        ('ring = "ram"', r"site.toml:7: .*whole path"),
        ("ring_mb = 2.0", r"site.toml:7: .*MB are needed"),
        ("befor = 2.0", r"site.toml:7: .*did you mean `before`"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path, lines, says):
    site = tmp_path / "site.toml"
    head = '[site]\nname = "s"\n[[bus]]\ndriver = "video"\nname = "cam"\nurl = "/dev/video0"\nevidence.'
    site.write_text(head + lines + "\n")
    with pytest.raises(ConfigFault, match=says):
        config.load(site)


def test_the_ring_lies_with_the_evidence_and_a_test_of_the_site_keeps_nothing(tmp_path):
    site = tmp_path / "site.toml"
    site.write_text(
        '[site]\nname = "s"\n[store]\npath = "st"\n[[bus]]\ndriver = "video"\nname = "cam"\nurl = "/dev/video0"\n'
        'evidence.looks_at = ["cam/black"]\n'
    )
    loaded = config.load(site)
    (driver,) = loaded.drivers
    assert loaded.evidence.path == str(tmp_path / "st" / "evidence")
    assert driver.witness().ring == str(tmp_path / "st" / "evidence" / "ring" / "cam.ring")
    assert driver.evidence.free_mb == loaded.evidence.free_mb
    assert video.Camera(driver, ManualClock())._keep() is not None
    assert video.Camera(driver, ManualClock(), keeps=False)._keep() is None


# -- the recorder -------------------------------------------------------------------------------------


def test_masks_are_painted_over_and_the_picture_itself_stays():
    picture = WHITE.copy()
    hidden = covered(cv2, picture, MASK)
    assert hidden[:119, :159].max() == 40
    assert hidden[125:, :].min() == 255
    assert (picture == WHITE).all()


def test_the_veil_sees_the_picture_before_anything_is_written_and_its_failure_costs_the_picture(tmp_path, monkeypatch):
    """A net that fails must not be a way to see the face."""

    def veil(picture):
        if picture[0, 0, 0] == 0:
            raise RuntimeError("the net is gone")
        return 255 - picture

    recorder = Recorder(cv2, keep(tmp_path, masks=MASK), veil)
    recorder.offer(WHITE, 1.0)
    recorder.settle()
    recorder.offer(np.zeros((240, 320, 3), np.uint8), 2.0)
    recorder.settle()
    assert "net is gone" in recorder.kept().why
    recorder.offer(WHITE, 3.0)
    recorder.settle()
    assert recorder.kept().why  # for a while: what comes and goes is told once
    monkeypatch.setattr(video_ring, "SOUND", 0.0)
    assert [shot.mono for shot in shots(tmp_path)] == [1.0, 3.0]
    assert (recorder.kept().written, recorder.kept().lost, recorder.kept().why) == (2, 1, "")
    assert image(shots(tmp_path)[0])[130:].max() < 10
    assert reels.shots(reels.found(tmp_path)[0].path)[0].veiled


def test_a_disk_that_hangs_keeps_nobody_waiting_and_what_it_costs_is_counted(tmp_path, monkeypatch):
    gate = threading.Event()
    write = os.write
    hanging = threading.Event()

    def slow(fd, data):
        if len(data) > 1000 and not gate.is_set():
            hanging.set()
            gate.wait()
        return write(fd, data)

    monkeypatch.setattr("agent.reels.os.write", slow)
    noisy = np.random.default_rng(1).integers(0, 255, (720, 1280, 3)).astype(np.uint8)
    recorder = Recorder(cv2, keep(tmp_path, width=1280, budget=64 << 20))
    worst = 0.0
    for i in range(60):
        began = time.monotonic()
        recorder.offer(noisy, i / 10)
        worst = max(worst, time.monotonic() - began)
        time.sleep(0.005)
    assert hanging.wait(LIMIT)
    assert worst < 0.1
    until(lambda: recorder.kept().lost > 0)
    assert recorder.kept().written == 0
    gate.set()
    recorder.settle()
    until(lambda: not recorder._waiting and not recorder._busy)
    kept = recorder.kept()
    assert kept.written + kept.lost == 60
    assert len(shots(tmp_path)) == kept.written


# -- the camera ---------------------------------------------------------------------------------------


def test_a_camera_fills_its_ring_at_its_rate_and_a_killed_child_loses_only_what_was_not_complete(tmp_path):
    async def story():
        async with server(fps=20.0) as far, Watch(camera(far.url, tmp_path, rate=5.0, width=160)) as watch:
            await watch.well()
            until_there = asyncio.get_running_loop().time() + LIMIT
            while len(shots(tmp_path)) < 15:
                assert asyncio.get_running_loop().time() < until_there
                await asyncio.sleep(0.1)
            (child,) = children()
            before = len(shots(tmp_path))
            os.kill(child, signal.SIGKILL)
            await watch.until(lambda: watch.events("camera-lost"))
            assert before <= len(shots(tmp_path)) <= before + 2
            while len(shots(tmp_path)) < before + 10:
                await asyncio.sleep(0.1)
        found = shots(tmp_path)
        steps = np.diff([shot.mono for shot in found])
        assert (steps > 0).all()
        assert 0.15 < np.median(steps) < 0.3
        assert image(found[0]).shape == (120, 160, 3)
        assert max(abs(shot.wall - time.time()) for shot in found) < 120

    asyncio.run(story())


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB of its own."""
    with disk(tmp_path / "disk", "4m") as folder:
        yield folder


def test_a_full_disk_costs_pictures_of_the_ring_and_is_told_and_the_camera_goes_on(small_disk):
    async def story():
        async with server() as far, Watch(camera(far.url, small_disk / "ring")) as watch:
            await watch.well()
            with contextlib.suppress(OSError), (small_disk / "stranger").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            for reel in reels.found(small_disk / "ring"):  # what little the ring could give back is taken, too
                reel.path.unlink()
            with contextlib.suppress(OSError), (small_disk / "stranger2").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            await watch.until(lambda: watch.events("ring-trouble"))
            n = len(watch.said)
            await watch.until(lambda: len(watch.said) >= n + 5)
            assert watch.now["offline"] == watch.now["stalled"] == 0.0
            (small_disk / "stranger").unlink()
            await watch.until(lambda: watch.events("ring-recovered"))
            assert "lost" in watch.events("ring-recovered")[0]
            assert len(watch.events("ring-trouble")) == 1

    asyncio.run(story())


# -- faces --------------------------------------------------------------------------------------------


class Finder:
    """Finds the one thing that there is."""

    def find(self, picture):
        return [Found("face", 0.9, (100.0, 60.0, 140.0, 110.0)), Found("vehicle", 0.9, (0.0, 0.0, 50.0, 50.0))]


def test_of_a_face_a_few_flat_tiles_are_left_and_the_rest_of_the_picture_stays():
    picture = np.random.default_rng(1).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    shown = vision.unknown(Finder(), picture)
    face = shown[60:110, 100:140]
    assert len(np.unique(face.reshape(-1, 3), axis=0)) <= vision.TILES**2
    changed = (shown != picture).any(axis=2)
    assert changed[60:110, 100:140].mean() > 0.99
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (50, 120, 90, 150)


def test_a_camera_whose_net_for_faces_is_missing_keeps_nothing_says_so_and_goes_on(tmp_path):
    async def story():
        async with server() as far, Watch(camera(far.url, tmp_path, blur="no-such-net")) as watch:
            await watch.well()
            await watch.until(lambda: watch.events("ring-trouble"))
            assert "no-such-net" in watch.events("ring-trouble")[0]
            assert watch.now["offline"] == 0.0
        assert shots(tmp_path) == []

    asyncio.run(story())
