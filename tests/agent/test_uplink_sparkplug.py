"""The Sparkplug edge node against mosquitto: one life of it is played in each dialect, then every duty is looked up.

`DUTIES` holds them by their identifiers (Sparkplug 3.0, without `tck-id-`). What the node sent is read off the wire by
a tap between it and the broker, packet by packet; what a host gets of it, by other people's decoders.
"""

from __future__ import annotations

import asyncio
import dataclasses
import doctest
import json
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.frame import Quality, frame, layout
from agent.core.ports import Event
from agent.uplink import find, session, sparkplug
from agent.uplink.sparkplug import Sparkplug
from agent.uplink.sparkplug_wire import Metric, Payload, Type, decode, encode
from simulators import broker as mqtt
from tests.tools.decoders import decoded, each_decoder
from tests.tools.mosquitto import Mosquitto, needs_mosquitto
from tests.tools.station import Station, alarm, heard, run, station, until
from tests.tools.subscriber import Subscriber
from tests.tools.tap import Sent, Tap

pytestmark = needs_mosquitto

NODE = "spBv1.0/mine/{}/north"
PUMP = layout(["flow", "head"], ["l/s", "m"], stale=60.0)
AIR = layout(["ch4"], ["%"], stale=60.0)
LAYOUTS = {"pump": PUMP, "air": AIR}
POINTS = {("high", "air/ch4"): "red", ("low", "pump/flow"): "yellow"}
SITE = {"layouts": LAYOUTS, "points": POINTS}
DIALECTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "aliases": {"aliases": True},
    "one device": {"devices": False},
    "no datatypes": {"datatypes": False, "version": "3.1.1"},
}


def gas(state: str = "active-unacked", n: int = 1, edge: int = 1) -> Alarm:
    at = SystemClock().now()
    return msgspec.structs.replace(alarm(state, n), edge=edge, channel="air/ch4", since=at, at=at)


def poll(here: Station, source: str, values: list[float], quality: int = Quality.GOOD) -> None:
    """One poll of a source, at once on its way."""
    here.outbox.put_frame(frame(source, SystemClock().now(), LAYOUTS[source], values, quality))
    here.outbox._flush(source)


class Host:
    """A host application at the broker: hears all, says STATE and commands."""

    def __init__(self, port: int) -> None:
        self.ear = Subscriber(port, "spBv1.0/#")

    def state(self, online: bool, at: int, host: str = "scada") -> None:
        text = json.dumps({"online": online, "timestamp": at})
        self.ear.client.publish(f"spBv1.0/STATE/{host}", text, 1, True).wait_for_publish(5)

    def command(self, *metrics: Metric, to: str = NODE.format("NCMD")) -> None:
        self.ear.client.publish(to, encode(Payload(1, None, metrics)), 0)

    def topics(self, verb: str) -> list[str]:
        return [m.topic for m in self.ear.messages if f"/{verb}/" in m.topic]

    def count(self, verb: str) -> int:
        return len(self.topics(verb))


@dataclasses.dataclass
class Play:
    """What was sent in one life of a node."""

    settings: Sparkplug
    sent: list[Sent]
    marks: dict[str, int] = dataclasses.field(default_factory=dict)  # name -> packets sent until then
    told: list[str] = dataclasses.field(default_factory=list)  # kinds of events
    most: int = 0  # connections at the same time
    _known: tuple[int, dict[int, dict[int, str]]] = (0, {})

    def said(self, *verbs: str, since: str = "", until: str = "") -> list[tuple[Sent, Payload]]:
        """Published messages of these kinds."""
        part = self.sent[self.marks.get(since, 0) : self.marks.get(until, len(self.sent))]
        found = [one for one in part if one.kind == mqtt.PUBLISH and (not verbs or verb(one) in verbs)]
        return [(one, understood(one.payload)) for one in found]

    def has_stale(self, name: str) -> bool:
        """Whether data said of this metric that it is stale."""
        told = [metric for _, payload in self.said("NDATA") for metric in payload.metrics]
        return any(one.name == name and one.properties.get("Quality") == (Type.INT32, 500) for one in told)

    def kind(self, kind: int, connection: int = 0) -> list[Sent]:
        return [one for one in self.sent if one.kind == kind and connection in (0, one.connection)]

    def connections(self) -> list[int]:
        return sorted({one.connection for one in self.sent})

    def name(self, metric: Metric, one: Sent) -> str:
        """Of a metric in a message, whatever it is called there."""
        if metric.name:
            return metric.name
        if self._known[0] != len(self.sent):
            numbers: dict[int, dict[int, str]] = {}
            for birth, payload in self.said("NBIRTH", "DBIRTH"):
                mine = numbers.setdefault(birth.connection, {})
                mine |= {m.alias: m.name for m in payload.metrics if m.alias is not None}
            self._known = len(self.sent), numbers
        assert metric.alias is not None
        return self._known[1][one.connection][metric.alias]


understood = cache(decode)


def verb(one: Sent) -> str:
    return one.topic.split("/")[2]


def who(one: Sent) -> str:
    """Node, or node and device."""
    return one.topic.split("/", 3)[3]


def values(payload: Payload) -> dict[str, Any]:
    return {metric.name: metric.value for metric in payload.metrics}


def of(metrics: Iterable[Metric], name: str) -> Metric:
    return next(metric for metric in metrics if metric.name == name)


async def act(folder: Path, **settings: Any) -> Play:
    """A life: waits for its host, is born, tells, is asked for births, loses a device, loses its host, comes back."""
    with Mosquitto(folder / "broker", more="max_queued_messages 0") as broker:
        tap = Tap(broker.port)
        await tap.start()
        host = Host(broker.port)
        play = Play(Sparkplug(name="platform", url=tap.url, host="scada", linger=0.0, **settings), tap.sent)
        site = {**SITE, "home": str(folder)}

        def mark(name: str) -> None:
            play.marks[name] = len(tap.sent)

        devices = play.settings.devices
        async with station(folder, tap.url, Sparkplug, site, host="scada", linger=0.0, **settings) as here:
            await until(lambda: any(one.kind == mqtt.SUBSCRIBE and "STATE" in one.topic for one in tap.sent))
            here.open = [gas("active-acked", n=7)]
            poll(here, "pump", [1.0, 2.0])
            poll(here, "air", [0.2])
            host.state(True, 5, host="another")
            host.state(False, 10)
            await asyncio.sleep(0.1)
            mark("waited")
            host.state(True, 20)
            await until(lambda: "link-up" in here.kinds())
            mark("born")
            for n in range(300):
                poll(here, "air", [0.2 + n / 1000])
                poll(here, "pump", [1.0, float(n)])
                if n % 20 == 0:  # what has to wait for long becomes backlog
                    await until(here.delivered)
            raised = gas("active-unacked", n=8)
            here.raised(raised)
            here.raised(msgspec.structs.replace(raised, edge=2, state="returned-unacked", event="cleared"))
            here.outbox.put_event(Event("device-lost", "pump", SystemClock().now(), "gone", {"times": 3}))
            poll(here, "air", [float("nan")], Quality.UNCERTAIN)
            poll(here, "air", [0.3])
            await until(here.delivered)
            mark("told")
            host.command(Metric("Node Control/Rebirth", Type.BOOLEAN, True))
            await until(lambda: host.count("NBIRTH") == 2)
            await until(lambda: not devices or host.count("DBIRTH") >= 3)
            mark("reborn")
            host.state(False, 15)  # of before: it means nothing
            poll(here, "pump", [float("nan")] * 2, Quality.OFFLINE)
            await until(lambda: host.count("DDEATH") if devices else play.has_stale("pump/head"))
            mark("lost")
            poll(here, "pump", [5.0, 6.0])
            await until(here.delivered)
            mark("found")
            host.state(False, 30)
            await until(lambda: host.count("NDEATH"))
            await until(lambda: "link-down" in here.kinds())
            mark("left")
            await until(lambda: len(play.kind(mqtt.CONNECT)) >= 2)
            poll(here, "air", [0.4])
            here.raised(gas("active-unacked", n=9))
            await asyncio.sleep(0.2)
            poll(here, "air", [0.41])  # the birth's; what came before it is no news
            mark("waited again")
            host.state(True, 40)
            await until(lambda: here.kinds().count("link-up") == 2)
            poll(here, "air", [0.5])
            await until(here.delivered)
            mark("end")
            play.told = here.kinds()
        await until(lambda: not tap.open)
        play.most = tap.most
        await tap.close()
        host.ear.close()
    return play


def hurry(patch: pytest.MonkeyPatch) -> None:
    """What a node waits for without anybody's fault takes a tenth of the time."""
    patch.setattr(session, "TICK", 0.05)
    patch.setattr(sparkplug, "CALM", 0.1)
    patch.setattr(sparkplug, "QUIET", 0.1)


@pytest.fixture(scope="session")
def plays(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Play]:
    """The life in each dialect, played once."""

    @cache
    def played(dialect: str) -> Play:
        with pytest.MonkeyPatch.context() as patch:
            hurry(patch)
            return asyncio.run(asyncio.wait_for(act(tmp_path_factory.mktemp("life"), **DIALECTS[dialect]), 60))

    return played


# -- the duties -----------------------------------------------------------------------------------------

DUTIES: dict[str, Callable[[Play], None]] = {}


def duty(*identifiers: str) -> Callable[[Callable[[Play], None]], Callable[[Play], None]]:
    def enter(check: Callable[[Play], None]) -> Callable[[Play], None]:
        assert not set(identifiers) & set(DUTIES)
        DUTIES.update(dict.fromkeys(identifiers, check))
        return check

    return enter


@duty(
    "topic-structure-namespace-valid-group-id",
    "topic-structure-namespace-valid-edge-node-id",
    "topic-structure-namespace-valid-device-id",
    "topic-structure-namespace-device-id-associated-message-types",
    "topic-structure-namespace-device-id-non-associated-message-types",
    "topics-nbirth-topic",
    "topics-ndata-topic",
    "topics-ndeath-topic",
    "topics-dbirth-topic",
    "topics-ddata-topic",
    "topics-ddeath-topic",
    "message-flow-edge-node-birth-publish-nbirth-topic",
    "message-flow-device-birth-publish-dbirth-topic",
    "message-flow-device-birth-publish-dbirth-match-edge-node-topic",
)
def topics(play: Play) -> None:
    for one, _ in play.said():
        namespace, group, kind, node, *device = one.topic.split("/")
        assert (namespace, group, node) == ("spBv1.0", "mine", "north")
        assert kind in {"NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"}
        assert len(device) == (kind[0] == "D")
        assert not device or device[0] in LAYOUTS
    kinds = {verb(one) for one, _ in play.said()}
    assert kinds >= {"NBIRTH", "NDATA", "NDEATH"}
    assert not play.settings.devices or kinds >= {"DBIRTH", "DDATA", "DDEATH"}


@duty("topic-structure-namespace-unique-device-id", "topic-structure-namespace-duplicate-device-id-across-edge-node")
def each_source_is_one_device(play: Play) -> None:
    born = {one.topic.rpartition("/")[2] for one, _ in play.said("DBIRTH")}
    assert born == (set(LAYOUTS) if play.settings.devices else set())


@duty(
    "principles-persistence-clean-session-311",
    "principles-persistence-clean-session-50",
)
def nothing_is_kept_of_a_session(play: Play) -> None:
    for one in play.kind(mqtt.CONNECT):
        assert one.clean
        assert 0x11 not in one.properties[:1]  # no session expiry interval, which means 0
        assert one.version == (4 if play.settings.version == "3.1.1" else 5)


@duty(
    "message-flow-edge-node-birth-publish-will-message",
    "message-flow-edge-node-birth-publish-will-message-topic",
    "message-flow-edge-node-birth-publish-will-message-payload",
    "message-flow-edge-node-birth-publish-will-message-qos",
    "message-flow-edge-node-birth-publish-will-message-will-retained",
    "payloads-ndeath-will-message",
    "payloads-ndeath-will-message-qos",
    "payloads-ndeath-will-message-retain",
    "payloads-ndeath-seq",
    "topics-ndeath-payload",
    "topics-ndeath-seq",
)
def the_will_is_its_death(play: Play) -> None:
    wills = play.kind(mqtt.CONNECT)
    assert len(wills) >= 2
    deaths = [one for one, _ in play.said("NDEATH")]
    assert len(deaths) == 2
    for one in [*wills, *deaths]:
        assert (one.topic, one.qos, one.retain) == (NODE.format("NDEATH"), 1, False)
        payload = decode(one.payload)
        assert payload.seq is None
        assert [(m.name, m.type) for m in payload.metrics] == [("bdSeq", Type.INT64)]


@duty(
    "message-flow-edge-node-birth-publish-will-message-payload-bdSeq",
    "topics-nbirth-bdseq-increment",
)
def bdseq_counts_connections(play: Play) -> None:
    numbers = [decode(one.payload).metrics[0].value for one in play.kind(mqtt.CONNECT)]
    assert numbers == list(range(len(numbers)))


@duty(
    "topics-nbirth-bdseq-included",
    "topics-nbirth-bdseq-matching",
    "message-flow-edge-node-birth-publish-nbirth-payload-bdSeq",
    "payloads-nbirth-bdseq",
    "payloads-nbirth-bdseq-repeat",
    "payloads-ndeath-bdseq",
    "operational-behavior-data-commands-rebirth-action-3",
)
def births_and_deaths_belong_together(play: Play) -> None:
    will = {one.connection: decode(one.payload).metrics[0].value for one in play.kind(mqtt.CONNECT)}
    births = play.said("NBIRTH")
    assert [one.connection for one, _ in births].count(births[0][0].connection) == 2  # one of them was asked for
    for one, payload in births:
        found = of(payload.metrics, "bdSeq")
        assert (found.type, found.value) == (Type.INT64, will[one.connection])
    for one, payload in play.said("NDEATH"):
        assert payload.metrics[0].value == will[one.connection]


@duty("message-flow-edge-node-ncmd-subscribe", "message-flow-device-dcmd-subscribe", "topics-ncmd-topic")
def it_listens_before_it_speaks(play: Play) -> None:
    for connection in play.connections():
        mine = [one for one in play.sent if one.connection == connection]
        first = next((n for n, one in enumerate(mine) if one.kind == mqtt.PUBLISH), len(mine))
        asked = {one.topic: one.qos for one in mine[:first] if one.kind == mqtt.SUBSCRIBE}
        assert asked[NODE.format("NCMD")] == 1
        assert asked["spBv1.0/STATE/scada"] == 1
        assert not play.settings.devices or asked[NODE.format("DCMD") + "/+"] == 1


@duty(
    "message-flow-edge-node-birth-publish-connect",
    "principles-birth-certificates-order",
    "message-flow-device-birth-publish-nbirth-wait",
    "payloads-dbirth-order",
    "payloads-ndata-order",
    "payloads-ddata-order",
)
def births_come_first(play: Play) -> None:
    for connection in play.connections():
        said = [one for one, _ in play.said() if one.connection == connection]
        if not said or verb(said[0]) == "NDEATH":
            continue
        assert verb(said[0]) == "NBIRTH"
        devices = [n for n, one in enumerate(said) if verb(one) == "DBIRTH"]
        if connection == said[0].connection and devices:
            assert devices[0] == 1
        known: set[str] = set()
        for one in said:
            known = set() if verb(one) == "NBIRTH" else known
            known |= {who(one)} if verb(one) in ("NBIRTH", "DBIRTH") else set()
            known -= {who(one)} if verb(one) == "DDEATH" else set()
            assert who(one) in known or verb(one) in ("NDEATH", "DDEATH")


@duty(
    "topics-nbirth-mqtt",
    "topics-ndata-mqtt",
    "topics-dbirth-mqtt",
    "topics-ddata-mqtt",
    "topics-ddeath-mqtt",
    "payloads-nbirth-qos",
    "payloads-nbirth-retain",
    "payloads-dbirth-qos",
    "payloads-dbirth-retain",
    "payloads-ndata-qos",
    "payloads-ndata-retain",
    "payloads-ddata-qos",
    "payloads-ddata-retain",
    "message-flow-edge-node-birth-publish-nbirth-qos",
    "message-flow-edge-node-birth-publish-nbirth-retained",
    "message-flow-device-birth-publish-dbirth-qos",
    "message-flow-device-birth-publish-dbirth-retained",
)
def everything_but_death_has_qos_0(play: Play) -> None:
    for one, _ in play.said():
        assert (one.qos, one.retain) == (int(verb(one) == "NDEATH"), False)


@duty(
    "topics-nbirth-seq-num",
    "topics-ndata-seq-num",
    "topics-dbirth-seq",
    "topics-ddata-seq-num",
    "topics-ddeath-seq-num",
    "payloads-sequence-num-always-included",
    "payloads-sequence-num-zero-nbirth",
    "payloads-sequence-num-incrementing",
    "payloads-nbirth-seq",
    "payloads-dbirth-seq",
    "payloads-dbirth-seq-inc",
    "payloads-ndata-seq",
    "payloads-ndata-seq-inc",
    "payloads-ddata-seq",
    "payloads-ddata-seq-inc",
    "payloads-ddeath-seq",
    "payloads-ddeath-seq-inc",
    "payloads-ddeath-seq-number",
    "message-flow-edge-node-birth-publish-nbirth-payload-seq",
    "message-flow-device-birth-publish-dbirth-payload-seq",
)
def seq_counts_all_messages(play: Play) -> None:
    expected = -1
    wrapped = 0
    for one, payload in play.said():
        if verb(one) == "NDEATH":
            assert payload.seq is None
            continue
        expected = 0 if verb(one) == "NBIRTH" else (expected + 1) % 256
        assert payload.seq == expected
        wrapped += expected == 255
    assert wrapped >= 1


@duty(
    "topics-nbirth-timestamp",
    "topics-ndata-timestamp",
    "topics-dbirth-timestamp",
    "topics-ddata-timestamp",
    "payloads-nbirth-timestamp",
    "payloads-dbirth-timestamp",
    "payloads-ndata-timestamp",
    "payloads-ddata-timestamp",
    "payloads-ddeath-timestamp",
    "payloads-timestamp-in-UTC",
)
def each_message_says_when_it_was_sent(play: Play) -> None:
    last = 0
    for one, payload in play.said("NBIRTH", "NDATA", "DBIRTH", "DDATA", "DDEATH"):
        assert payload.at is not None
        assert abs(payload.at / 1000 - (time.time() - time.monotonic() + one.mono)) < 5
        assert payload.at >= last
        last = payload.at


@duty("payloads-name-birth-data-requirement", "payloads-metric-timestamp-in-UTC")
def each_metric_says_when_it_was(play: Play) -> None:
    for _, payload in play.said("NBIRTH", "NDATA", "DBIRTH", "DDATA"):
        for one in payload.metrics:
            assert one.at is not None
            assert payload.at is not None
            assert payload.at - 60_000 < one.at <= payload.at


@duty(
    "topics-nbirth-metrics",
    "topics-dbirth-metrics",
    "operational-behavior-data-publish-nbirth-values",
    "operational-behavior-data-publish-dbirth-values",
    "payloads-metric-datatype-req",
    "payloads-metric-datatype-value-type",
    "payloads-metric-datatype-value",
    "message-flow-edge-node-birth-publish-nbirth-payload",
    "message-flow-device-birth-publish-dbirth-payload",
    "case-sensitivity-metric-names",
)
def births_have_name_type_and_value(play: Play) -> None:
    for _, payload in play.said("NBIRTH", "DBIRTH"):
        names = [one.name for one in payload.metrics]
        assert all(names)
        assert len({name.lower() for name in names}) == len(names)
        assert all(one.type in (Type.INT64, Type.DOUBLE, Type.BOOLEAN, Type.STRING) for one in payload.metrics)
    first = play.said("NBIRTH")[0][1]
    assert values(first)["Alarms/air/ch4/high"] == "active-acked"
    assert values(first)["Alarms/pump/flow/low"] == "normal"
    if play.settings.devices:
        born = {one.topic.rpartition("/")[2]: values(payload) for one, payload in play.said("DBIRTH", until="born")}
        assert born == {"pump": {"flow": 1.0, "head": 2.0}, "air": {"ch4": 0.2}}
    else:
        assert (values(first)["pump/head"], values(first)["air/ch4"]) == (2.0, 0.2)


@duty(
    "topics-nbirth-metric-reqs",
    "topics-dbirth-metric-reqs",
    "operational-behavior-data-publish-nbirth",
    "operational-behavior-data-publish-dbirth",
)
def births_have_all_that_follows(play: Play) -> None:
    known: dict[str, set[str]] = {}
    for one, payload in play.said("NBIRTH", "NDATA", "DBIRTH", "DDATA"):
        names = {play.name(metric, one) for metric in payload.metrics}
        if verb(one).endswith("BIRTH"):
            known[who(one)] = names
        assert names <= known[who(one)]


@duty(
    "topics-nbirth-rebirth-metric",
    "payloads-nbirth-rebirth-req",
    "operational-behavior-data-commands-rebirth-name",
    "operational-behavior-data-commands-rebirth-name-aliases",
    "operational-behavior-data-commands-rebirth-datatype",
    "operational-behavior-data-commands-rebirth-value",
)
def a_rebirth_can_be_asked_for(play: Play) -> None:
    for _, payload in play.said("NBIRTH"):
        found = of(payload.metrics, "Node Control/Rebirth")
        assert (found.type, found.value, found.alias) == (Type.BOOLEAN, False, None)


@duty(
    "operational-behavior-data-commands-rebirth-action-1",
    "operational-behavior-data-commands-rebirth-action-2",
    "operational-behavior-data-commands-ncmd-rebirth-verb",
    "operational-behavior-data-commands-ncmd-rebirth-name",
    "operational-behavior-data-commands-ncmd-rebirth-value",
)
def a_rebirth_is_whole(play: Play) -> None:
    said = [verb(one) for one, _ in play.said(since="told", until="reborn") if verb(one) != "DDEATH"]
    births = ["NBIRTH", *(["DBIRTH", "DBIRTH"] if play.settings.devices else [])]
    assert said[: len(births)] == births


@duty("topics-ndata-payload", "topics-ddata-payload", "principles-rbe-recommended",
      "operational-behavior-data-publish-nbirth-change", "operational-behavior-data-publish-dbirth-change")  # fmt: skip
def only_changes_are_told(play: Play) -> None:
    told: dict[str, list[float | None]] = {}
    for one, payload in play.said("DDATA", "NDATA", since="born", until="told"):
        for metric in (news for news in payload.metrics if not news.historical):
            told.setdefault(play.name(metric, one).rpartition("/")[2], []).append(metric.value)
    assert "flow" not in told  # it never moved
    assert told["head"] == [float(n) for n in range(300)]
    assert len(told["ch4"]) == len(set(told["ch4"]))


@duty("operational-behavior-data-publish-nbirth-order", "operational-behavior-data-publish-dbirth-order")
def news_is_in_order(play: Play) -> None:
    newest: dict[str, int] = {}
    for one, payload in play.said("NBIRTH", "NDATA", "DBIRTH", "DDATA"):
        news = [metric.at or 0 for metric in payload.metrics if not metric.historical]
        assert news == sorted(news)
        for metric in payload.metrics:
            name = who(one) + play.name(metric, one)
            if not metric.historical and not name.endswith("/high"):
                assert (metric.at or 0) >= newest.get(name, 0)
                newest[name] = metric.at or 0


@duty(
    "payloads-name-requirement",
    "payloads-alias-uniqueness",
    "payloads-alias-birth-requirement",
    "payloads-alias-data-cmd-requirement",
)
def names_or_numbers(play: Play) -> None:
    for connection in play.connections():
        numbers: dict[int, str] = {}
        for one, payload in play.said("NBIRTH", "DBIRTH", "NDATA", "DDATA"):
            if one.connection != connection:
                continue
            for metric in payload.metrics:
                if not play.settings.aliases:
                    assert metric.name
                    assert metric.alias is None
                elif verb(one).endswith("DATA"):
                    assert not metric.name
                    assert metric.alias in numbers
                elif not metric.name.startswith("Node Control/"):
                    assert metric.alias is not None
                    name = f"{who(one)} {metric.name}"
                    assert numbers.setdefault(metric.alias, name) == name


@duty("payloads-metric-datatype-not-req")
def datatypes_in_data_are_a_switch(play: Play) -> None:
    types = {metric.type for _, payload in play.said("NDATA", "DDATA") for metric in payload.metrics}
    assert (types == {Type.UNKNOWN}) is not play.settings.datatypes


@duty(
    "payloads-propertyset-keys-array-size",
    "payloads-propertyset-values-array-size",
    "payloads-metric-propertyvalue-type-type",
    "payloads-metric-propertyvalue-type-value",
    "payloads-metric-propertyvalue-type-req",
    "payloads-propertyset-quality-value-type",
    "payloads-propertyset-quality-value-value",
)
def what_it_is_worth(play: Play) -> None:
    seen = set()
    for one, payload in play.said("NBIRTH", "DBIRTH", "NDATA", "DDATA"):
        for metric in payload.metrics:
            if (found := metric.properties.get("Quality")) is not None:
                assert found[0] == Type.INT32
                assert found[1] in (0, 192, 500)
                seen.add((play.name(metric, one).rpartition("/")[2], found[1], metric.value is None))
    assert {("ch4", 0, True), ("ch4", 192, False)} <= seen


@duty(
    "message-flow-edge-node-birth-publish-phid-wait",
    "message-flow-edge-node-birth-publish-phid-wait-id",
    "message-flow-edge-node-birth-publish-phid-wait-online",
    "operational-behavior-edge-node-birth-sequence-wait",
)
def it_waits_for_its_host(play: Play) -> None:
    assert play.said(until="waited") == []
    again = [one for one, _ in play.said(since="left", until="waited again") if verb(one) != "NDEATH"]
    assert again == []


@duty(
    "message-flow-edge-node-birth-publish-phid-wait-timestamp",
    "operational-behavior-edge-node-termination-host-offline-timestamp",
)
def an_older_word_of_the_host_means_nothing(play: Play) -> None:
    assert [verb(one) for one, _ in play.said("NDEATH", since="told", until="found")] == []


@duty(
    "message-flow-edge-node-birth-publish-phid-offline",
    "operational-behavior-edge-node-termination-host-offline",
    "operational-behavior-edge-node-termination-host-offline-reconnect",
    "operational-behavior-edge-node-intentional-disconnect-ndeath",
    "operational-behavior-edge-node-intentional-disconnect-packet",
    "payloads-ndeath-will-message-publisher",
    "payloads-ndeath-will-message-publisher-disconnect-mqtt311",
    "payloads-ndeath-will-message-publisher-disconnect-mqtt50",
)
def it_says_goodbye_and_comes_again(play: Play) -> None:
    assert len(play.connections()) == 2
    for connection in play.connections():
        last = [one for one in play.sent if one.connection == connection and one.kind != mqtt.PINGREQ][-2:]
        assert (verb(last[0]), last[1].kind) == ("NDEATH", mqtt.DISCONNECT)
        assert last[1].reason == (0 if play.settings.version == "3.1.1" else 4)


@duty("operational-behavior-primary-application-state-with-multiple-servers-single-server")
def it_is_connected_once(play: Play) -> None:
    assert play.most == 1


@duty("operational-behavior-device-ddeath")
def a_lost_device_is_told(play: Play) -> None:
    if play.settings.devices:
        said = [verb(one) for one, _ in play.said(since="told", until="found") if one.topic.endswith("/pump")]
        assert said[-3:] == ["DDEATH", "DBIRTH", "DDATA"]
        return
    silent = [payload for _, payload in play.said("NDATA", since="told", until="found")]
    assert any(m.properties.get("Quality") == (Type.INT32, 500) for payload in silent for m in payload.metrics)


@duty("payloads-nbirth-edge-node-descriptor", "topic-structure-namespace-unique-edge-node-descriptor")
def its_name_is_its_own(play: Play) -> None:
    assert {one.topic for one, _ in play.said("NBIRTH")} == {NODE.format("NBIRTH")}


@pytest.mark.parametrize("identifier", DUTIES)
def test_duty(plays: Callable[[str], Play], identifier: str):
    for dialect in DIALECTS:
        DUTIES[identifier](plays(dialect))


def bent(play: Play, change: Callable[[Sent], Sent | None]) -> Play:
    """The same life with some of its packets changed, or (None) left out."""
    sent = [(one, change(one)) for one in play.sent]
    marks = {name: sum(new is not None for _, new in sent[:n]) for name, n in play.marks.items()}
    return dataclasses.replace(play, sent=[new for _, new in sent if new is not None], marks=marks, _known=(0, {}))


def rewritten(kind: str, change: Callable[[Payload], Payload]) -> Callable[[Sent], Sent]:
    """Each message of this kind says something else."""

    def rewrite(one: Sent) -> Sent:
        if one.kind != mqtt.PUBLISH or verb(one) != kind:
            return one
        return one._replace(payload=encode(change(decode(one.payload))))

    return rewrite


def without(name: str) -> Callable[[Payload], Payload]:
    return lambda payload: payload._replace(metrics=[one for one in payload.metrics if one.name != name])


def each(change: Callable[[Metric], Metric]) -> Callable[[Payload], Payload]:
    return lambda payload: payload._replace(metrics=[change(one) for one in payload.metrics])


LIES: dict[str, Callable[[Sent], Sent | None]] = {
    "topics-ddata-topic": lambda one: one._replace(topic=one.topic.replace("/air", "/fire")),
    "message-flow-edge-node-birth-publish-will-message-qos": lambda one: (
        one._replace(qos=0) if one.kind == mqtt.CONNECT else one
    ),
    "principles-persistence-clean-session-50": lambda one: one._replace(clean=False),
    "topics-nbirth-bdseq-matching": rewritten("NBIRTH", without("bdSeq")),
    "topics-ndeath-seq": rewritten("NDEATH", lambda payload: payload._replace(seq=3)),
    "message-flow-edge-node-ncmd-subscribe": lambda one: None if one.topic == NODE.format("NCMD") else one,
    "payloads-dbirth-order": lambda one: None if one.kind == mqtt.PUBLISH and verb(one) == "DBIRTH" else one,
    "topics-ddata-mqtt": lambda one: one._replace(qos=1) if "DDATA" in one.topic else one,
    "payloads-sequence-num-incrementing": rewritten("NDATA", lambda payload: payload._replace(seq=9)),
    "topics-ddata-timestamp": rewritten("DDATA", lambda payload: payload._replace(at=None)),
    "payloads-name-birth-data-requirement": rewritten("DDATA", each(lambda one: one._replace(at=None))),
    "payloads-metric-datatype-req": rewritten("DBIRTH", each(lambda one: one._replace(type=Type.UNKNOWN, value=None))),
    "topics-dbirth-metric-reqs": rewritten("DBIRTH", without("head")),
    "payloads-nbirth-rebirth-req": rewritten("NBIRTH", without("Node Control/Rebirth")),
    "operational-behavior-data-commands-rebirth-action-2": lambda one: (
        None if one.kind == mqtt.PUBLISH and verb(one) == "NBIRTH" and one.payload[-1] == 0 else one
    ),
    "operational-behavior-data-publish-dbirth-order": rewritten(
        "DDATA", each(lambda one: one._replace(historical=False))
    ),
    "payloads-propertyset-quality-value-value": rewritten(
        "DDATA", each(lambda one: one._replace(properties={"Quality": (Type.INT32, 64)}))
    ),
    "operational-behavior-edge-node-intentional-disconnect-packet": lambda one: (
        None if one.kind == mqtt.DISCONNECT else one
    ),
    "operational-behavior-device-ddeath": lambda one: None if "DDEATH" in one.topic else one,
}


@pytest.mark.parametrize("identifier", LIES)
def test_a_duty_that_is_neglected_is_noticed(plays: Callable[[str], Play], identifier: str):
    with pytest.raises((AssertionError, StopIteration, LookupError)):
        DUTIES[identifier](bent(plays("plain"), LIES[identifier]))


# -- what hosts make of it ------------------------------------------------------------------------------


@each_decoder
@pytest.mark.parametrize("dialect", DIALECTS)
def test_others_understand_every_message(plays: Callable[[str], Play], decoder: str, dialect: str):
    play = plays(dialect)
    sent = [one for one, _ in play.said()]
    told = decoded(decoder, [(one.topic, one.payload) for one in sent])
    assert [said for said in told if "error" in said] == []
    known: dict[str, dict[int, str]] = {}
    lost = 0
    for one, said in zip(sent, told, strict=True):
        ours = decode(one.payload)
        numbers = known.setdefault(who(one), {})
        assert len(said["metrics"]) == len(ours.metrics)
        for theirs, mine in zip(said["metrics"], ours.metrics, strict=True):
            if verb(one).endswith("BIRTH") and mine.alias is not None:
                numbers[mine.alias] = mine.name
            name = theirs.get("name") or numbers.get(theirs.get("alias"))
            assert name == play.name(mine, one)
            if decoder == "node" and dialect == "no datatypes" and verb(one).endswith("DATA"):
                lost += theirs["value"] is None  # which is why the switch stands the other way
                continue
            assert theirs["value"] == mine.value
            assert bool(theirs.get("isHistorical")) == mine.historical
    assert bool(lost) == (decoder == "node" and dialect == "no datatypes")


def test_what_waited_for_the_host_comes_as_history_and_the_alarm_as_it_stands(plays: Callable[[str], Play]):
    play = plays("plain")
    metrics = [metric for _, payload in play.said("NDATA", "DDATA", since="waited again") for metric in payload.metrics]
    gas = [(one.value, one.historical) for one in metrics if one.name == "ch4"]
    assert sorted(gas) == [(0.4, True), (0.41, True), (0.5, False)]  # live before backlog
    raised = of(metrics, "Alarms/air/ch4/high")
    assert (raised.value, raised.historical, raised.properties["id"][1]) == ("active-unacked", False, "id-9")


def test_an_alarm_says_all_that_is_to_be_known(plays: Callable[[str], Play]):
    edges = [payload.metrics[0] for _, payload in plays("plain").said("NDATA", since="born", until="told")]
    first, second = [one for one in edges if one.name == "Alarms/air/ch4/high"]
    told = {name: value for name, (_, value) in first.properties.items()}
    assert (first.value, second.value) == ("active-unacked", "returned-unacked")
    assert told.pop("key").endswith("/alarm/1")
    assert json.loads(told.pop("basis")) == {"standard": "AQ 1029-2019", "clause": "4.2"}
    assert told.pop("since") == first.at
    told.pop("synced", None)  # as the clock of this machine is
    assert told == {
        "Quality": 192,
        "id": "id-8",
        "edge": 1,
        "event": "raised",
        "level": "red",
        "value": 1.2,
        "limit": 1.0,
        "unit": "%",
        "text": "too much",
    }
    event = of(edges, "Event")
    assert (event.value, event.properties["kind"][1]) == ("gone", "device-lost")


# -- what no single life shows --------------------------------------------------------------------------


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(sparkplug).failed == 0


def test_it_is_found_by_name():
    assert find("sparkplug") is Sparkplug


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"group": "a/b"}, "group must not"),
        ({"host": "a+"}, "host must not"),
        ({"servers": ["http://x"]}, "url must be"),
        ({"linger": -1}, ">= 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], complaint: str):
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert({"name": "p", "url": "mqtt://host", **settings}, Sparkplug)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def test_bdseq_goes_on_after_a_restart_and_wraps(tmp_path: Path):
    (tmp_path / "bdseq-platform").write_text("254\n")

    async def main() -> None:
        with Mosquitto(tmp_path / "broker") as broker:
            tap = Tap(broker.port)
            await tap.start()
            for _ in range(3):
                async with station(tmp_path, tap.url, Sparkplug, {**SITE, "home": str(tmp_path)}) as here:
                    await until(lambda: "link-up" in here.kinds())
            births = [decode(one.payload) for one in tap.sent if one.kind == mqtt.PUBLISH and verb(one) == "NBIRTH"]
            assert [of(birth.metrics, "bdSeq").value for birth in births] == [255, 0, 1]
            await tap.close()

    run(main())


def test_a_connection_that_never_was_takes_no_bdseq(tmp_path: Path):
    async def main() -> None:
        broker = Mosquitto(tmp_path / "broker")
        async with station(tmp_path, broker.url, Sparkplug, {**SITE, "home": str(tmp_path)}) as here:
            await until(lambda: len(here.faults) >= 3)
            with broker:
                host = Host(broker.port)
                await until(lambda: "link-up" in here.kinds())
                await until(lambda: host.count("NBIRTH"))
                birth = next(m for m in host.ear.messages if "NBIRTH" in m.topic)
                assert of(decode(birth.payload).metrics, "bdSeq").value == 0
                host.ear.close()

    run(main())


@pytest.mark.usefixtures("quick")
def test_of_several_servers_the_one_with_the_host_is_found_and_nothing_is_lost(tmp_path: Path):
    """The first has no host, the second loses it, the first gets it: what was told meanwhile comes there."""

    async def main() -> None:
        with Mosquitto(tmp_path / "one") as one, Mosquitto(tmp_path / "two") as two:
            first, second = Host(one.port), Host(two.port)
            second.state(True, 10)
            settings = {"servers": (two.url,), "host": "scada", "linger": 0.0, "patience": 0.3}
            async with station(tmp_path, one.url, Sparkplug, SITE, **settings) as here:
                await until(lambda: second.count("NBIRTH"))
                assert not first.count("NBIRTH")
                assert first.count("NDEATH")
                here.raised(gas(n=1))
                await until(here.delivered)
                second.state(False, 20)
                await until(lambda: second.count("NDEATH"))
                here.raised(gas(n=2))
                first.state(True, 10)
                await until(lambda: first.count("NBIRTH") and here.delivered())
                first.command(Metric("Node Control/Next Server", Type.BOOLEAN, True))
                await until(lambda: first.count("NDEATH") >= 2)
            ids = [
                [
                    m.properties["id"][1]
                    for h in host.ear.messages
                    if "NDATA" in h.topic
                    for m in decode(h.payload).metrics
                ]
                for host in (second, first)
            ]
            assert ids == [["id-1"], ["id-2"]]
            first.ear.close()
            second.ear.close()

    run(main())


@pytest.mark.usefixtures("quick")
def test_what_was_sent_to_a_host_that_was_gone_unnoticed_is_sent_again(tmp_path: Path):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker") as broker:
            host = Host(broker.port)
            host.state(True, 10)
            async with station(tmp_path, broker.url, Sparkplug, SITE, host="scada", linger=30.0) as here:
                await until(lambda: "link-up" in here.kinds())
                here.raised(gas(n=1))
                poll(here, "air", [0.7])
                await until(lambda: host.count("NDATA") and host.count("DDATA"))
                assert not here.delivered()  # who knows
                host.state(False, 20)
                await until(lambda: "link-down" in here.kinds())
                host.state(True, 30)
                await until(lambda: host.count("NDATA") == 2 and host.count("DDATA") == 2)
                edges = [decode(m.payload).metrics[0] for m in host.ear.messages if "NDATA" in m.topic]
                assert [(m.properties["id"][1], "resent" in m.properties) for m in edges] == [
                    ("id-1", False),
                    ("id-1", True),
                ]
                rows = [decode(m.payload) for m in host.ear.messages if "DDATA" in m.topic]
                assert [[(m.value, m.historical) for m in row.metrics] for row in rows] == [
                    [(0.7, False)],
                    [(0.7, True)],
                ]
                assert rows[0].uuid == rows[1].uuid == f"{here.outbox.boot}/telemetry/air/1"
            host.ear.close()

    run(main())


@pytest.mark.usefixtures("quick")
def test_with_receipts_an_alarm_is_told_until_the_host_says_that_it_has_it(tmp_path: Path):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker") as broker:
            host = Host(broker.port)
            async with station(tmp_path, broker.url, Sparkplug, SITE, receipts=True, receipt_deadline=0.1) as here:
                await until(lambda: "link-up" in here.kinds())
                here.raised(gas(n=1))
                await until(lambda: host.count("NDATA") >= 3)
                edges = [decode(m.payload).metrics[0] for m in host.ear.messages if "NDATA" in m.topic]
                assert [("resent" in edge.properties, edge.historical) for edge in edges[:3]] == [
                    (False, False),
                    (True, False),
                    (True, False),
                ]
                assert not here.delivered()
                key = edges[0].properties["key"][1]
                host.command(Metric("Node Control/Receipt", Type.STRING, f"nonsense\n{key}"))
                await until(here.delivered)
                assert here.kinds()[-2:] == ["receipt-missing", "receipt-recovered"]
            host.ear.close()

    run(main())


def test_a_channel_and_a_point_that_nobody_knew_are_born_before_they_are_told(tmp_path: Path):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker") as broker:
            host = Host(broker.port)
            async with station(tmp_path, broker.url, Sparkplug) as here:
                await until(lambda: "link-up" in here.kinds())
                here.put(1, "tank")
                await until(here.delivered)
                here.put(2, "tank", layout(["a", "c"], ["%", "m"]))
                await until(here.delivered)
                here.raised(gas(n=1))
                await until(here.delivered)
                messages = await heard(host.ear, lambda ms: any("NDATA" in m.topic for m in ms))
                said = [(m.topic.split("/")[2], decode(m.payload)) for m in messages]
                assert [kind for kind, _ in said] == [
                    *("NBIRTH", "DBIRTH", "DDATA"),
                    *("NBIRTH", "DBIRTH", "DDATA"),
                    *("NBIRTH", "DBIRTH", "NDATA"),
                ]
                assert set(values(said[4][1])) == {"a", "b", "c"}
                assert "Alarms/air/ch4/high" in values(said[6][1])
            host.ear.close()

    run(main())


@pytest.mark.usefixtures("quick")
def test_a_device_that_is_silent_for_long_is_told_dead_and_born_when_it_speaks(tmp_path: Path):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker") as broker:
            host = Host(broker.port)
            async with station(tmp_path, broker.url, Sparkplug) as here:
                await until(lambda: "link-up" in here.kinds())
                shy = layout(["a", "b"], stale=0.1)
                here.put(1, "tank", shy)
                await until(lambda: host.count("DDEATH"))
                assert host.count("DBIRTH") == 1
                here.put(2, "tank", shy)
                await until(lambda: host.count("DBIRTH") == 2 and host.count("DDATA") == 2)
                dead = next(m for m in host.ear.messages if "DDEATH" in m.topic)
                assert decode(dead.payload)._replace(at=None) == Payload(None, 3, [])
            host.ear.close()

    run(main())


def test_nothing_is_written_and_whoever_tries_is_told(tmp_path: Path):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker") as broker:
            host = Host(broker.port)
            async with station(tmp_path, broker.url, Sparkplug, SITE) as here:
                await until(lambda: "link-up" in here.kinds())
                host.command(Metric("valve", Type.BOOLEAN, True), to=NODE.format("DCMD") + "/pump")
                host.command(Metric("Properties/Version", Type.STRING, "2"))
                host.ear.client.publish(NODE.format("NCMD"), b"\x0f\xff", 0)
                await until(lambda: here.kinds().count("command-refused") == 3)
            host.ear.close()

    run(main())


def test_a_connection_that_breaks_costs_nothing_and_repeats_nothing_unmarked(tmp_path: Path):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker", more="max_queued_messages 0") as broker:
            host, tap = Host(broker.port), Tap(broker.port)
            await tap.start()
            async with station(tmp_path, tap.url, Sparkplug, SITE) as here:
                await until(lambda: "link-up" in here.kinds())
                for n in range(100):
                    poll(here, "air", [float(n)])
                    if n % 5 == 0:
                        here.raised(gas(n=n))
                    if n % 20 == 10:
                        tap.cut()
                    await asyncio.sleep(0.005)
                await until(here.delivered)
                telemetry, alarms = f"{here.outbox.boot}/telemetry/air/", f"{here.outbox.boot}/alarm/"
                host.state(True, 1)  # a broker keeps the order: with this the ear has all that came before
                said = await heard(host.ear, lambda ms: any("/STATE/" in m.topic for m in ms))
                told = [(m, decode(m.payload)) for m in said if "/STATE/" not in m.topic]
            news: dict[str, int] = {}
            for _, payload in told:
                if payload.uuid:
                    news.setdefault(payload.uuid, 0)
                    news[payload.uuid] += not any(one.historical for one in payload.metrics)
                for one in payload.metrics:
                    if "key" in one.properties:
                        key = one.properties["key"][1]
                        news[key] = news.get(key, 0) + ("resent" not in one.properties)
            assert set(news.values()) <= {0, 1}
            assert {key for key in news if key.startswith(telemetry)} == {f"{telemetry}{n}" for n in range(1, 101)}
            assert {key for key in news if key.startswith(alarms)} == {f"{alarms}{n}" for n in range(1, 21)}
            assert here.kinds().count("link-down") >= 5
            host.ear.close()
            await tap.close()

    run(main())
