"""A small fleet against mosquitto: what is made arrives, through an outage and through consumers that die."""

from __future__ import annotations

import asyncio
import doctest
import re
from pathlib import Path

import msgspec
import pytest

from agent import cli, config
from simulators import crowd, ears, fleet, mosquitto
from tests.tools.mosquitto import Mosquitto, needs_mosquitto
from tests.tools.station import until

ROOT = Path(__file__).parents[2]


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(fleet).failed == 0


@pytest.mark.parametrize("name", ["SCALING.md", "SCALING.zh-CN.md"])
def test_the_uplink_of_the_page_loads_at_the_site_of_the_readme(tmp_path: Path, name: str):
    site, uplink = (
        re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(), re.S)[0] for page in ("README.md", name)
    )
    (tmp_path / "site.toml").write_text(site + uplink.replace('"platform"', '"fleet"'))
    found = {one.name: one for one in config.load(tmp_path / "site.toml").uplinks}["fleet"]
    assert found.spread == 300


def test_what_cannot_be_simulated_is_told_at_once(capsys: pytest.CaptureFixture[str]):
    words = ["--gateways", "0", "--rate", "0", "--broker", "http://x", "--outage", "3"]
    assert cli.main(["simulate", "fleet", *words]) == cli.CONFIG
    said = capsys.readouterr().err
    assert all(word in said for word in ("--gateways", "--rate", "--broker", "--outage")), said


@needs_mosquitto
def test_twenty_gateways_lose_nothing_in_an_outage_and_the_table_says_what_they_cost(tmp_path: Path):
    few = fleet.Fleet(gateways=20, seconds=1.0, rate=2.0, alarms=30.0, outage=2.0, store=str(tmp_path))
    row = asyncio.run(fleet.measure(few, 20, few.outage, tmp_path, lambda _: None))
    assert row.alarms > 40
    assert row.readings > 100
    assert (row.lost_alarms, row.lost_readings, row.twice) == (0, 0, 0)
    assert row.cpu > 0
    assert 100 < row.sent / row.messages < 2000  # bytes of a message
    assert row.wire > row.sent + row.received
    assert row.broker_cpu is not None
    assert row.storm is not None
    assert sum(row.storm.per_second) >= 20
    assert row.storm.all_up < fleet.PATIENCE
    assert row.storm.drained < fleet.PATIENCE
    assert any("0 lost" in line for line in fleet.table(few, [row]))


@needs_mosquitto
def test_a_broker_that_is_named_is_used_and_alarms_wait_for_receipts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = [
        "--gateways",
        "2",
        "--seconds",
        "1",
        "--rate",
        "5",
        "--alarms",
        "60",
        "--receipts",
        "--store",
        str(tmp_path),
    ]
    with Mosquitto(tmp_path / "broker", more="sys_interval 1") as broker:
        assert cli.main(["simulate", "fleet", "--json", *words, "--broker", broker.url]) == 0
    (row,) = msgspec.json.decode(capsys.readouterr().out, type=list[fleet.Row])
    assert row.broker_cpu is None  # it is not ours to look into
    assert row.alarms > 2
    assert (row.lost_alarms, row.lost_readings, row.twice, row.repeated) == (0, 0, 0, 0)
    assert row.received / row.messages > 20  # receipts
    assert cli.main(["simulate", "fleet", *words, "--broker", broker.url]) == cli.UNAVAILABLE
    assert "does the broker run there" in capsys.readouterr().err


def test_what_does_not_arrive_is_counted_as_lost_and_what_comes_twice_as_unmarked():
    count = ears.Count()
    body = {"boot": "1", "stream": "alarm", "seq": 1, "id": "a", "edge": 1, "at": 0}
    for again, told in ((False, body), (False, body), (True, body), (False, {**body, "resent": True})):
        count.take("vedette/s/g/alarm/red/x/y", msgspec.json.encode(told), 1.0, again)
    count.take("vedette/s/h/alarm/red/x/y", msgspec.json.encode(body), 1.0)  # boots of two nodes may be called the same
    assert (count.messages, count.twice, count.redelivered, count.repeated) == (5, 1, 1, 1)
    made = crowd.Ledger({"s/g": ["a/1", "a/2"], "s/h": ["a/1"]}, {"s/g": 2})
    assert fleet.missing(made, count.told()) == (1, 2)


@needs_mosquitto
@pytest.mark.parametrize("receipts", [True, False], ids=["receipts", "no-receipts"])
def test_of_two_consumers_that_share_a_subscription_one_dies(tmp_path: Path, receipts: bool):
    """With receipts no alarm is lost; without them those that it took and did not keep are, as far as anybody sees."""

    async def main() -> tuple[int, ears.Heard]:
        broker = mosquitto.Mosquitto(tmp_path / "broker")
        await broker.start()
        order = crowd.Order(
            url=broker.url, folder=str(tmp_path), gateways=4, rate=1.0, alarms=120.0, receipts=receipts, spread=0.0
        )
        people = crowd.Crowd(order)
        for gateway in people.gateways:
            gateway.receipt_deadline = 0.5
        count = ears.Count()
        group = ears.Order(host="127.0.0.1", port=broker.port, consumers=2, group="bridge")
        dying, living = await asyncio.to_thread(ears.listen, group, count)
        try:
            await people.start()
            await until(lambda: dying.messages > 4 and living.messages > 4)
            dying.mute = True  # from now on it takes messages, keeps none, answers none
            await until(lambda: dying.unheard > 2)
            await asyncio.to_thread(dying.vanish)
            people.calm()
            await until(lambda: not people.figures().waiting)
            if receipts:
                await until(lambda: not fleet.missing(people.ledger(), count.told())[0])
            return fleet.missing(people.ledger(), count.told())[0], count.heard([dying, living])
        finally:
            await people.stop()
            await asyncio.to_thread(living.close)
            await broker.stop()

    lost, heard = asyncio.run(main())
    assert heard.twice == 0
    assert (lost == 0) if receipts else (lost > 0)
