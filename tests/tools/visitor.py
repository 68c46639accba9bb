"""Whoever comes to the local page without a browser: a site file with a page, and requests as bytes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from pathlib import Path

from agent.cli import main as cli
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
