"""Whose models a gRPC call asks for."""

from __future__ import annotations

import grpc

from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Scope, TenantId
from tenon.kit.grpc import current_principal


def tenant_of_call(call: grpc.ServicerContext, named: str = "") -> TenantId:
    """The key's own tenant, or for the platform's keys the one that the message or the metadata names."""
    principal = current_principal()
    if not named:
        named = next((str(value) for key, value in call.invocation_metadata() if key == "x-tenon-tenant"), "")
    if named:
        tenant = TenantId(named)
    elif principal.tenant is not None:
        tenant = principal.tenant
    else:
        raise Invalid(
            "TENANT_MISSING",
            "a platform key must say for which tenant it asks",
            place=Place(field="x-tenon-tenant"),
            hint="send the metadata `x-tenon-tenant: NAME`",
        )
    principal.require(tenant, Scope.PREDICT)
    return tenant
