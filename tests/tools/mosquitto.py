"""A real broker for tests: mosquitto with its own configuration, on a free port of the loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

PROGRAM = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
needs_mosquitto = pytest.mark.skipif(not Path(PROGRAM).exists(), reason="mosquitto is not installed")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


KEEPS = "persistence true\nautosave_interval 0"  # the broker keeps what it knows when it ends, or is told to `keep`
PATIENT = "max_queued_messages 0\nmax_inflight_messages 0"  # the broker drops nothing for a slow ear


class Served(Protocol):
    """Files of a broker that speaks TLS."""

    @property
    def ca(self) -> Path: ...
    @property
    def cert(self) -> Path: ...
    @property
    def key(self) -> Path: ...


class Mosquitto:
    """One broker. `users` maps names to passwords; `acl` and `more` are lines of its own files."""

    def __init__(
        self,
        folder: Path,
        users: Mapping[str, str] | None = None,
        acl: str = "",
        more: str = "",
        tls: Served | None = None,
    ) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", f"persistence_location {folder}/"]
        lines += ["set_tcp_nodelay true", "log_dest stderr"]
        if os.getuid() == 0:
            lines.append("user root")  # else it gives up root and cannot read the test's folder
        if users:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            for name, password in users.items():
                command = ["mosquitto_passwd", "-b", str(passwords), name, password]
                subprocess.run(command, check=True, capture_output=True)
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        else:
            lines.append("allow_anonymous true")
        if acl:
            (folder / "acl").write_text(acl)
            (folder / "acl").chmod(0o600)
            lines.append(f"acl_file {folder / 'acl'}")
        if tls:
            lines += [f"cafile {tls.ca}", f"certfile {tls.cert}", f"keyfile {tls.key}"]
        self.scheme = "mqtts" if tls else "mqtt"
        (folder / "mosquitto.conf").write_text("\n".join([*lines, more, ""]))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> Mosquitto:
        """Run; returns when it listens."""
        with (self.folder / "mosquitto.log").open("ab") as log:
            command = [PROGRAM, "-c", str(self.folder / "mosquitto.conf")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError((self.folder / "mosquitto.log").read_text()) from None
                time.sleep(0.01)

    def stop(self, kill: bool = False) -> None:
        """End it; with `kill` without a word to its clients."""
        if self.process is not None:
            if kill:
                self.process.kill()
            else:
                self.process.terminate()
            self.process.wait(10)
            self.process = None

    def keep(self) -> None:
        """What it knows now, the sessions of ears above all, it knows again after it is killed. Of one that `KEEPS`."""
        assert self.process is not None
        (kept := self.folder / "mosquitto.db").unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + 10
        while not kept.exists():
            assert time.monotonic() < end, "it keeps nothing"
            time.sleep(0.01)

    def __enter__(self) -> Mosquitto:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()


SHIPPED = Path(__file__).parent.parent.parent / "configs" / "brokers"


class Guarded(Mosquitto):
    """The broker that ships as an example, `configs/brokers/mosquitto.conf` and its rights, on this machine."""

    def __init__(self, folder: Path, tls: Served, crl: Path, more: str = "") -> None:
        super().__init__(folder, tls=tls)
        (folder / "acl").write_bytes((SHIPPED / "mosquitto.acl").read_bytes())
        (folder / "acl").chmod(0o600)
        places = {
            "/etc/mosquitto/ca.pem": tls.ca,
            "/etc/mosquitto/server.pem": tls.cert,
            "/etc/mosquitto/server.key": tls.key,
            "/etc/mosquitto/crl.pem": crl,
            "/etc/mosquitto/vedette.acl": folder / "acl",
            "/var/lib/mosquitto/": f"{folder}/",
            "listener 8883": f"listener {self.port} 127.0.0.1",
        }
        text = (SHIPPED / "mosquitto.conf").read_text()
        for old, new in places.items():
            assert old in text, old
            text = text.replace(old, str(new))
        own = ["set_tcp_nodelay true", "log_dest stderr", *(["user root"] if os.getuid() == 0 else []), more, ""]
        (folder / "mosquitto.conf").write_text("\n".join([text, *own]))


class Certificates:
    """An authority, and a certificate for 127.0.0.1 signed by it; and one for a client."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "server.pem", folder / "server.key"
        self.client_cert, self.client_key = folder / "client.pem", folder / "client.key"
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        ca_key = folder / "ca.key"
        _openssl("req", "-x509", *ec, "-keyout", ca_key, "-out", self.ca, "-days", "2", "-subj", "/CN=test authority")
        for name, cert, key in (("server", self.cert, self.key), ("client", self.client_cert, self.client_key)):
            request, extra = folder / f"{name}.csr", folder / f"{name}.ext"
            extra.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
            _openssl("req", *ec, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
            sign = ["-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2", "-extfile", extra]
            _openssl("x509", "-req", "-in", request, "-out", cert, *sign)


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
