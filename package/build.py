"""`make deb`: two Debian packages from one tree, the same bytes for the same commit.

`vedette` is the agent with all that it needs in /opt/vedette, a ready virtual environment: an installation runs no pip
and needs no network. `vedette-video` lays OpenCV and ONNX Runtime beside it, which a gateway without cameras does not
need. The interpreter is Debian's; for another Debian or another architecture say so: nothing of the target is run here.
Byte code goes in where that Python is on this machine, else the installation makes it.
"""

from __future__ import annotations

import argparse
import email.utils
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from agent import __version__

from . import sbom, wheels
from .wheels import Fault, Target, Wheel

ROOT = Path(__file__).parent.parent
PROGRAM = ("agent", "drivers", "models", "simulators", "configs")
GATEWAY = ("sftp", "vehicle", "web")  # extras of pyproject.toml that every gateway has
VIDEO = ("video",)
PREFIX = Path("/opt/vedette")
MAINTAINER = "Vedette maintainers <maintainers@vedette.invalid>"
HOMEPAGE = "https://vedette.invalid"
LIBRARIES = "libc6 (>= 2.34), libgcc-s1, libstdc++6, zlib1g"  # what the wheels of the lock file do not bring along


class Package(NamedTuple):
    """One package, before it is one."""

    name: str
    depends: str
    recommends: str
    suggests: str
    summary: str
    text: str
    enabled: tuple[str, ...]  # units


PACKAGES = (
    Package(
        "vedette",
        f"python@PY@, adduser, init-system-helpers (>= 1.54), {LIBRARIES}",
        "ca-certificates, systemd",
        "vedette-video (= @VERSION@), espeak-ng, mosquitto",
        "sentry at the edge: hazard sensors to alarms",
        """\
 Reads hazard sensors over Modbus and other languages, judges on the spot,
 and delivers alarms to platforms over MQTT, through outages and power cuts.
 .
 A supplement to certified safety systems, never one of them.
 .
 All Python modules that it needs are in /opt/vedette.""",
        ("vedette-devices.service", "vedette-devices.path", "vedette.service"),
    ),
    Package(
        "vedette-video",
        f"vedette (= @VERSION@), {LIBRARIES}",
        "",
        "",
        "sentry at the edge: cameras",
        """\
 OpenCV and ONNX Runtime for the cameras of Vedette, and the unit in which
 pictures are looked at, with a memory limit of its own.""",
        ("vedette-video.socket",),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the packages; their paths on standard output."""
    parser = argparse.ArgumentParser(prog="make deb", description=__doc__)
    parser.add_argument("--arch", choices=sorted(wheels.MACHINES), default=here())
    parser.add_argument("--python", default="3.11", metavar="X.Y", help="of the target: 3.11 is Debian 12's")
    parser.add_argument("--revision", default="1", help="of the packaging, behind the version")
    parser.add_argument("--compress", default="xz", choices=("xz", "zstd", "gzip", "none"))
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--only", choices=[one.name for one in PACKAGES], help="one of the packages")
    args = parser.parse_args(argv)
    target = Target(args.arch, args.python)
    try:
        for path in built(target, args.revision, args.compress, args.out, args.only):
            print(path)
    except Fault as fault:
        print(f"make deb: {fault}", file=sys.stderr)
        return 1
    return 0


def here() -> str:
    machine = os.uname().machine
    return next((arch for arch, name in wheels.MACHINES.items() if name == machine), "amd64")


def built(target: Target, revision: str, compress: str, out: Path, only: str | None = None) -> list[Path]:
    """The packages, written to `out`. Raises `Fault`."""
    epoch = _epoch()
    work = ROOT / "build" / "deb"
    lock = wheels.pins((ROOT / "requirements.lock").read_text(), target)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    shelf = work / "wheels" / f"{target.arch}-{target.python}"

    def parts(extras: Iterable[str]) -> dict[str, Wheel]:
        rows = [row for extra in extras for row in project["optional-dependencies"][extra]]
        return wheels.gathered([Requirement(row) for row in (*project["dependencies"], *rows)], lock, target, shelf)

    gateway = parts(GATEWAY)
    made = []
    for package in PACKAGES:
        if only not in (None, package.name):
            continue
        bundled = gateway
        if package.name == "vedette-video":
            bundled = {name: wheel for name, wheel in parts((*GATEWAY, *VIDEO)).items() if name not in gateway}
        tree = work / "root" / package.name
        shutil.rmtree(tree, ignore_errors=True)
        version = f"{__version__}-{revision}"
        _lay_modules(tree, _modules(bundled, target, work), target)
        if package.name == "vedette":
            _lay_program(tree, target)
        _lay_debian(tree, package, bundled, version, target, epoch)
        made.append(_packed(tree, package, version, target, compress, out, epoch))
    return made


def _epoch() -> int:
    """s since 1970 that stand in the package: of the commit, so that the same commit gives the same bytes."""
    if told := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(told)
    git = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(git.stdout) if git.returncode == 0 and git.stdout.strip() else int((ROOT / "LICENSE").stat().st_mtime)


# -- /opt -------------------------------------------------------------------------------------------


def site_packages(target: Target) -> Path:
    """Where modules lie on the gateway."""
    return PREFIX / f"lib/python{target.python}/site-packages"


def _modules(bundled: Mapping[str, Wheel], target: Target, work: Path) -> Path:
    """A folder with the modules of these wheels, byte code and all: made once for a lock file."""
    words = [*target, Path(wheels.__file__).read_text(), *(wheel.sha256 for wheel in bundled.values())]
    folder = work / "modules" / hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
    if not (folder / ".whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        for wheel in bundled.values():
            wheels.unpacked(wheel, folder / str(site_packages(target)).lstrip("/"), target)
        _compile(folder, target)
        (folder / ".whole").touch()
    return folder


def _lay_modules(tree: Path, modules: Path, target: Target) -> None:
    place = str(site_packages(target)).lstrip("/")
    shutil.copytree(modules / place, tree / place, copy_function=os.link)


def _lay_program(tree: Path, target: Target) -> None:
    """The virtual environment around the modules, and the program."""
    home = tree / str(PREFIX).lstrip("/")
    (home / "bin").mkdir(parents=True)
    (home / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {target.python}\n"
        f"executable = /usr/bin/python{target.python}\n"
    )
    (home / "bin/python3").symlink_to(f"/usr/bin/python{target.python}")
    (home / "bin/python").symlink_to("python3")
    script = home / "bin/vedette"
    script.write_text(f"#!{PREFIX}/bin/python3 -Ps\nimport sys\nfrom agent.cli import main\n\nsys.exit(main())\n")
    script.chmod(0o755)
    place = tree / str(site_packages(target)).lstrip("/")
    own = tree.parent / "own"
    shutil.rmtree(own, ignore_errors=True)
    into = own / str(site_packages(target)).lstrip("/")
    for name in _sources():
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, into / name)
    about = into / f"vedette-{__version__}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vedette\nVersion: {__version__}\nLicense: Apache-2.0\n"
    )
    (about / "INSTALLER").write_text("dpkg\n")
    _compile(own, target)
    for path in sorted(into.iterdir()):
        shutil.move(path, place / path.name)


def _sources() -> list[str]:
    """The files of the program, from the root of the project."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PROGRAM]
    git = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if git.returncode == 0 and git.stdout:
        return sorted(name for name in git.stdout.splitlines() if (ROOT / name).exists())
    found = (path for name in PROGRAM for path in (ROOT / name).rglob("*"))
    return sorted(str(p.relative_to(ROOT)) for p in found if p.is_file() and p.suffix != ".pyc")


def _compile(folder: Path, target: Target) -> None:
    """Byte code beside each module, where the target's Python is here; it is believed without a look at the source.

    Hashes of strings are fixed, for the order of a set that is a constant hangs on them.
    """
    python = next(filter(_runs, (f"/usr/bin/python{target.python}", f"python{target.python}")), None)
    if python is None:
        print(f"make deb: no python{target.python} here: byte code is made at the installation", file=sys.stderr)
        return
    command = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), "-p", "/", str(folder)]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": ""}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise Fault("a module cannot be compiled")


def _runs(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", "pass"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


# -- what is Debian's ---------------------------------------------------------------------------------


def _lay_debian(
    tree: Path, package: Package, bundled: Mapping[str, Wheel], version: str, target: Target, epoch: int
) -> None:
    """Units, names, documents, and what dpkg is told."""
    docs = tree / "usr/share/doc" / package.name
    docs.mkdir(parents=True)
    (docs / "copyright").write_text(_copyright(bundled, time.gmtime(epoch).tm_year))
    bill = sbom.bill(package.name, version, bundled, target, epoch)
    (docs / "sbom.cdx.json").write_text(bill)
    (docs / "changelog.Debian.gz").write_bytes(_changelog(package.name, version, epoch))
    units = tree / "lib/systemd/system"
    units.mkdir(parents=True)
    if package.name == "vedette":
        for unit in ("vedette.service", "vedette-devices.service", "vedette-devices.path"):
            shutil.copyfile(ROOT / "systemd" / unit, units / unit)
        _copied(ROOT / "systemd/70-vedette.rules", tree / "lib/udev/rules.d/70-vedette.rules")
        _copied(ROOT / "package/debian/README.Debian", docs / "README.Debian")
        for name, called in (("README.md",) * 2, ("README.zh-CN.md",) * 2, ("CHANGELOG.md", "changelog")):
            (docs / f"{called}.gz").write_bytes(gzip.compress((ROOT / name).read_bytes(), 9, mtime=0))
        for page in sorted((ROOT / "docs").glob("*.md")):
            _copied(page, docs / "docs" / page.name)
        (docs / "examples").symlink_to(site_packages(target) / "configs")
        (tree / "usr/bin").mkdir(parents=True)
        (tree / "usr/bin/vedette").symlink_to(PREFIX / "bin/vedette")
        (tree / "etc/vedette").mkdir(parents=True)
        _lay_words(tree)
    else:
        for unit in ("vedette-video.socket", "vedette-video@.service", "vedette-video.slice"):
            shutil.copyfile(ROOT / "systemd" / unit, units / unit)
        _copied(ROOT / "systemd/vedette.service.d/video.conf", units / "vedette.service.d/video.conf")
    overrides = ROOT / f"package/debian/{package.name}.lintian-overrides"
    _copied(overrides, tree / "usr/share/lintian/overrides" / package.name)


def _lay_words(tree: Path) -> None:
    """What a shell completes, and the manual page, as the program writes them."""
    places = {
        ("completion", "bash"): "usr/share/bash-completion/completions/vedette",
        ("completion", "zsh"): "usr/share/zsh/vendor-completions/_vedette",
        ("completion", "fish"): "usr/share/fish/vendor_completions.d/vedette.fish",
        ("man",): "usr/share/man/man1/vedette.1.gz",
        ("man", "--lang", "zh"): "usr/share/man/zh_CN/man1/vedette.1.gz",
    }
    plain = os.environ | {"LC_ALL": "C.UTF-8"}  # whoever builds it may read Chinese; English is for everybody
    for verb, place in places.items():
        words = [sys.executable, "-m", "agent.cli", *verb]
        told = subprocess.run(words, cwd=ROOT, env=plain, capture_output=True, check=False)
        if told.returncode == 0:
            path = tree / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(told.stdout, 9, mtime=0) if path.suffix == ".gz" else told.stdout)


def _copied(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)


def _copyright(bundled: Mapping[str, Wheel], year: int) -> str:
    """DEP 5: ours, and each library by its own words."""
    rows = [
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/",
        "Upstream-Name: vedette",
        "Comment: What is in /opt/vedette beside the program are wheels from PyPI, unchanged but for their tests.\n"
        " The full texts of their licences, and of the libraries inside them, lie in their *.dist-info folders.",
        "",
        "Files: *",
        f"Copyright: {year} the authors of Vedette",
        "License: Apache-2.0",
        " On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.",
    ]
    for wheel in bundled.values():
        author = wheel.about.get("Author") or wheel.about.get("Author-email") or f"the authors of {wheel.name}"
        rows += ["", f"Files: opt/vedette/lib/*/site-packages/{wheel.name.replace('-', '_')}*"]
        rows += [f"Copyright: {' '.join(str(author).split())}", f"License: {wheel.licence()}"]
        rows += [f" {name}" for name in wheels.texts(wheel)] or [" as its page says"]
        rows += [f"Comment: {wheel.name} {wheel.version}, {wheel.page()}"]
    return "\n".join(rows) + "\n"


def _changelog(name: str, version: str, epoch: int) -> bytes:
    """In Debian's form; what changed stands in CHANGELOG.md."""
    text = f"{name} ({version}) unstable; urgency=medium\n\n  * See /usr/share/doc/vedette/changelog.gz.\n\n"
    text += f" -- {MAINTAINER}  {email.utils.formatdate(epoch)}\n"
    return gzip.compress(text.encode(), 9, mtime=0)


def _packed(tree: Path, package: Package, version: str, target: Target, compress: str, out: Path, epoch: int) -> Path:
    """The package as one file. Raises `Fault`."""
    control = tree / "DEBIAN"
    control.mkdir()
    files = sorted(
        path for path in tree.rglob("*") if path.is_file() and not path.is_symlink() and control not in path.parents
    )
    size = sum(-(-path.stat().st_size // 1024) for path in files) + sum(1 for path in tree.rglob("*") if path.is_dir())
    words = {"@PY@": target.python, "@VERSION@": version, "@ENABLED@": " ".join(package.enabled)}
    words |= {"@SITE@": str(site_packages(target)), "@PYTHON@": f"{PREFIX}/bin/python3"}

    def filled(text: str) -> str:
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    fields = {
        "Package": package.name,
        "Version": version,
        "Architecture": target.arch,
        "Maintainer": MAINTAINER,
        "Installed-Size": str(size),
        "Depends": package.depends,
        "Recommends": package.recommends,
        "Suggests": package.suggests,
        "Section": "misc",
        "Priority": "optional",
        "Description": f"{package.summary}\n{package.text}",
    }
    (control / "control").write_text("".join(f"{key}: {filled(value)}\n" for key, value in fields.items() if value))
    sums = (f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in files)
    (control / "md5sums").write_text("".join(sums))
    for script in ("postinst", "prerm", "postrm"):
        source = ROOT / f"package/debian/{package.name}.{script}"
        if source.exists():
            (control / script).write_text(filled(source.read_text()))
            (control / script).chmod(0o755)
    for path in (tree, *tree.rglob("*")):  # whatever the umask
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{package.name}_{version}_{target.arch}.deb"
    level = {"zstd": ["-z1"], "gzip": ["-z1"], "xz": ["-z6"]}.get(compress, [])
    command = ["dpkg-deb", "--root-owner-group", f"-Z{compress}", *level, "--build", str(tree), str(path)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Fault(f"dpkg-deb: {done.stderr.strip()}")
    return path


if __name__ == "__main__":
    sys.exit(main())
