"""Who asks over HTTP, and for which tenant."""

from __future__ import annotations

from collections.abc import Mapping

from services.predictor.api_http.naming import named_by
from services.predictor.api_http.paths import Path
from services.predictor.domain.naming import HostNames
from tenon.core.tenancy import Principal, Scope, TenantId


def authorization_of(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The `Authorization` header, or `X-API-Key` in its place."""
    found = headers.get(b"authorization")
    if found is None and (key := headers.get(b"x-api-key")):
        found = b"Bearer " + key
    return found


def tenant_of(
    principal: Principal, path: Path, headers: Mapping[bytes, bytes], hosts: HostNames | None = None
) -> TenantId:
    """Whose model is asked for. Raises as `Principal.tenant_for`, and `Invalid` when the request names two."""
    return principal.tenant_for(named_by(headers, path.tenant, hosts), Scope.PREDICT)
