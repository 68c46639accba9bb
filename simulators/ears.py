"""Who listens to a fleet: consumers of its broker that count by id and number, and know nothing of the agent.

Each consumer is a client of its own (paho, its own thread). One hears everything, and its session outlives a broken
connection; several share a subscription (`$share/GROUP/...`), so that each message goes to one of them, and start
clean: a session that outlives its consumer goes on being dealt its share. Where an alarm asks for a receipt, the
consumer that has it gives it, after it has kept it.

As a program (`python -m simulators.ears`) it gets an `Order` as one line of JSON on the standard input, says `Heard`
once it listens, and answers further lines: `count` with `Heard`, `tell` with `Told`. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from .modbus import LEDGER

SESSION = 3600  # s that the broker keeps what a consumer has not heard
SYS = "$SYS/broker/#"
LANES = ("alarm", "event", "telemetry", "backfill")


class Order(Struct, frozen=True, kw_only=True):
    """Whom to listen to."""

    host: str
    port: int
    topics: tuple[str, ...] = ("vedette/#",)
    consumers: int = 1
    group: str = ""  # of a shared subscription; empty: none


class Heard(Struct, frozen=True, kw_only=True):
    """Counts so far, over all consumers."""

    messages: int = 0  # of gateways, without what is wiped
    repeated: int = 0  # came again and were marked so
    twice: int = 0  # came again and were not
    redelivered: int = 0  # came again from the broker, which says so (DUP): it did not get the ear's PUBACK
    strange: int = 0  # could not be read
    by_consumer: list[int] = []  # messages
    delays: list[float] = []  # s from decision to arrival of alarms that were not repeated, since the last count
    broker: dict[str, str] = {}  # what it says of itself, by topic below $SYS/broker


class Told(Struct, frozen=True):
    """What arrived, by gateway (`site/node`)."""

    alarms: dict[str, list[str]]  # id/edge
    readings: dict[str, list[int]]  # numbers


class Count:
    """All that arrived at all consumers; several threads add to it."""

    def __init__(self) -> None:
        self.alarms: dict[str, set[str]] = {}
        self.readings: dict[str, set[int]] = {}
        self.messages = self.repeated = self.twice = self.redelivered = self.strange = 0
        self.delays: list[float] = []
        self.broker: dict[str, str] = {}
        self._known: set[tuple[str, str, str, int]] = set()  # gateway, boot, stream, seq
        self._lock = threading.Lock()

    def take(self, topic: str, payload: bytes, arrived: float, again: bool = False) -> dict[str, Any] | None:
        """Keep one message; `arrived` is s UTC, `again` what the broker says. Gives its body if it is of a stream."""
        if topic.startswith("$SYS/"):
            self.broker[topic.removeprefix("$SYS/broker/")] = payload.decode(errors="replace")
            return None
        if not payload:
            return None
        levels = topic.split("/")
        with self._lock:
            try:
                if levels[3] not in LANES:
                    return None  # a state has no number
                body: dict[str, Any] = json.loads(payload)
                gateway = f"{levels[1]}/{levels[2]}"
                key = (gateway, str(body["boot"]), str(body["stream"]), int(body["seq"]))
                self.messages += 1
                if key in self._known:
                    marked = bool(body.get("resent"))
                    self.repeated += marked
                    self.redelivered += again and not marked
                    self.twice += not again and not marked
                    return body
                self._known.add(key)
                if levels[3] == "alarm":
                    self.alarms.setdefault(gateway, set()).add(f"{body['id']}/{body['edge']}")
                    if not body.get("resent"):
                        self.delays.append(arrived - body["at"] / 1000.0)
                elif "value" in body and LEDGER in body["key"]:
                    column = body["key"].index(LEDGER)
                    self.readings.setdefault(gateway, set()).update(int(row[column]) for row in body["value"])
                return body
            except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                self.strange += 1
                return None

    def heard(self, consumers: Sequence[Consumer]) -> Heard:
        with self._lock:
            delays, self.delays = self.delays, []
            return Heard(
                messages=self.messages,
                repeated=self.repeated,
                twice=self.twice,
                redelivered=self.redelivered,
                strange=self.strange,
                by_consumer=[consumer.messages for consumer in consumers],
                delays=delays,
                broker=dict(self.broker),
            )

    def told(self) -> Told:
        with self._lock:
            alarms = {gateway: sorted(edges) for gateway, edges in self.alarms.items()}
            return Told(alarms, {gateway: sorted(numbers) for gateway, numbers in self.readings.items()})


class Consumer:
    """One client. `topics` are filters, `session` s that the broker keeps for it; connects again by itself."""

    def __init__(self, count: Count, host: str, port: int, topics: Sequence[str], session: int = SESSION) -> None:
        self.count, self.topics = count, [(topic, SubscribeOptions(qos=1)) for topic in topics]
        self.messages = 0
        self.mute = False  # takes messages and does nothing with them: it is about to die
        self.unheard = 0  # messages of alarms that it took so
        self.listens = threading.Event()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"ear-{secrets.token_hex(4)}",
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
        )
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self.listens.set()
        self.client.on_message = self._on_message
        stays = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        stays.SessionExpiryInterval = session
        self.client.connect(host, port, clean_start=not session, properties=stays)
        self.client.loop_start()

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe(self.topics)

    def _on_message(self, client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        if self.mute:
            self.unheard += "/alarm/" in message.topic
            return
        if message.retain and not message.topic.startswith("$SYS/"):
            return  # it was told before
        payload = bytes(message.payload)
        body = self.count.take(message.topic, payload, time.time(), message.dup)
        self.messages += body is not None
        answer = getattr(message.properties, "ResponseTopic", "")
        if body is not None and answer:  # it is kept: only now may its gateway forget it
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = getattr(message.properties, "CorrelationData", b"")
            receipt = json.dumps({key: body[key] for key in ("boot", "stream", "seq")})
            client.publish(answer, receipt, 1, properties=properties)
        client.ack(message.mid, message.qos)

    def vanish(self) -> None:
        """Break the connection without a word, as a process does that dies."""
        self.mute = True
        self.client.loop_stop()
        if (sock := self.client.socket()) is not None:
            sock.close()

    def close(self) -> None:
        """Leave, and let the session go."""
        ends = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
        ends.SessionExpiryInterval = 0
        self.client.disconnect(properties=ends)
        self.client.loop_stop()


def listen(order: Order, count: Count) -> list[Consumer]:
    """All consumers, listening. Raises `OSError` or `TimeoutError`. The first hears what the broker says of itself."""
    prefix = f"$share/{order.group}/" if order.group else ""
    consumers = []
    for k in range(order.consumers):
        topics = [prefix + topic for topic in order.topics] + ([SYS] if k == 0 else [])
        consumers.append(Consumer(count, order.host, order.port, topics, 0 if order.group else SESSION))
    for consumer in consumers:
        if not consumer.listens.wait(10.0):
            raise TimeoutError("the broker does not let the ears listen")
    return consumers


async def serve() -> None:
    """Obey what comes on the standard input until it ends."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    order = msgspec.json.decode(await lines.readline(), type=Order)
    count = Count()
    consumers = await asyncio.to_thread(listen, order, count)
    say(count.heard(consumers))
    while line := (await lines.readline()).strip():
        match line:
            case b"count":
                say(count.heard(consumers))
            case b"tell":
                say(count.told())
    for consumer in consumers:
        await asyncio.to_thread(consumer.close)


def say(what: Struct) -> None:
    print(msgspec.json.encode(what).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
