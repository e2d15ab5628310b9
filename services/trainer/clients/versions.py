"""Registering versions with the registry."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tenon.core.tenancy import TenantId
from tenon.kit.grpc_client import retrying

DEADLINE_SECONDS = 60.0
CHUNK = 1 << 20


class RegistryVersions:
    """See `Versions`."""

    def __init__(self, registry: grpc.Channel) -> None:
        self._versions = registry_pb2_grpc.VersionServiceStub(registry)

    def register(self, tenant: TenantId, model: str, run_id: str, bundle: bytes, sha256: str) -> int:
        """See `Versions`; safe to repeat, so it is tried again when the registry is not reachable."""
        header = registry_pb2.RegisterVersionHeader(
            tenant=tenant.value, model=model, run_id=run_id, bundle_sha256=sha256, size_bytes=len(bundle)
        )

        def parts() -> Iterator[registry_pb2.RegisterVersionRequest]:
            yield registry_pb2.RegisterVersionRequest(header=header)
            for start in range(0, len(bundle), CHUNK):
                yield registry_pb2.RegisterVersionRequest(chunk=bundle[start : start + CHUNK])

        # The kit turns failures into our errors when the outcome is asked for, which the plain call does at once.
        answer = retrying(lambda: self._versions.RegisterVersion(parts(), timeout=DEADLINE_SECONDS), attempts=4)
        return int(answer.version.version)
