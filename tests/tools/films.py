"""Films and small disks for tests of evidence."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest


def frames(path: Path) -> list[np.ndarray]:
    """All pictures of a film."""
    capture, found = cv2.VideoCapture(str(path)), []
    while True:
        ok, image = capture.read()
        if not ok:
            return found
        found.append(image)


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own at `folder`, which is made; size: like 8m. Skips the test for whom cannot mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can make a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
