"""The registry asks its own table who a key belongs to: a revoked key is refused at once."""

from __future__ import annotations

from collections.abc import Mapping

from services.registry.domain.keys import KeyRing
from tenon.core.errors import Unauthenticated
from tenon.core.tenancy import Principal
from tenon.kit.auth import Credential, TokenReader, bearer, key_sha256, looks_like_token, principal_from


class TableAuthenticator:
    """See `tenon.kit.auth.Authenticator`. The platform's own keys work with the database down, too."""

    def __init__(self, keys: KeyRing, platform: Mapping[str, Credential], tokens: TokenReader | None = None) -> None:
        self._keys = keys
        self._tokens = tokens
        self._platform = dict(platform)

    def authenticate(self, authorization: str | None) -> Principal:
        """See `Authenticator`."""
        key = bearer(authorization)
        found = principal_from(key, self._platform)
        if found is None and self._tokens is not None and looks_like_token(key):
            return self._tokens.principal(key)
        found = found or self._keys.principal(key_sha256(key))
        if found is None:
            raise Unauthenticated("KEY_INVALID", "the API key is not valid")
        return found
