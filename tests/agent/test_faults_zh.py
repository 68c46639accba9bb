"""What the sources can tell of a site file has a text in Chinese, and no text is of nothing any more."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from agent.cli import main
from agent.complaints import Complaints, Places, decode
from agent.faults_zh import ZH, said
from tests.tools import told

ROOT = Path(__file__).parents[2]
MODULES = [  # where a site file is read, and what its author may be told by the command line
    *(
        "agent/complaints",
        "agent/config",
        "agent/fix",
        "agent/newsite",
        "agent/workshop",
        "agent/named",
        "agent/secret",
    ),
    *("agent/profiles", "agent/upkeep", "agent/interlocks", "agent/hazards", "agent/limits", "agent/commands"),
    *("agent/keys", "agent/window", "agent/evidence", "agent/sights", "agent/ground", "agent/tls", "agent/wire"),
    *("agent/reload", "agent/migrate", "agent/journal", "agent/cli", "agent/console", "agent/watch", "agent/whatif"),
    *("agent/web/people", "agent/web/passwd", "agent/control"),
    *(f"agent/core/{name}" for name in ("colours", "derive", "exposure", "ports", "rules", "units")),
    *(f"agent/uplink/{path.stem}" for path in sorted((ROOT / "agent/uplink").glob("*.py"))),
    *(f"drivers/{name}" for name in ("bus", "gnss", "link", "modbus", "neighbour", "registers", "serial", "speaker")),
    *("drivers/video", "drivers/modbus_wire"),
    *(f"models/{path.stem}" for path in sorted((ROOT / "models").glob("*.py"))),
]
LATER = {  # functions whose faults no site file brings about: what a line, a platform or a picture does
    *("agent/secret read", "agent/evidence read", "agent/upkeep changed", "agent/control serve"),
    *("agent/tls papers", "agent/tls _load_pkcs12", "agent/tls Keyring.made", "agent/uplink/jt808_parameters Values."),
    *("agent/uplink/hj212 Session.", "agent/uplink/hj212 _number", "agent/uplink/jt808 Session."),
    *(
        "agent/uplink/hj212_wire",
        "agent/uplink/jt808_wire",
        "agent/uplink/jt808_files",
        "agent/uplink/jt808_words",
        "agent/uplink/sparkplug_wire",
    ),
    *("agent/uplink/minefiles_places", "agent/uplink/session", "agent/uplink/memo", "agent/uplink/past"),
    *(
        "drivers/bus",
        "drivers/gnss Gnss.frames",
        "drivers/gnss Gnss.once",
        "drivers/gnss _open",
        "drivers/link TcpLink",
    ),
    *("drivers/neighbour Ear.", "agent/uplink/minefiles Minefiles._", "agent/uplink/periods"),
}
SAME = {  # clauses that are names, and are as they are
    *(
        "url {}",
        "--hours {}",
        "at {}",
        "[web]",
        "[site]",
        "[commands]",
        "[[unit]]",
        "settable",
        "self",
        "lanes",
        "commands",
        "points",
    ),
    *("zones", "beach", "listen", "watch", "url", "trust", "mask", "clips", "ring", "ring_mb", "gnss", "state", "name"),
    *("encoding", "file.{}", "quality.{}", "state_by_abnormal.{}", "abnormal_by_quality.{}", "--units {}"),
    *("--speed {}", "--camera {}", "--fps {}", "--show {}", "password = 'credential:NAME', env", "bus `{}`, evidence"),
    *('pip install "vedette[video]"', 'pip install "vedette[web]"', "pip install 'vedette[onnx]'", "standard input"),
    "another program has it; check the path, the rights and who else uses it",  # in two parts
    "{} is {}",  # of two words in quotes, "'{}' is '{}'"
    *("no channel is called {}{}", "`{}` is ``", "{} `{}` is ``", "`{}` is `profile`", "`limit` is `limits`"),  # there
}
ELSEWHERE = {  # said by Python and msgspec
    *("[Errno {}] {}", "No module named {}", "Input data was truncated", "Object contains unknown field `{}`"),
    *("{} (at line {}, column {})", "{} (at end of document)"),
    *("'{}' is '{}'", "must be > {}", "must be < {}", "must be >= {}", "must be <= {}"),
    *("{} codec can't decode byte {} in position {}", "invalid start byte", "invalid continuation byte"),
    "unexpected end of data",
    *("Expected `{}` >= {}", "Expected `{}` <= {}"),
}


def sources() -> dict[str, str]:
    """Every clause that may be told, and where it stands."""
    found: dict[str, str] = {}
    for module in MODULES:
        for clause, function in told.clauses(ROOT / f"{module}.py").items():
            found.setdefault(clause, f"{module} {function}")
    return found


def of_toml() -> set[str]:
    """What Python's own parser complains of."""
    names = {"suffixed_err", "TOMLDecodeError"}
    tree = ast.parse(Path(tomllib._parser.__file__).read_text("utf-8"))  # type: ignore[attr-defined]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in names]
    texts = [text for call in calls for given in call.args for text in told._texts(given, {})]
    return {text for text in texts if re.search("[A-Z][a-z]+ ", text)}


def test_every_fault_that_a_site_file_brings_about_has_a_text() -> None:
    found = sources()
    assert len(found) > 300
    lacking = {
        clause: where
        for clause, where in found.items()
        if clause not in ZH and clause not in SAME and not where.startswith(tuple(LATER))
    }
    assert lacking == {}
    assert set(found) >= SAME


def test_every_text_is_of_a_fault_that_is_told() -> None:
    """By its whole clause; else, where code joins it, by its words, which stand somewhere."""
    found, places = set(sources()) | of_toml() | ELSEWHERE, [*MODULES, "agent/deeds", "agent/daemon", "agent/said"]
    words = "".join((ROOT / f"{place}.py").read_text("utf-8") for place in places)
    words += "".join(os.strerror(number) for number in errno.errorcode)
    words += (ROOT / "agent/core/errors.py").read_text("utf-8")
    schema = (ROOT / "configs/site.schema.json").read_text("utf-8")
    words += " ".join(f"{key} `" for key in re.findall(r'"(\w+)":', schema))  # a table in a list is told by its key
    orphans = [
        english
        for english in ZH
        if english not in found and not all(part.strip().lower() in words.lower() for part in english.split("{}"))
    ]
    assert orphans == []


def test_a_text_says_all_that_its_fault_says() -> None:
    for english, chinese in ZH.items():
        if english == "[Errno {}] {}":  # the number is the text again
            continue
        n = english.count("{}")
        turns = [int(turn) for turn in re.findall(r"\{(\d+)\}", chinese)]
        assert (sorted(turns) if turns else list(range(chinese.count("{}")))) == list(range(n)), english
        assert not (turns and "{}" in chinese), english
        english, chinese = (re.sub(r"`\{\d?\}`", "", text) for text in (english, chinese))
        for kind in ("`[^`]+`", r"(?<![\w{])\d[\d.]*(?![\w}])", r"\[\[?[a-z]+\]\]?", r"--[a-z]+"):
            assert Counter(re.findall(kind, english)) == Counter(re.findall(kind, chinese)), english


def test_what_is_no_toml_is_told_in_chinese() -> None:
    assert sorted(of_toml() - ZH.keys() - {"{} (at {})"}) == []
    for text in (
        "a = ",
        "a = 1 b",
        "[a",
        "a = 'x",
        "a = [1",
        "a = 1\na = 2",
        "[a]\n[a]",
        "a = {b = 1",
        'a = "\\u12"',
        "é",
    ):
        with pytest.raises(tomllib.TOMLDecodeError) as caught:
            tomllib.loads(text)
        assert told.untold(f"site.toml:1: not TOML: {caught.value}") == "", caught.value


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    x: int


class Shape(Struct, frozen=True, forbid_unknown_fields=True):
    """One key of each kind that settings have."""

    count: Annotated[int, Meta(ge=1, le=9)] = 1
    number: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    text: Annotated[str, Meta(min_length=1, max_length=3)] = "a"
    word: Annotated[str, Meta(pattern="^a$")] = "a"
    choice: Literal["a", "b"] = "a"
    either: int | str | None = None
    pair: tuple[int, int] = (1, 2)
    some: Annotated[list[int], Meta(min_length=1)] = []
    yes: bool = True
    table: Inner = Inner(1)


@pytest.mark.parametrize(
    "table",
    [
        *({"count": value} for value in (0, 10, "x", 0.5, True, [1], {"a": 1})),
        *({"number": value} for value in (0, 1, "x")),
        *({"text": value} for value in ("", "abcd", 1)),
        *({"either": 0.5}, {"pair": [1]}, {"pair": [1, 2, 3]}, {"some": []}, {"some": ["x"]}, {"yes": "no"}),
        *({"word": "b"}, {"choice": "c"}, {"table": {}}, {"table": {"x": "y"}}, {"table": 1}, {"tabel": {}}),
    ],
    ids=str,
)
def test_a_value_that_is_wrong_is_told_in_chinese(table: dict[str, Any]) -> None:
    complaints = Complaints(Places())
    assert decode(table, Shape, complaints, "[site]") is None
    for line in complaints.lines:
        assert told.untold(f"site.toml:3: {line.removeprefix('?: ')}") == "", line
        says = said(line)
        assert re.search("[\u4e00-\u9fff]", says), says
        assert not re.search("should|must|Expected|missing|whole|entries", says), says


def test_names_are_carried_over_as_they_are() -> None:
    """Be they words that have a text of their own."""
    line = "site.toml:3: rule `text`: no channel is called `a number: busy; null`; did you mean `no unit`?"
    assert said(line) == "site.toml:3: 规则 `text`:没有测点 `a number: busy; null`;是否指 `no unit`?"
    assert said("x.toml:1: unknown key `z`; known: busy, null") == "x.toml:1: 未知的键 `z`;可选:busy, null"
    assert said("nobody has a text for this: at all") == "nobody has a text for this: at all"


SITE = '[site]\nname = "north"\n{more}[[bus]]\nname = "net"\nurl = "tpc://h"\nperod = 1\n'


def test_a_person_reads_chinese_and_a_program_english(tmp_path, capsys, monkeypatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "site.toml"
    check = ["check", "-c", str(path)]

    def says(*words: str) -> str:
        assert main([*words]) == os.EX_CONFIG
        return capsys.readouterr().err

    path.write_text(SITE.format(more=""))
    english = says(*check)
    assert "site.toml:6: bus `net`: unknown key `perod`" in english
    assert english.endswith("in the configuration; nothing was started\n")
    chinese = says(*check, "--lang", "zh")
    assert "site.toml:6: 总线 `net`:未知的键 `perod`" in chinese
    assert re.search(r"^vedette: 配置中有 \d+ 处错误;未启动$", chinese, re.MULTILINE)
    assert english.count("\n") == chinese.count("\n")
    assert says("run", "-c", str(path)) == english
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert says(*check) == chinese
    assert says("run", "-c", str(path)) == english  # into a log
    assert says("run", "-c", str(path), "--lang", "zh") == chinese
    monkeypatch.delenv("LANG")
    path.write_text(SITE.format(more='language = "zh"\n'))
    assert "site.toml:7: 总线 `net`:未知的键 `perod`" in says(*check)
    assert says(*check, "--lang", "en") == english.replace("toml:6", "toml:7").replace("toml:4", "toml:5")
    assert main([*check, "--json"]) == os.EX_CONFIG
    assert "unknown key `perod`" in " ".join(json.loads(capsys.readouterr().out)["complaints"])


def test_what_is_put_right_is_told_in_chinese(tmp_path, capsys) -> None:
    path = tmp_path / "site.toml"
    path.write_text(SITE.format(more="").replace("tpc", "tcp").replace("perod", "badu"))
    main(["check", "--fix", "--dry-run", "-c", str(path), "--lang", "zh"])
    assert "site.toml:6: `badu` 改为 `baud`\n" in capsys.readouterr().out


def test_only_who_reads_chinese_loads_it() -> None:
    import subprocess
    import sys

    code = "import sys, agent.cli; agent.cli.main(['version']); print('agent.faults_zh' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.splitlines()[-1] == "False"
