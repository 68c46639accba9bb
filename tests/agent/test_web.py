"""The local page by HTTP: who may act, what goes out with each answer, and what a bad visitor costs: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import stat
import time
from pathlib import Path
from string import Formatter
from types import SimpleNamespace

import msgspec
import pytest

pytest.importorskip("starlette", reason='the page is not installed: pip install "vedette[web]"')
pytest.importorskip("argon2")

from agent import audit, commission, config, daemon, evidence, keys
from agent.cli import main as cli
from agent.clock import ManualClock, SystemClock
from agent.control import ask
from agent.core.core import open_alarms
from agent.core.errors import ConfigFault
from agent.core.frame import Instant, frame, layout
from agent.core.ports import Fared, Tally
from agent.trend import Trends
from agent.web import app, budget, coach, figures, markup, metrics, pages, people, records, server, stream, texts
from agent.web.markup import Html, Sheet, changed, tag
from agent.web.texts import Words
from agent.window import Web
from tests.tools.mosquitto import Certificates, free_port
from tests.tools.visitor import WORD, Visitor, living, silent

parser = pytest.importorskip("prometheus_client.parser")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """An agent whose line is silent, and where its page is."""
    folder = tmp_path_factory.mktemp("site")
    path, url = silent(folder, name="Li")
    with living(path) as agent:
        visitor = Visitor(url)
        end = time.monotonic() + 20
        while "plant has sent nothing" not in visitor.text("/alarms"):
            assert time.monotonic() < end
            time.sleep(0.05)
        yield agent, url, folder


@pytest.fixture
def visitor(page):
    return Visitor(page[1])


@pytest.fixture
def li(visitor):
    assert visitor.log_in("Li") == 303
    return visitor


def kinds(agent) -> list[str]:
    return [event.kind for event in agent.recent]


# -- who may act --------------------------------------------------------------------------------------


def test_to_look_needs_no_name_and_to_act_does(page, visitor):
    for path in ("/", "/alarms", "/channels", "/channel/plant/c0", "/history", "/lines", "/uplinks", "/system"):
        assert "plant" in visitor.text(path) or path in ("/uplinks", "/system")
    for path in ("/act", "/logout", "/commission"):
        assert visitor.ask(path, {"do": "ack:x", "token": ""})[0] == 403
    assert visitor.ask("/act", {"do": "ack:x"}, {"Cookie": "vedette=guess"})[0] == 403


def test_a_form_of_another_site_does_nothing(page, li):
    token = li.token()
    foreign = ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"})
    for headers in foreign:
        assert li.ask("/act", {"do": "ack:x", "token": token}, headers)[0] == 403
        assert li.ask("/login", {"name": "Li", "password": WORD}, headers)[0] == 403
    assert li.ask("/act", {"do": "ack:x", "token": "guess"})[0] == 403
    assert li.ask("/act", {"do": "ack:x"})[0] == 403
    assert li.ask("/act", {"do": "ack:x", "token": token}, {"Content-Type": "text/plain"})[0] == 415


def test_what_is_done_here_goes_into_the_journal_with_the_name(page, li):
    folder = page[2]
    token = li.token()
    point = "silent@plant"
    wanted = {"token": token, "do": f"shelve:{point}", "reason": "", "hours": "1", "back": "/alarms"}
    assert li.ask("/act", wanted)[0] == 303
    assert "a reason is needed" in li.text("/alarms")  # the core refuses, and the page says why
    answer = li.ask("/act", {**wanted, "reason": "<b>the line\0 is being laid"})
    assert (answer[0], answer[1]["Location"]) == (303, "/alarms")
    end = time.monotonic() + 10
    while not any(a.by == "Li" and a.event == "shelved" for a in audit.edges(folder / "state/journal")):
        assert time.monotonic() < end
        time.sleep(0.05)
    text = li.text("/alarms")
    assert "&lt;b&gt;the line" in text
    assert "<b>the line" not in text
    assert li.ask("/act", {"token": token, "do": f"restore:{point}"})[0] == 303
    assert li.ask("/act", {"token": token, "do": "status:"})[0] == 400


def test_of_two_who_acknowledge_the_second_hears_who_was_first(tmp_path):
    path, url = silent(tmp_path, name="Li")
    with living(path) as agent:
        visitor = Visitor(url)
        assert visitor.log_in("Li") == 303
        id = lost(agent)
        assert ask(tmp_path / "state", {"verb": "ack", "id": id, "by": "Wang"}) == {"ok": id}
        for language, said in (
            ("en", f"Not done: {id} was acknowledged already, by Wang."),
            ("zh", f"未执行:{id} 已由 Wang 确认。"),
        ):
            form = {"token": visitor.token(), "do": f"ack:{id}", "back": "/alarms"}
            assert visitor.ask(f"/act?lang={language}", form)[0] == 303
            assert said in visitor.text(f"/alarms?lang={language}")
    assert acknowledged(tmp_path, id) == ["Wang"]


def test_of_two_who_acknowledge_in_the_same_moment_one_did_it(tmp_path):
    path, _ = silent(tmp_path)

    async def main() -> tuple[str, list[dict[str, str]]]:
        agent = daemon.Agent(config.load(path))
        running = asyncio.create_task(agent.run())
        id = await asyncio.to_thread(lost, agent)
        asked = (agent.answer({"verb": "ack", "id": id, "by": by}) for by in ("Wang", "Zhao"))
        told = await asyncio.gather(*asked)  # the judge has its turn when both have asked
        agent.stop()
        await running
        return id, told

    id, told = asyncio.run(main())
    assert told == [{"ok": id}, {"error": f"{id} was acknowledged already, by Wang"}]
    assert acknowledged(tmp_path, id) == ["Wang"]


def lost(agent) -> str:
    """The alarm that says that the line is silent, once it is there."""
    end = time.monotonic() + 20
    while True:
        with contextlib.suppress(AttributeError):  # it is just starting
            if found := [one.id for one in open_alarms(agent.memory) if one.channel == "plant"]:
                return found[0]
        assert time.monotonic() < end
        time.sleep(0.05)


class Doubted(SystemClock):
    """This machine's clock, trusted or not as the test says."""

    trusted = False

    def now(self) -> Instant:
        at = super().now()
        return Instant(at.mono, at.wall, self.trusted)


def test_a_time_of_which_the_clock_was_not_trusted_is_marked(tmp_path):
    path, url = silent(tmp_path)
    clock = Doubted()
    with living(path, clock) as agent:
        visitor, id = Visitor(url), lost(agent)
        clock.trusted = True
        assert ask(tmp_path / "state", {"verb": "ack", "id": id, "by": "Li"}) == {"ok": id}
        for language, said in (("en", "the clock was not trusted then"), ("zh", "当时时钟不可信")):
            for place in ("/alarms", f"/alarm/{id}", "/system"):
                (first, *_) = [time for time in times(visitor.text(f"{place}?lang={language}")) if "unsure" in time]
                assert first.count(f"? {said}") == 1  # for whoever points at it
                assert f'>?<span class="hidden"> {said}</span></span></time>' in first
        end = time.monotonic() + 10
        while len(told := times(visitor.text(f"/history/{id}"))) < 2:  # the journal is written
            assert time.monotonic() < end
            time.sleep(0.05)
        assert ["unsure" in time for time in told] == [True, False]  # raised before, acknowledged after


def times(page: str) -> list[str]:
    return re.findall(r"<time.*?</time>", page)


def acknowledged(folder, id: str) -> list[str]:
    """By whom, as the journal has it."""
    return [a.by for a in audit.edges(folder / "state/journal") if a.id == id and a.event == "acknowledged"]


def test_what_the_agent_answers_is_chinese_for_whoever_reads_chinese(page, li, capsys):
    _, _, folder = page
    for deed, english, chinese in (
        ("shelve:silent@plant", "a reason is needed", "未执行:须说明原因,或给出工作票编号。"),
        ("restore:silent@plant", "there is nothing to restore", "”,无需恢复。"),  # whatever its state is now
        ("ack:nobody", "no open alarm", "未执行:没有编号为 nobody 的未结束报警。"),
        ("protect:nothing", "no camera of this site", "未执行:本现场没有保留证据的摄像机。"),
    ):
        assert li.ask("/act?lang=zh", {"token": li.token(), "do": deed, "hours": "1", "back": "/alarms"})[0] == 303
        text = li.text("/alarms?lang=zh")
        assert chinese in text
        assert english not in text
    form = {"token": li.token(), "channel": "plant/c0", "reference": "1,5", "tolerance": "1", "back": "/commission"}
    assert li.ask("/commission?lang=zh", form)[0] == 303
    assert "未执行:标准值和允差须为数字" in li.text("/commission?lang=zh")
    asked = ["-c", str(folder / "site.toml"), "--lang", "zh"]
    for words, chinese, code in (
        (["alarms", "--shelve", "silent@plant", "--by", "Li", "--hours", "1"], "须说明原因,或给出工作票编号", 69),
        (["alarms", "--ack", "nobody", "--by", "Li"], "没有编号为 nobody 的未结束报警", 69),
        (["alarms", "--ack", "nobody"], "由谁确认?请给出 --by 姓名", 64),
        (
            ["drill", "nothing", "--by", "Li"],
            "没有规则监测 nothing:请给出 RULE@CHANNEL,或有驱动输出的规则或组的名称",
            69,
        ),
        (["presence", "p7", "north"], "现场文件中没有 [[zone]],没有可进入的区域", 69),
    ):
        assert cli([*words, *asked]) == code
        assert capsys.readouterr().err.endswith(f": {chinese}\n")
    assert cli(["alarms", "--ack", "nobody", "--by", "Li", "--json", *asked]) == 69
    assert json.loads(capsys.readouterr().out) == {"error": "no open alarm has the id nobody"}  # one text for machines


def test_who_is_logged_out_meanwhile_hears_it_and_where_to_log_in(page, visitor):
    for referer, to in ((f"{page[1]}/channels?find=x", "%2Fchannels"), ("http://elsewhere/x", "%2F"), ("", "%2F")):
        status, _, body = visitor.ask("/act?lang=zh", {"do": "ack:1", "token": "x"}, {"Referer": referer})
        assert (status, f'/login?back={to}"' in body.decode()) == (403, True)
        assert "未执行" in body.decode()


def test_where_one_is_sent_back_to_is_a_page_of_ours(page, li):
    token = li.token()
    for to in ("//evil.example/", "http://evil.example", "/\\evil.example", "/no-such", "javascript:alert(1)"):
        assert li.ask("/act", {"token": token, "do": "ack:x", "back": to})[1]["Location"] == "/"


def test_the_cookie_is_for_nobody_else_and_ends_when_one_leaves(page, visitor):
    status, headers, _ = visitor.ask("/login", {"name": "Li", "password": WORD})
    cookie = headers["Set-Cookie"].lower()
    assert status == 303
    assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/"))
    cookies, token = dict(visitor.cookies), visitor.token()
    assert visitor.ask("/logout", {"token": token})[0] == 303
    visitor.cookies = cookies
    assert visitor.ask("/act", {"do": "ack:x", "token": token})[0] == 403
    assert {"login", "logout"} <= set(kinds(page[0]))


def test_who_guesses_has_to_wait_even_with_the_right_password(page, visitor):
    assert [visitor.log_in("Wang", f"wrong guess {i}") for i in range(5)] == [403] * 5
    assert visitor.log_in("Wang", WORD) == 429
    assert visitor.log_in("Li") == 303  # he is not to blame
    assert kinds(page[0]).count("login-refused") == 1


def test_waiting_doubles_and_is_forgotten_when_it_went_well():
    tries = people.Tries()
    for _ in range(5):
        tries.wrong(100.0, "name Li", "from ::1")
    assert tries.wait(100.0, "name Li", "from ::1") == 15.0
    assert tries.wait(100.0, "from ::1") == 0.0
    tries.wrong(115.0, "name Li")
    assert tries.wait(115.0, "name Li") == 30.0
    tries.right("name Li")
    assert tries.wait(115.0, "name Li") == 0.0
    for i in range(1000):
        tries.wrong(0.0, f"name {i}")
    assert len(tries._of) <= people.WATCHED


def test_sessions_end_by_themselves_and_there_are_few():
    sessions = people.Sessions()
    cookie = sessions.begin("Li", 7.0, 0.0)
    assert sessions.of(cookie, people.IDLE).name == "Li"
    assert sessions.of(cookie, 2 * people.IDLE + 1) is None
    busy = sessions.begin("Li", 7.0, 0.0)
    for i in range(20):
        last = sessions.of(busy, i * people.IDLE)
    assert last is None  # a shift is over, however busy
    for _ in range(100):
        sessions.begin("Li", 7.0, 0.0)
    assert len(sessions) == people.SESSIONS
    sessions.keep_of({"Li": people.Entry("hash", 7.0)})
    assert len(sessions) == people.SESSIONS
    sessions.keep_of({"Li": people.Entry("another", 8.0)})  # a new password ends what the old one began
    assert len(sessions) == 0


def test_passwords_are_made_on_the_gateway_and_kept_as_hashes(page, tmp_path, monkeypatch, capsys):
    file = page[2] / "state" / people.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert WORD.encode() not in file.read_bytes()
    assert b"$argon2id$" in file.read_bytes()
    path, _ = silent(tmp_path)
    for given, code in (("short\n", os.EX_DATAERR), ("1234567890\n", os.EX_DATAERR), (f"{WORD}\n", 0)):
        monkeypatch.setattr("sys.stdin", __import__("io").StringIO(given))
        assert cli(["passwd", "Zhao", "--stdin", "-c", str(path)]) == code
    assert cli(["passwd", "Zhao", "-c", str(path)]) == 64, "there is no terminal to type it at"
    assert cli(["passwd", "-c", str(path)]) == 0
    assert "Zhao" in capsys.readouterr().out
    assert cli(["passwd", "Zhao", "--remove", "-c", str(path)]) == 0
    assert people.read(tmp_path / "state") == {}
    (tmp_path / "state" / people.FILE).chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        people.read(tmp_path / "state")


def test_without_tls_nobody_logs_in_from_elsewhere():
    assert Web().may_log_in
    assert not Web(listen="0.0.0.0:8080").may_log_in
    assert Web(listen="0.0.0.0:8080", plain=True).may_log_in
    assert Web(listen="[::]:8443", certificate="a.pem", key="a.key").may_log_in
    assert Web(listen="nowhere").faults()
    assert Web(certificate="a.pem").faults()


# -- what goes out ------------------------------------------------------------------------------------


def test_every_answer_says_what_a_browser_must_not_do(page, visitor):
    for path in ("/", "/no-such", "/metrics", "/healthz", "/login", "/static/0/style.css", "/live?page=/nowhere"):
        headers = visitor.ask(path)[1]
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Server"] is None
    assert visitor.ask("/")[1]["Cache-Control"] == "no-store"
    stamped = visitor.text("/").split('href="/static/')[1].split('"')[0]
    assert "immutable" in visitor.ask(f"/static/{stamped}")[1]["Cache-Control"]


def test_nothing_is_inline(page, visitor):
    for path in ("/", "/alarms", "/channels", "/channel/plant/c0", "/lines", "/commission", "/system"):
        text = visitor.text(path)
        assert " style=" not in text
        assert "<style" not in text
        assert " onclick" not in text
        assert "javascript:" not in text
        assert text.count("<script") == 1


def test_a_name_that_is_not_ours_gets_nothing(page, visitor):
    """Else another site could make its own name point here, and read."""
    assert visitor.ask("/", headers={"Host": "evil.example"})[0] == 421
    for host in ("localhost:1", "127.0.0.1", "[::1]:8080", "192.168.1.7", socket.gethostname()):
        assert visitor.ask("/healthz", headers={"Host": host})[0] == 200


def test_text_of_people_is_text(page):
    hostile = "<img src=x onerror=alert(1)>&\0\1"
    assert tag("p", hostile, title=hostile) == (
        '<p title="&lt;img src=x onerror=alert(1)&gt;&amp;">&lt;img src=x onerror=alert(1)&gt;&amp;</p>'
    )


def test_the_language_is_asked_for_remembered_or_the_browsers(page, visitor):
    assert 'lang="en"' in visitor.text("/")
    assert 'lang="zh-CN"' in visitor.ask("/", headers={"Accept-Language": "zh-TW,en;q=0.5"})[2].decode()
    assert 'lang="zh-CN"' in visitor.text("/?lang=zh")
    assert "现场" in visitor.text("/")  # by the cookie


# -- bad visitors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/evidence/..%2f..%2f..%2fetc/passwd",
        "/evidence/../people.json",
        "/evidence/x.y/..%2f..%2fpeople.json",
        "/evidence/x.y/%2e%2e/manifest.json",
        "/static/0/..%2fapp.py",
        "/static/../../app.py",
        "/camera/..%2f..%2fstate/still",
        "/channel/..%2f..%2fetc%2fpasswd",
        "/history/..%2f..",
    ],
)
def test_no_path_leads_out(page, visitor, path):
    status, _, body = visitor.ask(path)
    assert status in (404, 307)
    assert b"root:" not in body
    assert b"argon2" not in body
    assert b"import" not in body


def test_what_is_too_large_is_refused(page, li):
    token = li.token()
    assert li.ask("/act", {"token": token, "do": "ack:x", "reason": "x" * 20_000})[0] == 413
    assert li.ask("/channels?find=" + "x" * 2000)[0] == 414
    line = li.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000)
    assert line.recv(1000).startswith(b"HTTP/1.1 400")
    line.close()
    line = li.raw(b"POST /act HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999999\r\n\r\n")
    assert line.recv(1000).startswith(b"HTTP/1.1 403")  # before a byte of it was read
    line.close()
    line = li.raw(b"\x16\x03\x01 nonsense \r\n\r\n")
    assert line.recv(1000).startswith(b"HTTP/1.1 400")
    line.close()
    assert li.text("/healthz") == "ok\n"


def test_odd_queries_break_nothing(page, visitor):
    odd = ("/channels?start=-1", "/channels?start=99999999", "/history?from=2026-99-99&to=x&level=pink&before=abc")
    odd += ("/channel/plant/c0?begin=nan&end=inf", "/channel/plant/c0?begin=1&end=2", "/channel/plant/c0?span=9y")
    odd += ("/channel/plant/c0?begin=-1e308&end=1e308", "/channel/plant/c0?begin=5&end=1", "/alarms?level=%00")
    odd += ("/history?find=%ff%fe", "/channels?find=%00%01", "/live?page=%00", "/live?page=//x", "/%00", "/%01")
    odd += ("/history?before=%C2%B2", "/live?page=//%5B", "/live?page=http://%5Bx")  # ² is a digit, and no number
    for path in odd:
        assert visitor.ask(path)[0] in (200, 404), path
    for name in ("Host", "Origin", "Referer"):
        assert visitor.ask("/act", {"do": "ack:1"}, {name: "http://["})[0] in (403, 421), name
    assert "crashed" not in kinds(page[0])


def test_whoever_does_not_finish_a_request_goes_and_costs_nobody_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "ASKING", 0.5)
    path, url = silent(tmp_path)
    with living(path) as agent:
        visitor = Visitor(url)
        slow = [visitor.raw(b"GET / HTTP/1.1\r\nHost: local") for _ in range(15)]
        slow += [visitor.raw(b"") for _ in range(15)]
        assert visitor.text("/healthz") == "ok\n"
        assert all(ended(line) for line in slow)  # closed when its time was up
        monkeypatch.setattr(server, "ASKING", 10.0)
        monkeypatch.setattr(server, "OF_ONE", 5)
        many = [visitor.raw(b"GET / HTTP/1.1\r\n") for _ in range(12)]
        assert ended(many.pop())  # at once: it is one too many
        for line in many:
            line.close()
        monkeypatch.setattr(server, "OF_ONE", 100)
        assert visitor.text("/healthz") == "ok\n"
        assert "crashed" not in kinds(agent)


def ended(line: socket.socket) -> bool:
    """Whether the other side closes the connection."""
    try:
        return line.recv(1000) == b""
    except ConnectionResetError:
        return True
    finally:
        line.close()


def test_whoever_takes_nothing_of_a_live_page_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "PATIENCE", 0.3)
    monkeypatch.setattr(stream, "PERIOD", 0.05)
    monkeypatch.setattr(server, "BUFFER", 4096)
    path, url = silent(tmp_path, more="streams = 2\n")
    with living(path):
        visitor = Visitor(url)
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(30)
        deaf.connect((visitor.host, visitor.port))
        deaf.sendall(b"GET /live?page=/system HTTP/1.1\r\nHost: localhost\r\n\r\n")
        other = visitor.raw(b"GET /live?page=/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        read_until(other, b"data: ")
        assert visitor.ask("/live?page=/")[0] == 503  # there is room for two
        end = time.monotonic() + 20
        while "vedette_web_slow_total 1" not in (text := visitor.text("/metrics")):
            assert time.monotonic() < end, text
            time.sleep(0.1)
        assert "vedette_web_streams 1\n" in text
        read_until(other, b"data: ")  # nobody else noticed
        other.close()
        deaf.close()


def read_until(line: socket.socket, word: bytes) -> None:
    text = b""
    while word not in text:
        piece = line.recv(65536)
        assert piece
        text += piece


def test_the_page_takes_a_share_of_the_time_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "SHARE", 1e-6)
    monkeypatch.setattr(budget, "BURST", 0.02)
    path, url = silent(tmp_path, name="Li")
    with living(path) as agent:
        visitor = Visitor(url)
        assert visitor.log_in("Li") == 303
        answers = [visitor.ask("/system")[0] for _ in range(100)]
        assert answers[-1] == 503
        assert [visitor.ask("/metrics")[0] for _ in range(2)] == [200, 503]  # now and then they are given
        assert visitor.text("/healthz") == "ok\n"
        assert visitor.ask("/act", {"token": visitor.token(), "do": "ack:x"})[0] == 303  # people are never too many
        assert "crashed" not in kinds(agent)


def test_a_budget_comes_back_with_time():
    now = 100.0
    one = budget.Budget(lambda: now)
    one.spend(budget.BURST + 1.0)
    assert one.is_spent()
    now += 0.9 / budget.SHARE
    assert one.is_spent()
    now += 0.2 / budget.SHARE
    assert not one.is_spent()


def test_a_mistake_in_a_page_costs_one_answer_and_is_told_once(page, visitor, monkeypatch):
    async def wrong(ask):
        raise ZeroDivisionError("a mistake")

    monkeypatch.setitem(app.PLACES, "/lines", app.Place("lines", wrong))
    for _ in range(3):
        status, _, body = visitor.ask("/lines")
        assert status == 500
        assert b"ZeroDivision" not in body
    assert kinds(page[0]).count("crashed") == 1
    assert "no progress" not in str(kinds(page[0]))
    assert visitor.text("/healthz") == "ok\n"


def test_a_crash_of_the_server_is_told_and_it_comes_back(tmp_path, monkeypatch):
    knocked, knock = [], server._knock

    async def once(sock):
        if sock.getsockname()[1] != Visitor(url).port:  # another agent of this process
            return await knock(sock)
        knocked.append(1)
        if len(knocked) == 2:
            raise ZeroDivisionError("a mistake of the server")
        return await knock(sock)

    path, url = silent(tmp_path)
    monkeypatch.setattr(server, "_knock", once)
    monkeypatch.setattr(server, "PULSE", 0.2)

    def is_back():
        with contextlib.suppress(OSError):  # where the machine is busy it may miss a knock, and comes back once more
            return len(knocked) >= 4 and Visitor(url).text("/healthz") == "ok\n"
        return False

    with living(path) as agent:
        end = time.monotonic() + 20
        while not is_back():
            assert time.monotonic() < end
            time.sleep(0.05)
        assert [e.text.split()[0] for e in list(agent.recent) if e.kind == "crashed"] == ["ZeroDivisionError:"]


def test_a_place_that_is_taken_costs_the_page_and_nothing_else(tmp_path):
    path, url = silent(tmp_path)
    visitor = Visitor(url)
    with socket.socket() as taken:
        taken.bind((visitor.host, visitor.port))
        taken.listen(50)
        with living(path) as agent:
            end = time.monotonic() + 20
            while not any(e.kind == "line-lost" and e.source == "web" for e in list(agent.recent)):
                assert time.monotonic() < end
                time.sleep(0.05)
            taken.close()
            while True:  # it comes by itself
                try:
                    assert visitor.text("/healthz") == "ok\n"
                    break
                except OSError:
                    assert time.monotonic() < end
                    time.sleep(0.05)


# -- machines -----------------------------------------------------------------------------------------


def test_metrics_are_read_by_somebody_elses_parser_and_have_the_names_that_are_told(page, visitor):
    families = list(parser.text_string_to_metric_families(visitor.text("/metrics")))
    told = {name.removesuffix("_total") for name in metrics.METRICS}
    assert {family.name for family in families} <= told
    absent = told - {family.name for family in families}
    assert absent <= {
        "vedette_item_colour", "vedette_channel_value", "vedette_device_up", "vedette_device_requests",
        "vedette_device_errors", "vedette_device_round_trip_seconds", "vedette_uplink_oldest_seconds",
        "vedette_disk_full_seconds", "vedette_disk_wear_ratio", "vedette_temperature_celsius", "vedette_throttled",
        "vedette_under_voltage",
    }  # fmt: skip
    for family in families:
        metric = metrics.METRICS.get(family.name) or metrics.METRICS[f"{family.name}_total"]
        assert family.type == metric.kind
        assert family.documentation == metric.help
        assert all(set(sample.labels) == set(metric.labels) for sample in family.samples)
    alarms = {tuple(s.labels.values()): s.value for f in families if f.name == "vedette_alarms" for s in f.samples}
    assert sum(alarms.values()) >= 1


def test_names_of_metrics_are_those_of_the_dashboard():
    board = json.loads((ROOT / "configs/grafana.json").read_text("utf-8"))
    asked = {word for word in _words(json.dumps(board)) if word.startswith("vedette_")}
    assert asked <= set(metrics.METRICS)
    assert len(asked) > 15


def _words(text: str) -> set[str]:
    return set("".join(c if c.isalnum() or c == "_" else " " for c in text).split())


def test_ready_is_who_sees_and_tells(page, visitor):
    assert visitor.ask("/healthz")[::2] == (200, b"ok\n")
    status, _, body = visitor.ask("/readyz")
    assert status == 503
    assert b"plant" in body


def test_an_uplink_that_never_came_up_is_told_as_down(page):
    assert ask(page[2] / "state", {"verb": "status"})["uplinks"] == {"platform": "down"}


def test_with_tls_the_cookie_never_leaves_it(tmp_path):
    """The other end is Python's ssl, the certificate openssl's."""
    tls = Certificates(tmp_path / "tls")
    path, url = silent(tmp_path, name="Li", more=f'certificate = "{tls.cert}"\nkey = "{tls.key}"\n')
    with living(path):
        visitor = Visitor(url, ssl.create_default_context(cafile=str(tls.ca)))
        status, headers, _ = visitor.ask("/login", {"name": "Li", "password": WORD})
        assert status == 303
        assert headers["Set-Cookie"].startswith("__Host-vedette=")
        assert "; secure" in headers["Set-Cookie"].lower()
        assert visitor.ask("/act", {"do": "ack:x", "token": visitor.token()})[0] == 303
        with pytest.raises((OSError, http.client.HTTPException)):
            Visitor(url).ask("/healthz")


def test_a_page_that_cannot_be_is_a_fault_with_its_line(tmp_path):
    path, _ = silent(tmp_path)
    text = path.read_text().split("[web]")[0]
    path.write_text(f'{text}[web]\nlisten = "everywhere"\ncertificate = "a.pem"\nlang = "zh"\n')
    with pytest.raises(ConfigFault) as told:
        config.load(path)
    assert "unknown" in str(told.value)
    path.write_text(f'{text}[web]\nlisten = "everywhere"\ncertificate = "a.pem"\n')
    with pytest.raises(ConfigFault) as told:
        config.load(path)
    line = 1 + text.count("\n")
    assert [str(line) in one and "[web]" in one for one in told.value.complaints] == [True, True]


# -- lines --------------------------------------------------------------------------------------------


def fared(**fields) -> Fared:
    usual = {"device": "sump", "unit": 7, "asked": 1000, "silent": 0, "garbled": 0, "refused": 0, "late": 0}
    return Fared(**usual | {"mean": 0.01, "worst": 0.02, "lost": False, "answered": True} | fields)


@pytest.mark.parametrize(
    ("serial", "fields", "said"),
    [
        (True, {}, []),
        (True, {"silent": 380}, ["coach silent"]),
        (False, {"silent": 380}, ["coach tcp"]),
        (True, {"garbled": 30, "silent": 60}, ["coach garbled", "coach silent"]),
        (True, {"silent": 4, "asked": 10}, []),
        (True, {"lost": True}, ["coach lost"]),
        (True, {"lost": True, "answered": False}, ["coach never"]),
        (True, {"refused": 200}, ["coach refused"]),
        (True, {"late": 50}, ["coach slow"]),
    ],
)
def test_what_to_check_follows_from_how_a_device_answers(serial, fields, said):
    mine = fared(**fields)
    tally = Tally("bus", Instant(0.0, 0.0), 300.0, 0.5, serial, (mine, fared(device="other")))
    assert [hint.key for hint in coach.hints(tally, mine)] == said
    for words in (Words("en"), Words("zh")):
        assert "sump" in records.device_row(words, tally, mine)


def test_where_all_are_lost_it_is_the_line():
    dead = [fared(lost=True), fared(lost=True)]
    tally = Tally("bus", Instant(0.0, 0.0), 300.0, 0.5, True, tuple(dead))
    assert [hint.key for hint in coach.hints(tally, dead[0])] == ["coach all"]


def test_every_text_is_there_in_both_languages_with_the_same_blanks():
    for key, pair in texts.TEXTS.items():
        assert len(pair) == 2, key
        assert all(pair), key
        blanks = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in pair]
        assert blanks[0] == blanks[1], key


# -- evidence and commissioning -----------------------------------------------------------------------


def kept(folder, id: str, clip: bytes) -> None:
    """A piece of evidence as the clerk leaves it."""
    home = folder / "state/evidence" / id
    home.mkdir(parents=True)
    (home / "clip.mp4").write_bytes(clip)
    (home / "secret.txt").write_text("not in the manifest")
    at = Instant(1.0, 1000.0, True)
    manifest = evidence.Manifest(
        id=id, alarm=id.partition(".")[0], edge=1, rule="gas", channel="plant/c0", level="red", camera="gate",
        at=at, begin=at, end=at, kernel="k", clip=evidence.Clip(codec="vp09"), stills=(), masks=(), missing=(),
        files=(evidence.File("clip.mp4", len(clip), hashlib.sha256(clip).hexdigest()),),
    )  # fmt: skip
    (home / evidence.MANIFEST).write_bytes(msgspec.json.encode(manifest))


def test_a_clip_is_played_from_anywhere_and_nothing_beside_it_is_given(page, visitor):
    clip = os.urandom(300_000)
    kept(page[2], "000001-ab12-7.gate%2F2", clip)
    there = "/evidence/000001-ab12-7.gate%252F2"
    assert "clip.mp4" in visitor.text(there)
    assert "000001-ab12-7" in visitor.text("/evidence")
    assert visitor.ask(f"{there}/clip.mp4")[2] == clip
    status, headers, part = visitor.ask(f"{there}/clip.mp4", headers={"Range": "bytes=1000-200999"})
    assert (status, headers["Content-Range"], part) == (206, "bytes 1000-200999/300000", clip[1000:201000])
    assert visitor.ask(f"{there}/clip.mp4", headers={"Range": "bytes=-10"})[2] == clip[-10:]
    assert visitor.ask(f"{there}/clip.mp4", headers={"Range": "bytes=300000-"})[0] == 416
    assert visitor.log_in("Li") == 303
    form = {"token": visitor.token(there), "do": "protect:000001-ab12-7.gate%2F2", "reason": "court", "back": there}
    assert visitor.ask("/act", form)[1]["Location"] == there
    assert "no camera" in visitor.text(there)  # the daemon says so: this site has none
    for name in ("secret.txt", "wanted.json", "..%2fpeople.json", "%2fetc%2fpasswd", "."):
        assert visitor.ask(f"{there}/{name}")[0] == 404


def test_a_comparison_is_kept_printed_and_signed(page, li):
    agent, _, folder = page
    token = li.token()
    asked = {"token": token, "channel": "plant/c0", "reference": "2.0", "tolerance": "0.1", "note": "bottle 7"}
    assert li.ask("/commission", asked)[0] == 303
    assert "shows nothing" in li.text("/commission")  # its line is silent
    assert li.ask("/commission", asked | {"reference": "1,5"})[0] == 303
    assert "reference and tolerance are numbers" in li.text("/commission")
    done = commission.test("plant/c0", "%", 2.05, 205.0, 0.01, 2.0, 0.1, "Li", "bottle 7", Instant(1.0, 1000.0, True))
    commission.keep(folder / "state", done)
    text = li.text("/commission-report")
    assert "within" in text
    assert "bottle 7" in text
    body = li.ask("/commission-report.json")[2]
    assert msgspec.json.decode(body, type=commission.Report).tests == (done,)
    key = keys.private(agent.config.store.key_file)  # the gateway has made it at its first start
    seal = li.ask("/commission-report.sig")[2]
    assert keys.holds(key.public_key(), seal, body)
    assert seal.hex() in text
    assert keys.fingerprint(key) in text


def test_the_driver_has_his_score_and_the_camera_its_place(tmp_path):
    pytest.importorskip("cv2", reason="no cameras without vedette[video]")
    text = (ROOT / "configs/driver.example.toml").read_text("utf-8")
    text = re.sub(r"tcp://[0-9.:]+", f"tcp://127.0.0.1:{free_port()}", text)
    path, port = tmp_path / "site.toml", free_port()
    path.write_text(f'{text}\n[web]\nlisten = "127.0.0.1:{port}"\npictures = "login"\n', "utf-8")
    with living(path):
        visitor = Visitor(f"http://127.0.0.1:{port}")
        assert "Fatigue score" in visitor.text("/")
        assert "Log in to see pictures" in visitor.text("/cameras")
        assert visitor.ask("/camera/cab/still")[0] == 403
        assert visitor.ask("/evidence/a.b/clip.mp4")[0] == 403
    assert "polygon" in figures.overlay([("gate", [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0)])])


# -- parts --------------------------------------------------------------------------------------------


def test_only_the_innermost_part_that_changed_is_sent():
    def sheet(value: str, rows: int) -> Sheet:
        one = Sheet()
        one.live("list", *(one.live(f"r{i}", value if i == 0 else "same", as_="li") for i in range(rows)), as_="ul")
        return one

    before = sheet("1", 2)
    assert changed(before.parts, sheet("1", 2)) == {}
    assert changed(before.parts, sheet("2", 2)) == {"r0": "2"}
    assert list(changed(before.parts, sheet("2", 3))) == ["list"]
    assert stream.outermost(before) == {"list"}
    assert "\0" not in before.whole(before.parts["list"])
    assert markup.join(Html("<b>"), None, 1, [" ", "<"]) == "<b>1 &lt;"


def test_a_drawing_of_anything_is_drawn():
    import math

    import numpy as np

    from agent.trend import Line
    from agent.web.glance import Limit, Reading

    for low, high, value in ((0.0, 4.0, 1.0), (math.nan, math.nan, math.nan), (5.0, 5.0, 1e12), (-1.0, 1.0, -9.0)):
        one = Reading(
            "a/b",
            "a",
            "b",
            0,
            "%",
            value,
            0,
            0.1,
            low,
            high,
            (Limit("r", "red", 1.0, True, ""),),
            None,
            False,
            "",
            False,
        )
        assert "NaN" not in figures.bar(one)
        assert "nan" not in figures.bar(one)
        for values in ([], [1.0], [1.0, 1.0], [math.pi * 1e9, -1.0, 0.0]):
            at = np.arange(len(values)) * 10.0
            line = Line(at, np.array(values, np.float32), np.array(values, np.float32), 10.0)
            text = figures.chart(line, one, 0.0, 3600.0, 1.7e9, "x")
            assert "nan" not in text
            assert "inf" not in text
    assert pages.PAGES


def test_pages_that_were_drawn_leave_none_of_their_drawings_behind():
    trends, clock = Trends(1e6), ManualClock(mono=3600.0)
    ask = SimpleNamespace(desk=SimpleNamespace(trends=trends, clock=clock))
    columns = layout(["a", "b", "c"])

    def there() -> int:
        return sum(type(one) is Html and 'class="spark"' in one for one in gc.get_objects())

    before = there()
    for _ in range(50):
        clock.advance(10.0)
        trends.add(frame("s", clock.now(), columns, 1.0))
        looks = [[pages.sparkline(ask, SimpleNamespace(source="s", column=i)) for i in range(3)] for _ in range(2)]
        assert all(one is other for one, other in zip(*looks, strict=True))  # drawn once in ten seconds
    assert there() - before <= 3
