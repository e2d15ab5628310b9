"""Tenants: declared by documents, one revision for each change."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.registry.domain.model import Tenant
from services.registry.domain.ports import Clock, Transact, Transaction
from services.registry.domain.trail import record
from tenon.core.errors import Invalid, NotFound, Place
from tenon.core.specs import TenantSpec, parse_spec
from tenon.core.specs.tenant import QuotasSpec
from tenon.core.tenancy import TenantId

CREDENTIALS = "credentials"
"""The counter that grows with every change of a tenant or a key."""


class Change(enum.StrEnum):
    """What applying a document did (or would do)."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a document did, and the tenant as it is (or would be) afterwards."""

    change: Change
    revision: int
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class QuotaSet:
    """What tenants declare that they may ask of a predictor, by name, and the revision of that set."""

    revision: int
    quotas: Mapping[str, QuotasSpec] | None  # None: nothing new


class TenantBook:
    """Applying and reading tenant documents."""

    def __init__(self, transact: Transact, clock: Clock) -> None:
        self._transact = transact
        self._clock = clock

    def apply(self, tenant: TenantId, document: object, actor: str, *, dry_run: bool = False) -> Applied:
        """Make a tenant what its document says; the same document again changes nothing."""
        spec = parse_spec(TenantSpec, document)
        if spec.name != tenant.value:
            raise Invalid(
                "TENANT_NAME_MISMATCH",
                f"the document is of tenant {spec.name!r}, the address of {tenant.value!r}",
                place=Place(field="name"),
            )
        canonical = spec.canonical()

        def work(tx: Transaction) -> Applied:
            before = tx.tenants.latest(tenant)
            if before is not None and dict(before.spec) == canonical:
                return Applied(Change.UNCHANGED, before.revision, canonical)
            change = Change.CREATED if before is None else Change.UPDATED
            revision = 1 if before is None else before.revision + 1
            if dry_run:
                return Applied(change, revision, canonical)
            now = self._clock()
            tx.counters.advance(CREDENTIALS)
            tx.tenants.add_revision(tenant, revision, canonical, now)
            record(tx, tenant, actor, f"tenant.{change}", tenant.value, now, revision=revision, spec=canonical)
            return Applied(change, revision, canonical)

        return self._transact(work)

    def get(self, tenant: TenantId) -> Tenant:
        """A tenant. Raises `NotFound`."""
        return self._transact(lambda tx: require_tenant(tx, tenant))

    def quotas(self, known_revision: int) -> QuotaSet:
        """The quotas of every tenant that declares some, unless the caller has the latest revision already."""

        def work(tx: Transaction) -> QuotaSet:
            # Read before the tenants: a change in between is then asked for again, never missed.
            revision = tx.counters.value(CREDENTIALS)
            if revision and revision == known_revision:
                return QuotaSet(revision, None)
            specs = {tenant.id.value: tenant.spec.get("quotas") for tenant in tx.tenants.all()}
            return QuotaSet(revision, {name: QuotasSpec.model_validate(spec) for name, spec in specs.items() if spec})

        return self._transact(work)

    def all(self) -> list[Tenant]:
        """Every tenant, by name."""
        return self._transact(lambda tx: tx.tenants.all())


def require_tenant(tx: Transaction, tenant: TenantId) -> Tenant:
    """A tenant as it stands. Raises `NotFound`."""
    found = tx.tenants.latest(tenant)
    if found is None:
        raise NotFound(
            "TENANT_NOT_FOUND",
            f"there is no tenant {tenant.value!r}",
            place=Place(field="tenant"),
            hint="`tenon apply` with a Tenant document makes one",
        )
    return found
