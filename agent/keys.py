"""Ed25519 keys: of a gateway, which signs its journal, and of people, who sign commands.

A private key is a PEM file (PKCS#8, not encrypted) that only its owner may read. A public key is its 32 bytes in
base64: 44 characters that fit into a line of a configuration, an e-mail, a label. Ed25519: RFC 8032.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from . import durable

SIGNATURE = 64  # bytes


def new(path: Path) -> Ed25519PrivateKey:
    """Make a private key and write it, durably, to a file that is not there yet. Raises `OSError`.

    The file is there whole or not at all: half a key would be none, and would stay.
    """
    key = Ed25519PrivateKey.generate()
    body = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    part = path.with_name(f"{path.name}.new")
    part.unlink(missing_ok=True)
    hand = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(hand, body)
        os.fsync(hand)
    finally:
        os.close(hand)
    try:
        os.link(part, path)
    finally:
        part.unlink()
    durable.sync(path.parent)
    return key


def private(path: Path) -> Ed25519PrivateKey:
    """The private key of a file. Raises `ValueError`, which says what is wrong and what to do."""
    try:
        if path.stat().st_mode & 0o077:
            raise ValueError(f"{path}: others may read this private key; chmod 600 {path}")
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; a private key is expected there") from None
    except (TypeError, UnsupportedAlgorithm):
        raise ValueError(f"{path}: this key is encrypted or of an unknown kind; an Ed25519 key is expected") from None
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: this is no private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path}: a key of another kind; an Ed25519 key is expected")  # noqa: TRY004
    return key


def gateway(path: Path, make: bool) -> tuple[Ed25519PrivateKey | None, str]:
    """The key of this gateway, made where there is none yet and `make`; or None, and why it cannot be had."""
    try:
        if make and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return new(path), ""
        return private(path), ""
    except OSError as error:
        return None, f"{path}: a key cannot be made: {error.strerror}"
    except ValueError as error:
        return None, str(error)


def text(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """The public key in base64."""
    whose = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return base64.b64encode(whose.public_bytes_raw()).decode()


def public(text: str) -> Ed25519PublicKey:
    """The public key that a text stands for. Raises `ValueError`."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error):
        raise ValueError(f"`{text}` is no public key: 44 characters of base64 are expected") from None


def fingerprint(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """Sixteen hexadecimal digits by which people tell keys apart: the begin of SHA-256 over the public key."""
    return hashlib.sha256(base64.b64decode(text(key))).hexdigest()[:16]


def holds(key: Ed25519PublicKey, signature: bytes, body: bytes) -> bool:
    """Whether the owner of this key signed these bytes."""
    try:
        key.verify(signature, body)
    except InvalidSignature:
        return False
    return True
