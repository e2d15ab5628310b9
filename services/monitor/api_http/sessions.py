"""Sessions of people who came with a browser: a signed cookie that names a key without holding it.

The cookie carries the key's id and a keyed fingerprint of its hash. Each request looks the key up again, so that a revoked,
expired or replaced key ends its sessions at once, and a stolen cookie tells nothing of the key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenon.core.errors import Unauthenticated
from tenon.core.tenancy import Principal, Scope, TenantId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tenon.kit.auth import Authenticator, Credential

IDLE_SECONDS = 3_600
"""A session that nobody uses ends after this."""
LONGEST_SECONDS = 12 * 3_600
"""And any session after this."""
MAX_PERSON = 60


@dataclass(frozen=True, slots=True)
class Session:
    """Who sits before the browser. `csrf` must come back with everything that changes something."""

    principal: Principal
    person: str
    csrf: str
    cookie: str
    """The cookie's value when it should be set again, else empty."""


class Sessions:
    """Makes and reads the cookie. All replicas that know the same secrets take each other's; the first one signs."""

    def __init__(
        self,
        authenticator: Authenticator,
        named: Callable[[str], Sequence[Credential]],
        shared: Sequence[str],
        now: Callable[[], float],
    ) -> None:
        self._authenticator, self._named, self._now = authenticator, named, now
        self._secrets = [
            hmac.digest(secret.encode(), b"tenon monitor pages: sessions", "sha256")
            for secret in shared or [secrets.token_hex(32)]
        ]

    def open(self, key: str, person: str) -> Session:
        """A session for who shows this key or token. Raises `Unauthenticated`."""
        key = key.strip()
        principal = self._authenticator.authenticate(f"Bearer {key}")
        now = int(self._now())
        body: dict[str, Any] = {
            "id": secrets.token_urlsafe(12),
            "key": principal.name,
            "who": " ".join(person.split())[:MAX_PERSON],
            "end": now + IDLE_SECONDS,
            "last": now + LONGEST_SECONDS,
        }
        if principal.by_token:
            body |= {
                "last": min(body["last"], _expiry_of(key)),
                "tenant": principal.tenant.value if principal.tenant else None,
                "scopes": sorted(principal.scopes),
            }
            body["end"] = min(body["end"], body["last"])
        else:
            digest = hashlib.sha256(key.encode()).hexdigest()
            body["print"] = self._fingerprint(self._secrets[0], digest)
        return self._session(self._secrets[0], body, principal, renew=True)

    def read(self, cookie: str | None) -> Session:
        """The session of a cookie. Raises `Unauthenticated`."""
        secret, body = self._opened(cookie or "")
        now = int(self._now())
        if now >= min(body["end"], body["last"]):
            raise Unauthenticated("SESSION_EXPIRED", "the session has ended; sign in again")
        principal = self._principal(secret, body)
        renew = body["end"] - now < IDLE_SECONDS // 2 and body["end"] < body["last"]
        if renew:
            body["end"] = min(now + IDLE_SECONDS, body["last"])
        return self._session(secret, body, principal, renew=renew)

    def _principal(self, secret: bytes, body: dict[str, Any]) -> Principal:
        if "scopes" in body:
            tenant = TenantId(body["tenant"]) if body["tenant"] else None
            return Principal(body["key"], tenant, frozenset(Scope(one) for one in body["scopes"]), by_token=True)
        for credential in self._named(body["key"]):
            if hmac.compare_digest(self._fingerprint(secret, credential.key_sha256), body["print"]):
                return Principal(credential.key_id, credential.tenant, credential.scopes)
        raise Unauthenticated("SESSION_EXPIRED", "the key of this session is no longer valid; sign in with another one")

    def _opened(self, cookie: str) -> tuple[bytes, dict[str, Any]]:
        payload, _, signature = cookie.partition(".")
        for secret in self._secrets:
            if hmac.compare_digest(self._sign(secret, payload).encode(), signature.encode("utf-8", "replace")):
                return secret, json.loads(base64.urlsafe_b64decode(payload))
        raise Unauthenticated("SESSION_MISSING", "sign in to see this page")

    def _session(self, secret: bytes, body: dict[str, Any], principal: Principal, *, renew: bool) -> Session:
        cookie = ""
        if renew:
            payload = base64.urlsafe_b64encode(json.dumps(body, separators=(",", ":")).encode()).decode()
            cookie = f"{payload}.{self._sign(secret, payload)}"
        csrf = hmac.new(secret, f"csrf {body['id']}".encode(), "sha256").hexdigest()
        return Session(principal, body["who"] or principal.name, csrf, cookie)

    @staticmethod
    def _fingerprint(secret: bytes, digest: str) -> str:
        return hmac.new(secret, f"key {digest}".encode(), "sha256").hexdigest()[:32]

    @staticmethod
    def _sign(secret: bytes, payload: str) -> str:
        return hmac.new(secret, f"cookie {payload}".encode(), "sha256").hexdigest()


def _expiry_of(token: str) -> int:
    """When a token ends; who reads this has verified it already."""
    try:
        claims = token.split(".")[1]
        return int(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return 0
