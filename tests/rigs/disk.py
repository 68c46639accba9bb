"""A disk of its own: an ext4 file system in a file, on a loop device, in a mount namespace of this process.

Because the namespace and the device belong to the process and to what it starts, nothing is left behind however it
ends. Mounted `noauto_da_alloc`, or a missing fsync is hidden (reliability.md 1.3). Linux, root.

    with Disk(case.folder, mb=64) as disk:
        ...                                 files below `disk.home`, by this process or by ones that it starts
        disk.cut(); ...; disk.remount()     power lost: whatever was not synced is gone; and back
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from tests.rigs.trial import Skip

SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN; the ioctl that xfstests cuts the power with
NO_LOG_FLUSH = struct.pack("I", 2)
GET_STATUS, SET_STATUS, STATUS_SIZE, FLAGS_AT, AUTOCLEAR = 0x4C05, 0x4C04, 232, 52, 4  # linux/loop.h
CLONE_NEWNS = 0x00020000
OPTIONS = "noauto_da_alloc,noatime,errors=remount-ro"
SECTOR = 512  # bytes, of the kernel's statistics whatever the device


def own_mounts() -> None:
    """From now on this process and what it starts have mounts of their own, which end with them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "no mount namespace")
    _sh("mount", "--make-rprivate", "/")


@contextmanager
def ram(folder: Path) -> Iterator[Path]:
    """The folder in memory where that can be had, for rigs in which nothing depends on a disk but their speed."""
    folder.mkdir(parents=True)
    mounted = False
    try:
        own_mounts()
        _sh("mount", "-t", "tmpfs", "ram", str(folder))
        mounted = True
    except OSError:
        pass
    try:
        yield folder
    finally:
        if mounted:
            _sh("umount", "--lazy", str(folder))


def _sh(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


class Disk:
    """See the module. Enter it before threads are started: only what is started afterwards sees the disk."""

    def __init__(self, folder: Path, mb: int = 64) -> None:
        self.image = folder / "disk.img"
        self.home = folder / "disk"  # where it is mounted
        self.mb = mb
        self.device = ""  # /dev/loopN
        self._held = -1  # keeps the device while it is not mounted
        self._mounted = False

    def __enter__(self) -> Disk:
        if os.geteuid():
            raise Skip("mounting a disk of its own needs root")
        if missing := [tool for tool in ("losetup", "mkfs.ext4", "mount", "umount") if shutil.which(tool) is None]:
            raise Skip(f"a disk of its own needs {', '.join(missing)}")
        self.home.mkdir(parents=True)
        try:
            self._make()
            self._mount()
        except OSError as error:
            self.__exit__(None, None, None)
            raise Skip(f"no disk of its own: {error}") from error
        return self

    def _make(self) -> None:
        own_mounts()
        with self.image.open("wb") as file:
            file.truncate(self.mb * 2**20)
        _sh("mkfs.ext4", "-q", "-b", "4096", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self.image))
        self.device = _sh("losetup", "--find", "--show", str(self.image))
        self._held = os.open(self.device, os.O_RDWR)
        status = bytearray(STATUS_SIZE)
        fcntl.ioctl(self._held, GET_STATUS, status)
        struct.pack_into("I", status, FLAGS_AT, struct.unpack_from("I", status, FLAGS_AT)[0] | AUTOCLEAR)
        fcntl.ioctl(self._held, SET_STATUS, bytes(status))

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        if self._mounted:
            _sh("umount", "--lazy", str(self.home))  # what still runs keeps it no longer than it lives
        if self._held >= 0:
            os.close(self._held)
        elif self.device:
            _sh("losetup", "--detach", self.device)
        self._mounted, self._held, self.device = False, -1, ""
        self.image.unlink(missing_ok=True)

    def _mount(self) -> None:
        _sh("mount", "-t", "ext4", "-o", OPTIONS, self.device, str(self.home))
        self._mounted = True

    def cut(self) -> None:
        """Lose the power now: nothing reaches the device any more, the journal's open transaction included."""
        top = os.open(self.home, os.O_RDONLY)
        try:
            fcntl.ioctl(top, SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(top)

    def remount(self, seconds: float = 10.0) -> None:
        """Unmount and mount, as soon as nobody has a file open: after `cut` or `fail`, this is the next boot."""
        self.unmount(seconds)
        self._mount()

    def unmount(self, seconds: float = 10.0) -> None:
        """Unmount, which writes everything down; waits until nobody has a file open."""
        end = time.monotonic() + seconds
        while self._mounted:
            try:
                _sh("umount", str(self.home))
                self._mounted = False
            except OSError as error:
                if "busy" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.002)

    def fail(self) -> None:
        """What a dying card does: the kernel finds an error and makes the file system read-only, files open or not.

        Only `remount` heals it, and that needs every file closed.
        """
        Path(f"/sys/fs/ext4/{Path(self.device).name}/trigger_fs_error").write_text("1")

    def freeze(self, on: bool) -> None:
        """Whoever writes or syncs hangs, until thawed."""
        _sh("fsfreeze", "--freeze" if on else "--unfreeze", str(self.home))

    def written(self) -> int:
        """Bytes that have reached the device since it was made. What the kernel still holds is not in it: `sync`."""
        return int(Path(f"/sys/block/{Path(self.device).name}/stat").read_text().split()[6]) * SECTOR

    def sync(self) -> None:
        """Have the kernel write everything down."""
        top = os.open(self.home, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(top):
                raise OSError(ctypes.get_errno(), "syncfs")
        finally:
            os.close(top)

    def free(self) -> int:
        """Bytes that can still be written."""
        found = os.statvfs(self.home)
        return found.f_bavail * found.f_frsize
