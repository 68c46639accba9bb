"""What a site file names, what of it is let in, and whose word is taken where the kernel may not be asked the time."""

from __future__ import annotations

import doctest
import os
import tomllib
from pathlib import Path

import pytest

from agent import clock, devices, log

CONFIGS = Path(__file__).parents[2] / "configs"


def test_examples_in_the_docstrings() -> None:
    assert [doctest.testmod(module).failed for module in (devices, log)] == [0, 0]


def test_the_examples_that_ship_name_what_they_use() -> None:
    found = {
        name: sorted(set(devices.named(tomllib.loads((CONFIGS / f"{name}.example.toml").read_text()))))
        for name in ("site", "vehicle", "driver", "commands")
    }
    assert found["site"] == ["/dev/ttyUSB0"]
    assert found["vehicle"][:2] == ["/dev/video0", "/dev/video2"]
    assert "/dev/video0" in found["driver"]
    assert found["commands"] == []
    libcamera = {"bus": [{"driver": "video", "url": "gst://libcamerasrc ! videoconvert"}]}
    assert set(devices.named(libcamera)) == set(devices.LIBCAMERA)


@pytest.mark.parametrize(
    "path", ["/dev/null", "/dev/mem", "/dev/nothing-here", "/dev", "/etc/passwd", "/dev/../etc/passwd"]
)
def test_what_is_no_port_camera_or_sound_is_never_let_in(path: str) -> None:
    assert devices.node(path) == ("", "")


def test_pictures_go_to_their_own_unit_where_there_is_one() -> None:
    names = ["char-alsa", "char-media"]
    assert devices.allowed(names, apart=False) == {devices.UNIT: ["char-alsa", "char-media"]}
    assert devices.allowed(names, apart=True) == {devices.UNIT: ["char-alsa"], devices.VIDEO: ["char-media"]}


def test_where_the_kernel_may_not_be_asked_timesyncd_is_believed_while_it_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forbidden:  # as seccomp answers under ProtectClock=
        def adjtimex(self, _: object) -> int:
            return -1

    monkeypatch.setattr(clock, "_LIBC", Forbidden())
    mark = tmp_path / "synchronized"
    assert not clock.synced(mark)
    mark.touch()
    assert clock.synced(mark)
    old = mark.stat().st_mtime - 2 * clock.FRESH
    os.utime(mark, (old, old))
    assert not clock.synced(mark)
