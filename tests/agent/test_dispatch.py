"""What a person types to sign a command, alone or as the second one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from agent import dispatch, keys
from agent.cli import main
from agent.commands import Here, Issuer, SetLimit, judge, known, opened
from agent.core.frame import Instant
from tests.tools.orders import vedette


def test_two_people_on_two_machines_sign_one_command(tmp_path: Path, capsys):
    anna, bo, order = tmp_path / "anna.pem", tmp_path / "bo.pem", tmp_path / "order"
    publics = [json.loads(vedette("key", "new", path, "--json"))["key"] for path in (anna, bo)]
    assert vedette("key", "show", anna).startswith(f'key = "{publics[0]}"')
    assert main(["key", "new", str(anna)]) == 69  # nothing is overwritten
    words = ("command", "set-limit", "rule=flood", "limit=3.0", "reason=high water", "--to", "mine/gw1", "--print")
    order.write_text(vedette(*words, "--as", "anna", "--key", anna))
    both = vedette("command", "sign", order, "--as", "bo", "--key", bo).encode().strip()
    assert "high water" in capsys.readouterr().err  # whoever signs has seen what
    people = known([Issuer(name=n, key=k, may=("set-limit",)) for n, k in zip(("anna", "bo"), publics, strict=True)])
    command = judge(
        both, Here("mine/gw1", "", people, ("set-limit",), 3600.0, {}, 0.0, ()), Instant(0, 0, True)
    ).command
    assert command is not None
    assert command.do == SetLimit(rule="flood", limit=3.0, reason="high water")
    at = Instant(0.0, command.issued / 1000, True)
    here = Here("mine/gw1", "", people, ("set-limit",), 3600.0, {}, 0.0, ())
    assert judge(order.read_bytes().strip(), here, at).reason == "persons"
    assert judge(both, here, at).by == ("anna", "bo")
    assert judge(both, here, at).state == "accepted"


def test_what_others_have_to_sign_again_with_a_challenge_is_told(tmp_path: Path, capsys):
    keys.new(tmp_path / "anna.pem")
    words = ("command", "report", "--as", "anna", "--key", tmp_path / "anna.pem", "--to", "mine/gw1", "--print")
    order = dispatch.Order(vedette(*words).encode().strip(), None)
    word = {"state": "rejected", "reason": "clock", "text": "sign it again", "challenge": "-7f3a"}
    assert dispatch._told(argparse.Namespace(json=False, wait=1.0), order, iter([word])) == 1
    assert "with --challenge=-7f3a" in capsys.readouterr().out
    assert dispatch._told(argparse.Namespace(json=False, wait=1.0, lang="zh"), order, iter([word])) == 1
    assert capsys.readouterr().out.splitlines() == [
        "已拒绝(clock):sign it again",
        "须以 --challenge=-7f3a 重新生成,并由全部人员签名",
    ]
    again = opened(vedette(*words, "--challenge=-7f3a").encode())
    assert json.loads(again.text)["challenge"] == "-7f3a"


def test_counters_of_a_key_grow_whatever_the_clock_does(tmp_path: Path):
    key = tmp_path / "anna.pem"
    keys.new(key)
    counters = [dispatch.count(key, now) for now in (1000.0, 1000.0, 5.0, 2000.0)]
    assert counters == [1_000_000, 1_000_001, 1_000_002, 2_000_000]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("set-limit", "limit=3.0"), "missing required field `rule`"),
        (("set-limit", "rule=flood", "limit=high"), "limit"),
        (("set-limit", "rule=flood", "limits=3.0"), "unknown field `limits`"),
        (("ack", "000007-5e1f-3"), "write NAME=VALUE"),
        (("configure", "toml=@nowhere.toml"), "No such file"),
    ],
)
def test_what_cannot_be_meant_says_so(words: tuple[str, ...], says: str):
    with pytest.raises(ValueError, match=says):
        dispatch.deed(words[0], words[1:])
    assert dispatch.deed("set-limit", ["rule=flood", "limit=null"]) == SetLimit(rule="flood")


def test_an_envelope_is_what_it_was_signed_as(tmp_path: Path, capsys):
    keys.new(tmp_path / "anna.pem")
    words = ["command", "report", "--as", "anna", "--key", str(tmp_path / "anna.pem")]
    assert main([*words, "--broker", "mqtt://127.0.0.1:1"]) == 64  # whom is it for?
    assert main(["command", "report"]) == 64  # who signs?
    assert main(["command", "report", "--lang", "zh"]) == 64
    assert "由谁签名?" in capsys.readouterr().err
    assert main(["command", "sign", "a", "b"]) == 64
    one = opened(vedette(*words, "--to", "mine/gw1", "--print").encode())
    assert json.loads(one.text)["do"] == {"verb": "report"}
    assert main([*words, "--to", "mine/gw1", "--broker", "mqtt://127.0.0.1:1"]) == 69  # nobody listens there
    assert "nobody listens there" in capsys.readouterr().err
