"""A real browser for tests: Debian's Chromium without a screen, driven by its own protocol through two pipes.

https://chromedevtools.github.io/devtools-protocol/ ; `--remote-debugging-pipe` reads JSON messages with a zero byte
behind each on descriptor 3 and writes them on 4. So nothing listens, and nothing has to be installed beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
needs_chromium = pytest.mark.skipif(not PROGRAM, reason="chromium is not installed")
AXE = Path(__file__).parents[2] / "build/decoders/axe/node_modules/axe-core/axe.min.js"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-extensions "
    "--disable-background-networking --disable-component-update --disable-sync --hide-scrollbars --mute-audio"
)
SECONDS = 20.0  # for anything


class Chromium:
    """One browser with one page."""

    def __init__(self, folder: Path) -> None:
        ours, self._out = os.pipe()
        self._in, theirs = os.pipe()
        command = f'exec "$0" "$@" 3<&{ours} 4>&{theirs}'
        flags = [*FLAGS.split(), "--remote-debugging-pipe", f"--user-data-dir={folder}"]
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", command, PROGRAM, *flags],
            pass_fds=(ours, theirs),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # it has children of its own, which end with it
        )
        os.close(ours)
        os.close(theirs)
        self._n, self._text, self._session, self._loader = 0, b"", "", ""
        self.told: list[dict[str, Any]] = []  # events that nobody has looked at
        self.past: list[dict[str, Any]] = []  # those before, oldest first
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.ask(f"{domain}.enable")
        self.ask("Page.setLifecycleEventsEnabled", enabled=True)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its result."""
        self._n += 1
        message = {"id": self._n, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (got := self._read()).get("id") != self._n:
            self.told.append(got)
        assert "error" not in got, f"{method}: {got['error']}"
        return got["result"]

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._text:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser says nothing"
            piece = os.read(self._in, 1 << 20)
            assert piece, "the browser is gone"
            self._text += piece
        one, _, self._text = self._text.partition(b"\0")
        return json.loads(one)

    def go(self, url: str) -> None:
        """Load a page; returns when it is there with all its parts."""
        loader = self.ask("Page.navigate", url=url)["loaderId"]
        self._until_loaded(lambda one: one == loader)

    def _until_loaded(self, is_it: Callable[[str], bool]) -> None:
        while True:
            said = self.told.pop(0) if self.told else self._read()
            self.past.append(said)
            params = said.get("params", {})
            loaded = (said.get("method"), params.get("name")) == ("Page.lifecycleEvent", "load")
            if loaded and is_it(params["loaderId"]):
                self._loader = params["loaderId"]
                return

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        got = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def until(self, expression: str, seconds: float = SECONDS) -> Any:
        """Wait for an expression to be true."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AssertionError):  # a page that is just going away
                if value := self.js(expression):
                    return value
            assert time.monotonic() < end, f"{expression}: not within {seconds} s; {self.js('document.body.innerText')}"
            time.sleep(0.05)

    def submit(self, fields: dict[str, str], button: str) -> None:
        """Fill in fields as a person would, press a button, and wait for the next page."""
        for selector, value in fields.items():
            self.js(f"document.querySelector({json.dumps(selector)}).focus()")
            self.ask("Input.insertText", text=value)
        self.js(f"setTimeout(() => document.querySelector({json.dumps(button)}).click())")
        self._until_loaded(lambda one: one != self._loader)

    def size(self, wide: int, tall: int, dark: bool = False) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=wide, height=tall, deviceScaleFactor=1, mobile=wide < 700)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme, still])

    def complaints(self) -> list[str]:
        """Errors of the console, exceptions, violations of the policy, since the start."""
        self.ask("Runtime.evaluate", expression="0")  # what is under way arrives
        found = []
        for one in [*self.past, *self.told]:
            params = one.get("params", {})
            if one.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            elif one.get("method") == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif one.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error":
                found.append(str(params["args"]))
            elif one.get("method") == "Audits.issueAdded" and "contentSecurityPolicy" in str(params):
                found.append(str(params["issue"]))
        return found

    def axe(self) -> list[str]:
        """What axe-core finds wrong with the page: WCAG 2.2 A and AA."""
        run = "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})"
        self.ask("Runtime.evaluate", expression=AXE.read_text("utf-8"))
        pick = "r.violations.flatMap(v => v.nodes.map(n => `${v.id}: ${n.target} ${n.failureSummary}`))"
        return self.js(f"{run}.then(r => {pick})")

    def close(self) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self._session = ""
            self.ask("Browser.close")
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._in)
        os.close(self._out)


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Chromium]:
    browser = Chromium(folder)
    try:
        yield browser
    finally:
        browser.close()
