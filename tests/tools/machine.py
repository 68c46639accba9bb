"""Somebody else's machine, made of namespaces: a clean Debian that this one's kernel runs, with no network but its own.

`base()` is a small Debian, made once and kept in `build`. A `Machine` lays a thin copy over it (overlayfs), has
processes, host name and loopback of its own, and is gone without a trace with its first process. With `boots` that is
its systemd: units, limits and devices are then those of a gateway. All of it takes root.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RELEASE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = ("adduser", "ca-certificates", "python3", "systemd", "systemd-sysv")
LIMIT = 120.0  # s for anything; a busy machine is slow
V1 = ("systemd", "memory", "devices", "pids")  # hierarchies of the old cgroups that systemd gets, where there are any
CGROUPS = Path("/sys/fs/cgroup")

SETUP = r"""
set -e
work=$1; base=$2; shift 2
mount --make-rprivate /
mkdir -p $work/upper $work/work $work/root
root=$work/root
mount -t overlay -o lowerdir=$base,upperdir=$work/upper,workdir=$work/work overlay $root 2>/dev/null ||
  { cp -a $base/. $root; mount --bind $root $root; }
mount -t proc proc $root/proc
mount -t sysfs -o ro sysfs $root/sys
mount -t tmpfs -o mode=755 tmpfs $root/run
mount -t tmpfs -o mode=755 tmpfs $root/dev
for node in null zero full random urandom tty; do touch $root/dev/$node; mount --bind /dev/$node $root/dev/$node; done
mkdir $root/dev/pts $root/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts $root/dev/pts
mount -t tmpfs tmpfs $root/dev/shm
ln -s pts/ptmx $root/dev/ptmx
ln -s /proc/self/fd $root/dev/fd
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
else
  mount -t tmpfs tmpfs $root/sys/fs/cgroup
  for one in @V1@; do
    mkdir $root/sys/fs/cgroup/$one
    [ $one = systemd ] && how=none,name=systemd || how=$one
    mount -t cgroup -o $how cgroup $root/sys/fs/cgroup/$one
  done
  mkdir $root/sys/fs/cgroup/unified
  mount -t cgroup2 cgroup2 $root/sys/fs/cgroup/unified
fi
ip link set lo up
cd $root
mkdir -p run/old
pivot_root . run/old
exec /usr/bin/env -i container=vedette PATH=/usr/sbin:/usr/bin:/sbin:/bin /bin/sh -c \
  'umount -l /run/old; rmdir /run/old; exec "$@"' sh "$@" </dev/null
"""


def missing() -> str:
    """Why there is no such machine here, in words; empty: there can be one."""
    if os.geteuid() != 0:
        return "a machine of its own takes root"
    if not (shutil.which("mmdebstrap") or shutil.which("debootstrap")):
        return "no mmdebstrap, no debootstrap: apt install mmdebstrap"
    return next(
        (f"no {tool} here" for tool in ("unshare", "nsenter", "pivot_root", "ip") if not shutil.which(tool)), ""
    )


def base() -> Path:
    """A small Debian, as it comes from its mirror. Raises `RuntimeError` where none is to be had."""
    words = "\n".join((RELEASE, MIRROR, *PACKAGES))
    folder = ROOT / "build/roots" / f"{RELEASE}-{hashlib.sha256(words.encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    new = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    new.parent.mkdir(parents=True, exist_ok=True)
    if shutil.which("mmdebstrap"):
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        command += ["--dpkgopt=force-unsafe-io", "--format=directory", RELEASE, str(new), MIRROR]
    else:
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE, str(new), MIRROR]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(new, ignore_errors=True)
        raise RuntimeError(f"no Debian to be had: {done.stderr.strip()[-300:]}")
    try:
        new.rename(folder)
    except OSError:  # somebody else was first
        shutil.rmtree(new)
    return folder


class Machine:
    """One machine, from entering the context to leaving it."""

    def __init__(self, work: Path, boots: bool) -> None:
        self.work, self.boots = work, boots
        self.pid = 0  # of its first process, out here
        self._groups: list[Path] = []
        self._outer: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Machine:
        begun = base()
        self.work.mkdir(parents=True, exist_ok=True)
        init = ["/lib/systemd/systemd", "--show-status=no"] if self.boots else ["/bin/sleep", "infinity"]
        name = f"vedette-{os.getpid()}-{self.work.name}"
        places = [CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else [CGROUPS / one for one in (*V1, "unified")]
        self._groups = [place / name for place in places if place.is_dir()]
        for group in self._groups:
            group.mkdir(exist_ok=True)
        join = "; ".join(f"echo $$ >{group}/cgroup.procs" for group in self._groups)
        space = "unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child"
        setup = SETUP.replace("@V1@", " ".join(V1))
        inner = shlex.join(["sh", "-c", setup, "setup", str(self.work), str(begun), *init])
        self._outer = subprocess.Popen(
            ["sh", "-c", f"{join}; exec {space} {inner}"],
            stdin=subprocess.DEVNULL,
            stdout=(self.work / "console").open("wb"),
            stderr=subprocess.STDOUT,
        )
        try:
            self._arrive()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._outer is not None:
            self._outer.kill()  # --kill-child: the first process, and so all of them
            self._outer.wait()
        end = time.monotonic() + LIMIT
        while self._groups and time.monotonic() < end:
            self._groups = [group for group in self._groups if not _removed(group)]
            time.sleep(0.02)
        shutil.rmtree(self.work, ignore_errors=True)

    def _arrive(self) -> None:
        """Wait until it is up. Raises `RuntimeError` where it does not come up."""
        assert self._outer is not None
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        end = time.monotonic() + LIMIT
        up = ("systemctl", "is-system-running") if self.boots else ("test", "!", "-e", "/run/old")
        while time.monotonic() < end and self._outer.poll() is None:
            with contextlib.suppress(OSError):
                self.pid = int((children.read_text().split() or ["0"])[0])
            if self.pid and os.path.exists(f"/proc/{self.pid}/root/bin") and not self._outside():
                told = self.run(*up, check=False)
                if told.stdout.strip() in ("running", "degraded") or (not self.boots and told.returncode == 0):
                    return
            time.sleep(0.1)
        raise RuntimeError(f"it does not come up: {(self.work / 'console').read_text(errors='replace')[-2000:]}")

    def _outside(self) -> bool:
        """Whether its first process still sees the files of this machine."""
        with contextlib.suppress(OSError):
            return os.path.samefile(f"/proc/{self.pid}/root/", "/")
        return True

    def run(self, *command: str, check: bool = True, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command there, to its end."""
        done = subprocess.run(self.inside(command, user), capture_output=True, text=True, check=False, timeout=LIMIT)
        if check and done.returncode:
            raise AssertionError(f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    @contextlib.contextmanager
    def running(self, *command: str, user: str = "") -> Iterator[None]:
        """A command there that goes on, until it is told to end; what it says goes to the console."""
        with (self.work / "console").open("ab") as console:
            told = {"stdin": subprocess.DEVNULL, "stdout": console, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(self.inside(command, user), start_new_session=True, **told)  # type: ignore[call-overload]
            try:
                yield
            finally:
                os.killpg(process.pid, signal.SIGTERM)  # `nsenter` passes nothing on
                process.wait(LIMIT)

    def inside(self, command: tuple[str, ...], user: str = "") -> list[str]:
        """The command as it is typed out here."""
        enter = ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-i", "-u", "-C", "-r", "-w"]
        clean = ["/usr/bin/env", "-i", "LC_ALL=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        return [*enter, *clean, *become, *command]

    def path(self, name: str) -> Path:
        """A file of it, as it is seen from here."""
        return Path(f"/proc/{self.pid}/root") / name.lstrip("/")

    def until(self, *command: str, says: str = "", user: str = "") -> str:
        """Ask again and again until a command succeeds and its output has a word in it."""
        end = time.monotonic() + LIMIT
        while True:
            told = self.run(*command, check=False, user=user)
            if told.returncode == 0 and says in told.stdout:
                return told.stdout
            if time.monotonic() > end:
                raise AssertionError(f"{shlex.join(command)}: never {says!r}:\n{told.stdout}{told.stderr}")
            time.sleep(0.2)


def _removed(group: Path) -> bool:
    """Whether a control group and those below it could be removed: not while anybody is in it."""
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return not group.exists()
