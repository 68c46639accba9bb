"""The frame about every page: head, pages to go to, banner of alarms, foot. What is in it, `pages.py` says."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .. import __version__
from .markup import Html, join, tag
from .pages import PAGES, TOKEN, Ask, Page, link, live_strip, path_of
from .texts import DOUBT, Words

STATIC = Path(__file__).parent / "static"
FILES = {"style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


def stamp(name: str) -> str:
    """What changes when the file does, so that a browser may keep it for ever."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


STAMPS = {name: stamp(name) for name in FILES}


def asset(name: str) -> str:
    return f"/static/{STAMPS[name]}/{name}"


def whole(ask: Ask, page: Page, here: str, address: str, person: str, token: str, said: str) -> str:
    """The page as it is sent. `here`: its name among PAGES; `address`: path and query; `said`: what was done last."""
    t, site = ask.t, ask.desk.config.site
    strip = live_strip(ask)
    nav = tag(
        "nav",
        (link(path_of(name), t(name), aria_current="page" if name == here else None) for name in PAGES),
        class_="pages",
        aria_label=t("menu"),
    )
    other = "zh" if t.language == "en" else "en"
    back = address + ("&" if "?" in address else "?") + f"lang={other}"
    who = (
        tag(
            "form",
            TOKEN,
            tag("span", person, class_="person"),
            tag("button", t("log out")),
            method="post",
            action="/logout",
        )
        if person
        else link("/login", t("log in"))
    )
    head = tag(
        "header",
        link("#content", t("skip"), class_="skip"),
        tag(
            "div",
            tag("p", link("/", tag("b", site.name), tag("span", site.node)), class_="brand"),
            nav,
            tag(
                "div",
                tag(
                    "span",
                    tag("i"),
                    tag("span", t("connecting"), id="link-word"),
                    id="link",
                    class_="link",
                    role="status",
                ),
                tag("span", id="clock", class_="clock", title=f"{DOUBT} {t('unsure')}"),
                link(back, t("language"), lang=other, hreflang=other, rel="nofollow"),
                who,
                class_="tools",
            ),
            class_="bar-top",
        ),
        strip,
        tag("p", said, class_="said", role="status") if said else None,
        class_="top",
    )
    main = tag(
        "main",
        tag("p", t("old", s="…"), id="old", class_="old", hidden=True, role="alert"),
        tag("noscript", tag("p", t("no script"), class_="hint")),
        tag("h1", page.title),
        page.body,
        tag("p", tag("span", DOUBT, class_="unsure"), " ", t("unsure"), class_="legend hint"),
        tag("form", TOKEN, id="act", method="post", action="/act") if person else None,
        id="content",
    )
    foot = tag("footer", tag("p", f"Vedette {__version__} · ", t("supplement")))
    text = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", f"{page.title} · {site.name}/{site.node}"),
            tag("link", rel="icon", href=asset("icon.svg"), type="image/svg+xml"),
            tag("link", rel="stylesheet", href=asset("style.css")),
            tag("script", src=asset("page.js"), type="module"),
        ),
        tag(
            "body",
            head,
            main,
            foot,
            data_live=address,
            data_gone=ask.sheet.gone,
            data_words=words(t),
            data_stamp=STAMPS["page.js"],
        ),
        lang="zh-CN" if t.language == "zh" else "en",
    )
    field = tag("input", type="hidden", name="token", value=token) + tag(
        "input", type="hidden", name="back", value=address
    )
    return "<!doctype html>" + ask.sheet.whole(text).replace(str(TOKEN), field)


def words(t: Words) -> str:
    """What the script writes: live, connecting, old."""
    return "|".join((t("live"), t("connecting"), t("old", s="{s}")))


def bare(t: Words, title: str, *body: Html | str) -> str:
    """A page without anything about the site, for refusals."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("link", rel="icon", href=asset("icon.svg"), type="image/svg+xml"),
        tag("link", rel="stylesheet", href=asset("style.css")),
    )
    inside = tag("main", tag("h1", title), join(*body), tag("p", link("/", t("site"))), class_="bare")
    return "<!doctype html>" + tag("html", head, tag("body", inside), lang="zh-CN" if t.language == "zh" else "en")
