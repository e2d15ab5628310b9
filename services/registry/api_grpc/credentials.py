"""Credentials and tenants over gRPC."""

from __future__ import annotations

from typing import Any

from services.registry.api_grpc.messages import credential_message, platform_principal, tenant_message
from services.registry.domain.keys import KeyRing
from services.registry.domain.tenants import TenantBook
from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tenon.core.tenancy import Scope, TenantId
from tenon.kit.grpc import allowed_tenant, current_principal


class CredentialServicer(registry_pb2_grpc.CredentialServiceServicer):
    """Hashes of all valid keys, for the other services."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def ListCredentials(
        self, request: registry_pb2.ListCredentialsRequest, _context: Any
    ) -> registry_pb2.ListCredentialsResponse:
        """See the proto."""
        platform_principal()
        found = self._keys.credentials(request.known_revision)
        if found.keys is None:
            return registry_pb2.ListCredentialsResponse(revision=found.revision, unchanged=True)
        credentials = [credential_message(key) for key in found.keys]
        return registry_pb2.ListCredentialsResponse(revision=found.revision, credentials=credentials)


class TenantServicer(registry_pb2_grpc.TenantServiceServicer):
    """Tenants."""

    def __init__(self, tenants: TenantBook) -> None:
        self._tenants = tenants

    def GetTenant(self, request: registry_pb2.GetTenantRequest, _context: Any) -> registry_pb2.GetTenantResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        return registry_pb2.GetTenantResponse(tenant=tenant_message(self._tenants.get(tenant)))

    def ListQuotas(self, request: registry_pb2.ListQuotasRequest, _context: Any) -> registry_pb2.ListQuotasResponse:
        """See the proto."""
        platform_principal()
        found = self._tenants.quotas(request.known_revision)
        if found.quotas is None:
            return registry_pb2.ListQuotasResponse(revision=found.revision, unchanged=True)
        quotas = [
            registry_pb2.TenantQuotas(
                tenant=name,
                requests_per_second=quota.requests_per_second,
                burst=quota.burst,
                rows_per_second=quota.rows_per_second,
                concurrency=quota.concurrency,
            )
            for name, quota in found.quotas.items()
        ]
        return registry_pb2.ListQuotasResponse(revision=found.revision, quotas=quotas)

    def ListTenants(self, _request: registry_pb2.ListTenantsRequest, _context: Any) -> registry_pb2.ListTenantsResponse:
        """All for the platform, its own for a tenant's key."""
        principal = current_principal()
        principal.require(principal.tenant or TenantId("all"), Scope.READ)
        found = self._tenants.all() if principal.tenant is None else [self._tenants.get(principal.tenant)]
        return registry_pb2.ListTenantsResponse(tenants=[tenant_message(tenant) for tenant in found])
