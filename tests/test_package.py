"""The Debian package on a clean Debian without a network: what a technician has in his hands.

Two machines of namespaces (`tools/machine.py`): one without systemd, for the package alone; one that boots, for its
units, which systemd itself judges.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from package import build, wheels
from tests.tools.machine import Machine, base, missing

SITE = """
[site]
name = "shaft"
node = "gw1"

[store]
path = "/var/lib/vedette"

[[bus]]
name = "plant-net"
url = "tcp://127.0.0.1:5020"

[[bus.device]]
name = "heading"
unit = 1
period = 0.5
profile = "vedette-sim-heading"

[[rule]]
name = "methane"
kind = "high"
channel = "heading/ch4_t1"
limit = -1.0 # always: what matters here is that it is kept
level = "red"

[[uplink]] # nobody is there: everything has to wait
name = "platform"
kind = "mqtt"
url = "mqtt://127.0.0.1:1883"
"""
SERIAL = """
[[bus]]
name = "line"
url = "rtu:///dev/ttyS0"

[[bus.device]]
name = "sump"
unit = 2
period = 1.0
profile = "vedette-sim-sump"
"""
PLANT = """
[scene]
title = "One heading"
seconds = 3600.0
seed = 1

[[plant]]
name = "heading"
kind = "heading"

[[line]]
name = "plant-net"
url = "tcp://127.0.0.1:5020"

[[device]]
name = "heading"
line = "plant-net"
unit = 1
plant = "heading"
profile = "vedette-sim-heading"
"""
FILE = "/etc/vedette/site.toml"
STATE = "/var/lib/vedette"
PLACE = build.site_packages(wheels.Target(build.here(), "3.11"))

pytestmark = [
    pytest.mark.skipif(missing() != "", reason=missing()),
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb"),
    pytest.mark.skipif(not Path("/usr/bin/python3.11").exists(), reason="no Debian 12: its Python makes the byte code"),
]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The agent's package, and the one that follows it; without OpenCV, which takes a minute to unpack."""
    out = tmp_path_factory.mktemp("dist")
    target = wheels.Target(build.here(), "3.11")
    try:
        base()
    except RuntimeError as error:
        pytest.skip(str(error))
    return (
        build.built(target, "1", "zstd", out, "vedette")[0],
        build.built(target, "2", "zstd", out, "vedette")[0],
    )


@pytest.fixture
def bare(tmp_path: Path, packages: tuple[Path, Path]) -> Iterator[Machine]:
    with Machine(tmp_path / "bare", boots=False) as machine:
        _carried(machine, packages)
        yield machine


@pytest.fixture
def gateway(tmp_path: Path, packages: tuple[Path, Path]) -> Iterator[Machine]:
    with contextlib.ExitStack() as stack:
        try:
            machine = stack.enter_context(Machine(tmp_path / "gateway", boots=True))
        except RuntimeError as error:
            pytest.skip(f"systemd does not boot here: {str(error)[-300:]}")
        _carried(machine, packages)
        yield machine


def _carried(machine: Machine, packages: tuple[Path, Path]) -> None:
    for package in packages:
        shutil.copy(package, machine.path("/root"))
    machine.path("/root/plant.toml").write_text(PLANT)


def _configured(machine: Machine, text: str) -> None:
    machine.path(FILE).write_text(text)
    machine.run("chgrp", "vedette", FILE)
    machine.run("chmod", "640", FILE)


def _alarms(machine: Machine) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(machine.run("vedette", "alarms", "-c", FILE, "--json").stdout)
    return told


def test_one_file_installs_without_a_network_and_gives_back_only_what_it_is_asked_for(
    bare: Machine, packages: tuple[Path, Path]
) -> None:
    first, second = (f"/root/{package.name}" for package in packages)
    assert bare.run("cat", "/proc/net/dev").stdout.count(":") == 1, "there must be no network but the loopback"
    assert "not be installed" not in bare.run("dpkg", "--install", first).stdout
    assert bare.run("dpkg", "--audit").stdout == ""
    assert bare.run("dpkg", "--verify", "vedette").stdout == ""
    assert bare.run("vedette", "version").stdout.startswith("vedette ")
    assert {"dialout", "video"} <= set(bare.run("id", "-nG", "vedette").stdout.split())
    assert bare.run("stat", "-c", "%a %U:%G", "/etc/vedette", STATE).stdout.split("\n")[:2] == [
        "750 root:vedette",
        "700 vedette:vedette",
    ]
    modules = "agent.daemon, agent.web.app, simulators.demo, argon2, asyncssh, bcrypt, numpy.fft, pynmeagps, serial"
    bare.run("/opt/vedette/bin/python3", "-Ps", "-W", "error::SyntaxWarning", "-c", f"import {modules}")
    written = bare.run("find", "/opt/vedette", "-newer", "/root/plant.toml", "-type", "f").stdout
    assert written == "", "byte code must come with the package"
    example = bare.run("vedette", "check", "-c", "/usr/share/doc/vedette/examples/site.example.toml")
    assert "no faults" in example.stdout

    parts = json.loads(bare.path("/usr/share/doc/vedette/sbom.cdx.json").read_text())["components"]
    installed = {path.name.partition("-")[0] for path in bare.path(str(PLACE)).glob("*.dist-info")} - {"vedette"}
    assert {part["name"].replace("-", "_") for part in parts} == installed
    lock = (build.ROOT / "requirements.lock").read_text()
    assert all(f"{one['name']}=={one['version']}" in lock and one["hashes"][0]["content"] in lock for one in parts)

    _configured(bare, SITE)
    with _running(bare):
        bare.until("vedette", "alarms", "-c", FILE, says="ch4_t1")
        (before,) = (alarm for alarm in _alarms(bare) if alarm["rule"] == "methane")
    entries = _entries(bare)
    held = {path: bare.run("stat", "-c", "%U %a %i", path).stdout for path in (FILE, f"{STATE}/alarms.db")}

    bare.run("dpkg", "--install", second)
    assert bare.run("dpkg-query", "-W", "-f", "${Version}", "vedette").stdout.endswith("-2")
    assert bare.path(FILE).read_text() == SITE
    assert held == {path: bare.run("stat", "-c", "%U %a %i", path).stdout for path in held}
    with _running(bare):
        bare.until("vedette", "queue", "-c", FILE, says="journal")
        (after,) = (alarm for alarm in _alarms(bare) if alarm["rule"] == "methane")
        owed = json.loads(bare.run("vedette", "queue", "-c", FILE, "--json").stdout)["waiting"]
    assert after["id"] == before["id"], "the alarm of before is still open, and still the same"
    assert sum(owed.values()) > 0
    assert _entries(bare) > entries > 0

    bare.run("dpkg", "--remove", "vedette")
    assert not bare.path("/opt/vedette").exists()
    assert not os.path.lexists(bare.path("/usr/bin/vedette"))
    assert bare.path(FILE).read_text() == SITE
    assert bare.path(f"{STATE}/alarms.db").exists()
    bare.run("dpkg", "--purge", "vedette")
    assert not bare.path("/etc/vedette").exists()
    assert not bare.path(STATE).exists()


@contextlib.contextmanager
def _running(machine: Machine) -> Iterator[None]:
    """The plant and the agent, by hand, as the account of the package."""
    machine.run("install", "-m", "644", "/root/plant.toml", "/run/plant.toml")
    plant = machine.running("vedette", "simulate", "/run/plant.toml", user="vedette")
    with plant, machine.running("vedette", "run", "-c", FILE, user="vedette"):
        yield


def _entries(machine: Machine) -> int:
    """How many entries the journal has, which is whole."""
    return int(json.loads(machine.run("vedette", "audit", "-c", FILE, "--json").stdout)["records"])


def test_systemd_runs_it_closed_in_and_lets_it_at_what_the_site_names(
    gateway: Machine, packages: tuple[Path, Path]
) -> None:
    first, second = (f"/root/{package.name}" for package in packages)
    gateway.run("dpkg", "--install", first)
    assert gateway.run("systemctl", "is-active", "vedette", check=False).stdout.strip() == "inactive"
    assert gateway.run("systemctl", "is-failed", "vedette", check=False).stdout.strip() == "inactive"
    units = ("vedette.service", "vedette-devices.service", "vedette-devices.path")
    assert gateway.run("systemctl", "is-enabled", *units).stdout.split() == ["enabled"] * 3
    assert gateway.run("systemd-analyze", "verify", *units).stderr == ""
    gateway.run("systemd-analyze", "security", "--offline=true", "--threshold=15", "vedette.service")

    gateway.run("mknod", "-m", "660", "/dev/ttyS0", "c", "4", "64")
    gateway.run("chgrp", "dialout", "/dev/ttyS0")
    gateway.run("systemd-run", "--quiet", "--unit=plant", "vedette", "simulate", "/root/plant.toml")
    _configured(gateway, SITE)
    gateway.run("systemctl", "start", "vedette")  # comes back when it is ready
    gateway.until("vedette", "alarms", "-c", FILE, says="ch4_t1")
    (before,) = (alarm for alarm in _alarms(gateway) if alarm["rule"] == "methane")
    pid = gateway.run("systemctl", "show", "--property=MainPID", "--value", "vedette").stdout.strip()
    assert not _may(gateway, pid, "/dev/ttyS0")
    _configured(gateway, SITE + SERIAL)
    gateway.until("systemctl", "show", "--property=DeviceAllow", "vedette", says="/dev/ttyS0 rw")
    assert _may(gateway, pid, "/dev/ttyS0"), "while it runs"
    gateway.run("systemctl", "reload", "vedette")
    _configured(gateway, SITE + SERIAL.replace("unit = 2", "unit = 2000"))
    assert gateway.run("systemctl", "reload", "vedette", check=False).returncode != 0
    _configured(gateway, SITE + SERIAL)
    assert gateway.run("systemctl", "is-active", "vedette").stdout.strip() == "active"
    assert gateway.run("systemctl", "show", "--property=MainPID", "--value", "vedette").stdout.strip() == pid
    log = gateway.run("journalctl", "--unit=vedette", "--output=json").stdout.splitlines()
    said = [(entry["PRIORITY"], entry["MESSAGE"]) for entry in map(json.loads, log)]
    for priority, begin in (("6", "started "), ("2", "alarm-raised level=red "), ("4", "line-lost ")):
        assert {told for told, text in said if text.startswith(begin)} == {priority}, begin
    reloads = [text.split()[0] for _, text in said if text.startswith("configuration-")]
    assert reloads == ["configuration-changed", "configuration-refused"]

    gateway.run("dpkg", "--install", second)
    gateway.until("vedette", "queue", "-c", FILE, says="journal")
    assert gateway.run("systemctl", "show", "--property=MainPID", "--value", "vedette").stdout.strip() != pid
    assert [alarm["id"] for alarm in _alarms(gateway) if alarm["rule"] == "methane"] == [before["id"]]
    gateway.run("dpkg", "--purge", "vedette")
    assert gateway.run("systemctl", "is-active", *units, check=False).stdout.split() == ["inactive"] * 3
    assert not list(gateway.path("/etc/systemd/system").glob("*/vedette*"))


def _may(machine: Machine, pid: str, path: str) -> bool:
    """Whether the control groups of a process let it at a device; what the device says to that is another matter."""
    rows = [row.split(":", 2)[1:] for row in machine.run("cat", f"/proc/{pid}/cgroup").stdout.split()]
    groups = [f"/sys/fs/cgroup/{kinds.removeprefix('name=')}{group}" for kinds, group in rows]
    there = [group for group in groups if group.endswith("vedette.service") and machine.path(group).exists()]
    assert there, rows
    joins = "".join(f"echo $$ >{group}/cgroup.procs && " for group in there)
    told = machine.run("sh", "-c", f"{joins} echo in; exec 3<>{path}", check=False)
    assert told.stdout.strip() == "in", told
    return "Operation not permitted" not in told.stderr


def test_the_same_commit_gives_the_same_bytes(packages: tuple[Path, Path], tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        (again,) = build.built(wheels.Target(build.here(), "3.11"), "1", "zstd", tmp_path, "vedette")
    finally:
        os.umask(umask)
    assert again.read_bytes() == packages[0].read_bytes()


def test_man_finds_the_manual_in_the_language_of_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("man") is None or shutil.which("localedef") is None:
        pytest.skip("no man, or no locales")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")  # whoever builds it reads Chinese
    build._lay_words(tmp_path)
    made = subprocess.run(["localedef", "-i", "zh_CN", "-f", "UTF-8", tmp_path / "zh_CN.UTF-8"], capture_output=True)
    if not (tmp_path / "zh_CN.UTF-8/LC_MESSAGES").exists():
        pytest.skip(f"no Chinese locale can be made: {made.stderr.decode(errors='replace')[-200:]}")
    for language, says in (("zh_CN.UTF-8", "红色报警和联锁不得搁置"), ("C.UTF-8", "Nothing red and no interlock")):
        env = {"MANPATH": str(tmp_path / "usr/share/man"), "LOCPATH": str(tmp_path), "LC_ALL": language}
        words = ["man", "--warnings", "vedette"]
        shown = subprocess.run(words, env=os.environ | env, capture_output=True, encoding="utf-8", check=True)
        assert says in shown.stdout.replace("\n" + 14 * " ", " " if language.startswith("C") else "")
        assert shown.stderr == ""
    assert "动词" not in (tmp_path / "usr/share/bash-completion/completions/vedette").read_text("utf-8")
    assert "守护进程" not in (tmp_path / "usr/share/fish/vendor_completions.d/vedette.fish").read_text("utf-8")
