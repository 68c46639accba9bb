"""ONNX Runtime tells nobody anything: it leaves no trace of a telemetry client, and opens no socket."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("cv2")

LOADED = """
import os, time
from models.vision.net import load
load("vehicle")
time.sleep(1.0)  # it would look for its server from a thread of its own
held = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
print([os.readlink(fd) for fd in held if os.path.islink(fd)])
"""
BARE = "import onnxruntime"


def run(code, folder, **more):
    environment = {**os.environ, "TMPDIR": str(folder), **more}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_a_net_is_loaded_without_a_word_to_anybody(tmp_path):
    said = run(LOADED, tmp_path)
    assert "socket:" not in said
    assert list(tmp_path.iterdir()) == []


def test_it_would_tell_without_being_switched_off(tmp_path):
    """Else the test above proves nothing, and this module has become needless."""
    run(BARE, tmp_path)
    if not list(tmp_path.iterdir()):
        pytest.skip("this build of ONNX Runtime has no telemetry client")
