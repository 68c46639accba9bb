"""Certificates and secrets: do they belong together, are they valid now and for how long, who may read the key."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from .. import secret, tls
from ..core.errors import LineLost
from .finding import Finding, found
from .machine import READ, Machine, Person, mode

SOON, LAST = 30.0, 7.0  # d, as in configs/profiles/agent.toml
OTHERS = 0o077  # whoever is not the owner
GROUP_READ = 0o040


def secured(machine: Machine, who: Person, name: str, settings: tls.Secured, now: float) -> Iterator[Finding]:
    """The files of one connection. `now`: s UTC."""
    files = [("key", settings.key), ("pkcs12", settings.pkcs12), ("cert", settings.cert), ("ca", settings.ca)]
    rows = list(readable(machine, who, [(kind, one) for kind, one in [*files, ("crl", settings.crl)] if one]))
    yield from rows
    own, believed = _read(settings.cert), _read(settings.ca)
    try:
        expires = tls.papers(settings, f"uplink {name!r}").expires
    except LineLost as fault:
        expires = {"own": min(map(_end, own))} if own else {}
        if not any(row.key == "paper missing" for row in rows):
            yield found("paper broken", name, why=str(fault))
    for one in (*own[:1], *believed):
        yield from early(f"{name} {one.subject.rfc4514_string()}", one, now)
    for whose, when in expires.items():
        yield ends(f"{name} {whose}", when, now)
    if own and believed and not any(_signed(own, one) for one in believed):
        yield found("paper stranger", f"{name} cert", issuer=own[-1].issuer.rfc4514_string())


def page(
    machine: Machine, who: Person, certificate: str, key: str, names: Sequence[str], now: float
) -> Iterator[Finding]:
    """The files of the local page; `names`: what browsers may call this machine."""
    import ssl

    yield from readable(machine, who, [("key", key), ("cert", certificate)])
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, "")
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        yield found("paper broken", "web", why=why)
    for one in _read(certificate)[:1]:
        if not set(names) & set(_names(one)):
            yield found("paper name", "web certificate", names=", ".join(_names(one)) or "-", wanted=", ".join(names))
        yield from early("web certificate", one, now)
        yield ends("web certificate", _end(one), now)


def readable(machine: Machine, who: Person, files: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """Whether the agent may read its files, and nobody else its keys."""
    for kind, name in files:
        if name.startswith("credential:"):
            yield found("paper credential", name)
            continue
        path = secret.place(name)
        there = machine.stat(path)
        if there is None:
            yield found("paper missing", str(path), kind=kind)
        elif not who.may(there, READ):
            yield found("paper rights", str(path), kind=kind, user=who.name, mode=mode(there))
        elif kind in ("key", "pkcs12") and there.st_mode & OTHERS & ~GROUP_READ:
            yield found("paper open", str(path), mode=mode(there))


def early(what: str, one: x509.Certificate, now: float) -> Iterator[Finding]:
    """Whether it is not valid yet."""
    begins = one.not_valid_before_utc
    if (ahead := begins.timestamp() - now) > 0:
        yield found("paper early", what, begins=f"{begins:%Y-%m-%d %H:%M} UTC", days=f"{ahead / tls.DAY:.1f}")


def _names(one: x509.Certificate) -> list[str]:
    """Whose it is, as clients compare it: a wildcard stands as it is."""
    with contextlib.suppress(x509.ExtensionNotFound):
        known = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [*known.get_values_for_type(x509.DNSName), *map(str, known.get_values_for_type(x509.IPAddress))]
    return []


def _end(one: x509.Certificate) -> float:
    return one.not_valid_after_utc.timestamp()


def ends(what: str, when: float, now: float) -> Finding:
    """How long something is still valid; s UTC."""
    days = (when - now) / tls.DAY
    key = "paper over" if days < 0 else "paper last" if days < LAST else "paper soon" if days < SOON else "paper valid"
    return found(key, what, days=f"{abs(days):.0f}")


def _read(name: str) -> list[x509.Certificate]:
    """Those of a PEM file; none where it cannot be read, of which `tls.papers` complains."""
    with contextlib.suppress(OSError, ValueError):
        return x509.load_pem_x509_certificates(Path(secret.place(name)).read_bytes()) if name else []
    return []


def _signed(chain: Sequence[x509.Certificate], authority: x509.Certificate) -> bool:
    """Whether the last of a chain, or one before it, was signed by an authority."""
    for one in chain:
        try:
            one.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


# -- secrets by reference -----------------------------------------------------------------------------


def references(*workers: Any) -> list[str]:
    """Where a site says that its secrets are: env:NAME, file:/path, credential:NAME."""
    found_: dict[str, None] = {}

    def look(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in secret.NAMES and isinstance(inner, str) and inner.partition(":")[0] in secret.KINDS:
                    found_[inner] = None
                look(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                look(inner)

    look([msgspec.to_builtins(one, enc_hook=str) for one in workers])
    return list(found_)


def borrowed(machine: Machine, wanted: Sequence[str], pid: int) -> dict[str, str]:
    """What the running agent has in its environment of that, and this shell has not."""
    names = {one.partition(":")[2] for one in wanted if one.startswith("env:")}
    names |= {"CREDENTIALS_DIRECTORY"} if any(one.startswith("credential:") for one in wanted) else set()
    told = dict(one.partition("=")[::2] for one in (machine.text(f"/proc/{pid}/environ") or "").split("\0"))
    return {name: told[name] for name in names if name in told and name not in os.environ}


def kept(machine: Machine, who: Person, wanted: Sequence[str]) -> Iterator[Finding]:
    """Whether each secret is there, for the agent and for nobody else."""
    for one in wanted:
        kind, _, name = one.partition(":")
        if kind == "env" or (kind == "credential" and "CREDENTIALS_DIRECTORY" not in os.environ):
            yield found("secret fine" if name in os.environ else "secret unseen", one)
            continue
        there = machine.stat(secret.place(one) if kind == "credential" else name)
        if there is None:
            yield found("secret missing", one)
        elif kind == "file" and not who.may(there, READ):
            yield found("secret rights", one, user=who.name, mode=mode(there))
        elif there.st_mode & 0o044:
            yield found("secret open", one, mode=mode(there))
        else:
            yield found("secret fine", one)
