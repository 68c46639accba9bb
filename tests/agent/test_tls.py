"""Certificates that are renewed, refused and run out, against mosquitto."""

from __future__ import annotations

import asyncio
import doctest
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import secret, tls
from agent.config import load
from agent.core.errors import ConfigFault, LineLost
from agent.core.frame import Instant, frame
from agent.profiles import SHIPPED
from agent.tls import Keyring, days, papers
from agent.uplink.jt808 import Jt808
from agent.uplink.mqtt import Mqtt
from agent.uplink.sparkplug import Sparkplug
from tests.tools.authority import Authority, replace
from tests.tools.mosquitto import Mosquitto, needs_mosquitto
from tests.tools.station import alarm, run, station, until

STRICT = "require_certificate true\nuse_identity_as_username true"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "LOOK", 0.05)
    monkeypatch.setattr(tls, "ALERT", 0.3)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def broker(tmp_path: Path, authority: Authority) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", more=STRICT, tls=authority.server()) as broker:
        yield broker


def mine(folder: Path, authority: Authority, **how: Any) -> dict[str, str]:
    """Settings of a gateway with a certificate of its own."""
    authority.issue("gw1", **how).put(folder / "gw.pem", folder / "gw.key")
    return {"ca": str(authority.ca), "cert": str(folder / "gw.pem"), "key": str(folder / "gw.key")}


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(tls).failed == 0
    assert doctest.testmod(secret).failed == 0


@pytest.mark.parametrize("kind", [Mqtt, Jt808])
@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"pkcs12": "/g.p12"}, "need (mqtts|tls)://"),
        ({"crl": "/crl.pem"}, "need (mqtts|tls)://"),
        ({"tls": "1.1"}, "Invalid enum value '1.1'"),
        ({"url": "*s://host:1", "pkcs12": "/g.p12", "cert": "/c", "key": "/k"}, "one or the other"),
        ({"url": "*s://host:1", "cert": "/c", "key": "/k", "passphrase": "hunter2"}, "passphrase must say where"),
        ({"url": "*s://host:1", "passphrase": "env:X"}, "passphrase without key or pkcs12"),
    ],
)
def test_settings_that_cannot_work_are_refused_and_no_secret_is_said(kind: Any, settings: dict[str, str], complaint):
    plain, sealed = ("mqtt", "mqtts") if kind is Mqtt else ("tcp", "tls")
    more = {} if kind is Mqtt else {"phone": "1", "terminal": "1"}
    url = settings.get("url", f"{plain}://host:1").replace("*s", sealed)
    with pytest.raises(msgspec.ValidationError, match=complaint) as told:
        msgspec.convert({"name": "p", **more, **settings, "url": url}, kind)
    assert "hunter2" not in str(told.value)


def test_a_secret_in_an_address_is_refused_and_not_said():
    for url in ("mqtt://gw:hunter2@host", "mqtt://gw:hunter2@host/path", "http://gw:hunter2@host"):
        with pytest.raises(msgspec.ValidationError) as told:
            msgspec.convert({"name": "p", "url": url}, Mqtt)
        assert "hunter2" not in str(told.value)


@needs_mosquitto
@pytest.mark.parametrize("kind", [Mqtt, Sparkplug])
def test_a_renewed_certificate_is_used_at_once_and_nothing_is_lost(tmp_path: Path, authority: Authority, broker, kind):
    settings = mine(tmp_path, authority)

    async def main() -> None:
        async with station(tmp_path, broker.url, kind, **settings) as here:
            await until(lambda: "link-up" in here.kinds())
            here.put(0)
            await until(here.delivered)
            for n in range(1, 4):
                mine(tmp_path, authority)
                while here.kinds().count("certificate-renewed") < n:
                    here.put(n)
                    here.raised(alarm(n=len(here.open)))
                    await asyncio.sleep(0.01)
            await until(lambda: here.feed.up and here.delivered())
            assert here.kinds().count("link-up") == 4
            assert not here.faults
            facts = [event.facts for event in here.told if event.kind == "certificate-renewed"]
            assert [one["before"] for one in facts[1:]] == [one["serial"] for one in facts[:-1]]

    run(main())
    assert (tmp_path / "broker" / "mosquitto.log").read_text().count("u'gw1'") == 4


@needs_mosquitto
def test_a_broken_renewal_is_told_and_what_was_good_is_used_on(tmp_path: Path, authority: Authority, broker):
    settings, stranger = mine(tmp_path, authority), Authority(tmp_path / "stranger")
    cert, key, ca = tmp_path / "gw.pem", tmp_path / "gw.key", tmp_path / "ca.pem"
    replace(ca, authority.ca.read_bytes())
    settings["ca"] = str(ca)

    async def main() -> None:
        async with station(tmp_path, broker.url, **settings) as here:
            await until(lambda: "link-up" in here.kinds())

            async def refused(n: int, why: str) -> None:
                await until(lambda: here.kinds().count("certificate-refused") == n)
                assert why in here.told[-1].text, here.told[-1].text

            replace(key, authority.issue("gw1").key_pem())
            await refused(1, "cert or key cannot be used: KEY_VALUES_MISMATCH")
            replace(cert, b"nonsense")
            await refused(2, "cert or key cannot be used")
            stranger.issue("gw1").put(cert, key)
            await refused(3, "the other side")
            authority.issue("gw1", days=-1).put(cert, key)
            await refused(4, "the other side")
            mine(tmp_path, authority)
            await until(lambda: here.kinds().count("certificate-renewed") == 1)
            replace(ca, stranger.ca.read_bytes())  # the broker is not believed any more
            await refused(5, "the other side's certificate is not trusted")
            cert.unlink()
            await refused(6, "No such file")
            assert here.kinds().count("link-up") == 2  # one renewal was good
            broker.stop(kill=True)  # what was good is in memory
            broker.start()
            await until(lambda: here.kinds().count("link-up") == 3)
            here.put(1)
            await until(here.delivered)

    run(main())


@needs_mosquitto
def test_what_a_trial_cannot_show_brings_the_old_certificate_back(tmp_path: Path, authority: Authority, broker):
    """A certificate that may shake hands and not come in: the old one has its turn, and the new one is told of."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    told: list[str] = []
    settings = Mqtt(name="p", url=broker.url, **mine(first, authority))
    ring = Keyring(settings, settings.place(), "TLS", lambda kind, text, facts: told.append(kind))

    async def main() -> None:
        one = await ring.context()
        ring.made(None)
        mine(first, authority)
        two = await ring.context()
        assert two is not one  # and nothing comes of it
        assert await ring.context() is one
        three = await ring.context()  # nor of the old one: perhaps the broker is away
        assert three not in (one, two)
        assert await ring.context() is one
        ring.made(None)
        assert told == ["certificate-refused"]
        assert await ring.context() is one

    run(main())


@needs_mosquitto
@pytest.mark.parametrize("form", ["pkcs12", "encrypted key", "openssl pkcs12"])
def test_a_key_may_be_locked_and_its_passphrase_is_elsewhere(
    tmp_path: Path, authority: Authority, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch, form: str
):
    issued = authority.issue("gw1")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("GATE", "open sesame")
    (tmp_path / "word").write_text("open sesame\n")
    if form == "encrypted key":
        issued.put(tmp_path / "gw.pem", tmp_path / "gw.key", "open sesame")
        more = {"cert": str(tmp_path / "gw.pem"), "key": "credential:gw.key", "passphrase": "env:GATE"}
    else:
        (tmp_path / "gw.p12").write_bytes(issued.p12("open sesame"))
        more = {"pkcs12": "credential:gw.p12", "passphrase": f"file:{tmp_path / 'word'}"}
    if form == "openssl pkcs12":
        issued.put(tmp_path / "c.pem", tmp_path / "c.key")
        command = ["openssl", "pkcs12", "-export", "-inkey", "c.key", "-in", "c.pem", "-out", "gw.p12"]
        subprocess.run([*command, "-passout", "env:GATE"], cwd=tmp_path, check=True, capture_output=True)

    async def main() -> None:
        async with station(tmp_path, broker.url, ca=str(authority.ca), **more) as here:
            await until(lambda: here.feed.up or here.faults)
            assert not here.faults
        (tmp_path / "word").write_text("wrong")
        monkeypatch.setenv("GATE", "wrong")
        async with station(tmp_path / "b", broker.url, ca=str(authority.ca), **more) as here:
            await until(lambda: here.faults)
            assert "cannot be used" in here.faults[0]
            assert "wrong" not in here.faults[0].replace("wrong key", "").replace("wrong password", "")

    run(main())


@needs_mosquitto
def test_the_days_that_are_left_are_known_of_everybody(tmp_path: Path, authority: Authority, broker: Mosquitto):
    settings = mine(tmp_path, authority, days=7)

    async def main() -> None:
        async with station(tmp_path, broker.url, crl=str(authority.crl), **settings) as here:
            await until(lambda: "link-up" in here.kinds())
            ring = here.feed.notes[tls.KEYRING]
            left = days(ring.expires, tls.WHOSE, time.time())
            assert [round(one) for one in left] == [7, 10, 30, 5]
            assert Mqtt(name="p", url=broker.url, crl="x", **settings).certificates() == tls.WHOSE

    run(main())


@needs_mosquitto
def test_a_broker_whose_certificate_was_revoked_is_not_spoken_to(tmp_path: Path, authority: Authority):
    issued = authority.issue("broker", ["127.0.0.1"])
    files = authority.files("revoked", issued)

    async def main() -> None:
        with Mosquitto(tmp_path / "broker", tls=files) as broker:
            more = {"ca": str(authority.ca), "crl": str(authority.crl)}
            async with station(tmp_path / "a", broker.url, **more) as here:
                await until(lambda: here.feed.up)
            authority.revoke(issued)
            async with station(tmp_path / "b", broker.url, **more) as here:
                await until(lambda: here.faults)
                assert "certificate revoked" in here.faults[0]

    run(main())


def test_no_key_in_the_open_is_written_to_a_disk(tmp_path: Path, authority: Authority):
    (tmp_path / "gw.p12").write_bytes(authority.issue("gw1").p12("word"))
    (tmp_path / "word").write_text("word")
    settings = Mqtt(name="p", url="mqtts://host", pkcs12=str(tmp_path / "gw.p12"), passphrase=f"file:{tmp_path}/word")
    seen: list[str] = []
    opened = os.open

    def noted(path: Any, *more: Any, **others: Any) -> int:
        seen.append(str(path))
        return opened(path, *more, **others)

    os.open = noted  # type: ignore[assignment]
    try:
        papers(settings, "TLS")
    finally:
        os.open = opened
    assert not seen
    assert sorted(path.name for path in tmp_path.iterdir()) == ["authority", "gw.p12", "word"]


def test_a_secret_that_cannot_be_read_is_told_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (tmp_path / "binary").write_bytes(b"\xff\xfehunter2")
    for reference in ("env:ABSENT_HERE", f"file:{tmp_path}/absent", "credential:absent", f"file:{tmp_path}/binary"):
        with pytest.raises(LineLost, match="cannot be read") as told:
            secret.read(reference, "connect")
        assert "hunter2" not in str(told.value)


SITE = """
[site]
name = "mine"
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
url = "mqtts://127.0.0.1:1"
ca = "ca.pem"
pkcs12 = "gw.p12"
passphrase = "env:GATE"
[[uplink]]
name = "plain"
url = "mqtt://127.0.0.1:1"
"""


def test_a_certificate_that_runs_out_is_an_alarm_by_two_limits_that_a_site_may_move(tmp_path: Path):
    (tmp_path / "site.toml").write_text(SITE)
    config = load(tmp_path / "site.toml")
    assert config.layouts[tls.SOURCE].key == ("platform.own", "platform.peer", "platform.authority")

    def raised(path: Path, left: list[float]) -> set[tuple[str, str, str]]:
        config = load(path)
        core = config.core()
        at = Instant(5.0, 1.8e9, True)
        told = frame(tls.SOURCE, at, config.layouts[tls.SOURCE], left)
        _, verdict = core.step(core.start("b", Instant(0.0, 1.8e9)), told)
        return {(alarm.rule, alarm.channel, alarm.level) for alarm in verdict.alarms}

    soon, urgent = "agent.certificate.soon", "agent.certificate.urgent"
    assert raised(tmp_path / "site.toml", [29.0, 400.0, 31.0]) == {(soon, "tls/platform.own", "yellow")}
    assert raised(tmp_path / "site.toml", [400.0, -1.0, 400.0]) == {
        (soon, "tls/platform.peer", "yellow"),
        (urgent, "tls/platform.peer", "orange"),
    }
    (tmp_path / "profiles").mkdir()
    shipped = (SHIPPED / "profiles" / "agent.toml").read_text()
    (tmp_path / "profiles" / "agent.toml").write_text(shipped.replace("30.0", "0.5").replace("7.0", "0.1"))
    assert raised(tmp_path / "site.toml", [29.0, 0.4, 31.0]) == {(soon, "tls/platform.peer", "yellow")}
    assert any("profiles/agent.toml" in text for text in load(tmp_path / "site.toml").overrides)


def test_a_literal_secret_in_a_site_file_is_refused_at_its_line_and_never_repeated(tmp_path: Path):
    words = ("hunter2", "31415926")
    text = SITE.replace('"env:GATE"', '"hunter2"') + 'user = "u"\npassword = 31415926\n'
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(ConfigFault) as told:
        load(tmp_path / "site.toml")
    said = "\n".join(told.value.complaints)
    assert "passphrase must say where it is kept" in said
    assert "`password` = (not shown): should be text" in said
    assert not [word for word in words if word in said]
