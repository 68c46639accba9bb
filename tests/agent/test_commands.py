"""What people signed, judged: pure, by properties, and against somebody else's program: openssl."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import keys
from agent.commands import (
    LARGEST,
    SCHEMA,
    VERBS,
    AnyDeed,
    Command,
    Configure,
    Here,
    Issuer,
    Shelve,
    judge,
    known,
    signed,
    written,
)
from agent.core.frame import Instant
from tests.tools.orders import ACK, ANNA, BO, EVE, NOW

AT = Instant(100.0, NOW, True)
UNSURE = Instant(100.0, 12.0, False)
PEOPLE = known(
    [
        Issuer(name="anna", key=keys.text(ANNA), may=("ack", "shelve", "configure")),
        Issuer(name="bo", key=keys.text(BO), may=("ack", "shelve")),
        Issuer(name="eve", key=keys.text(EVE), may=("report",)),
    ]
)
KEY = PEOPLE["anna"].fingerprint


def here(**other: object) -> Here:
    usual = Here("mine/gw1", "cafe", PEOPLE, ("shelve",), 3600.0, {}, 0.0, ())
    return usual._replace(**other)


def command(do: AnyDeed = ACK, **other: object) -> Command:
    usual = {"device": "mine/gw1", "issuer": "anna", "counter": 7, "do": do}
    stamps = {"issued": round(1000 * NOW) - 2000, "expires": round(1000 * NOW) + 60_000}
    return Command(schema=SCHEMA, **{**usual, **stamps, **other})


def envelope(one: Command, **signers: Ed25519PrivateKey) -> bytes:
    return signed(written(one), signers or {"anna": ANNA})


def reason(one: bytes, by: Here | None = None, at: Instant = AT) -> str:
    return judge(one, by or here(), at).reason or "accepted"


SILENCE = Shelve(point="gas@plant/c0", reason="calibration", seconds=600.0)


def test_what_somebody_signed_who_may_is_accepted():
    verdict = judge(envelope(command()), here(), AT)
    assert (verdict.state, verdict.by, verdict.spends) == ("accepted", ("anna",), KEY)
    assert verdict.command == command()


@pytest.mark.parametrize(
    ("why", "one", "by", "at"),
    [
        ("size", b" " * (LARGEST + 1), here(), AT),
        ("form", b'{"text": "{}"}', here(), AT),
        ("form", envelope(command())[:-1], here(), AT),
        ("signature", envelope(command(), anna=EVE), here(), AT),
        ("signature", envelope(command(), mallory=EVE), here(), AT),
        ("signature", envelope(command(), anna=ANNA, bo=EVE), here(), AT),  # one is right, and one is not
        ("signature", envelope(command(), bo=BO), here(), AT),  # the issuer must be among them
        ("form", signed('{"schema": "vedette.command/2"}', {"anna": ANNA}), here(), AT),
        ("device", envelope(command(device="mine/gw2")), here(), AT),
        ("role", envelope(command(issuer="eve"), eve=EVE), here(), AT),
        ("role", envelope(command(), anna=ANNA, eve=EVE), here(), AT),
        ("persons", envelope(command(SILENCE)), here(), AT),
        ("accepted", envelope(command(SILENCE), anna=ANNA, bo=BO), here(), AT),
        ("counter", envelope(command()), here(counters={KEY: 7}), AT),
        ("accepted", envelope(command()), here(counters={KEY: 6}), AT),
        ("lifetime", envelope(command(expires=round(1000 * NOW) + 3_700_000)), here(), AT),
        ("lifetime", envelope(command(expires=0)), here(), AT),
        ("expired", envelope(command()), here(), Instant(0.0, NOW + 60.0, True)),
        ("early", envelope(command()), here(), Instant(0.0, NOW - 150.0, True)),
        ("forgotten", envelope(command()), here(floor=NOW), AT),
        ("clock", envelope(command()), here(), UNSURE),
        ("clock", envelope(command()), here(floor=float("inf")), AT),
        ("clock", envelope(command(challenge="x")), here(challenges=("y",)), UNSURE),
        ("accepted", envelope(command(challenge="y")), here(challenges=("y",)), UNSURE),
        ("config", envelope(command(config="beef")), here(), AT),
        ("config", envelope(command(Configure(toml="x"))), here(), AT),
        ("accepted", envelope(command(Configure(toml="x"), config="cafe")), here(), AT),
    ],
)
def test_each_look_stops_what_it_is_for(why: str, one: bytes, by: Here, at: Instant):
    assert reason(one, by, at) == why


def test_a_counter_is_spent_by_all_that_got_so_far_and_by_nothing_before():
    spending = {"lifetime", "expired", "early", "forgotten", "clock", "config"}
    for one, by, at in (
        (envelope(command(SILENCE)), here(), AT),  # a second person may still sign it
        (envelope(command(issuer="eve"), eve=EVE), here(), AT),
        (envelope(command(config="beef")), here(), AT),
        (envelope(command()), here(), UNSURE),
        (envelope(command()), here(), Instant(0.0, NOW + 60.0, True)),
    ):
        verdict = judge(one, by, at)
        assert bool(verdict.spends) == (verdict.reason in spending)


def test_no_bit_of_an_envelope_can_be_turned():
    """Every one of them; 64 bytes in base64 have four bits that say nothing, and those count, too."""
    one = envelope(command())
    accepted = [bit for bit in range(8 * len(one)) if reason(flipped(one, bit)) == "accepted"]
    assert (reason(one), accepted) == ("accepted", [])


def flipped(one: bytes, bit: int) -> bytes:
    return one[: bit // 8] + bytes([one[bit // 8] ^ 1 << bit % 8]) + one[bit // 8 + 1 :]


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_anybodys_bytes_are_refused_and_break_nothing(data: bytes):
    assert judge(data, here(), AT).state == "rejected"


@given(st.text(), st.dictionaries(st.text(max_size=5), st.text(max_size=90), max_size=5))
def test_anybodys_envelope_is_refused(text: str, signatures: dict[str, str]):
    assert not judge(msgspec.json.encode({"text": text, "signatures": signatures}), here(), AT).by


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(-200, 200), st.sampled_from(["", "a", "b"]), st.booleans())),
)
def test_no_counter_is_ever_done_twice_or_after_a_later_one(story: list[tuple[int, int, str, bool]]):
    """Whatever comes in whatever order, and whatever the clock says meanwhile."""
    counters: dict[str, int] = {}
    done: list[int] = []
    for counter, seconds, challenge, synced in story:
        at = Instant(0.0, NOW + seconds, synced)
        one = envelope(command(counter=counter, challenge=challenge))
        verdict = judge(one, here(counters=dict(counters), challenges=("a",)), at)
        if verdict.state == "accepted":
            done.append(counter)
            fresh = synced and -122.0 <= seconds < 60.0
            assert fresh or challenge == "a"
        if verdict.spends:
            counters[verdict.spends] = counter
    assert done == sorted(set(done))


def test_openssl_signs_what_is_accepted(tmp_path: Path):
    key, text, signature = tmp_path / "key.pem", tmp_path / "text", tmp_path / "signature"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    key.chmod(0o600)
    spelt = json.dumps(msgspec.to_builtins(command()), indent=2, ensure_ascii=False)  # as somebody else would
    text.write_text(spelt)
    subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", text, "-out", signature], check=True)
    signatures = {"anna": base64.b64encode(signature.read_bytes()).decode()}
    one = json.dumps({"signatures": signatures, "text": spelt}).encode()
    people = known([Issuer(name="anna", key=keys.text(keys.private(key)), may=("ack",))])
    assert reason(one, here(issuers=people)) == "accepted"
    assert reason(one) == "signature"


def test_every_verb_has_a_deed_and_a_key_that_is_none_says_so():
    tags = {kind.__struct_config__.tag for kind in AnyDeed.__args__}
    assert tags == set(VERBS)
    with pytest.raises(ValueError, match="no public key"):
        Issuer(name="anna", key="abc", may=())
