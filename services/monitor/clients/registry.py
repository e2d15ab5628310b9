"""What the registry knows of versions: asked once, kept for good."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError

from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tenon.core.errors import DeadlineExceeded, Unavailable
from tenon.core.manifest import Manifest
from tenon.kit.grpc_client import retrying

if TYPE_CHECKING:
    import grpc

    from tenon.core.tenancy import TenantId

_DEADLINE_SECONDS = 5.0
_IN_MEMORY = 256


class ManifestStore(Protocol):
    """Where manifests are kept over restarts."""

    def get(self, tenant: TenantId, model: str, version: int) -> bytes | None:
        """A kept manifest."""
        ...

    def put(self, tenant: TenantId, model: str, version: int, bundle_sha256: str, manifest_json: bytes) -> None:
        """Keep one."""
        ...


class RegistryVersions:
    """See `domain.ports.Versions`: from memory, else from our database, else from the registry."""

    def __init__(self, channel: grpc.Channel, store: ManifestStore) -> None:
        self._stub = registry_pb2_grpc.VersionServiceStub(channel)
        self._store = store
        self._recent: OrderedDict[tuple[TenantId, str, int], Manifest] = OrderedDict()
        self._lock = threading.Lock()

    def manifest(self, tenant: TenantId, model: str, version: int) -> Manifest:
        """The version's manifest. Raises `NotFound` or `Unavailable`."""
        key = (tenant, model, version)
        with self._lock:
            if (known := self._recent.get(key)) is not None:
                self._recent.move_to_end(key)
                return known
        kept = self._store.get(tenant, model, version)
        manifest = self._ask(tenant, model, version) if kept is None else _parse(kept, tenant, model, version)
        with self._lock:
            self._recent[key] = manifest
            while len(self._recent) > _IN_MEMORY:
                self._recent.popitem(last=False)
        return manifest

    def _ask(self, tenant: TenantId, model: str, version: int) -> Manifest:
        request = registry_pb2.GetVersionRequest(tenant=tenant.value, model=model, version=version)
        try:
            found = retrying(lambda: self._stub.GetVersion(request, timeout=_DEADLINE_SECONDS)).version
        except DeadlineExceeded as err:
            raise Unavailable(
                "REGISTRY_UNAVAILABLE", f"the registry did not give version {version} of {model!r} in time"
            ) from err
        manifest = _parse(found.manifest_json, tenant, model, version)
        self._store.put(tenant, model, version, found.bundle_sha256, found.manifest_json)
        return manifest


def _parse(manifest_json: bytes, tenant: TenantId, model: str, version: int) -> Manifest:
    try:
        return Manifest.model_validate_json(manifest_json)
    except ValidationError as err:
        # A manifest of a later format: this process must be brought up to date before it can judge the version.
        raise Unavailable(
            "MANIFEST_UNREADABLE", f"the manifest of version {version} of {model!r} ({tenant}) cannot be read here"
        ) from err
