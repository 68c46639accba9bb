"""The gateway watches itself on every site, does not cry wolf, and says what of that somebody switched off."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

import msgspec
import pytest

from agent import config, journal, upkeep
from agent.clock import ManualClock
from agent.core.alarm import Alarm
from agent.core.core import Core
from agent.core.errors import ConfigFault
from agent.core.frame import Instant, Quality, frame
from agent.core.words import ADVICE
from agent.doorway import Doorway
from agent.health import Begun, Health, Lately, Vitals, columns, starts, within_a_day
from agent.outbox import Outbox, Store
from tests.tools.mosquitto import free_port
from tests.tools.visitor import Visitor, living

SITE = """
[site]
name = "s"
[[bus]]
name = "net"
url = "tcp://127.0.0.1:1"
[[bus.device]]
name = "plant"
unit = 1
[[bus.device.channel]]
key = "c"
at = "holding:0"
[[uplink]]
name = "platform"
url = "mqtt://127.0.0.1:1"
"""
VITALS = Vitals(*[0] * len(Vitals._fields))
NAN = math.nan


def load(folder: Path, more: str = "") -> config.Config:
    (folder / "site.toml").write_text(SITE + more)
    return config.load(folder / "site.toml")


class Gateway:
    """A site whose agent says of itself what a test wants; everything else of it is well."""

    def __init__(self, rules, layout=None):
        self.layout = layout if layout is not None else columns(["platform"])
        self.core, self.now = Core({"agent": self.layout}, list(rules)), 0.0
        self.memory = self.core.start("b", Instant(0.0, 0.0))
        self.well = dict.fromkeys(self.layout.key, 0.0)
        self.well |= {"disk_free": 50.0, "inodes_free": 50.0, "disk_full_in": 8760.0, "clock_synced": 1.0}

    def says(self, seconds, step=20.0, **channels):
        """Rule, event and level of each edge that comes of it, told every `step` s."""
        told, end = [], self.now + seconds
        while self.now < end:
            self.now += step
            value = [{**self.well, **channels}[key] for key in self.layout.key]
            quality = [Quality.OFFLINE if math.isnan(one) else Quality.GOOD for one in value]
            said = frame("agent", Instant(self.now, self.now), self.layout, value, quality)
            self.memory, verdict = self.core.step(self.memory, said)
            told += [(alarm.rule, alarm.event, alarm.level) for alarm in verdict.alarms]
        return told


@pytest.fixture
def gateway():
    return Gateway(upkeep.rules("en", columns(["platform"])))


def test_every_rule_has_a_reason_a_sentence_and_an_advice_in_both_languages():
    known = set(Health.LAYOUT.key)
    for name, profile in upkeep.shipped().items():
        key = profile.watches.partition("/")[2]
        assert key in known or "*" in key, name
        assert set(profile.title) == {"en", "zh"}, name
        assert profile.advice in ADVICE["en"], name
        for limit in profile.limit:
            assert limit.standard == "project", name
            assert len(limit.note) > 10, name
            assert set(limit.text) in (set(), {"en", "zh"}), name
    for language in ("en", "zh"):
        assert all(rule.advice in ADVICE[language] for rule in upkeep.rules(language))
    reds = [rule.name for rule in upkeep.rules("en") if rule.level == "red"]
    assert reds == ["agent.orders"]  # nothing of the machine itself is red


@pytest.mark.parametrize(
    ("channel", "bad", "rule", "level"),
    [
        ("loop_lag", 1.5, "agent.late", "yellow"),
        ("wait_p99", 0.9, "agent.judge", "yellow"),
        ("queue.platform.alarm", 400.0, "agent.owed", "yellow"),
        ("queue.platform.telemetry", 50_000.0, "agent.backlog", "yellow"),
        ("memory_share", 88.0, "agent.memory", "yellow"),
        ("descriptors_share", 85.0, "agent.descriptors", "yellow"),
        ("disk_free", 4.0, "agent.disk", "orange"),
        ("disk_full_in", 10.0, "agent.disk-soon", "yellow"),
        ("inodes_free", 1.0, "agent.inodes", "yellow"),
        ("disk_wear", 80.0, "agent.disk-worn", "yellow"),
        ("write_errors", 4.0, "agent.writes", "yellow"),
        ("commit_worst", 3.0, "agent.slow-disk", "yellow"),
        ("temperature", 82.0, "agent.hot", "yellow"),
        ("under_voltage", 1.0, "agent.under-voltage", "orange"),
        ("clock_steps", 6.0, "agent.clock-steps", "yellow"),
        ("starts_24h", 7.0, "agent.starts", "yellow"),
        ("children_died", 3.0, "agent.children", "yellow"),
    ],
)
def test_what_is_wrong_for_long_is_told_once_and_gives_way_when_it_is_well(gateway, channel, bad, rule, level):
    assert gateway.says(60) == []
    assert gateway.says(2000, **{channel: bad}) == [(rule, "raised", level)]
    assert gateway.says(900, **{channel: NAN}) == []  # what nobody knows clears nothing
    assert gateway.says(900) == [(rule, "cleared", level)]


def test_it_does_not_cry_wolf(gateway):
    """A start without a network, a busy moment, a card that stalls, and a machine that has no sensors."""
    sensors = ("temperature", "throttled", "under_voltage", "under_voltage_seen", "disk_wear", "clock_offset")
    assert gateway.says(4000, **dict.fromkeys(sensors, NAN), disk_full_in=NAN) == []
    for _ in range(5):  # moments
        assert (
            gateway.says(5, 5.0, wait_p99=0.9, commit_worst=3.0, memory_share=97.0, temperature=91.0, throttled=1.0)
            == []
        )
        assert gateway.says(90) == []
    assert gateway.says(1800, clock_synced=0.0, starts_24h=3.0) == []
    assert gateway.says(4000, clock_synced=0.0) == [("agent.clock", "raised", "blue")]
    assert gateway.says(60) == [("agent.clock", "cleared", "blue")]


def test_a_site_changes_a_rule_or_switches_it_off_and_that_is_told(tmp_path):
    usual = {rule.name: rule for rule in load(tmp_path).rules}
    site = load(
        tmp_path,
        '[[self]]\nrule = "agent.clock"\noff = "no network in this shaft"\n'
        '[[self]]\nrule = "agent.hot"\nlimit = 95.0\nlevel = "blue"\n',
    )
    rules = {rule.name: rule for rule in site.rules}
    assert usual.keys() - rules.keys() == {"agent.clock"}
    assert site.off == {"agent.clock": "no network in this shaft"}
    hot = rules["agent.hot"]
    assert (hot.limit, hot.restore, hot.level, hot.basis.standard) == (95.0, 90.0, "blue", "site")
    assert [text for text in site.overrides if "agent.hot" in text] == [
        "rule `agent.hot`: limit is 95.0, not 80.0",
        "rule `agent.hot`: level is blue, not yellow",
    ]
    assert Gateway(site.rules, site.layouts["agent"]).says(4000, clock_synced=0.0) == []
    assert load(tmp_path).hash != site.hash


def test_a_file_of_the_site_that_lacks_rules_has_switched_them_off_and_that_is_told(tmp_path):
    (tmp_path / "profiles").mkdir()
    own = '[d]\nwatches = "agent/disk_free"\nunit = "%"\n[[d.limit]]\nname = "disk"\ncompare = "<="\n'
    (tmp_path / "profiles" / "self.toml").write_text(own + 'value = 20.0\nlevel = "red"\n')
    site = load(tmp_path)
    assert [rule.name for rule in site.rules if rule.name in upkeep.names()] == ["agent.disk"]
    assert site.off.keys() == upkeep.names() - {"agent.disk"}
    assert "profiles/self.toml of the site stands for the one that ships" in site.overrides


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('[[self]]\nrule = "agent.hto"\noff = "x"', "no rule `agent.hto` of its own; did you mean `agent.hot`?"),
        ('[[self]]\nrule = "agent.hot"', "nothing is changed: give `off` a reason"),
        ('[[self]]\nrule = "agent.hot"\noff = " "', "nothing is changed: give `off` a reason"),
        ('[[self]]\nrule = "agent.hot"\noff = "x"\nlimit = 1.0', "a rule that is off has no limit"),
        ('[[self]]\nrule = "agent.hot"\nlimit = 70.0\nrestore = 75.0', "restore 75 lies beyond limit 70"),
        ('[[self]]\nrule = "agent.hot"\noff = "x"\n[[self]]\nrule = "agent.hot"\noff = "y"', "is named twice"),
        (
            '[[rule]]\nname = "agent.hot"\nkind = "high"\nchannel = "plant/c"\nlimit = 1',
            "is the name of a built-in rule",
        ),
    ],
)
def test_a_mistake_in_it_is_told(tmp_path, more, says):
    with pytest.raises(ConfigFault) as fault:
        load(tmp_path, more)
    assert any(says in line for line in fault.value.complaints), fault.value.complaints


def test_alarms_of_the_gateway_itself_do_not_age_its_queue(tmp_path):
    """Else one that says that the link is down would beget one that says that it waits."""
    at = Instant(0.0, 1.7e9, True)

    def alarm(channel):
        id = f"b-{channel.partition('/')[0]}"
        return Alarm(id, 1, "raised", "active-unacked", "r", channel, "red", 1.0, 1.0, "", at, at, "")

    async def ages():
        clock = ManualClock()
        outbox = await Outbox.open(Store(path=str(tmp_path), ballast_mb=0), ["platform"], clock)
        outbox.put_alarms([alarm("agent/uplinks_down")])
        clock.advance(100.0)
        before = outbox.oldest("platform", but=("agent",))
        outbox.put_alarms([msgspec.structs.replace(alarm("plant/c"), at=clock.now())])
        clock.advance(10.0)
        after = outbox.oldest("platform", but=("agent",)), outbox.oldest("platform")
        await outbox.close()
        return before, *after

    before, after, all_ = asyncio.run(ages())
    assert "alarm" not in before
    assert (after["alarm"], all_["alarm"]) == (10.0, 110.0)


def test_an_age_is_told_by_the_clock_that_can_be_trusted(tmp_path):
    """A box without a battery wakes up in the wrong year: what waits from before is not fifty years old."""

    async def ages():
        clock, found = ManualClock(mono=50.0, wall=1.7e9), []
        lives = ((50.0, 1.7e9, True), (1000.0, 5e8, False), (30.0, 1000.0, False), (40.0, 1.7e9 + 2000, True))
        for life, (mono, wall, synced) in enumerate(lives):
            clock.mono, clock.wall, clock.synced = mono, wall, synced
            kernels.append("k1" if life < 2 else f"k{life}")
            outbox = await Outbox.open(Store(path=str(tmp_path), ballast_mb=0), ["platform"], clock)
            if not life:
                at, id = clock.now(), f"{outbox.boot}-1"
                edge = Alarm(id, 1, "raised", "active-unacked", "r", "plant/c", "red", 1.0, 1.0, "", at, at, "")
                assert await outbox.put_alarms([edge])
            clock.advance(7.0)
            found.append(outbox.oldest("platform")["alarm"])
            await outbox.close()
        return found

    kernels = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.outbox.kernel", lambda: kernels[-1])
        first, same, unsure, other = asyncio.run(ages())
    assert (first, same) == (7.0, 957.0)  # the same run of the kernel
    assert unsure == 7.0  # at least since this start
    assert other == pytest.approx(2007.0)


def test_a_frame_says_what_nobody_knows_as_offline_and_the_age_of_each_queue(tmp_path):
    layout = columns(["a", "b"])
    ages = {"a": {"alarm": 12.0, "backfill": 7000.0, "telemetry": 3.0}, "b": {}}
    said = Health(str(tmp_path)).frame(Instant(5.0, 1.7e9, True), layout, VITALS, {}, ages)
    told = dict(zip(layout.key, zip(said.value, said.quality, strict=True), strict=True))
    assert told["queue.a.alarm"] == (12.0, Quality.GOOD)
    assert told["queue.a.telemetry"] == (7000.0, Quality.GOOD)
    assert told["queue.b.alarm"] == (0.0, Quality.GOOD)
    assert told["disk_full_in"][1] == Quality.UNCERTAIN  # not yet
    assert {q for v, q in told.values() if math.isnan(v)} <= {Quality.UNCERTAIN, Quality.OFFLINE}
    assert told["memory"][0] > 5


def test_a_day_that_an_older_version_recorded_is_still_read():
    layouts = {"agent": Health.LAYOUT}
    line = b'{"frame":"agent","mono":5,"wall":1.7e9,"value":[' + b",".join([b"1"] * 25) + b"]}"
    said = journal.decode(line, layouts)
    assert list(said.value[:25]) == [1.0] * 25
    assert set(said.quality[:25]) == {0}
    assert set(said.quality[25:]) == {Quality.OFFLINE}
    assert journal.decode(journal.encode(said), layouts).quality.tolist() == said.quality.tolist()
    with pytest.raises(ConfigFault, match="channels, the line has"):
        journal.decode(line.replace(b"[1", b"[" + b"1," * 99 + b"1"), layouts)


def test_starts_within_a_day_survive_the_kernel_and_a_wrong_clock(tmp_path):
    wall = 1.7e9
    for i in range(3):
        known = starts(tmp_path, Begun("k1", 100.0 * i, wall + 100 * i))
    assert within_a_day(known, Begun("k1", 300.0, wall + 300)) == 3
    assert within_a_day(known, Begun("k1", 86_450.0, 0.0)) == 2  # the kernel's own clock decides
    known = starts(tmp_path, Begun("k2", 1.0, 1000.0))  # a battery is missing: 1970
    assert within_a_day(known, Begun("k2", 2.0, 1001.0)) == 1
    assert within_a_day(known, Begun("k2", 60.0, wall + 400)) == 4  # the time server has come
    (tmp_path / "starts").write_bytes(b"\xff torn")
    assert len(starts(tmp_path, Begun("k2", 5.0, wall))) == 1
    assert len(starts(tmp_path / "nowhere", Begun("k2", 5.0, wall))) == 1


def test_failures_are_those_of_the_last_hour():
    failed = Lately()
    for now, total in ((0.0, 0), (5.0, 2), (10.0, 2), (1000.0, 5)):
        failed.reach(now, total)
    assert (failed.sum(1000.0), failed.sum(3605.0), failed.sum(4599.0), failed.sum(4600.0)) == (5, 3, 3, 0)


def test_the_doorway_says_how_long_things_waited():
    async def walk():
        clock = ManualClock()
        door: Doorway[int] = Doorway(1000, clock)
        none = door.waits()
        for i in range(200):
            door.put_nowait(i)
        clock.advance(0.1)
        taken = [door.get_nowait() for _ in range(199)]
        clock.advance(5.0)
        return none, taken, door.waits(), door.get_nowait()

    none, taken, (p99, worst), last = asyncio.run(walk())
    assert none == (0.0, 0.0)
    assert [*taken, last] == list(range(200))
    assert p99 == pytest.approx(0.1)
    assert worst == pytest.approx(5.1)  # the one that still waits


def test_a_gateway_that_runs_says_it_of_itself_on_its_page_while_no_platform_is_there(tmp_path):
    site = SITE + '[[self]]\nrule = "agent.clock"\noff = "no network here"\n[web]\nlisten = "127.0.0.1:{port}"\n'
    path, port = tmp_path / "site.toml", free_port()
    path.write_text(site.format(port=port))
    told, page = {}, ""
    for life in (1, 2):
        with living(path) as agent:
            end = time.monotonic() + 20
            while told.get("starts_24h") != life or "agent.clock" not in page:
                assert time.monotonic() < end, (told, page)
                seen = agent.memory.watches["agent"].seen
                told = dict(zip(agent.config.layouts["agent"].key, seen.value.tolist(), strict=True))
                page = Visitor(f"http://127.0.0.1:{port}").text("/system")
            assert [e.text for e in agent.recent if e.kind == "rule-off"] == ["agent.clock is off: no network here"]
    assert 0 <= told["wait_p99"] <= told["wait_worst"]
    assert told["queue.platform.alarm"] >= 0
    assert told["uplinks_down"] == 1
    assert 0 < told["memory_share"] < 100
    unsaid = {key for key, value in told.items() if math.isnan(value)}
    assert "no network here" in page
    assert not [key for key in unsaid if f"agent/{key}" in page]  # what it cannot say is not there
    assert "agent/wait_p99" in page
