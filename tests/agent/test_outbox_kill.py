"""SIGKILL at any instant: no accepted alarm is lost, no stream has a hole, whatever comes twice is marked."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.mosquitto import Mosquitto, needs_mosquitto
from tests.tools.subscriber import Heard, Subscriber

KILLS = 50


class Nursery:
    """`tests/tools/nursery.py` as a process."""

    def __init__(self, folder: Path, url: str) -> None:
        command = [sys.executable, "-m", "tests.tools.nursery", str(folder), url]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.accepted: list[str] = []
        self.told: list[str] = []
        self._until("ready")

    def bear(self, verb: str) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{verb}\n")
        self.process.stdin.flush()
        return int(self._until("born"))

    def buried(self) -> None:
        self._until("gone")

    def _until(self, word: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            first, _, rest = line.strip().partition(" ")
            if first == "alarm":
                self.accepted.append(rest)
            elif first == "told":
                self.told.append(rest)
            elif first == word:
                return rest
        raise AssertionError(f"the nursery ended before it said {word}")

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", more="max_queued_messages 0\nmax_inflight_messages 0") as broker:
        yield broker


@needs_mosquitto
def test_fifty_kills_at_load_lose_nothing_and_mark_what_comes_twice(tmp_path: Path, broker: Mosquitto):
    moments = random.Random(2)
    with Subscriber(broker.port) as ear:
        nursery = Nursery(tmp_path / "state", broker.url)
        for _ in range(KILLS):
            pid = nursery.bear(moments.choice(["write", "hoard"]))
            time.sleep(moments.choice([0.02, 0.3]) * moments.random() + moments.choice([0.0, 0.12]))
            os.kill(pid, signal.SIGKILL)
            nursery.buried()
        nursery.bear("drain")
        nursery.buried()
        nursery.close()
        heard = ear.wait(lambda ms: {m.body["id"] for m in ms if "/alarm/" in m.topic} >= set(nursery.accepted))
    marks = [m.body.get("resent", False) + 2 * m.body.get("historical", False) for m in heard if m.payload]
    assert set(marks) == {0, 1, 2, 3}  # live and backlog, new and again: else something was not tried
    assert nursery.told == []
    assert len(nursery.accepted) > KILLS  # else nothing was under load
    check(heard)


def check(heard: list[Heard]) -> None:
    """No hole, order kept, and only marked messages twice, in each stream of each boot."""
    seen: dict[tuple[str, str], list[int]] = {}
    for message in heard:
        if "/state" in message.topic or not message.payload:
            continue
        body = message.body
        seqs = seen.setdefault((body["boot"], body["stream"]), [])
        if body["seq"] in seqs:
            assert body.get("resent"), f"{message.topic} {body['boot']}/{body['seq']} came twice, unmarked"
            continue
        if not (body.get("resent") or body.get("historical")):
            assert body["seq"] > max(seqs, default=0), f"{message.topic} {body['seq']} after {seqs[-1]}"
        seqs.append(body["seq"])
    assert seen
    for stream, seqs in seen.items():
        assert sorted(seqs) == list(range(1, len(seqs) + 1)), f"hole in {stream}"
