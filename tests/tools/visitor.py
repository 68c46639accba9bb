"""Whoever comes to the local page without a browser: a site file with a page, and requests as bytes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

from agent import config, daemon
from agent.cli import main as cli
from agent.clock import SystemClock
from tests.rigs.stage import plant, site
from tests.tools.mosquitto import free_port

WORD = "correct horse battery"


def with_page(path: Path, name: str = "", more: str = "") -> str:
    """The site file with a page at a free port, its channels in per cent, and somebody who may act. The address."""
    port = free_port()
    path.write_text(f'{path.read_text()}[web]\nlisten = "127.0.0.1:{port}"\n{more}')
    points = path.parent / "points.csv"
    rows = points.read_text().splitlines()
    points.write_text("\n".join([f"{rows[0]},unit", *(f"{row},%" for row in rows[1:])]))
    if name:
        given, sys.stdin = sys.stdin, io.StringIO(f"{WORD}\n")
        try:
            assert cli(["passwd", name, "--stdin", "-c", str(path)]) == 0
        finally:
            sys.stdin = given
    return f"http://127.0.0.1:{port}"


async def ready(url: str) -> None:
    """Return once the page answers."""
    host, _, port = url.removeprefix("http://").partition(":")
    for _ in range(600):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"nobody answers at {url}")


class Visitor:
    """One who asks by HTTP, and keeps his cookies."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self.host, _, port = url.removeprefix("http://").partition(":")
        self.port, self.tls = int(port), tls
        self.cookies: dict[str, str] = {}

    def ask(
        self, path: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body of one answer; redirections are not followed."""
        if self.tls is None:
            line = http.client.HTTPConnection(self.host, self.port, timeout=10)
        else:
            line = http.client.HTTPSConnection(self.host, self.port, timeout=10, context=self.tls)
        sent = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} if self.cookies else {}
        body = None
        if form is not None:
            body = urlencode(form)
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            line.request("GET" if form is None else "POST", path, body, sent | dict(headers or {}))
            answer = line.getresponse()
            text = answer.read()
        finally:
            line.close()
        for name, morsel in SimpleCookie("\r\n".join(answer.headers.get_all("Set-Cookie", []))).items():
            self.cookies[name] = morsel.value
        return answer.status, answer.headers, text

    def text(self, path: str) -> str:
        status, _, body = self.ask(path)
        assert status == 200, (path, status, body)
        return body.decode()

    def log_in(self, name: str, word: str = WORD) -> int:
        return self.ask("/login", {"name": name, "password": word})[0]

    def token(self, path: str = "/alarms") -> str:
        """The token of the session, as it stands in a form."""
        return self.text(path).split('name="token" value="')[1].split('"')[0]

    def raw(self, data: bytes) -> socket.socket:
        """A connection on which these bytes were sent."""
        line = socket.create_connection((self.host, self.port), 10)
        line.sendall(data)
        return line


@contextlib.contextmanager
def living(path: Path, clock: SystemClock | None = None) -> Iterator[daemon.Agent]:
    """The agent of a site file in a thread with a loop of its own."""
    agent = daemon.Agent(config.load(path), clock)
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await agent.run()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        asyncio.run(ready(f"http://{agent.config.web.listen}"))
        yield agent
    finally:
        loops[0].call_soon_threadsafe(agent.stop)
        thread.join(20)
        assert not thread.is_alive()


def silent(folder: Path, more: str = "", name: str = "") -> tuple[Path, str]:
    """A site whose only line leads nowhere: soon its silence is an alarm. Its page is at the address."""
    path = site(folder, plant(2), f"tcp://127.0.0.1:{free_port()}", f"mqtt://127.0.0.1:{free_port()}", 0.1)
    return path, with_page(path, name, more)
