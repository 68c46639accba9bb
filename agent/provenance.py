"""What ran here, and by which files: kept under their hashes, and told to the journal at each start.

An inquiry asks what the limits were that day, not what they are now. So each file that the configuration was made of is
kept once under its SHA-256 in the folder of the state, and the journal says which of them were in force, and of which
bytes the program consisted. Secrets are never among them: a configuration only names where they are.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import __version__, durable

FOLDER = "provenance"  # in the folder of the state
KEPT = 500  # files, newest; project
ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("agent", "drivers", "models", "simulators", "configs")  # what the wheel holds
PROGRAM = {".py", ".toml"}  # of weights the manifests, which name their hashes
LIBRARIES = ("cryptography", "msgspec", "numpy", "onnxruntime", "opencv-python-headless", "paho-mqtt", "pyserial")


def keep(state: Path, site: Path, sources: Iterable[Path]) -> list[dict[str, Any]]:
    """Keep each file, and say what it is: name (from the site file's folder, where it lies below), hash, bytes.

    Raises `OSError`.
    """
    shelf = state / FOLDER
    shelf.mkdir(parents=True, exist_ok=True, mode=0o700)
    home, told = site.resolve().parent, []
    for source in sources:
        path, content = source.resolve(), source.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if not (shelf / sha256).exists():
            durable.replace(shelf / sha256, content)
        os.utime(shelf / sha256)
        for root, mark in ((home, ""), (ROOT, "shipped/")):
            if path.is_relative_to(root):
                name = f"{mark}{path.relative_to(root)}"
                break
        else:
            name = path.name
        told.append({"name": name, "sha256": sha256, "bytes": len(content)})
    for old in sorted(shelf.iterdir(), key=lambda file: file.stat().st_mtime)[:-KEPT]:
        old.unlink()
    return told


def program() -> str:
    """SHA-256 over the program: names and hashes of its files, by name, a line each. Takes a tenth of a second."""
    whole = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in PROGRAM and path.is_file():
                one = hashlib.sha256(path.read_bytes()).hexdigest()
                whole.update(f"{one}  {path.relative_to(ROOT)}\n".encode())
    return whole.hexdigest()


def versions() -> dict[str, str]:
    """Of everything that has a say."""
    found = {"vedette": __version__, "python": platform.python_version(), "kernel": platform.release()}
    found |= {"machine": platform.machine(), "system": platform.version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def facts(state: Path, site: Path, sources: Iterable[Path], config: str) -> dict[str, Any]:
    """All of it, for the journal. Raises `OSError`."""
    files = keep(state, site, sources)
    return {"config": config, "files": files, "program": program(), "versions": versions()}
