"""Who may act: names and passwords made at the installation, and sessions while the daemon runs.

    vedette passwd NAME          asks for a password twice, and keeps its argon2id hash in <state>/people.json

There is no default password and no way to make one over the network. Hashes need 19 MB and some tens of ms, one at a
time in a thread, so that guessing costs the guesser and not the judge. Sessions are in memory: a restart ends them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import unicodedata
from collections import OrderedDict
from pathlib import Path

import argon2
import msgspec
from msgspec import Struct, structs

from .. import durable

FILE = "people.json"
SHORTEST, LONGEST = 10, 200  # characters of a password; NIST SP 800-63B: 8 at least
NAMES = 64  # characters of a name
SHIFT = 8 * 3600.0  # s that a session lasts
IDLE = 1800.0  # s that it lasts while nobody does anything
SESSIONS = 64
FORGIVEN = {"name": 5, "from": 20}  # wrong tries in a row of one name, and of one address, before it has to wait
WAIT, LONGEST_WAIT = 15.0, 900.0  # s, doubling
WATCHED = 256  # names and addresses that are remembered
HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)  # OWASP, Password Storage: the least


class Entry(Struct, frozen=True):
    """One person, as kept."""

    hash: str
    since: float  # wall s


def read(state: str | Path) -> dict[str, Entry]:
    """Who may log in. Raises `ValueError` in words where the file is not what it should be."""
    path = Path(state) / FILE
    try:
        if path.stat().st_mode & 0o077:
            raise ValueError(f"{path}: others may read it; chmod 600 {path}")
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Entry])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}; delete it and give the passwords anew") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None


def keep(state: str | Path, people: dict[str, Entry]) -> None:
    """Write them, for nobody else to read. Raises `OSError`."""
    path = Path(state) / FILE
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    durable.replace(path, msgspec.json.encode(people))
    path.chmod(0o600)
    if os.geteuid() == 0:  # the daemon has to read it
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def named(text: str) -> str:
    """A name as it is compared and told: without blanks about it, in one form of Unicode."""
    return unicodedata.normalize("NFC", text).strip()


def fault(name: str, password: str) -> str:
    """Why these cannot be a name and its password, in words; empty where they can."""
    if not name or len(name) > NAMES or not name.isprintable():
        return f"a name has 1 to {NAMES} characters that can be printed"
    if len(password) < SHORTEST:
        return f"a password has {SHORTEST} characters at least; three words that do not belong together are good"
    if len(password) > LONGEST:
        return f"a password has {LONGEST} characters at most"
    if password.casefold() in (name.casefold(), "password", "1234567890", "0123456789") or len(set(password)) < 4:
        return "this one would be guessed first"
    return ""


def hashed(password: str) -> str:
    return HASHER.hash(unicodedata.normalize("NFC", password))


NOBODY = hashed(secrets.token_hex())  # compared for a name that is none, so that it takes as long


def fits(entry: Entry | None, password: str) -> bool:
    """Whether it is the password. Blocks for some tens of ms, whoever it is."""
    try:
        HASHER.verify(entry.hash if entry else NOBODY, unicodedata.normalize("NFC", password[:LONGEST]))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return entry is not None


# -- tries --------------------------------------------------------------------------------------------


class Try(Struct, frozen=True):
    """Wrong tries in a row, and until when the next one has to wait (monotonic s)."""

    wrong: int = 0
    until: float = 0.0


class Tries:
    """Who guesses too often has to wait. By `name ...` and by `from ...`, an address; the oldest are forgotten."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, Try] = OrderedDict()

    def wait(self, now: float, *whose: str) -> float:
        """s that the next try has to wait; 0 where it may be made."""
        return max(0.0, *(self._of.get(one, Try()).until - now for one in whose))

    def wrong(self, now: float, *whose: str) -> None:
        for one in whose:
            n = self._of.pop(one, Try()).wrong + 1
            over = n - FORGIVEN[one.partition(" ")[0]]
            pause = min(LONGEST_WAIT, WAIT * 2.0 ** min(over, 10)) if over >= 0 else 0.0
            self._of[one] = Try(n, now + pause)
            if len(self._of) > WATCHED:
                self._of.popitem(last=False)

    def right(self, *whose: str) -> None:
        for one in whose:
            self._of.pop(one, None)


# -- sessions -----------------------------------------------------------------------------------------


class Session(Struct, frozen=True):
    """Somebody who is logged in."""

    name: str
    token: str  # that every form of this session bears
    made: float  # wall s: `since` of the password by which he came
    since: float  # monotonic s
    seen: float
    said: str = ""  # a word on what was done last, shown once


class Sessions:
    """By the hash of their cookie: whoever sees this memory cannot take one over."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, Session] = OrderedDict()

    def begin(self, name: str, made: float, now: float) -> str:
        """A new session, by a password of `made`; its cookie."""
        cookie = secrets.token_urlsafe(32)
        self._of[_key(cookie)] = Session(name, secrets.token_urlsafe(24), made, now, now)
        if len(self._of) > SESSIONS:
            self._of.popitem(last=False)
        return cookie

    def of(self, cookie: str, now: float) -> Session | None:
        """The session of this cookie, if it still lasts."""
        key = _key(cookie)
        session = self._of.get(key) if cookie else None
        if session is None:
            return None
        if now - session.since > SHIFT or now - session.seen > IDLE:
            del self._of[key]
            return None
        session = self._of[key] = structs.replace(session, seen=now)
        return session

    def say(self, cookie: str, text: str) -> None:
        """What is shown on the next page of this session."""
        if (session := self._of.get(_key(cookie))) is not None:
            self._of[_key(cookie)] = structs.replace(session, said=text)

    def end(self, cookie: str) -> None:
        self._of.pop(_key(cookie), None)

    def keep_of(self, people: dict[str, Entry]) -> None:
        """End the sessions of whoever may act no longer, or has another password now."""
        made = {name: entry.since for name, entry in people.items()}
        for key in [key for key, session in self._of.items() if made.get(session.name) != session.made]:
            del self._of[key]

    def __len__(self) -> int:
        return len(self._of)


def _key(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


def same(a: str, b: str) -> bool:
    """Whether two tokens are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(a.encode(), b.encode())
