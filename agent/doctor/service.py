"""The agent as this machine sees it: is it running, as whom, by which unit, and may it do what it must."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import stat
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import control
from ..core.errors import LineLost
from .finding import Finding, found
from .machine import ENTER, READ, WRITE, Machine, Person, group, groups_of, holders, mode, person, processes, user

UNIT = "vedette.service"
ASKED = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "UnitFileState",
    "NRestarts",
    "User",
    "SupplementaryGroups",
    "MemoryMax",
    "DevicePolicy",
    "DeviceAllow",
)
CLASSES = {  # device -> how DeviceAllow= calls its kind
    r"/dev/ttyUSB": "char-ttyUSB",
    r"/dev/ttyACM": "char-ttyACM",
    r"/dev/ttyAMA": "char-ttyAMA",
    r"/dev/ttyS\d": "char-ttyS",
    r"/dev/video": "char-video4linux",
}
LISTEN = "0A"  # state of a socket in /proc/net/tcp


class Running(NamedTuple):
    """The agent that has this state."""

    pid: int = 0  # 0: there is none, as far as we see
    family: frozenset[int] = frozenset()  # it and its children
    tallies: tuple[dict[str, Any], ...] = ()  # how lines fared
    lost: Mapping[str, str] = {}  # lines that cannot be opened: why
    uplinks: Mapping[str, str] = {}  # name -> up or down
    deaf: str = ""  # why it does not speak to us


def running(machine: Machine, state: Path) -> Running:
    """The agent that owns a state: by its socket, which says which process listens. Asks it how its lines fare."""
    path = control.path_of(state)
    pid, deaf = 0, ""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.settimeout(2.0)
        try:
            sock.connect(str(path))
            pid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        except PermissionError as error:
            deaf = error.strerror or "not for us"
        except OSError:
            return Running()
    try:
        lines = control.ask(state, {"verb": "lines"}) if pid else {}
        status = control.ask(state, {"verb": "status"}) if pid else {}
    except LineLost as fault:
        lines, status, deaf = {}, {}, str(fault)
    return Running(
        pid,
        family(machine, pid),
        tuple(lines.get("lines", ())),
        lines.get("lost", {}),
        status.get("uplinks", {}),
        deaf or str(lines.get("error", "")),
    )


def family(machine: Machine, pid: int) -> frozenset[int]:
    """A process and all that it started. proc_pid_stat(5), field 4."""
    if not pid:
        return frozenset()
    parents: dict[int, int] = {}
    for one in processes(machine):
        fields = (machine.text(f"/proc/{one.pid}/stat") or "").rpartition(")")[2].split()
        if len(fields) > 1:
            parents[one.pid] = int(fields[1])
    found_ = {pid}
    while more := {child for child, parent in parents.items() if parent in found_} - found_:
        found_ |= more
    return frozenset(found_)


# -- systemd ------------------------------------------------------------------------------------------


class Unit(NamedTuple):
    """What systemd says of our unit."""

    facts: Mapping[str, str]
    allowed: tuple[str, ...] = ()  # DeviceAllow=

    @property
    def memory(self) -> float:
        """MB; 0 without a limit."""
        most = self.facts.get("MemoryMax", "")
        return int(most) / 1e6 if most.isdigit() else 0.0


def unit(machine: Machine) -> Unit | None:
    """None where systemd does not run here."""
    program = shutil.which("systemctl")
    if program is None or machine.stat("/run/systemd/system") is None:
        return None
    try:
        told = subprocess.run(
            [program, "show", UNIT, "--no-pager", f"--property={','.join(ASKED)}"],
            capture_output=True,
            text=True,
            timeout=5.0,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parsed(told.stdout) if told.returncode == 0 else None


def parsed(text: str) -> Unit:
    """
    >>> parsed("User=vedette\\nDeviceAllow=char-ttyUSB rw\\nDeviceAllow=char-ttyS rw\\n").allowed
    ('char-ttyUSB', 'char-ttyS')
    """
    facts, allowed = {}, []
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "DeviceAllow":
            allowed += [value.split()[0]] if value else []
        else:
            facts[key] = value
    return Unit(facts, tuple(allowed))


def units(it: Unit | None, devices: Sequence[str]) -> Iterator[Finding]:
    """How the unit is, and whether it may use the devices of the site."""
    if it is None:
        yield found("service no-systemd", UNIT)
        return
    if it.facts.get("LoadState") != "loaded":
        yield found("service no-unit", UNIT)
        return
    active, sub = it.facts.get("ActiveState", "?"), it.facts.get("SubState", "?")
    facts = {"active": active, "sub": sub, "result": it.facts.get("Result", "?"), "n": it.facts.get("NRestarts", "0")}
    if active == "failed":
        yield found("service failed", UNIT, **facts)
    elif active != "active":
        yield found("service stopped", UNIT, **facts)
    else:
        yield found("service active", UNIT, **facts)
    if facts["n"] not in ("", "0"):
        yield found("service restarts", UNIT, **facts)
    if it.facts.get("UnitFileState", "") not in ("enabled", "enabled-runtime", "static", ""):
        yield found("service disabled", UNIT)
    if it.facts.get("DevicePolicy") in ("closed", "strict"):
        for path, real in zip(devices, map(os.path.realpath, devices), strict=True):
            kinds = [kind for pattern, kind in CLASSES.items() if re.match(pattern, real)]
            if kinds and not {*kinds, real, path} & set(it.allowed):
                yield found("service closed", path, kind=kinds[0])


def whose(machine: Machine, name: str, state: Path | None, running_: Running, it: Unit | None) -> Person:
    """The user whose rights are asked for: who was named, runs the agent, is in the unit, owns the state, or we."""
    if name:
        return person(_uid(name))
    if running_.pid and (now := groups_of(machine, running_.pid)) is not None:
        return now
    if it is not None and it.facts.get("LoadState") == "loaded" and it.facts.get("User"):
        with contextlib.suppress(LookupError):
            return person(_uid(it.facts["User"]), _gids(it.facts.get("SupplementaryGroups", "").split()))
    if state is not None and (there := machine.stat(state)) is not None:
        return person(there.st_uid)
    return person(os.geteuid(), frozenset(os.getgroups()))


def _uid(name: str) -> int:
    """Raises `LookupError` where nobody is called so."""
    import pwd

    return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid


def _gids(names: Sequence[str]) -> frozenset[int]:
    import grp

    known = {one.gr_name: one.gr_gid for one in grp.getgrall()}
    return frozenset(int(name) if name.isdigit() else known[name] for name in names if name.isdigit() or name in known)


# -- the state ----------------------------------------------------------------------------------------


def state(machine: Machine, who: Person, folder: Path, now: Running) -> Iterator[Finding]:
    """Whether the agent may write its state, and is alone with it."""
    what = str(folder)
    there = machine.stat(folder)
    if now.pid:
        yield found("state mute" if now.deaf else "state agent", what, pid=now.pid, user=who.name, why=now.deaf)
    elif now.deaf:
        yield found("state deaf", what, why=now.deaf)
    if there is None:
        above = next((one for one in folder.parents if machine.stat(one) is not None), folder)
        over = machine.stat(above)
        fine = over is not None and who.may(over, WRITE | ENTER)
        yield found("state new" if fine else "state impossible", what, user=who.name, above=str(above))
        return
    if not stat.S_ISDIR(there.st_mode):
        yield found("state odd", what, mode=mode(there))
        return
    if not who.may(there, READ | WRITE | ENTER):
        yield found("state rights", what, user=who.name, mode=mode(there))
        return
    try:
        strange = [
            one
            for one in sorted(folder.rglob("*"))
            if not one.is_symlink() and not one.is_socket() and not who.may(one.stat(), WRITE)
        ]
    except OSError as error:
        yield found("state unseen", what, why=error.strerror or str(error))
        return
    if strange:
        names = ", ".join(str(one.relative_to(folder)) for one in strange[:3])
        owner = user(strange[0].stat().st_uid)
        own = f"{who.name}:{group(there.st_gid)}"
        yield found("state strangers", what, n=len(strange), names=names, owner=owner, user=who.name, own=own)
    else:
        yield found("state fine", what, user=who.name)
    by = holders(machine, str(folder.resolve() / "alarms.db"))
    if len(by.held) > 1:
        yield found("state two", what, who=", ".join(f"{one.name} ({one.pid})" for one in by.held))
    elif by.held and not now.pid:
        yield found("state held", what, who=", ".join(f"{one.name} ({one.pid})" for one in by.held))


def links(now: Running) -> Iterator[Finding]:
    """What the running agent says of its uplinks."""
    for name, how in now.uplinks.items():
        yield found("link up" if how == "up" else "link down", name)


# -- ports --------------------------------------------------------------------------------------------


def listening(machine: Machine, port: int) -> list[str]:
    """Inodes of the sockets that listen on a port. proc(5) net/tcp."""
    inodes = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in (machine.text(table) or "").splitlines()[1:]:
            words = line.split()
            if len(words) > 9 and words[3] == LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                inodes.append(words[9])
    return inodes


def taken(machine: Machine, port: int, what: str, now: Running) -> Iterator[Finding]:
    """Whether somebody else has a port that the agent listens on."""
    if not port:
        return
    inodes = listening(machine, port)
    owners = []
    for one in processes(machine) if inodes else ():
        folder = machine.at(f"/proc/{one.pid}/fd")
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                if os.readlink(folder / name) in {f"socket:[{inode}]" for inode in inodes}:
                    owners.append(one)
                    break
    others = [one for one in owners if one.pid not in now.family]
    if not inodes:
        yield found("port silent" if now.pid else "port free", what, port=port)
    elif others and len(others) == len(owners):
        yield found("port taken", what, port=port, who=", ".join(f"{one.name} ({one.pid})" for one in others))
    elif owners or now.pid:
        yield found("port ours", what, port=port)
    else:
        yield found("port taken", what, port=port, who="?")
    if port < 1024:
        yield found("port low", what, port=port)
