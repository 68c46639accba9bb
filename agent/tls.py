"""TLS of whoever connects: what is believed, what is shown, and how both are renewed while the connection stands.

TLS 1.2 or newer; the other side's certificate must come from an authority that is believed, be valid now and bear the
host's name: nothing switches that off. A private key lies in a file (PEM, encrypted or not) or in a PKCS#12; its
passphrase is a reference (`secret.py`).

A `Keyring` outlives connections. It looks at the files every few seconds. Once they are others, and have settled, they
are read; a handshake on the side tries them; only then is the connection given up for a new one, which takes a few
round trips. What cannot be read, does not belong together or is refused by the other side is told
(`certificate-refused`), and what was good before is used on; it is in memory, even where the files are gone.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from . import secret
from .core.errors import LineLost
from .core.frame import Frame, Instant, Layout, Quality, frame, layout
from .core.ports import Brief, Event, Feed, Uplink
from .hand import Hand

LOOK = 2.0  # s between looks at the files; they have settled when two looks see the same
KNOCK = 5.0  # s for TCP and for the handshake of a trial
ALERT = 2.0  # s in which the other side of a trial may still refuse: in TLS 1.3 it does so after the handshake
PARTING = 1.0  # s that answers are waited for before a connection is made anew
AGAIN = 3600.0  # s after which what was refused is tried again, though it is the same: the other side may have changed
DAY = 86400.0  # s
STALE = 30.0  # s; they are told every 5 s
DEADBAND = 0.25  # d
SOURCE = "tls"  # where the days stand that certificates are still valid: <uplink>.<whose>
KEYRING = "keyring"  # among the notes of a feed
WHOSE = ("own", "peer", "authority", "crl")
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Secured(Uplink, frozen=True, kw_only=True):
    """Settings of an uplink that may speak TLS. Files are paths, or `credential:NAME` (systemd)."""

    ca: str = ""  # file of the authority that signed the other side's certificate; empty: those of the system
    cert: str = ""  # file of this side's certificate, and those up to the authority if need be
    key: str = ""  # file of its key
    pkcs12: str = ""  # file with both, instead of cert and key
    passphrase: str = ""  # of key or pkcs12: where it is kept, never itself: env:NAME, file:/path or credential:NAME
    crl: str = ""  # file of what the authority has revoked; empty: nobody is asked
    tls: Literal["1.2", "1.3"] = "1.2"  # the oldest version that is spoken

    @property
    def secured(self) -> bool:
        """Whether it speaks TLS."""
        raise NotImplementedError

    def complain(self, scheme: str) -> None:
        """Raise `ValueError` for what does not go together; `scheme` is that of an address with TLS."""
        files = (self.ca, self.cert, self.key, self.pkcs12, self.crl)
        if any(files) and not self.secured:
            raise ValueError(f"ca, cert, key, pkcs12 and crl need {scheme}:// in url")
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key go together")
        if self.pkcs12 and self.cert:
            raise ValueError("pkcs12 stands for cert and key: it is one or the other")
        if wrong := secret.fault(self.passphrase, self.key or self.pkcs12, "passphrase"):
            raise ValueError(wrong.replace("without user", "without key or pkcs12"))

    def certificates(self) -> tuple[str, ...]:
        """Whose expiry is watched, where it speaks TLS. Pure."""
        if not self.secured:
            return ()
        own, crl = bool(self.cert or self.pkcs12), bool(self.crl)
        return tuple(one for one in WHOSE if (one != "own" or own) and (one != "crl" or crl))


class Papers(NamedTuple):
    """What is believed and shown, as it was read."""

    context: ssl.SSLContext
    stamp: Stamp
    expires: dict[str, float]  # s, UTC: when `own`, `authority` and `crl` end
    serial: str  # of the own certificate, hexadecimal; empty without one


Stamp = tuple[tuple[int, int, int] | None, ...]  # of each file: ns of its last change, bytes, inode; None: not there
Told = Callable[[str, str, dict[str, Any]], None]  # kind, text, facts


def stamp(settings: Secured) -> Stamp:
    """By what it is seen that the files are others."""

    def of(name: str) -> tuple[int, int, int] | None:
        try:
            stat = secret.place(name).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    reference = settings.passphrase.removeprefix("file:") if not settings.passphrase.startswith("env:") else ""
    names = (settings.ca, settings.cert, settings.key, settings.pkcs12, settings.crl, reference)
    return tuple(of(name) for name in names if name)


def papers(settings: Secured, what: str) -> Papers:
    """Read them. Raises `LineLost`, which begins with `what`, and names the file that is missing or damaged."""
    seen = stamp(settings)
    own: list[x509.Certificate] = []
    expires: dict[str, float] = {}
    at = ""  # the setting that is read
    try:
        at = "ca"
        context = ssl.create_default_context(cafile=secret.place(settings.ca) if settings.ca else None)
        context.minimum_version = VERSIONS[settings.tls]
        if settings.ca:
            expires["authority"] = max(map(_end, _certificates(secret.place(settings.ca).read_bytes())))
        word = secret.read(settings.passphrase, what, "passphrase") if settings.passphrase else None
        if settings.pkcs12:
            at = "pkcs12"
            own = _load_pkcs12(context, secret.place(settings.pkcs12).read_bytes(), word)
        elif settings.cert:
            at = "cert or key"
            cert = secret.place(settings.cert)
            context.load_cert_chain(cert, secret.place(settings.key), word or "")  # "": it would ask the terminal
            own = _certificates(cert.read_bytes())
        if own:
            expires["own"] = min(map(_end, own))
        if settings.crl:
            at = "crl"
            revoked = secret.place(settings.crl)
            if (due := x509.load_pem_x509_crl(revoked.read_bytes()).next_update_utc) is not None:
                expires["crl"] = due.timestamp()
            context.load_verify_locations(revoked)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise LineLost(f"{what}: {at} cannot be used: {why}") from error
    serial = f"{own[0].serial_number:x}" if own else ""
    return Papers(context, seen, expires, serial)


def _certificates(data: bytes) -> list[x509.Certificate]:
    """Those of a PEM file. Raises `ValueError` where there is none."""
    return x509.load_pem_x509_certificates(data)


def _end(certificate: x509.Certificate) -> float:
    """When it ends, s UTC."""
    return certificate.not_valid_after_utc.timestamp()


def _load_pkcs12(context: ssl.SSLContext, data: bytes, word: str | None) -> list[x509.Certificate]:
    """Make key and chain of a PKCS#12 those of the context. Raises `ValueError` or `ssl.SSLError`."""
    found = pkcs12.load_pkcs12(data, word.encode() if word else None)
    if found.key is None or found.cert is None:
        raise ValueError("it holds no key with its certificate")
    chain = [found.cert.certificate, *(one.certificate for one in found.additional_certs)]
    text = found.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    text += b"".join(one.public_bytes(Encoding.PEM) for one in chain)
    with _in_memory(text) as path:  # OpenSSL wants a file, and a key in the open belongs on no disk
        context.load_cert_chain(path)
    return chain


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """The path of a file that lies in memory, and that nobody else can open."""
    hand = os.memfd_create("vedette", os.MFD_CLOEXEC)
    try:
        os.write(hand, data)
        yield f"/proc/self/fd/{hand}"
    finally:
        os.close(hand)


def peer_expires(sock: Any) -> dict[str, float]:
    """When `peer` and `authority` of a handshake end, s UTC; `sock` is an `ssl.SSLSocket` or `ssl.SSLObject`."""
    inner: Any = getattr(sock, "_sslobj", None)
    try:
        if hasattr(sock, "get_verified_chain"):  # Python 3.13
            chain = sock.get_verified_chain()
        else:
            chain = [one.public_bytes(2) for one in inner.get_verified_chain()]  # 2: DER; `ssl` has no name for it
    except (AttributeError, TypeError, ValueError):
        chain = [sock.getpeercert(True)] if hasattr(sock, "getpeercert") else []
    ends = [_end(x509.load_der_x509_certificate(one)) for one in chain if one]
    found = {"peer": ends[0]} if ends else {}
    return found | ({"authority": min(ends[1:])} if len(ends) > 1 else {})


class Unfit(Exception):
    """The other side refuses what it is shown, or shows what is not believed."""


def trial(context: ssl.SSLContext, host: str, port: int) -> None:
    """A handshake, and no word more. Raises `Unfit` where it fails, `OSError` where there was nobody to try it with."""
    with socket.create_connection((host, port), KNOCK) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as sock:
                sock.settimeout(ALERT)
                try:
                    if not sock.recv(1):
                        raise Unfit("the other side closed the connection")
                except TimeoutError:
                    pass  # it waits for us to speak: all is well
        except ssl.SSLCertVerificationError as error:  # a name that does not fit is one, too
            raise Unfit(f"the other side's certificate is not trusted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise Unfit(f"the other side refuses: {error.reason or error}") from error


class Renewed(LineLost):
    """The connection is to be made anew, with other papers."""


class Keyring:
    """The papers of one uplink, over all its connections."""

    def __init__(self, settings: Secured, place: tuple[str, int], what: str, tell: Told) -> None:
        self.settings, self.place, self.what, self.tell = settings, place, what, tell
        self.used: Papers | None = None  # with them the last connection came about
        self.next: Papers | None = None  # with them the next one is tried
        self.refused: Stamp | None = None  # of those that are known not to do
        self.failed: Stamp | None = None  # of those with which the last attempt failed, be it for another reason
        self.attempts = 0  # since the last connection
        self.retry = 0.0  # s of the loop, when they are tried all the same
        self.expires: dict[str, float] = {}  # s, UTC: when `own`, `peer`, `authority`, `crl` end
        self.due = False  # the connection is to be made anew, with `next`

    async def context(self) -> ssl.SSLContext:
        """For the next connection. Raises `LineLost` where nothing can be used.

        What `watch` found good is tried first. Where that failed the old papers have their turn, then the new ones
        again: while the other side is away nobody knows which of them it wants.
        """
        tried, self.next = (None, self.next) if self.due else (self.next, None)
        self.due, self.attempts = False, self.attempts + 1
        if tried is not None and self.used is not None:
            self.failed = tried.stamp
        elif self.next is None:
            await self._read()
        chosen = self.next or self.used
        assert chosen is not None
        self.expires |= chosen.expires
        return chosen.context

    async def _read(self) -> None:
        """Make what lies in the files `next`, if it is news."""
        hand = Hand("certificates")
        try:
            seen = await hand.do(stamp, self.settings)
            known = self.used is not None and seen == self.used.stamp
            if known or (self.used is not None and seen == self.refused and self.attempts <= 2):
                return
            self.next = await hand.do(papers, self.settings, self.what)
        except LineLost as fault:
            if self.used is None:
                raise
            self._refuse(seen, str(fault))
        finally:
            hand.end()

    def made(self, sock: Any) -> None:
        """The connection stands."""
        self.expires |= peer_expires(sock)
        self.attempts = 0
        failed, self.failed = self.failed, None
        if self.next is None:
            if failed is not None:
                self._refuse(failed, f"{self.what}: the other side did not take it")
            return
        before, self.used, self.next, self.refused = self.used, self.next, None, None
        if before is not None:
            text = f"{self.what}: renewed; the connection stands on it"
            self.tell("certificate-renewed", text, {"serial": self.used.serial, "before": before.serial})

    def _refuse(self, which: Stamp, why: str) -> None:
        if which != self.refused:
            self.tell("certificate-refused", f"{why}; what was good before is used on", {})
        self.refused, self.retry = which, asyncio.get_running_loop().time() + AGAIN

    async def watch(self, wake: Callable[[], None]) -> None:
        """Look for other files until cancelled, or until `due`: there are, and a trial with them went well."""
        hand = Hand("certificates")
        loop = asyncio.get_running_loop()
        last: Stamp | None = None
        try:
            while self.used is not None:
                await asyncio.sleep(LOOK)
                seen = await hand.do(stamp, self.settings)
                settled, last = seen == last, seen
                known = seen == self.used.stamp or (seen == self.refused and loop.time() < self.retry)
                if not settled or known:
                    continue
                try:
                    found = await hand.do(papers, self.settings, self.what)
                    await hand.do(trial, found.context, *self.place)
                except (LineLost, Unfit) as fault:
                    self._refuse(seen, f"{self.what}: {fault}" if isinstance(fault, Unfit) else str(fault))
                except OSError:
                    pass  # nobody there to try it with: later
                else:
                    self.next, self.due = found, True
                    wake()
                    return
        finally:
            hand.end()


def keyring_of(settings: Secured, place: tuple[str, int], brief: Brief) -> Keyring:
    """The keyring of an uplink that speaks TLS with a host and port; kept from one connection to the next."""

    def told(kind: str, text: str, facts: dict[str, Any]) -> None:
        brief.tell(Event(kind, settings.name, brief.clock.now(), text, facts))

    notes = brief.feed.notes
    keyring = notes.get(KEYRING)
    if not isinstance(keyring, Keyring):
        keyring = notes[KEYRING] = Keyring(settings, place, f"TLS of uplink {settings.name!r}", told)
    keyring.place, keyring.tell = place, told
    return keyring


def watched(uplinks: Iterable[Uplink]) -> Layout | None:
    """The source `tls`: a channel for each certificate whose end is watched; None where there is none."""
    keys = [f"{one.name}.{whose}" for one in uplinks for whose in one.certificates()]
    return layout(keys, ["d"] * len(keys), stale=STALE, deadband=DEADBAND) if keys else None


def left(uplinks: Iterable[Uplink], feeds: Callable[[str], Feed], columns: Layout, at: Instant) -> Frame:
    """The days that are left of each. Where the wall clock cannot be trusted they are uncertain."""
    value: list[float] = []
    for one in uplinks:
        keyring = feeds(one.name).notes.get(KEYRING)
        value += days(keyring.expires if isinstance(keyring, Keyring) else {}, one.certificates(), at.wall)
    quality = [Quality.UNCERTAIN if number != number or not at.synced else Quality.GOOD for number in value]
    return frame(SOURCE, at, columns, value, quality)


def days(expires: dict[str, float], whose: Iterable[str], wall: float) -> list[float]:
    """Days from `wall` (s, UTC) until each of them ends, below 0 if it has; NaN where it is not known. Pure.

    >>> days({"own": 86400.0 * 3}, ["own", "peer"], 86400.0)
    [2.0, nan]
    """
    return [(expires.get(one, float("nan")) - wall) / DAY for one in whose]
