"""The local page in a real browser: hazard at a register -> alarm on the page -> acknowledged there by somebody who
logged in -> the journal and the platform say so. Beside that: what a browser complains of, and what axe-core does.
"""

from __future__ import annotations

import asyncio
import json
import time
from urllib.parse import quote

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
    browser.size(1280, 200)
    row = "document.querySelector('#alarms li.red').getBoundingClientRect().top"
    browser.js("scrollTo({top: 60, behavior: 'instant'})")
    before = browser.js(row)
    browser.submit({}, "#alarms li.red button")
    assert browser.js("scrollY") > 0
    assert abs(browser.js(row) - before) <= 1  # it is where it was
    told = "document.querySelector('.said')"
    place = f"(r => document.elementFromPoint(r.x + 20, r.y + r.height / 2))({told}.getBoundingClientRect())"
    assert browser.js(f"{place} === {told}")  # and what came of it is seen all the same
    assert browser.js("location.href") == f"{url}/alarms"
    browser.size(1280, 720)
    browser.until("document.querySelector('#alarms li.red.seen') !== null")
    assert browser.js("document.querySelectorAll('#alarms li.red button').length") == 0


def read_all(browser: Chromium, url: str) -> None:
    """Every page, in one of both languages and lights, on a screen or on a phone: nothing is too wide."""
    found = []
    for i, page in enumerate(PAGES):
        browser.size(*((390, 844) if i % 2 else (1280, 720)), dark=i % 4 > 1)
        browser.go(f"{url}{page}?lang={'zh' if i % 3 else 'en'}")
        assert_fits(browser, page)
        mark, legend = "document.querySelector('time .unsure') !== null", "document.querySelector('.legend')"
        shown = f"getComputedStyle({legend}).display !== 'none'"
        assert page == "/login" or browser.js(f"{legend} !== null && ({shown}) === ({mark})")  # where there is a mark
        if AXE.exists():
            found += [f"{page}: {one}" for one in browser.axe()]
    assert found == []


def assert_fits(browser: Chromium, page: str) -> None:
    """Nobody has to scroll sideways. A phone's `innerWidth` grows with what is too wide, `clientWidth` does not."""
    wide, room = browser.js("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= room, f"{page} is {wide} pixels wide, the screen {room}"


LONG = "北翼回风巷掘进工作面甲烷传感器上隅角第三号备用测点"


def test_a_page_says_when_what_it_is_about_is_over_and_leaves_the_keyboard_where_it_is(tmp_path):
    level = 1.5

    def end() -> None:
        nonlocal level
        level = 0.5

    async def main() -> list[str]:
        async with stage(tmp_path, 3, 0.2, lambda: [level]) as (_, _, broker, path):
            url = with_page(path, "李伟")
            points = path.parent / "points.csv"
            rows = points.read_text().splitlines()
            rows[2] = f"{LONG}{rows[2].removeprefix('c1').removesuffix('%')}{LONG}"
            points.write_text("\n".join(rows))
            with Subscriber(broker.port, "vedette/#") as ear, chromium(tmp_path / "browser") as browser:
                async with running(path):
                    await ready(url)
                    await heard(ear, lambda ms: told(ms, "alarm/"))
                    await asyncio.to_thread(outlive, browser, url, end)
                    await asyncio.to_thread(stay, browser, url)
                    return browser.complaints()

    wrong = asyncio.run(main())
    assert [said for said in wrong if "503 (Service" not in said and "404 (Not Found)" not in said] == []


def outlive(browser: Chromium, url: str, end) -> None:
    """An alarm that somebody has before him is acknowledged, by another one, and ends."""
    browser.size(1280, 720)
    browser.go(f"{url}/login?back=/alarms&lang=en")
    browser.submit({"[name=name]": "李伟", "[name=password]": WORD}, "form.login button")
    alarm = browser.js("document.querySelector('#alarms li.red a').getAttribute('href')")
    names = [node["name"]["value"] for node in browser.ask("Accessibility.getFullAXTree")["nodes"] if "name" in node]
    assert any(name.startswith("Acknowledge: plant/c0 at 1.5") for name in names)  # one of many, for whoever only hears
    browser.go(f"{url}{alarm}")
    browser.until(f"{IS_LIVE} && document.querySelector('#buttons button') !== null")
    token = "new URLSearchParams(new FormData(document.querySelector('#act')))"
    act = f"(() => {{ const form = {token}; form.set('do', 'ack:{alarm.rpartition('/')[2]}'); return form; }})()"
    browser.js(f"fetch('/act', {{method: 'POST', body: {act}}}).then(answer => answer.text()).then(() => 0)")
    browser.until("document.querySelector('#buttons button') === null")  # there is nothing left to acknowledge
    end()
    browser.until("document.body.innerText.includes('This alarm is over')")
    browser.until(IS_LIVE)  # and the banner of that page goes on
    browser.until("document.querySelector('#banner').innerText.includes('No alarms')")


def stay(browser: Chromium, url: str) -> None:
    """A row changes each second: whoever went to its link by keyboard is still there. The clock is the gateway's."""
    browser.ask("Emulation.setTimezoneOverride", timezoneId="Pacific/Kiritimati")
    browser.go(f"{url}/channels?lang=en")
    browser.until(IS_LIVE)
    browser.js("document.querySelector('#c0 a').focus()")
    first = json.dumps(browser.js("document.querySelector('#c0').innerText"))
    browser.until(f"document.querySelector('#c0').innerText != {first}")
    assert browser.js("document.activeElement.innerText") == "plant/c0"
    shown = browser.js("document.querySelector('#clock').innerText")
    assert shown.removesuffix(" ?") in {
        time.strftime("%H:%M:%S", time.localtime(time.time() - ago)) for ago in range(10)
    }
    press = "(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('#c0 a').getBoundingClientRect())"
    x, y = browser.js(press)
    mouse = {"x": x, "y": y, "button": "left", "clickCount": 1}
    browser.ask("Input.dispatchMouseEvent", type="mousePressed", **mouse)
    browser.until(f"document.querySelector('#clock').innerText != {json.dumps(shown)}")
    browser.ask("Input.dispatchMouseEvent", type="mouseReleased", **mouse)
    browser.until("location.pathname == '/channel/plant/c0'")  # though the row was made anew meanwhile
    browser.go(f"{url}/commission/plant/c0?lang=zh")
    browser.submit({"[name=reference]": "9"}, "main form button")
    assert browser.js("document.querySelector('.said').innerText") == "已执行:plant/c0, 不合格。"
    browser.js("document.cookie = 'lang=en; path=/'")
    browser.size(390, 844)
    browser.go(f"{url}/channel/plant/{quote(LONG)}")
    assert_fits(browser, "a long name and unit")
    browser.size(1280, 720)
    browser.go(f"{url}/point/unfit%40plant%2Fc0")
    browser.js("document.querySelector('#form-take-out').closest('details').open = true")
    browser.submit({"#take-out-reason": "x" * 190}, "#form-take-out button")
    browser.size(390, 844)
    browser.go(f"{url}/alarms")
    browser.until("document.querySelector('#away li') !== null")
    assert_fits(browser, "a long reason")
    browser.go(f"{url}/channels?find=nobody")
    assert "Nothing here" in browser.js("document.querySelector('#rows').innerText")


def watch(browser: Chromium, url: str) -> None:
    """A row of the list changes by itself."""
    browser.go(f"{url}/channels?lang=en")
    browser.until(IS_LIVE)
    first = json.dumps(browser.js("document.querySelector('#c0').innerText"))
    browser.until(f"document.querySelector('#c0').innerText != {first}")
