"""API keys: shown once, kept as a hash, limited to one tenant and some scopes, revocable."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field

from services.registry.domain.model import ApiKey
from services.registry.domain.ports import Clock, Transact, Transaction
from services.registry.domain.tenants import CREDENTIALS, require_tenant
from services.registry.domain.trail import record
from tenon.core.errors import Forbidden, Invalid, NotFound, Place, did_you_mean
from tenon.core.tenancy import ALL_TENANT_SCOPES, Principal, Scope, TenantId

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; `text` is the key itself and exists nowhere else."""

    key: ApiKey
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CredentialSet:
    """Every valid key, and the revision of that set."""

    revision: int
    keys: tuple[ApiKey, ...] | None  # None: nothing new


def key_hash(text: str) -> str:
    """The hash a key is kept by. Keys have 256 random bits, so a fast hash is safe."""
    return hashlib.sha256(text.encode()).hexdigest()


def tenant_scopes(names: Collection[str]) -> frozenset[Scope]:
    """The scopes a tenant's key may have, from their names. Raises `Invalid`."""
    known = {scope.value: scope for scope in sorted(ALL_TENANT_SCOPES)}
    for name in names:
        if name not in known:
            near = did_you_mean(name, known)
            raise Invalid(
                "SCOPE_UNKNOWN",
                f"a tenant's key cannot have the scope {name[:40]!r}; choose from {', '.join(known)}",
                place=Place(field="scopes"),
                hint=f"did you mean `{near}`?" if near else None,
            )
    if not names:
        raise Invalid(
            "SCOPES_MISSING", f"a key needs at least one scope of {', '.join(known)}", place=Place(field="scopes")
        )
    return frozenset(known[name] for name in names)


class KeyRing:
    """Making, listing and revoking keys, and knowing whose they are."""

    def __init__(self, transact: Transact, clock: Clock) -> None:
        self._transact = transact
        self._clock = clock

    def create(
        self,
        tenant: TenantId,
        scopes: Collection[str],
        maker: Principal,
        *,
        name: str = "",
        expires_in: int | None = None,
    ) -> NewKey:
        """Make a key. A tenant's own principal can give only scopes it has itself. `expires_in` is in microseconds.

        Of the platform's principals only operators make keys: a leaked service token must not outlive its exchange. Nor
        must an issuer's token, so its holder makes none.
        """
        wanted = tenant_scopes(scopes)
        if maker.is_platform:
            maker.require_admin()
        elif maker.by_token:
            raise Forbidden(
                "TOKEN_MAKES_NO_KEYS",
                "a token makes no keys, because they would outlive it",
                hint="use an API key with these scopes, or ask the operator",
            )
        elif not wanted <= maker.scopes:
            more = ", ".join(sorted(wanted - maker.scopes))
            raise Forbidden("SCOPE_NOT_GRANTABLE", f"this key cannot give a scope it does not have: {more}")
        if len(name) > 100:
            raise Invalid("NAME_TOO_LONG", "a key's name has at most 100 characters", place=Place(field="name"))

        def work(tx: Transaction) -> NewKey:
            require_tenant(tx, tenant)
            now = self._clock()
            key_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
            text = f"tnk_{key_id}_{secrets.token_hex(SECRET_BYTES)}"
            expires_at = None if expires_in is None else now + expires_in
            key = ApiKey(key_id, key_hash(text), tenant, name, wanted, now, maker.name, expires_at)
            tx.counters.advance(CREDENTIALS)
            tx.keys.add(tenant, key)
            record(
                tx, tenant, maker.name, "key.created", key_id, now,
                name=name, scopes=sorted(wanted), expires_at=expires_at,
            )  # fmt: skip
            return NewKey(key, text)

        return self._transact(work)

    def of_tenant(self, tenant: TenantId) -> list[ApiKey]:
        """A tenant's keys, revoked and expired ones too, newest first."""

        def work(tx: Transaction) -> list[ApiKey]:
            require_tenant(tx, tenant)
            return tx.keys.of_tenant(tenant)

        return self._transact(work)

    def revoke(self, tenant: TenantId, key_id: str, actor: str) -> ApiKey:
        """Make a key open nothing any more; once more changes nothing. Raises `NotFound`."""

        def work(tx: Transaction) -> ApiKey:
            require_tenant(tx, tenant)
            key = tx.keys.get(tenant, key_id)
            if key is None:
                raise NotFound(
                    "KEY_NOT_FOUND", f"tenant {tenant.value!r} has no key {key_id[:40]!r}", place=Place(field="key_id")
                )
            if key.revoked_at is None:
                now = self._clock()
                tx.counters.advance(CREDENTIALS)
                tx.keys.revoke(tenant, key_id, now)
                record(tx, tenant, actor, "key.revoked", key_id, now, name=key.name)
            revoked = tx.keys.get(tenant, key_id)
            assert revoked is not None, "a key does not vanish within a transaction"  # noqa: S101
            return revoked

        return self._transact(work)

    def principal(self, key_sha256: str) -> Principal | None:
        """Who shows the key with this hash; None when it opens nothing (unknown, revoked or expired)."""
        key = self._transact(lambda tx: tx.keys.by_hash(key_sha256))
        if key is None or not key.is_valid(self._clock()):
            return None
        return Principal(key.key_id, key.tenant, key.scopes)

    def next_ends(self) -> dict[str, int]:
        """For each tenant that has one: when the valid key that ends next will end."""
        ends: dict[str, int] = {}
        for key in self._transact(lambda tx: tx.keys.valid(self._clock())):
            if key.expires_at is not None:
                ends[key.tenant.value] = min(key.expires_at, ends.get(key.tenant.value, key.expires_at))
        return ends

    def credentials(self, known_revision: int) -> CredentialSet:
        """Every valid key of every tenant, unless the caller has the latest revision already."""

        def work(tx: Transaction) -> CredentialSet:
            # The revision is read before the keys: a change in between is then asked for again, never missed.
            revision = tx.counters.value(CREDENTIALS)
            if revision and revision == known_revision:
                return CredentialSet(revision, None)
            return CredentialSet(revision, tuple(tx.keys.valid(self._clock())))

        return self._transact(work)
