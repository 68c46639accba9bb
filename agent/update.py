"""A new site file takes the place of the one in force, proves itself, or makes way again. Nothing in between is ever
left, whatever moment the power chooses.

Beside SITE.toml there are, while an update is under way:

    SITE.toml.next     the new one, before it is checked and put in place
    SITE.toml.last     the one before; it stays there, for people
    SITE.toml.trial    how far it is: a `Trial` in JSON, replaced whole

    offer   write .next                                          a check in a process of its own follows
    switch  write .last, write .trial (trial), rename .next      the agent starts anew
    begin   at each start: a trial begins once; whoever finds that it began before goes back
    ready   write .trial (ready)                                 its outcome is kept elsewhere, then `forget`
    back    write .trial (back), write .last over it, write .trial (failed)

Each step can be done again, and `begin` finishes what was begun. A file that a person changed meanwhile is not touched.
Everything here blocks.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, structs

from . import durable

MOST = 1000  # letters of a reason


class Trial(Struct, frozen=True, kw_only=True):
    """An update under way."""

    phase: Literal["trial", "back", "ready", "failed"]
    command: str  # id
    old: str  # SHA-256 of the file in force before
    new: str
    begun: int = 0  # how often the agent started with it
    uplink: str = ""  # the command came by it, so it must come up again
    reason: str = ""  # why it made way


def next_of(site: Path) -> Path:
    return site.with_name(f"{site.name}.next")


def last_of(site: Path) -> Path:
    return site.with_name(f"{site.name}.last")


def trial_of(site: Path) -> Path:
    return site.with_name(f"{site.name}.trial")


def digest(path: Path) -> str:
    """SHA-256 of a file; empty where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def offer(site: Path, text: bytes) -> Path:
    """Where the new file lies from now on, for a check. Raises `OSError`, or `ValueError` in words."""
    if site.is_symlink():
        raise ValueError(f"{site.name} is a symbolic link: whoever made it replaces what it points to")
    durable.replace(next_of(site), text)
    os.chmod(next_of(site), site.stat().st_mode & 0o777)
    return next_of(site)


def withdraw(site: Path) -> None:
    """It is not wanted after all. Raises `OSError`."""
    if next_of(site).exists():  # where the folder is read-only, even to take nothing away is refused
        next_of(site).unlink(missing_ok=True)


def switch(site: Path, old: str, command: str, uplink: str) -> None:
    """Put the file that was offered in place of the one whose SHA-256 is `old`. Raises `OSError`, or `ValueError` in
    words; then nothing has changed."""
    current = site.read_bytes()
    if hashlib.sha256(current).hexdigest() != old:
        raise ValueError(f"{site.name} was changed on this machine since the agent read it; `vedette reload` first")
    durable.replace(last_of(site), current)
    trial = Trial(phase="trial", command=command, old=old, new=digest(next_of(site)), uplink=uplink)
    write(site, trial)
    next_of(site).replace(site)
    durable.sync(site.parent)


def begin(site: Path) -> Trial | None:
    """What is to be known of an update when the agent starts; None where there is none. Raises `OSError`.

    A `trial` that comes back has not begun before: it is for whoever asks to see it through. `failed` and `ready` are
    over, and are to be told.
    """
    trial = read(site)
    if trial is None:
        withdraw(site)
        return None
    if trial.phase == "back":
        return back(site, trial, trial.reason)
    if trial.phase != "trial":
        return trial
    here = digest(site)
    if here != trial.new:
        why = "the agent ended before it was in place" if here == trial.old else f"{site.name} was changed by hand"
        withdraw(site)
        return write(site, structs.replace(trial, phase="failed", reason=why))
    if trial.begun:
        return back(site, trial, "the agent ended with it before all was well")
    return write(site, structs.replace(trial, begun=1))


def ready(site: Path, trial: Trial) -> Trial:
    """It proved itself. Raises `OSError`."""
    return write(site, structs.replace(trial, phase="ready"))


def back(site: Path, trial: Trial, why: str) -> Trial:
    """The one before is in force again. Raises `OSError`."""
    trial = write(site, structs.replace(trial, phase="back", reason=why[:MOST]))
    if digest(site) == trial.new and digest(last_of(site)) == trial.old:
        mode = site.stat().st_mode & 0o777
        durable.replace(site, last_of(site).read_bytes())
        os.chmod(site, mode)
    return write(site, structs.replace(trial, phase="failed"))


def forget(site: Path) -> None:
    """Its outcome is kept elsewhere. Raises `OSError`."""
    trial_of(site).unlink(missing_ok=True)
    durable.sync(site.parent)


def read(site: Path) -> Trial | None:
    """How far it is; None where none is under way."""
    try:
        return msgspec.json.decode(trial_of(site).read_bytes(), type=Trial)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return None


def write(site: Path, trial: Trial) -> Trial:
    """Raises `OSError`."""
    durable.replace(trial_of(site), msgspec.json.encode(trial))
    return trial
