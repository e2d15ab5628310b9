"""Reading and checking a tenant's audit log; `trail` says how it is chained."""

from __future__ import annotations

from services.registry.domain.model import AuditEntry
from services.registry.domain.ports import Transact, Transaction
from services.registry.domain.tenants import require_tenant
from services.registry.domain.trail import Verdict, verify_chain
from tenon.core.tenancy import TenantId


class AuditLog:
    """Reading and checking the log."""

    def __init__(self, transact: Transact) -> None:
        self._transact = transact

    def read(self, tenant: TenantId, *, before: int | None = None, limit: int = 100) -> list[AuditEntry]:
        """Lines with a seq under `before` (None: from the end), newest first."""

        def work(tx: Transaction) -> list[AuditEntry]:
            require_tenant(tx, tenant)
            return tx.audit.entries(tenant, before=before, limit=limit)

        return self._transact(work)

    def verify(self, tenant: TenantId, *, expected_head: str | None = None) -> Verdict:
        """Check a tenant's whole log as it stands."""

        def work(tx: Transaction) -> Verdict:
            require_tenant(tx, tenant)
            return verify_chain(tenant, tx.audit.chain(tenant), expected_head=expected_head)

        return self._transact(work)
