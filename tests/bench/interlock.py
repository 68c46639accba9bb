"""From the register that crosses the limit to the coil that is written, while this or that is broken.

`vedette run` with a methane interlock on each of two headings (`heading.py`), read every half second. Beside it, on
the same crossings, a bare loop that reads and writes as often: the floor. Its line is TCP and its world is whole in
every case.

Dead units on the line of an interlock are listed behind its own: at a start nobody knows who lives, and units are asked
as they are listed. `ready` is when its trip was known to be off after a start.

The gas crosses at random moments, so that half a period of waiting belongs to the p50 and a whole one to the p99 of
anybody who polls. `missed` are crossings without a write within `heading.PATIENCE`.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench import heading
from tests.bench.heading import PERIOD
from tests.bench.stage import PYTHON, agent, broker, percentile_ms, running, server, wait_for, world
from tests.rigs.shim import Faults, Shim
from tests.rigs.trial import Skip

CROSSINGS = 32  # of each zone
ZONES = 2
DEVICES, CHANNELS = 10, 100  # of the further ones
DEAD = 10
STALL, REST = 0.5, 0.02  # s in which every sync hangs; in which those that hung go on
LIMIT = 600.0  # s for one case
LATEST = PERIOD + 0.05  # s, the goal for the p99
WORST = 1.0  # s, the goal in every case

SITE = """
[site]
name = "bench"
[store]
path = "state"
"""
ZONE = """
[[interlock]]
name = "zone{n}"
kind = "methane"
ch4 = {{ "coal/ch4/T1" = "heading{n}/t1" }}
feed = "heading{n}/feed"
trip = ["cut{n}"]
heartbeat = "alive{n}"
[[bus]]
name = "line{n}"
url = "{url}"
baud = 19200
timeout = {timeout}
output = [
  {{ name = "cut{n}", device = "heading{n}", at = "coil:0", armed = true }},
  {{ name = "alive{n}", device = "heading{n}", at = "coil:1", armed = true, heartbeat = 1.0 }},
]
"""
HEADING = """
[[bus.device]]
name = "heading{n}"
period = {period}
channel = [
  {{ key = "t1", at = "input:0", type = "float32", unit = "%", low = 0.0, high = 10.0 }},
  {values},
  {{ key = "feed", at = "discrete:0" }},
]
"""
BUS = """
[[bus]]
name = "bus-{name}"
url = "tcp://127.0.0.1:{port}"
"""
DEVICE = """
[[bus.device]]
name = "{name}"
unit = {unit}
period = {period}
points = "{points}"
"""
RULES = """
[[rule]]
name = "{kind}"
kind = "{kind}"
channel = "further*/c*"
limit = {limit}
level = "red"
"""
UPLINK = """
[[uplink]]
name = "platform"
url = "mqtt://127.0.0.1:{port}"
"""


class Case(NamedTuple):
    """What is there beside the interlock, and what is broken."""

    name: str
    further: int = 0  # devices that live, on buses of their own
    dead: int = 0  # devices that do not, on buses of their own
    beside: int = 0  # and on the line of each interlock
    broker: bool = True
    slow: bool = False  # the disk
    serial: bool = False
    timeout: float = 0.5  # s, of the interlock's line


CASES = (
    Case("calm"),
    Case("1,000 channels more", further=DEVICES),
    Case("broker dead", broker=False),
    Case("disk slow", slow=True),
    Case(f"{DEAD} dead devices, own buses", dead=DEAD),
    Case(f"{DEAD} dead units, same line", beside=DEAD),
    Case("RTU 19200, a dead unit", beside=1, serial=True, timeout=0.2),  # 0.5 `vedette check` refuses
    Case("all of the TCP cases", further=DEVICES, dead=DEAD, beside=DEAD, broker=False, slow=True),
)


def measure(names: str = "") -> list[dict[str, Any]]:
    """One row for each case; `names`: only those whose name has this in it."""
    return [row(case) for case in CASES if names in case.name]


def row(case: Case) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            said = crossings(case, Path(folder))
        except Skip as why:
            return {"case": f"{case.name}: skipped, {why}"}
    ups = [line for line in said if line.get("up") is True]
    cut, floor = _told(ups, "agent"), _told(ups, "floor")
    back = _told([line for line in said if line.get("up") is False], "agent")
    missed = len(ups) - len(cut)
    p99 = percentile_ms(cut, 99)
    return {
        "case": case.name,
        "crossings": len(ups),
        "p50 ms": percentile_ms(cut, 50),
        "p99 ms": p99,
        "worst ms": 1000 * max(cut, default=float("nan")),
        "missed": missed,
        "floor p50 ms": percentile_ms(floor, 50),
        "floor p99 ms": percentile_ms(floor, 99),
        "p99 x floor": p99 / percentile_ms(floor, 99),
        "back p50 ms": percentile_ms(back, 50),
        "back worst ms": 1000 * max(back, default=float("nan")),
        "ready s": next(line["ready"] for line in said if "ready" in line),
        "goal": "met" if not missed and p99 <= 1000 * LATEST and max(cut) <= WORST else "MISSED",
    }


def _told(lines: list[dict[str, Any]], who: str) -> list[float]:
    return [line[who] for line in lines if line[who] is not None]


def crossings(case: Case, folder: Path) -> list[dict[str, Any]]:
    """What the headings said. Raises `Skip`."""
    options = ["--crossings", str(CROSSINGS), "--zones", str(ZONES), "--dead", str(case.dead + 1)]
    options += ["--serial", str(folder)] if case.serial else []
    with contextlib.ExitStack() as stack:
        itself, said, reader = stack.enter_context(server("heading", *options))
        further = stack.enter_context(world(case.further, CHANNELS))[0] if case.further else []
        *dead, nobody = itself["dead"]
        port = stack.enter_context(broker()) if case.broker else nobody
        path = site(case, folder, itself["urls"], further, dead, port)
        env = stack.enter_context(slow_disk(folder)) if case.slow else {}
        floor = ("interlock", "0", "600", *map(str, itself["ports"]))
        stack.enter_context(running(PYTHON, "-m", "tests.bench.floors", *floor))
        stack.enter_context(agent(path, env))
        wait_for(lambda: any("over" in line for line in said) or not reader.is_alive(), LIMIT, case.name)
        if not reader.is_alive():
            raise RuntimeError(f"{case.name}: never began; {(folder / 'agent.log').read_text()[-2000:]}")
        return said


def site(case: Case, folder: Path, urls: list[str], further: list[int], dead: list[int], broker: int) -> Path:
    points = ["key,at,type,unit", *(f"c{k},holding:{2 * k},float32,%" for k in range(CHANNELS))]
    (folder / "points.csv").write_text("\n".join(points))
    (folder / "few.csv").write_text("\n".join(points[:5]))
    values = ",\n  ".join(
        f'{{ key = "v{k}", at = "input:{2 * k}", type = "float32" }}' for k in range(1, heading.VALUES)
    )
    text = SITE
    for n, url in enumerate(urls):
        beside = [
            DEVICE.format(name=f"beside{n}-{unit}", unit=unit, period=PERIOD, points="few.csv")
            for unit in range(2, 2 + case.beside)
        ]
        text += ZONE.format(n=n, url=url, timeout=case.timeout)
        text += HEADING.format(n=n, period=PERIOD, values=values) + "".join(beside)
    for kind, ports, listed in (("further", further, "points.csv"), ("dead", dead, "few.csv")):
        for k, port in enumerate(ports):
            name = f"{kind}{k}"
            text += BUS.format(name=name, port=port) + DEVICE.format(name=name, unit=1, period=PERIOD, points=listed)
    if further:
        text += RULES.format(kind="high", limit=90.0) + RULES.format(kind="low", limit=-90.0)
    path = folder / "site.toml"
    path.write_text(text + UPLINK.format(port=broker))
    return path


@contextlib.contextmanager
def slow_disk(folder: Path) -> Iterator[Mapping[str, str]]:
    """Every sync of the store hangs until the end of a half second, one after the other; what to start it with."""
    faults, over = Faults(folder / "faults", folder / "state"), threading.Event()

    def hang() -> None:
        while not over.is_set():
            faults.arm("stall", "sync", ever=True, seconds=STALL)
            time.sleep(STALL + REST)
        faults.heal()

    env = Shim(folder).env(faults)
    thread = threading.Thread(target=hang)
    thread.start()
    try:
        yield env
    finally:
        over.set()
        thread.join()
