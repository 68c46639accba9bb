"""`vedette status` as a technician sees it: a real agent, a real pseudo-terminal, somebody else's emulator; and what
the files say once the agent is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import string
import subprocess
import sys

import pytest

pytest.importorskip("pyte", reason="the emulator of a terminal is not installed")

from agent import audit, cockpit, said, status
from agent.control import home
from tests.rigs.stage import heard, running, stage, told
from tests.rigs.stage import until as stood
from tests.tools.mosquitto import needs_mosquitto
from tests.tools.orders import vedette
from tests.tools.screen import screen
from tests.tools.subscriber import Subscriber

VEDETTE = [sys.executable, "-m", "agent.cli"]


@needs_mosquitto
def test_a_technician_watches_the_gateway_through_a_hazard_and_the_end_of_the_agent(tmp_path):
    level, state = 0.5, tmp_path / "state"

    async def main() -> None:
        nonlocal level
        async with stage(tmp_path, 4, 0.1, lambda: [level]) as (_, _, broker, path):
            with (
                Subscriber(broker.port, "vedette/#") as ear,
                screen(
                    [*VEDETTE, "status", "-c", str(path), "--every", "0.5"],
                    *(80, 24),
                    {"COLUMNS": "60", "LINES": "24"},  # exported by a shell that had another size
                ) as see,
            ):

                async def until(what, seconds=30.0):
                    return await asyncio.to_thread(see.until, what, seconds)

                assert "no sign of life" in await until("NO AGENT RUNS HERE")
                async with running(path) as agent:
                    calm = await until("all 5 channels are well")
                    assert "spine/gw1" in calm
                    assert "NO AGENT" not in calm
                    level = 1.5
                    await until(lambda text: " ◆1  NEW " in text and "plant/c0" in text)
                    (alarm,) = {
                        a["id"] for a in told(await heard(ear, lambda ms: told(ms, "alarm/red/")), "alarm/red/")
                    }
                    chip = next(i for i, line in enumerate(see.screen.display) if "NEW" in line)
                    assert see.screen.buffer[chip][1].bg not in ("default", see.screen.buffer[chip][30].bg)
                    await asyncio.to_thread(vedette, "alarms", "--ack", alarm, "--by", "Li", "-c", path)
                    await until(lambda text: " ◆1  seen " in text and "connected" in text)
                    await until(lambda text: "plant (1)" in text and "polled" in text)
                    now = json.loads(await asyncio.to_thread(vedette, "status", "--json", "-c", path))
                    assert now["schema"] == "vedette.status/1"
                    assert {one["channel"] for one in now["channels"]} >= {"plant/c0", "plant/c3", "plant/served"}
                    assert (now["alarms"][0]["id"], now["colour"], now["counts"]["red"]) == (alarm, "red", [1, 0])
                    assert now["lines"][0]["devices"][0]["mean"] > 0
                    see.press("a")
                    await until(lambda text: alarm in text and "by Li" in text)
                    see.press("c")
                    await until(lambda text: "plant/served" in text and "Lines" not in text)
                    see.resize(160, 30)
                    see.press("s")
                    await until(lambda text: any("Alarms" in line and "Lines" in line for line in text.split("\n")))
                    broker.stop()  # what happens from now on is owed
                    await asyncio.to_thread(
                        vedette, "alarms", "--take-out", alarm, "--by", "Li", "--reason", "permit 7", "-c", path
                    )
                    await until("1 put away")
                    await stood(lambda: "taken-out" in [edge.event for edge in audit.edges(state / "journal")])
                    agent.kill()
                    await agent.wait()
                await until(lambda text: "NO ANSWER for" in text and "1 put away" in text)
                await asyncio.to_thread(files_speak, path, alarm)
                async with running(path):
                    await until(lambda text: "NO ANSWER" not in text and "1 put away" in text)
                    see.press("q")
                    assert await asyncio.to_thread(see.ended) == 0
                    assert see.is_as_before()
                    path.write_text("[site]\nname = ")  # by which the agent does not run
                    with screen([*VEDETTE, "status", "-c", str(path), "--lang", "zh"], 60, 16) as other:
                        await asyncio.to_thread(other.until, "停用")
                        other.press("\x03")
                        assert await asyncio.to_thread(other.ended) == 0
                        assert other.is_as_before()
                    assert alarm in await asyncio.to_thread(vedette, "alarms", "-c", path)
        broken = subprocess.run([*VEDETTE, "status", "-c", path], capture_output=True, text=True)
        assert broken.returncode == os.EX_CONFIG
        assert "site.toml:" in broken.stderr

    asyncio.run(main())


def files_speak(path, alarm):
    """What the files of an agent say that was killed; nobody touches them."""
    before = contents(path.parent / "state")
    plain = os.environ | {"PYTHONIOENCODING": "ascii"}  # a terminal of long ago
    once = subprocess.run([*VEDETTE, "status", "-c", path], capture_output=True, text=True, env=plain)
    assert once.returncode == os.EX_UNAVAILABLE
    assert "NO AGENT RUNS HERE" in once.stdout
    assert "last sign of life" in once.stdout
    assert " *1  out " in once.stdout
    assert "\x1b" not in once.stdout
    assert "is `vedette run` running" in once.stderr
    found = json.loads(vedette("status", "--json", "-c", path, ok=False))
    assert (found["running"], found["clock_synced"]) == (False, None)
    assert (found["away"][0]["id"], found["away"][0]["by"], found["away"][0]["reason"]) == (alarm, "Li", "permit 7")
    owed = found["uplinks"][0]["lanes"]["alarm"]
    assert owed["waiting"] == 1
    assert owed["oldest"] >= 0
    last = list(audit.records(path.parent / "state/journal"))[-1]
    assert (found["journal"]["record"], found["journal"]["checksum"]) == (last.n, last.chain)
    assert found["journal"]["fingerprint"]
    assert contents(path.parent / "state") == before


def contents(folder):
    """Every file by name, and what is in it."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_who_may_not_ask_hears_who_may(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    code = (
        "import os, sys; from agent import control; from agent.core.errors import WorldFault; os.setuid(65534)\n"
        "try: control.ask(sys.argv[1], {})\n"
        "except WorldFault as fault: print(type(fault).__name__, fault)"
    )
    for folder in (tmp_path, *tmp_path.parents[:3]):
        os.chmod(folder, 0o755)
    told = subprocess.run([sys.executable, "-c", code, str(state)], capture_output=True, text=True)
    assert told.stdout.startswith("WorldFault "), told.stderr
    assert "sudo -u 'root'" in told.stdout


# -- drawing ------------------------------------------------------------------------------------------


def picture(seed: int, channels: int, alarms: int) -> status.Status:
    """A gateway that never was."""
    rng = random.Random(seed)

    def word(most=30):
        return "".join(rng.choice(string.ascii_letters + "矿井瓦斯 …%[/]") for _ in range(rng.randint(1, most)))

    levels = ("red", "orange", "yellow", "blue")
    states = [key.removeprefix("n-") for key in said.MORE if key.startswith("n-")]
    point = [
        status.Point(
            id=word(),
            level=rng.choice(levels),
            state=rng.choice(states),
            channel=word(),
            rule=word(),
            text=word(200),
            value=None,
            limit=1.0,
            unit="",
            since=0.0,
            synced=rng.random() < 0.5,
            age=rng.expovariate(1e-4),
            by=word(),
        )
        for _ in range(alarms)
    ]
    rows = [
        status.Channel(
            channel=word(80),
            value=rng.choice([None, rng.gauss(0, 1e4)]),
            unit=word(8),
            quality=rng.choice(["GOOD", "STALE", "OFFLINE"]),
            age=rng.expovariate(0.1),
            level=rng.choice([None, *levels]),
            unacked=False,
            away=rng.choice(["", "shelved"]),
            derived=False,
            limit=rng.choice([None, 1.0]),
        )
        for _ in range(channels)
    ]
    devices = [
        status.Device(
            device=word(),
            unit=rng.randint(1, 247),
            up=rng.random() < 0.7,
            asked=100,
            silent=rng.randint(0, 50),
            garbled=0,
            refused=1,
            mean=0.01,
            worst=0.1,
            hints=["coach silent"],
        )
        for _ in range(rng.randint(0, 9))
    ]
    lanes = {"alarm": status.Owing(waiting=2, oldest=90.0, dropped=1)}
    return status.Status(
        running=rng.random() < 0.8,
        at=1e9,
        site=word(),
        node=word(),
        language="zh",
        version="1",
        up=1e6,
        clock_synced=False,
        colour=rng.choice(levels),
        counts=dict.fromkeys(levels, (alarms, 1)),
        items=[status.Item(name=word(), colour="red", depth=d) for d in range(3)],
        alarms=point[: alarms // 2],
        away=point[alarms // 2 :],
        channels=rows,
        channels_total=channels,
        channels_measured=channels,
        channels_unwell=channels // 2,
        lines=[status.Line(name=word(), kind="modbus", lost=word(200) if i else "", devices=devices) for i in range(3)],
        uplinks=[status.Link(name=word(), kind="mqtt", state="down", lost=word(200), lanes=lanes)],
        journal=status.Head(record=1, checksum="", trouble=word(200)),
        vitals={**dict.fromkeys(cockpit.TROUBLES, 2.0), "memory": 60.0, "temperature": 71.0, "disk_full_in": 9.0},
        machine=status.Machine(load=0.1, memory_free=0.5, disk_free=0.5, disk_bytes=10**10),
        events=[status.Told(kind=word(), source=word(), text=word(300), wall=0.0, age=1.0) for _ in range(20)],
        faults=[word(200)],
    )


@pytest.mark.parametrize(("wide", "tall"), [(20, 4), (40, 10), (80, 24), (137, 24), (220, 70)])
def test_nothing_is_wider_or_longer_than_the_screen(wide, tall):
    from rich.cells import cell_len

    for seed in range(1, 3):
        s = picture(seed, 50 * seed, 15 * seed)
        for language in ("en", "zh"):
            pen = cockpit.Pen(said.Said(language), shapes=seed % 2 == 0)
            for view in ("", *filter(None, cockpit.VIEWS.values())):
                lines = cockpit.drawn(s, pen, wide, tall, view, top=seed * 7, silent=5.0)
                assert len(lines) <= max(tall, 6), view
                assert max(cell_len(line.plain) for line in lines) <= wide
                assert all("\n" not in line.plain for line in lines)


def test_a_site_file_with_faults_still_names_its_state(tmp_path):
    path = tmp_path / "site.toml"
    for text, folder in (
        ('[store]\npath = "/var/lib/x"\n[bus]\n', "/var/lib/x"),
        ("[store]\n", tmp_path / "state"),
        ("store = 3\n", tmp_path / "state"),
        ("[[", tmp_path / "state"),
    ):
        path.write_text(text)
        assert str(home(path)) == str(folder)
