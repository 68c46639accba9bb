"""HJ 212 against a platform that may be silent, slow, wrong, or gone."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agent import checks, tls
from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.errors import ConfigFault, WorldFault
from agent.core.frame import Instant, Quality, frame, layout
from agent.core.ports import Brief, Event, Identity
from agent.outbox import Outbox, Store
from agent.uplink import find, hj212
from agent.uplink.hj212 import Hj212
from simulators.hj212 import Hj212Platform, Said
from tests.rigs.sabotage import sabotaged
from tests.tools.authority import Authority
from tests.tools.mosquitto import Certificates

OUTLET = layout(["ph", "cod", "repair"], ["", "mg/L", ""], stale=2.0)
MN = "010000A8900016F000169DC0"
FACTORS = [
    {"channel": "outlet/ph", "code": "w01001", "maintenance": "outlet/repair"},
    {"channel": "outlet/cod", "code": "w01018", "digits": 1},
]


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hj212, "GRACE", 0.4)  # the stores here gather for 0.05 s, not 1 s
    monkeypatch.setenv("PW", "123456")


def settings(port: int, **more: Any) -> Hj212:
    table = {"name": "bureau", "url": f"tcp://127.0.0.1:{port}", "mn": MN, "password": "env:PW", "real": 1,
             "factor": FACTORS, "hours": False, "days": False, "timeout": 1.0, "tries": 1}  # fmt: skip
    return msgspec.convert(table | more, Hj212)


class Plant:
    """An outbox, the uplink kept alive, and what it told."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.feed = outbox.feed("bureau")
        self.told: list[Event] = []
        self.faults: list[str] = []
        self.edges = 0

    async def keep(self, uplink: Hj212) -> None:
        who = Identity("plant", "outlet", self.outbox.boot, "0.1.0", "cafe", layouts={"outlet": OUTLET})
        while True:
            try:
                await uplink.send(Brief(self.feed, who, list, SystemClock(), self.told.append))
            except WorldFault as fault:
                self.faults.append(str(fault))
            await asyncio.sleep(0.05)

    def read(self, ph: float = 7.0, cod: float = 40.0, repair: float = 0.0, ago: float = 0.0, **more: Any) -> None:
        now = SystemClock().now()
        at = Instant(now.mono - ago, now.wall - ago)
        self.outbox.put_frame(frame("outlet", at, OUTLET, [ph, cod, repair], **more))
        self.outbox._flush("outlet")

    async def reading(self, seconds: float, **values: Any) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(**values)
            await asyncio.sleep(0.1)

    async def reading_until(self, condition: Callable[[], Any], **values: Any) -> None:
        while not condition():
            await self.reading(0.1, **values)

    def past(self, began: float, values: list[float], step: float, cod: float = 40.0) -> None:
        """pH values, one each `step` s from `began` on, s UTC."""
        for n, ph in enumerate(values):
            self.read(ph, cod, ago=time.time() - began - n * step)

    def alarm(self, event: str = "raised", n: int = 1, **more: Any) -> Alarm:
        self.edges += 1
        at = SystemClock().now()
        state = "active-unacked" if event == "raised" else "normal"
        rule = more.pop("rule", "ph.high")
        id, value = f"{self.outbox.boot}-{n}", 9.75 if event == "raised" else 8.5
        one = Alarm(id, self.edges, event, state, rule, "outlet/ph", "red", value, 9.0, "", at, at, "")
        self.outbox.put_alarms([one])
        return one

    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]

    def delivered(self) -> bool:
        return not any(self.feed.waiting().values())


@asynccontextmanager
async def plant(
    folder: Path, port: int, before: Callable[[Plant], None] = lambda plant: None, **more: Any
) -> AsyncIterator[Plant]:
    store = Store(path=str(folder / "state"), batch=0.05, ballast_mb=0)
    outbox = await Outbox.open(store, ["bureau"], SystemClock())
    here = Plant(outbox)
    before(here)
    sending = asyncio.create_task(here.keep(settings(port, **more).at_home(str(folder / "state"), "")))
    try:
        yield here
    finally:
        began = time.monotonic()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert time.monotonic() - began < 1.5
        await outbox.close()


@asynccontextmanager
async def platform(**faults: Any) -> AsyncIterator[Hj212Platform]:
    server = Hj212Platform()
    for name, value in faults.items():
        setattr(server.faults, name, value)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def local(wall: float) -> str:
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(wall + 8 * 3600))


def test_settings_that_are_wrong_are_refused_in_words():
    assert find("hj212") is Hj212
    assert checks.uplink(settings(1)) == []
    for wrong, said in (
        ({"url": "mqtt://h:1"}, "url must be"),
        ({"password": "123456"}, "must say where"),
        ({"password": ""}, "must say where"),
        ({"factor": []}, "length"),
        ({"minutes": 7}, "minutes"),
        ({"ca": "x"}, "need tls"),
    ):
        with pytest.raises((ConfigFault, msgspec.ValidationError), match=said):
            settings(1, **wrong)
    wrong = [*FACTORS, {"channel": "outlet/ss", "code": "w01018"}]
    faults = settings(1, factor=wrong).faults({"outlet/ph", "outlet/cod", "outlet/repair"})
    assert faults == [
        "factor w01018: no channel is called `outlet/ss`",
        f"factor w01018: that code is given twice for {MN}",
    ]


def test_real_time_goes_each_period_with_the_flag_of_the_instrument_and_a_start_is_told_once(tmp_path: Path):
    async def main() -> None:
        async with platform() as server:
            async with plant(tmp_path, server.port) as here:

                def flagged(*flags: str) -> list[Said]:
                    names = ("w01001-Flag", "w01018-Flag")
                    return [one for one in server.of("2011") if tuple(one.values[name] for name in names) == flags]

                bad = np.array([Quality.CALIBRATING, Quality.FAULT, 0], np.uint8)
                await here.reading_until(lambda: flagged("N", "N"), ph=7.25)
                await here.reading_until(lambda: flagged("C", "D"), ph=4.0, quality=bad)
                await here.reading_until(lambda: flagged("M", "N"), repair=1.0)
            first = flagged("N", "N")[0]
            assert (first.mn, first.st, first.flag) == (MN, "32", 5)
            assert {"w01001-Rtd": "7.25", "w01018-Rtd": "40.0"}.items() <= first.values.items()
            calibrated = next(one for one in server.of("2011") if one.values["w01018-Flag"] == "D")
            assert "w01018-Rtd" not in calibrated.values
            async with plant(tmp_path, server.port) as here:
                await until(lambda: len([one for one in server.said if one.cn == "2081"]) == 2)
                await asyncio.sleep(0.3)
            assert len([one for one in server.said if one.cn == "2081"]) == 2  # one for each start
            assert (server.wrong, server.strange) == ([], 0)

    run(main())


def test_minutes_of_the_past_have_lowest_mean_and_highest_by_time(tmp_path: Path):
    async def main() -> None:
        minute = time.time() // 60 * 60 - 180
        async with platform() as server, plant(tmp_path, server.port, real=0, minutes=1) as here:
            here.past(minute - 1.0, [7.0], 1)
            here.past(minute + 10.0, [6.0, 8.0, 7.5], 10)
            here.past(minute + 60.0, [9.0, 9.5], 10)
            await until(here.delivered)
            told = {one.time: one.values for one in server.of("2051")}
            assert set(told) == {local(minute - 60), local(minute), local(minute + 60)}
            values = told[local(minute)]
            assert (values["w01001-Min"], values["w01001-Max"]) == ("6.00", "8.00")
            assert values["w01001-Avg"] == f"{(7.0 * 10 + 6.0 * 10 + 8.0 * 10 + 7.5 * 30) / 60:.2f}"
            assert (values["w01001-Flag"], values["w01018-Avg"]) == ("N", "40.0")
            assert told[local(minute - 60)]["w01001-Flag"] == "B"  # one second of it is known
            assert (server.again, server.repeated, server.wrong) == (0, 0, [])

    run(main())


def test_what_was_read_in_thirty_starts_of_one_outage_is_told_to_the_last_minute(tmp_path: Path):
    """A supply that fails again and again, and no link: each start knows a minute of its own; nor is anybody quick."""

    async def main() -> None:
        minute = time.time() // 60 * 60 - 60 * 32
        for n in range(30):
            outbox = await Outbox.open(Store(path=str(tmp_path / "state"), ballast_mb=0), ["bureau"], SystemClock())
            Plant(outbox).past(minute + 60 * n, [6.0 + 0.1 * n], 1)
            await outbox.close()
        async with platform(slow=0.05) as server, plant(tmp_path, server.port, real=0, minutes=1) as here:
            await until(here.delivered)
            told = {one.time: one.values.get("w01001-Avg") for one in server.of("2051")}
            assert told == {local(minute + 60 * n): f"{6.0 + 0.1 * n:.2f}" for n in range(30)}

    run(main())


def test_an_alarm_is_told_at_once_at_its_begin_and_end_and_a_batch_waits_for_its_answer(tmp_path: Path):
    async def main() -> None:
        rows = [{"rule": "ph.*", "flag": "T"}, {"rule": "quiet", "tell": False}]
        async with platform() as server, plant(tmp_path, server.port, alarm=rows, real=3600) as here:
            await here.reading(0.3)
            raised = here.alarm()
            began = time.monotonic()
            await until(lambda: server.of("2011"))
            assert time.monotonic() - began < 1.0
            here.alarm("acknowledged")
            here.alarm("cleared")
            here.alarm("reset")
            here.alarm(n=2, rule="quiet")
            await until(lambda: here.feed.waiting()["alarm"] == 0)
            first, second = server.of("2011")
            assert first.time == local(raised.at.wall)
            assert (first.values["w01001-Rtd"], first.values["w01001-Flag"]) == ("9.75", "T")
            assert "w01018-Flag" not in first.values
            assert (second.values["w01001-Rtd"], second.values["w01001-Flag"]) == ("8.50", "N")
            assert not here.delivered()  # until its minutes are answered

    run(main())


def test_what_is_not_answered_is_sent_again_then_the_link_counts_as_lost_and_nothing_is_missing(tmp_path: Path):
    async def main() -> None:
        minute = time.time() // 60 * 60 - 120
        async with platform(silent=True) as server, plant(tmp_path, server.port, real=0, minutes=1) as here:
            here.past(minute + 1.0, [6.0, 7.0], 10)
            here.alarm()
            await until(lambda: here.faults)
            assert "no answer" in here.faults[0]
            assert "sent 2 times" in here.faults[0]
            assert server.repeated
            assert not here.delivered()
            server.faults.silent = False
            await until(here.delivered)
            assert {one.time for one in server.of("2051")} == {local(minute)}
            assert len(server.of("2011")) == 1
            assert server.wrong == []

    run(main())


def test_a_begin_that_is_lost_while_its_end_is_answered_is_told_all_the_same(tmp_path: Path):
    async def main() -> None:
        quiet = {"real": 0, "minutes": 60, "started": False, "tries": 0}
        async with platform(lose=1.0) as server, plant(tmp_path, server.port, **quiet) as here:
            begin = here.alarm()
            await until(lambda: server.messages == 1)
            server.faults.lose = 0.0
            here.alarm("cleared")
            await until(here.delivered)
            assert here.faults  # the link counted as lost over the begin
        told = {(one.time, one.values.get("w01001-Rtd")) for one in server.of("2011")}
        assert (local(begin.at.wall), "9.75") in told
        assert len(server.of("2011")) == 2

    run(main())


def test_the_test_above_sees_an_uplink_that_waits_for_no_answer(tmp_path: Path):
    async def main() -> None:
        minute = time.time() // 60 * 60 - 120
        with sabotaged("hj212-answered-when-sent"):
            async with platform(lose=1.0) as server, plant(tmp_path, server.port, real=0, minutes=1) as here:
                here.past(minute + 1.0, [6.0, 7.0], 10)
                here.alarm()
                await until(here.delivered)
                assert not server.got

    run(main())


@pytest.mark.parametrize(
    "faults", [{"bad_check": 0.4}, {"garbage": 0.4}, {"other_qn": 0.4}, {"lose": 0.4}, {"close_after": 3}]
)
def test_a_platform_that_misbehaves_gets_everything_in_the_end(tmp_path: Path, faults: dict[str, Any]):
    async def main() -> None:
        minute = time.time() // 60 * 60 - 60 * 12
        async with platform(**faults) as server, plant(tmp_path, server.port, real=0, minutes=1, tries=5) as here:
            for n in range(10):
                here.past(minute + 60 * n, [6.0 + n], 1)
                here.alarm(n=n)
            await until(here.delivered, 50)
            assert {local(minute + 60 * n) for n in range(10)} <= {one.time for one in server.of("2051")}
            assert len(server.of("2011")) >= 1
            assert server.wrong == []

    run(main())


def test_many_factors_go_in_parts_and_two_devices_each_by_themselves(tmp_path: Path):
    async def main() -> None:
        many = [{"channel": "outlet/cod", "code": f"w9{n:04d}"} for n in range(60)]
        other = {"channel": "outlet/ph", "code": "a01001", "st": "31", "mn": "B" * 24}
        minute = time.time() // 60 * 60 - 120
        async with platform() as server, plant(tmp_path, server.port, real=0, minutes=1, factor=[*many, other]) as here:
            here.past(minute + 1.0, [6.0], 10)
            await until(here.delivered)
            one, two = sorted(server.of("2051"), key=lambda said: said.st)
            assert (one.st, one.mn, one.parts) == ("31", "B" * 24, 0)
            assert (two.st, two.mn, two.parts > 1) == ("32", MN, True)
            assert {f"w9{n:04d}-Avg" for n in range(60)} <= set(two.values)
            assert server.wrong == []

    run(main())


def test_hours_and_days_that_were_missed_are_made_from_the_store(tmp_path: Path):
    async def main() -> None:
        hour = time.time() // 3600 * 3600 - 2 * 3600
        (tmp_path / "state").mkdir()
        told = {"2061/3600": [[int(hour + 8 * 3600) // 3600 - 1] * 2]}
        (tmp_path / "state" / "hj212-bureau.json").write_bytes(msgspec.json.encode({"told": told}))

        def before(here: Plant) -> None:
            here.past(hour, [6.0 + 0.01 * (n % 100) for n in range(60)], 60)

        async with platform() as server, plant(tmp_path, server.port, before, real=0, hours=True) as here:
            await until(lambda: server.of("2061"))
            await until(here.delivered)
        one, *rest = server.of("2061")
        assert [more.values["w01001-Flag"] for more in rest] in ([], ["B"])  # a value holds for a while beyond its hour
        assert (one.time, one.values["w01001-Min"], one.values["w01001-Max"]) == (local(hour), "6.00", "6.59")
        assert (one.values["w01001-Avg"], one.values["w01001-Flag"]) == ("6.30", "N")
        async with platform() as server, plant(tmp_path, server.port, real=0, hours=True):
            await until(lambda: server.said)
            await asyncio.sleep(0.3)
            assert local(hour) not in {one.time for one in server.of("2061")}  # nor after a restart

    run(main())


def test_over_tls_the_certificate_is_checked(tmp_path: Path):
    made = Certificates(tmp_path / "certificates")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.cert, made.key)

    async def main() -> None:
        server = Hj212Platform()
        await server.start(tls=context)
        url = f"tls://127.0.0.1:{server.port}"
        async with plant(tmp_path / "wrong", server.port, url=url) as here:
            await until(lambda: here.faults)
            assert "certificate" in here.faults[0]
        async with plant(tmp_path / "right", server.port, url=url, ca=str(made.ca)) as here:
            await until(lambda: server.said)
        await server.stop()

    run(main())


# -- what the platform asks -----------------------------------------------------------------------------


def answers(server: Hj212Platform, qn: str) -> list[tuple[str, str]]:
    return [(one.cn, one.cp) for one in server.said if one.qn == qn]


def test_a_platform_sets_intervals_and_reads_the_clock_but_not_sets_it(tmp_path: Path):
    async def main() -> None:
        async with platform() as server:
            async with plant(tmp_path, server.port, real=3600) as here:
                await until(lambda: server.said)
                (link,) = server.links

                async def asked(cn: str, cp: str = "", **more: str) -> list[tuple[str, str]]:
                    qn = link.ask(cn, cp, **more)
                    await until(lambda: answers(server, qn))
                    await asyncio.sleep(0.1)
                    return answers(server, qn)

                ready, done = ("9011", "QnRtn=1"), ("9012", "ExeRtn=1")
                assert await asked("1062", "RtdInterval=1") == [ready, done]
                assert await asked("1061") == [ready, ("1061", "RtdInterval=1"), done]
                await here.reading(1.5)
                await until(lambda: server.of("2011"))
                assert await asked("1064", "MinInterval=5") == [ready, done]
                assert await asked("1063") == [ready, ("1063", "MinInterval=5"), done]
                assert await asked("1064", "MinInterval=7") == [ready, ("9012", "ExeRtn=3")]
                assert await asked("1062", "RtdInterval=-1") == [ready, ("9012", "ExeRtn=3")]
                assert await asked("1000", "OverTime=2;ReCount=3") == [ready, done]
                first, (cn, cp), last = await asked("1011")
                assert (first, cn, cp[:13], last) == (ready, "1011", f"SystemTime={cp[11:13]}", done)
                assert abs(int(cp[11:]) - int(local(time.time()))) <= 2 or cp[11:19] != local(time.time())[:8]
                assert await asked("1012", "SystemTime=20300101000000") == [("9011", "QnRtn=2")]
                assert await asked("1072", "NewPW=654321") == [("9011", "QnRtn=2")]
                assert "command-refused" in here.kinds()
                assert await asked("3012") == [("9011", "QnRtn=8")]
                assert await asked("1061", pw="000000") == [("9011", "QnRtn=3")]
                assert await asked("1061", mn="C" * 24) == [("9011", "QnRtn=4")]
                assert await asked("1061", st="39") == [("9011", "QnRtn=5")]
            async with plant(tmp_path, server.port, real=3600, allow=[]) as here:
                await until(lambda: len(server.links) == 1 and server.links[0].mn)
                (link,) = server.links
                assert await asked("1062", "RtdInterval=9") == [("9011", "QnRtn=2")]
                assert await asked("1061") == [ready, ("1061", "RtdInterval=1"), done]  # it was kept

    run(main())


def test_real_time_stops_and_begins_as_the_platform_wants(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, plant(tmp_path, server.port) as here:
            await here.reading(1.2)
            await until(lambda: server.of("2011"))
            (link,) = server.links
            qn = link.ask("2012")
            await until(lambda: answers(server, qn))
            assert answers(server, qn) == [("9013", "")]
            await asyncio.sleep(0.1)
            before = len(server.of("2011"))
            await here.reading(1.6, ph=6.5)
            assert len(server.of("2011")) == before
            qn = link.ask("2011")
            await until(lambda: ("9012", "ExeRtn=1") in answers(server, qn))
            assert server.got[-1].values["w01001-Rtd"] == "6.50"
            await here.reading(1.2)
            await until(lambda: len(server.of("2011")) > before + 1)

    run(main())


def test_a_platform_asks_for_the_past_and_is_told_where_there_is_none(tmp_path: Path):
    async def main() -> None:
        minute = time.time() // 60 * 60 - 300
        async with platform() as server, plant(tmp_path, server.port, real=0, minutes=1) as here:
            here.past(minute, [6.0, 7.0, 8.0], 60)
            await until(here.delivered)
            (link,) = server.links
            qn = link.ask("2051", f"BeginTime={local(minute)},EndTime={local(minute + 60)}")
            await until(lambda: ("9012", "ExeRtn=1") in answers(server, qn))
            assert server.again == 2  # the same words as before
            qn = link.ask("2061", "BeginTime=20200101000000;EndTime=20200101050000")
            await until(lambda: ("9012", "ExeRtn=100") in answers(server, qn))
            qn = link.ask("2031", "BeginTime=20200101000000,EndTime=20210101000000")
            await until(lambda: ("9012", "ExeRtn=3") in answers(server, qn))

    run(main())


# -- TLS, where somebody unwraps it -------------------------------------------------------------------------


@asynccontextmanager
async def unwrapped(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port at which TLS is spoken, and behind it the platform."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port)

        async def one_way(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    target.write(data)
                    await target.drain()
            target.close()

        await asyncio.gather(one_way(reader, there[1]), one_way(there[0], writer))

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def test_other_certificates_are_shown_at_once_where_they_are_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tls, "LOOK", 0.05)
    monkeypatch.setattr(tls, "ALERT", 0.3)
    authority, stranger = Authority(tmp_path / "a"), Authority(tmp_path / "s")
    files, cert, key = authority.server(), tmp_path / "gw.pem", tmp_path / "gw.key"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.load_cert_chain(files.cert, files.key)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue("gw1").put(cert, key)

    async def main() -> None:
        async with platform() as server, unwrapped(server.port, context) as port:
            more = {"url": f"tls://127.0.0.1:{port}", "ca": str(authority.ca), "cert": str(cert), "key": str(key)}
            async with plant(tmp_path, 0, **more) as here:
                await until(lambda: "link-up" in here.kinds())
                here.alarm()
                stranger.issue("gw1").put(cert, key)
                await until(lambda: "certificate-refused" in here.kinds())
                assert here.kinds().count("link-up") == 1
                authority.issue("gw1").put(cert, key)
                await until(lambda: "certificate-renewed" in here.kinds())
                here.alarm("cleared")
                await until(here.delivered)
                assert not here.faults

    run(main())
