"""What is to be known of a net before it is believed: where it is from, whose it is, what goes in and what comes out.

A folder of nets holds ONNX files and manifests: in each of its TOML files, a table `[net.NAME]` for each net. Other
tables are not read here (`models/window.py` has its own). Two folders are looked at: that of this machine, and what
ships (`models/weights`), which also describes nets that are not here until they are fetched or imported.

    [net.NAME]
    file = "NAME.onnx"                        # beside the manifest, or in the folder of this machine
    task = "road"                             # what it is for
    family = "yolox"                          # how its output is read: a row of `decode.py`, or of `answer.py`
    kinds = ["person", "two-wheeler"]         # of its classes, in its order; "" and those beyond are not told
                                              # what finds nothing but answers a crop has none
    licence = "Apache-2.0"
    source = "OWNER/REPOSITORY @ COMMIT"
    sha256 = "..."
    bytes = 3660092
    input = [416, 416]                        # height, width; 0: as the picture has it, a multiple of `stride`

Nothing is loaded here and nothing is written.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from agent.core.errors import NetFault

from .answer import ANSWERS
from .decode import FAMILIES

SHIPPED = Path(__file__).parent.parent / "weights"
OWN = "VEDETTE_MODELS"  # environment: the folder of this machine's own nets
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")

Share = Annotated[float, Meta(gt=0, le=1)]


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One net."""

    file: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]  # a name, never a path
    task: str
    family: str  # a row of `decode.FAMILIES`: it finds things; or of `answer.ANSWERS`: it answers a crop
    licence: Annotated[str, Meta(min_length=1)]
    source: Annotated[str, Meta(min_length=1)]  # repository @ commit, or what made it
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Meta(gt=0, le=500_000_000)]
    input: tuple[Annotated[int, Meta(ge=0, le=4096)], Annotated[int, Meta(ge=0, le=4096)]]  # height, width; 0: free
    kinds: list[str] = []  # of what is found, its classes in its order; "" and those beyond are not told
    stride: Annotated[int, Meta(ge=1, le=256)] = 32  # a free side is a multiple of it
    colour: Literal["bgr", "rgb", "grey"] = "bgr"
    scale: Annotated[float, Meta(gt=0)] = 1.0  # what goes in is (scale x pixel - mean) / std, pixels 0 to 255
    mean: tuple[float, ...] = (0.0,)  # of each channel in its order, or one for all
    std: tuple[Annotated[float, Meta(gt=0)], ...] = (1.0,)
    fit: Literal["letter-box", "stretch"] = "letter-box"  # the picture at the top left, the rest `pad`; or all of it
    pad: Annotated[int, Meta(ge=0, le=255)] = 114
    layout: Literal["nchw", "nhwc"] = "nchw"
    score: Share = 0.3  # least that is told
    overlap: Share = 0.45  # intersection over union, above which two of one kind are one thing
    about: str = ""  # what it is and is not
    trained: list[str] = []  # on what, with licences
    script: str = ""  # that made it
    figures: dict[str, Any] = {}  # of merit, with what they were measured on
    url: list[str] = []  # where `vedette models fetch` gets it

    def __post_init__(self) -> None:
        if self.family not in FAMILIES and self.family not in ANSWERS:
            raise ValueError(f"family `{self.family}`; known: {', '.join([*FAMILIES, *ANSWERS])}")
        if self.finds and not any(self.kinds):
            raise ValueError("no kind is told")
        if not self.finds and (self.input[0] != self.input[1] or not self.input[0]):
            raise ValueError(f"a net of {self.family} wants square crops of one size")
        channels = 1 if self.colour == "grey" else 3
        for row in (self.mean, self.std):
            if len(row) not in (1, channels):
                raise ValueError(f"`mean` and `std` have one number or {channels}")

    @property
    def finds(self) -> bool:
        """Whether it finds things in pictures. Else it answers crops."""
        return self.family in FAMILIES


class Entry(NamedTuple):
    """A net that some folder describes."""

    name: str
    manifest: Manifest
    told: Path  # the file that describes it
    path: Path  # where its weights are, or would be


def folders() -> tuple[Path, ...]:
    """Where nets are looked for: this machine's own folder, then what ships."""
    return own(), SHIPPED


def own() -> Path:
    """The folder into which nets are fetched and imported: $VEDETTE_MODELS, or that of the service."""
    return Path(os.environ.get(OWN) or "/var/lib/vedette/models")


def entries(where: tuple[Path, ...]) -> tuple[dict[str, Entry], list[str]]:
    """Each net by its name, and what is wrong with manifests, in words: one bad file hides only its own nets.

    Where two folders know a name, the first one that has the weights speaks.
    """
    known: dict[str, Entry] = {}
    wrong: list[str] = []
    for folder in where:
        try:
            files = sorted(folder.glob("*.toml"))
        except OSError as error:
            wrong.append(f"{folder}: {error.strerror}")
            continue
        for file in files:
            try:
                found = read(file)
            except NetFault as fault:
                wrong.append(str(fault))
                continue
            for name, manifest in found.items():
                places = [folder / manifest.file, *(other / manifest.file for other in where)]
                path = next((place for place in places if place.is_file()), places[0])
                if name not in known or (path.is_file() and not known[name].path.is_file()):
                    known[name] = Entry(name, manifest, file, path)
    return known, wrong


def read(file: Path) -> dict[str, Manifest]:
    """The nets of one file. Raises `NetFault`."""
    try:
        tables = tomllib.loads(file.read_text("utf-8")).get("net", {})
        nets = msgspec.convert(tables, dict[str, Manifest])
    except OSError as error:
        raise NetFault(f"manifest {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # TOML, UTF-8, fields
        raise NetFault(f"manifest {file}: {error}") from None
    for name in nets:
        if not NAME.fullmatch(name):
            raise NetFault(f"manifest {file}: `{name}` is no name: small letters, digits, `_`, `-`, `.`")
    return nets
