"""What `vedette check --fix` puts right, what it leaves alone, and that the rest of the file stays as it was."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from agent import config, fix
from agent.cli import main as cli

ROOT = Path(__file__).parents[2]
RIGHT = """\
# The north shaft.   Wired by Li, 2026
[site]
name = "north"      # of the mine
language = "zh"

[[bus]]
name = "shaft"
url = "tcp://127.0.0.1:502"
timeout = 0.5
[[bus.device]]
name = "heading"
unit = 17           # DIP switches 1 and 5
period = 1.0
channel = [
  { key = "ch4", at = "holding:0", type = "float32", order = "CDAB", unit = "%" },  # face
  { key = "co", at = "holding:2", scale = 0.1, unit = "ppm" },
]

[[rule]]
name = "gas"
kind = "high"
channel = "heading/ch4"
limit = 1.0
level = "red"       # cut

[[uplink]]
name = "platform"
url = "mqtt://127.0.0.1"
user = "north"
password = "env:PW"
"""
WRONG = [  # right, wrong
    ('name = "north"  ', 'nmae = "north"  '),
    ('language = "zh"', 'Language = "ZH"'),
    ("[[uplink]]", "[[uplinks]]"),
    ("timeout = 0.5", 'timeout = "0.5"'),
    ("unit = 17 ", 'unit = "17" '),
    ("period = 1.0", "perod = 1.0"),
    ('order = "CDAB"', 'order = "cdab"'),
    ('type = "float32"', 'type = "Float32"'),
    ("scale = 0.1", "scael = 0.1"),
    ('unit = "ppm"', 'unit = "PPM"'),
    ('unit = "%"', 'unit = "％"'),
    ('kind = "high"', 'kind = "hihg"'),
    ('kind = "high"', 'kindd = "high"'),
    ("limit = 1.0", 'limit = "1.0"'),
    ('level = "red" ', 'level = "Red" '),
]


def put_right(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "site.toml"
    path.write_bytes(text.encode(encoding))
    return path, fix.fixed(path)


@pytest.mark.parametrize(("right", "wrong"), WRONG, ids=[wrong for _, wrong in WRONG])
def test_what_is_misspelt_becomes_what_it_should_be_and_nothing_else_moves(tmp_path, right, wrong):
    assert RIGHT.count(right) == 1
    _, done = put_right(tmp_path, RIGHT.replace(right, wrong))
    assert done.after == RIGHT
    line = 1 + RIGHT[: RIGHT.index(right)].count("\n")
    places = {said.split(": ")[0] for said in done.said}
    assert places == {f"site.toml:{14 if 14 <= line <= 17 else line}"}  # a table within a line is where that begins


def test_a_slip_of_the_finger_in_a_key_is_put_right_or_left_alone_but_never_made_another_key(tmp_path):
    dice, text = random.Random(11), (ROOT / "configs" / "site.example.toml").read_text("utf-8")
    right = 0
    for word in re.finditer(r"(?m)^[a-z_]{5,}(?= = )", text):
        i = dice.randrange(len(word[0]) - 1)
        slips = (word[0][:i] + word[0][i + 1 :], word[0][:i] + word[0][i + 1] + word[0][i] + word[0][i + 2 :])
        wrong = text[: word.start()] + dice.choice(slips) + text[word.end() :]
        _, done = put_right(tmp_path, wrong)
        assert done.after in (text, wrong)
        right += done.after == text
    assert right >= 0.9 * len(re.findall(r"(?m)^[a-z_]{5,}(?= = )", text))


def test_all_at_once_with_a_copy_and_a_diff(tmp_path, capsys):
    text = RIGHT
    for right, wrong in WRONG:
        text = text.replace(right, wrong)
    path = tmp_path / "site.toml"
    path.write_text(text, "utf-8")
    path.chmod(0o640)
    assert cli(["check", "-c", str(path), "--fix", "--dry-run"]) == os.EX_CONFIG
    assert path.read_text("utf-8") == text
    capsys.readouterr()
    assert cli(["check", "-c", str(path), "--fix", "--lang", "en"]) == 0
    said = capsys.readouterr().out
    assert "-perod = 1.0" in said
    assert "+period = 1.0" in said
    assert "as it was: site.toml.bak" in said
    assert (path.read_text("utf-8"), path.stat().st_mode & 0o777) == (RIGHT, 0o640)
    assert (tmp_path / "site.toml.bak").read_text("utf-8") == text
    assert cli(["check", "-c", str(path), "--fix", "--lang", "en"]) == 0  # again: nothing to do, and no second copy
    assert "nothing to put right" in capsys.readouterr().out
    assert sorted(one.name for one in tmp_path.iterdir()) == ["site.toml", "site.toml.bak"]


def test_what_ships_is_not_touched(tmp_path):
    for path in [
        *ROOT.glob("configs/*.example.toml"),
        ROOT / "configs/demo.toml",
        *ROOT.glob("tests/cases/*/site.toml"),
    ]:
        done = fix.fixed(path)
        assert (done.said, done.after) == ([], done.before), path


@pytest.mark.parametrize(
    "wrong",
    [
        RIGHT.replace("heading/ch4", "heading/ch5"),  # which channel is meant, nobody can tell
        RIGHT.replace("limit = 1.0", "limt_of_law = 1.0"),
        RIGHT.replace('level = "red"', 'level = "pink"'),
        RIGHT.replace("unit = 17", "unit = 300"),
        RIGHT.replace("period = 1.0", "p = 1.0"),
        RIGHT.replace("[[rule]]", "[[rule]"),
    ],
)
def test_what_could_mean_several_things_stays_and_is_told(tmp_path, wrong, capsys):
    path, done = put_right(tmp_path, wrong)
    assert (done.after, done.said) == (wrong, [])
    assert cli(["check", "-c", str(path), "--fix"]) == os.EX_CONFIG
    assert "site.toml:" in capsys.readouterr().err
    assert path.read_text("utf-8") == wrong


def test_a_secret_in_the_open_goes_into_a_file_of_its_own_and_is_never_shown(tmp_path, capsys):
    path = tmp_path / "site.toml"
    path.write_text(RIGHT.replace('"env:PW"', '"hunter2"  # of the platform'))
    assert cli(["check", "-c", str(path), "--fix"]) == 0
    out, errors = capsys.readouterr()
    assert "hunter2" not in out + errors
    file = tmp_path / "secrets" / "platform.password"
    assert (file.read_text(), file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (
        "hunter2",
        0o600,
        0o700,
    )
    assert f'password = "file:{file}"  # of the platform' in path.read_text()
    assert (tmp_path / "site.toml.bak").stat().st_mode & 0o777 == 0o600
    (up,) = config.load(path).uplinks
    assert up.password == f"file:{file}"
    file.chmod(0o644)
    assert cli(["check", "-c", str(path), "--fix"]) == 0
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("encoding", ["gbk", "utf-16"])
def test_a_file_of_notepad_becomes_utf_8(tmp_path, encoding):
    text = RIGHT.replace("The north shaft", "北部井筒,瓦斯监测")
    _, done = put_right(tmp_path, text, encoding)
    assert done.after == text
    assert "it is UTF-8" in done.said[0]


def test_chinese_punctuation_outside_of_strings_is_that_of_toml(tmp_path):
    wrong = RIGHT.replace('name = "north" ', "name ＝ “north” ").replace("0.1, unit", "0.1， unit")
    text = wrong.replace("of the mine", "矿，“北”")
    _, done = put_right(tmp_path, text)
    assert done.after == RIGHT.replace("of the mine", "矿，“北”")
    assert [re.match(r"site.toml:\d+", said)[0] for said in done.said] == ["site.toml:3", "site.toml:16"]


def test_keys_of_a_chinese_keyboard_are_those_that_were_meant(tmp_path):
    wrong = RIGHT.replace("[[bus]]", "【【bus】】").replace("0.1, unit", "０。１, unit").replace("# ", "＃ ")
    _, done = put_right(tmp_path, wrong)
    assert done.after == RIGHT


def test_a_limit_beside_a_profile_as_the_first_programs_took_it(tmp_path):
    (tmp_path / "profiles").mkdir()
    one = '[one]\nunit = "%"\n[[one.limit]]\nname = "alarm"\ncompare = ">="\nlevel = "red"\n'
    (tmp_path / "profiles" / "own.toml").write_text(one)
    old = RIGHT.replace('kind = "high"', 'profile = "own/one"').replace('level = "red"       # cut\n', "")
    path, done = put_right(tmp_path, old)
    assert done.after == old.replace("limit = 1.0", "limits = { alarm = 1.0 }")
    path.write_text(done.after)
    assert {rule.limit for rule in config.load(path).rules if rule.name == "gas.alarm"} == {1.0}
