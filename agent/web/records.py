"""More pages: history, lines, uplinks, cameras, evidence, commissioning, the agent itself."""

from __future__ import annotations

import math
import time
from pathlib import Path
from urllib.parse import quote, urlencode

from drivers.video import Video

from .. import __version__, commission, evidence, keys
from ..core.alarm import EVENT_NAMES, LEVELS
from ..core.frame import Quality
from ..core.ports import Fared, Tally
from ..hazards import sentence
from . import coach, figures, glance, past
from .figures import shape
from .markup import Child, Html, join, tag
from .pages import (
    EVENTS,
    ROWS,
    TOKEN,
    Ask,
    Page,
    at,
    card,
    cell,
    channel_link,
    deed,
    filters,
    link,
    moment,
    pairs,
    quality_mark,
    reading_text,
    start_of,
    table,
    turner,
)
from .texts import Words, full

PIECES = 60  # of evidence, at once
HOLDERS = 5  # alarms that hold an output, named one by one


# -- history ------------------------------------------------------------------------------------------


async def history(ask: Ask) -> Page:
    """What became of alarms, from the journal, newest first."""
    t, query = ask.t, ask.query
    wish = past.Wish(
        level=query.get("level", "") if query.get("level") in LEVELS else "",
        event=query.get("event", "") if query.get("event") in EVENT_NAMES else "",
        words=query.get("find", "")[:80],
        begin=_day(query.get("from", "")),
        end=_day(query.get("to", ""), 86400.0),
        before=int(query["before"]) if query.get("before", "").isdecimal() else 0,
    )
    folder = Path(ask.desk.config.store.path) / "journal"
    found = await ask.read(past.edges, folder, wish)
    rows = [
        tag(
            "tr",
            cell(t("when"), at(ask, alarm.at), class_="number"),
            cell("", shape(alarm.level, t.level(alarm.level))),
            cell(t("edge"), t(alarm.event)),
            cell(t("text"), link(f"/history/{quote(alarm.id)}", alarm.text)),
            cell(t("where"), alarm.channel),
            cell(t("by"), alarm.by),
        )
        for _, alarm in found.edges
    ]
    heads: list[Child] = [t("when"), tag("span", t("level"), class_="hidden"), *(t(h) for h in ("edge", "text"))]
    heads += [t("where"), t("by")]
    older = None
    if found.more:
        older = tag("p", link("/history?" + urlencode({**query, "before": found.more}), t("older"), " →"))
    out = [
        history_form(ask, wish),
        table(heads, tag("tbody", rows), t("history"), class_="history") if rows else tag("p", t("nothing")),
        older,
        tag("p", t("looked", n=found.looked), class_="hint"),
    ]
    return Page(t("history"), join(out))


def history_form(ask: Ask, wish: past.Wish) -> Html:
    t, query = ask.t, ask.query

    def options(names: tuple[str, ...], chosen: str) -> list[Html]:
        first = tag("option", t("all"), value="")
        return [first, *(tag("option", t(n), value=n, selected=n == chosen) for n in names)]

    return tag(
        "form",
        tag("label", t("level"), " ", tag("select", options(tuple(LEVELS), wish.level), name="level")),
        tag("label", t("edge"), " ", tag("select", options(EVENT_NAMES, wish.event), name="event")),
        tag("label", t("find"), " ", tag("input", type="search", name="find", value=wish.words, maxlength=80)),
        tag("label", t("from"), " ", tag("input", type="date", name="from", value=query.get("from", "")[:10])),
        tag("label", t("to"), " ", tag("input", type="date", name="to", value=query.get("to", "")[:10])),
        tag("button", t("filter")),
        class_="finder",
        role="search",
    )


def _day(text: str, more: float = 0.0) -> float:
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%d")) + more
    except (ValueError, OverflowError):
        return 0.0


async def story(ask: Ask) -> Page:
    """All edges of one alarm."""
    t = ask.t
    folder = Path(ask.desk.config.store.path) / "journal"
    found = await ask.read(past.edges, folder, past.Wish(id=ask.of[:120]))
    if not found.edges:
        return Page(t("history"), card("", tag("p", t("gone"))), 404)
    _, newest = found.edges[0]
    rows = [
        tag(
            "tr",
            cell(t("when"), at(ask, alarm.at), class_="number"),
            cell(t("edge"), t(alarm.event)),
            cell(t("state"), t(alarm.state)),
            cell(t("text"), alarm.text),
            cell(t("by"), alarm.by, f": {alarm.reason}" if alarm.reason else ""),
        )
        for _, alarm in reversed(found.edges)
    ]
    heads: list[Child] = [t(h) for h in ("when", "edge", "state", "text", "by")]
    facts: dict[str, Child] = {
        t("level"): join(shape(newest.level), t.level(newest.level)),
        t("where"): channel_link(newest.channel),
        t("rule"): newest.rule,
        t("basis"): f"{newest.basis.standard} {newest.basis.clause}".strip(),
    }
    if newest.evidence:
        names = [word.split()[0] for word in newest.evidence]
        facts[t("evidence")] = [link(f"/evidence/{quote(name)}", name, " ") for name in names]
    now = link(f"/alarm/{quote(newest.id)}", t("details")) if glance.alarm(ask.desk, newest.id) else None
    body = card("", pairs({k: v for k, v in facts.items() if v}), now)
    life = table(heads, tag("tbody", rows), t("life"), class_="plain")
    return Page(newest.channel, join(body, tag("h2", t("life")), life))


# -- lines --------------------------------------------------------------------------------------------


async def lines(ask: Ask) -> Page:
    """Buses and devices: whether they answer, how fast, how badly, and what to check."""
    t, desk = ask.t, ask.desk
    out, wirings = [], glance.wirings(desk, t.language)
    for i, driver in enumerate(desk.config.drivers):
        tally = desk.tallies.get(driver.name)
        why = desk.lost.get(driver.name, "")
        state = tag("span", t("coach line", why=why), class_="trouble") if why else None
        rows = [device_row(t, tally, one) for one in tally.devices] if tally else []
        heads: list[Child] = [t(h) for h in ("device", "unit", "breaker", "answered", "errors", "hint")]
        body = table(heads, tag("tbody", rows), driver.name, class_="plain lines") if rows else None
        wiring = tag("details", tag("summary", t("wiring")), tag("ul", (tag("li", x) for x in wirings[driver.name])))
        head = tag("h2", driver.name, tag("small", driver.tag))
        out.append(ask.sheet.live(f"line{i}", head, state, body, as_="div"))
        out.append(wiring)
        if driver.outputs():
            out.append(ask.sheet.live(f"outputs{i}", outputs(ask, driver.outputs(), driver.armed())))
        out[-1] = join(out[-1])
    cards = join(tag("section", part, class_="card") for part in _by_driver(out))
    return Page(t("lines"), cards)


def _by_driver(parts: list[Html]) -> list[Html]:
    """Parts joined to one of each line: each begins with its live part."""
    found: list[list[Html]] = []
    for part in parts:
        if 'id="line' in part[:40]:
            found.append([])
        found[-1].append(part)
    return [join(one) for one in found]


def device_row(t: Words, tally: Tally, one: Fared) -> Html:
    errors = [
        tag("span", t(key, p=coach.share(n, one.asked)), class_="error")
        for key, n in (("time-outs", one.silent), ("garbled", one.garbled), ("refusals", one.refused))
        if n
    ]
    trip = t.span(one.mean) if math.isnan(one.mean) else _ms(one.mean)
    worst = None if math.isnan(one.worst) else tag("small", " ", t("worst", ms=_ms(one.worst)))
    advice = coach.hints(tally, one)
    hints = [tag("p", t(hint.key), class_="advice" if hint.bad else "hint") for hint in advice]
    breaker = tag("span", t("open"), class_="quality bad") if one.lost else t("closed")
    return tag(
        "tr",
        tag("th", one.device, scope="row"),
        cell(t("unit"), one.unit, class_="number"),
        cell(t("breaker"), breaker),
        cell(t("answered"), trip, worst, class_="number"),
        cell(t("errors"), errors or t("no errors")),
        cell(t("hint"), hints),
        class_="wrong" if any(hint.bad for hint in advice) else None,
    )


def _ms(seconds: float) -> str:
    ms = 1000.0 * seconds
    return f"{ms:.0f} ms" if ms >= 9.5 else f"{ms:.1f} ms"


def outputs(ask: Ask, names: tuple[str, ...], armed: tuple[str, ...]) -> Html:
    """What may be switched, and who holds it on."""
    t, held = ask.t, ask.desk.memory.held
    rows = []
    for name in names:
        ids = sorted(held.get(name, ()))
        links = [link(f"/alarm/{quote(id)}", id, " ") for id in ids[:HOLDERS]]
        links += [tag("span", f"… {len(ids)}")] if len(ids) > HOLDERS else []
        rows.append(
            tag(
                "tr",
                tag("th", name, scope="row"),
                cell(t("wanted"), tag("b", t("on")) if ids else t("off")),
                cell(t("armed"), t("armed") if name in armed else t("not armed")),
                cell("", links),
            )
        )
    heads: list[Child] = [t("outputs"), t("wanted"), t("armed"), tag("span", t("alarms"), class_="hidden")]
    return table(heads, tag("tbody", rows), t("outputs"), class_="plain")


# -- uplinks ------------------------------------------------------------------------------------------


async def uplinks(ask: Ask) -> Page:
    """Platforms: connected or not, and what they have not confirmed."""
    t, desk = ask.t, ask.desk
    await desk.outbox.date()
    found = glance.links(desk)
    if not found:
        return Page(t("uplinks"), card("", tag("p", t("no uplinks"))))
    out = []
    for i, one in enumerate(found):
        why = desk.lost.get(one.name, "") if one.state != "up" else ""
        state = t("up") if one.state == "up" else t("down") if one.state == "down" or why else t("unknown")
        mark = tag("span", state, class_="quality" if one.state == "up" else "quality bad")
        rows = [
            tag(
                "tr",
                tag("th", t(lane.name), scope="row"),
                cell(t("waiting"), lane.waiting, class_="number"),
                cell(t("oldest"), t.span(lane.oldest) if lane.waiting else "–", class_="number"),
                cell(t("dropped"), lane.dropped or "–", class_="number"),
            )
            for lane in one.lanes
        ]
        heads: list[Child] = [t(h) for h in ("lane", "waiting", "oldest", "dropped")]
        head = tag("h2", one.name, tag("small", one.kind), mark)
        body = table(heads, tag("tbody", rows), one.name, class_="plain")
        told = tag("p", why, class_="hint") if why else None
        out.append(ask.sheet.live(f"uplink{i}", head, told, body, as_="section", class_="card"))
    return Page(t("uplinks"), tag("div", out, class_="tiles"))


# -- cameras ------------------------------------------------------------------------------------------


async def cameras(ask: Ask) -> Page:
    """Each camera: its last picture with what it is asked to watch, its state, what happened there."""
    t, desk = ask.t, ask.desk
    out = []
    for i, driver in enumerate(desk.config.drivers):
        if not isinstance(driver, Video):
            continue
        name = driver.camera
        if not ask.pictures:
            picture = tag("p", link("/login", t("pictures for")), class_="still none")
        elif driver.witness() is None:
            picture = tag("p", t("no still"), class_="still none")
        else:
            still = f"/camera/{quote(name, safe='')}/still"
            alt = f"{t('camera')} {name}: {t('still')}"
            image = tag("img", src=still, alt=alt, data_still=still, width=640, height=360)
            picture = tag("div", image, overlay_of(driver), class_="still")
        mine = [one for source in driver.layouts() for one in glance.readings(desk, source)]
        states = [one for one in mine if one.source == name]
        wrong = [one for one in states if one.level or (one.high == 1.0 and one.value >= 0.5)]
        words = [tag("span", one.key, class_="quality bad") for one in wrong] or [tag("span", t("normal"))]
        facts: dict[str, Child] = {t("state"): words}
        for one in states:
            if one.key in ("fps", "age"):
                facts[t(one.key)] = f"{t.value(one.value)} {one.unit}" if one.key == "fps" else t.span(one.value)
        if driver.tasks:
            facts[t("looks for")] = ", ".join(driver.tasks)
        told = [alarm for alarm in glance.alarms(desk) if alarm.channel.partition("/")[0] in driver.layouts()]
        alarms = [tag("li", shape(a.level, t.level(a.level)), link(f"/alarm/{quote(a.id)}", a.text)) for a in told]
        lately = [e for e in reversed(desk.recent) if e.source in (driver.name, name)][:6]
        events = [tag("li", at(ask, e.at), " ", e.text) for e in lately]
        seen = [one for one in mine if one.source != name and not math.isnan(one.value)][:12]
        values = tag(
            "tbody", (tag("tr", tag("th", one.key, scope="row"), tag("td", reading_text(t, one))) for one in seen)
        )
        live = [
            pairs(facts),
            tag("ul", alarms, class_="plain-list") if alarms else None,
            tag("table", values, class_="mini") if seen else None,
            tag("h3", t("last events")) if events else None,
            tag("ul", events, class_="plain-list") if events else None,
        ]
        part = ask.sheet.live(f"camera{i}", live)
        out.append(tag("section", tag("h2", name, tag("small", driver.shown)), picture, part, class_="card camera"))
    body = tag("div", out, class_="tiles") if out else card("", tag("p", t("no cameras")))
    return Page(t("cameras"), body)


def overlay_of(driver: Video) -> Html | None:
    """Zones that are watched; the masks are in the picture already."""
    shapes = [(zone.name, zone.polygon) for zone in driver.zones.zone] if driver.zones is not None else []
    if driver.beach is not None:
        shapes.append(("beach", [(x, y) for x, y, *_ in driver.beach.points]))
    return figures.overlay(shapes) if shapes else None


# -- evidence -----------------------------------------------------------------------------------------


def _pieces(shelf: Path) -> list[tuple[evidence.Piece, evidence.Manifest | None]]:
    """The newest pieces with their manifests. Blocks."""
    found: list[tuple[evidence.Piece, evidence.Manifest | None]] = []
    for piece in evidence.pieces(shelf)[: -PIECES - 1 : -1]:
        try:
            found.append((piece, evidence.read(shelf / piece.id)))
        except (OSError, ValueError):
            found.append((piece, None))
    return found


async def shelf(ask: Ask) -> Page:
    """What was kept of alarms, newest first."""
    t = ask.t
    found = await ask.read(_pieces, Path(ask.desk.config.evidence.path))
    if not found:
        return Page(t("evidence"), card("", tag("p", t("nothing"))))
    rows = []
    for piece, one in found:
        still = None
        if (
            one is not None
            and ask.pictures
            and (first := next((f.name for f in one.files if f.name.endswith(".jpg")), ""))
        ):
            still = tag(
                "img", src=f"/evidence/{quote(piece.id)}/{quote(first)}", alt="", loading="lazy", width=160, height=90
            )
        name: Child = link(f"/evidence/{quote(piece.id)}", piece.id) if one is not None else piece.id
        rows.append(
            tag(
                "tr",
                cell("", still),
                cell(t("when"), at(ask, one.at) if one else t("not complete"), class_="number"),
                cell(t("level"), join(shape(one.level, t.level(one.level)), one.rule) if one else None),
                cell(t("where"), one.channel if one else None),
                tag("th", name, scope="row"),
                cell(t("size"), f"{piece.bytes / 1e6:.1f} MB", class_="number"),
                cell("", t("protected", who=piece.protected.by) if piece.protected else None),
            )
        )
    heads: list[Child] = [tag("span", t("still"), class_="hidden")]
    heads += [t("when"), t("level"), t("where"), t("evidence"), t("size"), tag("span", t("protect"), class_="hidden")]
    return Page(t("evidence"), table(heads, tag("tbody", rows), t("evidence"), class_="plain evidence"))


async def piece(ask: Ask) -> Page:
    """One piece: clip, stills, files with their hashes."""
    t = ask.t
    folder = Path(ask.desk.config.evidence.path) / ask.of
    missing = Page(t("evidence"), card("", tag("p", t("not found"))), 404)
    if not evidence.is_name(ask.of):
        return missing
    try:
        one, guard, sha256 = await ask.read(_piece, folder)
    except (OSError, ValueError):
        return missing

    def file(name: str) -> str:
        return f"/evidence/{quote(ask.of)}/{quote(name)}"

    film = next((f.name for f in one.files if f.name.startswith("clip.")), "")
    stills = [f.name for f in one.files if f.name.endswith(".jpg")]
    poster = file(stills[0]) if stills else None
    if not ask.pictures:
        show: Child = tag("p", link("/login", t("pictures for")), class_="hint")
    else:
        show = [
            tag("video", src=file(film), poster=poster, controls=True, preload="metadata", class_="clip")
            if film
            else None,
            tag(
                "div",
                (link(file(n), tag("img", src=file(n), alt=f"{t('still')} {n}", loading="lazy")) for n in stills),
                class_="stills",
            ),
        ]
    begin, end = (f"{x.mono - one.at.mono:+.0f} s" for x in (one.begin, one.end))
    facts: dict[str, Child] = {
        t("when"): at(ask, one.at),
        t("level"): join(shape(one.level), t.level(one.level)),
        t("rule"): one.rule,
        t("where"): channel_link(one.channel),
        t("camera"): one.camera,
        t("kept"): f"{begin} … {end}",
        t("its alarm"): link(f"/history/{quote(one.alarm)}", one.alarm),
        t("manifest"): tag("code", sha256),
        t("lacks"): tag("ul", (tag("li", x) for x in one.missing), class_="plain-list") if one.missing else None,
        t("protect"): t("protected", who=guard.by) if guard else None,
    }
    rows = [
        tag(
            "tr",
            tag("th", link(file(f.name), f.name), scope="row"),
            cell(t("size"), f.bytes, class_="number"),
            tag("td", tag("code", f.sha256)),
        )
        for f in one.files
        if "/" not in f.name
    ]
    files = table([t("files"), t("size"), "SHA-256"], tag("tbody", rows), t("files"), class_="plain")
    keep = deed(ask, "release" if guard else "protect", ask.of, "reason", []) if ask.may else None
    side = tag("div", pairs({k: v for k, v in facts.items() if v}), keep)
    body = tag("div", tag("div", show), side, class_="card piece")
    return Page(f"{t('evidence')} {one.id}", join(body, files))


def _piece(folder: Path) -> tuple[evidence.Manifest, evidence.Guard | None, str]:
    return evidence.read(folder), evidence.guard(folder), evidence.digest(folder / evidence.MANIFEST)


# -- commissioning ------------------------------------------------------------------------------------


def tested(ask: Ask) -> list[tuple[str, int]]:
    """What can be held against a reference: instruments, not what is reckoned of them, nor cameras."""
    benches = ask.desk.core.benches
    films = {s for d in ask.desk.config.drivers if isinstance(d, Video) for s in d.layouts()}
    named = [(source, column, benches[source].layout) for source, column in glance.names(ask.desk)]
    return [(s, c) for s, c, layout in named if s not in films and c < layout.measured and layout.unit[c]]


async def commissioning(ask: Ask) -> Page:
    """Every channel with its last test."""
    t = ask.t
    last = {one.channel: one for one in await ask.read(commission.read, Path(ask.desk.config.store.path))}
    rows, wanted = [], tested(ask)
    start = start_of(ask, len(wanted))
    for i, one in enumerate(glance.those(ask.desk, wanted[start : start + ROWS])):
        done = last.get(one.channel)
        rows.append(
            tag(
                "tr",
                tag("th", link(f"/commission/{quote(one.channel)}", one.channel), scope="row"),
                ask.sheet.live(f"r{i}", reading_text(t, one), as_="td", class_="number"),
                cell(t("quality"), quality_mark(t, one.quality)),
                cell(t("last test"), at(ask, done.at) if done else t("untested")),
                cell(t("deviation"), verdict(t, done) if done else "–"),
                cell(t("by"), done.by if done else ""),
            )
        )
    heads: list[Child] = [t(h) for h in ("where", "value", "quality", "last test", "deviation", "by")]
    nav = tag("nav", link("/commission-report", t("report")), class_="filters", aria_label=t("report"))
    turn = turner(ask, "/commission", start, len(rows), len(wanted))
    return Page(t("commission"), join(nav, table(heads, tag("tbody", rows), t("commission"), class_="plain"), turn))


def verdict(t: Words, one: commission.Test) -> Html:
    """The deviation, and whether it is within the tolerance, in words."""
    word = t("within") if one.within else t("beyond")
    mark = tag("span", word, class_="quality" if one.within else "quality bad")
    return join(f"{one.value - one.reference:+.4g} {one.unit} ", mark)


async def test(ask: Ask) -> Page:
    """One channel live, and a form for what the reference says."""
    t, desk = ask.t, ask.desk
    one = glance.reading(desk, ask.of)
    if one is None:
        return Page(t("commission"), card("", tag("p", t("not found"))), 404)
    spread = desk.trends.spread(one.source, one.column, desk.clock.now().mono)
    wide = (
        one.high - one.low
        if math.isfinite(one.high - one.low)
        else max(map(abs, [1e-9, *(li.value for li in one.limits)]))
    )
    steady = not math.isnan(spread) and spread <= 0.02 * wide
    raw = float(desk.memory.watches[one.source].seen.raw[one.column])
    facts: dict[str, Child] = {
        t("quality"): quality_mark(t, one.quality),
        t("age"): t.span(one.age),
        t("raw"): t.value(raw),
        t("spread"): f"{t.value(spread)} {one.unit} · {t('steady') if steady else t('unsteady')}",
    }
    now = ask.sheet.live(
        "now",
        tag("p", reading_text(t, one), class_="big"),
        figures.bar(one, 320),
        pairs(facts, class_="side"),
        class_="now",
    )
    form: Child = tag("p", link("/login", t("log in to act")), class_="hint")
    if ask.may:
        usual = min([0.05 * wide, *(0.1 * abs(limit.value) for limit in one.limits if limit.value)])
        form = tag(
            "form",
            TOKEN,
            tag("input", type="hidden", name="channel", value=one.channel),
            tag("label", t("reference"), f" ({one.unit})", _field("reference"), tag("small", t("reference hint"))),
            tag("label", t("tolerance"), f" ({one.unit})", _field("tolerance", f"{usual:.3g}")),
            tag("label", t("note"), tag("input", name="note", maxlength=200, autocomplete="off")),
            tag("button", t("record"), class_="main"),
            method="post",
            action="/commission",
            class_="test",
        )
    done = [
        each for each in await ask.read(commission.read, Path(desk.config.store.path)) if each.channel == one.channel
    ]
    rows = [
        tag(
            "tr",
            cell(t("when"), at(ask, each.at), class_="number"),
            cell(t("reference"), f"{each.reference:g} {each.unit}", class_="number"),
            cell(t("value"), f"{each.value:.4g} {each.unit}", class_="number"),
            cell(t("deviation"), verdict(t, each)),
            cell(t("by"), each.by),
            cell(t("note"), each.note),
        )
        for each in reversed(done[-20:])
    ]
    heads: list[Child] = [t(h) for h in ("when", "reference", "value", "deviation", "by", "note")]
    hint = tag("p", t("gas warning"), class_="hint") if one.limits else None
    body = [
        tag("section", now, hint, class_="card"),
        card(t("record"), form),
        table(heads, tag("tbody", rows), t("last test"), class_="plain") if rows else None,
        tag("p", link("/commission", t("commission")), " · ", link("/commission-report", t("report"))),
    ]
    return Page(f"{t('commission')}: {one.channel}", join(body))


def _field(name: str, value: str = "") -> Html:
    return tag(
        "input", name=name, value=value or None, required=True, inputmode="decimal", maxlength=20, autocomplete="off"
    )


def report_of(ask: Ask, tests: list[commission.Test]) -> commission.Report:
    site, desk = ask.desk.config.site, ask.desk
    layouts = {source: bench.layout for source, bench in desk.core.benches.items()}
    names = [f"{source}/{layouts[source].key[column]}" for source, column in tested(ask)]
    return commission.report(site.name, site.node, __version__, desk.config.hash, names, tests)


async def report(ask: Ask) -> Page:
    """What is printed, signed and filed."""
    t, desk, now = ask.t, ask.desk, ask.desk.clock.now()
    state = Path(desk.config.store.path)
    one = report_of(ask, await ask.read(commission.read, state))
    seal = await ask.read(commission.signed, desk.config.store.key_file, commission.text(one))
    rows = [
        tag(
            "tr",
            tag("th", each.channel, scope="row"),
            cell(t("when"), moment(t, each.at, full(each.at.wall)), class_="number"),
            cell(t("reference"), f"{each.reference:g}", class_="number"),
            cell(t("value"), f"{each.value:.4g}", class_="number"),
            cell(t("tolerance"), f"± {each.tolerance:g} {each.unit}", class_="number"),
            cell(t("deviation"), verdict(t, each)),
            cell(t("by"), each.by),
            cell(t("note"), each.note),
        )
        for each in one.tests
    ]
    rows += [tag("tr", tag("th", name, scope="row"), tag("td", t("untested"), colspan=7)) for name in one.untested]
    heads: list[Child] = [t(h) for h in ("where", "when", "reference", "value", "tolerance", "deviation", "by", "note")]
    facts: dict[str, Child] = {
        t("site"): f"{one.site}/{one.node}",
        t("config"): one.config,
        t("version"): one.version,
        t("printed"): moment(t, now, full(now.wall)),
    }
    if seal is not None:
        signature, public = seal
        facts[t("signed")] = tag("code", keys.fingerprint(keys.public(public)), " · ", public)
        facts[t("signature")] = tag("code", signature.hex())
    else:
        facts[t("signed")] = t("unsigned")
    files: list[Child] = [link("/commission-report.json", "report.json", download="report.json")]
    files += [" ", link("/commission-report.sig", "report.sig", download="report.sig")] if seal else []
    lines = tag(
        "p", t("signature hand"), ": ", tag("span", class_="blank"), tag("span", class_="blank"), class_="signing"
    )
    nav = tag(
        "nav",
        tag("button", t("print"), type="button", class_="main", data_print=True),
        files,
        class_="filters on-screen",
        aria_label=t("print"),
    )
    body = [nav, pairs(facts), table(heads, tag("tbody", rows), t("report"), class_="plain report"), lines]
    return Page(t("commissioning report"), tag("div", body, class_="card sheet"))


# -- the agent itself ---------------------------------------------------------------------------------


async def system(ask: Ask) -> Page:
    """Who this is, how it is, and how well it can be believed."""
    t, desk = ask.t, ask.desk
    now = desk.clock.now()
    load = glance.load(desk)
    stand = await ask.read(past.stand, Path(desk.config.store.path) / "journal")
    number, checksum = desk.audit.head
    about = pairs(
        {
            t("site"): f"{desk.config.site.name}/{desk.config.site.node}",
            t("version"): __version__,
            t("boot"): desk.outbox.boot,
            t("config"): desk.config.hash,
            t("clock"): join(full(now.wall), " · ", t("trusted") if now.synced else t("doubted")),
        }
    )
    journal = pairs(
        {
            t("head"): number,
            t("checksum"): tag("code", checksum),
            t("segments"): f"{stand.segments}, {stand.bytes / 1e6:.1f} MB",
            t("lost"): desk.audit.lost,
            t("trouble"): desk.audit.trouble or t("sound"),
        }
    )
    store = pairs({file: desk.outbox.trouble.get(file, t("sound")) for file in ("alarms", "history")})
    flood = tag("b", t("yes")) if load.flood else t("no")
    figures_: list[tuple[str, Child, str]] = [
        (t("in 10 min"), load.in_10_min, "≤ 1"),
        (t("standing"), load.standing, "–"),
        (t("stale"), load.stale, "< 5"),
        (t("chattering"), load.chattering, "0"),
        (t("flood"), flood, t("no")),
        (t("share"), f"{load.top_share:.0f} %", "< 5 %"),
    ]
    kpi = tag(
        "tbody",
        (tag("tr", tag("th", a, scope="row"), tag("td", b, class_="number"), tag("td", c)) for a, b, c in figures_),
    )
    top = [tag("li", f"{rule}@{channel}: {n}") for (rule, channel), n in load.top]
    vitals = [
        tag("tr", tag("th", channel_link(f"agent/{key}"), scope="row"), tag("td", t.value(v), class_="number"))
        for key, v in glance.health(desk).items()
        if not math.isnan(v)  # what this machine cannot say is not there
    ]
    off = [tag("li", tag("b", rule), ": ", why) for rule, why in desk.config.off.items()]
    events = [
        tag("li", tag("span", at(ask, e.at), " ", tag("b", e.kind), " ", e.source), tag("span", e.text))
        for e in list(reversed(desk.recent))[:EVENTS]
    ]
    hazards = [tag("li", sentence(h, desk.config.site.language)) for h in desk.config.hazards]
    live = ask.sheet.live
    body = [
        live("about", tag("h2", t("agent")), about, as_="section", class_="card"),
        live("journal", tag("h2", t("journal")), journal, as_="section", class_="card"),
        live(
            "load",
            tag("h2", t("load")),
            tag(
                "table",
                tag("thead", tag("tr", (tag("th", x, scope="col") for x in ("", t("value"), t("target"))))),
                kpi,
            ),
            tag("h3", t("top")) if top else None,
            tag("ol", top, class_="plain-list") if top else None,
            as_="section",
            class_="card",
        ),
        live("store", tag("h2", t("store")), store, as_="section", class_="card"),
        card(t("hazards"), tag("ul", hazards, class_="plain-list")) if hazards else None,
        live("vitals", tag("h2", t("vitals")), tag("table", tag("tbody", vitals)), as_="section", class_="card tight"),
        card(t("rules off"), tag("ul", off, class_="plain-list")) if off else None,
        live("events", tag("h2", t("events")), tag("ul", events, class_="log"), as_="section", class_="card span"),
    ]
    return Page(t("system"), tag("div", body, class_="columns"))


__all__ = ["Quality", "filters"]
