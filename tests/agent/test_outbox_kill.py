"""SIGKILL at any instant: no accepted alarm is lost, no stream has a hole, whatever comes twice is marked.

A few kills only, so that every commit has met some; T1 of the scoreboard has the other thousand.
"""

from __future__ import annotations

import random
from pathlib import Path

from tests.rigs.stage import Streams
from tests.tools.mosquitto import Mosquitto, needs_mosquitto
from tests.tools.nursery import Nursery
from tests.tools.subscriber import Heard, Subscriber

KILLS = 10
PATIENT = "max_queued_messages 0\nmax_inflight_messages 0"  # the broker drops nothing for a slow ear


@needs_mosquitto
def test_ten_kills_at_load_lose_nothing_and_mark_what_comes_twice(tmp_path: Path):
    with Mosquitto(tmp_path / "broker", more=PATIENT) as broker, Subscriber(broker.port) as ear:
        with Nursery(tmp_path / "state", broker.url) as nursery:
            nursery.kill(KILLS, random.Random(2))
            nursery.drain()
        heard = ear.wait(lambda ms: {m.body["id"] for m in ms if "/alarm/" in m.topic} >= set(nursery.accepted))
    assert nursery.told == []
    assert len(nursery.accepted) > KILLS  # else nothing was under load
    check(heard)


def check(heard: list[Heard]) -> None:
    """No hole, order kept, and only marked messages twice, in each stream of each boot."""
    streams = Streams(heard)
    assert streams.keys
    assert (streams.holes(), streams.unmarked, streams.disorder) == ([], 0, 0)
