"""A command from afar: what people signed, and whether it is to be done. Nothing here acts, waits or writes.

    envelope   {"text": "...", "signatures": {"anna": "<base64>", ...}}     in JSON, at most `LARGEST` bytes
    text       {"schema": "vedette.command/1", "device": "<site>/<node>", "issuer": "anna", "counter": 1764300000123,
                "issued": <ms UTC>, "expires": <ms UTC>, "config": "<hash>", "challenge": "...",
                "do": {"verb": "ack", "alarm": "000007-5e1f-3"}}

A signature (Ed25519) is over the UTF-8 bytes of `text` as they stand there, so that nobody has to agree with anybody on
how JSON is spelt. It is verified before anything of the text is read. `counter` grows with each command of an issuer,
whatever happens to either side; `config` is the hash of the configuration that the issuer believes in, and may be left
out where the verb does not need it. `judge` looks at everything in one order, and says at what it stopped:

    size, form, signature, device, role, persons, counter, lifetime, clock | expired | early | forgotten, config

A clock that cannot be trusted cannot say what is expired. Then a command counts as new when it brings a `challenge`
that this node gave, once and not long ago; the refusal `clock` brings one. It counts so with a trusted clock as well,
whatever the issuer's own clock believes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct

from . import keys
from .core.frame import Instant

SCHEMA: Literal["vedette.command/1"] = "vedette.command/1"
LARGEST = 256 * 1024  # bytes of an envelope: a site file of 100 kB, escaped; project
SIGNERS = 4  # of one command, at most; project
AHEAD = 120.0  # s that an issuer's clock may be ahead of this one; project

Text = Annotated[str, Meta(min_length=1, max_length=200)]
Words = Annotated[str, Meta(max_length=1000)]
Stamp = Annotated[int, Meta(ge=0, lt=2**53)]  # ms UTC
Who = Annotated[str, Meta(pattern=r"^[\w.-]+$", min_length=1, max_length=64)]


# -- what can be asked for ----------------------------------------------------------------------------


class Deed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="verb"):
    """What is to be done."""

    @property
    def verb(self) -> str:
        """What permissions call it."""
        return str(self.__struct_config__.tag)


class Acknowledge(Deed, frozen=True, tag="ack"):
    """Somebody has seen an alarm."""

    alarm: Text  # id


class Deal(Deed, frozen=True):
    """What people do to one point, as `vedette alarms` has it."""

    point: Text  # RULE@CHANNEL, or the id of an open alarm
    reason: Words = ""
    seconds: Annotated[float, Meta(ge=0)] = 0.0  # of shelving


class Demand(Deal, frozen=True, tag="demand"):
    """Switch by hand what a manual rule drives."""


class Withdraw(Deal, frozen=True, tag="withdraw"):
    """Take that back."""


class Reset(Deal, frozen=True, tag="reset"):
    """Let go what latched."""


class Shelve(Deal, frozen=True, tag="shelve"):
    """Silence for a while."""


class TakeOut(Deal, frozen=True, tag="take-out"):
    """Out of service, under a permit."""


class Restore(Deal, frozen=True, tag="restore"):
    """Back in force."""


class SetLimit(Deed, frozen=True, tag="set-limit"):
    """Another limit for a rule, within what `[[settable]]` allows; None: that of the configuration again."""

    rule: Text
    limit: float | None = None  # in the channel's unit
    restore: float | None = None  # None: as far from the limit as it is now
    was: float | None = None  # the limit that is believed to be in force; None: whatever
    reason: Words = ""


class Drill(Deed, frozen=True, tag="drill"):
    """Prove a chain, as `vedette drill` does."""

    name: Text


class Report(Deed, frozen=True, tag="report"):
    """Say now how everything stands."""


class Range(Deed, frozen=True, tag="range", rename={"first": "from", "last": "to"}):
    """Numbers of a stream once more, both ends included."""

    boot: Annotated[str, Meta(max_length=64)]
    stream: Annotated[str, Meta(max_length=256)]
    first: Annotated[int, Meta(ge=1, lt=2**53)]
    last: Annotated[int, Meta(ge=1, lt=2**53)]
    uplink: Annotated[str, Meta(max_length=64)] = ""  # to which; empty: the one that the command came by


class Clip(Deed, frozen=True, tag="clip"):
    """What a camera showed, from its ring."""

    camera: Text  # source
    begin: Stamp
    end: Stamp
    reason: Words = ""


class Configure(Deed, frozen=True, tag="configure"):
    """Another site file, whole."""

    toml: Annotated[str, Meta(min_length=1)]
    reason: Words = ""


AnyDeed: TypeAlias = (
    Acknowledge
    | Demand
    | Withdraw
    | Reset
    | Shelve
    | TakeOut
    | Restore
    | SetLimit
    | Drill
    | Report
    | Range
    | Clip
    | Configure
)
Verb = Literal[
    "ack",
    "demand",
    "withdraw",
    "reset",
    "shelve",
    "take-out",
    "restore",
    "set-limit",
    "drill",
    "report",
    "range",
    "clip",
    "configure",
]
VERBS: tuple[str, ...] = get_args(Verb)


class Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The text of a command."""

    schema: Literal["vedette.command/1"]
    device: Annotated[str, Meta(max_length=200)]  # site/node
    issuer: Who
    counter: Annotated[int, Meta(ge=1, lt=2**53)]
    issued: Stamp
    expires: Stamp
    do: AnyDeed
    config: Annotated[str, Meta(max_length=64)] = ""
    challenge: Annotated[str, Meta(max_length=64)] = ""

    @property
    def id(self) -> str:
        """Its name: no two commands that are accepted share one."""
        return f"{self.issuer}-{self.counter}"


class Envelope(Struct, frozen=True, forbid_unknown_fields=True):
    """A text and who signed it."""

    text: str
    signatures: Annotated[dict[str, str], Meta(min_length=1, max_length=SIGNERS)]


# -- settings -----------------------------------------------------------------------------------------


class Issuer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may command this node: `[[issuer]]`."""

    name: Who
    key: str  # public key in base64, as `vedette key show` prints it
    may: tuple[Verb, ...]  # what

    def __post_init__(self) -> None:
        keys.public(self.key)


class Rules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every command: `[commands]`."""

    lifetime: Annotated[float, Meta(gt=0, le=7 * 86400)] = 3600.0  # s from `issued` to `expires`, at most
    two: tuple[Verb, ...] = ()  # what takes the signatures of two people
    confirm: Annotated[float, Meta(ge=5, le=3600)] = 60.0  # s in which a new configuration must prove itself


# -- writing ------------------------------------------------------------------------------------------


def written(command: Command) -> str:
    """The text of a command."""
    return msgspec.json.encode(command).decode()


def signed(text: str, signers: Mapping[str, Ed25519PrivateKey]) -> bytes:
    """The envelope of a text."""
    signatures = {name: base64.b64encode(key.sign(text.encode())).decode() for name, key in signers.items()}
    return msgspec.json.encode(Envelope(text, signatures))


def opened(envelope: bytes) -> Envelope:
    """An envelope as it came. Raises `ValueError`, in words."""
    try:
        return msgspec.json.decode(envelope, type=Envelope)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"this is no envelope: {error}") from None


# -- judging ------------------------------------------------------------------------------------------


class Known(NamedTuple):
    """An issuer, ready to be looked up."""

    key: Ed25519PublicKey
    fingerprint: str
    may: frozenset[str]


def known(issuers: Collection[Issuer]) -> dict[str, Known]:
    """Issuers by name."""
    found = {}
    for one in issuers:
        key = keys.public(one.key)
        found[one.name] = Known(key, keys.fingerprint(key), frozenset(one.may))
    return found


class Here(NamedTuple):
    """What a command is judged by."""

    device: str  # site/node
    config: str  # hash of the configuration in force
    issuers: Mapping[str, Known]
    two: Collection[str]  # verbs
    lifetime: float  # s
    counters: Mapping[str, int]  # fingerprint of a key -> the highest that was judged; a new key begins anew
    floor: float  # s UTC: what was issued earlier may have been done and forgotten; inf: nobody knows
    challenges: Collection[str]  # that this node gave lately, and nobody used


State = Literal["accepted", "executing", "successful", "failed", "rejected", "expired"]
FINAL: frozenset[str] = frozenset({"successful", "failed", "rejected", "expired"})


class Verdict(NamedTuple):
    """What becomes of a command."""

    state: State  # accepted, rejected or expired
    reason: str  # at which look it stopped; empty where it is accepted
    text: str  # for people
    command: Command | None = None  # once its signatures hold
    by: tuple[str, ...] = ()  # who signed it
    sha256: str = ""  # of its text
    spends: str = ""  # fingerprint of the key whose counter it uses up, whatever becomes of it


def judge(envelope: bytes, here: Here, at: Instant) -> Verdict:
    """Whether it is to be done, by everything that is known here. Pure."""
    if len(envelope) > LARGEST:
        return Verdict("rejected", "size", f"{len(envelope)} bytes; at most {LARGEST}")
    try:
        one = opened(envelope)
        text = one.text.encode()
    except ValueError as error:
        return Verdict("rejected", "form", str(error))
    digest = hashlib.sha256(text).hexdigest()
    for name, signature in one.signatures.items():
        issuer = here.issuers.get(name)
        if issuer is None or not _holds(issuer.key, signature, text):
            return Verdict("rejected", "signature", "not signed by whom it names", sha256=digest)
    by = tuple(sorted(one.signatures))
    try:
        command = msgspec.json.decode(text, type=Command)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return Verdict("rejected", "form", f"signed, but not understood: {error}", None, by, digest)
    return _judged(command, by, digest, here, at)


def _judged(command: Command, by: tuple[str, ...], digest: str, here: Here, at: Instant) -> Verdict:
    verb = command.do.verb

    def refused(reason: str, text: str, spends: str = "") -> Verdict:
        state: State = "expired" if reason == "expired" else "rejected"
        return Verdict(state, reason, text, command, by, digest, spends)

    if command.issuer not in by:
        return refused("signature", f"issuer {command.issuer} did not sign it")
    if command.device != here.device:
        return refused("device", f"for {command.device}, this is {here.device}")
    for name in by:
        if verb not in here.issuers[name].may:
            return refused("role", f"{name} may not {verb}")
    if verb in here.two and len({here.issuers[name].fingerprint for name in by}) < 2:
        return refused("persons", f"{verb} takes the signatures of two people")
    key = here.issuers[command.issuer].fingerprint
    if command.counter <= here.counters.get(key, 0):
        return refused("counter", f"counter {command.counter} of {command.issuer} was used, or a later one")
    if not 0 < command.expires - command.issued <= 1000 * here.lifetime:
        return refused("lifetime", f"it must expire within {here.lifetime:g} s of being issued", key)
    if command.challenge and command.challenge in here.challenges:
        pass  # new, whatever any clock says
    elif not at.synced or math.isinf(here.floor):
        return refused("clock", "this node's clock cannot be trusted: sign it again with the challenge", key)
    elif 1000 * at.wall >= command.expires:
        return refused("expired", f"{at.wall - command.expires / 1000:.0f} s too late", key)
    elif command.issued > 1000 * (at.wall + AHEAD):
        return refused("early", f"issued {command.issued / 1000 - at.wall:.0f} s from now: one clock is wrong", key)
    elif command.issued < 1000 * here.floor:
        return refused("forgotten", "issued before this node began to remember commands", key)
    if isinstance(command.do, Configure) and not command.config:
        return refused("config", "it must say which configuration it replaces", key)
    if command.config and command.config != here.config:
        return refused("config", f"for configuration {command.config}; in force is {here.config}", key)
    return Verdict("accepted", "", "", command, by, digest, key)


def _holds(key: Ed25519PublicKey, signature: str, text: bytes) -> bool:
    """Whether this signature, in base64 as it is spelt by everybody, is of this text."""
    try:
        body = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    if len(body) != keys.SIGNATURE or base64.b64encode(body).decode() != signature:
        return False  # bits that say nothing are a second spelling of the same
    return keys.holds(key, body, text)


def brief(command: Command) -> dict[str, Any]:
    """What it asks for, for journal and people: a site file by its hash."""
    deed: dict[str, Any] = msgspec.to_builtins(command.do)
    if isinstance(command.do, Configure):
        deed["toml"] = f"sha256:{hashlib.sha256(command.do.toml.encode()).hexdigest()}"
    return deed
