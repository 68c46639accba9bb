"""The first site file: asked for on a real terminal, or found on a line, and right at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pty
import re
import select
import sys
from pathlib import Path

import pytest
from pymodbus import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent import config, newsite, profiles
from agent.cli import main as cli
from simulators.modbus import Device, PtyLine, Register, TcpLine, registers

DEVICES = profiles.SHIPPED / "devices"
KNOWN = profiles.profiles()


def taken(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(text, "utf-8")
    return config.load(path)


def test_whatever_is_answered_is_a_site_that_loads(tmp_path):
    kinds = newsite.device_profiles(tmp_path)
    assert {"vedette-sim-heading", "generic-float32"} <= kinds.keys()
    hazards = [newsite.HAZARDS, ("vehicle",)]
    lines = ("tcp://10.0.0.5", "/dev/ttyUSB0", "rtu+tcp://10.0.0.5:4001")
    for language, which, line, broker in itertools.product(
        ("en", "zh"), hazards, lines, ("", "b.example", "mqtt://b:1884")
    ):
        answers = newsite.Answers(language, "北矿", "gw1", which, line, broker=broker, user="u" if broker else "")
        site = taken(tmp_path, newsite.written(answers, [newsite.blank(answers)], KNOWN))
        assert (site.site.name, site.site.language, len(site.uplinks)) == ("北矿", language, bool(broker))
    for name in ("generic-4-20ma-8ch", "vedette-sim-tailings"):
        answers, table = newsite.Answers(device=name), kinds[name]
        site = taken(tmp_path, newsite.written(answers, [newsite.of_profile(name, 3, table)], KNOWN))
        assert len(site.layouts["station"]) == len(table["channel"])


def test_limits_are_proposed_by_name_and_unit_and_those_of_the_site_are_left_open(tmp_path):
    answers = newsite.Answers(hazards=("gas", "water"))
    text = newsite.written(answers, [newsite.blank(answers)], KNOWN)
    assert {"coal.ch4.T1.alarm", "coal.ch4.T1.cut"} <= {rule.name for rule in taken(tmp_path, text).rules}
    assert newsite.proposed("ch4", "m", KNOWN) == ""  # metres of methane
    assert newsite.proposed("co_2", "mg/m3", KNOWN) == "coal/co"
    filled = re.sub(r"#\[\[rule\]\]\n(#.*\n)+", lambda rule: rule[0].replace("\n#", "\n")[1:], text)
    filled = filled.replace("high = ...", "high = 2.6").replace("flood = ...", "flood = 3.2")
    assert {"station-sump.high", "station-sump.flood"} <= {rule.name for rule in taken(tmp_path, filled).rules}


def talk(command, answers, folder):
    """Answer the questions of a program on a terminal of its own. All that stood there, and how it ended."""
    child, master = pty.fork()
    if not child:
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-m", *command])
    shown, left = b"", list(answers)
    while True:
        assert select.select([master], [], [], 60)[0], shown.decode()
        try:
            more = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        shown += more
        if shown.rstrip(b" ").endswith(b"]:") and left:
            os.write(master, left.pop(0).encode() + b"\n")
            shown += b"\n"
    os.close(master)
    return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), left


def test_a_dozen_questions_on_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    answers = ["zh", "a b", "北矿", "", "gas,water", "/dev/ttyUSB0", "19200", "E", "7", "generic-float32"]
    answers += ["broker.example", "no", "north", "hunter2", "env:SECRET", "no", ""]
    shown, code, left = talk(["agent.cli", "init"], answers, tmp_path)
    assert (code, left) == (0, []), shown
    assert "只能用字母" in shown  # of `a b`, which was asked again
    assert "env:NAME, file:/PATH" in shown  # of a bare password
    assert "vedette check -c site.toml" in shown
    text = (tmp_path / "site.toml").read_text("utf-8")
    assert "hunter2" not in text
    site = config.load(tmp_path / "site.toml")
    (line,) = site.drivers
    assert (line.url, line.baud, line.parity, line.device[0].unit) == ("rtu:///dev/ttyUSB0", 19200, "E", 7)
    (up,) = site.uplinks
    assert (up.url, up.user, up.password) == ("mqtt://broker.example:1883", "north", "env:SECRET")
    assert site.web is None


def test_whoever_reads_chinese_is_asked_in_chinese_from_the_first_question_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    shown, code, _ = talk(["agent.cli", "init", "--lang", "zh"], [""] * 20, tmp_path)
    assert code == 0, shown
    assert "报警语言,en 或 zh [zh]:" in shown
    assert "Language" not in shown
    assert config.load(tmp_path / "site.toml").site.language == "zh"


def test_nothing_is_overwritten_unasked(tmp_path, capsys):
    path = tmp_path / "site.toml"
    path.write_text("mine")
    assert cli(["init", "--yes", "-c", str(path)]) == os.EX_CANTCREAT
    assert path.read_text() == "mine"
    assert cli(["init", "--yes", "--force", "-c", str(path)]) == 0
    assert (tmp_path / "site.toml.last").read_text() == "mine"
    assert cli(["check", "-c", str(path)]) == 0
    capsys.readouterr()
    for wrong in (["--site", "a/b"], ["--device", "nope"], ["--password", "hunter2", "--broker", "b", "--user", "u"]):
        assert cli(["init", "--yes", "-c", str(tmp_path / "other.toml"), *wrong]) == os.EX_USAGE
        assert wrong[0].removeprefix("--") in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["site.toml", "site.toml.last"]


def simulated(name, unit):
    """A device of a profile that ships, somewhere in its range."""
    device = Device(name, unit, registers(DEVICES / f"{name}.toml"))
    for row in newsite.device_profiles(Path())[name]["channel"]:
        low, high = row.get("low", 0.0), row.get("high", 2.0)
        device.values[row["key"]] = low + 0.3 * (high - low)
    return device


@contextlib.asynccontextmanager
async def started(line):
    await line.start()
    try:
        yield line
    finally:
        await line.stop()


async def scanned(path, line, *more):
    args = ["init", "--yes", "--scan", line, "-c", str(path), *more]
    return await asyncio.to_thread(cli, args)


def test_a_scan_finds_devices_by_their_registers_and_proposes_limits(tmp_path, capsys):
    async def main():
        devices = [simulated("vedette-sim-heading", 2), simulated("vedette-sim-sump", 5)]
        devices.append(Device("odd", 9, [Register("x", "input", 0, "uint16")]))
        async with started(TcpLine(devices)) as line:
            assert await scanned(tmp_path / "site.toml", line.url, "--units", "1-10") == 0
            assert await asyncio.to_thread(cli, ["test", "-c", str(tmp_path / "site.toml")]) == 0

    asyncio.run(main())
    site = config.load(tmp_path / "site.toml")
    (line,) = site.drivers
    assert [(device.name, device.unit) for device in line.device] == [("unit-2", 2), ("unit-5", 5), ("unit-9", 9)]
    assert len(site.layouts["unit-2"]) == len(registers(DEVICES / "vedette-sim-heading.toml"))
    names = {rule.name for rule in site.rules}
    assert {"coal.ch4.T1.alarm", "coal.ch4.T2.alarm"} <= names
    assert "LOOK AT THIS" in (tmp_path / "site.toml").read_text()  # at the odd one
    assert (
        "unit-5/sump" in (tmp_path / "site.toml").read_text() or "unit-5/level" in (tmp_path / "site.toml").read_text()
    )


def test_a_scan_asks_devices_who_they_are_and_believes_a_profile_of_the_site(tmp_path, capsys):
    (tmp_path / "devices").mkdir()
    mine = 'maker = "ACME"\nmodel = "PM-5"\n[[channel]]\nkey = "ch4"\nat = "input:3"\nunit = "%"\nscale = 0.01\n'
    (tmp_path / "devices" / "acme-pm5.toml").write_text(mine)

    async def main():
        words = SimData(0, values=[7] * 10, datatype=DataType.REGISTERS)
        who = ModbusDeviceIdentification(
            info_name={"VendorName": "ACME", "ProductCode": "PM-5", "MajorMinorRevision": "2"}
        )
        server = ModbusTcpServer(SimDevice(3, [words]), address=("127.0.0.1", 0), identity=who)
        await server.serve_forever(background=True)
        port = server.transport.sockets[0].getsockname()[1]
        try:
            assert await scanned(tmp_path / "site.toml", f"tcp://127.0.0.1:{port}", "--units", "1-4") == 0
        finally:
            await server.shutdown()

    asyncio.run(main())
    site = config.load(tmp_path / "site.toml")
    assert "ACME PM-5" in capsys.readouterr().err
    assert site.layouts["unit-3"].key == ("ch4",)
    assert "coal.ch4.T1.alarm" in {rule.name for rule in site.rules}


def test_a_scan_finds_how_a_serial_line_is_set(tmp_path, capsys):
    async def main():
        async with started(PtyLine([simulated("vedette-sim-heading", 1)])) as line:
            return await scanned(tmp_path / "site.toml", line.path, "--units", "1-2")

    assert asyncio.run(main()) == 0
    (line,) = config.load(tmp_path / "site.toml").drivers
    assert (line.baud, line.parity) == (9600, "N")
    assert line.device[0].channel[0].key == "ch4_t1"


def test_a_scan_that_finds_nobody_says_so_and_writes_nothing(tmp_path, capsys):
    async def main():
        async with started(TcpLine([])) as line:
            return await scanned(tmp_path / "site.toml", line.url, "--units", "1-3")

    assert asyncio.run(main()) == os.EX_USAGE
    assert "nobody answers" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("units", ["x", "5-1", "0-999"])
def test_addresses_that_are_none_are_refused(tmp_path, units, capsys):
    args = ["init", "--yes", "--scan", "tcp://127.0.0.1:1", "--units", units, "-c", str(tmp_path / "s.toml")]
    assert cli(args) == os.EX_USAGE
    assert "--units" in capsys.readouterr().err
