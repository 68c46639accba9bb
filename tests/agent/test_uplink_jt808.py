"""A JT/T 808 terminal against a platform that may be silent, slow, wrong, or gone."""

from __future__ import annotations

import asyncio
import doctest
import hashlib
import math
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import checks, evidence, tls
from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.errors import ConfigFault, WorldFault
from agent.core.frame import Instant, frame, layout
from agent.core.ports import Brief, Event, Identity
from agent.outbox import Outbox, Store
from agent.uplink import find, jt808_alarms, jt808_files, tcp
from agent.uplink import jt808_words as words
from agent.uplink.jt808 import Jt808
from agent.uplink.jt808_words import ALARMS, Adas, Driver, Parameter
from simulators import jt808 as simulator
from simulators.jt808 import Jt808Platform
from tests.rigs.proxy import Proxy
from tests.rigs.sabotage import sabotaged
from tests.tools.authority import Authority
from tests.tools.mosquitto import Certificates
from tests.tools.station import run, until

GNSS = layout(["latitude", "longitude", "altitude", "speed", "course", "satellites", "fix"])
IO = layout(["acc", "button", "score"])
ROWS = [
    {"rule": "forward*", "bit": "collision", "item": "adas", "type": "forward", "files": 3},
    {"rule": "tired", "item": "driver", "type": "fatigue", "score": "io/score"},
    {"rule": "sos", "bit": "emergency"},
    {"rule": "low", "bit": "under-voltage"},
]
SETTINGS: dict[str, Any] = {
    "phone": "13800138000",
    "terminal": "VED0001",
    "maker": "VEDET",
    "model": "edge",
    "plate": "粤A12345",
    "colour": 2,
    "channels": {"acc": "io/acc", "emergency": "io/button"},
    "alarm": ROWS,
    "parameters": {"period": 1, "timeout": 1, "repeats": 1, "heartbeat": 2},
}


def settings(port: int, **more: Any) -> Jt808:
    table = {"name": "platform", "url": f"tcp://127.0.0.1:{port}"} | SETTINGS | more
    return msgspec.convert(table, Jt808)


class Vehicle:
    """A terminal: outbox, the uplink kept alive, and what it told."""

    def __init__(self, outbox: Outbox, folder: Path, name: str = "platform") -> None:
        self.outbox, self.folder = outbox, folder
        self.feed = outbox.feed(name)
        self.open: list[Alarm] = []
        self.told: list[Event] = []
        self.faults: list[str] = []
        self.edges = 0
        self.way = 0.0

    async def keep(self, uplink: Jt808) -> None:
        who = Identity("coach", "cab", self.outbox.boot, "0.1.0", "cafe")
        while True:
            try:
                await uplink.send(Brief(self.feed, who, lambda: self.open, SystemClock(), self.told.append))
            except WorldFault as fault:
                self.faults.append(str(fault))
            await asyncio.sleep(0.05)

    def drive(self, kmh: float = 60.0, button: float = 0.0, score: float = 0.75, at: Instant | None = None) -> None:
        """One row of each source."""
        self.way += 1e-5
        at = at or SystemClock().now()
        row = [30.0 + self.way, 120.0, 20.0, kmh, 90.0, 12.0, 3.0]
        self.outbox.put_frame(frame("gnss", at, GNSS, row))
        self.outbox.put_frame(frame("io", at, IO, [1.0, button, score]))
        self.outbox._flush("gnss")
        self.outbox._flush("io")

    def alarm(self, rule: str, event: str = "raised", value: float = 1.2, unit: str = "s", **more: Any) -> Alarm:
        state = {"raised": "active-unacked", "cleared": "returned-unacked"}.get(event, "active-acked")
        if event == "raised":
            self.edges += 1
        at = more.pop("at", None) or SystemClock().now()
        id = f"{self.outbox.boot}-{more.pop('n', self.edges)}"
        edge = more.pop("edge", 2 if event == "cleared" else 1)
        one = Alarm(id, edge, event, state, rule, "front.road/x", "red", value, 2.7, unit, at, at, "text", **more)
        self.open = [a for a in self.open if a.id != one.id] + ([one] if state.startswith("active") else [])
        self.outbox.put_alarms([one])
        return one

    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]

    def delivered(self) -> bool:
        return not any(self.feed.waiting().values())


@asynccontextmanager
async def vehicle(folder: Path, port: int, **more: Any) -> AsyncIterator[Vehicle]:
    store = Store(path=str(folder / "state"), batch=0.05, ballast_mb=0)
    outbox = await Outbox.open(store, ["platform"], SystemClock())
    here = Vehicle(outbox, folder)
    uplink = settings(port, **more).at_home(str(folder / "state"), str(folder / "evidence"))
    sending = asyncio.create_task(here.keep(uplink))
    try:
        yield here
    finally:
        began = time.monotonic()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert time.monotonic() - began < 1.5
        await outbox.close()


@asynccontextmanager
async def platform(**faults: Any) -> AsyncIterator[Jt808Platform]:
    server = Jt808Platform()
    for name, value in faults.items():
        setattr(server.faults, name, value)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def ids(server: Jt808Platform) -> list[int]:
    return [id for _, id, _ in server.said]


def items(server: Jt808Platform) -> list[tuple[int, int]]:
    """Type and flag of what begins and ends."""
    return [(value.type, value.flag) for _, value in server.alarms()]


# -- settings -----------------------------------------------------------------------------------------


def test_examples_in_the_docstrings_run():
    assert [doctest.testmod(module).failed for module in (jt808_alarms, jt808_files, simulator, tcp)] == [0] * 4


def test_it_is_found_by_its_name_and_wrong_settings_are_refused_in_words():
    assert find("jt808") is Jt808
    assert checks.uplink(settings(1)) == []
    for wrong, said in (
        ({"url": "mqtt://h:1"}, "url must be"),
        ({"phone": "12345678901234", "version": "2013"}, "12 digits"),
        ({"alarm": [{"rule": "x", "item": "driver", "type": "belt"}]}, "no type 'belt'"),
        ({"alarm": [{"rule": "x", "bit": "sos"}]}, "no alarm bit"),
        ({"alarm": [{"rule": "x"}]}, "bit or item"),
        ({"parameters": {"period": 0}}, "period"),
        ({"channels": {"alarms": {"flood": "a/b"}}}, "no bit"),
        ({"code": "secret"}, "code must say where"),
    ):
        with pytest.raises((ConfigFault, msgspec.ValidationError), match=said):
            settings(1, **wrong)
    settings(1, dialect="guangdong", alarm=[{"rule": "x", "item": "driver", "type": "belt"}])


def test_channels_that_the_site_has_not_are_told():
    there = {f"gnss/{key}" for key in ("latitude", "longitude")} | {"io/acc", "io/button"}
    assert settings(1).faults(there) == ["no channel is called `io/score`; see `channels` and `alarm`"]
    assert settings(1).faults(there | {"io/score"}) == []


# -- registration -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2013", "2019"])
def test_it_registers_once_and_authenticates_on_each_connection_and_after_a_restart(tmp_path: Path, version: str):
    async def main() -> None:
        async with platform() as server:
            for _ in range(2):
                async with vehicle(tmp_path, server.port, version=version) as coach:
                    await until(lambda coach=coach: "link-up" in coach.kinds())
            await until(lambda: ids(server) == [0x0100, 0x0102, 0x0102])
            said = server.said[0][2]
            assert isinstance(said, words.Registration)
            assert (said.plate, said.terminal, said.maker) == ("粤A12345", "VED0001", "VEDET")
            assert server.said[0][0] == "13800138000".zfill(20 if version == "2019" else 12)
            assert server.strange == 0

    run(main())


def test_a_platform_that_does_not_know_the_terminal_is_told_in_words_and_a_code_that_is_void_is_forgotten(
    tmp_path: Path,
):
    async def main() -> None:
        async with platform(unknown=4) as server, vehicle(tmp_path, server.port) as coach:
            await until(lambda: coach.faults)
            assert "does not know this terminal" in coach.faults[0]
            server.faults.unknown = 0
            await until(lambda: "link-up" in coach.kinds())
            server.codes.clear()  # the platform lost its memory
            server.drop()
            await until(lambda: coach.kinds().count("link-up") == 2)
            assert any("authenticate" in fault for fault in coach.faults)
            assert ids(server).count(0x0100) >= 2

    run(main())


def test_a_heartbeat_goes_when_nothing_else_is_said(tmp_path: Path):
    async def main() -> None:
        quiet = SETTINGS["parameters"] | {"heartbeat": 1}
        async with platform() as server, vehicle(tmp_path, server.port, parameters=quiet):
            await until(lambda: ids(server).count(0x0002) >= 2)

    run(main())


# -- locations ----------------------------------------------------------------------------------------


def test_locations_go_live_by_the_period_and_say_where_the_vehicle_is(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            await until(lambda: "link-up" in coach.kinds())
            for _ in range(25):
                coach.drive()
                await asyncio.sleep(0.1)
            await until(coach.delivered)
            assert 2 <= len(server.locations()) <= 4
            assert {got.id for got in server.got} == {0x0200}
            last = server.locations()[-1]
            assert last.latitude == pytest.approx(30.0002e6, abs=300)
            assert (last.longitude, last.speed, last.direction) == (120_000_000, 600, 90)
            assert last.status & 3 == 3
            assert abs((words.moment(last.time) or 0) - time.time()) < 5
            assert (server.twice, server.repeated) == (0, 0)

    run(main())


def test_the_button_stands_until_the_platform_has_answered_it(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            await until(lambda: "link-up" in coach.kinds())
            coach.drive()
            await until(lambda: server.got)
            server.faults.silent = True
            coach.drive(button=1.0)
            coach.drive(button=0.0)
            await until(lambda: len(server.got) >= 3)
            sos = 1 << ALARMS["emergency"]
            assert all(location.alarm & sos for location in server.locations()[1:])
            server.faults.silent = False
            await until(lambda: not server.locations()[-1].alarm & sos)

    run(main())


# -- alarms -------------------------------------------------------------------------------------------


def test_an_alarm_begins_and_ends_with_its_bit_its_item_and_one_mark(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            server.ask_files = False
            await until(lambda: "link-up" in coach.kinds())
            coach.drive(kmh=60)
            await until(lambda: server.got)
            began = time.monotonic()
            coach.alarm("forward.warning", value=1.25)
            await until(lambda: server.alarms())
            assert time.monotonic() - began < 1.0
            coach.alarm("forward.warning", "acknowledged")
            coach.alarm("forward.warning", "cleared")
            await until(lambda: len(server.alarms()) == 2)
            coach.alarm("tired", n=77)
            coach.alarm("nobody-asked", n=78)
            await until(lambda: len(server.alarms()) == 3)
            await until(coach.delivered)
            (first, begins), (second, ends), (_, tired) = server.alarms()
            assert isinstance(begins, Adas)
            assert (begins.type, begins.flag, begins.level, begins.distance) == (1, 1, 2, 12)
            assert begins.scene.mark == ends.scene.mark
            assert (begins.scene.mark.attachments, ends.flag, begins.alarm == ends.alarm) == (3, 2, True)
            assert (first.location.alarm >> 29 & 1, second.location.alarm >> 29 & 1) == (1, 0)
            assert isinstance(tired, Driver)
            assert (tired.type, tired.fatigue, tired.level) == (1, 8, 2)
            assert {got.id for got in server.got} == {0x0200}
            assert server.twice == 0

    run(main())


def test_an_end_is_told_once_whatever_people_do_with_the_alarm(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            server.ask_files = False
            await until(lambda: "link-up" in coach.kinds())
            coach.drive()
            await until(lambda: server.got)
            for edge, event in enumerate(("raised", "acknowledged", "shelved", "restored"), 1):
                coach.alarm("forward.warning", event, n=1, edge=edge)
            coach.alarm("tired", n=2)
            for edge, event in enumerate(("cleared", "reset"), 2):
                coach.alarm("tired", event, n=2, edge=edge)
            coach.alarm("low", "suppressed", n=3)  # it was never told
            await until(coach.delivered)
            assert [
                (value.alarm & 0xFFFF, value.flag)
                for _, value in sorted(server.alarms(), key=lambda one: (one[1].alarm, one[1].flag))
            ] == [(1, 1), (1, 2), (2, 1), (2, 2)]

    run(main())


def test_an_alarm_below_the_speed_of_the_parameters_is_not_told_and_neither_is_its_end(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            await until(lambda: "link-up" in coach.kinds())
            coach.drive(kmh=20)
            await until(lambda: server.got)
            coach.alarm("tired")
            coach.alarm("tired", "cleared")
            await until(coach.delivered)
            coach.drive(kmh=40)
            await asyncio.sleep(0.1)
            coach.alarm("tired", n=9)
            await until(lambda: server.alarms())
            assert [(value.type, value.flag, value.level) for _, value in server.alarms()] == [(1, 1, 1)]

    run(main())


# -- links --------------------------------------------------------------------------------------------


def test_what_is_not_answered_is_sent_again_with_its_serial_and_then_the_link_counts_as_lost(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            server.ask_files = False
            await until(lambda: "link-up" in coach.kinds())
            coach.drive()
            await until(lambda: server.got)
            server.faults.silent = True
            coach.alarm("forward.warning")
            await until(lambda: server.repeated)  # after 1 s
            assert server.twice == 0
            await until(lambda: any("no answer to 0x0200, sent 2 times" in fault for fault in coach.faults))
            server.faults.silent = False
            await until(coach.delivered)
            assert items(server) == [(1, 1)]
            assert server.twice == 0

    run(main())


def test_a_blind_area_is_told_afterwards_the_newest_alarms_first_then_the_way_from_its_beginning(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            server.ask_files = False
            await until(lambda: "link-up" in coach.kinds())
            now = SystemClock().now()
            coach.drive(at=Instant(now.mono - 302, now.wall - 302, True))
            await until(lambda: server.got)
            await server.stop()
            server.drop()
            await until(lambda: "link-down" in coach.kinds())
            began = len(server.got)
            for t in range(300):
                at = Instant(now.mono - 300 + t, now.wall - 300 + t, True)
                coach.drive(at=at, kmh=60)
                if t in (100, 200):
                    coach.alarm("forward.warning", at=at, n=t)
                if t == 210:
                    coach.alarm("forward.warning", "cleared", at=at, n=200)
                await asyncio.sleep(0)
            await until(lambda: not coach.feed.live)
            await server.start(server.port)
            await until(coach.delivered)
            told = [got for got in server.got[began:] if got.id == 0x0704]
            assert {got.kind for got in told} == {1}
            edges = [got.location.items[-1].value for got in told[:3]]
            assert [(edge.alarm & 0xFFFF, edge.flag) for edge in edges] == [(200, 1), (200, 2), (100, 1)]
            way = [got.location for got in told[3:]]
            times = [words.moment(location.time) or 0.0 for location in way]
            assert times == sorted(times)
            assert len(way) > 200  # one each second
            by_time = {location.time: location for location in way}
            for got in told[:3]:  # each alarm says where the vehicle was then
                assert abs(got.location.latitude - by_time[got.location.time].latitude) <= 10
            assert server.twice == 0

    run(main())


@pytest.mark.parametrize("fault", [{"close_after": 7}, {"bad_check": 0.4}, {"garbage": 0.5}, {"slow": 0.3}])
def test_a_platform_that_misbehaves_gets_everything_once_or_marked(tmp_path: Path, fault: dict[str, Any]):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            server.ask_files = False
            await until(lambda: "link-up" in coach.kinds())
            for name, value in fault.items():
                setattr(server.faults, name, value)
            for n in range(20):
                coach.drive()
                coach.alarm("forward.warning", n=n)
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.2)
            server.faults = simulator.Faults()
            await until(coach.delivered, 30)
            alarms = sorted(value.alarm & 0xFFFF for _, value in server.alarms())
            assert alarms == list(range(20))
            assert server.twice == 0

    run(main())


@pytest.mark.parametrize(("sabotage", "loses", "doubles"), [
    ("", False, False), ("answered-when-sent", True, False), ("repeats-unmarked", False, True)])  # fmt: skip
def test_what_a_silent_platform_that_closes_did_not_answer_is_neither_lost_nor_doubled_unmarked(
    tmp_path: Path, sabotage: str, loses: bool, doubles: bool
):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            server.ask_files = False
            await until(lambda: "link-up" in coach.kinds())
            coach.drive()
            await until(lambda: server.got)
            server.faults.silent = True
            for n in range(5):
                coach.alarm("forward.warning", n=n)
            await until(lambda: len(server.alarms()) == 5)
            await until(lambda: "link-down" in coach.kinds())
            server.faults = simulator.Faults(close_after=1)  # it does not even hear out a registration
            for n in range(5, 10):
                coach.alarm("forward.warning", n=n)
            server.faults = simulator.Faults(deaf=True)
            await until(lambda: coach.kinds().count("link-up") == 2)
            await asyncio.sleep(0.3)
            server.drop()
            server.faults = simulator.Faults()
            await until(coach.delivered)
            there = {value.alarm & 0xFFFF for _, value in server.alarms()}
            assert (there != set(range(10))) == loses
            assert bool(server.twice) == doubles

    with sabotaged(sabotage):
        run(main())


def test_a_location_that_the_platform_never_takes_is_set_aside_and_the_rest_goes_on(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            server.ask_files = False
            await until(lambda: "link-up" in coach.kinds())
            coach.drive()
            await until(lambda: server.got)
            server.faults.refuse = words.BAD
            coach.alarm("forward.warning")
            await until(lambda: coach.feed.dropped["alarm"], 20)
            assert "refused" in coach.kinds()
            server.faults.refuse = words.OK
            coach.alarm("forward.warning", n=5)
            await until(lambda: server.alarms())
            await until(coach.delivered)
            assert [value.alarm & 0xFFFF for _, value in server.alarms()] == [5]

    run(main())


@pytest.mark.parametrize("fault", [{"no_batches": True}, {}])
def test_what_waited_goes_one_by_one_where_the_platform_does_not_know_batches(tmp_path: Path, fault: dict[str, Any]):
    async def main() -> None:
        async with platform(**fault) as server:
            server.ask_files = False
            async with vehicle(tmp_path, server.port) as coach:
                await until(lambda: "link-up" in coach.kinds())
                coach.drive()
                await until(lambda: server.got)
                await server.stop()
                server.drop()
                await until(lambda: "link-down" in coach.kinds())
                for n in range(5):
                    coach.alarm("forward.warning", n=n)
                    coach.drive()
                    await asyncio.sleep(0.3)
                await server.start(server.port)
                await until(coach.delivered)
                assert sorted(value.alarm & 0xFFFF for _, value in server.alarms()) == list(range(5))
                assert ("refused" in coach.kinds()) == bool(fault)

    run(main())


def test_an_alarm_that_the_platform_cannot_bear_goes_alone_and_holds_nobody_up(tmp_path: Path):
    async def main() -> None:
        async with platform(poison=3) as server, vehicle(tmp_path, server.port) as coach:
            server.ask_files = False
            await until(lambda: "link-up" in coach.kinds())
            coach.drive()
            await until(lambda: server.got)
            for n in range(8):
                one = coach.alarm(f"forward.{n}", n=n)
                assert one.rule == f"forward.{n}"
            await until(lambda: len(server.alarms()) == 7, 40)
            assert {value.alarm & 0xFFFF for _, value in server.alarms()} == set(range(8)) - {3}
            coach.drive()
            await until(lambda: coach.feed.waiting()["alarm"] == 1)

    run(main())


def test_a_link_on_which_no_byte_moves_is_noticed_and_comes_back(tmp_path: Path):
    async def main() -> None:
        async with platform() as server:
            server.ask_files = False
            proxy = Proxy(("127.0.0.1", server.port))
            await proxy.start()
            async with vehicle(tmp_path, proxy.port) as coach:
                await until(lambda: "link-up" in coach.kinds())
                coach.drive()
                await until(lambda: server.got)
                proxy.freeze()
                coach.alarm("forward.warning")
                await until(lambda: coach.faults)
                proxy.reset()
                proxy.thaw()
                await until(coach.delivered)
                assert items(server) == [(1, 1)]
                assert server.twice == 0
            await proxy.stop()

    run(main())


def test_over_tls_the_certificate_is_checked(tmp_path: Path):
    made = Certificates(tmp_path / "certificates")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.cert, made.key)

    async def main() -> None:
        server = Jt808Platform()
        await server.start(tls=context)
        url = f"tls://127.0.0.1:{server.port}"
        async with vehicle(tmp_path / "wrong", server.port, url=url) as coach:
            await until(lambda: coach.faults)
            assert "certificate" in coach.faults[0]
        async with vehicle(tmp_path / "right", server.port, url=url, ca=str(made.ca)) as coach:
            await until(lambda: "link-up" in coach.kinds())
            coach.drive()
            await until(lambda: server.got)
        await server.stop()

    run(main())


def test_other_certificates_are_shown_at_once_where_they_are_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tls, "LOOK", 0.05)
    monkeypatch.setattr(tls, "ALERT", 0.3)
    authority, stranger = Authority(tmp_path / "a"), Authority(tmp_path / "s")
    files, cert, key = authority.server(), tmp_path / "gw.pem", tmp_path / "gw.key"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.load_cert_chain(files.cert, files.key)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue("013800138000").put(cert, key)

    async def main() -> None:
        server = Jt808Platform()
        await server.start(tls=context)
        more = {"url": f"tls://127.0.0.1:{server.port}", "ca": str(authority.ca), "cert": str(cert), "key": str(key)}
        async with vehicle(tmp_path, 0, **more) as here:
            await until(lambda: "link-up" in here.kinds())
            here.alarm("collision.red")
            stranger.issue("013800138000").put(cert, key)
            await until(lambda: "certificate-refused" in here.kinds())
            assert here.kinds().count("link-up") == 1
            authority.issue("013800138000").put(cert, key)
            here.drive()
            await until(lambda: "certificate-renewed" in here.kinds() and here.kinds().count("link-up") == 2)
            await until(here.delivered)
            assert not here.faults
        await server.stop()

    run(main())


def test_two_platforms_side_by_side_each_get_everything_once_and_one_that_is_down_costs_the_other_nothing(
    tmp_path: Path,
):
    async def main() -> None:
        names = ["regulator", "operator"]
        store = Store(path=str(tmp_path / "state"), batch=0.05, ballast_mb=0)
        outbox = await Outbox.open(store, names, SystemClock())
        coaches = []
        async with platform() as one, platform() as other:
            tasks = []
            for name, server, version in zip(names, (one, other), ("2019", "2013"), strict=True):
                server.ask_files = False
                coach = Vehicle(outbox, tmp_path, name)
                coaches.append(coach)
                uplink = settings(server.port, name=name, version=version).at_home(str(tmp_path / "state"), "")
                tasks.append(asyncio.create_task(coach.keep(uplink)))
            await until(lambda: all("link-up" in coach.kinds() for coach in coaches))
            coaches[0].drive()
            await until(lambda: one.got and other.got)
            await one.stop()
            one.drop()
            await until(lambda: "link-down" in coaches[0].kinds())
            began = time.monotonic()
            coaches[1].alarm("forward.warning")
            await until(lambda: items(other) == [(1, 1)])
            assert time.monotonic() - began < 1.0
            await one.start(one.port)
            await until(lambda: items(one) == [(1, 1)])
            await until(lambda: coaches[0].delivered() and coaches[1].delivered())
            assert (one.twice, other.twice) == (0, 0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await outbox.close()
        assert len(list((tmp_path / "state").glob("jt808-*.json"))) == 2

    run(main())


# -- commands -----------------------------------------------------------------------------------------


def last(server: Jt808Platform, id: int) -> Any:
    return next((body for _, said, body in reversed(server.said) if said == id), None)


async def asked(server: Jt808Platform, id: int, body: Any, answer: int = 0x0001) -> Any:
    """What the terminal answers."""
    serial = server.terminal().send(id, body)
    await until(lambda: (said := last(server, answer)) is not None and said.serial == serial)
    return last(server, answer)


def test_parameters_are_told_set_within_bounds_and_kept_over_a_restart(tmp_path: Path):
    async def main() -> None:
        async with platform() as server:
            async with vehicle(tmp_path, server.port) as coach:
                await until(lambda: server.links)
                told = await asked(server, 0x8104, words.Nothing(), 0x0104)
                assert Parameter(0x0029, (1).to_bytes(4, "big")) in told.parameters
                assert [len(one.value) for one in told.parameters if one.id == 0xF364] == [56]
                good = words.Parameters((Parameter(0x0029, (7).to_bytes(4, "big")),))
                assert (await asked(server, 0x8103, good)).result == words.OK
                bad = words.Parameters((Parameter(0x0029, (9).to_bytes(4, "big")), Parameter(0x0030, bytes([0] * 3))))
                assert (await asked(server, 0x8103, bad)).result == words.BAD
                alien = words.Parameters((Parameter(0x0013, b"1.2.3.4"),))
                assert (await asked(server, 0x8103, alien)).result == words.UNSUPPORTED
                await until(lambda: coach.kinds().count("parameters-refused") == 2)
            async with vehicle(tmp_path, server.port):
                await until(lambda: server.connections == 2 and server.links)
                told = await asked(server, 0x8106, words.ParametersAsked((0x0029,)), 0x0104)
                assert told.parameters == (Parameter(0x0029, (7).to_bytes(4, "big")),)

    run(main())


def test_texts_positions_and_control(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port, control=["reset"]) as coach:
            await until(lambda: server.links)
            coach.drive()
            await until(lambda: server.got)
            text = words.Text(9, "前方事故，请减速", 1)
            assert (await asked(server, 0x8300, text)).result == words.OK
            await until(lambda: "text" in coach.kinds())
            (event,) = [event for event in coach.told if event.kind == "text"]
            assert (event.text, event.facts["flag"]) == ("前方事故，请减速", 9)
            told = await asked(server, 0x8201, words.Nothing(), 0x0201)
            assert told.location.longitude == 120_000_000
            server.terminal().send(0x8107, words.Nothing())
            await until(lambda: last(server, 0x0107) is not None)
            assert last(server, 0x0107).terminal == "VED0001"
            assert (await asked(server, 0x8105, words.Control(3))).result == words.UNSUPPORTED
            assert (await asked(server, 0x8F00, words.Raw(0x8F00, b"x"))).result == words.UNSUPPORTED
            assert (await asked(server, 0x8300, words.Raw(0x8300, b""))).result == words.BAD
            assert (await asked(server, 0x8105, words.Control(4))).result == words.OK
            await until(lambda: coach.kinds().count("link-up") == 2)
            assert "control-refused" in coach.kinds()

    run(main())


def test_the_platform_may_follow_a_vehicle_for_a_while_and_confirm_its_alarms(tmp_path: Path):
    async def main() -> None:
        slow = SETTINGS["parameters"] | {"period": 3600, "timeout": 20}  # a busy machine breaks no link: that ends it
        async with platform() as server, vehicle(tmp_path, server.port, parameters=slow) as coach:
            await until(lambda: server.links)
            coach.drive()
            await until(lambda: len(server.got) == 1)
            server.faults.silent = True
            coach.alarm("sos")
            await until(lambda: len(server.got) == 2)
            server.faults.silent = False
            assert (await asked(server, 0x8203, words.Confirm(0, 1))).result == words.OK
            assert (await asked(server, 0x8202, words.Follow(1, 60))).result == words.OK
            await until(lambda: len(server.got) >= 5)
            assert [location.alarm & 1 for location in server.locations()[1:5]] == [1, 0, 0, 0]
            assert (await asked(server, 0x8202, words.Follow(0))).result == words.OK

    run(main())


def test_a_command_that_comes_twice_is_answered_twice_and_done_once(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            await until(lambda: server.links)
            link = server.terminal()
            for _ in range(2):
                link.serial = 500
                link.send(0x8300, words.Text(1, "halt"))
            await until(lambda: ids(server).count(0x0001) == 2)
            assert coach.kinds().count("text") == 1

    run(main())


def test_a_long_text_comes_in_parts(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            await until(lambda: server.links)
            link = server.terminal()
            long = "路" * 900  # 1800 bytes: in parts
            assert (await asked(server, 0x8300, words.Text(1, long))).result == words.OK
            await until(lambda: "text" in coach.kinds())
            assert next(event.text for event in coach.told if event.kind == "text") == long
            assert link.serial > 1

    run(main())


# -- evidence -----------------------------------------------------------------------------------------


def made(folder: Path, alarm: Alarm, files: dict[str, bytes]) -> None:
    """A piece of evidence as the clerk leaves it."""
    home = folder / "evidence" / evidence.name_of(alarm.id, "front")
    home.mkdir(parents=True)
    for name, data in files.items():
        (home / name).write_bytes(data)
    told = tuple(evidence.File(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items())
    manifest = evidence.Manifest(
        id=home.name, alarm=alarm.id, edge=1, rule=alarm.rule, channel=alarm.channel, level="red", camera="front",
        at=alarm.at, begin=alarm.at, end=alarm.at, kernel="", clip=evidence.Clip(), stills=(), masks=(), missing=(),
        files=told,
    )  # fmt: skip
    (home / evidence.MANIFEST).write_bytes(msgspec.json.encode(manifest))


@pytest.mark.parametrize("fault", [{}, {"lose": 0.3}, {"close_files": 9}])
def test_evidence_that_is_asked_for_arrives_byte_for_byte(tmp_path: Path, fault: dict[str, Any], monkeypatch: Any):
    monkeypatch.setattr(jt808_files, "PAUSE", 0.1)
    monkeypatch.setattr(jt808_files, "LOOK", 0.1)
    files = {"still-1.jpg": bytes(range(256)) * 20, "clip.mp4": bytes(i * 7 & 0xFF for i in range(60_000))}

    async def main() -> None:
        async with platform(**fault) as server, vehicle(tmp_path, server.port, upload_rate=4000.0) as coach:
            await until(lambda: "link-up" in coach.kinds())
            coach.drive()
            await until(lambda: server.got)
            alarm = coach.alarm("forward.warning")
            await until(lambda: server.orders)
            made(tmp_path, alarm, files | {"channels.csv": b"t\n"})
            await until(lambda: "evidence-sent" in coach.kinds())
            got = server.whole()
            assert sorted(hashlib.sha256(data).hexdigest() for data in got.values()) == sorted(
                hashlib.sha256(data).hexdigest() for data in files.values()
            )
            number = next(iter(server.orders))
            assert set(got) == {f"00_64_6401_0_{number}.jpg", f"02_64_6401_1_{number}.mp4"}
            if "close_files" in fault:  # what was there already is not sent again
                pieces = sum(file.pieces for file in server.files.values())
                assert pieces <= math.ceil(60_000 / 4096) + math.ceil(5120 / 4096) + 3
            assert server.strange == 0

    run(main())


def test_evidence_that_is_owed_outlives_a_restart(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(jt808_files, "LOOK", 0.1)

    async def main() -> None:
        async with platform() as server:
            async with vehicle(tmp_path, server.port) as coach:
                await until(lambda: "link-up" in coach.kinds())
                coach.drive()
                await until(lambda: server.got)
                alarm = coach.alarm("forward.warning")
                await until(lambda: server.orders and 0x0001 in ids(server))
            made(tmp_path, alarm, {"clip.mp4": b"x" * 5000})
            async with vehicle(tmp_path, server.port) as coach:
                await until(lambda: "evidence-sent" in coach.kinds())
            assert list(server.whole().values()) == [b"x" * 5000]

    run(main())


def test_evidence_of_an_alarm_that_nobody_knows_or_for_a_stranger_is_refused(tmp_path: Path):
    async def main() -> None:
        async with platform() as server, vehicle(tmp_path, server.port) as coach:
            await until(lambda: server.links)
            order = words.Upload("127.0.0.1", 1, 0, words.Mark("VED0001", "261128120000", 3), "n" * 32)
            assert (await asked(server, 0x9208, order)).result == words.FAILED
            coach.drive()
            await until(lambda: server.got)
            server.ask_files = False
            coach.alarm("forward.warning")
            await until(lambda: server.alarms())
            mark = server.alarms()[0][1].scene.mark
            order = words.Upload("203.0.113.9", 1, 0, mark, "n" * 32)
            assert (await asked(server, 0x9208, order)).result == words.FAILED
            assert "upload-refused" in coach.kinds()

    run(main())
