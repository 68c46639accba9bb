"""`vedette devices`: which ports, cameras and sound a site file names, and that systemd allows exactly these.

Units are closed to devices (`DevicePolicy=closed`). What a site needs is found in its file, whatever driver asks for
it, and goes as `DeviceAllow=` of the nodes that are there now into drop-ins below /run. `vedette-devices.service` does
it at the boot, when the file changes and when an adapter is plugged in; a daemon that runs need not stop for it.

Beside devices there is one call: where systemd-timesyncd does not keep the clock, only the kernel knows whether it is
right, and the daemon has to be let ask (`agent/clock.py`).
"""

from __future__ import annotations

import argparse
import os
import re
import stat
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from . import durable
from .core.errors import ConfigFault, WorldFault

UNIT, VIDEO = "vedette.service", "vedette-video@.service"
DROP_IN = "devices.conf"
RUN = Path("/run/systemd/system")
UNITS = (Path("/etc/systemd/system"), Path("/lib/systemd/system"), Path("/usr/lib/systemd/system"))
KINDS = ("tty", "video4linux", "media", "dma_heap", "sound")  # of the kernel, that a site may have
PICTURES = ("video4linux", "media", "dma_heap")
LIBCAMERA = ("char-video4linux", "char-media", "char-dma_heap")  # cameras by CSI: a dozen nodes work together
SOUND = "char-alsa"
KEEPERS = tuple(folder / "sysinit.target.wants/systemd-timesyncd.service" for folder in UNITS)
ASK_KERNEL = "ProtectClock=no\nSystemCallFilter=adjtimex clock_adjtime\n"  # without CAP_SYS_TIME they can set nothing


def named(site: Any) -> Iterator[str]:
    """What a decoded site file names: paths of devices, and classes of them where no path says it.

    >>> sorted(named({"bus": {"a": {"url": "rtu:///dev/ttyUSB0"}, "b": {"driver": "speaker"}, "c": {"url": "tcp://h"}}}))
    ['/dev/ttyUSB0', 'char-alsa']
    """
    if isinstance(site, dict):
        if site.get("driver") == "speaker":
            yield SOUND
        for value in site.values():
            yield from named(value)
    elif isinstance(site, list):
        for value in site:
            yield from named(value)
    elif isinstance(site, str):
        yield from re.findall(r"/dev/[\w.:+/,-]+", site)
        if site.startswith("gst://") and "libcamera" in site:
            yield from LIBCAMERA


def node(path: str) -> tuple[str, str]:
    """The node behind a path, and its kind; empty where it is away or of no kind that a site may have."""
    real = os.path.realpath(path)
    try:
        seen = os.stat(real)
        number = f"{os.major(seen.st_rdev)}:{os.minor(seen.st_rdev)}"
        kind = os.path.basename(os.path.realpath(f"/sys/dev/char/{number}/subsystem"))
    except OSError:
        return "", ""
    fits = stat.S_ISCHR(seen.st_mode) and real.startswith("/dev/") and kind in KINDS
    return (real, kind) if fits else ("", "")


def allowed(names: Iterable[str], apart: bool) -> dict[str, list[str]]:
    """By unit what systemd is to allow. apart: pictures are looked at in a unit of its own."""
    found: dict[str, set[str]] = {UNIT: set(), **({VIDEO: set()} if apart else {})}
    for name in names:
        path, kind = (name, name.removeprefix("char-")) if name.startswith("char-") else node(name)
        if path:
            found[VIDEO if apart and kind in PICTURES else UNIT].add(path)
    return {unit: sorted(paths) for unit, paths in found.items()}


def drop_in(paths: Iterable[str], more: str = "") -> str:
    """The text of a drop-in.

    >>> print(drop_in(["/dev/ttyUSB0"]).rstrip())
    # Written by `vedette devices --apply`: what the site file names, as far as it is plugged in.
    [Service]
    DeviceAllow=/dev/ttyUSB0 rw
    """
    rows = "".join(f"DeviceAllow={path} rw\n" for path in paths)
    said = "# Written by `vedette devices --apply`: what the site file names, as far as it is plugged in."
    return f"{said}\n[Service]\n{rows}{more}"


def add(verb: Callable[..., Any]) -> None:
    """The verb's arguments."""
    sub = verb("devices", run, "ports, cameras and sound that a site names; let systemd allow exactly these", site=True)
    sub.add_argument("--apply", action="store_true", help="write what systemd is to allow, below /run; as root")


def run(args: argparse.Namespace) -> int:
    """Show, or apply."""
    try:
        site = tomllib.loads(Path(args.config).read_text())
    except OSError as error:
        raise ConfigFault([f"{args.config}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigFault([f"{args.config}: {error}"]) from None
    names = sorted(set(named(site)))
    wanted = allowed(names, apart=any((folder / VIDEO).exists() for folder in UNITS))
    away = [name for name in names if name.startswith("/") and not node(name)[0]]
    if args.apply:
        _apply(wanted)
    if args.json:
        print(msgspec.json.format(msgspec.json.encode({"units": wanted, "away": away}), indent=2).decode())
        return 0
    for unit, paths in wanted.items():
        print(f"{unit}: {', '.join(paths) or 'no device'}")
    for name in away:
        print(f"{name}: not plugged in, or no serial port, camera or sound")
    return 0


def _apply(wanted: dict[str, list[str]]) -> None:
    """Write the drop-ins that changed, and have systemd read them. Raises `WorldFault`."""
    changed = False
    for unit, paths in wanted.items():
        asks = unit == UNIT and not any(path.is_symlink() for path in KEEPERS)
        path, text = RUN / f"{unit}.d" / DROP_IN, drop_in(paths, ASK_KERNEL if asks else "")
        try:
            if not path.exists() or path.read_text() != text:
                path.parent.mkdir(exist_ok=True, parents=True)
                durable.replace(path, text.encode(), 0o644)
                changed = True
        except OSError as error:
            raise WorldFault(f"{path}: {error.strerror}; try: sudo") from None
    if changed and Path("/run/systemd/system").is_dir():
        told = subprocess.run(["systemctl", "daemon-reload"], capture_output=True, text=True, check=False)
        if told.returncode:
            raise WorldFault(f"systemctl daemon-reload: {told.stderr.strip()}")
