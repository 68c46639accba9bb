"""Evidence on the disk: for each alarm that a camera saw a folder with what it showed, and the hashes of that.

    <shelf>/<alarm id>.<camera>/
        wanted.json      what is to be kept; it goes when the manifest is told
        reels/           names of the reels of that time; they go when there is a clip
        before.csv       what the channels said until the alarm; it goes when there is a `channels.csv`
        clip.mp4 or .webm  still-1.jpg ...  channels.csv  manifest.json
        protected.json   who protects it, and why

A manifest says what was kept, the SHA-256 of each file, and what is missing. Its own hash goes into the journal and to
the platforms, so that whoever holds that can check the rest. Where two alarms of a camera share a clip it has two names
and costs the disk once.

Everything here blocks. Nothing here knows pictures, alarms in flight, or time: see `clerk.py`.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from . import durable, reels
from .core.alarm import Alarm, Level
from .core.frame import Frame, Instant, Quality
from .core.ports import Format, Witness

WANTED, MANIFEST, PROTECTED, BEFORE, CHANNELS, REELS = (
    "wanted.json",
    "manifest.json",
    "protected.json",
    "before.csv",
    "channels.csv",
    "reels",
)
FILMED = (".mp4", ".webm", ".jpg")
SCHEMA = "vedette.evidence/1"
DAY = 86400.0  # s


class Shelf(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how much evidence is kept: `[evidence]`."""

    path: str = ""  # folder; empty: `evidence` in that of the store
    mb: Annotated[float, Meta(ge=10)] = 2000.0  # MB; the oldest that nobody protects makes room
    protected_mb: Annotated[float, Meta(ge=0)] = 1000.0  # MB of these; protected evidence is never deleted by itself
    free_mb: Annotated[float, Meta(ge=0)] = 500.0  # MB of the disk that stay free, whatever has to go
    days: Annotated[float, Meta(ge=0)] = 0.0  # that what nobody protects is kept at most; 0: until room is needed
    protect: tuple[Level, ...] = ("red",)  # alarms whose evidence is protected at once


class Wanted(Struct, frozen=True, kw_only=True):
    """What is to be kept for one alarm, by one camera."""

    id: str  # of this evidence, and of its folder
    camera: str
    ring: str  # folder of the reels
    alarm: Alarm  # its first edge
    kernel: str  # which run of the kernel the monotonic times are of
    begin: float  # monotonic s
    end: float  # monotonic s
    rate: float  # pictures/s
    wide: int  # pixels of the clip, at most
    format: Format = "mp4"
    masks: tuple[tuple[tuple[float, float], ...], ...] = ()


class File(Struct, frozen=True):
    """One file of a piece of evidence."""

    name: str
    bytes: int
    sha256: str


class Clip(Struct, frozen=True, omit_defaults=True):
    """What the encoder made. Times are monotonic s of the camera's pictures."""

    codec: str = ""  # as it stands in the file; empty: there is no clip
    width: int = 0  # pixels
    height: int = 0
    fps: float = 0.0  # picture k of the clip shows what there was at `begin` + k / `fps`
    pictures: int = 0  # of the clip
    shown: int = 0  # pictures of the camera in the span
    begin: float = 0.0
    end: float = 0.0
    gaps: tuple[tuple[float, float], ...] = ()  # without pictures, longer than a second
    torn: int = 0  # reels with damage at their end
    why: str = ""  # no clip: why, in words


class Job(Struct, frozen=True, kw_only=True):
    """What the encoder is asked for."""

    parent: int  # process id
    reels: list[str]  # paths
    kernel: str
    begin: float  # monotonic s
    end: float
    rate: float  # pictures/s of the clip
    wide: int  # pixels, at most
    format: Format
    out: str  # an empty folder: for the clip, and one with the stills for each that asks for them
    stills: dict[str, tuple[float, ...]]  # id of the evidence -> monotonic s


class Made(Struct, frozen=True, omit_defaults=True):
    """A line of the encoder: how far it is, or what it made at last."""

    done: int = 0  # pictures
    clip: Clip | None = None
    stills: dict[str, tuple[float, ...]] = {}  # id -> time of each picture, monotonic s


class Manifest(Struct, frozen=True, kw_only=True):
    """What was kept, and what is missing."""

    id: str
    alarm: str  # id
    edge: int
    rule: str
    channel: str
    level: Level
    camera: str
    at: Instant  # when it was decided
    begin: Instant  # of what was wanted
    end: Instant
    kernel: str  # which run of the kernel the monotonic times are of
    clip: Clip  # may begin earlier and end later, where alarms share it
    stills: tuple[float, ...]  # monotonic s of each
    masks: tuple[tuple[tuple[float, float], ...], ...]
    missing: tuple[str, ...]  # in words; empty: nothing
    files: tuple[File, ...]
    schema: str = SCHEMA


class Guard(Struct, frozen=True):
    """Who protects a piece of evidence."""

    by: str
    wall: float  # s UTC
    reason: str = ""


# -- what is wanted -----------------------------------------------------------------------------------


def name_of(alarm: str, camera: str) -> str:
    """The id of a piece of evidence.

    >>> name_of("000001-ab12-7", "gate/2")
    '000001-ab12-7.gate%2F2'
    """
    return f"{alarm}.{quote(camera, safe='')}"


def is_name(id: str) -> bool:
    """Whether it may be one: nothing that leads elsewhere.

    >>> is_name("000001-ab12-7.gate"), is_name("../x.y"), is_name("ring"), is_name(".x.y")
    (True, False, False, False)
    """
    return bool(id) and "/" not in id and not id.startswith(".") and "." in id


def wanted(alarm: Alarm, witness: Witness, kernel: str, span: tuple[float, float]) -> Wanted:
    """What is to be kept for an alarm: `span` s before and after the decision."""
    return Wanted(
        id=name_of(alarm.id, witness.camera),
        camera=witness.camera,
        ring=witness.ring,
        alarm=alarm,
        kernel=kernel,
        begin=alarm.at.mono - span[0],
        end=alarm.at.mono + span[1],
        rate=witness.rate,
        wide=witness.wide,
        format=witness.format,
        masks=witness.masks,
    )


def begin(shelf: Path, want: Wanted, frames: Iterable[Frame]) -> None:
    """Note on the disk what is wanted, and hold what there is of it; nothing where it is done. Raises `OSError`."""
    folder = shelf / want.id
    if (folder / MANIFEST).exists():  # an earlier life did it, and perhaps did not tell
        return
    (folder / REELS).mkdir(parents=True, exist_ok=True, mode=0o700)
    durable.replace(folder / WANTED, msgspec.json.encode(want))
    durable.sync(shelf)
    (folder / BEFORE).write_bytes(table(want, frames))
    hold(shelf, want)


def hold(shelf: Path, want: Wanted) -> list[Path]:
    """Hold what there is of the wanted reels; all that are held. Raises `OSError`."""
    folder = shelf / want.id / REELS
    if not folder.is_dir():
        return []
    for reel in reels.within(reels.found(Path(want.ring)), want.begin, want.end):
        with contextlib.suppress(FileNotFoundError):  # the ring needed the room
            reels.take(reel.path, folder)
    return [reel.path for reel in reels.found(folder)]


def table(want: Wanted, frames: Iterable[Frame]) -> bytes:
    """What the channels said, a row each time: s from the decision, wall s, channel, value, unit, quality."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["t_s", "wall_s", "channel", "value", "unit", "quality"])
    for frame in frames:
        t, wall = f"{frame.at.mono - want.alarm.at.mono:.3f}", f"{frame.at.wall:.3f}"
        units = frame.layout.unit
        for key, value, unit, quality in zip(frame.layout.key, frame.value, units, frame.quality, strict=False):
            number = "" if value != value else f"{value:.9g}"
            rows.writerow([t, wall, f"{frame.source}/{key}", number, unit, Quality(int(quality)).name])
    return text.getvalue().encode()


def left(shelf: Path) -> list[Wanted]:
    """What an earlier life wanted and did not finish, or did not tell, oldest first."""
    found = []
    for path in sorted(shelf.glob(f"*/{WANTED}")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Wanted))
        except (OSError, msgspec.DecodeError):
            continue  # not of this version
    return sorted(found, key=lambda want: want.alarm.at.wall)


# -- what was kept ------------------------------------------------------------------------------------


def unfinished(shelf: Path, wants: list[Wanted]) -> list[Wanted]:
    """Those that have no manifest yet."""
    return [want for want in wants if not (shelf / want.id / MANIFEST).exists()]


def finish(shelf: Path, wants: list[Wanted], made: Made, out: Path, rows: dict[str, list[Frame]]) -> list[Manifest]:
    """Put what the encoder left in `out` into the folder of each alarm, and write the manifests. Raises `OSError`.

    `rows`: what the sources said, by id; where there is nothing, what was noted at the alarm stays. What the encoder
    could not make is kept as reels.
    """
    manifests = [_finish(shelf, want, made, out, rows.get(want.id)) for want in wants]
    shutil.rmtree(out, ignore_errors=True)
    return manifests


def _finish(shelf: Path, want: Wanted, made: Made, out: Path, rows: list[Frame] | None) -> Manifest:
    folder, clip = shelf / want.id, made.clip or Clip()
    for path in [*out.glob("clip.*"), *(out / want.id).glob("*.jpg")]:
        (folder / path.name).unlink(missing_ok=True)
        try:
            os.link(path, folder / path.name)
        except OSError:
            shutil.copyfile(path, folder / path.name)
    missing = [f"clip: {clip.why}"] if clip.why else []
    for lo, hi in clip.gaps:
        lo, hi = max(lo, want.begin) - want.alarm.at.mono, min(hi, want.end) - want.alarm.at.mono
        missing += [f"pictures from {lo:+.1f} to {hi:+.1f} s"] if hi > lo else []
    if rows is not None:
        durable.replace(folder / CHANNELS, table(want, rows))
        (folder / BEFORE).unlink(missing_ok=True)
    elif (folder / BEFORE).exists():
        (folder / BEFORE).replace(folder / CHANNELS)
        missing.append("channels after the alarm: the agent was started again")
    names = [path for path in sorted(folder.iterdir()) if path.name == CHANNELS or path.suffix in FILMED]
    if not clip.codec:
        names += [reel.path for reel in reels.found(folder / REELS)]
    alarm = want.alarm
    manifest = Manifest(
        id=want.id,
        alarm=alarm.id,
        edge=alarm.edge,
        rule=alarm.rule,
        channel=alarm.channel,
        level=alarm.level,
        camera=want.camera,
        at=alarm.at,
        begin=_beside(alarm.at, want.begin),
        end=_beside(alarm.at, want.end),
        kernel=want.kernel,
        clip=clip,
        stills=made.stills.get(want.id, ()),
        masks=want.masks,
        missing=tuple(missing),
        files=tuple(File(str(path.relative_to(folder)), path.stat().st_size, digest(path)) for path in names),
    )
    durable.replace(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    if clip.codec:
        shutil.rmtree(folder / REELS, ignore_errors=True)
    return manifest


def told(shelf: Path, id: str) -> None:
    """The manifest is in the journal: nothing is left to do. Raises `OSError`."""
    (shelf / id / WANTED).unlink(missing_ok=True)


def _beside(at: Instant, mono: float) -> Instant:
    """Another moment by the same clocks."""
    return Instant(mono, at.wall + mono - at.mono, at.synced)


def digest(path: Path) -> str:
    """SHA-256 of a file. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(folder: Path) -> Manifest:
    """Raises `OSError`, and `ValueError` in words where it is none."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise ValueError(f"{MANIFEST}: {error}") from None


def verify(folder: Path) -> list[str]:
    """What does not fit its manifest: each file that is missing, changed or too many. Raises as `read`."""
    manifest = read(folder)
    faults = []
    for file in manifest.files:
        try:
            if digest(folder / file.name) != file.sha256:
                faults.append(f"{file.name}: changed")
        except OSError as error:
            faults.append(f"{file.name}: {error.strerror}")
    known = {file.name for file in manifest.files} | {MANIFEST, PROTECTED, WANTED}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return faults + [f"{name}: not in the manifest" for name in sorted(there - known)]


# -- room ---------------------------------------------------------------------------------------------


class Piece(NamedTuple):
    """One piece of evidence as it lies there."""

    id: str
    bytes: int  # shared ones in part
    protected: Guard | None
    done: bool  # it has a manifest


def pieces(shelf: Path) -> list[Piece]:
    """All that is there, oldest first. A file that several share counts for each of them in part."""
    found = []
    for folder in shelf.iterdir() if shelf.is_dir() else ():
        if not is_name(folder.name) or not folder.is_dir():
            continue
        size = 0.0
        try:
            for path in folder.rglob("*"):
                stat = path.stat()
                size += stat.st_size / max(1, stat.st_nlink) if path.is_file() else 0
            done = (folder / MANIFEST).exists() and not (folder / WANTED).exists()
            found.append(Piece(folder.name, int(size), guard(folder), done))
        except OSError:
            continue  # it is being deleted
    return sorted(found, key=lambda piece: _age(piece.id))


def _age(id: str) -> tuple[str, int, str]:
    """What orders: boots, and the alarms of each, are numbered."""
    alarm, _, camera = id.partition(".")
    boot, _, serial = alarm.rpartition("-")
    return boot, int(serial) if serial.isdigit() else 0, camera


def guard(folder: Path) -> Guard | None:
    """Who protects it."""
    try:
        return msgspec.json.decode((folder / PROTECTED).read_bytes(), type=Guard)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError):
        return Guard("?", 0.0, "its mark is damaged")  # rather too long than too short


def protect(folder: Path, who: Guard | None) -> None:
    """Protect it, or no longer. Raises `OSError`."""
    if who is None:
        (folder / PROTECTED).unlink(missing_ok=True)
        durable.sync(folder)
    else:
        durable.replace(folder / PROTECTED, msgspec.json.encode(who))


class Room(NamedTuple):
    """How much there is."""

    bytes: int  # of all
    protected: int  # bytes of these
    free: int  # bytes of the disk


def room(shelf: Path) -> Room:
    """How much is there now. Raises `OSError`."""
    found = pieces(shelf)
    stat = os.statvfs(shelf)
    guarded = sum(piece.bytes for piece in found if piece.protected is not None)
    return Room(sum(piece.bytes for piece in found), guarded, stat.f_bavail * stat.f_frsize)


def evict(shelf: Path, settings: Shelf, now: Instant) -> Iterator[tuple[Piece, str]]:
    """Delete what nobody protects and is too old, then the oldest until quota and disk are content; each, and why.

    Nobody knows the age of what was decided while the clock was not to be trusted, nor of anything while it is not.
    Raises `OSError`.
    """
    found = pieces(shelf)
    for piece in [one for one in found if settings.days and now.synced and one.done and one.protected is None]:
        decided = _decided(shelf / piece.id)
        if decided is not None and decided.synced and now.wall - decided.wall > settings.days * DAY:
            found.remove(piece)
            delete(shelf / piece.id)
            yield piece, f"older than {settings.days:g} days"
    while found:
        stat = os.statvfs(shelf)
        total = sum(piece.bytes for piece in found)
        if total > settings.mb * 2**20:
            why = f"more than {settings.mb:g} MB of evidence"
        elif stat.f_bavail * stat.f_frsize < settings.free_mb * 2**20:
            why = f"less than {settings.free_mb:g} MB of the disk are free"
        else:
            return
        oldest = next((piece for piece in found if piece.done and piece.protected is None), None)
        if oldest is None:
            return
        found.remove(oldest)
        delete(shelf / oldest.id)
        yield oldest, why


def _decided(folder: Path) -> Instant | None:
    """When its alarm was decided; None where nobody can read that."""
    with contextlib.suppress(OSError, ValueError):
        return read(folder).at
    return None


def delete(folder: Path) -> None:
    """All of it, the manifest last: what is half deleted still says what it was. Raises `OSError`."""
    for path in sorted(folder.rglob("*"), key=lambda path: (path.name in (MANIFEST, PROTECTED), -len(path.parts))):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def facts(manifest: Manifest, sha256: str) -> dict[str, Any]:
    """A manifest with its own hash, as it is told."""
    return {**msgspec.to_builtins(manifest), "sha256": sha256}
