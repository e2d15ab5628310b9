"""The keys that verify bundles: several at once, so that the signing key can be changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from tenon.bundle.keys import generate_key_pair, load_signing_key, load_verify_key
from tenon.core.errors import Invalid


def test_what_an_older_key_signed_stays_valid(tmp_path: Path) -> None:
    """With both public keys in the file, old and new signatures are right, and each is known by its own key."""
    (old_private, old_public), (private, public), (_, foreign) = (
        generate_key_pair(),
        generate_key_pair(),
        generate_key_pair(),
    )
    signatures = []
    for name, key in (("old", old_private), ("new", private)):
        (tmp_path / name).write_bytes(key)
        signatures.append(load_signing_key(tmp_path / name).sign(b"manifest"))
    trusted = tmp_path / "verify.pem"
    trusted.write_bytes(b"the newest first\n" + public + b"\n" + old_public)
    keys = load_verify_key(trusted)
    assert keys.signer(signatures[0], b"manifest") == old_public
    assert keys.signer(signatures[1], b"manifest") == public
    with pytest.raises(InvalidSignature):
        keys.verify(signatures[0], b"manifesto")
    trusted.write_bytes(public + foreign)
    with pytest.raises(InvalidSignature):
        load_verify_key(trusted).verify(signatures[0], b"manifest")


def test_a_file_with_anything_else_is_refused(tmp_path: Path) -> None:
    """A private key among them, another kind of key, half a key or none: better no start than a key left out in silence."""
    private, public = generate_key_pair()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    rsa = generate_private_key(65537, 2048).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for content in (public + private, public + rsa, public + public[:40], b"", b"\xff\xfe"):
        (tmp_path / "keys").write_bytes(content)
        with pytest.raises(Invalid, match="does not hold"):
            load_verify_key(tmp_path / "keys")
