"""What this process and the machine under it say of themselves: /proc, /sys, the disk. Nothing is judged here.

    memory        of the cgroups that limit it (v2, v1) without what the kernel would give back at once; of the machine
    disk          space, places for files, how it fills, its wear (eMMC), the errors that ext4 noted
    heat, power   thermal zones, hwmon, the firmware of a Raspberry Pi (`get_throttled`, `rpi_volt`), Intel's counters

What a machine has no sensor for is NaN: nobody knows it. Everything is read below `root`, so that a test brings its own
machine. A few dozen small files, some 0.3 ms.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

NAN = math.nan
FAR = 8760.0  # h: a disk that would be full in more than a year is not about to be
GATHER = 300.0  # s between two looks at how full the disk is
SPAN = 72  # of these are remembered: 6 h
APART = 3  # looks: what is compared lies so far apart
LEAST = 12  # of these must be there until anything is said: 1 h
HOT = ("cpu", "soc", "pkg", "package", "core")  # parts of the names of what measures the processor; `acpitz` often lies
LOW_NOW, CAPPED, SLOWED, SOFT, LOW_SEEN = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 16  # bits of `get_throttled`


class Body(NamedTuple):
    """One look. NaN: this machine cannot say."""

    memory: float  # MB resident of this process
    memory_share: float  # % of what it may have
    descriptors: float
    descriptors_share: float  # % of RLIMIT_NOFILE
    threads: float
    children: float  # processes
    cpu: float  # % of one core, of this process alone
    disk_free: float  # %
    disk_free_mb: float
    inodes_free: float  # %
    disk_full_in: float  # h, at most `FAR`
    disk_wear: float  # % of its life
    disk_errors: float
    temperature: float  # degC
    throttled: float  # 1 or 0
    under_voltage: float  # 1 or 0, now
    under_voltage_seen: float  # 1 or 0, since the machine started


class Machine:
    """The machine that this process runs on. Remembers how the disk filled and how much it computed."""

    def __init__(self, disk: str, root: Path = Path("/")) -> None:
        self._disk, self._root = disk, root
        self._fill: deque[tuple[float, float]] = deque(maxlen=SPAN)  # monotonic s, bytes used
        self._ran: tuple[float, float] | None = None  # monotonic s, s of CPU
        self._slowed: float = NAN  # how often Intel's processor slowed down, as last seen

    def look(self, now: float) -> Body:
        """Everything; `now` is monotonic s."""
        process, opened = self._root / "proc/self", descriptors(self._root)
        status = _fields(process / "status")
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        space = self._space(now)
        low, slow, seen = self._power()
        return Body(
            memory=status.get("VmRSS", NAN) * 1024 / 1e6,
            memory_share=memory_share(self._root),
            descriptors=opened,
            descriptors_share=100 * opened / most if most > 0 else NAN,
            threads=status.get("Threads", NAN),
            children=_children(process),
            cpu=self._cpu(now),
            **space,
            **self._device(),
            temperature=temperature(self._root),
            throttled=slow,
            under_voltage=low,
            under_voltage_seen=seen,
        )

    def _cpu(self, now: float) -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        ran = now, used.ru_utime + used.ru_stime
        before, self._ran = self._ran, ran
        return 100 * (ran[1] - before[1]) / (now - before[0]) if before is not None and now > before[0] else NAN

    def _space(self, now: float) -> dict[str, float]:
        try:
            stat = os.statvfs(self._disk)
        except OSError:
            return dict.fromkeys(("disk_free", "disk_free_mb", "inodes_free", "disk_full_in"), NAN)
        free = float(stat.f_bavail * stat.f_frsize)
        if not self._fill or now - self._fill[-1][0] >= GATHER:
            self._fill.append((now, float((stat.f_blocks - stat.f_bfree) * stat.f_frsize)))
        return {
            "disk_free": 100.0 * stat.f_bavail / stat.f_blocks if stat.f_blocks else NAN,
            "disk_free_mb": free / 1e6,
            "inodes_free": 100.0 * stat.f_favail / stat.f_files if stat.f_files else NAN,  # btrfs has none
            "disk_full_in": full_in(list(self._fill), free),
        }

    def _device(self) -> dict[str, float]:
        """What the disk under the store says of itself; nothing where it is no disk (memory, network)."""
        try:
            number = os.stat(self._disk).st_dev
            part = (self._root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve(strict=True)
        except OSError:
            return {"disk_wear": NAN, "disk_errors": NAN}
        whole = part.parent if (part / "partition").exists() else part
        steps = life(whole / "device")
        return {
            "disk_wear": 10.0 * max(steps) if any(steps) else NAN,  # the upper end
            "disk_errors": _number(self._root / "sys/fs/ext4" / part.name / "errors_count"),
        }

    def _power(self) -> tuple[float, float, float]:
        """Whether the voltage is too low, the processor is slowed down, and the voltage was ever too low: 1 or 0."""
        low, slow, seen = NAN, NAN, NAN
        if (bits := throttled(self._root)) is not None:
            low, seen = float(bool(bits & LOW_NOW)), float(bool(bits & LOW_SEEN))
            slow = float(bool(bits & (CAPPED | SLOWED | SOFT)))
        low = _worst(low, low_voltage(self._root))
        count = _number(self._root / "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count")
        if not math.isnan(count):
            before, self._slowed = self._slowed, count
            slow = _worst(slow, float(count > before))  # the first look compares with NaN: not slowed
        return low, slow, seen


def full_in(fill: list[tuple[float, float]], free: float) -> float:
    """Hours until `free` bytes are used up, by the median quarter of an hour of what was used (monotonic s, bytes).

    One large file that is copied moves no median, as it would move the median of all slopes (Theil, Sen). Weak at:
    what grows once an hour.

    >>> hour = [(300.0 * i, 1e6 * i) for i in range(13)]
    >>> full_in(hour, 24e6)
    2.0
    """
    if len(fill) < LEAST:
        return NAN
    slopes = sorted((b - a) / (t - s) for (s, a), (t, b) in zip(fill, fill[APART:], strict=False))
    middle = slopes[len(slopes) // 2]
    return min(FAR, free / middle / 3600) if middle > 0 else FAR


def descriptors(root: Path = Path("/")) -> float:
    """How many are open, without the one that counts them."""
    try:
        return float(len(os.listdir(root / "proc/self/fd")) - 1)
    except OSError:
        return NAN


def memory_share(root: Path = Path("/")) -> float:
    """% of the tightest memory limit that holds for this process, or of the machine's memory."""
    shares = [100 * used / limit for used, limit in _limits(root) if limit > 0]
    machine = meminfo(root)
    if "MemAvailable" in machine and machine.get("MemTotal", 0) > 0:
        shares.append(100 * (1 - machine["MemAvailable"] / machine["MemTotal"]))
    return max((share for share in shares if not math.isnan(share)), default=NAN)


def _limits(root: Path) -> Iterator[tuple[float, float]]:
    """What is used and what may be, in bytes, of each cgroup from this process's own up that has a limit.

    Pages of files that were not used lately count as free: they are given back at once, and would fill any limit.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers not in ("", "memory"):
            continue
        top = root / "sys/fs/cgroup" / controllers
        most, now, idle = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            if controllers
            else ("memory.max", "memory.current", "inactive_file")
        )
        place = top / path.strip("/")
        while place == top or top in place.parents:
            limit = _number(place / most)
            if 0 < limit < 1 << 60:  # v1 says "none" as nearly 2^63
                yield _number(place / now) - _fields(place / "memory.stat").get(idle, 0.0), limit
            place = place.parent


def meminfo(root: Path = Path("/")) -> dict[str, float]:
    """kB by name, as proc_meminfo(5) has them; nothing where it is not to be seen."""
    return _fields(root / "proc/meminfo")


def throttled(root: Path = Path("/")) -> int | None:
    """The bits by which the firmware of a Raspberry Pi tells of its supply and heat; None where there is none."""
    for place in sorted(root.glob("sys/devices/platform/soc*/soc*firmware/get_throttled")):
        with contextlib.suppress(ValueError):
            return int(_text(place), 16)
    return None


def low_voltage(root: Path = Path("/")) -> float:
    """Whether the supply of a Raspberry Pi is too weak now, as its hwmon has it: 1 or 0; NaN: it has none."""
    low = NAN
    for hwmon in root.glob("sys/class/hwmon/hwmon*"):
        if _text(hwmon / "name") == "rpi_volt":
            low = _worst(low, _number(hwmon / "in0_lcrit_alarm"))
    return low


def life(device: Path) -> list[int]:
    """How much of its life an eMMC has used, in steps of 10 %, for each kind of its memory; 0: it does not tell."""
    return [int(word, 16) for word in _text(device / "life_time").split() if word.startswith("0x")]


def temperature(root: Path = Path("/")) -> float:
    """degC of the hottest that measures the processor."""
    return max(heat(root), default=(NAN, ""))[0]


def heat(root: Path = Path("/"), parts: Collection[str] = HOT) -> list[tuple[float, str]]:
    """degC, and whose: all that measures the processor. parts: of the names of thermal zones that do."""
    found = [
        (_number(zone / "temp") / 1000, name)
        for zone in root.glob("sys/class/thermal/thermal_zone*")
        if any(word in (name := _text(zone / "type")).lower() for word in parts)
    ]
    found += [
        (_number(place) / 1000, name)
        for hwmon in root.glob("sys/class/hwmon/hwmon*")
        if (name := _text(hwmon / "name")) in ("coretemp", "k10temp", "cpu_thermal")
        for place in hwmon.glob("temp*_input")
    ]
    return [one for one in found if -50 < one[0] < 150]  # else it is none


def _children(process: Path) -> float:
    try:
        return float(sum(len(_text(task / "children").split()) for task in (process / "task").iterdir()))
    except OSError:
        return NAN


def _worst(a: float, b: float) -> float:
    """The larger; what nobody knows does not count."""
    return b if math.isnan(a) else a if math.isnan(b) else max(a, b)


def _fields(path: Path) -> dict[str, float]:
    """`Name: 12 kB` or `name 12` of each line, by name."""
    found = {}
    for line in _text(path).splitlines():
        words = line.replace(":", " ").split()
        if len(words) >= 2 and words[1].isdigit():
            found[words[0]] = float(words[1])
    return found


def _number(path: Path) -> float:
    """The number that a small file holds; NaN where there is none ("max", too)."""
    try:
        return float(_text(path))
    except ValueError:
        return NAN


def _text(path: Path) -> str:
    """What a small file says; empty where nobody says anything: sysfs may refuse what it shows."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
