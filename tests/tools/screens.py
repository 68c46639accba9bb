"""Pictures of the local page for the README: a running agent above the plants of the demo, seen by a real browser.

    python -m tests.tools.screens [FOLDER]     `make screens` writes them to docs/

Needs Chromium, and a font with Chinese characters (fonts-noto-cjk, fonts-wqy-microhei).
"""

from __future__ import annotations

import asyncio
import base64
import sys
import tempfile
import time
from pathlib import Path

from simulators.demo import SITE, STORY
from simulators.scenario import Stage, load, play
from tests.rigs.stage import running
from tests.tools.chromium import Chromium, chromium
from tests.tools.mosquitto import Mosquitto, free_port
from tests.tools.visitor import ready

SECONDS = 75.0  # of the story: gas has come and gone, the sump is flooded, the dam moves
SHOTS = {  # by language: file, address, dark, pixels
    "en": (
        ("site.png", "/", False, (1280, 800)),
        ("channel.png", "/channel/sump/level?begin={begin}&end={end}", False, (1280, 720)),
    ),
    "zh": (("alarms-zh.png", "/alarms", True, (1280, 720)), ("phone-zh.png", "/", False, (390, 844))),
}


async def nothing(beats: object) -> None:
    """Nobody tells the story."""


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for language in SHOTS:
        with tempfile.TemporaryDirectory() as home, chromium(Path(home) / "browser") as browser:
            await played(folder, Path(home), browser, language)


async def played(folder: Path, home: Path, browser: Chromium, language: str) -> None:
    """The story, and pictures of it."""
    scenario = load(STORY)
    stage, broker, port = Stage(scenario), Mosquitto(home / "broker"), free_port()
    await stage.start(anywhere=True)
    broker.start()
    text = SITE.read_text("utf-8").replace("mqtt://127.0.0.1:1883", broker.url)
    for line in scenario.lines:
        text = text.replace(f'"{line.url}"', f'"{stage.lines[line.name].url}"')
    text = text.replace('node = "gw1"', f'node = "gw1"\nlanguage = "{language}"')
    path = home / "site.toml"
    path.write_text(f'{text}\n[web]\nlisten = "127.0.0.1:{port}"\n', "utf-8")
    try:
        async with running(path):
            url = f"http://127.0.0.1:{port}"
            await ready(url)
            stage.begin()
            await play(stage, SECONDS, nothing)
            playing = asyncio.create_task(play(stage, SECONDS + 60.0, nothing))
            for file, page, dark, size in SHOTS[language]:
                browser.size(*size, dark=dark)
                await asyncio.to_thread(taken, browser, url + page, language, folder / file)
            playing.cancel()
    finally:
        broker.stop()
        await stage.stop()


def taken(browser: Chromium, page: str, language: str, file: Path) -> None:
    page = page.format(begin=time.time() - SECONDS, end=time.time())
    browser.go(f"{page}{'&' if '?' in page else '?'}lang={language}")
    browser.until("document.querySelector('#link').classList.contains('on')")
    file.write_bytes(base64.b64decode(browser.ask("Page.captureScreenshot", format="png")["data"]))
    print(file, file.stat().st_size)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if sys.argv[1:] else "docs")))
