"""Drafts of what the law wants written: the report of an accident, the ticket of a hidden hazard. A person sends them.

Filled in is what the journal knows; whatever it does not know is left visibly blank for a person, who may fill it in on
paper or with `--set`. Each version is a file of its own that is never written again; the journal has its hash, and a
later version names the one before. Clocks run from the moment a person knew, not from the alarm.

Source of contents and times: State Council Order 493 (2007), articles 9 to 13; hazard ticket: the usual forms of
"hidden hazard registers" after the Work Safety Law (2021), article 41, as a site may call for others.
"""

from __future__ import annotations

import hashlib
import html
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from . import durable
from .bundle import Found

Kind = Literal["accident", "hazard"]
FOLDER = "reports"  # in the folder of the state
PENDING = ".pending"  # ends the name of a note that the journal was not told of a version yet
HOUR, DAY = 3600.0, 86400.0  # s
BLANK = "＿＿＿＿＿＿＿＿＿＿"
LEVELS = {"red": "红 / red", "orange": "橙 / orange", "yellow": "黄 / yellow", "blue": "蓝 / blue"}
TO_FILL = f"{BLANK} （由人填写 / for a person to fill in）"


class Line(NamedTuple):
    """One thing that is to be said."""

    zh: str
    en: str
    text: str
    field: str = ""  # by this name a person fills it in


class Part(NamedTuple):
    """A section."""

    zh: str
    en: str
    lines: list[Line]


class Asked(Struct, frozen=True, kw_only=True):
    """What a person says with the order to draft."""

    by: str = ""
    known: float | None = None  # s UTC: when the first person in charge knew; None: the first acknowledgement
    values: dict[str, str] = {}  # what fills blanks


class Version(Struct, frozen=True, kw_only=True):
    """One version, as the journal is told of it."""

    alarm: str
    report: Kind
    version: int
    file: str  # name of the Markdown in `reports`; the HTML has the same name and another ending
    sha256: str
    html_sha256: str
    before: str  # SHA-256 of the version before; empty for the first
    by: str
    made: float  # s UTC
    due: float | None  # s UTC: until when the authority has to know; None where nobody says when a person knew


# -- what the journal knows ---------------------------------------------------------------------------------


def stamp(wall: float, trusted: bool = True) -> str:
    """Local time to the minute with its zone.

    >>> stamp(0.0).startswith("19") or stamp(0.0).startswith("1970")
    True
    """
    text = time.strftime("%Y-%m-%d %H:%M (UTC%z)", time.localtime(wall))
    return text if trusted else f"{text} （时钟当时不可信 / clock not trusted then）"


def _at(edge: Mapping[str, Any]) -> str:
    return stamp(edge["at"]["wall"], bool(edge["at"].get("synced")))


def known(found: Found, asked: Asked) -> float | None:
    """When the first person knew, s UTC; None where nobody says."""
    acknowledged = [edge["at"]["wall"] for edge in found.edges if edge["event"] == "acknowledged" and edge.get("by")]
    return asked.known if asked.known is not None else min(acknowledged, default=None)


def _is_trusted(found: Found) -> bool:
    """Whether the clock could be trusted all the time."""
    return all(edge["at"].get("synced") for edge in found.edges)


def peak(found: Found) -> tuple[float, float] | None:
    """Worst value among the raw rows, and s from the raise; None where there are none."""
    raised = found.edges[0]
    judged = next((trace["judged"] for trace in found.traces if trace.get("judged")), {"sign": 1.0})
    worst: tuple[float, float] | None = None
    for said in (said for trace in found.traces for said in trace["said"]):
        name = raised["channel"].partition("/")[2]
        if said["source"] != raised["channel"].partition("/")[0] or name not in said["key"]:
            continue
        column = said["key"].index(name)
        for mono, row in zip(said["mono"], said["value"], strict=True):
            after = mono - raised["at"]["mono"]
            value = row[column]
            if (
                value is not None
                and after >= 0
                and (worst is None or judged["sign"] * value > judged["sign"] * worst[0])
            ):
                worst = value, after
    return worst


def _course(found: Found) -> list[str]:
    """What happened, in order, a sentence each."""
    said = []
    for edge in found.edges:
        who = f" {edge['by']}" if edge.get("by") else ""
        why = f" ({edge['reason']})" if edge.get("reason") else ""
        said.append((edge["at"]["mono"], f"{_at(edge)}: {edge['event']}{who}{why}: {edge['text']}"))
    for event in found.events:
        if event["kind"] in ("trip-proof", "trip-released"):
            said.append((event["at"]["mono"], f"{_at(event)}: {event['text']}"))
    if (worst := peak(found)) is not None:
        raised = found.edges[0]
        text = f"极值 / peak {worst[0]:g} {raised['unit']}, {worst[1]:.0f} s 后 / s after the alarm (of the rows kept)"
        said.append((raised["at"]["mono"] + worst[1], text))
    return [text for _, text in sorted(said)]


def _measures(found: Found) -> list[str]:
    """What the agent did by itself."""
    done = []
    for record, _ in found.lines:
        body = msgspec.json.decode(record.body)
        if body.get("kind") == "order" and body["order"]["reason"] == found.edges[0]["id"]:
            order = body["order"]
            done.append(f"{_at(order)}: {order['output']} {'开 / on' if order['on'] else '关 / off'}")
    done += [f"{_at(e)}: {e['text']}" for e in found.events if e["kind"] == "trip-proof"]
    return done


def _evidence(found: Found) -> list[str]:
    told = [event["facts"] for event in found.events if event["kind"] == "evidence"]
    return [f"{facts['id']}: {len(facts['files'])} files, manifest sha256 {facts['sha256']}" for facts in told]


def deadlines(known: float | None, happened: float, trusted: bool) -> list[Line]:
    """The clocks of an accident report; blank where nobody says when a person knew."""
    first = stamp(known + HOUR, trusted) if known is not None else TO_FILL
    second = stamp(known + 3 * HOUR, trusted) if known is not None else TO_FILL
    knew = stamp(known, trusted) if known is not None else TO_FILL
    return [
        Line("有人知悉的时间", "when the first person knew", knew, "known"),
        Line("报县级以上监管部门（知悉后 1 小时内）", "to the county authority, within 1 h of knowing", first),
        Line("监管部门逐级上报（每级不超过 2 小时）", "each authority to the next, within 2 h; the first by", second),
        Line("实际上报时间、报告人、接报人", "really sent at, by, received by", TO_FILL, "sent"),
        Line(
            "伤亡变化补报（30 日内，自报警算）",
            "changes of casualties, 30 days from the alarm",
            stamp(happened + 30 * DAY),
        ),
        Line("同上，道路交通、火灾事故（7 日内）", "the same for road and fire, 7 days", stamp(happened + 7 * DAY)),
    ]


# -- the documents ------------------------------------------------------------------------------------------


def _basis(edge: Mapping[str, Any]) -> str:
    basis = edge.get("basis", {})
    text = " ".join(filter(None, (basis.get("standard", "project"), basis.get("clause", ""), basis.get("edition", ""))))
    return f"{text} （待核对 / to be verified）" if basis.get("verify") else text


def _alarm_lines(found: Found) -> list[Line]:
    raised = found.edges[0]
    value = "" if raised["value"] is None else f"{raised['value']:g} {raised['unit']}"
    limit = "" if raised["limit"] is None else f"{raised['limit']:g} {raised['unit']}"
    return [
        Line("报警编号", "alarm", raised["id"]),
        Line("级别", "level", LEVELS[raised["level"]]),
        Line("测点", "channel", raised["channel"]),
        Line("数值、限值", "value, limit", f"{value}, {limit}"),
        Line("依据", "basis", f"{raised['rule']}: {_basis(raised)}"),
    ]  # fmt: skip


def accident(found: Found, site: str, asked: Asked) -> list[Part]:
    """The draft of an accident report, after Order 493, article 12."""
    raised = found.edges[0]

    def blank(zh: str, en: str, field: str, usual: str = "") -> Line:
        return Line(zh, en, asked.values.get(field) or usual or TO_FILL, field)

    return [
        Part("一、事故发生单位概况", "1. The unit", [
            blank("单位名称", "name", "unit"),
            Line("系统内名称", "name of the site in this system", site or TO_FILL),
            blank("地址、行业、经济类型", "address, industry, form", "address"),
            blank("联系人、电话", "contact", "contact"),
        ]),
        Part("二、时间、地点和现场情况", "2. Time, place, scene", [
            Line("报警时间（精确到分）", "time of the alarm, to the minute", _at(raised)),
            blank("事故发生时间（精确到分）", "time of the accident, to the minute", "time"),
            blank("地点", "place", "place"),
            *_alarm_lines(found),
            blank("现场情况", "scene", "scene"),
        ]),
        Part("三、简要经过", "3. Brief course", [
            *(Line("记录", "recorded", text) for text in _course(found)),
            blank("经过（人工补充）", "course, by a person", "course"),
        ]),
        Part("四、伤亡和损失", "4. Casualties and loss", [
            blank("死亡人数", "deaths", "deaths"),
            blank("重伤、轻伤人数", "injured", "injured"),
            blank("下落不明、涉险人数", "missing, possibly affected", "missing"),
            blank("初步估计直接经济损失（万元）", "first estimate of direct loss, 10,000 yuan", "loss"),
        ]),
        Part("五、已经采取的措施", "5. Measures taken", [
            *(Line("系统执行", "by the system", text) for text in _measures(found)),
            blank("人员采取的措施", "by people", "measures"),
        ]),
        Part("六、其他情况", "6. Other", [
            *(Line("证据", "evidence", text) for text in _evidence(found)),
            blank("其他", "other", "other"),
        ]),
        Part("时限（国务院令第 493 号第九至十三条）", "Clocks (Order 493, articles 9 to 13)",
             deadlines(known(found, asked), raised["at"]["wall"], asked.known is not None or _is_trusted(found))),
    ]  # fmt: skip


def hazard(found: Found, site: str, asked: Asked) -> list[Part]:
    """The draft of a ticket of a hidden hazard."""
    raised = found.edges[0]

    def blank(zh: str, en: str, field: str, usual: str = "") -> Line:
        return Line(zh, en, asked.values.get(field) or usual or TO_FILL, field)

    return [
        Part("一、隐患信息", "1. The hazard", [
            Line("编号", "id", f"YH-{raised['id']}"),
            Line("来源", "source", "监测报警 / alarm"),
            Line("单位", "site", site or TO_FILL),
            blank("类别", "category", "category"),
            blank("等级（一般 / 重大）及判定依据", "grade (general, major) and its basis", "grade"),
            Line("描述", "description", raised["text"]),
            *_alarm_lines(found),
            blank("地点", "place", "place"),
            *(Line("照片、视频", "pictures", text) for text in _evidence(found)),
            blank("照片（人工）", "photo, by a person", "photo"),
            Line("发现时间", "found at", _at(raised)),
            blank("发现人", "found by", "finder", "vedette（自动 / automatic）"),
        ]),
        Part("二、整改（五落实）", "2. Rectification (five settled things)", [
            blank("措施", "measures", "measures"),
            blank("责任人", "responsible", "responsible"),
            blank("资金", "funds", "funds"),
            blank("期限", "deadline", "deadline"),
            blank("预案", "emergency plan", "plan"),
            blank("整改前的临时防护", "protection until then", "protection"),
        ]),
        Part("三、过程和验收", "3. Progress and acceptance", [
            *(Line("记录", "recorded", text) for text in _course(found)),
            blank("进展", "progress", "progress"),
            blank("完成证明", "evidence of completion", "completion"),
            blank("验收人、时间", "accepted by, at", "acceptance"),
        ]),
        Part("四、报告", "4. Reports", [
            blank("报监管部门时间", "told to the regulator at", "regulator"),
            blank("报职工代表大会时间", "told to the workers' congress at", "congress"),
            blank("挂牌督办情况", "supervision status", "supervision"),
        ]),
    ]  # fmt: skip


DRAFTS = {"accident": accident, "hazard": hazard}
TITLES: dict[str, tuple[str, str]] = {
    "accident": ("生产安全事故快报（草稿）", "Accident report (draft)"),
    "hazard": ("事故隐患登记表（草稿）", "Ticket of a hidden hazard (draft)"),
}
FOOT = "系统起草并记录时间，由人核对后上报。/ Drafted and timed by the system; a person checks and sends it."


def fields(parts: Sequence[Part]) -> list[str]:
    """What a person may fill in with `--set`."""
    return [line.field for part in parts for line in part.lines if line.field and line.field != "known"]


def markdown(kind: Kind, parts: Sequence[Part], heads: Sequence[str]) -> str:
    """The document for people and for `diff`."""
    zh, en = TITLES[kind]
    text = [f"# {zh}", "", f"**{en}**", "", *(f"- {head}" for head in heads)]
    for part in parts:
        text += ["", f"## {part.zh}", "", f"*{part.en}*", "", "| 项目 / item | 内容 / content |", "|---|---|"]
        text += [f"| {line.zh} / {line.en} | {_cell(line.text)} |" for line in part.lines]
    return "\n".join([*text, "", FOOT, "", "签字 / signed: ＿＿＿＿＿＿＿＿   时间 / at: ＿＿＿＿＿＿＿＿", ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


PAGE = """<!doctype html><html lang="zh"><meta charset="utf-8"><title>{title}</title><style>
body{{font:11pt/1.4 "Noto Serif CJK SC","SimSun",serif;max-width:18cm;margin:1cm auto;color:#000;background:#fff}}
h1{{font-size:16pt;text-align:center;margin:0}}h2{{font-size:12pt;margin:1em 0 .3em;break-after:avoid}}
p.en,small{{color:#444}}p.en{{text-align:center;margin:0 0 1em}}
table{{border-collapse:collapse;width:100%}}td{{border:1px solid #000;padding:.25em .5em;vertical-align:top}}
td:first-child{{width:34%}}tr{{break-inside:avoid}}td.blank{{background:#fff6c9}}
@page{{size:A4;margin:1.5cm}}@media print{{td.blank{{background:none}}body{{margin:0;max-width:none}}}}
</style><h1>{zh}</h1><p class="en">{en}</p>
"""


def page(kind: Kind, parts: Sequence[Part], heads: Sequence[str]) -> str:
    """The same as one page of HTML that prints on A4."""
    zh, en = TITLES[kind]
    text = [PAGE.format(title=zh, zh=zh, en=en), "<ul>", *(f"<li>{html.escape(head)}" for head in heads), "</ul>"]
    for part in parts:
        text.append(f"<h2>{html.escape(part.zh)} <small>{html.escape(part.en)}</small></h2><table>")
        for line in part.lines:
            mark = ' class="blank"' if BLANK in line.text else ""
            label = f"{html.escape(line.zh)}<br><small>{html.escape(line.en)}</small>"
            text.append(f"<tr><td>{label}<td{mark}>{html.escape(line.text)}")
        text.append("</table>")
    return "\n".join([*text, f"<p>{FOOT}<p>签字 / signed: {BLANK} &emsp; 时间 / at: {BLANK}", ""])


# -- versions -------------------------------------------------------------------------------------------------


def versions(state: Path, kind: Kind, alarm: str) -> list[Path]:
    """The Markdown files of all versions, oldest first."""
    found = (state / FOLDER).glob(f"{kind}-{alarm}-v*.md")
    return sorted(found, key=lambda path: int(path.stem.rpartition("-v")[2]))


def draft(state: Path, kind: Kind, found: Found, site: str, asked: Asked, now: float) -> tuple[Version, list[str]]:
    """Write the next version, and a note that the journal is to be told of it. Also the fields that are still blank.

    What a person filled in in earlier versions stays filled in. Raises `OSError`, `ValueError` for an unknown field.
    """
    alarm = found.edges[0]["id"]
    old = versions(state, kind, alarm)
    n = int(old[-1].stem.rpartition("-v")[2]) + 1 if old else 1
    before = hashlib.sha256(old[-1].read_bytes()).hexdigest() if old else ""
    if old:
        kept = old[-1].with_suffix(".json")
        earlier = msgspec.json.decode(kept.read_bytes(), type=Asked) if kept.exists() else Asked()
        when = earlier.known if asked.known is None else asked.known
        asked = msgspec.structs.replace(asked, values=earlier.values | asked.values, known=when)
    parts = DRAFTS[kind](found, site, asked)
    if unknown := sorted(set(asked.values) - set(fields(parts))):
        raise ValueError(f"no field `{unknown[0]}`; there are {', '.join(fields(parts))}")
    heads = [
        f"第 {n} 版 / version {n}, {stamp(now)}" + (f", 起草 / by {asked.by}" if asked.by else ""),
        f"前一版 / the version before: {f'{old[-1].name}, sha256 {before}' if old else '无 / none'}",
        "空白处由人填写；修改产生新的一版，旧版保留。/ Blanks are for a person; a change makes a new version.",
    ]
    texts = {".md": markdown(kind, parts, heads), ".html": page(kind, parts, heads)}
    folder = state / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = f"{kind}-{alarm}-v{n}"
    when_known = known(found, asked)
    told = Version(
        alarm=alarm,
        report=kind,
        version=n,
        file=f"{name}.md",
        sha256=hashlib.sha256(texts[".md"].encode()).hexdigest(),
        html_sha256=hashlib.sha256(texts[".html"].encode()).hexdigest(),
        before=before,
        by=asked.by,
        made=now,
        due=None if kind != "accident" or when_known is None else when_known + HOUR,
    )
    durable.replace(folder / f"{name}{PENDING}", msgspec.json.encode(told))  # first: a kill hides no version
    for end, text in {**texts, ".json": msgspec.json.encode(asked).decode()}.items():
        hand = os.open(folder / f"{name}{end}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with open(hand, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(hand)
    durable.sync(folder)
    return told, [line.field for part in parts for line in part.lines if line.field and BLANK in line.text]


def pending(state: Path) -> list[tuple[Path, Version]]:
    """Versions that are there and of which the journal was not told yet, oldest first, and the notes that say so."""
    found = []
    for path in (state / FOLDER).glob(f"*{PENDING}"):
        try:
            told = msgspec.json.decode(path.read_bytes(), type=Version)
            if hashlib.sha256((path.parent / told.file).read_bytes()).hexdigest() == told.sha256:
                found.append((path, told))
        except (OSError, msgspec.DecodeError):
            continue  # being written, or not of this version
    return sorted(found, key=lambda row: (row[1].made, row[1].alarm, row[1].version))
