"""Tenants and principals: parsed once at the door, required everywhere below."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

from tenon.core.errors import Forbidden, Invalid, NotFound, Place

_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class TenantId:
    """A tenant's name: 1-40 characters of a-z, 0-9 and inner hyphens, so that it fits a DNS label with room to spare."""

    value: str

    def __post_init__(self) -> None:
        if not _TENANT.fullmatch(self.value):
            raise Invalid(
                "TENANT_NAME_INVALID",
                f"tenant name {self.value[:60]!r} is not valid: use 1-40 characters of a-z, 0-9 and inner hyphens",
                place=Place(field="tenant"),
            )

    def __str__(self) -> str:
        return self.value


class Scope(enum.StrEnum):
    """What a key may do, inside its tenant."""

    PREDICT = "predict"  # ask for predictions
    READ = "read"  # read definitions, runs, versions, reports
    WRITE = "write"  # upload data, apply definitions, train, release, send labels
    ADMIN = "admin"  # create tenants and keys; only for principals of the platform


ALL_TENANT_SCOPES = frozenset({Scope.PREDICT, Scope.READ, Scope.WRITE})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. `tenant` is None for the platform's own principals (operators and services); `by_token` says that an
    issuer's token was shown, which ends by itself, and no key."""

    name: str
    tenant: TenantId | None
    scopes: frozenset[Scope] = field(default_factory=frozenset)
    by_token: bool = False

    @property
    def is_platform(self) -> bool:
        """Whether this principal may name any tenant."""
        return self.tenant is None

    def require(self, tenant: TenantId, scope: Scope) -> None:
        """Check that this principal may do `scope` for `tenant`.

        Raises `NotFound` for another tenant's things, so that they look exactly like missing ones, and
        `Forbidden` when only the scope is missing.
        """
        if not self.is_platform and self.tenant != tenant:
            raise NotFound("TENANT_NOT_FOUND", f"there is no tenant {tenant.value!r}", place=Place(field="tenant"))
        if scope not in self.scopes:
            raise Forbidden(
                "SCOPE_MISSING",
                f"this key may not {scope.value} for tenant {tenant.value!r}; it has: {', '.join(sorted(self.scopes))}",
            )

    def tenant_for(self, named: str | None, scope: Scope) -> TenantId:
        """The tenant of a request that need not name one: the principal's own, or the one that a platform's names.

        Raises as `require` does, and `Invalid` when nobody says which tenant is meant.
        """
        if named:
            tenant = TenantId(named)
        elif self.tenant is not None:
            tenant = self.tenant
        else:
            raise Invalid(
                "TENANT_MISSING",
                "a platform key must say for which tenant it asks",
                place=Place(field="x-tenon-tenant"),
                hint="send the header (with gRPC: the metadata) `x-tenon-tenant: NAME`",
            )
        self.require(tenant, scope)
        return tenant

    def require_admin(self) -> None:
        """Check that this principal may manage the platform itself; raises `Forbidden`."""
        if not (self.is_platform and Scope.ADMIN in self.scopes):
            raise Forbidden("ADMIN_ONLY", "this needs the platform's admin key")
