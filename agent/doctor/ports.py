"""Serial ports: are they there, may they be used, who has them, and what is known to disturb them. None is opened."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .finding import Finding, found
from .machine import READ, WRITE, Machine, Person, group, holders, mode, processes

STABLE = ("/dev/vedette", "/dev/serial/by-path", "/dev/serial/by-id")  # the best first
NUMBERED = re.compile(r"tty(USB|ACM)\d+$")
ADAPTERS = ("/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyAMA*", "/dev/ttySC*", "/dev/ttymxc*", "/dev/ttyXRUSB*")
LONGEST = 4  # ms that an adapter may hold bytes back; 3.5 characters at 9600 bit/s take 4
MEDDLERS = {"ModemManager": "serial modem", "brltty": "serial braille"}  # who asks any adapter what it is


class Port(NamedTuple):
    """A port that a site uses."""

    path: str
    line: str  # name of the bus; empty: no site uses it
    modbus: bool = True


def ports(machine: Machine, who: Person, wanted: Sequence[Port], ours: frozenset[int]) -> Iterator[Finding]:
    """Each port of a site; without one, each adapter that is there. `ours`: processes of the running agent."""
    there = [path for pattern in ADAPTERS for path in machine.glob(pattern)]
    if not wanted and not there:
        yield found("serial none", "/dev")
    running = {one.name: one.pid for one in processes(machine)}
    for port in wanted or [Port(path, "") for path in there]:
        yield from _port(machine, who, port, ours, there, running)


def _port(
    machine: Machine, who: Person, port: Port, ours: frozenset[int], there: Sequence[str], running: dict[str, int]
) -> Iterator[Finding]:
    path = port.path
    state = machine.stat(path)
    if state is None:
        yield found("serial missing", path, there=", ".join(there) or "-")
        return
    if not stat.S_ISCHR(state.st_mode):
        yield found("serial odd", path, mode=mode(state))
        return
    real = machine.real(path)
    name = os.path.basename(real)
    wrong = False
    if not who.may(state, READ | WRITE):
        key = "serial rights" if state.st_mode & 0o060 == 0o060 and state.st_gid else "serial rule"
        yield found(key, path, user=who.name, mode=mode(state), group=group(state.st_gid), name=name)
        wrong = True
    by = holders(machine, path)
    others = [one for one in by.held if one.pid not in ours]
    if others:
        yield found("serial held", path, who=", ".join(f"{one.name} ({one.pid})" for one in others))
        wrong = True
    elif not by.complete and not ours:
        yield found("serial unseen", path)
    if re.search(rf"\bconsole={re.escape(name)}\b", machine.text("/proc/cmdline") or ""):
        yield found("serial console", path, name=name)
        wrong = True
    if port.line and NUMBERED.search(path):
        better = _stable(machine, real)
        key = "serial unstable" if better else "serial nameless"
        yield found(key, path, better=better, line=port.line)
    hold = machine.number(f"/sys/class/tty/{name}/device/latency_timer")
    if hold is not None and hold > LONGEST:
        yield found("serial latency", path, ms=hold, name=name)
    if NUMBERED.search(real):
        for program, key in MEDDLERS.items():
            if program in running and not _spared(machine, state, program):
                yield found(key, path, name=name, pid=running[program])
    yield from noise(machine, path, name)
    if not wrong:
        yield found("serial fine", path, mode=mode(state), user=who.name, by="vedette" if by.held else "-")


def _stable(machine: Machine, real: str) -> str:
    """A name that stays the same whatever is plugged in first; empty where there is none."""
    for folder in STABLE:
        for path in machine.glob(f"{folder}/*"):
            if machine.real(path) == real:
                return path
    return ""


def _spared(machine: Machine, state: os.stat_result, program: str) -> bool:
    """Whether udev tells it to keep away."""
    known = machine.text(f"/run/udev/data/c{os.major(state.st_rdev)}:{os.minor(state.st_rdev)}") or ""
    return program == "ModemManager" and "E:ID_MM_DEVICE_IGNORE=1" in known


def noise(machine: Machine, path: str, name: str) -> Iterator[Finding]:
    """What the driver of a built-in port counted since the start: bytes that did not look like bytes.

    Framing and parity errors come of another speed or parity, of missing bias and of two who speak at once. Kernel:
    drivers/tty/serial/serial_core.c, uart_line_info; adapters at USB count nothing there.
    """
    family, number = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]
    for driver in ("serial", family):
        for line in (machine.text(f"/proc/tty/driver/{driver}") or "").splitlines():
            if not line.startswith(f"{number}:") or (driver == "serial") != (family == "ttyS"):
                continue
            counts = {key: int(n) for key, n in re.findall(r"\b(rx|fe|pe|brk|oe):(\d+)", line)}
            bad = {key: n for key, n in counts.items() if key in ("fe", "pe", "brk") and n}
            if bad and sum(bad.values()) * 1000 > counts.get("rx", 0):
                yield found("serial noise", path, bad=sum(bad.values()), rx=counts.get("rx", 0))
            if counts.get("oe"):
                yield found("serial overrun", path, n=counts["oe"])
