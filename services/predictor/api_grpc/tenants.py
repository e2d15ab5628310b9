"""Whose models a gRPC call asks for."""

from __future__ import annotations

import grpc

from tenon.core.tenancy import Scope, TenantId
from tenon.kit.grpc import current_principal


def tenant_of_call(call: grpc.ServicerContext, named: str = "") -> TenantId:
    """The key's own tenant, or for the platform's keys the one that the message or the metadata names."""
    principal = current_principal()
    if not named:
        named = next((str(value) for key, value in call.invocation_metadata() if key == "x-tenon-tenant"), "")
    return principal.tenant_for(named, Scope.PREDICT)
