"""An independent ear at the broker: paho with its own thread, everything that arrives in a list."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


class Heard(NamedTuple):
    topic: str
    payload: bytes
    retained: bool  # it was there before this ear listened
    mono: float  # s

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.payload)  # type: ignore[no-any-return]


class Subscriber:
    """Listens from construction (it waits for the SUBACK) until `close`; connects again by itself."""

    def __init__(
        self,
        port: int,
        topic: str = "#",
        user: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
        session: str = "",  # client id of one that the broker keeps while this ear is away
    ) -> None:
        self.messages: list[Heard] = []
        self._news = threading.Condition()
        self._subscribed = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, session, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.reconnect_delay_set(1, 1)
        if user:
            self.client.username_pw_set(user, password)
        if tls is not None:
            self.client.tls_set_context(tls)
        self.client.on_connect = lambda _, __, flags, *___: flags.session_present or self.client.subscribe(topic, 1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._on_message
        expiry = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        expiry.SessionExpiryInterval = 0xFFFFFFFF if session else 0  # s; so many are for ever
        self.client.connect("127.0.0.1", port, clean_start=not session, properties=expiry)
        self.client.loop_start()
        assert self._subscribed.wait(10), "no SUBACK"

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        with self._news:
            heard = Heard(message.topic, bytes(message.payload), message.retain, time.monotonic())
            if message.dup and any(one[:2] == heard[:2] for one in self.messages[-1000:]):
                return  # the broker says it twice to a session that it keeps: nobody sent it twice
            self.messages.append(heard)
            self._news.notify_all()

    def wait(self, enough: Callable[[list[Heard]], Any], seconds: float = 30.0) -> list[Heard]:
        """All that was heard, as soon as `enough` says so. Blocks; fails after `seconds`."""
        with self._news:
            assert self._news.wait_for(lambda: enough(self.messages), seconds), (
                f"not heard within {seconds} s; heard {len(self.messages)}: {[m.topic for m in self.messages[-5:]]}"
            )
            return list(self.messages)

    def on(self, part: str) -> list[Heard]:
        """What was heard on topics with `part` in their name, without empty messages."""
        with self._news:
            return [m for m in self.messages if f"/{part}" in m.topic and m.payload]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
