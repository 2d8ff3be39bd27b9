"""The notary's signing key: made on first use, readable by its owner alone, and never used when it is not.

Importing this module imports nothing from outside the standard library: only what makes or reads a key does.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING

from remit.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# How an Ed25519 private key begins in PKCS #8 (RFC 8410, section 7); its 32 bytes follow.
_PKCS8_ED25519 = bytes.fromhex("302e020100300506032b657004220420")
_PEM = re.compile(rb"-----BEGIN PRIVATE KEY-----\n([A-Za-z0-9+/]{64})\n-----END PRIVATE KEY-----\n")


def read_or_make_key(path: str) -> bytes:
    """The private key's PEM. Raises EvidenceError when it cannot be had, or when others may read it."""
    try:
        if not os.path.lexists(path):
            _make_key(path)
        return _read_private(path)
    except OSError as problem:
        raise EvidenceError(f"cannot read or make the signing key {path}: {problem.strerror}") from problem


def load_private_key(pem: bytes) -> Ed25519PrivateKey:
    """Raises EvidenceError when these bytes are not an Ed25519 private key without a passphrase."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    usual = _PEM.fullmatch(pem)
    encoded = binascii.a2b_base64(usual[1]) if usual else b""
    if encoded.startswith(_PKCS8_ED25519):
        return Ed25519PrivateKey.from_private_bytes(encoded[len(_PKCS8_ED25519) :])
    # What reads every form takes as long to import as all the rest of the notary.
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as problem:
        raise EvidenceError("the signing key is not a private key in PEM without a passphrase") from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise EvidenceError("the signing key is not an Ed25519 key")
    return key


def raw_public_key(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes that name the signer in each checkpoint."""
    return key.public_key().public_bytes_raw()


def public_pem(key: Ed25519PrivateKey) -> str:
    """The public key as other programs read it: PEM, SubjectPublicKeyInfo."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def read_public_key(path: Path) -> bytes:
    """The raw public key of a PEM file. Raises UsageError when it is none, a private key above all."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        pem = path.read_bytes()
    except OSError as problem:
        raise UsageError(
            f"cannot read the public key {path}: {problem.strerror}", hint="remit key > notary.pub.pem"
        ) from problem
    if b"PRIVATE KEY" in pem:
        raise UsageError(f"a private key, where the public one is needed: {path}", hint="remit key > notary.pub.pem")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError) as problem:
        raise UsageError(f"not a public key in PEM: {path}", hint="remit key > notary.pub.pem") from problem
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"not an Ed25519 public key: {path}", hint="remit key > notary.pub.pem")
    return key.public_bytes_raw()


def _read_private(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise EvidenceError(
                f"the signing key must be this user's own file and closed to others: {path}",
                hint=f"chmod 600 {path}; if others could read it, remove it, and a new one is made",
            )
        return stream.read(1 << 16)


def _make_key(path: str) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    folder, _, name = path.rpartition("/")
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    temporary = f"{folder}/.{name}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(pem)
            stream.flush()
            os.fsync(descriptor)
        # A link fails where a rename would replace: of two sessions that come first together, one makes the key.
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)
