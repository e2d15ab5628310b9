"""The Ed25519 keys that sign bundles (trainer) and verify them (registry, predictor)."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tenon.core.errors import Invalid, Place


def generate_key_pair() -> tuple[bytes, bytes]:
    """A new key pair as PEM: (private for the trainer, public for the registry and the predictors)."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def load_signing_key(path: str | Path) -> Ed25519PrivateKey:
    """The private key in a PEM file. Raises `Invalid` naming the file when it is not one."""
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _not_a_key(path, "private") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _not_a_key(path, "private")
    return key


def load_verify_key(path: str | Path) -> Ed25519PublicKey:
    """The public key in a PEM file. Raises `Invalid` naming the file when it is not one."""
    try:
        key = serialization.load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        raise _not_a_key(path, "public") from None
    if not isinstance(key, Ed25519PublicKey):
        raise _not_a_key(path, "public")
    return key


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
