"""The disk under the state: room, kind, wear, errors, how much is written, and whether the store is whole."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..machine import life
from ..store import copied, log_of
from .finding import Finding, found
from .machine import Machine

LITTLE, NONE = 10.0, 5.0  # % of the disk that are free; from `agent/health.py`: below 5 % is an alarm
FORGETS = {"tmpfs", "ramfs", "overlay", "aufs", "squashfs"}  # what a restart leaves nothing of, or is no disk at all
FOREIGN = {"vfat", "exfat", "ntfs", "ntfs3", "fuseblk", "nfs", "nfs4", "cifs", "9p", "virtiofs"}  # no place for SQLite
RISKY = {"nobarrier", "barrier=0", "data=writeback", "noauto_da_alloc", "nobh"}  # a power cut takes what was committed
CYCLES, AMPLIFIED = 1000, 4.0  # of a cell of a plain card, and writes of the card for one of ours; project
YEARS = 5.0  # that a card should last; project
PRE_EOL = {1: "", 2: "80 %", 3: "90 %"}  # JEDEC eMMC 5.0, EXT_CSD 267: share of the spare blocks that is used up
COPIED = 64e6  # bytes of a file that is copied in order to be looked at
PATIENCE = 20.0  # s for looking at one file


class Mount(NamedTuple):
    point: str
    device: str  # major:minor
    kind: str
    source: str
    options: frozenset[str]


def mount(mountinfo: str, path: str) -> Mount | None:
    """Where a path lies. proc_pid_mountinfo(5)."""
    best = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        words, more = left.split(), right.split()
        if len(words) < 6 or len(more) < 2:
            continue
        point = words[4].replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and (best is None or len(point) >= len(best.point)):
            options = frozenset(words[5].split(",")) | frozenset(more[2].split(",") if len(more) > 2 else ())
            best = Mount(point, words[2], more[0], more[1], options)
    return best


class Room(NamedTuple):
    """What statvfs(3) says, in bytes and files."""

    total: float
    free: float  # for those who are not root
    files: float  # 0: the file system has no fixed number of them
    files_free: float


def room(path: str) -> Room | None:
    try:
        told = os.statvfs(path)
    except OSError:
        return None
    return Room(told.f_blocks * told.f_frsize, told.f_bavail * told.f_frsize, told.f_files, told.f_favail)


def used(folder: str) -> float:
    """Bytes of what lies in a folder."""
    total = 0.0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
            except OSError:
                pass  # it went meanwhile
    return total


def space(what: str, there: Room, wanted: float, has: float) -> Iterator[Finding]:
    """Whether there is room. `wanted`: bytes that the site may fill (0: no site), of which it has filled `has`."""
    share = 100.0 * there.free / there.total if there.total else 0.0
    facts = {"free": size(there.free), "share": f"{share:.0f}", "total": size(there.total)}
    if share < NONE:
        yield found("disk full", what, **facts)
    elif share < LITTLE:
        yield found("disk filling", what, **facts)
    else:
        yield found("disk room", what, **facts)
    if wanted and there.free + has - wanted < NONE / 100 * there.total:
        yield found("disk quota", what, wanted=size(wanted), has=size(has), **facts)
    if there.files and there.files_free < 0.05 * there.files:
        yield found("disk inodes", what, n=int(there.files_free))


def size(bytes_: float) -> str:
    """
    >>> size(64e9), size(512e6)
    ('64 GB', '512 MB')
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9)):
        if bytes_ >= factor:
            return f"{bytes_ / factor:.3g} {unit}"
    return f"{bytes_ / 1e6:.3g} MB"


def kind(what: str, here: Mount | None) -> Iterator[Finding]:
    """What lies under the state, and how it is mounted."""
    if here is None:
        yield found("disk unseen", what)
        return
    if here.kind in FORGETS:
        yield found("disk forgets", what, kind=here.kind, point=here.point)
    elif here.kind in FOREIGN:
        yield found("disk foreign", what, kind=here.kind)
    if "ro" in here.options:
        yield found("disk read-only", what, point=here.point)
    if risky := sorted(RISKY & here.options):
        yield found("disk risky", what, options=", ".join(risky), point=here.point)


# -- the thing itself ---------------------------------------------------------------------------------


def device(machine: Machine, here: Mount) -> str:
    """The whole disk, as /sys/block calls it; empty where it cannot be told."""
    path = f"/sys/dev/block/{here.device}"
    if machine.stat(path) is None:
        name = os.path.basename(here.source)
        path = f"/sys/class/block/{name}"
        if not here.source.startswith("/dev/") or machine.stat(path) is None:
            return ""
    real = machine.real(path)
    if slaves := machine.glob(f"{real}/slaves/*"):  # LUKS, LVM
        real = machine.real(slaves[0])
    if machine.stat(f"{real}/partition") is not None:
        real = os.path.dirname(real)
    return os.path.basename(real)


def wear(machine: Machine, what: str, disk: str) -> Iterator[Finding]:
    """What the disk says of its age. Kernel: Documentation/ABI/testing/sysfs-bus-mmc, JEDEC eMMC 5.0."""
    base = f"/sys/block/{disk}/device"
    card = " ".join(
        filter(None, (machine.text(f"{base}/type"), machine.text(f"{base}/name"), machine.text(f"{base}/date")))
    )
    if not disk.startswith("mmcblk"):
        key = "disk spinning" if machine.text(f"/sys/block/{disk}/queue/rotational") == "1" else "disk mute"
        model = machine.text(f"{base}/model") or disk
        if not disk.startswith(("vd", "loop", "nbd", "zram", "ram", "dm-")):
            yield found(key, what, disk=disk, model=model)
        return
    lives = life(machine.at(base))
    if machine.text(f"{base}/type") == "SD" or not any(lives):
        yield found("disk card", what, disk=disk, card=card)
        return
    used_up, spare = max(lives), machine.number(f"{base}/pre_eol_info", 16) or 0
    facts = {"disk": disk, "card": card, "used": f"{10 * (used_up - 1)}-{10 * used_up}" if used_up <= 10 else "> 100"}
    if used_up >= 0x0B or spare >= 3:
        yield found("disk worn", what, **facts)
    elif used_up >= 0x09 or spare == 2:
        yield found("disk wearing", what, **facts)
    else:
        yield found("disk young", what, **facts)


def errors(machine: Machine, what: str, here: Mount) -> Iterator[Finding]:
    """What ext4 keeps of errors that it met, over restarts. Kernel: Documentation/ABI/testing/sysfs-fs-ext4."""
    name = os.path.basename(machine.real(f"/sys/dev/block/{here.device}")) or os.path.basename(here.source)
    n = machine.number(f"/sys/fs/ext4/{name}/errors_count")
    if n:
        last = machine.number(f"/sys/fs/ext4/{name}/last_error_time") or 0
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(last)) if last else "?"
        yield found("disk errors", what, n=n, when=when, name=name)


def uptime(machine: Machine) -> float:
    """s since the start of the kernel; 0 where it is not told."""
    try:
        return float((machine.text("/proc/uptime") or "0").split()[0])
    except ValueError:
        return 0.0


def writes(machine: Machine, what: str, disk: str, ours: int) -> Iterator[Finding]:
    """How much is written in a day, and how long a card bears that. Kernel: Documentation/block/stat.rst."""
    fields = (machine.text(f"/sys/block/{disk}/stat") or "").split()
    seconds = uptime(machine)
    if len(fields) < 7 or seconds < 3600:
        return
    daily = int(fields[6]) * 512 / seconds * 86400
    whole = (machine.number(f"/sys/block/{disk}/size") or 0) * 512
    years = whole * CYCLES / AMPLIFIED / max(daily, 1.0) / 365
    facts = {"disk": disk, "daily": size(daily), "years": f"{years:.2g}", "whole": size(whole)}
    busy = disk.startswith("mmcblk") and whole and years < YEARS
    yield found("disk busy" if busy else "disk writes", what, **facts)
    if ours:
        written = re.search(r"^write_bytes: (\d+)$", machine.text(f"/proc/{ours}/io") or "", re.MULTILINE)
        age = seconds - _began(machine, ours)
        if written is not None and age > 600:
            yield found("disk ours", what, daily=size(int(written[1]) / age * 86400))


def _began(machine: Machine, pid: int) -> float:
    """s after the start of the kernel, when a process began. proc_pid_stat(5), field 22."""
    stat = machine.text(f"/proc/{pid}/stat") or ""
    fields = stat.rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK") if len(fields) > 19 else 0.0


# -- the store ----------------------------------------------------------------------------------------


def whole(folder: Path, running: bool) -> Iterator[Finding]:
    """Whether the files of the store are whole (`PRAGMA quick_check`). While the agent runs it guards them itself.

    They are read as they lie, without a lock and without a file beside them: else root would leave files that are not
    the agent's. What was not closed (its WAL is not empty) is copied before.
    """
    for name in ("alarms.db", "history.db"):
        path = folder / name
        try:
            held = path.stat().st_size
        except FileNotFoundError:
            continue
        except OSError as error:
            yield found("store unread", str(path), why=error.strerror or str(error))
            continue
        if running:
            yield found("store running", str(path))
            continue
        wal = log_of(path)
        open_ = wal.exists() and wal.stat().st_size > 0
        if open_ and held + wal.stat().st_size > COPIED:
            yield found("store unclosed", str(path))
            continue
        try:
            yield _copied(path) if open_ else _checked(path, "immutable=1", str(path))
        except OSError as error:
            yield found("store unread", str(path), why=error.strerror or str(error))


def _copied(path: Path) -> Finding:
    with copied(path) as copy:
        return _checked(copy, "mode=rw", str(path))


def _checked(path: Path, how: str, what: str) -> Finding:
    """
    What SQLite finds. `how`: of opening it.
    """
    end = time.monotonic() + PATIENCE
    try:
        line = sqlite3.connect(f"file:{path.as_posix().replace('?', '%3f')}?{how}", uri=True)
        try:
            line.set_progress_handler(lambda: time.monotonic() > end, 100_000)
            told = [row[0] for row in line.execute("PRAGMA quick_check(3)")]
        finally:
            line.close()
    except sqlite3.OperationalError as error:
        return found("store slow" if "interrupted" in str(error) else "store unread", what, why=str(error), s=PATIENCE)
    except sqlite3.DatabaseError as error:
        return found("store broken", what, why=str(error))
    return found("store whole", what) if told == ["ok"] else found("store broken", what, why="; ".join(told)[:200])
