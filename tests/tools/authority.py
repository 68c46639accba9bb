"""An authority of its own for tests: certificates of any kind of wrongness, in milliseconds (`cryptography`)."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
USES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


class Files(NamedTuple):
    """What a broker is given; `Mosquitto(tls=...)` takes it."""

    ca: Path
    cert: Path
    key: Path


class Issued(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self, passphrase: str = "") -> bytes:
        how = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)

    def p12(self, passphrase: str) -> bytes:
        how = BestAvailableEncryption(passphrase.encode())
        return pkcs12.serialize_key_and_certificates(b"gateway", self.key, self.certificate, None, how)

    def put(self, cert: Path, key: Path, passphrase: str = "") -> None:
        """Write both as a renewal does: each beside its place, then renamed over it."""
        for path, data in ((key, self.key_pem(passphrase)), (cert, self.pem)):
            replace(path, data)


def replace(path: Path, data: bytes) -> None:
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(data)
    os.replace(beside, path)


class Authority:
    """Signs certificates. Its own is in the file `ca`."""

    def __init__(self, folder: Path, name: str = "test authority", days: float = 30) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.ca, self.crl = folder, folder / "ca.pem", folder / "crl.pem"
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self.name, self.key, days, 1.0).issuer_name(self.name)
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
        self.certificate = builder.sign(self.key, hashes.SHA256())
        self.ca.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        self.revoked: list[int] = []
        self.write_crl()

    @staticmethod
    def _builder(
        subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: float, begun: float
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        first, last = now - begun * DAY, now + days * DAY
        builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
        return (
            builder.serial_number(x509.random_serial_number())
            .not_valid_before(min(first, last - DAY))
            .not_valid_after(last)
        )

    def issue(
        self,
        name: str,
        hosts: Sequence[str] = (),
        days: float = 10,
        begun: float = 1.0,
        use: str = "",
        self_signed: bool = False,
    ) -> Issued:
        """A certificate for `name`; `hosts` are addresses or names; `begun`: days ago (below 0: not yet)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, key, days, begun).issuer_name(subject if self_signed else self.name)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
        if use:
            builder = builder.add_extension(x509.ExtendedKeyUsage([USES[use]]), False)
        return Issued(builder.sign(key if self_signed else self.key, hashes.SHA256()), key)

    def context(self, issued: Issued | None = None) -> ssl.SSLContext:
        """What a client of the tests, which is nobody's but theirs, believes and shows."""
        context = ssl.create_default_context(cafile=self.ca)
        if issued is not None:
            cert, key = (self.folder / f"{issued.certificate.serial_number:x}.{end}" for end in ("pem", "key"))
            issued.put(cert, key)
            context.load_cert_chain(cert, key)
        return context

    def server(self, name: str = "server", hosts: Sequence[str] = ("127.0.0.1", "localhost"), **how: object) -> Files:
        """Files of a broker on this machine."""
        return self.files(name, self.issue("broker", hosts, **how))  # type: ignore[arg-type]

    def files(self, name: str, issued: Issued) -> Files:
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        issued.put(cert, key)
        return Files(self.ca, cert, key)

    def revoke(self, issued: Issued) -> None:
        self.revoked.append(issued.certificate.serial_number)
        self.write_crl()

    def write_crl(self, days: float = 5) -> None:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(now - DAY).next_update(now + days * DAY)
        for serial in self.revoked:
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - DAY / 24).build()
            builder = builder.add_revoked_certificate(one)
        replace(self.crl, builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
