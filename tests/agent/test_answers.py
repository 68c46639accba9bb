"""What the agent answers to whoever wants something done: all of it is said in Chinese, too, where people read it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from string import Formatter

import pytest

from agent import console
from agent.core.alarm import LEVELS, STATE_NAMES
from agent.core.core import VERBS
from agent.drill import lines
from agent.reload import Change, Plan
from agent.said import Said
from agent.web import answers
from agent.web.texts import TEXTS, Words

NO = Change((), (), (), ())
ROOT = Path(__file__).parents[2]
PLACES = {  # file -> functions whose answers people hear; all of them where none is named
    "agent/core/core.py": ("refusal",),
    "agent/core/colours.py": ("refusal",),
    "agent/core/exposure.py": ("refusal",),
    "agent/daemon.py": (
        *("_answer", "_needless", "_drill", "_compare", "_presence", "reload", "_reload", "_commanded"),
        *("_prove", "_unproven"),
    ),
    "agent/deeds.py": (),
    "agent/desk.py": ("heard", "take", "end", "settle"),
    "agent/commands.py": ("opened", "judge", "_judged"),
    "agent/limits.py": ("refusal",),
    "agent/update.py": ("offer", "switch"),
    "agent/clerk.py": ("protect", "_refused"),
    "agent/commission.py": ("test",),
    "agent/drill.py": (),
    "agent/control.py": ("speak",),
    "agent/console.py": (),
    "agent/reload.py": ("compared",),
    "agent/web/people.py": ("read",),
}
SAYS = ("failed", "done", "Result", "Verdict", "refused", "ValueError", "Stop", "Link", "_named", "append")
NOT_FOR_PEOPLE = {
    "agent/drill.py": ("lines", "event", "alarm", "meeting", "named"),
    "agent/console.py": ("_branch", "_alarm_lines", "_load_lines", "_level", "lane", "told", "add", "_status"),
    "agent/deeds.py": ("point", "asked"),
}


def said(node: ast.AST | None) -> Iterator[str]:
    """The texts that an expression can be, with 7 for what stands in them."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=other):
            yield from said(body)
            yield from said(other)
        case ast.JoinedStr(values=values):
            yield from map("".join, product(*(list(said(value)) for value in values)))
        case ast.FormattedValue(value=ast.IfExp() as value):
            yield from said(value)
        case ast.FormattedValue():
            yield "7"
        case ast.BoolOp(values=values):
            for value in values:
                yield from said(value)


def answered(function: ast.AST) -> Iterator[str]:
    """What it returns, puts under `error` or `ok`, raises, hands to one of `SAYS`, or calls `why`, `hold` or `text`."""
    for node in ast.walk(function):
        match node:
            case ast.Return(value=value):
                yield from said(value)
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and key.value in ("error", "ok", "complaints"):
                        yield from said(value)
                        if isinstance(value, ast.List):
                            yield from (text for one in value.elts for text in said(one))
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args, keywords=keywords):
                if name in SAYS:
                    given = [*args, *(word.value for word in keywords if word.arg == "text")]
                    yield from (text for one in given for text in said(one))
            case ast.Assign(targets=[ast.Name(id="why" | "hold" | "text")], value=value):
                yield from said(value)


def gathered() -> Iterator[tuple[str, str]]:
    """File and text of every answer in the sources."""
    for place, names in PLACES.items():
        for node in ast.walk(ast.parse((ROOT / place).read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                asked = node.name in names if names else node.name not in NOT_FOR_PEOPLE.get(place, ())
                yield from ((place, text) for text in answered(node) if asked and is_sentence(text))


def is_sentence(text: str) -> bool:
    """Whether people would read it: more than one word of ours."""
    return len(re.findall(r"(?:^|[ {])[A-Za-z`]{2,}", text)) > 1


GATHERED = sorted(set(gathered()))


@pytest.mark.parametrize(("place", "text"), GATHERED)
def test_every_answer_of_the_sources_is_there_in_chinese(place, text):
    assert answers.HAN.search(Words("zh").answer(text)), f"{place}: {text}"
    assert Words("en").answer(text) == text


def test_what_is_far_too_long_costs_no_time_and_stays_as_it_is():
    text = "id" + " give --by NAME" * 1000
    assert Words("zh").answer(text) == text


def test_the_sources_were_looked_through():
    """One of each way in which an answer is written."""
    texts = {text for _, text in GATHERED}
    assert len(texts) > 100
    assert {
        "no rule 7 watches 7",
        "7 is not manual: 7 does not apply",
        "no open alarm has the id 7",
        "a clip is longer than 0 and at most 7 s",
        "for configuration 7; in force is 7",
        "reference and tolerance are numbers, the tolerance not below 0",
        "who acknowledges?",
        "its line does not answer",
        "[7] 7 is 7, not 7",
    } <= texts


def blanks(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name)


def test_both_languages_have_the_same_blanks():
    for english, chinese in answers.ANSWERS.items():
        number = {"n"} if english.startswith("[Errno") else set()  # says nothing to people
        assert set(blanks(chinese)) == set(blanks(english)) - number, english


def test_no_answer_is_said_by_a_row_of_another():
    """Each row is found by a text of its own; those before it do not take it away."""
    for english in answers.ANSWERS:
        facts = {
            name: "shelve" if name in answers.WORDS else "NOT proven" if name == "why" else "7"
            for name in blanks(english)
        }
        assert answers.found(english.format(**facts)) == (answers.ANSWERS[english], facts), english


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("it is out-of-service: there is nothing to shelve", "当前状态为“已停用”,无需搁置"),
        ("it is still red: release north first", "当前仍为红色:须先解除 north"),
        ("commissioning.jsonl: No space left on device", "commissioning.jsonl: 磁盘已满"),
        ("acknowledged b-1; not on the disk yet", "已确认 b-1;尚未写入磁盘"),
        ("take-out: gas@plant/c0", "停用:gas@plant/c0"),
        ("what nobody wrote down: 7", "what nobody wrote down: 7"),
        ("no rule {why} watches {0}", "没有规则 {why} 监测 {0}"),  # what people type is no blank
    ],
)
def test_words_of_ours_within_an_answer_are_said_too(english, chinese):
    assert Said("zh").fault(english) == chinese


def test_what_a_reload_changed_is_said_in_chinese():
    plan = Plan([], Change((), ("b",), ("a",), ()), Change(("q",), (), (), ()), NO, NO, True, ["site"])
    facts = {"config": "new", "former": "old", "by": "Li", **plan.facts()}
    reply = {"ok": f"configuration new in place of old: {plan.words()}", "changes": facts}
    assert console._changed(reply, Said("en")) == reply["ok"]
    chinese = "配置 new 取代 old:线路变更 1 项(b);线路移除 1 项(a);[site];[web]"
    assert console._changed(reply, Said("zh")) == chinese
    late = {"ok": "bus b does not end: the agent begins again, by the new file"}
    assert console._changed(late, Said("zh")) == "bus b 不结束:代理按新文件重新启动"


def test_the_links_of_a_drill_are_said_in_chinese_and_stand_in_columns():
    links = [
        {"name": "sensor", "of": "z/t1", "result": "ok", "seconds": 0.1},
        {"name": "output", "of": "cut", "result": "not proven", "seconds": 0.0, "text": "not armed"},
    ]
    assert lines({"links": links}, Words("zh").answer) == [
        "传感器  z/t1  正常    0.100 s  ",
        "输出    cut   未验证  0.000 s  未启用",
    ]


def test_every_word_of_ours_within_an_answer_has_a_text():
    assert set(VERBS) | set(STATE_NAMES) | set(LEVELS) | {"within", "beyond", "acknowledge"} <= TEXTS.keys()
