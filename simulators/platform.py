"""The supervision platform's console: everything that arrives, kept for the count and told in lines.

`Platform` is the record and does no I/O. `Console` is an MQTT client (paho, its own thread) that feeds
a record and prints one line for each alarm and event, in colour on a terminal. It gives a receipt for each alarm
edge that asks for one, after it was kept.

What arrives is described in `design.md` 6 and in `agent/uplink/mqtt.py`. A message that was sent twice
and says so (`resent`) is not a fault; one that does not say so is.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as mqtt
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from .modbus import LEDGER

TOPICS = "vedette/#"


class Edge(Struct, frozen=True):
    """One edge of an alarm, as it arrived."""

    id: str
    edge: int
    event: str  # raised, cleared, acknowledged
    level: str
    channel: str
    rule: str
    value: float | None
    limit: float | None
    unit: str
    text: str
    at: float  # s UTC, when the agent decided it
    arrived: float  # monotonic s
    historical: bool = False
    resent: bool = False


class Reading(Struct, frozen=True):
    """One row of telemetry that carried a ledger number."""

    number: int
    arrived: float  # monotonic s
    historical: bool
    resent: bool


class Platform:
    """All that arrived.

    `edges` in the order of arrival; `readings` by source. `repeated` counts messages that came again
    and were marked so; `twice` those that were not marked; `strange` those that do not parse.
    """

    def __init__(self) -> None:
        self.edges: list[Edge] = []
        self.events: list[dict[str, Any]] = []
        self.readings: dict[str, list[Reading]] = {}
        self.state: dict[str, Any] = {}
        self.messages = self.repeated = self.twice = self.strange = 0
        self._known: set[tuple[str, str, int]] = set()  # boot, stream, seq
        self._last: dict[tuple[str, str], list[int]] = {}

    def take(self, topic: str, payload: bytes, arrived: float) -> Edge | dict[str, Any] | None:
        """Keep one message; gives what is worth a line: a new alarm edge, an event, a changed state."""
        if not payload:
            return None  # a retained alarm is wiped: its cleared edge was told on the same topic before
        self.messages += 1
        try:
            message = json.loads(payload)
            kind = topic.split("/")[3]
            if kind == "state":
                self.state = message
                return {"kind": "state", **message}
            if kind == "cmd" and not topic.endswith("/ack"):
                return None  # what somebody says to the node
            if kind not in ("alarm", "event", "evidence", "cmd", "telemetry", "backfill"):
                raise ValueError(kind)
            if not self._is_new(message):
                return None
            if kind == "alarm":
                edge = _edge(message, arrived)
                self.edges.append(edge)
                return edge
            if kind in ("event", "evidence", "cmd"):
                self.events.append(message)
                return {**message, "arrived": arrived}
            self._telemetry(str(message["stream"]).partition("/")[2], message, arrived)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            self.strange += 1
        return None

    def _is_new(self, message: dict[str, Any]) -> bool:
        """Whether this (boot, stream, seq) is the first. An unmarked repetition counts as twice, and is new."""
        key = (str(message["boot"]), str(message["stream"]), int(message["seq"]))
        if key not in self._known:
            self._known.add(key)
            self._last.setdefault(key[:2], []).append(key[2])
            return True
        if message.get("resent"):
            self.repeated += 1
            return False
        self.twice += 1
        return True

    def _telemetry(self, source: str, message: dict[str, Any], arrived: float) -> None:
        if LEDGER not in message["key"]:
            return
        column = message["key"].index(LEDGER)
        marks = bool(message.get("historical")), bool(message.get("resent"))
        for row in message["value"]:
            if row[column] is not None:  # a source that is only said to be offline has no readings
                self.readings.setdefault(source, []).append(Reading(int(row[column]), arrived, *marks))

    def missing(self) -> int:
        """How many numbers are absent between 1 and the last, over all streams and boots."""
        return sum(max(seqs) - len(set(seqs)) for seqs in self._last.values())


def _edge(message: dict[str, Any], arrived: float) -> Edge:
    return Edge(
        id=str(message["id"]),
        edge=int(message["edge"]),
        event=str(message["event"]),
        level=str(message["level"]),
        channel=str(message["channel"]),
        rule=str(message["rule"]),
        value=message.get("value"),
        limit=message.get("limit"),
        unit=str(message.get("unit") or ""),
        text=str(message.get("text") or ""),
        at=float(message["at"]) / 1000.0,
        arrived=arrived,
        historical=bool(message.get("historical")),
        resent=bool(message.get("resent")),
    )


# -- lines for people -----------------------------------------------------------------------------

HELD = 2.0  # s from decision to arrival after which a line says how old it is

INK = {"red": "1;31", "orange": "38;5;208", "yellow": "33", "blue": "34", "green": "32", "dim": "2", "bold": "1"}


class Ink(Struct, frozen=True):
    """Colour where there is a terminal, nothing on a pipe."""

    on: bool = False

    def __call__(self, colour: str, text: str) -> str:
        return f"\x1b[{INK[colour]}m{text}\x1b[0m" if self.on and colour in INK else text


def alarm_line(edge: Edge, ink: Ink, held: float = 0.0) -> str:
    """One alarm edge as a line; `held` s passed between decision and arrival.

    >>> alarm_line(Edge("b-1", 1, "raised", "red", "s/l", "flood", 3.21, 3.2, "m", "s/l at 3.21 m", 0, 0), Ink())
    'RED     raised   s/l at 3.21 m'
    """
    shown = {"cleared": "green"} | dict.fromkeys(("raised", "level-up", "level-down"), edge.level)
    colour = shown.get(edge.event, "dim")
    ago = ink("dim", f"[{held:.0f} s ago] ") if held >= HELD else ""
    return f"{ink(colour, f'{edge.level.upper():7} {edge.event:8}')} {ago}{edge.text}"


def event_line(event: dict[str, Any], ink: Ink) -> str:
    """One event or state as a line."""
    if event.get("kind") == "state":
        return ink("dim", f"state   {event.get('state', '?')}")
    return ink("dim", f"event   {event.get('text') or event.get('kind', '?')}")


class Console:
    """An MQTT client that feeds a `Platform` on the event loop and hands lines to `say`."""

    def __init__(self, platform: Platform, say: Callable[[Edge | dict[str, Any]], None], topics: str = TOPICS) -> None:
        self.platform, self.say, self.topics = platform, say, topics
        self.connected = asyncio.Event()
        self._client: mqtt.Client | None = None

    async def start(self, host: str, port: int, name: str = "") -> None:
        """Connect and subscribe; returns once the subscription stands. Raises `OSError`, `TimeoutError`."""
        loop = asyncio.get_running_loop()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)

        def on_connect(client: mqtt.Client, *_: Any) -> None:
            client.subscribe(self.topics, options=SubscribeOptions(qos=1, noLocal=True))  # not its own receipts

        def on_subscribe(*_: Any) -> None:
            loop.call_soon_threadsafe(self.connected.set)

        def on_message(_: mqtt.Client, __: Any, message: mqtt.MQTTMessage) -> None:
            # Retained: left by an earlier run at a real broker. This console is there before its agent.
            if not message.retain:
                loop.call_soon_threadsafe(self._take, message, time.monotonic())

        client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
        self._client = client
        await asyncio.to_thread(client.connect, host, port, 30)
        client.loop_start()
        async with asyncio.timeout(10.0):
            await self.connected.wait()

    async def stop(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            await asyncio.to_thread(self._client.loop_stop)
            self._client = None

    def _take(self, message: mqtt.MQTTMessage, arrived: float) -> None:
        payload = bytes(message.payload)
        told = self.platform.take(message.topic, payload, arrived)
        if told is not None:
            self.say(told)
        if answer := getattr(message.properties, "ResponseTopic", ""):
            self._receipt(answer, payload, getattr(message.properties, "CorrelationData", b""))

    def _receipt(self, topic: str, payload: bytes, correlation: bytes) -> None:
        """Say that an alarm edge is kept; for a repetition too: the receipt may have been lost."""
        try:
            edge = json.loads(payload)
            body = json.dumps({key: edge[key] for key in ("boot", "stream", "seq")})
        except (ValueError, KeyError, TypeError):
            return  # counted as strange
        if self._client is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = correlation
            self._client.publish(topic, body, 1, properties=properties)


class Count(Struct, frozen=True):
    """Readings of one device: what its ledger says against what arrived."""

    device: str
    served: int
    received: int  # of the served ones
    lost: int
    duplicated: int  # came again without being marked
    resent: int  # came again and marked so
    invented: int  # arrived and never served


def count(device: str, served: Sequence[int], readings: Sequence[Reading]) -> Count:
    """Set arithmetic between one ledger and what arrived.

    >>> r = [Reading(n, 0.0, False, False) for n in (1, 2, 2, 9)]
    >>> count("d", [1, 2, 3], r)
    Count(device='d', served=3, received=2, lost=1, duplicated=1, resent=0, invented=1)
    """
    there = set(served)
    came: dict[int, int] = {}
    resent = duplicated = 0
    for reading in readings:
        if reading.number in came:
            if reading.resent:
                resent += 1
            else:
                duplicated += 1
        came[reading.number] = came.get(reading.number, 0) + 1
    return Count(
        device=device,
        served=len(there),
        received=len(there & came.keys()),
        lost=len(there - came.keys()),
        duplicated=duplicated,
        resent=resent,
        invented=len(came.keys() - there),
    )
