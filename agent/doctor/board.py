"""The board: its supply, heat and memory, and what the kernel complained of."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .. import machine as readings
from .disk import device, mount
from .finding import Finding, found
from .machine import Machine

# Bits of the firmware's `get_throttled`, now and (16 higher) since the start. Raspberry Pi documentation, vcgencmd.
NOW = {0: "power low", 1: "power capped", 2: "power throttled", 3: "power hot"}
BEFORE = {16: "power was-low", 17: "power was-capped", 18: "power was-throttled", 19: "power was-hot"}
HOT, TOO_HOT = 75.0, 84.0  # degC; a Raspberry Pi slows down at 80 and 85
SUPPLY = 5000  # mA that a Raspberry Pi 5 wants of its supply; with less, USB gets 600 mA in all
OWN, CAMERA, NET, CLIP = 150.0, 100.0, 150.0, 200.0  # MB; systemd/vedette.service
SPARE = 200.0  # MB for everything else on a machine; project

LOG: tuple[tuple[str, str], ...] = (  # what the kernel says -> row
    (r"[Uu]nder-?voltage detected", "kernel undervoltage"),
    (r"I/O error, dev (mmcblk|sd|nvme|vd)|mmcblk\d+: (error|recovery failed|timed out)", "kernel disk"),
    (r"mmc\d+: ([Tt]imeout|Card stuck|error -\d+ whilst)|Buffer I/O error", "kernel disk"),
    (r"EXT4-fs error|Remounting filesystem read-only|JBD2: .*(abort|error)", "kernel files"),
    (r"Out of memory: Killed|Memory cgroup out of memory", "kernel memory"),
    (r"usb [\d.-]+: .*(error -71|error -110|device not accepting|over-?current)|over-current", "kernel usb"),
    (r"(ttyUSB|ttyACM)\d+: .*(disconnect|failed|error)|now disconnected from tty", "kernel serial"),
    (r"(soft|hard) lockup|hung_task|blocked for more than", "kernel hangs"),
)


def model(machine: Machine) -> str:
    """What board this is; empty where it does not say."""
    return machine.text("/proc/device-tree/model") or machine.text("/sys/class/dmi/id/product_name") or ""


def throttled(machine: Machine) -> int | None:
    """The firmware's word on supply and heat; None where there is no such firmware. Asked by its own program where that
    is there: to read the file makes some kernels complain, once, that it is old."""
    program = shutil.which("vcgencmd") if machine.root == Path("/") else None
    if program is not None:
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            told = subprocess.run([program, "get_throttled"], capture_output=True, timeout=2.0, text=True, check=False)
            return int(told.stdout.partition("=")[2], 16)
    return readings.throttled(machine.root)


def power(machine: Machine) -> Iterator[Finding]:
    """Whether the supply holds, on a Raspberry Pi."""
    bits = throttled(machine)
    low = readings.low_voltage(machine.root)
    board = model(machine)
    if bits is None and math.isnan(low):
        if "Raspberry Pi" in board:
            yield found("power unknown", board)
        return
    bits = (bits or 0) | (low == 1)
    now = [key for bit, key in NOW.items() if bits >> bit & 1]
    before = [key for bit, key in BEFORE.items() if bits >> bit & 1 and not bits >> (bit - 16) & 1]
    for key in now + before:
        yield found(key, board, bits=f"{bits:#x}")
    if not now and not before:
        yield found("power fine", board, bits=f"{bits:#x}")
    try:
        raw = machine.at("/proc/device-tree/chosen/power/max_current").read_bytes()
    except OSError:
        return
    if len(raw) == 4 and (most := int.from_bytes(raw, "big")) < SUPPLY:
        yield found("power weak", board, mA=most)


def heat(machine: Machine) -> Iterator[Finding]:
    """How hot the processor is, at its hottest place; the hottest of all where none is known to be the processor's."""
    told = readings.heat(machine.root) or readings.heat(machine.root, ("",))  # of any: better than nothing
    if not told:
        yield found("heat unknown", "/sys/class/thermal")
        return
    degrees, name = max(told)
    key = "heat too-hot" if degrees >= TOO_HOT else "heat hot" if degrees >= HOT else "heat fine"
    yield found(key, name, degrees=f"{degrees:.0f}")


# -- memory -------------------------------------------------------------------------------------------


class Appetite(NamedTuple):
    """What a site wants of the memory."""

    cameras: int = 0
    nets: int = 0
    clips: bool = False

    @property
    def mb(self) -> float:
        return OWN + CAMERA * self.cameras + NET * self.nets + CLIP * self.clips


def control_group(machine: Machine, pid: int) -> str:
    """The folder of a process's control group with its memory (v2), else v1; empty where there is none."""
    for line in (machine.text(f"/proc/{pid}/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        for base in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if not controllers else ("/sys/fs/cgroup/memory",):
            if controllers in ("", "memory") and machine.stat(f"{base}{path}/memory.events") is not None:
                return f"{base}{path}"
    return ""


def memory(machine: Machine, wants: Appetite, limit: float, pid: int) -> Iterator[Finding]:
    """Whether the memory does. `limit`: MB of the unit, 0 where it has none; `pid` of the running agent, or 0."""
    told = readings.meminfo(machine.root)
    total, free = (told.get(key, 0.0) / 1000.0 for key in ("MemTotal", "MemAvailable"))
    if not total:
        yield found("memory unknown", "/proc/meminfo")
        return
    folder = control_group(machine, pid) if pid else ""
    most = machine.number(f"{folder}/memory.max") if folder else None
    limit = most / 1e6 if most else limit
    facts = {"total": f"{total:.0f}", "free": f"{free:.0f}", "wants": f"{wants.mb:.0f}", "limit": f"{limit:.0f}"}
    if wants.mb + SPARE > total:
        yield found("memory small", "memory", **facts)
    elif free < 0.05 * total:
        yield found("memory short", "memory", **facts)
    else:
        yield found("memory fine", "memory", **facts)
    if limit and limit < wants.mb:
        yield found("memory limit", "vedette.service", **facts)
    killed = re.search(r"^oom_kill (\d+)$", machine.text("/proc/vmstat") or "", re.MULTILINE)
    own = (
        re.search(r"^oom_kill (\d+)$", machine.text(f"{folder}/memory.events") or "", re.MULTILINE) if folder else None
    )
    if own is not None and int(own[1]):
        yield found("memory killed-ours", "vedette.service", n=own[1])
    elif killed is not None and int(killed[1]):
        yield found("memory killed", "memory", n=killed[1])
    for line in (machine.text("/proc/swaps") or "").splitlines()[1:]:
        where = line.split()[0]
        if _on_card(machine, where):
            yield found("memory swap", where)
    if pid and (open_ := descriptors(machine, pid)) is not None and open_[0] > 0.8 * open_[1]:
        yield found("memory descriptors", f"pid {pid}", n=open_[0], most=open_[1])


def _on_card(machine: Machine, where: str) -> bool:
    """Whether a swap file or partition lies on a card."""
    if where.startswith("/dev/"):
        return where.startswith("/dev/mmcblk")
    here = mount(machine.text("/proc/self/mountinfo") or "", where)
    return here is not None and device(machine, here).startswith("mmcblk")


def descriptors(machine: Machine, pid: int) -> tuple[int, int] | None:
    """How many files a process has open, and how many it may."""
    most = re.search(r"^Max open files\s+(\d+)", machine.text(f"/proc/{pid}/limits") or "", re.MULTILINE)
    n = len(machine.glob(f"/proc/{pid}/fd/*"))
    return (n, int(most[1])) if most and n else None


def complaints(lines: Sequence[str] | None) -> Iterator[Finding]:
    """What the kernel complained of since its start."""
    if lines is None:
        yield found("kernel unread", "/dev/kmsg")
        return
    hits: dict[str, list[str]] = {}
    for line in lines:
        for key in {key for pattern, key in LOG if re.search(pattern, line)}:
            hits.setdefault(key, []).append(line)
    for key, told in hits.items():
        yield found(key, "kernel log", n=len(told), last=told[-1][:120])
    if not hits:
        yield found("kernel quiet", "kernel log", n=len(lines))
