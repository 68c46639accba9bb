"""Files of a mine: what stands in them, when they are written, and that none is lost or half there."""

from __future__ import annotations

import asyncio
import contextlib
import doctest
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agent import checks
from agent.clock import SystemClock
from agent.core.alarm import Alarm
from agent.core.errors import ConfigFault, WorldFault
from agent.core.frame import Instant, Quality, frame, layout
from agent.core.ports import Brief, Event, Identity
from agent.outbox import Outbox, Store
from agent.uplink import find, minefiles, minefiles_table, periods
from agent.uplink.minefiles import Minefiles
from agent.uplink.minefiles_table import load, written
from tests.tools.sshd import Sshd, needs_sshd

FACE = layout(["ch4", "co", "fan"], ["%", "ppm", ""], low=[0, 0, 0], high=[4, 1000, 1], stale=2.0)
POINTS = [
    {"channel": "face/ch4", "code": "001A01", "type": "0001", "place": "3301 回风", "alarm_high": 1.0, "cut_high": 1.5},
    {"channel": "face/co", "code": "001A02", "type": "0004", "related": ["001A01"], "digits": 0},
    {"channel": "face/fan", "code": "001D01", "type": "1010", "value_type": "KG", "on": "开", "off": "停"},
]
FAST = {"file": {"CDSS": {"every": 1}, "TJSJ": {"every": 2}, "YCBJ": {"every": 2}}}
HEAD = {"mine": "140100000001", "mine_name": "一矿"}


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


def settings(url: str, **more: Any) -> Minefiles:
    table = {"name": "bureau", "url": url, "point": POINTS, "change": FAST} | HEAD | more
    return msgspec.convert(table, Minefiles)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minefiles, "GRACE", 0.4)  # the stores here gather for 0.05 s, not 1 s


class Mine:
    """An outbox, the uplink kept alive, and what it told."""

    def __init__(self, outbox: Outbox, uplink: Minefiles) -> None:
        self.outbox, self.uplink = outbox, uplink
        self.feed = outbox.feed("bureau")
        self.open: list[Alarm] = []
        self.told: list[Event] = []
        self.faults: list[str] = []
        self.edges = 0

    async def keep(self) -> None:
        who = Identity("mine", "face", self.outbox.boot, "0.1.0", "cafe", layouts={"face": FACE})
        while True:
            try:
                await self.uplink.send(Brief(self.feed, who, lambda: self.open, SystemClock(), self.told.append))
            except WorldFault as fault:
                self.faults.append(str(fault))
            await asyncio.sleep(0.05)

    def read(self, ch4: float = 0.4, co: float = 3.0, fan: float = 1.0, at: Instant | None = None, **more: Any) -> None:
        self.outbox.put_frame(frame("face", at or SystemClock().now(), FACE, [ch4, co, fan], **more))
        self.outbox._flush("face")

    def alarm(self, rule: str = "ch4.alarm", event: str = "raised", n: int = 1, **more: Any) -> Alarm:
        state = "returned-unacked" if event == "cleared" else "active-unacked"
        self.edges += 1
        at = more.pop("at", None) or SystemClock().now()
        one = Alarm(f"{self.outbox.boot}-{n}", self.edges, event, state, rule, "face/ch4", "orange", 1.2, 1.0, "%", at,
                    at, "瓦斯超限", advice="撤人", **more)  # fmt: skip
        self.open = [a for a in self.open if a.id != one.id] + ([one] if event != "cleared" else [])
        self.outbox.put_alarms([one])
        return one

    async def reading(self, seconds: float, **values: Any) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(**values)
            await asyncio.sleep(0.1)

    def delivered(self) -> bool:
        return not any(self.feed.waiting().values())


@asynccontextmanager
async def mine(
    folder: Path, uplink: Minefiles, before: Callable[[Mine], Any] = lambda face: None
) -> AsyncIterator[Mine]:
    store = Store(path=str(folder / "state"), batch=0.05, ballast_mb=0)
    outbox = await Outbox.open(store, ["bureau"], SystemClock())
    here = Mine(outbox, uplink.at_home(str(folder / "state"), ""))
    before(here)
    sending = asyncio.create_task(here.keep())
    try:
        yield here
    finally:
        began = time.monotonic()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert time.monotonic() - began < 1.5
        await outbox.close()


class File:
    """One file, taken to pieces by its separators and nothing else."""

    def __init__(self, path: Path, encoding: str = "utf-8") -> None:
        text = path.read_bytes().decode(encoding)
        assert text.endswith("~||")
        self.mine, self.kind, self.time = path.stem.split("_")
        head, *rows = text.removesuffix("~||").split("~")
        self.head, self.rows = head.split(";"), [row.split(";") for row in rows]


def files(folder: Path, kind: str = "", encoding: str = "utf-8") -> list[File]:
    return [File(path, encoding) for path in sorted(folder.glob(f"*_{kind}*.txt"))]


def local(wall: float) -> datetime:
    return datetime.fromtimestamp(wall, UTC).replace(tzinfo=None) + timedelta(hours=8)


def moment(text: str) -> float:
    """s UTC of a time in a file, in one of its two forms."""
    form = "%Y%m%d%H%M%S" if text.isdigit() else "%Y-%m-%d %H:%M:%S"
    return (datetime.strptime(text, form) - timedelta(hours=8)).replace(tzinfo=UTC).timestamp()  # noqa: DTZ007


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


# -- the table ----------------------------------------------------------------------------------------


def test_examples_in_the_docstrings_run():
    assert [doctest.testmod(module).failed for module in (minefiles_table, periods)] == [0, 0]


def test_a_file_is_the_bytes_that_the_table_says():
    table = load("coal", {})
    at = datetime(2026, 11, 28, 4, 0, 30, tzinfo=UTC).timestamp()
    assert table.file_name("140100000001", "CDSS", at) == "140100000001_CDSS_20261128120030.txt"
    row = {
        "code": "001A01",
        "type_name": "环境瓦斯",
        "place": "3301;回风~",
        "value": 0.456,
        "unit": "%",
        "state": 5,
        "read": at,
    }
    got = written(table, table.file["CDSS"], HEAD | {"time": at}, [row, {"code": "001A02", "value": float("nan")}])
    assert got.decode() == (
        "140100000001;一矿;2026-11-28 12:00:30~001A01;环境瓦斯;3301 回风 ;0.46;%;5;2026-11-28 12:00:30~001A02;;;;;;~||"
    )


def test_a_province_changes_names_encoding_columns_and_codes_without_code(tmp_path: Path):
    change = {
        "encoding": "gbk", "extension": "TXT", "name": "{kind}{mine}{time}.{extension}", "newline": "\r\n", "round": 10,
        "abnormal": {"over-limit": "BJ"},
        "file": {"CDSS": {"every": 20, "columns": ["code", {"of": "state", "map": {"0": "正常"}}, {"text": "x"}]}},
    }  # fmt: skip
    table = load("noncoal", change)
    assert table.file_name("14", "CDSS", 60.0) == "CDSS1419700101080100.TXT"
    got = written(table, table.file["CDSS"], HEAD | {"time": 60.0}, [{"code": "A", "state": 0}])
    assert got.decode("gbk") == "140100000001;一矿;1970-01-01 08:01:00~\r\nA;正常;x~\r\n||"
    own = tmp_path / "own.toml"
    own.write_text('base = "coal"\nextension = "dat"\n[file.CDSS]\nevery = 10\n')
    assert (load(str(own), {}).extension, load(str(own), {}).file["CDSS"].every) == ("dat", 10)
    assert load(str(own), {}).file["CDDY"] == load("coal", {}).file["CDDY"]
    assert len(load("coal", {}).file["CDDY"].columns) == 24


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"file": {"CDSS": {"columns": ["vlaue"]}}}, "no word `vlaue`"),
        ({"file": {"CDSS": {"every": 7}}}, "does not divide a day"),
        ({"round": 20}, "no multiple of round"),
        ({"round": 30}, "YCBJ: every must be more than round"),
        ({"encoding": "gbk9"}, "knows no `gbk9`"),
        ({"name": "{mine}/{kind}"}, "without a folder"),
        ({"quality": {"stale": "gone"}}, "no `gone`"),
        ({"alarm": [{"rule": "*", "type": "flood"}]}, "no `flood`"),
        ({"file": {"X": {"about": "points", "header": [], "columns": []}}}, "daily and on_change"),
    ],
)
def test_a_table_that_is_wrong_is_refused_in_words(change: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        load("coal", change)


def test_settings_that_are_wrong_are_refused_in_words():
    assert find("minefiles") is Minefiles
    assert checks.uplink(settings("file:///srv")) == []
    safe = {"fingerprint": "SHA256:" + "a" * 43, "password": "env:X"}
    for url, more, said in (
        ("ftp://h/x", {}, "url must be"),
        ("file:///srv", {"key": "/k"}, "go with sftp"),
        ("sftp://u@h/x", {"password": "env:X"}, "known_hosts or fingerprint"),
        ("sftp://u:secret@h/x", safe, "no password in url"),
        ("sftp://u@h/x", safe | {"password": "secret"}, "must say where"),
        ("sftp://u@h/x", {"fingerprint": safe["fingerprint"]}, "key or password"),
    ):
        with pytest.raises((ConfigFault, msgspec.ValidationError), match=said):
            settings(url, **more)
    wrong = [
        *POINTS,
        {"channel": "face/o2", "code": "001A01", "type": "0099", "related": ["9"]},
    ]
    rows = [{"rule": "*", "type": "flood"}]
    uplink = settings("file:///srv", point=wrong, alarm=rows, station=[{"code": "1", "source": "fase"}])
    faults = " | ".join(uplink.faults({"face/ch4", "face/co", "face/fan"}))
    for said in ("twice", "no channel is called `face/o2`", "type 0099", "has the code 9", "`fase`", "`flood`"):
        assert said in faults
    assert settings("file:///srv").faults({"face/ch4", "face/co", "face/fan"}) == []
    assert "no table is called" in settings("file:///srv", table="cole").faults(set())[0]


# -- what is written when -----------------------------------------------------------------------------


def test_definitions_real_time_and_statistics(tmp_path: Path, place: Path):
    async def main() -> None:
        async with mine(tmp_path, settings(f"file://{place}")) as face:
            await until(lambda: files(place, "CDDY"))
            await face.reading(1.0, ch4=0.4)
            await face.reading(1.0, ch4=0.6)
            await until(lambda: any(file.rows[0][5] for file in files(place, "TJSJ")))
            await until(face.delivered)
        (defined,) = files(place, "CDDY")
        assert defined.head[:2] == ["140100000001", "一矿"]
        assert len(defined.rows) == 3
        assert {len(row) for row in defined.rows} == {24}
        assert defined.rows[0][:9] == ["001A01", "", "", "0001", "MN", "%", "4.00", "0.00", "1.00"]
        assert defined.rows[2][16:18] == ["开", "停"]
        assert (defined.rows[1][22], defined.rows[0][18]) == ("001A01", "3301 回风")
        real = [file for file in files(place, "CDSS") if file.rows[0][3]]
        assert real
        assert real[-1].rows[0][:6] == ["001A01", "环境瓦斯", "3301 回风", "0.60", "%", "0"]
        assert real[-1].rows[1][3] == "3"
        assert real[-1].rows[2][3] == "开"
        assert abs(moment(real[-1].rows[0][6]) - moment(real[-1].time)) <= 2
        assert all(moment(file.head[-1]) == moment(file.time) for file in files(place))
        means = [file.rows for file in files(place, "TJSJ") if file.rows[0][4]]
        assert {row[0] for rows in means for row in rows} == {"001A01", "001A02"}  # no mean of a switch
        assert min(float(rows[0][6]) for rows in means) == 0.4
        assert max(float(rows[0][4]) for rows in means) == 0.6
        assert not [path for path in place.iterdir() if path.suffix != ".txt"]
        assert oct(next(place.iterdir()).stat().st_mode & 0o777) == "0o644"

    run(main())


def test_definitions_come_again_when_they_changed_and_not_for_a_restart(tmp_path: Path, place: Path):
    async def main() -> None:
        uplink = settings(f"file://{place}")
        for one in (uplink, uplink, settings(f"file://{place}", point=POINTS[:2])):
            async with mine(tmp_path, one) as face:
                await until(lambda face=face: [event for event in face.told if event.kind == "link-up"])
                await asyncio.sleep(1.2)
        assert [len(file.rows) for file in files(place, "CDDY")] == [3, 2]

    run(main())


def test_an_alarm_is_told_at_once_and_again_with_its_end_and_figures(tmp_path: Path, place: Path):
    async def main() -> None:
        async with mine(tmp_path, settings(f"file://{place}")) as face:
            await until(lambda: files(place, "CDDY"))
            await face.reading(0.3, ch4=0.4)
            raised = face.alarm()
            began = time.monotonic()
            await until(lambda: files(place, "YCBJ"))
            assert time.monotonic() - began < 2.5
            await face.reading(2.2, ch4=1.3)
            await face.reading(0.3, ch4=1.1)
            cleared = face.alarm(event="cleared")
            face.alarm(event="acknowledged", by="李")
            await until(face.delivered)
        told = files(place, "YCBJ")
        assert {len(row) for file in told for row in file.rows} == {17}
        assert {(row[0], row[4], row[5]) for file in told for row in file.rows} == {
            ("001A01", "001", local(raised.at.wall).strftime("%Y-%m-%d %H:%M:%S"))
        }
        assert told[0].rows[0][6] == ""
        over = [row for file in told for row in file.rows if row[6]]
        assert {row[6] for row in over} == {local(cleared.at.wall).strftime("%Y-%m-%d %H:%M:%S")}
        assert over[-1][7] == "1.30"
        assert told[0].rows[0][7] == "1.20"  # of the alarm itself: the store may not have it yet
        assert 0.4 <= float(over[-1][9]) <= 1.1
        assert float(over[-1][9]) <= float(over[-1][11]) <= 1.3
        assert over[-1][13:15] == ["瓦斯超限", "撤人"]
        assert len({file.time for file in told}) == len(told)

    run(main())


def test_a_state_has_the_bits_of_alarms_and_qualities_and_calibration_is_told_with_its_time(
    tmp_path: Path, place: Path
):
    async def main() -> None:
        async with mine(tmp_path, settings(f"file://{place}")) as face:
            await face.reading(0.5)
            face.alarm("ch4.cut")
            gas = np.array([Quality.CALIBRATING, Quality.GOOD, Quality.GOOD], np.uint8)
            began = time.time()
            await face.reading(1.6, ch4=2.0, quality=gas)
            ended = time.time()
            face.alarm("ch4.cut", "cleared")
            await face.reading(2.2)
            await until(face.delivered)
        assert "6" in {file.rows[0][5] for file in files(place, "CDSS")}  # cut 2 + calibration 4
        told = [row for file in files(place, "YCBJ") for row in file.rows]
        assert {row[4] for row in told} == {"002", "007"}
        tests = [row for row in told if row[4] == "007"]
        assert len({row[5] for row in tests}) == 1
        assert abs(moment(tests[0][5]) - began) < 1.3
        assert abs(moment(tests[-1][6]) - ended) < 1.3
        assert tests[-1][7] == "2.00"
        assert max(float(row[4] or 0) for file in files(place, "TJSJ") for row in file.rows[:1]) == 0.4

    run(main())


def test_the_begin_of_a_fault_is_found_in_the_store_and_kept_through_a_restart(tmp_path: Path, place: Path):
    broken = np.array([Quality.FAULT, Quality.GOOD, Quality.GOOD], np.uint8)
    began = []

    def before(face: Mine) -> None:
        now = SystemClock().now()
        for minutes in range(90, 0, -1):
            at = Instant(now.mono - 60.0 * minutes, now.wall - 60.0 * minutes)
            quality = broken if minutes <= 80 else Quality.GOOD
            began.append(at.wall) if minutes == 80 else None
            face.read(at=at, quality=quality)

    async def main() -> None:
        for first in (before, lambda face: face.read(quality=broken)):
            async with mine(
                tmp_path, settings(f"file://{place}", change=FAST | {"file": {"YCBJ": {"every": 2}}}), first
            ) as face:
                before_it = len(files(place, "YCBJ"))
                await face.reading(2.5, quality=broken)
                await until(lambda n=before_it: len(files(place, "YCBJ")) > n)
        async with mine(tmp_path, settings(f"file://{place}", change={"file": {"YCBJ": {"every": 2}}})) as face:
            await face.reading(2.5)
            await until(lambda: any(row[6] for file in files(place, "YCBJ") for row in file.rows))
        rows = [row for file in files(place, "YCBJ") for row in file.rows]
        live = [row for file in files(place, "YCBJ") for row in file.rows if moment(file.time) > time.time() - 30]
        assert {(row[0], row[4]) for row in rows} == {("001A01", "004")}
        assert {moment(row[5]) for row in live} == {int(began[0])}

    run(main())


def test_what_is_not_polled_any_more_has_no_value(tmp_path: Path, place: Path):
    async def main() -> None:
        async with mine(tmp_path, settings(f"file://{place}")) as face:
            old = SystemClock().now()
            face.read(at=Instant(old.mono - 8.0, old.wall - 8.0))
            await until(lambda: len(files(place, "CDSS")) > 1)
        first, *_, last = files(place, "CDSS")
        assert (first.rows[0][3], first.rows[0][5]) == ("0.40", "0")  # of its own second
        assert (last.rows[0][3], last.rows[0][5]) == ("", "32")

    run(main())


def test_a_kind_of_file_that_a_site_adds_tells_stations(tmp_path: Path, place: Path):
    kind = {
        "about": "stations",
        "every": 1,
        "header": ["mine", "time"],
        "columns": ["station", "place", "state", "time"],
    }
    stations = [{"code": "S1", "source": "face", "place": "井下"}, {"code": "S2", "source": "gone"}]

    async def main() -> None:
        change = {"file": FAST["file"] | {"FZSS": kind}}
        async with mine(tmp_path, settings(f"file://{place}", change=change, station=stations)) as face:
            await face.reading(1.3)
            await until(lambda: files(place, "FZSS"))
        last = files(place, "FZSS")[-1]
        assert last.rows[0][:3] == ["S1", "井下", "0"]
        assert last.rows[1][:3] == ["S2", "", "16"]

    run(main())


# -- nothing is lost ----------------------------------------------------------------------------------


def test_what_waited_while_the_folder_was_gone_is_written_under_its_own_time(tmp_path: Path, place: Path):
    async def main() -> None:
        async with mine(tmp_path, settings(f"file://{place}")) as face:
            await until(lambda: files(place, "CDDY"))
            place.rename(tmp_path / "away")
            began = time.time()
            await until(lambda: face.faults)
            raised = face.alarm()
            await face.reading(2.5, ch4=1.4)
            cleared = face.alarm(event="cleared")
            await face.reading(0.5)
            ended = time.time()
            (tmp_path / "away").rename(place)
            await until(face.delivered)
        told = [file for file in files(place, "TJSJ") if began < moment(file.time) < ended and file.rows[0][4]]
        assert told
        assert max(row[4] for file in told for row in file.rows if row[0] == "001A01") == "1.40"
        assert [file for file in files(place, "CDSS") if began < moment(file.time) < ended and file.rows[0][3]]
        rows = [(file, row) for file in files(place, "YCBJ") for row in file.rows]
        assert {moment(row[5]) for _, row in rows} == {int(raised.at.wall)}
        assert {moment(row[6]) for _, row in rows if row[6]} == {int(cleared.at.wall)}
        assert min(moment(file.time) for file, _ in rows) <= ended

    run(main())


def test_a_kill_between_any_two_files_loses_none_and_a_repeated_row_is_known_by_its_start(tmp_path: Path, place: Path):
    async def main() -> None:
        starts = []
        for n in range(4):  # each life ends at another moment, without a word
            async with mine(tmp_path, settings(f"file://{place}")) as face:
                face.edges = 10 * n
                starts.append(face.alarm(n=1).at.wall)
                await face.reading(0.4 + 0.3 * n, ch4=1.0 + n / 10)
                face.alarm(event="cleared", n=1)
        async with mine(tmp_path, settings(f"file://{place}")) as face:
            await until(face.delivered)
        rows = [row for file in files(place, "YCBJ") for row in file.rows]
        assert {moment(row[5]) for row in rows} == {int(wall) for wall in starts}
        assert {moment(row[5]) for row in rows if row[6]} == {int(wall) for wall in starts}
        high = {row[4] for file in files(place, "TJSJ") for row in file.rows if row[0] == "001A01"}
        assert {"1.30"} <= high

    run(main())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_no_file_is_half_there_and_all_follow_when_there_is_room(tmp_path: Path, small_disk: Path):
    async def main() -> None:
        ballast = os.open(small_disk / "ballast", os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while True:
                os.write(ballast, bytes(4096))
        os.close(ballast)
        async with mine(tmp_path, settings(f"file://{small_disk}")) as face:
            face.alarm()
            await face.reading(1.5)
            await until(lambda: face.faults)
            assert "No space" in face.faults[0]
            named = [path.name for path in small_disk.iterdir() if path.suffix != ".new"]  # that may be the next try
            assert named == ["ballast"]
            (small_disk / "ballast").unlink()
            await until(face.delivered)
        assert files(small_disk, "YCBJ")
        assert [file for file in files(small_disk, "CDSS") if file.rows[0][3]]

    run(main())


# -- SFTP, to OpenSSH -----------------------------------------------------------------------------------


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    pytest.importorskip("asyncssh", reason="asyncssh is not installed")
    with Sshd(tmp_path / "sshd") as server:
        yield server


def at(server: Sshd, **more: Any) -> Minefiles:
    return settings(server.url, **({"known_hosts": str(server.known_hosts), "key": str(server.client)} | more))


@needs_sshd
def test_files_arrive_by_sftp_whole_and_what_waited_follows(tmp_path: Path, sshd: Sshd):
    async def main() -> None:
        async with mine(tmp_path, at(sshd)) as face:
            await face.reading(0.5)
            await until(lambda: files(sshd.home, "CDSS"))
            sshd.stop()
            began = time.time()
            raised = face.alarm()
            await face.reading(2.2, ch4=1.4)
            ended = time.time()
            await until(lambda: face.faults)
            sshd.start()
            await until(face.delivered)
        told = [file for file in files(sshd.home, "TJSJ") if began < moment(file.time) < ended + 2]
        assert max(row[4] for file in told for row in file.rows if row[0] == "001A01") == "1.40"
        assert {moment(row[5]) for file in files(sshd.home, "YCBJ") for row in file.rows} == {int(raised.at.wall)}
        assert not list(sshd.home.glob("*.new"))

    run(main())


@needs_sshd
def test_a_server_that_is_not_the_known_one_gets_nothing(tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        other = {"known_hosts": "", "fingerprint": "SHA256:" + "A" * 43}
        async with mine(tmp_path, at(sshd, **other)) as face:
            face.alarm()
            await until(lambda: face.faults)
            assert "not the one that is known" in face.faults[0]
            assert not face.told
            assert not list(sshd.home.iterdir())
        monkeypatch.setenv("SESAME", "open sesame")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(sshd.locked.parent))
        right = {
            "known_hosts": "",
            "fingerprint": sshd.fingerprint(),
            "key": f"credential:{sshd.locked.name}",
            "passphrase": "env:SESAME",
        }
        async with mine(tmp_path, at(sshd, **right)) as face:
            await until(lambda: files(sshd.home, "YCBJ"))
            await until(face.delivered)

    run(main())


@needs_sshd
def test_a_refused_key_and_a_folder_that_is_not_there_are_told(tmp_path: Path, sshd: Sshd):
    async def main() -> None:
        async with mine(tmp_path, at(sshd, key=str(sshd.host))) as face:
            await until(lambda: face.faults)
            assert "Permission denied" in face.faults[0]
        async with mine(tmp_path / "b", settings(sshd.url + "/no", known_hosts=str(sshd.known_hosts),
                                                 key=str(sshd.client))) as face:  # fmt: skip
            await until(lambda: face.faults)
            assert "No such file" in face.faults[0]

    run(main())


def test_a_password_and_a_server_that_neither_syncs_nor_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asyncssh = pytest.importorskip("asyncssh", reason="asyncssh is not installed")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("MINE_PW", "geheim")

    class Guard(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("mine", "geheim")

    class Plain(asyncssh.SFTPServer):
        def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
            raise asyncssh.SFTPOpUnsupported("no such thing here")

        def rename(self, oldpath: bytes, newpath: bytes) -> None:
            if os.path.exists(self.map_path(newpath)):
                raise asyncssh.SFTPFailure("it is there")
            os.rename(self.map_path(oldpath), self.map_path(newpath))

        def fsync(self, file: object) -> None:
            raise asyncssh.SFTPOpUnsupported("nor this")

    async def main() -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        server = await asyncssh.create_server(
            Guard, "127.0.0.1", 0, server_host_keys=[key], sftp_factory=lambda chan: Plain(chan, chroot=str(home))
        )
        (port,) = {sock.getsockname()[1] for sock in server.sockets}
        known = {"fingerprint": key.get_fingerprint(), "password": "env:MINE_PW"}
        place = settings(f"sftp://mine@127.0.0.1:{port}/", **known).place(asyncio.Event())
        await place.open()
        for data in (b"one", b"two"):  # the second replaces the first
            await place.put("a.txt", data)
        assert [(path.name, path.read_bytes()) for path in home.iterdir()] == [("a.txt", b"two")]
        place.close()
        monkeypatch.setenv("MINE_PW", "wrong")
        other = settings(f"sftp://mine@127.0.0.1:{port}/", **known).place(asyncio.Event())
        with pytest.raises(WorldFault, match="Permission denied"):
            await other.open()
        other.close()
        server.close()
        await server.wait_closed()

    run(main())
