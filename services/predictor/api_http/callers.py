"""Who asks, and for which tenant: kept for a second, because checking a key costs more than a prediction."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping

from services.predictor.api_http.paths import Path
from tenon.core.tenancy import Principal, Scope, TenantId

_KEPT_SECONDS = 1.0
_MOST = 10_000


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


class Callers:
    """Principals by the digest of what they showed, so that no key lies about in memory."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[float, Principal]] = {}

    def find(self, authorization: bytes) -> Principal | None:
        """Who it was a moment ago; for a second, so that a revoked key ends soon."""
        known = self._known.get(hashlib.blake2b(authorization, digest_size=16).digest())
        return known[1] if known is not None and known[0] > time.monotonic() else None

    def keep(self, authorization: bytes, principal: Principal) -> None:
        """Remember who it is."""
        if len(self._known) > _MOST:
            self._known.clear()
        digest = hashlib.blake2b(authorization, digest_size=16).digest()
        self._known[digest] = (time.monotonic() + _KEPT_SECONDS, principal)
