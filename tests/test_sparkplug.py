"""The whole agent speaks Sparkplug and is killed: bdSeq goes on, no key is missing, and what comes twice says so."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from agent.uplink.sparkplug_wire import Metric, Payload, decode
from tests.rigs.stage import owing, running, stage, until
from tests.tools.mosquitto import needs_mosquitto
from tests.tools.subscriber import Subscriber

pytestmark = needs_mosquitto


def test_sigkill_loses_no_key_and_repeats_none_unmarked(tmp_path: Path):
    level = [0.5]

    async def main() -> None:
        async with stage(tmp_path, 10, 0.1, lambda: list(level), uplink='kind = "sparkplug"') as (_, _, broker, path):
            with Subscriber(broker.port, "spBv1.0/#") as ear:

                def told() -> list[tuple[str, Payload]]:
                    return [(m.topic.split("/")[2], decode(m.payload)) for m in list(ear.messages)]

                def edges() -> list[Metric]:
                    metrics = (m for verb, p in told() if verb == "NDATA" for m in p.metrics)
                    return [m for m in metrics if m.name == "Alarms/plant/c0/gas"]

                for life in range(3):
                    async with running(path) as agent:
                        n = len(edges())
                        level[0] = 0.5 if level[0] > 1 else 1.5
                        await until(lambda n=n: len(edges()) > n, 20, "an edge")
                        await asyncio.sleep(
                            0.4 + 0.3 * life
                        )  # a raise that the disk has not got is told by the birth only
                        agent.kill()
                        await agent.wait()
                async with running(path):
                    await until(lambda: owing(path) <= 1, 30, "all is delivered")
                    await asyncio.sleep(0.1)

                births = [p for verb, p in told() if verb == "NBIRTH"]
                numbers = [next(m.value for m in p.metrics if m.name == "bdSeq") for p in births]
                assert list(dict.fromkeys(numbers)) == [0, 1, 2, 3]
                news: Counter[str] = Counter()
                for verb, payload in told():
                    for m in payload.metrics if verb == "NDATA" else ():
                        if "key" in m.properties:
                            news[m.properties["key"][1]] += "resent" not in m.properties
                    if payload.uuid and "#" not in payload.uuid:
                        news[payload.uuid] += not any(m.historical for m in payload.metrics)
                assert max(news.values()) == 1
                seen: dict[str, set[int]] = {}
                for key in news:
                    stream, _, seq = key.rpartition("/")
                    seen.setdefault(stream, set()).add(int(seq))
                assert sum(stream.endswith("telemetry/plant") for stream in seen) >= 3
                assert sum(stream.endswith("/alarm") for stream in seen) >= 3
                holes = {stream: set(range(1, max(found))) - found for stream, found in seen.items()}
                assert {stream: missing for stream, missing in holes.items() if missing} == {}

    asyncio.run(asyncio.wait_for(main(), 120))
