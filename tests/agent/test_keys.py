"""Keys against somebody else's program: openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent import keys


def openssl(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)


def test_openssl_believes_what_a_key_signed_and_nothing_else(tmp_path: Path):
    key = keys.new(tmp_path / "key.pem")
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    body, signature = tmp_path / "body", tmp_path / "signature"
    public = tmp_path / "public.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    body.write_bytes(b"evacuate")
    signature.write_bytes(key.sign(b"evacuate"))
    check = ("pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", body, "-sigfile", signature)
    assert openssl(*check).returncode == 0
    body.write_bytes(b"all well")
    assert openssl(*check).returncode != 0


def test_a_key_that_openssl_made_is_read_and_its_signature_holds(tmp_path: Path):
    path, body, signature = tmp_path / "key.pem", tmp_path / "body", tmp_path / "signature"
    openssl("genpkey", "-algorithm", "ed25519", "-out", path)
    path.chmod(0o600)
    key = keys.private(path)
    assert keys.public(keys.text(key)) == key.public_key()
    body.write_bytes(b"stop")
    assert openssl("pkeyutl", "-sign", "-inkey", path, "-rawin", "-in", body, "-out", signature).returncode == 0
    assert keys.holds(key.public_key(), signature.read_bytes(), b"stop")
    assert not keys.holds(key.public_key(), signature.read_bytes(), b"step")
    assert not keys.holds(key.public_key(), b"", b"stop")


def test_what_is_no_key_says_so(tmp_path: Path):
    path = tmp_path / "key.pem"
    with pytest.raises(ValueError, match="a private key is expected there"):
        keys.private(path)
    keys.new(path)
    with pytest.raises(FileExistsError):
        keys.new(path)
    path.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        keys.private(path)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="no private key"):
        keys.private(path)
    openssl("genpkey", "-algorithm", "x25519", "-out", path)
    with pytest.raises(ValueError, match="another kind"):
        keys.private(path)
    openssl("genpkey", "-algorithm", "ed25519", "-aes-128-cbc", "-pass", "pass:secret", "-out", path)
    with pytest.raises(ValueError, match="encrypted"):
        keys.private(path)
    for wrong in ("", "abc", "A" * 44, "Zm9v"):
        with pytest.raises(ValueError, match="no public key"):
            keys.public(wrong)
