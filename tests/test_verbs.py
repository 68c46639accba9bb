"""Every verb as a technician, a script and a shell meet it: help, wrong words, JSON, colour, progress, completion,
manual. The shells, man(1) and groff are the other side.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from agent import handbook, handbook_zh, manual, said, terminal
from agent.cli import _parser, main
from agent.core import words as sentences
from agent.web.texts import TEXTS
from tests.rigs.stage import heard, running, stage, told
from tests.tools.mosquitto import needs_mosquitto
from tests.tools.subscriber import Subscriber

IDEOGRAPH = re.compile("[\u4e00-\u9fff]")
DESIGN = "run check test probe simulate demo replay record queue alarms audit models version"  # section 7, and doctor


def parsers(language="en"):
    """Every parser, by the words that lead to it."""

    def walk(words, parser):
        yield words, parser
        for one in manual.verbs(parser):
            yield from walk(f"{words} {one.name}", one.parser)

    return dict(walk("vedette", _parser(language)))


# -- help ---------------------------------------------------------------------------------------------


def test_every_verb_says_what_it_does_with_an_example_and_every_word_is_explained():
    found = parsers()
    names = [words.split()[1] for words in found if words.count(" ") == 1]
    assert set(DESIGN.split()) <= set(names)
    assert [name for name in names if name not in handbook.EXAMPLES] == []
    grouped = [name for mine in handbook.GROUPS.values() for name in mine]
    assert len(grouped) == len(set(grouped))
    assert set(names) <= set(grouped)
    silent = [
        f"{words} {action.option_strings or action.dest}"
        for words, parser in found.items()
        for action in parser._actions
        if not action.help and not isinstance(action, argparse._SubParsersAction)
    ]
    assert silent == []
    for words, parser in found.items():
        assert parser.format_help().strip(), words
        assert "--json" in parser.format_help() or words == "vedette"


def test_examples_are_words_that_are_understood():
    import shlex

    parser = _parser()
    known = {one.name for one in manual.verbs(parser)}
    for name, shown in handbook.EXAMPLES.items():
        for line, _ in shown if name in known else ():
            words = shlex.split(line.partition(" | ")[0].partition(" > ")[0])
            assert words[:2] == ["vedette", name]
            parser.parse_args(words[1:])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "see what is:"),
        (["alrams"], "no verb `alrams`; did you mean `alarms`?"),
        (["audit", "verfy"], "no deed `verfy`; did you mean `verify`?"),
        (["alarms", "--by"], "`vedette alarms --help` says more"),
    ],
)
def test_wrong_words_are_answered_with_better_ones(words, says, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == os.EX_USAGE
    told = capsys.readouterr()
    assert says in told.err
    assert told.out == ""


@pytest.mark.parametrize("words", [["--json", "--lang", "zh"], ["--lang=zh", "--json"]])
def test_what_every_verb_takes_may_stand_before_it(words, capsys):
    assert main([*words, "version"]) == 0
    assert json.loads(capsys.readouterr().out)["version"]
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert end.value.code == 0
    assert "查看现状" in capsys.readouterr().out
    assert main(["-c", "/nowhere/site.toml", *words, "check"]) == os.EX_CONFIG
    assert "/nowhere/site.toml" in json.loads(capsys.readouterr().out)["complaints"][0]
    with pytest.raises(SystemExit) as end:
        main(["--lang", "zh"])
    assert end.value.code == os.EX_USAGE
    assert "查看现状" in capsys.readouterr().err


def test_a_program_is_answered_in_english(monkeypatch, capsys):
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert main(["key", "new", "/etc/passwd", "--json"]) == os.EX_UNAVAILABLE
    told = capsys.readouterr()
    assert json.loads(told.out)["error"].isascii()
    assert main(["check", "-c", "/nowhere/site.toml"]) == os.EX_CONFIG
    assert "/nowhere/site.toml: 无法读取:没有该文件或目录" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "code"), [("--json 动词", os.EX_USAGE), ("check --lang zh --help", 0)])
def test_a_stream_that_cannot_show_it_ends_nothing(words, code):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "agent.cli", *words.split()]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False)


def test_wrong_words_are_answered_in_json_where_that_is_wanted(monkeypatch, capsys):
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    with pytest.raises(SystemExit) as end:
        main(["report", "--json"])
    assert end.value.code == os.EX_USAGE
    told = capsys.readouterr()
    assert json.loads(told.out)["error"].startswith("the following arguments are required: kind, ID")
    assert "缺少参数" in told.err


# -- Chinese ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "environ"),
    [(["--lang", "zh"], {}), (["--lang=zh"], {"LANG": "en_US.UTF-8"}), ([], {"LANG": "zh_CN.UTF-8"})],
)
def test_help_is_chinese_for_whoever_reads_chinese(words, environ):
    env = {name: value for name, value in os.environ.items() if name not in ("LC_ALL", "LC_MESSAGES", "LANG")}
    env |= {"PYTHONPATH": os.getcwd(), "PYTHONUTF8": "1"}

    def helped(*words, **environ):
        line = [sys.executable, "-m", "agent.cli", *words]
        return subprocess.run(line, env=env | environ, capture_output=True, encoding="utf-8", check=True).stdout

    zh, en = helped("check", "--help", *words, **environ), helped("check", "--help")
    assert "一次列出配置的全部错误" in zh
    assert "更正只有一种含义的错误" in zh
    assert re.findall("[a-z]{3,} [a-z]{3,} [a-z]{3,}", zh) == [], "three words of English in a row"
    assert "every fault, or the wiring" in en
    assert not IDEOGRAPH.search(en)
    assert "查看现状" in helped("--help", *words, **environ)


def test_every_text_of_help_and_manual_has_a_chinese_one_and_no_chinese_one_is_left_over(monkeypatch):
    texts, asked = handbook_zh.ZH, set()

    class Heard(dict):
        def get(self, key, usual=None):
            asked.add(key)
            return super().get(key, usual)

    monkeypatch.setattr(handbook_zh, "ZH", Heard(texts))
    manual.roff(_parser("zh"))
    _parser("zh").format_help()
    assert {text for text in asked if not IDEOGRAPH.search(text)} - texts.keys() == {argparse.SUPPRESS}
    assert texts.keys() - asked == {"more"}, "that is for verbs of no group, of which there are none"
    english, chinese = parsers(), parsers("zh")
    same = [
        f"{words} {action.dest}"
        for words, parser in english.items()
        for action, other in zip(parser._actions, chinese[words]._actions, strict=True)
        if action.help == other.help != argparse.SUPPRESS and texts.get(action.help) != action.help
    ]
    assert [one for one in same if not one.endswith("verb")] == [], "an argument that still speaks English"


def test_chinese_texts_keep_options_names_and_numbers():
    words = re.compile(
        r"--[a-z-]+|\b[A-Z]{2,}\b|`[^`]+`|\[\[?\w[\w.]*\]\]?|\$\w+|[{][}]|[\w.]+[.](?:toml|jsonl|zip|db)|\d[\d.]*\b"
    )
    lost = {
        en: gone
        for en, zh in handbook_zh.ZH.items()
        if not en.isupper() or en in ("SPDX",)
        if (gone := [word for word in words.findall(en) if word not in zh])
    }
    assert lost == {}
    assert [zh for zh in handbook_zh.ZH.values() if re.search("[\uff00-\uffef]", zh)] == [], (
        "signs are of half width here"
    )


def test_chinese_help_fits_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for words, parser in parsers("zh").items():
        lines = parser.format_help().splitlines()
        assert too_wide(lines) == [], words
        assert not [line for line in lines if line.strip()[:1] in tuple(",。;:、)")], words


def too_wide(lines):
    """Those wider than 80 columns, but for examples and choices, which nobody breaks."""
    shown = (line.strip() for line in lines if cell_len(line.rstrip()) > 80)
    return [line for line in shown if " " in line and not line.startswith("vedette ")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("alrams", "没有动词 `alrams`;是否指 `alarms`?详见 `vedette --help`"),
        ("audit verfy", "deed 不能是 `verfy`;是否指 `verify`?详见 `vedette audit --help`"),
        ("audit --lang fr", "--lang 不能是 `fr`;可选:en, zh;详见 `vedette audit --help`"),
        ("drill", "缺少参数 name, --by;详见 `vedette drill --help`"),
        ("alarms --by", "--by 后须有一个值;详见"),
        ("replay", "缺少参数 FOLDER;详见"),
        ("status --foo", "无法识别的参数 --foo;详见"),
        ("status --every x", "--every 须为数值,而非 `x`;详见"),
        ("probe x --baud x", "--baud 须为整数,而非 `x`;详见"),
        ("status --once=3", "--once 不带值,却给出了 `3`;详见"),
        ("alarms --re x", "选项 --re 有歧义,可能是 --reset, --restore, --reason"),
    ],
)
def test_wrong_words_are_answered_in_chinese(words, says, monkeypatch, capsys):
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    with pytest.raises(SystemExit) as end:
        main(words.split())
    assert end.value.code == os.EX_USAGE
    assert says in capsys.readouterr().err


# -- answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("profiles", "show", "coal/ch4/T1"), ("hazards",)])
def test_limits_and_inventories_are_told_in_chinese(words, tmp_path, capsys):
    unit = '[[unit]]\nname = "farm"\npeople = 45\n[[unit.substance]]\nname = "ammonia"\nquantity = 60.0\n'
    (tmp_path / "farm.toml").write_text(unit)
    en, zh = both(capsys, *words, *([tmp_path / "farm.toml"] if words == ("hazards",) else []))
    numbers = [set(re.findall(r"\d[\d.]*", text)) for text in (en, zh)]
    assert numbers[0] ^ numbers[1] <= {"3"}, "the level of a hazard is a word in Chinese"
    ours = re.compile("major hazard|restores beyond|people")
    assert ours.search(en)
    assert not ours.search(zh)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("check -c nowhere.toml", os.EX_CONFIG),
        ("alarms -c nowhere.toml", os.EX_CONFIG),
        ("alarms --ack x -c nowhere.toml", os.EX_USAGE),  # who?
        ("alarms --shelve x --by Li --reason y --hours nan", os.EX_USAGE),
        ("audit --last -5", os.EX_USAGE),
        ("reload -c round.toml", os.EX_CONFIG),
        ("status --every 0", os.EX_USAGE),
        ("probe tcp://127.0.0.1", os.EX_USAGE),
        ("probe tcp://127.0.0.1:1/1/holding/0 --timeout 1", os.EX_UNAVAILABLE),
        ("detect nowhere.csv", os.EX_NOINPUT),
        ("replay nowhere", os.EX_CONFIG),
        ("profiles nobody", os.EX_USAGE),
        ("hazards nowhere.toml", os.EX_CONFIG),
        ("audit --folder nowhere", os.EX_UNAVAILABLE),
        ("models verify nobody", os.EX_UNAVAILABLE),
        ("simulate", os.EX_USAGE),
        ("simulate --road nobody", os.EX_USAGE),
        ("command report", os.EX_USAGE),
        ("key show nowhere", os.EX_UNAVAILABLE),
    ],
)
def test_what_cannot_be_done_is_told_once_as_text_and_as_json(words, code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("round.toml").symlink_to("round.toml")
    assert main([*words.split(), "--json"]) == code
    facts = json.loads(capsys.readouterr().out)
    assert set(facts) in ({"error"}, {"complaints"})
    assert main(words.split()) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert str(facts.get("error") or facts["complaints"][0]) in told.err


@needs_mosquitto
def test_json_has_the_shape_that_the_manual_promises(tmp_path, capsys):
    def ask(*words, code=0):
        assert main([*map(str, words), "--json"]) == code, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    def fits(shape, answer):
        first, *more = keys = handbook.SHAPES[shape]
        if first == "*":
            assert isinstance(answer, list), shape
            assert answer, shape
            assert all(set(more) <= set(one) for one in answer), shape
        else:
            assert set(keys) <= set(answer), (shape, set(keys) - set(answer))
        checked.add(shape)
        return answer

    checked = set[str]()

    async def main_() -> None:
        async with stage(tmp_path, 3, 0.1, lambda: [1.5]) as (_, line, broker, path):
            site, later = ("-c", path), asyncio.to_thread
            with Subscriber(broker.port, "vedette/#") as ear:
                async with running(path):
                    alarm = told(await heard(ear, lambda ms: told(ms, "alarm/")), "alarm/")[0]["id"]
                    for shape in ("alarms", "alarms --load", "status", "queue"):
                        fits(shape, await later(ask, *shape.split(), *site))
                    fits("check", await later(ask, "check", *site))
                    fits("test", await later(ask, "test", *site))
                    fits("probe", await later(ask, "probe", f"{line.url}/1/holding/0:2"))
                    assert await later(ask, "colours", *site) == []  # no item
                    assert await later(ask, "alarms", "--ack", alarm, "--by", "Li", *site) == {"ok": alarm}
            fits("explain", await later(ask, "explain", alarm, *site))
            fits("audit", await later(ask, "audit", *site))
            fits("audit key", await later(ask, "audit", "key", *site))
            fits("audit --last", await later(ask, "audit", "--last", 3, *site))
        assert await later(ask, "passwd", *site) == []

    asyncio.run(main_())
    (tmp_path / "in.csv").write_text("t,x\n" + "".join(f"{i},{i % 7}\n" for i in range(50)))
    assert fits("detect", ask("detect", tmp_path / "in.csv"))["rows"] == 50
    fits("key", ask("key", "new", tmp_path / "anna.pem"))
    fits("version", ask("version"))
    case = "tests/cases/acknowledged"
    fits("replay", ask("replay", case))
    (compared,) = fits("replay --compare", ask("replay", case, "--compare"))
    assert compared["same"]
    fits("replay --what-if", ask("replay", case, "--what-if", "limit=0.8"))
    left = handbook.SHAPES.keys() - checked
    assert left == {"colours", "demo", "passwd", "record", "watch"}, "those have no place here"


def test_what_is_offered_while_somebody_types_is_never_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words in manual.WORDS:
        assert main(["completion", words, "-c", "nowhere.toml"]) == 0
    assert "coal/ch4/T1" in capsys.readouterr().out


# -- languages, colour, progress ----------------------------------------------------------------------


def test_both_languages_say_the_same_facts():
    import string

    def fields(text):
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for key, (en, zh) in said.MORE.items():
        assert fields(en) == fields(zh), key
    for table in (sentences.BOUNDS, sentences.WIRING):
        for key, en in table["en"].items():
            assert fields(en) == fields(table["zh"][key]), key
    assert said.MORE.keys().isdisjoint(TEXTS)
    assert set(said.MORE.values()).isdisjoint(TEXTS.values()), "what both say is in one table"


FACTS = re.compile(r"[\w.-]+/[\w./*-]+|\b\d[\d.]*|--[a-z]+")  # places, numbers, options
ENGLISH = re.compile(r"\b[a-z]{2,} [a-z]{2,} [a-z]{2,}\b")  # three words in a row


def both(capsys, *words):
    """What a verb answers in English, and in Chinese."""
    told = []
    for language in ("en", "zh"):
        main([*map(str, words), "--lang", language])
        told.append(capsys.readouterr().out)
    return told


@pytest.mark.parametrize("site", ["demo", "site.example", "commands.example", "camera.example", "region.example"])
def test_a_check_says_in_chinese_all_that_it_says_in_english(site, capsys):
    en, zh = both(capsys, "check", "-c", f"configs/{site}.toml")
    assert "no faults" in en
    assert not IDEOGRAPH.search(en)
    assert "没有错误" in zh
    assert set(FACTS.findall(en)) - {"pictures/s"} == set(FACTS.findall(zh))
    assert ENGLISH.findall(zh) == []
    assert en.count("\n") == zh.count("\n")


def test_a_replay_says_in_chinese_all_that_it_says_in_english(capsys):
    for words in (["--compare"], ["--what-if", "limit=0.8"], ["--what-if", "limit=2"]):
        en, zh = both(capsys, "replay", "tests/cases/acknowledged", *words)
        assert sorted(FACTS.findall(en)) == sorted(FACTS.findall(zh))
        assert ENGLISH.findall(zh) == []
        assert all(IDEOGRAPH.search(line) for line in zh.splitlines())


def test_what_the_world_did_is_told_in_chinese(tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # nobody listens there
        words = ["probe", f"tcp://127.0.0.1:{port}/1/holding/0"]
        assert main([*words, "--lang", "zh"]) == os.EX_UNAVAILABLE
        says = capsys.readouterr().err
        assert says == f"vedette: 连接 tcp://127.0.0.1:{port}:被拒绝;请检查端口,以及唯一的连接是否已被占用\n"
        assert main([*words, "--json", "--lang", "zh"]) == os.EX_UNAVAILABLE
        assert "refused; check the port" in json.loads(capsys.readouterr().out)["error"]
        site = f'[site]\nname = "mine"\n[store]\npath = "{tmp_path}/state"\n[[bus]]\nname = "b"\n'
        site += f'url = "tcp://127.0.0.1:{port}"\n[[bus.device]]\nname = "d"\nunit = 1\nperiod = 1.0\n'
        site += '[[bus.device.channel]]\nkey = "x"\nat = "holding:0"\n'
        (tmp_path / "site.toml").write_text(site)
        assert main(["test", "-c", str(tmp_path / "site.toml"), "--lang", "zh"]) == os.EX_UNAVAILABLE
        assert f"b: 连接 tcp://127.0.0.1:{port}:被拒绝" in capsys.readouterr().out
    assert main(["alarms", "-c", str(tmp_path / "site.toml"), "--lang", "zh"]) == os.EX_UNAVAILABLE
    told = capsys.readouterr().err
    assert ENGLISH.findall(told) == []
    assert "`vedette run` 是否正以本现场文件运行?" in told


@pytest.mark.parametrize(
    ("lang", "environ", "site", "spoken"),
    [
        (None, {"LANG": "C.UTF-8"}, "zh", "zh"),
        (None, {"LANG": "en_US.UTF-8"}, "zh", "en"),
        (None, {"LC_ALL": "zh_CN.UTF-8", "LANG": "en_US"}, "en", "zh"),
        ("en", {"LC_ALL": "zh_CN.UTF-8"}, "zh", "en"),
        (None, {}, "en", "en"),
    ],
)
def test_the_language_is_asked_of_the_words_then_the_machine_then_the_site(lang, environ, site, spoken, monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert terminal.language(argparse.Namespace(lang=lang), site) == spoken


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_who_closed_the_outputs_gets_the_exit_code_all_the_same(closed):
    words = ["/bin/bash", "-c", f'"$0" -m agent.cli version {closed}', sys.executable]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_progress_is_for_terminals_only_and_leaves_nothing_behind():
    screen = pytest.importorskip("tests.tools.screen", reason="the emulator of a terminal is not installed")
    code = (
        "from agent import terminal; terminal.PATIENCE = terminal.BREATH = 0\n"
        "with terminal.Progress('replay', 8, 'frames') as progress:\n"
        "    for n in range(9): progress(n)\n"
        "print('done')"
    )
    words = [sys.executable, "-c", code]
    with screen.screen(words) as see:
        assert see.ended() == 0
        assert b"replay  50 % of 8 frames" in see.raw
        assert see.text.strip() == "done"
    plain = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (plain.stdout, plain.stderr) == ("done\n", "")


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({}, False)],
)
def test_nobody_gets_colour_who_does_not_want_it(environ, coloured, monkeypatch):
    class Terminal:
        def isatty(self) -> bool:
            return True

    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    ink = terminal.Ink(Terminal())  # type: ignore[arg-type]
    assert (ink("red", "red") != "red") == coloured
    assert ink("", "plain") == "plain"


# -- shells and the manual ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    pytest.importorskip("shtab", reason="not installed: completion of shells")
    folder = tmp_path_factory.mktemp("shells")
    for shell in manual.SHELLS:
        (folder / f"vedette.{shell}").write_text(manual.script(_parser(), shell))
    (folder / "vedette").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m agent.cli "$@"\n')
    (folder / "vedette").chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("vedette al", {"alarms"}),
        ("vedette audit ex", {"export"}),
        ("vedette models ver", {"verify"}),
        ("vedette alarms --sh", {"--shelve"}),
        ("vedette status --lang ", {"en", "zh"}),
        ("vedette check -c site.t", {"site.toml"}),
        ("vedette profiles coal/ch4/T3-", {"coal/ch4/T3-series"}),  # asked of the program itself
    ],
)
def test_bash_completes(typed, offered, scripts, tmp_path):
    (tmp_path / "site.toml").write_text("")
    code = r"""
source "$1/vedette.bash"; PATH="$1:$PATH"; COMP_LINE=$2; COMP_POINT=${#2}
read -ra COMP_WORDS <<< "$2"; [[ $2 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
[[ $(complete -p vedette) =~ -F\ ([^ ]+) ]] && "${BASH_REMATCH[1]}" vedette "${COMP_WORDS[COMP_CWORD]}" \
    "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "-c", code, "bash", str(scripts), typed],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert set(filter(None, done.stdout.split("\n"))) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_understand_their_script(shell, scripts):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", scripts / f"vedette.{shell}"], check=True, capture_output=True)
    if shell == "fish":
        line = f'source {scripts}/vedette.fish; complete -C "vedette al"'
        done = subprocess.run(["fish", "--no-config", "-c", line], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("alarms\t")


@pytest.mark.parametrize(
    ("language", "sections", "named", "shown"),
    [
        (
            "en",
            ("NAME", "SYNOPSIS", "DESCRIPTION", "VERBS", "EXIT STATUS", "FILES", "ENVIRONMENT", "EXAMPLES"),
            "vedette - a sentry at the edge",
            "Whatisopen:",
        ),
        (
            "zh",
            ("名称", "概要", "说明", "动词", "退出码", "文件", "环境变量", "示例"),
            "vedette - 边缘哨兵",
            "红色报警和联锁不得搁置",
        ),
    ],
)
def test_the_manual_is_a_page_that_man_shows_without_a_warning(
    language, sections, named, shown, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1764288000")
    assert main(["man", "--lang", language]) == 0
    page = tmp_path / "vedette.1"
    page.write_text(capsys.readouterr().out, "utf-8")
    text = page.read_text("utf-8")
    assert text.startswith('.TH VEDETTE 1 2025-11-28 "vedette ')
    for name in (one.name for one in manual.verbs(_parser())):
        assert f"\\fBvedette {name}\\fP" in text
    for section in sections:
        assert f".SH {section}\n" in text
    if shutil.which("mandoc"):
        subprocess.run(["mandoc", "-Tlint", "-W", "warning,stop", page], check=True)
        drawn = subprocess.run(
            ["mandoc", "-Tutf8", "-Owidth=80", page], capture_output=True, check=True
        ).stdout.decode()
        assert too_wide(re.sub(".\b", "", drawn).splitlines()) == []
    if shutil.which("man") is None or shutil.which("lexgrog") is None:
        pytest.skip("man is not installed")
    env = os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MAN_KEEP_FORMATTING": ""}
    found = subprocess.run(["lexgrog", page], env=env, capture_output=True, encoding="utf-8", check=True).stdout
    assert named in found
    done = subprocess.run(["man", "--warnings", "-l", page], env=env, capture_output=True, encoding="utf-8", check=True)
    assert done.stderr == ""
    assert "vedette alarms --ack 000007-5e1f-3 --by Li" in done.stdout
    assert shown in re.sub(r"\s+", "", done.stdout)
    assert too_wide(done.stdout.splitlines()) == []
    assert "\\" not in done.stdout.replace("\\0", "")
