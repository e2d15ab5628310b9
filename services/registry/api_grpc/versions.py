"""Versions and bundles over gRPC."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from services.registry.api_grpc.messages import version_message
from services.registry.domain.versions import Candidate, VersionShelf
from services.registry.metrics import BUNDLE_BYTES, BUNDLES_REFUSED, VERSIONS_REGISTERED
from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tenon.core.errors import Invalid, Place, TenonError, TooLarge, Unavailable
from tenon.core.tenancy import Scope
from tenon.kit.grpc import allowed_tenant, current_principal

DEFAULT_LISTED, MAX_LISTED = 20, 200
UPLOADS_AT_ONCE = 4
"""A bundle is verified in memory, so only so many arrive at the same time; the others wait."""
UPLOAD_WAIT_SECONDS = 30.0


class VersionServicer(registry_pb2_grpc.VersionServiceServicer):
    """Registering, reading and downloading versions."""

    def __init__(self, versions: VersionShelf, max_bundle_bytes: int) -> None:
        self._versions = versions
        self._max_bytes = max_bundle_bytes
        self._slots = threading.BoundedSemaphore(UPLOADS_AT_ONCE)

    def RegisterVersion(
        self, request_iterator: Iterator[registry_pb2.RegisterVersionRequest], _context: Any
    ) -> registry_pb2.RegisterVersionResponse:
        """See the proto."""
        first = next(request_iterator, None)
        if first is None or first.WhichOneof("part") != "header":
            raise Invalid("HEADER_MISSING", "the first message of a registration is the header")
        header = first.header
        tenant = allowed_tenant(header.tenant, Scope.WRITE)
        candidate = Candidate(header.run_id, header.bundle_sha256, header.size_bytes)
        self._check_size(candidate)
        self._versions.expect(tenant, header.model, candidate)
        if not self._slots.acquire(timeout=UPLOAD_WAIT_SECONDS):
            raise Unavailable("UPLOADS_BUSY", "other bundles are arriving; send this one again in a moment")
        try:
            data = self._receive(request_iterator, candidate)
            version = self._versions.register(tenant, header.model, candidate, data, current_principal().name)
        except TenonError as err:
            BUNDLES_REFUSED.labels(err.reason).inc()
            raise
        finally:
            self._slots.release()
        VERSIONS_REGISTERED.labels(str(version.gates_passed).lower()).inc()
        return registry_pb2.RegisterVersionResponse(version=version_message(version))

    def GetVersion(self, request: registry_pb2.GetVersionRequest, _context: Any) -> registry_pb2.GetVersionResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        found = self._versions.get(tenant, request.model, request.version)
        return registry_pb2.GetVersionResponse(version=version_message(found))

    def ListVersions(
        self, request: registry_pb2.ListVersionsRequest, _context: Any
    ) -> registry_pb2.ListVersionsResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        if not 0 <= request.limit <= MAX_LISTED:
            raise Invalid("LIMIT_INVALID", f"limit is at most {MAX_LISTED}", place=Place(field="limit"))
        found = self._versions.of_model(tenant, request.model, request.limit or DEFAULT_LISTED)
        return registry_pb2.ListVersionsResponse(versions=[version_message(version) for version in found])

    def DownloadBundle(
        self, request: registry_pb2.DownloadBundleRequest, _context: Any
    ) -> Iterator[registry_pb2.DownloadBundleResponse]:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        _, source = self._versions.download(tenant, request.model, request.version)
        with source as chunks:
            for chunk in chunks:
                BUNDLE_BYTES.labels("sent").inc(len(chunk))
                yield registry_pb2.DownloadBundleResponse(chunk=chunk)

    def _check_size(self, candidate: Candidate) -> None:
        if candidate.size_bytes <= 0:
            raise Invalid("SIZE_MISSING", "size_bytes must be the bundle's length", place=Place(field="size_bytes"))
        if candidate.size_bytes > self._max_bytes:
            raise TooLarge(
                "BUNDLE_TOO_LARGE",
                f"the bundle has {candidate.size_bytes} bytes; at most {self._max_bytes} are taken",
                place=Place(field="size_bytes"),
                hint="TENON_MAX_BUNDLE_MIB of the registry sets the cap",
            )

    def _receive(self, requests: Iterator[registry_pb2.RegisterVersionRequest], candidate: Candidate) -> bytes:
        data = bytearray()
        for message in requests:
            if message.WhichOneof("part") != "chunk":
                raise Invalid("CHUNK_EXPECTED", "after the header come only chunks")
            data += message.chunk
            BUNDLE_BYTES.labels("received").inc(len(message.chunk))
            if len(data) > candidate.size_bytes:
                raise Invalid("BUNDLE_CORRUPT", f"more than the announced {candidate.size_bytes} bytes arrived")
        return bytes(data)
