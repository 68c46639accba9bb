"""T14: whatever a camera does, it is said within 5 s, pictures are back within 10 s after it was mended, and nothing is
left behind.

Network cameras (`simulators/video.py`) that fail and are mended again and again; the ledger is the simulator, which
knows when it failed and when it was well again. Between them is FFmpeg, in the driver's children.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import msgspec

from agent.clock import SystemClock
from agent.core.frame import Frame
from agent.core.ports import Event
from drivers.video import Video
from tests.rigs.trial import Case, Skip, Trial
from tests.tools.slaves import Mailbox

FAULTS = ("dead", "mute", "frozen", "broken", "unauthorised", "stall", "close", "refuse")
SEEN, BACK = 5.0, 10.0  # s, the goals
FROZEN = 3.0  # s of the same content, here; it is the site's own choice
NEVER = 999.0  # s
PATIENCE = 20.0  # s after which a cycle is given up, and with it the rest
WORD = "geheim-4711"
READS = 5  # of the counts, at the beginning and at the end


class Eye:
    """What the driver of one camera says."""

    def __init__(self, made: Video) -> None:
        self.made, self.now, self.events = made, dict[str, float](), list[Event]()
        self.bell = asyncio.Event()

    async def run(self) -> None:
        async with contextlib.aclosing(self.made.frames(SystemClock(), Mailbox())) as items:  # type: ignore[type-var]
            async for item in items:
                if isinstance(item, Frame):
                    self.now = dict(zip(item.layout.key, item.value.tolist(), strict=True))
                    self.bell.set()
                else:
                    self.events.append(item)

    async def until(self, what: Callable[[dict[str, float]], bool]) -> float:
        """s until `what` is said, or NEVER."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                while not (self.now and what(self.now)):
                    self.bell.clear()
                    await self.bell.wait()
        except TimeoutError:
            return NEVER
        return time.monotonic() - began


def is_well(now: dict[str, float]) -> bool:
    return all(now[key] == 0.0 for key in ("offline", "stalled", "frozen"))


def is_ill(now: dict[str, float]) -> bool:
    return any(now[key] == 1.0 for key in ("offline", "stalled"))


def counts() -> tuple[int, int, int]:
    """Files, threads, children of this process, dead ones included."""
    mine = 0
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            mine += int((place / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()
    return len(os.listdir("/proc/self/fd")), threading.active_count(), mine


async def story(cameras: int, cycles: int, faults: Sequence[str]) -> tuple[list[tuple[str, float, float]], list, list]:
    """(fault, s until seen, s until back) of each cycle; counts after each round; and all events."""
    from simulators.video import CameraServer

    servers = [CameraServer(user="viewer", password=WORD, fps=6.0) for _ in range(cameras)]
    for server in servers:
        await server.start()
    os.environ["CAMERA_WORD"] = WORD
    eyes = []
    for i, server in enumerate(servers):
        raw = {"name": f"cam{i}", "url": server.url, "user": "viewer", "password": "env:CAMERA_WORD"}
        eyes.append(Eye(msgspec.convert({**raw, "period": 0.5, "limits": {"frozen": FROZEN}}, Video)))
    tasks = [asyncio.create_task(eye.run()) for eye in eyes]
    rng, told, seen_counts = random.Random(1), [], []

    async def cycle(i: int, fault: str) -> None:
        server, eye = servers[i], eyes[i]
        await asyncio.sleep(rng.random())  # the cameras do not fail in step
        if fault in ("mute", "unauthorised"):
            await server.fail("refuse")  # who is connected is cut off
        await server.fail(fault)  # type: ignore[arg-type]
        seen = await eye.until((lambda now: now["frozen"] == 1.0) if fault == "frozen" else is_ill)
        least = 4.0 if fault == "unauthorised" else 0.0  # so that it tries and hears it
        await asyncio.sleep(least + (6.0 - least) * rng.random())  # mended at any moment of its tries
        await server.heal()
        told.append((fault, seen, await eye.until(is_well)))

    for eye in eyes:
        await eye.until(is_well)
    for n in range(cycles):
        seen_counts.append(counts())
        turn = itertools.islice(itertools.cycle(faults), n, None)
        await asyncio.gather(*(cycle(i, fault) for i, fault in zip(range(cameras), turn, strict=False)))
        if any(NEVER in one for one in told):
            break
    seen_counts.append(counts())
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for server in servers:
        await server.stop()
    return told, seen_counts, [event for eye in eyes for event in eye.events]


def run_trial(case: Case) -> None:
    try:
        import cv2  # noqa: F401
    except ImportError:
        raise Skip("needs OpenCV") from None
    before = counts()[2]
    cameras = case.n(4, 8)
    told, held, events = asyncio.run(story(cameras, case.n(2, 25), FAULTS))
    stops = [seen for fault, seen, _ in told if fault != "frozen"]
    case.figure("cycles", len(told))
    case.at_most("stall seen, worst", max(stops), SEEN, "s")
    case.at_most("pictures after healing, worst", max(back for _, _, back in told), BACK, "s")
    frozen = [seen for fault, seen, _ in told if fault == "frozen"]
    case.at_most("frozen seen, worst", max(frozen, default=0.0), FROZEN + SEEN, "s")
    for i, what in enumerate(("files", "threads", "children")):
        first, last = held[:READS], held[-READS:]
        grown = median(row[i] for row in last) - median(row[i] for row in first)
        case.at_most(f"more {what} at the end", grown, 0)  # medians: now and then the simulator still holds a socket
    case.exactly("children left behind", counts()[2] - before, 0)
    case.exactly("passwords told", sum(WORD in str(event) for event in events), 0)
    case.at_least("wrong passwords said", sum("(401)" in event.text for event in events), 1)
    for fault in FAULTS:
        rows = [(seen, back) for name, seen, back in told if name == fault]
        if rows:
            seen, back = (max(column) for column in zip(*rows, strict=True))
            case.note(f"{fault}: {len(rows)} times, seen after {seen:.1f} s and back after {back:.1f} s at worst")
    for text, times in Counter(
        event.text.partition(": ")[2] for event in events if event.kind == "camera-lost"
    ).items():
        case.note(f"told {times} times: {text}")


TRIAL = Trial(
    "T14",
    "cameras",
    run_trial,
    "decoder-by-itself",
    ("pictures after healing, worst", "stall seen, worst"),
)
