"""Drafts of reports: what the journal knows is in them, what it does not is blank, and no version is ever changed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from agent import audit, bundle, drafts
from agent.cli import main
from agent.core.alarm import Order
from agent.drafts import BLANK, Asked
from tests.tools.mine import CH4, Mine, at

NOW = 1_700_009_000.0


@pytest.fixture
def mine(tmp_path: Path) -> Mine:
    made = Mine(tmp_path / "state", CH4)
    made.run([0.4] * 40 + [1.2, 1.7, 1.4] + [1.3] * 40)
    made.put(Order("power", False, made.alarms[0].id, at(1041.0)))
    made.ack("Li Wei")
    return made


def draft(mine: Mine, kind: drafts.Kind = "accident", **asked) -> tuple[drafts.Version, list[str], str]:
    found = bundle.excerpt(mine.state / "journal", mine.alarms[0].id)
    told, blank = drafts.draft(mine.state, kind, found, "pit", Asked(**asked), NOW)
    return told, blank, (mine.state / "reports" / told.file).read_text()


def test_an_accident_report_has_what_is_known_and_is_blank_where_a_person_knows(mine: Mine):
    told, blank, text = draft(mine)
    for heading in ("事故发生单位概况", "时间、地点和现场情况", "简要经过", "伤亡和损失", "已经采取的措施", "其他情况"):
        assert heading in text
    row = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| ")}
    assert drafts.stamp(1_700_001_041.0) in row["| 报警时间（精确到分） / time of the alarm, to the minute"]
    assert BLANK in row["| 死亡人数 / deaths"]
    assert "power 关 / off" in row["| 系统执行 / by the system"]
    assert "1.2 %, 1 %" in row["| 数值、限值 / value, limit"]
    assert "极值 / peak 1.7 %, 1 s" in text
    assert "acknowledged Li Wei" in text
    assert {"unit", "address", "place", "deaths", "injured", "missing", "loss", "measures", "sent"} <= set(blank)
    assert told.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_its_clocks_run_from_when_a_person_knew_and_not_from_the_alarm(mine: Mine):
    told, _, text = draft(mine)
    knew = mine.alarms[-1].at.wall
    assert mine.alarms[-1].by == "Li Wei"
    assert told.due == knew + 3600
    told, _, text = draft(mine, known=1_700_005_000.0)
    assert told.due == 1_700_008_600.0
    for moment in (1_700_008_600.0, 1_700_015_800.0, 1_700_001_041.0 + 30 * 86400, 1_700_001_041.0 + 7 * 86400):
        assert drafts.stamp(moment) in text
    (mine.state.parent / "other").mkdir()
    nobody = Mine(mine.state.parent / "other" / "state", CH4)
    nobody.run([0.4] * 5 + [1.2] * 3)
    told, blank, text = draft(nobody)
    assert (told.due, "known" in blank) == (None, True)


def test_no_version_is_ever_edited_and_each_names_the_one_before(mine: Mine):
    first, _, text = draft(mine)
    second, blank, again = draft(mine, values={"deaths": "0", "place": "3 号工作面"}, by="Zhang")
    third, _, last = draft(mine, values={"deaths": "1"})
    assert (mine.state / "reports" / first.file).read_text() == text
    assert (first.before, second.before, third.before) == ("", first.sha256, second.sha256)
    assert [v.version for v in (first, second, third)] == [1, 2, 3]
    assert "deaths" not in blank
    assert f"sha256 {first.sha256}" in again
    assert "| 地点 / place | 3 号工作面 |" in last  # what was filled in stays
    assert "| 死亡人数 / deaths | 1 |" in last
    assert all(path.stat().st_mode & 0o222 == 0 for path in (mine.state / "reports").glob("*.md"))
    with pytest.raises(ValueError, match="no field `death`; there are unit, address"):
        draft(mine, values={"death": "0"})
    assert len(drafts.versions(mine.state, "accident", mine.alarms[0].id)) == 3
    assert [told.version for _, told in drafts.pending(mine.state)] == [1, 2, 3]


def test_a_hazard_ticket_has_its_five_settled_things_and_prints_as_a_page(mine: Mine):
    told, blank, text = draft(mine, "hazard", values={"responsible": "<Wang & Co>"})
    assert {"measures", "funds", "deadline", "plan", "grade", "acceptance", "regulator", "congress"} <= set(blank)
    assert f"YH-{mine.alarms[0].id}" in text
    assert "监测报警" in text
    page = (mine.state / "reports" / told.file).with_suffix(".html").read_text()
    assert told.html_sha256 == hashlib.sha256(page.encode()).hexdigest()
    assert "&lt;Wang &amp; Co&gt;" in page
    seen: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: seen.append(tag)
    parser.feed(page)
    assert seen.count("table") == 4
    assert "script" not in seen


def test_the_command_drafts_without_a_daemon_and_the_journal_is_told_when_it_starts(tmp_path: Path, mine: Mine, capsys):
    from agent.config import load
    from agent.daemon import Agent

    mine.chain.end()
    site = tmp_path / "pit.toml"
    site.write_text(
        '[site]\nname = "pit"\n[store]\npath = "state"\n[[bus]]\nname = "b"\nurl = "tcp://127.0.0.1:9"\n'
        '[[bus.device]]\nname = "z"\nunit = 1\nperiod = 1.0\n'
        '[[bus.device.channel]]\nkey = "ch4"\nat = "holding:0"\ntype = "float32"\nunit = "%"\n'
    )
    words = ["report", "accident", mine.alarms[0].id, "-c", str(site), "--json", "--known", "2023-11-15 06:40"]
    assert main([*words, "--set", "deaths=0", "--by", "Li", "--out", str(tmp_path / "copy.html")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["due"] == time.mktime((2023, 11, 15, 7, 40, 0, 0, 0, -1))
    assert "<h1>生产安全事故快报" in (tmp_path / "copy.html").read_text()
    assert main([*words, "--set", "deaths"]) == 64
    assert main(["report", "hazard", "nobody", "-c", str(site)]) == 69

    async def once() -> None:
        agent = Agent(load(site))
        running = asyncio.create_task(agent.run())
        async with asyncio.timeout(20):
            while drafts.pending(mine.state) or not hasattr(agent, "audit"):
                await asyncio.sleep(0.02)
        agent.stop()
        await running

    asyncio.run(once())
    events = [msgspec.json.decode(r.body) for r in audit.records(mine.state / "journal") if b'"report-draft"' in r.body]
    assert [event["event"]["facts"]["sha256"] for event in events] == [told["sha256"]]
    verdict = audit.verify(mine.state / "journal")
    assert (verdict.faults, verdict.signed) == ([], verdict.last)
    words.remove("--json")
    assert main([*words, "--out", str(tmp_path / "copy.md")]) == 0
    assert f"{tmp_path / 'copy.md'} is a copy of it" in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "copy.md"), "--lang", "zh"]) == 0
    told = capsys.readouterr().out
    assert f"副本:{tmp_path / 'copy.md'}" in told
    assert "前报县级监管部门" in told
    assert not re.search("[a-z]{2,} [a-z]{2,} [a-z]{2,}", told)
