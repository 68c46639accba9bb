"""What a neighbour says, as columns; and who may say it, by the broker that ships as an example."""

from __future__ import annotations

import asyncio
import doctest
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agent import checks, tls
from agent.clock import SystemClock
from agent.config import load
from agent.core.alarm import Alarm
from agent.core.core import Core
from agent.core.errors import ConfigFault, LineLost
from agent.core.frame import Frame, Instant, Quality, frame, layout
from agent.core.ports import Event
from agent.core.rules import Feedback, High, Item, Vote
from agent.uplink.sparkplug import Sparkplug
from agent.uplink.sparkplug_wire import Metric, Type, framed, metric
from agent.wire import Said
from drivers import neighbour
from drivers.neighbour import Neighbour, Page
from tests.tools.authority import Authority, replace
from tests.tools.mosquitto import SHIPPED, Guarded, Mosquitto, needs_mosquitto
from tests.tools.station import alarm, heard, run, station, until
from tests.tools.subscriber import Subscriber

DAM = {"name": "dam", "site": "upper", "node": "gw1", "watch": [{"key": "breach", "channels": ["dam/*"]}]}


def driver(**more: Any) -> Neighbour:
    table = {"name": "region", "url": "mqtt://127.0.0.1:1", "trust": "given", "neighbour": [DAM]} | more
    return msgspec.convert(table, Neighbour)


def page() -> Page:
    return Page(driver().neighbour[0], 0.0)


def edge(n: int = 1, edge: int = 1, state: str = "active-unacked", level: str = "red", **more: Any) -> dict[str, Any]:
    return {
        "id": f"u-{n}", "edge": edge, "state": state, "rule": "high", "channel": "dam/level", "level": level,
        "text": "too much", **more,
    }  # fmt: skip


def says(
    here: Page, part: str, body: Any, kept: bool = False, now: float = 1.0, late: bool = False
) -> dict[str, float]:
    """It says that, or the broker `kept` it; `late`: of what is over by now."""
    payload = body if isinstance(body, bytes) else msgspec.json.encode(body)
    retained = not late if part.startswith("alarm/") else kept
    here.hear(Said(f"vedette/upper/gw1/{part}", payload, retained), now, not kept)
    return shown(here, now)


def shown(here: Page, now: float = 1.0) -> dict[str, float]:
    return dict(zip(here.layout.key, here.columns(now)[0], strict=True))


def online(*alarms: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"state": "online", "alarms": list(alarms), **more}


TOPIC = "alarm/red/dam/level/high"


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(neighbour).failed == 0


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"url": "mqtt://broker.example"}, "use mqtts://"),
        ({"url": "mqtts://h", "user": "u", "password": "hunter2"}, "password must say where it is kept"),
        ({"url": "mqtts://h", "cert": "/c"}, "cert and key go together"),
        ({"url": "mqtts://h", "trust": "proved", "version": "3.1.1"}, "cannot say no"),
        ({"neighbour": []}, "length >= 1"),
        ({"neighbour": [DAM, DAM]}, "a second neighbour is called `dam`"),
        ({"neighbour": [DAM | {"site": "+"}]}, "named by itself"),
        ({"neighbour": [DAM | {"watch": [{"key": "level"}]}]}, "`level` is a channel already"),
    ],
)
def test_settings_that_cannot_work_are_refused(more: dict[str, Any], complaint: str):
    with pytest.raises(msgspec.ValidationError, match=complaint) as told:
        driver(**more)
    assert "hunter2" not in str(told.value)


def test_what_stands_is_counted_and_what_is_over_is_not():
    here = page()
    assert says(here, "state", online())["level"] == 0
    assert says(here, TOPIC, edge())["level"] == 4
    now = says(here, "alarm/yellow/gas/co/high", edge(2, level="yellow", channel="gas/co"))
    assert (now["level"], now["count"], now["breach"]) == (4, 2, 4)
    assert says(here, "alarm/orange/colour/site/site", edge(3, level="orange", channel="colour/site"))["colour"] == 3
    assert shown(here)["count"] == 2  # a colour is made of alarms, and is none beside them
    now = says(here, TOPIC, edge(1, 2, "active-acked"))
    assert (now["level"], now["count"]) == (4, 2)
    now = says(here, TOPIC, edge(1, 3, "normal"))
    assert (now["level"], now["count"], now["breach"]) == (2, 1, 0)
    assert says(here, TOPIC, edge(1, 1, resent=True))["level"] == 2  # an old edge that comes late
    assert says(here, "alarm/yellow/gas/co/high", b"")["level"] == 0
    assert [kind for kind, _, _ in here.events] == [
        "neighbour-up",
        *["neighbour-alarm"] * 3,
        *["neighbour-alarm-over"] * 2,
    ]


def test_what_a_neighbour_has_from_a_neighbour_a_drill_and_its_own_ills_are_not_taken_over():
    here = page()
    says(here, "state", online())
    for odd in ({"origin": "here/gw1"}, {"drill": True}, {"channel": "agent/uplinks_down"}, {"channel": "tls/p.own"}):
        assert says(here, TOPIC, edge(**odd))["level"] == 0
    assert says(here, "state", online(edge(7, origin="here/gw1")))["level"] == 0


def test_what_the_broker_kept_is_a_state_and_no_news():
    here = page()
    says(here, "state", online(edge(1), edge(2)), kept=True)
    assert shown(here)["count"] == 0  # the birth may be old: what stands is kept on its topic
    assert says(here, TOPIC, edge(2), kept=True)["count"] == 1
    assert not [one for one in here.events if one[0] == "neighbour-alarm"]
    lost = page()
    says(lost, "state", online(edge(1), edge(2), unkept=["u-2"]), kept=True)
    assert shown(lost)["count"] == 1  # unless the broker lost that
    assert says(lost, "state", online())["count"] == 0


def test_what_is_over_and_told_late_raises_nothing_whatever_the_clocks_say():
    here = page()
    says(here, "state", online(edge(4)))
    assert says(here, TOPIC, edge(2), late=True)["count"] == 1  # only that which was listed
    assert says(here, TOPIC, edge(2, 2, "normal"))["count"] == 1
    assert says(here, TOPIC, edge(4, 2, "normal"))["count"] == 0
    assert says(here, TOPIC, edge(6))["count"] == 1
    here.exact = False  # MQTT 3.1.1 does not say it
    assert says(here, TOPIC, edge(7), late=True)["count"] == 2


def test_a_neighbour_that_is_gone_or_mute_is_offline_and_says_nothing():
    here = page()
    says(here, "state", online())
    says(here, TOPIC, edge())
    assert shown(here, 181.0)["level"] == 4
    assert says(here, "telemetry/agent", {}, now=180.0)["online"] == 1
    value, quality = here.columns(361.0)
    told = dict(zip(here.layout.key, zip(value, quality, strict=True), strict=True))
    assert told["online"] == (0.0, Quality.GOOD)
    assert told["age"] == (181.0, Quality.GOOD)
    assert np.isnan(told["level"][0])
    assert told["level"][1] == Quality.OFFLINE
    assert says(here, TOPIC, edge(9), now=362.0)["count"] == 2
    says(here, "state", {"state": "offline"}, now=363.0)
    assert here.columns(363.0)[1][0] == Quality.OFFLINE


@pytest.mark.parametrize("junk", [b"", b"nonsense", b"{}", b'{"state":"away"}', b"[" * 100_000, b"\xff"])
def test_nonsense_changes_nothing(junk: bytes):
    here = page()
    says(here, "state", online())
    says(here, TOPIC, edge())
    says(here, "state", junk)
    says(here, "alarm/red/other/x/y", junk)
    assert shown(here)["count"] == 1


# -- whose word it is --------------------------------------------------------------------------------------


def test_whatever_rests_on_a_neighbours_word_carries_its_origin():
    layouts = {
        "dam": layout(["level"], origin="upper/gw1"),
        "own": layout(["level", "feed"]),
        "other": layout(["x"]),
    }
    rules = [
        High(name="theirs", channel=["dam/level"], limit=4, drive=["siren"]),
        High(name="mine", channel=["own/level"], limit=1),
        High(name="if", channel=["own/level"], limit=1, start_when=["dam/level >= 1"]),
        Vote(name="vote", channel=["own/level", "dam/level"], limit=1),
        Feedback(name="feed", channel=["own/feed"], output="siren", drive=["lamp"]),
        Feedback(name="lamp", channel=["own/feed"], output="lamp"),
        Item(name="whole", channel=["own/*"], item=["part"], counts={}),
        Item(name="part", channel=["dam/*"], counts={}),
        Item(name="ours", channel=["other/*"], counts={}),
        High(name="red", channel=["colour/whole"], limit=4),
    ]
    core = Core(layouts, rules)
    found = {p.rule.name: who for b in core.benches.values() for p, who in zip(b.points, b.origin, strict=True)}
    mine = {"mine", "ours"}
    assert found == {rule.name: "" if rule.name in mine else "upper/gw1" for rule in rules}
    _, verdict = core.step(core.start("b", Instant(0, 0)), frame("dam", Instant(1, 1), layouts["dam"], [4.0]))
    told = {alarm.rule: alarm.origin for alarm in verdict.alarms}
    assert told["theirs"] == "upper/gw1"


def test_it_is_a_driver_whose_faults_are_told_at_their_line(tmp_path: Path):
    path = tmp_path / "site.toml"
    text = '[site]\nname = "here"\n[[bus]]\ndriver = "neighbour"\nname = "region"\nurl = "mqtts://b"\n'
    path.write_text(text + '[[bus.neighbour]]\nname = "dam"\nsite = "upper"\n')
    config = load(path)
    assert config.layouts["dam"].origin == "upper/gw1"
    assert any(rule.name == "agent.certificate.soon" for rule in config.rules)
    path.write_text(text.replace("mqtts://b", "mqtt://b") + '[[bus.neighbour]]\nname = "dam"\nsite = "upper"\n')
    with pytest.raises(ConfigFault, match=r"site\.toml:6: .*use mqtts://"):
        load(path)
    path.write_text(text + '[[bus.neighbour]]\nname = "me"\nsite = "here"\n')
    with pytest.raises(ConfigFault, match=r"site\.toml:3: .*cannot be a neighbour of itself"):
        load(path)


# -- who may say it ----------------------------------------------------------------------------------------


class Bell:
    """Nobody orders anything."""

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def take(self) -> None:
        return None


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def broker(tmp_path: Path, authority: Authority) -> Iterator[Guarded]:
    with Guarded(tmp_path / "broker", authority.server(), authority.crl) as broker:
        yield broker


def mine(folder: Path, authority: Authority, name: str) -> dict[str, str]:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    authority.issue(name).put(cert, key)
    return {"ca": str(authority.ca), "cert": str(cert), "key": str(key)}


@needs_mosquitto
def test_a_neighbour_is_heard_where_only_it_may_speak_for_itself(tmp_path: Path, authority: Authority, broker: Guarded):
    who = {"name": "dam", "site": "mine", "node": "upper-dam-gw1"}
    (broker.folder / "acl").write_text(
        (broker.folder / "acl").read_text().replace("vedette/upper-dam/", "vedette/mine/")
    )
    broker.stop()
    broker.start()
    ours = mine(tmp_path, authority, "lower-town-gw1")

    async def main() -> None:
        made = driver(url=broker.url, trust="proved", neighbour=[who], **ours)
        theirs, called = mine(tmp_path, authority, "upper-dam-gw1"), {"node": "upper-dam-gw1"}
        async with station(tmp_path, broker.url, site=called, **theirs) as a:
            await until(lambda: a.feed.up)
            frames = made.frames(SystemClock(), Bell())
            seen: list[Frame] = []
            reading = asyncio.create_task(gather(frames, seen))
            await until(lambda: seen)
            assert (last(seen)["online"], last(seen)["level"]) == (1, 0)
            assert 9 < last(seen)["certificate"] < 10
            a.raised(alarm())
            await until(lambda: last(seen)["level"] == 4)
            with Subscriber(broker.port, "none", tls=authority.context(authority.issue("thief"))) as thief:
                topic = "vedette/mine/upper-dam-gw1/alarm/red/s/a/high"
                thief.client.publish(topic, b"", 1, retain=True).wait_for_publish(5)
            a.raised(alarm("normal", event="cleared"))
            await until(lambda: last(seen)["level"] == 0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await frames.aclose()  # type: ignore[attr-defined]
        # a broker that lets everybody speak for everybody
        (broker.folder / "acl").write_text("topic readwrite #\npattern readwrite #\n")
        broker.stop()
        broker.start()
        with pytest.raises(LineLost, match="so it may let anybody"):
            await made.once(SystemClock())

    run(main())


async def gather(frames: Any, seen: list[Frame]) -> None:
    async for item in frames:
        if isinstance(item, Frame):
            seen.append(item)


def last(seen: list[Frame]) -> dict[str, float]:
    return dict(zip(seen[-1].layout.key, seen[-1].value.tolist(), strict=True))


@needs_mosquitto
def test_the_rights_that_ship_are_enough_for_both_languages(tmp_path: Path, authority: Authority, broker: Guarded):
    """Nothing tells a node that speaks Sparkplug what it lacks; so it is judged by what arrives."""
    ours, called = mine(tmp_path, authority, "gw7"), {"node": "gw7"}
    people = authority.context(authority.issue("platform"))

    async def main() -> None:
        with Subscriber(broker.port, "spBv1.0/#", tls=people) as host:
            async with station(tmp_path / "s", broker.url, Sparkplug, called, receipts=True, **ours) as here:
                await until(lambda: here.feed.up)
                here.raised(alarm())
                here.put(1)
                end = "spBv1.0/mine/{}/gw7"
                wanted = {end.format("NBIRTH"), end.format("NDATA"), end.format("DBIRTH") + "/s"}
                await heard(host, lambda ms: wanted <= {m.topic for m in ms})
                births = len(host.on("mine/NBIRTH"))
                again = framed([metric(Metric("Node Control/Rebirth", Type.BOOLEAN, True))])
                host.client.publish(end.format("NCMD"), again, 1).wait_for_publish(5)
                await until(lambda: len(host.on("mine/NBIRTH")) > births)
            await heard(host, lambda ms: end.format("NDEATH") in {m.topic for m in ms})
        with Subscriber(broker.port, "vedette/#", tls=people) as platform:
            async with station(tmp_path / "n", broker.url, site=called, receipts=True, ranges=True, **ours) as here:
                await until(lambda: here.feed.up)
                here.raised(alarm())
                here.put(1)
                await until(lambda: platform.on("alarm/red") and platform.on("telemetry/s"))
                assert not here.delivered()
                body = platform.on("alarm/red")[0].body
                receipt = msgspec.json.encode({key: body[key] for key in ("boot", "stream", "seq")})
                platform.client.publish("vedette/mine/gw7/receipt", receipt, 1).wait_for_publish(5)
                await until(here.delivered)
            assert platform.on("state")[-1].body["state"] == "offline"

    run(main())


@needs_mosquitto
def test_what_the_broker_lost_is_said_again_until_it_is_over(tmp_path: Path):
    async def main() -> None:
        with Mosquitto(tmp_path / "broker") as broker:
            async with station(tmp_path, broker.url) as here:
                here.raised(alarm())
                await until(lambda: here.feed.up and here.delivered())
                broker.stop(kill=True)
                broker.start()
                with Subscriber(broker.port, "vedette/mine/north/state") as ear:
                    await asyncio.to_thread(ear.wait, lambda ms: ms and ms[-1].body.get("unkept") == ["id-1"], 30.0)
                    here.raised(Alarm(**{**msgspec.structs.asdict(alarm("normal", event="cleared")), "edge": 2}))
                    await asyncio.to_thread(ear.wait, lambda ms: "unkept" not in ms[-1].body, 30.0)

    run(main())


def test_the_example_for_emqx_grants_what_the_one_for_mosquitto_does():
    """Nobody ran EMQX here: what is compared is what both files grant."""
    granted: dict[tuple[str, str], set[str]] = {}
    user = "all"
    for line in (SHIPPED / "mosquitto.acl").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "user":
            user = rest
        elif word in ("topic", "pattern"):
            access, topic = rest.split(" ", 1)
            who = user if word == "topic" else "all"
            action = {"read": "subscribe", "write": "publish"}[access]
            granted.setdefault((who, action), set()).add(topic.replace("%u", "${username}"))
    text = "".join(line for line in (SHIPPED / "emqx-acl.conf").read_text().splitlines() if not line.startswith("%%"))
    found: dict[tuple[str, str], set[str]] = {}
    for who, name, action, topics in re.findall(
        r'\{allow, (\{username, "([^"]+)"\}|all), (\w+), \[([^\]]*)\]\}\.', text
    ):
        found.setdefault((name or who, action), set()).update(re.findall(r'"([^"]+)"', topics))
    assert found == granted
    assert text.endswith("{deny, all}.")
    assert len(re.findall(r"\}\.", text)) == len(re.findall(r"\{allow", text)) + 1


def test_laws():
    assert checks.uplink(driver().broker()) == []


@needs_mosquitto
def test_other_certificates_are_shown_where_they_are_good_and_the_old_ones_where_they_are_not(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tls, "LOOK", 0.05)
    monkeypatch.setattr(tls, "ALERT", 0.3)
    monkeypatch.setattr(neighbour, "SETTLE", 0.1)
    cert, key = tmp_path / "gw1.pem", tmp_path / "gw1.key"
    ours = mine(tmp_path, authority, "gw1")

    async def main() -> None:
        with Mosquitto(tmp_path / "broker", more="require_certificate true", tls=authority.server()) as broker:
            made = driver(url=broker.url, **ours)
            with pytest.raises(LineLost, match="other certificates"):
                await listen(made, "", lambda: authority.issue("gw1").put(cert, key))
            await listen(made, "certificate-renewed")
            await listen(made, "certificate-refused", lambda: replace(cert, b"nonsense"))
            assert [item for item in await made.once(SystemClock()) if isinstance(item, Frame)]

    run(main())


async def listen(made: Neighbour, kind: str, change: Callable[[], None] = lambda: None) -> None:
    """Until this event is told; `change` comes after the first frame."""
    frames = made.frames(SystemClock(), Bell())
    first = True
    try:
        async for item in frames:
            if isinstance(item, Frame) and first:
                first = False
                change()
            elif isinstance(item, Event) and item.kind == kind:
                return
    finally:
        await frames.aclose()  # type: ignore[attr-defined]
