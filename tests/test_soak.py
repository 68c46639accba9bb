"""The judge of the soak: what is flat, what is not, and what nobody can say yet. The soak itself takes an hour."""

import math
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.bench.soak import GOALS, REST, Drift, Sample, World, drift, is_flat, look, rests, unheard
from tests.bench.stage import MEMORY
from tests.tools.mosquitto import needs_mosquitto
from tests.tools.subscriber import Subscriber


def hour(grow=0.0, noise=0.2, cycle=300.0, minutes=60, warm=3.0, fds=lambda cycle: 31, seed=1):
    """Samples as of an hour: a start that takes `warm` MB, a burst in each cycle, noise, and `grow` MB/h."""
    rng, found = random.Random(seed), []
    for i in range(int(minutes * 6)):
        seconds = 10.0 * i
        n = int(seconds / cycle)
        phase = seconds / cycle - n
        rss = 90 - warm * math.exp(-seconds / 240) + grow * seconds / 3600 + rng.gauss(0, noise)
        rss += 12.0 if 0.2 < phase < 0.5 else 0.0  # what waits while the broker is away
        found.append(
            Sample(seconds, n, phase, rss, rss - 30, rss - 20, fds(n) + (phase < REST) * rng.randint(0, 5), 13, 0, 1, 9)
        )
    return found


def verdicts(samples):
    return {what: is_flat(drift(rests(samples, what)), goal) for what, goal in GOALS.items()}


def test_an_hour_that_is_flat_is_called_flat_whatever_comes_and_goes_in_it():
    assert all(all(verdicts(hour(seed=seed)).values()) for seed in range(20))


@pytest.mark.parametrize("grow", [4.0, 36.0])
def test_a_leak_is_none_that_is_flat(grow):
    """36 MB/h is 1 kB for each of ten frames a second."""
    for seed in range(20):
        samples = hour(grow, seed=seed)
        assert not verdicts(samples)["rss"]
        found = drift(rests(samples, "rss"))
        assert found.low <= found.slope <= found.high
        assert found.slope == pytest.approx(grow, abs=1.5)


def test_a_descriptor_for_each_connection_is_no_flat_count():
    found = verdicts(hour(fds=lambda cycle: 31 + 4 * cycle))
    assert [what for what, flat in found.items() if not flat] == ["descriptors"]


def test_too_little_is_not_called_flat():
    assert not any(verdicts(hour(minutes=35)).values())  # two cycles after the warm-up
    assert drift([]).high == math.inf
    assert drift([(0, 1), (1, 1), (2, 1)]) == Drift(0.0, -math.inf, math.inf)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = random.Random(7), 0
    for _ in range(400):
        found = drift([(i / 12, 50 + 2.0 * i / 12 + rng.gauss(0, 0.3)) for i in range(10)])
        hits += found.low <= 2.0 <= found.high
    assert 0.92 <= hits / 400 <= 1.0


def test_the_kernel_is_asked_of_a_process(tmp_path):
    (tmp_path / "alarms.db").write_bytes(bytes(1_000_000))
    seen = look(os.getpid(), tmp_path, 1.0, 0, 0.5)
    assert seen.disk == pytest.approx(1.0)
    assert 5 < seen.pss <= seen.rss < 3000
    assert 1 < seen.own < seen.rss
    assert 0.1 < seen.heap < seen.own
    assert seen.threads >= 1
    with open(tmp_path / "f", "w"):
        assert look(os.getpid(), tmp_path, 1.0, 0, 0.5).descriptors == seen.descriptors + 1


def test_the_agent_is_soaked_as_its_unit_runs_it():
    unit = (Path(__file__).parents[1] / "systemd" / "vedette.service").read_text()
    said = " ".join(line.removeprefix("Environment=") for line in unit.splitlines() if line.startswith("Environment="))
    assert {f"{name}={value}" for name, value in MEMORY.items()} <= set(said.split())


@needs_mosquitto
def test_what_was_told_before_the_ear_was_back_is_heard_and_a_killed_broker_forgets_all_else(tmp_path: Path):
    world = World(tmp_path, print)
    world.broker.start()
    trust = world.authority.context()
    topic = "vedette/soak/gw1/alarm/red/d0/c1/gas"
    try:
        with world.listen() as ear:
            for n in range(2):
                with Subscriber(world.broker.port, "none", tls=trust) as agent:
                    agent.client.publish(topic, b"stands", 1, retain=True).wait_for_publish(5)
                ear.client.loop_stop()
                world.broker.stop(kill=True)
                world.broker.start()
                with Subscriber(world.broker.port, "vedette/#", tls=trust) as agent:
                    agent.client.publish(topic, b"over %d" % n, 1).wait_for_publish(5)
                    assert [one.payload for one in agent.wait(len)] == [b"over %d" % n]  # nothing is retained any more
                ear.client.loop_start()
                ear.wait(lambda heard, n=n: heard and heard[-1].payload == b"over %d" % n, 5)
    finally:
        world.broker.stop(kill=True)


def test_a_hazard_that_was_raised_twice_stands_in_for_no_other():
    hazards = ["d0/c0", "d0/c1", "d0/c2", "d0/c0", "d0/c3"]
    all_of_them = Counter(hazards[:4])
    assert unheard(hazards, all_of_them, all_of_them) == []  # the last came too late
    assert unheard(hazards, all_of_them, Counter({"d0/c0": 3, "d0/c1": 1})) == ["d0/c2 (raised, not heard)"]
    assert unheard(hazards, Counter({"d0/c0": 1}), Counter({"d0/c0": 1})) == [
        "d0/c0 (not raised)",
        "d0/c1 (not raised)",
        "d0/c2 (not raised)",
    ]
