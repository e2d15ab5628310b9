"""Which tenants there are, asked of the registry."""

from __future__ import annotations

import threading
import time

import grpc

from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tenon.core.errors import Unavailable
from tenon.core.tenancy import TenantId
from tenon.kit.grpc_client import retrying

FRESH_SECONDS = 60.0


class RegistryTenants:
    """See `domain.ports.Tenants`. What was answered once is remembered: for a minute, and while the registry is away."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = registry_pb2_grpc.TenantServiceStub(channel)
        self._known: dict[TenantId, float] = {}
        self._lock = threading.Lock()

    def require(self, tenant: TenantId) -> None:
        """See `Tenants`."""
        with self._lock:
            asked = self._known.get(tenant)
        if asked is not None and time.monotonic() - asked < FRESH_SECONDS:
            return
        request = registry_pb2.GetTenantRequest(tenant=tenant.value)
        try:
            retrying(lambda: self._stub.GetTenant(request, timeout=3))
        except Unavailable:
            if asked is None:
                raise
            return
        with self._lock:
            self._known[tenant] = time.monotonic()
