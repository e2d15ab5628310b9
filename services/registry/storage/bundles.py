"""Bundles in the blob store, under their digest: written once, never changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from tenon.bundle.archive import MANIFEST, open_bundle
from tenon.bundle.keys import Verifier
from tenon.core.errors import Unavailable
from tenon.core.manifest import Manifest
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import BlobStore

CHUNK_BYTES = 1 << 20
CHECK_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """See `ports.OpenedBundle`."""

    manifest: Manifest
    manifest_json: bytes = field(repr=False)


class SignedBundleOpener:
    """See `ports.BundleOpener`: signature and every digest are verified before anything is parsed."""

    def __init__(self, verify_key: Verifier, max_bytes: int) -> None:
        self._verify_key = verify_key
        self._max_bytes = max_bytes

    def __call__(self, data: bytes) -> VerifiedBundle:
        """See `ports.BundleOpener`."""
        bundle = open_bundle(data, self._verify_key, max_bytes=self._max_bytes)
        return VerifiedBundle(bundle.manifest, bytes(bundle.files[MANIFEST]))


class BlobBundles:
    """See `ports.Bundles`."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._checked_at = 0.0

    def save(self, tenant: TenantId, model: str, bundle_sha256: str, data: bytes) -> None:
        """See `ports.Bundles`."""
        key = _key(tenant, model, bundle_sha256)
        try:
            if not self._blobs.exists(key):
                self._blobs.put_bytes(key, data)
        except OSError as err:
            raise Unavailable("BLOBS_UNAVAILABLE", f"the bundle store cannot be written: {err.strerror}") from err

    @contextmanager
    def read(self, tenant: TenantId, model: str, bundle_sha256: str) -> Iterator[Iterator[bytes]]:
        """See `ports.Bundles`."""
        with self._blobs.open_read(_key(tenant, model, bundle_sha256)) as source:
            yield _chunks(source)

    def check(self) -> str | None:
        """What is wrong with the store, or None; for readiness. Writes a small object, every 15 seconds at most."""
        if time.monotonic() - self._checked_at < CHECK_SECONDS:
            return None
        try:
            self._blobs.put_bytes("registry/.writable", b"ok")
        except (OSError, Unavailable) as err:
            return f"blobs: {type(err).__name__}"
        self._checked_at = time.monotonic()
        return None


def _key(tenant: TenantId, model: str, bundle_sha256: str) -> str:
    return f"bundles/{tenant}/{model}/{bundle_sha256}.tar"


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    while chunk := source.read(CHUNK_BYTES):
        yield chunk
