"""Secrets by reference: `env:NAME`, `file:/path` or `credential:NAME` (systemd). Settings never hold one itself."""

from __future__ import annotations

import os
from pathlib import Path

from .core.errors import LineLost


def fault(password: str, user: str) -> str:
    """What is wrong with the two settings, in words; empty if nothing. Pure."""
    if password and password.partition(":")[0] not in ("env", "file", "credential"):
        return "password must say where it is kept: env:NAME, file:/path or credential:NAME"
    return "password without user" if password and not user else ""


def read(password: str, what: str) -> str:
    """The password, from where it is kept. Raises `LineLost`, which begins with `what`, where it is not there."""
    kind, _, where = password.partition(":")
    try:
        if kind == "env":
            return os.environ[where]
        folder = os.environ["CREDENTIALS_DIRECTORY"] if kind == "credential" else "/"
        return (Path(folder) / where).read_text("utf-8").rstrip("\r\n")
    except (KeyError, OSError, UnicodeDecodeError) as error:
        raise LineLost(f"{what}: password {password} cannot be read: {error}") from error
