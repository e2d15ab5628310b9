"""The Ed25519 keys that sign bundles (trainer) and verify them (registry, predictor)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tenon.core.errors import Invalid, Place

_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


class Verifier(Protocol):
    """Knows a signature that can be trusted: one public key, or several."""

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raises `cryptography.exceptions.InvalidSignature`."""
        ...


class TrustedKeys:
    """Public keys that are trusted alike: the one that signs now, and those that signed before it."""

    def __init__(self, keys: Sequence[Ed25519PublicKey]) -> None:
        self._keys = tuple(keys)

    def verify(self, signature: bytes, data: bytes) -> None:
        """See `Verifier`."""
        self.signer(signature, data)

    def signer(self, signature: bytes, data: bytes) -> bytes:
        """Which of them made the signature, as PEM. Raises `InvalidSignature`."""
        for key in self._keys:
            try:
                key.verify(signature, data)
            except InvalidSignature:
                continue
            return public_pem(key)
        raise InvalidSignature


def public_pem(key: Ed25519PublicKey) -> bytes:
    """A public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def generate_key_pair() -> tuple[bytes, bytes]:
    """A new key pair as PEM: (private for the trainer, public for the registry and the predictors)."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, public_pem(key.public_key())


def load_signing_key(path: str | Path) -> Ed25519PrivateKey:
    """The private key in a PEM file. Raises `Invalid` naming the file when it is not one."""
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _not_a_key(path, "private") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _not_a_key(path, "private")
    return key


def load_verify_key(path: str | Path) -> TrustedKeys:
    """The public keys in a PEM file, one behind the other. Raises `Invalid` naming the file when it holds anything else."""
    text = _read(path)
    blocks = _BLOCK.findall(text)
    if not blocks or text.count(b"-----BEGIN ") != len(blocks):
        raise _not_a_key(path, "public")
    keys = []
    for block in blocks:
        try:
            key = serialization.load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm):
            raise _not_a_key(path, "public") from None
        if not isinstance(key, Ed25519PublicKey):
            raise _not_a_key(path, "public")
        keys.append(key)
    return TrustedKeys(keys)


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as err:
        raise Invalid(
            "KEY_FILE_UNREADABLE", f"key file {str(path)!r} cannot be read: {err.strerror}", place=Place(file=str(path))
        ) from err


def _not_a_key(path: str | Path, what: str) -> Invalid:
    return Invalid(
        "KEY_FILE_INVALID",
        f"{str(path)!r} does not hold an Ed25519 {what} key in PEM form",
        place=Place(file=str(path)),
    )
