"""The clock: is it kept, by whom, is there one for the time without power, can it be right at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from ..clock import Discipline
from .finding import Finding, found
from .machine import Machine, processes

KEEPERS = {  # process -> what people call it
    "chronyd": "chrony",
    "systemd-timesyn": "systemd-timesyncd",
    "ntpd": "ntpd",
    "ptp4l": "ptp4l",
    "phc2sys": "phc2sys",
    "gpsd": "gpsd",
}
BUILT = 1_735_689_600.0  # s UTC: 2025-01-01, before this program was written
FAR = 4_102_444_800.0  # 2100
DRIFT = 100.0  # ppm, above which a crystal is odd: 9 s a day; project
APART = 60.0  # s that the clock with a battery may differ; project
TIMESYNC = "/run/systemd/timesync/synchronized"  # its age says when it was last in step


def clock(
    machine: Machine, kernel: Discipline | None, now: float, newest: float, offset: float | None
) -> Iterator[Finding]:
    """`kernel`: what adjtimex says; `now`: s UTC; `newest`: of the files that the agent wrote, 0 where there are none;
    `offset`: s that the shifts of the site are ahead of UTC, None where it has no shifts."""
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)) + " UTC"
    if not BUILT < now < FAR:
        yield found("clock year", "clock", now=shown)
    elif newest > now + 60.0:
        ahead = time.strftime("%Y-%m-%d %H:%M", time.gmtime(newest))
        yield found("clock back", "clock", now=shown, newest=ahead)
    names = {one.name for one in processes(machine)}
    keepers = ", ".join(KEEPERS[name] for name in KEEPERS if name in names)
    if kernel is None:
        yield found("clock unknown", "clock", source=keepers or "-")
    elif kernel.synced:
        yield found("clock synced", "clock", source=keepers or "?", error=f"{1000 * kernel.error:.3g}")
    elif keepers:
        yield found("clock waiting", "clock", source=keepers)
    else:
        yield found("clock nobody", "clock")
    if kernel is not None and abs(kernel.ppm) > DRIFT:
        yield found("clock drift", "clock", ppm=f"{kernel.ppm:+.0f}", day=f"{abs(kernel.ppm) * 0.0864:.1f}")
    yield from _battery(machine, now, kernel is not None and kernel.synced)
    zone = machine.text("/etc/timezone") or _zone(machine)
    east = float(time.localtime(now).tm_gmtoff)
    facts = {"zone": zone or "?", "ahead": f"{east / 3600:+.3g}", "shifts": f"{(offset or 0.0) / 3600:+.3g}"}
    yield found("clock zone" if offset is None or offset == east else "clock shifts", "time zone", **facts)


def _battery(machine: Machine, now: float, sure: bool) -> Iterator[Finding]:
    clocks = machine.glob("/sys/class/rtc/rtc*")
    if not clocks:
        yield found("clock no-battery", "/dev/rtc")
        return
    said = [machine.number(f"{path}/since_epoch") for path in clocks]
    name = machine.text(f"{clocks[0]}/name") or clocks[0]
    if said[0] is not None and sure and abs(said[0] - now) > APART:
        yield found("clock battery-off", name, apart=f"{said[0] - now:+.0f}")
    else:
        yield found("clock battery", name)


def _zone(machine: Machine) -> str:
    path = machine.at("/etc/localtime")
    target = str(path.readlink()) if path.is_symlink() else ""
    return target.partition("zoneinfo/")[2]


def newest(folder: Path) -> float:
    """s UTC of the newest file that lies there; 0 where there is none."""
    times = [0.0]
    try:
        times += [one.stat().st_mtime for one in folder.iterdir() if one.is_file()]
    except OSError:
        pass  # no such folder, or not for us
    return max(times)
