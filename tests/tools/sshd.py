"""A real SFTP server for tests: OpenSSH's sshd with its own keys, on a free port of the loopback, for this user."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.tools.mosquitto import free_port

PROGRAM = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "/usr/sbin/sshd"
needs_sshd = pytest.mark.skipif(not Path(PROGRAM).exists(), reason="openssh-server is not installed")


def keygen(path: Path, passphrase: str = "") -> Path:
    """A new Ed25519 key pair."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return path


class Sshd:
    """One server. `home/` is where files are put, `user` may come with the key `client`."""

    def __init__(self, folder: Path, port: int = 0, more: str = "") -> None:
        self.folder, self.port, self.user = folder, port or free_port(), getpass.getuser()
        self.home, self.known_hosts = folder / "home", folder / "known_hosts"
        self.home.mkdir(parents=True, exist_ok=True)
        self.host = keygen(folder / "host")
        self.client = keygen(folder / "client")
        self.locked = keygen(folder / "locked", "open sesame")
        (folder / "authorized").write_text("".join(key.with_suffix(".pub").read_text()
                                                   for key in (self.client, self.locked)))  # fmt: skip
        (folder / "authorized").chmod(0o600)
        public = " ".join((folder / "host.pub").read_text().split()[:2])
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}\n")
        lines = [
            f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {self.host}", f"PidFile {folder / 'pid'}",
            f"AuthorizedKeysFile {folder / 'authorized'}", "StrictModes no", "UsePAM no", "PermitRootLogin yes",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", "Subsystem sftp internal-sftp", more, "",
        ]  # fmt: skip
        (folder / "config").write_text("\n".join(lines))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"sftp://{self.user}@127.0.0.1:{self.port}{self.home}"

    def fingerprint(self) -> str:
        said = subprocess.run(["ssh-keygen", "-lf", f"{self.host}.pub"], check=True, capture_output=True, text=True)
        return said.stdout.split()[1]

    def start(self) -> Sshd:
        """Run; returns when it listens."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it wants an empty folder to be locked into
        command = [PROGRAM, "-D", "-e", "-f", str(self.folder / "config")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.01)

    def stop(self) -> None:
        """End it and every connection, at once."""
        if self.process is not None:
            self._hang_up(self.process.pid)
            self.process.kill()
            self.process.wait(10)
            self.process = None

    @staticmethod
    def _hang_up(parent: int) -> None:
        """Kill what it has begotten: a process for each connection, in a session of its own."""
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            Sshd._hang_up(int(child))
            try:
                os.kill(int(child), signal.SIGKILL)
            except ProcessLookupError:
                pass

    def __enter__(self) -> Sshd:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
