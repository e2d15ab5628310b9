"""From a bearer key to a principal. Only hashes of keys are kept, in memory and in a snapshot on disk."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tenon.core.errors import TenonError, Unauthenticated
from tenon.core.tenancy import Principal, Scope, TenantId
from tenon.kit.process import Background, Periodic, Together
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

_STRANGER_SECONDS = 0.02
_RECENT_SECONDS = 1.0
_MOST_RECENT = 10_000


class Authenticator(Protocol):
    """Knows who a key belongs to."""

    def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an `Authorization` header's value. Raises `Unauthenticated`."""
        ...


class TokenReader(Protocol):
    """Knows who a JWT belongs to; see `tenon.kit.jwt`, which is imported only where tokens are taken."""

    @property
    def background(self) -> Background:
        """What keeps the issuer's keys fresh."""
        ...

    def principal(self, token: str) -> Principal:
        """Who shows this token. Raises `Unauthenticated` or `Unavailable`."""
        ...


def looks_like_token(text: str) -> bool:
    """Whether a bearer is a JWT and no API key: three parts, the first of which begins with `{"` in base64."""
    return text.startswith("ey") and text.count(".") == 2


@dataclass(frozen=True, slots=True)
class Credential:
    """One key, without the key."""

    key_id: str
    key_sha256: str
    tenant: TenantId | None
    scopes: frozenset[Scope]
    expires_at: float | None = None  # seconds since the epoch


Fetch = Callable[[int], tuple[int, list[Credential]] | None]
"""Asks the registry for all credentials; None when nothing changed since the revision given."""


def key_sha256(key: str) -> str:
    """The hash under which a key is known. Keys have 256 random bits, so a fast hash is safe."""
    return hashlib.sha256(key.encode()).hexdigest()


def bearer(authorization: str | None) -> str:
    """The key in an `Authorization: Bearer KEY` value. Raises `Unauthenticated`."""
    if not authorization:
        raise Unauthenticated("KEY_MISSING", "no API key was sent", hint="send the header `Authorization: Bearer KEY`")
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Unauthenticated(
            "KEY_MISSING", "the Authorization header has no bearer key", hint="send `Authorization: Bearer KEY`"
        )
    return key.strip()


def platform_credentials(admin_keys: Sequence[str], service_tokens: Sequence[str]) -> dict[str, Credential]:
    """The platform's own principals by hash: the operator, and the services towards each other. While a key is changed
    there are two of it."""
    services = frozenset({Scope.READ, Scope.WRITE, Scope.PREDICT})
    found = [Credential("admin", key_sha256(key), None, frozenset(Scope)) for key in admin_keys]
    found += [Credential("service", key_sha256(token), None, services) for token in service_tokens]
    return {credential.key_sha256: credential for credential in found}


def principal_from(key: str, credentials: Mapping[str, Credential]) -> Principal | None:
    """The principal of a key among credentials by hash; None when unknown or expired."""
    digest = key_sha256(key)
    credential = credentials.get(digest)
    if credential is None or not hmac.compare_digest(credential.key_sha256, digest):
        return None
    if credential.expires_at is not None and credential.expires_at <= time.time():
        return None
    return Principal(credential.key_id, credential.tenant, credential.scopes)


class CachedAuthenticator:
    """Keeps every credential's hash at hand and refreshes them in the background.

    A key that is not known triggers a refresh (at most fifty a second for the whole process), so a fresh key works
    at once and a storm of wrong keys does not reach the registry. With the registry down the last known set holds,
    also over a restart.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        snapshot: Path,
        platform: Mapping[str, Credential],
        refresh_seconds: float = 2.0,
        tokens: TokenReader | None = None,
    ) -> None:
        self._fetch = fetch
        self._snapshot = snapshot
        self._platform = dict(platform)
        self._known: dict[str, Credential] = {}
        self._revision = 0
        self._last_refresh = 0.0
        self._lock = threading.Lock()
        self._strangers = threading.Lock()
        self.loaded = False
        self._load_snapshot()
        self._tokens = tokens
        credentials = Periodic("credentials", self.refresh, refresh_seconds)
        self.background: Background = credentials if tokens is None else Together([credentials, tokens.background])

    def authenticate(self, authorization: str | None) -> Principal:
        """See `Authenticator`."""
        key = bearer(authorization)
        found = principal_from(key, self._platform) or principal_from(key, self._known)
        if found is None and self._tokens is not None and looks_like_token(key):
            return self._tokens.principal(key)
        if found is None:
            self._refresh_for_stranger(key)
            found = principal_from(key, self._known)
        if found is None:
            raise Unauthenticated("KEY_INVALID", "the API key is not valid")
        return found

    def named(self, key_id: str) -> list[Credential]:
        """The valid keys of this id: several only while the operator's key is changed."""
        known = [*self._platform.values(), *self._known.values()]
        now = time.time()
        return [one for one in known if one.key_id == key_id and (one.expires_at is None or one.expires_at > now)]

    def _refresh_for_stranger(self, key: str) -> None:
        """Refresh once for everybody who came before it began; at most fifty times a second, for which the last wait."""
        arrived = time.monotonic()
        with self._strangers:
            if self._last_refresh > arrived or principal_from(key, self._known) is not None:
                return
            time.sleep(max(0.0, self._last_refresh + _STRANGER_SECONDS - time.monotonic()))
            self._last_refresh = time.monotonic()
            try:
                self.refresh()
            except TenonError as err:
                log.warning("credentials could not be refreshed", error=err.message)

    def refresh(self) -> None:
        """Ask for news; keeps what is known when there are none."""
        with self._lock:
            answer = self._fetch(self._revision)
            self.loaded = True
            if answer is None:
                return
            self._revision, credentials = answer
            self._known = {credential.key_sha256: credential for credential in credentials}
            self._save_snapshot()

    def _load_snapshot(self) -> None:
        try:
            data = json.loads(self._snapshot.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as err:
            log.warning("credential snapshot is unreadable, starting without it", error=str(err))
            return
        self._known = {
            item["sha256"]: Credential(
                item["id"],
                item["sha256"],
                TenantId(item["tenant"]) if item["tenant"] else None,
                frozenset(Scope(scope) for scope in item["scopes"]),
                item["expires_at"],
            )
            for item in data["credentials"]
        }
        self.loaded = True

    def _save_snapshot(self) -> None:
        items = [
            {
                "id": credential.key_id,
                "sha256": credential.key_sha256,
                "tenant": credential.tenant.value if credential.tenant else None,
                "scopes": sorted(credential.scopes),
                "expires_at": credential.expires_at,
            }
            for credential in self._known.values()
        ]
        temporary = self._snapshot.with_suffix(".tmp")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps({"credentials": items}))
        temporary.replace(self._snapshot)


class RecentCallers:
    """Principals by the digest of what they showed, so that no key lies about in memory: for doors where checking a key
    would cost more than the answer."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[float, Principal]] = {}

    def find(self, authorization: bytes) -> Principal | None:
        """Who it was a moment ago; for a second, so that a revoked key ends soon."""
        known = self._known.get(hashlib.blake2b(authorization, digest_size=16).digest())
        return known[1] if known is not None and known[0] > time.monotonic() else None

    def keep(self, authorization: bytes, principal: Principal) -> None:
        """Remember who it is."""
        if len(self._known) > _MOST_RECENT:
            self._known.clear()
        digest = hashlib.blake2b(authorization, digest_size=16).digest()
        self._known[digest] = (time.monotonic() + _RECENT_SECONDS, principal)


class RememberingAuthenticator:
    """An authenticator whose every success is kept for a moment."""

    def __init__(self, authenticator: Authenticator, recent: RecentCallers) -> None:
        self._authenticator = authenticator
        self._recent = recent

    def authenticate(self, authorization: str | None) -> Principal:
        """See `Authenticator`."""
        principal = self._authenticator.authenticate(authorization)
        if authorization is not None:
            self._recent.keep(authorization.encode("latin-1", "replace"), principal)
        return principal
