"""Monitor documents in monitor's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.monitor.storage.tables import metadata
from tenon.core.errors import NotFound
from tenon.core.specs import MonitorSpec
from tenon.kit.spec_store import Change, SpecStore, StoredSpec, spec_table

if TYPE_CHECKING:
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database

monitor_revisions = spec_table(metadata, "monitor_revisions")


class SqlPolicies:
    """See `domain.ports.Policies`, and the documents as they were declared."""

    def __init__(self, database: Database) -> None:
        self._store: SpecStore[MonitorSpec] = SpecStore(database, monitor_revisions, MonitorSpec, "monitor")

    def of(self, tenant: TenantId, model: str) -> MonitorSpec:
        """See the port."""
        try:
            return self._store.get(tenant, model).spec
        except NotFound:
            return MonitorSpec(name=model)

    def everybody(self) -> dict[tuple[str, str], MonitorSpec]:
        """See the port."""
        return {(one.tenant.value, one.name): one.spec for one in self._store.list(None)}

    def apply(self, tenant: TenantId, spec: MonitorSpec, *, dry_run: bool) -> tuple[Change, StoredSpec[MonitorSpec]]:
        """Keep a document; an equal one makes no new revision."""
        return self._store.apply(tenant, spec, dry_run=dry_run)

    def get(self, tenant: TenantId, model: str) -> StoredSpec[MonitorSpec]:
        """A declared document. Raises `NotFound`."""
        return self._store.get(tenant, model)

    def list(self, tenant: TenantId | None) -> list[StoredSpec[MonitorSpec]]:
        """Every declared document, by tenant and name; of all tenants when `tenant` is None (the evaluator only)."""
        return self._store.list(tenant)
