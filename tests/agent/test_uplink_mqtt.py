"""The MQTT language and its wire, against mosquitto; what mosquitto cannot do, against a few scripted bytes."""

from __future__ import annotations

import asyncio
import doctest
import gc
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import feed
from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.errors import ConfigFault
from agent.core.frame import Instant, frame, layout
from agent.core.ports import Batch, Event, Identity, Item
from agent.uplink import find, mqtt, session
from agent.uplink.mqtt import Language, Mqtt, short
from agent.wire import Message, Wire
from simulators.broker import Broker, read_packet
from simulators.platform import Console, Platform
from tests.rigs.stage import Streams
from tests.tools.mosquitto import Certificates, Mosquitto, free_port, needs_mosquitto
from tests.tools.station import AT, alarm, heard, run, station, until
from tests.tools.subscriber import Heard, Subscriber

pytestmark = needs_mosquitto

ROOT = "vedette/mine/north"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", more="max_queued_messages 0\nmax_inflight_messages 0") as broker:
        yield broker


def last(port: int, topic: str) -> Heard | None:
    """What is retained on `topic` now."""
    with Subscriber(port, topic) as ear:
        time.sleep(0.1)
        return ear.messages[-1] if ear.messages else None


def check(messages: list[Heard]) -> None:
    """No stream has a hole, new things are in order, and what comes twice is marked."""
    streams = Streams(messages)
    assert streams.keys
    assert (streams.holes(), streams.unmarked, streams.disorder) == ([], 0, 0)


# -- words ------------------------------------------------------------------------------------------------


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(mqtt).failed == 0


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=True), min_size=1, max_size=20))
def test_shortened_values_mean_the_same_float32_in_at_most_nine_digits(values: list[float]):
    single = np.array(values, np.float32)
    shortened = short(single.astype(float))
    np.testing.assert_array_equal(shortened.astype(np.float32), single)
    for value in shortened[(np.abs(shortened) < 1e8) & (np.abs(shortened) > 1e-10)].tolist():
        assert len(repr(value).lstrip("-").partition("e")[0].replace(".", "").strip("0")) <= 9


def test_values_that_need_float64_are_sent_as_they_are():
    values = np.array([0.1, np.nan, 1 / 3])
    assert short(values) is values


def test_a_batch_is_columns_with_null_for_what_is_not_known():
    value = np.array([[1.5, np.nan], [2.5, 0.1]])
    batch = Batch("s", ("a", "b"), ("%", "m"), np.array([1.0, 2.0]), np.array([1.7e9, 1.7e9 + 1]), True, value,
                  np.array([[0, 0], [0, 6]], np.uint8))  # fmt: skip
    language = Language(ROOT, Identity("mine", "north", "000001-abcd", "0", "0"))
    item = Item("telemetry", 1, "000001-abcd", "telemetry/s", 3, batch)
    (message,) = language.messages(item, lambda _: True)
    assert (message.topic, message.retain) == (f"{ROOT}/telemetry/s", False)
    assert msgspec.json.decode(message.payload) == {
        "schema": "vedette.telemetry/1",
        "boot": "000001-abcd",
        "stream": "telemetry/s",
        "seq": 3,
        "synced": True,
        "source": "s",
        "t": [1_700_000_000_000, 1_700_000_001_000],
        "key": ["a", "b"],
        "unit": ["%", "m"],
        "value": [[1.5, None], [2.5, 0.1]],
        "quality": [[0], [0, 6]],
    }
    old = msgspec.structs.replace(item, historical=True, resent=True)
    (message,) = language.messages(old, lambda _: True)
    assert message.topic == f"{ROOT}/backfill/s"
    assert msgspec.json.decode(message.payload) | {"historical": True, "resent": True} == msgspec.json.decode(
        message.payload
    )


def test_an_active_alarm_is_retained_only_while_it_is_open():
    language = Language(ROOT, Identity("mine", "north", "b", "0", "0"))
    item = Item("alarm", 1, "b", "alarm", 1, alarm())
    assert [m.retain for m in language.messages(item, lambda _: True)] == [True]
    assert [m.retain for m in language.messages(item, lambda _: False)] == [False]


def test_names_cannot_break_out_of_their_topic():
    odd = msgspec.structs.replace(alarm(), channel="s+/#1", rule="50%")
    language = Language(ROOT, Identity("mine", "north", "b", "0", "0"))
    (message,) = language.messages(Item("alarm", 1, "b", "alarm", 1, odd), lambda _: True)
    assert message.topic == f"{ROOT}/alarm/red/s%2B/%231/50%25"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"url": "http://host"}, "url must be"),
        ({"url": "mqtt://"}, "url must be"),
        ({"url": "mqtt://host:99999"}, "[Pp]ort"),
        ({"url": "mqtt://user:word@host"}, "do not belong into url"),
        ({"url": "mqtt://host", "user": "u", "password": "hunter2"}, "where it is kept"),
        ({"url": "mqtt://host", "password": "env:X"}, "password without user"),
        ({"url": "mqtt://host", "ca": "/ca.pem"}, "need mqtts"),
        ({"url": "mqtts://host", "cert": "/c.pem"}, "go together"),
        ({"url": "mqtt://host", "prefix": "a/#"}, "prefix"),
        ({"url": "mqtt://host", "windw": 3}, "windw"),
        ({"url": "mqtt://host", "window": 0}, ">= 1"),
        ({"url": "mqtt://host", "keepalive": 11}, "<= 10"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], complaint: str):
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert({"name": "p", **settings}, Mqtt)


def test_uplinks_are_found_by_name_and_by_place():
    assert find("mqtt") is Mqtt
    assert find("agent.uplink.mqtt:Mqtt") is Mqtt
    with pytest.raises(ConfigFault, match=r"known are .*\bmqtt\b"):
        find("carrier-pigeon")


# -- the contract -------------------------------------------------------------------------------------------


def test_birth_alarms_events_telemetry_and_farewell(tmp_path: Path, broker: Mosquitto):
    async def main() -> None:
        with Subscriber(broker.port) as ear:
            async with station(tmp_path, broker.url) as here:
                here.open = [alarm()]
                await until(lambda: "link-up" in here.kinds())
                (birth,) = await heard(ear, len)
                assert birth.topic == f"{ROOT}/state"
                assert birth.body | {"since": 0, "synced": 0} == {
                    "schema": "vedette.state/1",
                    "state": "online",
                    "boot": here.outbox.boot,
                    "site": "mine",
                    "node": "north",
                    "version": "0.1.0",
                    "config": "cafe",
                    "since": 0,
                    "synced": 0,
                    "alarms": [birth.body["alarms"][0]],
                }
                assert birth.body["alarms"][0]["id"] == "id-1"
                assert abs(birth.body["since"] / 1000 - time.time()) < 60

                here.raised(alarm())
                here.outbox.put_event(Event("device-lost", "s", AT, "gone", {"times": 3, "seen": float("nan")}))
                here.put(1)
                await until(here.delivered)
                await heard(ear, lambda ms: len(ms) == 4)
                topic = f"{ROOT}/alarm/red/s/a/high"
                (raised,) = ear.on("alarm")
                assert raised.topic == topic
                assert raised.body == {
                    "schema": "vedette.alarm/1",
                    "boot": here.outbox.boot,
                    "stream": "alarm",
                    "seq": 1,
                    "synced": True,
                    "id": "id-1",
                    "edge": 1,
                    "event": "raised",
                    "state": "active-unacked",
                    "rule": "high",
                    "channel": "s/a",
                    "level": "red",
                    "value": 1.2,
                    "limit": 1.0,
                    "unit": "%",
                    "since": 1_700_000_000_500,
                    "at": 1_700_000_000_500,
                    "text": "too much",
                    "basis": {"standard": "AQ 1029-2019", "clause": "4.2"},
                    "by": "",
                    "because": [],
                    "evidence": [],
                }
                (event,) = ear.on("event")
                assert event.body | {"boot": ""} == {
                    "schema": "vedette.event/1",
                    "boot": "",
                    "stream": "event",
                    "seq": 1,
                    "synced": True,
                    "at": 1_700_000_000_500,
                    "kind": "device-lost",
                    "source": "s",
                    "text": "gone",
                    "facts": {"times": 3, "seen": None},
                }
                assert ear.on("telemetry/s")[0].body["value"] == [[1.0, -1.0]]

                retained = await asyncio.to_thread(last, broker.port, topic)
                assert retained is not None
                assert retained.payload == raised.payload
                here.raised(alarm("returned-unacked", event="cleared"))
                await heard(ear, lambda ms: not ms[-1].payload)
                await until(here.delivered)
                assert [m.body["state"] for m in ear.on("alarm")] == ["active-unacked", "returned-unacked"]
                assert [m.payload for m in ear.messages if "/alarm/" in m.topic][-1] == b""
                assert await asyncio.to_thread(last, broker.port, topic) is None
            await heard(ear, lambda ms: ms[-1].topic.endswith("state") and ms[-1].body["state"] == "offline")
            assert here.kinds() == ["link-up", "link-down"]
            assert here.told[1].text == "stopped"

    run(main())


def test_the_broker_speaks_for_a_node_that_is_gone(tmp_path: Path, broker: Mosquitto):
    async def main() -> None:
        proxy = Proxy(broker.port)
        await proxy.start()
        with Subscriber(broker.port) as ear:
            async with station(tmp_path, f"mqtt://127.0.0.1:{proxy.port}") as here:
                await heard(ear, len)
                proxy.cut()
                offline = (await heard(ear, lambda ms: len(ms) >= 2))[1].body
                assert offline == {"schema": "vedette.state/1", "state": "offline", "boot": here.outbox.boot}
                await heard(ear, lambda ms: ms[-1].body["state"] == "online" and len(ms) >= 3)
        await proxy.close()

    run(main())


def test_what_a_crash_left_retained_is_cleared_and_what_is_active_stays(tmp_path: Path, broker: Mosquitto):
    """An earlier life of this node raised alarms at a, b and d. At b the same is active still; at d another one."""

    async def main() -> None:
        with Subscriber(broker.port, "quiet") as pen:
            for n, place in ((1, "s/a"), (2, "s/b"), (4, "s/d")):
                topic, body = f"{ROOT}/alarm/red/{place}/high", msgspec.json.encode({"id": f"id-{n}"})
                pen.client.publish(topic, body, 1, retain=True).wait_for_publish(5)
            pen.client.publish("vedette/mine/south/alarm/red/s/a/high", b"{}", 1, retain=True).wait_for_publish(5)
            with Subscriber(broker.port, f"{ROOT}/alarm/#") as watch:
                async with station(tmp_path, broker.url) as here:
                    other = msgspec.structs.replace(alarm(n=5), channel="s/d")
                    here.open = [msgspec.structs.replace(alarm(n=2), channel="s/b")]
                    here.raised(other)
                    await heard(watch, lambda ms: any(m.topic.endswith("s/a/high") and not m.payload for m in ms))
                    here.raised(msgspec.structs.replace(alarm(n=6), channel="s/e"))  # comes after all that was swept
                    await heard(watch, lambda ms: any(m.topic.endswith("s/e/high") for m in ms))
                emptied = {m.topic for m in watch.messages if not m.payload}
                assert emptied == {f"{ROOT}/alarm/red/s/a/high"}

    run(main())


def test_a_birth_with_ten_thousand_open_alarms_names_those_that_matter_most(tmp_path: Path):
    many = [
        msgspec.structs.replace(alarm(n=n), channel=f"s/c{n}", level=("blue", "red")[n % 500 == 7],
                                at=Instant(5.0, 1.7e9 + n)) for n in range(10_000)
    ]  # fmt: skip

    async def main() -> None:
        with Mosquitto(tmp_path / "broker", more="max_packet_size 20000") as broker, Subscriber(broker.port) as ear:
            async with station(tmp_path, broker.url) as here:
                here.open = many
                here.put(1)
                await until(lambda: here.feed.up and here.delivered())
                birth = next(m for m in await heard(ear, len) if m.topic == f"{ROOT}/state").body
                listed = [a["id"] for a in birth["alarms"]]
                ranked = [f"id-{n}" for n in range(9507, 0, -500)] + [f"id-{n}" for n in range(9999, 9000, -1)]
                assert len(listed) > 20
                assert listed == ranked[: len(listed)]
                assert birth["more"] == 10_000 - len(listed)
                assert here.kinds() == ["link-up"]
        language = Language(ROOT, Identity("mine", "north", "b", "0", "0"))
        assert 60_000 < len(language.birth(many, AT).payload) < 65536
        assert "more" not in msgspec.json.decode(language.birth(many[:3], AT).payload)

    run(main())


def test_open_alarms_are_looked_at_once_per_turn(tmp_path: Path, broker: Mosquitto):
    async def main() -> None:
        async with station(tmp_path, broker.url) as here:
            await until(lambda: here.feed.up)
            walks = 0

            class Walked(list[Alarm]):
                def __iter__(self) -> Iterator[Alarm]:
                    nonlocal walks
                    walks += 1
                    return super().__iter__()

            many = [alarm(n=n) for n in range(session.TURN)]
            here.open = Walked(many)
            here.outbox.put_alarms(many)
            await until(here.delivered)
            assert 1 <= walks <= 5  # of 32 alarms; the sweep walks as well

    run(main())


def test_an_alarm_that_is_over_is_not_retained_when_it_is_told_late(tmp_path: Path, broker: Mosquitto):
    async def main() -> None:
        async with station(tmp_path, f"mqtt://127.0.0.1:{free_port()}") as here:
            here.raised(alarm())
            here.raised(alarm("normal", event="cleared"))
            here.raised(alarm(n=2))
            await until(lambda: here.faults)
        with Subscriber(broker.port) as ear:
            async with station(tmp_path, broker.url) as here:
                here.open = [alarm(n=2)]
                await until(here.delivered)
                await heard(ear, lambda ms: any("id-2" in str(m.payload) for m in ms if "/alarm/" in m.topic))
                assert [(m.body["id"], m.body["event"]) for m in ear.on("alarm")] == [
                    ("id-1", "raised"),
                    ("id-1", "cleared"),
                    ("id-2", "raised"),
                ]
                assert all(m.body["resent"] for m in ear.on("alarm"))
                retained = await asyncio.to_thread(last, broker.port, f"{ROOT}/alarm/#")
                assert retained is not None
                assert retained.body["id"] == "id-2"

    run(main())


# -- outages --------------------------------------------------------------------------------------------------


def test_the_broker_may_come_late_and_go_without_a_gap_or_an_unmarked_repetition(tmp_path: Path):
    """200 channels at 50 Hz; the broker is away at the start, then three times, once with the link only frozen.

    The ear is there before the uplink may connect, and until the link is cut: it hears all that was confirmed.
    """

    async def main() -> None:
        broker = Mosquitto(tmp_path / "broker", more="max_queued_messages 0\nmax_inflight_messages 0")
        proxy = Proxy(broker.port)
        wide = layout([f"c{i}" for i in range(200)])
        messages: list[Heard] = []
        async with station(tmp_path, f"mqtt://127.0.0.1:{proxy.port}", puback_deadline=0.3) as here:
            stop = asyncio.Event()
            count = 0

            async def measure() -> None:
                nonlocal count
                while not stop.is_set():
                    count += 1
                    here.outbox.put_frame(frame("s", SystemClock().now(), wide, float(count)))
                    if count % 10 == 0:
                        here.raised(alarm(n=count))
                    await asyncio.sleep(0.02)

            measuring = asyncio.create_task(measure())
            await until(lambda: count > 20)
            for frozen in (False, True, False, None):
                broker.start()
                with Subscriber(broker.port) as ear:
                    await proxy.start()
                    await until(lambda: here.feed.up)
                    if frozen is None:
                        stop.set()
                        await measuring
                        here.outbox._flush("s")
                    await until(here.delivered)
                    if frozen is not None:
                        n = here.outbox._seq["telemetry/s"]
                        await heard(ear, lambda ms, n=n: any(m.body["seq"] > n for m in ms if "/telemetry/" in m.topic))
                    if frozen:
                        proxy.flow.clear()
                        await until(lambda: not here.feed.up)
                    await proxy.close()
                    await until(lambda: not here.feed.up)
                    quiet = ear.client.publish("quiet", b"{}", 1)  # what the broker confirmed comes before this
                    await asyncio.to_thread(quiet.wait_for_publish, 5)
                    await heard(ear, lambda ms: ms[-1].topic == "quiet" or any(m.topic == "quiet" for m in ms))
                    messages += ear.messages
                broker.stop(kill=not frozen)
                before, done = here.outbox.depth()["backfill"], count
                await until(lambda n=done: count > n + 20 or stop.is_set())
                assert stop.is_set() or here.outbox.depth()["backfill"] > before
        messages = [m for m in messages if m.payload and not m.retained and m.topic != "quiet"]
        check(messages)
        rows = [row for m in messages if m.body["schema"] == "vedette.telemetry/1" for row in m.body["value"]]
        assert sorted({row[0] for row in rows}) == list(range(1, count + 1))
        raised = [m.body["id"] for m in messages if "/alarm/" in m.topic]
        assert {f"id-{n}" for n in range(10, count + 1, 10)} == set(raised)
        old = [m for m in messages if "/backfill/" in m.topic]
        assert all(m.body["historical"] for m in old)
        assert not any(m.body.get("historical") for m in messages if "/telemetry/" in m.topic)

    run(main())


class Proxy:
    """A TCP proxy that can stop forwarding without closing anything: a half-open link. It can also cut."""

    def __init__(self, to: int, rate: float = float("inf")) -> None:
        self.to, self.port, self.rate = to, free_port(), rate  # bytes per second
        self.flow = asyncio.Event()
        self.flow.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sinks: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self.flow.set()
        listener = socket.socket()
        if self.rate < 1e9:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.server = await asyncio.start_server(self._serve, sock=listener, limit=16384)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.to)
        self._sinks += [writer, back]
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(8192):
                await self.flow.wait()
                await asyncio.sleep(len(data) / self.rate)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    def cut(self) -> None:
        for sink in self._sinks:
            sink.transport.abort()

    async def close(self) -> None:
        self.server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def test_a_half_open_link_is_noticed_and_nothing_is_lost(tmp_path: Path, broker: Mosquitto):
    async def main() -> None:
        proxy = Proxy(broker.port)
        await proxy.start()
        with Subscriber(broker.port) as ear:
            async with station(tmp_path, f"mqtt://127.0.0.1:{proxy.port}", puback_deadline=0.5, keepalive=1) as here:
                here.put(1)
                await until(lambda: here.delivered() and here.feed.up)
                proxy.flow.clear()
                here.put(2)
                here.raised(alarm(n=2))
                await until(lambda: "link-down" in here.kinds(), 3)
                assert "no PUBACK for" in here.faults[0]
                proxy.flow.set()
                here.put(3)
                await until(here.delivered)
                await heard(ear, lambda ms: {m.body.get("seq") for m in ms if "/s" in m.topic} >= {1, 2, 3})
                check(ear.messages)
                states = [m.body["state"] for m in ear.messages if m.topic == f"{ROOT}/state"]
                assert states == ["online", "offline", "online"]
        await proxy.close()

    run(main())


def test_an_idle_half_open_link_is_noticed_by_ping(tmp_path: Path, broker: Mosquitto):
    async def main() -> None:
        proxy = Proxy(broker.port)
        await proxy.start()
        async with station(tmp_path, f"mqtt://127.0.0.1:{proxy.port}", keepalive=1) as here:
            await until(lambda: here.feed.up)
            proxy.flow.clear()
            await until(lambda: "link-down" in here.kinds(), 4)
            proxy.flow.set()
            await until(lambda: here.kinds().count("link-up") == 2)
        await proxy.close()

    run(main())


# -- refusals ---------------------------------------------------------------------------------------------------


def test_a_message_that_the_broker_refuses_is_not_delivered_and_does_not_stop_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(session, "AGAIN", 0.05)
    monkeypatch.setenv("SECRET", "open sesame")
    acl = f"user north\ntopic readwrite vedette/#\ntopic deny {ROOT}/telemetry/denied\ntopic deny {ROOT}/alarm/#\n"

    async def main() -> None:
        with Mosquitto(tmp_path / "broker", {"north": "open sesame"}, acl) as broker:
            login = {"user": "north", "password": "env:SECRET"}
            async with station(tmp_path, broker.url, **login) as here:
                await until(lambda: here.feed.up)
                here.raised(alarm())
                here.put(1, "denied")
                here.put(1, "fine")
                await until(lambda: here.feed.lost()["telemetry"] == 1)
                await until(lambda: here.feed.waiting() == {"alarm": 1, "event": 0, "telemetry": 0, "backfill": 0})
                assert here.kinds().count("refused") == 2
                refused = next(e.text for e in here.told if e.kind == "refused")
                assert "not authorised" in refused
                assert "0x87" in refused
                assert "link-down" not in here.kinds()
                await asyncio.sleep(0.3)
                assert here.feed.waiting()["alarm"] == 1  # rights are mended by people: it waits for them

    run(main())


def test_a_wrong_password_and_a_missing_one_are_told_as_such(tmp_path: Path):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker", {"north": "right"}) as broker:
            (tmp_path / "secret").write_text("wrong\n")
            login: dict[str, Any] = {"user": "north", "password": f"file:{tmp_path / 'secret'}"}
            async with station(tmp_path, broker.url, **login) as here:
                await until(lambda: here.faults)
                assert "not authorised: check user, password and rights (ACL) of 'platform'" in here.faults[0]
                assert "right" not in here.faults[0].replace("rights", "")
                (tmp_path / "secret").unlink()
                await until(lambda: any("cannot be read" in fault for fault in here.faults))
                (tmp_path / "secret").write_text("right\n")
                await until(lambda: here.feed.up)

    run(main())


def test_nobody_there_is_told_as_such(tmp_path: Path):
    async def main() -> None:
        async with station(tmp_path, f"mqtt://127.0.0.1:{free_port()}") as here:
            await until(lambda: here.faults)
            assert "nobody listens there" in here.faults[0]
            assert here.kinds() == []

    run(main())


def test_what_is_larger_than_the_broker_takes_is_set_aside(tmp_path: Path):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker", more="max_packet_size 2000") as broker:
            async with station(tmp_path, broker.url) as here:
                wide = layout([f"channel-{i}" for i in range(500)])
                await until(lambda: here.feed.up)
                here.outbox.put_frame(frame("wide", SystemClock().now(), wide, 1.0))
                here.put(1)
                await until(lambda: here.feed.lost()["telemetry"] == 1)
                await until(here.delivered)
                assert "link-down" not in here.kinds()

    run(main())


# -- windows, versions, TLS -----------------------------------------------------------------------------------------


def test_an_alarm_does_not_wait_behind_a_backlog_on_a_slow_line(tmp_path: Path, broker: Mosquitto):
    """4 MB of backlog at 3.2 Mbit/s take 10 s."""

    async def main() -> None:
        wide = layout([f"c{i}" for i in range(1000)])
        proxy = Proxy(broker.port, rate=400_000)
        await proxy.start()
        with Subscriber(broker.port) as ear:
            async with station(tmp_path, f"mqtt://127.0.0.1:{proxy.port}") as here:
                for _ in range(200):
                    value = np.random.default_rng().normal(size=1000)
                    here.outbox.put_frame(frame("s", SystemClock().now(), wide, value))
                    here.outbox._flush("s")
                await until(lambda: here.feed.waiting()["backfill"] > 50)
                await until(lambda: len(ear.messages) > 20)
                sent = {}
                for n in range(5):
                    sent[f"id-{n}"] = time.monotonic()
                    here.raised(alarm(n=n))
                    await asyncio.sleep(0.2)
                messages = await heard(ear, lambda ms: sum("/alarm/" in m.topic for m in ms) == 5)
                late = [m.mono - sent[m.body["id"]] for m in messages if "/alarm/" in m.topic]
                assert max(late) < 2.5, late
                assert here.feed.waiting()["backfill"] > 20
                assert here.faults == []
        await proxy.close()

    run(main())


class Scripted:
    """A broker of a few lines, for what mosquitto does not do: `answer` gives the reply to what matters."""

    def __init__(self, answer: Callable[[int, bytes], bytes | None]) -> None:
        self.answer = answer
        self.levels: list[int] = []  # of each CONNECT
        self.publishes: list[bytes] = []  # packet ids
        self.topics: list[str] = []

    async def start(self) -> str:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"mqtt://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, self_writer: asyncio.StreamWriter) -> None:
        self.writer = self_writer
        try:
            while True:
                kind, _, body = await read_packet(reader)
                if kind == 1:
                    self.levels.append(body[6])
                if kind == 3:
                    topic = 2 + int.from_bytes(body[:2], "big")
                    self.topics.append(body[2:topic].decode())
                    body = body[topic : topic + 2]
                    self.publishes.append(body)
                if kind in (8, 10):  # (UN)SUBSCRIBE: granted, and nothing is kept
                    five = self.levels[-1] == 5
                    ack = body[:2] + b"\0" * five + (b"\0" if kind == 8 or five else b"")
                    self.writer.write(bytes([0x90 if kind == 8 else 0xB0, len(ack)]) + ack)
                    continue
                reply = self.answer(kind << 4, body)
                if reply is None:
                    return
                self.writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self_writer.close()


async def confirm_all(broker: Scripted, here: Any) -> None:
    """A PUBACK for each message behind the first, as they come, until everything is delivered."""
    for n in range(1, 100):
        await until(lambda n=n: len(broker.publishes) > n or here.delivered())
        if here.delivered():
            break
        broker.writer.write(b"\x40\x02" + broker.publishes[n])


def connack(code: int, properties: bytes = b"") -> bytes:
    return bytes([0x20, 3 + len(properties), 0, code, len(properties)]) + properties


@pytest.mark.parametrize("closes", [True, False])
def test_an_old_broker_is_spoken_to_in_its_own_version(tmp_path: Path, closes: bool):
    """A broker that knows 3.1.1 only answers level 5 with code 1, as its standard says (3.1.2.2), or closes."""

    def answer(head: int, body: bytes) -> bytes | None:
        if head == 0x10 and body[6] == 5:
            return None if closes else b"\x20\x02\x00\x01"
        return {0x10: b"\x20\x02\x00\x00", 0x30: b"\x40\x02" + body}.get(head, b"")

    async def main() -> None:
        broker = Scripted(answer)
        url = await broker.start()
        async with station(tmp_path / "a", url) as here:
            await until(lambda: "link-up" in here.kinds())
            here.put(1)
            await until(here.delivered)
            assert here.kinds() == ["protocol-fallback", "link-up"]
            assert here.told[1].facts == {"mqtt": "3.1.1"}
        assert broker.levels == [5, 4]
        async with station(tmp_path / "b", url, version="5") as here:
            await until(lambda: here.faults)
            assert here.kinds() == []
            assert ("closed without an answer" if closes else "does not speak this MQTT version") in here.faults[0]
        broker.server.close()

    run(main())


def test_no_more_is_in_flight_than_the_broker_allows_and_a_place_is_kept_for_an_alarm(tmp_path: Path):
    def answer(head: int, body: bytes) -> bytes:
        return connack(0, b"\x21\x00\x03") if head == 0x10 else b""  # receive maximum 3; never a PUBACK by itself

    async def main() -> None:
        broker = Scripted(answer)
        async with station(tmp_path, await broker.start()) as here:
            await until(lambda: len(broker.publishes) == 1)  # the birth
            broker.writer.write(b"\x40\x02" + broker.publishes[0])
            for n in range(10):
                here.put(n)
            await until(lambda: len(broker.publishes) == 3)
            await asyncio.sleep(0.1)
            assert len(broker.publishes) == 3  # two of telemetry, one place free
            here.raised(alarm(n=1))
            here.raised(alarm(n=2))
            await until(lambda: len(broker.publishes) == 4)
            await asyncio.sleep(0.1)
            assert len(broker.publishes) == 4
            await confirm_all(broker, here)
            assert here.delivered()
            assert len(broker.publishes) == 13
        broker.server.close()

    run(main())


def test_an_alarm_does_not_wait_behind_events_that_nobody_has_confirmed(tmp_path: Path):
    """No more go than a slow line carries in a moment; an alarm goes at once, and the rest as they are confirmed."""

    def answer(head: int, body: bytes) -> bytes:
        return connack(0) if head == 0x10 else b""  # never a PUBACK by itself

    async def main() -> None:
        broker = Scripted(answer)
        async with station(tmp_path, await broker.start()) as here:
            await until(lambda: len(broker.publishes) == 1)  # the birth
            for n in range(40):
                here.outbox.put_event(Event("device-lost", f"d{n}", here.outbox.clock.now(), "no reply"))
            broker.writer.write(b"\x40\x02" + broker.publishes[0])
            await until(lambda: len(broker.publishes) > 1)
            await asyncio.sleep(0.1)
            before = len(broker.publishes)
            assert before < 10
            here.raised(alarm(n=1))
            await until(lambda: len(broker.publishes) > before)
            await asyncio.sleep(0.1)
            assert ["/alarm/" in topic for topic in broker.topics[before:]] == [True]
            await confirm_all(broker, here)
            assert here.delivered()
            assert sum(topic.endswith("/event") for topic in broker.topics) >= 40
            assert here.faults == []
        broker.server.close()

    run(main())


def test_a_full_broker_is_tried_again_until_it_takes_what_it_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session, "AGAIN", 0.01)
    monkeypatch.setattr(session, "TICK", 0.02)
    full = True

    def answer(head: int, body: bytes) -> bytes:
        if head == 0x10:
            return connack(0)
        return b"\x40\x03" + body + b"\x97" if full else b"\x40\x02" + body

    async def main() -> None:
        nonlocal full
        broker = Scripted(answer)
        async with station(tmp_path, await broker.start()) as here:
            await until(lambda: here.feed.up)
            here.put(1)
            here.raised(alarm())
            await until(lambda: len(broker.publishes) > 12)  # more than five times each
            assert not here.delivered()
            full = False
            await until(here.delivered)
            assert not any(here.feed.lost().values())
            assert sum(kind == "refused" for kind in here.kinds()) == 2
        broker.server.close()

    run(main())


def test_a_clear_does_not_overtake_a_raise_that_was_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session, "AGAIN", 0.3)
    monkeypatch.setattr(session, "TICK", 0.02)
    accepted: list[int] = []
    full = True

    def answer(head: int, body: bytes) -> bytes:
        if head != 0x10 and full and len(broker.publishes) > 1:  # the birth is taken
            return b"\x40\x03" + body + b"\x97"
        if head == 0x30:
            accepted.append(int.from_bytes(body, "big"))
        return connack(0) if head == 0x10 else b"\x40\x02" + body

    broker = Scripted(answer)

    async def main() -> None:
        nonlocal full
        async with station(tmp_path, await broker.start()) as here:
            sent: list[tuple[str, str]] = []
            ship = Wire.publish

            def publish(wire: Wire, message: Message) -> int:
                if "/alarm/" in message.topic and message.payload:
                    body = msgspec.json.decode(message.payload)
                    sent.append((body["channel"], body["event"]))
                return ship(wire, message)

            monkeypatch.setattr(Wire, "publish", publish)
            await until(lambda: here.feed.up and accepted)
            here.raised(alarm())
            await until(lambda: "refused" in here.kinds())
            full = False
            here.raised(alarm("normal", event="cleared"))
            here.raised(alarm(n=2))
            elsewhere = msgspec.structs.replace(alarm(n=3), channel="s/b")
            here.raised(elsewhere)
            await until(here.delivered)
            mine = [event for channel, event in sent if channel == "s/a"]
            assert mine == ["raised", "raised", "cleared", "raised"]
            assert sent.index(("s/b", "raised")) == 1  # nothing of another point waits
        broker.server.close()

    run(main())


def test_bytes_that_are_not_mqtt_cost_the_connection_and_nothing_else(tmp_path: Path):
    def answer(head: int, body: bytes) -> bytes:
        return connack(0) if head == 0x10 else b"HTTP/1.1 400 Bad Request\r\n\r\n"

    async def main() -> None:
        broker = Scripted(answer)
        async with station(tmp_path, await broker.start(), puback_deadline=0.1) as here:
            here.put(1)
            await until(lambda: len(here.faults) >= 2)
            assert here.outbox.depth()["backfill"] + here.outbox.depth()["telemetry"] == 1
        broker.server.close()

    run(main())


def test_version_311_works_against_a_real_broker(tmp_path: Path, broker: Mosquitto):
    async def main() -> None:
        async with station(tmp_path, broker.url, version="3.1.1") as here:
            here.put(1)
            here.raised(alarm())
            await until(lambda: here.feed.up and here.delivered())

    run(main())


def test_tls_with_a_private_authority_and_a_client_certificate(tmp_path: Path):
    tls = Certificates(tmp_path / "tls")

    async def main() -> None:
        with Mosquitto(tmp_path / "broker", more="require_certificate true", tls=tls) as broker:
            mine: dict[str, Any] = {"cert": str(tls.client_cert), "key": str(tls.client_key)}
            async with station(tmp_path / "a", broker.url, ca=str(tls.ca), **mine) as here:
                for n in range(300):
                    here.put(n)
                    here.raised(alarm(n=n))
                await until(lambda: here.feed.up and here.delivered())
            async with station(tmp_path / "b", broker.url, **mine) as here:
                await until(lambda: here.faults)
                assert "certificate is not trusted" in here.faults[0]
                assert not here.feed.up
            async with station(tmp_path / "c", broker.url, ca=str(tls.ca)) as here:
                await until(lambda: here.faults)
                assert "does it ask for a client certificate?" in here.faults[0]
                assert not here.kinds()
            async with station(tmp_path / "d", broker.url, ca=str(tmp_path / "absent")) as here:
                await until(lambda: here.faults)
                assert "ca cannot be used: No such file" in here.faults[0]

    run(main())


def test_connections_that_broke_or_never_came_about_wait_for_no_collector(tmp_path: Path):
    """An hour of outages would pile them up, each with its TLS context and all that it knew."""
    tls = Certificates(tmp_path / "tls")
    mine: dict[str, Any] = {"ca": str(tls.ca), "cert": str(tls.client_cert), "key": str(tls.client_key)}

    def there() -> int:
        return sum(isinstance(one, (session.Session, Wire)) for one in gc.get_objects())

    async def main() -> None:
        broker = Mosquitto(tmp_path / "broker", more="require_certificate true", tls=tls)
        broker.start()
        gc.collect()
        gc.disable()
        others = there()
        try:
            async with station(tmp_path / "a", broker.url, **mine) as here:
                await until(lambda: here.feed.up)
                assert there() - others == 2  # a session and its wire
                broker.stop(kill=True)
                await until(lambda: len(here.faults) > 3)
                await until(lambda: there() - others <= 1, 5.0)  # a wire that is being tried
                broker.start()
                await until(lambda: here.feed.up)
                await until(lambda: there() - others == 2, 5.0)
        finally:
            gc.enable()
            broker.stop()

    run(main())


# -- receipts -------------------------------------------------------------------------------------------------------


def answer(pen: Subscriber, body: dict[str, Any]) -> None:
    receipt = msgspec.json.encode({key: body[key] for key in ("boot", "stream", "seq")})
    pen.client.publish(f"{ROOT}/receipt", receipt, 1).wait_for_publish(5)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_an_alarm_is_sent_again_until_the_platform_gives_its_receipt(tmp_path: Path, broker: Mosquitto, version: str):
    async def main() -> None:
        with Subscriber(broker.port) as ear:
            settings: dict[str, Any] = {"receipts": True, "receipt_deadline": 0.05, "version": version}
            async with station(tmp_path, broker.url, **settings) as here:
                await until(lambda: here.feed.up)
                for nonsense in (b"", b"\xff" * 5000, b"[" * 1000, b'{"boot": 1}', b'{"boot":"","stream":"","seq":1}'):
                    ear.client.publish(f"{ROOT}/receipt", nonsense, 1)
                here.raised(alarm())
                here.put(1)
                await heard(ear, lambda ms: sum("/alarm/" in m.topic for m in ms) == 3)
                await until(lambda: here.feed.waiting() == {"alarm": 1, "event": 0, "telemetry": 0, "backfill": 0})
                first, *more = ear.on("alarm")
                assert "resent" not in first.body
                assert all(m.body["resent"] for m in more)
                assert here.kinds() == ["link-up", "receipt-missing"]
                answer(ear, first.body)
                await until(here.delivered)
                assert here.kinds() == ["link-up", "receipt-missing", "receipt-recovered"]
                assert not any(here.feed.lost().values())

    run(main())


@pytest.mark.parametrize("receipts", [True, False], ids=["receipts", "no-receipts"])
def test_who_subscribes_after_an_outage_hears_with_receipts_what_came_and_went_in_it(tmp_path: Path, receipts: bool):
    """A broker that was killed forgets who had subscribed; it confirms what is told to nobody."""

    async def main() -> None:
        broker = Mosquitto(tmp_path / "broker").start()
        try:
            async with station(tmp_path, broker.url, receipts=receipts, receipt_deadline=0.1) as here:
                await until(lambda: here.feed.up)
                broker.stop(kill=True)
                await until(lambda: not here.feed.up)
                here.raised(alarm())
                here.raised(msgspec.structs.replace(alarm("normal", event="cleared"), edge=2))
                broker.start()
                await until(lambda: "receipt-missing" in here.kinds() if receipts else here.delivered())
                with Subscriber(broker.port) as late:
                    if receipts:
                        await heard(late, lambda _: {m.body["edge"] for m in late.on("alarm")} == {1, 2})
                        for message in late.on("alarm"):
                            answer(late, message.body)
                    await until(here.delivered)
                    late.client.publish("quiet", b"{}", 1)
                    await heard(late, lambda messages: any(m.topic == "quiet" for m in messages))
                    assert bool(late.on("alarm")) is receipts
        finally:
            broker.stop()

    run(main())


def test_the_platform_that_comes_with_the_simulators_gives_receipts(tmp_path: Path):
    async def main() -> None:
        broker = Broker()
        await broker.start()
        console = Console(Platform(), lambda _: None)
        await console.start("127.0.0.1", broker.port)
        async with station(tmp_path, broker.url, receipts=True) as here:
            for n in range(50):
                here.raised(alarm(n=n))
            await until(here.delivered)
            assert len(console.platform.edges) == 50
            assert (console.platform.strange, here.kinds()) == (0, ["link-up"])
        await console.stop()
        await broker.stop()

    run(main())


def test_alarms_without_receipt_take_no_place_in_flight_and_a_late_raise_does_not_touch_what_is_retained(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(session, "INFLIGHT", 2)

    async def main() -> None:
        with Subscriber(broker.port) as ear:
            async with station(tmp_path, broker.url, receipts=True, receipt_deadline=0.3) as here:
                for n in range(50):
                    here.raised(msgspec.structs.replace(alarm(n=n), channel=f"s/c{n}"))
                await heard(ear, lambda ms: len({m.body["seq"] for m in ms if "/alarm/" in m.topic}) == 50, 5)
                here.raised(msgspec.structs.replace(alarm("active-acked", event="acknowledged"), id="id-7", edge=2,
                                                    channel="s/c7"))  # fmt: skip
                await heard(ear, lambda ms: sum(m.body["edge"] == 2 for m in ms if "/alarm/" in m.topic) >= 2)
                kept = await asyncio.to_thread(last, broker.port, f"{ROOT}/alarm/red/s/c7/high")
                assert kept is not None
                assert kept.body["edge"] == 2

    run(main())


# -- what a broker does not say -----------------------------------------------------------------------------------


class Touchy:
    """A broker that closes the connection when it sees `poison` in a message, and confirms anything else."""

    def __init__(self, poison: bytes) -> None:
        self.poison, self.bodies, self.tries = poison, [], 0

    async def start(self) -> str:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"mqtt://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                kind, _, body = await read_packet(reader)
                if kind == 1:
                    writer.write(connack(0))
                elif kind == 3:
                    if self.poison in body:
                        self.tries += 1
                        return
                    self.bodies.append(body)
                    topic = 2 + int.from_bytes(body[:2], "big")
                    writer.write(b"\x40\x02" + body[topic : topic + 2])
                elif kind in (8, 10):
                    writer.write(bytes([0x90 if kind == 8 else 0xB0, 4]) + body[:2] + b"\0\0")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def test_a_batch_over_which_the_broker_closes_the_connection_is_set_aside_and_nothing_else(tmp_path: Path):
    async def main() -> None:
        broker = Touchy(b"[[666.0,-666.0]]")  # 666 alone is also in many a time of day
        async with station(tmp_path, await broker.start()) as here:
            for n in (1, 2, 666, *range(3, 20)):
                here.put(n)
                here.raised(alarm(n=n % 100))  # each connection makes progress
            await until(here.delivered)
            assert broker.tries == 5
            assert here.feed.lost() == {"alarm": 0, "event": 0, "telemetry": 0, "backfill": 1}
            sent = b"".join(broker.bodies)
            assert all(b"[[%d.0,-%d.0]]" % (n, n) in sent for n in range(1, 20))
        broker.server.close()

    run(main())


def test_an_alarm_over_which_the_broker_closes_the_connection_is_deferred_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(feed, "DEFER", 0.2)
    monkeypatch.setattr(session, "TICK", 0.02)

    async def main() -> None:
        broker = Touchy(b'"id":"id-13"')
        async with station(tmp_path, await broker.start()) as here:
            for n in (13, 14):
                here.raised(alarm(n=n))
            elsewhere = msgspec.structs.replace(alarm(n=15), channel="s/b")
            here.raised(elsewhere)
            here.put(1)
            await until(lambda: here.feed.waiting()["alarm"] == 2 and here.feed.waiting()["backfill"] == 0)
            assert not any(here.feed.lost().values())
            broker.poison = b"none"
            await until(here.delivered)
            assert broker.tries >= 5
            sent = [body for body in broker.bodies if b"vedette.alarm/1" in body]
            assert [b'"id":"id-13"' in body for body in sent[-2:]] == [True, False]  # its point kept its order
            kinds = [
                msgspec.json.decode(body[body.index(b"{") :])["kind"] for body in broker.bodies if b"event/1" in body
            ]
            assert (kinds.count("deferred"), kinds.count("deferred-delivered")) == (1, 1)
        broker.server.close()

    run(main())


def test_a_broker_that_confirms_nothing_costs_no_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session, "TICK", 0.02)
    births = 0

    def answer(head: int, body: bytes) -> bytes:
        nonlocal births
        if head == 0x10:
            births += 1
            return connack(0)
        if head == 0x30 and births:
            births = 0
            return b"\x40\x02" + body
        return b""

    async def main() -> None:
        broker = Scripted(answer)
        async with station(tmp_path, await broker.start(), puback_deadline=0.05) as here:
            here.put(1)
            await until(lambda: here.kinds().count("link-down") > 7)
            assert not any(here.feed.lost().values())
        broker.server.close()

    run(main())


def test_a_birth_over_which_the_broker_closes_the_connection_is_told_without_the_alarms(tmp_path: Path):
    async def main() -> None:
        broker = Touchy(b'"id":"id-13"')
        async with station(tmp_path, await broker.start()) as here:
            here.open = [alarm(n=13)]
            here.put(1)
            await until(here.delivered)
            assert broker.tries == 5
            assert "left out" in here.told[0].text
            birth = broker.bodies[0]
            assert msgspec.json.decode(birth[birth.index(b"{") :])["more"] == 1
        broker.server.close()

    run(main())
