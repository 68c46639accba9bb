"""The local page in a real browser: hazard at a register -> alarm on the page -> acknowledged there by somebody who
logged in -> the journal and the platform say so. Beside that: what a browser complains of, and what axe-core does.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from agent import audit
from tests.rigs.stage import heard, running, stage, told
from tests.tools.chromium import AXE, Chromium, chromium, needs_chromium
from tests.tools.mosquitto import needs_mosquitto
from tests.tools.subscriber import Subscriber
from tests.tools.visitor import WORD, ready, with_page

pytest.importorskip("starlette", reason='the page is not installed: pip install "vedette[web]"')
pytest.importorskip("argon2")
pytestmark = [needs_mosquitto, needs_chromium]

PAGES = ("/", "/alarms", "/channels", "/channel/plant/c0", "/history", "/lines", "/uplinks", "/cameras", "/evidence")
PAGES += ("/commission", "/commission/plant/c0", "/commission-report", "/system", "/login")
IS_LIVE = "document.querySelector('#link').classList.contains('on')"


def test_a_hazard_is_seen_and_acknowledged_on_the_page_and_the_platform_hears_who(tmp_path):
    """And a page whose agent is gone says that it is old, and comes back by itself."""
    level = 0.5

    def raise_() -> None:
        nonlocal level
        level = 1.5

    async def main() -> list[str]:
        async with stage(tmp_path, 3, 0.2, lambda: [level]) as (_, _, broker, path):
            url = with_page(path, "李伟")
            with Subscriber(broker.port, "vedette/#") as ear, chromium(tmp_path / "browser") as browser:
                async with running(path):
                    await ready(url)
                    await heard(ear, lambda ms: told(ms, "telemetry/plant"))
                    await asyncio.to_thread(acknowledge, browser, url, raise_)
                    messages = await heard(ear, is_acknowledged)
                    await asyncio.to_thread(read_all, browser, url)
                    await asyncio.to_thread(watch, browser, url)
                    # a machine that is busy with other tests answers 503 now and then, as it should, and is asked again
                    wrong = [said for said in browser.complaints() if "503 (Service Unavailable)" not in said]
                await asyncio.to_thread(browser.until, "!document.querySelector('#old').hidden")
                assert "is old" in browser.js("document.querySelector('#old').innerText")
                assert browser.js("document.body.classList.contains('stale')")
                async with running(path):
                    await ready(url)
                    await asyncio.to_thread(browser.until, "document.querySelector('#old').hidden")
                    await asyncio.to_thread(browser.until, IS_LIVE)
        (acked,) = (a for a in told(messages, "alarm/") if a["event"] == "acknowledged")
        assert (acked["by"], acked["channel"], acked["level"]) == ("李伟", "plant/c0", "red")
        return wrong

    assert asyncio.run(main()) == []
    edges = list(audit.edges(tmp_path / "state/journal"))
    assert [(a.event, a.by) for a in edges if a.rule == "gas"] == [("raised", ""), ("acknowledged", "李伟")]


def is_acknowledged(messages) -> bool:
    return any(alarm["event"] == "acknowledged" for alarm in told(messages, "alarm/"))


def acknowledge(browser: Chromium, url: str, raise_) -> None:
    """As a person would: look, see, log in, acknowledge."""
    browser.size(1280, 720)
    browser.go(f"{url}/alarms")
    browser.until(IS_LIVE)
    assert browser.js("document.querySelectorAll('#alarms li.red').length") == 0
    raise_()
    browser.until("document.querySelector('#alarms li.red.unseen') !== null")  # by itself
    assert "plant/c0" in browser.js("document.querySelector('#banner').innerText")
    assert browser.js("document.querySelector('#alarms button')") is None  # nobody is logged in
    browser.go(f"{url}/login?back=/alarms")
    browser.submit({"[name=name]": "李伟", "[name=password]": WORD}, "form.login button")
    browser.submit({}, "#alarms li.red button")
    browser.until("document.querySelector('#alarms li.red.seen') !== null")
    assert browser.js("document.querySelectorAll('#alarms li.red button').length") == 0


def read_all(browser: Chromium, url: str) -> None:
    """Every page, in one of both languages and lights, on a screen or on a phone: nothing is too wide."""
    found = []
    for i, page in enumerate(PAGES):
        browser.size(*((390, 844) if i % 2 else (1280, 720)), dark=i % 4 > 1)
        browser.go(f"{url}{page}?lang={'zh' if i % 3 else 'en'}")
        wide, room = browser.js("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= room, f"{page} is {wide} pixels wide, the screen {room}"
        if AXE.exists():
            found += [f"{page}: {one}" for one in browser.axe()]
    assert found == []


def watch(browser: Chromium, url: str) -> None:
    """A row of the list changes by itself."""
    browser.go(f"{url}/channels?lang=en")
    browser.until(IS_LIVE)
    first = json.dumps(browser.js("document.querySelector('#c0').innerText"))
    browser.until(f"document.querySelector('#c0').innerText != {first}")
