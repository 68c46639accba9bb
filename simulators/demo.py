"""`vedette demo`: two minutes of a simulated site, told as they happen, and the verdict.

Plants at Modbus TCP and RTU, the agent as a child process, a broker, the platform's console. Nothing is
staged for the agent: it is `vedette run` with `configs/demo.toml`, and the verdict is set arithmetic
between what the plants were and served and what the console received.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from agent.core.errors import ConfigFault, Fault, LineLost

from .broker import Broker
from .cable import Cable
from .platform import Console, Edge, Ink, Platform, alarm_line, count, event_line
from .scenario import SHIPPED, Beat, CutUplink, HealUplink, Scenario, Stage, load, play
from .verdict import Verdict, judge, report, seconds

SITE = SHIPPED / "demo.toml"
STORY = SHIPPED / "scenarios" / "demo.toml"
UPLINK = "mqtt://127.0.0.1:1883"  # as written in SITE
FIRST = 30.0  # s within which every device must have been heard once at the platform
LAST = 15.0  # s within which the last readings must arrive after the story
QUIET = (
    "started",
    "interlock",
    "link-up",
    "recovered",
    "line-lost",
    "degraded",
    "order-done",
)  # no news to a spectator
WIDE = 118  # columns of a line


async def demo(
    broker: str | None = None,
    site: Path = SITE,
    story: Path = STORY,
    say: Callable[[str], None] | None = None,
    drives: bool = True,
) -> int:
    """Run the story; 0 only if nothing was missed, false, lost or duplicated.

    `broker`: mqtt://HOST[:PORT] of a real one instead of the embedded; `say`: where the lines go; `drives`: eyes on
    the road and on the driver are rehearsed meanwhile, where there are any.
    Raises `ConfigFault`, `LineLost`.
    """
    scenario = load(story)
    show = Show(scenario, say or _print, sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    folder = Path(tempfile.mkdtemp(prefix="vedette-demo-"))
    ended = asyncio.Event()  # by a signal
    try:
        async with contextlib.AsyncExitStack() as cleanup:
            for number in (signal.SIGTERM, signal.SIGHUP):
                cleanup.callback(_on_signal(number, ended))
            return await _run(show, scenario, broker, site, folder, cleanup, drives)
    except asyncio.CancelledError:
        if ended.is_set():
            return 128 + signal.SIGTERM
        raise  # Ctrl-C: asyncio.run makes a KeyboardInterrupt of it
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _on_signal(number: signal.Signals, ended: asyncio.Event) -> Callable[[], object]:
    """End the demo on this signal as on Ctrl-C, cleaning up; gives what takes the handler back."""
    loop, me = asyncio.get_running_loop(), asyncio.current_task()

    def end() -> None:
        ended.set()
        if me is not None:
            me.cancel()

    loop.add_signal_handler(number, end)
    return lambda: loop.remove_signal_handler(number)


async def _run(
    show: Show,
    scenario: Scenario,
    url: str | None,
    site: Path,
    folder: Path,
    cleanup: contextlib.AsyncExitStack,
    drives: bool,
) -> int:
    stage = show.stage
    await stage.start(anywhere=True)
    cleanup.push_async_callback(stage.stop)

    if url is None:
        embedded = Broker()
        await embedded.start()
        cleanup.push_async_callback(embedded.stop)
        host, port = embedded.host, embedded.port
    else:
        host, port = _address(url)
    cable = Cable(host, port)
    await cable.start()
    cleanup.push_async_callback(cable.stop)
    name = f"demo-{secrets.token_hex(2)}"  # a real broker may have other sites, another demo among them
    console = Console(show.platform, show.arrived, f"vedette/{name}/#")
    cleanup.push_async_callback(console.stop)
    try:
        await console.start(host, port)
    except (OSError, TimeoutError) as error:
        raise LineLost(f"connect to {host}:{port}: {error or 'no answer'}; is a broker there?") from None

    file = folder / "site.toml"
    file.write_text(_placed(site, scenario, stage, cable.url, name), "utf-8")
    show.header(url)
    log = folder / "agent.log"
    with log.open("wb") as out:
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent.cli", "run", "-c", str(file),
            cwd=SHIPPED.parent, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,  # a Ctrl-C is ours; the agent is told by SIGTERM
        )  # fmt: skip
    cleanup.push_async_callback(_stop, agent)

    eyes = asyncio.create_task(_rehearsed(cleanup)) if drives else None
    if eyes is not None:
        cleanup.callback(eyes.cancel)
    fell = asyncio.create_task(agent.wait())
    try:
        alive = await _while(fell, _heard(stage, show.platform, FIRST))
        if alive and (missing := stage.devices.keys() - show.platform.readings.keys()):
            show.say(f"nothing of {', '.join(sorted(missing))} arrived in {FIRST:g} s; the agent's last words:")
            show.say(_tail(log))
            return os.EX_UNAVAILABLE
        if alive:
            show.begin()
            alive = await _while(fell, play(stage, scenario.scene.seconds, show.happened(cable)))
        if not alive:
            show.say(f"the agent ended by itself with exit code {fell.result()}; its last words:")
            show.say(_tail(log))
            return os.EX_SOFTWARE
        verdict = await show.verdict()
    finally:
        fell.cancel()
    worst = show.finish(verdict)
    return worst if eyes is None else max(worst, show.drove(await eyes))


async def _rehearsed(cleanup: contextlib.AsyncExitStack) -> list[dict[str, Any]] | None:
    """How drawn drives and drivers went, in a process of its own behind all others; None where no eyes are here."""
    if importlib.util.find_spec("cv2") is None or importlib.util.find_spec("onnxruntime") is None:
        return None
    process = await asyncio.create_subprocess_exec(
        *("nice", "-n", "10", sys.executable, "-m", "simulators.rehearsal"),
        cwd=SHIPPED.parent, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    cleanup.push_async_callback(_stop, process)
    out, _ = await process.communicate()
    return [msgspec.json.decode(line) for line in out.splitlines()]


class Show:
    """What a spectator sees: beats, alarms, orders as they come; tables at the end."""

    def __init__(self, scenario: Scenario, say: Callable[[str], None], colour: bool) -> None:
        self.scenario, self.say, self.ink = scenario, say, Ink(colour)
        self.stage = Stage(scenario)
        self.platform = Platform()
        self.cuts: list[list[float]] = []  # monotonic s: down, up
        self.offset = time.time() - time.monotonic()
        self.over = False

    def header(self, broker: str | None) -> None:
        say, ink = self.say, self.ink
        say(ink("bold", f"vedette demo: {self.scenario.scene.title}"))
        say("")
        for row in self.scenario.devices:
            line = self.stage.lines[row.line]
            how = f"Modbus {'TCP' if line.url.startswith('tcp') else 'RTU'}, {line.url}, unit {row.unit}"
            say(f"  {row.name:9} {how}")
        say("  agent     vedette run, a process of its own, with configs/demo.toml")
        say(f"  broker    {broker or 'embedded, for this demonstration only'}")
        say("")
        say(ink("dim", "  site:     what happens there, by the true state of the plants"))
        say(ink("dim", "  platform: what arrives at the supervision platform over MQTT"))
        say("")

    def begin(self) -> None:
        self.stage.begin()
        self._site("All is calm. The platform hears every station.")

    def arrived(self, told: Edge | dict[str, Any]) -> None:
        if self.stage.zero is None or self.over:
            return  # the agent introduces itself, or says good-bye
        if isinstance(told, Edge):
            self._line("platform", alarm_line(told, self.ink, told.arrived + self.offset - told.at))
        elif told.get("kind") not in QUIET:
            self._line("platform", event_line(told, self.ink))

    def happened(self, cable: Cable) -> Callable[[list[Beat]], Any]:
        async def one_by_one(beats: list[Beat]) -> None:
            for device, key, value in self.stage.written:
                self._site(f"{device}: the relay `{key}` goes {'ON' if value else 'off'}.")
            self.stage.written.clear()
            for beat in beats:
                if beat.say:
                    self._site(beat.say)
                if isinstance(beat, CutUplink):
                    self.cuts.append([self.stage.clock(), float("inf")])
                    await cable.cut()
                elif isinstance(beat, HealUplink):
                    await cable.heal()
                    self.cuts[-1][1] = self.stage.clock()

        return one_by_one

    async def verdict(self) -> Verdict:
        """Wait until what was served by now has arrived, or patience ends; then count."""
        end = self.stage.clock()
        owed = {name: set(device.served) for name, device in self.stage.devices.items()}

        def counts() -> list[Any]:
            return [
                count(name, sorted(numbers), self._until(name, max(numbers, default=0)))
                for name, numbers in owed.items()
            ]

        patience = end + LAST
        while any(c.lost for c in counts()) and self.stage.clock() < patience:
            self.stage.tick()
            await asyncio.sleep(0.1)
        scene = self.scenario.scene
        return judge(self.stage.truth(), self.platform.edges, counts(), end, scene.slack, scene.linger, self.offset)

    def finish(self, verdict: Verdict) -> int:
        """Tables, verdict, last line; gives the exit code."""
        say, ink, zero = self.say, self.ink, self.stage.zero or 0.0
        self.over = True
        say("")
        say(ink("bold", "What was true, and what the platform received"))
        for i, line in enumerate(report(verdict, zero, self.offset, [(down, up) for down, up in self.cuts])):
            say(ink("dim", line) if i == 0 else ink("red", line) if "MISSED" in line else line)
        for edge in verdict.false:
            say(ink("red", f"false alarm: {alarm_line(edge, Ink())}"))
        for edge in verdict.aside:
            say(f"of agent and site:   {alarm_line(edge, ink)}")
        for one in verdict.counts:
            if one.invented:
                say(ink("red", f"{one.device}: {one.invented} readings arrived that were never served"))
        gaps, twice, strange = self.platform.missing(), self.platform.twice, self.platform.strange
        say("")
        say(
            f"{self.platform.messages} messages: {gaps} numbers missing in their streams, {twice} came twice unmarked, "
            f"{self.platform.repeated} came twice and said so, {strange} not understood"
        )
        good = verdict.good and not (gaps or twice or strange)
        say(
            ink(
                "green" if good else "red",
                "verdict: " + ("all told, nothing invented, nothing lost" if good else "NOT good"),
            )
        )
        say(verdict.line())
        return 0 if good else 1

    def drove(self, drives: list[dict[str, Any]] | None) -> int:
        """What the eyes made of the drawn drives and the drawn driver; gives the exit code."""
        say, ink = self.say, self.ink
        say("")
        if drives is None:
            say('no eyes here, so nothing was driven: pip install "vedette[video]"')
            return 0
        from .rehearsal import DRIVERS, DRIVES, line, read

        rows = [read(row) for row in drives]
        files = "configs/vehicle.example.toml and driver.example.toml"
        say(ink("bold", f"Drawn drives and a drawn driver through the eyes, detectors and rules of {files}"))
        for one in rows:
            say(line(one) if one.good else ink("red", line(one)))
        good = all(one.good for one in rows) and len(rows) == len(DRIVES) + len(DRIVERS)
        say(ink("green" if good else "red", f"eyes: {'as they should be' if good else 'NOT as they should be'}"))
        return 0 if good else 1

    def _until(self, source: str, last: int) -> list[Any]:
        return [reading for reading in self.platform.readings.get(source, []) if reading.number <= last]

    def _site(self, text: str) -> None:
        self._line("site", self.ink("bold", text))

    def _line(self, who: str, text: str) -> None:
        self.say(f"{self.ink('dim', f'{seconds(self.stage.now)}  {who:8}')}  {_cut(text, WIDE - 19)}")


# -- parts ----------------------------------------------------------------------------------------


async def _while(fell: asyncio.Task[int], work: Any) -> bool:
    """Do `work` unless the agent falls first; whether it was done."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([fell, task], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _heard(stage: Stage, platform: Platform, patience: float) -> None:
    """Until a reading of every device has arrived, or patience ends."""
    deadline = stage.clock() + patience
    while stage.devices.keys() - platform.readings.keys() and stage.clock() < deadline:
        stage.tick()
        await asyncio.sleep(0.1)


async def _stop(agent: asyncio.subprocess.Process) -> None:
    if agent.returncode is None:
        agent.terminate()
        try:
            async with asyncio.timeout(10.0):
                await agent.wait()
        except TimeoutError:
            agent.kill()
            await agent.wait()


def _placed(site: Path, scenario: Scenario, stage: Stage, uplink: str, name: str) -> str:
    """The site file with the places that this run was given. Raises `ConfigFault`."""
    text = site.read_text("utf-8")
    for was, now in [*((line.url, stage.lines[line.name].url) for line in scenario.lines), (UPLINK, uplink)]:
        if text.count(f'"{was}"') != 1:
            raise ConfigFault([f'{site}: "{was}" should stand there once, as the scenario has it'])
        text = text.replace(f'"{was}"', f'"{now}"')
    return re.sub(r'(\[site\]\s+name = )"[^"]*"', rf'\1"{name}"', text, count=1)


def _address(url: str) -> tuple[str, int]:
    """Host and port of mqtt://HOST[:PORT]. Raises `ConfigFault`."""
    parts = urlsplit(url if "://" in url else f"mqtt://{url}")
    if parts.scheme != "mqtt" or not parts.hostname or parts.username:
        raise ConfigFault([f"--broker {url}: mqtt://HOST[:PORT], without TLS or password, is what the demo can use"])
    return parts.hostname, parts.port or 1883


def _cut(text: str, width: int) -> str:
    """At most `width` visible characters of a text with colours in it.

    >>> _cut("abcdef", 4)
    'abc…'
    """
    parts = re.split(r"(\x1b\[[0-9;]*m)", text)
    room = width - sum(map(len, parts[::2]))
    for i in range(len(parts) - 1 - (len(parts) - 1) % 2, -1, -2):
        if room >= 0:
            break
        keep = max(0, len(parts[i]) + room - 1)
        room += len(parts[i]) - keep
        parts[i] = parts[i][:keep] + "…"
    return "".join(parts)


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:])


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        raise SystemExit(asyncio.run(demo(broker=sys.argv[1] if sys.argv[1:] else None)))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Fault as fault:
        raise SystemExit(f"demo: {fault}") from None
