"""What evidence costs: the ring of one camera, and one clip. `python -m tests.bench.evidence`

A camera of 1280 x 720 with 12 pictures/s by MJPEG, JPEG quality 85, a moving spot and noise; the CPU time of the child
without a ring and with one of 10 pictures/s, over `SECONDS` each; then a clip of 10 s out of that ring.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import msgspec

from agent import reels
from agent.clerk import encoded
from agent.clock import SystemClock
from agent.evidence import Job
from drivers.video import Video
from simulators.video import CameraServer, Scene
from tests.drivers.test_video import children
from tests.tools.slaves import Mailbox

SECONDS = 30.0  # s of each measurement
SETTLE = 3.0  # s before it
LOOP = 24  # pictures of the scene, drawn before: drawing them costs more than all the rest


class Reel(Scene):
    """A scene that was drawn before."""

    def __init__(self) -> None:
        super().__init__(1280, 720)
        self.drawn = [super(Reel, self).picture(n, "") for n in range(LOOP)]

    def picture(self, n, fault):
        return self.drawn[n % LOOP]


def used(pid: int) -> float:
    """s of CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def share(made: Video) -> tuple[float, float]:
    """CPU of the child as a share of one core, and MB resident."""

    async def listen() -> None:
        async with contextlib.aclosing(made.frames(SystemClock(), Mailbox())) as items:
            async for _ in items:
                pass

    task = asyncio.create_task(listen())
    while not children():
        await asyncio.sleep(0.1)
    await asyncio.sleep(SETTLE)
    (pid,) = children()
    before, began = used(pid), time.monotonic()
    await asyncio.sleep(SECONDS)
    cpu = (used(pid) - before) / (time.monotonic() - began)
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    task.cancel()
    await asyncio.wait([task])
    return cpu, pages * resource.getpagesize() / 1e6


async def main() -> None:
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores")
    camera = CameraServer(scene=Reel())
    await camera.start()
    with tempfile.TemporaryDirectory() as folder:
        kept = {"ring": f"{folder}/ring", "free_mb": 0.0}
        for name, more in (("without a ring", {}), ("with a ring", {"evidence": kept})):
            cpu, mb = await share(msgspec.convert({"name": "cam", "url": camera.url, **more}, Video))
            print(f"child {name}: {100 * cpu:.1f} % of a core, {mb:.0f} MB")
        await camera.stop()
        found = reels.found(Path(folder) / "ring")
        size = sum(reel.path.stat().st_size for reel in found)
        shots = [shot for reel in found for shot in reels.shots(reel.path)[1]]
        span = shots[-1].mono - shots[0].mono
        print(f"ring: {len(shots) / span:.1f} pictures/s, {size / span / 1e6:.2f} MB/s")
        for wide, format in ((1280, "mp4"), (960, "mp4"), (1280, "webm")):
            end = shots[-1].mono
            out = Path(folder) / f"out{wide}{format}"
            out.mkdir()
            head = reels.shots(found[0].path)[0]
            assert head is not None
            job = Job(
                parent=os.getpid(),
                reels=[str(reel.path) for reel in found],
                kernel=head.kernel,
                begin=end - 10.0,
                end=end,
                rate=10.0,
                wide=wide,
                format=format,
                out=str(out),
                stills={"x.y": (end - 5.0,)},
            )
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            made = await encoded(job)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = sum(itertools.starmap(lambda a, b: b - a, zip(before[:2], after[:2], strict=True)))
            clip = made.clip
            assert clip is not None
            mb = (out / f"clip.{format}").stat().st_size / 1e6
            took = time.monotonic() - began
            print(f"{format} of {clip.pictures} pictures {clip.width} x {clip.height}: ", end="")
            print(f"{cpu:.1f} s CPU, {took:.1f} s, {mb:.2f} MB")


if __name__ == "__main__":
    asyncio.run(main())
