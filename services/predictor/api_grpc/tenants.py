"""Whose models a gRPC call asks for."""

from __future__ import annotations

import grpc

from services.predictor.domain.naming import HostNames, one_name
from tenon.core.tenancy import Scope, TenantId
from tenon.kit.grpc import current_principal


def tenant_of_call(
    call: grpc.ServicerContext, named: str = "", hosts: HostNames | None = None, *, scope: Scope = Scope.PREDICT
) -> TenantId:
    """The key's own tenant, or the one that the message, the metadata or the host names; all that name one must agree."""
    principal = current_principal()
    header = next((str(value) for key, value in call.invocation_metadata() if key == "x-tenon-tenant"), "")
    if hosts is None:
        return principal.tenant_for(named or header, scope)
    return principal.tenant_for(one_name((named, header, hosts.tenant(_authority(call)))), scope)


def _authority(call: grpc.ServicerContext) -> str:
    """The host that the caller asked for. The library keeps it, but has no public way to it."""
    event = getattr(call, "_rpc_event", None)
    host = getattr(getattr(event, "call_details", None), "host", b"")
    return host.decode("latin-1") if isinstance(host, bytes) else str(host)
