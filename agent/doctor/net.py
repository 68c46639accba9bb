"""The network as this machine sees it: links, their quality, and whether there is a way out."""

from __future__ import annotations

import os
from collections.abc import Iterator

from .finding import Finding, found
from .machine import Machine

BAD = 1000  # packets, of which one may be damaged; project
FAINT = -75.0  # dBm, below which a radio link often breaks; project


def net(machine: Machine, far: bool) -> Iterator[Finding]:
    """`far`: the site has a platform on another machine. Interfaces without a device of their own are left out."""
    up = []
    for path in machine.glob("/sys/class/net/*"):
        name = os.path.basename(path)
        if machine.stat(f"{path}/device") is None:
            continue
        if machine.text(f"{path}/operstate") == "up" or machine.text(f"{path}/carrier") == "1":
            up.append(name)
            yield from _quality(machine, path, name)
    for line in (machine.text("/proc/net/wireless") or "").splitlines()[2:]:
        name, _, rest = line.partition(":")
        level = float(rest.split()[2].rstrip("."))
        if -200.0 < level < FAINT:
            yield found("net faint", name.strip(), level=f"{level:.0f}")
    routes = [line.split() for line in (machine.text("/proc/net/route") or "").splitlines()[1:]]
    out = [words[0] for words in routes if len(words) > 7 and words[1] == words[7] == "00000000"]
    if out:
        yield found("net fine", ", ".join(dict.fromkeys(out)), up=", ".join(up) or "-")
    elif far:
        yield found("net no-way", "ip route", up=", ".join(up) or "-")


def _quality(machine: Machine, path: str, name: str) -> Iterator[Finding]:
    """Kernel: Documentation/ABI/testing/sysfs-class-net and sysfs-class-net-statistics."""
    if machine.text(f"{path}/duplex") == "half":
        yield found("net half", name, speed=machine.text(f"{path}/speed") or "?")
    came = machine.number(f"{path}/statistics/rx_packets") or 0
    bad = machine.number(f"{path}/statistics/rx_crc_errors") or machine.number(f"{path}/statistics/rx_errors") or 0
    if bad * BAD > came:
        yield found("net damaged", name, bad=bad, came=came)
