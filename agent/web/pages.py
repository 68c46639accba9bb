"""The pages: what stands on each, as functions of what is known now. Records of the past are in `records.py`.

A page is written on a `Sheet`: what changes by itself is a live part, everything else stands until the page is loaded
anew. A form with fields never stands in a live part, so that nobody's typing is taken away; buttons may.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from models.fatigue import Fatigue

from ..core.alarm import LEVELS, Alarm, Level, State, colour
from ..core.colours import Branch
from ..core.frame import Instant, Quality
from ..core.rules import Item, Manual
from ..trend import SPANS, Trends
from . import figures, glance
from .figures import shape
from .glance import Desk, Reading
from .markup import Child, Html, Sheet, join, tag
from .texts import DOUBT, Words, clock_text, full

ROWS = 100  # channels of a list, at once
CARDS = 80  # channels of a site that are shown one by one on its first page
EVENTS = 30  # of what happened, shown in passing
RAW = 900.0  # s, the longest stretch of which every value is read


class Ask(NamedTuple):
    """Who wants to see what."""

    desk: Desk
    t: Words
    query: Mapping[str, str]
    may: bool  # somebody is logged in
    sheet: Sheet
    read: Callable[..., Awaitable[Any]]  # a function that blocks, and its arguments: done by a thread
    pictures: bool  # they may see what cameras saw
    of: str = ""  # what the address names: a channel, an alarm


class Page(NamedTuple):
    """What comes of it."""

    title: str
    body: Html
    status: int = 200


View = Callable[[Ask], Awaitable[Page]]


# -- small parts --------------------------------------------------------------------------------------


def link(to: str, *children: Child, **attributes: object) -> Html:
    return tag("a", *children, href=to, **attributes)


def channel_link(channel: str) -> Html:
    return link(f"/channel/{quote(channel)}", channel)


def at(ask: Ask, when: Instant) -> Html:
    """A moment, the date where it is not today; in full for whoever points at it."""
    return moment(ask.t, when, clock_text(when.wall, ask.desk.clock.now().wall))


def moment(t: Words, when: Instant, text: str) -> Html:
    """A moment in these words, marked where the clock was not trusted then."""
    if when.synced:
        return tag("time", text, title=full(when.wall))
    mark = tag("span", DOUBT, tag("span", " ", t("unsure"), class_="hidden"), class_="unsure")
    return tag("time", text, mark, title=f"{full(when.wall)} {DOUBT} {t('unsure')}")


def pairs(rows: Mapping[str, Child], **attributes: object) -> Html:
    """Names and what belongs to them."""
    return tag("dl", ((tag("dt", k), tag("dd", v)) for k, v in rows.items()), **attributes)


def table(heads: list[Child], rows: Child, name: str, **attributes: object) -> Html:
    """A table that may be wider than a phone."""
    head = tag("thead", tag("tr", (tag("th", h, scope="col") for h in heads)))
    inside = tag("table", tag("caption", name, class_="hidden"), head, rows, **attributes)
    return tag("div", inside, class_="wide", tabindex="0", role="region", aria_label=name)


def cell(name: str, *children: Child, **attributes: object) -> Html:
    """A cell that says its column by itself where the table has become cards."""
    return tag("td", *children, data_name=name or None, **attributes)


def card(title: Child, *children: Child, class_: str = "", **attributes: object) -> Html:
    return tag("section", tag("h2", title) if title else None, *children, class_=f"card {class_}".strip(), **attributes)


async def gently(parts: Iterable[Html], n: int = 10) -> list[Html]:
    """The same parts; the judge has its turn after every few."""
    found = []
    for part in parts:
        found.append(part)
        if len(found) % n == 0:
            await asyncio.sleep(0)
    return found


def quality_mark(t: Words, quality: int) -> Html:
    """Good says nothing; anything else stands there in words."""
    kind = "bad" if quality >= Quality.STALE else "doubt" if quality else "good"
    return tag("span", t.quality(quality), class_=f"quality {kind}")


def reading_text(t: Words, one: Reading) -> Html:
    """Value and unit, marked where an alarm stands."""
    mark = shape(one.level, t.level(one.level), one.unacked) if one.level else None
    value = tag("b", t.value(one.value), class_="value")
    return join(mark, value, tag("span", one.unit, class_="unit"))


def state_text(t: Words, alarm: Alarm) -> Html:
    return tag("span", t(alarm.state), class_="state " + ("unseen" if "unacked" in alarm.state else "seen"))


def is_seen(alarm: Alarm) -> bool:
    return "unacked" not in alarm.state


# -- the frame about each page --------------------------------------------------------------------------

PAGES = ("site", "alarms", "channels", "history", "lines", "uplinks", "cameras", "evidence", "commission", "system")


def path_of(page: str) -> str:
    return "/" if page == "site" else f"/{page}"


def banner(ask: Ask) -> Html:
    """How many alarms of each level there are, and the one to look at first: on every page."""
    t, shown = ask.t, glance.alarms(ask.desk)
    if not shown:
        return tag("p", tag("span", class_="calm", aria_hidden="true"), t("no alarms"), class_="quiet")
    counts = glance.counts(shown)
    marks = [
        link(
            f"/alarms?level={level}",
            shape(level, t.level(level), unseen > 0),
            tag("b", n),
            tag("span", t("unseen", n=unseen), class_="hidden") if unseen else None,
            class_="count",
        )
        for level, (n, unseen) in counts.items()
        if n
    ]
    worst = shown[0]
    text = link(f"/alarm/{quote(worst.id)}", worst.text, class_=f"headline {'seen' if is_seen(worst) else 'unseen'}")
    return join(tag("span", marks, class_="counts"), text)


def live_strip(ask: Ask) -> Html:
    return ask.sheet.live("banner", banner(ask), class_="banner", aria_live="polite", aria_atomic="true")


# -- site -----------------------------------------------------------------------------------------------


async def site(ask: Ask) -> Page:
    """By colour, and by source."""
    t, desk = ask.t, ask.desk
    out: list[Child] = []
    if trees := glance.branches(desk, t.language):
        body = tag("div", (branch(t, one) for one in trees), class_="tree")
        out.append(ask.sheet.live("tree", tag("h2", t("items")), body, as_="section", class_="card"))
    tiles = glance.tiles(desk)
    few = sum(tile.measured for tile in tiles) <= CARDS
    driver = driver_score(ask)
    if driver is not None:
        out.append(driver)
    cards = []
    for i, tile in enumerate(tiles):
        head = tag("h2", link(f"/channels?source={quote(tile.source)}", tile.source), tile_marks(t, tile))
        rows: Child = None
        if few:
            shown = glance.readings(desk, tile.source, glance.front(desk, tile.source))
            rows = tag("table", tag("tbody", (mini(t, one) for one in shown)), class_="mini")
        kind = f"card tile {tile.level or ''}".strip()
        cards.append(ask.sheet.live(f"tile{i}", head, rows, as_="section", class_=kind))
    return Page(t("site"), join(out, tag("div", cards, class_="tiles" if few else "tiles small")))


def tile_marks(t: Words, tile: glance.Tile) -> Html:
    mark = shape(tile.level, t.level(tile.level), tile.unacked) if tile.level else None
    blind = tag("span", t("blind", n=tile.blind), class_="quality bad") if tile.blind else None
    return tag("span", tag("small", t("points", n=tile.channels)), blind, mark, class_="marks")


def mini(t: Words, one: Reading) -> Html:
    """One channel in a line."""
    name = link(f"/channel/{quote(one.channel)}", one.key)
    quality = quality_mark(t, one.quality) if one.quality else None
    away = tag("span", t(one.away), class_="away") if one.away else None
    return tag(
        "tr",
        tag("th", name, scope="row"),
        tag("td", figures.bar(one) if one.is_analog else None, class_="barred"),
        tag("td", reading_text(t, one), class_="number"),
        tag("td", quality, away) if quality or away else None,
        class_=one.level or None,
    )


def branch(t: Words, one: Branch) -> Html:
    """An item with what it is made of."""
    level: Level | None = None if one.colour == "none" else one.colour  # type: ignore[assignment]
    counts = [tag("span", shape(lv), n, class_="count") for lv, n in sorted(one.counts.items(), key=_worst_first)]
    unseen = tag("span", t("blind", n=len(one.unseen)), class_="quality bad") if one.unseen else None
    head = join(
        shape(level, t.level(level), "unacked" in one.state) if level else tag("span", class_="calm"),
        tag("b", one.name),
        tag("span", t.level(level) if level else t("normal"), class_="word"),
        tag("span", counts, class_="counts"),
        unseen,
    )
    missing = tag("p", t("missing"), ": ", one.missing, class_="hint") if one.missing else None
    parts = tag("div", (branch(t, part) for part in one.items), class_="parts") if one.items else None
    return tag("div", tag("p", head, class_="line"), missing, parts, class_=f"branch {level or 'none'}")


def _worst_first(pair: tuple[Level, int]) -> int:
    return -colour(pair[0])


def driver_score(ask: Ask) -> Html | None:
    """The fatigue of whoever drives, where a detector scores it."""
    t, desk = ask.t, ask.desk
    for detector in desk.config.detectors:
        if not isinstance(detector, Fatigue):
            continue
        for source in glance.sources(desk):
            one = glance.reading(desk, f"{source}/{detector.name}.score")
            if one is not None:
                one = one._replace(low=1.0, high=10.0)
                body = tag("p", reading_text(t, one), figures.bar(one), quality_mark(t, one.quality), class_="line")
                hint = tag("p", t("score hint"), class_="hint")
                title = tag("h2", t("driver"), ": ", link(f"/channel/{quote(one.channel)}", t("score")))
                return ask.sheet.live("driver", title, body, hint, as_="section", class_="card driver")
    return None


# -- alarms ---------------------------------------------------------------------------------------------


async def alarms(ask: Ask) -> Page:
    """What asks for somebody, and what was put away."""
    t = ask.t
    level = ask.query.get("level", "")
    shown = [a for a in glance.alarms(ask.desk) if level in ("", a.level)]
    folded: dict[str, int] = {}
    for one in shown:
        if one.fold and one.fold != one.id:
            folded[one.fold] = folded.get(one.fold, 0) + 1
    ids = {one.id for one in shown}
    heads = [one for one in shown if not one.fold or one.fold == one.id or one.fold not in ids]
    body: Child
    if heads:
        start = start_of(ask, len(heads))
        part = heads[start : start + ROWS]
        body = tag("ol", await gently(alarm_row(ask, one, folded.get(one.id, 0)) for one in part), class_="alarms")
        body = [body, turner(ask, "/alarms", start, len(part), len(heads))]
    else:
        n = sum(tile.channels for tile in glance.tiles(ask.desk))
        body = tag("p", t("all quiet", n=n) if not level else t("nothing"), class_="quiet")
    out = [
        filters(ask, "/alarms", "level", ["", *LEVELS]),
        ask.sheet.live("alarms", body),
    ]
    if not ask.may:
        out.append(tag("p", link("/login", t("log in to act")), class_="hint"))
    away = glance.put_away(ask.desk)
    rows = tag("ol", await gently(alarm_row(ask, one, 0) for one in away[:ROWS]), class_="alarms")
    title = tag("h2", t("put away"), " ", tag("small", len(away)))
    out.append(ask.sheet.live("away", title if away else None, rows if away else None, as_="section"))
    return Page(t("alarms"), join(out))


def alarm_row(ask: Ask, one: Alarm, folded: int) -> Html:
    t = ask.t
    first = other = None
    if one.first == one.id:
        first = tag("span", t("first"), class_="first", title=t("first out"))
    elif one.first and (before := glance.alarm(ask.desk, one.first)) is not None:
        other = tag("span", t("after", first=before.channel))
    facts = [
        state_text(t, one),
        tag("span", one.rule, class_="rule"),
        tag("span", at(ask, one.since)),
        other,
        tag("span", t("folded", n=folded)) if folded else None,
        tag("span", t("until"), " ", at(ask, one.until)) if one.until is not None else None,
        tag("span", t("by"), " ", one.by) if one.by else None,
        tag("span", t("drill"), class_="first") if one.drill else None,
    ]
    button = None
    if ask.may and not is_seen(one):
        button = act(ask, "ack", one.id, t("acknowledge"), aria_label=f"{t('acknowledge')}: {one.text}")
    return tag(
        "li",
        shape(one.level, t.level(one.level), not is_seen(one)),
        tag(
            "div",
            tag("p", first, link(f"/alarm/{quote(one.id)}", one.text), class_="what"),
            tag("p", facts, class_="facts"),
            tag("p", one.advice, class_="advice") if one.advice and one.state == "active-unacked" else None,
        ),
        button,
        class_=f"{one.level} {'over' if one.state.startswith('returned') else 'seen' if is_seen(one) else 'unseen'}",
    )


def act(ask: Ask, verb: str, target: str, text: str, **attributes: object) -> Html:
    """A button that does something at once. Its form stands at the end of the page, with the session's token."""
    return tag("button", text, form="act", name="do", value=f"{verb}:{target}", id=f"do-{verb}-{target}", **attributes)


def filters(ask: Ask, path: str, name: str, choices: list[str]) -> Html:
    """Choices in a line; the one that is in force is marked."""
    t, chosen = ask.t, ask.query.get(name, "")
    links = []
    for choice in choices:
        mark = shape(choice) if choice in LEVELS else None
        to = f"{path}?{urlencode({name: choice})}" if choice else path
        links.append(link(to, mark, t(choice or "all"), aria_current="true" if choice == chosen else None))
    return tag("nav", links, class_="filters", aria_label=t("filter"))


async def alarm(ask: Ask) -> Page:
    """One alarm: what it is, what to do, and what may be done to it."""
    t, desk = ask.t, ask.desk
    one = glance.alarm(desk, ask.of)
    if one is None:
        return Page(t("alarms"), card("", tag("p", t("gone")), tag("p", link("/history", t("history")))), 404)
    value = f"{t.value(math.nan if one.value is None else one.value)} {one.unit}".strip()
    limit = f"{t.value(one.limit)} {one.unit}".strip() if one.limit is not None else None
    facts: dict[str, Child] = {
        t("level"): join(shape(one.level), t.level(one.level)),
        t("state"): state_text(t, one),
        t("where"): channel_link(one.channel) if glance.reading(desk, one.channel) else one.channel,
        t("rule"): one.rule,
        t("value"): value,
        t("limit"): limit,
        t("basis"): f"{one.basis.standard} {one.basis.clause}".strip() + (" (verify)" if one.basis.verify else ""),
        t("since"): at(ask, one.since),
    }
    if one.first:
        other = glance.alarm(desk, one.first)
        facts[t("first out")] = (
            t("yes") if one.first == one.id else link(f"/alarm/{quote(one.first)}", other.text if other else one.first)
        )
    if one.by:
        facts[t("by")] = f"{one.by}{': ' + one.reason if one.reason else ''}"
    if one.until is not None:
        facts[t("until")] = at(ask, one.until)
    if one.evidence:
        names = [word.split()[0] for word in one.evidence]
        facts[t("evidence")] = [link(f"/evidence/{quote(name)}", name, " ") for name in names]
    advice = tag("div", tag("h2", t("advice")), tag("p", one.advice), class_="advice") if one.advice else None
    why = tag("div", tag("h2", t("because")), tag("ul", (tag("li", x) for x in one.because))) if one.because else None
    head = tag("p", shape(one.level, t.level(one.level), not is_seen(one)), one.text, class_=f"says {one.level}")
    body = [
        ask.sheet.live("alarm", head, advice, why, pairs({k: v for k, v in facts.items() if v}), as_="section"),
        deeds(ask, one.rule, one.channel, one),
        trend_of(ask, one.channel),
    ]
    return Page(one.channel, tag("div", body, class_="card one"))


def trend_of(ask: Ask, channel: str) -> Html | None:
    """The last hour of a channel, for whoever looks at one of its alarms."""
    one = glance.reading(ask.desk, channel)
    if one is None:
        return None
    return ask.sheet.live("trend", hour(ask, one), class_="trend")


def hour(ask: Ask, one: Reading) -> Html | None:
    at_ = ask.desk.clock.now()
    end = math.ceil(at_.mono / 10) * 10.0
    line = ask.desk.trends.line(one.source, one.column, end - 3600, end, at_.mono)
    if line is None:
        return None
    return figures.chart(line, one, end - 3600, end, at_.wall - at_.mono, f"{one.channel}: {ask.t('last hour')}")


def deeds(ask: Ask, rule: str, channel: str, one: Alarm | None) -> Html | None:
    """What may be done to a point in its state, as forms; what the core refuses is not offered."""
    t, desk = ask.t, ask.desk
    if not ask.may:
        return tag("p", link("/login", t("log in to act")), class_="hint")
    what, state = glance.rule_of(desk, rule, channel), glance.state_of(desk, rule, channel)
    point, forms = f"{rule}@{channel}", []
    buttons = []
    if one is not None and not is_seen(one):
        buttons.append(act(ask, "ack", one.id, t("acknowledge"), class_="main"))
    if what is None or state is None:
        return ask.sheet.live("buttons", buttons, as_="p", class_="buttons")
    manual, item = isinstance(what, Manual), isinstance(what, Item)
    if state in (State.SHELVED, State.OUT):
        buttons.append(act(ask, "restore", point, t("restore")))
    if state == State.HELD or (item and one is not None and what and colour(one.level) >= 3):
        buttons.append(act(ask, "reset", point, t("reset")))
    if manual and one is not None:
        buttons.append(act(ask, "withdraw", point, t("withdraw")))
    if manual and one is None:
        forms.append(deed(ask, "demand", point, "permit", []))
    elif not manual and not item and state not in (State.OUT, State.SHELVED):
        if what.level != "red" and not what.fail_safe:
            spans = [("0.25", t("minutes", n=15)), *((str(h), t("hours", n=h)) for h in (1, 2, 4, 8))]
            forms.append(deed(ask, "shelve", point, "reason", spans))
        forms.append(deed(ask, "take-out", point, "permit", []))
    return join(ask.sheet.live("buttons", buttons, as_="p", class_="buttons"), forms)


def deed(ask: Ask, verb: str, point: str, why: str, spans: list[tuple[str, str]]) -> Html:
    """A form for what needs a reason. The token is put in by `frame.py`, for it is the session's."""
    t = ask.t
    id = f"{verb}-reason"
    hours = None
    if spans:
        options = (tag("option", text, value=value) for value, text in spans)
        hours = tag("label", t("for"), " ", tag("select", options, name="hours", form=f"form-{verb}"))
    return tag(
        "details",
        tag("summary", t(verb)),
        tag("p", t(f"{verb} hint"), class_="hint") if verb in ("shelve", "take-out") else None,
        tag(
            "form",
            TOKEN,
            tag("input", type="hidden", name="do", value=f"{verb}:{point}"),
            tag("label", t(why), tag("input", name="reason", id=id, required=True, maxlength=200, autocomplete="off")),
            hours,
            tag("button", t(verb)),
            method="post",
            action="/act",
            id=f"form-{verb}",
        ),
        class_="deed",
    )


TOKEN = Html("\1")  # where the session's token belongs in a form; text never holds it


# -- channels -------------------------------------------------------------------------------------------


async def channels(ask: Ask) -> Page:
    """Every channel with value, quality, age and limits, a page at a time."""
    t, desk = ask.t, ask.desk
    source, find, wrong = (ask.query.get(key, "") for key in ("source", "find", "wrong"))
    wanted = glance.names(desk, source, find, bool(wrong))
    start = start_of(ask, len(wanted))
    part = glance.those(desk, wanted[start : start + ROWS])
    heads: list[Child] = [t(h) for h in ("where", "value", "range", "last hour", "quality", "age", "limit")]
    body = tag("tbody", await gently((channel_row(ask, i, one) for i, one in enumerate(part))))
    out = [
        finder(ask, source, find, wrong),
        ask.sheet.live(
            "rows", table(heads, body, t("channels"), class_="channels") if part else tag("p", t("nothing"))
        ),
        turner(ask, "/channels", start, len(part), len(wanted)),
    ]
    return Page(source or t("channels"), join(out))


def channel_row(ask: Ask, i: int, one: Reading) -> Html:
    t = ask.t
    limits = [tag("span", shape(lv.level), "≥ " if lv.high else "≤ ", t.value(lv.value)) for lv in one.limits]
    return ask.sheet.live(
        f"c{i}",
        tag("th", channel_link(one.channel), scope="row"),
        cell(t("value"), reading_text(t, one), class_="number"),
        cell(t("range"), figures.bar(one) if one.is_analog else None, class_="barred"),
        cell(t("last hour"), sparkline(ask, one)),
        cell(t("quality"), quality_mark(t, one.quality), tag("span", t(one.away), class_="away") if one.away else None),
        cell(t("age"), t.span(one.age), class_="number"),
        cell(t("limit"), limits, class_="limits"),
        as_="tr",
        class_=one.level or None,
    )


def sparkline(ask: Ask, one: Reading) -> Html:
    """The last hour, in steps of ten seconds so that it seldom changes."""
    trends, number = ask.desk.trends, int(ask.desk.clock.now().mono // 10)
    known, end = _sparks(trends, number), 10.0 * number
    place = one.source, one.column
    if place not in known:
        line = trends.line(*place, end - 3600, end, end + 10.0)
        known[place] = figures.spark(line, end - 3600, end)
    return known[place]


@lru_cache(maxsize=1)
def _sparks(trends: Trends, number: int) -> dict[tuple[str, int], Html]:
    """Those of this step, by source and column: nobody asks for those of the one before again."""
    return {}


def finder(ask: Ask, source: str, find: str, wrong: str) -> Html:
    t = ask.t
    options = [
        tag("option", t("all"), value=""),
        *(tag("option", s, value=s, selected=s == source) for s in glance.sources(ask.desk)),
    ]
    return tag(
        "form",
        tag("label", t("sources"), " ", tag("select", options, name="source")),
        tag("label", t("find"), " ", tag("input", type="search", name="find", value=find, maxlength=80)),
        tag(
            "label", tag("input", type="checkbox", name="wrong", value="1", checked=bool(wrong)), " ", t("only alarms")
        ),
        tag("button", t("filter")),
        class_="finder",
        role="search",
    )


def turner(ask: Ask, path: str, start: int, n: int, total: int) -> Html | None:
    """From one page of a long list to the next."""
    if total <= ROWS:
        return None
    t = ask.t

    def to(begin: int) -> str:
        return f"{path}?{urlencode({**ask.query, 'start': begin})}"

    return tag(
        "nav",
        link(to(max(0, start - ROWS)), "← ", t("previous"), rel="prev") if start else None,
        tag("span", t("of", a=start + 1, b=start + n, n=total)),
        link(to(start + ROWS), t("next"), " →", rel="next") if start + n < total else None,
        class_="filters",
        aria_label=t("more"),
    )


def start_of(ask: Ask, n: int) -> int:
    """From which of n rows on this page of a long list goes."""
    text = ask.query.get("start", "0")
    return min(int(text), max(0, n - 1)) if text.isascii() and text.isdigit() and len(text) < 9 else 0


async def channel(ask: Ask) -> Page:
    """One channel: now, its trend, its limits, who watches it."""
    t, desk = ask.t, ask.desk
    one = glance.reading(desk, ask.of)
    if one is None:
        return Page(t("not found"), card("", tag("p", t("not found"))), 404)
    chart = await trend(ask, one)
    low, high = (t.value(x) for x in (one.low, one.high))
    facts: dict[str, Child] = {
        t("quality"): quality_mark(t, one.quality),
        t("age"): t.span(one.age),
        t("range"): f"{low} – {high} {one.unit}" if (low, high) != ("–", "–") else None,
        t("kind"): t("derived") if one.derived else None,
    }
    bench, watch = desk.core.benches[one.source], desk.memory.watches[one.source]
    raw = float(watch.seen.raw[one.column]) if one.column < len(watch.seen.raw) else math.nan
    if not one.derived:
        facts[t("raw")] = t.value(raw)
    head = join(
        tag("p", reading_text(t, one), class_="big"),
        figures.bar(one, 320) if one.is_analog else None,
        pairs({k: v for k, v in facts.items() if v}, class_="side"),
    )
    rules = []
    for i, point in enumerate(bench.points):
        if point.column != one.column:
            continue
        rule, state = point.rule, State(int(watch.state[i]))
        known = watch.open.get(i)
        name: Child = rule.name
        if known is not None:
            name = link(f"/alarm/{quote(known.id)}", rule.name)
        elif ask.may:
            name = link(f"/point/{quote(f'{rule.name}@{one.channel}', safe='')}", rule.name)
        limit = bench.limit[i]
        says = (
            f"{'≥' if rule.sign > 0 else '≤'} {t.value(float(limit))} {one.unit}"
            if math.isfinite(limit)
            else rule.says(t.language)
        )
        rules.append(
            tag(
                "tr",
                tag("th", name, scope="row"),
                cell(t("level"), shape(rule.level), t.level(rule.level)),
                cell(
                    t("limit"), says if rule.__struct_config__.tag in ("high", "low") else rule.says(t.language) or "–"
                ),
                cell(t("state"), t(STATE_WORDS[state])),
                cell(t("basis"), glance.basis(rule)),
            )
        )
    heads: list[Child] = [t(h) for h in ("rule", "level", "limit", "state", "basis")]
    watched = table(heads, tag("tbody", rules), t("rules here"), class_="plain")
    body = [
        ask.sheet.live("now", head, as_="section", class_="card now"),
        chart,
        ask.sheet.live("rules", tag("h2", t("rules here")), watched, as_="section", class_="card") if rules else None,
        tag("p", link(f"/commission/{quote(one.channel)}", t("commission")), class_="hint")
        if not one.derived
        else None,
    ]
    return Page(one.channel, join(body))


STATE_WORDS = {
    State.NORMAL: "normal",
    State.ACTIVE: "active-unacked",
    State.ACKED: "active-acked",
    State.RETURNED: "returned-unacked",
    State.LATCHED: "latched-unacked",
    State.HELD: "latched-acked",
    State.SHELVED: "shelved",
    State.SUPPRESSED: "suppressed",
    State.OUT: "out-of-service",
}


async def point(ask: Ask) -> Page:
    """One rule on one channel that is normal: what may be done to it."""
    t = ask.t
    rule, _, channel_ = ask.of.partition("@")
    state = glance.state_of(ask.desk, rule, channel_)
    if state is None:
        return Page(t("not found"), card("", tag("p", t("not found"))), 404)
    facts: dict[str, Child] = {t("rule"): rule, t("where"): channel_link(channel_), t("state"): t(STATE_WORDS[state])}
    return Page(rule, card(rule, pairs(facts), deeds(ask, rule, channel_, None), class_="one"))


async def trend(ask: Ask, one: Reading) -> Html:
    """An hour, a day, a week, or what was asked for: `begin` and `end` are wall s."""
    t, desk, query = ask.t, ask.desk, ask.query
    now = desk.clock.now()
    offset = now.wall - now.mono
    begin_, end_ = (_moment(query.get(key, "")) for key in ("begin", "end"))
    span = query.get("span", "1h")
    fixed = not math.isnan(begin_) and not math.isnan(end_) and end_ - begin_ >= 1.0
    if fixed:
        begin, end = begin_ - offset, min(end_, now.wall + 1) - offset
        begin = max(begin, end - SPANS["7d"])
    else:
        seconds = SPANS.get(span, 3600.0)
        step = seconds / 360
        end = math.ceil(now.mono / step) * step
        begin = end - seconds
    if end - begin < 1.0:
        begin = end - 1.0
    kept = desk.trends.line(one.source, one.column, begin, end, now.mono)
    line, how = kept, ""
    if fixed and end - begin <= RAW:
        line = await glance.past(desk, one, begin, end)
        how = t("every value")
        if not len(line.begin):
            line, how = kept, ""
    if line is None:
        return card(t("trend"), tag("p", t("no trend"), class_="hint"))
    how = how or t("stretches", s=t.span(line.step))
    here = f"/channel/{quote(one.channel)}"
    spans = [link(f"{here}?span={s}", t(s), aria_current="true" if s == span and not fixed else None) for s in SPANS]
    middle, half = (begin + end) / 2 + offset, (end - begin) / 2

    def look(about: float, wide: float) -> str:
        return f"{here}?{urlencode({'begin': f'{about - wide:.1f}', 'end': f'{about + wide:.1f}'})}"

    moves = [
        link(look(middle - half, half), "←", aria_label=t("earlier")),
        link(look(middle + half, half), "→", aria_label=t("later")) if fixed else None,
        link(look(middle + half / 2, half / 2), "+", aria_label=t("zoom in")),
        link(look(middle, 2 * half), "−", aria_label=t("zoom out")) if fixed else None,
    ]
    nav = tag("nav", spans, tag("span", moves, class_="moves"), class_="filters", aria_label=t("trend"))
    title = tag("h2", t("trend"))
    label = f"{one.channel} {clock_text(begin + offset, 0)} – {clock_text(end + offset, 0)}"
    lowest = highest = None
    if len(line.begin):
        lowest, highest = t.value(float(line.low.min())), t.value(float(line.high.max()))
    facts = tag(
        "p",
        f"{t('lowest')} {lowest}, {t('highest')} {highest} {one.unit} · " if lowest else f"{t('no values')} ",
        how,
        tag("span", " · ", t("zoom"), class_="scripted"),
        class_="hint",
    )
    chart = figures.chart(line, one, begin, end, offset, label)
    if fixed:
        return tag("section", title, nav, chart, facts, class_="card trend", id="trend", data_zoom=here)
    return tag(
        "section", title, nav, ask.sheet.live("chart", chart, facts), class_="card trend", id="trend", data_zoom=here
    )


def _moment(text: str) -> float:
    try:
        return float(text) if 0 < len(text) < 20 else math.nan
    except ValueError:
        return math.nan
