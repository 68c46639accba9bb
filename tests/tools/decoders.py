"""Other people's decoders of Sparkplug payloads, as programs of their own: `make decoders` fetches them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "sparkplug"
FETCHED = ROOT / "build" / "decoders"
NODE = FETCHED / "node"
PYTHON = FETCHED / "python" / "bin" / "python"

COMMANDS = {
    "node": [shutil.which("node") or "node", str(HERE / "decode.cjs"), str(NODE)],
    "python": [str(PYTHON), str(HERE / "decode.py")],
}
MISSING = {
    "node": "" if shutil.which("node") and (NODE / "node_modules").is_dir() else "sparkplug-payload is not fetched",
    "python": "" if PYTHON.exists() else "pysparkplug is not fetched",
}
each_decoder = pytest.mark.parametrize(
    "decoder",
    [
        pytest.param(name, marks=pytest.mark.skipif(bool(why), reason=f"{why}: make decoders needs npm and a registry"))
        for name, why in MISSING.items()
    ],
)


def decoded(decoder: str, messages: Iterable[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """What that decoder makes of these topics and payloads, in their order."""
    lines = "".join(f"{topic} {payload.hex()}\n" for topic, payload in messages)
    done = subprocess.run(COMMANDS[decoder], input=lines, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
