"""What this machine says of itself in files: /proc, /sys, /dev and /run, below a root that a test may put elsewhere.

Nothing is opened here but text: no device, no port. What is not there is None, and whoever asks says so.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

READ, WRITE, ENTER = 4, 2, 1  # bits of a mode


class Machine(NamedTuple):
    """Where its files are."""

    root: Path = Path("/")

    def at(self, path: str | Path) -> Path:
        """An absolute path, below the root."""
        return self.root / str(path).lstrip("/")

    def text(self, path: str | Path) -> str | None:
        """What stands in a file, without white space around it; None where it is not there or not for us."""
        try:
            return self.at(path).read_text("utf-8", "replace").strip("\0 \n\t")
        except OSError:
            return None

    def number(self, path: str | Path, base: int = 10) -> int | None:
        """The whole number that stands in a file."""
        try:
            return int(self.text(path) or "", base)
        except ValueError:
            return None

    def glob(self, pattern: str) -> list[str]:
        """Absolute paths that fit, sorted."""
        return sorted("/" + str(path.relative_to(self.root)) for path in self.root.glob(pattern.lstrip("/")))

    def stat(self, path: str | Path) -> os.stat_result | None:
        try:
            return self.at(path).stat()
        except OSError:
            return None

    def real(self, path: str | Path) -> str:
        """Without symbolic links; those of a root elsewhere are relative."""
        resolved = self.at(path).resolve()
        root = self.root.resolve()
        return "/" + str(resolved.relative_to(root)) if resolved.is_relative_to(root) else str(resolved)


# -- who ----------------------------------------------------------------------------------------------


class Person(NamedTuple):
    """Whose rights are asked for: the user of the agent."""

    name: str
    uid: int
    groups: frozenset[int]

    def may(self, found: os.stat_result, wanted: int) -> bool:
        """Whether a file may be used so, by its mode. Lists of access control beyond that are not looked at."""
        if self.uid == 0:
            return True
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid in self.groups else 0
        return (found.st_mode >> shift) & wanted == wanted


def person(uid: int, more: frozenset[int] = frozenset()) -> Person:
    """A user of this machine, with the groups that the user database gives, and `more`."""
    try:
        known = pwd.getpwuid(uid)
        return Person(known.pw_name, uid, frozenset(os.getgrouplist(known.pw_name, known.pw_gid)) | more)
    except KeyError:
        return Person(str(uid), uid, more)


def user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def mode(found: os.stat_result) -> str:
    """Mode, owner and group, as `ls -l` has them."""
    return f"{stat.filemode(found.st_mode)} {user(found.st_uid)}:{group(found.st_gid)}"


# -- processes ----------------------------------------------------------------------------------------


class Process(NamedTuple):
    pid: int
    name: str  # at most 15 letters of it: proc(5) comm


def processes(machine: Machine) -> list[Process]:
    """Those that we may see."""
    found = []
    for path in machine.glob("/proc/[0-9]*/comm"):
        name = machine.text(path)
        if name is not None:
            found.append(Process(int(path.split("/")[2]), name))
    return found


class Holders(NamedTuple):
    """Who has a file open."""

    held: tuple[Process, ...]
    complete: bool  # whether everybody's files could be seen


def holders(machine: Machine, path: str) -> Holders:
    """By the open files of each process; those of others are for root only."""
    wanted, held, complete = machine.real(path), [], True
    for one in processes(machine):
        folder = machine.at(f"/proc/{one.pid}/fd")
        try:
            names = os.listdir(folder)
        except PermissionError:
            complete = False
            continue
        except OSError:
            continue  # it ended meanwhile
        for name in names:
            try:
                target = os.readlink(folder / name)
            except OSError:
                continue
            if target == wanted:
                held.append(one)
                break
    if complete or held:
        return Holders(tuple(held), complete)
    return Holders(tuple(_locked(machine, wanted)), complete)


def _locked(machine: Machine, path: str) -> Iterator[Process]:
    """Who has locked it (flock, as pyserial does): everybody sees that. proc(5) locks."""
    found = machine.stat(path)
    if found is None:
        return
    here = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in (machine.text("/proc/locks") or "").splitlines():
        words = line.replace("->", " ").split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5] == here and words[4].isdigit():
            pid = int(words[4])
            yield Process(pid, machine.text(f"/proc/{pid}/comm") or "?")


def groups_of(machine: Machine, pid: int) -> Person | None:
    """The user of a running process, with the groups that it really has. proc(5) status."""
    uid, groups = None, frozenset[int]()
    for line in (machine.text(f"/proc/{pid}/status") or "").splitlines():
        key, _, rest = line.partition(":")
        if key == "Uid":
            uid = int(rest.split()[1])
        elif key in ("Gid", "Groups"):
            groups |= frozenset(map(int, rest.split()))
    return None if uid is None else Person(user(uid), uid, groups)


# -- the kernel's log ---------------------------------------------------------------------------------


def kernel_log(machine: Machine) -> list[str] | None:
    """Its lines, the oldest first; None where they are not for us. Kernel: ABI/testing/dev-kmsg."""
    try:
        hand = os.open(machine.at("/dev/kmsg"), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    lines: list[str] = []
    try:
        while True:
            try:
                piece = os.read(hand, 8192)  # one record of the device; many lines of a file
            except BlockingIOError:
                break  # no more of them
            except BrokenPipeError:
                continue  # overwritten while we read
            if not piece:
                break
            for line in piece.decode("utf-8", "replace").splitlines():
                head, semicolon, text = line.partition(";")
                if semicolon and head[:1].isdigit():
                    lines.append(text)
    except OSError:
        return None
    finally:
        os.close(hand)
    return lines
