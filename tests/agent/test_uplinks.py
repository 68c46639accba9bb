"""Several uplinks of one outbox, each in its own language, over real brokers and bad links."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.errors import WorldFault
from agent.core.frame import frame, layout
from agent.core.ports import Brief, Event, Identity, Uplink
from agent.outbox import Outbox, Store
from agent.uplink.mqtt import Mqtt
from agent.uplink.sparkplug import Sparkplug
from agent.uplink.sparkplug_wire import Metric, Payload, Type, decode, encode
from tests.rigs.stage import Streams
from tests.tools.mosquitto import Mosquitto, free_port, needs_mosquitto
from tests.tools.station import run, until
from tests.tools.subscriber import Heard, Subscriber

pytestmark = needs_mosquitto

WIDE = layout([f"c{n}" for n in range(20)])
PATIENT = "max_queued_messages 0\nmax_inflight_messages 0"


class Plant:
    """An outbox with these uplinks, each kept alive, and what it told."""

    def __init__(self, outbox: Outbox, uplinks: Sequence[Uplink]) -> None:
        self.outbox, self.uplinks = outbox, uplinks
        self.told: list[Event] = []
        points = {(f"r{n}", "s/c0"): "red" for n in range(1, 101)}
        self.who = Identity("mine", "north", outbox.boot, "0", "c", layouts={"s": WIDE}, points=points)
        self.raised = 0

    async def keep(self, uplink: Uplink) -> None:
        brief = Brief(self.outbox.feed(uplink.name), self.who, lambda: [], SystemClock(), self.told.append)
        while True:
            try:
                await uplink.send(brief)
            except WorldFault:
                pass
            await asyncio.sleep(0.05)

    def put(self, n: int, source: str = "s") -> None:
        values = np.random.default_rng(n).normal(size=len(WIDE))
        self.outbox.put_frame(frame(source, SystemClock().now(), WIDE, values))
        self.outbox._flush(source)

    def alarm(self) -> None:
        """An alarm at a point of its own; its value is its number, `since` the time."""
        at = SystemClock().now()
        self.raised += 1
        n = self.raised
        self.outbox.put_alarms(
            [Alarm(f"id-{n}", 1, "raised", "active-unacked", f"r{n}", "s/c0", "red", n, 1, "", at, at, "text")]
        )

    def owing(self, uplink: str) -> int:
        return sum(self.outbox.feed(uplink).waiting().values())


@asynccontextmanager
async def plant(folder: Path, *uplinks: Uplink) -> AsyncIterator[Plant]:
    names = [uplink.name for uplink in uplinks]
    told: list[Event] = []
    store = Store(path=str(folder / "state"), batch=0.05, ballast_mb=0)
    choices = {uplink.name: uplink for uplink in uplinks if uplink.is_choosy()}
    outbox = await Outbox.open(store, names, SystemClock(), told.append, choices)
    here = Plant(outbox, uplinks)
    here.told = told
    tasks = [asyncio.create_task(here.keep(uplink)) for uplink in uplinks]
    try:
        yield here
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await outbox.close()


def arrivals(messages: Sequence[Heard]) -> dict[int, float]:
    """When each alarm was first heard, in either language: number -> s monotonic."""
    found: dict[int, float] = {}
    for message in messages:
        if "/alarm/" in message.topic and message.payload:
            found.setdefault(int(message.body["value"]), message.mono)
        elif "/NDATA/" in message.topic:
            for metric in decode(message.payload).metrics:
                if metric.name.startswith("Alarms/"):
                    found.setdefault(int(metric.properties["value"][1]), message.mono)
    return found


def of(ear: Subscriber, prefix: str) -> list[Heard]:
    """What one uplink said."""
    return [message for message in ear.messages if message.topic.startswith(prefix)]


async def beat(here: Plant, times: int, pause: float) -> list[float]:
    """Raise so many alarms; when each was raised."""
    begun = []
    for n in range(times):
        here.put(n)
        begun.append(time.monotonic())
        here.alarm()
        await asyncio.sleep(pause)
    return begun


def test_one_that_is_down_costs_the_other_nothing_and_gets_all_when_it_comes(tmp_path: Path):
    """Two platforms in two languages; the second is not there, then there, then killed, then there."""

    async def main() -> None:
        port = free_port()
        with Mosquitto(tmp_path / "one", more=PATIENT) as one:
            two = Mosquitto(tmp_path / "two", more=PATIENT)
            two.port = port = two.port
            first = Subscriber(one.port)
            up = Mqtt(name="company", url=one.url)
            other = Sparkplug(name="authority", url=f"mqtt://127.0.0.1:{port}", sources=("s",))
            async with plant(tmp_path, up, other) as here:
                await until(lambda: "link-up" in [e.kind for e in here.told])
                late = []
                for times in range(2):
                    begun = await beat(here, 40, 0.01)
                    await until(lambda: len(arrivals(first.messages)) == here.raised)
                    heard = arrivals(first.messages)
                    late += [heard[40 * times + 1 + n] - at for n, at in enumerate(begun)]
                    await until(lambda: not here.owing("company"))
                    assert here.owing("authority") >= 40
                assert sorted(late)[int(0.95 * len(late))] < 0.2
                two.start()
                second = Subscriber(port)
                await until(lambda: not here.owing("authority"))
                assert set(arrivals(second.messages)) == set(range(1, 81))
                two.stop(kill=True)
                begun = await beat(here, 20, 0.01)
                await until(lambda: len(arrivals(first.messages)) == 100)
                heard = arrivals(first.messages)
                assert max(heard[81 + n] - at for n, at in enumerate(begun)) < 0.5
            streams = Streams([m for m in first.messages if m.topic.startswith("vedette/")])
            assert (streams.holes(), streams.unmarked, streams.disorder) == ([], 0, 0)
            first.close()
            second.close()

    run(main())


class Narrow:
    """A TCP proxy behind which everything that is sent shares one line of so many bytes per second."""

    def __init__(self, to: int, rate: float) -> None:
        self.to, self.rate, self.port = to, rate, free_port()
        self.line = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        import socket

        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.server = await asyncio.start_server(self._serve, sock=listener, limit=2048)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.to)
        for source, sink, rate in ((reader, back, self.rate), (there, writer, float("inf"))):
            self._tasks.add(asyncio.create_task(self._pump(source, sink, rate)))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, rate: float) -> None:
        try:
            while data := await source.read(1024):
                async with self.line:
                    await asyncio.sleep(len(data) / rate)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    async def stop(self) -> None:
        self.server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.mark.parametrize("languages", [("mqtt", "mqtt"), ("mqtt", "sparkplug")])
def test_two_backlogs_on_one_line_of_64_kbit_hold_up_no_alarm_for_a_second(tmp_path: Path, languages: tuple[str, str]):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker", more=PATIENT) as broker:
            line = Narrow(broker.port, 8000.0)
            await line.start()
            ear = Subscriber(broker.port)
            url = f"mqtt://127.0.0.1:{line.port}"
            kinds: dict[str, Callable[[str], Uplink]] = {
                "mqtt": lambda name: Mqtt(name=name, url=url, prefix=name),
                "sparkplug": lambda name: Sparkplug(name=name, url=url),
            }
            uplinks = [kinds[language](f"p{n}") for n, language in enumerate(languages)]
            async with plant(tmp_path, *uplinks) as here:
                for n in range(400):
                    here.put(n)
                    if n % 50 == 0:
                        await asyncio.sleep(0.02)
                await until(lambda: [e.kind for e in here.told].count("link-up") == 2)
                await asyncio.sleep(2.0)  # the links are found to be narrow
                begun = await beat(here, 12, 0.4)
                assert min(here.owing("p0"), here.owing("p1")) > 50
                for part in ("p0/", "p1/" if languages[1] == "mqtt" else "spBv1.0/"):
                    await until(lambda part=part: len(arrivals(of(ear, part))) == 12)
                    heard = arrivals(of(ear, part))
                    assert max(heard[n + 1] - at for n, at in enumerate(begun)) < 1.0
            ear.close()
            await line.stop()

    run(main())


def test_a_rate_holds_telemetry_back_and_no_alarm(tmp_path: Path):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker", more=PATIENT) as broker:
            ear = Subscriber(broker.port)
            async with plant(tmp_path, Mqtt(name="p", url=broker.url, rate=80.0)) as here:
                await until(lambda: here.told)
                begun = time.monotonic()
                for n in range(60):
                    here.put(n)
                here.alarm()
                at = time.monotonic()
                await until(lambda: arrivals(ear.messages))
                assert arrivals(ear.messages)[1] - at < 0.3
                await asyncio.sleep(max(0.0, begun + 1.5 - time.monotonic()))
                told = [m for m in ear.messages if "/telemetry/" in m.topic or "/backfill/" in m.topic]
                sent = sum(len(m.payload) + len(m.topic) for m in told)
                took = time.monotonic() - begun
                assert here.owing("p")
                assert 0.6 * 10_000 * took < sent < 1.2 * 10_000 * took
            ear.close()

    run(main())


@pytest.mark.parametrize("language", ["mqtt", "sparkplug"])
def test_a_platform_gets_again_what_it_asks_for(tmp_path: Path, language: str):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker", more=PATIENT) as broker:
            ear = Subscriber(broker.port)
            kind = Mqtt if language == "mqtt" else Sparkplug
            async with plant(tmp_path, kind(name="p", url=broker.url, ranges=True)) as here:
                await until(lambda: here.told)
                for n in range(10):
                    here.put(n)
                await until(lambda: not here.owing("p"))
                await until(lambda: here.outbox._committed == here.outbox._batch_row - 1)
                before = len(ear.messages)
                wanted = {"boot": here.outbox.boot, "stream": "telemetry/s", "from": 4, "to": 12}

                def ask(text: bytes) -> None:
                    if language == "mqtt":
                        ear.client.publish("vedette/mine/north/range", text, 1)
                    else:
                        command = encode(Payload(1, None, [Metric("Node Control/Range", Type.STRING, text.decode())]))
                        ear.client.publish("spBv1.0/mine/NCMD/north", command, 0)

                ask(b"nonsense")
                ask(b'{"boot": "", "stream": "", "from": 5, "to": 4}')
                ask(msgspec.json.encode(wanted))
                await until(lambda: [e for e in here.told if e.kind == "range"])
                assert [e.kind for e in here.told].count("command-refused") == 2
                facts = here.told[-1].facts
                assert (facts["again"], facts["missing"]) == (7, [[11, 12, "not kept any longer"]])
                await until(lambda: not here.owing("p"))
                await asyncio.sleep(0.05)
                again = [m for m in ear.messages[before:] if m.topic.endswith(("backfill/s", "DDATA/north/s"))]
                if language == "mqtt":
                    assert [(m.body["seq"], m.body["resent"], m.body["historical"]) for m in again] == [
                        (n, True, True) for n in range(4, 11)
                    ]
                else:
                    rows = [decode(m.payload) for m in again]
                    assert [row.uuid.rpartition("/")[2] for row in rows] == [str(n) for n in range(4, 11)]
                    assert all(metric.historical for row in rows for metric in row.metrics)
            ear.close()

    run(main())


@pytest.mark.parametrize("language", ["mqtt", "sparkplug"])
def test_a_command_reaches_whoever_heeds_it_as_it_was_sent(tmp_path: Path, language: str):
    """A large one too; where the uplink hears commands, and only what is said now."""

    async def main() -> None:
        with Mosquitto(tmp_path / "broker", more=PATIENT) as broker:
            ear = Subscriber(broker.port)
            kind = Mqtt if language == "mqtt" else Sparkplug
            for hears in (False, True):
                async with plant(tmp_path / language, kind(name="p", url=broker.url, commands=hears)) as here:
                    heard: list[tuple[bytes, str, str]] = []
                    here.outbox.feed("p").heed = lambda *what: heard.append(what[:3])  # noqa: B023
                    await until(lambda: "link-up" in [e.kind for e in here.told])
                    for text in ("{}", "x" * 200_000):
                        if language == "mqtt":
                            ear.client.publish("vedette/mine/north/cmd/7", text, 1, retain=True)
                        else:
                            command = encode(Payload(1, None, [Metric("Node Control/Command", Type.STRING, text)]))
                            ear.client.publish("spBv1.0/mine/NCMD/north", command, 0)
                    if hears:
                        await until(lambda: len(heard) == 2)  # noqa: B023
                    elif language == "sparkplug":
                        await until(lambda: "command-refused" in [e.kind for e in here.told])
                assert [len(text) for text, _, _ in heard] == ([2, 200_000] if hears else [])
                assert {(way, topic) for _, way, topic in heard} <= {("p", "7" if language == "mqtt" else "")}
            ear.close()

    run(main())
