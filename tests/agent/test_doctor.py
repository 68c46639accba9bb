"""`vedette doctor`: trees of files as others have them; real ports, processes, certificates and brokers; a site."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import string
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from agent import audit, cli, config, control, doctor, tls
from agent.clock import Discipline
from agent.core.errors import LineLost
from agent.core.frame import Instant
from agent.core.ports import Event, Fared, Tally
from agent.doctor import (
    board,
    brokers,
    cameras,
    disk,
    finding,
    hours,
    lines,
    machine,
    net,
    papers,
    past,
    platforms,
    ports,
    service,
    visit,
    words,
)
from agent.doctor.machine import Machine, Person
from agent.uplink.jt808 import Jt808
from agent.uplink.minefiles import Minefiles
from agent.uplink.mqtt import Mqtt
from agent.web import coach
from drivers import bus, tally
from drivers.modbus import Modbus
from simulators.video import CameraServer
from tests.tools.authority import Authority
from tests.tools.mosquitto import Mosquitto, free_port, needs_mosquitto
from tests.tools.slaves import Memory, TcpSlave
from tests.tools.sshd import Sshd, needs_sshd

HERE = Machine()
NOBODY = Person("nobody", 64999, frozenset({64999}))
ROOT = Person("root", 0, frozenset({0}))


def lay(root: Path, files: Mapping[str, str | bytes]) -> Machine:
    """A machine with these files; what begins with `->` is a link."""
    for name, content in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("->"):
            path.symlink_to(content[2:])
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Machine(root)


def keys(rows: Iterator[finding.Finding]) -> list[str]:
    return [row.key for row in rows]


# -- the table ----------------------------------------------------------------------------------------


def test_examples_in_the_docstrings_run():
    for module in (disk, finding, service, tally):
        assert doctest.testmod(module).failed == 0


def blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_finding_has_words_in_both_languages_and_no_row_is_idle():
    for key, row in words.WORDS.items():
        assert key.partition(" ")[0] in words.THEMES
        assert all(map(bool, (row.en, row.zh))), key
        assert bool(row.do_en) == bool(row.do_zh), key
        assert [blanks(row.en), blanks(row.do_en)] == [blanks(row.zh), blanks(row.do_zh)], key
        assert row.do_en or row.level in ("ok", "unknown"), key
        assert max(len(row.en), len(row.do_en)) < 150, key
    assert words.FRAME["en"].keys() == words.FRAME["zh"].keys()
    folder = Path(doctor.__file__).parent
    said = {
        node.value
        for path in folder.glob("*.py")
        if path.name != "words.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[a-z]+ [a-z-]+", node.value)
        if node.value.partition(" ")[0] in words.THEMES
    }
    assert said - words.WORDS.keys() <= {"kernel log"}
    assert words.WORDS.keys() - said == set()


# -- a Raspberry Pi -----------------------------------------------------------------------------------

PI = {
    "/proc/device-tree/model": b"Raspberry Pi 4 Model B Rev 1.4\0",
    "/sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "/sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "/sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
    "/sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "/sys/class/thermal/thermal_zone0/temp": "82764\n",
    "/sys/class/thermal/thermal_zone1/type": "acpitz\n",  # which often lies
    "/sys/class/thermal/thermal_zone1/temp": "99000\n",
}


def test_a_weak_supply_and_heat_of_a_raspberry_pi_are_told(tmp_path):
    pi = lay(tmp_path, PI)
    rows = list(board.power(pi))
    assert keys(rows) == ["power low", "power throttled"]  # 0x50005: both now, and before
    assert rows[0].what == "Raspberry Pi 4 Model B Rev 1.4"
    assert "0x50005" in rows[0].text("en")
    assert "5.1 V" in rows[0].do("zh")
    assert keys(board.heat(pi)) == ["heat hot"]
    (tmp_path / "sys/class/thermal/thermal_zone0/type").write_text("imx_thermal_zone\n")
    assert keys(board.heat(pi)) == ["heat too-hot"]  # nobody knows which is the processor's
    (tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text("80000\n")
    (tmp_path / "sys/class/hwmon/hwmon1/in0_lcrit_alarm").write_text("0\n")
    assert keys(board.power(pi)) == ["power was-hot"]
    (tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text("0\n")
    lay(tmp_path, {"/proc/device-tree/chosen/power/max_current": (3000).to_bytes(4, "big")})
    assert keys(board.power(pi)) == ["power fine", "power weak"]
    assert keys(board.power(lay(tmp_path / "pc", {}))) == []
    assert keys(board.power(lay(tmp_path / "old", {"/proc/device-tree/model": "Raspberry Pi 3"}))) == ["power unknown"]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("hwmon hwmon1: Undervoltage detected!", "kernel undervoltage"),
        ("Under-voltage detected! (0x00050005)", "kernel undervoltage"),
        ("mmcblk0: error -110 transferring data, sector 61, nr 8, cmd response 0x900", "kernel disk"),
        ("I/O error, dev mmcblk0, sector 1234 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2", "kernel disk"),
        ("EXT4-fs error (device mmcblk0p2): ext4_find_entry:1463: inode #2: comm systemd: reading", "kernel files"),
        ("Out of memory: Killed process 812 (vedette) total-vm:1GB", "kernel memory"),
        ("usb 1-1.2: device descriptor read/64, error -71", "kernel usb"),
        ("ftdi_sio ttyUSB0: FTDI USB Serial Device converter now disconnected from ttyUSB0", "kernel serial"),
    ],
)
def test_what_the_kernel_complains_of_is_known(tmp_path, line, key):
    log = f"6,1,0,-;Booting Linux\n3,812,5128723,-;{line}\n SUBSYSTEM=usb\n"
    found = machine.kernel_log(lay(tmp_path, {"/dev/kmsg": log}))
    assert found == ["Booting Linux", line]
    assert keys(board.complaints(found)) == [key]


def test_memory_is_held_against_what_the_site_wants(tmp_path):
    small = lay(
        tmp_path,
        {
            "/proc/meminfo": "MemTotal:         948304 kB\nMemAvailable:     512000 kB\n",
            "/proc/vmstat": "nr_free_pages 1\noom_kill 2\n",
            "/proc/self/mountinfo": MOUNTS,
            "/sys/dev/block/179:2": "->../../devices/mmcblk0",
            "/sys/devices/mmcblk0/size": "1",
            "/proc/swaps": "Filename\n/swap file 9 0 -2\n/dev/zram0 partition 1 0 5\n/dev/sda2 partition 1 0 6\n",
            "/proc/7/cgroup": "0::/system.slice/vedette.service\n",
            "/sys/fs/cgroup/system.slice/vedette.service/memory.max": "314572800\n",
            "/sys/fs/cgroup/system.slice/vedette.service/memory.events": "low 0\noom 1\noom_kill 1\n",
        },
    )
    assert keys(board.memory(small, board.Appetite(), 300, 0)) == ["memory fine", "memory killed", "memory swap"]
    hungry = board.Appetite(cameras=3, nets=2, clips=True)
    assert keys(board.memory(small, hungry, 0, 7))[:3] == ["memory small", "memory limit", "memory killed-ours"]


# -- the disk -----------------------------------------------------------------------------------------

CARD = {
    "/sys/dev/block/179:2": "->../../devices/platform/mmc0/block/mmcblk0/mmcblk0p2",
    "/sys/devices/platform/mmc0/block/mmcblk0/mmcblk0p2/partition": "2\n",
    "/sys/block/mmcblk0/device/type": "MMC\n",
    "/sys/block/mmcblk0/device/name": "BJTD4R\n",
    "/sys/block/mmcblk0/device/date": "08/2021\n",
    "/sys/block/mmcblk0/device/life_time": "0x02 0x0a\n",
    "/sys/block/mmcblk0/device/pre_eol_info": "0x01\n",
    "/sys/block/mmcblk0/size": "62521344\n",
    "/sys/block/mmcblk0/stat": "9 0 9 9 9 0 90000000 9 0 9 9 0 0 0 0\n",
    "/sys/fs/ext4/mmcblk0p2/errors_count": "3\n",
    "/sys/fs/ext4/mmcblk0p2/last_error_time": "1760000000\n",
    "/proc/uptime": "172800.00 9.0\n",
}
MOUNTS = """\
21 28 0:20 / /proc rw,nosuid - proc proc rw
28 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw,data=writeback
31 28 0:24 / /run rw,nosuid - tmpfs tmpfs rw
40 28 0:30 / /var/lib/vedette ro,relatime - overlay overlay rw,lowerdir=/a
"""


def test_a_worn_card_with_errors_that_is_written_much_is_told(tmp_path):
    pi = lay(tmp_path, CARD)
    here = disk.mount(MOUNTS, "/var/lib/other")
    assert here is not None
    assert here.device == "179:2"
    assert disk.device(pi, here) == "mmcblk0"
    assert keys(disk.kind("/", here)) == ["disk risky"]
    (worn,) = disk.wear(pi, "/", "mmcblk0")
    assert (worn.key, worn.facts["used"]) == ("disk wearing", "90-100")
    assert "MMC BJTD4R 08/2021" in worn.text("en")
    (errors,) = disk.errors(pi, "/", here)
    assert "3 errors on mmcblk0p2" in errors.text("en")
    (busy,) = disk.writes(pi, "/", "mmcblk0", 0)  # 46 GB in two days on 32 GB
    assert (busy.key, busy.facts["daily"], busy.facts["years"]) == ("disk busy", "23 GB", "0.95")
    (tmp_path / "sys/block/mmcblk0/device/type").write_text("SD\n")
    assert keys(disk.wear(pi, "/", "mmcblk0")) == ["disk card"]


def test_a_state_that_a_restart_forgets_is_a_fault():
    assert keys(disk.kind("x", disk.mount(MOUNTS, "/var/lib/vedette/deep"))) == ["disk forgets", "disk read-only"]
    assert keys(disk.kind("x", disk.mount(MOUNTS, "/run/vedette"))) == ["disk forgets"]
    assert keys(disk.kind("x", None)) == ["disk unseen"]


@pytest.mark.parametrize(
    ("room", "wanted", "said"),
    [
        (disk.Room(30e9, 20e9, 1e6, 9e5), 1e9, ["disk room"]),
        (disk.Room(30e9, 2.5e9, 1e6, 9e5), 0, ["disk filling"]),
        (disk.Room(30e9, 1e9, 1e6, 9e5), 0, ["disk full"]),
        (disk.Room(30e9, 4e9, 1e6, 9e3), 3.5e9, ["disk room", "disk quota", "disk inodes"]),
        (disk.Room(30e9, 4e9, 0, 0), 3.5e9, ["disk room", "disk quota"]),  # btrfs has no fixed number of files
    ],
)
def test_room_is_held_against_what_the_site_may_fill(room, wanted, said):
    assert keys(disk.space("/", room, wanted, 0.2e9)) == said


def test_a_damaged_store_is_found_and_no_file_is_left_beside_it(memory):
    def made(name: str) -> sqlite3.Connection:
        line = sqlite3.connect(memory / name)
        line.execute("PRAGMA journal_mode=WAL")
        line.execute("CREATE TABLE t (x BLOB)")
        line.executemany("INSERT INTO t VALUES (?)", [(os.urandom(900),) for _ in range(200)])
        line.commit()
        return line

    made("history.db").close()
    open_ = made("alarms.db")  # as after a SIGKILL: what was committed is in the WAL
    before = sorted(path.name for path in memory.iterdir())
    assert "alarms.db-wal" in before
    assert "history.db-wal" not in before
    assert keys(disk.whole(memory, True)) == ["store running", "store running"]
    assert keys(disk.whole(memory, False)) == ["store whole", "store whole"]
    data = bytearray((memory / "history.db").read_bytes())
    data[4096 * 3 : 4096 * 4] = os.urandom(4096)
    (memory / "history.db").write_bytes(data)
    assert keys(disk.whole(memory, False)) == ["store whole", "store broken"]
    assert sorted(path.name for path in memory.iterdir()) == before
    open_.close()


# -- the clock ----------------------------------------------------------------------------------------

SUMMER = 1_785_000_000.0  # 2026-07-25
IN_STEP, FREE = Discipline(True, 1e-4, 0.004, -12.0), Discipline(False, 0.0, 16.0, 180.0)


@pytest.mark.parametrize(
    ("files", "kernel", "now", "said"),
    [
        ({"/proc/9/comm": "chronyd\n", "/sys/class/rtc/rtc0/name": "rtc-ds3231 1-0068"}, IN_STEP, SUMMER,
         {"clock synced", "clock battery"}),
        ({"/proc/9/comm": "systemd-timesyn\n"}, FREE, SUMMER, {"clock waiting", "clock no-battery", "clock drift"}),
        ({}, FREE, SUMMER, {"clock nobody", "clock no-battery", "clock drift"}),
        ({}, FREE, 1000.0, {"clock year", "clock nobody", "clock no-battery", "clock drift"}),
        ({}, IN_STEP, SUMMER - 86400, {"clock back", "clock synced", "clock no-battery"}),
        ({"/sys/class/rtc/rtc0/since_epoch": f"{SUMMER - 3600:.0f}"}, IN_STEP, SUMMER,
         {"clock synced", "clock battery-off"}),
        ({}, None, SUMMER, {"clock unknown", "clock no-battery"}),
    ],
)  # fmt: skip
def test_a_clock_that_nobody_keeps_or_that_cannot_be_right_is_told(tmp_path, files, kernel, now, said):
    pc = lay(tmp_path, {**files, "/etc/timezone": "Asia/Shanghai\n"})
    found = keys(hours.clock(pc, kernel, now, SUMMER - 60, None))
    assert set(found) == said | {"clock zone"}


def test_a_lossy_network_and_one_without_a_way_out_are_told(tmp_path):
    eth = "/sys/class/net/eth0"
    here = lay(
        tmp_path,
        {
            f"{eth}/device/uevent": "", f"{eth}/operstate": "up\n", f"{eth}/duplex": "half\n", f"{eth}/speed": "10\n",
            f"{eth}/statistics/rx_packets": "90000\n", f"{eth}/statistics/rx_crc_errors": "812\n",
            "/sys/class/net/docker0/operstate": "up\n",
            "/proc/net/wireless": "Inter-|\n face |\n wlan0: 0000   40.  -82.  -256        0      0\n",
            "/proc/net/route": "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
            "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n",
        },
    )  # fmt: skip
    assert keys(net.net(here, True)) == ["net half", "net damaged", "net faint", "net no-way"]
    assert "net no-way" not in keys(net.net(here, False))
    (tmp_path / "proc/net/route").write_text("Iface\neth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\n")
    assert keys(net.net(here, True))[-1] == "net fine"


# -- serial ports -------------------------------------------------------------------------------------


@pytest.fixture
def pty() -> Iterator[tuple[int, str]]:
    """A terminal: its hand, and the path of its other side."""
    master, slave = os.openpty()
    path = os.ttyname(slave)
    yield slave, path
    os.close(slave)
    os.close(master)


def test_a_port_that_somebody_has_or_that_is_not_ours_is_told(pty):
    hand, path = pty
    port = [ports.Port(path, "net")]
    mine = frozenset({os.getpid()})
    with subprocess.Popen(["sleep", "60"], stdin=hand) as other:
        try:
            (held,) = [one for one in ports.ports(HERE, ROOT, port, mine) if one.level == "fault"]
            assert (held.key, f"({other.pid})" in held.text("en")) == ("serial held", True)
        finally:
            other.kill()
    assert keys(ports.ports(HERE, ROOT, port, mine)) == ["serial fine"]
    os.chmod(path, 0o600)
    assert keys(ports.ports(HERE, NOBODY, port, mine)) == ["serial rule"]
    os.chmod(path, 0o660)
    if os.geteuid() == 0:
        os.chown(path, 0, 20)
        (rights,) = ports.ports(HERE, NOBODY, port, mine)
        assert "usermod -aG dialout nobody" in rights.do("en")
        assert keys(ports.ports(HERE, Person("vedette", 999, frozenset({20})), port, mine)) == ["serial fine"]
    assert keys(ports.ports(HERE, ROOT, [ports.Port("/dev/ttyUSB99", "net")], mine)) == ["serial missing"]
    assert keys(ports.ports(HERE, ROOT, [ports.Port("/etc/passwd", "net")], mine)) == ["serial odd"]


def test_what_disturbs_a_port_is_found_beside_it(tmp_path):
    gateway = lay(
        tmp_path,
        {
            "/sys/class/tty/ttyUSB0/device/latency_timer": "16\n",
            "/dev/serial/by-path/platform-1-port0": "->../../ttyUSB0",
            "/proc/cmdline": "console=ttyAMA0,115200 root=/dev/mmcblk0p2\n",
            "/proc/41/comm": "ModemManager\n",
            "/proc/tty/driver/ttyAMA": "serinfo:1.0 driver revision:\n"
            "0: uart:PL011 rev2 mmio:0xFE201000 irq:36 tx:6168 rx:9000 fe:120 pe:44 oe:2 RTS|CTS\n",
        },
    )
    try:
        for name in ("ttyUSB0", "ttyAMA0"):
            os.mknod(tmp_path / "dev" / name, 0o660 | 0o020000, os.makedev(188, 0))
    except PermissionError:
        pytest.skip("no right to make a device")
    (tmp_path / "proc/41/fd").mkdir()
    usb = {one.key: one for one in ports.ports(gateway, ROOT, [ports.Port("/dev/ttyUSB0", "net")], frozenset())}
    assert set(usb) == {"serial unstable", "serial latency", "serial modem", "serial fine"}
    assert 'url = "rtu:///dev/serial/by-path/platform-1-port0" in bus net' in usb["serial unstable"].do("en")
    lay(tmp_path, {"/run/udev/data/c188:0": "E:ID_MM_DEVICE_IGNORE=1\n"})
    stable = [ports.Port("/dev/serial/by-path/platform-1-port0", "net")]
    assert keys(ports.ports(gateway, ROOT, stable, frozenset())) == ["serial latency", "serial fine"]
    built_in = keys(ports.ports(gateway, ROOT, [ports.Port("/dev/ttyAMA0", "net")], frozenset()))
    assert built_in == ["serial console", "serial noise", "serial overrun"]
    assert set(keys(ports.ports(gateway, ROOT, [], frozenset()))) >= {"serial latency", "serial console"}


# -- buses, and the last day --------------------------------------------------------------------------


def test_a_bus_is_judged_in_the_words_of_the_local_page():
    def one(unit: int, **fields) -> Fared:
        usual = {"asked": 500, "silent": 0, "garbled": 0, "refused": 0, "late": 0, "mean": 0.02, "worst": 0.1}
        return Fared(f"d{unit}", unit, **usual | {"lost": False, "answered": True} | fields)

    def said(*devices: Fared) -> list[str]:
        told = tally.told([Tally("net", Instant(1.0, 2.0), 300.0, 0.5, True, devices)])
        return [row.facts.get("hint", row.key) for row in lines.bus(tally.heard(json.loads(json.dumps(told))[0]))]

    fine = [one(1), one(2)]
    assert said(*fine, one(7, silent=190)) == ["bus fine", "bus fine", "coach silent one"]
    assert said(one(1, silent=90), one(2, silent=100)) == ["coach silent", "coach silent"]
    assert said(*fine, one(3, garbled=50)) == ["bus fine", "bus fine", "coach garbled"]
    assert said(one(1, garbled=50), one(2, garbled=40)) == ["coach garbled all", "coach garbled all"]
    lost = one(9, silent=400, garbled=100, lost=True, answered=False, mean=float("nan"))
    assert said(*fine, lost) == ["bus fine", "bus fine", "coach noise"]
    assert said(one(1, asked=3)) == ["bus young"]


def test_buses_are_asked_for_a_while_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(bus, "STRETCH", 0.4)
    monkeypatch.setattr(coach, "FEW", 5)  # a busy machine asks less in its second
    relay = Memory()

    def script(unit: int, pdu: bytes) -> list[tuple[float, bytes]]:
        return [] if unit == 2 else [(0.0, relay.answer(pdu))]

    async def main() -> list[finding.Finding]:
        slave = await TcpSlave(script).start()
        rows = [{"key": "a", "at": "holding:1"}]
        site = {
            "name": "net",
            "url": f"tcp://127.0.0.1:{slave.port}",
            "timeout": 0.05,
            "device": [{"name": f"d{n}", "unit": n, "period": 0.02, "channel": rows} for n in (1, 2)],
            "output": [{"name": "r", "device": "d1", "at": "coil:0", "armed": True, "heartbeat": 1.0}],
        }
        try:
            return [row async for row in lines.ask(msgspec.convert(site, Modbus), 1.0)]
        finally:
            await slave.stop()

    fine, lost = asyncio.run(main())
    assert (fine.key, fine.what) == ("bus fine", "net/d1 (unit 1)")
    assert (lost.key, lost.facts["hint"]) == ("bus lost", "coach tcp")
    assert {code for code, _, _ in relay.asked} == {3}


def test_what_went_again_and_again_in_the_last_day_is_told(memory):
    kept, now = audit.Chain(memory, 1 << 20), 1_785_000_000.0
    for i, (kind, source) in enumerate([("device-lost", "sump")] * 4 + [("link-down", "p")] * 2 + [("crashed", "web")]):
        event = Event(kind, source, Instant(float(i), now - 90000 if i == 0 else now - 60 * i, True), f"{source} {i}")
        kept.append([msgspec.json.encode({"kind": "event", "event": event})])
    kept.close()
    rows = list(past.past(memory, now))
    assert [(row.key, row.what, row.facts["n"]) for row in rows] == [
        ("past crash", "web", 1),
        ("past device", "sump", 3),
    ]


# -- certificates -------------------------------------------------------------------------------------


def test_certificates_that_will_not_do_are_told_each_by_its_fault(tmp_path):
    authority, now = Authority(tmp_path / "authority", days=400), time.time()
    cert, key = tmp_path / "gw.pem", tmp_path / "gw.key"
    settings = Mqtt(name="p", url="mqtts://h", ca=str(authority.ca), cert=str(cert), key=str(key))

    def said(**how) -> set[str]:
        authority.issue("gw1", **how).put(cert, key)
        key.chmod(0o600)
        return set(keys(papers.secured(HERE, ROOT, "p", settings, now))) - {"paper valid"}

    assert said(days=90) == set()
    assert said(days=20) == {"paper soon"}
    assert said(days=3) == {"paper last"}
    assert said(days=-1) == {"paper over"}
    assert said(days=90, begun=-2) == {"paper early"}
    assert said(days=90, self_signed=True) == {"paper stranger"}
    said(days=90)
    key.chmod(0o644)
    assert keys(papers.secured(HERE, ROOT, "p", settings, now)) == ["paper open", "paper valid", "paper valid"]
    key.chmod(0o600)
    if os.geteuid() == 0:
        assert "paper rights" in keys(papers.secured(HERE, NOBODY, "p", settings, now))
    key.write_bytes(authority.issue("other").key_pem())
    (broken,) = [row for row in papers.secured(HERE, ROOT, "p", settings, now) if row.key == "paper broken"]
    assert "KEY_VALUES_MISMATCH" in broken.text("en")
    key.unlink()
    assert keys(papers.secured(HERE, ROOT, "p", settings, now)) == ["paper missing", "paper valid"]


def test_the_page_wants_a_certificate_in_its_own_name(tmp_path):
    authority, cert, key = Authority(tmp_path / "authority"), tmp_path / "page.pem", tmp_path / "page.key"
    authority.issue("page", ["gateway.mine.example", "10.0.0.7"], days=90).put(cert, key)
    key.chmod(0o600)

    def said(*names: str) -> list[str]:
        return keys(papers.page(HERE, ROOT, str(cert), str(key), names, time.time()))

    assert said("gw", "10.0.0.7") == ["paper valid"]
    assert said("gw", "gw.local") == ["paper name", "paper valid"]


# -- brokers ------------------------------------------------------------------------------------------

ACL = """
user gw1
topic write vedette/mine/gw1/alarm/#
topic write vedette/mine/gw1/telemetry/+
topic write vedette/mine/gw1/state
topic write vedette/mine/gw1/event
topic read vedette/mine/gw1/alarm/#
topic read vedette/mine/gw1/backfill/#
user wide
topic readwrite vedette/mine/gw1/#
"""


def asked(settings: Mqtt, evidence: bool = False) -> dict[str, list[str]]:
    """Rows of a broker: key -> topics, or texts."""

    async def all_of_it() -> dict[str, list[str]]:
        rights = brokers.native(settings.root("mine", "gw1"), settings, evidence)
        said: dict[str, list[str]] = {}
        async for row in brokers.broker(settings, rights, time.time()):
            assert row.text("zh")
            assert row.text("en")
            topic = str(row.facts.get("topic", row.text("en"))).removeprefix("vedette/mine/gw1/")
            said.setdefault(row.key.removeprefix("broker "), []).append(topic)
        return said

    return asyncio.run(all_of_it())


@needs_mosquitto
def test_what_a_brokers_rights_forbid_is_found_in_both_versions(tmp_path, monkeypatch):
    monkeypatch.setattr(brokers, "ANSWER", 0.5)
    monkeypatch.setenv("DOCTOR_TEST", "secret")
    users = {"gw1": "secret", "wide": "secret"}
    with Mosquitto(tmp_path, users=users, acl=ACL) as broker:
        own = {"name": "p", "url": broker.url, "user": "gw1", "password": "env:DOCTOR_TEST"}
        five = asked(Mqtt(**own), evidence=True)
        assert five["mute"] == ["backfill/...", "evidence/..."]
        assert five["speaks"] == ["alarm/...", "telemetry/..."]
        assert "user gw1" in five["connected"][0]
        assert "MQTT 5" in five["connected"][0]
        assert "vedette/mine/gw1/state" in five["untried"][0]
        old = asked(Mqtt(**own, version="3.1.1"))
        assert old["speaks"] == ["alarm/..."]  # it came back; of telemetry mosquitto gives nothing back
        assert old["swallowed"] == ["telemetry/...", "backfill/..."]
        wide = asked(Mqtt(**own | {"user": "wide"}))
        assert "untried" not in wide
        assert wide["speaks"][-1] == "..."
        monkeypatch.setenv("DOCTOR_TEST", "wrong")
        assert set(asked(Mqtt(**own))) == {"reached", "denied"}
        assert set(asked(Mqtt(**own, version="3.1.1"))) == {"reached", "denied"}
    log = (tmp_path / "mosquitto.log").read_text()
    assert len(set(re.findall(r"as (vedette-doctor-\w+) ", log))) == 3  # names of its own, a new one each time
    assert set(asked(Mqtt(**own))) == {"shut"}


@needs_mosquitto
def test_a_broker_that_is_not_believed_is_told_and_one_that_is_says_how_long(tmp_path):
    authority = Authority(tmp_path / "authority", days=90)
    with Mosquitto(tmp_path / "b", tls=authority.server(days=20)) as broker:
        good = asked(Mqtt(name="p", url=broker.url, ca=str(authority.ca)))
        assert {"connected", "paper soon", "paper valid"} < set(good)
        stranger = Authority(tmp_path / "stranger")
        assert set(asked(Mqtt(name="p", url=broker.url, ca=str(stranger.ca)))) == {"reached", "tls"}
        assert set(asked(Mqtt(name="p", url=broker.url.replace("mqtts", "mqtt")))) == {"reached", "closed"}


@needs_mosquitto
def test_a_subscription_that_is_denied_is_told(tmp_path):
    """mosquitto's file of rights denies none; its plugin does."""
    plugin = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), None)
    if plugin is None:
        pytest.skip("mosquitto has no plugin for rights here")
    access = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False, "unsubscribe": True}
    (tmp_path / "rights.json").write_text(json.dumps({"defaultACLAccess": access}))
    more = f"plugin {plugin}\nplugin_opt_config_file {tmp_path}/rights.json"
    with Mosquitto(tmp_path / "b", more=more) as broker:
        five = asked(Mqtt(name="p", url=broker.url, receipts=True))
        assert five["deaf"] == ["alarm/#", "receipt"]
        assert "hears" not in five
        old = asked(Mqtt(name="p", url=broker.url, version="3.1.1"))
        assert old["deaf"] == ["alarm/#"]
        assert old["blind"] == ["alarm/...", "telemetry/...", "backfill/..."]


# -- cameras ------------------------------------------------------------------------------------------

UVC = {  # as v4l2-ctl --list-formats-ext tells of a webcam: format -> size -> pictures/s
    b"MJPG": {(640, 480): [30], (1920, 1080): [30, 15]},
    b"YUYV": {(640, 480): [30], (1920, 1080): [5]},
}


def webcam(hand: int, what: int, data: bytearray) -> None:
    """The answers of such a driver, laid out by linux/videodev2.h."""
    index, second = struct.unpack_from("=II", data)
    try:
        if what == 0x80685600:
            struct.pack_into("=II", data, 84, 0x84A00001, 0x04200001)
        elif what == 0xC0405602:
            data[44:48] = list(UVC)[index]
        elif what == 0xC02C564A:
            struct.pack_into("=III", data, 8, 1, *list(UVC[struct.pack("=I", second)])[index])
        else:
            width, height = struct.unpack_from("=II", data, 8)
            rates = UVC[struct.pack("=I", second)][width, height]
            struct.pack_into("=III", data, 16, 1, 1, rates[index])
    except (IndexError, KeyError):
        raise OSError(22, "Invalid argument") from None


def test_what_a_camera_offers_is_held_against_what_the_site_wants():
    given = cameras.offers(-1, webcam)
    assert [str(one) for one in given] == [
        "MJPG 1920x1080@30", "YUYV 1920x1080@5", "MJPG 640x480@30", "YUYV 640x480@30",
    ]  # fmt: skip
    assert keys(cameras.fits("c", given, (1920, 1080, 30.0))) == ["camera fine"]
    assert keys(cameras.fits("c", given[1:], (1920, 1080, 10.0))) == ["camera rate"]
    assert keys(cameras.fits("c", given, (1280, 720, 10.0))) == ["camera size", "camera fine"]
    assert keys(cameras.fits("c", None, (1, 1, 1.0))) == ["camera none"]


def test_cameras_on_one_slow_bus_are_counted(tmp_path):
    usb = {"/sys/devices/usb1/1-1/speed": "480\n", "/sys/devices/usb1/1-1/busnum": "1\n"}
    usb |= {f"/sys/devices/usb1/1-1/1-1:{n}/name": "x" for n in (0, 2)}
    usb |= {f"/sys/class/video4linux/video{n}/device": f"->../../../devices/usb1/1-1/1-1:{n}" for n in (0, 2)}
    here = lay(tmp_path, usb)
    both = list(cameras.crowded(here, [("road", "/dev/video0"), ("cabin", "/dev/video2")]))
    assert [(row.key, row.what) for row in both] == [("camera crowded", "road, cabin")]
    assert keys(cameras.crowded(here, [("road", "/dev/video0")])) == []


def test_what_a_stream_answers_is_told_and_no_stream_is_begun():
    async def main() -> None:
        server = CameraServer("admin", "right")
        await server.start()
        try:
            for url in (server.rtsp_url, server.url):
                for user, password, said in (
                    ("admin", "right", "camera answers"),
                    ("admin", "wrong", "camera password"),
                    ("", "", "camera login"),
                ):
                    rows = await asyncio.to_thread(lambda u=url, a=user, b=password: list(cameras.stream("c", u, a, b)))
                    assert [row.key for row in rows] == [said], (url, user)
        finally:
            await server.stop()
        rows = await asyncio.to_thread(lambda: list(cameras.stream("c", server.rtsp_url, "", "")))
        assert [row.key for row in rows] == ["camera away"]

    asyncio.run(main())


def test_a_digest_is_the_one_of_the_standard(monkeypatch):
    monkeypatch.setattr(cameras.secrets, "token_hex", lambda n: "0a4f113b")
    head = (  # RFC 2617, 3.5
        'WWW-Authenticate: Digest realm="testrealm@host.com", qop="auth,auth-int", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"\r\n'
    )
    said = cameras.login(head, "GET", "/dir/index.html", "Mufasa", "Circle Of Life")
    assert 'response="6629fae49393a05397450978507c4ef1"' in said
    assert 'opaque="5ccc069c' in said


# -- other platforms, secrets -------------------------------------------------------------------------


@needs_sshd
def test_a_server_for_files_is_known_by_its_key_or_not_believed(tmp_path):
    async def said(**known: str) -> list[str]:
        one = {"name": "files", "mine": "1", "mine_name": "x", "url": server.url, "point": [], **known}
        place = msgspec.convert(one, Minefiles).place(asyncio.Event())
        return [row.key async for row in platforms.sftp("files", place)]

    with Sshd(tmp_path) as server:
        known = {"known_hosts": str(server.known_hosts)}
        assert asyncio.run(said(key=str(server.client), **known)) == ["platform login"]
        assert asyncio.run(said(key=str(server.host), **known)) == ["platform sftp"]
        assert asyncio.run(said(key=str(server.client), fingerprint="SHA256:" + "A" * 43)) == ["platform key"]


def test_a_platform_behind_tls_is_knocked_at_without_a_word(tmp_path, monkeypatch):
    monkeypatch.setattr(tls, "ALERT", 0.2)
    authority, stranger = Authority(tmp_path / "a"), Authority(tmp_path / "b")
    files = authority.server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    heard = []

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        for believed, key in ((authority, "platform believed"), (stranger, "platform tls")):
            one = Jt808(name="p", url=f"tls://127.0.0.1:{port}", phone="1", terminal="1", ca=str(believed.ca))
            assert [row.key async for row in platforms.line("p", ("127.0.0.1", port), one)] == ["platform reached", key]
        server.close()
        await server.wait_closed()
        one = Jt808(name="p", url=f"tcp://127.0.0.1:{port}", phone="1", terminal="1")
        assert [row.key async for row in platforms.line("p", ("127.0.0.1", port), one)] == ["platform away"]

    asyncio.run(main())
    assert set(heard) <= {b""}


def test_secrets_are_for_the_agent_only_and_are_not_said(tmp_path, monkeypatch):
    (tmp_path / "word").write_text("hunter2")
    (tmp_path / "word").chmod(0o644)
    monkeypatch.setenv("DOCTOR_WORD", "hunter2")
    one = Mqtt(name="p", url="mqtt://h", user="u", password=f"file:{tmp_path}/word")
    wanted = [*papers.references(one), "env:DOCTOR_WORD", "env:DOCTOR_OTHER", "file:/nowhere", "credential:x"]
    rows = list(papers.kept(HERE, ROOT, wanted))
    assert keys(rows) == ["secret open", "secret fine", "secret unseen", "secret missing", "secret unseen"]
    assert not any("hunter2" in str(doctor.plain(row, "en")) for row in rows)
    pid = lay(tmp_path / "m", {"/proc/7/environ": "HOME=/\0DOCTOR_OTHER=there\0DOCTOR_WORD=else\0"})
    assert papers.borrowed(pid, wanted, 7) == {"DOCTOR_OTHER": "there"}


# -- systemd, ports -----------------------------------------------------------------------------------


def test_a_unit_that_keeps_a_device_from_the_agent_is_told():
    shown = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=disabled\nNRestarts=4\n"
    shown += "DevicePolicy=closed\nDeviceAllow=char-ttyUSB rw\nMemoryMax=300000000\n"
    unit = service.parsed(shown)
    rows = list(service.units(unit, ["/dev/ttyUSB0", "/dev/video0"]))
    assert keys(iter(rows)) == ["service active", "service restarts", "service disabled", "service closed"]
    assert "DeviceAllow=char-video4linux rw" in rows[-1].do("en")
    assert unit.memory == 300
    assert keys(service.units(service.parsed("LoadState=not-found\n"), [])) == ["service no-unit"]
    assert keys(service.units(service.parsed("LoadState=loaded\nActiveState=failed\nResult=exit-code\n"), [])) == [
        "service failed"
    ]


def test_files_of_another_user_in_the_state_are_found(memory):
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    memory.chmod(0o700)
    os.chown(memory, NOBODY.uid, NOBODY.uid)
    (memory / "alarms.db").touch()
    now = service.Running()
    (row,) = service.state(HERE, NOBODY, memory, now)
    assert row.key == "state strangers"
    assert "chown -R nobody:" in row.do("en")
    assert keys(service.state(HERE, NOBODY, Path("/root/x"), now)) == ["state impossible"]
    assert keys(service.state(HERE, Person("x", 7, frozenset()), memory, now)) == ["state rights"]


def test_a_taken_port_and_a_state_that_two_have_are_told(memory):
    (memory / "alarms.db").touch()
    with open(memory / "alarms.db") as file, subprocess.Popen(["sleep", "60"], stdin=file) as other:
        try:
            assert keys(service.state(HERE, ROOT, memory, service.Running())) == ["state fine", "state two"]
        finally:
            other.kill()
    with socket.create_server(("127.0.0.1", 0)) as server:
        (row,) = service.taken(HERE, server.getsockname()[1], "web", service.Running())
        assert row.key == "port taken"
        assert f"({os.getpid()})" in row.text("en")
    assert keys(service.taken(HERE, free_port(), "web", service.Running())) == ["port free"]


# -- the verb -----------------------------------------------------------------------------------------

SITE = """
[site]
name = "mine"
[store]
path = "state"
[[bus]]
name = "net"
url = "tcp://127.0.0.1:{modbus}"
timeout = 0.1
[[bus.device]]
name = "fan"
unit = 1
period = 0.1
[[bus.device.channel]]
key = "a"
at = "holding:1"
[[uplink]]
name = "p"
url = "{url}"
user = "wide"
password = "env:VEDETTE_TEST_WORD"
[[uplink]]
name = "scada"
kind = "sparkplug"
url = "{url}"
user = "wide"
password = "env:VEDETTE_TEST_WORD"
[[uplink]]
name = "files"
kind = "minefiles"
url = "file://{folder}/files"
mine = "1"
mine_name = "x"
[[uplink.point]]
channel = "fan/a"
code = "1"
type = "0001"
title = "fan"
"""


@needs_mosquitto
def test_a_running_agent_is_asked_and_not_disturbed(tmp_path, capsys, monkeypatch):
    site, state = tmp_path / "site.toml", tmp_path / "state"

    def told(*more: str) -> tuple[int, dict[str, dict]]:
        code = cli.main(["doctor", "-c", str(site), "--json", *more])
        answer = json.loads(capsys.readouterr().out)
        return code, {row["key"]: row for row in answer["findings"]} | {"about": answer}

    with Mosquitto(tmp_path / "broker", users={"wide": "secret"}, acl=ACL) as broker:
        site.write_text(SITE.format(modbus=free_port(), url=broker.url, folder=tmp_path))
        code, rows = told()
        assert code == 1
        assert {"bus away", "state new", "secret unseen", "broker secret", "platform no-folder"} < rows.keys()
        (tmp_path / "files").mkdir()
        run = [sys.executable, "-m", "agent.cli", "run", "-c", str(site)]
        word = os.environ | {"VEDETTE_TEST_WORD": "secret"}
        with subprocess.Popen(run, stdout=subprocess.PIPE, env=word) as agent:
            try:
                until(lambda: control.ask(state, {"verb": "lines"}).get("lost"))
                until(lambda: control.ask(state, {"verb": "status"})["uplinks"].get("p") == "up")
                monkeypatch.delenv("VEDETTE_TEST_WORD", raising=False)
                code, rows = told("--lang", "zh")
                assert rows["about"]["agent"] == str(agent.pid)
                assert {"state agent", "bus closed", "bus untried", "store running", "secret fine"} < rows.keys()
                assert ("link up", "p") in {(row["key"], row["what"]) for row in rows["about"]["findings"]}
                assert {"broker connected", "broker speaks", "broker untried", "platform folder"} < rows.keys()
                assert ": refused;" in rows["bus closed"]["facts"]["why"]
                assert rows["state agent"]["text"].startswith("程序正在运行")
                assert control.ask(state, {"verb": "status"})["uplinks"]["p"] == "up"
            finally:
                monkeypatch.delenv("VEDETTE_TEST_WORD", raising=False)
                agent.send_signal(signal.SIGTERM)
                agent.communicate(timeout=20)
    log = (tmp_path / "broker" / "mosquitto.log").read_text()
    assert log.count(" as vedette-mine-gw1-p ") == 1  # its session was left to it
    assert cli.main(["doctor", "--wrong", "--lang", "en"]) in (0, 1)
    text = capsys.readouterr().out
    assert "fine   " not in text
    assert "\033" not in text
    assert text.splitlines()[-2].startswith("faults ")


def test_everything_that_a_site_may_use_has_its_check(tmp_path):
    port = free_port()
    here = f"127.0.0.1:{port}"
    buses = [
        f'name = "gnss"\ndriver = "gnss"\nurl = "tcp://{here}"',
        'name = "gps2"\ndriver = "gnss"\nurl = "/dev/ttyUSB99"',
        'name = "net"\nurl = "rtu:///dev/ttyUSB98"\n[[bus.device]]\nname = "fan"\n'
        '[[bus.device.channel]]\nkey = "a"\nat = "holding:1"',
        f'name = "near"\ndriver = "neighbour"\nurl = "mqtt://{here}"\n[[bus.neighbour]]\nname = "n"\nsite = "other"',
        f'name = "yard"\ndriver = "video"\nurl = "rtsp://{here}/x"\n[bus.evidence]\nwidth = 640',
        'name = "road"\ndriver = "video"\nurl = "/dev/video98"',
        'name = "film"\ndriver = "video"\nurl = "film.mp4"',
    ]
    uplinks = [
        f'name = "jt"\nkind = "jt808"\nurl = "tcp://{here}"\nphone = "1"\nterminal = "1"',
        f'name = "hj"\nkind = "hj212"\nurl = "tcp://{here}"\nmn = "1"\npassword = "env:NONE"\n'
        '[[uplink.factor]]\ncode = "a01"\nchannel = "fan/a"',
    ]
    rows = [*(f"[[bus]]\n{one}" for one in buses), *(f"[[uplink]]\n{one}" for one in uplinks)]
    (tmp_path / "site.toml").write_text("\n".join(['[site]\nname = "m"', f'[web]\nlisten = "{here}"', *rows]))
    v = visit.begin(HERE, config.load(tmp_path / "site.toml"), "")
    said = {(row.key, row.what.split()[0]) for row in visit.findings(v)}
    assert {
        ("bus away", "gnss"),
        ("serial missing", "/dev/ttyUSB99"),
        ("serial missing", "/dev/ttyUSB98"),
        ("broker shut", "near"),
        ("camera away", "yard"),
        ("camera missing", "road"),
        ("camera hindered", "film"),
        ("platform away", "jt"),
        ("platform away", "hj"),
        ("secret unseen", "env:NONE"),
        ("port free", "web"),
    } <= said
    assert not any(key == "doctor stopped" for key, _ in said)


def until(there) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(LineLost):
            if there():
                return
        time.sleep(0.05)
    raise AssertionError("in vain")
