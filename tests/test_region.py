"""Joint defence: real daemons on one mosquitto, each with a plant of its own, that listen to one another."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from agent.control import ask
from agent.status import _alarms_file
from simulators.modbus import Device, TcpLine
from tests.rigs.stage import move, plant, running, site
from tests.tools.mosquitto import Mosquitto, needs_mosquitto
from tests.tools.subscriber import Heard, Subscriber

pytestmark = needs_mosquitto

LISTENING = """
[[rule]]
name = "gas"
kind = "high"
channel = {{hazards}}
limit = 1.0
level = "red"
drive = ["siren"]
[[rule]]
name = "next-door"
kind = "high"
channel = {levels}
limit = 4
level = "red"
drive = ["siren"]
[[rule]]
name = "both"
kind = "vote"
channel = {levels}
limit = 4
need = 1
bad = "abstains"
level = "red"
[[item]]
name = "whole"
channel = ["plant/c0", {first}]
[[bus]]
driver = "neighbour"
name = "region"
url = "{url}"
trust = "given"
{neighbours}
"""
ONE = '[[bus.neighbour]]\nname = "{name}"\nsite = "{name}"\n'


async def until(true: Callable[[], Any], seconds: float, what: str) -> None:
    """Asking costs the daemons something: not as often as the rigs do."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        await asyncio.sleep(0.15)


class Site:
    """One of them."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.level = name, folder, 0.5
        self.device: Device = plant(1)
        self.path = folder / "site.toml"
        self.agent: Any = None

    def alarms(self) -> set[tuple[str, str]]:
        """Rule and channel of what stands, but for what is said of cameras, colours and the agent itself."""
        found = ask(self.folder / "state", {"verb": "alarms"})["alarms"]
        return {(a["rule"], a["channel"]) for a in found if a["state"].startswith("active")}

    def kept(self) -> set[tuple[str, str]]:
        """The same as the disk has it."""
        found, _ = _alarms_file(self.folder / "state" / "alarms.db")
        return {alarm.point for alarm in found if alarm.state.startswith("active")}

    def siren(self) -> bool:
        return bool(self.device.values["siren"])


@contextlib.asynccontextmanager
async def sites(folder: Path, broker: Mosquitto, names: str) -> AsyncIterator[list[Site]]:
    """As many sites as names, each of which listens to all others."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for name in names:
            here = Site(name, folder / name)
            here.folder.mkdir()
            line = TcpLine([here.device])
            await line.start()
            stack.push_async_callback(line.stop)
            stop = asyncio.Event()
            mover = asyncio.create_task(move(here.device, 1, stop, lambda here=here: [here.level]))
            stack.push_async_callback(asyncio.gather, mover)
            stack.callback(stop.set)
            others = [other for other in names if other != name]
            levels = "[" + ", ".join(f'"{other}/level"' for other in others) + "]"
            neighbours = "\n".join(ONE.format(name=other) for other in others)
            rules = LISTENING.format(levels=levels, first=f'"{others[0]}/level"', url=broker.url, neighbours=neighbours)
            site(here.folder, here.device, line.url, broker.url, 0.25, name=name, rules=rules, stale=2.0)
            here.agent = await stack.enter_async_context(running(here.path))
            found.append(here)
        for here in found:
            await until(lambda here=here: (here.folder / "state" / "control").exists() or answers(here), 20, "it runs")
        yield found


def answers(here: Site) -> bool:
    with contextlib.suppress(Exception):
        return bool(ask(here.folder / "state", {"verb": "status"}))
    return False


def test_three_sites_defend_together_no_alarm_goes_round_and_what_stands_is_news_once(tmp_path: Path):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker") as broker, Subscriber(broker.port) as ear:
            async with sites(tmp_path, broker, "abc") as (a, b, c):
                everybody = (a, b, c)
                await until(lambda: all(not one.alarms() - own(one) for one in everybody), 20, "all is quiet")
                a.level = 1.5
                mine = ("gas", "plant/c0")
                await until(lambda: mine in a.alarms(), 10, "the hazard")
                await until(lambda: ("next-door", "a/level") in b.alarms() & c.alarms(), 10, "it is heard")
                await until(lambda: all(one.siren() for one in everybody), 10, "sirens")
                await asyncio.sleep(1.5)  # whatever goes round has had its time
                raised = {(m.topic.split("/")[1], *m.body["channel"].split("/"), m.body["rule"]) for m in told(ear)}
                raised = {one for one in raised if one[1] != "colour"}
                assert raised == {
                    ("a", "plant", "c0", "gas"),
                    *((who, "a", "level", rule) for who in "bc" for rule in ("next-door", "both")),
                }
                origins = {(m.topic.split("/")[1], m.body["rule"], m.body.get("origin", "")) for m in told(ear)}
                assert {one for one in origins if one[1] == "next-door"} == {
                    ("b", "next-door", "a/gw1"),
                    ("c", "next-door", "a/gw1"),
                }
                assert ("a", "gas", "") in origins
                assert ("b", "both", "a/gw1,c/gw1") in origins  # a vote of theirs
                assert ("a", "whole", "b/gw1") in origins  # an item that rests on their word, too
                a.level = 0.5
                await until(lambda: not any(one.siren() for one in everybody), 10, "it is over")
                await asyncio.sleep(1.0)
                assert not any(one.siren() for one in everybody)
                a.level = 1.5
                await until(lambda: b.siren() and c.siren(), 10, "it is heard again")
                heard = ("next-door", "a/level")
                await until(lambda: len(raised_at(ear, "b")) == 2, 10, "it is told again")
                await until(lambda: heard in b.kept(), 10, "it is on the disk")  # a raise does not wait for that
                b.agent.send_signal(signal.SIGKILL)
                await b.agent.wait()
                async with running(b.path) as again:
                    await until(lambda: answers(b) and heard in b.alarms(), 20, "it is remembered")
                    broker.stop(kill=True)
                    await until(lambda: ("silent", "a") in b.alarms(), 30, "nobody is heard any more")
                    assert heard in b.alarms()  # only a word could end it
                    assert b.siren()
                    b.level = 1.5
                    await until(lambda: ("gas", "plant/c0") in b.alarms(), 10, "its own alarms go on")
                    b.level = 0.5
                    broker.start()
                    await until(lambda: ("silent", "a") not in b.alarms(), 40, "they are heard again")
                    assert len(raised_at(ear, "b")) == 2  # it stood all the time, and was no news again
                    os.kill(a.agent.pid, signal.SIGKILL)
                    await a.agent.wait()
                    await until(lambda: ("unfit", "a/level") in b.alarms(), 30, "its will was heard")
                    assert heard in b.alarms()
                    assert again.returncode is None

    asyncio.run(main())


def raised_at(ear: Subscriber, site: str) -> set[str]:
    """Ids of the alarms by the word of `a`."""
    topic = f"vedette/{site}/gw1/alarm/red/a/level/next-door"
    return {m.body["id"] for m in ear.on("alarm/red") if m.topic == topic}


def told(ear: Subscriber) -> list[Heard]:
    return ear.on("alarm/red")


def own(one: Site) -> set[tuple[str, str]]:
    return {alarm for alarm in one.alarms() if alarm[0].startswith("agent.") or alarm[1].startswith("colour/")}
