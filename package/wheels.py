"""Other people's wheels: which are needed, whether they are those of the lock file, and what they say of themselves.

Nothing of a wheel is run here, so a package for another architecture or another Python is made in the same way as one
for this machine. pip fetches; what it fetched is checked against the lock file each time it is used.
"""

from __future__ import annotations

import email.parser
import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.message import Message
from pathlib import Path
from typing import NamedTuple

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # as Debian and as wheels call it
ELF = {"amd64": 62, "arm64": 183}  # e_machine, elf(5)
GLIBC = 36  # 2.36, of Debian 12 and of Raspberry Pi OS of the same year; no wheel may ask for a newer one


class Fault(Exception):
    """The package cannot be made, in words."""


class Target(NamedTuple):
    """For whom a package is."""

    arch: str  # Debian's word
    python: str  # as 3.11

    @property
    def machine(self) -> str:
        return MACHINES[self.arch]

    def environment(self) -> dict[str, str]:
        """What markers are judged by (PEP 508): of the target, not of this machine."""
        told = {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }
        return {**dict.fromkeys(default_environment(), ""), **told, "extra": ""}


class Pin(NamedTuple):
    """One line of the lock file."""

    version: str
    hashes: frozenset[str]  # SHA-256 of all its wheels and of its source


class Wheel(NamedTuple):
    """One wheel that is there and is the one of the lock file."""

    name: str  # normalised
    version: str
    path: Path
    sha256: str
    about: Message  # its METADATA

    def needs(self, target: Target, extras: Iterable[str] = ()) -> list[Requirement]:
        """What it cannot do without on that target."""
        rows = [Requirement(row) for row in self.about.get_all("Requires-Dist", [])]
        return [row for row in rows if any(fits(row, target, extra) for extra in ("", *extras))]

    def licence(self) -> str:
        """In its own words: an SPDX expression where it has one."""
        if expression := self.about.get("License-Expression"):
            return str(expression).strip()
        classes = [
            row.split(" :: ")[-1] for row in self.about.get_all("Classifier", []) if row.startswith("License ::")
        ]
        text = str(self.about.get("License", "")).strip()
        return text if text and "\n" not in text and len(text) < 60 else ", ".join(classes) or "see its files"

    def page(self) -> str:
        """Where it comes from."""
        return f"https://pypi.org/project/{self.name}/{self.version}/"


def fits(row: Requirement, target: Target, extra: str = "") -> bool:
    """Whether it is asked for on that target."""
    return row.marker is None or row.marker.evaluate({**target.environment(), "extra": extra})


def pins(lock: str, target: Target) -> dict[str, Pin]:
    """What the text of a lock file holds for one target, by normalised name.

    >>> pins("a-b==1.0 ; python_version < '3.12' \\\\\\n    --hash=sha256:00ff\\n", Target("arm64", "3.11"))
    {'a-b': Pin(version='1.0', hashes=frozenset({'00ff'}))}
    """
    found: dict[str, Pin] = {}
    for line in re.sub(r"\\\n", " ", lock).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        row = Requirement(line.split(" --hash=")[0].strip())
        if fits(row, target):
            (only,) = row.specifier
            hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]+)", line))
            found[canonicalize_name(row.name)] = Pin(only.version, hashes)
    return found


def gathered(roots: Sequence[Requirement], lock: Mapping[str, Pin], target: Target, shelf: Path) -> dict[str, Wheel]:
    """The wheels of `roots` and of all that they need, by name; what is not on the shelf is fetched. Raises `Fault`."""
    found: dict[str, Wheel] = {}
    open_ = [row for row in roots if fits(row, target)]
    seen: set[tuple[str, str]] = set()
    while open_:
        names = sorted({canonicalize_name(row.name) for row in open_} - set(found))
        if missing := [name for name in names if name not in lock]:
            raise Fault(f"not in the lock file: {', '.join(missing)}; try: make lock")
        found |= fetched(names, lock, target, shelf)
        more = []
        for row in open_:
            name = canonicalize_name(row.name)
            for extra in ("", *row.extras):
                if (name, extra) not in seen:
                    seen.add((name, extra))
                    more += found[name].needs(target, [extra] if extra else [])
        open_ = more
    return dict(sorted(found.items()))


def fetched(names: Iterable[str], lock: Mapping[str, Pin], target: Target, shelf: Path) -> dict[str, Wheel]:
    """The wheels of those names, from the shelf or, where they are not on it, by pip. Raises `Fault`."""
    shelf.mkdir(parents=True, exist_ok=True)
    there = _on(shelf, names, lock)
    if missing := [name for name in names if name not in there]:
        order = shelf / "wanted.txt"
        rows = [f"{n}=={lock[n].version} " + " ".join(f"--hash=sha256:{h}" for h in lock[n].hashes) for n in missing]
        order.write_text("\n".join(rows) + "\n")
        tags = [f"manylinux_2_{minor}_{target.machine}" for minor in range(GLIBC, 16, -1)]
        tags.append(f"manylinux2014_{target.machine}")
        abi = f"cp{target.python.replace('.', '')}"
        asked = [*(word for tag in tags for word in ("--platform", tag)), "--python-version", target.python]
        asked += ["--implementation", "cp", "--abi", abi, "--abi", "abi3", "--abi", "none"]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq", "download", "--no-deps"]
        pip += ["--require-hashes", "--only-binary", ":all:", *asked, "-r", str(order), "-d", str(shelf)]
        if subprocess.run(pip, check=False).returncode:
            raise Fault(f"not to be had for Python {target.python} on {target.arch}: one of {', '.join(missing)}")
        order.unlink()
        there |= _on(shelf, missing, lock)
    if missing := [name for name in names if name not in there]:
        raise Fault(f"pip fetched no wheel of the lock file for {', '.join(missing)}")
    return there


def _on(shelf: Path, names: Iterable[str], lock: Mapping[str, Pin]) -> dict[str, Wheel]:
    """Those that lie there with a hash of the lock file."""
    there: dict[str, Wheel] = {}
    for path in sorted(shelf.glob("*.whl")):
        distribution, version, *_ = path.name.split("-")
        name = canonicalize_name(distribution)
        if name in names and version == lock[name].version:
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            if sha256 in lock[name].hashes:
                there[name] = Wheel(name, version, path, sha256, _about(path))
    return there


def _about(path: Path) -> Message:
    with zipfile.ZipFile(path) as wheel:
        (name,) = (name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        return email.parser.Parser().parsestr(wheel.read(name).decode())


def unpacked(wheel: Wheel, into: Path, target: Target) -> None:
    """Lay the files of a wheel where Python looks for them. No program that it brings along. Raises `Fault`."""
    with zipfile.ZipFile(wheel.path) as archive:
        for entry in archive.infolist():
            path = _place(entry.filename)
            if path is None or entry.is_dir():
                continue
            place, content = into / path, archive.read(entry)
            if not place.resolve().is_relative_to(into.resolve()):
                raise Fault(f"{wheel.path.name} would write to {entry.filename}")
            if content[:4] == b"\x7fELF" and int.from_bytes(content[18:20], "little") != ELF[target.arch]:
                raise Fault(f"{wheel.path.name}: {entry.filename} is not for {target.arch}")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            place.chmod(0o644)
    for folder in into.glob("*.dist-info"):
        if not (folder / "INSTALLER").exists():
            (folder / "INSTALLER").write_text("dpkg\n")


def _place(name: str) -> str | None:
    """Where a file of a wheel goes, from the folder of modules; None: nowhere."""
    top, _, rest = name.partition("/")
    if top.endswith(".data"):
        kind, _, rest = rest.partition("/")
        return rest if kind in ("purelib", "platlib") else None
    if top.endswith(".dist-info") and rest in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
        return None  # of an installation by pip; here dpkg knows the files and their sums
    return None if "/tests/" in f"/{name}" or name.endswith(".pyc") else name


def texts(wheel: Wheel) -> Iterator[str]:
    """Names of the files in which it tells its licences."""
    with zipfile.ZipFile(wheel.path) as archive:
        for name in archive.namelist():
            if re.search(r"\.dist-info/(licenses/|LICEN[CS]E|COPYING|NOTICE)", name) and not name.endswith("/"):
                yield name
