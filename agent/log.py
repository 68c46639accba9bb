"""One line for each transition, key=value, to standard output. A healthy day is a short log."""

from __future__ import annotations

import sys
from typing import Any, TextIO


def line(kind: str, **facts: Any) -> str:
    """The text of one line.

    >>> line("device-lost", source="heading", text="no reply in 0.5 s")
    'device-lost source=heading text="no reply in 0.5 s"'
    """
    return " ".join([kind, *(f"{key}={_shown(value)}" for key, value in facts.items() if value not in ("", None))])


def say(kind: str, stream: TextIO | None = None, **facts: Any) -> None:
    """Write one line at once. A closed pipe must not stop a sentry."""
    try:
        print(line(kind, **facts), file=stream or sys.stdout, flush=True)
    except (BrokenPipeError, ValueError):
        pass


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return _shown(",".join(f"{k}:{v}" for k, v in value.items()))
    text = str(value).replace("\n", " ")
    return '"' + text.replace('"', "'") + '"' if not text or any(c in text for c in ' "=') else text
