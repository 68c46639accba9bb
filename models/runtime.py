"""ONNX Runtime, mute: the one place from which it is loaded.

Its wheels for Linux hold a telemetry client that is on by default and sends to its maker's servers as soon as a session
exists (seen with 1.32: a file `.ses` in the temporary folder, and a look-up of the collector's name). A gateway of a
mine tells nobody but its platforms, so it is switched off before it is loaded.
"""

from __future__ import annotations

import os
from typing import Any

SWITCH = "ORT_DISABLE_TELEMETRY"  # of its environment; read when it is loaded


def onnxruntime() -> Any:
    """The module. Raises `ImportError` where it is not installed."""
    os.environ[SWITCH] = "1"
    import onnxruntime as module

    module.disable_telemetry_events()
    return module
