"""The registry's gRPC door: the other services."""

from services.registry.api_grpc.credentials import CredentialServicer, TenantServicer
from services.registry.api_grpc.releases import ReleaseServicer
from services.registry.api_grpc.versions import VersionServicer

__all__ = ["CredentialServicer", "ReleaseServicer", "TenantServicer", "VersionServicer"]
