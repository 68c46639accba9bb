"""Evidence, whole: a gas alarm at a register, a camera that looks there -> a clip, its hashes in journal and broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from agent import audit, evidence, reels
from agent.cli import main as cli
from tests.rigs.stage import heard, running, stage, told, until
from tests.tools.mosquitto import needs_mosquitto
from tests.tools.subscriber import Subscriber

cv2 = pytest.importorskip("cv2")
from drivers.clip import GAP  # noqa: E402
from simulators.video import CameraServer, Scene  # noqa: E402
from tests.tools.films import frames  # noqa: E402

pytestmark = needs_mosquitto

LONG = 60.0  # s, generous: this machine may be busy
RATE = 5.0  # pictures/s of the clip
CAMERA = """
[evidence]
free_mb = 1.0
protected_mb = {protected}
[[bus]]
driver = "video"
name = "gate"
url = "{url}"
limits.hold = 0.3
[bus.evidence]
looks_at = ["plant/c*"]
before = 1.0
after = 1.0
reel = 0.5
rate = {rate}
ring_mb = 8.0
free_mb = 1.0
clip_width = 320
mask = [[[0.0, 0.0], [0.25, 0.0], [0.25, 0.25], [0.0, 0.25]]]
[[rule]]
name = "gas"
kind = "high"
channel = {{hazards}}
limit = 1.0
level = "red"
"""


class Spot(Scene):
    """A light that goes from left to right, and where it was when."""

    def __init__(self) -> None:
        super().__init__(320, 240)
        self.where: list[tuple[float, float]] = []  # monotonic s, x

    def picture(self, n, fault):
        image = np.full((self.height, self.width, 3), 60, np.uint8)
        image[:, ::20] = 90
        x = 40 + (3 * n) % 240
        cv2.circle(image, (x, 150), 12, (255, 255, 255), -1)
        self.where.append((time.monotonic(), x))
        return image


@contextlib.asynccontextmanager
async def scene(folder: Path, levels, protected=100, rules=CAMERA):
    """Plant, broker, camera and the site file that joins them; the camera gives pictures already."""
    camera = CameraServer(scene=Spot())
    await camera.start()
    try:
        rules = rules.format(url=camera.url, protected=protected, rate=RATE)
        async with stage(folder, 3, 0.1, levels, rules=rules, stale=10.0) as (device, _, broker, path):
            yield device, camera, broker, path
    finally:
        await camera.stop()


def shelf(path: Path) -> Path:
    return path.parent / "state" / "evidence"


def ring(path: Path) -> list[reels.Reel]:
    return reels.found(reels.folder_of(shelf(path), "gate"))


def spot(image: np.ndarray) -> float:
    """Where the light is."""
    bright = (image.min(axis=2) > 200) & (np.arange(image.shape[0]) > 100)[:, None]
    return float(np.nonzero(bright)[1].mean())


def test_a_gas_alarm_keeps_a_clip_that_shows_the_moment_and_its_hashes_are_told(tmp_path, capsys):
    async def main():
        level = [0.5]
        async with scene(tmp_path, lambda: level) as (_, camera, broker, path):
            with Subscriber(broker.port, "vedette/#") as ear:
                async with running(path):
                    await until(lambda: len(ring(path)) >= 5, LONG, "ring")
                    level[0] = 1.5
                    await heard(ear, lambda ms: any(a["event"] == "raised" for a in told(ms, "alarm/")))
                    ms = await heard(ear, lambda ms: told(ms, "evidence/"), LONG)
                    await heard(ear, lambda ms: any(a["event"] == "evidence" for a in told(ms, "alarm/")), LONG)
                    (said,) = told(ms, "evidence/")
                    id = said["facts"]["id"]
                    assert cli(["evidence", "-c", str(path), "release", id, "--by", "Li"]) == 0
                    assert cli(["evidence", "-c", str(path), "protect", id, "--by", "Li", "--reason", "court"]) == 0
                return path, ear.messages, camera.scene

    path, messages, saw = asyncio.run(main())
    capsys.readouterr()
    alarms = told(messages, "alarm/")
    raised = next(a for a in alarms if a["event"] == "raised")
    (said,) = told(messages, "evidence/")
    assert next(m.topic for m in messages if "/evidence/" in m.topic).endswith(f"/evidence/{raised['id']}")
    facts = said["facts"]
    folder = shelf(path) / facts["id"]
    # told: the hash of the manifest stands in the alarm, the event and the journal
    sha256 = evidence.digest(folder / "manifest.json")
    kept = next(a for a in alarms if a["event"] == "evidence")
    assert facts["sha256"] == sha256
    assert kept["evidence"] == [f"{facts['id']} sha256:{sha256}"]
    assert (kept["id"], kept["state"], kept["edge"]) == (raised["id"], "active-unacked", raised["edge"] + 1)
    records = [json.loads(record.body) for record in audit.records(path.parent / "state" / "journal")]
    events = [record["event"] for record in records if record["kind"] == "event"]
    assert [e["facts"]["sha256"] for e in events if e["kind"] == "evidence"] == [sha256]
    assert [e["facts"]["by"] for e in events if e["kind"] in ("evidence-released", "evidence-protected")] == [
        "Li",
        "Li",
    ]
    assert {f["name"] for f in facts["files"]} == {
        "clip.mp4", "channels.csv", "still-1.jpg", "still-2.jpg", "still-3.jpg"
    }  # fmt: skip
    assert facts["missing"] == []
    # the clip shows the moment: the light is where it was when the alarm was decided
    images = frames(folder / "clip.mp4")
    clip, at = facts["clip"], facts["at"]["mono"]
    assert len(images) == clip["pictures"] == 10
    xs = {k: spot(image) for k, image in enumerate(images)}
    for k in range(1, 10):
        t = clip["begin"] + k / clip["fps"]
        near = [x for when, x in saw.where if -0.9 <= when - t <= 0.2]  # a busy machine is late
        assert min(abs(xs[k] - x) for x in near) < 4, (k, xs[k], near)
    still = cv2.imread(str(folder / "still-2.jpg"))
    assert min(abs(spot(still) - x) for when, x in saw.where if abs(when - at) < 0.6) < 4
    # what nobody may see is not there
    assert np.ptp(images[5][:50, :70].astype(int)) < 30
    assert np.ptp(images[5][:50, 100:170].astype(int)) > 15
    # the values beside
    rows = [line.split(",") for line in (folder / "channels.csv").read_text().splitlines()[1:]]
    c0 = [(float(t), float(value)) for t, _, channel, value, _, _ in rows if channel == "plant/c0"]
    assert min(t for t, _ in c0) < -0.5 < 0.5 < max(t for t, _ in c0)
    assert all(value < 1 for t, value in c0 if t < -0.2)
    assert all(value > 1 for t, value in c0 if t >= 0)
    assert any(channel == "gate/fps" for _, _, channel, *_ in rows)
    # and a person can look at it, check it, take it away
    assert cli(["evidence", "-c", str(path), "list", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["protected"], listed["complete"]) == (facts["id"], "Li", True)
    assert cli(["evidence", "-c", str(path), "show", raised["id"]]) == 0
    assert facts["files"][0]["sha256"] in capsys.readouterr().out
    for deed, says in (("list", "由 Li 保护"), ("show", "红色报警 {alarm},规则 gas"), ("verify", "均与原先一致,清单")):
        words = [] if deed == "list" else [raised["id"]]
        assert cli(["evidence", deed, *words, "-c", str(path), "--lang", "zh"]) == 0
        assert says.format(alarm=raised["id"]) in capsys.readouterr().out
    assert cli(["evidence", "-c", str(path), "verify", facts["id"]]) == 0
    assert cli(["evidence", "-c", str(path), "export", facts["id"], str(tmp_path / "out")]) == 0
    assert evidence.verify(tmp_path / "out" / facts["id"]) == []
    assert len((tmp_path / "out" / f"{facts['id']}.journal.jsonl").read_text().splitlines()) >= 3
    with (folder / "clip.mp4").open("r+b") as file:
        file.seek(1000)
        file.write(b"forged")
    assert cli(["evidence", "-c", str(path), "verify", facts["id"]]) == 1
    assert "clip.mp4: changed" in capsys.readouterr().out
    assert cli(["evidence", "-c", str(path), "export", facts["id"], str(tmp_path / "out2")]) == 1
    assert cli(["evidence", "-c", str(path), "show", "nothing"]) == 69


def processes(word: bytes, parent: int) -> list[int]:
    """Children of a process that have this word in their command."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            if int((place / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found += [int(place.name)] * (word in (place / "cmdline").read_bytes())
    return found


def test_kills_of_camera_agent_and_encoder_lose_nothing_that_was_complete(tmp_path, capsys):
    """The camera's child is killed in the middle of the clip, then the agent, then the encoder of the next life with
    its agent; the third one finishes."""

    async def main():
        level = [0.5]
        async with scene(tmp_path, lambda: level) as (_, _, broker, path):
            with Subscriber(broker.port, "vedette/#") as ear:
                async with running(path) as agent:
                    await until(lambda: len(ring(path)) >= 5, LONG, "ring")
                    level[0] = 1.5
                    await until(lambda: list(shelf(path).glob("*/before.csv")), LONG, "noted")
                    (child,) = processes(b"video_child", agent.pid)
                    os.kill(child, signal.SIGKILL)
                    agent.kill()
                    await agent.wait()
                assert told(ear.messages, "evidence/") == []
                await until(lambda: not Path(f"/proc/{child}").exists(), LONG, "no child left")
                async with running(path) as agent:
                    await until(lambda: processes(b"drivers.clip", agent.pid), LONG, "encoder")
                    (encoder,) = processes(b"drivers.clip", agent.pid)
                    agent.kill()
                    await agent.wait()
                await until(lambda: not Path(f"/proc/{encoder}").exists(), LONG, "encoder ended with its agent")
                async with running(path) as agent:
                    ms = await heard(ear, lambda ms: told(ms, "evidence/"), LONG)
                    await until(lambda: not list(shelf(path).glob("*/wanted.json")), LONG, "told")
                    n = len(ring(path))
                    await until(lambda: len(ring(path)) > n, LONG, "the ring goes on")
                return path, ms

    path, messages = asyncio.run(main())
    (said,) = told(messages, "evidence/")
    facts = said["facts"]
    assert facts["alarm"] in {a["id"] for a in told(messages, "alarm/")}
    assert facts["clip"]["pictures"] == 10
    assert facts["clip"]["shown"] >= 4
    told_of = any(what.startswith("pictures from") for what in facts["missing"])
    assert told_of or facts["clip"]["shown"] >= 10 - GAP * RATE  # what is shorter than a gap is none
    assert "channels after the alarm: the agent was started again" in facts["missing"]
    assert cli(["evidence", "-c", str(path), "verify", facts["id"]]) == 0
    capsys.readouterr()
