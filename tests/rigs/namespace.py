"""A link of our own: this process in one network namespace, a broker in another, one cable (veth) or more in between.

    with Link() as link:
        link.far(broker.start)      runs in the far namespace; whatever it starts stays there
        link.drop() / link.loss(30) / link.narrow(64) / link.heal()

Loopback is up and free on both sides. Nothing of the machine's own network is touched, and when the process ends, in
whatever way, the namespaces end with it. netem is not needed: nftables drops, tbf narrows.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.rigs.trial import Skip

T = TypeVar("T")
NETS = ("10.213.0", "10.213.1")  # of each cable; the near side is .1
FAR, ASIDE = (f"{net}.2" for net in NETS)  # the far side, by the first cable and by the second
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def sh(*command: object, text: str = "") -> str:
    """Run a program, say what it said; an error where it fails."""
    done = subprocess.run([str(word) for word in command], input=text, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


class Link:
    """Two namespaces and the cables between them. Made and used by one thread; what that starts is on its side."""

    def __init__(self, cables: int = 1) -> None:
        self.cables = range(cables)  # cable i joins the devices near{i} and far{i}

    def __enter__(self) -> Link:
        for program in ("ip", "tc", "nft", "unshare", "nsenter"):
            if shutil.which(program) is None:
                raise Skip(f"needs the program {program}")
        if os.getuid():
            raise Skip("needs root for network namespaces")
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _check(LIBC.unshare(CLONE_NEWNET), "unshare")
        # The far side lives as long as this process holds its end of the pipe.
        self._holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; read x"], stdin=-1, stdout=-1)
        assert self._holder.stdout is not None
        self._holder.stdout.read(1)
        self._far = os.open(f"/proc/{self._holder.pid}/ns/net", os.O_RDONLY)
        try:
            sh("ip", "link", "set", "lo", "up")
            self._there("ip", "link", "set", "lo", "up")
            for i in self.cables:
                near, far = f"near{i}", f"far{i}"
                sh("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", self._holder.pid)
                sh("ip", "addr", "add", f"{NETS[i]}.1/24", "dev", near)
                sh("ip", "link", "set", near, "up")
                self._there("ip", "addr", "add", f"{NETS[i]}.2/24", "dev", far)
                self._there("ip", "link", "set", far, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        _check(LIBC.setns(self._home, CLONE_NEWNET), "setns")
        os.close(self._home)
        os.close(self._far)
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(10)
        assert self._holder.stdout is not None
        self._holder.stdout.close()

    def _there(self, *command: object, text: str = "") -> str:
        return sh("nsenter", "-t", self._holder.pid, "-n", *command, text=text)

    def far(self, do: Callable[[], T]) -> T:
        """The result of `do`, called on the far side. Sockets, threads and programs that it starts stay there."""
        found: list[Any] = []

        def there() -> None:
            _check(LIBC.setns(self._far, CLONE_NEWNET), "setns")
            try:
                found.extend((True, do()))
            except BaseException as error:
                found.extend((False, error))

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        if not found[0]:
            raise found[1]
        return found[1]  # type: ignore[no-any-return]

    def drop(self, *cables: int) -> None:
        """Nothing passes any more, in either direction, and nobody is told: a half-open link. Without a number, here
        and below, it is all cables."""
        self._rule("drop", cables)

    def loss(self, percent: int, *cables: int) -> None:
        """So many of a hundred packets are lost, in each direction; none, and it is as narrow as it was."""
        self._rule(f"numgen random mod 100 < {percent} drop" if percent else "", cables)

    def _rule(self, rule: str, cables: Sequence[int]) -> None:
        hooks = {"input": "iifname", "output": "oifname"}
        text = ""
        for i in cables or self.cables:
            text += f"table inet cable{i}\ndelete table inet cable{i}\n"  # it need not be there to be deleted
            chains = [
                f'chain {hook} {{\n type filter hook {hook} priority 0\n {side} "far{i}" {rule}\n}}\n'
                for hook, side in hooks.items()
            ]
            text += f"table inet cable{i} {{\n" + "".join(chains) + "}\n" if rule else ""
        self._there("nft", "-f", "-", text=text)

    def narrow(self, kbit: int, *cables: int) -> None:
        """So many kbit/s in each direction, with a queue of at most half a second."""
        shape = ["root", "tbf", "rate", f"{kbit}kbit", "burst", "4kb" if kbit < 1000 else "32kb", "latency", "500ms"]
        for i in cables or self.cables:
            sh("tc", "qdisc", "replace", "dev", f"near{i}", *shape)
            self._there("tc", "qdisc", "replace", "dev", f"far{i}", *shape)

    def heal(self, *cables: int) -> None:
        """As good as new."""
        self._rule("", cables)
        for i in cables or self.cables:
            with contextlib.suppress(OSError):
                sh("tc", "qdisc", "del", "dev", f"near{i}", "root")
            with contextlib.suppress(OSError):
                self._there("tc", "qdisc", "del", "dev", f"far{i}", "root")


def connections(port: int) -> set[str]:
    """Local addresses of the established connections from this namespace to `port`, as the kernel lists them."""
    rows = (row.split() for row in Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:])
    return {row[1] for row in rows if int(row[2].split(":")[1], 16) == port and row[3] == "01"}
