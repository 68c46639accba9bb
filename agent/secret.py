"""Secrets by reference: `env:NAME`, `file:/path` or `credential:NAME` (systemd). Settings never hold one itself.

Files that are secret, or belong to one (keys, certificates), are named by their path, or `credential:NAME`.
"""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

from .core.errors import LineLost

KINDS = ("env", "file", "credential")
NAMES = {"password", "passphrase", "code", "token", "secret", "pw"}  # keys of a site file whose value is never shown


def fault(password: str, user: str, name: str = "password") -> str:
    """What is wrong with a secret and whose it is, in words that do not hold it; empty if nothing. Pure."""
    if password and password.partition(":")[0] not in KINDS:
        return f"{name} must say where it is kept: env:NAME, file:/path or credential:NAME"
    return f"{name} without user" if password and not user else ""


def read(password: str, what: str, name: str = "password") -> str:
    """The secret, from where it is kept. Raises `LineLost`, which begins with `what`, where it is not there."""
    kind, _, where = password.partition(":")
    try:
        if kind == "env":
            return os.environ[where]
        folder = os.environ["CREDENTIALS_DIRECTORY"] if kind == "credential" else "/"
        return (Path(folder) / where).read_text("utf-8").rstrip("\r\n")
    except (KeyError, OSError, UnicodeDecodeError) as error:
        raise LineLost(f"{what}: {name} {password} cannot be read: {_said(error)}") from error


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is not in the environment"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)  # which would quote it


def place(name: str) -> Path:
    """The path of a file: as it stands, or `credential:NAME`. Raises `OSError` where there are no credentials."""
    kind, _, where = name.partition(":")
    if kind == "file":
        return Path(where)
    if kind != "credential":
        return Path(name)
    if "CREDENTIALS_DIRECTORY" not in os.environ:
        raise FileNotFoundError(2, "systemd passes no credentials (LoadCredential=)", name)
    return Path(os.environ["CREDENTIALS_DIRECTORY"]) / where


def masked(url: str) -> str:
    """An address for people: without what stands before @ and in its query.

    >>> masked("mqtt://li:hunter2@host?key=1")
    'mqtt://***@host?***'
    """
    return re.sub(r"\?.*", "?***", re.sub(r"(^|//)[^/]*@", r"\1***@", url), flags=re.DOTALL)


def stay() -> None:
    """No core file of this process, nor of its children: it would hold every secret that was read."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
