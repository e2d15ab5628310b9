"""Who asks over HTTP, and for which tenant."""

from __future__ import annotations

from collections.abc import Mapping

from services.predictor.api_http.paths import Path
from tenon.core.tenancy import Principal, Scope, TenantId


def authorization_of(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The `Authorization` header, or `X-API-Key` in its place."""
    found = headers.get(b"authorization")
    if found is None and (key := headers.get(b"x-api-key")):
        found = b"Bearer " + key
    return found


def tenant_of(principal: Principal, path: Path, headers: Mapping[bytes, bytes]) -> TenantId:  # noqa: ARG001
    """Whose model is asked for. Raises as `Principal.tenant_for`."""
    named = headers.get(b"x-tenon-tenant")
    return principal.tenant_for(None if named is None else named.decode("latin-1"), Scope.PREDICT)
