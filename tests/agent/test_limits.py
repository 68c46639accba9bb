"""Limits that are set from afar: bounds, the law, and what a new configuration makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import config, keys, limits
from agent.cli import main
from agent.core.core import Tick, open_alarms
from agent.core.errors import ConfigFault
from agent.core.frame import Instant, frame
from agent.ledger import SetTo
from tests.tools.orders import ANNA, BO

SITE = """
[site]
name = "mine"
[[bus]]
name = "plc"
url = "tcp://127.0.0.1:502"
[[bus.device]]
name = "heading"
unit = 1
period = 1.0
[[bus.device.channel]]
key = "ch4"
at = "holding:0"
type = "float32"
unit = "%"
profile = "coal/ch4/T1"
[[bus.device.channel]]
key = "t"
at = "holding:2"
type = "float32"
unit = "C"
[[rule]]
name = "hot"
kind = "high"
channel = "heading/t"
limit = 60.0
restore = 55.0
"""
SETTABLE = """
[[settable]]
rule = "hot"
low = 40.0
high = 80.0
[[settable]]
rule = "coal.ch4.T1.alarm"
low = 0.5
high = 1.5
"""
AT = Instant(0.0, 1_764_300_000.0, True)


def load(folder: Path, text: str) -> config.Config:
    (folder / "site.toml").write_text(text)
    return config.load(folder / "site.toml")


def to(rule, limit: float, restore: float | None = None) -> SetTo:
    return SetTo(limit, restore, "anna", AT, "", limits.digest(rule))


def named(site: config.Config, name: str):
    return next(rule for rule in site.rules if rule.name == name)


def refusal(site: config.Config, name: str, limit: float) -> str:
    return limits.refusal(named(site, name), site.bounds.get(name), site.legal.get(name), limit)


def test_a_limit_may_be_set_where_the_site_says_and_the_law_does_not_object(tmp_path):
    closed, site = load(tmp_path, SITE), load(tmp_path, SITE + SETTABLE)
    assert "cannot be set" in refusal(closed, "hot", 50.0)
    assert refusal(site, "hot", 50.0) == ""
    assert "from 40 to 80" in refusal(site, "hot", 90.0)
    assert "from 40 to 80" in refusal(site, "hot", float("nan"))
    methane = "coal.ch4.T1.alarm"
    assert refusal(site, methane, 0.8) == ""
    assert "looser than 1" in refusal(site, methane, 1.2)  # within its bounds
    loose = load(tmp_path, SITE + SETTABLE + "looser = true\n")
    assert refusal(loose, methane, 1.2) == ""
    assert limits.refusal(None, None, None, 1.0) == "there is no such rule"
    assert "cannot be set" in refusal(site, "unfit", 1.0)


def test_the_restore_limit_goes_along_and_the_alarm_says_who_set_it(tmp_path):
    site = load(tmp_path, SITE + SETTABLE)
    hot = named(site, "hot")
    assert limits.restored(hot, 50.0) == 45.0
    core = site.core({"hot": to(hot, 50.0, 45.0)})
    memory = core.start("000001-ab12", AT)
    source = core.benches["heading"]
    memory, verdict = core.step(memory, frame("heading", AT, source.layout, [0.1, 52.0]))
    alarm = verdict.alarms[0]
    assert (alarm.rule, alarm.limit, alarm.basis.standard) == ("hot", 50.0, "set by anna")
    later = Instant(1.0, AT.wall + 1, True)
    memory, verdict = site.core().step(memory, frame("heading", later, source.layout, [0.1, 52.0]))  # taken back
    assert open_alarms(memory) == [] or open_alarms(memory)[0].state.startswith("returned")
    with pytest.raises(ValueError, match="lies beyond"):
        limits.changed(hot, to(hot, 50.0, 51.0))


def test_a_tighter_limit_is_held_against_what_was_read_last_at_once(tmp_path):
    site = load(tmp_path, SITE + SETTABLE)
    core = site.core()
    read = frame("heading", AT, core.benches["heading"].layout, [0.1, 52.0])
    memory, verdict = core.step(core.start("000001-ab12", AT), read)
    assert not verdict.alarms
    tighter = site.core({"hot": to(named(site, "hot"), 50.0, 45.0)})
    memory, verdict = tighter.step(memory, Tick(Instant(0.1, AT.wall + 0.1, True)))
    assert [(alarm.rule, alarm.event) for alarm in verdict.alarms] == [("hot", "raised")]
    memory, verdict = core.step(memory, Tick(Instant(0.2, AT.wall + 0.2, True)))  # looser: a measurement has to say so
    assert not verdict.alarms


def test_what_may_be_done_from_afar_is_shown_by_check(tmp_path, capsys):
    issuer = '[commands]\ntwo = ["shelve"]\n'
    for name, key in (("anna", ANNA), ("bo", BO)):
        issuer += f'[[issuer]]\nname = "{name}"\nkey = "{keys.text(key)}"\nmay = ["ack", "shelve"]\n'
    load(tmp_path, SITE + SETTABLE + issuer)
    assert main(["check", "-c", str(tmp_path / "site.toml")]) == 0
    shown = capsys.readouterr().out
    assert "issuer anna may ack, shelve with another" in shown
    assert "limit of hot may be set from 40 to 80" in shown


def test_a_configuration_that_touches_the_rule_does_away_with_the_limit(tmp_path):
    site = load(tmp_path, SITE + SETTABLE)
    kept = {"hot": to(named(site, "hot"), 50.0, 45.0)}

    def outdated(text: str) -> dict[str, str]:
        new = load(tmp_path, text)
        return limits.outdated(new.rules, new.bounds, new.legal, kept)

    assert outdated(SITE + SETTABLE) == {}
    assert outdated((SITE + SETTABLE).replace('unit = "C"', 'unit = "C"\nstale = 9.0')) == {}  # something else
    assert "something else" in outdated((SITE + SETTABLE).replace("limit = 60.0", "limit = 61.0"))["hot"]
    assert "from 40 to 45" in outdated((SITE + SETTABLE).replace("high = 80.0", "high = 45.0"))["hot"]
    assert "cannot be set" in outdated(SITE)["hot"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('[[settable]]\nrule = "hott"\nlow = 1.0\nhigh = 2.0', "is no rule; did you mean `hot`"),
        ('[[settable]]\nrule = "silent"\nlow = 1.0\nhigh = 2.0', "has no limit of its own"),
        ('[[settable]]\nrule = "hot"\nlow = 3.0\nhigh = 2.0', "leave no number between them"),
        ('[[issuer]]\nname = "a"\nkey = "x"\nmay = ["ack"]', "no public key"),
        ('[[issuer]]\nname = "a"\nkey = "{key}"\nmay = ["acc"]', "'acc' is not one of the choices"),
        (
            '[[issuer]]\nname = "a"\nkey = "{key}"\nmay = []\n[[issuer]]\nname = "b"\nkey = "{key}"\nmay = []',
            "same key",
        ),
        ('[commands]\ntwo = ["ack"]\n[[issuer]]\nname = "a"\nkey = "{key}"\nmay = ["ack"]', "takes two people"),
        ('[[uplink]]\nname = "p"\nurl = "mqtt://x"\ncommands = true', "no [[issuer]] may give any"),
        ('[[uplink]]\nname = "p"\nurl = "mqtt://x"\ncommands = true\nlanes = ["alarm"]', "lanes must name these"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, more: str, says: str):
    key = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="
    with pytest.raises(ConfigFault) as told:
        load(tmp_path, SITE + more.replace("{key}", key))
    assert any(says in line and line.startswith("site.toml:") for line in told.value.complaints), told.value.complaints
