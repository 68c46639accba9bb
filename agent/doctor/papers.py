"""Certificates: do they belong together, are they valid now and for how long, who may read the key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

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
    yield from readable(machine, who, [(kind, one) for kind, one in [*files, ("crl", settings.crl)] if one])
    try:
        tls.papers(settings, f"uplink {name!r}")
    except LineLost as fault:
        yield found("paper broken", name, why=str(fault))
    own = _read(settings.cert)
    believed = _read(settings.ca)
    yield from dates(f"{name} cert", own[:1], now)
    yield from dates(f"{name} ca", believed, now)
    if own and believed and not any(_signed(own, one) for one in believed):
        yield found("paper stranger", f"{name} cert", issuer=own[-1].issuer.rfc4514_string())


def page(machine: Machine, who: Person, certificate: str, key: str, now: float) -> Iterator[Finding]:
    """The files of the local page."""
    import ssl

    yield from readable(machine, who, [("key", key), ("cert", certificate)])
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, "")
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        yield found("paper broken", "web", why=why)
    yield from dates("web certificate", _read(certificate)[:1], now)


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


def dates(what: str, certificates: Sequence[x509.Certificate], now: float) -> Iterator[Finding]:
    """Whether each is valid now; of several, the first that ends."""
    for one in certificates:
        if (begins := one.not_valid_before_utc.timestamp()) > now:
            yield found(
                "paper early",
                what,
                begins=f"{one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
                days=f"{(begins - now) / tls.DAY:.1f}",
            )
    if certificates:
        end = min(one.not_valid_after_utc for one in certificates)
        yield ends(what, end.timestamp(), now)


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
