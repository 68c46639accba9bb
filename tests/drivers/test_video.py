"""Cameras: the driver and its child against a network camera that fails in every way; FFmpeg is between them."""

from __future__ import annotations

import asyncio
import contextlib
import doctest
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from agent import checks, config
from agent.clock import ManualClock, SystemClock
from agent.core.core import Core
from agent.core.errors import ConfigFault
from agent.core.frame import Frame, Quality
from agent.core.ports import Event
from agent.core.rules import High
from drivers import driver, video, video_health
from drivers.video import Video
from drivers.video_health import SCENE, Picture, look
from tests.tools.slaves import Mailbox

cv2 = pytest.importorskip("cv2")
from simulators.video import CameraServer, Scene  # noqa: E402

QUICK = {"hold": 0.3, "frozen": 1.0}
LIMIT = 30.0  # s, generous: this machine may be busy


def camera(url: str, **more) -> Video:
    limits = {**QUICK, **more.pop("limits", {})}
    return msgspec.convert({"name": "cam", "url": url, "period": 0.2, "limits": limits, **more}, Video)


def children() -> set[int]:
    """Living decoders and dead processes not taken leave of, of this process."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            state, parent = (place / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid() and (state == "Z" or b"video_child" in (place / "cmdline").read_bytes()):
                found.add(int(place.name))
    return found


class Watch:
    """The driver at work: everything that it said, and what holds now."""

    def __init__(self, made: Video) -> None:
        self.made, self.said = made, []
        self.bell = asyncio.Event()

    async def __aenter__(self) -> Watch:
        self.task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *error: object) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()
        assert children() == set()

    async def run(self) -> None:
        async with contextlib.aclosing(self.made.frames(SystemClock(), Mailbox())) as items:
            async for item in items:
                self.said.append(item)
                self.bell.set()

    @property
    def now(self) -> dict[str, float]:
        last = next((item for item in reversed(self.said) if isinstance(item, Frame)), None)
        return {} if last is None else dict(zip(last.layout.key, last.value.tolist(), strict=True))

    def events(self, kind: str) -> list[str]:
        return [item.text for item in self.said if isinstance(item, Event) and item.kind == kind]

    async def until(self, what) -> float:
        """s until `what()` holds; fails after a generous limit."""
        began = time.monotonic()
        async with asyncio.timeout(LIMIT):
            while not what():
                self.bell.clear()
                ring = asyncio.create_task(self.bell.wait())
                await asyncio.wait([ring, self.task], return_when=asyncio.FIRST_COMPLETED)
                ring.cancel()
                if self.task.done():
                    self.task.result()
        return time.monotonic() - began

    async def well(self) -> float:
        """s until the camera is there, with all states told and none on."""
        return await self.until(lambda: self.now and all(self.now[key] == 0.0 for key in video.KEYS[:8]))


@contextlib.asynccontextmanager
async def server(**settings):
    made = CameraServer(**settings)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


# -- settings -----------------------------------------------------------------------------------------


def test_the_driver_obeys_the_laws_and_is_found_by_its_name():
    made = camera("rtsp://10.0.0.1/main", source="gate", user="u", password="env:GATE")
    assert checks.driver(made) == []
    assert driver("video") is Video
    assert list(made.layouts()) == list(made.periods()) == ["gate"]
    assert made.faults() == []
    assert "env:GATE" in "\n".join(made.wiring())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"url": "rtsp://u:geheim@10.0.0.1/x"}, "do not belong into url"),
        ({"url": "concat://a|b"}, "is not known"),
        ({"url": "http://h/x", "user": "u", "password": "geheim"}, "where it is kept"),
        ({"url": "http://h/x", "password": "env:A"}, "password without user"),
        ({"url": "/dev/video0", "user": "u"}, "has no user"),
        ({"url": "/dev/video0", "loop": True}, "loop is for files"),
        ({"url": "http://h/x", "period": 0.0}, "period"),
        ({"url": "http://h/x", "limits": {"black": 2.0}}, "limits.black"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_in_words(settings, says):
    with pytest.raises(msgspec.ValidationError, match=says) as caught:
        msgspec.convert({"name": "cam", **settings}, Video)
    assert "geheim" not in str(caught.value)


def test_without_opencv_the_check_says_what_to_install(tmp_path, monkeypatch):
    site = tmp_path / "site.toml"
    site.write_text('[site]\nname = "s"\n[[bus]]\ndriver = "video"\nname = "cam"\nurl = "/dev/video0"\n')
    assert [d.name for d in config.load(site).drivers] == ["cam"]
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigFault, match=r'pip install "vedette\[video\]"'):
        config.load(site)


@pytest.mark.parametrize(
    ("why", "errors", "says"),
    [
        ("", "[tcp @ 0x1] Connection refused\n[http @ 0x2] HTTP error 401\n", "wrong user or password (401)"),
        ("", "HTTP error 401 Unauthorized\nConnection to tcp://h:1 failed: Connection refused\n", "connection refused"),
        ("", "[rtsp @ 0x7f00aa] something new\n\n", "cannot be opened: [rtsp] something new"),
        ("no such device", "anything", "no such device"),
        ("", "", "not a stream"),
    ],
)  # fmt: skip
def test_the_reason_is_told_in_words(why, errors, says):
    assert video.said(why, errors).startswith(says)


# -- what is seen -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        (("black", "black"), ("covered", "covered"), ("blurred", "defocused")),
        (("overexposed", "overexposed"), ("shifted", "moved"), ("turned", "moved"), ("frozen", "frozen")),
    ],
)
def test_each_state_is_seen_and_goes_when_its_cause_goes(faults):
    async def story():
        async with server() as far, Watch(camera(far.url)) as watch:
            await watch.well()
            for fault, state in faults:
                await far.fail(fault)
                seen = await watch.until(lambda state=state: watch.now[state] == 1.0)
                on = {key for key in video.KEYS[:8] if watch.now[key] == 1.0}
                assert on == {state}
                await far.heal()
                print(f"{fault}: seen after {seen:.1f} s, gone after {await watch.well():.1f} s")
            assert watch.events("camera-lost") == []
            assert watch.now["fps"] > 1

    asyncio.run(story())


def test_a_stall_is_seen_and_the_camera_is_back_after_it():
    async def story():
        async with server() as far, Watch(camera(far.url)) as watch:
            await watch.well()
            await far.fail("dead")
            seen = await watch.until(lambda: watch.now["stalled"] == 1.0)
            await watch.until(lambda: watch.now["offline"] == 1.0)
            last = next(item for item in reversed(watch.said) if isinstance(item, Frame))
            assert set(last.quality[:3]) == {Quality.GOOD, Quality.UNCERTAIN}
            await far.heal()
            back = await watch.until(lambda: watch.now["offline"] == 0.0)
            await watch.until(lambda: watch.events("camera-recovered"))
            print(f"stall seen after {seen:.1f} s, pictures {back:.1f} s after healing")
            assert len(watch.events("camera-lost")) == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("mute", "no answer in 4 s"),
        ("refuse", "connection refused"),
        ("no-stream", "not a stream"),
        ("unauthorised", "wrong user or password (401)"),
    ],
)
def test_a_camera_that_cannot_be_opened_is_offline_in_every_period_and_comes_back(fault, says):
    async def story():
        async with server() as far:
            await far.fail(fault)
            async with Watch(camera(far.url)) as watch:
                seen = await watch.until(lambda: watch.now.get("offline") == 1.0)
                await watch.until(lambda: any(says in text for text in watch.events("camera-lost")))
                n = len(watch.said)
                await watch.until(lambda: len(watch.said) > n + 3)
                assert watch.now["offline"] == 1.0
                await far.fail("refuse")
                await far.heal()
                back = await watch.until(lambda: watch.now["offline"] == 0.0)
                print(f"{fault}: seen after {seen:.1f} s, pictures {back:.1f} s after healing")

    asyncio.run(story())


def test_rtsp_goes_over_tcp_with_a_password_and_through_the_same_faults(monkeypatch):
    monkeypatch.setenv("CAMERA_WORD", "w@ /x")

    async def story():
        async with (
            server(user="viewer", password="w@ /x") as far,
            Watch(camera(far.rtsp_url, user="viewer", password="env:CAMERA_WORD")) as watch,
        ):
            await watch.well()
            await far.fail("covered")
            await watch.until(lambda: watch.now["covered"] == 1.0)
            await far.heal()
            await watch.well()
            await far.fail("dead")
            seen = await watch.until(lambda: watch.now["stalled"] == 1.0)
            await watch.until(lambda: watch.now["offline"] == 1.0)
            for fault, says in (("unauthorised", "(401)"), ("no-stream", "(404)")):
                await far.fail(fault)
                await watch.until(lambda says=says: any(says in text for text in watch.events("camera-lost")))
            await far.heal()
            back = await watch.until(lambda: watch.now["offline"] == 0.0)
            print(f"rtsp: stall seen after {seen:.1f} s, pictures {back:.1f} s after healing")

    asyncio.run(story())


@pytest.mark.parametrize("fault", ["broken", "close"])
def test_a_stream_that_breaks_is_opened_again(fault):
    async def story():
        async with server() as far, Watch(camera(far.url)) as watch:
            await watch.well()
            await far.fail(fault)
            await watch.until(lambda: any(watch.now[key] == 1.0 for key in ("offline", "stalled")))
            await far.heal()
            back = await watch.well()
            print(f"{fault}: pictures {back:.1f} s after healing")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("name", "says"), [("nothing.avi", "no such file"), ("text.avi", "not a stream"), ("/dev/null", "no camera")]
)
def test_what_is_no_stream_says_so(tmp_path, name, says):
    (tmp_path / "text.avi").write_text("hello " * 100)

    async def story():
        async with Watch(camera(str(tmp_path / name))) as watch:
            await watch.until(lambda: watch.events("camera-lost"))
            assert says in watch.events("camera-lost")[0]

    asyncio.run(story())


def test_an_alarm_stands_while_its_camera_is_away():
    clock = ManualClock(mono=100.0)
    made = camera("http://10.0.0.1/x", period=1.0)
    there = video.Camera(made, clock)
    rules = [High(name=key, channel=[f"cam/{key}"], limit=0.5) for key in ("offline", "covered")]
    core = Core(made.layouts(), rules)
    memory, told = core.start("boot", clock.now()), []

    def seconds(n):
        nonlocal memory
        for _ in range(n):
            memory, verdict = core.step(memory, there.frame(clock.advance(1.0)))
            told.extend((alarm.rule, alarm.event) for alarm in verdict.alarms)

    flat = Picture(
        at=100.0, pts=0.0, count=1, content=1, mean=90.0, black=0.0, white=0.0, texture=1.0, sharp=0.0,
        scene=bytes(SCENE),
    )  # fmt: skip
    for i in range(5):
        there.memory = look(there.memory, replace(flat, at=100.0 + i, count=i + 1, content=i), made.limits)
    there.pictures = 5
    seconds(5)
    assert told == [("covered", "raised")]
    there.pictures, there.reason = 0, "connection refused"
    seconds(10)
    assert told == [("covered", "raised"), ("offline", "raised")]
    frame = there.frame(clock.now())
    assert dict(zip(frame.layout.key, frame.quality.tolist(), strict=True))["covered"] == Quality.UNCERTAIN


# -- secrets ------------------------------------------------------------------------------------------


def test_a_password_opens_the_stream_and_stands_nowhere(monkeypatch):
    word = "ge:he/im@%41 x"
    monkeypatch.setenv("CAMERA_WORD", word)

    async def story():
        async with server(user="viewer", password=word) as far:
            async with Watch(camera(far.url, user="viewer", password="env:CAMERA_WORD")) as watch:
                await watch.until(lambda: watch.now.get("offline") == 0.0)
                (child,) = children()
                for part in ("cmdline", "environ"):
                    text = Path(f"/proc/{child}/{part}").read_bytes()
                    assert b"ge:he" not in text
                    assert b"ge%3Ahe" not in text
            monkeypatch.setenv("CAMERA_WORD", "ge:he/false")
            async with Watch(camera(far.url, user="viewer", password="env:CAMERA_WORD")) as watch:
                await watch.until(lambda: watch.events("camera-lost"))
                assert "wrong user or password (401)" in watch.events("camera-lost")[0]
                assert "ge:he" not in str(watch.said)
                assert "ge%3Ahe" not in str(watch.said)
            monkeypatch.delenv("CAMERA_WORD")
            async with Watch(camera(far.url, user="viewer", password="env:CAMERA_WORD")) as watch:
                await watch.until(lambda: watch.events("camera-lost"))
                assert "password env:CAMERA_WORD cannot be read" in watch.events("camera-lost")[0]

    asyncio.run(story())


def test_the_examples_of_the_docstrings_run():
    assert doctest.testmod(video).failed == doctest.testmod(video_health).failed == 0


@pytest.mark.parametrize("text", ["open http://u:geheim@h/x failed", "the address http://u:geheim@h/x?a=b"])
def test_what_libraries_print_of_the_address_is_taken_out(text):
    assert "geheim" not in video._hidden(text, "http://u:geheim@h/x")


# -- the child ----------------------------------------------------------------------------------------


def test_a_child_that_stands_still_is_killed_and_replaced():
    async def story():
        async with server() as far, Watch(camera(far.url)) as watch:
            await watch.until(lambda: watch.now.get("offline") == 0.0)
            (child,) = children()
            os.kill(child, signal.SIGSTOP)
            seen = await watch.until(lambda: watch.now["stalled"] == 1.0)
            killed = seen + await watch.until(lambda: child not in children())
            back = await watch.until(lambda: watch.now["offline"] == 0.0 and children())
            print(f"stalled after {seen:.1f} s, killed after {killed:.1f} s, pictures {back:.1f} s later")
            assert children() != {child}
            assert "no progress" in watch.events("camera-lost")[0]

    asyncio.run(story())


def test_cycles_of_failing_and_healing_leave_nothing_behind(monkeypatch):
    for name, value in {"SILENT": 1.0, "FIRST": 0.1, "LONGEST": 0.2}.items():
        monkeypatch.setattr(video, name, value)

    async def story():
        async with server() as far, Watch(camera(far.url, limits={"stalled": 0.5})) as watch:
            counts = []
            for i in range(12):
                await watch.until(lambda: watch.now.get("offline") == 0.0 and watch.now["stalled"] == 0.0)
                counts.append((len(os.listdir("/proc/self/fd")), threading.active_count(), len(children())))
                await far.fail(("stall", "close", "refuse")[i % 3])
                await watch.until(lambda: watch.now["offline"] == 1.0)
                await far.heal()
            print("files, threads, children:", counts[0], "to", counts[-1])
            for first, last in zip(
                *(map(max, zip(*part, strict=True)) for part in (counts[:5], counts[-5:])), strict=True
            ):
                assert last <= first

    asyncio.run(story())


def test_a_child_does_not_outlive_an_agent_that_is_killed():
    story = """
import asyncio, sys
from agent.clock import ManualClock, SystemClock
from agent.core.core import Core
from drivers.video import Video
from drivers.video_health import SCENE, Picture, look
from tests.tools.slaves import Mailbox
async def main():
    async for item in Video(name="cam", url=sys.argv[1], period=0.2).frames(SystemClock(), Mailbox()):
        if hasattr(item, "value") and item.value[0] == 0.0:
            print("there", flush=True)
asyncio.run(main())
"""

    def offspring(pid: int) -> list[int]:
        return [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]

    async def play():
        async with server() as far:
            agent = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", story, far.url), stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
            )
            async with asyncio.timeout(LIMIT):
                assert await agent.stdout.readline() == b"there\n"
            (child,) = offspring(agent.pid)
            os.kill(child, signal.SIGSTOP)  # it could not even notice
            agent.kill()
            await agent.wait()
            async with asyncio.timeout(LIMIT):
                while is_alive(child):
                    await asyncio.sleep(0.02)

    def is_alive(pid: int) -> bool:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False

    asyncio.run(play())


# -- files --------------------------------------------------------------------------------------------


@pytest.fixture
def film(tmp_path):
    """Two seconds."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    scene = Scene()
    for n in range(20):
        writer.write(scene.picture(n, ""))
    writer.release()
    return path


def test_a_film_plays_at_its_own_pace_and_then_the_camera_is_offline(film):
    async def story():
        async with Watch(camera(str(film))) as watch:
            await watch.until(lambda: watch.now.get("offline") == 0.0)
            took = await watch.until(lambda: watch.now["offline"] == 1.0)
            assert took > 1.0
            assert watch.events("camera-lost") == [f"{film}: the file has ended"]

    asyncio.run(story())


def test_a_film_in_a_loop_goes_on(film):
    async def story():
        async with Watch(camera(str(film), loop=True)) as watch:
            await watch.until(lambda: watch.now.get("offline") == 0.0)
            until = time.monotonic() + 5.0
            await watch.until(lambda: time.monotonic() > until)
            assert watch.events("camera-lost") == []
            assert watch.now["stalled"] == 0.0
            assert watch.now["fps"] == pytest.approx(10, abs=4)

    asyncio.run(story())


def test_once_says_how_the_camera_is_or_why_it_is_not_there(film):
    (there,) = asyncio.run(camera(str(film)).once(SystemClock()))
    assert there.value[0] == 0.0
    lost, frame = asyncio.run(camera("/dev/video-none").once(SystemClock()))
    assert (lost.kind, lost.text) == ("camera-lost", "/dev/video-none: no such device")
    assert frame.value[0] == 1.0
    assert children() == set()


def test_a_pipeline_without_gstreamer_is_refused_in_words():
    """The wheel of OpenCV has none; with a build that has one, the pipeline ends in the newest picture only."""
    import cv2

    from drivers.video_child import obstacle, pipeline

    assert pipeline("rtsp://host/a") == ""
    assert pipeline("gst://videotestsrc ! videoconvert").endswith("appsink drop=true max-buffers=1")
    says = obstacle(cv2, "gst://videotestsrc ! videoconvert")
    has = "GStreamer:                   YES" in cv2.getBuildInformation()
    assert ("no GStreamer" in says) == (not has)
