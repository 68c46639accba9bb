"""The folder of this machine's own nets: what is put there is whole, verified and has run, or it is not put there.

A net comes out of a file (`import`) or from a mirror (`fetch`), is checked in memory, tried on a picture, and written
beside a manifest of its own, the weights first: what a power cut leaves is the old, the new, or weights that no
manifest knows. Nothing is fetched unless a person asks for it.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from agent import durable
from agent.core.errors import NetFault

from . import net
from .decode import FAMILIES
from .manifest import NAME, Entry, Manifest, entries

LARGEST = 500_000_000  # bytes of a file that is looked at
CHUNK = 1 << 16
SILENT = 10.0  # s without a byte from a mirror
COCO = ["person", "two-wheeler", "vehicle", "two-wheeler", "", "vehicle", "vehicle", "vehicle"]  # the first of its 80
USUAL: dict[str, dict[str, Any]] = {  # how the nets of each family are usually trained, where nobody says otherwise
    "yolox": {"task": "road"},
    "nanodet": {"task": "road", "mean": (103.53, 116.28, 123.675), "std": (57.375, 57.12, 58.395)},
    "fastestdet": {"task": "road", "scale": 1 / 255, "fit": "stretch"},
    "yunet": {"task": "face", "kinds": ["face"], "pad": 0, "score": 0.6, "overlap": 0.3},
    "centre": {"task": "road"},
    "face": {"task": "face", "kinds": ["face"], "colour": "grey", "stride": 8, "input": (0, 160), "overlap": 0.3},
    "marks": {"task": "face", "colour": "grey"},
    "eye": {"task": "face", "colour": "grey"},
    "mouth": {"task": "face", "colour": "grey"},
    "landmarks": {"task": "face", "colour": "rgb", "scale": 1 / 255, "layout": "nhwc"},
    "open_closed": {"task": "face", "mean": (127.0,), "std": (255.0,)},
}


def read(file: Path) -> bytes:
    """A file of weights. Raises `NetFault`."""
    try:
        with file.open("rb") as opened:
            held = opened.read(LARGEST + 1)
    except OSError as error:
        raise NetFault(f"{file}: {error.strerror}") from None
    if not held or len(held) > LARGEST:
        raise NetFault(f"{file}: {'it is empty' if not held else f'more than {LARGEST} bytes'}")
    return held


def recognised(held: bytes, where: tuple[Path, ...]) -> Entry | None:
    """The net that these weights are, as some manifest in these folders has it."""
    digest = hashlib.sha256(held).hexdigest()
    known, _ = entries(where)
    return next((one for one in known.values() if one.manifest.sha256 == digest), None)


def described(name: str, family: str, held: bytes, given: dict[str, Any]) -> Manifest:
    """The manifest of weights that none describes. Raises `NetFault`, `ValueError` in words where something is missing.

    given: fields of a manifest; what is not there is as usual for the family, sizes as the file has them.
    """
    if family not in USUAL:
        raise ValueError(f"no family `{family}`; known: {', '.join(USUAL)}")
    fields: dict[str, Any] = {"licence": "not stated", "source": "not stated", **USUAL[family], **given}
    if fields.get("kinds") == ["coco"]:
        fields["kinds"] = COCO
    if "kinds" not in fields and family in FAMILIES:
        raise ValueError(
            f"what are its classes? --kinds vehicle,person,... in its order, or --kinds coco for a {family}"
        )
    if "input" not in fields:
        inputs = net.opened(Path(name), held).get_inputs()
        sides = inputs[0].shape[1:3] if fields.get("layout") == "nhwc" else inputs[0].shape[2:4]
        fields["input"] = [side if isinstance(side, int) else 0 for side in sides]
    digest = hashlib.sha256(held).hexdigest()
    fields |= {"file": f"{name}.onnx", "family": family, "sha256": digest, "bytes": len(held)}
    return msgspec.convert(fields, Manifest)


def put(name: str, manifest: Manifest, held: bytes, folder: Path) -> Entry:
    """Try a net and keep it in the folder. Raises `NetFault`; then nothing was changed."""
    if not NAME.fullmatch(name):
        raise NetFault(f"`{name}` is no name of a net: small letters, digits, `_`, `-`, `.`")
    manifest = msgspec.structs.replace(manifest, file=f"{name}.onnx")
    there, _ = entries((folder,))
    if name in there and there[name].manifest.sha256 != manifest.sha256:
        raise NetFault(f"another net is called `{name}` ({there[name].told}): remove that first, or take another name")
    one = Entry(name, manifest, folder / f"{name}.toml", folder / manifest.file)
    net.ready(one, held=held)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(one.path, held)
        try:
            _write(one.told, toml(name, manifest).encode())
        except OSError:
            if name not in there:
                one.path.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise NetFault(f"{folder} does not take the net: {error.strerror}; --to FOLDER is another place") from None
    return one


def toml(name: str, manifest: Manifest) -> str:
    """The table of one net, as `manifest.read` reads it."""
    rows = msgspec.to_builtins(manifest)
    return "\n".join([f'[net."{name}"]', *(f"{key} = {_value(value)}" for key, value in rows.items())]) + "\n"


def fetch(one: Entry, mirror: str = "", within: float = 60.0) -> bytes:
    """The weights of a net from its own addresses or a mirror: http(s), or a folder. Raises `NetFault`.

    mirror: a folder in which some file has the hash, or an address below which the file has its name, or of the file
    itself; within: s, for each address.
    """
    if mirror and "://" not in mirror:
        return _found(one, Path(mirror))
    direct = mirror.endswith(".onnx")
    below = f"{mirror.rstrip('/')}/{urllib.parse.quote(one.manifest.file)}"
    urls = ([mirror] if direct else [below]) if mirror else one.manifest.url
    if not urls:
        raise NetFault(f"net `{one.name}` has no address: give --from MIRROR, or `vedette models import FILE`")
    wrong = []
    for url in urls:
        try:
            return net.checked(one._replace(path=Path(url.replace("://", ":/"))), _got(url, one.manifest.bytes, within))
        except NetFault as fault:
            wrong.append(str(fault))
    raise NetFault("; ".join([f"net `{one.name}` was not fetched", *wrong]))


def _found(one: Entry, folder: Path) -> bytes:
    """Out of a folder, by hash."""
    try:
        files = [file for file in sorted(folder.iterdir()) if file.is_file()]
        for file in files:
            if file.stat().st_size == one.manifest.bytes:
                held = file.read_bytes()
                if hashlib.sha256(held).hexdigest() == one.manifest.sha256:
                    return held
    except OSError as error:
        raise NetFault(f"mirror {error.filename or folder}: {error.strerror}") from None
    raise NetFault(f"no file in {folder} is net `{one.name}` (sha256 {one.manifest.sha256})")


def _got(url: str, most: int, within: float) -> bytes:
    """What an address answers, at most one byte more than expected. Raises `NetFault`."""
    if not url.startswith(("http://", "https://")):
        raise NetFault(f"{url}: only http:// and https:// are fetched")
    opener = urllib.request.OpenerDirector()  # no ftp, no files, whatever a redirection says
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    end, held = time.monotonic() + within, bytearray()
    try:
        with opener.open(url, timeout=min(SILENT, within)) as answer:
            while len(held) <= most and (part := answer.read1(CHUNK)):
                held += part
                if time.monotonic() > end:
                    raise NetFault(f"{url}: {len(held)} of {most} bytes in {within:g} s; --timeout S waits longer")
    except urllib.error.HTTPError as error:
        raise NetFault(f"{url}: HTTP {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise NetFault(f"{url}: {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NetFault(f"{url}: {error or type(error).__name__}") from None
    return bytes(held[: most + 1])


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, for everybody to read: who imports is often not who looks. Raises `OSError`."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    durable.sync(path.parent)


def _value(value: Any) -> str:
    """As TOML has it."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_value(key)} = {_value(one)}" for key, one in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
